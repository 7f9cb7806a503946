package ceremony

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/cjson"
	"example.com/bailiwick/tuf/key"
)

// depth bounds how deep values lie in each other: the limit for metadata, and the levels around it.
const depth = 40

// Decode reads a request. It is strict: unknown, missing and repeated members are refused, and so
// is an ID that does not fit. Payloads may be spelled in any JSON; their canonical form is what
// counts. Nothing in the result refers to data. The error is a *Refused.
func Decode(data []byte) (*Request, error) {
	if len(data) > MaxBytes {
		return nil, refuse(Malformed, "", "the request is %d bytes long, and at most %d are read", len(data), MaxBytes)
	}
	if bytes.Contains(data, []byte("PRIVATE KEY-----")) {
		return nil, privateKey("the request")
	}
	d := &decoder{Reader: cjson.New(bytes.Clone(data), depth), seen: make(map[string]bool)}
	d.request()
	err := d.End()
	switch {
	case d.refused != nil:
		return nil, d.refused
	case err != nil:
		return nil, refuse(Malformed, "", "this is not a signing request: %v", err)
	}
	for _, name := range []string{
		"bailiwick-request", "bases", "by", "created", "expires", "id", "keys", "kind", "note", "payloads", "project", "repository", "threshold",
	} {
		if !d.seen[name] {
			return nil, refuse(Malformed, "", "this is not a signing request: its member %q is missing", name)
		}
	}
	if err := d.out.check(); err != nil {
		return nil, err
	}
	if id := d.out.ID(); id != d.id {
		return nil, refuse(Malformed, "", "the request says that it is %.32q and by its content it is %s: it was changed on the way; ask for it again", d.id, id)
	}
	return &d.out, nil
}

// privateKey is the loud refusal of R27.
func privateKey(where string) *Refused {
	return refuse(PrivateKey, "", "%s holds a PRIVATE key; nothing was stored; that key must be taken for stolen, so make a new one and send its public half only", where)
}

// decoder reads a request in one pass. The first fault sticks.
type decoder struct {
	*cjson.Reader
	out     Request
	id      string
	seen    map[string]bool
	refused *Refused // a fault that has a reason of its own
}

func (d *decoder) fail(r *Refused) {
	if d.refused == nil && d.Err() == nil {
		d.refused = r
		d.Fail(d.Position(), r.Message)
	}
}

func (d *decoder) malformed(format string, args ...any) {
	d.fail(refuse(Malformed, "", format, args...))
}

func (d *decoder) request() {
	for m := d.Object(); d.Next(&m); {
		name := string(m.Name())
		d.seen[name] = true
		switch name {
		case "bailiwick-request":
			if n := d.Int(); n != format {
				d.malformed("the request has form %d and this program reads form %d; use a newer bailiwick", n, format)
			}
		case "bases":
			d.bases()
		case "by":
			d.out.By = string(d.Bytes())
		case "created":
			d.out.Created = d.time(name)
		case "expires":
			d.out.Expires = d.time(name)
		case "id":
			d.id = string(d.Bytes())
		case "keys":
			d.keys()
		case "kind":
			d.out.Kind = Kind(d.Bytes())
		case "note":
			d.out.Note = string(d.Bytes())
		case "payloads":
			d.payloads()
		case "project":
			d.project()
		case "repository":
			if text := d.Bytes(); !hexDigits(text) || len(text) != 2*len(d.out.Repository) {
				d.malformed("the member \"repository\" is not 64 lower-case hex digits: the SHA-256 of 1.root.json")
			} else if _, err := hex.Decode(d.out.Repository[:], text); err != nil {
				d.malformed("the member \"repository\": %v", err)
			}
		case "threshold":
			d.out.Threshold = d.small(name)
		default:
			d.malformed("the request has a member %.40q that this program does not know; use a newer bailiwick, or leave it out", name)
		}
	}
}

func hexDigits(text []byte) bool { return strings.Trim(string(text), "0123456789abcdef") == "" }

