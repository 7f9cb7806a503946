//go:build !cgo || !pkcs11

package pkcs11

import "context"

// Built says whether this program can use tokens.
const Built = false

// Module is a library that drives tokens.
type Module struct{}

// Load is ErrNotBuilt here.
func Load(string) (*Module, error) { return nil, ErrNotBuilt }

// List is ErrNotBuilt here.
func (*Module) List(context.Context, URI) ([]Object, error) { return nil, ErrNotBuilt }

// Open is ErrNotBuilt here.
func (*Module) Open(context.Context, URI, PIN) ([]*Key, error) { return nil, ErrNotBuilt }

// Close has nothing to do here.
func (*Module) Close() error { return nil }
