package cli

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"strings"

	"example.com/bailiwick/internal/keys"
	"example.com/bailiwick/internal/keys/prompt"
)

// passphraseVariable names the environment variable that names the file with the passphrase.
const passphraseVariable = "BAILIWICK_PASSPHRASE_FILE" //nolint:gosec // a name, not a secret

// passphraseFile is the file that the flag or the environment names, or empty.
func passphraseFile(env *Env, flag string) string {
	if flag != "" {
		return flag
	}
	return env.Getenv(passphraseVariable)
}

// readPassphraseFile takes the first line of a file.
func readPassphraseFile(path string) ([]byte, error) {
	return prompt.ReadPassphrase(path)
}

// newPassphrase gives the passphrase for key files that are about to be made: from a file, from a
// person who types it twice, or, where there is neither, a generated one that has to be shown.
func newPassphrase(ctx context.Context, env *Env, file string) (passphrase []byte, generated bool, err error) {
	if file = passphraseFile(env, file); file != "" {
		passphrase, err = readPassphraseFile(file)
		return passphrase, false, err
	}
	in, ok := terminal(env)
	if !ok {
		return []byte(generatePassphrase()), true, nil
	}
	passphrase, err = typeTwice(ctx, env, in, "a passphrase for the offline keys")
	return passphrase, false, err
}

// typeTwice has a person at the terminal choose a passphrase.
func typeTwice(ctx context.Context, env *Env, in *os.File, what string) ([]byte, error) {
	return prompt.NewPassphrase(ctx, in, what, func(why string) { message(env, "%s", why) })
}

// generatePassphrase gives 125 bits of randomness in groups that can be copied by hand.
func generatePassphrase() string {
	text := strings.ToLower(rand.Text())[:25]
	var groups []string
	for i := 0; i < len(text); i += 5 {
		groups = append(groups, text[i:i+5])
	}
	return strings.Join(groups, "-")
}

// fixedPassphrase hands out copies, because whoever takes one wipes it.
func fixedPassphrase(p []byte) keys.Passphrase {
	return func(context.Context, string) ([]byte, error) { return bytes.Clone(p), nil }
}

// oldPassphrase opens key files that exist. The answer is kept for the next key of the same
// command: the keys of one folder have one passphrase.
func oldPassphrase(env *Env, file string) keys.Passphrase {
	var known []byte
	return func(ctx context.Context, question string) ([]byte, error) {
		if known != nil {
			return bytes.Clone(known), nil
		}
		if file := passphraseFile(env, file); file != "" {
			p, err := readPassphraseFile(file)
			known = p
			return bytes.Clone(p), err
		}
		in, ok := terminal(env)
		if !ok {
			return nil, fmt.Errorf("the key files need their passphrase: name a file that holds it with --passphrase-file or %s", passphraseVariable)
		}
		p, err := askSecret(ctx, in, question+": ")
		if err != nil {
			return nil, err
		}
		known = p
		return bytes.Clone(p), nil
	}
}

// terminal is the terminal at which somebody sits, if there is one.
func terminal(env *Env) (*os.File, bool) { return prompt.Terminal(env.Stdin) }

// askSecret asks at the terminal for something that is not shown.
func askSecret(ctx context.Context, in *os.File, question string) ([]byte, error) {
	return prompt.Secret(ctx, in, question)
}
