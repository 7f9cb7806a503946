package sitting

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
	Altered      Reason = "altered"       // not what was signed, or not the request that it says it is
	BadSignature Reason = "bad-signature" // a signature that does not verify, or by a key that has no say
	Unsigned     Reason = "unsigned"      // maintainers have to sign before the offline keys do
	Key          Reason = "key"           // a key, a list of keys or a threshold is not acceptable
	Outside      Reason = "outside"       // a path, pattern or role where it does not belong
	NotAllowed   Reason = "not-allowed"   // a difference that is none of the changes a request may make
	Dates        Reason = "dates"         // the expiry of a role is out of range
	Unknown      Reason = "unknown"       // a role or project that the request is not about
)

// Refused says why a request can not be taken, or not be planned. Its text is a sentence for people.
type Refused struct { //nolint:errname // the word for what it is, beside ceremony.Refused
	Reason  Reason
	Role    tuf.RoleName // that it is about; may be empty
	Version int64        // with Stale: the newest version of Role that is known
	Message string
}

// Error implements error.
func (r *Refused) Error() string { return r.Message }

func refuse(reason Reason, role tuf.RoleName, format string, args ...any) *Refused {
	return &Refused{Reason: reason, Role: role, Message: fmt.Sprintf(format, args...)}
}

// stale says that a file is older than one that is known.
func stale(role tuf.RoleName, newest int64, format string, args ...any) *Refused {
	r := refuse(Stale, role, format, args...)
	r.Version = newest
	return r
}
