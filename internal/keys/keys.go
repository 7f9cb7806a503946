// Package keys opens private keys wherever they are kept, and keeps those that are kept in files.
//
// An [Opener] finds keys by URI: in key files ("file:alice.key"), in the running ssh-agent
// ("ssh-agent:SHA256:…") and in PKCS #11 tokens ("pkcs11:token=…;object=…"). Every place is a source;
// they are listed once, in sources. What is opened is a key.Signer whose signatures were verified
// before anybody gets them. Package keystest checks signers.
//
// The registry's own keys are files with their own doors: those that a server signs with, plain and
// readable by its user alone ([LoadOnline]), and those that never come near a server, encrypted under
// a passphrase ([LoadOffline]). Maintainers' keys can have any name but theirs ([IsReservedName]).
//
// A plain key file is text:
//
//	bailiwick-key 1
//	name: timestamp
//	public: MCowBQYDK2VwAyEA…        base64 of the public key (X.509 SubjectPublicKeyInfo)
//	-----BEGIN PRIVATE KEY-----
//	…                                PKCS #8
//	-----END PRIVATE KEY-----
//
// OpenSSL reads it as it is. An encrypted one has the same three lines and then, in the place of
// the private key, a whole plain key file, encrypted with age (https://age-encryption.org/v1) under
// a passphrase (scrypt), armoured. So the name and the public key can be shown without the
// passphrase, and are checked against the encrypted copy when the key is loaded. Without this
// program, everything from the line that begins with five hyphens can be given to `age -d`.
//
// What always holds:
//
//   - Nothing overwrites a key file. A new one is complete and synced before it has its name.
//   - An unencrypted key file, and any file that an Opener opens, is only read if nobody but its owner
//     can read it, and never through a link; and a key named as offline is never written unencrypted.
//   - No error and no printed Key holds a secret. Buffers that held one are wiped when they are
//     done with, as far as the libraries let us: age copies the passphrase, and Go may move memory.
//
// Functions may be called concurrently; a [Key] is immutable and may be shared, and so may an Opener.
package keys

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"

	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/tuf/key"
)

// Errors of this package, wrapped in an error that names the file.
var (
	// ErrNotKey: the file is no key file, or is damaged.
	ErrNotKey = errors.New("not a bailiwick key file, or damaged")
	// ErrNewer: the file was written by a newer Bailiwick.
	ErrNewer = errors.New("written by a newer bailiwick: use that one")
	// ErrPassphrase: the passphrase is wrong, or empty.
	ErrPassphrase = errors.New("wrong passphrase")
	// ErrPermissions: other users can read a key file, or it is not a regular file.
	ErrPermissions = errors.New("a private key must be in a regular file that only its owner can read")
	// ErrOffline: an offline key was met where only online keys belong.
	ErrOffline = errors.New("this is an offline key: it is kept encrypted, and away from the server")
	// ErrOnline: an unencrypted key was met where an encrypted one belongs.
	ErrOnline = errors.New("this key file is not encrypted")
	// ErrName: a key has no usable name.
	ErrName = errors.New("a key name has 1 to 64 lower-case letters, digits, hyphens and dots, and begins with a letter")
)

// maxName is the longest name of a key, in bytes.
const maxName = 64

// Key is a private key with a name. It is a key.Signer, and prints as its name and public key.
type Key struct {
	name    string
	signer  key.Signer
	private crypto.Signer
}

var _ key.Signer = (*Key)(nil)

// New gives a private key a name. The name says what the key is for: "root", "timestamp"; several
// keys of one role are numbered, "root-2". It must be of a kind that package key can sign with and
// that PKCS #8 can hold: Ed25519, ECDSA on P-256 or P-384, RSA.
func New(name string, private crypto.Signer) (*Key, error) {
	if !validName(name) {
		return nil, fmt.Errorf("key %.80q: %w", name, ErrName)
	}
	signer, err := key.NewSigner(private)
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", name, err)
	}
	return &Key{name: name, signer: signer, private: private}, nil
}

// Generate makes a new Ed25519 key.
func Generate(name string) (*Key, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generating the key %s: %w", name, err)
	}
	return New(name, private)
}

// Name returns the name of the key.
func (k *Key) Name() string { return k.name }

// Public implements key.Signer.
func (k *Key) Public() *key.Public { return k.signer.Public() }

// Sign implements key.Signer. It asks nobody and waits for nothing.
func (k *Key) Sign(ctx context.Context, message []byte) ([]byte, error) {
	sig, err := k.signer.Sign(ctx, message)
	if err != nil {
		return nil, fmt.Errorf("signing with the key %s: %w", k.name, err)
	}
	return sig, nil
}

// String returns the name and the id of the key, nothing secret.
func (k *Key) String() string { return fmt.Sprintf("%s (key id %s)", k.name, k.Public().ID()) }

// GoString keeps the secret out of %#v.
func (k *Key) GoString() string { return "keys.Key{" + k.String() + "}" }

// IsOfflineName reports whether a key of this name must never lie on a server: root, targets,
// claimed, and numbered ones like root-2.
func IsOfflineName(name string) bool {
	return isRoleName(name, func(r policy.KeyRole) bool { return !r.Online() })
}

// IsReservedName reports whether only the registry's own keys are called so: root, targets, claimed,
// registry, snapshot, timestamp, and numbered ones like root-2.
func IsReservedName(name string) bool {
	return isRoleName(name, func(policy.KeyRole) bool { return true })
}

func isRoleName(name string, of func(policy.KeyRole) bool) bool {
	base := strings.TrimRight(name, "0123456789")
	base = strings.TrimSuffix(base, "-")
	for _, r := range policy.KeyRoles() {
		if of(r) && (string(r) == base || string(r) == name) {
			return true
		}
	}
	return false
}

// IsName reports whether a key can be called so; see [ErrName].
func IsName(name string) bool { return validName(name) }

func validName(name string) bool {
	if name == "" || len(name) > maxName || name[0] < 'a' || name[0] > 'z' {
		return false
	}
	for _, c := range []byte(name) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '.' {
			return false
		}
	}
	return true
}

// publicDER is the X.509 form of the public key, which is what a key file compares and shows.
func (k *Key) publicDER() ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(k.private.Public())
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", k.name, err)
	}
	return der, nil
}

// sameKey checks that a private key belongs to the public key that a file shows.
func sameKey(k *Key, shown []byte) error {
	own, err := k.publicDER()
	if err != nil {
		return err
	}
	if !bytes.Equal(own, shown) {
		return fmt.Errorf("%w: the public key in its first lines is not that of the private key", ErrNotKey)
	}
	return nil
}
