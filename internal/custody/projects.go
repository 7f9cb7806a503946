package custody

import (
	"bytes"
	"slices"

	"example.com/bailiwick/internal/ceremony"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/internal/record"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/repo"
)

// requests judges what maintainers have signed, each on the project as the signer sees it.
func (j *judge) requests() error {
	for _, r := range j.p.Requests {
		role := policy.ProjectRole(r.Project)
		if err := j.claim(r.Project, role); err != nil {
			return err
		}
		s, err := j.standing(r.Project)
		if err != nil {
			return err
		}
		v, err := ceremony.Judge(r, s, listedBy(r), j.p.Time)
		if err != nil {
			return fromCeremony(role, err)
		}
		if !v.Complete() {
			return refuse(BadSignature, role, "the signing request about %s is not signed by all who have a say: %s", r.Project, v.Next())
		}
		if err := j.verdict(r, s, v); err != nil {
			return err
		}
	}
	return nil
}

// listedBy returns every file that a request lists. To package ceremony those are staged: that the index
// received them is its word, that they are listed is the maintainers'.
func listedBy(r *ceremony.Request) []tuf.Target {
	var all []tuf.Target
	for i := range r.Payloads {
		t, err := r.Targets(r.Payloads[i].Role)
		if err != nil {
			continue // Judge says so
		}
		all = slices.AppendSeq(all, t.All())
	}
	return all
}

// verdict takes over what a request of maintainers does.
func (j *judge) verdict(r *ceremony.Request, s *ceremony.Standing, v *ceremony.Verdict) error {
	for _, result := range v.Roles {
		if err := j.lists(result.Role, result.Version); err != nil {
			return err
		}
	}
	for _, t := range v.Added {
		if err := j.unused(t.Path); err != nil {
			return err
		}
		j.out.Added = append(j.out.Added, t.Path)
	}
	j.out.Removed = append(j.out.Removed, v.Removed...)
	role := policy.ProjectRole(r.Project)
	switch {
	case r.Kind == ceremony.Claim:
		j.edit(r.Project).put(policy.ClaimProject(j.layout, r.Project, v.Authority, j.p.Time))
	case !v.Authority.Equal(s.Authority):
		j.edit(r.Project).put(policy.NewProject(j.layout, r.Project, v.Authority))
	default:
		return nil
	}
	kinds := []record.Kind{record.Rekeyed, record.Revoked}
	if r.Kind == ceremony.Claim {
		kinds = []record.Kind{record.Claimed}
	}
	j.keys[role] = transfer{v.Authority, kinds}
	return nil
}

// unused refuses a file whose name stood for something else once.
func (j *judge) unused(path tuf.TargetPath) error {
	if j.m.Retired == nil {
		return nil
	}
	retired, err := j.m.Retired(path)
	if err != nil {
		return refuse(Failed, "", "whether %s was used before can not be looked up: %v", path, err)
	}
	if retired {
		return refuse(Altered, "", "%s was deleted once, and a file name is not used twice", path)
	}
	return nil
}

// projects judges the new versions of projects that nobody has claimed.
func (j *judge) projects() error {
	for i := range j.p.Roles {
		r := &j.p.Roles[i]
		switch policy.KindOf(r.Name) {
		case policy.KindUnclaimedBin:
		case policy.KindProject:
			if err := j.project(r); err != nil {
				return err
			}
		default:
			return refuse(Outside, r.Name, "%.80q is no role that the registry key signs", r.Name)
		}
	}
	return nil
}

func (j *judge) project(r *Role) error {
	p, _ := policy.ProjectOf(r.Name)
	if err := j.claim(p, r.Name); err != nil {
		return err
	}
	s, err := j.standing(p)
	if err != nil {
		return err
	}
	claimed, err := j.after(j.layout.ClaimedChain(p)...)
	if err != nil {
		return err
	}
	if _, there := find(claimed, r.Name); there || s.Assurance != policy.Unclaimed {
		return refuse(NotAllowed, r.Name, "%s is claimed: its maintainers sign what it lists, and nobody else", p)
	}
	a, err := j.registry(p)
	if err != nil {
		return err
	}
	t, err := j.read(r)
	if err != nil {
		return err
	}
	edit, err := j.listing(p, r.Name, s.Base, t)
	if err != nil {
		return err
	}
	draft, err := rebuilt(s.Base, edit, repo.Issue{
		Role: r.Name, Version: j.newest(r.Name) + 1, Now: j.p.Time, Expires: t.Expires(), Authority: a,
		Paths: []string{j.layout.ProjectPattern(p)},
	})
	if err != nil {
		return refuse(Malformed, r.Name, "version %d of %s can not be made: %v", j.newest(r.Name)+1, r.Name, err)
	}
	if t.Version() != draft.Version() {
		return refuse(Version, r.Name, "version %d of %s is proposed, and after version %d comes %d", t.Version(), r.Name, draft.Version()-1, draft.Version())
	}
	if err := j.lists(r.Name, t.Version()); err != nil {
		return err
	}
	if s.Base == nil {
		j.edit(p).put(policy.NewProject(j.layout, p, a))
	}
	return j.take(r, t.Version(), draft.Message(), a)
}

