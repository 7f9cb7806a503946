package tuf_test

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/cjson"
)

func TestTargetsLookup(t *testing.T) {
	sum := sha256.Sum256([]byte("content"))
	sum512 := sha512.Sum512([]byte("content"))
	entries := fmt.Sprintf(`"targets":{"b/é \"x\"":{"hashes":{"sha512":"%x"},"length":0},"a":{"x":[2],"length":7,"hashes":{"sha256":"%x","sha512":"%x"},"custom":{"k": "v"}},"\u0062/c":{"hashes":{"sha256":"%x"},"length":9}}`, sum512, sum, sum512, sum)
	targets := verifiedTargets(t, body(tuf.RoleTargets, entries), signer(t, 1))
	if targets.Len() != 3 || targets.Version() != 1 || targets.SpecVersion() != "1.0.34" || !targets.Expires().Equal(time.Date(2030, 1, 31, 12, 0, 0, 0, time.UTC)) {
		t.Errorf("%d targets, version %d, %s, %v", targets.Len(), targets.Version(), targets.SpecVersion(), targets.Expires())
	}
	both := tuf.SHA256Hashes(sum).WithSHA512(sum512)
	want := []tuf.Target{
		{Path: "a", Length: 7, Hashes: both, Custom: []byte(`{"k": "v"}`)},
		{Path: "b/c", Length: 9, Hashes: tuf.SHA256Hashes(sum)},
		{Path: `b/é "x"`, Length: 0, Hashes: tuf.Hashes{}.WithSHA512(sum512)},
	}
	slices.SortFunc(want, func(a, b tuf.Target) int { return cmp.Compare(a.Path, b.Path) })
	equal := gocmp.Comparer(func(a, b tuf.Hashes) bool { return a == b })
	if diff := gocmp.Diff(want, slices.Collect(targets.All()), equal); diff != "" {
		t.Error(diff)
	}
	for _, w := range want {
		got, ok := targets.Lookup(w.Path)
		if diff := gocmp.Diff(w, got, equal); !ok || diff != "" {
			t.Errorf("%s: %v\n%s", w.Path, ok, diff)
		}
	}
	for _, path := range []tuf.TargetPath{"", "A", "aa", "b", "b/", `b/\u0063`, "b/cc", "zzz", "0"} {
		if got, ok := targets.Lookup(path); ok {
			t.Errorf("%q is found: %v", path, got)
		}
	}
	var raws []string
	for path, raw := range targets.Entries() {
		raws = append(raws, string(path)+" "+string(raw[:4]))
	}
	if got, wantRaw := strings.Join(raws, "; "), `a {"x"; b/c {"ha; b/é "x" {"ha`; got != wantRaw {
		t.Errorf("entries %s, want %s", got, wantRaw)
	}
	if slices.IndexFunc(slices.Collect(targets.All()), func(x tuf.Target) bool { return x.Path == "a" }) != 0 {
		t.Error("the targets are not sorted")
	}
	for range targets.All() {
		break
	}
	for range targets.Entries() {
		break
	}
}

