package cli_test

import (
	"bytes"
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"example.com/bailiwick/internal/cli"
)

// TestInterruptedCreation: an interrupt or a failure while a repository is made leaves nothing behind
// that stands in the way of the same command, and nothing of anybody else's is touched.
func TestInterruptedCreation(t *testing.T) {
	for _, command := range []string{"init", "serve"} {
		for _, when := range []string{"before the keys", "after the keys", "keys in the way"} {
			t.Run(command+" "+when, func(t *testing.T) {
				base := t.TempDir()
				data, offline, pass := filepath.Join(base, "data"), filepath.Join(base, "offline"), filepath.Join(base, "pass")
				other := filepath.Join(offline, "note.txt")
				write(t, pass, "correct horse battery staple\n")
				write(t, other, "mine")
				args := []string{command, "--data", data, "--offline-keys", offline, "--passphrase-file", pass}
				if command == "serve" {
					args = append(args, "--listen", "127.0.0.1:0")
				}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				var stderr bytes.Buffer
				env := cli.OSEnv().WithWorkFactor(cheapWork)
				env.Stdout, env.Stderr = new(bytes.Buffer), &stderr
				want, wantCode := "bailiwick: interrupted: no repository was created\n", 130
				switch when {
				case "before the keys":
					cancel()
				case "after the keys":
					env.Now = func() time.Time {
						cancel() // the first time that anybody asks for the time is the signing
						return time.Now()
					}
				default: // the folder for offline keys is in use
					if err := os.MkdirAll(filepath.Join(offline, "targets.key", "x"), 0o700); err != nil {
						t.Fatal(err)
					}
					want, wantCode = "targets.key", 1
				}
				code := cli.Main(ctx, args, env)
				if code != wantCode || !strings.Contains(stderr.String(), want) {
					t.Errorf("code %d, %s", code, &stderr)
				}
				if got := strings.Join(filesIn(t, base), " "); got != "data/lock offline/note.txt pass" && got != "offline/note.txt pass" {
					t.Errorf("left behind: %s", got)
				}
			})
		}
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// filesIn lists the files below a folder.
func filesIn(t *testing.T, dir string) []string {
	t.Helper()
	var names []string
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}
