//go:build cgo && pkcs11

package pkcs11_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"testing"

	"example.com/bailiwick/internal/keys/pkcs11"
	"example.com/bailiwick/tuf/key"
)

func der(t *testing.T, v any) []byte {
	t.Helper()
	data, err := asn1.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestCurvePoint: tokens write the same key in several ways.
func TestCurvePoint(t *testing.T) {
	edPublic, _, err1 := ed25519.GenerateKey(rand.Reader)
	p256, err2 := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	p384, err3 := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	point := func(k *ecdsa.PrivateKey) []byte {
		b, err := k.PublicKey.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	oid := func(n ...int) []byte { return der(t, asn1.ObjectIdentifier(n)) }
	name, err := asn1.MarshalWithParams("edwards25519", "printable")
	if err != nil {
		t.Fatal(err)
	}
	p256OID, p384OID, edOID := oid(1, 2, 840, 10045, 3, 1, 7), oid(1, 3, 132, 0, 34), oid(1, 3, 101, 112)
	bits := func(b []byte) []byte { return der(t, asn1.BitString{Bytes: b, BitLength: 8 * len(b)}) }
	for what, c := range map[string]struct {
		params, point []byte
		public        any
	}{
		"Ed25519 by name":            {params: name, point: der(t, []byte(edPublic)), public: edPublic},
		"Ed25519 by number":          {params: edOID, point: der(t, []byte(edPublic)), public: edPublic},
		"Ed25519 by GNU's number":    {params: oid(1, 3, 6, 1, 4, 1, 11591, 15, 1), point: der(t, []byte(edPublic)), public: edPublic},
		"Ed25519, bare":              {params: edOID, point: edPublic, public: edPublic},
		"Ed25519 as a bit string":    {params: edOID, point: bits(edPublic), public: edPublic},
		"P-256":                      {params: p256OID, point: der(t, point(p256)), public: &p256.PublicKey},
		"P-256, bare":                {params: p256OID, point: point(p256), public: &p256.PublicKey},
		"P-384 as a bit string":      {params: p384OID, point: bits(point(p384)), public: &p384.PublicKey},
		"P-256 on the wrong curve":   {params: p384OID, point: der(t, point(p256))},
		"P-521":                      {params: oid(1, 3, 132, 0, 35), point: der(t, point(p256))},
		"short Ed25519":              {params: edOID, point: der(t, []byte(edPublic[:31]))},
		"Ed25519 by name, short":     {params: name, point: der(t, []byte(edPublic[:31]))},
		"nothing":                    {},
		"no curve":                   {point: der(t, point(p256))},
		"no point":                   {params: p256OID},
		"garbage behind the curve":   {params: append(p256OID[:len(p256OID):len(p256OID)], 0), point: der(t, point(p256))},
		"a point that is not on it":  {params: p256OID, point: append([]byte{4}, make([]byte, 64)...)},
		"a curve that is a sentence": {params: der(t, "x25519"), point: der(t, []byte(edPublic))},
	} {
		got, err := pkcs11.CurvePoint(c.params, c.point)
		if c.public == nil {
			if !errors.Is(err, pkcs11.ErrKind) {
				t.Errorf("%s: %v, %v", what, got, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		want, err1 := key.FromCrypto(c.public)
		have, err2 := key.FromCrypto(got)
		if err1 != nil || err2 != nil || want.ID() != have.ID() {
			t.Errorf("%s: another key; %v, %v", what, err1, err2)
		}
	}
}

// TestDEROf: leading zeros go, and a high bit gets one.
func TestDEROf(t *testing.T) {
	for raw, want := range map[string]string{
		"0001" + "0080": "3007020101" + "02020080",
		"7fff" + "0000": "3007" + "02027fff" + "020100",
	} {
		in, err := hex.DecodeString(raw)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := pkcs11.DEROf(in); err != nil || hex.EncodeToString(got) != want {
			t.Errorf("%s: %x, %v; want %s", raw, got, err, want)
		}
	}
	for _, bad := range [][]byte{nil, {1}, {1, 2, 3}} {
		if _, err := pkcs11.DEROf(bad); !errors.Is(err, key.ErrBadSignature) {
			t.Errorf("%x: %v", bad, err)
		}
	}
}
