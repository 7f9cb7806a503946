package sitting

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"time"

	"example.com/bailiwick/internal/parallel"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/tuf"
)

// binChange is a claimed bin before and after the request.
type binChange struct {
	base, next         *tuf.Targets
	authority, signers tuf.Authority // who signs it before and after
	fallOld, fallNow   tuf.Authority // who signs unclaimed, as the bin says
	hands              []*hand       // the projects whose entries differ, in order
	finding            *finding
}

// hand is a project that changes hands, or one that gets a new version of its role in the request.
type hand struct {
	project        pypi.Project
	bin            *binChange
	old, now       tuf.Delegation    // old is the zero value for a project that is delegated anew
	members        map[string][]byte // of the entry now
	signed, signs  tuf.Authority     // who signed the project's role, and who will
	had            tuf.Authority     // whose it was: signed, but for a parked project its maintainers
	since          time.Time
	wasParked      bool
	parked         bool
	markedRecovery bool // the entry says anew that operators gave the project away
}

// fresh reports whether the bin did not delegate the project before.
func (h *hand) fresh() bool { return h.old == tuf.Delegation{} }

func (h *hand) role() tuf.RoleName { return policy.ProjectRole(h.project) }

// judgeBins judges the claimed bins, side by side: projects may appear, and change hands; and the place
// of who signs for the rest is the last.
func (j *judge) judgeBins() error {
	var at []int
	for i := range j.r.Payloads {
		if policy.KindOf(j.r.Payloads[i].Role) == policy.KindClaimedBin {
			at = append(at, i)
		}
	}
	if len(at) == 0 {
		return nil
	}
	if j.claimed.base == nil || j.claimed.next == nil {
		return refuse(Malformed, policy.RoleClaimed, "the request changes claimed bins and not claimed, so clients could be shown the bins from before; plan it anew")
	}
	before, after := byName(j.claimed.base), byName(j.claimed.next)
	changes, errs := make([]*binChange, len(at)), make([]error, len(at))
	parallel.Do(len(at), func(i int) {
		role := j.r.Payloads[at[i]].Role
		changes[i], errs[i] = j.judgeBin(at[i], before[role], after[role])
	})
	if err := firstOf(errs); err != nil {
		return err
	}
	for i, b := range changes {
		j.bins[j.r.Payloads[at[i]].Role] = b
	}
	return nil
}

// byName is an index of a role's delegations.
func byName(t *tuf.Targets) map[tuf.RoleName]tuf.Delegation {
	out := make(map[tuf.RoleName]tuf.Delegation)
	for _, d := range entriesOf(t) {
		out[d.Name()] = d
	}
	return out
}

func (j *judge) judgeBin(i int, before, after tuf.Delegation) (*binChange, error) {
	p := &j.r.Payloads[i]
	if before.Name() != p.Role || after.Name() != p.Role {
		return nil, refuse(Unknown, p.Role, "claimed does not delegate to %s", p.Role)
	}
	if p.Base == nil {
		return nil, refuse(Malformed, p.Role, "the request does not bring the signed file of %s that it replaces; export it again", p.Role)
	}
	b := &binChange{next: j.drafts[i], finding: &j.findings[i]}
	var err error
	if b.authority, b.signers, err = authorities(before, after); err != nil {
		return nil, err
	}
	if b.base, err = verified(p.Role, p.Base, b.authority, before.MinimumVersion()); err != nil {
		return nil, err
	}
	if err := successor(p.Role, b.base, b.next); err != nil {
		return nil, err
	}
	if err := sameBut(p.Role, b.base, b.next, "delegations"); err != nil {
		return nil, err
	}
	if err := j.compareBin(p.Role, b); err != nil {
		return nil, err
	}
	if err := sameFrame(p.Role, b.base, b.next); err != nil {
		return nil, err
	}
	b.finding.needs = []need{{b.signers, "the keys of claimed"}}
	return b, nil
}

// compareBin compares the entries of a bin: those of before in their order, then new ones, then the
// delegation to unclaimed.
func (j *judge) compareBin(role tuf.RoleName, b *binChange) error {
	old, now := entriesOf(b.base), entriesOf(b.next)
	if !policy.FallsThroughLast(b.base) || !policy.FallsThroughLast(b.next) || len(now) < len(old) {
		if gone := missingFrom(now, old); gone != "" {
			return vanished(role, gone)
		}
		return refuse(NotAllowed, role, "the payload of %s does not end with its one delegation to unclaimed: a project could be looked for in the wrong place, so do not sign", role)
	}
	last := len(old) - 1
	for i, o := range old[:last] {
		n := now[i]
		if o.Name() != n.Name() {
			if gone := missingFrom(now, old); gone != "" {
				return vanished(role, gone)
			}
			return refuse(NotAllowed, role, "the payload of %s puts %.80q where %s was", role, n.Name(), o.Name())
		}
		if bytes.Equal(o.Raw(), n.Raw()) {
			if _, parked := policy.Parked(o); parked && !b.authority.Equal(b.signers) {
				return refuse(NotAllowed, role, "%s is parked, and would stay with the old keys of its bin; it has to get the new ones in the same request", o.Name())
			}
			continue
		}
		h, err := j.handed(role, b, o, n)
		if err != nil {
			return err
		}
		b.hands = append(b.hands, h)
	}
	for _, n := range now[last : len(now)-1] {
		h, err := j.handed(role, b, tuf.Delegation{}, n)
		if err != nil {
			return err
		}
		b.hands = append(b.hands, h)
	}
	return j.compareFallThrough(role, b, old[last], now[len(now)-1])
}

