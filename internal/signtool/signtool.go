// Package signtool is the bailiwick-sign command line: what operators do with their offline keys, on a
// machine without a network. Requests, invitations and answers are files that somebody carries.
//
//	show        what a request asks for: a page first, details on demand
//	(sign)      the same page, a question, and the signatures in a new file
//	new-key     a key in an encrypted file
//	accept      the answer to an invitation to hold a key
//
// What always holds:
//
//   - Nothing is signed that was not judged by sitting.Judge, the function that judges the file again
//     when the index imports it; nothing is signed without a yes at the terminal or --yes.
//   - What this machine signed before is remembered (see memory.go), and remembered before the first
//     signature leaves the process. A request that contradicts it is refused, whoever sends it: that
//     is what keeps a lying index from rolling a repository back, or from getting two versions
//     of one number.
//   - No file is ever overwritten, and every file is complete before it has its name. An interrupted
//     signing goes on with what OUT.partial holds.
//   - The package links no network code: it uses the standard flag package, key files and PKCS #11, and
//     neither ssh-agent nor cobra. The test of cmd/bailiwick-sign proves it for the whole program.
//
// Manners and exit codes are those of package cli: 0 success, 1 anything that has no code of its own,
// 2 wrong usage, 3 the file was refused, 130 interrupted. The world enters through [Env] only.
package signtool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"time"

	"example.com/bailiwick/internal/keys"
	"example.com/bailiwick/internal/keys/prompt"
	"example.com/bailiwick/internal/sitting"
)

// Env is everything a command takes from the world besides files.
type Env struct {
	Stdin          io.Reader           // asked for decisions and passphrases when it is a terminal
	Stdout, Stderr io.Writer           // results; everything else
	Getenv         func(string) string // one variable, empty when unset
	Now            func() time.Time    // the only clock

	// KeyOptions say how new key files are encrypted; nil: as [keys.CreateOffline] does.
	KeyOptions []keys.Option
	// Sources are further places where keys are; nil: there are key files and tokens.
	Sources []keys.Source
}

// OSEnv is the Env of a real process.
func OSEnv() *Env {
	return &Env{
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		Getenv: os.Getenv, Now: time.Now, //nolint:forbidigo // here the clock comes in
	}
}

// Exit codes; see the package comment.
const (
	exitFailed      = 1
	exitUsage       = 2
	exitRefused     = 3
	exitInterrupted = 130 // as shells have it
)

// exitError is an error with an exit code.
type exitError struct {
	code int
	err  error
}

// Error is the message of the wrapped error.
func (e *exitError) Error() string { return e.err.Error() }

// Unwrap gives the error that carries the meaning.
func (e *exitError) Unwrap() error { return e.err }

func exit(code int, err error) error { return &exitError{code: code, err: err} }

// usagef is a mistake in the command line: exit code 2 and a pointer to the help.
func usagef(format string, args ...any) error { return exit(exitUsage, fmt.Errorf(format, args...)) }

// Main runs the command line args (without the program's name) and gives the exit code. It prints the
// error, if any, to env.Stderr. Cancelling ctx stops the command, which can be run again to go on.
func Main(ctx context.Context, args []string, env *Env) int {
	err := run(ctx, args, env)
	if err == nil {
		return 0
	}
	code := exitFailed
	var coded *exitError
	var refused *sitting.Refused
	switch {
	case errors.As(err, &coded):
		code = coded.code
	case errors.As(err, &refused):
		code = exitRefused
	}
	if errors.Is(err, prompt.ErrInterrupted) || ctx.Err() != nil && errors.Is(err, context.Canceled) {
		code = exitInterrupted
		var went *interruptedError
		if !errors.As(err, &went) {
			err = errors.New("interrupted")
		}
	}
	message(env, "%s", err.Error())
	if code == exitUsage {
		_, _ = fmt.Fprintln(env.Stderr, "see: bailiwick-sign --help")
	}
	return code
}

// message prints one line to standard error with the program's name in front.
func message(env *Env, format string, args ...any) {
	_, _ = fmt.Fprintf(env.Stderr, "bailiwick-sign: "+format+"\n", args...)
}

// run finds the command. Anything that is no command is the file to sign.
func run(ctx context.Context, args []string, env *Env) error {
	if len(args) == 0 {
		_, err := io.WriteString(env.Stdout, help)
		return err
	}
	if isHelp(args[0]) || args[0] == "help" {
		_, err := io.WriteString(env.Stdout, help)
		return err
	}
	switch args[0] {
	case "version", "--version":
		_, err := fmt.Fprintf(env.Stdout, "bailiwick-sign %s (%s, %s/%s)\n", version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
		return err
	case "show":
		return runShow(ctx, args[1:], env)
	case "new-key":
		return runNewKey(ctx, args[1:], env)
	case "accept":
		return runAccept(ctx, args[1:], env)
	default:
		return runSign(ctx, args, env)
	}
}

// version is the module version this program was built from, or the revision it was built at.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return "devel-" + s.Value[:12]
		}
	}
	return "devel"
}
