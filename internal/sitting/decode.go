package sitting

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"example.com/bailiwick/internal/parallel"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/cjson"
	"example.com/bailiwick/tuf/key"
)

const (
	// depth bounds how deep values lie in each other: the limit for metadata, and the levels around it.
	depth = 40
	// maxLine bounds one line: two versions of the longest role, and what stands around them.
	maxLine = 2*(64<<20) + 1<<20
	// maxHeader bounds the first line.
	maxHeader = 64 << 10
	// chunk is how many lines are read before they are parsed, side by side.
	chunk = 256
)

// Decode reads a request. It is strict: unknown, missing and repeated members are refused, lines in any
// form but that of [Encode], and anything after the last; so is an ID that does not fit. Nothing of it
// is verified: that is for [Judge]. It reads line by line and at most MaxBytes. The error is a *Refused,
// or that of rd.
func Decode(rd io.Reader) (*Request, error) {
	d := &decoder{in: bufio.NewReaderSize(rd, 64<<10), left: MaxBytes}
	r, err := d.request()
	switch {
	case d.failed != nil:
		return nil, fmt.Errorf("reading the request: %w", d.failed)
	case err != nil:
		return nil, err
	}
	if err := r.check(); err != nil {
		return nil, err
	}
	if id := r.ID(); id != d.id {
		return nil, refuse(Altered, "", "the request says that it is %.32q and by its content it is %s: it was changed on the way; ask for it again", d.id, id)
	}
	return r, nil
}

// decoder reads the lines.
type decoder struct {
	in     *bufio.Reader
	left   int64
	number int    // of the line, from 1
	id     string // as the header says
	failed error  // of the reader below
}

var errCut = refuse(Malformed, "", "the request ends too early: it was cut off on the way; copy it again")

// line reads one line, without its end.
func (d *decoder) line(most int) ([]byte, error) {
	d.number++
	var out []byte
	for {
		part, err := d.in.ReadSlice('\n')
		if d.left -= int64(len(part)); d.left < 0 || len(out)+len(part) > most {
			return nil, refuse(Malformed, "", "line %d of the request makes it too long: lines have at most %d bytes and all of it %d", d.number, most, int64(MaxBytes))
		}
		out = append(out, part...)
		switch {
		case err == nil:
			out = out[:len(out)-1]
			if err := clean(out, d.number); err != nil {
				return nil, err
			}
			if len(out) > 0 && (strings.IndexByte(" \t\r", out[0]) >= 0 || out[len(out)-1] != '}') { // the reader skips blanks around a value
				return nil, refuse(Malformed, "", "line %d of the request is not written as bailiwick writes it: it was edited or reformatted on the way, so ask for the file itself", d.number)
			}
			return out, nil
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF):
			return nil, errCut
		default:
			d.failed = err
			return nil, errCut
		}
	}
}

// clean refuses private keys, wherever they hide: in the forms in which they are stored, and as the
// member "private" of a KEY object. The bytes `"private":` occur in JSON as a name only.
func clean(line []byte, number int) error {
	for _, sign := range []string{"PRIVATE KEY-----", "AGE-SECRET-KEY-", `"private":`} {
		if bytes.Contains(line, []byte(sign)) {
			return refuse(PrivateKey, "", "line %d of the request holds a PRIVATE key; nothing was stored; that key must be taken for stolen, so make a new one and send its public half only", number)
		}
	}
	return nil
}

func (d *decoder) request() (*Request, error) {
	if err := d.kind(); err != nil {
		return nil, err
	}
	first, err := d.line(maxHeader)
	if err != nil {
		return nil, err
	}
	h, err := readHeader(first)
	if err != nil {
		return nil, err
	}
	d.id = h.id
	r := &h.out
	if err := d.chain(r, h.chain); err != nil {
		return nil, err
	}
	if r.Payloads, err = several(d, h.payloads, maxLine, readPayload); err != nil {
		return nil, err
	}
	if r.Notes, err = several(d, h.notes, maxHeader, readNote); err != nil {
		return nil, err
	}
	for i := range r.Payloads {
		p := &r.Payloads[i]
		base, inChain := r.Chain.top(p.Role)
		if inChain && p.Base != nil {
			return nil, refuse(Malformed, p.Role, "the payload of %s repeats its base, which is in the chain; it could be another", p.Role)
		}
		if inChain {
			p.Base = base
		}
	}
	return r, d.end()
}

// kind refuses a file of another kind, before its lines are held against the form of a request.
func (d *decoder) kind() error {
	head, err := d.in.Peek(headSize)
	if err != nil && !errors.Is(err, io.EOF) {
		d.failed = err
		return errCut
	}
	if refused := refuseKind("a signing request", head); refused != nil {
		return refused
	}
	return nil
}

