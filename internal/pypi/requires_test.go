package pypi_test

import (
	"errors"
	"strings"
	"testing"

	"example.com/bailiwick/internal/pypi"
)

func TestCheckRequiresPythonAgreesWithReference(t *testing.T) {
	for _, row := range readVectors(t, "specifiers.tsv", 2) {
		give := text(t, row[0])
		if give == "===" {
			continue // the reference takes it; a clause that compares with nothing is a mistake
		}
		if err := pypi.CheckRequiresPython(give); (err != nil) != refused(row[1]) {
			t.Errorf("CheckRequiresPython(%q): %v", give, err)
		}
	}
}

func TestCheckRequiresPythonRefuses(t *testing.T) {
	for _, give := range []string{
		"===", "=== \x00", "===é", ">=3\x00", "≥3", ">=3\r\nX: y",
		strings.Repeat(">=3,", pypi.MaxSpecifiers+1),
		strings.Repeat(" ", pypi.MaxSpecifierLength+1),
	} {
		var syntax *pypi.SyntaxError
		if err := pypi.CheckRequiresPython(give); !errors.As(err, &syntax) {
			t.Errorf("CheckRequiresPython(%.40q): %v, want a *SyntaxError", give, err)
		}
	}
	if err := pypi.CheckRequiresPython(strings.Repeat(">=3,", pypi.MaxSpecifiers)); err != nil {
		t.Errorf("the longest set is refused: %v", err)
	}
}

func FuzzCheckRequiresPython(f *testing.F) {
	for _, row := range readVectors(f, "specifiers.tsv", 2) {
		f.Add(text(f, row[0]))
	}
	f.Fuzz(func(t *testing.T, s string) {
		if pypi.CheckRequiresPython(s) != nil {
			return
		}
		for i := range len(s) { // what is taken goes into a page as it is
			if c := s[i]; c > '~' || c < ' ' && !strings.ContainsRune("\t\n\v\f\r", rune(c)) {
				t.Errorf("%q was taken", s)
			}
		}
	})
}
