package audit

import (
	"slices"

	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/record"
	"example.com/bailiwick/tuf"
)

// owns notes the keys that a delegator names for one of the index's own roles. All delegators of a kind have to name
// the same ones.
func (c *comparison) owns(role policy.KeyRole, from *tuf.Targets, to tuf.RoleName) {
	a, ok := authorityOf(from, to)
	if !ok {
		return // told where it is needed
	}
	keys := record.KeysOf(a)
	before, known := c.report.Own[role]
	if !known {
		c.report.Own[role] = keys
		return
	}
	if !same(before, keys) {
		c.find(to, "%s here, and %s elsewhere in the repository", signs(keys), signs(before))
	}
}

// ownKeys holds who signs for the index itself against the record: keys that the record says were replaced must be out of
// use, and keys that were replaced must be in the record.
func (c *comparison) ownKeys() {
	retired := map[string]record.Entry{}
	for _, e := range c.own {
		if e.Old.Threshold > 0 && e.New.Threshold > 0 {
			retired[keysID(e.Old)] = e
			delete(retired, keysID(e.New))
		}
	}
	for _, role := range policy.KeyRoles() {
		keys := c.report.Own[role]
		if e, gone := retired[keysID(keys)]; gone && keys.Threshold > 0 {
			c.find(tuf.RoleName(role), "%s, and the record says in entry %d that these keys were replaced", signs(keys), e.Number)
		}
		before, known := c.Own[role]
		if known && !same(before, keys) && !c.told(before, keys) {
			c.find(tuf.RoleName(role), "%s, at the last audit it was that %s, and the record does not tell of the change", signs(keys), signs(before))
		}
	}
	c.roots()
}

// told reports whether entries lead from some keys to others.
func (c *comparison) told(from, to record.Keys) bool {
	for _, e := range c.own {
		if same(e.Old, from) {
			from = e.New
		}
		if same(from, to) {
			return true
		}
	}
	return false
}

// roots looks for every change of keys that a new root made in the record.
func (c *comparison) roots() {
	for i := 1; i < len(c.Roots); i++ {
		for _, role := range []tuf.RoleName{tuf.RoleRoot, tuf.RoleTargets, tuf.RoleSnapshot, tuf.RoleTimestamp} {
			old, _ := c.Roots[i-1].Authority(role)
			now, _ := c.Roots[i].Authority(role)
			before, after := record.KeysOf(old), record.KeysOf(now)
			if same(before, after) {
				continue
			}
			if !slices.ContainsFunc(c.own, func(e record.Entry) bool { return same(e.Old, before) && same(e.New, after) }) {
				c.find(tuf.RoleRoot, "version %d gave %s other keys, and the record does not tell of that", c.Roots[i].Version(), role)
			}
		}
	}
}

// keysID names a list of keys, whatever its order.
func keysID(k record.Keys) string {
	id := ""
	for _, i := range slices.Sorted(slices.Values(k.IDs)) {
		id += string(i) + " "
	}
	return id + string(rune('0'+k.Threshold))
}
