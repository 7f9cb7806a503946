package tuf

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"math"
	"sync"
	"time"

	"example.com/bailiwick/tuf/cjson"
	"example.com/bailiwick/tuf/key"
)

// Signature is one entry of "signatures".
type Signature struct {
	// KeyID names the key that is said to have signed.
	KeyID key.ID
	// Sig is the decoded signature; nil if metadata had something other than hex.
	Sig []byte
}

// Header is what a file claims about itself. It is not verified: use it in messages
// and to find the right keys, for nothing else.
type Header struct {
	Type        RoleName
	SpecVersion string
	Version     int64
	Expires     time.Time
}

// Unverified is metadata that is well-formed and not trusted. Verify makes the value
// that can be used.
type Unverified[T any] struct {
	document   *document
	value      *T
	message    []byte
	signatures []Signature
}

// Bytes returns the file as received. It must not be changed.
func (u *Unverified[T]) Bytes() []byte { return u.document.data }

// Message returns the canonical form of "signed", which is what signatures cover: a
// part of Bytes if that is canonical. It must not be changed.
func (u *Unverified[T]) Message() []byte { return u.message }

// Signatures returns the signatures in order. It must not be changed.
func (u *Unverified[T]) Signatures() []Signature { return u.signatures }

// Header returns what the file claims about itself.
func (u *Unverified[T]) Header() Header {
	d := u.document
	return Header{Type: d.role, SpecVersion: d.spec, Version: d.version, Expires: d.expires}
}

// Verify returns the metadata if the threshold of a is met, and a *ThresholdError if
// not. Signatures by other keys, and wrong ones, are ignored. Verify checks neither
// expiry nor version: those depend on what else is trusted (package trust).
func (u *Unverified[T]) Verify(a Authority) (*T, error) {
	t := a.check(u.message, u.signatures, false)
	if a.threshold < 1 || t.distinct < a.threshold {
		return nil, &ThresholdError{
			Role: u.document.role, Version: u.document.version,
			Have: t.distinct, Need: max(a.threshold, 1), Good: t.good, Problems: a.problems(),
		}
	}
	return u.value, nil
}

// Signers returns the ids of all keys of a whose signatures are good, in the order of
// the signatures. Two of them may stand for one key; Verify counts it once.
func (u *Unverified[T]) Signers(a Authority) []key.ID {
	return a.check(u.message, u.signatures, true).good
}

// document is what verified metadata of all types has in common.
type document struct {
	data    []byte
	role    RoleName
	spec    string
	version int64
	expires time.Time
	members []member

	digestOnce sync.Once
	digest     [sha256.Size]byte
}

// member is a member of "signed", as received.
type member struct {
	name string
	raw  []byte
}

// Bytes returns the whole file as received. It must not be changed.
func (d *document) Bytes() []byte { return d.data }

// Version returns the version, at least 1.
func (d *document) Version() int64 { return d.version }

// Expires returns the moment at which the metadata is no longer valid.
func (d *document) Expires() time.Time { return d.expires }

// SpecVersion returns the version of the specification, for example "1.0.34".
func (d *document) SpecVersion() string { return d.spec }

// Digest returns the SHA-256 of Bytes.
func (d *document) Digest() [sha256.Size]byte {
	d.digestOnce.Do(func() { d.digest = sha256.Sum256(d.data) })
	return d.digest
}

// Member returns a member of "signed" as received: valid JSON, not always canonical.
// It serves members that this package does not know, and writers that change one
// member and keep the others. The result must not be changed.
func (d *document) Member(name string) ([]byte, bool) {
	for _, m := range d.members {
		if m.name == name {
			return m.raw, true
		}
	}
	return nil, false
}

// Members yields all members of "signed" as received, in the order of the file.
func (d *document) Members() iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		for _, m := range d.members {
			if !yield(m.name, m.raw) {
				return
			}
		}
	}
}

