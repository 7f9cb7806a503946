package repo

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/cjson"
)

// fileEdit is what an edit does to "targets".
type fileEdit struct {
	put    []*tuf.Target // sorted by path
	remove []tuf.TargetPath
	size   int // about how many bytes put takes
	// empty is set by splice if there was no target before: then fill writes the new ones
	// where they stay, instead of into bytes that are copied there.
	empty bool
}

// newFileEdit checks the targets of an edit.
func newFileEdit(edit *TargetsEdit, issue *Issue) (*fileEdit, error) {
	e := &fileEdit{put: make([]*tuf.Target, len(edit.Put)), remove: slices.Clone(edit.Remove)}
	limits := tuf.DefaultLimits()
	for i := range edit.Put {
		t := &edit.Put[i]
		if err := issue.granted(t.Path); err != nil {
			return nil, err
		}
		if err := checkTarget(t, &limits); err != nil {
			return nil, fmt.Errorf("target %q: %w", t.Path, err)
		}
		e.put[i] = t
		e.size += 116 + len(t.Path) + len(t.Custom)
	}
	slices.Sort(e.remove)
	return e, e.sort()
}

// sort puts what was given in order, and refuses a path that the edit names twice.
func (e *fileEdit) sort() error {
	twice := func(p tuf.TargetPath) error { return fmt.Errorf("target %q is given twice: %w", p, ErrPath) }
	rising := true
	for i := 1; rising && i < len(e.put); i++ {
		rising = e.put[i-1].Path < e.put[i].Path
	}
	if !rising {
		slices.SortFunc(e.put, func(a, b *tuf.Target) int { return cmp.Compare(a.Path, b.Path) })
	}
	for i := 1; !rising && i < len(e.put); i++ {
		if e.put[i-1].Path == e.put[i].Path {
			return twice(e.put[i].Path)
		}
	}
	for i, p := range e.remove {
		_, put := slices.BinarySearchFunc(e.put, p, func(t *tuf.Target, p tuf.TargetPath) int { return cmp.Compare(t.Path, p) })
		if put || i > 0 && e.remove[i-1] == p {
			return twice(p)
		}
	}
	return nil
}

// checkTarget refuses what clients with default limits would refuse.
func checkTarget(t *tuf.Target, limits *tuf.Limits) error {
	if _, err := tuf.ParseTargetPath(string(t.Path)); err != nil {
		return fmt.Errorf("%w: %w", ErrPath, err)
	}
	if t.Length < 0 || t.Length > limits.TargetLength {
		return fmt.Errorf("length %d is outside 0 to %d: %w", t.Length, limits.TargetLength, ErrTarget)
	}
	if err := checkHashes(t.Hashes); err != nil || t.Custom == nil {
		return err
	}
	custom, err := canonicalValue(t.Custom, limits.Nesting-customLevel)
	if err != nil {
		return fmt.Errorf("custom object: %w: %w", ErrTarget, err)
	}
	if custom[0] != '{' || len(custom) > limits.CustomBytes {
		return fmt.Errorf("custom is not a JSON object of at most %d bytes: %w", limits.CustomBytes, ErrTarget)
	}
	return nil
}

// splice returns the "targets" object after the edit, or an empty one for fill.
func (e *fileEdit) splice(old []byte) ([]byte, error) {
	e.empty = len(old) <= len("{}") && len(e.remove) == 0
	switch {
	case e.empty:
		return []byte("{}"), nil
	case len(e.put)+len(e.remove) == 0:
		return old, nil
	}
	if old == nil {
		old = []byte("{}")
	}
	changes := make([]change, 0, len(e.put)+len(e.remove))
	for _, t := range e.put {
		changes = append(changes, change{string(t.Path), func(old []byte) ([]byte, error) { return encodeTarget(t, old) }})
	}
	for _, p := range e.remove {
		changes = append(changes, change{string(p), func(old []byte) ([]byte, error) {
			if old == nil {
				return nil, fmt.Errorf("removing target %q: %w", p, ErrAbsent)
			}
			return nil, nil
		}})
	}
	return splice(make([]byte, 0, len(old)+e.size), old, changes)
}

// encodeTarget returns the entry of a target. What the one that it replaces has besides
// stays.
func encodeTarget(t *tuf.Target, old []byte) (entry []byte, err error) {
	if old == nil {
		return tuf.AppendTarget(nil, *t)
	}
	var custom []byte // nil takes the old one out
	if t.Custom != nil {
		if custom, err = canonicalValue(t.Custom, cjson.MaxDepth); err != nil {
			return nil, err
		}
	}
	return splice(nil, old, []change{
		put("custom", custom),
		put("hashes", tuf.AppendHashes(nil, t.Hashes)),
		put("length", number(t.Length)),
	})
}

// fill puts the entries between the braces that splice left.
func (e *fileEdit) fill(message []byte) ([]byte, error) {
	if !e.empty || len(e.put) == 0 {
		return message, nil
	}
	targets, err := find(message, "targets")
	if err != nil || len(targets.value) != len("{}") {
		return nil, errShape
	}
	at := len("{") + targets.at + len("{")
	rest := slices.Clone(message[at:])
	out := slices.Grow(message[:at], e.size+len(rest))
	for i, t := range e.put {
		if i > 0 {
			out = append(out, ',')
		}
		if strings.IndexByte(string(t.Path), '"') < 0 { // nor has it a backslash
			out = append(append(append(out, '"'), t.Path...), '"', ':')
		} else {
			out = append(cjson.AppendString(out, t.Path), ':')
		}
		if out, err = tuf.AppendTarget(out, *t); err != nil {
			return nil, err
		}
	}
	return append(out, rest...), nil
}
