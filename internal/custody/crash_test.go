package custody_test

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"example.com/bailiwick/internal/custody"
	"example.com/bailiwick/internal/ledger"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/internal/publish/publishtest"
	"example.com/bailiwick/tuf"
)

// breaking is a ledger that fails at a chosen step, before or after it is done.
type breaking struct {
	*ledger.Memory
	put, commit func(do func() error) error
}

var errCrash = errors.New("the power went")

func before(func() error) error { return errCrash }

func after(do func() error) error { return errors.Join(do(), errCrash) }

func (b *breaking) PutProposal(ctx context.Context, p publish.StoredProposal) error {
	do := func() error { return b.Memory.PutProposal(ctx, p) }
	if b.put != nil {
		return b.put(do)
	}
	return do()
}

func (b *breaking) Commit(ctx context.Context, p *publish.Publication) error {
	do := func() error { return b.Memory.Commit(ctx, p) }
	if b.commit != nil {
		return b.commit(do)
	}
	return do()
}

// TestR3Crash stops the server or the signer at every step between a proposal and its publication. Whatever happens,
// what the signer signed is what is published, once; and what it did not sign can be proposed again.
func TestR3Crash(t *testing.T) {
	lost := func([]byte) bool { return false }
	for _, c := range []struct {
		name   string
		broken func(w *world, b *breaking)
		// committed: the change is published before the restart, in spite of the failure.
		committed bool
		signed    bool // the signer has signed by then
	}{
		{"before it is stored", func(_ *world, b *breaking) { b.put = before }, false, false},
		{"after it is stored", func(_ *world, b *breaking) { b.put = after }, false, false},
		{"before it is sent", func(w *world, _ *breaking) { w.desk.set(func(d *desk) { d.before = lost }) }, false, false},
		{"before the signer remembers", func(w *world, _ *breaking) { w.memory.fail = errCrash }, false, false},
		{"before the answer arrives", func(w *world, _ *breaking) {
			w.desk.set(func(d *desk) { d.after = func(*custody.Answer) bool { return false } })
		}, false, true},
		{"before it is committed", func(_ *world, b *breaking) { b.commit = before }, false, true},
		{"after it is committed", func(_ *world, b *breaking) { b.commit = after }, true, true},
	} {
		for _, restart := range []string{"the server", "the signer", "both"} {
			t.Run(c.name+", then "+restart+" starts anew", func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { crash(t, c.broken, c.committed, c.signed, restart) })
			})
		}
	}
}

func crash(t *testing.T, broken func(*world, *breaking), committed, signed bool, restart string) {
	w := newWorld(t, publishtest.Options{Bins: 16})
	w.must(w.add("flask-1.0.tar.gz"))
	b := &breaking{Memory: w.l}
	w.stop()
	w.startWith(b)
	synctest.Wait() // until the publisher has looked for what is due
	broken(w, b)
	w.desk.set(func(d *desk) { d.last = nil })
	alice := w.people(1)
	claim := w.sign("django", publishtest.Draft{Kind: "claim", Keys: alice}, alice...)
	number := w.p.Current().Number()
	if _, err := w.p.Publish(t.Context(), claim); (err == nil) != committed {
		t.Fatalf("publishing across the crash: %v", err)
	}
	if got := w.desk.sent() != nil && bytes.Equal(w.memory.last.ID[:], idOf(w.desk.sent())); got != signed {
		t.Errorf("the signer has signed the proposal: %t, want %t", got, signed)
	}
	proposed := w.desk.sent()

	// Everything works again. Whoever starts anew has what was durable.
	b.put, b.commit, w.memory.fail = nil, nil, nil
	w.desk.set(func(d *desk) { d.before, d.after = nil, nil })
	if restart != "the server" {
		w.desk.set(func(d *desk) { d.signer = w.signer() })
	}
	if restart != "the signer" {
		w.stop()
		w.startWith(b)
	}
	synctest.Wait() // what was proposed is published now, if the server has started anew
	n := w.signed()
	w.clock.pass(time.Minute)
	if _, err := w.p.Publish(t.Context(), w.add("flask-2.0.tar.gz")); err != nil {
		t.Fatalf("after the crash: %v (the signer refused %v)", err, w.desk.refusals())
	}
	w.check()
	w.wantFiles("flask", "flask-1.0.tar.gz", "flask-2.0.tar.gz")
	if signed {
		// The very roles that were proposed are published, and were not signed again.
		p, err := custody.Decode(bytes.Clone(proposed))
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range append(p.Roles, p.Snapshot) {
			wantPublished(w, &r)
		}
		if extra := w.signed() - n; extra != 2 { // flask's list and the snapshot of it
			t.Errorf("%d signatures were made after the restart, want 2", extra)
		}
	}
	// The claim is there, or can be handed over again: never both.
	s, err := w.p.Current().Standing(t.Context(), w.project("django"))
	if err != nil {
		t.Fatal(err)
	}
	if there := s.Assurance == policy.RecentlyClaimed; !there {
		if signed {
			t.Error("what the signer signed was not published")
		}
		w.must(w.sign("django", publishtest.Draft{Kind: "claim", Keys: alice}, alice...))
	}
	if got := w.p.Current().Number(); got > number+3 {
		t.Errorf("there are %d publications after %d", got, number)
	}
	if _, err := w.l.Proposal(t.Context()); !errors.Is(err, publish.ErrNotFound) {
		t.Errorf("a proposal is left: %v", err)
	}
	events, err := w.l.Events(t.Context(), w.project("django"), 10)
	if err != nil || len(events) != 1 || events[0].Publication == 0 {
		t.Errorf("the owners are told %+v, %v", events, err)
	}
}

