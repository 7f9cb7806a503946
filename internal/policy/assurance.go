package policy

import (
	"slices"

	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
)

// Assurance is who vouches for a file. Higher is better.
type Assurance int

// The grades of assurance. The zero value is the lowest.
const (
	// Unclaimed: the registry vouches for the bytes it received.
	Unclaimed Assurance = iota
	// RecentlyClaimed: maintainers signed, with keys that the registry's online
	// key vouches for.
	RecentlyClaimed
	// Claimed: maintainers signed, with keys that the offline keys vouch for.
	Claimed
	// ClaimedParked: the offline keys sign the last list of the maintainers in their place, because they do
	// not answer. It is worth as much as Claimed, see Grade; only the word differs.
	ClaimedParked
)

// Grade returns the grade by which assurances are compared: that of a parked project is Claimed, since nobody
// online can change it either.
func (a Assurance) Grade() Assurance { return min(a, Claimed) }

// ParseAssurance reads the word that users see, and returns false for any other.
func ParseAssurance(word string) (Assurance, bool) {
	for _, a := range []Assurance{Unclaimed, RecentlyClaimed, Claimed, ClaimedParked} {
		if word == a.String() {
			return a, true
		}
	}
	return Unclaimed, false
}

// String returns the word that users see.
func (a Assurance) String() string {
	switch a {
	case ClaimedParked:
		return "parked"
	case Claimed:
		return "claimed"
	case RecentlyClaimed:
		return "recently claimed"
	case Unclaimed:
	}
	return "unclaimed"
}

// ChainLink is one role of the chain that led to a verified target: its name and the
// keys that its delegator lists for it.
type ChainLink struct {
	Role tuf.RoleName
	Keys []key.ID
}

// Assess grades the chain of a verified target, top-level targets first, the role that
// lists the file last. The word follows from the delegation to the
// project's role; what maintainers delegate further is theirs to answer for.
//
// A project that its claimed bin delegates is [Claimed], or [ClaimedParked] if it is delegated to keys of
// the bin itself. In the unclaimed tree a project counts
// as claimed only if none of its keys is one of its
// bin's: with such a key on the list the registry might be the
// one who signed. A chain of any other shape than the topology's is [Unclaimed].
func Assess(chain []ChainLink) Assurance {
	at, tree, ok := projectAt(chain)
	if !ok {
		return Unclaimed
	}
	project, bin := chain[at], chain[at-1]
	shared := func(id key.ID) bool { return slices.Contains(bin.Keys, id) }
	if tree == RoleClaimed {
		if slices.ContainsFunc(project.Keys, shared) {
			return ClaimedParked
		}
		return Claimed
	}
	if len(project.Keys) > 0 && !slices.ContainsFunc(project.Keys, shared) {
		return RecentlyClaimed
	}
	return Unclaimed
}
