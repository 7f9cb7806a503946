// Command bench measures this module beside go-tuf and python-tuf on the same bytes,
// and prints the table of docs/performance.md.
//
//	go run . -rounds 5         everything but the peers' slowest rows
//	go run . -rounds 5 -all    those too: minutes, and 3 GiB of memory
//	go run . -only snapshot    the rows whose name matches
//
// Every measurement is a process of its own; the implementations take turns, round
// by round; the table has medians. Fixtures and state lie in ../.cache/bench.
// python-tuf comes from the environment that ../.ci/tools makes; without it its
// columns stay empty. Needs Linux.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"example.com/bailiwick/bench/internal/fixture"
	"example.com/bailiwick/bench/internal/measure"
)

// longest bounds one measurement.
const longest = 5 * time.Minute

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	rounds := flag.Int("rounds", 5, "measurements of each cell")
	all := flag.Bool("all", false, "measure the peers' slowest rows, too")
	only := flag.String("only", "", "regular expression for the names of rows")
	cache := flag.String("cache", "../.cache", "folder for fixtures, binaries and state")
	python := flag.String("python", "../.cache/tools/clients/bin/python", "interpreter that has python-tuf")
	flag.Parse()
	pattern, err := regexp.Compile(*only)
	if err == nil {
		b := &bench{rounds: max(*rounds, 1), all: *all, only: pattern, python: *python}
		err = b.run(ctx, *cache)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// bench is one run.
type bench struct {
	rounds int
	all    bool
	only   *regexp.Regexp
	python string

	dir      string // everything below is absolute
	commands [implementations][]string
	url      string // of the repositories: url/1, url/2
}

// The implementations, in the order of the table.
const (
	ours = iota
	goTUF
	pythonTUF
	implementations
)

func (b *bench) run(ctx context.Context, cache string) error {
	if err := b.prepare(ctx, cache); err != nil {
		return err
	}
	stop, err := b.serve()
	if err != nil {
		return err
	}
	defer stop()
	var rows []*row
	for _, r := range table() {
		if b.only.MatchString(r.name) {
			rows = append(rows, r)
		}
	}
	for round := range b.rounds {
		for _, r := range rows {
			fmt.Fprintf(os.Stderr, "\rround %d of %d: %-60s", round+1, b.rounds, r.name)
			for i := range b.commands {
				if b.commands[i] == nil || !r.wants(i, b.all) {
					continue
				}
				m, err := b.once(ctx, i, r)
				if err != nil {
					return fmt.Errorf("%s: %w", r.name, err)
				}
				r.results[i] = append(r.results[i], m)
			}
		}
	}
	fmt.Fprintf(os.Stderr, "\r%-80s\r", "")
	b.conditions(ctx)
	return printTable(os.Stdout, rows)
}

// prepare makes the fixtures and builds the commands.
func (b *bench) prepare(ctx context.Context, cache string) error {
	dir, err := filepath.Abs(filepath.Join(cache, "bench"))
	if err != nil {
		return err
	}
	b.dir = dir
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := fixture.Make(filepath.Join(dir, "fixtures")); err != nil {
		return err
	}
	for i, name := range [...]string{ours: "ours", goTUF: "gotuf"} {
		bin := filepath.Join(dir, name)
		cmd := exec.CommandContext(ctx, "go", "build", "-o", bin, "./"+name)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("building %s (run this in its own folder): %w\n%s", name, err, out)
		}
		b.commands[i] = []string{bin}
	}
	script, err := filepath.Abs("peer.py")
	if err != nil {
		return err
	}
	interpreter, err := filepath.Abs(b.python)
	if err != nil {
		return err
	}
	if exec.CommandContext(ctx, interpreter, "-c", "import tuf").Run() != nil {
		fmt.Fprintln(os.Stderr, "bench: no python-tuf; .ci/tools installs it")
		return nil
	}
	b.commands[pythonTUF] = []string{interpreter, script}
	return nil
}

