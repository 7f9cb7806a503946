package policy_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
	"example.com/bailiwick/tuf/repo"
	"example.com/bailiwick/tuf/trust"
)

// repository is what a server would serve.
type repository struct {
	keys  keyring
	files map[string][]byte
}

func fileName(role tuf.RoleName, version int64) string {
	if role == tuf.RoleTimestamp {
		return "timestamp.json"
	}
	return fmt.Sprintf("%d.%s.json", version, role)
}

func (r *repository) publish(t testing.TB, d *repo.Draft, err error, more ...key.Signer) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range r.keys {
		more = append(more, s)
	}
	data, err := repo.Sign(t.Context(), d, more...)
	if err != nil {
		t.Fatal(err)
	}
	r.files[fileName(d.Role(), d.Version())] = data
}

// founded is a repository after its first publication.
func founded(t testing.TB, bins int) *repository {
	t.Helper()
	r := &repository{keys: newKeyring(t), files: make(map[string][]byte)}
	drafts, err := policy.Genesis(policy.GenesisSpec{Layout: layout(t, bins), Keys: r.keys.public(), Now: now})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range drafts {
		r.publish(t, d, nil)
	}
	return r
}

// read verifies a targets role by an authority.
func (r *repository) read(t testing.TB, role tuf.RoleName, version int64, a tuf.Authority) *tuf.Targets {
	t.Helper()
	u, err := tuf.ParseTargets(r.files[fileName(role, version)], nil)
	if err != nil {
		t.Fatalf("%s: %v", role, err)
	}
	v, err := u.Verify(a)
	if err != nil {
		t.Fatalf("%s: %v", role, err)
	}
	if name, _ := v.Member(repo.MemberRoleName); string(name) != `"`+string(role)+`"` {
		t.Fatalf("%s names itself %s", role, name)
	}
	return v
}

// update runs the client workflow from the first root.
func (r *repository) update(t testing.TB) *trust.Set {
	t.Helper()
	fail := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	rs, err := trust.Begin(r.files["1.root.json"], now, trust.Options{})
	fail(err)
	ts, err := rs.Done()
	fail(err)
	ss, err := ts.Accept(r.files[ts.Want().Name])
	fail(err)
	tg, err := ss.Accept(r.files[ss.Want().Name])
	fail(err)
	set, err := tg.Accept(r.files[tg.Want().Name])
	fail(err)
	return set
}

func (r *repository) load(role tuf.RoleName, meta tuf.Meta) ([]byte, error) {
	data, ok := r.files[fileName(role, meta.Version)]
	if !ok {
		return nil, fmt.Errorf("%s is not there", fileName(role, meta.Version))
	}
	return data, nil
}

