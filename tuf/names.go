package tuf

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"example.com/bailiwick/tuf/cjson"
)

// The bounds of names, in bytes.
const (
	MaxRoleName   = 256
	MaxTargetPath = 1024
	MaxKeyID      = 128
)

// ErrName is returned for a role name or target path that can not be used.
var ErrName = errors.New("not a usable name")

// RoleName is the name of a role: one of the four constants, or a delegated role.
// Made by ParseRoleName or found in verified metadata, it is not empty, has at most
// MaxRoleName bytes and is valid UTF-8. It is not a file name: it may contain
// slashes and dots, so whoever stores or requests a role must encode it.
type RoleName string

// The top-level roles.
const (
	RoleRoot      RoleName = "root"
	RoleTimestamp RoleName = "timestamp"
	RoleSnapshot  RoleName = "snapshot"
	RoleTargets   RoleName = "targets"
)

// ParseRoleName checks a role name. Its error matches ErrName.
func ParseRoleName(s string) (RoleName, error) {
	reason := roleNameProblem(s)
	if reason == "" && !utf8.ValidString(s) {
		reason = "not UTF-8"
	}
	if reason != "" {
		return "", fmt.Errorf("%w: role %.60q: %s", ErrName, s, reason)
	}
	return RoleName(s), nil
}

// TopLevel reports whether n is one of the four top-level roles, in any mixture of
// upper and lower case: on some file systems those are the same file.
func (n RoleName) TopLevel() bool {
	for _, top := range [...]RoleName{RoleRoot, RoleTimestamp, RoleSnapshot, RoleTargets} {
		if strings.EqualFold(string(n), string(top)) {
			return true
		}
	}
	return false
}

// CompareRoleNames orders roles as snapshot metadata lists them: by the bytes of
// their file names, NAME.json. That is not the order of the names themselves:
// "a-b" comes before "a", because "-" sorts before the dot of "a.json".
func CompareRoleNames(a, b RoleName) int {
	n := min(len(a), len(b))
	if c := strings.Compare(string(a[:n]), string(b[:n])); c != 0 {
		return c
	}
	return strings.Compare(string(a[n:])+metaSuffix, string(b[n:])+metaSuffix)
}

// metaSuffix is what snapshot and timestamp metadata append to a role name.
const metaSuffix = ".json"

// roleNameProblem says why a role name is refused. It does not look at its UTF-8, which a
// parser has seen to.
func roleNameProblem[S ~string | ~[]byte](s S) string {
	switch {
	case len(s) == 0:
		return "empty"
	case len(s) > MaxRoleName:
		return fmt.Sprintf("longer than %d bytes", MaxRoleName)
	default:
		return ""
	}
}

// roleNameProblem is the function of that name, under the limits of the file.
func (p *parser) roleNameProblem(s []byte) string {
	if most := p.limits.RoleNameBytes; len(s) > most {
		return fmt.Sprintf("longer than %d bytes (Limits.RoleNameBytes)", most)
	}
	return roleNameProblem(s)
}

// TargetPath is the path of a target: relative, with slashes, without empty, "." or
// ".." segments, backslashes and control characters, at most MaxTargetPath bytes
// long, valid UTF-8. Made by ParseTargetPath or found in verified metadata.
type TargetPath string

// ParseTargetPath checks a target path. Its error matches ErrName.
func ParseTargetPath(s string) (TargetPath, error) {
	var short [128]byte // on the stack: a writer calls this for each of many targets
	reason := targetPathProblem(append(short[:0], s...), true)
	if reason == "" && !utf8.ValidString(s) {
		reason = "not UTF-8"
	}
	if reason != "" {
		return "", fmt.Errorf("%w: target path %.60q: %s", ErrName, s, reason)
	}
	return TargetPath(s), nil
}

// targetPathProblem is the function of that name, under the limits of the file.
func (p *parser) targetPathProblem(s []byte, escaped bool) string {
	if most := p.limits.TargetPathBytes; len(s) > most {
		return fmt.Sprintf("longer than %d bytes (Limits.TargetPathBytes)", most)
	}
	return targetPathProblem(s, escaped)
}

// targetPathProblem says why a path is refused. It does not look at its UTF-8. What a
// parser found between quotes without an escape has no backslash and no control
// character but one; it need not be asked for them.
func targetPathProblem(s []byte, escaped bool) string {
	if len(s) > MaxTargetPath {
		return fmt.Sprintf("longer than %d bytes", MaxTargetPath)
	}
	if escaped {
		if !cjson.IsWire(s) {
			return "it has a control character"
		}
		if bytes.IndexByte(s, '\\') >= 0 {
			return "it has a backslash"
		}
	}
	if bytes.IndexByte(s, 0x7f) >= 0 {
		return "it has a control character"
	}
	for rest := s; ; {
		slash := bytes.IndexByte(rest, '/')
		segment := rest
		if slash >= 0 {
			segment = rest[:slash]
		}
		switch string(segment) {
		case "":
			return "it has an empty segment, or begins or ends with a slash"
		case ".", "..":
			return `it has a "." or ".." segment`
		}
		if slash < 0 {
			return ""
		}
		rest = rest[slash+1:]
	}
}
