package tuf

import (
	"bytes"
	"runtime"
	"slices"

	"example.com/bailiwick/tuf/cjson"
)

// aheadFrom is the length from which a file is worth a goroutine of its own: hashing
// fewer bytes takes no longer than handing them over.
const aheadFrom = 16 << 10

// Ahead is the checking of a file's signatures, begun before it was known what the
// file says. See VerifyAhead.
type Ahead struct {
	authority Authority

	// What follows is set if something was begun.
	message    []byte
	signatures []Signature
	done       chan struct{} // closed when tally is set; nil if nothing was begun
	tally      tally
}

// VerifyAhead begins to check the signatures of a file by a, beside the caller, who goes
// on to parse the very same bytes under the same limits and hands what comes of it to
// Unverified.VerifyAfter. Reading a large file and hashing it take about as long, so with
// two processors the wait is that of one.
//
// It presumes that the file is canonical and takes what should be the message to be it.
// That decides nothing: parsing tells which bytes the message has, and VerifyAfter uses
// what was found out here if it was about these bytes, and checks the signatures
// otherwise. For short files, others in form, and where there is one processor, nothing
// is begun. If parsing fails, the check runs on by itself until it ends, which takes
// one pass over the file for each signature that a allows. The data must not be changed.
func VerifyAhead(data []byte, l *Limits, a Authority) *Ahead {
	h := &Ahead{authority: a}
	if len(data) < aheadFrom || runtime.GOMAXPROCS(0) == 1 {
		return h
	}
	if h.message, h.signatures = presume(data, l.complete()); h.message == nil {
		return h
	}
	h.done = make(chan struct{})
	go func() {
		defer close(h.done)
		h.tally = a.check(h.message, h.signatures, false)
	}()
	return h
}

// presume returns the signatures of a canonical file, and what is left for "signed"; nil
// if it sees that the file has another form.
func presume(data []byte, limits Limits) (message []byte, signatures []Signature) {
	p := &parser{Reader: cjson.New(data, limits.Nesting), limits: limits}
	m := p.Object()
	if !p.Next(&m) || string(m.Name()) != "signatures" {
		return nil, nil
	}
	signatures = p.signatures()
	if !p.Next(&m) || string(m.Name()) != "signed" {
		return nil, nil
	}
	message, closed := bytes.CutSuffix(data[p.Position():], []byte("}"))
	if !closed {
		return nil, nil
	}
	return message, signatures
}

// check is Authority.check for what a file turned out to say.
func (h *Ahead) check(message []byte, signatures []Signature) tally {
	if !h.fits(message, signatures) {
		return h.authority.check(message, signatures, false)
	}
	<-h.done
	return h.tally
}

// fits reports whether what was begun is about the very piece of memory that turned out
// to be the message, and about the signatures that were read.
func (h *Ahead) fits(message []byte, signatures []Signature) bool {
	return h.done != nil && len(message) > 0 && len(message) == len(h.message) && &message[0] == &h.message[0] &&
		slices.EqualFunc(signatures, h.signatures, Signature.equal)
}
