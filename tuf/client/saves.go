package client

import (
	"errors"
	"sync"
)

// saves persists what a refresh accepts beside the requests and checks that follow, as
// waiting for the disk takes longer than all of them. Saves that are under way at once may
// come to be in any order; docs/decisions/0014 says which may. It belongs to one goroutine.
type saves struct {
	save     func(name string, data []byte) error
	underWay sync.WaitGroup

	mu   sync.Mutex // guards errs
	errs []error
}

// add begins to save a file, whose bytes must not change any more. Whoever changes a name
// again, loads it, or saves what must not be there without it, calls wait first.
func (s *saves) add(name string, data []byte) {
	s.underWay.Go(func() {
		if err := s.save(name, data); err != nil {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.errs = append(s.errs, err)
		}
	})
}

// wait waits until everything added is saved, and returns why something is not.
func (s *saves) wait() error {
	s.underWay.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	return errors.Join(s.errs...)
}
