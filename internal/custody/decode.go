package custody

import (
	"bytes"
	"encoding/hex"
	"strings"
	"time"

	"example.com/bailiwick/internal/ceremony"
	"example.com/bailiwick/internal/record"
	"example.com/bailiwick/internal/sitting"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/cjson"
	"example.com/bailiwick/tuf/key"
)

// depth bounds how deep values lie in each other: the limit for metadata, and the levels around it.
const depth = 40

// Decode reads an encoded proposal. It is strict: unknown, missing and repeated members are refused, and so is
// anything that is left over. The result refers to data, which nobody may change any more. The error is
// a *Refused.
func Decode(data []byte) (*Proposal, error) {
	if len(data) > MaxBytes {
		return nil, refuse(Malformed, "", "the proposal is %d bytes long, and at most %d are read", len(data), MaxBytes)
	}
	rest := &lines{data: data}
	p := &Proposal{}
	h, err := p.readHeader(rest)
	if err != nil {
		return nil, err
	}
	for range h.roles {
		r, err := readRole(rest)
		if err != nil {
			return nil, err
		}
		p.Roles = append(p.Roles, r)
	}
	if p.Snapshot, err = readRole(rest); err != nil {
		return nil, err
	}
	for range h.requests {
		line, err := rest.next("a signing request")
		if err != nil {
			return nil, err
		}
		r, err := ceremony.Decode(line)
		if err != nil {
			return nil, fromCeremony("", err)
		}
		p.Requests = append(p.Requests, r)
	}
	for range h.deleted {
		path, err := readPath(rest)
		if err != nil {
			return nil, err
		}
		p.Deleted = append(p.Deleted, path)
	}
	for range h.record {
		line, err := rest.next("an entry of the record")
		if err != nil {
			return nil, err
		}
		e, err := record.Parse(line)
		if err != nil {
			return nil, refuse(Malformed, "", "the proposal's record: %v", err)
		}
		p.Record = append(p.Record, e)
	}
	for _, n := range h.sittings {
		file, err := rest.take(n)
		if err != nil {
			return nil, err
		}
		r, err := sitting.Decode(bytes.NewReader(file))
		if err != nil {
			return nil, fromSitting("", err)
		}
		p.Sittings = append(p.Sittings, r)
	}
	if len(rest.data) > 0 {
		return nil, refuse(Malformed, "", "%d bytes follow the end of the proposal", len(rest.data))
	}
	return p, p.check()
}

// lines takes a proposal apart.
type lines struct{ data []byte }

func (l *lines) next(what string) ([]byte, error) {
	end := bytes.IndexByte(l.data[:min(len(l.data), maxLine)], '\n')
	if end < 0 {
		return nil, refuse(Malformed, "", "the proposal ends where %s should be, or that is longer than %d bytes", what, maxLine)
	}
	line := l.data[:end:end]
	l.data = l.data[end+1:]
	return line, nil
}

func (l *lines) take(n int64) ([]byte, error) {
	if n > int64(len(l.data)) {
		return nil, refuse(Malformed, "", "the proposal ends within a request of operators")
	}
	file := l.data[:n:n]
	l.data = l.data[n:]
	return file, nil
}

// counts says what follows the header.
type counts struct {
	roles, requests, deleted, record int64
	sittings                         []int64
}

// reader reads one line in one pass. The first fault sticks.
type reader struct{ *cjson.Reader }

func (r reader) malformed(reason string) { r.Fail(r.Position(), reason) }

func (r reader) count(most int64) int64 {
	n := r.Int()
	if n < 0 || n > most {
		r.malformed("a number that is out of range")
		return 0
	}
	return n
}

func (r reader) sum(into *[32]byte) {
	text := r.Bytes()
	if len(text) != 2*len(into) || strings.Trim(string(text), "0123456789abcdef") != "" {
		r.malformed("not a SHA-256 in 64 lower-case hex digits")
		return
	}
	_, _ = hex.Decode(into[:], text) // looked at above
}

func (r reader) time() time.Time {
	text := string(r.Bytes())
	t, err := time.Parse(time.RFC3339, text)
	if r.Err() == nil && (err != nil || tuf.FormatTime(t) != text) {
		r.malformed("not a time such as 2026-11-23T05:00:00Z")
	}
	return t.UTC()
}

