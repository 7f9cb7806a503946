package pypi

import (
	"strconv"
	"strings"
)

// Bounds of a specifier set.
const (
	MaxSpecifierLength = 1024 // bytes of the whole set
	MaxSpecifiers      = 64   // clauses of the set
)

// CheckRequiresPython reports whether s is a specifier set of PEP 440, such as
// ">=3.9,!=3.9.1", that an index page may carry as requires-python. The empty
// set is allowed and means any Python. It checks the syntax only: the
// installer decides what the set admits. A refusal is a *[SyntaxError].
func CheckRequiresPython(s string) error {
	fail := func(reason string) error {
		return &SyntaxError{What: "Requires-Python", Input: s, Reason: reason}
	}
	if len(s) > MaxSpecifierLength {
		return fail("it is longer than " + strconv.Itoa(MaxSpecifierLength) + " bytes; use fewer clauses")
	}
	n := 0
	for clause := range strings.SplitSeq(s, ",") {
		clause = strings.Trim(clause, " \t\n\v\f\r")
		if clause == "" {
			continue // installers accept a trailing comma, so projects have them
		}
		if n++; n > MaxSpecifiers {
			return fail("it has more than " + strconv.Itoa(MaxSpecifiers) + " clauses; use fewer")
		}
		if reason := checkSpecifier(clause); reason != "" {
			return fail(reason)
		}
	}
	return nil
}

// checkSpecifier checks one clause and returns what is wrong, or "".
func checkSpecifier(clause string) string {
	operator := clause[:len(clause)-len(strings.TrimLeft(clause, "<>=!~"))]
	operand := strings.Trim(clause[len(operator):], " \t\n\v\f\r")
	switch operator {
	case "===":
		if operand == "" || strings.ContainsAny(operand, " \t\n\v\f\r;)") || !isPrintable(operand) {
			return "after === stands one word"
		}
		return ""
	case "==", "!=":
		if prefix, ok := strings.CutSuffix(operand, ".*"); ok {
			v, err := ParseVersion(prefix)
			if err != nil || v.pre != "" || v.post != "" || v.dev != "" || v.local != nil {
				return quote(operand) + " is not plain numbers followed by .*"
			}
			return ""
		}
	case "~=", "<=", ">=", "<", ">":
		if strings.HasSuffix(operand, ".*") {
			return ".* may follow == and != only; write >=3.9, not >=3.9.*"
		}
	default:
		return "clause " + quote(clause) + " must begin with one of ~= == != <= >= < > ==="
	}
	v, err := ParseVersion(operand)
	switch {
	case err != nil:
		return quote(operand) + " is not a version"
	case operator == "~=" && len(v.release) < 2:
		return "~= needs a version of at least two numbers, such as ~=3.9"
	case v.local != nil && operator != "==" && operator != "!=":
		return "a local version (+…) may follow == and != only"
	}
	return ""
}

func isPrintable(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
