package index_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/bailiwick/internal/ceremony"
	"example.com/bailiwick/internal/index"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/internal/publish/publishtest"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/internal/record"
	"example.com/bailiwick/internal/sitting"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
	"example.com/bailiwick/tuf/repo"
)

const week = 7 * days

// asked is a request for recovery, signed by the keys that are to have the project.
func (m *team) asked(name string, keys ...key.Signer) *ceremony.Request {
	m.t.Helper()
	d := publishtest.Draft{Kind: ceremony.Recover, Keys: keys, Threshold: len(keys)}
	s, err := m.publisher.Current().Standing(m.t.Context(), project(m.t, name))
	if err != nil {
		m.t.Fatal(err)
	}
	if _, had := s.Base.Member(ceremony.RecoveryMember); had {
		d.Edit.Members = map[string][]byte{ceremony.RecoveryMember: nil}
	}
	r := m.request(name, d)
	r.Expires = r.Created.Add(ceremony.MaxLife)
	if err := publishtest.Sign(r, "", keys...); err != nil {
		m.t.Fatal(err)
	}
	return r
}

// ask brings a request for recovery in, and wants it to wait.
func (m *team) ask(name string, keys ...key.Signer) *ceremony.Request {
	m.t.Helper()
	r := m.asked(name, keys...)
	m.waits(r)
	return r
}

func (m *team) waits(r *ceremony.Request) {
	m.t.Helper()
	out, err := m.index.Propose(m.t.Context(), m.actor, r)
	if err != nil || out.Publication != 0 || out.Next == "" {
		m.t.Fatalf("the request: %+v, %v; want it to wait", out, err)
	}
}

func (m *team) announce(name string, delay time.Duration) {
	m.t.Helper()
	s, err := m.index.AnnounceRecovery(m.t.Context(), m.index.Operator(), index.Announcement{Project: project(m.t, name), Because: "keys lost", Delay: delay})
	if err != nil {
		m.t.Fatal(err)
	}
	if !s.NotBefore.Equal(m.clock.get().Add(delay)) || s.Request == "" || s.Entry == 0 {
		m.t.Errorf("announced %+v", s)
	}
}

func (m *team) recoveries() []index.RecoveryState {
	m.t.Helper()
	list, err := m.index.Recoveries(m.t.Context(), m.index.Operator())
	if err != nil {
		m.t.Fatal(err)
	}
	return list
}

// sit plans, signs and imports a sitting that promotes nothing but what only names.
func (m *team) sit(w index.SittingWishes) {
	m.t.Helper()
	w.Promote = true
	if w.Only == nil {
		w.MinAge = 365 * days
	}
	_, r := m.plan(w)
	if out := m.imported(m.sign(r, m.online.Offline()...)); out.Publication == 0 {
		m.t.Fatalf("the sitting waits: %+v", out)
	}
}

func (m *team) promote(name string) {
	m.t.Helper()
	m.sit(index.SittingWishes{Only: []pypi.Project{project(m.t, name)}})
}

func (m *team) park(name string) {
	m.t.Helper()
	m.sit(index.SittingWishes{Park: []pypi.Project{project(m.t, name)}})
}

// recordOf returns the kinds of the record's entries about a project.
func (m *team) recordOf(name string) []record.Kind {
	m.t.Helper()
	entries, err := m.publisher.Record(m.t.Context(), 1, 1000)
	if err != nil {
		m.t.Fatal(err)
	}
	var out []record.Kind
	for _, e := range entries {
		if e.Role == policy.ProjectRole(project(m.t, name)) {
			out = append(out, e.Kind)
		}
	}
	return out
}

// refusedFor wants a refusal that says something.
func refusedFor(t *testing.T, err error, kind index.Kind, text string) {
	t.Helper()
	var refusal *index.Refusal
	if !errors.As(err, &refusal) || refusal.Kind != kind || !strings.Contains(refusal.Error(), text) {
		t.Errorf("%v; want a refusal of kind %s that says %q", err, kind, text)
	}
}

