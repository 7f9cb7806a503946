package pkcs11

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
)

// maxURI bounds a URI, in bytes.
const maxURI = 4096

// URI names tokens and keys (RFC 7512). An empty member says nothing: any value will do.
type URI struct {
	// Token is the label of the token, Serial its serial number.
	Token, Manufacturer, Model, Serial string
	// Object is the label of the key, ID its CKA_ID.
	Object string
	ID     []byte
	// ModulePath is the absolute path of the token's library.
	ModulePath string
	// PINSource is a file whose first line is the PIN.
	PINSource string
}

// ParseURI reads a URI. It refuses what it would have to ignore: an attribute that it does not know,
// one that comes twice, and pin-value, because arguments are seen by every process and kept by shells.
// Its errors quote names of attributes and no values.
func ParseURI(s string) (URI, error) {
	rest, ok := cutPrefixFold(s, "pkcs11:")
	if !ok {
		return URI{}, fmt.Errorf("%w: pkcs11: is not its beginning", ErrURI)
	}
	if len(s) > maxURI {
		return URI{}, fmt.Errorf("%w: it has %d bytes, at most %d are read", ErrURI, len(s), maxURI)
	}
	path, query, _ := strings.Cut(rest, "?")
	var u URI
	if err := u.parse(path, ";", u.pathAttributes()); err != nil {
		return URI{}, err
	}
	if err := u.parse(query, "&", u.queryAttributes()); err != nil {
		return URI{}, err
	}
	if u.ModulePath != "" && !filepath.IsAbs(u.ModulePath) {
		return URI{}, fmt.Errorf("%w: module-path is an absolute path, beginning with a slash", ErrURI)
	}
	return u, nil
}

type attribute struct {
	name string
	set  func(string) error
}

func text(dst *string) func(string) error {
	return func(s string) error {
		if strings.ContainsRune(s, 0) { // it would end the string for a C library
			return fmt.Errorf("%w: a zero byte", ErrURI)
		}
		*dst = s
		return nil
	}
}

func (u *URI) pathAttributes() []attribute {
	return []attribute{
		{"token", text(&u.Token)},
		{"manufacturer", text(&u.Manufacturer)},
		{"model", text(&u.Model)},
		{"serial", text(&u.Serial)},
		{"object", text(&u.Object)},
		{"id", func(s string) error { u.ID = []byte(s); return nil }},
		{"type", func(s string) error {
			if s != "private" && s != "public" {
				return fmt.Errorf("%w: type is private, or left out: only keys sign", ErrURI)
			}
			return nil
		}},
	}
}

func (u *URI) queryAttributes() []attribute {
	return []attribute{
		{"module-path", text(&u.ModulePath)},
		{"pin-source", func(s string) error {
			path, err := fileOf(s)
			u.PINSource = path
			return err
		}},
		{"pin-value", func(string) error {
			return fmt.Errorf("%w: pin-value is refused: arguments are seen by every process and kept in the shell's history; "+
				"write pin-source=file:PATH, or leave it out to be asked", ErrURI)
		}},
	}
}

// fileOf reads the value of pin-source: a path, or one after file:.
func fileOf(s string) (string, error) {
	path, _ := cutPrefixFold(s, "file:")
	if rest, ok := strings.CutPrefix(path, "//"); ok && strings.HasPrefix(rest, "/") {
		path = rest
	}
	if path == "" || path[0] == '|' {
		return "", fmt.Errorf("%w: pin-source is file: and the path of a file that holds the PIN; programs are not run", ErrURI)
	}
	return path, nil
}

func (u *URI) parse(list, separator string, known []attribute) error {
	seen := make(map[string]bool)
	for part := range strings.SplitSeq(list, separator) {
		if part == "" {
			continue
		}
		name, value, ok := strings.Cut(part, "=")
		if !ok {
			return fmt.Errorf("%w: every attribute is NAME=VALUE", ErrURI)
		}
		i := indexOf(known, name)
		if i < 0 {
			return fmt.Errorf("%w: %w", ErrURI, unknown(name, known))
		}
		if seen[name] {
			return fmt.Errorf("%w: %s comes twice", ErrURI, name)
		}
		seen[name] = true
		decoded, err := unescape(value)
		if err != nil {
			return fmt.Errorf("%w: %s: %w", ErrURI, name, err)
		}
		if decoded == "" {
			return fmt.Errorf("%w: %s is empty; leave it out if any will do", ErrURI, name)
		}
		if err := known[i].set(decoded); err != nil {
			return err
		}
	}
	return nil
}

func indexOf(known []attribute, name string) int {
	for i, a := range known {
		if a.name == name {
			return i
		}
	}
	return -1
}

func unknown(name string, known []attribute) error {
	switch {
	case strings.HasPrefix(name, "slot-"):
		return errors.New("slots change their numbers when something is plugged in: name the token")
	case name == "module-name":
		return errors.New("write module-path, with the absolute path of the library")
	}
	names := make([]string, len(known))
	for i, a := range known {
		names[i] = a.name
	}
	return fmt.Errorf("the attribute %.30q is not known here, but %s", name, strings.Join(names, ", "))
}

// unescape undoes percent-encoding.
func unescape(s string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '%' {
			if i+2 >= len(s) || hexDigit(s[i+1]) < 0 || hexDigit(s[i+2]) < 0 {
				return "", errors.New("a percent sign is followed by two hex digits")
			}
			c = byte(hexDigit(s[i+1])<<4 | hexDigit(s[i+2]))
			i += 2
		}
		b.WriteByte(c)
	}
	return b.String(), nil
}

// hexDigit is the value of a hex digit, or -1.
func hexDigit(c byte) int {
	const digits = "0123456789abcdef0123456789ABCDEF"
	if i := strings.IndexByte(digits, c); i >= 0 {
		return i % 16
	}
	return -1
}

// String writes the URI, so that ParseURI reads the same.
func (u URI) String() string {
	var b strings.Builder
	b.WriteString("pkcs11:")
	first := true
	add := func(separator, name, value string, all bool) {
		if value == "" {
			return
		}
		if !first {
			b.WriteString(separator)
		}
		first = false
		b.WriteString(name + "=" + escape(value, all))
	}
	add(";", "token", u.Token, false)
	add(";", "manufacturer", u.Manufacturer, false)
	add(";", "model", u.Model, false)
	add(";", "serial", u.Serial, false)
	add(";", "object", u.Object, false)
	add(";", "id", string(u.ID), true)
	first = true
	if u.ModulePath != "" || u.PINSource != "" {
		b.WriteString("?")
	}
	add("&", "module-path", u.ModulePath, false)
	if u.PINSource != "" {
		add("&", "pin-source", "file:"+u.PINSource, false)
	}
	return b.String()
}

// escape percent-encodes everything but letters, digits and a few signs that mean nothing to shells;
// all says to encode every byte, as is usual for ids.
func escape(s string, all bool) string {
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	for _, c := range []byte(s) {
		plain := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._/:@+,", c) >= 0
		if plain && !all {
			b.WriteByte(c)
			continue
		}
		b.WriteByte('%')
		b.WriteByte(digits[c>>4])
		b.WriteByte(digits[c&15])
	}
	return b.String()
}

func cutPrefixFold(s, prefix string) (string, bool) {
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return s, false
	}
	return s[len(prefix):], true
}
