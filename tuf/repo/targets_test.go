package repo_test

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/repo"
)

func TestNewTargets(t *testing.T) {
	r := newRole(t, tuf.RoleTargets)
	a, b := newRole(t, "a"), newRole(t, "b")
	both := tuf.SHA256Hashes(sha256.Sum256([]byte("x"))).WithSHA512(sha512.Sum512([]byte("x")))
	spec := repo.TargetsSpec{
		Targets: []tuf.Target{
			{Path: "z/last", Length: 0, Hashes: both},
			{Path: `a/"quoted" näme`, Length: 1 << 40, Hashes: both, Custom: []byte(` {"b": "\u00e9", "a": [1, null, true]} `)},
		},
		Delegations: []repo.Delegation{
			{Role: "b", Authority: b.authority, Paths: []string{"b/*", "?[!x]"}, Terminating: true, MinimumVersion: 7},
			{Role: "a", Authority: a.authority, HashPrefixes: []string{"00", "f"}},
		},
		Members: map[string][]byte{"x-bins": []byte("256"), "aaa": []byte(`{"z":1, "a":2}`)},
	}
	d, err := repo.NewTargets(spec, r.issue(3))
	data := published(t, d, err, r.signer)
	checkBytes(t, d, data)
	got := verified(t, tuf.ParseTargets, data, r.authority)

	if got.Version() != 3 || !got.Expires().Equal(expires) || got.SpecVersion() != "1.0.34" {
		t.Errorf("version %d, expires %v, spec %s", got.Version(), got.Expires(), got.SpecVersion())
	}
	if want := []string{`a/"quoted" näme`, "z/last"}; !slices.Equal(paths(got), want) {
		t.Errorf("paths = %q", paths(got))
	}
	quoted, _ := got.Lookup(`a/"quoted" näme`)
	if quoted.Hashes != both || quoted.Length != 1<<40 || string(quoted.Custom) != `{"a":[1,null,true],"b":"é"}` {
		t.Errorf("target = %+v, custom %s", quoted, quoted.Custom)
	}
	if last, _ := got.Lookup("z/last"); last.Custom != nil || last.Length != 0 {
		t.Errorf("target = %+v", last)
	}
	if want := []string{"b", "a"}; !slices.Equal(names(got), want) {
		t.Errorf("delegations = %v, want %v in this order", names(got), want)
	}
	first, second := got.Delegations().At(0), got.Delegations().At(1)
	if !first.Terminating() || first.MinimumVersion() != 7 || !slices.Equal(first.Paths(), []string{"b/*", "?[!x]"}) {
		t.Errorf("first delegation is %s", first.Raw())
	}
	if second.Terminating() || second.MinimumVersion() != 0 || !slices.Equal(second.HashPrefixes(), []string{"00", "f"}) {
		t.Errorf("second delegation is %s", second.Raw())
	}
	if who, err := first.Authority(); err != nil || !who.Equal(b.authority) {
		t.Errorf("authority of b: %v", err)
	}
	for name, want := range map[string]string{"x-bins": "256", "aaa": `{"a":2,"z":1}`, repo.MemberRoleName: `"targets"`} {
		if raw, ok := got.Member(name); !ok || string(raw) != want {
			t.Errorf("member %s = %s, want %s", name, raw, want)
		}
	}
}

func TestEmptyTargets(t *testing.T) {
	r := newRole(t, "claimed-3f")
	d, err := repo.NewTargets(repo.TargetsSpec{}, r.issue(1))
	got := r.targets(t, d, err)
	if got.Len() != 0 || got.Delegations() != nil {
		t.Errorf("%d targets, delegations %v", got.Len(), got.Delegations())
	}
}