func idOf(proposal []byte) []byte {
	id := custody.ID(proposal)
	return id[:]
}

func wantPublished(w *world, r *custody.Role) {
	w.Helper()
	unsigned := struct{ version int64 }{}
	if r.Name == tuf.RoleSnapshot {
		u, err := tuf.ParseSnapshot(tuf.AppendEnvelope(nil, r.Message, nil), nil)
		if err != nil {
			w.Fatal(err)
		}
		unsigned.version = u.Header().Version
	} else {
		u, err := tuf.ParseTargets(tuf.AppendEnvelope(nil, r.Message, nil), nil)
		if err != nil {
			w.Fatal(err)
		}
		unsigned.version = u.Header().Version
	}
	m, err := w.l.Metadata(w.Context(), r.Name, unsigned.version)
	if err != nil || !bytes.Contains(m.Bytes, r.Message) {
		w.Errorf("version %d of %s was signed, and something else is published: %v", unsigned.version, r.Name, err)
	}
}

// TestR3TimestampsGoOn: a signer that went away in the middle of a proposal keeps nobody from seeing what is
// published. Timestamps are renewed meanwhile, and the proposal is published when it comes back.
func TestR3TimestampsGoOn(t *testing.T) { synctest.Test(t, timestampsGoOn) }

func timestampsGoOn(t *testing.T) {
	w := newWorld(t, publishtest.Options{Bins: 16})
	w.must(w.add("flask-1.0.tar.gz"))
	w.desk.set(func(d *desk) { d.after = func(*custody.Answer) bool { d.gone = true; return false } })
	alice := w.people(1)
	if _, err := w.p.Publish(t.Context(), w.sign("django", publishtest.Draft{Kind: "claim", Keys: alice}, alice...)); !errors.Is(err, publish.ErrNoSigner) {
		t.Fatalf("published with %v", err)
	}
	number := w.p.Current().Number()
	for range 3 {
		w.clock.pass(20 * time.Hour)
		w.stop() // the publisher looks for what is due when it starts
		w.start()
		synctest.Wait()
		if got := w.p.Current().Number(); got <= number {
			t.Fatalf("no timestamp was published after publication %d", number)
		}
		number = w.p.Current().Number()
		w.check()
		w.wantFiles("flask", "flask-1.0.tar.gz")
		if _, err := w.p.Publish(t.Context(), w.add("flask-2.0.tar.gz")); !errors.Is(err, publish.ErrNoSigner) {
			t.Fatalf("published without the signer: %v", err)
		}
	}
	w.desk.set(func(d *desk) { d.gone, d.after = false, nil })
	w.must(w.add("flask-2.0.tar.gz"))
	s, err := w.p.Current().Standing(t.Context(), w.project("django"))
	if err != nil || s.Assurance != policy.RecentlyClaimed {
		t.Errorf("the claim is not there: %v, %v", s, err)
	}
	entries, err := w.p.Record(t.Context(), 1, 10)
	if err != nil || len(entries) != 1 || entries[0].Publication >= w.p.Current().Number() {
		t.Errorf("the record is %+v, %v", entries, err)
	}
}
