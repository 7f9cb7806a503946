package main_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	command "example.com/bailiwick/cmd/tuf-conformance"
	"example.com/bailiwick/internal/testrepo"
)

// The tests in this folder are a Go port of the public TUF conformance suite: each is
// named after the suite's test, and drives the command over its command line
// against a repository on a local port. TestEverySuiteTestIsPorted has the list.

// binary is the command under test: this very program, which is linked with it, so that a
// result from the cache is never one of another command. dates is a folder with a "date"
// program whose clock the tests set.
var binary, dates string

// asCommand in the environment makes the test program the command.
const asCommand = "TUF_CONFORMANCE_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		command.Main()
		os.Exit(0)
	}
	os.Exit(prepare(m))
}

func prepare(m *testing.M) int {
	var err error
	if binary, err = os.Executable(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if dates, err = os.MkdirTemp("", "tuf-conformance-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dates)
	script := "#!/bin/sh\n[ \"$*\" = '-u +%s' ] || exit 1\necho \"$CONFORMANCE_NOW\"\n"
	if err := os.WriteFile(filepath.Join(dates, "date"), []byte(script), 0o700); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// client is the suite's client runner: the command with its folders, and a server of
// the repository.
type client struct {
	t                 *testing.T
	repo              *testrepo.Repo
	url               string
	slash             string // appended to URLs
	metadata, targets string

	mu    sync.Mutex
	paths []string // as requested, still encoded
}

func newClient(t *testing.T, r *testrepo.Repo) *client {
	t.Helper()
	t.Parallel()
	dir := t.TempDir()
	c := &client{t: t, repo: r, metadata: filepath.Join(dir, "metadata"), targets: filepath.Join(dir, "targets")}
	for _, d := range []string{c.metadata, c.targets} {
		if err := os.Mkdir(d, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	serve := r.Handler()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		c.mu.Lock()
		c.paths = append(c.paths, req.RequestURI)
		c.mu.Unlock()
		serve.ServeHTTP(w, req)
	}))
	t.Cleanup(server.Close)
	c.url = server.URL
	r.ResetRequests()
	return c
}

// run returns the exit status of the command.
func (c *client) run(args ...string) int {
	c.t.Helper()
	cmd := exec.CommandContext(c.t.Context(), binary, args...)
	// Under the race detector a program otherwise waits for a second before it ends.
	cmd.Env = append(os.Environ(), asCommand+"=1", "GORACE="+strings.TrimSpace(os.Getenv("GORACE")+" atexit_sleep_ms=0"),
		"PATH="+dates+":"+os.Getenv("PATH"), "CONFORMANCE_NOW="+strconv.FormatInt(c.repo.Now().Unix(), 10))
	out, err := cmd.CombinedOutput()
	if err == nil {
		return 0
	}
	if cmd.ProcessState == nil || !cmd.ProcessState.Exited() {
		c.t.Fatalf("%v: %v\n%s", args, err, out)
	}
	c.t.Logf("%s", out)
	return cmd.ProcessState.ExitCode()
}

// init gives the command its trusted root.
func (c *client) init(root []byte) {
	c.t.Helper()
	file := filepath.Join(c.t.TempDir(), "initial_root.json")
	if err := os.WriteFile(file, root, 0o600); err != nil {
		c.t.Fatal(err)
	}
	if got := c.run("--metadata-dir", c.metadata, "init", file); got != 0 {
		c.t.Fatalf("init exits with %d", got)
	}
	if got := c.repo.Requests(); len(got) > 0 {
		c.t.Fatalf("init asked for %v", got)
	}
}

// refresh must exit as wanted.
func (c *client) refresh(want int) {
	c.t.Helper()
	if got := c.run("--metadata-url", c.url+"/metadata"+c.slash, "--metadata-dir", c.metadata, "refresh"); got != want {
		c.t.Fatalf("refresh exits with %d, want %d", got, want)
	}
}

// download must exit as wanted.
func (c *client) download(want int, names ...string) {
	c.t.Helper()
	args := []string{"--metadata-url", c.url + "/metadata" + c.slash, "--metadata-dir", c.metadata}
	for _, name := range names {
		args = append(args, "--target-name", name)
	}
	args = append(args, "--target-dir", c.targets, "--target-base-url", c.url+"/targets"+c.slash, "download")
	if got := c.run(args...); got != want {
		c.t.Fatalf("download of %q exits with %d, want %d", names, got, want)
	}
}

// trusted asserts which roles are trusted at which versions: "root 1, timestamp 1". As
// the suite does, it reads every *.json that lies directly in the folder.
func (c *client) trusted(want string) {
	c.t.Helper()
	var got []string
	entries, err := os.ReadDir(c.metadata)
	if err != nil {
		c.t.Fatal(err)
	}
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), ".json")
		if !ok {
			continue
		}
		var file struct{ Signed struct{ Version int } }
		if err := json.Unmarshal(c.stored(name), &file); err != nil {
			c.t.Fatalf("%s: %v", e.Name(), err)
		}
		got = append(got, fmt.Sprintf("%s %d", name, file.Signed.Version))
	}
	if all := strings.Join(got, ", "); all != want {
		c.t.Fatalf("trusted is %q, want %q", all, want)
	}
}