func authorityOf(t testing.TB, d tuf.Delegation) tuf.Authority {
	t.Helper()
	a, err := d.Authority()
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestGenesis follows every delegation of new repositories of every size, checking
// keys, patterns, order and lifetimes of each edge.
func TestGenesis(t *testing.T) {
	for _, bins := range []int{16, 256} {
		t.Run(fmt.Sprint(bins), func(t *testing.T) {
			r := founded(t, bins)
			if want := 6 + 2*bins; len(r.files) != want {
				t.Errorf("%d files, want %d", len(r.files), want)
			}
			set := r.update(t)
			if !set.Root().ConsistentSnapshot() {
				t.Error("snapshots are not consistent")
			}
			if got, err := policy.LayoutOf(set.Targets()); err != nil || got != layout(t, bins) {
				t.Errorf("layout = %v, %v", got, err)
			}
			if set.Snapshot().Len() != 3+2*bins {
				t.Errorf("snapshot lists %d roles", set.Snapshot().Len())
			}
			checkTrees(t, r, set.Targets(), layout(t, bins))
			for role, lifetime := range map[string]time.Duration{"root": 365 * day, "targets": 365 * day, "snapshot": 7 * day, "timestamp": day} {
				expires := map[string]time.Time{
					"root": set.Root().Expires(), "targets": set.Targets().Expires(), "snapshot": set.Snapshot().Expires(), "timestamp": set.Timestamp().Expires(),
				}[role]
				if !expires.Equal(now.Add(lifetime)) {
					t.Errorf("%s expires %v, want after %v", role, expires, lifetime)
				}
			}
		})
	}
}

// follow verifies what a delegation says, and the role that it leads to.
func follow(t *testing.T, r *repository, from *tuf.Targets, at int, name tuf.RoleName, pattern string, lifetime time.Duration) *tuf.Targets {
	t.Helper()
	d := from.Delegations().At(at)
	if d.Name() != name || !d.Terminating() || !slices.Equal(d.Paths(), []string{pattern}) {
		t.Fatalf("delegation %d is %s, want %s for %s, terminating", at, d.Raw(), name, pattern)
	}
	v := r.read(t, name, 1, authorityOf(t, d))
	signer, _ := policy.SignedBy(name)
	if !authorityOf(t, d).Equal(authority(t, 1, r.keys[signer])) {
		t.Errorf("%s is signed by other keys than %s", name, signer)
	}
	if v.Len() != 0 || !v.Expires().Equal(now.Add(lifetime)) {
		t.Errorf("%s lists %d targets, until %v", name, v.Len(), v.Expires())
	}
	return v
}

func checkTrees(t *testing.T, r *repository, top *tuf.Targets, l policy.Layout) {
	t.Helper()
	if top.Delegations().Len() != 1 {
		t.Errorf("top-level targets delegate to %d roles, want to claimed alone", top.Delegations().Len())
	}
	claimed := follow(t, r, top, 0, "claimed", "*/*/*", 365*day)
	i := 0
	for bin := range l.BinNames() {
		pattern := bin + "/*/*"
		claimedBin := follow(t, r, claimed, i, "claimed-"+tuf.RoleName(bin), pattern, 365*day)
		if claimedBin.Delegations().Len() != 1 || !policy.FallsThroughLast(claimedBin) {
			t.Errorf("claimed-%s delegates to %d roles, want to unclaimed alone", bin, claimedBin.Delegations().Len())
		}
		unclaimed := follow(t, r, claimedBin, 0, "unclaimed", pattern, 365*day)
		unclaimedBin := follow(t, r, unclaimed, i, "unclaimed-"+tuf.RoleName(bin), pattern, 90*day)
		if unclaimedBin.Delegations() != nil {
			t.Errorf("unclaimed-%s delegates", bin)
		}
		if i++; claimed.Delegations().Len() != l.Bins() || unclaimed.Delegations().Len() != l.Bins() {
			t.Fatalf("%d and %d bins, want %d", claimed.Delegations().Len(), unclaimed.Delegations().Len(), l.Bins())
		}
	}
}

// TestGenesisOrder: what is referred to comes first, so that the list can be
// published as it is.
func TestGenesisOrder(t *testing.T) {
	for _, bins := range []int{16, 256, 4096} {
		l := layout(t, bins)
		keys := newKeyring(t).public()
		drafts, err := policy.Genesis(policy.GenesisSpec{Layout: l, Keys: keys, Now: now})
		if err != nil {
			t.Fatal(err)
		}
		want := []tuf.RoleName{"root", "targets", "claimed", "unclaimed"}
		for _, tree := range []tuf.RoleName{"claimed-", "unclaimed-"} {
			for bin := range l.BinNames() {
				want = append(want, tree+tuf.RoleName(bin))
			}
		}
		want = append(want, "snapshot", "timestamp")
		var got []tuf.RoleName
		for _, d := range drafts {
			got = append(got, d.Role())
			signer, _ := policy.SignedBy(d.Role())
			if d.Version() != 1 || !d.Wants(keys[signer][0].ID()) {
				t.Fatalf("%s version %d is not signed by %s", d.Role(), d.Version(), signer)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%d bins: drafts are %.20q…, want %.20q…", bins, got, want)
		}
	}
}

// TestGenesisOfManyBins reads the large files of the finest layout, and some bins.
func TestGenesisOfManyBins(t *testing.T) {
	l := layout(t, 65536)
	r := &repository{keys: newKeyring(t), files: make(map[string][]byte)}
	drafts, err := policy.Genesis(policy.GenesisSpec{Layout: l, Keys: r.keys.public(), Now: now})
	if err != nil {
		t.Fatal(err)
	}
	if want := 6 + 2*65536; len(drafts) != want {
		t.Errorf("%d drafts, want %d", len(drafts), want)
	}
	for i, d := range drafts {
		if i < 4 || i%4099 == 0 || i >= len(drafts)-2 {
			r.publish(t, d, nil)
		}
	}
	set := r.update(t)
	if set.Snapshot().Len() != 3+2*65536 {
		t.Errorf("snapshot lists %d roles", set.Snapshot().Len())
	}
	for _, tree := range []policy.KeyRole{policy.KeyClaimed, policy.KeyUnclaimed} {
		v := r.read(t, tuf.RoleName(tree), 1, authority(t, 1, r.keys[tree]))
		for d := range v.Delegations().All() {
			if _, ok := r.files[fileName(d.Name(), 1)]; ok {
				r.read(t, d.Name(), 1, authorityOf(t, d))
			}
		}
		if v.Delegations().Len() != 65536 {
			t.Errorf("%s has %d bins", tree, v.Delegations().Len())
		}
	}
}

func TestGenesisThresholds(t *testing.T) {
	keys := newKeyring(t).public()
	for _, r := range []policy.KeyRole{policy.KeyRoot, policy.KeyTargets, policy.KeyClaimed, policy.KeyUnclaimed} {
		keys[r] = []*key.Public{signerOf(t, string(r)+"1").Public(), signerOf(t, string(r)+"2").Public(), signerOf(t, string(r)+"3").Public()}
	}
	drafts, err := policy.Genesis(policy.GenesisSpec{
		Layout: layout(t, 16), Keys: keys, Now: now, Thresholds: policy.Thresholds{Root: 3, Targets: 2, Claimed: 2, Unclaimed: 3},
	})
	if err != nil {
		t.Fatal(err)
	}
	need := map[policy.KeyRole]int{policy.KeyRoot: 3, policy.KeyTargets: 2, policy.KeyClaimed: 2, policy.KeyUnclaimed: 3}
	for _, d := range drafts {
		r, _ := policy.SignedBy(d.Role())
		if got, want := d.Authority().Threshold(), max(need[r], 1); got != want {
			t.Errorf("%s needs %d signatures, want %d", d.Role(), got, want)
		}
		if need[r] == 0 {
			continue
		}
		_, err := repo.Sign(t.Context(), d, signerOf(t, string(r)+"1"))
		var few *repo.ThresholdError
		if !errors.As(err, &few) {
			t.Errorf("%s is content with one signature: %v", d.Role(), err)
		}
	}
}

func TestGenesisRefuses(t *testing.T) {
	good := func() policy.GenesisSpec {
		return policy.GenesisSpec{Layout: layout(t, 16), Keys: newKeyring(t).public(), Now: now}
	}
	for _, c := range []struct {
		name string
		edit func(*policy.GenesisSpec)
		want error // nil: any
	}{
		{"no layout", func(s *policy.GenesisSpec) { s.Layout = policy.Layout{} }, policy.ErrLayout},
		{"lifetime missing", func(s *policy.GenesisSpec) { s.Lifetimes.Root = day }, policy.ErrLifetime},
		{"keys missing", func(s *policy.GenesisSpec) { delete(s.Keys, policy.KeyClaimed) }, nil},
		{"no keys", func(s *policy.GenesisSpec) { s.Keys = nil }, nil},
		{"threshold above keys", func(s *policy.GenesisSpec) { s.Thresholds.Root = 2 }, nil},
		{"threshold below one", func(s *policy.GenesisSpec) { s.Thresholds.Snapshot = -1 }, nil},
		{"key in two roles", func(s *policy.GenesisSpec) { s.Keys[policy.KeyClaimed] = s.Keys[policy.KeyRegistry] }, repo.ErrSharedKey},
		{"unclaimed with the key of targets", func(s *policy.GenesisSpec) { s.Keys[policy.KeyUnclaimed] = s.Keys[policy.KeyTargets] }, repo.ErrSharedKey},
		{"unclaimed with the key of claimed", func(s *policy.GenesisSpec) { s.Keys[policy.KeyUnclaimed] = s.Keys[policy.KeyClaimed] }, repo.ErrSharedKey},
		{"key twice in one role", func(s *policy.GenesisSpec) {
			s.Keys[policy.KeyRoot] = append(s.Keys[policy.KeyRoot], s.Keys[policy.KeyRoot]...)
		}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			spec := good()
			c.edit(&spec)
			drafts, err := policy.Genesis(spec)
			if err == nil || drafts != nil {
				t.Fatalf("%d drafts, error %v", len(drafts), err)
			}
			if c.want != nil {
				wantErr(t, err, c.want)
			}
		})
	}
	if _, err := policy.Genesis(good()); err != nil {
		t.Error(err)
	}
}

// addProject publishes a file of a new project in the unclaimed tree.
func (r *repository) addProject(t testing.TB, l policy.Layout, name string, maintainer key.Signer, version int64) tuf.TargetPath {
	t.Helper()
	p := project(t, name)
	file := filename(t, p, name+"-1.0.tar.gz")
	registry := authority(t, 1, r.keys[policy.KeyRegistry])
	owner := authority(t, 1, maintainer)
	issue := func(role tuf.RoleName, version int64, a tuf.Authority) repo.Issue {
		return repo.Issue{Role: role, Version: version, Expires: now.Add(day), Now: now, Authority: a}
	}
	set := r.update(t)
	bin := r.read(t, l.UnclaimedBin(p), 1, registry)
	edit, err := policy.AddProject(l, bin, p, owner)
	if err != nil {
		t.Fatal(err)
	}
	d, err := repo.EditTargets(bin, edit, issue(l.UnclaimedBin(p), 2, registry))
	r.publish(t, d, err)

	custom, err := policy.Custom{Version: "1.0", UploadTime: now}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	target := tuf.Target{Path: l.Path(p, file), Length: 1, Hashes: tuf.NewHashes([]byte("x")), Custom: custom}
	roleIssue := issue(policy.ProjectRole(p), 1, owner)
	roleIssue.Paths = policy.NewProject(l, p, owner).Paths
	d, err = repo.NewTargets(repo.TargetsSpec{Targets: []tuf.Target{target}}, roleIssue)
	r.publish(t, d, err, maintainer)

	snapshot := authority(t, 1, r.keys[policy.KeySnapshot])
	changed := map[tuf.RoleName]int64{l.UnclaimedBin(p): 2, policy.ProjectRole(p): 1}
	d, err = repo.EditSnapshot(set.Snapshot(), changed, issue(tuf.RoleSnapshot, version, snapshot))
	r.publish(t, d, err)
	pin := repo.MetaOf(version, r.files[fileName(tuf.RoleSnapshot, version)])
	d, err = repo.EditTimestamp(set.Timestamp(), pin, issue(tuf.RoleTimestamp, version, authority(t, 1, r.keys[policy.KeyTimestamp])))
	r.publish(t, d, err)
	return target.Path
}

// chainOf turns what the client found into what is graded.
func chainOf(f *trust.Found) []policy.ChainLink {
	var out []policy.ChainLink
	for _, l := range f.Chain {
		out = append(out, policy.ChainLink{Role: l.Role, Keys: l.Authority.KeyIDs()})
	}
	return out
}

// TestFirstProject: a client finds the file of a project that was added to a new
// repository, knows its grade, and can make an index page entry of it.
func TestFirstProject(t *testing.T) {
	l := layout(t, 16)
	for name, want := range map[string]policy.Assurance{"registry": policy.Unclaimed, "maintainer": policy.RecentlyClaimed} {
		t.Run(name, func(t *testing.T) {
			r := founded(t, 16)
			path := r.addProject(t, l, "flask", signerOf(t, name), 2)
			found, err := r.update(t).Find(path, r.load)
			if err != nil {
				t.Fatal(err)
			}
			if got := policy.Assess(chainOf(found)); got != want {
				t.Errorf("assurance is %v, want %v", got, want)
			}
			f, err := policy.File(found.Target)
			if err != nil || f.Filename != "flask-1.0.tar.gz" || f.Version != "1.0" || f.Size != 1 || !f.UploadTime.Equal(now) {
				t.Errorf("file = %+v, %v", f, err)
			}
			_, err = r.update(t).Find(path+".asc", r.load)
			wantErr(t, err, trust.ErrNotFound)
		})
	}
}

func TestAddProject(t *testing.T) {
	l, p := layout(t, 16), project(t, "flask")
	r := founded(t, 16)
	r.addProject(t, l, "flask", r.keys[policy.KeyRegistry], 2)
	registry := authority(t, 1, r.keys[policy.KeyRegistry])
	bin := r.read(t, l.UnclaimedBin(p), 2, registry)
	d, ok := bin.Delegations().Find("project.flask")
	if !ok || !d.Terminating() || !slices.Equal(d.Paths(), []string{l.ProjectPattern(p)}) {
		t.Errorf("delegation is %s", d.Raw())
	}
	if !authorityOf(t, d).Equal(registry) {
		t.Error("delegated to other keys")
	}
	_, err := policy.AddProject(l, bin, p, authority(t, 1, signerOf(t, "other")))
	wantErr(t, err, policy.ErrDelegated)
}

// TestSwappedBin: whoever holds all online keys and serves the files shows an empty
// claimed bin under the name of the one that delegates a project. The keys and the version
// fit; the name inside does not.
func TestSwappedBin(t *testing.T) {
	l, p := layout(t, 16), project(t, "flask")
	r := founded(t, 16)
	path := r.addProject(t, l, "flask", signerOf(t, "thief"), 2)
	other := pypi.Project{}
	for _, name := range []string{"django", "numpy", "requests", "click", "rich"} {
		if other = project(t, name); l.Bin(other) != l.Bin(p) {
			break
		}
	}
	if _, err := r.update(t).Find(path, r.load); err != nil {
		t.Fatal(err)
	}
	r.files[fileName(l.ClaimedBin(p), 1)] = r.files[fileName(l.ClaimedBin(other), 1)]
	_, err := r.update(t).Find(path, r.load)
	var refused *trust.RefusedError
	if !errors.As(err, &refused) || refused.Code != trust.MixAndMatch || refused.Role != l.ClaimedBin(p) {
		t.Errorf("error = %v, want %s refused for mix-and-match", err, l.ClaimedBin(p))
	}
}

func BenchmarkGenesis(b *testing.B) {
	keys := newKeyring(b).public()
	for _, bins := range []int{256, 65536} {
		b.Run(fmt.Sprint(bins), func(b *testing.B) {
			for b.Loop() {
				if _, err := policy.Genesis(policy.GenesisSpec{Layout: layout(b, bins), Keys: keys, Now: now}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
