package testrepo

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"example.com/bailiwick/tuf/client"
)

var _ client.Fetcher = (*Repo)(nil)

// Fault is what goes wrong with one file. One field is set.
type Fault struct {
	Err     error // fetching fails with it
	Endless bool  // the bytes never end
	Breaks  int   // so many times, the body breaks after half of its bytes
	Status  int   // Handler answers with it
}

// Requests returns the names that were asked for, in order, targets behind
// "targets/".
func (r *Repo) Requests() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.requests)
}

// ResetRequests empties the log of requests.
func (r *Repo) ResetRequests() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.requests = nil
}

// open logs a request and returns what is served.
func (r *Repo) open(target bool, name string) (data []byte, ok bool, f Fault) {
	r.mu.Lock()
	defer r.mu.Unlock()
	kind, log := r.files, name
	if target {
		kind, log = r.targets, "targets/"+name
	}
	r.requests = append(r.requests, log)
	f = r.faults[log]
	if f.Breaks > 0 {
		left := f
		left.Breaks--
		r.faults[log] = left
	}
	data, ok = kind[name]
	return data, ok, f
}

// Metadata implements client.Fetcher.
func (r *Repo) Metadata(ctx context.Context, name string, limit int64) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	data, ok, f := r.open(false, name)
	switch {
	case f.Err != nil:
		return nil, f.Err
	case f.Endless || int64(len(data)) > limit:
		return nil, fmt.Errorf("%s: %w", name, client.ErrTooLarge)
	case !ok:
		return nil, fmt.Errorf("%s: %w", name, client.ErrAbsent)
	}
	return data, nil
}

// Target implements client.Fetcher.
func (r *Repo) Target(ctx context.Context, name string, offset int64) (io.ReadCloser, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	data, ok, f := r.open(true, name)
	switch {
	case f.Err != nil:
		return nil, f.Err
	case f.Endless:
		return io.NopCloser(zeros{}), nil
	case !ok:
		return nil, fmt.Errorf("%s: %w", name, client.ErrAbsent)
	}
	rest := data[min(offset, int64(len(data))):]
	if f.Breaks > 0 {
		broken := &client.NetworkError{URL: name, Err: io.ErrUnexpectedEOF}
		return io.NopCloser(io.MultiReader(bytes.NewReader(rest[:len(rest)/2]), failing{broken})), nil
	}
	return io.NopCloser(bytes.NewReader(rest)), nil
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// Handler serves the repository over HTTP, below /metadata/ and /targets/.
func (r *Repo) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		kind, name, ok := strings.Cut(strings.TrimPrefix(req.URL.EscapedPath(), "/"), "/")
		name, err := url.PathUnescape(name)
		if !ok || err != nil {
			http.NotFound(w, req)
			return
		}
		data, ok, f := r.open(kind == "targets", name)
		switch {
		case f.Status != 0:
			w.WriteHeader(f.Status)
		case f.Endless:
			_, _ = io.Copy(w, zeros{}) // until the client has had enough
		case !ok:
			http.NotFound(w, req)
		case f.Breaks > 0:
			w.Header().Set("Content-Length", fmt.Sprint(len(data)))
			_, _ = w.Write(data[:len(data)/2])
			panic(http.ErrAbortHandler)
		default:
			http.ServeContent(w, req, "", time.Time{}, bytes.NewReader(data))
		}
	})
}
