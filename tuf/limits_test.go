package tuf_test

import (
	"fmt"
	"strings"
	"testing"

	"example.com/bailiwick/tuf"
)

// Every bound has a file that it just lets pass, and one more than that.
func TestLimits(t *testing.T) {
	s, s2 := signer(t, 1), signer(t, 2)
	one := roleOf(1, s)
	keys := `"keys":{` + keyObjects(s) + `}`
	root := func(keys, more string, first string) []byte {
		return envelope(tuf.RoleRoot, keys, fmt.Sprintf(`"roles":{%s"root":%s,"snapshot":%s,"targets":%s,"timestamp":%s}`, more, first, one, one, one))
	}
	targets := func(entries string) []byte { return envelope(tuf.RoleTargets, `"targets":{`+entries+`}`) }
	good := `{` + anyHash + `,"length":10}`
	delegations := func(text string) []byte {
		return envelope(tuf.RoleTargets, `"targets":{}`, `"delegations":{"keys":{},"roles":[`+text+`]}`)
	}
	bins := func(prefix string) []byte {
		return envelope(tuf.RoleTargets, `"targets":{}`, `"delegations":{"keys":{},"succinct_roles":{"bit_length":4,"keyids":[],"name_prefix":"`+prefix+`","threshold":1}}`)
	}
	role := func(name, more string) string { return `{"name":"` + name + `","keyids":[],"threshold":1` + more + `}` }
	plain := func(role tuf.RoleName) []byte { data, _ := minimal(t, role); return data }
	long := func(data []byte, n int) []byte { // exactly n bytes
		return append(data, strings.Repeat(" ", n-len(data))...)
	}
	sigs := func(n int) []byte {
		var out []string
		for i := range n {
			out = append(out, fmt.Sprintf(`{"keyid":"%d","sig":""}`, i))
		}
		return []byte(`{"signatures":[` + strings.Join(out, ",") + `],"signed":` + body(tuf.RoleTargets, `"targets":{}`) + `}`)
	}
	for _, test := range []struct {
		name       string
		role       tuf.RoleName
		limits     tuf.Limits
		fits, over []byte
		reason     string
	}{
		{"RootBytes", tuf.RoleRoot, tuf.Limits{RootBytes: 3000}, long(plain(tuf.RoleRoot), 3000), long(plain(tuf.RoleRoot), 3001), "3001 bytes"},
		{"TimestampBytes", tuf.RoleTimestamp, tuf.Limits{TimestampBytes: 300}, long(plain(tuf.RoleTimestamp), 300), long(plain(tuf.RoleTimestamp), 301), "301 bytes"},
		{"SnapshotBytes", tuf.RoleSnapshot, tuf.Limits{SnapshotBytes: 300}, long(plain(tuf.RoleSnapshot), 300), long(plain(tuf.RoleSnapshot), 301), "301 bytes"},
		{"TargetsBytes", tuf.RoleTargets, tuf.Limits{TargetsBytes: 300}, long(plain(tuf.RoleTargets), 300), long(plain(tuf.RoleTargets), 301), "301 bytes"},
		{"RootBytes by default", tuf.RoleRoot, tuf.Limits{}, long(plain(tuf.RoleRoot), 512_000), long(plain(tuf.RoleRoot), 512_001), "at most 512000"},
		{"TimestampBytes by default", tuf.RoleTimestamp, tuf.Limits{}, long(plain(tuf.RoleTimestamp), 16_384), long(plain(tuf.RoleTimestamp), 16_385), "at most 16384"},
		{
			"Nesting", tuf.RoleTargets,
			tuf.Limits{Nesting: 5},
			envelope(tuf.RoleTargets, `"targets":{}`, `"x":[[[]]]`), envelope(tuf.RoleTargets, `"targets":{}`, `"x":[[[[]]]]`), "nested deeper than 5",
		},
		{
			"Nesting has a bound", tuf.RoleTargets,
			tuf.Limits{Nesting: 1 << 30},
			envelope(tuf.RoleTargets, `"targets":{}`, `"x":`+strings.Repeat("[", 62)+strings.Repeat("]", 62)),
			envelope(tuf.RoleTargets, `"targets":{}`, `"x":`+strings.Repeat("[", 63)+strings.Repeat("]", 63)), "nested deeper than 64",
		},
		{"Signatures", tuf.RoleTargets, tuf.Limits{Signatures: 3}, sigs(3), sigs(4), "Limits.Signatures"},
		{
			"Keys", tuf.RoleRoot,
			tuf.Limits{Keys: 1},
			root(keys, "", one), root(`"keys":{`+keyObjects(s, s2)+`}`, "", one), "Limits.Keys",
		},
		{"RoleKeys", tuf.RoleRoot, tuf.Limits{RoleKeys: 1}, root(keys, "", one), root(keys, "", roleOf(1, s, s2)), "Limits.RoleKeys"},
		{"RootRoles", tuf.RoleRoot, tuf.Limits{RootRoles: 4}, root(keys, "", one), root(keys, `"mirrors":`+one+`,`, one), "Limits.RootRoles"},
		{
			"SnapshotRoles", tuf.RoleSnapshot,
			tuf.Limits{SnapshotRoles: 1},
			plain(tuf.RoleSnapshot), envelope(tuf.RoleSnapshot, `"meta":{"a.json":{"version":1},"targets.json":{"version":1}}`), "Limits.SnapshotRoles",
		},
		{"Targets", tuf.RoleTargets, tuf.Limits{Targets: 2}, targets(`"a":` + good + `,"b":` + good), targets(`"a":` + good + `,"b":` + good + `,"c":` + good), "Limits.Targets"},
		{"TargetLength", tuf.RoleTargets, tuf.Limits{TargetLength: 10}, targets(`"a":` + good), targets(`"a":` + strings.Replace(good, "10", "11", 1)), "Limits.TargetLength"},
		{
			"CustomBytes", tuf.RoleTargets,
			tuf.Limits{CustomBytes: 8},
			targets(`"a":{"custom":{"x":12},` + anyHash + `,"length":1}`), targets(`"a":{"custom":{"x":123},` + anyHash + `,"length":1}`), "Limits.CustomBytes",
		},
		{"Delegations", tuf.RoleTargets, tuf.Limits{Delegations: 1}, delegations(role("a", "")), delegations(role("a", "") + "," + role("b", "")), "Limits.Delegations"},
		{"Patterns", tuf.RoleTargets, tuf.Limits{Patterns: 1}, delegations(role("a", `,"paths":["x"]`)), delegations(role("a", `,"paths":["x","y"]`)), "Limits.Patterns"},
		{"Patterns, hashed", tuf.RoleTargets, tuf.Limits{Patterns: 1}, delegations(role("a", `,"path_hash_prefixes":["0"]`)), delegations(role("a", `,"path_hash_prefixes":["0","1"]`)), "Limits.Patterns"},
		{
			"FilePatterns", tuf.RoleTargets,
			tuf.Limits{FilePatterns: 3},
			delegations(role("a", `,"paths":["x","y"]`) + "," + role("b", `,"path_hash_prefixes":["0"]`)),
			delegations(role("a", `,"paths":["x","y"]`) + "," + role("b", `,"path_hash_prefixes":["0","1"]`)), "Limits.FilePatterns",
		},
		{"PatternBytes", tuf.RoleTargets, tuf.Limits{PatternBytes: 2}, delegations(role("a", `,"paths":["xy"]`)), delegations(role("a", `,"paths":["xyz"]`)), "3 bytes instead"},
		{"Members", tuf.RoleTargets, tuf.Limits{Members: 5}, plain(tuf.RoleTargets), envelope(tuf.RoleTargets, `"targets":{}`, `"x":1`), "Limits.Members"},
		{"RoleNameBytes", tuf.RoleTargets, tuf.Limits{RoleNameBytes: 7}, delegations(role("7 bytes", "")), delegations(role("8 bytes.", "")), "Limits.RoleNameBytes"},
		{
			"RoleNameBytes of a root", tuf.RoleRoot,
			tuf.Limits{RoleNameBytes: 9},
			root(keys, `"9 bytes..":`+one+`,`, one), root(keys, `"10 bytes..":`+one+`,`, one), "Limits.RoleNameBytes",
		},
		{
			"RoleNameBytes of a snapshot", tuf.RoleSnapshot,
			tuf.Limits{RoleNameBytes: 7},
			plain(tuf.RoleSnapshot), envelope(tuf.RoleSnapshot, `"meta":{"8 bytes..json":{"version":1},"targets.json":{"version":1}}`), "Limits.RoleNameBytes",
		},
		{
			"RoleNameBytes of bins", tuf.RoleTargets,
			tuf.Limits{RoleNameBytes: 12},
			bins("bin"), bins("bins"), "does not make usable role names",
		},
		{"TargetPathBytes", tuf.RoleTargets, tuf.Limits{TargetPathBytes: 3}, targets(`"a/b":` + good), targets(`"a/bc":` + good), "Limits.TargetPathBytes"},
		{
			"RoleNameBytes has a bound", tuf.RoleTargets,
			tuf.Limits{RoleNameBytes: 1 << 30},
			delegations(role(strings.Repeat("a", tuf.MaxRoleName), "")), delegations(role(strings.Repeat("a", tuf.MaxRoleName+1), "")), "longer",
		},
		{
			"TargetPathBytes has a bound", tuf.RoleTargets,
			tuf.Limits{TargetPathBytes: 1 << 30},
			targets(`"` + strings.Repeat("a", tuf.MaxTargetPath) + `":` + good), targets(`"` + strings.Repeat("a", tuf.MaxTargetPath+1) + `":` + good), "longer",
		},
		{"role name", tuf.RoleTargets, tuf.Limits{}, delegations(role(strings.Repeat("a", tuf.MaxRoleName), "")), delegations(role(strings.Repeat("a", tuf.MaxRoleName+1), "")), "longer"},
		{"target path", tuf.RoleTargets, tuf.Limits{}, targets(`"` + strings.Repeat("a", tuf.MaxTargetPath) + `":` + good), targets(`"` + strings.Repeat("a", tuf.MaxTargetPath+1) + `":` + good), "longer"},
	} {
		if _, err := parseAs(test.role, test.fits, &test.limits); err != nil {
			t.Errorf("%s: what just fits is refused: %v", test.name, err)
		}
		wantMalformed(t, test.name, test.role, test.over, &test.limits, test.reason)
	}
}

