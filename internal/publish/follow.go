package publish

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"example.com/bailiwick/internal/parallel"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/internal/record"
	"example.com/bailiwick/internal/sitting"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
	"example.com/bailiwick/tuf/repo"
	"example.com/bailiwick/tuf/trust"
)

// dropPromoted has the unclaimed bins give up the projects that their claimed bins delegate now.
func (b *batch) dropPromoted(_ context.Context, o *offline) error {
	for _, e := range o.edges {
		if e.leaves {
			j := b.binJob(b.state.layout.UnclaimedBin(e.project))
			j.edits = append(j.edits, binEdit{
				delegation: repo.Delegation{Role: policy.ProjectRole(e.project)}, remove: true,
				undo: func(err error) { o.err = err },
			})
		}
	}
	return nil
}

// rotateRegistry signs with the new registry key what the old one has signed, where the new version of unclaimed names
// another: every bin, and every project that nobody has claimed. All of it has to be in the one publication: a
// bin of the new key that delegates to projects of the old one would leave those to whoever has it.
func (b *batch) rotateRegistry(_ context.Context, o *offline) error {
	unclaimed := o.targets(policy.RoleUnclaimed)
	if unclaimed == nil {
		return nil
	}
	leaving := make(map[pypi.Project]bool)
	for _, e := range o.edges {
		leaving[e.project] = e.leaves
	}
	for bin := range b.state.layout.BinNames() {
		chain := b.state.layout.UnclaimedBinChain(bin)
		name := chain[len(chain)-1]
		before, err := b.binAuthorityBefore(name)
		if err != nil {
			return err
		}
		after, err := authorityOf(unclaimed, name)
		if err != nil {
			return err
		}
		if before.Equal(after) {
			continue
		}
		if err := b.canSign(name, after); err != nil {
			return err
		}
		b.binJob(name).failed = func(err error) { o.err = err }
		if err := b.rotateProjects(o, chain, before, after, leaving); err != nil {
			return err
		}
	}
	return nil
}

// rotateProjects renews the projects of one bin that the registry signs, for its new key.
func (b *batch) rotateProjects(o *offline, chain []tuf.RoleName, before, after tuf.Authority, leaving map[pypi.Project]bool) error {
	bin, err := b.role(chain...)
	if err != nil {
		return fmt.Errorf("reading %s: %w", chain[len(chain)-1], err)
	}
	ds := bin.Delegations()
	if ds == nil {
		return nil
	}
	var lists []*fileList
	for d := range ds.All() {
		p, ok := policy.ProjectOf(d.Name())
		if !ok || leaving[p] {
			continue
		}
		a, err := d.Authority()
		if err != nil {
			return fmt.Errorf("reading the keys of project %s: %w", p, err)
		}
		if !sharesKey(a, before) {
			continue // its maintainers sign it
		}
		lists = append(lists, &fileList{
			project: p, layout: b.state.layout, names: b.names, authority: after, renew: true, rekey: true,
			failed: func(err error) { o.err = err },
		})
	}
	errs := make([]error, len(lists))
	parallel.Do(len(lists), func(i int) {
		l := lists[i]
		if l.base, errs[i] = b.role(append(slices.Clip(chain), policy.ProjectRole(l.project))...); errs[i] != nil {
			errs[i] = fmt.Errorf("reading the files of project %s: %w", l.project, errs[i])
		}
	})
	for _, l := range lists {
		b.lists[l.project] = l
	}
	b.order = append(b.order, lists...)
	return errors.Join(errs...)
}

// sharesKey reports whether some key is in both authorities: then the registry can sign for the project, and nobody
// has claimed it.
func sharesKey(a, b tuf.Authority) bool {
	return slices.ContainsFunc(a.KeyIDs(), func(id key.ID) bool { return slices.Contains(b.KeyIDs(), id) })
}

// verify checks what operators signed in the staged publication: that clients get to every role of it, and
// from every claimed bin on to the unclaimed tree.
func (o *offline) verify(b *batch, next *trust.Set, load trust.Loader) []func() error {
	checks := []func() error{func() error { return b.fromTheFirstRoot(next) }}
	everywhere := o.results[tuf.RoleTargets] != nil || o.results[policy.RoleClaimed] != nil || o.results[policy.RoleUnclaimed] != nil
	for bin := range b.state.layout.BinNames() {
		chain := b.state.layout.UnclaimedBinChain(bin)
		if everywhere || o.results[chain[1]] != nil {
			checks = append(checks, func() error { return o.reaches(next, load, chain) })
		}
	}
	for _, e := range o.edges {
		checks = append(checks, func() error { return reachesProject(next, load, b.state.layout, e.project) })
	}
	for role := range o.results {
		p, ok := policy.ProjectOf(role)
		if sub, _, isSub := policy.SubRoleOf(role); isSub {
			p, ok = sub, true
		}
		if ok {
			checks = append(checks, func() error { return reachesProject(next, load, b.state.layout, p) })
		}
	}
	return checks
}

// reaches verifies the roles of a chain. One that has expired before, and that the request does not sign, is
// no fault of it.
func (o *offline) reaches(next *trust.Set, load trust.Loader, chain []tuf.RoleName) error {
	_, err := next.Delegated(load, chain...)
	var refused *trust.RefusedError
	if errors.As(err, &refused) && refused.Code == trust.Expired && o.results[refused.Role] == nil {
		return nil
	}
	return err
}