func vanished(role, gone tuf.RoleName) error {
	return refuse(NotAllowed, role, "the payload of %s does not delegate to %s any more: the project would be the registry's, so do not sign", role, gone)
}

// missingFrom returns a delegation of old that now does not have, "" if there is none.
func missingFrom(now, old []tuf.Delegation) tuf.RoleName {
	have := make(map[tuf.RoleName]bool, len(now))
	for _, d := range now {
		have[d.Name()] = true
	}
	for _, d := range old {
		if !have[d.Name()] {
			return d.Name()
		}
	}
	return ""
}

// compareFallThrough notes who signs unclaimed. What the entry says of its place must not change.
func (j *judge) compareFallThrough(role tuf.RoleName, b *binChange, old, now tuf.Delegation) error {
	for _, name := range differing(old.Raw(), now.Raw()) {
		if name != "keyids" && name != "threshold" {
			return refuse(NotAllowed, role, "the payload of %s changes %.40q of its delegation to unclaimed, which no request may", role, name)
		}
	}
	bin, _ := policy.BinOf(role)
	if !slices.Equal(now.Paths(), []string{j.layout.BinPattern(bin)}) {
		return refuse(Outside, role, "%s delegates %v to unclaimed and not its own paths", role, now.Paths())
	}
	var err error
	if b.fallOld, b.fallNow, err = authorities(old, now); err != nil {
		return err
	}
	if !b.fallOld.Equal(b.fallNow) {
		_, err = usable(b.fallNow, policy.RoleUnclaimed)
	}
	return err
}

// Members of a project's entry that may differ, and those that a new one may have.
var (
	changeable = []string{"keyids", "threshold", policy.RecoveredMember, policy.ParkedMember, policy.ParkedKeysMember}
	ofNewEntry = []string{"keyids", "name", "paths", "terminating", "threshold", policy.SinceMember, policy.RecoveredMember}
)

// handed judges the entry of a project by itself. Whether the project's maintainers agree is seen later.
func (j *judge) handed(role tuf.RoleName, b *binChange, old, now tuf.Delegation) (*hand, error) {
	p, ok := policy.ProjectOf(now.Name())
	if !ok || j.layout.ClaimedBin(p) != role {
		return nil, refuse(Outside, role, "the payload of %s delegates to %.80q, which is no project of this bin", role, now.Name())
	}
	h := &hand{project: p, bin: b, old: old, now: now, members: membersOf(now.Raw())}
	allowed, changed := ofNewEntry, slices.Sorted(maps.Keys(h.members))
	if !h.fresh() {
		allowed, changed = changeable, differing(old.Raw(), now.Raw())
	}
	for _, name := range changed {
		if !slices.Contains(allowed, name) {
			return nil, refuse(NotAllowed, role, "the payload of %s changes %.40q in its delegation to %s, which no request may", role, name, now.Name())
		}
	}
	if !now.Terminating() || !slices.Equal(now.Paths(), []string{j.layout.ProjectPattern(p)}) || now.HashPrefixes() != nil {
		return nil, refuse(Outside, role, "the payload of %s delegates to %s otherwise than a project is: for %s and terminating", role, now.Name(), j.layout.ProjectPattern(p))
	}
	if err := h.read(); err != nil {
		return nil, err
	}
	return h, j.checkDates(h, changed)
}

// read takes the two entries apart.
func (h *hand) read() error {
	role := h.role()
	var err error
	if h.signs, err = h.now.Authority(); err != nil {
		return refuse(Key, role, "reading the keys of %s: %v", role, err)
	}
	if _, err := usable(h.signs, role); err != nil {
		return err
	}
	h.since, _ = policy.Since(h.now)
	if h.parked = h.members[policy.ParkedMember] != nil; h.parked != (h.members[policy.ParkedKeysMember] != nil) {
		return refuse(NotAllowed, role, "the entry of %s has one of %q and %q and not the other", role, policy.ParkedMember, policy.ParkedKeysMember)
	}
	if h.fresh() {
		return nil
	}
	if h.signed, err = h.old.Authority(); err != nil {
		return refuse(Key, role, "reading the keys of %s: %v", role, err)
	}
	h.had = h.signed
	if h.wasParked = membersOf(h.old.Raw())[policy.ParkedMember] != nil; h.wasParked {
		if h.had, err = policy.ParkedKeys(h.old); err != nil {
			return refuse(Key, role, "%s is parked, and whose it was can not be read: %v", role, err)
		}
	}
	return nil
}

