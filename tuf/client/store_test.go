package client_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"example.com/bailiwick/internal/testrepo"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/client"
	"example.com/bailiwick/tuf/client/storetest"
	"example.com/bailiwick/tuf/trust"
)

func folder(t *testing.T, c client.FolderConfig) *client.Folder {
	t.Helper()
	if c.Path == "" {
		c.Path = filepath.Join(t.TempDir(), "state")
	}
	f, err := client.OpenFolder(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

func TestMemory(t *testing.T) {
	storetest.Run(t, func(*testing.T) client.Store { return client.NewMemory() })
}

func TestFolder(t *testing.T) {
	storetest.Run(t, func(t *testing.T) client.Store { return folder(t, client.FolderConfig{}) })
}

// TestFaults lets each change of a refresh go wrong in each way. Afterwards an
// honest refresh works, and whatever was trusted before still protects.
func TestFaults(t *testing.T) {
	for _, how := range []storetest.Outcome{storetest.Failed, storetest.Lost, storetest.Torn, storetest.Died} {
		for _, rotate := range []bool{false, true} {
			for at := 0; ; at++ {
				r, path := flask(t)
				first := r.Moment()
				r.Touch("targets")
				r.Publish()
				s := client.NewMemory()
				find(t, open(t, r, s), path)
				if rotate {
					r.Top["snapshot"] = testrepo.One("snapshot2")
				}
				r.PublishRoot()
				r.Touch("targets", "claimed", "project.flask")
				r.Publish()
				faulty := &storetest.Faulty{Store: s, At: at, How: how}
				v, err := open(t, r, faulty).Refresh(t.Context())
				if err == nil {
					_, err = v.Find(t.Context(), path)
				}
				if how == storetest.Lost && err != nil {
					t.Fatalf("%s %d: %v", how, at, err)
				}
				if bad := (*client.StoreError)(nil); err != nil && !errors.As(err, &bad) {
					t.Fatalf("%s %d: %v", how, at, err)
				}
				if faulty.Changes() <= at {
					if at < 7 {
						t.Fatalf("only %d changes; this test would prove little", at)
					}
					break
				}
				label := fmt.Sprintf("%s of change %d, rotation %v", how, at, rotate)
				if !rotate {
					honest := r.Moment()
					r.Replay(first)
					if _, err := open(t, r, s).Refresh(t.Context()); !isRollback(err) && !isDamagedRoot(err) {
						t.Errorf("%s: a replay afterwards: %v", label, err)
					}
					r.Replay(honest)
				}
				v, err = open(t, r, s).Refresh(t.Context())
				if isDamagedRoot(err) && how == storetest.Torn {
					continue // only a store that breaks its promise tears root.json; this is said clearly
				}
				if err != nil {
					t.Errorf("%s: an honest refresh afterwards: %v", label, err)
					continue
				}
				if _, err := v.Find(t.Context(), path); err != nil {
					t.Errorf("%s: an honest search afterwards: %v", label, err)
				}
			}
		}
	}
}

func find(t *testing.T, c *client.Client, path tuf.TargetPath) {
	t.Helper()
	if _, err := refresh(t, c).Find(t.Context(), path); err != nil {
		t.Fatal(err)
	}
}

func isRollback(err error) bool {
	var r *trust.RefusedError
	return errors.As(err, &r) && r.Code == trust.Rollback
}

func isDamagedRoot(err error) bool {
	var r *client.StoreError
	return errors.As(err, &r) && r.Name == "root.json"
}

// TestFolderFaults lets each call to the file system fail. The old bytes or the
// new are there, an error was returned, and nothing is left behind.
func TestFolderFaults(t *testing.T) {
	for _, kind := range []string{"write", "sync", "rename", "syncDir"} {
		t.Run(kind, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "state")
			f := folder(t, client.FolderConfig{Path: path})
			if err := f.Save("timestamp.json", []byte("old")); err != nil {
				t.Fatal(err)
			}
			want := f.Break(kind, 0)
			err := f.Save("timestamp.json", []byte("the new one"))
			var bad *client.StoreError
			if !errors.Is(err, want) || !errors.As(err, &bad) {
				t.Errorf("got %v", err)
			}
			got, err := f.Load("timestamp.json")
			if err != nil || string(got) != "old" && string(got) != "the new one" {
				t.Errorf("%q, %v", got, err)
			}
			left, err := os.ReadDir(filepath.Join(path, "tmp"))
			if err != nil || len(left) != 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
			again := folder(t, client.FolderConfig{Path: path})
			if err := again.Save("timestamp.json", []byte("third")); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestRefreshOverFolderFaults is TestFaults with a real folder below.
func TestRefreshOverFolderFaults(t *testing.T) {
	for _, kind := range []string{"write", "sync", "rename", "syncDir", "remove"} {
		for name, visit := range visits {
			for n := 0; ; n++ {
				dir := filepath.Join(t.TempDir(), "state")
				r, path, replay := visit.prepare(t, folder(t, client.FolderConfig{Path: dir}))
				f := folder(t, client.FolderConfig{Path: dir})
				broken := f.Break(kind, n)
				v, err := open(t, r, f).Refresh(t.Context())
				if err == nil {
					if n < 1 && (kind != "remove" || visit.rotates) {
						t.Errorf("%s: visit %s: only %d calls", kind, name, n)
					}
					if _, err := v.Find(t.Context(), path); err != nil {
						t.Errorf("%s: a cache that cannot be written is no reason to fail: %v", kind, err)
					}
					break
				}
				if !errors.Is(err, broken) {
					t.Fatalf("%s %d: %v", kind, n, err)
				}
				goesOn(t, fmt.Sprintf("%s %d, visit %s", kind, n, name), r, path, replay, files(t, dir))
				find(t, open(t, r, folder(t, client.FolderConfig{Path: dir})), path)
			}
		}
	}
}

func TestFolderModes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "b")
	f := folder(t, client.FolderConfig{Path: path})
	for _, name := range []string{"root.json", "roots/1.root.json", "x.json"} {
		if err := f.Save(name, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	unlock, err := f.Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	unlock()
	err = filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", p, info.Mode())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o777); err != nil {
		t.Fatal(err)
	}
	var bad *client.StoreError
	if f, err := client.OpenFolder(client.FolderConfig{Path: path}); !errors.As(err, &bad) {
		t.Errorf("a folder for everybody was opened: %v, %v", f, err)
	}
}

func TestFolderRefusesLinks(t *testing.T) {
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret.json")
	if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "state")
	f := folder(t, client.FolderConfig{Path: path})
	if err := f.Save("inside.json", []byte("inside")); err != nil {
		t.Fatal(err)
	}
	for name, to := range map[string]string{"a.json": secret, "b.json": "../secret.json", "c.json": "inside.json", "root.json": secret, "d.json": "."} {
		if err := os.Symlink(to, filepath.Join(path, name)); err != nil {
			t.Fatal(err)
		}
		if data, err := f.Load(name); err == nil || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s → %s: loaded %q, %v", name, to, data, err)
		}
		if err := f.Save(name, []byte("mine")); err != nil {
			t.Errorf("%s → %s: %v", name, to, err)
		}
		if data, err := f.Load(name); err != nil || string(data) != "mine" {
			t.Errorf("%s: %q, %v", name, data, err)
		}
	}
	for file, want := range map[string]string{secret: "secret", filepath.Join(path, "inside.json"): "inside"} {
		if data, err := os.ReadFile(file); err != nil || string(data) != want {
			t.Errorf("%s was written through a link: %q, %v", file, data, err)
		}
	}
	for _, sub := range []string{"roots", "tmp"} {
		path := filepath.Join(dir, "with-"+sub)
		if err := os.MkdirAll(path, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(dir, filepath.Join(path, sub)); err != nil {
			t.Fatal(err)
		}
		if f, err := client.OpenFolder(client.FolderConfig{Path: path}); err == nil {
			t.Errorf("%s is a link, and it was opened: %v", sub, f)
		}
	}
}

func TestFolderRemovesLeftovers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	f := folder(t, client.FolderConfig{Path: path})
	left := filepath.Join(path, "tmp", "1234-1")
	if err := os.WriteFile(left, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	folder(t, client.FolderConfig{Path: path})
	if _, err := os.Lstat(left); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("still there: %v", err)
	}
	if err := f.Save("root.json", []byte("x")); err != nil {
		t.Error(err)
	}
}

func TestFolderEvictsTheOldest(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	f := folder(t, client.FolderConfig{Path: path, MaxBytes: 10_000})
	for _, name := range []string{"root.json", "timestamp.json", "snapshot.json", "targets.json", "roots/1.root.json"} {
		if err := f.Save(name, make([]byte, 5000)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 30 {
		name := fmt.Sprintf("r%02d.json", i)
		if err := f.Save(name, bytes.Repeat([]byte{byte(i)}, 1000)); err != nil {
			t.Fatal(err)
		}
		old := time.Date(2030, 1, 1, 0, i, 0, 0, time.UTC) // file systems' clocks are coarse
		if err := os.Chtimes(filepath.Join(path, name), old, old); err != nil {
			t.Fatal(err)
		}
	}
	total := 0
	for i := range 30 {
		data, err := f.Load(fmt.Sprintf("r%02d.json", i))
		switch {
		case err == nil:
			total += len(data)
			if i < 19 {
				t.Errorf("r%02d is old and still there", i)
			}
		case i > 25 || !errors.Is(err, fs.ErrNotExist):
			t.Errorf("r%02d: %v", i, err)
		}
	}
	if total > 10_000 {
		t.Errorf("%d bytes", total)
	}
	for _, name := range []string{"root.json", "timestamp.json", "snapshot.json", "targets.json", "roots/1.root.json"} {
		if _, err := f.Load(name); err != nil {
			t.Error(err)
		}
	}
	// Another process counts what is there.
	again := folder(t, client.FolderConfig{Path: path, MaxBytes: 3000})
	if err := again.Save("new.json", make([]byte, 500)); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(path, "r*.json"))
	if err != nil || len(files) > 4 {
		t.Errorf("%v, %v", files, err)
	}
}

func TestFolderLockHasATimeLimit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	a, b := folder(t, client.FolderConfig{Path: path}), folder(t, client.FolderConfig{Path: path, LockWait: 20 * time.Millisecond})
	unlock, err := a.Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, err = b.Lock(t.Context())
	var locked *client.LockedError
	if !errors.As(err, &locked) || locked.Path != path {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.Lock(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	unlock()
	unlock, err = b.Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	unlock()
}

func TestFolderErrors(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"", file, filepath.Join(file, "x")} {
		var bad *client.StoreError
		if f, err := client.OpenFolder(client.FolderConfig{Path: path}); !errors.As(err, &bad) || bad.Op != "opening" {
			t.Errorf("%q: %v, %v", path, f, err)
		}
	}
	f := folder(t, client.FolderConfig{Path: filepath.Join(t.TempDir(), "state")})
	if err := os.Mkdir(filepath.Join(filepath.Dir(file), "dir"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Load("nothing.json"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// A process that is killed holds no lock, and leaves whole files.
func TestKill(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	for range 5 {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), savesVariable+"="+path)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(out, make([]byte, len("ready"))); err != nil {
			t.Fatal(err)
		}
		f := folder(t, client.FolderConfig{Path: path})
		for range 3 { // while it runs, the lock goes back and forth
			unlock, err := f.Lock(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			unlock()
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // it was killed
		unlock, err := f.Lock(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"timestamp.json", "roots/1.root.json", "project.flask.json"} {
			data, err := f.Load(name)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil || len(data) != 8000 || strings.Trim(strings.ReplaceAll(string(data), string(data[:8]), ""), " ") != "" {
				t.Errorf("%s: %d bytes, %v", name, len(data), err)
			}
		}
		unlock()
	}
}
