package signtool

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"example.com/bailiwick/tuf"
)

const (
	flushTime = 200 * time.Millisecond // that signatures wait for their disk at most
	tellTime  = 10 * time.Second       // between two lines about a slow token
)

// interruptedError: the signing stopped in the middle. It wraps why.
type interruptedError struct {
	out       string
	have, all int
	err       error
}

// Error says how to go on.
func (e *interruptedError) Error() string {
	why := e.err.Error()
	if errors.Is(e.err, context.Canceled) {
		why = "interrupted"
	}
	return fmt.Sprintf("%s; %s of %s are in %s.partial: run the same command again to go on", why, plural(e.have, "signature"), thousands(e.all), e.out)
}

// Unwrap gives the reason.
func (e *interruptedError) Unwrap() error { return e.err }

// collect makes signatures side by side, adds them to the request and writes each into OUT.partial, which
// begins with those from an earlier run. all counts both. At the first fault no further one is begun;
// what was made is kept.
func (s *signing) collect(ctx context.Context, jobs []job, all int, earlier []partialLine) (err error) {
	part, err := s.out.startPartial(s.facts.request, earlier)
	if err != nil {
		return err
	}
	have := all - len(jobs)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	results := signAll(ctx, jobs)
	flushed := s.env.Now()
	told := flushed
	var failed error
	for done := range results {
		if done.err == nil { // also after a fault: somebody may have touched a token for it
			now := s.env.Now()
			flush := now.Sub(flushed) >= flushTime
			done.err = s.take(part, done, flush)
			if flush {
				flushed = now
			}
			if done.err == nil {
				have++
			}
			if now.Sub(told) >= tellTime {
				told = now
				message(s.env, "%s of %s", plural(have, "signature"), thousands(all))
			}
		}
		if done.err != nil && failed == nil {
			failed = done.err
			cancel(failed)
		}
	}
	if failed == nil {
		failed = context.Cause(ctx)
	}
	if err := part.Close(); err != nil {
		failed = errors.Join(failed, s.out.explain("writing beside", err))
	}
	if failed != nil {
		return &interruptedError{s.out.path, have, all, failed}
	}
	return nil
}

func (s *signing) take(part *partial, done signature, flush bool) error {
	if _, err := s.request.Add(done.role, done.sig); err != nil {
		return err
	}
	return part.add(done.role, done.sig, flush)
}

// signature is the outcome of a job.
type signature struct {
	role tuf.RoleName
	sig  tuf.Signature
	err  error
}

// signAll makes signatures on all processors; a token takes one at a time by itself. The channel is closed
// when all work has ended; whoever reads it reads until then.
func signAll(ctx context.Context, jobs []job) <-chan signature {
	todo := make(chan job)
	results := make(chan signature)
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(todo)
		for _, j := range jobs {
			select {
			case todo <- j:
			case <-ctx.Done():
				return
			}
		}
	})
	for range min(len(jobs), runtime.GOMAXPROCS(0)) {
		wg.Go(func() {
			for j := range todo {
				sig, err := j.signer.Sign(ctx, j.message)
				results <- signature{j.role, tuf.Signature{KeyID: j.signer.Public().ID(), Sig: sig}, err}
			}
		})
	}
	go func() { // ends with the workers
		wg.Wait()
		close(results)
	}()
	return results
}
