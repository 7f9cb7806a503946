package publish

import (
	"context"
	"crypto/sha256"
	"fmt"
	"time"

	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/repo"
	"example.com/bailiwick/tuf/trust"
)

// state is what the publisher knows about the committed repository. It only ever changes as a
// whole, after a commit or a reload, so it always equals what the ledger holds.
type state struct {
	head     Head
	layout   policy.Layout
	book     *roleBook
	snapshot *repo.Snapshot
	view     *View
	// recoveries are those that wait, by project. Never changed, only replaced.
	recoveries map[pypi.Project]Recovery
}

// loadState reads the repository out of the ledger and verifies it from its first root.
func loadState(ctx context.Context, l Ledger, s *shelf) (*state, error) {
	head, err := l.Head(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the newest publication: %w", err)
	}
	roles, err := l.Roles(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the list of roles: %w", err)
	}
	set, err := replay(ledgerReader(ctx, l), head.Root, head.Number, head.Time, trust.NewCache(verifiedCacheBytes))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	layout, err := policy.LayoutOf(set.Targets())
	if err != nil {
		return nil, fmt.Errorf("%w: reading how the repository is divided into bins: %w", ErrDamaged, err)
	}
	if err := checkPinned(set, roles, head); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	snapshot, err := repo.OpenSnapshot(set.Snapshot())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if err := checkHead(set.Snapshot(), head); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	waiting, err := l.Recoveries(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the recoveries that wait: %w", err)
	}
	recoveries := recoveriesAfter(nil, waiting)
	first, err := l.Metadata(ctx, tuf.RoleRoot, 1)
	if err != nil {
		return nil, fmt.Errorf("reading the first root: %w", err)
	}
	return &state{
		head: head, layout: layout, book: newRoleBook(roles), snapshot: snapshot, recoveries: recoveries,
		view: &View{
			number: head.Number, time: head.Time, set: set, layout: layout, shelf: s,
			repository: sha256.Sum256(first.Bytes), record: head.Record, recoveries: recoveries, roles: roles,
		},
	}, nil
}

func ledgerReader(ctx context.Context, l Ledger) reader {
	return func(role tuf.RoleName, version int64) ([]byte, error) {
		m, err := l.Metadata(ctx, role, version)
		if err != nil {
			return nil, fmt.Errorf("reading version %d of %s: %w", version, role, err)
		}
		return m.Bytes, nil
	}
}

// checkPinned compares the ledger's list of roles with what is signed.
func checkPinned(set *trust.Set, roles []Role, head Head) error {
	pinned := 0
	for _, r := range roles {
		var want int64
		switch r.Name {
		case tuf.RoleRoot:
			want = head.Root
		case tuf.RoleTimestamp:
			want = head.Number
		case tuf.RoleSnapshot:
			want = set.Snapshot().Version()
		default:
			meta, ok := set.Snapshot().Lookup(r.Name)
			if !ok {
				return fmt.Errorf("the snapshot does not list the role %s", r.Name)
			}
			want = meta.Version
			pinned++
		}
		if r.Version != want {
			return fmt.Errorf("the newest version of %s is %d, but %d is the one that counts", r.Name, r.Version, want)
		}
	}
	if n := set.Snapshot().Len(); n != pinned {
		return fmt.Errorf("the snapshot lists %d roles, and %d of them are stored", n, pinned)
	}
	return nil
}

// checkSigners makes sure that the keys at hand are the ones that the repository names, so that a
// mix-up is found at the start and not at the first upload.
func (s *state) checkSigners(ctx context.Context, keys *keyring, c *Config) error {
	root := s.view.set.Root()
	for _, role := range []tuf.RoleName{tuf.RoleTimestamp, tuf.RoleSnapshot} {
		a, ok := root.Authority(role)
		if !ok {
			return fmt.Errorf("%w: root does not name keys for %s", ErrDamaged, role)
		}
		if _, err := keys.signer(role, a); err != nil && !(role == tuf.RoleSnapshot && c.isAway(c.Signers.Snapshot)) {
			return err
		}
	}
	unclaimed, err := s.unclaimed(ctx)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if ds := unclaimed.Delegations(); ds != nil && ds.Len() > 0 {
		d := ds.At(0)
		a, err := d.Authority()
		if err != nil {
			return fmt.Errorf("%w: reading the keys of %s: %w", ErrDamaged, d.Name(), err)
		}
		if _, err = keys.signer(d.Name(), a); err != nil && !c.isAway(c.Signers.Registry) {
			return err
		}
		return nil
	}
	return fmt.Errorf("%w: the role %s delegates nothing", ErrDamaged, policy.RoleUnclaimed)
}

// unclaimed reads the role of the unclaimed tree by way of the first claimed bin that can be read: a
// bin that is damaged or expired is no reason to keep the others from being served.
func (s *state) unclaimed(ctx context.Context) (t *tuf.Targets, err error) {
	load := s.view.loader(ctx)
	for bin := range s.layout.BinNames() {
		chain := s.layout.UnclaimedBinChain(bin)
		if t, err = s.view.set.Delegated(load, chain[:len(chain)-1]...); err == nil {
			break
		}
	}
	return t, err
}

// after returns the state that a committed batch leads to. The book is shared with the state
// before, which must not be used any more.
func (s *state) after(b *batch) *state {
	next := *s
	next.head.Number = b.staged[tuf.RoleTimestamp].Version
	next.head.Time = b.at
	next.head.Root = b.next.Root().Version()
	next.head.Record = b.record
	next.recoveries = recoveriesAfter(s.recoveries, b.recoveriesNow())
	if b.snapshot != nil {
		next.snapshot = b.snapshot
		next.head.Snapshot = b.snapshot.Version()
	}
	for _, m := range b.staged {
		next.book.set(Role{Name: m.Role, Version: m.Version, Expires: m.Expires, Maintained: m.Maintained})
	}
	view := *s.view
	view.number, view.time, view.set = next.head.Number, b.at, b.next
	view.record, view.recoveries, view.roles = b.record, next.recoveries, nil
	next.view = &view
	return &next
}

// Retention says how long superseded metadata is kept. Zero fields take their default.
type Retention struct {
	// Roles is for versions of targets, bins and projects. A client that fetched a timestamp may
	// go by it until it expires, and needs every role version that it pins; so the default is the
	// default life of a timestamp, 24 hours. Root versions are kept for ever.
	Roles time.Duration
	// Pinners is for snapshots and timestamps: a client needs them between two requests of one
	// refresh only. Default 15 minutes.
	Pinners time.Duration
}

func (r Retention) orDefault() Retention {
	if r.Roles <= 0 {
		r.Roles = 24 * time.Hour
	}
	if r.Pinners <= 0 {
		r.Pinners = 15 * time.Minute
	}
	return r
}
