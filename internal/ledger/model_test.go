package ledger_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"example.com/bailiwick/internal/index"
	"example.com/bailiwick/internal/ledger"
	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/tuf"
)

// TestSQLiteBehavesAsMemory runs random histories against both ledgers: each call must have the same
// outcome, and afterwards both must show the same.
func TestSQLiteBehavesAsMemory(t *testing.T) {
	dir := t.TempDir()
	round := 0
	rapid.Check(t, func(rt *rapid.T) {
		round++
		path := filepath.Join(dir, fmt.Sprint(round))
		disk, err := ledger.CreateSQLite(t.Context(), path)
		if err != nil {
			rt.Fatal(err)
		}
		defer os.Remove(path)
		m := &model{t: t, path: path, disk: disk, memory: ledger.NewMemory(), next: 1}
		defer func() { m.disk.Close() }()
		rt.Repeat(map[string]func(*rapid.T){
			"commit": m.commit,
			"prune":  m.prune,
			"token":  m.token,
			"reopen": m.reopen,
			"":       m.compare,
		})
		m.compareMetadata(rt)
	})
}

type model struct {
	t      *testing.T
	path   string
	disk   *ledger.SQLite
	memory *ledger.Memory
	next   int64
}

// at keeps to few seconds, so that equal times are common.
func (m *model) at(n int64) time.Time { return time.Unix(1_800_000_000+n/3, 0).UTC() }

func (m *model) commit(t *rapid.T) {
	p := &publish.Publication{Number: m.next + rapid.SampledFrom([]int64{0, 0, 0, 0, -1, 1}).Draw(t, "off"), Time: m.at(m.next)}
	for _, role := range rapid.SliceOfN(rapid.SampledFrom(roles()), 1, 5).Draw(t, "roles") {
		v := m.next + rapid.SampledFrom([]int64{0, 0, 0, 0, 0, 0, 2, -1}).Draw(t, "version")
		p.Metadata = append(p.Metadata, publish.Metadata{Role: role, Version: v, Expires: m.at(v), Bytes: fmt.Append(nil, role, v)})
	}
	for _, i := range rapid.SliceOfN(rapid.IntRange(0, 40), 0, 2).Draw(t, "files") {
		name, err := pypi.ParseFilename(fmt.Sprintf("a-%d.tar.gz", i))
		if err != nil {
			t.Fatal(err)
		}
		p.Files = append(p.Files, publish.File{Filename: name, Project: name.Project(), Size: int64(i), Uploaded: m.at(m.next)})
	}
	err := m.same(t, "Commit", m.memory.Commit(m.t.Context(), p), m.disk.Commit(m.t.Context(), p))
	if err == nil {
		m.next++
	}
}

func roles() []tuf.RoleName {
	return []tuf.RoleName{tuf.RoleRoot, tuf.RoleTimestamp, tuf.RoleSnapshot, tuf.RoleTargets, "project.a", "project.b"}
}

func (m *model) prune(t *rapid.T) {
	before := m.at(rapid.Int64Range(0, m.next+3).Draw(t, "roles"))
	pinners := m.at(rapid.Int64Range(0, m.next+3).Draw(t, "pinners"))
	// Which of equally old versions go first is left open, so a bound could tell the two apart.
	n1, err1 := m.memory.Prune(m.t.Context(), before, pinners, 1000)
	n2, err2 := m.disk.Prune(m.t.Context(), before, pinners, 1000)
	if err1 != nil || err2 != nil || n1 != n2 {
		t.Fatalf("Prune: memory %d, %v; disk %d, %v", n1, err1, n2, err2)
	}
}

func (m *model) token(t *rapid.T) {
	token := index.Token{
		ID:   rapid.StringMatching(`[a-z]{1,3}`).Draw(t, "id"),
		Hash: [32]byte{rapid.Byte().Draw(t, "hash")}, Created: m.at(m.next),
	}
	if rapid.Bool().Draw(t, "revoked") {
		token.Revoked = m.at(m.next)
	}
	_ = m.same(t, "PutToken", m.memory.PutToken(m.t.Context(), token), m.disk.PutToken(m.t.Context(), token))
}

func (m *model) reopen(t *rapid.T) {
	if rapid.IntRange(0, 7).Draw(t, "now") != 7 { // it takes longer than everything else together
		return
	}
	if err := m.disk.Close(); err != nil {
		t.Fatal(err)
	}
	var err error
	if m.disk, err = ledger.OpenSQLite(m.t.Context(), m.path); err != nil {
		t.Fatal(err)
	}
}

// same checks that two errors are of one kind, and returns the first.
func (m *model) same(t *rapid.T, what string, memory, disk error) error {
	for _, kind := range []error{publish.ErrConflict, publish.ErrNotFound, publish.ErrNoRepository} {
		if errors.Is(memory, kind) != errors.Is(disk, kind) {
			t.Fatalf("%s: memory says %v, disk says %v", what, memory, disk)
		}
	}
	if (memory == nil) != (disk == nil) {
		t.Fatalf("%s: memory says %v, disk says %v", what, memory, disk)
	}
	return memory
}

func (m *model) compare(t *rapid.T) {
	ctx := m.t.Context()
	h1, err1 := m.memory.Head(ctx)
	h2, err2 := m.disk.Head(ctx)
	_ = m.same(t, "Head", err1, err2)
	r1, err1 := m.memory.Roles(ctx)
	r2, err2 := m.disk.Roles(ctx)
	_ = m.same(t, "Roles", err1, err2)
	t1, err1 := m.memory.Tokens(ctx)
	t2, err2 := m.disk.Tokens(ctx)
	_ = m.same(t, "Tokens", err1, err2)
	memory, disk := []any{h1, r1, t1}, []any{h2, r2, t2}
	if reflect.DeepEqual(memory, disk) { // much faster than a diff
		return
	}
	if diff := cmp.Diff(memory, disk, cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("memory and disk differ (-memory +disk):\n%s", diff)
	}
}

func (m *model) compareMetadata(t *rapid.T) {
	ctx := m.t.Context()
	for _, role := range roles() {
		for v := range m.next + 3 {
			m1, err1 := m.memory.Metadata(ctx, role, v)
			m2, err2 := m.disk.Metadata(ctx, role, v)
			_ = m.same(t, "Metadata", err1, err2)
			if diff := cmp.Diff(m1, m2); diff != "" {
				t.Fatalf("%s version %d (-memory +disk):\n%s", role, v, diff)
			}
		}
	}
}
