package sitting

import (
	"maps"
	"slices"
	"time"

	"example.com/bailiwick/internal/ceremony"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
)

// ChangeKind says what a change does. The set is closed: a request that does anything else is refused.
type ChangeKind string

// The kinds of changes.
const (
	Promoted    ChangeKind = "promoted"     // a claimed bin delegates a project that it did not
	Rekeyed     ChangeKind = "rekeyed"      // a claimed project gets other keys, as its own keys say
	Recovered   ChangeKind = "recovered"    // a project gets other keys, as the operators say
	Parked      ChangeKind = "parked"       // the offline key signs for a project in the place of its maintainers
	Renewed     ChangeKind = "renewed"      // the same content, signed anew
	BinKeys     ChangeKind = "bin-keys"     // other keys for bins
	TreeKeys    ChangeKind = "tree-keys"    // other keys for claimed or unclaimed
	RootKeys    ChangeKind = "root-keys"    // other keys or thresholds in root
	RootRenewed ChangeKind = "root-renewed" // root signed anew
	Bounded     ChangeKind = "bounded"      // versions from before are refused: minimum_version was raised
)

// Change is one thing that a request does.
type Change struct {
	Kind    ChangeKind
	Role    tuf.RoleName  // whose payload does it
	Project pypi.Project  // zero where it is about none
	Old     tuf.Authority // the zero value where there was none
	New     tuf.Authority // the zero value where keys are not what changes
	Since   time.Time     // since when a project is claimed, as its delegation says; zero: it does not say
	Expires time.Time     // of the payload
	Text    string        // what it does, in a few words
}

// Verdict is what a request does, and what it still needs.
type Verdict struct {
	// Changes are in the order of the payloads.
	Changes []Change
	// Missing are the signatures of offline keys that are still needed. Those of maintainers are never
	// among them: a request without them is refused.
	Missing []ceremony.Missing
	// Roles are the new versions, in the order of the payloads.
	Roles []Result

	request  *Request
	now      time.Time
	unusual  []Exception
	names    map[key.ID]string        // of who holds keys of the repository
	listings map[pypi.Project]listing // of projects that have a payload
}

// Names are those of the holders of offline keys, before the request and after it, for messages. The map belongs
// to the caller.
func (v *Verdict) Names() map[key.ID]string { return maps.Clone(v.names) }

// Complete reports whether the request may be published.
func (v *Verdict) Complete() bool { return len(v.Missing) == 0 }

// Result is a new version of a role.
type Result struct {
	Role    tuf.RoleName
	Version int64
	Expires time.Time
	Bytes   []byte       // as it will be published; nil while signatures are missing
	Targets *tuf.Targets // its content, nil for root. Its signatures are not what Bytes has.
}

// Result returns the new version of a role.
func (v *Verdict) Result(role tuf.RoleName) (Result, bool) {
	i, ok := slices.BinarySearchFunc(v.Roles, role, func(r Result, role tuf.RoleName) int { return order(r.Role, role) })
	if !ok {
		return Result{}, false
	}
	return v.Roles[i], true
}
