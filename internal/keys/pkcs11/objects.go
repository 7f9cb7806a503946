//go:build cgo && pkcs11

package pkcs11

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"math/big"

	p11 "github.com/miekg/pkcs11"

	"example.com/bailiwick/tuf/key"
)

// Numbers of PKCS #11 v3.0 that the binding does not name.
const (
	ckkECEdwards = 0x40
	ckmEdDSA     = 0x1057
)

// The curves, as CKA_EC_PARAMS writes them: an object identifier, or for Ed25519 also its name.
var (
	oidP256    = asn1.ObjectIdentifier{1, 2, 840, 10045, 3, 1, 7}
	oidP384    = asn1.ObjectIdentifier{1, 3, 132, 0, 34}
	oidEd25519 = asn1.ObjectIdentifier{1, 3, 101, 112}
	oidGNU     = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11591, 15, 1} // Ed25519, in older software
)

// objects finds handles by class and, where they are given, label and id. It runs inside run, like all
// of this file.
func (m *Module) objects(s *session, class uint, label string, id []byte) ([]p11.ObjectHandle, error) {
	template := []*p11.Attribute{p11.NewAttribute(p11.CKA_CLASS, class)}
	if label != "" {
		template = append(template, p11.NewAttribute(p11.CKA_LABEL, label))
	}
	if len(id) > 0 {
		template = append(template, p11.NewAttribute(p11.CKA_ID, id))
	}
	if err := m.ctx.FindObjectsInit(s.handle, template); err != nil {
		return nil, s.gone("looking for keys in", err)
	}
	var all []p11.ObjectHandle
	for {
		some, _, err := m.ctx.FindObjects(s.handle, 100)
		if err != nil {
			_ = m.ctx.FindObjectsFinal(s.handle) // the search is over in any case
			return nil, s.gone("looking for keys in", err)
		}
		all = append(all, some...)
		if len(some) == 0 || len(all) > maxObjects {
			break
		}
	}
	if err := m.ctx.FindObjectsFinal(s.handle); err != nil {
		return nil, s.gone("looking for keys in", err)
	}
	if len(all) > maxObjects {
		return nil, fmt.Errorf("the token %q holds more than %d such objects: name the key by object or id", s.name, maxObjects)
	}
	return all, nil
}

// attribute reads one attribute; nil if the object has none, or does not show it.
func (m *Module) attribute(s *session, o p11.ObjectHandle, kind uint) []byte {
	got, err := m.ctx.GetAttributeValue(s.handle, o, []*p11.Attribute{p11.NewAttribute(kind, nil)})
	if err != nil || len(got) != 1 {
		return nil
	}
	return got[0].Value
}

// number reads an attribute that is a CK_ULONG, in the byte order and size of this machine.
func (m *Module) number(s *session, o p11.ObjectHandle, kind uint) (uint, bool) {
	value := m.attribute(s, o, kind)
	if len(value) == 0 || len(value) > 8 {
		return 0, false
	}
	for _, n := range []uint{p11.CKK_RSA, p11.CKK_EC, ckkECEdwards} { // the binding writes, but does not read them
		if bytes.Equal(value, p11.NewAttribute(kind, n).Value) {
			return n, true
		}
	}
	return 0, false
}

func isTrue(value []byte) bool { return len(value) == 1 && value[0] != 0 }

// name is the URI of an object.
func (m *Module) name(s *session, t token, o p11.ObjectHandle, u URI) URI {
	named := t.uri()
	named.Object = string(bytes.TrimRight(m.attribute(s, o, p11.CKA_LABEL), "\x00"))
	named.ID = m.attribute(s, o, p11.CKA_ID)
	named.ModulePath, named.PINSource = m.path, u.PINSource
	return named
}

// public lists what can be seen without a login.
func (m *Module) public(s *session, t token, u URI) ([]Object, error) {
	var all []Object
	seen := make(map[string]bool)
	for _, class := range []uint{p11.CKO_PUBLIC_KEY, p11.CKO_CERTIFICATE} {
		handles, err := m.objects(s, class, u.Object, u.ID)
		if err != nil {
			return nil, err
		}
		for _, o := range handles {
			object := Object{URI: m.name(s, t, o, u)}
			if class == p11.CKO_CERTIFICATE {
				object.Public, object.Problem = m.certified(s, o)
				object.URI.Object = "" // the label is that of the certificate
			} else {
				object.Public, object.Problem = m.readPublic(s, o)
			}
			id := string(object.URI.ID)
			if class == p11.CKO_CERTIFICATE && (id == "" || seen[id] || object.Problem != nil) {
				continue // of an authority, or of a key that was listed
			}
			seen[id] = true
			all = append(all, object)
		}
	}
	return all, nil
}

// private finds private keys, and the public half of each.
func (m *Module) private(s *session, t token, u URI, pin PIN) ([]*Key, error) {
	handles, err := m.objects(s, p11.CKO_PRIVATE_KEY, u.Object, u.ID)
	if err != nil {
		return nil, err
	}
	var all []*Key
	for _, o := range handles {
		k := &Key{Object: Object{URI: m.name(s, t, o, u)}}
		if signs := m.attribute(s, o, p11.CKA_SIGN); len(signs) == 1 && !isTrue(signs) {
			k.Problem = fmt.Errorf("%w: its attributes do not allow it to sign", ErrKind)
		} else {
			k.Public, k.Problem = m.publicHalf(s, o, k.URI)
		}
		if k.Problem == nil {
			p := &privateKey{module: m, session: s, token: t, handle: o, public: k.Public, pin: pin, always: isTrue(m.attribute(s, o, p11.CKA_ALWAYS_AUTHENTICATE))}
			k.sign = p.sign
		}
		all = append(all, k)
	}
	return all, nil
}

