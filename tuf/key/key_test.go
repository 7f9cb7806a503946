package key_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"os"
	"strings"
	"testing"

	"example.com/bailiwick/tuf/key"
)

// vector is a signature that another implementation made.
type vector struct {
	Name, KeyType, Scheme, Public, Message, Signature string
	ID                                                key.ID
}

func vectors(t *testing.T) []vector {
	t.Helper()
	data, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var out []vector
	if err := json.Unmarshal(data, &out); err != nil {
		t.Fatal(err)
	}
	if len(out) < 9 {
		t.Fatalf("%d vectors", len(out))
	}
	return out
}

func TestVectors(t *testing.T) {
	for _, v := range vectors(t) {
		t.Run(v.Name, func(t *testing.T) {
			k, err := key.New(v.KeyType, v.Scheme, v.Public)
			if err != nil {
				t.Fatal(err)
			}
			if k.Type() != v.KeyType || k.Scheme() != v.Scheme || k.Value() != v.Public {
				t.Error("the key is not spelled as it was written")
			}
			if k.ID() != v.ID {
				t.Errorf("ID %s, want %s", k.ID(), v.ID)
			}
			sig, err := hex.DecodeString(v.Signature)
			if err != nil {
				t.Fatal(err)
			}
			message := []byte(v.Message)
			if !k.Verify(message, sig) {
				t.Fatal("a good signature is refused")
			}
			if k.Verify(append(message, 'x'), sig) || k.Verify(nil, sig) {
				t.Error("a signature of another message is accepted")
			}
			for i := range sig {
				bad := append([]byte(nil), sig...)
				bad[i] ^= 1
				if k.Verify(message, bad) {
					t.Errorf("the signature is accepted with byte %d changed", i)
				}
			}
			for _, bad := range [][]byte{nil, {}, {0}, sig[:len(sig)-1], append(append([]byte(nil), sig...), 0), make([]byte, 5000)} {
				if k.Verify(message, bad) {
					t.Errorf("a signature of %d bytes is accepted", len(bad))
				}
			}
		})
	}
}

// One key is one key, however it is spelled; other keys are others.
func TestFingerprint(t *testing.T) {
	byMaterial := make(map[string]map[[32]byte]bool)
	ids := make(map[key.ID]string)
	for _, v := range vectors(t) {
		k, err := key.New(v.KeyType, v.Scheme, v.Public)
		if err != nil {
			t.Fatal(err)
		}
		name, _, _ := strings.Cut(v.Name, ",")
		if byMaterial[name] == nil {
			byMaterial[name] = make(map[[32]byte]bool)
		}
		byMaterial[name][k.Fingerprint()] = true
		ids[k.ID()] = name
	}
	all := make(map[[32]byte]bool)
	for name, prints := range byMaterial {
		if len(prints) != 1 {
			t.Errorf("%s has %d fingerprints", name, len(prints))
		}
		for p := range prints {
			all[p] = true
		}
	}
	if len(all) != len(byMaterial) {
		t.Errorf("%d keys have %d fingerprints", len(byMaterial), len(all))
	}
	if len(ids) <= len(byMaterial) {
		t.Error("the vectors spell no key in two ways")
	}
}

func TestFingerprintOfSpellings(t *testing.T) {
	private := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	der := must(x509.MarshalPKIXPublicKey(&private.PublicKey))
	text := string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	plain := must(key.New("ecdsa", key.SchemeECDSAP256, text))
	oneLine := "-----BEGIN PUBLIC KEY-----\n" + base64.StdEncoding.EncodeToString(der) + "\n-----END PUBLIC KEY-----"
	for name, other := range map[string]string{
		"no final line break": strings.TrimSuffix(text, "\n"),
		"line breaks of DOS":  strings.ReplaceAll(text, "\n", "\r\n"),
		"one line":            oneLine,
		"a header":            strings.Replace(text, "-----\n", "-----\nComment: a\n\n", 1),
		"hex":                 hex.EncodeToString(must(private.PublicKey.Bytes())),
	} {
		k, err := key.New("ecdsa", key.SchemeECDSAP256, other)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if k.Fingerprint() != plain.Fingerprint() || k.ID() == plain.ID() {
			t.Errorf("%s: the fingerprint or the ID does not tell what it should", name)
		}
	}
	// The case of hex digits, too, is a spelling.
	pub := must(key.FromCrypto(ed25519.PublicKey(bytesOf(32, 9))))
	upper := must(key.New("ed25519", "ed25519", strings.ToUpper(pub.Value())))
	if upper.Fingerprint() != pub.Fingerprint() {
		t.Error("upper-case hex has another fingerprint")
	}
}