// TestR31Recovery: whoever lost all keys asks with a new one; operators announce it, wait, and a sitting carries it out,
// whether the project was promoted before or not. The old keys are dead then.
func TestR31Recovery(t *testing.T) {
	for _, promoted := range []bool{false, true} {
		t.Run(map[bool]string{false: "recently claimed", true: "claimed"}[promoted], func(t *testing.T) {
			m := newTeam(t)
			m.upload(wheel("flask", "1"))
			m.claim("flask", 1, m.alice)
			if promoted {
				m.promote("flask")
			}
			m.propose(m.request("flask", releaseOf(m.stage(wheel("flask", "2"))), m.alice))
			m.ask("flask", m.bob)
			if list := m.recoveries(); len(list) != 1 || !list[0].Announced.IsZero() || !list[0].Turn || m.health().State != index.Attention {
				t.Errorf("asked for: %+v", list)
			}
			m.announce("flask", week)
			if m.kinds("flask")[0] != publish.EventRecoveryAnnounced {
				t.Errorf("the owners were told %v", m.kinds("flask"))
			}
			if a := m.state("flask").Announced; a == nil || a.Keys[0].ID() != m.bob.Public().ID() {
				t.Errorf("the owners see %+v", a)
			}
			m.clock.advance(week)
			if list := m.recoveries(); len(list) != 1 || !list[0].Turn || list[0].Problem != "" {
				t.Errorf("due: %+v", list)
			}
			m.sit(index.SittingWishes{})
			s := m.state("flask")
			if s.Assurance != policy.Claimed || len(s.Keys) != 1 || s.Keys[0].ID() != m.bob.Public().ID() || len(s.Requests) != 0 || s.Announced != nil {
				t.Errorf("recovered: %+v", s)
			}
			if got := m.recordOf("flask"); got[len(got)-1] != record.Recovered || got[len(got)-2] != record.RecoveryAnnounced {
				t.Errorf("the record says %v", got)
			}
			if list := m.recoveries(); len(list) != 0 {
				t.Errorf("still there: %+v", list)
			}
			// The old key signs nothing any more, the new one does.
			file := m.stage(wheel("flask", "3"))
			m.refuses(m.request("flask", releaseOf(file), m.alice), ceremony.ForeignKey)
			m.propose(m.request("flask", releaseOf(file), m.bob))
		})
	}
}

// TestR31AnnouncementIsNeeded: what operators try without an announcement, before the time, or for other keys than those
// announced, is refused when it is imported, offline signatures or not.
func TestR31AnnouncementIsNeeded(t *testing.T) {
	m := newTeam(t)
	m.upload(wheel("flask", "1"))
	m.claim("flask", 1, m.alice)
	m.promote("flask")
	forced := func(keys ...key.Signer) error {
		t.Helper()
		state := m.publisher.Current().Sitting(t.Context(), m.clock.get(), m.publisher.Lifetimes())
		r, err := sitting.Plan(t.Context(), state, sitting.Wishes{Recoveries: []*ceremony.Request{m.asked("flask", keys...)}})
		if err != nil {
			t.Fatal(err)
		}
		_, err = m.index.Import(t.Context(), m.index.Operator(), m.sign(r, m.online.Offline()...))
		return err
	}
	refusedFor(t, forced(m.bob), index.Invalid, "announce")
	m.ask("flask", m.bob)
	m.announce("flask", publish.MinRecoveryDelay)
	m.clock.advance(publish.MinRecoveryDelay - time.Second)
	refusedFor(t, forced(m.bob), index.Invalid, "not before")
	_, r := m.plan(index.SittingWishes{Promote: true, MinAge: 365 * days})
	if r.Payload("project.flask") != nil {
		t.Error("a sitting before the time takes the recovery in")
	}
	m.clock.advance(time.Second)
	refusedFor(t, forced(m.thief), index.Invalid, "other keys than those that were announced")
	if err := forced(m.bob); err != nil {
		t.Errorf("at the time, for the keys announced: %v", err)
	}
}

