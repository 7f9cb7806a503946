package ledgertest

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/tuf"
)

// projectRole names a project's role as the suite does.
func projectRole(i int) tuf.RoleName { return tuf.RoleName(fmt.Sprintf("project.p%d", i)) }

// meta makes one version of a role, with bytes that tell which it is.
func meta(role tuf.RoleName, version int64) publish.Metadata {
	return publish.Metadata{
		Role: role, Version: version, Expires: at(1_000_000 + version),
		Bytes: fmt.Appendf(nil, "%s version %d", role, version),
	}
}

func mustProject(t testing.TB, name string) pypi.Project {
	t.Helper()
	p, err := pypi.ParseProject(name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// file makes a file of project pI.
func file(t testing.TB, i int, name string) publish.File {
	t.Helper()
	project := mustProject(t, fmt.Sprintf("p%d", i))
	filename, err := pypi.ParseFilenameFor(project, name)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte("metadata of " + name))
	return publish.File{
		Filename: filename, Project: project, Version: "1.0", Size: 1 << 33, SHA256: sha256.Sum256([]byte(name)),
		MetadataSHA256: &sum, RequiresPython: ">=3.9", Uploaded: at(5), Uploader: "token-1",
	}
}

// pub makes a publication with a timestamp, a snapshot, and the roles given, all of version number.
func pub(number int64, roles ...tuf.RoleName) *publish.Publication {
	p := &publish.Publication{Number: number, Time: at(number)}
	for _, r := range append(roles, tuf.RoleSnapshot, tuf.RoleTimestamp) {
		p.Metadata = append(p.Metadata, meta(r, number))
	}
	return p
}

func commit(t testing.TB, l publish.Ledger, p *publish.Publication) {
	t.Helper()
	if err := l.Commit(t.Context(), p); err != nil {
		t.Fatalf("committing publication %d: %v", p.Number, err)
	}
}

// genesis commits publication 1.
func genesis(t testing.TB, l publish.Ledger) {
	t.Helper()
	commit(t, l, pub(1, tuf.RoleRoot, tuf.RoleTargets, projectRole(1)))
}

func wantErr(t testing.TB, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: error %v, want %v", what, err, want)
	}
}

func same(t testing.TB, what string, got, want any) {
	t.Helper()
	diff := cmp.Diff(want, got, cmp.Comparer(func(a, b pypi.Filename) bool { return a == b }),
		cmp.Comparer(func(a, b pypi.Project) bool { return a == b }))
	if diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func wantMetadata(t testing.TB, l publish.Ledger, m publish.Metadata) {
	t.Helper()
	got, err := l.Metadata(t.Context(), m.Role, m.Version)
	if err != nil {
		t.Errorf("version %d of %s: %v", m.Version, m.Role, err)
		return
	}
	if !bytes.Equal(got.Bytes, m.Bytes) { // compared here because a diff of large files takes long
		t.Errorf("version %d of %s: %d bytes that are not the %d committed ones", m.Version, m.Role, len(got.Bytes), len(m.Bytes))
	}
	got.Bytes, m.Bytes = nil, nil
	same(t, fmt.Sprintf("version %d of %s", m.Version, m.Role), got, m)
}

func wantNoMetadata(t testing.TB, l publish.Ledger, role tuf.RoleName, version int64) {
	t.Helper()
	_, err := l.Metadata(t.Context(), role, version)
	wantErr(t, fmt.Sprintf("version %d of %s", version, role), err, publish.ErrNotFound)
}

// state reads all that a ledger shows about roles and its head, to compare before and after.
func state(t testing.TB, l publish.Ledger) (publish.Head, []publish.Role) {
	t.Helper()
	h, err := l.Head(t.Context())
	if err != nil && !errors.Is(err, publish.ErrNoRepository) {
		t.Fatal(err)
	}
	roles, err := l.Roles(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return h, roles
}

// unchanged runs do and checks that it left head and roles alone.
func unchanged(t testing.TB, l publish.Ledger, do func()) {
	t.Helper()
	head, roles := state(t, l)
	do()
	head2, roles2 := state(t, l)
	same(t, "head after a failed call", head2, head)
	same(t, "roles after a failed call", roles2, roles)
}
