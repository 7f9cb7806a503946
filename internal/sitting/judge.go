package sitting

import (
	"crypto/sha256"
	"errors"
	"maps"
	"time"

	"example.com/bailiwick/internal/parallel"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
	"example.com/bailiwick/tuf/trust"
)

// skew is how far the clock of who made a request may be ahead.
const skew = time.Hour

// judge is one judgement. Its steps run in the order of Judge, from root downwards, because each level
// says who signs the next: before the request, and after it.
type judge struct {
	r   *Request
	now time.Time

	drafts   []*tuf.Targets // what the payloads say, nil for root; in their order
	findings []finding      // what they do; in their order

	root, rootAfter *tuf.Root // the one in force, and the one that will be
	layout          policy.Layout
	targets         level
	claimed         level
	unclaimed       level
	bins            map[tuf.RoleName]*binChange // those among the payloads
	chainBin        *tuf.Targets                // the one that the chain brings, nil if it does not
	own             map[[32]byte]string         // what the keys of the repository itself are for
	listings        map[pypi.Project]listing
}

// level is a role of the chain before the request and after it.
type level struct {
	base, next         *tuf.Targets  // next is nil without a payload; base, if the chain does not have it
	authority, signers tuf.Authority // who signs before and after
}

// after is the version in force afterwards.
func (l *level) after() *tuf.Targets {
	if l.next != nil {
		return l.next
	}
	return l.base
}

// finding is what one payload does.
type finding struct {
	changes []Change
	needs   []need // signatures of offline keys
	also    []*key.Public
	ballot  *ballot // already counted: that of a payload that maintainers sign
	unusual []Exception
}

// need is a number of keys of an authority that have to sign.
type need struct {
	authority tuf.Authority
	why       string
}

