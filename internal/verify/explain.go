package verify

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
	"example.com/bailiwick/tuf/trust"
)

// Explanation is the whole chain of trust for a file, or for a project by its newest file. Its JSON
// form is the output of `bailiwick why --json`; members are added to it, never renamed.
type Explanation struct {
	Index   string `json:"index"`   // base URL of the repository
	Project string `json:"project"` // normalised name
	// Asked is the file that was asked for; null when a project was.
	Asked *ExplainedFile `json:"file"`
	// Files are all files of the project, when a project was asked for.
	Files []ExplainedFile `json:"files,omitempty"`
	// Assurance is "claimed", "parked", "recently claimed" or "unclaimed"; empty if the chain is broken.
	Assurance string `json:"assurance,omitempty"`
	// Parked is since when the offline keys sign for the maintainers, and Recovered when operators gave the project
	// to other keys without the old ones; left out if that did not happen.
	Parked    time.Time `json:"parked_since,omitzero"`
	Recovered time.Time `json:"recovered,omitzero"`
	// Since is since when the maintainers sign the project, as the delegation says; left out if it does not.
	Since time.Time `json:"since,omitzero"`
	// Status is "archived" if the maintainers say that the project gets no more releases, with their reason.
	Status       string `json:"status,omitempty"`
	StatusReason string `json:"status_reason,omitempty"`
	// Required is the rule of the configuration that counts for the project; null if none does.
	Required *Rule `json:"required"`
	// Remembered is what earlier sessions saw of the project; null if nothing better than unclaimed.
	Remembered *Remembered `json:"remembered"`
	// Meaning is what that word means for this file, in one sentence.
	Meaning string `json:"meaning,omitempty"`
	// Chain leads from the root to the role that lists the file.
	Chain []ExplainedRole `json:"chain"`
	// Considered are all roles that the search looked at, in order, with what became of each.
	Considered []ConsideredRole `json:"considered,omitempty"`
	Current    Moment           `json:"current"`
	// Problem is why the chain is broken; null if it holds.
	Problem *Error `json:"problem"`
}

// ExplainedFile is one signed file.
type ExplainedFile struct {
	Filename  string    `json:"filename"`
	Path      string    `json:"path"` // target path
	Version   string    `json:"version,omitempty"`
	SHA256    string    `json:"sha256"`
	Length    int64     `json:"length"`
	Uploaded  time.Time `json:"uploaded,omitzero"`
	Yanked    bool      `json:"yanked,omitempty"`
	Assurance string    `json:"assurance,omitempty"`
	// VouchedBy is "index" for a file that the index received before the project was claimed, and that
	// its maintainers adopted without having built it. Left out for others.
	VouchedBy      string `json:"vouched_by,omitempty"`
	MetadataSHA256 string `json:"core_metadata_sha256,omitempty"`
}

// ExplainedRole is one link of the chain.
type ExplainedRole struct {
	Role      tuf.RoleName `json:"role"`
	Version   int64        `json:"version"`
	Expires   time.Time    `json:"expires"`
	Threshold int          `json:"threshold"` // signatures needed
	Keys      []Key        `json:"keys"`      // who may sign
	// Holder is who has the keys: "offline", "registry", "maintainers", or "other" in a foreign repository.
	Holder      string   `json:"holder"`
	Paths       []string `json:"paths,omitempty"`       // what its delegator lets it speak about
	Terminating bool     `json:"terminating,omitempty"` // nothing beyond it is asked
}

// Key is one key that may sign a role.
type Key struct {
	ID     key.ID `json:"keyid"`
	Type   string `json:"keytype"`
	Scheme string `json:"scheme"`
	Signed bool   `json:"signed"` // its signature is there and good
	// SSH is the fingerprint that ssh-keygen -l prints, where the key has one. The engine leaves it empty;
	// the command line fills it in.
	SSH string `json:"ssh,omitempty"`
	// Public is the key itself; nil if this program can not use it.
	Public *key.Public `json:"-"`
}

// Remembered is what earlier sessions saw.
type Remembered struct {
	Assurance string `json:"assurance"` // the best
	Date      string `json:"date"`      // when it was last seen so, as YYYY-MM-DD
	// Changed says in words how the keys differ from those seen then; left out if they do not.
	Changed string `json:"changed,omitempty"`
}

// ConsideredRole is one step of the search.
type ConsideredRole struct {
	Role    tuf.RoleName   `json:"role"`
	Version int64          `json:"version,omitempty"`
	Outcome string         `json:"outcome"` // "listed", "not listed", "already considered", "refused"
	Dropped []tuf.RoleName `json:"not_asked,omitempty"`
	Cause   string         `json:"cause,omitempty"`
}

// Moment says which state of the repository was used.
type Moment struct {
	Root             int64     `json:"root"`
	Timestamp        int64     `json:"timestamp"`
	TimestampExpires time.Time `json:"timestamp_expires"`
	Snapshot         int64     `json:"snapshot"`
	SnapshotExpires  time.Time `json:"snapshot_expires"`
	Verified         time.Time `json:"verified"` // when this was checked against expiry
}

