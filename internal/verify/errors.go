package verify

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/client"
	"example.com/bailiwick/tuf/trust"
)

// Class tells the four kinds of trouble apart. Each has its own sentence and its own exit code.
type Class string

// The classes.
const (
	// NotFound: the verified repository does not list it. Nothing is wrong with the repository.
	NotFound Class = "not found"
	// Refused: a file, or the list of one project's files, is not what was signed. Exit code 3.
	Refused Class = "refused"
	// Unusable: metadata is expired, older than before, or not signed by enough keys. Exit code 4.
	Unusable Class = "unusable"
	// Unreachable: the repository could not be asked. Exit code 5.
	Unreachable Class = "unreachable"
)

// Content is what a file was measured to be, or should have been.
type Content struct {
	SHA256 string `json:"sha256"` // lower-case hex
	Length int64  `json:"length"` // bytes; -1: not known
}

// Error is why an installer does not get what it asked for. Its JSON form is what the journal keeps
// and what `bailiwick why ID --json` prints.
type Error struct {
	// ID is short and stable: the same trouble with the same bytes has the same ID.
	ID    string    `json:"id"`
	Class Class     `json:"class"`
	Code  string    `json:"code"` // a trust.Code, or one of the Code constants here
	Time  time.Time `json:"time"`
	// Subject is the file or project concerned; empty when it is the whole repository.
	Subject string       `json:"subject,omitempty"`
	Role    tuf.RoleName `json:"role,omitempty"`    // the metadata at fault, if metadata is
	Version int64        `json:"version,omitempty"` // of Role; 0: unknown
	// Cause is one clause, lower case, without a full stop: "not the bytes its maintainers signed".
	Cause    string   `json:"cause"`
	Detail   string   `json:"detail,omitempty"`   // the underlying message
	Expected *Content `json:"expected,omitempty"` // what was signed
	Received *Content `json:"received,omitempty"` // what came
	SignedBy string   `json:"signed_by,omitempty"`
	// Project is whose signatures are at fault, or too little; empty for other trouble.
	Project string `json:"project,omitempty"`
	// Assurance is what the verified delegations say of Project now.
	Assurance string    `json:"assurance,omitempty"`
	Since     time.Time `json:"since,omitzero"` // since when Project is claimed, if they say so
	Rule      *Rule     `json:"rule,omitempty"` // of the configuration, that asks for more than Assurance
	Seen      *Seen     `json:"seen,omitempty"` // what Project was before, which was more than Assurance
	// Accepted is when the user took this all the same, by an override on the command line; zero: refused.
	Accepted time.Time `json:"accepted,omitzero"`
	Source   string    `json:"source"` // base URL of the repository, without credentials
	Err      error     `json:"-"`      // for errors.Is and errors.As; nil in an Error read from a journal
}

// Rule is a rule of the user's configuration.
type Rule struct {
	Assurance string `json:"assurance"` // what it asks for
	Pattern   string `json:"pattern"`   // of project names
	Origin    string `json:"origin"`    // "bailiwick.toml:7"
}

// Seen is what is remembered of a project.
type Seen struct {
	Assurance string `json:"assurance"` // the best that was seen
	Date      string `json:"date"`      // when it was last seen so, as YYYY-MM-DD
}

// Codes beside those of package trust.
const (
	CodeNotListed = "not-listed" // the verified repository does not list it
	CodeMetadata  = "metadata"   // the METADATA served beside a wheel is not the signed one
	CodeEntry     = "entry"      // the signed entry of a file cannot be used
	CodeNetwork   = "network"    // no answer, or an answer that says nothing
	CodeState     = "state"      // the local trust state could not be read or written
	CodeCache     = "cache"      // the local cache could not be written
	CodeMemory    = "memory"     // what earlier sessions saw can not be read
	CodeAssurance = "assurance"  // less assurance than a rule of the configuration requires
	CodeLowered   = "lowered"    // less assurance than the project had when it was seen before
)

// Error is the phrase.
func (e *Error) Error() string { return e.Phrase() }

// Unwrap gives the underlying error.
func (e *Error) Unwrap() error { return e.Err }

