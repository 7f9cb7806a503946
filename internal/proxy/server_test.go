package proxy_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/bailiwick/internal/proxy"
	"example.com/bailiwick/internal/pypi/simple"
	"example.com/bailiwick/internal/testrepo"
	"example.com/bailiwick/internal/verify"
	"example.com/bailiwick/tuf/client"
)

const (
	wheelName = "flask-3.1.0+local.1-py3-none-any.whl"
	metadata  = "Metadata-Version: 2.1\nName: flask\n"
	rootID    = "0123456789abcdef"
	secret    = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
)

// site is a repository and a proxy in front of it.
type site struct {
	*testrepo.Repo
	t       *testing.T
	content []byte
	proxy   *proxy.Proxy
	engine  *verify.Engine

	mu      sync.Mutex
	now     time.Time
	blocked []string
}

func (s *site) Now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

func (s *site) later(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = s.now.Add(d)
	s.Clock = s.now
}

func newSite(t *testing.T, edit ...func(*verify.Config)) *site {
	t.Helper()
	r := testrepo.New(t, testrepo.Options{})
	r.Edit["targets"] = func(signed map[string]any) { signed["x-bailiwick-bins"] = 16 }
	r.Touch("targets")
	r.Life["timestamp"] = 24 * time.Hour
	r.Bailiwick(testrepo.Project{Name: "flask", Claimed: true}, testrepo.Project{Name: "other"})
	s := &site{Repo: r, t: t, now: r.Clock, content: bytes.Repeat([]byte("flask, verified. "), 20_000)}
	sum := sha256.Sum256([]byte(metadata))
	r.AddTargetCustom("project.flask", testrepo.ProjectPath("flask", wheelName), s.content, map[string]any{
		"version": "3.1.0+local.1", "requires-python": ">=3.9", "core-metadata": map[string]any{"sha256": hex.EncodeToString(sum[:])},
	})
	r.ServeTarget(s.target()+".metadata", []byte(metadata))
	r.AddTargetCustom("project.other", testrepo.ProjectPath("other", "other-1.tar.gz"), []byte("other"), map[string]any{"version": "1"})
	r.Publish()
	c, err := client.New(client.Config{Fetcher: r, Store: client.NewMemory(), Root: r.Root(1), Now: s.Now})
	if err != nil {
		t.Fatal(err)
	}
	config := verify.Config{
		Client: c, Fetcher: r, Source: "https://pkgs.example.com", Now: s.Now, Cache: openCache(t, t.TempDir(), 1<<30, s.Now),
		Refresh: 10 * time.Second, Remember: time.Minute,
	}
	for _, e := range edit {
		e(&config)
	}
	s.start(config)
	return s
}

// behind is a second proxy for the same repository, reached through f.
func (s *site) behind(f client.Fetcher) *site {
	s.t.Helper()
	c, err := client.New(client.Config{Fetcher: f, Store: client.NewMemory(), Root: s.Root(1), Now: s.Now})
	if err != nil {
		s.t.Fatal(err)
	}
	other := &site{Repo: s.Repo, t: s.t, content: s.content, now: s.now}
	other.start(verify.Config{
		Client: c, Fetcher: f, Source: "https://pkgs.example.com", Now: s.Now, Cache: openCache(s.t, s.t.TempDir(), 1<<30, s.Now),
	})
	return other
}

func (s *site) start(config verify.Config) {
	t := s.t
	t.Helper()
	var err error
	if s.engine, err = verify.New(config); err != nil {
		t.Fatal(err)
	}
	s.proxy, err = proxy.Start(t.Context(), proxy.Config{
		Engine: s.engine, Listen: "127.0.0.1:0", Root: rootID, Secret: secret,
		OnBlocked: func(host string) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.blocked = append(s.blocked, host)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.proxy.Close(); err != nil {
			t.Error(err)
		}
	})
}

func (s *site) target() string {
	return s.TargetName(testrepo.ProjectPath("flask", wheelName), s.content)
}

// reply is an answer as it came over the wire.
type reply struct {
	status string // "403 and the phrase"
	header http.Header
	body   []byte
	err    error // of reading the body
}

