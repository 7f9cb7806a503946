package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"example.com/bailiwick/internal/index"
	"example.com/bailiwick/internal/pypi"
)

// Token implements index.Tokens. The look-up compares hashes of secrets, so its timing tells
// nothing about a secret.
func (s *SQLite) Token(ctx context.Context, hash [32]byte) (index.Token, error) {
	t, err := scanToken(s.r.token.QueryRowContext(ctx, hash[:]))
	if errors.Is(err, sql.ErrNoRows) {
		return index.Token{}, fmt.Errorf("reading a token: %w", index.ErrNoToken)
	}
	if err != nil {
		return index.Token{}, s.failed("reading a token", err)
	}
	return t, nil
}

// Tokens implements index.Tokens.
func (s *SQLite) Tokens(ctx context.Context) ([]index.Token, error) {
	rows, err := s.r.tokens.QueryContext(ctx)
	if err != nil {
		return nil, s.failed("listing tokens", err)
	}
	defer func() { _ = rows.Close() }() // its error is that of rows.Err
	var out []index.Token
	for rows.Next() {
		t, err := scanToken(rows)
		if err != nil {
			return nil, s.failed("listing tokens", err)
		}
		out = append(out, t)
	}
	if err := rows.Err(); err != nil {
		return nil, s.failed("listing tokens", err)
	}
	return out, nil
}

// PutToken implements index.Tokens.
func (s *SQLite) PutToken(ctx context.Context, t index.Token) error {
	if err := checkToken(&t); err != nil {
		return err
	}
	return s.write(ctx, "storing token "+t.ID, func(ctx context.Context) error {
		var projects sql.NullString // nil, every project, is kept apart from none
		if t.Projects != nil {
			projects = sql.NullString{String: joinProjects(t.Projects), Valid: true}
		}
		_, err := s.w.putTok.ExecContext(ctx, t.Hash[:], t.ID, projects, t.Note, stamp(t.Created), stamp(t.Revoked), string(t.Right))
		return err
	})
}

func checkToken(t *index.Token) error {
	switch t.Right {
	case index.RightUpload, index.RightOperator, index.RightSigner:
		return nil
	}
	return fmt.Errorf("storing token %s: there is no right %.40q", t.ID, t.Right)
}

// scanToken reads a row of (hash, id, projects, note, created, revoked, rights).
func scanToken(row interface{ Scan(dest ...any) error }) (index.Token, error) {
	var t index.Token
	var hash []byte
	var projects sql.NullString
	var created, revoked int64
	var right string
	if err := row.Scan(&hash, &t.ID, &projects, &t.Note, &created, &revoked, &right); err != nil {
		return index.Token{}, err
	}
	copy(t.Hash[:], hash)
	t.Created, t.Revoked, t.Right = unstamp(created), unstamp(revoked), index.Right(right)
	if projects.Valid {
		t.Projects = []pypi.Project{}
		for name := range strings.Lines(projects.String) {
			p, err := pypi.ParseProject(strings.TrimSuffix(name, "\n"))
			if err != nil {
				return index.Token{}, fmt.Errorf("token %s: %w (%w)", t.ID, ErrDamaged, err)
			}
			t.Projects = append(t.Projects, p)
		}
	}
	return t, nil
}

func joinProjects(projects []pypi.Project) string {
	var b strings.Builder
	for _, p := range projects {
		b.WriteString(p.String())
		b.WriteByte('\n')
	}
	return b.String()
}
