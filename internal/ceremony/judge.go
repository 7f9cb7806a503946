package ceremony

import (
	"bytes"
	"maps"
	"slices"
	"time"

	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
)

// skew is how far the clock of who made a request may be ahead.
const skew = time.Hour

// judge is one judgement. Its steps run in the order of Judge.
type judge struct {
	r      *Request
	s      *Standing
	staged map[tuf.TargetPath][]tuf.Target
	now    time.Time
	role   tuf.RoleName // the project's

	drafts map[tuf.RoleName]*tuf.Targets // what the payloads say
	proven map[tuf.RoleName]proof        // signatures that are known to be good, at most one for each payload
	next   listing                       // what a client will find
	subs   map[tuf.RoleName]tuf.Delegation
	mark   policy.Status // of the project, afterwards
	out    *Verdict
}

// Judge decides what a request may do to a project as it stands, given the files that are staged
// for it. It makes every check of content first and looks at signatures last, so that a request
// which could never be published is refused whoever signed it. The error is a *Refused.
//
// A change of keys needs the threshold of the keys that the project has, or one recovery key, and
// in either case the new threshold and every added key. There is one exception, for the team of
// which every member must sign and one has lost a key: with a good token alone ("account"), exactly
// one key may be taken away, when nothing else changes and all that remain have signed. So a
// token stands for one signature at most, and only ever in a team of n of n.
func Judge(r *Request, s *Standing, staged []tuf.Target, now time.Time) (*Verdict, error) {
	j := &judge{
		r: r, s: s, now: now, role: policy.ProjectRole(s.Project), staged: make(map[tuf.TargetPath][]tuf.Target, len(staged)),
		drafts: make(map[tuf.RoleName]*tuf.Targets, len(r.Payloads)), proven: make(map[tuf.RoleName]proof, len(r.Payloads)), out: &Verdict{Authority: s.Authority},
	}
	for _, t := range staged {
		j.staged[t.Path] = append(j.staged[t.Path], t)
	}
	for _, step := range []func() error{
		r.check, j.request, j.bases, j.contents, j.authority, j.status, j.delegations, j.files, j.signatures,
	} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return j.out, nil
}

// request checks whether this is the time, the place and the kind.
func (j *judge) request() error {
	r, s := j.r, j.s
	switch {
	case r.Repository != s.Repository:
		return refuse(Foreign, "", "the request was made for another repository (its first root is %.6x…, here it is %.6x…); make it anew for this one", r.Repository, s.Repository)
	case r.Project != s.Project:
		return refuse(Unknown, "", "the request is about the project %s and not %s", r.Project, s.Project)
	case r.Created.After(j.now.Add(skew)):
		return refuse(Expired, "", "the request was made at %s, which is in the future; set the clock of the machine that made it", tuf.FormatTime(r.Created))
	case !r.Expires.After(j.now):
		return refuse(Expired, "", "the request has expired at %s; make it anew", tuf.FormatTime(r.Expires))
	}
	claimed := s.Assurance != policy.Unclaimed
	if s.IsParked() && (r.Kind == Claim || r.Kind == Release) {
		return refuse(Parked, j.role, "%s", s.ParkedText())
	}
	if r.Kind == Claim && claimed {
		return refuse(Claimed, j.role, "%s is claimed already; its maintainers can add a key, nobody can displace them", s.Project)
	}
	if r.Kind != Claim && !claimed {
		return refuse(NotClaimed, j.role, "%s is not claimed, so its maintainers' keys have no say yet; claim it first", s.Project)
	}
	if r.Kind != Release && r.Payload(j.role) == nil {
		return refuse(Malformed, j.role, "a %s needs a new version of %s, and the request has none", r.Kind, j.role)
	}
	return nil
}

// bases refuses what was made for a state that is gone. An executed request ends here, too.
func (j *judge) bases() error {
	for _, role := range slices.Sorted(maps.Keys(j.r.Bases)) {
		if p, _, ok := policy.SubRoleOf(role); role != j.role && (!ok || p != j.s.Project) {
			return refuse(Outside, role, "the role %.80q is none of the project %s, which has %s and %s.NAME", role, j.s.Project, j.role, j.role)
		}
		if newest := j.s.Newest(role); j.r.Bases[role] != newest {
			return &Refused{Reason: Stale, Role: role, Version: newest, Message: staleText(role, j.r.Bases[role], newest)}
		}
	}
	return nil
}

