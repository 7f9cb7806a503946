package publish_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/internal/publish/publishtest"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/internal/record"
	"example.com/bailiwick/internal/sitting"
	"example.com/bailiwick/tuf/key"
)

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
