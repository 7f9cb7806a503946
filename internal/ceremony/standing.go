package ceremony

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/trust"
)

// Standing is where a project stands in a verified repository: who signs it, and what is listed.
// It is immutable.
type Standing struct {
	Repository [32]byte // SHA-256 of 1.root.json
	Layout     policy.Layout
	Project    pypi.Project
	// Assurance is by whom the project's role is signed. A project without a role is Unclaimed.
	Assurance policy.Assurance
	Tree, Bin tuf.RoleName // by which the project's role is or would be delegated
	// Chain are the roles below top-level targets that lead to Bin, Bin included. Nobody may change it.
	Chain     []tuf.RoleName
	Authority tuf.Authority // who signs the project's role; the zero value if there is none
	// Owners is whose the project is: Authority, but of a parked project the maintainers from whom it was parked.
	Owners tuf.Authority
	Parked time.Time    // since when it is parked; zero: it is not, or the delegation does not tell
	Since  time.Time    // since when it is claimed; zero: the delegation does not tell
	Base   *tuf.Targets // the project's role as published; nil if there is none
	Subs   []Sub        // the sub-roles that Base delegates to, in its order

	set *trust.Set
	own map[[32]byte]tuf.RoleName // keys of the repository itself, by fingerprint
}

// Sub is a sub-role of a project.
type Sub struct {
	Delegation tuf.Delegation
	Targets    *tuf.Targets
}

// Look reads where a project stands. Unlike an installing client it takes roles of the project
// that have expired, because they are the base of their own renewal. The error is that of the
// search: a *trust.RefusedError, or what load returned.
func Look(set *trust.Set, load trust.Loader, repository [32]byte, p pypi.Project) (*Standing, error) {
	layout, err := policy.LayoutOf(set.Targets())
	if err != nil {
		return nil, err
	}
	s := &Standing{Repository: repository, Layout: layout, Project: p, set: set, own: make(map[[32]byte]tuf.RoleName)}
	role := policy.ProjectRole(p)
	for _, chain := range [][]tuf.RoleName{layout.ClaimedChain(p), layout.UnclaimedChain(p)} {
		bin, err := Role(set, load, chain...)
		if err != nil {
			return nil, err
		}
		s.Chain, s.Tree, s.Bin = chain, chain[len(chain)-2], chain[len(chain)-1]
		d, ok := find(bin, role)
		if !ok {
			continue
		}
		if err := s.read(load, d); err != nil {
			return nil, err
		}
		break
	}
	return s, s.ownKeys(load)
}

// read fills in what the delegation of the project leads to.
func (s *Standing) read(load trust.Loader, d tuf.Delegation) error {
	var err error
	if s.Authority, err = d.Authority(); err != nil {
		return fmt.Errorf("reading the keys of project %s: %w", s.Project, err)
	}
	s.Since, _ = policy.Since(d)
	s.Parked, _ = policy.Parked(d)
	if s.Owners, err = policy.Owners(d); err != nil {
		s.Owners = s.Authority // nobody can take it back by keys that can not be read
	}
	role := policy.ProjectRole(s.Project)
	if s.Base, err = Role(s.set, load, s.Below(role)...); err != nil {
		return err
	}
	if s.Assurance, err = s.assess(load); err != nil || s.Assurance == policy.Unclaimed {
		return err
	}
	ds := s.Base.Delegations()
	if ds == nil {
		return nil
	}
	for sub := range ds.All() {
		t, err := Role(s.set, load, s.Below(role, sub.Name())...)
		if err != nil {
			return err
		}
		s.Subs = append(s.Subs, Sub{Delegation: sub, Targets: t})
	}
	return nil
}

// Below returns the chain of roles that leads past the project's bin to further ones.
func (s *Standing) Below(roles ...tuf.RoleName) []tuf.RoleName {
	return slices.Concat(s.Chain, roles)
}