func TestEditTargets(t *testing.T) {
	r := newRole(t, "project.flask")
	d, err := repo.NewTargets(repo.TargetsSpec{Targets: []tuf.Target{target("f/1", "1"), target("f/3", "3")}}, r.issue(1))
	base := r.targets(t, d, err)

	d, err = repo.EditTargets(base, repo.TargetsEdit{
		Put:    []tuf.Target{target("f/4", "4"), target("f/2", "2"), target("f/3", "three")},
		Remove: []tuf.TargetPath{"f/1"},
	}, r.issue(2))
	data := published(t, d, err, r.signer)
	checkBytes(t, d, data)
	got := verified(t, tuf.ParseTargets, data, r.authority)
	if want := []string{"f/2", "f/3", "f/4"}; !slices.Equal(paths(got), want) {
		t.Errorf("paths = %v, want %v", paths(got), want)
	}
	if f, _ := got.Lookup("f/3"); f.Hashes != tuf.NewHashes([]byte("three")) || f.Length != 5 {
		t.Errorf("f/3 = %+v", f)
	}
	if got.Version() != 2 {
		t.Errorf("version = %d", got.Version())
	}

	// The empty edit renews, and everything may be taken out.
	issue := r.issue(3)
	issue.Expires = expires.Add(24 * time.Hour)
	d, err = repo.EditTargets(got, repo.TargetsEdit{}, issue)
	renewed := r.targets(t, d, err)
	if !slices.Equal(paths(renewed), paths(got)) || !renewed.Expires().Equal(expires.Add(24*time.Hour)) {
		t.Errorf("renewed: %v until %v", paths(renewed), renewed.Expires())
	}
	d, err = repo.EditTargets(renewed, repo.TargetsEdit{Remove: []tuf.TargetPath{"f/4", "f/2", "f/3"}}, r.issue(4))
	if got := r.targets(t, d, err); got.Len() != 0 {
		t.Errorf("left over: %v", paths(got))
	}
}

// TestUnknownMembersSurvive is M2 of the specification checklist, on metadata that
// another program wrote in another layout.
func TestUnknownMembersSurvive(t *testing.T) {
	r := newRole(t, "project.x")
	k := signerOf(t, "k").Public()
	keyObject := string(k.AppendCanonical(nil))
	other := `{"keytype":"later","keyval":{"public":"?"},"scheme":"later","hint":"kept"}`
	otherID := fmt.Sprintf("%x", sha256.Sum256(naive(t, []byte(other))))
	signed := `{ "version": 4, "_type": "targets", "spec_version": "1.0.19", "expires": "2020-01-01T00:00:00Z",
		"x-top": [1, {"b": 2, "a": 1}], "a-top": "\u00e9",
		"targets": {
			"b/2": {"length": 1, "hashes": {"sha256": "` + strings.Repeat("ab", 32) + `"}, "x-entry": "kept", "custom": {"old": true}},
			"a/1": {"length": 1, "hashes": {"sha256": "` + strings.Repeat("cd", 32) + `", "blake2b": "00"}, "x-entry": {"k": "kept"}}
		},
		"delegations": {"x-delegations": "kept",
			"keys": {"` + string(k.ID()) + `": ` + keyObject + `, "` + otherID + `": ` + other + `},
			"roles": [
				{"name": "one", "keyids": ["` + string(k.ID()) + `", "` + otherID + `"], "threshold": 1, "paths": ["old"], "terminating": true, "x-role": "kept"},
				{"name": "two", "keyids": ["` + string(k.ID()) + `"], "threshold": 1, "paths": ["*"], "terminating": false, "x-role": "kept"}
			]}}`
	base := foreign(t, tuf.ParseTargets, signed, r)
	one, err := base.Delegations().At(0).Authority()
	if err != nil {
		t.Fatal(err)
	}
	d, err := repo.EditTargets(base, repo.TargetsEdit{
		Put:                []tuf.Target{target("b/2", "new")},
		ReplaceDelegations: []repo.Delegation{{Role: "one", Authority: one, HashPrefixes: []string{"0"}, MinimumVersion: 3}},
		Members:            map[string][]byte{"z-new": []byte("[]")},
	}, r.issue(5))
	data := published(t, d, err, r.signer)
	checkBytes(t, d, data)

	var want map[string]any
	if err := json.Unmarshal([]byte(signed), &want); err != nil {
		t.Fatal(err)
	}
	want["version"], want["expires"] = 5.0, "2026-09-02T12:00:00Z"
	want["z-new"], want["role_name"] = []any{}, "project.x"
	entry := want["targets"].(map[string]any)["b/2"].(map[string]any)
	delete(entry, "custom")
	entry["length"] = 3.0
	entry["hashes"] = map[string]any{"sha256": fmt.Sprintf("%x", sha256.Sum256([]byte("new")))}
	role := want["delegations"].(map[string]any)["roles"].([]any)[0].(map[string]any)
	delete(role, "paths")
	role["path_hash_prefixes"], role["terminating"], role["minimum_version"] = []any{"0"}, false, 3.0

	var got struct{ Signed map[string]any }
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got.Signed); diff != "" {
		t.Errorf("edited (-want +got):\n%s", diff)
	}
}

