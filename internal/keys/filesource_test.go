package keys_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"example.com/bailiwick/internal/keys"
	"example.com/bailiwick/internal/keys/keystest"
	"example.com/bailiwick/tuf/key"
)

// fileOpener opens key files, answering questions with one passphrase.
func fileOpener(t *testing.T, p string) *keys.Opener {
	return opener(t, keys.OpenOptions{Passphrase: says(p), Getenv: environment("HOME", "/home/alice")})
}

// maintainerKey is an encrypted key file, as bailiwick keys new makes it.
func maintainerKey(t *testing.T, name string) (path string, k *keys.Key) {
	t.Helper()
	k = generate(t, name)
	path = filepath.Join(t.TempDir(), name+".key")
	if err := keys.CreateOffline(t.Context(), path, k, says(phrase), fast()); err != nil {
		t.Fatal(err)
	}
	return path, k
}

func pkcs8(t *testing.T, private any) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

func TestFileSigns(t *testing.T) {
	path, k := maintainerKey(t, "alice")
	for _, uri := range []string{path, "file:" + path, "FILE:" + path, "file://" + path, "file://localhost" + path, "/" + path} {
		s, err := fileOpener(t, phrase).OpenOne(t.Context(), uri)
		if err != nil {
			t.Errorf("%s: %v", uri, err)
			continue
		}
		if s.Public().ID() != k.Public().ID() || s.Info().Name != "alice" || s.Info().URI != "file:"+path || s.Info().Type != "ed25519" {
			t.Errorf("%s: opened %+v", uri, s.Info())
		}
	}
	s, err := fileOpener(t, phrase).OpenOne(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	keystest.Run(t, s)
}

// TestFileOfOtherTools: a PKCS #8 file that only its owner can read will do, for pipelines.
func TestFileOfOtherTools(t *testing.T) {
	for kind, private := range kinds(t) {
		t.Run(kind, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "ci.pem")
			write(t, path, pkcs8(t, private), 0o600)
			o := opener(t, keys.OpenOptions{Passphrase: nobody(t)})
			s, err := o.OpenOne(t.Context(), "file:"+path)
			if err != nil {
				t.Fatal(err)
			}
			want, err := key.FromCrypto(private.Public())
			if err != nil || s.Public().ID() != want.ID() || s.Info().Name != "ci" {
				t.Errorf("opened %+v, want %s", s.Info(), want.ID())
			}
			keystest.Run(t, s)
		})
	}
	plain := filepath.Join(t.TempDir(), "plain.key")
	if err := keys.CreateOnline(plain, generate(t, "ci")); err != nil {
		t.Fatal(err)
	}
	s, err := opener(t, keys.OpenOptions{Passphrase: nobody(t)}).OpenOne(t.Context(), plain)
	if err != nil || s.Info().Name != "ci" {
		t.Errorf("a plain key file: %v", err)
	}
}

