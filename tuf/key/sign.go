package key

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
)

// Verify reports whether sig is a signature of message by k, under the scheme of
// k. Signatures of any length are fine; those of a wrong length are wrong.
//
// RSA signatures may have any salt length. Other tools write either the length of
// the digest or the longest that fits, and a verifier gains nothing by insisting.
func (k *Public) Verify(message, sig []byte) bool {
	switch material := k.material.(type) {
	case ed25519.PublicKey:
		return len(sig) == ed25519.SignatureSize && ed25519.Verify(material, message, sig)
	case *ecdsa.PublicKey:
		return ecdsa.VerifyASN1(material, k.digest(message), sig)
	case *rsa.PublicKey:
		options := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthAuto}
		return rsa.VerifyPSS(material, crypto.SHA256, k.digest(message), sig, options) == nil
	default:
		return false
	}
}

// digest hashes a message as the scheme of k asks. ed25519 takes the message itself.
func (k *Public) digest(message []byte) []byte {
	switch k.scheme {
	case SchemeEd25519:
		return message
	case SchemeECDSAP384:
		sum := sha512.Sum384(message)
		return sum[:]
	default:
		sum := sha256.Sum256(message)
		return sum[:]
	}
}

// Signer makes signatures with one private key, wherever that key lives: in
// memory, in an agent, in a token, at a remote service.
type Signer interface {
	// Public returns the key that verifies what Sign makes. It does not block
	// and always returns the same key.
	Public() *Public
	// Sign returns a signature of message. It may block and must end soon after
	// ctx ends. It may be called again after an error, and by several goroutines.
	Sign(ctx context.Context, message []byte) ([]byte, error)
}

// ErrBadSignature is returned when a private key makes signatures that its own
// public key does not verify: the two do not belong together, or a device is broken.
var ErrBadSignature = errors.New("the signature just made does not verify under its own public key")

// NewSigner makes a Signer of a private key of the standard library, or of
// anything else that implements crypto.Signer. It fails where FromCrypto fails.
func NewSigner(private crypto.Signer) (Signer, error) {
	if private == nil {
		return nil, fmt.Errorf("%w: no private key", ErrMalformed)
	}
	k, inMemory := private.(ed25519.PrivateKey)
	if inMemory && len(k) != ed25519.PrivateKeySize {
		return nil, fmt.Errorf("%w: ed25519 private key of %d bytes", ErrMalformed, len(k))
	}
	if inMemory && !k.Equal(ed25519.NewKeyFromSeed(k.Seed())) {
		return nil, fmt.Errorf("%w: an ed25519 private key whose second half is not the public key of the first", ErrMalformed)
	}
	public, err := FromCrypto(private.Public())
	if err != nil {
		return nil, err
	}
	return &signer{public: public, private: private, sure: inMemory}, nil
}

// GenerateEd25519 makes a new key. The private key is returned for storage; the
// Signer signs with it.
func GenerateEd25519() (ed25519.PrivateKey, Signer, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("generating an ed25519 key: %w", err)
	}
	s, err := NewSigner(private)
	if err != nil {
		return nil, nil, err
	}
	return private, s, nil
}

// signer signs with a crypto.Signer.
type signer struct {
	public  *Public
	private crypto.Signer
	sure    bool // the halves of the key belong together, and the standard library signs
}

// Public implements Signer.
func (s *signer) Public() *Public { return s.public }

// Sign implements Signer. It verifies what others made for it, because a device may be
// broken or hold another key, and a signature that does not verify would be noticed only
// by clients. An ed25519 key in memory was checked by NewSigner; to verify its signature
// would cost as much as to make it, and whoever assembles metadata verifies it anyhow.
func (s *signer) Sign(ctx context.Context, message []byte) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var options crypto.SignerOpts
	switch s.public.scheme {
	case SchemeEd25519:
		options = crypto.Hash(0)
	case SchemeECDSAP384:
		options = crypto.SHA384
	case SchemeRSAPSS256:
		options = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256}
	default:
		options = crypto.SHA256
	}
	sig, err := s.private.Sign(rand.Reader, s.public.digest(message), options)
	if err != nil {
		return nil, fmt.Errorf("signing with key %s: %w", s.public.ID(), err)
	}
	if !s.sure && !s.public.Verify(message, sig) {
		return nil, fmt.Errorf("signing with key %s: %w", s.public.ID(), ErrBadSignature)
	}
	return sig, nil
}
