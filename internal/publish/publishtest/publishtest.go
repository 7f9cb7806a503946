// Package publishtest makes repositories for the tests of the engines and of what stands on them:
// an empty repository with keys of its own, in whatever ledger the test brings.
package publishtest

import (
	"context"
	"crypto/sha256"
	"maps"
	"slices"
	"testing"
	"time"

	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/tuf"
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
	// Claimed and Recent are projects that have a role of their maintainers, without files: the first
	// are delegated by the claimed tree, the others by the registry key.
	Claimed, Recent []string
	// ClaimedKeys and RecentKeys are more of them, by the key of their maintainer.
	ClaimedKeys, RecentKeys map[string]key.Signer
}

func (o Options) orDefault() Options {
	if o.Bins == 0 {
		o.Bins = 16
	}
	if o.Now.IsZero() {
		o.Now = Start()
	}
	return o
}

// Genesis returns the signed first publication of a repository.
func Genesis(tb testing.TB, keys Keys, o Options) []publish.Metadata {
	tb.Helper()
	o = o.orDefault()
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
		out = Replace(tb, out, d, keys[by])
	}
	for name, maintainer := range maintainers(tb, o.Claimed, o.ClaimedKeys) {
		p := project(tb, name)
		fall := layout.FallThrough(layout.Bin(p), Issue(tb, policy.RoleUnclaimed, o.Now, keys[policy.KeyUnclaimed]).Authority)
		out = claim(tb, out, o.Now, layout, p, layout.ClaimedBin(p), keys[policy.KeyClaimed], maintainer, fall)
	}
	for name, maintainer := range maintainers(tb, o.Recent, o.RecentKeys) {
		p := project(tb, name)
		out = claim(tb, out, o.Now, layout, p, layout.UnclaimedBin(p), keys[policy.KeyRegistry], maintainer)
	}
	if len(o.Claimed)+len(o.Recent)+len(o.ClaimedKeys)+len(o.RecentKeys) > 0 {
		out = repin(tb, out, o.Now, keys[policy.KeySnapshot])
	}
	return out
}

// maintainers makes keys for the projects that have none yet.
func maintainers(tb testing.TB, names []string, keys map[string]key.Signer) map[string]key.Signer {
	tb.Helper()
	out := maps.Clone(keys)
	if out == nil {
		out = make(map[string]key.Signer)
	}
	for _, name := range names {
		_, maintainer, err := key.GenerateEd25519()
		if err != nil {
			tb.Fatal(err)
		}
		out[name] = maintainer
	}
	return out
}

// Replace signs a draft and puts it in the place of the version of its role that a genesis has.
func Replace(tb testing.TB, genesis []publish.Metadata, d *repo.Draft, by key.Signer) []publish.Metadata {
	tb.Helper()
	signed, err := repo.Sign(context.Background(), d, by)
	if err != nil {
		tb.Fatal(err)
	}
	genesis = slices.DeleteFunc(genesis, func(m publish.Metadata) bool { return m.Role == d.Role() })
	return append(genesis, publish.Metadata{Role: d.Role(), Version: d.Version(), Expires: d.Expires(), Bytes: signed})
}

// Issue returns what the first version of a role needs to be drafted: it lives for a year.
func Issue(tb testing.TB, role tuf.RoleName, now time.Time, by key.Signer) repo.Issue {
	tb.Helper()
	a, err := tuf.NewAuthority(1, by.Public())
	if err != nil {
		tb.Fatal(err)
	}
	return repo.Issue{Role: role, Version: 1, Now: now, Expires: now.AddDate(1, 0, 0), Authority: a}
}

// claim gives a project to a maintainer. The bin delegates no other project, and after it what rest says.
func claim(tb testing.TB, genesis []publish.Metadata, now time.Time, l policy.Layout, p pypi.Project, bin tuf.RoleName, by, maintainer key.Signer, rest ...repo.Delegation) []publish.Metadata {
	tb.Helper()
	role := Issue(tb, policy.ProjectRole(p), now, maintainer)
	list, err := repo.NewTargets(repo.TargetsSpec{}, role)
	if err != nil {
		tb.Fatal(err)
	}
	spec := repo.TargetsSpec{Delegations: append([]repo.Delegation{policy.NewProject(l, p, role.Authority)}, rest...)}
	delegator, err := repo.NewTargets(spec, Issue(tb, bin, now, by))
	if err != nil {
		tb.Fatal(err)
	}
	return Replace(tb, Replace(tb, genesis, delegator, by), list, maintainer)
}

// repin makes the snapshot list every role that there is.
func repin(tb testing.TB, genesis []publish.Metadata, now time.Time, by key.Signer) []publish.Metadata {
	tb.Helper()
	roles := make(map[tuf.RoleName]int64)
	for _, m := range genesis {
		switch m.Role {
		case tuf.RoleRoot, tuf.RoleTimestamp, tuf.RoleSnapshot:
		default:
			roles[m.Role] = m.Version
		}
	}
	d, err := repo.NewSnapshot(roles, Issue(tb, tuf.RoleSnapshot, now, by))
	if err != nil {
		tb.Fatal(err)
	}
	return Replace(tb, genesis, d, by)
}

func project(tb testing.TB, name string) pypi.Project {
	tb.Helper()
	p, err := pypi.ParseProject(name)
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

// Create makes a repository in an empty ledger and returns its keys.
func Create(tb testing.TB, l publish.Ledger, o Options) Keys {
	tb.Helper()
	o = o.orDefault()
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
