package sitting

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"time"

	"example.com/bailiwick/internal/ceremony"
	"example.com/bailiwick/internal/parallel"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/repo"
)

const (
	// planLife is how long a request is good for unless it is said otherwise.
	planLife = 30 * day
	// sittingsApart is how long before its expiry a role is renewed in a sitting: the time to the next one, and
	// two weeks by which that may be late.
	sittingsApart = policy.Ahead + 15*day
)

// plan is a request in the making.
type plan struct {
	State
	w       Wishes
	only    map[pypi.Project]bool // nil: not limited
	except  map[pypi.Project]bool
	handed  map[tuf.RoleName]*wanted // by claimed bin
	claimed *tuf.Targets
	// unclaimed is nil while the request is not about the claimed tree or about unclaimed itself.
	unclaimed *tuf.Targets
	fall      tuf.Authority
	own       map[[32]byte]string
	bins      []*binPlan
	request   *Request
}

// wanted is what is wanted of the projects of one claimed bin.
type wanted struct {
	park []pypi.Project
	keys []keyChange
}

// keyChange is a rekey or a recovery.
type keyChange struct {
	request *ceremony.Request
	recover bool
}

// Plan makes the request that does what is wished for to a repository as it stands. It reads through Load
// what it needs, and verifies it. ctx ends it early. The error is a *Refused if a wish can not be met: what
// it names has to be left out; or that of reading what is published.
func Plan(ctx context.Context, s State, w Wishes) (*Request, error) {
	p := &plan{State: s, w: w, except: setOf(w.Except), handed: make(map[tuf.RoleName]*wanted)}
	if w.Only != nil {
		p.only = setOf(w.Only)
	}
	p.Now = s.Now.UTC().Truncate(time.Second)
	life := w.Life
	if life == 0 {
		life = planLife
	}
	p.request = &Request{
		Repository: s.Repository, Created: p.Now, Expires: p.Now.Add(life).Truncate(time.Second), By: w.By, Note: w.Note,
	}
	steps := []func() error{p.roots, p.top, func() error { return p.tree(ctx) }, p.claimedRole, p.unclaimedRole, p.notes}
	for _, step := range steps {
		if err := step(); err != nil {
			return nil, err
		}
	}
	if len(p.request.Payloads) == 0 {
		return nil, refuse(Unknown, "", "there is nothing to sign in what is wished for")
	}
	p.request.Sort()
	return p.request, p.request.check()
}

func setOf(projects []pypi.Project) map[pypi.Project]bool {
	set := make(map[pypi.Project]bool, len(projects))
	for _, p := range projects {
		set[p] = true
	}
	return set
}

// roots brings the chain of roots, and the next root if that is wished for.
func (p *plan) roots() error {
	for _, role := range p.w.Roles {
		if r := rank(role); r == noRank || maintained(role) {
			return refuse(Outside, role, "%.80q is not signed by offline keys", role)
		}
	}
	root := p.Set.Root()
	for version := range root.Version() {
		data, err := p.Root(version + 1)
		if err != nil {
			return fmt.Errorf("reading root version %d: %w", version+1, err)
		}
		p.request.Chain.Roots = append(p.request.Chain.Roots, data)
	}
	if sum := sha256.Sum256(p.request.Chain.Roots[0]); sum != p.Repository {
		return refuse(Foreign, tuf.RoleRoot, "the first root of the repository is sha256:%.6x…, and the request is to be for %.6x…", sum, p.Repository)
	}
	if !slices.Contains(p.w.Roles, tuf.RoleRoot) {
		return nil
	}
	d, err := repo.EditRoot(root, repo.RootEdit{}, p.issue(tuf.RoleRoot, root.Version(), tuf.Authority{}, false))
	return p.add(root.Bytes(), d, err)
}

// top renews targets.
func (p *plan) top() error {
	if !p.w.All && !slices.Contains(p.w.Roles, tuf.RoleTargets) {
		return nil
	}
	base := p.Set.Targets()
	a, _ := p.Set.Root().Authority(tuf.RoleTargets)
	p.request.Chain.Targets = base.Bytes()
	d, err := repo.EditTargets(base, repo.TargetsEdit{}, p.issue(tuf.RoleTargets, base.Version(), a, true))
	return p.add(base.Bytes(), d, err)
}

// add puts a draft into the request.
func (p *plan) add(base []byte, d *repo.Draft, err error) error {
	if err != nil {
		return fmt.Errorf("drafting the next version: %w", err)
	}
	p.request.Payloads = append(p.request.Payloads, Payload{Role: d.Role(), Base: base, Message: d.Message()})
	return nil
}

