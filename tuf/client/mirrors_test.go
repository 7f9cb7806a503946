package client_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"example.com/bailiwick/internal/testrepo"
	"example.com/bailiwick/tuf/client"
	"example.com/bailiwick/tuf/trust"
)

// mirror is a place that serves what a repository served at a moment of its own choice.
type mirror struct {
	*testrepo.Repo
	name     string
	log      *requestLog
	metadata func(name string, data []byte, err error) ([]byte, error) // nil: as it is
	target   func(name string, body io.ReadCloser, err error) (io.ReadCloser, error)
}

func (m *mirror) Metadata(ctx context.Context, name string, limit int64) ([]byte, error) {
	m.log.add(m.name + " " + name)
	data, err := m.Repo.Metadata(ctx, name, limit)
	if m.metadata != nil {
		return m.metadata(name, data, err)
	}
	return data, err
}

func (m *mirror) Target(ctx context.Context, name string, offset int64) (io.ReadCloser, error) {
	m.log.add(m.name + " " + name)
	body, err := m.Repo.Target(ctx, name, offset)
	if m.target != nil {
		return m.target(name, body, err)
	}
	return body, err
}

// requestLog is what several mirrors were asked for. A client no longer waits for a mirror
// that is slow or failed before, so one may still be asked when a test reads on.
type requestLog struct {
	mu    sync.Mutex
	lines []string
}

func (l *requestLog) add(line string) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, line)
}

// take returns what was added since the last time.
func (l *requestLog) take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	lines := l.lines
	l.lines = nil
	return lines
}

