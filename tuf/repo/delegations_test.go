package repo_test

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"testing"

	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
	"example.com/bailiwick/tuf/repo"
)

// bin is a role that delegates to projects a, b and c; a and b share a key.
func bin(t *testing.T) (role, *tuf.Targets, tuf.Authority) {
	t.Helper()
	r := newRole(t, "bin")
	shared := authorityOf(t, 1, signerOf(t, "shared"))
	d, err := repo.NewTargets(repo.TargetsSpec{Delegations: []repo.Delegation{
		{Role: "a", Authority: shared, Paths: []string{"a/*"}, Terminating: true},
		{Role: "b", Authority: shared, Paths: []string{"b/*"}, Terminating: true},
		{Role: "c", Authority: newRole(t, "c").authority, Paths: []string{"c/*"}},
	}}, r.issue(1))
	return r, r.targets(t, d, err), shared
}

func TestAddDelegations(t *testing.T) {
	r, base, shared := bin(t)
	two := authorityOf(t, 2, signerOf(t, "shared"), signerOf(t, "new"))
	d, err := repo.EditTargets(base, repo.TargetsEdit{AddDelegations: []repo.Delegation{
		{Role: "0", Authority: two, Paths: []string{"0/*"}},
		{Role: "d", Authority: shared, Paths: []string{"d/*"}, Terminating: true},
	}}, r.issue(2))
	data := published(t, d, err, r.signer)
	checkBytes(t, d, data)
	got := verified(t, tuf.ParseTargets, data, r.authority)
	if want := []string{"a", "b", "c", "0", "d"}; !slices.Equal(names(got), want) {
		t.Errorf("delegations = %v, want %v", names(got), want)
	}
	if keyCount(got) != 3 {
		t.Errorf("%d keys, want 3: shared, c, new", keyCount(got))
	}
	found, _ := got.Delegations().Find("0")
	if a, err := found.Authority(); err != nil || !a.Equal(two) {
		t.Errorf("authority of 0: %v", err)
	}
}

// TestAddBefore: new delegations go where the edit says, among what it replaces and removes.
func TestAddBefore(t *testing.T) {
	for _, c := range []struct {
		name   string
		before tuf.RoleName
		add    string
		remove []tuf.RoleName
		swap   tuf.RoleName // replaced where it stands
		want   string
	}{
		{"the last", "c", "0d", nil, "", "ab0dc"},
		{"the first", "a", "0d", nil, "", "0dabc"},
		{"nobody", "", "0d", nil, "", "abc0d"},
		{"one that is replaced", "b", "d", nil, "b", "adbc"},
		{"one of those that stay", "c", "d", []tuf.RoleName{"a", "b"}, "", "dc"},
		{"nothing to add", "b", "", nil, "", "abc"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, base, shared := bin(t)
			edit := repo.TargetsEdit{AddBefore: c.before, RemoveDelegations: c.remove}
			for _, name := range c.add {
				edit.AddDelegations = append(edit.AddDelegations, repo.Delegation{Role: tuf.RoleName(name), Authority: shared, Paths: []string{string(name) + "/*"}})
			}
			if c.swap != "" {
				edit.ReplaceDelegations = []repo.Delegation{{Role: c.swap, Authority: shared, Paths: []string{"other"}}}
			}
			d, err := repo.EditTargets(base, edit, r.issue(2))
			data := published(t, d, err, r.signer)
			checkBytes(t, d, data)
			got := verified(t, tuf.ParseTargets, data, r.authority)
			if joined := strings.Join(names(got), ""); joined != c.want {
				t.Errorf("delegations = %s, want %s", joined, c.want)
			}
			if c.swap != "" {
				if d, _ := got.Delegations().Find(c.swap); !slices.Equal(d.Paths(), []string{"other"}) {
					t.Errorf("%s is not replaced: %s", c.swap, d.Raw())
				}
			}
		})
	}
}

func TestReplaceDelegation(t *testing.T) {
	r, base, _ := bin(t)
	fresh := newRole(t, "fresh")
	d, err := repo.EditTargets(base, repo.TargetsEdit{ReplaceDelegations: []repo.Delegation{
		{Role: "c", Authority: fresh.authority, Paths: []string{"c/*", "C/*"}, Terminating: true},
	}}, r.issue(2))
	data := published(t, d, err, r.signer)
	checkBytes(t, d, data)
	got := verified(t, tuf.ParseTargets, data, r.authority)
	if want := []string{"a", "b", "c"}; !slices.Equal(names(got), want) {
		t.Errorf("delegations = %v, want %v", names(got), want)
	}
	if keyCount(got) != 2 {
		t.Errorf("%d keys, want 2: that of the old c is no longer used", keyCount(got))
	}
	c := got.Delegations().At(2)
	if a, err := c.Authority(); err != nil || !a.Equal(fresh.authority) || !c.Terminating() || len(c.Paths()) != 2 {
		t.Errorf("c is %s (%v)", c.Raw(), err)
	}
}

