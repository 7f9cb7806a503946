package cli_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"example.com/bailiwick/internal/cli"
	"example.com/bailiwick/internal/keys"
	"example.com/bailiwick/tuf/key"
)

// TestStrictScripts tells the stories of testdata/strict: an index whose server holds the timestamp key alone.
func TestStrictScripts(t *testing.T) {
	runStories(t, filepath.Join("testdata", "strict", "*.txt"))
}

// startSigner runs bailiwick signer for the server of the story, and returns when it is connected.
func (s *story) startSigner(ts *testscript.TestScript, args []string) error {
	b := &s.signer
	if b.cmd != nil {
		return errors.New("the signer of this story runs already")
	}
	url := ts.Getenv("URL")
	b.cmd = exec.Command("bailiwick", append([]string{"signer", "--index", url, "--keys"}, args...)...)
	b.cmd.Dir, b.cmd.Env = ts.MkAbs("."), environ(ts)
	if err := b.start(ts.MkAbs("signer.log"), s.tb); err != nil {
		b.cmd = nil
		return err
	}
	if strings.TrimSpace(b.said) != "connected to "+url {
		return errors.Join(fmt.Errorf("the signer printed %q", b.said), b.end(os.Kill))
	}
	return nil
}

func (s *story) endSigner(*testscript.TestScript, []string) error {
	return s.signer.end(syscall.SIGTERM)
}

func (s *story) crashSigner(*testscript.TestScript, []string) error {
	_ = s.signer.end(os.Kill) // says that it was killed
	return nil
}

// TestR3OnePrivateKeyOnTheServer inspects the whole storage of a server in custody strict, after a life of uploads with
// and without its signer: the ledger with its log, the files, what is staged, and all else. The one private key in
// it is that of the timestamp; and the server, opened, can sign with no other.
func TestR3OnePrivateKeyOnTheServer(t *testing.T) {
	dir := t.TempDir()
	script := filepath.Join(dir, "life.txt")
	if err := os.WriteFile(script, []byte(strictLife), 0o600); err != nil {
		t.Fatal(err)
	}
	inspected := 0
	own := commands()
	own["inspect"] = command(2, func(s *story, ts *testscript.TestScript, args []string) error {
		inspected++
		inspectStorage(s.tb, ts.MkAbs(args[0]), ts.MkAbs(args[1]))
		return nil
	})
	own["canSign"] = command(1, func(s *story, ts *testscript.TestScript, args []string) error {
		wantOneKey(s.tb, ts.MkAbs(args[0]))
		return nil
	})
	testscript.Run(t, testscript.Params{Files: []string{script}, Setup: setUp, RequireExplicitExec: true, Cmds: own})
	t.Cleanup(func() { // the story is told beside others
		if want := strings.Count(strictLife, "\ninspect"); inspected != want {
			t.Errorf("%d inspections of %d were made", inspected, want)
		}
	})
}

// strictLife is a life in which everything happens that a server writes down.
const strictLife = `
env BAILIWICK_PASSPHRASE_FILE=$WORK/pass
exec bailiwick init --data data --offline-keys offline --bins 16 --custody strict --signer-keys keys --json
cp stdout made.json
field made.json upload_token TOKEN
inspect data keys
serve --data data
signer keys --data state
upload TOKEN flask 1.0
inspect data keys
signoff
! upload TOKEN flask 2.0
inspect data keys
crash
inspect data keys
serve --data data
signer keys --data state
upload TOKEN django 1.0
exec bailiwick signer new-key registry --keys keys
signoff
signer keys --data state
exec bailiwick rotate registry --data data --out r.request
exec bailiwick-sign r.request --key file:offline/unclaimed.key --out r.signed --memory mem --yes
exec bailiwick request import r.signed --data data
upload TOKEN django 2.0
inspect data keys
signoff
shutdown
inspect data keys
canSign data
-- pass --
correct horse battery staple
`