// mirrored makes a client of several mirrors.
func mirrored(t *testing.T, r *testrepo.Repo, all ...client.Fetcher) *client.Client {
	t.Helper()
	c, err := client.New(client.Config{Fetcher: all[0], Mirrors: all[1:], Store: client.NewMemory(), Root: r.Root(1), Now: r.Now})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

var errUnreachable = &client.NetworkError{URL: "http://example.com", Err: errors.New("no route to host")}

// badMirrors are mirrors that a good one must make up for, whichever comes first.
func badMirrors(r *testrepo.Repo, old testrepo.Moment) map[string]*mirror {
	all := map[string]*mirror{}
	metadata := func(name string, f func(name string, data []byte, err error) ([]byte, error)) {
		all[name] = &mirror{Repo: r, name: "bad", metadata: f, target: func(string, io.ReadCloser, error) (io.ReadCloser, error) {
			return nil, errUnreachable
		}}
	}
	metadata("unreachable", func(string, []byte, error) ([]byte, error) { return nil, errUnreachable })
	metadata("empty", func(name string, _ []byte, _ error) ([]byte, error) {
		return nil, fmt.Errorf("%s: %w", name, client.ErrAbsent)
	})
	metadata("endless", func(name string, _ []byte, _ error) ([]byte, error) {
		return nil, fmt.Errorf("%s: %w", name, client.ErrTooLarge)
	})
	metadata("corrupting", func(_ string, data []byte, err error) ([]byte, error) {
		data = bytes.Clone(data)
		if len(data) > 0 {
			data[len(data)/2] ^= 1
		}
		return data, err
	})
	metadata("truncating", func(_ string, data []byte, err error) ([]byte, error) { return data[:len(data)/3], err })
	metadata("silent about everything", func(string, []byte, error) ([]byte, error) { return []byte{}, nil })
	metadata("frozen", func(name string, data []byte, err error) ([]byte, error) {
		if name == "timestamp.json" {
			return old.Served(name), nil
		}
		return data, err
	})
	metadata("making up roots", func(name string, data []byte, err error) ([]byte, error) {
		if strings.HasSuffix(name, ".root.json") {
			return r.Root(1), nil
		}
		return data, err
	})
	metadata("making up a timestamp", func(name string, data []byte, err error) ([]byte, error) {
		if name == "timestamp.json" {
			return bytes.Replace(data, []byte(`"version":`), []byte(`"version":9`), 2), nil
		}
		return data, err
	})
	metadata("without delegated roles", func(name string, data []byte, err error) ([]byte, error) {
		if strings.Contains(name, "role") {
			return nil, fmt.Errorf("%s: %w", name, client.ErrAbsent)
		}
		return data, err
	})
	metadata("with wrong delegated roles", func(name string, data []byte, err error) ([]byte, error) {
		if strings.Contains(name, "role") {
			return r.Bytes("targets"), nil
		}
		return data, err
	})
	return all
}

func TestABadMirrorCanNotBlockAGoodOne(t *testing.T) {
	for name := range badMirrors(nil, testrepo.Moment{}) {
		for _, first := range []bool{true, false} {
			t.Run(fmt.Sprint(name, " first ", first), func(t *testing.T) {
				r := testrepo.New(t, testrepo.Options{})
				r.Delegate("targets", testrepo.Delegation{Name: "role", Paths: []string{"*"}})
				r.AddTarget("role", "file", []byte("content"))
				r.Publish()
				old := r.Moment()
				bad := badMirrors(r, old)[name]
				places := []client.Fetcher{bad, r}
				if !first {
					places = []client.Fetcher{r, bad}
				}
				c := mirrored(t, r, places...)
				for i := range int64(3) {
					v := refresh(t, c)
					if got := v.Set().Timestamp().Version(); got != r.Versions["timestamp"] {
						t.Fatalf("timestamp %d, the good mirror has %d", got, r.Versions["timestamp"])
					}
					if got := v.Set().Root().Version(); got != i+1 {
						t.Fatalf("root %d, the good mirror has %d", got, i+1)
					}
					found, err := v.Find(t.Context(), "file")
					if err != nil {
						t.Fatal(err)
					}
					var b strings.Builder
					if err := c.Download(t.Context(), found, &b); err != nil || b.String() != "content" {
						t.Fatalf("%q, %v", b.String(), err)
					}
					r.Touch("targets", "role")
					r.PublishRoot()
					r.Publish()
				}
			})
		}
	}
}

func TestAMirrorThatFailedComesLast(t *testing.T) {
	r := testrepo.New(t, testrepo.Options{})
	var log requestLog
	var down atomic.Bool
	down.Store(true)
	a := &mirror{Repo: r, name: "a", log: &log, metadata: func(name string, data []byte, err error) ([]byte, error) {
		if down.Load() && strings.Contains(name, "snapshot") {
			return nil, errUnreachable
		}
		return data, err
	}}
	b := &mirror{Repo: r, name: "b", log: &log}
	c, err := client.New(client.Config{Fetcher: a, Mirrors: []client.Fetcher{b}, Store: client.NewMemory(), Root: r.Root(1), Now: r.Now})
	if err != nil {
		t.Fatal(err)
	}
	pinned := func() string {
		var out []string
		for _, l := range log.take() {
			if strings.Contains(l, "snapshot") || strings.Contains(l, "targets") {
				out = append(out, l)
			}
		}
		return strings.Join(out, ", ")
	}
	refresh(t, c)
	if got := pinned(); got != "a 1.snapshot.json, b 1.snapshot.json, b 1.targets.json" {
		t.Errorf("first %s", got)
	}
	down.Store(false)
	r.Touch("targets")
	r.Publish()
	refresh(t, c)
	if got := pinned(); got != "b 2.snapshot.json, b 2.targets.json" {
		t.Errorf("then %s", got)
	}
}

// What mirrors say decides which error is shown: being cheated before not being
// answered, and that before the word of one that has nothing.
func TestErrorsOfMirrors(t *testing.T) {
	r := testrepo.New(t, testrepo.Options{})
	bad := badMirrors(r, r.Moment())
	var network *client.NetworkError
	for _, test := range []struct {
		mirrors []string
		code    trust.Code // empty: a network error
	}{
		{[]string{"unreachable", "unreachable"}, ""},
		{[]string{"unreachable", "empty", "corrupting"}, trust.Malformed},
		{[]string{"empty", "unreachable"}, ""},
		{[]string{"empty", "empty"}, trust.Missing},
		{[]string{"endless", "unreachable"}, trust.Length},
	} {
		var places []client.Fetcher
		for _, name := range test.mirrors {
			inner := bad[name].metadata
			places = append(places, &mirror{Repo: r, metadata: func(name string, data []byte, err error) ([]byte, error) {
				if strings.Contains(name, "root") {
					return data, err
				}
				if strings.Contains(name, "timestamp") && len(data) > 0 {
					data = append([]byte("{"), data...)
				}
				return inner(name, data, err)
			}})
		}
		_, err := mirrored(t, r, places...).Refresh(t.Context())
		if test.code == "" {
			if !errors.As(err, &network) {
				t.Errorf("%v: %v", test.mirrors, err)
			}
			continue
		}
		refused(t, err, test.code, "timestamp")
	}
}

// With one mirror that has no answer to the next root and one that says there is none,
// there is none. With none that says so, nothing is known.
func TestNoMirrorSaysThereIsNoRoot(t *testing.T) {
	r := testrepo.New(t, testrepo.Options{})
	mute := &mirror{Repo: r, metadata: func(name string, data []byte, err error) ([]byte, error) {
		if strings.Contains(name, "root") {
			return nil, errUnreachable
		}
		return data, err
	}}
	refresh(t, mirrored(t, r, mute, r))
	var network *client.NetworkError
	if _, err := mirrored(t, r, mute, mute).Refresh(t.Context()); !errors.As(err, &network) {
		t.Errorf("got %v", err)
	}
}

// A mirror that never answers costs one wait in a session, not one for each file.
func TestASilentMirrorIsWaitedForOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := testrepo.New(t, testrepo.Options{})
		silent := &waiting{r}
		c, err := client.New(client.Config{Fetcher: silent, Mirrors: []client.Fetcher{r}, MirrorWait: 3 * time.Second, Store: client.NewMemory(), Root: r.Root(1), Now: r.Now})
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		refresh(t, c)
		if took := time.Since(start); took != 3*time.Second {
			t.Errorf("the first refresh took %v", took)
		}
		r.PublishRoot()
		r.Touch("targets")
		r.Publish()
		start = time.Now()
		if v := refresh(t, c); v.Set().Root().Version() != 2 {
			t.Errorf("root %d", v.Set().Root().Version())
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("the second refresh took %v", took)
		}
		if _, err := client.New(client.Config{Fetcher: r, Mirrors: []client.Fetcher{nil}, Store: client.NewMemory(), Root: r.Root(1), Now: r.Now}); err == nil {
			t.Error("a nil mirror was taken")
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := mirrored(t, r, silent, silent).Refresh(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("when the context ends: %v", err)
		}
	})
}

