package server

import (
	"context"
	"net/http"

	"example.com/bailiwick/internal/custody"
)

// Observed wraps a handler as every handler of the server is.
func (s *Server) Observed(h http.Handler) http.Handler { return s.observed(h) }

// RenderCache is the cache of rendered pages, with bodies for pages.
type RenderCache struct{ c *renderCache }

// NewRenderCache makes one.
func NewRenderCache(maxBytes int64) RenderCache { return RenderCache{newRenderCache(maxBytes)} }

// Get returns the body kept under key, or the one that render makes; once keeps it from being kept.
func (r RenderCache) Get(key string, once bool, render func() []byte) []byte {
	page, _ := r.c.get(key, func() (*rendered, error) { return &rendered{body: render(), once: once}, nil })
	return page.body
}

// Size returns the bytes that the cache says it holds, and those that it holds.
func (r RenderCache) Size() (says, holds int64) {
	for e := r.c.order.Front(); e != nil; e = e.Next() {
		entry := e.Value.(*cacheEntry)
		holds += int64(len(entry.page.body)+len(entry.key)) + entryOverhead
	}
	if len(r.c.byKey) != r.c.order.Len() {
		holds = -1
	}
	return r.c.size, holds
}

// Turn is the signer's side of a Line, without HTTP.
func (l *Line) Turn(ctx context.Context, t *custody.Turn) ([]byte, error) { return l.turn(ctx, t) }

// ErrReplaced is what a signer is told when another takes its place.
var ErrReplaced = errReplaced
