// Package ledgertest checks that a ledger keeps every promise written on the methods of
// publish.Ledger, index.Tokens and index.Records, and measures it. A new ledger runs [Run], and, if it is durable,
// [Crash]; benchmarks are [Bench]. The suite uses the public methods alone.
package ledgertest

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"example.com/bailiwick/internal/index"
	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/tuf"
)

// Ledger is what the suite checks.
type Ledger interface {
	publish.Ledger
	publish.Proposals
	index.Tokens
	index.Records
	Close() error
}

// Create makes an empty ledger for one test, and a function that opens the same ledger again after
// it was closed. The test closes every ledger that it gets.
type Create func(t testing.TB) (l Ledger, reopen func() Ledger)

// start is when the story of every test begins.
var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// at is n seconds into the story; publication n is published then.
func at(n int64) time.Time { return start.Add(time.Duration(n) * time.Second) }

// Run runs the contract suite.
func Run(t *testing.T, create Create) {
	for _, c := range []struct {
		name string
		run  func(t *testing.T, l Ledger)
	}{
		{"an empty ledger says so", testEmpty},
		{"a commit shows everything", testCommitShows},
		{"bytes come back as they were", testBytes},
		{"a wrong number conflicts", testNumberConflict},
		{"a role version conflicts", testVersionConflict},
		{"a file name conflicts", testFilenameConflict},
		{"nonsense is refused", testNonsense},
		{"arguments are not kept", testArguments},
		{"values belong to the caller", testValues},
		{"a cancelled call changes nothing", testCancelled},
		{"one of two rivals wins", testRivals},
		{"readers see whole publications", testReaders},
		{"prune keeps what is newest", testPruneKeeps},
		{"prune has two cut-offs", testPruneCutOffs},
		{"prune is bounded and oldest first", testPruneBounded},
		{"prune counts from being superseded", testPruneSuperseded},
		{"tokens", testTokens},
		{"tokens are ordered by age", testTokenOrder},
		{"tokens under rivals", testTokenRivals},
		{"staged files", testStaged},
		{"signing requests", testRequests},
		{"events", testEvents},
		{"a publication ends what waited for it", testExecuted},
		{"records of nothing are refused", testRecordNonsense},
		{"a cancelled call records nothing", testRecordsCancelled},
		{"signatures under rivals", testRecordRivals},
		{"what is proposed to the signer", testProposal},
		{"what waits for the signer", testWaiting},
		{"rights of tokens", testTokenRights},
		{"operators' requests", testOperatorRequests},
		{"a publication executes operators' requests", testOperatorExecuted},
		{"operators' nonsense is refused", testOperatorNonsense},
		{"a cancelled call of an operator changes nothing", testOperatorsCancelled},
		{"the record is a chain", testRecord},
		{"recoveries", testRecoveries},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, _ := create(t)
			t.Cleanup(func() { closeLedger(t, l) })
			c.run(t, l)
		})
	}
	t.Run("closing loses nothing", func(t *testing.T) { testReopen(t, create) })
}

