package cjson

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strconv"
)

// Canonical returns the canonical form of the one JSON value that data consists of.
// If data is canonical already, that is data itself. Values without a canonical form,
// and input that is malformed in any other way, give a *SyntaxError.
func Canonical(data []byte, maxDepth int) ([]byte, error) {
	r := New(data, maxDepth)
	m := r.Mark()
	r.Skip()
	raw, canonical := r.Since(m)
	if err := r.End(); err != nil {
		return nil, err
	}
	if canonical {
		return raw, nil
	}
	return AppendCanonical(make([]byte, 0, len(raw)), raw, maxDepth)
}

// AppendCanonical appends the canonical form of the one JSON value that data
// consists of. It reads data once; members that are out of order are put in order
// in the output. After an error the result is dst as it was.
func AppendCanonical(dst, data []byte, maxDepth int) ([]byte, error) {
	c := canonicalizer{Reader: New(data, maxDepth), out: dst}
	c.value()
	if err := c.End(); err != nil {
		return dst, err
	}
	return c.out, nil
}

// canonicalizer writes what it reads.
type canonicalizer struct {
	*Reader
	out []byte
	// members holds where the members of the open objects lie in out.
	members []segment
	scratch []byte
}

// segment locates a written member: its name in quotes up to valueStart, a colon,
// the value up to end.
type segment struct{ start, colon, end int }

func (c *canonicalizer) value() {
	switch c.Kind() {
	case Object:
		c.object()
	case Array:
		c.out = append(c.out, '[')
		first := true
		for e := c.Array(); c.More(&e); first = false {
			if !first {
				c.out = append(c.out, ',')
			}
			c.value()
		}
		c.out = append(c.out, ']')
	case String:
		m := c.Mark()
		content := c.Bytes()
		c.text(m, content)
	case Number, Bool, Null, Invalid:
		m := c.Mark()
		c.Skip()
		raw, _ := c.Since(m)
		c.out = append(c.out, raw...)
	}
}

// text writes the string that was read since m: as it is if that is canonical, as most are.
func (c *canonicalizer) text(m Mark, content []byte) {
	if raw, canonical := c.Since(m); canonical {
		c.out = append(c.out, raw...)
		return
	}
	c.out = AppendString(c.out, content)
}

func (c *canonicalizer) object() {
	c.out = append(c.out, '{')
	base, begin := len(c.members), len(c.out)
	m := c.Object()
	for c.Next(&m) {
		if len(c.members) > base {
			c.out = append(c.out, ',')
		}
		s := segment{start: len(c.out)}
		if c.last.escaped() {
			c.out = AppendString(c.out, m.Name())
		} else {
			c.out = append(append(append(c.out, '"'), m.Name()...), '"')
		}
		s.colon = len(c.out)
		c.out = append(c.out, ':')
		c.value()
		s.end = len(c.out)
		c.members = append(c.members, s)
	}
	if !m.Sorted() {
		c.sort(c.members[base:], begin)
	}
	c.members = c.members[:base]
	c.out = append(c.out, '}')
}

// sort puts the members that were written from begin on in order.
func (c *canonicalizer) sort(members []segment, begin int) {
	slices.SortFunc(members, func(a, b segment) int {
		return compareStrings(c.out[a.start:a.colon], c.out[b.start:b.colon])
	})
	c.scratch = c.scratch[:0]
	for i, m := range members {
		if i > 0 {
			c.scratch = append(c.scratch, ',')
		}
		c.scratch = append(c.scratch, c.out[m.start:m.end]...)
	}
	copy(c.out[begin:], c.scratch)
}

// compareStrings compares two canonical strings, quotes included, by the bytes they
// stand for.
func compareStrings(a, b []byte) int {
	a, b = a[1:len(a)-1], b[1:len(b)-1]
	if bytes.IndexByte(a, '\\') < 0 && bytes.IndexByte(b, '\\') < 0 {
		return bytes.Compare(a, b)
	}
	for {
		switch {
		case len(a) == 0 && len(b) == 0:
			return 0
		case len(a) == 0:
			return -1
		case len(b) == 0:
			return 1
		}
		// A backslash only ever hides a quote or a backslash.
		if a[0] == '\\' {
			a = a[1:]
		}
		if b[0] == '\\' {
			b = b[1:]
		}
		if a[0] != b[0] {
			return int(a[0]) - int(b[0])
		}
		a, b = a[1:], b[1:]
	}
}

// AppendString appends the canonical form of a string, which must be UTF-8: only
// quotes and backslashes are escaped.
func AppendString[S ~string | ~[]byte](dst []byte, s S) []byte {
	dst = append(dst, '"')
	start := 0
	for i := range len(s) {
		if c := s[i]; c == '"' || c == '\\' {
			dst = append(dst, s[start:i]...)
			dst = append(dst, '\\', c)
			start = i + 1
		}
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}

// AppendInt appends the canonical form of a number.
func AppendInt(dst []byte, n int64) []byte { return strconv.AppendInt(dst, n, 10) }

// AppendWire appends a canonical value in the form in which it is published: legal
// JSON, with control characters escaped, and otherwise the same bytes. Control
// characters occur in canonical form only inside strings.
func AppendWire(dst, canonical []byte) []byte {
	for {
		i := firstControl(canonical)
		dst = append(dst, canonical[:i]...)
		if i == len(canonical) {
			return dst
		}
		dst = appendControl(dst, canonical[i])
		canonical = canonical[i+1:]
	}
}

// IsWire reports whether AppendWire would append the same bytes.
func IsWire(canonical []byte) bool { return firstControl(canonical) == len(canonical) }

// firstControl returns the index of the first control character, or the length.
func firstControl(b []byte) int {
	i := 0
	for ; len(b)-i >= 16; i += 16 {
		if hasControl(binary.LittleEndian.Uint64(b[i:])) || hasControl(binary.LittleEndian.Uint64(b[i+8:])) {
			break
		}
	}
	for i < len(b) && b[i] >= 0x20 {
		i++
	}
	return i
}

// hasControl reports whether one of the eight bytes of v is a control character.
func hasControl(v uint64) bool {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	return (v-ones*0x20)&^v&highs != 0
}

// appendControl writes a control character with the short escape if JSON has one.
func appendControl(dst []byte, c byte) []byte {
	switch c {
	case '\b':
		return append(dst, `\b`...)
	case '\f':
		return append(dst, `\f`...)
	case '\n':
		return append(dst, `\n`...)
	case '\r':
		return append(dst, `\r`...)
	case '\t':
		return append(dst, `\t`...)
	default:
		const digits = "0123456789abcdef"
		return append(dst, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
	}
}