// ExplainFile tells why a file is trusted, or is not. Only trouble with the repository as a whole is
// an error; a broken chain is in Explanation.Problem.
func (e *Engine) ExplainFile(ctx context.Context, project pypi.Project, name pypi.Filename) (*Explanation, error) {
	s, err := e.session(ctx)
	if err != nil {
		return nil, err
	}
	x := e.explain(ctx, s, project, s.layout.Path(project, name))
	return x, nil
}

// ExplainProject tells why a project is trusted, by its newest file, and lists its files.
func (e *Engine) ExplainProject(ctx context.Context, project pypi.Project) (*Explanation, error) {
	s, err := e.session(ctx)
	if err != nil {
		return nil, err
	}
	listing, err := e.listing(ctx, project)
	var problem *Error
	switch {
	case errors.As(err, &problem):
		// The path names no file; the search for it meets the same roles.
		x := e.explain(ctx, s, project, tuf.TargetPath(s.layout.Dir(project)+"/-"))
		x.Asked, x.Problem = nil, problem
		return x, nil
	case err != nil:
		return nil, err
	}
	x := e.explain(ctx, s, project, newest(listing).Path)
	x.Asked = nil
	for i := range listing.Files {
		x.Files = append(x.Files, explainFile(&listing.Files[i]))
	}
	return x, nil
}

// newest is the file with the highest version.
func newest(l *Listing) *File {
	best := &l.Files[0]
	for i := range l.Files {
		a, errA := pypi.ParseVersion(l.Files[i].Entry.Version)
		b, errB := pypi.ParseVersion(best.Entry.Version)
		if errA == nil && (errB != nil || a.Compare(b) > 0) {
			best = &l.Files[i]
		}
	}
	return best
}

func (e *Engine) explain(ctx context.Context, s *session, project pypi.Project, path tuf.TargetPath) *Explanation {
	set := s.view.Set()
	x := &Explanation{
		Index: e.source, Project: project.String(),
		Chain:   []ExplainedRole{explainRoot(set.Root())},
		Current: moment(set),
	}
	search := s.view.Explain(ctx, path)
	for _, step := range search.Steps {
		x.Considered = append(x.Considered, consider(step))
	}
	if search.Err != nil {
		subject := string(path)
		if err := e.brokenRole(ctx, s, project, subject[len(s.layout.Dir(project))+1:], search.Err); !errors.As(err, &x.Problem) {
			x.Problem = e.newError(&Error{Class: Unreachable, Code: CodeNetwork, Cause: err.Error(), Err: err})
		}
		e.explainStanding(ctx, s, project, x)
		return x
	}
	for _, link := range search.Found.Chain {
		x.Chain = append(x.Chain, explainLink(search.Found, link))
	}
	file := e.file(project, search.Found)
	explained := explainFile(&file)
	x.Asked, x.Problem = &explained, file.Problem
	x.Assurance = file.Assurance.String()
	if status, err := projectStatus(ctx, s, project, search.Found); err == nil {
		x.Status, x.StatusReason = status.Word, status.Reason
	}
	e.explainStanding(ctx, s, project, x)
	x.Meaning = meaning(search.Found, x)
	if x.Problem == nil {
		x.Problem = e.tooLow(project, file.Assurance)
	}
	return x
}

// explainStanding adds what is known of a project besides a file's chain: since when it is claimed, what
// is required of it, and what was seen of it before.
func (e *Engine) explainStanding(ctx context.Context, s *session, project pypi.Project, x *Explanation) {
	st, err := e.standing(ctx, s, project)
	if err == nil && st != nil {
		x.Since, x.Parked, x.Recovered = st.since, st.parked, st.recovered
	}
	if e.require != nil {
		if rule, ok := e.require(project); ok {
			x.Required = &Rule{Assurance: rule.Level.String(), Pattern: rule.Pattern, Origin: rule.Origin}
		}
	}
	if e.memory == nil {
		return
	}
	seen, ok, err := e.memory.Recall(project)
	switch {
	case err != nil && x.Problem == nil:
		x.Problem = e.newError(&Error{Class: Unusable, Code: CodeMemory, Cause: err.Error(), Err: err})
	case err != nil || !ok:
		return
	}
	x.Remembered = &Remembered{Assurance: seen.Assurance.String(), Date: day(seen.Seen)}
	if st == nil || x.Assurance == "" {
		return
	}
	if st.assurance != policy.Unclaimed {
		x.Remembered.Changed = st.changes(seen, Sighting{Assurance: st.assurance, Keys: st.remembered(), Threshold: st.owners.Threshold()})
	}
	if st.assurance.Grade() < seen.Assurance.Grade() && x.Problem == nil {
		x.Problem = e.lowered(project, st.assurance, seen)
	}
}

