package repo

import (
	"cmp"
	"fmt"
	"slices"
	"sort"

	"example.com/bailiwick/tuf"
)

// chunkEntries is how many entries of a snapshot an edit rewrites at least. A
// chunk takes a few microseconds to scan, and a hundred thousand roles
// make 800 chunks, which is nothing to copy the table of.
const chunkEntries = 128

// Snapshot is a snapshot in the form of a publisher that edits it again and
// again: sorted records in chunks. An edit rewrites the chunks it touches and
// shares all others with the snapshot it came from, so what is left of its cost is
// copying the message together. It is immutable: a publication that fails just
// drops its result.
type Snapshot struct {
	version int64
	signed  []byte // canonical "signed" with an empty "meta"
	chunks  []chunk
	entries int
	size    int // of all chunks and the commas between
}

// chunk is a run of entries as they stand in "meta", without braces.
type chunk struct {
	first string // name of the first entry, such as "claimed-3f.json"
	body  []byte
	count int
}

// NewSnapshot drafts a snapshot from nothing that lists each role's version.
func NewSnapshot(roles map[tuf.RoleName]int64, issue Issue) (*Draft, error) {
	if err := issue.check(tuf.RoleSnapshot); err != nil {
		return nil, err
	}
	empty := &Snapshot{signed: []byte(`{"_type":"snapshot","meta":{},"spec_version":"` + specVersion + `"}`)}
	if _, ok := roles[tuf.RoleTargets]; !ok {
		return nil, fmt.Errorf("issuing snapshot: top-level targets are not listed: %w", ErrAbsent)
	}
	_, d, err := empty.edit(roles, &issue)
	return d, err
}

// EditSnapshot drafts the successor of base with the changed roles' versions.
// Who edits often keeps an [OpenSnapshot] instead of scanning base each time.
func EditSnapshot(base *tuf.Snapshot, changed map[tuf.RoleName]int64, issue Issue) (*Draft, error) {
	s, err := OpenSnapshot(base)
	if err != nil {
		return nil, err
	}
	_, d, err := s.Edit(changed, issue)
	return d, err
}

// OpenSnapshot brings a verified snapshot into the form for editing, in one scan.
// It refers to base's bytes and does not copy them.
func OpenSnapshot(base *tuf.Snapshot) (*Snapshot, error) {
	signed, err := canonicalSigned(base.Bytes())
	if err != nil {
		return nil, fmt.Errorf("opening snapshot version %d: %w", base.Version(), err)
	}
	s := &Snapshot{version: base.Version()}
	s.signed, err = splice(nil, signed, []change{{"meta", func(meta []byte) ([]byte, error) {
		body, err := inside(meta, '{')
		if err != nil {
			return nil, err
		}
		s.chunks, err = cut(nil, body)
		return []byte("{}"), err
	}}})
	if err != nil {
		return nil, fmt.Errorf("opening snapshot version %d: %w", base.Version(), baseError(err))
	}
	s.measure()
	return s, nil
}

// Version returns the snapshot's version.
func (s *Snapshot) Version() int64 { return s.version }

// Len returns the number of roles listed.
func (s *Snapshot) Len() int { return s.entries }

// Lookup returns the version that is listed for the role.
func (s *Snapshot) Lookup(role tuf.RoleName) (int64, bool) {
	name := metaName(role)
	at := sort.Search(len(s.chunks), func(i int) bool { return s.chunks[i].first > name })
	if at == 0 {
		return 0, false
	}
	body := s.chunks[at-1].body
	for i := 0; i < len(body); {
		m, next, err := nextMember(body, i)
		if err != nil {
			return 0, false
		}
		if string(m.name) == name {
			v, err := entryVersion(m.value)
			return v, err == nil
		}
		i = next
	}
	return 0, false
}

// WithMembers returns a base for the next edit in which additional members of "signed" are set to raw
// JSON, or removed where the value is nil. Names of the specification are [ErrMember].
func (s *Snapshot) WithMembers(members map[string][]byte) (*Snapshot, error) {
	changes, err := memberChanges(members, []string{"meta"})
	if err != nil {
		return nil, fmt.Errorf("editing snapshot: %w", err)
	}
	next := *s
	if next.signed, err = splice(nil, s.signed, changes); err != nil {
		return nil, fmt.Errorf("editing snapshot: %w", baseError(err))
	}
	return &next, nil
}

// Edit drafts the successor in which the changed roles have new versions, and returns
// it as the base of the next edit. Versions may stay but not go back
// ([ErrVersion]); a role once listed stays listed, as clients insist on that
// (specification 5.5.5). An entry that changes lists its version alone: length and hashes
// of the old file do not fit the new one.
func (s *Snapshot) Edit(changed map[tuf.RoleName]int64, issue Issue) (*Snapshot, *Draft, error) {
	if err := issue.succeeds(tuf.RoleSnapshot, s.version); err != nil {
		return nil, nil, err
	}
	return s.edit(changed, &issue)
}

func (s *Snapshot) edit(changed map[tuf.RoleName]int64, issue *Issue) (*Snapshot, *Draft, error) {
	changes, err := snapshotChanges(changed)
	if err != nil {
		return nil, nil, err
	}
	next := &Snapshot{version: issue.Version}
	if next.chunks, err = s.rewrite(changes); err != nil {
		return nil, nil, fmt.Errorf("editing snapshot: %w", baseError(err))
	}
	if next.signed, err = splice(nil, s.signed, issue.header()); err != nil {
		return nil, nil, fmt.Errorf("editing snapshot: %w", baseError(err))
	}
	next.measure()
	page := issue.newPage(len(next.signed) + next.size)
	room := len(page)
	if page, err = next.appendMessage(page); err != nil {
		return nil, nil, fmt.Errorf("editing snapshot: %w", baseError(err))
	}
	d, err := newDraft(tuf.RoleSnapshot, issue, page, room)
	if err != nil {
		return nil, nil, err
	}
	return next, d, nil
}

