package client_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"example.com/bailiwick/internal/testrepo"
	"example.com/bailiwick/tuf/client"
	"example.com/bailiwick/tuf/trust"
)

// answer makes an answer of a server.
func answer(status int, body io.Reader, header ...string) *http.Response {
	h := http.Header{}
	for i := 0; i < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(body), ContentLength: -1}
}

// hung waits until the request is given up.
func hung(req *http.Request) (*http.Response, error) {
	<-req.Context().Done()
	return nil, req.Context().Err()
}

func zipped(n int64) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = io.CopyN(z, zeros{}, n)
	_ = z.Close()
	return b.Bytes()
}

// TestHostileServer answers requests for the timestamp in ways that servers should not.
// Time is virtual: each case also says after how long the client gives up, at most.
func TestHostileServer(t *testing.T) {
	missing, tooLong := verdict{trust.Missing, "timestamp", "5.4.1"}, verdict{trust.Length, "timestamp", "5.4.1"}
	malformed, nothingLearned := verdict{trust.Malformed, "timestamp", "4.3"}, verdict{code: network}
	status := func(code int) transport {
		return func(*http.Request) (*http.Response, error) {
			return answer(code, strings.NewReader("<h1>error</h1>")), nil
		}
	}
	for name, test := range map[string]struct {
		do     transport
		want   verdict
		within time.Duration
	}{
		"silence":       {hung, nothingLearned, 30 * time.Second},
		"no connection": {func(*http.Request) (*http.Response, error) { return nil, errors.New("connection refused") }, nothingLearned, time.Minute},
		"a body that stalls": {func(req *http.Request) (*http.Response, error) {
			return answer(200, drip{req.Context().Done(), time.Hour}), nil
		}, nothingLearned, 31 * time.Second},
		"a body that drips": {func(req *http.Request) (*http.Response, error) {
			return answer(200, drip{req.Context().Done(), time.Second}), nil
		}, nothingLearned, 21 * time.Second},
		"a body without end":    {func(*http.Request) (*http.Response, error) { return answer(200, zeros{}), nil }, tooLong, 0},
		"a body that breaks":    {func(*http.Request) (*http.Response, error) { return answer(200, errorReader{io.ErrUnexpectedEOF}), nil }, nothingLearned, time.Minute},
		"nothing at all":        {func(*http.Request) (*http.Response, error) { return answer(200, http.NoBody), nil }, malformed, 0},
		"an error page":         {status(200), malformed, 0},
		"204":                   {status(204), nothingLearned, 0},
		"206 that nobody asked": {status(206), nothingLearned, 0},
		"304 that nobody asked": {status(304), nothingLearned, 0},
		"401":                   {status(401), nothingLearned, 0},
		"403":                   {status(403), nothingLearned, 0},
		"404":                   {status(404), missing, 0},
		"410":                   {status(410), nothingLearned, 0},
		"429":                   {status(429), nothingLearned, 0},
		"500":                   {status(500), nothingLearned, 0},
		"503":                   {status(503), nothingLearned, time.Minute},
		"a redirect elsewhere": {func(*http.Request) (*http.Response, error) {
			return answer(302, http.NoBody, "Location", "http://evil.example.com/"), nil
		}, nothingLearned, time.Minute},
		"a redirect to a file": {func(*http.Request) (*http.Response, error) {
			return answer(302, http.NoBody, "Location", "file:///etc/passwd"), nil
		}, nothingLearned, time.Minute},
		"a redirect to nowhere": {func(*http.Request) (*http.Response, error) { return answer(302, http.NoBody), nil }, nothingLearned, time.Minute},
		"a redirect to itself": {func(req *http.Request) (*http.Response, error) {
			return answer(302, http.NoBody, "Location", req.URL.String()), nil
		}, nothingLearned, time.Minute},
		"a redirect to another port": {func(*http.Request) (*http.Response, error) {
			return answer(307, http.NoBody, "Location", "http://example.com:8080/"), nil
		}, nothingLearned, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := testrepo.New(t, testrepo.Options{})
				r.Delegate("targets", testrepo.Delegation{Name: "role", Paths: []string{"*"}})
				r.AddTarget("role", "file", []byte("honest content"))
				r.Publish()
				hostile := false
				f := virtual(t, func(req *http.Request) (*http.Response, error) {
					if hostile && (!strings.HasSuffix(req.URL.Path, "root.json") || strings.HasPrefix(req.URL.Host, "evil")) {
						return test.do(req)
					}
					w := httptest.NewRecorder()
					plain := req.Clone(req.Context())
					plain.URL.Path = strings.NewReplacer("/m/", "/metadata/", "/t/", "/targets/").Replace(req.URL.Path)
					r.Handler().ServeHTTP(w, plain)
					return w.Result(), nil
				}, client.HTTPConfig{})
				store := client.NewMemory()
				c, err := client.New(client.Config{Fetcher: f, Store: store, Root: r.Root(1), Now: r.Now})
				if err != nil {
					t.Fatal(err)
				}
				v := &victim{c, store}
				if err := v.look(t); err != nil {
					t.Fatalf("before: %v", err)
				}
				hostile = true
				start := time.Now()
				err = v.look(t)
				if got := judge(err); got != test.want {
					t.Errorf("verdict %q, want %q: %v", got, test.want, err)
				}
				if took := time.Since(start); took > test.within {
					t.Errorf("it took %v", took)
				}
				if got := stored(t, store); got != "1 2 2 2" {
					t.Errorf("stored are versions %s", got)
				}
				hostile = false
				r.Publish()
				if err := v.look(t); err != nil {
					t.Errorf("with the honest server: %v", err)
				}
			})
		})
	}
}

