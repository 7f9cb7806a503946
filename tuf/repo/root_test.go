package repo_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"testing"

	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
	"example.com/bailiwick/tuf/repo"
)

// rootSpec is a root whose roles have a key each, named like the role.
func rootSpec(t fataler) repo.RootSpec {
	t.Helper()
	spec := repo.RootSpec{ConsistentSnapshot: true, Roles: make(map[tuf.RoleName]tuf.Authority)}
	for _, name := range []tuf.RoleName{tuf.RoleRoot, tuf.RoleTimestamp, tuf.RoleSnapshot, tuf.RoleTargets} {
		spec.Roles[name] = newRole(t, name).authority
	}
	return spec
}

func firstRoot(t fataler) (role, *tuf.Root) {
	t.Helper()
	r := newRole(t, tuf.RoleRoot)
	d, err := repo.NewRoot(rootSpec(t), r.issue(1))
	return r, verified(t, tuf.ParseRoot, published(t, d, err, r.signer), r.authority)
}

func rootKeys(r *tuf.Root) []key.ID {
	var out []key.ID
	for id := range r.Keys() {
		out = append(out, id)
	}
	return out
}

func TestNewRoot(t *testing.T) {
	r := newRole(t, tuf.RoleRoot)
	spec := rootSpec(t)
	a, b, c := signerOf(t, "a"), signerOf(t, "b"), ecdsaSigner(t)
	spec.Roles[tuf.RoleTargets] = authorityOf(t, 2, a, b, c)
	spec.Members = map[string][]byte{"x": []byte("1")}
	d, err := repo.NewRoot(spec, r.issue(1))
	data := published(t, d, err, r.signer)
	checkBytes(t, d, data)
	got := verified(t, tuf.ParseRoot, data, r.authority)
	if !got.ConsistentSnapshot() || got.Version() != 1 || !got.Expires().Equal(expires) {
		t.Errorf("root %d until %v, consistent %v", got.Version(), got.Expires(), got.ConsistentSnapshot())
	}
	for role, want := range spec.Roles {
		if has, ok := got.Authority(role); !ok || !has.Equal(want) {
			t.Errorf("authority of %s: %d of %v", role, has.Threshold(), has.KeyIDs())
		}
	}
	if len(rootKeys(got)) != 6 {
		t.Errorf("%d keys, want 6", len(rootKeys(got)))
	}
	if _, ok := d.Previous(); ok {
		t.Error("the first root has a predecessor")
	}
	if !d.Authority().Equal(r.authority) {
		t.Error("the first root is not signed by its own keys")
	}
	spec.ConsistentSnapshot = false
	d, err = repo.NewRoot(spec, r.issue(1))
	if verified(t, tuf.ParseRoot, published(t, d, err, r.signer), r.authority).ConsistentSnapshot() {
		t.Error("consistent snapshots though none were asked for")
	}
}

