package cjson

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"unicode/utf16"
	"unicode/utf8"
)

// Bytes reads a string and returns its decoded content, which refers to the input
// unless the string has escapes.
func (r *Reader) Bytes() []byte {
	r.space()
	if r.peek() != '"' {
		r.unexpected("a string")
		return nil
	}
	n, ok := r.text()
	if !ok {
		return nil
	}
	end := n.end &^ escapedBit
	content := r.data[n.start:end:end]
	if n.escaped() {
		return Unescape(content)
	}
	return content
}

// Bool reads true or false.
func (r *Reader) Bool() bool {
	r.space()
	if r.peek() == 't' {
		return r.literal("true")
	}
	r.literal("false")
	return false
}

// literal reads one of the words of JSON.
func (r *Reader) literal(word string) bool {
	end := r.pos + len(word)
	if end > len(r.data) || string(r.data[r.pos:end]) != word {
		r.unexpected(word)
		return false
	}
	r.pos = end
	return true
}

// Int reads a whole number. The accepted spellings are the canonical ones: there is
// no other way to write an int64 than its shortest.
func (r *Reader) Int() int64 {
	r.space()
	start, pos := r.pos, r.pos
	negative := r.peek() == '-'
	if negative {
		pos++
	}
	first := pos
	var n uint64
	for ; pos < len(r.data) && '0' <= r.data[pos] && r.data[pos] <= '9'; pos++ {
		if pos-first == 19 {
			r.Fail(start, "a number outside the range of 64 bits")
			return 0
		}
		n = n*10 + uint64(r.data[pos]-'0')
	}
	switch {
	case pos == first:
		r.unexpected("a whole number")
		return 0
	case r.data[first] == '0' && (pos-first > 1 || negative):
		r.Fail(start, "a number with a leading zero, or minus zero")
		return 0
	case pos < len(r.data) && (r.data[pos] == '.' || r.data[pos]|0x20 == 'e'):
		r.Fail(start, "a number with a fraction or an exponent: only whole numbers have a canonical form")
		return 0
	case n > math.MaxInt64 && !(negative && n == 1<<63):
		r.Fail(start, "a number outside the range of 64 bits")
		return 0
	}
	r.pos = pos
	if negative {
		return -int64(n) // correct for 1<<63, too: it is its own negative
	}
	return int64(n)
}

// anyNumber passes over a number of any form that JSON knows.
func (r *Reader) anyNumber() {
	pos := r.pos
	at := func() byte {
		if pos < len(r.data) {
			return r.data[pos]
		}
		return 0
	}
	digits := func() bool {
		first := pos
		for c := at(); '0' <= c && c <= '9'; c = at() {
			pos++
		}
		return pos > first
	}
	ok := true
	if at() == '-' {
		pos++
	}
	if at() == '0' {
		pos++
	} else {
		ok = digits()
	}
	if ok && at() == '.' {
		pos++
		ok = digits()
	}
	if ok && at()|0x20 == 'e' {
		pos++
		if c := at(); c == '+' || c == '-' {
			pos++
		}
		ok = digits()
	}
	if !ok {
		r.pos = pos
		r.unexpected("a digit")
		return
	}
	r.departures++
	r.pos = pos
}

// Eight bytes at a time: for each byte of v, the highest bit of the result is set
// if that byte ends the run of plain characters. Bits above the lowest one set may
// be wrong, so only the lowest is used.
func special(v uint64) uint64 {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	quote, backslash := v^ones*'"', v^ones*'\\'
	return ((quote-ones)&^quote | (backslash-ones)&^backslash | (v-ones*0x20)&^v | v) & highs
}

// text reads a string that begins at the current byte. It returns where its content
// lies.
func (r *Reader) text() (name, bool) {
	start := r.pos + 1
	pos := start
	var flags uint32
	for {
		for pos+8 <= len(r.data) {
			if s := special(binary.LittleEndian.Uint64(r.data[pos:])); s != 0 {
				pos += bits.TrailingZeros64(s) / 8
				break
			}
			pos += 8
		}
		if pos >= len(r.data) {
			r.Fail(len(r.data), "the input ends inside a string")
			return name{}, false
		}
		switch c := r.data[pos]; {
		case c == '"':
			r.pos = pos + 1
			return name{uint32(start), uint32(pos) | flags}, true
		case c == '\\':
			flags = escapedBit
			n, canonical, problem := escape(r.data[pos:])
			if problem != "" {
				r.Fail(pos, problem)
				return name{}, false
			}
			if !canonical {
				r.departures++
			}
			pos += n
		case c < 0x20:
			r.Fail(pos, fmt.Sprintf("a bare control character (%#02x) inside a string", c))
			return name{}, false
		case c < utf8.RuneSelf:
			pos++
		default:
			_, size := utf8.DecodeRune(r.data[pos:])
			if size == 1 {
				r.Fail(pos, "a string that is not UTF-8")
				return name{}, false
			}
			pos += size
		}
	}
}

// escape checks the escape sequence at the beginning of b. It returns its length,
// whether canonical form has it too, and what is wrong with it.
func escape(b []byte) (length int, canonical bool, problem string) {
	if len(b) < 2 {
		return 0, false, "the input ends inside a string"
	}
	switch b[1] {
	case '"', '\\':
		return 2, true, ""
	case '/', 'b', 'f', 'n', 'r', 't':
		return 2, false, ""
	case 'u':
		_, n := unicodeEscape(b)
		switch n {
		case 0:
			return 0, false, `\u without four hex digits`
		case -1:
			return 0, false, "half of a surrogate pair without the other half"
		}
		return n, false, ""
	default:
		return 0, false, "an unknown escape sequence"
	}
}

// unicodeEscape decodes the \uXXXX, or the pair of them, at the beginning of b. The
// length is 0 if digits are missing and -1 for half a pair.
func unicodeEscape(b []byte) (r rune, length int) {
	first, ok := hex4(b)
	if !ok {
		return 0, 0
	}
	if !utf16.IsSurrogate(first) {
		return first, 6
	}
	second, ok := hex4(b[6:])
	if !ok {
		return 0, -1
	}
	r = utf16.DecodeRune(first, second)
	if r == utf8.RuneError {
		return 0, -1
	}
	return r, 12
}

// hex4 reads \u and four hex digits.
func hex4(b []byte) (rune, bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	var r rune
	for _, c := range b[2:6] {
		switch {
		case '0' <= c && c <= '9':
			r = r<<4 | rune(c-'0')
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			r = r<<4 | rune(c|0x20-'a'+10)
		default:
			return 0, false
		}
	}
	return r, true
}

// Unescape decodes the content of a string that a Reader has accepted, without its
// quotes. It returns a new slice. In content that no Reader has accepted, what is
// not an escape sequence stays as it is.
func Unescape(content []byte) []byte {
	out := make([]byte, 0, len(content))
	for i := 0; i < len(content); {
		c := content[i]
		if c != '\\' || i+1 >= len(content) {
			out = append(out, c)
			i++
			continue
		}
		switch e := content[i+1]; e {
		case 'u':
			r, n := unicodeEscape(content[i:])
			if n <= 0 {
				out = append(out, c)
				i++
				continue
			}
			out = utf8.AppendRune(out, r)
			i += n
			continue
		case 'b':
			c = '\b'
		case 'f':
			c = '\f'
		case 'n':
			c = '\n'
		case 'r':
			c = '\r'
		case 't':
			c = '\t'
		default:
			c = e
		}
		out = append(out, c)
		i += 2
	}
	return out
}
