package sitting

import (
	"bytes"
	"errors"
	"slices"
	"strconv"

	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/cjson"
	"example.com/bailiwick/tuf/key"
	"example.com/bailiwick/tuf/repo"
)

// Comparison is of members as they lie in the bytes. Metadata is written in one form only, so two members
// that mean the same are the same bytes; a member that is written in another way counts as changed, and
// is refused.

// maxKeys bounds the keys of one role.
const maxKeys = 32

// sameBut refuses two versions of a role that differ in anything but version, expiry, and the members
// named.
func sameBut(role tuf.RoleName, base, next *tuf.Targets, members ...string) error {
	allowed := func(name string) bool {
		return name == "version" || name == "expires" || slices.Contains(members, name)
	}
	for name, raw := range next.Members() {
		if old, ok := base.Member(name); !allowed(name) && (!ok || !bytes.Equal(old, raw)) {
			return refuse(NotAllowed, role, "the payload of %s changes its member %.40q, which no request may", role, name)
		}
	}
	for name := range base.Members() {
		if _, ok := next.Member(name); !ok && !allowed(name) {
			return refuse(NotAllowed, role, "the payload of %s leaves out its member %.40q", role, name)
		}
	}
	return nil
}

// differing returns the names of the members by which two objects differ, sorted.
func differing(old, next []byte) []string {
	if bytes.Equal(old, next) {
		return nil
	}
	a, b := membersOf(old), membersOf(next)
	var out []string
	for name, raw := range b {
		if was, ok := a[name]; !ok || !bytes.Equal(was, raw) {
			out = append(out, name)
		}
	}
	for name := range a {
		if _, ok := b[name]; !ok {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// membersOf takes an object of verified or parsed metadata apart.
func membersOf(raw []byte) map[string][]byte {
	out := make(map[string][]byte)
	if raw == nil {
		return out
	}
	r := cjson.New(raw, depth)
	for m := r.Object(); r.Next(&m); {
		name, mark := string(m.Name()), r.Mark()
		r.Skip()
		out[name], _ = r.Since(mark)
	}
	return out
}

// entriesOf returns the delegations of a role in order; none where they are bins of succinct_roles, which
// may be billions and are refused by sameFrame.
func entriesOf(t *tuf.Targets) []tuf.Delegation {
	ds := t.Delegations()
	if ds == nil {
		return nil
	}
	if _, _, succinct := ds.Succinct(); succinct {
		return nil
	}
	return slices.Collect(ds.All())
}

// find returns the delegation of a role by name, without an index: for one question.
func find(t *tuf.Targets, role tuf.RoleName) (tuf.Delegation, bool) {
	for _, d := range entriesOf(t) {
		if d.Name() == role {
			return d, true
		}
	}
	return tuf.Delegation{}, false
}

// sameFrame refuses two versions of a role's delegations that differ in more than their entries and the
// keys of these, and keys that nothing needs or that are not as they were.
func sameFrame(role tuf.RoleName, base, next *tuf.Targets) error {
	raw := func(t *tuf.Targets) []byte {
		if ds := t.Delegations(); ds != nil {
			return ds.Raw()
		}
		return nil
	}
	for _, name := range differing(raw(base), raw(next)) {
		if name != "keys" && name != "roles" {
			return refuse(NotAllowed, role, "the payload of %s changes %.40q of its delegations, which no request may", role, name)
		}
	}
	if ds := next.Delegations(); ds != nil {
		if _, _, succinct := ds.Succinct(); succinct {
			return refuse(NotAllowed, role, "the payload of %s delegates in bins of another form", role)
		}
	}
	return keysFit(role, base, next)
}

// keysFit checks the list of keys beside delegations: each is used, and is what it was; a new one is a
// plain KEY object, because a further member could carry anything.
func keysFit(role tuf.RoleName, base, next *tuf.Targets) error {
	used := make(map[key.ID]tuf.Authority)
	for _, d := range entriesOf(next) {
		a, err := d.Authority()
		if err != nil {
			return refuse(Key, role, "reading the keys of %s: %v", d.Name(), err)
		}
		for _, id := range a.KeyIDs() {
			used[id] = a
		}
	}
	before := make(map[key.ID][]byte)
	if ds := base.Delegations(); ds != nil {
		for id, raw := range ds.Keys() {
			before[id] = raw
		}
	}
	if ds := next.Delegations(); ds != nil {
		for id, raw := range ds.Keys() {
			old, was := before[id]
			switch {
			case was && !bytes.Equal(old, raw):
				return refuse(Key, role, "the payload of %s describes key %s otherwise than before", role, short(id))
			case !was && used[id].Threshold() == 0:
				return refuse(NotAllowed, role, "the payload of %s lists a key %s that no delegation names", role, short(id))
			case !was && !isPlain(used[id], id, raw):
				return refuse(Key, role, "the payload of %s lists a key %s that is not a plain public key of this id", role, short(id))
			}
			delete(used, id)
		}
	}
	for id := range used {
		return refuse(Key, role, "the payload of %s leaves out key %s, which one of its delegations names: nobody could verify that role", role, short(id))
	}
	return nil
}

// isPlain reports whether a KEY object is the one that this program writes for the key of this id.
func isPlain(a tuf.Authority, id key.ID, raw []byte) bool {
	k, ok := a.Key(id)
	return ok && k.ID() == id && bytes.Equal(cjson.AppendWire(nil, k.AppendCanonical(nil)), raw)
}

// usable returns the keys of an authority that a payload brings, and refuses what would not count as it
// seems to: keys under a wrong id, of an unknown kind, one key under two ids, a threshold out of reach.
func usable(a tuf.Authority, role tuf.RoleName) ([]*key.Public, error) {
	ids := a.KeyIDs()
	if len(ids) == 0 || len(ids) > maxKeys {
		return nil, refuse(Key, role, "%s is given %d keys; it needs 1 to %d", role, len(ids), maxKeys)
	}
	var keys []*key.Public
	for _, id := range ids {
		k, ok := a.Key(id)
		switch {
		case !ok && errors.Is(a.Problem(id), tuf.ErrKeyID):
			return nil, refuse(Key, role, "%s is given key %s, and that is not the id of the key beside it", role, short(id))
		case !ok:
			return nil, refuse(Key, role, "%s is given key %s, which can not be used: %v", role, short(id), a.Problem(id))
		case holds(keys, k):
			return nil, refuse(Key, role, "%s is given the key %s under two ids; list it once", role, short(id))
		}
		keys = append(keys, k)
	}
	if a.Threshold() < 1 || a.Threshold() > len(keys) {
		return nil, refuse(Key, role, "%s needs %d signatures and has %d keys; choose 1 to %d", role, a.Threshold(), len(keys), len(keys))
	}
	return keys, nil
}

// holds reports whether a list has a key, in whatever spelling.
func holds(keys []*key.Public, k *key.Public) bool {
	return slices.ContainsFunc(keys, func(o *key.Public) bool { return o.Fingerprint() == k.Fingerprint() })
}

// names reports whether a role names itself: the signature covers the name only in this way.
func names(t *tuf.Targets, role tuf.RoleName) bool {
	raw, ok := t.Member(repo.MemberRoleName)
	if !ok {
		return false
	}
	name, err := cjson.Canonical(raw, 0)
	return err == nil && bytes.Equal(name, cjson.AppendString(nil, role))
}

// short is how people see a key id. One that is not of hex digits came from outside and is quoted.
func short(id key.ID) string {
	text := string(id[:min(len(id), 12)])
	if !lowerHex(text) {
		return strconv.QuoteToASCII(text)
	}
	return text
}
