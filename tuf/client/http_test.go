package client_test

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"example.com/bailiwick/internal/testrepo"
	"example.com/bailiwick/tuf/client"
	"example.com/bailiwick/tuf/trust"
)

// fetcher serves h and returns a fetcher of it.
func fetcher(t *testing.T, h http.Handler, c client.HTTPConfig) *client.HTTPFetcher {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	c.Metadata, c.Targets = server.URL+"/metadata", server.URL+"/targets/"
	f, err := client.NewHTTPFetcher(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return f
}

func TestHTTPEndToEnd(t *testing.T) {
	r, path := flask(t)
	f := fetcher(t, r.Handler(), client.HTTPConfig{})
	c, err := client.New(client.Config{Fetcher: f, Store: client.NewMemory(), Root: r.Root(1), Now: r.Now})
	if err != nil {
		t.Fatal(err)
	}
	v := refresh(t, c)
	found, err := v.Find(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := c.Download(t.Context(), found, &b); err != nil || b.String() != "content" {
		t.Errorf("%q, %v", b.String(), err)
	}
	r.Endless("timestamp.json")
	_, err = c.Refresh(t.Context())
	refused(t, err, trust.Length, "timestamp")
	r.Break("timestamp.json", testrepo.Fault{Status: 500})
	_, err = c.Refresh(t.Context())
	var network *client.NetworkError
	if !errors.As(err, &network) || network.Status != 500 {
		t.Errorf("status 500: %v", err)
	}
	r.Break("timestamp.json", testrepo.Fault{Breaks: 1})
	refresh(t, c) // a broken connection is tried again
}

// TestOneConnection makes sure that a visit pays for one handshake: the absence of a next
// root is a 404, and a connection serves on only if that was read to its end.
func TestOneConnection(t *testing.T) {
	r, path := flask(t)
	var connections atomic.Int32
	server := httptest.NewUnstartedServer(r.Handler())
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	f, err := client.NewHTTPFetcher(client.HTTPConfig{Metadata: server.URL + "/metadata", Targets: server.URL + "/targets/"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	c, err := client.New(client.Config{Fetcher: f, Store: client.NewMemory(), Root: r.Root(1), Now: r.Now})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		found, err := refresh(t, c).Find(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Download(t.Context(), found, io.Discard); err != nil {
			t.Fatal(err)
		}
		r.Publish()
	}
	if n := connections.Load(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
}

// TestEndlessExcuse serves a 404 whose body has no end: little of it is read, and it still
// means that there is no such file.
func TestEndlessExcuse(t *testing.T) {
	gone := make(chan struct{})
	f := fetcher(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		defer close(gone)
		w.WriteHeader(http.StatusNotFound)
		for excuse := make([]byte, 4<<10); ; {
			if _, err := w.Write(excuse); err != nil {
				return
			}
		}
	}), client.HTTPConfig{})
	if _, err := f.Metadata(t.Context(), "2.root.json", 1000); !errors.Is(err, client.ErrAbsent) {
		t.Errorf("got %v, want ErrAbsent", err)
	}
	<-gone // the connection was dropped
}

func TestHTTPResume(t *testing.T) {
	content := strings.Repeat("0123456789", 30_000)
	for _, ranges := range []bool{true, false} {
		r := testrepo.New(t, testrepo.Options{})
		r.AddTarget("targets", "dir/f", []byte(content))
		r.Publish()
		var seen []string
		h := r.Handler()
		f := fetcher(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if strings.HasPrefix(req.URL.Path, "/targets/") {
				seen = append(seen, req.Header.Get("Range"))
				if !ranges {
					req.Header.Del("Range")
				}
			}
			h.ServeHTTP(w, req)
		}), client.HTTPConfig{})
		c, err := client.New(client.Config{Fetcher: f, Store: client.NewMemory(), Root: r.Root(1), Now: r.Now})
		if err != nil {
			t.Fatal(err)
		}
		found, err := refresh(t, c).Find(t.Context(), "dir/f")
		if err != nil {
			t.Fatal(err)
		}
		r.Break("targets/"+found.FetchName(), testrepo.Fault{Breaks: 1})
		var b strings.Builder
		if err := c.Download(t.Context(), found, &b); err != nil || b.String() != content {
			t.Fatalf("%d bytes, %v", b.Len(), err)
		}
		if want := []string{"", "bytes=150000-"}; fmt.Sprint(seen) != fmt.Sprint(want) {
			t.Errorf("ranges %q, want %q", seen, want)
		}
	}
}

func TestHTTPNames(t *testing.T) {
	var got string
	f := fetcher(t, http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) { got = req.RequestURI }), client.HTTPConfig{})
	for name, want := range map[string]string{
		"1.root.json":           "/metadata/1.root.json",
		"1.?.json":              "/metadata/1.%3F.json",
		"1.#.json":              "/metadata/1.%23.json",
		"1./x.json":             "/metadata/1.%2Fx.json",
		"1.../x.json":           "/metadata/1...%2Fx.json",
		"..":                    "/metadata/%2E%2E",
		"a b%2f+ü.json":         "/metadata/a%20b%252f%2B%C3%BC.json",
		"project.flask~_-.json": "/metadata/project.flask~_-.json",
	} {
		if _, err := f.Metadata(t.Context(), name, 10); err != nil {
			t.Errorf("%q: %v", name, err)
		}
		if got != want {
			t.Errorf("%q was asked for as %s, want %s", name, got, want)
		}
	}
	for name, want := range map[string]string{
		"3f/flask/aa.f+1.whl": "/targets/3f/flask/aa.f%2B1.whl",
		"a?b/c#d/e f":         "/targets/a%3Fb/c%23d/e%20f",
		"a/../b":              "/targets/a/%2E%2E/b",
	} {
		body, err := f.Target(t.Context(), name, 0)
		if err != nil {
			t.Errorf("%q: %v", name, err)
			continue
		}
		_ = body.Close()
		if got != want {
			t.Errorf("%q was asked for as %s, want %s", name, got, want)
		}
	}
}

