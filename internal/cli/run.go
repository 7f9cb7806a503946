package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"example.com/bailiwick/internal/proxy"
	"example.com/bailiwick/internal/verify"
)

const runExitCodes = "\n\nThe exit code is the command's own, except: 3 if verification refused something, 4 if the metadata is\n" +
	"unusable (expired, rolled back, not signed by enough keys), 5 if the index cannot be reached."

// newRun runs any command with its installers pointed at the verified index.
func newRun(env *Env) *cobra.Command {
	return &cobra.Command{
		Use:   "run [" + verify.Override + " PROJECT]… -- COMMAND [ARGS…]",
		Short: "run a command whose installers get only what verifies",
		Long: "Runs COMMAND with pip, uv, pdm, pipenv and poetry pointed at a verified index on this machine, and with\n" +
			"other addresses refused to every program that obeys the proxy variables.\n\n" +
			"A project that was signed by its maintainers when it was installed from before is refused if it is not any\n" +
			"more. Who knows the reason can say so, for one project and one run:\n\n" +
			"  " + verify.Override + " PROJECT\n\n" +
			"The option may be repeated. It is kept in the journal and shown after the run; rules of the configuration\n" +
			"([[require]]) hold all the same." + runExitCodes,
		Example:            "  bailiwick run -- python -m pip install -r requirements.txt\n  bailiwick run -- tox",
		DisableFlagParsing: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 && (args[0] == "-h" || args[0] == "--help") {
				return cmd.Help()
			}
			accept := make(acceptFlag)
			command, err := accept.parse(args)
			if err != nil {
				return err
			}
			if len(command) == 0 {
				return exit(exitUsage, errNoCommand)
			}
			in := &installer{env: env}
			return in.run(cmd.Context(), command, accept)
		},
	}
}

// newPip is short for running the active environment's pip.
func newPip(env *Env) *cobra.Command {
	return &cobra.Command{
		Use:   "pip ARGS…",
		Short: "run the active environment's pip, which gets only what verifies",
		Long: "Runs python -m pip ARGS with the Python of the active virtual environment, or else the first python3 or\n" +
			"python on the path. All arguments are pip's own." + runExitCodes,
		Example:            "  bailiwick pip install flask",
		DisableFlagParsing: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			python, err := findPython(env)
			if err != nil {
				return err
			}
			in := &installer{env: env}
			return in.run(cmd.Context(), append([]string{python, "-m", "pip"}, args...), nil)
		},
	}
}

// newUV is short for running uv.
func newUV(env *Env) *cobra.Command {
	return &cobra.Command{
		Use:                "uv ARGS…",
		Short:              "run uv, which gets only what verifies",
		Long:               "Runs the uv on the path. All arguments are uv's own." + runExitCodes,
		Example:            "  bailiwick uv pip install flask",
		DisableFlagParsing: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			uv, err := lookPath(env, "uv")
			if err != nil {
				return fmt.Errorf("uv is not on the path: install it, or use bailiwick pip")
			}
			in := &installer{env: env}
			return in.run(cmd.Context(), append([]string{uv}, args...), nil)
		},
	}
}

// findPython is the interpreter of the active environment.
func findPython(env *Env) (string, error) {
	if venv := env.Getenv("VIRTUAL_ENV"); venv != "" {
		python := filepath.Join(venv, "bin", "python")
		if runtime.GOOS == "windows" {
			python = filepath.Join(venv, "Scripts", "python.exe")
		}
		if !isExecutable(python) {
			return "", fmt.Errorf("VIRTUAL_ENV is %s, but there is no %s: deactivate that environment or make it anew", venv, python)
		}
		return python, nil
	}
	for _, name := range []string{"python3", "python"} {
		if python, err := lookPath(env, name); err == nil {
			return python, nil
		}
	}
	return "", errors.New("neither python3 nor python is on the path: install Python, or activate a virtual environment")
}

// lookPath finds a program on the path of env.
func lookPath(env *Env, name string) (string, error) {
	if strings.ContainsRune(name, filepath.Separator) || strings.ContainsRune(name, '/') {
		return name, nil
	}
	suffixes := []string{""}
	if runtime.GOOS == "windows" {
		suffixes = []string{".exe", ".cmd", ".bat"}
	}
	for _, folder := range filepath.SplitList(env.Getenv("PATH")) {
		for _, suffix := range suffixes {
			// A relative entry means the working folder, where anybody may put programs.
			if path := filepath.Join(folder, name+suffix); filepath.IsAbs(path) && isExecutable(path) {
				return path, nil
			}
		}
	}
	return "", fmt.Errorf("%s is not on the path", name)
}

func isExecutable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && (runtime.GOOS == "windows" || info.Mode()&0o111 != 0)
}

// run runs command behind a proxy of its own, and gives the verdict after it.
func (in *installer) run(ctx context.Context, command []string, accept acceptFlag) error {
	program, err := lookPath(in.env, command[0])
	if err != nil {
		return exit(127, fmt.Errorf("cannot run %s: %w", command[0], err))
	}
	if err := in.scan(command); err != nil {
		return err
	}
	p, err := in.pin(ctx)
	if err != nil {
		return err
	}
	o, err := in.open(p, engineOptions{accept: accept})
	if err != nil {
		return err
	}
	defer o.Close()
	caches, err := p.installerCaches(in.env)
	if err != nil {
		return err
	}
	blocked := &blockedHosts{}
	server, err := o.start(ctx, proxy.DefaultListen, true, blocked.add)
	if err != nil {
		return fmt.Errorf("starting the verified index: %w", err)
	}
	at := server.Endpoint()
	at.Caches = caches
	if tool, args, ok := proxy.ToolOf(command); ok {
		at.Sealed = proxy.OnlyInstalls(tool, args)
	}
	code, err := in.child(ctx, program, command[1:], proxy.Environ(in.env.Environ(), at))
	_ = server.Close() // all its answers were given
	if err != nil {
		return fmt.Errorf("running %s: %w", command[0], err)
	}
	return in.verdict(o.Summary(), blocked, code)
}

