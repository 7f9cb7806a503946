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
