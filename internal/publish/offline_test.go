package publish_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

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
	"example.com/bailiwick/tuf/trust"
)

// office is a repository with its operators: a running publisher, the keys of all roles, a clock, and clients
// that follow from its first root.
type office struct {
	p       *publish.Publisher
	l       *faulty
	keys    publishtest.Keys
	now     *atomicTime
	config  publish.Config
	first   []byte
	clients []*pinned
}

func newOffice(t *testing.T, o publishtest.Options, edit ...func(c *publish.Config)) *office {
	t.Helper()
	f := &office{l: newFaulty(ledger.NewMemory()), now: new(atomicTime)}
	f.now.set(publishtest.Start())
	f.keys = publishtest.Create(t, f.l, o)
	f.config = publish.Config{Ledger: f.l, Signers: f.keys.Online(), Now: f.now.get}
	for _, e := range edit {
		e(&f.config)
	}
	f.p = publishtest.Run(t, f.config)
	root, err := f.l.Metadata(t.Context(), tuf.RoleRoot, 1)
	if err != nil {
		t.Fatal(err)
	}
	f.first = root.Bytes
	f.clients = []*pinned{{}}
	f.follow(t)
	return f
}

// pinned is a client that was given the first root, and remembers what it saw.
type pinned struct{ set *trust.Set }

// follow has every client take the newest publication, and one more that knows nothing but the first root.
func (f *office) follow(t *testing.T) {
	t.Helper()
	for _, c := range append(slices.Clone(f.clients), &pinned{}) {
		if err := c.update(t, f); err != nil {
			t.Fatalf("a client can not follow to publication %d: %v", f.p.Current().Number(), err)
		}
	}
}

func (c *pinned) update(t *testing.T, f *office) error {
	view := f.p.Current()
	read := func(w trust.Want) ([]byte, error) { return view.Metadata(t.Context(), w.Role, w.Version) }
	var roots *trust.RootStage
	var err error
	if c.set == nil {
		roots, err = trust.Begin(f.first, f.now.get(), trust.Options{})
	} else {
		roots = c.set.Next(f.now.get())
	}
	if err != nil {
		return err
	}
	for {
		want, _ := roots.Want()
		data, err := read(want)
		if errors.Is(err, publish.ErrNotFound) {
			break
		}
		if err != nil {
			return err
		}
		if _, err := roots.Accept(data); err != nil {
			return err
		}
	}
	timestamps, err := roots.Done()
	if err != nil {
		return err
	}
	snapshots, err := timestamps.Accept(view.Timestamp())
	if err != nil {
		return err
	}
	targets, ok := snapshots.Keep()
	if !ok {
		data, err := read(snapshots.Want())
		if err != nil {
			return err
		}
		if targets, err = snapshots.Accept(data); err != nil {
			return err
		}
	}
	if set, ok := targets.Keep(); ok {
		c.set = set
		return nil
	}
	data, err := read(targets.Want())
	if err != nil {
		return err
	}
	c.set, err = targets.Accept(data)
	return err
}

// find returns what the client gets for a file.
func (c *pinned) find(t *testing.T, f *office, file string) (*trust.Found, error) {
	t.Helper()
	name, err := pypi.ParseFilename(file)
	if err != nil {
		t.Fatal(err)
	}
	view := f.p.Current()
	return c.set.Find(view.Layout().Path(name.Project(), name), func(role tuf.RoleName, meta tuf.Meta) ([]byte, error) {
		return view.Metadata(t.Context(), role, meta.Version)
	})
}

// wantAssurance checks what every client gets for a file, and on whose word.
func (f *office) wantAssurance(t *testing.T, file string, want policy.Assurance, version int64) {
	t.Helper()
	f.follow(t)
	for _, c := range f.clients {
		found, err := c.find(t, f, file)
		if err != nil {
			t.Errorf("a client does not get %s: %v", file, err)
			continue
		}
		var chain []policy.ChainLink
		for _, l := range found.Chain {
			chain = append(chain, policy.ChainLink{Role: l.Role, Keys: l.Authority.KeyIDs()})
		}
		last := found.Chain[len(found.Chain)-1]
		if got := policy.Assess(chain); got != want || last.Version != version {
			t.Errorf("%s is %s at version %d of %s, want %s at version %d", file, got, last.Version, last.Role, want, version)
		}
	}
}

func (f *office) state(t *testing.T) sitting.State {
	return f.p.Current().Sitting(t.Context(), f.now.get(), policy.DefaultLifetimes())
}

