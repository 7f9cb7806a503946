package repo

import (
	"errors"
	"fmt"

	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
)

// Sentinels of what this package refuses. Messages name the role and the
// culprit; callers branch with errors.Is.
var (
	// ErrVersion: the version is not the successor of the base's, is out of
	// range, or lets a role listed in a snapshot go back.
	ErrVersion = errors.New("version is not acceptable")
	// ErrExpiry: the role would be expired when issued, or its expiry can not be
	// written as a TUF date-time.
	ErrExpiry = errors.New("expiry is not acceptable")
	// ErrThreshold: the keys given can never reach the threshold.
	ErrThreshold = errors.New("threshold can not be reached")
	// ErrSharedKey: two top-level roles share a key and nobody asked for it.
	ErrSharedKey = errors.New("key is shared between roles")
	// ErrKey: a key id stands for no key that can be written down.
	ErrKey = errors.New("key is not usable")
	// ErrNoHash: a target or metadata entry has no hash this package can write.
	ErrNoHash = errors.New("no usable hash")
	// ErrPattern: a delegation's paths or hash prefixes are not valid.
	ErrPattern = errors.New("delegation pattern is not valid")
	// ErrRoleName: a role name is missing, reserved, or clashes with another.
	ErrRoleName = errors.New("role name is not acceptable")
	// ErrPath: a target path is listed twice, or lies outside what the role was
	// delegated.
	ErrPath = errors.New("target path is not acceptable")
	// ErrTarget: a target's length or custom object is not acceptable.
	ErrTarget = errors.New("target is not acceptable")
	// ErrMember: an additional member has a name of the specification or is not JSON.
	ErrMember = errors.New("additional member is not acceptable")
	// ErrAbsent: what should be replaced or removed is not there.
	ErrAbsent = errors.New("not listed")
	// ErrTooMany: more entries than a client would read.
	ErrTooMany = errors.New("too many entries")
	// ErrBase: the verified base of an edit has a shape that can not be spliced.
	ErrBase = errors.New("base metadata can not be edited")
	// ErrNotSigner: the key offered is none of those that must sign.
	ErrNotSigner = errors.New("key does not sign this role")
)

// ThresholdError says that signatures are missing. It is returned by
// [Draft.Assemble] and [Sign]; more signatures may be added and tried again.
type ThresholdError struct {
	// Role and Version are those of the draft.
	Role    tuf.RoleName
	Version int64
	// Have counts the distinct keys that signed, Need is the threshold.
	Have, Need int
	// Previous is true if the keys that fall short are those of the root's
	// predecessor.
	Previous bool
	// Missing lists the key ids that have not signed yet, in the authority's
	// order.
	Missing []key.ID
}

// Error implements error.
func (e *ThresholdError) Error() string {
	who := "its keys"
	if e.Previous {
		who = "the keys of the root before it"
	}
	return fmt.Sprintf("%s version %d has %d of %d signatures needed from %s; still to sign: %v",
		e.Role, e.Version, e.Have, e.Need, who, e.Missing)
}

// SignatureError says that a key which counts for the role came with a
// signature that does not verify: it was made over other bytes, or damaged.
type SignatureError struct {
	// Role and Version are those of the draft.
	Role    tuf.RoleName
	Version int64
	// KeyID is the key that is said to have made the signature.
	KeyID key.ID
}

// Error implements error.
func (e *SignatureError) Error() string {
	return fmt.Sprintf("signature of key %s over %s version %d does not verify; ask its holder to sign the current request",
		e.KeyID, e.Role, e.Version)
}
