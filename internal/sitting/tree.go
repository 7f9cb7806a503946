package sitting

import (
	"fmt"
	"slices"

	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/tuf"
)

// judgeTargets judges the role targets: it may be renewed, name other keys for claimed, and refuse older
// versions of it.
func (j *judge) judgeTargets() error {
	p, next, f := j.payload(tuf.RoleTargets)
	l := &j.targets
	l.authority, _ = j.root.Authority(tuf.RoleTargets)
	l.signers, _ = j.rootAfter.Authority(tuf.RoleTargets)
	if j.r.Chain.Targets == nil {
		if j.rootAlone() && l.signers.Equal(l.authority) {
			return nil
		}
		return refuse(Malformed, tuf.RoleTargets, "the request does not bring the signed file of targets, without which it can not be verified; export it again")
	}
	var err error
	if l.base, err = verified(tuf.RoleTargets, j.r.Chain.Targets, l.authority, 0); err != nil {
		return err
	}
	if j.layout, err = policy.LayoutOf(l.base); err != nil {
		return refuse(Malformed, tuf.RoleTargets, "this is not a repository of bailiwick: %v", err)
	}
	if p == nil {
		if !l.stillSigned() {
			return refuse(Unsigned, tuf.RoleTargets, "root gives targets other keys, which have not signed it; its next version has to be in the request")
		}
		return nil
	}
	l.next = next
	if err := successor(tuf.RoleTargets, l.base, next); err != nil {
		return err
	}
	t := tree{j: j, role: tuf.RoleTargets, base: l.base, next: next, f: f, allowed: []string{"keyids", "threshold", "minimum_version"}}
	err = t.compare(func(old, now tuf.Delegation, a, b tuf.Authority) error {
		if !a.Equal(b) {
			f.changes = append(f.changes, Change{Kind: TreeKeys, Role: tuf.RoleTargets, Old: a, New: b, Expires: next.Expires(), Text: "other keys for " + string(now.Name())})
		}
		return t.raised(old, now, j.claimedVersion(now.Name()))
	})
	if err != nil {
		return err
	}
	f.renewedUnlessChanged(tuf.RoleTargets, next)
	f.needs = append(f.needs, need{l.signers, "the keys of targets"})
	return nil
}

// rootAlone reports whether root is all that the request is about.
func (j *judge) rootAlone() bool {
	return len(j.r.Payloads) == 1 && j.r.Payloads[0].Role == tuf.RoleRoot
}

// claimedVersion returns the version of claimed after the request, as far as it can be told; 0 for any other
// role.
func (j *judge) claimedVersion(role tuf.RoleName) int64 {
	if role != policy.RoleClaimed {
		return 0
	}
	if _, next, _ := j.payload(role); next != nil {
		return next.Version()
	}
	return 0
}

// judgeClaimed judges the role claimed: it may be renewed, name other keys for all bins, and refuses the
// versions of the bins from before the request.
func (j *judge) judgeClaimed() error {
	if j.targets.base == nil {
		return nil // root alone
	}
	l := &j.claimed
	base, ok := find(j.targets.base, policy.RoleClaimed)
	after, still := find(j.targets.after(), policy.RoleClaimed)
	if !ok || !still {
		return refuse(Malformed, tuf.RoleTargets, "targets does not delegate to claimed: this is not a repository of bailiwick")
	}
	var err error
	if l.authority, err = base.Authority(); err != nil {
		return refuse(Key, policy.RoleClaimed, "reading the keys of claimed: %v", err)
	}
	if l.signers, err = after.Authority(); err != nil {
		return refuse(Key, policy.RoleClaimed, "reading the keys of claimed: %v", err)
	}
	p, next, f := j.payload(policy.RoleClaimed)
	if j.r.Chain.Claimed == nil {
		if p == nil && !j.below(policy.RoleClaimed) && l.signers.Equal(l.authority) {
			return nil
		}
		return refuse(Malformed, policy.RoleClaimed, "the request does not bring the signed file of claimed, without which it can not be verified; export it again")
	}
	if l.base, err = verified(policy.RoleClaimed, j.r.Chain.Claimed, l.authority, base.MinimumVersion()); err != nil {
		return err
	}
	if p == nil {
		if !l.signers.Equal(l.authority) {
			return refuse(Unsigned, policy.RoleClaimed, "targets gives claimed other keys; its next version, and those of all bins, have to be in the request")
		}
		return nil
	}
	l.next = next
	if err := successor(policy.RoleClaimed, l.base, next); err != nil {
		return err
	}
	if err := j.compareClaimed(f); err != nil {
		return err
	}
	f.renewedUnlessChanged(policy.RoleClaimed, next)
	f.needs = append(f.needs, need{l.signers, "the keys of claimed"})
	return nil
}

