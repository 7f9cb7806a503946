package repo

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"unicode/utf8"

	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/cjson"
)

// TargetsSpec is the content of a first version of a targets role.
type TargetsSpec struct {
	// Targets are the files, in any order.
	Targets []tuf.Target
	// Delegations are the delegated roles in order of precedence; none leaves the
	// whole member out.
	Delegations []Delegation
	// Members are additional members of "signed": raw JSON by name.
	Members map[string][]byte
}

// NewTargets drafts a targets role from nothing.
func NewTargets(spec TargetsSpec, issue Issue) (*Draft, error) {
	edit := TargetsEdit{Put: spec.Targets, AddDelegations: spec.Delegations, Members: spec.Members}
	if err := checkTargetsRole(&issue); err != nil {
		return nil, err
	}
	return draftTargets(blank(tuf.RoleTargets), &edit, &issue)
}

// TargetsEdit is a change of a targets role. The empty edit renews it: same
// content, next version, new expiry.
type TargetsEdit struct {
	// Put adds targets, or replaces those of the same path; members of a replaced
	// entry that this package does not know stay.
	Put []tuf.Target
	// Remove takes targets out. A path that is not listed is [ErrAbsent].
	Remove []tuf.TargetPath
	// AddDelegations adds delegations after the existing ones, in order. A name that is
	// delegated already, in any letter case, is [ErrRoleName].
	AddDelegations []Delegation
	// ReplaceDelegations replaces delegations where they stand; unknown members
	// of the entry stay. A name that is not delegated is [ErrAbsent].
	ReplaceDelegations []Delegation
	// RemoveDelegations takes delegations out, and keys that nobody else uses. A
	// name that is not delegated is [ErrAbsent].
	RemoveDelegations []tuf.RoleName
	// Members sets additional members of "signed" to raw JSON; nil removes.
	Members map[string][]byte
}

// EditTargets drafts the successor of base, which must be a version of the role
// that issue names.
func EditTargets(base *tuf.Targets, edit TargetsEdit, issue Issue) (*Draft, error) {
	if err := issue.succeeds(issue.Role, base.Version()); err != nil {
		return nil, err
	}
	if err := checkTargetsRole(&issue); err != nil {
		return nil, err
	}
	if raw, ok := base.Member(MemberRoleName); ok {
		named, err := canonicalValue(raw, cjson.MaxDepth)
		if err != nil || string(named) != string(quoted(string(issue.Role))) {
			return nil, fmt.Errorf("editing %s: base is a version of role %.300s: %w", issue.Role, raw, ErrRoleName)
		}
	}
	signed, err := canonicalSigned(base.Bytes())
	if err != nil {
		return nil, fmt.Errorf("editing %s: %w", issue.Role, err)
	}
	return draftTargets(signed, &edit, &issue)
}

func checkTargetsRole(issue *Issue) error {
	if issue.Role == "" {
		return fmt.Errorf("issuing a targets role: its name is missing: %w", ErrRoleName)
	}
	if _, err := tuf.ParseRoleName(string(issue.Role)); err != nil {
		return fmt.Errorf("issuing a targets role: %w: %w", ErrRoleName, err)
	}
	if issue.Role != tuf.RoleTargets && reserved(issue.Role) {
		return fmt.Errorf("issuing %q: name is reserved: %w", issue.Role, ErrRoleName)
	}
	return issue.check(issue.Role)
}

// draftTargets applies edit to the canonical bytes of "signed".
func draftTargets(signed []byte, edit *TargetsEdit, issue *Issue) (*Draft, error) {
	changes, err := memberChanges(edit.Members, []string{"targets", "delegations", MemberRoleName})
	if err != nil {
		return nil, fmt.Errorf("editing %s: %w", issue.Role, err)
	}
	files, size, err := targetChanges(edit, issue)
	if err != nil {
		return nil, fmt.Errorf("editing %s: %w", issue.Role, err)
	}
	changes = append(changes, issue.header()...)
	changes = append(changes, put(MemberRoleName, quoted(string(issue.Role))))
	changes = append(changes, change{"targets", func(old []byte) ([]byte, error) {
		return spliceTargets(old, files, size)
	}})
	if edit.touchesDelegations() {
		changes = append(changes, change{"delegations", func(old []byte) ([]byte, error) {
			return spliceDelegations(old, edit)
		}})
	}
	message, err := splice(make([]byte, 0, len(signed)+size+256*(1+len(edit.AddDelegations))), signed, changes)
	if err != nil {
		return nil, fmt.Errorf("editing %s: %w", issue.Role, baseError(err))
	}
	return newDraft(issue.Role, issue, message)
}

