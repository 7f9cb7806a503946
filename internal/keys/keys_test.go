package keys_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"example.com/bailiwick/internal/keys"
	"example.com/bailiwick/internal/keys/keystest"
	"example.com/bailiwick/tuf/key"
)

const phrase = "correct horse battery staple"

// fast makes scrypt cheap enough for tests.
func fast() keys.Option { return keys.WithWorkFactor(4) }

func says(p string) keys.Passphrase {
	return func(context.Context, string) ([]byte, error) { return []byte(p), nil }
}

// nobody fails the test when it is asked.
func nobody(t *testing.T) keys.Passphrase {
	return func(_ context.Context, prompt string) ([]byte, error) {
		t.Errorf("was asked: %s", prompt)
		return nil, errors.New("nobody is there")
	}
}

func generate(t *testing.T, name string) *keys.Key {
	t.Helper()
	k, err := keys.Generate(name)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// kinds are one private key of every kind that a file holds.
func kinds(t *testing.T) map[string]crypto.Signer {
	t.Helper()
	_, ed, err1 := ed25519.GenerateKey(rand.Reader)
	p256, err2 := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	p384, err3 := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	rsa2048, err4 := rsa.GenerateKey(rand.Reader, 2048)
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		t.Fatal(err)
	}
	return map[string]crypto.Signer{"ed25519": ed, "p256": p256, "p384": p384, "rsa": rsa2048}
}

func online(t *testing.T, k *keys.Key) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "online.key")
	if err := keys.CreateOnline(path, k); err != nil {
		t.Fatal(err)
	}
	return path
}

func offline(t *testing.T, k *keys.Key) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "offline.key")
	if err := keys.CreateOffline(t.Context(), path, k, says(phrase), fast()); err != nil {
		t.Fatal(err)
	}
	return path
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func write(t *testing.T, path, data string, mode fs.FileMode) {
	t.Helper()
	if err := errors.Join(os.WriteFile(path, []byte(data), mode), os.Chmod(path, mode)); err != nil {
		t.Fatal(err)
	}
}

func wantErr(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

func TestRoundTrip(t *testing.T) {
	for kind, private := range kinds(t) {
		t.Run(kind, func(t *testing.T) {
			k, err := keys.New("timestamp", private)
			if err != nil {
				t.Fatal(err)
			}
			plain, secret := online(t, k), offline(t, k)
			fromPlain, err := keys.LoadOnline(plain)
			if err != nil {
				t.Fatal(err)
			}
			fromSecret, err := keys.LoadOffline(t.Context(), secret, says(phrase))
			if err != nil {
				t.Fatal(err)
			}
			for path, got := range map[string]*keys.Key{plain: fromPlain, secret: fromSecret} {
				if got.Name() != "timestamp" || got.Public().ID() != k.Public().ID() {
					t.Errorf("loaded %s, want %s", got, k)
				}
				keystest.Run(t, got)
				sig, err := got.Sign(t.Context(), []byte("message"))
				if err != nil || !k.Public().Verify([]byte("message"), sig) {
					t.Errorf("the loaded key signs for another public key: %v", err)
				}
				info, err := keys.Show(path)
				if err != nil || info.Name != "timestamp" || info.Public.ID() != k.Public().ID() || info.Offline != (path == secret) {
					t.Errorf("Show(%s) = %+v, %v", filepath.Base(path), info, err)
				}
			}
		})
	}
}

func TestCreateNeverOverwrites(t *testing.T) {
	first, second := generate(t, "timestamp"), generate(t, "timestamp")
	plain, secret := online(t, first), offline(t, first)
	before := read(t, plain) + read(t, secret)
	wantErr(t, "CreateOnline", keys.CreateOnline(plain, second), fs.ErrExist)
	wantErr(t, "CreateOffline", keys.CreateOffline(t.Context(), secret, second, nobody(t), fast()), fs.ErrExist)
	wantErr(t, "CreateOffline over an online key", keys.CreateOffline(t.Context(), plain, second, nobody(t), fast()), fs.ErrExist)
	if read(t, plain)+read(t, secret) != before {
		t.Error("a key file was changed")
	}
	for _, path := range []string{plain, secret} {
		info, err := os.Stat(path)
		if err != nil || info.Mode() != 0o600 {
			t.Errorf("%s: mode %v, %v; want 0600", path, info.Mode(), err)
		}
		if entries, err := os.ReadDir(filepath.Dir(path)); len(entries) != 1 || err != nil {
			t.Errorf("beside the key lie %v, %v", entries, err)
		}
	}
	missing := filepath.Join(t.TempDir(), "missing", "a.key")
	wantErr(t, "CreateOnline in a missing folder", keys.CreateOnline(missing, first), fs.ErrNotExist)
	wantErr(t, "CreateOffline in a missing folder", keys.CreateOffline(t.Context(), missing, first, says(phrase), fast()), fs.ErrNotExist)
}

func TestOnlineAndOfflineAreKeptApart(t *testing.T) {
	for _, name := range []string{"root", "targets", "claimed", "root-1", "claimed-12"} {
		path := filepath.Join(t.TempDir(), "a.key")
		wantErr(t, "writing the key "+name+" unencrypted", keys.CreateOnline(path, generate(t, name)), keys.ErrOffline)
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s was written", path)
		}
	}
	plain, secret := online(t, generate(t, "snapshot")), offline(t, generate(t, "root"))
	_, err := keys.LoadOnline(secret)
	wantErr(t, "LoadOnline of an encrypted file", err, keys.ErrOffline)
	_, err = keys.LoadOffline(t.Context(), plain, nobody(t))
	wantErr(t, "LoadOffline of a plain file", err, keys.ErrOnline)
	write(t, plain, strings.Replace(read(t, plain), "name: snapshot", "name: root", 1), 0o600)
	_, err = keys.LoadOnline(plain)
	wantErr(t, "LoadOnline of a plain file named root", err, keys.ErrOffline)
}

