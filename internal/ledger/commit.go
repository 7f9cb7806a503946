package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/tuf"
)

// writeStatements are prepared on the one connection that writes.
type writeStatements struct {
	begin, commit, rollback                   *sql.Stmt
	number, lastID                            *sql.Stmt
	addPublication                            *sql.Stmt
	role, addRole, setRole                    *sql.Stmt
	addMetadata, supersede                    *sql.Stmt
	addFile                                   *sql.Stmt
	due, dropMetadata, dropSuperseded, putTok *sql.Stmt
	records                                   recordStatements
	operators                                 operatorStatements
	custody                                   custodyStatements
}

type prepared struct {
	stmt **sql.Stmt
	text string
}

func (w *writeStatements) all() []prepared {
	return append(slices.Concat(w.records.all(), w.operators.all(), w.custody.all()), []prepared{
		{&w.begin, `BEGIN IMMEDIATE`},
		{&w.commit, `COMMIT`},
		{&w.rollback, `ROLLBACK`},
		{&w.number, `SELECT coalesce(max(number), 0) FROM publications`},
		{&w.lastID, `SELECT coalesce(max(id), 0) FROM metadata`},
		{&w.addPublication, `INSERT INTO publications (number, time) VALUES (?, ?)`},
		{&w.role, `SELECT id, version, metadata FROM roles WHERE name = ?`},
		{&w.addRole, `INSERT INTO roles (name, version, expires, maintained, metadata) VALUES (?, ?, ?, ?, ?)`},
		{&w.setRole, `UPDATE roles SET version = ?, expires = ?, maintained = ?, metadata = ? WHERE id = ?`},
		{&w.addMetadata, `INSERT INTO metadata (id, role, version, publication, created, expires, bytes)
			VALUES (?, ?, ?, ?, ?, ?, ?)`},
		{&w.supersede, `INSERT INTO superseded (pinner, time, metadata) VALUES (?, ?, ?)`},
		{&w.addFile, `INSERT INTO filenames (filename, project, version, size, sha256, metadata_sha256,
			requires_python, uploaded, uploader, publication, signers) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT (filename) DO NOTHING`},
		{&w.due, `SELECT pinner, time, metadata FROM (
				SELECT * FROM (SELECT pinner, time, metadata FROM superseded
					WHERE pinner = 0 AND time < ?1 ORDER BY time, metadata LIMIT ?3)
				UNION ALL
				SELECT * FROM (SELECT pinner, time, metadata FROM superseded
					WHERE pinner = 1 AND time < ?2 ORDER BY time, metadata LIMIT ?3))
			ORDER BY time, metadata LIMIT ?3`},
		{&w.dropMetadata, `DELETE FROM metadata WHERE id = ?`},
		{&w.dropSuperseded, `DELETE FROM superseded WHERE pinner = ? AND time = ? AND metadata = ?`},
		{&w.putTok, `INSERT INTO tokens (hash, id, projects, note, created, revoked, rights) VALUES (?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT (hash) DO UPDATE SET id = excluded.id, projects = excluded.projects,
				note = excluded.note, created = excluded.created, revoked = excluded.revoked, rights = excluded.rights`},
	}...)
}

func (w *writeStatements) close() error {
	var err error
	for _, p := range w.all() {
		if *p.stmt != nil {
			err = errors.Join(err, (*p.stmt).Close())
		}
	}
	return err
}

// write runs do in one transaction, alone. It gives up waiting for its turn, or for another
// program's lock, when ctx ends; once begun, the transaction runs to its end without looking at
// ctx, so that a caller who goes away never leaves the outcome in doubt. A transaction is
// milliseconds.
func (s *SQLite) write(ctx context.Context, doing string, do func(context.Context) error) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("%s: waiting for an earlier write: %w", doing, ctx.Err())
	}
	if s.closed.Load() { // Close waits for this turn
		<-s.turn
		return s.failed(doing, ErrClosed)
	}
	defer func() { <-s.turn }()
	_, err := s.w.begin.ExecContext(ctx)
	ctx = context.WithoutCancel(ctx)
	if err == nil {
		err = do(ctx)
	}
	if err == nil {
		_, err = s.w.commit.ExecContext(ctx)
	}
	if err != nil {
		// After some errors nothing is left to roll back: the transaction never began, or SQLite
		// ended it by itself (a full disk). Then this fails; the cause is err either way.
		_, _ = s.w.rollback.ExecContext(ctx)
		return s.failed(doing, err)
	}
	return nil
}