// checkDates checks the dates that an entry brings: they are shown to people, and for ever.
func (j *judge) checkDates(h *hand, changed []string) error {
	near := func(t time.Time) bool { return !t.After(j.now.Add(skew)) && !t.Before(j.r.Created.Add(-day)) }
	has := func(name string) bool {
		return slices.Contains(changed, name) && h.members[name] != nil
	}
	if has(policy.SinceMember) && (h.since.IsZero() || h.since.After(j.now.Add(skew))) {
		return refuse(Dates, h.role(), "the entry of %s does not say since when it is claimed in the way that all do, or names a day to come", h.role())
	}
	if at, ok := policy.Parked(h.now); has(policy.ParkedMember) && (!ok || !near(at)) {
		return refuse(Dates, h.role(), "the entry of %s does not say that it is parked now", h.role())
	}
	if slices.Contains(changed, policy.RecoveredMember) {
		if at, ok := policy.Recovered(h.now); !ok || !near(at) {
			return refuse(Dates, h.role(), "the entry of %s does not say that it is recovered now", h.role())
		}
		h.markedRecovery = true
	}
	return nil
}

// fallThrough finds who signs unclaimed. All bins say the same, before and after: those that change it
// have to be all bins.
func (j *judge) fallThrough() error {
	l := &j.unclaimed
	var first *binChange
	for i := range j.r.Payloads {
		b := j.bins[j.r.Payloads[i].Role]
		switch {
		case b == nil:
		case first == nil:
			first = b
		case !b.fallOld.Equal(first.fallOld) || !b.fallNow.Equal(first.fallNow):
			return refuse(NotAllowed, j.r.Payloads[i].Role, "%s gives unclaimed other keys than another bin does; all bins name the same, so do not sign", j.r.Payloads[i].Role)
		}
	}
	if first == nil {
		return j.fallThroughOf(j.r.Chain.Bin)
	}
	l.authority, l.signers = first.fallOld, first.fallNow
	if l.authority.Equal(l.signers) {
		return nil
	}
	if all := len(entriesOf(j.claimed.next)); len(j.bins) != all {
		return refuse(NotAllowed, policy.RoleUnclaimed, "the request gives unclaimed other keys in %d of %d bins; it has to be all of them, so do not sign", len(j.bins), all)
	}
	f := first.finding
	f.changes = append(f.changes, Change{Kind: TreeKeys, Role: policy.RoleClaimed, Old: l.authority, New: l.signers, Expires: first.next.Expires(), Text: fmt.Sprintf("other keys for unclaimed, in all %d bins", len(j.bins))})
	return nil
}

// fallThroughOf reads who signs unclaimed from the bin that the chain brings for that.
func (j *judge) fallThroughOf(data []byte) error {
	if data == nil {
		return nil
	}
	if j.claimed.base == nil {
		return refuse(Malformed, policy.RoleClaimed, "the request brings a claimed bin, and not claimed, by which it could be verified; export it again")
	}
	u, err := tuf.ParseTargets(data, nil)
	if err != nil {
		return refuse(Malformed, "", "the claimed bin that the request brings can not be read: %v", err)
	}
	for _, d := range entriesOf(j.claimed.base) {
		// All bins have the same keys, so the first entry verifies the bin, whichever it is; its own entry
		// then counts.
		a, err := d.Authority()
		if err != nil {
			return refuse(Key, d.Name(), "reading the keys of %s: %v", d.Name(), err)
		}
		t, err := u.Verify(a)
		if err != nil {
			continue
		}
		own := slices.IndexFunc(entriesOf(j.claimed.base), func(d tuf.Delegation) bool { return names(t, d.Name()) })
		if own < 0 {
			break
		}
		return j.fallThroughBy(entriesOf(j.claimed.base)[own], data)
	}
	return refuse(BadSignature, "", "the claimed bin that the request brings is none that claimed delegates to; do not sign")
}

// fallThroughBy reads it from a bin that is delegated by d.
func (j *judge) fallThroughBy(d tuf.Delegation, data []byte) error {
	a, err := d.Authority()
	if err != nil {
		return refuse(Key, d.Name(), "reading the keys of %s: %v", d.Name(), err)
	}
	if j.chainBin, err = verified(d.Name(), data, a, d.MinimumVersion()); err != nil {
		return err
	}
	last, ok := find(j.chainBin, policy.RoleUnclaimed)
	if !ok || !policy.FallsThroughLast(j.chainBin) {
		return refuse(NotAllowed, d.Name(), "%s does not end with its delegation to unclaimed", d.Name())
	}
	if j.unclaimed.authority, err = last.Authority(); err != nil {
		return refuse(Key, policy.RoleUnclaimed, "reading the keys of unclaimed: %v", err)
	}
	j.unclaimed.signers = j.unclaimed.authority
	return nil
}

// someBin returns a claimed bin that the request brings, for what all of them say; nil if it has none.
func (j *judge) someBin(after bool) *tuf.Targets {
	for i := range j.r.Payloads {
		if b := j.bins[j.r.Payloads[i].Role]; b != nil {
			if after {
				return b.next
			}
			return b.base
		}
	}
	return j.chainBin
}
