package index_test

import (
	"bytes"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"example.com/bailiwick/internal/ceremony"
	"example.com/bailiwick/internal/index"
	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/internal/publish/publishtest"
	"example.com/bailiwick/internal/pypi/distmake"
	"example.com/bailiwick/tuf/key"
)

// TestStaging: an upload to a claimed project is kept and invisible, until somebody signs it.
func TestStaging(t *testing.T) {
	m := newTeam(t)
	m.claim("demo", 1, m.alice)
	file := wheel("demo", "1.0")
	r, err := m.send(m.actor, file, nil) // as twine does, without any word about staging
	if err != nil {
		t.Fatal(err)
	}
	want := "staged: demo-1.0-py3-none-any.whl waits for its maintainers' signature; sign with bailiwick publish or bailiwick sign demo"
	if !r.Staged || r.Unchanged || r.Publication != 0 || r.Line() != want {
		t.Errorf("receipt %+v says %q", r, r.Line())
	}
	if got := m.listed("demo"); len(got) != 0 {
		t.Errorf("listed %v before anybody signed", got)
	}
	if r, err := m.send(m.actor, file, nil); err != nil || !r.Unchanged || !r.Staged {
		t.Errorf("the same again: %+v, %v", r, err)
	}
	// A thief of the token uploads other bytes under the same name. Both wait; the signature decides.
	evil := distmake.Wheel("demo", "1.0", distmake.Options{RequiresPython: ">=3.9"})
	thief := m.login(nil)
	if r, err := m.send(thief, evil, nil); err != nil || !r.Staged || r.Unchanged {
		t.Errorf("other bytes: %+v, %v", r, err)
	}
	staged, err := m.index.Staged(t.Context(), m.actor, project(t, "demo"))
	if err != nil || len(staged) != 2 || staged[0].Uploader != m.actor.TokenID() || staged[1].Uploader != thief.TokenID() ||
		!staged[0].Expires.Equal(publishtest.Start().Add(30*24*time.Hour)) {
		t.Fatalf("staged are %+v, %v", staged, err)
	}
	m.propose(m.request("demo", releaseOf(staged[0].File), m.alice))
	view := m.publisher.Current()
	found, err := view.Find(t.Context(), view.Layout().Path(r.Project, r.Filename))
	if err != nil {
		t.Fatal(err)
	}
	if sum, _ := found.Target.Hashes.SHA256(); sum != staged[0].SHA256 {
		t.Error("the thief's bytes were published")
	}
	opened, err := m.index.OpenFile(t.Context(), r.Project, r.Filename)
	if got := content(t, opened, err); !bytes.Equal(got, file.Data) {
		t.Error("the file comes back with other bytes")
	}
	if s := m.state("demo"); len(s.Staged) != 0 {
		t.Errorf("%d files wait still; the name is used up", len(s.Staged))
	}
	_, err = m.send(thief, evil, nil)
	refused(t, err, index.Exists)
	if r, err := m.send(m.actor, file, nil); err != nil || !r.Unchanged || r.Staged || r.Publication == 0 {
		t.Errorf("the published bytes again: %+v, %v", r, err)
	}
}

