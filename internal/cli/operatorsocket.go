package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"

	"example.com/bailiwick/internal/publish"
)

const (
	// socketName is the control socket in the data folder of a running server. Whoever may open it is
	// an operator; nobody but the owner of the folder may.
	socketName = "control.sock"
	// maxSocketPath is what every system takes, in bytes, with the end that C wants.
	maxSocketPath = 103
)

// errLongSocket says that the path of a socket does not fit into an address.
var errLongSocket = errors.New("the path of the data folder is too long for a control socket")

// socketPath is how the control socket of a data folder is named, in the shortest of two ways.
func socketPath(data string) (string, error) {
	given := filepath.Join(data, socketName)
	if len(given) <= maxSocketPath {
		return given, nil
	}
	working, err := os.Getwd()
	if err == nil {
		if rel, err := filepath.Rel(working, given); err == nil && len(rel) <= maxSocketPath {
			return rel, nil
		}
	}
	return "", fmt.Errorf("%w: %s has %d bytes, and %d fit; start the server in a folder above it and name it relative to that, or reach it with --index and an operator token",
		errLongSocket, given, len(given), maxSocketPath)
}

// listenControl makes the control socket of a data folder, whose lock the caller holds: what a server
// that was killed left behind is replaced. It appears under its name only when its mode is right.
func listenControl(ctx context.Context, data string) (net.Listener, error) {
	path, err := socketPath(data)
	if err != nil {
		return nil, err
	}
	if info, err := os.Lstat(path); err == nil && info.Mode().Type() != fs.ModeSocket {
		return nil, fmt.Errorf("making the control socket: %s is in its place and is none: move it away", path)
	}
	fresh := filepath.Join(filepath.Dir(path), ".ctl") // not longer than the final name
	_ = os.Remove(fresh)                               // from a server that was killed at just this point
	l, err := (&net.ListenConfig{}).Listen(ctx, "unix", fresh)
	if err != nil {
		return nil, fmt.Errorf("making the control socket in %s: %w", data, err)
	}
	if u, ok := l.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false) // it would look for the first name
	}
	err = os.Chmod(fresh, 0o600)
	if err == nil {
		err = os.Rename(fresh, path)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("making the control socket in %s: %w", data, err), l.Close(), os.Remove(fresh))
	}
	return &controlListener{Listener: l, path: path}, nil
}

// serveControl answers operators on the control socket until ctx ends; the function that it returns waits for
// the end. An index that can not have the socket runs all the same: clients come first.
func (s *openedServer) serveControl(ctx context.Context) (wait func()) {
	l, err := listenControl(ctx, s.data)
	if err != nil {
		s.warn(ctx, err)
		return func() {}
	}
	done := make(chan error, 1)
	go func() { done <- s.server.ServeControl(ctx, l) }()
	return func() {
		if err := <-done; err != nil {
			s.warn(ctx, err)
		}
	}
}

func (s *openedServer) warn(ctx context.Context, err error) {
	if s.log != nil {
		s.log.WarnContext(ctx, "there is no control socket: operators can reach this server with --index and an operator token only", slog.Any("error", err))
	}
}

// openDue opens the signing requests for what offline keys have to sign soon. The publisher calls it.
func (s *openedServer) openDue(ctx context.Context, _ *publish.View, _ []publish.Role) {
	n, err := s.index.OpenDue(ctx)
	switch {
	case s.log == nil:
	case err != nil && ctx.Err() == nil:
		s.log.ErrorContext(ctx, "signing requests for roles that expire soon could not be opened", slog.Any("error", err))
	case n > 0:
		s.log.WarnContext(ctx, "offline keys have to sign; bailiwick requests says what", slog.Int("requests", n))
	}
}

// controlListener takes the socket's name away when it closes, once.
type controlListener struct {
	net.Listener
	path string
	once sync.Once
}

// Close ends Accept, and removes the socket.
func (l *controlListener) Close() error {
	err := l.Listener.Close()
	l.once.Do(func() {
		if gone := os.Remove(l.path); gone != nil && !errors.Is(gone, fs.ErrNotExist) {
			err = errors.Join(err, gone)
		}
	})
	return err //nolint:wrapcheck // a listener's own words
}
