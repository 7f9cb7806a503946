package keys

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"example.com/bailiwick/internal/keys/pkcs11"
)

// ModuleVariable names the environment variable with the absolute path of the PKCS #11 library for URIs
// that have no module-path.
const ModuleVariable = "BAILIWICK_PKCS11_MODULE"

// maxPIN bounds a PIN, in bytes.
const maxPIN = 255

// TokensBuilt reports whether this program can use PKCS #11 tokens.
func TokensBuilt() bool { return pkcs11.Built }

// tokens are the keys in PKCS #11 tokens. Each library is loaded once.
type tokens struct {
	options OpenOptions
	mu      sync.Mutex
	modules map[string]*pkcs11.Module
}

func newTokens(o OpenOptions) *tokens {
	return &tokens{options: o, modules: make(map[string]*pkcs11.Module)}
}

func (t *tokens) Scheme() string { return "pkcs11" }
func (t *tokens) Form() string   { return "pkcs11:token=LABEL;object=LABEL" }

func (t *tokens) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	var errs []error
	for path, m := range t.modules {
		errs = append(errs, m.Close())
		delete(t.modules, path)
	}
	return errors.Join(errs...)
}

func (t *tokens) Find(ctx context.Context, address string) ([]Info, error) {
	u, m, err := t.module(address)
	if err != nil {
		return nil, err
	}
	objects, err := m.List(ctx, u)
	if err != nil {
		return nil, translate(err)
	}
	infos := make([]Info, len(objects))
	for i, o := range objects {
		infos[i] = tokenInfo(o)
	}
	return infos, nil
}

func (t *tokens) Open(ctx context.Context, address string) ([]Found, error) {
	u, m, err := t.module(address)
	if err != nil {
		return nil, err
	}
	found, err := m.Open(ctx, u, t.pin(u))
	if err != nil {
		return nil, translate(err)
	}
	all := make([]Found, len(found))
	for i, k := range found {
		all[i] = Found{tokenInfo(k.Object), k.Signer()}
	}
	return all, nil
}

// module reads the URI and loads its library.
func (t *tokens) module(address string) (pkcs11.URI, *pkcs11.Module, error) {
	u, err := pkcs11.ParseURI("pkcs11:" + address)
	if err != nil {
		return u, nil, fmt.Errorf("%w: %w", ErrURI, err)
	}
	if !pkcs11.Built {
		return u, nil, pkcs11.ErrNotBuilt
	}
	path := u.ModulePath
	if path == "" {
		path = t.options.Getenv(ModuleVariable)
	}
	if path == "" {
		return u, nil, fmt.Errorf("%w: it does not say which library drives the token: end it with ?module-path=/usr/lib/…, or set %s", ErrURI, ModuleVariable)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if m := t.modules[path]; m != nil {
		return u, m, nil
	}
	m, err := pkcs11.Load(path)
	if err != nil {
		return u, nil, err
	}
	t.modules[path] = m
	return u, m, nil
}

// translate gives errors of a token the meaning that they have for keys of any kind.
func translate(err error) error {
	switch {
	case errors.Is(err, pkcs11.ErrNoKey), errors.Is(err, pkcs11.ErrNoToken):
		return fmt.Errorf("%w: %w", ErrNoKey, err)
	case errors.Is(err, pkcs11.ErrSeveralTokens):
		return fmt.Errorf("%w: %w", ErrSeveral, err)
	default:
		return err
	}
}

func tokenInfo(o pkcs11.Object) Info {
	info := Info{URI: o.URI.String(), Source: "pkcs11", Name: Printable(o.URI.Object), Type: "unknown"}
	if o.Public != nil {
		info.describe(o.Public)
	}
	if o.Problem != nil {
		info.Problem = fmt.Errorf("%w: %w", ErrUnusable, o.Problem)
	}
	return info
}

// pin reads the PIN where the URI says, or asks for it.
func (t *tokens) pin(u pkcs11.URI) pkcs11.PIN {
	return func(ctx context.Context, token string, lastTry bool) ([]byte, error) {
		if u.PINSource == "" {
			prompt := "PIN of the token " + Printable(token)
			if lastTry {
				prompt += " (the last try before it locks)"
			}
			return t.options.PIN(ctx, prompt)
		}
		if lastTry { // a loop somewhere would lock it
			return nil, errors.New("the next wrong PIN locks it, so the one in pin-source is not tried: leave pin-source out, and type the PIN")
		}
		return readPIN(u.PINSource)
	}
}

// readPIN reads the first line of a file.
func readPIN(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading the PIN: %w", err)
	}
	defer func() { _ = f.Close() }() // was only read
	line, err := bufio.NewReaderSize(io.LimitReader(f, maxPIN+3), maxPIN+3).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("reading the PIN: %w", err)
	}
	line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
	if len(line) == 0 || len(line) > maxPIN {
		return nil, fmt.Errorf("reading the PIN: the first line of %s has %d bytes; a PIN has 1 to %d", path, len(line), maxPIN)
	}
	return []byte(line), nil
}