const rsa1024 = `-----BEGIN PUBLIC KEY-----
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQCWR2fgR0oU0rJzDQ2jfAnZ9ULR
6exUsWI91Y4xviLFizycGtLwXxKKyC/1fLzDXo2LD1bW9NoMNlhRy95ogTMjWGho
KGFAEk7UVLJnqOsroIzRZ+14WLR8QJRJSqd3mR536v5933++ENhCCuECmZxus1I5
FQ2z0K2XXU3YXt5D8QIDAQAB
-----END PUBLIC KEY-----
`

// modulus returns a public key of so many bits, which nobody has the private key of.
func modulus(bits int) *rsa.PublicKey {
	return &rsa.PublicKey{N: new(big.Int).SetBit(big.NewInt(1), bits-1, 1), E: 65537}
}

func TestRSASizes(t *testing.T) {
	for _, bits := range []int{2048, 2049, 3072, 8191, 8192} {
		k, err := key.New("rsa", key.SchemeRSAPSS256, pemOf(modulus(bits)))
		if err != nil {
			t.Errorf("%d bits: %v", bits, err)
			continue
		}
		if k.Verify([]byte("message"), make([]byte, (bits+7)/8)) || k.Verify([]byte("message"), nil) {
			t.Errorf("%d bits: anything verifies", bits)
		}
	}
}

