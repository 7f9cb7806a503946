package publish

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"example.com/bailiwick/internal/ceremony"
	"example.com/bailiwick/internal/parallel"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/internal/record"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/repo"
	"example.com/bailiwick/tuf/trust"
)

// batch is one publication in the making. Nothing of it touches the state of the publisher until
// it is committed, so a batch that fails is simply dropped. Its steps, in this order:
//
//	apply   each change edits the file list of its project, or is refused alone
//	build   new project roles, then new bins, then what pins them, each signed
//	verify  the staged publication, as a client that has seen the previous one
//
// It belongs to the publisher's goroutine.
type batch struct {
	state *state
	keys  *keyring
	lives policy.Lifetimes
	delay time.Duration // of recoveries
	at    time.Time     // of the publication
	load  trust.Loader

	names *nameRegister
	lists map[pypi.Project]*fileList
	order []*fileList               // the values of lists, in the order of their first change
	signs map[pypi.Project]*signing // what maintainers signed; a project is in one of the three maps
	calls map[pypi.Project]*call    // recoveries announced or withdrawn
	bins  map[tuf.RoleName]*binJob  // bins that get a new version
	repin bool                      // sign a new snapshot even if no role changed

	offline *offline // what operators signed: then nothing else is in the batch

	lost []error // what went wrong with renewals, which nobody waits for

	// countersign has signed what no key at hand may sign; nil: there is nobody who could.
	countersign func(context.Context, *batch) error
	line        Countersigner          // whom countersign asks
	drafting    sync.Mutex             // guards drafts
	drafts      map[tuf.RoleName]draft // what online keys sign, if countersign is set
	resumed     *resumed               // the batch is one that was proposed before; nil: it is not

	// What build makes.
	staged   map[tuf.RoleName]Metadata
	snapshot *repo.Snapshot
	entries  []RecordEntry // appended to the record
	record   record.Head   // after them
	next     *trust.Set    // made by verify
}

// edit is what a change did in a batch: to a list of files, or by a signing request.
type edit interface {
	// failure says why the project can not be published; only its own changes fail for that.
	failure() error
}

func newBatch(c *Config, keys *keyring, s *state, at time.Time, load trust.Loader) *batch {
	return &batch{
		state: s, keys: keys, lives: c.Lifetimes, delay: c.RecoveryDelay, at: at, load: load, record: s.head.Record,
		names:  &nameRegister{ledger: c.Ledger, taken: make(map[string]bool)},
		lists:  make(map[pypi.Project]*fileList),
		signs:  make(map[pypi.Project]*signing),
		calls:  make(map[pypi.Project]*call),
		bins:   make(map[tuf.RoleName]*binJob),
		staged: make(map[tuf.RoleName]Metadata),
	}
}

// errNextBatch: the change meets another one of its project that it can not share a batch with.
var errNextBatch = errors.New("the change waits for the next publication")

// apply makes one change. It returns what it edited, or nil if it changed nothing.
func (b *batch) apply(ctx context.Context, c Change) (edit, error) {
	if b.offline != nil || b.signs[c.target()] != nil || b.calls[c.target()] != nil {
		return nil, errNextBatch
	}
	switch c := c.(type) {
	case Sign:
		return b.sign(ctx, c)
	case Announcement:
		return b.announce(ctx, c)
	case Withdrawal:
		return b.withdraw(ctx, c)
	case Restore:
		return b.restore(c)
	case Offline:
		return b.takeOffline(ctx, c)
	}
	list, err := b.list(c.target())
	if err != nil {
		return nil, err
	}
	change, ok := c.(listChange)
	if !ok {
		return nil, fmt.Errorf("a change of type %T: %w", c, ErrInvalid)
	}
	changed, err := change.apply(ctx, b.at, list)
	if err != nil || !changed {
		return nil, err
	}
	return list, nil
}

// list returns the file list of a project, read through the edge by which clients trust it.
func (b *batch) list(p pypi.Project) (*fileList, error) {
	if l := b.lists[p]; l != nil {
		return l, nil
	}
	l, err := b.open(p)
	if err != nil {
		return nil, err
	}
	b.lists[p] = l
	b.order = append(b.order, l)
	return l, nil
}

