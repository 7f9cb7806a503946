package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"regexp"
	"time"

	"example.com/bailiwick/internal/verify"
)

// DefaultListen is where the proxy listens unless told otherwise. It is fixed because installers key
// their caches by address.
const DefaultListen = "127.0.0.1:8399"

// Bounds of a connection.
const (
	headerTime  = 10 * time.Second
	idleTime    = 2 * time.Minute
	headerBytes = 64 << 10
	// drainTime is how long Close waits for answers under way.
	drainTime = 2 * time.Second
)

// Config is what a proxy is made of.
type Config struct {
	Engine *verify.Engine // required
	// Listen is a loopback address with a port, by default DefaultListen. Port 0 is any free one.
	Listen string
	// AnyPort takes a free port when the one of Listen is taken.
	AnyPort bool
	Root    string // names the pinned root in addresses: 8 to 64 lower-case hex digits; required
	Secret  string // the user's path part: at least 16 letters and digits; required
	// OnBlocked is called with the host of every request that the guard refuses. May be nil.
	OnBlocked func(host string)
}

// Proxy is a running proxy.
type Proxy struct {
	server   *http.Server
	listener net.Listener
	prefix   string
	done     chan struct{} // closed when the server has ended
}

// ErrPortTaken is wrapped when somebody else listens at the address.
var ErrPortTaken = errors.New("the port is taken")

var (
	rootForm   = regexp.MustCompile(`^[0-9a-f]{8,64}$`)
	secretForm = regexp.MustCompile(`^[0-9A-Za-z]{16,128}$`)
)

// Start listens and serves until Close. It makes no request to the repository.
func Start(ctx context.Context, c Config) (*Proxy, error) {
	if c.Engine == nil || !rootForm.MatchString(c.Root) || !secretForm.MatchString(c.Secret) {
		return nil, errors.New("proxy: Engine, Root (hex digits) and Secret (letters and digits) are required")
	}
	if c.Listen == "" {
		c.Listen = DefaultListen
	}
	listener, err := listen(ctx, c.Listen, c.AnyPort)
	if err != nil {
		return nil, err
	}
	p := &Proxy{listener: listener, prefix: "/" + c.Root + "/" + c.Secret, done: make(chan struct{})}
	p.server = &http.Server{
		Handler:           newHandler(c, listener.Addr(), p.prefix),
		ReadHeaderTimeout: headerTime,
		IdleTimeout:       idleTime,
		MaxHeaderBytes:    headerBytes,
		ErrorLog:          log.New(io.Discard, "", 0), // broken connections of installers are their business
		BaseContext:       func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
	}
	go func() {
		defer close(p.done)
		_ = p.server.Serve(listener) // always ends with ErrServerClosed, by Close
	}()
	return p, nil
}

func listen(ctx context.Context, address string, anyPort bool) (net.Listener, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("address %q: write it as 127.0.0.1:PORT: %w", address, err)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, fmt.Errorf("address %q: the proxy serves this machine only; use 127.0.0.1:%s", address, port)
	}
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", address)
	if err == nil {
		return listener, nil
	}
	if !isTaken(err) {
		return nil, fmt.Errorf("listening: %w", err)
	}
	if !anyPort {
		return nil, fmt.Errorf("listening on %s: %w", address, ErrPortTaken)
	}
	listener, err = lc.Listen(ctx, "tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return nil, fmt.Errorf("listening: %w", err)
	}
	return listener, nil
}

// Endpoint tells installers where the proxy is.
func (p *Proxy) Endpoint() Endpoint {
	return Endpoint{Index: IndexURL(p.Address(), p.prefix[1:]), Guard: "http://" + p.Address()}
}

// IndexURL is the address of the index of a proxy that listens at address, for a path of the form
// ROOT/SECRET.
func IndexURL(address, path string) string { return "http://" + address + "/" + path + "/simple/" }

// Address is where the proxy listens, as HOST:PORT.
func (p *Proxy) Address() string { return p.listener.Addr().String() }

// Close stops listening, lets answers under way end for a moment, and cuts the rest.
func (p *Proxy) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	err := p.server.Shutdown(ctx)
	if err != nil {
		err = p.server.Close()
	}
	<-p.done
	return err
}
