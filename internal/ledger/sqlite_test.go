package ledger_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"modernc.org/sqlite"

	"example.com/bailiwick/internal/durable"
	"example.com/bailiwick/internal/index"
	"example.com/bailiwick/internal/ledger"
	"example.com/bailiwick/internal/needs"
	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/tuf"
)

// sqliteAt makes a ledger, closed at the end of the test, and returns its path too.
func sqliteAt(t *testing.T, path string) *ledger.SQLite {
	t.Helper()
	l, err := ledger.CreateSQLite(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func publication(n int64, size int) *publish.Publication {
	at := time.Unix(1_800_000_000+n, 0).UTC()
	p := &publish.Publication{Number: n, Time: at}
	for _, role := range []tuf.RoleName{tuf.RoleRoot, "project.a", tuf.RoleTimestamp} {
		p.Metadata = append(p.Metadata, publish.Metadata{Role: role, Version: n, Expires: at, Bytes: make([]byte, size)})
	}
	return p
}

// outside runs SQL on the file as another program would.
func outside(t *testing.T, path string, statements ...string) {
	t.Helper()
	db := another(t, path)
	for _, text := range statements {
		if _, err := db.ExecContext(t.Context(), text); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func another(t *testing.T, path string) *sql.DB {
	t.Helper()
	c, err := sqlite.NewConnector("file:" + path)
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(c)
	db.SetMaxOpenConns(1)
	t.Cleanup(func() { db.Close() })
	return db
}

func wantErr(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

func wantHead(t *testing.T, l publish.Ledger, number int64) {
	t.Helper()
	h, err := l.Head(t.Context())
	if err != nil || h.Number != number {
		t.Errorf("head %d, %v; want %d", h.Number, err, number)
	}
}

func TestCreateAndOpenAreDifferent(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a ledger?#%41.db") // every character that a URL treats specially
	_, err := ledger.OpenSQLite(t.Context(), path)
	wantErr(t, "opening nothing", err, fs.ErrNotExist)
	if entries, err := os.ReadDir(dir); len(entries) != 0 || err != nil {
		t.Errorf("opening nothing left %v, %v", entries, err)
	}
	l := sqliteAt(t, path)
	if err := l.Commit(t.Context(), publication(1, 100)); err != nil {
		t.Fatal(err)
	}
	_, err = ledger.CreateSQLite(t.Context(), path)
	wantErr(t, "creating again", err, fs.ErrExist)
	wantHead(t, l, 1)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 || entries[0].Name() != filepath.Base(path) {
		t.Errorf("a closed ledger is %v, %v; want its one file", entries, err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v; want 0600", info.Mode(), err)
	}
	_, err = ledger.CreateSQLite(t.Context(), filepath.Join(dir, "missing", "ledger.db"))
	wantErr(t, "creating in a missing folder", err, fs.ErrNotExist)
}

func TestCreateAfterACrash(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	for _, left := range []string{".new", ".new-journal"} {
		if err := os.WriteFile(path+left, []byte("half of a ledger"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	l := sqliteAt(t, path)
	if err := l.Commit(t.Context(), publication(1, 100)); err != nil {
		t.Error(err)
	}
}

func TestOpenRefusesWhatItDoesNotKnow(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(t *testing.T, path string)
		want  error
	}{
		{"a newer schema", func(t *testing.T, path string) { outside(t, path, "PRAGMA user_version=4") }, ledger.ErrNewer},
		{"no schema number", func(t *testing.T, path string) { outside(t, path, "PRAGMA user_version=0") }, ledger.ErrNotLedger},
		{"another application", func(t *testing.T, path string) { outside(t, path, "PRAGMA application_id=7") }, ledger.ErrNotLedger},
		{"an empty file", func(t *testing.T, path string) { overwrite(t, path, nil) }, ledger.ErrNotLedger},
		{"a text", func(t *testing.T, path string) { overwrite(t, path, []byte(strings.Repeat("text\n", 1000))) }, ledger.ErrNotLedger},
		{"a folder", func(t *testing.T, path string) {
			if err := errors.Join(os.Remove(path), os.Mkdir(path, 0o700)); err != nil {
				t.Fatal(err)
			}
		}, ledger.ErrNotLedger},
		{"missing tables", func(t *testing.T, path string) { outside(t, path, "DROP TABLE tokens") }, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "ledger.db")
			if err := sqliteAt(t, path).Close(); err != nil {
				t.Fatal(err)
			}
			c.spoil(t, path)
			l, err := ledger.OpenSQLite(t.Context(), path)
			if err == nil {
				l.Close()
				t.Fatal("opened")
			}
			if c.want != nil {
				wantErr(t, "opening", err, c.want)
			}
			if !strings.Contains(err.Error(), path) {
				t.Errorf("%q does not name the file", err)
			}
		})
	}
}

func overwrite(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestDamagedPages(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	l := sqliteAt(t, path)
	for n := int64(1); n < 20; n++ {
		if err := l.Commit(t.Context(), publication(n, 5000)); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := 4096; i < len(data); i++ { // everything but the first page
		data[i] = 0xa5
	}
	overwrite(t, path, data)
	l, err = ledger.OpenSQLite(t.Context(), path)
	if err == nil {
		defer l.Close()
		_, err = l.Head(t.Context())
	}
	wantErr(t, "using a damaged ledger", err, ledger.ErrDamaged)
	if err != nil && !strings.Contains(err.Error(), "backup") {
		t.Errorf("%q does not say what to do", err)
	}
}

// TestFullDiskFromTheStart: wherever in making a ledger the disk is full, that is what the error says.
func TestFullDiskFromTheStart(t *testing.T) {
	if needs.Mounts(t) {
		return
	}
	failed := 0
	for free := 0; free <= 256<<10; free += 8 << 10 {
		dir := needs.NewDisk(t).Dir
		if err := os.WriteFile(filepath.Join(dir, "other"), make([]byte, 2<<20-free), 0o600); err != nil {
			t.Fatal(err)
		}
		l, err := ledger.CreateSQLite(t.Context(), filepath.Join(dir, "ledger.db"))
		if err != nil {
			failed++
			wantErr(t, fmt.Sprintf("making a ledger with %d bytes left", free), err, durable.ErrNoSpace)
			continue
		}
		if err := l.Close(); err != nil {
			t.Logf("closing with %d bytes left: %v", free, err)
		}
	}
	if failed == 0 {
		t.Error("no disk was small enough")
	}
}

func TestFullDisk(t *testing.T) {
	if needs.Mounts(t) {
		return
	}
	disk := needs.NewDisk(t)
	path := filepath.Join(disk.Dir, "ledger.db")
	l := sqliteAt(t, path)
	n := int64(1)
	var err error
	for ; n < 1000; n++ {
		if err = l.Commit(t.Context(), publication(n, 20_000)); err != nil {
			break
		}
	}
	wantErr(t, "committing on a full disk", err, durable.ErrNoSpace)
	wantHead(t, l, n-1)
	_, err = l.Metadata(t.Context(), "project.a", n)
	wantErr(t, "metadata of the failed publication", err, publish.ErrNotFound)
	wantErr(t, "storing a token on a full disk", fillTokens(t.Context(), l), durable.ErrNoSpace)
	if err := l.Close(); err != nil {
		t.Logf("closing on a full disk: %v", err) // the log could not be folded in; it stays
	}
	disk.Grow()
	l, err = ledger.OpenSQLite(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	wantHead(t, l, n-1)
	if err := l.Commit(t.Context(), publication(n, 20_000)); err != nil {
		t.Errorf("committing after space was made: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

func fillTokens(ctx context.Context, l index.Tokens) error {
	for i := range 200 {
		token := index.Token{ID: fmt.Sprint(i), Hash: [32]byte{byte(i)}, Note: strings.Repeat("n", 10_000)}
		if err := l.PutToken(ctx, token); err != nil {
			return err
		}
	}
	return nil
}

func TestReadOnlyFileSystem(t *testing.T) {
	if needs.Mounts(t) {
		return
	}
	disk := needs.NewDisk(t)
	path := filepath.Join(disk.Dir, "ledger.db")
	if err := sqliteAt(t, path).Close(); err != nil {
		t.Fatal(err)
	}
	disk.ReadOnly()
	_, err := ledger.OpenSQLite(t.Context(), path)
	wantErr(t, "opening on a read-only file system", err, ledger.ErrReadOnly)
	_, err = ledger.CreateSQLite(t.Context(), filepath.Join(disk.Dir, "other.db"))
	if err == nil {
		t.Error("created on a read-only file system")
	}
}

func TestAnotherProgramMayWriteToo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	l := sqliteAt(t, path)
	if err := l.Commit(t.Context(), publication(1, 100)); err != nil {
		t.Fatal(err)
	}
	second, err := ledger.OpenSQLite(t.Context(), path) // `bailiwick token` beside a running server
	if err != nil {
		t.Fatal(err)
	}
	if err := second.PutToken(t.Context(), index.Token{ID: "a", Hash: [32]byte{1}}); err != nil {
		t.Error(err)
	}
	if err := second.Close(); err != nil {
		t.Error(err)
	}
	if _, err := l.Token(t.Context(), [32]byte{1}); err != nil {
		t.Errorf("the token is not seen: %v", err)
	}
	if err := l.Commit(t.Context(), publication(2, 100)); err != nil {
		t.Error(err)
	}
}

// TestAnotherProgramHoldsTheLock: a write waits for it, as long as its caller does, and goes on
// when the lock is free.
func TestAnotherProgramHoldsTheLock(t *testing.T) {
	t.Parallel() // it waits for five seconds
	path := filepath.Join(t.TempDir(), "ledger.db")
	l := sqliteAt(t, path)
	other := another(t, path)
	if _, err := other.ExecContext(t.Context(), "BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	wantErr(t, "Commit with little time", l.Commit(ctx, publication(1, 100)), context.DeadlineExceeded)
	if !testing.Short() {
		wantErr(t, "Commit", l.Commit(t.Context(), publication(1, 100)), ledger.ErrBusy)
	}
	_, err := l.Head(t.Context()) // readers do not wait
	wantErr(t, "Head", err, publish.ErrNoRepository)
	if _, err := other.ExecContext(t.Context(), "ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	if err := l.Commit(t.Context(), publication(1, 100)); err != nil {
		t.Errorf("after the lock was freed: %v", err)
	}
}

func TestClosed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	l := sqliteAt(t, path)
	if err := errors.Join(l.Commit(t.Context(), publication(1, 100)), l.Close()); err != nil {
		t.Fatal(err)
	}
	_, err := l.Head(t.Context())
	wantErr(t, "Head", err, ledger.ErrClosed)
	_, err = l.Metadata(t.Context(), tuf.RoleRoot, 0)
	wantErr(t, "Metadata", err, ledger.ErrClosed)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	wantErr(t, "Commit", l.Commit(ctx, publication(2, 100)), ledger.ErrClosed)
	wantErr(t, "PutToken", l.PutToken(ctx, index.Token{}), ledger.ErrClosed)
	_, err = l.Prune(ctx, time.Now(), time.Now(), 1)
	wantErr(t, "Prune", err, ledger.ErrClosed)
}

// TestLogIsBounded: the write-ahead log is folded into the file while commits go on.
func TestLogIsBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	l := sqliteAt(t, path)
	var largest int64
	for n := int64(1); n < 200; n++ {
		if err := l.Commit(t.Context(), publication(n, 50_000)); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path + "-wal")
		if err != nil {
			t.Fatal(err)
		}
		largest = max(largest, info.Size())
	}
	if largest > 8<<20 {
		t.Errorf("the log grew to %d bytes while 30 MB were written", largest)
	}
}
