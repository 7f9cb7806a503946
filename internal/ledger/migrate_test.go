package ledger_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"example.com/bailiwick/internal/index"
	"example.com/bailiwick/internal/ledger"
	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/internal/record"
	"example.com/bailiwick/tuf"
)

// older makes a ledger of schema 1 with a little of everything in it.
func older(t *testing.T) string { return ofSchema(t, 1) }

func ofSchema(t *testing.T, number int) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", fmt.Sprintf("schema-%d.sql", number)))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "ledger.db")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	outside(t, path, string(text))
	return path
}

// structure returns the SQL of every table and index.
func structure(t *testing.T, path string) []string {
	t.Helper()
	rows, err := another(t, path).QueryContext(t.Context(), "SELECT name || ': ' || coalesce(sql, '') FROM sqlite_master ORDER BY name")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var out []string
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			t.Fatal(err)
		}
		out = append(out, s)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestMigrateFromSchema1(t *testing.T) {
	path := older(t)
	for range 2 { // the second time there is nothing to migrate
		l, err := ledger.OpenSQLite(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		wantHead(t, l, 2)
		m, err := l.Metadata(t.Context(), "project.a", 1)
		if err != nil || string(m.Bytes) != "a 1" {
			t.Errorf("an old version is %q, %v", m.Bytes, err)
		}
		roles, err := l.Roles(t.Context())
		if err != nil || len(roles) != 3 || slices.ContainsFunc(roles, func(r publish.Role) bool { return r.Maintained }) {
			t.Errorf("roles are %v, %v; want three, none of them maintained", roles, err)
		}
		name, err := pypi.ParseFilename("a-1.tar.gz")
		if err != nil {
			t.Fatal(err)
		}
		f, err := l.File(t.Context(), name)
		if err != nil || f.Size != 7 || f.Signers != nil {
			t.Errorf("the file is %+v, %v; want it as it was, signed by nobody", f, err)
		}
		if tokens, err := l.Tokens(t.Context()); err != nil || len(tokens) != 1 || tokens[0].ID != "token" {
			t.Errorf("tokens are %v, %v", tokens, err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	fresh := filepath.Join(t.TempDir(), "ledger.db")
	l := sqliteAt(t, fresh)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(structure(t, fresh), structure(t, path)); diff != "" {
		t.Errorf("a migrated ledger is not built like a new one (-new +migrated):\n%s", diff)
	}
}

func TestMigratedLedgerGoesOn(t *testing.T) {
	l, err := ledger.OpenSQLite(t.Context(), older(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	at := time.Unix(1_700_000_002, 0).UTC()
	name, err := pypi.ParseFilename("a-2.tar.gz")
	if err != nil {
		t.Fatal(err)
	}
	f := publish.File{Filename: name, Project: name.Project(), Version: "2", Uploaded: at}
	e := publish.Event{Project: name.Project(), Kind: publish.EventStaged, Time: at}
	if added, err := l.AddStaged(t.Context(), f, e); err != nil || !added {
		t.Fatalf("staging: %v, %v", added, err)
	}
	f.Signers = append(f.Signers, "key")
	err = l.Commit(t.Context(), &publish.Publication{
		Number: 3, Time: at, Files: []publish.File{f},
		Metadata: []publish.Metadata{{Role: "project.a", Version: 3, Expires: at, Bytes: []byte("a 3"), Maintained: true}, {Role: tuf.RoleTimestamp, Version: 3, Expires: at}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if n, err := l.Prune(t.Context(), at.Add(time.Hour), at.Add(time.Hour), 10); n != 3 || err != nil {
		t.Errorf("pruned %d, %v; want the superseded version from before the migration and two from after", n, err)
	}
}

// TestMigrationFails: an older ledger that can not be migrated stays what it was.
func TestMigrationFails(t *testing.T) {
	path := older(t)
	outside(t, path, "CREATE TABLE events (in_the_way INTEGER)")
	before := structure(t, path)
	_, err := ledger.OpenSQLite(t.Context(), path)
	if err == nil || !strings.Contains(err.Error(), "migrating") {
		t.Errorf("opened with %v, want an error about the migration", err)
	}
	if diff := cmp.Diff(before, structure(t, path)); diff != "" {
		t.Errorf("a failed migration changed the ledger:\n%s", diff)
	}
	outside(t, path, "DROP TABLE events")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := ledger.OpenSQLite(ctx, path); err == nil {
		t.Error("opened although told to stop")
	}
	l, err := ledger.OpenSQLite(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

// TestMigrateFromSchema2: claims, requests and events stay; the record begins empty, tokens may upload.
func TestMigrateFromSchema2(t *testing.T) {
	path := ofSchema(t, 2)
	for range 2 { // the second time there is nothing to migrate
		l, err := ledger.OpenSQLite(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		name, err := pypi.ParseFilename("a-1.tar.gz")
		if err != nil {
			t.Fatal(err)
		}
		project := name.Project()
		roles, err := l.Roles(t.Context())
		if err != nil || len(roles) != 3 || !roles[0].Maintained {
			t.Errorf("roles are %v, %v; want three, the project's maintained", roles, err)
		}
		if f, err := l.File(t.Context(), name); err != nil || len(f.Signers) != 2 {
			t.Errorf("the file is %+v, %v; want two signers", f, err)
		}
		if staged, err := l.Staged(t.Context(), project); err != nil || len(staged) != 1 {
			t.Errorf("%d files wait, %v; want one", len(staged), err)
		}
		if r, err := l.Request(t.Context(), "request"); err != nil || len(r.Signatures) != 1 {
			t.Errorf("the request is %+v, %v", r, err)
		}
		if events, err := l.Events(t.Context(), project, 10); err != nil || len(events) != 1 {
			t.Errorf("%d events, %v; want one", len(events), err)
		}
		if tokens, err := l.Tokens(t.Context()); err != nil || len(tokens) != 1 || tokens[0].Right != index.RightUpload {
			t.Errorf("tokens are %v, %v; want one that may upload", tokens, err)
		}
		if h, err := l.Head(t.Context()); err != nil || h.Number != 2 || h.Record != (record.Head{}) {
			t.Errorf("the head is %+v, %v; want publication 2 and an empty record", h, err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	fresh := filepath.Join(t.TempDir(), "ledger.db")
	if err := sqliteAt(t, fresh).Close(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(structure(t, fresh), structure(t, path)); diff != "" {
		t.Errorf("a migrated ledger is not built like a new one (-new +migrated):\n%s", diff)
	}
}