func rebuilt(base *tuf.Targets, edit repo.TargetsEdit, issue repo.Issue) (*repo.Draft, error) {
	if base == nil {
		return repo.NewTargets(repo.TargetsSpec{Targets: edit.Put}, issue)
	}
	return repo.EditTargets(base, edit, issue)
}

// listing returns the allowed differences between two versions of a project's list, and refuses others.
func (j *judge) listing(p pypi.Project, role tuf.RoleName, base, next *tuf.Targets) (edit repo.TargetsEdit, err error) {
	was := make(map[tuf.TargetPath][]byte)
	if base != nil {
		for path, raw := range base.Entries() {
			was[tuf.TargetPath(path)] = raw
		}
	}
	for path, raw := range next.Entries() {
		path := tuf.TargetPath(path)
		old, listed := was[path]
		delete(was, path)
		if listed && bytes.Equal(old, raw) {
			continue
		}
		t, ok := next.Lookup(path)
		if !ok {
			return edit, refuse(Malformed, role, "the entry of %s in %s can not be read", path, role)
		}
		if listed {
			before, _ := base.Lookup(path)
			err = j.yanked(role, &before, &t)
		} else {
			err = j.received(p, role, &t)
		}
		if err != nil {
			return edit, err
		}
		edit.Put = append(edit.Put, t)
	}
	for path := range was {
		if !j.deleted[path] {
			return edit, refuse(Vanished, role, "%s no longer lists %s, and nobody is said to have deleted it", role, path)
		}
		edit.Remove = append(edit.Remove, path)
	}
	slices.Sort(edit.Remove)
	j.out.Removed = append(j.out.Removed, edit.Remove...)
	return edit, nil
}

// received checks a file that an unclaimed project lists from now on: the registry says that it got it, now.
func (j *judge) received(p pypi.Project, role tuf.RoleName, t *tuf.Target) error {
	_, name, err := policy.ParsePath(t.Path)
	if err != nil || name.Project() != p || j.layout.Path(p, name) != t.Path {
		return refuse(Outside, role, "%s lists %.120q, which is no file of the project", role, t.Path)
	}
	if _, err := policy.File(*t); err != nil {
		return refuse(Malformed, role, "%s lists %s otherwise than an index does: %v", role, name, err)
	}
	custom, err := policy.DecodeCustom(t.Custom)
	if err != nil || !custom.UploadTime.Equal(j.p.Time) || custom.Yanked != nil || custom.VouchedBy != "" {
		return refuse(Altered, role, "%s lists %s as new, and not as one that was uploaded at %s", role, name, tuf.FormatTime(j.p.Time))
	}
	if err := j.unused(t.Path); err != nil {
		return err
	}
	j.out.Added = append(j.out.Added, t.Path)
	return nil
}

// yanked checks what may be said otherwise of a listed file: whether it is yanked.
func (j *judge) yanked(role tuf.RoleName, old, next *tuf.Target) error {
	if old.Length != next.Length || old.Hashes != next.Hashes {
		return refuse(Altered, role, "%s is published with another length or hash; a file name stands for the same bytes for ever", next.Path)
	}
	before, err := policy.DecodeCustom(old.Custom)
	if err != nil {
		return refuse(Failed, role, "what is published about %s can not be read: %v", next.Path, err)
	}
	after, err := policy.DecodeCustom(next.Custom)
	if err != nil {
		return refuse(Malformed, role, "what is said of %s can not be read: %v", next.Path, err)
	}
	before.Yanked = after.Yanked
	if want, err := before.Encode(); err != nil || !bytes.Equal(want, next.Custom) {
		return refuse(Altered, role, "%s is published with another description; only \"yanked\" can change", next.Path)
	}
	return nil
}

func find(delegator *tuf.Targets, role tuf.RoleName) (tuf.Delegation, bool) {
	ds := delegator.Delegations()
	if ds == nil {
		return tuf.Delegation{}, false
	}
	return ds.Find(role)
}
