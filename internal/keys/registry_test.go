package keys_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.com/bailiwick/internal/keys"
	"example.com/bailiwick/internal/keys/keystest"
)

func registryOpener(t *testing.T, p string) *keys.Opener {
	return opener(t, keys.OpenOptions{Passphrase: says(p), PIN: nobody(t), Registry: true, Sources: []keys.Source{}})
}

// TestRegistryKeysSign: the registry's own keys open by URI where they are meant to be, and from a disk
// that knows no modes.
func TestRegistryKeysSign(t *testing.T) {
	path := offline(t, generate(t, "root-2"))
	if err := os.Chmod(path, 0o755); err != nil { // as FAT shows it
		t.Fatal(err)
	}
	o := registryOpener(t, phrase)
	shown, err := o.Show(t.Context(), path)
	if err != nil || shown.Problem != nil || shown.Name != "root-2" || shown.URI != "file:"+path {
		t.Fatalf("Show = %+v, %v", shown, err)
	}
	s, err := o.OpenOne(t.Context(), "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	if s.Public().ID() != shown.Public.ID() {
		t.Error("shown as another key than it is")
	}
	keystest.Run(t, s)
	_, err = fileOpener(t, phrase).Open(t.Context(), path)
	wantErr(t, "opened as a maintainer's key", err, keys.ErrPermissions)
}

func TestRegistryKeysRefused(t *testing.T) {
	dir := t.TempDir()
	bare := filepath.Join(dir, "bare.pem")
	write(t, bare, pkcs8(t, kinds(t)["ed25519"]), 0o600)
	openssh := filepath.Join(dir, "id_ed25519")
	write(t, openssh, "-----BEGIN OPENSSH PRIVATE KEY-----\nx\n", 0o600)
	for _, c := range []struct {
		what, path, passphrase string
		want                   error
		says                   string
	}{
		{"unencrypted", online(t, generate(t, "snapshot")), phrase, keys.ErrOnline, "has to be"},
		{"PKCS #8", bare, phrase, keys.ErrOnline, "has to be"},
		{"OpenSSH", openssh, phrase, keys.ErrNotKey, "private key of OpenSSH"},
		{"missing", filepath.Join(dir, "none.key"), phrase, fs.ErrNotExist, "plugged in"},
		{"a folder", dir, phrase, keys.ErrNotKey, "folder"},
		{"wrong passphrase", offline(t, generate(t, "root")), "not the passphrase", keys.ErrPassphrase, "root"},
	} {
		t.Run(c.what, func(t *testing.T) {
			o := registryOpener(t, c.passphrase)
			_, err := o.Open(t.Context(), c.path)
			wantErr(t, "Open", err, c.want)
			if err != nil && !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v: does not say %q", err, c.says)
			}
			info, err := o.Show(t.Context(), c.path)
			if !errors.Is(c.want, keys.ErrPassphrase) && !errors.Is(err, c.want) && !errors.Is(info.Problem, c.want) { // the passphrase is not asked
				t.Errorf("Show = %+v, %v; want %v", info, err, c.want)
			}
		})
	}
}

// TestNoAgentHere: a program that leaves the agent out says which kinds of keys it knows.
func TestNoAgentHere(t *testing.T) {
	_, err := registryOpener(t, phrase).Open(t.Context(), "ssh-agent:")
	wantErr(t, "ssh-agent:", err, keys.ErrURI)
	if err != nil && (!strings.Contains(err.Error(), "pkcs11:") || strings.Contains(err.Error(), "ssh-agent:SHA256")) {
		t.Errorf("%v", err)
	}
}
