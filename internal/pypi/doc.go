// Package pypi holds the names of the Python packaging world as values that
// are made safe once: project names, versions and distribution file names.
//
// Every value is built by a parse function only, and each parse function
// bounds its input. A Project, a Version or a Filename that exists is
// therefore well formed: it holds no path separator, no control or non-ASCII
// byte, and it can go into a path, a URL or a page without a second check.
//
// Specifications: names and normalisation (PEP 503, PEP 508), versions and
// specifiers (PEP 440), wheel file names (PEP 427), source distribution file
// names (PEP 625).
//
// The package is pure: no file, socket, clock or logger. All values are
// immutable and safe for concurrent use.
package pypi

import "strconv"

// maxQuoted is how much of a refused input an error message repeats, in bytes.
const maxQuoted = 80

// SyntaxError reports that a text is not what it should be.
type SyntaxError struct {
	What   string // what the text was taken for, such as "project name"
	Input  string // the text as given; may be long, hostile or empty
	Reason string // what is wrong and what to do
}

// Error names the text (shortened and quoted) and says what to do about it.
func (e *SyntaxError) Error() string {
	return e.What + " " + quote(e.Input) + " is not valid: " + e.Reason
}

// quote quotes s for a message and shortens it, so that a hostile input can
// neither break a log line nor fill it.
func quote(s string) string {
	if len(s) > maxQuoted {
		return strconv.QuoteToASCII(s[:maxQuoted]) + "…"
	}
	return strconv.QuoteToASCII(s)
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

func isAlnum(c byte) bool { return isDigit(c) || isLetter(c) }

// lower is strings.ToLower for bytes that are known to be ASCII.
func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}
