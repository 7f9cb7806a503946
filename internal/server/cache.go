package server

import (
	"bytes"
	"compress/gzip"
	"container/list"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
)

// rendered is one representation of a resource, ready to be sent. It is immutable.
type rendered struct {
	body     []byte
	encoding string // "gzip" or empty
	etag     string // strong, quoted
	once     bool   // not to be kept: its key does not name everything that it was made from
}

// renderCache keeps the representations used last, up to a number of bytes. Keys name the content
// (an entity tag, a version), not only the resource, so nothing in it can be out of date.
type renderCache struct {
	mu    sync.Mutex // guards what follows
	max   int64
	size  int64
	order *list.List // of *cacheEntry, newest use first
	byKey map[string]*list.Element
}

type cacheEntry struct {
	key  string
	page *rendered
}

// entryOverhead is about what an entry costs beside its body.
const entryOverhead = 300

func newRenderCache(maxBytes int64) *renderCache {
	return &renderCache{max: maxBytes, order: list.New(), byKey: map[string]*list.Element{}}
}

// get returns what is kept under key, or makes and keeps it. Two requests may make the same page at
// once; the cost of that is small, that of making one wait for the other's slow client is not.
func (c *renderCache) get(key string, render func() (*rendered, error)) (*rendered, error) {
	c.mu.Lock()
	if e, ok := c.byKey[key]; ok {
		c.order.MoveToFront(e)
		page := e.Value.(*cacheEntry).page
		c.mu.Unlock()
		return page, nil
	}
	c.mu.Unlock()
	page, err := render()
	if err != nil {
		return nil, err
	}
	if !page.once {
		c.put(key, page)
	}
	return page, nil
}

func (c *renderCache) put(key string, page *rendered) {
	cost := int64(len(page.body)+len(key)) + entryOverhead
	if cost > c.max/4 {
		return // one giant page must not push everything else out
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.byKey[key]; ok {
		return
	}
	c.byKey[key] = c.order.PushFront(&cacheEntry{key, page})
	c.size += cost
	for c.size > c.max {
		last := c.order.Back()
		entry := c.order.Remove(last).(*cacheEntry)
		delete(c.byKey, entry.key)
		c.size -= int64(len(entry.page.body)+len(entry.key)) + entryOverhead
	}
}

// gzipMinimum is the size below which compressing costs more than it saves.
const gzipMinimum = 1 << 10

// compressed returns body, packed if the client takes gzip and it is worth it. tag is the unquoted
// entity tag of the content; each encoding needs its own, because a strong tag names bytes.
func compressed(body []byte, tag string, gz bool) (*rendered, error) {
	if !gz || len(body) < gzipMinimum {
		return &rendered{body: body, etag: `"` + tag + `"`}, nil
	}
	var buf bytes.Buffer
	buf.Grow(len(body) / 4)
	zw, err := gzip.NewWriterLevel(&buf, gzip.BestSpeed)
	if err != nil {
		return nil, fmt.Errorf("compressing a page: %w", err)
	}
	if _, err := zw.Write(body); err != nil {
		return nil, fmt.Errorf("compressing a page: %w", err)
	}
	if err := zw.Close(); err != nil {
		return nil, fmt.Errorf("compressing a page: %w", err)
	}
	return &rendered{body: buf.Bytes(), encoding: "gzip", etag: `"` + tag + `-gz"`}, nil
}

// send writes a representation, or 304 if the client has it. The caller has set Content-Type,
// Cache-Control and the names that Vary needs beside Accept-Encoding.
func send(w http.ResponseWriter, r *http.Request, page *rendered) {
	h := w.Header()
	h.Add("Vary", "Accept-Encoding")
	h.Set("ETag", page.etag)
	if matchesTag(r.Header.Values("If-None-Match"), page.etag) {
		h.Del("Content-Type")
		w.WriteHeader(http.StatusNotModified)
		return
	}
	if page.encoding != "" {
		h.Set("Content-Encoding", page.encoding)
	}
	h.Set("Content-Length", strconv.Itoa(len(page.body)))
	w.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		_, _ = w.Write(page.body) // a client that went away needs no answer
	}
}

// matchesTag is RFC 9110, 13.1.2: a weak comparison, or "*".
func matchesTag(headers []string, tag string) bool {
	for _, header := range headers {
		for candidate := range strings.SplitSeq(header, ",") {
			candidate = strings.TrimPrefix(strings.TrimSpace(candidate), "W/")
			if candidate == tag || candidate == "*" {
				return true
			}
		}
	}
	return false
}

// takesGzip is RFC 9110, 12.5.3 for the one encoding that the server speaks.
func takesGzip(r *http.Request) bool {
	takes := false
	for _, header := range r.Header.Values("Accept-Encoding") {
		for item := range strings.SplitSeq(header, ",") {
			coding, params, _ := strings.Cut(item, ";")
			coding = strings.TrimSpace(coding)
			if !strings.EqualFold(coding, "gzip") && coding != "*" {
				continue
			}
			name, value, _ := strings.Cut(strings.ReplaceAll(params, " ", ""), "=")
			weight, err := strconv.ParseFloat(value, 64)
			wanted := name == "" || (strings.EqualFold(name, "q") && err == nil && weight > 0)
			if coding != "*" {
				return wanted // a named coding decides over the star
			}
			takes = wanted
		}
	}
	return takes
}