func staleText(role tuf.RoleName, base, newest int64) string {
	return refuse(Stale, role, "the request is based on version %d of %s and the newest is %d; make it anew on that and sign again", base, role, newest).Message
}

// contents reads every payload and checks its header.
func (j *judge) contents() error {
	for i := range j.r.Payloads {
		p := &j.r.Payloads[i]
		t, err := j.open(p)
		if err != nil {
			return err
		}
		if err := j.header(p.Role, t); err != nil {
			return err
		}
		j.drafts[p.Role] = t
	}
	return nil
}

func (j *judge) header(role tuf.RoleName, t *tuf.Targets) error {
	base := j.r.Bases[role]
	switch {
	case t.Version() != base+1:
		return refuse(Malformed, role, "the payload of %s is version %d; after version %d comes %d", role, t.Version(), base, base+1)
	case !names(t, role):
		return refuse(Malformed, role, "the payload of %s does not name its role in the member \"role_name\", so it could be passed off as another", role)
	case !t.Expires().After(j.now.Add(policy.ClaimedNotice)):
		return refuse(Dates, role, "version %d of %s would expire at %s; it has to be good for more than a day", t.Version(), role, tuf.FormatTime(t.Expires()))
	case t.Expires().After(policy.ClaimedExpiry(j.now)):
		return refuse(Dates, role, "version %d of %s would expire at %s; at most three years are possible", t.Version(), role, tuf.FormatTime(t.Expires()))
	}
	return nil
}

// authority checks the keys that a claim or rekey brings, and the recovery keys.
func (j *judge) authority() error {
	project := j.drafts[j.role]
	if j.r.Kind != Release {
		a, err := j.r.authority()
		if err != nil {
			return err
		}
		if err := j.notOurs(j.r.Keys, j.role); err != nil {
			return err
		}
		j.out.Authority = a
	}
	if project == nil {
		return nil
	}
	recovery, err := RecoveryKeys(project)
	if err != nil {
		return err
	}
	if err := j.notOurs(recovery, j.role); err != nil {
		return err
	}
	for _, k := range recovery {
		if holds(keysOf(j.out.Authority), k) {
			return refuse(Key, j.role, "key %s is listed to sign and to recover; a recovery key that is in use gets lost with the others", short(k.ID()))
		}
	}
	same := j.s.Base != nil && sameMember(j.s.Base, project, RecoveryMember)
	switch {
	case j.r.Kind == Release && !same:
		return refuse(Key, j.role, "a release can not change the recovery keys; make it a rekey")
	case j.r.Kind == Rekey && same && j.out.Authority.Equal(j.s.Authority):
		return refuse(Key, j.role, "the request changes neither keys nor threshold; make it a release")
	case j.r.Kind == Recover && j.out.Authority.Equal(j.s.Owners):
		return refuse(Key, j.role, "these are the keys that %s has, and they need no operators: make it a rekey", j.s.Project)
	case j.r.Kind == Recover && same && len(recovery) > 0:
		return refuse(Key, j.role, "the recovery keys from before could take %s back; leave them out, or name others", j.s.Project)
	}
	return nil
}

// notOurs refuses the keys of the index itself in the hands of a maintainer.
func (j *judge) notOurs(keys []*key.Public, role tuf.RoleName) error {
	for _, k := range keys {
		if own, ok := j.s.own[k.Fingerprint()]; ok {
			return refuse(Key, role, "key %s is the index's own, for %s; a maintainer needs a key of their own", short(k.ID()), own)
		}
	}
	return nil
}

// sameMember compares an additional member of two versions.
func sameMember(a, b *tuf.Targets, name string) bool {
	x, okX := a.Member(name)
	y, okY := b.Member(name)
	return okX == okY && bytes.Equal(x, y)
}