func TestRemoveDelegations(t *testing.T) {
	r, base, shared := bin(t)
	d, err := repo.EditTargets(base, repo.TargetsEdit{RemoveDelegations: []tuf.RoleName{"a"}}, r.issue(2))
	got := r.targets(t, d, err)
	if want := []string{"b", "c"}; !slices.Equal(names(got), want) || keyCount(got) != 2 {
		t.Errorf("delegations = %v with %d keys, want %v with 2", names(got), keyCount(got), want)
	}
	// The name is free again, in the same edit too, and the last key goes with the last role.
	d, err = repo.EditTargets(got, repo.TargetsEdit{RemoveDelegations: []tuf.RoleName{"b", "c"}}, r.issue(3))
	got = r.targets(t, d, err)
	if len(names(got)) != 0 || keyCount(got) != 0 {
		t.Errorf("left: %v and %d keys", names(got), keyCount(got))
	}
	d, err = repo.EditTargets(got, repo.TargetsEdit{AddDelegations: []repo.Delegation{{Role: "A", Authority: shared, Paths: []string{"*"}}}}, r.issue(4))
	if got := r.targets(t, d, err); !slices.Equal(names(got), []string{"A"}) {
		t.Errorf("delegations = %v", names(got))
	}
}

func TestDelegationRefusals(t *testing.T) {
	ok := authorityOf(t, 1, signerOf(t, "k"))
	many := make([]key.Signer, 129)
	for i := range many {
		many[i] = signerOf(t, fmt.Sprint(i))
	}
	add := func(edit func(*repo.Delegation)) repo.TargetsEdit {
		d := repo.Delegation{Role: "new", Authority: ok, Paths: []string{"*"}}
		edit(&d)
		return repo.TargetsEdit{AddDelegations: []repo.Delegation{d}}
	}
	named := func(name string) repo.TargetsEdit {
		return add(func(d *repo.Delegation) { d.Role = tuf.RoleName(name) })
	}
	pattern := func(p string) repo.TargetsEdit { return add(func(d *repo.Delegation) { d.Paths = []string{p} }) }
	prefix := func(p string) repo.TargetsEdit {
		return add(func(d *repo.Delegation) { d.Paths, d.HashPrefixes = nil, []string{p} })
	}
	one := func(name string) []repo.Delegation {
		return []repo.Delegation{{Role: tuf.RoleName(name), Authority: ok, Paths: []string{"*"}}}
	}
	for _, c := range []struct {
		name string
		edit repo.TargetsEdit
		want error
	}{
		{"no name", named(""), repo.ErrRoleName},
		{"name too long", named(strings.Repeat("a", 257)), repo.ErrRoleName},
		{"name not UTF-8", named("\xff"), repo.ErrRoleName},
		{"root", named("root"), repo.ErrRoleName},
		{"Root", named("Root"), repo.ErrRoleName},
		{"TIMESTAMP", named("TIMESTAMP"), repo.ErrRoleName},
		{"snapshot", named("snapshot"), repo.ErrRoleName},
		{"tarGets", named("tarGets"), repo.ErrRoleName},
		{"mirrors", named("Mirrors"), repo.ErrRoleName},
		{"there already", named("a"), repo.ErrRoleName},
		{"there already in another case", named("A"), repo.ErrRoleName},
		{"twice in the edit", repo.TargetsEdit{AddDelegations: append(one("x"), one("X")...)}, repo.ErrRoleName},
		{"added and replaced", repo.TargetsEdit{AddDelegations: one("a"), ReplaceDelegations: one("a")}, repo.ErrRoleName},
		{"replaced and removed", repo.TargetsEdit{ReplaceDelegations: one("a"), RemoveDelegations: []tuf.RoleName{"a"}}, repo.ErrRoleName},
		{"removed twice", repo.TargetsEdit{RemoveDelegations: []tuf.RoleName{"a", "a"}}, repo.ErrRoleName},
		{"replace what is not there", repo.TargetsEdit{ReplaceDelegations: one("z")}, repo.ErrAbsent},
		{"replace in another case", repo.TargetsEdit{ReplaceDelegations: one("B")}, repo.ErrAbsent},
		{"remove what is not there", repo.TargetsEdit{RemoveDelegations: []tuf.RoleName{"z"}}, repo.ErrAbsent},
		{"added before what is not there", repo.TargetsEdit{AddDelegations: one("x"), AddBefore: "z"}, repo.ErrAbsent},
		{"added before what is removed", repo.TargetsEdit{AddDelegations: one("x"), AddBefore: "b", RemoveDelegations: []tuf.RoleName{"b"}}, repo.ErrAbsent},
		{"added before itself", repo.TargetsEdit{AddDelegations: one("x"), AddBefore: "x"}, repo.ErrAbsent},
		{"nothing added before what is not there", repo.TargetsEdit{AddBefore: "z"}, repo.ErrAbsent},
		{"nobody signs", add(func(d *repo.Delegation) { d.Authority = tuf.Authority{} }), repo.ErrThreshold},
		{"too many keys", add(func(d *repo.Delegation) { d.Authority = authorityOf(t, 1, many...) }), repo.ErrTooMany},
		{"no paths", add(func(d *repo.Delegation) { d.Paths = nil }), repo.ErrPattern},
		{"paths and prefixes", add(func(d *repo.Delegation) { d.HashPrefixes = []string{"0"} }), repo.ErrPattern},
		{"empty pattern", pattern(""), repo.ErrPattern},
		{"open bracket", pattern("a/[b"), repo.ErrPattern},
		{"range backwards", pattern("[z-a]"), repo.ErrPattern},
		{"pattern not UTF-8", pattern("\xff"), repo.ErrPattern},
		{"pattern too long", pattern(strings.Repeat("a", 1025)), repo.ErrPattern},
		{"too many patterns", add(func(d *repo.Delegation) { d.Paths = slices.Repeat([]string{"a"}, 4097) }), repo.ErrTooMany},
		{"empty prefix", prefix(""), repo.ErrPattern},
		{"upper-case prefix", prefix("AB"), repo.ErrPattern},
		{"prefix not hex", prefix("xy"), repo.ErrPattern},
		{"prefix too long", prefix(strings.Repeat("a", 65)), repo.ErrPattern},
		{"minimum version negative", add(func(d *repo.Delegation) { d.MinimumVersion = -1 }), repo.ErrVersion},
		{"minimum version too high", add(func(d *repo.Delegation) { d.MinimumVersion = 1 << 53 }), repo.ErrVersion},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, base, _ := bin(t)
			_, err := repo.EditTargets(base, c.edit, r.issue(2))
			wantErr(t, err, c.want)
		})
	}
}