// spliceTargets returns the "targets" object with its entries changed; size is about
// how many bytes that adds.
func spliceTargets(old []byte, files []change, size int) ([]byte, error) {
	if old == nil {
		old = []byte("{}")
	}
	if len(files) == 0 {
		return old, nil
	}
	return splice(make([]byte, 0, len(old)+size), old, files)
}

// targetChanges validates the edit's targets and makes them changes of the "targets"
// object, sorted by path, and estimates how many bytes those take.
func targetChanges(edit *TargetsEdit, issue *Issue) (changes []change, size int, err error) {
	changes = make([]change, 0, len(edit.Put)+len(edit.Remove))
	var scratch []byte // shared by all entries: spliceBody copies one before it asks for the next
	for i := range edit.Put {
		t := &edit.Put[i]
		if err := issue.granted(t.Path); err != nil {
			return nil, 0, err
		}
		c, err := targetChange(t, &scratch)
		if err != nil {
			return nil, 0, err
		}
		changes = append(changes, c)
		size += 128 + len(t.Path) + len(t.Custom)
	}
	for _, p := range edit.Remove {
		changes = append(changes, change{string(p), func(old []byte) ([]byte, error) {
			if old == nil {
				return nil, fmt.Errorf("removing target %q: %w", p, ErrAbsent)
			}
			return nil, nil
		}})
	}
	slices.SortFunc(changes, func(a, b change) int { return cmp.Compare(a.name, b.name) })
	for i := 1; i < len(changes); i++ {
		if changes[i-1].name == changes[i].name {
			return nil, 0, fmt.Errorf("target %q is given twice: %w", changes[i].name, ErrPath)
		}
	}
	return changes, size, nil
}

// targetChange checks one target. Its entry is encoded when it is asked for: a new one
// into scratch, one that replaces another with what was unknown in that.
func targetChange(t *tuf.Target, scratch *[]byte) (change, error) {
	if _, err := tuf.ParseTargetPath(string(t.Path)); err != nil {
		return change{}, fmt.Errorf("target %q: %w: %w", t.Path, ErrPath, err)
	}
	limits := tuf.DefaultLimits()
	if t.Length < 0 || t.Length > limits.TargetLength {
		return change{}, fmt.Errorf("target %q: length %d is outside 0 to %d: %w", t.Path, t.Length, limits.TargetLength, ErrTarget)
	}
	if err := checkHashes(t.Hashes); err != nil {
		return change{}, fmt.Errorf("target %q: %w", t.Path, err)
	}
	custom := t.Custom
	if custom != nil {
		var err error
		if custom, err = canonicalValue(custom, limits.Nesting-customLevel); err != nil {
			return change{}, fmt.Errorf("target %q: custom object: %w: %w", t.Path, ErrTarget, err)
		}
		if custom[0] != '{' || len(custom) > limits.CustomBytes {
			return change{}, fmt.Errorf("target %q: custom is not a JSON object of at most %d bytes: %w", t.Path, limits.CustomBytes, ErrTarget)
		}
	}
	return change{string(t.Path), func(old []byte) (entry []byte, err error) {
		if old == nil {
			*scratch, err = tuf.AppendTarget((*scratch)[:0], *t)
			return *scratch, err
		}
		return splice(nil, old, []change{
			put("custom", custom), // nil takes the old one out
			put("hashes", tuf.AppendHashes(nil, t.Hashes)),
			put("length", number(t.Length)),
		})
	}}, nil
}

// memberChanges turns additional members into changes. Names of the
// specification and those this package writes itself are refused.
func memberChanges(members map[string][]byte, known []string) ([]change, error) {
	return membersBut(members, memberLevel, append(known, "_type", "spec_version", "version", "expires"))
}

// membersBut turns members that lie under so many levels into changes, and refuses those of a list.
func membersBut(members map[string][]byte, level int, known []string) ([]change, error) {
	changes := make([]change, 0, len(members)+8)
	for _, name := range slices.Sorted(maps.Keys(members)) {
		if slices.Contains(known, name) {
			return nil, fmt.Errorf("member %q is not an additional one: %w", name, ErrMember)
		}
		if !utf8.ValidString(name) {
			return nil, fmt.Errorf("member %q: name is not valid UTF-8: %w", name, ErrMember)
		}
		if members[name] == nil {
			changes = append(changes, drop(name))
			continue
		}
		value, err := canonicalValue(members[name], tuf.DefaultLimits().Nesting-level)
		if err != nil {
			return nil, fmt.Errorf("member %q: %w: %w", name, ErrMember, err)
		}
		changes = append(changes, put(name, value))
	}
	return changes, nil
}
