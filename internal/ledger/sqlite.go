package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"example.com/bailiwick/internal/durable"
	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/tuf"
)

// SQLite is a ledger in one file, with its write-ahead log beside it (NAME-wal, NAME-shm; the
// three belong together). Make one with [CreateSQLite] or [OpenSQLite].
type SQLite struct {
	path   string
	closed atomic.Bool

	// turn holds one element while somebody writes; whoever waits for it can give up.
	turn     chan struct{}
	writerDB *sql.DB         // of the one connection below
	writer   *sql.Conn       // used by the holder of turn alone
	w        writeStatements // likewise; prepared on writer

	readerDB *sql.DB
	r        readStatements // prepared on each reader as it comes
}

type readStatements struct {
	head, roles, newest, metadata, file, token, tokens          *sql.Stmt
	staged, request, requests, openRequests, signatures, events *sql.Stmt
	operatorRequest, operatorRequests, operatorBody             *sql.Stmt
	operatorSignatures, record, recoveries                      *sql.Stmt
	proposal, waiting, waitingNamed, waitingCount               *sql.Stmt
}

// prepare takes the writer connection and prepares every statement. After an error the caller
// closes s.
func (s *SQLite) prepare(ctx context.Context) error {
	var err error
	if s.writer, err = s.writerDB.Conn(ctx); err != nil {
		return err
	}
	for _, p := range s.w.all() {
		if *p.stmt, err = s.writer.PrepareContext(ctx, p.text); err != nil { //nolint:sqlclosecheck // Close does
			return err
		}
	}
	for _, p := range []struct {
		stmt **sql.Stmt
		text string
	}{
		{&s.r.head, `SELECT number, time,
			coalesce((SELECT version FROM roles WHERE name = 'root'), 0),
			coalesce((SELECT version FROM roles WHERE name = 'snapshot'), 0),
			coalesce((SELECT max(number) FROM record), 0),
			(SELECT head FROM record ORDER BY number DESC LIMIT 1)
			FROM publications ORDER BY number DESC LIMIT 1`},
		// Not sorted here: reading the rows in their order and sorting names in memory is several
		// times faster at 100,000 roles than looking each row up in the order of names.
		{&s.r.roles, `SELECT name, version, expires, maintained FROM roles`},
		{&s.r.newest, `SELECT m.version, m.expires, m.bytes
			FROM roles r JOIN metadata m ON m.id = r.metadata WHERE r.name = ?`},
		{&s.r.metadata, `SELECT m.version, m.expires, m.bytes
			FROM roles r JOIN metadata m ON m.role = r.id WHERE r.name = ? AND m.version = ?`},
		{&s.r.file, `SELECT project, version, size, sha256, metadata_sha256, requires_python, uploaded, uploader, signers
			FROM filenames WHERE filename = ?`},
		{&s.r.token, `SELECT hash, id, projects, note, created, revoked, rights FROM tokens WHERE hash = ?`},
		{&s.r.tokens, `SELECT hash, id, projects, note, created, revoked, rights FROM tokens ORDER BY created, rowid`},
		{&s.r.staged, `SELECT filename, project, version, size, sha256, metadata_sha256, requires_python, uploaded, uploader
			FROM staged WHERE project = ? ORDER BY filename, id`},
		{&s.r.request, `SELECT number, id, project, body, token, received, expires FROM requests WHERE id = ?`},
		{&s.r.requests, `SELECT number, id, project, body, token, received, expires FROM requests WHERE project = ? ORDER BY number`},
		{&s.r.openRequests, `SELECT number, id, project, body, token, received, expires FROM requests ORDER BY number LIMIT ?`},
		{&s.r.signatures, `SELECT role, keyid, sig FROM signatures WHERE request = ? ORDER BY role, keyid`},
		{&s.r.events, `SELECT id, project, kind, time, publication, token, request, keys, text
			FROM events WHERE project = ? ORDER BY id DESC LIMIT ?`},
		{&s.r.operatorRequest, `SELECT ` + operatorColumns + ` FROM operator_requests WHERE id = ?`},
		{&s.r.operatorRequests, `SELECT ` + operatorColumns + ` FROM operator_requests
			WHERE state IN (?, ?, ?, ?) ORDER BY number DESC LIMIT ?`},
		{&s.r.operatorBody, `SELECT bytes FROM operator_bodies WHERE request = ? ORDER BY part`},
		{&s.r.operatorSignatures, `SELECT role, keyid, sig FROM operator_signatures WHERE request = ? ORDER BY role, keyid`},
		{&s.r.record, `SELECT body FROM record WHERE number >= ? ORDER BY number LIMIT ?`},
		{&s.r.recoveries, `SELECT entry, project, announced, not_before, keys, threshold, text, token
			FROM recoveries WHERE outcome = '' ORDER BY entry`},
		{&s.r.proposal, `SELECT number, kind, bytes FROM proposals ORDER BY number DESC, kind, part`},
		{&s.r.waiting, `SELECT id, name, project, body, token, received FROM waiting WHERE id > ? ORDER BY id LIMIT ?`},
		{&s.r.waitingNamed, `SELECT id, project, body, token, received FROM waiting WHERE name = ?`},
		{&s.r.waitingCount, `SELECT count(*) FROM waiting`},
	} {
		if *p.stmt, err = s.readerDB.PrepareContext(ctx, p.text); err != nil { //nolint:sqlclosecheck // readerDB.Close does
			return err
		}
	}
	return nil
}

