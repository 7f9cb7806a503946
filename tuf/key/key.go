// Package key holds the public keys of TUF metadata: their written form, the
// identifier that metadata knows them by, and the verification of signatures.
//
// It follows sections 4.2 and 4.3 of the TUF specification. Supported are
//
//	keytype                          scheme               public
//	ed25519                          ed25519              64 hex digits
//	ecdsa, ecdsa-sha2-nistp256       ecdsa-sha2-nistp256  PEM, or the point in hex
//	ecdsa, ecdsa-sha2-nistp384       ecdsa-sha2-nistp384  PEM, or the point in hex
//	rsa                              rsassa-pss-sha256    PEM, 2048 to 8192 bits
//
// Anything else is ErrUnsupported, which a client answers by ignoring the key,
// so that a repository can introduce a scheme before all its clients know it.
//
// Invariants:
//
//   - The scheme belongs to the key. A signature never says how it is checked.
//   - Two spellings of one key (PEM with other line breaks, hex for PEM, another
//     scheme) have one Fingerprint. Thresholds count fingerprints, never IDs.
//   - No input makes a function of this package panic.
//
// Everything here is public: nothing needs constant time, and comparisons are
// ordinary ones. Values are immutable and safe for concurrent use. Private keys
// appear only behind Signer and never leave it.
package key

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"unicode/utf8"
)

// The key types and schemes that this package can verify.
const (
	TypeEd25519 = "ed25519"
	TypeECDSA   = "ecdsa"
	TypeRSA     = "rsa"

	SchemeEd25519   = "ed25519"
	SchemeECDSAP256 = "ecdsa-sha2-nistp256"
	SchemeECDSAP384 = "ecdsa-sha2-nistp384"
	SchemeRSAPSS256 = "rsassa-pss-sha256"
)

// The sizes that an RSA key may have, in bits. The lower bound is that of the
// specification (4.2.2); the upper one bounds the cost of a verification.
const (
	MinRSABits = 2048
	MaxRSABits = 8192
)

// MaxPublicBytes bounds the written form of a public key. An RSA key of
// MaxRSABits takes about 1,500 bytes of PEM.
const MaxPublicBytes = 8192

// ErrUnsupported is returned for a key whose type or scheme this package does
// not know. A client ignores such a key; it is not a reason to refuse the file.
var ErrUnsupported = errors.New("unsupported key type or scheme")

// ErrMalformed is returned for a key of a known type whose public value can not
// be used: wrong length, wrong curve, too short, not a point, not PEM.
var ErrMalformed = errors.New("malformed public key")

// ID is the identifier of a key in metadata: the lower-case hex SHA-256 of the
// canonical form of its KEY object.
type ID string

// Public is a public key together with the scheme that its signatures use. Make
// one with New or FromCrypto; the zero value verifies nothing.
type Public struct {
	keytype, scheme, value string
	material               crypto.PublicKey
	fingerprint            [sha256.Size]byte
}

// New makes a key from the three strings of a KEY object, as metadata writes
// them. It returns ErrUnsupported for an unknown type or scheme, or for a scheme
// that does not belong to the type, and ErrMalformed for a value that is not a
// usable key of that kind.
func New(keytype, scheme, public string) (*Public, error) {
	decode := decoder(keytype, scheme)
	if decode == nil {
		return nil, fmt.Errorf("%w: keytype %q, scheme %q", ErrUnsupported, clip(keytype), clip(scheme))
	}
	if len(public) > MaxPublicBytes {
		return nil, fmt.Errorf("%w: %s: %d bytes, at most %d are allowed", ErrMalformed, scheme, len(public), MaxPublicBytes)
	}
	if !utf8.ValidString(public) {
		return nil, fmt.Errorf("%w: %s: not UTF-8", ErrMalformed, scheme)
	}
	material, err := decode(public)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrMalformed, scheme, err)
	}
	return seal(keytype, scheme, public, material)
}

// FromCrypto makes a key from a public key of the standard library: ed25519,
// ECDSA on P-256 or P-384, or RSA of MinRSABits to MaxRSABits. Each kind gets its
// recommended type and scheme, and the form in which other TUF tools write it.
func FromCrypto(public crypto.PublicKey) (*Public, error) {
	switch k := public.(type) {
	case ed25519.PublicKey:
		return New(TypeEd25519, SchemeEd25519, hex.EncodeToString(k))
	case *ecdsa.PublicKey:
		scheme, ok := schemeOfCurve(k)
		if !ok {
			return nil, fmt.Errorf("%w: ECDSA on a curve other than P-256 and P-384", ErrUnsupported)
		}
		//nolint:staticcheck // the encoders panic on a key without a point, so this must ask
		if k.X == nil || k.Y == nil {
			return nil, fmt.Errorf("%w: %s: no point", ErrMalformed, scheme)
		}
		return fromPEM(TypeECDSA, scheme, k)
	case *rsa.PublicKey:
		if k == nil || k.N == nil {
			return nil, fmt.Errorf("%w: empty RSA key", ErrMalformed)
		}
		return fromPEM(TypeRSA, SchemeRSAPSS256, k)
	default:
		return nil, fmt.Errorf("%w: %T", ErrUnsupported, public)
	}
}

// seal computes what depends on the decoded key. The DER form of a key is unique,
// so its hash names the key however metadata happened to spell it. The scheme
// takes no part: one key under two schemes is still one key holder.
func seal(keytype, scheme, value string, material crypto.PublicKey) (*Public, error) {
	der, err := x509.MarshalPKIXPublicKey(material)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrMalformed, scheme, err)
	}
	return &Public{
		keytype: keytype, scheme: scheme, value: value,
		material: material, fingerprint: sha256.Sum256(der),
	}, nil
}

// Type returns the keytype as metadata writes it.
func (k *Public) Type() string { return k.keytype }

// Scheme returns the signature scheme as metadata writes it.
func (k *Public) Scheme() string { return k.scheme }

// Value returns the public value as metadata writes it: hex or PEM.
func (k *Public) Value() string { return k.value }

// Fingerprint returns the SHA-256 of the decoded key (its DER form). Two keys
// with the same fingerprint are the same key, however they are spelled.
func (k *Public) Fingerprint() [sha256.Size]byte { return k.fingerprint }

// ID returns the identifier of the plain KEY object of k, the one that
// AppendCanonical writes. A KEY object with further members has another ID.
func (k *Public) ID() ID {
	sum := sha256.Sum256(k.AppendCanonical(nil))
	return ID(hex.EncodeToString(sum[:]))
}

// AppendCanonical appends the canonical JSON of the KEY object of k: keytype,
// keyval with its public value, and scheme. PEM keeps its line breaks as they
// are, so the result is for hashing and signing; cjson.AppendWire makes it JSON.
func (k *Public) AppendCanonical(dst []byte) []byte {
	dst = append(dst, `{"keytype":`...)
	dst = appendString(dst, k.keytype)
	dst = append(dst, `,"keyval":{"public":`...)
	dst = appendString(dst, k.value)
	dst = append(dst, `},"scheme":`...)
	dst = appendString(dst, k.scheme)
	return append(dst, '}')
}

// appendString writes a canonical string. It repeats a few lines of cjson so that
// this package imports nothing of ours.
func appendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	for i := range len(s) {
		if s[i] == '"' || s[i] == '\\' {
			dst = append(dst, '\\')
		}
		dst = append(dst, s[i])
	}
	return append(dst, '"')
}

// clip shortens a string from outside for an error message.
func clip(s string) string {
	const most = 40
	if len(s) <= most {
		return s
	}
	return s[:most] + "..."
}
