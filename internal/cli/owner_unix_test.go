//go:build unix

package cli_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.com/bailiwick/internal/cli"
	"example.com/bailiwick/internal/needs"
)

// TestForeignConfiguration: what somebody else left in a folder above does not decide whom to trust.
func TestForeignConfiguration(t *testing.T) {
	needs.Root(t)
	shared := t.TempDir()
	working := filepath.Join(shared, "work")
	config := filepath.Join(shared, "bailiwick.toml")
	if err := os.Mkdir(working, 0o700); err != nil {
		t.Fatal(err)
	}
	text := "[[index]]\nurl = \"http://127.0.0.1:9\"\nroot = \"sha256:" + strings.Repeat("0", 64) + "\"\n"
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	const other, third = 12345, 12346
	tests := []struct {
		name               string
		config, workingDir int
		refused            bool
	}{
		{"the user's own", 0, 0, false},
		{"another user's, above the user's folder", other, 0, true},
		{"another user's, above a third one's", other, third, true},
		{"the repository of another user", other, other, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := os.Chown(config, tt.config, -1); err != nil {
				t.Fatal(err)
			}
			if err := os.Chown(working, tt.workingDir, -1); err != nil {
				t.Fatal(err)
			}
			t.Chdir(working)
			var stdout, stderr bytes.Buffer
			env := cli.OSEnv()
			env.Stdout, env.Stderr = &stdout, &stderr
			// Whoever is believed is asked; nobody is there.
			code := cli.Main(t.Context(), []string{"trust", "list"}, env)
			if refused := strings.Contains(stderr.String(), "belongs to another user (12345)"); refused != tt.refused || (code == 5) == tt.refused {
				t.Errorf("code %d, refused %v, want %v\n%s%s", code, refused, tt.refused, &stdout, &stderr)
			}
		})
	}
}

// TestForeignLink: a link of somebody else chooses which file decides, even if the file is the user's.
func TestForeignLink(t *testing.T) {
	needs.Root(t)
	const user, other = 12345, 12346
	shared := t.TempDir()
	working, mine := filepath.Join(shared, "work"), filepath.Join(shared, "mine.toml")
	config := filepath.Join(shared, "bailiwick.toml")
	text := "[[index]]\nurl = \"http://127.0.0.1:9\"\nroot = \"sha256:" + strings.Repeat("0", 64) + "\"\n"
	if err := errors.Join(os.Mkdir(working, 0o700), os.WriteFile(mine, []byte(text), 0o644), os.Symlink(mine, config)); err != nil {
		t.Fatal(err)
	}
	t.Chdir(working)
	for _, tt := range []struct {
		link, file int
		refused    string
	}{
		{0, 0, ""},
		{0, user, ""},
		{user, 0, ""},
		{other, user, "(12346)"},
		{user, other, "(12346)"},
	} {
		if err := errors.Join(os.Lchown(config, tt.link, -1), os.Chown(mine, tt.file, -1), os.Chown(working, user, -1)); err != nil {
			t.Fatal(err)
		}
		var stdout, stderr bytes.Buffer
		env := cli.OSEnv()
		env.Stdout, env.Stderr = &stdout, &stderr
		cli.Main(t.Context(), []string{"trust", "list"}, env)
		refused := strings.Contains(stderr.String(), "belongs to another user")
		if refused != (tt.refused != "") || !strings.Contains(stderr.String(), tt.refused) {
			t.Errorf("link of %d to a file of %d: %s", tt.link, tt.file, &stderr)
		}
	}
}

// TestSignerStateOfOthers: what a signer remembers is nobody else's to change.
func TestSignerStateOfOthers(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	opens := func() error {
		t.Helper()
		_, closeIt, err := cli.SignerMemory(dir)
		if err == nil {
			err = closeIt()
		}
		return err
	}
	if err := opens(); err != nil {
		t.Fatal(err)
	}
	for mode, shared := range map[os.FileMode]bool{0o700: false, 0o755: false, 0o770: true, 0o702: true, 0o777: true} {
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		if err := opens(); (err != nil) != shared || shared && !strings.Contains(err.Error(), "run chmod 700 "+dir) {
			t.Errorf("mode %04o: %v", mode, err)
		}
	}
	t.Run("of another user", func(t *testing.T) {
		needs.Root(t)
		if err := errors.Join(os.Chmod(dir, 0o700), os.Chown(dir, 12345, 12345)); err != nil {
			t.Fatal(err)
		}
		if err := opens(); err == nil || !strings.Contains(err.Error(), "belongs to another user (12345)") || !strings.Contains(err.Error(), "run the signer as that user") {
			t.Errorf("of another user: %v", err)
		}
	})
}
