package cli_test

import (
	"path/filepath"
	"testing"
)

// TestOperator tells the stories of testdata/operate: what an operator types and sees. The commands of
// docs/guide-operator.md are taken from them.
func TestOperator(t *testing.T) {
	runStories(t, filepath.Join("testdata", "operate", "*.txt"))
}
