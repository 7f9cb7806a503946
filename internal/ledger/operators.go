package ledger

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"example.com/bailiwick/internal/index"
	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
)

// bodyPart is how much of a request's body is one value, in bytes.
const bodyPart = 1 << 20

// operatorStatements are those of the writer that keep what operators sign, and the record.
type operatorStatements struct {
	add, find, drop, addPart, addSignature, summarize *sql.Stmt
	closeOne, due, dropBody, dropSignatures           *sql.Stmt

	recordHead, addEntry                   *sql.Stmt
	recoveryOf, addRecovery, closeRecovery *sql.Stmt
}

const operatorColumns = `number, id, kind, summary, token, created, expires, state, publication, closed`

func (w *operatorStatements) all() []prepared {
	return []prepared{
		{&w.add, `INSERT INTO operator_requests (id, kind, summary, token, created, expires, state, publication, closed)
			VALUES (?, ?, ?, ?, ?, ?, 'open', 0, ?)`},
		{&w.find, `SELECT number, state FROM operator_requests WHERE id = ?`},
		{&w.drop, `DELETE FROM operator_requests WHERE number = ?`},
		{&w.addPart, `INSERT INTO operator_bodies (request, part, bytes) VALUES (?, ?, ?)`},
		{&w.addSignature, `INSERT INTO operator_signatures (request, role, keyid, sig) VALUES (?, ?, ?, ?)
			ON CONFLICT (request, role, keyid) DO UPDATE SET sig = excluded.sig`},
		{&w.summarize, `UPDATE operator_requests SET summary = ? WHERE number = ?`},
		{&w.closeOne, `UPDATE operator_requests SET state = ?, publication = ?, closed = ? WHERE number = ?`},
		{&w.due, `SELECT number FROM operator_requests WHERE state = 'open' AND expires <= ?`},
		{&w.dropBody, `DELETE FROM operator_bodies WHERE request = ?`},
		{&w.dropSignatures, `DELETE FROM operator_signatures WHERE request = ?`},
		{&w.recordHead, `SELECT number, head FROM record ORDER BY number DESC LIMIT 1`},
		{&w.addEntry, `INSERT INTO record (number, publication, time, body, head) VALUES (?, ?, ?, ?, ?)`},
		{&w.recoveryOf, `SELECT entry FROM recoveries WHERE project = ? AND outcome = ''`},
		{&w.addRecovery, `INSERT INTO recoveries (entry, project, announced, not_before, keys, threshold, text, token, outcome, closed)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, '', 0)`},
		{&w.closeRecovery, `UPDATE recoveries SET outcome = ?, closed = ? WHERE entry = ?`},
	}
}

func checkOperatorRequest(r *index.OperatorRequest) error {
	switch {
	case r.ID == "" || r.Kind == "" || len(r.Body) == 0:
		return fmt.Errorf("storing the operators' request %q of kind %q: both and a body are needed", r.ID, r.Kind)
	case len(r.Body) > index.MaxOperatorBody:
		return fmt.Errorf("storing the operators' request %s: %d bytes are more than the %d that can be kept", r.ID, len(r.Body), index.MaxOperatorBody)
	}
	return nil
}

// AddOperatorRequest implements index.OperatorRequests.
func (s *SQLite) AddOperatorRequest(ctx context.Context, r index.OperatorRequest) (bool, error) {
	if err := checkOperatorRequest(&r); err != nil {
		return false, err
	}
	added := false
	err := s.write(ctx, "storing signing request "+r.ID, func(ctx context.Context) error {
		number, state, err := s.findOperatorRequest(ctx, r.ID)
		switch {
		case errors.Is(err, index.ErrNoRequest):
		case err != nil:
			return err
		case state == index.RequestAborted || state == index.RequestExpired:
			if _, err := s.w.operators.drop.ExecContext(ctx, number); err != nil {
				return err
			}
		default:
			return nil
		}
		res, err := s.w.operators.add.ExecContext(ctx, r.ID, r.Kind, notNull(r.Summary), r.Token, stamp(r.Created), stamp(r.Expires), stamp(time.Time{}))
		if err != nil {
			return err
		}
		if number, err = res.LastInsertId(); err != nil {
			return err
		}
		part := 0
		for piece := range slices.Chunk(r.Body, bodyPart) {
			if _, err := s.w.operators.addPart.ExecContext(ctx, number, part, piece); err != nil {
				return err
			}
			part++
		}
		added = true
		return nil
	})
	return added && err == nil, err
}

