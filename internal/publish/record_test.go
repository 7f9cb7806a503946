package publish_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"example.com/bailiwick/internal/ceremony"
	"example.com/bailiwick/internal/ledger"
	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/internal/publish/publishtest"
	"example.com/bailiwick/internal/record"
	"example.com/bailiwick/tuf/key"
)

// wantRecord checks the kinds in the record, its chain, and that the snapshot carries its head.
func wantRecord(t testing.TB, p *publish.Publisher, kinds ...record.Kind) []publish.RecordEntry {
	t.Helper()
	entries, err := p.Record(t.Context(), 1, 10_000)
	if err != nil {
		t.Fatal(err)
	}
	var head record.Head
	var got []record.Kind
	for i := range entries {
		if head, err = head.Append(&entries[i]); err != nil {
			t.Fatal(err)
		}
		got = append(got, entries[i].Kind)
	}
	if g, w := words(got), words(kinds); g != w {
		t.Errorf("the record is %q, want %q", g, w)
	}
	view := p.Current()
	signed, err := record.HeadOf(view.Set().Snapshot())
	length, sum := view.Record()
	if err != nil || signed != head || length != head.Length || sum != head.Sum {
		t.Errorf("the snapshot carries %+v (%v), the view says %d %x, and the record is %+v", signed, err, length, sum, head)
	}
	return entries
}

func words(kinds []record.Kind) string {
	var out []string
	for _, k := range kinds {
		out = append(out, string(k))
	}
	return strings.Join(out, " ")
}

func rekeyed(t *testing.T, p *publish.Publisher, name string, threshold int, keys, signers []key.Signer) {
	t.Helper()
	d := publishtest.Draft{Kind: ceremony.Rekey, Keys: keys, Threshold: threshold}
	must(t, p, publish.Sign{Request: request(t, p, name, d, signers...)})
}

// TestRecordOfClaims: claims, new keys and revocations are written down with the keys, in the publication that
// makes them; uploads and releases are not.
func TestRecordOfClaims(t *testing.T) {
	p, l, _ := start(t)
	must(t, p, add(t, "flask-1.tar.gz", "a"))
	wantRecord(t, p)
	keys := people(t, 2)
	claimed(t, p, "flask", keys[0])
	claimed(t, p, "new", keys[1])
	rekeyed(t, p, "flask", 2, keys, keys)
	f := staged(t, "flask-2.tar.gz")
	must(t, p, publish.Sign{Request: request(t, p, "flask", publishtest.Draft{Kind: ceremony.Release, Add: []publish.File{f}}, keys...), Staged: []publish.File{f}})
	rekeyed(t, p, "flask", 1, keys[1:], keys)
	must(t, p, add(t, "other-1.tar.gz", "a"))
	entries := wantRecord(t, p, record.Claimed, record.Claimed, record.Rekeyed, record.Revoked)
	first, third := entries[0], entries[2]
	if first.Role != "project.flask" || len(first.Old.IDs) != 1 || first.Old.IDs[0] == keys[0].Public().ID() || first.New.IDs[0] != keys[0].Public().ID() {
		t.Errorf("the claim is written down as %+v", first)
	}
	if entries[1].Old.Threshold != 0 || third.Old.Threshold != 1 || third.New.Threshold != 2 || third.Publication != entries[1].Publication+1 {
		t.Errorf("a new project and the new keys are written down as %+v, %+v", entries[1], third)
	}
	check(t, l)
	if got, err := p.Record(t.Context(), 3, 1); err != nil || len(got) != 1 || got[0].Number != 3 {
		t.Errorf("entry 3 is %+v, %v", got, err)
	}
	if got, err := p.Record(t.Context(), 5, 10); err != nil || len(got) != 0 {
		t.Errorf("past the end there is %+v, %v", got, err)
	}
}

// forged is a ledger with another record than the one that was signed.
type forged struct {
	publish.Ledger
	edit func(e *publish.RecordEntry)
	head func(h *publish.Head)
}

func (l forged) Record(ctx context.Context, from int64, limit int) ([]publish.RecordEntry, error) {
	out, err := l.Ledger.Record(ctx, from, limit)
	for i := range out {
		if l.edit != nil {
			l.edit(&out[i])
		}
	}
	return out, err
}

func (l forged) Head(ctx context.Context) (publish.Head, error) {
	h, err := l.Ledger.Head(ctx)
	if l.head != nil {
		l.head(&h)
	}
	return h, err
}

