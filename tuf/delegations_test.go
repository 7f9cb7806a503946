package tuf_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
)

// delegationsOf returns the delegations of a file with these role entries.
func delegationsOf(t testing.TB, roles ...string) *tuf.Delegations {
	t.Helper()
	return delegationsIn(t, `{"keys":{`+keyObjects(signer(t, 1))+`},"roles":[`+strings.Join(roles, ",")+`]}`)
}

func delegationsIn(t testing.TB, object string) *tuf.Delegations {
	t.Helper()
	d := verifiedTargets(t, body(tuf.RoleTargets, `"targets":{}`, `"delegations":`+object), signer(t, 1)).Delegations()
	if d == nil {
		t.Fatal("no delegations")
	}
	return d
}

// delegated returns a role entry with these patterns.
func delegated(name string, paths ...string) string {
	var quoted []string
	for _, p := range paths {
		quoted = append(quoted, fmt.Sprintf("%q", p))
	}
	return fmt.Sprintf(`{"keyids":[],"name":%q,"paths":[%s],"threshold":1}`, name, strings.Join(quoted, ","))
}

func hashed(name string, prefixes ...string) string {
	return strings.Replace(delegated(name, prefixes...), `"paths"`, `"path_hash_prefixes"`, 1)
}

func names(seq func(func(tuf.Delegation) bool)) []string {
	var out []string
	for d := range seq {
		out = append(out, string(d.Name()))
	}
	return out
}

func TestNoDelegations(t *testing.T) {
	if verifiedTargets(t, body(tuf.RoleTargets, `"targets":{}`), signer(t, 1)).Delegations() != nil {
		t.Error("there are delegations")
	}
}

func TestDelegationAccessors(t *testing.T) {
	s := signer(t, 1)
	id := s.Public().ID()
	entry := fmt.Sprintf(`{"keyids":[%q],"minimum_version":7,"name":"project.flask","paths":["3f/flask/*","x"],"terminating":true,"threshold":1,"x-note":[1]}`, id)
	d := delegationsOf(t, entry, hashed("by-hash", "0a", "ff"), `{"name":"neither","keyids":[],"threshold":2}`)
	if d.Len() != 3 {
		t.Fatalf("%d delegations", d.Len())
	}
	first := d.At(0)
	if first.Name() != "project.flask" || !first.Terminating() || first.MinimumVersion() != 7 || first.Position() != 0 || string(first.Raw()) != entry {
		t.Errorf("first: %s, terminating %v, minimum %d, position %d, raw %s", first.Name(), first.Terminating(), first.MinimumVersion(), first.Position(), first.Raw())
	}
	if diff := cmp.Diff([]string{"3f/flask/*", "x"}, first.Paths()); diff != "" || first.HashPrefixes() != nil {
		t.Errorf("paths: %s; prefixes %v", diff, first.HashPrefixes())
	}
	a, err := first.Authority()
	if err != nil || a.Threshold() != 1 || !slices.Equal(a.KeyIDs(), []key.ID{id}) || !a.Equal(authority(t, 1, s)) {
		t.Errorf("authority %v, %v", a.KeyIDs(), err)
	}
	second := d.At(1)
	if diff := cmp.Diff([]string{"0a", "ff"}, second.HashPrefixes()); diff != "" || second.Paths() != nil || second.Terminating() || second.MinimumVersion() != 0 {
		t.Errorf("second: %s, %v", diff, second.Paths())
	}
	if third := d.At(2); third.Paths() != nil || third.HashPrefixes() != nil || third.Matches("a") {
		t.Error("a delegation without patterns matches something")
	}
	if got := names(d.All()); !slices.Equal(got, []string{"project.flask", "by-hash", "neither"}) {
		t.Errorf("all: %v", got)
	}
	if found, ok := d.Find("by-hash"); !ok || found != second {
		t.Error("by-hash is not found")
	}
	if _, ok := d.Find("missing"); ok {
		t.Error("a role that is not there is found")
	}
	var ids []key.ID
	for id, raw := range d.Keys() {
		if !strings.Contains(string(raw), "ed25519") {
			t.Errorf("key %s is %s", id, raw)
		}
		ids = append(ids, id)
	}
	if !slices.Equal(ids, []key.ID{id}) || !strings.HasPrefix(string(d.Raw()), `{"keys":`) {
		t.Errorf("keys %v, raw %.20s", ids, d.Raw())
	}
	if _, _, ok := d.Succinct(); ok {
		t.Error("a list is no succinct_roles")
	}
}

