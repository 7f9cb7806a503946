package repo

import (
	"bytes"
	"cmp"
	"errors"
	"slices"
	"strconv"

	"example.com/bailiwick/tuf/cjson"
)

// This file works on canonical JSON that package tuf has parsed already. It
// finds member boundaries and nothing else, so an edit costs a scan of the
// object it touches and copies the rest. It still checks every step, and reports
// errShape instead of reading past the end.

var errShape = errors.New("not canonical JSON")

// member is one name and value of an object as they stand in its body.
type member struct {
	name  []byte // decoded
	raw   []byte // "name":value
	value []byte
	at    int // where value begins in the body
}

// skipString returns the index after the string that starts at b[i].
func skipString(b []byte, i int) (int, error) {
	if i >= len(b) || b[i] != '"' {
		return 0, errShape
	}
	for i++; ; {
		n := bytes.IndexByte(b[i:], '"')
		if n < 0 {
			return 0, errShape
		}
		end := i + n
		slashes := 0
		for b[end-1-slashes] == '\\' { // stops at the opening quote at the latest
			slashes++
		}
		if slashes%2 == 0 {
			return end + 1, nil
		}
		i = end + 1
	}
}

// skipValue returns the index after the value that starts at b[i].
func skipValue(b []byte, i int) (int, error) {
	for depth := 0; i < len(b); {
		switch b[i] {
		case '"':
			end, err := skipString(b, i)
			if err != nil {
				return 0, err
			}
			i = end
		case '{', '[':
			depth++
			i++
		case '}', ']':
			depth--
			i++
		case ',', ':':
			if depth == 0 {
				return 0, errShape
			}
			i++
			continue
		default: // numbers and literals
			start := i
			for i < len(b) && (b[i] == '-' || '0' <= b[i] && b[i] <= '9' || 'a' <= b[i] && b[i] <= 'z') {
				i++
			}
			if i == start {
				return 0, errShape
			}
		}
		if depth == 0 {
			return i, nil
		}
		if depth < 0 {
			return 0, errShape
		}
	}
	return 0, errShape
}

// nextMember reads the member that starts at body[i], where body is what stands
// between an object's braces, and returns the index of the next one.
func nextMember(body []byte, i int) (member, int, error) {
	end, err := skipString(body, i)
	if err != nil {
		return member{}, 0, err
	}
	if end >= len(body) || body[end] != ':' {
		return member{}, 0, errShape
	}
	stop, err := skipValue(body, end+1)
	if err != nil {
		return member{}, 0, err
	}
	m := member{name: unquote(body[i:end]), raw: body[i:stop], value: body[end+1 : stop], at: end + 1}
	if stop == len(body) {
		return m, stop, nil
	}
	if body[stop] != ',' || stop+1 == len(body) {
		return member{}, 0, errShape
	}
	return m, stop + 1, nil
}

// nextElement is nextMember for arrays.
func nextElement(body []byte, i int) (element []byte, next int, err error) {
	stop, err := skipValue(body, i)
	if err != nil {
		return nil, 0, err
	}
	if stop == len(body) {
		return body[i:stop], stop, nil
	}
	if body[stop] != ',' || stop+1 == len(body) {
		return nil, 0, errShape
	}
	return body[i:stop], stop + 1, nil
}

// inside strips the brackets of an object ('{') or array ('[').
func inside(value []byte, open byte) ([]byte, error) {
	if len(value) < 2 || value[0] != open || value[len(value)-1] != open+2 {
		return nil, errShape
	}
	return value[1 : len(value)-1], nil
}

// find returns the object's member; its name is nil if there is none.
func find(object []byte, name string) (member, error) {
	body, err := inside(object, '{')
	if err != nil {
		return member{}, err
	}
	for i := 0; i < len(body); {
		m, next, err := nextMember(body, i)
		if err != nil {
			return member{}, err
		}
		if string(m.name) == name {
			return m, nil
		}
		i = next
	}
	return member{}, nil
}

// lookup returns the value of the object's member, nil if there is none.
func lookup(object []byte, name string) ([]byte, error) {
	m, err := find(object, name)
	return m.value, err
}

// unquote decodes a canonical string: only the quote and the backslash are
// escaped. The common string without either is not copied.
func unquote(quoted []byte) []byte {
	s := quoted[1 : len(quoted)-1]
	if bytes.IndexByte(s, '\\') < 0 {
		return s
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		out = append(out, s[i])
	}
	return out
}

// change is what happens to one member of an object. set gets the old value,
// nil if the member is new, and returns the new one, nil to leave it out.
type change struct {
	name string
	set  func(old []byte) ([]byte, error)
}

func put(name string, value []byte) change {
	return change{name, func([]byte) ([]byte, error) { return value, nil }}
}

func drop(name string) change { return put(name, nil) }

// splice appends the canonical object with changes applied.
func splice(dst, object []byte, changes []change) ([]byte, error) {
	body, err := inside(object, '{')
	if err != nil {
		return nil, err
	}
	dst = append(dst, '{')
	dst, _, err = spliceBody(dst, body, changes)
	return append(dst, '}'), err
}

// spliceBody appends the members of an object's body with changes applied, in
// canonical order, and counts them. It sorts changes by name.
func spliceBody(dst, body []byte, changes []change) (out []byte, count int, err error) {
	slices.SortFunc(changes, func(a, b change) int { return cmp.Compare(a.name, b.name) })
	start := len(dst)
	add := func(c change, old []byte) error {
		value, err := c.set(old)
		if err != nil || value == nil {
			return err
		}
		dst = comma(dst, start)
		dst = append(cjson.AppendString(dst, c.name), ':')
		dst = append(dst, value...)
		count++
		return nil
	}
	for i := 0; i < len(body); {
		m, next, err := nextMember(body, i)
		if err != nil {
			return nil, 0, err
		}
		i = next
		for len(changes) > 0 && changes[0].name < string(m.name) {
			if err := add(changes[0], nil); err != nil {
				return nil, 0, err
			}
			changes = changes[1:]
		}
		if len(changes) > 0 && changes[0].name == string(m.name) {
			if err := add(changes[0], m.value); err != nil {
				return nil, 0, err
			}
			changes = changes[1:]
			continue
		}
		dst = append(comma(dst, start), m.raw...)
		count++
	}
	for _, c := range changes {
		if err := add(c, nil); err != nil {
			return nil, 0, err
		}
	}
	return dst, count, nil
}

// comma separates from what was appended since start, if anything was.
func comma(dst []byte, start int) []byte {
	if len(dst) > start {
		return append(dst, ',')
	}
	return dst
}

// stringList is the canonical array of the strings.
func stringList[S ~string](list []S) []byte {
	dst := []byte{'['}
	for i, s := range list {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = cjson.AppendString(dst, s)
	}
	return append(dst, ']')
}

func number(n int64) []byte { return strconv.AppendInt(nil, n, 10) }
