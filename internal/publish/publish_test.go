package publish_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"example.com/bailiwick/internal/ledger"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/internal/publish/publishtest"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/trust"
)

func TestMain(m *testing.M) {
	// A history takes about 0.1 s. The command line can ask for more: -rapid.checks=1000.
	if err := flag.Set("rapid.checks", "25"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

// start makes a repository in memory and a running publisher on it.
func start(t *testing.T) (*publish.Publisher, *faulty, publishtest.Keys) {
	t.Helper()
	l := newFaulty(ledger.NewMemory())
	keys := publishtest.Create(t, l, publishtest.Options{})
	return publishtest.Run(t, publish.Config{Ledger: l, Signers: keys.Online()}), l, keys
}

func add(t testing.TB, name, content string) publish.AddFile {
	t.Helper()
	return publish.AddFile{File: publishtest.File(t, name, content)}
}

func must(t *testing.T, p *publish.Publisher, c publish.Change) publish.Receipt {
	t.Helper()
	r, err := p.Publish(t.Context(), c)
	if err != nil {
		t.Fatalf("publishing %+v: %v", c, err)
	}
	return r
}

func project(t testing.TB, name string) pypi.Project {
	t.Helper()
	p, err := pypi.ParseProject(name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// names lists the files of a project as a client of the current view sees them, yanked ones with
// their reason.
func names(t *testing.T, p *publish.Publisher, name string) []string {
	t.Helper()
	found, _, err := p.Current().Project(t.Context(), project(t, name))
	if errors.Is(err, trust.ErrNotFound) {
		return []string{"no such project"}
	}
	if err != nil {
		t.Fatal(err)
	}
	out := []string{}
	for _, f := range found {
		file, err := policy.File(f.Target)
		if err != nil {
			t.Fatal(err)
		}
		text := file.Filename
		if file.Yanked != nil {
			text += " yanked: " + *file.Yanked
		}
		out = append(out, text)
	}
	return out
}

func wantNames(t *testing.T, p *publish.Publisher, name string, want ...string) {
	t.Helper()
	if want == nil {
		want = []string{}
	}
	if diff := cmp.Diff(want, names(t, p, name)); diff != "" {
		t.Errorf("files of %s (-want +got):\n%s", name, diff)
	}
}

// check verifies the whole stored repository.
func check(t *testing.T, l publish.Ledger) {
	t.Helper()
	if err := publish.Check(t.Context(), l); err != nil {
		t.Errorf("the repository does not verify: %v", err)
	}
}

const wheel = "flask-3.1.0-py3-none-any.whl"

func TestPublishMakesAFileVisible(t *testing.T) {
	p, l, _ := start(t)
	sum := [32]byte{1, 2, 3}
	c := add(t, wheel, "wheel")
	c.File.MetadataSHA256, c.File.RequiresPython = &sum, ">=3.9"
	r := must(t, p, c)
	if r.Unchanged || r.Publication != 2 || r.Publication != p.Current().Number() {
		t.Errorf("receipt is %+v, want publication 2, the current one", r)
	}
	v := p.Current()
	found, err := v.Find(t.Context(), v.Layout().Path(c.File.Project, c.File.Filename))
	if err != nil {
		t.Fatal(err)
	}
	file, err := policy.File(found.Target)
	if err != nil {
		t.Fatal(err)
	}
	if file.SHA256 != c.File.SHA256 || file.Size != c.File.Size || *file.MetadataSHA256 != sum ||
		file.RequiresPython != ">=3.9" || !file.UploadTime.Equal(publishtest.Start()) || file.Version != "3.1.0" {
		t.Errorf("listed as %+v", file)
	}
	roles := make([]tuf.RoleName, 0, 6)
	for _, link := range found.Chain {
		roles = append(roles, link.Role)
	}
	want := slices.Concat([]tuf.RoleName{"targets"}, v.Layout().UnclaimedChain(c.File.Project), []tuf.RoleName{"project.flask"})
	if !slices.Equal(roles, want) {
		t.Errorf("found through %v, want %v", roles, want)
	}
	stored, err := l.File(t.Context(), c.File.Filename)
	if err != nil || stored.Uploader != "test" || !stored.Uploaded.Equal(publishtest.Start()) {
		t.Errorf("the ledger holds %+v, %v", stored, err)
	}
	check(t, l)
}

func TestPublishingTwice(t *testing.T) {
	p, l, _ := start(t)
	first := must(t, p, add(t, wheel, "a"))
	before := l.count()
	again := must(t, p, add(t, wheel, "a"))
	if !again.Unchanged || again.Publication != first.Publication || l.count() != before {
		t.Errorf("the same file again gave %+v and %d commits", again, l.count()-before)
	}
	for _, c := range []publish.AddFile{add(t, wheel, "b"), add(t, wheel, "aa")} {
		if _, err := p.Publish(t.Context(), c); !errors.Is(err, publish.ErrFileExists) {
			t.Errorf("other bytes: %v, want ErrFileExists", err)
		}
	}
	must(t, p, publish.Delete{Project: project(t, "flask"), Files: []pypi.Filename{add(t, wheel, "").File.Filename}})
	wantNames(t, p, "flask")
	for _, content := range []string{"a", "b"} {
		if _, err := p.Publish(t.Context(), add(t, wheel, content)); !errors.Is(err, publish.ErrFileExists) {
			t.Errorf("after deletion, content %q: %v, want ErrFileExists", content, err)
		}
	}
	check(t, l)
}

func TestOneSdistForEachVersion(t *testing.T) {
	p, _, _ := start(t)
	must(t, p, add(t, "flask-3.1.0.tar.gz", "a"))
	if _, err := p.Publish(t.Context(), add(t, "flask-3.1.zip", "b")); !errors.Is(err, publish.ErrSdistExists) {
		t.Errorf("a second sdist of 3.1: %v, want ErrSdistExists", err)
	}
	must(t, p, add(t, "flask-3.2.tar.gz", "c"))
	must(t, p, publish.Delete{Project: project(t, "flask"), Files: []pypi.Filename{add(t, "flask-3.1.0.tar.gz", "").File.Filename}})
	must(t, p, add(t, "flask-3.1.zip", "b"))
	wantNames(t, p, "flask", "flask-3.1.zip", "flask-3.2.tar.gz")
}

func TestYank(t *testing.T) {
	p, l, _ := start(t)
	other := "flask-3.0-py3-none-any.whl"
	must(t, p, add(t, wheel, "a"))
	must(t, p, add(t, other, "b"))
	flask := project(t, "flask")
	files := []pypi.Filename{add(t, wheel, "").File.Filename}
	reason, none := "broken on Windows", ""

	must(t, p, publish.Yank{Project: flask, Files: files, Reason: &reason})
	wantNames(t, p, "flask", other, wheel+" yanked: broken on Windows")
	if r := must(t, p, publish.Yank{Project: flask, Files: files, Reason: &reason}); !r.Unchanged {
		t.Errorf("yanking again gave %+v, want unchanged", r)
	}
	must(t, p, publish.Yank{Project: flask, Files: files, Reason: &none})
	wantNames(t, p, "flask", other, wheel+" yanked: ")
	must(t, p, publish.Yank{Project: flask, Files: files})
	wantNames(t, p, "flask", other, wheel)
	if r := must(t, p, add(t, wheel, "a")); !r.Unchanged {
		t.Errorf("the file after all this: %+v, want unchanged", r)
	}
	absent := []pypi.Filename{files[0], add(t, "flask-9-py3-none-any.whl", "").File.Filename}
	if _, err := p.Publish(t.Context(), publish.Yank{Project: flask, Files: absent, Reason: &reason}); !errors.Is(err, publish.ErrNoFile) {
		t.Errorf("yanking what is not there: %v, want ErrNoFile", err)
	}
	if _, err := p.Publish(t.Context(), publish.Delete{Project: flask, Files: absent}); !errors.Is(err, publish.ErrNoFile) {
		t.Errorf("deleting what is not there: %v, want ErrNoFile", err)
	}
	wantNames(t, p, "flask", other, wheel)
	control := "a\nb"
	if _, err := p.Publish(t.Context(), publish.Yank{Project: flask, Files: files, Reason: &control}); !errors.Is(err, policy.ErrCustom) {
		t.Errorf("a reason of two lines: %v, want policy.ErrCustom", err)
	}
	check(t, l)
}

func TestInvalidChanges(t *testing.T) {
	p, l, _ := start(t)
	before := l.count()
	good := add(t, wheel, "a").File
	with := func(edit func(f *publish.File)) publish.Change {
		f := good
		edit(&f)
		return publish.AddFile{File: f}
	}
	long := strings.Repeat("x", 2000)
	for name, c := range map[string]publish.Change{
		"no file":          publish.AddFile{},
		"other project":    with(func(f *publish.File) { f.Project = project(t, "django") }),
		"negative size":    with(func(f *publish.File) { f.Size = -1 }),
		"no version":       with(func(f *publish.File) { f.Version = "" }),
		"long uploader":    with(func(f *publish.File) { f.Uploader = long }),
		"yank nothing":     publish.Yank{Project: good.Project},
		"yank foreign":     publish.Yank{Project: project(t, "django"), Files: []pypi.Filename{good.Filename}},
		"long reason":      publish.Yank{Project: good.Project, Files: []pypi.Filename{good.Filename}, Reason: &long},
		"delete nothing":   publish.Delete{Project: good.Project},
		"delete no name":   publish.Delete{Project: good.Project, Files: []pypi.Filename{{}}},
		"delete very much": publish.Delete{Project: good.Project, Files: make([]pypi.Filename, 20_000)},
	} {
		if _, err := p.Publish(t.Context(), c); !errors.Is(err, publish.ErrInvalid) {
			t.Errorf("%s: %v, want ErrInvalid", name, err)
		}
	}
	if l.count() != before {
		t.Error("something was committed")
	}
}

func TestGroupCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, l, _ := start(t)
		reached, release := l.hold()
		const n = 50
		errs := make(chan error, n+1)
		send := func(c publish.Change) {
			_, err := p.Publish(t.Context(), c)
			errs <- err
		}
		go send(add(t, "first-1-py3-none-any.whl", "x"))
		<-reached
		before := l.count()
		for i := range n {
			// Several files of one project, and several new projects, share a publication.
			go send(add(t, fmt.Sprintf("project%d-%d-py3-none-any.whl", i%7, i), "x"))
		}
		synctest.Wait()
		release()
		for range n + 1 {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
		if made := l.count() - before; made != 2 {
			t.Errorf("%d publications for one change and %d that waited for it, want 2", made, n)
		}
		if got := len(names(t, p, "project3")); got != 7 {
			t.Errorf("project3 has %d files, want 7", got)
		}
		check(t, l)
	})
}

func TestOneBadChangeAmongMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newFaulty(ledger.NewMemory())
		keys := publishtest.Create(t, l, publishtest.Options{Claimed: []string{"claimed"}, Recent: []string{"recent"}})
		p := publishtest.Run(t, publish.Config{Ledger: l, Signers: keys.Online()})
		must(t, p, add(t, wheel, "a"))
		reached, release := l.hold()
		done := make(chan error, 1)
		go func() {
			_, err := p.Publish(t.Context(), add(t, "first-1-py3-none-any.whl", "x"))
			done <- err
		}()
		<-reached
		before := l.count()
		cases := []struct {
			change publish.Change
			want   error
		}{
			{add(t, "good-1-py3-none-any.whl", "x"), nil},
			{add(t, wheel, "other bytes"), publish.ErrFileExists},
			{add(t, wheel, "a"), nil}, // unchanged
			{add(t, "claimed-1-py3-none-any.whl", "x"), publish.ErrNotRegistry},
			{add(t, "recent-1-py3-none-any.whl", "x"), publish.ErrNotRegistry},
			{publish.Delete{Project: project(t, "good"), Files: []pypi.Filename{add(t, "good-7-py3-none-any.whl", "").File.Filename}}, publish.ErrNoFile},
			{add(t, "flask-4-py3-none-any.whl", "x"), nil},
			{func() publish.Change {
				c := add(t, "spec-1-py3-none-any.whl", "x")
				c.File.RequiresPython = "not a specifier"
				return c
			}(), policy.ErrCustom},
			{add(t, "good-2-py3-none-any.whl", "x"), nil},
		}
		results := make([]chan error, len(cases))
		for i, c := range cases {
			results[i] = make(chan error, 1)
			go func() {
				_, err := p.Publish(t.Context(), c.change)
				results[i] <- err
			}()
		}
		synctest.Wait()
		release()
		if err := <-done; err != nil {
			t.Error(err)
		}
		for i, c := range cases {
			if err := <-results[i]; !errors.Is(err, c.want) {
				t.Errorf("change %d: %v, want %v", i, err, c.want)
			}
		}
		if made := l.count() - before; made != 2 {
			t.Errorf("%d publications, want 2", made)
		}
		wantNames(t, p, "good", "good-1-py3-none-any.whl", "good-2-py3-none-any.whl")
		wantNames(t, p, "flask", "flask-3.1.0-py3-none-any.whl", "flask-4-py3-none-any.whl")
		wantNames(t, p, "spec", "no such project")
		check(t, l)
	})
}

