package verify_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/internal/testrepo"
	"example.com/bailiwick/internal/verify"
	"example.com/bailiwick/tuf/client"
)

// hooked is a Fetcher whose targets a test takes over.
type hooked struct {
	client.Fetcher
	target func(ctx context.Context, name string, offset int64) (io.ReadCloser, error)
}

func (h *hooked) Target(ctx context.Context, name string, offset int64) (io.ReadCloser, error) {
	return h.target(ctx, name, offset)
}

// pieces gives data in reads of the lengths that sizes names, over and over.
type pieces struct {
	data  []byte
	sizes []int
	n     int
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.data) == 0 {
		return 0, io.EOF
	}
	size := min(p.sizes[p.n%len(p.sizes)], len(p.data), len(b))
	p.n++
	n := copy(b, p.data[:size])
	p.data = p.data[n:]
	return n, nil
}

// holdBack is what must not leave before the verdict; see the package comment.
const holdBack = 64 << 10

// TestLastBlockIsHeldBack: whatever the size of a file and the way it arrives, an installer never gets
// the last block of a file that does not match, and never its end.
func TestLastBlockIsHeldBack(t *testing.T) {
	w := newWorld(t)
	name := "big-1.0-py3-none-any.whl"
	w.AddProject(testrepo.Project{Name: "big"})
	flask := project(t, "big")
	rapid.Check(t, func(rt *rapid.T) {
		size := rapid.OneOf(rapid.IntRange(1, 300), rapid.IntRange(holdBack-2, holdBack+2), rapid.IntRange(1, 400_000)).Draw(rt, "size")
		sizes := rapid.SliceOfN(rapid.IntRange(1, 90_000), 1, 5).Draw(rt, "pieces")
		takes := rapid.SliceOfN(rapid.IntRange(1, 90_000), 1, 5).Draw(rt, "reads")
		honest := random("big", size)
		w.AddTargetCustom("project.big", testrepo.ProjectPath("big", name), honest, custom("1.0", ""))
		w.Publish()
		evil := bytes.Clone(honest)
		at := rapid.IntRange(0, size-1).Draw(rt, "changed byte")
		bad := rapid.Bool().Draw(rt, "bad")
		if bad {
			evil[at] ^= 0x40
		}
		if rapid.Bool().Draw(rt, "without cache") {
			w.cache = nil
		} else {
			w.cache = newMemoryCache()
		}
		w.fetcher = &hooked{Fetcher: w.Repo, target: func(_ context.Context, _ string, offset int64) (io.ReadCloser, error) {
			return io.NopCloser(&pieces{data: evil[offset:], sizes: sizes}), nil
		}}
		e := w.engine()
		got, err := readPieces(t.Context(), e, flask, name, takes)
		switch {
		case !bad && (err != nil || !bytes.Equal(got, honest)):
			rt.Fatalf("an honest file: %d of %d bytes, %v", len(got), size, err)
		case bad && err == nil:
			rt.Fatalf("a changed file came to its end")
		case bad && w.cache != nil && len(got) > max(0, size-holdBack):
			rt.Fatalf("%d of %d bytes of a changed file were handed out", len(got), size)
		case bad && len(got) > max(0, size-client.Held):
			rt.Fatalf("%d of %d bytes of a changed file were handed out without a cache", len(got), size)
		case bad && !bytes.Equal(got, evil[:len(got)]):
			rt.Fatal("what was handed out is not what arrived")
		}
	})
}

func readPieces(ctx context.Context, e *verify.Engine, p pypi.Project, name string, takes []int) ([]byte, error) {
	d, err := e.Open(ctx, p, name)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	r := d.Stream(ctx)
	var got []byte
	for i := 0; ; i++ {
		buf := make([]byte, takes[i%len(takes)])
		n, err := r.Read(buf)
		got = append(got, buf[:n]...)
		if errors.Is(err, io.EOF) {
			return got, nil
		}
		if err != nil {
			return got, err
		}
	}
}

