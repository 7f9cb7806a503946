package sitting

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"example.com/bailiwick/internal/ceremony"
	"example.com/bailiwick/internal/parallel"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
)

// handover is a project of the request: its entry in the bin, and the new versions of its roles.
type handover struct {
	*hand
	at   []int // of the payloads; the first is that of the project's role
	base *tuf.Targets
	next *tuf.Targets

	kind    ChangeKind
	role    tuf.RoleName // whose payload makes the change
	text    string
	unusual string
	err     error
}

// judgeProjects judges what happens to projects, side by side.
func (j *judge) judgeProjects() error {
	all, err := j.handovers()
	if err != nil {
		return err
	}
	parallel.Do(len(all), func(i int) { all[i].err = j.judgeProject(all[i]) })
	for _, h := range all {
		if h.err != nil {
			return h.err
		}
		expires := h.bin.next.Expires()
		if h.next != nil {
			expires = h.next.Expires()
			j.listings[h.project] = listing{h.base, h.next}
		}
		c := Change{Kind: h.kind, Role: h.role, Project: h.project, Old: h.had, New: h.signs, Since: h.since, Expires: expires, Text: h.text}
		f := h.bin.finding
		f.changes = append(f.changes, c)
		if h.unusual != "" {
			f.unusual = append(f.unusual, Exception{Subject: h.project.String(), Text: h.unusual, Weight: weightOf(h.kind)})
		}
	}
	for role, b := range j.bins {
		if len(b.finding.changes) == 0 && b.authority.Equal(b.signers) && b.fallOld.Equal(b.fallNow) {
			b.finding.renewedUnlessChanged(role, b.next)
		}
	}
	return nil
}

// handovers joins the entries that differ with the payloads of projects, in the order of bins.
func (j *judge) handovers() ([]*handover, error) {
	var all []*handover
	byProject := make(map[pypi.Project]*handover)
	for i := range j.r.Payloads {
		if b := j.bins[j.r.Payloads[i].Role]; b != nil {
			for _, h := range b.hands {
				o := &handover{hand: h, role: j.r.Payloads[i].Role}
				all, byProject[h.project] = append(all, o), o
			}
		}
	}
	for i := range j.r.Payloads {
		role := j.r.Payloads[i].Role
		if !maintained(role) {
			continue
		}
		p, main := policy.ProjectOf(role)
		if !main {
			p, _, _ = policy.SubRoleOf(role)
		}
		o := byProject[p]
		if o == nil {
			h, err := j.unchanged(role, p)
			if err != nil {
				return nil, err
			}
			o = &handover{hand: h, role: role}
			all, byProject[p] = append(all, o), o
		}
		if main == (len(o.at) > 0) {
			return nil, refuse(Malformed, role, "the request has a new version of %s and none of %s, which comes with it", role, policy.ProjectRole(p))
		}
		o.at = append(o.at, i)
	}
	return all, nil
}

// unchanged finds the entry of a project of which there is a payload, and whose entry stays as it is.
func (j *judge) unchanged(role tuf.RoleName, p pypi.Project) (*hand, error) {
	b := j.bins[j.layout.ClaimedBin(p)]
	if b == nil {
		return nil, refuse(Malformed, role, "the request has a new version of %s and not of its bin, %s; plan it anew", role, j.layout.ClaimedBin(p))
	}
	old, ok := find(b.base, policy.ProjectRole(p))
	now, still := find(b.next, policy.ProjectRole(p))
	if !ok || !still {
		return nil, refuse(Outside, role, "the request has a new version of %s, which its claimed bin does not delegate to", role)
	}
	h := &hand{project: p, bin: b, old: old, now: now, members: membersOf(now.Raw())}
	return h, h.read()
}

