package gotuf_test

import (
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"example.com/bailiwick/internal/testrepo"
)

// stolen is a repository with flask claimed, of whose server a thief has the keys timestamp, snapshot and
// registry, and forges a file of flask with them. Its files do not say which role they are.
func stolen(t *testing.T) (r *testrepo.Repo, p place, path string) {
	t.Helper()
	r = testrepo.New(t, testrepo.Options{})
	r.Clock = time.Now().UTC().Truncate(time.Minute)
	r.PublishRoot()
	files := map[string][]byte{"1.whl": []byte("honest content")}
	r.Bailiwick(
		testrepo.Project{Name: "flask", Claimed: true, Files: files},
		testrepo.Project{Name: "django", Claimed: true, Files: files},
		testrepo.Project{Name: "oldlib", Files: files},
	)
	path = testrepo.ProjectPath("flask", "1.whl")
	r.Steal(path, []byte("forged by a thief"))
	server := httptest.NewServer(r.Handler())
	t.Cleanup(server.Close)
	return r, place{server.URL, r.Root(1)}, path
}

// TestSwappedFilesAreOfNoUse: decision 13. A thief serves files that were signed offline under each other's
// names; no stock client that looks for a claimed project finds what the thief forged.
func TestSwappedFilesAreOfNoUse(t *testing.T) {
	py := startPython(t)
	r, p, path := stolen(t)
	bin := "claimed-" + testrepo.Bin("flask")
	way := map[string]bool{
		"targets": true, "claimed": true, bin: true, "claimed-" + testrepo.Bin("django"): true, "claimed-0": true, "unclaimed": true,
	}
	var files []testrepo.File
	for _, f := range r.Offline() {
		if way[f.Role] {
			files = append(files, f)
		}
	}
	var swaps []map[string]testrepo.File
	for _, f := range files {
		for _, name := range []string{"targets", "claimed", bin, "unclaimed", "unclaimed-" + testrepo.Bin("flask"), "project.flask"} {
			swaps = append(swaps, map[string]testrepo.File{name: f})
		}
		for _, g := range files {
			swaps = append(swaps, map[string]testrepo.File{"claimed": f, bin: g})
		}
	}
	before, seen := r.Moment(), map[string]int{}
	for _, as := range swaps {
		r.Swap(as)
		for name, look := range map[string]look{"ours": ours, "go-tuf": goTUF, "python-tuf": py.look} {
			v := look(t, t.TempDir(), p, path)
			seen[name+" "+v.what]++
			if v.what == crashed || v.what == accepted && v != got("honest content") {
				t.Errorf("%s, %s: %v", testrepo.Swapped(as), name, v)
			}
		}
		r.Replay(before)
		clear(r.ListEdit)
	}
	// Two of the roles have no say about flask, the other four are in place once, the bin leads to flask in the
	// place of claimed, too; and so with two at once.
	want := 2*len(files) + 3 + 1 + 1 + len(files)
	for _, name := range []string{"ours", "go-tuf", "python-tuf"} {
		if seen[name+" "+accepted] != want || seen[name+" "+notFound] == 0 || seen[name+" "+refused] == 0 {
			t.Errorf("%s: %v, want %d accepted", name, seen, want)
		}
	}
}

// TestNamesAreNotEdges is why a stock client needs a new session for every path: it keeps what it verified by
// the name of the role. The thief has the registry's bin delegate a path of oldlib to the name of flask's role, with keys
// of their own; once that was looked up, the name stands for the thief's file. Ours keeps what
// was verified with the keys that it was verified by.
func TestNamesAreNotEdges(t *testing.T) {
	py := startPython(t)
	for name, c := range map[string]struct {
		look   func(t *testing.T, folder string, p place, path string, before ...string) verdict
		before bool // whether flask was looked up before oldlib
		fooled bool
	}{
		"ours":                       {oursSession, false, false},
		"ours, flask at first":       {oursSession, true, false},
		"go-tuf":                     {goTUFSession, false, true},
		"python-tuf":                 {py.session, false, false},
		"python-tuf, flask at first": {py.session, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			r, p, path := stolen(t)
			old := testrepo.ProjectPath("oldlib", "1.whl")
			// The honest role, and for who asks again the thief's, under one name and version.
			honest := r.Bytes("project.flask")
			forged := forgedRole(r, path)
			server := httptest.NewServer(&turning{r: r, name: "/metadata/" + r.FileName("project.flask"), first: honest, then: forged, honestFirst: c.before})
			defer server.Close()
			p.url = server.URL
			before := []string{old}
			if c.before {
				before = []string{path, old}
			}
			v := c.look(t, t.TempDir(), p, path, before...)
			if fooled := v == got("forged by a thief"); fooled != c.fooled {
				t.Errorf("%v; fooled %t, want %t", v, fooled, c.fooled)
			}
			if v := c.look(t, t.TempDir(), p, path); v.what == accepted && v != got("honest content") {
				t.Errorf("a session of its own: %v", v)
			}
		})
	}
}

// forgedRole has the bin of oldlib delegate all of oldlib to the name of flask's role, with the registry's key,
// and returns what the thief signs under that name.
func forgedRole(r *testrepo.Repo, path string) []byte {
	bin := r.Roles["unclaimed-"+testrepo.Bin("oldlib")]
	thief := testrepo.Delegation{Name: "project.flask", Paths: []string{"*/*/*"}, Holders: testrepo.One("registry"), Terminating: true}
	bin.Delegations = append([]testrepo.Delegation{thief}, bin.Delegations...)
	r.Touch(bin.Name)
	r.Publish()
	targets := map[string]any{}
	for p, entry := range r.Roles["thief"].Targets {
		targets[p] = entry
	}
	return testrepo.Envelope(map[string]any{
		"_type": "targets", "spec_version": "1.0.34", "version": r.Versions["project.flask"], "targets": targets,
		"expires": "2099-01-01T00:00:00Z",
	}, testrepo.NewKey("registry-1"))
}

// turning serves a repository in which one file is another one from the second time on.
type turning struct {
	r           *testrepo.Repo
	name        string
	first, then []byte
	honestFirst bool

	mu    sync.Mutex
	asked int
}

func (s *turning) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if req.URL.Path != s.name {
		s.r.Handler().ServeHTTP(w, req)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	if s.honestFirst && s.asked == 1 {
		_, _ = w.Write(s.first)
		return
	}
	_, _ = w.Write(s.then)
}
