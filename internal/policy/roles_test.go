package policy_test

import (
	"slices"
	"testing"

	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
)

func TestKindAndKeysOfRoles(t *testing.T) {
	for _, c := range []struct {
		role   tuf.RoleName
		kind   policy.Kind
		signer policy.KeyRole
	}{
		{"root", policy.KindRoot, policy.KeyRoot},
		{"timestamp", policy.KindTimestamp, policy.KeyTimestamp},
		{"snapshot", policy.KindSnapshot, policy.KeySnapshot},
		{"targets", policy.KindTargets, policy.KeyTargets},
		{"claimed", policy.KindClaimed, policy.KeyClaimed},
		{"unclaimed", policy.KindUnclaimed, policy.KeyUnclaimed},
		{"claimed-3f", policy.KindClaimedBin, policy.KeyClaimed},
		{"claimed-0", policy.KindClaimedBin, policy.KeyClaimed},
		{"unclaimed-3f", policy.KindUnclaimedBin, policy.KeyRegistry},
		{"unclaimed-ffff", policy.KindUnclaimedBin, policy.KeyRegistry},
		{"project.flask", policy.KindProject, policy.KeyRegistry},
		{"project.claimed-3f", policy.KindProject, policy.KeyRegistry},
		{"project.root", policy.KindProject, policy.KeyRegistry},
		{"", policy.KindOther, ""},
		{"Root", policy.KindOther, ""},
		{"claimed-", policy.KindOther, ""},
		{"claimed-3F", policy.KindOther, ""},
		{"claimed-xyz", policy.KindOther, ""},
		{"claimed-12345", policy.KindOther, ""},
		{"unclaimed-3f.x", policy.KindOther, ""},
		{"project.", policy.KindOther, ""},
		{"project.Flask", policy.KindOther, ""},
		{"project.a_b", policy.KindOther, ""},
		{"project.flask.ci", policy.KindOther, ""},
		{"xproject.flask", policy.KindOther, ""},
	} {
		if got := policy.KindOf(c.role); got != c.kind {
			t.Errorf("KindOf(%q) = %v, want %v", c.role, got, c.kind)
		}
		signer, ok := policy.SignedBy(c.role)
		if signer != c.signer || ok != (c.signer != "") {
			t.Errorf("SignedBy(%q) = %q, %v, want %q", c.role, signer, ok, c.signer)
		}
	}
	if policy.KindClaimedBin.String() != "claimed bin" || policy.Kind(99).String() != "other" || policy.Kind(-1).String() != "other" {
		t.Error("names of kinds are wrong")
	}
}

func TestKeyRoles(t *testing.T) {
	var online []policy.KeyRole
	for _, r := range policy.KeyRoles() {
		if r.Online() {
			online = append(online, r)
		}
	}
	if want := []policy.KeyRole{policy.KeyRegistry, policy.KeySnapshot, policy.KeyTimestamp}; !slices.Equal(online, want) {
		t.Errorf("online keys are %v, want %v", online, want)
	}
	if len(policy.KeyRoles()) != 7 {
		t.Errorf("key roles are %v", policy.KeyRoles())
	}
}

func TestAssess(t *testing.T) {
	l, p := layout(t, 256), project(t, "flask")
	registry, maintainer, offline := key.ID("registry"), key.ID("maintainer"), key.ID("offline")
	top := policy.ChainLink{Role: "targets", Keys: []key.ID{offline}}
	chain := func(links ...policy.ChainLink) []policy.ChainLink { return append([]policy.ChainLink{top}, links...) }
	link := func(role tuf.RoleName, keys ...key.ID) policy.ChainLink {
		return policy.ChainLink{Role: role, Keys: keys}
	}
	claimed, claimedBin := link("claimed", offline), link(l.ClaimedBin(p), offline)
	unclaimed, unclaimedBin := link("unclaimed", offline), link(l.UnclaimedBin(p), registry)
	own, registrys := link("project.flask", maintainer), link("project.flask", registry)

	for _, c := range []struct {
		name  string
		chain []policy.ChainLink
		want  policy.Assurance
	}{
		{"claimed", chain(claimed, claimedBin, own), policy.Claimed},
		{"claimed, listed by a role of the maintainers", chain(claimed, claimedBin, own, link("ci", registry)), policy.Claimed},
		{"recently claimed", chain(claimed, claimedBin, unclaimed, unclaimedBin, own), policy.RecentlyClaimed},
		{"recently claimed, with a role of the maintainers", chain(claimed, claimedBin, unclaimed, unclaimedBin, own, link("ci", registry)), policy.RecentlyClaimed},
		{"unclaimed", chain(claimed, claimedBin, unclaimed, unclaimedBin, registrys), policy.Unclaimed},
		{"registry among the maintainers", chain(claimed, claimedBin, unclaimed, unclaimedBin, link("project.flask", maintainer, registry)), policy.Unclaimed},
		{"unclaimed with a claimed-looking tail", chain(claimed, claimedBin, unclaimed, unclaimedBin, registrys, claimed, claimedBin, own), policy.Unclaimed},
		{"project without keys", chain(claimed, claimedBin, unclaimed, unclaimedBin, link("project.flask")), policy.Unclaimed},
		{"no chain", nil, policy.Unclaimed},
		{"listed by the bin", chain(claimed, claimedBin), policy.Unclaimed},
		{"listed by top-level targets", chain(), policy.Unclaimed},
		{"not from the top", []policy.ChainLink{claimed, claimedBin, own, own}, policy.Unclaimed},
		{"bin of the other tree", chain(claimed, unclaimedBin, own), policy.Unclaimed},
		{"claimed bin below unclaimed", chain(unclaimed, claimedBin, own), policy.Unclaimed},
		{"unclaimed below targets", chain(unclaimed, unclaimedBin, own), policy.Unclaimed},
		{"unclaimed below claimed", chain(claimed, unclaimed, unclaimedBin, own), policy.Unclaimed},
		{"unclaimed below another project's bin", chain(claimed, link("claimed-zz", offline), unclaimed, unclaimedBin, own), policy.Unclaimed},
		{"bins of two sizes", chain(claimed, link(l.ClaimedBin(p)[:9], offline), unclaimed, unclaimedBin, own), policy.Unclaimed},
		{"a bin in the place of claimed", chain(claimed, own), policy.Unclaimed},
		{"claimed in the place of its bin", chain(claimed, claimed, own), policy.Unclaimed},
		{"both trees", chain(claimed, claimedBin, unclaimed, claimedBin, own), policy.Unclaimed},
		{"bin of another project", chain(claimed, link("claimed-zz", offline), own), policy.Unclaimed},
		{"another project's bin", chain(claimed, link(l.ClaimedBin(project(t, "django")), offline), own), policy.Unclaimed},
		{"no project role", chain(claimed, claimedBin, link("flask", maintainer)), policy.Unclaimed},
		{"tree of another name", chain(link("trusted", offline), link("trusted-"+tuf.RoleName(l.Bin(p)), offline), own), policy.Unclaimed},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := policy.Assess(c.chain); got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
	words := []string{policy.Unclaimed.String(), policy.RecentlyClaimed.String(), policy.Claimed.String()}
	if want := []string{"unclaimed", "recently claimed", "claimed"}; !slices.Equal(words, want) {
		t.Errorf("words are %q", words)
	}
	if policy.Unclaimed >= policy.RecentlyClaimed || policy.RecentlyClaimed >= policy.Claimed {
		t.Error("grades are out of order")
	}
}
