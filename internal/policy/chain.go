package policy

import (
	"slices"
	"strings"

	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/repo"
)

// ClaimedChain returns the roles below top-level targets that lead to the project's claimed bin, in
// the order of delegation: "claimed", "claimed-3f". The slice belongs to the caller.
func (l Layout) ClaimedChain(p pypi.Project) []tuf.RoleName { return l.ClaimedBinChain(l.Bin(p)) }

// UnclaimedChain returns the roles below top-level targets that lead to the project's unclaimed bin:
// "claimed", "claimed-3f", "unclaimed", "unclaimed-3f". The slice belongs to the caller.
func (l Layout) UnclaimedChain(p pypi.Project) []tuf.RoleName { return l.UnclaimedBinChain(l.Bin(p)) }

// ClaimedBinChain is [Layout.ClaimedChain] for a bin by its name, such as "3f".
func (l Layout) ClaimedBinChain(bin string) []tuf.RoleName {
	return []tuf.RoleName{RoleClaimed, claimedBin(bin)}
}

// UnclaimedBinChain is [Layout.UnclaimedChain] for a bin by its name, such as "3f".
func (l Layout) UnclaimedBinChain(bin string) []tuf.RoleName {
	return []tuf.RoleName{RoleClaimed, claimedBin(bin), RoleUnclaimed, unclaimedBin(bin)}
}

// BinOf returns the name of the bin, such as "3f", whose role it is in either tree, and false for
// any other role.
func BinOf(role tuf.RoleName) (string, bool) {
	switch KindOf(role) {
	case KindClaimedBin, KindUnclaimedBin:
		return string(role[strings.LastIndexByte(string(role), '-')+1:]), true
	default:
		return "", false
	}
}

// FallThrough returns the last delegation of a claimed bin: what the bin does not name may be looked
// for in the unclaimed tree, whose role unclaimed a signs. The bin says so itself, signed offline, and for its
// own paths only, so no other file in its place can send a search there.
func (l Layout) FallThrough(bin string, a tuf.Authority) repo.Delegation {
	return repo.Delegation{Role: RoleUnclaimed, Authority: a, Paths: []string{l.BinPattern(bin)}, Terminating: true}
}

// FallsThroughLast reports whether a claimed bin delegates to unclaimed once, terminating, and after
// everything else: only then can no project of the bin be looked for in the wrong tree.
func FallsThroughLast(bin *tuf.Targets) bool {
	ds := bin.Delegations()
	if ds == nil || ds.Len() == 0 {
		return false
	}
	last := ds.At(ds.Len() - 1)
	return last.Name() == RoleUnclaimed && last.Terminating()
}

// AddClaimed returns the edit of a claimed bin that delegates to projects (see [NewProject]): new ones
// before the fall-through, in the order given; those that are there already in their place. Each is
// terminating and for the files of its project alone, whatever ds say.
func AddClaimed(l Layout, bin *tuf.Targets, ds ...repo.Delegation) repo.TargetsEdit {
	edit := repo.TargetsEdit{AddBefore: RoleUnclaimed}
	list := bin.Delegations()
	for _, d := range ds {
		if p, ok := ProjectOf(d.Role); ok {
			d.Paths, d.HashPrefixes, d.Terminating = []string{l.ProjectPattern(p)}, nil, true
		}
		there := false
		if list != nil {
			_, there = list.Find(d.Role)
		}
		if there {
			edit.ReplaceDelegations = append(edit.ReplaceDelegations, d)
		} else {
			edit.AddDelegations = append(edit.AddDelegations, d)
		}
	}
	return edit
}

// projectAt returns where in the chain of a verified target, top-level targets first, the role of the
// project stands, and in which tree it is delegated; false if the chain does not have the topology's shape.
func projectAt(chain []ChainLink) (at int, tree tuf.RoleName, ok bool) {
	at = slices.IndexFunc(chain, func(l ChainLink) bool { return KindOf(l.Role) == KindProject })
	if at < 1 || chain[0].Role != tuf.RoleTargets {
		return 0, "", false
	}
	p, _ := ProjectOf(chain[at].Role)
	bin, ok := BinOf(chain[at-1].Role)
	if !ok || !strings.HasPrefix(digest(p), bin) {
		return 0, "", false
	}
	var l Layout
	for _, want := range [][]tuf.RoleName{l.ClaimedBinChain(bin), l.UnclaimedBinChain(bin)} {
		if slices.EqualFunc(chain[1:at], want, func(c ChainLink, role tuf.RoleName) bool { return c.Role == role }) {
			return at, want[len(want)-2], true
		}
	}
	return 0, "", false
}