func TestFileRefused(t *testing.T) {
	dir := t.TempDir()
	good, _ := maintainerKey(t, "alice")
	text := read(t, good)
	at := func(name, content string, mode fs.FileMode) string {
		path := filepath.Join(dir, name)
		write(t, path, content, mode)
		return path
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(good, link); err != nil {
		t.Fatal(err)
	}
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	openSSH, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	public, err := ssh.NewPublicKey(&private.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	plain := pkcs8(t, private)
	tests := map[string]struct {
		path string
		want error
		says string
	}{
		"missing":           {filepath.Join(dir, "none.key"), fs.ErrNotExist, "bailiwick keys new"},
		"folder":            {dir, keys.ErrPermissions, "folder"},
		"link":              {link, keys.ErrPermissions, "symbolic link"},
		"device":            {"/dev/zero", keys.ErrPermissions, "special file"},
		"others read it":    {at("wide", text, 0o644), keys.ErrPermissions, "chmod 600"},
		"its group does":    {at("group", text, 0o640), keys.ErrPermissions, "chmod 600"},
		"others write it":   {at("written", text, 0o602), keys.ErrPermissions, "chmod 600"},
		"wide PKCS #8":      {at("wide.pem", plain, 0o644), keys.ErrPermissions, "chmod 600"},
		"empty":             {at("empty", "", 0o600), keys.ErrNotKey, "first line"},
		"half":              {at("half", text[:len(text)/2], 0o600), keys.ErrNotKey, ""},
		"head":              {at("head", text[:strings.Index(text, "-----")], 0o600), keys.ErrNotKey, "third line"},
		"one byte less":     {at("short", text[:len(text)-40], 0o600), keys.ErrNotKey, ""},
		"huge":              {at("huge", text+strings.Repeat("x", 70_000), 0o600), keys.ErrNotKey, "more than"},
		"newer":             {at("newer", strings.Replace(text, "key 1", "key 2", 1), 0o600), keys.ErrNewer, ""},
		"another's name":    {at("renamed", strings.Replace(text, "name: alice", "name: bob", 1), 0o600), keys.ErrNotKey, "name"},
		"root":              {offline(t, generate(t, "root")), keys.ErrReserved, "root"},
		"registry":          {online(t, generate(t, "registry")), keys.ErrReserved, "registry"},
		"OpenSSH":           {at("id", string(pem.EncodeToMemory(openSSH)), 0o600), keys.ErrNotKey, "ssh-add"},
		"OpenSSH, public":   {at("id.pub", string(ssh.MarshalAuthorizedKey(public)), 0o600), keys.ErrNotKey, "public key"},
		"SEC 1":             {at("sec1", "-----BEGIN EC PRIVATE KEY-----\n", 0o600), keys.ErrNotKey, "openssl pkcs8"},
		"encrypted PKCS #8": {at("enc", "-----BEGIN ENCRYPTED PRIVATE KEY-----\n", 0o600), keys.ErrNotKey, "encrypted PKCS #8"},
		"public":            {at("public", "-----BEGIN PUBLIC KEY-----\n", 0o600), keys.ErrNotKey, "public key"},
		"age identity":      {at("age", "AGE-SECRET-KEY-1QQQQ", 0o600), keys.ErrNotKey, "decrypting"},
		"age file":          {at("age2", "age-encryption.org/v1\n", 0o600), keys.ErrNotKey, "bailiwick keys new"},
		"half PKCS #8":      {at("half.pem", plain[:len(plain)/2], 0o600), keys.ErrNotKey, ""},
		"two PKCS #8":       {at("two.pem", plain+plain, 0o600), keys.ErrNotKey, "one block"},
		"P-224":             {at("p224.pem", pkcs8(t, p224), 0o600), key.ErrUnsupported, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := fileOpener(t, phrase).Open(t.Context(), "file:"+test.path)
			wantErr(t, name, err, test.want)
			if err != nil && (!strings.Contains(err.Error(), test.says) || !strings.Contains(err.Error(), test.path)) {
				t.Errorf("%v: does not name the file or say %q", err, test.says)
			}
			for _, line := range strings.Split(plain, "\n")[1:4] {
				if err != nil && len(line) > 20 && strings.Contains(err.Error(), line[:20]) {
					t.Errorf("%v: quotes a private key", err)
				}
			}
		})
	}
}

func TestFilePassphrase(t *testing.T) {
	path, _ := maintainerKey(t, "alice")
	for what, p := range map[string]string{"wrong": "another one entirely", "empty": "", "longer": phrase + " "} {
		_, err := fileOpener(t, p).Open(t.Context(), path)
		wantErr(t, what, err, keys.ErrPassphrase)
		if p != "" && strings.Contains(err.Error(), p) {
			t.Errorf("%v: quotes the passphrase", err)
		}
	}
	gone := errors.New("the terminal is gone")
	o := opener(t, keys.OpenOptions{Passphrase: func(_ context.Context, prompt string) ([]byte, error) {
		if !strings.Contains(prompt, "alice") || !strings.Contains(prompt, path) {
			t.Errorf("asked %q", prompt)
		}
		return nil, gone
	}})
	_, err := o.Open(t.Context(), path)
	wantErr(t, "asking", err, gone)
	if _, err := opener(t, keys.OpenOptions{}).Open(t.Context(), path); err == nil || !strings.Contains(err.Error(), "nobody to ask") {
		t.Errorf("without a Passphrase: %v", err)
	}
}

// TestFileShow needs no passphrase, and says what stands in the way of opening.
func TestFileShow(t *testing.T) {
	path, k := maintainerKey(t, "alice")
	o := opener(t, keys.OpenOptions{Passphrase: nobody(t)})
	info, err := o.Show(t.Context(), path)
	if err != nil || info.Problem != nil || info.Public.ID() != k.Public().ID() || info.SSH != keys.SSHFingerprint(k.Public()) {
		t.Errorf("Show = %+v, %v", info, err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	info, err = o.Show(t.Context(), path)
	if err != nil || info.Public == nil {
		t.Errorf("Show = %+v, %v", info, err)
	}
	wantErr(t, "a wide mode", info.Problem, keys.ErrPermissions)
	info, err = o.Show(t.Context(), offline(t, generate(t, "root-2")))
	if err != nil {
		t.Error(err)
	}
	wantErr(t, "a root key", info.Problem, keys.ErrReserved)
	_, err = o.Show(t.Context(), t.TempDir())
	wantErr(t, "a folder", err, keys.ErrNotKey)
}

func TestListFiles(t *testing.T) {
	dir := t.TempDir()
	if all, err := keys.ListFiles(filepath.Join(dir, "none")); err != nil || all != nil {
		t.Errorf("a missing folder: %v, %v", all, err)
	}
	for _, name := range []string{"bob", "alice"} {
		if err := keys.CreateOffline(t.Context(), filepath.Join(dir, name+".key"), generate(t, name), says(phrase), fast()); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(dir, "broken.key"), "x", 0o600)
	write(t, filepath.Join(dir, "notes.txt"), "x", 0o600)
	if err := os.Mkdir(filepath.Join(dir, "folder.key"), 0o700); err != nil {
		t.Fatal(err)
	}
	all, err := keys.ListFiles(dir)
	if err != nil || len(all) != 4 {
		t.Fatalf("ListFiles = %v, %v", all, err)
	}
	for i, want := range []string{"alice", "bob", "", ""} {
		if all[i].Name != want || (all[i].Problem == nil) != (want != "") || !strings.HasPrefix(all[i].URI, "file:"+dir) {
			t.Errorf("%d: %+v", i, all[i])
		}
	}
}

func TestURIs(t *testing.T) {
	o := fileOpener(t, phrase)
	for _, bad := range []string{
		"", "file:", "file://", "file://elsewhere/a", "file:///a?b", "file:///a#b", "file:///%zz", "file:a\x00b",
		"awskms:///alias/x", "gcpkms://projects/x", "foo:bar", "ssh:", "pkcs11:", "x-y+z.1:",
		"pkcs11:token=a;pin-value=1234", "pkcs11:token=a?PIN-VALUE=1234", "token=a?pin-value=1234", "pkcs:token=a?pin-value=1234",
		"pkcs11:token=a?pin%2Dvalue=1234", "pkcs11:object=a;1234", "pkcs11:1234=a",
	} {
		if bad == "pkcs11:" && keys.TokensBuilt() == false { // names every token
			continue
		}
		_, err := o.Open(t.Context(), bad)
		wantErr(t, bad, err, keys.ErrURI)
		if err != nil && bad != "pkcs11:1234=a" && strings.Contains(err.Error(), "1234") {
			t.Errorf("%v: quotes a PIN", err)
		}
		if _, err := o.List(t.Context(), bad); !errors.Is(err, keys.ErrURI) {
			t.Errorf("List(%q): %v", bad, err)
		}
	}
	for _, path := range []string{"c:\\alice.key", "a", "./foo:bar", "1a:b", "~/alice.key", "file:~/alice.key"} {
		_, err := o.Open(t.Context(), path)
		wantErr(t, path, err, fs.ErrNotExist)
	}
	_, err := o.Open(t.Context(), "file:~/alice.key")
	if err == nil || !strings.Contains(err.Error(), "/home/alice/alice.key") {
		t.Errorf("~: %v", err)
	}
}

// TestFingerprints: those of OpenSSH, and of every spelling of a key.
func TestFingerprints(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for kind, private := range kinds(t) {
		k, err := key.FromCrypto(private.Public())
		if err != nil {
			t.Fatal(err)
		}
		s, err := ssh.NewPublicKey(private.Public())
		if err != nil {
			t.Fatal(err)
		}
		if got := keys.SSHFingerprint(k); got != ssh.FingerprintSHA256(s) {
			t.Errorf("%s: %s, want %s", kind, got, ssh.FingerprintSHA256(s))
		}
		ec, ok := private.(*ecdsa.PrivateKey)
		if !ok {
			continue
		}
		point, err := ec.PublicKey.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		spelled, err := key.New("ecdsa", k.Scheme(), hex.EncodeToString(point))
		if err != nil {
			t.Fatal(err)
		}
		if keys.SSHFingerprint(spelled) != keys.SSHFingerprint(k) {
			t.Errorf("%s: another spelling has another fingerprint", kind)
		}
	}
	if k, err := key.FromCrypto(&rsaKey.PublicKey); err != nil || !strings.HasPrefix(keys.SSHFingerprint(k), "SHA256:") {
		t.Error("no fingerprint for RSA")
	}
}

func TestReservedNames(t *testing.T) {
	for name, want := range map[string]bool{
		"root": true, "root-2": true, "targets": true, "claimed": true, "registry": true, "snapshot-10": true, "timestamp": true,
		"alice": false, "rooted": false, "ci": false, "root-x": false, "my-root": false,
	} {
		if keys.IsReservedName(name) != want {
			t.Errorf("IsReservedName(%q) = %t", name, !want)
		}
	}
	if !keys.IsName("alice-2") || keys.IsName("Alice") {
		t.Error("IsName")
	}
}

// TestLastTry: a PIN in a file is not what locks a token; a person who is told may try.
func TestLastTry(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pin")
	write(t, file, "1234", 0o600)
	if pin, err := keys.AskPIN(t.Context(), keys.OpenOptions{PIN: nobody(t)}, file); err == nil || pin != nil || !strings.Contains(err.Error(), "locks it") {
		t.Errorf("a file: %s, %v", pin, err)
	}
	pin, err := keys.AskPIN(t.Context(), keys.OpenOptions{PIN: func(_ context.Context, prompt string) ([]byte, error) {
		if !strings.Contains(prompt, "the last try") {
			t.Errorf("asked %q", prompt)
		}
		return []byte("1234"), nil
	}}, "")
	if err != nil || string(pin) != "1234" {
		t.Errorf("a person: %s, %v", pin, err)
	}
}
