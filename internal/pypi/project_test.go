package pypi_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"example.com/bailiwick/internal/pypi"
)

func TestParseProjectAgreesWithReference(t *testing.T) {
	for _, row := range readVectors(t, "names.tsv", 2) {
		give, want := text(t, row[0]), text(t, row[1])
		p, err := pypi.ParseProject(give)
		if err != nil || p.String() != want {
			t.Errorf("ParseProject(%q) = %q, %v; want %q", give, p, err, want)
		}
		if got := pypi.IsNormalized(give); got != (give == want) {
			t.Errorf("IsNormalized(%q) = %v", give, got)
		}
		if !pypi.IsNormalized(want) {
			t.Errorf("IsNormalized(%q) = false", want)
		}
	}
}

func TestParseProjectRefuses(t *testing.T) {
	for _, give := range []string{
		"", "-", ".", "_", "-a", "a-", "a.", "_a", "a b", " a", "a\n", "a/b", `a\b`, "..", "../x", "a/../b", "é", "a\x00", "a\xff",
		"\u017f", "\u212a", // Unicode folds these to s and k
		strings.Repeat("a", pypi.MaxProjectLength+1),
	} {
		p, err := pypi.ParseProject(give)
		var syntax *pypi.SyntaxError
		if !errors.As(err, &syntax) || syntax.Input != give || syntax.Reason == "" {
			t.Errorf("ParseProject(%q) = %q, %v; want a *SyntaxError", give, p, err)
		}
		if !p.IsZero() {
			t.Errorf("ParseProject(%q) returned %q beside an error", give, p)
		}
		if pypi.IsNormalized(give) {
			t.Errorf("IsNormalized(%q) = true", give)
		}
	}
	if _, err := pypi.ParseProject(strings.Repeat("a", pypi.MaxProjectLength)); err != nil {
		t.Errorf("the longest name is refused: %v", err)
	}
}

func TestIsNormalizedRefusesOtherSpellings(t *testing.T) {
	for _, give := range []string{"Flask", "a_b", "a.b", "a--b", "a-b-"} {
		if pypi.IsNormalized(give) {
			t.Errorf("IsNormalized(%q) = true", give)
		}
	}
}

func TestSyntaxErrorIsShortAndOnOneLine(t *testing.T) {
	_, err := pypi.ParseProject("x\r\n\x1b[31m" + strings.Repeat("é", 5000))
	if got := err.Error(); len(got) > 700 || strings.ContainsAny(got, "\r\n\x1b") {
		t.Errorf("message of %d bytes: %q", len(got), got)
	}
}

func TestProjectAsText(t *testing.T) {
	var got struct{ P pypi.Project }
	if err := json.Unmarshal([]byte(`{"P":"Foo.Bar"}`), &got); err != nil || got.P.String() != "foo-bar" {
		t.Errorf("decoded %q, %v", got.P, err)
	}
	if data, err := json.Marshal(got); err != nil || string(data) != `{"P":"foo-bar"}` {
		t.Errorf("encoded %s, %v", data, err)
	}
	if err := json.Unmarshal([]byte(`{"P":"../x"}`), &got); err == nil {
		t.Error("decoded a name that is none")
	}
}

func FuzzParseProject(f *testing.F) {
	for _, s := range []string{"Flask", "a-_.b", "", "-", "a/b", "a\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := pypi.ParseProject(s)
		if err != nil {
			if pypi.IsNormalized(s) {
				t.Errorf("%q is normalised but refused: %v", s, err)
			}
			return
		}
		if !pypi.IsNormalized(p.String()) {
			t.Errorf("ParseProject(%q) = %q, not normalised", s, p)
		}
		if again, err := pypi.ParseProject(p.String()); err != nil || again != p {
			t.Errorf("parsing %q again gives %q, %v", p, again, err)
		}
		if (p.String() == s) != pypi.IsNormalized(s) {
			t.Errorf("IsNormalized(%q) = %v, normal form %q", s, pypi.IsNormalized(s), p)
		}
	})
}
