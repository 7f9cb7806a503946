package signtool

import (
	"errors"
	"flag"
	"io"
	"strings"
)

// help is the whole manual of the program.
const help = `bailiwick-sign shows what an operator of a bailiwick index is asked to sign, and signs it, on a machine
without a network. Carry FILE there from the index (bailiwick request export, bailiwick sitting plan --out),
and the signed file back (bailiwick request import, bailiwick sitting import).

  bailiwick-sign show FILE                             a page to read before you sign
  bailiwick-sign show FILE --project P | --role R | --all      details
  bailiwick-sign FILE --key URI [--key URI]… --out SIGNED      show the page, ask, and sign
  bailiwick-sign new-key --out FILE [--name NAME]      make a key in an encrypted file
  bailiwick-sign accept INVITATION --key URI --out FILE [--as NAME]      agree to hold a key

A key is file:PATH (or PATH), made by new-key or by bailiwick init, or pkcs11:token=…;object=…?module-path=/…
(RFC 7512), where this build can use tokens. Flags and FILE may come in any order; behind -- comes only FILE.

  --key URI                a key to sign with; repeat it for several
  --out FILE               the file to make; one that is there is never overwritten
  --yes                    do not ask: for scripts, and for those who have read show
  --passphrase-file FILE   its first line is the passphrase (or BAILIWICK_PASSPHRASE_FILE)
  --memory DIR             where this program remembers what it signed (default XDG_STATE_HOME/bailiwick-sign);
                           keep one for each set of keys, with the keys
  --popular FILE           names of popular projects, the first first, one a line: those among them that change
                           hands are pointed out, without taking the index's word
  --aborted ID             the request ID, which was signed here, was given up: what it was to change may be
                           signed otherwise; see what a refusal says
  --as NAME                accept: which of the people you are whom the invitation names
  --name NAME              new-key: the name of the key (default: that of the file, without .key)

Interrupt it whenever you like: run it again with the same FILE and --out, and it goes on with the signatures
in SIGNED.partial. Exit codes: 0 done, 1 failed, 2 wrong usage, 3 the file was refused, 130 interrupted.
`

func isHelp(arg string) bool { return arg == "-h" || arg == "-help" || arg == "--help" }

// flags are those of all commands; each command declares those that it has.
type flags struct {
	set        *flag.FlagSet
	command    string
	keys       list
	aborted    list
	out        string
	yes        bool
	passphrase string
	memory     string
	as         string
	name       string
	project    string
	role       string
	popular    string
	all        bool
}

// list is a flag that can be repeated.
type list []string

func (l *list) String() string { return strings.Join(*l, ", ") }

// Set implements flag.Value.
func (l *list) Set(s string) error {
	if s == "" {
		return errors.New("it is empty")
	}
	*l = append(*l, s)
	return nil
}

// newFlags declares the flags named, in the order of the fields above.
func newFlags(command string, names ...string) *flags {
	f := &flags{set: flag.NewFlagSet(command, flag.ContinueOnError), command: command}
	f.set.SetOutput(io.Discard) // errors are printed once, by Main
	for _, name := range names {
		switch name {
		case "key":
			f.set.Var(&f.keys, name, "")
		case "aborted":
			f.set.Var(&f.aborted, name, "")
		case "yes":
			f.set.BoolVar(&f.yes, name, false, "")
		case "all":
			f.set.BoolVar(&f.all, name, false, "")
		default:
			f.set.StringVar(map[string]*string{
				"out": &f.out, "passphrase-file": &f.passphrase, "memory": &f.memory, "as": &f.as,
				"name": &f.name, "project": &f.project, "role": &f.role, "popular": &f.popular,
			}[name], name, "", "")
		}
	}
	return f
}

// errHelp: the help was asked for in the middle of a command.
var errHelp = errors.New("help")

// parse reads flags and arguments in any order, and wants the arguments that want names.
func (f *flags) parse(args []string, want ...string) ([]string, error) {
	var rest []string
	for len(args) > 0 {
		if err := f.set.Parse(args); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				return nil, errHelp
			}
			return nil, f.explain(err)
		}
		after := f.set.Args()
		if read := len(args) - len(after); read > 0 && args[read-1] == "--" {
			rest = append(rest, after...)
			break
		}
		if len(after) > 0 {
			rest, after = append(rest, after[0]), after[1:]
		}
		args = after
	}
	switch {
	case len(rest) < len(want):
		return nil, usagef("%sname %s", f.prefix(), want[len(rest)])
	case len(rest) > len(want):
		return nil, usagef("%sone thing too many: %.80q", f.prefix(), rest[len(want)])
	}
	return rest, nil
}

// explain turns the words of package flag into ours.
func (f *flags) explain(err error) error {
	text := err.Error()
	if name, ok := strings.CutPrefix(text, "flag provided but not defined: -"); ok {
		if strings.TrimLeft(name, "-") == "passphrase" || name == "pin" {
			return usagef("%sa secret is never an argument, which every process can see: write --passphrase-file FILE, or leave it out to be asked", f.prefix())
		}
		return usagef("%sthere is no flag --%s", f.prefix(), name)
	}
	if name, ok := strings.CutPrefix(text, "flag needs an argument: -"); ok {
		return usagef("%s--%s needs a value", f.prefix(), name)
	}
	return usagef("%s%s", f.prefix(), text)
}

func (f *flags) prefix() string {
	if f.command == "" {
		return ""
	}
	return f.command + ": "
}
