package keys

import (
	"context"

	"example.com/bailiwick/internal/keys/pkcs11"
)

// AskPIN asks for a PIN as a token does before its last try.
func AskPIN(ctx context.Context, o OpenOptions, source string) ([]byte, error) {
	return newTokens(o).pin(pkcs11.URI{PINSource: source})(ctx, "work", true)
}