// TestR31OnlyTheAnnouncedKeys: another request for the same project, brought after the announcement, gets nowhere.
func TestR31OnlyTheAnnouncedKeys(t *testing.T) {
	m := newTeam(t)
	m.upload(wheel("flask", "1"))
	m.claim("flask", 1, m.alice)
	mine := m.ask("flask", m.bob)
	m.announce("flask", week)
	theirs := m.ask("flask", m.thief)
	if err := m.index.Abort(t.Context(), m.actor, mine.ID()); err != nil { // a token is enough for that
		t.Fatal(err)
	}
	m.clock.advance(week)
	_, r := m.plan(index.SittingWishes{Promote: true, MinAge: 365 * days})
	if r.Payload("project.flask") != nil {
		t.Fatal("the sitting gives the project to keys that were not announced")
	}
	list := m.recoveries()
	if len(list) != 2 || list[0].Request != "" || list[1].Request != theirs.ID() || !list[1].Announced.IsZero() {
		t.Errorf("%+v", list)
	}
	// The same keys ask again: that is what was announced.
	m.ask("flask", m.bob)
	m.sit(index.SittingWishes{})
	if k := m.state("flask").Keys[0].ID(); k != m.bob.Public().ID() {
		t.Errorf("flask belongs to %s", k)
	}
}

// TestR31PresentKeysCancel: anything that the project's present keys sign ends a recovery that waits, even if more
// signatures or an offline key are needed for what it is; what others sign does not.
func TestR31PresentKeysCancel(t *testing.T) {
	cases := []struct {
		name    string
		sign    func(m *team)
		cancels bool
	}{
		{"a release", func(m *team) {
			m.propose(m.request("flask", releaseOf(m.stage(wheel("flask", "2"))), m.alice, m.bob))
		}, true},
		{"half a release", func(m *team) {
			m.waits(m.request("flask", releaseOf(m.stage(wheel("flask", "2"))), m.bob))
		}, true},
		{"a change of keys that waits for the offline key", func(m *team) { m.waits(m.request("flask", rekeyTo(1, m.alice), m.alice, m.bob)) }, true},
		{"the recovery key", func(m *team) { m.waits(m.request("flask", rekeyTo(1, m.alice), m.carol)) }, true},
		{"another one who asks", func(m *team) { m.ask("flask", m.thief) }, false},
		{"an upload", func(m *team) { m.stage(wheel("flask", "2")) }, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			m := newTeam(t)
			m.upload(wheel("flask", "1"))
			d := m.claimDraft("flask", 2, m.alice, m.bob)
			d.Edit.Members = map[string][]byte{ceremony.RecoveryMember: ceremony.RecoveryValue(m.carol.Public())}
			m.propose(m.request("flask", d, m.alice, m.bob))
			m.promote("flask")
			_, next, err := key.GenerateEd25519()
			if err != nil {
				t.Fatal(err)
			}
			m.ask("flask", next)
			m.announce("flask", week)
			c.sign(m)
			_, waits := m.publisher.Current().Recovery(project(t, "flask"))
			cancelled := slices.Contains(m.recordOf("flask"), record.RecoveryCancelled)
			told := slices.Contains(m.kinds("flask"), publish.EventRecoveryCancelled)
			if waits == c.cancels || cancelled != c.cancels || told != c.cancels {
				t.Fatalf("waits: %v, in the record: %v, owners told: %v; want cancelled %v", waits, cancelled, told, c.cancels)
			}
			m.clock.advance(week)
			_, r := m.plan(index.SittingWishes{Promote: true, MinAge: 365 * days})
			if p := r.Payload("project.flask"); c.cancels && p != nil && slices.ContainsFunc(p.Signatures, func(s tuf.Signature) bool { return s.KeyID == next.Public().ID() }) {
				t.Error("the sitting takes the cancelled recovery in")
			}
		})
	}
}

// TestR31NobodyObjectsAlready: a request that the present keys have signed is in the way of an announcement.
func TestR31NobodyObjectsAlready(t *testing.T) {
	m := newTeam(t)
	m.upload(wheel("flask", "1"))
	m.claim("flask", 2, m.alice, m.bob)
	m.ask("flask", m.carol)
	m.waits(m.request("flask", releaseOf(m.stage(wheel("flask", "2"))), m.bob))
	_, err := m.index.AnnounceRecovery(t.Context(), m.index.Operator(), index.Announcement{Project: project(t, "flask"), Because: "keys lost"})
	refusedFor(t, err, index.Conflict, "its maintainers are there")
}

