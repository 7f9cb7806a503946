package cli_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"example.com/bailiwick/internal/cli"
)

// TestBrokenURLsKeepTheirSecret: an address that can not be read is shown, and its password is not.
func TestBrokenURLsKeepTheirSecret(t *testing.T) {
	for _, index := range []string{"https://user:s%zzecret@pkgs.example.com", "https://user:s ecret@pkgs.example.com:x", "user:secret@pkgs.example.com"} {
		var out, said bytes.Buffer
		env := &cli.Env{
			Stdin: strings.NewReader(""), Stdout: &out, Stderr: &said, Now: time.Now,
			Getenv: func(string) string { return "" }, Environ: func() []string { return nil },
		}
		code := cli.Main(t.Context(), []string{"status", "--index", index}, env)
		if text := out.String() + said.String(); code == 0 || strings.Contains(text, "ecret") || !strings.Contains(text, "pkgs.example.com") {
			t.Errorf("%s: ended with %d and said %q", index, code, text)
		}
	}
}
