package dist

import (
	"bytes"
	"slices"
	"strings"
	"unicode/utf8"
)

// Bounds of a block of header fields.
const (
	maxHeaderBytes  = 1 << 20
	maxHeaderFields = 20_000
)

// Metadata is the header of a core metadata file (METADATA, PKG-INFO). The
// description below the header is not kept.
type Metadata struct {
	MetadataVersion string // "Metadata-Version", such as "2.4"
	Name            string // as written, not normalised
	Version         string // as written
	RequiresPython  string // "" when absent

	fields map[string][]string // by lower-case name
}

// Values returns the values of a field, in the order of the file. Letter case
// of the name does not matter. Lines of a folded value are joined by "\n".
func (m *Metadata) Values(field string) []string {
	return slices.Clone(m.fields[strings.ToLower(field)])
}

// Value returns the first value of a field, or "".
func (m *Metadata) Value(field string) string {
	if values := m.fields[strings.ToLower(field)]; len(values) > 0 {
		return values[0]
	}
	return ""
}

// ParseMetadata reads the header of a core metadata file. Metadata-Version
// (1.x or 2.x), Name and Version must be there, and no field that may stand
// once stands twice. Whether Name and Version are well formed is for [Check].
// Every error is an *[InvalidError].
func ParseMetadata(data []byte) (*Metadata, error) {
	fields, err := parseHeader(data)
	if err != nil {
		return nil, invalid(RuleMetadata, "the metadata is unusable: %v", err)
	}
	m := &Metadata{fields: fields}
	for _, once := range []struct {
		field    string
		target   *string
		required bool
	}{
		{"Metadata-Version", &m.MetadataVersion, true},
		{"Name", &m.Name, true},
		{"Version", &m.Version, true},
		{"Requires-Python", &m.RequiresPython, false},
	} {
		values := fields[strings.ToLower(once.field)]
		switch {
		case len(values) > 1:
			return nil, invalid(RuleMetadata, "the metadata has %d fields %s; it may have one", len(values), once.field)
		case len(values) == 1 && strings.Contains(values[0], "\n"):
			return nil, invalid(RuleMetadata, "the metadata field %s goes over several lines", once.field)
		case len(values) == 1 && values[0] != "":
			*once.target = values[0]
		case once.required:
			return nil, invalid(RuleMetadata, "the metadata has no field %s; rebuild the file with a current build tool", once.field)
		}
	}
	if major, minor, ok := strings.Cut(m.MetadataVersion, "."); !ok || major != "1" && major != "2" || minor == "" ||
		strings.Trim(minor, "0123456789") != "" {
		return nil, invalid(RuleMetadata, "the metadata has version %.20q; this index knows 1.x and 2.x", m.MetadataVersion)
	}
	return m, nil
}

// headerError is the reason why a block of header fields can not be read.
type headerError string

func (e headerError) Error() string { return string(e) }

// parseHeader reads the fields up to the first empty line or the end. It takes
// only what every reader of such files reads alike: net/textproto and Python's
// email package part ways on lone carriage returns and on lines without a colon.
func parseHeader(data []byte) (map[string][]string, error) {
	fields := make(map[string][]string)
	last, count, used := "", 0, 0
	for len(data) > 0 {
		line, rest, _ := bytes.Cut(data, []byte("\n"))
		if used += len(line) + 1; used > maxHeaderBytes {
			return nil, headerError("its header is longer than 1 MiB; move the description below the header")
		}
		data = rest
		line = bytes.TrimSuffix(line, []byte("\r"))
		switch {
		case len(line) == 0:
			return fields, nil
		case bytes.IndexByte(line, '\r') >= 0 || bytes.IndexByte(line, 0) >= 0 || !utf8.Valid(line):
			return nil, headerError("its header holds a NUL, a lone carriage return or bytes that are not UTF-8")
		case line[0] == ' ' || line[0] == '\t':
			if last == "" {
				return nil, headerError("it begins with a continuation line")
			}
			values := fields[last]
			values[len(values)-1] += "\n" + strings.Trim(string(line), " \t")
			continue
		}
		name, value, ok := strings.Cut(string(line), ":")
		if !ok || !isFieldName(name) {
			return nil, headerError("its header has a line that is no field; indent the further lines of a value")
		}
		if count++; count > maxHeaderFields {
			return nil, headerError("its header has too many fields")
		}
		last = strings.ToLower(name)
		fields[last] = append(fields[last], strings.Trim(value, " \t"))
	}
	return fields, nil
}

func isFieldName(s string) bool {
	for i := range len(s) {
		if c := s[i] | 0x20; ('a' > c || c > 'z') && ('0' > s[i] || s[i] > '9') && s[i] != '-' && s[i] != '_' {
			return false
		}
	}
	return s != ""
}
