package keys

import (
	"context"
	"time"

	"example.com/bailiwick/internal/keys/pkcs11"
)

// Hurry shortens the time that an agent has to answer.
func (o *Opener) Hurry(d time.Duration) {
	for _, s := range o.schemes {
		if a, ok := s.source.(*agents); ok {
			a.listTime = d
		}
	}
}

// AskPIN asks for a PIN as a token does before its last try.
func AskPIN(ctx context.Context, o OpenOptions, source string) ([]byte, error) {
	return newTokens(o).pin(pkcs11.URI{PINSource: source})(ctx, "work", true)
}