func (d *decoder) end() error {
	switch _, err := d.in.ReadByte(); {
	case err == nil:
		return refuse(Malformed, "", "the request goes on after its last line, which its header does not say; ask for it again")
	case !errors.Is(err, io.EOF):
		d.failed = err
	}
	return nil
}

// chain reads the files that the header announces.
func (d *decoder) chain(r *Request, names []string) error {
	for _, name := range names {
		line, err := d.line(maxLine)
		if err != nil {
			return err
		}
		f, err := readFile(line)
		if err != nil {
			return err
		}
		if f.name != name {
			return refuse(Malformed, "", "line %d of the request is the %.20q of the chain and should be its %s", d.number, f.name, name)
		}
		switch name {
		case chainRoot:
			r.Chain.Roots = append(r.Chain.Roots, f.bytes)
		case chainTargets:
			r.Chain.Targets = f.bytes
		case chainClaimed:
			r.Chain.Claimed = f.bytes
		case chainBin:
			r.Chain.Bin = f.bytes
		case chainUnclaimed:
			r.Chain.Unclaimed = f.bytes
		}
	}
	return nil
}

// several reads n lines of one sort.
func several[T any](d *decoder, n, most int, read func([]byte) (T, error)) ([]T, error) {
	var out []T
	lines := make([][]byte, 0, chunk)
	for len(out) < n {
		lines = lines[:0]
		for len(lines) < chunk && len(out)+len(lines) < n {
			line, err := d.line(most)
			if err != nil {
				return nil, err
			}
			lines = append(lines, line)
		}
		items, errs := make([]T, len(lines)), make([]error, len(lines))
		parallel.Do(len(lines), func(i int) { items[i], errs[i] = read(lines[i]) })
		for _, err := range errs {
			if err != nil {
				return nil, err
			}
		}
		out = append(out, items...)
	}
	return out, nil
}

// reader reads one line in one pass. The first fault sticks.
type reader struct {
	*cjson.Reader
	what    string
	refused *Refused
}

func newReader(what string, line []byte) *reader {
	return &reader{Reader: cjson.New(line, depth), what: what}
}

func (r *reader) malformed(format string, args ...any) {
	if r.refused == nil && r.Err() == nil {
		r.refused = refuse(Malformed, "", r.what+" of the request: "+format, args...)
		r.Fail(r.Position(), r.refused.Message)
	}
}

// object reads an object that has these members and no others, in this order, which is that of their
// names.
func (r *reader) object(names []string, read func(name string)) {
	i := 0
	for m := r.Object(); r.Next(&m); i++ {
		name := string(m.Name())
		if i >= len(names) || names[i] != name {
			r.malformed("the member %.40q is unknown, or not where it belongs; the members are %s", name, strings.Join(names, ", "))
			return
		}
		read(name)
	}
	if i < len(names) {
		r.malformed("the member %q is missing", names[i])
	}
}

// whole reads the line, which is one such object, in the form in which it is written.
func (r *reader) whole(names []string, read func(name string)) {
	r.canonical(func() { r.object(names, read) })
}

// canonical reads a value, and refuses it in any form but the one that is written.
func (r *reader) canonical(read func()) {
	mark := r.Mark()
	read()
	raw, canonical := r.Since(mark)
	if r.Err() != nil || canonical {
		return
	}
	// Control characters are escaped in what travels, and not in canonical form: a key in PEM.
	c, err := cjson.Canonical(raw, depth)
	if err != nil || !bytes.Equal(cjson.AppendWire(nil, c), raw) {
		r.malformed("it is not written as bailiwick writes it: it was edited or reformatted on the way, so ask for the file itself")
	}
}

func (r *reader) done() error {
	err := r.End()
	switch {
	case r.refused != nil:
		return r.refused
	case err != nil:
		return refuse(Malformed, "", "this is not a signing request: %s: %v", r.what, err)
	}
	return nil
}

func (r *reader) text() string { return string(r.Bytes()) }

// count reads a number from 0 to most.
func (r *reader) count(name string, most int) int {
	n := r.Int()
	if n < 0 || n > int64(most) {
		r.malformed("%q is %d; 0 to %d are possible", name, n, most)
		return 0
	}
	return int(n)
}

