package testrepo_test

import (
	"sync"
	"testing"

	"example.com/bailiwick/internal/testrepo"
)

// A client may still be asking, of a mirror that it no longer waits for, when a test goes on.
func TestReplayWhileFetching(t *testing.T) {
	r := testrepo.New(t, testrepo.Options{})
	m := r.Moment()
	var wg sync.WaitGroup
	wg.Go(func() {
		for range 1000 {
			_, _ = r.Metadata(t.Context(), "timestamp.json", 1<<20)
		}
	})
	for range 50 {
		r.Replay(m)
	}
	wg.Wait()
}