// issue is what the version after base needs. Lives are cut to what can be signed.
func (p *plan) issue(role tuf.RoleName, base int64, a tuf.Authority, something bool) repo.Issue {
	life := p.Lifetimes.Of(role)
	switch kind := policy.KindOf(role); {
	case maintained(role):
		life = p.Lifetimes.ClaimedProject
		if latest := policy.ClaimedExpiry(p.Now).Sub(p.Now); life > latest {
			life = latest
		}
	case kind == policy.KindClaimed || kind == policy.KindClaimedBin:
		if !something {
			life = p.Lifetimes.NothingClaimed
		}
		life = min(life, longestClaimed)
	default:
		life = min(life, longestTop)
	}
	return repo.Issue{Role: role, Version: base + 1, Expires: p.Now.Add(life), Now: p.Now, Authority: a}
}

// rolesAlone reports whether nothing is wished for but to sign roles anew that are not of the claimed tree.
func (p *plan) rolesAlone() bool {
	w := &p.w
	tree := slices.ContainsFunc(w.Roles, func(r tuf.RoleName) bool {
		return policy.KindOf(r) == policy.KindClaimed || policy.KindOf(r) == policy.KindClaimedBin
	})
	return len(w.Roles) > 0 && !tree && !w.Renew && !w.All && !p.promotes() &&
		len(w.Park)+len(w.Rekeys)+len(w.Recoveries) == 0
}

func (p *plan) promotes() bool {
	return p.w.MinAge > 0 || p.w.Only != nil || p.w.Promote != nil
}

// due reports whether a role would expire before the next sitting.
func (p *plan) due(role tuf.RoleName, expires time.Time, life time.Duration) bool {
	return p.w.All || slices.Contains(p.w.Roles, role) || p.w.Renew && !p.Now.Before(RenewedFrom(expires, life))
}

// RenewedFrom returns from when on a sitting that renews takes in a role of the claimed tree, or unclaimed, that expires then
// and lives that long: early enough for the next sitting to be late.
func RenewedFrom(expires time.Time, life time.Duration) time.Time {
	return expires.Add(-min(sittingsApart, life/2))
}

// tree reads the claimed tree and plans every bin.
func (p *plan) tree(ctx context.Context) error {
	alone := p.rolesAlone()
	if alone && !slices.Contains(p.w.Roles, policy.RoleUnclaimed) {
		return nil
	}
	if err := p.readHeads(); err != nil {
		return err
	}
	if alone {
		return nil
	}
	if err := p.sortWishes(); err != nil {
		return err
	}
	delegations := entriesOf(p.claimed)
	registry := byName(p.unclaimed)
	p.bins = make([]*binPlan, len(delegations))
	errs := make([]error, len(delegations))
	parallel.Do(len(delegations), func(i int) {
		if errs[i] = ctx.Err(); errs[i] == nil {
			p.bins[i], errs[i] = p.planBin(delegations[i], registry)
		}
	})
	if err := firstOf(errs); err != nil {
		return err
	}
	something := slices.ContainsFunc(p.bins, func(b *binPlan) bool { return b.claims() })
	payloads := make([][]Payload, len(p.bins))
	parallel.Do(len(p.bins), func(i int) {
		if errs[i] = ctx.Err(); errs[i] == nil {
			payloads[i], errs[i] = p.draftBin(p.bins[i], something)
		}
	})
	if err := firstOf(errs); err != nil {
		return err
	}
	p.request.Payloads = append(p.request.Payloads, slices.Concat(payloads...)...)
	return p.foundAll()
}

// readHeads reads claimed and unclaimed, and the keys that are the repository's own.
func (p *plan) readHeads() error {
	var err error
	if p.claimed, err = ceremony.Role(p.Set, p.Load, policy.RoleClaimed); err != nil {
		return fmt.Errorf("reading claimed: %w", err)
	}
	first := ""
	for first = range p.Layout.BinNames() {
		break
	}
	chain := p.Layout.UnclaimedBinChain(first)
	bin, err := ceremony.Role(p.Set, p.Load, chain[:2]...)
	if err != nil {
		return fmt.Errorf("reading %s: %w", chain[1], err)
	}
	if p.unclaimed, err = ceremony.Role(p.Set, p.Load, chain[:3]...); err != nil {
		return fmt.Errorf("reading unclaimed: %w", err)
	}
	d, ok := find(bin, policy.RoleUnclaimed)
	if !ok {
		return refuse(NotAllowed, chain[1], "%s does not end with its delegation to unclaimed", chain[1])
	}
	if p.fall, err = d.Authority(); err != nil {
		return fmt.Errorf("reading the keys of unclaimed: %w", err)
	}
	p.own = HoldersOf(p.Set.Root(), p.Set.Targets(), bin, p.unclaimed).Used()
	c := &p.request.Chain
	c.Targets, c.Claimed, c.Bin, c.Unclaimed = p.Set.Targets().Bytes(), p.claimed.Bytes(), bin.Bytes(), p.unclaimed.Bytes()
	return nil
}

