package cli_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A story is a script in testdata/script, in the format of testscript: command lines, then files
// between "-- NAME --" lines. Words are split at blanks, 'quoted' ones stay whole (” is a quote) and
// unexpanded, $NAME elsewhere is a variable, # begins a comment, and a leading ! wants failure.
// Patterns are regular expressions whose ^ and $ match at lines. The commands are
//
//	exec PROGRAM ARGS…            run to the end; keeps what it wrote
//	stdout, stderr [-count=N] PATTERN   match what the last exec (or get, or upload) wrote
//	grep PATTERN FILE             match a file
//	exists PATH…, mkdir, rm, mv, cp, chmod MODE PATH, symlink LINK -> TARGET; cp takes stdout as a file
//	env NAME=VALUE                set a variable for what follows
//	ttyin FILE                    the next exec has a terminal, at which FILE is typed
//	ttyout PATTERN                match what that terminal showed
//	serve, stop, kill, get, upload, field: see script_test.go
//	build wheel|sdist FOLDER PROJECT VERSION   make a distribution
//
// This is the part of testscript that the stories need, because its own module graph is not pinned here.
type story struct {
	t              *testing.T
	dir            string
	env            map[string]string
	stdout, stderr string
	typed, shown   string
	server         *background
}

// commandTime bounds each program of a story.
const commandTime = time.Minute

func runStory(t *testing.T, path string) {
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s := &story{t: t, dir: t.TempDir(), server: &background{}}
	t.Cleanup(func() { _ = s.server.end(os.Kill) })
	s.env = map[string]string{
		"PATH": programFolder + string(os.PathListSeparator) + os.Getenv("PATH"), "WORK": s.dir, "TMPDIR": t.TempDir(),
		"HOME": filepath.Join(s.dir, "home"), programVariable: "1",
	}
	script, files := splitArchive(string(data))
	for name, text := range files {
		at := s.path(name)
		s.check(os.MkdirAll(filepath.Dir(at), 0o700))
		s.check(os.WriteFile(at, []byte(text), 0o600))
	}
	for i, line := range strings.Split(script, "\n") {
		if words := s.words(line); len(words) > 0 {
			s.line(fmt.Sprintf("%s:%d: %s", path, i+1, line), words)
		}
	}
}

// splitArchive takes the files off the end of a script.
func splitArchive(text string) (script string, files map[string]string) {
	files = map[string]string{}
	var name string
	var b strings.Builder
	flush := func() {
		if name == "" {
			script = b.String()
		} else {
			files[name] = b.String()
		}
		b.Reset()
	}
	for line := range strings.Lines(text) {
		if inner, ok := strings.CutPrefix(strings.TrimSpace(line), "-- "); ok && strings.HasSuffix(inner, " --") {
			flush()
			name = strings.TrimSuffix(inner, " --")
			continue
		}
		b.WriteString(line)
	}
	flush()
	return script, files
}

// words splits a line.
func (s *story) words(line string) []string {
	var words []string
	var word strings.Builder
	inWord, quoted := false, false
	plain := "" // what is to be expanded yet
	expand := func() {
		word.WriteString(os.Expand(plain, func(name string) string { return s.env[name] }))
		plain = ""
	}
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case quoted && c == '\'' && i+1 < len(line) && line[i+1] == '\'':
			word.WriteByte('\'')
			i++
		case c == '\'':
			expand()
			quoted, inWord = !quoted, true
		case quoted:
			word.WriteByte(c)
		case c == '#' && !inWord:
			return words
		case c == ' ' || c == '\t':
			if inWord {
				expand()
				words = append(words, word.String())
				word.Reset()
				inWord = false
			}
		default:
			plain += string(c)
			inWord = true
		}
	}
	if inWord {
		expand()
		words = append(words, word.String())
	}
	return words
}

// line runs one line and checks whether it went as wanted.
func (s *story) line(at string, words []string) {
	s.t.Helper()
	want := true
	if words[0] == "!" {
		want, words = false, words[1:]
	}
	err := s.command(words[0], words[1:])
	if (err == nil) != want {
		log, _ := os.ReadFile(s.path("server.log"))
		s.t.Fatalf("%s\n%v\n[stdout]\n%s[stderr]\n%s[terminal]\n%s\n[server]\n%s", at, err, s.stdout, s.stderr, s.shown, log)
	}
}

