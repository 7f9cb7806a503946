package custody

import (
	"bytes"
	"maps"
	"slices"

	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/repo"
)

// binEdit is what the rest of a proposal demands of one unclaimed bin. Nothing else may happen to it.
type binEdit struct {
	puts  map[tuf.RoleName]repo.Delegation // delegations that appear, or get other keys
	drops map[tuf.RoleName]bool            // projects that the claimed tree delegates from now on
}

func (e *binEdit) put(d repo.Delegation) { e.puts[d.Role] = d }

// edit returns the edit of a project's unclaimed bin.
func (j *judge) edit(p pypi.Project) *binEdit { return j.editBin(j.layout.UnclaimedBin(p)) }

func (j *judge) editBin(name tuf.RoleName) *binEdit {
	e := j.edits[name]
	if e == nil {
		e = &binEdit{puts: make(map[tuf.RoleName]repo.Delegation), drops: make(map[tuf.RoleName]bool)}
		j.edits[name] = e
	}
	return e
}

// registry returns who signs a project's unclaimed bin afterwards, which also signs what nobody claims.
func (j *judge) registry(p pypi.Project) (tuf.Authority, error) { return j.registryOf(j.layout.Bin(p)) }

func (j *judge) registryOf(bin string) (tuf.Authority, error) {
	chain := j.layout.UnclaimedBinChain(bin)
	t, err := j.after(chain[:len(chain)-1]...)
	if err != nil {
		return tuf.Authority{}, err
	}
	return authorityOf(t, chain[len(chain)-1])
}

func authorityOf(delegator *tuf.Targets, role tuf.RoleName) (tuf.Authority, error) {
	d, ok := find(delegator, role)
	if !ok {
		return tuf.Authority{}, refuse(Failed, role, "nothing delegates the role %s", role)
	}
	a, err := d.Authority()
	if err != nil {
		return tuf.Authority{}, refuse(Failed, role, "the keys of %s can not be read: %v", role, err)
	}
	return a, nil
}

// rotation demands, where operators give the unclaimed bins another registry key, that every bin and every
// project without maintainers is signed anew with it: clients would refuse those that are not.
func (j *judge) rotation() error {
	next := j.offline[policy.RoleUnclaimed]
	if next == nil {
		return nil
	}
	for bin := range j.layout.BinNames() {
		chain := j.layout.UnclaimedBinChain(bin)
		name := chain[len(chain)-1]
		unclaimed, err := j.published(chain[:len(chain)-1]...)
		if err != nil {
			return err
		}
		before, err := authorityOf(unclaimed, name)
		if err != nil {
			return err
		}
		after, err := authorityOf(next, name)
		if err != nil {
			return err
		}
		if before.Equal(after) {
			continue
		}
		j.rotated[name] = true
		t, err := j.published(chain...)
		if err != nil {
			return err
		}
		e := j.editBin(name)
		for p, d := range projectsOf(t) {
			a, err := d.Authority()
			if err != nil {
				return refuse(Failed, d.Name(), "the keys of %s can not be read: %v", d.Name(), err)
			}
			if a.Equal(before) {
				e.put(policy.NewProject(j.layout, p, after))
				j.rotated[d.Name()] = true
			}
		}
	}
	return nil
}

// projectsOf returns the projects that a bin delegates.
func projectsOf(bin *tuf.Targets) map[pypi.Project]tuf.Delegation {
	out := make(map[pypi.Project]tuf.Delegation)
	if ds := bin.Delegations(); ds != nil {
		for d := range ds.All() {
			if p, ok := policy.ProjectOf(d.Name()); ok {
				out[p] = d
			}
		}
	}
	return out
}

// bins judges the new versions of unclaimed bins.
func (j *judge) bins() error {
	for i := range j.p.Roles {
		r := &j.p.Roles[i]
		if policy.KindOf(r.Name) != policy.KindUnclaimedBin {
			continue
		}
		if err := j.bin(r); err != nil {
			return err
		}
		delete(j.edits, r.Name)
	}
	for _, name := range slices.Sorted(maps.Keys(j.edits)) {
		return refuse(Vanished, name, "the proposal changes what %s delegates and has no new version of it", name)
	}
	return nil
}