// sortWishes finds the bins of the projects that change hands.
func (p *plan) sortWishes() error {
	seen := make(map[pypi.Project]bool)
	bin := func(project pypi.Project) (*wanted, error) {
		role := p.Layout.ClaimedBin(project)
		if seen[project] {
			return nil, refuse(Malformed, role, "two things are wished for %s in one request; do one after the other", project)
		}
		seen[project] = true
		if p.handed[role] == nil {
			p.handed[role] = &wanted{}
		}
		return p.handed[role], nil
	}
	for _, project := range p.w.Park {
		b, err := bin(project)
		if err != nil {
			return err
		}
		b.park = append(b.park, project)
	}
	for i, r := range slices.Concat(p.w.Rekeys, p.w.Recoveries) {
		recovery := i >= len(p.w.Rekeys) && r.Kind == ceremony.Recover
		if r.Kind != ceremony.Rekey && !recovery || r.Repository != p.Repository {
			return refuse(Malformed, "", "the request %s of %s is no change of keys in this repository", r.ID(), r.Project)
		}
		b, err := bin(r.Project)
		if err != nil {
			return err
		}
		b.keys = append(b.keys, keyChange{r, i >= len(p.w.Rekeys)})
	}
	return nil
}

// foundAll refuses a project that was named and that no bin has as wished.
func (p *plan) foundAll() error {
	for _, b := range p.bins {
		for _, d := range b.promoted {
			project, _ := policy.ProjectOf(d.Role)
			delete(p.only, project)
		}
	}
	for project := range p.only {
		if !p.except[project] {
			return refuse(Unknown, policy.ProjectRole(project), "%s is not recently claimed by keys that can be verified, so it can not be promoted; leave it out", project)
		}
	}
	return nil
}

// claimedRole drafts claimed, with the version of every bin as the lowest that counts.
func (p *plan) claimedRole() error {
	if len(p.bins) == 0 {
		return nil
	}
	a, err := p.authorityOf(p.Set.Targets(), policy.RoleClaimed)
	if err != nil {
		return err
	}
	var edit repo.TargetsEdit
	something := false
	for _, b := range p.bins {
		something = something || b.claims()
		minimum := b.minimum()
		if minimum == b.delegation.MinimumVersion() {
			continue
		}
		d := delegationOf(b.delegation, b.authority)
		d.MinimumVersion = minimum
		edit.ReplaceDelegations = append(edit.ReplaceDelegations, d)
	}
	d, err := repo.EditTargets(p.claimed, edit, p.issue(policy.RoleClaimed, p.claimed.Version(), a, something))
	return p.add(p.claimed.Bytes(), d, err)
}

func (p *plan) authorityOf(delegator *tuf.Targets, role tuf.RoleName) (tuf.Authority, error) {
	d, ok := find(delegator, role)
	if !ok {
		return tuf.Authority{}, refuse(Malformed, role, "%s is not delegated", role)
	}
	a, err := d.Authority()
	if err != nil {
		return a, refuse(Key, role, "reading the keys of %s: %v", role, err)
	}
	return a, nil
}

// unclaimedRole renews unclaimed.
func (p *plan) unclaimedRole() error {
	c := &p.request.Chain
	if slices.ContainsFunc(p.request.Payloads, func(q Payload) bool { return policy.KindOf(q.Role) == policy.KindClaimedBin }) {
		c.Bin = nil
	}
	if p.unclaimed == nil || !p.due(policy.RoleUnclaimed, p.unclaimed.Expires(), p.Lifetimes.Unclaimed) {
		return nil
	}
	d, err := repo.EditTargets(p.unclaimed, repo.TargetsEdit{}, p.issue(policy.RoleUnclaimed, p.unclaimed.Version(), p.fall, true))
	return p.add(p.unclaimed.Bytes(), d, err)
}

// notes asks for what is known of the projects that change hands.
func (p *plan) notes() error {
	if p.w.Notes == nil {
		return nil
	}
	for _, b := range p.bins {
		for _, d := range b.changed() {
			project, _ := policy.ProjectOf(d.Role)
			n := p.w.Notes(project)
			n.Project = project
			p.request.Notes = append(p.request.Notes, n)
		}
	}
	return nil
}