// inspectStorage looks into every file of a data folder for private keys: those of the signer, in every form in which
// they might be written, and any other by the form alone.
func inspectStorage(t testing.TB, data, signer string) {
	t.Helper()
	forbidden := map[string]string{} // bytes → what they are
	paths, err := filepath.Glob(filepath.Join(signer, "*.key"))
	if err != nil || len(paths) < 2 {
		t.Fatalf("the signer has %d keys, %v", len(paths), err)
	}
	for _, path := range paths {
		name := filepath.Base(path)
		seed := seedOf(t, path)
		forbidden[string(seed)] = name
		forbidden[hex.EncodeToString(seed)] = name + " in hex"
		forbidden[strings.ToUpper(hex.EncodeToString(seed))] = name + " in hex"
		for skip := range 3 { // base64 looks otherwise by where in its text the bytes begin
			text := base64.RawStdEncoding.EncodeToString(append(make([]byte, skip), seed...))
			forbidden[text[4:len(text)-2]] = name + " in base64"
			forbidden[strings.NewReplacer("+", "-", "/", "_").Replace(text[4:len(text)-2])] = name + " in base64"
		}
	}
	// PKCS #8 and its beginning in PEM, OpenSSH, SEC 1, PKCS #1, and what age encrypts: there is one such file.
	forms := []string{"PRIVATE KEY", "\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20", "MC4CAQAwBQYDK2VwBCIEI", "openssh-key-v1", "AGE-SECRET-KEY-", "age-encryption.org"}
	seen := 0
	err = filepath.WalkDir(data, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		seen++
		for bytesOf, what := range forbidden {
			if bytes.Contains(content, []byte(bytesOf)) {
				t.Errorf("%s holds the private key %s", path, what)
			}
		}
		if path == filepath.Join(data, "keys", "timestamp.key") {
			return nil
		}
		for _, form := range forms {
			if bytes.Contains(content, []byte(form)) {
				t.Errorf("%s holds what looks like a private key (%q)", path, form)
			}
		}
		return nil
	})
	if err != nil || seen < 4 {
		t.Errorf("%d files were inspected, %v; this proves nothing", seen, err)
	}
}

// seedOf reads the secret of a plain key file.
func seedOf(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(data[bytes.Index(data, []byte("-----BEGIN")):])
	if block == nil {
		t.Fatalf("%s holds no PEM", path)
	}
	private, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return private.(ed25519.PrivateKey).Seed()
}

// wantOneKey opens the server and asks what it can sign with.
func wantOneKey(t testing.TB, data string) {
	t.Helper()
	held, named := cli.KeysOfServer(t.Context(), t, data)
	if !slices.Equal(held, []key.ID{named["timestamp"]}) {
		t.Errorf("the server can sign with %v; want the timestamp key %v alone", held, named["timestamp"])
	}
	if len(named) != 3 || named["timestamp"] == named["snapshot"] || named["snapshot"] == named["registry"] {
		t.Errorf("the repository names %v", named)
	}
}

// noticing is a test that counts its failures.
type noticing struct {
	testing.TB
	failures int
}

func (n *noticing) Errorf(string, ...any) { n.failures++ }

// TestTheInspectionFinds: whatever form the signer's key has in a file of the server, the inspection finds it.
func TestTheInspectionFinds(t *testing.T) {
	dir := t.TempDir()
	data, signer := filepath.Join(dir, "data"), filepath.Join(dir, "signer")
	for _, folder := range []string{filepath.Join(data, "keys"), signer} {
		if err := os.MkdirAll(folder, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	var k *keys.Key
	for path, name := range map[string]string{signer + "/registry.key": "registry", signer + "/snapshot.key": "snapshot", data + "/keys/timestamp.key": "timestamp"} {
		made, err := keys.Generate(name)
		if err == nil {
			err = keys.CreateOnline(path, made)
		}
		if err != nil {
			t.Fatal(err)
		}
		if name == "registry" {
			k = made
		}
	}
	for _, name := range []string{"a", "b", "c"} {
		if err := os.WriteFile(filepath.Join(data, name), []byte("nothing"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	seed := seedOf(t, filepath.Join(signer, "registry.key"))
	plain, err := os.ReadFile(filepath.Join(signer, "registry.key"))
	if err != nil {
		t.Fatal(err)
	}
	for what, form := range map[string]string{
		"": "nothing", "seed": string(seed), "hex": hex.EncodeToString(seed), "file": string(plain),
		"base64": base64.StdEncoding.EncodeToString(append([]byte("x"), seed...)), "url": base64.URLEncoding.EncodeToString(append([]byte("xy"), seed...)),
		"foreign": "-----BEGIN EC PRIVATE KEY-----",
	} {
		if err := os.WriteFile(filepath.Join(data, "ledger.db-wal"), []byte("before "+form+" after"), 0o600); err != nil {
			t.Fatal(err)
		}
		n := &noticing{TB: t}
		inspectStorage(n, data, signer)
		if found := n.failures > 0; found != (what != "") {
			t.Errorf("a file with the key of %s as %q: found %t", k.Name(), what, found)
		}
	}
}