// below reports whether the request has payloads that are verified by way of a role.
func (j *judge) below(role tuf.RoleName) bool {
	return slices.ContainsFunc(j.r.Payloads, func(p Payload) bool { return rank(p.Role) > rank(role) })
}

func (j *judge) compareClaimed(f *finding) error {
	next := j.claimed.next
	t := tree{j: j, role: policy.RoleClaimed, base: j.claimed.base, next: next, f: f, allowed: []string{"keyids", "threshold", "minimum_version"}}
	rekeyed, bounded := 0, 0
	var was tuf.Authority
	err := t.compare(func(old, now tuf.Delegation, a, b tuf.Authority) error {
		bin := now.Name()
		_, draft, _ := j.payload(bin)
		if !b.Equal(j.claimed.signers) && !j.claimed.signers.Equal(j.claimed.authority) {
			return refuse(NotAllowed, bin, "claimed would have other keys and %s keep its own; all of it is signed by the same keys, so do not sign", bin)
		}
		if !a.Equal(b) {
			switch {
			case !b.Equal(j.claimed.signers):
				return refuse(NotAllowed, bin, "the payload of claimed gives %s keys that are not those of claimed; all of it is signed by the same keys, so do not sign", bin)
			case draft == nil:
				return refuse(Unsigned, bin, "the payload of claimed gives %s other keys, which have not signed it; its next version has to be in the request", bin)
			}
			rekeyed++
			was = a
		}
		version := int64(0)
		switch {
		case draft != nil:
			version = draft.Version()
			if now.MinimumVersion() != version {
				return refuse(NotAllowed, bin, "after the request clients would take version %d of %s, and it is about version %d: what it changes could be undone", now.MinimumVersion(), bin, version)
			}
		case old.MinimumVersion() == 0:
			version = 1 // which every bin has
		}
		if old.MinimumVersion() != now.MinimumVersion() {
			bounded++
		}
		return t.raised(old, now, version)
	})
	if err != nil {
		return err
	}
	if rekeyed > 0 {
		f.changes = append(f.changes, Change{Kind: BinKeys, Role: policy.RoleClaimed, Old: was, New: j.claimed.signers, Expires: next.Expires(), Text: fmt.Sprintf("other keys for %d claimed bins", rekeyed)})
	}
	if bounded > 0 {
		f.changes = append(f.changes, Change{Kind: Bounded, Role: policy.RoleClaimed, Expires: next.Expires(), Text: fmt.Sprintf("the versions of %d bins from before count no longer", bounded)})
	}
	return nil
}

// judgeUnclaimed judges the role unclaimed: it may be renewed, and name other keys for all its bins. The
// claimed bins say who signs it.
func (j *judge) judgeUnclaimed() error {
	p, next, f := j.payload(policy.RoleUnclaimed)
	l := &j.unclaimed
	if err := j.fallThrough(); err != nil {
		return err
	}
	if j.r.Chain.Unclaimed == nil {
		if p == nil && l.signers.Equal(l.authority) {
			return nil
		}
		return refuse(Malformed, policy.RoleUnclaimed, "the request does not bring the signed file of unclaimed, without which it can not be verified; export it again")
	}
	if l.authority.Threshold() == 0 {
		return refuse(Malformed, policy.RoleUnclaimed, "the request brings unclaimed, and no claimed bin, which would say who signs it; export it again")
	}
	var err error
	if l.base, err = verified(policy.RoleUnclaimed, j.r.Chain.Unclaimed, l.authority, 0); err != nil {
		return err
	}
	if p == nil {
		if !l.stillSigned() {
			return refuse(Unsigned, policy.RoleUnclaimed, "the claimed bins give unclaimed other keys, which have not signed it; its next version has to be in the request")
		}
		return nil
	}
	l.next = next
	if err := successor(policy.RoleUnclaimed, l.base, next); err != nil {
		return err
	}
	if err := j.compareUnclaimed(f); err != nil {
		return err
	}
	f.renewedUnlessChanged(policy.RoleUnclaimed, next)
	f.needs = append(f.needs, need{l.signers, "the keys of unclaimed"})
	return nil
}

