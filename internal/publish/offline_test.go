package publish_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

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

// TestR8PromotionKeepsHistory: a sitting changes who delegates and nothing else. A client that saw version 4 of the
// project sees version 4 after the sitting and version 5 after the next release; maintainers sign nothing for it.
func TestR8PromotionKeepsHistory(t *testing.T) {
	f := newOffice(t, publishtest.Options{})
	keys, others := people(t, 1), people(t, 1)
	must(t, f.p, add(t, "free-1.tar.gz", "a"))
	claimed(t, f.p, "flask", keys...)
	claimed(t, f.p, "django", others...)
	for _, v := range []string{"1", "2", "3"} {
		f.release(t, "flask-"+v+".tar.gz", keys...)
	}
	f.wantAssurance(t, "flask-3.tar.gz", policy.RecentlyClaimed, 4)

	before := f.p.Current()
	receipt := f.publish(t, sitting.Wishes{Only: []pypi.Project{project(t, "flask")}})
	if receipt.Publication != before.Number()+1 {
		t.Errorf("the sitting is publication %d after %d; want one", receipt.Publication, before.Number())
	}
	f.wantAssurance(t, "flask-3.tar.gz", policy.Claimed, 4)
	f.wantAssurance(t, "flask-1.tar.gz", policy.Claimed, 4)
	f.wantAssurance(t, "free-1.tar.gz", policy.Unclaimed, 1)
	if s := standing(t, f.p, "django"); s.Assurance != policy.RecentlyClaimed {
		t.Errorf("django is %s", s.Assurance)
	}
	layout := f.p.Current().Layout()
	flask := project(t, "flask")
	bin, err := f.p.Current().Set().Delegated(f.load(t), layout.UnclaimedChain(flask)...)
	if err != nil {
		t.Fatal(err)
	}
	if ds := bin.Delegations(); ds != nil {
		if _, still := ds.Find("project.flask"); still {
			t.Error("the unclaimed bin delegates the promoted project still")
		}
	}

	f.release(t, "flask-4.tar.gz", keys...)
	f.wantAssurance(t, "flask-4.tar.gz", policy.Claimed, 5)
	if _, err := f.p.Publish(t.Context(), add(t, "flask-5.tar.gz", "a")); !errors.Is(err, publish.ErrNotRegistry) {
		t.Errorf("an upload without a signature: %v, want ErrNotRegistry", err)
	}
	entries := wantRecord(t, f.p, record.Claimed, record.Claimed, record.Promoted)
	if e := entries[2]; e.Role != "project.flask" || e.Publication != receipt.Publication || e.Old.IDs[0] != keys[0].Public().ID() || e.New.IDs[0] != keys[0].Public().ID() {
		t.Errorf("the record says %+v", e)
	}
	events, err := f.l.inner.(*ledger.Memory).Events(t.Context(), flask, 2)
	if err != nil || len(events) != 2 || events[1].Kind != publish.EventPromoted || events[1].Token != "operator" || events[1].Publication != receipt.Publication {
		t.Errorf("the owners are told %+v, %v", events, err)
	}
}

// TestR29RequestsAreStale: a request that was made for a state which is gone is refused, with the version that counts.
func TestR29RequestsAreStale(t *testing.T) {
	f := newOffice(t, publishtest.Options{})
	keys, next := people(t, 1), people(t, 1)
	claimed(t, f.p, "flask", keys...)
	claimed(t, f.p, "django", people(t, 1)...)
	r1 := f.sign(t, f.plan(t, sitting.Wishes{Only: []pypi.Project{project(t, "flask")}}))
	r2 := f.sign(t, f.plan(t, sitting.Wishes{Only: []pypi.Project{project(t, "django")}}))

	// The maintainers change their keys while the request is away.
	rekeyed(t, f.p, "flask", 1, next, append(slices.Clone(keys), next...))
	f.unchanged(t, "promoting the keys from before", func() { f.wantStale(t, r1, "project.flask", 2) })
	must(t, f.p, publish.Offline{Request: r2}) // about another project, so it is as good as before
	f.follow(t)
	f.publish(t, sitting.Wishes{Only: []pypi.Project{project(t, "flask")}})
}

