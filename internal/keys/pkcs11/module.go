//go:build cgo && pkcs11

package pkcs11

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	p11 "github.com/miekg/pkcs11"
)

// Built says whether this program can use tokens.
const Built = true

// Bounds of what a library may answer.
const (
	maxSlots   = 64
	maxObjects = 1000 // of one class in one token
)

// Module is a library that drives tokens. Make one with Load, and close it.
type Module struct {
	ctx      *p11.Ctx
	path     string
	owned    bool          // Initialize was done here, so Finalize is, too
	busy     chan struct{} // holds an element while the library is asked something
	logins   chan struct{} // holds an element while somebody is asked for a PIN
	sessions map[uint]*session
}

// session is with one token. Its members change while busy is held.
type session struct {
	handle   p11.SessionHandle
	slot     uint
	name     string // of the token, for people
	loggedIn bool
	wrong    error // a PIN was wrong: nothing is tried again
}

// Load loads the library at an absolute path and makes it ready. The library is code that runs in this
// process: the path comes from the user, never from a repository.
func Load(path string) (*Module, error) {
	if !filepath.IsAbs(path) {
		return nil, fmt.Errorf("%w: %q is no absolute path", ErrModule, path)
	}
	ctx := p11.New(path)
	if ctx == nil {
		return nil, fmt.Errorf("%w: %s can not be loaded: is it there, a PKCS #11 library, and made for this kind of machine?", ErrModule, path)
	}
	m := &Module{ctx: ctx, path: path, busy: make(chan struct{}, 1), logins: make(chan struct{}, 1), sessions: make(map[uint]*session)}
	err := ctx.Initialize()
	switch {
	case err == nil:
		m.owned = true
	case errors.Is(err, p11.Error(p11.CKR_CRYPTOKI_ALREADY_INITIALIZED)): // by another Module: it will finalize
	default:
		ctx.Destroy()
		return nil, fmt.Errorf("%w: %s does not start: %w", ErrModule, path, err)
	}
	return m, nil
}

// Close ends all sessions, which logs out of the tokens, and unloads the library. It waits for the
// signature that is under way.
func (m *Module) Close() error {
	m.busy <- struct{}{}
	defer func() { <-m.busy }()
	if m.ctx == nil {
		return nil
	}
	var errs []error
	for _, s := range m.sessions {
		errs = append(errs, m.ctx.CloseSession(s.handle))
	}
	if m.owned {
		errs = append(errs, m.ctx.Finalize())
	}
	m.ctx.Destroy()
	m.ctx, m.sessions = nil, nil
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("closing the PKCS #11 module %s: %w", m.path, err)
	}
	return nil
}

// errClosed is for keys that outlive their Module.
var errClosed = errors.New("the PKCS #11 module is closed")

// run asks the library something. Calls into C can not be called off: when ctx ends, run returns, and
// the call goes on by itself until the token answers; the next one waits for it.
func run[T any](ctx context.Context, m *Module, ask func() (T, error)) (T, error) {
	var zero T
	select {
	case m.busy <- struct{}{}:
	case <-ctx.Done():
		return zero, ctx.Err()
	}
	if err := ctx.Err(); err != nil { // both were ready
		<-m.busy
		return zero, err
	}
	type outcome struct {
		value T
		err   error
	}
	done := make(chan outcome, 1)
	go func() {
		defer func() { <-m.busy }()
		if m.ctx == nil {
			done <- outcome{zero, errClosed}
			return
		}
		value, err := ask()
		done <- outcome{value, err}
	}()
	select {
	case o := <-done:
		return o.value, o.err
	case <-ctx.Done():
		return zero, ctx.Err()
	}
}

// token is a token that is plugged in.
type token struct {
	slot  uint
	label string
	info  p11.TokenInfo
	twin  bool // another one has the same label
}

// URI names the token.
func (t token) uri() URI {
	u := URI{Token: t.label}
	if t.twin || t.label == "" {
		u.Serial = trim(t.info.SerialNumber)
	}
	return u
}

// trim takes off the blanks that fill the fields of PKCS #11.
func trim(s string) string { return strings.TrimRight(s, " \x00") }