func (r *reader) time(name string, optional bool) time.Time {
	text := r.text()
	if text == "" && optional || r.Err() != nil {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil || tuf.FormatTime(t) != text {
		r.malformed("%q is %.40q and not a time such as 2026-11-23T05:00:00Z", name, text)
	}
	return t.UTC()
}

// raw reads an object as it lies; nil if null is allowed and there.
func (r *reader) raw(name string, optional bool) (raw []byte, canonical bool) {
	switch kind := r.Kind(); {
	case kind == cjson.Null && optional:
		r.Skip()
		return nil, true
	case kind != cjson.Object:
		r.malformed("%q is %s and not an object", name, kind)
		return nil, false
	}
	mark := r.Mark()
	r.Skip()
	return r.Since(mark)
}

// header is the first line.
type header struct {
	out             Request
	id              string
	chain           []string
	payloads, notes int
}

func readHeader(line []byte) (*header, error) {
	var h header
	r := newReader("the header", line)
	names := []string{"bailiwick-sitting", "by", "chain", "created", "expires", "id", "note", "notes", "payloads", "repository"}
	r.whole(names, func(name string) {
		switch name {
		case "bailiwick-sitting":
			if n := r.Int(); n != format {
				r.malformed("it has form %d and this program reads form %d; use a newer bailiwick", n, format)
			}
		case "by":
			h.out.By = r.text()
		case "chain":
			h.readChain(r)
		case "created":
			h.out.Created = r.time(name, false)
		case "expires":
			h.out.Expires = r.time(name, false)
		case "id":
			h.id = r.text()
		case "note":
			h.out.Note = r.text()
		case "notes":
			h.notes = r.count(name, MaxNotes)
		case "payloads":
			h.payloads = r.count(name, MaxPayloads)
		case "repository":
			text := r.text()
			if n, err := hex.Decode(h.out.Repository[:], []byte(text[:min(len(text), 64)])); err != nil || n != 32 || !lowerHex(text) || len(text) != 64 {
				r.malformed("%q is not 64 lower-case hex digits: the SHA-256 of 1.root.json", name)
			}
		}
	})
	return &h, r.done()
}

// readChain reads which files follow: each once, and roots several times, in their order.
func (h *header) readChain(r *reader) {
	names := []string{chainRoot, chainTargets, chainClaimed, chainBin, chainUnclaimed}
	last := 0
	for e := r.Array(); r.More(&e); {
		name := r.text()
		at := slices.Index(names, name)
		if at < last || at == last && at > 0 && len(h.chain) > 0 && h.chain[len(h.chain)-1] == name || len(h.chain) >= MaxRoots+len(names) {
			r.malformed("the chain is %s, in this order, each once but for the roots, of which there are at most %d", strings.Join(names, ", "), MaxRoots)
			return
		}
		last = at
		h.chain = append(h.chain, name)
	}
}

func readFile(line []byte) (file, error) {
	var f file
	r := newReader("a file of the chain", line)
	r.whole([]string{"chain", "file"}, func(name string) {
		if name == "chain" {
			f.name = r.text()
		} else {
			f.bytes, _ = r.raw(name, false)
		}
	})
	return f, r.done()
}

func readPayload(line []byte) (Payload, error) {
	var p Payload
	r := newReader("a payload", line)
	r.whole([]string{"base", "role", "signatures", "signed"}, func(name string) {
		switch name {
		case "base":
			p.Base, _ = r.raw(name, true)
		case "role":
			p.Role = tuf.RoleName(r.text())
		case "signatures":
			p.Signatures = r.signatures()
		case "signed":
			raw, canonical := r.raw(name, false)
			if p.Message = raw; r.Err() == nil && !canonical {
				var err error
				if p.Message, err = cjson.Canonical(raw, depth); err != nil {
					r.malformed("a payload has no canonical form: %v", err)
				}
			}
		}
	})
	return p, r.done()
}

func (r *reader) signatures() []tuf.Signature {
	var out []tuf.Signature
	for e := r.Array(); r.More(&e); {
		if len(out) == MaxSignatures {
			r.malformed("a payload has more than %d signatures", MaxSignatures)
			return nil
		}
		var s tuf.Signature
		r.object([]string{"keyid", "sig"}, func(name string) {
			if name == "keyid" {
				s.KeyID = key.ID(r.text())
				return
			}
			text := r.text()
			sig, err := hex.DecodeString(text)
			if err != nil || !lowerHex(text) || len(sig) == 0 || len(sig) > maxSignature {
				r.malformed("a signature is not 2 to %d lower-case hex digits", 2*maxSignature)
			}
			s.Sig = sig
		})
		out = append(out, s)
	}
	return out
}

func lowerHex(text string) bool { return strings.Trim(text, "0123456789abcdef") == "" }

func readNote(line []byte) (Note, error) {
	var n Note
	r := newReader("a note", line)
	r.whole([]string{"popular", "project", "rekeyed", "since", "text", "token", "token-created"}, func(name string) {
		switch name {
		case "popular":
			n.Popular = r.count(name, 1<<30)
		case "project":
			text := r.text()
			p, err := pypi.ParseProject(text)
			if err != nil || p.String() != text {
				r.malformed("%.80q is not a normalised project name", text)
			}
			n.Project = p
		case "rekeyed":
			n.Rekeyed = r.time(name, true)
		case "since":
			n.Since = r.time(name, true)
		case "text":
			n.Text = r.text()
		case "token":
			n.Token = r.text()
		case "token-created":
			n.TokenCreated = r.time(name, true)
		}
	})
	return n, r.done()
}
