package tuf

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"sync"

	"example.com/bailiwick/tuf/cjson"
	"example.com/bailiwick/tuf/key"
)

// Authority says who may sign a role: key ids, the keys they stand for, and how many
// distinct keys must have signed. It comes from verified root metadata, from a
// delegation in verified targets metadata, or from NewAuthority. It is immutable and
// cheap to copy. The zero value accepts nothing.
type Authority struct {
	threshold int
	ids       []key.ID
	ring      *keyring
}

// NewAuthority makes an authority of keys, known by their own ids. It refuses a
// threshold below one or above the number of keys, and a key given twice, in
// whatever spelling: such a role could never be signed, or by fewer people than its
// threshold says.
func NewAuthority(threshold int, keys ...*key.Public) (Authority, error) {
	if threshold < 1 || threshold > len(keys) {
		return Authority{}, fmt.Errorf("a threshold of %d with %d keys: it must be at least 1 and at most the number of keys", threshold, len(keys))
	}
	known := make([]knownKey, len(keys))
	ids := make([]key.ID, len(keys))
	for i, k := range keys {
		ids[i] = k.ID()
		for j, other := range keys[:i] {
			if other.Fingerprint() == k.Fingerprint() {
				return Authority{}, fmt.Errorf("keys %s and %s are the same key: list it once", ids[j], ids[i])
			}
		}
		known[i] = knownKey{id: []byte(ids[i])}
	}
	ring := newKeyring(known, false)
	for _, k := range keys {
		at, _ := ring.index(k.ID())
		ring.parsed[at].once.Do(func() { ring.parsed[at].public = k })
	}
	return Authority{threshold: threshold, ids: ids, ring: ring}, nil
}

// Threshold returns how many distinct keys must sign; zero for the zero Authority.
func (a Authority) Threshold() int { return a.threshold }

// KeyIDs returns the ids of the keys that may sign, in the order in which metadata
// lists them. Some may have no usable key; see Key. The slice belongs to the caller.
func (a Authority) KeyIDs() []key.ID { return slices.Clone(a.ids) }

// Key returns the key for id. It returns false if id may not sign for a, and if its
// key is missing, of an unknown type, malformed, or listed under a wrong id.
func (a Authority) Key(id key.ID) (*key.Public, bool) {
	if !slices.Contains(a.ids, id) {
		return nil, false
	}
	k, err := a.ring.key(id)
	return k, err == nil
}

// Problem says why Key has no key for an id that metadata lists: ErrKeyMissing,
// ErrKeyID, key.ErrUnsupported or key.ErrMalformed; nil if Key has one, or if id may
// not sign for a at all.
func (a Authority) Problem(id key.ID) error {
	if !slices.Contains(a.ids, id) {
		return nil
	}
	_, err := a.ring.key(id)
	return err
}

// Equal reports whether a and b have the same threshold and the same set of keys.
// It is what decides whether a role's keys were rotated (specification 5.3.11).
func (a Authority) Equal(b Authority) bool {
	if a.threshold != b.threshold || len(a.ids) != len(b.ids) {
		return false
	}
	for _, id := range a.ids {
		if !slices.Contains(b.ids, id) {
			return false
		}
		// With Limits.AnyKeyID an id does not fix its key, so look at the keys, too.
		ka, oka := a.Key(id)
		kb, okb := b.Key(id)
		if oka != okb || oka && ka.Fingerprint() != kb.Fingerprint() {
			return false
		}
	}
	return true
}

// Digest returns a fingerprint of who may sign: two authorities with the same one have the
// same threshold and the same keys under the same ids in the same order, and accept the same
// signatures. Authorities that are Equal may differ in order, and so in their Digest.
func (a Authority) Digest() [sha256.Size]byte {
	b := binary.AppendVarint(make([]byte, 0, 512), int64(a.threshold))
	for _, id := range a.ids {
		b = append(binary.AppendUvarint(b, uint64(len(id))), id...)
		if k, err := a.ring.key(id); err == nil {
			b = k.AppendCanonical(append(b, 1)) // an object ends where its bracket closes
		} else {
			b = append(b, 0)
		}
	}
	return sha256.Sum256(b)
}

