package gotuf_test

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
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata/config"
	"github.com/theupdateframework/go-tuf/v2/metadata/updater"

	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/client"
	"example.com/bailiwick/tuf/trust"
)

// A place is a repository as clients are told of it.
type place struct {
	url  string // metadata below /metadata/, targets below /targets/
	root []byte // the trusted root
}

// verdict is what a client says about one target path: accepted, with the SHA-256 of
// what the application got; not found; or refused, with a reason.
type verdict struct{ what, detail string }

const (
	accepted = "accepted"
	notFound = "not found"
	refused  = "refused"
	crashed  = "crashed"
)

func got(content string) verdict {
	sum := sha256.Sum256([]byte(content))
	return verdict{accepted, hex.EncodeToString(sum[:])}
}

// A look is one session of a client: it refreshes, finds the path and downloads it. The
// folder holds what the client keeps between sessions.
type look func(t *testing.T, folder string, p place, path string) verdict

// ours is the client of this module.
func ours(t *testing.T, folder string, p place, path string) verdict {
	t.Helper()
	return oursSession(t, folder, p, path)
}

// oursSession is ours after it has looked up other paths.
func oursSession(t *testing.T, folder string, p place, path string, before ...string) verdict {
	t.Helper()
	verdict, err := oursOrError(t.Context(), folder, p, path, before...)
	switch {
	case errors.Is(err, trust.ErrNotFound):
		return verdictOf(notFound, err)
	case err != nil:
		return verdictOf(refused, err)
	}
	return verdict
}

func verdictOf(what string, err error) verdict { return verdict{what, err.Error()} }

func oursOrError(ctx context.Context, folder string, p place, path string, before ...string) (verdict, error) {
	fetcher, err := client.NewHTTPFetcher(client.HTTPConfig{Metadata: p.url + "/metadata", Targets: p.url + "/targets"})
	if err != nil {
		return verdict{}, err
	}
	defer fetcher.Close()
	store, err := client.OpenFolder(client.FolderConfig{Path: filepath.Join(folder, "metadata")})
	if err != nil {
		return verdict{}, err
	}
	defer store.Close()
	c, err := client.New(client.Config{Fetcher: fetcher, Store: store, Root: p.root, Now: time.Now})
	if err != nil {
		return verdict{}, err
	}
	view, err := c.Refresh(ctx)
	if err != nil {
		return verdict{}, err
	}
	target, err := tuf.ParseTargetPath(path)
	if err != nil {
		return verdict{}, err
	}
	for _, other := range before {
		_, _ = view.Find(ctx, tuf.TargetPath(other))
	}
	found, err := view.Find(ctx, target)
	if err != nil {
		return verdict{}, err
	}
	var b strings.Builder
	if err := c.Download(ctx, found, &b); err != nil {
		return verdict{}, err
	}
	return got(b.String()), nil
}

// goTUF is go-tuf, unmodified.
func goTUF(t *testing.T, folder string, p place, path string) (v verdict) {
	t.Helper()
	return goTUFSession(t, folder, p, path)
}

// goTUFSession is goTUF after it has looked up other paths.
func goTUFSession(t *testing.T, folder string, p place, path string, before ...string) (v verdict) {
	t.Helper()
	defer func() {
		if r := recover(); r != nil {
			v = verdict{crashed, fmt.Sprint(r)}
		}
	}()
	cfg, err := config.New(p.url+"/metadata", p.root)
	if err != nil {
		return verdictOf(refused, err)
	}
	cfg.LocalMetadataDir, cfg.LocalTargetsDir, cfg.RemoteTargetsURL = filepath.Join(folder, "metadata"), filepath.Join(folder, "targets"), p.url+"/targets"
	for _, dir := range []string{cfg.LocalMetadataDir, cfg.LocalTargetsDir} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	up, err := updater.New(cfg)
	if err != nil {
		return verdictOf(refused, err)
	}
	if err := up.Refresh(); err != nil {
		return verdictOf(refused, err)
	}
	for _, other := range before {
		_, _ = up.GetTargetInfo(other)
	}
	info, err := up.GetTargetInfo(path)
	if err != nil {
		if strings.Contains(err.Error(), "not found") {
			return verdictOf(notFound, err)
		}
		return verdictOf(refused, err)
	}
	_, data, err := up.DownloadTarget(info, filepath.Join(cfg.LocalTargetsDir, "file"), "")
	if err != nil {
		return verdictOf(refused, err)
	}
	return got(string(data))
}

// python is a running python-tuf (../pythontuf/client.py).
type python struct {
	mu  sync.Mutex
	in  io.Writer
	out *bufio.Scanner
}

const tools = "../../.cache/tools/clients/bin/python"

// interpreter returns the interpreter that has python-tuf, and skips without one.
func interpreter(t *testing.T) string {
	t.Helper()
	path, err := filepath.Abs(tools)
	if err == nil {
		_, err = os.Stat(path)
	}
	switch {
	case err != nil && os.Getenv("CI") != "":
		t.Fatalf("NOT TESTED, and CI has to test it: there is no python-tuf (%v); run .ci/tools, which takes a network", err)
	case err != nil:
		t.Skipf("SKIPPED: there is no python-tuf (%v); run .ci/tools, which takes a network", err)
	}
	return path
}

func startPython(t *testing.T) *python {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), interpreter(t), "../pythontuf/client.py")
	cmd.Env = append(os.Environ(), "no_proxy=*", "PYTHONWARNINGS=ignore")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	return &python{in: in, out: lines}
}

func (p *python) look(t *testing.T, folder string, at place, path string) verdict {
	t.Helper()
	return p.session(t, folder, at, path)
}

// session is look after it has looked up other paths.
func (p *python) session(t *testing.T, folder string, at place, path string, before ...string) verdict {
	t.Helper()
	root := filepath.Join(folder, "trusted_root.json")
	if err := os.WriteFile(root, at.root, 0o600); err != nil {
		t.Fatal(err)
	}
	line, err := json.Marshal(map[string]any{
		"folder": folder, "metadata": at.url + "/metadata/", "targets": at.url + "/targets/", "root": root, "path": path, "before": before,
	})
	if err != nil {
		t.Fatal(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, err := fmt.Fprintf(p.in, "%s\n", line); err != nil {
		t.Fatal(err)
	}
	if !p.out.Scan() {
		t.Fatalf("python-tuf ended: %v", p.out.Err())
	}
	for _, what := range []string{accepted, notFound, refused} {
		if detail, ok := strings.CutPrefix(p.out.Text(), what); ok {
			return verdict{what, strings.TrimSpace(detail)}
		}
	}
	t.Fatalf("python-tuf says %q", p.out.Text())
	return verdict{}
}

// serveFolder serves a folder with metadata, under percent-encoded names, and targets.
func serveFolder(t *testing.T, folder string) place {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		name := req.URL.EscapedPath()
		if strings.HasPrefix(name, "/targets/") {
			name = req.URL.Path
		}
		data, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			http.NotFound(w, req)
			return
		}
		http.ServeContent(w, req, "", time.Time{}, bytes.NewReader(data))
	}))
	t.Cleanup(server.Close)
	root, err := os.ReadFile(filepath.Join(folder, "root.json"))
	if err != nil {
		t.Fatal(err)
	}
	return place{server.URL, root}
}
