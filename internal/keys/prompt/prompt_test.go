package prompt_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
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

// TestPassphraseOpenToOthers: a passphrase that others could read or change is refused, without a word of it; a pipe of the
// shell is nobody else's, whatever its mode.
func TestPassphraseOpenToOthers(t *testing.T) {
	if runtime.GOOS == "windows" {
		return // modes mean nothing there
	}
	path := filepath.Join(t.TempDir(), "passphrase")
	if err := os.WriteFile(path, []byte("correct horse\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for mode, open := range map[fs.FileMode]bool{0o600: false, 0o400: false, 0o700: false, 0o640: true, 0o620: true, 0o604: true, 0o602: true, 0o644: true} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		got, err := prompt.ReadPassphrase(path)
		if (err != nil) != open || open && (got != nil || !strings.Contains(err.Error(), "run chmod 600 "+path) || strings.Contains(err.Error(), "horse")) {
			t.Errorf("mode %04o: %q, %v", mode, got, err)
		}
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := w.WriteString("correct horse\n"); err != nil {
		t.Fatal(err)
	}
	w.Close()
	if got, err := prompt.ReadPassphrase(fmt.Sprintf("/dev/fd/%d", r.Fd())); string(got) != "correct horse" || err != nil {
		t.Errorf("from a pipe: %q, %v", got, err)
	}
}
