package publish

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"example.com/bailiwick/internal/ceremony"
	"example.com/bailiwick/internal/parallel"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/internal/record"
	"example.com/bailiwick/internal/sitting"
	"example.com/bailiwick/tuf"
)

// Offline publishes what operators have signed with their offline keys: a whole request is one publication,
// together with what follows from it for the roles that online keys sign.
//
// The request is judged first, in the goroutine that calls [Publisher.Publish]. A base that is not
// the newest version, or a project whose keys have changed since, makes the request stale: the error is a
// *sitting.Refused that names the role and its version. ErrUnsigned if signatures are missing, ErrWrongKey if the
// request names an online key that is not at hand, ErrExpired if a role that it leaves alone has expired,
// ErrNoRecovery or ErrTooEarly if it recovers a project whose time has not come.
type Offline struct {
	Request *sitting.Request
	Token   string // of who brought it, for the record that owners see
	// Closes are signing requests of maintainers that the request executes: changes of keys of claimed projects.
	Closes []string

	id      string
	verdict *sitting.Verdict
}

func (c Offline) target() pypi.Project { return pypi.Project{} }

func (c Offline) check() error {
	if c.Request == nil || len(c.Token) > maxText || len(c.Closes) > maxFiles {
		return fmt.Errorf("publishing what operators have signed: there is no request, or more than %d to close: %w", maxFiles, ErrInvalid)
	}
	return nil
}

// judge does what needs no publisher, so that it keeps nobody waiting.
func (c Offline) judge(now time.Time) (Offline, error) {
	var err error
	if c.verdict, err = sitting.Judge(c.Request, now); err != nil {
		return c, err
	}
	if !c.verdict.Complete() {
		missing := make([]string, 0, 3)
		for _, m := range c.verdict.Missing[:min(len(c.verdict.Missing), 3)] {
			missing = append(missing, m.String())
		}
		return c, fmt.Errorf("%w for %d roles: %s", ErrUnsigned, len(c.verdict.Missing), strings.Join(missing, "; "))
	}
	c.id = c.Request.ID()
	return c, nil
}

// offline is an [Offline] in a batch, which holds nothing else then. The methods of a nil *offline say that there
// is none.
type offline struct {
	Offline
	results map[tuf.RoleName]*sitting.Result
	changes map[pypi.Project]sitting.Change // those that are about a project
	root    *tuf.Root                       // new; nil: stays
	edges   []edge                          // delegations of claimed bins that are new or changed
	closed  []Recovery
	err     error
}

// edge is a project that a claimed bin delegates otherwise than before.
type edge struct {
	project pypi.Project
	entered bool          // the bin did not delegate it before
	keys    tuf.Authority // that the bin names now
	before  tuf.Authority // that named the project before, in whichever tree; the zero value: nobody
	leaves  bool          // the unclaimed bin delegates it, and must not any more
}

// failure implements edit.
func (o *offline) failure() error {
	if o == nil {
		return nil
	}
	return o.err
}

// failed reports whether nothing of the request may be published.
func (o *offline) failed() bool { return o.failure() != nil }

// targets returns the new version of a role, nil if it stays.
func (o *offline) targets(role tuf.RoleName) *tuf.Targets {
	if o == nil || o.results[role] == nil {
		return nil
	}
	return o.results[role].Targets
}

func (o *offline) rootAfter(now *tuf.Root) *tuf.Root {
	if o == nil || o.root == nil {
		return now
	}
	return o.root
}

// empty reports whether nothing is in the batch yet.
func (b *batch) empty() bool {
	return len(b.signs) == 0 && len(b.calls) == 0 && len(b.bins) == 0 && b.offline == nil &&
		!slices.ContainsFunc(b.order, func(l *fileList) bool { return l.touched() })
}

