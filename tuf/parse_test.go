package tuf_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"example.com/bailiwick/tuf"
)

// parseAs parses data as metadata of a type and returns what it claims.
func parseAs(role tuf.RoleName, data []byte, l *tuf.Limits) (tuf.Header, error) {
	switch role {
	case tuf.RoleRoot:
		return header(tuf.ParseRoot(data, l))
	case tuf.RoleTimestamp:
		return header(tuf.ParseTimestamp(data, l))
	case tuf.RoleSnapshot:
		return header(tuf.ParseSnapshot(data, l))
	default:
		return header(tuf.ParseTargets(data, l))
	}
}

func header[T any](u *tuf.Unverified[T], err error) (tuf.Header, error) {
	if err != nil {
		return tuf.Header{}, err
	}
	return u.Header(), nil
}

// minimal returns the smallest valid file of each type, and the members that it has
// beside the common ones.
func minimal(t testing.TB, role tuf.RoleName) (data []byte, members []string) {
	t.Helper()
	s := signer(t, 1)
	switch role {
	case tuf.RoleRoot:
		one := roleOf(1, s)
		members = []string{
			`"keys":{` + keyObjects(s) + `}`,
			fmt.Sprintf(`"roles":{"root":%s,"snapshot":%s,"targets":%s,"timestamp":%s}`, one, one, one, one),
		}
	case tuf.RoleTimestamp:
		members = []string{`"meta":{"snapshot.json":{"version":3}}`}
	case tuf.RoleSnapshot:
		members = []string{`"meta":{"targets.json":{"version":2}}`}
	default:
		members = []string{`"targets":{}`}
	}
	return envelope(role, members...), members
}

var types = []tuf.RoleName{tuf.RoleRoot, tuf.RoleTimestamp, tuf.RoleSnapshot, tuf.RoleTargets}

func TestMinimalFiles(t *testing.T) {
	for _, role := range types {
		data, _ := minimal(t, role)
		got, err := parseAs(role, data, nil)
		if err != nil {
			t.Errorf("%s: %v", role, err)
			continue
		}
		want := tuf.Header{Type: role, SpecVersion: "1.0.34", Version: 1, Expires: time.Date(2030, 1, 31, 12, 0, 0, 0, time.UTC)}
		if got != want {
			t.Errorf("%s claims %+v, want %+v", role, got, want)
		}
	}
}

// A file of one type is never read as another, even with the same keys (R1).
func TestTypeIsChecked(t *testing.T) {
	for _, role := range types {
		for _, other := range types {
			if role == other {
				continue
			}
			data, _ := minimal(t, role)
			wantMalformed(t, fmt.Sprintf("%s as %s", role, other), other, data, nil, "type")
		}
	}
}

// wantMalformed checks that data is refused for a reason.
func wantMalformed(t *testing.T, name string, role tuf.RoleName, data []byte, l *tuf.Limits, reason string) *tuf.MalformedError {
	t.Helper()
	_, err := parseAs(role, data, l)
	m, ok := errors.AsType[*tuf.MalformedError](err)
	if !ok {
		t.Errorf("%s: error %v, want a MalformedError about %q\n%.300s", name, err, reason, data)
		return nil
	}
	if m.Role != role || !strings.Contains(m.Reason, reason) {
		t.Errorf("%s: %v, want one of %s about %q", name, m, role, reason)
	}
	if m.Offset < 0 || m.Offset > len(data) {
		t.Errorf("%s: offset %d in %d bytes", name, m.Offset, len(data))
	}
	if len(m.Error()) > 400 {
		t.Errorf("%s: a message of %d bytes", name, len(m.Error()))
	}
	return m
}

