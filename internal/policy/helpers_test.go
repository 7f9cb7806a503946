package policy_test

import (
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"testing"
	"time"

	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
	"example.com/bailiwick/tuf/repo"
)

var now = time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)

func signerOf(t testing.TB, name string) key.Signer {
	t.Helper()
	seed := sha256.Sum256([]byte(name))
	s, err := key.NewSigner(ed25519.NewKeyFromSeed(seed[:]))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// keyring holds one signer for each key role.
type keyring map[policy.KeyRole]key.Signer

func newKeyring(t testing.TB) keyring {
	t.Helper()
	k := make(keyring)
	for _, r := range policy.KeyRoles() {
		k[r] = signerOf(t, string(r))
	}
	return k
}

func (k keyring) public() map[policy.KeyRole][]*key.Public {
	out := make(map[policy.KeyRole][]*key.Public)
	for r, s := range k {
		out[r] = []*key.Public{s.Public()}
	}
	return out
}

func authority(t testing.TB, threshold int, signers ...key.Signer) tuf.Authority {
	t.Helper()
	keys := make([]*key.Public, len(signers))
	for i, s := range signers {
		keys[i] = s.Public()
	}
	a, err := tuf.NewAuthority(threshold, keys...)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func layout(t testing.TB, bins int) policy.Layout {
	t.Helper()
	l, err := policy.NewLayout(bins)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func project(t testing.TB, name string) pypi.Project {
	t.Helper()
	p, err := pypi.ParseProject(name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func filename(t testing.TB, p pypi.Project, name string) pypi.Filename {
	t.Helper()
	f, err := pypi.ParseFilenameFor(p, name)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// signed signs a draft with a key role's key and reads it back.
func signed(t testing.TB, d *repo.Draft, err error, signers ...key.Signer) *tuf.Targets {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	data, err := repo.Sign(t.Context(), d, signers...)
	if err != nil {
		t.Fatal(err)
	}
	u, err := tuf.ParseTargets(data, nil)
	if err != nil {
		t.Fatal(err)
	}
	v, err := u.Verify(d.Authority())
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func wantErr(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error = %v, want %v", err, want)
	}
}
