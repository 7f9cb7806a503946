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
	"example.com/bailiwick/internal/needs"
)

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
	d := keystest.NewSoftHSM(t)
	d.AddToken("spare")
	d.AddToken("my work; 100%")
	token := "token=my%20work%3B%20100%25"
	for i, k := range []struct{ kind, object string }{
		{"EC:edwards25519", "ed"}, {"EC:prime256v1", "ec256"}, {"EC:secp384r1", "ec384"}, {"rsa:2048", "rsa"}, {"EC:secp521r1", "ec521"},
	} {
		d.AddKey("my work; 100%", k.kind, k.object, fmt.Sprintf("0%d", i+1))
	}
	o, asked := tokenOpener(t, keystest.PIN)
	listed, err := o.List(t.Context(), d.URI(token))
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
			uri := d.URI(token + ";object=" + object)
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
	_, err = o.Open(t.Context(), d.URI(token+";object=ec521"))
	wantErr(t, "P-521", err, keys.ErrUnusable)
	all, err := o.Open(t.Context(), d.URI(token))
	if err != nil || len(all) != 4 {
		t.Errorf("every key: %v, %v", all, err)
	}
	_, err = o.OpenOne(t.Context(), d.URI(token))
	wantErr(t, "every key where one is wanted", err, keys.ErrSeveral)
	byID, err := o.OpenOne(t.Context(), d.URI(token+";id=%02"))
	if err != nil || byID.Info().Name != "ec256" {
		t.Errorf("by id: %v, %v", byID, err)
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := byID.Sign(t.Context(), []byte("m")); err == nil {
		t.Error("a key of a closed Opener signs")
	}
	if _, err := opener(t, keys.OpenOptions{PIN: asked.pin}).OpenOne(t.Context(), d.URI(token+";id=%02")); err != nil { // the library can be loaded again
		t.Error(err)
	}
}