// TestRootRotation: the next root needs the threshold of old and of new keys.
func TestRootRotation(t *testing.T) {
	old, base := firstRoot(t)
	a, b := signerOf(t, "a"), signerOf(t, "b")
	next := authorityOf(t, 2, a, b)
	d, err := repo.EditRoot(base, repo.RootEdit{Roles: map[tuf.RoleName]tuf.Authority{tuf.RoleRoot: next}}, old.issue(2))
	if err != nil {
		t.Fatal(err)
	}
	previous, ok := d.Previous()
	if !ok || !previous.Equal(old.authority) || !d.Authority().Equal(next) {
		t.Fatalf("signed by %v and %v", d.Authority().KeyIDs(), previous.KeyIDs())
	}

	var few *repo.ThresholdError
	if _, err := repo.Sign(t.Context(), d, a, b); !errors.As(err, &few) || !few.Previous || few.Have != 0 || few.Need != 1 {
		t.Errorf("without the old key: %v", err)
	}
	if _, err := repo.Sign(t.Context(), d, old.signer, a); !errors.As(err, &few) || few.Previous || few.Have != 1 || few.Need != 2 {
		t.Errorf("with one new key: %v", err)
	}
	data := published(t, d, nil, a, old.signer, b)
	checkBytes(t, d, data)
	u, err := tuf.ParseRoot(data, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, authority := range map[string]tuf.Authority{"old": old.authority, "new": next} {
		if _, err := u.Verify(authority); err != nil {
			t.Errorf("by the %s keys: %v", name, err)
		}
	}
	got := verified(t, tuf.ParseRoot, data, next)
	if slices.Contains(rootKeys(got), old.signer.Public().ID()) {
		t.Error("the old root key is still listed")
	}
	if ts, _ := got.Authority(tuf.RoleTimestamp); !ts.Equal(newRole(t, tuf.RoleTimestamp).authority) {
		t.Error("the timestamp's keys changed")
	}
}

// TestRootRenewal: one key may count for old and new.
func TestRootRenewal(t *testing.T) {
	r, base := firstRoot(t)
	d, err := repo.EditRoot(base, repo.RootEdit{}, r.issue(2))
	got := verified(t, tuf.ParseRoot, published(t, d, err, r.signer), r.authority)
	if got.Version() != 2 || len(rootKeys(got)) != 4 || !got.ConsistentSnapshot() {
		t.Errorf("version %d, %d keys", got.Version(), len(rootKeys(got)))
	}
}

func TestEditRootKeepsWhatItDoesNotKnow(t *testing.T) {
	r := newRole(t, tuf.RoleRoot)
	object := func(name string) (string, string) {
		s := fmt.Sprintf(`{"keytype":"ed25519","keyval":{"public":"%s"},"scheme":"ed25519","x-owner":"%s"}`, signerOf(t, name).Public().Value(), name)
		return fmt.Sprintf("%x", sha256.Sum256(naive(t, []byte(s)))), s
	}
	ts, tsKey := object("timestamp")
	sn, snKey := object("snapshot")
	k := r.signer.Public()
	base := foreign(t, tuf.ParseRoot, `{"_type":"root","spec_version":"1.0","version":1,"expires":"2020-01-01T00:00:00Z","x":{"b":1,"a":2},
		"keys":{"`+string(k.ID())+`":`+string(k.AppendCanonical(nil))+`,"`+ts+`":`+tsKey+`,"`+sn+`":`+snKey+`},
		"roles":{"root":{"keyids":["`+string(k.ID())+`"],"threshold":1,"x-role":1},
			"targets":{"keyids":["`+string(k.ID())+`"],"threshold":1},
			"timestamp":{"keyids":["`+ts+`"],"threshold":1,"x-role":2},
			"snapshot":{"keyids":["`+sn+`"],"threshold":1},
			"mirrors":{"keyids":["`+sn+`"],"threshold":1}}}`, r)
	targets := signerOf(t, "targets")
	d, err := repo.EditRoot(base, repo.RootEdit{Roles: map[tuf.RoleName]tuf.Authority{
		tuf.RoleTargets: authorityOf(t, 1, targets),
	}}, r.issue(2))
	data := published(t, d, err, r.signer)
	checkBytes(t, d, data)
	want := string(naive(t, []byte(`{"_type":"root","spec_version":"1.0","version":2,"expires":"2026-09-02T12:00:00Z","x":{"b":1,"a":2},
		"keys":{"`+string(k.ID())+`":`+string(k.AppendCanonical(nil))+`,"`+ts+`":`+tsKey+`,"`+sn+`":`+snKey+`,
			"`+string(targets.Public().ID())+`":`+string(targets.Public().AppendCanonical(nil))+`},
		"roles":{"root":{"keyids":["`+string(k.ID())+`"],"threshold":1,"x-role":1},
			"targets":{"keyids":["`+string(targets.Public().ID())+`"],"threshold":1},
			"timestamp":{"keyids":["`+ts+`"],"threshold":1,"x-role":2},
			"snapshot":{"keyids":["`+sn+`"],"threshold":1},
			"mirrors":{"keyids":["`+sn+`"],"threshold":1}}}`)))
	if got := string(d.Message()); got != want {
		t.Errorf("message\n%s\nwant\n%s", got, want)
	}
}

func TestRootRefusals(t *testing.T) {
	r := newRole(t, tuf.RoleRoot)
	for _, c := range []struct {
		name string
		edit func(*repo.RootSpec, *repo.Issue)
		want error
	}{
		{"role missing", func(s *repo.RootSpec, _ *repo.Issue) { delete(s.Roles, tuf.RoleSnapshot) }, repo.ErrThreshold},
		{"role without keys", func(s *repo.RootSpec, _ *repo.Issue) { s.Roles[tuf.RoleSnapshot] = tuf.Authority{} }, repo.ErrThreshold},
		{"delegated role", func(s *repo.RootSpec, _ *repo.Issue) { s.Roles["claimed"] = r.authority }, repo.ErrRoleName},
		{"shared key", func(s *repo.RootSpec, _ *repo.Issue) { s.Roles[tuf.RoleTimestamp] = s.Roles[tuf.RoleSnapshot] }, repo.ErrSharedKey},
		{"version two", func(_ *repo.RootSpec, i *repo.Issue) { i.Version = 2 }, repo.ErrVersion},
		{"expired", func(_ *repo.RootSpec, i *repo.Issue) { i.Expires = now }, repo.ErrExpiry},
		{"wrong name", func(_ *repo.RootSpec, i *repo.Issue) { i.Role = tuf.RoleTargets }, repo.ErrRoleName},
		{"member keys", func(s *repo.RootSpec, _ *repo.Issue) { s.Members = map[string][]byte{"keys": []byte("{}")} }, repo.ErrMember},
		{"member consistent_snapshot", func(s *repo.RootSpec, _ *repo.Issue) {
			s.Members = map[string][]byte{"consistent_snapshot": []byte("false")}
		}, repo.ErrMember},
	} {
		t.Run(c.name, func(t *testing.T) {
			spec, issue := rootSpec(t), r.issue(1)
			c.edit(&spec, &issue)
			_, err := repo.NewRoot(spec, issue)
			wantErr(t, err, c.want)
		})
	}
	spec := rootSpec(t)
	spec.Roles[tuf.RoleTimestamp] = spec.Roles[tuf.RoleSnapshot]
	spec.ShareKeys = true
	if _, err := repo.NewRoot(spec, r.issue(1)); err != nil {
		t.Errorf("sharing on purpose: %v", err)
	}

	_, base := firstRoot(t)
	_, err := repo.EditRoot(base, repo.RootEdit{}, r.issue(1))
	wantErr(t, err, repo.ErrVersion)
	_, err = repo.EditRoot(base, repo.RootEdit{}, r.issue(3))
	wantErr(t, err, repo.ErrVersion)
	_, err = repo.EditRoot(base, repo.RootEdit{Roles: map[tuf.RoleName]tuf.Authority{
		tuf.RoleTargets: newRole(t, tuf.RoleTimestamp).authority,
	}}, r.issue(2))
	wantErr(t, err, repo.ErrSharedKey)
	_, err = repo.EditRoot(base, repo.RootEdit{Roles: map[tuf.RoleName]tuf.Authority{"x": r.authority}}, r.issue(2))
	wantErr(t, err, repo.ErrRoleName)
}