// Whatever the order of the members, look-ups and iteration are the same.
func TestIndexInAnyOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.StringOfN(rapid.RuneFrom([]rune("abé\"-.")), 1, 6, -1).Filter(func(s string) bool {
			_, err := tuf.ParseTargetPath(s)
			return err == nil
		})
		versions := rapid.MapOfN(name, rapid.Int64Range(1, 1000), 0, 12).Draw(t, "entries")
		var members, roles []string
		for name, v := range versions {
			quoted := cjson.AppendString(nil, name)
			members = append(members, fmt.Sprintf(`%s:{%s,"length":%d}`, quoted, anyHash, v))
			roles = append(roles, fmt.Sprintf(`%s:{"version":%d}`, cjson.AppendString(nil, name+".json"), v))
		}
		versions["targets"] = 5
		roles = append(roles, `"targets.json":{"version":5}`)
		rnd := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "order"), 0))
		rnd.Shuffle(len(members), func(i, j int) { members[i], members[j] = members[j], members[i] })
		rnd.Shuffle(len(roles), func(i, j int) { roles[i], roles[j] = roles[j], roles[i] })

		u, err := tuf.ParseTargets(envelope(tuf.RoleTargets, `"targets":{`+strings.Join(members, ",")+`}`), nil)
		if err != nil {
			t.Fatal(err)
		}
		targets := tuf.UnverifiedValue(u)
		last := tuf.TargetPath("")
		n := 0
		for target := range targets.All() {
			if target.Path <= last || target.Length != versions[string(target.Path)] {
				t.Fatalf("%q after %q, length %d", target.Path, last, target.Length)
			}
			if found, ok := targets.Lookup(target.Path); !ok || found.Length != target.Length {
				t.Fatalf("%q is not found", target.Path)
			}
			last = target.Path
			n++
		}
		if n != len(members) || n != targets.Len() {
			t.Fatalf("%d targets of %d", n, len(members))
		}

		us, err := tuf.ParseSnapshot(envelope(tuf.RoleSnapshot, `"meta":{`+strings.Join(roles, ",")+`}`), nil)
		if err != nil {
			t.Fatal(err)
		}
		snapshot := tuf.UnverifiedValue(us)
		var order []tuf.RoleName
		for role, meta := range snapshot.All() {
			if meta.Version != versions[string(role)] || meta.Length != -1 || !meta.Hashes.IsZero() {
				t.Fatalf("%q: %+v", role, meta)
			}
			if found, ok := snapshot.Lookup(role); !ok || found != meta {
				t.Fatalf("%q is not found", role)
			}
			order = append(order, role)
		}
		if len(order) != len(roles) || snapshot.Len() != len(roles) || !slices.IsSortedFunc(order, tuf.CompareRoleNames) {
			t.Fatalf("roles %q", order)
		}
		if _, ok := snapshot.Lookup("missing"); ok {
			t.Fatal("a role that is not listed is found")
		}
	})
}

func TestCompareRoleNames(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.StringOfN(rapid.RuneFrom([]rune("a.-0é")), 0, 6, -1)
		a, b := name.Draw(t, "a"), name.Draw(t, "b")
		if got, want := tuf.CompareRoleNames(tuf.RoleName(a), tuf.RoleName(b)), cmp.Compare(a+".json", b+".json"); got != want {
			t.Fatalf("%q and %q: %d, want %d", a, b, got, want)
		}
	})
}

func TestSnapshotEntries(t *testing.T) {
	u, err := tuf.ParseSnapshot(envelope(tuf.RoleSnapshot, `"meta":{"a.json":{"length":3,"version":1,"x":2},"targets.json":{"version":4}}`), nil)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for name, raw := range tuf.UnverifiedValue(u).Entries() {
		got = append(got, string(name), string(raw))
	}
	if diff := gocmp.Diff([]string{"a.json", `{"length":3,"version":1,"x":2}`, "targets.json", `{"version":4}`}, got); diff != "" {
		t.Error(diff)
	}
}

func TestSnapshotChanges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		versions := rapid.MapOfN(rapid.SampledFrom([]string{"a", "a-b", "a.b", "b", "c", "\"", "ab", "é"}), rapid.Int64Range(1, 3), 0, 8)
		older, newer := versions.Draw(t, "older"), versions.Draw(t, "newer")
		snapshot := func(of map[string]int64) *tuf.Snapshot {
			of["targets"] = 1
			var roles []string
			for name, v := range of {
				// One and the same version, in different spellings.
				roles = append(roles, fmt.Sprintf([]string{`%s:{"version":%d}`, `%s:{ "version":%d,"length":1}`}[len(of)%2], cjson.AppendString(nil, name+".json"), v))
			}
			u, err := tuf.ParseSnapshot(envelope(tuf.RoleSnapshot, `"meta":{`+strings.Join(roles, ",")+`}`), nil)
			if err != nil {
				t.Fatal(err)
			}
			return tuf.UnverifiedValue(u)
		}
		from, to := snapshot(older), snapshot(newer)
		got := slices.Collect(to.Changes(from))
		var want []tuf.Change
		for name := range older {
			if older[name] != newer[name] {
				want = append(want, tuf.Change{Role: tuf.RoleName(name), Old: older[name], New: newer[name]})
			}
		}
		for name := range newer {
			if older[name] == 0 {
				want = append(want, tuf.Change{Role: tuf.RoleName(name), New: newer[name]})
			}
		}
		slices.SortFunc(want, func(a, b tuf.Change) int { return tuf.CompareRoleNames(a.Role, b.Role) })
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Fatal(diff)
		}
		for range to.Changes(from) {
			break
		}
	})
}

