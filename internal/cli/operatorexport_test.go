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

// ExplainFolder says what to do about a data folder that can not be opened.
func ExplainFolder(data string, err error) error { return explainFolder(data, err) }

// Choice names those who can sign.
func Choice(names []string, need int) string { return choice(names, need) }
