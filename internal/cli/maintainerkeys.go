package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/crypto/ssh"

	"example.com/bailiwick/internal/keys"
	"example.com/bailiwick/tuf/key"
)

// maxKeyText bounds a public key on the command line or in a file.
const maxKeyText = 32 << 10

// publicKey reads a public key of anyone: a KEY object or the answer of bailiwick keys show --json, a line
// of an SSH public key, a file with one of these, or the URI of a key that is here.
func (m *maintainer) publicKey(ctx context.Context, what string) (*key.Public, error) {
	text := strings.TrimSpace(what)
	if k, ok, err := parsePublicText([]byte(text)); ok {
		return k, keyUsage(what, err)
	}
	path := strings.TrimPrefix(text, "file:")
	if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Size() <= maxKeyText {
		data, err := readBounded(path, maxKeyText)
		if err != nil {
			return nil, keyUsage(what, err)
		}
		if k, ok, err := parsePublicText(bytes.TrimSpace(data)); ok {
			return k, keyUsage(what, err)
		}
	} else if errors.Is(err, fs.ErrNotExist) && !strings.Contains(text, ":") {
		return nil, usagef("%.100q is neither a file nor a key: give a file from bailiwick keys show --json, an SSH public key, or the URI of a key", what)
	}
	info, err := m.opener.Show(ctx, text)
	if err != nil {
		return nil, keyError("reading the key "+what, err)
	}
	if info.Public == nil || info.Problem != nil {
		return nil, keyUsage(what, errors.Join(info.Problem, keys.ErrUnusable))
	}
	return info.Public, nil
}

func keyUsage(what string, err error) error {
	if err == nil {
		return nil
	}
	return usagef("the key %.100q: %w", what, err)
}

// parsePublicText reads the forms in which public keys are sent around. ok is false if it is none of them.
func parsePublicText(text []byte) (k *key.Public, ok bool, err error) {
	switch {
	case bytes.HasPrefix(text, []byte("{")):
		k, err = parseKeyObject(text)
	case bytes.HasPrefix(text, []byte("ssh-")), bytes.HasPrefix(text, []byte("ecdsa-sha2-")), bytes.HasPrefix(text, []byte("sk-")):
		k, err = parseSSHLine(text)
	case bytes.Contains(text, []byte("PRIVATE KEY-----")):
		return nil, false, nil // a key file of this machine, whose public part is wanted
	default:
		return nil, false, nil
	}
	return k, true, err
}

// parseKeyObject takes a KEY object of TUF metadata, alone or as the member "key". Whatever holds a private
// part is refused: it was about to be sent around.
func parseKeyObject(text []byte) (*key.Public, error) {
	var object struct {
		Key     *json.RawMessage `json:"key"`
		KeyType string           `json:"keytype"`
		Scheme  string           `json:"scheme"`
		KeyVal  struct {
			Public  string           `json:"public"`
			Private *json.RawMessage `json:"private"`
		} `json:"keyval"`
		Private *json.RawMessage `json:"private"`
	}
	if err := json.Unmarshal(text, &object); err != nil {
		return nil, errors.New("this is no JSON object of a key; bailiwick keys show --json writes one")
	}
	if object.Private != nil || object.KeyVal.Private != nil {
		return nil, errors.New("it holds a private key, which must not leave its owner: give the public part alone")
	}
	if object.Key != nil {
		inner := bytes.TrimSpace(*object.Key)
		if !bytes.HasPrefix(inner, []byte("{")) || bytes.Contains(inner, []byte(`"key":`)) {
			return nil, errors.New("the member key is no KEY object")
		}
		return parseKeyObject(inner)
	}
	return key.New(object.KeyType, object.Scheme, object.KeyVal.Public) //nolint:wrapcheck // the caller names the key
}

// parseSSHLine takes a line of an .pub or authorized_keys file.
func parseSSHLine(text []byte) (*key.Public, error) {
	public, _, options, rest, err := ssh.ParseAuthorizedKey(text)
	if err != nil {
		return nil, errors.New("this is no SSH public key: it is one line, such as ssh-ed25519 AAAA… alice@example.com")
	}
	if len(bytes.TrimSpace(rest)) > 0 || len(options) > 0 {
		return nil, errors.New("give one SSH public key, without options")
	}
	plain, ok := public.(ssh.CryptoPublicKey)
	if !ok || strings.HasPrefix(public.Type(), "sk-") {
		return nil, errors.New("keys of FIDO tokens (sk-…) sign more than the bytes they are given, so TUF clients can not check them: use an Ed25519 or ECDSA key")
	}
	if public.Type() == ssh.KeyAlgoRSA {
		return nil, errors.New("SSH signs with RSA in a way that TUF clients do not check: use an Ed25519 or ECDSA key")
	}
	return key.FromCrypto(plain.CryptoPublicKey()) //nolint:wrapcheck // the caller names the key
}