// Commit implements publish.Ledger. It writes, for n metadata files and f file names, n pages of
// their bytes and one page for each random key, as one sequential append to the log and one sync.
func (s *SQLite) Commit(ctx context.Context, p *publish.Publication) error {
	doing := fmt.Sprintf("committing publication %d", p.Number)
	if err := check(p); err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	return s.write(ctx, doing, func(ctx context.Context) error {
		var head, last int64
		if err := s.w.number.QueryRowContext(ctx).Scan(&head); err != nil {
			return err
		}
		if p.Number != head+1 {
			return numberConflict(p.Number, head)
		}
		if err := s.w.lastID.QueryRowContext(ctx).Scan(&last); err != nil {
			return err
		}
		if _, err := s.w.addPublication.ExecContext(ctx, p.Number, stamp(p.Time)); err != nil {
			return err
		}
		for i := range p.Metadata {
			if err := s.addMetadata(ctx, p, &p.Metadata[i], last+1+int64(i)); err != nil {
				return err
			}
		}
		for i := range p.Files {
			if err := s.addFile(ctx, p, &p.Files[i]); err != nil {
				return err
			}
		}
		if err := s.commitRecords(ctx, p); err != nil {
			return err
		}
		if err := s.commitOperators(ctx, p); err != nil {
			return err
		}
		return s.commitProposal(ctx, p)
	})
}

// addMetadata writes one version of a role as row id and makes it the newest.
func (s *SQLite) addMetadata(ctx context.Context, p *publish.Publication, m *publish.Metadata, id int64) error {
	var role, newest, old int64
	err := s.w.role.QueryRowContext(ctx, string(m.Role)).Scan(&role, &newest, &old)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		res, err := s.w.addRole.ExecContext(ctx, string(m.Role), m.Version, stamp(m.Expires), m.Maintained, id)
		if err != nil {
			return err
		}
		if role, err = res.LastInsertId(); err != nil {
			return err
		}
	case err != nil:
		return err
	case m.Version <= newest:
		return versionConflict(m, newest)
	default:
		if _, err := s.w.setRole.ExecContext(ctx, m.Version, stamp(m.Expires), m.Maintained, id, role); err != nil {
			return err
		}
		if m.Role != tuf.RoleRoot {
			if _, err := s.w.supersede.ExecContext(ctx, isPinner(m.Role), stamp(p.Time), old); err != nil {
				return err
			}
		}
	}
	_, err = s.w.addMetadata.ExecContext(ctx, id, role, m.Version, p.Number, stamp(p.Time), stamp(m.Expires), notNull(m.Bytes))
	return err
}

func (s *SQLite) addFile(ctx context.Context, p *publish.Publication, f *publish.File) error {
	var metadataSum []byte
	if f.MetadataSHA256 != nil {
		metadataSum = f.MetadataSHA256[:]
	}
	res, err := s.w.addFile.ExecContext(ctx, f.Filename.String(), f.Project.String(), f.Version, f.Size, f.SHA256[:],
		metadataSum, f.RequiresPython, stamp(f.Uploaded), f.Uploader, p.Number, joinIDs(f.Signers))
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n != 1 {
		return errors.Join(err, filenameConflict(f))
	}
	return nil
}

// notNull keeps an empty file apart from none.
func notNull(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// Prune implements publish.Ledger.
func (s *SQLite) Prune(ctx context.Context, roles, pinners time.Time, limit int) (int, error) {
	if limit <= 0 {
		return 0, nil
	}
	removed := 0
	err := s.write(ctx, "pruning", func(ctx context.Context) error {
		due, err := s.due(ctx, roles, pinners, limit)
		if err != nil {
			return err
		}
		for _, d := range due {
			if _, err := s.w.dropMetadata.ExecContext(ctx, d.metadata); err != nil {
				return err
			}
			if _, err := s.w.dropSuperseded.ExecContext(ctx, d.pinner, d.time, d.metadata); err != nil {
				return err
			}
		}
		removed = len(due)
		return nil
	})
	if err != nil {
		return 0, err
	}
	return removed, nil
}

// superseded is a row of that table.
type superseded struct{ pinner, time, metadata int64 }

func (s *SQLite) due(ctx context.Context, roles, pinners time.Time, limit int) ([]superseded, error) {
	rows, err := s.w.due.QueryContext(ctx, stamp(roles), stamp(pinners), limit)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // its error is that of rows.Err
	var out []superseded
	for rows.Next() {
		var d superseded
		if err := rows.Scan(&d.pinner, &d.time, &d.metadata); err != nil {
			return nil, err
		}
		out = append(out, d)
	}
	return out, rows.Err()
}