// tokens finds the tokens that u names. It runs inside run.
func (m *Module) tokens(u URI) ([]token, error) {
	slots, err := m.ctx.GetSlotList(true)
	if err != nil {
		return nil, fmt.Errorf("looking for tokens with %s: %w", m.path, err)
	}
	if len(slots) > maxSlots {
		return nil, fmt.Errorf("%w: %s has %d slots, at most %d are looked at", ErrModule, m.path, len(slots), maxSlots)
	}
	var all []token
	for _, slot := range slots {
		info, err := m.ctx.GetTokenInfo(slot)
		if err != nil || info.Flags&p11.CKF_TOKEN_INITIALIZED == 0 { // pulled out just now; or empty
			continue
		}
		t := token{slot: slot, label: trim(info.Label), info: info}
		for i := range all {
			if all[i].label == t.label {
				all[i].twin, t.twin = true, true
			}
		}
		all = append(all, t)
	}
	matching := slices.DeleteFunc(slices.Clone(all), func(t token) bool { return !t.matches(u) })
	if len(matching) > 0 {
		return matching, nil
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%w: %s sees none that was set up: is it plugged in?", ErrNoToken, m.path)
	}
	return nil, fmt.Errorf("%w: %s sees %s", ErrNoToken, m.path, names(all))
}

func (t token) matches(u URI) bool {
	match := func(want, have string) bool { return want == "" || want == trim(have) }
	return match(u.Token, t.info.Label) && match(u.Serial, t.info.SerialNumber) &&
		match(u.Model, t.info.Model) && match(u.Manufacturer, t.info.ManufacturerID)
}

func names(all []token) string {
	uris := make([]string, len(all))
	for i, t := range all {
		uris[i] = t.uri().String()
	}
	return strings.Join(uris, ", ")
}

// session returns the session with a token, and opens it if there is none. It runs inside run.
func (m *Module) session(t token) (*session, error) {
	if s, ok := m.sessions[t.slot]; ok {
		return s, nil
	}
	handle, err := m.ctx.OpenSession(t.slot, p11.CKF_SERIAL_SESSION)
	if err != nil {
		return nil, fmt.Errorf("opening a session with the token %q: %w", t.label, err)
	}
	s := &session{handle: handle, slot: t.slot, name: t.label}
	if s.name == "" {
		s.name = trim(t.info.SerialNumber)
	}
	m.sessions[t.slot] = s
	return s, nil
}

// renew replaces a session in which an operation was left half done. The new one is opened first,
// because a token logs out with the last. It runs inside run.
func (m *Module) renew(s *session) {
	handle, err := m.ctx.OpenSession(s.slot, p11.CKF_SERIAL_SESSION)
	if err != nil {
		return // the old one may still do
	}
	_ = m.ctx.CloseSession(s.handle) // nothing in it is of use
	s.handle = handle
}

// List describes the keys that u names, in all tokens that it names, by what a token shows without a
// login: its public keys and certificates.
func (m *Module) List(ctx context.Context, u URI) ([]Object, error) {
	return run(ctx, m, func() ([]Object, error) {
		tokens, err := m.tokens(u)
		if err != nil {
			return nil, err
		}
		var all []Object
		for _, t := range tokens {
			s, err := m.session(t)
			if err != nil {
				return nil, err
			}
			found, err := m.public(s, t, u)
			if err != nil {
				return nil, err
			}
			all = append(all, found...)
		}
		if len(all) == 0 {
			return nil, fmt.Errorf("%w: %s; without a PIN, only keys whose public half lies beside them are seen", ErrNoKey, names(tokens))
		}
		return all, nil
	})
}

// Open logs in to the token that u names and finds the private keys that u names in it. Those that can
// not sign have a Problem. Several tokens are [ErrSeveralTokens].
func (m *Module) Open(ctx context.Context, u URI, pin PIN) ([]*Key, error) {
	t, err := run(ctx, m, func() (token, error) { return m.one(u) })
	if err != nil {
		return nil, err
	}
	s, err := run(ctx, m, func() (*session, error) { return m.session(t) })
	if err != nil {
		return nil, err
	}
	if err := m.login(ctx, t, s, pin); err != nil {
		return nil, err
	}
	return run(ctx, m, func() ([]*Key, error) {
		found, err := m.private(s, t, u, pin)
		if err == nil && len(found) == 0 {
			err = fmt.Errorf("%w: %s; bailiwick keys list shows those that it has", ErrNoKey, t.uri())
		}
		return found, err
	})
}

