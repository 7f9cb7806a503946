package cli

import "example.com/bailiwick/internal/keys"

// CheapPassphrases makes the hash of passphrases cheap, for tests that make many keys.
func (e *Env) CheapPassphrases() { e.keyOptions = []keys.Option{keys.WithWorkFactor(4)} }