func TestHTTPStatus(t *testing.T) {
	for _, test := range []struct {
		name   string
		status int
		absent bool
	}{
		{"timestamp.json", 404, true},
		{"2.root.json", 404, true},
		{"2.root.json", 403, true},
		{"2.root.json", 410, true},
		{"timestamp.json", 403, false},
		{"7.snapshot.json", 410, false},
		{"7.project.root.json", 403, false},
		{"x.root.json", 403, false},
		{"2.root.json", 500, false},
		{"2.root.json", 401, false},
		{"2.root.json", 204, false},
		{"2.root.json", 206, false},
		{"2.root.json", 429, false},
	} {
		f := fetcher(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(test.status) }), client.HTTPConfig{})
		_, err := f.Metadata(t.Context(), test.name, 10)
		var network *client.NetworkError
		switch {
		case test.absent && !errors.Is(err, client.ErrAbsent):
			t.Errorf("%s %d: %v", test.name, test.status, err)
		case !test.absent && (!errors.As(err, &network) || network.Status != test.status || errors.Is(err, client.ErrAbsent)):
			t.Errorf("%s %d: %v", test.name, test.status, err)
		}
	}
	f := fetcher(t, http.NotFoundHandler(), client.HTTPConfig{})
	if _, err := f.Target(t.Context(), "x", 0); !errors.Is(err, client.ErrAbsent) {
		t.Errorf("target: %v", err)
	}
}

func TestHTTPLimitHoldsAfterDecompression(t *testing.T) {
	f := fetcher(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.Header.Get("Accept-Encoding") != "gzip" {
			t.Errorf("Accept-Encoding %q", req.Header.Get("Accept-Encoding"))
		}
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		_, _ = io.CopyN(z, zeros{}, 100<<20)
		_ = z.Close()
	}), client.HTTPConfig{})
	if data, err := f.Metadata(t.Context(), "x", 1000); !errors.Is(err, client.ErrTooLarge) {
		t.Errorf("%d bytes, %v", len(data), err)
	}
	f = fetcher(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 1000)) }), client.HTTPConfig{})
	if data, err := f.Metadata(t.Context(), "x", 1000); err != nil || len(data) != 1000 {
		t.Errorf("exactly the limit: %d bytes, %v", len(data), err)
	}
	if data, err := f.Metadata(t.Context(), "x", 999); !errors.Is(err, client.ErrTooLarge) {
		t.Errorf("one more: %d bytes, %v", len(data), err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestHTTPRedirects(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("other")) }))
	defer other.Close()
	var hits atomic.Int64
	f := fetcher(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		hits.Add(1)
		switch req.URL.Path {
		case "/metadata/same":
			http.Redirect(w, req, "/elsewhere", http.StatusFound)
		case "/metadata/loop":
			http.Redirect(w, req, "/metadata/loop", http.StatusFound)
		case "/metadata/other":
			http.Redirect(w, req, other.URL, http.StatusFound)
		default:
			_, _ = w.Write([]byte("here"))
		}
	}), client.HTTPConfig{})
	if data, err := f.Metadata(t.Context(), "same", 100); err != nil || string(data) != "here" {
		t.Errorf("%q, %v", data, err)
	}
	var network *client.NetworkError
	if data, err := f.Metadata(t.Context(), "other", 100); !errors.As(err, &network) || !strings.Contains(err.Error(), other.URL) {
		t.Errorf("to another host: %q, %v", data, err)
	}
	hits.Store(0)
	if data, err := f.Metadata(t.Context(), "loop", 100); !errors.As(err, &network) || hits.Load() > 7 {
		t.Errorf("a loop: %q, %v after %d requests", data, err, hits.Load())
	}
}

