package policy_test

import (
	"slices"
	"strings"
	"testing"

	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
)

type members map[string]string

func (m members) Member(name string) ([]byte, bool) {
	value, ok := m[name]
	return []byte(value), ok
}

func TestHoldersAreNamed(t *testing.T) {
	a, b := key.ID(strings.Repeat("a", 64)), key.ID(strings.Repeat("b", 64))
	names := map[key.ID]string{a: "alice", b: "bob@example.com"}
	value := policy.EncodeHolders(names, b, a, b)
	if want := `{"` + string(a) + `":"alice","` + string(b) + `":"bob@example.com"}`; string(value) != want {
		t.Errorf("encoded as %s, want %s", value, want)
	}
	got := policy.HoldersOf(members{policy.HoldersMember: string(value)})
	if len(got) != 2 || got[a] != "alice" || got[b] != "bob@example.com" {
		t.Errorf("read %v", got)
	}
	if value := policy.EncodeHolders(names, key.ID(strings.Repeat("c", 64))); value != nil {
		t.Errorf("keys that nobody is named for are encoded as %s", value)
	}
}

// TestHoldersAreForMessagesOnly: what can not be read is left out, and stops nothing.
func TestHoldersAreForMessagesOnly(t *testing.T) {
	id := strings.Repeat("a", 64)
	for name, value := range map[string]string{
		"no object":          `["alice"]`,
		"no string":          `{"` + id + `":["alice"]}`,
		"no key id":          `{"abc":"alice"}`,
		"control characters": `{"` + id + `":"a\u001b[2J"}`,
		"empty":              `{"` + id + `":""}`,
		"too long":           `{"` + id + `":"` + strings.Repeat("x", 65) + `"}`,
		"a minus first":      `{"` + id + `":"--yes"}`,
	} {
		t.Run(name, func(t *testing.T) {
			if got := policy.HoldersOf(members{policy.HoldersMember: value}); len(got) != 0 {
				t.Errorf("read %v", got)
			}
		})
	}
	if got := policy.HoldersOf(members{}); len(got) != 0 {
		t.Errorf("read %v where nothing is said", got)
	}
}

// TestGenesisNamesHolders: each name stands in the file that lists the key, and nothing else changes.
func TestGenesisNamesHolders(t *testing.T) {
	keys := newKeyring(t)
	names := make(map[key.ID]string)
	for role, s := range keys {
		names[s.Public().ID()] = "holder-of-" + string(role)
	}
	drafts, err := policy.Genesis(policy.GenesisSpec{Layout: layout(t, 16), Keys: keys.public(), Holders: names, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	want := map[tuf.RoleName][]policy.KeyRole{
		tuf.RoleRoot: {policy.KeyRoot, policy.KeyTargets}, tuf.RoleTargets: {policy.KeyClaimed}, policy.RoleUnclaimed: {policy.KeyUnclaimed},
	}
	for _, d := range drafts {
		text := string(d.Message())
		for _, role := range policy.KeyRoles() {
			if got := strings.Contains(text, `:"holder-of-`+string(role)+`"`); got != slices.Contains(want[d.Role()], role) {
				t.Errorf("%s names the holder of %s: %t", d.Role(), role, got)
			}
		}
	}
}
