package sitting

import (
	"bytes"
	"strings"
	"time"

	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
)

// check holds for requests from outside and for those that a program made: everything that can be seen
// without reading what is signed.
func (r *Request) check() error {
	switch {
	case !plain(r.Note, MaxText) || !plain(r.By, MaxBy):
		return refuse(Malformed, "", "the note has at most %d bytes and the name of the author at most %d, of characters that can be seen", MaxText, MaxBy)
	case !wholeUTC(r.Created) || !wholeUTC(r.Expires):
		return refuse(Malformed, "", "the times of the request are not UTC in whole seconds")
	case !r.Expires.After(r.Created) || r.Expires.Sub(r.Created) > MaxLife:
		return refuse(Expired, "", "the request is to live from %s to %s; at most %d days are possible", tuf.FormatTime(r.Created), tuf.FormatTime(r.Expires), MaxLife/day)
	case len(r.Payloads) == 0 || len(r.Payloads) > MaxPayloads:
		return refuse(Malformed, "", "the request has %d payloads; 1 to %d are possible", len(r.Payloads), MaxPayloads)
	case len(r.Notes) > MaxNotes:
		return refuse(Malformed, "", "the request has %d notes; at most %d are possible", len(r.Notes), MaxNotes)
	case len(r.Chain.Roots) > MaxRoots:
		return refuse(Malformed, "", "the request has %d versions of root; at most %d are possible", len(r.Chain.Roots), MaxRoots)
	}
	for _, f := range r.Chain.files() {
		if !oneLine(f.bytes) {
			return refuse(Malformed, "", "the file %s of the chain is not written as bailiwick publishes it", f.name)
		}
	}
	for i := range r.Payloads {
		p := &r.Payloads[i]
		if i > 0 && order(r.Payloads[i-1].Role, p.Role) >= 0 {
			return refuse(Malformed, p.Role, "the payloads of %.80q and %.80q are in the wrong order, or one role has two", r.Payloads[i-1].Role, p.Role)
		}
		if err := p.check(&r.Chain); err != nil {
			return err
		}
	}
	return r.checkNotes()
}

// day is the unit in which people count these lives.
const day = 24 * time.Hour

func wholeUTC(t time.Time) bool {
	return t.Location() == time.UTC && t.Nanosecond() == 0 && t.Year() >= 1 && t.Year() <= 9999
}

// oneLine reports whether a file can stand in a line as it is, and comes back as the same bytes.
func oneLine(file []byte) bool {
	return len(file) > 1 && file[0] == '{' && file[len(file)-1] == '}' && bytes.IndexByte(file, '\n') < 0
}

func (p *Payload) check(chain *Chain) error {
	if rank(p.Role) == noRank {
		return refuse(Outside, p.Role, "%.80q is no role that offline keys or maintainers sign; a request has root, targets, claimed, its bins, unclaimed and claimed projects", p.Role)
	}
	base, inChain := chain.top(p.Role)
	if inChain && !bytes.Equal(base, p.Base) {
		return refuse(Altered, p.Role, "the payload of %s replaces a file that is not the one of the chain", p.Role)
	}
	if p.Base != nil && !oneLine(p.Base) {
		return refuse(Malformed, p.Role, "the file that the payload of %s replaces is not written as bailiwick publishes it", p.Role)
	}
	if len(p.Message) < 2 || p.Message[0] != '{' {
		return refuse(Malformed, p.Role, "there is nothing to sign for %s", p.Role)
	}
	if len(p.Signatures) > MaxSignatures {
		return refuse(Malformed, p.Role, "%s has more than %d signatures", p.Role, MaxSignatures)
	}
	ids := make(map[key.ID]bool, len(p.Signatures))
	for _, s := range p.Signatures {
		switch {
		case len(s.KeyID) != 64 || !lowerHex(string(s.KeyID)):
			return refuse(Malformed, p.Role, "%.80q is not a key id: 64 lower-case hex digits", s.KeyID)
		case len(s.Sig) == 0 || len(s.Sig) > maxSignature:
			return refuse(Malformed, p.Role, "the signature of key %.12s… has %d bytes; 1 to %d are possible", s.KeyID, len(s.Sig), maxSignature)
		case ids[s.KeyID]:
			return refuse(Malformed, p.Role, "key %.12s… has signed %s twice; one signature of each key counts", s.KeyID, p.Role)
		}
		ids[s.KeyID] = true
	}
	return nil
}

func (r *Request) checkNotes() error {
	for i := range r.Notes {
		n := &r.Notes[i]
		switch {
		case n.Project.IsZero():
			return refuse(Malformed, "", "a note is about no project")
		case i > 0 && strings.Compare(r.Notes[i-1].Project.String(), n.Project.String()) >= 0:
			return refuse(Malformed, "", "the notes of %s and %s are in the wrong order, or one project has two", r.Notes[i-1].Project, n.Project)
		case !plain(n.Text, MaxText) || !plain(n.Token, MaxBy):
			return refuse(Malformed, "", "the note on %s is too long, or has characters that can not be seen", n.Project)
		case n.Popular < 0 || n.Popular > 1<<30:
			return refuse(Malformed, "", "the rank in the note on %s can not be", n.Project)
		}
		for _, t := range []time.Time{n.Since, n.TokenCreated, n.Rekeyed} {
			if !t.IsZero() && !wholeUTC(t) {
				return refuse(Malformed, "", "the times of the note on %s are not UTC in whole seconds", n.Project)
			}
		}
	}
	return nil
}
