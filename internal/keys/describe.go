package keys

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"unicode"
	"unicode/utf8"

	"example.com/bailiwick/tuf/key"
)

// SSHFingerprint returns the fingerprint of a key as ssh-keygen -l prints it, "SHA256:" and 43
// characters. It is the same for every spelling of a key. For a key that package key did not make it
// is empty.
func SSHFingerprint(k *key.Public) string {
	public, err := material(k)
	if err != nil {
		return ""
	}
	blob := sshBlob(public)
	if blob == nil {
		return ""
	}
	sum := sha256.Sum256(blob)
	return "SHA256:" + base64.RawStdEncoding.EncodeToString(sum[:])
}

// sshBlob writes a public key as SSH does (RFC 4253 section 6.6, RFC 5656 section 3.1, RFC 8709 section
// 4); nil for a kind that SSH does not know. It is written out here, and compared with x/crypto/ssh in
// a test, because that package brings the network along.
func sshBlob(public crypto.PublicKey) []byte {
	switch k := public.(type) {
	case ed25519.PublicKey:
		return sshStrings([]byte("ssh-ed25519"), k)
	case *ecdsa.PublicKey:
		point, err := k.Bytes()
		if err != nil {
			return nil
		}
		curve := map[string]string{"P-256": "nistp256", "P-384": "nistp384", "P-521": "nistp521"}[k.Params().Name]
		return sshStrings([]byte("ecdsa-sha2-"+curve), []byte(curve), point)
	case *rsa.PublicKey:
		return sshStrings([]byte("ssh-rsa"), sshInteger(big.NewInt(int64(k.E))), sshInteger(k.N))
	default:
		return nil
	}
}

// sshStrings writes strings, each behind its length (RFC 4251 section 5).
func sshStrings(all ...[]byte) []byte {
	var out []byte
	for _, s := range all {
		out = append(binary.BigEndian.AppendUint32(out, uint32(len(s))), s...)
	}
	return out
}

// sshInteger writes a positive integer: its highest bit is a sign.
func sshInteger(n *big.Int) []byte { return append(make([]byte, 1-min(1, n.BitLen()%8)), n.Bytes()...) }

// material decodes the public value of a key, which is hex or PEM.
func material(k *key.Public) (crypto.PublicKey, error) {
	if block, _ := pem.Decode([]byte(k.Value())); block != nil {
		return x509.ParsePKIXPublicKey(block.Bytes)
	}
	data, err := hex.DecodeString(k.Value())
	if err != nil {
		return nil, err
	}
	switch k.Scheme() {
	case key.SchemeEd25519:
		return ed25519.PublicKey(data), nil
	case key.SchemeECDSAP256:
		return ecdsa.ParseUncompressedPublicKey(elliptic.P256(), data)
	case key.SchemeECDSAP384:
		return ecdsa.ParseUncompressedPublicKey(elliptic.P384(), data)
	default:
		return nil, fmt.Errorf("%w: scheme %q", key.ErrUnsupported, k.Scheme())
	}
}

// TypeName is Info.Type for a public key of the standard library.
func TypeName(public crypto.PublicKey) string {
	switch k := public.(type) {
	case ed25519.PublicKey:
		return "ed25519"
	case *ecdsa.PublicKey:
		return "ecdsa-" + strings.ToLower(strings.ReplaceAll(k.Params().Name, "-", ""))
	case *rsa.PublicKey:
		return fmt.Sprintf("rsa-%d", k.N.BitLen())
	default:
		return "unknown"
	}
}

// describe fills in what follows from the public key.
func (i *Info) describe(public *key.Public) {
	i.Public, i.SSH = public, SSHFingerprint(public)
	if m, err := material(public); err == nil {
		i.Type = TypeName(m)
	}
}

// Printable makes text from elsewhere safe to show: no control characters, which could move the
// cursor of a terminal, no marks that turn the direction of writing, and not too long.
func Printable(s string) string {
	const most = 100
	var b strings.Builder
	for _, r := range s {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			r = '?'
		}
		if b.Len()+utf8.RuneLen(r) > most {
			b.WriteString("…")
			break
		}
		b.WriteRune(r)
	}
	return b.String()
}
