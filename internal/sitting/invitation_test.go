package sitting_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/sitting"
	"example.com/bailiwick/tuf/key"
)

var invitedAt = time.Date(2030, 3, 1, 9, 0, 0, 0, time.UTC)

// namedKey derives a signing key from a name.
func namedKey(tb testing.TB, name string) key.Signer {
	tb.Helper()
	seed := sha256.Sum256([]byte(name))
	s, err := key.NewSigner(ed25519.NewKeyFromSeed(seed[:]))
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// invite makes a signed invitation to alice, bob and carol; edit changes it before it is signed.
func invite(tb testing.TB, edit func(*sitting.Invitation)) *sitting.Invitation {
	tb.Helper()
	i := &sitting.Invitation{
		Role: policy.KeyRoot, Threshold: 2, Holders: []string{"alice", "bob", "carol"},
		Created: invitedAt, Expires: invitedAt.Add(30 * 24 * time.Hour), By: "ops@example.com", Note: "the root of pkgs.example.com",
		Nonce: [16]byte{1, 2, 3},
	}
	if edit != nil {
		edit(i)
	}
	if err := i.Sign(tb.Context(), namedKey(tb, "operator")); err != nil {
		tb.Fatal(err)
	}
	return i
}

// accept answers as a holder, through the form in which answers travel.
func accept(tb testing.TB, i *sitting.Invitation, holder, keyName string) *sitting.Acceptance {
	tb.Helper()
	a, err := sitting.Accept(tb.Context(), i, holder, namedKey(tb, keyName), invitedAt.Add(time.Hour))
	if err != nil {
		tb.Fatal(err)
	}
	got, err := sitting.DecodeAcceptance(a.Encode())
	if err != nil {
		tb.Fatal(err)
	}
	return got
}

func encode(tb testing.TB, i *sitting.Invitation) []byte {
	tb.Helper()
	data, err := i.Encode()
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

// wantRefused fails unless err is a refusal with the reason, and says something of what.
func wantRefused(tb testing.TB, err error, reason sitting.Reason, what string) {
	tb.Helper()
	var r *sitting.Refused
	switch {
	case !errors.As(err, &r):
		tb.Fatalf("the error is %v, want a refusal %q", err, reason)
	case r.Reason != reason:
		tb.Errorf("refused as %q (%s), want %q", r.Reason, r.Message, reason)
	case !strings.Contains(r.Message, what):
		tb.Errorf("the refusal says %q, want it to say %q", r.Message, what)
	}
}

func TestInvitationTravels(t *testing.T) {
	i := invite(t, nil)
	data := encode(t, i)
	got, err := sitting.DecodeInvitation(data)
	if err != nil {
		t.Fatal(err)
	}
	if got.Digest() != i.Digest() || got.ID() != i.ID() || !bytes.Equal(encode(t, got), data) {
		t.Error("the invitation is another one after it travelled")
	}
	if got.Role != policy.KeyRoot || got.Threshold != 2 || strings.Join(got.Holders, " ") != "alice bob carol" || !got.First() ||
		!got.Created.Equal(i.Created) || !got.Expires.Equal(i.Expires) || got.By != i.By || got.Note != i.Note || got.Nonce != i.Nonce {
		t.Errorf("got %+v, want %+v", got, i)
	}
	if got.Inviter.ID() != namedKey(t, "operator").Public().ID() {
		t.Error("the inviter is another")
	}
	if lines := bytes.Count(data, []byte("\n")); lines != 1 {
		t.Errorf("the file has %d line ends, want it to be one line", lines)
	}
}

func TestEnrol(t *testing.T) {
	i := invite(t, nil)
	answers := []*sitting.Acceptance{accept(t, i, "carol", "c"), accept(t, i, "alice", "a")}
	holders, err := sitting.Enrol(i, answers, nil, invitedAt.Add(48*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if len(holders) != 2 || holders[0].Name != "alice" || holders[1].Name != "carol" {
		t.Fatalf("holders %v, want alice and carol in the order of the invitation", holders)
	}
	if holders[0].Key.ID() != namedKey(t, "a").Public().ID() || holders[1].Key.ID() != namedKey(t, "c").Public().ID() {
		t.Error("a holder has another's key")
	}
}

// TestInvitationRefusals: what must not bring a key into a repository, and what is said of it.
func TestInvitationRefusals(t *testing.T) {
	i := invite(t, nil)
	other := invite(t, func(i *sitting.Invitation) { i.Nonce[0] = 9 })
	soon := invitedAt.Add(48 * time.Hour)
	used := map[[32]byte]string{namedKey(t, "targets").Public().Fingerprint(): "targets"}
	for name, test := range map[string]struct {
		answers []*sitting.Acceptance
		now     time.Time
		reason  sitting.Reason
		says    string
	}{
		"another invitation's": {[]*sitting.Acceptance{accept(t, other, "alice", "a")}, soon, sitting.Foreign, "and not this one"},
		"replayed":             {[]*sitting.Acceptance{accept(t, i, "alice", "a"), accept(t, i, "alice", "a")}, soon, sitting.Malformed, "two acceptances of alice"},
		"one holder, two keys": {[]*sitting.Acceptance{accept(t, i, "alice", "a"), accept(t, i, "alice", "b")}, soon, sitting.Malformed, "two acceptances of alice"},
		"one key, two holders": {[]*sitting.Acceptance{accept(t, i, "alice", "a"), accept(t, i, "bob", "a")}, soon, sitting.Key, "alice and bob accepted with the same key"},
		"a key in use":         {[]*sitting.Acceptance{accept(t, i, "alice", "targets")}, soon, sitting.Key, "for targets"},
		"too late":             {[]*sitting.Acceptance{accept(t, i, "alice", "a")}, i.Expires.Add(time.Second), sitting.Expired, "invite again"},
		"before it was made":   {[]*sitting.Acceptance{accept(t, i, "alice", "a")}, invitedAt.Add(-time.Hour), sitting.Dates, "set the clock right"},
		"from the future":      {[]*sitting.Acceptance{accept(t, i, "alice", "a")}, invitedAt.Add(30 * time.Minute), sitting.Dates, "set the clocks right"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := sitting.Enrol(i, test.answers, used, test.now)
			wantRefused(t, err, test.reason, test.says)
		})
	}
	t.Run("not invited", func(t *testing.T) {
		_, err := sitting.Accept(t.Context(), i, "mallory", namedKey(t, "m"), soon)
		wantRefused(t, err, sitting.Outside, "alice, bob, carol")
	})
	t.Run("which of them", func(t *testing.T) {
		_, err := sitting.Accept(t.Context(), i, "", namedKey(t, "m"), soon)
		wantRefused(t, err, sitting.Malformed, "--as")
	})
	t.Run("accepted too late", func(t *testing.T) {
		_, err := sitting.Accept(t.Context(), i, "alice", namedKey(t, "a"), i.Expires.Add(time.Second))
		wantRefused(t, err, sitting.Expired, "invite again")
	})
	t.Run("the only one need not say who", func(t *testing.T) {
		one := invite(t, func(i *sitting.Invitation) { i.Holders, i.Threshold = []string{"dave"}, 1 })
		if a := accept(t, one, "", "d"); a.Holder != "dave" {
			t.Errorf("accepted as %q", a.Holder)
		}
	})
}

func TestInvitationCanNotSay(t *testing.T) {
	for name, edit := range map[string]func(*sitting.Invitation){
		"an online role":       func(i *sitting.Invitation) { i.Role = policy.KeyTimestamp },
		"no role":              func(i *sitting.Invitation) { i.Role = "" },
		"nobody":               func(i *sitting.Invitation) { i.Holders = nil },
		"somebody twice":       func(i *sitting.Invitation) { i.Holders = []string{"alice", "alice"} },
		"a name with a line":   func(i *sitting.Invitation) { i.Holders = []string{"alice", "bob\ncarol"} },
		"too many":             func(i *sitting.Invitation) { i.Holders = strings.Split(strings.Repeat("x,", 21), ",") },
		"nobody has to sign":   func(i *sitting.Invitation) { i.Threshold = 0 },
		"more than there are":  func(i *sitting.Invitation) { i.Threshold = 4 },
		"for ever":             func(i *sitting.Invitation) { i.Expires = i.Created.Add(61 * 24 * time.Hour) },
		"over before it began": func(i *sitting.Invitation) { i.Expires = i.Created },
		"a note with controls": func(i *sitting.Invitation) { i.Note = "a\x1b[2Jb" },
	} {
		t.Run(name, func(t *testing.T) {
			i := *invite(t, nil)
			edit(&i)
			var r *sitting.Refused
			if err := i.Sign(t.Context(), namedKey(t, "operator")); !errors.As(err, &r) {
				t.Errorf("the error is %v, want a refusal", err)
			}
		})
	}
	t.Run("a repository that stands may have more keys than were invited", func(t *testing.T) {
		i := invite(t, func(i *sitting.Invitation) {
			i.Repository, i.Holders, i.Threshold = [32]byte{1}, []string{"dave"}, 3
		})
		if i.First() {
			t.Error("it is taken for the invitation to a new repository")
		}
	})
}

// TestInvitationsAreBoundToEveryByte changes each byte of both files in turn.
func TestInvitationsAreBoundToEveryByte(t *testing.T) {
	i := invite(t, nil)
	invitation, acceptance := encode(t, i), accept(t, i, "bob", "b").Encode()
	for name, file := range map[string]struct {
		data   []byte
		decode func([]byte) error
	}{
		"invitation": {invitation, func(data []byte) error { _, err := sitting.DecodeInvitation(data); return err }},
		"acceptance": {acceptance, func(data []byte) error { _, err := sitting.DecodeAcceptance(data); return err }},
	} {
		if err := file.decode(file.data); err != nil {
			t.Fatal(err)
		}
		for at := range len(file.data) - 1 { // the line end may go
			for _, bit := range []byte{0x01, 0x20} {
				altered := bytes.Clone(file.data)
				altered[at] ^= bit
				var r *sitting.Refused
				if err := file.decode(altered); !errors.As(err, &r) {
					t.Fatalf("%s with byte %d changed: %v, want a refusal\n%s", name, at, err, altered)
				}
			}
		}
		for end := range len(file.data) - 1 {
			if err := file.decode(file.data[:end]); err == nil {
				t.Fatalf("%s cut off after %d bytes is taken", name, end)
			}
		}
	}
}

func TestInvitationsAreStrict(t *testing.T) {
	i := invite(t, nil)
	data := encode(t, i)
	acceptance := accept(t, i, "bob", "b").Encode()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	secret := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	quoted, err := json.Marshal(secret)
	if err != nil {
		t.Fatal(err)
	}
	replace := func(data []byte, old, with string) []byte {
		t.Helper()
		if !bytes.Contains(data, []byte(old)) {
			t.Fatalf("%q is not in %s", old, data)
		}
		return bytes.Replace(data, []byte(old), []byte(with), 1)
	}
	for name, test := range map[string]struct {
		data   []byte
		reason sitting.Reason
		says   string
	}{
		"an unknown member":   {replace(data, `{"bailiwick`, `{"aaa":1,"bailiwick`), sitting.Malformed, "does not know"},
		"a member twice":      {replace(data, `"by":`, `"by":"x","by":`), sitting.Malformed, "this is not an invitation"},
		"a member missing":    {replace(data, `"by":"ops@example.com",`, ``), sitting.Malformed, `"by" is missing`},
		"a newer form":        {replace(data, `"bailiwick-invitation":1`, `"bailiwick-invitation":2`), sitting.Malformed, "newer bailiwick"},
		"white space":         {replace(data, `{"bailiwick`, `{ "bailiwick`), sitting.Malformed, "edited or reformatted"},
		"the same, reordered": {replace(replace(data, `"by":"ops@example.com",`, ``), `"threshold":2`, `"threshold":2,"by":"ops@example.com"`), sitting.Malformed, "edited or reformatted"},
		"a private key":       {replace(data, `"keyval":{`, `"keyval":{"private":"00",`), sitting.PrivateKey, "PRIVATE"},
		"a private key inside": {
			replace(data, `"note":"the root of pkgs.example.com"`, `"note":`+string(quoted)), sitting.PrivateKey, "make a new one",
		},
		"an acceptance":  {acceptance, sitting.Malformed, "this is not an invitation but an acceptance; it is for whoever invited"},
		"nothing":        {nil, sitting.Malformed, "this is not an invitation"},
		"too long":       {bytes.Repeat([]byte("x"), sitting.MaxInvitation+1), sitting.Malformed, "at most"},
		"something more": {append(bytes.Clone(data), data...), sitting.Malformed, "this is not an invitation"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := sitting.DecodeInvitation(test.data)
			wantRefused(t, err, test.reason, test.says)
			if err != nil && strings.Contains(err.Error(), hex.EncodeToString(private.Seed())) {
				t.Error("the refusal holds the key")
			}
		})
	}
	t.Run("a private key in an acceptance", func(t *testing.T) {
		_, err := sitting.DecodeAcceptance(replace(acceptance, `"keyval":{`, `"keyval":{"private":"00",`))
		wantRefused(t, err, sitting.PrivateKey, "PRIVATE")
	})
	t.Run("a key file in the place of an acceptance", func(t *testing.T) {
		_, err := sitting.DecodeAcceptance([]byte("bailiwick-key 1\nname: alice\n" + secret))
		wantRefused(t, err, sitting.PrivateKey, "PRIVATE")
	})
}

// TestAcceptanceNeedsTheKey: an acceptance in somebody else's name or with somebody else's key is not made.
func TestAcceptanceNeedsTheKey(t *testing.T) {
	i := invite(t, nil)
	thief := impostor{namedKey(t, "thief"), namedKey(t, "a").Public()}
	_, err := sitting.Accept(t.Context(), i, "alice", thief, invitedAt.Add(time.Hour))
	wantRefused(t, err, sitting.BadSignature, "does not have the key")
	if err := i.Sign(t.Context(), thief); err == nil {
		t.Error("an invitation in somebody else's name was made")
	}
}

// impostor signs with its own key and shows another's.
type impostor struct {
	key.Signer
	public *key.Public
}

func (i impostor) Public() *key.Public { return i.public }

func (i impostor) Sign(ctx context.Context, message []byte) ([]byte, error) {
	return i.Signer.Sign(ctx, message)
}

// TestInvitationsNeverPanic gives the readers anything, and wants what they take to be what they write.
func TestInvitationsNeverPanic(t *testing.T) {
	i := invite(t, nil)
	seeds := [][]byte{encode(t, i), accept(t, i, "bob", "b").Encode()}
	rapid.Check(t, func(t *rapid.T) {
		data := bytes.Clone(seeds[rapid.IntRange(0, 1).Draw(t, "file")])
		for range rapid.IntRange(1, 4).Draw(t, "edits") {
			from := rapid.IntRange(0, len(data)).Draw(t, "from")
			to := rapid.IntRange(from, min(len(data), from+40)).Draw(t, "to")
			insert := rapid.SliceOfN(rapid.Byte(), 0, 8).Draw(t, "insert")
			data = append(data[:from:from], append(insert, data[to:]...)...)
		}
		if got, err := sitting.DecodeInvitation(data); err == nil && got.Digest() != i.Digest() {
			t.Fatalf("an invitation that nobody signed was taken: %s", data)
		}
		if got, err := sitting.DecodeAcceptance(data); err == nil && !bytes.Equal(got.Encode(), seeds[1]) {
			t.Fatalf("an acceptance that nobody signed was taken: %s", data)
		}
	})
}

func TestFingerprint(t *testing.T) {
	k := namedKey(t, "a").Public()
	got := sitting.Fingerprint(k)
	if strings.ReplaceAll(got, " ", "") != string(k.ID()[:32]) || len(got) != 32+7 {
		t.Errorf("the fingerprint is %q of the key id %s", got, k.ID())
	}
}

// FuzzInvitation: whatever is read is what its keys signed, and is written again as the same bytes.
func FuzzInvitation(f *testing.F) {
	i := &sitting.Invitation{Role: policy.KeyRoot, Threshold: 1, Holders: []string{"alice"}, Created: invitedAt, Expires: invitedAt.Add(time.Hour)}
	if err := i.Sign(context.Background(), namedKey(f, "operator")); err != nil {
		f.Fatal(err)
	}
	a, err := sitting.Accept(context.Background(), i, "", namedKey(f, "a"), invitedAt)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(encode(f, i))
	f.Add(a.Encode())
	f.Add([]byte(`{"bailiwick-invitation":1}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if i, err := sitting.DecodeInvitation(data); err == nil {
			if again := encode(t, i); !bytes.Equal(bytes.TrimRight(again, "\n"), bytes.TrimRight(data, "\n")) {
				t.Errorf("written again as %s", again)
			}
		}
		if a, err := sitting.DecodeAcceptance(data); err == nil && !bytes.Equal(bytes.TrimRight(a.Encode(), "\n"), bytes.TrimRight(data, "\n")) {
			t.Errorf("written again as %s", a.Encode())
		}
	})
}
