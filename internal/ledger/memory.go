package ledger

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"example.com/bailiwick/internal/index"
	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/tuf"
)

// Memory is a ledger for tests: the same contract, nothing durable. Make one with [NewMemory].
type Memory struct {
	mu         sync.RWMutex // guards everything below
	head       publish.Head
	roles      map[tuf.RoleName]*versions
	files      map[string]publish.File
	tokens     map[[32]byte]index.Token
	tokenOrder [][32]byte
	records    memoryRecords
	operators  memoryOperators
	custody    memoryCustody
}

// versions are what is kept of one role, oldest first; the last is the newest.
type versions []version

type version struct {
	publish.Metadata
	superseded time.Time // zero for the newest
	maintained bool
}

// NewMemory returns an empty ledger.
func NewMemory() *Memory {
	return &Memory{
		roles:  make(map[tuf.RoleName]*versions),
		files:  make(map[string]publish.File),
		tokens: make(map[[32]byte]index.Token),
	}
}

// Close does nothing; it is there so that both ledgers are used alike.
func (m *Memory) Close() error { return nil }

// Head implements publish.Ledger.
func (m *Memory) Head(ctx context.Context) (publish.Head, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if err := ctx.Err(); err != nil {
		return publish.Head{}, fmt.Errorf("reading the head: %w", err)
	}
	if m.head.Number == 0 {
		return publish.Head{}, fmt.Errorf("reading the head: %w", publish.ErrNoRepository)
	}
	return m.head, nil
}

// Roles implements publish.Ledger.
func (m *Memory) Roles(ctx context.Context) ([]publish.Role, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("listing roles: %w", err)
	}
	out := make([]publish.Role, 0, len(m.roles))
	for name, vs := range m.roles {
		newest := vs.newest()
		out = append(out, publish.Role{Name: name, Version: newest.Version, Expires: newest.Expires, Maintained: newest.maintained})
	}
	slices.SortFunc(out, func(a, b publish.Role) int { return strings.Compare(string(a.Name), string(b.Name)) })
	return out, nil
}

func (vs versions) newest() *version { return &vs[len(vs)-1] }

// Metadata implements publish.Ledger.
func (m *Memory) Metadata(ctx context.Context, role tuf.RoleName, number int64) (publish.Metadata, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if err := ctx.Err(); err != nil {
		return publish.Metadata{}, fmt.Errorf("reading version %d of role %s: %w", number, role, err)
	}
	vs, ok := m.roles[role]
	if !ok {
		return publish.Metadata{}, noMetadata(role, number)
	}
	if number == 0 {
		return vs.newest().Metadata, nil
	}
	i, ok := slices.BinarySearchFunc(*vs, number, func(v version, n int64) int { return cmp.Compare(v.Version, n) })
	if !ok {
		return publish.Metadata{}, noMetadata(role, number)
	}
	return (*vs)[i].Metadata, nil
}

// File implements publish.Ledger.
func (m *Memory) File(ctx context.Context, name pypi.Filename) (publish.File, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if err := ctx.Err(); err != nil {
		return publish.File{}, fmt.Errorf("reading file %s: %w", name, err)
	}
	f, ok := m.files[name.String()]
	if !ok {
		return publish.File{}, noFile(name)
	}
	return copyFile(f), nil
}

// Commit implements publish.Ledger: it looks at everything first and then changes everything.
func (m *Memory) Commit(ctx context.Context, p *publish.Publication) error {
	doing := fmt.Sprintf("committing publication %d", p.Number)
	if err := check(p); err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	if err := m.conflict(p); err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	head, err := m.operators.conflict(p, m.head.Record)
	if err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	for _, md := range p.Metadata {
		m.add(md, unstamp(stamp(p.Time)))
	}
	for _, f := range p.Files {
		f = copyFile(f)
		f.Uploaded = unstamp(stamp(f.Uploaded))
		m.files[f.Filename.String()] = f
	}
	m.records.commit(p)
	m.operators.commit(p)
	m.custody.commit(p)
	m.head.Number, m.head.Time, m.head.Record = p.Number, unstamp(stamp(p.Time)), head
	return nil
}

