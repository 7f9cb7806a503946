package sitting

import (
	"fmt"
	"slices"

	"example.com/bailiwick/internal/ceremony"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
	"example.com/bailiwick/tuf/repo"
)

// binPlan is a claimed bin and what becomes of it.
type binPlan struct {
	delegation tuf.Delegation // by claimed
	authority  tuf.Authority
	base       *tuf.Targets
	promoted   []repo.Delegation
	handed     []repo.Delegation // projects that get other keys
	projects   []Payload         // their new versions
	renew      bool
}

func (b *binPlan) role() tuf.RoleName { return b.delegation.Name() }

// touched reports whether the bin gets a new version.
func (b *binPlan) touched() bool {
	return b.renew || len(b.promoted)+len(b.handed)+len(b.projects) > 0
}

func (b *binPlan) changed() []repo.Delegation { return slices.Concat(b.promoted, b.handed) }

// claims reports whether the bin delegates any project afterwards.
func (b *binPlan) claims() bool {
	return len(b.promoted)+len(b.handed) > 0 || len(entriesOf(b.base)) > 1
}

// minimum is the lowest version of the bin that clients take afterwards.
func (b *binPlan) minimum() int64 {
	if b.touched() {
		return b.base.Version() + 1
	}
	return max(b.delegation.MinimumVersion(), 1)
}

// open reads a delegated role as it is published, expired or not, and verifies it.
func (p *plan) open(d tuf.Delegation) (*tuf.Targets, tuf.Authority, error) {
	a, err := d.Authority()
	if err != nil {
		return nil, a, refuse(Key, d.Name(), "reading the keys of %s: %v", d.Name(), err)
	}
	t, err := p.openAs(d.Name(), a, d.MinimumVersion())
	return t, a, err
}

func (p *plan) openAs(role tuf.RoleName, a tuf.Authority, minimum int64) (*tuf.Targets, error) {
	meta, ok := p.Set.Snapshot().Lookup(role)
	if !ok {
		return nil, refuse(Unknown, role, "%s is delegated, and the snapshot does not list it", role)
	}
	data, err := p.Load(role, meta)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", role, err)
	}
	t, err := verified(role, data, a, minimum)
	if err != nil {
		return nil, err
	}
	if t.Version() != meta.Version {
		return nil, stale(role, meta.Version, "%s is published as version %d, and version %d came", role, meta.Version, t.Version())
	}
	return t, nil
}

// planBin finds out what becomes of a bin.
func (p *plan) planBin(d tuf.Delegation, registry map[tuf.RoleName]tuf.Delegation) (*binPlan, error) {
	base, a, err := p.open(d)
	if err != nil {
		return nil, err
	}
	b := &binPlan{delegation: d, authority: a, base: base}
	if !policy.FallsThroughLast(base) {
		return nil, refuse(NotAllowed, b.role(), "%s does not end with its delegation to unclaimed", b.role())
	}
	if w := p.handed[b.role()]; w != nil {
		if err := p.handOver(b, w); err != nil {
			return nil, err
		}
	}
	if p.promotes() {
		bin, _ := policy.BinOf(b.role())
		if err := p.promote(b, registry[policy.RoleUnclaimed+"-"+tuf.RoleName(bin)]); err != nil {
			return nil, err
		}
	}
	if err := p.renewParked(b); err != nil {
		return nil, err
	}
	lowest := d.MinimumVersion()
	behind := base.Version() > max(lowest, 1)
	life := p.Lifetimes.ClaimedBin
	b.renew = behind || p.due(b.role(), base.Expires(), life)
	return b, nil
}

