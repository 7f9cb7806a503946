package custody_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/bailiwick/internal/ceremony"
	"example.com/bailiwick/internal/custody"
	"example.com/bailiwick/internal/ledger"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/internal/publish/publishtest"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/internal/sitting"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/client"
	"example.com/bailiwick/tuf/key"
	"example.com/bailiwick/tuf/trust"
)

// world is an index in strict custody: a publisher that holds the timestamp key, a signer that holds the registry
// and snapshot keys, and a clock.
type world struct {
	testing.TB
	l      *ledger.Memory
	keys   publishtest.Keys
	clock  *clock
	p      *publish.Publisher
	stop   func()
	desk   *desk
	memory *memory
	held   []*counted // the signer's keys
}

type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// counted counts what a key signs.
type counted struct {
	key.Signer
	mu sync.Mutex
	n  int
}

func (c *counted) Sign(ctx context.Context, message []byte) ([]byte, error) {
	c.mu.Lock()
	c.n++
	c.mu.Unlock()
	return c.Signer.Sign(ctx, message)
}

func newWorld(t testing.TB, o publishtest.Options) *world {
	t.Helper()
	w := &world{TB: t, l: ledger.NewMemory(), clock: &clock{at: publishtest.Start()}, memory: &memory{}, desk: &desk{}}
	w.keys = publishtest.Create(t, w.l, o)
	for _, role := range []policy.KeyRole{policy.KeyRegistry, policy.KeySnapshot} {
		w.hold(w.keys[role])
	}
	w.start()
	t.Cleanup(func() { w.stop() })
	return w
}

// hold gives the signer a key.
func (w *world) hold(s key.Signer) {
	w.held = append(w.held, &counted{Signer: s})
	w.desk.set(func(d *desk) { d.signer, d.keys = w.signer(), append(d.keys, s.Public().ID()) })
}

// signed is how many signatures the signer's keys have made.
func (w *world) signed() int {
	n := 0
	for _, k := range w.held {
		k.mu.Lock()
		n += k.n
		k.mu.Unlock()
	}
	return n
}

// signer starts the signer, with the memory that it has.
func (w *world) signer() *custody.Signer {
	w.Helper()
	first, err := w.l.Metadata(w.Context(), tuf.RoleRoot, 1)
	if err != nil {
		w.Fatal(err)
	}
	c := custody.Config{Memory: w.memory, Repository: newFollower(w, first.Bytes), Name: custody.ID(first.Bytes), Now: w.clock.now}
	for _, k := range w.held {
		c.Keys = append(c.Keys, k)
	}
	s, err := custody.NewSigner(c)
	if err != nil {
		w.Fatal(err)
	}
	return s
}

// start runs the server.
func (w *world) start() {
	w.Helper()
	w.startWith(w.l)
}

// startWith runs it on a ledger that stands for the one of the world.
func (w *world) startWith(l interface {
	publish.Ledger
	publish.Proposals
},
) {
	w.Helper()
	var err error
	w.p, w.stop, err = publishtest.Open(publish.Config{
		Ledger: l, Signers: publish.Signers{Timestamp: w.keys[policy.KeyTimestamp]},
		Countersign: w.desk, Proposals: l, Now: w.clock.now, RecoveryDelay: time.Hour,
	})
	if err != nil {
		w.Fatal(err)
	}
}

// desk is the way from the publisher to the signer, for tests.
type desk struct {
	mu      sync.Mutex
	signer  *custody.Signer
	keys    []key.ID
	gone    bool                       // nobody is there
	before  func([]byte) bool          // false: the proposal gets lost on its way
	after   func(*custody.Answer) bool // false: the answer gets lost on its way
	last    []byte                     // proposal
	answer  *custody.Answer            // to it
	refused []*custody.Refused
}

func (d *desk) set(do func(d *desk)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	do(d)
}

// sent returns the proposal that was sent last.
func (d *desk) sent() []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.last
}

