//go:build cgo && pkcs11

package keys_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"example.com/bailiwick/internal/keys"
	"example.com/bailiwick/internal/keys/keystest"
	"example.com/bailiwick/internal/keys/pkcs11"
)

const (
	userPIN   = "428731"
	officePIN = "87654321"
)

// softHSM finds the library of SoftHSM2, where Debian, Fedora and Homebrew put it.
func softHSM(t *testing.T) string {
	t.Helper()
	needs(t, "softhsm2", "softhsm2-util")
	needs(t, "opensc", "pkcs11-tool")
	for _, pattern := range []string{"/usr/lib/softhsm", "/usr/lib/*/softhsm", "/usr/lib64/pkcs11", "/opt/homebrew/lib/softhsm", "/usr/local/lib/softhsm"} {
		if found, _ := filepath.Glob(filepath.Join(pattern, "libsofthsm2.so")); len(found) > 0 {
			return found[0]
		}
	}
	without(t, "libsofthsm2.so is in none of its places")
	return ""
}

// device is a SoftHSM2 with tokens of its own.
type device struct {
	t      *testing.T
	module string
}

func newDevice(t *testing.T) *device {
	t.Helper()
	d := &device{t: t, module: softHSM(t)}
	dir := t.TempDir()
	conf := filepath.Join(dir, "softhsm2.conf")
	write(t, conf, fmt.Sprintf("directories.tokendir = %s\nobjectstore.backend = file\nlog.level = ERROR\n", dir), 0o600)
	t.Setenv("SOFTHSM2_CONF", conf) // before the library is loaded; so these tests are not parallel
	return d
}

func (d *device) addToken(label string) {
	d.t.Helper()
	runs(d.t, nil, "", "softhsm2-util", "--init-token", "--free", "--label", label, "--pin", userPIN, "--so-pin", officePIN)
}

// tool runs pkcs11-tool on a token.
func (d *device) tool(label string, args ...string) {
	d.t.Helper()
	runs(d.t, nil, "", "pkcs11-tool", append([]string{"--module", d.module, "--token-label", label, "--login", "--pin", userPIN}, args...)...)
}

func (d *device) addKey(label, kind, object, id string, more ...string) {
	d.t.Helper()
	d.tool(label, append([]string{"--keypairgen", "--key-type", kind, "--label", object, "--id", id}, more...)...)
}

// uri completes the path of a URI.
func (d *device) uri(path string) string { return "pkcs11:" + path + "?module-path=" + d.module }

// asks counts how often a PIN was asked, and answers.
type asks struct {
	n       int
	prompts []string
	answer  string
}

func (a *asks) pin(_ context.Context, prompt string) ([]byte, error) {
	a.n++
	a.prompts = append(a.prompts, prompt)
	return []byte(a.answer), nil
}

func tokenOpener(t *testing.T, answer string) (*keys.Opener, *asks) {
	a := &asks{answer: answer}
	return opener(t, keys.OpenOptions{PIN: a.pin, Passphrase: nobody(t)}), a
}

