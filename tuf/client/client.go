package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync/atomic"
	"time"

	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/trust"
)

// Config is what a Client needs. Fetcher, Store, Root and Now are required.
type Config struct {
	Fetcher Fetcher
	Store   Store

	// Root is the anchor: root metadata that came from somewhere else than the
	// repository, any version. Everything is verified from it at each start; the
	// store is never the anchor. The bytes must not be changed any more.
	Root []byte

	// Mirrors are further places of the same repository. What says how far things are is
	// asked of all places at once, and the newest that verifies counts; the rest is asked of
	// Fetcher first, then of Mirrors in their order, until one gives what verifies. One that
	// failed comes after the others from then on.
	Mirrors    []Fetcher
	MirrorWait time.Duration // how long slower mirrors are waited for once one has answered; 0: 5 s

	Limits     *trust.Limits    // nil: trust.DefaultLimits
	CacheBytes int64            // delegated roles kept verified in memory; 0: 64 MiB
	Now        func() time.Time // asked once per refresh
}

// Client follows one repository. It is safe for concurrent use.
type Client struct {
	mirrors *mirrors
	store   Store
	anchor  *trust.RootStage // never goes on itself
	now     func() time.Time
	options trust.Options

	// last is what the latest update verified, nil before there was one. It spares
	// the next update to verify stored bytes again that are still the same.
	last atomic.Pointer[trust.Set]
}

// New checks the configuration and the anchor. It makes no request.
func New(c Config) (*Client, error) {
	var errs []error
	if c.Fetcher == nil {
		errs = append(errs, errors.New("no fetcher given"))
	}
	if slices.Contains(c.Mirrors, nil) {
		errs = append(errs, errors.New("one of the mirrors is nil"))
	}
	if c.Store == nil {
		errs = append(errs, errors.New("no store given"))
	}
	if c.Now == nil {
		errs = append(errs, errors.New("no clock given"))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("configuring the client: %w", err)
	}
	client := &Client{
		mirrors: newMirrors(c), store: c.Store, now: c.Now,
		options: trust.Options{Limits: c.Limits, Cache: trust.NewCache(c.CacheBytes)},
	}
	var err error
	if client.anchor, err = trust.Begin(c.Root, time.Time{}, client.options); err != nil {
		return nil, fmt.Errorf("reading the trusted root: %w", err)
	}
	return client, nil
}

// Refresh asks the repository what is current, verifies that, and persists what
// was accepted, each file after its step of the specification, so that
// whatever interrupts it, a later refresh succeeds and trusts no less carefully.
// Once it returns without an error, all of that is durable.
// With nothing new it makes two requests, for the next root and the timestamp,
// and verifies nothing that this client has verified before, unless the stored
// bytes changed. It holds the store's lock meanwhile.
//
// Errors are *trust.RefusedError, *NetworkError, *StoreError, *LockedError, or
// the context's; a *StoreError comes before others. After an error, what was trusted
// before still is.
func (c *Client) Refresh(ctx context.Context) (*View, error) {
	return c.update(ctx, false)
}

// Stored gives a view of what is stored, verified from the anchor like
// everything, and within its expiry, without any request. Delegated roles that
// were never fetched are Unavailable in it.
func (c *Client) Stored(ctx context.Context) (*View, error) {
	return c.update(ctx, true)
}

func (c *Client) update(ctx context.Context, offline bool) (*View, error) {
	unlock, err := c.store.Lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	u := &update{Client: c, offline: offline, saves: saves{save: c.save}}
	set, moreRoots, err := u.run(ctx)
	// What was accepted is saved in any case, and before anybody else may refresh.
	if failed := u.saves.wait(); failed != nil {
		return nil, failed
	}
	if err != nil {
		return nil, err
	}
	c.last.Store(set)
	return newView(c, set, offline, moreRoots), nil
}

// update is one refresh under way. It holds the store's lock.
type update struct {
	*Client
	offline bool
	saves   saves
}

// run takes the steps of the specification. What it leaves to u.saves is under way when it
// returns.
func (u *update) run(ctx context.Context) (set *trust.Set, moreRoots bool, err error) {
	roots, err := u.roots(ctx)
	if err != nil {
		return nil, false, err
	}
	timestamps, err := roots.Done()
	if err != nil {
		return nil, false, err
	}
	snapshots, err := u.timestamp(ctx, timestamps)
	if err != nil {
		return nil, false, err
	}
	targets, err := u.snapshot(ctx, snapshots)
	if err != nil {
		return nil, false, err
	}
	if set, err = u.targets(ctx, targets); err != nil {
		return nil, false, err
	}
	_, room := roots.Want()
	return set, !room, nil
}

