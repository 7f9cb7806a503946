package trust_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"example.com/bailiwick/internal/testrepo"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
	"example.com/bailiwick/tuf/trust"
)

// arrow is a delegation of a graph.
type arrow struct {
	from, to    string
	terminating bool
	paths       string // space-separated; empty: "*"
}

// graph makes a repository of delegations; all share a key.
func graph(t *testing.T, arrows ...arrow) *testrepo.Repo {
	t.Helper()
	r := testrepo.New(t, testrepo.Options{})
	for _, a := range arrows {
		paths := strings.Fields(a.paths)
		if len(paths) == 0 {
			paths = []string{"*"}
		}
		r.Delegate(a.from, testrepo.Delegation{Name: a.to, Paths: paths, Terminating: a.terminating, Holders: testrepo.One("shared")})
	}
	r.Publish()
	return r
}

// visits returns the roles that a search loaded, in order.
func visits(t *testing.T, r *testrepo.Repo, path string) string {
	t.Helper()
	set := fresh(t, r)
	r.ResetRequests()
	if _, err := set.Find(tuf.TargetPath(path), loader(t, r, set)); err != nil && !errors.Is(err, trust.ErrNotFound) {
		t.Fatalf("Find: %v", err)
	}
	var out []string
	for _, name := range r.Requests() {
		_, name, _ = strings.Cut(name, ".")
		out = append(out, strings.TrimSuffix(name, ".json"))
	}
	return strings.Join(out, " ")
}

// 5.6.7, 5.6.7.2
func TestTraversal(t *testing.T) {
	top := "targets"
	for _, test := range []struct {
		name   string
		graph  []arrow
		visits string
	}{
		{"no delegations", nil, ""},
		{"one", []arrow{{top, "a", false, ""}}, "a"},
		{"breadth, in order", []arrow{{top, "b", false, ""}, {top, "a", false, ""}, {top, "c", false, ""}}, "b a c"},
		{"names that sort otherwise", []arrow{{top, "10", false, ""}, {top, "9", false, ""}, {top, "1", false, ""}}, "10 9 1"},
		{"depth", []arrow{{top, "a", false, ""}, {"a", "b", false, ""}, {"b", "c", false, ""}}, "a b c"},
		{"depth before breadth", []arrow{{top, "a", false, ""}, {top, "d", false, ""}, {"a", "b", false, ""}, {"a", "c", false, ""}}, "a b c d"},
		{"two levels", []arrow{{top, "a", false, ""}, {top, "b", false, ""}, {"a", "c", false, ""}, {"b", "d", false, ""}}, "a c b d"},
		{"self", []arrow{{top, "a", false, ""}, {"a", "a", false, ""}}, "a"},
		{"cycle", []arrow{{top, "a", false, ""}, {"a", "b", false, ""}, {"b", "a", false, ""}, {"b", "c", false, ""}}, "a b c"},
		{"long cycle", []arrow{{top, "a", false, ""}, {"a", "b", false, ""}, {"b", "c", false, ""}, {"c", "a", false, ""}, {top, "d", false, ""}}, "a b c d"},
		{"shared child", []arrow{{top, "a", false, ""}, {top, "b", false, ""}, {"a", "c", false, ""}, {"b", "c", false, ""}}, "a c b"},
		{"terminating at the top", []arrow{{top, "a", true, ""}, {top, "b", false, ""}}, "a"},
		{"terminating in the middle", []arrow{{top, "a", false, ""}, {top, "b", true, ""}, {top, "c", false, ""}}, "a b"},
		{"terminating, its descendants count", []arrow{{top, "a", true, ""}, {top, "d", false, ""}, {"a", "b", false, ""}, {"a", "c", false, ""}}, "a b c"},
		{"terminating below ends all", []arrow{{top, "a", false, ""}, {top, "d", false, ""}, {"a", "b", true, ""}, {"a", "c", false, ""}}, "a b"},
		{"terminating deep down ends all", []arrow{{top, "a", false, ""}, {top, "e", false, ""}, {"a", "b", false, ""}, {"a", "d", false, ""}, {"b", "c", true, ""}}, "a b c"},
		{"terminating that does not match ends nothing", []arrow{{top, "a", true, "other"}, {top, "b", false, ""}}, "b"},
		{"terminating to a role visited already", []arrow{{top, "a", false, ""}, {"a", "b", false, ""}, {"b", "a", true, ""}, {top, "c", false, ""}}, "a b"},
		{"patterns at each level", []arrow{{top, "a", false, "n*"}, {top, "b", false, "x*"}, {"a", "c", false, "na*"}, {"a", "d", false, "z*"}}, "a c"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := visits(t, graph(t, test.graph...), "name"); got != test.visits {
				t.Errorf("visits %q, want %q", got, test.visits)
			}
		})
	}
}