// TestRecordCanNotBeRewritten: what is stored has to be what the snapshot stands for.
func TestRecordCanNotBeRewritten(t *testing.T) {
	p, l, keys := start(t)
	claimed(t, p, "flask", people(t, 1)...)
	claimed(t, p, "other", people(t, 1)...)
	for name, c := range map[string]struct {
		ledger forged
		opens  bool // found by Check alone
	}{
		"another text":     {forged{edit: func(e *publish.RecordEntry) { e.Text = "nothing happened" }}, true},
		"another number":   {forged{edit: func(e *publish.RecordEntry) { e.Number++ }}, true},
		"an entry missing": {forged{head: func(h *publish.Head) { h.Record.Length-- }}, false},
		"another head":     {forged{head: func(h *publish.Head) { h.Record.Sum[0]++ }}, false},
		"no record":        {forged{head: func(h *publish.Head) { h.Record = record.Head{} }}, false},
	} {
		c.ledger.Ledger = l
		_, err := publish.Open(t.Context(), publish.Config{Ledger: c.ledger, Signers: keys.Online(), Now: publishtest.Start})
		if c.opens != (err == nil) || err != nil && !errors.Is(err, publish.ErrDamaged) {
			t.Errorf("%s: opening: %v", name, err)
		}
		if c.opens {
			if err := publish.Check(t.Context(), c.ledger); !errors.Is(err, publish.ErrDamaged) {
				t.Errorf("%s: checking: %v, want ErrDamaged", name, err)
			}
		}
	}
}

// announcement is one that gives a project to keys.
func announcement(t testing.TB, name string, keys ...key.Signer) publish.Announcement {
	t.Helper()
	a := publish.Announcement{Project: project(t, name), Threshold: 1, Text: "keys lost in a fire", Token: "t1"}
	for _, k := range keys {
		a.Keys = append(a.Keys, k.Public())
	}
	return a
}