func (j *judge) judgeProject(h *handover) error {
	role := h.hand.role()
	keys := keysOf(h.signs)
	if !h.parked {
		if j.unclaimed.base == nil {
			return refuse(Malformed, role, "the request does not bring the signed file of unclaimed, by which the registry's keys could be told from those of %s; export it again", role)
		}
		if err := j.notOurs(role, keys); err != nil {
			return err
		}
	}
	switch {
	case h.fresh() && h.parked:
		return refuse(NotAllowed, role, "%s is claimed and parked in one request; promote it first", role)
	case h.fresh() && !h.markedRecovery && len(h.at) == 0:
		h.kind, h.text = Promoted, "claimed by "+countKeys(h.signs)
		return nil
	case h.fresh() && !h.markedRecovery:
		return refuse(NotAllowed, role, "promoting %s does not change what it lists, and the request has a new version of it", role)
	case len(h.at) == 0:
		return refuse(Unsigned, role, "the payload of %s gives %s other keys, and the request does not bring what its maintainers would have signed for that; do not sign", h.role, role)
	}
	if err := j.versions(h); err != nil {
		return err
	}
	if h.parked {
		return j.judgeParked(h)
	}
	return j.judgeRekeyed(h, keys)
}

// versions reads the published version of the project's role and the one of the request.
func (j *judge) versions(h *handover) error {
	p := &j.r.Payloads[h.at[0]]
	h.next = j.drafts[h.at[0]]
	if p.Base == nil {
		return refuse(Malformed, p.Role, "the request does not bring the signed file of %s that it replaces; export it again", p.Role)
	}
	var err error
	if h.fresh() {
		// Who signed it the request can not show: the registry says so, as it does of what it promotes.
		h.base, err = unverified(p.Role, p.Base)
	} else {
		h.base, err = verified(p.Role, p.Base, h.signed, h.old.MinimumVersion())
	}
	if err != nil {
		return err
	}
	return successor(p.Role, h.base, h.next)
}

// unverified reads a signed file whose keys nobody here knows.
func unverified(role tuf.RoleName, data []byte) (*tuf.Targets, error) {
	u, err := tuf.ParseTargets(data, nil)
	if err != nil {
		return nil, refuse(Malformed, role, "the file of %s that the request brings can not be read: %v", role, err)
	}
	return peek(role, u.Message(), tuf.ParseTargets)
}

// judgeParked judges that the bin's keys sign for a project: the list stays as its maintainers signed it.
func (j *judge) judgeParked(h *handover) error {
	role := h.hand.role()
	if len(h.at) > 1 {
		return refuse(NotAllowed, role, "%s is parked as it is, and the request has new versions of its sub-roles", role)
	}
	if !h.signs.Equal(h.bin.signers) {
		return refuse(NotAllowed, role, "%s would be parked under keys that are not those of its bin; do not sign", role)
	}
	if h.markedRecovery {
		return refuse(NotAllowed, role, "%s is parked and recovered in one request", role)
	}
	kept, err := policy.ParkedKeys(h.now)
	if err != nil {
		return refuse(Key, role, "%s would be parked, and its maintainers' keys can not be read: %v", role, err)
	}
	if !kept.Equal(h.had) {
		return refuse(NotAllowed, role, "%s would be parked, and keys that are not its maintainers' could take it back; do not sign", role)
	}
	if changed := differing(h.old.Raw(), h.now.Raw()); h.wasParked && (slices.Contains(changed, policy.ParkedMember) || slices.Contains(changed, policy.ParkedKeysMember)) {
		return refuse(NotAllowed, role, "%s is parked already; since when, and whose it was, does not change", role)
	}
	if err := sameBut(role, h.base, h.next); err != nil {
		return err
	}
	f := &j.findings[h.at[0]]
	f.needs = []need{{h.bin.signers, "the keys of claimed, in the place of its maintainers"}}
	switch {
	case !h.wasParked:
		h.kind = Parked
		h.text = fmt.Sprintf("the offline key signs its %d files in the place of %s", h.base.Len(), countKeys(h.had))
		h.unusual = "parked: " + h.text
	case !h.signed.Equal(h.signs):
		h.kind, h.text = Parked, "stays parked, under the new keys of its bin"
	default:
		h.kind, h.text, h.role = Renewed, "stays parked, signed anew", role
	}
	return nil
}

