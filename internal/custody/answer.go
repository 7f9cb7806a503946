package custody

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"

	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
)

// MaxAnswer bounds an encoded answer, in bytes.
const MaxAnswer = 320 << 20

// Answer is what a signer makes of a proposal: signatures for every role that it was asked for, or the
// reason why there are none.
type Answer struct {
	Proposal   [32]byte // the ID
	Signatures []RoleSignature
	Refused    *Refused // nil: signed
}

// RoleSignature is a signature on one role of a proposal.
type RoleSignature struct {
	Role      tuf.RoleName
	Signature tuf.Signature
}

// wireAnswer is an answer as it travels: one JSON object.
type wireAnswer struct {
	Format     int             `json:"bailiwick-answer"`
	Proposal   string          `json:"proposal"`
	Signatures []wireSignature `json:"signatures,omitempty"`
	Refused    *wireRefused    `json:"refused,omitempty"`
}

type wireSignature struct {
	Role  string `json:"role"`
	KeyID string `json:"keyid"`
	Sig   string `json:"sig"`
}

type wireRefused struct {
	Reason  string `json:"reason"`
	Role    string `json:"role"`
	Message string `json:"message"`
}

// maxMessage bounds the sentence of a refusal, in bytes.
const maxMessage = 2000

// Encode returns the answer as it is kept and sent.
func (a *Answer) Encode() ([]byte, error) {
	data, err := json.Marshal(a.wire())
	if err != nil {
		return nil, fmt.Errorf("encoding an answer: %w", err)
	}
	return data, nil
}

func (a *Answer) wire() *wireAnswer {
	w := &wireAnswer{Format: format, Proposal: hex.EncodeToString(a.Proposal[:])}
	for _, s := range a.Signatures {
		w.Signatures = append(w.Signatures, wireSignature{string(s.Role), string(s.Signature.KeyID), hex.EncodeToString(s.Signature.Sig)})
	}
	if r := a.Refused; r != nil {
		w.Refused = &wireRefused{string(r.Reason), string(r.Role), r.Message[:min(len(r.Message), maxMessage)]}
	}
	return w
}

// DecodeAnswer reads an answer. It is strict in what it takes for one; whether the signatures are good is for
// whoever uses them. The error is a *Refused with the reason Malformed.
func DecodeAnswer(data []byte) (*Answer, error) {
	var w wireAnswer
	if err := decodeJSON(data, &w); err != nil {
		return nil, err
	}
	return w.answer()
}

func decodeJSON(data []byte, into any) error {
	if len(data) > MaxAnswer {
		return refuse(Malformed, "", "the answer is %d bytes long, and at most %d are read", len(data), MaxAnswer)
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return refuse(Malformed, "", "this does not come from a signer: %v", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return refuse(Malformed, "", "something follows the end of the answer")
	}
	return nil
}

func (w *wireAnswer) answer() (*Answer, error) {
	a := &Answer{}
	id, err := hex.DecodeString(w.Proposal)
	if w.Format != format || err != nil || len(id) != len(a.Proposal) || (w.Refused == nil) == (len(w.Signatures) == 0) {
		return nil, refuse(Malformed, "", "this is no answer of form %d: it names no proposal, or it neither signs nor refuses", format)
	}
	copy(a.Proposal[:], id)
	for _, s := range w.Signatures {
		sig, err := hex.DecodeString(s.Sig)
		if err != nil || len(sig) == 0 || len(sig) > maxSig || len(s.KeyID) > tuf.MaxKeyID || len(s.Role) > tuf.MaxRoleName {
			return nil, refuse(Malformed, "", "a signature in the answer is not 1 to %d bytes in hex digits by a key with a name", maxSig)
		}
		a.Signatures = append(a.Signatures, RoleSignature{tuf.RoleName(s.Role), tuf.Signature{KeyID: key.ID(s.KeyID), Sig: sig}})
	}
	if w.Refused != nil {
		a.Refused = &Refused{Reason(w.Refused.Reason), tuf.RoleName(w.Refused.Role), w.Refused.Message[:min(len(w.Refused.Message), maxMessage)]}
	}
	return a, nil
}

// Turn is what a signer sends when it asks for the next proposal: which keys it has, and its answer to the
// proposal before, if there was one. Every connection is the signer's; the index only ever answers.
type Turn struct {
	Keys   []HeldKey
	Answer *Answer // nil: none yet, or it may have arrived already
	Hello  bool    // only to see whether the index listens: it does not wait for a proposal
}

// HeldKey is the public half of a key that a signer has.
type HeldKey struct {
	Name   string // of its file, such as "registry" or "snapshot"
	Public *key.Public
}

type wireTurn struct {
	Format int         `json:"bailiwick-signer"`
	Keys   []wireKey   `json:"keys"`
	Answer *wireAnswer `json:"answer,omitempty"`
	Hello  bool        `json:"hello,omitempty"`
}

type wireKey struct {
	Name   string `json:"name"`
	Type   string `json:"keytype"`
	Scheme string `json:"scheme"`
	Public string `json:"public"`
}

// maxKeys bounds the keys of a signer.
const (
	maxKeys    = 64
	maxKeyName = 200 // bytes
)

// Encode returns the turn as it is sent.
func (t *Turn) Encode() ([]byte, error) {
	w := wireTurn{Format: format, Hello: t.Hello}
	for _, k := range t.Keys {
		w.Keys = append(w.Keys, wireKey{k.Name, k.Public.Type(), k.Public.Scheme(), k.Public.Value()})
	}
	if t.Answer != nil {
		w.Answer = t.Answer.wire()
	}
	data, err := json.Marshal(w)
	if err != nil {
		return nil, fmt.Errorf("encoding an answer: %w", err)
	}
	return data, nil
}

// DecodeTurn reads a turn, as strictly as [DecodeAnswer].
func DecodeTurn(data []byte) (*Turn, error) {
	var w wireTurn
	if err := decodeJSON(data, &w); err != nil {
		return nil, err
	}
	if w.Format != format || len(w.Keys) == 0 || len(w.Keys) > maxKeys {
		return nil, refuse(Malformed, "", "this does not come from a signer of form %d: it names between 1 and %d keys", format, maxKeys)
	}
	t := &Turn{Hello: w.Hello}
	for _, k := range w.Keys {
		public, err := key.New(k.Type, k.Scheme, k.Public)
		if err != nil || len(k.Name) > maxKeyName {
			return nil, refuse(Malformed, "", "the signer's key %.80q can not be used: %v", k.Name, err)
		}
		t.Keys = append(t.Keys, HeldKey{k.Name, public})
	}
	if w.Answer != nil {
		var err error
		if t.Answer, err = w.Answer.answer(); err != nil {
			return nil, err
		}
	}
	return t, nil
}