// promote adds the recently claimed projects of a bin that are wished for.
func (p *plan) promote(b *binPlan, registry tuf.Delegation) error {
	if registry == (tuf.Delegation{}) {
		return refuse(Unknown, b.role(), "unclaimed has no bin beside %s", b.role())
	}
	bin, keys, err := p.open(registry)
	if err != nil {
		return err
	}
	there := byName(b.base)
	for _, d := range b.handed {
		there[d.Role] = tuf.Delegation{}
	}
	chain := p.Layout.UnclaimedBinChain(string(registry.Name()[len(policy.RoleUnclaimed)+1:]))
	links := []policy.ChainLink{{Role: tuf.RoleTargets}}
	for _, role := range chain {
		links = append(links, policy.ChainLink{Role: role})
	}
	links[len(links)-1].Keys = keys.KeyIDs()
	for _, d := range entriesOf(bin) {
		project, ok := policy.ProjectOf(d.Name())
		if _, promoted := there[d.Name()]; !ok || promoted || p.except[project] || p.only != nil && !p.only[project] {
			continue
		}
		since, dated := policy.Since(d)
		if p.only == nil && p.w.MinAge > 0 && (!dated || since.After(p.Now.Add(-p.w.MinAge))) {
			continue
		}
		a, err := d.Authority()
		if err != nil || policy.Assess(append(links, policy.ChainLink{Role: d.Name(), Keys: a.KeyIDs()})) != policy.RecentlyClaimed {
			continue
		}
		if !p.promotable(d.Name(), a) || p.w.Promote != nil && !p.w.Promote(project, since, a) {
			continue
		}
		next := policy.NewProject(p.Layout, project, a)
		if dated {
			next = policy.ClaimProject(p.Layout, project, a, since)
		}
		b.promoted = append(b.promoted, next)
	}
	return nil
}

// promotable reports whether keys can be written into a claimed bin: all can be verified, and none is the
// repository's own.
func (p *plan) promotable(role tuf.RoleName, a tuf.Authority) bool {
	keys, err := usable(a, role)
	return err == nil && !slices.ContainsFunc(keys, func(k *key.Public) bool {
		_, own := p.own[k.Fingerprint()]
		return own || !slices.Contains(a.KeyIDs(), k.ID())
	})
}

// handOver plans the projects of a bin that are parked, rekeyed or recovered.
func (p *plan) handOver(b *binPlan, w *wanted) error {
	entries := byName(b.base)
	for _, project := range w.park {
		d, ok := entries[policy.ProjectRole(project)]
		if !ok {
			return refuse(Unknown, policy.ProjectRole(project), "%s is not claimed, so it can not be parked; a recently claimed project is promoted first", project)
		}
		if err := p.park(b, project, d); err != nil {
			return err
		}
	}
	for _, c := range w.keys {
		if err := p.rekey(b, c, entries[policy.ProjectRole(c.request.Project)]); err != nil {
			return err
		}
	}
	return nil
}

func (p *plan) park(b *binPlan, project pypi.Project, d tuf.Delegation) error {
	if _, parked := policy.Parked(d); parked {
		return refuse(Unknown, d.Name(), "%s is parked already", project)
	}
	base, had, err := p.open(d)
	if err != nil {
		return err
	}
	next, err := policy.Park(p.Layout, project, b.authority, had, p.Now)
	if err != nil {
		return refuse(Key, d.Name(), "%v", err)
	}
	b.handed = append(b.handed, next)
	return p.countersign(b, base)
}

// countersign adds the next version of a parked project: the same list, signed by its bin's keys.
func (p *plan) countersign(b *binPlan, base *tuf.Targets) error {
	project, _ := ownName(base)
	d, err := repo.EditTargets(base, repo.TargetsEdit{}, p.issue(project, base.Version(), b.authority, true))
	if err != nil {
		return fmt.Errorf("drafting %s: %w", project, err)
	}
	b.projects = append(b.projects, Payload{Role: project, Base: base.Bytes(), Message: d.Message()})
	return nil
}

// renewParked adds the parked projects of a bin that would expire.
func (p *plan) renewParked(b *binPlan) error {
	if !p.w.Renew && !p.w.All {
		return nil
	}
	for _, d := range entriesOf(b.base) {
		if _, parked := policy.Parked(d); !parked || slices.ContainsFunc(b.handed, func(h repo.Delegation) bool { return h.Role == d.Name() }) {
			continue
		}
		base, _, err := p.open(d)
		if err != nil {
			return err
		}
		if p.due(d.Name(), base.Expires(), p.Lifetimes.ClaimedProject) {
			if err := p.countersign(b, base); err != nil {
				return err
			}
		}
	}
	return nil
}