func (d *decoder) project() {
	text := string(d.Bytes())
	if d.Err() != nil {
		return
	}
	p, err := pypi.ParseProject(text)
	if err != nil || p.String() != text {
		d.malformed("the project %.80q is not a normalised name", text)
	}
	d.out.Project = p
}

func (d *decoder) small(name string) int {
	n := d.Int()
	if n < 0 || n > 1_000_000 {
		d.malformed("the member %q is %d, which is out of range", name, n)
	}
	return int(n)
}

func (d *decoder) time(name string) time.Time {
	text := string(d.Bytes())
	t, err := time.Parse(time.RFC3339, text)
	if d.Err() == nil && (err != nil || tuf.FormatTime(t) != text) {
		d.malformed("the member %q is %.40q and not a time such as 2026-11-23T05:00:00Z", name, text)
	}
	return t.UTC()
}

func (d *decoder) bases() {
	d.out.Bases = make(map[tuf.RoleName]int64)
	for m := d.Object(); d.Next(&m); {
		name := string(m.Name())
		role, err := tuf.ParseRoleName(name)
		if err != nil {
			d.malformed("the bases of the request: %v", err)
			return
		}
		d.out.Bases[role] = d.Int()
		if len(d.out.Bases) > MaxPayloads {
			d.malformed("the request has more than %d bases", MaxPayloads)
		}
	}
}

func (d *decoder) keys() {
	for e := d.Array(); d.More(&e); {
		mark := d.Mark()
		d.Skip()
		raw, _ := d.Since(mark)
		if d.Err() != nil {
			return
		}
		if len(d.out.Keys) == MaxKeys {
			d.fail(refuse(Key, "", "the request lists more than %d keys, which is the most that a project may have", MaxKeys))
			return
		}
		k, err := parseKey(raw, fmt.Sprintf("key %d of the request", len(d.out.Keys)+1))
		if err != nil {
			d.fail(err)
			return
		}
		d.out.Keys = append(d.out.Keys, k)
	}
}

func (d *decoder) payloads() {
	for e := d.Array(); d.More(&e); {
		if len(d.out.Payloads) == MaxPayloads {
			d.malformed("the request has more than %d payloads", MaxPayloads)
			return
		}
		d.out.Payloads = append(d.out.Payloads, d.payload())
	}
}

func (d *decoder) payload() Payload {
	var p Payload
	var role, signatures bool
	for m := d.Object(); d.Next(&m); {
		switch name := string(m.Name()); name {
		case "role":
			role = true
			p.Role = tuf.RoleName(d.Bytes())
		case "signatures":
			signatures = true
			p.Signatures = d.signatures()
		case "signed":
			if d.Kind() != cjson.Object {
				d.malformed("the member \"signed\" of a payload is not an object")
				return p
			}
			mark := d.Mark()
			d.Skip()
			raw, canonical := d.Since(mark)
			if p.Message = raw; d.Err() == nil && !canonical {
				var err error
				if p.Message, err = cjson.Canonical(raw, depth); err != nil {
					d.malformed("a payload has no canonical form: %v", err)
				}
			}
		default:
			d.malformed("a payload has a member %.40q that this program does not know", name)
		}
	}
	if !role || !signatures || p.Message == nil {
		d.malformed("a payload without \"role\", \"signatures\" or \"signed\"")
	}
	return p
}

func (d *decoder) signatures() []tuf.Signature {
	var out []tuf.Signature
	for e := d.Array(); d.More(&e); {
		if len(out) == MaxSignatures {
			d.malformed("a payload has more than %d signatures", MaxSignatures)
			return nil
		}
		var s tuf.Signature
		for m := d.Object(); d.Next(&m); {
			switch name := string(m.Name()); name {
			case "keyid":
				s.KeyID = key.ID(d.Bytes())
			case "sig":
				s.Sig = d.signature()
			default:
				d.malformed("a signature has a member %.40q that this program does not know", name)
			}
		}
		if s.KeyID == "" || len(s.Sig) == 0 {
			d.malformed("a signature without \"keyid\" or \"sig\"")
		}
		out = append(out, s)
	}
	return out
}