// TestBytesLeaveEarly: an installer gets the first bytes while the rest is still on its way.
func TestBytesLeaveEarly(t *testing.T) {
	w := newWorld(t)
	honest := w.content("flask", flaskWheel)
	rest := make(chan struct{})
	w.fetcher = &hooked{Fetcher: w.Repo, target: func(context.Context, string, int64) (io.ReadCloser, error) {
		return io.NopCloser(io.MultiReader(bytes.NewReader(honest[:150_000]), waiting(rest), bytes.NewReader(honest[150_000:]))), nil
	}}
	e := w.engine()
	d, err := e.Open(t.Context(), project(t, "flask"), flaskWheel)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := d.Started(t.Context()); err != nil {
		t.Fatal(err)
	}
	r := d.Stream(t.Context())
	first := make([]byte, 1000)
	if _, err := io.ReadFull(r, first); err != nil || !bytes.Equal(first, honest[:1000]) {
		t.Fatalf("first bytes: %v", err)
	}
	close(rest)
	last, err := io.ReadAll(r)
	if err != nil || !bytes.Equal(last, honest[1000:]) {
		t.Errorf("rest: %d bytes, %v", len(last), err)
	}
}

type waiting chan struct{}

func (w waiting) Read([]byte) (int, error) { <-w; return 0, io.EOF }

// TestManyReadersOneDownload: any number of installers follow one download of a file.
func TestManyReadersOneDownload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		honest := w.content("flask", flaskWheel)
		var requests atomic.Int32
		release := make(chan struct{})
		w.fetcher = &hooked{Fetcher: w.Repo, target: func(context.Context, string, int64) (io.ReadCloser, error) {
			requests.Add(1)
			return io.NopCloser(io.MultiReader(waiting(release), bytes.NewReader(honest))), nil
		}}
		e := w.engine()
		var wait sync.WaitGroup
		errs := make(chan error, 20)
		for range 20 {
			wait.Go(func() {
				got, err := read(t.Context(), e, project(t, "flask"), flaskWheel)
				if err == nil && !bytes.Equal(got, honest) {
					err = errors.New("not the signed bytes")
				}
				errs <- err
			})
		}
		synctest.Wait()
		close(release)
		wait.Wait()
		for range 20 {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
		if n := requests.Load(); n != 1 {
			t.Errorf("%d downloads for 20 readers", n)
		}
		if s := e.Summary(); s.Files() != 1 {
			t.Errorf("%d files counted, want 1", s.Files())
		}
		synctest.Wait()
		if n := w.cache.opened(); n != 0 {
			t.Errorf("%d files left open", n)
		}
	})
}

// TestDownloadsAreBounded: no more connections to the repository than Config allows.
func TestDownloadsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.AddProject(testrepo.Project{Name: "many"})
		for i := range 10 {
			name := fmt.Sprintf("many-%d.0-py3-none-any.whl", i)
			w.AddTargetCustom("project.many", testrepo.ProjectPath("many", name), []byte(name), custom(fmt.Sprintf("%d.0", i), ""))
		}
		w.Publish()
		var running, most atomic.Int32
		w.fetcher = &hooked{Fetcher: w.Repo, target: func(ctx context.Context, name string, offset int64) (io.ReadCloser, error) {
			most.Store(max(most.Load(), running.Add(1)))
			time.Sleep(time.Second) // of the bubble's clock
			running.Add(-1)
			return w.Repo.Target(ctx, name, offset)
		}}
		e := w.engine(func(c *verify.Config) { c.Transfers = 3 })
		var wait sync.WaitGroup
		for i := range 10 {
			wait.Go(func() {
				if _, err := read(t.Context(), e, project(t, "many"), fmt.Sprintf("many-%d.0-py3-none-any.whl", i)); err != nil {
					t.Error(err)
				}
			})
		}
		wait.Wait()
		if n := most.Load(); n != 3 {
			t.Errorf("%d downloads at the same time, want 3", n)
		}
	})
}

