package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"example.com/bailiwick/internal/keys"
	"example.com/bailiwick/internal/keys/agent"
	"example.com/bailiwick/tuf/key"
)

// newKeys shows the keys that a maintainer can sign with, and makes one where there is none.
func newKeys(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "keys",
		Short: "list, make and show the keys that you sign with",
		Long: "List, make and show the keys that you sign releases with. Keys are named by URIs:\n\n" +
			"  ssh-agent:SHA256:…        a key of the running ssh-agent, by fingerprint; Ed25519 or ECDSA\n" +
			"  file:PATH, or PATH        a key file, as bailiwick keys new makes it\n" +
			"  pkcs11:token=…;object=…   a key in a PKCS #11 token (RFC 7512); its PIN comes from the terminal, or from pin-source=file:PATH",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			return usagef("%s has no command %q: it is list, new or show", cmd.CommandPath(), args[0])
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newKeysList(env), newKeysNew(env), newKeysShow(env))
	return cmd
}

// newKeyOpener opens the keys that a command line names. Passphrases come from a file, or else from the
// terminal, where every key has its own question.
func newKeyOpener(env *Env, passphraseFile string) *keys.Opener {
	return keys.NewOpener(keys.OpenOptions{
		Passphrase: askEach(env, passphraseFile),
		PIN: func(ctx context.Context, prompt string) ([]byte, error) {
			in, ok := terminal(env)
			if !ok {
				return nil, errors.New("it needs its PIN: put it into a file that only you can read, and add pin-source=file:PATH to the URI, behind ? or &")
			}
			return askSecret(ctx, in, prompt+": ")
		},
		Getenv:  env.Getenv,
		Sources: []keys.Source{agent.New(agent.Config{Getenv: env.Getenv})},
		Skipped: func(k keys.Info) {
			message(env, "%s is left out: %v", k.URI, k.Problem)
		},
	})
}

// askEach is like oldPassphrase, but for keys of which each may have its own passphrase.
func askEach(env *Env, flag string) keys.Passphrase {
	return func(ctx context.Context, prompt string) ([]byte, error) {
		if file := passphraseFile(env, flag); file != "" {
			return readPassphraseFile(file)
		}
		in, ok := terminal(env)
		if !ok {
			return nil, fmt.Errorf("it needs its passphrase: name a file that holds it with --passphrase-file or %s", passphraseVariable)
		}
		return askSecret(ctx, in, prompt+": ")
	}
}