// stored returns the trusted bytes of a role.
func (c *client) stored(role string) []byte {
	c.t.Helper()
	data, err := os.ReadFile(filepath.Join(c.metadata, role+".json"))
	if err != nil {
		c.t.Fatal(err)
	}
	return data
}

// same asserts that roles are stored as they were published last.
func (c *client) same(roles ...string) {
	c.t.Helper()
	for _, role := range roles {
		if !bytes.Equal(c.stored(role), c.repo.Bytes(role)) {
			c.t.Errorf("the stored %s is not the served one", role)
		}
	}
}

// requested asserts what was asked for since the last call.
func (c *client) requested(want ...string) {
	c.t.Helper()
	if got := c.repo.Requests(); !slices.Equal(got, want) {
		c.t.Fatalf("requests %q, want %q", got, want)
	}
	c.repo.ResetRequests()
}

// artifacts asserts the contents of all downloaded files, in order of modification.
func (c *client) artifacts(want ...string) {
	c.t.Helper()
	type file struct {
		content string
		at      time.Time
	}
	var files []file
	err := filepath.Walk(c.targets, func(path string, info os.FileInfo, err error) error {
		if err != nil || info.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		files = append(files, file{string(data), info.ModTime()})
		return err
	})
	if err != nil {
		c.t.Fatal(err)
	}
	slices.SortStableFunc(files, func(a, b file) int { return a.at.Compare(b.at) })
	var got []string
	for _, f := range files {
		got = append(got, f.content)
	}
	if !slices.Equal(got, want) {
		c.t.Fatalf("downloaded are %q, want %q", got, want)
	}
}

// edited changes published metadata as plain JSON, signatures and all, and serves that.
func edited(t *testing.T, r *testrepo.Repo, role string, change func(envelope map[string]any)) []byte {
	t.Helper()
	var envelope map[string]any
	// PEM keys have line breaks, which canonical form writes as they are and JSON does not.
	d := json.NewDecoder(bytes.NewReader(bytes.ReplaceAll(r.Bytes(role), []byte("\n"), []byte(`\n`))))
	d.UseNumber()
	if err := d.Decode(&envelope); err != nil {
		t.Fatal(err)
	}
	change(envelope)
	data := bytes.ReplaceAll(testrepo.Canonical(envelope), []byte("\n"), []byte(`\n`))
	r.Serve(r.FileName(role), data)
	return data
}

const day = 24 * time.Hour

// list returns the names in the metadata folder that end in suffix.
func (c *client) list(suffix string) []string {
	c.t.Helper()
	entries, err := os.ReadDir(c.metadata)
	if err != nil {
		c.t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), suffix) {
			out = append(out, e.Name())
		}
	}
	return out
}