func TestTokenSigns(t *testing.T) {
	d := newDevice(t)
	d.addToken("spare")
	d.addToken("my work; 100%")
	token := "token=my%20work%3B%20100%25"
	for i, k := range []struct{ kind, object string }{
		{"EC:edwards25519", "ed"}, {"EC:prime256v1", "ec256"}, {"EC:secp384r1", "ec384"}, {"rsa:2048", "rsa"}, {"EC:secp521r1", "ec521"},
	} {
		d.addKey("my work; 100%", k.kind, k.object, fmt.Sprintf("0%d", i+1))
	}
	o, asked := tokenOpener(t, userPIN)
	listed, err := o.List(t.Context(), d.uri(token))
	if err != nil || len(listed) != 5 {
		t.Fatalf("List = %v, %v", listed, err)
	}
	for _, k := range listed {
		if (k.Problem == nil) != (k.Name != "ec521") {
			t.Errorf("%s: %v", k.Name, k.Problem)
		}
	}
	if asked.n != 0 {
		t.Error("listing asked for the PIN")
	}
	types := map[string]string{"ed": "ed25519", "ec256": "ecdsa-p256", "ec384": "ecdsa-p384", "rsa": "rsa-2048"}
	for object, want := range types {
		t.Run(object, func(t *testing.T) {
			uri := d.uri(token + ";object=" + object)
			s, err := o.OpenOne(t.Context(), uri)
			if err != nil {
				t.Fatal(err)
			}
			shown, err := o.Show(t.Context(), uri)
			if err != nil || shown.Public.ID() != s.Public().ID() || shown.URI != s.Info().URI || shown.SSH != s.Info().SSH {
				t.Errorf("shown as %+v, opened as %+v, %v", shown, s.Info(), err)
			}
			if s.Info().Type != want || s.Info().Name != object {
				t.Errorf("opened %+v", s.Info())
			}
			again, err := o.OpenOne(t.Context(), s.Info().URI) // what is shown can be used
			if err != nil || again.Public().ID() != s.Public().ID() {
				t.Errorf("opening %s: %v", s.Info().URI, err)
			}
			keystest.Run(t, s)
		})
	}
	if asked.n != 1 || !strings.Contains(asked.prompts[0], "my work; 100%") {
		t.Errorf("asked for the PIN %d times: %q", asked.n, asked.prompts)
	}
	_, err = o.Open(t.Context(), d.uri(token+";object=ec521"))
	wantErr(t, "P-521", err, keys.ErrUnusable)
	all, err := o.Open(t.Context(), d.uri(token))
	if err != nil || len(all) != 4 {
		t.Errorf("every key: %v, %v", all, err)
	}
	_, err = o.OpenOne(t.Context(), d.uri(token))
	wantErr(t, "every key where one is wanted", err, keys.ErrSeveral)
	byID, err := o.OpenOne(t.Context(), d.uri(token+";id=%02"))
	if err != nil || byID.Info().Name != "ec256" {
		t.Errorf("by id: %v, %v", byID, err)
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := byID.Sign(t.Context(), []byte("m")); err == nil {
		t.Error("a key of a closed Opener signs")
	}
	if _, err := opener(t, keys.OpenOptions{PIN: asked.pin}).OpenOne(t.Context(), d.uri(token+";id=%02")); err != nil { // the library can be loaded again
		t.Error(err)
	}
}

func TestTokenPIN(t *testing.T) {
	d := newDevice(t)
	d.addToken("work")
	d.addKey("work", "EC:prime256v1", "a", "01")
	d.addKey("work", "EC:prime256v1", "b", "02")
	file := filepath.Join(t.TempDir(), "pin")
	withFile := func(name string) string { return d.uri("token=work;object="+name) + "&pin-source=file:" + file }

	t.Run("wrong, and never tried again", func(t *testing.T) {
		o, asked := tokenOpener(t, "111111")
		for range 3 {
			for _, object := range []string{"a", "b"} {
				_, err := o.Open(t.Context(), d.uri("token=work;object="+object))
				wantErr(t, object, err, pkcs11.ErrPIN)
				if strings.Contains(err.Error(), "111111") || !strings.Contains(err.Error(), "work") {
					t.Errorf("%v: quotes the PIN, or does not name the token", err)
				}
			}
		}
		if asked.n != 1 {
			t.Errorf("asked %d times", asked.n)
		}
	})
	t.Run("empty", func(t *testing.T) {
		o, _ := tokenOpener(t, "")
		_, err := o.Open(t.Context(), d.uri("token=work;object=a"))
		wantErr(t, "empty", err, pkcs11.ErrPIN)
	})
	t.Run("with a zero byte", func(t *testing.T) {
		o, _ := tokenOpener(t, userPIN+"\x00x") // C would see the right PIN
		_, err := o.Open(t.Context(), d.uri("token=work;object=a"))
		wantErr(t, "zero", err, pkcs11.ErrPIN)
	})
	t.Run("nobody to ask", func(t *testing.T) {
		_, err := opener(t, keys.OpenOptions{}).Open(t.Context(), d.uri("token=work;object=a"))
		if err == nil || !strings.Contains(err.Error(), "nobody to ask") {
			t.Errorf("%v", err)
		}
	})
	t.Run("from a file", func(t *testing.T) {
		for what, content := range map[string]string{"a line": userPIN + "\n", "no line end": userPIN, "lines of DOS": userPIN + "\r\nmore\r\n"} {
			write(t, file, content, 0o600)
			o, asked := tokenOpener(t, "unused")
			s, err := o.OpenOne(t.Context(), withFile("a"))
			if err != nil || asked.n != 0 {
				t.Fatalf("%s: %v, asked %d times", what, err, asked.n)
			}
			if !strings.Contains(s.Info().URI, "pin-source=file:"+file) || strings.Contains(s.Info().URI, userPIN) {
				t.Errorf("URI %s", s.Info().URI)
			}
		}
		write(t, file, "", 0o600)
		o, _ := tokenOpener(t, userPIN)
		if _, err := o.Open(t.Context(), withFile("a")); err == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("an empty file: %v", err)
		}
		write(t, file, strings.Repeat("1", 5000), 0o600)
		if _, err := o.Open(t.Context(), withFile("a")); err == nil || strings.Contains(err.Error(), "1111") {
			t.Errorf("a long file: %v", err)
		}
		if _, err := o.Open(t.Context(), withFile("a")+"2"); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("a missing file: %v", err)
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		o, asked := tokenOpener(t, userPIN)
		_, err := o.Open(ctx, d.uri("token=work;object=a"))
		wantErr(t, "cancelled", err, context.Canceled)
		if asked.n != 0 {
			t.Error("asked all the same")
		}
	})
}

