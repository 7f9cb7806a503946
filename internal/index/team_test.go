package index_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"example.com/bailiwick/internal/ceremony"
	"example.com/bailiwick/internal/files"
	"example.com/bailiwick/internal/index"
	"example.com/bailiwick/internal/ledger"
	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/internal/publish/publishtest"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/internal/pypi/distmake"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
)

// records wraps a store of requests. Tests set which method fails, before or after its effect.
type records struct {
	index.Records
	mu     sync.Mutex
	fail   string
	effect bool
}

func (r *records) set(method string, effect bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fail, r.effect = method, effect
}

// of reports whether a method is to fail, and whether it is to have its effect first.
func (r *records) of(method string) (fails, effect bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.fail == method, r.effect
}

func faulted[T any](r *records, method string, do func() (T, error)) (T, error) {
	fails, effect := r.of(method)
	if fails && !effect {
		var none T
		return none, errInjected
	}
	v, err := do()
	if fails {
		return v, errors.Join(err, errInjected)
	}
	return v, err
}

func (r *records) AddStaged(ctx context.Context, f publish.File, e publish.Event) (bool, error) {
	return faulted(r, "AddStaged", func() (bool, error) { return r.Records.AddStaged(ctx, f, e) })
}

func (r *records) Staged(ctx context.Context, p pypi.Project) ([]publish.File, error) {
	return faulted(r, "Staged", func() ([]publish.File, error) { return r.Records.Staged(ctx, p) })
}

func (r *records) RemoveStaged(ctx context.Context, n pypi.Filename, e publish.Event) (int, error) {
	return faulted(r, "RemoveStaged", func() (int, error) { return r.Records.RemoveStaged(ctx, n, e) })
}

func (r *records) ExpireStaged(ctx context.Context, at time.Time) (int, error) {
	return faulted(r, "ExpireStaged", func() (int, error) { return r.Records.ExpireStaged(ctx, at) })
}

func (r *records) AddRequest(ctx context.Context, s index.StoredRequest, e publish.Event) (bool, error) {
	return faulted(r, "AddRequest", func() (bool, error) { return r.Records.AddRequest(ctx, s, e) })
}

func (r *records) Request(ctx context.Context, id string) (index.StoredRequest, error) {
	return faulted(r, "Request", func() (index.StoredRequest, error) { return r.Records.Request(ctx, id) })
}

func (r *records) Requests(ctx context.Context, p pypi.Project) ([]index.StoredRequest, error) {
	return faulted(r, "Requests", func() ([]index.StoredRequest, error) { return r.Records.Requests(ctx, p) })
}

func (r *records) SignRequest(ctx context.Context, id string, s []index.RoleSignature, e publish.Event) error {
	_, err := faulted(r, "SignRequest", func() (bool, error) { return true, r.Records.SignRequest(ctx, id, s, e) })
	return err
}

func (r *records) CloseRequest(ctx context.Context, id string, e publish.Event) error {
	_, err := faulted(r, "CloseRequest", func() (bool, error) { return true, r.Records.CloseRequest(ctx, id, e) })
	return err
}

func (r *records) ExpireRequests(ctx context.Context, at time.Time) (int, error) {
	return faulted(r, "ExpireRequests", func() (int, error) { return r.Records.ExpireRequests(ctx, at) })
}

func (r *records) Events(ctx context.Context, p pypi.Project, n int) ([]publish.Event, error) {
	return faulted(r, "Events", func() ([]publish.Event, error) { return r.Records.Events(ctx, p, n) })
}

// clock is a clock that a test sets.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) get() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// team is a fixture whose index takes claims, and its people.
type team struct {
	*fixture
	ledger                   *ledger.Memory
	records                  *records
	clock                    *clock
	online                   publishtest.Keys
	alice, bob, carol, thief key.Signer
}

func newTeam(t *testing.T) *team {
	t.Helper()
	l := ledger.NewMemory()
	m := &team{fixture: &fixture{t: t, files: &store{Files: files.NewMemory()}, tokens: l}, ledger: l, records: &records{Records: l}}
	for _, k := range []*key.Signer{&m.alice, &m.bob, &m.carol, &m.thief} {
		_, s, err := key.GenerateEd25519()
		if err != nil {
			t.Fatal(err)
		}
		*k = s
	}
	m.online = publishtest.Create(t, l, publishtest.Options{ClaimedKeys: map[string]key.Signer{"offline": m.alice}})
	m.clock = &clock{now: publishtest.Start()}
	m.publisher = publishtest.Run(t, publish.Config{Ledger: l, Signers: m.online.Online(), Now: m.clock.get})
	x, err := index.New(index.Config{
		Publisher: m.publisher, Files: m.files, Tokens: l, Records: m.records, Limits: index.Limits{FileSize: 1 << 20}, Now: m.clock.get,
	})
	if err != nil {
		t.Fatal(err)
	}
	m.index = x
	m.actor = m.login(nil)
	return m
}

