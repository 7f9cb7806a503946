package client_test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

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
