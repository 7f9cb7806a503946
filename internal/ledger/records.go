package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"example.com/bailiwick/internal/index"
	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/tuf/key"
)

// recordStatements are those of the writer that keep what waits for signatures.
type recordStatements struct {
	addStaged, dropStaged, expireStaged                   *sql.Stmt
	addRequest, requestNumber, dropRequest, expireRequest *sql.Stmt
	addSignature, addEvent                                *sql.Stmt
}

func (w *recordStatements) all() []prepared {
	return []prepared{
		{&w.addStaged, `INSERT INTO staged (filename, project, version, size, sha256, metadata_sha256,
			requires_python, uploaded, uploader) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT (filename, sha256) DO NOTHING`},
		{&w.dropStaged, `DELETE FROM staged WHERE filename = ?`},
		{&w.expireStaged, `DELETE FROM staged WHERE uploaded <= ?`},
		{&w.addRequest, `INSERT INTO requests (id, project, body, token, received, expires) VALUES (?, ?, ?, ?, ?, ?)
			ON CONFLICT (id) DO NOTHING`},
		{&w.requestNumber, `SELECT number FROM requests WHERE id = ?`},
		{&w.dropRequest, `DELETE FROM requests WHERE id = ?`},
		{&w.expireRequest, `DELETE FROM requests WHERE expires <= ?`},
		{&w.addSignature, `INSERT INTO signatures (request, role, keyid, sig) VALUES (?, ?, ?, ?)
			ON CONFLICT (request, role, keyid) DO UPDATE SET sig = excluded.sig`},
		{&w.addEvent, `INSERT INTO events (project, kind, time, publication, token, request, keys, text)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?)`},
	}
}

// commitRecords is the part of a publication that concerns what waited for it.
func (s *SQLite) commitRecords(ctx context.Context, p *publish.Publication) error {
	for i := range p.Files {
		if _, err := s.w.records.dropStaged.ExecContext(ctx, p.Files[i].Filename.String()); err != nil {
			return err
		}
	}
	for _, id := range p.Closed {
		if _, err := s.w.records.dropRequest.ExecContext(ctx, id); err != nil {
			return err
		}
	}
	for i := range p.Events {
		if err := s.addEvent(ctx, &p.Events[i]); err != nil {
			return err
		}
	}
	return nil
}

func (s *SQLite) addEvent(ctx context.Context, e *publish.Event) error {
	_, err := s.w.records.addEvent.ExecContext(ctx, e.Project.String(), string(e.Kind), stamp(e.Time), e.Publication,
		e.Token, e.Request, joinIDs(e.Keys), e.Text)
	return err
}

// AddStaged implements index.StagedFiles.
func (s *SQLite) AddStaged(ctx context.Context, f publish.File, e publish.Event) (bool, error) {
	if err := checkStaged(&f, &e); err != nil {
		return false, err
	}
	added := false
	err := s.write(ctx, "staging "+f.Filename.String(), func(ctx context.Context) error {
		var metadataSum []byte
		if f.MetadataSHA256 != nil {
			metadataSum = f.MetadataSHA256[:]
		}
		n, err := affected(s.w.records.addStaged.ExecContext(ctx, f.Filename.String(), f.Project.String(), f.Version, f.Size,
			f.SHA256[:], metadataSum, f.RequiresPython, stamp(f.Uploaded), f.Uploader))
		if err != nil || n == 0 {
			return err
		}
		added = true
		return s.addEvent(ctx, &e)
	})
	return added && err == nil, err
}

func checkStaged(f *publish.File, e *publish.Event) error {
	if f.Filename.IsZero() || f.Project.IsZero() {
		return fmt.Errorf("staging file %q of project %q: both names are needed", f.Filename, f.Project)
	}
	return checkEvent(e)
}

// affected returns how many rows a statement changed.
func affected(r sql.Result, err error) (int, error) {
	if err != nil {
		return 0, err
	}
	n, err := r.RowsAffected()
	return int(n), err
}

// Staged implements index.StagedFiles.
func (s *SQLite) Staged(ctx context.Context, p pypi.Project) ([]publish.File, error) {
	doing := "reading the staged files of " + p.String()
	rows, err := s.r.staged.QueryContext(ctx, p.String())
	if err != nil {
		return nil, s.failed(doing, err)
	}
	defer func() { _ = rows.Close() }() // its error is that of rows.Err
	var out []publish.File
	for rows.Next() {
		f, err := scanStaged(rows)
		if err != nil {
			return nil, s.failed(doing, err)
		}
		out = append(out, f)
	}
	if err := rows.Err(); err != nil {
		return nil, s.failed(doing, err)
	}
	return out, nil
}