func (m *Module) one(u URI) (token, error) {
	all, err := m.tokens(u)
	if err != nil {
		return token{}, err
	}
	if len(all) > 1 {
		return token{}, fmt.Errorf("%w: %s; name one of them", ErrSeveralTokens, names(all))
	}
	return all[0], nil
}

// login logs in, once for all keys of the token, after asking for the PIN outside of the library.
func (m *Module) login(ctx context.Context, t token, s *session, pin PIN) error {
	select {
	case m.logins <- struct{}{}: // whoever comes second finds the token open, and asks nobody
		defer func() { <-m.logins }()
	case <-ctx.Done():
		return ctx.Err()
	}
	type state struct {
		needed bool
		flags  uint
		err    error
	}
	now, err := run(ctx, m, func() (state, error) {
		info, err := m.ctx.GetTokenInfo(t.slot)
		if err != nil {
			return state{}, fmt.Errorf("asking the token %q: %w", s.name, err)
		}
		return state{!s.loggedIn && info.Flags&p11.CKF_LOGIN_REQUIRED != 0, info.Flags, s.wrong}, nil
	})
	switch {
	case err != nil:
		return err
	case now.err != nil:
		return now.err
	case !now.needed:
		return nil
	case now.flags&p11.CKF_USER_PIN_LOCKED != 0:
		return fmt.Errorf("the token %q: %w: it is locked after too many wrong ones; its administrator unlocks it with the SO PIN", s.name, ErrPIN)
	}
	secret, err := askPIN(ctx, s, now.flags, pin)
	if err != nil {
		return err
	}
	text := string(secret) // its own copy: the call may outlast ctx, and with it the slice
	clear(secret)
	_, err = run(ctx, m, func() (struct{}, error) {
		err := m.ctx.Login(s.handle, p11.CKU_USER, text)
		if errors.Is(err, p11.Error(p11.CKR_USER_ALREADY_LOGGED_IN)) {
			err = nil
		}
		s.loggedIn = err == nil
		return struct{}{}, s.loginError(err)
	})
	return err
}

// askPIN asks for a PIN, unless the token has keys of its own to type it.
func askPIN(ctx context.Context, s *session, flags uint, pin PIN) ([]byte, error) {
	if flags&p11.CKF_PROTECTED_AUTHENTICATION_PATH != 0 {
		return nil, nil
	}
	secret, err := pin(ctx, s.name, flags&p11.CKF_USER_PIN_FINAL_TRY != 0)
	if err != nil {
		return nil, fmt.Errorf("the token %q: %w", s.name, err)
	}
	if len(secret) == 0 || bytes.IndexByte(secret, 0) >= 0 {
		clear(secret)
		return nil, fmt.Errorf("the token %q: the PIN is empty or holds a zero byte: %w", s.name, ErrPIN) // not tried, not counted
	}
	return secret, nil
}

// loginError explains what a login answered, and remembers that a PIN was wrong.
func (s *session) loginError(err error) error {
	var code p11.Error
	if err == nil || !errors.As(err, &code) {
		return err
	}
	switch uint(code) {
	case p11.CKR_PIN_INCORRECT, p11.CKR_PIN_INVALID, p11.CKR_PIN_LEN_RANGE:
		s.wrong = fmt.Errorf("the token %q: %w; it is not tried again, because tokens lock after a few: check it, then start over", s.name, ErrPIN)
	case p11.CKR_PIN_LOCKED:
		s.wrong = fmt.Errorf("the token %q: %w: it is locked after too many wrong ones; its administrator unlocks it with the SO PIN", s.name, ErrPIN)
	case p11.CKR_PIN_EXPIRED, p11.CKR_USER_PIN_NOT_INITIALIZED:
		s.wrong = fmt.Errorf("the token %q has no PIN that is valid; set one with the tool of its maker: %w", s.name, ErrPIN)
	default:
		return fmt.Errorf("logging in to the token %q: %w", s.name, err)
	}
	return s.wrong
}