func moment(set *trust.Set) Moment {
	return Moment{
		Root: set.Root().Version(), Timestamp: set.Timestamp().Version(), TimestampExpires: set.Timestamp().Expires(),
		Snapshot: set.Snapshot().Version(), SnapshotExpires: set.Snapshot().Expires(), Verified: set.Start().UTC(),
	}
}

func explainFile(f *File) ExplainedFile {
	x := ExplainedFile{
		Filename: f.Entry.Filename, Path: string(f.Path), Version: f.Entry.Version, SHA256: hex.EncodeToString(f.Entry.SHA256[:]),
		Length: f.Entry.Size, Uploaded: f.Entry.UploadTime, Yanked: f.Entry.Yanked != nil, Assurance: f.Assurance.String(),
	}
	if f.Adopted {
		x.VouchedBy = policy.VouchedByIndex
	}
	if sum := f.Entry.MetadataSHA256; sum != nil {
		x.MetadataSHA256 = hex.EncodeToString(sum[:])
	}
	return x
}

func explainRoot(root *tuf.Root) ExplainedRole {
	x := ExplainedRole{Role: tuf.RoleRoot, Version: root.Version(), Expires: root.Expires(), Holder: "offline"}
	authority, ok := root.Authority(tuf.RoleRoot)
	if !ok {
		return x
	}
	var signers []key.ID
	if u, err := tuf.ParseRoot(root.Bytes(), nil); err == nil {
		signers = u.Signers(authority)
	}
	x.Threshold, x.Keys = authority.Threshold(), keys(authority, signers)
	return x
}

func explainLink(f *trust.Found, link trust.Link) ExplainedRole {
	return ExplainedRole{
		Role: link.Role, Version: link.Version, Expires: link.Expires, Threshold: link.Authority.Threshold(),
		Keys: keys(link.Authority, link.Signers), Holder: holder(f, link), Paths: link.Paths, Terminating: link.Terminating,
	}
}

func keys(authority tuf.Authority, signers []key.ID) []Key {
	out := []Key{}
	for _, id := range authority.KeyIDs() {
		k := Key{ID: id, Signed: slices.Contains(signers, id)}
		if public, ok := authority.Key(id); ok {
			k.Type, k.Scheme, k.Public = public.Type(), public.Scheme(), public
		}
		out = append(out, k)
	}
	return out
}

// holder says who keeps the keys of a link.
func holder(f *trust.Found, link trust.Link) string {
	_, isProject := policy.ProjectOf(link.Role)
	switch a := assurance(f); {
	case isProject && a == policy.ClaimedParked:
		return "offline"
	case isProject && a != policy.Unclaimed:
		return "maintainers"
	}
	switch signer, ok := policy.SignedBy(link.Role); {
	case !ok && assurance(f) != policy.Unclaimed:
		return "maintainers" // a role that they delegate to
	case !ok:
		return "other"
	case signer.Online():
		return "registry"
	}
	return "offline"
}

// meaning says what an attacker would need.
func meaning(f *trust.Found, x *Explanation) string {
	word := assurance(f).String() + sinceDay(x.Since)
	switch assurance(f) {
	case policy.ClaimedParked:
		return "parked" + sinceDay(x.Parked) + ": its maintainers do not answer; the index's offline keys signed their last list as it was. " +
			"Nothing can be added; to change this file, someone needs " + needed(f) + "."
	case policy.Claimed:
		return word + ": to change this file, someone needs " + needed(f) + "."
	case policy.RecentlyClaimed:
		return word + ": to change this file, someone needs " + needed(f) +
			"; until the next sitting the registry's online key says whose keys these are."
	case policy.Unclaimed:
	}
	return "unclaimed: the registry vouches for the bytes it received; no maintainer's key has signed them."
}

func needed(f *trust.Found) string {
	last := f.Chain[len(f.Chain)-1]
	project := last
	if at := slices.IndexFunc(f.Chain, func(l trust.Link) bool { return policy.KindOf(l.Role) == policy.KindProject }); at >= 0 {
		project = f.Chain[at]
	}
	if assurance(f) == policy.ClaimedParked && last.Role == project.Role {
		return "the offline keys of the index"
	}
	who := "the key of a maintainer"
	if n := project.Authority.Threshold(); n > 1 {
		who = "the keys of " + count(n, "maintainer")
	}
	if last.Role == project.Role {
		return who
	}
	// They delegated the file's pattern: either is enough.
	if n := last.Authority.Threshold(); n > 1 {
		return fmt.Sprintf("%d of the keys of %s, or %s", n, last.Role, who)
	}
	return "a key of " + string(last.Role) + ", or " + who
}

func consider(step trust.Step) ConsideredRole {
	x := ConsideredRole{Role: step.Role, Version: step.Version, Outcome: string(step.Outcome), Dropped: step.Dropped}
	if step.Err != nil {
		x.Cause = step.Err.Error()
	}
	return x
}
