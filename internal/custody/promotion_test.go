package custody_test

import (
	"bytes"
	"testing"
	"time"

	"example.com/bailiwick/internal/ceremony"
	"example.com/bailiwick/internal/custody"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/internal/publish/publishtest"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/internal/record"
	"example.com/bailiwick/internal/sitting"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/repo"
)

// promote has operators sign a sitting that promotes a project with these keys and this date: they have nothing but the
// server's word for both. The record and the snapshot fit it.
func (th *thief) promote(name string, keys tuf.Authority, since time.Time) {
	th.Helper()
	p := th.project(name)
	role := th.layout.ClaimedBin(p)
	base := th.published(th.layout.ClaimedChain(p)...)
	d, err := repo.EditTargets(base, policy.AddClaimed(th.layout, base, policy.ClaimProject(th.layout, p, keys, since)), repo.Issue{
		Role: role, Version: base.Version() + 1, Now: th.p.Time, Expires: th.p.Time.AddDate(0, 3, 0), Authority: th.authority(th.keys[policy.KeyClaimed]),
		Paths: []string{th.layout.BinPattern(th.layout.Bin(p))},
	})
	if err != nil {
		th.Fatal(err)
	}
	r := th.p.Sittings[0]
	r.Payload(role).Message = bytes.Clone(d.Message())
	for i := range r.Payloads {
		r.Payloads[i].Signatures = nil
	}
	if err := publishtest.SignOffline(r, th.clock.now(), th.keys.Offline()...); err != nil {
		th.Fatal(err)
	}
	th.p.Record[0].Role, th.p.Record[0].New = policy.ProjectRole(p), record.KeysOf(keys)
	th.rehead()
}

// standing is where a project stands on the server.
func (th *thief) standing(name string) *ceremony.Standing {
	th.Helper()
	s, err := th.world.p.Current().Standing(th.Context(), th.project(name))
	if err != nil {
		th.Fatal(err)
	}
	return s
}

// rehead makes the snapshot fit the proposal, and the record that it has now.
func (th *thief) rehead() {
	th.Helper()
	th.repin()
	head, err := record.HeadOf(th.set.Snapshot())
	for i := range th.p.Record {
		if err == nil {
			head, err = head.Append(&th.p.Record[i])
		}
	}
	if err != nil {
		th.Fatal(err)
	}
	u, err := tuf.ParseSnapshot(tuf.AppendEnvelope(nil, th.p.Snapshot.Message, nil), nil)
	if err != nil {
		th.Fatal(err)
	}
	old, _ := th.set.Snapshot().Member(record.Member)
	th.p.Snapshot.Message = bytes.Replace(u.Message(), old, head.Value(), 1)
}

func liesAboutPromotions() []lie {
	return []lie{
		{"a promotion to the thief's key, which the operators could not know", promoteDjango, func(th *thief) {
			th.promote("django", th.authority(th.mallory), th.p.Time.AddDate(0, -1, 0))
		}, custody.NotAllowed},
		{"a promotion with one of its keys", promoteDjango, func(th *thief) {
			th.promote("django", th.authority(th.alice[0]), th.standing("django").Since)
		}, custody.NotAllowed},
		{"a promotion of what was claimed yesterday, dated a month ago", promoteDjango, func(th *thief) {
			th.promote("django", th.standing("django").Authority, th.p.Time.AddDate(0, -1, 0))
		}, custody.NotAllowed},
		{"a promotion of what nobody has claimed", promoteFree, func(th *thief) {
			th.promote("free", th.authority(th.mallory), th.p.Time.AddDate(0, -1, 0))
		}, custody.NotAllowed},
		{"a promotion that the record tells as a change of keys by its own", promoteDjango, func(th *thief) {
			th.p.Record[0].Kind = record.Rekeyed
			th.rehead()
		}, custody.Altered},
		{"a promotion of a project that had other keys, says the record", promoteDjango, func(th *thief) {
			th.p.Record[0].Old = record.KeysOf(th.authority(th.mallory))
			th.rehead()
		}, custody.Altered},
	}
}

// promoteFree signs the bin of the unclaimed project free anew; a promotion is easily put into that.
func promoteFree(th *thief) publish.Change {
	return th.plan(sitting.Wishes{All: true, Only: []pypi.Project{th.project("django")}})
}

// TestR3LiesFit: what the lies about promotions are built with makes honest proposals, too.
func TestR3LiesFit(t *testing.T) {
	th := steal(t, promoteDjango)
	s := th.standing("django")
	th.promote("django", s.Authority, s.Since)
	if a := th.send(); a.Refused != nil {
		t.Errorf("a promotion with the keys that the project has is refused: %v", a.Refused)
	}
}