// TestOfflineIsStale: the bases of a request have to be the newest versions.
func TestOfflineIsStale(t *testing.T) {
	f := newOffice(t, publishtest.Options{})
	claimed(t, f.p, "flask", people(t, 1)...)
	claimed(t, f.p, "django", people(t, 1)...)
	only := func(name string) sitting.Wishes { return sitting.Wishes{Only: []pypi.Project{project(t, name)}} }
	flask, django := f.sign(t, f.plan(t, only("flask"))), f.sign(t, f.plan(t, only("django")))
	alone := f.sign(t, f.plan(t, sitting.Wishes{Roles: []tuf.RoleName{policy.RoleUnclaimed}}))
	must(t, f.p, publish.Offline{Request: flask})
	f.unchanged(t, "stale requests", func() {
		f.wantStale(t, flask, policy.RoleClaimed, 2) // the same again
		f.wantStale(t, django, policy.RoleClaimed, 2)
	})
	must(t, f.p, publish.Offline{Request: alone}) // replaces unclaimed, whose keys the claimed that it knows names as well
	root := f.sign(t, f.plan(t, sitting.Wishes{Roles: []tuf.RoleName{tuf.RoleRoot}}))
	targets := f.sign(t, f.plan(t, sitting.Wishes{Roles: []tuf.RoleName{tuf.RoleTargets}}))
	must(t, f.p, publish.Offline{Request: root})
	f.unchanged(t, "stale requests", func() {
		f.wantStale(t, root, tuf.RoleRoot, 2)
	})
	must(t, f.p, publish.Offline{Request: targets}) // whose keys are those of the root that it knows
	must(t, f.p, publish.Offline{Request: f.sign(t, f.plan(t, only("django")))})
	f.follow(t)

	other := newOffice(t, publishtest.Options{})
	foreign := other.sign(t, other.plan(t, sitting.Wishes{All: true}))
	f.unchanged(t, "a foreign request", func() {
		var refused *sitting.Refused
		if _, err := f.p.Publish(t.Context(), publish.Offline{Request: foreign}); !errors.As(err, &refused) || refused.Reason != sitting.Foreign {
			t.Errorf("a request of another repository: %v, want it to be foreign", err)
		}
	})
}

// TestOfflineUnsigned: nothing of a request is published before all of it is signed.
func TestOfflineUnsigned(t *testing.T) {
	f := newOffice(t, publishtest.Options{})
	claimed(t, f.p, "flask", people(t, 1)...)
	plan := func() *sitting.Request {
		return f.plan(t, sitting.Wishes{All: true, Only: []pypi.Project{project(t, "flask")}})
	}
	f.unchanged(t, "requests without signatures", func() {
		none, some := plan(), plan()
		if err := publishtest.SignOffline(some, f.now.get(), f.keys[policy.KeyClaimed]); err != nil {
			t.Fatal(err)
		}
		for i := range some.Payloads { // one bin is missing, too
			if some.Payloads[i].Role == "claimed-3" {
				some.Payloads[i].Signatures = nil
			}
		}
		for name, r := range map[string]*sitting.Request{"none": none, "some": some} {
			if _, err := f.p.Publish(t.Context(), publish.Offline{Request: r}); !errors.Is(err, publish.ErrUnsigned) {
				t.Errorf("%s signed: %v, want ErrUnsigned", name, err)
			}
		}
		forged := f.sign(t, plan())
		forged.Payloads[2].Signatures[0].Sig[3] ^= 1
		var refused *sitting.Refused
		if _, err := f.p.Publish(t.Context(), publish.Offline{Request: forged}); !errors.As(err, &refused) || refused.Reason != sitting.BadSignature {
			t.Errorf("a forged signature: %v, want it to be bad", err)
		}
		if _, err := f.p.Publish(t.Context(), publish.Offline{}); !errors.Is(err, publish.ErrInvalid) {
			t.Errorf("nothing: %v, want ErrInvalid", err)
		}
	})
}

