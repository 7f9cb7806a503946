package verify

import (
	"context"
	"io"
	"sync"
)

// holdBack is how many bytes at the end of a file stay here until the whole file is verified.
const holdBack = 64 << 10

// transfer is one download that any number of readers follow: one goroutine appends, readers take
// what is there except the last holdBack bytes, which are released by finish(nil).
type transfer struct {
	file Staged
	size int64
	stop context.CancelFunc // ends the download when nobody reads any more

	mu      sync.Mutex
	changed chan struct{} // closed and replaced at every change below
	written int64
	failed  error // of writing to file
	ended   bool
	err     error // why it ended; nil: length and hashes are good
	users   int   // the download, readers and waiters that still need file
	dying   bool  // the last reader left before the end: the download is being stopped
}

func newTransfer(file Staged, size int64, stop context.CancelFunc) *transfer {
	return &transfer{file: file, size: size, stop: stop, changed: make(chan struct{}), users: 1}
}

// Write appends received bytes. They are not verified yet.
func (t *transfer) Write(p []byte) (int, error) {
	n, err := t.file.Write(p)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.written += int64(n)
	if err != nil {
		t.failed = err
	}
	t.signal()
	return n, err
}

// finish ends the transfer with the verdict. Only a nil verdict releases the last block.
func (t *transfer) finish(verdict error) {
	t.mu.Lock()
	t.ended, t.err = true, verdict
	t.signal()
	t.mu.Unlock()
	t.release() // the download's own use
}

// writeError is why the staged file could not be written; nil if it could.
func (t *transfer) writeError() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.failed
}

// signal wakes everyone who waits; t.mu is held.
func (t *transfer) signal() {
	close(t.changed)
	t.changed = make(chan struct{})
}

// join adds a user unless the last one has left already.
func (t *transfer) join() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.users == 0 || t.dying {
		return false
	}
	t.users++
	return true
}

// release drops one user. When only the download itself is left it is stopped; when nobody is, the
// file is closed.
func (t *transfer) release() {
	t.mu.Lock()
	t.users--
	users := t.users
	t.dying = t.dying || (users == 1 && !t.ended)
	stop := users == 0 || t.dying
	t.mu.Unlock()
	if stop {
		t.stop()
	}
	if users == 0 {
		_ = t.file.Close() // what was kept stays kept; the rest is gone either way
	}
}

// progress is how far a transfer has come.
type progress struct {
	allowed int64           // bytes that may leave
	ended   bool            // there will be no more
	verdict error           // of a transfer that ended
	changed <-chan struct{} // closed when any of it changes
}

func (t *transfer) progress() progress {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := progress{allowed: t.written, ended: t.ended, verdict: t.err, changed: t.changed}
	if !t.ended || t.err != nil {
		p.allowed = min(p.allowed, max(0, t.size-holdBack))
	}
	return p
}

// wait blocks until the transfer has ended, and gives the verdict.
func (t *transfer) wait(ctx context.Context) error {
	for {
		p := t.progress()
		if p.ended {
			return p.verdict
		}
		select {
		case <-p.changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// stream reads a transfer from its beginning while it grows. Whoever made it holds the transfer.
type stream struct {
	ctx context.Context //nolint:containedctx // io.Reader has no context; lives as long as one response
	t   *transfer
	at  int64
}

// Read gives the next bytes that may leave. It ends with io.EOF only after the whole file was
// verified, and with the verdict if it was not.
func (s *stream) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	for {
		p := s.t.progress()
		switch {
		case p.ended && p.verdict != nil:
			return 0, p.verdict
		case s.at < p.allowed:
			n, err := s.t.file.ReadAt(b[:min(int64(len(b)), p.allowed-s.at)], s.at)
			s.at += int64(n)
			if n > 0 {
				return n, nil
			}
			return 0, err
		case p.ended:
			return 0, io.EOF
		}
		select {
		case <-p.changed:
		case <-s.ctx.Done():
			return 0, s.ctx.Err()
		}
	}
}

// section reads a finished, verified transfer like a file. Whoever made it holds the transfer.
type section struct {
	*io.SectionReader
}

// Close does nothing: the Download holds the file.
func (s *section) Close() error { return nil }
