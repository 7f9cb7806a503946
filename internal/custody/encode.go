package custody

import (
	"bytes"
	"encoding/hex"
	"fmt"

	"example.com/bailiwick/internal/sitting"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/cjson"
)

// format is the member "bailiwick-proposal": the number of the form that this package reads and writes.
const format = 1

// Encode returns the proposal in the form that is stored and sent: a header, then a line for each role, the
// snapshot, each request of maintainers and each entry of the record, then the requests of operators. What
// Encode writes Decode reads; the error says which bound the proposal breaks.
func (p *Proposal) Encode() ([]byte, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	var body []byte
	for i := range p.Roles {
		body = p.Roles[i].append(body)
	}
	body = p.Snapshot.append(body)
	for _, r := range p.Requests {
		line, err := r.Encode()
		if err != nil {
			return nil, fmt.Errorf("encoding the signing request about %s: %w", r.Project, err)
		}
		body = append(append(body, line...), '\n')
	}
	for _, path := range p.Deleted {
		body = append(cjson.AppendWire(body, cjson.AppendString(nil, path)), '\n')
	}
	for i := range p.Record {
		body = append(p.Record[i].AppendCanonical(body), '\n')
	}
	var sizes []int
	for _, r := range p.Sittings {
		var file bytes.Buffer
		if err := sitting.Encode(&file, r); err != nil {
			return nil, fmt.Errorf("encoding the operators' request %s: %w", r.ID(), err)
		}
		sizes = append(sizes, file.Len())
		body = append(body, file.Bytes()...)
	}
	out := append(p.header(make([]byte, 0, 1024+len(body)), sizes), body...)
	if len(out) > MaxBytes {
		return nil, refuse(Malformed, "", "the proposal is %d bytes long, and at most %d can be sent", len(out), MaxBytes)
	}
	return out, nil
}

func (p *Proposal) header(b []byte, sittings []int) []byte {
	number := func(name string, n int64) {
		b = append(append(b, name...), ':')
		b = append(cjson.AppendInt(b, n), ',')
	}
	text := func(name, value string) {
		b = append(append(b, name...), ':')
		b = append(cjson.AppendString(b, value), ',')
	}
	b = append(b, '{')
	number(`"bailiwick-proposal"`, format)
	text(`"base"`, hex.EncodeToString(p.Base[:]))
	number(`"deleted"`, int64(len(p.Deleted)))
	number(`"number"`, p.Number)
	number(`"publication"`, p.Publication)
	number(`"record"`, int64(len(p.Record)))
	text(`"repository"`, hex.EncodeToString(p.Repository[:]))
	number(`"requests"`, int64(len(p.Requests)))
	number(`"roles"`, int64(len(p.Roles)))
	b = append(b, `"sittings":[`...)
	for i, n := range sittings {
		if i > 0 {
			b = append(b, ',')
		}
		b = cjson.AppendInt(b, int64(n))
	}
	b = append(b, `],`...)
	text(`"time"`, tuf.FormatTime(p.Time))
	b[len(b)-1] = '}'
	return append(b, '\n')
}

func (r *Role) append(b []byte) []byte {
	b = append(b, `{"role":`...)
	b = cjson.AppendWire(b, cjson.AppendString(nil, r.Name))
	b = append(b, `,"signatures":`...)
	b = appendSignatures(b, r.Signatures)
	b = append(b, `,"signed":`...)
	b = cjson.AppendWire(b, r.Message)
	return append(b, '}', '\n')
}

func appendSignatures(b []byte, all []tuf.Signature) []byte {
	b = append(b, '[')
	for i, s := range all {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"keyid":`...)
		b = cjson.AppendWire(b, cjson.AppendString(nil, s.KeyID))
		b = append(b, `,"sig":"`...)
		b = append(hex.AppendEncode(b, s.Sig), '"', '}')
	}
	return append(b, ']')
}

// check holds for proposals from outside and for those that a program made: all that can be seen without
// the repository.
func (p *Proposal) check() error {
	switch {
	case p.Number < 2 || p.Publication < 2:
		return refuse(Malformed, "", "snapshot %d in publication %d: the first of both is made with the repository, not proposed", p.Number, p.Publication)
	case p.Time.IsZero() || !p.Time.Equal(p.Time.Truncate(1e9)):
		return refuse(Malformed, "", "the proposal has no time in whole seconds")
	case len(p.Roles) > MaxRoles || len(p.Requests) > MaxRequests || len(p.Sittings) > MaxSittings || len(p.Record) > MaxEntries:
		return refuse(Malformed, "", "the proposal has %d roles, %d requests of maintainers, %d of operators and %d entries of the record; at most %d, %d, %d and %d are possible",
			len(p.Roles), len(p.Requests), len(p.Sittings), len(p.Record), MaxRoles, MaxRequests, MaxSittings, MaxEntries)
	case len(p.Deleted) > MaxDeleted:
		return refuse(Malformed, "", "the proposal deletes %d files; at most %d are possible", len(p.Deleted), MaxDeleted)
	case p.Snapshot.Name != tuf.RoleSnapshot:
		return refuse(Malformed, p.Snapshot.Name, "where the snapshot has to be, there is the role %.80q", p.Snapshot.Name)
	}
	for _, path := range p.Deleted {
		if _, err := tuf.ParseTargetPath(string(path)); err != nil {
			return refuse(Malformed, "", "the proposal deletes %.120q, which is no path of a file", path)
		}
	}
	for i := range p.Roles {
		if err := p.Roles[i].check(); err != nil {
			return err
		}
	}
	return p.Snapshot.check()
}

func (r *Role) check() error {
	if _, err := tuf.ParseRoleName(string(r.Name)); err != nil {
		return refuse(Malformed, "", "%.80q is no name of a role", r.Name)
	}
	if len(r.Message) == 0 || len(r.Message) > maxLine/2 || len(r.Signatures) > maxSigs {
		return refuse(Malformed, r.Name, "the role %s has a message of %d bytes and %d signatures; 1 to %d bytes and at most %d signatures are possible",
			r.Name, len(r.Message), len(r.Signatures), maxLine/2, maxSigs)
	}
	for _, s := range r.Signatures {
		if len(s.Sig) == 0 || len(s.Sig) > maxSig || s.KeyID == "" || len(s.KeyID) > tuf.MaxKeyID {
			return refuse(Malformed, r.Name, "a signature on %s has no key or not 1 to %d bytes", r.Name, maxSig)
		}
	}
	return nil
}
