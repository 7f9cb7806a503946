package cli_test

import (
	"path/filepath"
	"testing"
)

// TestRootStories tells the stories of testdata/root: of several people who hold the keys of a repository.
func TestRootStories(t *testing.T) {
	runStories(t, filepath.Join("testdata", "root", "*.txt"))
}
