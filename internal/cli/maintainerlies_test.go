package cli_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/bailiwick/internal/cli"
	"example.com/bailiwick/internal/pypi/distmake"
	"example.com/bailiwick/internal/server"
)

// desk is an index, what stands between it and its maintainers, and the machine on which they type.
type desk struct {
	t     *testing.T
	dir   string
	url   string // of what stands in between
	token string

	mu      sync.Mutex
	lie     func(r *http.Request, resp *http.Response, body []byte) []byte // changes answers; nil: honest
	before  func(r *http.Request)                                          // is called before a request goes on
	instead func(w http.ResponseWriter, r *http.Request) bool              // answers in place of the index
	calls   []string                                                       // "METHOD /path" of what came
}

// newDesk starts an index behind a proxy that may lie, and pins its root.
func newDesk(t *testing.T) *desk {
	t.Helper()
	d := &desk{t: t, dir: t.TempDir()}
	d.write("pass", []byte("correct horse battery staple\n"))
	out := d.run("init", "--data", d.path("data"), "--offline-keys", d.path("offline"), "--passphrase-file", d.path("pass"), "--json").code(t, 0)
	var made struct {
		Root  string `json:"root_sha256"`
		Token string `json:"upload_token"`
	}
	if err := json.Unmarshal([]byte(out.stdout), &made); err != nil {
		t.Fatal(err)
	}
	d.token = made.Token
	index := d.serve()
	proxy := &httputil.ReverseProxy{
		Rewrite:        func(r *httputil.ProxyRequest) { r.SetURL(index) },
		ModifyResponse: d.modify,
		ErrorLog:       nil,
	}
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d.mu.Lock()
		d.calls = append(d.calls, r.Method+" "+r.URL.Path)
		before, instead := d.before, d.instead
		d.mu.Unlock()
		if before != nil {
			before(r)
		}
		if instead != nil && instead(w, r) {
			return
		}
		r.Header.Del("Accept-Encoding")
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	d.url = front.URL
	d.run("trust", "add", d.url, "--root", "sha256:"+made.Root).code(t, 0)
	for _, name := range []string{"alice", "bob"} {
		d.run("keys", "new", "--out", d.path(name+".key")).code(t, 0)
	}
	return d
}

// serve runs the index until the test ends.
func (d *desk) serve() *url.URL {
	ctx, cancel := context.WithCancel(context.Background())
	r, w := io.Pipe()
	env := d.env()
	env.Stdout = w
	var log lockedBuffer
	env.Stderr = &log
	done := make(chan int, 1)
	go func() {
		done <- cli.Main(ctx, []string{"serve", "--data", d.path("data"), "--listen", "127.0.0.1:0"}, env)
		_ = w.Close()
	}()
	d.t.Cleanup(func() {
		cancel()
		if code := <-done; code != 0 {
			d.t.Errorf("serve ended with %d: %s", code, log.String())
		}
	})
	line, err := bufio.NewReader(r).ReadString('\n')
	u, err2 := url.Parse(strings.TrimSpace(strings.TrimPrefix(line, "listening on ")))
	if err != nil || err2 != nil {
		d.t.Fatalf("serve printed %q: %v %v", line, err, err2)
	}
	return u
}

func (d *desk) modify(resp *http.Response) error {
	d.mu.Lock()
	lie := d.lie
	d.mu.Unlock()
	if lie == nil {
		return nil
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	body = lie(resp.Request, resp, body)
	resp.Body = io.NopCloser(bytes.NewReader(body))
	resp.ContentLength = int64(len(body))
	resp.Header.Set("Content-Length", fmt.Sprint(len(body)))
	return nil
}

// lies sets what the index lies about from now on, and forgets the calls so far.
func (d *desk) lies(lie func(r *http.Request, resp *http.Response, body []byte) []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lie, d.calls = lie, nil
}

// sent counts the calls of a kind since the last lie.
func (d *desk) sent(call string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := 0
	for _, c := range d.calls {
		if strings.HasPrefix(c, call) {
			n++
		}
	}
	return n
}

func (d *desk) path(name string) string { return filepath.Join(d.dir, name) }

func (d *desk) write(name string, data []byte) string {
	d.t.Helper()
	if err := os.MkdirAll(filepath.Dir(d.path(name)), 0o700); err != nil {
		d.t.Fatal(err)
	}
	if err := os.WriteFile(d.path(name), data, 0o600); err != nil {
		d.t.Fatal(err)
	}
	return d.path(name)
}

func (d *desk) env() *cli.Env {
	values := map[string]string{"HOME": d.path("home"), "BAILIWICK_TOKEN": d.token, "BAILIWICK_PASSPHRASE_FILE": d.path("pass")}
	env := &cli.Env{
		Stdin: strings.NewReader(""), Stdout: io.Discard, Stderr: io.Discard, Now: time.Now,
		Getenv: func(name string) string { return values[name] }, Environ: func() []string { return nil },
	}
	return env.WithWorkFactor(cheapWork)
}

// said is what a command did.
type said struct {
	args           []string
	exit           int
	stdout, stderr string
}

func (s said) code(t *testing.T, want int) said {
	t.Helper()
	if s.exit != want {
		t.Fatalf("%q: exit code %d, want %d\n%s%s", s.args, s.exit, want, s.stdout, s.stderr)
	}
	return s
}

func (s said) says(t *testing.T, parts ...string) said {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(s.stdout+s.stderr, part) {
			t.Errorf("%q does not say %q:\n%s%s", s.args, part, s.stdout, s.stderr)
		}
	}
	return s
}