// judgeRekeyed judges that a project gets other keys: those that it has agree, or operators say so. In both
// cases every new key has signed, and no file appears or has other content.
func (j *judge) judgeRekeyed(h *handover, keys []*key.Public) error {
	role := h.hand.role()
	if err := sameBut(role, h.base, h.next, "targets", "delegations", ceremony.RecoveryMember); err != nil {
		return err
	}
	recovery, err := j.recoveryKeys(h, keys)
	if err != nil {
		return err
	}
	removed, err := onlyFewer(role, h.base, h.next)
	if err != nil {
		return err
	}
	if err := j.judgeSubs(h); err != nil {
		return err
	}
	p := &j.r.Payloads[h.at[0]]
	had := keysOf(h.had)
	b, err := countVotes(p, slices.Concat(keys, had, recovery))
	if err != nil {
		return err
	}
	b.need(keys, h.signs.Threshold(), "the new threshold")
	var added []*key.Public
	for _, k := range keys {
		if h.markedRecovery || !holds(had, k) {
			added = append(added, k)
		}
	}
	b.need(added, len(added), "every added key signs")
	by := "its own keys agreed"
	switch {
	case h.markedRecovery:
		by = "operators decide, its own keys did not"
	case b.have(had) >= h.had.Threshold():
	case b.have(recovery) > 0:
		by = "a recovery key of its own agreed"
	default:
		b.need(had, h.had.Threshold(), "the threshold it has now, or one recovery key")
	}
	if err := b.complete(); err != nil {
		return err
	}
	j.findings[h.at[0]].ballot = b
	h.kind = Rekeyed
	if h.markedRecovery {
		h.kind = Recovered
	}
	h.describe(by, removed)
	return nil
}

// complete refuses a payload of maintainers that lacks signatures: once the offline key has signed, nobody
// would have to wait for them.
func (b *ballot) complete() error {
	if len(b.missing) == 0 {
		return nil
	}
	parts := make([]string, len(b.missing))
	for i, m := range b.missing {
		parts[i] = m.String()
	}
	return refuse(Unsigned, b.role, "%s waits for its maintainers, who sign before the offline key does: %s; do not sign", b.role, strings.Join(parts, "; "))
}

// describe says what the change of keys is.
func (h *handover) describe(by string, removed int) {
	var parts []string
	switch {
	case h.wasParked && h.signs.Equal(h.had):
		parts = append(parts, "taken back from parking by the keys it had")
	case h.signs.Equal(h.had):
		parts = append(parts, "the same keys, other recovery keys or sub-roles")
	case h.had.Threshold() == 0:
		parts = append(parts, countKeys(h.signs)+", who had it the request can not show")
	default:
		parts = append(parts, countKeys(h.signs)+", before "+countKeys(h.had))
	}
	parts = append(parts, by)
	if removed > 0 {
		parts = append(parts, fmt.Sprintf("%d of %d files are taken off the list", removed, h.base.Len()))
	}
	h.text = strings.Join(parts, "; ")
	h.unusual = string(h.kind) + ": " + h.text
}

// countKeys says how many keys of how many sign.
func countKeys(a tuf.Authority) string {
	if len(a.KeyIDs()) == 1 {
		return "1 key"
	}
	return fmt.Sprintf("%d of %d keys", a.Threshold(), len(a.KeyIDs()))
}

// recoveryKeys returns those that the project has, and checks those that it will have.
func (j *judge) recoveryKeys(h *handover, keys []*key.Public) ([]*key.Public, error) {
	role := h.hand.role()
	next, err := ceremony.RecoveryKeys(h.next)
	if err != nil {
		return nil, refuse(Key, role, "the recovery keys of %s: %v", role, err)
	}
	if err := j.notOurs(role, next); err != nil {
		return nil, err
	}
	for _, k := range next {
		if holds(keys, k) {
			return nil, refuse(Key, role, "key %s is listed to sign %s and to recover it", short(k.ID()), role)
		}
	}
	if h.fresh() {
		return nil, nil // what the registry shows as its base decides nothing
	}
	old, err := ceremony.RecoveryKeys(h.base)
	if err != nil {
		return nil, refuse(Key, role, "the recovery keys of %s: %v", role, err)
	}
	return old, nil
}