// Every type has the same common members, and they are all needed.
func TestCommonMembers(t *testing.T) {
	common := map[string]string{
		"_type": "", "expires": `"` + expires + `"`, "spec_version": `"1.0.34"`, "version": "1",
	}
	for _, role := range types {
		common["_type"] = fmt.Sprintf("%q", role)
		data, _ := minimal(t, role)
		for name, value := range common {
			member := fmt.Sprintf("%q:%s,", name, value)
			without := strings.Replace(string(data), member, "", 1)
			if without == string(data) { // it is the last one
				without = strings.Replace(string(data), strings.TrimSuffix(","+member, ","), "", 1)
			}
			if without == string(data) {
				t.Fatalf("%s: no %s to take away in %s", role, name, data)
			}
			wantMalformed(t, "without "+name, role, []byte(without), nil, fmt.Sprintf("%q is missing", name))
			for _, wrong := range []string{"null", "[]", "{}", "true", `""`} {
				changed := strings.Replace(string(data), fmt.Sprintf("%q:%s", name, value), fmt.Sprintf("%q:%s", name, wrong), 1)
				wantMalformed(t, name+" is "+wrong, role, []byte(changed), nil, "")
			}
		}
	}
}

func TestCommonValues(t *testing.T) {
	data, _ := minimal(t, tuf.RoleTargets)
	with := func(name, from, to string) []byte {
		t.Helper()
		out := strings.Replace(string(data), fmt.Sprintf("%q:%s", name, from), fmt.Sprintf("%q:%s", name, to), 1)
		if out == string(data) {
			t.Fatalf("no %s", name)
		}
		return []byte(out)
	}
	for _, test := range []struct {
		name, from, value string
		ok                bool
	}{
		{"version", "1", "9223372036854775807", true},
		{"version", "1", "0", false},
		{"version", "1", "-1", false},
		{"version", "1", "1.0", false},
		{"version", "1", `"1"`, false},
		{"version", "1", "9223372036854775808", false},

		{"spec_version", `"1.0.34"`, `"1.0"`, true},
		{"spec_version", `"1.0.34"`, `"1.99.1234"`, true},
		{"spec_version", `"1.0.34"`, `"1.0.19"`, true},
		{"spec_version", `"1.0.34"`, `"1"`, false},
		{"spec_version", `"1.0.34"`, `"1."`, false},
		{"spec_version", `"1.0.34"`, `"1.0.0.0"`, false},
		{"spec_version", `"1.0.34"`, `"1.x.0"`, false},
		{"spec_version", `"1.0.34"`, `"v1.0.0"`, false},
		{"spec_version", `"1.0.34"`, `"1.0.0-rc1"`, false},
		{"spec_version", `"1.0.34"`, `"1..0"`, false},
		{"spec_version", `"1.0.34"`, `"-1.0"`, false},
		{"spec_version", `"1.0.34"`, `" 1.0"`, false},
		{"spec_version", `"1.0.34"`, `1.0`, false},
		{"spec_version", `"1.0.34"`, `1`, false},
		{"spec_version", `"1.0.34"`, `"2.0.0"`, false},
		{"spec_version", `"1.0.34"`, `"0.9.0"`, false},
		{"spec_version", `"1.0.34"`, `"10.0.0"`, false},

		{"expires", `"` + expires + `"`, `"1970-01-01T00:00:00Z"`, true},
		{"expires", `"` + expires + `"`, `"9999-12-31T23:59:59Z"`, true},
		{"expires", `"` + expires + `"`, `"2028-02-29T00:00:00Z"`, true},
		{"expires", `"` + expires + `"`, `"2030-02-29T00:00:00Z"`, false},
		{"expires", `"` + expires + `"`, `"2030-01-31T24:00:00Z"`, false},
		{"expires", `"` + expires + `"`, `"2030-01-31T23:59:60Z"`, false},
		{"expires", `"` + expires + `"`, `"2030-13-01T00:00:00Z"`, false},
		{"expires", `"` + expires + `"`, `"2030-01-31T12:00:00z"`, false},
		{"expires", `"` + expires + `"`, `"2030-01-31t12:00:00Z"`, false},
		{"expires", `"` + expires + `"`, `"2030-01-31 12:00:00Z"`, false},
		{"expires", `"` + expires + `"`, `"2030-1-31T12:00:00Z"`, false},
		{"expires", `"` + expires + `"`, `"2030-01-31T1:00:00Z"`, false},
		{"expires", `"` + expires + `"`, `"2030-01-31T12:00Z"`, false},
		{"expires", `"` + expires + `"`, `"2030-01-31"`, false},
		{"expires", `"` + expires + `"`, `"2030-01-31T12:00:00.5Z"`, false},
		{"expires", `"` + expires + `"`, `"2030-01-31T12:00:00,5Z"`, false},
		{"expires", `"` + expires + `"`, `"2030-01-31T12:00:00+00:00"`, false},
		{"expires", `"` + expires + `"`, `"2030-01-31T12:00:00"`, false},
		{"expires", `"` + expires + `"`, `1900000000`, false},
	} {
		in := with(test.name, test.from, test.value)
		if _, err := parseAs(tuf.RoleTargets, in, nil); (err == nil) != test.ok {
			t.Errorf("%s %s: error %v", test.name, test.value, err)
		} else if !test.ok {
			wantMalformed(t, test.name, tuf.RoleTargets, in, nil, "")
		}
	}
}

