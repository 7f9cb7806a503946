package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"modernc.org/sqlite"

	"example.com/bailiwick/internal/durable"
)

// applicationID marks a SQLite file as a ledger ("BLWK"); file(1) and sqlite3 show it.
const applicationID = 0x424c574b

// schemaNumber is the newest schema that this code reads and writes, kept in user_version. It only
// rises; an older ledger takes the steps that it lacks, in one transaction, when it is opened.
const schemaNumber = 3

// Sizes, set on purpose: together they bound what a ledger takes beside the page cache of the
// operating system.
const (
	readers        = 4     // connections for queries
	readerCacheKiB = 4096  // page cache of each
	writerCacheKiB = 16384 // page cache of the one that writes; holds the upper levels of all indexes
	checkpointAt   = 1000  // pages in the write-ahead log (4 MB) at which a commit folds it into the file; more makes rarer but longer pauses
	logLimit       = 64 << 20
	busyMillis     = 5000
)

// CreateSQLite makes an empty ledger in a new file and opens it. The error is [fs.ErrExist] if
// path is there: a ledger is never made anew by accident. The file appears under its name only
// when it is complete, so a crash leaves none or an empty, good one. The folder must exist.
func CreateSQLite(ctx context.Context, path string) (*SQLite, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("creating ledger %s: %w", path, err)
	}
	root, err := os.OpenRoot(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("creating ledger %s: %w", path, err)
	}
	defer func() { _ = root.Close() }() // nothing was written through it that is not synced
	name := filepath.Base(path)
	if _, err := root.Lstat(name); !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("creating ledger %s: %w", path, errors.Join(err, fs.ErrExist))
	}
	temp := name + ".new"
	// What a crash of an earlier attempt left behind holds nothing of value.
	if err := errors.Join(removeIfThere(root, temp), removeIfThere(root, temp+"-journal")); err != nil {
		return nil, fmt.Errorf("creating ledger %s: %w", path, err)
	}
	if err := writeEmpty(ctx, root, temp); err != nil {
		return nil, errors.Join(fmt.Errorf("creating ledger %s: %w", path, err), removeIfThere(root, temp))
	}
	if err := durable.MoveNew(root, temp, name); err != nil {
		return nil, errors.Join(fmt.Errorf("creating ledger %s: %w", path, err), removeIfThere(root, temp))
	}
	return OpenSQLite(ctx, path)
}

