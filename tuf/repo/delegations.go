package repo

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
)

// Delegation is one entry of a targets role's delegations.
type Delegation struct {
	// Role is the delegated role.
	Role tuf.RoleName
	// Authority says who signs it. Its keys go into the delegator's key list.
	Authority tuf.Authority
	// Paths are the path patterns it may list targets for, or HashPrefixes the
	// lower-case hex prefixes of the SHA-256 of their paths: one of the two.
	Paths        []string
	HashPrefixes []string
	// Terminating ends the search for a path that matches, found or not.
	Terminating bool
	// MinimumVersion, if positive, is the lowest version of the role that clients
	// who know this additional member accept.
	MinimumVersion int64
	// Members are further members of the entry: raw JSON by name; nil removes one from an
	// entry that is replaced.
	Members map[string][]byte
}

// checkCount refuses more entries than clients with default limits read.
func checkCount(what string, n, most int) error {
	if n > most {
		return fmt.Errorf("%d %s, clients read at most %d: %w", n, what, most, ErrTooMany)
	}
	return nil
}

func (e *TargetsEdit) touchesDelegations() bool {
	return len(e.AddDelegations)+len(e.ReplaceDelegations)+len(e.RemoveDelegations) > 0 || e.AddBefore != ""
}

// check validates the delegation by itself.
func (d *Delegation) check() error {
	if _, err := tuf.ParseRoleName(string(d.Role)); err != nil {
		return fmt.Errorf("delegation %q: %w: %w", d.Role, ErrRoleName, err)
	}
	if reserved(d.Role) {
		return fmt.Errorf("delegation %q: name is reserved: %w", d.Role, ErrRoleName)
	}
	if err := reachable(d.Role, d.Authority); err != nil {
		return err
	}
	limits := tuf.DefaultLimits()
	if err := cmp.Or(
		checkCount("keys", len(d.Authority.KeyIDs()), limits.RoleKeys),
		checkCount("patterns", len(d.Paths)+len(d.HashPrefixes), limits.Patterns),
	); err != nil {
		return fmt.Errorf("delegation %q: %w", d.Role, err)
	}
	if d.MinimumVersion < 0 || d.MinimumVersion > maxVersion {
		return fmt.Errorf("delegation %q: minimum version %d: %w", d.Role, d.MinimumVersion, ErrVersion)
	}
	if (len(d.Paths) == 0) == (len(d.HashPrefixes) == 0) {
		return fmt.Errorf("delegation %q: give either paths or hash prefixes: %w", d.Role, ErrPattern)
	}
	for _, p := range d.Paths {
		if err := tuf.ValidatePattern(p); err != nil {
			return fmt.Errorf("delegation %q: %w: %w", d.Role, ErrPattern, err)
		}
	}
	for _, p := range d.HashPrefixes {
		if err := checkHashPrefix(p); err != nil {
			return fmt.Errorf("delegation %q: %w", d.Role, err)
		}
	}
	return nil
}

// encode returns the entry. Members of old, nil for a new one, that this
// package does not know stay.
func (d *Delegation) encode(old []byte) ([]byte, error) {
	if old == nil {
		old = []byte("{}")
	}
	changes := []change{
		put("keyids", stringList(d.Authority.KeyIDs())),
		put("name", quoted(string(d.Role))),
		put("terminating", fmt.Appendf(nil, "%t", d.Terminating)),
		put("threshold", number(int64(d.Authority.Threshold()))),
		drop("paths"),
		drop("path_hash_prefixes"),
		drop("minimum_version"),
	}
	if len(d.Paths) > 0 {
		changes[4] = put("paths", stringList(d.Paths))
	} else {
		changes[5] = put("path_hash_prefixes", stringList(d.HashPrefixes))
	}
	if d.MinimumVersion > 0 {
		changes[6] = put("minimum_version", number(d.MinimumVersion))
	}
	further, err := entryMembers(d.Members)
	if err != nil {
		return nil, fmt.Errorf("delegation %q: %w", d.Role, err)
	}
	changes = append(changes, further...)
	return splice(make([]byte, 0, 256), old, changes)
}

// entryMembers turns further members of an entry into changes. Those that this package
// writes itself are refused.
func entryMembers(members map[string][]byte) ([]change, error) {
	return membersBut(members, entryLevel,
		[]string{"keyids", "name", "terminating", "threshold", "paths", "path_hash_prefixes", "minimum_version"})
}

// delegationPlan is what an edit does to each role.
type delegationPlan struct {
	replace map[tuf.RoleName]*Delegation
	remove  map[tuf.RoleName]bool
	added   map[string]bool // in lower case
}