func scanStaged(rows *sql.Rows) (publish.File, error) {
	var f publish.File
	var name, project string
	var sum, metadataSum []byte
	var uploaded int64
	if err := rows.Scan(&name, &project, &f.Version, &f.Size, &sum, &metadataSum, &f.RequiresPython, &uploaded, &f.Uploader); err != nil {
		return publish.File{}, err
	}
	f.Uploaded = unstamp(uploaded)
	copy(f.SHA256[:], sum)
	if metadataSum != nil {
		f.MetadataSHA256 = new([32]byte)
		copy(f.MetadataSHA256[:], metadataSum)
	}
	var err error
	if f.Project, err = pypi.ParseProject(project); err == nil {
		f.Filename, err = pypi.ParseFilenameFor(f.Project, name)
	}
	if err != nil {
		return publish.File{}, fmt.Errorf("%w (%w)", ErrDamaged, err)
	}
	return f, nil
}

// RemoveStaged implements index.StagedFiles.
func (s *SQLite) RemoveStaged(ctx context.Context, name pypi.Filename, e publish.Event) (int, error) {
	if err := checkEvent(&e); err != nil {
		return 0, err
	}
	removed := 0
	err := s.write(ctx, "discarding "+name.String(), func(ctx context.Context) error {
		var err error
		if removed, err = affected(s.w.records.dropStaged.ExecContext(ctx, name.String())); err != nil || removed == 0 {
			return err
		}
		return s.addEvent(ctx, &e)
	})
	if err != nil {
		return 0, err
	}
	return removed, nil
}

// ExpireStaged implements index.StagedFiles.
func (s *SQLite) ExpireStaged(ctx context.Context, before time.Time) (int, error) {
	return s.expire(ctx, "forgetting staged files", s.w.records.expireStaged, before)
}

// ExpireRequests implements index.Requests.
func (s *SQLite) ExpireRequests(ctx context.Context, now time.Time) (int, error) {
	return s.expire(ctx, "forgetting signing requests", s.w.records.expireRequest, now)
}

func (s *SQLite) expire(ctx context.Context, doing string, drop *sql.Stmt, at time.Time) (int, error) {
	removed := 0
	err := s.write(ctx, doing, func(ctx context.Context) error {
		var err error
		removed, err = affected(drop.ExecContext(ctx, stamp(at)))
		return err
	})
	if err != nil {
		return 0, err
	}
	return removed, nil
}

// AddRequest implements index.Requests.
func (s *SQLite) AddRequest(ctx context.Context, r index.StoredRequest, e publish.Event) (bool, error) {
	if err := checkRequest(&r, &e); err != nil {
		return false, err
	}
	added := false
	err := s.write(ctx, "storing signing request "+r.ID, func(ctx context.Context) error {
		n, err := affected(s.w.records.addRequest.ExecContext(ctx, r.ID, r.Project.String(), notNull(r.Body), r.Token, stamp(r.Received), stamp(r.Expires)))
		if err != nil || n == 0 {
			return err
		}
		added = true
		return s.addEvent(ctx, &e)
	})
	return added && err == nil, err
}

func checkRequest(r *index.StoredRequest, e *publish.Event) error {
	if r.ID == "" || r.Project.IsZero() {
		return fmt.Errorf("storing signing request %q of project %q: both names are needed", r.ID, r.Project)
	}
	return checkEvent(e)
}

// Request implements index.Requests.
func (s *SQLite) Request(ctx context.Context, id string) (index.StoredRequest, error) {
	out, err := s.readRequests(ctx, "reading signing request "+id, s.r.request, id)
	if err != nil {
		return index.StoredRequest{}, err
	}
	if len(out) == 0 {
		return index.StoredRequest{}, noRequest(id)
	}
	return out[0], nil
}

func noRequest(id string) error { return fmt.Errorf("signing request %s: %w", id, index.ErrNoRequest) }

// Requests implements index.Requests.
func (s *SQLite) Requests(ctx context.Context, p pypi.Project) ([]index.StoredRequest, error) {
	return s.readRequests(ctx, "reading the signing requests of "+p.String(), s.r.requests, p.String())
}

