package tuf

import (
	"fmt"
	"iter"
	"math"

	"example.com/bailiwick/tuf/cjson"
	"example.com/bailiwick/tuf/key"
)

// roleKeys is what a role object of root metadata, a delegation and succinct_roles have
// in common: who may sign.
type roleKeys struct {
	threshold int
	ids       []byte // the array as received
	seen      struct{ ids, threshold bool }
}

// member reads a member of a role object if it is one of the two.
func (k *roleKeys) member(p *parser, name []byte) bool {
	switch string(name) {
	case "keyids":
		k.seen.ids = true
		k.ids = p.keyIDs()
	case "threshold":
		k.seen.threshold = true
		at := p.Offset()
		n := p.Int()
		if n < 1 || n > math.MaxInt32 {
			p.Fail(at, fmt.Sprintf("a threshold of %d: it must be at least 1", n))
		}
		k.threshold = int(n)
	default:
		return false
	}
	return true
}

// finish fails if one of the two is missing.
func (k *roleKeys) finish(p *parser) {
	if !k.seen.ids || !k.seen.threshold {
		p.Fail(p.Position(), `a role without "keyids" or "threshold"`)
	}
}

// keyIDs checks an array of key ids, each once, and returns it as received.
func (p *parser) keyIDs() []byte {
	mark := p.Mark()
	var buffer [8][]byte
	ids := buffer[:0]
	for e := p.Array(); p.More(&e); {
		if len(ids) == p.limits.RoleKeys {
			p.tooMany(p.limits.RoleKeys, "key ids in one role", "RoleKeys")
			break
		}
		at := p.Offset()
		id := p.keyID()
		for _, other := range ids {
			if string(other) == string(id) {
				p.Fail(at, "a key id is listed twice for one role")
			}
		}
		ids = append(ids, id)
	}
	raw, _ := p.Since(mark)
	return raw
}

// authority decodes what keyIDs has checked.
func (k *roleKeys) authority(ring *keyring) Authority {
	a := Authority{threshold: k.threshold, ring: ring}
	for _, id := range stringArray(k.ids) {
		a.ids = append(a.ids, key.ID(id))
	}
	return a
}

// stringArray decodes an array of strings that a parser has accepted before.
func stringArray(raw []byte) []string {
	var out []string
	if raw == nil {
		return nil
	}
	r := cjson.New(raw, 0)
	for e := r.Array(); r.More(&e); {
		out = append(out, string(r.Bytes()))
	}
	return out
}

// keys reads a "keys" object. It checks the shape of each key (4.2.2) and leaves the
// rest to the keyring, since a key that can not be used is not a reason to refuse a
// file: clients older than a new scheme must go on.
func (p *parser) keys() *keyring {
	var keys []knownKey
	for m := p.Object(); p.Next(&m); {
		if len(keys) == p.limits.Keys {
			p.tooMany(p.limits.Keys, "keys", "Keys")
			break
		}
		id := m.Name()
		if len(id) == 0 || len(id) > MaxKeyID {
			p.Fail(p.Position(), fmt.Sprintf("a key id of %d bytes instead of 1 to %d", len(id), MaxKeyID))
			break
		}
		mark := p.Mark()
		p.keyObject()
		raw, canonical := p.Since(mark)
		keys = append(keys, knownKey{id: id, raw: raw, canonical: canonical})
	}
	return newKeyring(keys, p.limits.AnyKeyID)
}

// keyObject checks that a KEY object has its three members.
func (p *parser) keyObject() {
	var keytype, scheme, keyval bool
	for m := p.Object(); p.Next(&m); {
		switch string(m.Name()) {
		case "keytype":
			keytype = true
			p.Bytes()
		case "scheme":
			scheme = true
			p.Bytes()
		case "keyval":
			keyval = true
			for v := p.Object(); p.Next(&v); {
				p.Skip()
			}
		default:
			p.Skip()
		}
	}
	if !keytype || !scheme || !keyval {
		p.Fail(p.Position(), `a key without "keytype", "scheme" or "keyval"`)
	}
}

// all yields the keys as received.
func (r *keyring) all() iter.Seq2[key.ID, []byte] {
	return func(yield func(key.ID, []byte) bool) {
		for i := range r.keys {
			if !yield(key.ID(r.keys[i].id), r.keys[i].raw) {
				return
			}
		}
	}
}
