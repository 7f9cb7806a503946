package cli_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestMaintainer tells the stories of testdata/maintain: what a maintainer types and sees. The commands of
// docs/guide-maintainer.md are taken from them. Those that need a program which this machine does not have
// are passed over, except in CI.
func TestMaintainer(t *testing.T) {
	paths, err := filepath.Glob(filepath.Join("testdata", "maintain", "*.txt"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("found no stories: %v", err)
	}
	needs := map[string]string{"agent": "ssh-agent", "walk": "python3"}
	for _, path := range paths {
		name := strings.TrimSuffix(filepath.Base(path), ".txt")
		t.Run(name, func(t *testing.T) {
			if program := needs[name]; program != "" {
				if _, err := exec.LookPath(program); err != nil {
					if os.Getenv("CI") != "" {
						t.Fatalf("CI has to have %s", program)
					}
					t.Skipf("SKIPPED: %s is not here", program)
				}
			}
			t.Parallel()
			runStory(t, path)
		})
	}
}
