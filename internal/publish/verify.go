package publish

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"example.com/bailiwick/internal/parallel"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/trust"
)

// verify checks the staged publication as a client does that has accepted the previous one: every
// rule about thresholds, versions, rollback and expiry, and then that each changed file, and no
// deleted one, is found. Only what passes is committed.
func (b *batch) verify() error {
	next, err := b.advance()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrVerification, err)
	}
	load := func(role tuf.RoleName, meta tuf.Meta) ([]byte, error) {
		if m, ok := b.staged[role]; ok && m.Version == meta.Version {
			return m.Bytes, nil
		}
		return b.load(role, meta)
	}
	checks := b.checks(next, load)
	errs := make([]error, len(checks))
	parallel.Do(len(checks), func(i int) { errs[i] = checks[i]() })
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("%w: %w", ErrVerification, err)
	}
	b.next = next
	return nil
}

// advance takes the client's steps from the previous publication to the staged one.
func (b *batch) advance() (*trust.Set, error) {
	p := trust.Staged{
		Timestamp: b.staged[tuf.RoleTimestamp].Bytes,
		Snapshot:  b.staged[tuf.RoleSnapshot].Bytes,
		Targets:   b.staged[tuf.RoleTargets].Bytes,
	}
	if m, changed := b.staged[tuf.RoleRoot]; changed {
		p.Roots = [][]byte{m.Bytes}
	}
	return b.state.view.set.StageTop(b.asOf(), p)
}

// nothingVanished holds the staged snapshot against the published one where a client does not: after a
// root with other keys for snapshot or timestamp it has nothing to compare.
func (b *batch) nothingVanished(next *trust.Set) error {
	for c := range next.Snapshot().Changes(b.state.view.set.Snapshot()) {
		if c.New < c.Old {
			return fmt.Errorf("the role %s goes from version %d to %d", c.Role, c.Old, c.New)
		}
	}
	return nil
}

// recorded makes sure that the staged snapshot stands for the record as the publication leaves it.
func (b *batch) recorded(next *trust.Set) error {
	return checkHead(next.Snapshot(), Head{Record: b.record})
}

// checks returns what has to hold in the staged publication, one function per role.
func (b *batch) checks(next *trust.Set, load trust.Loader) []func() error {
	checks := []func() error{func() error { return b.recorded(next) }}
	if b.resumed != nil {
		return append(checks, b.resumed.verify(b, next, load)...)
	}
	if b.offline != nil {
		checks = append(checks, func() error { return b.nothingVanished(next) })
		checks = append(checks, b.offline.verify(b, next, load)...)
	}
	for name := range b.bins {
		checks = append(checks, func() error {
			_, err := next.Delegated(load, binChain(b.state.layout, name)...)
			return err
		})
	}
	for _, l := range b.order {
		if l.touched() && l.err == nil {
			checks = append(checks, func() error { return l.verify(next, load) })
		}
	}
	for _, s := range b.signs {
		if s.err == nil {
			checks = append(checks, func() error { return s.verify(next, load) })
		}
	}
	return checks
}

// verify checks a project's role in the staged publication.
func (l *fileList) verify(next *trust.Set, load trust.Loader) error {
	role := policy.ProjectRole(l.project)
	if _, err := next.Delegated(load, append(l.layout.UnclaimedChain(l.project), role)...); err != nil {
		return fmt.Errorf("project %s: %w", l.project, err)
	}
	for path, want := range l.changed {
		found, err := next.Find(path, load)
		switch {
		case want == nil && errors.Is(err, trust.ErrNotFound):
		case want == nil && err == nil:
			return fmt.Errorf("%s was deleted and is still listed", path)
		case err != nil:
			return fmt.Errorf("finding %s: %w", path, err)
		case !sameTarget(found.Target, *want):
			return fmt.Errorf("%s is listed otherwise than it was changed to", path)
		}
	}
	return nil
}

func sameTarget(a, b tuf.Target) bool {
	sumA, okA := a.Hashes.SHA256()
	sumB, okB := b.Hashes.SHA256()
	return okA && okB && sumA == sumB && a.Length == b.Length && a.Path == b.Path && bytes.Equal(a.Custom, b.Custom)
}

// reader returns one version of a role, from a ledger or from memory.
type reader func(role tuf.RoleName, version int64) ([]byte, error)

func (r reader) loader() trust.Loader {
	return func(role tuf.RoleName, meta tuf.Meta) ([]byte, error) { return r(role, meta.Version) }
}

// replay verifies a stored repository from its first root to its targets role, as a client would
// have done at the given time, which is that of the newest publication: an expired timestamp must
// not keep the publisher from making a new one.
func replay(read reader, roots int64, timestamp int64, at time.Time, cache *trust.Cache) (*trust.Set, error) {
	limits := trust.DefaultLimits()
	limits.Roots = roots
	first, err := read(tuf.RoleRoot, 1)
	if err != nil {
		return nil, err
	}
	root, err := trust.Begin(first, at, trust.Options{Limits: &limits, Cache: cache})
	if err != nil {
		return nil, err
	}
	for v := int64(2); v <= roots; v++ {
		data, err := read(tuf.RoleRoot, v)
		if err != nil {
			return nil, err
		}
		if _, err := root.Accept(data); err != nil {
			return nil, err
		}
	}
	timestamps, err := root.Done()
	if err != nil {
		return nil, err
	}
	data, err := read(tuf.RoleTimestamp, timestamp)
	if err != nil {
		return nil, err
	}
	snapshots, err := timestamps.Accept(data)
	if err != nil {
		return nil, err
	}
	want := snapshots.Want()
	if data, err = read(want.Role, want.Version); err != nil {
		return nil, err
	}
	targets, err := snapshots.Accept(data)
	if err != nil {
		return nil, err
	}
	want = targets.Want()
	if data, err = read(want.Role, want.Version); err != nil {
		return nil, err
	}
	return targets.Accept(data)
}
