package sitting

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"example.com/bailiwick/internal/ceremony"
	"example.com/bailiwick/internal/parallel"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
	"example.com/bailiwick/tuf/repo"
)

// Rotation is a change of who signs: from now on, Keys hold the key role, and Threshold of them sign.
type Rotation struct {
	Role      policy.KeyRole
	Keys      []*key.Public
	Threshold int
	Names     map[key.ID]string // of those who hold new keys, as far as they have one
}

// rotationLife is how long a request for other keys is good unless it is said otherwise.
const rotationLife = 30 * day

// Change returns the rotation by which keys of a role are added and taken away. remove names keys by
// holder, or by at least eight digits of the key id. A threshold of zero leaves it as it is. The error is
// a *Refused.
func (k *Keyholders) Change(role policy.KeyRole, add []Holder, remove []string, threshold int) (Rotation, error) {
	old := k.Authorities[role]
	c := Rotation{Role: role, Threshold: threshold, Names: make(map[key.ID]string)}
	if threshold == 0 {
		c.Threshold = old.Threshold()
	}
	gone := make(map[key.ID]bool)
	for _, word := range remove {
		id, err := k.find(role, word)
		if err != nil {
			return c, err
		}
		gone[id] = true
	}
	for _, public := range keysOf(old) {
		if !gone[public.ID()] {
			c.Keys = append(c.Keys, public)
		}
	}
	for _, h := range add {
		c.Keys = append(c.Keys, h.Key)
		if h.Name != "" {
			c.Names[h.Key.ID()] = h.Name
		}
	}
	if c.Threshold < 1 || c.Threshold > len(c.Keys) {
		return c, refuse(Key, tuf.RoleName(role), "%s would have %d keys, of which %d have to sign: add keys, or choose another threshold", role, len(c.Keys), c.Threshold)
	}
	return c, nil
}

// find returns the one key of a role that a word names.
func (k *Keyholders) find(role policy.KeyRole, word string) (key.ID, error) {
	var found, all []string
	for _, id := range k.Authorities[role].KeyIDs() {
		all = append(all, k.Name(id))
		if k.Names[id] == word || len(word) >= 8 && strings.HasPrefix(string(id), strings.ToLower(word)) {
			found = append(found, string(id))
		}
	}
	switch len(found) {
	case 1:
		return key.ID(found[0]), nil
	case 0:
		return "", refuse(Unknown, tuf.RoleName(role), "%.80q is no key of %s; its keys are %s; name one by its holder or by the first digits of its id", word, role, strings.Join(all, ", "))
	}
	return "", refuse(Unknown, tuf.RoleName(role), "%.80q can be each of %s: name the key by its id", word, strings.Join(found, " and "))
}

// Holders returns who signs now. The error is that of loading what is published.
func (s State) Holders() (*Keyholders, error) {
	bin := slices.Collect(s.Layout.BinNames())[0]
	chain := s.Layout.UnclaimedBinChain(bin)
	var below [2]*tuf.Targets // the claimed bin, and unclaimed
	for i := range below {
		var err error
		if below[i], err = ceremony.Role(s.Set, s.Load, chain[:len(chain)-2+i]...); err != nil {
			return nil, fmt.Errorf("reading %s: %w", chain[len(chain)-3+i], err)
		}
	}
	return HoldersOf(s.Set.Root(), s.Set.Targets(), below[0], below[1]), nil
}

// rotation is a plan in the making.
type rotation struct {
	State
	rotated   map[policy.KeyRole]Rotation
	old, next *Keyholders

	root                     *tuf.Root
	targets, claimed         *tuf.Targets
	unclaimed                *tuf.Targets
	bins                     []*tuf.Targets // in the order of their names
	binNames                 []string
	somethingClaimed, signed bool
	roots                    [][]byte

	request *Request
}

