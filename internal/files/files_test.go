package files_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"example.com/bailiwick/internal/files"
	"example.com/bailiwick/internal/files/filestest"
	"example.com/bailiwick/internal/index"
	"example.com/bailiwick/internal/needs"
)

func createMemory(testing.TB) (filestest.Store, func() filestest.Store) {
	m := files.NewMemory()
	return m, func() filestest.Store { return m }
}

func createFolder(t testing.TB) (filestest.Store, func() filestest.Store) {
	dir := t.TempDir()
	s, err := files.Create(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s, func() filestest.Store {
		s, err := files.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
}

func TestMemory(t *testing.T) { filestest.Run(t, createMemory) }

func TestFolder(t *testing.T) { filestest.Run(t, createFolder) }

func BenchmarkFolder(b *testing.B) { filestest.Bench(b, createFolder) }

// folder makes a store and returns its data folder too.
func folder(t *testing.T) (*files.Folder, string) {
	t.Helper()
	dir := t.TempDir()
	s, err := files.Create(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s, dir
}

func keep(t *testing.T, s *files.Folder, data string) (sum [32]byte, name string) {
	t.Helper()
	sum = sha256.Sum256([]byte(data))
	st, err := s.Stage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := st.Write([]byte(data)); err != nil {
		t.Fatal(err)
	}
	if err := st.Keep(t.Context(), sum); err != nil {
		t.Fatal(err)
	}
	text := hex.EncodeToString(sum[:])
	return sum, filepath.Join("files", text[:2], text)
}

func wantEntries(t *testing.T, dir string, want int) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != want {
		t.Errorf("%s holds %d entries, %v; want %d", dir, len(entries), err, want)
	}
}

func TestCreateAndOpenAreDifferent(t *testing.T) {
	dir := t.TempDir()
	if _, err := files.Open(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("opening nothing: %v, want fs.ErrNotExist", err)
	}
	wantEntries(t, dir, 0)
	s, err := files.Create(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := files.Create(dir); !errors.Is(err, fs.ErrExist) {
		t.Errorf("creating twice: %v, want fs.ErrExist", err)
	}
	if _, err := files.Create(filepath.Join(dir, "missing")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("creating in a missing folder: %v, want fs.ErrNotExist", err)
	}
}

func TestLayout(t *testing.T) {
	s, dir := folder(t)
	_, name := keep(t, s, "content")
	info, err := os.Lstat(filepath.Join(dir, name))
	if err != nil || info.Mode() != 0o444 || info.Size() != 7 {
		t.Errorf("%s: %v, %v; want 7 bytes, mode 0444", name, info, err)
	}
	wantEntries(t, filepath.Join(dir, "staging"), 0)
	keep(t, s, "content")
	wantEntries(t, filepath.Join(dir, "staging"), 0)
	wantEntries(t, filepath.Dir(filepath.Join(dir, name)), 1)
	wantEntries(t, filepath.Join(dir, "files"), 256)
}

func TestOpenClearsStagingAndMakesShards(t *testing.T) {
	s, dir := folder(t)
	st, err := s.Stage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := st.Write([]byte("lost")); err != nil {
		t.Fatal(err)
	}
	wantEntries(t, filepath.Join(dir, "staging"), 1)
	if err := os.Mkdir(filepath.Join(dir, "staging", "odd"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "files", "ed")); err != nil { // sha256("content") begins so
		t.Fatal(err)
	}
	again, err := files.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	wantEntries(t, filepath.Join(dir, "staging"), 0)
	if _, name := keep(t, again, "content"); filepath.Base(filepath.Dir(name)) != "ed" {
		t.Fatalf("the test removed the wrong shard: %s", name)
	}
	if err := st.Discard(); err != nil {
		t.Errorf("discarding what is gone: %v", err)
	}
}

func TestLinksAreRefused(t *testing.T) {
	s, dir := folder(t)
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.WriteFile(outside, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, target := range []string{"../../secret", secret, outside, "/dev/zero"} {
		sum, name := keep(t, s, target)
		full := filepath.Join(dir, name)
		if err := errors.Join(os.Remove(full), os.Symlink(target, full)); err != nil {
			t.Fatal(err)
		}
		if b, err := s.Open(t.Context(), sum); !errors.Is(err, files.ErrDamaged) {
			t.Errorf("link to %s: %v, %v; want ErrDamaged", target, b, err)
		}
		st, err := s.Stage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := st.Keep(t.Context(), sum); !errors.Is(err, files.ErrDamaged) {
			t.Errorf("keeping over a link to %s: %v, want ErrDamaged", target, err)
		}
		if err := st.Discard(); err != nil {
			t.Error(err)
		}
	}
	got, err := os.ReadFile(secret)
	if err != nil || string(got) != "secret" {
		t.Errorf("the file behind the link holds %q, %v", got, err)
	}
	wantEntries(t, filepath.Join(dir, "staging"), 0)
}

func TestDamagedShard(t *testing.T) {
	s, dir := folder(t)
	_, name := keep(t, s, "content")
	shard := filepath.Dir(filepath.Join(dir, name))
	if err := os.RemoveAll(shard); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte("content"))
	if _, err := s.Open(t.Context(), sum); !errors.Is(err, index.ErrNoBlob) {
		t.Errorf("Open: %v, want ErrNoBlob", err)
	}
	st, err := s.Stage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := st.Keep(t.Context(), sum); err == nil {
		t.Error("kept into a missing folder")
	}
	if err := st.Discard(); err != nil {
		t.Error(err)
	}
	wantEntries(t, filepath.Join(dir, "staging"), 0)
}

func TestFullDisk(t *testing.T) {
	if needs.Mounts(t) {
		return
	}
	dir := needs.NewDisk(t).Dir
	s, err := files.Create(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	before, name := keep(t, s, "kept before")
	st, err := s.Stage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = st.Write(make([]byte, 100_000))
	}
	if !errors.Is(err, index.ErrFull) {
		t.Errorf("writing to a full disk: %v, want ErrFull", err)
	}
	if err := st.Keep(t.Context(), sha256.Sum256([]byte("torn"))); !errors.Is(err, index.ErrFull) {
		t.Errorf("keeping what was not written: %v, want ErrFull", err)
	}
	if _, err := s.Open(t.Context(), sha256.Sum256([]byte("torn"))); !errors.Is(err, index.ErrNoBlob) {
		t.Errorf("torn content: %v, want ErrNoBlob", err)
	}
	if err := st.Discard(); err != nil {
		t.Error(err)
	}
	wantEntries(t, filepath.Join(dir, "staging"), 0)
	if b, err := s.Open(t.Context(), before); err != nil || b.Size() != 11 {
		t.Errorf("%s: %v", name, err)
	} else if err := b.Close(); err != nil {
		t.Error(err)
	}
	keep(t, s, "there is space again")
}

func TestReadOnlyFileSystem(t *testing.T) {
	if needs.Mounts(t) {
		return
	}
	disk := needs.NewDisk(t)
	s, err := files.Create(disk.Dir)
	if err != nil {
		t.Fatal(err)
	}
	sum, _ := keep(t, s, "content")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	disk.ReadOnly()
	s, err = files.Open(disk.Dir) // reading is possible
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	b, err := s.Open(t.Context(), sum)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	if _, err := s.Stage(t.Context()); err == nil || errors.Is(err, index.ErrFull) {
		t.Errorf("staging on a read-only file system: %v", err)
	}
}
