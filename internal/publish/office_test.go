package publish_test

import (
	"errors"
	"runtime"
	"slices"
	"testing"

	"example.com/bailiwick/internal/ceremony"
	"example.com/bailiwick/internal/ledger"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/internal/publish/publishtest"
	"example.com/bailiwick/internal/pypi"
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

func (f *office) load(t *testing.T) trust.Loader {
	view := f.p.Current()
	return func(role tuf.RoleName, meta tuf.Meta) ([]byte, error) {
		return view.Metadata(t.Context(), role, meta.Version)
	}
}

// waitFor waits until something that another goroutine does is done.
func waitFor(t *testing.T, done func() bool) {
	t.Helper()
	for !done() {
		if t.Context().Err() != nil {
			t.Fatal("the test has ended")
		}
		runtime.Gosched()
	}
}
