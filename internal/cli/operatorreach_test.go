package cli_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"example.com/bailiwick/internal/cli"
	"example.com/bailiwick/internal/durable"
)

// TestInProcessTransport: a command that stands in for a server behaves as if there was one.
func TestInProcessTransport(t *testing.T) {
	broken := make(chan error, 1)
	mux := http.NewServeMux()
	mux.HandleFunc("POST /echo", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-From", r.RemoteAddr)
		w.WriteHeader(http.StatusAccepted)
		_, _ = io.Copy(w, r.Body)
	})
	mux.HandleFunc("/nothing", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("/early", func(http.ResponseWriter, *http.Request) { panic("early") })
	mux.HandleFunc("/late", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "half")
		panic(http.ErrAbortHandler)
	})
	mux.HandleFunc("/endless", func(w http.ResponseWriter, _ *http.Request) {
		for {
			if _, err := w.Write(make([]byte, 1<<16)); err != nil {
				broken <- err
				return
			}
		}
	})
	mux.HandleFunc("/stuck", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	client := &http.Client{Transport: cli.InProcess(mux)}
	do := func(ctx context.Context, method, path string, body io.Reader) (*http.Response, error) {
		r, err := http.NewRequestWithContext(ctx, method, "http://bailiwick"+path, body)
		if err != nil {
			t.Fatal(err)
		}
		return client.Do(r)
	}
	read := func(method, path string, body io.Reader) (int, string, error) {
		t.Helper()
		resp, err := do(t.Context(), method, path, body)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		data, err := io.ReadAll(resp.Body)
		return resp.StatusCode, string(data), err
	}
	for _, c := range []struct {
		method, path, body string
		status             int
		want               string
		broken             bool
	}{
		{"POST", "/echo", "hello", 202, "hello", false},
		{"GET", "/nothing", "", 200, "", false},
		{"GET", "/nowhere", "", 404, "404 page not found\n", false},
		{"GET", "/early", "", 500, "", true},
		{"GET", "/late", "", 200, "half", true},
	} {
		status, body, err := read(c.method, c.path, strings.NewReader(c.body))
		if status != c.status || body != c.want || (err != nil) != c.broken {
			t.Errorf("%s %s: %d %q %v", c.method, c.path, status, body, err)
		}
	}
	resp, err := do(t.Context(), "GET", "/endless", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if err := <-broken; err == nil {
		t.Error("the handler writes on to nobody")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := do(ctx, "GET", "/stuck", nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("stuck: %v", err)
	}
}

func TestControlSocket(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "control.sock")
	if err := os.WriteFile(filepath.Join(dir, ".ctl"), nil, 0o600); err != nil { // as a killed server may leave it
		t.Fatal(err)
	}
	first, err := cli.ListenControl(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(path)
	if err != nil || info.Mode() != fs.ModeSocket|0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	go func() {
		if conn, err := first.Accept(); err == nil {
			conn.Close()
		}
	}()
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()

	// What a killed server left is replaced: the folder's lock says that nobody is there.
	second, err := cli.ListenControl(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
	if err := first.Close(); err != nil {
		t.Errorf("closing one whose name is gone: %v", err)
	}

	// Nothing else is replaced.
	if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := cli.ListenControl(t.Context(), dir); err == nil || !strings.Contains(err.Error(), "is in its place and is none") {
		t.Errorf("a file in its place: %v", err)
	}
	long := filepath.Join(dir, strings.Repeat("d", 120))
	if err := os.Mkdir(long, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := cli.ListenControl(t.Context(), long); !errors.Is(err, cli.ErrLongSocket) {
		t.Errorf("a long path: %v", err)
	}
	t.Chdir(long)
	l, err := cli.ListenControl(t.Context(), long)
	if err != nil {
		t.Fatalf("a long path that is short from here: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

// TestFolderOfAnotherCommand: an operator's command waits for a folder, and says what it waited for.
func TestFolderOfAnotherCommand(t *testing.T) {
	dir := t.TempDir()
	run := func(ctx context.Context, args ...string) (string, int) {
		var out strings.Builder
		env := &cli.Env{
			Stdin: strings.NewReader(""), Stdout: &out, Stderr: &out, Now: time.Now,
			Getenv: func(name string) string { return map[string]string{"HOME": dir}[name] },
		}
		code := cli.Main(ctx, args, env.WithWorkFactor(cheapWork))
		return out.String(), code
	}
	data := filepath.Join(dir, "data")
	if out, code := run(t.Context(), "init", "--data", data, "--offline-keys", filepath.Join(dir, "keys"), "--bins", "16"); code != 0 {
		t.Fatal(out)
	}
	lock, err := durable.LockFolder(data)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if out, code := run(ctx, "status", "--data", data); code == 0 {
		t.Errorf("status of a folder that somebody holds: %s", out)
	}
	freed := time.AfterFunc(200*time.Millisecond, func() { _ = lock.Unlock() })
	defer freed.Stop()
	if out, code := run(t.Context(), "status", "--data", data); code != 0 {
		t.Errorf("status of a folder that somebody held: %d %s", code, out)
	}
}

func TestChoice(t *testing.T) {
	for _, c := range []struct {
		names []string
		need  int
		want  string
	}{
		{nil, 1, "a key that nobody holds"},
		{[]string{"alice"}, 1, "alice"},
		{[]string{"alice", "bob"}, 2, "alice and bob"},
		{[]string{"alice", "bob", "carol"}, 3, "alice, bob and carol"},
		{[]string{"alice", "bob", "carol"}, 1, "one of alice, bob, carol"},
		{[]string{"alice", "bob", "carol"}, 2, "2 of alice, bob, carol"},
	} {
		if got := cli.Choice(c.names, c.need); got != c.want {
			t.Errorf("%d of %q: %q, want %q", c.need, c.names, got, c.want)
		}
	}
}