func (j *judge) bin(r *Role) error {
	bin, _ := policy.BinOf(r.Name)
	chain := j.layout.UnclaimedBinChain(bin)
	unclaimed, err := j.after(chain[:len(chain)-1]...)
	if err != nil {
		return err
	}
	a, err := authorityOf(unclaimed, r.Name)
	if err != nil {
		return refuse(Outside, r.Name, "%.80q is no bin of this repository", r.Name)
	}
	base, err := j.published(chain...)
	if err != nil {
		return err
	}
	t, err := j.read(r)
	if err != nil {
		return err
	}
	if err := j.lists(r.Name, t.Version()); err != nil {
		return err
	}
	edit, err := j.delegations(bin, r.Name, base, t)
	if err != nil {
		return err
	}
	draft, err := repo.EditTargets(base, edit, repo.Issue{
		Role: r.Name, Version: t.Version(), Now: j.p.Time, Expires: t.Expires(), Authority: a,
	})
	if err != nil {
		return refuse(Malformed, r.Name, "version %d of %s can not be made: %v", t.Version(), r.Name, err)
	}
	return j.take(r, t.Version(), draft.Message(), a)
}

// delegations returns the edit that leads from one version of a bin to the next, in the order of the
// latter, and refuses whatever the proposal gives no reason for.
func (j *judge) delegations(bin string, role tuf.RoleName, base, next *tuf.Targets) (edit repo.TargetsEdit, err error) {
	want := j.editBin(role)
	defer func() { // an empty one was made for reading
		if len(want.puts)+len(want.drops) == 0 {
			delete(j.edits, role)
		}
	}()
	if ds := base.Delegations(); ds != nil {
		for d := range ds.All() {
			if err := j.kept(bin, role, d, next, want, &edit); err != nil {
				return edit, err
			}
		}
	}
	if ds := next.Delegations(); ds != nil {
		for d := range ds.All() {
			if _, there := find(base, d.Name()); there {
				continue
			}
			put, ok := want.puts[d.Name()]
			if !ok {
				return edit, refuse(NotAllowed, d.Name(), "%s would delegate to %.80q, and nothing in the proposal says why", role, d.Name())
			}
			edit.AddDelegations = append(edit.AddDelegations, put)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(want.puts)) {
		if _, there := find(next, name); !there {
			return edit, refuse(Vanished, name, "%s does not delegate to %s, which the proposal publishes", role, name)
		}
	}
	return edit, nil
}

// kept judges what becomes of one delegation of a bin.
func (j *judge) kept(bin string, role tuf.RoleName, d tuf.Delegation, next *tuf.Targets, want *binEdit, edit *repo.TargetsEdit) error {
	now, there := find(next, d.Name())
	put, changes := want.puts[d.Name()]
	switch {
	case !there:
		claimed, err := j.after(j.layout.ClaimedBinChain(bin)...)
		if err != nil {
			return err
		}
		if _, moved := find(claimed, d.Name()); !moved {
			return refuse(Vanished, d.Name(), "%s no longer delegates to %s, and nothing else does: the project would be gone", role, d.Name())
		}
		edit.RemoveDelegations = append(edit.RemoveDelegations, d.Name())
	case want.drops[d.Name()]:
		return refuse(NotAllowed, d.Name(), "%s still delegates to %s, which operators move to the claimed tree", role, d.Name())
	case changes:
		edit.ReplaceDelegations = append(edit.ReplaceDelegations, put)
	case !bytes.Equal(d.Raw(), now.Raw()):
		return refuse(NotAllowed, d.Name(), "%s would delegate to %s otherwise than before, without the signatures of those who sign it now", role, d.Name())
	}
	return nil
}
