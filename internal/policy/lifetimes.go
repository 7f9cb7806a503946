package policy

import (
	"errors"
	"fmt"
	"time"

	"example.com/bailiwick/tuf"
)

// ErrLifetime means: a lifetime that is too short to be of use or too long to be
// meant.
var ErrLifetime = errors.New("lifetime is not acceptable")

const day = 24 * time.Hour

// Bounds of a lifetime. The lower one is what metadata can express.
const (
	minLifetime = time.Second
	maxLifetime = 20 * 365 * day
)

// Lifetimes says how long a new version of each kind of role is valid.
type Lifetimes struct {
	Root    time.Duration
	Targets time.Duration
	// Claimed bounds how long a thief of the online keys could show clients
	// a claimed tree from before a project was claimed.
	Claimed time.Duration
	// NothingClaimed is in place of Claimed and ClaimedBin until the first project is
	// claimed: until then there is nothing to protect that needs a monthly sitting.
	NothingClaimed   time.Duration
	ClaimedBin       time.Duration
	Unclaimed        time.Duration
	UnclaimedBin     time.Duration
	ClaimedProject   time.Duration
	UnclaimedProject time.Duration
	Snapshot         time.Duration
	Timestamp        time.Duration
}

// DefaultLifetimes returns those of the trust topology. Freshness comes from the
// timestamp; the others are about people who no longer answer.
func DefaultLifetimes() Lifetimes {
	return Lifetimes{
		Root:             365 * day,
		Targets:          365 * day,
		Claimed:          60 * day,
		NothingClaimed:   365 * day,
		ClaimedBin:       183 * day,
		Unclaimed:        365 * day,
		UnclaimedBin:     90 * day,
		ClaimedProject:   3 * 365 * day,
		UnclaimedProject: 365 * day,
		Snapshot:         7 * day,
		Timestamp:        day,
	}
}

// Check refuses lifetimes under a second or over twenty years, all at once.
func (l Lifetimes) Check() error {
	var problems []error
	for _, f := range []struct {
		name string
		d    time.Duration
	}{
		{"root", l.Root},
		{"targets", l.Targets},
		{"claimed", l.Claimed},
		{"claimed while nothing is claimed", l.NothingClaimed},
		{"claimed bins", l.ClaimedBin},
		{"unclaimed", l.Unclaimed},
		{"unclaimed bins", l.UnclaimedBin},
		{"claimed projects", l.ClaimedProject},
		{"unclaimed projects", l.UnclaimedProject},
		{"snapshot", l.Snapshot},
		{"timestamp", l.Timestamp},
	} {
		if f.d < minLifetime || f.d > maxLifetime {
			problems = append(problems, fmt.Errorf("lifetime of %s is %s, choose %s to %s: %w", f.name, Span(f.d), Span(minLifetime), Span(maxLifetime), ErrLifetime))
		}
	}
	return errors.Join(problems...)
}

// Span is a length of time in words and without loss: "90 days", "71 hours", and as Go writes it where it is no whole number of
// a unit.
func Span(d time.Duration) string {
	for _, u := range []struct {
		name string
		d    time.Duration
	}{{"day", day}, {"hour", time.Hour}, {"minute", time.Minute}, {"second", time.Second}} {
		switch n := d / u.d; {
		case d%u.d != 0 || n == 0:
		case n == 1:
			return "1 " + u.name
		default:
			return fmt.Sprintf("%d %ss", n, u.name)
		}
	}
	return d.String()
}

// Of returns the lifetime of a role by its kind, zero for a role that is none of the
// topology's. A project is taken for unclaimed, the claimed tree for one
// in which something is claimed.
func (l Lifetimes) Of(role tuf.RoleName) time.Duration {
	switch KindOf(role) {
	case KindRoot:
		return l.Root
	case KindTimestamp:
		return l.Timestamp
	case KindSnapshot:
		return l.Snapshot
	case KindTargets:
		return l.Targets
	case KindClaimed:
		return l.Claimed
	case KindUnclaimed:
		return l.Unclaimed
	case KindClaimedBin:
		return l.ClaimedBin
	case KindUnclaimedBin:
		return l.UnclaimedBin
	case KindProject:
		return l.UnclaimedProject
	case KindOther:
	}
	return 0
}

// timestampInterval is how old a timestamp gets at most while nothing changes.
const timestampInterval = 6 * time.Hour

// Due reports whether an online role should be signed anew: its newest version
// expires at expires and was made to live for lifetime.
//
// The timestamp is due every six hours, or after a quarter of a life shorter than a day; the
// snapshot in the second half of its life, because every install needs
// it; other online roles in the last third. An expired role is due, and so is
// one that was made to live longer than lifetime says now, if by that it would be. Roles
// with offline keys are never due here: their renewal is a request to people.
func Due(role tuf.RoleName, expires time.Time, lifetime time.Duration, now time.Time) bool {
	left := expires.Sub(now)
	switch KindOf(role) {
	case KindTimestamp:
		return left <= lifetime-min(timestampInterval, lifetime/4)
	case KindSnapshot:
		return left <= lifetime/2
	case KindUnclaimedBin, KindProject:
		return left <= lifetime/3
	case KindOther, KindRoot, KindTargets, KindClaimed, KindUnclaimed, KindClaimedBin:
	}
	return false
}