func TestUnstage(t *testing.T) {
	m := newTeam(t)
	m.claim("demo", 1, m.alice)
	f := m.stage(wheel("demo", "1.0"))
	r := m.request("demo", releaseOf(f), m.alice)
	refused(t, m.index.Unstage(t.Context(), m.actor, project(t, "other"), f.Filename), index.Invalid)
	if err := m.index.Unstage(t.Context(), m.actor, f.Project, f.Filename); err != nil {
		t.Fatal(err)
	}
	refused(t, m.index.Unstage(t.Context(), m.actor, f.Project, f.Filename), index.NotFound)
	_, err := m.index.Propose(t.Context(), m.actor, r)
	if r := refused(t, err, index.Invalid); r.Reason != ceremony.NotStaged {
		t.Errorf("refused for %q", r.Reason)
	}
	if diff := cmp.Diff([]publish.EventKind{publish.EventUnstaged, publish.EventStaged, publish.EventClaimed}, m.kinds("demo")); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

// TestSignaturesInAnyOrder: a request collects them one by one, and is published with the last.
func TestSignaturesInAnyOrder(t *testing.T) {
	for _, order := range [][]int{{0, 1, 2}, {2, 0, 1}, {1, 2, 0}} {
		m := newTeam(t)
		keys := []key.Signer{m.alice, m.bob, m.carol}
		m.claim("demo", 3, keys...)
		f := m.stage(wheel("demo", "1.0"))
		r := m.request("demo", releaseOf(f))
		_, err := m.index.Propose(t.Context(), m.actor, r)
		refused(t, err, index.Invalid) // nobody has signed
		signed := m.request("demo", releaseOf(f), keys[order[0]])
		out, err := m.index.Propose(t.Context(), m.actor, signed)
		if err != nil || out.ID != r.ID() || out.Publication != 0 {
			t.Fatalf("%+v, %v", out, err)
		}
		for i, k := range order[1:] {
			again, err := m.index.Propose(t.Context(), m.actor, signed) // proposing again loses nothing
			if err != nil || again.Publication != 0 || again.Missing[0].Need != 2-i {
				t.Fatalf("proposed again: %+v, %v", again, err)
			}
			pending, err := m.index.Request(t.Context(), m.actor, out.ID)
			if err != nil || len(pending.Request.Payloads[0].Signatures) != i+1 || pending.Missing[0].Need != 2-i || pending.Stale {
				t.Fatalf("after %d signatures: %+v, %v", i+1, pending, err)
			}
			if out, err = m.index.AddSignature(t.Context(), m.actor, out.ID, m.signatures(r, "project.demo", keys[k])...); err != nil {
				t.Fatal(err)
			}
		}
		if out.Publication == 0 || len(out.Missing) != 0 {
			t.Errorf("with all signatures: %+v", out)
		}
		if got := m.listed("demo"); len(got) != 1 {
			t.Errorf("listed %v", got)
		}
		_, err = m.index.AddSignature(t.Context(), m.actor, out.ID, m.signatures(r, "project.demo", m.alice)...)
		refused(t, err, index.NotFound)
		stored, err := m.ledger.File(t.Context(), f.Filename)
		if err != nil || len(stored.Signers) != 3 {
			t.Errorf("the record says that %v signed, %v; want all three", stored.Signers, err)
		}
	}
}

// TestTwoSignAtOnce: of two people who sign in the same moment, both are told that it is published,
// and it is published once.
func TestTwoSignAtOnce(t *testing.T) {
	for range 20 {
		m := newTeam(t)
		m.claim("demo", 3, m.alice, m.bob, m.carol)
		f := m.stage(wheel("demo", "1.0"))
		r := m.request("demo", releaseOf(f), m.alice)
		out, err := m.index.Propose(t.Context(), m.actor, r)
		if err != nil {
			t.Fatal(err)
		}
		before := m.publisher.Current().Number()
		var wg sync.WaitGroup
		outs := make([]index.Outcome, 2)
		for i, k := range []key.Signer{m.bob, m.carol} {
			signature := m.signatures(r, "project.demo", k)
			wg.Go(func() {
				var err error
				if outs[i], err = m.index.AddSignature(t.Context(), m.actor, out.ID, signature...); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if outs[0].Publication == 0 && outs[1].Publication == 0 {
			t.Errorf("nobody has published: %+v", outs)
		}
		if n := m.publisher.Current().Number() - before; n != 1 {
			t.Errorf("%d publications, want 1", n)
		}
	}
}

// TestTwoRelease: of two maintainers who publish at once the second is told on what to rebase, and
// then nothing is lost.
func TestTwoRelease(t *testing.T) {
	m := newTeam(t)
	m.claim("demo", 1, m.alice, m.bob)
	f, g := m.stage(wheel("demo", "1.0")), m.stage(wheel("demo", "1.1"))
	first, second := m.request("demo", releaseOf(f), m.alice), m.request("demo", releaseOf(g), m.bob)
	m.propose(first)
	_, err := m.index.Propose(t.Context(), m.actor, second)
	if r := refused(t, err, index.Conflict); r.Version != 2 || r.Role != "project.demo" || r.Reason != ceremony.Stale {
		t.Errorf("told %+v, want version 2 of project.demo", r)
	}
	m.propose(m.request("demo", releaseOf(g), m.bob))
	if got := m.listed("demo"); len(got) != 2 {
		t.Errorf("listed %v", got)
	}
}

func TestAbort(t *testing.T) {
	m := newTeam(t)
	m.claim("demo", 2, m.alice, m.bob)
	f := m.stage(wheel("demo", "1.0"))
	r := m.request("demo", releaseOf(f), m.alice)
	out, err := m.index.Propose(t.Context(), m.actor, r)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.index.Abort(t.Context(), m.actor, out.ID); err != nil {
		t.Fatal(err)
	}
	refused(t, m.index.Abort(t.Context(), m.actor, out.ID), index.NotFound)
	_, err = m.index.AddSignature(t.Context(), m.actor, out.ID, m.signatures(r, "project.demo", m.bob)...)
	refused(t, err, index.NotFound)
	if got := m.kinds("demo"); got[0] != publish.EventAborted {
		t.Errorf("events are %v", got)
	}
	if got := m.listed("demo"); len(got) != 0 {
		t.Errorf("listed %v", got)
	}
}

// TestAddSignatureRefuses: nothing is added then.
func TestAddSignatureRefuses(t *testing.T) {
	m := newTeam(t)
	m.claim("demo", 2, m.alice, m.bob)
	f := m.stage(wheel("demo", "1.0"))
	r := m.request("demo", releaseOf(f), m.alice)
	out, err := m.index.Propose(t.Context(), m.actor, r)
	if err != nil {
		t.Fatal(err)
	}
	wrong := m.signatures(r, "project.demo", m.bob)
	wrong[0].Signature.Sig = slices.Clone(wrong[0].Signature.Sig)
	wrong[0].Signature.Sig[0] ^= 1
	elsewhere := m.signatures(r, "project.demo", m.bob)
	elsewhere[0].Role = "project.demo.ci"
	long := m.signatures(r, "project.demo", m.bob)
	long[0].Signature.Sig = make([]byte, 1<<20)
	for name, c := range map[string]struct {
		signatures []index.RoleSignature
		kind       index.Kind
	}{
		"none":            {nil, index.Invalid},
		"a thief's":       {m.signatures(r, "project.demo", m.thief), index.Forbidden},
		"a wrong one":     {wrong, index.Invalid},
		"on another role": {elsewhere, index.Invalid},
		"a megabyte":      {long, index.Invalid},
		"one good of two": {append(m.signatures(r, "project.demo", m.bob), m.signatures(r, "project.demo", m.thief)...), index.Forbidden},
	} {
		_, err := m.index.AddSignature(t.Context(), m.actor, out.ID, c.signatures...)
		t.Run(name, func(t *testing.T) { refused(t, err, c.kind) })
	}
	pending, err := m.index.Request(t.Context(), m.actor, out.ID)
	if err != nil || len(pending.Request.Payloads[0].Signatures) != 1 {
		t.Errorf("the request has %d signatures, %v; want Alice's", len(pending.Request.Payloads[0].Signatures), err)
	}
	if out, err := m.index.AddSignature(t.Context(), m.actor, out.ID, m.signatures(r, "project.demo", m.bob)...); err != nil || out.Publication == 0 {
		t.Errorf("Bob's good signature: %+v, %v", out, err)
	}
}

// TestThirtyDays: what nobody signs is forgotten, and can be sent again.
func TestThirtyDays(t *testing.T) {
	m := newTeam(t)
	m.claim("demo", 2, m.alice, m.bob)
	file := wheel("demo", "1.0")
	f := m.stage(file)
	r := m.request("demo", releaseOf(f), m.alice)
	out, err := m.index.Propose(t.Context(), m.actor, r)
	if err != nil {
		t.Fatal(err)
	}
	m.clock.advance(24 * time.Hour) // as long as the request of this test lives
	_, err = m.index.Request(t.Context(), m.actor, out.ID)
	refused(t, err, index.NotFound)
	_, err = m.index.Propose(t.Context(), m.actor, r)
	if r := refused(t, err, index.Invalid); r.Reason != ceremony.Expired {
		t.Errorf("refused for %q", r.Reason)
	}
	if s := m.state("demo"); len(s.Requests) != 0 || len(s.Staged) != 1 {
		t.Errorf("%d requests and %d staged files, want the file alone", len(s.Requests), len(s.Staged))
	}
	m.clock.advance(29 * 24 * time.Hour)
	if s := m.state("demo"); len(s.Staged) != 0 {
		t.Error("the file waits still")
	}
	if f = m.stage(file); !f.Uploaded.Equal(m.clock.get()) {
		t.Errorf("staged again, it is from %v", f.Uploaded)
	}
	m.propose(m.request("demo", releaseOf(f), m.alice, m.bob))
}

// TestBoundsOfWhatWaits: a token thief can not fill the ledger.
func TestBoundsOfWhatWaits(t *testing.T) {
	m := newTeam(t)
	m.claim("demo", 2, m.alice, m.bob)
	var err error
	n := 0
	for ; err == nil && n < 100; n++ {
		r := m.request("demo", rekeyTo(2, m.alice, m.bob, m.thief))
		r.Note = string(rune('A' + n))
		if err := publishtest.Sign(r, "", m.thief); err != nil {
			t.Fatal(err)
		}
		_, err = m.index.Propose(t.Context(), m.actor, r)
	}
	refused(t, err, index.Invalid)
	if n != 17 {
		t.Errorf("request %d was refused, want the 17th", n)
	}
}

// TestFaultsOfRecords breaks each method of the store, before and after its effect. Nothing is half
// done, and asking again finishes it.
func TestFaultsOfRecords(t *testing.T) {
	for _, method := range []string{
		"AddStaged", "Staged", "RemoveStaged", "AddRequest", "Request", "Requests", "SignRequest", "CloseRequest", "ExpireRequests", "Events",
	} {
		for _, effect := range []bool{false, true} {
			t.Run(method, func(t *testing.T) {
				m := newTeam(t)
				m.claim("demo", 2, m.alice, m.bob)
				failed := 0
				try := func(do func() error) {
					t.Helper()
					m.records.set(method, effect)
					err := do()
					m.records.set("", false)
					if err == nil {
						return
					}
					failed++
					if r := (*index.Refusal)(nil); !errors.Is(err, errInjected) && (!errors.As(err, &r)) {
						t.Fatal(err)
					}
					if err := do(); err != nil {
						if r := (*index.Refusal)(nil); !errors.As(err, &r) || r.Kind != index.NotFound {
							t.Fatalf("asking again: %v", err)
						}
					}
				}
				p := project(t, "demo")
				try(func() error { _, err := m.send(m.actor, wheel("demo", "0.9"), nil); return err })
				try(func() error { return m.index.Unstage(t.Context(), m.actor, p, filename(t, wheel("demo", "0.9").Name)) })
				f := m.stage(wheel("demo", "1.0"))
				r := m.request("demo", releaseOf(f), m.alice)
				try(func() error { _, err := m.index.Propose(t.Context(), m.actor, r); return err })
				try(func() error { return m.index.Abort(t.Context(), m.actor, r.ID()) })
				if _, err := m.index.Propose(t.Context(), m.actor, r); err != nil {
					t.Fatal(err)
				}
				try(func() error { _, err := m.index.Requests(t.Context(), m.actor, p); return err })
				try(func() error { _, err := m.index.Events(t.Context(), m.actor, p); return err })
				signature := m.signatures(r, "project.demo", m.bob)
				try(func() error { _, err := m.index.AddSignature(t.Context(), m.actor, r.ID(), signature...); return err })
				if got := m.listed("demo"); len(got) != 1 {
					t.Errorf("listed %v, want the release", got)
				}
				if failed == 0 {
					t.Errorf("%s was never called", method)
				}
			})
		}
	}
}

// TestForgettingFails: old files that can not be dropped hold up the next upload, and no more.
func TestForgettingFails(t *testing.T) {
	m := newTeam(t)
	m.claim("demo", 1, m.alice)
	m.stage(wheel("demo", "1.0"))
	m.clock.advance(30 * 24 * time.Hour)
	for _, effect := range []bool{false, true} {
		m.records.set("ExpireStaged", effect)
		if _, err := m.send(m.actor, wheel("demo", "1.0"), nil); !errors.Is(err, errInjected) {
			t.Errorf("effect %t: %v", effect, err)
		}
	}
	m.records.set("", false)
	m.stage(wheel("demo", "1.0"))
}

// TestWithoutRecords: an index that keeps no requests goes on as before, and says so.
func TestWithoutRecords(t *testing.T) {
	f := newFixture(t)
	_, err := f.send(f.actor, wheel("recent", "1.0"), nil)
	refused(t, err, index.Forbidden)
	_, err = f.index.Propose(t.Context(), f.actor, &ceremony.Request{Project: project(t, "demo")})
	refused(t, err, index.Unavailable)
	_, err = f.index.Request(t.Context(), f.actor, "x")
	refused(t, err, index.Unavailable)
	_, err = f.send(f.actor, wheel("fresh", "1.0"), func(form map[string][]string) { form["bailiwick_stage"] = []string{"1"} })
	refused(t, err, index.Unavailable)
	_, err = f.send(f.actor, wheel("fresh", "1.0"), func(form map[string][]string) { form["bailiwick_stage"] = []string{"yes"} })
	refused(t, err, index.Invalid)
}

func TestExpiredProjectIsRenewedByRelease(t *testing.T) {
	m := newTeam(t)
	d := m.claimDraft("demo", 1, m.alice)
	d.Life = 30 * 24 * time.Hour
	m.propose(m.request("demo", d, m.alice))
	m.clock.advance(40 * 24 * time.Hour)
	f := m.stage(wheel("demo", "1.0"))
	m.propose(m.request("demo", releaseOf(f), m.alice))
	if got := m.listed("demo"); len(got) != 1 {
		t.Errorf("listed %v", got)
	}
}