// reachesProject verifies a project's role by way of its claimed bin, and all that it delegates.
func reachesProject(next *trust.Set, load trust.Loader, l policy.Layout, p pypi.Project) error {
	chain := append(l.ClaimedChain(p), policy.ProjectRole(p))
	project, err := next.Delegated(load, chain...)
	if err != nil {
		return fmt.Errorf("project %s: %w", p, err)
	}
	ds := project.Delegations()
	if ds == nil {
		return nil
	}
	for d := range ds.All() {
		if _, err := next.Delegated(load, append(slices.Clip(chain), d.Name())...); err != nil {
			return fmt.Errorf("project %s: %w", p, err)
		}
	}
	return nil
}

// fromTheFirstRoot takes the steps of a client that knows nothing but the first root, and makes sure that they lead to
// the same roles.
func (b *batch) fromTheFirstRoot(next *trust.Set) error {
	read := func(role tuf.RoleName, version int64) ([]byte, error) {
		if m, ok := b.staged[role]; ok && m.Version == version {
			return m.Bytes, nil
		}
		return b.state.view.shelf.read(context.Background(), role, version)
	}
	set, err := replay(read, next.Root().Version(), next.Timestamp().Version(), b.asOf(), nil)
	if err != nil {
		return fmt.Errorf("a client that knows the first root: %w", err)
	}
	if set.Root().Digest() != next.Root().Digest() || set.Timestamp().Digest() != next.Timestamp().Digest() ||
		set.Snapshot().Digest() != next.Snapshot().Digest() || set.Targets().Digest() != next.Targets().Digest() {
		return errors.New("a client that knows the first root gets to other files than one that knows the last publication")
	}
	return nil
}

// entries returns what the record says of the request, without numbers and times.
func (o *offline) entries() []RecordEntry {
	if o == nil {
		return nil
	}
	var out []RecordEntry
	before := make(map[pypi.Project]tuf.Authority, len(o.edges))
	for _, e := range o.edges {
		before[e.project] = e.before
	}
	for _, c := range o.verdict.Changes {
		if signed, ok := before[c.Project]; ok {
			c.Old = signed // the request does not know the unclaimed tree, and of a parked project it says whose it was
		}
		e := RecordEntry{Role: c.Role, Old: record.KeysOf(c.Old), New: record.KeysOf(c.New), Text: clipLine(c.Text)}
		if !c.Project.IsZero() {
			e.Role = policy.ProjectRole(c.Project)
		}
		switch c.Kind {
		case sitting.Promoted:
			e.Kind = record.Promoted
		case sitting.Parked:
			e.Kind = record.Parked
		case sitting.Recovered:
			e.Kind = record.Recovered
		case sitting.Rekeyed:
			e.Kind = record.Rekeyed
			if added, removed := compareKeys(c.Old, c.New); added == 0 && removed > 0 {
				e.Kind = record.Revoked
			}
		case sitting.BinKeys:
			e.Kind = record.KeysChanged
		case sitting.TreeKeys:
			e.Kind = record.KeysChanged
			e.Role = policy.RoleClaimed
			if c.Role != tuf.RoleTargets {
				e.Role = policy.RoleUnclaimed
			}
		case sitting.RootKeys, sitting.RootRenewed:
			e.Kind = record.Root
		case sitting.Renewed, sitting.Bounded:
			continue
		default:
			continue
		}
		// Every claimed bin says who signs unclaimed; that is one change of hands, not thousands.
		if n := len(out); n > 0 && sameEntry(&out[n-1], &e) {
			continue
		}
		out = append(out, e)
	}
	for i := range o.closed {
		if r := &o.closed[i]; r.Outcome == record.RecoveryCancelled {
			out = append(out, r.cancelled(o.changes[r.Project].New, "the project has got other keys by its own"))
		}
	}
	return out
}

func sameEntry(a, b *RecordEntry) bool {
	return a.Kind == b.Kind && a.Role == b.Role && slices.Equal(a.Old.IDs, b.Old.IDs) && slices.Equal(a.New.IDs, b.New.IDs) &&
		a.Old.Threshold == b.Old.Threshold && a.New.Threshold == b.New.Threshold
}

// clipLine makes text fit into an entry of the record: what would not is left out.
func clipLine(s string) string {
	if !oneLine(s) {
		return ""
	}
	return s
}

func (o *offline) recoveries() []Recovery {
	if o == nil {
		return nil
	}
	return o.closed
}

// publish adds to a publication what goes with the request.
func (o *offline) publish(p *Publication) {
	if o == nil {
		return
	}
	p.Executed = append(p.Executed, o.id)
	p.Closed = append(p.Closed, o.Closes...)
	kinds := map[sitting.ChangeKind]EventKind{
		sitting.Promoted: EventPromoted, sitting.Parked: EventParked, sitting.Recovered: EventRecovered, sitting.Rekeyed: EventRekeyed,
	}
	for _, c := range o.verdict.Changes {
		kind, ok := kinds[c.Kind]
		if !ok || c.Project.IsZero() {
			continue
		}
		p.Events = append(p.Events, Event{
			Project: c.Project, Kind: kind, Time: p.Time, Publication: p.Number, Token: o.Token, Request: o.id, Text: clipLine(c.Text),
		})
	}
	for _, r := range o.closed {
		if r.Outcome == record.RecoveryCancelled {
			p.Events = append(p.Events, Event{Project: r.Project, Kind: EventRecoveryCancelled, Time: p.Time, Publication: p.Number, Text: "the project has got other keys by its own"})
		}
	}
}