// 4.5: patterns decide who is asked, and every role of the chain must allow the path.
func TestPatternSearch(t *testing.T) {
	for _, test := range []struct {
		patterns, path string
		asked          bool
	}{
		{"*", "name", true},
		{"*", "dir/name", false},
		{"dir/*", "dir/name", true},
		{"dir/*", "dir/sub/name", false},
		{"*/*", "dir/name", true},
		{"na?e", "name", true},
		{"dir?name", "dir/name", false},
		{"NAME", "name", false},
		{"name", "name", true},
		{"name", "name2", false},
		{"[!n]ame", "name", false},
		{"[!x]ame", "name", true},
		{"[", "[", false},
		{"other name", "name", true},
	} {
		t.Run(test.patterns+" "+test.path, func(t *testing.T) {
			r := graph(t, arrow{"targets", "a", false, test.patterns})
			r.AddTarget("a", test.path, []byte("x"))
			r.Publish()
			set := fresh(t, r)
			f, err := set.Find(tuf.TargetPath(test.path), loader(t, r, set))
			switch {
			case test.asked && (err != nil || len(f.Chain) != 2):
				t.Errorf("not found: %v", err)
			case !test.asked && !errors.Is(err, trust.ErrNotFound):
				t.Errorf("found %v, %v", f, err)
			}
		})
	}
	t.Run("the chain narrows", func(t *testing.T) {
		r := graph(t, arrow{"targets", "a", false, "dir/*"}, arrow{"a", "b", false, "*/*"})
		r.AddTarget("b", "dir/x", []byte("x"))
		r.AddTarget("b", "other/x", []byte("x"))
		r.AddTarget("a", "other/y", []byte("x"))
		r.Publish()
		set := fresh(t, r)
		if _, err := set.Find("dir/x", loader(t, r, set)); err != nil {
			t.Error(err)
		}
		for _, path := range []tuf.TargetPath{"other/x", "other/y"} {
			if f, err := set.Find(path, loader(t, r, set)); !errors.Is(err, trust.ErrNotFound) {
				t.Errorf("%s was found by roles that have no say: %v %v", path, f, err)
			}
		}
	})
	t.Run("hash prefixes", func(t *testing.T) {
		r := testrepo.New(t, testrepo.Options{})
		// SHA-256("name") begins with 82a3, found with sha256sum.
		r.Delegate("targets", testrepo.Delegation{Name: "no", HashPrefixes: []string{"82a4", "82A3"}})
		r.Delegate("targets", testrepo.Delegation{Name: "yes", HashPrefixes: []string{"00", "82a3"}})
		r.Publish()
		if got := visits(t, r, "name"); got != "yes" {
			t.Errorf("visits %q", got)
		}
	})
}

