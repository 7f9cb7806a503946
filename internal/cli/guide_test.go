package cli_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestUserGuide: the guide names tests that exist, and its commands are those of the installing user's
// stories, but for addresses, folders and hashes.
func TestUserGuide(t *testing.T) {
	guide, err := os.ReadFile(filepath.Join("..", "..", "docs", "guide-user.md"))
	if err != nil {
		t.Fatal(err)
	}
	sources := readAll(t, "*_test.go") + readAll(t, filepath.Join("..", "verify", "*_test.go"))
	for _, m := range regexp.MustCompile("`(cli|verify)\\.(Test[A-Za-z0-9]+)(/[a-z_]+)?`").FindAllStringSubmatch(string(guide), -1) {
		if !strings.Contains(sources, "func "+m[2]+"(") {
			t.Errorf("there is no test %s.%s", m[1], m[2])
		}
		if m[3] == "" {
			continue
		}
		found, err := filepath.Glob(filepath.Join("testdata", "*", m[3][1:]+".txt"))
		if err != nil || len(found) == 0 {
			t.Errorf("there is no story %s%s", m[2], m[3])
		}
	}
	scripts := readAll(t, filepath.Join("testdata", "*", "*.txt")) + sources
	for _, m := range regexp.MustCompile(`(?m)^\$ (bailiwick [a-z]+( [a-z]+| --)?)(.*)$`).FindAllStringSubmatch(string(guide), -1) {
		if !strings.Contains(scripts, m[1]) && !strings.Contains(readAll(t, filepath.Join("..", "e2e", "*_test.go")), strings.TrimPrefix(m[1], "bailiwick ")) {
			t.Errorf("no story has %q", m[1])
		}
		for _, option := range regexp.MustCompile(`--[a-z][a-z-]+`).FindAllString(m[3], -1) {
			if !strings.Contains(scripts, option) {
				t.Errorf("no story has the option %s of %q", option, m[0])
			}
		}
	}
}

func readAll(t *testing.T, pattern string) string {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	if err != nil || len(paths) == 0 {
		t.Fatalf("%s: %v", pattern, err)
	}
	var b strings.Builder
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		b.Write(data)
	}
	return b.String()
}