// Rotate plans the request by which keys change, several roles at once if need be: a new version of every
// role that names the keys, and of those that sign with them. What online keys sign, the index makes when the
// request is published; their new keys have to be there by then. The error is a *Refused, or that of
// loading what is published.
func Rotate(s State, w Wishes, rotations ...Rotation) (*Request, error) {
	p := &rotation{State: s, rotated: make(map[policy.KeyRole]Rotation), root: s.Set.Root(), targets: s.Set.Targets()}
	p.Now = s.Now.UTC().Truncate(time.Second)
	for _, r := range rotations {
		if _, twice := p.rotated[r.Role]; twice {
			return nil, refuse(Malformed, tuf.RoleName(r.Role), "the keys of %s are changed twice in one request", r.Role)
		}
		p.rotated[r.Role] = r
	}
	if len(p.rotated) == 0 {
		return nil, refuse(Malformed, "", "no keys are changed")
	}
	life := w.Life
	if life == 0 {
		life = rotationLife
	}
	p.request = &Request{Repository: s.Repository, Created: p.Now, Expires: p.Now.Add(life), By: w.By, Note: w.Note}
	for _, step := range []func() error{p.load, p.newKeys, p.nobodysKeys, p.draftRoot, p.draftTargets, p.draftBins, p.draftClaimed, p.draftUnclaimed, p.chain} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	p.request.Sort()
	return p.request, p.request.check()
}

// touches reports whether the keys of one of the roles change.
func (p *rotation) touches(roles ...policy.KeyRole) bool {
	return slices.ContainsFunc(roles, func(r policy.KeyRole) bool { _, ok := p.rotated[r]; return ok })
}

func (p *rotation) role(chain ...tuf.RoleName) (*tuf.Targets, error) {
	t, err := ceremony.Role(p.Set, p.Load, chain...)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", chain[len(chain)-1], err)
	}
	return t, nil
}

// load reads everything that names keys.
func (p *rotation) load() (err error) {
	for version := range p.root.Version() {
		data, err := p.Root(version + 1)
		if err != nil {
			return fmt.Errorf("reading root version %d: %w", version+1, err)
		}
		p.roots = append(p.roots, data)
	}
	p.binNames = slices.Collect(p.Layout.BinNames())
	if p.claimed, err = p.role(p.Layout.ClaimedBinChain(p.binNames[0])[:1]...); err != nil {
		return err
	}
	chain := p.Layout.UnclaimedBinChain(p.binNames[0])
	if p.unclaimed, err = p.role(chain[:len(chain)-1]...); err != nil {
		return err
	}
	wanted := 1 // to see who signs unclaimed
	if p.touches(policy.KeyClaimed, policy.KeyUnclaimed) {
		wanted = len(p.binNames)
	}
	p.bins = make([]*tuf.Targets, wanted)
	errs := make([]error, wanted)
	parallel.Do(wanted, func(i int) { p.bins[i], errs[i] = p.role(p.Layout.ClaimedBinChain(p.binNames[i])...) })
	if err := errors.Join(errs...); err != nil {
		return err
	}
	p.somethingClaimed = slices.ContainsFunc(p.bins, func(b *tuf.Targets) bool { return b.Delegations().Len() > 1 })
	return nil
}

// newKeys works out who signs afterwards, and refuses what must not be.
func (p *rotation) newKeys() error {
	p.old = HoldersOf(p.root, p.targets, p.bins[0], p.unclaimed)
	p.next = &Keyholders{Authorities: maps.Clone(p.old.Authorities), Names: maps.Clone(p.old.Names)}
	retired, err := p.retired()
	if err != nil {
		return err
	}
	for _, r := range policy.KeyRoles() {
		c, ok := p.rotated[r]
		if !ok {
			continue
		}
		a, err := tuf.NewAuthority(c.Threshold, c.Keys...)
		if err != nil {
			return refuse(Key, tuf.RoleName(r), "the keys of %s: %v", r, err)
		}
		if a.Equal(p.old.Authorities[r]) {
			return refuse(Key, tuf.RoleName(r), "%s has these keys and this threshold already", r)
		}
		for _, k := range c.Keys {
			if _, has := p.old.Authorities[r].Key(k.ID()); has {
				continue
			}
			if when := retired[k.Fingerprint()]; when != "" {
				return cameBack(r, k, when)
			}
		}
		p.next.Authorities[r] = a
		maps.Copy(p.next.Names, c.Names)
	}
	for _, r := range policy.KeyRoles() {
		if _, ok := p.next.Authorities[r]; !ok {
			return fmt.Errorf("the repository does not say who signs for %s", r)
		}
	}
	return p.next.apart()
}

