package policy_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/tuf"
)

func TestForecastNamesWhoseTurnItIs(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	strict := map[policy.KeyRole]policy.Custody{
		policy.KeyRegistry: policy.CustodyStrict, policy.KeySnapshot: policy.CustodyStrict,
	}
	for _, c := range []struct {
		role               string
		left               time.Duration
		maintained, parked bool
		nothing            bool
		custody            map[policy.KeyRole]policy.Custody
		duty               policy.Duty
		opens              time.Duration // before the expiry
		outlook            policy.Outlook
	}{
		{role: "root", left: 31 * day, duty: policy.ByOperators, opens: 30 * day, outlook: policy.OutlookFine},
		{role: "root", left: 30 * day, duty: policy.ByOperators, opens: 30 * day, outlook: policy.OutlookDue},
		{role: "root", left: time.Second, duty: policy.ByOperators, opens: 30 * day, outlook: policy.OutlookDue},
		{role: "root", left: 0, duty: policy.ByOperators, opens: 30 * day, outlook: policy.OutlookExpired},
		{role: "targets", left: 29 * day, duty: policy.ByOperators, opens: 30 * day, outlook: policy.OutlookDue},
		{role: "claimed", left: 31 * day, duty: policy.ByOperators, opens: 30 * day, outlook: policy.OutlookFine},
		{role: "claimed", left: 29 * day, nothing: true, duty: policy.ByOperators, opens: 30 * day, outlook: policy.OutlookDue},
		{role: "claimed-3f", left: 30 * day, duty: policy.ByOperators, opens: 30 * day, outlook: policy.OutlookDue},
		{role: "unclaimed", left: 40 * day, custody: strict, duty: policy.ByOperators, opens: 30 * day, outlook: policy.OutlookFine},
		{role: "timestamp", left: 19 * time.Hour, duty: policy.ByServer, opens: 18 * time.Hour, outlook: policy.OutlookFine},
		{role: "timestamp", left: 17 * time.Hour, duty: policy.ByServer, opens: 18 * time.Hour, outlook: policy.OutlookDue},
		{role: "timestamp", left: 8 * time.Hour, duty: policy.ByServer, opens: 18 * time.Hour, outlook: policy.OutlookLate},
		{role: "timestamp", left: -time.Second, duty: policy.ByServer, opens: 18 * time.Hour, outlook: policy.OutlookExpired},
		{role: "timestamp", left: 8 * time.Hour, custody: strict, duty: policy.ByServer, opens: 18 * time.Hour, outlook: policy.OutlookLate},
		{role: "snapshot", left: 3 * day, custody: strict, duty: policy.BySigner, opens: 84 * time.Hour, outlook: policy.OutlookDue},
		{role: "unclaimed-3f", left: 31 * day, duty: policy.ByServer, opens: 30 * day, outlook: policy.OutlookFine},
		{role: "unclaimed-3f", left: 2 * day, custody: strict, duty: policy.BySigner, opens: 30 * day, outlook: policy.OutlookLate},
		{role: "project.oldlib", left: 200 * day, duty: policy.ByServer, opens: 365 * day / 3, outlook: policy.OutlookFine},
		{role: "project.flask", left: 31 * day, maintained: true, custody: strict, duty: policy.ByMaintainers, opens: 30 * day, outlook: policy.OutlookFine},
		{role: "project.flask", left: 3 * day, maintained: true, duty: policy.ByMaintainers, opens: 30 * day, outlook: policy.OutlookDue},
		{role: "project.flask.ci", left: 3 * day, maintained: true, duty: policy.ByMaintainers, opens: 30 * day, outlook: policy.OutlookDue},
		{role: "project.flask", left: 3 * day, maintained: true, parked: true, duty: policy.ByOperators, opens: 30 * day, outlook: policy.OutlookDue},
	} {
		f := policy.Forecaster{Lifetimes: policy.DefaultLifetimes(), Custody: c.custody, NothingClaimed: c.nothing}
		s := policy.RoleState{Role: tuf.RoleName(c.role), Expires: now.Add(c.left), Maintained: c.maintained, Parked: c.parked}
		want := policy.Forecast{Role: s.Role, Duty: c.duty, Opens: s.Expires.Add(-c.opens), Expires: s.Expires, Outlook: c.outlook}
		if diff := cmp.Diff(want, f.Of(s, now)); diff != "" {
			t.Errorf("%s with %v left: %s", c.role, c.left, diff)
		}
	}
}