// errOffline is why nothing is fetched in an offline view.
var errOffline = errors.New("not stored, and this session makes no requests")

// roots follows the chain from the anchor: first as far as it is stored, then
// with the repository.
func (u *update) roots(ctx context.Context) (*trust.RootStage, error) {
	r, known, err := u.begin()
	if err != nil {
		return nil, err
	}
	if err := u.storedChain(r); err != nil {
		return nil, err
	}
	floor := int64(0)
	switch {
	case known == nil:
		u.saves.add("root.json", r.Root().Bytes())
	case known.Version() < r.Root().Version() && trust.Rotated(known, r.Root()):
		// The anchor was replaced by a newer one since the last session.
		if err := u.forget(); err != nil {
			return nil, err
		}
		if err := u.save("root.json", r.Root().Bytes()); err != nil {
			return nil, err
		}
	case known.Version() <= r.Root().Version():
		u.heal("root.json", known.Bytes(), r.Root().Bytes())
	}
	if known != nil {
		floor = known.Version()
	}
	if !u.offline {
		if err := u.newRoots(ctx, r, floor); err != nil {
			return nil, err
		}
	}
	if r.Root().Version() < floor {
		return nil, &trust.RefusedError{
			Code: trust.Rollback, Role: tuf.RoleRoot, Version: r.Root().Version(), Step: "5.3.5",
			Err: fmt.Errorf("version %d was trusted before, and the chain to it is neither stored nor offered", floor),
		}
	}
	return r, nil
}

// begin returns where the chain of roots begins, and the newest root of earlier
// sessions, nil if there is none. That is no anchor: it only says how far the
// chain must lead. One that can not be read is not passed over, since it stands
// for trust that was lost.
//
// The chain begins at the anchor. If what is stored is the very root to which
// this client followed it before, it begins there, with all that was verified
// under that root.
func (u *update) begin() (r *trust.RootStage, known *tuf.Root, err error) {
	data, err := u.load("root.json")
	if err != nil {
		return nil, nil, err
	}
	if last := u.last.Load(); last != nil && bytes.Equal(data, last.Root().Bytes()) {
		return last.Next(u.now()), last.Root(), nil
	}
	r = u.anchor.At(u.now())
	switch {
	case data == nil:
		return r, nil, nil
	case bytes.Equal(data, r.Root().Bytes()):
		return r, r.Root(), nil
	}
	stored, err := trust.Begin(data, time.Time{}, u.options)
	if err != nil {
		return nil, nil, &StoreError{Op: "loading", Name: "root.json", Err: fmt.Errorf("the stored root is damaged; remove the stored state to start again from the trusted root: %w", err)}
	}
	return r, stored.Root(), nil
}

// storedChain follows the stored roots. A damaged one ends it: from there on the
// repository has to give them again.
func (u *update) storedChain(r *trust.RootStage) error {
	for {
		data, err := u.load(rootName(r.Root().Version() + 1))
		if err != nil || data == nil {
			return err
		}
		if damaged := r.Stored(data); damaged != nil {
			return nil //nolint:nilerr // the repository gives it again
		}
	}
}

// newRoots is 5.3.2 to 5.3.9. Roots up to floor were accepted in an earlier
// session: what their rotations made void is gone already.
func (u *update) newRoots(ctx context.Context, r *trust.RootStage, floor int64) error {
	for {
		want, room := r.Want()
		if !room {
			return nil
		}
		data, rotated, err := u.nextRoot(ctx, r, want)
		if err != nil || data == nil {
			return err
		}
		if err := u.saves.wait(); err != nil { // for root.json
			return err
		}
		if rotated && want.Version > floor {
			if err := u.forget(); err != nil {
				return err
			}
		}
		if err := u.save(rootName(want.Version), data); err != nil {
			return err
		}
		if want.Version >= floor {
			if err := u.save("root.json", data); err != nil {
				return err
			}
		}
	}
}

