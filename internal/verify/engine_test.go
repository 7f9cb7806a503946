package verify_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/testrepo"
	"example.com/bailiwick/internal/verify"
	"example.com/bailiwick/tuf/client"
)

func TestInstall(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	listing, err := e.Project(t.Context(), project(t, "flask"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range listing.Files {
		names = append(names, f.Entry.Filename)
		if f.Assurance != policy.Claimed || f.Problem != nil || f.Entry.Version != "3.1.0" || f.Entry.UploadTime.IsZero() {
			t.Errorf("entry of %s: %+v", f.Entry.Filename, f)
		}
	}
	if diff := cmp.Diff([]string{flaskWheel, flaskSdist}, names); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	for projectName, name := range map[string]string{"flask": flaskWheel, "oldlib": oldWheel} {
		got, err := read(t.Context(), e, project(t, projectName), name)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, w.content(projectName, name)) {
			t.Errorf("%s: not the bytes that were signed", name)
		}
	}
	want := "2 files verified: 1 claimed, 1 unclaimed (snapshot 3, good for another 24 hours)"
	if got := e.Summary().Line(w.clock.Now()); got != want {
		t.Errorf("summary %q, want %q", got, want)
	}
	if n := w.cache.opened(); n != 0 {
		t.Errorf("%d files of the cache were left open", n)
	}
}

func TestRecentlyClaimed(t *testing.T) {
	w := newWorld(t)
	w.AddProject(testrepo.Project{Name: "fresh", Holders: testrepo.One("fresh")})
	name := "fresh-1.0-py3-none-any.whl"
	w.AddTargetCustom("project.fresh", testrepo.ProjectPath("fresh", name), []byte("new"), custom("1.0", ""))
	w.Publish()
	e := w.engine()
	if _, err := read(t.Context(), e, project(t, "fresh"), name); err != nil {
		t.Fatal(err)
	}
	if got := e.Summary().Verified[policy.RecentlyClaimed]; got != 1 {
		t.Errorf("%d recently claimed, want 1: %+v", got, e.Verdicts())
	}
}

func TestOneSnapshotServesTheSession(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	if err := e.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	newer := "oldlib-2.0-py3-none-any.whl"
	w.AddTargetCustom("project.oldlib", testrepo.ProjectPath("oldlib", newer), []byte("two"), custom("2.0", ""))
	w.Publish()
	w.later(time.Hour)
	w.ResetRequests()
	listing, err := e.Project(t.Context(), project(t, "oldlib"))
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := listing.File(newer); ok {
		t.Error("a file of a later moment is listed")
	}
	if slices.Contains(w.Requests(), "timestamp.json") {
		t.Errorf("the session asked for news: %q", w.Requests())
	}
	fresh, err := w.engine().Project(t.Context(), project(t, "oldlib"))
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := fresh.File(newer); !ok {
		t.Error("the next session does not list the new file")
	}
}

func TestLongLivedEngineRefreshes(t *testing.T) {
	w := newWorld(t)
	e := w.engine(func(c *verify.Config) { c.Refresh = 10 * time.Second })
	list := func() *verify.Listing {
		t.Helper()
		listing, err := e.Project(t.Context(), project(t, "oldlib"))
		if err != nil {
			t.Fatal(err)
		}
		return listing
	}
	first := list()
	newer := "oldlib-2.0-py3-none-any.whl"
	w.AddTargetCustom("project.oldlib", testrepo.ProjectPath("oldlib", newer), []byte("two"), custom("2.0", ""))
	w.Publish()
	w.later(9 * time.Second)
	if list() != first {
		t.Error("refreshed before its time")
	}
	w.later(time.Second)
	if _, ok := list().File(newer); !ok {
		t.Error("did not refresh in its time")
	}
	w.later(10 * time.Second)
	w.ResetRequests()
	list()
	if got, want := w.Requests(), []string{"2.root.json", "timestamp.json"}; !slices.Equal(got, want) {
		t.Errorf("with nothing new it asked for %q, want %q", got, want)
	}
}

func TestNotFoundIsNotTrouble(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	_, err := e.Project(t.Context(), project(t, "nosuch"))
	if got := wantProblem(t, err, verify.NotFound, verify.CodeNotListed).Error(); got != "nosuch is not in the verified index" {
		t.Errorf("sentence: %q", got)
	}
	_, err = e.Open(t.Context(), project(t, "flask"), "flask-9.9-py3-none-any.whl")
	wantProblem(t, err, verify.NotFound, verify.CodeNotListed)
	if s := e.Summary(); s.Worst() != "" || s.Files() != 0 || s.Line(w.clock.Now()) != "" {
		t.Errorf("summary %+v", s)
	}
}

// TestPagesOutliveTrouble: in a long-lived engine what was listed stays listed, refused with the
// reason, and comes back when the trouble is over.
func TestPagesOutliveTrouble(t *testing.T) {
	w := newWorld(t)
	e := w.engine(func(c *verify.Config) { c.Refresh, c.Remember = 10*time.Second, time.Minute })
	flask := project(t, "flask")
	before, err := e.Project(t.Context(), flask)
	if err != nil {
		t.Fatal(err)
	}
	w.SwapKey("timestamp")
	w.later(10 * time.Second)
	during, err := e.Project(t.Context(), flask)
	if err != nil {
		t.Fatal(err)
	}
	if len(during.Files) != len(before.Files) || during.Problem == nil {
		t.Fatalf("listing during trouble: %+v", during)
	}
	_, err = e.Open(t.Context(), flask, flaskWheel)
	refused := wantProblem(t, err, verify.Unusable, "threshold")
	if refused.Subject != flaskWheel || !strings.Contains(refused.Error(), "timestamp version 3 is not signed by enough of its keys") {
		t.Errorf("sentence: %v", refused)
	}
	_, err = e.Project(t.Context(), project(t, "oldlib"))
	if got := wantProblem(t, err, verify.Unusable, "threshold"); got.Subject != "" {
		t.Errorf("trouble of the whole repository is told as that of %q", got.Subject)
	}
	if s := e.Summary(); s.Worst() != verify.Unusable || len(s.Problems) != 1 {
		t.Errorf("summary has %d problems, want 1, the repository's: %v", len(s.Problems), s.Problems)
	}
	w.Restore("timestamp")
	w.later(time.Second)
	if _, err := read(t.Context(), e, flask, flaskWheel); err != nil {
		t.Errorf("after the trouble: %v", err)
	}
}

func TestOutageWithinExpiry(t *testing.T) {
	w := newWorld(t)
	e := w.engine(func(c *verify.Config) { c.Refresh = 10 * time.Second })
	if err := e.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	down := testrepo.Fault{Err: &client.NetworkError{URL: source, Err: errors.New("connection refused")}}
	w.Break("2.root.json", down)
	w.Break("timestamp.json", down)
	w.later(time.Hour)
	if err := e.Refresh(t.Context()); err != nil {
		t.Errorf("an outage within the life of the timestamp: %v", err)
	}
	w.later(24 * time.Hour)
	err := e.Refresh(t.Context())
	if got := wantProblem(t, err, verify.Unreachable, verify.CodeNetwork).Error(); got != "cannot reach https://pkgs.example.com: connection refused" {
		t.Errorf("sentence: %q", got)
	}
	if got := e.Summary().Worst(); got != verify.Unreachable {
		t.Errorf("worst %q", got)
	}
	w.Break("2.root.json", testrepo.Fault{})
	w.Break("timestamp.json", testrepo.Fault{})
	w.PublishTimestamp()
	w.later(time.Second)
	if err := e.Refresh(t.Context()); err != nil {
		t.Errorf("after the outage: %v", err)
	}
	if got := e.Summary().Worst(); got != "" {
		t.Errorf("an outage that is over still decides: %q", got)
	}
}

func TestFailedRefreshIsNotRepeatedAtOnce(t *testing.T) {
	w := newWorld(t)
	w.DropSignatures("timestamp")
	e := w.engine()
	for range 5 {
		wantProblem(t, e.Refresh(t.Context()), verify.Unusable, "threshold")
	}
	asked := 0
	for _, name := range w.Requests() {
		if name == "timestamp.json" {
			asked++
		}
	}
	if asked != 1 {
		t.Errorf("asked %d times within a moment", asked)
	}
}

func TestUnusableEntries(t *testing.T) {
	w := newWorld(t)
	bad := map[string]any{"version": "not a version"}
	good := "mixed-1.0-py3-none-any.whl"
	w.AddProject(testrepo.Project{Name: "mixed"})
	w.AddTargetCustom("project.mixed", testrepo.ProjectPath("mixed", good), []byte("good"), custom("1.0", ""))
	w.AddTargetCustom("project.mixed", testrepo.ProjectPath("mixed", "mixed-2.0-py3-none-any.whl"), []byte("bad"), bad)
	w.AddProject(testrepo.Project{Name: "broken"})
	broken := "broken-1.0-py3-none-any.whl"
	w.AddTargetCustom("project.broken", testrepo.ProjectPath("broken", broken), []byte("bad"), bad)
	w.Publish()
	e := w.engine()
	listing, err := e.Project(t.Context(), project(t, "mixed"))
	if err != nil || len(listing.Files) != 1 || listing.Files[0].Entry.Filename != good {
		t.Errorf("one bad entry beside a good one: %+v, %v", listing, err)
	}
	listing, err = e.Project(t.Context(), project(t, "broken"))
	if err != nil || len(listing.Files) != 1 || listing.Problem == nil {
		t.Fatalf("nothing but a bad entry: %+v, %v", listing, err)
	}
	_, err = e.Open(t.Context(), project(t, "broken"), broken)
	wantProblem(t, err, verify.Refused, verify.CodeEntry)
}

func TestConfig(t *testing.T) {
	w := newWorld(t)
	c, err := client.New(client.Config{Fetcher: w.fetcher, Store: w.store, Root: w.Root(1), Now: w.clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	good := verify.Config{Client: c, Fetcher: w.fetcher, Now: w.clock.Now}
	for name, spoil := range map[string]func(*verify.Config){
		"no client":         func(c *verify.Config) { c.Client = nil },
		"no fetcher":        func(c *verify.Config) { c.Fetcher = nil },
		"no clock":          func(c *verify.Config) { c.Now = nil },
		"negative refresh":  func(c *verify.Config) { c.Refresh = -1 },
		"negative transfer": func(c *verify.Config) { c.Transfers = -1 },
	} {
		bad := good
		spoil(&bad)
		if _, err := verify.New(bad); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
