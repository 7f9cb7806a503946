package policy

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
	"example.com/bailiwick/tuf/repo"
)

// ErrDelegated means: the project has a role in this bin already.
var ErrDelegated = errors.New("project is delegated already")

// Thresholds says how many of a role's keys must sign. Zero means one.
type Thresholds struct {
	Root, Targets, Claimed, Unclaimed, Registry, Snapshot, Timestamp int
}

func (t Thresholds) of(r KeyRole) int {
	n := 0
	switch r {
	case KeyRoot:
		n = t.Root
	case KeyTargets:
		n = t.Targets
	case KeyClaimed:
		n = t.Claimed
	case KeyUnclaimed:
		n = t.Unclaimed
	case KeyRegistry:
		n = t.Registry
	case KeySnapshot:
		n = t.Snapshot
	case KeyTimestamp:
		n = t.Timestamp
	}
	if n == 0 {
		return 1
	}
	return n
}

// GenesisSpec describes a new repository.
type GenesisSpec struct {
	Layout Layout
	// Keys holds the keys of every key role, one or more each.
	Keys map[KeyRole][]*key.Public
	// Thresholds says how many of them must sign; the zero value is one of each.
	Thresholds Thresholds
	// Lifetimes of the first versions; the zero value means [DefaultLifetimes].
	Lifetimes Lifetimes
	// Holders names those who hold offline keys, by key id; it may be empty. See [HoldersMember].
	Holders map[key.ID]string
	// Now is the time of the first publication.
	Now time.Time
}

// genesis carries what all drafts of the first publication need.
type genesis struct {
	GenesisSpec
	authority map[KeyRole]tuf.Authority
	drafts    []*repo.Draft
}

// Genesis drafts the first publication of a repository in publication order: root, targets, claimed,
// unclaimed, the bins of both trees, snapshot and timestamp, all of version 1. Nothing
// is claimed or published in it. Signed and assembled, they are a repository that
// any TUF client accepts.
//
// The timestamp pins the snapshot by version alone, because its signed bytes do not exist
// yet.
func Genesis(spec GenesisSpec) ([]*repo.Draft, error) {
	if spec.Lifetimes == (Lifetimes{}) {
		spec.Lifetimes = DefaultLifetimes()
	}
	g := &genesis{GenesisSpec: spec, authority: make(map[KeyRole]tuf.Authority)}
	if err := g.check(); err != nil {
		return nil, fmt.Errorf("planning the repository: %w", err)
	}
	for _, step := range []func() error{g.root, g.top, g.trees, g.bins, g.snapshot, g.timestamp} {
		if err := step(); err != nil {
			return nil, fmt.Errorf("planning the repository: %w", err)
		}
	}
	return g.drafts, nil
}

// check reports all problems of the specification at once.
func (g *genesis) check() error {
	var problems []error
	if g.Layout.Bins() == 0 {
		problems = append(problems, fmt.Errorf("no layout given: %w", ErrLayout))
	}
	problems = append(problems, g.Lifetimes.Check())
	for _, r := range KeyRoles() {
		a, err := tuf.NewAuthority(g.Thresholds.of(r), g.Keys[r]...)
		if err != nil {
			problems = append(problems, fmt.Errorf("keys of %s: %w", r, err))
			continue
		}
		g.authority[r] = a
	}
	problems = append(problems, g.checkApart())
	return errors.Join(problems...)
}

// checkApart refuses a key in two key roles: whoever takes over the server would
// hold the offline one too, and a file of unclaimed that is served under the name of another
// offline role must not verify there.
func (g *genesis) checkApart() error {
	holder := make(map[[32]byte]KeyRole)
	for _, r := range KeyRoles() {
		for _, k := range g.Keys[r] {
			if other, taken := holder[k.Fingerprint()]; taken && other != r {
				return fmt.Errorf("key %s is given for %s and %s; every role needs its own: %w", k.ID(), other, r, repo.ErrSharedKey)
			}
			holder[k.Fingerprint()] = r
		}
	}
	return nil
}

// issue returns what the first version of the role needs.
func (g *genesis) issue(role tuf.RoleName, lifetime time.Duration, paths ...string) repo.Issue {
	signer, _ := SignedBy(role)
	return repo.Issue{
		Role:      role,
		Version:   1,
		Expires:   g.Now.Add(lifetime),
		Now:       g.Now,
		Authority: g.authority[signer],
		Paths:     paths,
	}
}

func (g *genesis) add(d *repo.Draft, err error) error {
	if err == nil {
		g.drafts = append(g.drafts, d)
	}
	return err
}

func (g *genesis) root() error {
	return g.add(repo.NewRoot(repo.RootSpec{
		ConsistentSnapshot: true,
		Roles: map[tuf.RoleName]tuf.Authority{
			tuf.RoleRoot:      g.authority[KeyRoot],
			tuf.RoleTargets:   g.authority[KeyTargets],
			tuf.RoleSnapshot:  g.authority[KeySnapshot],
			tuf.RoleTimestamp: g.authority[KeyTimestamp],
		},
		Members: g.holders(nil, KeyRoot, KeyTargets),
	}, g.issue(tuf.RoleRoot, g.Lifetimes.Root)))
}

