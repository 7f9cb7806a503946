package signtool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"example.com/bailiwick/internal/keys"
	"example.com/bailiwick/internal/keys/prompt"
	"example.com/bailiwick/internal/sitting"
	"example.com/bailiwick/tuf/key"
)

// passphraseVariable names the environment variable that names the file with the passphrase.
const passphraseVariable = "BAILIWICK_PASSPHRASE_FILE" //nolint:gosec // a name, not a secret

// runNewKey makes a key in an encrypted file.
func runNewKey(ctx context.Context, args []string, env *Env) error {
	f := newFlags("new-key", "out", "name", "passphrase-file")
	if _, err := f.parse(args); err != nil {
		return printHelp(env, err)
	}
	if f.out == "" {
		return usagef("new-key: name the file to make with --out FILE")
	}
	name := f.name
	if name == "" {
		name = strings.TrimSuffix(filepath.Base(f.out), ".key")
	}
	if !keys.IsName(name) {
		return usagef("new-key: the key can not be called %.80q: %w; choose a name with --name", name, keys.ErrName)
	}
	if err := wantFolder(f.out); err != nil {
		return err
	}
	k, err := keys.Generate(name)
	if err != nil {
		return err
	}
	err = keys.CreateOffline(ctx, f.out, k, newPassphrase(env, f.passphrase), env.KeyOptions...)
	switch {
	case errors.Is(err, fs.ErrExist):
		return existsError(f.out)
	case err != nil:
		return err
	}
	printKey(env, "file:"+f.out, name, k.Public())
	message(env, "made %s; keep a copy of it, and its passphrase apart from it: nobody can restore either", f.out)
	return nil
}

// printKey writes the public half of a key, as people compare it.
func printKey(env *Env, uri, name string, k *key.Public) {
	_, _ = fmt.Fprintf(env.Stdout, "%s\n  name         %s\n  fingerprint  %s\n  key id       %s\n", uri, name, sitting.Fingerprint(k), k.ID())
}

// printHelp answers --help, and passes on every other error.
func printHelp(env *Env, err error) error {
	if errors.Is(err, errHelp) {
		_, err = io.WriteString(env.Stdout, help)
	}
	return err
}

// newPassphrase gets the passphrase of a new key: from a file, or twice from the terminal.
func newPassphrase(env *Env, file string) keys.Passphrase {
	return func(ctx context.Context, question string) ([]byte, error) {
		if file := passphraseFile(env, file); file != "" {
			return prompt.ReadPassphrase(file)
		}
		in, ok := prompt.Terminal(env.Stdin)
		if !ok {
			return nil, fmt.Errorf("it needs a passphrase, and there is no terminal to ask at: name a file that holds it with --passphrase-file or %s", passphraseVariable)
		}
		return prompt.NewPassphrase(ctx, in, question, func(why string) { message(env, "%s", why) })
	}
}

// passphraseFile is the file that the flag or the environment names, or empty.
func passphraseFile(env *Env, flag string) string {
	if flag != "" {
		return flag
	}
	return env.Getenv(passphraseVariable)
}

// newOpener opens the keys that a command line names.
func newOpener(env *Env, file string) *keys.Opener {
	return keys.NewOpener(keys.OpenOptions{
		Registry: true,
		Passphrase: func(ctx context.Context, question string) ([]byte, error) {
			if file := passphraseFile(env, file); file != "" {
				return prompt.ReadPassphrase(file)
			}
			in, ok := prompt.Terminal(env.Stdin)
			if !ok {
				return nil, fmt.Errorf("it needs its passphrase, and there is no terminal to ask at: name a file that holds it with --passphrase-file or %s", passphraseVariable)
			}
			return prompt.Secret(ctx, in, question+": ")
		},
		PIN: func(ctx context.Context, question string) ([]byte, error) {
			in, ok := prompt.Terminal(env.Stdin)
			if !ok {
				return nil, errors.New("it needs its PIN, and there is no terminal to ask at: put it into a file that only you can read, and add pin-source=file:PATH to the URI, behind ? or &")
			}
			return prompt.Secret(ctx, in, question+": ")
		},
		Getenv:  env.Getenv,
		Skipped: func(k keys.Info) { message(env, "%s is left out: %v", k.URI, k.Problem) },
		Sources: env.Sources,
	})
}

// openSigners opens the keys that --key names, each exactly one. A key that is named twice, also in two
// ways, is a slip: signatures of one key count once.
func openSigners(ctx context.Context, o *keys.Opener, uris []string) ([]*keys.Signer, error) {
	var signers []*keys.Signer
	seen := make(map[[32]byte]string)
	for _, uri := range uris {
		s, err := o.OpenOne(ctx, uri)
		if err != nil {
			return nil, keyError(err)
		}
		material := s.Public().Fingerprint()
		if first, ok := seen[material]; ok {
			return nil, usagef("--key: %s and %s are the same key", first, s.Info().URI)
		}
		seen[material] = s.Info().URI
		signers = append(signers, s)
	}
	return signers, nil
}

// keyError gives wrong usage its exit code.
func keyError(err error) error {
	err = fmt.Errorf("--key: %w", err)
	if errors.Is(err, keys.ErrURI) || errors.Is(err, keys.ErrSeveral) {
		return exit(exitUsage, err)
	}
	return err
}

// wantFolder checks that a file can be made in its folder.
func wantFolder(path string) error {
	if info, err := os.Stat(filepath.Dir(path)); err != nil || !info.IsDir() {
		return fmt.Errorf("there is no folder %s: make it, or name another file with --out", filepath.Dir(path))
	}
	return nil
}

// existsError: nothing is overwritten.
func existsError(path string) error {
	return fmt.Errorf("%s is there already, and no file is ever overwritten: name another with --out, or move it away", path)
}