func TestHTTPConfigIsChecked(t *testing.T) {
	for _, bad := range []string{"", "repo", "/x", "ftp://example.com/", "http:///x", "http://example.com/?a=b", "http://example.com/#x", "http://%zz/", "://"} {
		if f, err := client.NewHTTPFetcher(client.HTTPConfig{Metadata: bad, Targets: "http://example.com"}); err == nil {
			t.Errorf("metadata %q was taken: %v", bad, f)
		}
		if f, err := client.NewHTTPFetcher(client.HTTPConfig{Targets: bad, Metadata: "http://example.com"}); err == nil {
			t.Errorf("targets %q was taken: %v", bad, f)
		}
	}
	_, err := client.NewHTTPFetcher(client.HTTPConfig{Metadata: "http://me:secret@example.com/?x", Targets: "http://example.com"})
	if err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("got %v", err)
	}
}

// transport answers requests without a network, for tests that turn the clock.
type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

func virtual(t *testing.T, answer transport, c client.HTTPConfig) *client.HTTPFetcher {
	t.Helper()
	c.Transport = answer
	c.Metadata, c.Targets = "http://me:secret@example.com/m", "http://me:secret@example.com/t"
	f, err := client.NewHTTPFetcher(c)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// drip is a body that gives a byte after each pause, for as long as its context.
type drip struct {
	done  <-chan struct{}
	pause time.Duration
}

func (d drip) Read(p []byte) (int, error) {
	select {
	case <-d.done:
		return 0, context.Canceled
	case <-time.After(d.pause):
		p[0] = 'x'
		return 1, nil
	}
}

func (drip) Close() error { return nil }

func TestHTTPDeadlines(t *testing.T) {
	for name, test := range map[string]struct {
		answer transport
		after  time.Duration
	}{
		"no answer": {func(req *http.Request) (*http.Response, error) {
			<-req.Context().Done()
			return nil, req.Context().Err()
		}, 7 * time.Second},
		"the body stalls": {func(req *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: http.StatusOK, Body: drip{req.Context().Done(), time.Hour}}, nil
		}, 11 * time.Second},
		"the body drips": {func(req *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: http.StatusOK, Body: drip{req.Context().Done(), 10 * time.Second}}, nil
		}, 60 * time.Second}, // with no limit to the rate, below
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				requests := 0
				f := virtual(t, func(req *http.Request) (*http.Response, error) {
					requests++
					return test.answer(req)
				}, client.HTTPConfig{FirstByte: 7 * time.Second, Idle: 11 * time.Second, MetadataTotal: time.Minute, TargetTotal: time.Minute, MinRate: -1})
				for kind, do := range map[string]func() error{
					"metadata": func() error { _, err := f.Metadata(t.Context(), "x", 1<<20); return err },
					"target": func() error {
						body, err := f.Target(t.Context(), "x", 0)
						if err != nil {
							return err
						}
						_, err = io.Copy(io.Discard, body)
						return errors.Join(err, body.Close())
					},
				} {
					requests = 0
					start := time.Now()
					err := do()
					var network *client.NetworkError
					if !errors.As(err, &network) || network.Status != 0 {
						t.Errorf("%s: %v", kind, err)
					}
					if got := time.Since(start); got != test.after {
						t.Errorf("%s: gave up after %v, want %v", kind, got, test.after)
					}
					if requests != 1 {
						t.Errorf("%s: %d requests: a deadline is not retried", kind, requests)
					}
					if strings.Contains(err.Error(), "secret") {
						t.Errorf("the error has the password: %v", err)
					}
				}
			})
		})
	}
}

// The body of a 404 is of no use. However slowly it comes, the answer stands after a second.
func TestSlowExcuse(t *testing.T) {
	for name, pause := range map[string]time.Duration{"it stalls": time.Hour, "it drips": 300 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := virtual(t, func(req *http.Request) (*http.Response, error) {
					return &http.Response{StatusCode: http.StatusNotFound, Body: drip{req.Context().Done(), pause}}, nil
				}, client.HTTPConfig{MinRate: -1})
				start := time.Now()
				_, err := f.Metadata(t.Context(), "2.root.json", 1000)
				if took := time.Since(start); !errors.Is(err, client.ErrAbsent) || took != time.Second {
					t.Errorf("%v after %v", err, took)
				}
			})
		})
	}
}

