package keys

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"example.com/bailiwick/tuf/key"
)

// Errors of an [Opener], wrapped in an error that names the URI.
var (
	// ErrURI: this names no key in a way that is known here.
	ErrURI = errors.New("not the URI of a key")
	// ErrNoAgent: no ssh-agent answers.
	ErrNoAgent = errors.New("no ssh-agent")
	// ErrNoKey: nothing at that place is the key that was named.
	ErrNoKey = errors.New("no such key")
	// ErrSeveral: one key was wanted, and several are named. It is carried by a [SeveralError].
	ErrSeveral = errors.New("several keys")
	// ErrUnusable: the key is there, but it can not make TUF signatures from there.
	ErrUnusable = errors.New("this key can not sign here")
	// ErrReserved: the key is one of the registry's own, or is named like one.
	ErrReserved = errors.New("a name of the registry's own keys (root, targets, claimed, registry, snapshot, timestamp): a maintainer's key needs another")
	// ErrTooLong: what holds the key does not take a message of that length.
	ErrTooLong = errors.New("too long for what holds the key")
)

// OpenOptions is what an [Opener] needs from the world. Nil functions know nothing: keys that need
// what they would have said can not be opened.
type OpenOptions struct {
	// Passphrase is asked for the passphrase of an encrypted key file.
	Passphrase Passphrase
	// PIN is asked for the PIN of a token whose URI names no pin-source.
	PIN Passphrase
	// Getenv reads SSH_AUTH_SOCK, BAILIWICK_PKCS11_MODULE and HOME.
	Getenv func(string) string
	// Skipped is told of every key that Open leaves out because it can not sign, if others can.
	Skipped func(Info)
}

// Info describes a key, in words that can be shown: they hold no control characters.
type Info struct {
	// URI opens exactly this key.
	URI string
	// Source is the scheme: "file", "ssh-agent", "pkcs11".
	Source string
	// Name is what people call it: the name in the file, the comment in the agent, the label in the
	// token. It may be empty.
	Name string
	// Type is what kind of key it is: "ed25519", "ecdsa-p256", "ecdsa-p384", "rsa-3072", "sk-ed25519".
	Type string
	// SSH is the fingerprint as ssh-keygen -l prints it: "SHA256:…". Empty for kinds that SSH does
	// not know.
	SSH string
	// Public is the key as TUF metadata has it; nil if it can not make TUF signatures from there.
	Public *key.Public
	// Problem says why the key can not be used as it is, and what to do; nil if it can.
	Problem error
}

// Opener opens keys by URI. It holds what has to stay open between signatures: sessions with
// tokens, one login each, however many of their keys are opened. It is safe for concurrent use, except
// that Close comes last.
type Opener struct {
	options OpenOptions
	schemes []scheme
}

// source is a kind of place where keys are: the seam for further ones, such as the key service of a
// cloud. An address is what follows the scheme and its colon.
type source interface {
	// find describes the keys at an address, at least one, usable or not. It asks for no secret.
	find(ctx context.Context, address string) ([]Info, error)
	// open makes them ready to sign, asking for secrets as it must. Those that can not sign have no
	// signer, and a Problem. It need not verify the signatures that it will make.
	open(ctx context.Context, address string) ([]opened, error)
	// close ends what open left open.
	close() error
}

type opened struct {
	info   Info
	signer key.Signer
}

type scheme struct {
	name string
	form string // for people
	source
}

// schemes is the list of all places where keys can be.
func schemes(o OpenOptions) []scheme {
	return []scheme{
		{"file", "file:PATH", &files{o}},
		{"ssh-agent", "ssh-agent:SHA256:FINGERPRINT", newAgents(o)},
		{"pkcs11", "pkcs11:token=LABEL;object=LABEL", newTokens(o)},
	}
}

// NewOpener makes an Opener. Nothing is opened yet. Close it.
func NewOpener(o OpenOptions) *Opener {
	if o.Getenv == nil {
		o.Getenv = func(string) string { return "" }
	}
	nobody := func(context.Context, string) ([]byte, error) {
		return nil, errors.New("there is nobody to ask")
	}
	if o.Passphrase == nil {
		o.Passphrase = nobody
	}
	if o.PIN == nil {
		o.PIN = nobody
	}
	if o.Skipped == nil {
		o.Skipped = func(Info) {}
	}
	return &Opener{options: o, schemes: schemes(o)}
}

// Open opens every key that uri names and that can sign; there is at least one. A uri is PATH or
// file:PATH, ssh-agent: or ssh-agent:SHA256:FINGERPRINT or ssh-agent:COMMENT, or a PKCS #11 URI
// (RFC 7512). The error is [ErrURI], [ErrNoKey], [ErrUnusable] if none of the keys can sign, or tells
// what the place itself has to say.
func (o *Opener) Open(ctx context.Context, uri string) ([]*Signer, error) {
	src, address, err := o.split(uri)
	if err != nil {
		return nil, err
	}
	all, err := src.open(ctx, address)
	if err != nil {
		return nil, err
	}
	var usable []*Signer
	for _, k := range all {
		if k.info.Problem == nil {
			usable = append(usable, &Signer{info: k.info, signer: k.signer})
		}
	}
	if len(usable) == 0 {
		return nil, unusable(all)
	}
	for _, k := range all {
		if k.info.Problem != nil {
			o.options.Skipped(k.info)
		}
	}
	return usable, nil
}

