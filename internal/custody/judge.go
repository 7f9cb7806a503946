package custody

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"time"

	"example.com/bailiwick/internal/ceremony"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/internal/record"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/trust"
)

// Moment is the repository as the signer has verified it itself, and what the signer decides about it.
type Moment struct {
	Repository [32]byte // SHA-256 of the file 1.root.json
	Set        *trust.Set
	Load       trust.Loader
	// Lifetimes are the longest that the signer signs for; zero: policy.DefaultLifetimes.
	Lifetimes policy.Lifetimes
	// Retired reports whether a file was taken off its project's list by an earlier proposal, so that its
	// name stands for nothing ever again; nil: none was.
	Retired func(tuf.TargetPath) (bool, error)
}

// Verdict is what a proposal does, once nothing speaks against it.
type Verdict struct {
	// Sign are the roles that the signer is asked to sign: bins and projects, then the snapshot.
	Sign []Task
	// Roles are all that the new snapshot lists at a new version.
	Roles map[tuf.RoleName]int64
	// Added and Removed are the files that clients find from then on, and no longer.
	Added, Removed []tuf.TargetPath
}

// Task is a role to be signed.
type Task struct {
	Role      tuf.RoleName
	Version   int64
	Message   []byte
	Authority tuf.Authority // who may
}

// judge is one judgement. Its steps run in the order of Judge.
type judge struct {
	m      *Moment
	p      *Proposal
	now    time.Time
	layout policy.Layout

	root    *tuf.Root                     // in force afterwards
	offline map[tuf.RoleName]*tuf.Targets // what operators' requests publish
	edits   map[tuf.RoleName]*binEdit     // what has to happen to unclaimed bins
	seen    map[pypi.Project]bool         // projects that something in the proposal is about
	keys    map[tuf.RoleName]transfer     // who signs a project afterwards, where that changes
	rotated map[tuf.RoleName]bool         // what a change of the registry key makes void
	deleted map[tuf.TargetPath]bool       // what the proposal says was deleted
	head    record.Head                   // of the record, afterwards
	looked  map[pypi.Project]*ceremony.Standing
	out     *Verdict
}

// transfer is a change of who signs a project, and as what the record may tell it.
type transfer struct {
	to    tuf.Authority
	kinds []record.Kind
}

// Judge holds a proposal against what the signer has verified. It makes no signature and no request, but
// for what Moment.Load does. The error is a *Refused.
func Judge(m *Moment, p *Proposal, now time.Time) (*Verdict, error) {
	layout, err := policy.LayoutOf(m.Set.Targets())
	if err != nil {
		return nil, refuse(Failed, tuf.RoleTargets, "the verified repository is none of bailiwick: %v", err)
	}
	if m.Lifetimes == (policy.Lifetimes{}) {
		with := *m
		with.Lifetimes = policy.DefaultLifetimes()
		m = &with
	}
	j := &judge{
		m: m, p: p, now: now, layout: layout, root: m.Set.Root(),
		offline: make(map[tuf.RoleName]*tuf.Targets), edits: make(map[tuf.RoleName]*binEdit), seen: make(map[pypi.Project]bool),
		keys: make(map[tuf.RoleName]transfer), rotated: make(map[tuf.RoleName]bool), looked: make(map[pypi.Project]*ceremony.Standing),
		deleted: make(map[tuf.TargetPath]bool, len(p.Deleted)), out: &Verdict{Roles: make(map[tuf.RoleName]int64)},
	}
	for _, path := range p.Deleted {
		j.deleted[path] = true
	}
	for _, step := range []func() error{
		p.check, j.place, j.sittings, j.rotation, j.requests, j.projects, j.bins, j.resigned, j.record, j.snapshot,
	} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return j.out, nil
}

// place checks where and when the proposal belongs.
func (j *judge) place() error {
	base := j.m.Set.Snapshot()
	switch p := j.p; {
	case p.Repository != j.m.Repository:
		return refuse(Foreign, "", "the proposal is for another repository (its first root is %.6x…, here it is %.6x…)", p.Repository, j.m.Repository)
	case p.Number != base.Version()+1:
		return refuse(Stale, tuf.RoleSnapshot, "the proposal makes snapshot %d, and %d is the newest that this signer has verified", p.Number, base.Version())
	case p.Base != sha256.Sum256(base.Bytes()):
		return refuse(Stale, tuf.RoleSnapshot, "the proposal is based on another snapshot %d than the one that this signer has verified", base.Version())
	case p.Time.After(j.now.Add(MaxAge)) || p.Time.Before(j.now.Add(-MaxAge)):
		return refuse(Dates, "", "the proposal was made at %s and the clock of the signer shows %s: set the clocks right, or propose it anew", tuf.FormatTime(p.Time), tuf.FormatTime(j.now))
	}
	return nil
}

// newest returns the version of a role that is published, 0 if it never was.
func (j *judge) newest(role tuf.RoleName) int64 {
	meta, ok := j.m.Set.Snapshot().Lookup(role)
	if !ok {
		return 0
	}
	return meta.Version
}

