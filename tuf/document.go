package tuf

import (
	"bytes"
	"crypto/sha256"
	"iter"
	"sync"
	"time"

	"example.com/bailiwick/tuf/key"
)

// Signature is one entry of "signatures".
type Signature struct {
	// KeyID names the key that is said to have signed.
	KeyID key.ID
	// Sig is the decoded signature; nil if metadata had something other than hex.
	Sig []byte
}

func (s Signature) equal(other Signature) bool {
	return s.KeyID == other.KeyID && bytes.Equal(s.Sig, other.Sig)
}

// Header is what a file claims about itself. It is not verified: use it in messages
// and to find the right keys, for nothing else.
type Header struct {
	Type        RoleName  // "_type": root, timestamp, snapshot or targets
	SpecVersion string    // "spec_version", for example "1.0.34"
	Version     int64     // at least 1
	Expires     time.Time // in UTC
}

// Unverified is metadata that is well-formed and not trusted. Verify makes the value
// that can be used.
type Unverified[T any] struct {
	document   *document
	value      *T
	message    []byte
	signatures []Signature
}

// Bytes returns the file as received. It must not be changed.
func (u *Unverified[T]) Bytes() []byte { return u.document.data }

// Message returns the canonical form of "signed", which is what signatures cover: a
// part of Bytes if that is canonical. It must not be changed.
func (u *Unverified[T]) Message() []byte { return u.message }

// Signatures returns the signatures in order. It must not be changed.
func (u *Unverified[T]) Signatures() []Signature { return u.signatures }

// Header returns what the file claims about itself.
func (u *Unverified[T]) Header() Header {
	d := u.document
	return Header{Type: d.role, SpecVersion: d.spec, Version: d.version, Expires: d.expires}
}

// Verify returns the metadata if the threshold of a is met, and a *ThresholdError if
// not. Signatures by other keys, and wrong ones, are ignored. Verify checks neither
// expiry nor version: those depend on what else is trusted (package trust).
func (u *Unverified[T]) Verify(a Authority) (*T, error) {
	return u.VerifyAfter(&Ahead{authority: a})
}

// VerifyAfter is Verify by the authority that was given to VerifyAhead. Without any (nil)
// nothing is accepted.
func (u *Unverified[T]) VerifyAfter(h *Ahead) (*T, error) {
	if h == nil {
		h = &Ahead{}
	}
	a, t := h.authority, h.check(u.message, u.signatures)
	if a.threshold < 1 || t.distinct < a.threshold {
		return nil, &ThresholdError{
			Role: u.document.role, Version: u.document.version,
			Have: t.distinct, Need: max(a.threshold, 1), Good: t.good, Problems: a.problems(),
		}
	}
	return u.value, nil
}

// Signers returns the ids of all keys of a whose signatures are good, in the order of
// the signatures. Two of them may stand for one key; Verify counts it once.
func (u *Unverified[T]) Signers(a Authority) []key.ID {
	return a.check(u.message, u.signatures, true).good
}

// document is what verified metadata of all types has in common.
type document struct {
	data    []byte
	role    RoleName
	spec    string
	version int64
	expires time.Time
	members []member

	digestOnce sync.Once
	digest     [sha256.Size]byte
}

// member is a member of "signed", as received.
type member struct {
	name string
	raw  []byte
}

// Bytes returns the whole file as received. It must not be changed.
func (d *document) Bytes() []byte { return d.data }

// Version returns the version, at least 1.
func (d *document) Version() int64 { return d.version }

// Expires returns the moment from which on the metadata is no longer valid, in UTC: at
// that very second it is expired already.
func (d *document) Expires() time.Time { return d.expires }

// SpecVersion returns the version of the specification, for example "1.0.34".
func (d *document) SpecVersion() string { return d.spec }

// Digest returns the SHA-256 of Bytes.
func (d *document) Digest() [sha256.Size]byte {
	d.digestOnce.Do(func() { d.digest = sha256.Sum256(d.data) })
	return d.digest
}

// Member returns a member of "signed" as received: valid JSON, not always canonical.
// It serves members that this package does not know, and writers that change one
// member and keep the others. The result must not be changed.
func (d *document) Member(name string) ([]byte, bool) {
	for _, m := range d.members {
		if m.name == name {
			return m.raw, true
		}
	}
	return nil, false
}

// Members yields all members of "signed" as received, in the order of the file.
func (d *document) Members() iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		for _, m := range d.members {
			if !yield(m.name, m.raw) {
				return
			}
		}
	}
}