// onlyFewer refuses files that appear, or have other content, and counts those that go.
func onlyFewer(role tuf.RoleName, base, next *tuf.Targets) (removed int, err error) {
	entries := make(map[string][]byte, base.Len())
	for path, raw := range base.Entries() {
		entries[string(path)] = raw
	}
	for path, raw := range next.Entries() {
		old, ok := entries[string(path)]
		if !ok {
			return 0, refuse(NotAllowed, role, "the new version of %s adds %.120q; a change of keys adds no files, they are released afterwards", role, path)
		}
		if bytes.Equal(old, raw) {
			continue
		}
		a, _ := base.Lookup(tuf.TargetPath(path))
		b, _ := next.Lookup(tuf.TargetPath(path))
		if a.Length != b.Length || a.Hashes != b.Hashes {
			return 0, refuse(NotAllowed, role, "the new version of %s lists %.120q with other content", role, path)
		}
	}
	return base.Len() - next.Len(), nil
}

// judgeSubs judges the roles to which a project's maintainers delegate: what its new keys say of them is
// theirs to say, and their lists get no new files either.
func (j *judge) judgeSubs(h *handover) error {
	role := h.hand.role()
	if err := sameFrameOrFewer(role, h.base, h.next); err != nil {
		return err
	}
	drafts := make(map[tuf.RoleName]int)
	for _, i := range h.at[1:] {
		drafts[j.r.Payloads[i].Role] = i
	}
	before := byName(h.base)
	for _, now := range entriesOf(h.next) {
		old, ok := before[now.Name()]
		if !ok {
			return refuse(NotAllowed, role, "the new version of %s delegates to %.80q, which it did not; a change of keys adds no sub-roles, they are released afterwards", role, now.Name())
		}
		i, drafted := drafts[now.Name()]
		delete(drafts, now.Name())
		if !drafted && bytes.Equal(old.Raw(), now.Raw()) {
			continue
		}
		if err := j.judgeSub(h, old, now, i, drafted); err != nil {
			return err
		}
	}
	for sub := range drafts {
		return refuse(Unknown, sub, "the request has a new version of %s, to which %s does not delegate", sub, role)
	}
	return nil
}

// sameFrameOrFewer is sameFrame for a role whose delegations may all be gone.
func sameFrameOrFewer(role tuf.RoleName, base, next *tuf.Targets) error {
	if next.Delegations() == nil {
		return nil
	}
	return sameFrame(role, base, next)
}

func (j *judge) judgeSub(h *handover, old, now tuf.Delegation, i int, drafted bool) error {
	role := now.Name()
	for _, name := range differing(old.Raw(), now.Raw()) {
		if name != "keyids" && name != "threshold" {
			return refuse(NotAllowed, role, "the request changes %.40q of the delegation to %s; a change of keys does not", name, role)
		}
	}
	a, b, err := authorities(old, now)
	if err != nil {
		return err
	}
	keys, err := usable(b, role)
	if err != nil {
		return err
	}
	if err := j.notOurs(role, keys); err != nil {
		return err
	}
	if !drafted {
		return refuse(Unsigned, role, "the request gives %s other keys, which have not signed what it lists; its next version has to be in the request", role)
	}
	p, next := &j.r.Payloads[i], j.drafts[i]
	if p.Base == nil {
		return refuse(Malformed, role, "the request does not bring the signed file of %s that it replaces; export it again", role)
	}
	base, err := verified(role, p.Base, a, old.MinimumVersion())
	if err != nil {
		return err
	}
	if err := successor(role, base, next); err != nil {
		return err
	}
	if err := sameBut(role, base, next, "targets"); err != nil {
		return err
	}
	if _, err := onlyFewer(role, base, next); err != nil {
		return err
	}
	votes, err := countVotes(p, keys)
	if err != nil {
		return err
	}
	votes.need(keys, b.Threshold(), "its threshold")
	j.findings[i].ballot = votes
	return votes.complete()
}
