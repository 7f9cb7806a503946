package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"

	"example.com/bailiwick/internal/index"
)

// controlKey marks the context of requests that came in over the control socket, or from a command
// that holds the data folder itself.
type controlKey struct{}

// Control returns the handler for whoever may open the control socket in the data folder: that of the index, but its
// operator API asks for no token. It must not be reachable in any other way.
func (s *Server) Control() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), controlKey{}, true)))
	})
}

// ServeControl answers requests that come in through the control socket until ctx ends, as Serve does
// for everybody else.
func (s *Server) ServeControl(ctx context.Context, l net.Listener) error {
	h := &http.Server{
		Handler:           s.Control(),
		ReadHeaderTimeout: s.limits.HeaderTime,
		ReadTimeout:       s.limits.RequestTime, // handlers that read or write more move these two
		WriteTimeout:      s.limits.RequestTime,
		IdleTimeout:       s.limits.IdleTime,
		MaxHeaderBytes:    s.limits.HeaderBytes,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	done := make(chan error, 1)
	go func() { done <- h.Serve(l) }()
	select {
	case err := <-done:
		return fmt.Errorf("serving the control socket: %w", err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.limits.ShutdownTime)
	defer cancel()
	if err := h.Shutdown(grace); err != nil {
		_ = h.Close() // the command at the other end sees a broken connection
	}
	if err := <-done; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving the control socket: %w", err)
	}
	return nil
}

// isControl reports whether a request came in over the control socket.
func isControl(r *http.Request) bool {
	on, _ := r.Context().Value(controlKey{}).(bool)
	return on
}

// operator says who sends a request to the operator API. The refusal names both ways in.
func (s *Server) operator(r *http.Request) (index.Actor, error) {
	if isControl(r) {
		return s.index.Operator(), nil
	}
	actor, err := s.apiActor(r)
	if err != nil {
		return index.Actor{}, err
	}
	if !actor.MayOperate() {
		return index.Actor{}, &index.Refusal{Kind: index.Forbidden, Message: "this is for operators: use a token made with bailiwick token new --operator, or run the command on the server with --data"}
	}
	return actor, nil
}