// TestTokenAsksEachTime: a key with CKA_ALWAYS_AUTHENTICATE, as the signing key of a PIV card, wants the
// PIN at every signature.
func TestTokenAsksEachTime(t *testing.T) {
	d := newDevice(t)
	d.addToken("card")
	d.addKey("card", "EC:prime256v1", "sign", "02", "--always-auth")
	o, asked := tokenOpener(t, userPIN)
	s, err := o.OpenOne(t.Context(), d.uri("token=card;object=sign"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if _, err := s.Sign(t.Context(), []byte("m")); err != nil {
			t.Fatal(err)
		}
		if asked.n != i+2 { // and once for the login
			t.Fatalf("asked %d times for %d signatures", asked.n, i+1)
		}
	}
	asked.answer = "999999"
	for range 2 {
		_, err := s.Sign(t.Context(), []byte("m"))
		wantErr(t, "a wrong PIN", err, pkcs11.ErrPIN)
	}
	if asked.n != 5 {
		t.Errorf("asked %d times: a wrong PIN was followed by another try", asked.n)
	}
}

func TestTokenNotThere(t *testing.T) {
	d := newDevice(t)
	o, asked := tokenOpener(t, userPIN)
	_, err := o.Open(t.Context(), d.uri("token=work"))
	wantErr(t, "no token at all", err, keys.ErrNoKey)
	if !strings.Contains(err.Error(), "plugged in") {
		t.Errorf("%v", err)
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	d.addToken("work")
	d.addToken("twin")
	d.addToken("twin")
	d.addKey("work", "EC:prime256v1", "a", "01")
	for path, want := range map[string]error{
		"token=other":                     pkcs11.ErrNoToken,
		"token=work;serial=0":             pkcs11.ErrNoToken,
		"token=work;model=x":              pkcs11.ErrNoToken,
		"token=work;object=b":             pkcs11.ErrNoKey,
		"token=work;id=%09":               pkcs11.ErrNoKey,
		"token=twin;object=a":             keys.ErrSeveral,
		"object=a":                        keys.ErrSeveral,
		"token=work;manufacturer=SoftHSM": pkcs11.ErrNoToken,
	} {
		_, err := o.Open(t.Context(), d.uri(path))
		wantErr(t, path, err, want)
		if errors.Is(want, pkcs11.ErrNoToken) && !strings.Contains(err.Error(), "token=work") {
			t.Errorf("%v: does not say what there is", err)
		}
		if errors.Is(want, keys.ErrSeveral) && !strings.Contains(err.Error(), "serial=") {
			t.Errorf("%v: does not tell twins apart", err)
		}
	}
	found, err := o.List(t.Context(), d.uri("object=a")) // in whichever token
	if err != nil || len(found) != 1 {
		t.Errorf("List = %v, %v", found, err)
	}
	if asked.n != 1 {
		t.Errorf("asked %d times", asked.n)
	}
}

// TestTokenPublicHalf: private keys without a public key beside them are explained, or found by their
// certificate.
func TestTokenPublicHalf(t *testing.T) {
	needs(t, "openssl", "openssl")
	d := newDevice(t)
	d.addToken("piv")
	dir := t.TempDir()
	pem, der, cert := filepath.Join(dir, "k.pem"), filepath.Join(dir, "k.der"), filepath.Join(dir, "c.der")
	runs(t, nil, "", "openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", pem)
	runs(t, nil, "", "openssl", "pkey", "-in", pem, "-outform", "DER", "-out", der)
	runs(t, nil, "", "openssl", "req", "-x509", "-new", "-key", pem, "-subj", "/CN=alice", "-days", "2", "-outform", "DER", "-out", cert)
	d.tool("piv", "--write-object", der, "--type", "privkey", "--label", "certified", "--id", "01", "--usage-sign")
	d.tool("piv", "--write-object", cert, "--type", "cert", "--label", "alice's certificate", "--id", "01")
	d.tool("piv", "--write-object", der, "--type", "privkey", "--label", "alone", "--id", "02", "--usage-sign")

	o, _ := tokenOpener(t, userPIN)
	s, err := o.OpenOne(t.Context(), d.uri("token=piv;id=%01"))
	if err != nil {
		t.Fatal(err)
	}
	keystest.Run(t, s)
	shown, err := o.Show(t.Context(), d.uri("token=piv;id=%01"))
	if err != nil || shown.Public.ID() != s.Public().ID() {
		t.Errorf("Show = %+v, %v", shown, err)
	}
	if _, err := o.OpenOne(t.Context(), shown.URI); err != nil {
		t.Errorf("the shown URI: %v", err)
	}
	_, err = o.Open(t.Context(), d.uri("token=piv;id=%02"))
	wantErr(t, "alone", err, keys.ErrUnusable)
}

func TestModules(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "text.so"), "no library", 0o700)
	libc := ""
	if out, err := exec.CommandContext(t.Context(), "sh", "-c", "ls /lib/*/libc.so.6 /lib64/libc.so.6 2>/dev/null | head -n 1").Output(); err == nil {
		libc = strings.TrimSpace(string(out))
	}
	for what, path := range map[string]string{"missing": filepath.Join(dir, "none.so"), "text": filepath.Join(dir, "text.so"), "folder": dir, "another library": libc} {
		if path == "" {
			continue
		}
		_, err := opener(t, keys.OpenOptions{}).Open(t.Context(), "pkcs11:token=a?module-path="+path)
		wantErr(t, what, err, pkcs11.ErrModule)
		if !strings.Contains(err.Error(), path) {
			t.Errorf("%v: does not name %s", err, path)
		}
	}
	_, err := pkcs11.Load("relative.so")
	wantErr(t, "relative", err, pkcs11.ErrModule)
	_, err = opener(t, keys.OpenOptions{}).Open(t.Context(), "pkcs11:token=a")
	wantErr(t, "no module", err, keys.ErrURI)
	if !strings.Contains(err.Error(), keys.ModuleVariable) {
		t.Errorf("%v", err)
	}
	d := newDevice(t)
	d.addToken("work")
	d.addKey("work", "EC:prime256v1", "a", "01")
	o := opener(t, keys.OpenOptions{Getenv: environment(keys.ModuleVariable, d.module)})
	if _, err := o.Show(t.Context(), "pkcs11:token=work;object=a"); err != nil {
		t.Error(err)
	}
}
