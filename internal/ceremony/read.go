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

// verify parses the message and verifies it under an authority.
func (p *Payload) verify(a tuf.Authority, signatures []tuf.Signature) (*tuf.Targets, error) {
	u, err := tuf.ParseTargets(tuf.AppendEnvelope(nil, p.Message, signatures), nil)
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