// conflict says why p can not be committed now.
func (m *Memory) conflict(p *publish.Publication) error {
	if p.Number != m.head.Number+1 {
		return numberConflict(p.Number, m.head.Number)
	}
	newest := make(map[tuf.RoleName]int64, len(p.Metadata))
	for i := range p.Metadata {
		md := &p.Metadata[i]
		if vs, ok := m.roles[md.Role]; ok && newest[md.Role] == 0 {
			newest[md.Role] = vs.newest().Version
		}
		if md.Version <= newest[md.Role] {
			return versionConflict(md, newest[md.Role])
		}
		newest[md.Role] = md.Version
	}
	seen := make(map[string]bool, len(p.Files))
	for i := range p.Files {
		name := p.Files[i].Filename.String()
		if _, used := m.files[name]; used || seen[name] {
			return filenameConflict(&p.Files[i])
		}
		seen[name] = true
	}
	return nil
}

func (m *Memory) add(md publish.Metadata, at time.Time) {
	md.Bytes = slices.Clone(md.Bytes)
	md.Expires = unstamp(stamp(md.Expires))
	vs, ok := m.roles[md.Role]
	if !ok {
		vs = new(versions)
		m.roles[md.Role] = vs
	} else {
		vs.newest().superseded = at
	}
	maintained := md.Maintained
	md.Maintained = false // told by Roles
	*vs = append(*vs, version{Metadata: md, maintained: maintained})
	switch md.Role {
	case tuf.RoleRoot:
		m.head.Root = md.Version
	case tuf.RoleSnapshot:
		m.head.Snapshot = md.Version
	}
}

// Prune implements publish.Ledger.
func (m *Memory) Prune(ctx context.Context, roles, pinners time.Time, limit int) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return 0, fmt.Errorf("pruning: %w", err)
	}
	type candidate struct {
		role    tuf.RoleName
		version int64
		at      time.Time
	}
	var due []candidate
	for name, vs := range m.roles {
		before := roles
		if isPinner(name) {
			before = pinners
		}
		for _, v := range (*vs)[:len(*vs)-1] {
			if name != tuf.RoleRoot && v.superseded.Before(before) {
				due = append(due, candidate{name, v.Version, v.superseded})
			}
		}
	}
	slices.SortFunc(due, func(a, b candidate) int {
		return cmp.Or(a.at.Compare(b.at), strings.Compare(string(a.role), string(b.role)), cmp.Compare(a.version, b.version))
	})
	due = due[:min(len(due), max(limit, 0))]
	for _, d := range due {
		vs := m.roles[d.role]
		*vs = slices.DeleteFunc(*vs, func(v version) bool { return v.Version == d.version })
	}
	return len(due), nil
}

// Token implements index.Tokens.
func (m *Memory) Token(ctx context.Context, hash [32]byte) (index.Token, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if err := ctx.Err(); err != nil {
		return index.Token{}, fmt.Errorf("reading a token: %w", err)
	}
	t, ok := m.tokens[hash]
	if !ok {
		return index.Token{}, fmt.Errorf("reading a token: %w", index.ErrNoToken)
	}
	return copyToken(t), nil
}

// Tokens implements index.Tokens.
func (m *Memory) Tokens(ctx context.Context) ([]index.Token, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("listing tokens: %w", err)
	}
	out := make([]index.Token, 0, len(m.tokens))
	for _, hash := range m.tokenOrder {
		out = append(out, copyToken(m.tokens[hash]))
	}
	slices.SortStableFunc(out, func(a, b index.Token) int { return a.Created.Compare(b.Created) })
	return out, nil
}

// PutToken implements index.Tokens.
func (m *Memory) PutToken(ctx context.Context, t index.Token) error {
	if err := checkToken(&t); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("storing token %s: %w", t.ID, err)
	}
	if _, ok := m.tokens[t.Hash]; !ok {
		m.tokenOrder = append(m.tokenOrder, t.Hash)
	}
	t = copyToken(t)
	t.Created, t.Revoked = unstamp(stamp(t.Created)), unstamp(stamp(t.Revoked))
	m.tokens[t.Hash] = t
	return nil
}

// copyFile and copyToken cut what callers hold from what is kept.

func copyFile(f publish.File) publish.File {
	if f.MetadataSHA256 != nil {
		sum := *f.MetadataSHA256
		f.MetadataSHA256 = &sum
	}
	f.Signers = slices.Clone(f.Signers)
	return f
}

func copyToken(t index.Token) index.Token {
	t.Projects = slices.Clone(t.Projects)
	return t
}
