package ceremony

import (
	"errors"
	"slices"

	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/cjson"
	"example.com/bailiwick/tuf/key"
)

// RecoveryMember is the additional member of a project's role that lists its recovery keys: KEY
// objects of keys that sign nothing but, one of them alone, a change of the project's keys.
const RecoveryMember = "x-bailiwick-recovery"

// RecoveryKeys returns the recovery keys that a project's role lists, none if it has no such
// member. The error is a *Refused.
func RecoveryKeys(t *tuf.Targets) ([]*key.Public, error) {
	raw, ok := t.Member(RecoveryMember)
	if !ok {
		return nil, nil
	}
	r := cjson.New(raw, cjson.MaxDepth)
	var keys []*key.Public
	for e := r.Array(); r.More(&e); {
		mark := r.Mark()
		r.Skip()
		object, _ := r.Since(mark)
		if r.Err() != nil {
			break
		}
		if len(keys) == MaxRecovery {
			return nil, refuse(Key, "", "the project lists more than %d recovery keys", MaxRecovery)
		}
		k, err := parseKey(object, "a recovery key")
		if err != nil {
			return nil, err
		}
		if holds(keys, k) {
			return nil, refuse(Key, "", "the recovery key %.12s… is listed twice", k.ID())
		}
		keys = append(keys, k)
	}
	if err := r.End(); err != nil {
		return nil, refuse(Malformed, "", "the member %q is not a list of keys: %v", RecoveryMember, err)
	}
	return keys, nil
}

// RecoveryValue returns the value of the member [RecoveryMember] that lists keys.
func RecoveryValue(keys ...*key.Public) []byte {
	b := []byte{'['}
	for i, k := range keys {
		if i > 0 {
			b = append(b, ',')
		}
		b = cjson.AppendWire(b, k.AppendCanonical(nil))
	}
	return append(b, ']')
}

// holds reports whether a list has a key, in whatever spelling.
func holds(keys []*key.Public, k *key.Public) bool {
	return slices.ContainsFunc(keys, func(o *key.Public) bool { return o.Fingerprint() == k.Fingerprint() })
}

// parseKey reads a KEY object strictly: a further member could carry anything, and would give the
// key another id.
func parseKey(raw []byte, where string) (*key.Public, *Refused) {
	var keytype, scheme, public string
	var unknown string
	r := cjson.New(raw, cjson.MaxDepth)
	for m := r.Object(); r.Next(&m); {
		switch name := string(m.Name()); name {
		case "keytype":
			keytype = string(r.Bytes())
		case "scheme":
			scheme = string(r.Bytes())
		case "keyval":
			for v := r.Object(); r.Next(&v); {
				switch inner := string(v.Name()); inner {
				case "public":
					public = string(r.Bytes())
				case "private":
					return nil, privateKey(where)
				default:
					unknown = inner
					r.Skip()
				}
			}
		case "private":
			return nil, privateKey(where)
		default:
			unknown = name
			r.Skip()
		}
	}
	if err := r.End(); err != nil {
		return nil, refuse(Key, "", "%s is not a KEY object: %v", where, err)
	}
	if unknown != "" {
		return nil, refuse(Key, "", "%s has a member %.40q; a key has keytype, scheme and keyval with public, and nothing else", where, unknown)
	}
	k, err := key.New(keytype, scheme, public)
	if err != nil {
		return nil, refuse(Key, "", "%s can not be used: %v", where, err)
	}
	return k, nil
}

// authority makes the authority of a claim or rekey.
func (r *Request) authority() (tuf.Authority, error) {
	role := tuf.RoleName("")
	if len(r.Keys) == 0 || len(r.Keys) > MaxKeys {
		return tuf.Authority{}, refuse(Key, role, "the request lists %d keys; a project has 1 to %d", len(r.Keys), MaxKeys)
	}
	if r.Threshold < 1 || r.Threshold > len(r.Keys) {
		return tuf.Authority{}, refuse(Key, role, "a threshold of %d with %d keys can not be; choose 1 to %d", r.Threshold, len(r.Keys), len(r.Keys))
	}
	a, err := tuf.NewAuthority(r.Threshold, r.Keys...)
	if err != nil {
		return tuf.Authority{}, refuse(Key, role, "the keys of the request: %v", err)
	}
	return a, nil
}

// usable returns the keys of an authority that came in metadata, and refuses what would not count
// as it seems to: keys under a wrong id, of an unknown kind, one key under two ids, a threshold
// that can not be reached.
func usable(a tuf.Authority, role tuf.RoleName) ([]*key.Public, error) {
	ids := a.KeyIDs()
	if len(ids) == 0 || len(ids) > MaxKeys {
		return nil, refuse(Key, role, "the role %s is given %d keys; it needs 1 to %d", role, len(ids), MaxKeys)
	}
	var keys []*key.Public
	for _, id := range ids {
		k, ok := a.Key(id)
		switch {
		case !ok && errors.Is(a.Problem(id), tuf.ErrKeyID):
			return nil, refuse(Key, role, "the role %s lists key %.12s…, and that is not the id of the key beside it", role, id)
		case !ok:
			return nil, refuse(Key, role, "the role %s lists key %.12s…, which can not be used: %v", role, id, a.Problem(id))
		case holds(keys, k):
			return nil, refuse(Key, role, "the role %s lists the key %.12s… under two ids; list it once", role, id)
		}
		keys = append(keys, k)
	}
	if a.Threshold() < 1 || a.Threshold() > len(keys) {
		return nil, refuse(Key, role, "the role %s needs %d signatures and has %d keys; choose 1 to %d", role, a.Threshold(), len(keys), len(keys))
	}
	return keys, nil
}

// keysOf returns the keys of an authority that can be used.
func keysOf(a tuf.Authority) []*key.Public {
	var keys []*key.Public
	for _, id := range a.KeyIDs() {
		if k, ok := a.Key(id); ok {
			keys = append(keys, k)
		}
	}
	return keys
}
