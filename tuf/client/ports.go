package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// A Fetcher gets files from a repository. It decides nothing about trust, and
// whatever it returns is verified. Implementations are safe for concurrent use.
type Fetcher interface {
	// Metadata returns the metadata file of that name, such as
	// "7.project.flask.json". The name is one path segment, raw: a role may be
	// called "a/b" or "..", and the fetcher encodes that. It returns ErrAbsent
	// if the repository says that there is no such file, ErrTooLarge if it has
	// more than limit bytes (after any decompression; without reading on), and a
	// *NetworkError if the answer says nothing about the file.
	//
	// For the next root ("8.root.json"), and only for it, a refusal to say
	// counts as absent as well (HTTP 403, 410): that is how storage services
	// answer for what they do not have.
	Metadata(ctx context.Context, name string, limit int64) ([]byte, error)

	// Target returns the bytes of a target file from offset on. The name is a
	// path: its slashes separate, and each segment is encoded. Errors are those
	// of Metadata, from Target itself or from reading. The caller reads only as
	// much as it expects, and closes.
	Target(ctx context.Context, name string, offset int64) (io.ReadCloser, error)
}

// A Store keeps what was accepted, between sessions and among processes. Names
// are those that package client makes: "root.json", "roots/7.root.json",
// "project.flask.json". Implementations are safe for concurrent use, by several
// processes if they share a place.
type Store interface {
	// Load returns the bytes of the last Save of that name, or an error for
	// which errors.Is(err, fs.ErrNotExist) holds. It never returns a mixture of
	// two Saves. What it returns belongs to the caller.
	Load(name string) ([]byte, error)

	// Save replaces what is kept under a name, or leaves it as it was. The names
	// of top-level roles and roots are durable on return. Others are a cache: a
	// store may lose them at any time, to stay within its size. It must not keep
	// a reference to data. A refresh saves several names at once.
	Save(name string, data []byte) error

	// Remove drops a name, durably. It is no error if there is nothing.
	Remove(name string) error

	// Lock waits until no one else holds the lock of this store, in this process
	// or another. It guards the sequence of a refresh; Load and Save of single
	// names need no lock. It returns a *LockedError if waiting took too long,
	// and the context's error if that ended. unlock may be called once. A holder
	// that dies holds nothing.
	Lock(ctx context.Context) (unlock func(), err error)
}

// ErrAbsent is a repository's answer that it has no such file.
var ErrAbsent = errors.New("the repository does not have it")

// ErrTooLarge says that a file has more bytes than its limit.
var ErrTooLarge = errors.New("more bytes than allowed")

// A NetworkError says that nothing was learned: the repository was not reached,
// did not answer in time, or answered with a status that says nothing about
// the file. Nobody was caught cheating; try again.
type NetworkError struct {
	URL    string // without credentials
	Status int    // HTTP status; 0 if there was no answer
	Err    error  // why; nil if Status says all
}

func (e *NetworkError) Error() string {
	switch {
	case e.Status != 0 && e.Err != nil:
		return fmt.Sprintf("fetching %s: status %d: %v", e.URL, e.Status, e.Err)
	case e.Status != 0:
		return fmt.Sprintf("fetching %s: the server answered with status %d", e.URL, e.Status)
	}
	return fmt.Sprintf("fetching %s: %v", e.URL, e.Err)
}

// Unwrap returns why, or nil.
func (e *NetworkError) Unwrap() error { return e.Err }

// A StoreError says that the local state could not be read or written. The
// repository has nothing to do with it.
type StoreError struct {
	Op   string // "loading", "saving", "removing", "locking", "opening"
	Name string // what
	Err  error  // why; never nil
}

func (e *StoreError) Error() string { return fmt.Sprintf("%s %s: %v", e.Op, e.Name, e.Err) }

// Unwrap returns why.
func (e *StoreError) Unwrap() error { return e.Err }

// A LockedError says that somebody else kept the store's lock for too long.
type LockedError struct {
	Path   string        // the folder
	Waited time.Duration // for so long
}

func (e *LockedError) Error() string {
	return fmt.Sprintf("%s has been locked by another process for more than %s; wait for it or end it", e.Path, e.Waited)
}