// request renders a draft on a project as it stands, signed by signers.
func (m *team) request(name string, d publishtest.Draft, signers ...key.Signer) *ceremony.Request {
	m.t.Helper()
	s, err := m.publisher.Current().Standing(m.t.Context(), project(m.t, name))
	if err != nil {
		m.t.Fatal(err)
	}
	r, err := d.On(s, m.clock.get())
	if err == nil {
		err = publishtest.Sign(r, "", signers...)
	}
	if err != nil {
		m.t.Fatal(err)
	}
	return r
}

// propose proposes and wants the request to be published at once.
func (m *team) propose(r *ceremony.Request) index.Outcome {
	m.t.Helper()
	out, err := m.index.Propose(m.t.Context(), m.actor, r)
	if err != nil {
		m.t.Fatal(err)
	}
	if out.Publication == 0 {
		m.t.Fatalf("the request waits: %s", out.Next)
	}
	return out
}

// claim claims a project for keys; its files are adopted.
func (m *team) claim(name string, threshold int, keys ...key.Signer) {
	m.t.Helper()
	m.propose(m.request(name, m.claimDraft(name, threshold, keys...), keys...))
}

func (m *team) claimDraft(name string, threshold int, keys ...key.Signer) publishtest.Draft {
	m.t.Helper()
	s, err := m.publisher.Current().Standing(m.t.Context(), project(m.t, name))
	if err != nil {
		m.t.Fatal(err)
	}
	adopted, err := publishtest.Adopt(s)
	if err != nil {
		m.t.Fatal(err)
	}
	d := publishtest.Draft{Kind: ceremony.Claim, Keys: keys, Threshold: threshold}
	d.Edit.Put = adopted
	return d
}

// stage uploads a file and wants it to be staged.
func (m *team) stage(file distmake.File) publish.File {
	m.t.Helper()
	r, err := m.send(m.actor, file, func(form map[string][]string) { form["bailiwick_stage"] = []string{"1"} })
	if err != nil {
		m.t.Fatal(err)
	}
	if !r.Staged || r.Publication != 0 || r.Line() == "" {
		m.t.Fatalf("the upload was not staged: %+v", r)
	}
	staged, err := m.index.Staged(m.t.Context(), m.actor, r.Project)
	if err != nil {
		m.t.Fatal(err)
	}
	for _, f := range staged {
		if f.Filename.String() == file.Name {
			return f.File
		}
	}
	m.t.Fatalf("%s is not among the staged files", file.Name)
	return publish.File{}
}

func releaseOf(files ...publish.File) publishtest.Draft {
	return publishtest.Draft{Kind: ceremony.Release, Add: files}
}

func rekeyTo(threshold int, keys ...key.Signer) publishtest.Draft {
	return publishtest.Draft{Kind: ceremony.Rekey, Keys: keys, Threshold: threshold}
}

// signatures makes what a co-signer sends.
func (m *team) signatures(r *ceremony.Request, role tuf.RoleName, signers ...key.Signer) []index.RoleSignature {
	m.t.Helper()
	var out []index.RoleSignature
	for _, s := range signers {
		sig, err := s.Sign(m.t.Context(), r.Payload(role).Message)
		if err != nil {
			m.t.Fatal(err)
		}
		out = append(out, index.RoleSignature{Role: role, Signature: tuf.Signature{KeyID: s.Public().ID(), Sig: sig}})
	}
	return out
}

func (m *team) state(name string) index.ProjectState {
	m.t.Helper()
	s, err := m.index.ProjectState(m.t.Context(), m.actor, project(m.t, name))
	if err != nil {
		m.t.Fatal(err)
	}
	return s
}

// kinds returns the kinds of a project's events, newest first.
func (m *team) kinds(name string) []publish.EventKind {
	m.t.Helper()
	events, err := m.index.Events(m.t.Context(), m.actor, project(m.t, name))
	if err != nil {
		m.t.Fatal(err)
	}
	var out []publish.EventKind
	for _, e := range events {
		out = append(out, e.Kind)
	}
	return out
}

func wheel(project, version string) distmake.File {
	return distmake.Wheel(project, version, distmake.Options{})
}

func sdist(project, version string) distmake.File {
	return distmake.Sdist(project, version, distmake.Options{})
}