// Close waits for a write that is under way, folds the log into the file and releases it. Methods called
// afterwards return [ErrClosed]; a second Close does nothing.
func (s *SQLite) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	s.turn <- struct{}{}
	defer func() { <-s.turn }() // whoever waits for it finds the ledger closed
	err := s.readerDB.Close()
	if s.writer != nil {
		err = errors.Join(err, s.w.close(), s.writer.Close())
	}
	// The last connection to close is the one that may write, so it can empty the log.
	if err = errors.Join(err, s.writerDB.Close()); err != nil {
		return explain("closing", s.path, err)
	}
	return nil
}

// Head implements publish.Ledger.
func (s *SQLite) Head(ctx context.Context) (publish.Head, error) {
	var h publish.Head
	var at int64
	var record []byte
	err := s.r.head.QueryRowContext(ctx).Scan(&h.Number, &at, &h.Root, &h.Snapshot, &h.Record.Length, &record)
	if errors.Is(err, sql.ErrNoRows) {
		return publish.Head{}, fmt.Errorf("reading the head of %s: %w", s.path, publish.ErrNoRepository)
	}
	if err != nil {
		return publish.Head{}, s.failed("reading the head", err)
	}
	h.Time = unstamp(at)
	copy(h.Record.Sum[:], record)
	return h, nil
}

// Roles implements publish.Ledger.
func (s *SQLite) Roles(ctx context.Context) ([]publish.Role, error) {
	rows, err := s.r.roles.QueryContext(ctx)
	if err != nil {
		return nil, s.failed("listing roles", err)
	}
	defer func() { _ = rows.Close() }() // its error is that of rows.Err
	var out []publish.Role
	for rows.Next() {
		var r publish.Role
		var name string
		var expires int64
		if err := rows.Scan(&name, &r.Version, &expires, &r.Maintained); err != nil {
			return nil, s.failed("listing roles", err)
		}
		r.Name, r.Expires = tuf.RoleName(name), unstamp(expires)
		out = append(out, r)
	}
	if err := rows.Err(); err != nil {
		return nil, s.failed("listing roles", err)
	}
	slices.SortFunc(out, func(a, b publish.Role) int { return strings.Compare(string(a.Name), string(b.Name)) })
	return out, nil
}

// Metadata implements publish.Ledger.
func (s *SQLite) Metadata(ctx context.Context, role tuf.RoleName, version int64) (publish.Metadata, error) {
	m := publish.Metadata{Role: role}
	var row *sql.Row
	if version == 0 {
		row = s.r.newest.QueryRowContext(ctx, string(role))
	} else {
		row = s.r.metadata.QueryRowContext(ctx, string(role), version)
	}
	var expires int64
	err := row.Scan(&m.Version, &expires, &m.Bytes)
	if errors.Is(err, sql.ErrNoRows) {
		return publish.Metadata{}, noMetadata(role, version)
	}
	if err != nil {
		return publish.Metadata{}, s.failed(fmt.Sprintf("reading version %d of role %s", version, role), err)
	}
	m.Expires = unstamp(expires)
	return m, nil
}

// File implements publish.Ledger.
func (s *SQLite) File(ctx context.Context, name pypi.Filename) (publish.File, error) {
	var f publish.File
	var project, signers string
	var sum, metadataSum []byte
	var uploaded int64
	err := s.r.file.QueryRowContext(ctx, name.String()).Scan(&project, &f.Version, &f.Size, &sum, &metadataSum,
		&f.RequiresPython, &uploaded, &f.Uploader, &signers)
	if errors.Is(err, sql.ErrNoRows) {
		return publish.File{}, noFile(name)
	}
	if err != nil {
		return publish.File{}, s.failed("reading file "+name.String(), err)
	}
	f.Uploaded, f.Signers = unstamp(uploaded), splitIDs(signers)
	copy(f.SHA256[:], sum)
	if metadataSum != nil {
		f.MetadataSHA256 = new([32]byte)
		copy(f.MetadataSHA256[:], metadataSum)
	}
	if f.Project, err = pypi.ParseProject(project); err == nil {
		f.Filename, err = pypi.ParseFilenameFor(f.Project, name.String())
	}
	if err != nil {
		return publish.File{}, s.failed("reading file "+name.String(), fmt.Errorf("%w (%w)", ErrDamaged, err))
	}
	return f, nil
}

func noMetadata(role tuf.RoleName, version int64) error {
	if version == 0 {
		return fmt.Errorf("role %s: %w", role, publish.ErrNotFound)
	}
	return fmt.Errorf("version %d of role %s: %w", version, role, publish.ErrNotFound)
}

func noFile(name pypi.Filename) error {
	return fmt.Errorf("file name %s: %w", name, publish.ErrNotFound)
}

// failed wraps an error of a method.
func (s *SQLite) failed(doing string, err error) error {
	if s.closed.Load() {
		return fmt.Errorf("%s in ledger %s: %w", doing, s.path, ErrClosed)
	}
	return explain(doing, s.path, err)
}

// explain says what was done to which file, and gives the errors of SQLite that a person can do
// something about a name of their own.
func explain(doing, path string, err error) error {
	kind := error(nil)
	if e := (*sqlite.Error)(nil); errors.As(err, &e) {
		switch e.Code() & 0xff {
		case sqlite3.SQLITE_FULL:
			kind = durable.ErrNoSpace
		case sqlite3.SQLITE_IOERR:
			if e.Code() == sqlite3.SQLITE_IOERR_SHMSIZE { // the index of the log could not grow
				kind = durable.ErrNoSpace
			}
		case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM:
			kind = ErrReadOnly
		case sqlite3.SQLITE_CORRUPT:
			kind = ErrDamaged
		case sqlite3.SQLITE_NOTADB:
			kind = ErrNotLedger
		case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
			kind = ErrBusy
		}
	}
	if kind != nil {
		return fmt.Errorf("%s in ledger %s: %w (%w)", doing, path, kind, err)
	}
	return fmt.Errorf("%s in ledger %s: %w", doing, path, err)
}