// takeOffline takes what operators have signed into the batch, and all that follows from it.
func (b *batch) takeOffline(ctx context.Context, c Offline) (edit, error) {
	if !b.empty() {
		return nil, errNextBatch
	}
	o := &offline{
		Offline: c, results: make(map[tuf.RoleName]*sitting.Result, len(c.verdict.Roles)),
		changes: make(map[pypi.Project]sitting.Change),
	}
	for i := range c.verdict.Roles {
		o.results[c.verdict.Roles[i].Role] = &c.verdict.Roles[i]
	}
	for _, change := range c.verdict.Changes {
		if !change.Project.IsZero() {
			o.changes[change.Project] = change
		}
	}
	b.offline = o
	for _, step := range []func(context.Context, *offline) error{
		b.isCurrent, b.nextRoot, b.unexpired, b.findEdges, b.recover, b.sameFiles, b.dropPromoted, b.rotateRegistry,
	} {
		if err := step(ctx, o); err != nil {
			b.reset()
			return nil, err
		}
	}
	return o, nil
}

// reset drops what a change that failed half-way has put into an empty batch.
func (b *batch) reset() {
	b.offline = nil
	clear(b.lists)
	clear(b.bins)
	b.order = nil
}

// stale refuses a request that was made for a state which is gone.
func stale(role tuf.RoleName, newest int64, format string, args ...any) error {
	return &sitting.Refused{Reason: sitting.Stale, Role: role, Version: newest, Message: fmt.Sprintf(format, args...)}
}

// published returns the newest version of a role and its bytes.
func (b *batch) published(ctx context.Context, role tuf.RoleName) (int64, []byte, error) {
	version := b.state.book.version(role)
	if version == 0 {
		return 0, nil, nil
	}
	data, err := b.state.view.shelf.read(ctx, role, version)
	return version, data, err
}

// isCurrent holds what the request is based on against what is published.
func (b *batch) isCurrent(ctx context.Context, o *offline) error {
	if o.Request.Repository != b.state.view.repository {
		return &sitting.Refused{Reason: sitting.Foreign, Message: fmt.Sprintf("the request was made for another repository (its first root is %.6x…, here it is %.6x…); make it anew for this one",
			o.Request.Repository, b.state.view.repository)}
	}
	payloads := o.Request.Payloads
	errs := make([]error, len(payloads))
	parallel.Do(len(payloads), func(i int) { errs[i] = b.baseIsCurrent(ctx, o, &payloads[i]) })
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return b.chainIsCurrent(ctx, &o.Request.Chain)
}

func (b *batch) baseIsCurrent(ctx context.Context, o *offline, p *sitting.Payload) error {
	newest, data, err := b.published(ctx, p.Role)
	if err != nil {
		return err
	}
	r := o.results[p.Role]
	if r == nil {
		return fmt.Errorf("the judgement of the request leaves out %s: %w", p.Role, ErrInvalid)
	}
	if r.Version != newest+1 || !bytes.Equal(p.Base, data) {
		return stale(p.Role, newest, "the request is based on version %d of %s and the newest is %d; make it anew on that and sign again", r.Version-1, p.Role, newest)
	}
	return nil
}

// nextRoot reads a new root, and makes sure that the online keys which it names are at hand.
func (b *batch) nextRoot(_ context.Context, o *offline) error {
	r := o.results[tuf.RoleRoot]
	if r == nil {
		return nil
	}
	stage := b.state.view.set.Next(b.at)
	if _, err := stage.Accept(r.Bytes); err != nil {
		return fmt.Errorf("the new root: %w: %w", ErrInvalid, err)
	}
	o.root = stage.Root()
	for _, role := range []tuf.RoleName{tuf.RoleTimestamp, tuf.RoleSnapshot} {
		a, _ := o.root.Authority(role)
		if err := b.canSign(role, a); err != nil {
			return err
		}
	}
	return nil
}

