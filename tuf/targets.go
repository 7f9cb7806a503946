package tuf

import (
	"fmt"
	"iter"

	"example.com/bailiwick/tuf/cjson"
)

// Target is a file that targets metadata lists (4.5).
type Target struct {
	// Path is the name of the target, compared byte by byte.
	Path TargetPath
	// Length is the length of the file in bytes.
	Length int64
	// Hashes are its hashes. Metadata lists at least one.
	Hashes Hashes
	// Custom is the "custom" object as received, nil if there is none. It must not
	// be changed.
	Custom []byte
}

// Targets is verified targets metadata, of the top-level role or a delegated one. It
// keeps an index into the received bytes, sixteen bytes a target, and decodes a
// target when it is asked for.
type Targets struct {
	*document
	index       index
	delegations *Delegations
}

// ParseTargets reads targets metadata. A nil l stands for DefaultLimits. Errors are of
// type *MalformedError. The result refers to data, which must not be changed.
func ParseTargets(data []byte, l *Limits) (*Unverified[Targets], error) {
	limits := l.complete()
	return parse(data, limits, RoleTargets, limits.TargetsBytes, (*parser).targets)
}

// Len returns the number of targets.
func (t *Targets) Len() int { return len(t.index.entries) }

// Lookup returns the target with this path, and whether it is listed. That the role
// lists a path does not mean that it may: see Delegation.Matches.
func (t *Targets) Lookup(path TargetPath) (Target, bool) {
	raw, ok := t.index.lookup([]byte(path))
	if !ok {
		return Target{}, false
	}
	target := Target{Path: path}
	readTarget(cjson.New(raw, 0), &target, true)
	return target, true
}

// All yields every target, sorted by the bytes of its path.
func (t *Targets) All() iter.Seq[Target] {
	return func(yield func(Target) bool) {
		r := cjson.New(nil, 0)
		for i := range t.index.entries {
			name, raw := t.index.at(i)
			target := Target{Path: TargetPath(name)}
			r.Reset(raw)
			readTarget(r, &target, true)
			if !yield(target) {
				return
			}
		}
	}
}

// Entries yields the entries as received, in the order of All: the path, and the
// JSON of its value, which may have members that this package does not know. The
// slices must not be changed.
func (t *Targets) Entries() iter.Seq2[[]byte, []byte] { return t.index.all() }

// Delegations returns the delegations, nil if the metadata has none.
func (t *Targets) Delegations() *Delegations { return t.delegations }

func (p *parser) targets() *Targets {
	t := &Targets{document: p.doc}
	p.signed(func(name []byte) bool {
		switch string(name) {
		case "targets":
			t.index = p.index(p.limits.Targets, "targets", "Targets", p.targetPathProblem, p.target)
		case "delegations":
			t.delegations = p.delegations()
		default:
			return false
		}
		return true
	})
	p.require("targets")
	return t
}

// target checks a TARGETS entry.
func (p *parser) target() {
	at := p.Offset()
	var t Target
	readTarget(p.Reader, &t, false)
	if t.Length > p.limits.TargetLength {
		p.Fail(at, fmt.Sprintf("a target of %d bytes, at most %d are allowed (Limits.TargetLength)", t.Length, p.limits.TargetLength))
	}
	if len(t.Custom) > p.limits.CustomBytes {
		p.Fail(at, fmt.Sprintf("a custom object of %d bytes, at most %d are allowed (Limits.CustomBytes)", len(t.Custom), p.limits.CustomBytes))
	}
}

// readTarget reads a TARGETS entry into t, whose path stays as it is; keep is that of
// readHashes.
func readTarget(r *cjson.Reader, t *Target, keep bool) {
	at := r.Offset()
	t.Length = -1
	for m := r.Object(); r.Next(&m); {
		switch string(m.Name()) {
		case "length":
			if t.Length = r.Int(); t.Length < 0 {
				r.Fail(at, fmt.Sprintf("a length of %d", t.Length))
			}
		case "hashes":
			readHashes(r, &t.Hashes, keep)
		case "custom":
			if r.Kind() != cjson.Object {
				r.Fail(r.Offset(), `"custom" is not an object`)
				return
			}
			mark := r.Mark()
			r.Skip()
			t.Custom, _ = r.Since(mark)
		default:
			r.Skip()
		}
	}
	if t.Length < 0 || t.Hashes.IsZero() {
		r.Fail(at, `a target without "length" or "hashes"`)
	}
}
