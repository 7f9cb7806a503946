package policy_test

import (
	"testing"

	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
)

// TestParkedWord: a project that its claimed bin delegates to a key of the bin itself is parked, which is worth as much as
// claimed; such a key in the unclaimed tree is the registry's, and worth nothing.
func TestParkedWord(t *testing.T) {
	l, p := layout(t, 16), project(t, "flask")
	chain := func(bins []tuf.RoleName, bin, keys []key.ID) []policy.ChainLink {
		links := []policy.ChainLink{{Role: tuf.RoleTargets}}
		for _, role := range bins {
			links = append(links, policy.ChainLink{Role: role})
		}
		links[len(links)-1].Keys = bin
		return append(links, policy.ChainLink{Role: policy.ProjectRole(p), Keys: keys})
	}
	for _, c := range []struct {
		name  string
		chain []policy.ChainLink
		want  policy.Assurance
	}{
		{"claimed, its own key", chain(l.ClaimedChain(p), []key.ID{"bin"}, []key.ID{"alice"}), policy.Claimed},
		{"claimed, the bin's key", chain(l.ClaimedChain(p), []key.ID{"bin"}, []key.ID{"bin"}), policy.ClaimedParked},
		{"claimed, one of the bin's keys among others", chain(l.ClaimedChain(p), []key.ID{"bin", "other"}, []key.ID{"alice", "other"}), policy.ClaimedParked},
		{"claimed, keys not known", chain(l.ClaimedChain(p), nil, nil), policy.Claimed},
		{"unclaimed, the bin's key", chain(l.UnclaimedChain(p), []key.ID{"bin"}, []key.ID{"bin"}), policy.Unclaimed},
	} {
		if got := policy.Assess(c.chain); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
		sub := append(c.chain, policy.ChainLink{Role: "project.flask.ci", Keys: []key.ID{"ci"}})
		if got := policy.Assess(sub); got != c.want {
			t.Errorf("%s, by a sub-role: %s, want %s", c.name, got, c.want)
		}
	}
	if policy.ClaimedParked.Grade() != policy.Claimed {
		t.Errorf("parked is worth %s", policy.ClaimedParked.Grade())
	}
	for _, a := range []policy.Assurance{policy.Unclaimed, policy.RecentlyClaimed, policy.Claimed, policy.ClaimedParked} {
		if back, ok := policy.ParseAssurance(a.String()); !ok || back != a {
			t.Errorf("%q is read as %s, %v", a, back, ok)
		}
		if a != policy.ClaimedParked && a.Grade() != a {
			t.Errorf("%s is worth %s", a, a.Grade())
		}
	}
	if _, ok := policy.ParseAssurance("Claimed"); ok {
		t.Error("another word is an assurance")
	}
}

// TestParkedStatus: PEP 792 has a word for it.
func TestParkedStatus(t *testing.T) {
	if s := policy.ParkedStatus(); !s.IsArchived() || s.Reason == "" {
		t.Errorf("the status of a parked project is %+v", s)
	}
	if _, err := policy.ParkedStatus().Encode(); err != nil {
		t.Errorf("the status of a parked project can not be written: %v", err)
	}
}
