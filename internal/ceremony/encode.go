package ceremony

import (
	"encoding/hex"
	"maps"
	"slices"

	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/cjson"
)

// format is the member "bailiwick-request": the number of the form that this package reads and
// writes. A program that meets a higher one must be renewed.
const format = 1

// Encode returns the request as one line of JSON: members sorted, messages embedded as they are
// signed. The error is a *Refused if the request breaks a bound, so that what was encoded can be
// decoded.
func (r *Request) Encode() ([]byte, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	b := r.append(nil, true)
	if len(b) > MaxBytes {
		return nil, refuse(Malformed, "", "the request is %d bytes long, and at most %d can be sent; sign fewer roles at a time", len(b), MaxBytes)
	}
	return b, nil
}

// append writes the request; without signatures, it writes what its ID is the hash of.
func (r *Request) append(b []byte, signatures bool) []byte {
	text := func(name, value string) {
		b = append(wire(b, name), ':')
		b = append(wire(b, value), ',')
	}
	b = append(b, `{"bailiwick-request":`...)
	b = cjson.AppendInt(b, format)
	b = append(b, `,"bases":{`...)
	for i, role := range slices.Sorted(maps.Keys(r.Bases)) {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(wire(b, string(role)), ':')
		b = cjson.AppendInt(b, r.Bases[role])
	}
	b = append(b, `},`...)
	text("by", r.By)
	text("created", tuf.FormatTime(r.Created))
	text("expires", tuf.FormatTime(r.Expires))
	if signatures {
		text("id", r.ID())
	}
	b = append(b, `"keys":[`...)
	for i, k := range r.Keys {
		if i > 0 {
			b = append(b, ',')
		}
		b = cjson.AppendWire(b, k.AppendCanonical(nil))
	}
	b = append(b, `],`...)
	text("kind", string(r.Kind))
	text("note", r.Note)
	b = append(b, `"payloads":[`...)
	for i := range r.Payloads {
		if i > 0 {
			b = append(b, ',')
		}
		b = r.Payloads[i].append(b, signatures)
	}
	b = append(b, `],`...)
	text("project", r.Project.String())
	text("repository", hex.EncodeToString(r.Repository[:]))
	b = append(b, `"threshold":`...)
	return append(cjson.AppendInt(b, int64(r.Threshold)), '}')
}

func (p *Payload) append(b []byte, signatures bool) []byte {
	b = append(wire(append(b, `{"role":`...), string(p.Role)), ',')
	if signatures {
		b = append(b, `"signatures":[`...)
		for i, s := range p.Signatures {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(wire(append(b, `{"keyid":`...), string(s.KeyID)), `,"sig":"`...)
			b = append(hex.AppendEncode(b, s.Sig), `"}`...)
		}
		b = append(b, `],`...)
	}
	b = append(b, `"signed":`...)
	return append(cjson.AppendWire(b, p.Message), '}')
}

// wire appends a string as JSON.
func wire(b []byte, s string) []byte { return cjson.AppendWire(b, cjson.AppendString(nil, s)) }