// scan refuses command lines that would lead around the verified index.
func (in *installer) scan(command []string) error {
	tool, args, ok := proxy.ToolOf(command)
	if !ok {
		return nil
	}
	scanner := proxy.Scanner{
		Read:   func(name string) ([]byte, error) { return readBounded(name, proxy.MaxRequirements) },
		Getenv: in.env.Getenv,
	}
	var refused []string
	for _, f := range scanner.Scan(tool, args) {
		if f.Refuse {
			refused = append(refused, f.String())
			continue
		}
		message(in.env, "%s", f)
	}
	if tool == proxy.Poetry {
		message(in.env, "poetry takes its index from pyproject.toml; without its mirror plugin, what it asks for elsewhere is refused")
	}
	if len(refused) == 0 {
		return nil
	}
	message(in.env, "not started, for this would lead around verification:\n  %s\n  next: take it out, or run %s without bailiwick",
		strings.Join(refused, "\n  "), tool)
	return exit(exitUsage, nil)
}

// child runs the program and gives its exit code. Signals go on to it.
func (in *installer) child(ctx context.Context, program string, args, environ []string) (int, error) {
	cmd := exec.Command(program, args...) //nolint:noctx,gosec // the user's own command; it is ended by signals, so that it can clean up
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in.env.Stdin, in.env.Stdout, in.env.Stderr
	cmd.Env, cmd.WaitDelay = environ, pipeGrace
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	defer signal.Stop(signals)
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	ended := make(chan struct{})
	var wait sync.WaitGroup
	wait.Go(func() { in.forward(ctx, cmd.Process, signals, ended) })
	err := cmd.Wait()
	close(ended)
	wait.Wait()
	var failed *exec.ExitError
	switch {
	case err == nil:
		return 0, nil
	case !errors.As(err, &failed):
		return 0, err
	}
	return childCode(failed.ProcessState), nil
}

// childCode is an exit code as a shell gives it: 128 and the number of the signal that ended it.
func childCode(state *os.ProcessState) int {
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return state.ExitCode()
}

// Grace for a child that ends, or is asked to.
const (
	pipeGrace   = time.Second            // for its streams after it ended
	signalGrace = 100 * time.Millisecond // a signal that also cancelled the context arrives within this
	killGrace   = 10 * time.Second       // between asking to end and ending
)

// forward passes signals on until the child has ended. What a terminal sends, it sends to the child
// by itself. A cancelled context without a signal asks the child to end.
func (in *installer) forward(ctx context.Context, child *os.Process, signals <-chan os.Signal, ended <-chan struct{}) {
	fromTerminal := in.onTerminal()
	cancelled := ctx.Done()
	var grace, kill <-chan time.Time
	for {
		select {
		case <-ended:
			return
		case s := <-signals:
			cancelled, grace = nil, nil // the signal has cancelled the context, too
			if !fromTerminal || (s != os.Interrupt && s != syscall.SIGQUIT) {
				_ = child.Signal(s) // it may have ended meanwhile
			}
		case <-cancelled:
			cancelled, grace = nil, time.After(signalGrace)
		case <-grace:
			grace, kill = nil, time.After(killGrace)
			_ = child.Signal(syscall.SIGTERM)
		case <-kill:
			_ = child.Kill()
		}
	}
}

// onTerminal reports whether a terminal stands behind any of the standard streams.
func (in *installer) onTerminal() bool {
	for _, stream := range []any{in.env.Stdin, in.env.Stdout, in.env.Stderr} {
		if f, ok := stream.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
			return true
		}
	}
	return false
}

// blockedHosts collects what the guard refused.
type blockedHosts struct {
	mu    sync.Mutex
	names []string
}

// maxBlocked bounds the hosts that are remembered.
const maxBlocked = 20

func (b *blockedHosts) add(host string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.names) < maxBlocked && !slices.Contains(b.names, host) {
		b.names = append(b.names, host)
	}
}

func (b *blockedHosts) list() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.names)
}

// maxReported bounds the refusals that are told in full.
const maxReported = 5

// verdict tells what verification came to, and decides about the exit code: what was refused wins over
// the command's own code, because an installer may end well without what it did not get.
func (in *installer) verdict(s verify.Summary, blocked *blockedHosts, code int) error {
	for i, e := range s.Problems {
		if i == maxReported {
			message(in.env, "and %d more", len(s.Problems)-i)
			break
		}
		report(in.env, e)
	}
	hosts := blocked.list()
	if len(hosts) > 0 {
		message(in.env, "refused connections to %s: nothing there leads back to the pinned root", strings.Join(hosts, ", "))
	}
	if line := s.Line(in.env.Now()); line != "" && len(s.Problems) == 0 {
		message(in.env, "%s", line)
	} else { // no verdict to hang them on
		for _, remark := range s.Remarks() {
			message(in.env, "%s", remark)
		}
	}
	if worst := classCode(s.Worst()); worst != 0 {
		return exit(worst, nil)
	}
	if len(hosts) > 0 && code != 0 {
		return exit(exitRefused, nil) // the command failed, and this is likely why
	}
	if code != 0 {
		return exit(code, nil)
	}
	return nil
}
