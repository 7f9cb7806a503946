// Package cjson reads JSON as TUF metadata must be read, and writes its canonical
// form.
//
// Signatures of TUF cover the OLPC canonical form of a value (section 4.1 of the
// specification): no white space, object members sorted by the bytes of their
// names, strings in which only `"` and `\` are escaped, whole numbers. A reader
// that is less strict than the signer, or strict in other ways, lets two programs
// see two documents under one signature. So this one has no second reading of
// anything: it refuses repeated members, invalid UTF-8, lone surrogates, fractions,
// exponents, -0, numbers outside int64, and anything after the value.
//
// A Reader passes over the bytes once and is driven by the parser of a type: it asks
// for an object, then for each member, then for the value it expects there. On the
// way it notices where the bytes depart from canonical form. Metadata that is
// published canonically is therefore verified as it lies, without being encoded
// anew; anything else goes through Canonical once.
//
// The canonical form keeps control characters as they are and so is not always
// legal JSON: a PEM key contains line breaks. The form that is published, here
// called wire form, is the canonical form with control characters escaped; see
// AppendWire. The two differ nowhere else.
//
// Invariants: no input makes a function panic; depth is bounded; time is linear in
// the length of the input, times its depth where members are out of order.
//
// A Reader belongs to one goroutine. The functions of this package keep no state.
package cjson

import (
	"bytes"
	"fmt"
	"math"
	"slices"
)

// MaxDepth is the nesting that New allows where the caller names no other bound.
const MaxDepth = 64

// MaxBytes is the longest input a Reader accepts. Offsets are kept in 31 bits.
const MaxBytes = math.MaxInt32

// SyntaxError says where and why an input was refused.
type SyntaxError struct {
	// Offset is the position of the offending byte in the input.
	Offset int
	// Reason is what is wrong there, for people.
	Reason string
}

// Error implements error.
func (e *SyntaxError) Error() string { return fmt.Sprintf("at byte %d: %s", e.Offset, e.Reason) }

// Kind is the kind of the next value, as its first byte tells.
type Kind uint8

// The kinds of values. Invalid stands for a byte that begins no value, and for the
// end of the input.
const (
	Invalid Kind = iota
	Null
	Bool
	Number
	String
	Array
	Object
)

// String implements fmt.Stringer.
func (k Kind) String() string {
	return [...]string{"nothing", "null", "a boolean", "a number", "a string", "an array", "an object"}[min(k, Object)]
}

// Reader reads one JSON value from bytes that stay in memory. Make it with New.
//
// The first error sticks: from then on every method returns zero values and every
// loop ends, so a parser may check Err once, at its end. What it built until then
// must be thrown away.
type Reader struct {
	data     []byte
	pos      int
	depth    int
	maxDepth int
	// departures counts the places where the bytes passed so far are not canonical.
	departures int
	// last is the member name that was read last.
	last name
	// names holds the member names of the open objects whose members are not in order, the
	// outermost object's first. Names in order can not repeat, and are not kept.
	names []name
	err   *SyntaxError
}

// name locates the content of a member name, between its quotes. The highest bit
// of end is set if it has escapes.
type name struct{ start, end uint32 }

const escapedBit = 1 << 31

func (n name) escaped() bool { return n.end&escapedBit != 0 }

// New returns a Reader of data that allows maxDepth levels of nesting, MaxDepth if
// that is zero. The Reader keeps data and what it returns may refer to it, so the
// caller must not change it any more.
func New(data []byte, maxDepth int) *Reader {
	if maxDepth <= 0 {
		maxDepth = MaxDepth
	}
	r := &Reader{maxDepth: maxDepth}
	r.Reset(data)
	return r
}

// Reset makes r read data from its beginning, as if it were new, with the same bound.
func (r *Reader) Reset(data []byte) {
	r.data, r.pos, r.depth, r.departures = data, 0, 0, 0
	r.last, r.names, r.err = name{}, r.names[:0], nil
	if len(data) > MaxBytes {
		r.Fail(0, fmt.Sprintf("%d bytes, at most %d can be read", len(data), MaxBytes))
	}
}

// Err returns the first error, nil if there was none. Its type is *SyntaxError.
func (r *Reader) Err() error {
	if r.err == nil {
		return nil
	}
	return r.err
}

// Fail stops the reading with an error of the caller's, unless it has failed before.
func (r *Reader) Fail(offset int, reason string) {
	if r.err == nil {
		r.err = &SyntaxError{Offset: offset, Reason: reason}
	}
	// Without data every further step finds the end of the input, and fails.
	r.data, r.pos = nil, 0
}

// Offset returns the position of the next byte that is not white space.
func (r *Reader) Offset() int {
	r.space()
	return r.pos
}

