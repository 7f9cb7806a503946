package ceremony

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"

	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/cjson"
	"example.com/bailiwick/tuf/key"
)

// Targets returns what the payload of a role says, however few have signed it. It is for showing
// to people before they sign, and for checks that come before signatures; nothing may be trusted
// because it is in there. The error is a *Refused.
func (r *Request) Targets(role tuf.RoleName) (*tuf.Targets, error) {
	p := r.Payload(role)
	if p == nil {
		return nil, refuse(Unknown, role, "the request has nothing to sign for %s", role)
	}
	return p.read()
}

// read parses the message of a payload. Package tuf hands out content for a threshold of good
// signatures only, on purpose. Here the content of what nobody has signed yet is looked at, so
// this function signs a throw-away copy with a key that everybody knows.
func (p *Payload) read() (*tuf.Targets, error) {
	public, err := key.NewSigner(ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
	if err != nil {
		return nil, err
	}
	nobody, err := tuf.NewAuthority(1, public.Public())
	if err != nil {
		return nil, err
	}
	sig, err := public.Sign(context.Background(), p.Message)
	if err != nil {
		return nil, err
	}
	return p.verify(nobody, []tuf.Signature{{KeyID: public.Public().ID(), Sig: sig}})
}

// proof is a signature that verified when its payload was read.
type proof struct {
	key       *key.Public
	signature tuf.Signature
}

// of reports whether it is the proof for a signature by a key.
func (p proof) of(k *key.Public, s tuf.Signature) bool {
	return p.key != nil && p.key.Fingerprint() == k.Fingerprint() && p.signature.KeyID == s.KeyID && bytes.Equal(p.signature.Sig, s.Sig)
}

// open reads the message of a payload by a signature on it, where one is by a key of the project: that
// saves the throw-away signature, and the second look at the real one. Long lists take as long to hash as
// to parse. Whether the key has a say is asked later, of every signature.
func (j *judge) open(p *Payload) (*tuf.Targets, error) {
	for _, s := range p.Signatures {
		k := j.keyOf(s.KeyID)
		if k == nil {
			continue
		}
		a, err := tuf.NewAuthority(1, k)
		if err != nil {
			continue
		}
		t, err := p.verify(a, []tuf.Signature{s})
		if err != nil {
			break // what is wrong with it is said where its turn comes
		}
		j.proven[p.Role] = proof{k, s}
		return t, nil
	}
	return p.read()
}

// keyOf returns a key of the project by its id, or of one of its sub-roles, as published or as the request has
// it; nil if there is none.
func (j *judge) keyOf(id key.ID) *key.Public {
	authorities := []tuf.Authority{j.s.Authority, j.s.Owners}
	for _, sub := range j.s.Subs {
		if a, err := sub.Delegation.Authority(); err == nil {
			authorities = append(authorities, a)
		}
	}
	for _, a := range authorities {
		if k, ok := a.Key(id); ok && k.ID() == id {
			return k
		}
	}
	for _, k := range j.r.Keys {
		if k.ID() == id {
			return k
		}
	}
	return nil
}

// verify parses the message and verifies it under an authority.
func (p *Payload) verify(a tuf.Authority, signatures []tuf.Signature) (*tuf.Targets, error) {
	u, err := tuf.ParseTargets(p.envelope(signatures), nil)
	var malformed *tuf.MalformedError
	if errors.As(err, &malformed) {
		return nil, refuse(Malformed, p.Role, "the payload of %s is no targets metadata: %s", p.Role, malformed.Reason)
	}
	if err != nil {
		return nil, refuse(Malformed, p.Role, "the payload of %s is no targets metadata: %v", p.Role, err)
	}
	if !bytes.Equal(u.Message(), p.Message) {
		return nil, refuse(Malformed, p.Role, "the payload of %s is not in canonical form; encode it as canonical JSON and sign it again", p.Role)
	}
	t, err := u.Verify(a)
	if err != nil {
		return nil, refuse(BadSignature, p.Role, "the payload of %s: %v", p.Role, err)
	}
	return t, nil
}

// envelope returns the file that the message and signatures make.
func (p *Payload) envelope(signatures []tuf.Signature) []byte {
	return tuf.AppendEnvelope(make([]byte, 0, len(p.Message)+256*(len(signatures)+1)), p.Message, signatures)
}

// memberRoleName is the additional member by which a targets role names itself.
const memberRoleName = "role_name"

// names reports whether a role names itself so. Every role that a maintainer signs has to: the
// signature covers the name only in this way.
func names(t *tuf.Targets, role tuf.RoleName) bool {
	raw, ok := t.Member(memberRoleName)
	if !ok {
		return false
	}
	name, err := cjson.Canonical(raw, 0)
	return err == nil && bytes.Equal(name, cjson.AppendString(nil, role))
}
