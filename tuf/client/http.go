package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// HTTPConfig says where a repository is and how patient to be with it. Only the
// two URLs are needed.
type HTTPConfig struct {
	Metadata  string // base URL of metadata, http or https
	Targets   string // base URL of target files
	UserAgent string // default "bailiwick"

	FirstByte     time.Duration // longest wait for an answer's head; default 30 s
	Idle          time.Duration // longest wait for the next bytes of a body; default 30 s
	MetadataTotal time.Duration // longest time for one metadata file, retries included; default 5 min
	TargetTotal   time.Duration // longest time for one target file from one offset; default 1 h

	// MinRate is the fewest bytes a second at which a body may come, averaged over
	// rateWindow of waiting for it; time that the reader takes does not count. Without it,
	// a server that gives one byte now and then would hold a client until the total time
	// is over. Default 1 KiB/s; negative: no such limit.
	MinRate int64

	// Retries is how often a request is made again after a failed connection or
	// a gateway's 502, 503, 504. Default 2; negative: never.
	Retries int

	// Redirects is how many redirects one request follows. Default 5; negative: none.
	Redirects int
	// RedirectTo are origins to which redirects may lead beside the one that was asked, such
	// as "https://cdn.example.com": scheme and host, and the port if it is not the usual one.
	// Default: none. Wherever bytes come from, they are verified.
	RedirectTo []string

	// Transport makes the requests. nil: one of its own, with the proxy of the
	// environment; nothing is shared with other HTTP clients of the process.
	Transport http.RoundTripper
}

// HTTPFetcher is a Fetcher over HTTP. It is safe for concurrent use.
type HTTPFetcher struct {
	config   HTTPConfig
	metadata *url.URL
	targets  *url.URL
	client   *http.Client
}

var _ Fetcher = (*HTTPFetcher)(nil)

// rateWindow is the waiting time over which MinRate is averaged.
const rateWindow = 20 * time.Second

// NewHTTPFetcher checks the configuration and makes a fetcher. It makes no
// request.
func NewHTTPFetcher(c HTTPConfig) (*HTTPFetcher, error) {
	metadata, errM := baseURL("metadata", c.Metadata)
	targets, errT := baseURL("targets", c.Targets)
	origins, errR := originsOf(c.RedirectTo)
	if err := errors.Join(errM, errT, errR); err != nil {
		return nil, err
	}
	c.UserAgent = orElse(c.UserAgent, "bailiwick")
	c.FirstByte = orElse(c.FirstByte, 30*time.Second)
	c.Idle = orElse(c.Idle, 30*time.Second)
	c.MetadataTotal = orElse(c.MetadataTotal, 5*time.Minute)
	c.TargetTotal = orElse(c.TargetTotal, time.Hour)
	c.MinRate = max(orElse(c.MinRate, 1<<10), 0)
	c.Retries = max(orElse(c.Retries, 2), 0)
	c.Redirects = max(orElse(c.Redirects, 5), 0)
	if c.Transport == nil {
		c.Transport = &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DialContext:            (&net.Dialer{Timeout: c.FirstByte}).DialContext,
			TLSHandshakeTimeout:    c.FirstByte,
			ForceAttemptHTTP2:      true,
			MaxIdleConnsPerHost:    16,
			IdleConnTimeout:        90 * time.Second,
			MaxResponseHeaderBytes: 64 << 10,
		}
	}
	f := &HTTPFetcher{config: c, metadata: metadata, targets: targets}
	f.client = &http.Client{Transport: c.Transport, CheckRedirect: redirects(c.Redirects, origins)}
	return f, nil
}

func orElse[T comparable](v, fallback T) T {
	var zero T
	if v == zero {
		return fallback
	}
	return v
}

func baseURL(what, s string) (*url.URL, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		if bad, ok := errors.AsType[*url.Error](err); ok {
			err = bad.Err // without the URL, which may hold a password
		}
		return nil, fmt.Errorf("%s URL: %w", what, err)
	case u.Scheme != "http" && u.Scheme != "https", u.Host == "":
		return nil, fmt.Errorf("%s URL %q: it must begin with http:// or https:// and name a host", what, u.Redacted())
	case u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("%s URL %q: it must not have a query or a fragment", what, u.Redacted())
	}
	return u, nil
}

// origin returns what must stay the same for a redirect to be followed.
func origin(u *url.URL) string {
	return strings.ToLower(u.Scheme) + "://" + strings.ToLower(u.Host)
}

// originsOf checks the origins of a configuration.
func originsOf(list []string) ([]string, error) {
	var out []string
	for _, s := range list {
		u, err := baseURL("redirect", s)
		if err != nil {
			return nil, err
		}
		if u.User != nil || strings.Trim(u.Path, "/") != "" {
			return nil, fmt.Errorf("redirect URL %q: it must be a scheme and a host, nothing else", u.Redacted())
		}
		out = append(out, origin(u))
	}
	return out, nil
}