// TestForecastAgreesWithTheServer: a role that the server renews is due in the forecast exactly when the server
// renews it.
func TestForecastAgreesWithTheServer(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	lives := policy.DefaultLifetimes()
	short := lives
	short.Timestamp, short.Snapshot, short.UnclaimedBin, short.UnclaimedProject = time.Hour, 2*time.Hour, 3*time.Hour, 4*time.Hour
	for _, l := range []policy.Lifetimes{lives, short} {
		f := policy.Forecaster{Lifetimes: l}
		for _, role := range []tuf.RoleName{"timestamp", "snapshot", "unclaimed-0", "project.oldlib"} {
			life := l.Of(role)
			for percent := range 101 {
				expires := now.Add(life / 100 * time.Duration(percent))
				due := policy.Due(role, expires, life, now)
				got := f.Of(policy.RoleState{Role: role, Expires: expires}, now).Outlook != policy.OutlookFine
				if due != got {
					t.Errorf("%s with %d%% of its life left: the server says due=%v, the forecast %v", role, percent, due, got)
				}
			}
		}
	}
}

func TestForecastOfShortLivesLeavesTimeToRest(t *testing.T) {
	for life, want := range map[time.Duration]time.Duration{
		365 * day: 30 * day, 60 * day: 30 * day, 20 * day: 10 * day, time.Hour: 30 * time.Minute,
	} {
		if got := policy.Window(life); got != want {
			t.Errorf("a life of %v is renewed %v ahead, want %v", life, got, want)
		}
	}
}

func TestForecastSum(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	f := policy.Forecaster{Lifetimes: policy.DefaultLifetimes()}
	at := func(role string, left time.Duration, maintained bool) policy.RoleState {
		return policy.RoleState{Role: tuf.RoleName(role), Expires: now.Add(left), Maintained: maintained}
	}
	got := f.Sum([]policy.RoleState{
		at("root", 200*day, false), at("timestamp", 23*time.Hour, false), at("snapshot", -time.Hour, false),
		at("claimed-0", 20*day, false), at("claimed-1", 10*day, false), at("claimed-2", 100*day, false),
		at("project.a", -day, true), at("project.b", 10*day, true), at("project.c", 10*day, false),
		at("unclaimed-0", 5*day, false),
	}, now)
	type line struct {
		Duty, Kind, Outlook       string
		Roles, Due, Late, Expired int
		First                     tuf.RoleName
	}
	var lines []line
	for _, s := range got {
		lines = append(lines, line{s.Duty.String(), s.Kind.String(), s.Outlook().String(), s.Roles, s.Due, s.Late, s.Expired, s.First.Role})
	}
	want := []line{
		{"maintainers", "project", "expired", 2, 1, 0, 1, "project.a"},
		{"server", "snapshot", "expired", 1, 0, 0, 1, "snapshot"},
		{"server", "unclaimed bin", "late", 1, 0, 1, 0, "unclaimed-0"},
		{"server", "project", "late", 1, 0, 1, 0, "project.c"},
		{"operators", "claimed bin", "due", 3, 2, 0, 0, "claimed-1"},
		{"operators", "root", "fine", 1, 0, 0, 0, "root"},
		{"server", "timestamp", "fine", 1, 0, 0, 0, "timestamp"},
	}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Error(diff)
	}
	if want := now.Add(-20 * day); !got[4].Opens.Equal(want) {
		t.Errorf("the claimed bins open at %v, want %v", got[4].Opens, want)
	}
}

func TestForecastWords(t *testing.T) {
	for _, c := range [][2]string{
		{policy.ByServer.String(), "server"},
		{policy.BySigner.String(), "signer"},
		{policy.ByOperators.String(), "operators"},
		{policy.ByMaintainers.String(), "maintainers"},
		{policy.Duty(0).String(), "nobody"},
		{policy.OutlookFine.String(), "fine"},
		{policy.OutlookDue.String(), "due"},
		{policy.OutlookLate.String(), "late"},
		{policy.OutlookExpired.String(), "expired"},
		{policy.Outlook(9).String(), "unknown"},
	} {
		if c[0] != c[1] {
			t.Errorf("%q, want %q", c[0], c[1])
		}
	}
}

func BenchmarkForecast100k(b *testing.B) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	f := policy.Forecaster{Lifetimes: policy.DefaultLifetimes()}
	roles := make([]policy.RoleState, 100_000)
	for i := range roles {
		roles[i] = policy.RoleState{Role: tuf.RoleName("project.p" + time.Duration(i).String()), Expires: now.Add(time.Duration(i) * time.Minute)}
	}
	for b.Loop() {
		f.Sum(roles, now)
	}
}
