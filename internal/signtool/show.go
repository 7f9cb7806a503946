package signtool

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/internal/sitting"
	"example.com/bailiwick/tuf"
)

const (
	// onPage is how many exceptions are on the page that is read before signing: what fits into two minutes.
	onPage = 20
	// maxPopular bounds a list of popular projects, in bytes.
	maxPopular = 64 << 20
)

// readRequest reads a request and judges it. Nothing of a file that is refused is shown.
func readRequest(path string, now time.Time) (*sitting.Request, *sitting.Verdict, error) {
	f, err := openFile(path, sitting.MaxBytes, "signing request")
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = f.Close() }() // was only read
	r, err := sitting.Decode(f)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	v, err := sitting.Judge(r, now)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	return r, v, nil
}

// printPage shows what a person has to read before signing.
func printPage(w io.Writer, s *sitting.Summary) {
	for _, line := range s.Lines(onPage) {
		_, _ = fmt.Fprintln(w, line)
	}
}

// runShow shows what a request asks for.
func runShow(_ context.Context, args []string, env *Env) error {
	f := newFlags("show", "project", "role", "all", "popular", "memory", "aborted")
	rest, err := f.parse(args, "the FILE to show")
	if err != nil {
		return printHelp(env, err)
	}
	if f.all && f.project+f.role != "" || f.project != "" && f.role != "" {
		return usagef("show: choose one of --project, --role and --all")
	}
	rank, err := readPopular(f.popular)
	if err != nil {
		return err
	}
	r, v, err := readRequest(rest[0], env.Now())
	if err != nil {
		return err
	}
	if err := showMemory(env, f, r); err != nil {
		return err
	}
	return show(env.Stdout, f, v, rank)
}

// show writes the page, or the details that the flags name.
func show(out io.Writer, f *flags, v *sitting.Verdict, rank func(pypi.Project) int) error {
	w := bufio.NewWriter(out)
	var lines []string
	switch {
	case f.project != "":
		p, err := pypi.ParseProject(f.project)
		if err != nil {
			return usagef("show: --project: %w", err)
		}
		if lines, err = v.ProjectLines(p); err != nil {
			return notInIt(err)
		}
	case f.role != "":
		role, err := tuf.ParseRoleName(f.role)
		if err != nil {
			return usagef("show: --role: %w", err)
		}
		if lines, err = v.RoleLines(role); err != nil {
			return notInIt(err)
		}
	default:
		s := v.SummaryFor(rank)
		most := onPage
		if f.all {
			most = 0
		}
		lines = s.Lines(most)
	}
	for _, line := range lines {
		_, _ = fmt.Fprintln(w, line)
	}
	if f.all {
		_, _ = fmt.Fprintln(w)
		for line := range v.Lines() {
			_, _ = fmt.Fprintln(w, line)
		}
	}
	return w.Flush()
}

// notInIt is what was asked for and is not in the request: no refusal of the request.
func notInIt(err error) error {
	return exit(exitFailed, fmt.Errorf("%w; --all lists everything that it changes", err))
}

// showMemory holds the request against what was signed here, as signing would; nothing is remembered.
func showMemory(env *Env, f *flags, r *sitting.Request) error {
	path, err := memoryFolder(env, f.memory)
	if err != nil {
		if f.memory == "" && env.Getenv("HOME") == "" {
			return nil // nothing was ever remembered there
		}
		return err
	}
	m, err := readMemory(path)
	if err != nil {
		return err
	}
	facts, err := factsOf(r)
	if err != nil {
		return errors.Join(err, m.Close())
	}
	known, err := m.recall(facts.root)
	if err = errors.Join(err, m.Close()); err != nil {
		return err
	}
	return facts.check(known, f.aborted)
}

// readPopular reads a list of projects, the most popular first, one a line. Names that are none are passed
// by: such lists come from elsewhere. Without a file, nobody is popular.
func readPopular(path string) (func(pypi.Project) int, error) {
	if path == "" {
		return nil, nil
	}
	data, err := readSmall(path, maxPopular, "list of popular projects")
	if err != nil {
		return nil, err
	}
	ranks := make(map[pypi.Project]int)
	n := 0
	for line := range bytes.Lines(data) {
		p, err := pypi.ParseProject(string(bytes.TrimSpace(line)))
		if err != nil {
			continue
		}
		if n++; ranks[p] == 0 {
			ranks[p] = n
		}
	}
	if n == 0 {
		return nil, fmt.Errorf("%s names no project: write one a line, the most popular first", path)
	}
	return func(p pypi.Project) int { return ranks[p] }, nil
}
