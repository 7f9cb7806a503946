package ceremony

import (
	"fmt"
	"strings"
	"time"

	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
)

// Way says by what a change of keys was allowed.
type Way string

// The ways. A claim and a release have none.
const (
	ByKeys     Way = "old keys" // the threshold that the project had
	ByRecovery Way = "recovery" // a recovery key registered beforehand
	ByAccount  Way = "account"  // a token, for the removal of one key of a team in which all must sign
	// ByOperators: nobody who has the project agreed. Operators announce it, wait, and sign it offline.
	ByOperators Way = "operators"
)

// Verdict is what a request may do to a project, and what it still needs.
type Verdict struct {
	// Roles are the new versions in the order of the request. Bytes and Signers of a role are
	// complete only when the whole verdict is.
	Roles []Result
	// Authority signs the project's role afterwards.
	Authority tuf.Authority
	// Added, Changed and Removed are the files that a client finds otherwise afterwards. Added
	// ones were staged.
	Added, Changed []tuf.Target
	Removed        []tuf.TargetPath
	// Missing are the signatures that are still needed.
	Missing []Missing
	// Offline is the bin whose offline key has to sign besides, "" if none has to.
	Offline tuf.RoleName
	// By says how a change of keys was allowed, as far as it was.
	By Way
}

// Result is a new version of a role.
type Result struct {
	Role    tuf.RoleName
	Version int64
	Expires time.Time
	Bytes   []byte       // as it will be published
	Signers []key.ID     // keys of its new authority that have signed
	Targets *tuf.Targets // its content
}

// Missing says which signatures a role still needs.
type Missing struct {
	Role tuf.RoleName
	Keys []key.ID // any Need of these
	Need int
	Why  string // what the signatures stand for
}

// String says it in a few words.
func (m Missing) String() string {
	ids := make([]string, len(m.Keys))
	for i, id := range m.Keys {
		ids[i] = short(id)
	}
	of := ""
	if m.Need < len(m.Keys) {
		of = fmt.Sprintf("%d of ", m.Need)
	}
	return fmt.Sprintf("%s: %s%s (%s)", m.Role, of, strings.Join(ids, ", "), m.Why)
}

// short is how people see a key id.
func short(id key.ID) string {
	if len(id) <= 12 {
		return string(id)
	}
	return string(id[:12])
}

// Complete reports whether the request may be published.
func (v *Verdict) Complete() bool { return len(v.Missing) == 0 && v.Offline == "" }

// Next says what has to happen before the request takes effect; "" if nothing has to.
func (v *Verdict) Next() string {
	switch {
	case len(v.Missing) > 0:
		parts := make([]string, len(v.Missing))
		for i, m := range v.Missing {
			parts[i] = m.String()
		}
		return "still to sign: " + strings.Join(parts, "; ")
	case v.Offline != "" && v.By == ByOperators:
		return fmt.Sprintf("needs the operators of the index: they announce the recovery with bailiwick recover, wait for objections, and sign %s at a sitting after that; until then the old keys hold, and whatever they sign cancels it", v.Offline)
	case v.Offline != "":
		return fmt.Sprintf("needs the offline key of %s: the operators of the index sign it at their next sitting, until then the old keys hold", v.Offline)
	}
	return ""
}

// Result returns the new version of a role.
func (v *Verdict) Result(role tuf.RoleName) (Result, bool) {
	for _, r := range v.Roles {
		if r.Role == role {
			return r, true
		}
	}
	return Result{}, false
}
