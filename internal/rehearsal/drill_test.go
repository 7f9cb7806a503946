package rehearsal_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"example.com/bailiwick/internal/cli"
	"example.com/bailiwick/internal/rehearsal"
)

// drillAnswer is what bailiwick drill --json prints.
type drillAnswer struct {
	Rows []struct {
		Row      string   `json:"row"`
		OK       bool     `json:"ok"`
		Problem  string   `json:"problem"`
		Held     int      `json:"checks_held"`
		Recovery float64  `json:"recovery_seconds"`
		People   string   `json:"people"`
		Commands []string `json:"commands"`
		Facts    []struct {
			Step, Who, Project, Outcome, Text string
		} `json:"facts"`
	} `json:"rows"`
}

func drill(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	env := cli.OSEnv()
	var out, problems bytes.Buffer
	env.Stdout, env.Stderr = &out, &problems
	code = cli.Main(t.Context(), append([]string{"drill"}, args...), env, rehearsal.Commands)
	return code, out.String(), problems.String()
}

// drillRows rehearses rows, and hands out each in a subtest of its name.
func drillRows(t *testing.T, rows ...string) {
	t.Helper()
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	code, stdout, stderr := drill(t, append(rows, "--json")...)
	var answer drillAnswer
	if err := json.Unmarshal([]byte(stdout), &answer); err != nil {
		t.Fatalf("%v\n%s\n%s", err, stdout, stderr)
	}
	ok := true
	for _, r := range answer.Rows {
		t.Run(r.Row, func(t *testing.T) {
			for _, want := range playbook(t, r.Row) {
				if !slices.ContainsFunc(r.Commands, func(ran string) bool { return strings.Contains(ran+" ", "$ "+want+" ") }) {
					t.Errorf("docs/security.md says %q, and the drill ran\n%s", want, strings.Join(r.Commands, "\n"))
				}
			}
			if !r.OK || r.Held < 60 || len(r.Commands) == 0 || r.People == "" || r.Recovery <= 0 {
				t.Errorf("%t, %d checks, %d commands, %s: %s", r.OK, r.Held, len(r.Commands), r.People, r.Problem)
			}
			recovered := 0
			for _, f := range r.Facts {
				if f.Step == "recovered" && f.Outcome == "newest" {
					recovered++
				}
			}
			if recovered < 3*10 {
				t.Errorf("%d times somebody recovered", recovered)
			}
			t.Logf("%d checks, recovery in %.1f s", r.Held, r.Recovery)
		})
		ok = ok && r.OK
	}
	if len(answer.Rows) == 0 || ok != (code == 0) {
		t.Errorf("%d rows, and it ended with %d: %s", len(answer.Rows), code, stderr)
	}
	if left, err := filepath.Glob(filepath.Join(temp, "*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// playbook returns the commands in the line of docs/security.md about a row, up to their first option or placeholder.
func playbook(t *testing.T, row string) []string {
	t.Helper()
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "security.md"))
	if err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile("(?m)^\\| `" + regexp.QuoteMeta(row) + "` \\|.*$").FindString(string(page))
	cells := strings.Split(line, " | ")
	if len(cells) != 6 {
		t.Fatalf("the line about %s has %d cells", row, len(cells))
	}
	var out []string
	for _, m := range regexp.MustCompile("`bailiwick( [a-z]+)((?: [a-z][a-z-]*)*)").FindAllStringSubmatch(cells[3], -1) {
		out = append(out, "bailiwick"+m[1]+m[2])
	}
	return out
}

// R61, R64: every row of the compromise table, from the theft to the recovery of users who pinned the first root.
func TestR61Drill(t *testing.T) {
	drillRows(t, "--all")
}

// The list has every row once, and rows that are not there are refused.
func TestDrillList(t *testing.T) {
	code, stdout, stderr := drill(t, "--list")
	if code != 0 || !strings.Contains(stdout, "timestamp+snapshot+claimed ") {
		t.Errorf("%d: %s%s", code, stdout, stderr)
	}
	for args, want := range map[string]string{"": "name a row", "nothing": `there is no row "nothing"`, "server --all": "name rows, or --all"} {
		if code, _, stderr := drill(t, strings.Fields(args)...); code != 2 || !strings.Contains(stderr, want) {
			t.Errorf("drill %s: %d: %s", args, code, stderr)
		}
	}
}
