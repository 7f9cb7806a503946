package keys_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"example.com/bailiwick/internal/keys"
	"example.com/bailiwick/tuf/key"
)

// place copies a file into a data folder.
func place(t *testing.T, dir, name, data string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, path, data, 0o600)
}

func wantFound(t *testing.T, dir string, s keys.Scan, want ...string) {
	t.Helper()
	found, err := keys.ScanForOffline(dir, s)
	if err != nil {
		t.Fatal(err)
	}
	for i, path := range want {
		want[i] = filepath.Join(dir, path)
	}
	if !slices.Equal(found, want) {
		t.Errorf("found %q, want %q", found, want)
	}
}

func TestScan(t *testing.T) {
	secret := read(t, offline(t, generate(t, "root")))
	encryptedOnline := read(t, offline(t, generate(t, "snapshot")))
	plain := read(t, online(t, generate(t, "timestamp")))
	plainRoot := strings.Replace(plain, "name: timestamp", "name: root-2", 1)

	dir := t.TempDir()
	place(t, dir, "keys/timestamp.key", plain)
	place(t, dir, "ledger.db", "SQLite format 3\x00"+secret)
	place(t, dir, "format", "1\n")
	place(t, dir, "empty", "")
	if err := os.Symlink("nowhere", filepath.Join(dir, "broken")); err != nil {
		t.Fatal(err)
	}
	skip := keys.Scan{Skip: []string{"files", "staging"}}
	wantFound(t, dir, skip)

	place(t, dir, "files/ab/upload", secret) // somebody uploaded it: no reason to stop the server
	place(t, dir, "staging/upload", secret)
	wantFound(t, dir, skip)
	wantFound(t, dir, keys.Scan{}, "files/ab/upload", "staging/upload")

	place(t, dir, "keys/files/hidden", secret) // only the top folder of that name is skipped
	place(t, dir, "keys/encrypted-online.key", encryptedOnline)
	place(t, dir, "keys/plain-root.key", plainRoot)
	place(t, dir, "crlf", strings.ReplaceAll(secret, "\n", "\r\n"))
	place(t, dir, "bom", "\ufeff\n "+plainRoot)
	place(t, dir, "torn", secret[:len(secret)/2])
	want := []string{"bom", "crlf", "keys/encrypted-online.key", "keys/files/hidden", "keys/plain-root.key", "torn"}
	wantFound(t, dir, skip, slices.Clone(want)...)

	outside := filepath.Join(t.TempDir(), "root.key")
	write(t, outside, secret, 0o600)
	if err := os.Symlink(outside, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	wantFound(t, dir, skip, slices.Sorted(slices.Values(append(want[:len(want):len(want)], "link")))...)

	_, err := keys.ScanForOffline(filepath.Join(dir, "missing"), skip)
	wantErr(t, "a missing folder", err, fs.ErrNotExist)
}

// TestScanKnowsForeignForms: the unencrypted private half of a known offline key is found in the
// forms of other tools, and only of known ones.
func TestScanKnowsForeignForms(t *testing.T) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err1 := x509.MarshalPKCS8PrivateKey(private)
	sec1, err2 := x509.MarshalECPrivateKey(private)
	public, err3 := x509.MarshalPKIXPublicKey(private.Public())
	known, err4 := key.FromCrypto(private.Public())
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		t.Fatal(err)
	}
	text := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	dir := t.TempDir()
	place(t, dir, "pkcs8.pem", text("PRIVATE KEY", pkcs8))
	place(t, dir, "public.pem", text("PUBLIC KEY", public))
	place(t, dir, "sec1.pem", "Some words.\n"+text("PUBLIC KEY", public)+text("EC PRIVATE KEY", sec1))
	place(t, dir, "torn.pem", text("PRIVATE KEY", pkcs8[:20]))
	k, err := keys.New("timestamp", private)
	if err != nil {
		t.Fatal(err)
	}
	place(t, dir, "under-another-name.key", read(t, online(t, k)))
	wantFound(t, dir, keys.Scan{})
	wantFound(t, dir, keys.Scan{Offline: []key.ID{generate(t, "other").Public().ID()}})
	wantFound(t, dir, keys.Scan{Offline: []key.ID{known.ID()}}, "pkcs8.pem", "sec1.pem", "under-another-name.key")
}

func FuzzIsOfflineKey(f *testing.F) {
	f.Add([]byte("bailiwick-key 1\nname: root\n"))
	f.Add([]byte("bailiwick-key 1\nname: timestamp\npublic: AA==\n-----BEGIN PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		// Whatever loads as an offline key file must be seen as one; so must anything around it.
		if keys.IsOfflineKey(data) != keys.IsOfflineKey(append([]byte("\n"), data...)) {
			t.Error("a line break in front hides a key")
		}
		path := filepath.Join(t.TempDir(), "a.key")
		write(t, path, string(data), 0o600)
		if info, err := keys.Show(path); err == nil && info.Offline && !keys.IsOfflineKey(data) {
			t.Errorf("%q is shown as an offline key and not seen as one", data)
		}
	})
}