// retired finds the keys that earlier roots had and that are gone, with what they were.
func (p *rotation) retired() (map[[32]byte]string, error) {
	return retiredKeys(p.roots, p.old.Used())
}

func cameBack(role policy.KeyRole, k *key.Public, when string) *Refused {
	return refuse(Key, tuf.RoleName(role), "the key %s… %s, and a key that was taken out does not come back: make a new one", short(k.ID()), when)
}

// retiredKeys returns those keys of some versions of root, from the first on, that are not among the current ones.
func retiredKeys(roots [][]byte, current map[[32]byte]string) (map[[32]byte]string, error) {
	gone := make(map[[32]byte]string)
	for i, data := range roots {
		u, err := tuf.ParseRoot(data, nil)
		if err != nil {
			return nil, fmt.Errorf("reading root version %d: %w", i+1, err)
		}
		root, err := u.Verify(tuf.SelfAuthority(u))
		if err != nil {
			return nil, fmt.Errorf("verifying root version %d: %w", i+1, err)
		}
		for role, a := range HoldersOf(root, nil, nil, nil).Authorities {
			for _, k := range keysOf(a) {
				if _, used := current[k.Fingerprint()]; !used {
					gone[k.Fingerprint()] = fmt.Sprintf("was a key of %s in root version %d", role, i+1)
				}
			}
		}
	}
	return gone, nil
}

// nobodysKeys refuses a key that people bring and that signs for a project: who maintains something and holds a key
// of the repository has two keys, or the next sitting could not vouch for the project.
func (p *rotation) nobodysKeys() error {
	brought := make(map[key.ID]policy.KeyRole)
	for role, c := range p.rotated {
		for _, k := range c.Keys {
			if _, has := p.old.Authorities[role].Key(k.ID()); !has && !role.Online() {
				brought[k.ID()] = role
			}
		}
	}
	if len(brought) == 0 {
		return nil
	}
	errs := make([]error, len(p.binNames))
	parallel.Do(len(p.binNames), func(i int) { errs[i] = p.notIn(p.binNames[i], brought) })
	return firstOf(errs)
}

// notIn looks for keys that people bring in both bins of a name.
func (p *rotation) notIn(bin string, brought map[key.ID]policy.KeyRole) error {
	for _, chain := range [][]tuf.RoleName{p.Layout.ClaimedBinChain(bin), p.Layout.UnclaimedBinChain(bin)} {
		t, err := p.role(chain...)
		if err != nil {
			return err
		}
		for _, d := range entriesOf(t) {
			if policy.KindOf(d.Name()) != policy.KindProject {
				continue
			}
			a, err := d.Authority()
			if err != nil {
				return fmt.Errorf("reading the keys of %s: %w", d.Name(), err)
			}
			for _, id := range a.KeyIDs() {
				if role, ok := brought[id]; ok {
					return refuse(Key, tuf.RoleName(role), "the key %.12s… signs for %s: make a new one for %s with bailiwick-sign new-key", id, d.Name(), role)
				}
			}
		}
	}
	return nil
}

// add puts a payload into the request.
func (p *rotation) add(role tuf.RoleName, base []byte, d *repo.Draft, err error) error {
	if err != nil {
		return fmt.Errorf("drafting %s: %w", role, err)
	}
	p.request.Payloads = append(p.request.Payloads, Payload{Role: role, Base: base, Message: d.Message()})
	return nil
}

// issue is what the version after base needs.
func (p *rotation) issue(role tuf.RoleName, base int64, a tuf.Authority) repo.Issue {
	life := p.Lifetimes.Of(role)
	if kind := policy.KindOf(role); (kind == policy.KindClaimed || kind == policy.KindClaimedBin) && !p.somethingClaimed {
		life = p.Lifetimes.NothingClaimed
	}
	return repo.Issue{Role: role, Version: base + 1, Expires: p.Now.Add(life), Now: p.Now, Authority: a}
}

