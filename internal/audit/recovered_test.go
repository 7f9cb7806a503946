package audit_test

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"example.com/bailiwick/internal/audit"
	"example.com/bailiwick/internal/ceremony"
	"example.com/bailiwick/internal/ledger"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/internal/publish/publishtest"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/internal/record"
	"example.com/bailiwick/internal/sitting"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
)

// TestR31ARecoveryToldAsAnother: the server that writes the record can call a recovery what it likes. The offline keys have
// signed in the project's bin that it was one.
func TestR31ARecoveryToldAsAnother(t *testing.T) {
	alice, bob := signer(t), signer(t)
	l := ledger.NewMemory()
	keys := publishtest.Create(t, l, publishtest.Options{ClaimedKeys: map[string]key.Signer{"flask": alice}})
	var now atomic.Pointer[time.Time]
	set := func(at time.Time) { now.Store(&at) }
	set(publishtest.Start())
	clock := func() time.Time { return *now.Load() }
	p, stop, err := publishtest.Open(publish.Config{Ledger: l, Signers: keys.Online(), Now: clock})
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	flask, err := pypi.ParseProject("flask")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Announce(t.Context(), publish.Announcement{Project: flask, Keys: []*key.Public{bob.Public()}, Threshold: 1, Text: "lost", Token: "operator"}); err != nil {
		t.Fatal(err)
	}
	set(publishtest.Start().Add(publish.DefaultRecoveryDelay))
	recoverFlask(t, p, clock(), keys, flask, bob)

	told, err := p.Record(t.Context(), 1, 10)
	if err != nil || len(told) != 2 || told[1].Kind != record.Recovered {
		t.Fatalf("the record is %+v (%v)", told, err)
	}
	s := p.Current().Sitting(t.Context(), clock(), policy.DefaultLifetimes())
	w := &world{repository: audit.Repository{Set: s.Set, Load: s.Load, Layout: s.Layout, Now: clock(), Roots: []*tuf.Root{s.Set.Root()}}}
	before := []record.Entry{
		{Kind: record.Claimed, Role: "project.flask", New: keysOf(t, 1, alice), Time: publishtest.Start()},
		{Kind: record.Promoted, Role: "project.flask", Old: keysOf(t, 1, alice), New: keysOf(t, 1, alice), Time: publishtest.Start()},
	}
	if got := w.findings(t, replay(t, append(before[:2:2], told...))); len(got) != 0 {
		t.Errorf("the truth: found %q", got)
	}
	told[1].Kind, told[1].Text = record.Rekeyed, "its own keys agreed"
	got := w.findings(t, replay(t, append(before[:2:2], told[1])))
	if len(got) != 1 || !strings.Contains(got[0], "operators gave it to other keys on 2000-01-15T00:00:00Z, and the record does not tell of that") {
		t.Errorf("the lie: found %q", got)
	}
}

// recoverFlask has operators give a project to another key.
func recoverFlask(t *testing.T, p *publish.Publisher, now time.Time, keys publishtest.Keys, project pypi.Project, next key.Signer) {
	t.Helper()
	standing, err := p.Current().Standing(t.Context(), project)
	if err != nil {
		t.Fatal(err)
	}
	change, err := publishtest.Draft{Kind: ceremony.Rekey, Keys: []key.Signer{next}}.On(standing, now)
	if err == nil {
		err = publishtest.Sign(change, "", next)
	}
	if err != nil {
		t.Fatal(err)
	}
	r, err := sitting.Plan(t.Context(), p.Current().Sitting(t.Context(), now, policy.DefaultLifetimes()), sitting.Wishes{Recoveries: []*ceremony.Request{change}})
	if err == nil {
		err = publishtest.SignOffline(r, now, keys.Offline()...)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Publish(t.Context(), publish.Offline{Request: r, Token: "operator"}); err != nil {
		t.Fatal(err)
	}
}
