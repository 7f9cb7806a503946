package ceremony

import (
	"encoding/hex"
	"fmt"

	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
)

// Line is one line of what a request would change, for people.
type Line struct {
	Sign byte   // '+' new, '-' gone, '~' changed, '=' unchanged, '!' look twice
	Text string // one line, without the sign
}

// String joins the two.
func (l Line) String() string { return string(l.Sign) + " " + l.Text }

// Describe says how the files and delegations of a role change. A nil base stands for no version.
func Describe(base, next *tuf.Targets) []Line {
	var out []Line
	unchanged := next.Len()
	for path, raw := range differences(base, next) {
		if raw == nil {
			out = append(out, Line{'-', fileName(path)})
			continue
		}
		unchanged--
		t, _ := next.Lookup(path)
		line := Line{'+', fmt.Sprintf("%s  %s  %d bytes", fileName(path), digest(t), t.Length)}
		if base != nil {
			if old, ok := base.Lookup(path); ok {
				line = changedLine(old, t)
			}
		}
		out = append(out, line)
	}
	switch {
	case unchanged == 1:
		out = append(out, Line{'=', "1 file unchanged"})
	case unchanged > 1:
		out = append(out, Line{'=', fmt.Sprintf("%d files unchanged", unchanged)})
	}
	out = append(out, describeDelegations(base, next)...)
	out = append(out, describeRecovery(base, next)...)
	return append(out, describeStatus(base, next)...)
}

func digest(t tuf.Target) string {
	sum, ok := t.Hashes.SHA256()
	if !ok {
		return "no sha256"
	}
	return "sha256 " + hex.EncodeToString(sum[:])
}

// changedLine says what is different about a file.
func changedLine(old, next tuf.Target) Line {
	name := fileName(next.Path)
	if old.Length != next.Length || old.Hashes != next.Hashes {
		return Line{'!', fmt.Sprintf("%s  OTHER CONTENT: %s  %d bytes, before %s  %d bytes", name, digest(next), next.Length, digest(old), old.Length)}
	}
	before, err1 := policy.DecodeCustom(old.Custom)
	after, err2 := policy.DecodeCustom(next.Custom)
	switch {
	case err1 != nil || err2 != nil || string(lasting(old.Custom)) != string(lasting(next.Custom)):
		return Line{'!', name + "  other description"}
	case after.Yanked != nil && !sameReason(before.Yanked, after.Yanked):
		reason := ""
		if *after.Yanked != "" {
			reason = ": " + *after.Yanked
		}
		return Line{'~', name + "  yanked" + reason}
	case before.Yanked != nil && after.Yanked == nil:
		return Line{'~', name + "  no longer yanked"}
	case after.VouchedBy != "":
		return Line{'~', name + "  adopted: vouched for by the index, not built by you"}
	}
	return Line{'~', name + "  vouched for by its maintainers"}
}

func describeDelegations(base, next *tuf.Targets) []Line {
	var out []Line
	each := func(t *tuf.Targets, do func(d tuf.Delegation)) {
		if t != nil && t.Delegations() != nil {
			for d := range t.Delegations().All() {
				do(d)
			}
		}
	}
	each(next, func(d tuf.Delegation) {
		a, err := d.Authority()
		if err != nil {
			return
		}
		text := fmt.Sprintf("%s may list %v, signed by %d of %d keys", d.Name(), d.Paths(), a.Threshold(), len(a.KeyIDs()))
		old, ok := tuf.Delegation{}, false
		if base != nil {
			old, ok = find(base, d.Name())
		}
		switch {
		case !ok:
			out = append(out, Line{'+', text})
		case string(old.Raw()) != string(d.Raw()):
			out = append(out, Line{'~', text})
		}
	})
	each(base, func(d tuf.Delegation) {
		if _, ok := find(next, d.Name()); !ok {
			out = append(out, Line{'-', string(d.Name()) + " and every file that it alone lists"})
		}
	})
	return out
}

func describeRecovery(base, next *tuf.Targets) []Line {
	of := func(t *tuf.Targets) []*key.Public {
		if t == nil {
			return nil
		}
		keys, err := RecoveryKeys(t)
		if err != nil {
			return nil
		}
		return keys
	}
	return describeLists(of(base), of(next), "recovery key")
}

// DescribeKeys says how the keys and the threshold of a role change. The zero Authority stands
// for none.
func DescribeKeys(old, next tuf.Authority) []Line {
	out := describeLists(keysOf(old), keysOf(next), "key")
	n := len(next.KeyIDs())
	switch {
	case old.Threshold() == 0 || old.Threshold() == next.Threshold() && len(out) > 0:
		out = append(out, Line{'=', fmt.Sprintf("%d of %d keys must sign", next.Threshold(), n)})
	case old.Threshold() != next.Threshold():
		out = append(out, Line{'~', fmt.Sprintf("%d of %d keys must sign, before %d of %d", next.Threshold(), n, old.Threshold(), len(old.KeyIDs()))})
	default:
		out = append(out, Line{'=', "keys and threshold unchanged"})
	}
	return out
}

func describeLists(old, next []*key.Public, what string) []Line {
	var out []Line
	for _, k := range next {
		if !holds(old, k) {
			out = append(out, Line{'+', fmt.Sprintf("%s %s  %s", what, short(k.ID()), k.Scheme())})
		}
	}
	for _, k := range old {
		if !holds(next, k) {
			out = append(out, Line{'-', fmt.Sprintf("%s %s  %s", what, short(k.ID()), k.Scheme())})
		}
	}
	return out
}
