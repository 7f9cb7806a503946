package sitting

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
	"example.com/bailiwick/tuf/repo"
)

// judgeFirst judges a request for a repository that does not exist yet. Nothing in it can be compared with
// what there is; so it is drafted anew from who signs, and every payload has to come out the same.
func (j *judge) judgeFirst() error {
	drafts, err := j.r.firstDrafts()
	if err != nil {
		return err
	}
	for i, d := range drafts {
		if err := checkExpiry(d.Role(), d.Version(), d.Expires(), j.now); err != nil {
			return err
		}
		j.findings[i].needs = []need{{d.Authority(), "the keys of " + string(d.Role())}}
	}
	if j.rootAfter, err = peek(tuf.RoleRoot, j.r.Payloads[0].Message, tuf.ParseRoot); err != nil {
		return err
	}
	return j.firstChanges(drafts)
}

// firstChanges says who will sign what, each at the role that says so.
func (j *judge) firstChanges(drafts []*repo.Draft) error {
	held, bins, err := j.r.firstHolders()
	if err != nil {
		return err
	}
	for _, role := range policy.KeyRoles() {
		at, kind := tuf.RoleRoot, RootKeys
		switch role { //nolint:exhaustive // the others stand in root
		case policy.KeyClaimed:
			at, kind = tuf.RoleTargets, TreeKeys
		case policy.KeyUnclaimed:
			at, kind = policy.RoleClaimed, TreeKeys
		case policy.KeyRegistry:
			at, kind = policy.RoleUnclaimed, BinKeys
		}
		i := slices.IndexFunc(drafts, func(d *repo.Draft) bool { return d.Role() == at })
		a := held.Authorities[role]
		j.findings[i].changes = append(j.findings[i].changes, Change{
			Kind: kind, Role: at, New: a, Expires: drafts[i].Expires(), Text: keysText(role, tuf.Authority{}, a, held.Names),
		})
	}
	first := &j.findings[0].changes[0]
	first.Text = fmt.Sprintf("a new repository with %d bins; ", bins) + first.Text
	return nil
}

// judgeRoots judges a new version of root: it may be renewed, name other keys and thresholds, and say who
// holds them. A threshold of the keys it had signs it, and one of those it gets.
func (j *judge) judgeRoots() error {
	p, _, f := j.payload(tuf.RoleRoot)
	if p == nil {
		return nil
	}
	next, err := peek(p.Role, p.Message, tuf.ParseRoot)
	if err != nil {
		return err
	}
	if err := checkExpiry(p.Role, next.Version(), next.Expires(), j.now); err != nil {
		return err
	}
	if f.changes, err = rootChanges(p, j.root, next); err != nil {
		return err
	}
	after := HoldersOf(next, nil, nil, nil)
	if err := sameNames(p.Role, j.root, next, slices.Collect(maps.Values(after.Authorities))...); err != nil {
		return err
	}
	j.rootAfter = next
	old, _ := j.root.Authority(tuf.RoleRoot)
	now, _ := next.Authority(tuf.RoleRoot)
	if old.Equal(now) {
		f.needs = []need{{old, "the keys of root"}}
		return nil
	}
	f.needs = []need{
		{old, fmt.Sprintf("the keys of root version %d, which it replaces", j.root.Version())},
		{now, fmt.Sprintf("the keys of root version %d itself", next.Version())},
	}
	return nil
}

