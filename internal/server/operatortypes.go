package server

import "time"

// The bodies of the operators' API, /api/v1/operator. Times are RFC 3339, UTC. Signing requests themselves travel in the
// form of package sitting, one JSON value a line.

// OperatorRequestsAnswer lists signing requests of operators.
type OperatorRequestsAnswer struct {
	Requests []OperatorRequestAnswer `json:"requests"`
}

// OperatorRequestAnswer is where a signing request of operators stands.
type OperatorRequestAnswer struct {
	ID       string    `json:"id"`
	Kind     string    `json:"kind"`  // what it is about, in one word
	Title    string    `json:"title"` // the same in a few words
	State    string    `json:"state"` // open, published, aborted, expired, overtaken
	Created  time.Time `json:"created"`
	Expires  time.Time `json:"expires"`
	Token    string    `json:"token"` // that brought it
	By       string    `json:"by,omitempty"`
	Note     string    `json:"note,omitempty"`
	Payloads int       `json:"payloads"` // roles that it gives a new version
	// Missing are the signatures that it waits for, summed up by who can give them; Next says in one
	// sentence what has to happen, and Blocks what can not happen before.
	Missing []OperatorMissingAnswer `json:"missing"`
	Next    string                  `json:"next,omitempty"`
	Blocks  string                  `json:"blocks,omitempty"`
	// Problem says why it can not be published any more: it was overtaken by another publication. Stale: it is open all the same.
	Stale       bool   `json:"stale,omitempty"`
	Problem     string `json:"problem,omitempty"`
	Publication int64  `json:"publication,omitempty"` // that executed it
}

// OperatorMissingAnswer says which signatures a group of roles still needs: any Need of Keys.
type OperatorMissingAnswer struct {
	Role    string   `json:"role"`  // the first of them
	Roles   int      `json:"roles"` // how many they are
	Need    int      `json:"need"`
	Keys    []string `json:"keys"`
	Holders []string `json:"holders,omitempty"` // who holds the keys, in their order, as far as it is known; else ""
	Why     string   `json:"why,omitempty"`
}

// OperatorOutcomeAnswer says what became of a signing request that was brought in.
type OperatorOutcomeAnswer struct {
	ID          string                  `json:"id"`
	Publication int64                   `json:"publication,omitempty"` // that executed it; 0: it waits
	Already     bool                    `json:"already,omitempty"`     // it was published before
	New         int                     `json:"new"`                   // signatures that were not known
	Missing     []OperatorMissingAnswer `json:"missing,omitempty"`
	Next        string                  `json:"next,omitempty"`
}

// SittingBody asks for a sitting.
type SittingBody struct {
	// MinAge is how many seconds a claim has to be old to be promoted; nil: the standard, two weeks.
	MinAge *int64   `json:"min_age,omitempty"`
	Only   []string `json:"only,omitempty"`   // projects; none: all
	Except []string `json:"except,omitempty"` // projects
	Park   []string `json:"park,omitempty"`   // projects
	// Popular are projects in the order of their rank, the most popular first: what the summary points out.
	Popular []string `json:"popular,omitempty"`
	// Renew takes in what expires before the next sitting, and All every offline role but root, due or
	// not. Root takes in root. Promote false leaves out promotions.
	Renew   bool   `json:"renew,omitempty"`
	All     bool   `json:"all,omitempty"`
	Root    bool   `json:"root,omitempty"`
	Promote bool   `json:"promote"`
	By      string `json:"by,omitempty"`
	Note    string `json:"note,omitempty"`
}

// SittingAnswer is a sitting that was planned.
type SittingAnswer struct {
	OperatorRequestAnswer
	// Summary is what the request would change, in lines for people.
	Summary []string `json:"summary"`
}

// NothingAnswer is the answer, with status 200, where a sitting would change nothing and nothing is due: no request was opened.
type NothingAnswer struct {
	Nothing NothingToDoAnswer `json:"nothing"`
}

// NothingToDoAnswer says when there will be something to do.
type NothingToDoAnswer struct {
	Waiting int        `json:"waiting"`         // recently claimed projects whose claim is not old enough
	First   *time.Time `json:"first,omitempty"` // when the first of them is
	Due     time.Time  `json:"due"`             // from when on a sitting renews something
}

// StatusAnswer says how an index is, and who has to do what by when.
type StatusAnswer struct {
	// State is healthy, attention (somebody has to act within 30 days, or a request waits) or failing
	// (something has expired, or publishing fails).
	State       string     `json:"state"`
	Publication int64      `json:"publication"`
	Published   time.Time  `json:"published"`
	Waiting     int        `json:"waiting"`           // changes in the publisher's queue
	Failure     string     `json:"failure,omitempty"` // of the last publication
	FailedAt    *time.Time `json:"failed_at,omitempty"`
	// Duties are the roles of the repository by who renews them, the most urgent first.
	Duties   []DutyAnswer            `json:"duties"`
	Requests []OperatorRequestAnswer `json:"requests"` // open ones
	// Recoveries are those that are announced or asked for.
	Recoveries []RecoveryAnswer `json:"recoveries"`
	Record     RecordHeadAnswer `json:"record"`
	Root       RootAnswer       `json:"root"`
	// Signer is how the isolated signer is doing; absent in custody standard.
	Signer *SignerAnswer `json:"signer,omitempty"`
	// Stopped: no server runs, and the command that asks looked itself. The API never sets it.
	Stopped bool `json:"stopped,omitempty"`
}

// SignerAnswer is how the isolated signer of an index is doing.
type SignerAnswer struct {
	Connected bool       `json:"connected"`
	Since     *time.Time `json:"since,omitempty"`    // when it came, or went; absent: it never came since the server started
	Answered  *time.Time `json:"answered,omitempty"` // when it last signed or refused something
	Waiting   int        `json:"waiting"`            // changes that are kept until it signs them
}

// DutyAnswer is a kind of role, and who renews it by when.
type DutyAnswer struct {
	Who     string    `json:"who"`     // server, signer, operators, maintainers
	Kind    string    `json:"kind"`    // root, targets, claimed, claimed bin, unclaimed, unclaimed bin, project, snapshot, timestamp
	Outlook string    `json:"outlook"` // fine, due, late, expired
	Roles   int       `json:"roles"`
	Due     int       `json:"due"`     // of them, to be renewed now
	Late    int       `json:"late"`    // of them, that should have been renewed by themselves
	Expired int       `json:"expired"` // of them
	First   string    `json:"first"`   // the role that expires first
	Opens   time.Time `json:"opens"`   // from when on one of them can be renewed
	By      time.Time `json:"by"`      // when the first expires
	Request string    `json:"request,omitempty"`
	Next    string    `json:"next,omitempty"`
}

// RecordHeadAnswer is the head of the public record.
type RecordHeadAnswer struct {
	Length int64  `json:"length"`
	Head   string `json:"head"`
}

// RootAnswer is the root in force.
type RootAnswer struct {
	Version int64     `json:"version"`
	Expires time.Time `json:"expires"`
	First   string    `json:"first"` // SHA-256 of version 1, by which the repository is known
}