func (d *decoder) signature() []byte {
	text := d.Bytes()
	if len(text) == 0 || len(text) > 2*maxSignature || len(text)%2 != 0 || !hexDigits(text) {
		d.malformed("a signature is not 2 to %d lower-case hex digits", 2*maxSignature)
		return nil
	}
	sig := make([]byte, len(text)/2)
	if _, err := hex.Decode(sig, text); err != nil {
		d.malformed("a signature is not hex: %v", err)
	}
	return sig
}

// check holds for requests from outside and for those that a program made: everything that can be
// seen without the repository.
func (r *Request) check() error {
	switch {
	case r.Kind != Claim && r.Kind != Release && r.Kind != Rekey && r.Kind != Recover:
		return refuse(Malformed, "", "the request is of kind %.40q; there are claim, release, rekey and recover", r.Kind)
	case r.Project.IsZero():
		return refuse(Malformed, "", "the request names no project")
	case !plain(r.Note, MaxNote) || !plain(r.By, MaxBy):
		return refuse(Malformed, "", "the note has at most %d bytes and the name of the author at most %d, without control characters", MaxNote, MaxBy)
	case len(r.Payloads) == 0 || len(r.Payloads) > MaxPayloads || len(r.Bases) != len(r.Payloads):
		return refuse(Malformed, "", "the request has %d payloads and %d bases; it needs one base for each payload, and 1 to %d of them", len(r.Payloads), len(r.Bases), MaxPayloads)
	case r.Expires.Before(r.Created) || r.Expires.Sub(r.Created) > MaxLife:
		return refuse(Expired, "", "the request is to live from %s to %s; at most %d days are possible", tuf.FormatTime(r.Created), tuf.FormatTime(r.Expires), MaxLife/(24*time.Hour))
	}
	if r.Kind == Release && (len(r.Keys) > 0 || r.Threshold != 0) {
		return refuse(Malformed, "", "a release does not change keys; make it a rekey, or leave keys and threshold out")
	}
	seen := make(map[tuf.RoleName]bool, len(r.Payloads))
	for i := range r.Payloads {
		p := &r.Payloads[i]
		if seen[p.Role] {
			return refuse(Malformed, p.Role, "the request has two payloads for the role %s", p.Role)
		}
		seen[p.Role] = true
		if base, ok := r.Bases[p.Role]; !ok || base < 0 {
			return refuse(Malformed, p.Role, "the request does not say on which version of %.80q its payload is based", p.Role)
		}
		if err := p.check(); err != nil {
			return err
		}
	}
	return nil
}

func (p *Payload) check() error {
	if len(p.Signatures) > MaxSignatures {
		return refuse(Malformed, p.Role, "%s has more than %d signatures", p.Role, MaxSignatures)
	}
	ids := make(map[key.ID]bool, len(p.Signatures))
	for _, s := range p.Signatures {
		if len(s.KeyID) != 64 || !hexDigits([]byte(s.KeyID)) {
			return refuse(Malformed, p.Role, "%.80q is not a key id: 64 lower-case hex digits", s.KeyID)
		}
		if len(s.Sig) == 0 || len(s.Sig) > maxSignature {
			return refuse(Malformed, p.Role, "the signature of key %.12s… has %d bytes; 1 to %d are possible", s.KeyID, len(s.Sig), maxSignature)
		}
		if ids[s.KeyID] {
			return refuse(Malformed, p.Role, "key %.12s… has signed %s twice; one signature of each key counts", s.KeyID, p.Role)
		}
		ids[s.KeyID] = true
	}
	return nil
}

// plain reports whether text for people is short and can be shown as it is.
func plain(s string, most int) bool {
	return len(s) <= most && utf8.ValidString(s) && !strings.ContainsFunc(s, func(c rune) bool { return c < ' ' || c == 0x7f })
}