func TestRefusedKeys(t *testing.T) {
	v := vectors(t)
	byName := make(map[string]vector)
	for _, one := range v {
		byName[one.Name] = one
	}
	p256, p384, rsaKey := byName["P-256"].Public, byName["P-384"].Public, byName["RSA, longest salt"].Public
	p224 := must(ecdsa.GenerateKey(elliptic.P224(), rand.Reader))
	tests := []struct {
		name, keytype, scheme, public string
		want                          error
	}{
		{"unknown type", "ml-dsa", "ml-dsa-65", "00", key.ErrUnsupported},
		{"empty", "", "", "", key.ErrUnsupported},
		{"scheme of another type", "ed25519", "rsassa-pss-sha256", rsaKey, key.ErrUnsupported},
		{"type of another scheme", "rsa", "ed25519", strings.Repeat("a", 64), key.ErrUnsupported},
		{"other RSA scheme", "rsa", "rsa-pkcs1v15-sha256", rsaKey, key.ErrUnsupported},
		{"case of the type", "Ed25519", "ed25519", strings.Repeat("a", 64), key.ErrUnsupported},
		{"crossed ECDSA names", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", p384, key.ErrUnsupported},
		{"very long type", strings.Repeat("x", 100_000), "ed25519", "", key.ErrUnsupported},

		{"ed25519, empty", "ed25519", "ed25519", "", key.ErrMalformed},
		{"ed25519, short", "ed25519", "ed25519", strings.Repeat("a", 62), key.ErrMalformed},
		{"ed25519, long", "ed25519", "ed25519", strings.Repeat("a", 66), key.ErrMalformed},
		{"ed25519, not hex", "ed25519", "ed25519", strings.Repeat("g", 64), key.ErrMalformed},
		{"ed25519, identity", "ed25519", "ed25519", "01" + strings.Repeat("0", 62), key.ErrMalformed},
		{"ed25519, identity with a sign", "ed25519", "ed25519", "01" + strings.Repeat("0", 60) + "80", key.ErrMalformed},
		{"ed25519, zero", "ed25519", "ed25519", strings.Repeat("0", 64), key.ErrMalformed},
		{"ed25519, order 2", "ed25519", "ed25519", "ec" + strings.Repeat("f", 60) + "7f", key.ErrMalformed},
		{"ed25519, order 8", "ed25519", "ed25519", "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05", key.ErrMalformed},
		{"ed25519, p", "ed25519", "ed25519", "ed" + strings.Repeat("f", 60) + "7f", key.ErrMalformed},
		{"ed25519, p and something", "ed25519", "ed25519", "f0" + strings.Repeat("f", 60) + "ff", key.ErrMalformed},

		{"ECDSA, wrong curve", "ecdsa", key.SchemeECDSAP256, p384, key.ErrMalformed},
		{"ECDSA, wrong curve the other way", "ecdsa", key.SchemeECDSAP384, p256, key.ErrMalformed},
		{"ECDSA, third curve", "ecdsa", key.SchemeECDSAP256, pemOf(&p224.PublicKey), key.ErrMalformed},
		{"ECDSA, an RSA key", "ecdsa", key.SchemeECDSAP256, rsaKey, key.ErrMalformed},
		{"ECDSA, empty", "ecdsa", key.SchemeECDSAP256, "", key.ErrMalformed},
		{"ECDSA, point not on the curve", "ecdsa", key.SchemeECDSAP256, "04" + strings.Repeat("11", 64), key.ErrMalformed},
		{"ECDSA, short point", "ecdsa", key.SchemeECDSAP256, "04" + strings.Repeat("11", 63), key.ErrMalformed},
		{"ECDSA, half a digit", "ecdsa", key.SchemeECDSAP256, "041", key.ErrMalformed},
		{"ECDSA, compressed point", "ecdsa", key.SchemeECDSAP256, "02" + strings.Repeat("11", 32), key.ErrMalformed},

		{"RSA, 1024 bits", "rsa", key.SchemeRSAPSS256, rsa1024, key.ErrMalformed},
		{"RSA, 2047 bits", "rsa", key.SchemeRSAPSS256, pemOf(modulus(2047)), key.ErrMalformed},
		{"RSA, 8193 bits", "rsa", key.SchemeRSAPSS256, pemOf(modulus(8193)), key.ErrMalformed},
		{"RSA, an ECDSA key", "rsa", key.SchemeRSAPSS256, p256, key.ErrMalformed},
		{"RSA, text before the block", "rsa", key.SchemeRSAPSS256, "x\n" + rsaKey, key.ErrMalformed},
		{"RSA, two blocks", "rsa", key.SchemeRSAPSS256, rsaKey + rsaKey, key.ErrMalformed},
		{"RSA, a certificate block", "rsa", key.SchemeRSAPSS256, strings.ReplaceAll(rsaKey, "PUBLIC KEY", "CERTIFICATE"), key.ErrMalformed},
		{"RSA, a cut block", "rsa", key.SchemeRSAPSS256, rsaKey[:200], key.ErrMalformed},
		{"RSA, nonsense in the block", "rsa", key.SchemeRSAPSS256, "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", key.ErrMalformed},
		{"RSA, not UTF-8", "rsa", key.SchemeRSAPSS256, "\xff" + rsaKey, key.ErrMalformed},
		{"RSA, not UTF-8 in a header", "rsa", key.SchemeRSAPSS256, strings.Replace(rsaKey, "-----\n", "-----\nx: \xff\n\n", 1), key.ErrMalformed},
		{"too long", "rsa", key.SchemeRSAPSS256, rsaKey + strings.Repeat("\n", key.MaxPublicBytes), key.ErrMalformed},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			k, err := key.New(test.keytype, test.scheme, test.public)
			if !errors.Is(err, test.want) || k != nil {
				t.Fatalf("error %v, want %v", err, test.want)
			}
			if len(err.Error()) > 500 {
				t.Errorf("the message has %d bytes", len(err.Error()))
			}
		})
	}
}

