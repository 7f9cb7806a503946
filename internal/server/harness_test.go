package server_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"mime/multipart"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/bailiwick/internal/index"
	"example.com/bailiwick/internal/ledger"
	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/internal/publish/publishtest"
	"example.com/bailiwick/internal/pypi/distmake"
	"example.com/bailiwick/internal/server"
)

// store is a file store in memory that counts what is staged and can be full.
type store struct {
	mu     sync.Mutex
	kept   map[[32]byte][]byte
	staged int // opened and not yet ended
	full   bool
}

func (s *store) Stage(context.Context) (index.Staged, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.staged++
	return &staged{store: s}, nil
}

func (s *store) Open(_ context.Context, sum [32]byte) (index.Blob, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	data, ok := s.kept[sum]
	if !ok {
		return nil, index.ErrNoBlob
	}
	return blob{bytes.NewReader(data)}, nil
}

func (s *store) inProgress() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.staged
}

func (s *store) setFull(full bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.full = full
}

type staged struct {
	store *store
	data  []byte
	ended bool
}

func (f *staged) Write(p []byte) (int, error) {
	f.store.mu.Lock()
	defer f.store.mu.Unlock()
	if f.store.full {
		return 0, fmt.Errorf("writing: %w", index.ErrFull)
	}
	f.data = append(f.data, p...)
	return len(p), nil
}

func (f *staged) ReadAt(p []byte, off int64) (int, error) {
	return bytes.NewReader(f.data).ReadAt(p, off)
}

func (f *staged) Keep(_ context.Context, sum [32]byte) error {
	f.store.mu.Lock()
	defer f.store.mu.Unlock()
	f.store.kept[sum] = f.data
	return f.end()
}

func (f *staged) Discard() error {
	f.store.mu.Lock()
	defer f.store.mu.Unlock()
	return f.end()
}

func (f *staged) end() error {
	if !f.ended {
		f.ended = true
		f.store.staged--
	}
	return nil
}

type blob struct{ *bytes.Reader }

func (blob) Close() error { return nil }

// site is a whole index on a loopback port.
type site struct {
	url, host string
	token     string

	desk        *publishtest.Desk // with the keys of the signer, if there is one
	signerToken string
	line        *server.Line

	server    *server.Server
	index     *index.Index
	publisher *publish.Publisher
	store     *store
	log       *lockedBuffer
	stop      func() error // ends Serve and returns what it returned
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

type options struct {
	limits   server.Limits
	fileSize int64
	queue    int
	idle     bool             // the publisher does not run
	quiet    bool             // no log
	strict   bool             // custody strict: the test is the signer
	now      func() time.Time // nil: time.Now
}

func newSite(t testing.TB, o options) *site {
	t.Helper()
	if o.now == nil {
		o.now = time.Now
	}
	l := ledger.NewMemory()
	keys := publishtest.Create(t, l, publishtest.Options{Now: o.now()})
	config := publish.Config{Ledger: l, Signers: keys.Online(), Now: o.now, Queue: o.queue}
	s := &site{store: &store{kept: map[[32]byte][]byte{}}, log: &lockedBuffer{}}
	var line *server.Line
	if o.strict {
		line = server.NewLine()
		s.desk, config.Signers = publishtest.NewDesk(keys)
		config.Countersign, config.Proposals = line, l
		secret, token, err := index.NewToken(rand.Reader, o.now(), "signer", nil)
		if err != nil {
			t.Fatal(err)
		}
		token.Right = index.RightSigner
		if err := l.PutToken(t.Context(), token); err != nil {
			t.Fatal(err)
		}
		s.signerToken, s.line = secret, line
	}
	if o.idle {
		p, err := publish.Open(t.Context(), config)
		if err != nil {
			t.Fatal(err)
		}
		s.publisher = p
	} else {
		s.publisher = publishtest.Run(t, config)
	}
	var err error
	s.index, err = index.New(index.Config{
		Publisher: s.publisher, Files: s.store, Tokens: l, Records: l, Limits: index.Limits{FileSize: o.fileSize}, Now: o.now,
	})
	if err != nil {
		t.Fatal(err)
	}
	if s.token, _, err = s.index.NewToken(t.Context(), "test", nil); err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	if o.quiet {
		log = slog.New(slog.DiscardHandler)
	}
	srv, err := server.New(server.Config{Index: s.index, Publisher: s.publisher, Signer: line, Limits: o.limits, Now: o.now, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	s.server = srv
	s.serve(t, srv)
	return s
}

func (s *site) serve(t testing.TB, srv *server.Server) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.host = l.Addr().String()
	s.url = "http://" + s.host
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ctx, l) }()
	s.stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	t.Cleanup(func() {
		if err := s.stop(); err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
}

// answer is a response with its body.
type answer struct {
	*http.Response
	body string
}

// client neither follows redirects nor unpacks bodies: tests look at what was sent.
func client() *http.Client {
	return &http.Client{
		Transport:     &http.Transport{DisableCompression: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Timeout:       30 * time.Second,
	}
}

// do sends a request; headers come as "Name: value".
func (s *site) do(t testing.TB, method, path string, body io.Reader, headers ...string) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, s.url+path, body)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Add(name, value)
	}
	c := client()
	defer c.CloseIdleConnections()
	resp, err := c.Do(r)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s %s: reading the body: %v", method, path, err)
	}
	return answer{resp, string(data)}
}

