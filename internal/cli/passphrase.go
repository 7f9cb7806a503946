package cli

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"example.com/bailiwick/internal/keys"
)

// passphraseVariable names the environment variable that names the file with the passphrase.
const passphraseVariable = "BAILIWICK_PASSPHRASE_FILE" //nolint:gosec // a name, not a secret

// Bounds of a passphrase, in bytes. The key files are made to stand offline guessing with a slow
// hash, which is no help to a passphrase of a few letters.
const (
	minPassphrase = 8
	maxPassphrase = 1024
)

// passphraseFile is the file that the flag or the environment names, or empty.
func passphraseFile(env *Env, flag string) string {
	if flag != "" {
		return flag
	}
	return env.Getenv(passphraseVariable)
}

// readPassphraseFile takes the first line of a file.
func readPassphraseFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading the passphrase: %w", err)
	}
	defer func() { _ = f.Close() }()                            // was only read
	data, err := io.ReadAll(io.LimitReader(f, maxPassphrase+3)) //nolint:forbidigo // bounded, and the length is checked below
	if err != nil {
		return nil, fmt.Errorf("reading the passphrase: %w", err)
	}
	line, _, _ := bytes.Cut(data, []byte("\n"))
	line = bytes.TrimSuffix(line, []byte("\r"))
	if err := checkPassphrase(line); err != nil {
		return nil, fmt.Errorf("the first line of %s: %w", path, err)
	}
	return line, nil
}

func checkPassphrase(p []byte) error {
	switch {
	case len(p) < minPassphrase:
		return fmt.Errorf("a passphrase has at least %d characters", minPassphrase)
	case len(p) > maxPassphrase:
		return fmt.Errorf("a passphrase has at most %d bytes", maxPassphrase)
	}
	return nil
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
	for range 3 {
		first, err := askSecret(ctx, in, what+": ")
		if err != nil {
			return nil, err
		}
		if err := checkPassphrase(first); err != nil {
			message(env, "%v; once more", err)
			continue
		}
		second, err := askSecret(ctx, in, "the same again: ")
		if err != nil {
			return nil, err
		}
		if bytes.Equal(first, second) {
			return first, nil
		}
		message(env, "these two are not the same; once more")
	}
	return nil, errors.New("no passphrase was given; nothing was created")
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
	return func(ctx context.Context, prompt string) ([]byte, error) {
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
		p, err := askSecret(ctx, in, prompt+": ")
		if err != nil {
			return nil, err
		}
		known = p
		return bytes.Clone(p), nil
	}
}

// terminal is the terminal at which somebody sits, if there is one.
func terminal(env *Env) (*os.File, bool) {
	in, ok := env.Stdin.(*os.File)
	return in, ok && term.IsTerminal(int(in.Fd()))
}

// askSecret asks at the terminal itself, so that neither the question nor the answer gets into a
// redirected stream. The terminal stops echoing before it shows the question, so that the answer of a
// quick typist stays unseen, and echoes again afterwards, also when ctx ends the wait.
func askSecret(ctx context.Context, in *os.File, prompt string) ([]byte, error) {
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		tty = in
	} else {
		defer func() { _ = tty.Close() }()
	}
	fd := int(tty.Fd())
	before, err := term.MakeRaw(fd)
	if err != nil {
		return nil, fmt.Errorf("asking at the terminal: %w", err)
	}
	defer func() { _ = term.Restore(fd, before) }() // if that fails there is no terminal any more
	type answer struct {
		secret string
		err    error
	}
	got := make(chan answer, 1)
	go func() { // ends with the process at the latest: a read of a terminal can not be called off
		secret, err := term.NewTerminal(tty, "").ReadPassword(prompt)
		got <- answer{secret, err}
	}()
	select {
	case a := <-got:
		switch {
		case errors.Is(a.err, io.EOF): // Ctrl-C and Ctrl-D
			return nil, errors.New("no passphrase was given; nothing was changed")
		case a.err != nil:
			return nil, fmt.Errorf("reading from the terminal: %w", a.err)
		}
		return []byte(a.secret), nil
	case <-ctx.Done():
		_, _ = fmt.Fprint(tty, "\r\n")
		return nil, fmt.Errorf("asking at the terminal: %w", ctx.Err())
	}
}
