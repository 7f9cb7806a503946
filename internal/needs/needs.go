// Package needs is for tests that take more of a machine than Go: other programs, a file system to fill, the rights of root. Where
// something is missing they are skipped and say what, and how to get it. In CI, which sets the environment variable CI, they fail
// instead, for nobody reads what a green run skipped. For tests only.
package needs

import (
	"fmt"
	"os"
	"os/exec"
	"testing"
)

// Without ends a test that cannot be done here: it fails in CI, and is skipped elsewhere. Missing says what is not here and how to
// get it, like "there is no openssl; install the Debian package openssl".
func Without(tb testing.TB, missing string) {
	tb.Helper()
	if _, err := Condition(false, missing); err != nil {
		tb.Fatal(err)
	}
	tb.Skip("SKIPPED: " + missing)
}

// Condition is [Without] for a condition of a script, which skips by itself: it returns have, and in CI an error unless have.
func Condition(have bool, missing string) (bool, error) {
	if !have && os.Getenv("CI") != "" {
		return false, fmt.Errorf("NOT TESTED, and CI has to test it: %s", missing)
	}
	return have, nil
}

// Programs finds programs on the path. Packages names the Debian packages that have them.
func Programs(tb testing.TB, packages string, programs ...string) {
	tb.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			Without(tb, fmt.Sprintf("there is no %s on the path; install the Debian packages %s", p, packages))
		}
	}
}

// Pip returns a python3 that has pip.
func Pip(tb testing.TB) string {
	tb.Helper()
	python, err := exec.LookPath("python3")
	if err == nil {
		err = exec.CommandContext(tb.Context(), python, "-m", "pip", "--version").Run()
	}
	if err != nil {
		Without(tb, fmt.Sprintf("there is no python3 with pip on the path (%v); install the Debian packages python3 and python3-pip", err))
	}
	return python
}

// Root is for tests that no user namespace helps, like those that give files to other users.
func Root(tb testing.TB) {
	tb.Helper()
	if os.Geteuid() != 0 {
		Without(tb, "only root can give files to other users; run the test as root")
	}
}