// redirects allows few redirects, and none to a scheme or host that was not configured:
// where a repository is must not be moved by an answer.
func redirects(most int, to []string) func(next *http.Request, via []*http.Request) error {
	return func(next *http.Request, via []*http.Request) error {
		if o := origin(next.URL); o != origin(via[0].URL) && !slices.Contains(to, o) {
			return fmt.Errorf("%w: to %s; configure that address if it is right", errRedirect, o)
		}
		if len(via) > most {
			return fmt.Errorf("%w: more than %d", errRedirect, most)
		}
		return nil
	}
}

// Close ends idle connections.
func (f *HTTPFetcher) Close() { f.client.CloseIdleConnections() }

// isRoot reports whether a name is that of a root of the chain.
func isRoot(name string) bool {
	version, ok := strings.CutSuffix(name, ".root.json")
	return ok && version != "" && strings.Trim(version, "0123456789") == ""
}

// Metadata implements Fetcher.
func (f *HTTPFetcher) Metadata(ctx context.Context, name string, limit int64) (data []byte, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, f.config.MetadataTotal, errTotal)
	defer cancel()
	u := join(f.metadata, escape(name))
	err = f.retry(ctx, func() error {
		body, err := f.get(ctx, u, 0, isRoot(name))
		if err != nil {
			return err
		}
		defer func() { _ = body.Close() }() // everything needed was read
		data, err = readAtMost(body, limit, body.size)
		if errors.Is(err, ErrTooLarge) {
			return fmt.Errorf("%s: more than %d bytes: %w", u.Redacted(), limit, ErrTooLarge)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return data, nil
}

// readAtMost reads everything, or fails with ErrTooLarge. The announced size, -1 if there
// is none, spares growing a buffer step by step; it is believed up to the limit, which
// is what the caller can spend.
func readAtMost(r io.Reader, limit, announced int64) ([]byte, error) {
	room := min(max(announced, 0), limit) + bytes.MinRead // so much is left at the end, or ReadFrom grows once more
	b := bytes.NewBuffer(make([]byte, 0, room))
	if _, err := b.ReadFrom(io.LimitReader(r, limit+1)); err != nil {
		return nil, err
	}
	if int64(b.Len()) > limit {
		return nil, ErrTooLarge
	}
	return b.Bytes(), nil
}

// Target implements Fetcher.
func (f *HTTPFetcher) Target(ctx context.Context, name string, offset int64) (io.ReadCloser, error) {
	segments := strings.Split(name, "/")
	for i, s := range segments {
		segments[i] = escape(s)
	}
	u := join(f.targets, strings.Join(segments, "/"))
	ctx, cancel := context.WithTimeoutCause(ctx, f.config.TargetTotal, errTotal)
	var b *body
	err := f.retry(ctx, func() (err error) {
		b, err = f.get(ctx, u, offset, false)
		return err
	})
	if err != nil {
		cancel()
		return nil, err
	}
	return &closer{b, cancel}, nil
}

type closer struct {
	io.ReadCloser
	cancel context.CancelFunc
}

func (c *closer) Close() error {
	defer c.cancel()
	return c.ReadCloser.Close()
}

// retry makes an attempt again if nothing was learned and another may help.
func (f *HTTPFetcher) retry(ctx context.Context, attempt func() error) error {
	pause := 100 * time.Millisecond
	for n := 0; ; n++ {
		err := attempt()
		if err == nil || n == f.config.Retries || !mayPass(err) || ctx.Err() != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause):
			pause *= 4
		}
	}
}