func (d *desk) run(args ...string) said {
	var out, errs bytes.Buffer
	env := d.env()
	env.Stdout, env.Stderr = &out, &errs
	code := cli.Main(context.Background(), args, env)
	return said{args, code, out.String(), errs.String()}
}

// wheel makes a distribution of the one project of these tests.
func (d *desk) wheel(version string) string {
	f := distmake.Wheel("tiny-lib", version, distmake.Options{})
	return d.write(filepath.Join("dist", f.Name), f.Data)
}

// publish publishes versions as somebody.
func (d *desk) publish(who string, versions ...string) said {
	args := []string{"publish", "--key", d.path(who + ".key"), "--yes"}
	for _, v := range versions {
		args = append(args, d.wheel(v))
	}
	return d.run(args...)
}

// page is the index page of the project, past the liar.
func (d *desk) page() string {
	d.t.Helper()
	d.lies(nil)
	resp, err := http.Get(d.url + "/simple/tiny-lib/")
	if err != nil {
		d.t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		d.t.Fatal(err)
	}
	return string(data)
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

// stagedLie changes what the index says is staged.
func stagedLie(change func(*server.ProjectAnswer)) func(*http.Request, *http.Response, []byte) []byte {
	return func(r *http.Request, _ *http.Response, body []byte) []byte {
		var answer server.ProjectAnswer
		if !strings.HasPrefix(r.URL.Path, "/api/v1/projects/") || json.Unmarshal(body, &answer) != nil || len(answer.Staged) == 0 {
			return body
		}
		change(&answer)
		data, err := json.Marshal(answer)
		if err != nil {
			panic(err)
		}
		return data
	}
}

// newest is the staged file of the highest version, where all have as many digits.
func newest(p *server.ProjectAnswer) *server.StagedAnswer { return &p.Staged[len(p.Staged)-1] }

// TestPublishWithLyingIndex: what the index says it received is compared, never signed on its word.
func TestPublishWithLyingIndex(t *testing.T) {
	d := newDesk(t)
	d.publish("alice", "1.0").code(t, 0)
	zeros := strings.Repeat("0", 64)
	version := 10
	for _, tt := range []struct {
		name string
		lie  func(*http.Request, *http.Response, []byte) []byte
		says string
	}{
		{"another hash", stagedLie(func(p *server.ProjectAnswer) { newest(p).SHA256 = zeros }), "sha256 here "},
		{"another length", stagedLie(func(p *server.ProjectAnswer) { newest(p).Size++ }), "length here "},
		{"other dependencies", stagedLie(func(p *server.ProjectAnswer) { newest(p).MetadataSHA256 = zeros }), "sha256 of METADATA here "},
		{"no METADATA", stagedLie(func(p *server.ProjectAnswer) { newest(p).MetadataSHA256 = "" }), "there none"},
		{"another Python", stagedLie(func(p *server.ProjectAnswer) { newest(p).RequiresPython = ">=99" }), "requires-python here "},
		{"another version", stagedLie(func(p *server.ProjectAnswer) { newest(p).Version = "99" }), "version here "},
		{"nothing", stagedLie(func(p *server.ProjectAnswer) { p.Staged = nil }), "does not list it as staged"},
		{"another file", stagedLie(func(p *server.ProjectAnswer) { newest(p).Filename = "tiny_lib-99-py3-none-any.whl" }), "does not list it as staged"},
		{"from the future", stagedLie(func(p *server.ProjectAnswer) { newest(p).Uploaded = time.Now().AddDate(1, 0, 0) }), "which can not be"},
		{"published at once", func(r *http.Request, resp *http.Response, body []byte) []byte {
			if r.URL.Path == "/legacy/" {
				resp.StatusCode, resp.Status = 200, "200 OK"
			}
			return body
		}, "with 200 and not with 202"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			version++
			d.lies(tt.lie)
			d.publish("alice", fmt.Sprintf("%d.0", version)).code(t, 3).says(t, tt.says, "nothing was signed")
			if n := d.sent("POST /api/v1/requests"); n != 0 {
				t.Errorf("%d requests were sent", n)
			}
		})
	}
	// Files that somebody else staged are not mine to sign.
	d.lies(nil)
	d.publish("alice", "50.0").code(t, 0).says(t, "published. tiny-lib 50.0")
	if page := d.page(); strings.Contains(page, "tiny_lib-11.0") || !strings.Contains(page, "tiny_lib-50.0") {
		t.Errorf("the page lists what was only staged: %s", page)
	}
}

