// Package prompt asks people for secrets and decisions, and reads the files that hold a passphrase.
//
// What always holds:
//
//   - Questions and answers go to the terminal itself, not to streams, which may be redirected. A
//     secret is not echoed, not from the moment on at which its question appears.
//   - A passphrase that opens keys has a length: [MinPassphrase] to [MaxPassphrase] bytes. No error
//     quotes one.
//   - A question ends with its context. Where there is no terminal, nothing is asked: callers look
//     with [Terminal] first.
//
// Questions are asked one at a time.
package prompt

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"

	"golang.org/x/term"
)

// Bounds of a passphrase, in bytes. The key files are made to stand offline guessing with a slow
// hash, which is no help to a passphrase of a few letters.
const (
	MinPassphrase = 8
	MaxPassphrase = 1024
)

// ErrNothing says that the person at the terminal gave no answer, by Ctrl-D.
var ErrNothing = errors.New("no answer was given")

// ErrInterrupted says that the person at the terminal pressed Ctrl-C at a secret. A terminal that does
// not echo hands that over as a byte and sends no signal, so no context ends by it; it counts as
// [context.Canceled] all the same.
var ErrInterrupted = fmt.Errorf("interrupted: %w", context.Canceled)

// CheckPassphrase holds a passphrase against the bounds.
func CheckPassphrase(p []byte) error {
	switch {
	case len(p) < MinPassphrase:
		return fmt.Errorf("a passphrase has at least %d characters", MinPassphrase)
	case len(p) > MaxPassphrase:
		return fmt.Errorf("a passphrase has at most %d bytes", MaxPassphrase)
	}
	return nil
}

// ReadPassphrase takes the first line of a file, which nobody but its owner may read; where modes mean something,
// one that others can read or write is refused. The caller wipes the passphrase.
func ReadPassphrase(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading the passphrase: %w", err)
	}
	defer func() { _ = f.Close() }() // was only read
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("reading the passphrase: %w", err)
	}
	// A pipe, as of a shell's <(...), has a mode that says nothing.
	if mode := info.Mode(); mode.IsRegular() && mode.Perm()&0o077 != 0 && runtime.GOOS != "windows" {
		return nil, fmt.Errorf("the passphrase in %s is open to others (mode %04o): run chmod 600 %s, and take another passphrase if somebody may have read this one",
			path, mode.Perm(), path)
	}
	data, err := io.ReadAll(io.LimitReader(f, MaxPassphrase+3)) //nolint:forbidigo // bounded, and the length is checked below
	if err != nil {
		return nil, fmt.Errorf("reading the passphrase: %w", err)
	}
	line, _, _ := bytes.Cut(data, []byte("\n"))
	line = bytes.TrimSuffix(line, []byte("\r"))
	if err := CheckPassphrase(line); err != nil {
		return nil, fmt.Errorf("the first line of %s: %w", path, err)
	}
	return line, nil
}

// Terminal is the terminal at which somebody sits, if in is one.
func Terminal(in io.Reader) (*os.File, bool) {
	f, ok := in.(*os.File)
	return f, ok && term.IsTerminal(int(f.Fd()))
}

// open returns the terminal itself, or in, which is one.
func open(in *os.File) (tty *os.File, done func()) {
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return in, func() {}
	}
	return tty, func() { _ = tty.Close() }
}

// Secret asks for something that is not shown. The terminal stops echoing before it shows the
// question, so that the answer of a quick typist stays unseen, and echoes again afterwards, also when
// ctx ends the wait. The error is [ErrNothing] if the person declines, and [ErrInterrupted] after Ctrl-C.
func Secret(ctx context.Context, in *os.File, question string) ([]byte, error) {
	tty, done := open(in)
	defer done()
	fd := int(tty.Fd())
	before, err := term.MakeRaw(fd)
	if err != nil {
		return nil, fmt.Errorf("asking at the terminal: %w", err)
	}
	defer func() { _ = term.Restore(fd, before) }() // if that fails there is no terminal any more
	secret, err := wait(ctx, tty, func() (string, error) {
		keyboard := &watched{File: tty}
		line, err := term.NewTerminal(keyboard, "").ReadPassword(question)
		if errors.Is(err, io.EOF) { // Ctrl-C and Ctrl-D, which leave the cursor behind the question
			_, _ = fmt.Fprint(tty, "\r\n")
			if keyboard.interrupted {
				err = ErrInterrupted
			}
		}
		return line, err
	})
	switch {
	case ctx.Err() != nil, errors.Is(err, ErrInterrupted):
		return nil, err
	case errors.Is(err, io.EOF):
		return nil, fmt.Errorf("%w; nothing was changed", ErrNothing)
	case err != nil:
		return nil, fmt.Errorf("reading from the terminal: %w", err)
	}
	return []byte(secret), nil
}

// watched is a terminal whose Ctrl-C is noticed: the line editor reports it as the end of the input,
// like Ctrl-D.
type watched struct {
	*os.File
	interrupted bool
}

// Read notes a Ctrl-C on its way.
func (w *watched) Read(p []byte) (int, error) {
	const ctrlC = 3
	n, err := w.File.Read(p)
	if bytes.IndexByte(p[:n], ctrlC) >= 0 {
		w.interrupted = true
	}
	return n, err //nolint:wrapcheck // an io.Reader says io.EOF itself
}

// NewPassphrase has a person choose a passphrase: twice the same, within the bounds. say is told, in
// words for them, why they are asked once more.
func NewPassphrase(ctx context.Context, in *os.File, what string, say func(string)) ([]byte, error) {
	for range 3 {
		first, err := Secret(ctx, in, what+": ")
		if err != nil {
			return nil, err
		}
		if err := CheckPassphrase(first); err != nil {
			say(err.Error() + "; once more")
			continue
		}
		second, err := Secret(ctx, in, "the same again: ")
		if err != nil {
			return nil, err
		}
		if bytes.Equal(first, second) {
			return first, nil
		}
		say("these two are not the same; once more")
	}
	return nil, errors.New("no passphrase was given; nothing was created")
}

// Yes asks for a decision. Anything but y or yes is no.
func Yes(ctx context.Context, in *os.File, question string) (bool, error) {
	tty, done := open(in)
	defer done()
	if _, err := fmt.Fprint(tty, question); err != nil {
		return false, fmt.Errorf("asking at the terminal: %w", err)
	}
	line, err := wait(ctx, tty, func() (string, error) {
		return bufio.NewReader(io.LimitReader(tty, 1024)).ReadString('\n')
	})
	if ctx.Err() != nil {
		return false, err
	}
	line = strings.ToLower(strings.TrimSpace(line))
	return err == nil && (line == "y" || line == "yes"), nil
}

// wait reads an answer until ctx ends.
func wait(ctx context.Context, tty *os.File, read func() (string, error)) (string, error) {
	type answer struct {
		line string
		err  error
	}
	got := make(chan answer, 1)
	go func() { // ends with the process at the latest: a read of a terminal can not be called off
		line, err := read()
		got <- answer{line, err}
	}()
	select {
	case a := <-got:
		return a.line, a.err
	case <-ctx.Done():
		_, _ = fmt.Fprint(tty, "\r\n")
		return "", fmt.Errorf("asking at the terminal: %w", ctx.Err())
	}
}
