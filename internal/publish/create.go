package publish

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/trust"
)

// Bounds of a check.
const (
	maxProblems = 20 // reported
	maxDepth    = 10 // of delegations below targets; ours are five deep, maintainers may add a few
)

// Create writes publication 1 into an empty ledger: the first version of every role, as signed by
// the offline and online keys, in any order. All of it is verified with the client's workflow
// first, every bin included. ErrRepositoryExists if the ledger holds a repository already; it is
// left as it is then.
func Create(ctx context.Context, l Ledger, at time.Time, genesis []Metadata) error {
	switch _, err := l.Head(ctx); {
	case err == nil:
		return ErrRepositoryExists
	case !errors.Is(err, ErrNoRepository):
		return fmt.Errorf("looking for a repository: %w", err)
	}
	at = at.UTC().Truncate(time.Second)
	byRole := make(map[tuf.RoleName]Metadata, len(genesis))
	roles := make([]Role, 0, len(genesis))
	for _, m := range genesis {
		if _, twice := byRole[m.Role]; twice || m.Version != 1 {
			return fmt.Errorf("creating a repository: role %s is given twice, or its version is %d and not 1", m.Role, m.Version)
		}
		byRole[m.Role] = m
		roles = append(roles, Role{Name: m.Role, Version: m.Version, Expires: m.Expires, Maintained: m.Maintained})
	}
	read := func(role tuf.RoleName, version int64) ([]byte, error) {
		m, ok := byRole[role]
		if !ok || m.Version != version {
			return nil, fmt.Errorf("version %d of %s: %w", version, role, ErrNotFound)
		}
		return m.Bytes, nil
	}
	if _, err := checkAll(read, Head{Number: 1, Time: at, Root: 1, Snapshot: 1}, roles); err != nil {
		return fmt.Errorf("creating a repository: %w", err)
	}
	err := l.Commit(ctx, &Publication{Number: 1, Time: at, Metadata: genesis})
	if errors.Is(err, ErrConflict) {
		return fmt.Errorf("%w: %w", ErrRepositoryExists, err)
	}
	if err != nil {
		return fmt.Errorf("committing the first publication: %w", err)
	}
	return nil
}

// Check verifies a whole stored repository from its first root: every role that the newest
// publication pins, through every delegation that leads to it, as it stood at that publication's
// time. It returns ErrNoRepository, or ErrDamaged with at most 20 of the problems.
func Check(ctx context.Context, l Ledger) error {
	head, err := l.Head(ctx)
	if err != nil {
		return fmt.Errorf("reading the newest publication: %w", err)
	}
	roles, err := l.Roles(ctx)
	if err != nil {
		return fmt.Errorf("reading the list of roles: %w", err)
	}
	set, err := checkAll(ledgerReader(ctx, l), head, roles)
	if err != nil {
		return err
	}
	if err := checkRecord(ctx, l, set); err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return nil
}

// checkAll verifies a repository that read gives access to.
func checkAll(read reader, head Head, roles []Role) (*trust.Set, error) {
	set, err := replay(read, head.Root, head.Number, head.Time, nil)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	problems := []error{checkPinned(set, roles, head)}
	layout, err := policy.LayoutOf(set.Targets())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, errors.Join(append(problems, err)...))
	}
	check := &treeCheck{set: set, load: read.loader(), reached: make(map[tuf.RoleName]int), walked: make(map[[sha256.Size]byte]bool)}
	check.branch(nil)
	problems = append(problems, check.problems...)
	reached := check.reached
	for _, tree := range []tuf.RoleName{policy.RoleClaimed, policy.RoleUnclaimed} {
		if n, ok := reached[tree]; !ok || n != layout.Bins() {
			problems = append(problems, fmt.Errorf("the role %s is missing, or delegates %d bins of %d", tree, n, layout.Bins()))
		}
	}
	for bin := range layout.BinNames() {
		chain := layout.ClaimedBinChain(bin)
		if t, err := set.Delegated(read.loader(), chain...); err == nil && !policy.FallsThroughLast(t) {
			problems = append(problems, fmt.Errorf("the last delegation of the role %s is not the one to %s", chain[len(chain)-1], policy.RoleUnclaimed))
		}
	}
	for role := range set.Snapshot().All() {
		if _, _, sub := policy.SubRoleOf(role); sub {
			continue // its project may have dropped it; the name stays for ever
		}
		if _, ok := reached[role]; !ok {
			problems = append(problems, fmt.Errorf("nothing delegates the role %s", role))
		}
	}
	if err := errors.Join(problems[:min(len(problems), maxProblems)]...); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return set, nil
}

// treeCheck verifies every role that a repository delegates.
type treeCheck struct {
	set      *trust.Set
	load     trust.Loader
	reached  map[tuf.RoleName]int       // how many roles each role delegates
	walked   map[[sha256.Size]byte]bool // the digests of files whose delegations were followed
	problems []error
}

// branch verifies a role and all that it delegates. A role that is reached by several
// delegations, as unclaimed is from every claimed bin, is verified by each of them; what it
// delegates itself is the same each time, and followed once.
func (c *treeCheck) branch(chain []tuf.RoleName) {
	role, err := c.set.Delegated(c.load, chain...)
	if err != nil {
		c.problems = append(c.problems, err)
		return
	}
	name := tuf.RoleTargets
	if len(chain) > 0 {
		name = chain[len(chain)-1]
	}
	ds := role.Delegations()
	if ds == nil || len(chain) >= maxDepth {
		c.reached[name] = 0
		return
	}
	c.reached[name] = ds.Len()
	if c.walked[role.Digest()] {
		return
	}
	c.walked[role.Digest()] = true
	for d := range ds.All() {
		c.branch(append(chain[:len(chain):len(chain)], d.Name()))
		if len(c.problems) > maxProblems {
			return
		}
	}
}
