package custody

import (
	"errors"
	"fmt"

	"example.com/bailiwick/internal/ceremony"
	"example.com/bailiwick/internal/sitting"
	"example.com/bailiwick/tuf"
)

// Reason says in one word why a proposal is not signed. The set is closed.
type Reason string

// The reasons.
const (
	Malformed     Reason = "malformed"     // not a proposal, or one that contradicts itself
	Foreign       Reason = "foreign"       // of another repository
	Stale         Reason = "stale"         // its base is not what the signer has verified as the newest
	Version       Reason = "version"       // a version that does not follow the one before it
	AlreadySigned Reason = "signed"        // another proposal of this number was signed
	Unpublished   Reason = "unpublished"   // what was signed last has not been published
	Elsewhere     Reason = "elsewhere"     // somebody else signs with the signer's key
	Dates         Reason = "dates"         // a time or an expiry out of bounds
	Outside       Reason = "outside"       // a role, path or project that is none of the registry's
	Altered       Reason = "altered"       // it differs in something that nobody may change
	Vanished      Reason = "vanished"      // something that was listed is gone
	NotAllowed    Reason = "not-allowed"   // a change of hands without the signatures that it needs
	BadSignature  Reason = "bad-signature" // a signature that does not verify, or none
	NoKey         Reason = "no-key"        // the signer does not hold the key that the role needs
	Failed        Reason = "failed"        // the signer could not judge: its disk, or the way to the index
)

// Refused says why a proposal is not signed. Its text is a sentence for the operators.
type Refused struct { //nolint:errname // the word for what it is, as in package ceremony
	Reason  Reason
	Role    tuf.RoleName // that it is about; may be empty
	Message string
}

// Error implements error.
func (r *Refused) Error() string { return r.Message }

func refuse(reason Reason, role tuf.RoleName, format string, args ...any) *Refused {
	return &Refused{Reason: reason, Role: role, Message: fmt.Sprintf(format, args...)}
}

// fromCeremony turns the refusal of a maintainers' request into one of the proposal.
func fromCeremony(role tuf.RoleName, err error) *Refused {
	var r *ceremony.Refused
	if !errors.As(err, &r) {
		return refuse(Failed, role, "the signing request about %s can not be judged: %v", role, err)
	}
	reason, ok := map[ceremony.Reason]Reason{
		ceremony.Malformed: Malformed, ceremony.PrivateKey: Malformed, ceremony.Foreign: Foreign,
		ceremony.Expired: Dates, ceremony.Dates: Dates, ceremony.Stale: Stale,
		ceremony.BadSignature: BadSignature, ceremony.ForeignKey: BadSignature,
		ceremony.Unknown: Outside, ceremony.Outside: Outside, ceremony.Altered: Altered,
	}[r.Reason]
	if !ok {
		reason = NotAllowed
	}
	if r.Role != "" {
		role = r.Role
	}
	return refuse(reason, role, "the signing request about %s: %s", role, r.Message)
}

// fromSitting turns the refusal of an operators' request into one of the proposal.
func fromSitting(role tuf.RoleName, err error) *Refused {
	var r *sitting.Refused
	if !errors.As(err, &r) {
		return refuse(Failed, role, "the operators' request can not be judged: %v", err)
	}
	reason, ok := map[sitting.Reason]Reason{
		sitting.Malformed: Malformed, sitting.PrivateKey: Malformed, sitting.Foreign: Foreign,
		sitting.Expired: Dates, sitting.Dates: Dates, sitting.Stale: Stale, sitting.Altered: Altered,
		sitting.BadSignature: BadSignature, sitting.Unsigned: BadSignature, sitting.Outside: Outside, sitting.Unknown: Outside,
	}[r.Reason]
	if !ok {
		reason = NotAllowed
	}
	if r.Role != "" {
		role = r.Role
	}
	return refuse(reason, role, "the operators' request: %s", r.Message)
}