// unexpired refuses a request after which clients would refuse everything all the same.
func (b *batch) unexpired(_ context.Context, o *offline) error {
	var gone []error
	look := func(role tuf.RoleName, expires time.Time) {
		if !expires.After(b.at) {
			gone = append(gone, fmt.Errorf("the role %s has expired at %s and is not in the request: %w", role, tuf.FormatTime(expires), ErrExpired))
		}
	}
	set := b.state.view.set
	look(tuf.RoleRoot, o.rootAfter(set.Root()).Expires())
	top := o.targets(tuf.RoleTargets)
	if top == nil {
		top = set.Targets()
	} else if l, err := policy.LayoutOf(top); err != nil || l != b.state.layout {
		return fmt.Errorf("the new version of targets divides the repository into other bins (%w): %w", err, ErrInvalid)
	}
	look(tuf.RoleTargets, top.Expires())
	for _, role := range []tuf.RoleName{policy.RoleClaimed, policy.RoleUnclaimed} {
		if t := o.targets(role); t != nil {
			look(role, t.Expires())
		} else if e := b.state.book.roles[role]; e != nil {
			look(role, e.Expires)
		}
	}
	return errors.Join(gone...)
}

// findEdges compares the claimed bins of the request with those that they replace.
func (b *batch) findEdges(_ context.Context, o *offline) error {
	var bins []*sitting.Result
	for i := range o.verdict.Roles {
		if r := &o.verdict.Roles[i]; policy.KindOf(r.Role) == policy.KindClaimedBin {
			bins = append(bins, r)
		}
	}
	edges, errs := make([][]edge, len(bins)), make([]error, len(bins))
	parallel.Do(len(bins), func(i int) { edges[i], errs[i] = b.edgesOf(bins[i]) })
	if err := errors.Join(errs...); err != nil {
		return err
	}
	o.edges = slices.Concat(edges...)
	var changed []string
	for _, e := range o.edges {
		if o.changes[e.project].Kind == sitting.Promoted && !(e.leaves && e.keys.Equal(e.before)) {
			changed = append(changed, e.project.String())
		}
	}
	if len(changed) > 0 {
		role := tuf.RoleName("project." + changed[0])
		return stale(role, b.state.book.version(role), "the keys of %d projects have changed since the request was made, so they can not be promoted by it: %s; make it anew",
			len(changed), strings.Join(changed[:min(len(changed), 20)], ", "))
	}
	return nil
}

// edgesOf returns the projects that a claimed bin delegates otherwise than before.
func (b *batch) edgesOf(r *sitting.Result) ([]edge, error) {
	bin, _ := policy.BinOf(r.Role)
	base, err := b.role(b.state.layout.ClaimedBinChain(bin)...)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", r.Role, err)
	}
	if !policy.FallsThroughLast(r.Targets) {
		return nil, fmt.Errorf("the last delegation of the new version of %s is not the one to %s: %w", r.Role, policy.RoleUnclaimed, ErrInvalid)
	}
	var out []edge
	for d := range r.Targets.Delegations().All() {
		p, ok := policy.ProjectOf(d.Name())
		if !ok {
			continue
		}
		e := edge{project: p}
		if e.keys, err = d.Authority(); err != nil {
			return nil, fmt.Errorf("reading the keys of %s: %w", p, err)
		}
		old, had := delegation(base, d.Name())
		if had {
			if e.before, err = old.Authority(); err != nil {
				return nil, fmt.Errorf("reading the keys of %s: %w", p, err)
			}
			if e.keys.Equal(e.before) && bytes.Equal(d.Raw(), old.Raw()) {
				continue
			}
		} else if err := b.enters(&e); err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, b.nobodyLeaves(r, base)
}

// enters fills in who signed for a project that its claimed bin delegates for the first time.
func (b *batch) enters(e *edge) error {
	e.entered = true
	bin, err := b.role(b.state.layout.UnclaimedChain(e.project)...)
	if err != nil {
		return fmt.Errorf("reading the unclaimed projects of bin %s: %w", b.state.layout.Bin(e.project), err)
	}
	d, ok := delegation(bin, policy.ProjectRole(e.project))
	if !ok {
		return nil
	}
	e.leaves = true
	if e.before, err = d.Authority(); err != nil {
		return fmt.Errorf("reading the keys of %s: %w", e.project, err)
	}
	return nil
}

