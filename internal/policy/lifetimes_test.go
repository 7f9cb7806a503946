package policy_test

import (
	"strings"
	"testing"
	"time"

	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/tuf"
)

const day = 24 * time.Hour

func TestDefaultLifetimes(t *testing.T) {
	l := policy.DefaultLifetimes()
	if err := l.Check(); err != nil {
		t.Fatal(err)
	}
	for role, want := range map[tuf.RoleName]time.Duration{
		"root": 365 * day, "targets": 365 * day, "claimed": 60 * day, "claimed-3f": 183 * day, "unclaimed": 365 * day,
		"unclaimed-3f": 90 * day, "project.flask": 365 * day, "snapshot": 7 * day, "timestamp": day, "other": 0,
	} {
		if got := l.Of(role); got != want {
			t.Errorf("%s lives %v, want %v", role, got, want)
		}
	}
	if l.NothingClaimed != 365*day || l.ClaimedProject != 3*365*day {
		t.Errorf("nothing claimed: %v, claimed project: %v", l.NothingClaimed, l.ClaimedProject)
	}
}

func TestLifetimesCheck(t *testing.T) {
	l := policy.DefaultLifetimes()
	l.Snapshot, l.Root = time.Second-1, 21*365*day
	err := l.Check()
	wantErr(t, err, policy.ErrLifetime)
	// All problems at once.
	for _, name := range []string{"snapshot", "root"} {
		if !strings.Contains(err.Error(), "lifetime of "+name) {
			t.Errorf("error does not name %s: %v", name, err)
		}
	}
	wantErr(t, policy.Lifetimes{}.Check(), policy.ErrLifetime)
}

func TestDue(t *testing.T) {
	expires := now.Add(1000 * day)
	for _, c := range []struct {
		role     tuf.RoleName
		lifetime time.Duration
		from     time.Duration // before expiry: due from here on
	}{
		{"timestamp", day, 18 * time.Hour},
		{"timestamp", 7 * day, 7*day - 6*time.Hour},
		{"timestamp", time.Hour, 45 * time.Minute},
		{"snapshot", 7 * day, 3*day + 12*time.Hour},
		{"unclaimed-3f", 90 * day, 30 * day},
		{"project.flask", 360 * day, 120 * day},
	} {
		at := expires.Add(-c.from)
		for _, now := range []time.Time{at, at.Add(time.Second), expires, expires.Add(day)} {
			if !policy.Due(c.role, expires, c.lifetime, now) {
				t.Errorf("%s of %v is not due %v before expiry", c.role, c.lifetime, expires.Sub(now))
			}
		}
		for _, now := range []time.Time{at.Add(-time.Second), expires.Add(-c.lifetime)} {
			if policy.Due(c.role, expires, c.lifetime, now) {
				t.Errorf("%s of %v is due %v before expiry", c.role, c.lifetime, expires.Sub(now))
			}
		}
	}
	for _, role := range []tuf.RoleName{"root", "targets", "claimed", "unclaimed", "claimed-3f", "project.flask.ci", ""} {
		if policy.Due(role, expires, day, expires.Add(day)) {
			t.Errorf("%q is not signed online, yet it is due", role)
		}
	}
}

func TestSpan(t *testing.T) {
	for d, want := range map[time.Duration]string{
		90 * 24 * time.Hour: "90 days", 24 * time.Hour: "1 day", 71 * time.Hour: "71 hours", 36 * time.Hour: "36 hours", time.Hour: "1 hour",
		90 * time.Minute: "90 minutes", 61 * time.Second: "61 seconds", time.Second: "1 second", 1500 * time.Millisecond: "1.5s", 0: "0s",
	} {
		if got := policy.Span(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}
