package proxy

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"sync"
	"time"

	"example.com/bailiwick/internal/verify"
)

// staleAfter is how old an unfinished file is before it is taken for a dead process's.
const staleAfter = 24 * time.Hour

// Cache keeps package files in a folder, under their SHA-256, within a size. Several processes may
// share the folder: files appear by renaming and are never changed, and whoever sees the folder grow
// past its size removes what was not used for longest. Nothing is synced: the engine hashes every
// file before it trusts it, so a crash costs one download at most.
//
// A Cache is safe for concurrent use.
type Cache struct {
	root *os.Root
	max  int64
	now  func() time.Time

	mu    sync.Mutex
	bytes int64 // estimate of what the folder holds; other processes change it, too
	known bool  // bytes was counted once
}

var _ verify.Cache = (*Cache)(nil)

// OpenCache opens or makes the folder. maxBytes bounds what stays there; one file may be larger and
// is removed first.
func OpenCache(folder string, maxBytes int64, now func() time.Time) (*Cache, error) {
	if maxBytes <= 0 {
		return nil, fmt.Errorf("the size of the cache must be positive, not %d", maxBytes)
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, fmt.Errorf("making the cache folder: %w", err)
	}
	root, err := os.OpenRoot(folder)
	if err != nil {
		return nil, fmt.Errorf("opening the cache folder: %w", err)
	}
	c := &Cache{root: root, max: maxBytes, now: now}
	if err := root.MkdirAll("staging", 0o700); err != nil {
		return nil, errors.Join(fmt.Errorf("making the cache folder: %w", err), root.Close())
	}
	c.removeStale()
	return c, nil
}

// Close gives up the folder. Open files stay readable.
func (c *Cache) Close() error { return c.root.Close() }

// removeStale deletes what dead processes left unfinished; what cannot be deleted is left to the next.
func (c *Cache) removeStale() {
	entries, err := fs.ReadDir(c.root.FS(), "staging")
	if err != nil {
		return
	}
	for _, entry := range entries {
		info, err := entry.Info()
		if err == nil && c.now().Sub(info.ModTime()) > staleAfter {
			_ = c.root.Remove("staging/" + entry.Name())
		}
	}
}

func cacheName(sum [sha256.Size]byte) string {
	name := hex.EncodeToString(sum[:])
	return "files/" + name[:2] + "/" + name
}

// cachedFile is a file of the cache. It embeds *os.File so that the kernel can send it.
type cachedFile struct {
	*os.File
	size int64
}

// Size is the length of the file in bytes.
func (f *cachedFile) Size() int64 { return f.size }

// Open opens a file and marks it as used.
func (c *Cache) Open(sum [sha256.Size]byte) (verify.Blob, error) {
	f, err := c.root.Open(cacheName(sum))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, verify.ErrNoFile
	}
	if err != nil {
		return nil, fmt.Errorf("opening a cached file: %w", err)
	}
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(verify.ErrNoFile, err, f.Close())
	}
	now := c.now()
	_ = c.root.Chtimes(cacheName(sum), now, now) // only the order of removal depends on it
	return &cachedFile{File: f, size: info.Size()}, nil
}

// Remove deletes a file.
func (c *Cache) Remove(sum [sha256.Size]byte) error {
	err := c.root.Remove(cacheName(sum))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing a cached file: %w", err)
	}
	return nil
}

// stagedFile is a file being written.
type stagedFile struct {
	*os.File
	cache   *Cache
	name    string
	left    int64 // bytes that may still be written
	written int64
	kept    bool
}

// Stage makes a new invisible file.
func (c *Cache) Stage(size int64) (verify.Staged, error) {
	name := "staging/" + rand.Text()
	f, err := c.root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("making a file in the cache: %w", err)
	}
	return &stagedFile{File: f, cache: c, name: name, left: size}, nil
}

var errTooMuch = errors.New("more bytes than were announced")

// Write appends; more than was announced is an error.
func (s *stagedFile) Write(p []byte) (int, error) {
	if int64(len(p)) > s.left {
		return 0, errTooMuch
	}
	n, err := s.File.Write(p)
	s.left -= int64(n)
	s.written += int64(n)
	return n, err
}

// Keep makes the file visible. The content decides the name, so replacing is harmless.
func (s *stagedFile) Keep(sum [sha256.Size]byte) error {
	name := cacheName(sum)
	if err := s.cache.root.MkdirAll(path.Dir(name), 0o700); err != nil {
		return fmt.Errorf("keeping a file in the cache: %w", err)
	}
	if err := s.cache.root.Rename(s.name, name); err != nil {
		return fmt.Errorf("keeping a file in the cache: %w", err)
	}
	s.kept = true
	now := s.cache.now()
	_ = s.cache.root.Chtimes(name, now, now) // only the order of removal depends on it
	s.cache.grew(s.written)
	return nil
}

// Close gives up the file, and removes it unless it was kept.
func (s *stagedFile) Close() error {
	err := s.File.Close()
	if !s.kept {
		err = errors.Join(err, s.cache.root.Remove(s.name))
	}
	return err
}

// grew accounts for a new file and trims the folder when it is over its size.
func (c *Cache) grew(bytes int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bytes += bytes
	if c.known && c.bytes <= c.max {
		return
	}
	c.trim()
}

// cacheEntry is one file as trim sees it.
type cacheEntry struct {
	name string
	size int64
	used time.Time
}

// trim counts the folder and, when it is over its size, removes what was not used for longest until a
// tenth is free, so that not every download has to count again. c.mu is held.
func (c *Cache) trim() {
	var files []cacheEntry
	var total int64
	// Files may vanish while we look: other processes trim, too.
	_ = fs.WalkDir(c.root.FS(), "files", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return nil //nolint:nilerr // what cannot be read cannot be counted
		}
		if info, err := entry.Info(); err == nil {
			files = append(files, cacheEntry{name: name, size: info.Size(), used: info.ModTime()})
			total += info.Size()
		}
		return nil
	})
	c.known = true
	if total > c.max {
		slices.SortFunc(files, func(a, b cacheEntry) int { return a.used.Compare(b.used) })
		for _, f := range files {
			if total <= c.max-c.max/10 {
				break
			}
			if err := c.root.Remove(f.name); err == nil || errors.Is(err, fs.ErrNotExist) {
				total -= f.size
			}
		}
	}
	c.bytes = total
}
