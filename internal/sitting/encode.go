package sitting

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"io"
	"strconv"
	"time"

	"example.com/bailiwick/internal/parallel"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/cjson"
)

// format is the member "bailiwick-sitting": the number of the form that this package reads and writes. A
// program that meets a higher one must be renewed.
const format = 1

// The names of the chain's files, in the order in which they are written.
const (
	chainRoot      = "root"
	chainTargets   = "targets"
	chainClaimed   = "claimed"
	chainBin       = "bin"
	chainUnclaimed = "unclaimed"
)

// Encode writes the request: a header in the first line, then one line for each file of the chain, each
// payload and each note, in the order of the fields. Every line is one canonical JSON object with control
// characters escaped, so that there is one way to write a request and no other. The error is a *Refused
// if the request breaks a bound, so that what was encoded can be decoded; or that of w.
func Encode(w io.Writer, r *Request) error {
	if err := r.check(); err != nil {
		return err
	}
	out := bufio.NewWriterSize(w, 64<<10)
	written := int64(0)
	lines := append([]func([]byte, bool) []byte{func(b []byte, _ bool) []byte { return r.header(b, r.ID()) }}, r.lines()...)
	rendered, errs := make([][]byte, chunk), make([]error, chunk)
	for first := 0; first < len(lines); first += chunk {
		n := min(chunk, len(lines)-first)
		parallel.Do(n, func(i int) {
			rendered[i] = append(lines[first+i](rendered[i][:0], true), '\n')
			errs[i] = sound(rendered[i], first+i+1)
		})
		for i := range n {
			if errs[i] != nil {
				return errs[i]
			}
			if written += int64(len(rendered[i])); written > MaxBytes {
				return refuse(Malformed, "", "the request is longer than %d bytes; plan fewer projects at a time", int64(MaxBytes))
			}
			if _, err := out.Write(rendered[i]); err != nil {
				return fmt.Errorf("writing the request: %w", err)
			}
		}
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("writing the request: %w", err)
	}
	return nil
}

// sound refuses a line that Decode would refuse because of the files in it.
func sound(line []byte, number int) error {
	if len(line) > maxLine {
		return refuse(Malformed, "", "line %d of the request would be %d bytes long; at most %d are possible", number, len(line), maxLine)
	}
	if err := clean(line, number); err != nil {
		return err
	}
	r := newReader("line "+strconv.Itoa(number), line)
	r.canonical(r.Skip)
	return r.done()
}

// header renders the first line; without an ID, what the ID is also the hash of.
func (r *Request) header(b []byte, id string) []byte {
	b = cjson.AppendInt(append(b, `{"bailiwick-sitting":`...), format)
	b = member(b, "by", r.By)
	b = append(b, `,"chain":[`...)
	for i, f := range r.Chain.files() {
		if i > 0 {
			b = append(b, ',')
		}
		b = wire(b, f.name)
	}
	b = append(b, ']')
	b = member(b, "created", tuf.FormatTime(r.Created))
	b = member(b, "expires", tuf.FormatTime(r.Expires))
	if id != "" {
		b = member(b, "id", id)
	}
	b = member(b, "note", r.Note)
	b = cjson.AppendInt(append(b, `,"notes":`...), int64(len(r.Notes)))
	b = cjson.AppendInt(append(b, `,"payloads":`...), int64(len(r.Payloads)))
	b = member(b, "repository", hex.EncodeToString(r.Repository[:]))
	return append(b, '}')
}

// lines returns what renders each line after the header; without signatures, what the ID is the hash of.
func (r *Request) lines() []func(b []byte, signatures bool) []byte {
	files := r.Chain.files()
	out := make([]func([]byte, bool) []byte, 0, len(files)+len(r.Payloads)+len(r.Notes))
	for _, f := range files {
		out = append(out, func(b []byte, _ bool) []byte { return f.append(b) })
	}
	for i := range r.Payloads {
		out = append(out, r.Payloads[i].append)
	}
	for i := range r.Notes {
		out = append(out, func(b []byte, _ bool) []byte { return r.Notes[i].append(b) })
	}
	return out
}

// file is one of the chain.
type file struct {
	name  string
	bytes []byte
}

// files returns those that there are, in order.
func (c *Chain) files() []file {
	var out []file
	for _, root := range c.Roots {
		out = append(out, file{chainRoot, root})
	}
	for _, f := range []file{{chainTargets, c.Targets}, {chainClaimed, c.Claimed}, {chainBin, c.Bin}, {chainUnclaimed, c.Unclaimed}} {
		if f.bytes != nil {
			out = append(out, f)
		}
	}
	return out
}

func (f file) append(b []byte) []byte {
	b = wire(append(b, `{"chain":`...), f.name)
	b = append(b, `,"file":`...)
	return append(append(b, f.bytes...), '}')
}

// append renders a payload. Bases that are in the chain are not written twice.
func (p *Payload) append(b []byte, signatures bool) []byte {
	b = append(b, `{"base":`...)
	var chain Chain
	if _, inChain := chain.top(p.Role); inChain || p.Base == nil {
		b = append(b, "null"...)
	} else {
		b = append(b, p.Base...)
	}
	b = member(b, "role", string(p.Role))
	if signatures {
		b = append(b, `,"signatures":[`...)
		for i, s := range p.Signatures {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(wire(append(b, `{"keyid":`...), string(s.KeyID)), `,"sig":"`...)
			b = append(hex.AppendEncode(b, s.Sig), `"}`...)
		}
		b = append(b, ']')
	}
	b = append(b, `,"signed":`...)
	return append(cjson.AppendWire(b, p.Message), '}')
}

func (n *Note) append(b []byte) []byte {
	b = cjson.AppendInt(append(b, `{"popular":`...), int64(n.Popular))
	b = member(b, "project", n.Project.String())
	b = member(b, "rekeyed", optional(n.Rekeyed))
	b = member(b, "since", optional(n.Since))
	b = member(b, "text", n.Text)
	b = member(b, "token", n.Token)
	b = member(b, "token-created", optional(n.TokenCreated))
	return append(b, '}')
}

// optional renders a time that may be unknown.
func optional(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return tuf.FormatTime(t)
}

// member appends a further member that is a string.
func member(b []byte, name, value string) []byte {
	return wire(append(wire(append(b, ','), name), ':'), value)
}

// wire appends a string as JSON.
func wire(b []byte, s string) []byte { return cjson.AppendWire(b, cjson.AppendString(nil, s)) }