func planDelegations(edit *TargetsEdit) (*delegationPlan, error) {
	p := &delegationPlan{
		replace: make(map[tuf.RoleName]*Delegation, len(edit.ReplaceDelegations)),
		remove:  make(map[tuf.RoleName]bool, len(edit.RemoveDelegations)),
		added:   make(map[string]bool, len(edit.AddDelegations)),
	}
	seen := make(map[string]bool)
	claim := func(role tuf.RoleName) (folded string, err error) {
		folded = strings.ToLower(string(role))
		if seen[folded] {
			return "", fmt.Errorf("delegation %q is given twice, or differs from another in letter case only: %w", role, ErrRoleName)
		}
		seen[folded] = true
		return folded, nil
	}
	for i := range edit.AddDelegations {
		d := &edit.AddDelegations[i]
		folded, err := claim(d.Role)
		if err := cmp.Or(err, d.check()); err != nil {
			return nil, err
		}
		p.added[folded] = true
	}
	for i := range edit.ReplaceDelegations {
		d := &edit.ReplaceDelegations[i]
		_, err := claim(d.Role)
		if err := cmp.Or(err, d.check()); err != nil {
			return nil, err
		}
		p.replace[d.Role] = d
	}
	for _, role := range edit.RemoveDelegations {
		if _, err := claim(role); err != nil {
			return nil, err
		}
		p.remove[role] = true
	}
	return p, nil
}

// spliceDelegations returns the "delegations" object after the edit.
func spliceDelegations(old []byte, edit *TargetsEdit) ([]byte, error) {
	plan, err := planDelegations(edit)
	if err != nil {
		return nil, err
	}
	if old == nil {
		old = []byte(`{"keys":{},"roles":[]}`)
	}
	roles, err := lookup(old, "roles")
	if err != nil {
		return nil, err
	}
	if roles == nil {
		return nil, fmt.Errorf("%w: its delegations have no list of roles", ErrBase)
	}
	roles, used, err := spliceRoles(roles, plan, edit.AddDelegations, edit.AddBefore)
	if err != nil {
		return nil, err
	}
	keys := make(keyWriter)
	for _, d := range slices.Concat(edit.AddDelegations, edit.ReplaceDelegations) {
		keys.add(d.Authority)
	}
	return splice(make([]byte, 0, len(old)+len(roles)/8+512), old, []change{
		put("roles", roles),
		{"keys", func(old []byte) ([]byte, error) { return spliceKeys(old, keys, used) }},
	})
}

// roleList is the array of delegations that is being written.
type roleList struct {
	out   []byte
	count int
	used  map[string]bool // key ids of the entries; nil: not asked for
}

func (l *roleList) add(entry []byte) error {
	l.count++
	l.out = append(comma(l.out, 1), entry...)
	if l.used == nil {
		return nil
	}
	return collectKeyIDs(entry, l.used)
}

// addAll writes the entries of new delegations.
func (l *roleList) addAll(added []Delegation) error {
	for i := range added {
		entry, err := added[i].encode(nil)
		if err != nil {
			return err
		}
		if err := l.add(entry); err != nil {
			return err
		}
	}
	return nil
}

// spliceRoles returns the array of roles after the edit. If entries were
// replaced or removed it also returns the key ids that are still in use; nil
// means that no key can have become superfluous.
func spliceRoles(old []byte, plan *delegationPlan, added []Delegation, before tuf.RoleName) ([]byte, map[string]bool, error) {
	body, err := inside(old, '[')
	if err != nil {
		return nil, nil, err
	}
	list := &roleList{out: append(make([]byte, 0, len(old)+256*len(added)), '[')}
	missing := len(plan.replace) + len(plan.remove)
	if missing > 0 {
		list.used = make(map[string]bool)
	}
	for i := 0; i < len(body); {
		entry, next, err := nextElement(body, i)
		if err != nil {
			return nil, nil, err
		}
		i = next
		name, entry, touched, err := plan.apply(entry)
		if touched {
			missing--
		}
		if err == nil && entry != nil {
			if before != "" && name == before {
				err, added, before = list.addAll(added), nil, ""
			}
			err = cmp.Or(err, list.add(entry))
		}
		if err != nil {
			return nil, nil, err
		}
	}
	if missing > 0 {
		return nil, nil, fmt.Errorf("%d of the delegations to replace or remove: %w", missing, ErrAbsent)
	}
	if before != "" {
		return nil, nil, fmt.Errorf("delegation %q, before which others are to be added: %w", before, ErrAbsent)
	}
	if err := list.addAll(added); err != nil {
		return nil, nil, err
	}
	list.out = append(list.out, ']')
	limits := tuf.DefaultLimits()
	if err := cmp.Or(
		checkCount("delegations", list.count, limits.Delegations),
		checkPatterns(list.out, limits.FilePatterns),
	); err != nil {
		return nil, nil, err
	}
	return list.out, list.used, nil
}

