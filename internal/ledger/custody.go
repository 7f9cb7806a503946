package ledger

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"example.com/bailiwick/internal/index"
	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/tuf"
)

// custodyStatements are those of the writer that keep what waits for the isolated signer.
type custodyStatements struct {
	addPart, dropProposals, dropUpTo *sql.Stmt
	addWaiting, dropWaiting          *sql.Stmt
}

func (w *custodyStatements) all() []prepared {
	return []prepared{
		{&w.addPart, `INSERT INTO proposals (number, kind, part, bytes) VALUES (?, ?, ?, ?)`},
		{&w.dropProposals, `DELETE FROM proposals`},
		{&w.dropUpTo, `DELETE FROM proposals WHERE number <= ?`},
		{&w.addWaiting, `INSERT INTO waiting (name, project, body, token, received) VALUES (?, ?, ?, ?, ?)
			ON CONFLICT (name) DO NOTHING`},
		{&w.dropWaiting, `DELETE FROM waiting WHERE id = ?`},
	}
}

// commitProposal forgets the proposal that a publication executes or overtakes.
func (s *SQLite) commitProposal(ctx context.Context, p *publish.Publication) error {
	version := snapshotOf(p)
	if version == 0 {
		return nil
	}
	_, err := s.w.custody.dropUpTo.ExecContext(ctx, version)
	return err
}

// snapshotOf returns the version of the snapshot that a publication makes, 0 if it makes none.
func snapshotOf(p *publish.Publication) int64 {
	i := slices.IndexFunc(p.Metadata, func(m publish.Metadata) bool { return m.Role == tuf.RoleSnapshot })
	if i < 0 {
		return 0
	}
	return p.Metadata[i].Version
}

// Kinds of rows in the table proposals.
const (
	proposalSent = iota
	proposalCommitted
)

// Proposal implements publish.Proposals.
func (s *SQLite) Proposal(ctx context.Context) (publish.StoredProposal, error) {
	const doing = "reading what was proposed"
	rows, err := s.r.proposal.QueryContext(ctx)
	if err != nil {
		return publish.StoredProposal{}, s.failed(doing, err)
	}
	defer func() { _ = rows.Close() }() // its error is that of rows.Err
	var out publish.StoredProposal
	for rows.Next() {
		var kind int
		var part sql.RawBytes
		if err := rows.Scan(&out.Number, &kind, &part); err != nil {
			return publish.StoredProposal{}, s.failed(doing, err)
		}
		if kind == proposalSent {
			out.Proposal = append(out.Proposal, part...)
		} else {
			out.Publication = append(out.Publication, part...)
		}
	}
	if err := rows.Err(); err != nil {
		return publish.StoredProposal{}, s.failed(doing, err)
	}
	if out.Number == 0 {
		return out, noProposal()
	}
	return out, nil
}

func noProposal() error { return fmt.Errorf("nothing is proposed: %w", publish.ErrNotFound) }

// PutProposal implements publish.Proposals.
func (s *SQLite) PutProposal(ctx context.Context, p publish.StoredProposal) error {
	if err := checkProposal(&p); err != nil {
		return err
	}
	return s.write(ctx, "storing what is proposed", func(ctx context.Context) error {
		if _, err := s.w.custody.dropProposals.ExecContext(ctx); err != nil {
			return err
		}
		for kind, data := range [][]byte{proposalSent: p.Proposal, proposalCommitted: p.Publication} {
			part := 0
			for piece := range slices.Chunk(data, bodyPart) {
				if _, err := s.w.custody.addPart.ExecContext(ctx, p.Number, kind, part, piece); err != nil {
					return err
				}
				part++
			}
		}
		return nil
	})
}

func checkProposal(p *publish.StoredProposal) error {
	if p.Number < 1 || len(p.Proposal) == 0 || len(p.Publication) == 0 {
		return fmt.Errorf("storing proposal %d of %d and %d bytes: all three are needed", p.Number, len(p.Proposal), len(p.Publication))
	}
	return nil
}

// DropProposal implements publish.Proposals.
func (s *SQLite) DropProposal(ctx context.Context) error {
	return s.write(ctx, "forgetting what was proposed", func(ctx context.Context) error {
		_, err := s.w.custody.dropProposals.ExecContext(ctx)
		return err
	})
}