// refusals returns what the signer has refused.
func (d *desk) refusals() []*custody.Refused {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.refused)
}

func (d *desk) Ready() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return !d.gone
}

func (d *desk) Keys() []key.ID {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.keys
}

func (d *desk) Countersign(ctx context.Context, proposal []byte) (*custody.Answer, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.last = bytes.Clone(proposal)
	if d.gone || d.before != nil && !d.before(proposal) {
		return nil, publish.ErrNoSigner
	}
	d.answer = d.signer.Consider(ctx, bytes.Clone(proposal))
	if d.answer.Refused != nil {
		d.refused = append(d.refused, d.answer.Refused)
	}
	if d.after != nil && !d.after(d.answer) {
		return nil, publish.ErrNoSigner
	}
	data, err := d.answer.Encode()
	if err != nil {
		return nil, err
	}
	return custody.DecodeAnswer(data)
}

// memory is a custody.Memory, for tests.
type memory struct {
	last    *custody.Signed
	retired map[tuf.TargetPath]bool
	fail    error
}

func (m *memory) Last(context.Context) (*custody.Signed, error) { return m.last, nil }

func (m *memory) Keep(_ context.Context, s *custody.Signed, retired []tuf.TargetPath) error {
	if m.fail != nil {
		return m.fail
	}
	m.last = s
	for _, path := range retired {
		if m.retired == nil {
			m.retired = make(map[tuf.TargetPath]bool)
		}
		m.retired[path] = true
	}
	return nil
}

func (m *memory) Retired(_ context.Context, path tuf.TargetPath) (bool, error) {
	return m.retired[path], nil
}

// follower is a custody.Repository over the ledger: the client of tuf/client, as in the signer's process.
type follower struct {
	w      *world
	client *client.Client
	at     time.Time
}

func newFollower(w *world, root []byte) *follower {
	w.Helper()
	f := &follower{w: w}
	var err error
	f.client, err = client.New(client.Config{Fetcher: f, Store: client.NewMemory(), Root: root, Now: func() time.Time { return f.at }})
	if err != nil {
		w.Fatal(err)
	}
	return f
}

func (f *follower) Current(ctx context.Context, at time.Time) (*trust.Set, trust.Loader, error) {
	f.at = at
	view, err := f.client.Refresh(ctx)
	if err != nil {
		return nil, nil, err
	}
	return view.Set(), func(role tuf.RoleName, meta tuf.Meta) ([]byte, error) {
		m, err := f.w.l.Metadata(ctx, role, meta.Version)
		return m.Bytes, err
	}, nil
}

func (f *follower) Metadata(ctx context.Context, name string, _ int64) ([]byte, error) {
	role, version := strings.TrimSuffix(name, ".json"), int64(0)
	if head, rest, ok := strings.Cut(role, "."); ok {
		if n, err := strconv.ParseInt(head, 10, 64); err == nil {
			role, version = rest, n
		}
	}
	m, err := f.w.l.Metadata(ctx, tuf.RoleName(role), version)
	if errors.Is(err, publish.ErrNotFound) {
		return nil, client.ErrAbsent
	}
	return m.Bytes, err
}

func (f *follower) Target(context.Context, string, int64) (io.ReadCloser, error) {
	return nil, client.ErrAbsent
}

// must publishes a change, and checks that a client can follow and that the whole repository holds together.
func (w *world) must(c publish.Change) publish.Receipt {
	w.Helper()
	r, err := w.p.Publish(w.Context(), c)
	if err != nil {
		w.Fatalf("publishing %T: %v (the signer refused %v)", c, err, w.desk.refusals())
	}
	w.check()
	return r
}

// check follows as a client that knows the first root alone.
func (w *world) check() {
	w.Helper()
	first, err := w.l.Metadata(w.Context(), tuf.RoleRoot, 1)
	if err != nil {
		w.Fatal(err)
	}
	if _, _, err := newFollower(w, first.Bytes).Current(w.Context(), w.clock.now()); err != nil {
		w.Fatalf("a client can not follow: %v", err)
	}
	if err := publish.Check(w.Context(), w.l); err != nil {
		w.Fatalf("the repository does not check: %v", err)
	}
}