// TestOfflineBesideOthers: a sitting that meets other changes in the queue has a publication of its own, and
// everything is published.
func TestOfflineBesideOthers(t *testing.T) {
	f := newOffice(t, publishtest.Options{})
	keys := people(t, 1)
	claimed(t, f.p, "flask", keys...)
	r := f.sign(t, f.plan(t, sitting.Wishes{Only: []pypi.Project{project(t, "flask")}}))
	renewal := f.sign(t, f.plan(t, sitting.Wishes{Roles: []tuf.RoleName{tuf.RoleTargets}}))
	reached, release := f.l.hold()
	changes := []publish.Change{
		add(t, "a-1.tar.gz", "a"), publish.Offline{Request: r}, add(t, "b-1.tar.gz", "a"), publish.Offline{Request: renewal}, add(t, "c-1.tar.gz", "a"),
	}
	errs := make([]error, len(changes))
	var wg sync.WaitGroup
	wg.Go(func() { must(t, f.p, add(t, "first-1.tar.gz", "a")) })
	<-reached
	for i, c := range changes {
		wg.Go(func() { _, errs[i] = f.p.Publish(t.Context(), c) })
		waitFor(t, func() bool { return f.p.Status().Waiting > i })
	}
	release()
	wg.Wait()
	for i, err := range errs {
		if err != nil {
			t.Errorf("change %d: %v", i, err)
		}
	}
	for _, name := range []string{"a", "b", "c"} {
		wantNames(t, f.p, name, name+"-1.tar.gz")
	}
	f.follow(t)
	check(t, f.l)
}

// TestOfflineFaults breaks each step of the ledger under a sitting, in each way, and recovers.
func TestOfflineFaults(t *testing.T) {
	for _, method := range []string{"Metadata", "Commit"} {
		for _, o := range []outcome{nothingDone, doneButFailed} {
			for _, reopen := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/%d/reopen=%v", method, o, reopen), func(t *testing.T) { testOfflineFault(t, method, o, reopen) })
			}
		}
	}
}

func testOfflineFault(t *testing.T, method string, o outcome, reopen bool) {
	f := &office{l: newFaulty(ledger.NewMemory()), now: new(atomicTime)}
	f.now.set(publishtest.Start())
	f.keys = publishtest.Create(t, f.l, publishtest.Options{})
	f.config = publish.Config{Ledger: f.l, Signers: f.keys.Online(), Now: f.now.get}
	p, stop, err := publishtest.Open(f.config)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { stop() }()
	f.p = p
	root, err := f.l.Metadata(t.Context(), tuf.RoleRoot, 1)
	if err != nil {
		t.Fatal(err)
	}
	f.first, f.clients = root.Bytes, []*pinned{{}}
	keys := people(t, 1)
	claimed(t, f.p, "flask", keys...)
	f.release(t, "flask-1.tar.gz", keys...)
	f.follow(t)
	r := f.sign(t, f.plan(t, sitting.Wishes{All: true, Only: []pypi.Project{project(t, "flask")}}))
	before := f.p.Current().Number()

	f.l.set(method, o)
	_, err = f.p.Publish(t.Context(), publish.Offline{Request: r})
	f.l.clear()
	if err != nil && !errors.Is(err, errInjected) {
		t.Errorf("the sitting: %v, want the ledger's error", err)
	}
	check(t, f.l)
	if reopen {
		stop()
		if f.p, stop, err = publishtest.Open(f.config); err != nil {
			t.Fatal(err)
		}
	}
	// Whatever the answer was, asking again is safe.
	_, again := f.p.Publish(t.Context(), publish.Offline{Request: r})
	var refused *sitting.Refused
	done := errors.As(again, &refused) && refused.Reason == sitting.Stale
	if again != nil && !done {
		t.Errorf("once more: %v", again)
	}
	f.wantAssurance(t, "flask-1.tar.gz", policy.Claimed, 2)
	if n := f.p.Current().Number(); n != before+1 {
		t.Errorf("%d publications were made, want 1", n-before)
	}
	wantRecord(t, f.p, record.Claimed, record.Promoted)
	check(t, f.l)
}

