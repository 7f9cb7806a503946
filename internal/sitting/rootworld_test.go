package sitting_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"example.com/bailiwick/internal/ledger"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/internal/publish/publishtest"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/internal/sitting"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/client"
	"example.com/bailiwick/tuf/key"
	"example.com/bailiwick/tuf/repo"
)

// world is a whole repository with its operators, in memory: the keys of everybody by name, the publisher,
// and clients that read what it published.
type world struct {
	tb     testing.TB
	now    time.Time
	clock  atomic.Pointer[time.Time] // now, for the publisher, which reads it at any time
	keys   map[string]key.Signer     // by name
	ledger *ledger.Memory
	*publish.Publisher
	files int
	// served takes the place of what is published, by file name.
	served map[string][]byte
}

// Names of the keys that a world begins with: root is held by three, of whom two sign.
var firstHolders = []string{"alice", "bob", "carol"}

// newWorld founds a repository by the request that its holders sign.
func newWorld(t *testing.T) *world {
	t.Helper()
	return newWorldAt(t, invitedAt)
}

func newWorldAt(t *testing.T, now time.Time) *world {
	t.Helper()
	w := &world{tb: t, now: now, keys: map[string]key.Signer{}, ledger: ledger.NewMemory(), served: map[string][]byte{}}
	r := w.first(2, firstHolders...)
	w.sign(r, "alice", "carol", "targets", "claimed", "unclaimed")
	v := w.judge(r)
	if !v.Complete() {
		t.Fatalf("the first request misses %v", v.Missing)
	}
	w.found(r, v)
	return w
}

// key returns a key by name, made when it is first asked for.
func (w *world) key(name string) key.Signer {
	if w.keys[name] == nil {
		w.keys[name] = namedKey(w.tb, name)
	}
	return w.keys[name]
}

func (w *world) public(names ...string) []*key.Public {
	var out []*key.Public
	for _, name := range names {
		out = append(out, w.key(name).Public())
	}
	return out
}

func (w *world) holders(names ...string) map[key.ID]string {
	out := map[key.ID]string{}
	for _, name := range names {
		out[w.key(name).Public().ID()] = name
	}
	return out
}

// first is the request for a new repository of 16 bins whose root these hold.
func (w *world) first(threshold int, holders ...string) *sitting.Request {
	w.tb.Helper()
	layout, err := policy.NewLayout(16)
	if err != nil {
		w.tb.Fatal(err)
	}
	spec := policy.GenesisSpec{
		Layout: layout, Now: w.now, Keys: map[policy.KeyRole][]*key.Public{}, Holders: w.holders(holders...),
		Thresholds: policy.Thresholds{Root: threshold},
	}
	for _, role := range policy.KeyRoles() {
		spec.Keys[role] = w.public(string(role))
	}
	spec.Keys[policy.KeyRoot] = w.public(holders...)
	r, err := sitting.First(spec, w.now.Add(30*24*time.Hour), "ops", "")
	if err != nil {
		w.tb.Fatal(err)
	}
	return w.travel(r)
}

// travel sends a request through a file.
func (w *world) travel(r *sitting.Request) *sitting.Request {
	w.tb.Helper()
	var b bytes.Buffer
	if err := sitting.Encode(&b, r); err != nil {
		w.tb.Fatal(err)
	}
	got, err := sitting.Decode(&b)
	if err != nil {
		w.tb.Fatal(err)
	}
	return got
}

// sign lets people sign everything in a request that they have a say about.
func (w *world) sign(r *sitting.Request, names ...string) {
	w.tb.Helper()
	v, err := sitting.Judge(r, w.now)
	if err != nil {
		w.tb.Fatal(err)
	}
	for _, m := range v.Missing {
		for _, name := range names {
			if id := w.key(name).Public().ID(); slices.Contains(m.Keys, id) {
				w.signRole(r, m.Role, name)
			}
		}
	}
}

