package cli

import (
	"context"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
)

// socketTransport reaches a server through its control socket, whatever host a URL names.
func socketTransport(path string) *http.Transport {
	return &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		},
		DisableCompression: true,
	}
}

// handlerTransport answers requests with a handler of this process, so that a command does the same
// whether the server runs or not. Bodies stream in both directions.
type handlerTransport struct{ handler http.Handler }

// RoundTrip implements http.RoundTripper.
func (t handlerTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	in := r.Clone(r.Context())
	in.RequestURI, in.Proto, in.ProtoMajor, in.ProtoMinor = r.URL.RequestURI(), "HTTP/1.1", 1, 1
	in.Host, in.RemoteAddr = r.URL.Host, "control"
	if in.Body == nil {
		in.Body = http.NoBody
	}
	reader, writer := io.Pipe()
	w := &pipedResponse{header: http.Header{}, body: writer, started: make(chan struct{})}
	go func() { // ends when the handler does; a reader that goes away makes its writes fail
		defer func() {
			_ = in.Body.Close()
			if p := recover(); p != nil { // the server logs its panics; what is left cuts the answer
				w.WriteHeader(http.StatusInternalServerError)
				_ = writer.CloseWithError(io.ErrUnexpectedEOF)
				return
			}
			w.WriteHeader(http.StatusOK)
			_ = writer.Close()
		}()
		t.handler.ServeHTTP(w, in)
	}()
	select {
	case <-w.started:
	case <-r.Context().Done():
		_ = reader.CloseWithError(r.Context().Err())
		return nil, r.Context().Err() //nolint:wrapcheck // http.Client wraps it
	}
	return &http.Response{
		Status: strconv.Itoa(w.status) + " " + http.StatusText(w.status), StatusCode: w.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: w.sent, Body: reader, ContentLength: -1, Request: r,
	}, nil
}

// pipedResponse is the handler's side of an answer.
type pipedResponse struct {
	header  http.Header
	body    *io.PipeWriter
	once    sync.Once
	started chan struct{} // closed when status and sent are set
	status  int
	sent    http.Header
}

// Header implements http.ResponseWriter.
func (w *pipedResponse) Header() http.Header { return w.header }

// WriteHeader implements http.ResponseWriter. Only the first call counts.
func (w *pipedResponse) WriteHeader(status int) {
	w.once.Do(func() {
		w.status, w.sent = status, w.header.Clone()
		close(w.started)
	})
}

// Write implements http.ResponseWriter.
func (w *pipedResponse) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(p) //nolint:wrapcheck // a writer passes errors through
}
