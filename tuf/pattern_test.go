package tuf_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"

	"example.com/bailiwick/tuf"
)

func TestMatchPattern(t *testing.T) {
	for _, test := range []struct {
		pattern, path string
		want          bool
	}{
		{"a", "a", true},
		{"a", "b", false},
		{"a", "ab", false},
		{"ab", "a", false},
		{"a", "A", false},
		{"", "", true},
		{"", "a", false},
		{"a", "", false},

		{"*", "a", true},
		{"*", "abc", true},
		{"*", "", true},
		{"*", "a/b", false},
		{"*/*", "a/b", true},
		{"*/*", "a", false},
		{"*/*", "a/b/c", false},
		{"*/*/*", "3f/flask/x.whl", true},
		{"a*", "a", true},
		{"a*", "abc", true},
		{"a*", "ba", false},
		{"*a", "a", true},
		{"*a", "ba", true},
		{"*a", "ab", false},
		{"a*b*c", "abc", true},
		{"a*b*c", "aXbYc", true},
		{"a*b*c", "acb", false},
		{"a*b*c", "abcbc", true},
		{"**", "abc", true},
		{"**", "a/b", false},
		{"***a", "a", true},
		{"a**", "a", true},
		{"*/a", "x/y/a", false},
		{"a/*", "a/", true},
		{"a/*", "a", false},
		{"a*/b", "a/b", true},
		{"a*/b", "ac/b", true},
		{"a*/b", "a/c/b", false},
		{"*.whl", "x.whl", true},
		{"*.whl", ".whl", true},
		{"*.whl", "x.whl.asc", false},
		{"x*/y*", "xa/yb", true},
		{"x*/y*", "xa/zb", false},

		{"?", "a", true},
		{"?", "", false},
		{"?", "ab", false},
		{"?", "/", false},
		{"a?c", "abc", true},
		{"a?c", "a/c", false},
		{"?", "é", true},
		{"?", "😀", true},
		{"??", "é", false},
		{"*?", "a", true},
		{"*?", "", false},
		{"?*", "ab", true},

		{"[a]", "a", true},
		{"[a]", "b", false},
		{"[abc]", "b", true},
		{"[a-c]", "b", true},
		{"[a-c]", "d", false},
		{"[a-c]", "-", false},
		{"[a-cx-z]", "y", true},
		{"[a-]", "-", true},
		{"[a-]", "b", false},
		{"[-a]", "-", true},
		{"[]]", "]", true},
		{"[]a]", "a", true},
		{"[!a]", "b", true},
		{"[!a]", "a", false},
		{"[!a]", "!", true},
		{"[!a]", "/", false},
		{"[!a]", "", false},
		{"[!]]", "]", false},
		{"[!]]", "a", true},
		{"[!a-c]", "d", true},
		{"[!a-c]", "b", false},
		{"[a!]", "!", true},
		{"[^a]", "^", true},
		{"[^a]", "a", true},
		{"[^a]", "b", false},
		{"[é]", "é", true},
		{"[à-ü]", "é", true},
		{"[!é]", "é", false},
		{"[!a]", "é", true},
		{"[[]", "[", true},
		{"[*]", "*", true},
		{"[*]", "a", false},
		{"[?]x", "?x", true},
		{"x[0-9][0-9]", "x42", true},
		{"[ab]*[ab]", "axb", true},
		{"*[ab]", "xxa", true},
		{"[.-0]", "/", false},
		{`[\]`, `\`, true},
		{"[--0]", "/", false},
		{"[--0]", ".", true},
		{"[a-b-c]", "-", true},
		{"[a-b-c]", "c", true},

		// Not well-formed: nothing matches, not even the same text.
		{"[", "[", false},
		{"[a", "[a", false},
		{"[a", "a", false},
		{"[]", "]", false},
		{"[]", "[]", false},
		{"[!]", "!", false},
		{"[!", "a", false},
		{"[z-a]", "b", false},
		{"[a/b]", "a", false},
		{"[/]", "/", false},
		{"x[a", "x[a", false},
		{"*[", "[", false},
		{"a/[", "a/[", false},
		{"[a-", "a", false},
		{"[a-/]", "a", false},

		// There is no escape.
		{`\*`, `\x`, true},
		{`\*`, `*`, false},
		{`\a`, `a`, false},
		{`a\`, `a\`, true},
		{"{a,b}", "a", false},
		{"{a,b}", "{a,b}", true},
		{"a+", "aa", false},
		{".", "a", false},
	} {
		if got := tuf.MatchPattern(test.pattern, test.path); got != test.want {
			t.Errorf("%q matches %q: %v, want %v", test.pattern, test.path, got, test.want)
		}
	}
}

func TestValidatePattern(t *testing.T) {
	for pattern, ok := range map[string]bool{
		"a": true, "*/*/*": true, "3f/flask/*": true, "[!a-z]?": true, "[]]": true, `\`: true, strings.Repeat("a", tuf.MaxTargetPath): true,
		"": false, "[": false, "a[": false, "[]": false, "[!]": false, "[z-a]": false, "[a/b]": false, "\xff": false, "[\xff]": false,
		"x/[a/y]": false, strings.Repeat("a", tuf.MaxTargetPath+1): false,
	} {
		err := tuf.ValidatePattern(pattern)
		if (err == nil) != ok || err != nil && !errors.Is(err, tuf.ErrPattern) {
			t.Errorf("%.20q: %v", pattern, err)
		}
	}
}

// naiveMatch says the same in another way: patterns and paths are cut into segments,
// and each segment is matched by trying every possibility.
func naiveMatch(pattern, path string) bool {
	ps, ss := naiveSegments(pattern), strings.Split(path, "/")
	if ps == nil || len(ps) != len(ss) {
		return false
	}
	for i := range ps {
		if !naiveSegment(ps[i], []rune(ss[i])) {
			return false
		}
	}
	return true
}

// token is one element of a pattern: a star, or a test of one character.
type token struct {
	star bool
	test func(rune) bool
}

// naiveSegments returns the tokens of each segment, nil for a pattern that is not
// well-formed.
func naiveSegments(pattern string) [][]token {
	out := [][]token{nil}
	add := func(t token) { out[len(out)-1] = append(out[len(out)-1], t) }
	rs := []rune(pattern)
	for i := 0; i < len(rs); i++ {
		c := rs[i]
		switch c {
		case '/':
			out = append(out, nil)
		case '*':
			add(token{star: true})
		case '?':
			add(token{test: func(rune) bool { return true }})
		case '[':
			j := i + 1
			negated := j < len(rs) && rs[j] == '!'
			if negated {
				j++
			}
			end := j + 1 // the first character always belongs to the set
			for end < len(rs) && rs[end] != ']' {
				end++
			}
			if end >= len(rs) {
				return nil
			}
			set := rs[j:end]
			type span struct{ low, high rune }
			var spans []span
			for len(set) > 0 {
				if len(set) >= 3 && set[1] == '-' {
					spans, set = append(spans, span{set[0], set[2]}), set[3:]
				} else {
					spans, set = append(spans, span{set[0], set[0]}), set[1:]
				}
			}
			for _, s := range spans {
				if s.low > s.high || s.low == '/' || s.high == '/' {
					return nil
				}
			}
			add(token{test: func(r rune) bool {
				return negated != slices.ContainsFunc(spans, func(s span) bool { return s.low <= r && r <= s.high })
			}})
			i = end
		default:
			add(token{test: func(r rune) bool { return r == c }})
		}
	}
	return out
}

func naiveSegment(p []token, s []rune) bool {
	switch {
	case len(p) == 0:
		return len(s) == 0
	case p[0].star:
		return naiveSegment(p[1:], s) || len(s) > 0 && naiveSegment(p, s[1:])
	default:
		return len(s) > 0 && p[0].test(s[0]) && naiveSegment(p[1:], s[1:])
	}
}

func TestMatchPatternLikeModel(t *testing.T) {
	letters := rapid.RuneFrom([]rune("ab/é*?[]!-\\"))
	rapid.Check(t, func(t *rapid.T) {
		pattern := rapid.StringOfN(letters, 0, 10, -1).Draw(t, "pattern")
		path := rapid.StringOfN(rapid.RuneFrom([]rune("ab/é*[]!-\\")), 0, 8, -1).Draw(t, "path")
		if got, want := tuf.MatchPattern(pattern, path), naiveMatch(pattern, path); got != want {
			t.Fatalf("%q matches %q: %v, the model says %v", pattern, path, got, want)
		}
		if valid := naiveSegments(pattern) != nil && pattern != ""; valid != (tuf.ValidatePattern(pattern) == nil) {
			t.Fatalf("%q: valid %v, ValidatePattern says %v", pattern, valid, tuf.ValidatePattern(pattern))
		}
	})
}

func FuzzMatchPattern(f *testing.F) {
	for _, seed := range [][2]string{
		{"*/*/*", "3f/flask/x.whl"}, {"a*b*c", "aXbYc"}, {"[!a-c]?", "dé"}, {"[]a", "]"}, {"[z-a]", "b"}, {"*[", "["}, {"**/", "a/"}, {"a/b", "a/b"},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, pattern, path string) {
		if len(pattern) > 60 || len(path) > 60 || strings.Count(pattern, "*") > 8 {
			return // the model takes exponential time
		}
		got := tuf.MatchPattern(pattern, path)
		if !utf8.ValidString(pattern) || !utf8.ValidString(path) {
			return // it must not panic
		}
		if want := naiveMatch(pattern, path); got != want {
			t.Fatalf("%q matches %q: %v, the model says %v", pattern, path, got, want)
		}
	})
}

// The worst patterns cost the product of the lengths, not a power of them.
func TestMatchPatternIsNotExponential(t *testing.T) {
	pattern := strings.Repeat("*a", 500) + "b"
	path := strings.Repeat("a", tuf.MaxTargetPath)
	done := make(chan bool, 1)
	go func() { done <- tuf.MatchPattern(pattern, path) }()
	select {
	case got := <-done:
		if got {
			t.Error("it matches")
		}
	case <-time.After(time.Minute):
		t.Fatal("still matching after a minute")
	}
}