// members reads an object that has exactly the members of each, in order.
func (r reader) members(each ...member) error {
	seen := 0
	for m := r.Object(); r.Next(&m); {
		if seen == len(each) || string(m.Name()) != each[seen].name {
			r.malformed("a member that does not belong there, or not in that place")
			break
		}
		each[seen].read()
		seen++
	}
	if err := r.End(); err != nil {
		return refuse(Malformed, "", "this is not a proposal of this form: %v", err)
	}
	if seen < len(each) {
		return refuse(Malformed, "", "this is not a proposal: the member %q is missing", each[seen].name)
	}
	return nil
}

type member struct {
	name string
	read func()
}

func (p *Proposal) readHeader(l *lines) (*counts, error) {
	line, err := l.next("its header")
	if err != nil {
		return nil, err
	}
	r, c := reader{cjson.New(line, 4)}, &counts{}
	return c, r.members(
		member{"bailiwick-proposal", func() {
			if r.Int() != format {
				r.malformed("another form than 1; use programs of one version on both sides")
			}
		}},
		member{"base", func() { r.sum(&p.Base) }},
		member{"deleted", func() { c.deleted = r.count(MaxDeleted) }},
		member{"number", func() { p.Number = r.Int() }},
		member{"publication", func() { p.Publication = r.Int() }},
		member{"record", func() { c.record = r.count(MaxEntries) }},
		member{"repository", func() { r.sum(&p.Repository) }},
		member{"requests", func() { c.requests = r.count(MaxRequests) }},
		member{"roles", func() { c.roles = r.count(MaxRoles) }},
		member{"sittings", func() {
			for e := r.Array(); r.More(&e); {
				if c.sittings = append(c.sittings, r.count(MaxBytes)); len(c.sittings) > MaxSittings {
					r.malformed("too many requests of operators")
				}
			}
		}},
		member{"time", func() { p.Time = r.time() }},
	)
}

func readPath(l *lines) (tuf.TargetPath, error) {
	line, err := l.next("the path of a file")
	if err != nil {
		return "", err
	}
	r := cjson.New(line, 1)
	path := tuf.TargetPath(r.Bytes())
	if err := r.End(); err != nil {
		return "", refuse(Malformed, "", "this is not the path of a file: %v", err)
	}
	return path, nil
}

func readRole(l *lines) (Role, error) {
	line, err := l.next("a role")
	if err != nil {
		return Role{}, err
	}
	var out Role
	r := reader{cjson.New(line, depth)}
	err = r.members(
		member{"role", func() { out.Name = tuf.RoleName(r.Bytes()) }},
		member{"signatures", func() { out.Signatures = r.signatures() }},
		member{"signed", func() { out.Message = r.message() }},
	)
	return out, err
}

func (r reader) message() []byte {
	if r.Kind() != cjson.Object {
		r.malformed("\"signed\" is not an object")
		return nil
	}
	mark := r.Mark()
	r.Skip()
	raw, canonical := r.Since(mark)
	if r.Err() != nil || canonical {
		return raw
	}
	out, err := cjson.Canonical(raw, depth)
	if err != nil || !bytes.Equal(cjson.AppendWire(nil, out), raw) {
		r.malformed("\"signed\" is not in canonical form")
		return nil
	}
	return out
}

func (r reader) signatures() []tuf.Signature {
	var all []tuf.Signature
	for e := r.Array(); r.More(&e); {
		if len(all) == maxSigs {
			r.malformed("too many signatures")
			return nil
		}
		var s tuf.Signature
		for m := r.Object(); r.Next(&m); {
			switch string(m.Name()) {
			case "keyid":
				s.KeyID = key.ID(r.Bytes())
			case "sig":
				s.Sig = r.signature()
			default:
				r.malformed("an unknown member of a signature")
			}
		}
		all = append(all, s)
	}
	return all
}

func (r reader) signature() []byte {
	text := r.Bytes()
	if len(text) == 0 || len(text) > 2*maxSig || len(text)%2 != 0 || strings.Trim(string(text), "0123456789abcdef") != "" {
		r.malformed("not a signature in lower-case hex digits")
		return nil
	}
	sig := make([]byte, len(text)/2)
	_, _ = hex.Decode(sig, text) // looked at above
	return sig
}
