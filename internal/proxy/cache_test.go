package proxy_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"example.com/bailiwick/internal/proxy"
	"example.com/bailiwick/internal/verify"
)

func openCache(t *testing.T, dir string, size int64, now func() time.Time) *proxy.Cache {
	t.Helper()
	c, err := proxy.OpenCache(dir, size, now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func keep(t *testing.T, c *proxy.Cache, data []byte) [sha256.Size]byte {
	t.Helper()
	s, err := c.Stage(int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Write(data); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(data)
	if err := s.Keep(sum); err != nil {
		t.Fatal(err)
	}
	return sum
}

func cached(c *proxy.Cache, sum [sha256.Size]byte) ([]byte, error) {
	b, err := c.Open(sum)
	if err != nil {
		return nil, err
	}
	defer b.Close()
	return io.ReadAll(b)
}

// countFiles is how many files are below a folder.
func countFiles(t *testing.T, dir string) int {
	t.Helper()
	n := 0
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			n++
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestCacheKeeps(t *testing.T) {
	dir := t.TempDir()
	c := openCache(t, dir, 1<<20, time.Now)
	data := []byte("a wheel")
	if _, err := c.Open(sha256.Sum256(data)); !errors.Is(err, verify.ErrNoFile) {
		t.Errorf("an empty cache: %v", err)
	}
	sum := keep(t, c, data)
	other := openCache(t, dir, 1<<20, time.Now)
	if got, err := cached(other, sum); err != nil || !bytes.Equal(got, data) {
		t.Errorf("another process: %q, %v", got, err)
	}
	open, err := c.Open(sum)
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	if err := errors.Join(c.Remove(sum), c.Remove(sum)); err != nil {
		t.Errorf("removing, twice: %v", err)
	}
	if got, err := io.ReadAll(open); err != nil || !bytes.Equal(got, data) || open.Size() != int64(len(data)) {
		t.Errorf("a file that was removed while open: %q, %v", got, err)
	}
	if _, err := cached(c, sum); !errors.Is(err, verify.ErrNoFile) {
		t.Errorf("after removing: %v", err)
	}
}

func TestCacheStages(t *testing.T) {
	dir := t.TempDir()
	c := openCache(t, dir, 1<<20, time.Now)
	s, err := c.Stage(5)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Write([]byte("abc")); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 2)
	if _, err := s.ReadAt(got, 1); err != nil || string(got) != "bc" {
		t.Errorf("reading what is written: %q, %v", got, err)
	}
	if _, err := s.Write([]byte("def")); err == nil {
		t.Error("more than announced was taken")
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if n := countFiles(t, dir); n != 0 {
		t.Errorf("%d files are left of one that was not kept", n)
	}
}

func TestCacheIsBounded(t *testing.T) {
	dir := t.TempDir()
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	clock := func() time.Time { now = now.Add(time.Minute); return now }
	c := openCache(t, dir, 10_000, clock)
	var sums [][sha256.Size]byte
	for i := range 8 {
		sums = append(sums, keep(t, c, bytes.Repeat([]byte{byte(i)}, 1000)))
		if _, err := cached(c, sums[0]); err != nil { // used again and again
			t.Fatalf("after %d files: %v", i+1, err)
		}
		for _, sum := range sums {
			_, _ = cached(c, sum)
		}
		_, _ = cached(c, sums[0])
	}
	big := keep(t, c, bytes.Repeat([]byte{9}, 5000))
	var total int
	for _, sum := range append(sums, big) {
		data, err := cached(c, sum)
		if err == nil {
			total += len(data)
		}
	}
	if total > 9_000 {
		t.Errorf("%d bytes are kept, want at most nine tenths of 10,000", total)
	}
	if _, err := cached(c, big); err != nil {
		t.Errorf("the newest file is gone: %v", err)
	}
	if _, err := cached(c, sums[0]); err != nil {
		t.Errorf("the file in use is gone: %v", err)
	}
	if _, err := cached(c, sums[1]); !errors.Is(err, verify.ErrNoFile) {
		t.Errorf("the file not used for longest is still there: %v", err)
	}
}

func TestCacheForgetsDeadProcesses(t *testing.T) {
	dir := t.TempDir()
	openCache(t, dir, 1<<20, time.Now)
	for name, age := range map[string]time.Duration{"old": 25 * time.Hour, "young": time.Hour} {
		path := filepath.Join(dir, "staging", name)
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		when := time.Now().Add(-age)
		if err := os.Chtimes(path, when, when); err != nil {
			t.Fatal(err)
		}
	}
	openCache(t, dir, 1<<20, time.Now)
	if _, err := os.Stat(filepath.Join(dir, "staging", "old")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("old: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "staging", "young")); err != nil {
		t.Errorf("young: %v", err)
	}
}

// TestCacheIsShared: processes that keep and trim the same folder do not hurt each other.
func TestCacheIsShared(t *testing.T) {
	dir := t.TempDir()
	var wait sync.WaitGroup
	for p := range 4 {
		c := openCache(t, dir, 20_000, time.Now)
		wait.Go(func() {
			for i := range 50 {
				data := []byte(fmt.Sprintf("%d %0999d", p%2, i)) // two write the same files
				s, err := c.Stage(int64(len(data)))
				if err != nil {
					t.Error(err)
					return
				}
				_, err = s.Write(data)
				if err = errors.Join(err, s.Keep(sha256.Sum256(data)), s.Close()); err != nil {
					t.Error(err)
				}
				got, err := cached(c, sha256.Sum256(data))
				if err == nil && !bytes.Equal(got, data) || err != nil && !errors.Is(err, verify.ErrNoFile) {
					t.Errorf("%d bytes, %v", len(got), err)
				}
			}
		})
	}
	wait.Wait()
	if n := countFiles(t, dir); n > 24 {
		t.Errorf("%d files of 1 kB are left in a cache of 20 kB", n)
	}
}

func TestCacheRefusesNonsense(t *testing.T) {
	if _, err := proxy.OpenCache(t.TempDir(), 0, time.Now); err == nil {
		t.Error("a cache of no size")
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := proxy.OpenCache(filepath.Join(file, "below"), 1, time.Now); err == nil {
		t.Error("a folder below a file")
	}
}