// mayPass reports whether a failure is of a kind that passes within moments. A
// deadline is not: the time is over.
func mayPass(err error) bool {
	var n *NetworkError
	if !errors.As(err, &n) {
		return false
	}
	switch n.Status {
	case 0:
		return !errors.Is(n.Err, errFirstByte) && !errors.Is(n.Err, errIdle) && !errors.Is(n.Err, errTotal) &&
			!errors.Is(n.Err, errRate) && !errors.Is(n.Err, errRedirect)
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// The deadlines that a NetworkError may hold.
var (
	errFirstByte = errors.New("no answer in time")
	errIdle      = errors.New("the body stopped coming")
	errTotal     = errors.New("it took too long altogether")
	errRate      = errors.New("the body comes too slowly")
	errRedirect  = errors.New("redirect refused")
)

// get makes one request and returns the body from offset on, as it is once
// decompressed. Deadlines are held by cancelling, so that they do not depend on
// the transport.
func (f *HTTPFetcher) get(ctx context.Context, u *url.URL, offset int64, rootName bool) (_ *body, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer func() {
		if err != nil {
			cancel(nil)
		}
	}()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, &NetworkError{URL: u.Redacted(), Err: err}
	}
	req.URL = u // as encoded here, not as parsed again
	req.Header.Set("User-Agent", f.config.UserAgent)
	if offset > 0 {
		req.Header.Set("Range", "bytes="+strconv.FormatInt(offset, 10)+"-")
		req.Header.Set("Accept-Encoding", "identity") // offsets count plain bytes
	}
	watch := time.AfterFunc(f.config.FirstByte, func() { cancel(errFirstByte) })
	resp, err := f.client.Do(req)
	watch.Stop()
	if err != nil {
		return nil, &NetworkError{URL: u.Redacted(), Err: causeOf(ctx, err)}
	}
	b := &body{
		body: resp.Body, size: resp.ContentLength, url: u.Redacted(), idle: f.config.Idle, minRate: f.config.MinRate,
		cancel: cancel, cause: func(err error) error { return causeOf(ctx, err) },
	}
	if err := judge(resp, b, offset, rootName); err != nil {
		// Every refresh ends its chain of roots with a 404. The connection serves the next
		// request only if that answer was read to its end, which is worth a few bytes.
		watch := time.AfterFunc(excuseTime, func() { cancel(errIdle) })
		_, _ = io.CopyN(io.Discard, b, maxExcuse)
		watch.Stop()
		_ = resp.Body.Close()
		return nil, err
	}
	return b, nil
}

// The body of an answer that is of no use is read so far, and waited for so long altogether:
// who sends it slowly must not hold up a refresh that needs none of it.
const (
	maxExcuse  = 16 << 10
	excuseTime = time.Second
)

// judge decides what an answer's head means. A server that does not know ranges
// answers 200 with everything: then what is already there is read past.
func judge(resp *http.Response, b *body, offset int64, rootName bool) error {
	switch status := resp.StatusCode; {
	case status == http.StatusOK:
		if _, err := io.CopyN(io.Discard, b, offset); err != nil {
			return &NetworkError{URL: b.url, Status: status, Err: fmt.Errorf("reading past the first %d bytes: %w", offset, err)}
		}
		return nil
	case status == http.StatusPartialContent && offset > 0:
		if want := fmt.Sprintf("bytes %d-", offset); !strings.HasPrefix(resp.Header.Get("Content-Range"), want) {
			return &NetworkError{URL: b.url, Status: status, Err: fmt.Errorf("it answered with the range %q instead of %q", resp.Header.Get("Content-Range"), want)}
		}
		return nil
	case status == http.StatusNotFound,
		rootName && (status == http.StatusForbidden || status == http.StatusGone):
		return fmt.Errorf("%s: status %d: %w", b.url, status, ErrAbsent)
	default:
		return &NetworkError{URL: b.url, Status: status}
	}
}

// body reads an answer. Each Read has the idle time for itself, so a caller
// that takes its time with what it got is not mistaken for a stalled server.
type body struct {
	body   io.ReadCloser
	size   int64 // as announced; -1 if it was not, or if this is decompressed
	url    string
	idle   time.Duration
	cancel context.CancelCauseFunc
	cause  func(error) error

	minRate int64         // bytes a second; 0: any
	waited  time.Duration // in the present window
	got     int64         // likewise
}

func (b *body) Read(p []byte) (int, error) {
	watch := time.AfterFunc(b.idle, func() { b.cancel(errIdle) })
	start := time.Now() //nolint:forbidigo // how long a Read takes, not what time it is
	n, err := b.body.Read(p)
	watch.Stop()
	switch {
	case err != nil && err != io.EOF:
		err = &NetworkError{URL: b.url, Err: b.cause(err)}
	case err == nil && b.tooSlow(n, time.Since(start)):
		b.cancel(errRate)
		err = &NetworkError{URL: b.url, Err: errRate}
	}
	return n, err
}

// tooSlow counts what a Read gave and how long it took, and looks at both when a window
// is over.
func (b *body) tooSlow(n int, took time.Duration) bool {
	b.waited += took
	b.got += int64(n)
	if b.waited < rateWindow || b.minRate == 0 {
		return false
	}
	slow := float64(b.got) < float64(b.minRate)*b.waited.Seconds()
	b.waited, b.got = 0, 0
	return slow
}

func (b *body) Close() error {
	defer b.cancel(nil)
	return b.body.Close()
}

// causeOf returns the deadline that ended a request rather than how its end
// showed, and drops the address, which a NetworkError says anyhow.
func causeOf(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	for inner := (*url.Error)(nil); errors.As(err, &inner); {
		err = inner.Err
	}
	return err
}

// join appends an encoded relative path to a base URL.
func join(base *url.URL, encoded string) *url.URL {
	u := *base
	u.RawPath = strings.TrimSuffix(base.EscapedPath(), "/") + "/" + encoded
	u.Path, _ = url.PathUnescape(u.RawPath) // both parts are well encoded
	return &u
}

// escape percent-encodes one path segment: everything but what RFC 3986 calls
// unreserved. A segment of dots only would mean another folder.
func escape(segment string) string {
	if segment == "." || segment == ".." {
		return strings.ReplaceAll(segment, ".", "%2E")
	}
	const hexDigits = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(segment) {
		c := segment[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '.', c == '_', c == '~':
			b.WriteByte(c)
		default:
			b.WriteByte('%')
			b.WriteByte(hexDigits[c>>4])
			b.WriteByte(hexDigits[c&15])
		}
	}
	return b.String()
}
