package durable_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"example.com/bailiwick/internal/durable"
)

func openRoot(t *testing.T) *os.Root {
	t.Helper()
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return root
}

func names(t *testing.T, root *os.Root) []string {
	t.Helper()
	entries, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

func wantContent(t *testing.T, root *os.Root, name, want string) {
	t.Helper()
	got, err := root.ReadFile(name)
	if err != nil || string(got) != want {
		t.Errorf("%s holds %q, %v; want %q", name, got, err, want)
	}
}

func TestCreateNeverReplaces(t *testing.T) {
	root := openRoot(t)
	if err := durable.Create(root, "a", []byte("first"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := durable.Create(root, "a", []byte("second"), 0o600); !errors.Is(err, fs.ErrExist) {
		t.Errorf("second Create: %v, want fs.ErrExist", err)
	}
	wantContent(t, root, "a", "first")
	if err := root.Symlink("nowhere", "link"); err != nil {
		t.Fatal(err)
	}
	if err := durable.Create(root, "link", []byte("x"), 0o600); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Create over a broken link: %v, want fs.ErrExist", err)
	}
	if got := names(t, root); !slices.Equal(got, []string{"a", "link"}) {
		t.Errorf("folder holds %q, want only a and link", got)
	}
	info, err := root.Stat("a")
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v; want 0600", info.Mode(), err)
	}
}

func TestReplaceIsAllOrNothingUnderReaders(t *testing.T) {
	root := openRoot(t)
	content := func(i int) string { return strings.Repeat(fmt.Sprint(i%10), 10_000) }
	if err := durable.Replace(root, "a", []byte(content(0)), 0o600); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				got, err := root.ReadFile("a")
				if err != nil || len(got) != 10_000 || strings.Trim(string(got), string(got[:1])) != "" {
					t.Errorf("a reader saw %d bytes, %v", len(got), err)
					return
				}
			}
		})
	}
	for i := range 50 {
		if err := durable.Replace(root, "a", []byte(content(i)), 0o600); err != nil {
			t.Error(err)
		}
	}
	close(done)
	wg.Wait()
	wantContent(t, root, "a", content(49))
}

// TestFaults fails every step of both protocols, before and after it took effect, and checks that
// the name is absent or whole, that an old content is only ever replaced by the whole new one, and
// that the same call works afterwards.
func TestFaults(t *testing.T) {
	cause := errors.New("injected")
	for _, kind := range []struct {
		name   string
		old    string // content before; empty: none
		do     func(*os.Root, string, []byte, *durable.Fault) error
		naming durable.Step
		repeat error
	}{
		{"create", "", durable.CreateFaulty, durable.StepLink, fs.ErrExist},
		{"replace", "old", durable.ReplaceFaulty, durable.StepRename, nil},
		{"replace nothing", "", durable.ReplaceFaulty, durable.StepRename, nil},
	} {
		for _, step := range []durable.Step{
			durable.StepCreate, durable.StepWrite, durable.StepSync, durable.StepClose,
			kind.naming, durable.StepSyncDir,
		} {
			for _, after := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/%s/after=%t", kind.name, step, after), func(t *testing.T) {
					root := openRoot(t)
					if kind.old != "" {
						if err := root.WriteFile("a", []byte(kind.old), 0o600); err != nil {
							t.Fatal(err)
						}
					}
					err := kind.do(root, "a", []byte("new content"), &durable.Fault{At: step, Err: cause, After: after})
					if !errors.Is(err, cause) {
						t.Fatalf("error %v, want the injected one", err)
					}
					visible := step == durable.StepSyncDir || step == kind.naming && after
					switch {
					case visible:
						wantContent(t, root, "a", "new content")
					case kind.old != "":
						wantContent(t, root, "a", kind.old)
					default:
						if _, err := root.Lstat("a"); !errors.Is(err, fs.ErrNotExist) {
							t.Errorf("a is there: %v", err)
						}
					}
					lost := step == durable.StepCreate && after // a file nobody was told of
					for _, n := range names(t, root) {
						if n != "a" && !lost {
							t.Errorf("%s was left behind", n)
						}
					}
					want := error(nil)
					if visible {
						want = kind.repeat
					}
					if err := kind.do(root, "a", []byte("new content"), &durable.Fault{}); !errors.Is(err, want) {
						t.Errorf("repeated: %v, want %v", err, want)
					}
					wantContent(t, root, "a", "new content")
				})
			}
		}
	}
}

