package repo_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
	"example.com/bailiwick/tuf/repo"
)

func ctx(t any) context.Context {
	if c, ok := t.(interface{ Context() context.Context }); ok {
		return c.Context()
	}
	return context.Background()
}

// twoOfThree is a draft that needs two of three signatures.
func twoOfThree(t fataler) (*repo.Draft, []key.Signer) {
	t.Helper()
	signers := []key.Signer{signerOf(t, "a"), signerOf(t, "b"), ecdsaSigner(t)}
	d, err := repo.NewTargets(repo.TargetsSpec{Targets: []tuf.Target{target("a/b", "x")}}, repo.Issue{
		Role: "project.a", Version: 1, Expires: expires, Now: now, Authority: authorityOf(t, 2, signers...),
	})
	if err != nil {
		t.Fatal(err)
	}
	return d, signers
}

func sign(t fataler, d *repo.Draft, s key.Signer) tuf.Signature {
	t.Helper()
	sig, err := d.Sign(ctx(t), s)
	if err != nil {
		t.Fatal(err)
	}
	return sig
}

func TestDraftSaysWhatItIs(t *testing.T) {
	d, _ := twoOfThree(t)
	if d.Role() != "project.a" || d.Version() != 1 || !d.Expires().Equal(expires) {
		t.Errorf("draft is %s version %d until %v", d.Role(), d.Version(), d.Expires())
	}
	if d.Authority().Threshold() != 2 || len(d.Authority().KeyIDs()) != 3 {
		t.Errorf("authority is %d of %v", d.Authority().Threshold(), d.Authority().KeyIDs())
	}
	if _, ok := d.Previous(); ok {
		t.Error("a targets draft has a previous authority")
	}
}

