package custody_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"example.com/bailiwick/internal/custody"
	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
)

// captured returns proposals as a server sends them, one for each kind of change.
func captured(t *testing.T) map[string][]byte {
	t.Helper()
	out := make(map[string][]byte)
	for name, change := range map[string]func(th *thief) publish.Change{
		"upload": upload, "project": newProject, "claim": claimFree, "release": releaseDjango, "rekey": rekeyDjango,
		"sitting": promoteDjango, "root": rotateRoot,
	} {
		out[name] = bytes.Clone(steal(t, change).desk.sent())
	}
	return out
}

// TestCodec: what is decoded encodes to the same bytes; anything cut, added or changed is refused, or says the same.
func TestCodec(t *testing.T) {
	for name, data := range captured(t) {
		p, err := custody.Decode(bytes.Clone(data))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if again, err := p.Encode(); err != nil || !bytes.Equal(again, data) {
			t.Errorf("%s: %d bytes became %d, %v", name, len(data), len(again), err)
		}
		for at := 0; at < len(data); at += max(1, len(data)/200) {
			wantMalformed(t, name+" cut", data[:at])
		}
		wantMalformed(t, name+" with more", append(bytes.Clone(data), '\n'))
		wantMalformed(t, name+" twice", append(bytes.Clone(data), data...))
		for range 200 {
			changed := bytes.Clone(data)
			changed[rand.IntN(len(changed))] ^= byte(1 + rand.IntN(255))
			p, err := custody.Decode(bytes.Clone(changed))
			if err != nil {
				continue
			}
			if again, err := p.Encode(); err == nil && !bytes.Equal(again, changed) {
				t.Fatalf("%s: two spellings of one proposal were taken", name)
			}
		}
	}
	for _, text := range []string{
		"", "{}", "{}\n", "null\n", `{"bailiwick-proposal":2}` + "\n", strings.Repeat("[", 100) + "\n",
		`{"bailiwick-proposal":1,"base":"x"}` + "\n",
	} {
		wantMalformed(t, text, []byte(text))
	}
}

func wantMalformed(t *testing.T, what string, data []byte) {
	t.Helper()
	_, err := custody.Decode(bytes.Clone(data))
	var r *custody.Refused
	if !errors.As(err, &r) || r.Message == "" {
		t.Errorf("%s: decoded with %v, want a refusal", what, err)
	}
}

func TestEncodeKeepsBounds(t *testing.T) {
	th := steal(t, upload)
	for what, spoil := range map[string]func(p *custody.Proposal){
		"no number":        func(p *custody.Proposal) { p.Number = 0 },
		"no publication":   func(p *custody.Proposal) { p.Publication = 1 },
		"no time":          func(p *custody.Proposal) { p.Time = p.Time.AddDate(-1999, 0, 0).Add(1) },
		"another snapshot": func(p *custody.Proposal) { p.Snapshot.Name = "timestamp" },
		"an empty message": func(p *custody.Proposal) { p.Roles[0].Message = nil },
		"a bad name":       func(p *custody.Proposal) { p.Roles[0].Name = "" },
		"a bad path":       func(p *custody.Proposal) { p.Deleted = []tuf.TargetPath{"../x"} },
		"an empty signature": func(p *custody.Proposal) {
			p.Roles[0].Signatures = []tuf.Signature{{KeyID: "k"}}
		},
		"many signatures": func(p *custody.Proposal) {
			p.Roles[0].Signatures = make([]tuf.Signature, 33)
		},
	} {
		p := th.decoded()
		spoil(p)
		if _, err := p.Encode(); err == nil {
			t.Errorf("%s was encoded", what)
		}
	}
}

func TestAnswers(t *testing.T) {
	a := &custody.Answer{Proposal: custody.ID([]byte("x")), Signatures: []custody.RoleSignature{
		{Role: tuf.RoleSnapshot, Signature: tuf.Signature{KeyID: key.ID(strings.Repeat("a", 64)), Sig: []byte{1, 2}}},
	}}
	data, err := a.Encode()
	if err != nil {
		t.Fatal(err)
	}
	b, err := custody.DecodeAnswer(data)
	if err != nil || b.Proposal != a.Proposal || len(b.Signatures) != 1 || !bytes.Equal(b.Signatures[0].Signature.Sig, []byte{1, 2}) || b.Refused != nil {
		t.Errorf("%+v became %+v, %v", a, b, err)
	}
	r := &custody.Answer{Proposal: a.Proposal, Refused: &custody.Refused{Reason: custody.Stale, Role: "x", Message: strings.Repeat("m", 5000)}}
	if data, err = r.Encode(); err != nil {
		t.Fatal(err)
	}
	if b, err = custody.DecodeAnswer(data); err != nil || b.Refused == nil || b.Refused.Reason != custody.Stale || len(b.Refused.Message) > 2000 {
		t.Errorf("the refusal became %+v, %v", b, err)
	}
	for _, text := range []string{
		"", "{}", "[]", `{"bailiwick-answer":1}`, `{"bailiwick-answer":2,"proposal":"` + strings.Repeat("0", 64) + `","refused":{}}`,
		string(data) + string(data), strings.Replace(string(data), `"proposal"`, `"more":1,"proposal"`, 1),
		`{"bailiwick-answer":1,"proposal":"` + strings.Repeat("0", 64) + `","signatures":[{"role":"x","keyid":"y","sig":"zz"}]}`,
	} {
		if _, err := custody.DecodeAnswer([]byte(text)); err == nil {
			t.Errorf("%.80q was taken for an answer", text)
		}
	}
}

func TestTurns(t *testing.T) {
	_, s, err := key.GenerateEd25519()
	if err != nil {
		t.Fatal(err)
	}
	turn := &custody.Turn{Keys: []custody.HeldKey{{Name: "registry", Public: s.Public()}}, Hello: true, Answer: &custody.Answer{Refused: &custody.Refused{Reason: custody.Failed, Message: "m"}}}
	data, err := turn.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := custody.DecodeTurn(data)
	if err != nil || !got.Hello || got.Answer.Refused.Message != "m" || got.Keys[0].Name != "registry" || got.Keys[0].Public.ID() != s.Public().ID() {
		t.Errorf("%+v became %+v, %v", turn, got, err)
	}
	for _, text := range []string{"", "{}", `{"bailiwick-signer":1}`, `{"bailiwick-signer":1,"keys":[{"name":"x","keytype":"ed25519","scheme":"ed25519","public":"zz"}]}`, string(data) + "x"} {
		if _, err := custody.DecodeTurn([]byte(text)); err == nil {
			t.Errorf("%.80q was taken for a turn", text)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"bailiwick-proposal":1,"base":"` + strings.Repeat("0", 64) + `","deleted":1,"number":2,"publication":2,"record":0,"repository":"` +
		strings.Repeat("0", 64) + `","requests":0,"roles":1,"sittings":[],"time":"2000-01-01T00:00:00Z"}` + "\n" +
		`{"role":"project.x","signatures":[],"signed":{"_type":"targets"}}` + "\n" + `{"role":"snapshot","signatures":[],"signed":{"_type":"snapshot"}}` + "\n" + `"a/b/c"` + "\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := custody.Decode(bytes.Clone(data))
		if err != nil {
			var r *custody.Refused
			if !errors.As(err, &r) {
				t.Fatalf("an error that is no refusal: %v", err)
			}
			return
		}
		again, err := p.Encode()
		if err == nil && !bytes.Equal(again, data) {
			t.Fatalf("%q became %q", data, again)
		}
	})
}
