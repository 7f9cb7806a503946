package trust_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestMapOfSteps holds the table of the package comment against the code: each
// function and each test that it names exists.
func TestMapOfSteps(t *testing.T) {
	fset := token.NewFileSet()
	names := map[string]bool{}
	var comment string
	paths, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		f, err := parser.ParseFile(fset, path, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		if path == "doc.go" {
			comment = f.Doc.Text()
		}
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok {
				name := fn.Name.Name
				if fn.Recv != nil {
					name = receiver(fn.Recv.List[0].Type) + "." + name
				}
				names[name] = true
			}
		}
	}
	row := regexp.MustCompile(`^\t(\d+\.[\d.]+)\s+(\S+)\s+(\S+)\s+(\S.*)$`)
	rows := 0
	for line := range strings.Lines(comment) {
		m := row.FindStringSubmatch(strings.TrimRight(line, "\n"))
		if m == nil {
			continue
		}
		rows++
		for _, name := range m[2:4] {
			if !names[name] {
				t.Errorf("step %s: there is no %s", m[1], name)
			}
		}
		if !strings.HasPrefix(m[3], "Test") {
			t.Errorf("step %s: %s is not a test", m[1], m[3])
		}
	}
	if rows < 30 {
		t.Errorf("%d rows of the table were read; this test would prove little", rows)
	}
}

func receiver(e ast.Expr) string {
	if star, ok := e.(*ast.StarExpr); ok {
		e = star.X
	}
	if id, ok := e.(*ast.Ident); ok {
		return id.Name
	}
	return ""
}
