package e2e_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"example.com/bailiwick/internal/needs"
)

// bailiwick is the binary under test, built once from the working tree.
var bailiwick string

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "bailiwick-e2e")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	bailiwick = filepath.Join(dir, "bailiwick")
	build := exec.Command("go", "build", "-o", bailiwick, "example.com/bailiwick/cmd/bailiwick")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building the binary under test: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// tool returns the path of something below .cache/tools, or skips the test
// (fails it in CI) with the command that provides it.
func tool(t testing.TB, rel string) string {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(root, ".cache", "tools", rel)
	if _, err := os.Stat(path); err != nil {
		needs.Without(t, "there is no "+path+"; run .ci/tools, which takes a network")
	}
	return path
}

// cleanEnv is the machine's environment without what would steer an installer
// past the index under test, and with the user's folders inside home.
func cleanEnv(home string, extra ...string) []string {
	env := slices.DeleteFunc(os.Environ(), func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		upper := strings.ToUpper(name)
		return strings.HasPrefix(upper, "PIP_") || strings.HasPrefix(upper, "UV_") || strings.HasPrefix(upper, "TWINE_") ||
			strings.HasPrefix(upper, "BAILIWICK_") || strings.HasPrefix(upper, "XDG_") || strings.HasPrefix(upper, "PYTHON") ||
			slices.Contains([]string{"HOME", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "VIRTUAL_ENV", "CI"}, upper)
	})
	env = append(env, "HOME="+home, "PIP_DISABLE_PIP_VERSION_CHECK=1", "PIP_CONFIG_FILE="+os.DevNull)
	return append(env, extra...)
}

// result is what a finished program left behind.
type result struct {
	code           int
	stdout, stderr string
}

func (r result) all() string { return r.stdout + r.stderr }

// command runs a program to its end; only a program that cannot be started fails the test.
func command(t testing.TB, dir string, env []string, name string, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env = dir, env
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	r := result{stdout: stdout.String(), stderr: stderr.String()}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		r.code = exit.ExitCode()
	} else if err != nil {
		t.Fatalf("%s %s: %v", name, strings.Join(args, " "), err)
	}
	return r
}

func (r result) wantCode(t testing.TB, code int) result {
	t.Helper()
	if r.code != code {
		t.Fatalf("exit code %d, want %d\nstdout:\n%s\nstderr:\n%s", r.code, code, r.stdout, r.stderr)
	}
	return r
}

func (r result) wantText(t testing.TB, texts ...string) result {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(r.all(), text) {
			t.Fatalf("output lacks %q\nstdout:\n%s\nstderr:\n%s", text, r.stdout, r.stderr)
		}
	}
	return r
}

// site is one repository on disk and the user who installs from it.
type site struct {
	dir, data, offline, home string
	root, token, signerKeys  string
	url                      string
	server                   *exec.Cmd
	log                      *syncBuffer
	exited                   chan struct{}
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// newSite creates a repository with `bailiwick init`, and what more it is to be told; no server runs yet.
func newSite(t testing.TB, more ...string) *site {
	t.Helper()
	dir := t.TempDir()
	s := &site{dir: dir, data: filepath.Join(dir, "data"), offline: filepath.Join(dir, "offline"), home: filepath.Join(dir, "home")}
	pass := filepath.Join(dir, "passphrase")
	for _, err := range []error{
		os.Mkdir(s.home, 0o700),
		os.WriteFile(pass, []byte("correct horse battery staple\n"), 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	args := append([]string{"init", "--data", s.data, "--offline-keys", s.offline, "--passphrase-file", pass, "--json"}, more...)
	r := command(t, dir, s.env(), bailiwick, args...).wantCode(t, 0)
	var made struct {
		Root  string `json:"root_sha256"`
		Token string `json:"upload_token"`
	}
	if err := json.Unmarshal([]byte(r.stdout), &made); err != nil {
		t.Fatalf("init --json printed %q: %v", r.stdout, err)
	}
	s.root, s.token = made.Root, made.Token
	return s
}

func (s *site) env(extra ...string) []string { return cleanEnv(s.home, extra...) }

// start runs the server until stop, kill, or the end of the test.
func (s *site) start(t testing.TB) *site {
	t.Helper()
	s.startOn(t, "127.0.0.1:0")
	return s
}

func (s *site) startOn(t testing.TB, listen string) {
	t.Helper()
	cmd := exec.Command(bailiwick, "serve", "--data", s.data, "--listen", listen)
	cmd.Env = s.env()
	cmd.Dir = s.dir
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	s.log = &syncBuffer{}
	cmd.Stderr = s.log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.server, s.exited = cmd, make(chan struct{})
	ready := make(chan string, 1)
	go func(exited chan struct{}) {
		defer close(exited)
		lines := bufio.NewScanner(stdout)
		for lines.Scan() {
			if url, ok := strings.CutPrefix(lines.Text(), "listening on "); ok {
				ready <- url
			}
		}
		_ = cmd.Wait()
	}(s.exited)
	select {
	case s.url = <-ready:
	case <-s.exited:
		t.Fatalf("the server stopped before it was ready:\n%s", s.log)
	case <-time.After(time.Minute):
		t.Fatalf("the server was not ready after a minute:\n%s", s.log)
	}
	t.Cleanup(func() { s.kill() })
}

// kill ends the server the hard way.
func (s *site) kill() {
	if s.server != nil {
		_ = s.server.Process.Kill()
		<-s.exited
		s.server = nil
	}
}

// stop ends the server as a supervisor would, and wants it to end well.
func (s *site) stop(t testing.TB) {
	t.Helper()
	if err := s.server.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-s.exited:
	case <-time.After(30 * time.Second):
		t.Fatalf("SIGTERM did not end the server:\n%s", s.log)
	}
	if code := s.server.ProcessState.ExitCode(); code != 0 {
		t.Fatalf("after SIGTERM the server ended with %d:\n%s", code, s.log)
	}
	s.server = nil
}

// trust pins the site's root for its user.
func (s *site) trust(t testing.TB) *site {
	t.Helper()
	command(t, s.dir, s.env(), bailiwick, "trust", "add", s.url, "--root", "sha256:"+s.root).wantCode(t, 0)
	return s
}

// user runs the bailiwick command as the installing user.
func (s *site) user(t testing.TB, args ...string) result {
	t.Helper()
	return command(t, s.dir, s.env(), bailiwick, args...)
}

// twine uploads files the way maintainers do.
func (s *site) twine(t testing.TB, files ...string) result {
	t.Helper()
	args := append([]string{"upload", "--non-interactive", "--disable-progress-bar", "--verbose", "--repository-url", s.url + "/legacy/", "-u", "__token__", "-p", s.token}, files...)
	return command(t, s.dir, s.env(), tool(t, "clients/bin/twine"), args...)
}

// newVenv makes an empty virtual environment from the tool environment's interpreter and the pip of that environment.
func newVenv(t testing.TB, base string) string {
	t.Helper()
	python := tool(t, base+"/bin/python")
	dir := filepath.Join(t.TempDir(), "venv")
	command(t, t.TempDir(), cleanEnv(t.TempDir()), python, "-m", "venv", "--without-pip", dir).wantCode(t, 0)
	return dir
}

func get(t testing.TB, url string, header ...string) (int, http.Header, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, body
}

func writeFile(t testing.TB, dir, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