// holders adds to members the names of those who hold the keys of roles.
func (g *genesis) holders(members map[string][]byte, roles ...KeyRole) map[string][]byte {
	var ids []key.ID
	for _, r := range roles {
		ids = append(ids, g.authority[r].KeyIDs()...)
	}
	if value := EncodeHolders(g.Holders, ids...); value != nil {
		if members == nil {
			members = make(map[string][]byte)
		}
		members[HoldersMember] = value
	}
	return members
}

// everything matches every distribution file.
const everything = "*/*/*"

// top drafts the top-level targets. Its one delegation ends the search: whatever is served
// under the name of a role of the claimed tree, nothing is looked for beside it.
func (g *genesis) top() error {
	claimed := repo.Delegation{Role: RoleClaimed, Authority: g.authority[KeyClaimed], Paths: []string{everything}, Terminating: true}
	return g.add(repo.NewTargets(repo.TargetsSpec{
		Delegations: []repo.Delegation{claimed},
		Members:     g.holders(map[string][]byte{BinsMember: strconv.AppendInt(nil, int64(g.Layout.Bins()), 10)}, KeyClaimed),
	}, g.issue(tuf.RoleTargets, g.Lifetimes.Targets)))
}

func (g *genesis) trees() error {
	for _, tree := range []struct {
		role     tuf.RoleName
		bin      func(string) tuf.RoleName
		lifetime time.Duration
	}{
		{RoleClaimed, claimedBin, g.Lifetimes.NothingClaimed},
		{RoleUnclaimed, unclaimedBin, g.Lifetimes.Unclaimed},
	} {
		bins := make([]repo.Delegation, 0, g.Layout.Bins())
		for bin := range g.Layout.BinNames() {
			role := tree.bin(bin)
			signer, _ := SignedBy(role)
			bins = append(bins, repo.Delegation{
				Role: role, Authority: g.authority[signer], Paths: []string{g.Layout.BinPattern(bin)}, Terminating: true,
			})
		}
		spec := repo.TargetsSpec{Delegations: bins}
		if tree.role == RoleUnclaimed {
			spec.Members = g.holders(nil, KeyUnclaimed)
		}
		if err := g.add(repo.NewTargets(spec, g.issue(tree.role, tree.lifetime, everything))); err != nil {
			return err
		}
	}
	return nil
}

func (g *genesis) bins() error {
	for bin := range g.Layout.BinNames() {
		spec := repo.TargetsSpec{Delegations: []repo.Delegation{g.Layout.FallThrough(bin, g.authority[KeyUnclaimed])}}
		issue := g.issue(claimedBin(bin), g.Lifetimes.NothingClaimed, g.Layout.BinPattern(bin))
		if err := g.add(repo.NewTargets(spec, issue)); err != nil {
			return err
		}
	}
	for bin := range g.Layout.BinNames() {
		issue := g.issue(unclaimedBin(bin), g.Lifetimes.UnclaimedBin, g.Layout.BinPattern(bin))
		if err := g.add(repo.NewTargets(repo.TargetsSpec{}, issue)); err != nil {
			return err
		}
	}
	return nil
}

func (g *genesis) snapshot() error {
	roles := make(map[tuf.RoleName]int64, len(g.drafts))
	for _, d := range g.drafts {
		if d.Role() != tuf.RoleRoot {
			roles[d.Role()] = d.Version()
		}
	}
	return g.add(repo.NewSnapshot(roles, g.issue(tuf.RoleSnapshot, g.Lifetimes.Snapshot)))
}

func (g *genesis) timestamp() error {
	pin := tuf.Meta{Version: 1, Length: -1}
	return g.add(repo.NewTimestamp(pin, g.issue(tuf.RoleTimestamp, g.Lifetimes.Timestamp)))
}

// NewProject returns the delegation by which a bin of either tree delegates to a project's
// role. It is terminating: nobody else may list files for the project if it does not.
func NewProject(l Layout, p pypi.Project, a tuf.Authority) repo.Delegation {
	return repo.Delegation{Role: ProjectRole(p), Authority: a, Paths: []string{l.ProjectPattern(p)}, Terminating: true}
}

// AddProject returns the edit of the project's unclaimed bin that delegates to it, after all
// other projects. ([AddClaimed] is that of a claimed bin.) It returns [ErrDelegated] if the bin does so already: with
// other keys that would be a change of hands, which is not done by adding.
func AddProject(l Layout, bin *tuf.Targets, p pypi.Project, a tuf.Authority) (repo.TargetsEdit, error) {
	d := NewProject(l, p, a)
	if list := bin.Delegations(); list != nil {
		if _, there := list.Find(d.Role); there {
			return repo.TargetsEdit{}, fmt.Errorf("adding %s: %w", d.Role, ErrDelegated)
		}
	}
	return repo.TargetsEdit{AddDelegations: []repo.Delegation{d}}, nil
}