// publicHalf looks for the public key of a private one: in the public key object of the same id (or
// label), in a certificate of the same id, in the private key itself.
func (m *Module) publicHalf(s *session, o p11.ObjectHandle, u URI) (*key.Public, error) {
	label := u.Object
	if len(u.ID) > 0 {
		label = ""
	}
	if label != "" || len(u.ID) > 0 {
		handles, err := m.objects(s, p11.CKO_PUBLIC_KEY, label, u.ID)
		if err != nil {
			return nil, err
		}
		if len(handles) == 1 {
			return m.readPublic(s, handles[0])
		}
		if len(handles) > 1 {
			return nil, fmt.Errorf("%w: the token holds %d public keys of its id or label, so which is its own can not be told", ErrKind, len(handles))
		}
	}
	if len(u.ID) > 0 {
		handles, err := m.objects(s, p11.CKO_CERTIFICATE, "", u.ID)
		if err != nil {
			return nil, err
		}
		if len(handles) == 1 {
			return m.certified(s, handles[0])
		}
	}
	public, err := m.readPublic(s, o)
	if err != nil {
		return nil, fmt.Errorf("%w: neither its public key nor its certificate lies beside it", ErrKind)
	}
	return public, nil
}

// certified reads the public key in a certificate.
func (m *Module) certified(s *session, o p11.ObjectHandle) (*key.Public, error) {
	cert, err := x509.ParseCertificate(m.attribute(s, o, p11.CKA_VALUE))
	if err != nil {
		return nil, fmt.Errorf("%w: its certificate can not be read", ErrKind)
	}
	return supported(cert.PublicKey)
}

func supported(public crypto.PublicKey) (*key.Public, error) {
	k, err := key.FromCrypto(public)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKind, err)
	}
	return k, nil
}

// readPublic reads the public key from the attributes of an object.
func (m *Module) readPublic(s *session, o p11.ObjectHandle) (*key.Public, error) {
	kind, _ := m.number(s, o, p11.CKA_KEY_TYPE)
	var public crypto.PublicKey
	var err error
	switch kind {
	case p11.CKK_RSA:
		n, e := new(big.Int).SetBytes(m.attribute(s, o, p11.CKA_MODULUS)), new(big.Int).SetBytes(m.attribute(s, o, p11.CKA_PUBLIC_EXPONENT))
		if n.Sign() == 0 || e.BitLen() == 0 || e.BitLen() > 31 {
			return nil, fmt.Errorf("%w: the token does not show its modulus and exponent", ErrKind)
		}
		public = &rsa.PublicKey{N: n, E: int(e.Int64())}
	case p11.CKK_EC, ckkECEdwards:
		public, err = curvePoint(m.attribute(s, o, p11.CKA_EC_PARAMS), m.attribute(s, o, p11.CKA_EC_POINT))
	default:
		err = fmt.Errorf("%w: it is neither Ed25519 nor ECDSA nor RSA", ErrKind)
	}
	if err != nil {
		return nil, err
	}
	return supported(public)
}

// curvePoint decodes CKA_EC_PARAMS and CKA_EC_POINT. Tokens differ: the point comes as an OCTET STRING,
// as a BIT STRING or bare, and Ed25519 by number or by name.
func curvePoint(params, point []byte) (crypto.PublicKey, error) {
	var octets []byte
	var bits asn1.BitString
	if rest, err := asn1.Unmarshal(point, &octets); err == nil && len(rest) == 0 {
		point = octets
	} else if rest, err := asn1.Unmarshal(point, &bits); err == nil && len(rest) == 0 {
		point = bits.RightAlign()
	}
	var name string
	if rest, err := asn1.Unmarshal(params, &name); err == nil && len(rest) == 0 {
		if name == "edwards25519" && len(point) == ed25519.PublicKeySize {
			return ed25519.PublicKey(point), nil
		}
		return nil, fmt.Errorf("%w: it is on the curve %.40q", ErrKind, name)
	}
	var oid asn1.ObjectIdentifier
	if rest, err := asn1.Unmarshal(params, &oid); err != nil || len(rest) > 0 {
		return nil, fmt.Errorf("%w: the token does not say on which curve it is", ErrKind)
	}
	var curve elliptic.Curve
	switch {
	case (oid.Equal(oidEd25519) || oid.Equal(oidGNU)) && len(point) == ed25519.PublicKeySize:
		return ed25519.PublicKey(point), nil
	case oid.Equal(oidP256):
		curve = elliptic.P256()
	case oid.Equal(oidP384):
		curve = elliptic.P384()
	default:
		return nil, fmt.Errorf("%w: it is on the curve %s; known are Ed25519, P-256 and P-384", ErrKind, oid)
	}
	public, err := ecdsa.ParseUncompressedPublicKey(curve, point)
	if err != nil {
		return nil, fmt.Errorf("%w: its point is not on its curve", ErrKind)
	}
	return public, nil
}
