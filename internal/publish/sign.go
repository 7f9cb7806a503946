package publish

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"example.com/bailiwick/internal/ceremony"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
	"example.com/bailiwick/tuf/trust"
)

// Sign publishes what a signing request holds: a claim, a release, or a change of keys. It is judged
// here again, on the state that it will follow: if that is not what the request is based on, the
// error is a *ceremony.Refused with the reason Stale. ErrUnsigned if signatures are missing. The
// roles are published exactly as they were signed.
type Sign struct {
	Request *ceremony.Request
	// Staged are the uploaded files that the request may list. Those that it does list are
	// published.
	Staged []File
	Token  string // of who brought the request, for the record

	judged *Judgement // of the same request on some view; nil: none
}

// Judgement is what a request may do on a view.
type Judgement struct {
	Verdict *ceremony.Verdict

	request  *ceremony.Request
	id       func() string // of the request; a hash over everything that is signed, worked out once
	files    []File
	staged   []tuf.Target
	standing *ceremony.Standing
	set      *trust.Set
}

// ID returns the identifier of the request that was judged.
func (j *Judgement) ID() string { return j.id() }

// Judge asks what a request may do on the view, given the files that are staged for its project.
// Neither may be changed afterwards. The error is a *ceremony.Refused, or says that the project could
// not be read.
func (v *View) Judge(ctx context.Context, r *ceremony.Request, staged []File, at time.Time) (*Judgement, error) {
	standing, err := v.Standing(ctx, r.Project)
	if err != nil {
		return nil, err
	}
	return judge(v.set, standing, r, staged, at)
}

func judge(set *trust.Set, standing *ceremony.Standing, r *ceremony.Request, staged []File, at time.Time) (*Judgement, error) {
	j := &Judgement{request: r, id: sync.OnceValue(r.ID), files: staged, staged: make([]tuf.Target, len(staged)), standing: standing, set: set}
	var err error
	for i, f := range staged {
		if j.staged[i], err = f.Target(standing.Layout); err != nil {
			return nil, err
		}
	}
	j.Verdict, err = ceremony.Judge(r, standing, j.staged, at)
	return j, err
}

// Sign returns the change that publishes the request. The publisher judges again unless it still
// stands at the view that was judged.
func (j *Judgement) Sign(token string) Sign {
	return Sign{Request: j.request, Staged: j.files, Token: token, judged: j}
}

// maxStaged bounds Sign.Staged.
const maxStaged = 10_000

func (c Sign) target() pypi.Project { return c.Request.Project }

func (c Sign) check() error {
	if c.Request == nil || c.Request.Project.IsZero() || len(c.Staged) > maxStaged || len(c.Token) > maxText {
		return fmt.Errorf("a signing request without a project, or with more than %d staged files: %w", maxStaged, ErrInvalid)
	}
	for _, f := range c.Staged {
		if err := f.check(); err != nil {
			return err
		}
		if f.Project != c.Request.Project {
			return fmt.Errorf("the staged file %s is none of %s: %w", f.Filename, c.Request.Project, ErrInvalid)
		}
	}
	return nil
}

// signing is a signing request in a batch.
type signing struct {
	request  *ceremony.Request
	standing *ceremony.Standing
	verdict  *ceremony.Verdict
	files    []File
	event    Event
	cancels  *Recovery // the recovery of the project that waited, because its maintainers are there
	err      error
}

// failure implements edit.
func (s *signing) failure() error { return s.err }

// sign takes a signing request into the batch. After an error the batch is as it was.
func (b *batch) sign(ctx context.Context, c Sign) (edit, error) {
	p := c.target()
	if l := b.lists[p]; l != nil && l.touched() {
		return nil, errNextBatch
	}
	if err := b.searchable(p); err != nil {
		return nil, err
	}
	j := c.judged
	if j == nil || j.set != b.state.view.set {
		standing, err := ceremony.Look(b.state.view.set, b.load, b.state.view.repository, p)
		if err != nil {
			return nil, fmt.Errorf("reading who signs %s: %w", p, err)
		}
		if j, err = judge(b.state.view.set, standing, c.Request, c.Staged, b.at); err != nil {
			return nil, err
		}
		if c.judged != nil {
			j.id = c.judged.id
		}
	}
	s := &signing{request: c.Request, standing: j.standing, verdict: j.Verdict}
	if !s.verdict.Complete() {
		return nil, fmt.Errorf("%w: %s", ErrUnsigned, s.verdict.Next())
	}
	for _, added := range s.verdict.Added {
		f := c.Staged[slices.IndexFunc(j.staged, func(t tuf.Target) bool { return sameTarget(t, added) })]
		if err := b.names.free(ctx, f.Filename); err != nil {
			return nil, err
		}
		f.Signers = s.signersOf(added.Path)
		s.files = append(s.files, f)
	}
	for _, f := range s.files {
		b.names.taken[f.Filename.String()] = true
	}
	s.record(b, c, j.id())
	s.contradict(b)
	s.delegate(b)
	b.signs[p] = s
	return s, nil
}

// searchable refuses a project that clients can not look up whatever its maintainers sign, because
// a bin on the way has expired; and renews the one bin that we can.
func (b *batch) searchable(p pypi.Project) error {
	layout := b.state.layout
	claimed, err := b.role(layout.ClaimedChain(p)...)
	if err != nil {
		return fmt.Errorf("reading the claimed projects of bin %s: %w", layout.Bin(p), err)
	}
	if !claimed.Expires().After(b.at) {
		return fmt.Errorf("project %s: role %s: %w", p, layout.ClaimedBin(p), ErrExpired)
	}
	name := layout.UnclaimedBin(p)
	bin, err := b.role(layout.UnclaimedChain(p)...)
	if err != nil {
		return fmt.Errorf("reading the unclaimed projects of bin %s: %w", layout.Bin(p), err)
	}
	if policy.Due(name, bin.Expires(), b.lives.Of(name), b.at) {
		b.binJob(name)
	}
	return nil
}