// Judge decides what a request does, from nothing but the request and the time. It is what a signer asks
// before signing and an index before publishing, and both get the same answer. It verifies every file
// that the request brings, from root version 1 down, refuses every difference that is none of the
// changes that [ChangeKind] names, and every signature that is there and does not count. Files that have
// expired are fine: they are the base of their own renewal. The error is a *Refused.
//
// It can not see whether a base is the newest version: that is for who publishes the request, and for the
// memory of who signs it.
func Judge(r *Request, now time.Time) (*Verdict, error) {
	j := &judge{
		r: r, now: now, drafts: make([]*tuf.Targets, len(r.Payloads)), findings: make([]finding, len(r.Payloads)),
		bins: make(map[tuf.RoleName]*binChange), own: make(map[[32]byte]string), listings: make(map[pypi.Project]listing),
	}
	steps := []func() error{
		r.check, j.dates, j.roots, j.read, j.judgeRoots, j.judgeTargets, j.judgeClaimed, j.judgeBins, j.judgeUnclaimed,
		j.ownKeys, j.judgeProjects,
	}
	if r.IsFirst() {
		steps = []func() error{r.check, j.dates, j.read, j.judgeFirst}
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return j.verdict()
}

// dates refuses a request that is too old, or not of this time.
func (j *judge) dates() error {
	switch {
	case j.r.Created.After(j.now.Add(skew)):
		return refuse(Expired, "", "the request was made at %s, which is in the future: set the clock of this machine, or of the one that made it", tuf.FormatTime(j.r.Created))
	case !j.r.Expires.After(j.now):
		return refuse(Expired, "", "the request has expired at %s; plan it anew", tuf.FormatTime(j.r.Expires))
	}
	return nil
}

// roots follows the chain of roots as a client does, whatever has expired.
func (j *judge) roots() error {
	chain := j.r.Chain.Roots
	if len(chain) == 0 {
		return refuse(Malformed, tuf.RoleRoot, "the request brings no root, so nothing in it can be verified; export it again")
	}
	if sum := sha256.Sum256(chain[0]); sum != j.r.Repository {
		return refuse(Foreign, tuf.RoleRoot, "the request is for the repository with root sha256:%.6x…, and the first root in it is sha256:%.6x…", j.r.Repository, sum)
	}
	limits := trust.DefaultLimits()
	limits.Roots = MaxRoots
	stage, err := trust.Begin(chain[0], j.now, trust.Options{Limits: &limits})
	if err != nil {
		return chainRefusal(tuf.RoleRoot, 1, err)
	}
	for i, data := range chain[1:] {
		if _, err := stage.Accept(data); err != nil {
			return chainRefusal(tuf.RoleRoot, i+2, err)
		}
	}
	j.root = stage.Root()
	j.rootAfter = j.root
	return nil
}

func chainRefusal(role tuf.RoleName, version int, err error) error {
	reason := Altered
	var refused *trust.RefusedError
	if errors.As(err, &refused) && refused.Code == trust.Threshold {
		reason = BadSignature
	}
	return refuse(reason, role, "version %d of %s that the request brings can not be verified: %v", version, role, err)
}

// read reads every payload but root's, and checks what holds for all of them.
func (j *judge) read() error {
	errs := make([]error, len(j.r.Payloads))
	parallel.Do(len(j.r.Payloads), func(i int) {
		p := &j.r.Payloads[i]
		if p.Role == tuf.RoleRoot {
			return
		}
		t, err := peek(p.Role, p.Message, tuf.ParseTargets)
		switch {
		case err != nil:
			errs[i] = err
		case !names(t, p.Role):
			errs[i] = refuse(Outside, p.Role, "the payload of %s does not name its role in the member \"role_name\": it is that of another role, or could be passed off as such", p.Role)
		default:
			j.drafts[i] = t
		}
	})
	if err := firstOf(errs); err != nil {
		return err
	}
	return j.lives()
}

// firstOf returns the first of the errors that there is: joining them would bury the reason.
func firstOf(errs []error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// payload returns the payload of a role, with what it says and does; nil if there is none.
func (j *judge) payload(role tuf.RoleName) (*Payload, *tuf.Targets, *finding) {
	i := j.r.index(role)
	if i < 0 {
		return nil, nil, nil
	}
	return &j.r.Payloads[i], j.drafts[i], &j.findings[i]
}

// verified reads a signed file of the request and verifies it, whether or not it has expired. minimum is
// the lowest version that its delegator still accepts.
func verified(role tuf.RoleName, data []byte, a tuf.Authority, minimum int64) (*tuf.Targets, error) {
	u, err := tuf.ParseTargets(data, nil)
	if err != nil {
		return nil, refuse(Malformed, role, "the file of %s that the request brings can not be read: %v", role, err)
	}
	t, err := u.Verify(a)
	if err != nil {
		return nil, refuse(BadSignature, role, "version %d of %s that the request brings is not signed by the keys that count: %v; ask the index for the request anew, and if it stays so, do not sign", u.Header().Version, role, err)
	}
	switch {
	case !names(t, role):
		return nil, refuse(Altered, role, "the file that the request brings for %s is that of another role", role)
	case t.Version() < minimum:
		return nil, stale(role, minimum, "the request brings version %d of %s, and version %d was signed already: a change that was made since would be undone, so do not sign", t.Version(), role, minimum)
	}
	return t, nil
}

// successor checks that a payload is the version after its base.
func successor(role tuf.RoleName, base, next *tuf.Targets) error {
	if next.Version() != base.Version()+1 {
		return refuse(Malformed, role, "the payload of %s is version %d; after version %d comes %d", role, next.Version(), base.Version(), base.Version()+1)
	}
	if next.SpecVersion() != base.SpecVersion() {
		return refuse(NotAllowed, role, "the payload of %s changes the version of the specification", role)
	}
	return nil
}

// stillSigned reports whether a file that is not among the payloads verifies by the keys that count after
// the request.
func (l *level) stillSigned() bool {
	if l.base == nil {
		return false
	}
	u, err := tuf.ParseTargets(l.base.Bytes(), nil)
	if err != nil {
		return false
	}
	_, err = u.Verify(l.signers)
	return err == nil
}

// ownKeys notes the keys of the repository, before and after, which can not be those of a maintainer; and
// refuses a key in two hands or one that came back, if the request changes any.
func (j *judge) ownKeys() error {
	before := HoldersOf(j.root, j.targets.base, j.someBin(false), j.unclaimed.base)
	after := HoldersOf(j.rootAfter, j.targets.after(), j.someBin(true), j.unclaimed.after())
	for _, k := range []*Keyholders{before, after} {
		for fingerprint, use := range k.Used() {
			j.own[fingerprint] = use
		}
	}
	if t := j.unclaimed.after(); t != nil {
		for _, d := range entriesOf(t) { // whatever they say, bin by bin
			if a, err := d.Authority(); err == nil {
				for _, k := range keysOf(a) {
					j.own[k.Fingerprint()] = string(policy.KeyRegistry)
				}
			}
		}
	}
	for _, role := range policy.KeyRoles() {
		if !before.Authorities[role].Equal(after.Authorities[role]) {
			if err := after.apart(); err != nil {
				return err
			}
			return j.noneCameBack(before, after)
		}
	}
	return nil
}

// noneCameBack refuses a key that left root once, in whichever role: it may have been lost to somebody.
func (j *judge) noneCameBack(before, after *Keyholders) error {
	retired, err := retiredKeys(j.r.Chain.Roots, before.Used())
	if err != nil {
		return refuse(Altered, tuf.RoleRoot, "%v", err)
	}
	for _, role := range policy.KeyRoles() {
		for _, k := range keysOf(after.Authorities[role]) {
			if when := retired[k.Fingerprint()]; when != "" {
				return cameBack(role, k, when)
			}
		}
	}
	return nil
}

// notOurs refuses the keys of the index itself in the hands of a maintainer.
func (j *judge) notOurs(role tuf.RoleName, keys []*key.Public) error {
	for _, k := range keys {
		if use, ok := j.own[k.Fingerprint()]; ok {
			return refuse(Key, role, "%s would be signed by key %s, which is the repository's own, for %s; maintainers have keys of their own, so do not sign", role, short(k.ID()), use)
		}
	}
	return nil
}

// verdict counts the signatures of offline keys and puts everything together.
func (j *judge) verdict() (*Verdict, error) {
	v := &Verdict{request: j.r, now: j.now, listings: j.listings, names: j.names(), Roles: make([]Result, len(j.r.Payloads))}
	j.rootLife()
	errs := make([]error, len(j.r.Payloads))
	parallel.Do(len(j.r.Payloads), func(i int) {
		p, f := &j.r.Payloads[i], &j.findings[i]
		if f.ballot == nil {
			f.ballot, errs[i] = f.count(p)
		}
	})
	if err := firstOf(errs); err != nil {
		return nil, err
	}
	for i := range j.findings {
		f := &j.findings[i]
		v.Missing = append(v.Missing, f.ballot.missing...)
		v.Changes = append(v.Changes, f.changes...)
		v.unusual = append(v.unusual, f.unusual...)
		v.Roles[i] = j.result(i)
	}
	limit := tuf.DefaultLimits().TargetsBytes
	for _, r := range v.Roles {
		if int64(len(r.Bytes)) > limit {
			return nil, refuse(Malformed, r.Role, "version %d of %s would be %d bytes long and clients read at most %d", r.Version, r.Role, len(r.Bytes), limit)
		}
	}
	return v, nil
}

func (j *judge) result(i int) Result {
	p, t, f := &j.r.Payloads[i], j.drafts[i], &j.findings[i]
	r := Result{Role: p.Role, Targets: t}
	if t != nil {
		r.Version, r.Expires = t.Version(), t.Expires()
	} else {
		r.Version, r.Expires = j.rootAfter.Version(), j.rootAfter.Expires()
	}
	if len(f.ballot.missing) == 0 {
		r.Bytes = tuf.AppendEnvelope(nil, p.Message, f.ballot.good)
	}
	return r
}

// names returns who holds the keys of the repository, as it says itself.
func (j *judge) names() map[key.ID]string {
	if j.r.IsFirst() {
		held, _, err := j.r.firstHolders()
		if err != nil {
			return nil // it was judged before
		}
		return held.Names
	}
	all := HoldersOf(j.root, j.targets.base, nil, j.unclaimed.base).Names
	maps.Copy(all, HoldersOf(j.rootAfter, j.targets.after(), nil, j.unclaimed.after()).Names)
	return all
}
