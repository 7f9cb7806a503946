package repo

import (
	"fmt"
	"maps"
	"slices"

	"example.com/bailiwick/tuf"
)

// RootSpec is the content of a repository's first root.
type RootSpec struct {
	// ConsistentSnapshot says that metadata and targets are published under
	// versioned and hash-prefixed names (specification 6.2.1).
	ConsistentSnapshot bool
	// Roles says who signs root, timestamp, snapshot and targets: all four.
	Roles map[tuf.RoleName]tuf.Authority
	// ShareKeys allows a key to sign several of these roles. A shared key means that who
	// steals one role has the other, so it must be said.
	ShareKeys bool
	// Members are additional members of "signed": raw JSON by name.
	Members map[string][]byte
}

// NewRoot drafts the first root, which must have version 1 and is signed by its own keys.
func NewRoot(spec RootSpec, issue Issue) (*Draft, error) {
	if err := issue.succeeds(tuf.RoleRoot, 0); err != nil {
		return nil, err
	}
	for _, role := range topLevel() {
		if _, ok := spec.Roles[role]; !ok {
			return nil, fmt.Errorf("issuing root: no keys given for role %s: %w", role, ErrThreshold)
		}
	}
	edit := &RootEdit{Roles: spec.Roles, ShareKeys: spec.ShareKeys, Members: spec.Members}
	signed, err := splice(nil, blank(tuf.RoleRoot), []change{
		put("consistent_snapshot", fmt.Appendf(nil, "%t", spec.ConsistentSnapshot)),
		put("keys", []byte("{}")),
		put("roles", []byte("{}")),
	})
	if err != nil {
		return nil, err
	}
	return draftRoot(signed, nil, edit, &issue)
}

// RootEdit is a change of root. The empty edit renews it.
type RootEdit struct {
	// Roles replaces who signs the roles named, root, timestamp, snapshot or targets. The
	// others stay as they are. Keys that no role uses any more are taken out.
	Roles map[tuf.RoleName]tuf.Authority
	// ShareKeys allows a key to sign several of these roles.
	ShareKeys bool
	// Members sets additional members of "signed" to raw JSON; nil removes.
	Members map[string][]byte
}

// EditRoot drafts the successor of base. It must be signed by the root keys of both:
// [Draft.Previous] are base's.
func EditRoot(base *tuf.Root, edit RootEdit, issue Issue) (*Draft, error) {
	if err := issue.succeeds(tuf.RoleRoot, base.Version()); err != nil {
		return nil, err
	}
	signed, err := canonicalSigned(base.Bytes())
	if err != nil {
		return nil, fmt.Errorf("editing root: %w", err)
	}
	return draftRoot(signed, base, &edit, &issue)
}

func topLevel() []tuf.RoleName {
	return []tuf.RoleName{tuf.RoleRoot, tuf.RoleSnapshot, tuf.RoleTargets, tuf.RoleTimestamp}
}

func draftRoot(signed []byte, base *tuf.Root, edit *RootEdit, issue *Issue) (*Draft, error) {
	authorities, err := rootAuthorities(base, edit)
	if err != nil {
		return nil, fmt.Errorf("issuing root: %w", err)
	}
	changes, err := memberChanges(edit.Members, []string{"keys", "roles", "consistent_snapshot"})
	if err != nil {
		return nil, fmt.Errorf("issuing root: %w", err)
	}
	changes = append(changes, issue.header()...)
	var used map[string]bool
	changes = append(changes, change{"roles", func(old []byte) (roles []byte, err error) {
		roles, used, err = spliceRootRoles(old, edit)
		return roles, err
	}})
	message, err := splice(nil, signed, changes)
	if err != nil {
		return nil, fmt.Errorf("issuing root: %w", baseError(err))
	}
	w := make(keyWriter)
	for _, a := range edit.Roles {
		w.add(a)
	}
	message, err = splice(make([]byte, 0, len(message)+512*len(w)), message, []change{{"keys", func(old []byte) ([]byte, error) {
		return spliceKeys(old, w, used)
	}}})
	if err != nil {
		return nil, fmt.Errorf("issuing root: %w", baseError(err))
	}
	d, err := newDraft(tuf.RoleRoot, issue, message, 0)
	if err != nil {
		return nil, err
	}
	d.current = authorities[tuf.RoleRoot]
	if base != nil {
		previous, _ := base.Authority(tuf.RoleRoot)
		d.previous = &previous
	}
	return d, nil
}

// rootAuthorities returns who signs each top-level role after the edit, and
// refuses what could not work or was not meant.
func rootAuthorities(base *tuf.Root, edit *RootEdit) (map[tuf.RoleName]tuf.Authority, error) {
	for role := range edit.Roles {
		if !slices.Contains(topLevel(), role) {
			return nil, fmt.Errorf("role %q is not one that root lists: %w", role, ErrRoleName)
		}
	}
	all := maps.Clone(edit.Roles)
	if all == nil {
		all = make(map[tuf.RoleName]tuf.Authority)
	}
	holder := make(map[[32]byte]tuf.RoleName)
	for _, role := range topLevel() {
		if _, ok := all[role]; !ok && base != nil {
			all[role], _ = base.Authority(role)
		}
		a := all[role]
		if err := reachable(role, a); err != nil {
			return nil, err
		}
		for _, id := range a.KeyIDs() {
			k, ok := a.Key(id)
			if !ok {
				continue
			}
			if other, taken := holder[k.Fingerprint()]; taken && other != role && !edit.ShareKeys {
				return nil, fmt.Errorf("key %s would sign both %s and %s; use separate keys or allow sharing: %w", id, other, role, ErrSharedKey)
			}
			holder[k.Fingerprint()] = role
		}
	}
	return all, nil
}

// spliceRootRoles returns the "roles" object after the edit and the key ids in use.
func spliceRootRoles(old []byte, edit *RootEdit) ([]byte, map[string]bool, error) {
	changes := make([]change, 0, len(edit.Roles))
	for role, a := range edit.Roles {
		changes = append(changes, change{string(role), func(old []byte) ([]byte, error) {
			if old == nil {
				old = []byte("{}")
			}
			return splice(nil, old, []change{
				put("keyids", stringList(a.KeyIDs())),
				put("threshold", number(int64(a.Threshold()))),
			})
		}})
	}
	roles, err := splice(nil, old, changes)
	if err != nil {
		return nil, nil, err
	}
	used := make(map[string]bool)
	for i := 1; i < len(roles)-1; {
		m, next, err := nextMember(roles[:len(roles)-1], i)
		if err != nil {
			return nil, nil, err
		}
		if err := collectKeyIDs(m.value, used); err != nil {
			return nil, nil, err
		}
		i = next
	}
	return roles, used, nil
}