func TestAssembleMergesInAnyOrder(t *testing.T) {
	d, s := twoOfThree(t)
	a, b := sign(t, d, s[0]), sign(t, d, s[1])
	one, err := d.Assemble([]tuf.Signature{a, b})
	if err != nil {
		t.Fatal(err)
	}
	other, err := d.Assemble([]tuf.Signature{b, a})
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(one, other) {
		t.Errorf("order of signatures matters:\n%s\n%s", one, other)
	}
	u, err := tuf.ParseTargets(one, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.IsSortedFunc(u.Signatures(), func(a, b tuf.Signature) int { return bytes.Compare([]byte(a.KeyID), []byte(b.KeyID)) }) {
		t.Error("signatures are not sorted by key id")
	}
	if got := len(u.Signers(d.Authority())); got != 2 {
		t.Errorf("%d good signatures, want 2", got)
	}
	checkBytes(t, d, one)
}

func TestAssembleDropsWhatDoesNotCount(t *testing.T) {
	d, s := twoOfThree(t)
	stranger := signerOf(t, "stranger")
	foreign, err := stranger.Sign(t.Context(), d.Message())
	if err != nil {
		t.Fatal(err)
	}
	sigs := []tuf.Signature{
		{KeyID: s[2].Public().ID()}, // an empty slot
		{KeyID: stranger.Public().ID(), Sig: foreign},
		sign(t, d, s[1]), sign(t, d, s[0]), sign(t, d, s[0]),
	}
	data, err := d.Assemble(sigs)
	if err != nil {
		t.Fatal(err)
	}
	u, err := tuf.ParseTargets(data, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(u.Signatures()) != 2 {
		t.Errorf("published %d signatures, want the 2 that count", len(u.Signatures()))
	}
}

func TestAssembleRefusesTooFew(t *testing.T) {
	d, s := twoOfThree(t)
	a := sign(t, d, s[0])
	_, err := d.Assemble([]tuf.Signature{a, a})
	var few *repo.ThresholdError
	if !errors.As(err, &few) {
		t.Fatalf("error = %v, want a ThresholdError", err)
	}
	if few.Have != 1 || few.Need != 2 || few.Previous || few.Role != "project.a" || few.Version != 1 {
		t.Errorf("got %+v", few)
	}
	if want := []key.ID{s[1].Public().ID(), s[2].Public().ID()}; !slices.Equal(few.Missing, want) {
		t.Errorf("missing %v, want %v", few.Missing, want)
	}
	if _, err := d.Assemble(nil); !errors.As(err, &few) {
		t.Errorf("no signatures: error = %v", err)
	}
}

func TestAssembleRefusesBadSignature(t *testing.T) {
	d, s := twoOfThree(t)
	a, b := sign(t, d, s[0]), sign(t, d, s[1])
	b.Sig = slices.Clone(b.Sig)
	b.Sig[3] ^= 1
	_, err := d.Assemble([]tuf.Signature{a, b})
	var bad *repo.SignatureError
	if !errors.As(err, &bad) {
		t.Fatalf("error = %v, want a SignatureError", err)
	}
	if bad.KeyID != b.KeyID || bad.Role != "project.a" {
		t.Errorf("got %+v", bad)
	}
}

func TestSignRefusesOtherKeys(t *testing.T) {
	d, s := twoOfThree(t)
	stranger := signerOf(t, "stranger")
	if d.Wants(stranger.Public().ID()) || !d.Wants(s[0].Public().ID()) {
		t.Error("Wants is wrong")
	}
	_, err := d.Sign(t.Context(), stranger)
	wantErr(t, err, repo.ErrNotSigner)
	// The function skips it and says what is missing instead.
	_, err = repo.Sign(t.Context(), d, stranger, s[0])
	var few *repo.ThresholdError
	if !errors.As(err, &few) || few.Have != 1 {
		t.Errorf("error = %v, want a ThresholdError with one signature", err)
	}
}

// broken is a signer whose device fails.
type broken struct{ key.Signer }

var errDevice = errors.New("device is gone")

func (broken) Sign(context.Context, []byte) ([]byte, error) { return nil, errDevice }

func TestSignReportsTheSigner(t *testing.T) {
	d, s := twoOfThree(t)
	_, err := repo.Sign(t.Context(), d, s[0], broken{s[1]})
	wantErr(t, err, errDevice)
}

// TestPublishedIsLegalJSON: canonical strings hold control characters as they are.
func TestPublishedIsLegalJSON(t *testing.T) {
	pem := ecdsaSigner(t)
	project := newRole(t, "project.x")
	d, err := repo.NewTargets(repo.TargetsSpec{
		Delegations: []repo.Delegation{{Role: "ci\x01\t\r\b\f", Authority: authorityOf(t, 1, pem), Paths: []string{"*"}}},
		Members:     map[string][]byte{"note": []byte(`"two\nlines and \u0000 \u007f \u2028"`)},
	}, project.issue(1))
	data := published(t, d, err, project.signer)
	checkBytes(t, d, data)
	if !bytes.Contains(d.Message(), []byte("-----BEGIN PUBLIC KEY-----\n")) {
		t.Error("the message does not hold the PEM key as it is")
	}
	if !json.Valid(data) || bytes.ContainsFunc(data, func(r rune) bool { return r < ' ' }) {
		t.Errorf("not legal JSON: %q", data)
	}
	got := verified(t, tuf.ParseTargets, data, project.authority)
	if n := got.Delegations().At(0).Name(); n != "ci\x01\t\r\b\f" {
		t.Errorf("name = %q", n)
	}
	a, err := got.Delegations().At(0).Authority()
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := a.Key(pem.Public().ID()); !ok {
		t.Error("PEM key did not survive")
	}
	// And the bytes can be edited: what is spliced is the canonical form.
	next, err := repo.EditTargets(got, repo.TargetsEdit{}, project.issue(2))
	checkBytes(t, next, published(t, next, err, project.signer))
}

func TestIssueRefusals(t *testing.T) {
	r := newRole(t, "project.x")
	for _, c := range []struct {
		name string
		edit func(*repo.Issue)
		want error
	}{
		{"no role", func(i *repo.Issue) { i.Role = "" }, repo.ErrRoleName},
		{"role too long", func(i *repo.Issue) { i.Role = tuf.RoleName(bytes.Repeat([]byte("a"), 257)) }, repo.ErrRoleName},
		{"role not UTF-8", func(i *repo.Issue) { i.Role = "a\xff" }, repo.ErrRoleName},
		{"role reserved", func(i *repo.Issue) { i.Role = "snapshot" }, repo.ErrRoleName},
		{"role reserved in another case", func(i *repo.Issue) { i.Role = "Targets" }, repo.ErrRoleName},
		{"role named like the mirror list", func(i *repo.Issue) { i.Role = "mirrors" }, repo.ErrRoleName},
		{"version zero", func(i *repo.Issue) { i.Version = 0 }, repo.ErrVersion},
		{"version negative", func(i *repo.Issue) { i.Version = -1 }, repo.ErrVersion},
		{"version too high", func(i *repo.Issue) { i.Version = 1 << 53 }, repo.ErrVersion},
		{"expired", func(i *repo.Issue) { i.Expires = now.Add(-time.Second) }, repo.ErrExpiry},
		{"expires now", func(i *repo.Issue) { i.Expires = now }, repo.ErrExpiry},
		{"expires within the second", func(i *repo.Issue) { i.Expires = now.Add(999 * time.Millisecond) }, repo.ErrExpiry},
		{"no expiry", func(i *repo.Issue) { i.Expires = time.Time{} }, repo.ErrExpiry},
		{"expiry can not be written", func(i *repo.Issue) { i.Expires = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) }, repo.ErrExpiry},
		{"nobody signs", func(i *repo.Issue) { i.Authority = tuf.Authority{} }, repo.ErrThreshold},
	} {
		t.Run(c.name, func(t *testing.T) {
			issue := r.issue(1)
			c.edit(&issue)
			_, err := repo.NewTargets(repo.TargetsSpec{}, issue)
			wantErr(t, err, c.want)
		})
	}
	// A local zone and fractions do not matter.
	issue := r.issue(1)
	issue.Expires = expires.Add(500 * time.Millisecond).In(time.FixedZone("X", 3600))
	d, err := repo.NewTargets(repo.TargetsSpec{}, issue)
	if err != nil {
		t.Fatal(err)
	}
	if got := r.targets(t, d, nil).Expires(); !got.Equal(expires) || !d.Expires().Equal(expires) {
		t.Errorf("expires %v, draft says %v, want %v", got, d.Expires(), expires)
	}
}

// TestUnreachableThreshold: an authority read from metadata can need more keys than there are.
func TestUnreachableThreshold(t *testing.T) {
	r := newRole(t, "targets")
	k := signerOf(t, "x").Public()
	for name, authority := range map[string]string{
		"more than keys": `"keyids":["` + string(k.ID()) + `"],"threshold":2`,
		"key missing":    `"keyids":["00"],"threshold":1`,
	} {
		t.Run(name, func(t *testing.T) {
			base := foreign(t, tuf.ParseTargets, `{"_type":"targets","delegations":{"keys":{"`+string(k.ID())+`":`+string(k.AppendCanonical(nil))+`},
				"roles":[{`+authority+`,"name":"x","paths":["*"],"terminating":false}]},
				"expires":"2030-01-01T00:00:00Z","spec_version":"1.0","targets":{},"version":1}`, r)
			a, err := base.Delegations().At(0).Authority()
			if err != nil {
				t.Fatal(err)
			}
			issue := repo.Issue{Role: "x", Version: 1, Expires: expires, Now: now, Authority: a}
			_, err = repo.NewTargets(repo.TargetsSpec{}, issue)
			wantErr(t, err, repo.ErrThreshold)
			_, err = repo.EditTargets(base, repo.TargetsEdit{
				ReplaceDelegations: []repo.Delegation{{Role: "x", Authority: a, Paths: []string{"*"}}},
			}, r.issue(2))
			wantErr(t, err, repo.ErrThreshold)
		})
	}
}

// TestMessagesSayWhatToDo: they name the role, the version and the key at fault.
func TestMessagesSayWhatToDo(t *testing.T) {
	for _, c := range []struct {
		err  error
		want []string
	}{
		{
			&repo.ThresholdError{Role: "project.x", Version: 7, Have: 1, Need: 2, Missing: []key.ID{"abc"}},
			[]string{"project.x version 7", "1 of 2", "its keys", "abc"},
		},
		{
			&repo.ThresholdError{Role: "root", Version: 7, Need: 2, Previous: true},
			[]string{"root version 7", "0 of 2", "the root before it"},
		},
		{&repo.SignatureError{Role: "project.x", Version: 7, KeyID: "abc"}, []string{"project.x version 7", "key abc", "ask its holder"}},
	} {
		for _, want := range c.want {
			if got := c.err.Error(); !strings.Contains(got, want) {
				t.Errorf("%q does not say %q", got, want)
			}
		}
	}
}
