package e2e_test

import (
	"path/filepath"
	"testing"

	"example.com/bailiwick/internal/needs"
)

// TestDemo runs the demo as a newcomer does, with the machine's own pip, and wants nothing left behind.
func TestDemo(t *testing.T) {
	needs.Pip(t)
	temp := t.TempDir()
	r := command(t, temp, cleanEnv(temp, "TMPDIR="+temp), bailiwick, "demo").wantCode(t, 0)
	r.wantText(t, "All honest steps succeeded, all 4 attacks were refused", "Successfully installed greeting-1.0", "project.greeting")
	left, err := filepath.Glob(filepath.Join(temp, "bailiwick-demo-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("the demo left %v behind (%v)", left, err)
	}
}

// TestDemoWithoutPython says what is missing.
func TestDemoWithoutPython(t *testing.T) {
	temp := t.TempDir()
	command(t, temp, cleanEnv(temp, "PATH="+temp), bailiwick, "demo").wantCode(t, 1).wantText(t, "install Python 3 with pip")
}
