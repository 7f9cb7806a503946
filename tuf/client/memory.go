package client

import (
	"context"
	"fmt"
	"io/fs"
	"sync"
)

// Memory is a Store that lasts as long as the process: for tests, and for
// sessions that leave nothing behind.
type Memory struct {
	lock chan struct{} // holds one token while somebody holds the lock

	mu    sync.Mutex // guards files
	files map[string][]byte
}

var _ Store = (*Memory)(nil)

// NewMemory returns an empty store.
func NewMemory() *Memory {
	return &Memory{lock: make(chan struct{}, 1), files: map[string][]byte{}}
}

// Load implements Store.
func (m *Memory) Load(name string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	data, ok := m.files[name]
	if !ok {
		return nil, fmt.Errorf("loading %s: %w", name, fs.ErrNotExist)
	}
	return append([]byte{}, data...), nil
}

// Save implements Store.
func (m *Memory) Save(name string, data []byte) error {
	if !isStoredName(name) {
		return &StoreError{Op: "saving", Name: name, Err: fs.ErrInvalid}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.files[name] = append([]byte{}, data...)
	return nil
}

// Remove implements Store.
func (m *Memory) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.files, name)
	return nil
}

// Lock implements Store. It waits as long as the context allows.
func (m *Memory) Lock(ctx context.Context) (unlock func(), err error) {
	select {
	case m.lock <- struct{}{}:
		return sync.OnceFunc(func() { <-m.lock }), nil
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting for the lock: %w", context.Cause(ctx))
	}
}
