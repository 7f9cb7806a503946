package cli_test

import (
	"path/filepath"
	"testing"
)

// TestRootStories tells the stories of testdata/root: of several people who hold the keys of a repository.
func TestRootStories(t *testing.T) {
	runStories(t, filepath.Join("testdata", "root", "*.txt"))
}

// TestR7BackupsArePutBack: a clean host serves from the copy of the data folder, signs with that of the offline keys, and
// prints what was printed before; users take a copy that is older than what they have seen once the server has new keys.
func TestR7BackupsArePutBack(t *testing.T) {
	runStories(t, filepath.Join("testdata", "backup", "*.txt"))
}