// lists notes a role that the new snapshot lists at its next version.
func (j *judge) lists(role tuf.RoleName, version int64) error {
	if _, twice := j.out.Roles[role]; twice {
		return refuse(Malformed, role, "the proposal has two new versions of %s", role)
	}
	if newest := j.newest(role); version != newest+1 {
		return refuse(Version, role, "version %d of %s is proposed, and after version %d comes %d", version, role, newest, newest+1)
	}
	j.out.Roles[role] = version
	return nil
}

// published reads a role of the verified repository, expired or not.
func (j *judge) published(chain ...tuf.RoleName) (*tuf.Targets, error) {
	t, err := ceremony.Role(j.m.Set, j.m.Load, chain...)
	if err != nil {
		return nil, refuse(Failed, chain[len(chain)-1], "the published role %s can not be read: %v", chain[len(chain)-1], err)
	}
	return t, nil
}

// after returns a role as it is after the proposal, as far as operators sign it.
func (j *judge) after(chain ...tuf.RoleName) (*tuf.Targets, error) {
	if t := j.offline[chain[len(chain)-1]]; t != nil {
		return t, nil
	}
	return j.published(chain...)
}

// standing returns where a project stands before the proposal.
func (j *judge) standing(p pypi.Project) (*ceremony.Standing, error) {
	if s := j.looked[p]; s != nil {
		return s, nil
	}
	s, err := ceremony.Look(j.m.Set, j.m.Load, j.m.Repository, p)
	if err != nil {
		return nil, refuse(Failed, policy.ProjectRole(p), "who signs %s can not be read: %v", p, err)
	}
	j.looked[p] = s
	return s, nil
}

// claim notes that something in the proposal is about a project. There is one such thing at most.
func (j *judge) claim(p pypi.Project, role tuf.RoleName) error {
	if j.seen[p] {
		return refuse(Malformed, role, "the proposal changes %s in two ways at once", p)
	}
	j.seen[p] = true
	return nil
}

// read parses the message of a role that the registry key is to sign. Nothing is trusted for being in it.
func (j *judge) read(r *Role) (*tuf.Targets, error) {
	request := ceremony.Request{Payloads: []ceremony.Payload{{Role: r.Name, Message: r.Message}}}
	t, err := request.Targets(r.Name)
	if err != nil {
		return nil, refuse(Malformed, r.Name, "what is proposed for %s: %v", r.Name, err)
	}
	if raw, ok := t.Member(memberRoleName); !ok || string(raw) != `"`+string(r.Name)+`"` {
		return nil, refuse(Outside, r.Name, "what is proposed for %s names itself %.80s, so it could be passed off as another role", r.Name, raw)
	}
	return t, j.expiry(r.Name, t.Expires())
}

// memberRoleName is the additional member by which a targets role names itself.
const memberRoleName = "role_name"

// slack is what the expiry of a role may be past its longest life: clocks, and rounding.
const slack = time.Minute

// expiry checks how long a role that the signer signs would be good.
func (j *judge) expiry(role tuf.RoleName, expires time.Time) error {
	most := j.m.Lifetimes.Of(role)
	switch {
	case !expires.After(j.p.Time) || !expires.After(j.now):
		return refuse(Dates, role, "%s would be good until %s, which is over", role, tuf.FormatTime(expires))
	case expires.After(j.p.Time.Add(most + slack)):
		return refuse(Dates, role, "%s would be good until %s, and this signer signs it for %s at most; if the index is meant to do so, start the signer with a longer --lifetime", role, tuf.FormatTime(expires), most)
	}
	return nil
}

// take compares what was built here with what was proposed, and puts it on the list of what is signed, or
// verifies the signatures that it has.
func (j *judge) take(r *Role, version int64, built []byte, a tuf.Authority) error {
	if !bytes.Equal(built, r.Message) {
		return refuse(Altered, r.Name, "version %d of %s is proposed otherwise than its base and the allowed changes make it%s", version, r.Name, firstDifference(built, r.Message))
	}
	if len(r.Signatures) == 0 {
		j.out.Sign = append(j.out.Sign, Task{Role: r.Name, Version: version, Message: r.Message, Authority: a})
		return nil
	}
	signed := make(map[[32]byte]bool)
	for _, s := range r.Signatures {
		k, ok := a.Key(s.KeyID)
		if !ok || !k.Verify(r.Message, s.Sig) {
			return refuse(BadSignature, r.Name, "the signature of key %.12s… on %s does not count", s.KeyID, r.Name)
		}
		signed[k.Fingerprint()] = true
	}
	if len(signed) < a.Threshold() {
		return refuse(BadSignature, r.Name, "%s has %d good signatures and needs %d", r.Name, len(signed), a.Threshold())
	}
	return nil
}

// firstDifference shows where two messages part, for whoever has to find out why.
func firstDifference(built, proposed []byte) string {
	at := 0
	for at < len(built) && at < len(proposed) && built[at] == proposed[at] {
		at++
	}
	show := func(b []byte) string {
		return string(bytes.ToValidUTF8(b[min(max(at-20, 0), len(b)):min(at+40, len(b))], []byte("?")))
	}
	return fmt.Sprintf(": from byte %d on, …%s… instead of …%s…", at, show(proposed), show(built))
}
