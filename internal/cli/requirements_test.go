package cli_test

import (
	"path/filepath"
	"testing"
)

// TestR26_OneCommandFromZero: a fresh machine publishes by one command of this program alone. The key in
// the story is the example of RFC 8410.
func TestR26_OneCommandFromZero(t *testing.T) {
	runStories(t, filepath.Join("testdata", "requirements", "fresh.txt"))
}
