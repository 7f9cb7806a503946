package index_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/bailiwick/internal/index"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/internal/publish/publishtest"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/internal/sitting"
)

// closedOrNot returns a request of operators in whatever state.
func (m *team) closedOrNot(id string) index.OperatorPending {
	m.t.Helper()
	list, err := m.index.OperatorRequests(m.t.Context(), m.index.Operator(), true)
	if err != nil {
		m.t.Fatal(err)
	}
	i := slices.IndexFunc(list, func(p index.OperatorPending) bool { return p.ID == id })
	if i < 0 {
		m.t.Fatalf("request %s is not listed: %+v", id, list)
	}
	return list[i]
}

// wantOvertaken checks that a request was closed because of another, and that its signed file is told why.
func (m *team) wantOvertaken(r *sitting.Request) {
	m.t.Helper()
	if list := m.waiting(); len(list) != 0 {
		m.t.Errorf("waiting: %+v", list)
	}
	if h := m.health(); h.State != index.Healthy || len(h.Requests) != 0 {
		m.t.Errorf("the index is %s, with %d requests", h.State, len(h.Requests))
	}
	const why = "it is based on version 1 of claimed, and the newest is 2"
	if p := m.closedOrNot(r.ID()); p.State != index.RequestOvertaken || p.Problem != why || p.Stale || p.Publication != 0 || len(p.Missing) != 0 {
		m.t.Errorf("closed as %+v", p)
	}
	_, err := m.index.Import(m.t.Context(), m.index.Operator(), m.sign(r, m.online.Offline()...))
	if got := refused(m.t, err, index.Conflict); got.Role != policy.RoleClaimed || got.Version != 2 || string(got.Reason) != string(sitting.Stale) || !strings.Contains(got.Message, why) {
		m.t.Errorf("importing it later: %+v", got)
	}
	_, err = m.index.OperatorRequest(m.t.Context(), m.index.Operator(), r.ID())
	if got := refused(m.t, err, index.NotFound); !strings.Contains(got.Message, "overtaken: "+why) {
		m.t.Errorf("fetching it: %v", got)
	}
	refused(m.t, m.index.AbortOperatorRequest(m.t.Context(), m.index.Operator(), r.ID()), index.NotFound)
}

// TestR5OvertakenCloses: of two requests over one role, the one that is published closes the other, whoever opened that and
// whoever has signed it.
func TestR5OvertakenCloses(t *testing.T) {
	m := newTeam(t)
	m.upload(wheel("flask", "1"))
	m.claim("flask", 1, m.alice)
	_, first := m.plan(index.SittingWishes{Promote: true})
	_, second := m.plan(index.SittingWishes{Promote: true, By: "somebody else"})
	_, third := m.plan(index.SittingWishes{All: true})
	m.imported(m.sign(third, m.online[policy.KeyClaimed])) // signed in part, and lost all the same
	out := m.imported(m.sign(second, m.online.Offline()...))
	m.wantOvertaken(first)
	if p := m.closedOrNot(third.ID()); p.State != index.RequestOvertaken {
		t.Errorf("the signed one is %s", p.State)
	}
	if p := m.closedOrNot(second.ID()); p.State != index.RequestPublished || p.Publication != out.Publication || p.Problem != "" {
		t.Errorf("the published one: %+v", p)
	}
}

// forgetful fails to close requests, as if the program had ended right after a publication.
type forgetful struct {
	index.Records
	on bool
}

func (f *forgetful) AbortOperatorRequest(ctx context.Context, id string, at time.Time) error {
	if f.on {
		return errDisk
	}
	return f.Records.AbortOperatorRequest(ctx, id, at)
}

// TestOvertakenClosesLater: what could not be closed with the publication is closed as soon as somebody looks.
func TestOvertakenClosesLater(t *testing.T) {
	m := newTeam(t)
	_, first := m.plan(index.SittingWishes{All: true})
	_, second := m.plan(index.SittingWishes{All: true, Note: "again"})
	records := &forgetful{Records: m.records, on: true}
	x, err := index.New(index.Config{Publisher: m.publisher, Files: m.files, Tokens: m.ledger, Records: records, Now: m.clock.get})
	if err != nil {
		t.Fatal(err)
	}
	if out, err := x.Import(t.Context(), x.Operator(), m.sign(second, m.online.Offline()...)); err != nil || out.Publication == 0 {
		t.Fatalf("imported: %+v, %v", out, err)
	}
	list, err := x.OperatorRequests(t.Context(), x.Operator(), false)
	if err != nil || len(list) != 1 || list[0].ID != first.ID() || !list[0].Stale || list[0].Problem == "" || list[0].Next == "" {
		t.Fatalf("what can not be closed is listed as stale: %+v, %v", list, err)
	}
	m.wantOvertaken(first)
}