func removeIfThere(root *os.Root, name string) error {
	if err := root.Remove(name); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// writeEmpty makes a complete, synced, empty ledger under name. The file is made here so that its
// mode is 0600; SQLite gives its log the mode of the database.
func writeEmpty(ctx context.Context, root *os.Root, name string) error {
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	path := filepath.Join(root.Name(), name)
	db, err := openDB(path, []string{"synchronous(FULL)", "foreign_keys(1)"})
	if err != nil {
		return err
	}
	db.SetMaxOpenConns(1)
	marks := fmt.Sprintf("PRAGMA application_id=%d; PRAGMA user_version=%d;", applicationID, schemaNumber)
	_, err = db.ExecContext(ctx, "BEGIN IMMEDIATE;"+strings.Join(steps[:], "")+marks+"COMMIT;")
	if err == nil {
		// The mode is kept in the file. The log is empty when the connection closes, so the file
		// alone is the ledger and can be given its name.
		_, err = db.ExecContext(ctx, "PRAGMA journal_mode=WAL")
	}
	if err = errors.Join(err, db.Close()); err != nil {
		return explain("writing the schema", path, err)
	}
	return nil
}

// OpenSQLite opens a ledger. It makes nothing: a missing file gives [fs.ErrNotExist], something
// else [ErrNotLedger], and a ledger of a newer program [ErrNewer]. Publications that were being
// written when a crash came are completed or dropped as a whole.
func OpenSQLite(ctx context.Context, path string) (*SQLite, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("opening ledger %s: %w", path, err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("opening ledger %s: %w", path, err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("opening ledger %s: %w: it is not a regular file", path, ErrNotLedger)
	}
	writerDB, err := openDB(path, []string{
		fmt.Sprintf("busy_timeout(%d)", busyMillis), "synchronous(FULL)", "foreign_keys(1)",
		fmt.Sprintf("cache_size(-%d)", writerCacheKiB), fmt.Sprintf("wal_autocheckpoint(%d)", checkpointAt),
		fmt.Sprintf("journal_size_limit(%d)", logLimit),
	})
	if err != nil {
		return nil, explain("opening", path, err)
	}
	writerDB.SetMaxOpenConns(1)
	number, err := checkMarks(ctx, writerDB, path)
	if err == nil && number < schemaNumber {
		err = migrate(ctx, writerDB, path)
	}
	if err != nil {
		return nil, errors.Join(err, writerDB.Close())
	}
	readerDB, err := openDB(path, []string{
		fmt.Sprintf("busy_timeout(%d)", busyMillis), "query_only(1)", fmt.Sprintf("cache_size(-%d)", readerCacheKiB),
	})
	if err != nil {
		return nil, errors.Join(explain("opening", path, err), writerDB.Close())
	}
	readerDB.SetMaxOpenConns(readers)
	readerDB.SetMaxIdleConns(readers)
	s := &SQLite{path: path, readerDB: readerDB, writerDB: writerDB, turn: make(chan struct{}, 1)}
	if err := s.prepare(ctx); err != nil {
		return nil, errors.Join(explain("opening", path, err), s.Close())
	}
	return s, nil
}

// checkMarks looks at what kind of file this is before anything else does, and returns the number of
// its schema.
func checkMarks(ctx context.Context, db *sql.DB, path string) (int, error) {
	var app int64
	var number int
	if err := db.QueryRowContext(ctx, "PRAGMA application_id").Scan(&app); err != nil {
		return 0, explain("opening", path, err)
	}
	if err := db.QueryRowContext(ctx, "PRAGMA user_version").Scan(&number); err != nil {
		return 0, explain("opening", path, err)
	}
	switch {
	case app != applicationID || number < 1:
		return 0, fmt.Errorf("opening ledger %s: %w", path, ErrNotLedger)
	case number > schemaNumber:
		return 0, fmt.Errorf("opening ledger %s: it has schema %d, this program knows schemas up to %d: %w", path, number, schemaNumber, ErrNewer)
	}
	return number, nil
}

// migrate takes an older ledger up to the newest schema, in one transaction: after a crash it is the
// older one still. From then on the older program refuses it.
func migrate(ctx context.Context, db *sql.DB, path string) error {
	_, err := db.ExecContext(ctx, "BEGIN IMMEDIATE")
	if err != nil {
		return explain("migrating", path, err)
	}
	ctx = context.WithoutCancel(ctx)
	number, err := checkMarks(ctx, db, path) // another program may have been quicker
	if err == nil && number < schemaNumber {
		_, err = db.ExecContext(ctx, strings.Join(steps[number:], "")+fmt.Sprintf("PRAGMA user_version=%d;", schemaNumber))
	}
	if err == nil {
		_, err = db.ExecContext(ctx, "COMMIT")
	}
	if err != nil {
		_, _ = db.ExecContext(ctx, "ROLLBACK") // it may have ended by itself; the cause is err either way
		return explain("migrating", path, err)
	}
	return nil
}

// openDB returns a pool of connections to an existing file, each set up with pragmas.
func openDB(path string, pragmas []string) (*sql.DB, error) {
	slashed := filepath.ToSlash(path)
	if runtime.GOOS == "windows" {
		slashed = "/" + slashed // file:/C:/folder/file
	}
	u := url.URL{Scheme: "file", OmitHost: true, Path: slashed}
	q := url.Values{"mode": {"rw"}, "_pragma": pragmas}
	u.RawQuery = q.Encode()
	c, err := sqlite.NewConnector(u.String())
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(c), nil
}
