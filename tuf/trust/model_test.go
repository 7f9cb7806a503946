package trust_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"example.com/bailiwick/internal/testrepo"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/trust"
)

// modelRole is a role of the naive model of 5.6.7.
type modelRole struct {
	lists bool
	to    []arrow
}

// modelSearch is 5.6.7 as one would say it: visit, then each matching delegation
// in turn, until the path is listed or a terminating one was gone through. It
// returns the roles visited and who lists the path.
func modelSearch(roles map[string]*modelRole, at string, visited map[string]bool, order *[]string) (found string, ended bool) {
	visited[at] = true
	*order = append(*order, at)
	if roles[at].lists {
		return at, true
	}
	for _, d := range roles[at].to {
		if d.paths == "other" {
			continue
		}
		if !visited[d.to] {
			if found, ended := modelSearch(roles, d.to, visited, order); ended {
				return found, true
			}
		}
		if d.terminating {
			return "", true
		}
	}
	return "", false
}

// TestSearchIsTheModel compares the search with the model over random graphs.
func TestSearchIsTheModel(t *testing.T) {
	rapid.Check(t, searchIsTheModel(t))
}

// FuzzSearch does the same, guided by coverage.
func FuzzSearch(f *testing.F) {
	sum := sha256.Sum256([]byte("graphs"))
	for range 40 { // enough bytes for a graph each
		var data []byte
		for len(data) < 2000 {
			sum = sha256.Sum256(sum[:])
			data = append(data, sum[:]...)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) { rapid.MakeFuzz(searchIsTheModel(t))(t, data) })
}

func searchIsTheModel(t *testing.T) func(*rapid.T) {
	names := []string{"targets", "a", "b", "c", "d", "e", "f"}
	return func(rt *rapid.T) {
		roles := map[string]*modelRole{}
		r := testrepo.New(t, testrepo.Options{})
		for _, name := range names {
			roles[name] = &modelRole{lists: rapid.IntRange(0, 5).Draw(rt, name+" lists") == 0}
		}
		for range rapid.IntRange(0, 14).Draw(rt, "delegations") {
			from := roles[rapid.SampledFrom(names).Draw(rt, "from")]
			d := arrow{
				to:          rapid.SampledFrom(names[1:]).Draw(rt, "to"),
				terminating: rapid.IntRange(0, 3).Draw(rt, "terminating") == 0,
				paths:       rapid.SampledFrom([]string{"*", "*", "*", "other", "n*"}).Draw(rt, "paths"),
			}
			double := false
			for _, o := range from.to {
				double = double || o.to == d.to // names are unique within a role
			}
			if !double {
				from.to = append(from.to, d)
			}
		}
		for _, name := range names {
			for _, d := range roles[name].to {
				r.Delegate(name, testrepo.Delegation{Name: d.to, Paths: []string{d.paths}, Terminating: d.terminating, Holders: testrepo.One("shared")})
			}
		}
		for _, name := range names {
			if r.Roles[name] == nil {
				continue
			}
			if roles[name].lists {
				r.AddTarget(name, "name", []byte("by "+name))
			}
			if rapid.Bool().Draw(rt, name+" lists other") {
				r.AddTarget(name, "other", []byte("by "+name))
			}
		}
		r.Publish()

		var want []string
		lister, _ := modelSearch(roles, "targets", map[string]bool{}, &want)
		set := fresh(t, r)
		e := set.Explain("name", loader(t, r, set))
		var got []string
		for _, s := range e.Steps {
			if s.Outcome != trust.Revisited {
				got = append(got, string(s.Role))
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			rt.Fatalf("visited %v, the model %v", got, want)
		}
		switch {
		case lister == "" && !errors.Is(e.Err, trust.ErrNotFound):
			rt.Fatalf("got %v, %v; the model finds nothing", e.Found, e.Err)
		case lister != "" && (e.Err != nil || e.Found.Target.Length != int64(len("by "+lister))):
			rt.Fatalf("got %v, %v; the model finds %s", e.Found, e.Err, lister)
		}
		listsWhatFindFinds(t, rt, set, loader(t, r, set))
	}
}

// listsWhatFindFinds compares a list with searches for all there is in the folder.
func listsWhatFindFinds(t *testing.T, rt *rapid.T, set *trust.Set, load trust.Loader) {
	t.Helper()
	var want, got []string
	for _, path := range []tuf.TargetPath{"name", "other"} {
		if f, err := set.Find(path, load); err == nil {
			want = append(want, fmt.Sprint(path, " by ", f.Chain[len(f.Chain)-1].Role))
		}
	}
	found, err := set.List("", load)
	for _, f := range found {
		got = append(got, fmt.Sprint(f.Target.Path, " by ", f.Chain[len(f.Chain)-1].Role))
	}
	if fmt.Sprint(got) != fmt.Sprint(want) || errors.Is(err, trust.ErrNotFound) != (want == nil) {
		rt.Fatalf("listed %v, %v; found %v", got, err, want)
	}
}

// BenchmarkFind is a search in a warm Set: what a proxy does for each page.
func BenchmarkFind(b *testing.B) {
	r := testrepo.New(b, testrepo.Options{})
	r.Bailiwick(testrepo.Project{Name: "flask", Claimed: true, Files: map[string][]byte{"f": []byte("x")}})
	set := setOf(b, r)
	load := func(role tuf.RoleName, _ tuf.Meta) ([]byte, error) { return r.Bytes(string(role)), nil }
	path := tuf.TargetPath(testrepo.ProjectPath("flask", "f"))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := set.Find(path, load); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkNext is what a publication costs to check: a new snapshot and
// timestamp over 10,000 roles, of which one changed.
func BenchmarkNext(b *testing.B) {
	r := testrepo.New(b, testrepo.Options{})
	for i := range 10_000 {
		r.Roles[fmt.Sprintf("project.p%04d", i)] = &testrepo.Role{Name: fmt.Sprintf("project.p%04d", i), Holders: testrepo.One("registry")}
		r.Versions[fmt.Sprintf("project.p%04d", i)] = 1
	}
	r.Publish()
	set := setOf(b, r)
	r.Touch("project.p5000")
	r.Publish()
	b.ReportAllocs()
	for b.Loop() {
		ts, err := set.Next(r.Now()).Done()
		if err != nil {
			b.Fatal(err)
		}
		ss, err := ts.Accept(r.Bytes("timestamp"))
		if err != nil {
			b.Fatal(err)
		}
		tg, err := ss.Accept(r.Bytes("snapshot"))
		if err != nil {
			b.Fatal(err)
		}
		if _, ok := tg.Keep(); !ok {
			b.Fatal("targets did not change")
		}
	}
}

func setOf(b *testing.B, r *testrepo.Repo) *trust.Set {
	b.Helper()
	s, err := trust.Begin(r.Root(1), r.Now(), trust.Options{})
	if err != nil {
		b.Fatal(err)
	}
	ts, err := s.Done()
	if err != nil {
		b.Fatal(err)
	}
	ss, err := ts.Accept(r.Bytes("timestamp"))
	if err != nil {
		b.Fatal(err)
	}
	tg, err := ss.Accept(r.Bytes("snapshot"))
	if err != nil {
		b.Fatal(err)
	}
	set, err := tg.Accept(r.Bytes("targets"))
	if err != nil {
		b.Fatal(err)
	}
	return set
}
