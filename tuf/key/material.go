package key

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
)

// decoder returns the function that reads the public value of a kind of key, or
// nil for a kind that is not supported. Older repositories give the scheme of an
// ECDSA key as its type.
func decoder(keytype, scheme string) func(string) (crypto.PublicKey, error) {
	switch {
	case keytype == TypeEd25519 && scheme == SchemeEd25519:
		return decodeEd25519
	case scheme == SchemeECDSAP256 && (keytype == TypeECDSA || keytype == scheme):
		return func(s string) (crypto.PublicKey, error) { return decodeECDSA(s, elliptic.P256()) }
	case scheme == SchemeECDSAP384 && (keytype == TypeECDSA || keytype == scheme):
		return func(s string) (crypto.PublicKey, error) { return decodeECDSA(s, elliptic.P384()) }
	case keytype == TypeRSA && scheme == SchemeRSAPSS256:
		return decodeRSA
	default:
		return nil
	}
}

func decodeEd25519(public string) (crypto.PublicKey, error) {
	if len(public) != 2*ed25519.PublicKeySize {
		return nil, fmt.Errorf("%d characters instead of %d hex digits", len(public), 2*ed25519.PublicKeySize)
	}
	raw, err := hex.DecodeString(public)
	if err != nil {
		return nil, errors.New("not hex digits")
	}
	if weakPoint(raw) {
		return nil, errors.New("a point of small order, or one that is not written canonically: anyone could sign for it")
	}
	return ed25519.PublicKey(raw), nil
}

// smallOrder lists the y coordinates, little endian, of the points of order 1,
// 2, 4 and 8. A signature under such a key needs no private key at all.
var smallOrder = [...]string{
	"0000000000000000000000000000000000000000000000000000000000000000",
	"0100000000000000000000000000000000000000000000000000000000000000",
	"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
	"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
}

// weakPoint reports whether raw encodes a point of small order, or a y coordinate
// of 2^255-19 or more, which would give one point two spellings.
func weakPoint(raw []byte) bool {
	y := [ed25519.PublicKeySize]byte(raw)
	y[31] &= 0x7f // the sign of x
	text := hex.EncodeToString(y[:])
	for _, point := range smallOrder {
		if text == point {
			return true
		}
	}
	if y[0] < 0xed || y[31] != 0x7f {
		return false
	}
	for _, b := range y[1:31] {
		if b != 0xff {
			return false
		}
	}
	return true
}

// decodeECDSA reads a PEM block, or the uncompressed point in hex that some
// deployed repositories use.
func decodeECDSA(public string, curve elliptic.Curve) (crypto.PublicKey, error) {
	if strings.HasPrefix(public, "04") {
		point, err := hex.DecodeString(public)
		if err != nil {
			return nil, errors.New("neither PEM nor hex digits")
		}
		return ecdsa.ParseUncompressedPublicKey(curve, point)
	}
	parsed, err := decodePEM(public)
	if err != nil {
		return nil, err
	}
	k, ok := parsed.(*ecdsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("the PEM block holds another kind of key (%T)", parsed)
	}
	if k.Curve != curve {
		return nil, errors.New("the key lies on another curve than the scheme says")
	}
	return k, nil
}

func decodeRSA(public string) (crypto.PublicKey, error) {
	parsed, err := decodePEM(public)
	if err != nil {
		return nil, err
	}
	k, ok := parsed.(*rsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("the PEM block holds another kind of key (%T)", parsed)
	}
	if bits := k.N.BitLen(); bits < MinRSABits || bits > MaxRSABits {
		return nil, fmt.Errorf("%d bits, allowed are %d to %d", bits, MinRSABits, MaxRSABits)
	}
	return k, nil
}

// decodePEM reads the one block of text. Nothing may stand around it: a second
// block would be a second key that nobody looks at.
func decodePEM(text string) (crypto.PublicKey, error) {
	if !strings.HasPrefix(text, "-----BEGIN ") {
		return nil, errors.New("not a PEM block")
	}
	block, rest := pem.Decode([]byte(text))
	if block == nil {
		return nil, errors.New("not a PEM block")
	}
	if strings.TrimSpace(string(rest)) != "" {
		return nil, errors.New("something follows the PEM block")
	}
	switch block.Type {
	case "PUBLIC KEY":
		return x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		return x509.ParsePKCS1PublicKey(block.Bytes)
	default:
		return nil, fmt.Errorf("a PEM block of type %q instead of PUBLIC KEY", clip(block.Type))
	}
}

// fromPEM writes a key as other TUF tools do: PEM with a final line break.
func fromPEM(keytype, scheme string, public crypto.PublicKey) (*Public, error) {
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrMalformed, scheme, err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	return New(keytype, scheme, string(text))
}

// schemeOfCurve returns the scheme that goes with the curve of a key.
func schemeOfCurve(k *ecdsa.PublicKey) (string, bool) {
	switch {
	case k == nil:
		return "", false
	case k.Curve == elliptic.P256():
		return SchemeECDSAP256, true
	case k.Curve == elliptic.P384():
		return SchemeECDSAP384, true
	default:
		return "", false
	}
}