func TestAnnounceRefuses(t *testing.T) {
	p, _, _ := start(t)
	keys := people(t, 2)
	claimed(t, p, "flask", keys[0])
	must(t, p, add(t, "free-1.tar.gz", "a"))
	good := announcement(t, "flask", keys[1])
	with := func(edit func(a *publish.Announcement)) publish.Announcement {
		a := good
		edit(&a)
		return a
	}
	before := p.Current().Number()
	for name, c := range map[string]struct {
		a    publish.Announcement
		want error
	}{
		"nothing":          {publish.Announcement{}, publish.ErrInvalid},
		"no reason":        {with(func(a *publish.Announcement) { a.Text = "" }), publish.ErrInvalid},
		"two lines":        {with(func(a *publish.Announcement) { a.Text = "a\nb" }), publish.ErrInvalid},
		"a long reason":    {with(func(a *publish.Announcement) { a.Text = strings.Repeat("a", 2000) }), publish.ErrInvalid},
		"no keys":          {with(func(a *publish.Announcement) { a.Keys = nil }), publish.ErrInvalid},
		"no threshold":     {with(func(a *publish.Announcement) { a.Threshold = 0 }), publish.ErrInvalid},
		"its own keys":     {with(func(a *publish.Announcement) { a.Keys = []*key.Public{keys[0].Public()} }), publish.ErrInvalid},
		"nobody's project": {announcement(t, "free", keys[1]), publish.ErrUnclaimed},
		"no project":       {announcement(t, "nothing", keys[1]), publish.ErrUnclaimed},
	} {
		if _, err := p.Announce(t.Context(), c.a); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if _, err := p.Publish(t.Context(), publish.Withdrawal{Project: good.Project, Text: "why"}); !errors.Is(err, publish.ErrNoRecovery) {
		t.Errorf("withdrawing nothing: %v", err)
	}
	if n := p.Current().Number(); n != before {
		t.Errorf("publication %d was made", n)
	}
	if _, err := p.Announce(t.Context(), good); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Announce(t.Context(), announcement(t, "flask", people(t, 1)...)); !errors.Is(err, publish.ErrRecoveryWaits) {
		t.Errorf("a second announcement: %v, want ErrRecoveryWaits", err)
	}
}

// TestR65RecoveryIsAnnounced: what will happen, to whom and when is public and signed before it happens, the
// owners are told, and it survives a restart.
func TestR65RecoveryIsAnnounced(t *testing.T) {
	l := ledger.NewMemory()
	keys := publishtest.Create(t, l, publishtest.Options{})
	config := publish.Config{Ledger: l, Signers: keys.Online(), RecoveryDelay: 10 * 24 * time.Hour}
	p, stop, err := publishtest.Open(config)
	if err != nil {
		t.Fatal(err)
	}
	old, next := people(t, 1), people(t, 1)
	claimed(t, p, "flask", old...)
	before := p.Current()
	r, err := p.Announce(t.Context(), announcement(t, "flask", next...))
	if err != nil {
		t.Fatal(err)
	}
	want := publishtest.Start().Add(10 * 24 * time.Hour)
	if !r.NotBefore.Equal(want) || r.Outcome != "" || r.Entry != 2 || p.Current().Number() != before.Number()+1 {
		t.Errorf("announced %+v in publication %d", r, p.Current().Number())
	}
	entries := wantRecord(t, p, record.Claimed, record.RecoveryAnnounced)
	if e := entries[1]; !e.NotBefore.Equal(want) || e.Old.IDs[0] != old[0].Public().ID() || e.New.IDs[0] != next[0].Public().ID() || e.Text != "keys lost in a fire" {
		t.Errorf("the record says %+v", e)
	}
	events, err := l.Events(t.Context(), project(t, "flask"), 1)
	if err != nil || len(events) != 1 || events[0].Kind != publish.EventRecoveryAnnounced || events[0].Token != "t1" {
		t.Errorf("the owners are told %+v, %v", events, err)
	}
	if v := standing(t, p, "flask"); v.Authority.KeyIDs()[0] != old[0].Public().ID() {
		t.Error("the announcement changed the keys")
	}
	stop()
	p = publishtest.Run(t, config)
	if got := p.Current().Recoveries(); len(got) != 1 || got[0].Entry != 2 || got[0].Keys[0].ID() != next[0].Public().ID() {
		t.Errorf("after a restart %+v waits", got)
	}
	must(t, p, publish.Withdrawal{Project: r.Project, Text: "the keys were found"})
	wantRecord(t, p, record.Claimed, record.RecoveryAnnounced, record.RecoveryCancelled)
	if got := p.Current().Recoveries(); len(got) != 0 {
		t.Errorf("after its withdrawal %+v waits", got)
	}
	check(t, l)
}

// TestR65MaintainersContradict: whatever the project's own keys sign ends a recovery that waits; what the key of a
// sub-role signs does not.
func TestR65MaintainersContradict(t *testing.T) {
	p, l, _ := start(t)
	lead, ci, next := people(t, 1), people(t, 1), people(t, 1)
	claimed(t, p, "flask", lead...)
	r := request(t, p, "flask", publishtest.Draft{Kind: ceremony.Release, Subs: map[string]publishtest.Sub{"ci": {Delegate: true, Keys: ci}}})
	if err := errors.Join(publishtest.Sign(r, "project.flask", lead[0]), publishtest.Sign(r, "project.flask.ci", ci[0])); err != nil {
		t.Fatal(err)
	}
	must(t, p, publish.Sign{Request: r})
	if _, err := p.Announce(t.Context(), announcement(t, "flask", next...)); err != nil {
		t.Fatal(err)
	}
	wheel := staged(t, "flask-2-py3-none-any.whl")
	alone := publishtest.Draft{Kind: ceremony.Release, Only: true, Subs: map[string]publishtest.Sub{"ci": {Add: []publish.File{wheel}}}}
	must(t, p, publish.Sign{Request: request(t, p, "flask", alone, ci...), Staged: []publish.File{wheel}})
	if _, waits := p.Current().Recovery(project(t, "flask")); !waits {
		t.Error("the key of a sub-role ended the recovery")
	}
	f := staged(t, "flask-2.tar.gz")
	must(t, p, publish.Sign{Request: request(t, p, "flask", publishtest.Draft{Kind: ceremony.Release, Add: []publish.File{f}}, lead...), Staged: []publish.File{f}})
	if _, waits := p.Current().Recovery(project(t, "flask")); waits {
		t.Error("a release by the project's key did not end the recovery")
	}
	entries := wantRecord(t, p, record.Claimed, record.RecoveryAnnounced, record.RecoveryCancelled)
	if e := entries[2]; e.New.IDs[0] != lead[0].Public().ID() || e.Old.IDs[0] != next[0].Public().ID() {
		t.Errorf("the end is written down as %+v", e)
	}
	events, err := l.inner.(*ledger.Memory).Events(t.Context(), project(t, "flask"), 2)
	if err != nil || len(events) != 2 || events[0].Kind != publish.EventRecoveryCancelled || events[1].Kind != publish.EventReleased {
		t.Errorf("the owners are told %+v, %v", events, err)
	}
	waiting, err := l.Recoveries(t.Context())
	if err != nil || len(waiting) != 0 {
		t.Errorf("in the ledger %+v waits, %v", waiting, err)
	}
	check(t, l)
}