func TestBackPressure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newFaulty(ledger.NewMemory())
		keys := publishtest.Create(t, l, publishtest.Options{})
		p := publishtest.Run(t, publish.Config{Ledger: l, Signers: keys.Online(), Queue: 2, Batch: 1})
		reached, release := l.hold()
		errs := make(chan error, 3)
		send := func(i int) {
			_, err := p.Publish(t.Context(), add(t, fmt.Sprintf("p%d-1-py3-none-any.whl", i), "x"))
			errs <- err
		}
		go send(0)
		<-reached
		go send(1)
		go send(2)
		synctest.Wait()
		if _, err := p.Publish(t.Context(), add(t, "p3-1-py3-none-any.whl", "x")); !errors.Is(err, publish.ErrBusy) {
			t.Errorf("with a full queue: %v, want ErrBusy", err)
		}
		release()
		for range 3 {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
		must(t, p, add(t, "p3-1-py3-none-any.whl", "x"))
	})
}

func TestNobodyWaitsAnyMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, l, _ := start(t)
		reached, release := l.hold()
		done := make(chan error, 1)
		go func() {
			_, err := p.Publish(t.Context(), add(t, "first-1-py3-none-any.whl", "x"))
			done <- err
		}()
		<-reached
		ctx, cancel := context.WithCancel(t.Context())
		gone := make(chan error, 1)
		go func() {
			_, err := p.Publish(ctx, add(t, wheel, "a"))
			gone <- err
		}()
		synctest.Wait()
		cancel()
		if err := <-gone; !errors.Is(err, context.Canceled) {
			t.Errorf("after cancelling: %v, want context.Canceled", err)
		}
		release()
		if err := <-done; err != nil {
			t.Error(err)
		}
		must(t, p, add(t, "last-1-py3-none-any.whl", "x"))
		wantNames(t, p, "flask", "no such project")
	})
}

func TestClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := ledger.NewMemory()
		keys := publishtest.Create(t, l, publishtest.Options{})
		p, err := publish.Open(t.Context(), publish.Config{Ledger: l, Signers: keys.Online(), Now: publishtest.Start})
		if err != nil {
			t.Fatal(err)
		}
		waiting := make(chan error, 1)
		go func() { // queued before anything runs, and never served
			_, err := p.Publish(context.Background(), add(t, wheel, "a"))
			waiting <- err
		}()
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := p.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
		if err := <-waiting; !errors.Is(err, publish.ErrClosed) {
			t.Errorf("a change in the queue: %v, want ErrClosed", err)
		}
		if _, err := p.Publish(t.Context(), add(t, wheel, "a")); !errors.Is(err, publish.ErrClosed) {
			t.Errorf("a change afterwards: %v, want ErrClosed", err)
		}
	})
}

func TestClockSetBack(t *testing.T) {
	l := ledger.NewMemory()
	keys := publishtest.Create(t, l, publishtest.Options{})
	var now atomicTime
	now.set(publishtest.Start().Add(time.Hour))
	p := publishtest.Run(t, publish.Config{Ledger: l, Signers: keys.Online(), Now: now.get})
	must(t, p, add(t, "p1-1-py3-none-any.whl", "x"))

	now.set(publishtest.Start().Add(time.Hour - 5*time.Second))
	must(t, p, add(t, "p2-1-py3-none-any.whl", "x"))
	if got := p.Current().Time(); !got.Equal(publishtest.Start().Add(time.Hour)) {
		t.Errorf("with a little skew the publication is dated %v, before the last one", got)
	}
	now.set(publishtest.Start())
	if _, err := p.Publish(t.Context(), add(t, "p3-1-py3-none-any.whl", "x")); !errors.Is(err, publish.ErrClockBack) {
		t.Errorf("an hour back: %v, want ErrClockBack", err)
	}
	if s := p.Status(); !errors.Is(s.Failure, publish.ErrClockBack) {
		t.Errorf("status tells of %v, want ErrClockBack", s.Failure)
	}
	now.set(publishtest.Start().Add(2 * time.Hour))
	must(t, p, add(t, "p3-1-py3-none-any.whl", "x"))
	if s := p.Status(); s.Failure != nil {
		t.Errorf("status still tells of %v", s.Failure)
	}
	check(t, l)
}
