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
	// Getenv reads BAILIWICK_PKCS11_MODULE and HOME.
	Getenv func(string) string
	// Skipped is told of every key that Open leaves out because it can not sign, if others can.
	Skipped func(Info)
	// Sources are the places that this Opener knows besides key files and tokens, such as the ssh-agent
	// of package agent. Close closes them.
	Sources []Source
	// Registry says that the keys are those of the registry itself, used away from the server: key files
	// have to be encrypted, may be called root, targets, claimed and so on, and may have any mode, because
	// removable disks have none.
	Registry bool
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
	sources []Source // key files first
}

// Source is a kind of place where keys are: the seam for further ones, such as the ssh-agent or the
// key service of a cloud. An address is what follows the scheme and its colon. A source may be asked by
// several goroutines at a time.
type Source interface {
	// Scheme is what its URIs begin with, "ssh-agent".
	Scheme() string
	// Form is how one of its URIs looks, for people.
	Form() string
	// Find describes the keys at an address, at least one, usable or not. It asks for no secret.
	Find(ctx context.Context, address string) ([]Info, error)
	// Open makes them ready to sign, asking for secrets as it must. Those that can not sign have no
	// signer, and a Problem. It need not verify the signatures that it will make.
	Open(ctx context.Context, address string) ([]Found, error)
	// Close ends what Open left open.
	Close() error
}

// Found is a key that a [Source] opened.
type Found struct {
	Info   Info
	Signer key.Signer // nil if Info has a Problem
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
	sources := append([]Source{&files{o}}, o.Sources...)
	return &Opener{options: o, sources: append(sources, newTokens(o))}
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
	all, err := src.Open(ctx, address)
	if err != nil {
		return nil, err
	}
	var usable []*Signer
	for _, k := range all {
		if k.Info.Problem == nil {
			usable = append(usable, &Signer{info: k.Info, signer: k.Signer})
		}
	}
	if len(usable) == 0 {
		return nil, unusable(all)
	}
	for _, k := range all {
		if k.Info.Problem != nil {
			o.options.Skipped(k.Info)
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
	return src.Find(ctx, address)
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
	for _, s := range o.sources {
		errs = append(errs, s.Close())
	}
	return errors.Join(errs...)
}

// split finds the place that a uri is about. Something without a scheme is the path of a key file.
// Errors never quote more of a uri than its scheme: people write secrets into them.
func (o *Opener) split(uri string) (Source, string, error) {
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
		return o.sources[0], uri, nil
	}
	for _, s := range o.sources {
		if strings.EqualFold(s.Scheme(), name) {
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
	forms := make([]string, len(o.sources))
	for i, s := range o.sources {
		forms[i] = s.Form()
	}
	return strings.Join(forms, ", ")
}

// unusable is the error for keys of which none can sign.
func unusable(all []Found) error {
	if len(all) == 1 {
		return fmt.Errorf("%s: %w", all[0].Info.URI, all[0].Info.Problem)
	}
	problems := make([]error, len(all))
	for i, k := range all {
		problems[i] = fmt.Errorf("%s: %w", k.Info.URI, k.Info.Problem)
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
