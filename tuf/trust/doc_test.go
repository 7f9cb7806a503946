package trust_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// folders are the packages that docs/spec-map.md names, by the name it gives them.
var folders = map[string]string{
	"trust": ".", "tuf": "..", "cjson": "../cjson", "key": "../key", "repo": "../repo", "client": "../client",
	"conformance": "../../cmd/tuf-conformance",
}

// rules are all that docs/spec-map.md must have a row for: prefix and highest number.
var rules = map[string]int{"M": 8, "K": 7, "R": 15, "U": 31, "Q": 6, "POL": 14}

// TestMapOfSteps holds docs/spec-map.md, and the table of the package comment, against
// the code: each function and each test that they name exists, no rule is missing, and
// the two agree.
func TestMapOfSteps(t *testing.T) {
	names := map[string]bool{} // "trust.Set.Find"
	comment := ""
	for pkg, dir := range folders {
		found, doc := declared(t, dir)
		for _, name := range found {
			names[pkg+"."+name] = true
		}
		if pkg == "trust" {
			comment = doc
		}
	}
	page, err := os.ReadFile("../../docs/spec-map.md")
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]bool{}  // rules
	steps := map[string]bool{} // "5.3.4 rootSignedByBoth TestRootRotations"
	for line := range strings.Lines(string(page)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if !strings.HasPrefix(line, "| ") || strings.Contains(cells[0], "rule") {
			continue
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		if len(cells) < 5 {
			t.Errorf("a row of %d cells: %s", len(cells), line)
			continue
		}
		function, test := strings.Trim(cells[len(cells)-3], "`"), strings.Trim(cells[len(cells)-2], "`")
		for _, name := range []string{function, test} {
			if !names[name] {
				t.Errorf("%s: there is no %s", cells[0], name)
			}
		}
		if !strings.Contains(test, ".Test") || strings.Contains(function, ".Test") || cells[len(cells)-1] == "" {
			t.Errorf("%s: %s, %s, %q", cells[0], function, test, cells[len(cells)-1])
		}
		have[cells[0]] = true
		if len(cells) == 6 {
			steps[cells[1]+" "+strings.TrimPrefix(function, "trust.")+" "+strings.TrimPrefix(test, "trust.")] = true
		}
	}
	for prefix, n := range rules {
		for i := 1; i <= n; i++ {
			if rule := fmt.Sprint(prefix, i); !have[rule] {
				t.Errorf("%s has no row", rule)
			}
		}
	}
	comparesWith(t, comment, steps)
}

// comparesWith asserts that every row of the package comment is one of the page's.
func comparesWith(t *testing.T, comment string, steps map[string]bool) {
	t.Helper()
	row := regexp.MustCompile(`^\t(\d+\.[\d.]+)\s+(\S+)\s+(\S+)\s+(\S.*)$`)
	rows := 0
	for line := range strings.Lines(comment) {
		m := row.FindStringSubmatch(strings.TrimRight(line, "\n"))
		if m == nil {
			continue
		}
		rows++
		if key := strings.Join(m[1:4], " "); !steps[key] {
			t.Errorf("docs/spec-map.md has no row for %s", key)
		}
	}
	if rows < 30 || len(steps) < rows {
		t.Errorf("%d rows of the comment and %d of the page were read; this test would prove little", rows, len(steps))
	}
}

// declared returns the functions and methods of a folder, and its package comment.
func declared(t *testing.T, dir string) (names []string, comment string) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		if filepath.Base(path) == "doc.go" {
			comment = f.Doc.Text()
		}
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			name := fn.Name.Name
			if fn.Recv != nil {
				name = receiver(fn.Recv.List[0].Type) + "." + name
			}
			names = append(names, name)
		}
	}
	return names, comment
}

func receiver(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return receiver(e.X)
	case *ast.IndexExpr:
		return receiver(e.X)
	case *ast.Ident:
		return e.Name
	}
	return ""
}