// TestOfflineExpired: roles that have expired come back by a request that has them; one that leaves them out is refused.
func TestOfflineExpired(t *testing.T) {
	f := newOffice(t, publishtest.Options{})
	must(t, f.p, add(t, "flask-1.tar.gz", "a"))
	f.now.set(publishtest.Start().AddDate(1, 1, 0)) // everything has expired
	if _, err := f.p.Publish(t.Context(), add(t, "flask-2.tar.gz", "a")); err == nil {
		t.Error("published on an expired root")
	}
	some := f.sign(t, f.plan(t, sitting.Wishes{Roles: []tuf.RoleName{tuf.RoleTargets}}))
	f.unchanged(t, "half of what has expired", func() {
		if _, err := f.p.Publish(t.Context(), publish.Offline{Request: some}); !errors.Is(err, publish.ErrExpired) {
			t.Errorf("published with %v, want ErrExpired", err)
		}
	})
	all := f.sign(t, f.plan(t, sitting.Wishes{All: true, Roles: []tuf.RoleName{tuf.RoleRoot}}))
	must(t, f.p, publish.Offline{Request: all})
	must(t, f.p, add(t, "flask-2.tar.gz", "a"))
	f.wantAssurance(t, "flask-2.tar.gz", policy.Unclaimed, 2)
	wantRecord(t, f.p, record.Root)
}

// TestExpiringIsTold: whoever opens signing requests hears in time what people have to sign.
func TestExpiringIsTold(t *testing.T) {
	told := make(chan []publish.Role, 10)
	var now atomicTime
	now.set(publishtest.Start().Add(340 * 24 * time.Hour))
	l := ledger.NewMemory()
	keys := publishtest.Create(t, l, publishtest.Options{})
	p, stop, err := publishtest.Open(publish.Config{
		Ledger: l, Signers: keys.Online(), Now: now.get,
		Expiring: func(_ context.Context, v *publish.View, roles []publish.Role) {
			if v == nil {
				t.Error("told without a view")
			}
			told <- roles
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	roles := <-told
	stop()
	var names []string
	for _, r := range roles {
		names = append(names, string(r.Name))
	}
	text := strings.Join(names, " ")
	for _, want := range []string{"root", "targets", "claimed", "unclaimed", "claimed-0"} {
		if !slices.Contains(names, want) {
			t.Errorf("%s is not among %s", want, text)
		}
	}
	if slices.Contains(names, "timestamp") || slices.Contains(names, "unclaimed-0") {
		t.Errorf("what the server renews is among %s", text)
	}
	_ = p
}

// brittle is a key that fails from some moment on.
type brittle struct {
	key.Signer
	broken atomic.Bool
}

func (b *brittle) Sign(ctx context.Context, message []byte) ([]byte, error) {
	if b.broken.Load() {
		return nil, errInjected
	}
	return b.Signer.Sign(ctx, message)
}

// TestOfflineIsWhole: if the online half of what operators signed can not be made, nothing of it is published, and
// the same request is good afterwards.
func TestOfflineIsWhole(t *testing.T) {
	for _, role := range []policy.KeyRole{policy.KeyRegistry, policy.KeySnapshot, policy.KeyTimestamp} {
		t.Run(string(role), func(t *testing.T) {
			hand := new(brittle)
			f := newOffice(t, publishtest.Options{}, func(c *publish.Config) {
				for r, s := range map[policy.KeyRole]*key.Signer{
					policy.KeyRegistry: &c.Signers.Registry, policy.KeySnapshot: &c.Signers.Snapshot, policy.KeyTimestamp: &c.Signers.Timestamp,
				} {
					if r == role {
						hand.Signer = *s
						*s = hand
					}
				}
			})
			must(t, f.p, add(t, "free-1.tar.gz", "a"))
			claimed(t, f.p, "flask", people(t, 1)...)
			r := f.sign(t, f.plan(t, sitting.Wishes{Only: []pypi.Project{project(t, "flask")}}))
			hand.broken.Store(true)
			f.unchanged(t, "a key that fails", func() {
				if _, err := f.p.Publish(t.Context(), publish.Offline{Request: r}); !errors.Is(err, errInjected) {
					t.Errorf("published with %v, want the key's error", err)
				}
			})
			hand.broken.Store(false)
			must(t, f.p, publish.Offline{Request: r})
			f.follow(t)
			wantRecord(t, f.p, record.Claimed, record.Promoted)
			check(t, f.l)
		})
	}
}
