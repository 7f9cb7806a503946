package publish_test

import (
	"context"
	"errors"
	"sync"
	"time"

	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/tuf"
)

var errInjected = errors.New("injected: the disk is full")

// outcome is what an injected fault does.
type outcome int

const (
	nothingDone   outcome = iota + 1 // the step fails and has no effect
	doneButFailed                    // the step has its effect, and its answer is lost
)

// faulty wraps a ledger. Tests set what fails, and may hold commits up.
type faulty struct {
	mu      sync.Mutex         // guards what follows
	inner   publish.Ledger     // what is behind it now
	fail    map[string]outcome // by method; stays until cleared
	commits int                // that came through to the ledger
	gate    chan struct{}      // if not nil, Commit waits until it is closed
	waiting chan struct{}      // a commit that waits says so here
}

func newFaulty(l publish.Ledger) *faulty { return &faulty{inner: l} }

// use puts another ledger in the place of the one behind.
func (f *faulty) use(l publish.Ledger) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.inner = l
}

func (f *faulty) ledger() publish.Ledger {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.inner
}

func (f *faulty) set(method string, o outcome) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail = map[string]outcome{method: o}
}

func (f *faulty) clear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail = nil
}

func (f *faulty) of(method string) outcome {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.fail[method]
}

// hold makes the next commit wait. It returns a channel that tells when one does, and a function
// that lets it go on.
func (f *faulty) hold() (reached <-chan struct{}, release func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	gate := make(chan struct{})
	f.gate, f.waiting = gate, make(chan struct{}, 1)
	return f.waiting, func() {
		f.mu.Lock()
		f.gate = nil
		f.mu.Unlock()
		close(gate)
	}
}

func (f *faulty) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.commits
}

func (f *faulty) Head(ctx context.Context) (publish.Head, error) {
	if f.of("Head") != 0 {
		return publish.Head{}, errInjected
	}
	return f.ledger().Head(ctx)
}

func (f *faulty) Roles(ctx context.Context) ([]publish.Role, error) {
	if f.of("Roles") != 0 {
		return nil, errInjected
	}
	return f.ledger().Roles(ctx)
}

func (f *faulty) Metadata(ctx context.Context, role tuf.RoleName, version int64) (publish.Metadata, error) {
	if f.of("Metadata") != 0 {
		return publish.Metadata{}, errInjected
	}
	return f.ledger().Metadata(ctx, role, version)
}

func (f *faulty) File(ctx context.Context, name pypi.Filename) (publish.File, error) {
	if f.of("File") != 0 {
		return publish.File{}, errInjected
	}
	return f.ledger().File(ctx, name)
}

func (f *faulty) Commit(ctx context.Context, p *publish.Publication) error {
	f.mu.Lock()
	gate, waiting := f.gate, f.waiting
	f.mu.Unlock()
	if gate != nil {
		waiting <- struct{}{}
		<-gate
	}
	o := f.of("Commit")
	if o == nothingDone {
		return errInjected
	}
	err := f.ledger().Commit(ctx, p)
	if err == nil {
		f.mu.Lock()
		f.commits++
		f.mu.Unlock()
	}
	if o == doneButFailed {
		return errInjected
	}
	return err
}

func (f *faulty) Prune(ctx context.Context, roles, pinners time.Time, limit int) (int, error) {
	switch f.of("Prune") {
	case nothingDone:
		return 0, errInjected
	case doneButFailed:
		_, err := f.ledger().Prune(ctx, roles, pinners, limit)
		return 0, errors.Join(err, errInjected)
	}
	return f.ledger().Prune(ctx, roles, pinners, limit)
}

func (f *faulty) Record(ctx context.Context, from int64, limit int) ([]publish.RecordEntry, error) {
	if f.of("Record") != 0 {
		return nil, errInjected
	}
	return f.ledger().Record(ctx, from, limit)
}

func (f *faulty) Recoveries(ctx context.Context) ([]publish.Recovery, error) {
	if f.of("Recoveries") != 0 {
		return nil, errInjected
	}
	return f.ledger().Recoveries(ctx)
}