// findOperatorRequest looks a request up for writing.
func (s *SQLite) findOperatorRequest(ctx context.Context, id string) (int64, index.RequestState, error) {
	var number int64
	var state string
	err := s.w.operators.find.QueryRowContext(ctx, id).Scan(&number, &state)
	if errors.Is(err, sql.ErrNoRows) {
		err = noRequest(id)
	}
	return number, index.RequestState(state), err
}

// openOperatorRequest is findOperatorRequest for one that has to be open.
func (s *SQLite) openOperatorRequest(ctx context.Context, id string) (int64, error) {
	number, state, err := s.findOperatorRequest(ctx, id)
	if err == nil && state != index.RequestOpen {
		err = requestClosed(id, state)
	}
	return number, err
}

func requestClosed(id string, state index.RequestState) error {
	return fmt.Errorf("signing request %s is %s: %w", id, state, index.ErrRequestClosed)
}

// OperatorRequest implements index.OperatorRequests.
func (s *SQLite) OperatorRequest(ctx context.Context, id string) (index.OperatorRequest, error) {
	doing := "reading signing request " + id
	// One transaction, so that a request which is published meanwhile is seen whole or closed.
	tx, err := s.readerDB.BeginTx(ctx, nil)
	if err != nil {
		return index.OperatorRequest{}, s.failed(doing, err)
	}
	defer func() { _ = tx.Rollback() }()                                                                     // nothing was written
	r, number, err := scanOperatorRequest(tx.StmtContext(ctx, s.r.operatorRequest).QueryRowContext(ctx, id)) //nolint:sqlclosecheck // the transaction does
	if errors.Is(err, sql.ErrNoRows) {
		return index.OperatorRequest{}, noRequest(id)
	}
	if err == nil {
		r.Body, err = readBody(ctx, tx.StmtContext(ctx, s.r.operatorBody), number)
	}
	if err == nil {
		r.Signatures, err = readSignatures(ctx, tx.StmtContext(ctx, s.r.operatorSignatures), number)
	}
	if err != nil {
		return index.OperatorRequest{}, s.failed(doing, err)
	}
	return r, nil
}

func scanOperatorRequest(row interface{ Scan(dest ...any) error }) (index.OperatorRequest, int64, error) {
	var r index.OperatorRequest
	var number, created, expires, closed int64
	var state string
	err := row.Scan(&number, &r.ID, &r.Kind, &r.Summary, &r.Token, &created, &expires, &state, &r.Publication, &closed)
	r.Created, r.Expires, r.Closed, r.State = unstamp(created), unstamp(expires), unstamp(closed), index.RequestState(state)
	return r, number, err
}

func readBody(ctx context.Context, query *sql.Stmt, number int64) ([]byte, error) {
	rows, err := query.QueryContext(ctx, number)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // its error is that of rows.Err
	var body []byte
	for rows.Next() {
		var part sql.RawBytes
		if err := rows.Scan(&part); err != nil {
			return nil, err
		}
		body = append(body, part...)
	}
	return body, rows.Err()
}

// OperatorRequests implements index.OperatorRequests.
func (s *SQLite) OperatorRequests(ctx context.Context, limit int, states ...index.RequestState) ([]index.OperatorRequest, error) {
	states = statesOrAll(states)
	args := make([]any, 0, 5)
	for i := range 4 {
		args = append(args, string(states[min(i, len(states)-1)]))
	}
	const doing = "listing signing requests"
	tx, err := s.readerDB.BeginTx(ctx, nil)
	if err != nil {
		return nil, s.failed(doing, err)
	}
	defer func() { _ = tx.Rollback() }()                                                                     // nothing was written
	rows, err := tx.StmtContext(ctx, s.r.operatorRequests).QueryContext(ctx, append(args, max(limit, 0))...) //nolint:sqlclosecheck // the transaction does
	if err != nil {
		return nil, s.failed(doing, err)
	}
	defer func() { _ = rows.Close() }() // its error is that of rows.Err
	var out []index.OperatorRequest
	var numbers []int64
	for rows.Next() {
		r, number, err := scanOperatorRequest(rows)
		if err != nil {
			return nil, s.failed(doing, err)
		}
		out, numbers = append(out, r), append(numbers, number)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return nil, s.failed(doing, err)
	}
	for i := range out {
		if out[i].Signatures, err = readSignatures(ctx, tx.StmtContext(ctx, s.r.operatorSignatures), numbers[i]); err != nil {
			return nil, s.failed(doing, err)
		}
	}
	slices.Reverse(out)
	return out, nil
}