// A bound that is not set has its default, and so has a negative one.
func TestLimitsDefaults(t *testing.T) {
	d := tuf.DefaultLimits()
	for _, role := range types {
		data, _ := minimal(t, role)
		for name, l := range map[string]*tuf.Limits{"none": nil, "zero": {}, "defaults": &d, "negative": {Nesting: -1, RootBytes: -1, Members: -1, Signatures: -5}} {
			if _, err := parseAs(role, data, l); err != nil {
				t.Errorf("%s with limits %s: %v", role, name, err)
			}
		}
	}
}

func TestNames(t *testing.T) {
	for s, ok := range map[string]bool{
		"a": true, "root": true, "project.flask": true, "../x": true, "é": true, strings.Repeat("a", tuf.MaxRoleName): true,
		"": false, "\xff": false, strings.Repeat("a", tuf.MaxRoleName+1): false,
	} {
		if n, err := tuf.ParseRoleName(s); (err == nil) != ok || ok && string(n) != s {
			t.Errorf("role %.20q: %q, %v", s, n, err)
		}
	}
	for s, ok := range map[string]bool{
		"a": true, "3f/flask/flask-3.1.0.tar.gz": true, "a/b.c/.d/..e/...": true, "a b": true, "é/ü": true, "*": true,
		"": false, "/": false, "/a": false, "a/": false, "a//b": false, ".": false, "..": false, "a/./b": false, "a/../b": false,
		`a\b`: false, "a\x00": false, "a\n": false, "\x7f": false, "\xff": false, strings.Repeat("a/", 512) + "a": false,
	} {
		if p, err := tuf.ParseTargetPath(s); (err == nil) != ok || ok && string(p) != s {
			t.Errorf("path %.20q: %q, %v", s, p, err)
		}
	}
	for name, top := range map[tuf.RoleName]bool{"root": true, "ROOT": true, "Targets": true, "snapshot": true, "timestamp": true, "root1": false, "": false} {
		if name.TopLevel() != top {
			t.Errorf("%q: top-level %v", name, !top)
		}
	}
}