// parser drives a cjson.Reader over one file.
type parser struct {
	*cjson.Reader
	limits      Limits
	doc         *document
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
		if u.message, err = cjson.Canonical(raw, limits.Nesting); err != nil {
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
	major, minor, patch, dots, ok := 0, 0, 0, 0, len(s) <= 32
	field, digits := &major, 0
	for i := 0; ok && i < len(s); i++ {
		switch c := s[i]; {
		case c == '.' && digits > 0 && dots < 2:
			dots++
			field, digits = []*int{&minor, &patch}[dots-1], 0
		case '0' <= c && c <= '9' && digits < 9:
			*field = *field*10 + int(c-'0')
			digits++
		default:
			ok = false
		}
	}
	switch {
	case !ok || dots == 0 || digits == 0:
		p.Fail(at, fmt.Sprintf("the spec_version %.40q: it must be like 1.0 or 1.0.34", s))
	case major != 1:
		p.unsupported = p.Err() == nil
		p.Fail(at, fmt.Sprintf("version %s of the TUF specification: only versions 1.x are known", s))
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

// role reads "keyids" and "threshold" from an object that describes who may sign.
type roleKeys struct {
	threshold int
	ids       []byte // the array as received
	seen      struct{ ids, threshold bool }
}

// member reads a member of a role object if it is one of the two.
func (k *roleKeys) member(p *parser, name []byte) bool {
	switch string(name) {
	case "keyids":
		k.seen.ids = true
		k.ids = p.keyIDs()
	case "threshold":
		k.seen.threshold = true
		at := p.Offset()
		n := p.Int()
		if n < 1 || n > math.MaxInt32 {
			p.Fail(at, fmt.Sprintf("a threshold of %d: it must be at least 1", n))
		}
		k.threshold = int(n)
	default:
		return false
	}
	return true
}

// finish fails if one of the two is missing.
func (k *roleKeys) finish(p *parser) {
	if !k.seen.ids || !k.seen.threshold {
		p.Fail(p.Position(), `a role without "keyids" or "threshold"`)
	}
}

// keyIDs checks an array of key ids, each once, and returns it as received.
func (p *parser) keyIDs() []byte {
	mark := p.Mark()
	var buffer [8][]byte
	ids := buffer[:0]
	for e := p.Array(); p.More(&e); {
		if len(ids) == p.limits.RoleKeys {
			p.tooMany(p.limits.RoleKeys, "key ids in one role", "RoleKeys")
			break
		}
		at := p.Offset()
		id := p.keyID()
		for _, other := range ids {
			if string(other) == string(id) {
				p.Fail(at, "a key id is listed twice for one role")
			}
		}
		ids = append(ids, id)
	}
	raw, _ := p.Since(mark)
	return raw
}

// authority decodes what keyIDs has checked.
func (k *roleKeys) authority(ring *keyring) Authority {
	a := Authority{threshold: k.threshold, ring: ring}
	for _, id := range stringArray(k.ids) {
		a.ids = append(a.ids, key.ID(id))
	}
	return a
}

// stringArray decodes an array of strings that a parser has accepted before.
func stringArray(raw []byte) []string {
	var out []string
	if raw == nil {
		return nil
	}
	r := cjson.New(raw, 0)
	for e := r.Array(); r.More(&e); {
		out = append(out, string(r.Bytes()))
	}
	return out
}

// keys reads a "keys" object. It checks the shape of each key (4.2.2) and leaves the
// rest to the keyring, since a key that can not be used is not a reason to refuse a
// file: clients older than a new scheme must go on.
func (p *parser) keys() *keyring {
	var keys []knownKey
	for m := p.Object(); p.Next(&m); {
		if len(keys) == p.limits.Keys {
			p.tooMany(p.limits.Keys, "keys", "Keys")
			break
		}
		id := m.Name()
		if len(id) == 0 || len(id) > MaxKeyID {
			p.Fail(p.Position(), fmt.Sprintf("a key id of %d bytes instead of 1 to %d", len(id), MaxKeyID))
			break
		}
		mark := p.Mark()
		p.keyObject()
		raw, canonical := p.Since(mark)
		keys = append(keys, knownKey{id: id, raw: raw, canonical: canonical})
	}
	return newKeyring(keys, p.limits.AnyKeyID)
}

// keyObject checks that a KEY object has its three members.
func (p *parser) keyObject() {
	var keytype, scheme, keyval bool
	for m := p.Object(); p.Next(&m); {
		switch string(m.Name()) {
		case "keytype":
			keytype = true
			p.Bytes()
		case "scheme":
			scheme = true
			p.Bytes()
		case "keyval":
			keyval = true
			for v := p.Object(); p.Next(&v); {
				p.Skip()
			}
		default:
			p.Skip()
		}
	}
	if !keytype || !scheme || !keyval {
		p.Fail(p.Position(), `a key without "keytype", "scheme" or "keyval"`)
	}
}

// all yields the keys as received.
func (r *keyring) all() iter.Seq2[key.ID, []byte] {
	return func(yield func(key.ID, []byte) bool) {
		for i := range r.keys {
			if !yield(key.ID(r.keys[i].id), r.keys[i].raw) {
				return
			}
		}
	}
}
