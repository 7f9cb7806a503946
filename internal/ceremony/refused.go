package ceremony

import (
	"fmt"

	"example.com/bailiwick/tuf"
)

// Reason says what sort of fault a [Refused] names. The set is closed.
type Reason string

// The reasons.
const (
	Malformed    Reason = "malformed"     // not a request, or one that contradicts itself
	PrivateKey   Reason = "private-key"   // it holds a private key, which must never travel
	Foreign      Reason = "foreign"       // made for another repository
	Expired      Reason = "expired"       // the request is too old, or its times can not be
	Stale        Reason = "stale"         // a base is not the newest version any more: Refused.Version is
	Claimed      Reason = "claimed"       // the project is claimed already
	NotClaimed   Reason = "not-claimed"   // the project is not claimed, so its maintainers have no say yet
	Key          Reason = "key"           // a key, a list of keys or a threshold is not acceptable
	ForeignKey   Reason = "foreign-key"   // a signature by a key that has no say
	BadSignature Reason = "bad-signature" // a signature that does not verify
	Unknown      Reason = "unknown"       // a role that is not the request's or the project's
	Outside      Reason = "outside"       // a path, pattern or role outside the project
	NotStaged    Reason = "not-staged"    // a file that nobody uploaded, or with other content
	Altered      Reason = "altered"       // what is said of a published file was changed
	Archived     Reason = "archived"      // files for a project that its maintainers have archived
	Parked       Reason = "parked"        // the project is parked: nothing is added to it until its maintainers are back
	Dates        Reason = "dates"         // the expiry of a role is out of range
)

// Refused says why a request can not be taken. Its text is a sentence for the person who sent it.
type Refused struct { //nolint:errname // the word for what it is, beside index.Refusal
	Reason  Reason
	Role    tuf.RoleName // that it is about; may be empty
	Version int64        // with Stale: the newest published version of Role
	Message string
}

// Error implements error.
func (r *Refused) Error() string { return r.Message }

func refuse(reason Reason, role tuf.RoleName, format string, args ...any) *Refused {
	return &Refused{Reason: reason, Role: role, Message: fmt.Sprintf(format, args...)}
}
