package repo

import (
	"cmp"
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"math/bits"
	"slices"
	"sort"
	"strings"

	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/cjson"
)

// fileEdit is what an edit does to "targets".
type fileEdit struct {
	put    []tuf.Target // as given
	order  []int        // the order of put by path; nil if it is that already
	remove []tuf.TargetPath
	size   int // about how many bytes put takes
	// empty is set by splice if there was no target before: then fill writes the new ones
	// where they stay, instead of into bytes that are copied there.
	empty bool
}

// newFileEdit checks the targets of an edit.
func newFileEdit(edit *TargetsEdit, issue *Issue) (*fileEdit, error) {
	e := &fileEdit{put: edit.Put, remove: slices.Clone(edit.Remove)}
	limits := tuf.DefaultLimits()
	for i := range edit.Put {
		t := &edit.Put[i]
		if err := issue.granted(t.Path); err != nil {
			return nil, err
		}
		if err := checkTarget(t, &limits); err != nil {
			return nil, fmt.Errorf("target %q: %w", t.Path, err)
		}
		e.size += sizeOf(t)
	}
	slices.Sort(e.remove)
	return e, e.sort()
}

// sizeOf returns how many bytes an entry takes, and a few more at times. So the memory of a
// large role is neither made twice nor much too large.
func sizeOf(t *tuf.Target) int {
	size := len(`"":{"hashes":{"sha256":""},"length":},`) + 2*sha256.Size + len(t.Path)
	size += bits.Len64(uint64(t.Length))*1233>>12 + 1 // log 2 is 1233/4096
	if t.Custom != nil {
		size += len(`"custom":,`) + len(t.Custom)
	}
	if _, ok := t.Hashes.SHA512(); ok {
		size += len(`"sha512":"",`) + 2*sha512.Size
	}
	return size
}

// sort puts what was given in order, and refuses a path that the edit names twice.
func (e *fileEdit) sort() error {
	twice := func(p tuf.TargetPath) error { return fmt.Errorf("target %q is given twice: %w", p, ErrPath) }
	rising := true
	for i := 1; rising && i < len(e.put); i++ {
		rising = e.put[i-1].Path < e.put[i].Path
	}
	if !rising {
		e.order = make([]int, len(e.put))
		for i := range e.order {
			e.order[i] = i
		}
		slices.SortFunc(e.order, func(a, b int) int { return cmp.Compare(e.put[a].Path, e.put[b].Path) })
	}
	for i := 1; !rising && i < len(e.put); i++ {
		if e.at(i-1).Path == e.at(i).Path {
			return twice(e.at(i).Path)
		}
	}
	for i, p := range e.remove {
		_, put := sort.Find(len(e.put), func(i int) int { return cmp.Compare(p, e.at(i).Path) })
		if put || i > 0 && e.remove[i-1] == p {
			return twice(p)
		}
	}
	return nil
}

// at returns the target that is at i by path.
func (e *fileEdit) at(i int) *tuf.Target {
	if e.order != nil {
		i = e.order[i]
	}
	return &e.put[i]
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
	for i := range e.put {
		t := e.at(i)
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

// fill puts the entries between the braces that splice left in the message that was
// appended to a page of so much room.
func (e *fileEdit) fill(page []byte, room int) ([]byte, error) {
	if !e.empty || len(e.put) == 0 {
		return page, nil
	}
	targets, err := find(page[room:], "targets")
	if err != nil || len(targets.value) != len("{}") {
		return nil, errShape
	}
	at := room + len("{") + targets.at + len("{")
	rest := slices.Clone(page[at:])
	out := slices.Grow(page[:at], e.size+len(rest))
	for i := range e.put {
		t := e.at(i)
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
