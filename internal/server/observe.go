package server

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"time"
)

// recorder remembers what was answered, for the log. It passes on the abilities of the connection:
// sendfile through ReadFrom, reason phrases through Hijack, deadlines through Unwrap.
type recorder struct {
	http.ResponseWriter
	status int
	bytes  int64
	attrs  []slog.Attr // what the handler knows about the request
	level  slog.Level
}

// WriteHeader notes the status.
func (w *recorder) WriteHeader(status int) {
	if w.status == 0 && status >= 200 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	n, err := w.ResponseWriter.Write(p)
	w.bytes += int64(n)
	return n, err //nolint:wrapcheck // an io.Writer passes errors through
}

// ReadFrom keeps the path from file to socket free of copies.
func (w *recorder) ReadFrom(r io.Reader) (int64, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	n, err := io.Copy(w.ResponseWriter, r)
	w.bytes += n
	return n, err //nolint:wrapcheck // an io.ReaderFrom passes errors through
}

// Hijack hands over the connection.
func (w *recorder) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	return conn, rw, err //nolint:wrapcheck // see Write
}

// Unwrap leads http.ResponseController to the connection.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// observed logs every request and turns a panic into 500. Neither headers nor queries are logged:
// they may hold secrets.
func (s *Server) observed(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now() //nolint:forbidigo // measures a duration, for the log
		rec := &recorder{ResponseWriter: w, level: slog.LevelDebug}
		w.Header().Set("X-Content-Type-Options", "nosniff")
		defer func() {
			p := recover()
			cut := p != nil && s.panicked(rec, r, p)
			s.logRequest(r, rec, time.Since(start))
			if cut {
				panic(http.ErrAbortHandler)
			}
		}()
		next.ServeHTTP(rec, r)
	})
}

// panicked keeps a defect in one request from ending the server. It reports whether the connection
// has to be cut: an answer is half out, and nobody may take it for a whole one.
func (s *Server) panicked(rec *recorder, r *http.Request, p any) (cut bool) {
	if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		return true // the standard library's own way to cut a connection
	}
	s.log.ErrorContext(r.Context(), "a request failed by a defect", "method", r.Method, "path", loggable(r.URL.Path),
		"panic", fmt.Sprint(p), "stack", string(debug.Stack()))
	if rec.status != 0 {
		return true
	}
	plain(rec, http.StatusInternalServerError, failedSentence)
	return false
}

func (s *Server) logRequest(r *http.Request, rec *recorder, took time.Duration) {
	level := rec.level
	if rec.status >= 500 {
		level = max(level, slog.LevelWarn)
	}
	ctx := context.WithoutCancel(r.Context())
	if !s.log.Enabled(ctx, level) {
		return
	}
	attrs := append([]slog.Attr{
		slog.String("method", r.Method), slog.String("path", loggable(r.URL.Path)), slog.Int("status", rec.status),
		slog.Int64("bytes", rec.bytes), slog.Duration("took", took.Round(time.Microsecond)), slog.String("from", r.RemoteAddr),
	}, rec.attrs...)
	s.log.LogAttrs(ctx, level, "request", attrs...)
}

// note adds to the log line of the request that w answers.
func note(w http.ResponseWriter, level slog.Level, attrs ...slog.Attr) {
	if rec, ok := w.(*recorder); ok {
		rec.level = max(rec.level, level)
		rec.attrs = append(rec.attrs, attrs...)
	}
}

// loggable bounds text from outside; slog escapes it.
func loggable(s string) string {
	if len(s) > 256 {
		return s[:256] + "…"
	}
	return s
}