func (w *world) signRole(r *sitting.Request, role tuf.RoleName, name string) {
	w.tb.Helper()
	sig, err := w.key(name).Sign(w.tb.Context(), r.Payload(role).Message)
	if err != nil {
		w.tb.Fatal(err)
	}
	if _, err := r.Add(role, tuf.Signature{KeyID: w.key(name).Public().ID(), Sig: sig}); err != nil {
		w.tb.Fatal(err)
	}
}

func (w *world) judge(r *sitting.Request) *sitting.Verdict {
	w.tb.Helper()
	v, err := sitting.Judge(r, w.now)
	if err != nil {
		w.tb.Fatal(err)
	}
	return v
}

// found starts the repository that a complete first request describes, as bailiwick init does.
func (w *world) found(r *sitting.Request, v *sitting.Verdict) {
	w.tb.Helper()
	spec, err := sitting.FirstSpec(r, policy.DefaultLifetimes())
	if err != nil {
		w.tb.Fatal(err)
	}
	spec.Now = w.now
	drafts, err := policy.Genesis(spec)
	if err != nil {
		w.tb.Fatal(err)
	}
	var first []publish.Metadata
	for _, r := range v.Roles {
		first = append(first, publish.Metadata{Role: r.Role, Version: r.Version, Expires: r.Expires, Bytes: r.Bytes})
	}
	for _, d := range drafts {
		if _, offline := v.Result(d.Role()); offline {
			continue
		}
		signed, err := repo.Sign(w.tb.Context(), d, w.key("registry"), w.key("snapshot"), w.key("timestamp"))
		if err != nil {
			w.tb.Fatal(err)
		}
		first = append(first, publish.Metadata{Role: d.Role(), Version: d.Version(), Expires: d.Expires(), Bytes: signed})
	}
	if err := publish.Create(w.tb.Context(), w.ledger, w.now, first); err != nil {
		w.tb.Fatal(err)
	}
	w.run()
}

// set sets the clock.
func (w *world) set(now time.Time) {
	w.now = now
	w.clock.Store(&now)
}

// run opens the publisher with the keys of the server.
func (w *world) run() {
	w.set(w.now)
	w.tb.Helper()
	w.Publisher = publishtest.Run(w.tb, publish.Config{
		Ledger: w.ledger, Now: func() time.Time { return *w.clock.Load() },
		Signers: publish.Signers{Registry: w.key("registry"), Snapshot: w.key("snapshot"), Timestamp: w.key("timestamp")},
	})
}

// rotate plans a change of keys on what is published.
func (w *world) rotate(changes ...sitting.Rotation) (*sitting.Request, error) {
	r, err := sitting.Rotate(w.Current().Sitting(w.tb.Context(), w.now, policy.DefaultLifetimes()), sitting.Wishes{By: "ops"}, changes...)
	if err != nil {
		return nil, err
	}
	return w.travel(r), nil
}

// change makes a rotation: these keys hold the role from now on.
func (w *world) change(role policy.KeyRole, threshold int, names ...string) sitting.Rotation {
	c := sitting.Rotation{Role: role, Keys: w.public(names...), Threshold: threshold}
	if !role.Online() {
		c.Names = w.holders(names...)
	}
	return c
}

// rotated plans, signs and publishes a change of keys.
func (w *world) rotated(signers []string, changes ...sitting.Rotation) {
	w.tb.Helper()
	r, err := w.rotate(changes...)
	if err != nil {
		w.tb.Fatal(err)
	}
	w.sign(r, signers...)
	if v := w.judge(r); !v.Complete() {
		w.tb.Fatalf("still to sign: %v", sitting.Waiting(v.Missing, nil))
	}
	if err := w.publish(r); err != nil {
		w.tb.Fatal(err)
	}
}

func (w *world) publish(r *sitting.Request) error {
	w.set(w.now.Add(time.Minute))
	_, err := w.Publish(w.tb.Context(), publish.Offline{Request: r, Token: "ops"})
	return err
}