// tally is the result of checking the signatures of one file.
type tally struct {
	good     []key.ID
	distinct int
}

// check verifies signatures over message. It tries only keys of a, each once, and
// counts distinct key material: a key listed under two ids is one key holder. With
// all unset it stops when the threshold is reached.
func (a Authority) check(message []byte, signatures []Signature, all bool) tally {
	var t tally
	var seen [][sha256.Size]byte
	for i := range signatures {
		s := &signatures[i]
		if !slices.Contains(a.ids, s.KeyID) {
			continue
		}
		k, err := a.ring.key(s.KeyID)
		if err != nil || !k.Verify(message, s.Sig) {
			continue
		}
		t.good = append(t.good, s.KeyID)
		if f := k.Fingerprint(); !slices.Contains(seen, f) {
			seen = append(seen, f)
		}
		if !all && len(seen) >= a.threshold {
			break
		}
	}
	t.distinct = len(seen)
	return t
}

// problems lists the keys of a that can not be used.
func (a Authority) problems() []KeyProblem {
	var out []KeyProblem
	for _, id := range a.ids {
		if _, err := a.ring.key(id); err != nil {
			out = append(out, KeyProblem{ID: id, Err: err})
		}
	}
	return out
}

// keyring holds the keys of one file, sorted by id and decoded when first used. Most
// keys of a file with many delegations are never used by one client.
type keyring struct {
	keys   []knownKey
	parsed []parsedKey // in the same order
	anyID  bool
}

// knownKey is a KEY object as received.
type knownKey struct {
	id        []byte
	raw       []byte
	canonical bool
}

// parsedKey is what becomes of a KEY object when it is first used: a key or a reason.
type parsedKey struct {
	once   sync.Once
	public *key.Public
	err    error
}

func newKeyring(keys []knownKey, anyID bool) *keyring {
	compare := func(a, b knownKey) int { return bytes.Compare(a.id, b.id) }
	if !slices.IsSortedFunc(keys, compare) {
		slices.SortFunc(keys, compare)
	}
	return &keyring{keys: keys, parsed: make([]parsedKey, len(keys)), anyID: anyID}
}

func (r *keyring) index(id key.ID) (int, bool) {
	low, high := 0, len(r.keys)
	for low < high {
		middle := int(uint(low+high) >> 1)
		if string(r.keys[middle].id) < string(id) {
			low = middle + 1
		} else {
			high = middle
		}
	}
	return low, low < len(r.keys) && string(r.keys[low].id) == string(id)
}

// key returns the key for id.
func (r *keyring) key(id key.ID) (*key.Public, error) {
	if r == nil {
		return nil, ErrKeyMissing
	}
	i, ok := r.index(id)
	if !ok {
		return nil, ErrKeyMissing
	}
	p := &r.parsed[i]
	p.once.Do(func() { p.public, p.err = r.parse(&r.keys[i]) })
	return p.public, p.err
}

// parse decodes a KEY object whose shape was checked when its file was parsed.
func (r *keyring) parse(k *knownKey) (*key.Public, error) {
	if !r.anyID && !k.idMatches() {
		return nil, ErrKeyID
	}
	var keytype, scheme, public []byte
	c := cjson.New(k.raw, 0)
	for m := c.Object(); c.Next(&m); {
		switch string(m.Name()) {
		case "keytype":
			keytype = c.Bytes()
		case "scheme":
			scheme = c.Bytes()
		case "keyval":
			for v := c.Object(); c.Next(&v); {
				if string(v.Name()) == "public" && c.Kind() == cjson.String {
					public = c.Bytes()
				} else {
					c.Skip()
				}
			}
		default:
			c.Skip()
		}
	}
	return key.New(string(keytype), string(scheme), string(public))
}

// idMatches compares the id of k with the hash of its whole KEY object, members that
// we do not know included (specification 4.3).
func (k *knownKey) idMatches() bool {
	canonical := k.raw
	if !k.canonical {
		var err error
		if canonical, err = cjson.Canonical(k.raw, 0); err != nil {
			return false
		}
	}
	sum := sha256.Sum256(canonical)
	var text [2 * sha256.Size]byte
	hex.Encode(text[:], sum[:])
	return bytes.Equal(text[:], k.id)
}