func TestTimestamp(t *testing.T) {
	s := signer(t, 1)
	sum := sha256.Sum256(nil)
	u, err := tuf.ParseTimestamp(signed(t, body(tuf.RoleTimestamp, fmt.Sprintf(`"meta":{"snapshot.json":{"hashes":{"sha256":"%x"},"length":9,"version":4}}`, sum)), s), nil)
	if err != nil {
		t.Fatal(err)
	}
	timestamp, err := u.Verify(authority(t, 1, s))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := timestamp.Snapshot(), (tuf.Meta{Version: 4, Length: 9, Hashes: tuf.SHA256Hashes(sum)}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestRoot(t *testing.T) {
	s := signer(t, 1)
	root := rootWith(t, "", []string{string(s.Public().ID())}, 1, nil)
	if root.ConsistentSnapshot() {
		t.Error("consistent snapshots by default")
	}
	var roles []tuf.RoleName
	for r := range root.Roles() {
		roles = append(roles, r)
	}
	if diff := gocmp.Diff([]tuf.RoleName{"root", "snapshot", "targets", "timestamp"}, roles); diff != "" {
		t.Error(diff)
	}
	if _, ok := root.Authority("mirrors"); ok {
		t.Error("a role that is not listed has an authority")
	}
	for id, raw := range root.Keys() {
		if id != s.Public().ID() || !bytes.Equal(raw, s.Public().AppendCanonical(nil)) {
			t.Errorf("key %s: %s", id, raw)
		}
	}
	for range root.Keys() {
		break
	}
	for range root.Roles() {
		break
	}
	data, _ := minimal(t, tuf.RoleRoot)
	u, err := tuf.ParseRoot([]byte(strings.Replace(string(data), `"expires"`, `"consistent_snapshot":true,"expires"`, 1)), nil)
	if err != nil || !tuf.UnverifiedValue(u).ConsistentSnapshot() {
		t.Errorf("consistent_snapshot is not read: %v", err)
	}
	// A root that its own keys have not signed verifies under nothing.
	if _, err := u.Verify(tuf.SelfAuthority(u)); err == nil {
		t.Error("an unsigned root verifies itself")
	}
}

func TestHashes(t *testing.T) {
	data := []byte("what was downloaded")
	sum256, sum512 := sha256.Sum256(data), sha512.Sum512(data)
	wrong256, wrong512 := sum256, sum512
	wrong256[31]++
	wrong512[0]++
	read := func(object string) tuf.Hashes {
		u, err := tuf.ParseTargets(envelope(tuf.RoleTargets, `"targets":{"a":{"hashes":`+object+`,"length":1}}`), nil)
		if err != nil {
			t.Fatal(err)
		}
		target, _ := tuf.UnverifiedValue(u).Lookup("a")
		return target.Hashes
	}
	for _, test := range []struct {
		name   string
		hashes tuf.Hashes
		want   error
	}{
		{"sha256", read(fmt.Sprintf(`{"sha256":"%x"}`, sum256)), nil},
		{"sha512", read(fmt.Sprintf(`{"sha512":"%x"}`, sum512)), nil},
		{"both", read(fmt.Sprintf(`{"sha256":"%x","sha512":"%x"}`, sum256, sum512)), nil},
		{"made here", tuf.NewHashes(data), nil},
		{"wrong sha256", read(fmt.Sprintf(`{"sha256":"%x"}`, wrong256)), tuf.ErrHash},
		{"wrong sha512", read(fmt.Sprintf(`{"sha512":"%x"}`, wrong512)), tuf.ErrHash},
		{"one of two wrong", read(fmt.Sprintf(`{"sha256":"%x","sha512":"%x"}`, sum256, wrong512)), tuf.ErrHash},
		{"the other of two wrong", read(fmt.Sprintf(`{"sha256":"%x","sha512":"%x"}`, wrong256, sum512)), tuf.ErrHash},
		// POL13: what can not be checked is not accepted.
		{"unknown beside a good one", read(fmt.Sprintf(`{"blake2b-256":"00","sha256":"%x"}`, sum256)), tuf.ErrUnsupported},
		{"md5 alone", read(`{"md5":"00"}`), tuf.ErrUnsupported},
		{"none", tuf.Hashes{}, tuf.ErrUnsupported},
	} {
		if err := test.hashes.Check(data); !errors.Is(err, test.want) || (err == nil) != (test.want == nil) {
			t.Errorf("%s: %v, want %v", test.name, err, test.want)
		}
		v := test.hashes.NewVerifier()
		for i := range data {
			if n, err := v.Write(data[i : i+1]); n != 1 || err != nil {
				t.Fatal(n, err)
			}
		}
		if err := v.Check(); !errors.Is(err, test.want) {
			t.Errorf("%s, byte by byte: %v", test.name, err)
		}
	}
	h := read(fmt.Sprintf(`{"sha256":"%x","x":""}`, sum256))
	if got, ok := h.SHA256(); !ok || got != sum256 || !h.Unknown() || h.IsZero() {
		t.Errorf("%x, %v, unknown %v, zero %v", got, ok, h.Unknown(), h.IsZero())
	}
	if _, ok := h.SHA512(); ok {
		t.Error("a sha512 that was not listed")
	}
	if got, ok := tuf.NewHashes(data).WithSHA512(sum512).SHA512(); !ok || got != sum512 {
		t.Error("the sha512 is lost")
	}
	if tuf.NewHashes(data).Check(append(data, 0)) == nil || tuf.NewHashes(data).Check(data[1:]) == nil {
		t.Error("other data is accepted")
	}
}

// What writers append is canonical, and reads back as the same.
func TestEncode(t *testing.T) {
	sum := sha256.Sum256([]byte("x"))
	hashes := tuf.SHA256Hashes(sum).WithSHA512(sha512.Sum512([]byte("x")))
	metas := []tuf.Meta{{Version: 7, Length: -1}, {Version: 1, Length: 0}, {Version: 3, Length: 12, Hashes: hashes}, {Version: 3, Length: -1, Hashes: tuf.SHA256Hashes(sum)}}
	meta := []byte(`"meta":{`)
	for i, m := range metas {
		meta = fmt.Appendf(meta, `"r%d.json":`, i)
		meta = append(tuf.AppendMeta(meta, m), ',')
	}
	u, err := tuf.ParseSnapshot(envelope(tuf.RoleSnapshot, string(meta)+`"targets.json":{"version":1}}`), nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, m := range metas {
		if got, ok := tuf.UnverifiedValue(u).Lookup(tuf.RoleName(fmt.Sprint("r", i))); !ok || got != m {
			t.Errorf("%+v reads back as %+v", m, got)
		}
	}
	if message := u.Message(); !bytes.Contains(u.Bytes(), message) {
		t.Error("the entries are not canonical")
	}

	target := tuf.Target{Path: "a", Length: 5, Hashes: hashes, Custom: []byte(`{ "b":1, "a":"\u00e9" }`)}
	out, err := tuf.AppendTarget([]byte(">"), target)
	if err != nil {
		t.Fatal(err)
	}
	if canonical, err := cjson.Canonical(out[1:], 0); err != nil || !bytes.Equal(canonical, out[1:]) || !bytes.HasPrefix(out, []byte(`>{"custom":{"a":"é","b":1},"hashes":`)) {
		t.Errorf("%s, %v", out, err)
	}
	if out, err = tuf.AppendTarget([]byte(">"), tuf.Target{Path: "a", Custom: []byte(`{"a":1.5}`)}); err == nil || string(out) != ">" {
		t.Errorf("a custom object without canonical form: %s, %v", out, err)
	}
	if got := tuf.AppendHashes(nil, tuf.Hashes{}); string(got) != "{}" {
		t.Errorf("no hashes: %s", got)
	}
	a := authority(t, 2, signer(t, 1), signer(t, 2))
	role := append(tuf.AppendRole([]byte("{"), a), '}')
	if want := roleOf(2, signer(t, 1), signer(t, 2)); string(role) != want {
		t.Errorf("role %s, want %s", role, want)
	}
	moment := time.Date(2026, 3, 4, 5, 6, 7, 999, time.FixedZone("", 3600))
	if got := tuf.FormatTime(moment); got != "2026-03-04T04:06:07Z" {
		t.Errorf("time %s", got)
	}
}

func TestAppendEnvelope(t *testing.T) {
	message := []byte(body(tuf.RoleTargets, `"targets":{}`, "\"x\":\"line\nbreak\x01\""))
	sigs := []tuf.Signature{{KeyID: "b\n\"", Sig: []byte{1, 0xab}}, {KeyID: "a"}}
	data := tuf.AppendEnvelope(nil, message, sigs)
	if !json.Valid(data) {
		t.Errorf("not JSON: %s", data)
	}
	u, err := tuf.ParseTargets(data, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(u.Message(), message) {
		t.Errorf("message %q, want %q", u.Message(), message)
	}
	if len(u.Signatures()) != 2 || u.Signatures()[0].KeyID != "b\n\"" || !bytes.Equal(u.Signatures()[0].Sig, []byte{1, 0xab}) || len(u.Signatures()[1].Sig) != 0 {
		t.Errorf("signatures %+v", u.Signatures())
	}
}

// What is canonical costs the same number of allocations whatever its size, apart
// from the few by which slices grow.
func TestAllocationsDoNotGrow(t *testing.T) {
	allocations := func(parse func() error) float64 {
		return testing.AllocsPerRun(5, func() {
			if err := parse(); err != nil {
				t.Fatal(err)
			}
		})
	}
	for name, of := range map[string]func(n int) func() error{
		"targets": func(n int) func() error {
			data := envelope(tuf.RoleTargets, strings.TrimSuffix(manyTargets(n)[strings.Index(manyTargets(n), `"targets":{`):], `,"version":1}`))
			return func() error { _, err := tuf.ParseTargets(data, nil); return err }
		},
		"snapshot": func(n int) func() error {
			data := fmt.Appendf(nil, `{"signatures":[],"signed":%s}`, manyRoles(n))
			return func() error { _, err := tuf.ParseSnapshot(data, nil); return err }
		},
		"targets, indented": func(n int) func() error {
			data := indent(t, fmt.Appendf(nil, `{"signatures":[],"signed":%s}`, manyTargets(n)))
			return func() error { _, err := tuf.ParseTargets(data, nil); return err }
		},
		"targets, out of order": func(n int) func() error {
			data := strings.Replace(string(envelope(tuf.RoleTargets, `"targets":{}`)), `"targets":{`, `"targets":{"z":{`+anyHash+`,"length":1},`+
				strings.TrimSuffix(manyTargets(n)[strings.Index(manyTargets(n), `"targets":{`)+len(`"targets":{`):], `},"version":1}`), 1)
			return func() error { _, err := tuf.ParseTargets([]byte(data), nil); return err }
		},
		"rollback check": func(n int) func() error {
			s := signer(t, 1)
			newer, older := verifiedSnapshot(t, manyRoles(n), s), verifiedSnapshot(t, manyRoles(n), s)
			return func() error {
				for c := range newer.Changes(older) {
					return fmt.Errorf("%s changed", c.Role)
				}
				return nil
			}
		},
		"delegations": func(n int) func() error {
			data := fmt.Appendf(nil, `{"signatures":[],"signed":%s}`, manyDelegations(t, n, 0))
			return func() error { _, err := tuf.ParseTargets(data, nil); return err }
		},
	} {
		small, large := allocations(of(100)), allocations(of(2000))
		t.Logf("%s: %.0f allocations for 100, %.0f for 2000", name, small, large)
		more := 40.0 // slices that grow step by step
		switch name {
		case "targets", "snapshot", "rollback check": // what a client does with each new publication
			more = 0
		}
		if large > small+more {
			t.Errorf("%s: %.0f allocations for 100 entries, %.0f for 2000", name, small, large)
		}
	}
	targets := verifiedTargets(t, manyTargets(100), signer(t, 1))
	if n := testing.AllocsPerRun(100, func() { targets.Lookup("3f/a-project-name/a_project_name-1.000077.0-py3-none-any.whl") }); n > 3 {
		t.Errorf("a look-up allocates %.0f times", n)
	}
	d := verifiedTargets(t, manyDelegations(t, 100, 1), signer(t, 1)).Delegations()
	if n := testing.AllocsPerRun(100, func() {
		for range d.Match("3f/project-00077/x") {
		}
	}); n > 1 {
		t.Errorf("matching allocates %.0f times", n)
	}
}
