package custody

import (
	"bytes"
	"maps"
	"slices"

	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/record"
	"example.com/bailiwick/internal/sitting"
	"example.com/bailiwick/tuf"
)

// sittings judges what operators have signed, each with the chain that it brings, and holds that chain
// against what the signer has verified itself.
func (j *judge) sittings() error {
	for _, r := range j.p.Sittings {
		if r.Repository != j.m.Repository {
			return refuse(Foreign, "", "the operators' request %s is for another repository", r.ID())
		}
		v, err := sitting.Judge(r, j.p.Time)
		if err != nil {
			return fromSitting("", err)
		}
		if !v.Complete() {
			return refuse(BadSignature, v.Missing[0].Role, "the operators' request %s is not signed by all who have a say: %s", r.ID(), v.Missing[0])
		}
		for i := range v.Roles {
			if err := j.offlineRole(r, &v.Roles[i]); err != nil {
				return err
			}
		}
		for i := range v.Changes {
			j.change(&v.Changes[i])
		}
	}
	return nil
}

// offlineRole takes over one new version that operators have signed.
func (j *judge) offlineRole(r *sitting.Request, result *sitting.Result) error {
	role := result.Role
	base, err := j.base(role)
	if err != nil {
		return err
	}
	if !bytes.Equal(base, r.Payload(role).Base) {
		return refuse(Stale, role, "the operators' request %s is based on another version of %s than the one that this signer has verified", r.ID(), role)
	}
	if role == tuf.RoleRoot {
		return j.newRoot(result.Bytes)
	}
	if err := j.lists(role, result.Version); err != nil {
		return err
	}
	j.offline[role] = result.Targets
	switch policy.KindOf(role) { //nolint:exhaustive // nothing more follows from the others
	case policy.KindProject:
		p, _ := policy.ProjectOf(role)
		if err := j.claim(p, role); err != nil {
			return err
		}
		s, err := j.standing(p)
		if err != nil {
			return err
		}
		for path := range s.Files() {
			// Files of sub-roles stay as long as any are delegated; what those list is not the operators' to say.
			if _, still := result.Targets.Lookup(path); !still && result.Targets.Delegations() == nil {
				j.out.Removed = append(j.out.Removed, path)
			}
		}
	case policy.KindClaimedBin:
		return j.promoted(role, result.Targets)
	}
	return nil
}

// base returns the published file of a role that operators sign; nil if there is none.
func (j *judge) base(role tuf.RoleName) ([]byte, error) {
	switch policy.KindOf(role) { //nolint:exhaustive // the others are reached below
	case policy.KindRoot:
		return j.m.Set.Root().Bytes(), nil
	case policy.KindTargets:
		return j.m.Set.Targets().Bytes(), nil
	case policy.KindProject:
		p, _ := policy.ProjectOf(role)
		s, err := j.standing(p)
		if err != nil || s.Base == nil {
			return nil, err
		}
		return s.Base.Bytes(), nil
	}
	chain, err := j.chain(role)
	if err != nil {
		return nil, err
	}
	t, err := j.published(chain...)
	if err != nil {
		return nil, err
	}
	return t.Bytes(), nil
}

// chain returns the roles that lead to one of the two trees or one of their bins.
func (j *judge) chain(role tuf.RoleName) ([]tuf.RoleName, error) {
	if bin, ok := policy.BinOf(role); ok {
		chain := j.layout.UnclaimedBinChain(bin)
		if i := slices.Index(chain, role); i >= 0 {
			return chain[:i+1], nil
		}
	}
	for bin := range j.layout.BinNames() { // the two trees are above each of them
		chain := j.layout.UnclaimedBinChain(bin)
		if i := slices.Index(chain, role); i >= 0 {
			return chain[:i+1], nil
		}
	}
	return nil, refuse(Outside, role, "%.80q is none of the repository's roles", role)
}

// newRoot takes the client's step to the next root.
func (j *judge) newRoot(file []byte) error {
	stage := j.m.Set.Next(j.p.Time)
	if _, err := stage.Accept(file); err != nil {
		return refuse(BadSignature, tuf.RoleRoot, "clients would refuse the new root: %v", err)
	}
	j.root = stage.Root()
	return nil
}

