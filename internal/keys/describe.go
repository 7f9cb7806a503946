package keys

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/crypto/ssh"

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
	s, err := ssh.NewPublicKey(public)
	if err != nil {
		return ""
	}
	return ssh.FingerprintSHA256(s)
}

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

// typeName is Info.Type for a public key of the standard library.
func typeName(public crypto.PublicKey) string {
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
		i.Type = typeName(m)
	}
}

// printable makes text from elsewhere safe to show: no control characters, which could move the
// cursor of a terminal, no marks that turn the direction of writing, and not too long.
func printable(s string) string {
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
