package index

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"example.com/bailiwick/internal/pypi"
)

const (
	// tokenPrefix lets secret scanners find tokens that were committed by mistake.
	tokenPrefix = "bwk_"
	tokenBytes  = 32  // of randomness in a secret
	maxSecret   = 256 // bytes looked at before anything is hashed
	maxNote     = 200 // bytes
	maxScope    = 1000
)

// Actor is whoever sent a good token: made by [Index.Authenticate] alone.
type Actor struct {
	id       string
	projects []pypi.Project // nil: every project
	right    Right          // what else it may do, and then it may not upload
}

// TokenID returns the public name of the actor's token; empty for the zero Actor, which may
// do nothing.
func (a Actor) TokenID() string { return a.id }

// May reports whether the actor may change a project.
func (a Actor) May(p pypi.Project) bool {
	return a.id != "" && a.right == RightUpload && (a.projects == nil || slices.Contains(a.projects, p))
}

// NewToken makes a token and its secret, which is shown once and stored nowhere. The randomness
// comes from random; a nil list of projects means every project. It stores nothing itself.
func NewToken(random io.Reader, now time.Time, note string, projects []pypi.Project) (string, Token, error) {
	if len(note) > maxNote || phrase(note) != note {
		return "", Token{}, refuse(Invalid, "the note of a token is at most %d bytes of plain ASCII", maxNote)
	}
	if projects != nil && (len(projects) == 0 || len(projects) > maxScope) {
		return "", Token{}, refuse(Invalid, "name between 1 and %d projects for a token, or none for every project", maxScope)
	}
	raw := make([]byte, tokenBytes)
	if _, err := io.ReadFull(random, raw); err != nil {
		return "", Token{}, fmt.Errorf("reading randomness for a token: %w", err)
	}
	secret := tokenPrefix + base64.RawURLEncoding.EncodeToString(raw)
	hash := sha256.Sum256([]byte(secret))
	return secret, Token{
		// A part of the hash is a name that no two tokens share, and that anyone who holds the
		// secret can compute to ask which token it is.
		ID:       hex.EncodeToString(hash[:6]),
		Hash:     hash,
		Projects: slices.Clone(projects),
		Note:     note,
		Created:  now.UTC().Truncate(time.Second),
	}, nil
}

// NewToken makes a token, stores it, and returns its secret, which can not be had again.
func (x *Index) NewToken(ctx context.Context, note string, projects []pypi.Project) (string, Token, error) {
	secret, token, err := NewToken(rand.Reader, x.now(), note, projects)
	if err != nil {
		return "", Token{}, err
	}
	if err := x.tokens.PutToken(ctx, token); err != nil {
		return "", Token{}, fmt.Errorf("storing token %s: %w", token.ID, err)
	}
	return secret, token, nil
}

// Tokens returns all tokens, oldest first, revoked ones included.
func (x *Index) Tokens(ctx context.Context) ([]Token, error) {
	tokens, err := x.tokens.Tokens(ctx)
	if err != nil {
		return nil, fmt.Errorf("listing tokens: %w", err)
	}
	return tokens, nil
}

// RevokeToken ends a token's rights at once. Revoking it again changes nothing. The refusal is
// NotFound if no token has this identifier.
func (x *Index) RevokeToken(ctx context.Context, id string) error {
	tokens, err := x.Tokens(ctx)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(tokens, func(t Token) bool { return t.ID == id })
	if i < 0 {
		return refuse(NotFound, "no token has the identifier %q; list the tokens to see them", id)
	}
	token := tokens[i]
	if !token.Revoked.IsZero() {
		return nil
	}
	token.Revoked = x.now().UTC().Truncate(time.Second)
	if err := x.tokens.PutToken(ctx, token); err != nil {
		return fmt.Errorf("revoking token %s: %w", id, err)
	}
	return nil
}

// Authenticate returns who sent a secret. The refusal is Unauthenticated if it is empty, and
// Forbidden if it is no token, an unknown one, or a revoked one; it never repeats the secret.
func (x *Index) Authenticate(ctx context.Context, secret string) (Actor, error) {
	if secret == "" {
		return Actor{}, refuse(Unauthenticated, "this needs an upload token: user name __token__, password the token")
	}
	if len(secret) > maxSecret || !strings.HasPrefix(secret, tokenPrefix) {
		return Actor{}, refuse(Forbidden, "this is no token of this index: they begin with %s", tokenPrefix)
	}
	hash := sha256.Sum256([]byte(secret))
	token, err := x.tokens.Token(ctx, hash)
	switch {
	case errors.Is(err, ErrNoToken):
		return Actor{}, refuse(Forbidden, "this token is not known here; ask the operator of the index for a new one")
	case err != nil:
		return Actor{}, fmt.Errorf("looking up an upload token: %w", err)
	case subtle.ConstantTimeCompare(hash[:], token.Hash[:]) != 1:
		// The store looks up by hash; that it answers with another token is a defect to be caught.
		return Actor{}, fmt.Errorf("the token store answered with token %s for another hash", token.ID)
	case !token.Revoked.IsZero():
		return Actor{}, refuse(Forbidden, "upload token %s was revoked on %s; ask for a new one", token.ID, token.Revoked.Format(time.DateOnly))
	}
	return Actor{id: token.ID, projects: token.Projects, right: token.Right}, nil
}
