package publish_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"example.com/bailiwick/internal/ledger"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/internal/publish/publishtest"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/repo"
)

// atomicTime is a clock that a test sets.
type atomicTime struct {
	mu  sync.Mutex
	now time.Time
}

func (a *atomicTime) get() time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.now
}

func (a *atomicTime) set(t time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.now = t
}

func TestCreateRefuses(t *testing.T) {
	keys, foreign := publishtest.NewKeys(t), publishtest.NewKeys(t)
	genesis := publishtest.Genesis(t, keys, publishtest.Options{})
	other := publishtest.Genesis(t, foreign, publishtest.Options{})
	replace := func(role tuf.RoleName, edit func(m *publish.Metadata)) []publish.Metadata {
		out := slices.Clone(genesis)
		i := slices.IndexFunc(out, func(m publish.Metadata) bool { return m.Role == role })
		edit(&out[i])
		return out
	}
	from := func(set []publish.Metadata, role tuf.RoleName) publish.Metadata {
		return set[slices.IndexFunc(set, func(m publish.Metadata) bool { return m.Role == role })]
	}
	for name, c := range map[string]struct {
		genesis []publish.Metadata
		want    error // nil: any error
	}{
		"nothing":      {nil, publish.ErrDamaged},
		"a bin absent": {slices.DeleteFunc(slices.Clone(genesis), func(m publish.Metadata) bool { return m.Role == "claimed-3" }), publish.ErrDamaged},
		"a bin of somebody else": {replace("unclaimed-a", func(m *publish.Metadata) {
			m.Bytes = from(other, m.Role).Bytes
		}), publish.ErrDamaged},
		"a bin in place of another": {replace("claimed-a", func(m *publish.Metadata) {
			m.Bytes = from(genesis, "claimed-b").Bytes
		}), publish.ErrDamaged},
		"a root of somebody else": {replace("root", func(m *publish.Metadata) { m.Bytes = from(other, "root").Bytes }), publish.ErrDamaged},
		"a role twice":            {append(slices.Clone(genesis), genesis[3]), nil},
		"a role too many":         {append(slices.Clone(genesis), publish.Metadata{Role: "stray", Version: 1, Bytes: []byte("{}")}), publish.ErrDamaged},
		"version 2":               {replace("targets", func(m *publish.Metadata) { m.Version = 2 }), nil},
	} {
		t.Run(name, func(t *testing.T) {
			l := ledger.NewMemory()
			err := publish.Create(t.Context(), l, publishtest.Start(), c.genesis)
			if err == nil || c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("Create gave %v, want %v", err, c.want)
			}
			if _, err := l.Head(t.Context()); !errors.Is(err, publish.ErrNoRepository) {
				t.Errorf("the ledger is not empty any more: %v", err)
			}
		})
	}

	l := ledger.NewMemory()
	if err := publish.Create(t.Context(), l, publishtest.Start().AddDate(5, 0, 0), genesis); !errors.Is(err, publish.ErrDamaged) {
		t.Errorf("creating with expired metadata: %v, want ErrDamaged", err)
	}
	if err := publish.Create(t.Context(), l, publishtest.Start(), genesis); err != nil {
		t.Fatal(err)
	}
	before, _ := l.Metadata(t.Context(), tuf.RoleRoot, 1)
	if err := publish.Create(t.Context(), l, publishtest.Start(), other); !errors.Is(err, publish.ErrRepositoryExists) {
		t.Errorf("creating a second time: %v, want ErrRepositoryExists", err)
	}
	if after, _ := l.Metadata(t.Context(), tuf.RoleRoot, 1); string(after.Bytes) != string(before.Bytes) {
		t.Error("the second Create changed the repository")
	}
}

func TestOpenRefuses(t *testing.T) {
	l := ledger.NewMemory()
	keys, foreign := publishtest.NewKeys(t), publishtest.NewKeys(t)
	open := func(l publish.Ledger, s publish.Signers) error {
		_, err := publish.Open(context.Background(), publish.Config{Ledger: l, Signers: s, Now: publishtest.Start})
		return err
	}
	if err := open(l, keys.Online()); !errors.Is(err, publish.ErrNoRepository) {
		t.Errorf("an empty ledger: %v, want ErrNoRepository", err)
	}
	if err := publish.Create(t.Context(), l, publishtest.Start(), publishtest.Genesis(t, keys, publishtest.Options{})); err != nil {
		t.Fatal(err)
	}
	if err := open(l, keys.Online()); err != nil {
		t.Fatal(err)
	}
	for name, edit := range map[string]func(s *publish.Signers){
		"registry":  func(s *publish.Signers) { s.Registry = foreign[policy.KeyRegistry] },
		"snapshot":  func(s *publish.Signers) { s.Snapshot = foreign[policy.KeySnapshot] },
		"timestamp": func(s *publish.Signers) { s.Timestamp = keys[policy.KeySnapshot] },
	} {
		s := keys.Online()
		edit(&s)
		if err := open(l, s); !errors.Is(err, publish.ErrWrongKey) {
			t.Errorf("a foreign %s key: %v, want ErrWrongKey", name, err)
		}
	}
	for _, c := range []publish.Config{
		{},
		{Ledger: l, Now: publishtest.Start},
		{Ledger: l, Signers: keys.Online()},
		{Ledger: l, Signers: keys.Online(), Now: publishtest.Start, Batch: -1},
	} {
		if _, err := publish.Open(t.Context(), c); err == nil {
			t.Errorf("opened with the configuration %+v", c)
		}
	}
}

