package sitting_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/sitting"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
	"example.com/bailiwick/tuf/repo"
)

// TestR5EverySittingCanBePublished: whatever is wished for, in whatever repository: what is planned is judged to
// be just that, survives the way to the keys and back byte for byte, and is accepted by clients that have the
// publication before; and so is the sitting after it.
func TestR5EverySittingCanBePublished(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newPlace(t, 16)
		claimed := w.populate(rt)
		w.now = w.now.Add(20 * day)
		wishes, want := w.wish(rt, claimed)
		r := w.plan(wishes)
		var first, second bytes.Buffer
		if err := sitting.Encode(&first, r); err != nil {
			rt.Fatal(err)
		}
		if err := sitting.Encode(&second, carry(t, r)); err != nil || !bytes.Equal(first.Bytes(), second.Bytes()) {
			rt.Fatalf("encoded again it is another file: %v", err)
		}
		v := w.take(r)
		got := make(map[string]sitting.ChangeKind)
		for _, c := range v.Changes {
			if !c.Project.IsZero() {
				got[c.Project.String()] = c.Kind
			}
		}
		if !maps.Equal(got, want) {
			rt.Fatalf("judged as %v, want %v", got, want)
		}
		for name, kind := range want {
			word := policy.Claimed.String()
			if kind == sitting.Parked {
				word = "parked"
			}
			if a, err := w.found(name); err != nil || a.String() != word {
				rt.Fatalf("%s is %v after the sitting: %v", name, a, err)
			}
		}
		w.now = w.now.Add(30 * day)
		for _, c := range w.take(w.plan(sitting.Wishes{All: true})).Changes {
			if c.Kind != sitting.Renewed && c.Kind != sitting.Bounded {
				rt.Fatalf("a renewal does %v", c)
			}
		}
	})
}

// populate claims projects, promotes some of them, and returns these.
func (w *place) populate(rt *rapid.T) []string {
	var old, young []string
	for i := range rapid.IntRange(0, 8).Draw(rt, "projects") {
		name := fmt.Sprintf("lib-%d", i)
		if rapid.Bool().Draw(rt, "claimed") {
			old = append(old, name)
		} else {
			young = append(young, name)
		}
	}
	threshold := rapid.IntRange(1, 3).Draw(rt, "threshold")
	if len(old) > 0 {
		w.claim(w.now.Add(-20*day), threshold, old...)
		w.take(w.plan(sitting.Wishes{MinAge: 14 * day}))
	}
	if len(young) > 0 {
		w.claim(w.now, threshold, young...)
	}
	return old
}

// wish draws what operators want, and what has to come of it, by project.
func (w *place) wish(rt *rapid.T, claimed []string) (sitting.Wishes, map[string]sitting.ChangeKind) {
	want := make(map[string]sitting.ChangeKind)
	wishes := sitting.Wishes{
		MinAge: rapid.SampledFrom([]time.Duration{0, 10 * day, 30 * day}).Draw(rt, "age"),
		Renew:  rapid.Bool().Draw(rt, "renew"), All: rapid.Bool().Draw(rt, "all"),
		Roles: rapid.SampledFrom([][]tuf.RoleName{nil, {tuf.RoleTargets, tuf.RoleRoot}, {policy.RoleUnclaimed}}).Draw(rt, "roles"),
	}
	for name := range w.maintainers {
		if !slices.Contains(claimed, name) && wishes.MinAge == 10*day {
			want[name] = sitting.Promoted
		}
	}
	carol := namedKey(w.tb, "carol")
	for _, name := range claimed {
		next := append([]key.Signer{carol}, w.maintainers[name][1:]...)
		switch rapid.IntRange(0, 4).Draw(rt, name) {
		case 1:
			wishes.Park = append(wishes.Park, projectOf(w.tb, name))
			want[name] = sitting.Parked
		case 2:
			wishes.Rekeys = append(wishes.Rekeys, w.rekey(name, 1, next, repo.TargetsEdit{}, append(w.maintainers[name], carol)...))
			want[name] = sitting.Rekeyed
			w.maintainers[name] = next
		case 3:
			wishes.Recoveries = append(wishes.Recoveries, w.rekey(name, 1, next, repo.TargetsEdit{}, next...))
			want[name] = sitting.Recovered
			w.maintainers[name] = next
		}
	}
	return wishes, want
}

