package sitting

import (
	"fmt"
	"time"

	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/tuf"
)

// The longest lives that a request can give. A long life is what a thief of the online keys would want of
// the claimed tree, since old files stay good for as long. Lives beyond the usual, which are the
// default ones of package policy, are told as unusual; operators who have chosen them know that.
const (
	longestTop     = (5*365 + 2) * day // root, targets, unclaimed
	longestClaimed = 366 * day         // claimed and its bins: a year, as long as nothing is claimed
)

// lives checks how long the payloads would be good for.
func (j *judge) lives() error {
	type sort struct {
		kind policy.Kind
		long bool
	}
	unusual := make(map[sort]*oddLife)
	nothing := j.nothingClaimed()
	for i, t := range j.drafts {
		if t == nil {
			continue // root
		}
		role := j.r.Payloads[i].Role
		if err := checkExpiry(role, t.Version(), t.Expires(), j.now); err != nil {
			return err
		}
		usual := usualLife(role, nothing)
		life := t.Expires().Sub(j.now)
		if usual == 0 || life <= usual && life >= usual/4 {
			continue
		}
		at := sort{policy.KindOf(role), life > usual}
		l := unusual[at]
		if l == nil {
			l = &oddLife{finding: &j.findings[i], role: role, usual: usual, until: t.Expires()}
			unusual[at] = l
		}
		l.count++
		if t.Expires().After(l.until) == at.long {
			l.until = t.Expires()
		}
	}
	for _, l := range unusual {
		l.tell(j.now)
	}
	return nil
}

// rootLife tells of a root that would live longer than usual, or much shorter. How long it may is checked with the
// rest of it.
func (j *judge) rootLife() {
	if j.r.index(tuf.RoleRoot) != 0 {
		return
	}
	usual := usualLife(tuf.RoleRoot, false)
	until := j.rootAfter.Expires()
	if life := until.Sub(j.now); life > usual || life < usual/4 {
		l := oddLife{finding: &j.findings[0], role: tuf.RoleRoot, count: 1, until: until, usual: usual}
		l.tell(j.now)
	}
}

// oddLife is the roles of a kind that would live longer than usual; or much shorter, after which nothing of
// them could be installed until people sign again.
type oddLife struct {
	finding *finding // of the first
	role    tuf.RoleName
	count   int
	until   time.Time
	usual   time.Duration
}

func (l *oddLife) tell(now time.Time) {
	subject := string(l.role)
	if l.count > 1 {
		subject = fmt.Sprintf("%d bins", l.count)
	}
	text := fmt.Sprintf("good until %s, %s; %d days are usual", l.until.Format(time.DateOnly), span(l.until.Sub(now)), l.usual/day)
	if policy.KindOf(l.role) == policy.KindClaimed && l.until.Sub(now) > l.usual {
		text += " once anything is claimed, and bound what a thief of the online keys can do"
	}
	l.finding.unusual = append(l.finding.unusual, Exception{Subject: subject, Text: text, Weight: weightLife})
}

// checkExpiry refuses an expiry that is over, or beyond what can be signed.
func checkExpiry(role tuf.RoleName, version int64, expires, now time.Time) error {
	latest := now.Add(longestTop)
	switch kind := policy.KindOf(role); {
	case maintained(role):
		latest = policy.ClaimedExpiry(now)
	case kind == policy.KindClaimed || kind == policy.KindClaimedBin:
		latest = now.Add(longestClaimed)
	}
	switch {
	case !expires.After(now):
		return refuse(Dates, role, "version %d of %s would have expired at %s; plan the request anew", version, role, tuf.FormatTime(expires))
	case expires.After(latest):
		return refuse(Dates, role, "version %d of %s would be good until %s; %s is the longest that can be signed", version, role, tuf.FormatTime(expires), latest.Format(time.DateOnly))
	}
	return nil
}

// usualLife returns how long a role is made to live by default, with a day for clocks; zero for one whose
// life is its maintainers' choice.
func usualLife(role tuf.RoleName, nothingClaimed bool) time.Duration {
	l := policy.DefaultLifetimes()
	switch kind := policy.KindOf(role); {
	case maintained(role):
		return 0
	case nothingClaimed && (kind == policy.KindClaimed || kind == policy.KindClaimedBin):
		return l.NothingClaimed + day
	}
	return l.Of(role) + day
}

// nothingClaimed reports whether the request shows that no project is claimed: all bins are in it, and
// none names a project.
func (j *judge) nothingClaimed() bool {
	bins, all := 0, -1
	for i, t := range j.drafts {
		switch policy.KindOf(j.r.Payloads[i].Role) { //nolint:exhaustive // the others do not tell
		case policy.KindClaimed:
			all = len(entriesOf(t))
		case policy.KindClaimedBin:
			if len(entriesOf(t)) > 1 {
				return false
			}
			bins++
		}
	}
	return bins == all
}

// maintained reports whether a role is a project's.
func maintained(role tuf.RoleName) bool {
	_, _, sub := policy.SubRoleOf(role)
	return sub || policy.KindOf(role) == policy.KindProject
}