// signersOf returns who signed the role in which a new file is listed.
func (s *signing) signersOf(path tuf.TargetPath) []key.ID {
	for _, r := range s.verdict.Roles {
		if _, ok := r.Targets.Lookup(path); ok {
			return r.Signers
		}
	}
	return nil
}

// delegate has the bin delegate to new keys, where that is the registry's to do.
func (s *signing) delegate(b *batch) {
	p, a := s.request.Project, s.verdict.Authority
	e := binEdit{replace: s.standing.Base != nil, undo: func(err error) {
		s.err = err
		for _, r := range s.verdict.Roles {
			delete(b.staged, r.Role)
		}
	}}
	switch {
	case s.request.Kind == ceremony.Claim:
		e.delegation = policy.ClaimProject(b.state.layout, p, a, b.at)
	case !a.Equal(s.standing.Authority):
		e.delegation = policy.NewProject(b.state.layout, p, a)
	default:
		return
	}
	j := b.binJob(b.state.layout.UnclaimedBin(p))
	j.edits = append(j.edits, e)
}

// contradict cancels a recovery that waits: whoever signs the project's role has its keys. The key of a sub-role
// alone proves nothing about them.
func (s *signing) contradict(b *batch) {
	r, waits := b.state.recoveries[s.request.Project]
	if waits && s.request.Payload(policy.ProjectRole(r.Project)) != nil {
		s.cancels = &r
	}
}

// record writes the line that the project's owners will see.
func (s *signing) record(b *batch, c Sign, id string) {
	v := s.verdict
	e := Event{Project: c.Request.Project, Time: b.at, Token: c.Token, Request: id}
	for _, r := range v.Roles {
		for _, id := range r.Signers {
			if !slices.Contains(e.Keys, id) {
				e.Keys = append(e.Keys, id)
			}
		}
	}
	keys := fmt.Sprintf("%d of %d keys sign", v.Authority.Threshold(), len(v.Authority.KeyIDs()))
	var parts []string
	switch c.Request.Kind {
	case ceremony.Claim:
		e.Kind = EventClaimed
		parts = append(parts, keys)
	case ceremony.Rekey:
		e.Kind = EventRekeyed
		if added, removed := compareKeys(s.standing.Authority, v.Authority); added == 0 && removed > 0 {
			e.Kind = EventRevoked
		}
		parts = append(parts, keys, "by "+string(v.By))
	case ceremony.Release:
		e.Kind = EventReleased
		if len(v.Added)+len(v.Removed) == 0 && len(v.Changed) > 0 {
			e.Kind = EventYanked
		}
	}
	for _, n := range []struct {
		n    int
		what string
	}{{len(v.Added), "added"}, {len(v.Removed), "removed"}, {len(v.Changed), "changed"}} {
		if n.n > 0 {
			parts = append(parts, fmt.Sprintf("%d files %s", n.n, n.what))
		}
	}
	e.Text = strings.Join(parts, ", ")
	s.event = e
}

func compareKeys(old, next tuf.Authority) (added, removed int) {
	before, after := old.KeyIDs(), next.KeyIDs()
	for _, id := range after {
		if !slices.Contains(before, id) {
			added++
		}
	}
	return added, len(before) + added - len(after)
}

// stageSigned puts what maintainers signed into the publication, as it is.
func (b *batch) stageSigned() {
	for _, s := range b.signs {
		for _, r := range s.verdict.Roles {
			b.stage(Metadata{Role: r.Role, Version: r.Version, Expires: r.Expires, Bytes: r.Bytes, Maintained: true})
		}
	}
}

// publishSigned adds to a publication what goes with the signed roles.
func (b *batch) publishSigned(p *Publication) {
	for _, s := range b.signs {
		if s.err != nil {
			continue
		}
		p.Files = append(p.Files, s.files...)
		s.event.Publication = p.Number
		p.Events = append(p.Events, s.event)
		if s.cancels != nil {
			e := Event{Project: s.event.Project, Kind: EventRecoveryCancelled, Time: b.at, Publication: p.Number, Text: contradicted}
			p.Events = append(p.Events, e)
		}
		p.Closed = append(p.Closed, s.event.Request)
	}
	slices.SortStableFunc(p.Events, func(x, y Event) int { return strings.Compare(x.Project.String(), y.Project.String()) })
}

// verify checks a project's roles in the staged publication, and that clients find what was signed.
func (s *signing) verify(next *trust.Set, load trust.Loader) error {
	role := policy.ProjectRole(s.request.Project)
	project, err := next.Delegated(load, s.standing.Below(role)...)
	if err != nil {
		return fmt.Errorf("project %s: %w", s.request.Project, err)
	}
	if ds := project.Delegations(); ds != nil {
		for d := range ds.All() {
			if _, err := next.Delegated(load, s.standing.Below(role, d.Name())...); err != nil {
				return fmt.Errorf("project %s: %w", s.request.Project, err)
			}
		}
	}
	for _, want := range slices.Concat(s.verdict.Added, s.verdict.Changed) {
		found, err := next.Find(want.Path, load)
		if err != nil {
			return fmt.Errorf("finding %s: %w", want.Path, err)
		}
		if !sameTarget(found.Target, want) {
			return fmt.Errorf("%s is listed otherwise than it was signed", want.Path)
		}
	}
	for _, path := range s.verdict.Removed {
		if _, err := next.Find(path, load); !errors.Is(err, trust.ErrNotFound) {
			return fmt.Errorf("%s was removed and is not gone: %w", path, err)
		}
	}
	return nil
}
