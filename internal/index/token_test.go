package index_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"strings"
	"testing"
	"testing/iotest"

	"example.com/bailiwick/internal/index"
	"example.com/bailiwick/internal/publish/publishtest"
	"example.com/bailiwick/internal/pypi"
)

func TestNewToken(t *testing.T) {
	secret, token, err := index.NewToken(bytes.NewReader(make([]byte, 32)), publishtest.Start(), "for CI", []pypi.Project{project(t, "Flask")})
	if err != nil {
		t.Fatal(err)
	}
	if want := "bwk_" + strings.Repeat("A", 43); secret != want {
		t.Errorf("the secret of zero bytes is %q, want %q", secret, want)
	}
	if token.Hash != sha256.Sum256([]byte(secret)) || token.Note != "for CI" || !token.Revoked.IsZero() ||
		len(token.ID) != 12 || !token.Created.Equal(publishtest.Start()) || len(token.Projects) != 1 {
		t.Errorf("token is %+v", token)
	}
	if _, _, err := index.NewToken(iotest.ErrReader(errInjected), publishtest.Start(), "", nil); !errors.Is(err, errInjected) {
		t.Errorf("without randomness: %v", err)
	}
	if _, _, err := index.NewToken(bytes.NewReader(make([]byte, 31)), publishtest.Start(), "", nil); err == nil {
		t.Error("a token of 31 bytes was made")
	}
	for name, c := range map[string]struct {
		note     string
		projects []pypi.Project
	}{
		"long note":         {strings.Repeat("x", 201), nil},
		"note of two lines": {"a\nb", nil},
		"no projects":       {"", []pypi.Project{}},
		"too many projects": {"", make([]pypi.Project, 1001)},
	} {
		_, _, err := index.NewToken(bytes.NewReader(make([]byte, 32)), publishtest.Start(), c.note, c.projects)
		if t.Logf("%s: %v", name, err); err == nil {
			t.Errorf("%s was accepted", name)
			continue
		}
		refused(t, err, index.Invalid)
	}
}

func TestAuthenticate(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	secret, token, err := f.index.NewToken(ctx, "one project", []pypi.Project{project(t, "flask")})
	if err != nil {
		t.Fatal(err)
	}
	a, err := f.index.Authenticate(ctx, secret)
	if err != nil {
		t.Fatal(err)
	}
	if a.TokenID() != token.ID || !a.May(project(t, "Flask")) || a.May(project(t, "django")) {
		t.Errorf("%+v has other rights than its token", a)
	}
	if all := f.actor; !all.May(project(t, "django")) {
		t.Error("a token without a list may not do everything")
	}
	if (index.Actor{}).May(project(t, "flask")) {
		t.Error("the zero actor may upload")
	}
	last := secret[len(secret)-2:]
	for name, c := range map[string]struct {
		secret string
		kind   index.Kind
	}{
		"empty":        {"", index.Unauthenticated},
		"other index":  {"pypi-AgEIcHlwaS5vcmc", index.Forbidden},
		"unknown":      {"bwk_" + strings.Repeat("x", 43), index.Forbidden},
		"cut":          {secret[:len(secret)-1], index.Forbidden},
		"changed":      {strings.TrimSuffix(secret, last) + "!!", index.Forbidden},
		"with a space": {secret + " ", index.Forbidden},
		"very long":    {"bwk_" + strings.Repeat("x", 1<<20), index.Forbidden},
		"the hash":     {string(token.Hash[:]), index.Forbidden},
		"the name":     {token.ID, index.Forbidden},
	} {
		_, err := f.index.Authenticate(ctx, c.secret)
		r := refused(t, err, c.kind)
		if len(c.secret) > 8 && strings.Contains(r.Error(), c.secret) {
			t.Errorf("%s: the refusal %q repeats the secret", name, r.Error())
		}
	}
}

func TestRevocation(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	secret, token, err := f.index.NewToken(ctx, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := f.index.RevokeToken(ctx, token.ID); err != nil {
			t.Fatal(err)
		}
		_, err = f.index.Authenticate(ctx, secret)
		refused(t, err, index.Forbidden)
	}
	refused(t, f.index.RevokeToken(ctx, "feedfacecafe"), index.NotFound)
	tokens, err := f.index.Tokens(ctx)
	if err != nil || len(tokens) != 2 {
		t.Fatalf("%d tokens, %v; want 2", len(tokens), err)
	}
	for _, k := range tokens {
		if k.ID == token.ID && !k.Revoked.Equal(publishtest.Start()) || k.ID != token.ID && !k.Revoked.IsZero() {
			t.Errorf("token %s was revoked at %v", k.ID, k.Revoked)
		}
	}
}

// badTokens is a store that fails, or answers with a token that was not asked for.
type badTokens struct{ err error }

func (b badTokens) Token(ctx context.Context, _ [32]byte) (index.Token, error) {
	return index.Token{ID: "other", Hash: [32]byte{1}}, b.err
}
func (b badTokens) PutToken(context.Context, index.Token) error   { return b.err }
func (b badTokens) Tokens(context.Context) ([]index.Token, error) { return nil, b.err }

func TestTokenStoreFails(t *testing.T) {
	f := newFixture(t)
	secret, _, err := f.index.NewToken(t.Context(), "", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, cause := range []error{errInjected, nil} {
		x, err := index.New(index.Config{Publisher: f.publisher, Files: f.files, Tokens: badTokens{err: cause}, Now: publishtest.Start})
		if err != nil {
			t.Fatal(err)
		}
		_, err = x.Authenticate(t.Context(), secret)
		var r *index.Refusal
		if err == nil || errors.As(err, &r) || cause != nil && !errors.Is(err, cause) {
			t.Errorf("a store that answers with %v: %v, want an error that is not the user's", cause, err)
		}
		if strings.Contains(err.Error(), secret) {
			t.Errorf("%v repeats the secret", err)
		}
		if cause == nil {
			continue
		}
		if _, _, err := x.NewToken(t.Context(), "", nil); !errors.Is(err, cause) {
			t.Errorf("NewToken: %v", err)
		}
		if err := x.RevokeToken(t.Context(), "id"); !errors.Is(err, cause) {
			t.Errorf("RevokeToken: %v", err)
		}
	}
}