// TestDelegationsOfBins: succinct_roles have no list to add to.
func TestDelegationsOfBins(t *testing.T) {
	r := newRole(t, "x")
	k := signerOf(t, "k").Public()
	base := foreign(t, tuf.ParseTargets, `{"_type":"targets","delegations":{"keys":{"`+string(k.ID())+`":`+string(k.AppendCanonical(nil))+`},
		"succinct_roles":{"bit_length":8,"keyids":["`+string(k.ID())+`"],"name_prefix":"bin","threshold":1}},
		"expires":"2030-01-01T00:00:00Z","spec_version":"1.0","targets":{},"version":1}`, r)
	_, err := repo.EditTargets(base, repo.TargetsEdit{AddDelegations: []repo.Delegation{
		{Role: "a", Authority: authorityOf(t, 1, signerOf(t, "k")), Paths: []string{"*"}},
	}}, r.issue(2))
	wantErr(t, err, repo.ErrBase)
	// Leaving them alone is fine.
	d, err := repo.EditTargets(base, repo.TargetsEdit{}, r.issue(2))
	if _, bits, ok := r.targets(t, d, err).Delegations().Succinct(); !ok || bits != 8 {
		t.Errorf("succinct roles: %v, %d bits", ok, bits)
	}
}

// TestKeyThatCanNotBeWritten: an authority can hold a key whose KEY object has more
// members than we could write. It may stay where it is and go nowhere else.
func TestKeyThatCanNotBeWritten(t *testing.T) {
	r := newRole(t, "x")
	k := signerOf(t, "k").Public()
	object := fmt.Sprintf(`{"keytype":"ed25519","keyval":{"public":"%s"},"scheme":"ed25519","x-hint":1}`, k.Value())
	id := fmt.Sprintf("%x", sha256.Sum256(naive(t, []byte(object))))
	base := foreign(t, tuf.ParseTargets, `{"_type":"targets","delegations":{"keys":{"`+id+`":`+object+`},
		"roles":[{"keyids":["`+id+`"],"threshold":1,"name":"a","paths":["*"],"terminating":false}]},
		"expires":"2030-01-01T00:00:00Z","spec_version":"1.0","targets":{},"version":1}`, r)
	a, err := base.Delegations().At(0).Authority()
	if err != nil {
		t.Fatal(err)
	}
	more := repo.TargetsEdit{AddDelegations: []repo.Delegation{{Role: "b", Authority: a, Paths: []string{"*"}}}}
	d, err := repo.EditTargets(base, more, r.issue(2))
	got := r.targets(t, d, err)
	if b, err := got.Delegations().At(1).Authority(); err != nil || !b.Equal(a) {
		t.Errorf("authority of b: %v", err)
	}
	d, err = repo.NewTargets(repo.TargetsSpec{}, r.issue(1))
	_, err = repo.EditTargets(r.targets(t, d, err), more, r.issue(2))
	wantErr(t, err, repo.ErrKey)
}
