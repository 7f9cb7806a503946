package cli_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"example.com/bailiwick/internal/cli"
	"example.com/bailiwick/internal/ledger"
	"example.com/bailiwick/internal/rehearsal"
)

// TestOperator tells the stories of testdata/operate: what an operator types and sees. The commands of
// docs/guide-operator.md are taken from them.
func TestOperator(t *testing.T) {
	runStories(t, filepath.Join("testdata", "operate", "*.txt"))
}

// TestOperatorGuide: every command of docs/guide-operator.md is in the story that the guide names over it.
func TestOperatorGuide(t *testing.T) {
	guide, err := os.ReadFile(filepath.Join("..", "..", "docs", "guide-operator.md"))
	if err != nil {
		t.Fatal(err)
	}
	story, inBlock, commands := "", false, 0
	for n, line := range strings.Split(string(guide), "\n") {
		switch {
		case strings.HasPrefix(line, "`") && strings.HasSuffix(line, ".txt`"):
			data, err := os.ReadFile(filepath.Join("testdata", strings.Trim(line, "`")))
			if err != nil {
				t.Fatalf("line %d: %v", n+1, err)
			}
			story = typed(string(data))
		case line == "```sh":
			if inBlock = true; story == "" {
				t.Errorf("line %d: these commands are from no test", n+1)
			}
		case strings.HasPrefix(line, "```"):
			if inBlock {
				story = ""
			}
			inBlock = false
		case inBlock && strings.TrimSpace(line) != "":
			commands++
			command, _, _ := strings.Cut(line, "   #")
			if !strings.Contains(story, typed(strings.TrimSpace(command))) {
				t.Errorf("line %d: no test runs %s", n+1, line)
			}
		}
	}
	if commands < 25 {
		t.Errorf("found %d commands in the guide", commands)
	}
}

// typed is a story as a person would type it: without what a test has in place of a terminal and of a folder of its own.
func typed(story string) string {
	return strings.NewReplacer(
		" --yes", "", " --data data", "", " --memory memory", "", " --memory stick/memory", "", "''", "'",
	).Replace(story)
}

// TestOperatorGuideIsWhole: the guide has every command of operators, and every flag of it.
func TestOperatorGuideIsWhole(t *testing.T) {
	guide, err := os.ReadFile(filepath.Join("..", "..", "docs", "guide-operator.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{
		"status", "requests", "request export", "request show", "request import", "request abort",
		"sitting plan", "sitting export", "sitting import", "recover", "renew", "audit",
		"root invite", "root show", "rotate", "rehearse", "drill", "restore", "signer", "signer new-key",
	} {
		if !strings.Contains(string(guide), "bailiwick "+command) {
			t.Errorf("the guide lacks bailiwick %s", command)
		}
		var out bytes.Buffer
		env := &cli.Env{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &out, Getenv: func(string) string { return "" }, Now: time.Now}
		if code := cli.Main(t.Context(), append(strings.Fields(command), "--help"), env, rehearsal.Commands); code != 0 {
			t.Fatalf("%s --help: %d %s", command, code, out.String())
		}
		for _, word := range strings.FieldsFunc(out.String(), func(r rune) bool { return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyz-", r) }) {
			if strings.HasPrefix(word, "--") && word != "--help" && word != "--passphrase-file" && !strings.Contains(string(guide), word) {
				t.Errorf("the guide lacks %s of bailiwick %s", word, command)
			}
		}
	}
}

// TestFolderOfSomebodyElse: whoever may not open the data folder, or may not write into it, is told what to do instead.
func TestFolderOfSomebodyElse(t *testing.T) {
	for _, cause := range []error{fs.ErrPermission, ledger.ErrReadOnly} {
		err := cli.ExplainFolder("/srv/index", fmt.Errorf("opening: %w", cause))
		if text := err.Error(); !errors.Is(err, cause) || !strings.Contains(text, "/srv/index") || !strings.Contains(text, "use --index with an operator token") ||
			!strings.Contains(text, "run this as the one that the server runs as") {
			t.Errorf("%v is told as %q", cause, text)
		}
	}
	if other := errors.New("other"); cli.ExplainFolder("/srv/index", other) != other { //nolint:errorlint // the very same
		t.Error("another error is told as one of ownership")
	}
}