// TestLyingMetadata: a base that does not verify is no base.
func TestLyingMetadata(t *testing.T) {
	d := newDesk(t)
	d.publish("alice", "1.0").code(t, 0)
	d.publish("alice", "1.1").code(t, 0)
	d.lies(func(r *http.Request, _ *http.Response, body []byte) []byte {
		if strings.HasSuffix(r.URL.Path, ".project.tiny-lib.json") {
			return bytes.Replace(body, []byte("tiny_lib-1.1"), []byte("tiny_lib-6.6"), 1)
		}
		return body
	})
	d.publish("alice", "2.0").code(t, 3).says(t, "does not verify", "nothing was signed")
	d.lies(func(r *http.Request, resp *http.Response, body []byte) []byte {
		if strings.HasSuffix(r.URL.Path, ".project.tiny-lib.json") {
			resp.StatusCode, resp.Status = 404, "404 Not Found"
		}
		return body
	})
	d.publish("alice", "2.0").code(t, 3).says(t, "nothing was signed")
	if n := d.sent("POST"); n != 0 {
		t.Errorf("%d requests were sent", n)
	}
}

// TestSignWithLyingIndex: what is signed is what is shown, and that is what was asked for.
func TestSignWithLyingIndex(t *testing.T) {
	d := newDesk(t)
	d.publish("alice", "1.0").code(t, 0)
	d.run("team", "tiny-lib", "add", d.path("bob.key"), "--key", d.path("alice.key"), "--key", d.path("bob.key"), "--yes").code(t, 0)
	d.run("team", "tiny-lib", "threshold", "2", "--key", d.path("alice.key"), "--key", d.path("bob.key"), "--yes").code(t, 0)
	d.publish("alice", "2.0").code(t, 0).says(t, "waits as request")
	sign := func() said { return d.run("sign", "tiny-lib", "--key", d.path("bob.key"), "--yes") }
	replace := func(old, next string) func(*http.Request, *http.Response, []byte) []byte {
		return func(r *http.Request, _ *http.Response, body []byte) []byte {
			if strings.HasPrefix(r.URL.Path, "/api/v1/requests/") {
				return bytes.ReplaceAll(body, []byte(old), []byte(next))
			}
			return body
		}
	}
	for name, lie := range map[string]func(*http.Request, *http.Response, []byte) []byte{
		"another file":     replace("tiny_lib-2.0", "tiny_lib-6.6"),
		"another project":  replace(`"project":"tiny-lib"`, `"project":"other"`),
		"not a request":    func(_ *http.Request, _ *http.Response, body []byte) []byte { return append([]byte("x"), body...) },
		"a foreign object": replace(`"bailiwick-request":1`, `"bailiwick-request":2`),
	} {
		t.Run(name, func(t *testing.T) {
			d.lies(lie)
			if s := sign(); s.exit == 0 {
				t.Errorf("signed: %s%s", s.stdout, s.stderr)
			}
			if n := d.sent("POST"); n != 0 {
				t.Errorf("%d requests were sent", n)
			}
		})
	}
	// Nothing staged: the request lists a file that nobody uploaded.
	d.lies(stagedLie(func(p *server.ProjectAnswer) { p.Staged = nil }))
	sign().code(t, 0).says(t, "is not staged")
	if n := d.sent("POST"); n != 0 {
		t.Errorf("%d requests were sent", n)
	}
	// What the index says of a file may hold anything; a terminal shows it harmlessly.
	d.lies(stagedLie(func(p *server.ProjectAnswer) { p.Staged[0].Uploader = "\x1b[2Jalice\u202e" }))
	if s := d.run("sign", "tiny-lib"); strings.ContainsAny(s.stdout, "\x1b\u202e") || !strings.Contains(s.stdout, "?[2Jalice?") {
		t.Errorf("shown: %q", s.stdout)
	}
	d.lies(nil)
	sign().code(t, 0).says(t, "tiny-lib 2.0 is installable")
}

