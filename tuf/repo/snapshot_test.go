package repo_test

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/repo"
)

func versions(s *tuf.Snapshot) map[tuf.RoleName]int64 {
	out := make(map[tuf.RoleName]int64)
	for role, meta := range s.All() {
		out[role] = meta.Version
	}
	return out
}

func (r role) snapshot(t fataler, d *repo.Draft, err error) *tuf.Snapshot {
	t.Helper()
	data := published(t, d, err, r.signer)
	checkBytes(t, d, data)
	return verified(t, tuf.ParseSnapshot, data, r.authority)
}

// many lists n projects beside the top-level targets.
func many(n int) map[tuf.RoleName]int64 {
	out := map[tuf.RoleName]int64{tuf.RoleTargets: 1}
	for i := range n {
		out[tuf.RoleName(fmt.Sprintf("project.p%d", i))] = int64(i%9 + 1)
	}
	return out
}

func TestNewSnapshot(t *testing.T) {
	r := newRole(t, tuf.RoleSnapshot)
	// "a-b" sorts before "a", because file names are compared.
	want := map[tuf.RoleName]int64{tuf.RoleTargets: 1, "a": 2, "a-b": 3, `odd "näme"`: 1<<53 - 1}
	d, err := repo.NewSnapshot(want, r.issue(1))
	got := r.snapshot(t, d, err)
	if diff := cmp.Diff(want, versions(got)); diff != "" {
		t.Errorf("versions (-want +got):\n%s", diff)
	}
	meta, _ := got.Lookup("a")
	if meta.Length != -1 || !meta.Hashes.IsZero() {
		t.Errorf("entry = %+v, want a version alone", meta)
	}
	if got.Version() != 1 || !got.Expires().Equal(expires) {
		t.Errorf("version %d until %v", got.Version(), got.Expires())
	}
}

func TestEditSnapshot(t *testing.T) {
	r := newRole(t, tuf.RoleSnapshot)
	for _, n := range []int{0, 1, 127, 128, 129, 255, 256, 257, 1000} {
		want := many(n)
		d, err := repo.NewSnapshot(want, r.issue(1))
		base := r.snapshot(t, d, err)
		changed := map[tuf.RoleName]int64{
			tuf.RoleTargets: 12, "project.p0": 10, "project.p77": 10, "project.p999": 100,
			"0": 1, "project.p1-new": 1, "zzz": 1,
		}
		maps.Copy(want, changed)
		d, err = repo.EditSnapshot(base, changed, r.issue(2))
		if diff := cmp.Diff(want, versions(r.snapshot(t, d, err))); diff != "" {
			t.Errorf("%d roles: versions (-want +got):\n%s", n, diff)
		}
	}
}

func TestEditSnapshotKeepsWhatItDoesNotKnow(t *testing.T) {
	r := newRole(t, tuf.RoleSnapshot)
	base := foreign(t, tuf.ParseSnapshot, `{"_type":"snapshot","spec_version":"1.0.30","version":8,"expires":"2020-01-01T00:00:00Z","a-member":[1],"z-member":"é",
		"meta":{"targets.json":{"version":3,"length":7,"hashes":{"sha256":"`+strings.Repeat("ab", 32)+`"},"x-entry":1},
			"a.json":{"version":3,"length":7,"x-entry":{"b":1,"a":2}}}}`, r)
	d, err := repo.EditSnapshot(base, map[tuf.RoleName]int64{tuf.RoleTargets: 4, "a": 3}, r.issue(9))
	r.snapshot(t, d, err)
	want := `{"_type":"snapshot","a-member":[1],"expires":"2026-09-02T12:00:00Z",` +
		`"meta":{"a.json":{"length":7,"version":3,"x-entry":{"a":2,"b":1}},"targets.json":{"version":4,"x-entry":1}},` +
		`"spec_version":"1.0.30","version":9,"z-member":"é"}`
	if got := string(d.Message()); got != want {
		t.Errorf("message\n%s\nwant\n%s", got, want)
	}
}

