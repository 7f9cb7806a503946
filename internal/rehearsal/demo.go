package rehearsal

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime/multipart"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"example.com/bailiwick/internal/cli"
	"example.com/bailiwick/internal/pypi/distmake"
)

// newDemo shows the whole idea on this machine in under a minute.
func newDemo(env *cli.Env) *cobra.Command {
	var keep bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "see it all happen: an index, a verified install, four attacks",
		Long: "Start an index in a temporary folder, upload a package, install it with this machine's own pip through\n" +
			"verification, then play the attacker on the server's storage and watch pip refuse. Everything stays on\n" +
			"loopback and in that folder, which is removed at the end. Exit code 0 only if every honest step succeeded\n" +
			"and every attack was refused for the right reason.",
		Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runDemo(cmd.Context(), env, keep) },
	}
	cmd.Flags().BoolVar(&keep, "keep", false, "keep the temporary folder, to look around in it")
	return cmd
}

// demoProject is what the demo uploads and installs.
const demoProject = "greeting"

// demo is one run: a maintainer, an operator, a user, and later a thief, each by the commands that they would type.
type demo struct {
	env    *cli.Env
	out    io.Writer
	dir    string
	python string
	url    string
	root   string
	token  string
	listen string
	latest string // the newest version that an honest maintainer has uploaded
	user   string // whose settings apply; empty: "user"
	terse  bool   // do not show what programs print

	stopServer func() error
	beside     func(ctx context.Context) (stop func() error) // what runs as long as the server does; nil: nothing

	mu    sync.Mutex
	ahead time.Duration // how far the user's clock is ahead of the server's
}

func runDemo(ctx context.Context, env *cli.Env, keep bool) (err error) {
	d := &demo{env: env, out: env.Stdout, listen: "127.0.0.1:0"}
	version, err := d.findPip(ctx)
	if err != nil {
		return err
	}
	if d.dir, err = os.MkdirTemp("", "bailiwick-demo-"); err != nil {
		return fmt.Errorf("making a temporary folder: %w", err)
	}
	back, err := enter(d.dir)
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, back())
		if d.stopServer != nil {
			err = errors.Join(err, d.stopServer())
		}
		if keep {
			d.say("kept %s", d.dir)
		} else {
			err = errors.Join(err, os.RemoveAll(d.dir))
		}
	}()
	d.say("Everything happens in %s and on loopback. The installer is this machine's own: %s", d.dir, version)
	if err := d.honest(ctx); err != nil {
		if ctx.Err() != nil { // what the step says of it is not the news
			return ctx.Err() //nolint:wrapcheck // cli.Main says "interrupted"
		}
		return fmt.Errorf("an honest step failed: %w", err)
	}
	d.title("From here on the server is in the hands of a thief, who can change everything that lies on it.")
	attacks := d.attacks()
	for i, a := range attacks {
		d.title(fmt.Sprintf("Attack %d of %d: %s", i+1, len(attacks), a.title))
		if err := d.attack(ctx, a); err != nil {
			if ctx.Err() != nil {
				return ctx.Err() //nolint:wrapcheck // likewise
			}
			return fmt.Errorf("attack %d (%s): %w", i+1, a.title, err)
		}
	}
	d.title(fmt.Sprintf("All honest steps succeeded, all %d attacks were refused, and after each one the user went on as before.", len(attacks)))
	return nil
}

// enter changes into a folder, so that no bailiwick.toml of the place where the demo was started applies.
func enter(dir string) (back func() error, err error) {
	before, err := os.Getwd()
	if err != nil {
		return nil, fmt.Errorf("finding the working folder: %w", err)
	}
	if err := os.Chdir(dir); err != nil {
		return nil, fmt.Errorf("entering the temporary folder: %w", err)
	}
	return func() error { return os.Chdir(before) }, nil
}

// findPip looks for a Python with pip.
func (d *demo) findPip(ctx context.Context) (version string, err error) {
	for _, name := range []string{"python3", "python"} {
		path, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		out, err := exec.CommandContext(ctx, path, "-m", "pip", "--version").Output() //nolint:gosec // the Python that is first on the user's PATH
		if err != nil {
			continue
		}
		d.python = path
		fields := strings.Fields(string(out))
		return strings.Join(fields[:min(2, len(fields))], " "), nil
	}
	return "", errors.New("the demo installs with pip, and no python3 on the PATH has it: install Python 3 with pip and run the demo again")
}

// honest is what happens on a good day.
func (d *demo) honest(ctx context.Context) error {
	d.title("1. An operator creates a repository and runs the index")
	if err := d.create(ctx); err != nil {
		return err
	}
	if err := d.serve(ctx); err != nil {
		return err
	}
	d.title("2. A maintainer uploads " + demoProject + " 1.0, as twine would")
	if err := d.upload(ctx, "1.0"); err != nil {
		return err
	}
	d.title("3. A user pins the root and installs with an unmodified pip")
	if r := d.bailiwick(ctx, "trust", "add", d.url, "--root", "sha256:"+d.root); r.code != 0 {
		return fmt.Errorf("trust add ended with %d: %s", r.code, r.text)
	}
	if err := d.installs(ctx, "1.0"); err != nil {
		return err
	}
	d.title("4. Why is that file trusted?")
	if r := d.bailiwick(ctx, "why", demoProject); r.code != 0 {
		return fmt.Errorf("why ended with %d: %s", r.code, r.text)
	}
	d.title("5. The next release")
	if err := d.upload(ctx, "1.1"); err != nil {
		return err
	}
	return d.installs(ctx, "1.1")
}

