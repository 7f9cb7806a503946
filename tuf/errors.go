package tuf

import (
	"errors"
	"fmt"
	"strings"

	"example.com/bailiwick/tuf/key"
)

// ErrUnsupported matches errors about metadata of another major version of the
// specification, and about hashes of which none, or not every one, is known. A newer
// program may be able to read the same bytes.
var ErrUnsupported = errors.New("not supported by this version")

// ErrHash is returned when bytes do not have the hashes that metadata lists.
var ErrHash = errors.New("the hash differs from the one that signed metadata lists")

// MalformedError says that received bytes are not metadata of the expected type.
// Its bytes were damaged on the way, or their publisher has a fault: trying again
// from another source may help, changing anything locally does not.
type MalformedError struct {
	// Offset is the position of the fault in the received bytes.
	Offset int
	// Role is the type of metadata that was expected: root, timestamp, snapshot or
	// targets. Delegated roles have the last one.
	Role RoleName
	// Reason is what is wrong, for people.
	Reason string
	// Err is ErrUnsupported where that is the reason, nil otherwise.
	Err error
}

// Error implements error.
func (e *MalformedError) Error() string {
	return fmt.Sprintf("malformed %s metadata: at byte %d: %s", e.Role, e.Offset, e.Reason)
}

// Unwrap returns Err.
func (e *MalformedError) Unwrap() error { return e.Err }

// ThresholdError says that too few keys of an authority have signed.
type ThresholdError struct {
	// Role is the type of the metadata.
	Role RoleName
	// Version is the version that the metadata claims.
	Version int64
	// Have counts the distinct keys with a good signature, Need is the threshold.
	Have, Need int
	// Good lists the key ids whose signatures count.
	Good []key.ID
	// Problems lists keys of the authority that can not be used, and why.
	Problems []KeyProblem
}

// KeyProblem says why a key of an authority does not count.
type KeyProblem struct {
	ID  key.ID // the id under which the role lists the key
	Err error  // matches ErrKeyMissing, ErrKeyID, key.ErrUnsupported or key.ErrMalformed
}

// Error implements error.
func (e *ThresholdError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s metadata version %d is signed by %d of the %d keys it needs", e.Role, e.Version, e.Have, e.Need)
	for i, p := range e.Problems {
		if i == 3 {
			fmt.Fprintf(&b, "; and %d more keys that can not be used", len(e.Problems)-i)
			break
		}
		fmt.Fprintf(&b, "; key %.16s can not be used: %v", p.ID, p.Err)
	}
	return b.String()
}

// The reasons why a key of an authority may not count, beside those of package key.
var (
	// ErrKeyMissing is the problem of a key id without a key in the same file.
	ErrKeyMissing = errors.New("its key is not listed")
	// ErrKeyID is the problem of a key whose id is not the hash of its KEY object.
	ErrKeyID = errors.New("its id is not the hash of the key; if the repository is known to be older than this rule, set Limits.AnyKeyID")
)
