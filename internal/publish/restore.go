package publish

import (
	"context"
	"errors"
	"fmt"

	"example.com/bailiwick/internal/ceremony"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/internal/record"
	"example.com/bailiwick/tuf"
)

// Restore gives a project that no offline key vouches for the files that it had at an earlier time, under a new
// version signed by the registry key: after somebody else had that key. Whatever the project's role says now, and
// whoever its bin delegates it to, goes. Errors: ErrNotRegistry for a claimed project, [tuf] and [repo] errors for a
// list that could not be published.
type Restore struct {
	Project pypi.Project
	Targets []tuf.Target // all that the project has afterwards; none: it stays, without files
	// Cleared are the keys of the maintainers who claimed it recently, then or now, and have to claim it
	// again: the record says so. The zero value: nobody had.
	Cleared record.Keys
	Text    string // for the record, one line
}

func (c Restore) target() pypi.Project { return c.Project }

func (c Restore) check() error {
	if c.Project.IsZero() || len(c.Targets) > maxFiles || len(c.Text) > maxText {
		return fmt.Errorf("restoring %q: it has no name, more than %d files or a text of more than %d bytes: %w", c.Project, maxFiles, maxText, ErrInvalid)
	}
	for _, t := range c.Targets {
		if p, _, err := policy.ParsePath(t.Path); err != nil || p != c.Project {
			return fmt.Errorf("restoring %s: %s is no path of its files: %w", c.Project, t.Path, ErrInvalid)
		}
	}
	return nil
}

// restore puts the list in the place of what there is.
func (b *batch) restore(c Restore) (edit, error) {
	if b.lists[c.Project] != nil {
		return nil, errNextBatch
	}
	layout, role := b.state.layout, policy.ProjectRole(c.Project)
	claimed, err := b.role(layout.ClaimedChain(c.Project)...)
	if err != nil {
		return nil, fmt.Errorf("reading the claimed projects of bin %s: %w", layout.Bin(c.Project), err)
	}
	if _, ok := delegation(claimed, role); ok {
		return nil, fmt.Errorf("project %s: %w", c.Project, ErrNotRegistry)
	}
	bin, err := b.role(layout.UnclaimedChain(c.Project)...)
	if err != nil {
		return nil, fmt.Errorf("reading the unclaimed projects of bin %s: %w", layout.Bin(c.Project), err)
	}
	l := &fileList{project: c.Project, layout: layout, names: b.names, renew: true}
	_, l.rekey = delegation(bin, role)
	if l.authority, err = b.binAuthority(layout.UnclaimedBin(c.Project)); err != nil {
		return nil, err
	}
	for _, t := range c.Targets {
		l.put(t)
	}
	if c.Cleared.Threshold > 0 {
		l.entry = &RecordEntry{Kind: record.Cleared, Role: role, Old: c.Cleared, New: record.KeysOf(l.authority), Text: c.Text}
	}
	b.lists[c.Project] = l
	b.order = append(b.order, l)
	return l, nil
}

// Listed is what a publication says of a project that no offline key vouches for.
type Listed struct {
	Targets []tuf.Target // by path
	Version int64        // of its role; 0: the bin does not delegate it
	// Keys are those of its maintainers; the zero value: the registry key signs it.
	Keys record.Keys
	// Problem is why its role can not be read, as clients would not: then there are no Targets.
	Problem error
}

// Look reads the repository out of a ledger, such as that of a backup, and verifies it from its first root. Errors:
// ErrNoRepository, ErrDamaged.
func Look(ctx context.Context, l Ledger) (*View, error) {
	s, err := loadState(ctx, l, newShelf(l))
	if err != nil {
		return nil, err
	}
	return s.view, nil
}

// Unclaimed returns the projects that the unclaimed bins delegate, recently claimed ones among them, in the order of
// the bins.
func (v *View) Unclaimed(ctx context.Context) ([]pypi.Project, error) {
	var out []pypi.Project
	load := v.loader(ctx)
	for name := range v.layout.BinNames() {
		chain := v.layout.UnclaimedBinChain(name)
		bin, err := ceremony.Role(v.set, load, chain...)
		if err != nil {
			return nil, fmt.Errorf("reading bin %s: %w", chain[len(chain)-1], err)
		}
		ds := bin.Delegations()
		if ds == nil {
			continue
		}
		for d := range ds.All() {
			if p, ok := policy.ProjectOf(d.Name()); ok {
				out = append(out, p)
			}
		}
	}
	return out, nil
}

// Listed reads what the publication says of a project. It is nil for a project that an offline key vouches for.
func (v *View) Listed(ctx context.Context, p pypi.Project) (*Listed, error) {
	role, load := policy.ProjectRole(p), v.loader(ctx)
	claimed, err := ceremony.Role(v.set, load, v.layout.ClaimedChain(p)...)
	if err != nil {
		return nil, fmt.Errorf("reading the claimed projects of bin %s: %w", v.layout.Bin(p), err)
	}
	if _, ok := delegation(claimed, role); ok {
		return nil, nil //nolint:nilnil // documented
	}
	chain := v.layout.UnclaimedChain(p)
	bin, err := ceremony.Role(v.set, load, chain...)
	if err != nil {
		return nil, fmt.Errorf("reading the unclaimed projects of bin %s: %w", v.layout.Bin(p), err)
	}
	d, ok := delegation(bin, role)
	if !ok {
		return &Listed{}, nil
	}
	out := &Listed{}
	a, err := d.Authority()
	tree, readable := ceremony.Role(v.set, load, chain[:len(chain)-1]...)
	if err = errors.Join(err, readable); err != nil {
		return nil, fmt.Errorf("reading the keys of project %s: %w", p, err)
	}
	registry, err := authorityOf(tree, v.layout.UnclaimedBin(p))
	if err != nil {
		return nil, err
	}
	if !a.Equal(registry) {
		out.Keys = record.KeysOf(a)
	}
	list, err := ceremony.Role(v.set, load, append(chain, role)...)
	if err != nil {
		out.Problem = err
		return out, nil //nolint:nilerr // it is in what is returned
	}
	out.Version = list.Version()
	for t := range list.All() {
		out.Targets = append(out.Targets, t)
	}
	return out, nil
}