// create makes the repository with `bailiwick init`.
func (d *demo) create(ctx context.Context) error {
	pass := filepath.Join(d.dir, "passphrase")
	if err := os.WriteFile(pass, []byte("only for the demo\n"), 0o600); err != nil {
		return fmt.Errorf("writing a passphrase: %w", err)
	}
	r := d.run(ctx, "init", "--data", d.data(), "--offline-keys", filepath.Join(d.dir, "offline-keys"), "--passphrase-file", pass, "--json")
	if err := d.created(r); err != nil {
		return err
	}
	d.say("root sha256:%s is what users pin; its key is encrypted and not on the server", d.root)
	return nil
}

// created takes root and token out of what `bailiwick init --json` printed.
func (d *demo) created(r ran) error {
	if r.code != 0 {
		return fmt.Errorf("init ended with %d: %s", r.code, r.text)
	}
	var made struct {
		Root  string `json:"root_sha256"`
		Token string `json:"upload_token"`
	}
	if err := json.Unmarshal([]byte(r.stdout), &made); err != nil {
		return fmt.Errorf("reading what init printed: %w", err)
	}
	d.root, d.token = made.Root, made.Token
	return nil
}

func (d *demo) data() string { return filepath.Join(d.dir, "data") }

// serve runs `bailiwick serve` until stopServer, on the same address every time.
func (d *demo) serve(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	read, write := io.Pipe()
	var log bytes.Buffer
	env := *d.env
	env.Stdout, env.Stderr = write, &log
	done := make(chan int, 1)
	go func() {
		code := cli.Main(ctx, []string{"serve", "--data", d.data(), "--listen", d.listen, "--log-level", "error"}, &env)
		done <- code
		_ = write.Close()
	}()
	lines := bufio.NewScanner(read)
	for lines.Scan() {
		url, ok := strings.CutPrefix(lines.Text(), "listening on ")
		if !ok {
			continue
		}
		go func() { _, _ = io.Copy(io.Discard, read) }()
		d.url, d.listen = url, strings.TrimPrefix(url, "http://")
		stopBeside := func() error { return nil }
		if d.beside != nil {
			stopBeside = d.beside(ctx)
		}
		d.stopServer = func() error {
			err := stopBeside()
			cancel()
			d.stopServer = nil
			if code := <-done; code != 0 {
				return errors.Join(err, fmt.Errorf("the server ended with %d: %s", code, log.String()))
			}
			return err
		}
		return nil
	}
	cancel()
	return fmt.Errorf("the server ended with %d before it was ready: %s", <-done, log.String())
}

// upload sends a wheel of the demo's project.
func (d *demo) upload(ctx context.Context, version string) error {
	if err := d.uploadOf(ctx, demoProject, version); err != nil {
		return err
	}
	d.latest = version
	return nil
}

// uploadOf sends a wheel the way uploaders do.
func (d *demo) uploadOf(ctx context.Context, project, version string) error {
	made := distmake.Wheel(project, version, distmake.Options{Summary: "A package made for the demo"})
	sum := sha256.Sum256(made.Data)
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	for _, kv := range [][2]string{
		{":action", "file_upload"},
		{"protocol_version", "1"},
		{"metadata_version", "2.1"},
		{"name", project},
		{"version", version},
		{"filetype", "bdist_wheel"},
		{"pyversion", "py3"},
		{"sha256_digest", hex.EncodeToString(sum[:])},
	} {
		if err := form.WriteField(kv[0], kv[1]); err != nil {
			return fmt.Errorf("writing the upload form: %w", err)
		}
	}
	part, err := form.CreateFormFile("content", made.Name)
	if err != nil {
		return fmt.Errorf("writing the upload form: %w", err)
	}
	_, _ = part.Write(made.Data)
	_ = form.Close()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.url+"/legacy/", &body)
	if err != nil {
		return fmt.Errorf("preparing the upload: %w", err)
	}
	req.Header.Set("Content-Type", form.FormDataContentType())
	req.SetBasicAuth("__token__", d.token)
	client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	started := d.env.Now()
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("uploading: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the upload was answered with %s", resp.Status)
	}
	d.say("POST %s/legacy/  %s  %s after %d ms: it is installable now", d.url, made.Name, resp.Status, d.env.Now().Sub(started).Milliseconds())
	return nil
}

// ran is what a command printed and how it ended.
type ran struct {
	code         int
	stdout, text string // standard output; both streams in order
}

// run executes a bailiwick command as the demo's user, whose folders are all inside the temporary one.
func (d *demo) run(ctx context.Context, args ...string) ran {
	var stdout bytes.Buffer
	var both transcript
	env := d.userEnv()
	env.Stdout, env.Stderr = io.MultiWriter(&both, &stdout), &both
	code := cli.Main(ctx, args, env)
	return ran{code: code, stdout: stdout.String(), text: both.String()}
}