// TestLastReaderStopsTheDownload: nobody downloads for an installer that left, and that is nobody's
// verdict.
func TestLastReaderStopsTheDownload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		honest := w.content("flask", flaskWheel)
		stopped := make(chan struct{})
		hook := &hooked{Fetcher: w.Repo}
		hook.target = func(ctx context.Context, _ string, _ int64) (io.ReadCloser, error) {
			return io.NopCloser(io.MultiReader(bytes.NewReader(honest[:100_000]), readFunc(func() error {
				<-ctx.Done()
				close(stopped)
				return ctx.Err()
			}))), nil
		}
		w.fetcher = hook
		e := w.engine()
		ctx, leave := context.WithCancel(t.Context())
		d, err := e.Open(ctx, project(t, "flask"), flaskWheel)
		if err != nil {
			t.Fatal(err)
		}
		r := d.Stream(ctx)
		if _, err := io.ReadFull(r, make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
		go leave()
		if _, err := io.ReadAll(r); !errors.Is(err, context.Canceled) {
			t.Errorf("a reader that leaves: %v", err)
		}
		_ = d.Close()
		<-stopped
		synctest.Wait()
		if s := e.Summary(); len(s.Problems) != 0 {
			t.Errorf("it counts as %v", s.Problems)
		}
		if n := w.cache.opened(); n != 0 {
			t.Errorf("%d files left open", n)
		}
		hook.target = w.Target
		if got, err := read(t.Context(), e, project(t, "flask"), flaskWheel); err != nil || !bytes.Equal(got, honest) {
			t.Errorf("the next reader: %d bytes, %v", len(got), err)
		}
	})
}

// readFunc is a Reader that only fails.
type readFunc func() error

func (f readFunc) Read([]byte) (int, error) { return 0, f() }

func TestCacheIsUsedAndNotTrusted(t *testing.T) {
	w := newWorld(t)
	flask, honest := project(t, "flask"), w.content("flask", flaskWheel)
	if _, err := read(t.Context(), w.engine(), flask, flaskWheel); err != nil {
		t.Fatal(err)
	}
	name := "targets/" + w.targetName("flask", flaskWheel)
	asked := func() (n int) {
		for _, r := range w.Requests() {
			if r == name {
				n++
			}
		}
		return n
	}
	w.ResetRequests()
	got, err := read(t.Context(), w.engine(), flask, flaskWheel)
	if err != nil || !bytes.Equal(got, honest) || asked() != 0 {
		t.Errorf("from the cache: %d bytes, %d downloads, %v", len(got), asked(), err)
	}
	w.cache.damage()
	got, err = read(t.Context(), w.engine(), flask, flaskWheel)
	if err != nil || !bytes.Equal(got, honest) || asked() != 1 {
		t.Errorf("with a damaged cache: %d bytes, %d downloads, %v", len(got), asked(), err)
	}
	got, err = read(t.Context(), w.engine(), flask, flaskWheel)
	if err != nil || !bytes.Equal(got, honest) || asked() != 1 {
		t.Errorf("after the cache healed: %d bytes, %d downloads, %v", len(got), asked(), err)
	}
}

func TestCacheThatFails(t *testing.T) {
	full := errors.New("no space left on device")
	flask := project(t, "flask")
	t.Run("at once", func(t *testing.T) {
		w := newWorld(t)
		w.cache.stageErr = full
		e := w.engine()
		got, err := read(t.Context(), e, flask, flaskWheel)
		if err != nil || !bytes.Equal(got, w.content("flask", flaskWheel)) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		if e.Summary().Files() != 1 {
			t.Error("the file is not in the log")
		}
	})
	t.Run("in the middle", func(t *testing.T) {
		w := newWorld(t)
		w.cache.writeErr = full
		e := w.engine()
		_, err := read(t.Context(), e, flask, flaskWheel)
		wantProblem(t, err, verify.Unreachable, verify.CodeCache)
		got, err := read(t.Context(), e, flask, flaskWheel) // as installers do
		if err != nil || !bytes.Equal(got, w.content("flask", flaskWheel)) {
			t.Errorf("the retry: %d bytes, %v", len(got), err)
		}
		if worst := e.Summary().Worst(); worst != "" {
			t.Errorf("what was got over still decides: %q", worst)
		}
	})
	t.Run("refused without it", func(t *testing.T) {
		w := newWorld(t)
		w.cache.stageErr = full
		w.ServeTarget(w.targetName("flask", flaskWheel), random("evil", 300_000))
		e := w.engine()
		_, err := read(t.Context(), e, flask, flaskWheel)
		wantProblem(t, err, verify.Refused, "hash")
		if worst := e.Summary().Worst(); worst != verify.Refused {
			t.Errorf("worst %q", worst)
		}
	})
}