// raw sends one request as it stands and reads the answer.
func (s *site) raw(request string) reply {
	s.t.Helper()
	conn, err := net.Dial("tcp", s.proxy.Address())
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(conn, request); err != nil {
		s.t.Fatal(err)
	}
	method, _, _ := strings.Cut(request, " ")
	resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		s.t.Fatalf("reading the answer to %.60q: %v", request, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return reply{status: resp.Status, header: resp.Header, body: body, err: err}
}

// ask sends a request for a path below the user's prefix.
func (s *site) ask(method, path string, header ...string) reply {
	s.t.Helper()
	return s.raw(fmt.Sprintf("%s /%s/%s%s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n%s\r\n",
		method, rootID, secret, path, s.proxy.Address(), lines(header)))
}

func lines(header []string) string {
	var b strings.Builder
	for _, h := range header {
		b.WriteString(h + "\r\n")
	}
	return b.String()
}

func (s *site) file(suffix string) string {
	sum := sha256.Sum256(s.content)
	return "/files/flask/" + hex.EncodeToString(sum[:8]) + "/" + strings.ReplaceAll(wheelName, "+", "%2B") + suffix
}

func (r reply) want(t *testing.T, status string) reply {
	t.Helper()
	if !strings.HasPrefix(r.status, status) {
		t.Fatalf("status %q, want %q\n%s", r.status, status, r.body)
	}
	return r
}

func TestPages(t *testing.T) {
	s := newSite(t)
	page := s.ask("GET", "/simple/flask/", "Accept: application/vnd.pypi.simple.v1+json").want(t, "200 OK")
	if got := page.header.Get("Content-Type"); got != string(simple.JSON) {
		t.Errorf("content type %q", got)
	}
	var got struct {
		Name  string
		Files []struct {
			Filename, URL string
			Hashes        map[string]string
			RequiresPy    string                  `json:"requires-python"`
			CoreMetadata  struct{ SHA256 string } `json:"core-metadata"`
		}
	}
	if err := json.Unmarshal(page.body, &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Files) != 1 || got.Files[0].Filename != wheelName || got.Files[0].URL != "../.."+s.file("") ||
		got.Files[0].RequiresPy != ">=3.9" || len(got.Files[0].Hashes) != 1 || got.Files[0].CoreMetadata.SHA256 == "" {
		t.Errorf("page %+v", got)
	}
	if page.header.Get("Vary") != "Accept" || page.header.Get("ETag") == "" || page.header.Get("Cache-Control") != "no-cache" {
		t.Errorf("header %v", page.header)
	}
	s.ask("GET", "/simple/flask/", "Accept: application/vnd.pypi.simple.v1+json", "If-None-Match: "+page.header.Get("ETag")).want(t, "304")
	html := s.ask("GET", "/simple/flask/", "Accept: text/html").want(t, "200 OK")
	if got := html.header.Get("Content-Type"); got != "text/html; charset=utf-8" || !bytes.Contains(html.body, []byte(">"+wheelName+"</a>")) {
		t.Errorf("html: %q\n%s", got, html.body)
	}
	if html.header.Get("ETag") == page.header.Get("ETag") {
		t.Error("two forms share one ETag")
	}
	s.ask("GET", "/simple/flask/", "Accept: image/png").want(t, "406 bailiwick: ")
	s.ask("GET", "/simple/nosuch/").want(t, "404 bailiwick: nosuch is not in the verified index")
	s.ask("GET", "/simple/").want(t, "404 bailiwick: ")
	s.ask("GET", "/simple/-bad-/").want(t, "404 bailiwick: ")
	s.ask("POST", "/simple/flask/").want(t, "405 bailiwick: ")
	s.ask("GET", "/elsewhere").want(t, "404 bailiwick: ")
	for path, to := range map[string]string{"/simple/flask": "flask", "/simple/Fla.SK/": "fla-sk", "/simple/Flask": "flask"} {
		r := s.ask("GET", path).want(t, "301")
		if got := r.header.Get("Location"); got != "/"+rootID+"/"+secret+"/simple/"+to+"/" {
			t.Errorf("%s leads to %q", path, got)
		}
	}
}

func TestFiles(t *testing.T) {
	s := newSite(t)
	for _, when := range []string{"from the repository", "from the cache"} {
		r := s.ask("GET", s.file("")).want(t, "200 OK")
		if r.err != nil || !bytes.Equal(r.body, s.content) {
			t.Errorf("%s: %d bytes, %v", when, len(r.body), r.err)
		}
		if r.header.Get("ETag") == "" || r.header.Get("Accept-Ranges") != "bytes" || r.header.Get("Content-Length") != fmt.Sprint(len(s.content)) ||
			r.header.Get("Content-Type") != "application/octet-stream" || !strings.Contains(r.header.Get("Cache-Control"), "immutable") {
			t.Errorf("%s: header %v", when, r.header)
		}
	}
	if n := strings.Count(strings.Join(s.Requests(), "\n"), s.target()); n != 1 {
		t.Errorf("%d downloads for two requests", n)
	}
	m := s.ask("GET", s.file(".metadata")).want(t, "200 OK")
	if string(m.body) != metadata {
		t.Errorf("METADATA %q", m.body)
	}
	s.ask("GET", "/files/flask/"+strings.Repeat("0", 16)+"/"+wheelName).want(t, "404 bailiwick: "+wheelName+" is not what it was when the page was made")
	s.ask("GET", strings.Replace(s.file(""), "3.1.0", "9.9", 1)).want(t, "404 bailiwick: ")
}

func TestHeadFetchesNothing(t *testing.T) {
	s := newSite(t)
	r := s.ask("HEAD", s.file("")).want(t, "200 OK")
	if r.header.Get("Content-Length") != fmt.Sprint(len(s.content)) || r.header.Get("Accept-Ranges") != "bytes" || len(r.body) != 0 {
		t.Errorf("header %v, %d bytes", r.header, len(r.body))
	}
	if got := strings.Join(s.Requests(), "\n"); strings.Contains(got, "targets/") {
		t.Errorf("it asked for %s", got)
	}
}

func TestRanges(t *testing.T) {
	s := newSite(t)
	size := len(s.content)
	for _, when := range []string{"not at hand yet", "from the cache"} {
		r := s.ask("GET", s.file(""), "Range: bytes=-100").want(t, "206 ")
		if !bytes.Equal(r.body, s.content[size-100:]) || r.header.Get("Content-Range") != fmt.Sprintf("bytes %d-%d/%d", size-100, size-1, size) {
			t.Errorf("%s: %d bytes, %q", when, len(r.body), r.header.Get("Content-Range"))
		}
	}
	etag := s.ask("HEAD", s.file("")).header.Get("ETag")
	r := s.ask("GET", s.file(""), "Range: bytes=10-19", "If-Range: "+etag).want(t, "206 ")
	if !bytes.Equal(r.body, s.content[10:20]) {
		t.Errorf("%q", r.body)
	}
	s.ask("GET", s.file(""), fmt.Sprintf("Range: bytes=%d-", size+1)).want(t, "416 ")
	s.ask("GET", s.file(""), "If-None-Match: "+etag).want(t, "304 ")
}

// slow is a Fetcher that gives the beginning of a target, and the rest when it may.
type slow struct {
	client.Fetcher
	beginning, rest []byte
	mayGoOn         chan struct{}
}

func (f *slow) Target(context.Context, string, int64) (io.ReadCloser, error) {
	return io.NopCloser(io.MultiReader(bytes.NewReader(f.beginning), until(f.mayGoOn), bytes.NewReader(f.rest))), nil
}

type until chan struct{}

func (u until) Read([]byte) (int, error) { <-u; return 0, io.EOF }

// TestLateVerdict: bytes that arrive slowly go out as they come, but for the last block; when that
// turns out wrong the installer is cut off, and its retry gets the reason.
func TestLateVerdict(t *testing.T) {
	s := newSite(t)
	evil := bytes.Clone(s.content)
	evil[len(evil)-1] ^= 1
	f := &slow{Fetcher: s.Repo, beginning: evil[:250_000], rest: evil[250_000:], mayGoOn: make(chan struct{})}
	late := s.behind(f)
	conn, err := net.Dial("tcp", late.proxy.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET /%s/%s%s HTTP/1.1\r\nHost: %s\r\n\r\n", rootID, secret, s.file(""), late.proxy.Address())
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	first := make([]byte, 100_000)
	if _, err := io.ReadFull(resp.Body, first); err != nil || resp.StatusCode != http.StatusOK || !bytes.Equal(first, evil[:100_000]) {
		t.Fatalf("%s, %v", resp.Status, err)
	}
	close(f.mayGoOn)
	rest, err := io.ReadAll(resp.Body)
	if got := len(first) + len(rest); !errors.Is(err, io.ErrUnexpectedEOF) || got > len(evil)-64<<10 {
		t.Errorf("%d of %d bytes, %v", got, len(evil), err)
	}
	late.ask("GET", s.file("")).want(t, "403 bailiwick: "+wheelName+" refused: not the bytes its maintainers signed")
}

// TestRefusedFile: a file that does not match is answered with the reason, and so is every retry.
func TestRefusedFile(t *testing.T) {
	s := newSite(t)
	evil := bytes.Clone(s.content)
	evil[len(evil)-1] ^= 1
	s.ServeTarget(s.target(), evil)
	for _, header := range [][]string{nil, {"Range: bytes=1000-"}, nil} {
		r := s.ask("GET", s.file(""), append(header, "Accept: */*")...).
			want(t, "403 bailiwick: flask-3.1.0+local.1-py3-none-any.whl refused: not the bytes its maintainers signed (bailiwick why ")
		if got := r.header.Get("X-Error-Message"); !strings.Contains(got, "refused: not the bytes") {
			t.Errorf("X-Error-Message %q", got)
		}
		var doc struct{ Title, Detail, Type string }
		if r.header.Get("Content-Type") != "application/problem+json" || json.Unmarshal(r.body, &doc) != nil ||
			!strings.Contains(doc.Title, "refused") || !strings.Contains(doc.Detail, "received") || doc.Type == "" {
			t.Errorf("%s: %s", r.header.Get("Content-Type"), r.body)
		}
	}
	s.ServeTarget(s.target(), s.content)
	s.later(time.Minute)
	if r := s.ask("GET", s.file("")).want(t, "200 "); !bytes.Equal(r.body, s.content) {
		t.Error("after the attack: not the signed bytes")
	}
}

func TestRefusedMetadata(t *testing.T) {
	s := newSite(t)
	s.ServeTarget(s.target()+".metadata", []byte("Requires-Dist: evil\n"))
	s.ask("GET", s.file(".metadata")).want(t, "403 bailiwick: flask-3.1.0+local.1-py3-none-any.whl refused: its METADATA is not the bytes its maintainers signed")
}

// TestRepositoryInTrouble: what was listed stays listed and is refused; for the rest there is a page
// that is none, which pip prints.
func TestRepositoryInTrouble(t *testing.T) {
	s := newSite(t)
	s.ask("GET", "/simple/flask/").want(t, "200 ")
	s.later(25 * time.Hour) // nobody renews the timestamp
	page := s.ask("GET", "/simple/flask/").want(t, "200 ")
	if !bytes.Contains(page.body, []byte(wheelName)) {
		t.Errorf("the page lost its files:\n%s", page.body)
	}
	for _, path := range []string{s.file(""), s.file(".metadata")} {
		s.ask("GET", path).want(t, "403 bailiwick: flask-3.1.0+local.1-py3-none-any.whl cannot be used: timestamp version 3 is expired")
	}
	unknown := s.ask("GET", "/simple/other/", "Accept: "+string(simple.JSON)).want(t, "200 ")
	kind := unknown.header.Get("Content-Type")
	if !strings.Contains(kind, `reason="bailiwick: https://pkgs.example.com cannot be used: timestamp version 3 is expired`) {
		t.Errorf("content type %q", kind)
	}
	for _, indexType := range []simple.Type{simple.JSON, simple.HTML, simple.TextHTML} {
		if strings.HasPrefix(kind, string(indexType)) {
			t.Errorf("installers take %q for an index page", kind)
		}
	}
	s.ask("GET", "/simple/other/", "User-Agent: uv/0.13.9").want(t, "409 bailiwick: https://pkgs.example.com cannot be used")
	s.PublishTimestamp()
	s.later(time.Second)
	s.ask("GET", "/simple/other/").want(t, "200 ")
	s.ask("GET", s.file("")).want(t, "200 ")
}

func TestRepositoryUnreachable(t *testing.T) {
	s := newSite(t)
	s.Break("timestamp.json", testrepo.Fault{Err: &client.NetworkError{URL: "x", Err: errors.New("connection refused")}})
	r := s.ask("GET", "/simple/flask/").want(t, "503 bailiwick: cannot reach https://pkgs.example.com: connection refused")
	if r.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	s.Break("timestamp.json", testrepo.Fault{})
	s.later(time.Second)
	s.ask("GET", "/simple/flask/").want(t, "200 ")
}

// TestStrangers: without the user's path part, and under another name, there is nothing to see.
func TestStrangers(t *testing.T) {
	s := newSite(t)
	address := s.proxy.Address()
	for _, request := range []string{
		"GET / HTTP/1.1\r\nHost: " + address,
		"GET /" + rootID + "/" + strings.Repeat("X", len(secret)) + "/simple/flask/ HTTP/1.1\r\nHost: " + address,
		"GET /" + rootID + "/" + secret + " HTTP/1.1\r\nHost: " + address,
		"GET /" + rootID + "/" + secret + "x/simple/flask/ HTTP/1.1\r\nHost: " + address,
	} {
		r := s.raw(request+"\r\nConnection: close\r\n\r\n").want(t, "404 bailiwick: there is nothing here")
		if bytes.Contains(r.body, []byte("flask")) {
			t.Errorf("%s", r.body)
		}
	}
	for _, host := range []string{"evil.example.com", "127.0.0.1:1", "localhost"} {
		s.raw("GET /"+rootID+"/"+secret+"/simple/flask/ HTTP/1.1\r\nHost: "+host+"\r\nConnection: close\r\n\r\n").
			want(t, "403 bailiwick: this address is for installers on this machine")
	}
	_, port, _ := net.SplitHostPort(address)
	s.raw("GET /"+rootID+"/"+secret+"/simple/flask/ HTTP/1.1\r\nHost: localhost:"+port+"\r\nConnection: close\r\n\r\n").want(t, "200 ")
	if got := s.Requests(); len(got) == 0 {
		t.Error("the last request should have been answered from the repository")
	}
}

func TestGuard(t *testing.T) {
	s := newSite(t)
	s.ResetRequests()
	s.raw("CONNECT pypi.example.com:443 HTTP/1.1\r\nHost: pypi.example.com:443\r\n\r\n").want(t, "403 bailiwick: pypi.example.com is not the verified index")
	s.raw("GET http://files.example.com/x.whl HTTP/1.1\r\nHost: files.example.com\r\nConnection: close\r\n\r\n").want(t, "403 bailiwick: files.example.com is not the verified index")
	s.raw("GET http://user:password@files.example.com/x.whl?token=1 HTTP/1.1\r\nHost: files.example.com\r\nConnection: close\r\n\r\n").want(t, "403 ")
	// Of a sealed environment: another server on this machine.
	s.raw("GET http://127.0.0.1:1/x.whl HTTP/1.1\r\nHost: 127.0.0.1:1\r\nConnection: close\r\n\r\n").want(t, "403 bailiwick: 127.0.0.1 is not the verified index")
	s.mu.Lock()
	blocked := strings.Join(s.blocked, " ")
	s.mu.Unlock()
	if want := "pypi.example.com files.example.com files.example.com 127.0.0.1"; blocked != want {
		t.Errorf("blocked %q, want %q", blocked, want)
	}
	if got := s.Requests(); len(got) != 0 {
		t.Errorf("the guard asked for %q", got)
	}
	// A program that ignores NO_PROXY still reaches the index.
	s.raw("GET http://"+s.proxy.Address()+"/"+rootID+"/"+secret+"/simple/flask/ HTTP/1.1\r\nHost: "+s.proxy.Address()+"\r\nConnection: close\r\n\r\n").want(t, "200 ")
}

func TestListen(t *testing.T) {
	s := newSite(t)
	config := proxy.Config{Engine: s.engine, Listen: s.proxy.Address(), Root: rootID, Secret: secret}
	if _, err := proxy.Start(t.Context(), config); !errors.Is(err, proxy.ErrPortTaken) {
		t.Errorf("a port that is taken: %v", err)
	}
	config.AnyPort = true
	p, err := proxy.Start(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	if p.Address() == s.proxy.Address() {
		t.Error("two proxies at one address")
	}
	if want := "http://" + p.Address() + "/" + rootID + "/" + secret + "/simple/"; p.Endpoint().Index != want {
		t.Errorf("index %q, want %q", p.Endpoint().Index, want)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if _, err := net.Dial("tcp", p.Address()); err == nil {
		t.Error("it still listens")
	}
	for name, spoil := range map[string]func(*proxy.Config){
		"not loopback":  func(c *proxy.Config) { c.Listen = "0.0.0.0:0" },
		"all":           func(c *proxy.Config) { c.Listen = ":0" },
		"no port":       func(c *proxy.Config) { c.Listen = "127.0.0.1" },
		"a name":        func(c *proxy.Config) { c.Listen = "pkgs.example.com:80" },
		"no engine":     func(c *proxy.Config) { c.Engine = nil },
		"short secret":  func(c *proxy.Config) { c.Secret = "x" },
		"slash in root": func(c *proxy.Config) { c.Root = "0123/4567" },
	} {
		bad := config
		spoil(&bad)
		if p, err := proxy.Start(t.Context(), bad); err == nil {
			_ = p.Close()
			t.Errorf("%s: accepted", name)
		}
	}
}