// AddWaiting implements index.Waiting.
func (s *SQLite) AddWaiting(ctx context.Context, w index.WaitingChange, e publish.Event) (bool, error) {
	if err := checkWaiting(&w, &e); err != nil {
		return false, err
	}
	added := false
	err := s.write(ctx, "keeping "+w.Name, func(ctx context.Context) error {
		n, err := affected(s.w.custody.addWaiting.ExecContext(ctx, w.Name, w.Project.String(), notNull(w.Body), w.Token, stamp(w.Received)))
		if err != nil || n == 0 {
			return err
		}
		added = true
		return s.addEvent(ctx, &e)
	})
	return added && err == nil, err
}

func checkWaiting(w *index.WaitingChange, e *publish.Event) error {
	if w.Name == "" || w.Project.IsZero() || len(w.Body) == 0 {
		return fmt.Errorf("keeping a change named %q of project %q: both and a body are needed", w.Name, w.Project)
	}
	return checkEvent(e)
}

// Waiting implements index.Waiting.
func (s *SQLite) Waiting(ctx context.Context, after int64, limit int) ([]index.WaitingChange, error) {
	const doing = "reading what waits for the signer"
	rows, err := s.r.waiting.QueryContext(ctx, after, max(limit, 0))
	if err != nil {
		return nil, s.failed(doing, err)
	}
	defer func() { _ = rows.Close() }() // its error is that of rows.Err
	var out []index.WaitingChange
	for rows.Next() {
		var w index.WaitingChange
		var project string
		var received int64
		err := rows.Scan(&w.ID, &w.Name, &project, &w.Body, &w.Token, &received)
		if err == nil {
			w.Project, err = pypi.ParseProject(project)
		}
		if err != nil {
			return nil, s.failed(doing, err)
		}
		w.Received = unstamp(received)
		out = append(out, w)
	}
	if err := rows.Err(); err != nil {
		return nil, s.failed(doing, err)
	}
	return out, nil
}

// WaitingNamed implements index.Waiting.
func (s *SQLite) WaitingNamed(ctx context.Context, name string) (index.WaitingChange, error) {
	w := index.WaitingChange{Name: name}
	var project string
	var received int64
	err := s.r.waitingNamed.QueryRowContext(ctx, name).Scan(&w.ID, &project, &w.Body, &w.Token, &received)
	if errors.Is(err, sql.ErrNoRows) {
		return index.WaitingChange{}, notWaiting(name)
	}
	if err == nil {
		w.Project, err = pypi.ParseProject(project)
	}
	if err != nil {
		return index.WaitingChange{}, s.failed("reading "+name, err)
	}
	w.Received = unstamp(received)
	return w, nil
}

func notWaiting(name string) error { return fmt.Errorf("%s: %w", name, index.ErrNotWaiting) }

// CountWaiting implements index.Waiting.
func (s *SQLite) CountWaiting(ctx context.Context) (int, error) {
	var n int
	if err := s.r.waitingCount.QueryRowContext(ctx).Scan(&n); err != nil {
		return 0, s.failed("counting what waits for the signer", err)
	}
	return n, nil
}

