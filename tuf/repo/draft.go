package repo

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/cjson"
	"example.com/bailiwick/tuf/key"
)

// Draft is a new version of a role that waits for signatures. It is immutable, and what its
// methods return must not be changed either: it may lie in the same memory.
type Draft struct {
	role     tuf.RoleName
	version  int64
	expires  time.Time
	message  []byte
	page     []byte // begins with the room before message, and ends with it
	taken    atomic.Bool
	current  tuf.Authority
	previous *tuf.Authority
}

// newPage returns memory for a message of so many bytes that is to be drafted: its length
// is the room that an envelope takes before the message, and one byte is left behind it.
func (i *Issue) newPage(size int) []byte {
	const known = 8 // more signatures than that are copied
	room := 64 + 304*min(len(i.Authority.KeyIDs()), known)
	return make([]byte, room, room+size+len("}"))
}

// newDraft refuses a message that clients with default limits would not read. The message
// is what was appended to a page of so much room; zero will do if it is small.
func newDraft(role tuf.RoleName, issue *Issue, page []byte, room int) (*Draft, error) {
	message := page[room:len(page):len(page)]
	limits := tuf.DefaultLimits()
	most := limits.TargetsBytes
	switch role {
	case tuf.RoleRoot:
		most = limits.RootBytes
	case tuf.RoleTimestamp:
		most = limits.TimestampBytes
	case tuf.RoleSnapshot:
		most = limits.SnapshotBytes
	}
	if int64(len(message)) > most {
		return nil, fmt.Errorf("issuing %s version %d: %d bytes, clients read at most %d: %w", role, issue.Version, len(message), most, ErrTooMany)
	}
	return &Draft{role: role, version: issue.Version, expires: issue.expires(), message: message, page: page, current: issue.Authority}, nil
}

// Role returns the role's name.
func (d *Draft) Role() tuf.RoleName { return d.role }

// Version returns the version to be published.
func (d *Draft) Version() int64 { return d.version }

// Expires returns when that version ends, in whole seconds UTC.
func (d *Draft) Expires() time.Time { return d.expires }

// Message returns the canonical bytes that signatures cover. They must not be
// modified.
func (d *Draft) Message() []byte { return d.message }

// Authority returns who must sign.
func (d *Draft) Authority() tuf.Authority { return d.current }

// Previous returns who must sign besides: the keys of the root that a root
// draft replaces (specification 5.3.4, 6.1). Other drafts, and the first root,
// have no such keys.
func (d *Draft) Previous() (tuf.Authority, bool) {
	if d.previous == nil {
		return tuf.Authority{}, false
	}
	return *d.previous, true
}

// Wants reports whether a signature of the key counts for the draft.
func (d *Draft) Wants(id key.ID) bool {
	_, ok := d.keyOf(id)
	return ok
}

func (d *Draft) keyOf(id key.ID) (*key.Public, bool) {
	if k, ok := d.current.Key(id); ok || d.previous == nil {
		return k, ok
	}
	return d.previous.Key(id)
}

// Sign lets one signer sign the draft, for signers that do not meet. It returns
// an error wrapping [ErrNotSigner] before the key is used if its signature would
// not count.
func (d *Draft) Sign(ctx context.Context, s key.Signer) (tuf.Signature, error) {
	id := s.Public().ID()
	if !d.Wants(id) {
		return tuf.Signature{}, fmt.Errorf("signing %s version %d with key %s: %w", d.role, d.version, id, ErrNotSigner)
	}
	sig, err := s.Sign(ctx, d.message)
	if err != nil {
		return tuf.Signature{}, fmt.Errorf("signing %s version %d with key %s: %w", d.role, d.version, id, err)
	}
	return tuf.Signature{KeyID: id, Sig: sig}, nil
}

// Sign signs the draft with those of the signers that it wants and assembles
// the result. Signers of other roles are passed over, so that one set of online keys
// can be offered for every draft.
func Sign(ctx context.Context, d *Draft, signers ...key.Signer) ([]byte, error) {
	sigs := make([]tuf.Signature, 0, len(signers))
	for _, s := range signers {
		if !d.Wants(s.Public().ID()) {
			continue
		}
		sig, err := d.Sign(ctx, s)
		if err != nil {
			return nil, err
		}
		sigs = append(sigs, sig)
	}
	return d.Assemble(sigs)
}

// Assemble merges signatures, in any order, into the bytes to publish:
// the envelope {"signatures":[…],"signed":…} in canonical form, signatures sorted by key id, control
// characters in strings escaped so that it is legal JSON.
//
// Empty signatures and those of keys that do not count are left out; so is the
// second of two by one key. A signature by a key that counts must verify, else
// the error is a [*SignatureError]. Too few give a [*ThresholdError].
func (d *Draft) Assemble(sigs []tuf.Signature) ([]byte, error) {
	good := make([]tuf.Signature, 0, len(sigs))
	for _, s := range sigs {
		k, counts := d.keyOf(s.KeyID)
		if len(s.Sig) == 0 || !counts {
			continue
		}
		if slices.ContainsFunc(good, func(g tuf.Signature) bool { return g.KeyID == s.KeyID }) {
			continue
		}
		if !k.Verify(d.message, s.Sig) {
			return nil, &SignatureError{Role: d.role, Version: d.version, KeyID: s.KeyID}
		}
		good = append(good, s)
	}
	if err := d.threshold(d.current, good, false); err != nil {
		return nil, err
	}
	if d.previous != nil {
		if err := d.threshold(*d.previous, good, true); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(good, func(a, b tuf.Signature) int { return slices.Compare([]byte(a.KeyID), []byte(b.KeyID)) })
	return d.Envelope(good), nil
}

// Envelope puts signatures, in the order given, around the message, as [Draft.Assemble]
// does, but looks at none of them: it is for those who verify the file as clients do
// before they hand it out.
//
// The first file that a draft makes, by either method, lies in the same memory as its
// message: nobody must modify it as long as the draft is used.
func (d *Draft) Envelope(sigs []tuf.Signature) []byte {
	front := tuf.AppendEnvelope(make([]byte, 0, 64+256*len(sigs)), nil, sigs)
	front = front[:len(front)-len("}")]
	start, end := len(d.page)-len(d.message)-len(front), len(d.page)+len("}")
	if start < 0 || end > cap(d.page) || !cjson.IsWire(d.message) || !d.taken.CompareAndSwap(false, true) {
		return tuf.AppendEnvelope(make([]byte, 0, len(front)+len(d.message)+len("}")), d.message, sigs)
	}
	file := d.page[start:end:end]
	copy(file, front)
	file[len(file)-1] = '}'
	return file
}

// threshold counts distinct key material, as clients do.
func (d *Draft) threshold(a tuf.Authority, good []tuf.Signature, previous bool) error {
	signed := make(map[[32]byte]bool, len(good))
	for _, s := range good {
		if k, ok := a.Key(s.KeyID); ok {
			signed[k.Fingerprint()] = true
		}
	}
	if len(signed) >= a.Threshold() && a.Threshold() > 0 {
		return nil
	}
	e := &ThresholdError{Role: d.role, Version: d.version, Have: len(signed), Need: a.Threshold(), Previous: previous}
	for _, id := range a.KeyIDs() {
		if k, ok := a.Key(id); ok && !signed[k.Fingerprint()] {
			e.Missing = append(e.Missing, id)
		}
	}
	return e
}