func (s *site) get(t testing.TB, path string, headers ...string) answer {
	t.Helper()
	return s.do(t, http.MethodGet, path, nil, headers...)
}

func (a answer) want(t testing.TB, status int) answer {
	t.Helper()
	if a.StatusCode != status {
		t.Fatalf("%s %s: status %q, want %d; body: %.300s", a.Request.Method, a.Request.URL, a.Status, status, a.body)
	}
	return a
}

func (a answer) wantHeader(t testing.TB, name, want string) answer {
	t.Helper()
	if got := strings.Join(a.Header.Values(name), ", "); got != want {
		t.Errorf("%s %s: header %s is %q, want %q", a.Request.Method, a.Request.URL, name, got, want)
	}
	return a
}

func (a answer) wantText(t testing.TB, parts ...string) answer {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(a.body, part) {
			t.Errorf("%s %s: the body lacks %q:\n%.600s", a.Request.Method, a.Request.URL, part, a.body)
		}
	}
	return a
}

// part is one part of an upload's form; file parts have a file name.
type part struct{ name, filename, value string }

// uploadParts are those that twine sends for a distribution.
func uploadParts(f distmake.File, project, version string) []part {
	filetype, pyversion := "bdist_wheel", "py3"
	if !strings.HasSuffix(f.Name, ".whl") {
		filetype, pyversion = "sdist", "source"
	}
	sum := sha256.Sum256(f.Data)
	return []part{
		{name: ":action", value: "file_upload"},
		{name: "protocol_version", value: "1"},
		{name: "metadata_version", value: "2.1"},
		{name: "name", value: project},
		{name: "version", value: version},
		{name: "filetype", value: filetype},
		{name: "pyversion", value: pyversion},
		{name: "sha256_digest", value: hex.EncodeToString(sum[:])},
		{name: "summary", value: ""},
		{name: "x_unknown", value: "whatever"},
		{name: "content", filename: f.Name, value: string(f.Data)},
	}
}

func encode(parts []part) (contentType string, body []byte) {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for _, p := range parts {
		var to io.Writer
		if p.filename != "" {
			to, _ = w.CreateFormFile(p.name, p.filename)
		} else {
			to, _ = w.CreateFormField(p.name)
		}
		_, _ = io.WriteString(to, p.value)
	}
	_ = w.Close()
	return w.FormDataContentType(), b.Bytes()
}

func basic(user, secret string) string {
	r := http.Request{Header: http.Header{}}
	r.SetBasicAuth(user, secret)
	return "Authorization: " + r.Header.Get("Authorization")
}

// send uploads parts to /legacy/.
func (s *site) send(t testing.TB, parts []part, headers ...string) answer {
	t.Helper()
	contentType, body := encode(parts)
	return s.do(t, http.MethodPost, "/legacy/", bytes.NewReader(body),
		append([]string{"Content-Type: " + contentType, basic("__token__", s.token)}, headers...)...)
}

// publish uploads a wheel and wants it taken.
func (s *site) publish(t testing.TB, project, version string, o distmake.Options) distmake.File {
	t.Helper()
	f := distmake.Wheel(project, version, o)
	s.send(t, uploadParts(f, project, version)).want(t, http.StatusOK)
	return f
}

// raw opens a connection and sends text as it is.
func (s *site) raw(t testing.TB, text string) (net.Conn, *bufio.Reader) {
	t.Helper()
	conn, err := net.Dial("tcp", s.host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	return conn, bufio.NewReader(conn)
}

// statusLine reads the first line of a raw answer.
func statusLine(t testing.TB, r *bufio.Reader) string {
	t.Helper()
	line, err := r.ReadString('\n')
	if err != nil {
		t.Fatalf("reading the status line: %v", err)
	}
	return strings.TrimSpace(line)
}

// eventually waits for a condition that another goroutine brings about.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline:
			t.Fatalf("waited in vain: %s", what)
		case <-tick.C:
		}
	}
}

func sha(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func hexOf(sum [32]byte) string { return hex.EncodeToString(sum[:]) }