// Kind returns the kind of the next value without reading it.
func (r *Reader) Kind() Kind {
	r.space()
	switch c := r.peek(); {
	case c == '{':
		return Object
	case c == '[':
		return Array
	case c == '"':
		return String
	case c == '-' || '0' <= c && c <= '9':
		return Number
	case c == 't' || c == 'f':
		return Bool
	case c == 'n':
		return Null
	default:
		return Invalid
	}
}

// Mark is a position of a Reader, for Since.
type Mark struct{ pos, departures int }

// Mark notes the beginning of the next value.
func (r *Reader) Mark() Mark {
	r.space()
	return Mark{pos: r.pos, departures: r.departures}
}

// Since returns the bytes from m to the end of the value read last, and whether
// they are canonical. They are cut so that appending to them copies.
func (r *Reader) Since(m Mark) (raw []byte, canonical bool) {
	if r.err != nil {
		return nil, false
	}
	return r.data[m.pos:r.pos:r.pos], m.departures == r.departures
}

// Start returns the offset that m stands for.
func (m Mark) Start() int { return m.pos }

// Position returns the offset of the first byte that was not read yet: right after
// a value, its end.
func (r *Reader) Position() int { return r.pos }

// End makes sure that nothing but white space follows, and returns Err.
func (r *Reader) End() error {
	r.space()
	if r.pos < len(r.data) {
		r.Fail(r.pos, "something follows the value")
	}
	return r.Err()
}

// peek returns the next byte, zero at the end of the input. A real zero byte is
// nowhere legal, so the two need not be told apart.
func (r *Reader) peek() byte {
	if r.pos < len(r.data) {
		return r.data[r.pos]
	}
	return 0
}