// Phrase is the one sentence that the terminal, the installer's output and the log all show. It has
// no line break and at most 180 bytes.
func (e *Error) Phrase() string {
	subject := shorten(e.Subject, 80)
	why := " (bailiwick why " + e.ID + ")"
	switch e.Class {
	case NotFound:
		return subject + " is not in the verified index"
	case Unreachable:
		if e.Code == CodeCache {
			return shorten(e.Cause, 180)
		}
		return shorten("cannot reach "+shorten(e.Source, 60)+": "+e.Cause, 180)
	case Unusable:
		if e.Code == CodeState || e.Code == CodeMemory {
			return shorten(e.Cause, 180)
		}
		if subject == "" {
			subject = shorten(e.Source, 60)
		}
		return shorten(subject+" cannot be used: "+e.Cause, 180-len(why)) + why
	case Refused:
	}
	return shorten(subject+" refused: "+e.Cause, 180-len(why)) + why
}

// Report is the longer form for a terminal: what was signed, what came, what it means, what next.
// Lines after the first are indented by two blanks. The caller puts the program's name in front.
func (e *Error) Report() []string {
	var lines []string
	add := func(format string, args ...any) { lines = append(lines, "  "+fmt.Sprintf(format, args...)) }
	switch e.Class {
	case NotFound:
		return []string{e.Phrase()}
	case Refused:
		word := "REFUSED "
		if !e.Accepted.IsZero() {
			word = "ACCEPTED "
		}
		lines = append(lines, word+e.Subject)
	case Unusable:
		subject := e.Subject
		if subject == "" {
			subject = e.Source
		}
		lines = append(lines, "UNUSABLE "+subject)
	case Unreachable:
		lines = append(lines, e.Phrase())
	}
	if e.Expected != nil {
		add("signed    %s%s", e.Expected, prefixed(", by ", e.SignedBy))
	}
	if e.Received != nil {
		add("received  %s, from %s", e.Received, e.Source)
	}
	if e.Received == nil && e.Class != Unreachable {
		add("%s", e.Cause)
	}
	if e.Detail != "" && e.Detail != e.Cause {
		add("%s", e.Detail)
	}
	if !e.Accepted.IsZero() {
		add("Accepted on the command line, on %s.", e.Accepted.Format(time.DateTime))
		return lines
	}
	meaning, next := e.advice()
	add("%s", meaning)
	add("next: %s", next)
	return lines
}

// advice says what the trouble means and what to do.
func (e *Error) advice() (meaning, next string) {
	switch e.Class {
	case Unreachable:
		if e.Code == CodeCache {
			return "The file could not be kept while it was being checked.", "free some space, or set XDG_CACHE_HOME to a folder with room"
		}
		return "Nothing was verified and nothing was refused.", "check the network and the index address, then run the command again"
	case Unusable:
		switch e.Code {
		case CodeMemory:
			return "Which projects their maintainers signed until now can not be known, so nothing is installed.",
				"restore that file, or remove it to begin to remember anew; for one project: " + overrideFor("PROJECT")
		case CodeState:
			return "This machine's own folder for what was verified could not be used; nothing is wrong with the index.",
				"free some space there, or mend its owner and mode; remove it only if it is damaged, for it remembers what you have seen"
		case string(trust.Expired):
			if e.maintained() {
				return "Expired is not attacked: its maintainers have not signed for a long time, or this machine's clock is wrong. " + e.onlyTheirs(),
					"check the clock here, then ask the maintainers of " + e.Project + " to sign it again"
			}
			return "Expired is not attacked: most often the index stopped renewing its metadata, or this machine's clock is wrong.",
				"check the clock here, then ask the operators of " + e.Source + " to renew it"
		}
		return "The index, or something between you and it, shows metadata that cannot be trusted. Nothing was accepted from it.",
			"try again later; if it stays, tell the operators of " + e.Source
	case NotFound, Refused:
	}
	switch e.Code {
	case string(trust.Hash), string(trust.Length), CodeMetadata:
		return "Nothing of it was installed. The index, or something between you and it, changed this file.",
			"try again later; if it stays, tell the operators of " + e.Source
	case CodeAssurance:
		return "Nothing of it was installed. Its signatures are good, but they are not what your configuration asks for.",
			"ask its maintainers to claim it (bailiwick claim), or change that rule"
	case CodeLowered:
		return "Nothing of it was installed. Somebody took the project from its maintainers' keys, or wants you to believe so.",
			"ask the operators of " + e.Source + " why; if you know the reason: " + overrideFor(e.Project)
	}
	if e.maintained() {
		return "Nothing of it was installed. " + e.onlyTheirs(),
			"try again later; if it stays, tell the maintainers of " + e.Project + " and the operators of " + e.Source
	}
	switch e.Code {
	case string(trust.Missing):
		return "Nothing of it was installed. The index signed for a file that it does not hand out.",
			"try again later; if it stays, tell the operators of " + e.Source
	}
	return "Nothing of it was installed. Its metadata does not lead back to the root you pinned.",
		"try again later; if it stays, tell the operators of " + e.Source
}