// serve offers both states of the repository on the loopback interface, from memory.
func (b *bench) serve() (stop func(), err error) {
	files := map[string][]byte{}
	for _, state := range []string{"1", "2"} {
		dir := filepath.Join(b.dir, "fixtures", "site"+state)
		entries, err := os.ReadDir(dir)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if files["/"+state+"/"+e.Name()], err = os.ReadFile(filepath.Join(dir, e.Name())); err != nil {
				return nil, err
			}
		}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	server := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		data, ok := files[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(data)))
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(data)
	})}
	go func() { _ = server.Serve(listener) }()
	b.url = "http://" + listener.Addr().String()
	return func() { _ = server.Close() }, nil
}

// once makes one measurement.
func (b *bench) once(ctx context.Context, i int, r *row) (measure.Result, error) {
	args := slices.Clone(r.args)
	if r.state != "" {
		state, err := b.state(ctx, i, r.state)
		if err != nil {
			return measure.Result{}, err
		}
		args = append(args, b.url+"/"+r.site, state)
		syscall.Sync() // so that nobody who syncs waits for what others left to write
	}
	return b.child(ctx, i, r.workload, args)
}

// state makes the folder in which a client keeps its metadata: empty, or as
// a first visit leaves it.
func (b *bench) state(ctx context.Context, i int, kind string) (string, error) {
	name := [...]string{"ours", "gotuf", "pythontuf"}[i]
	state := filepath.Join(b.dir, "state", name)
	if err := os.RemoveAll(state); err != nil {
		return "", err
	}
	if kind == "empty" {
		return state, os.MkdirAll(state, 0o700)
	}
	visited := state + "-visited"
	if _, err := os.Stat(visited); errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(visited, 0o700); err != nil {
			return "", err
		}
		if _, err := b.child(ctx, i, "client", []string{b.url + "/1", visited}); err != nil {
			return "", errors.Join(err, os.RemoveAll(visited))
		}
	}
	out, err := exec.CommandContext(ctx, "cp", "-a", visited, state).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("copying the state: %w: %s", err, out)
	}
	return state, nil
}

// child runs a workload in a process of its own.
func (b *bench) child(ctx context.Context, i int, workload string, args []string) (measure.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	command := slices.Concat(b.commands[i], []string{workload, filepath.Join(b.dir, "fixtures")}, args)
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Stderr = os.Stderr
	for _, e := range os.Environ() {
		if name, _, _ := strings.Cut(e, "="); !strings.HasSuffix(strings.ToLower(name), "_proxy") && name != "GOGC" && name != "GOMEMLIMIT" {
			cmd.Env = append(cmd.Env, e)
		}
	}
	out, err := cmd.Output()
	if err != nil {
		return measure.Result{}, fmt.Errorf("%s: %w", strings.Join(command, " "), err)
	}
	var m measure.Result
	if err := json.Unmarshal(out, &m); err != nil {
		return measure.Result{}, fmt.Errorf("%s printed %q: %w", strings.Join(command, " "), out, err)
	}
	return m, nil
}

// conditions prints what a reader of the table should know.
func (b *bench) conditions(ctx context.Context) {
	load, _ := os.ReadFile("/proc/loadavg")
	processor := "unknown processor"
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if _, rest, ok := strings.Cut(string(info), "model name"); ok {
			name, _, _ := strings.Cut(rest, "\n")
			processor = strings.TrimSpace(strings.TrimLeft(name, "\t :"))
		}
	}
	version, _ := exec.CommandContext(ctx, "go", "env", "GOVERSION").Output()
	peer, _ := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Path}} {{.Version}}", "github.com/theupdateframework/go-tuf/v2").Output()
	py := []byte("none")
	if b.commands[pythonTUF] != nil {
		py, _ = exec.CommandContext(ctx, b.commands[pythonTUF][0], "-c",
			"import sys, tuf, securesystemslib, cryptography as c; print('python-tuf', tuf.__version__, 'securesystemslib', securesystemslib.__version__, 'cryptography', c.__version__, 'CPython', sys.version.split()[0])").Output()
	}
	fmt.Printf("%s, load %s; %s; %s; %s; %d rounds\n\n", processor, strings.Join(strings.Fields(string(load))[:3], " "),
		strings.TrimSpace(string(version)), strings.TrimSpace(string(peer)), strings.TrimSpace(string(py)), b.rounds)
}