func (s *story) command(name string, args []string) error {
	switch name {
	case "exec":
		return s.exec(args)
	case "stdout":
		return match(s.stdout, args)
	case "stderr":
		return match(s.stderr, args)
	case "ttyout":
		return match(s.shown, args)
	case "ttyin":
		s.typed = s.read(args[0])
		return nil
	case "grep":
		return match(s.read(args[1]), args[:1])
	case "env":
		key, value, _ := strings.Cut(args[0], "=")
		s.env[key] = value
		return nil
	case "serve":
		return s.serve(args)
	case "stop":
		return s.stop()
	case "kill":
		_ = s.server.end(os.Kill)
		return nil
	case "get":
		return s.get(args[0])
	case "upload":
		return s.upload(args[0], args[1], args[2])
	case "field":
		return s.field(args[0], args[1], args[2])
	case "build":
		return s.build(args[0], args[1], args[2], args[3])
	}
	return s.fileCommand(name, args)
}

// fileCommand does what needs no program.
func (s *story) fileCommand(name string, args []string) error {
	switch name {
	case "exists":
		for _, p := range args {
			if _, err := os.Stat(s.path(p)); err != nil {
				return err
			}
		}
		return nil
	case "mkdir":
		return os.MkdirAll(s.path(args[0]), 0o700)
	case "rm":
		if _, err := os.Lstat(s.path(args[0])); err != nil {
			return err // a story that removes nothing has a slip in it
		}
		return os.RemoveAll(s.path(args[0]))
	case "mv":
		return os.Rename(s.path(args[0]), s.path(args[1]))
	case "cp":
		return os.WriteFile(s.path(args[1]), []byte(s.read(args[0])), 0o600)
	case "chmod":
		mode, err := strconv.ParseUint(args[0], 8, 32)
		s.check(err)
		return os.Chmod(s.path(args[1]), os.FileMode(mode))
	case "symlink":
		return os.Symlink(s.path(args[2]), s.path(args[0]))
	}
	s.t.Fatalf("there is no command %q", name)
	return nil
}

// exec runs a program to its end.
func (s *story) exec(args []string) error {
	path, err := s.lookPath(args[0])
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(s.t.Context(), path, args[1:]...)
	cmd.Args[0] = args[0]
	cmd.Dir, cmd.Env = s.dir, s.environ()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	s.shown = ""
	if s.typed != "" {
		err = s.atTerminal(cmd)
	} else {
		err = runFor(cmd)
	}
	s.stdout, s.stderr = out.String(), errs.String()
	return err
}

func runFor(cmd *exec.Cmd) error {
	timer := time.AfterFunc(commandTime, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	return cmd.Run()
}

// lookPath finds a program on the story's own PATH.
func (s *story) lookPath(name string) (string, error) {
	for _, dir := range filepath.SplitList(s.env["PATH"]) {
		if path := filepath.Join(dir, name); !strings.Contains(name, "/") {
			if info, err := os.Stat(path); err == nil && info.Mode()&0o111 != 0 && !info.IsDir() {
				return path, nil
			}
		}
	}
	return "", errors.New("no program " + name)
}

func (s *story) environ() []string {
	var env []string
	for name, value := range s.env {
		env = append(env, name+"="+value)
	}
	slices.Sort(env)
	return env
}

// match looks for a pattern, [-count=N] times if that is asked.
func match(text string, args []string) error {
	count := -1
	if n, ok := strings.CutPrefix(args[0], "-count="); ok {
		var err error
		if count, err = strconv.Atoi(n); err != nil {
			return err
		}
		args = args[1:]
	}
	re, err := regexp.Compile("(?m)" + args[0])
	if err != nil {
		return err
	}
	found := len(re.FindAllString(text, -1))
	if found == 0 || (count >= 0 && found != count) {
		return fmt.Errorf("found %d times: %s", found, args[0])
	}
	return nil
}

func (s *story) path(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(s.dir, name)
}

// read returns a file, or what the last command wrote.
func (s *story) read(name string) string {
	if name == "stdout" {
		return s.stdout
	}
	data, err := os.ReadFile(s.path(name))
	s.check(err)
	return string(data)
}

func (s *story) check(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}