func TestCreateWithoutHardLinks(t *testing.T) {
	root := openRoot(t)
	noLinks := func() *durable.Fault { return &durable.Fault{At: durable.StepLink, Err: syscall.EPERM} }
	if err := durable.CreateFaulty(root, "a", []byte("first"), noLinks()); err != nil {
		t.Fatal(err)
	}
	if err := durable.CreateFaulty(root, "a", []byte("second"), noLinks()); !errors.Is(err, fs.ErrExist) {
		t.Errorf("second Create: %v, want fs.ErrExist", err)
	}
	wantContent(t, root, "a", "first")
	if got := names(t, root); !slices.Equal(got, []string{"a"}) {
		t.Errorf("folder holds %q, want only a", got)
	}
}

func TestOrderOfSteps(t *testing.T) {
	root := openRoot(t)
	var f durable.Fault
	if err := durable.CreateFaulty(root, "a", []byte("data"), &f); err != nil {
		t.Fatal(err)
	}
	want := []durable.Step{
		durable.StepCreate, durable.StepWrite, durable.StepSync, durable.StepClose,
		durable.StepLink, durable.StepRemove, durable.StepSyncDir,
	}
	if !slices.Equal(f.Seen, want) {
		t.Errorf("steps %q, want %q: a name before its content is synced can be lost or torn", f.Seen, want)
	}
}

func TestNoSpaceIsNamed(t *testing.T) {
	for _, cause := range []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG} {
		root := openRoot(t)
		err := durable.CreateFaulty(root, "a", []byte("data"), &durable.Fault{At: durable.StepWrite, Err: &fs.PathError{Op: "write", Err: cause}})
		if !errors.Is(err, durable.ErrNoSpace) || !errors.Is(err, cause) {
			t.Errorf("%v: %v is not ErrNoSpace", cause, err)
		}
	}
	if durable.NoSpace(syscall.EIO) {
		t.Error("EIO counts as a lack of space")
	}
}

func TestNothingLeavesTheFolder(t *testing.T) {
	root := openRoot(t)
	outside := t.TempDir()
	if err := root.Symlink(outside, "out"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"../a", "out/a", "/a"} {
		if err := durable.Create(root, name, []byte("x"), 0o600); err == nil {
			t.Errorf("Create(%q) succeeded", name)
		}
		if err := durable.Replace(root, name, []byte("x"), 0o600); err == nil {
			t.Errorf("Replace(%q) succeeded", name)
		}
		if err := durable.Mkdir(root, name, 0o700); err == nil {
			t.Errorf("Mkdir(%q) succeeded", name)
		}
	}
	left, err := os.ReadDir(outside)
	if err != nil || len(left) != 0 {
		t.Errorf("outside holds %v, %v", left, err)
	}
}