// plan makes a request, without the signatures of offline keys.
func (f *office) plan(t *testing.T, w sitting.Wishes) *sitting.Request {
	t.Helper()
	r, err := sitting.Plan(t.Context(), f.state(t), w)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (f *office) sign(t *testing.T, r *sitting.Request, more ...key.Signer) *sitting.Request {
	t.Helper()
	if err := publishtest.SignOffline(r, f.now.get(), append(f.keys.Offline(), more...)...); err != nil {
		t.Fatal(err)
	}
	return r
}

// publish plans, signs and publishes.
func (f *office) publish(t *testing.T, w sitting.Wishes) publish.Receipt {
	t.Helper()
	receipt := must(t, f.p, publish.Offline{Request: f.sign(t, f.plan(t, w)), Token: "operator"})
	f.follow(t)
	check(t, f.l)
	return receipt
}

func (f *office) release(t *testing.T, name string, signers ...key.Signer) {
	t.Helper()
	file := staged(t, name)
	d := publishtest.Draft{Kind: ceremony.Release, Add: []publish.File{file}}
	must(t, f.p, publish.Sign{Request: f.request(t, file.Project.String(), d, signers...), Staged: []publish.File{file}})
}

// request is the one of sign_test.go, by the clock of the office.
func (f *office) request(t *testing.T, name string, d publishtest.Draft, signers ...key.Signer) *ceremony.Request {
	t.Helper()
	r, err := d.On(standing(t, f.p, name), f.now.get())
	if err == nil {
		err = publishtest.Sign(r, "", signers...)
	}
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (f *office) unchanged(t *testing.T, doing string, do func()) {
	t.Helper()
	number := f.p.Current().Number()
	do()
	if n := f.p.Current().Number(); n != number {
		t.Errorf("%s: publication %d was made", doing, n)
	}
	check(t, f.l)
}

// wantStale publishes a request and checks that it is refused for its age.
func (f *office) wantStale(t *testing.T, r *sitting.Request, role tuf.RoleName, version int64) {
	t.Helper()
	_, err := f.p.Publish(t.Context(), publish.Offline{Request: r})
	var refused *sitting.Refused
	if !errors.As(err, &refused) || refused.Reason != sitting.Stale || refused.Role != role || refused.Version != version {
		t.Errorf("published with %v; want it to be stale, %s being at version %d", err, role, version)
	}
}

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

func (f *office) load(t *testing.T) trust.Loader {
	view := f.p.Current()
	return func(role tuf.RoleName, meta tuf.Meta) ([]byte, error) {
		return view.Metadata(t.Context(), role, meta.Version)
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

// TestR36RecoveryTakesItsTime: operators give a project to other keys after the delay that was announced, never before,
// to no other keys, and not if its maintainers were there after all.
func TestR36RecoveryTakesItsTime(t *testing.T) {
	const delay = 10 * 24 * time.Hour
	for _, promoted := range []bool{false, true} {
		t.Run(fmt.Sprintf("promoted=%v", promoted), func(t *testing.T) {
			f := newOffice(t, publishtest.Options{}, func(c *publish.Config) { c.RecoveryDelay = delay })
			old, next, wrong := people(t, 1), people(t, 1), people(t, 1)
			claimed(t, f.p, "flask", old...)
			f.release(t, "flask-1.tar.gz", old...)
			if promoted {
				f.publish(t, sitting.Wishes{Only: []pypi.Project{project(t, "flask")}})
			}
			recoveryTo := func(keys []key.Signer) *sitting.Request {
				d := publishtest.Draft{Kind: ceremony.Rekey, Keys: keys}
				return f.sign(t, f.plan(t, sitting.Wishes{Recoveries: []*ceremony.Request{f.request(t, "flask", d, keys...)}}))
			}
			fails := func(r *sitting.Request, want error) {
				t.Helper()
				f.unchanged(t, "a recovery", func() {
					if _, err := f.p.Publish(t.Context(), publish.Offline{Request: r}); !errors.Is(err, want) {
						t.Errorf("published with %v, want %v", err, want)
					}
				})
			}
			fails(recoveryTo(next), publish.ErrNoRecovery)
			if _, err := f.p.Announce(t.Context(), announcement(t, "flask", next...)); err != nil {
				t.Fatal(err)
			}
			fails(recoveryTo(next), publish.ErrTooEarly)
			f.now.set(publishtest.Start().Add(delay - time.Second))
			fails(recoveryTo(next), publish.ErrTooEarly)
			f.now.set(publishtest.Start().Add(delay))
			fails(recoveryTo(wrong), publish.ErrInvalid)
			must(t, f.p, publish.Offline{Request: recoveryTo(next), Token: "operator"})
			f.wantAssurance(t, "flask-1.tar.gz", policy.Claimed, 3)
			want := []record.Kind{record.Claimed, record.RecoveryAnnounced, record.Recovered}
			if promoted {
				want = []record.Kind{record.Claimed, record.Promoted, record.RecoveryAnnounced, record.Recovered}
			}
			entries := wantRecord(t, f.p, want...)
			last := entries[len(entries)-1]
			if last.Old.IDs[0] != old[0].Public().ID() || last.New.IDs[0] != next[0].Public().ID() || last.Time.Before(entries[len(entries)-2].NotBefore) {
				t.Errorf("the record says %+v", last)
			}
			f.release(t, "flask-2.tar.gz", next...)
			f.wantAssurance(t, "flask-2.tar.gz", policy.Claimed, 4)
			if waits := f.p.Current().Recoveries(); len(waits) != 0 {
				t.Errorf("%+v waits after it took effect", waits)
			}
			check(t, f.l)
		})
	}
}

// TestR65ParkedProjects: the offline key signs the last list as it is; nothing can be added online, and the registry does
// not renew it.
func TestR65ParkedProjects(t *testing.T) {
	f := newOffice(t, publishtest.Options{})
	keys := people(t, 1)
	claimed(t, f.p, "flask", keys...)
	f.release(t, "flask-1.tar.gz", keys...)
	f.publish(t, sitting.Wishes{Only: []pypi.Project{project(t, "flask")}})
	f.publish(t, sitting.Wishes{Park: []pypi.Project{project(t, "flask")}})
	f.follow(t)
	for _, c := range f.clients {
		found, err := c.find(t, f, "flask-1.tar.gz")
		if err != nil {
			t.Fatal(err)
		}
		if last := found.Chain[len(found.Chain)-1]; last.Version != 3 || last.Signers[0] != f.keys[policy.KeyClaimed].Public().ID() {
			t.Errorf("the parked list is version %d, signed by %v", last.Version, last.Signers)
		}
	}
	if _, err := f.p.Publish(t.Context(), add(t, "flask-2.tar.gz", "a")); !errors.Is(err, publish.ErrNotRegistry) {
		t.Errorf("an upload to a parked project: %v, want ErrNotRegistry", err)
	}
	wantRecord(t, f.p, record.Claimed, record.Promoted, record.Parked)
	roles, err := f.l.Roles(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(roles, func(r publish.Role) bool { return r.Name == "project.flask" })
	if !roles[i].Maintained {
		t.Error("the registry is to renew the parked project")
	}
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

// waitFor waits until something that another goroutine does is done.
func waitFor(t *testing.T, done func() bool) {
	t.Helper()
	for !done() {
		if t.Context().Err() != nil {
			t.Fatal("the test has ended")
		}
		time.Sleep(time.Millisecond)
	}
}

// rotate gives a key role another key, and returns it.
func (f *office) rotate(t *testing.T, role policy.KeyRole) key.Signer {
	t.Helper()
	next := people(t, 1)[0]
	if role.Online() {
		f.p.AddSigner(next)
	}
	r, err := sitting.Rotate(f.state(t), sitting.Wishes{}, sitting.Rotation{Role: role, Keys: []*key.Public{next.Public()}, Threshold: 1})
	if err != nil {
		t.Fatal(err)
	}
	must(t, f.p, publish.Offline{Request: f.sign(t, r, next)})
	f.keys[role] = next
	return next
}

// TestR4EveryKeyCanBeChanged: one key of the repository after the other, and clients that know nothing but
// the first root follow, as do those that looked at every step.
func TestR4EveryKeyCanBeChanged(t *testing.T) {
	f := newOffice(t, publishtest.Options{})
	keys := people(t, 1)
	must(t, f.p, add(t, "free-1.tar.gz", "a"))
	claimed(t, f.p, "flask", keys...)
	f.release(t, "flask-1.tar.gz", keys...)
	claimed(t, f.p, "django", people(t, 1)...)
	f.publish(t, sitting.Wishes{Only: []pypi.Project{project(t, "flask")}})
	seldom := &pinned{}
	if err := seldom.update(t, f); err != nil {
		t.Fatal(err)
	}
	version := int64(1)
	for i, role := range policy.KeyRoles() {
		f.rotate(t, role)
		if role == policy.KeyRegistry {
			version++ // signed anew by the new key
		}
		f.wantAssurance(t, "flask-1.tar.gz", policy.Claimed, 2)
		f.wantAssurance(t, "free-1.tar.gz", policy.Unclaimed, version)
		must(t, f.p, add(t, fmt.Sprintf("other-%d.tar.gz", i), "a"))
		must(t, f.p, add(t, "another"+string(role)+"-1.tar.gz", "a"))
		check(t, f.l)
	}
	if err := seldom.update(t, f); err != nil {
		t.Errorf("a client that was away can not follow: %v", err)
	}
	f.follow(t)
	entries := wantRecord(t, f.p, record.Claimed, record.Claimed, record.Promoted,
		record.Root, record.Root, record.KeysChanged, record.KeysChanged, record.KeysChanged, record.Root, record.Root)
	for _, e := range entries[3:] {
		if len(e.New.IDs) != 1 || len(e.Old.IDs) != 1 || e.New.IDs[0] == e.Old.IDs[0] {
			t.Errorf("the record says %+v", e)
		}
	}

	// A restart needs the new keys, and no old one.
	if _, err := publish.Open(t.Context(), f.config); !errors.Is(err, publish.ErrWrongKey) {
		t.Errorf("opened with the old keys: %v, want ErrWrongKey", err)
	}
	f.config.Signers = f.keys.Online()
	if _, err := publish.Open(t.Context(), f.config); err != nil {
		t.Error(err)
	}
	f.config.Signers = publishtest.NewKeys(t).Online()
	f.config.Signers.Others = []key.Signer{f.keys[policy.KeyTimestamp], f.keys[policy.KeyRegistry], f.keys[policy.KeySnapshot]}
	if _, err := publish.Open(t.Context(), f.config); err != nil {
		t.Errorf("with the right keys among the others: %v", err)
	}
}

// TestOnlineKeyNotAtHand: a request that names an online key which the server does not have is refused, instead of being
// the last publication.
func TestOnlineKeyNotAtHand(t *testing.T) {
	f := newOffice(t, publishtest.Options{})
	must(t, f.p, add(t, "free-1.tar.gz", "a"))
	for _, role := range []policy.KeyRole{policy.KeyTimestamp, policy.KeySnapshot, policy.KeyRegistry} {
		next := people(t, 1)[0]
		r, err := sitting.Rotate(f.state(t), sitting.Wishes{}, sitting.Rotation{Role: role, Keys: []*key.Public{next.Public()}, Threshold: 1})
		if err != nil {
			t.Fatal(err)
		}
		f.sign(t, r)
		f.unchanged(t, "a key that is not at hand", func() {
			if _, err := f.p.Publish(t.Context(), publish.Offline{Request: r}); !errors.Is(err, publish.ErrWrongKey) {
				t.Errorf("%s: %v, want ErrWrongKey", role, err)
			}
		})
		f.p.AddSigner(next)
		must(t, f.p, publish.Offline{Request: r})
		f.follow(t)
	}
}

// TestR4RegistryRotation: every bin and every one of a thousand projects is signed by the new registry key in one
// publication; nothing that the old one signs counts any more.
func TestR4RegistryRotation(t *testing.T) {
	const projects = 1000
	f := newOffice(t, publishtest.Options{}, func(c *publish.Config) { c.Queue = projects + 10 })
	var wg sync.WaitGroup
	for i := range projects {
		c := add(t, fmt.Sprintf("p%d-1.tar.gz", i), "a")
		wg.Go(func() {
			if _, err := f.p.Publish(t.Context(), c); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	claimed(t, f.p, "p0", people(t, 1)...)
	before := f.p.Current().Number()
	old := f.keys[policy.KeyRegistry].Public().ID()
	next := f.rotate(t, policy.KeyRegistry)
	if n := f.p.Current().Number(); n != before+1 {
		t.Errorf("the rotation took %d publications, want 1", n-before)
	}
	f.follow(t)
	set, load := f.p.Current().Set(), f.load(t)
	seen := 0
	for bin := range f.p.Current().Layout().BinNames() {
		b, err := set.Delegated(load, f.p.Current().Layout().UnclaimedBinChain(bin)...)
		if err != nil {
			t.Fatal(err)
		}
		for d := range b.Delegations().All() {
			a, err := d.Authority()
			if err != nil {
				t.Fatal(err)
			}
			if _, ok := a.Key(old); ok {
				t.Errorf("%s is signed by the old key", d.Name())
			}
			if _, ok := a.Key(next.Public().ID()); ok {
				seen++
			}
		}
	}
	if seen != projects-1 {
		t.Errorf("%d projects have the new key, want %d: all but the claimed one", seen, projects-1)
	}
	f.wantAssurance(t, "p7-1.tar.gz", policy.Unclaimed, 2)
	f.wantAssurance(t, "p0-1.tar.gz", policy.RecentlyClaimed, 2)
	must(t, f.p, add(t, "p7-2.tar.gz", "a"))
	check(t, f.l)
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