func TestEditRemovesMembers(t *testing.T) {
	r := newRole(t, "x")
	d, err := repo.NewTargets(repo.TargetsSpec{Members: map[string][]byte{"m": []byte("1"), "n": []byte("2")}}, r.issue(1))
	base := r.targets(t, d, err)
	d, err = repo.EditTargets(base, repo.TargetsEdit{Members: map[string][]byte{"m": nil, "absent": nil, "n": []byte("3")}}, r.issue(2))
	got := r.targets(t, d, err)
	if _, ok := got.Member("m"); ok {
		t.Error("m is still there")
	}
	if n, _ := got.Member("n"); string(n) != "3" {
		t.Errorf("n = %s", n)
	}
}

func TestEditTargetsVersion(t *testing.T) {
	r := newRole(t, "x")
	d, err := repo.NewTargets(repo.TargetsSpec{}, r.issue(7))
	base := r.targets(t, d, err)
	for _, version := range []int64{6, 7, 9, 0, -1} {
		_, err := repo.EditTargets(base, repo.TargetsEdit{}, r.issue(version))
		wantErr(t, err, repo.ErrVersion)
	}
	if _, err := repo.EditTargets(base, repo.TargetsEdit{}, r.issue(8)); err != nil {
		t.Error(err)
	}
	last := foreign(t, tuf.ParseTargets, `{"_type":"targets","expires":"2030-01-01T00:00:00Z","spec_version":"1.0","targets":{},"version":9007199254740991}`, r)
	_, err = repo.EditTargets(last, repo.TargetsEdit{}, r.issue(1<<53))
	wantErr(t, err, repo.ErrVersion)
}

// TestRoleNameIsBound: nobody can take a role's list for another's by mistake, and
// lists of other programs get the name with the first edit.
func TestRoleNameIsBound(t *testing.T) {
	one, two := newRole(t, "one"), newRole(t, "two")
	d, err := repo.NewTargets(repo.TargetsSpec{}, one.issue(1))
	base := one.targets(t, d, err)
	_, err = repo.EditTargets(base, repo.TargetsEdit{}, two.issue(2))
	wantErr(t, err, repo.ErrRoleName)

	_, err = repo.NewTargets(repo.TargetsSpec{Members: map[string][]byte{repo.MemberRoleName: []byte(`"two"`)}}, one.issue(1))
	wantErr(t, err, repo.ErrMember)

	escaped := foreign(t, tuf.ParseTargets, `{"_type":"targets","expires":"2030-01-01T00:00:00Z","role_name":"\u006fne","spec_version":"1.0","targets":{},"version":1}`, one)
	if _, err := repo.EditTargets(escaped, repo.TargetsEdit{}, one.issue(2)); err != nil {
		t.Error(err)
	}
	old := foreign(t, tuf.ParseTargets, `{"_type":"targets","expires":"2030-01-01T00:00:00Z","spec_version":"1.0","targets":{},"version":1}`, one)
	d, err = repo.EditTargets(old, repo.TargetsEdit{}, one.issue(2))
	if name, _ := one.targets(t, d, err).Member(repo.MemberRoleName); string(name) != `"one"` {
		t.Errorf("role name = %s", name)
	}
}

