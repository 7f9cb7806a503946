package publish

import (
	"context"
	"errors"
	"fmt"
	"time"

	"example.com/bailiwick/internal/ceremony"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/internal/record"
	"example.com/bailiwick/internal/sitting"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/trust"
)

// View is the repository as one publication left it. It is immutable and safe for concurrent use;
// everything that it returns has been verified with the client's workflow.
type View struct {
	number int64
	time   time.Time
	set    *trust.Set
	layout policy.Layout
	shelf  *shelf

	repository [32]byte
	record     record.Head
	recoveries map[pypi.Project]Recovery // never changed
	// roles are those that were read and checked when the repository was opened; nil since the first publication after that.
	roles []Role
}

// Number returns the number of the publication, which is the version of its timestamp.
func (v *View) Number() int64 { return v.number }

// Time returns when it was published, in UTC.
func (v *View) Time() time.Time { return v.time }

// Timestamp returns the bytes of timestamp.json. Nobody may change them.
func (v *View) Timestamp() []byte { return v.set.Timestamp().Bytes() }

// Set returns the verified metadata of the publication.
func (v *View) Set() *trust.Set { return v.set }

// Layout returns how the repository divides projects into bins.
func (v *View) Layout() policy.Layout { return v.layout }

// Repository returns the SHA-256 of the repository's first root, which is its name for ever.
func (v *View) Repository() [32]byte { return v.repository }

// Sitting returns the publication as a request to offline keys is planned on it, at a time and with lifetimes. It
// may be used as long as ctx lasts.
func (v *View) Sitting(ctx context.Context, now time.Time, lives policy.Lifetimes) sitting.State {
	return sitting.State{
		Repository: v.repository, Set: v.set, Load: v.loader(ctx), Layout: v.layout, Now: now, Lifetimes: lives,
		Root: func(version int64) ([]byte, error) { return v.shelf.read(ctx, tuf.RoleRoot, version) },
	}
}

// Standing returns who signs a project and what is listed, for signing requests. Unlike the other
// methods it takes roles of the project that have expired.
func (v *View) Standing(ctx context.Context, p pypi.Project) (*ceremony.Standing, error) {
	s, err := ceremony.Look(v.set, v.loader(ctx), v.repository, p)
	if err != nil {
		return nil, fmt.Errorf("reading who signs %s: %w", p, err)
	}
	return s, nil
}

// Metadata returns one version of a role as it was published, also versions that are no longer
// current as long as they are kept. ErrNotFound if there is none. Nobody may change the bytes.
func (v *View) Metadata(ctx context.Context, role tuf.RoleName, version int64) ([]byte, error) {
	if version < 1 {
		return nil, fmt.Errorf("version %d of %s: %w", version, role, ErrNotFound)
	}
	if s := v.set.Snapshot(); role == tuf.RoleSnapshot && s.Version() == version {
		return s.Bytes(), nil
	}
	return v.shelf.read(ctx, role, version)
}

// loader hands the delegated roles of this publication to a search. It does not go by the shelf:
// what a search has verified is cached as verified, and what it refused must be read again.
func (v *View) loader(ctx context.Context) trust.Loader {
	return func(role tuf.RoleName, meta tuf.Meta) ([]byte, error) {
		return ledgerReader(ctx, v.shelf.ledger)(role, meta.Version)
	}
}

// Find searches for a target as a client does. The error is trust.ErrNotFound if the repository
// does not list it; any other error says that it could not be verified.
func (v *View) Find(ctx context.Context, path tuf.TargetPath) (*trust.Found, error) {
	return v.set.Find(path, v.loader(ctx))
}

// Project returns the files of a project, by path, and the version of the project's role. A
// project whose files are all deleted has none; trust.ErrNotFound means that there is no such project.
func (v *View) Project(ctx context.Context, p pypi.Project) ([]*trust.Found, int64, error) {
	pinned, ok := v.set.Snapshot().Lookup(policy.ProjectRole(p))
	if !ok {
		return nil, 0, fmt.Errorf("project %s: %w", p, trust.ErrNotFound)
	}
	found, err := v.set.List(v.layout.Dir(p), v.loader(ctx))
	if err != nil && !errors.Is(err, trust.ErrNotFound) {
		return nil, 0, fmt.Errorf("listing the files of %s: %w", p, err)
	}
	return found, pinned.Version, nil
}

// Status returns what the maintainers of a project say of it as a whole, or the operators of one that is parked: the zero value for one without
// a role, and for one whose role says nothing or what this program does not know.
func (v *View) Status(ctx context.Context, p pypi.Project) (policy.Status, error) {
	role, load := policy.ProjectRole(p), v.loader(ctx)
	for _, bin := range [][]tuf.RoleName{v.layout.ClaimedChain(p), v.layout.UnclaimedChain(p)} {
		t, err := ceremony.Role(v.set, load, bin...)
		if err != nil {
			return policy.Status{}, fmt.Errorf("reading the delegations of %s: %w", bin[len(bin)-1], err)
		}
		ds := t.Delegations()
		if ds == nil {
			continue
		}
		d, ok := ds.Find(role)
		if !ok {
			continue
		}
		if t, err = ceremony.Role(v.set, load, append(bin, role)...); err != nil {
			return policy.Status{}, fmt.Errorf("reading the role of %s: %w", p, err)
		}
		s, err := policy.StatusOf(t)
		if errors.Is(err, policy.ErrCustom) {
			s, err = policy.Status{}, nil
		}
		if _, parked := policy.Parked(d); parked && !s.IsArchived() {
			s = policy.ParkedStatus()
		}
		return s, err
	}
	return policy.Status{}, nil
}
