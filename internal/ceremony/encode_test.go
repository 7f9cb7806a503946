package ceremony_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"example.com/bailiwick/internal/ceremony"
	"example.com/bailiwick/internal/publish/publishtest"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
)

func encode(t testing.TB, r *ceremony.Request) []byte {
	t.Helper()
	data, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestEncodeAndDecode(t *testing.T) {
	w := newWorld(t)
	pem, _ := twins(t)
	r := w.request("plain", publishtest.Draft{Kind: ceremony.Claim, Keys: []key.Signer{w.alice}}, w.alice)
	r.Keys = append(r.Keys, pem) // a key with line breaks in it
	r.Note, r.By = `quotes " and \ and é`, "alice"
	data := encode(t, r)
	if !json.Valid(data) {
		t.Fatal("the encoded form is not JSON")
	}
	back, err := ceremony.Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	if again := encode(t, back); !bytes.Equal(again, data) || back.ID() != r.ID() {
		t.Errorf("decoding and encoding gives something else: %s", cmp.Diff(string(data), string(again)))
	}
	// Any spelling of the same JSON is the same request, with the same signatures.
	var loose any
	if err := json.Unmarshal(data, &loose); err != nil {
		t.Fatal(err)
	}
	spelled, err := json.MarshalIndent(loose, "", "   ")
	if err != nil {
		t.Fatal(err)
	}
	back, err = ceremony.Decode(spelled)
	if err != nil || back.ID() != r.ID() || !bytes.Equal(back.Payloads[0].Message, r.Payloads[0].Message) {
		t.Errorf("another spelling: %v", err)
	}
	id := r.ID()
	r.Payloads[0].Signatures = nil
	if r.ID() != id {
		t.Error("signing changes the identifier")
	}
	r.Note += "."
	if r.ID() == id {
		t.Error("a change of the note does not change the identifier")
	}
}

// TestDecodeRefuses: strict and bounded, and loud about private keys.
func TestDecodeRefuses(t *testing.T) {
	w := newWorld(t)
	good := string(encode(t, w.request("plain", publishtest.Draft{Kind: ceremony.Claim, Keys: []key.Signer{w.alice}}, w.alice)))
	replace := func(old, with string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("%q is not in %s", old, good)
		}
		return strings.Replace(good, old, with, 1)
	}
	for name, c := range map[string]struct {
		data string
		want ceremony.Reason
	}{
		"nothing":                  {"", ceremony.Malformed},
		"no object":                {"[]", ceremony.Malformed},
		"an empty object":          {"{}", ceremony.Malformed},
		"rubbish behind":           {good + "x", ceremony.Malformed},
		"cut short":                {good[:len(good)/2], ceremony.Malformed},
		"an unknown member":        {replace(`{"bailiwick-request":1`, `{"admin":true,"bailiwick-request":1`), ceremony.Malformed},
		"a repeated member":        {replace(`"kind":"claim"`, `"kind":"claim","kind":"release"`), ceremony.Malformed},
		"a newer form":             {replace(`"bailiwick-request":1`, `"bailiwick-request":2`), ceremony.Malformed},
		"a missing member":         {replace(`"note":"",`, ``), ceremony.Malformed},
		"changed on the way":       {replace(`"note":""`, `"note":"x"`), ceremony.Malformed},
		"an unknown kind":          {replace(`"kind":"claim"`, `"kind":"seize"`), ceremony.Malformed},
		"a name not normalised":    {replace(`"project":"plain"`, `"project":"Plain"`), ceremony.Malformed},
		"a time with a fraction":   {replace(`"created":"2000-01-01T00:00:00Z"`, `"created":"2000-01-01T00:00:00.5Z"`), ceremony.Malformed},
		"a huge threshold":         {replace(`"threshold":1`, `"threshold":99999999999`), ceremony.Malformed},
		"a threshold that is text": {replace(`"threshold":1`, `"threshold":"1"`), ceremony.Malformed},
		"a repository of few bits": {replace(`"repository":"`, `"repository":"00`), ceremony.Malformed},
		"a payload with more":      {replace(`{"role":`, `{"more":1,"role":`), ceremony.Malformed},
		"a signature with more":    {replace(`{"keyid":`, `{"more":1,"keyid":`), ceremony.Malformed},
		"a signature not in hex":   {replace(`"sig":"`, `"sig":"zz`), ceremony.Malformed},
		"a signed list":            {replace(`"signed":{`, `"signed":[],"x":{`), ceremony.Malformed},
		"a private key":            {replace(`"keyval":{"public"`, `"keyval":{"private":"00","public"`), ceremony.PrivateKey},
		"a private key as PEM":     {replace(`"note":""`, `"note":"-----BEGIN OPENSSH PRIVATE KEY-----"`), ceremony.PrivateKey},
		"a key with a comment":     {replace(`"keyval":{"public"`, `"keyval":{"comment":"x","public"`), ceremony.Key},
		"a key of unknown kind":    {replace(`"keytype":"ed25519"`, `"keytype":"gost"`), ceremony.Key},
		"a key of too few bytes":   {replace(`{"public":"`, `{"public":"00`), ceremony.Key},
		"a deep value":             {replace(`"signed":{`, `"signed":{"a":`+strings.Repeat("[", 60)+strings.Repeat("]", 60)+`,`), ceremony.Malformed},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ceremony.Decode([]byte(c.data))
			r := wantReason(t, err, c.want)
			if c.want == ceremony.PrivateKey && !strings.Contains(r.Message, "taken for stolen") {
				t.Errorf("not loud enough: %s", r.Message)
			}
		})
	}
	if _, err := ceremony.Decode(make([]byte, ceremony.MaxBytes+1)); err == nil {
		t.Error("a request of any size is read")
	}
	var many []string
	for i := range ceremony.MaxPayloads + 1 {
		many = append(many, fmt.Sprintf(`{"role":"r%d","signatures":[],"signed":{}}`, i))
	}
	_, err := ceremony.Decode([]byte(`{"payloads":[` + strings.Join(many, ",") + `]}`))
	wantReason(t, err, ceremony.Malformed)
}

