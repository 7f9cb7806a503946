package cli_test

import (
	"path/filepath"
	"testing"

	"example.com/bailiwick/internal/needs"
)

// TestPip tells the stories of testdata/pip, which run the machine's own pip. Other versions of it, and other installers, are the business of
// internal/e2e.
func TestPip(t *testing.T) {
	needs.Pip(t)
	runStories(t, filepath.Join("testdata", "pip", "*.txt"))
}
