package trust

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"example.com/bailiwick/tuf"
)

// Code names why something was refused. Codes are stable: messages, exit
// statuses, documentation and tests use the same words.
type Code string

// Why metadata, or a target file, is refused. The list is closed.
const (
	Expired     Code = "expired"       // its time is over at the start of this update: somebody may be freezing us
	Rollback    Code = "rollback"      // older than what was trusted before, or no longer listed
	Threshold   Code = "threshold"     // too few good signatures by distinct keys of the role
	Length      Code = "length"        // more or fewer bytes than listed, or more than Limits accept
	Hash        Code = "hash"          // the bytes are not the listed ones
	Malformed   Code = "malformed"     // not the metadata that it should be
	Unsupported Code = "unsupported"   // a version of the specification, or a hash algorithm, that we do not know
	Version     Code = "version"       // a root that is not exactly the next one; in Stage, a version that is published already
	MixAndMatch Code = "mix-and-match" // not the version that its parent pins, or made for another role
	Missing     Code = "missing"       // delegated or pinned, yet not there
	Unavailable Code = "unavailable"   // the bytes could not be obtained: says nothing about the repository's honesty
	Limit       Code = "limit"         // more roots, or a search over more roles or bytes, than Limits allow
)

// A RefusedError says that something was not accepted, and by which step of
// the specification. What was trusted before stays trusted.
type RefusedError struct {
	Code    Code         // why
	Role    tuf.RoleName // whose metadata; for a target file, the role that lists it
	Version int64        // version claimed by the refused file; 0 if unknown
	Step    string       // section number of the TUF specification 1.0.34, such as "5.4.3.1"
	Err     error        // what exactly; never nil
}

// Error implements error. What comes from metadata is quoted where it could do harm in a
// terminal or a log.
func (e *RefusedError) Error() string {
	var b strings.Builder
	b.WriteString("refused ")
	b.WriteString(shown(string(e.Role)))
	if e.Version > 0 {
		fmt.Fprintf(&b, " version %d", e.Version)
	}
	fmt.Fprintf(&b, " (%s, TUF %s): %v", e.Code, e.Step, e.Err)
	return b.String()
}

// shown returns a name as it is if all of it can be printed, and quoted otherwise.
func shown(name string) string {
	if strings.ContainsFunc(name, func(r rune) bool { return !strconv.IsGraphic(r) }) {
		return strconv.QuoteToGraphic(name)
	}
	return name
}

// Unwrap returns what exactly was wrong.
func (e *RefusedError) Unwrap() error { return e.Err }

// ErrNotFound says that the repository, as verified, does not list a path. It
// is never used where something could not be loaded or verified.
var ErrNotFound = errors.New("no role that may list it does")

// refuse makes a RefusedError with a formatted cause.
func refuse(code Code, role tuf.RoleName, version int64, step, format string, args ...any) *RefusedError {
	return &RefusedError{Code: code, Role: role, Version: version, Step: step, Err: fmt.Errorf(format, args...)}
}
