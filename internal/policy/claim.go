package policy

import (
	"time"

	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/cjson"
	"example.com/bailiwick/tuf/repo"
)

// SinceMember is the additional member of a delegation to a claimed project: the time since
// which its maintainers sign it.
const SinceMember = "since"

// ClaimProject returns the delegation by which an unclaimed bin hands a project to its
// maintainers. Later changes of the keys use [NewProject], which leaves the date of an entry that
// it replaces as it is.
func ClaimProject(l Layout, p pypi.Project, a tuf.Authority, since time.Time) repo.Delegation {
	d := NewProject(l, p, a)
	d.Members = map[string][]byte{SinceMember: cjson.AppendString(nil, tuf.FormatTime(since))}
	return d
}

// Since returns the time since which a project is claimed, and false if the delegation does not
// tell in the form that [ClaimProject] writes. It is for people: nothing is decided by it.
func Since(d tuf.Delegation) (time.Time, bool) { return delegationDate(d, SinceMember) }

// ClaimedExpiry returns the latest expiry that a role signed by maintainers may have: three
// years and a day, the day for clocks and time zones.
func ClaimedExpiry(now time.Time) time.Time { return now.AddDate(3, 0, 1) }

// ClaimedNotice is how long at least a role signed by maintainers must be good for: one that
// expires within the day was drafted with a wrong clock, or long ago.
const ClaimedNotice = day