// Under a key of small order a signature needs no private key. This one is accepted
// by the primitive for every message, which is why New refuses the key.
func TestSmallOrderKeysAreForgeable(t *testing.T) {
	identity := append([]byte{1}, make([]byte, 31)...)
	forged := append(append([]byte{1}, make([]byte, 31)...), make([]byte, 32)...)
	if !ed25519.Verify(identity, []byte("anything"), forged) {
		t.Log("the primitive refuses such keys by itself now")
	}
	if _, err := key.New("ed25519", "ed25519", hex.EncodeToString(identity)); !errors.Is(err, key.ErrMalformed) {
		t.Errorf("error %v", err)
	}
}

func TestFromCrypto(t *testing.T) {
	rsaKey := must(rsa.GenerateKey(rand.Reader, 2048))
	p256 := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	p384 := must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))
	p521 := must(ecdsa.GenerateKey(elliptic.P521(), rand.Reader))
	small := must(x509.ParsePKIXPublicKey(func() []byte { b, _ := pem.Decode([]byte(rsa1024)); return b.Bytes }()))
	tests := []struct {
		name            string
		public          crypto.PublicKey
		keytype, scheme string
		want            error
	}{
		{"ed25519", ed25519.PublicKey(bytesOf(32, 7)), "ed25519", "ed25519", nil},
		{"P-256", p256.Public(), "ecdsa", "ecdsa-sha2-nistp256", nil},
		{"P-384", p384.Public(), "ecdsa", "ecdsa-sha2-nistp384", nil},
		{"RSA", rsaKey.Public(), "rsa", "rsassa-pss-sha256", nil},
		{"P-521", p521.Public(), "", "", key.ErrUnsupported},
		{"private key", p256, "", "", key.ErrUnsupported},
		{"nothing", nil, "", "", key.ErrUnsupported},
		{"empty ECDSA", &ecdsa.PublicKey{}, "", "", key.ErrUnsupported},
		{"no ECDSA", (*ecdsa.PublicKey)(nil), "", "", key.ErrUnsupported},
		{"ECDSA without a point", &ecdsa.PublicKey{Curve: elliptic.P256()}, "", "", key.ErrMalformed},
		{"no RSA", (*rsa.PublicKey)(nil), "", "", key.ErrMalformed},
		{"empty RSA", &rsa.PublicKey{}, "", "", key.ErrMalformed},
		{"small RSA", small, "", "", key.ErrMalformed},
		{"short ed25519", ed25519.PublicKey{1, 2, 3}, "", "", key.ErrMalformed},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			k, err := key.FromCrypto(test.public)
			if !errors.Is(err, test.want) {
				t.Fatalf("error %v, want %v", err, test.want)
			}
			if err != nil {
				return
			}
			if k.Type() != test.keytype || k.Scheme() != test.scheme {
				t.Errorf("%s, %s", k.Type(), k.Scheme())
			}
			again, err := key.New(k.Type(), k.Scheme(), k.Value())
			if err != nil || again.ID() != k.ID() || again.Fingerprint() != k.Fingerprint() {
				t.Errorf("the key does not survive being written: %v", err)
			}
		})
	}
}

func TestSigners(t *testing.T) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, k := range map[string]crypto.Signer{
		"ed25519": private,
		"P-256":   must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)),
		"P-384":   must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)),
		"RSA":     must(rsa.GenerateKey(rand.Reader, 2048)),
	} {
		t.Run(name, func(t *testing.T) {
			s, err := key.NewSigner(k)
			if err != nil {
				t.Fatal(err)
			}
			message := []byte("to be signed")
			sig, err := s.Sign(t.Context(), message)
			if err != nil {
				t.Fatal(err)
			}
			if !s.Public().Verify(message, sig) || s.Public().Verify(message[1:], sig) {
				t.Error("the signature is not one of this message")
			}
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if _, err := s.Sign(ctx, message); !errors.Is(err, context.Canceled) {
				t.Errorf("signing after the end: %v", err)
			}
		})
	}
}

// liar is a device whose public key does not belong to its private one.
type liar struct {
	crypto.Signer
	claims crypto.PublicKey
}

