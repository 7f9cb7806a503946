package publish

import (
	"container/list"
	"context"
	"fmt"
	"sync"

	"example.com/bailiwick/tuf"
)

const (
	// metadataCacheBytes bounds the published metadata that is kept in memory.
	metadataCacheBytes = 16 << 20
	// verifiedCacheBytes bounds the verified roles that are kept beside it, so that an upload into
	// a project that was touched lately reads nothing.
	verifiedCacheBytes = 24 << 20
)

// metadataID names one immutable metadata file.
type metadataID struct {
	role    tuf.RoleName
	version int64
}

// shelf reads published metadata: the ledger behind a small cache of what was read last. Metadata
// is immutable, so nothing in it ever becomes wrong. Safe for concurrent use.
type shelf struct {
	ledger Ledger

	mu    sync.Mutex // guards everything below
	byID  map[metadataID]*list.Element
	order list.List // of *shelfItem, used last at the front
	bytes int
}

type shelfItem struct {
	id    metadataID
	bytes []byte
}

func newShelf(l Ledger) *shelf {
	return &shelf{ledger: l, byID: make(map[metadataID]*list.Element)}
}

// read returns one version of a role.
func (s *shelf) read(ctx context.Context, role tuf.RoleName, version int64) ([]byte, error) {
	id := metadataID{role, version}
	if b, ok := s.get(id); ok {
		return b, nil
	}
	m, err := s.ledger.Metadata(ctx, role, version)
	if err != nil {
		return nil, fmt.Errorf("reading version %d of %s: %w", version, role, err)
	}
	s.put(id, m.Bytes)
	return m.Bytes, nil
}

func (s *shelf) get(id metadataID) ([]byte, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.byID[id]
	if !ok {
		return nil, false
	}
	s.order.MoveToFront(e)
	return e.Value.(*shelfItem).bytes, true //nolint:forcetypeassert // holds nothing else
}

func (s *shelf) put(id metadataID, b []byte) {
	// One large file must not push out everything else.
	if len(b) > metadataCacheBytes/8 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.byID[id]; ok {
		return
	}
	s.byID[id] = s.order.PushFront(&shelfItem{id, b})
	s.bytes += len(b)
	for s.bytes > metadataCacheBytes {
		last := s.order.Back()
		item := s.order.Remove(last).(*shelfItem) //nolint:forcetypeassert // holds nothing else
		delete(s.byID, item.id)
		s.bytes -= len(item.bytes)
	}
}