// promoted demands that the unclaimed bin lets go of the projects that a claimed bin delegates from now on.
func (j *judge) promoted(role tuf.RoleName, next *tuf.Targets) error {
	bin, _ := policy.BinOf(role)
	if !policy.FallsThroughLast(next) {
		return refuse(NotAllowed, role, "the last delegation of %s would no longer be the one to %s", role, policy.RoleUnclaimed)
	}
	before, err := j.published(j.layout.ClaimedBinChain(bin)...)
	if err != nil {
		return err
	}
	chain := j.layout.UnclaimedBinChain(bin)
	unclaimed, err := j.published(chain...)
	if err != nil {
		return err
	}
	for _, d := range projectsOf(next) {
		if _, there := find(before, d.Name()); there {
			continue
		}
		if err := j.asClaimed(chain, unclaimed, d); err != nil {
			return err
		}
		j.editBin(chain[len(chain)-1]).drops[d.Name()] = true
	}
	return nil
}

// asClaimed demands that a project is promoted as it was claimed: with the keys that it has, and the date. Those who
// signed the sitting had nothing but the server's word for both, and this signer has seen the claim. Only what
// operators recover gets other keys.
func (j *judge) asClaimed(chain []tuf.RoleName, unclaimed *tuf.Targets, now tuf.Delegation) error {
	role := now.Name()
	tree, err := j.published(chain[:len(chain)-1]...)
	if err != nil {
		return err
	}
	registry, err := authorityOf(tree, chain[len(chain)-1])
	if err != nil {
		return err
	}
	links := []policy.ChainLink{{Role: tuf.RoleTargets}}
	for _, above := range chain {
		links = append(links, policy.ChainLink{Role: above})
	}
	links[len(links)-1].Keys = registry.KeyIDs()
	had, there := find(unclaimed, role)
	was := tuf.Authority{}
	if there {
		if was, err = had.Authority(); err != nil {
			return refuse(Failed, role, "the keys of %s can not be read: %v", role, err)
		}
	}
	if !there || policy.Assess(append(links, policy.ChainLink{Role: role, Keys: was.KeyIDs()})) != policy.RecentlyClaimed {
		return refuse(NotAllowed, role, "operators would promote %s, and nobody has claimed it: who planned the sitting lied to them", role)
	}
	if _, recovered := policy.Recovered(now); recovered {
		return nil
	}
	is, err := now.Authority()
	if err != nil {
		return refuse(Malformed, role, "the keys that %s is to get can not be read: %v", role, err)
	}
	since, _ := policy.Since(had)
	told, _ := policy.Since(now)
	if !is.Equal(was) || !told.Equal(since) {
		return refuse(NotAllowed, role, "operators would promote %s with other keys than those that claimed it, or with another date: who planned the sitting lied to them, or its keys have changed since; plan it anew", role)
	}
	return nil
}

// change notes what the record has to tell.
func (j *judge) change(c *sitting.Change) {
	kinds := map[sitting.ChangeKind][]record.Kind{
		sitting.Promoted: {record.Promoted}, sitting.Recovered: {record.Recovered}, sitting.Parked: {record.Parked},
		sitting.Rekeyed: {record.Rekeyed, record.Revoked},
	}[c.Kind] // the others change nobody's keys
	if kinds != nil && !c.Project.IsZero() && len(c.New.KeyIDs()) > 0 {
		j.keys[policy.ProjectRole(c.Project)] = transfer{c.New, kinds}
	}
}

// resigned checks that everything was signed anew that a change of keys makes void.
func (j *judge) resigned() error {
	for _, name := range slices.Sorted(maps.Keys(j.rotated)) {
		if _, ok := j.out.Roles[name]; !ok {
			return refuse(Vanished, name, "the registry key changes, and the proposal has no version of %s that the new one signs: clients would find it no more", name)
		}
	}
	return nil
}