func TestMoveNew(t *testing.T) {
	root := openRoot(t)
	for _, dir := range []string{"staging", "final"} {
		if err := root.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, content := range []string{"first", "second"} {
		if err := root.WriteFile("staging/"+content, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := durable.MoveNew(root, "staging/first", "final/a"); err != nil {
		t.Fatal(err)
	}
	if err := durable.MoveNew(root, "staging/second", "final/a"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("moving onto a file: %v, want fs.ErrExist", err)
	}
	wantContent(t, root, "final/a", "first")
	wantContent(t, root, "staging/second", "second")
	if _, err := root.Lstat("staging/first"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the old name is still there: %v", err)
	}
	if err := durable.MoveNew(root, "staging/missing", "final/b"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("moving a missing file: %v, want fs.ErrNotExist", err)
	}
}

func TestMkdirAndSyncDir(t *testing.T) {
	root := openRoot(t)
	if err := durable.Mkdir(root, "d", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := durable.Mkdir(root, "d", 0o700); !errors.Is(err, fs.ErrExist) {
		t.Errorf("second Mkdir: %v, want fs.ErrExist", err)
	}
	if err := durable.Create(root, "d/a", []byte("x"), 0o600); err != nil {
		t.Error(err)
	}
	if err := durable.SyncDir(root, "d"); err != nil {
		t.Error(err)
	}
	if err := durable.SyncDir(root, "missing"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("SyncDir of a missing folder: %v, want fs.ErrNotExist", err)
	}
}

func TestLockFolder(t *testing.T) {
	dir := t.TempDir()
	lock, err := durable.LockFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	_, err = durable.LockFolder(dir)
	if !errors.Is(err, durable.ErrInUse) {
		t.Fatalf("second lock: %v, want ErrInUse", err)
	}
	if !strings.Contains(err.Error(), dir) {
		t.Errorf("the message %q does not name the folder", err)
	}
	if err := lock.Unlock(); err != nil {
		t.Fatal(err)
	}
	if err := lock.Unlock(); err != nil {
		t.Errorf("second Unlock: %v", err)
	}
	again, err := durable.LockFolder(dir)
	if err != nil {
		t.Fatalf("after Unlock: %v", err)
	}
	if err := again.Unlock(); err != nil {
		t.Error(err)
	}
	if _, err := durable.LockFolder(filepath.Join(dir, "missing")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("locking a missing folder: %v, want fs.ErrNotExist", err)
	}
}

func TestFormat(t *testing.T) {
	root := openRoot(t)
	if _, err := durable.ReadFormat(root, 1); !errors.Is(err, durable.ErrNoFormat) {
		t.Errorf("unmarked folder: %v, want ErrNoFormat", err)
	}
	if err := durable.CreateFormat(root, 0); err == nil {
		t.Error("format 0 was accepted")
	}
	if err := durable.CreateFormat(root, 2); err != nil {
		t.Fatal(err)
	}
	if err := durable.CreateFormat(root, 3); !errors.Is(err, fs.ErrExist) {
		t.Errorf("second mark: %v, want fs.ErrExist", err)
	}
	if n, err := durable.ReadFormat(root, 2); n != 2 || err != nil {
		t.Errorf("ReadFormat = %d, %v; want 2", n, err)
	}
	if n, err := durable.ReadFormat(root, 5); n != 2 || err != nil {
		t.Errorf("an older format: %d, %v; want 2", n, err)
	}
	if _, err := durable.ReadFormat(root, 1); !errors.Is(err, durable.ErrNewer) {
		t.Errorf("a newer format: %v, want ErrNewer", err)
	}
	for _, bad := range []string{"", "\n", "x", "1x", "-1", "0", "1\n\n", "1 ", "99999999999999999999", strings.Repeat("1", 100)} {
		if err := root.WriteFile("format", []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if n, err := durable.ReadFormat(root, 1<<30); err == nil {
			t.Errorf("format %q was read as %d", bad, n)
		}
	}
}

func BenchmarkReplace(b *testing.B) {
	root, err := os.OpenRoot(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer root.Close()
	data := make([]byte, 4096)
	for b.Loop() {
		if err := durable.Replace(root, "a", data, 0o600); err != nil {
			b.Fatal(err)
		}
	}
}

func TestOthersMayWrite(t *testing.T) {
	if runtime.GOOS == "windows" {
		return // modes do not say it there
	}
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for mode, want := range map[fs.FileMode]bool{0o600: false, 0o755: false, 0o620: true, 0o602: true, 0o777: true} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := durable.OthersMayWrite(info); got != want {
			t.Errorf("mode %04o: %t", mode, got)
		}
		if uid, foreign := durable.Foreign(info); foreign {
			t.Errorf("my own file is that of %d", uid)
		}
	}
}

// TestExplain: a full and a read-only disk are told from other faults, once, with what to do.
func TestExplain(t *testing.T) {
	for cause, want := range map[error]error{syscall.ENOSPC: durable.ErrNoSpace, syscall.EROFS: durable.ErrReadOnly, syscall.EIO: syscall.EIO} {
		err := durable.Explain("writing", "/a/b", &fs.PathError{Op: "write", Path: "b", Err: cause})
		again := durable.Explain("exporting", "/c", err)
		for _, e := range []error{err, again} {
			if !errors.Is(e, want) || !errors.Is(e, cause) || strings.Count(e.Error(), want.Error()) != 1 {
				t.Errorf("%v: %v", cause, e)
			}
		}
		if !strings.HasPrefix(err.Error(), "writing /a/b: ") || again.Error() != "exporting /c: "+err.Error() {
			t.Errorf("%v: %v, %v", cause, err, again)
		}
	}
}
