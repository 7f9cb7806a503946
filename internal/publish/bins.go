package publish

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"example.com/bailiwick/internal/parallel"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/repo"
)

// binJob is an unclaimed bin that gets a new version.
type binJob struct {
	name   tuf.RoleName
	edits  []binEdit
	failed func(error) // told if the bin can not be signed; nil: nobody has to know
}

// binEdit is a project to which a bin delegates anew, or with other keys, or not any more.
type binEdit struct {
	delegation repo.Delegation
	replace    bool
	remove     bool        // the delegation of this role, whatever else it says
	undo       func(error) // takes the project out of the batch, because the bin can not be signed
}

// binAuthority returns the keys of an unclaimed bin, which are also those of its new projects.
func (b *batch) binAuthority(bin tuf.RoleName) (tuf.Authority, error) {
	if unclaimed := b.offline.targets(policy.RoleUnclaimed); unclaimed != nil {
		return authorityOf(unclaimed, bin)
	}
	return b.binAuthorityBefore(bin)
}

// binAuthorityBefore returns the keys that the bin had in the publication before.
func (b *batch) binAuthorityBefore(bin tuf.RoleName) (tuf.Authority, error) {
	chain := binChain(b.state.layout, bin)
	unclaimed, err := b.role(chain[:len(chain)-1]...)
	if err != nil {
		return tuf.Authority{}, fmt.Errorf("reading the role %s: %w", policy.RoleUnclaimed, err)
	}
	return authorityOf(unclaimed, bin)
}

func authorityOf(unclaimed *tuf.Targets, bin tuf.RoleName) (tuf.Authority, error) {
	d, ok := delegation(unclaimed, bin)
	if !ok {
		return tuf.Authority{}, fmt.Errorf("the role %s does not delegate %s", policy.RoleUnclaimed, bin)
	}
	return d.Authority()
}

// binChain returns the chain of delegations that leads to an unclaimed bin.
func binChain(l policy.Layout, bin tuf.RoleName) []tuf.RoleName {
	name, _ := policy.BinOf(bin)
	return l.UnclaimedBinChain(name)
}

// delegation returns the delegation of a role, if the delegator has one.
func delegation(delegator *tuf.Targets, role tuf.RoleName) (tuf.Delegation, bool) {
	ds := delegator.Delegations()
	if ds == nil {
		return tuf.Delegation{}, false
	}
	return ds.Find(role)
}

func (b *batch) binJob(name tuf.RoleName) *binJob {
	j := b.bins[name]
	if j == nil {
		j = &binJob{name: name}
		b.bins[name] = j
	}
	return j
}

// buildBins signs the new versions of bins. A bin that can not be signed takes with it the projects
// that it was to delegate.
func (b *batch) buildBins(ctx context.Context) {
	jobs := slices.Collect(maps.Values(b.bins))
	signed := make([]Metadata, len(jobs))
	errs := make([]error, len(jobs))
	parallel.Do(len(jobs), func(i int) { signed[i], errs[i] = b.buildBin(ctx, jobs[i]) })
	for i, j := range jobs {
		if errs[i] == nil {
			b.stage(signed[i])
			continue
		}
		b.lost = append(b.lost, errs[i])
		delete(b.bins, j.name)
		if j.failed != nil {
			j.failed(errs[i])
		}
		for _, e := range j.edits {
			e.undo(errs[i])
		}
	}
}

func (b *batch) buildBin(ctx context.Context, j *binJob) (Metadata, error) {
	base, err := b.role(binChain(b.state.layout, j.name)...)
	if err != nil {
		return Metadata{}, fmt.Errorf("reading bin %s: %w", j.name, err)
	}
	authority, err := b.binAuthority(j.name)
	if err != nil {
		return Metadata{}, err
	}
	var edit repo.TargetsEdit
	for _, e := range j.edits {
		switch {
		case e.remove:
			edit.RemoveDelegations = append(edit.RemoveDelegations, e.delegation.Role)
		case e.replace:
			edit.ReplaceDelegations = append(edit.ReplaceDelegations, e.delegation)
		default:
			edit.AddDelegations = append(edit.AddDelegations, e.delegation)
		}
	}
	draft, err := repo.EditTargets(base, edit, b.issue(j.name, authority))
	if err != nil {
		return Metadata{}, fmt.Errorf("rendering bin %s: %w", j.name, err)
	}
	return b.signDraft(ctx, draft)
}
