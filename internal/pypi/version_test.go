package pypi_test

import (
	"cmp"
	"errors"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"example.com/bailiwick/internal/pypi"
)

func TestParseVersionAgreesWithReference(t *testing.T) {
	for _, row := range readVectors(t, "versions.tsv", 4) {
		give := text(t, row[0])
		v, err := pypi.ParseVersion(give)
		if refused(row[1]) {
			var syntax *pypi.SyntaxError
			if !errors.As(err, &syntax) {
				t.Errorf("ParseVersion(%q) = %q, %v; want a *SyntaxError", give, v, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("ParseVersion(%q): %v", give, err)
			continue
		}
		if want := text(t, row[1]); v.String() != want {
			t.Errorf("ParseVersion(%q) = %q, want %q", give, v, want)
		}
		if want := text(t, row[2]); v.Canonical() != want {
			t.Errorf("canonical form of %q is %q, want %q", give, v.Canonical(), want)
		}
		if want := row[3] == "true"; v.IsPrerelease() != want {
			t.Errorf("%q: IsPrerelease = %v", give, v.IsPrerelease())
		}
	}
}

// TestCompareAgreesWithReference compares neighbours and random pairs of a
// list that the reference sorted.
func TestCompareAgreesWithReference(t *testing.T) {
	type ranked struct {
		rank int
		v    pypi.Version
	}
	var all []ranked
	for _, row := range readVectors(t, "order.tsv", 2) {
		rank, err := strconv.Atoi(row[0])
		if err != nil {
			t.Fatal(err)
		}
		v, err := pypi.ParseVersion(text(t, row[1]))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, ranked{rank, v})
	}
	check := func(a, b ranked) {
		if got, want := a.v.Compare(b.v), cmp.Compare(a.rank, b.rank); got != want {
			t.Errorf("Compare(%s, %s) = %d, want %d", a.v, b.v, got, want)
		}
		if same := a.v.Canonical() == b.v.Canonical(); same != (a.rank == b.rank) {
			t.Errorf("%s and %s: canonical forms equal is %v", a.v, b.v, same)
		}
	}
	for i := 1; i < len(all); i++ {
		check(all[i-1], all[i])
		check(all[i], all[i-1])
	}
	r := rand.New(rand.NewPCG(4, 40))
	for range 200_000 {
		check(all[r.IntN(len(all))], all[r.IntN(len(all))])
	}
}

// versions draws versions as people write them.
func versions() *rapid.Generator[string] {
	pattern := `(v)?([0-9]!)?(0|1|2|10|20240101)(\.(0|0|1|12)){0,4}([-_.]?(a|b|c|rc|alpha|beta|pre|preview)[-_.]?[0-3]?)?` +
		`(-[0-3]|[-_.]?(post|rev|r)[-_.]?[0-3]?)?([-_.]?dev[-_.]?[0-3]?)?(\+[a-c0-3]{1,3}([-_.][a-c0-3]{1,3}){0,2})?`
	return rapid.StringMatching(pattern)
}

func mustVersion(t interface{ Fatalf(string, ...any) }, s string) pypi.Version {
	v, err := pypi.ParseVersion(s)
	if err != nil {
		t.Fatalf("ParseVersion(%q): %v", s, err)
	}
	return v
}

func TestCompareIsAnOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := mustVersion(t, versions().Draw(t, "a")), mustVersion(t, versions().Draw(t, "b")), mustVersion(t, versions().Draw(t, "c"))
		if a.Compare(b) != -b.Compare(a) {
			t.Errorf("%s and %s: not antisymmetric", a, b)
		}
		if a.Compare(b) <= 0 && b.Compare(c) <= 0 && a.Compare(c) > 0 {
			t.Errorf("%s ≤ %s ≤ %s, but not the first and the last", a, b, c)
		}
	})
}

func TestVersionBounds(t *testing.T) {
	if _, err := pypi.ParseVersion(strings.Repeat("1", pypi.MaxVersionLength)); err != nil {
		t.Errorf("the longest version is refused: %v", err)
	}
	if _, err := pypi.ParseVersion(strings.Repeat("1", pypi.MaxVersionLength+1)); err == nil {
		t.Error("a version beyond the bound is taken")
	}
}

func TestZeroVersion(t *testing.T) {
	var v pypi.Version
	if !v.IsZero() || v.String() != "" || v.Canonical() != "" {
		t.Errorf("zero version: %v %q %q", v.IsZero(), v, v.Canonical())
	}
	if mustVersion(t, "0").IsZero() {
		t.Error("version 0 counts as none")
	}
}

func TestVersionLocal(t *testing.T) {
	if got := mustVersion(t, "1.0+Ubuntu-01").Local(); got != "ubuntu.1" {
		t.Errorf("Local = %q", got)
	}
	if got := mustVersion(t, "1.0").Local(); got != "" {
		t.Errorf("Local = %q", got)
	}
}

func FuzzParseVersion(f *testing.F) {
	for _, s := range []string{"1.0", "v1!2.0-RC.1-3-dev+a_b", "1.0a-", "1.0--1", "", "1..", " 1 "} {
		f.Add(s, "1.0")
	}
	f.Fuzz(func(t *testing.T, s, s2 string) {
		v, err := pypi.ParseVersion(s)
		if err != nil {
			return
		}
		again, err := pypi.ParseVersion(v.String())
		if err != nil || again.String() != v.String() || again.Compare(v) != 0 {
			t.Errorf("%q: normal form %q reads as %q, %v", s, v, again, err)
		}
		if c, err := pypi.ParseVersion(v.Canonical()); err != nil || c.Compare(v) != 0 {
			t.Errorf("%q: canonical form %q is another version: %v", s, v.Canonical(), err)
		}
		if w, err := pypi.ParseVersion(s2); err == nil && (v.Compare(w) == 0) != (v.Canonical() == w.Canonical()) {
			t.Errorf("%q and %q: Compare %d, canonical %q and %q", s, s2, v.Compare(w), v.Canonical(), w.Canonical())
		}
	})
}

func BenchmarkParseVersion(b *testing.B) {
	for b.Loop() {
		if _, err := pypi.ParseVersion("2024.10.1rc2"); err != nil {
			b.Fatal(err)
		}
	}
}
