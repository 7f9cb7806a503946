package policy

import (
	"errors"
	"fmt"
	"time"

	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/cjson"
	"example.com/bailiwick/tuf/key"
	"example.com/bailiwick/tuf/repo"
)

// Additional members of the delegation of a project by its claimed bin.
const (
	// ParkedMember is the date since which the bin's own keys sign for the project, in the place of its
	// maintainers.
	ParkedMember = "parked"
	// ParkedKeysMember is who signed before that, and takes the project back by signing:
	// {"keys":[KEY, …],"threshold":n}.
	ParkedKeysMember = "parked-keys"
	// RecoveredMember is the date at which operators gave the project to other keys without its own.
	RecoveredMember = "recovered"
)

// ErrParked means: the delegation does not say who signed for a parked project before, or not in a form
// that can be used.
var ErrParked = errors.New("the keys of the parked project can not be read")

// Parked returns since when a project is parked: operators have countersigned its last list, because its
// maintainers do not answer. It returns false for a project that is not.
func Parked(d tuf.Delegation) (time.Time, bool) { return delegationDate(d, ParkedMember) }

// Recovered returns when operators gave the project to other keys, and false if they never did.
func Recovered(d tuf.Delegation) (time.Time, bool) { return delegationDate(d, RecoveredMember) }

// Owners returns whose keys a project is: those that its delegation names, and of a parked one those that it
// was parked from. The error wraps [ErrParked] or is that of the delegation.
func Owners(d tuf.Delegation) (tuf.Authority, error) {
	if _, parked := Parked(d); parked {
		return ParkedKeys(d)
	}
	return d.Authority()
}

// Park returns the delegation by which a claimed bin, which bin signs, signs for a project itself from
// since on. The keys of its maintainers are kept beside, for the day they come back. A key that can not be
// written down is [ErrParked].
func Park(l Layout, p pypi.Project, bin, maintainers tuf.Authority, since time.Time) (repo.Delegation, error) {
	keys, err := encodeParkedKeys(maintainers)
	if err != nil {
		return repo.Delegation{}, fmt.Errorf("parking %s: %w", p, err)
	}
	d := NewProject(l, p, bin)
	d.Members = map[string][]byte{
		ParkedMember:     cjson.AppendString(nil, tuf.FormatTime(since)),
		ParkedKeysMember: keys,
	}
	return d, nil
}

// Unpark returns the delegation that gives a parked project, or any other of a claimed bin, to keys: the
// members that [Park] wrote go.
func Unpark(l Layout, p pypi.Project, a tuf.Authority) repo.Delegation {
	d := NewProject(l, p, a)
	d.Members = map[string][]byte{ParkedMember: nil, ParkedKeysMember: nil}
	return d
}

// Recover is [Unpark] for keys that the old ones have not agreed to, at the time at.
func Recover(l Layout, p pypi.Project, a tuf.Authority, at time.Time) repo.Delegation {
	d := Unpark(l, p, a)
	d.Members[RecoveredMember] = cjson.AppendString(nil, tuf.FormatTime(at))
	return d
}

func encodeParkedKeys(a tuf.Authority) ([]byte, error) {
	b := []byte(`{"keys":[`)
	for i, id := range a.KeyIDs() {
		k, ok := a.Key(id)
		if !ok || k.ID() != id {
			return nil, fmt.Errorf("key %.12s of its maintainers: %w", id, ErrParked)
		}
		if i > 0 {
			b = append(b, ',')
		}
		b = cjson.AppendWire(b, k.AppendCanonical(nil)) // PEM has line breaks
	}
	b = cjson.AppendInt(append(b, `],"threshold":`...), int64(a.Threshold()))
	return append(b, '}'), nil
}

// ParkedKeys returns who signed for a parked project before it was. The error wraps [ErrParked].
func ParkedKeys(d tuf.Delegation) (tuf.Authority, error) {
	raw := delegationMember(d, ParkedKeysMember)
	if raw == nil {
		return tuf.Authority{}, fmt.Errorf("%w: %s has no member %q", ErrParked, d.Name(), ParkedKeysMember)
	}
	var keys []*key.Public
	var threshold int64
	r := cjson.New(raw, cjson.MaxDepth)
	for m := r.Object(); r.Next(&m); {
		switch string(m.Name()) {
		case "keys":
			for e := r.Array(); r.More(&e); {
				k, err := parkedKey(r)
				if err != nil {
					return tuf.Authority{}, fmt.Errorf("%w: %s: %w", ErrParked, d.Name(), err)
				}
				keys = append(keys, k)
			}
		case "threshold":
			threshold = r.Int()
		default:
			return tuf.Authority{}, fmt.Errorf("%w: %s: the member %.40q is unknown", ErrParked, d.Name(), m.Name())
		}
	}
	if err := r.End(); err != nil {
		return tuf.Authority{}, fmt.Errorf("%w: %s: %w", ErrParked, d.Name(), err)
	}
	a, err := tuf.NewAuthority(int(min(threshold, 1<<20)), keys...)
	if err != nil {
		return tuf.Authority{}, fmt.Errorf("%w: %s: %w", ErrParked, d.Name(), err)
	}
	return a, nil
}

// parkedKey reads a plain KEY object.
func parkedKey(r *cjson.Reader) (*key.Public, error) {
	var keytype, scheme, public string
	for m := r.Object(); r.Next(&m); {
		switch name := string(m.Name()); name {
		case "keytype":
			keytype = string(r.Bytes())
		case "scheme":
			scheme = string(r.Bytes())
		case "keyval":
			for v := r.Object(); r.Next(&v); {
				if string(v.Name()) != "public" {
					return nil, fmt.Errorf("a key has a member %.40q", v.Name())
				}
				public = string(r.Bytes())
			}
		default:
			return nil, fmt.Errorf("a key has a member %.40q", name)
		}
	}
	if err := r.Err(); err != nil {
		return nil, err
	}
	return key.New(keytype, scheme, public)
}

// delegationMember returns a member of a delegation's entry as received, nil if it has none.
func delegationMember(d tuf.Delegation, name string) []byte {
	raw := d.Raw()
	if raw == nil {
		return nil
	}
	var value []byte
	r := cjson.New(raw, cjson.MaxDepth)
	for m := r.Object(); r.Next(&m); {
		mark, wanted := r.Mark(), string(m.Name()) == name
		r.Skip()
		if wanted {
			value, _ = r.Since(mark)
		}
	}
	if r.End() != nil {
		return nil
	}
	return value
}

// delegationDate reads a date from a member, and false if it is not in the form that this package writes.
func delegationDate(d tuf.Delegation, name string) (time.Time, bool) {
	raw := delegationMember(d, name)
	if raw == nil {
		return time.Time{}, false
	}
	r := cjson.New(raw, 1)
	if r.Kind() != cjson.String {
		return time.Time{}, false
	}
	text := string(r.Bytes())
	t, err := time.Parse(time.RFC3339, text)
	if r.End() != nil || err != nil || tuf.FormatTime(t) != text {
		return time.Time{}, false
	}
	return t, true
}