// compareUnclaimed judges what unclaimed says of its bins: one registry signs all of them.
func (j *judge) compareUnclaimed(f *finding) error {
	next := j.unclaimed.next
	t := tree{j: j, role: policy.RoleUnclaimed, base: j.unclaimed.base, next: next, f: f, allowed: []string{"keyids", "threshold"}}
	var was, is tuf.Authority
	rekeyed := 0
	err := t.compare(func(_, now tuf.Delegation, a, b tuf.Authority) error {
		if a.Equal(b) {
			return nil
		}
		if rekeyed++; rekeyed > 1 && !b.Equal(is) {
			return refuse(NotAllowed, now.Name(), "the payload of unclaimed gives %s other keys than another bin; one registry signs all of them", now.Name())
		}
		was, is = a, b
		return nil
	})
	if err != nil {
		return err
	}
	if all := len(entriesOf(next)); rekeyed > 0 && rekeyed < all {
		return refuse(NotAllowed, policy.RoleUnclaimed, "the payload of unclaimed gives %d of %d bins other keys; one registry signs all of them", rekeyed, all)
	}
	if rekeyed > 0 {
		f.changes = append(f.changes, Change{Kind: BinKeys, Role: policy.RoleUnclaimed, Old: was, New: is, Expires: next.Expires(), Text: fmt.Sprintf("another registry key, for %d unclaimed bins", rekeyed)})
	}
	return nil
}

// tree compares two versions of a role that delegates to a fixed list of roles: targets, claimed or
// unclaimed.
type tree struct {
	j          *judge
	role       tuf.RoleName
	base, next *tuf.Targets
	f          *finding
	allowed    []string // members of an entry that may differ; do judges how
}

// compare calls do for every delegation whose entry differs.
func (t *tree) compare(do func(old, now tuf.Delegation, a, b tuf.Authority) error) error {
	before, after := entriesOf(t.base), entriesOf(t.next)
	if len(before) != len(after) {
		return refuse(NotAllowed, t.role, "the payload of %s delegates to %d roles, and there are %d", t.role, len(after), len(before))
	}
	changed := false
	for i, now := range after {
		old := before[i]
		if old.Name() != now.Name() {
			return refuse(NotAllowed, t.role, "the payload of %s delegates to %.80q where %s was", t.role, now.Name(), old.Name())
		}
		for _, name := range differing(old.Raw(), now.Raw()) {
			if !slices.Contains(t.allowed, name) {
				return refuse(NotAllowed, t.role, "the payload of %s changes %.40q of its delegation to %s, which no request may", t.role, name, now.Name())
			}
		}
		a, b, err := authorities(old, now)
		if err != nil {
			return err
		}
		if !a.Equal(b) {
			changed = true
			if _, err := usable(b, now.Name()); err != nil {
				return err
			}
		}
		// Untouched entries are looked at, too: of a bin that is signed anew, clients must be told.
		if err := do(old, now, a, b); err != nil {
			return err
		}
	}
	if err := sameFrame(t.role, t.base, t.next); err != nil {
		return err
	}
	members := []string{"delegations"}
	if changed || t.j.holdersMayChange(t.role) {
		members = append(members, policy.HoldersMember)
		stay := []tuf.Authority{t.j.unclaimed.signers}
		for _, d := range after {
			a, err := d.Authority()
			if err != nil {
				return refuse(Key, d.Name(), "reading the keys of %s: %v", d.Name(), err)
			}
			stay = append(stay, a)
		}
		if err := sameNames(t.role, t.base, t.next, stay...); err != nil {
			return err
		}
	}
	return sameBut(t.role, t.base, t.next, members...)
}

func authorities(old, now tuf.Delegation) (a, b tuf.Authority, err error) {
	if a, err = old.Authority(); err == nil {
		b, err = now.Authority()
	}
	if err != nil {
		return a, b, refuse(Key, now.Name(), "reading the keys of %s: %v", now.Name(), err)
	}
	return a, b, nil
}

// raised checks the lowest version of a role that clients take after the request: it rises, and at most to
// the version that the role has then, or nobody could install.
func (t *tree) raised(old, now tuf.Delegation, version int64) error {
	before, after := old.MinimumVersion(), now.MinimumVersion()
	switch {
	case after < before:
		return refuse(NotAllowed, now.Name(), "the payload of %s lets clients take version %d of %s again, and version %d is the lowest now: what changed since could be undone, so do not sign", t.role, after, now.Name(), before)
	case after > before && after > version:
		return refuse(NotAllowed, now.Name(), "the payload of %s makes clients refuse %s below version %d, which the request does not show to be there: nobody could install", t.role, now.Name(), after)
	}
	return nil
}

// holdersMayChange reports whether a role names the holders of keys that the request changes: it names its
// own where nothing above it does.
func (j *judge) holdersMayChange(role tuf.RoleName) bool {
	return role == policy.RoleUnclaimed && !j.unclaimed.signers.Equal(j.unclaimed.authority)
}

// renewedUnlessChanged notes that a payload changes nothing but its expiry.
func (f *finding) renewedUnlessChanged(role tuf.RoleName, next *tuf.Targets) {
	for _, c := range f.changes {
		if c.Kind != Bounded {
			return
		}
	}
	f.changes = append(f.changes, Change{Kind: Renewed, Role: role, Expires: next.Expires(), Text: "signed anew, no change"})
}