// 5.6.7: the say has who comes first, though others list the path as well.
func TestFirstInOrderHasTheSay(t *testing.T) {
	r := graph(t, arrow{"targets", "a", false, ""}, arrow{"targets", "b", false, ""})
	r.AddTarget("b", "name", []byte("of b"))
	r.Publish()
	find := func() *trust.Found {
		set := fresh(t, r)
		f, err := set.Find("name", loader(t, r, set))
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	if f := find(); f.Target.Length != int64(len("of b")) {
		t.Error("b lists it")
	}
	r.AddTarget("a", "name", []byte("the one of a"))
	r.Publish()
	if f := find(); f.Target.Length != int64(len("the one of a")) {
		t.Error("a comes before b")
	}
	r.AddTarget("targets", "name", []byte("top"))
	r.Publish()
	if f := find(); f.Target.Length != 3 || len(f.Chain) != 1 {
		t.Error("the top-level role comes before both")
	}
}

func TestChain(t *testing.T) {
	r := testrepo.New(t, testrepo.Options{Threshold: 2})
	two := testrepo.Some("maintainer", 2, 3)
	r.Delegate("targets", testrepo.Delegation{Name: "a", Paths: []string{"x/*", "*/*"}})
	r.Delegate("a", testrepo.Delegation{Name: "b", Paths: []string{"dir/*"}, Terminating: true, Holders: two})
	r.AddTarget("b", "dir/name", []byte("content"))
	r.SignWith["b"] = []testrepo.Key{two.Keys[2], testrepo.NewKey("stranger"), two.Keys[0]}
	r.Life["b"] = 5 * time.Hour
	r.Publish()
	set := fresh(t, r)
	f, err := set.Find("dir/name", loader(t, r, set))
	if err != nil {
		t.Fatal(err)
	}
	type link struct {
		Role        tuf.RoleName
		Version     int64
		Paths       []string
		Terminating bool
		Threshold   int
		Signers     []key.ID
	}
	var got []link
	for _, l := range f.Chain {
		got = append(got, link{l.Role, l.Version, l.Paths, l.Terminating, l.Authority.Threshold(), l.Signers})
	}
	top := r.Top["targets"].Keys
	want := []link{
		{"targets", 2, nil, false, 2, []key.ID{top[0].ID(), top[1].ID()}},
		{"a", 1, []string{"x/*", "*/*"}, false, 1, []key.ID{testrepo.NewKey("a-1").ID()}},
		{"b", 1, []string{"dir/*"}, true, 2, []key.ID{two.Keys[2].ID(), two.Keys[0].ID()}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("chain (-want +got):\n%s", diff)
	}
	if want := r.Now().Add(5 * time.Hour); !f.Chain[2].Expires.Equal(want) {
		t.Errorf("expires %v, want %v", f.Chain[2].Expires, want)
	}
}

// 5.7.3
func TestFetchName(t *testing.T) {
	const sum = "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73" // sha256sum of "content"
	for _, test := range []struct {
		options    testrepo.Options
		path, want string
	}{
		{testrepo.Options{}, "name", sum + ".name"},
		{testrepo.Options{}, "3f/flask/flask-1.whl", "3f/flask/" + sum + ".flask-1.whl"},
		{testrepo.Options{Plain: true}, "3f/flask/flask-1.whl", "3f/flask/flask-1.whl"},
		{testrepo.Options{SHA512: true}, "name", "b2d1d285b5199c85f988d03649c37e44fd3dde01e5d69c50fef90651962f48110e9340b60d49a479c4c0b53f5f07d690686dd87d2481937a512e8b85ee7c617f.name"},
	} {
		r := testrepo.New(t, test.options)
		r.AddTarget("targets", test.path, []byte("content"))
		r.Publish()
		set := fresh(t, r)
		f, err := set.Find(tuf.TargetPath(test.path), nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := f.FetchName(); got != test.want {
			t.Errorf("%+v: %q, want %q", test.options, got, test.want)
		}
	}
}

// 5.7.2
func TestNotFound(t *testing.T) {
	r := testrepo.New(t, testrepo.Options{})
	r.Bailiwick(testrepo.Project{Name: "flask", Claimed: true, Files: map[string][]byte{"flask-1.tar.gz": nil}})
	set := fresh(t, r)
	for _, path := range []string{"name", "0/none/file", testrepo.ProjectPath("flask", "flask-2.tar.gz"), "../x"} {
		if f, err := set.Find(tuf.TargetPath(path), loader(t, r, set)); !errors.Is(err, trust.ErrNotFound) {
			t.Errorf("%s: %v, %v", path, f, err)
		}
	}
}

// Without a loader nothing panics, and what would have to be loaded is not "not found".
func TestNoLoader(t *testing.T) {
	r := graph(t, arrow{"targets", "a", false, ""})
	r.AddTarget("targets", "top", []byte("x"))
	r.Publish()
	set := fresh(t, r)
	if _, err := set.Find("top", nil); err != nil {
		t.Errorf("what the top-level role lists: %v", err)
	}
	_, err := set.Find("other", nil)
	refused(t, err, trust.Unavailable, "a", "5.6.1")
	_, err = set.List("", nil)
	refused(t, err, trust.Unavailable, "a", "5.6.1")
	_, err = set.Delegated(nil, "a")
	refused(t, err, trust.Unavailable, "a", "5.6.1")
}

// A role on the way that cannot be had or verified ends the search, with an
// error that is not ErrNotFound. It never falls through.
func TestCannotVerify(t *testing.T) {
	path := tuf.TargetPath(testrepo.ProjectPath("flask", "flask-1.tar.gz"))
	bin := "claimed-" + testrepo.Bin("flask")
	network := errors.New("unreachable")
	for name, test := range map[string]struct {
		attack func(r *testrepo.Repo, role string)
		code   trust.Code
		step   string
	}{
		"unsigned":     {func(r *testrepo.Repo, role string) { r.DropSignatures(role) }, trust.Threshold, "5.6.3"},
		"attacker":     {func(r *testrepo.Repo, role string) { r.SwapKey(role) }, trust.Threshold, "5.6.3"},
		"registry key": {func(r *testrepo.Repo, role string) { r.SignOnly(role, testrepo.NewKey("registry-1")) }, trust.Threshold, "5.6.3"},
		"truncated":    {func(r *testrepo.Repo, role string) { r.Truncate(r.FileName(role), 99) }, trust.Malformed, "4.3"},
		"network":      {func(r *testrepo.Repo, role string) { r.Break(r.FileName(role), testrepo.Fault{Err: network}) }, trust.Unavailable, "5.6.1"},
		"absent":       {func(r *testrepo.Repo, role string) { r.Remove(r.FileName(role)) }, trust.Unavailable, "5.6.1"},
		"expired": {func(r *testrepo.Repo, role string) {
			r.Life[role] = -time.Second
			r.Touch(role)
			r.Publish()
		}, trust.Expired, "5.6.5"},
		"unlisted": {func(r *testrepo.Repo, role string) {
			r.Unlisted[role] = true
			r.Publish()
		}, trust.Missing, "5.6.7"},
	} {
		for _, role := range []string{"claimed", bin, "project.flask"} {
			t.Run(role+" "+name, func(t *testing.T) {
				r := testrepo.New(t, testrepo.Options{})
				flask := testrepo.Project{Name: "flask", Claimed: true, Files: map[string][]byte{"flask-1.tar.gz": []byte("good")}}
				r.Bailiwick(flask)
				// The registry lists the path as well, where it has no say.
				r.AddTarget("unclaimed", string(path), []byte("evil"))
				r.Publish()
				test.attack(r, role)
				set := fresh(t, r)
				load := loader(t, r, set)
				_, err := set.Find(path, load)
				refused(t, err, test.code, tuf.RoleName(role), test.step)
				if errors.Is(err, trust.ErrNotFound) {
					t.Error("it says not found as well")
				}
				if name == "network" && !errors.Is(err, network) {
					t.Error("the loader's error is lost")
				}
				_, err = set.List(testrepo.Bin("flask")+"/flask", load)
				refused(t, err, test.code, tuf.RoleName(role), test.step)
				e := set.Explain(path, load)
				refused(t, e.Err, test.code, tuf.RoleName(role), test.step)
				if last := e.Steps[len(e.Steps)-1]; last.Outcome != trust.Refused || last.Role != tuf.RoleName(role) || last.Err == nil {
					t.Errorf("the last step is %+v", last)
				}
			})
		}
	}
}

// A project that moved into the claimed tree is claimed; its old delegation
// has no say, and the one role keeps its versions.
func TestClaimedComesFirst(t *testing.T) {
	r := testrepo.New(t, testrepo.Options{})
	r.Bailiwick(testrepo.Project{Name: "flask", Files: map[string][]byte{"flask-1.tar.gz": []byte("x")}})
	set := fresh(t, r)
	path := tuf.TargetPath(testrepo.ProjectPath("flask", "flask-1.tar.gz"))
	f, err := set.Find(path, loader(t, r, set))
	if err != nil || len(f.Chain) != 6 || f.Chain[3].Role != "unclaimed" {
		t.Fatalf("%+v, %v", f, err)
	}
	r.AddProject(testrepo.Project{Name: "flask", Claimed: true})
	r.Touch("project.flask")
	r.Publish()
	set = next(t, r, set)
	f, err = set.Find(path, loader(t, r, set))
	if err != nil || len(f.Chain) != 4 || f.Chain[3].Version != 2 {
		t.Fatalf("%+v, %v", f, err)
	}
}

func TestMinimumVersion(t *testing.T) {
	r := testrepo.New(t, testrepo.Options{})
	r.Delegate("targets", testrepo.Delegation{Name: "a", Paths: []string{"*"}, Minimum: 3})
	r.AddTarget("a", "name", []byte("x"))
	for v := int64(1); v <= 4; v++ {
		r.Touch("a")
		r.Publish()
		set := fresh(t, r)
		_, err := set.Find("name", loader(t, r, set))
		if v < 3 {
			refused(t, err, trust.Rollback, "a", "5.6.4")
		} else if err != nil {
			t.Errorf("version %d: %v", v, err)
		}
	}
}

// A role that names itself is not taken for another, though key and version fit.
func TestRoleName(t *testing.T) {
	for name, c := range map[string]struct {
		role string
		says any
		ok   bool
	}{
		"itself":           {"a", "a", true},
		"another":          {"a", "b", false},
		"in another case":  {"a", "A", false},
		"no string":        {"a", 1, false},
		"top level itself": {"targets", "targets", true},
		"top level":        {"targets", "a", false},
	} {
		t.Run(name, func(t *testing.T) {
			r := testrepo.New(t, testrepo.Options{})
			r.Delegate("targets", testrepo.Delegation{Name: "a", Paths: []string{"*"}})
			r.AddTarget("a", "name", []byte("x"))
			r.Edit[c.role] = func(signed map[string]any) { signed["role_name"] = c.says }
			r.Touch(c.role)
			r.Publish()
			set, err := update(t, r, begin(t, r))
			if err == nil {
				_, err = set.Find("name", loader(t, r, set))
			}
			if c.ok && err != nil {
				t.Fatal(err)
			}
			if !c.ok {
				refused(t, err, trust.MixAndMatch, tuf.RoleName(c.role), "5.6.4")
			}
		})
	}
}

// Trust belongs to the edge: a role that verified through one delegator is held
// against the keys of another, in one session and with one cache.
func TestEdges(t *testing.T) {
	r := testrepo.New(t, testrepo.Options{})
	r.Delegate("targets", testrepo.Delegation{Name: "a", Paths: []string{"a*"}})
	r.Delegate("targets", testrepo.Delegation{Name: "b", Paths: []string{"b*"}})
	r.Delegate("a", testrepo.Delegation{Name: "shared", Paths: []string{"*"}, Holders: testrepo.One("of-a")})
	r.Delegate("b", testrepo.Delegation{Name: "shared", Paths: []string{"*"}, Holders: testrepo.One("of-b")})
	r.SignWith["shared"] = testrepo.Keys("of-a", 1)
	r.AddTarget("shared", "a1", []byte("x"))
	r.AddTarget("shared", "b1", []byte("x"))
	r.Publish()
	set := fresh(t, r)
	load := loader(t, r, set)
	for range 2 {
		if _, err := set.Find("a1", load); err != nil {
			t.Fatal(err)
		}
		_, err := set.Find("b1", load)
		refused(t, err, trust.Threshold, "shared", "5.6.3")
	}
	r.SignWith["shared"] = append(testrepo.Keys("of-a", 1), testrepo.Keys("of-b", 1)...)
	r.Touch("shared")
	r.Publish()
	set = next(t, r, set)
	load = loader(t, r, set)
	for _, path := range []tuf.TargetPath{"a1", "b1"} {
		if _, err := set.Find(path, load); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// Delegators that ask for the same keys share what was verified, and each keeps its own word about paths and
// versions.
func TestEdgesShareWork(t *testing.T) {
	r := testrepo.New(t, testrepo.Options{})
	for name, minimum := range map[string]int64{"a": 0, "b": 0, "c": 2} {
		r.Delegate("targets", testrepo.Delegation{Name: name, Paths: []string{name + "*"}})
		r.Delegate(name, testrepo.Delegation{Name: "shared", Paths: []string{name + "1"}, Minimum: minimum})
		r.AddTarget("shared", name+"1", []byte("x"))
		r.AddTarget("shared", name+"2", []byte("not delegated"))
	}
	r.Publish()
	set := fresh(t, r)
	r.ResetRequests()
	for _, path := range []tuf.TargetPath{"a1", "b1"} {
		if _, err := set.Find(path, loader(t, r, set)); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
	if got := strings.Join(r.Requests(), " "); got != "1.a.json 1.shared.json 1.b.json" {
		t.Errorf("loaded %s", got)
	}
	for _, path := range []tuf.TargetPath{"a2", "b2"} {
		if _, err := set.Find(path, loader(t, r, set)); !errors.Is(err, trust.ErrNotFound) {
			t.Errorf("%s: %v", path, err)
		}
	}
	_, err := set.Find("c1", loader(t, r, set))
	refused(t, err, trust.Rollback, "shared", "5.6.4")
	// One more key, or a higher threshold, is another authority.
	for _, holders := range []testrepo.Holders{testrepo.Some("shared", 1, 2), testrepo.Some("shared", 2, 2)} {
		r.Roles["b"].Delegations[0].Holders = holders
		r.Touch("b")
		r.Publish()
		set = next(t, r, set)
		r.ResetRequests()
		_, err := set.Find("b1", loader(t, r, set))
		if got := strings.Join(r.Requests(), " "); !strings.HasSuffix(got, "1.shared.json") {
			t.Errorf("%d of %d: loaded %s", holders.Threshold, len(holders.Keys), got)
		}
		if holders.Threshold == 2 {
			refused(t, err, trust.Threshold, "shared", "5.6.3")
		} else if err != nil {
			t.Error(err)
		}
	}
}

// What did not change is not loaded again by a successor; what did, is.
func TestSuccessorsShareVerifiedRoles(t *testing.T) {
	r := testrepo.New(t, testrepo.Options{})
	flask := testrepo.Project{Name: "flask", Claimed: true, Files: map[string][]byte{"f": []byte("x")}}
	django := testrepo.Project{Name: "django", Claimed: true, Files: map[string][]byte{"f": []byte("x")}}
	r.Bailiwick(flask, django)
	set := fresh(t, r)
	find := func(project string) string {
		r.ResetRequests()
		if _, err := set.Find(tuf.TargetPath(testrepo.ProjectPath(project, "f")), loader(t, r, set)); err != nil {
			t.Fatal(err)
		}
		return strings.Join(r.Requests(), " ")
	}
	find("flask")
	find("django")
	r.AddTarget("project.flask", testrepo.ProjectPath("flask", "g"), []byte("x"))
	r.Publish()
	set = next(t, r, set)
	if got := find("django"); got != "" {
		t.Errorf("django did not change, and %s was loaded", got)
	}
	if got := find("flask"); got != "2.project.flask.json" {
		t.Errorf("flask changed, and %s was loaded", got)
	}
	// The delegator changed and asks for the same keys: what they signed is verified.
	r.Touch("claimed-" + testrepo.Bin("django"))
	r.Publish()
	set = next(t, r, set)
	want := fmt.Sprintf("2.claimed-%s.json", testrepo.Bin("django"))
	if got := find("django"); got != want {
		t.Errorf("loaded %q, want %q", got, want)
	}
	// The delegator asks for other keys, so the role is verified again.
	r.Undelegate("claimed-"+testrepo.Bin("django"), "project.django")
	django.Holders = testrepo.One("another maintainer")
	r.AddProject(django)
	r.Publish()
	set = next(t, r, set)
	want = fmt.Sprintf("3.claimed-%s.json 2.project.django.json", testrepo.Bin("django"))
	if got := find("django"); got != want {
		t.Errorf("loaded %q, want %q", got, want)
	}
}

func TestCachedRolesStillExpire(t *testing.T) {
	r := testrepo.New(t, testrepo.Options{})
	r.Delegate("targets", testrepo.Delegation{Name: "a", Paths: []string{"*"}})
	r.AddTarget("a", "name", []byte("x"))
	r.Life["a"] = time.Hour
	r.Publish()
	set := fresh(t, r)
	if _, err := set.Find("name", loader(t, r, set)); err != nil {
		t.Fatal(err)
	}
	r.Advance(2 * time.Hour)
	set = next(t, r, set)
	_, err := set.Find("name", loader(t, r, set))
	refused(t, err, trust.Expired, "a", "5.6.5")
}

func TestCacheIsHeldAgainstListedHashes(t *testing.T) {
	r := testrepo.New(t, testrepo.Options{Hashes: true})
	r.Delegate("targets", testrepo.Delegation{Name: "a", Paths: []string{"*"}})
	r.AddTarget("a", "name", []byte("x"))
	r.Publish()
	set := fresh(t, r)
	if _, err := set.Find("name", loader(t, r, set)); err != nil {
		t.Fatal(err)
	}
	r.Versions["a"]--
	r.AddTarget("a", "name", []byte("something else"))
	r.Publish()
	set = next(t, r, set)
	f, err := set.Find("name", loader(t, r, set))
	if err != nil || f.Target.Length != int64(len("something else")) {
		t.Errorf("%+v, %v", f, err)
	}
}

func TestCacheForgetsTheLeastUsed(t *testing.T) {
	r := testrepo.New(t, testrepo.Options{})
	for _, name := range []string{"a", "b", "c"} {
		r.Delegate("targets", testrepo.Delegation{Name: name, Paths: []string{name + "*"}})
		r.AddTarget(name, name+"1", []byte("x"))
	}
	r.Publish()
	size := int64(len(r.Bytes("a")))*3/2 + 2<<10 // as the cache counts: the file, its index, and what every role costs
	s, err := trust.Begin(r.Root(1), r.Now(), trust.Options{Cache: trust.NewCache(2*size + size/2)})
	if err != nil {
		t.Fatal(err)
	}
	set, err := update(t, r, s)
	if err != nil {
		t.Fatal(err)
	}
	r.ResetRequests()
	for _, path := range []tuf.TargetPath{"a1", "b1", "a1", "c1", "a1", "b1"} {
		if _, err := set.Find(path, loader(t, r, set)); err != nil {
			t.Fatal(err)
		}
	}
	if got := strings.Join(r.Requests(), " "); got != "1.a.json 1.b.json 1.c.json 1.b.json" {
		t.Errorf("loaded %s", got)
	}
}

// 5.6.7.1
func TestSearchLimits(t *testing.T) {
	var arrows []arrow
	from := "targets"
	for i := range 10 {
		to := fmt.Sprint("r", i)
		arrows = append(arrows, arrow{from, to, false, ""})
		from = to
	}
	r := graph(t, arrows...)
	r.AddTarget("r4", "name", []byte("x"))
	r.Publish()
	with := func(l trust.Limits) *trust.Set {
		s, err := trust.Begin(r.Root(1), r.Now(), trust.Options{Limits: &l})
		if err != nil {
			t.Fatal(err)
		}
		set, err := update(t, r, s)
		if err != nil {
			t.Fatal(err)
		}
		return set
	}
	set := with(trust.Limits{Roles: 5})
	if _, err := set.Find("name", loader(t, r, set)); err != nil {
		t.Errorf("the fifth role has it: %v", err)
	}
	_, err := set.Find("other", loader(t, r, set))
	refused(t, err, trust.Limit, "r5", "5.6.7.1")
	_, err = set.List("", loader(t, r, set))
	refused(t, err, trust.Limit, "r5", "5.6.7.1")

	set = with(trust.Limits{SearchBytes: int64(len(r.Bytes("r0")) + len(r.Bytes("r1")) + 10)})
	_, err = set.Find("other", loader(t, r, set))
	refused(t, err, trust.Limit, "r2", "5.6.7.1")
	_, err = set.Find("other", loader(t, r, set)) // out of the cache as well
	refused(t, err, trust.Limit, "r2", "5.6.7.1")

	// One pattern at the top folder: each of the ten roles takes its bytes and one, times the path's and one.
	set = with(trust.Limits{SearchSteps: 3 * (1 + 1) * (5 + 1)})
	_, err = set.Find("other", loader(t, r, set))
	refused(t, err, trust.Limit, "r2", "5.6.7.1")
	_, err = set.List("", loader(t, r, set))
	refused(t, err, trust.Limit, "r8", "5.6.7.1")

	limits := trust.DefaultLimits()
	limits.Metadata.TargetsBytes = int64(len(r.Bytes("targets")))
	set = with(limits)
	r.Edit["r0"] = func(s map[string]any) { s["x-filling"] = strings.Repeat("x", 4000) }
	r.Touch("r0")
	r.Publish()
	set, err = update(t, r, set.Next(r.Now()))
	if err != nil {
		t.Fatal(err)
	}
	_, err = set.Find("other", func(tuf.RoleName, tuf.Meta) ([]byte, error) { return r.Bytes("r0"), nil })
	refused(t, err, trust.Length, "r0", "5.6.1")
}

func TestList(t *testing.T) {
	r := testrepo.New(t, testrepo.Options{})
	files := map[string][]byte{"b.whl": []byte("1"), "a.whl": []byte("22")}
	r.Bailiwick(
		testrepo.Project{Name: "flask", Claimed: true, Files: files},
		testrepo.Project{Name: "django", Files: files},
		testrepo.Project{Name: "empty", Claimed: true},
	)
	flask, django := testrepo.Bin("flask")+"/flask", testrepo.Bin("django")+"/django"
	// Roles that have no say about flask name files in its folder, and elsewhere.
	r.AddTarget("project.django", flask+"/evil.whl", []byte("evil"))
	r.AddTarget("unclaimed", flask+"/evil.whl", []byte("evil"))
	r.AddTarget("unclaimed", flask+"/a.whl", []byte("evil"))
	r.AddTarget("unclaimed", flask+"/sub/x.whl", []byte("evil"))
	r.AddTarget("project.flask", "top.whl", []byte("x"))
	r.Publish()
	set := fresh(t, r)
	list := func(dir string) (out []string) {
		found, err := set.List(dir, loader(t, r, set))
		if err != nil {
			t.Fatalf("%s: %v", dir, err)
		}
		for _, f := range found {
			single, err := set.Find(f.Target.Path, loader(t, r, set))
			if err != nil || cmp.Diff(single.Target, f.Target, cmp.AllowUnexported(tuf.Hashes{})) != "" {
				t.Errorf("Find says otherwise about %s: %v", f.Target.Path, err)
			}
			tree := f.Chain[len(f.Chain)-3].Role
			out = append(out, fmt.Sprint(f.Target.Path, " ", f.Target.Length, " ", tree))
		}
		return out
	}
	if diff := cmp.Diff([]string{flask + "/a.whl 2 claimed", flask + "/b.whl 1 claimed"}, list(flask)); diff != "" {
		t.Errorf("flask (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{django + "/a.whl 2 unclaimed", django + "/b.whl 1 unclaimed"}, list(django)); diff != "" {
		t.Errorf("django (-want +got):\n%s", diff)
	}
	for _, dir := range []string{testrepo.Bin("empty") + "/empty", "none", "", "0/none", flask + "/sub"} {
		if got, err := set.List(dir, loader(t, r, set)); !errors.Is(err, trust.ErrNotFound) {
			t.Errorf("%q: %v, %v", dir, got, err)
		}
	}
	// A terminating delegation of the whole folder spares the roles after it.
	r.ResetRequests()
	set = fresh(t, r)
	list(flask)
	for _, name := range r.Requests() {
		if strings.Contains(name, "unclaimed") {
			t.Errorf("%s was loaded and has no say", name)
		}
	}
}

// A terminating delegation of part of a folder leaves the rest to those after it.
func TestListPartlyTerminating(t *testing.T) {
	r := graph(t, arrow{"targets", "a", true, "d/*.whl"}, arrow{"targets", "b", false, "d/*"})
	for _, role := range []string{"a", "b"} {
		r.AddTarget(role, "d/1.whl", []byte("from "+role))
	}
	r.AddTarget("a", "d/4.zip", []byte("not a's to list"))
	r.AddTarget("b", "d/2.zip", []byte("from b"))
	r.AddTarget("b", "d/3.whl", []byte("not b's to list"))
	r.Publish()
	set := fresh(t, r)
	found, err := set.List("d", loader(t, r, set))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range found {
		got = append(got, fmt.Sprint(f.Target.Path, " ", f.Chain[1].Role))
	}
	if diff := cmp.Diff([]string{"d/1.whl a", "d/2.zip b"}, got); diff != "" {
		t.Error(diff)
	}
}

// A terminating delegation of a whole folder, in a role that has a say about
// part of it only, ends nothing for the rest.
func TestListTerminatingBelowPart(t *testing.T) {
	r := graph(t, arrow{"targets", "a", false, "d/*.whl"}, arrow{"targets", "b", false, "d/*"}, arrow{"a", "c", true, "d/*"})
	r.AddTarget("c", "d/1.whl", []byte("x"))
	r.AddTarget("b", "d/2.zip", []byte("x"))
	r.AddTarget("b", "d/3.whl", []byte("not b's to list"))
	r.Publish()
	set := fresh(t, r)
	found, err := set.List("d", loader(t, r, set))
	if err != nil || len(found) != 2 || found[0].Target.Path != "d/1.whl" || found[1].Target.Path != "d/2.zip" {
		t.Errorf("%v, %v", found, err)
	}
}

func TestExplain(t *testing.T) {
	r := graph(t,
		arrow{"targets", "a", false, ""}, arrow{"targets", "x", false, "other"}, arrow{"targets", "z", false, ""},
		arrow{"a", "targets2", false, "no"}, arrow{"a", "b", false, ""}, arrow{"b", "a", false, ""}, arrow{"b", "c", true, "n*"}, arrow{"b", "late", false, ""},
	)
	r.AddTarget("c", "name", []byte("x"))
	r.Publish()
	set := fresh(t, r)
	e := set.Explain("name", loader(t, r, set))
	if e.Err != nil || e.Found == nil || e.Path != "name" {
		t.Fatalf("%+v", e)
	}
	var got []string
	for _, s := range e.Steps {
		got = append(got, fmt.Sprintf("%s by %q: %s, %d unmatched, dropped %v, terminating %v, %v", s.Role, s.Delegator, s.Outcome, s.Unmatched, s.Dropped, s.Terminating, s.Patterns))
	}
	want := []string{
		`targets by "": not listed, 1 unmatched, dropped [], terminating false, []`,
		`a by "targets": not listed, 1 unmatched, dropped [], terminating false, [*]`,
		`b by "a": not listed, 0 unmatched, dropped [late z], terminating false, [*]`,
		`a by "b": already considered, 0 unmatched, dropped [], terminating false, [*]`,
		`c by "b": listed, 0 unmatched, dropped [], terminating true, [n*]`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
	if s := e.Steps[1]; s.Version != 1 || !s.Expires.Equal(r.Now().Add(365*24*time.Hour)) {
		t.Errorf("%+v", s)
	}
	if e := set.Explain("missing", loader(t, r, set)); !errors.Is(e.Err, trust.ErrNotFound) || e.Found != nil {
		t.Errorf("%+v", e)
	}
}

func TestDelegated(t *testing.T) {
	r := testrepo.New(t, testrepo.Options{})
	r.Bailiwick(testrepo.Project{Name: "flask", Claimed: true, Files: map[string][]byte{"f": nil}})
	set := fresh(t, r)
	load := loader(t, r, set)
	bin := tuf.RoleName("claimed-" + testrepo.Bin("flask"))
	got, err := set.Delegated(load, "claimed", bin, "project.flask")
	if err != nil || got.Len() != 1 {
		t.Fatalf("%v, %v", got, err)
	}
	if got, err := set.Delegated(load); err != nil || got != set.Targets() {
		t.Errorf("no names: %v, %v", got, err)
	}
	_, err = set.Delegated(load, "claimed", "project.flask")
	refused(t, err, trust.Missing, "project.flask", "5.6.7")
	_, err = set.Delegated(load, "claimed", bin, "project.flask", "further")
	refused(t, err, trust.Missing, "further", "5.6.7")
	r.SwapKey("project.flask")
	set = fresh(t, r)
	_, err = set.Delegated(loader(t, r, set), "claimed", bin, "project.flask")
	refused(t, err, trust.Threshold, "project.flask", "5.6.3")
}

func TestSetIsSafeForConcurrentUse(t *testing.T) {
	r := testrepo.New(t, testrepo.Options{})
	r.Bailiwick(testrepo.Project{Name: "flask", Claimed: true, Files: map[string][]byte{"f": nil}})
	set := fresh(t, r)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			path := tuf.TargetPath(testrepo.ProjectPath("flask", "f"))
			for range 20 {
				if f, err := set.Find(path, loader(t, r, set)); err != nil || len(f.Chain[3].Signers) != 1 {
					t.Error(err)
				}
				if e := set.Explain(path, loader(t, r, set)); e.Err != nil {
					t.Error(e.Err)
				}
			}
		})
	}
	wg.Wait()
}
