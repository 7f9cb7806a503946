// Package cli is the bailiwick command line: one file per command, and the wiring that turns
// flags into running engines.
//
// Manners, the same in every command. Results go to standard output, everything else to standard
// error with the program's name in front, lower case, no full stop. An error is printed once, by
// [Main], and says what happened, to what, and what to do next. Secrets come from a file, an
// environment variable or the terminal, never from an argument. Exit codes: 0 success, 1 anything
// that has no code of its own, 2 wrong usage, 3 verification refused something, 4 the metadata is
// unusable (expired, rolled back), 5 the repository cannot be reached, 130 interrupted; commands that
// run another program answer with that program's own code.
//
// The world enters through [Env] only: no command reads os.Args, os.Stdout, the environment or the
// clock by itself, so a whole session runs inside one test. An Env is not safe for concurrent use
// by several commands, except that its functions may be called from any goroutine.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"example.com/bailiwick/internal/keys"
	"example.com/bailiwick/internal/keys/prompt"
)

// Env is everything a command takes from the world besides files and the network.
type Env struct {
	Stdin          io.Reader           // also asked for passphrases when it is a terminal
	Stdout, Stderr io.Writer           // results; everything else
	Getenv         func(string) string // one variable, empty when unset
	Environ        func() []string     // all of them, for child processes
	Now            func() time.Time    // the only clock

	keyOptions []keys.Option // of the key files that are made
}

// OSEnv is the Env of a real process.
func OSEnv() *Env {
	return &Env{
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		Getenv: os.Getenv, Environ: os.Environ, Now: time.Now, //nolint:forbidigo // here the clock comes in
	}
}

// WithWorkFactor is a copy of e whose commands protect the passphrases of the key files that they make
// with scrypt's work factor log2N, from 1 to 20; [keys.WithWorkFactor] has the default. Low ones are quick
// to make, to open and to guess: they are for keys that are thrown away.
func (e *Env) WithWorkFactor(log2N int) *Env {
	other := *e
	other.keyOptions = []keys.Option{keys.WithWorkFactor(log2N)}
	return &other
}

// Exit codes; see the package comment.
const (
	exitFailed      = 1
	exitUsage       = 2
	exitRefused     = 3
	exitUnusable    = 4
	exitUnreachable = 5
	exitInterrupted = 130 // as shells have it
)

// exitError is an error with an exit code. A nil err is a code without a message, for a command
// whose child has already said everything.
type exitError struct {
	code int
	err  error
}

// Error is the message of the wrapped error.
func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit status %d", e.code)
	}
	return e.err.Error()
}

// Unwrap gives the error that carries the meaning.
func (e *exitError) Unwrap() error { return e.err }

// exit attaches an exit code to err. With a nil err nothing is printed.
func exit(code int, err error) error { return &exitError{code: code, err: err} }

// UsageError makes of err a mistake in the command line, for which [Main] has exit code 2 and a pointer to the help.
func UsageError(err error) error { return exit(exitUsage, err) }

// usagef is [UsageError] of a new error.
func usagef(format string, args ...any) error { return UsageError(fmt.Errorf(format, args...)) }

// Main runs the command line args (without the program's name) and gives the exit code. It prints
// the error, if any, to env.Stderr. Cancelling ctx stops the command: servers drain and stop. Each of
// more makes further commands, of packages that stand on this one.
func Main(ctx context.Context, args []string, env *Env, more ...func(*Env) []*cobra.Command) int {
	root := newRoot(env, more)
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return 0
	}
	var coded *exitError
	if !errors.As(err, &coded) {
		coded = &exitError{code: exitFailed, err: err}
	}
	if coded.err == nil {
		return coded.code
	}
	if errors.Is(err, prompt.ErrInterrupted) || ctx.Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.Cause(ctx))) {
		message(env, "interrupted")
		return exitInterrupted
	}
	message(env, "%s", err.Error())
	if coded.code == exitUsage {
		_, _ = fmt.Fprintf(env.Stderr, "see: %s --help\n", cmd.CommandPath())
	}
	return coded.code
}

// message prints one line to standard error with the program's name in front.
func message(env *Env, format string, args ...any) {
	_, _ = fmt.Fprintf(env.Stderr, "bailiwick: "+format+"\n", args...)
}

// newRoot is the command tree.
func newRoot(env *Env, more []func(*Env) []*cobra.Command) *cobra.Command {
	root := &cobra.Command{
		Use:   "bailiwick",
		Short: "a Python package index in which nobody has to trust the index",
		Long: "Bailiwick is a Python package index whose files are signed along a chain that starts at a root key\n" +
			"your users pin, and the tool that lets an unmodified pip or uv install only what that chain vouches for.",
		Args:              NoArgs,
		Version:           version(),
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
		RunE:              func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetVersionTemplate(versionLine())
	root.SetIn(env.Stdin)
	root.SetOut(env.Stdout)
	root.SetErr(env.Stderr)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return UsageError(err) })
	root.AddCommand(commands(env)...)
	for _, commands := range more {
		root.AddCommand(commands(env)...)
	}
	markUsage(root)
	return root
}

// markUsage gives every complaint about positional arguments the exit code of wrong usage, and says
// which ones the command takes: cobra only counts them.
func markUsage(cmd *cobra.Command) {
	if check := cmd.Args; check != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			err := check(cmd, args)
			var coded *exitError
			if err == nil || errors.As(err, &coded) {
				return err
			}
			got := "no argument"
			if len(args) > 0 {
				got = plural(len(args), "argument")
			}
			return usagef("%s got %s: it is %s", cmd.CommandPath(), got, strings.TrimSuffix(cmd.UseLine(), " [flags]"))
		}
	}
	for _, sub := range cmd.Commands() {
		markUsage(sub)
	}
}

// NoArgs refuses positional arguments, as [cobra.Command.Args] of a command that takes none. Those of the root
// command are commands that do not exist.
func NoArgs(cmd *cobra.Command, args []string) error {
	switch {
	case len(args) == 0:
		return nil
	case !cmd.HasParent():
		return usagef("there is no command %q", args[0])
	default:
		return usagef("%s takes no arguments, but got %q", cmd.CommandPath(), args[0])
	}
}

// newVersion prints what this program was built from.
func newVersion(env *Env) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "print the version of this program",
		Args:  NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprint(env.Stdout, versionLine())
			return err
		},
	}
}

func versionLine() string {
	return fmt.Sprintf("bailiwick %s (%s, %s/%s)\n", version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
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