// snapshotChanges validates the new versions and sorts them by entry name.
func snapshotChanges(changed map[tuf.RoleName]int64) ([]change, error) {
	changes := make([]change, 0, len(changed))
	for role, version := range changed {
		if _, err := tuf.ParseRoleName(string(role)); err != nil {
			return nil, fmt.Errorf("listing %q in the snapshot: %w: %w", role, ErrRoleName, err)
		}
		if role != tuf.RoleTargets && reserved(role) {
			return nil, fmt.Errorf("listing %q in the snapshot: name is reserved: %w", role, ErrRoleName)
		}
		if version < 1 || version > maxVersion {
			return nil, fmt.Errorf("listing %s in the snapshot: version %d: %w", role, version, ErrVersion)
		}
		changes = append(changes, change{metaName(role), func(old []byte) ([]byte, error) {
			return encodeEntry(role, old, version)
		}})
	}
	slices.SortFunc(changes, func(a, b change) int { return cmp.Compare(a.name, b.name) })
	return changes, nil
}

// encodeEntry returns the entry of a role with its version.
func encodeEntry(role tuf.RoleName, old []byte, version int64) ([]byte, error) {
	if old == nil {
		return append(append([]byte(`{"version":`), number(version)...), '}'), nil
	}
	listed, err := entryVersion(old)
	if err != nil {
		return nil, err
	}
	switch {
	case version < listed:
		return nil, fmt.Errorf("%s is listed with version %d, %d would be a rollback: %w", role, listed, version, ErrVersion)
	case version == listed:
		return old, nil
	}
	return splice(nil, old, []change{put("version", number(version)), drop("length"), drop("hashes")})
}

func entryVersion(entry []byte) (int64, error) {
	raw, err := lookup(entry, "version")
	if err != nil || len(raw) == 0 || len(raw) > 19 {
		return 0, errShape
	}
	var v int64
	for _, c := range raw {
		if c < '0' || c > '9' {
			return 0, errShape
		}
		v = v*10 + int64(c-'0')
	}
	return v, nil
}

// rewrite returns the chunks after the sorted changes.
func (s *Snapshot) rewrite(changes []change) ([]chunk, error) {
	out := make([]chunk, 0, len(s.chunks)+1)
	for i, c := range s.chunks {
		mine := len(changes)
		if i+1 < len(s.chunks) {
			mine = sort.Search(len(changes), func(j int) bool { return changes[j].name >= s.chunks[i+1].first })
		}
		if mine == 0 {
			out = append(out, c)
			continue
		}
		body, _, err := spliceBody(make([]byte, 0, len(c.body)+64*mine), c.body, changes[:mine])
		if err != nil {
			return nil, err
		}
		changes = changes[mine:]
		if out, err = cut(out, body); err != nil {
			return nil, err
		}
	}
	if len(changes) == 0 {
		return out, nil
	}
	body, _, err := spliceBody(make([]byte, 0, 64*len(changes)), nil, changes) // no chunk was there
	if err != nil {
		return nil, err
	}
	return cut(out, body)
}

// cut appends the entries of body as chunks. A body of less than two chunks stays
// whole, so that a list which grows does not fall apart into small ones.
func cut(out []chunk, body []byte) ([]chunk, error) {
	var c chunk
	start, before := 0, len(out)
	for i := 0; i < len(body); {
		m, next, err := nextMember(body, i)
		if err != nil {
			return nil, err
		}
		if c.count == chunkEntries {
			out = append(out, chunk{c.first, body[start : i-1 : i-1], c.count})
			c, start = chunk{}, i
		}
		if c.count == 0 {
			c.first = string(m.name)
		}
		c.count++
		i = next
	}
	if c.count == 0 {
		return out, nil
	}
	if len(out) == before+1 { // one full chunk and a rest
		full := &out[before]
		full.body, full.count = body, full.count+c.count
		return out, nil
	}
	return append(out, chunk{c.first, body[start:len(body):len(body)], c.count}), nil
}

func (s *Snapshot) measure() {
	s.entries, s.size = 0, max(len(s.chunks)-1, 0)
	for _, c := range s.chunks {
		s.entries += c.count
		s.size += len(c.body)
	}
}

// appendMessage puts the chunks into the "meta" of the signed object.
func (s *Snapshot) appendMessage(out []byte) ([]byte, error) {
	meta, err := find(s.signed, "meta")
	if err != nil || len(meta.value) != len("{}") {
		return nil, errShape
	}
	at := len("{") + meta.at + len("{") // between the braces of "meta"
	out = append(out, s.signed[:at]...)
	for i, c := range s.chunks {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, c.body...)
	}
	return append(out, s.signed[at:]...), nil
}

func metaName(role tuf.RoleName) string { return string(role) + ".json" }

// MetaOf describes published bytes in full, with length and SHA-256, for the entry
// by which a timestamp pins them.
func MetaOf(version int64, published []byte) tuf.Meta {
	return tuf.Meta{Version: version, Length: int64(len(published)), Hashes: tuf.NewHashes(published)}
}
