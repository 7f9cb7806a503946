package index_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"testing"

	"example.com/bailiwick/internal/files"
	"example.com/bailiwick/internal/index"
	"example.com/bailiwick/internal/ledger"
	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/internal/publish/publishtest"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/internal/pypi/distmake"
)

// newStopped is newFixture with a publisher that nobody runs, and that lets one change wait.
func newStopped(t *testing.T) *fixture {
	t.Helper()
	l := ledger.NewMemory()
	keys := publishtest.Create(t, l, publishtest.Options{})
	p, err := publish.Open(t.Context(), publish.Config{Ledger: l, Signers: keys.Online(), Now: publishtest.Start, Queue: 1})
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{t: t, files: &store{Files: files.NewMemory()}, tokens: l, publisher: p}
	f.index, err = index.New(index.Config{Publisher: p, Files: f.files, Tokens: l, Now: publishtest.Start})
	if err != nil {
		t.Fatal(err)
	}
	f.actor = f.login(nil)
	return f
}

func TestProjects(t *testing.T) {
	f := newFixture(t)
	list := func() ([]string, string) {
		ps, etag, err := f.index.Projects(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, p := range ps {
			names = append(names, p.String())
		}
		return names, etag
	}
	names, empty := list()
	if !slices.Equal(names, []string{"claimed", "recent"}) {
		t.Errorf("the index of this test begins with the projects %v", names)
	}
	f.upload(distmake.Wheel("zebra", "1.0", distmake.Options{}))
	f.upload(distmake.Wheel("Ant_Hill", "1.0", distmake.Options{}))
	f.upload(distmake.Wheel("ant", "1.0", distmake.Options{}))
	names, three := list()
	if !slices.Equal(names, []string{"ant", "ant-hill", "claimed", "recent", "zebra"}) {
		t.Errorf("projects are %v", names)
	}
	f.upload(distmake.Wheel("ant", "2.0", distmake.Options{}))
	if _, again := list(); again != three || three == empty {
		t.Errorf("entity tags: %s without projects, %s with three, %s after another release", empty, three, again)
	}
}

func TestProjectPage(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	_, _, err := f.index.Project(ctx, project(t, "demo"))
	refused(t, err, index.NotFound)
	file := distmake.Wheel("demo", "1.0", distmake.Options{})
	f.upload(file)
	etag := func() string {
		_, etag, err := f.index.Project(ctx, project(t, "demo"))
		if err != nil {
			t.Fatal(err)
		}
		return etag
	}
	seen := []string{etag()}
	f.upload(distmake.Wheel("other", "1.0", distmake.Options{}))
	if etag() != seen[0] {
		t.Error("the entity tag changed with another project")
	}
	name := filename(t, file.Name)
	reason := "broken"
	for _, change := range []func() error{
		func() error { f.upload(distmake.Wheel("demo", "2.0", distmake.Options{})); return nil },
		func() error {
			_, err := f.index.Yank(ctx, f.actor, name.Project(), name.Version(), &reason)
			return err
		},
		func() error { _, err := f.index.Delete(ctx, f.actor, name.Project(), name); return err },
	} {
		if err := change(); err != nil {
			t.Fatal(err)
		}
		if tag := etag(); slices.Contains(seen, tag) {
			t.Errorf("the entity tag %s did not change with the page", tag)
		} else {
			seen = append(seen, tag)
		}
	}
}

func TestOpenTargetRefusesOtherNames(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	file := distmake.Wheel("demo", "1.0", distmake.Options{})
	other := distmake.Wheel("demo", "2.0", distmake.Options{})
	f.upload(file)
	f.upload(other)
	name := filename(t, file.Name)
	page, _, err := f.index.Project(ctx, name.Project())
	if err != nil {
		t.Fatal(err)
	}
	dir := f.publisher.Current().Layout().Dir(name.Project())
	sum, otherSum := fmt.Sprintf("%x", page.Files[0].SHA256), fmt.Sprintf("%x", page.Files[1].SHA256)
	good := dir + "/" + sum + "." + file.Name
	opened, err := f.index.OpenTarget(ctx, good)
	content(t, opened, err)
	for _, bad := range []string{
		"", "/", ".", "..", good + "/", "/" + good, "x/" + good,
		dir + "/" + file.Name,
		dir + "/" + strings.ToUpper(sum) + "." + file.Name,
		dir + "/" + otherSum + "." + file.Name,
		dir + "/" + sum + "." + other.Name,
		dir + "/" + sum[1:] + "." + file.Name,
		dir + "/" + sum + "..whl",
		dir + "/" + sum + ".",
		strings.Replace(good, dir, "0/demo", 1) + "x",
		strings.Replace(good, dir, dir+"/..", 1),
		strings.Replace(good, "/demo/", "/other/", 1),
		good + ".metadata.metadata",
		good + ".sig",
		strings.Repeat("x", 1<<16),
		good + "\x00",
	} {
		if opened, err := f.index.OpenTarget(ctx, bad); err == nil {
			t.Errorf("%q was opened, %d bytes", bad, opened.Size())
		} else {
			refused(t, err, index.NotFound)
		}
	}
	absent := filename(t, "demo-3.0-py3-none-any.whl")
	_, err = f.index.OpenFile(ctx, absent.Project(), absent)
	refused(t, err, index.NotFound)
	absent = filename(t, "nobody-3.0-py3-none-any.whl")
	_, err = f.index.OpenMetadata(ctx, absent.Project(), absent)
	refused(t, err, index.NotFound)
	_, err = f.index.OpenFile(ctx, pypi.Project{}, pypi.Filename{})
	refused(t, err, index.NotFound)
}

func TestYankAndDelete(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	f.upload(distmake.Wheel("demo", "1.0", distmake.Options{}))
	f.upload(distmake.Sdist("demo", "1.0", distmake.Options{}))
	f.upload(distmake.Wheel("demo", "2.0", distmake.Options{}))
	version := func(s string) pypi.Version {
		v, err := pypi.ParseVersion(s)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	yanked := func() map[string]string {
		page, _, err := f.index.Project(ctx, project(t, "demo"))
		if err != nil {
			t.Fatal(err)
		}
		out := make(map[string]string)
		for _, file := range page.Files {
			if file.Yanked != nil {
				out[file.Filename] = *file.Yanked
			}
		}
		return out
	}
	reason := "breaks on Tuesdays"
	r, err := f.index.Yank(ctx, f.actor, project(t, "demo"), version("1.0.0"), &reason)
	if err != nil || r.Publication != f.publisher.Current().Number() {
		t.Fatalf("%+v, %v", r, err)
	}
	got := yanked()
	if len(got) != 2 || got["demo-1.0-py3-none-any.whl"] != reason || got["demo-1.0.tar.gz"] != reason {
		t.Errorf("yanked are %v", got)
	}
	if _, err := f.index.Yank(ctx, f.actor, project(t, "demo"), version("1"), nil); err != nil {
		t.Fatal(err)
	}
	if got := yanked(); len(got) != 0 {
		t.Errorf("still yanked are %v", got)
	}
	long, lines := strings.Repeat("x", 1025), "two\nlines"
	for _, bad := range []*string{&long, &lines} {
		_, err = f.index.Yank(ctx, f.actor, project(t, "demo"), version("1"), bad)
		refused(t, err, index.Invalid)
	}
	_, err = f.index.Yank(ctx, f.actor, project(t, "demo"), version("3"), &reason)
	refused(t, err, index.NotFound)
	_, err = f.index.Yank(ctx, f.actor, project(t, "nobody"), version("3"), &reason)
	refused(t, err, index.NotFound)
	name := filename(t, "demo-2.0-py3-none-any.whl")
	if _, err := f.index.Delete(ctx, f.actor, name.Project(), name); err != nil {
		t.Fatal(err)
	}
	_, err = f.index.Delete(ctx, f.actor, name.Project(), name)
	refused(t, err, index.NotFound)
	_, err = f.index.OpenFile(ctx, name.Project(), name)
	refused(t, err, index.NotFound)
}

// TestMetadataIsTakenOutOnce: to open a wheel costs memory, and anybody may ask.
func TestMetadataIsTakenOutOnce(t *testing.T) {
	f := newFixture(t)
	file := distmake.Wheel("demo", "1.0", distmake.Options{})
	f.upload(file)
	name := filename(t, file.Name)
	read := func() []byte {
		t.Helper()
		opened, err := f.index.OpenMetadata(t.Context(), name.Project(), name)
		return content(t, opened, err)
	}
	opens := func(do func()) []string {
		before := len(f.files.opened)
		do()
		return f.files.opened[before:]
	}
	wheel := fmt.Sprintf("%x", sha256.Sum256(file.Data))
	var first, second []byte
	for _, failing := range []string{"Stage", "Write", "Keep"} {
		f.files.set(failing, errInjected)
		if got := opens(func() { first = read() }); !slices.Contains(got, wheel) || !bytes.Contains(first, []byte("Name: demo")) {
			t.Fatalf("a store that fails at %s: opened %q, METADATA is %q", failing, got, first)
		}
	}
	f.files.set("", nil)
	if got := opens(func() { first = read() }); !slices.Contains(got, wheel) {
		t.Fatalf("the first time, %q was opened", got)
	}
	if got := opens(func() { second = read() }); slices.Contains(got, wheel) || !bytes.Equal(first, second) {
		t.Errorf("the second time, %q was opened, METADATA is %q and was %q", got, second, first)
	}
}