// waiting answers when the context ends.
type waiting struct{ *testrepo.Repo }

func (w *waiting) Metadata(ctx context.Context, _ string, _ int64) ([]byte, error) {
	<-ctx.Done()
	return nil, &client.NetworkError{URL: "http://example.com", Err: ctx.Err()}
}

// Downloads: a mirror that has other bytes, or breaks off, or has none.
func TestDownloadFromMirrors(t *testing.T) {
	for _, size := range []int{0, 100, client.Held, 5 * client.Held} {
		content := bytes.Repeat([]byte("x"), size)
		wrong := bytes.Repeat([]byte("y"), size)
		r := testrepo.New(t, testrepo.Options{})
		r.AddTarget("targets", "file", content)
		r.Publish()
		body := func(data []byte, err error) func(string, io.ReadCloser, error) (io.ReadCloser, error) {
			return func(string, io.ReadCloser, error) (io.ReadCloser, error) {
				return io.NopCloser(io.MultiReader(bytes.NewReader(data), errorReader{err})), nil
			}
		}
		for name, bad := range map[string]*mirror{
			"absent": {Repo: r, target: func(name string, _ io.ReadCloser, _ error) (io.ReadCloser, error) {
				return nil, fmt.Errorf("%s: %w", name, client.ErrAbsent)
			}},
			"unreachable":     {Repo: r, target: func(string, io.ReadCloser, error) (io.ReadCloser, error) { return nil, errUnreachable }},
			"other bytes":     {Repo: r, target: body(wrong, io.EOF)},
			"short":           {Repo: r, target: body(content[:size/2], io.EOF)},
			"always breaks":   {Repo: r, target: body(nil, errUnreachable)},
			"wrong, then off": {Repo: r, target: breaking(wrong)},
		} {
			t.Run(fmt.Sprint(size, " ", name), func(t *testing.T) {
				c := mirrored(t, r, bad, r)
				found, err := refresh(t, c).Find(t.Context(), "file")
				if err != nil {
					t.Fatal(err)
				}
				path := filepath.Join(t.TempDir(), "f")
				file, err := os.Create(path)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := file.WriteString("kept "); err != nil {
					t.Fatal(err)
				}
				if err := c.Download(t.Context(), found, file); err != nil {
					t.Fatalf("to a file: %v", err)
				}
				if err := file.Close(); err != nil {
					t.Fatal(err)
				}
				if got, err := os.ReadFile(path); err != nil || string(got) != "kept "+string(content) {
					t.Errorf("%d bytes, %v", len(got), err)
				}
				// Even where nothing can be taken back, the second try is right: the liar is known.
				var b bytes.Buffer
				if err := c.Download(t.Context(), found, &b); err != nil || !bytes.Equal(b.Bytes(), content) {
					t.Errorf("again: %d bytes, %v", b.Len(), err)
				}
			})
		}
	}
}

// breaking gives half of the bytes and breaks off, and then has nothing any more.
func breaking(data []byte) func(string, io.ReadCloser, error) (io.ReadCloser, error) {
	opened := false
	return func(string, io.ReadCloser, error) (io.ReadCloser, error) {
		if opened {
			return nil, errUnreachable
		}
		opened = true
		return io.NopCloser(io.MultiReader(bytes.NewReader(data[:len(data)/2]), errorReader{errUnreachable})), nil
	}
}

type errorReader struct{ err error }

func (e errorReader) Read([]byte) (int, error) { return 0, e.err }

// What was given away can not be taken back: a stream ends with an error, and never
// with its last bytes.
func TestAStreamIsNotMendedBehindItsReader(t *testing.T) {
	content := bytes.Repeat([]byte("x"), 5*client.Held)
	wrong := append(bytes.Repeat([]byte("x"), 4*client.Held), bytes.Repeat([]byte("y"), client.Held)...)
	r := testrepo.New(t, testrepo.Options{})
	r.AddTarget("targets", "file", content)
	r.Publish()
	liar := &mirror{Repo: r, target: func(string, io.ReadCloser, error) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(wrong)), nil
	}}
	c := mirrored(t, r, liar, r)
	found, err := refresh(t, c).Find(t.Context(), "file")
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	err = c.Download(t.Context(), found, &b)
	refused(t, err, trust.Hash, "targets")
	if b.Len() > 4*client.Held {
		t.Errorf("%d bytes were given", b.Len())
	}
	// All of them lie.
	c = mirrored(t, r, liar, liar, liar)
	found, err = refresh(t, c).Find(t.Context(), "file")
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	refused(t, c.Download(t.Context(), found, file), trust.Hash, "targets")
}
