package rehearsal_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.com/bailiwick/internal/cli"
	"example.com/bailiwick/internal/rehearsal"
)

// TestRehearsal goes through the whole life of a root, and wants it to be told and nothing to be left behind.
func TestRehearsal(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	env := cli.OSEnv()
	var stdout, stderr bytes.Buffer
	env.Stdout, env.Stderr = &stdout, &stderr
	if code := cli.Main(t.Context(), []string{"rehearse"}, env, rehearsal.Commands); code != 0 {
		t.Fatalf("the rehearsal ended with %d\n%s\n%s", code, &stderr, &stdout)
	}
	for _, want := range []string{
		"alice$ bailiwick-sign accept invitation.json", "waits for", "carol has lost her key",
		"sleeper verifies greeting 1.4 by way of root version 5", "All of it held",
	} {
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("the story does not say %q\n%s", want, &stdout)
		}
	}
	if left, err := filepath.Glob(filepath.Join(temp, "*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if _, err := os.Stat(temp); err != nil {
		t.Error(err)
	}
}
