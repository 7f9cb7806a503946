// Package server speaks HTTP for an index: the Simple API (PEP 503, 691, 700, 714), the upload API
// that twine and uv speak, TUF metadata and targets (TUF 1.0, consistent snapshots), and one page
// for people. It translates between the world and the engines and decides nothing.
//
// What always holds:
//
//   - No user mistake is answered with 5xx, and no failure of ours with 4xx. 503 carries Retry-After.
//   - A refused upload says why in one sentence, the same in the reason phrase, the body and
//     X-Error-Message (package problem), and enough of the upload is taken for its client to read it.
//   - Everything from outside is bounded: see [Limits]. Slow clients run into a deadline that grows
//     with what they have sent or have to receive, so a large file is no privilege and no attack.
//   - Secrets are never logged: neither headers nor queries are.
//
// A Server is safe for concurrent use.
package server

import (
	"context"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net"
	"net/http"
	"time"

	"example.com/bailiwick/internal/index"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/publish"
)

// Config is what a server needs. All fields but Limits and Log are required.
type Config struct {
	Index     *index.Index
	Publisher *publish.Publisher // the one of Index; it has to run for uploads to be answered
	Signer    *Line              // the Publisher's countersigner; nil: the index signs everything itself
	Limits    Limits             // zero fields: DefaultLimits
	Now       func() time.Time   // the clock by which metadata expires
	Log       *slog.Logger       // nil: discard. Debug: every request; Info: uploads; Warn: refusals; Error: our failures
}

// Server answers HTTP requests.
type Server struct {
	index     *index.Index
	publisher *publish.Publisher
	signer    *Line // nil: none
	layout    policy.Layout
	limits    Limits
	now       func() time.Time
	log       *slog.Logger
	handler   http.Handler
	cache     *renderCache
	homePage  *template.Template
	uploads   chan struct{} // one slot for each upload in progress
	imports   chan struct{} // one slot for each file of operators that is being read
}

// cacheBytes bounds rendered pages and compressed metadata kept in memory.
const cacheBytes = 64 << 20

// New makes a server over a repository that exists.
func New(c Config) (*Server, error) {
	if c.Index == nil || c.Publisher == nil || c.Now == nil {
		return nil, errors.New("a server needs an index, a publisher and a clock")
	}
	layout, err := policy.LayoutOf(c.Publisher.Current().Set().Targets())
	if err != nil {
		return nil, fmt.Errorf("reading the layout of the repository: %w", err)
	}
	page, err := template.New("home").Parse(homeText)
	if err != nil {
		return nil, fmt.Errorf("reading the home page: %w", err)
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	limits := c.Limits.withDefaults()
	s := &Server{
		index: c.Index, publisher: c.Publisher, signer: c.Signer, layout: layout, limits: limits, now: c.Now, log: c.Log,
		homePage: page,
		cache:    newRenderCache(cacheBytes),
		uploads:  make(chan struct{}, limits.Uploads),
		imports:  make(chan struct{}, maxImports),
	}
	s.handler = s.observed(s.routes())
	return s, nil
}

// routes lists every address. Patterns with a method answer HEAD with GET.
func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.home)
	mux.HandleFunc("GET /healthz", s.healthz)
	mux.HandleFunc("GET /readyz", s.readyz)

	mux.HandleFunc("GET /simple", func(w http.ResponseWriter, r *http.Request) {
		redirect(w, r, "simple/", http.StatusMovedPermanently)
	})
	mux.HandleFunc("GET /simple/{$}", s.projects)
	mux.HandleFunc("GET /simple/{project}", s.withoutSlash)
	mux.HandleFunc("GET /simple/{project}/{$}", s.project)
	mux.HandleFunc("GET /files/{bin}/{project}/{sha256}/{filename}", s.file)

	mux.HandleFunc("GET /metadata/{name}", s.metadata)
	mux.HandleFunc("GET /targets/{bin}/{project}/{name}", s.target)

	mux.HandleFunc("POST /{$}", s.upload)
	mux.HandleFunc("POST /legacy/{$}", s.upload)
	mux.HandleFunc("GET /legacy/{$}", s.uploadHelp)
	mux.HandleFunc("GET /legacy", func(w http.ResponseWriter, r *http.Request) {
		redirect(w, r, "legacy/", http.StatusMovedPermanently)
	})
	mux.HandleFunc("POST /legacy", s.uploadMoved)
	mux.HandleFunc("POST /simple", s.uploadElsewhere)
	mux.HandleFunc("POST /simple/", s.uploadElsewhere)

	s.apiRoutes(mux)
	mux.HandleFunc("POST "+SignerPath, s.signerTurn)

	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			plain(w, http.StatusMethodNotAllowed, "this address can only be read")
			return
		}
		notFound(w, "there is nothing at this address; the index is at /simple/")
	})
	return mux
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

// Serve answers requests that come in through l until ctx ends, then lets those in progress finish
// for Limits.ShutdownTime and returns; it closes l. Without a failure of its own it returns nil.
// Call it once. The publisher has to run until Serve has returned, or uploads in progress fail.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	limited := newLimitListener(l, s.limits.Connections)
	h := &http.Server{
		Handler:           s,
		ConnState:         limited.observe,
		ReadHeaderTimeout: s.limits.HeaderTime,
		ReadTimeout:       s.limits.RequestTime, // handlers that read or write more move these two
		WriteTimeout:      s.limits.RequestTime,
		IdleTimeout:       s.limits.IdleTime,
		MaxHeaderBytes:    s.limits.HeaderBytes,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug), // what clients did to their connections
	}
	if s.signer != nil {
		h.RegisterOnShutdown(s.signer.Close) // its open question is no request in progress
	}
	done := make(chan error, 1)
	go func() { done <- h.Serve(limited) }()
	select {
	case err := <-done:
		return fmt.Errorf("serving HTTP on %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.limits.ShutdownTime)
	defer cancel()
	err := h.Shutdown(grace)
	if err != nil {
		s.log.WarnContext(ctx, "requests were still in progress when the server stopped", "waited", s.limits.ShutdownTime)
		_ = h.Close() // their clients see a broken connection; there is nothing else to do for them
	}
	if err := <-done; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving HTTP on %s: %w", l.Addr(), err)
	}
	return nil
}

// healthz says that the process answers.
func (s *Server) healthz(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	plain(w, http.StatusOK, "ok")
}

// readyz says whether clients accept what the server shows, and whether it can publish.
func (s *Server) readyz(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	if reason := s.unready(); reason != "" {
		w.Header().Set("Retry-After", retryLater)
		plain(w, http.StatusServiceUnavailable, reason)
		return
	}
	plain(w, http.StatusOK, "ready")
}

// unready says what keeps the index from being ready, or nothing.
func (s *Server) unready() string {
	expires := s.publisher.Current().Set().Timestamp().Expires()
	if !s.now().Before(expires) {
		return "the timestamp expired at " + expires.Format(time.RFC3339) + ": clients refuse the repository until something is published"
	}
	if s.publisher.Status().Failure != nil {
		return "the last publication failed; the log of the server says why"
	}
	return ""
}

// plain answers with one line of text.
func plain(w http.ResponseWriter, status int, text string) {
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Content-Length", fmt.Sprint(len(text)+1))
	w.WriteHeader(status)
	_, _ = fmt.Fprintln(w, text)
}

// notFound says what is not there; it may be there soon.
func notFound(w http.ResponseWriter, text string) {
	h := w.Header()
	h.Del("ETag")
	h.Set("Cache-Control", absent)
	plain(w, http.StatusNotFound, text)
}