// openSigners opens the keys that --key names, each exactly one. A key that is named twice, also in two
// ways, is a slip: signatures of one key count once.
func openSigners(ctx context.Context, o *keys.Opener, uris []string) ([]*keys.Signer, error) {
	var signers []*keys.Signer
	seen := make(map[[32]byte]string)
	for _, uri := range uris {
		s, err := o.OpenOne(ctx, uri)
		if err != nil {
			return nil, keyError("--key", err)
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
func keyError(what string, err error) error {
	err = fmt.Errorf("%s: %w", what, err)
	if errors.Is(err, keys.ErrURI) || errors.Is(err, keys.ErrSeveral) {
		return exit(exitUsage, err)
	}
	return err
}

// userKeysFolder is where key files are when nobody names another place.
func userKeysFolder(env *Env) (string, error) {
	config, err := trustConfigFolder(env)
	if err != nil {
		return "", err
	}
	return filepath.Join(config, "keys"), nil
}

// shownKey is the form of a key in --json.
type shownKey struct {
	URI            string     `json:"uri"`
	Source         string     `json:"source"`
	Name           string     `json:"name,omitempty"`
	Type           string     `json:"type,omitempty"`
	SSHFingerprint string     `json:"ssh_fingerprint,omitempty"`
	KeyID          string     `json:"keyid,omitempty"`
	Key            *keyObject `json:"key,omitempty"` // as it stands in TUF metadata
	Usable         bool       `json:"usable"`
	Problem        string     `json:"problem,omitempty"`
}

// keyObject is the KEY object of TUF metadata (section 4.2).
type keyObject struct {
	KeyType string   `json:"keytype"`
	KeyVal  keyValue `json:"keyval"`
	Scheme  string   `json:"scheme"`
}

type keyValue struct {
	Public string `json:"public"`
}

// showKey brings a key into that form.
func showKey(k keys.Info) shownKey {
	s := shownKey{URI: k.URI, Source: k.Source, Name: k.Name, Type: k.Type, SSHFingerprint: k.SSH, Usable: k.Problem == nil}
	if k.Public != nil {
		s.KeyID, s.Key = string(k.Public.ID()), objectOf(k.Public)
	}
	if k.Problem != nil {
		s.Problem = k.Problem.Error()
	}
	return s
}

func objectOf(k *key.Public) *keyObject {
	return &keyObject{KeyType: k.Type(), KeyVal: keyValue{k.Value()}, Scheme: k.Scheme()}
}

// print writes a key for people: the URI to use, and below it what it is.
func (s shownKey) print(env *Env) {
	line := func(name, value string) {
		if value != "" {
			_, _ = fmt.Fprintf(env.Stdout, "  %-13s%s\n", name, value)
		}
	}
	_, _ = fmt.Fprintln(env.Stdout, s.URI)
	line("name", s.Name)
	line("type", s.Type)
	line("fingerprint", s.SSHFingerprint)
	line("key id", s.KeyID)
	line("not usable", s.Problem)
}

func newKeysList(env *Env) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list [URI…]",
		Short: "list the keys that you can sign with, and why others can not",
		Long: "List the keys of the running ssh-agent, the key files in XDG_CONFIG_HOME/bailiwick/keys, and, where " + keys.ModuleVariable + "\n" +
			"names the library of a PKCS #11 token and this build can use tokens, the keys in tokens; or the keys that the URIs name.\n" +
			"No passphrase and no PIN is asked.",
		Example: "  bailiwick keys list\n  bailiwick keys list ssh-agent: 'pkcs11:token=work?module-path=/usr/lib/softhsm/libsofthsm2.so'",
		RunE: func(cmd *cobra.Command, args []string) error {
			opener := newKeyOpener(env, "")
			var found []keys.Info
			var notes []keyNote
			var err error
			if len(args) > 0 {
				found, err = listNamed(cmd.Context(), opener, args)
			} else {
				found, notes, err = listAll(cmd.Context(), env, opener)
			}
			if err = errors.Join(err, opener.Close()); err != nil {
				return err
			}
			return printKeyList(env, found, notes, asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the list as JSON")
	return cmd
}

// keyNote says why a place has no keys to list.
type keyNote struct {
	Source  string `json:"source"`
	Message string `json:"message"`
}

func listNamed(ctx context.Context, opener *keys.Opener, uris []string) ([]keys.Info, error) {
	var found []keys.Info
	for _, uri := range uris {
		some, err := opener.List(ctx, uri)
		if err != nil {
			return nil, keyError("listing keys", err)
		}
		found = append(found, some...)
	}
	return found, nil
}

// listAll looks everywhere. A place that can not be looked at is a note, not an error: most people have
// keys in one of them.
func listAll(ctx context.Context, env *Env, opener *keys.Opener) (found []keys.Info, notes []keyNote, err error) {
	look := func(source string, some []keys.Info, err error) {
		found = append(found, some...)
		if err != nil {
			notes = append(notes, keyNote{source, err.Error()})
		}
	}
	some, err := opener.List(ctx, "ssh-agent:")
	look("ssh-agent", some, err)
	switch named := env.Getenv(keys.ModuleVariable) != ""; {
	case named: // and if this build has no tokens, the note says so
		some, err = opener.List(ctx, "pkcs11:")
		look("pkcs11", some, err)
	case keys.TokensBuilt():
		notes = append(notes, keyNote{"pkcs11", "set " + keys.ModuleVariable + " to the path of your token's PKCS #11 library to see its keys"})
	}
	folder, err := userKeysFolder(env)
	if err != nil {
		return nil, nil, err
	}
	some, err = keys.ListFiles(folder)
	look("file", some, err)
	return found, notes, ctx.Err()
}

func printKeyList(env *Env, found []keys.Info, notes []keyNote, asJSON bool) error {
	if asJSON {
		list := struct {
			Keys  []shownKey `json:"keys"`
			Notes []keyNote  `json:"notes"`
		}{[]shownKey{}, append([]keyNote{}, notes...)}
		for _, k := range found {
			list.Keys = append(list.Keys, showKey(k))
		}
		return writeJSON(env, list)
	}
	for i, k := range found {
		if i > 0 {
			_, _ = fmt.Fprintln(env.Stdout)
		}
		showKey(k).print(env)
	}
	for _, n := range notes {
		message(env, "%s: %s", n.Source, n.Message)
	}
	if len(found) == 0 {
		message(env, "there is no key yet; make one with bailiwick keys new --name NAME, or add one to your ssh-agent with ssh-add; a key file in another place is named by its path")
	}
	return nil
}

func writeJSON(env *Env, v any) error {
	e := json.NewEncoder(env.Stdout)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v) //nolint:wrapcheck // standard output is gone; there is nothing to add
}

func newKeysShow(env *Env) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show URI",
		Short: "show the public part of a key",
		Long: "Show the public part of a key, as others need it to give the key rights: its id and its fingerprint, and with --json\n" +
			"the KEY object of TUF metadata. No passphrase and no PIN is asked.",
		Example: "  bailiwick keys show alice.key\n  bailiwick keys show ssh-agent:SHA256:pXcV… --json",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef("%s takes one key, as bailiwick keys list shows them", cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			opener := newKeyOpener(env, "")
			k, err := opener.Show(cmd.Context(), args[0])
			if err = errors.Join(err, opener.Close()); err != nil {
				return keyError("showing a key", err)
			}
			if asJSON {
				return writeJSON(env, showKey(k))
			}
			showKey(k).print(env)
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print it as JSON, with the KEY object of TUF metadata")
	return cmd
}

func newKeysNew(env *Env) *cobra.Command {
	var out, name, passphrase string
	cmd := &cobra.Command{
		Use:   "new",
		Short: "make a key in an encrypted file",
		Long: "Make an Ed25519 key in a file that is encrypted under a passphrase (with age) and that only you can read. Without --out\n" +
			"it is NAME.key in XDG_CONFIG_HOME/bailiwick/keys, where bailiwick keys list finds it. No file is ever overwritten.\n" +
			"The passphrase is asked for at the terminal, or is the first line of the file that --passphrase-file or " + passphraseVariable + " names.",
		Example: "  bailiwick keys new --name alice\n  bailiwick keys new --out alice.key --passphrase-file pass.txt",
		Args:    NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			name, out, err := newKeyPlace(env, name, out)
			if err != nil {
				return err
			}
			return makeKey(cmd.Context(), env, name, out, passphrase)
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "`file` to make (default NAME.key in XDG_CONFIG_HOME/bailiwick/keys)")
	cmd.Flags().StringVar(&name, "name", "", "`name` of the key (default: that of the file, without .key)")
	cmd.Flags().StringVar(&passphrase, "passphrase-file", "", "`file` whose first line is the passphrase (or "+passphraseVariable+")")
	return cmd
}

// newKeyPlace completes what the flags say of a new key: each of its name and its file has a default
// that follows from the other.
func newKeyPlace(env *Env, name, out string) (string, string, error) {
	if name == "" && out == "" {
		return "", "", usagef("give the key a name with --name, or its file with --out")
	}
	given := name != ""
	if !given {
		name = strings.TrimSuffix(filepath.Base(out), ".key")
	}
	flag := "--name"
	if !given {
		flag = "--name is missing, and the name of the file will not do"
	}
	if !keys.IsName(name) {
		return "", "", usagef("%s: %q: %w", flag, name, keys.ErrName)
	}
	if keys.IsReservedName(name) {
		return "", "", usagef("%s: %q is %w", flag, name, keys.ErrReserved)
	}
	if out == "" {
		folder, err := userKeysFolder(env)
		if err != nil {
			return "", "", err
		}
		out = filepath.Join(folder, name+".key")
		if err := makeFolder(folder); err != nil {
			return "", "", err
		}
	}
	return name, out, nil
}

func makeKey(ctx context.Context, env *Env, name, out, passphrase string) error {
	if info, err := os.Stat(filepath.Dir(out)); err != nil || !info.IsDir() {
		return fmt.Errorf("there is no folder %s: make it, or name another file with --out", filepath.Dir(out))
	}
	k, err := keys.Generate(name)
	if err != nil {
		return err //nolint:wrapcheck // names the key
	}
	ask := func(ctx context.Context, prompt string) ([]byte, error) { return askNew(ctx, env, passphrase, prompt) }
	err = keys.CreateOffline(ctx, out, k, ask, env.keyOptions...)
	switch {
	case errors.Is(err, fs.ErrExist):
		return fmt.Errorf("%s is there already, and key files are not overwritten: name another with --out", out)
	case err != nil:
		return err //nolint:wrapcheck // names the file
	}
	opener := newKeyOpener(env, "")
	made, err := opener.Show(ctx, "file:"+out)
	if err = errors.Join(err, opener.Close()); err != nil {
		return err
	}
	showKey(made).print(env)
	message(env, "made %s; keep a copy of it, and its passphrase apart from it: nobody can restore either", out)
	return nil
}

// askNew gets the passphrase of a new key: from a file, or twice from the terminal.
func askNew(ctx context.Context, env *Env, flag, prompt string) ([]byte, error) {
	if file := passphraseFile(env, flag); file != "" {
		return readPassphraseFile(file)
	}
	in, ok := terminal(env)
	if !ok {
		return nil, fmt.Errorf("it needs a passphrase: name a file that holds it with --passphrase-file or %s", passphraseVariable)
	}
	return typeTwice(ctx, env, in, prompt)
}
