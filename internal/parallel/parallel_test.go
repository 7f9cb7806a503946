package parallel_test

import (
	"sync/atomic"
	"testing"

	"example.com/bailiwick/internal/parallel"
)

// TestDo: every number once, and all done on return.
func TestDo(t *testing.T) {
	for _, n := range []int{-1, 0, 1, 2, 3, 1000} {
		times := make([]atomic.Int32, max(n, 0))
		parallel.Do(n, func(i int) { times[i].Add(1) })
		for i := range times {
			if got := times[i].Load(); got != 1 {
				t.Errorf("of %d, %d was done %d times", n, i, got)
			}
		}
	}
}