// RemoveWaiting implements index.Waiting.
func (s *SQLite) RemoveWaiting(ctx context.Context, id int64, events ...publish.Event) error {
	for i := range events {
		if err := checkEvent(&events[i]); err != nil {
			return err
		}
	}
	return s.write(ctx, "dropping what waited for the signer", func(ctx context.Context) error {
		n, err := affected(s.w.custody.dropWaiting.ExecContext(ctx, id))
		if err != nil || n == 0 {
			return err
		}
		for i := range events {
			if err := s.addEvent(ctx, &events[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

// memoryCustody is what a [Memory] keeps of strict custody; guarded by its lock.
type memoryCustody struct {
	proposal *publish.StoredProposal
	waiting  []index.WaitingChange // in order of arrival
	last     int64                 // ID that was given
}

// commit is the part of a publication that concerns what was proposed.
func (c *memoryCustody) commit(p *publish.Publication) {
	if c.proposal != nil && c.proposal.Number <= snapshotOf(p) {
		c.proposal = nil
	}
}

func (m *Memory) keeping(ctx context.Context, doing string, do func(c *memoryCustody, r *memoryRecords)) error {
	return m.locked(ctx, doing, func(r *memoryRecords) error {
		do(&m.custody, r)
		return nil
	})
}

// Proposal implements publish.Proposals.
func (m *Memory) Proposal(ctx context.Context) (publish.StoredProposal, error) {
	var out publish.StoredProposal
	err := m.keeping(ctx, "reading what was proposed", func(c *memoryCustody, _ *memoryRecords) {
		if c.proposal != nil {
			out = cloneProposal(*c.proposal)
		}
	})
	if err == nil && out.Number == 0 {
		err = noProposal()
	}
	return out, err
}

func cloneProposal(p publish.StoredProposal) publish.StoredProposal {
	p.Proposal, p.Publication = bytes.Clone(p.Proposal), bytes.Clone(p.Publication)
	return p
}

// PutProposal implements publish.Proposals.
func (m *Memory) PutProposal(ctx context.Context, p publish.StoredProposal) error {
	if err := checkProposal(&p); err != nil {
		return err
	}
	return m.keeping(ctx, "storing what is proposed", func(c *memoryCustody, _ *memoryRecords) {
		p = cloneProposal(p)
		c.proposal = &p
	})
}

// DropProposal implements publish.Proposals.
func (m *Memory) DropProposal(ctx context.Context) error {
	return m.keeping(ctx, "forgetting what was proposed", func(c *memoryCustody, _ *memoryRecords) { c.proposal = nil })
}

// AddWaiting implements index.Waiting.
func (m *Memory) AddWaiting(ctx context.Context, w index.WaitingChange, e publish.Event) (bool, error) {
	if err := checkWaiting(&w, &e); err != nil {
		return false, err
	}
	added := false
	err := m.keeping(ctx, "keeping "+w.Name, func(c *memoryCustody, r *memoryRecords) {
		if slices.ContainsFunc(c.waiting, func(o index.WaitingChange) bool { return o.Name == w.Name }) {
			return
		}
		c.last++
		w.ID, w.Body, w.Received = c.last, bytes.Clone(w.Body), unstamp(stamp(w.Received))
		c.waiting = append(c.waiting, w)
		r.record(e)
		added = true
	})
	return added, err
}

// Waiting implements index.Waiting.
func (m *Memory) Waiting(ctx context.Context, after int64, limit int) ([]index.WaitingChange, error) {
	var out []index.WaitingChange
	err := m.keeping(ctx, "reading what waits for the signer", func(c *memoryCustody, _ *memoryRecords) {
		for _, w := range c.waiting {
			if w.ID > after && len(out) < limit {
				w.Body = bytes.Clone(w.Body)
				out = append(out, w)
			}
		}
	})
	return out, err
}

// WaitingNamed implements index.Waiting.
func (m *Memory) WaitingNamed(ctx context.Context, name string) (index.WaitingChange, error) {
	var out index.WaitingChange
	err := m.keeping(ctx, "reading "+name, func(c *memoryCustody, _ *memoryRecords) {
		if i := slices.IndexFunc(c.waiting, func(w index.WaitingChange) bool { return w.Name == name }); i >= 0 {
			out = c.waiting[i]
			out.Body = bytes.Clone(out.Body)
		}
	})
	if err == nil && out.ID == 0 {
		err = notWaiting(name)
	}
	return out, err
}

// CountWaiting implements index.Waiting.
func (m *Memory) CountWaiting(ctx context.Context) (int, error) {
	n := 0
	err := m.keeping(ctx, "counting what waits for the signer", func(c *memoryCustody, _ *memoryRecords) { n = len(c.waiting) })
	return n, err
}

// RemoveWaiting implements index.Waiting.
func (m *Memory) RemoveWaiting(ctx context.Context, id int64, events ...publish.Event) error {
	for i := range events {
		if err := checkEvent(&events[i]); err != nil {
			return err
		}
	}
	return m.keeping(ctx, "dropping what waited for the signer", func(c *memoryCustody, r *memoryRecords) {
		i := slices.IndexFunc(c.waiting, func(w index.WaitingChange) bool { return w.ID == id })
		if i < 0 {
			return
		}
		c.waiting = slices.Delete(c.waiting, i, i+1)
		for _, e := range events {
			r.record(e)
		}
	})
}