func (w *world) file(name string) publish.File {
	w.Helper()
	f := publishtest.File(w, name, "content of "+name)
	f.Uploaded = w.clock.now()
	return f
}

func (w *world) add(name string) publish.AddFile { return publish.AddFile{File: w.file(name)} }

func (w *world) project(name string) pypi.Project {
	w.Helper()
	p, err := pypi.ParseProject(name)
	if err != nil {
		w.Fatal(err)
	}
	return p
}

func (w *world) filename(name string) pypi.Filename {
	w.Helper()
	f, err := pypi.ParseFilename(name)
	if err != nil {
		w.Fatal(err)
	}
	return f
}

// people makes keys for maintainers.
func (w *world) people(n int) []key.Signer {
	w.Helper()
	out := make([]key.Signer, n)
	for i := range out {
		_, s, err := key.GenerateEd25519()
		if err != nil {
			w.Fatal(err)
		}
		out[i] = s
	}
	return out
}

// sign makes a signing request of maintainers on the project as it stands.
func (w *world) sign(name string, d publishtest.Draft, signers ...key.Signer) publish.Sign {
	w.Helper()
	s, err := w.p.Current().Standing(w.Context(), w.project(name))
	if err != nil {
		w.Fatal(err)
	}
	if d.Kind == ceremony.Claim {
		adopted, err := publishtest.Adopt(s)
		if err != nil {
			w.Fatal(err)
		}
		d.Edit.Put = append(d.Edit.Put, adopted...)
	}
	r, err := d.On(s, w.clock.now())
	if err == nil {
		err = publishtest.Sign(r, "", signers...)
	}
	if err != nil {
		w.Fatal(err)
	}
	return publish.Sign{Request: r, Staged: d.Add, Token: "token"}
}

func (w *world) claim(name string, keys ...key.Signer) {
	w.Helper()
	w.must(w.sign(name, publishtest.Draft{Kind: ceremony.Claim, Keys: keys}, keys...))
}

func (w *world) release(file string, keys ...key.Signer) publish.Sign {
	w.Helper()
	f := w.file(file)
	return w.sign(f.Project.String(), publishtest.Draft{Kind: ceremony.Release, Add: []publish.File{f}}, keys...)
}

func (w *world) state() sitting.State {
	return w.p.Current().Sitting(w.Context(), w.clock.now(), policy.DefaultLifetimes())
}

// offline signs a request of operators.
func (w *world) offline(r *sitting.Request, err error, more ...key.Signer) publish.Offline {
	w.Helper()
	if err == nil {
		err = publishtest.SignOffline(r, w.clock.now(), append(w.keys.Offline(), more...)...)
	}
	if err != nil {
		w.Fatal(err)
	}
	return publish.Offline{Request: r, Token: "operator"}
}

func (w *world) plan(wishes sitting.Wishes) publish.Offline {
	w.Helper()
	return w.offline(sitting.Plan(w.Context(), w.state(), wishes))
}

// files returns what clients find of a project.
func (w *world) files(name string) []string {
	w.Helper()
	found, _, err := w.p.Current().Project(w.Context(), w.project(name))
	if errors.Is(err, trust.ErrNotFound) {
		return nil
	}
	if err != nil {
		w.Fatal(err)
	}
	var names []string
	for _, f := range found {
		path := string(f.Target.Path)
		names = append(names, path[strings.LastIndexByte(path, '/')+1:])
	}
	slices.Sort(names)
	return names
}

func (w *world) wantFiles(name string, want ...string) {
	w.Helper()
	if got := w.files(name); fmt.Sprint(got) != fmt.Sprint(want) {
		w.Errorf("clients find %v of %s, want %v", got, name, want)
	}
}