func TestSnapshotMembers(t *testing.T) {
	r := newRole(t, tuf.RoleSnapshot)
	d, err := repo.NewSnapshot(map[tuf.RoleName]int64{tuf.RoleTargets: 1}, r.issue(1))
	first, err := repo.OpenSnapshot(r.snapshot(t, d, err))
	if err != nil {
		t.Fatal(err)
	}
	with := func(s *repo.Snapshot, value []byte) *repo.Snapshot {
		t.Helper()
		s, err := s.WithMembers(map[string][]byte{"x-a": value, "x-b": []byte(` [ 1 ] `)})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	edited, d, err := with(first, []byte(`{"b":1,"a":2}`)).Edit(map[tuf.RoleName]int64{"a": 1}, r.issue(2))
	second := r.snapshot(t, d, err)
	if raw, ok := second.Member("x-a"); !ok || string(raw) != `{"a":2,"b":1}` {
		t.Errorf("the member is %s, %t", raw, ok)
	}
	_, d, err = edited.Edit(nil, r.issue(3)) // stays
	if raw, ok := r.snapshot(t, d, err).Member("x-b"); !ok || string(raw) != `[1]` {
		t.Errorf("the member is %s, %t after an edit that does not name it", raw, ok)
	}
	_, d, err = with(edited, nil).Edit(nil, r.issue(3))
	if raw, ok := r.snapshot(t, d, err).Member("x-a"); ok {
		t.Errorf("the member is %s after its removal", raw)
	}
	_, d, err = first.Edit(nil, r.issue(2))
	if _, ok := r.snapshot(t, d, err).Member("x-a"); ok {
		t.Error("the base was changed")
	}
	for _, name := range []string{"meta", "version", "expires", "_type", "spec_version", "\xff"} {
		_, err := first.WithMembers(map[string][]byte{name: []byte("1")})
		wantErr(t, err, repo.ErrMember)
	}
	_, err = first.WithMembers(map[string][]byte{"x": []byte("{")})
	wantErr(t, err, repo.ErrMember)
}

func TestSnapshotRefusals(t *testing.T) {
	r := newRole(t, tuf.RoleSnapshot)
	d, err := repo.NewSnapshot(map[tuf.RoleName]int64{tuf.RoleTargets: 5, "a": 5}, r.issue(1))
	base := r.snapshot(t, d, err)
	for _, c := range []struct {
		name    string
		role    tuf.RoleName
		version int64
		want    error
	}{
		{"rollback", "a", 4, repo.ErrVersion},
		{"version zero", "b", 0, repo.ErrVersion},
		{"version too high", "b", 1 << 53, repo.ErrVersion},
		{"no name", "", 1, repo.ErrRoleName},
		{"name not UTF-8", "a\xff", 1, repo.ErrRoleName},
		{"root", "root", 1, repo.ErrRoleName},
		{"timestamp", "timestamp", 1, repo.ErrRoleName},
		{"snapshot", "snapshot", 1, repo.ErrRoleName},
		{"targets in another case", "Targets", 1, repo.ErrRoleName},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := repo.EditSnapshot(base, map[tuf.RoleName]int64{c.role: c.version}, r.issue(2))
			wantErr(t, err, c.want)
		})
	}
	_, err = repo.EditSnapshot(base, nil, r.issue(3))
	wantErr(t, err, repo.ErrVersion)
	_, err = repo.NewSnapshot(map[tuf.RoleName]int64{"a": 1}, r.issue(1))
	wantErr(t, err, repo.ErrAbsent)
	issue := r.issue(1)
	issue.Role = tuf.RoleTargets
	_, err = repo.NewSnapshot(map[tuf.RoleName]int64{tuf.RoleTargets: 1}, issue)
	wantErr(t, err, repo.ErrRoleName)
	issue.Role = ""
	if _, err = repo.NewSnapshot(map[tuf.RoleName]int64{tuf.RoleTargets: 1}, issue); err != nil {
		t.Errorf("issue without a role name: %v", err)
	}
}

