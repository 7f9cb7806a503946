package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/bailiwick/internal/testrepo"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/client"
)

// Roles whose names differ in what some file systems do not tell apart are kept beside each
// other, under names that all file systems tell apart, and found there again.
func TestUnusualRoleNamesAreKept(t *testing.T) {
	names := []string{"role", "Role", "ROLE", "role.", "role ", ".role", "rôle", "ro/le", "ro%2fle", "..", strings.Repeat("long", 60), strings.Repeat("Long", 60)}
	r := testrepo.New(t, testrepo.Options{})
	for i, name := range names {
		path := fmt.Sprintf("file%d", i)
		r.Delegate("targets", testrepo.Delegation{Name: name, Paths: []string{path}})
		r.AddTarget(name, path, []byte("x"))
	}
	r.Publish()
	dir := filepath.Join(t.TempDir(), "state")
	f := folder(t, client.FolderConfig{Path: dir})
	view := refresh(t, open(t, r, f))
	find := func(view *client.View) {
		t.Helper()
		for i, name := range names {
			if _, err := view.Find(t.Context(), tuf.TargetPath(fmt.Sprintf("file%d", i))); err != nil {
				t.Errorf("%q: %v", name, err)
			}
		}
	}
	find(view)
	r.ResetRequests()
	stored, err := open(t, r, f).Stored(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	find(stored)
	if got := r.Requests(); len(got) != 0 {
		t.Errorf("requests were made: %v", got)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	folded := map[string]string{}
	for _, e := range entries {
		key := strings.ToLower(e.Name())
		if other, taken := folded[key]; taken || strings.Trim(e.Name(), "abcdefghijklmnopqrstuvwxyz0123456789-_.%") != "" {
			t.Errorf("%q, beside %q", e.Name(), other)
		}
		folded[key] = e.Name()
	}
}

// What a server announces is believed up to the limit, and not one byte further: memory
// that it only talks about is not spent.
func TestAnnouncedLengthIsNotBelieved(t *testing.T) {
	f := fetcher(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(int64(1)<<50))
		_, _ = w.Write(make([]byte, 2000))
	}), client.HTTPConfig{Retries: -1})
	if data, err := f.Metadata(t.Context(), "timestamp.json", 1000); !errors.Is(err, client.ErrTooLarge) {
		t.Errorf("%d bytes, %v", len(data), err)
	}
	var broken *client.NetworkError
	if data, err := f.Metadata(t.Context(), "timestamp.json", 3000); !errors.As(err, &broken) {
		t.Errorf("%d bytes, %v", len(data), err)
	}
}

// Everything that later sessions are held against is synced, file and folder; the cache of
// delegated roles is not waited for.
func TestWhatIsSynced(t *testing.T) {
	for name, durable := range map[string]bool{
		"root.json": true, "timestamp.json": true, "snapshot.json": true, "targets.json": true, "roots/7.root.json": true,
		"project.flask.json": false, "root2.json": false,
	} {
		for _, kind := range []string{"sync", "syncDir"} {
			f := folder(t, client.FolderConfig{Path: filepath.Join(t.TempDir(), "state")})
			broken := f.Break(kind, 0)
			if err := f.Save(name, []byte("{}")); errors.Is(err, broken) != durable {
				t.Errorf("%s, where %s fails: %v", name, kind, err)
			}
		}
	}
}

// watched is a store that notes what is done to it without its lock.
type watched struct {
	client.Store
	held     atomic.Bool
	locks    atomic.Int64
	mu       sync.Mutex
	unlocked []string
}

func (w *watched) Lock(ctx context.Context) (func(), error) {
	unlock, err := w.Store.Lock(ctx)
	if err != nil {
		return nil, err
	}
	w.locks.Add(1)
	w.held.Store(true)
	return func() { w.held.Store(false); unlock() }, nil
}

func (w *watched) note(what string) {
	if !w.held.Load() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.unlocked = append(w.unlocked, what)
	}
}

func (w *watched) Load(name string) ([]byte, error) {
	w.note("load " + name)
	return w.Store.Load(name)
}

func (w *watched) Save(name string, data []byte) error {
	w.note("save " + name)
	return w.Store.Save(name, data)
}

func (w *watched) Remove(name string) error {
	w.note("remove " + name)
	return w.Store.Remove(name)
}