// checkPatterns refuses an array of roles with more patterns and hash prefixes than clients
// with default limits read in one file.
func checkPatterns(roles []byte, most int) error {
	if len(roles) < len(`"*",`)*most { // there is no room for so many
		return nil
	}
	body, err := inside(roles, '[')
	if err != nil {
		return err
	}
	count := 0
	for i := 0; i < len(body); {
		entry, next, err := nextElement(body, i)
		if err != nil {
			return err
		}
		i = next
		for _, name := range []string{"paths", "path_hash_prefixes"} {
			n, err := countElements(entry, name)
			if err != nil {
				return err
			}
			count += n
		}
	}
	return checkCount("patterns", count, most)
}

// countElements returns how many elements the array of this name has, none if it is not there.
func countElements(object []byte, name string) (n int, err error) {
	array, err := lookup(object, name)
	if err != nil || array == nil {
		return 0, err
	}
	body, err := inside(array, '[')
	if err != nil {
		return 0, err
	}
	for i := 0; i < len(body); n++ {
		if _, i, err = nextElement(body, i); err != nil {
			return 0, err
		}
	}
	return n, nil
}

// apply returns the role of an entry, what becomes of it, nil if it is removed, and whether
// the edit names its role.
func (p *delegationPlan) apply(entry []byte) (name tuf.RoleName, next []byte, touched bool, err error) {
	name, err = entryName(entry)
	switch {
	case err != nil:
		return "", nil, false, err
	case p.remove[name]:
		return name, nil, true, nil
	case p.replace[name] != nil:
		next, err = p.replace[name].encode(entry)
		return name, next, true, err
	case p.added[strings.ToLower(string(name))]:
		return name, nil, false, fmt.Errorf("a delegation to add is there already as %q; letter case makes no difference: %w", name, ErrRoleName)
	}
	return name, entry, false, nil
}

func entryName(entry []byte) (tuf.RoleName, error) {
	name, err := lookup(entry, "name")
	if err != nil || len(name) < 2 {
		return "", errShape
	}
	return tuf.RoleName(unquote(name)), nil
}

func collectKeyIDs(entry []byte, into map[string]bool) error {
	ids, err := lookup(entry, "keyids")
	if err != nil {
		return err
	}
	body, err := inside(ids, '[')
	if err != nil {
		return err
	}
	for i := 0; i < len(body); {
		id, next, err := nextElement(body, i)
		if err != nil {
			return err
		}
		if len(id) < 2 {
			return errShape
		}
		into[string(unquote(id))] = true
		i = next
	}
	return nil
}

// keyWriter yields a key's KEY object; nil if the key must be in the base.
type keyWriter map[key.ID][]byte

func (w keyWriter) add(a tuf.Authority) {
	for _, id := range a.KeyIDs() {
		if w[id] != nil {
			continue
		}
		k, ok := a.Key(id)
		if !ok || k.ID() != id {
			// Of an unknown kind, or a KEY object with further members: only the
			// base has its bytes.
			w[id] = nil
			continue
		}
		w[id] = k.AppendCanonical(nil)
	}
}

// spliceKeys returns the "keys" object with the writer's keys in it and, unless
// used is nil, without those that are not used.
func spliceKeys(old []byte, w keyWriter, used map[string]bool) ([]byte, error) {
	if old == nil {
		old = []byte("{}")
	}
	body, err := inside(old, '{')
	if err != nil {
		return nil, err
	}
	changes := make([]change, 0, len(w))
	for id, object := range w {
		changes = append(changes, change{string(id), func(old []byte) ([]byte, error) {
			if old != nil { // same id, same key: keep its bytes
				return old, nil
			}
			if object == nil {
				return nil, fmt.Errorf("key %s can not be written: its KEY object is not the plain one of its id: %w", id, ErrKey)
			}
			return object, nil
		}})
	}
	for i := 0; used != nil && i < len(body); {
		m, next, err := nextMember(body, i)
		if err != nil {
			return nil, err
		}
		if !used[string(m.name)] {
			changes = append(changes, drop(string(m.name)))
		}
		i = next
	}
	out, count, err := spliceBody(append(make([]byte, 0, len(old)+256*len(w)), '{'), body, changes)
	if err != nil {
		return nil, err
	}
	return append(out, '}'), checkCount("keys", count, tuf.DefaultLimits().Keys)
}

func checkHashPrefix(p string) error {
	if p == "" || len(p) > 64 || strings.Trim(p, "0123456789abcdef") != "" {
		return fmt.Errorf("hash prefix %q is not 1 to 64 lower-case hex digits: %w", p, ErrPattern)
	}
	return nil
}
