package arch_test

import (
	"encoding/json"
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = "example.com/bailiwick"

// storeys is the table of docs/architecture.md: a package imports from
// storeys below its own, and beside it only what sideways names.
var storeys = map[string]int{
	"tuf":                    1,
	"tuf/cjson":              1,
	"tuf/key":                1,
	"internal/pypi":          1,
	"internal/pypi/dist":     1,
	"internal/pypi/simple":   1,
	"internal/pypi/distmake": 1,
	"internal/parallel":      1,

	"tuf/trust":       2,
	"tuf/repo":        2,
	"internal/policy": 2,

	// Signing requests are about what the client workflow verified and what the topology says.
	"internal/ceremony": 2,
	"internal/audit":    2,
	"internal/sitting":  2,

	// The public record of changed keys is checked by whoever reads it.
	"internal/record": 2,

	"tuf/client":       3,
	"internal/custody": 3,
	"internal/publish": 3,
	"internal/index":   3,
	"internal/verify":  3,

	"internal/durable": 4,
	"internal/problem": 4,
	"internal/ledger":  4,
	"internal/files":   4,
	"internal/keys":    4,
	"internal/server":  4,
	"internal/proxy":   4,

	"internal/keys/pkcs11": 4,
	"internal/keys/agent":  4,
	"internal/keys/prompt": 4,

	"internal/cli":        5,
	"internal/rehearsal":  5,
	"internal/signtool":   5,
	"cmd/bailiwick":       6,
	"cmd/bailiwick-sign":  6,
	"cmd/tuf-conformance": 6,
}

// sideways lists the imports allowed within a storey.
var sideways = map[string][]string{
	"tuf":                    {"tuf/cjson", "tuf/key"},
	"internal/pypi/dist":     {"internal/pypi"},
	"internal/pypi/simple":   {"internal/pypi"},
	"internal/pypi/distmake": {"internal/pypi", "internal/pypi/dist"},
	"internal/policy":        {"tuf/repo"},
	"internal/ceremony":      {"internal/policy", "tuf/trust"},
	"internal/sitting":       {"internal/ceremony", "internal/policy", "tuf/repo", "tuf/trust"},
	"internal/audit":         {"internal/ceremony", "internal/policy", "internal/record", "tuf/trust"},
	"internal/publish":       {"internal/custody"}, // what it proposes to the isolated signer
	"internal/index":         {"internal/publish"},
	"internal/verify":        {"tuf/client"},
	"internal/ledger":        {"internal/durable"},
	"internal/files":         {"internal/durable"},
	"internal/keys":          {"internal/durable", "internal/keys/pkcs11"},
	"internal/keys/agent":    {"internal/keys"},
	"internal/server":        {"internal/durable", "internal/problem"},
	"internal/proxy":         {"internal/durable", "internal/problem"},
	"internal/rehearsal":     {"internal/cli", "internal/signtool"}, // whose commands it types
}

// testOnly packages are imported by tests alone.
var testOnly = []string{
	"internal/arch", "internal/needs", "internal/testrepo", "tuf/client/storetest", "internal/ledger/ledgertest",
	"internal/publish/publishtest",
	"internal/files/filestest", "internal/keys/keystest", "internal/keys/prompt/prompttest", "internal/e2e",
}

// impure names what storeys 1 and 2 must not import: the world outside.
var impure = []string{"os", "net", "net/http", "log", "log/slog", "os/exec", "database/sql", "syscall", "math/rand", "math/rand/v2"}

// offEngines names what engines leave to adapters.
var offEngines = []string{"os", "net", "net/http", "os/exec", "database/sql", "syscall"}

type pkg struct {
	ImportPath string
	Dir        string
	Imports    []string
	GoFiles    []string
}

func list(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Dir,Imports,GoFiles", module+"/...")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var pkgs []pkg
	for dec := json.NewDecoder(strings.NewReader(string(out))); dec.More(); {
		var p pkg
		if err := dec.Decode(&p); err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
	if len(pkgs) < 10 {
		t.Fatalf("go list found %d packages; this test would prove nothing", len(pkgs))
	}
	return pkgs
}

func short(path string) (string, bool) {
	if path == module {
		return ".", true
	}
	return strings.CutPrefix(path, module+"/")
}

func TestImportsPointDown(t *testing.T) {
	for _, p := range list(t) {
		name, _ := short(p.ImportPath)
		if slices.Contains(testOnly, name) {
			continue
		}
		level, known := storeys[name]
		if !known {
			t.Errorf("%s stands on no storey: give it one in this test and in docs/architecture.md", name)
			continue
		}
		for _, imp := range p.Imports {
			to, ours := short(imp)
			if !ours {
				continue
			}
			if slices.Contains(testOnly, to) {
				t.Errorf("%s imports %s, which is for tests only", name, to)
				continue
			}
			if storeys[to] < level || slices.Contains(sideways[name], to) {
				continue
			}
			t.Errorf("%s (storey %d) imports %s (storey %d): arrows point down only", name, level, to, storeys[to])
		}
	}
}

func TestPureStoreysTouchNothing(t *testing.T) {
	for _, p := range list(t) {
		name, _ := short(p.ImportPath)
		level := storeys[name]
		if level == 0 || level > 3 {
			continue
		}
		deny := offEngines
		if level < 3 {
			deny = impure
		}
		if name == "internal/pypi/distmake" { // seeded, so that equal arguments give equal bytes
			deny = slices.DeleteFunc(slices.Clone(deny), func(s string) bool { return s == "math/rand/v2" })
		}
		if name == "tuf/client" { // its fetcher and store are the one exception
			deny = []string{"database/sql", "os/exec"}
		}
		for _, imp := range p.Imports {
			if slices.Contains(deny, imp) {
				t.Errorf("%s (storey %d) imports %s", name, level, imp)
			}
		}
	}
}

func TestLibraryStandsOnTheStandardLibrary(t *testing.T) {
	for _, p := range list(t) {
		name, _ := short(p.ImportPath)
		if name != "tuf" && !strings.HasPrefix(name, "tuf/") {
			continue
		}
		for _, imp := range p.Imports {
			to, ours := short(imp)
			if ours && to != "tuf" && !strings.HasPrefix(to, "tuf/") {
				t.Errorf("%s imports %s: tuf/... imports only itself", name, to)
			}
			if !ours && strings.Contains(strings.Split(imp, "/")[0], ".") {
				t.Errorf("%s imports %s: tuf/... stays on the standard library", name, imp)
			}
		}
	}
}

func TestEverythingExplainsItself(t *testing.T) {
	for _, p := range list(t) {
		name, _ := short(p.ImportPath)
		fset := token.NewFileSet()
		var files []*ast.File
		for _, f := range p.GoFiles {
			file, err := parser.ParseFile(fset, filepath.Join(p.Dir, f), nil, parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			files = append(files, file)
		}
		if len(files) == 0 {
			continue
		}
		d, err := doc.NewFromFiles(fset, files, p.ImportPath)
		if err != nil {
			t.Fatal(err)
		}
		if len(strings.Fields(d.Doc)) < 8 {
			t.Errorf("%s: the package comment says too little: %q", name, d.Doc)
		}
		reportBare(t, name, d)
	}
}

func reportBare(t *testing.T, name string, d *doc.Package) {
	t.Helper()
	bare := func(kind, id, text string) {
		if text == "" {
			t.Errorf("%s: exported %s %s has no doc comment", name, kind, id)
		}
	}
	for _, f := range d.Funcs {
		bare("function", f.Name, f.Doc)
	}
	for _, v := range slices.Concat(d.Consts, d.Vars) {
		if v.Doc == "" && !valueSpecsCommented(v.Decl) {
			bare("value", strings.Join(v.Names, ", "), "")
		}
	}
	for _, typ := range d.Types {
		bare("type", typ.Name, typ.Doc)
		for _, f := range slices.Concat(typ.Funcs, typ.Methods) {
			if isWellKnown(f.Name) {
				continue
			}
			bare("method", typ.Name+"."+f.Name, f.Doc)
		}
	}
}

// isWellKnown excuses methods whose meaning the standard library fixes.
func isWellKnown(name string) bool {
	return slices.Contains([]string{"Error", "Unwrap", "String", "Is", "Read", "Write", "Close", "ReadAt", "Seek", "ServeHTTP"}, name)
}

func valueSpecsCommented(d *ast.GenDecl) bool {
	for _, s := range d.Specs {
		v, ok := s.(*ast.ValueSpec)
		if !ok || (v.Doc == nil && v.Comment == nil) {
			return false
		}
	}
	return true
}

// TestSecurityPageNamesRealTests keeps docs/security.md honest: a test that it names must exist.
func TestSecurityPageNamesRealTests(t *testing.T) {
	page, err := os.ReadFile("../../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]bool{}
	declared := regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	for _, p := range list(t) {
		files, err := filepath.Glob(filepath.Join(p.Dir, "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			source, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range declared.FindAllSubmatch(source, -1) {
				tests[path.Base(p.ImportPath)+"."+string(m[1])] = true
			}
		}
	}
	for _, file := range []string{"swaps_test.go", "headline_test.go"} { // a module of its own
		source, err := os.ReadFile(filepath.Join("..", "..", "interop", "gotuf", file))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range declared.FindAllSubmatch(source, -1) {
			tests["gotuf."+string(m[1])] = true
		}
	}
	named := regexp.MustCompile("`([a-z]+\\.Test\\w+)(?:/[a-z+-]+)?`").FindAllSubmatch(page, -1)
	if len(named) < 30 {
		t.Fatalf("the page names %d tests; this check reads it wrong", len(named))
	}
	for _, m := range named {
		if !tests[string(m[1])] {
			t.Errorf("docs/security.md names %s, which does not exist", m[1])
		}
	}
}

// TestSecurityPageHasEveryDrill: the compromise table has a line for each row of bailiwick drill, with its test, and no other. That
// the drill runs the commands of the line is rehearsal.TestR61Drill.
func TestSecurityPageHasEveryDrill(t *testing.T) {
	page, err := os.ReadFile("../../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("../rehearsal/drillplay.go")
	if err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile(`\{Name: "([a-z+-]+)"`).FindAllSubmatch(source, -1)
	lines := regexp.MustCompile("(?m)^\\| `([a-z+-]+)` \\|.*$").FindAllSubmatch(page, -1)
	if len(rows) < 15 || len(lines) != len(rows) {
		t.Fatalf("%d rows of the drill, %d lines of the page", len(rows), len(lines))
	}
	for i, r := range rows {
		if string(lines[i][1]) != string(r[1]) {
			t.Errorf("line %d of the table is about %s, and row %d of the drill about %s", i+1, lines[i][1], i+1, r[1])
		}
		if !strings.Contains(string(lines[i][0]), "`rehearsal.TestR61Drill/"+string(r[1])+"`") {
			t.Errorf("the line of %s does not name its test", r[1])
		}
	}
}
