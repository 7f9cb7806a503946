package ledger

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/internal/record"
	"example.com/bailiwick/tuf/key"
)

// checkRecord refuses entries and recoveries that no ledger can keep.
func checkRecord(p *publish.Publication) error {
	for i := range p.Record {
		if err := p.Record[i].Check(); err != nil {
			return err
		}
		// A publication that waited for the isolated signer can come later than it was to be, after timestamps.
		if p.Record[i].Publication > p.Number {
			return fmt.Errorf("entry %d of the record says that publication %d appends it", p.Record[i].Number, p.Record[i].Publication)
		}
	}
	for i := range p.Recoveries {
		r := &p.Recoveries[i]
		if r.Project.IsZero() || r.Entry < 1 || r.Threshold < 1 || r.Threshold > len(r.Keys) {
			return fmt.Errorf("a recovery of project %q by entry %d with %d of %d keys: it needs a project, an entry and keys", r.Project, r.Entry, r.Threshold, len(r.Keys))
		}
		switch r.Outcome {
		case "", record.Recovered, record.RecoveryCancelled:
		default:
			return fmt.Errorf("the recovery of %s can not end as %q", r.Project, r.Outcome)
		}
	}
	return nil
}

// Conflicts, worded alike by both ledgers.

func entryConflict(err error) error {
	return fmt.Errorf("the record was continued otherwise (%w): %w", err, publish.ErrConflict)
}

func recoveryConflict(r *publish.Recovery) error {
	if r.Outcome == "" {
		return fmt.Errorf("a recovery of %s waits already: %w", r.Project, publish.ErrConflict)
	}
	return fmt.Errorf("the recovery of %s that entry %d announced does not wait: %w", r.Project, r.Entry, publish.ErrConflict)
}

func (s *SQLite) commitEntries(ctx context.Context, p *publish.Publication) error {
	if len(p.Record) == 0 {
		return nil
	}
	var head record.Head
	var sum []byte
	if err := s.w.operators.recordHead.QueryRowContext(ctx).Scan(&head.Length, &sum); err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	copy(head.Sum[:], sum)
	for i := range p.Record {
		e := &p.Record[i]
		next, err := head.Append(e)
		if err != nil {
			return entryConflict(err)
		}
		head = next
		if _, err := s.w.operators.addEntry.ExecContext(ctx, e.Number, e.Publication, stamp(e.Time), e.AppendCanonical(nil), head.Sum[:]); err != nil {
			return err
		}
	}
	return nil
}

func (s *SQLite) commitRecovery(ctx context.Context, r *publish.Recovery) error {
	var waits int64
	err := s.w.operators.recoveryOf.QueryRowContext(ctx, r.Project.String()).Scan(&waits)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	if r.Outcome != "" {
		if waits != r.Entry {
			return recoveryConflict(r)
		}
		_, err := s.w.operators.closeRecovery.ExecContext(ctx, string(r.Outcome), r.Closed, r.Entry)
		return err
	}
	if waits != 0 {
		return recoveryConflict(r)
	}
	keys, err := encodeKeys(r.Keys)
	if err != nil {
		return err
	}
	_, err = s.w.operators.addRecovery.ExecContext(ctx, r.Entry, r.Project.String(), stamp(r.Announced), stamp(r.NotBefore),
		keys, r.Threshold, r.Text, r.Token)
	return err
}

func encodeKeys(keys []*key.Public) (string, error) {
	list := make([][3]string, len(keys))
	for i, k := range keys {
		list[i] = [3]string{k.Type(), k.Scheme(), k.Value()}
	}
	b, err := json.Marshal(list)
	return string(b), err
}

func decodeKeys(s string) ([]*key.Public, error) {
	var list [][3]string
	if err := json.Unmarshal([]byte(s), &list); err != nil {
		return nil, fmt.Errorf("%w (%w)", ErrDamaged, err)
	}
	keys := make([]*key.Public, len(list))
	for i, k := range list {
		var err error
		if keys[i], err = key.New(k[0], k[1], k[2]); err != nil {
			return nil, fmt.Errorf("%w (%w)", ErrDamaged, err)
		}
	}
	return keys, nil
}

// maxEntries is how many entries one call of Record returns at most, whatever it is asked for.
const maxEntries = 10_000

// Record implements publish.Ledger.
func (s *SQLite) Record(ctx context.Context, from int64, limit int) ([]publish.RecordEntry, error) {
	const doing = "reading the record"
	rows, err := s.r.record.QueryContext(ctx, from, min(max(limit, 0), maxEntries))
	if err != nil {
		return nil, s.failed(doing, err)
	}
	defer func() { _ = rows.Close() }() // its error is that of rows.Err
	var out []publish.RecordEntry
	for rows.Next() {
		var body sql.RawBytes
		if err := rows.Scan(&body); err != nil {
			return nil, s.failed(doing, err)
		}
		e, err := record.Parse(body)
		if err != nil {
			return nil, s.failed(doing, fmt.Errorf("%w (%w)", ErrDamaged, err))
		}
		out = append(out, e)
	}
	if err := rows.Err(); err != nil {
		return nil, s.failed(doing, err)
	}
	return out, nil
}

// Recoveries implements publish.Ledger.
func (s *SQLite) Recoveries(ctx context.Context) ([]publish.Recovery, error) {
	const doing = "reading the recoveries"
	rows, err := s.r.recoveries.QueryContext(ctx)
	if err != nil {
		return nil, s.failed(doing, err)
	}
	defer func() { _ = rows.Close() }() // its error is that of rows.Err
	var out []publish.Recovery
	for rows.Next() {
		var r publish.Recovery
		var project, keys string
		var announced, notBefore int64
		err := rows.Scan(&r.Entry, &project, &announced, &notBefore, &keys, &r.Threshold, &r.Text, &r.Token)
		if err == nil {
			r.Project, err = pypi.ParseProject(project)
		}
		if err == nil {
			r.Keys, err = decodeKeys(keys)
		}
		if err != nil {
			return nil, s.failed(doing, err)
		}
		r.Announced, r.NotBefore = unstamp(announced), unstamp(notBefore)
		out = append(out, r)
	}
	if err := rows.Err(); err != nil {
		return nil, s.failed(doing, err)
	}
	return out, nil
}
