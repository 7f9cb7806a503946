package policy

import (
	"cmp"
	"slices"
	"time"

	"example.com/bailiwick/tuf"
)

// Duty says whose turn it is when a role nears its expiry.
type Duty int

// The duties.
const (
	ByServer      Duty = iota + 1 // the server, with a key that it holds
	BySigner                      // the isolated signer of strict custody
	ByOperators                   // people with offline keys
	ByMaintainers                 // the maintainers of a project
)

// String returns the word that people and monitors see.
func (d Duty) String() string {
	switch d {
	case ByServer:
		return "server"
	case BySigner:
		return "signer"
	case ByOperators:
		return "operators"
	case ByMaintainers:
		return "maintainers"
	}
	return "nobody"
}

// Custody says where the private key of an online role lives.
type Custody string

// The two forms of custody.
const (
	CustodyStandard Custody = "standard" // on the server, which signs at once
	CustodyStrict   Custody = "strict"   // with an isolated signer, for which the server waits
)

// Outlook is what is to be expected of a role that nobody touches. The values are in order of urgency.
type Outlook int

// The outlooks.
const (
	OutlookFine    Outlook = iota // nothing to do yet
	OutlookDue                    // within the time in which it is renewed
	OutlookLate                   // it should have been renewed by itself, and was not
	OutlookExpired                // clients refuse it now, and everything that it leads to
)

// String returns the word that people and monitors see.
func (o Outlook) String() string {
	switch o {
	case OutlookFine:
		return "fine"
	case OutlookDue:
		return "due"
	case OutlookLate:
		return "late"
	case OutlookExpired:
		return "expired"
	}
	return "unknown"
}

// Ahead is how long before the expiry of an offline role its signing request opens, and how long before
// anybody has to act an operator is told.
const Ahead = 30 * day

// Window returns how long before its expiry a role is renewed that people sign and that was made to
// live for lifetime: 30 days, or half of a life that is shorter than two months.
func Window(lifetime time.Duration) time.Duration { return min(Ahead, lifetime/2) }

// RoleState is the newest version of a role, as far as a forecast needs it.
type RoleState struct {
	Role    tuf.RoleName
	Expires time.Time
	// Maintained: maintainers signed it. Parked: operators countersigned it in their place.
	Maintained, Parked bool
}

// Forecast says who has to do something about a role, and by when.
type Forecast struct {
	Role    tuf.RoleName
	Duty    Duty
	Opens   time.Time // from when on it can be renewed; the server does so by itself
	Expires time.Time // by when that has to be done
	Outlook Outlook
}

// Forecaster foretells what happens to roles. Make one by its fields; it may be used concurrently.
type Forecaster struct {
	Lifetimes Lifetimes
	// Custody of the online keys; one that is not in it is in custody standard.
	Custody map[KeyRole]Custody
	// NothingClaimed: no project has been promoted, so the claimed tree lives longer.
	NothingClaimed bool
}

// lifetime is how long a version of the role is made to live.
func (f *Forecaster) lifetime(s RoleState) time.Duration {
	switch kind := KindOf(s.Role); {
	case (kind == KindClaimed || kind == KindClaimedBin) && f.NothingClaimed:
		return f.Lifetimes.NothingClaimed
	case s.Maintained, kind == KindOther:
		return f.Lifetimes.ClaimedProject
	}
	return f.Lifetimes.Of(s.Role)
}

// duty says who signs the next version of a role.
func (f *Forecaster) duty(s RoleState) Duty {
	by, ok := SignedBy(s.Role)
	switch {
	case s.Parked:
		return ByOperators
	case s.Maintained, !ok: // a role of the topology, or one that maintainers delegate to
		return ByMaintainers
	case !by.Online():
		return ByOperators
	case f.Custody[by] == CustodyStrict:
		return BySigner
	}
	return ByServer
}

// Of foretells one role.
func (f *Forecaster) Of(s RoleState, now time.Time) Forecast {
	life := f.lifetime(s)
	c := Forecast{Role: s.Role, Duty: f.duty(s), Expires: s.Expires}
	automatic := c.Duty == ByServer || c.Duty == BySigner
	if automatic {
		c.Opens = s.Expires.Add(-renewedWithin(s.Role, life))
	} else {
		c.Opens = s.Expires.Add(-Window(life))
	}
	switch {
	case !now.Before(s.Expires):
		c.Outlook = OutlookExpired
	case now.Before(c.Opens):
		c.Outlook = OutlookFine
	case !automatic:
		c.Outlook = OutlookDue
	case now.Sub(c.Opens) > s.Expires.Sub(c.Opens)/2:
		c.Outlook = OutlookLate
	default:
		c.Outlook = OutlookDue
	}
	return c
}

// renewedWithin is how long before its expiry the server renews a role: the inverse of [Due] for lives that did not
// change.
func renewedWithin(role tuf.RoleName, life time.Duration) time.Duration {
	switch KindOf(role) {
	case KindTimestamp:
		return life - min(timestampInterval, life/4)
	case KindSnapshot:
		return life / 2
	default:
		return life / 3
	}
}

// Tally sums up the forecasts of the roles of one kind that are one duty's: what a person wants to
// know of a hundred thousand projects.
type Tally struct {
	Duty    Duty
	Kind    Kind
	Roles   int
	Due     int       // of them, renewable and neither late nor expired
	Late    int       // of them
	Expired int       // of them
	First   Forecast  // the one that expires first
	Opens   time.Time // the first moment at which one of them can be renewed
}

// Outlook is the most urgent one of the tally's roles.
func (t *Tally) Outlook() Outlook {
	switch {
	case t.Expired > 0:
		return OutlookExpired
	case t.Late > 0:
		return OutlookLate
	case t.Due > 0:
		return OutlookDue
	}
	return OutlookFine
}

// Sum adds up forecasts, the most urgent duty first: who has to act earliest stands on top, and what
// the server does by itself at the end.
func (f *Forecaster) Sum(roles []RoleState, now time.Time) []Tally {
	type group struct {
		duty Duty
		kind Kind
	}
	sums := make(map[group]*Tally)
	for i := range roles {
		c := f.Of(roles[i], now)
		g := group{c.Duty, KindOf(c.Role)}
		t := sums[g]
		if t == nil {
			t = &Tally{Duty: g.duty, Kind: g.kind, First: c, Opens: c.Opens}
			sums[g] = t
		}
		t.Roles++
		switch c.Outlook {
		case OutlookDue:
			t.Due++
		case OutlookLate:
			t.Late++
		case OutlookExpired:
			t.Expired++
		case OutlookFine:
		}
		if c.Expires.Before(t.First.Expires) || (c.Expires.Equal(t.First.Expires) && c.Role < t.First.Role) {
			t.First = c
		}
		if c.Opens.Before(t.Opens) {
			t.Opens = c.Opens
		}
	}
	out := make([]Tally, 0, len(sums))
	for _, t := range sums {
		out = append(out, *t)
	}
	slices.SortFunc(out, func(a, b Tally) int {
		return cmp.Or(
			cmp.Compare(b.Outlook(), a.Outlook()),
			-cmp.Compare(people(a.Duty), people(b.Duty)),
			a.First.Expires.Compare(b.First.Expires),
			cmp.Compare(a.Kind, b.Kind),
			cmp.Compare(a.Duty, b.Duty),
		)
	})
	return out
}

// people is 1 for duties that a person has to be told of.
func people(d Duty) int {
	if d == ByOperators || d == ByMaintainers {
		return 1
	}
	return 0
}
