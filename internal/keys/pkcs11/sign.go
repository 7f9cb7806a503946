//go:build cgo && pkcs11

package pkcs11

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"

	p11 "github.com/miekg/pkcs11"

	"example.com/bailiwick/tuf/key"
)

// privateKey signs with one key of a token.
type privateKey struct {
	module  *Module
	session *session
	token   token
	handle  p11.ObjectHandle
	public  *key.Public
	pin     PIN
	always  bool // the token wants its PIN at every signature (CKA_ALWAYS_AUTHENTICATE)
}

// sign makes a signature in the form of TUF metadata.
func (k *privateKey) sign(ctx context.Context, message []byte) ([]byte, error) {
	mechanism, input := k.prepare(message)
	var secret []byte
	if k.always {
		var err error
		if secret, err = k.askAgain(ctx); err != nil {
			return nil, err
		}
		defer clear(secret)
	}
	pin := string(secret) // its own copy: the call may outlast ctx
	raw, err := run(ctx, k.module, func() ([]byte, error) { return k.ask(mechanism, input, pin) })
	if err != nil {
		return nil, err
	}
	if k.public.Type() == key.TypeECDSA {
		return derOf(raw)
	}
	return raw, nil
}

// prepare chooses the mechanism and what the token is given: digests where they are signed, because
// many tokens take no long messages, and a copy of the message for Ed25519.
func (k *privateKey) prepare(message []byte) (*p11.Mechanism, []byte) {
	switch k.public.Scheme() {
	case key.SchemeEd25519:
		return p11.NewMechanism(ckmEdDSA, nil), bytes.Clone(message)
	case key.SchemeECDSAP384:
		sum := sha512.Sum384(message)
		return p11.NewMechanism(p11.CKM_ECDSA, nil), sum[:]
	case key.SchemeRSAPSS256:
		sum := sha256.Sum256(message)
		return p11.NewMechanism(p11.CKM_RSA_PKCS_PSS, p11.NewPSSParams(p11.CKM_SHA256, p11.CKG_MGF1_SHA256, sha256.Size)), sum[:]
	default:
		sum := sha256.Sum256(message)
		return p11.NewMechanism(p11.CKM_ECDSA, nil), sum[:]
	}
}

// askAgain gets the PIN for one signature.
func (k *privateKey) askAgain(ctx context.Context) ([]byte, error) {
	flags, err := run(ctx, k.module, func() (uint, error) {
		if k.session.wrong != nil {
			return 0, k.session.wrong
		}
		info, err := k.module.ctx.GetTokenInfo(k.token.slot)
		if err != nil {
			return 0, k.session.gone("asking", err)
		}
		return info.Flags, nil
	})
	if err != nil {
		return nil, err
	}
	return askPIN(ctx, k.session, flags, k.pin)
}

// ask runs inside run.
func (k *privateKey) ask(mechanism *p11.Mechanism, input []byte, pin string) ([]byte, error) {
	m, s := k.module, k.session
	if err := m.ctx.SignInit(s.handle, []*p11.Mechanism{mechanism}, k.handle); err != nil {
		return nil, s.gone("signing with", err)
	}
	if k.always {
		if err := m.ctx.Login(s.handle, p11.CKU_CONTEXT_SPECIFIC, pin); err != nil {
			m.renew(s)
			return nil, s.loginError(err)
		}
	}
	sig, err := m.ctx.Sign(s.handle, input)
	if err != nil {
		m.renew(s)
		return nil, s.gone("signing with", err)
	}
	return sig, nil
}

// gone explains the error of a token that was pulled out.
func (s *session) gone(doing string, err error) error {
	var code p11.Error
	if errors.As(err, &code) {
		switch uint(code) {
		case p11.CKR_DEVICE_REMOVED, p11.CKR_TOKEN_NOT_PRESENT, p11.CKR_SESSION_HANDLE_INVALID, p11.CKR_SESSION_CLOSED, p11.CKR_USER_NOT_LOGGED_IN:
			return fmt.Errorf("%s the token %q: it was pulled out or logged out (%w); plug it in and start over", doing, s.name, err)
		case p11.CKR_DATA_LEN_RANGE, p11.CKR_DEVICE_MEMORY, p11.CKR_HOST_MEMORY:
			return fmt.Errorf("%s the token %q: what is to be signed is too long for it (%w); use an ECDSA key, which gets only a hash", doing, s.name, err)
		case p11.CKR_MECHANISM_INVALID:
			return fmt.Errorf("%s the token %q: it does not make such signatures (%w); use another kind of key", doing, s.name, err)
		}
	}
	return fmt.Errorf("%s the token %q: %w", doing, s.name, err)
}

// derOf turns r and s, side by side, into the DER of TUF (and of X9.62).
func derOf(raw []byte) ([]byte, error) {
	if len(raw) == 0 || len(raw)%2 != 0 {
		return nil, fmt.Errorf("the token's signature has %d bytes: %w", len(raw), key.ErrBadSignature)
	}
	half := len(raw) / 2
	der, err := asn1.Marshal(struct{ R, S *big.Int }{new(big.Int).SetBytes(raw[:half]), new(big.Int).SetBytes(raw[half:])})
	if err != nil {
		return nil, fmt.Errorf("the token's signature can not be written as DER: %w", key.ErrBadSignature)
	}
	return der, nil
}
