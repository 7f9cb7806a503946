package verify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
	"example.com/bailiwick/tuf/trust"
)

// standing is who has the say about a project, as the delegations tell. It needs the bins only, so
// that it is known even when the project's own role is missing or bad.
type standing struct {
	project   pypi.Project
	assurance policy.Assurance
	bin       tuf.RoleName   // by which the project is delegated
	chain     []tuf.RoleName // that leads to the project's role, which is its last
	authority tuf.Authority
	owners    tuf.Authority // whose the project is: authority, but for a parked one its maintainers
	since     time.Time     // since when it is claimed; zero: the delegation does not tell
	parked    time.Time     // since when it is parked; zero: it is not, or the delegation does not tell
	recovered time.Time     // when operators gave it to other keys; zero: never
}

// maxSightingKeys bounds the keys that are remembered of one project.
const maxSightingKeys = 64

// remembered are the keys of the owners in the form in which Memory has them: by id, and not more than it keeps.
func (st *standing) remembered() []*key.Public {
	keys := publicKeys(st.owners)
	slices.SortFunc(keys, func(a, b *key.Public) int { return cmp.Compare(a.ID(), b.ID()) })
	return keys[:min(len(keys), maxSightingKeys)]
}

func publicKeys(a tuf.Authority) []*key.Public {
	var out []*key.Public
	for _, id := range a.KeyIDs() {
		if k, ok := a.Key(id); ok {
			out = append(out, k)
		}
	}
	return out
}

// standing finds the first delegation of a project, in the order in which a search meets them; nil if
// there is none. The error is that of the view.
func (e *Engine) standing(ctx context.Context, s *session, project pypi.Project) (*standing, error) {
	for _, chain := range [][]tuf.RoleName{s.layout.ClaimedChain(project), s.layout.UnclaimedChain(project)} {
		bin, err := openBin(ctx, s, chain)
		if err != nil {
			return nil, err
		}
		ds := bin.targets.Delegations()
		if ds == nil {
			continue
		}
		d, ok := ds.Find(policy.ProjectRole(project))
		if !ok || !d.Matches(tuf.TargetPath(s.layout.Dir(project)+"/-")) {
			continue
		}
		return bin.standing(project, d)
	}
	return nil, nil
}

// bin is one verified bin of one tree.
type bin struct {
	chain   []tuf.RoleName // that leads to it, its own name last
	keys    []key.ID       // who signs it
	targets *tuf.Targets
}

// openBin reads the bin at the end of a chain.
func openBin(ctx context.Context, s *session, chain []tuf.RoleName) (*bin, error) {
	last := len(chain) - 1
	parent, err := s.view.Role(ctx, chain[:last]...)
	if err != nil {
		return nil, err
	}
	b := &bin{chain: chain}
	if b.targets, err = s.view.Role(ctx, chain...); err != nil {
		return nil, err
	}
	if ds := parent.Delegations(); ds != nil {
		if d, ok := ds.Find(chain[last]); ok {
			a, err := d.Authority()
			if err != nil {
				return nil, err
			}
			b.keys = a.KeyIDs()
		}
	}
	return b, nil
}

// standing reads one delegation of the bin.
func (b *bin) standing(project pypi.Project, d tuf.Delegation) (*standing, error) {
	a, err := d.Authority()
	if err != nil {
		return nil, &trust.RefusedError{Code: trust.Malformed, Role: d.Name(), Step: "5.6.3", Err: err}
	}
	st := &standing{
		project: project, bin: b.chain[len(b.chain)-1], authority: a,
		chain: append(slices.Clone(b.chain), d.Name()),
	}
	links := []policy.ChainLink{{Role: tuf.RoleTargets}}
	for _, role := range st.chain {
		links = append(links, policy.ChainLink{Role: role})
	}
	links[len(links)-2].Keys, links[len(links)-1].Keys = b.keys, a.KeyIDs()
	st.assurance = policy.Assess(links)
	st.owners = a
	if st.assurance != policy.Unclaimed {
		st.since, _ = policy.Since(d)
		st.recovered, _ = policy.Recovered(d)
	}
	if st.assurance == policy.ClaimedParked {
		st.parked, _ = policy.Parked(d)
		if owners, err := policy.Owners(d); err == nil { // only what is told of them depends on it
			st.owners = owners
		}
	}
	return st, nil
}