// Another major version is "not supported", so that callers can say "update me".
func TestUnsupportedSpecVersion(t *testing.T) {
	data, _ := minimal(t, tuf.RoleRoot)
	for value, unsupported := range map[string]bool{"2.0.0": true, "0.9": true, "nonsense": false} {
		_, err := tuf.ParseRoot([]byte(strings.Replace(string(data), "1.0.34", value, 1)), nil)
		if err == nil || errors.Is(err, tuf.ErrUnsupported) != unsupported {
			t.Errorf("spec_version %s: %v", value, err)
		}
	}
	// The first fault counts, not a later one.
	both := strings.Replace(string(data), `"root"`, `"toor"`, 1)
	both = strings.Replace(both, "1.0.34", "2.0.0", 1)
	if _, err := tuf.ParseRoot([]byte(both), nil); err == nil || errors.Is(err, tuf.ErrUnsupported) {
		t.Errorf("error %v", err)
	}
}

func TestAnyDate(t *testing.T) {
	data, _ := minimal(t, tuf.RoleRoot)
	for text, want := range map[string]string{
		"2030-01-31T12:00:00.123456Z": "2030-01-31T12:00:00.123456Z",
		"2030-01-31T12:00:00+02:00":   "2030-01-31T10:00:00Z",
	} {
		in := []byte(strings.Replace(string(data), expires, text, 1))
		h, err := parseAs(tuf.RoleRoot, in, &tuf.Limits{AnyDate: true})
		if err != nil || h.Expires.Format(time.RFC3339Nano) != want {
			t.Errorf("%s is %v, %v", text, h.Expires, err)
		}
		wantMalformed(t, text, tuf.RoleRoot, in, nil, "date")
	}
	wantMalformed(t, "still a date", tuf.RoleRoot, []byte(strings.Replace(string(data), expires, "soon", 1)), &tuf.Limits{AnyDate: true}, "date")
}