// TestR5NothingElseCanChange: whatever is different in a payload, down to a single value anywhere in it, it is
// refused; but for dates, which people see.
func TestR5NothingElseCanChange(t *testing.T) {
	s := newStage(t)
	rapid.Check(t, func(rt *rapid.T) {
		r := s.r.Clone()
		p := &r.Payloads[rapid.IntRange(0, len(r.Payloads)-1).Draw(rt, "payload")]
		before := p.Message
		var where string
		p.Message = bent(t, before, func(signed object) { where = mutate(rt, signed, "") })
		if bytes.Equal(before, p.Message) {
			rt.Fatalf("%s of %s: nothing changed", where, p.Role)
		}
		v, err := sitting.Judge(r, s.now)
		var refused *sitting.Refused
		switch {
		case errors.As(err, &refused):
		case err != nil:
			rt.Fatalf("%s of %s: the error is no refusal: %v", where, p.Role, err)
		case !slices.ContainsFunc([]string{"/expires", "/since", "/" + policy.RecoveredMember, "/" + policy.ParkedMember}, func(end string) bool { return strings.HasSuffix(where, end) }):
			rt.Fatalf("%s of %s was changed, and the verdict is %v", where, p.Role, v.Changes)
		}
	})
}

// mutate changes one thing somewhere in an object, and says where.
func mutate(rt *rapid.T, o object, path string) string {
	names := slices.Sorted(maps.Keys(o))
	if len(names) == 0 || rapid.IntRange(0, 9).Draw(rt, "add") == 0 {
		o["additional"] = "x"
		return path + "/additional"
	}
	name := rapid.SampledFrom(names).Draw(rt, "member")
	path += "/" + name
	if rapid.IntRange(0, 9).Draw(rt, "delete") == 0 {
		delete(o, name)
		return path + " deleted"
	}
	switch v := o[name].(type) {
	case object:
		return mutate(rt, v, path)
	case []any:
		return mutateList(rt, o, name, v, path)
	default:
		o[name] = mutateValue(rt, v)
	}
	return path
}

func mutateList(rt *rapid.T, o object, name string, list []any, path string) string {
	i := rapid.IntRange(0, max(len(list)-1, 0)).Draw(rt, "element")
	switch what := rapid.IntRange(0, 3).Draw(rt, "what"); {
	case len(list) == 0 || what == 0:
		o[name] = append(slices.Clone(list), "x")
		return path + " added to"
	case what == 1:
		o[name] = slices.Delete(slices.Clone(list), i, i+1)
		return path + " taken from"
	case what == 2 && !reflect.DeepEqual(list[0], list[i]):
		list[0], list[i] = list[i], list[0]
		return path + " swapped"
	}
	if inner, ok := list[i].(object); ok {
		return mutate(rt, inner, fmt.Sprintf("%s[%d]", path, i))
	}
	list[i] = mutateValue(rt, list[i])
	return fmt.Sprintf("%s[%d]", path, i)
}

func mutateValue(rt *rapid.T, v any) any {
	switch v := v.(type) {
	case string:
		if rapid.Bool().Draw(rt, "longer") || v == "" {
			return v + "x"
		}
		b := []byte(v)
		i := rapid.IntRange(0, len(b)-1).Draw(rt, "byte")
		others := slices.DeleteFunc([]byte("0123456789abcdefxyz/*-"), func(c byte) bool { return c == b[i] })
		b[i] = rapid.SampledFrom(others).Draw(rt, "character")
		return string(b)
	case json.Number:
		n, _ := v.Int64()
		return n + rapid.SampledFrom([]int64{-3, -2, -1, 1, 2, 3}).Draw(rt, "by")
	case bool:
		return !v
	}
	return "x"
}
