package repo_test

import (
	"errors"
	"strings"
	"testing"

	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/repo"
)

// TestDelegationMembers: further members of an entry are written, kept, replaced and removed; those
// of the specification are refused.
func TestDelegationMembers(t *testing.T) {
	r := newRole(t, "bin")
	with := func(members map[string][]byte) repo.Delegation {
		return repo.Delegation{Role: "a", Authority: authorityOf(t, 1, signerOf(t, "a")), Paths: []string{"a/*"}, Members: members}
	}
	for _, name := range []string{"keyids", "name", "terminating", "threshold", "paths", "path_hash_prefixes", "minimum_version"} {
		spec := repo.TargetsSpec{Delegations: []repo.Delegation{with(map[string][]byte{name: []byte("1")})}}
		if _, err := repo.NewTargets(spec, r.issue(1)); !errors.Is(err, repo.ErrMember) {
			t.Errorf("member %s: %v, want ErrMember", name, err)
		}
	}
	if _, err := repo.NewTargets(repo.TargetsSpec{Delegations: []repo.Delegation{with(map[string][]byte{"x": []byte("{")})}}, r.issue(1)); !errors.Is(err, repo.ErrMember) {
		t.Errorf("a member that is no JSON: %v, want ErrMember", err)
	}
	d, err := repo.NewTargets(repo.TargetsSpec{Delegations: []repo.Delegation{with(map[string][]byte{"since": []byte(` "then" `), "more": []byte("[ 1 ]")})}}, r.issue(1))
	at := r.targets(t, d, err)
	want := func(members ...string) {
		t.Helper()
		raw := string(at.Delegations().At(0).Raw())
		for _, m := range []string{`"since":"then"`, `"since":"now"`, `"more":[1]`} {
			has := strings.Contains(raw, m)
			wanted := false
			for _, w := range members {
				wanted = wanted || w == m
			}
			if has != wanted {
				t.Errorf("member %s is there: %t, want %t: %s", m, has, wanted, raw)
			}
		}
	}
	want(`"since":"then"`, `"more":[1]`)
	edit := func(members map[string][]byte) *tuf.Targets {
		d, err := repo.EditTargets(at, repo.TargetsEdit{ReplaceDelegations: []repo.Delegation{with(members)}}, r.issue(at.Version()+1))
		return r.targets(t, d, err)
	}
	at = edit(nil)
	want(`"since":"then"`, `"more":[1]`)
	at = edit(map[string][]byte{"since": []byte(`"now"`), "more": nil})
	want(`"since":"now"`)
}
