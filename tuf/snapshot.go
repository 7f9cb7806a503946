package tuf

import (
	"bytes"
	"fmt"
	"iter"

	"example.com/bailiwick/tuf/cjson"
)

// Meta is what timestamp or snapshot metadata lists for a role (4.4).
type Meta struct {
	// Version is the version of the role, at least 1.
	Version int64
	// Length is the length of its file in bytes, -1 if it is not listed.
	Length int64
	// Hashes are the hashes of its file; the zero value if none is listed.
	Hashes Hashes
}

// readMeta reads a METAFILES entry; keep is that of readHashes.
func readMeta(r *cjson.Reader, meta *Meta, keep bool) {
	*meta = Meta{Length: -1}
	at := r.Offset()
	for m := r.Object(); r.Next(&m); {
		switch string(m.Name()) {
		case "version":
			if meta.Version = r.Int(); meta.Version < 1 {
				r.Fail(at, fmt.Sprintf("a version of %d: versions start at 1", meta.Version))
			}
		case "length":
			if meta.Length = r.Int(); meta.Length < 0 {
				r.Fail(at, fmt.Sprintf("a length of %d", meta.Length))
			}
		case "hashes":
			readHashes(r, &meta.Hashes, keep)
		default:
			r.Skip()
		}
	}
	if meta.Version < 1 {
		r.Fail(at, `an entry without "version"`)
	}
}

// Timestamp is verified timestamp metadata: which snapshot is current (4.6).
type Timestamp struct {
	*document
	snapshot Meta
}

// ParseTimestamp reads timestamp metadata. A nil l stands for DefaultLimits. Errors
// are of type *MalformedError. The result refers to data, which must not be changed.
func ParseTimestamp(data []byte, l *Limits) (*Unverified[Timestamp], error) {
	limits := l.complete()
	return parse(data, limits, RoleTimestamp, limits.TimestampBytes, (*parser).timestamp)
}

// Snapshot returns what the timestamp lists for snapshot metadata.
func (t *Timestamp) Snapshot() Meta { return t.snapshot }

func (p *parser) timestamp() *Timestamp {
	t := &Timestamp{document: p.doc}
	p.signed(func(name []byte) bool {
		if string(name) != "meta" {
			return false
		}
		for m := p.Object(); p.Next(&m); {
			if string(m.Name()) != "snapshot.json" {
				p.Fail(p.Position(), fmt.Sprintf(`"meta" lists %.60q: a timestamp lists snapshot.json only`, m.Name()))
			}
			readMeta(p.Reader, &t.snapshot, true)
		}
		if t.snapshot.Version == 0 {
			p.Fail(p.Position(), `"meta" does not list snapshot.json`)
		}
		return true
	})
	p.require("meta")
	return t
}

// Snapshot is verified snapshot metadata: the version of every role (4.4). It keeps
// an index into the received bytes, sixteen bytes a role, and decodes an entry when
// it is asked for.
type Snapshot struct {
	*document
	index index
}

// ParseSnapshot reads snapshot metadata. A nil l stands for DefaultLimits. Errors are
// of type *MalformedError. The result refers to data, which must not be changed.
func ParseSnapshot(data []byte, l *Limits) (*Unverified[Snapshot], error) {
	limits := l.complete()
	return parse(data, limits, RoleSnapshot, limits.SnapshotBytes, (*parser).snapshot)
}

// Len returns the number of roles.
func (s *Snapshot) Len() int { return len(s.index.entries) }

// Lookup returns what the snapshot lists for a role, and whether it lists it.
func (s *Snapshot) Lookup(role RoleName) (Meta, bool) {
	var buffer [MaxRoleName + len(metaSuffix)]byte
	name := append(append(buffer[:0], role...), metaSuffix...)
	raw, ok := s.index.lookup(name)
	if !ok {
		return Meta{}, false
	}
	var meta Meta
	readMeta(cjson.New(raw, 0), &meta, true)
	return meta, true
}

// All yields every role in the order of CompareRoleNames, which is that of the file
// names NAME.json and not quite that of the names.
func (s *Snapshot) All() iter.Seq2[RoleName, Meta] {
	return func(yield func(RoleName, Meta) bool) {
		r := cjson.New(nil, 0)
		for i := range s.index.entries {
			name, raw := s.index.at(i)
			var meta Meta
			r.Reset(raw)
			readMeta(r, &meta, true)
			if !yield(RoleName(name[:len(name)-len(metaSuffix)]), meta) {
				return
			}
		}
	}
}

// Entries yields the entries as received, in the order of All: the file name
// (NAME.json) and the JSON of its value. The slices must not be changed.
func (s *Snapshot) Entries() iter.Seq2[[]byte, []byte] { return s.index.all() }

func (p *parser) snapshot() *Snapshot {
	s := &Snapshot{document: p.doc}
	p.signed(func(name []byte) bool {
		if string(name) != "meta" {
			return false
		}
		s.index = p.index(p.limits.SnapshotRoles, "roles", "SnapshotRoles", func(name []byte, _ bool) string {
			if len(name) < len(metaSuffix) || string(name[len(name)-len(metaSuffix):]) != metaSuffix {
				return "it does not end in .json"
			}
			return p.roleNameProblem(name[:len(name)-len(metaSuffix)])
		}, func() {
			var meta Meta
			readMeta(p.Reader, &meta, false)
		})
		return true
	})
	p.require("meta")
	if _, ok := s.index.lookup([]byte("targets.json")); !ok {
		p.Fail(p.Position(), `"meta" does not list targets.json`)
	}
	return s
}

// Change is one role that two snapshots list differently.
type Change struct {
	Role RoleName
	// Old and New are the versions, zero where the role is not listed.
	Old, New int64
}

// Changes yields the roles whose versions differ between an older snapshot and s,
// those that only one of them lists included, in the order of CompareRoleNames. It
// walks both indexes once.
func (s *Snapshot) Changes(older *Snapshot) iter.Seq[Change] {
	return func(yield func(Change) bool) {
		r := cjson.New(nil, 0)
		version := func(raw []byte) int64 {
			if raw == nil {
				return 0
			}
			var meta Meta
			r.Reset(raw)
			readMeta(r, &meta, false)
			return meta.Version
		}
		for i, j := 0, 0; i < older.Len() || j < s.Len(); {
			var name, before, after []byte
			order := compareEntries(&older.index, i, &s.index, j)
			if order <= 0 {
				name, before = older.index.at(i)
				i++
			}
			if order >= 0 {
				name, after = s.index.at(j)
				j++
			}
			if bytes.Equal(before, after) {
				continue // by far the most common case
			}
			c := Change{Role: RoleName(name[:len(name)-len(metaSuffix)]), Old: version(before), New: version(after)}
			if c.Old != c.New && !yield(c) {
				return
			}
		}
	}
}

// compareEntries compares two entries by name; an index that is used up comes last.
func compareEntries(a *index, i int, b *index, j int) int {
	switch {
	case i == len(a.entries):
		return 1
	case j == len(b.entries):
		return -1
	}
	return bytes.Compare(a.name(i), b.name(j))
}