// FuzzDecode: nothing panics, and what is accepted comes back as it was.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"bailiwick-request":1,"bases":{"project.a":0},"by":"","created":"2000-01-01T00:00:00Z","expires":"2000-01-02T00:00:00Z","id":"","keys":[],"kind":"release","note":"","payloads":[{"role":"project.a","signatures":[],"signed":{}}],"project":"a","repository":"0000000000000000000000000000000000000000000000000000000000000000","threshold":0}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := ceremony.Decode(data)
		if err != nil {
			return
		}
		back, err := ceremony.Decode(encode(t, r))
		if err != nil || back.ID() != r.ID() {
			t.Errorf("an accepted request does not survive: %v", err)
		}
	})
}

// TestAdd: signatures in any order, each key once.
func TestAdd(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := &ceremony.Request{Payloads: []ceremony.Payload{{Role: "project.a"}, {Role: "project.a.b"}}}
		model := map[string]byte{}
		for range rapid.IntRange(0, 40).Draw(t, "n") {
			role := rapid.SampledFrom([]tuf.RoleName{"project.a", "project.a.b", "project.c"}).Draw(t, "role")
			id := rapid.SampledFrom([]key.ID{"1", "2", "3"}).Draw(t, "key")
			sig := rapid.ByteRange(1, 3).Draw(t, "sig")
			fresh, err := r.Add(role, tuf.Signature{KeyID: id, Sig: []byte{sig}})
			if role == "project.c" {
				if err == nil {
					t.Fatal("a signature for a role that is not there")
				}
				continue
			}
			name := string(role) + " " + string(id)
			if err != nil || fresh != (model[name] != sig) {
				t.Fatalf("added %t, %v", fresh, err)
			}
			model[name] = sig
		}
		n := 0
		for _, p := range r.Payloads {
			for _, s := range p.Signatures {
				n++
				if model[string(p.Role)+" "+string(s.KeyID)] != s.Sig[0] {
					t.Fatal("a signature is not the last one that was added")
				}
			}
		}
		if n != len(model) {
			t.Fatalf("%d signatures, want %d", n, len(model))
		}
	})
}

func TestDescribe(t *testing.T) {
	w := newWorld(t)
	d := release(t, "flask-3.tar.gz")
	path := w.standing("flask").Layout.Path(plainProject(t, "flask"), staged(t, "flask-1.tar.gz").Filename)
	d.Edit = remove(path)
	d.Edit.RemoveDelegations = []tuf.RoleName{"project.flask.ci"}
	r := w.request("flask", d)
	next, err := r.Targets("project.flask")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, l := range ceremony.Describe(w.standing("flask").Base, next) {
		got = append(got, l.String())
	}
	want := []string{
		"- flask-1.tar.gz",
		"+ flask-3.tar.gz  sha256 f8c7f1e36a43c3c3bbbf6b8f1dca0a6c6f3d4f4d76a3ad1f0d7f9c5dd0c7f1f0  25 bytes",
		"= 1 file unchanged",
		"- project.flask.ci and every file that it alone lists",
	}
	want[1] = fmt.Sprintf("+ flask-3.tar.gz  sha256 %x  25 bytes", staged(t, "flask-3.tar.gz").SHA256)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("described (-want +got):\n%s", diff)
	}
	got = nil
	for _, l := range ceremony.DescribeKeys(w.standing("flask").Authority, authority(t, w.alice, w.mallory)) {
		got = append(got, string(l.Sign))
	}
	if diff := cmp.Diff([]string{"+", "-", "~"}, got); diff != "" {
		t.Errorf("keys described (-want +got):\n%s", diff)
	}
}