// forget is 5.3.11. It comes before the root that demands it is persisted, so
// that a crash in between leaves less trust, not more.
func (u *update) forget() error {
	for _, name := range []string{"timestamp.json", "snapshot.json"} {
		if err := u.store.Remove(name); err != nil {
			return storeError("removing", name, err)
		}
	}
	return nil
}

func (u *update) timestamp(ctx context.Context, s *trust.TimestampStage) (*trust.SnapshotStage, error) {
	old, err := u.load("timestamp.json")
	if err != nil {
		return nil, err
	}
	_ = s.Stored(old) // one that is damaged, or of another root, is as good as none
	if u.offline {
		return s.Keep()
	}
	next, err := u.newestTimestamp(ctx, s)
	if err != nil {
		return nil, err
	}
	u.heal("timestamp.json", old, next.Timestamp().Bytes())
	return next, nil
}

func (u *update) snapshot(ctx context.Context, s *trust.SnapshotStage) (*trust.TargetsStage, error) {
	old, err := u.load("snapshot.json")
	if err != nil {
		return nil, err
	}
	_ = s.Stored(old) // as for the timestamp
	if next, ok := s.Keep(); ok {
		u.heal("snapshot.json", old, next.Snapshot().Bytes())
		return next, nil
	}
	var next *trust.TargetsStage
	err = u.obtain(ctx, s.Want(), "5.5.1", func(data []byte) (err error) {
		next, err = s.Accept(data)
		return err
	})
	if err != nil {
		return nil, err
	}
	u.heal("snapshot.json", old, next.Snapshot().Bytes())
	return next, nil
}

func (u *update) targets(ctx context.Context, s *trust.TargetsStage) (*trust.Set, error) {
	old, err := u.load("targets.json")
	if err != nil {
		return nil, err
	}
	_ = s.Stored(old) // as for the timestamp
	if set, ok := s.Keep(); ok {
		u.heal("targets.json", old, set.Targets().Bytes())
		return set, nil
	}
	var set *trust.Set
	err = u.obtain(ctx, s.Want(), "5.6.1", func(data []byte) (err error) {
		set, err = s.Accept(data)
		return err
	})
	if err != nil {
		return nil, err
	}
	u.heal("targets.json", old, set.Targets().Bytes())
	return set, nil
}

// heal begins to save what is in force, unless it is what is stored.
func (u *update) heal(name string, stored, inForce []byte) {
	if !bytes.Equal(stored, inForce) {
		u.saves.add(name, inForce)
	}
}

// obtain is Client.obtain where requests may be made.
func (u *update) obtain(ctx context.Context, want trust.Want, step string, accept func([]byte) error) error {
	if u.offline {
		return &trust.RefusedError{Code: trust.Missing, Role: want.Role, Version: want.Version, Step: step, Err: errOffline}
	}
	return u.Client.obtain(ctx, want, step, accept)
}

// fetch gets one metadata file. What the repository should have and has not, or
// has too much of, is a refusal; what only the network did is not.
func (c *Client) fetch(ctx context.Context, from Fetcher, want trust.Want, step string) ([]byte, error) {
	data, err := from.Metadata(ctx, want.Name, want.Limit)
	switch {
	case errors.Is(err, ErrAbsent):
		return nil, &trust.RefusedError{Code: trust.Missing, Role: want.Role, Version: want.Version, Step: step, Err: err}
	case errors.Is(err, ErrTooLarge):
		return nil, &trust.RefusedError{Code: trust.Length, Role: want.Role, Version: want.Version, Step: step, Err: err}
	}
	return data, err
}

// load returns what is stored under a name, nil if nothing is.
func (c *Client) load(name string) ([]byte, error) {
	data, err := c.store.Load(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if errors.Is(err, ErrTooLarge) && name != "root.json" {
		return nil, nil // nothing that was accepted is so long: damage, and as good as none
	}
	if err != nil {
		return nil, storeError("loading", name, err)
	}
	return data, nil
}

func (c *Client) save(name string, data []byte) error {
	if err := c.store.Save(name, data); err != nil {
		return storeError("saving", name, err)
	}
	return nil
}

// storeError makes sure that an error of any store can be told from others.
func storeError(op, name string, err error) error {
	var known *StoreError
	if errors.As(err, &known) {
		return err
	}
	return &StoreError{Op: op, Name: name, Err: err}
}