func TestZeroDelegation(t *testing.T) {
	d := delegationsOf(t, delegated("a", "*"))
	for _, none := range []tuf.Delegation{{}, d.At(-1), d.At(1)} {
		if none.Name() != "" || none.Terminating() || none.Matches("a") || none.Paths() != nil || none.HashPrefixes() != nil ||
			none.MinimumVersion() != 0 || none.Raw() != nil {
			t.Errorf("%+v is something", none)
		}
		if _, err := none.Authority(); err == nil {
			t.Error("nothing has an authority")
		}
	}
}

func TestMatchKeepsOrder(t *testing.T) {
	d := delegationsOf(t,
		delegated("glob", "*/*/*"),
		delegated("exact", "3f/flask/x.whl"),
		delegated("project", "3f/flask/*"),
		delegated("other", "3f/django/*"),
		delegated("bin", "3f/*/*"),
		delegated("again", "3f/flask/*.whl", "3f/flask/*", "*/flask/*"),
		hashed("all", "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "a", "b", "c", "d", "e", "f"),
		delegated("wheels", "3f/fl[a-z]sk/*.whl"),
		delegated("top", "*"),
		delegated("broken", "3f/flask/["),
	)
	for path, want := range map[tuf.TargetPath]string{
		"3f/flask/x.whl":     "glob exact project bin again all wheels",
		"3f/flask/y.tar.gz":  "glob project bin again all",
		"3f/django/x.whl":    "glob other bin all",
		"aa/flask/x.whl":     "glob again all",
		"x.whl":              "all top",
		"3f/flask":           "all",
		"3f/flask/sub/x.whl": "all",
		"3f/flask/[":         "glob project bin again all",
	} {
		if got := strings.Join(names(d.Match(path)), " "); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
		for one := range d.All() {
			if one.Matches(path) != slices.Contains(strings.Fields(want), string(one.Name())) {
				t.Errorf("%s matches %s: %v", one.Name(), path, one.Matches(path))
			}
		}
	}
	for dir, want := range map[string]string{
		"3f/flask":     "glob exact project bin again all wheels",
		"3f/django":    "glob other bin all",
		"aa/flask":     "glob again all",
		"aa/bb":        "glob all",
		"3f":           "all",
		"":             "all top",
		"3f/flask/sub": "all",
	} {
		if got := strings.Join(names(d.MatchDir(dir)), " "); got != want {
			t.Errorf("folder %q: %s, want %s", dir, got, want)
		}
	}
	for range d.Match("3f/flask/x.whl") {
		break // an early end must be fine
	}
}

// The index gives what trying every pattern gives, in the same order, and MatchDir
// leaves out nothing that Match finds.
func TestMatchLikeModel(t *testing.T) {
	word := rapid.SampledFrom([]string{"a", "b", "ab", "*", "?", "a*", "[ab]", "[!a]", "[", "x.whl", "*.whl"})
	pattern := rapid.Map(rapid.SliceOfN(word, 1, 4), func(w []string) string { return strings.Join(w, "/") })
	rapid.Check(t, func(t *rapid.T) {
		lists := rapid.SliceOfN(rapid.SliceOfN(pattern, 0, 4), 1, 8).Draw(t, "patterns")
		path := tuf.TargetPath(strings.Join(rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "ab", "x.whl", "c"}), 1, 4).Draw(t, "path"), "/"))
		digest := sha256.Sum256([]byte(path))
		prefix := hex.EncodeToString(digest[:])[:rapid.IntRange(1, 64).Draw(t, "width")]

		var roles, want []string
		for i, list := range lists {
			name := fmt.Sprint("r", i)
			roles = append(roles, delegated(name, list...))
			if slices.ContainsFunc(list, func(p string) bool { return naiveMatch(p, string(path)) }) {
				want = append(want, name)
			}
			if i == len(lists)/2 {
				roles = append(roles, hashed("right", "zz", prefix), hashed("wrong", "zz", strings.ToUpper(prefix)+"x"))
				want = append(want, "right")
			}
		}
		u, err := tuf.ParseTargets(envelope(tuf.RoleTargets, `"targets":{}`, `"delegations":{"keys":{},"roles":[`+strings.Join(roles, ",")+`]}`), nil)
		if err != nil && len(prefix) == 64 {
			return // one digit too many
		}
		if err != nil {
			t.Fatal(err)
		}
		d := tuf.UnverifiedValue(u).Delegations()
		got := names(d.Match(path))
		if !slices.Equal(got, want) {
			t.Fatalf("%s: %v, want %v", path, got, want)
		}
		dir := ""
		if cut := strings.LastIndexByte(string(path), '/'); cut >= 0 {
			dir = string(path[:cut])
		}
		inDir := names(d.MatchDir(dir))
		for _, name := range got {
			if !slices.Contains(inDir, name) {
				t.Fatalf("%s covers %s and is not among those of its folder: %v", name, path, inDir)
			}
		}
		for i, list := range lists {
			may := slices.ContainsFunc(list, func(p string) bool { return naiveSegments(p) != nil && naiveDir(p, dir) })
			if may != slices.Contains(inDir, fmt.Sprint("r", i)) {
				t.Fatalf("%v may cover a path in %q: %v, MatchDir says %v", list, dir, may, inDir)
			}
		}
	})
}