// TestR31BadAnnouncements: mistakes are told, and nothing is announced.
func TestR31BadAnnouncements(t *testing.T) {
	m := newTeam(t)
	m.upload(wheel("flask", "1"))
	m.upload(wheel("oldlib", "1"))
	m.claim("flask", 1, m.alice)
	ops := m.index.Operator()
	flask := project(t, "flask")
	try := func(c index.Announcement, kind index.Kind, text string) {
		t.Helper()
		_, err := m.index.AnnounceRecovery(t.Context(), ops, c)
		refusedFor(t, err, kind, text)
	}
	try(index.Announcement{Project: flask, Because: "lost"}, index.NotFound, "nobody asks for flask")
	first := m.ask("flask", m.bob)
	try(index.Announcement{Project: flask}, index.Invalid, "say why")
	try(index.Announcement{Project: flask, Because: "lost", Delay: time.Hour}, index.Invalid, "between 3 days and 90 days")
	try(index.Announcement{Project: flask, Because: "lost", Delay: 31 * days}, index.Invalid, "expires")
	try(index.Announcement{Project: flask, Because: "lost", Request: "0123456789abcdef"}, index.NotFound, "no open request")
	try(index.Announcement{Project: flask, Because: "two\nlines"}, index.Invalid, "one line")
	try(index.Announcement{Project: project(t, "oldlib"), Because: "lost"}, index.NotFound, "nobody asks")
	m.ask("flask", m.carol)
	try(index.Announcement{Project: flask, Because: "lost"}, index.Invalid, "2 requests ask for flask")
	if _, err := m.index.AnnounceRecovery(t.Context(), m.actor, index.Announcement{Project: flask, Because: "lost"}); err == nil {
		t.Error("an uploader announced a recovery")
	}
	if n := len(m.publisher.Current().Recoveries()); n != 0 {
		t.Errorf("%d recoveries wait", n)
	}
	if _, err := m.index.AnnounceRecovery(t.Context(), ops, index.Announcement{Project: flask, Because: "lost", Request: first.ID()}); err != nil {
		t.Fatal(err)
	}
	try(index.Announcement{Project: flask, Because: "lost", Request: first.ID()}, index.Conflict, "announced already")
	if err := m.index.WithdrawRecovery(t.Context(), ops, flask, ""); err == nil {
		t.Error("withdrawn without a reason")
	}
	if err := m.index.WithdrawRecovery(t.Context(), m.actor, flask, "x"); err == nil {
		t.Error("an uploader withdrew a recovery")
	}
	if err := m.index.WithdrawRecovery(t.Context(), ops, flask, "found"); err != nil {
		t.Fatal(err)
	}
	refusedFor(t, m.index.WithdrawRecovery(t.Context(), ops, flask, "found"), index.NotFound, "no recovery of flask")
}

// TestR31WhatMayBeAsked: a request for recovery is judged before it is kept: it adds no files, changes none, does not keep the old
// recovery keys, and every key in it has signed.
func TestR31WhatMayBeAsked(t *testing.T) {
	m := newTeam(t)
	m.upload(wheel("flask", "1"))
	m.upload(wheel("oldlib", "1"))
	d := m.claimDraft("flask", 1, m.alice)
	d.Edit.Members = map[string][]byte{ceremony.RecoveryMember: ceremony.RecoveryValue(m.carol.Public())}
	m.propose(m.request("flask", d, m.alice))
	staged := m.stage(wheel("flask", "2"))
	bringBack := func(keys ...key.Signer) publishtest.Draft {
		return publishtest.Draft{
			Kind: ceremony.Recover, Keys: keys, Threshold: 1, Edit: repo.TargetsEdit{Members: map[string][]byte{ceremony.RecoveryMember: nil}},
		}
	}
	more := bringBack(m.bob)
	more.Add = []publish.File{staged}
	m.refuses(m.request("flask", more, m.bob), ceremony.Altered)
	keeps := bringBack(m.bob)
	keeps.Edit.Members = nil
	m.refuses(m.request("flask", keeps, m.bob), ceremony.Key)
	m.refuses(m.request("flask", bringBack(m.alice), m.alice), ceremony.Key)
	m.refuses(m.request("flask", bringBack(m.bob), m.thief), ceremony.ForeignKey)
	m.refuses(m.request("flask", bringBack(m.online[policy.KeyRegistry]), m.online[policy.KeyRegistry]), ceremony.Key)
	m.refuses(m.request("oldlib", bringBack(m.bob), m.bob), ceremony.NotClaimed)
	// One of two new keys: it waits for the other, and can not be announced.
	half := m.request("flask", bringBack(m.bob, m.thief), m.bob)
	m.waits(half)
	_, err := m.index.AnnounceRecovery(t.Context(), m.index.Operator(), index.Announcement{Project: project(t, "flask"), Because: "lost", Request: half.ID(), Delay: publish.MinRecoveryDelay})
	var refusal *index.Refusal
	if !errors.As(err, &refusal) {
		t.Errorf("announced for a key that has not signed: %v", err)
	}
}