// names is the edit of the member that names holders: nil where it stays as it is.
func (p *rotation) names(doc policy.Document, roles ...policy.KeyRole) map[string][]byte {
	var ids []key.ID
	for _, r := range roles {
		ids = append(ids, p.next.Authorities[r].KeyIDs()...)
	}
	next := policy.EncodeHolders(p.next.Names, ids...)
	if before, ok := doc.Member(policy.HoldersMember); ok == (next != nil) && bytes.Equal(before, next) {
		return nil
	}
	return map[string][]byte{policy.HoldersMember: next}
}

func (p *rotation) draftRoot() error {
	if !p.touches(policy.KeyRoot, policy.KeyTargets, policy.KeySnapshot, policy.KeyTimestamp) {
		return nil
	}
	edit := repo.RootEdit{Roles: make(map[tuf.RoleName]tuf.Authority), Members: p.names(p.root, policy.KeyRoot, policy.KeyTargets)}
	for _, r := range []policy.KeyRole{policy.KeyRoot, policy.KeyTargets, policy.KeySnapshot, policy.KeyTimestamp} {
		if p.touches(r) {
			edit.Roles[tuf.RoleName(r)] = p.next.Authorities[r]
		}
	}
	d, err := repo.EditRoot(p.root, edit, p.issue(tuf.RoleRoot, p.root.Version(), tuf.Authority{}))
	return p.add(tuf.RoleRoot, p.root.Bytes(), d, err)
}

func (p *rotation) draftTargets() error {
	if !p.touches(policy.KeyTargets, policy.KeyClaimed) {
		return nil
	}
	edit := repo.TargetsEdit{Members: p.names(p.targets, policy.KeyClaimed)}
	if p.touches(policy.KeyClaimed) {
		edit.ReplaceDelegations = rekeyed(p.targets, p.next.Authorities[policy.KeyClaimed], policy.KindClaimed)
	}
	d, err := repo.EditTargets(p.targets, edit, p.issue(tuf.RoleTargets, p.targets.Version(), p.next.Authorities[policy.KeyTargets]))
	return p.add(tuf.RoleTargets, p.targets.Bytes(), d, err)
}

// rekeyed returns the delegations of a kind with other keys, and all else as it is.
func rekeyed(t *tuf.Targets, a tuf.Authority, kind policy.Kind) []repo.Delegation {
	var out []repo.Delegation
	for d := range t.Delegations().All() {
		if policy.KindOf(d.Name()) == kind {
			out = append(out, delegationOf(d, a))
		}
	}
	return out
}

// delegationOf is a delegation as an edit takes it, signed by a.
func delegationOf(d tuf.Delegation, a tuf.Authority) repo.Delegation {
	return repo.Delegation{
		Role: d.Name(), Authority: a, Paths: d.Paths(), HashPrefixes: d.HashPrefixes(),
		Terminating: d.Terminating(), MinimumVersion: d.MinimumVersion(),
	}
}

// draftBins drafts every claimed bin anew: its own keys changed, or those of unclaimed, to which it falls
// through. With its keys, the projects that they signed for while nobody else did change hands as well.
func (p *rotation) draftBins() error {
	if !p.touches(policy.KeyClaimed, policy.KeyUnclaimed) {
		return nil
	}
	p.signed = true
	type drafted struct {
		payloads []Payload
		err      error
	}
	all := make([]drafted, len(p.bins))
	parallel.Do(len(p.bins), func(i int) { all[i].payloads, all[i].err = p.draftBin(i) })
	for i := range all {
		if all[i].err != nil {
			return all[i].err
		}
		p.request.Payloads = append(p.request.Payloads, all[i].payloads...)
	}
	return nil
}

