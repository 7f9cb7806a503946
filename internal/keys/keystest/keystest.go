// Package keystest checks that a signer keeps every promise written on key.Signer, wherever its
// private key lives. A new kind of signer runs [Run].
package keystest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"example.com/bailiwick/tuf/key"
)

// long is the length of the longest message that Run signs, in bytes: a project role with some thousand
// files.
const long = 1 << 20

// Run runs the contract suite on a signer.
func Run(t *testing.T, s key.Signer) { RunUpTo(t, s, long) }

// RunUpTo is Run for a signer whose device takes messages of at most most bytes. Longer ones it has to
// refuse, and to be good afterwards.
func RunUpTo(t *testing.T, s key.Signer, most int) {
	t.Run("the public key is always the same", func(t *testing.T) {
		first := s.Public()
		if first == nil || first.ID() == "" || first.ID() != s.Public().ID() {
			t.Errorf("Public = %v, then %v", first, s.Public())
		}
	})
	t.Run("signatures verify, for their message alone", func(t *testing.T) { testVerify(t, s, most) })
	if most < long {
		t.Run("longer messages are refused", func(t *testing.T) { testTooLong(t, s) })
	}
	t.Run("the message is not changed", func(t *testing.T) { testMessage(t, s) })
	t.Run("a cancelled call makes no signature", func(t *testing.T) { testCancelled(t, s) })
	t.Run("several goroutines sign", func(t *testing.T) { testRivals(t, s) })
}

func sign(t *testing.T, s key.Signer, message []byte) []byte {
	t.Helper()
	sig, err := s.Sign(t.Context(), message)
	if err != nil {
		t.Fatalf("signing %d bytes: %v", len(message), err)
	}
	return sig
}

func testVerify(t *testing.T, s key.Signer, most int) {
	var before []byte
	for _, n := range []int{0, 1, 64, 5_000, min(most, long)} {
		message := bytes.Repeat([]byte{'x'}, n)
		sig := sign(t, s, message)
		if !s.Public().Verify(message, sig) {
			t.Errorf("the signature of %d bytes does not verify", n)
		}
		if s.Public().Verify(append(message, 'y'), sig) {
			t.Errorf("the signature of %d bytes verifies for another message", n)
		}
		if before != nil && s.Public().Verify(message, before) {
			t.Errorf("the signature of another message verifies for %d bytes", n)
		}
		before = sig
		sig = bytes.Clone(sig)
		sig[len(sig)/2] ^= 1
		if s.Public().Verify(message, sig) {
			t.Error("a changed signature verifies")
		}
	}
}

func testTooLong(t *testing.T, s key.Signer) {
	if sig, err := s.Sign(t.Context(), make([]byte, long)); err == nil || sig != nil {
		t.Errorf("Sign of %d bytes = %x, %v; want an error", long, sig, err)
	}
	sign(t, s, []byte("message"))
}

func testMessage(t *testing.T, s key.Signer) {
	message := []byte("the message")
	sig := sign(t, s, message)
	if string(message) != "the message" {
		t.Errorf("the message became %q", message)
	}
	message[0] = 'T' // nothing of it is kept
	if !s.Public().Verify([]byte("the message"), sig) {
		t.Error("the signature changed with the message")
	}
}

func testCancelled(t *testing.T, s key.Signer) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if sig, err := s.Sign(ctx, []byte("message")); !errors.Is(err, context.Canceled) || sig != nil {
		t.Errorf("Sign = %x, %v; want context.Canceled", sig, err)
	}
	sign(t, s, []byte("message")) // the signer is still good
}

func testRivals(t *testing.T, s key.Signer) {
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 5 {
				message := fmt.Append(nil, i, j)
				sig, err := s.Sign(t.Context(), message)
				if err != nil || !s.Public().Verify(message, sig) {
					t.Errorf("rival %d: bad signature, %v", i, err)
				}
			}
		})
	}
	wg.Wait()
}
