package prompt_test

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.com/bailiwick/internal/keys/prompt"
)

// Questions at a terminal are in the stories of internal/cli and internal/signtool.

func TestReadPassphrase(t *testing.T) {
	path := filepath.Join(t.TempDir(), "passphrase")
	for content, want := range map[string]string{
		"correct horse\n":         "correct horse",
		"correct horse":           "correct horse",
		"correct horse\r\nmore\n": "correct horse",
		"correct horse \n":        "correct horse ",
		strings.Repeat("x", prompt.MaxPassphrase) + "\n": strings.Repeat("x", prompt.MaxPassphrase),
		"":        "",
		"\n":      "",
		"short\n": "",
		strings.Repeat("x", prompt.MaxPassphrase+1): "",
	} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := prompt.ReadPassphrase(path)
		if string(got) != want || (err == nil) != (want != "") {
			t.Errorf("%.20q: %q, %v; want %q", content, got, err, want)
		}
		if err != nil && (!strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "short")) {
			t.Errorf("%.20q: %v: does not name the file, or quotes from it", content, err)
		}
	}
	if _, err := prompt.ReadPassphrase(path + "2"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
}

func TestNoTerminal(t *testing.T) {
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for what, in := range map[string]io.Reader{"a file": f, "a reader": strings.NewReader("y\n")} {
		if _, ok := prompt.Terminal(in); ok {
			t.Errorf("%s is a terminal", what)
		}
	}
}