// TestLostKeyChangesClose: of several requests for other keys of a project, the one that is published closes the others; a
// request to release stays for whoever made it.
func TestLostKeyChangesClose(t *testing.T) {
	for name, claimed := range map[string]bool{"recently claimed": false, "claimed": true} {
		t.Run(name, func(t *testing.T) {
			m := newTeam(t)
			m.upload(wheel("flask", "1"))
			m.claim("flask", 2, m.alice, m.bob)
			if claimed {
				m.promote("flask")
			}
			file := m.stage(wheel("flask", "2"))
			release := m.request("flask", releaseOf(file), m.bob)
			m.waits(release)
			lost := m.request("flask", rekeyTo(2, m.alice, m.bob, m.carol), m.bob)
			m.waits(lost)
			asked := m.ask("flask", m.carol)
			won := m.request("flask", rekeyTo(2, m.alice, m.carol), m.alice, m.bob, m.carol)
			if claimed {
				m.waits(won)
				m.sit(index.SittingWishes{})
			} else {
				m.propose(won)
			}
			open, err := m.index.Requests(t.Context(), m.actor, project(t, "flask"))
			if err != nil || len(open) != 1 || open[0].ID != release.ID() || !open[0].Stale {
				t.Errorf("open: %+v, %v; want the release alone, stale", open, err)
			}
			if list := m.recoveries(); len(list) != 0 {
				t.Errorf("recoveries: %+v", list)
			}
			events, err := m.index.Events(t.Context(), m.actor, project(t, "flask"))
			if err != nil {
				t.Fatal(err)
			}
			told := map[string]bool{}
			for _, e := range events {
				if e.Kind == publish.EventOvertaken {
					told[e.Request] = strings.HasPrefix(e.Text, "other keys were published first: it is based on version ")
				}
			}
			if len(told) != 2 || !told[lost.ID()] || !told[asked.ID()] {
				t.Errorf("told of %v; want %s and %s", told, lost.ID(), asked.ID())
			}
			_, err = m.index.Propose(t.Context(), m.actor, lost)
			refused(t, err, index.Conflict)
		})
	}
}

// TestOneKeyChangeOfEach: two changes of keys of one project that are complete but for the offline key do not keep a sitting
// from being planned: the first is taken in, and the other has lost.
func TestOneKeyChangeOfEach(t *testing.T) {
	m := newTeam(t)
	first, err := m.index.Propose(t.Context(), m.actor, m.request("offline", rekeyTo(2, m.alice, m.bob), m.alice, m.bob))
	if err != nil {
		t.Fatal(err)
	}
	second, err := m.index.Propose(t.Context(), m.actor, m.request("offline", rekeyTo(1, m.alice, m.carol), m.alice, m.carol))
	if err != nil || first.Publication+second.Publication != 0 {
		t.Fatalf("they do not wait for the offline key: %+v, %+v, %v", first, second, err)
	}
	m.sit(index.SittingWishes{})
	if s := m.state("offline"); s.Threshold != 2 || len(s.Requests) != 0 {
		t.Errorf("after the sitting: threshold %d, open %+v", s.Threshold, s.Requests)
	}
}

// TestNothingToDo: a sitting that would only sign claimed again is not held, and it is said when there will be one.
func TestNothingToDo(t *testing.T) {
	m := newTeam(t)
	renew := index.SittingWishes{Promote: true, MinAge: 14 * days, Renew: true}
	nothing := func(w index.SittingWishes) *index.NothingToDo {
		t.Helper()
		planned, _ := m.plan(w)
		return planned.Nothing
	}
	start := publishtest.Start()
	// Nothing is claimed, so all of it lives for a year, and a sitting takes it in 45 days ahead.
	if n := nothing(renew); n == nil || n.Waiting != 0 || !n.First.IsZero() || !n.Due.Equal(start.Add((365-45)*days)) {
		t.Errorf("a new index: %+v", n)
	}
	m.upload(wheel("flask", "1"))
	m.claim("flask", 1, m.alice)
	m.clock.advance(13 * days)
	m.upload(wheel("quart", "1"))
	m.claim("quart", 1, m.alice)
	if n := nothing(renew); n == nil || n.Waiting != 2 || !n.First.Equal(start.Add(14*days)) {
		t.Errorf("with claims that are too young: %+v", n)
	}
	if n := nothing(index.SittingWishes{Promote: true, MinAge: 14 * days, Renew: true, Except: []pypi.Project{project(t, "flask")}}); n == nil || n.Waiting != 1 || !n.First.Equal(start.Add(27*days)) {
		t.Errorf("but for the older one: %+v", n)
	}
	if h := m.health(); len(h.Requests) != 0 {
		t.Errorf("%d requests are open", len(h.Requests))
	}
	m.clock.advance(days)
	if n := nothing(renew); n != nil {
		t.Errorf("on the day: %+v", n)
	}
	// Signed anyway, all of it or what is due.
	m = newTeam(t)
	all := renew
	all.All = true
	if n := nothing(all); n != nil {
		t.Errorf("all: %+v", n)
	}
	m = newTeam(t)
	m.clock.advance((365 - 45) * days)
	if n := nothing(index.SittingWishes{Promote: true, MinAge: 14 * days}); n == nil {
		t.Error("without renewing, what is due makes a sitting")
	}
	if n := nothing(renew); n != nil {
		t.Errorf("when it is due: %+v", n)
	}
}
