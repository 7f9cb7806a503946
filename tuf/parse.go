package tuf

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"example.com/bailiwick/tuf/cjson"
	"example.com/bailiwick/tuf/key"
)

// parser drives a cjson.Reader over one file.
type parser struct {
	*cjson.Reader
	limits      Limits
	doc         *document
	patternsIn  int // in all delegations so far
	unsupported bool
}

// parse reads the envelope (specification 4.2.1) around a value that read reads.
func parse[T any](data []byte, limits Limits, role RoleName, most int64, read func(*parser) *T) (*Unverified[T], error) {
	if int64(len(data)) > most {
		return nil, &MalformedError{Role: role, Reason: fmt.Sprintf("%d bytes, at most %d are allowed", len(data), most)}
	}
	p := &parser{
		Reader: cjson.New(data, limits.Nesting),
		limits: limits,
		doc:    &document{data: data, role: role},
	}
	u := &Unverified[T]{document: p.doc}
	var raw []byte
	var canonical, signed, signatures bool
	for m := p.Object(); p.Next(&m); {
		switch string(m.Name()) {
		case "signed":
			signed = true
			mark := p.Mark()
			u.value = read(p)
			raw, canonical = p.Since(mark)
		case "signatures":
			signatures = true
			u.signatures = p.signatures()
		default:
			p.SkipForeign()
		}
	}
	if !signed || !signatures {
		p.Fail(len(data), `"signed" or "signatures" is missing`)
	}
	if err := p.End(); err != nil {
		return nil, p.malformed(err)
	}
	u.message = raw
	if !canonical {
		var err error
		if u.message, err = cjson.AppendCanonical(make([]byte, 0, len(raw)), raw, limits.Nesting); err != nil {
			return nil, p.malformed(err)
		}
	}
	return u, nil
}

// malformed translates an error of the reader.
func (p *parser) malformed(err error) error {
	m := &MalformedError{Role: p.doc.role, Reason: err.Error()}
	if syntax, ok := errors.AsType[*cjson.SyntaxError](err); ok {
		m.Offset, m.Reason = syntax.Offset, syntax.Reason
	}
	if p.unsupported {
		m.Err = ErrUnsupported
	}
	return m
}

// tooMany fails because of a bound. The message names the field that raises it.
func (p *parser) tooMany(most int, what, field string) {
	p.Fail(p.Position(), fmt.Sprintf("more than %d %s (Limits.%s)", most, what, field))
}

func (p *parser) signatures() []Signature {
	var out []Signature
	for e := p.Array(); p.More(&e); {
		if len(out) == p.limits.Signatures {
			p.tooMany(p.limits.Signatures, "signatures", "Signatures")
			break
		}
		at := p.Offset()
		s, ok := p.signature()
		if !ok {
			p.Fail(at, `a signature without "keyid" or "sig"`)
			break
		}
		out = append(out, s)
	}
	// A file that repeats a key id is refused outright, even if it has enough others.
	if len(out) > 1 {
		seen := make(map[key.ID]struct{}, len(out))
		for _, s := range out {
			seen[s.KeyID] = struct{}{}
		}
		if len(seen) != len(out) {
			p.Fail(p.Position(), "a key id occurs twice in the signatures")
		}
	}
	return out
}

// signature reads one entry. A "sig" that is empty or not hex is a signature that
// never verifies, not a fault of the file (specification 4.2.1, and practice).
func (p *parser) signature() (s Signature, ok bool) {
	var hasID, hasSig bool
	for m := p.Object(); p.Next(&m); {
		switch string(m.Name()) {
		case "keyid":
			hasID = true
			s.KeyID = key.ID(p.keyID())
		case "sig":
			hasSig = true
			text := p.Bytes()
			s.Sig = make([]byte, hex.DecodedLen(len(text)))
			if _, err := hex.Decode(s.Sig, text); err != nil {
				s.Sig = nil
			}
		default:
			p.SkipForeign()
		}
	}
	return s, hasID && hasSig
}

// keyID reads a key id. Its form matters only where it is compared with a key.
func (p *parser) keyID() []byte {
	at := p.Offset()
	id := p.Bytes()
	if len(id) == 0 || len(id) > MaxKeyID {
		p.Fail(at, fmt.Sprintf("a key id of %d bytes instead of 1 to %d", len(id), MaxKeyID))
		return nil
	}
	return id
}

// signed reads the object "signed": what all types have in common (4.3), and what
// the type of the caller adds. The function own reads the value of the member and
// returns true, or returns false without reading anything.
func (p *parser) signed(own func(name []byte) bool) {
	d := p.doc
	for m := p.Object(); p.Next(&m); {
		if len(d.members) == p.limits.Members {
			p.tooMany(p.limits.Members, `members of "signed"`, "Members")
			return
		}
		mark := p.Mark()
		if !p.common(m.Name(), mark.Start()) && !own(m.Name()) {
			p.Skip()
		}
		raw, _ := p.Since(mark)
		d.members = append(d.members, member{name: string(m.Name()), raw: raw})
	}
	for _, name := range [...]string{"_type", "spec_version", "version", "expires"} {
		p.require(name)
	}
}

// require fails if "signed" lacks a member.
func (p *parser) require(name string) {
	if _, ok := p.doc.Member(name); !ok {
		p.Fail(p.Position(), fmt.Sprintf("%q is missing", name))
	}
}

// common reads a member that all types share.
func (p *parser) common(name []byte, at int) bool {
	d := p.doc
	switch string(name) {
	case "_type":
		if s := p.Bytes(); string(s) != string(d.role) {
			p.Fail(at, fmt.Sprintf("metadata of type %.20q where %q is expected", s, d.role))
		}
	case "spec_version":
		d.spec = p.specVersion(at)
	case "version":
		d.version = p.version()
	case "expires":
		text := p.Bytes()
		t, ok := parseTime(text, p.limits.AnyDate)
		if !ok {
			p.Fail(at, fmt.Sprintf("the date %.40q: it must be like 2030-01-31T12:00:00Z", text))
		}
		d.expires = t
	default:
		return false
	}
	return true
}

// version reads a version, which is a number above zero wherever it occurs.
func (p *parser) version() int64 {
	at := p.Offset()
	v := p.Int()
	if v < 1 {
		p.Fail(at, fmt.Sprintf("a version of %d: versions start at 1", v))
	}
	return v
}

// specVersion reads "1.0" or "1.x.y". Any other major version may mean something
// else by the same words.
func (p *parser) specVersion(at int) string {
	s := string(p.Bytes())
	fields := strings.Split(s, ".")
	ok := len(fields) == 2 || len(fields) == 3
	for _, f := range fields {
		ok = ok && f != "" && strings.Trim(f, "0123456789") == ""
	}
	switch {
	case !ok:
		p.Fail(at, fmt.Sprintf("the spec_version %.40q: it must be like 1.0 or 1.0.34", s))
	case fields[0] != "1":
		p.unsupported = p.Err() == nil
		p.Fail(at, fmt.Sprintf("version %.20s of the TUF specification: only versions 1.x are known", s))
	}
	return s
}

// timeLayout is the only form of a date in metadata (specification 4.2.3).
const timeLayout = "2006-01-02T15:04:05Z"

// parseTime reads a date. Writing it again shows whether it had that one form.
func parseTime(text []byte, lenient bool) (time.Time, bool) {
	s := string(text)
	if t, err := time.Parse(timeLayout, s); err == nil && t.Format(timeLayout) == s {
		return t, true
	}
	if lenient {
		if t, err := time.Parse(time.RFC3339, s); err == nil {
			return t.UTC(), true
		}
	}
	return time.Time{}, false
}