// ownerOf is the project whose maintainers, or whose registry, answer for a role.
func ownerOf(role tuf.RoleName) (pypi.Project, bool) {
	if p, ok := policy.ProjectOf(role); ok {
		return p, true
	}
	p, _, ok := policy.SubRoleOf(role)
	return p, ok
}

// brokenRole says what is wrong with the metadata of a project, as exactly as it can be known: who
// should have signed, how many did, and whether a key signed that has lost its right. What is not
// about the project's own roles is classified like everything else.
func (e *Engine) brokenRole(ctx context.Context, s *session, project pypi.Project, subject string, err error) error {
	classified := e.classify(subject, err)
	var problem *Error
	var refused *trust.RefusedError
	if !errors.As(classified, &problem) || !errors.As(err, &refused) || refused.Code == trust.Unavailable {
		return classified
	}
	if owner, ok := ownerOf(refused.Role); !ok || owner != project {
		return classified
	}
	st, bad := e.standing(ctx, s, project)
	if bad != nil || st == nil {
		return classified
	}
	own := *problem
	own.Project, own.Assurance = project.String(), st.assurance.String()
	own.Since = st.since
	switch refused.Code {
	case trust.Threshold:
		own.Cause = e.unsigned(ctx, s, st, refused)
	case trust.Missing:
		own.Cause = string(refused.Role) + " is missing"
		if st.assurance != policy.Unclaimed {
			own.Cause += ", the list that its maintainers sign"
		}
	}
	return e.newError(&own)
}

// unsigned says what is known about the signatures of a role that has too few. It asks for the role
// once more, because what was refused was not kept; nothing is accepted from it.
func (e *Engine) unsigned(ctx context.Context, s *session, st *standing, refused *trust.RefusedError) string {
	role := roleVersion(refused)
	var few *tuf.ThresholdError
	if errors.As(refused, &few) && few.Have > 0 {
		return fmt.Sprintf("%s is signed by %d of the %d keys it needs", role, few.Have, few.Need)
	}
	want, ok := s.view.Set().Want(refused.Role)
	if !ok {
		return roleCause(refused)
	}
	data, err := e.fetcher.Metadata(ctx, want.Name, want.Limit)
	if err != nil {
		return roleCause(refused)
	}
	u, err := tuf.ParseTargets(data, nil)
	if err != nil {
		return roleCause(refused)
	}
	if len(u.Signatures()) == 0 {
		return role + " has no signature"
	}
	if _, isProject := policy.ProjectOf(refused.Role); isProject {
		if when, ok := e.signedByFormer(u, st); ok {
			return role + " is signed by a key that was revoked or replaced since " + day(when)
		}
	}
	return role + " is signed by none of its keys"
}

// signedByFormer looks for a good signature by a key that had the project when it was seen last, or
// before, and has not now. Its time is when it was last seen to have it.
func (e *Engine) signedByFormer(u *tuf.Unverified[tuf.Targets], st *standing) (time.Time, bool) {
	if e.memory == nil {
		return time.Time{}, false
	}
	seen, ok, err := e.memory.Recall(st.project)
	if err != nil || !ok {
		return time.Time{}, false
	}
	for _, former := range append(asFormer(seen.Keys, seen.Seen), seen.Former...) {
		if _, still := st.authority.Key(former.Key.ID()); still {
			continue
		}
		a, err := tuf.NewAuthority(1, former.Key)
		if err == nil && len(u.Signers(a)) > 0 {
			return former.Seen, true
		}
	}
	return time.Time{}, false
}
