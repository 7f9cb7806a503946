package repo

import (
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
	// Bins delegates to bins instead; nil: to none.
	Bins *Bins
	// Members are additional members of "signed": raw JSON by name.
	Members map[string][]byte
}

// NewTargets drafts a targets role from nothing.
func NewTargets(spec TargetsSpec, issue Issue) (*Draft, error) {
	edit := TargetsEdit{Put: spec.Targets, AddDelegations: spec.Delegations, Bins: spec.Bins, Members: spec.Members}
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
	// AddDelegations adds delegations, in order, after the existing ones or where AddBefore says. A name that is
	// delegated already, in any letter case, is [ErrRoleName].
	AddDelegations []Delegation
	// AddBefore puts the added delegations right before the one of this role, which the base
	// must have and the edit must leave in place; otherwise it is [ErrAbsent]. Empty: at the end.
	AddBefore tuf.RoleName
	// ReplaceDelegations replaces delegations where they stand; unknown members
	// of the entry stay. A name that is not delegated is [ErrAbsent].
	ReplaceDelegations []Delegation
	// RemoveDelegations takes delegations out, and keys that nobody else uses. A
	// name that is not delegated is [ErrAbsent].
	RemoveDelegations []tuf.RoleName
	// Bins delegates to bins, or changes them. Where delegations are listed, in the base or
	// in this edit, it is [ErrBins].
	Bins *Bins
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
	files, err := newFileEdit(edit, issue)
	if err != nil {
		return nil, fmt.Errorf("editing %s: %w", issue.Role, err)
	}
	changes = append(changes, issue.header()...)
	changes = append(changes, put(MemberRoleName, quoted(string(issue.Role))))
	changes = append(changes, change{"targets", files.splice})
	switch {
	case edit.Bins != nil && edit.touchesDelegations():
		return nil, fmt.Errorf("editing %s: bins and listed delegations in one role: %w", issue.Role, ErrBins)
	case edit.Bins != nil:
		if err := edit.Bins.check(); err != nil {
			return nil, fmt.Errorf("editing %s: %w", issue.Role, err)
		}
		changes = append(changes, change{"delegations", func(old []byte) ([]byte, error) { return spliceBins(old, edit.Bins) }})
	case edit.touchesDelegations():
		changes = append(changes, change{"delegations", func(old []byte) ([]byte, error) {
			return spliceDelegations(old, edit)
		}})
	}
	page := issue.newPage(len(signed) + files.size + 256*(1+len(edit.AddDelegations)))
	room := len(page)
	if page, err = splice(page, signed, changes); err == nil {
		page, err = files.fill(page, room)
	}
	if err != nil {
		return nil, fmt.Errorf("editing %s: %w", issue.Role, baseError(err))
	}
	return newDraft(issue.Role, issue, page, room)
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
