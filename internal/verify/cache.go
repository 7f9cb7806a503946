package verify

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
)

// ErrNoFile is what a [Cache] answers when it does not have the file.
var ErrNoFile = errors.New("the cache does not have the file")

// Cache keeps downloaded files under their SHA-256. It may be shared by several processes and may
// lose or damage any file at any time: the engine hashes what it finds before it uses it. The
// implementation bounds its own size.
type Cache interface {
	// Open opens the file kept under sum, or gives ErrNoFile. It marks the file as used now. The
	// file stays readable until closed even if it is removed meanwhile.
	Open(sum [sha256.Size]byte) (Blob, error)
	// Stage begins a new file of at most size bytes. It is invisible until kept.
	Stage(size int64) (Staged, error)
	// Remove forgets the file kept under sum; an absent one is no error.
	Remove(sum [sha256.Size]byte) error
}

// Blob is an open file. ReadAt is safe for concurrent use; Read and Seek are not.
type Blob interface {
	io.ReadSeekCloser
	io.ReaderAt
	Size() int64
}

// Staged is a file that is being written by one goroutine while others read what is already there.
type Staged interface {
	io.Writer
	io.ReaderAt
	// Keep makes the bytes written so far visible under sum. Keeping what is there already is fine.
	// The staged file stays readable until Close.
	Keep(sum [sha256.Size]byte) error
	// Close gives up the handle, and the bytes unless they were kept.
	Close() error
}

// anySize is the size of a file whose length is not signed.
const anySize = -1

// verifiedBlob opens a cached file and, the first time in the life of this engine, hashes it: a
// cache folder may come from anywhere. A damaged file is removed.
func (e *Engine) verifiedBlob(sum [sha256.Size]byte, size int64) (Blob, error) {
	blob, err := e.cache.Open(sum)
	if err != nil {
		return nil, err
	}
	if (blob.Size() == size || size == anySize) && e.wasHashed(sum) {
		return blob, nil
	}
	err = checkBlob(blob, sum, size)
	if err == nil {
		e.markHashed(sum)
		return blob, nil
	}
	return nil, errors.Join(ErrNoFile, err, blob.Close(), e.cache.Remove(sum))
}

func checkBlob(blob Blob, sum [sha256.Size]byte, size int64) error {
	if size != anySize && blob.Size() != size {
		return fmt.Errorf("cached file has %d bytes, not %d", blob.Size(), size)
	}
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(blob, 0, blob.Size())); err != nil {
		return fmt.Errorf("reading a cached file: %w", err)
	}
	if [sha256.Size]byte(h.Sum(nil)) != sum {
		return errors.New("cached file was changed")
	}
	return nil
}

func (e *Engine) wasHashed(sum [sha256.Size]byte) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.hashed[sum]
}

func (e *Engine) markHashed(sum [sha256.Size]byte) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.hashed) >= maxRemembered {
		clear(e.hashed) // the next use hashes once more
	}
	e.hashed[sum] = true
}
