package main_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/hex"
	"slices"
	"strings"
	"testing"

	"example.com/bailiwick/internal/testrepo"
	"example.com/bailiwick/tuf/key"
)

func TestSnapshotDoesNotMeetThreshold(t *testing.T) {
	r := testrepo.New(t, testrepo.Options{})
	r.Top["snapshot"] = testrepo.Some("snapshot", 3, 3)
	r.PublishRoot()
	r.Publish()
	c := newClient(t, r)
	c.init(r.Root(1))
	c.refresh(0)
	r.SignWith["snapshot"] = testrepo.Keys("snapshot", 2)
	r.Publish()
	c.refresh(1)
	c.trusted("root 2, snapshot 2, targets 1, timestamp 3")
}

func TestSnapshotHasTooFewKeys(t *testing.T) {
	r := testrepo.New(t, testrepo.Options{})
	c := newClient(t, r)
	c.init(r.Root(1))
	r.Top["snapshot"] = testrepo.Some("snapshot", 6, 5)
	r.PublishRoot()
	r.Publish()
	c.refresh(1)
	c.trusted("root 2, timestamp 2")
}

func TestDuplicateKeys(t *testing.T) {
	// The suite allows two answers: to refuse the root that lists a key id nine times, or to
	// count it once. With the root refused, nothing after it is read; so both are tried.
	for name, root := range map[string]string{"listed once": "root 2, timestamp 2", "listed nine times": "root 1"} {
		t.Run(name, func(t *testing.T) {
			r := testrepo.New(t, testrepo.Options{})
			c := newClient(t, r)
			c.init(r.Root(1))
			k := testrepo.NewKey("snapshot-1")
			r.Top["snapshot"] = testrepo.Holders{Keys: []testrepo.Key{k}, Threshold: 6}
			if name == "listed nine times" {
				r.Top["snapshot"] = testrepo.Holders{Keys: slices.Repeat([]testrepo.Key{k}, 9), Threshold: 6}
			}
			r.PublishRoot()
			r.SignWith["snapshot"] = slices.Repeat([]testrepo.Key{k}, 9)
			r.Publish()
			c.refresh(1)
			c.trusted(root)
		})
	}
}

func TestDuplicateSigKeyids(t *testing.T) {
	r := testrepo.New(t, testrepo.Options{})
	edited(t, r, "snapshot", func(e map[string]any) {
		s := e["signatures"].([]any)
		e["signatures"] = append(s, s[0])
	})
	c := newClient(t, r)
	c.init(r.Root(1))
	c.refresh(1)
	c.trusted("root 1, timestamp 1")
}

func TestKeytypeAndScheme(t *testing.T) {
	ed := testrepo.NewKey("ed25519").Private
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, private := range map[string]crypto.Signer{"rsa/rsassa-pss-sha256": rsaKey, "ecdsa/ecdsa-sha2-nistp256": ec, "ed25519/ed25519": ed} {
		t.Run(name, func(t *testing.T) {
			s, err := key.NewSigner(private)
			if err != nil {
				t.Fatal(err)
			}
			if got := s.Public().Type() + "/" + s.Public().Scheme(); got != name {
				t.Fatalf("the key is %s", got)
			}
			r := testrepo.New(t, testrepo.Options{})
			c := newClient(t, r)
			c.init(r.Root(1))
			withRootKey(t, r, s, "")
			c.refresh(0)
			c.trusted("root 2, snapshot 1, targets 1, timestamp 1")
			// A signature over something else: plausible, and wrong.
			other, err := s.Sign(context.Background(), []byte("something else"))
			if err != nil {
				t.Fatal(err)
			}
			withRootKey(t, r, s, hex.EncodeToString(other))
			c.refresh(1)
			c.trusted("root 2, snapshot 1, targets 1, timestamp 1")
		})
	}
}

// withRootKey publishes a root that needs one more signature, by s; sig replaces it.
func withRootKey(t *testing.T, r *testrepo.Repo, s key.Signer, sig string) {
	t.Helper()
	id := string(s.Public().ID())
	r.Edit["root"] = func(signed map[string]any) {
		signed["keys"].(map[string]any)[id] = map[string]any{
			"keytype": s.Public().Type(), "scheme": s.Public().Scheme(), "keyval": map[string]any{"public": s.Public().Value()},
		}
		role := signed["roles"].(map[string]any)["root"].(map[string]any)
		role["keyids"] = append(role["keyids"].([]any), id)
		role["threshold"] = 2
	}
	r.PublishRoot()
	edited(t, r, "root", func(e map[string]any) {
		if sig == "" {
			made, err := s.Sign(context.Background(), testrepo.Canonical(e["signed"]))
			if err != nil {
				t.Fatal(err)
			}
			sig = hex.EncodeToString(made)
		}
		e["signatures"] = append(e["signatures"].([]any), map[string]any{"keyid": id, "sig": sig})
	})
}

func TestInvalidSigInValidMetadata(t *testing.T) {
	r := testrepo.New(t, testrepo.Options{})
	c := newClient(t, r)
	c.init(r.Root(1))
	old := r.Top["timestamp"].Keys[0]
	r.Top["timestamp"] = testrepo.Holders{Keys: []testrepo.Key{old, testrepo.NewKey("second")}, Threshold: 1}
	r.PublishRoot()
	for _, sig := range []string{strings.Repeat("0f", 64), "", "not hex"} {
		r.Publish()
		edited(t, r, "timestamp", func(e map[string]any) { e["signatures"].([]any)[0].(map[string]any)["sig"] = sig })
		c.refresh(0)
		c.same("snapshot", "targets")
	}
	c.trusted("root 2, snapshot 4, targets 1, timestamp 4")
}