func TestTargetRefusals(t *testing.T) {
	good := target("3f/flask/flask-1.0.zip", "x")
	with := func(edit func(*tuf.Target)) []tuf.Target {
		bad := good
		edit(&bad)
		return []tuf.Target{bad}
	}
	r := newRole(t, "project.flask")
	unknown := foreign(t, tuf.ParseTargets, `{"_type":"targets","expires":"2030-01-01T00:00:00Z","spec_version":"1.0","version":1,
		"targets":{"x":{"length":1,"hashes":{"sha256":"`+strings.Repeat("ab", 32)+`","later":"00"}}}}`, r)
	unknownHash, _ := unknown.Lookup("x")

	for _, c := range []struct {
		name string
		edit repo.TargetsEdit
		want error
	}{
		{"no hash", repo.TargetsEdit{Put: with(func(t *tuf.Target) { t.Hashes = tuf.Hashes{} })}, repo.ErrNoHash},
		{"hash that would be lost", repo.TargetsEdit{Put: with(func(t *tuf.Target) { t.Hashes = unknownHash.Hashes })}, repo.ErrNoHash},
		{"length negative", repo.TargetsEdit{Put: with(func(t *tuf.Target) { t.Length = -1 })}, repo.ErrTarget},
		{"length beyond what clients read", repo.TargetsEdit{Put: with(func(t *tuf.Target) { t.Length = 1<<40 + 1 })}, repo.ErrTarget},
		{"custom not JSON", repo.TargetsEdit{Put: with(func(t *tuf.Target) { t.Custom = []byte(`{"a":}`) })}, repo.ErrTarget},
		{"custom empty", repo.TargetsEdit{Put: with(func(t *tuf.Target) { t.Custom = []byte{} })}, repo.ErrTarget},
		{"custom not an object", repo.TargetsEdit{Put: with(func(t *tuf.Target) { t.Custom = []byte(`[]`) })}, repo.ErrTarget},
		{"custom with a fraction", repo.TargetsEdit{Put: with(func(t *tuf.Target) { t.Custom = []byte(`{"a":1.5}`) })}, repo.ErrTarget},
		{"custom with a member twice", repo.TargetsEdit{Put: with(func(t *tuf.Target) { t.Custom = []byte(`{"a":1,"a":2}`) })}, repo.ErrTarget},
		{"custom too long", repo.TargetsEdit{Put: with(func(t *tuf.Target) { t.Custom = fmt.Appendf(nil, `{"a":"%s"}`, strings.Repeat("x", 64<<10)) })}, repo.ErrTarget},
		{"custom too deep", repo.TargetsEdit{Put: with(func(t *tuf.Target) {
			t.Custom = []byte(`{"a":` + strings.Repeat("[", 28) + strings.Repeat("]", 28) + `}`)
		})}, repo.ErrTarget},
		{"path climbs", repo.TargetsEdit{Put: with(func(t *tuf.Target) { t.Path = "3f/flask/.." })}, repo.ErrPath},
		{"path absolute", repo.TargetsEdit{Put: with(func(t *tuf.Target) { t.Path = "/3f/flask/x" })}, repo.ErrPath},
		{"path empty", repo.TargetsEdit{Put: with(func(t *tuf.Target) { t.Path = "" })}, repo.ErrPath},
		{"path with a backslash", repo.TargetsEdit{Put: with(func(t *tuf.Target) { t.Path = `3f/flask/a\b` })}, repo.ErrPath},
		{"path of another project", repo.TargetsEdit{Put: with(func(t *tuf.Target) { t.Path = "3f/django/x" })}, repo.ErrPath},
		{"path deeper than delegated", repo.TargetsEdit{Put: with(func(t *tuf.Target) { t.Path = "3f/flask/a/b" })}, repo.ErrPath},
		{"path twice", repo.TargetsEdit{Put: []tuf.Target{good, good}}, repo.ErrPath},
		{"path put and removed", repo.TargetsEdit{Put: []tuf.Target{good}, Remove: []tuf.TargetPath{good.Path}}, repo.ErrPath},
		{"path removed twice", repo.TargetsEdit{Remove: []tuf.TargetPath{"3f/flask/a", "3f/flask/a"}}, repo.ErrPath},
		{"removed path not listed", repo.TargetsEdit{Remove: []tuf.TargetPath{"3f/flask/b"}}, repo.ErrAbsent},
		{"member of the specification", repo.TargetsEdit{Members: map[string][]byte{"version": []byte("9")}}, repo.ErrMember},
		{"member targets", repo.TargetsEdit{Members: map[string][]byte{"targets": []byte("{}")}}, repo.ErrMember},
		{"member delegations removed", repo.TargetsEdit{Members: map[string][]byte{"delegations": nil}}, repo.ErrMember},
		{"member not JSON", repo.TargetsEdit{Members: map[string][]byte{"x": []byte("nope")}}, repo.ErrMember},
		{"member of two values", repo.TargetsEdit{Members: map[string][]byte{"x": []byte("1 2")}}, repo.ErrMember},
		{"member name not UTF-8", repo.TargetsEdit{Members: map[string][]byte{"x\xff": []byte("1")}}, repo.ErrMember},
		{"member too deep", repo.TargetsEdit{Members: map[string][]byte{"x": []byte(strings.Repeat("[", 31) + strings.Repeat("]", 31))}}, repo.ErrMember},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, err := repo.NewTargets(repo.TargetsSpec{Targets: []tuf.Target{target("3f/flask/a", "a")}}, r.issue(1))
			base := r.targets(t, d, err)
			issue := r.issue(2)
			issue.Paths = []string{"3f/flask/*"}
			_, err = repo.EditTargets(base, c.edit, issue)
			wantErr(t, err, c.want)
		})
	}
}

