// Package parallel spreads work that does not wait for anything over the processors. Everything is done when [Do] returns; no goroutine
// outlives it.
package parallel

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// Do calls do(0) … do(n-1), on as many goroutines as there are processors, and returns when all calls have. With one call or one
// processor they come in order, on the caller's goroutine. Each call writes to what is its own.
func Do(n int, do func(i int)) {
	workers := min(n, runtime.GOMAXPROCS(0))
	if workers < 2 {
		for i := range n {
			do(i)
		}
		return
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				do(i)
			}
		})
	}
	wg.Wait()
}