func (b *batch) open(p pypi.Project) (*fileList, error) {
	layout := b.state.layout
	claimed, err := b.role(layout.ClaimedChain(p)...)
	if err != nil {
		return nil, fmt.Errorf("reading the claimed projects of bin %s: %w", layout.Bin(p), err)
	}
	if !claimed.Expires().After(b.at) {
		// Every search for the project goes through it first. Found here, it fails this change and
		// not the batch.
		return nil, fmt.Errorf("project %s: role %s: %w", p, layout.ClaimedBin(p), ErrExpired)
	}
	role := policy.ProjectRole(p)
	if _, ok := delegation(claimed, role); ok {
		return nil, fmt.Errorf("project %s: %w", p, ErrNotRegistry)
	}
	binName := layout.UnclaimedBin(p)
	bin, err := b.role(layout.UnclaimedChain(p)...)
	if err != nil {
		return nil, fmt.Errorf("reading the unclaimed projects of bin %s: %w", layout.Bin(p), err)
	}
	if policy.Due(binName, bin.Expires(), b.lives.Of(binName), b.at) {
		b.binJob(binName) // it may have expired while nothing ran
	}
	l := &fileList{project: p, layout: layout, names: b.names}
	d, ok := delegation(bin, role)
	if !ok {
		l.authority, err = b.binAuthority(binName)
		return l, err
	}
	if l.authority, err = d.Authority(); err != nil {
		return nil, fmt.Errorf("reading the keys of project %s: %w", p, err)
	}
	if !b.registryMaySign(binName, l.authority) {
		return nil, fmt.Errorf("project %s: %w", p, ErrNotRegistry)
	}
	if l.base, err = b.role(append(layout.UnclaimedChain(p), role)...); err != nil {
		return nil, fmt.Errorf("reading the files of project %s: %w", p, err)
	}
	return l, nil
}

// role returns the published version of a delegated role, verified through the given chain of
// delegations. Unlike a client it takes an expired one, which is the base of its own renewal.
func (b *batch) role(chain ...tuf.RoleName) (*tuf.Targets, error) {
	return ceremony.Role(b.state.view.set, b.load, chain...)
}

// registryMaySign reports whether the registry key alone satisfies an authority. Where the isolated signer holds
// that key, it is the one that the bin names.
func (b *batch) registryMaySign(bin tuf.RoleName, a tuf.Authority) bool {
	if b.keys.holds(a) || b.countersign == nil {
		return b.keys.holds(a)
	}
	registry, err := b.binAuthorityBefore(bin)
	return err == nil && a.Equal(registry)
}

// renew gives a registry-signed role a new version because it will expire.
func (b *batch) renew(role tuf.RoleName) error {
	p, isProject := policy.ProjectOf(role)
	if isProject && b.signs[p] != nil {
		return fmt.Errorf("project %s: %w", p, ErrNotRegistry)
	}
	if !isProject {
		// Read now, so that a damaged bin fails its own renewal and not the batch.
		if _, err := b.role(binChain(b.state.layout, role)...); err != nil {
			return err
		}
		b.binJob(role)
		return nil
	}
	l, err := b.list(p)
	if err != nil {
		return err
	}
	if l.base == nil {
		// Not delegated: a role that was parked elsewhere. There is nothing to renew it from.
		return fmt.Errorf("project %s: %w", p, ErrNotRegistry)
	}
	l.renew = true
	return nil
}

// build signs everything that the batch changes. An error concerns the whole batch; a project that
// can not be rendered or signed has its err set and is left out. It reports false if nothing is
// left to publish.
func (b *batch) build(ctx context.Context, refreshTimestamp bool) (bool, error) {
	b.buildLists(ctx)
	b.stageSigned()
	b.stageOffline()
	b.buildBins(ctx)
	something := len(b.staged) > 0 || len(b.calls) > 0 || b.repin || refreshTimestamp
	if !something || b.offline.failed() {
		return false, nil
	}
	return true, b.pin(ctx)
}

// buildLists signs the new project roles, in parallel: they do not depend on each other.
func (b *batch) buildLists(ctx context.Context) {
	var lists []*fileList
	for _, l := range b.order {
		if l.touched() && l.err == nil {
			lists = append(lists, l)
		}
	}
	parallel.Do(len(lists), func(i int) {
		l := lists[i]
		l.signed, l.err = b.buildList(ctx, l)
	})
	for _, l := range lists {
		if l.err != nil {
			switch {
			case l.failed != nil:
				l.failed(l.err)
			case l.renew:
				b.lost = append(b.lost, l.err)
			}
			continue
		}
		b.stage(l.signed)
		if l.base == nil || l.rekey {
			j := b.binJob(b.state.layout.UnclaimedBin(l.project))
			j.edits = append(j.edits, binEdit{
				delegation: policy.NewProject(b.state.layout, l.project, l.authority),
				replace:    l.rekey,
				undo: func(err error) {
					l.err = err
					delete(b.staged, l.signed.Role)
				},
			})
		}
	}
}

