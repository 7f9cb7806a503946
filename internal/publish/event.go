package publish

import (
	"time"

	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/tuf/key"
)

// EventKind says what happened to a project. The set is closed.
type EventKind string

// The kinds.
const (
	EventClaimed  EventKind = "claimed"
	EventReleased EventKind = "released"
	EventYanked   EventKind = "yanked"  // marks of files changed, in either direction
	EventRekeyed  EventKind = "rekeyed" // keys were added, or the threshold or recovery keys changed
	EventRevoked  EventKind = "revoked" // keys were taken away and none added
	EventStaged   EventKind = "staged"
	EventUnstaged EventKind = "unstaged"
	EventWaiting  EventKind = "waiting" // accepted; it is published when the index's signer has signed it
	EventOpened   EventKind = "request-opened"
	EventSigned   EventKind = "request-signed"
	EventAborted  EventKind = "request-aborted"
	// EventOvertaken: a request for other keys was closed, because another one was published first.
	EventOvertaken EventKind = "request-overtaken"
	// What operators do with their offline keys.
	EventPromoted          EventKind = "promoted"           // the offline keys vouch for the project's keys
	EventParked            EventKind = "parked"             // nobody answers; the offline key countersigned the list as it is
	EventRecoveryAnnounced EventKind = "recovery-announced" // the project will get other keys, unless its maintainers sign something
	EventRecoveryCancelled EventKind = "recovery-cancelled"
	EventRecovered         EventKind = "recovered"
)

// Event is one line of the record that the owners of a project see. Records are only ever
// appended.
type Event struct {
	ID          int64 // given by the ledger, rising; zero before
	Project     pypi.Project
	Kind        EventKind
	Time        time.Time // UTC, whole seconds
	Publication int64     // that made it visible; zero if none did
	Token       string    // identifier of the token that asked for it
	Request     string    // identifier of the signing request, if there was one
	Keys        []key.ID  // that signed it
	Text        string    // for people, one line
}