func closeLedger(t testing.TB, l Ledger) {
	if err := l.Close(); err != nil {
		t.Errorf("closing: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Errorf("closing again: %v", err)
	}
}

func testEmpty(t *testing.T, l Ledger) {
	_, err := l.Head(t.Context())
	wantErr(t, "Head", err, publish.ErrNoRepository)
	if roles, err := l.Roles(t.Context()); len(roles) != 0 || err != nil {
		t.Errorf("Roles = %v, %v; want none", roles, err)
	}
	wantNoMetadata(t, l, tuf.RoleRoot, 0)
	wantNoMetadata(t, l, tuf.RoleRoot, 1)
	_, err = l.File(t.Context(), file(t, 1, "p1-1.0.tar.gz").Filename)
	wantErr(t, "File", err, publish.ErrNotFound)
	if n, err := l.Prune(t.Context(), at(1000), at(1000), 10); n != 0 || err != nil {
		t.Errorf("Prune = %d, %v; want 0", n, err)
	}
	if tokens, err := l.Tokens(t.Context()); len(tokens) != 0 || err != nil {
		t.Errorf("Tokens = %v, %v; want none", tokens, err)
	}
	_, err = l.Token(t.Context(), [32]byte{})
	wantErr(t, "Token", err, index.ErrNoToken)
}

func testCommitShows(t *testing.T, l Ledger) {
	genesis(t, l)
	p := pub(2, projectRole(1), projectRole(2), "a-role", "Z-role", "é-role")
	withSum, without := file(t, 1, "p1-1.0-py3-none-any.whl"), file(t, 2, "p2-1.0.tar.gz")
	without.MetadataSHA256, without.RequiresPython, without.Uploader = nil, "", ""
	p.Files = []publish.File{withSum, without}
	commit(t, l, p)

	head, roles := state(t, l)
	same(t, "head", head, publish.Head{Number: 2, Time: at(2), Root: 1, Snapshot: 2})
	var want []publish.Role
	for _, r := range []struct {
		name    tuf.RoleName
		version int64
	}{
		{"Z-role", 2},
		{"a-role", 2},
		{projectRole(1), 2},
		{projectRole(2), 2},
		{tuf.RoleRoot, 1},
		{tuf.RoleSnapshot, 2},
		{tuf.RoleTargets, 1},
		{tuf.RoleTimestamp, 2},
		{"é-role", 2},
	} {
		want = append(want, publish.Role{Name: r.name, Version: r.version, Expires: meta(r.name, r.version).Expires})
	}
	same(t, "roles, in byte order", roles, want)
	for _, m := range append(p.Metadata, meta(projectRole(1), 1), meta(tuf.RoleRoot, 1), meta(tuf.RoleTimestamp, 1)) {
		wantMetadata(t, l, m)
	}
	newest, err := l.Metadata(t.Context(), projectRole(1), 0)
	if err != nil {
		t.Error(err)
	}
	same(t, "newest of a role", newest, meta(projectRole(1), 2))
	wantNoMetadata(t, l, projectRole(1), 3)
	wantNoMetadata(t, l, projectRole(1), -1)
	wantNoMetadata(t, l, "PROJECT.p1", 0)
	for _, f := range p.Files {
		got, err := l.File(t.Context(), f.Filename)
		if err != nil {
			t.Error(err)
		}
		same(t, "file", got, f)
	}
	_, err = l.File(t.Context(), file(t, 1, "P1-1.0-py3-none-any.whl").Filename)
	wantErr(t, "a file name in another spelling", err, publish.ErrNotFound)
}

func testBytes(t *testing.T, l Ledger) {
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	p := pub(1)
	want := map[tuf.RoleName][]byte{
		"one": {0}, "all": all, "large": bytes.Repeat(all, 1<<13), "empty": {},
	}
	for role, data := range want {
		p.Metadata = append(p.Metadata, publish.Metadata{Role: role, Version: 1 << 40, Expires: at(1), Bytes: data})
	}
	commit(t, l, p)
	for role, data := range want {
		got, err := l.Metadata(t.Context(), role, 0)
		if err != nil || !bytes.Equal(got.Bytes, data) || got.Version != 1<<40 {
			t.Errorf("role %s: %d bytes of version %d, %v; want %d bytes", role, len(got.Bytes), got.Version, err, len(data))
		}
	}
}

func testNumberConflict(t *testing.T, l Ledger) {
	// All versions are 9, so that nothing but the number is wrong.
	wrong := func(n int64) {
		t.Helper()
		p := pub(n, projectRole(7))
		for i := range p.Metadata {
			p.Metadata[i].Version = 9
		}
		p.Files = []publish.File{file(t, 7, "p7-1.0.tar.gz")}
		wantErr(t, fmt.Sprintf("publication %d", n), l.Commit(t.Context(), p), publish.ErrConflict)
		wantNoMetadata(t, l, projectRole(7), 0)
		_, err := l.File(t.Context(), p.Files[0].Filename)
		wantErr(t, "file of a refused publication", err, publish.ErrNotFound)
	}
	for _, n := range []int64{-1, 0, 2} {
		wrong(n)
	}
	_, err := l.Head(t.Context())
	wantErr(t, "Head", err, publish.ErrNoRepository)
	genesis(t, l)
	unchanged(t, l, func() {
		for _, n := range []int64{-1, 0, 1, 3} {
			wrong(n)
		}
	})
	commit(t, l, pub(2))
}

func testVersionConflict(t *testing.T, l Ledger) {
	genesis(t, l)
	commit(t, l, pub(2, projectRole(1)))
	unchanged(t, l, func() {
		for _, version := range []int64{1, 2} {
			p := pub(3, projectRole(5))
			p.Metadata = append(p.Metadata, meta(projectRole(1), version))
			p.Files = []publish.File{file(t, 5, "p5-1.0.tar.gz")}
			wantErr(t, fmt.Sprintf("version %d of a role at 2", version), l.Commit(t.Context(), p), publish.ErrConflict)
			wantNoMetadata(t, l, projectRole(5), 0)
			wantNoMetadata(t, l, tuf.RoleTimestamp, 3)
			_, err := l.File(t.Context(), p.Files[0].Filename)
			wantErr(t, "file of a refused publication", err, publish.ErrNotFound)
		}
	})
	wantMetadata(t, l, meta(projectRole(1), 2))
	p := pub(3)
	p.Metadata = append(p.Metadata, meta(projectRole(1), 50)) // versions may jump
	commit(t, l, p)
}

func testFilenameConflict(t *testing.T, l Ledger) {
	genesis(t, l)
	p := pub(2)
	p.Files = []publish.File{file(t, 1, "p1-1.0.tar.gz")}
	commit(t, l, p)
	unchanged(t, l, func() {
		q := pub(3, projectRole(8))
		again := file(t, 1, "p1-1.0.tar.gz")
		again.SHA256[0]++
		q.Files = []publish.File{file(t, 8, "p8-1.0.tar.gz"), again}
		wantErr(t, "a used file name", l.Commit(t.Context(), q), publish.ErrConflict)
		wantNoMetadata(t, l, projectRole(8), 0)
		_, err := l.File(t.Context(), q.Files[0].Filename)
		wantErr(t, "another file of the refused publication", err, publish.ErrNotFound)
		q.Files = []publish.File{file(t, 8, "p8-1.0.tar.gz"), file(t, 8, "p8-1.0.tar.gz")}
		wantErr(t, "one file name twice", l.Commit(t.Context(), q), publish.ErrConflict)
	})
	got, err := l.File(t.Context(), p.Files[0].Filename)
	if err != nil {
		t.Error(err)
	}
	same(t, "the first file of that name", got, p.Files[0])
}

func testNonsense(t *testing.T, l Ledger) {
	genesis(t, l)
	unchanged(t, l, func() {
		for name, spoil := range map[string]func(p *publish.Publication){
			"no role":      func(p *publish.Publication) { p.Metadata[0].Role = "" },
			"version 0":    func(p *publish.Publication) { p.Metadata[0].Version = 0 },
			"no file name": func(p *publish.Publication) { p.Files[0].Filename = pypi.Filename{} },
			"no project":   func(p *publish.Publication) { p.Files[0].Project = pypi.Project{} },
		} {
			p := pub(2)
			p.Files = []publish.File{file(t, 1, "p1-1.0.tar.gz")}
			spoil(p)
			if err := l.Commit(t.Context(), p); err == nil {
				t.Errorf("%s: committed", name)
			}
		}
	})
}

func testArguments(t *testing.T, l Ledger) {
	p := pub(1, projectRole(1))
	p.Files = []publish.File{file(t, 1, "p1-1.0.tar.gz")}
	token := index.Token{ID: "a", Projects: []pypi.Project{mustProject(t, "p1")}, Created: at(1)}
	commit(t, l, p)
	if err := l.PutToken(t.Context(), token); err != nil {
		t.Fatal(err)
	}
	p.Metadata[0].Bytes[0] = 'X'
	p.Files[0].MetadataSHA256[0]++
	token.Projects[0] = mustProject(t, "other")

	wantMetadata(t, l, meta(projectRole(1), 1))
	want := file(t, 1, "p1-1.0.tar.gz")
	got, err := l.File(t.Context(), want.Filename)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "file", got, want)
	gotToken, err := l.Token(t.Context(), token.Hash)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "projects of the token", gotToken.Projects, []pypi.Project{mustProject(t, "p1")})
}