// TestR65ParkedTakesNothing: nothing is added to a parked project online, by whatever key or token; the word says so; and what
// has to be done about it is the operators' duty.
func TestR65ParkedTakesNothing(t *testing.T) {
	m := newTeam(t)
	m.upload(wheel("flask", "1"))
	m.claim("flask", 1, m.alice)
	m.promote("flask")
	before := m.stage(wheel("flask", "2"))
	m.park("flask")
	s := m.state("flask")
	if s.Assurance != policy.ClaimedParked || s.Parked.IsZero() || s.Keys[0].ID() != m.alice.Public().ID() {
		t.Errorf("parked: %+v", s)
	}
	for _, stage := range []string{"", "1"} {
		_, err := m.send(m.actor, wheel("flask", "3"), func(form map[string][]string) {
			if stage != "" {
				form["bailiwick_stage"] = []string{stage}
			}
		})
		refusedFor(t, err, index.Forbidden, "flask is parked: nothing is added until its maintainers take it back")
	}
	m.refuses(m.request("flask", releaseOf(before), m.alice), ceremony.Parked)
	m.refuses(m.request("flask", releaseOf(before), m.online[policy.KeyClaimed]), ceremony.Parked)
	m.refuses(m.request("flask", publishtest.Draft{Kind: ceremony.Claim, Keys: []key.Signer{m.thief}}, m.thief), ceremony.Parked)
	page, _, err := m.index.Project(t.Context(), project(t, "flask"))
	if err != nil || page.Status != "archived" || !strings.HasPrefix(page.StatusReason, "parked") || len(page.Files) != 1 {
		t.Errorf("the page says %q (%s), %d files, %v", page.Status, page.StatusReason, len(page.Files), err)
	}
	if got := m.recordOf("flask"); got[len(got)-1] != record.Parked {
		t.Errorf("the record says %v", got)
	}
	// Nobody else takes it back, and a promotion of what is claimed already is refused.
	m.waits(m.request("flask", rekeyTo(1, m.thief), m.thief))
	_, r := m.plan(index.SittingWishes{Promote: true, MinAge: 365 * days})
	if r.Payload("project.flask") != nil {
		t.Error("a sitting takes in what its maintainers have not signed")
	}
	_, err = m.index.Plan(t.Context(), m.index.Operator(), index.SittingWishes{Promote: true, MinAge: 365 * days, Park: []pypi.Project{project(t, "flask")}})
	refusedFor(t, err, index.Invalid, "flask is parked already")
}

// TestR65ParkOnlyWhatIsClaimed: there is no list that maintainers signed and offline keys vouched for of anything else.
func TestR65ParkOnlyWhatIsClaimed(t *testing.T) {
	m := newTeam(t)
	m.upload(wheel("flask", "1"))
	m.upload(wheel("oldlib", "1"))
	m.claim("flask", 1, m.alice)
	for _, name := range []string{"flask", "oldlib", "nothing"} {
		_, err := m.index.Plan(t.Context(), m.index.Operator(), index.SittingWishes{Promote: true, MinAge: 365 * days, Park: []pypi.Project{project(t, name)}})
		refusedFor(t, err, index.Invalid, name+" is not claimed, so it can not be parked")
	}
}