// TestSnapshotOfAPublisher edits the same snapshot again and again, drops some of the
// results as a publication that fails does, and compares with a map.
func TestSnapshotOfAPublisher(t *testing.T) {
	r := newRole(t, tuf.RoleSnapshot)
	want := many(10)
	d, err := repo.NewSnapshot(want, r.issue(1))
	s, err := repo.OpenSnapshot(r.snapshot(t, d, err))
	if err != nil {
		t.Fatal(err)
	}
	version := int64(1)
	for i := range 300 {
		changed := make(map[tuf.RoleName]int64)
		for j := range i % 7 {
			role := tuf.RoleName(fmt.Sprintf("project.n%d", (i*i+31*j)%900))
			changed[role] = want[role] + 1
		}
		next, d, err := s.Edit(changed, r.issue(version+1))
		if err != nil {
			t.Fatal(err)
		}
		if i%5 == 4 {
			continue // the commit failed
		}
		s, version = next, version+1
		maps.Copy(want, changed)
		if i%60 == 0 || i > 297 {
			if diff := cmp.Diff(want, versions(r.snapshot(t, d, nil))); diff != "" {
				t.Fatalf("step %d: versions (-want +got):\n%s", i, diff)
			}
		}
	}
	if s.Version() != version || s.Len() != len(want) {
		t.Errorf("version %d with %d roles, want %d with %d", s.Version(), s.Len(), version, len(want))
	}
	for role, v := range want {
		if got, ok := s.Lookup(role); !ok || got != v {
			t.Errorf("Lookup(%s) = %d, %v, want %d", role, got, ok, v)
		}
	}
	for _, role := range []tuf.RoleName{"", "0", "project.n", "zzzz"} {
		if v, ok := s.Lookup(role); ok {
			t.Errorf("Lookup(%q) = %d", role, v)
		}
	}
}

func TestEditLeavesItsBaseAlone(t *testing.T) {
	r := newRole(t, tuf.RoleSnapshot)
	d, err := repo.NewSnapshot(many(500), r.issue(1))
	base := r.snapshot(t, d, err)
	bytesBefore := bytes.Clone(base.Bytes())
	s, err := repo.OpenSnapshot(base)
	if err != nil {
		t.Fatal(err)
	}
	one, d1, err := s.Edit(map[tuf.RoleName]int64{"project.p7": 100}, r.issue(2))
	if err != nil {
		t.Fatal(err)
	}
	message := bytes.Clone(d1.Message())
	if _, _, err := s.Edit(map[tuf.RoleName]int64{"project.p7": 200, "project.p70": 200}, r.issue(2)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := one.Edit(map[tuf.RoleName]int64{"project.p7": 300}, r.issue(3)); err != nil {
		t.Fatal(err)
	}
	if v, _ := s.Lookup("project.p7"); v != 8 {
		t.Errorf("the base lists version %d", v)
	}
	if v, _ := one.Lookup("project.p7"); v != 100 {
		t.Errorf("the first edit lists version %d", v)
	}
	if !bytes.Equal(d1.Message(), message) || !bytes.Equal(base.Bytes(), bytesBefore) {
		t.Error("an edit changed bytes that others hold")
	}
}

func TestSnapshotOfNothing(t *testing.T) {
	r := newRole(t, tuf.RoleSnapshot)
	base := foreign(t, tuf.ParseSnapshot, `{"_type":"snapshot","expires":"2030-01-01T00:00:00Z","meta":{"targets.json":{"version":1}},"spec_version":"1.0","version":1}`, r)
	d, err := repo.EditSnapshot(base, nil, r.issue(2))
	if got := versions(r.snapshot(t, d, err)); !maps.Equal(got, map[tuf.RoleName]int64{tuf.RoleTargets: 1}) {
		t.Errorf("versions = %v", got)
	}
}

func TestTimestamp(t *testing.T) {
	r := newRole(t, tuf.RoleTimestamp)
	pin := repo.MetaOf(5, []byte("snapshot bytes"))
	for _, meta := range []tuf.Meta{pin, {Version: 5, Length: -1}, {Version: 5}} {
		d, err := repo.NewTimestamp(meta, r.issue(1))
		data := published(t, d, err, r.signer)
		checkBytes(t, d, data)
		got := verified(t, tuf.ParseTimestamp, data, r.authority).Snapshot()
		want := meta
		if want.Length == 0 {
			want.Length = -1
		}
		if got != want {
			t.Errorf("snapshot = %+v, want %+v", got, want)
		}
	}
	if err := pin.Hashes.Check([]byte("snapshot bytes")); err != nil || pin.Length != 14 {
		t.Errorf("MetaOf: length %d, %v", pin.Length, err)
	}
}

func TestEditTimestamp(t *testing.T) {
	r := newRole(t, tuf.RoleTimestamp)
	base := foreign(t, tuf.ParseTimestamp, `{"_type":"timestamp","spec_version":"1.0","version":4,"expires":"2020-01-01T00:00:00Z","x-tree":{"root":"00"},
		"meta":{"snapshot.json":{"version":7,"length":3,"hashes":{"sha512":"`+strings.Repeat("ab", 64)+`"},"x":1}}}`, r)
	d, err := repo.EditTimestamp(base, tuf.Meta{Version: 7, Length: -1}, r.issue(5))
	data := published(t, d, err, r.signer)
	checkBytes(t, d, data)
	want := `{"_type":"timestamp","expires":"2026-09-02T12:00:00Z","meta":{"snapshot.json":{"version":7,"x":1}},"spec_version":"1.0","version":5,"x-tree":{"root":"00"}}`
	if got := string(d.Message()); got != want {
		t.Errorf("message\n%s\nwant\n%s", got, want)
	}
	got := verified(t, tuf.ParseTimestamp, data, r.authority)
	d, err = repo.EditTimestamp(got, repo.MetaOf(8, []byte("x")), r.issue(6))
	if pinned := verified(t, tuf.ParseTimestamp, published(t, d, err, r.signer), r.authority).Snapshot(); pinned != repo.MetaOf(8, []byte("x")) {
		t.Errorf("snapshot = %+v", pinned)
	}
}

func TestTimestampRefusals(t *testing.T) {
	r := newRole(t, tuf.RoleTimestamp)
	d, err := repo.NewTimestamp(tuf.Meta{Version: 5}, r.issue(1))
	base := verified(t, tuf.ParseTimestamp, published(t, d, err, r.signer), r.authority)
	for _, c := range []struct {
		name    string
		meta    tuf.Meta
		version int64
		want    error
	}{
		{"snapshot goes back", tuf.Meta{Version: 4}, 2, repo.ErrVersion},
		{"no snapshot", tuf.Meta{}, 2, repo.ErrVersion},
		{"snapshot version too high", tuf.Meta{Version: 1 << 53}, 2, repo.ErrVersion},
		{"length too high", tuf.Meta{Version: 5, Length: 1 << 53}, 2, repo.ErrTarget},
		{"not the next version", tuf.Meta{Version: 5}, 3, repo.ErrVersion},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := repo.EditTimestamp(base, c.meta, r.issue(c.version))
			wantErr(t, err, c.want)
		})
	}
	_, err = repo.NewTimestamp(tuf.Meta{}, r.issue(1))
	wantErr(t, err, repo.ErrVersion)
	other := foreign(t, tuf.ParseTimestamp, `{"_type":"timestamp","expires":"2030-01-01T00:00:00Z","meta":{"snapshot.json":{"version":1,"hashes":{"later":"00"}}},"spec_version":"1.0","version":1}`, r)
	_, err = repo.NewTimestamp(other.Snapshot(), r.issue(1))
	wantErr(t, err, repo.ErrNoHash)
}