// naiveDir reports whether a well-formed pattern may match a path directly in dir.
func naiveDir(pattern, dir string) bool {
	cut := strings.LastIndexByte(pattern, '/')
	if cut < 0 {
		return dir == ""
	}
	return dir != "" && naiveMatch(pattern[:cut], dir)
}

// Vectors of hash prefixes and of bins; the hashes are those of sha256sum.
func TestHashPrefixesAndBins(t *testing.T) {
	const path = "3f/flask/flask-3.1.0-py3-none-any.whl"
	sum := sha256.Sum256([]byte(path))
	digest := hex.EncodeToString(sum[:])
	d := delegationsOf(t,
		hashed("upper", strings.ToUpper(digest[:4])+"g"), hashed("whole", digest), hashed("one", digest[:1]),
		hashed("none", "zz"), hashed("longer", digest[:9]), hashed("twice", digest[:2], digest[:3]))
	if got, want := strings.Join(names(d.Match(path)), " "), "whole one longer twice"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	for _, test := range []struct {
		bits int
		path tuf.TargetPath
		want string
	}{
		// sha256("foo") = 2c26b46b…, sha256("bar") = fcde2b2e…
		{1, "foo", "bin-0"},
		{1, "bar", "bin-1"},
		{4, "foo", "bin-2"},
		{5, "foo", "bin-05"},
		{8, "foo", "bin-2c"},
		{9, "bar", "bin-1f9"},
		{10, "foo", "bin-0b0"},
		{16, "bar", "bin-fcde"},
		{32, "foo", "bin-2c26b46b"},
	} {
		d := delegationsIn(t, fmt.Sprintf(`{"keys":{},"succinct_roles":{"bit_length":%d,"keyids":["k"],"name_prefix":"bin","threshold":1}}`, test.bits))
		if got := names(d.Match(test.path)); !slices.Equal(got, []string{test.want}) {
			t.Errorf("%d bits: %s is in %v, want %s", test.bits, test.path, got, test.want)
		}
		if want := min(int64(1)<<test.bits, math.MaxInt); int64(d.Len()) != want {
			t.Errorf("%d bits: %d bins", test.bits, d.Len())
		}
		found, ok := d.Find(tuf.RoleName(test.want))
		if !ok || !found.Matches(test.path) || !found.Terminating() || string(found.Name()) != test.want {
			t.Errorf("%d bits: %s is not found", test.bits, test.want)
		}
		if other := d.At(found.Position() ^ 1); other.Matches(test.path) {
			t.Errorf("%d bits: %s matches, too", test.bits, other.Name())
		}
		a, err := found.Authority()
		if err != nil || !slices.Equal(a.KeyIDs(), []key.ID{"k"}) || found.Raw() == nil {
			t.Errorf("%d bits: authority %v, %v", test.bits, a.KeyIDs(), err)
		}
		if prefix, bits, ok := d.Succinct(); prefix != "bin" || bits != test.bits || !ok {
			t.Errorf("succinct: %s, %d, %v", prefix, bits, ok)
		}
	}
	d = delegationsIn(t, `{"keys":{},"succinct_roles":{"bit_length":5,"keyids":[],"name_prefix":"bin","threshold":1}}`)
	for _, name := range []tuf.RoleName{"bin-20", "bin-5", "bin-005", "bin-0A", "bin-0g", "bin", "bin-", "other-05", ""} {
		if _, ok := d.Find(name); ok {
			t.Errorf("%q is found among 32 bins", name)
		}
	}
	if got := names(d.MatchDir("any")); len(got) != 32 || got[0] != "bin-00" || got[31] != "bin-1f" {
		t.Errorf("a folder may be in %v", got)
	}
}

