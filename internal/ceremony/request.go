package ceremony

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"time"

	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
)

// Kind says what a request wants. The set is closed.
type Kind string

// The kinds.
const (
	Claim   Kind = "claim"   // give a project to the keys that sign the request
	Release Kind = "release" // change the list of files, or what a sub-role may do
	Rekey   Kind = "rekey"   // change the keys or the threshold of a project
	Recover Kind = "recover" // ask operators to give a project whose keys are lost to the keys that sign the request
)

// Bounds of a request.
const (
	MaxBytes      = 32 << 20            // of its encoded form
	MaxPayloads   = 33                  // the project's role and 32 sub-roles
	MaxKeys       = 32                  // of a project, or of one of its sub-roles
	MaxRecovery   = 8                   // recovery keys of a project
	MaxSignatures = 2*MaxKeys + 8       // on one payload
	MaxLife       = 30 * 24 * time.Hour // from creation to expiry
	MaxNote       = 1000                // bytes
	MaxBy         = 200                 // bytes

	maxSignature = 2048 // bytes of one signature
)

// Payload is a new version of one role and the signatures that it has.
type Payload struct {
	Role       tuf.RoleName
	Message    []byte // canonical "signed" object: what is signed and, in its envelope, published
	Signatures []tuf.Signature
}

// Request is a signing request. Make one by filling its fields, or with [Decode].
type Request struct {
	Kind       Kind
	Repository [32]byte // SHA-256 of the file 1.root.json
	Project    pypi.Project
	// Bases are the newest published versions of the roles that have a payload, 0 for a role that
	// was never published. The payload's version is one higher.
	Bases map[tuf.RoleName]int64
	// Keys and Threshold say who signs the project's role from now on. Claims, rekeys and
	// recoveries have them, releases do not.
	Keys      []*key.Public
	Threshold int
	Payloads  []Payload
	Created   time.Time // UTC, whole seconds
	Expires   time.Time // UTC, whole seconds; at most MaxLife after Created
	Note      string    // why, for people
	By        string    // who made it, for people; not verified
}

// ID returns the request's name: the first 16 hex digits of the SHA-256 of its encoded form
// without signatures. Signing does not change it, anything else does.
func (r *Request) ID() string {
	size := 4096
	for i := range r.Payloads {
		size += len(r.Payloads[i].Message) + 256
	}
	sum := sha256.Sum256(r.append(make([]byte, 0, size), false))
	return hex.EncodeToString(sum[:8])
}

// Payload returns the payload of a role, nil if there is none. It points into the request.
func (r *Request) Payload(role tuf.RoleName) *Payload {
	for i := range r.Payloads {
		if r.Payloads[i].Role == role {
			return &r.Payloads[i]
		}
	}
	return nil
}

// Add adds a signature to a role's payload and reports whether it was new. It does not verify it:
// Judge does. A signature by a key that has signed already takes the place of the one before.
// The error is a *Refused with the reason Unknown if the request has no payload for the role, or
// Malformed if there are too many.
func (r *Request) Add(role tuf.RoleName, sig tuf.Signature) (bool, error) {
	p := r.Payload(role)
	if p == nil {
		return false, refuse(Unknown, role, "the request has nothing to sign for %s", role)
	}
	i := slices.IndexFunc(p.Signatures, func(s tuf.Signature) bool { return s.KeyID == sig.KeyID })
	if i >= 0 {
		same := slices.Equal(p.Signatures[i].Sig, sig.Sig)
		p.Signatures[i] = sig
		return !same, nil
	}
	if len(p.Signatures) >= MaxSignatures {
		return false, refuse(Malformed, role, "%s has %d signatures already, which is as many as a request may hold", role, MaxSignatures)
	}
	p.Signatures = append(p.Signatures, sig)
	return true, nil
}

// Clone returns a copy that shares nothing which Add changes.
func (r *Request) Clone() *Request {
	c := *r
	c.Payloads = slices.Clone(r.Payloads)
	for i := range c.Payloads {
		c.Payloads[i].Signatures = slices.Clone(c.Payloads[i].Signatures)
	}
	return &c
}