// TestBoundsOfFiles: what clients with default limits would not read is not written.
func TestBoundsOfFiles(t *testing.T) {
	big := fmt.Appendf(nil, `"%s"`, strings.Repeat("x", 600_000))
	r := newRole(t, tuf.RoleRoot)
	spec := rootSpec(t)
	spec.Members = map[string][]byte{"x": big}
	_, err := repo.NewRoot(spec, r.issue(1))
	wantErr(t, err, repo.ErrTooMany)

	x := newRole(t, "x")
	list := make([]repo.Delegation, 1<<17+1)
	for i := range list {
		list[i] = repo.Delegation{Role: tuf.RoleName(fmt.Sprint(i)), Authority: x.authority, Paths: []string{"a"}}
	}
	_, err = repo.NewTargets(repo.TargetsSpec{Delegations: list}, x.issue(1))
	wantErr(t, err, repo.ErrTooMany)
	if !slices.Equal(list[0].Paths, []string{"a"}) {
		t.Error("the specification was changed")
	}

	// As many patterns as clients read, and one more.
	list = list[:257]
	for i := range list {
		list[i].Paths = slices.Repeat([]string{"a"}, 4096)
	}
	d, err := repo.NewTargets(repo.TargetsSpec{Delegations: list[:256]}, x.issue(1))
	x.targets(t, d, err)
	list[256].Paths = nil
	list[256].HashPrefixes = []string{"0"}
	_, err = repo.NewTargets(repo.TargetsSpec{Delegations: list}, x.issue(1))
	wantErr(t, err, repo.ErrTooMany)
}