func testValues(t *testing.T, l Ledger) {
	p := pub(1)
	p.Files = []publish.File{file(t, 1, "p1-1.0.tar.gz")}
	commit(t, l, p)
	f, err := l.File(t.Context(), p.Files[0].Filename)
	if err != nil {
		t.Fatal(err)
	}
	f.MetadataSHA256[0]++
	roles, err := l.Roles(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	roles[0].Name = "spoiled"
	f, err = l.File(t.Context(), p.Files[0].Filename)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "file", f, file(t, 1, "p1-1.0.tar.gz"))
	if roles, err = l.Roles(t.Context()); err != nil || roles[0].Name == "spoiled" {
		t.Errorf("roles %v, %v", roles, err)
	}
}

func testCancelled(t *testing.T, l Ledger) {
	genesis(t, l)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	unchanged(t, l, func() {
		p := pub(2, projectRole(9))
		wantErr(t, "Commit", l.Commit(ctx, p), context.Canceled)
		wantNoMetadata(t, l, projectRole(9), 0)
		_, err := l.Prune(ctx, at(1000), at(1000), 10)
		wantErr(t, "Prune", err, context.Canceled)
		wantErr(t, "PutToken", l.PutToken(ctx, index.Token{ID: "x"}), context.Canceled)
		_, err = l.Token(t.Context(), [32]byte{})
		wantErr(t, "Token", err, index.ErrNoToken)
	})
	for name, call := range map[string]func() error{
		"Head":     func() error { _, err := l.Head(ctx); return err },
		"Roles":    func() error { _, err := l.Roles(ctx); return err },
		"Metadata": func() error { _, err := l.Metadata(ctx, tuf.RoleRoot, 0); return err },
		"File":     func() error { _, err := l.File(ctx, file(t, 1, "p1-1.0.tar.gz").Filename); return err },
		"Token":    func() error { _, err := l.Token(ctx, [32]byte{}); return err },
		"Tokens":   func() error { _, err := l.Tokens(ctx); return err },
	} {
		wantErr(t, name, call(), context.Canceled)
	}
	commit(t, l, pub(2))
}

