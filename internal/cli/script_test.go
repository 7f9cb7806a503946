package cli_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"example.com/bailiwick/internal/cli"
	"example.com/bailiwick/internal/pypi/distmake"
)

const (
	// programVariable makes the test binary behave as the program under test.
	programVariable = "TEST_BAILIWICK"
	// clockVariable shifts the clock of the program under test: "8000h".
	clockVariable = "TEST_CLOCK"
)

// programFolder holds the test binary under the name of the program; set by TestMain alone.
var programFolder string

func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "bailiwick" && os.Getenv(programVariable) != "" {
		os.Exit(program())
	}
	os.Exit(withProgram(m))
}

func withProgram(m *testing.M) int {
	dir, err := os.MkdirTemp("", "bailiwick-cli")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	self, err := os.Executable()
	if err == nil {
		err = os.Symlink(self, filepath.Join(dir, "bailiwick"))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	programFolder = dir
	return m.Run()
}

// program is cmd/bailiwick with a clock that can be set and a cheap hash for passphrases.
func program() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	env := cli.OSEnv()
	env.CheapPassphrases()
	shift, _ := time.ParseDuration(os.Getenv(clockVariable))
	env.Now = func() time.Time { return time.Now().Add(shift) }
	return cli.Main(ctx, os.Args[1:], env)
}

// TestScripts tells the stories of testdata/script: what a person types and sees.
func TestScripts(t *testing.T) {
	paths, err := filepath.Glob(filepath.Join("testdata", "script", "*.txt"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("found no stories: %v", err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			t.Parallel()
			runStory(t, path)
		})
	}
}

// background is the server of a story.
type background struct {
	cmd  *exec.Cmd
	log  *os.File
	read sync.WaitGroup
}

func (b *background) end(s os.Signal) error {
	if b.cmd == nil {
		return nil
	}
	_ = b.cmd.Process.Signal(s)
	b.read.Wait()
	err := b.cmd.Wait()
	b.log.Close()
	b.cmd = nil
	return err
}

// serve runs bailiwick serve on a free port until stop or kill, and sets $URL. The address has to be
// the first line on its standard output.
func (s *story) serve(args []string) error {
	path, err := s.lookPath("bailiwick")
	s.check(err)
	b := s.server
	b.cmd = exec.Command(path, append([]string{"serve", "--listen", "127.0.0.1:0"}, args...)...)
	b.cmd.Args[0] = "bailiwick"
	b.cmd.Dir, b.cmd.Env = s.dir, s.environ()
	out, err := b.cmd.StdoutPipe()
	s.check(err)
	b.log, err = os.Create(s.path("server.log"))
	s.check(err)
	b.cmd.Stderr = b.log
	s.check(b.cmd.Start())
	first := make(chan string, 1)
	b.read.Go(func() {
		r := bufio.NewReader(out)
		line, _ := r.ReadString('\n')
		first <- line
		if rest, _ := io.ReadAll(r); len(rest) > 0 {
			s.t.Errorf("more than the address on standard output: %q", rest)
		}
	})
	line := <-first
	url, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "listening on ")
	if !ok {
		err := b.end(os.Kill)
		return fmt.Errorf("serve printed %q and ended with %w: %s", line, err, s.read("server.log"))
	}
	s.env["URL"] = url
	return nil
}

// stop ends the server by SIGTERM, and wants it to end well.
func (s *story) stop() error {
	if err := s.server.end(syscall.SIGTERM); err != nil {
		return fmt.Errorf("the server ended with %w: %s", err, s.read("server.log"))
	}
	return nil
}

// answer keeps what the server said as standard output, and fails unless it said 200.
func (s *story) answer(r *http.Request) error {
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	s.check(err)
	s.stdout, s.stderr = string(body), ""
	if resp.StatusCode != http.StatusOK {
		s.stdout = resp.Status + "\n" + s.stdout
		return fmt.Errorf("%s: %s", r.URL, resp.Status)
	}
	return nil
}

func (s *story) get(path string) error {
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.env["URL"]+path, nil)
	s.check(err)
	return s.answer(r)
}

// upload sends a wheel with the token in a file.
func (s *story) upload(tokenFile, name, version string) error {
	f := distmake.Wheel(name, version, distmake.Options{})
	sum := sha256.Sum256(f.Data)
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for _, field := range [][2]string{
		{":action", "file_upload"},
		{"protocol_version", "1"},
		{"metadata_version", "2.1"},
		{"name", name},
		{"version", version},
		{"filetype", "bdist_wheel"},
		{"pyversion", "py3"},
		{"sha256_digest", hex.EncodeToString(sum[:])},
	} {
		s.check(w.WriteField(field[0], field[1]))
	}
	part, err := w.CreateFormFile("content", f.Name)
	s.check(err)
	_, err = part.Write(f.Data)
	s.check(err)
	s.check(w.Close())
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, s.env["URL"]+"/legacy/", &b)
	s.check(err)
	r.Header.Set("Content-Type", w.FormDataContentType())
	r.SetBasicAuth("__token__", strings.TrimSpace(s.read(tokenFile)))
	return s.answer(r)
}

// build makes a distribution in a folder.
func (s *story) build(kind, dir, project, version string) error {
	f := distmake.Wheel(project, version, distmake.Options{})
	if kind == "sdist" {
		f = distmake.Sdist(project, version, distmake.Options{})
	}
	s.check(os.MkdirAll(s.path(dir), 0o700))
	return os.WriteFile(filepath.Join(s.path(dir), f.Name), f.Data, 0o600)
}

// field takes a member of a JSON object into a variable, and into a file of the variable's name.
func (s *story) field(file, member, variable string) error {
	var object map[string]any
	s.check(json.Unmarshal([]byte(s.read(file)), &object))
	value, ok := object[member]
	if !ok {
		return fmt.Errorf("%s has no member %q", file, member)
	}
	s.env[variable] = fmt.Sprint(value)
	return os.WriteFile(s.path(variable), []byte(fmt.Sprintln(value)), 0o600)
}