func TestWaitGivesTheWholeFile(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	d, err := e.Open(t.Context(), project(t, "flask"), flaskWheel)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	blob, err := d.Wait(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	honest := w.content("flask", flaskWheel)
	tail := make([]byte, 100)
	if _, err := blob.ReadAt(tail, blob.Size()-100); err != nil || !bytes.Equal(tail, honest[len(honest)-100:]) {
		t.Errorf("its end: %v", err)
	}
	w.cache.stageErr = errors.New("full")
	other, err := e.Open(t.Context(), project(t, "flask"), flaskSdist)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if _, err := other.Wait(t.Context()); other.Seekable() || !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("without a cache: %v", err)
	}
}

func TestMetadata(t *testing.T) {
	flask := project(t, "flask")
	t.Run("beside the wheel", func(t *testing.T) {
		w := newWorld(t)
		w.ServeTarget(w.targetName("flask", flaskWheel)+".metadata", []byte(flaskMetadata))
		got, err := w.engine().Metadata(t.Context(), flask, flaskWheel)
		if err != nil || string(got) != flaskMetadata {
			t.Errorf("%q, %v", got, err)
		}
		w.ResetRequests()
		if got, err := w.engine().Metadata(t.Context(), flask, flaskWheel); err != nil || string(got) != flaskMetadata {
			t.Errorf("again: %q, %v", got, err)
		}
		for _, r := range w.Requests() {
			if r == "targets/"+w.targetName("flask", flaskWheel)+".metadata" {
				t.Error("fetched again")
			}
		}
	})
	t.Run("inside the wheel", func(t *testing.T) {
		w := newWorld(t)
		got, err := w.engine().Metadata(t.Context(), flask, flaskWheel)
		if err != nil || string(got) != flaskMetadata {
			t.Errorf("%q, %v", got, err)
		}
	})
	t.Run("changed", func(t *testing.T) {
		w := newWorld(t)
		w.ServeTarget(w.targetName("flask", flaskWheel)+".metadata", []byte(flaskMetadata+"Requires-Dist: evil\n"))
		e := w.engine()
		_, err := e.Metadata(t.Context(), flask, flaskWheel)
		if got := wantProblem(t, err, verify.Refused, verify.CodeMetadata); got.Subject != flaskWheel || got.Received == nil {
			t.Errorf("%+v", got)
		}
		if e.Summary().Worst() != verify.Refused {
			t.Error("not in the log")
		}
	})
	t.Run("endless", func(t *testing.T) {
		w := newWorld(t)
		w.Break("targets/"+w.targetName("flask", flaskWheel)+".metadata", testrepo.Fault{Endless: true})
		_, err := w.engine().Metadata(t.Context(), flask, flaskWheel)
		wantProblem(t, err, verify.Refused, "length")
	})
	t.Run("not signed for", func(t *testing.T) {
		w := newWorld(t)
		w.ServeTarget(w.targetName("flask", flaskSdist)+".metadata", []byte("anything"))
		_, err := w.engine().Metadata(t.Context(), flask, flaskSdist)
		wantProblem(t, err, verify.NotFound, verify.CodeNotListed)
	})
}
