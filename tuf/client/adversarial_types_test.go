package client_test

import (
	"encoding/json"
	"fmt"
	"strings"

	"example.com/bailiwick/internal/testrepo"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/trust"
)

// number writes a number that Go's integers can not hold, as it is.
func number(s string) json.Number { return json.Number(s) }

// nothing is a member left out.
var nothing = new(int)

// set changes one member deep inside what is signed: "meta snapshot.json version".
func set(path string, value any) func(map[string]any) {
	return func(signed map[string]any) {
		names := strings.Fields(path)
		at := signed
		for _, name := range names[:len(names)-1] {
			switch next := at[name].(type) {
			case map[string]any:
				clone := map[string]any{} // entries are shared with the repository
				for k, v := range next {
					clone[k] = v
				}
				at[name], at = clone, clone
			case []any:
				at = next[0].(map[string]any)
			default:
				panic(fmt.Sprintf("%s: %s is %T", path, name, next))
			}
		}
		if value == nothing {
			delete(at, names[len(names)-1])
			return
		}
		at[names[len(names)-1]] = value
	}
}

// typeAttacks give every member values that it must not have. Go's own decoder would take
// null for nothing, and other clients crashed on it.
func typeAttacks() []attack {
	var out []attack
	add := func(role, path string, values ...any) {
		for _, v := range values {
			shown := fmt.Sprintf("%.60v", string(testrepo.Canonical(wire(v))))
			code, step := trust.Malformed, "4.3"
			if path == "spec_version" && v == "2.0.0" {
				code = trust.Unsupported
			}
			out = append(out, attack{
				name: fmt.Sprintf("%s: %s is %s", role, path, shown),
				do:   edit(role, set(path, v)), want: verdict{code, tuf.RoleName(role), step}, stored: refusedAt(role),
			})
		}
	}
	object, list := map[string]any{}, []any{}
	for _, role := range []string{"root", "timestamp", "snapshot", "targets", "role"} {
		add(role, "_type", nothing, nil, "Targets", "mirrors", 1, list)
		add(role, "version", nothing, nil, 0, -1, "3", true, object, number("9223372036854775808"))
		add(role, "expires", nothing, nil, "", 0)
		add(role, "spec_version", nothing, nil, "2.0.0", "1", "one.two.three", 1)
	}
	for _, date := range []string{
		"2031-01-31", "2031-01-31T12:00:00", "2031-01-31T12:00:00.5Z", "2031-01-31T12:00:00+00:00", "2031-01-31t12:00:00z", "2031-02-30T12:00:00Z",
		"2031-01-31T24:00:00Z", "2031-01-31T23:59:60Z", "12031-01-31T12:00:00Z", " 2031-01-31T12:00:00Z", "2031-1-31T12:00:00Z", "9999999999",
	} {
		add("timestamp", "expires", date)
	}
	add("timestamp", "meta", nothing, nil, list, object, "x", map[string]any{"targets.json": map[string]any{"version": 1}})
	add("timestamp", "meta snapshot.json", nil, list, object, 3)
	add("timestamp", "meta more.json", map[string]any{"version": 1})
	add("snapshot", "meta", nothing, nil, list, object)
	add("snapshot", "meta targets.json", nothing, nil, list, object, 3)
	add("snapshot", "meta role.json", nil, list, object)
	for _, role := range []string{"timestamp meta snapshot.json", "snapshot meta targets.json", "snapshot meta role.json"} {
		name, path, _ := strings.Cut(role, " ")
		add(name, path+" version", nothing, nil, 0, -1, "3", true)
		add(name, path+" length", nil, -1, "3", list, number("9223372036854775808"))
		add(name, path+" hashes", nil, list, object, map[string]any{"sha256": nil}, map[string]any{"sha256": "00"}, map[string]any{"sha256": strings.Repeat("A", 64)}, map[string]any{"sha256": 1})
	}
	for _, name := range []string{"role", ".json", "role.JSON", "role.json.gz"} {
		add("snapshot", "meta "+name, map[string]any{"version": 1})
	}
	add("targets", "targets", nothing, nil, list, "x")
	add("targets", "delegations", nil, list, object, "x")
	add("targets", "delegations keys", nothing, nil, list)
	add("targets", "delegations roles", nothing, nil, object)
	add("targets", "delegations succinct_roles", succinct(8, "bin"), nil) // beside roles
	add("targets", "delegations roles name", nothing, nil, "", 1, "root", "Timestamp", "SNAPSHOT", "targets", strings.Repeat("n", 257))
	add("targets", "delegations roles keyids", nothing, nil, object, []any{nil}, []any{""}, []any{1}, []any{strings.Repeat("a", 129)}, []any{"a", "a"})
	add("targets", "delegations roles threshold", nothing, nil, 0, -1, "1", true, number("9223372036854775807"), number("4294967297"))
	add("targets", "delegations roles terminating", nil, 0, "true", list)
	add("targets", "delegations roles paths", nil, "*", object, []any{nil}, []any{""}, []any{1}, []any{strings.Repeat("p", 1025)})
	add("targets", "delegations roles path_hash_prefixes", []any{"0"}, nil) // beside paths
	add("targets", "delegations roles minimum_version", nil, 0, -1, "1")
	for _, role := range []string{"targets", "role"} {
		add(role, "targets file", nil, list, object, "x")
	}
	add("role", "targets file length", nothing, nil, -1, "1", true, list, number("9223372036854775808"))
	add("role", "targets file hashes", nothing, nil, list, object, map[string]any{"sha256": nil}, map[string]any{"sha256": ""}, map[string]any{"sha256": strings.Repeat("F", 64)}, map[string]any{"sha512": strings.Repeat("0", 64)})
	add("role", "targets file custom", nil, list, "x", 1, true)
	add("root", "keys", nothing, nil, list)
	add("root", "roles", nothing, nil, list, object)
	for _, role := range []string{"root", "timestamp", "snapshot", "targets"} {
		add("root", "roles "+role, nothing, nil, list, object)
		add("root", "roles "+role+" threshold", nothing, nil, 0, -1, "1")
		add("root", "roles "+role+" keyids", nothing, nil, []any{nil}, []any{"k", "k"})
	}
	add("root", "consistent_snapshot", nil, "true", 1)
	add("root", "keys x", nil, list, object, map[string]any{"keytype": nil, "scheme": "s", "keyval": object}, map[string]any{"keytype": "t", "scheme": "s", "keyval": nil},
		map[string]any{"keytype": "t", "scheme": 1, "keyval": object})
	return out
}

// wire is a value as it is shown in a test's name.
func wire(v any) any {
	if v == nothing {
		return "missing"
	}
	return v
}

func succinct(bits int, prefix string) map[string]any {
	return map[string]any{"bit_length": bits, "name_prefix": prefix, "keyids": []any{}, "threshold": 1}
}