func (s *Standing) assess(load trust.Loader) (policy.Assurance, error) {
	tree, err := Role(s.set, load, s.Chain[:len(s.Chain)-1]...)
	if err != nil {
		return policy.Unclaimed, err
	}
	d, ok := find(tree, s.Bin)
	if !ok {
		return policy.Unclaimed, fmt.Errorf("the role %s does not delegate %s", s.Tree, s.Bin)
	}
	bin, err := d.Authority()
	if err != nil {
		return policy.Unclaimed, err
	}
	links := []policy.ChainLink{{Role: tuf.RoleTargets}}
	for _, role := range s.Below(policy.ProjectRole(s.Project)) {
		links = append(links, policy.ChainLink{Role: role})
	}
	links[len(links)-2].Keys, links[len(links)-1].Keys = bin.KeyIDs(), s.Authority.KeyIDs()
	return policy.Assess(links), nil
}

// ownKeys notes the keys of the repository, which can not be those of a maintainer.
func (s *Standing) ownKeys(load trust.Loader) error {
	add := func(role tuf.RoleName, a tuf.Authority) {
		for _, k := range keysOf(a) {
			s.own[k.Fingerprint()] = role
		}
	}
	for _, role := range []tuf.RoleName{tuf.RoleRoot, tuf.RoleTargets, tuf.RoleSnapshot, tuf.RoleTimestamp} {
		a, _ := s.set.Root().Authority(role)
		add(role, a)
	}
	delegator := s.set.Targets()
	chain := s.Layout.UnclaimedChain(s.Project) // it leads through both trees
	for i, role := range chain {
		if d, ok := find(delegator, role); ok {
			a, err := d.Authority()
			if err != nil {
				return err
			}
			add(role, a)
		}
		var err error
		if delegator, err = Role(s.set, load, chain[:i+1]...); err != nil {
			return err
		}
	}
	return nil
}

// Newest returns the newest published version of a role, 0 if it was never published. Names never
// leave the snapshot, so it also knows roles that nobody delegates to any more.
func (s *Standing) Newest(role tuf.RoleName) int64 {
	meta, ok := s.set.Snapshot().Lookup(role)
	if !ok {
		return 0
	}
	return meta.Version
}

// sub returns a sub-role that is delegated now.
func (s *Standing) sub(role tuf.RoleName) *Sub {
	for i := range s.Subs {
		if s.Subs[i].Delegation.Name() == role {
			return &s.Subs[i]
		}
	}
	return nil
}

func find(delegator *tuf.Targets, role tuf.RoleName) (tuf.Delegation, bool) {
	ds := delegator.Delegations()
	if ds == nil {
		return tuf.Delegation{}, false
	}
	return ds.Find(role)
}

// Role returns the published version of a delegated role, verified through the given chain of
// delegations. Unlike a client it takes an expired one, which is the base of its own renewal; all
// else that a client checks holds for that one, too.
func Role(set *trust.Set, load trust.Loader, chain ...tuf.RoleName) (*tuf.Targets, error) {
	t, err := set.Delegated(load, chain...)
	var refused *trust.RefusedError
	if !errors.As(err, &refused) || refused.Code != trust.Expired || len(chain) == 0 {
		return t, err
	}
	name := chain[len(chain)-1]
	delegator, err := Role(set, load, chain[:len(chain)-1]...)
	if err != nil {
		return nil, err
	}
	d, ok := find(delegator, name)
	meta, pinned := set.Snapshot().Lookup(name)
	if !ok || !pinned || meta.Version < d.MinimumVersion() {
		return nil, fmt.Errorf("the expired role %s is not delegated at the version that the snapshot lists", name)
	}
	authority, err := d.Authority()
	if err != nil {
		return nil, fmt.Errorf("reading the keys of %s: %w", name, err)
	}
	data, err := load(name, meta)
	if err != nil {
		return nil, err
	}
	unverified, err := tuf.ParseTargets(data, nil)
	if err != nil {
		return nil, err
	}
	if t, err = unverified.Verify(authority); err != nil {
		return nil, err
	}
	if t.Version() != meta.Version || !names(t, name) {
		return nil, fmt.Errorf("the expired role %s is not version %d of this role", name, meta.Version)
	}
	return t, nil
}
