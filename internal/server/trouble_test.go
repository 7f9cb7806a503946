package server_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"example.com/bailiwick/internal/pypi/distmake"
	"example.com/bailiwick/internal/server"
)

func TestRenderCacheKeepsItsBound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.Int64Range(1000, 20_000).Draw(t, "limit")
		c := server.NewRenderCache(limit)
		lengths := map[string]int{}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			key := rapid.StringMatching(`[a-f]`).Draw(t, "key")
			if lengths[key] == 0 { // a key names its content
				lengths[key] = rapid.IntRange(1, 8000).Draw(t, "length")
			}
			body := strings.Repeat(key, lengths[key])
			if got := c.Get(key, false, func() []byte { return []byte(body) }); string(got) != body {
				t.Fatalf("%s: got %d bytes of something else", key, len(got))
			}
			if says, holds := c.Size(); says != holds || holds > limit {
				t.Fatalf("says %d, holds %d, limit %d", says, holds, limit)
			}
		}
	})
}

func TestRenderCacheKeepsWhatWasUsedLast(t *testing.T) {
	c := server.NewRenderCache(4000)
	rendered := map[string]int{}
	get := func(key string, once bool) {
		c.Get(key, once, func() []byte { rendered[key]++; return make([]byte, 600) })
	}
	for _, key := range []string{"a", "b", "c", "d", "a", "e", "a", "b"} { // four fit
		get(key, false)
	}
	get("once", true)
	get("once", true)
	if rendered["a"] != 1 || rendered["b"] != 2 || rendered["once"] != 2 {
		t.Errorf("rendered %v times", rendered)
	}
}

func TestPanicIsAnsweredAndLogged(t *testing.T) {
	s := newSite(t, options{})
	l := httptest.NewServer(s.server.Observed(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/late" {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "half an ans")
			_ = http.NewResponseController(w).Flush()
		}
		panic("a defect")
	})))
	defer l.Close()
	s.url = l.URL
	s.get(t, "/early?secret=hunter2").want(t, http.StatusInternalServerError).wantText(t, "its log says more")
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, l.URL+"/late", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err == nil {
		t.Errorf("half an answer looks whole: %q", body)
	}
	log := s.log.String()
	if strings.Count(log, "failed by a defect") != 2 || !strings.Contains(log, "trouble_test.go") || strings.Contains(log, "hunter2") {
		t.Errorf("the log is\n%s", log)
	}
}

// TestForgottenRepository lets every signature expire.
func TestForgottenRepository(t *testing.T) {
	var shift atomic.Int64
	s := newSite(t, options{now: func() time.Time { return time.Now().Add(time.Duration(shift.Load())) }})
	s.publish(t, "flask", "1", distmake.Options{})
	shift.Store(int64(400 * 24 * time.Hour))
	s.get(t, "/healthz").want(t, http.StatusOK)
	s.get(t, "/readyz").want(t, http.StatusServiceUnavailable).wantHeader(t, "Retry-After", "30").wantText(t, "the timestamp expired at ")
	s.send(t, uploadParts(flask("2"), "flask", "2")).wantRefusal(t, http.StatusServiceUnavailable, "expired role").wantHeader(t, "Retry-After", "30")
	if !strings.Contains(s.log.String(), "uploads can not be published") {
		t.Errorf("nothing tells the operator:\n%s", s.log)
	}
	s.wantPublished(t, "flask-2-py3-none-any.whl", false)
}
