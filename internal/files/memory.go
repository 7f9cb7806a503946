package files

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync"

	"example.com/bailiwick/internal/index"
)

// Memory is a file store for tests: the same contract, nothing durable. The zero value is empty
// and ready.
type Memory struct {
	mu   sync.RWMutex // guards kept
	kept map[[32]byte][]byte
}

// NewMemory returns an empty file store.
func NewMemory() *Memory { return new(Memory) }

// Close does nothing; it is there so that both stores are used alike.
func (m *Memory) Close() error { return nil }

// Stage implements index.Files.
func (m *Memory) Stage(ctx context.Context) (index.Staged, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("staging a file: %w", err)
	}
	return &stagedMemory{store: m}, nil
}

// Open implements index.Files.
func (m *Memory) Open(ctx context.Context, sum [32]byte) (index.Blob, error) {
	m.mu.RLock()
	data, ok := m.kept[sum]
	m.mu.RUnlock()
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("opening %x: %w", sum, err)
	}
	if !ok {
		return nil, fmt.Errorf("opening %x: %w", sum, index.ErrNoBlob)
	}
	return blobMemory{bytes.NewReader(data)}, nil
}

// blobMemory is kept content; bytes.Reader has Size.
type blobMemory struct{ *bytes.Reader }

func (blobMemory) Close() error { return nil }

type stagedMemory struct {
	store *Memory
	data  []byte
	ended bool
}

func (s *stagedMemory) Write(p []byte) (int, error) {
	if s.ended {
		return 0, fmt.Errorf("writing a staged file: %w", errEnded)
	}
	s.data = append(s.data, p...)
	return len(p), nil
}

func (s *stagedMemory) ReadAt(p []byte, off int64) (int, error) {
	if s.ended {
		return 0, fmt.Errorf("reading a staged file: %w", errEnded)
	}
	return bytes.NewReader(s.data).ReadAt(p, off)
}

func (s *stagedMemory) Keep(ctx context.Context, sum [32]byte) error {
	if s.ended {
		return fmt.Errorf("keeping %x: %w", sum, errEnded)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("keeping %x: %w", sum, err)
	}
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	if old, ok := s.store.kept[sum]; ok {
		if len(old) != len(s.data) {
			return fmt.Errorf("keeping %x: %d bytes where %d belong: %w", sum, len(old), len(s.data), ErrDamaged)
		}
		s.ended = true
		return nil
	}
	if s.store.kept == nil {
		s.store.kept = make(map[[32]byte][]byte)
	}
	s.store.kept[sum] = s.data
	s.ended = true
	return nil
}

func (s *stagedMemory) Discard() error {
	s.ended, s.data = true, nil
	return nil
}

var _ io.ReaderAt = (*stagedMemory)(nil)
