package cli_test

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"example.com/bailiwick/internal/keys/prompt/prompttest"
	"example.com/bailiwick/internal/needs"
)

// A story is a script of testscript. Beyond its own commands there are
//
//	serve ARGS…                   start bailiwick serve on a free port; sets $URL, writes server.log
//	shutdown, crash               end it by SIGTERM, and well; or by SIGKILL
//	signer KEYS ARGS…             start bailiwick signer for the server; returns when it is connected, writes signer.log
//	signoff, signdead             end it by SIGTERM, and well; or by SIGKILL
//	get PATH                      what the server says to a GET is standard output; fails unless it is 200
//	upload TOKENFILE PROJECT VERSION   the same for the upload of a wheel
//	field FILE MEMBER NAME        take a member of a JSON object into a variable and a file of that name
//	build wheel|sdist FOLDER PROJECT VERSION   make a distribution
//	needs PROGRAM…                skip the story where one is missing, but fail in CI
//
// and, as a program, for the answers that must not be typed before they are asked for, which ttyin does:
//
//	exec typist FILE PROGRAM ARGS…   run it at a terminal, type a line of FILE at each question; what
//	                              the terminal showed is in the file terminal
type story struct {
	tb     testing.TB
	server background
	signer background
}

// storyKey is where a script keeps its *story.
type storyKey struct{}

// runStories tells the stories that pattern names, in parallel.
func runStories(t *testing.T, pattern string) {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("found no stories at %s: %v", pattern, err)
	}
	refuseQuietEnds(t, files)
	testscript.Run(t, testscript.Params{
		Files:               files,
		Setup:               setUp,
		Condition:           condition,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Cmds:                commands(),
	})
}

// commands are those that a story has beside its programs.
func commands() map[string]func(*testscript.TestScript, bool, []string) {
	return map[string]func(*testscript.TestScript, bool, []string){
		"serve":    command(0, (*story).serve),
		"shutdown": command(0, (*story).shutdown),
		"crash":    command(0, (*story).crash),
		"signer":   command(1, (*story).startSigner),
		"signoff":  command(0, (*story).endSigner),
		"signdead": command(0, (*story).crashSigner),
		"get":      command(1, (*story).get),
		"upload":   command(3, (*story).upload),
		"field":    command(3, (*story).field),
		"build":    command(4, (*story).build),
		"needs":    command(1, (*story).needs),
	}
}

// condition tells a story what this machine has; CI has all of it.
func condition(name string) (bool, error) {
	switch name {
	case "terminal":
		return needs.Condition(prompttest.Have(), "there is no pseudo-terminal here; run the test on Linux, with /dev/ptmx and /dev/pts")
	case "airgap":
		return needs.Condition(exec.Command("unshare", "-rn", "true").Run() == nil,
			"unshare -rn makes no network namespace here; install the Debian package util-linux, and run the test as root")
	}
	return false, fmt.Errorf("no condition of stories is named %s", name)
}

// refuseQuietEnds: testscript has a stop that ends a story as told, and a kill for its own background
// programs, neither of which would touch the server of a story.
func refuseQuietEnds(t *testing.T, files []string) {
	t.Helper()
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if line := regexp.MustCompile(`(?m)^[ \t]*(stop|kill)\b.*$`).Find(data); line != nil {
			t.Fatalf("%s: %q: the server ends by shutdown or crash", file, line)
		}
	}
}

// command makes a command of a script, which ! turns round, of a function that takes n arguments or more.
func command(n int, f func(*story, *testscript.TestScript, []string) error) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		if len(args) < n {
			ts.Fatalf("takes %d arguments", n)
		}
		err := f(ts.Value(storyKey{}).(*story), ts, args)
		switch {
		case err != nil && !neg:
			ts.Fatalf("%v", err)
		case err == nil && neg:
			ts.Fatalf("unexpected success")
		case err != nil:
			ts.Logf("[%v]", err)
		}
	}
}

// setUp gives a story a home, files that are the user's alone, and an end for its server.
func setUp(e *testscript.Env) error {
	s := &story{tb: e.T().(testing.TB)}
	e.Values[storyKey{}] = s
	e.Setenv("HOME", filepath.Join(e.WorkDir, "home"))
	e.Defer(func() {
		_ = s.signer.end(os.Kill)
		_ = s.server.end(os.Kill)
		if log, err := os.ReadFile(filepath.Join(e.WorkDir, "signer.log")); err == nil && s.tb.Failed() {
			s.tb.Logf("[signer]\n%s", log)
		}
		if log, err := os.ReadFile(filepath.Join(e.WorkDir, "server.log")); err == nil && s.tb.Failed() {
			s.tb.Logf("[server]\n%s", log)
		}
	})
	return filepath.WalkDir(e.WorkDir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			return os.Chmod(path, 0o700)
		}
		return os.Chmod(path, 0o600)
	})
}

// needs skips a story that this machine cannot tell; CI can tell all.
func (s *story) needs(_ *testscript.TestScript, programs []string) error {
	needs.Programs(s.tb, "named in .ci/run", programs...)
	return nil
}
