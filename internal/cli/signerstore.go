package cli

import (
	"bytes"
	"errors"
	"io/fs"
	"maps"
	"slices"
	"sync"

	"example.com/bailiwick/tuf/client"
)

// signerStore keeps what a signer has verified. It is a folder, but for timestamp and snapshot, which are in
// memory and go to the folder now and then: with each publication there are new ones, and waiting for the disk would
// be most of what a signature takes. Nothing depends on them being there: what this signer signed last, which is
// on the disk before it is handed out, says what the index has to show.
type signerStore struct {
	client.Store // the folder

	mu    sync.Mutex        // guards what follows
	fresh map[string][]byte // newer than in the folder, or the same
	dirty map[string]bool
}

func newSignerStore(folder client.Store) *signerStore {
	return &signerStore{Store: folder, fresh: make(map[string][]byte), dirty: make(map[string]bool)}
}

func isFleeting(name string) bool { return name == "timestamp.json" || name == "snapshot.json" }

// Load implements client.Store.
func (s *signerStore) Load(name string) ([]byte, error) {
	s.mu.Lock()
	data, ok := s.fresh[name]
	s.mu.Unlock()
	switch {
	case !ok:
		return s.Store.Load(name)
	case data == nil:
		return nil, fs.ErrNotExist
	}
	return bytes.Clone(data), nil
}

// Save implements client.Store.
func (s *signerStore) Save(name string, data []byte) error {
	if !isFleeting(name) {
		return s.Store.Save(name, data)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fresh[name], s.dirty[name] = bytes.Clone(data), true
	return nil
}

// Remove implements client.Store: durably, as it says.
func (s *signerStore) Remove(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if isFleeting(name) {
		s.fresh[name] = nil
		delete(s.dirty, name)
	}
	return s.Store.Remove(name)
}

// flush writes what is only in memory.
func (s *signerStore) flush() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(s.dirty)) {
		if err := s.Store.Save(name, s.fresh[name]); err != nil {
			errs = append(errs, err)
			continue
		}
		delete(s.dirty, name)
	}
	return errors.Join(errs...)
}
