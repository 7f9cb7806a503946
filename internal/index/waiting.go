package index

import (
	"context"
	"errors"
	"time"

	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/internal/pypi"
)

// ErrNotWaiting says that no change of this name waits for the signer, or not any more.
var ErrNotWaiting = errors.New("no such change waits")

// Waiting keeps accepted changes that wait for the isolated signer of the index to be there.
type Waiting interface {
	// AddWaiting adds a change, and the event that says so, in one transaction. One of the same name stays as
	// it is, nothing is recorded, and the answer is false. Durable on return.
	AddWaiting(ctx context.Context, w WaitingChange, e publish.Event) (bool, error)

	// Waiting returns those that came after the one with this ID (0: all), oldest first, at most limit of them.
	Waiting(ctx context.Context, after int64, limit int) ([]WaitingChange, error)

	// WaitingNamed returns the one of a name, or ErrNotWaiting.
	WaitingNamed(ctx context.Context, name string) (WaitingChange, error)

	// CountWaiting returns how many there are.
	CountWaiting(ctx context.Context) (int, error)

	// RemoveWaiting drops a change, and records events, in one transaction. It is no error if the change is
	// gone; nothing is recorded then.
	RemoveWaiting(ctx context.Context, id int64, events ...publish.Event) error
}

// WaitingChange is an accepted change as it is kept.
type WaitingChange struct {
	ID       int64  // given by the ledger, rising; zero before
	Name     string // what it is about, such as "file demo-1.0.tar.gz": of two with one name, the first waits
	Project  pypi.Project
	Body     []byte // encoded by this package
	Token    string // identifier of the token that brought it
	Received time.Time
}