func TestEnvelope(t *testing.T) {
	value := body(tuf.RoleTargets, `"targets":{}`)
	for _, test := range []struct {
		name, in, reason string // an empty reason: accepted
	}{
		{"other order, spaces", ` {"signed": ` + value + `, "signatures": [] } ` + "\n", ""},
		{"unknown members", `{"signatures":[],"signed":` + value + `,"x":[1.5,null]}`, ""},
		{"unknown member of a signature", `{"signatures":[{"keyid":"a","sig":"00","method":{"x":1e3}}],"signed":` + value + `}`, ""},
		{"empty signature", `{"signatures":[{"keyid":"a","sig":""}],"signed":` + value + `}`, ""},
		{"signature that is not hex", `{"signatures":[{"keyid":"a","sig":"zz"}],"signed":` + value + `}`, ""},
		{"signature of half digits", `{"signatures":[{"keyid":"a","sig":"abc"}],"signed":` + value + `}`, ""},

		{"nothing", ``, "ends"},
		{"null", `null`, "object"},
		{"array", `[]`, "object"},
		{"empty object", `{}`, "missing"},
		{"no signatures", `{"signed":` + value + `}`, "missing"},
		{"no signed", `{"signatures":[]}`, "missing"},
		{"null signatures", `{"signatures":null,"signed":` + value + `}`, "array"},
		{"object of signatures", `{"signatures":{},"signed":` + value + `}`, "array"},
		{"null signature", `{"signatures":[null],"signed":` + value + `}`, "object"},
		{"signature without keyid", `{"signatures":[{"sig":"00"}],"signed":` + value + `}`, "without"},
		{"signature without sig", `{"signatures":[{"keyid":"a"}],"signed":` + value + `}`, "without"},
		{"null sig", `{"signatures":[{"keyid":"a","sig":null}],"signed":` + value + `}`, "string"},
		{"null keyid", `{"signatures":[{"keyid":null,"sig":""}],"signed":` + value + `}`, "string"},
		{"empty keyid", `{"signatures":[{"keyid":"","sig":""}],"signed":` + value + `}`, "key id"},
		{"long keyid", `{"signatures":[{"keyid":"` + strings.Repeat("a", tuf.MaxKeyID+1) + `","sig":""}],"signed":` + value + `}`, "key id"},
		{"repeated keyid", `{"signatures":[{"keyid":"a","sig":"00"},{"keyid":"b","sig":""},{"keyid":"a","sig":""}],"signed":` + value + `}`, "occurs twice"},
		{"repeated keyid, other spelling", `{"signatures":[{"keyid":"a","sig":"00"},{"keyid":"\u0061","sig":""}],"signed":` + value + `}`, "occurs twice"},
		{"signed is null", `{"signatures":[],"signed":null}`, "object"},
		{"signed is a string", `{"signatures":[],"signed":"{}"}`, "object"},
		{"two signed", `{"signatures":[],"signed":` + value + `,"signed":` + value + `}`, "twice"},
		{"two signatures", `{"signatures":[],"signed":` + value + `,"signatures":[]}`, "twice"},
		{"two of an unknown member", `{"x":1,"signatures":[],"signed":` + value + `,"x":1}`, "twice"},
		{"something after it", `{"signatures":[],"signed":` + value + `}x`, "follows"},
		{"a second envelope", `{"signatures":[],"signed":` + value + `}{"signatures":[],"signed":` + value + `}`, "follows"},
		{"fraction in signed", strings.Replace(`{"signatures":[],"signed":`+value+`}`, `"targets":{}`, `"targets":{},"x":1.5`, 1), "fraction"},
		{"two of a member of signed", strings.Replace(`{"signatures":[],"signed":`+value+`}`, `"targets":{}`, `"targets":{},"version":1`, 1), "twice"},
		{"two of an unknown member of signed", strings.Replace(`{"signatures":[],"signed":`+value+`}`, `"targets":{}`, `"x":1,"targets":{},"x":2`, 1), "twice"},
		{"member differs in case only", strings.Replace(`{"signatures":[],"signed":`+value+`}`, `"targets":{}`, `"targets":{},"Version":"x"`, 1), ""},
		{"bad UTF-8 in an unknown member", strings.Replace(`{"signatures":[],"signed":`+value+`}`, `"targets":{}`, "\"targets\":{},\"x\":\"\xff\"", 1), "UTF-8"},
	} {
		if test.reason != "" {
			wantMalformed(t, test.name, tuf.RoleTargets, []byte(test.in), nil, test.reason)
		} else if _, err := tuf.ParseTargets([]byte(test.in), nil); err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}

func TestRootRules(t *testing.T) {
	s := signer(t, 1)
	one := roleOf(1, s)
	keys := `"keys":{` + keyObjects(s) + `}`
	roles := func(root string, more ...string) string {
		return fmt.Sprintf(`"roles":{"root":%s,"snapshot":%s,"targets":%s,"timestamp":%s%s}`, root, one, one, one, strings.Join(more, ""))
	}
	id := string(s.Public().ID())
	for _, test := range []struct {
		name    string
		members []string
		reason  string
	}{
		{"consistent snapshots", []string{keys, roles(one), `"consistent_snapshot":true`}, ""},
		{"mirrors role", []string{keys, roles(one, `,"mirrors":`+one)}, ""},
		{"unknown members everywhere", []string{keys, roles(strings.Replace(one, "{", `{"x-note":[1],`, 1)), `"x":null`}, ""},
		{"key of an unknown type", []string{`"keys":{"a":{"keytype":"new","scheme":"newer","keyval":{"anything":[1]}}}`, roles(one)}, ""},
		{"threshold above the keys", []string{keys, roles(roleOf(7, s))}, ""},
		{"key ids without keys", []string{`"keys":{}`, roles(one)}, ""},
		{"no key ids", []string{keys, roles(`{"keyids":[],"threshold":1}`)}, ""},

		{"no keys", []string{roles(one)}, `"keys" is missing`},
		{"no roles", []string{keys}, `"roles" is missing`},
		{"null keys", []string{`"keys":null`, roles(one)}, "object"},
		{"null roles", []string{keys, `"roles":null`}, "object"},
		{"consistent_snapshot as text", []string{keys, roles(one), `"consistent_snapshot":"yes"`}, "false"},
		{"consistent_snapshot null", []string{keys, roles(one), `"consistent_snapshot":null`}, "false"},
		{"no timestamp role", []string{keys, strings.Replace(roles(one), `"timestamp"`, `"other"`, 1)}, `"timestamp" is missing`},
		{"no root role", []string{keys, strings.Replace(roles(one), `"root"`, `"other"`, 1)}, `"root" is missing`},
		{"Root instead of root", []string{keys, strings.Replace(roles(one), `"root"`, `"Root"`, 1)}, `"root" is missing`},
		{"empty role name", []string{keys, roles(one, `,"":`+one)}, "empty"},
		{"null role", []string{keys, roles("null")}, "object"},
		{"threshold zero", []string{keys, roles(roleOf(0, s))}, "threshold"},
		{"threshold negative", []string{keys, roles(roleOf(-1, s))}, "threshold"},
		{"threshold huge", []string{keys, roles(`{"keyids":[],"threshold":4294967297}`)}, "threshold"},
		{"threshold null", []string{keys, roles(`{"keyids":[],"threshold":null}`)}, "whole number"},
		{"threshold as text", []string{keys, roles(`{"keyids":[],"threshold":"1"}`)}, "whole number"},
		{"no threshold", []string{keys, roles(`{"keyids":[]}`)}, "without"},
		{"no keyids", []string{keys, roles(`{"threshold":1}`)}, "without"},
		{"null keyids", []string{keys, roles(`{"keyids":null,"threshold":1}`)}, "array"},
		{"keyid twice", []string{keys, roles(fmt.Sprintf(`{"keyids":[%q,%q],"threshold":1}`, id, id))}, "listed twice"},
		{"keyid twice, other spelling", []string{keys, roles(`{"keyids":["a","\u0061"],"threshold":1}`)}, "listed twice"},
		{"keyid is a number", []string{keys, roles(`{"keyids":[1],"threshold":1}`)}, "string"},
		{"empty keyid", []string{keys, roles(`{"keyids":[""],"threshold":1}`)}, "key id"},
		{"empty id of a key", []string{`"keys":{"":{"keytype":"a","scheme":"b","keyval":{}}}`, roles(one)}, "key id"},
		{"null key", []string{`"keys":{"a":null}`, roles(one)}, "object"},
		{"key without keytype", []string{`"keys":{"a":{"scheme":"b","keyval":{}}}`, roles(one)}, "a key without"},
		{"key without scheme", []string{`"keys":{"a":{"keytype":"b","keyval":{}}}`, roles(one)}, "a key without"},
		{"key without keyval", []string{`"keys":{"a":{"keytype":"b","scheme":"c"}}`, roles(one)}, "a key without"},
		{"null keyval", []string{`"keys":{"a":{"keytype":"b","scheme":"c","keyval":null}}`, roles(one)}, "object"},
		{"null keytype", []string{`"keys":{"a":{"keytype":null,"scheme":"c","keyval":{}}}`, roles(one)}, "string"},
		{"one key id twice", []string{`"keys":{"a":{"keytype":"b","scheme":"c","keyval":{}},"a":{"keytype":"b","scheme":"c","keyval":{}}}`, roles(one)}, "twice"},
		{"one role twice", []string{keys, roles(one, `,"root":`+one)}, "twice"},
	} {
		checkRule(t, tuf.RoleRoot, test.name, test.members, test.reason)
	}
}

// checkRule parses a file with these members and expects a reason, or none.
func checkRule(t *testing.T, role tuf.RoleName, name string, members []string, reason string) {
	t.Helper()
	data := envelope(role, members...)
	if reason != "" {
		wantMalformed(t, name, role, data, nil, reason)
	} else if _, err := parseAs(role, data, nil); err != nil {
		t.Errorf("%s: %v\n%s", name, err, data)
	}
}

func TestMetaRules(t *testing.T) {
	const sum = "0000000000000000000000000000000000000000000000000000000000000000"
	entries := []struct{ name, entry, reason string }{
		{"all of it", `{"hashes":{"sha256":"` + sum + `","sha512":"` + sum + sum + `"},"length":0,"version":1,"x":{}}`, ""},
		{"unknown hash", `{"hashes":{"blake3":"any text"},"version":1}`, ""},
		{"no version", `{"length":1}`, `without "version"`},
		{"version zero", `{"version":0}`, "version"},
		{"version null", `{"version":null}`, "whole number"},
		{"negative length", `{"length":-1,"version":1}`, "length"},
		{"null length", `{"length":null,"version":1}`, "whole number"},
		{"no hash", `{"hashes":{},"version":1}`, "empty list"},
		{"null hashes", `{"hashes":null,"version":1}`, "object"},
		{"null hash", `{"hashes":{"sha256":null},"version":1}`, "string"},
		{"null unknown hash", `{"hashes":{"blake3":null},"version":1}`, "string"},
		{"short hash", `{"hashes":{"sha256":"` + sum[2:] + `"},"version":1}`, "hash"},
		{"long hash", `{"hashes":{"sha256":"` + sum + `00"},"version":1}`, "hash"},
		{"upper-case hash", `{"hashes":{"sha256":"` + sum[2:] + `AB"},"version":1}`, "hash"},
		{"hash not hex", `{"hashes":{"sha256":"` + sum[2:] + `0g"},"version":1}`, "hash"},
		{"short sha512", `{"hashes":{"sha512":"` + sum + `"},"version":1}`, "hash"},
		{"hash twice", `{"hashes":{"sha256":"` + sum + `","sha256":"` + sum + `"},"version":1}`, "twice"},
		{"null", `null`, "object"},
		{"a number", `1`, "object"},
	}
	for _, e := range entries {
		checkRule(t, tuf.RoleTimestamp, e.name, []string{`"meta":{"snapshot.json":` + e.entry + `}`}, e.reason)
		checkRule(t, tuf.RoleSnapshot, e.name, []string{`"meta":{"a.json":` + e.entry + `,"targets.json":{"version":1}}`}, e.reason)
	}
	for _, test := range []struct{ name, meta, reason string }{
		{"no meta", `"x":1`, `"meta" is missing`},
		{"null meta", `"meta":null`, "object"},
		{"empty meta", `"meta":{}`, "does not list snapshot.json"},
		{"another file", `"meta":{"targets.json":{"version":1}}`, "snapshot.json only"},
		{"a further file", `"meta":{"snapshot.json":{"version":1},"targets.json":{"version":1}}`, "snapshot.json only"},
		{"snapshot twice", `"meta":{"snapshot.json":{"version":1},"snapshot.json":{"version":2}}`, "twice"},
	} {
		checkRule(t, tuf.RoleTimestamp, test.name, []string{test.meta}, test.reason)
	}
	for _, test := range []struct{ name, meta, reason string }{
		{"strange names", `"meta":{"../x.json":{"version":1},"/x.json":{"version":1},"?.json":{"version":1},"root.json":{"version":1},"targets.json":{"version":1}}`, ""},
		{"no meta", `"x":1`, `"meta" is missing`},
		{"no targets", `"meta":{"a.json":{"version":1}}`, "does not list targets.json"},
		{"name without ending", `"meta":{"a":{"version":1},"targets.json":{"version":1}}`, ".json"},
		{"empty role name", `"meta":{".json":{"version":1},"targets.json":{"version":1}}`, "empty"},
		{"long role name", `"meta":{"` + strings.Repeat("a", tuf.MaxRoleName+1) + `.json":{"version":1},"targets.json":{"version":1}}`, "longer"},
		{"role twice", `"meta":{"targets.json":{"version":1},"targets.json":{"version":1}}`, "twice"},
	} {
		checkRule(t, tuf.RoleSnapshot, test.name, []string{test.meta}, test.reason)
	}
}

func TestTargetsRules(t *testing.T) {
	good := `{` + anyHash + `,"length":1}`
	for _, test := range []struct{ name, targets, reason string }{
		{"none", `{}`, ""},
		{"length zero", `{"a":{` + anyHash + `,"length":0}}`, ""},
		{"custom", `{"a":{"custom":{"x":[1,{"y":null}]},` + anyHash + `,"length":1}}`, ""},
		{"unknown member", `{"a":{` + anyHash + `,"length":1,"x":[]}}`, ""},
		{"unknown hash only", `{"a":{"hashes":{"md5":"00"},"length":1}}`, ""},
		{"path with a space and an accent", `{"a b/é.txt":` + good + `}`, ""},
		{"dots in names", `{"a/..b/c..":` + good + `}`, ""},

		{"null", `null`, "object"},
		{"array", `[]`, "object"},
		{"null entry", `{"a":null}`, "object"},
		{"empty entry", `{"a":{}}`, "without"},
		{"no length", `{"a":{` + anyHash + `}}`, "without"},
		{"no hashes", `{"a":{"length":1}}`, "without"},
		{"empty hashes", `{"a":{"hashes":{},"length":1}}`, "empty list"},
		{"negative length", `{"a":{` + anyHash + `,"length":-1}}`, "length"},
		{"length as text", `{"a":{` + anyHash + `,"length":"1"}}`, "whole number"},
		{"custom is null", `{"a":{"custom":null,` + anyHash + `,"length":1}}`, "custom"},
		{"custom is a list", `{"a":{"custom":[],` + anyHash + `,"length":1}}`, "custom"},
		{"custom with a fraction", `{"a":{"custom":{"x":0.5},` + anyHash + `,"length":1}}`, "fraction"},
		{"custom with a repeated member", `{"a":{"custom":{"x":1,"x":2},` + anyHash + `,"length":1}}`, "twice"},
		{"path twice", `{"a":` + good + `,"a":` + good + `}`, "twice"},
		{"path twice, other spelling", `{"a":` + good + `,"\u0061":` + good + `}`, "twice"},
		{"empty path", `{"":` + good + `}`, "empty segment"},
		{"absolute path", `{"/a":` + good + `}`, "empty segment"},
		{"folder", `{"a/":` + good + `}`, "empty segment"},
		{"double slash", `{"a//b":` + good + `}`, "empty segment"},
		{"dot", `{"a/./b":` + good + `}`, `"."`},
		{"dots", `{"../a":` + good + `}`, `".."`},
		{"dots at the end", `{"a/..":` + good + `}`, `".."`},
		{"backslash", `{"a\\b":` + good + `}`, "backslash"},
		{"escaped line break", `{"a\nb":` + good + `}`, "control"},
		{"escaped zero", `{"a\u0000b":` + good + `}`, "control"},
		{"delete", "{\"a\x7fb\":" + good + `}`, "control"},
		{"hidden dots", `{"\u002e\u002e/a":` + good + `}`, `".."`},
		{"long path", `{"` + strings.Repeat("a", tuf.MaxTargetPath+1) + `":` + good + `}`, "longer"},
	} {
		checkRule(t, tuf.RoleTargets, test.name, []string{`"targets":` + test.targets}, test.reason)
	}
	checkRule(t, tuf.RoleTargets, "no targets", []string{`"x":1`}, `"targets" is missing`)
	checkRule(t, tuf.RoleTargets, "null delegations", []string{`"targets":{}`, `"delegations":null`}, "object")
}

func TestDelegationRules(t *testing.T) {
	entry := func(name string, more ...string) string {
		return fmt.Sprintf(`{"name":%q,"keyids":[],"threshold":1%s}`, name, strings.Join(more, ""))
	}
	roles := func(entries ...string) string {
		return `{"keys":{},"roles":[` + strings.Join(entries, ",") + `]}`
	}
	succinct := func(bits, prefix string, more ...string) string {
		return fmt.Sprintf(`{"keys":{},"succinct_roles":{"bit_length":%s,"keyids":[],"name_prefix":%s,"threshold":1%s}}`, bits, prefix, strings.Join(more, ""))
	}
	for _, test := range []struct{ name, delegations, reason string }{
		{"none", roles(), ""},
		{"no patterns", roles(entry("a")), ""},
		{"empty patterns", roles(entry("a", `,"paths":[]`)), ""},
		{"all members", roles(entry("a", `,"paths":["*"],"terminating":true,"minimum_version":7,"x":{"y":[]}`)), ""},
		{"hash prefixes", roles(entry("a", `,"path_hash_prefixes":["00","f"]`)), ""},
		{"strange names", roles(entry("../x"), entry("?"), entry("/")), ""},
		{"unknown member", `{"keys":{},"roles":[],"x":[1]}`, ""},
		{"bins", succinct("1", `"b"`), ""},
		{"many bins", succinct("32", `"b"`, `,"x":1`), ""},

		{"no keys", `{"roles":[]}`, `"keys"`},
		{"null keys", `{"keys":null,"roles":[]}`, "object"},
		{"no roles", `{"keys":{}}`, "either"},
		{"both kinds", `{"keys":{},"roles":[],"succinct_roles":{"bit_length":1,"keyids":[],"name_prefix":"b","threshold":1}}`, "either"},
		{"null roles", `{"keys":{},"roles":null}`, "array"},
		{"object of roles", `{"keys":{},"roles":{}}`, "array"},
		{"null role", roles("null"), "object"},
		{"no name", roles(`{"keyids":[],"threshold":1}`), "without"},
		{"null name", roles(`{"name":null,"keyids":[],"threshold":1}`), "string"},
		{"empty name", roles(entry("")), "empty"},
		{"long name", roles(entry(strings.Repeat("a", tuf.MaxRoleName+1))), "longer"},
		{"top-level name", roles(entry("root")), "top-level"},
		{"top-level name in capitals", roles(entry("TimeStamp")), "top-level"},
		{"name twice", roles(entry("a"), entry("b"), entry("a")), "delegated twice"},
		{"no keyids", roles(`{"name":"a","threshold":1}`), "without"},
		{"threshold zero", roles(`{"name":"a","keyids":[],"threshold":0}`), "threshold"},
		{"keyid twice", roles(`{"name":"a","keyids":["k","k"],"threshold":1}`), "listed twice"},
		{"terminating as number", roles(entry("a", `,"terminating":1`)), "false"},
		{"terminating null", roles(entry("a", `,"terminating":null`)), "false"},
		{"paths and prefixes", roles(entry("a", `,"paths":[],"path_hash_prefixes":[]`)), "both"},
		{"null paths", roles(entry("a", `,"paths":null`)), "array"},
		{"null pattern", roles(entry("a", `,"paths":[null]`)), "string"},
		{"empty pattern", roles(entry("a", `,"paths":[""]`)), "0 bytes"},
		{"empty hash prefix", roles(entry("a", `,"path_hash_prefixes":[""]`)), "0 bytes"},
		{"long hash prefix", roles(entry("a", `,"path_hash_prefixes":["`+strings.Repeat("0", 65)+`"]`)), "65 bytes"},
		{"minimum_version zero", roles(entry("a", `,"minimum_version":0`)), "version"},
		{"minimum_version text", roles(entry("a", `,"minimum_version":"1"`)), "whole number"},
		{"no bits", `{"keys":{},"succinct_roles":{"keyids":[],"name_prefix":"b","threshold":1}}`, "without"},
		{"no prefix", `{"keys":{},"succinct_roles":{"bit_length":1,"keyids":[],"threshold":1}}`, "without"},
		{"bits zero", succinct("0", `"b"`), "bit_length"},
		{"bits negative", succinct("-1", `"b"`), "bit_length"},
		{"too many bits", succinct("33", `"b"`), "bit_length"},
		{"very many bits", succinct("9000000000000000000", `"b"`), "bit_length"},
		{"empty prefix", succinct("1", `""`), "name_prefix"},
		{"long prefix", succinct("1", `"`+strings.Repeat("b", tuf.MaxRoleName-8)+`"`), "name_prefix"},
		{"null bins", `{"keys":{},"succinct_roles":null}`, "object"},
	} {
		checkRule(t, tuf.RoleTargets, test.name, []string{`"targets":{}`, `"delegations":` + test.delegations}, test.reason)
	}
}
