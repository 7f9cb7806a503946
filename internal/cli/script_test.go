package cli_test

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
	"mime/multipart"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"example.com/bailiwick/internal/cli"
	"example.com/bailiwick/internal/keys/prompt/prompttest"
	"example.com/bailiwick/internal/pypi/distmake"
	"example.com/bailiwick/internal/rehearsal"
	"example.com/bailiwick/internal/signtool"
)

// clockVariable shifts the clock of the program under test: "8000h".
const clockVariable = "TEST_CLOCK"

// cheapWork is the work factor of key files in tests, which make many.
const cheapWork = 4

func TestMain(m *testing.M) {
	if project := os.Getenv(fetchVariable); project != "" {
		os.Exit(fetch(project))
	}
	testscript.Main(m, map[string]func(){
		"bailiwick":      func() { os.Exit(program()) },
		"bailiwick-sign": func() { os.Exit(signProgram()) },
		"typist":         func() { os.Exit(prompttest.Typist()) },
	})
}

// program is cmd/bailiwick with a clock that can be set and a cheap hash for passphrases.
func program() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	env := cli.OSEnv().WithWorkFactor(cheapWork)
	shift, _ := time.ParseDuration(os.Getenv(clockVariable))
	env.Now = func() time.Time { return time.Now().Add(shift) }
	return cli.Main(ctx, os.Args[1:], env, rehearsal.Commands)
}

// signProgram is cmd/bailiwick-sign with a clock that can be set.
func signProgram() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	env := signtool.OSEnv()
	shift, _ := time.ParseDuration(os.Getenv(clockVariable))
	env.Now = func() time.Time { return time.Now().Add(shift) }
	return signtool.Main(ctx, os.Args[1:], env)
}

// TestScripts tells the stories of testdata/script: what a person types and sees.
func TestScripts(t *testing.T) {
	runStories(t, filepath.Join("testdata", "script", "*.txt"))
}

// background is the server of a story.
type background struct {
	cmd  *exec.Cmd
	log  *os.File
	said string // the first line on its standard output
	read sync.WaitGroup
}

// start returns once the server has said its first line, or has ended.
func (b *background) start(log string, tb testing.TB) error {
	out, err := b.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if b.log, err = os.Create(log); err != nil {
		return err
	}
	b.cmd.Stderr = b.log
	if err := b.cmd.Start(); err != nil {
		return errors.Join(err, b.log.Close())
	}
	first := make(chan string, 1)
	b.read.Go(func() {
		r := bufio.NewReader(out)
		line, _ := r.ReadString('\n')
		first <- line
		if rest, _ := io.ReadAll(r); len(rest) > 0 {
			tb.Errorf("more than the address on standard output: %q", rest)
		}
	})
	b.said = <-first
	return nil
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

// serve runs bailiwick serve on a free port until shutdown or crash, and sets $URL. The address has to
// be the first line on its standard output.
func (s *story) serve(ts *testscript.TestScript, args []string) error {
	b := &s.server
	if b.cmd != nil {
		return errors.New("the server of this story runs already")
	}
	b.cmd = exec.Command("bailiwick", append([]string{"serve", "--listen", "127.0.0.1:0"}, args...)...)
	b.cmd.Dir, b.cmd.Env = ts.MkAbs("."), environ(ts)
	if err := b.start(ts.MkAbs("server.log"), s.tb); err != nil {
		b.cmd = nil
		return err
	}
	url, ok := strings.CutPrefix(strings.TrimSuffix(b.said, "\n"), "listening on ")
	if !ok {
		return errors.Join(fmt.Errorf("serve printed %q", b.said), b.end(os.Kill))
	}
	ts.Setenv("URL", url)
	return nil
}

// environ asks a program for the variables of a story, which a command has no other way to know.
func environ(ts *testscript.TestScript) []string {
	ts.Check(ts.Exec("env"))
	env := strings.Split(ts.ReadFile("stdout"), "\n")
	_ = ts.Stdout() // the story has not seen any of this: its standard output is empty now
	return slices.DeleteFunc(env, func(line string) bool { return line == "" })
}

// shutdown ends the server by SIGTERM, and wants it to end well.
func (s *story) shutdown(*testscript.TestScript, []string) error {
	if s.server.cmd == nil {
		return errors.New("no server runs")
	}
	if err := s.server.end(syscall.SIGTERM); err != nil {
		return fmt.Errorf("the server ended with %w", err)
	}
	return nil
}

// crash leaves the server no time to do anything.
func (s *story) crash(*testscript.TestScript, []string) error {
	if s.server.cmd == nil {
		return errors.New("no server runs")
	}
	_ = s.server.end(os.Kill) // killed, as wanted
	return nil
}

// answer keeps what the server said as standard output, and fails unless it said 200.
func (s *story) answer(ts *testscript.TestScript, r *http.Request) error {
	stdout := ts.Stdout()
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	ts.Check(err)
	if resp.StatusCode != http.StatusOK {
		fmt.Fprintf(stdout, "%s\n%s", resp.Status, body)
		return fmt.Errorf("%s: %s", r.URL, resp.Status)
	}
	fmt.Fprintf(stdout, "%s", body)
	return nil
}

func (s *story) get(ts *testscript.TestScript, args []string) error {
	r, err := http.NewRequestWithContext(s.tb.Context(), http.MethodGet, ts.Getenv("URL")+args[0], nil)
	ts.Check(err)
	return s.answer(ts, r)
}

// upload sends a wheel with the token in a file.
func (s *story) upload(ts *testscript.TestScript, args []string) error {
	tokenFile, name, version := args[0], args[1], args[2]
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
		ts.Check(w.WriteField(field[0], field[1]))
	}
	part, err := w.CreateFormFile("content", f.Name)
	ts.Check(err)
	_, err = part.Write(f.Data)
	ts.Check(err)
	ts.Check(w.Close())
	r, err := http.NewRequestWithContext(s.tb.Context(), http.MethodPost, ts.Getenv("URL")+"/legacy/", &b)
	ts.Check(err)
	r.Header.Set("Content-Type", w.FormDataContentType())
	r.SetBasicAuth("__token__", strings.TrimSpace(ts.ReadFile(tokenFile)))
	return s.answer(ts, r)
}

// build makes a distribution in a folder.
func (s *story) build(ts *testscript.TestScript, args []string) error {
	kind, dir, project, version := args[0], ts.MkAbs(args[1]), args[2], args[3]
	f := distmake.Wheel(project, version, distmake.Options{})
	if kind == "sdist" {
		f = distmake.Sdist(project, version, distmake.Options{})
	}
	ts.Check(os.MkdirAll(dir, 0o700))
	return os.WriteFile(filepath.Join(dir, f.Name), f.Data, 0o600)
}

// field takes a member of a JSON object into a variable, and into a file of the variable's name.
func (s *story) field(ts *testscript.TestScript, args []string) error {
	file, member, variable := args[0], args[1], args[2]
	var object map[string]any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(file)), &object))
	value, ok := object[member]
	if !ok {
		return fmt.Errorf("%s has no member %q", file, member)
	}
	ts.Setenv(variable, fmt.Sprint(value))
	return os.WriteFile(ts.MkAbs(variable), []byte(fmt.Sprintln(value)), 0o600)
}