// TestDeepestValuesAreReadable: what is just allowed must parse.
func TestDeepestValuesAreReadable(t *testing.T) {
	r := newRole(t, "x")
	deep := target("a", "a")
	deep.Custom = []byte(`{"a":` + strings.Repeat("[", 27) + strings.Repeat("]", 27) + `}`)
	d, err := repo.NewTargets(repo.TargetsSpec{
		Targets: []tuf.Target{deep},
		Members: map[string][]byte{"x": []byte(strings.Repeat("[", 30) + strings.Repeat("]", 30))},
	}, r.issue(1))
	if got := r.targets(t, d, err); got.Len() != 1 {
		t.Errorf("%d targets", got.Len())
	}
}

func TestGrantByHash(t *testing.T) {
	r := newRole(t, "x")
	sum := fmt.Sprintf("%x", sha256.Sum256([]byte("a/b")))
	issue := r.issue(1)
	issue.HashPrefixes = []string{"zz", sum[:3]}
	if _, err := repo.NewTargets(repo.TargetsSpec{Targets: []tuf.Target{target("a/b", "")}}, issue); err != nil {
		t.Error(err)
	}
	_, err := repo.NewTargets(repo.TargetsSpec{Targets: []tuf.Target{target("a/c", "")}}, issue)
	wantErr(t, err, repo.ErrPath)
}

// TestEditSharesNoMemory: drafts do not change when others are made from the same base.
func TestEditSharesNoMemory(t *testing.T) {
	r := newRole(t, "x")
	d, err := repo.NewTargets(repo.TargetsSpec{Targets: []tuf.Target{target("a", "a")}}, r.issue(1))
	data := published(t, d, err, r.signer)
	before := bytes.Clone(data)
	base := verified(t, tuf.ParseTargets, data, r.authority)
	one, err := repo.EditTargets(base, repo.TargetsEdit{Put: []tuf.Target{target("b", "b")}}, r.issue(2))
	if err != nil {
		t.Fatal(err)
	}
	message := bytes.Clone(one.Message())
	if _, err := repo.EditTargets(base, repo.TargetsEdit{Put: []tuf.Target{target("a", "x"), target("c", "c")}}, r.issue(2)); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(data, before) || !bytes.Equal(one.Message(), message) {
		t.Error("an edit changed what it was made from, or another edit")
	}
}

// Entries cost no memory of their own: neither new ones, nor those of a base that stay.
func TestAllocationsDoNotGrow(t *testing.T) {
	r := newRole(t, "large")
	of := func(n int) (drafting, editing, signing, listing float64) {
		spec := repo.TargetsSpec{Targets: make([]tuf.Target, n)}
		roles := map[tuf.RoleName]int64{"targets": 1}
		for i := range spec.Targets {
			spec.Targets[i] = target(fmt.Sprintf("3f/large/large-1.%06d.0.whl", i), fmt.Sprint(i))
			roles[tuf.RoleName(fmt.Sprintf("project.p%06d", i))] = 1
		}
		d, err := repo.NewTargets(spec, r.issue(1))
		base := r.targets(t, d, err)
		one := repo.TargetsEdit{Put: []tuf.Target{target("3f/large/large-2.0.whl", "new")}, Remove: []tuf.TargetPath{spec.Targets[7].Path}}
		s := newRole(t, tuf.RoleSnapshot)
		d, err = repo.NewSnapshot(roles, s.issue(1))
		open, err := repo.OpenSnapshot(s.snapshot(t, d, err))
		if err != nil {
			t.Fatal(err)
		}
		count := func(f func() error) float64 {
			return testing.AllocsPerRun(5, func() {
				if err := f(); err != nil {
					t.Fatal(err)
				}
			})
		}
		drafting = count(func() error { _, err := repo.NewTargets(spec, r.issue(1)); return err })
		editing = count(func() error { _, err := repo.EditTargets(base, one, r.issue(2)); return err })
		signing = count(func() error { _, err := repo.Sign(t.Context(), d, s.signer); return err })
		listing = count(func() error {
			_, _, err := open.Edit(map[tuf.RoleName]int64{"project.p000003": 2}, s.issue(2))
			return err
		})
		return drafting, editing, signing, listing
	}
	d1, e1, s1, l1 := of(100)
	d2, e2, s2, l2 := of(4000)
	t.Logf("for 100 and for 4000 entries: drafting %.0f %.0f, editing %.0f %.0f, signing %.0f %.0f, a snapshot's edit %.0f %.0f", d1, d2, e1, e2, s1, s2, l1, l2)
	for what, more := range map[string]float64{"drafting": d2 - d1, "editing": e2 - e1, "signing": s2 - s1, "a snapshot's edit": l2 - l1} {
		if more > 10 {
			t.Errorf("%s: %.0f allocations more for 4000 entries than for 100", what, more)
		}
	}
}
