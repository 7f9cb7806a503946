package keys_test

import (
	"context"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"example.com/bailiwick/internal/keys"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
	"example.com/bailiwick/tuf/repo"
)

// TestR9KeyFiles: a maintainer's key file is ciphertext that only its owner can read, and is not opened
// in any other state.
func TestR9KeyFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "alice.key")
	private := kinds(t)["ed25519"]
	k, err := keys.New("alice", private)
	if err != nil {
		t.Fatal(err)
	}
	if err := keys.CreateOffline(t.Context(), path, k, says(phrase), fast()); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	text := read(t, path)
	block, _ := pem.Decode([]byte(text[strings.Index(text, "-----BEGIN"):]))
	plain, _ := pem.Decode([]byte(pkcs8(t, private)))
	if block == nil || block.Type != "AGE ENCRYPTED FILE" || strings.Contains(string(block.Bytes), string(plain.Bytes[16:])) {
		t.Error("the private key is not encrypted")
	}
	if strings.Contains(text, "PRIVATE KEY") || strings.Contains(text, phrase) {
		t.Error("the file shows secrets")
	}
	for mode := os.FileMode(0o601); mode <= 0o677; mode++ {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		_, err := fileOpener(t, phrase).Open(t.Context(), path)
		wantErr(t, mode.String(), err, keys.ErrPermissions)
	}
}

// elsewhere is a signer that this package knows nothing of: the key service of a cloud, say.
type elsewhere struct{ key.Signer }

func (e elsewhere) Sign(ctx context.Context, message []byte) ([]byte, error) {
	return e.Signer.Sign(ctx, message)
}

// TestR11MixedKindsInOneRole: keys of every kind, from every place, sign one role together.
func TestR11MixedKindsInOneRole(t *testing.T) {
	private := kinds(t)
	inAgent := agentOpener(t, serving(t, keyring(t, private)))
	var signers []key.Signer
	for _, uri := range []string{"ssh-agent:ed25519", "ssh-agent:p256", "ssh-agent:p384"} {
		s, err := inAgent.OpenOne(t.Context(), uri)
		if err != nil {
			t.Fatal(err)
		}
		signers = append(signers, s)
	}
	path := filepath.Join(t.TempDir(), "rsa.pem")
	write(t, path, pkcs8(t, private["rsa"]), 0o600)
	fromFile, err := fileOpener(t, phrase).OpenOne(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	signers = append(signers, fromFile, elsewhere{generate(t, "cloud")})
	var public []*key.Public
	for _, s := range signers {
		public = append(public, s.Public())
	}
	authority, err := tuf.NewAuthority(len(public), public...)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	issue := repo.Issue{Role: "project.flask", Version: 1, Authority: authority, Now: now, Expires: now.AddDate(1, 0, 0)}
	draft, err := repo.NewTargets(repo.TargetsSpec{}, issue)
	if err != nil {
		t.Fatal(err)
	}
	data, err := repo.Sign(t.Context(), draft, signers...)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := tuf.ParseTargets(data, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parsed.Verify(authority); err != nil {
		t.Error(err)
	}
	if good := parsed.Signers(authority); len(good) != len(signers) {
		t.Errorf("%d good signatures, want %d", len(good), len(signers))
	}
}
