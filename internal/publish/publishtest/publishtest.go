// Package publishtest makes repositories for the tests of the engines and of what stands on them:
// an empty repository with keys of its own, in whatever ledger the test brings.
package publishtest

import (
	"context"
	"crypto/sha256"
	"testing"
	"time"

	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/tuf/key"
	"example.com/bailiwick/tuf/repo"
)

// Start returns the time at which the repositories of this package are made: the one that the
// clock of a testing/synctest bubble shows at first.
func Start() time.Time { return time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) }

// Keys are the keys of a repository, one of each kind.
type Keys map[policy.KeyRole]key.Signer

// NewKeys makes fresh keys.
func NewKeys(tb testing.TB) Keys {
	tb.Helper()
	keys := make(Keys)
	for _, role := range policy.KeyRoles() {
		_, signer, err := key.GenerateEd25519()
		if err != nil {
			tb.Fatal(err)
		}
		keys[role] = signer
	}
	return keys
}

// Online returns those that a publisher holds.
func (k Keys) Online() publish.Signers {
	return publish.Signers{
		Registry: k[policy.KeyRegistry], Snapshot: k[policy.KeySnapshot], Timestamp: k[policy.KeyTimestamp],
	}
}

// Options vary a repository.
type Options struct {
	Bins      int              // zero: 16
	Lifetimes policy.Lifetimes // zero: the default
	Now       time.Time        // zero: Start
}

// Genesis returns the signed first publication of a repository.
func Genesis(tb testing.TB, keys Keys, o Options) []publish.Metadata {
	tb.Helper()
	if o.Bins == 0 {
		o.Bins = 16
	}
	if o.Now.IsZero() {
		o.Now = Start()
	}
	layout, err := policy.NewLayout(o.Bins)
	if err != nil {
		tb.Fatal(err)
	}
	spec := policy.GenesisSpec{Layout: layout, Keys: make(map[policy.KeyRole][]*key.Public), Lifetimes: o.Lifetimes, Now: o.Now}
	for role, signer := range keys {
		spec.Keys[role] = []*key.Public{signer.Public()}
	}
	drafts, err := policy.Genesis(spec)
	if err != nil {
		tb.Fatal(err)
	}
	var out []publish.Metadata
	for _, d := range drafts {
		by, _ := policy.SignedBy(d.Role())
		signed, err := repo.Sign(context.Background(), d, keys[by])
		if err != nil {
			tb.Fatal(err)
		}
		out = append(out, publish.Metadata{Role: d.Role(), Version: d.Version(), Expires: d.Expires(), Bytes: signed})
	}
	return out
}

// Create makes a repository in an empty ledger and returns its keys.
func Create(tb testing.TB, l publish.Ledger, o Options) Keys {
	tb.Helper()
	if o.Now.IsZero() {
		o.Now = Start()
	}
	keys := NewKeys(tb)
	if err := publish.Create(context.Background(), l, o.Now, Genesis(tb, keys, o)); err != nil {
		tb.Fatal(err)
	}
	return keys
}

// Run opens a publisher and runs it until the test ends. Without a clock of its own, the publisher
// lives at Start.
func Run(tb testing.TB, c publish.Config) *publish.Publisher {
	tb.Helper()
	p, stop, err := Open(c)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(stop)
	return p
}

// Open is Run for a test that stops the publisher itself: stop returns when it has ended.
func Open(c publish.Config) (p *publish.Publisher, stop func(), err error) {
	if c.Now == nil {
		c.Now = Start
	}
	ctx, cancel := context.WithCancel(context.Background())
	p, err = publish.Open(ctx, c)
	if err != nil {
		cancel()
		return nil, nil, err
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = p.Run(ctx) // returns nil, always
	}()
	return p, func() {
		cancel()
		<-done
	}, nil
}

// File describes a small file of a project; its bytes are content.
func File(tb testing.TB, name, content string) publish.File {
	tb.Helper()
	f, err := pypi.ParseFilename(name)
	if err != nil {
		tb.Fatal(err)
	}
	return publish.File{
		Filename: f, Project: f.Project(), Version: f.Version().String(),
		Size: int64(len(content)), SHA256: sha256.Sum256([]byte(content)), Uploader: "test",
	}
}