// A refresh loads, saves and removes under the lock of its store, and under nothing else;
// also one that fails, and one that rotates.
func TestRefreshHoldsTheLock(t *testing.T) {
	r := testrepo.New(t, testrepo.Options{})
	s := &watched{Store: client.NewMemory()}
	for i, change := range []func(){
		func() {},
		func() { r.Touch("targets"); r.Publish() },
		func() { r.Top["timestamp"] = testrepo.One("timestamp2"); r.PublishRoot(); r.Publish() },
		func() { r.Remove("timestamp.json") },
	} {
		change()
		_, err := open(t, r, s).Refresh(t.Context())
		if (err != nil) != (i == 3) {
			t.Fatalf("visit %d: %v", i, err)
		}
		if len(s.unlocked) > 0 || s.locks.Load() != int64(i)+1 || s.held.Load() {
			t.Errorf("visit %d: without the lock: %q; locked %d times, still held: %v", i, s.unlocked, s.locks.Load(), s.held.Load())
		}
	}
}

// While somebody else refreshes, a refresh waits for as long as the store says, and then
// says who is in its way. It makes no request meanwhile.
func TestRefreshWaitsForTheLock(t *testing.T) {
	r := testrepo.New(t, testrepo.Options{})
	f := folder(t, client.FolderConfig{Path: filepath.Join(t.TempDir(), "state"), LockWait: 50 * time.Millisecond})
	unlock, err := f.Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var locked *client.LockedError
	if _, err := open(t, r, f).Refresh(t.Context()); !errors.As(err, &locked) {
		t.Errorf("got %v", err)
	}
	if _, err := open(t, r, f).Stored(t.Context()); !errors.As(err, &locked) {
		t.Errorf("of what is stored: got %v", err)
	}
	if got := r.Requests(); len(got) != 0 {
		t.Errorf("requests were made: %v", got)
	}
	unlock()
	refresh(t, open(t, r, f))
}

// A mirror that shows a moment of the past, which nothing that is stored contradicts, can not
// hold a client there while another mirror is ahead, whichever comes first.
func TestTheNewestTimestampCounts(t *testing.T) {
	for _, first := range []bool{true, false} {
		r := testrepo.New(t, testrepo.Options{})
		past := r.Moment()
		r.AddTarget("targets", "new", []byte("x"))
		r.Publish()
		frozen := &mirror{Repo: r, name: "frozen", metadata: func(name string, data []byte, err error) ([]byte, error) {
			if old := past.Served(name); old != nil {
				return old, nil
			}
			return data, err
		}}
		all := []client.Fetcher{frozen, r}
		if !first {
			all = []client.Fetcher{r, frozen}
		}
		c := mirrored(t, r, all...)
		view := refresh(t, c)
		if got := view.Set().Timestamp().Version(); got != r.Versions["timestamp"] {
			t.Errorf("frozen mirror first: %v: timestamp version %d, want %d", first, got, r.Versions["timestamp"])
		}
		if _, err := view.Find(t.Context(), "new"); err != nil {
			t.Errorf("frozen mirror first: %v: %v", first, err)
		}
	}
}

// A file in the folder that is longer than anything that is accepted is not read.
func TestFolderDoesNotReadEnormousFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	f := folder(t, client.FolderConfig{Path: dir})
	for _, name := range []string{"root.json", "timestamp.json", "role.json"} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, 1<<40); err != nil { // a file with a hole takes no room
			t.Skipf("this file system has no sparse files: %v", err)
		}
		if _, err := f.Load(name); !errors.Is(err, client.ErrTooLarge) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A download that goes on asks for plain bytes: offsets count those, and a server that
// compresses what it sends from there would send something else.
func TestResumedDownloadsAreNotCompressed(t *testing.T) {
	f := fetcher(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.Header.Get("Range") != "bytes=5-" || req.Header.Get("Accept-Encoding") != "identity" {
			w.WriteHeader(http.StatusTeapot)
			return
		}
		w.Header().Set("Content-Range", "bytes 5-9/10")
		w.WriteHeader(http.StatusPartialContent)
		_, _ = w.Write([]byte("56789"))
	}), client.HTTPConfig{})
	body, err := f.Target(t.Context(), "file", 5)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	if data, err := io.ReadAll(body); err != nil || string(data) != "56789" {
		t.Errorf("%q, %v", data, err)
	}
}