// statesOrAll returns the states that are asked for, each once; all of them if none is named.
func statesOrAll(states []index.RequestState) []index.RequestState {
	all := []index.RequestState{index.RequestOpen, index.RequestPublished, index.RequestAborted, index.RequestExpired}
	if len(states) == 0 {
		return all
	}
	out := slices.DeleteFunc(all, func(s index.RequestState) bool { return !slices.Contains(states, s) })
	if len(out) == 0 {
		return []index.RequestState{""} // that no request is in
	}
	return out
}

// SignOperatorRequest implements index.OperatorRequests.
func (s *SQLite) SignOperatorRequest(ctx context.Context, id string, signatures []index.RoleSignature, summary []byte) error {
	return s.write(ctx, "storing signatures for request "+id, func(ctx context.Context) error {
		number, err := s.openOperatorRequest(ctx, id)
		if err != nil {
			return err
		}
		for _, sig := range signatures {
			if _, err := s.w.operators.addSignature.ExecContext(ctx, number, string(sig.Role), string(sig.Signature.KeyID), notNull(sig.Signature.Sig)); err != nil {
				return err
			}
		}
		if summary == nil {
			return nil
		}
		_, err = s.w.operators.summarize.ExecContext(ctx, summary, number)
		return err
	})
}

// AbortOperatorRequest implements index.OperatorRequests.
func (s *SQLite) AbortOperatorRequest(ctx context.Context, id string, at time.Time) error {
	return s.write(ctx, "aborting signing request "+id, func(ctx context.Context) error {
		number, err := s.openOperatorRequest(ctx, id)
		if err != nil {
			return err
		}
		return s.closeOperatorRequest(ctx, number, index.RequestAborted, 0, at)
	})
}

// ExpireOperatorRequests implements index.OperatorRequests.
func (s *SQLite) ExpireOperatorRequests(ctx context.Context, now time.Time) (int, error) {
	var due []int64
	err := s.write(ctx, "closing expired signing requests", func(ctx context.Context) error {
		var err error
		if due, err = numbers(s.w.operators.due.QueryContext(ctx, stamp(now))); err != nil {
			return err
		}
		for _, number := range due {
			if err := s.closeOperatorRequest(ctx, number, index.RequestExpired, 0, now); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return len(due), nil
}

// numbers reads rows of one number each.
func numbers(rows *sql.Rows, err error) ([]int64, error) {
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // its error is that of rows.Err
	var out []int64
	for rows.Next() {
		var n int64
		if err := rows.Scan(&n); err != nil {
			return nil, err
		}
		out = append(out, n)
	}
	return out, rows.Err()
}

// closeOperatorRequest gives a request its last state, and forgets what is large.
func (s *SQLite) closeOperatorRequest(ctx context.Context, number int64, state index.RequestState, publication int64, at time.Time) error {
	if _, err := s.w.operators.closeOne.ExecContext(ctx, string(state), publication, stamp(at), number); err != nil {
		return err
	}
	if _, err := s.w.operators.dropBody.ExecContext(ctx, number); err != nil {
		return err
	}
	_, err := s.w.operators.dropSignatures.ExecContext(ctx, number)
	return err
}

// commitOperators is the part of a publication that concerns operators and the record.
func (s *SQLite) commitOperators(ctx context.Context, p *publish.Publication) error {
	for _, id := range p.Executed {
		number, _, err := s.findOperatorRequest(ctx, id)
		if errors.Is(err, index.ErrNoRequest) {
			continue
		}
		if err == nil {
			err = s.closeOperatorRequest(ctx, number, index.RequestPublished, p.Number, p.Time)
		}
		if err != nil {
			return err
		}
	}
	if err := s.commitEntries(ctx, p); err != nil {
		return err
	}
	for i := range p.Recoveries {
		if err := s.commitRecovery(ctx, &p.Recoveries[i]); err != nil {
			return err
		}
	}
	return nil
}

// readSignatures reads rows of (role, keyid, sig).
func readSignatures(ctx context.Context, query *sql.Stmt, request int64) ([]index.RoleSignature, error) {
	rows, err := query.QueryContext(ctx, request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // its error is that of rows.Err
	var out []index.RoleSignature
	for rows.Next() {
		var role, id string
		var sig []byte
		if err := rows.Scan(&role, &id, &sig); err != nil {
			return nil, err
		}
		out = append(out, index.RoleSignature{Role: tuf.RoleName(role), Signature: tuf.Signature{KeyID: key.ID(id), Sig: sig}})
	}
	return out, rows.Err()
}

// cloneOperatorRequest cuts what callers hold from what is kept.
func cloneOperatorRequest(r *index.OperatorRequest) index.OperatorRequest {
	c := *r
	c.Body, c.Summary, c.Signatures = bytes.Clone(r.Body), bytes.Clone(r.Summary), cloneSignatures(r.Signatures)
	return c
}