// maintained reports whether the trouble is with metadata that maintainers sign.
func (e *Error) maintained() bool {
	return e.Role != "" && e.Expected == nil && (e.Assurance == policy.Claimed.String() || e.Assurance == policy.RecentlyClaimed.String() ||
		e.Assurance == policy.ClaimedParked.String())
}

// onlyTheirs says why nobody else was asked.
func (e *Error) onlyTheirs() string {
	word := e.Assurance
	if !e.Since.IsZero() {
		word += " since " + day(e.Since)
	}
	if e.Assurance == policy.ClaimedParked.String() {
		return e.Project + " is " + word + ": only the offline keys of the index count, and nobody else was asked."
	}
	return e.Project + " is " + word + ": only the keys of its maintainers count, and nobody else was asked."
}

// Override is the option of bailiwick run that takes a project that was better before.
const Override = "--accept-lower-assurance-than-seen-for"

func overrideFor(project string) string {
	return "bailiwick run " + Override + " " + project + " -- COMMAND (bailiwick pip and bailiwick uv hand every argument on, so they have no such option)"
}

// String is the content in words: "sha256 1c2d…9e, 103,391 bytes".
func (c *Content) String() string {
	sum := c.SHA256
	if len(sum) > 16 {
		sum = sum[:8] + "…" + sum[len(sum)-4:]
	}
	switch {
	case sum == "":
		return thousands(c.Length) + " bytes"
	case c.Length < 0:
		return "sha256 " + sum
	}
	return "sha256 " + sum + ", " + thousands(c.Length) + " bytes"
}

func prefixed(prefix, s string) string {
	if s == "" {
		return ""
	}
	return prefix + s
}

// shorten keeps a phrase within a bound by cutting its middle.
func shorten(s string, most int) string {
	if len(s) <= most || most < 8 {
		return s
	}
	head := (most - 3) * 2 / 3
	tail := most - 3 - head
	return strings.ToValidUTF8(s[:head], "") + "..." + strings.ToValidUTF8(s[len(s)-tail:], "")
}

func thousands(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// newError completes e with its ID and time. The ID leaves out the time, so that a retry is the same
// trouble.
func (e *Engine) newError(err *Error) *Error {
	err.Subject, err.Cause, err.Detail = printable(err.Subject), printable(err.Cause), printable(err.Detail)
	err.Source = e.source
	err.Time = e.now().UTC().Truncate(time.Second)
	h := sha256.New()
	fmt.Fprintf(h, "%s\x00%s\x00%s\x00%s\x00%d\x00%s\x00", err.Class, err.Code, err.Subject, err.Role, err.Version, err.Source)
	fmt.Fprintf(h, "%s\x00%s\x00", err.Project, err.Assurance)
	for _, c := range []*Content{err.Expected, err.Received} {
		if c != nil {
			fmt.Fprintf(h, "%s\x00%d\x00", c.SHA256, c.Length)
		}
	}
	err.ID = hex.EncodeToString(h.Sum(nil))[:idDigits]
	if !err.Accepted.IsZero() {
		fmt.Fprintf(h, "accepted %d\x00", err.Accepted.UnixNano())
		err.ID = hex.EncodeToString(h.Sum(nil))[:idDigits]
	}
	return err
}

// idDigits is short enough to type and long enough to tell a few hundred apart.
const idDigits = 6

// printable makes text safe for a terminal: names of roles are chosen by those who sign them.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case r == utf8.RuneError || !unicode.IsPrint(r):
			return '?'
		}
		return r
	}, s)
}

