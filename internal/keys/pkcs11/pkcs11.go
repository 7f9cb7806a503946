// Package pkcs11 signs with private keys that live in PKCS #11 tokens: hardware security modules, smart
// cards, YubiKeys (PIV), SoftHSM. Keys are named by URIs as in RFC 7512; the interface to the tokens
// is that of PKCS #11 v2.40, and its EdDSA as in v3.0.
//
// A token is driven through a library of its maker, which is C. So the part that does it needs cgo and
// is compiled with the build tag pkcs11 alone; without it, [Load] is [ErrNotBuilt], and everything
// else, such as [ParseURI], is as with it.
//
// What always holds:
//
//   - A PIN comes from a [PIN] function, never from a URI. It is given to a token once, and never
//     again by itself when it was wrong: tokens count, and lock. No error holds one.
//   - Signatures come in the form of TUF metadata: DER for ECDSA, whatever the token makes for the rest.
//     They are not verified here.
//   - Of each library there is one [Module] in a process; it has one session with each token.
//
// A Module and its keys may be used from several goroutines; tokens are asked one question at a time.
package pkcs11

import (
	"context"
	"errors"

	"example.com/bailiwick/tuf/key"
)

// Errors of this package, wrapped in an error that names the token or the attribute.
var (
	// ErrURI: this is no PKCS #11 URI, or has something that is not known here.
	ErrURI = errors.New("not a PKCS #11 URI that is understood here")
	// ErrNotBuilt: this program was built without PKCS #11.
	ErrNotBuilt = errors.New("this build of bailiwick can not use PKCS #11 tokens: install the one that can, " +
		"or build it with CGO_ENABLED=1 go build -tags pkcs11,netgo ./cmd/bailiwick, or ./cmd/bailiwick-sign")
	// ErrModule: the library of the token can not be loaded.
	ErrModule = errors.New("the PKCS #11 module can not be used")
	// ErrNoToken: no token that is plugged in is the one that was named.
	ErrNoToken = errors.New("no such token")
	// ErrSeveralTokens: several tokens are meant, and one is wanted.
	ErrSeveralTokens = errors.New("several tokens")
	// ErrNoKey: the token does not hold that key.
	ErrNoKey = errors.New("no such key in the token")
	// ErrPIN: the PIN was wrong, or is locked. It is not tried again.
	ErrPIN = errors.New("wrong PIN")
	// ErrKind: the key is of a kind, or has rights, with which it makes no TUF signatures.
	ErrKind = errors.New("this key can not make TUF signatures")
)

// PIN gives the PIN of a token. The slice is wiped after use. lastTry says that the token locks itself
// if this one is wrong: something that does not ask a person refuses then.
type PIN func(ctx context.Context, token string, lastTry bool) ([]byte, error)

// Object is a key in a token.
type Object struct {
	// URI names this key alone.
	URI URI
	// Public is the public key; nil if Problem says why there is none.
	Public *key.Public
	// Problem says why the key can not be used; nil if it can.
	Problem error
}

// Key is a private key in a token. It is a key.Signer.
type Key struct {
	Object
	sign func(ctx context.Context, message []byte) ([]byte, error)
}

var _ key.Signer = (*signer)(nil)

// Signer returns what signs with the key; nil if there is a Problem.
func (k *Key) Signer() key.Signer {
	if k.Problem != nil {
		return nil
	}
	return &signer{k}
}

type signer struct{ key *Key }

// Public implements key.Signer.
func (s *signer) Public() *key.Public { return s.key.Public }

// Sign implements key.Signer. The token may ask for its PIN, a touch or both at every signature.
func (s *signer) Sign(ctx context.Context, message []byte) ([]byte, error) {
	return s.key.sign(ctx, message)
}