func (p *rotation) draftBin(i int) ([]Payload, error) {
	bin, role := p.bins[i], policy.RoleClaimed+"-"+tuf.RoleName(p.binNames[i])
	claimed := p.next.Authorities[policy.KeyClaimed]
	edit := repo.TargetsEdit{ReplaceDelegations: rekeyed(bin, p.next.Authorities[policy.KeyUnclaimed], policy.KindUnclaimed)}
	var out []Payload
	for d := range bin.Delegations().All() {
		if _, parked := policy.Parked(d); !parked || !p.touches(policy.KeyClaimed) {
			continue
		}
		edit.ReplaceDelegations = append(edit.ReplaceDelegations, delegationOf(d, claimed))
		project, err := p.role(append(p.Layout.ClaimedBinChain(p.binNames[i]), d.Name())...)
		if err != nil {
			return nil, err
		}
		issue := p.issue(d.Name(), project.Version(), claimed)
		issue.Expires, issue.Paths = p.Now.Add(p.Lifetimes.ClaimedProject), d.Paths()
		next, err := repo.EditTargets(project, repo.TargetsEdit{}, issue)
		if err != nil {
			return nil, fmt.Errorf("drafting %s: %w", d.Name(), err)
		}
		out = append(out, Payload{Role: d.Name(), Base: project.Bytes(), Message: next.Message()})
	}
	issue := p.issue(role, bin.Version(), claimed)
	issue.Paths = []string{p.Layout.BinPattern(p.binNames[i])}
	d, err := repo.EditTargets(bin, edit, issue)
	if err != nil {
		return nil, fmt.Errorf("drafting %s: %w", role, err)
	}
	return append(out, Payload{Role: role, Base: bin.Bytes(), Message: d.Message()}), nil
}

// draftClaimed drafts claimed, which says who signs the bins, and that their versions from before do not
// count any more.
func (p *rotation) draftClaimed() error {
	if !p.signed {
		return nil
	}
	claimed := p.next.Authorities[policy.KeyClaimed]
	version := make(map[tuf.RoleName]int64, len(p.bins))
	for i, bin := range p.bins {
		version[policy.RoleClaimed+"-"+tuf.RoleName(p.binNames[i])] = bin.Version() + 1
	}
	edit := repo.TargetsEdit{ReplaceDelegations: rekeyed(p.claimed, claimed, policy.KindClaimedBin)}
	for i := range edit.ReplaceDelegations {
		d := &edit.ReplaceDelegations[i]
		d.MinimumVersion = version[d.Role]
	}
	d, err := repo.EditTargets(p.claimed, edit, p.issue(policy.RoleClaimed, p.claimed.Version(), claimed))
	return p.add(policy.RoleClaimed, p.claimed.Bytes(), d, err)
}

func (p *rotation) draftUnclaimed() error {
	if !p.touches(policy.KeyUnclaimed, policy.KeyRegistry) {
		return nil
	}
	edit := repo.TargetsEdit{Members: p.names(p.unclaimed, policy.KeyUnclaimed)}
	if p.touches(policy.KeyRegistry) {
		edit.ReplaceDelegations = rekeyed(p.unclaimed, p.next.Authorities[policy.KeyRegistry], policy.KindUnclaimedBin)
	}
	d, err := repo.EditTargets(p.unclaimed, edit, p.issue(policy.RoleUnclaimed, p.unclaimed.Version(), p.next.Authorities[policy.KeyUnclaimed]))
	return p.add(policy.RoleUnclaimed, p.unclaimed.Bytes(), d, err)
}

// chain adds what a signer needs to verify the bases: as little as will do.
func (p *rotation) chain() error {
	if sha256.Sum256(p.roots[0]) != p.Repository {
		return refuse(Foreign, tuf.RoleRoot, "root version 1 is not the first root of this repository")
	}
	c := &p.request.Chain
	c.Roots = p.roots
	below := func(from int) bool {
		return slices.ContainsFunc(p.request.Payloads, func(q Payload) bool { return rank(q.Role) >= from })
	}
	if below(rank(tuf.RoleTargets)) {
		c.Targets = p.targets.Bytes()
	}
	if below(rank(policy.RoleClaimed)) {
		c.Claimed = p.claimed.Bytes()
	}
	if p.touches(policy.KeyUnclaimed, policy.KeyRegistry) {
		c.Unclaimed = p.unclaimed.Bytes()
		if !p.signed {
			c.Bin = p.bins[0].Bytes()
		}
	}
	return nil
}