// OpenOne opens the one key that uri names. If several are meant, the error is a [*SeveralError].
func (o *Opener) OpenOne(ctx context.Context, uri string) (*Signer, error) {
	signers, err := o.Open(ctx, uri)
	if err != nil {
		return nil, err
	}
	if len(signers) > 1 {
		several := &SeveralError{URI: uri}
		for _, s := range signers {
			several.Keys = append(several.Keys, s.info)
		}
		return nil, several
	}
	return signers[0], nil
}

// List describes every key that uri names, also those that can not sign, and says why. It asks for
// no secret, so a token shows its public keys, and a key file what it says of itself.
func (o *Opener) List(ctx context.Context, uri string) ([]Info, error) {
	src, address, err := o.split(uri)
	if err != nil {
		return nil, err
	}
	return src.find(ctx, address)
}

// Show describes the one key that uri names. If several are meant, the error is a [*SeveralError].
func (o *Opener) Show(ctx context.Context, uri string) (Info, error) {
	all, err := o.List(ctx, uri)
	if err != nil {
		return Info{}, err
	}
	if len(all) > 1 {
		return Info{}, &SeveralError{URI: uri, Keys: all}
	}
	return all[0], nil
}

// Close ends the sessions of tokens. Signers that came from this Opener sign no more after it.
func (o *Opener) Close() error {
	var errs []error
	for _, s := range o.schemes {
		errs = append(errs, s.close())
	}
	return errors.Join(errs...)
}

// split finds the place that a uri is about. Something without a scheme is the path of a key file.
// Errors never quote more of a uri than its scheme: people write secrets into them.
func (o *Opener) split(uri string) (source, string, error) {
	if strings.Contains(strings.ToLower(uri), "pin-value") {
		return nil, "", fmt.Errorf("%w: a PIN does not belong into a URI, where every process and the shell's history can see it: "+
			"write pin-source=file:PATH, or leave it out to be asked", ErrURI)
	}
	if uri == "" {
		return nil, "", fmt.Errorf("%w: it is empty; known are %s", ErrURI, o.forms())
	}
	name, address, ok := strings.Cut(uri, ":")
	if !ok || !isScheme(name) {
		if strings.HasPrefix(uri, "//") { // a path, and no file: URI
			uri = "/" + strings.TrimLeft(uri, "/")
		}
		return o.schemes[0], uri, nil
	}
	for _, s := range o.schemes {
		if strings.EqualFold(s.name, name) {
			return s, address, nil
		}
	}
	return nil, "", fmt.Errorf("%w: keys of the kind %q are not known here, but %s; a file with a colon in its name is file:PATH",
		ErrURI, name+":", o.forms())
}

// isScheme reports whether the part before a colon is a scheme (RFC 3986), and not the beginning of a
// path: a single letter is a drive of Windows.
func isScheme(s string) bool {
	if len(s) < 2 || len(s) > 20 {
		return false
	}
	for i, c := range []byte(s) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (i == 0 || (c < '0' || c > '9') && c != '+' && c != '-' && c != '.') {
			return false
		}
	}
	return true
}

func (o *Opener) forms() string {
	forms := make([]string, len(o.schemes))
	for i, s := range o.schemes {
		forms[i] = s.form
	}
	return strings.Join(forms, ", ")
}

// unusable is the error for keys of which none can sign.
func unusable(all []opened) error {
	if len(all) == 1 {
		return fmt.Errorf("%s: %w", all[0].info.URI, all[0].info.Problem)
	}
	problems := make([]error, len(all))
	for i, k := range all {
		problems[i] = fmt.Errorf("%s: %w", k.info.URI, k.info.Problem)
	}
	return fmt.Errorf("none of the %d keys can sign:\n%w", len(all), errors.Join(problems...))
}

// SeveralError lists the keys to choose from. It is an [ErrSeveral].
type SeveralError struct {
	URI  string
	Keys []Info
}

// Error lists the URIs.
func (e *SeveralError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s names %d keys; name one of them:", e.URI, len(e.Keys))
	for _, k := range e.Keys {
		fmt.Fprintf(&b, "\n  %s", k.URI)
		if k.Name != "" {
			fmt.Fprintf(&b, "  (%s)", k.Name)
		}
		if k.Problem != nil {
			b.WriteString("  can not sign")
		}
	}
	return b.String()
}

// Is makes it an ErrSeveral.
func (e *SeveralError) Is(target error) bool { return target == ErrSeveral }

// Signer is a key that was opened. It is a key.Signer, and prints as its URI.
type Signer struct {
	info   Info
	signer key.Signer
}

var _ key.Signer = (*Signer)(nil)

// Info describes the key.
func (s *Signer) Info() Info { return s.info }

// Public implements key.Signer.
func (s *Signer) Public() *key.Public { return s.info.Public }

// Sign implements key.Signer. It verifies every signature before it returns it, whoever made it:
// one that does not verify is [key.ErrBadSignature]. The agent or token may ask its owner to confirm.
func (s *Signer) Sign(ctx context.Context, message []byte) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("signing with %s: %w", s.info.URI, err)
	}
	sig, err := s.signer.Sign(ctx, message)
	if err != nil {
		return nil, fmt.Errorf("signing with %s: %w", s.info.URI, err)
	}
	if !s.info.Public.Verify(message, sig) {
		return nil, fmt.Errorf("signing with %s: %w", s.info.URI, key.ErrBadSignature)
	}
	return sig, nil
}

// String returns the URI.
func (s *Signer) String() string { return s.info.URI }