func TestTokenPIN(t *testing.T) {
	d := keystest.NewSoftHSM(t)
	d.AddToken("work")
	d.AddKey("work", "EC:prime256v1", "a", "01")
	d.AddKey("work", "EC:prime256v1", "b", "02")
	file := filepath.Join(t.TempDir(), "pin")
	withFile := func(name string) string { return d.URI("token=work;object="+name) + "&pin-source=file:" + file }

	t.Run("wrong, and never tried again", func(t *testing.T) {
		o, asked := tokenOpener(t, "111111")
		for range 3 {
			for _, object := range []string{"a", "b"} {
				_, err := o.Open(t.Context(), d.URI("token=work;object="+object))
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
		_, err := o.Open(t.Context(), d.URI("token=work;object=a"))
		wantErr(t, "empty", err, pkcs11.ErrPIN)
	})
	t.Run("with a zero byte", func(t *testing.T) {
		o, _ := tokenOpener(t, keystest.PIN+"\x00x") // C would see the right PIN
		_, err := o.Open(t.Context(), d.URI("token=work;object=a"))
		wantErr(t, "zero", err, pkcs11.ErrPIN)
	})
	t.Run("nobody to ask", func(t *testing.T) {
		_, err := opener(t, keys.OpenOptions{}).Open(t.Context(), d.URI("token=work;object=a"))
		if err == nil || !strings.Contains(err.Error(), "nobody to ask") {
			t.Errorf("%v", err)
		}
	})
	t.Run("from a file", func(t *testing.T) {
		for what, content := range map[string]string{"a line": keystest.PIN + "\n", "no line end": keystest.PIN, "lines of DOS": keystest.PIN + "\r\nmore\r\n"} {
			write(t, file, content, 0o600)
			o, asked := tokenOpener(t, "unused")
			s, err := o.OpenOne(t.Context(), withFile("a"))
			if err != nil || asked.n != 0 {
				t.Fatalf("%s: %v, asked %d times", what, err, asked.n)
			}
			if !strings.Contains(s.Info().URI, "pin-source=file:"+file) || strings.Contains(s.Info().URI, keystest.PIN) {
				t.Errorf("URI %s", s.Info().URI)
			}
		}
		write(t, file, "", 0o600)
		o, _ := tokenOpener(t, keystest.PIN)
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
		o, asked := tokenOpener(t, keystest.PIN)
		_, err := o.Open(ctx, d.URI("token=work;object=a"))
		wantErr(t, "cancelled", err, context.Canceled)
		if asked.n != 0 {
			t.Error("asked all the same")
		}
	})
}

// TestTokenAsksEachTime: a key with CKA_ALWAYS_AUTHENTICATE, as the signing key of a PIV card, wants the
// PIN at every signature.
func TestTokenAsksEachTime(t *testing.T) {
	d := keystest.NewSoftHSM(t)
	d.AddToken("card")
	d.AddKey("card", "EC:prime256v1", "sign", "02", "--always-auth")
	o, asked := tokenOpener(t, keystest.PIN)
	s, err := o.OpenOne(t.Context(), d.URI("token=card;object=sign"))
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
	d := keystest.NewSoftHSM(t)
	o, asked := tokenOpener(t, keystest.PIN)
	_, err := o.Open(t.Context(), d.URI("token=work"))
	wantErr(t, "no token at all", err, keys.ErrNoKey)
	if !strings.Contains(err.Error(), "plugged in") {
		t.Errorf("%v", err)
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	d.AddToken("work")
	d.AddToken("twin")
	d.AddToken("twin")
	d.AddKey("work", "EC:prime256v1", "a", "01")
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
		_, err := o.Open(t.Context(), d.URI(path))
		wantErr(t, path, err, want)
		if errors.Is(want, pkcs11.ErrNoToken) && !strings.Contains(err.Error(), "token=work") {
			t.Errorf("%v: does not say what there is", err)
		}
		if errors.Is(want, keys.ErrSeveral) && !strings.Contains(err.Error(), "serial=") {
			t.Errorf("%v: does not tell twins apart", err)
		}
	}
	found, err := o.List(t.Context(), d.URI("object=a")) // in whichever token
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
	needs.Programs(t, "openssl", "openssl")
	d := keystest.NewSoftHSM(t)
	d.AddToken("piv")
	dir := t.TempDir()
	pem, der, cert := filepath.Join(dir, "k.pem"), filepath.Join(dir, "k.der"), filepath.Join(dir, "c.der")
	runs(t, nil, "", "openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", pem)
	runs(t, nil, "", "openssl", "pkey", "-in", pem, "-outform", "DER", "-out", der)
	runs(t, nil, "", "openssl", "req", "-x509", "-new", "-key", pem, "-subj", "/CN=alice", "-days", "2", "-outform", "DER", "-out", cert)
	d.Tool("piv", "--write-object", der, "--type", "privkey", "--label", "certified", "--id", "01", "--usage-sign")
	d.Tool("piv", "--write-object", cert, "--type", "cert", "--label", "alice's certificate", "--id", "01")
	d.Tool("piv", "--write-object", der, "--type", "privkey", "--label", "alone", "--id", "02", "--usage-sign")

	o, _ := tokenOpener(t, keystest.PIN)
	s, err := o.OpenOne(t.Context(), d.URI("token=piv;id=%01"))
	if err != nil {
		t.Fatal(err)
	}
	keystest.Run(t, s)
	shown, err := o.Show(t.Context(), d.URI("token=piv;id=%01"))
	if err != nil || shown.Public.ID() != s.Public().ID() {
		t.Errorf("Show = %+v, %v", shown, err)
	}
	if _, err := o.OpenOne(t.Context(), shown.URI); err != nil {
		t.Errorf("the shown URI: %v", err)
	}
	_, err = o.Open(t.Context(), d.URI("token=piv;id=%02"))
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
	d := keystest.NewSoftHSM(t)
	d.AddToken("work")
	d.AddKey("work", "EC:prime256v1", "a", "01")
	o := opener(t, keys.OpenOptions{Getenv: environment(keys.ModuleVariable, d.Module)})
	if _, err := o.Show(t.Context(), "pkcs11:token=work;object=a"); err != nil {
		t.Error(err)
	}
}