// TestAlwaysStale: an index that turns down everything as overtaken, and shows nothing newer, is not believed.
func TestAlwaysStale(t *testing.T) {
	d := newDesk(t)
	d.publish("alice", "1.0").code(t, 0)
	d.lies(nil)
	stale := func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPost || r.URL.Path != "/api/v1/requests" {
			return false
		}
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusConflict)
		_, _ = io.WriteString(w, `{"title":"over\u001b[31mtaken"}`)
		return true
	}
	d.mu.Lock()
	d.instead = stale
	d.mu.Unlock()
	d.publish("alice", "2.0").code(t, 3).says(t, "shows no newer version that verifies", `over?[31mtaken`)
	if n := d.sent("POST /api/v1/requests"); n != 1 {
		t.Errorf("%d requests were sent", n)
	}
	d.mu.Lock()
	d.instead = nil
	d.mu.Unlock()

	// An index that took the request, and says that it did not, is found out: the files are there.
	d.lies(func(r *http.Request, resp *http.Response, body []byte) []byte {
		if r.Method == http.MethodPost && r.URL.Path == "/api/v1/requests" {
			resp.StatusCode, resp.Status = 409, "409 Conflict"
		}
		return body
	})
	d.publish("alice", "2.0").code(t, 0).says(t, "the same files are published meanwhile, with the same content")
}

// TestTokenStays: a token goes to its index and nowhere that an answer points to.
func TestTokenStays(t *testing.T) {
	d := newDesk(t)
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("%s %s came with %q", r.Method, r.URL, r.Header.Get("Authorization"))
	}))
	defer elsewhere.Close()
	d.lies(func(r *http.Request, resp *http.Response, body []byte) []byte {
		if strings.HasPrefix(r.URL.Path, "/api/") {
			resp.StatusCode, resp.Status = 307, "307 Temporary Redirect"
			resp.Header.Set("Location", elsewhere.URL+r.URL.Path)
		}
		return body
	})
	d.publish("alice", "1.0").code(t, 1).says(t, "307 Temporary Redirect")
}

// TestTwoPublishAtOnce: the second is made again on top of the first and signed again; nothing is lost.
func TestTwoPublishAtOnce(t *testing.T) {
	d := newDesk(t)
	d.publish("alice", "1.0").code(t, 0)
	d.run("team", "tiny-lib", "add", d.path("bob.key"), "--key", d.path("alice.key"), "--key", d.path("bob.key"), "--yes").code(t, 0)
	var done atomic.Bool
	d.mu.Lock()
	d.before = func(r *http.Request) {
		if r.Method == http.MethodPost && r.URL.Path == "/api/v1/requests" && done.CompareAndSwap(false, true) {
			if s := d.publish("bob", "2.1"); s.exit != 0 { // between Alice's signature and its arrival
				t.Errorf("%d %s%s", s.exit, s.stdout, s.stderr)
			}
		}
	}
	d.mu.Unlock()
	d.publish("alice", "2.0").code(t, 0).says(t, "was changed by somebody else meanwhile", "published. tiny-lib 2.0")
	page := d.page()
	for _, v := range []string{"1.0", "2.0", "2.1"} {
		if !strings.Contains(page, "tiny_lib-"+v+"-") {
			t.Errorf("%s is lost: %s", v, page)
		}
	}

	// And without a director: five of each, all at once.
	d.mu.Lock()
	d.before = nil
	d.mu.Unlock()
	var all sync.WaitGroup
	for i := range 5 {
		for _, who := range []string{"alice", "bob"} {
			v := fmt.Sprintf("3.%d.%d", i, len(who))
			d.wheel(v)
			all.Go(func() {
				if s := d.publish(who, v); s.exit != 0 {
					t.Errorf("%s: %d %s%s", v, s.exit, s.stdout, s.stderr)
				}
			})
		}
	}
	all.Wait()
	page = d.page()
	for i := range 5 {
		for _, n := range []int{3, 5} {
			if v := fmt.Sprintf("tiny_lib-3.%d.%d-", i, n); !strings.Contains(page, v) {
				t.Errorf("%s is lost", v)
			}
		}
	}
}

// TestKeyRemovedMeanwhile: who is no maintainer any more when the signature arrives does not get in by rebasing.
func TestKeyRemovedMeanwhile(t *testing.T) {
	d := newDesk(t)
	d.publish("alice", "1.0").code(t, 0)
	d.run("team", "tiny-lib", "add", d.path("bob.key"), "--key", d.path("alice.key"), "--key", d.path("bob.key"), "--yes").code(t, 0)
	var done atomic.Bool
	d.mu.Lock()
	d.before = func(r *http.Request) {
		if r.Method == http.MethodPost && r.URL.Path == "/api/v1/requests" && done.CompareAndSwap(false, true) {
			if s := d.run("team", "tiny-lib", "remove", d.path("bob.key"), "--key", d.path("alice.key"), "--yes"); s.exit != 0 {
				t.Errorf("%d %s%s", s.exit, s.stdout, s.stderr)
			}
		}
	}
	d.mu.Unlock()
	d.publish("bob", "2.0").code(t, 1).says(t, "has no say in")
	if strings.Contains(d.page(), "tiny_lib-2.0") {
		t.Error("published by a removed key")
	}
}