// upload publishes one more file of an unclaimed project.
func (w *world) upload() {
	w.tb.Helper()
	w.files++
	f := publishtest.File(w.tb, fmt.Sprintf("tool-1.%d.tar.gz", w.files), "content")
	if _, err := w.Publish(w.tb.Context(), publish.AddFile{File: f}); err != nil {
		w.tb.Fatal(err)
	}
}

// Metadata implements client.Fetcher.
func (w *world) Metadata(ctx context.Context, name string, _ int64) ([]byte, error) {
	if data, ok := w.served[name]; ok {
		return data, nil
	}
	role, version := tuf.RoleTimestamp, int64(0)
	if name != "timestamp.json" {
		number, rest, _ := strings.Cut(strings.TrimSuffix(name, ".json"), ".")
		n, err := strconv.ParseInt(number, 10, 64)
		if err != nil {
			return nil, err
		}
		role, version = tuf.RoleName(rest), n
	}
	m, err := w.ledger.Metadata(ctx, role, version)
	if errors.Is(err, publish.ErrNotFound) {
		return nil, fmt.Errorf("%s: %w", name, client.ErrAbsent)
	}
	return m.Bytes, err
}

// Target implements client.Fetcher; no test here downloads.
func (w *world) Target(context.Context, string, int64) (io.ReadCloser, error) {
	return nil, client.ErrAbsent
}

// user is an installation that pinned root version 1 and never gets another root by any other way.
type user struct {
	w      *world
	store  *client.Memory
	client *client.Client
}

func (w *world) user() *user {
	w.tb.Helper()
	root, err := w.ledger.Metadata(w.tb.Context(), tuf.RoleRoot, 1)
	if err != nil {
		w.tb.Fatal(err)
	}
	u := &user{w: w, store: client.NewMemory()}
	if u.client, err = client.New(client.Config{Fetcher: w, Store: u.store, Root: root.Bytes, Now: func() time.Time { return w.now }}); err != nil {
		w.tb.Fatal(err)
	}
	return u
}

// sees refreshes and wants the newest file of the project tool to be there.
func (u *user) sees() {
	u.w.tb.Helper()
	view, err := u.client.Refresh(u.w.tb.Context())
	if err != nil {
		u.w.tb.Fatalf("a client that pinned root version 1: %v", err)
	}
	p, err := pypi.ParseProject("tool")
	if err != nil {
		u.w.tb.Fatal(err)
	}
	f, err := pypi.ParseFilename(fmt.Sprintf("tool-1.%d.tar.gz", u.w.files))
	if err != nil {
		u.w.tb.Fatal(err)
	}
	found, err := view.Find(u.w.tb.Context(), u.w.Current().Layout().Path(p, f))
	if err != nil {
		u.w.tb.Fatalf("a client that pinned root version 1: %v", err)
	}
	if sum, _ := found.Target.Hashes.SHA256(); sum != sha256.Sum256([]byte("content")) {
		u.w.tb.Error("the file is another one")
	}
}

// rootVersion is what the user trusts after its last refresh.
func (u *user) rootVersion() int64 {
	u.w.tb.Helper()
	data, err := u.store.Load("root.json")
	if err != nil {
		u.w.tb.Fatal(err)
	}
	root, err := tuf.ParseRoot(data, nil)
	if err != nil {
		u.w.tb.Fatal(err)
	}
	return root.Header().Version
}

// authorities reads who signs now.
func (w *world) authorities() map[policy.KeyRole]tuf.Authority {
	w.tb.Helper()
	held, err := w.Current().Sitting(w.tb.Context(), w.now, policy.DefaultLifetimes()).Holders()
	if err != nil {
		w.tb.Fatal(err)
	}
	if len(held.Authorities) != len(policy.KeyRoles()) {
		w.tb.Fatalf("%d roles have keys", len(held.Authorities))
	}
	return held.Authorities
}
