package tuf

import (
	"errors"
	"fmt"
	"unicode/utf8"
)

// ErrPattern is returned by ValidatePattern.
var ErrPattern = errors.New("not a usable path pattern")

// ValidatePattern returns an error that matches ErrPattern if a pattern would match
// nothing, or is longer than parsers accept. Writers refuse such patterns.
func ValidatePattern(pattern string) error {
	reason := ""
	switch {
	case pattern == "":
		reason = "empty"
	case len(pattern) > MaxTargetPath:
		reason = fmt.Sprintf("longer than %d bytes", MaxTargetPath)
	case !utf8.ValidString(pattern):
		reason = "not UTF-8"
	case !wellFormed(pattern):
		reason = `"[" without "]" in the same segment, or a range that runs backwards`
	}
	if reason != "" {
		return fmt.Errorf("%w: %.60q: %s", ErrPattern, pattern, reason)
	}
	return nil
}

// wellFormed reports whether every set of a pattern is.
func wellFormed(pattern string) bool {
	for i := 0; i < len(pattern); {
		n := 1
		if pattern[i] == '[' {
			if _, n = matchSet(pattern[i:], 0); n == 0 {
				return false
			}
		}
		i += n
	}
	return true
}

// MatchPattern reports whether a path pattern of a delegation (4.5) matches a path.
//
//   - any run of characters, none included
//     ?       one character
//     [abc]   one of these characters; also ranges: [a-z0-9]
//     [!abc]  one character that is none of these
//
// None of them matches a slash. A "]" right after "[" or "[!" belongs to the set, as
// does a "-" at either end of it. There is no escape: a backslash is a backslash.
// Characters are those of UTF-8, and case matters on every system.
//
// A pattern that is not well-formed matches nothing. Whoever decides about access by
// patterns must use this function and no other, client and writer alike. Its time is
// bounded by the product of the lengths of one segment of pattern and path.
func MatchPattern(pattern, path string) bool {
	p, s := 0, 0
	// Where to go on if what follows the last star does not match: the star takes one
	// character more. Earlier stars need not be tried again, and none reaches over a
	// slash.
	star, resume := -1, 0
	for s < len(path) || p < len(pattern) {
		if p < len(pattern) {
			if pattern[p] == '*' {
				star, resume = p, s
				p++
				continue
			}
			if s < len(path) {
				pn, sn := step(pattern[p:], path[s:])
				if pn > 0 {
					if path[s] == '/' {
						star = -1
					}
					p, s = p+pn, s+sn
					continue
				}
			}
		}
		if star < 0 || resume >= len(path) || path[resume] == '/' {
			return false
		}
		_, n := utf8.DecodeRuneInString(path[resume:])
		resume += n
		p, s = star+1, resume
	}
	return true
}

// step matches what is not a star at the beginning of pattern against the first
// character of path. It returns the lengths of both, or zero if they do not match.
func step(pattern, path string) (int, int) {
	switch pattern[0] {
	case '?':
		if path[0] == '/' {
			return 0, 0
		}
		_, n := utf8.DecodeRuneInString(path)
		return 1, n
	case '[':
		r, n := utf8.DecodeRuneInString(path)
		matched, length := matchSet(pattern, r)
		if !matched || r == '/' {
			return 0, 0
		}
		return length, n
	default:
		if pattern[0] != path[0] {
			return 0, 0
		}
		return 1, 1
	}
}

// matchSet reports whether the set at the beginning of pattern contains r, and the
// length of the set; zero if it is not well-formed.
func matchSet(pattern string, r rune) (matched bool, length int) {
	i := 1
	negated := i < len(pattern) && pattern[i] == '!'
	if negated {
		i++
	}
	for first := true; ; first = false {
		if i >= len(pattern) {
			return false, 0
		}
		if pattern[i] == ']' && !first {
			return matched != negated, i + 1
		}
		low, n := utf8.DecodeRuneInString(pattern[i:])
		i += n
		high := low
		if i+1 < len(pattern) && pattern[i] == '-' && pattern[i+1] != ']' {
			high, n = utf8.DecodeRuneInString(pattern[i+1:])
			i += 1 + n
		}
		if low == '/' || high == '/' || low > high {
			return false, 0
		}
		if low <= r && r <= high {
			matched = true
		}
	}
}
