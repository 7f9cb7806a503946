package cli_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestPip tells the stories of testdata/pip, which run the machine's own pip. Other versions of it, and other installers, are the business of
// internal/e2e.
func TestPip(t *testing.T) {
	if out, err := exec.Command("python3", "-m", "pip", "--version").CombinedOutput(); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("needs python3 with pip: %v\n%s", err, out)
		}
		t.Skipf("SKIPPED: needs python3 with pip: %v", err)
	}
	runStories(t, filepath.Join("testdata", "pip", "*.txt"))
}