func testReopen(t *testing.T, create Create) {
	l, reopen := create(t)
	genesis(t, l)
	p := pub(2, projectRole(3))
	p.Files = []publish.File{file(t, 3, "p3-1.0.tar.gz")}
	commit(t, l, p)
	token := index.Token{ID: "a", Hash: [32]byte{1}, Created: at(1)}
	if err := l.PutToken(t.Context(), token); err != nil {
		t.Fatal(err)
	}
	head, roles := state(t, l)
	for range 2 {
		closeLedger(t, l)
		l = reopen()
		head2, roles2 := state(t, l)
		same(t, "head after reopening", head2, head)
		same(t, "roles after reopening", roles2, roles)
		for _, m := range p.Metadata {
			wantMetadata(t, l, m)
		}
		got, err := l.File(t.Context(), p.Files[0].Filename)
		if err != nil {
			t.Error(err)
		}
		same(t, "file after reopening", got, p.Files[0])
		gotToken, err := l.Token(t.Context(), token.Hash)
		if err != nil {
			t.Error(err)
		}
		same(t, "token after reopening", gotToken, token)
	}
	commit(t, l, pub(3, projectRole(3)))
	if n, err := l.Prune(t.Context(), at(100), at(100), 100); n == 0 || err != nil {
		t.Errorf("Prune after reopening = %d, %v; want some", n, err)
	}
	closeLedger(t, l)
}

// versionsOf returns which versions up to max are kept of a role.
func versionsOf(t testing.TB, l publish.Ledger, role tuf.RoleName, highest int64) []int64 {
	t.Helper()
	var out []int64
	for v := int64(1); v <= highest; v++ {
		_, err := l.Metadata(t.Context(), role, v)
		if err == nil {
			out = append(out, v)
			continue
		}
		wantErr(t, "Metadata", err, publish.ErrNotFound)
	}
	return out
}

func wantVersions(t testing.TB, l publish.Ledger, role tuf.RoleName, want ...int64) {
	t.Helper()
	if got := versionsOf(t, l, role, 20); !slices.Equal(got, want) {
		t.Errorf("versions of %s: %v, want %v", role, got, want)
	}
}
