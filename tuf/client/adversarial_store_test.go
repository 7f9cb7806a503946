package client_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"example.com/bailiwick/internal/testrepo"
	"example.com/bailiwick/tuf/client"
)

// damages are what may become of a stored file. Each gets the file's bytes and another
// file's, and does its worst at a path.
var damages = map[string]func(path string, own, other []byte) error{
	"gone":            func(path string, _, _ []byte) error { return os.Remove(path) },
	"empty":           func(path string, _, _ []byte) error { return os.WriteFile(path, nil, 0o600) },
	"cut short":       func(path string, own, _ []byte) error { return os.WriteFile(path, own[:len(own)/2], 0o600) },
	"zeros":           func(path string, own, _ []byte) error { return os.WriteFile(path, make([]byte, len(own)), 0o600) },
	"null":            func(path string, _, _ []byte) error { return os.WriteFile(path, []byte("null"), 0o600) },
	"an empty object": func(path string, _, _ []byte) error { return os.WriteFile(path, []byte("{}"), 0o600) },
	"one bit":         func(path string, own, _ []byte) error { return os.WriteFile(path, flipped(own), 0o600) },
	"a byte more": func(path string, own, _ []byte) error {
		return os.WriteFile(path, append(bytes.Clone(own), 'x'), 0o600)
	},
	"another file": func(path string, _, other []byte) error { return os.WriteFile(path, other, 0o600) },
	"without a signer": func(path string, own, _ []byte) error {
		return os.WriteFile(path, bytes.Replace(own, []byte(`"sig":"`), []byte(`"sig":"00`), 1), 0o600)
	},
	"enormous": func(path string, _, _ []byte) error { return os.Truncate(path, 1<<30) },
}

func flipped(data []byte) []byte {
	out := bytes.Clone(data)
	out[len(out)/2] ^= 1
	return out
}

// TestDamagedFiles damages each stored file in each way. Only the newest root is not
// passed over: it says how far trust had come, and losing it silently would be a rollback.
func TestDamagedFiles(t *testing.T) {
	for _, name := range []string{"root.json", "roots/2.root.json", "timestamp.json", "snapshot.json", "targets.json", "role.json"} {
		for kind, damage := range damages {
			t.Run(name+" "+kind, func(t *testing.T) {
				t.Parallel()
				r := testrepo.New(t, testrepo.Options{})
				r.Delegate("targets", testrepo.Delegation{Name: "role", Paths: []string{"*"}})
				r.AddTarget("role", "file", []byte("honest content"))
				r.PublishRoot()
				r.Publish()
				dir := t.TempDir()
				folder, err := client.OpenFolder(client.FolderConfig{Path: dir})
				if err != nil {
					t.Fatal(err)
				}
				defer folder.Close()
				running := newVictim(t, r, folder)
				if err := running.look(t); err != nil {
					t.Fatal(err)
				}
				path := filepath.Join(dir, name)
				own, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				hurt := func() {
					t.Helper()
					if err := damage(path, own, r.Bytes("targets")); err != nil {
						t.Fatal(err)
					}
				}
				hurt()
				fatal := name == "root.json" && kind != "gone"
				for who, v := range map[string]*victim{"a new session": newVictim(t, r, folder), "the running client": running} {
					err := v.look(t)
					var local *client.StoreError
					switch {
					case fatal && (!errors.As(err, &local) || local.Name != "root.json" && local.Name != path):
						t.Errorf("%s: %v", who, err)
					case !fatal && err != nil:
						t.Errorf("%s: %v", who, err)
					}
				}
				if fatal {
					if err := os.Remove(path); err != nil {
						t.Fatal(err)
					}
					if err := newVictim(t, r, folder).look(t); err != nil {
						t.Errorf("after it was removed: %v", err)
					}
				}
				// Healed on disk, and not only in memory.
				if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, own) {
					t.Errorf("on disk is %.60q, %v", got, err)
				}
			})
		}
	}
}

// TestOldFilesPutBack gives a client its own files of an earlier day, each alone and all
// together, as a restored backup does. It goes on from the newest that it can prove.
func TestOldFilesPutBack(t *testing.T) {
	names := []string{"root.json", "timestamp.json", "snapshot.json", "targets.json", "role.json"}
	for _, which := range append(names, "all", "all but root.json") {
		t.Run(which, func(t *testing.T) {
			t.Parallel()
			r := testrepo.New(t, testrepo.Options{})
			r.Delegate("targets", testrepo.Delegation{Name: "role", Paths: []string{"*"}})
			r.AddTarget("role", "file", []byte("honest content"))
			r.Publish()
			dir := t.TempDir()
			folder, err := client.OpenFolder(client.FolderConfig{Path: dir})
			if err != nil {
				t.Fatal(err)
			}
			defer folder.Close()
			if err := newVictim(t, r, folder).look(t); err != nil {
				t.Fatal(err)
			}
			old := map[string][]byte{}
			for _, name := range names {
				if old[name], err = os.ReadFile(filepath.Join(dir, name)); err != nil {
					t.Fatal(err)
				}
			}
			r.PublishRoot()
			r.Touch("targets", "role")
			r.Publish()
			running := newVictim(t, r, folder)
			if err := running.look(t); err != nil {
				t.Fatal(err)
			}
			for _, name := range names {
				if which == name || which == "all" || which == "all but root.json" && name != "root.json" {
					if err := os.WriteFile(filepath.Join(dir, name), old[name], 0o600); err != nil {
						t.Fatal(err)
					}
				}
			}
			for _, v := range []*victim{newVictim(t, r, folder), running} {
				if err := v.look(t); err != nil {
					t.Fatal(err)
				}
			}
			if got := stored(t, folder); got != "2 3 3 3" {
				t.Errorf("on disk are versions %s", got)
			}
			if got := versionOf(t, folder, "role.json"); got != "2" {
				t.Errorf("role %s", got)
			}
		})
	}
}

// TestRaces lets sessions of one folder, through two handles, refresh and search while
// the repository changes. No session ever sees a version go down, and all end with the
// newest.
func TestRaces(t *testing.T) {
	r := testrepo.New(t, testrepo.Options{})
	r.Delegate("targets", testrepo.Delegation{Name: "role", Paths: []string{"*"}})
	r.AddTarget("role", "file", []byte("honest content"))
	r.Publish()
	dir := t.TempDir()
	var sessions []*client.Client
	for range 2 {
		folder, err := client.OpenFolder(client.FolderConfig{Path: dir})
		if err != nil {
			t.Fatal(err)
		}
		defer folder.Close()
		for range 3 {
			c := open(t, r, folder)
			sessions = append(sessions, c)
		}
	}
	done := make(chan struct{})
	var wg sync.WaitGroup
	for _, c := range sessions {
		wg.Go(func() {
			last := int64(0)
			for running := true; running; {
				select {
				case <-done:
					running = false // once more, with everything published
				default:
				}
				v, err := c.Refresh(t.Context())
				if err != nil {
					t.Errorf("refresh: %v", err)
					return
				}
				if got := v.Set().Timestamp().Version(); got < last {
					t.Errorf("timestamp went from %d to %d", last, got)
					return
				} else {
					last = got
				}
				if _, err := v.Find(t.Context(), "file"); err != nil {
					t.Errorf("find: %v", err)
					return
				}
			}
			if last != 22 {
				t.Errorf("the last refresh saw timestamp %d", last)
			}
		})
	}
	for range 20 {
		r.Touch("role", "targets")
		r.Publish()
	}
	close(done)
	wg.Wait()
}
