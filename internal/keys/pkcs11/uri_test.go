package pkcs11_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"example.com/bailiwick/internal/keys/pkcs11"
)

func TestParseURI(t *testing.T) {
	tests := map[string]pkcs11.URI{
		"pkcs11:":                                                {},
		"PKCS11:token=a":                                         {Token: "a"},
		"pkcs11:token=my%20work%3B;object=%2f":                   {Token: "my work;", Object: "/"},
		"pkcs11:id=%01%00%fF;type=private":                       {ID: []byte{1, 0, 255}},
		"pkcs11:id=01":                                           {ID: []byte("01")},
		"pkcs11:manufacturer=m;model=o;serial=s;;":               {Manufacturer: "m", Model: "o", Serial: "s"},
		"pkcs11:?module-path=/a/b.so":                            {ModulePath: "/a/b.so"},
		"pkcs11:token=a?pin-source=file:/p%26q&module-path=%2Fa": {Token: "a", PINSource: "/p&q", ModulePath: "/a"},
		"pkcs11:token=a?pin-source=file:///p":                    {Token: "a", PINSource: "/p"},
		"pkcs11:token=a?pin-source=p":                            {Token: "a", PINSource: "p"},
		"pkcs11:token=a=b":                                       {Token: "a=b"},
		"pkcs11:token=a?":                                        {Token: "a"},
	}
	for in, want := range tests {
		got, err := pkcs11.ParseURI(in)
		if err != nil {
			t.Errorf("%s: %v", in, err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: %s", in, d)
		}
	}
}

func TestParseURIRefuses(t *testing.T) {
	const secret = "428731"
	for in, says := range map[string]string{
		"":                                               "beginning",
		"pkcs11":                                         "beginning",
		"file:a":                                         "beginning",
		"pkcs11:token":                                   "NAME=VALUE",
		"pkcs11:" + secret:                               "NAME=VALUE",
		"pkcs11:token=":                                  "empty",
		"pkcs11:token=a;token=b":                         "twice",
		"pkcs11:token=%":                                 "two hex digits",
		"pkcs11:token=%4":                                "two hex digits",
		"pkcs11:token=%zz":                               "two hex digits",
		"pkcs11:token=a%00b":                             "zero byte",
		"pkcs11:type=cert":                               "only keys sign",
		"pkcs11:slot-id=3":                               "name the token",
		"pkcs11:Token=a":                                 "not known",
		"pkcs11:x-vendor=1":                              "not known",
		"pkcs11:module-path=/a":                          "not known", // it belongs behind the question mark
		"pkcs11:token=a?pin-value=" + secret:             "pin-value is refused",
		"pkcs11:token=a;pin-value=" + secret:             "not known",
		"pkcs11:token=a?pin-source=%7Ccat":               "programs are not run",
		"pkcs11:token=a?pin-source=file:":                "path of a file",
		"pkcs11:token=a?module-name=softhsm2":            "module-path",
		"pkcs11:token=a?module-path=evil.so":             "absolute",
		"pkcs11:token=a?max-age=" + secret:               "not known",
		"pkcs11:token=" + strings.Repeat("a", 5000):      "5013 bytes",
		"pkcs11:" + strings.Repeat("x", 1000) + "=1":     "not known",
		"pkcs11:token=a?module-path=/a&module-path=/b":   "twice",
		"pkcs11:token=a?pin-source=/a&pin-value=%34%32x": "refused",
	} {
		_, err := pkcs11.ParseURI(in)
		if !errors.Is(err, pkcs11.ErrURI) || !strings.Contains(err.Error(), says) {
			t.Errorf("%.60s: %v, want %q", in, err, says)
		}
		if err != nil && (strings.Contains(err.Error(), secret) || len(err.Error()) > 400) {
			t.Errorf("%.60s: %v quotes too much", in, err)
		}
	}
}

// TestURIRoundTrip: what String writes, ParseURI reads, and nothing in it means anything to a shell.
func TestURIRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`[^\x00]{0,20}`)
		u := pkcs11.URI{
			Token: text.Draw(t, "token"), Manufacturer: text.Draw(t, "manufacturer"), Model: text.Draw(t, "model"),
			Serial: text.Draw(t, "serial"), Object: text.Draw(t, "object"),
		}
		if id := rapid.SliceOfN(rapid.Byte(), 0, 8).Draw(t, "id"); len(id) > 0 {
			u.ID = id
		}
		if p := text.Draw(t, "module"); p != "" {
			u.ModulePath = "/" + p
		}
		if p := text.Draw(t, "pin"); p != "" {
			u.PINSource = "/p" + p
		}
		s := u.String()
		got, err := pkcs11.ParseURI(s)
		if err != nil {
			t.Fatalf("%s: %v", s, err)
		}
		if d := cmp.Diff(u, got); d != "" {
			t.Errorf("%s: %s", s, d)
		}
		if strings.ContainsAny(s, " \t\n'\"\\$`<>|*()[]{}!~#") {
			t.Errorf("%s means something to a shell", s)
		}
	})
}

func FuzzParseURI(f *testing.F) {
	f.Add("pkcs11:token=a;id=%01?module-path=/a&pin-source=file:/b")
	f.Fuzz(func(t *testing.T, s string) {
		u, err := pkcs11.ParseURI(s)
		if err != nil {
			return
		}
		written := u.String()
		again, err := pkcs11.ParseURI(written)
		if len(written) > pkcs11.MaxURI { // what is escaped is longer
			if !errors.Is(err, pkcs11.ErrURI) {
				t.Errorf("%d bytes: %v", len(written), err)
			}
			return
		}
		if err != nil {
			t.Fatalf("%s: %v", written, err)
		}
		if d := cmp.Diff(u, again); d != "" {
			t.Error(d)
		}
	})
}