// rekey adds a change of keys as its ceremony left it. d is the project's entry in the bin, the zero value
// if it has none: what operators recover may be recently claimed.
func (p *plan) rekey(b *binPlan, c keyChange, d tuf.Delegation) error {
	r, role := c.request, policy.ProjectRole(c.request.Project)
	fresh := d == tuf.Delegation{}
	if fresh && !c.recover {
		return refuse(Unknown, role, "%s is not claimed by its bin, so its keys change without a sitting; send the request to the index", r.Project)
	}
	a, err := tuf.NewAuthority(r.Threshold, r.Keys...)
	if err != nil {
		return refuse(Key, role, "the keys that %s is to get: %v", r.Project, err)
	}
	next := policy.Unpark(p.Layout, r.Project, a)
	if c.recover {
		next = policy.Recover(p.Layout, r.Project, a, p.Now)
	}
	if fresh {
		since, members := p.Now, next.Members
		next = policy.ClaimProject(p.Layout, r.Project, a, since)
		next.Members[policy.RecoveredMember] = members[policy.RecoveredMember]
	}
	b.handed = append(b.handed, next)
	for i := range r.Payloads {
		from := &r.Payloads[i]
		base, err := p.published(from.Role, r.Bases[from.Role])
		if err != nil {
			return err
		}
		b.projects = append(b.projects, Payload{
			Role: from.Role, Base: base, Message: from.Message, Signatures: signaturesBut(from, fresh, a),
		})
	}
	return nil
}

// signaturesBut returns the signatures that count in a sitting: where the registry alone knows who had the
// project, those of its new keys.
func signaturesBut(from *ceremony.Payload, fresh bool, a tuf.Authority) []tuf.Signature {
	return slices.DeleteFunc(slices.Clone(from.Signatures), func(s tuf.Signature) bool {
		_, counts := a.Key(s.KeyID)
		return fresh && !counts
	})
}

// published reads a role as it is published, if it still is the version on which a request is based.
func (p *plan) published(role tuf.RoleName, base int64) ([]byte, error) {
	meta, ok := p.Set.Snapshot().Lookup(role)
	if !ok || meta.Version != base {
		return nil, stale(role, meta.Version, "a change of keys is based on version %d of %s and the newest is %d; it has to be made and signed anew", base, role, meta.Version)
	}
	data, err := p.Load(role, meta)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", role, err)
	}
	return data, nil
}

// draftBin drafts the next version of a bin, if it gets one, with the projects that go with it.
func (p *plan) draftBin(b *binPlan, something bool) ([]Payload, error) {
	if !b.touched() {
		return nil, nil
	}
	issue := p.issue(b.role(), b.base.Version(), b.authority, something)
	bin, _ := policy.BinOf(b.role())
	issue.Paths = []string{p.Layout.BinPattern(bin)}
	edit := repo.TargetsEdit{}
	if changed := b.changed(); len(changed) > 0 {
		edit = policy.AddClaimed(p.Layout, b.base, changed...)
	}
	if len(edit.AddDelegations) == 0 {
		edit.AddBefore = ""
	}
	d, err := repo.EditTargets(b.base, edit, issue)
	if err != nil {
		return nil, fmt.Errorf("drafting %s: %w", b.role(), err)
	}
	return append([]Payload{{Role: b.role(), Base: b.base.Bytes(), Message: d.Message()}}, b.projects...), nil
}

// ownName returns the name by which a role calls itself.
func ownName(t *tuf.Targets) (tuf.RoleName, bool) {
	raw, ok := t.Member(repo.MemberRoleName)
	if !ok || len(raw) < 2 {
		return "", false
	}
	return tuf.RoleName(raw[1 : len(raw)-1]), true
}