// A body that keeps coming, but too slowly, is given up after the first window in which
// it does, however much time it might take altogether.
func TestHTTPMinRate(t *testing.T) {
	for name, test := range map[string]struct {
		pause   time.Duration // between bytes
		minRate int64
		after   time.Duration // 0: all of it is read
	}{
		"one byte a second":       {time.Second, 0, 20 * time.Second},
		"just too slow":           {250 * time.Millisecond, 5, 20 * time.Second},
		"just fast enough":        {200 * time.Millisecond, 5, 0},
		"slow, and that is fine":  {20 * time.Second, -1, 0},
		"fast for less than that": {time.Millisecond, 2000, 20 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := virtual(t, func(req *http.Request) (*http.Response, error) {
					return &http.Response{StatusCode: http.StatusOK, Body: drip{req.Context().Done(), test.pause}}, nil
				}, client.HTTPConfig{MinRate: test.minRate, TargetTotal: 1000 * time.Hour})
				body, err := f.Target(t.Context(), "x", 0)
				if err != nil {
					t.Fatal(err)
				}
				start := time.Now()
				_, err = io.CopyN(io.Discard, body, 25_000)
				took := time.Since(start)
				if err := body.Close(); err != nil {
					t.Error(err)
				}
				var network *client.NetworkError
				switch {
				case test.after == 0 && err != nil:
					t.Errorf("given up after %v: %v", took, err)
				case test.after != 0 && (!errors.As(err, &network) || took != test.after || !strings.Contains(err.Error(), "slowly")):
					t.Errorf("after %v, want %v: %v", took, test.after, err)
				}
			})
		})
	}
}

// Who reads slowly is not a server that stalls.
func TestHTTPSlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := virtual(t, func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader("0123456789"))}, nil
		}, client.HTTPConfig{Idle: time.Second})
		body, err := f.Target(t.Context(), "x", 0)
		if err != nil {
			t.Fatal(err)
		}
		one := make([]byte, 1)
		for range 10 {
			if _, err := body.Read(one); err != nil {
				t.Fatal(err)
			}
			time.Sleep(30 * time.Second)
		}
		if err := body.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestHTTPRetries(t *testing.T) {
	refused := &url.Error{Op: "Get", URL: "http://me:secret@example.com", Err: errors.New("connection refused")}
	for name, test := range map[string]struct {
		status, retries, requests int
	}{
		"connection":      {0, 0, 3},
		"gateway":         {502, 0, 3},
		"unavailable":     {503, 0, 3},
		"gateway timeout": {504, 0, 3},
		"server error":    {500, 0, 1},
		"absent":          {404, 0, 1},
		"never":           {502, -1, 1},
		"more":            {0, 5, 6},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				requests := 0
				f := virtual(t, func(*http.Request) (*http.Response, error) {
					requests++
					if test.status == 0 {
						return nil, refused
					}
					return &http.Response{StatusCode: test.status, Body: http.NoBody}, nil
				}, client.HTTPConfig{Retries: test.retries})
				_, err := f.Metadata(t.Context(), "x", 10)
				if err == nil || requests != test.requests || strings.Contains(err.Error(), "secret") {
					t.Errorf("metadata: %d requests, want %d; %v", requests, test.requests, err)
				}
				requests = 0
				_, err = f.Target(t.Context(), "x", 5)
				if err == nil || requests != test.requests {
					t.Errorf("target: %d requests, want %d; %v", requests, test.requests, err)
				}
			})
		})
	}
	t.Run("it gets better", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			requests := 0
			f := virtual(t, func(*http.Request) (*http.Response, error) {
				if requests++; requests < 3 {
					return &http.Response{StatusCode: http.StatusServiceUnavailable, Body: http.NoBody}, nil
				}
				return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader("x"))}, nil
			}, client.HTTPConfig{})
			if data, err := f.Metadata(t.Context(), "x", 10); err != nil || string(data) != "x" {
				t.Errorf("%q, %v", data, err)
			}
		})
	})
	t.Run("the context ends", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			f := virtual(t, func(*http.Request) (*http.Response, error) { return nil, refused }, client.HTTPConfig{Retries: 100})
			start := time.Now()
			if _, err := f.Metadata(ctx, "x", 10); err == nil || time.Since(start) != 50*time.Millisecond {
				t.Errorf("%v after %v", err, time.Since(start))
			}
		})
	})
}

func TestHTTPWrongRange(t *testing.T) {
	f := virtual(t, func(*http.Request) (*http.Response, error) {
		h := http.Header{"Content-Range": {"bytes 3-9/10"}}
		return &http.Response{StatusCode: http.StatusPartialContent, Header: h, Body: io.NopCloser(strings.NewReader("3456789"))}, nil
	}, client.HTTPConfig{})
	var network *client.NetworkError
	if _, err := f.Target(t.Context(), "x", 5); !errors.As(err, &network) {
		t.Errorf("got %v", err)
	}
	body, err := f.Target(t.Context(), "x", 3)
	if err != nil {
		t.Fatal(err)
	}
	if data, err := io.ReadAll(body); err != nil || string(data) != "3456789" {
		t.Errorf("%q, %v", data, err)
	}
}
