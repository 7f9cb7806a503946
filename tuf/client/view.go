package client

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/trust"
)

// View is one moment of a repository, as a refresh verified it. Delegated roles
// are obtained when a search needs them, from the store if they are there, and
// verified in any case. A View does not change, and is safe for concurrent use.
type View struct {
	client    *Client
	set       *trust.Set
	offline   bool
	moreRoots bool

	mu      sync.Mutex               // guards what follows
	flights map[tuf.RoleName]*flight // roles that are being obtained, or are not verified yet
	suspect map[tuf.RoleName]bool    // roles whose stored bytes are not the listed ones
	liars   map[tuf.RoleName][]int   // mirrors that gave something else than a role
}

// A flight obtains one role for all who ask at the same time.
type flight struct {
	done   chan struct{} // closed when what follows is set
	data   []byte
	stored bool // from the store
	from   int  // else, the mirror that gave it
	err    error
}

func newView(c *Client, set *trust.Set, offline, moreRoots bool) *View {
	return &View{
		client: c, set: set, offline: offline, moreRoots: moreRoots,
		flights: map[tuf.RoleName]*flight{}, suspect: map[tuf.RoleName]bool{}, liars: map[tuf.RoleName][]int{},
	}
}

// Set returns the verified top-level roles.
func (v *View) Set() *trust.Set { return v.set }

// MoreRoots reports whether the refresh ended the chain of roots at its limit:
// the repository may have newer ones, and another refresh goes on from here.
func (v *View) MoreRoots() bool { return v.moreRoots }

// Find searches for a target path. Errors: trust.ErrNotFound if the verified
// repository does not list it; a *trust.RefusedError if a role on the way could
// not be had or verified, with a *NetworkError in its chain if that was the
// network's doing.
func (v *View) Find(ctx context.Context, path tuf.TargetPath) (*trust.Found, error) {
	return ask(ctx, v, func(load trust.Loader) (*trust.Found, error) { return v.set.Find(path, load) })
}

// List returns all targets directly in a folder, sorted by path. Errors are
// those of Find.
func (v *View) List(ctx context.Context, dir string) ([]*trust.Found, error) {
	return ask(ctx, v, func(load trust.Loader) ([]*trust.Found, error) { return v.set.List(dir, load) })
}

// Explain searches like Find and tells of every role that was considered.
func (v *View) Explain(ctx context.Context, path tuf.TargetPath) *trust.Explanation {
	e, _ := ask(ctx, v, func(load trust.Loader) (*trust.Explanation, error) {
		e := v.set.Explain(path, load)
		return e, e.Err
	})
	return e
}

// Role verifies roles down a chain of names, beginning below the top-level
// targets role, and returns the last; see trust.Set.Delegated.
func (v *View) Role(ctx context.Context, chain ...tuf.RoleName) (*tuf.Targets, error) {
	return ask(ctx, v, func(load trust.Loader) (*tuf.Targets, error) { return v.set.Delegated(load, chain...) })
}

// ask puts a question to the Set. When the bytes of a role turn out not to be the
// listed ones, and they are stored or another mirror may have better ones, they are
// as good as none, and the question is put again; what was verified meanwhile stays
// so, and no role is suspected twice.
func ask[T any](ctx context.Context, v *View, question func(trust.Loader) (T, error)) (T, error) {
	var errs []error
	for {
		used := map[tuf.RoleName]*flight{}
		answer, err := question(func(role tuf.RoleName, _ tuf.Meta) ([]byte, error) {
			f, err := v.obtain(ctx, role)
			if err != nil {
				return nil, err
			}
			used[role] = f
			return f.data, nil
		})
		var bad *flight
		var refused *trust.RefusedError
		if errors.As(err, &refused) {
			bad = used[refused.Role]
			delete(used, refused.Role)
		}
		v.keep(used)
		if bad == nil { // answered, or refused for what no bytes are to blame
			if err != nil {
				err = worst(append(errs, err))
			}
			return answer, err
		}
		if !bad.stored {
			errs = append(errs, err)
		}
		if !v.drop(refused.Role, bad) {
			return answer, worst(errs)
		}
	}
}

// keep persists roles that were fetched and then verified, and ends their
// flights. The store is only a cache of them: if it fails, they are fetched
// again next time, which is no reason to withhold an answer.
func (v *View) keep(verified map[tuf.RoleName]*flight) {
	for role, f := range maps.All(verified) {
		if !f.stored {
			_ = v.client.store.Save(storedName(role), f.data)
		}
		v.mu.Lock()
		if v.flights[role] == f {
			delete(v.flights, role)
		}
		v.mu.Unlock()
	}
}

// drop ends the flight of a role that did not verify, and reports whether it may be had
// from elsewhere. If not, the next question begins with all mirrors again.
func (v *View) drop(role tuf.RoleName, f *flight) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.flights[role] == f {
		delete(v.flights, role)
	}
	if f.stored {
		v.suspect[role] = true
		return true
	}
	if !slices.Contains(v.liars[role], f.from) {
		v.liars[role] = append(v.liars[role], f.from)
		v.client.mirrors.blame(f.from)
	}
	if len(v.liars[role]) < len(v.client.mirrors.all) {
		return true
	}
	delete(v.liars, role)
	return false
}

// obtain returns the flight of a role, landed. The first to ask flies; when its
// own context ended the flight, the next does.
func (v *View) obtain(ctx context.Context, role tuf.RoleName) (*flight, error) {
	for {
		v.mu.Lock()
		f, flying := v.flights[role]
		if !flying {
			f = &flight{done: make(chan struct{})}
			v.flights[role] = f
		}
		skipStore, skip := v.suspect[role], slices.Clone(v.liars[role])
		v.mu.Unlock()
		if !flying {
			v.fly(ctx, role, f, skipStore, skip)
			return f, f.err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for role %q: %w", role, context.Cause(ctx))
		case <-f.done:
		}
		if f.err == nil || !(errors.Is(f.err, context.Canceled) || errors.Is(f.err, context.DeadlineExceeded)) {
			return f, f.err
		}
		if ctx.Err() != nil {
			return nil, f.err
		}
	}
}

// fly sets the outcome of a flight.
func (v *View) fly(ctx context.Context, role tuf.RoleName, f *flight, skipStore bool, skip []int) {
	defer close(f.done)
	if !skipStore {
		f.data, _ = v.client.load(storedName(role)) // a cache that cannot be read is as good as none
		if f.stored = f.data != nil; f.stored {
			return
		}
	}
	want, _ := v.set.Want(role) // the search asks for listed roles only
	if f.err = errOffline; !v.offline {
		f.data, f.from, f.err = v.client.fetchAny(ctx, want, "5.6.1", skip)
	}
	if f.err != nil {
		v.mu.Lock()
		delete(v.flights, role)
		v.mu.Unlock()
	}
}