// nobodyLeaves refuses a bin that does not delegate a claimed project any more: clients would look for
// it in the unclaimed tree.
func (b *batch) nobodyLeaves(r *sitting.Result, base *tuf.Targets) error {
	ds := base.Delegations()
	if ds == nil {
		return nil
	}
	for d := range ds.All() {
		if _, ok := delegation(r.Targets, d.Name()); !ok {
			return fmt.Errorf("the new version of %s does not delegate %s any more, and a claimed project stays claimed: %w", r.Role, d.Name(), ErrInvalid)
		}
	}
	return nil
}

// recover looks whether the time of recoveries has come, and ends those that wait for nothing more.
func (b *batch) recover(_ context.Context, o *offline) error {
	for p, change := range o.changes {
		r, waits := b.state.recoveries[p]
		switch change.Kind { //nolint:exhaustive // the others have nothing to do with recoveries
		case sitting.Recovered:
			if !waits {
				return fmt.Errorf("project %s: announce it first: %w", p, ErrNoRecovery)
			}
			if b.at.Before(r.NotBefore) {
				return fmt.Errorf("project %s: announced on %s, not before %s: %w", p, tuf.FormatTime(r.Announced), tuf.FormatTime(r.NotBefore), ErrTooEarly)
			}
			a, err := tuf.NewAuthority(r.Threshold, r.Keys...)
			if err != nil || !a.Equal(change.New) {
				return fmt.Errorf("project %s: the request gives it other keys than those that were announced (%w): %w", p, err, ErrInvalid)
			}
			r.Outcome = record.Recovered
		case sitting.Rekeyed:
			if !waits {
				continue
			}
			r.Outcome = record.RecoveryCancelled
		default:
			continue
		}
		r.Closed = b.number()
		o.closed = append(o.closed, r)
	}
	slices.SortFunc(o.closed, func(x, y Recovery) int { return compareProjects(x.Project, y.Project) })
	return nil
}

// sameFiles refuses project roles that list files which were not listed before: operators change who signs, and
// a change of keys may take files off the list, but what is added comes by a release.
func (b *batch) sameFiles(_ context.Context, o *offline) error {
	for _, r := range o.verdict.Roles {
		p, ok := policy.ProjectOf(r.Role)
		if !ok {
			continue
		}
		standing, err := ceremony.Look(b.state.view.set, b.load, b.state.view.repository, p)
		if err != nil {
			return fmt.Errorf("reading who signs %s: %w", p, err)
		}
		if standing.Base == nil || !listsOnly(r.Targets, standing.Base) {
			return fmt.Errorf("the new version of %s lists files that the published one does not: %w", r.Role, ErrInvalid)
		}
	}
	return nil
}

// listsOnly reports whether a role lists nothing but what another one lists.
func listsOnly(t, base *tuf.Targets) bool {
	for target := range t.All() {
		if other, ok := base.Lookup(target.Path); !ok || !sameTarget(target, other) {
			return false
		}
	}
	return true
}

// stageOffline puts what operators signed into the publication, as it is.
func (b *batch) stageOffline() {
	if b.offline == nil {
		return
	}
	for i := range b.offline.verdict.Roles {
		r := &b.offline.verdict.Roles[i]
		b.stage(Metadata{Role: r.Role, Version: r.Version, Expires: r.Expires, Bytes: r.Bytes, Maintained: ofProject(r.Role)})
	}
}

// ofProject reports whether a role is a project's or one of its sub-roles: in a request to offline keys those are never
// roles that the registry renews.
func ofProject(role tuf.RoleName) bool {
	_, _, sub := policy.SubRoleOf(role)
	return sub || policy.KindOf(role) == policy.KindProject
}
