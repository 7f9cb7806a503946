package keys

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"strconv"
	"strings"

	"example.com/bailiwick/tuf/key"
)

const (
	magic        = "bailiwick-key " // and the number of the format
	format       = 1
	privateBegin = "-----BEGIN PRIVATE KEY-----"
	ageBegin     = "-----BEGIN AGE ENCRYPTED FILE-----"
	maxFile      = 64 << 10 // bytes of a key file; RSA with 8192 bits, encrypted, takes about 10 KiB
)

// head is the first three lines of a key file.
type head struct {
	name   string
	public []byte // DER
}

func (h head) append(dst []byte) []byte {
	return fmt.Appendf(dst, "%s%d\nname: %s\npublic: %s\n", magic, format, h.name, base64.StdEncoding.EncodeToString(h.public))
}

// split takes a key file apart: its head, and the block that follows. There is one spelling of
// every file; anything else is damage.
func split(data []byte) (h head, block []byte, err error) {
	line, rest, _ := bytes.Cut(data, []byte("\n"))
	number, ok := strings.CutPrefix(string(line), magic)
	if !ok {
		return head{}, nil, fmt.Errorf("%w: the first line is not %q", ErrNotKey, magic+strconv.Itoa(format))
	}
	n, err := strconv.Atoi(number)
	switch {
	case err != nil || n < 1 || strconv.Itoa(n) != number:
		return head{}, nil, fmt.Errorf("%w: the first line is not %q", ErrNotKey, magic+strconv.Itoa(format))
	case n > format:
		return head{}, nil, fmt.Errorf("format %d: %w", n, ErrNewer)
	}
	line, rest, _ = bytes.Cut(rest, []byte("\n"))
	name, ok := strings.CutPrefix(string(line), "name: ")
	if !ok || !validName(name) {
		return head{}, nil, fmt.Errorf("%w: the second line holds no name", ErrNotKey)
	}
	line, rest, _ = bytes.Cut(rest, []byte("\n"))
	text, ok := strings.CutPrefix(string(line), "public: ")
	if !ok {
		return head{}, nil, fmt.Errorf("%w: the third line holds no public key", ErrNotKey)
	}
	public, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil {
		return head{}, nil, fmt.Errorf("%w: the public key: %w", ErrNotKey, err)
	}
	return head{name, public}, rest, nil
}

// key reads the public key.
func (h head) key() (*key.Public, error) {
	parsed, err := x509.ParsePKIXPublicKey(h.public)
	if err != nil {
		return nil, fmt.Errorf("%w: the public key: %w", ErrNotKey, err)
	}
	public, err := key.FromCrypto(parsed)
	if err != nil {
		return nil, fmt.Errorf("%w: the public key: %w", ErrNotKey, err)
	}
	return public, nil
}

// encodePlain returns the plain file of a key. The caller wipes it.
func encodePlain(k *Key) ([]byte, error) {
	public, err := k.publicDER()
	if err != nil {
		return nil, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(k.private)
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", k.name, err)
	}
	defer clear(private)
	block := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})
	defer clear(block)
	out := make([]byte, 0, maxFile) // large enough never to grow, which would leave a copy behind
	return append(head{k.name, public}.append(out), block...), nil
}

// decodePlain reads a plain file, whole.
func decodePlain(data []byte) (*Key, error) {
	h, text, err := split(data)
	if err != nil {
		return nil, err
	}
	block, rest := pem.Decode(text)
	if block == nil || block.Type != "PRIVATE KEY" || len(block.Headers) > 0 || len(rest) > 0 || !bytes.HasPrefix(text, []byte(privateBegin)) {
		return nil, fmt.Errorf("%w: one block %q belongs after the third line", ErrNotKey, privateBegin)
	}
	k, err := decodePrivate(h.name, block)
	if err != nil {
		return nil, err
	}
	if err := sameKey(k, h.public); err != nil {
		return nil, err
	}
	return k, nil
}

// isEncrypted looks at the block after the head.
func isEncrypted(block []byte) bool { return bytes.HasPrefix(block, []byte(ageBegin)) }

// isBare recognises a PKCS #8 file of another tool.
func isBare(data []byte) bool { return bytes.HasPrefix(bytes.TrimSpace(data), []byte(privateBegin)) }

// decodeBare reads one.
func decodeBare(name string, data []byte) (*Key, error) {
	block, rest := pem.Decode(data)
	if block == nil || block.Type != "PRIVATE KEY" || len(block.Headers) > 0 || len(bytes.TrimSpace(rest)) > 0 {
		return nil, fmt.Errorf("%w: a PKCS #8 file is one block %q", ErrNotKey, privateBegin)
	}
	return decodePrivate(name, block)
}

// decodePrivate reads a private key, and wipes it.
func decodePrivate(name string, block *pem.Block) (*Key, error) {
	defer clear(block.Bytes)
	private, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%w: the private key can not be read", ErrNotKey) // its parser's words could quote from it
	}
	signer, ok := private.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("%w: the private key is of a kind that does not sign", ErrNotKey)
	}
	return New(name, signer)
}