// space passes over white space. Canonical form has none.
func (r *Reader) space() {
	if r.pos >= len(r.data) || r.data[r.pos] > ' ' {
		return
	}
	start := r.pos
	for r.pos < len(r.data) && isSpace(r.data[r.pos]) {
		r.pos++
	}
	if r.pos > start {
		r.departures++
	}
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

// unexpected fails because the next byte is not what the grammar or the caller
// asks for.
func (r *Reader) unexpected(want string) {
	if r.pos >= len(r.data) {
		r.Fail(r.pos, "the input ends where "+want+" is expected")
		return
	}
	r.Fail(r.pos, fmt.Sprintf("%q where %s is expected", r.data[r.pos], want))
}

// Members is an object that is being read.
type Members struct {
	begin   int // offset of what follows its opening brace
	started bool
	// disordered is set once a name does not sort after the one before it. From then
	// on the names of this object are in Reader.names, from base on.
	disordered bool
	base       int
	name       []byte
}

// Name returns the decoded name of the current member. It refers to the input
// unless the name has escapes.
func (m *Members) Name() []byte { return m.name }

// Sorted reports whether the members so far came in canonical order.
func (m *Members) Sorted() bool { return !m.disordered }

// Object begins to read an object. Its members follow with Next.
func (r *Reader) Object() Members {
	r.open('{', "an object") // apart, so that this is inlined: there is one for every entry
	return Members{begin: r.pos}
}

// open passes over an opening bracket.
func (r *Reader) open(bracket byte, what string) {
	r.space()
	if r.peek() != bracket {
		r.unexpected(what)
		return
	}
	if r.depth++; r.depth > r.maxDepth {
		r.Fail(r.pos, fmt.Sprintf("nested deeper than %d levels", r.maxDepth))
		return
	}
	r.pos++
}

// Next reads the name of the next member of m and stops before its value, which
// the caller must read, or pass over with Skip. It returns false after the last
// member, with the object closed, and after an error. A repeated name is an error,
// which may be noticed as late as at the end of the object.
func (r *Reader) Next(m *Members) bool {
	r.space()
	c := r.peek()
	switch {
	case c == '}':
		r.closeObject(m)
		return false
	case m.started:
		if c != ',' {
			r.unexpected("a comma or the end of the object")
			return false
		}
		r.pos++
		r.space()
		c = r.peek()
	}
	if c != '"' {
		r.unexpected("the name of a member")
		return false
	}
	n, ok := r.text()
	if !ok {
		return false
	}
	r.order(m, n)
	r.space()
	if r.peek() != ':' {
		r.unexpected("a colon")
		return false
	}
	r.pos++
	return true
}

// order compares the name n with the one before it, and makes it the current one.
func (r *Reader) order(m *Members, n name) {
	content := r.data[n.start : n.end&^escapedBit]
	if n.escaped() {
		content = Unescape(content)
	}
	// Strictly rising names can not repeat; m.name is the name before.
	if m.started && !m.disordered && bytes.Compare(m.name, content) >= 0 {
		m.disordered, m.base = true, len(r.names)
		r.departures++
		r.recall(m.begin, n)
	}
	if m.disordered {
		r.names = append(r.names, n)
	}
	m.started, m.name, r.last = true, content, n
}

// recall lists the names of an object that were read before the name until, and not kept.
// Only names between them and their values are passed over, each once.
func (r *Reader) recall(begin int, until name) {
	again := Reader{data: r.data, pos: begin, maxDepth: r.maxDepth}
	for again.pos < int(until.start)-1 {
		again.space()
		if again.peek() == ',' {
			again.pos++
			again.space()
		}
		if again.pos >= int(until.start)-1 {
			return
		}
		n, ok := again.text()
		if !ok {
			return // can not happen: it was read before
		}
		r.names = append(r.names, n)
		again.space()
		again.pos++ // the colon
		again.pass()
	}
}

// pass passes over a value that was read before, without checking it again.
func (r *Reader) pass() {
	for depth := 0; r.pos < len(r.data); {
		r.space()
		switch r.peek() {
		case '"':
			r.text()
		case '{', '[':
			depth++
			r.pos++
		case '}', ']':
			depth--
			r.pos++
		case ',', ':':
			r.pos++
			continue
		default:
			for r.pos++; r.pos < len(r.data) && !isEnd(r.data[r.pos]); {
				r.pos++
			}
		}
		if depth <= 0 {
			return
		}
	}
}

// isEnd reports whether c ends a number or a word.
func isEnd(c byte) bool { return c <= ' ' || c == ',' || c == '}' || c == ']' }

// closeObject ends the object m. Names that were not in order are sorted to see
// whether one repeats: that can not be made slow.
func (r *Reader) closeObject(m *Members) {
	r.pos++
	r.depth--
	if !m.disordered {
		return
	}
	if at, name := r.repeated(r.names[m.base:]); at >= 0 {
		r.Fail(at, fmt.Sprintf("the member %.40q is given twice", name))
		return
	}
	r.names = r.names[:m.base]
}

// repeated returns the offset and text of a name that occurs twice, -1 if none does.
func (r *Reader) repeated(names []name) (int, []byte) {
	type decoded struct {
		text   []byte
		offset int
	}
	all := make([]decoded, len(names))
	for i, n := range names {
		text := r.data[n.start : n.end&^escapedBit]
		if n.escaped() {
			text = Unescape(text)
		}
		all[i] = decoded{text, int(n.start)}
	}
	slices.SortFunc(all, func(a, b decoded) int { return bytes.Compare(a.text, b.text) })
	for i := 1; i < len(all); i++ {
		if bytes.Equal(all[i-1].text, all[i].text) {
			return max(all[i-1].offset, all[i].offset), all[i].text
		}
	}
	return -1, nil
}

// Elements is an array that is being read.
type Elements struct{ started bool }

// Array begins to read an array. Its elements follow with More.
func (r *Reader) Array() Elements {
	r.open('[', "an array")
	return Elements{}
}

// More reports whether another element of e follows, which the caller must read.
// It returns false after the last one, with the array closed, and after an error.
func (r *Reader) More(e *Elements) bool {
	r.space()
	c := r.peek()
	switch {
	case c == ']':
		r.pos++
		r.depth--
		return false
	case !e.started:
		if c == 0 {
			r.unexpected("an element or the end of the array")
			return false
		}
	case c != ',':
		r.unexpected("a comma or the end of the array")
		return false
	default:
		r.pos++
		if r.space(); r.peek() == ']' {
			r.unexpected("an element")
			return false
		}
	}
	e.started = true
	return true
}

// Skip passes over the next value, under the same rules as everything else.
func (r *Reader) Skip() { r.skip(false) }

// SkipForeign passes over the next value and allows any JSON number in it. It is
// for members that no signature covers: those need not have a canonical form.
func (r *Reader) SkipForeign() { r.skip(true) }

func (r *Reader) skip(foreign bool) {
	switch r.Kind() {
	case Object:
		m := r.Object()
		for r.Next(&m) {
			r.skip(foreign)
		}
	case Array:
		e := r.Array()
		for r.More(&e) {
			r.skip(foreign)
		}
	case String:
		r.text()
	case Number:
		if foreign {
			r.anyNumber()
			return
		}
		r.Int()
	case Bool:
		r.Bool()
	case Null:
		r.literal("null")
	case Invalid:
		r.unexpected("a value")
	}
}

// NameAt returns where the content of the name lies that Next read last, and whether
// it has escapes. It may be called until the value is read.
func (r *Reader) NameAt() (start, end int, escaped bool) {
	return int(r.last.start), int(r.last.end &^ escapedBit), r.last.escaped()
}
