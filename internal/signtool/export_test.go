package signtool

import "example.com/bailiwick/internal/keys"

// Arrange makes the hash of passphrases cheap and adds places where keys are.
func Arrange(env *Env, sources []keys.Source) {
	env.keyOptions = []keys.Option{keys.WithWorkFactor(4)}
	env.sources = sources
}