func (b *batch) buildList(ctx context.Context, l *fileList) (Metadata, error) {
	role := policy.ProjectRole(l.project)
	issue := b.issue(role, l.authority)
	issue.Paths = []string{b.state.layout.ProjectPattern(l.project)}
	draft, err := l.draft(issue)
	if err != nil {
		return Metadata{}, fmt.Errorf("rendering the file list of %s: %w", l.project, err)
	}
	m, err := b.signDraft(ctx, draft)
	if err != nil {
		return Metadata{}, err
	}
	if limit := tuf.DefaultLimits().TargetsBytes; int64(len(m.Bytes)) > limit {
		return Metadata{}, fmt.Errorf("the file list of %s would be %d bytes long and clients read at most %d: %w",
			l.project, len(m.Bytes), limit, ErrTooManyFiles)
	}
	return m, nil
}

// pin renders and signs what pins the staged roles: the snapshot, unless nothing changed that it
// lists, and the timestamp. It is the one place that is told which roles changed, so another form
// of pinning (a hash tree beside the snapshot) has this function to stand in.
func (b *batch) pin(ctx context.Context) error {
	set := b.state.view.set
	root := b.offline.rootAfter(set.Root())
	pinned := repo.MetaOf(set.Snapshot().Version(), set.Snapshot().Bytes())
	base, err := b.recordedBase()
	if err != nil {
		return err
	}
	if len(b.staged) > 0 || len(b.entries) > 0 || b.repin {
		changed := make(map[tuf.RoleName]int64, len(b.staged))
		for role, m := range b.staged {
			if role != tuf.RoleRoot {
				changed[role] = m.Version
			}
		}
		authority, _ := root.Authority(tuf.RoleSnapshot)
		snapshot, draft, err := base.Edit(changed, b.issue(tuf.RoleSnapshot, authority))
		if err != nil {
			return fmt.Errorf("rendering the snapshot: %w", err)
		}
		m, err := b.signDraft(ctx, draft)
		if err != nil {
			return err
		}
		b.snapshot = snapshot
		b.stage(m)
		if err := b.complete(ctx); err != nil {
			return err
		}
		pinned = repo.MetaOf(m.Version, b.staged[tuf.RoleSnapshot].Bytes)
	}
	return b.stamp(ctx, root, pinned)
}

// stamp signs the timestamp, whose key is always at hand.
func (b *batch) stamp(ctx context.Context, root *tuf.Root, pinned tuf.Meta) error {
	authority, _ := root.Authority(tuf.RoleTimestamp)
	draft, err := repo.EditTimestamp(b.state.view.set.Timestamp(), pinned, b.issue(tuf.RoleTimestamp, authority))
	if err != nil {
		return fmt.Errorf("rendering the timestamp: %w", err)
	}
	m, err := b.signDraft(ctx, draft)
	if err != nil {
		return err
	}
	b.stage(m)
	return nil
}

// issue returns the next version of a role and its life.
func (b *batch) issue(role tuf.RoleName, a tuf.Authority) repo.Issue {
	return repo.Issue{
		Role: role, Version: b.state.book.version(role) + 1, Authority: a,
		Now: b.at, Expires: b.at.Add(b.lives.Of(role)),
	}
}

// signDraft signs with the one key that the role needs. The signature is not checked here: before
// anything is committed, verify checks every file of the batch as clients do.
func (b *batch) signDraft(ctx context.Context, d *repo.Draft) (Metadata, error) {
	by, err := b.keys.signer(d.Role(), d.Authority())
	if err != nil && b.countersign != nil && d.Role() != tuf.RoleTimestamp {
		b.note(d) // the isolated signer signs it
		return Metadata{Role: d.Role(), Version: d.Version(), Expires: d.Expires()}, nil
	}
	if err != nil {
		return Metadata{}, fmt.Errorf("signing version %d of %s: %w", d.Version(), d.Role(), err)
	}
	signature, err := d.Sign(ctx, by)
	if err != nil {
		return Metadata{}, fmt.Errorf("signing version %d of %s: %w", d.Version(), d.Role(), err)
	}
	if b.countersign != nil {
		b.note(d, signature)
	}
	return Metadata{
		Role: d.Role(), Version: d.Version(), Expires: d.Expires(),
		Bytes: d.Envelope([]tuf.Signature{signature}),
	}, nil
}

func (b *batch) stage(m Metadata) { b.staged[m.Role] = m }

// publication returns what the ledger is to commit.
func (b *batch) publication() *Publication {
	if b.resumed != nil {
		return b.resumed.as(b)
	}
	p := &Publication{Number: b.number(), Time: b.at}
	for _, role := range slices.Sorted(maps.Keys(b.staged)) {
		p.Metadata = append(p.Metadata, b.staged[role])
	}
	for _, l := range b.order {
		if l.err == nil {
			p.Files = append(p.Files, l.used...)
		}
	}
	b.publishSigned(p)
	b.publishCalls(p)
	b.offline.publish(p)
	p.Record = b.entries
	return p
}