// userEnv is the world as a program of the demo's user meets it, which prints nothing.
func (d *demo) userEnv() *cli.Env {
	env, user := *d.env, d.userEnviron()
	env.Stdin, env.Stdout, env.Stderr = strings.NewReader(""), io.Discard, io.Discard
	env.Getenv, env.Environ = lookup(user), func() []string { return user }
	env.Now = func() time.Time {
		d.mu.Lock()
		defer d.mu.Unlock()
		return d.env.Now().Add(d.ahead)
	}
	return &env
}

// lookup is the Getenv of an environment.
func lookup(environ []string) func(name string) string {
	return func(name string) string {
		for _, kv := range slices.Backward(environ) {
			if value, ok := strings.CutPrefix(kv, name+"="); ok {
				return value
			}
		}
		return ""
	}
}

// transcript gathers both streams of a command and of its child, which write at the same time.
type transcript struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write appends.
func (t *transcript) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text.Write(p)
}

// String is what was written so far.
func (t *transcript) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text.String()
}

// userEnviron is the machine's environment with the user's folders inside the demo's, and no settings of pip or Bailiwick.
func (d *demo) userEnviron() []string {
	environ := slices.DeleteFunc(d.env.Environ(), func(kv string) bool {
		name := strings.ToUpper(strings.SplitN(kv, "=", 2)[0])
		return strings.HasPrefix(name, "PIP_") || strings.HasPrefix(name, "BAILIWICK_") || strings.HasPrefix(name, "XDG_")
	})
	return append(environ, "PIP_DISABLE_PIP_VERSION_CHECK=1",
		"XDG_CONFIG_HOME="+filepath.Join(d.home(), "config"),
		"XDG_STATE_HOME="+filepath.Join(d.home(), "state"),
		"XDG_CACHE_HOME="+d.cache())
}

// home is the folder of the user who types.
func (d *demo) home() string { return filepath.Join(d.dir, cmp.Or(d.user, "user")) }

func (d *demo) cache() string { return filepath.Join(d.home(), "cache") }

// bailiwick runs a command and shows it.
func (d *demo) bailiwick(ctx context.Context, args ...string) ran {
	d.say("$ bailiwick %s", strings.Join(args, " "))
	r := d.run(ctx, args...)
	d.quote(r.text)
	return r
}

// pip installs the project into a fresh folder, and shows what the user sees.
func (d *demo) pip(ctx context.Context) (r ran, version string, err error) {
	target, err := os.MkdirTemp(d.dir, "site-packages-")
	if err != nil {
		return r, "", fmt.Errorf("making a folder to install into: %w", err)
	}
	d.say("$ bailiwick run -- %s -m pip install --target … %s", filepath.Base(d.python), demoProject)
	r = d.run(ctx, "run", "--", d.python, "-m", "pip", "install", "--no-input", "--target", target, demoProject)
	d.quote(r.text)
	if _, err := os.Stat(filepath.Join(target, demoProject+".py")); errors.Is(err, fs.ErrNotExist) {
		return r, "", nil
	} else if err != nil {
		return r, "", fmt.Errorf("looking for what was installed: %w", err)
	}
	check := exec.CommandContext(ctx, d.python, "-c", "import "+demoProject+"; print("+demoProject+".__version__)") //nolint:gosec // the same Python
	check.Env = append(d.env.Environ(), "PYTHONPATH="+target)
	out, err := check.Output()
	if err != nil {
		return r, "", fmt.Errorf("importing what was installed: %w", err)
	}
	return r, strings.TrimSpace(string(out)), nil
}

// installs wants an install to succeed, and to bring that version.
func (d *demo) installs(ctx context.Context, version string) error {
	r, got, err := d.pip(ctx)
	switch {
	case err != nil:
		return err
	case r.code != 0:
		return fmt.Errorf("the install ended with %d: %s", r.code, r.text)
	case got != version:
		return fmt.Errorf("version %q was installed, expected %s", got, version)
	case !strings.Contains(r.text, "1 file verified"):
		return fmt.Errorf("the install was not reported as verified: %s", r.text)
	}
	return nil
}

func (d *demo) title(text string)              { fmt.Fprintf(d.out, "\n%s\n", text) }
func (d *demo) say(format string, args ...any) { fmt.Fprintf(d.out, "   "+format+"\n", args...) }

// longWinded matches what makes quoted lines long and says nothing here: the loopback address with its secret path, and whole hashes in it.
var longWinded = regexp.MustCompile(`(http://127\.0\.0\.1:\d+/)[0-9a-f]{16}/[0-9A-Z]+((?:/[a-z]+)*/)(?:[0-9a-f]{64}/)?`)

// quote shows a program's output, indented.
func (d *demo) quote(text string) {
	if d.terse {
		return
	}
	for line := range strings.Lines(text) {
		if line = strings.TrimRight(line, "\n"); line != "" {
			fmt.Fprintf(d.out, "   | %s\n", longWinded.ReplaceAllString(line, "$1…$2"))
		}
	}
}