// tampered answers with other bytes for some roles.
type tampered struct {
	publish.Ledger
	bytes map[tuf.RoleName][]byte
	roles func([]publish.Role) []publish.Role
}

func (l tampered) Metadata(ctx context.Context, role tuf.RoleName, version int64) (publish.Metadata, error) {
	m, err := l.Ledger.Metadata(ctx, role, version)
	if b, ok := l.bytes[role]; ok {
		m.Bytes = b
	}
	return m, err
}

func (l tampered) Roles(ctx context.Context) ([]publish.Role, error) {
	roles, err := l.Ledger.Roles(ctx)
	if l.roles != nil {
		roles = l.roles(roles)
	}
	return roles, err
}

func TestDamageIsFound(t *testing.T) {
	p, l, keys := start(t)
	must(t, p, add(t, wheel, "a"))
	old, err := l.Metadata(t.Context(), tuf.RoleSnapshot, 1)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		ledger tampered
		opens  bool // the damage is in a role that is read when it is needed
	}{
		"root":            {tampered{bytes: map[tuf.RoleName][]byte{"root": []byte("{}")}}, false},
		"timestamp":       {tampered{bytes: map[tuf.RoleName][]byte{"timestamp": []byte("not JSON")}}, false},
		"old snapshot":    {tampered{bytes: map[tuf.RoleName][]byte{"snapshot": old.Bytes}}, false},
		"targets":         {tampered{bytes: map[tuf.RoleName][]byte{"targets": nil}}, false},
		"a role vanished": {tampered{roles: func(r []publish.Role) []publish.Role { return r[1:] }}, false},
		"a version runs ahead": {tampered{roles: func(r []publish.Role) []publish.Role {
			r[slices.IndexFunc(r, func(r publish.Role) bool { return r.Name == "project.flask" })].Version++
			return r
		}}, false},
		"a project": {tampered{bytes: map[tuf.RoleName][]byte{"project.flask": []byte("{}")}}, true},
		"a bin":     {tampered{bytes: map[tuf.RoleName][]byte{"claimed-0": []byte("{}")}}, true},
	} {
		t.Run(name, func(t *testing.T) {
			c.ledger.Ledger = l
			if err := publish.Check(t.Context(), c.ledger); !errors.Is(err, publish.ErrDamaged) {
				t.Errorf("Check: %v, want ErrDamaged", err)
			}
			_, err := publish.Open(t.Context(), publish.Config{Ledger: c.ledger, Signers: keys.Online(), Now: publishtest.Start})
			if c.opens && err != nil || !c.opens && !errors.Is(err, publish.ErrDamaged) {
				t.Errorf("Open: %v", err)
			}
		})
	}
}

// TestExpiredClaimedBin: people have forgotten one bin of the claimed tree. Whoever publishes to a
// project of that bin is told so; nobody else notices.
func TestExpiredClaimedBin(t *testing.T) {
	keys := publishtest.NewKeys(t)
	genesis := publishtest.Genesis(t, keys, publishtest.Options{})
	layout, err := policy.NewLayout(16)
	if err != nil {
		t.Fatal(err)
	}
	flask, other := project(t, "flask"), project(t, "django")
	if layout.Bin(flask) == layout.Bin(other) {
		t.Fatal("the two projects of this test are in one bin")
	}
	by := keys[policy.KeyClaimed]
	issue := publishtest.Issue(t, layout.ClaimedBin(flask), publishtest.Start(), by)
	issue.Expires = publishtest.Start().Add(24 * time.Hour)
	fall := layout.FallThrough(layout.Bin(flask), publishtest.Issue(t, policy.RoleUnclaimed, publishtest.Start(), keys[policy.KeyUnclaimed]).Authority)
	d, err := repo.NewTargets(repo.TargetsSpec{Delegations: []repo.Delegation{fall}}, issue)
	if err != nil {
		t.Fatal(err)
	}
	l := ledger.NewMemory()
	if err := publish.Create(t.Context(), l, publishtest.Start(), publishtest.Replace(t, genesis, d, by)); err != nil {
		t.Fatal(err)
	}
	var now atomicTime
	now.set(publishtest.Start())
	p := publishtest.Run(t, publish.Config{Ledger: l, Signers: keys.Online(), Now: now.get})
	must(t, p, add(t, "flask-1-py3-none-any.whl", "x"))
	now.set(publishtest.Start().Add(25 * time.Hour))
	for range 2 {
		if _, err := p.Publish(t.Context(), add(t, "flask-2-py3-none-any.whl", "x")); !errors.Is(err, publish.ErrExpired) {
			t.Errorf("a project of the expired bin: %v, want ErrExpired", err)
		}
		must(t, p, add(t, "django-1-py3-none-any.whl", "x"))
	}
	if s := p.Status(); s.Failure != nil || len(s.Expiring) != 1 || s.Expiring[0].Name != layout.ClaimedBin(flask) {
		t.Errorf("status is %+v, want the one role to be named", s)
	}
}
