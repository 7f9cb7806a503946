package cli_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.com/bailiwick/internal/cli"
	"example.com/bailiwick/internal/keys"
)

// TestKeysOfTheAgent tells the stories of a real ssh-agent.
func TestKeysOfTheAgent(t *testing.T) {
	runStories(t, filepath.Join("testdata", "keys", "*.txt"))
}

// TestKeysOfTokens: without the build tag, a token is an error that names the build which has it; with
// it, the error is about the token.
func TestKeysOfTokens(t *testing.T) {
	var out, errs bytes.Buffer
	env := &cli.Env{
		Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs,
		Getenv: func(name string) string {
			return map[string]string{"HOME": t.TempDir(), keys.ModuleVariable: "/nowhere.so"}[name]
		},
	}
	want := "go build -tags pkcs11"
	if keys.TokensBuilt() {
		want = "/nowhere.so can not be loaded"
	}
	if code := cli.Main(t.Context(), []string{"keys", "show", "pkcs11:token=work;object=alice"}, env); code != 1 || !strings.Contains(errs.String(), want) {
		t.Errorf("show: exit code %d, %s", code, errs.String())
	}
	errs.Reset()
	if code := cli.Main(t.Context(), []string{"keys", "list"}, env); code != 0 || !strings.Contains(errs.String(), want) || out.Len() > 0 {
		t.Errorf("list: exit code %d, %s%s", code, out.String(), errs.String())
	}
}

// TestOpenKeys: what every command that signs does with --key.
func TestOpenKeys(t *testing.T) {
	dir := t.TempDir()
	pass := filepath.Join(dir, "pass")
	if err := os.WriteFile(pass, []byte("correct horse battery staple\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var errs bytes.Buffer
	env := (&cli.Env{Stdin: strings.NewReader(""), Stdout: &errs, Stderr: &errs, Getenv: func(string) string { return "" }}).WithWorkFactor(cheapWork)
	alice, bob := filepath.Join(dir, "alice.key"), filepath.Join(dir, "bob.key")
	for _, file := range []string{alice, bob} {
		if code := cli.Main(t.Context(), []string{"keys", "new", "--out", file, "--passphrase-file", pass}, env); code != 0 {
			t.Fatalf("keys new: exit code %d, %s", code, errs.String())
		}
	}
	names, _, err := cli.OpenKeys(t.Context(), env, pass, alice, "file:"+bob)
	if err != nil || strings.Join(names, " ") != "alice bob" {
		t.Errorf("opened %q, %v", names, err)
	}
	for _, test := range []struct {
		file string
		uris []string
		code int
		says string
	}{
		{pass, []string{alice, bob, "file:" + alice}, 2, "are the same key"},
		{pass, []string{"kms:x"}, 2, "not known here"},
		{pass, []string{alice + "x"}, 0, "no such file"},
		{pass, []string{"ssh-agent:"}, 0, "SSH_AUTH_SOCK"},
		{"", []string{alice}, 0, "it needs its passphrase: name a file that holds it with --passphrase-file or BAILIWICK_PASSPHRASE_FILE"},
	} {
		_, code, err := cli.OpenKeys(t.Context(), env, test.file, test.uris...)
		if err == nil || code != test.code || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%q: code %d, %v; want %d, %q", test.uris, code, err, test.code, test.says)
		}
	}
}