func (l liar) Public() crypto.PublicKey { return l.claims }

// broken is a device that can not sign.
type broken struct{ crypto.Signer }

var errDevice = errors.New("the device is gone")

func (broken) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) { return nil, errDevice }

func TestBadSigners(t *testing.T) {
	good, _, err := key.GenerateEd25519()
	if err != nil {
		t.Fatal(err)
	}
	s, err := key.NewSigner(liar{good, ed25519.PublicKey(bytesOf(32, 3))})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Sign(t.Context(), []byte("m")); !errors.Is(err, key.ErrBadSignature) {
		t.Errorf("a wrong signature is handed out: %v", err)
	}
	s, err = key.NewSigner(broken{good})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Sign(t.Context(), []byte("m")); !errors.Is(err, errDevice) {
		t.Errorf("error %v", err)
	}
	if _, err := key.NewSigner(nil); !errors.Is(err, key.ErrMalformed) {
		t.Errorf("no key: %v", err)
	}
	if _, err := key.NewSigner(ed25519.PrivateKey{1}); !errors.Is(err, key.ErrMalformed) {
		t.Errorf("cut key: %v", err)
	}
	mixed := append(bytes.Clone(good.Seed()), bytesOf(32, 3)...)
	if _, err := key.NewSigner(ed25519.PrivateKey(mixed)); !errors.Is(err, key.ErrMalformed) {
		t.Errorf("a key of two halves that do not belong together: %v", err)
	}
	if _, err := key.NewSigner(must(ecdsa.GenerateKey(elliptic.P521(), rand.Reader))); !errors.Is(err, key.ErrUnsupported) {
		t.Errorf("unsupported curve: %v", err)
	}
}

func TestGeneratedKeysDiffer(t *testing.T) {
	private, a, err := key.GenerateEd25519()
	if err != nil {
		t.Fatal(err)
	}
	_, b, err := key.GenerateEd25519()
	if err != nil {
		t.Fatal(err)
	}
	if a.Public().ID() == b.Public().ID() {
		t.Error("two generated keys are one")
	}
	again := must(key.NewSigner(private))
	if again.Public().ID() != a.Public().ID() {
		t.Error("the private key is not the signer's")
	}
}

func TestZeroKeyVerifiesNothing(t *testing.T) {
	var k key.Public
	if k.Verify(nil, nil) || k.Verify([]byte("m"), make([]byte, 64)) {
		t.Error("the zero key verifies")
	}
}

// FuzzNew looks for panics, and for keys that change by being written.
func FuzzNew(f *testing.F) {
	f.Add("ed25519", "ed25519", strings.Repeat("ab", 32), []byte("sig"))
	f.Add("rsa", key.SchemeRSAPSS256, rsa1024, []byte{})
	f.Add("ecdsa", key.SchemeECDSAP256, "04"+strings.Repeat("11", 64), []byte{0x30, 6, 2, 1, 1, 2, 1, 1})
	f.Add("ecdsa-sha2-nistp384", key.SchemeECDSAP384, "-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----", []byte{0})
	f.Fuzz(func(t *testing.T, keytype, scheme, public string, sig []byte) {
		k, err := key.New(keytype, scheme, public)
		if err != nil {
			if !errors.Is(err, key.ErrUnsupported) && !errors.Is(err, key.ErrMalformed) {
				t.Fatalf("an error of no kind: %v", err)
			}
			return
		}
		if k.Verify([]byte("message"), sig) {
			t.Fatal("a random signature verifies")
		}
		again, err := key.New(k.Type(), k.Scheme(), k.Value())
		if err != nil || again.ID() != k.ID() {
			t.Fatalf("the key changes by being written: %v", err)
		}
	})
}

func pemOf(public crypto.PublicKey) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: must(x509.MarshalPKIXPublicKey(public))}))
}

// bytesOf returns n equal bytes; as ed25519 keys they need not be points.
func bytesOf(n int, b byte) []byte {
	out := make([]byte, n)
	for i := range out {
		out[i] = b
	}
	return out
}

// must is for values that the test itself makes.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