// notListed is the answer for what the verified repository does not have.
func (e *Engine) notListed(subject string) *Error {
	return e.newError(&Error{
		Class: NotFound, Code: CodeNotListed, Subject: subject,
		Cause: "the verified index does not list it", Err: trust.ErrNotFound,
	})
}

// classify turns what tuf/client says into an Error. With an empty subject the whole repository is
// meant: then everything that is refused makes it unusable. Cancelled contexts stay as they are.
func (e *Engine) classify(subject string, err error) error {
	var (
		done    *Error
		refused *trust.RefusedError
		network *client.NetworkError
		state   *client.StoreError
		locked  *client.LockedError
	)
	switch {
	case err == nil:
		return nil
	case errors.As(err, &done):
		return done
	case errors.Is(err, context.Canceled):
		return err
	case errors.As(err, &network):
		return e.newError(&Error{Class: Unreachable, Code: CodeNetwork, Subject: subject, Cause: networkCause(network), Detail: network.Error(), Err: err})
	case errors.As(err, &state), errors.As(err, &locked):
		return e.newError(&Error{Class: Unusable, Code: CodeState, Subject: subject, Cause: err.Error(), Detail: prefixed("it is kept in ", e.state), Err: err})
	case errors.As(err, &refused):
		return e.newError(&Error{
			Class: classOf(subject, refused.Code), Code: string(refused.Code), Subject: subject, Role: refused.Role, Version: refused.Version,
			Cause: roleCause(refused), Detail: refused.Error(), Err: err,
		})
	case errors.Is(err, trust.ErrNotFound):
		return e.notListed(subject)
	case errors.Is(err, context.DeadlineExceeded):
		return e.newError(&Error{Class: Unreachable, Code: CodeNetwork, Subject: subject, Cause: "it did not answer in time", Err: err})
	}
	return e.newError(&Error{Class: Unreachable, Code: CodeNetwork, Subject: subject, Cause: err.Error(), Err: err})
}

func classOf(subject string, code trust.Code) Class {
	switch {
	case code == trust.Unavailable:
		return Unreachable
	case subject == "" || code == trust.Expired:
		return Unusable
	}
	return Refused
}

func networkCause(n *client.NetworkError) string {
	if n.Status != 0 {
		return fmt.Sprintf("it answered with status %d", n.Status)
	}
	cause := "no answer"
	for err := n.Err; err != nil; err = errors.Unwrap(err) {
		cause = err.Error() // the innermost says it shortest: "connection refused"
	}
	return cause
}

func roleVersion(r *trust.RefusedError) string {
	if r.Version > 0 {
		return fmt.Sprintf("%s version %d", r.Role, r.Version)
	}
	return string(r.Role)
}

// roleCause says in a clause what is wrong with a role's metadata.
func roleCause(r *trust.RefusedError) string {
	role := roleVersion(r)
	switch r.Code {
	case trust.Expired:
		return role + " is expired"
	case trust.Rollback:
		return role + " is older than what was trusted before"
	case trust.Threshold:
		return role + " is not signed by enough of its keys"
	case trust.MixAndMatch:
		return role + " is not the version that belongs to this moment"
	case trust.Missing:
		return role + " is missing"
	case trust.Length, trust.Hash:
		return role + " is not the file that was signed for"
	case trust.Version:
		return role + " does not follow the root trusted before"
	case trust.Unavailable:
		return role + " could not be fetched"
	case trust.Malformed, trust.Unsupported, trust.Limit:
		return role + " cannot be read: " + string(r.Code)
	}
	return role + ": " + string(r.Code)
}
