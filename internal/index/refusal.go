package index

import (
	"fmt"
	"strings"

	"example.com/bailiwick/internal/ceremony"
	"example.com/bailiwick/tuf"
)

// Kind says what sort of mistake a [Refusal] is. The set is closed; whoever speaks to the user has
// one table from kind to status.
type Kind int

// The kinds, with the HTTP status that fits each.
const (
	Invalid         Kind = iota + 1 // 400: the request, the form, or the file is wrong
	Unauthenticated                 // 401: no token was sent
	Forbidden                       // 403: the token is unknown, revoked, or has no right to this
	NotFound                        // 404: no such project or file
	Exists                          // 400 or 409: the file name was used before, for other bytes; the message begins "File already exists"
	Gone                            // 410: an action that indexes no longer have
	TooLarge                        // 413: over a limit of size
	Busy                            // 503: too much to do just now; the same request will work in a moment
	Unavailable                     // 503: the index can not publish until somebody mends it (disk full, clock wrong)
	Conflict                        // 409: a signing request is not based on the newest version; make it anew on Refusal.Version
)

// String returns a stable word for logs and metrics.
func (k Kind) String() string {
	words := [...]string{
		Invalid: "invalid", Unauthenticated: "unauthenticated", Forbidden: "forbidden", NotFound: "not-found",
		Exists: "exists", Gone: "gone", TooLarge: "too-large", Busy: "busy", Unavailable: "unavailable",
		Conflict: "conflict",
	}
	if k <= 0 || int(k) >= len(words) {
		return fmt.Sprintf("kind(%d)", int(k))
	}
	return words[k]
}

// Refusal is everything that the user can mend, or has to be told to try again. An error of this
// package that is no *Refusal is the index's own fault, and its text is for the log only.
type Refusal struct { //nolint:errname // the word for what it is; an error only in passing
	Kind Kind
	// Message is one sentence that says what is wrong and what to do: printable ASCII, at most 200
	// bytes, so that it can be the reason phrase of an HTTP response, which is all that some upload
	// tools show.
	Message string
	// Detail is more of the same for tools that show a body; may be empty.
	Detail string
	// Err is the cause, for the log and for errors.Is; may be nil.
	Err error

	// Reason is the finer reason of a refused signing request; empty for everything else.
	Reason ceremony.Reason
	// Role and Version say, of a Conflict, which role has which newest version.
	Role    tuf.RoleName
	Version int64
}

// maxMessage bounds Refusal.Message, in bytes.
const maxMessage = 200

// Error implements error.
func (r *Refusal) Error() string {
	if r.Detail == "" {
		return r.Message
	}
	return r.Message + ": " + r.Detail
}

// Unwrap returns the cause.
func (r *Refusal) Unwrap() error { return r.Err }

// refuse makes a refusal whose message is safe to show whatever the user's input was.
func refuse(kind Kind, format string, args ...any) *Refusal {
	return &Refusal{Kind: kind, Message: phrase(fmt.Sprintf(format, args...))}
}

// because adds the cause, whose text becomes the detail.
func (r *Refusal) because(err error) *Refusal {
	r.Err = err
	r.Detail = err.Error()
	return r
}

// phrase makes text fit for a reason phrase: one line of printable ASCII of bounded length.
func phrase(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\r' || r == '\t':
			return ' '
		case r < ' ' || r > '~':
			return '?'
		}
		return r
	}, s)
	if len(s) > maxMessage {
		s = s[:maxMessage-3] + "..."
	}
	return s
}