// rootChanges says what a new version of root changes, and refuses everything that is not who signs, or who
// holds the keys: edited in the same way, the version before has to come out as the same bytes.
func rootChanges(p *Payload, base, next *tuf.Root) (changes []Change, err error) {
	if next.Version() != base.Version()+1 {
		return nil, refuse(Malformed, p.Role, "the payload of root is version %d; after version %d comes %d", next.Version(), base.Version(), base.Version()+1)
	}
	names := policy.HoldersOf(base)
	maps.Copy(names, policy.HoldersOf(next))
	edit := repo.RootEdit{Roles: make(map[tuf.RoleName]tuf.Authority), Members: holdersEdit(base, next)}
	for _, role := range []policy.KeyRole{policy.KeyRoot, policy.KeyTargets, policy.KeySnapshot, policy.KeyTimestamp} {
		old, _ := base.Authority(tuf.RoleName(role))
		now, _ := next.Authority(tuf.RoleName(role))
		if old.Equal(now) {
			continue
		}
		if _, err := usable(now, tuf.RoleName(role)); err != nil {
			return nil, err
		}
		edit.Roles[tuf.RoleName(role)] = now
		changes = append(changes, Change{Kind: RootKeys, Role: p.Role, Old: old, New: now, Expires: next.Expires(), Text: keysText(role, old, now, names)})
	}
	if len(changes) == 0 {
		changes = []Change{{Kind: RootRenewed, Role: p.Role, Expires: next.Expires(), Text: "the same keys and thresholds, good until " + next.Expires().Format(time.DateOnly)}}
	}
	d, err := repo.EditRoot(base, edit, repo.Issue{Version: next.Version(), Expires: next.Expires(), Now: next.Expires().Add(-time.Second)})
	if err != nil {
		return nil, refuse(NotAllowed, p.Role, "root version %d can not follow version %d: %v", next.Version(), base.Version(), err)
	}
	if !bytes.Equal(d.Message(), p.Message) {
		return nil, refuse(NotAllowed, p.Role, "root version %d differs from version %d in more than keys, thresholds, holders and expiry, so do not sign", next.Version(), base.Version())
	}
	return changes, nil
}

// holdersEdit is the edit that makes the names of holders what they are in next.
func holdersEdit(base, next policy.Document) map[string][]byte {
	old, had := base.Member(policy.HoldersMember)
	now, has := next.Member(policy.HoldersMember)
	if had == has && bytes.Equal(old, now) {
		return nil
	}
	if !has {
		now = nil
	}
	return map[string][]byte{policy.HoldersMember: now}
}

// sameNames refuses other names for keys that stay: people go by them, when they read who comes and who goes, and when
// they say whose key is to go. A key comes with its name and takes it along; and beside names of the keys that are listed
// there is nothing, which nobody would be shown.
func sameNames(role tuf.RoleName, base, next policy.Document, stay ...tuf.Authority) error {
	now := policy.HoldersOf(next)
	var listed []key.ID
	for _, a := range stay {
		listed = append(listed, a.KeyIDs()...)
	}
	for id, was := range policy.HoldersOf(base) {
		if name, named := now[id]; named && name != was || !named && slices.Contains(listed, id) {
			return refuse(NotAllowed, role, "the payload of %s takes the name %s from key %s, which stays; a key keeps the name that it came with, so do not sign", role, was, short(id))
		}
	}
	before, _ := base.Member(policy.HoldersMember)
	if after, has := next.Member(policy.HoldersMember); has && !bytes.Equal(before, after) && !bytes.Equal(after, policy.EncodeHolders(now, listed...)) {
		return refuse(NotAllowed, role, "the payload of %s says more in %q than who holds the keys that it lists, so do not sign", role, policy.HoldersMember)
	}
	return nil
}

// keysText says in words who signs for a key role, and what changes.
func keysText(role policy.KeyRole, old, next tuf.Authority, names map[key.ID]string) string {
	k := Keyholders{Names: names}
	list := func(a tuf.Authority, but tuf.Authority) (out []string) {
		for _, id := range a.KeyIDs() {
			if _, both := but.Key(id); !both {
				out = append(out, k.Name(id))
			}
		}
		return out
	}
	text := fmt.Sprintf("%s: %d of %d keys sign", role, next.Threshold(), len(next.KeyIDs()))
	if old.Threshold() == 0 {
		return text + ": " + strings.Join(list(next, tuf.Authority{}), ", ")
	}
	if old.Threshold() != next.Threshold() || len(old.KeyIDs()) != len(next.KeyIDs()) {
		text += fmt.Sprintf(", now it is %d of %d", old.Threshold(), len(old.KeyIDs()))
	}
	if in := list(next, old); len(in) > 0 {
		text += "; comes " + strings.Join(in, ", ")
	}
	if out := list(old, next); len(out) > 0 {
		text += "; goes " + strings.Join(out, ", ")
	}
	return text
}
