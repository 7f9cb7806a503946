package cli

import (
	"context"
	"errors"
)

// OpenKeys opens keys as --key does, and returns their names and the exit code.
func OpenKeys(ctx context.Context, env *Env, passphraseFile string, uris ...string) (names []string, code int, err error) {
	opener := newKeyOpener(env, passphraseFile)
	signers, err := openSigners(ctx, opener, uris)
	err = errors.Join(err, opener.Close())
	for _, s := range signers {
		names = append(names, s.Info().Name)
	}
	var coded *exitError
	if errors.As(err, &coded) {
		code = coded.code
	}
	return names, code, err
}