// OpenRequests implements index.Requests.
func (s *SQLite) OpenRequests(ctx context.Context, limit int) ([]index.StoredRequest, error) {
	return s.readRequests(ctx, "reading the signing requests of all projects", s.r.openRequests, limit)
}

// readRequests reads requests, and then the signatures of each: in between a request may be executed;
// then it comes without those that were added last, which nobody needs any more.
func (s *SQLite) readRequests(ctx context.Context, doing string, query *sql.Stmt, arg any) ([]index.StoredRequest, error) {
	rows, err := query.QueryContext(ctx, arg)
	if err != nil {
		return nil, s.failed(doing, err)
	}
	defer func() { _ = rows.Close() }() // its error is that of rows.Err
	var out []index.StoredRequest
	var numbers []int64
	for rows.Next() {
		var r index.StoredRequest
		var project string
		var number, received, expires int64
		err := rows.Scan(&number, &r.ID, &project, &r.Body, &r.Token, &received, &expires)
		if err == nil {
			r.Project, err = pypi.ParseProject(project)
		}
		if err != nil {
			return nil, s.failed(doing, err)
		}
		r.Received, r.Expires = unstamp(received), unstamp(expires)
		out, numbers = append(out, r), append(numbers, number)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return nil, s.failed(doing, err)
	}
	for i := range out {
		if out[i].Signatures, err = readSignatures(ctx, s.r.signatures, numbers[i]); err != nil {
			return nil, s.failed(doing, err)
		}
	}
	return out, nil
}

// SignRequest implements index.Requests.
func (s *SQLite) SignRequest(ctx context.Context, id string, signatures []index.RoleSignature, e publish.Event) error {
	if err := checkEvent(&e); err != nil {
		return err
	}
	return s.write(ctx, "storing signatures for request "+id, func(ctx context.Context) error {
		var number int64
		err := s.w.records.requestNumber.QueryRowContext(ctx, id).Scan(&number)
		if errors.Is(err, sql.ErrNoRows) {
			return noRequest(id)
		}
		if err != nil {
			return err
		}
		for _, sig := range signatures {
			if _, err := s.w.records.addSignature.ExecContext(ctx, number, string(sig.Role), string(sig.Signature.KeyID), notNull(sig.Signature.Sig)); err != nil {
				return err
			}
		}
		return s.addEvent(ctx, &e)
	})
}

// CloseRequest implements index.Requests.
func (s *SQLite) CloseRequest(ctx context.Context, id string, e publish.Event) error {
	if err := checkEvent(&e); err != nil {
		return err
	}
	return s.write(ctx, "closing signing request "+id, func(ctx context.Context) error {
		n, err := affected(s.w.records.dropRequest.ExecContext(ctx, id))
		if err != nil {
			return err
		}
		if n == 0 {
			return noRequest(id)
		}
		return s.addEvent(ctx, &e)
	})
}

// Events implements index.Events.
func (s *SQLite) Events(ctx context.Context, p pypi.Project, limit int) ([]publish.Event, error) {
	if limit <= 0 {
		return nil, nil
	}
	doing := "reading the events of " + p.String()
	rows, err := s.r.events.QueryContext(ctx, p.String(), limit)
	if err != nil {
		return nil, s.failed(doing, err)
	}
	defer func() { _ = rows.Close() }() // its error is that of rows.Err
	var out []publish.Event
	for rows.Next() {
		var e publish.Event
		var project, kind, keys string
		var at int64
		err := rows.Scan(&e.ID, &project, &kind, &at, &e.Publication, &e.Token, &e.Request, &keys, &e.Text)
		if err == nil {
			e.Project, err = pypi.ParseProject(project)
		}
		if err != nil {
			return nil, s.failed(doing, err)
		}
		e.Kind, e.Time, e.Keys = publish.EventKind(kind), unstamp(at), splitIDs(keys)
		out = append(out, e)
	}
	if err := rows.Err(); err != nil {
		return nil, s.failed(doing, err)
	}
	return out, nil
}

// joinIDs and splitIDs keep key ids, which hold no line break, one a line.

func joinIDs(ids []key.ID) string {
	var b strings.Builder
	for i, id := range ids {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(string(id))
	}
	return b.String()
}

func splitIDs(s string) []key.ID {
	if s == "" {
		return nil
	}
	var out []key.ID
	for id := range strings.SplitSeq(s, "\n") {
		out = append(out, key.ID(id))
	}
	return out
}
