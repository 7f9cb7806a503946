package index

import (
	"context"
	"errors"
	"io"
	"time"

	"example.com/bailiwick/internal/pypi"
)

// Errors of [Files] and [Tokens]. An implementation wraps them; callers test with errors.Is.
var (
	// ErrNoBlob: no content with this SHA-256 is kept.
	ErrNoBlob = errors.New("no such content")
	// ErrNoToken: no token has this hash.
	ErrNoToken = errors.New("no such token")
	// ErrFull: the content could not be stored because space has run out. The caller may try
	// again later; nothing was kept.
	ErrFull = errors.New("no space left for content")
)

// Files keeps immutable content under its SHA-256: distribution files, and the METADATA files
// taken out of them. All methods may be called concurrently.
type Files interface {
	// Stage returns a place for content whose hash is not known yet. The caller ends it with
	// exactly one of Keep and Discard. What a crash leaves behind is removed by the adapter.
	Stage(ctx context.Context) (Staged, error)

	// Open returns kept content, or ErrNoBlob. The adapter does not check the hash on reading;
	// the caller closes the blob.
	Open(ctx context.Context, sum [32]byte) (Blob, error)
}

// Staged is content on its way in. It belongs to one goroutine.
type Staged interface {
	// Write appends. After an error (ErrFull among them) only Discard makes sense.
	io.Writer

	// ReadAt reads what was written so far, for looking into an archive before keeping it.
	io.ReaderAt

	// Keep stores the content under its hash, which the caller has computed, and ends the staging.
	// On nil the content and its name are durable. Content that is kept under sum already is left
	// as it is, and that is success. It may be repeated after an error; Discard after an error
	// releases the space.
	Keep(ctx context.Context, sum [32]byte) error

	// Discard throws the content away. It does nothing after a successful Keep or a first Discard,
	// so that it can be deferred.
	Discard() error
}

// Blob is kept content, open for reading. It belongs to one goroutine.
type Blob interface {
	io.ReadSeekCloser
	Size() int64 // bytes
}

// Token is the right to upload. The secret itself is never stored.
type Token struct {
	ID       string         // short public name, shown in lists and logs
	Hash     [32]byte       // SHA-256 of the secret, the whole string with its prefix
	Projects []pypi.Project // where it may upload; nil: every project
	Note     string         // for people
	Created  time.Time      // UTC, whole seconds
	Revoked  time.Time      // UTC, whole seconds; zero: still good
}

// Tokens keeps the tokens. All methods may be called concurrently.
type Tokens interface {
	// Token returns the token with this hash, revoked ones included, or ErrNoToken.
	Token(ctx context.Context, hash [32]byte) (Token, error)

	// PutToken adds a token or replaces the one with the same hash; durable on return, and visible
	// to the next call of Token. Safe to repeat.
	PutToken(ctx context.Context, token Token) error

	// Tokens returns all of them, oldest first.
	Tokens(ctx context.Context) ([]Token, error)
}
