package index

import (
	"context"
	"crypto/md5" //nolint:gosec // one of the three digests that upload tools send; nothing relies on it alone
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"

	"golang.org/x/crypto/blake2b"
)

// Content is an uploaded file on its way in: staged, hashed, not yet checked. It belongs to one
// goroutine, which must Close it.
type Content struct {
	staged Staged
	size   int64
	sha256 [32]byte
	md5    [16]byte
	blake2 [32]byte // BLAKE2b with a 256-bit digest
}

// Size returns the number of bytes.
func (c *Content) Size() int64 { return c.size }

// SHA256 returns the hash under which the content will be kept.
func (c *Content) SHA256() [32]byte { return c.sha256 }

// Close discards the content unless an upload has kept it. It may be called again.
func (c *Content) Close() error {
	if err := c.staged.Discard(); err != nil {
		return fmt.Errorf("discarding staged content: %w", err)
	}
	return nil
}

// Stage reads a file to its end into the file store, and computes the digests that uploads are
// checked against. The refusal is TooLarge as soon as the limit is passed, Invalid if the reader
// fails (a client that hung up), Unavailable if the store is full. Nothing stays behind then.
func (x *Index) Stage(ctx context.Context, r io.Reader) (*Content, error) {
	staged, err := x.files.Stage(ctx)
	if err != nil {
		return nil, storeError("staging an upload", err)
	}
	c := &Content{staged: staged}
	if err := c.fill(ctx, r, x.limits.FileSize); err != nil {
		return nil, errors.Join(err, staged.Discard())
	}
	return c, nil
}

// chunk is how much of an upload is in memory at a time, in bytes.
const chunk = 64 << 10

func (c *Content) fill(ctx context.Context, r io.Reader, limit int64) error {
	b2, err := blake2b.New256(nil)
	if err != nil {
		return fmt.Errorf("starting a BLAKE2b digest: %w", err)
	}
	s2, m5 := sha256.New(), md5.New() //nolint:gosec // see the import
	buf := make([]byte, chunk)
	for {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("receiving a file: %w", err)
		}
		n, readErr := r.Read(buf)
		if c.size += int64(n); c.size > limit {
			return refuse(TooLarge, "the file is larger than %d bytes, the limit of this index", limit)
		}
		for _, h := range []hash.Hash{s2, m5, b2} {
			h.Write(buf[:n])
		}
		if n > 0 {
			if _, err := c.staged.Write(buf[:n]); err != nil {
				return storeError("storing an upload", err)
			}
		}
		if readErr == io.EOF {
			break
		}
		if readErr != nil {
			return refuse(Invalid, "the upload broke off after %d bytes of the file; send it again", c.size).because(readErr)
		}
	}
	s2.Sum(c.sha256[:0])
	m5.Sum(c.md5[:0])
	b2.Sum(c.blake2[:0])
	return nil
}

// keep makes the content durable under its hash.
func (c *Content) keep(ctx context.Context) error {
	if err := c.staged.Keep(ctx, c.sha256); err != nil {
		return storeError("keeping an upload", err)
	}
	return nil
}

// storeError turns an error of the file store into a refusal if waiting helps.
func storeError(doing string, err error) error {
	if errors.Is(err, ErrFull) {
		return refuse(Unavailable, "the index has no room for files at the moment; nothing was changed, try again later").because(err)
	}
	return fmt.Errorf("%s: %w", doing, err)
}
