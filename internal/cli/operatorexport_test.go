package cli

import (
	"context"
	"net"
	"net/http"
)

// InProcess is the transport of commands that stand in for a server.
func InProcess(h http.Handler) http.RoundTripper { return handlerTransport{h} }

// ListenControl makes a control socket.
func ListenControl(ctx context.Context, data string) (net.Listener, error) {
	return listenControl(ctx, data)
}

// ErrLongSocket is for data folders whose path is too long.
var ErrLongSocket = errLongSocket

// Choice names those who can sign.
func Choice(names []string, need int) string { return choice(names, need) }