func TestPermissions(t *testing.T) {
	k := generate(t, "timestamp")
	for _, mode := range []fs.FileMode{0o640, 0o604, 0o644, 0o610, 0o602, 0o777} {
		path := online(t, k)
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		_, err := keys.LoadOnline(path)
		wantErr(t, fmt.Sprintf("mode %o", mode), err, keys.ErrPermissions)
		if !strings.Contains(err.Error(), "chmod 600 "+path) {
			t.Errorf("%q does not say what to do", err)
		}
	}
	path := online(t, k)
	if err := os.Chmod(path, 0o400); err != nil {
		t.Fatal(err)
	}
	if _, err := keys.LoadOnline(path); err != nil {
		t.Errorf("mode 400: %v", err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	_, err := keys.LoadOnline(link)
	wantErr(t, "a link", err, keys.ErrPermissions)
	_, err = keys.LoadOnline(filepath.Dir(path))
	wantErr(t, "a folder", err, keys.ErrPermissions)
	_, err = keys.LoadOnline("/dev/null")
	wantErr(t, "a device", err, keys.ErrPermissions)
	_, err = keys.LoadOnline(path + "-missing")
	wantErr(t, "nothing", err, fs.ErrNotExist)

	secret := offline(t, generate(t, "root")) // as on a stick without modes
	if err := os.Chmod(secret, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := keys.LoadOffline(t.Context(), secret, says(phrase)); err != nil {
		t.Errorf("an encrypted file with mode 777: %v", err)
	}
}

func TestPassphrase(t *testing.T) {
	k := generate(t, "root")
	path := offline(t, k)
	for _, wrong := range []string{"", "wrong", phrase + " ", strings.ToUpper(phrase)} {
		_, err := keys.LoadOffline(t.Context(), path, says(wrong))
		wantErr(t, fmt.Sprintf("passphrase %q", wrong), err, keys.ErrPassphrase)
	}
	fresh := filepath.Join(t.TempDir(), "fresh.key")
	wantErr(t, "an empty new passphrase", keys.CreateOffline(t.Context(), fresh, k, says(""), fast()), keys.ErrPassphrase)

	gone := errors.New("the person went away")
	away := func(context.Context, string) ([]byte, error) { return nil, gone }
	_, err := keys.LoadOffline(t.Context(), path, away)
	wantErr(t, "LoadOffline without an answer", err, gone)
	wantErr(t, "CreateOffline without an answer", keys.CreateOffline(t.Context(), fresh, k, away, fast()), gone)
	for _, work := range []int{-1, 0, 21} {
		if err := keys.CreateOffline(t.Context(), fresh, k, nobody(t), keys.WithWorkFactor(work)); err == nil {
			t.Errorf("work factor %d was accepted", work)
		}
	}
	if _, err := os.Lstat(fresh); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s was written", fresh)
	}

	var prompts []string
	answer := []byte(phrase)
	_, err = keys.LoadOffline(t.Context(), path, func(_ context.Context, prompt string) ([]byte, error) {
		prompts = append(prompts, prompt)
		return answer, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(prompts) != 1 || !strings.Contains(prompts[0], "root") || !strings.Contains(prompts[0], path) {
		t.Errorf("prompts %q, want one that names the key and the file", prompts)
	}
	if !bytes.Equal(answer, make([]byte, len(phrase))) {
		t.Error("the passphrase was not wiped")
	}
}

// TestShownPartIsAuthenticated: whoever changes the lines that are shown without a passphrase is
// found out when the key is loaded.
func TestShownPartIsAuthenticated(t *testing.T) {
	mine, other := generate(t, "root"), generate(t, "targets")
	mineText, otherText := read(t, offline(t, mine)), read(t, offline(t, other))
	lines, otherLines := strings.SplitAfterN(mineText, "\n", 4), strings.SplitAfterN(otherText, "\n", 4)
	for name, text := range map[string]string{
		"another public key": lines[0] + lines[1] + otherLines[2] + lines[3],
		"another name":       lines[0] + otherLines[1] + lines[2] + lines[3],
		"another key":        lines[0] + lines[1] + lines[2] + otherLines[3],
	} {
		path := filepath.Join(t.TempDir(), "a.key")
		write(t, path, text, 0o600)
		if _, err := keys.Show(path); err != nil {
			t.Errorf("%s: Show: %v", name, err)
		}
		_, err := keys.LoadOffline(t.Context(), path, says(phrase))
		wantErr(t, name, err, keys.ErrNotKey)
	}
	plain, otherPlain := read(t, online(t, generate(t, "snapshot"))), read(t, online(t, generate(t, "snapshot")))
	lines, otherLines = strings.SplitAfterN(plain, "\n", 4), strings.SplitAfterN(otherPlain, "\n", 4)
	path := filepath.Join(t.TempDir(), "a.key")
	write(t, path, lines[0]+lines[1]+otherLines[2]+lines[3], 0o600)
	_, err := keys.LoadOnline(path)
	wantErr(t, "a plain file with another public key", err, keys.ErrNotKey)
}

func TestDamage(t *testing.T) {
	plain, secret := read(t, online(t, generate(t, "snapshot"))), read(t, offline(t, generate(t, "root")))
	load := func(text string) error {
		path := filepath.Join(t.TempDir(), "a.key")
		write(t, path, text, 0o600)
		_, err := keys.LoadOnline(path)
		if errors.Is(err, keys.ErrOffline) {
			_, err = keys.LoadOffline(t.Context(), path, says(phrase))
		}
		if _, showErr := keys.Show(path); err == nil && showErr != nil {
			t.Errorf("loaded, but not shown: %v", showErr)
		}
		return err
	}
	for _, good := range []string{plain, secret} {
		if err := load(good); err != nil {
			t.Fatal(err)
		}
		lines := strings.SplitAfter(good, "\n")
		for i := range lines[:len(lines)-1] {
			wantErr(t, fmt.Sprintf("without line %d", i+1), load(strings.Join(slices.Delete(slices.Clone(lines), i, i+1), "")), keys.ErrNotKey)
		}
		for _, cut := range []int{0, 5, 20, 60, 100, 150, 200, len(good) - 30} {
			wantErr(t, fmt.Sprintf("cut at %d", cut), load(good[:cut]), keys.ErrNotKey)
		}
		for name, bad := range map[string]string{
			"blank in front":  " " + good,
			"CRLF":            strings.ReplaceAll(good, "\n", "\r\n"),
			"something after": good + "more\n",
			"too long":        good + strings.Repeat("\n", 70_000),
			"format 01":       strings.Replace(good, "key 1", "key 01", 1),
			"format x":        strings.Replace(good, "key 1", "key x", 1),
			"format 0":        strings.Replace(good, "key 1", "key 0", 1),
			"no name":         strings.Replace(good, "name: ", "name: !", 1),
		} {
			wantErr(t, name, load(bad), keys.ErrNotKey)
		}
		wantErr(t, "format 2", load(strings.Replace(good, "key 1", "key 2", 1)), keys.ErrNewer)
	}
	for _, junk := range []string{"", "\n", "SQLite format 3\x00", strings.Repeat("x", 70_000), "bailiwick-key 1\nname: a\npublic: AA=="} {
		wantErr(t, "junk", load(junk), keys.ErrNotKey)
	}
}

// TestExpensiveFileIsRefused: a file from outside must not make loading take minutes or gigabytes.
func TestExpensiveFileIsRefused(t *testing.T) {
	path := offline(t, generate(t, "root"))
	text := read(t, path)
	begin := strings.Index(text, "-----BEGIN AGE")
	block, _ := pem.Decode([]byte(strings.ReplaceAll(text[begin:], "AGE ENCRYPTED FILE", "X")))
	if block == nil {
		t.Fatal("the armour can not be read")
	}
	costly := bytes.Replace(block.Bytes, []byte(" 4\n"), []byte(" 28\n"), 1)
	if bytes.Equal(costly, block.Bytes) {
		t.Fatal("the work factor was not found")
	}
	armoured := strings.ReplaceAll(string(pem.EncodeToMemory(&pem.Block{Type: "X", Bytes: costly})), "X-----", "AGE ENCRYPTED FILE-----")
	write(t, path, text[:begin]+armoured, 0o600)
	_, err := keys.LoadOffline(t.Context(), path, says(phrase))
	wantErr(t, "work factor 28", err, keys.ErrNotKey)
}

func TestNames(t *testing.T) {
	for _, bad := range []string{"", "A", "1", "-a", "a b", "a\nb", "é", "../a", "a/b", strings.Repeat("a", 65)} {
		_, err := keys.Generate(bad)
		wantErr(t, fmt.Sprintf("name %q", bad), err, keys.ErrName)
	}
	for _, good := range []string{"a", "root", "root-2", "project.flask", strings.Repeat("a", 64)} {
		if k := generate(t, good); k.Name() != good {
			t.Errorf("Name = %q, want %q", k.Name(), good)
		}
	}
	if _, err := keys.New("a", nil); err == nil {
		t.Error("a key without a private key was made")
	}
	for name, want := range map[string]bool{
		"root": true, "root-1": true, "root-23": true, "targets": true, "claimed": true, "claimed-9": true,
		"timestamp": false, "snapshot-1": false, "registry": false, "rooted": false, "root-x": false, "": false,
	} {
		if got := keys.IsOfflineName(name); got != want {
			t.Errorf("IsOfflineName(%q) = %t", name, got)
		}
	}
}

// TestSecretsAreNotPrinted looks for the private key, in any spelling, in everything that prints.
func TestSecretsAreNotPrinted(t *testing.T) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	k, err := keys.New("root", private)
	if err != nil {
		t.Fatal(err)
	}
	secret := read(t, offline(t, k))
	plainKey, err := keys.New("timestamp", private)
	if err != nil {
		t.Fatal(err)
	}
	plain := online(t, plainKey)
	text := read(t, plain)
	write(t, plain, strings.Replace(text, "PRIVATE KEY-----\nMC4C", "PRIVATE KEY-----\nMC4D", 1), 0o600)
	_, damaged := keys.LoadOnline(plain)
	if damaged == nil {
		t.Fatal("a damaged private key was loaded")
	}
	seed := private.Seed()
	for _, printed := range []string{
		fmt.Sprint(k), fmt.Sprintf("%v %+v %#v %s %x %q", k, k, k, k, k, k), damaged.Error(), secret,
	} {
		for _, form := range []string{
			string(seed), hex.EncodeToString(seed), fmt.Sprintf("%d", seed)[1:40],
			base64.StdEncoding.EncodeToString(seed), text[strings.Index(text, "BEGIN PRIVATE"):],
		} {
			if strings.Contains(printed, form) {
				t.Errorf("the secret is in %.60q…", printed)
			}
		}
	}
}

func TestOpenSSLReadsPlainFiles(t *testing.T) {
	k := generate(t, "timestamp")
	block, rest := pem.Decode([]byte(read(t, online(t, k)))) // RFC 7468: text in front is skipped
	if block == nil || len(rest) != 0 {
		t.Fatal("not a PEM file")
	}
	private, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	public, err := key.FromCrypto(private.(crypto.Signer).Public())
	if err != nil || public.ID() != k.Public().ID() {
		t.Errorf("another key: %v", err)
	}
}