// TestR65ParkedListIsNotAltered: a sitting that parks a project and changes its list, or keeps other keys than those of its maintainers,
// is signed by nobody and imported by nobody.
func TestR65ParkedListIsNotAltered(t *testing.T) {
	m := newTeam(t)
	m.upload(wheel("flask", "1"))
	m.claim("flask", 1, m.alice)
	m.promote("flask")
	_, r := m.plan(index.SittingWishes{Promote: true, MinAge: 365 * days, Park: []pypi.Project{project(t, "flask")}})
	p := r.Payload("project.flask")
	good := string(p.Message)
	for from, to := range map[string]string{`"length":`: `"length":1`, "flask-1-py3": "flask-9-py3", `"upload-time":"2`: `"upload-time":"3`} {
		p.Message = []byte(strings.Replace(good, from, to, 1))
		if string(p.Message) == good {
			t.Fatalf("%q is not in the payload", from)
		}
		for i := range r.Payloads {
			r.Payloads[i].Signatures = nil
		}
		if err := publishtest.SignOffline(r, m.clock.get(), m.online.Offline()...); err == nil {
			t.Errorf("%s: signed", to)
		}
		if _, err := m.index.Import(t.Context(), m.index.Operator(), r); err == nil {
			t.Errorf("%s: imported", to)
		}
	}
	if m.state("flask").Assurance != policy.Claimed {
		t.Error("it is parked")
	}
}

// TestR65TakenBack: the keys that a parked project had sign its return, the offline key carries it out, and all is as before.
func TestR65TakenBack(t *testing.T) {
	m := newTeam(t)
	m.upload(wheel("flask", "1"))
	m.claim("flask", 2, m.alice, m.bob)
	m.promote("flask")
	m.park("flask")
	version := m.state("flask").Version
	back := m.request("flask", rekeyTo(2, m.alice, m.bob), m.alice)
	m.waits(back)
	if _, r := m.plan(index.SittingWishes{Promote: true, MinAge: 365 * days}); r.Payload("project.flask") != nil {
		t.Error("half of the keys took it back")
	}
	if _, err := m.index.AddSignature(t.Context(), m.actor, back.ID(), m.signatures(back, "project.flask", m.bob)...); err != nil {
		t.Fatal(err)
	}
	m.sit(index.SittingWishes{})
	if s := m.state("flask"); s.Assurance != policy.Claimed || !s.Parked.IsZero() || s.Version != version+1 || s.Threshold != 2 || len(s.Requests) != 0 {
		t.Errorf("taken back: %+v", s)
	}
	m.propose(m.request("flask", releaseOf(m.stage(wheel("flask", "2"))), m.alice, m.bob))
}

// TestR31RecoveryOfParked: the keys of a parked project are lost; it is recovered like any other, and is no longer parked.
func TestR31RecoveryOfParked(t *testing.T) {
	m := newTeam(t)
	m.upload(wheel("flask", "1"))
	m.claim("flask", 1, m.alice)
	m.promote("flask")
	m.park("flask")
	m.ask("flask", m.bob)
	m.announce("flask", week)
	m.clock.advance(week)
	m.sit(index.SittingWishes{})
	if s := m.state("flask"); s.Assurance != policy.Claimed || s.Keys[0].ID() != m.bob.Public().ID() {
		t.Errorf("recovered: %+v", s)
	}
	m.propose(m.request("flask", releaseOf(m.stage(wheel("flask", "2"))), m.bob))
}

// TestR65ParkedExpires: who maintained a parked project is not asked to renew it; operators are, and a sitting does.
func TestR65ParkedExpires(t *testing.T) {
	m := newTeam(t)
	m.upload(wheel("flask", "1"))
	m.claim("flask", 1, m.alice)
	m.promote("flask")
	m.park("flask")
	duty := func() policy.Duty {
		t.Helper()
		for _, d := range m.health().Duties {
			if d.First.Role == "project.flask" && d.Outlook() != policy.OutlookFine {
				if !strings.Contains(d.Next, "bailiwick sitting plan") {
					t.Errorf("next: %q", d.Next)
				}
				return d.Duty
			}
		}
		return 0
	}
	if d := duty(); d != 0 {
		t.Errorf("%s have to act at once", d)
	}
	expires := m.state("flask").Expires
	m.clock.advance(expires.Sub(m.clock.get()) - 20*days)
	if d := duty(); d != policy.ByOperators {
		t.Errorf("20 days before: %s", d)
	}
}
