package cli_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"example.com/bailiwick/internal/cli"
)

// TestMaintainer tells the stories of testdata/maintain: what a maintainer types and sees. The commands of
// docs/guide-maintainer.md are taken from them. Those that need a program which this machine does not have
// are passed over, except in CI.
func TestMaintainer(t *testing.T) {
	runStories(t, filepath.Join("testdata", "maintain", "*.txt"))
}

// TestGuide: every command of docs/guide-maintainer.md is in the story that the guide names over it.
func TestGuide(t *testing.T) {
	guide, err := os.ReadFile(filepath.Join("..", "..", "docs", "guide-maintainer.md"))
	if err != nil {
		t.Fatal(err)
	}
	story, inBlock, commands := "", false, 0
	for n, line := range strings.Split(string(guide), "\n") {
		switch {
		case strings.HasPrefix(line, "`maintain/"), strings.HasPrefix(line, "`operate/"):
			data, err := os.ReadFile(filepath.Join("testdata", strings.Trim(line, "`")))
			if err != nil {
				t.Fatalf("line %d: %v", n+1, err)
			}
			story = string(data)
		case line == "```sh":
			if inBlock = true; story == "" {
				t.Errorf("line %d: these commands are from no test", n+1)
			}
		case strings.HasPrefix(line, "```"):
			if inBlock {
				story = ""
			}
			inBlock = false
		case inBlock:
			commands++
			if !strings.Contains(strings.NewReplacer(" --yes", "", "$k", "bob", "''", "'").Replace(story), strings.TrimSpace(line)) {
				t.Errorf("line %d: no test runs %s", n+1, line)
			}
		}
	}
	if commands < 20 {
		t.Errorf("found %d commands in the guide", commands)
	}
}

// TestGuideIsWhole: the guide has every command that signs, and every flag of it.
func TestGuideIsWhole(t *testing.T) {
	guide, err := os.ReadFile(filepath.Join("..", "..", "docs", "guide-maintainer.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"claim", "publish", "sign", "team", "revoke", "yank", "unyank", "delete", "archive", "unarchive"} {
		var out bytes.Buffer
		env := &cli.Env{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &out, Getenv: func(string) string { return "" }, Now: time.Now}
		if code := cli.Main(t.Context(), []string{command, "--help"}, env); code != 0 {
			t.Fatalf("%s --help: %d %s", command, code, out.String())
		}
		for _, word := range strings.FieldsFunc(out.String(), func(r rune) bool { return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyz-", r) }) {
			if strings.HasPrefix(word, "--") && word != "--help" && !strings.Contains(string(guide), word) {
				t.Errorf("the guide lacks %s of bailiwick %s", word, command)
			}
		}
	}
}

// TestReadmeWalk runs the commands of the README as they stand there, with a yes to what a terminal would ask.
func TestReadmeWalk(t *testing.T) {
	readme, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, walk, ok := strings.Cut(string(readme), "## Sign your own releases\n")
	walk, _, ok2 := strings.Cut(walk, "\n## ")
	if !ok || !ok2 {
		t.Fatal("the README has no section \"Sign your own releases\"")
	}
	var script strings.Builder
	inBlock := false
	for line := range strings.Lines(walk) {
		switch {
		case strings.HasPrefix(line, "```"):
			inBlock = strings.TrimSpace(line) == "```sh"
		case inBlock:
			line, _, _ = strings.Cut(line, "#")
			line = strings.ReplaceAll(strings.TrimSpace(line), "YOUR-PROJECT", "tiny-lib")
			if strings.Contains(line, " --key ") {
				line += " --yes"
			}
			script.WriteString(line + "\n")
		}
	}
	if n := strings.Count(script.String(), "\nbailiwick ") + 1; n < 8 {
		t.Fatalf("found %d commands:\n%s", n, script.String())
	}
	story := `needs ssh-agent ssh-add ssh-keygen python3
serve --data data --offline-keys offline --passphrase-file pass
exec sh -c 'grep -o ''sha256:[0-9a-f]*'' server.log | head -1 | tr -d ''\n'' > pin'
exec sh -c 'grep -o ''bwk_[-_A-Za-z0-9]*'' server.log | tr -d ''\n'' > token'
exec sh -c 'bailiwick trust add $URL --root $(cat pin)'
exec sh -c 'ssh-keygen -q -t ed25519 -N "" -C me@laptop -f me; ssh-agent -a $WORK/agent.sock > agent; SSH_AUTH_SOCK=$WORK/agent.sock ssh-add -q me; python3 -m venv venv'
env SSH_AUTH_SOCK=$WORK/agent.sock
env VIRTUAL_ENV=$WORK/venv
env BAILIWICK_PASSPHRASE_FILE=$WORK/pass
env PIP_DISABLE_PIP_VERSION_CHECK=1
build wheel dist tiny-lib 1.0
build sdist dist tiny-lib 1.0
exec sh -c 'BAILIWICK_TOKEN=$(cat token) sh -e walk.sh'
stdout '^published. tiny-lib 1.0 is installable'
stdout '^signed. tiny-lib has its new keys'
stdout '^done. tiny-lib is signed by 2 of 2 keys'
stdout '^Successfully installed tiny-lib-1.0'
stdout 'project.tiny-lib v3 +2 of 2 +maintainers'
stderr '1 file verified: 1 recently claimed'
exec sh -c 'sed -n ''s/.*SSH_AGENT_PID=\([0-9]*\);.*/\1/p'' agent | xargs kill'
-- pass --
correct horse battery staple
-- walk.sh --
` + script.String()
	path := filepath.Join(t.TempDir(), "walk.txt")
	if err := os.WriteFile(path, []byte(story), 0o600); err != nil {
		t.Fatal(err)
	}
	runStories(t, path)
}
