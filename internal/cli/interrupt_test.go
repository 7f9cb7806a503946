package cli_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.com/bailiwick/internal/cli"
)

// TestInterrupted: an interrupt is told as such, not as an index that cannot be reached.
func TestInterrupted(t *testing.T) {
	for _, command := range []string{"why", "trust add"} {
		t.Run(command, func(t *testing.T) {
			ctx, interrupt := context.WithCancelCause(t.Context())
			silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				interrupt(errors.New("interrupt signal received")) // what signal.NotifyContext gives as the cause
				<-r.Context().Done()
			}))
			t.Cleanup(silent.Close)
			pin := "sha256:" + strings.Repeat("0", 64)
			home := t.TempDir()
			args := []string{"why", "flask"}
			if command == "trust add" {
				args = []string{"trust", "add", silent.URL, "--root", pin}
			} else if err := os.WriteFile(filepath.Join(home, "bailiwick.toml"), []byte("[[index]]\nurl = \""+silent.URL+"\"\nroot = \""+pin+"\"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			t.Chdir(home)
			var stderr bytes.Buffer
			env := cli.OSEnv()
			env.Stdout, env.Stderr = new(bytes.Buffer), &stderr
			env.Getenv = func(name string) string {
				if name == "HOME" {
					return home
				}
				return ""
			}
			if code := cli.Main(ctx, args, env); code != 130 || stderr.String() != "bailiwick: interrupted\n" {
				t.Errorf("code %d, %q", code, &stderr)
			}
		})
	}
}
