package tuf

import (
	"bytes"
	"fmt"
	"iter"
	"slices"

	"example.com/bailiwick/tuf/cjson"
)

// index finds the members of a large object by name without having decoded them: a
// sorted list of where each name and value lies in the received bytes. Canonical
// metadata comes sorted, so that building the index is one append an entry.
type index struct {
	data    []byte
	entries []entry
	// escaped is set if any name has escapes, and so must be decoded to be compared.
	escaped bool
}

// entry locates a name, without its quotes, and a value.
type entry struct{ name, nameEnd, value, valueEnd uint32 }

// index reads an object and remembers its members. The function check says what is
// wrong with a name, which may have been written with escapes; value reads a value.
func (p *parser) index(most int, what, field string, check func(name []byte, escaped bool) string, value func()) index {
	x := index{data: p.doc.data}
	m := p.Object()
	for p.Next(&m) {
		if len(x.entries) == most {
			p.tooMany(most, what, field)
			return x
		}
		start, end, escaped := p.NameAt()
		if reason := check(m.Name(), escaped); reason != "" {
			p.Fail(start, fmt.Sprintf("the name %.60q: %s", m.Name(), reason))
			return x
		}
		x.escaped = x.escaped || escaped
		begin := p.Offset()
		value()
		if p.Err() != nil {
			return x // the value has no end: no lookup may reach it
		}
		if len(x.entries) == 0 {
			// Entries are much alike, so the first tells how many there may be.
			size := max(p.Position()-start, 32)
			x.entries = make([]entry, 0, min((len(x.data)-start)/size+1, most))
		}
		x.entries = append(x.entries, entry{uint32(start), uint32(end), uint32(begin), uint32(p.Position())})
	}
	if !m.Sorted() && p.Err() == nil {
		slices.SortFunc(x.entries, func(a, b entry) int {
			return bytes.Compare(x.text(a), x.text(b))
		})
	}
	return x
}

// text returns the decoded name of an entry.
func (x *index) text(e entry) []byte {
	raw := x.data[e.name:e.nameEnd:e.nameEnd]
	if x.escaped && bytes.IndexByte(raw, '\\') >= 0 {
		return cjson.Unescape(raw)
	}
	return raw
}

func (x *index) name(i int) []byte { return x.text(x.entries[i]) }

// at returns the name and the value of entry i.
func (x *index) at(i int) (name, value []byte) {
	e := x.entries[i]
	return x.text(e), x.data[e.value:e.valueEnd:e.valueEnd]
}

// find returns the position of name, or the one at which it would stand.
func (x *index) find(name []byte) (int, bool) {
	low, high := 0, len(x.entries)
	for low < high {
		middle := int(uint(low+high) >> 1)
		if bytes.Compare(x.name(middle), name) < 0 {
			low = middle + 1
		} else {
			high = middle
		}
	}
	return low, low < len(x.entries) && bytes.Equal(x.name(low), name)
}

// lookup returns the value of the entry with this name.
func (x *index) lookup(name []byte) ([]byte, bool) {
	i, ok := x.find(name)
	if !ok {
		return nil, false
	}
	_, value := x.at(i)
	return value, true
}

// all yields names and values.
func (x *index) all() iter.Seq2[[]byte, []byte] {
	return func(yield func([]byte, []byte) bool) {
		for i := range x.entries {
			if !yield(x.at(i)) {
				return
			}
		}
	}
}