// TestCompressedBodies sends compressed answers, good and bad, over a real connection:
// the limit counts what comes out.
func TestCompressedBodies(t *testing.T) {
	r := testrepo.New(t, testrepo.Options{})
	r.Delegate("targets", testrepo.Delegation{Name: "role", Paths: []string{"*"}})
	r.AddTarget("role", "file", []byte("honest content"))
	r.Publish()
	var good bytes.Buffer
	z := gzip.NewWriter(&good)
	_, _ = z.Write(r.Bytes("timestamp"))
	_ = z.Close()
	bomb := zipped(64 << 20)
	for name, test := range map[string]struct {
		body []byte
		want verdict
	}{
		"harmless":           {good.Bytes(), verdict{}},
		"a bomb":             {bomb, verdict{trust.Length, "timestamp", "5.4.1"}},
		"a bomb in a bomb":   {twice(bomb), verdict{trust.Malformed, "timestamp", "4.3"}},
		"cut short":          {good.Bytes()[:good.Len()-12], verdict{code: network}},
		"a wrong checksum":   {flippedAt(good.Bytes(), good.Len()-6), verdict{code: network}},
		"not compressed":     {r.Bytes("timestamp"), verdict{code: network}},
		"no compressed byte": {nil, verdict{trust.Malformed, "timestamp", "4.3"}},
	} {
		t.Run(name, func(t *testing.T) {
			honest := r.Handler()
			f := fetcher(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				if strings.HasSuffix(req.URL.Path, "timestamp.json") {
					w.Header().Set("Content-Encoding", "gzip")
					_, _ = w.Write(test.body)
					return
				}
				honest.ServeHTTP(w, req)
			}), client.HTTPConfig{Retries: -1})
			c, err := client.New(client.Config{Fetcher: f, Store: client.NewMemory(), Root: r.Root(1), Now: r.Now})
			if err != nil {
				t.Fatal(err)
			}
			err = (&victim{c, nil}).look(t)
			if got := judge(err); got != test.want {
				t.Errorf("verdict %q, want %q: %v", got, test.want, err)
			}
		})
	}
}

func twice(data []byte) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write(data[:8192])
	_ = z.Close()
	return b.Bytes()
}

func flippedAt(data []byte, i int) []byte {
	out := bytes.Clone(data)
	out[i] ^= 1
	return out
}