func TestManyDelegations(t *testing.T) {
	targets := verifiedTargets(t, manyDelegations(t, 300, 3), signer(t, 1))
	d := targets.Delegations()
	for i := range 300 {
		path := tuf.TargetPath(fmt.Sprintf("3f/project-%05d/x.tar.gz", i))
		got := slices.Collect(d.Match(path))
		if len(got) != 1 || got[0].Position() != i {
			t.Fatalf("%s is covered by %v", path, got)
		}
		a, err := got[0].Authority()
		if err != nil || !a.Equal(authority(t, 1, signer(t, i))) {
			t.Fatalf("%s: another key", path)
		}
	}
}

func TestDelegationOfUnknownKeys(t *testing.T) {
	d := delegationsOf(t, `{"name":"a","keyids":["not-there"],"threshold":1}`)
	a, err := d.At(0).Authority()
	if err != nil || !errors.Is(a.Problem("not-there"), tuf.ErrKeyMissing) {
		t.Errorf("%v, %v", a.Problem("not-there"), err)
	}
}

// Effort counts the patterns under the folders of a path only, each by its length and by
// how much of the path it may be held against.
func TestEffort(t *testing.T) {
	const path = "a/bcd"
	digest := sha256.Sum256([]byte(path))
	prefix := hex.EncodeToString(digest[:])[:4]
	for _, c := range []struct {
		roles string
		path  string
		want  int64
	}{
		{delegated("r", "a/*"), path, 2 * 4},
		{delegated("r", "a/*", "a/*d"), path, 2*4 + 3*4},
		{delegated("r", "a/*") + "," + delegated("s", "*/*"), path, 2*4 + 4*6},
		{delegated("r", "b/*", "a/b/*"), path, 0},
		{delegated("r", "a/*"), "a/", 2 * 1},
		{delegated("r", "*"), "", 2 * 1},
		{hashed("r", prefix) + "," + hashed("s", prefix, "0000"), path, 2 + 2},
		{hashed("r", prefix), "other", 1},
	} {
		u, err := tuf.ParseTargets(envelope(tuf.RoleTargets, `"targets":{}`, `"delegations":{"keys":{},"roles":[`+c.roles+`]}`), nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := tuf.UnverifiedValue(u).Delegations().Effort(c.path); got != c.want {
			t.Errorf("%s for %q: %d, want %d", c.roles, c.path, got, c.want)
		}
	}
	u, err := tuf.ParseTargets(envelope(tuf.RoleTargets, `"targets":{}`,
		`"delegations":{"keys":{},"succinct_roles":{"bit_length":32,"keyids":[],"name_prefix":"b","threshold":1}}`), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := tuf.UnverifiedValue(u).Delegations().Effort(path); got != 1 {
		t.Errorf("bins: %d", got)
	}
}
