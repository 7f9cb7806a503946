package tuf_test

import (
	"context"
	"crypto/ed25519"
	"fmt"

	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
)

// A role's metadata is parsed, verified under the authority that its delegator gives
// it, and only then asked what it lists.
func Example() {
	signer, err := key.NewSigner(ed25519.NewKeyFromSeed([]byte("an example's seed of 32 bytes...")))
	if err != nil {
		fmt.Println(err)
		return
	}
	content := []byte("hello\n")
	entry, err := tuf.AppendTarget(nil, tuf.Target{Length: int64(len(content)), Hashes: tuf.NewHashes(content)})
	if err != nil {
		fmt.Println(err)
		return
	}
	message := fmt.Appendf(nil, `{"_type":"targets","expires":"2030-01-31T12:00:00Z","spec_version":"1.0.34","targets":{"3f/greeting/hello.txt":%s},"version":1}`, entry)
	sig, err := signer.Sign(context.Background(), message)
	if err != nil {
		fmt.Println(err)
		return
	}
	received := tuf.AppendEnvelope(nil, message, []tuf.Signature{{KeyID: signer.Public().ID(), Sig: sig}})

	// From here on, what a client does.
	authority, err := tuf.NewAuthority(1, signer.Public()) // in real life, from root or a delegation
	if err != nil {
		fmt.Println(err)
		return
	}
	unverified, err := tuf.ParseTargets(received, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	targets, err := unverified.Verify(authority)
	if err != nil {
		fmt.Println(err)
		return
	}
	target, ok := targets.Lookup("3f/greeting/hello.txt")
	fmt.Println(ok, target.Length, target.Hashes.Check(content), target.Hashes.Check([]byte("other\n")) != nil)
	// Output: true 6 <nil> true
}
