package tuf_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/cjson"
	"example.com/bailiwick/tuf/key"
)

// file is a targets file with these signatures, in the form in which one would be sent.
func file(message string, signatures ...tuf.Signature) []byte {
	return tuf.AppendEnvelope(nil, []byte(message), signatures)
}

func parseTargets(t testing.TB, data []byte) *tuf.Unverified[tuf.Targets] {
	t.Helper()
	u, err := tuf.ParseTargets(data, nil)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestThreshold(t *testing.T) {
	a, b, c, stranger := signer(t, 1), signer(t, 2), signer(t, 3), signer(t, 4)
	message := body(tuf.RoleTargets, `"targets":{}`)
	good := func(s key.Signer) tuf.Signature { return signature(t, []byte(message), s) }
	wrong := func(s key.Signer) tuf.Signature { return signature(t, []byte(message+" "), s) }
	empty := func(s key.Signer) tuf.Signature { return tuf.Signature{KeyID: s.Public().ID()} }
	under := func(s, name key.Signer) tuf.Signature {
		out := good(s)
		out.KeyID = name.Public().ID()
		return out
	}
	all := []key.Signer{a, b, c}
	for _, test := range []struct {
		name       string
		threshold  int
		signatures []tuf.Signature
		have       int
	}{
		{"none of one", 1, nil, 0},
		{"one of one", 1, []tuf.Signature{good(a)}, 1},
		{"one of two", 2, []tuf.Signature{good(a)}, 1},
		{"two of two", 2, []tuf.Signature{good(a), good(c)}, 2},
		{"all of three", 3, []tuf.Signature{good(c), good(b), good(a)}, 3},
		{"two of three", 3, []tuf.Signature{good(c), good(b)}, 2},
		{"a stranger", 1, []tuf.Signature{good(stranger)}, 0},
		{"a stranger does not help", 2, []tuf.Signature{good(a), good(stranger)}, 1},
		{"a stranger does not harm", 1, []tuf.Signature{good(stranger), good(a)}, 1},
		{"a wrong one", 1, []tuf.Signature{wrong(a)}, 0},
		{"a wrong one does not harm", 1, []tuf.Signature{wrong(a), good(b)}, 1},
		{"an empty one does not harm", 2, []tuf.Signature{empty(a), good(b), good(c)}, 2},
		{"under another name", 1, []tuf.Signature{under(stranger, a)}, 0},
		{"under the name of a member", 2, []tuf.Signature{good(a), under(a, b)}, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			u := parseTargets(t, file(message, test.signatures...))
			got, err := u.Verify(authority(t, test.threshold, all...))
			if test.have >= test.threshold {
				if err != nil || got == nil {
					t.Fatalf("refused: %v", err)
				}
				return
			}
			short, ok := errors.AsType[*tuf.ThresholdError](err)
			if !ok || got != nil {
				t.Fatalf("accepted, or another error: %v", err)
			}
			if short.Have != test.have || short.Need != test.threshold || len(short.Good) != test.have || short.Role != tuf.RoleTargets || short.Version != 1 {
				t.Errorf("%+v, want %d of %d", short, test.have, test.threshold)
			}
			if !strings.Contains(err.Error(), fmt.Sprintf("%d of the %d", test.have, test.threshold)) {
				t.Errorf("message: %v", err)
			}
		})
	}
}

func TestZeroAuthorityAcceptsNothing(t *testing.T) {
	s := signer(t, 1)
	u := parseTargets(t, signed(t, body(tuf.RoleTargets, `"targets":{}`), s))
	var none tuf.Authority
	if _, err := u.Verify(none); err == nil {
		t.Error("the zero authority accepts a file")
	}
	if none.Threshold() != 0 || len(none.KeyIDs()) != 0 || len(u.Signers(none)) != 0 {
		t.Error("the zero authority has something")
	}
	if _, ok := none.Key(s.Public().ID()); ok {
		t.Error("the zero authority has a key")
	}
}

func TestSigners(t *testing.T) {
	a, b, c := signer(t, 1), signer(t, 2), signer(t, 3)
	u := parseTargets(t, signed(t, body(tuf.RoleTargets, `"targets":{}`), c, a, signer(t, 9)))
	got := u.Signers(authority(t, 1, a, b, c))
	if want := []key.ID{c.Public().ID(), a.Public().ID()}; !slices.Equal(got, want) {
		t.Errorf("signers %v, want %v", got, want)
	}
}

func TestNewAuthority(t *testing.T) {
	a, b := signer(t, 1).Public(), signer(t, 2).Public()
	// The same key, spelled in another way.
	upper, err := key.New(a.Type(), a.Scheme(), strings.ToUpper(a.Value()))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		threshold int
		keys      []*key.Public
		ok        bool
	}{
		{1, []*key.Public{a}, true},
		{2, []*key.Public{a, b}, true},
		{1, nil, false},
		{0, []*key.Public{a}, false},
		{-1, []*key.Public{a}, false},
		{2, []*key.Public{a}, false},
		{1, []*key.Public{a, a}, false},
		{1, []*key.Public{a, upper}, false},
	} {
		got, err := tuf.NewAuthority(test.threshold, test.keys...)
		if (err == nil) != test.ok {
			t.Errorf("%d of %d keys: %v", test.threshold, len(test.keys), err)
			continue
		}
		if err != nil {
			continue
		}
		if got.Threshold() != test.threshold || len(got.KeyIDs()) != len(test.keys) {
			t.Errorf("threshold %d, keys %v", got.Threshold(), got.KeyIDs())
		}
		for i, k := range test.keys {
			found, ok := got.Key(k.ID())
			if !ok || found != k || got.KeyIDs()[i] != k.ID() || got.Problem(k.ID()) != nil {
				t.Errorf("key %d is not there", i)
			}
		}
		got.KeyIDs()[0] = "changed"
		if got.KeyIDs()[0] == "changed" {
			t.Error("the ids can be changed from outside")
		}
	}
}

func TestAuthorityEqual(t *testing.T) {
	a, b, c := signer(t, 1), signer(t, 2), signer(t, 3)
	base := authority(t, 1, a, b)
	for _, test := range []struct {
		name  string
		other tuf.Authority
		equal bool
	}{
		{"same", authority(t, 1, a, b), true},
		{"other order", authority(t, 1, b, a), true},
		{"other threshold", authority(t, 2, a, b), false},
		{"other key", authority(t, 1, a, c), false},
		{"fewer keys", authority(t, 1, a), false},
		{"more keys", authority(t, 1, a, b, c), false},
		{"none", tuf.Authority{}, false},
	} {
		if base.Equal(test.other) != test.equal || test.other.Equal(base) != test.equal {
			t.Errorf("%s: equal %v, want %v", test.name, !test.equal, test.equal)
		}
	}
	if !(tuf.Authority{}).Equal(tuf.Authority{}) {
		t.Error("nothing differs from nothing")
	}
}

// TestAuthorityDigest: one digest means one meaning, order included.
func TestAuthorityDigest(t *testing.T) {
	a, b, c := signer(t, 1), signer(t, 2), signer(t, 3)
	base := authority(t, 1, a, b)
	for _, test := range []struct {
		name  string
		other tuf.Authority
		same  bool
	}{
		{"same", authority(t, 1, a, b), true},
		{"other order", authority(t, 1, b, a), false},
		{"other threshold", authority(t, 2, a, b), false},
		{"other key", authority(t, 1, a, c), false},
		{"fewer keys", authority(t, 1, a), false},
		{"more keys", authority(t, 1, a, b, c), false},
		{"none", tuf.Authority{}, false},
	} {
		if (base.Digest() == test.other.Digest()) != test.same {
			t.Errorf("%s: same %v, want %v", test.name, !test.same, test.same)
		}
	}
	// An id without a key, with one that can not be used, and with one that can.
	ids := []string{"k"}
	lenient := &tuf.Limits{AnyKeyID: true}
	seen := map[[32]byte]string{}
	for name, keys := range map[string]string{
		"missing or unusable": `"k":{"keytype":"future","keyval":{"public":"x"},"scheme":"future"}`,
		"one key":             `"k":` + ed25519Object(a.Public(), ""),
		"another key":         `"k":` + ed25519Object(b.Public(), ""),
	} {
		x, _ := rootWith(t, keys, ids, 1, lenient).Authority(tuf.RoleTargets)
		if other, there := seen[x.Digest()]; there {
			t.Errorf("%s has the digest of %s", name, other)
		}
		seen[x.Digest()] = name
	}
}

// rootWith returns verified root metadata with this "keys" object and, for role
// targets, these key ids and threshold.
func rootWith(t *testing.T, keys string, ids []string, threshold int, l *tuf.Limits) *tuf.Root {
	t.Helper()
	s := signer(t, 1)
	one := roleOf(1, s)
	var quoted []string
	for _, id := range ids {
		quoted = append(quoted, fmt.Sprintf("%q", id))
	}
	if keys != "" {
		keys = "," + keys
	}
	value := body(tuf.RoleRoot, `"keys":{`+keyObjects(s)+keys+`}`,
		fmt.Sprintf(`"roles":{"root":%s,"snapshot":%s,"targets":{"keyids":[%s],"threshold":%d},"timestamp":%s}`,
			one, one, strings.Join(quoted, ","), threshold, one))
	u, err := tuf.ParseRoot(signed(t, value, s), l)
	if err != nil {
		t.Fatal(err)
	}
	root, err := u.Verify(tuf.SelfAuthority(u))
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// idOf returns the id of a KEY object.
func idOf(t *testing.T, object string) string {
	t.Helper()
	canonical, err := cjson.Canonical([]byte(object), 0)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(canonical)
	return hex.EncodeToString(sum[:])
}

func ed25519Object(k *key.Public, more string) string {
	return fmt.Sprintf(`{"keytype":"ed25519","keyval":{"public":%q},"scheme":"ed25519"%s}`, k.Value(), more)
}

// POL1: the id of a key is the hash of its whole object, or the key does not count.
func TestKeyIDIsChecked(t *testing.T) {
	s := signer(t, 2)
	object := ed25519Object(s.Public(), "")
	extended := ed25519Object(s.Public(), `,"x-owner":"me"`)
	indented := strings.ReplaceAll(extended, ",", " ,\n ")
	message := body(tuf.RoleTargets, `"targets":{}`)
	for _, test := range []struct {
		name, id, object string
		strict, lenient  error
	}{
		{"plain", idOf(t, object), object, nil, nil},
		{"with another member", idOf(t, extended), extended, nil, nil},
		{"in another layout", idOf(t, extended), indented, nil, nil},
		{"id of the plain object for an extended one", idOf(t, object), extended, tuf.ErrKeyID, nil},
		{"upper-case id", strings.ToUpper(idOf(t, object)), object, tuf.ErrKeyID, nil},
		{"any id", "my-key", object, tuf.ErrKeyID, nil},
		{"unknown type", idOf(t, `{"keytype":"x","keyval":{},"scheme":"y"}`), `{"keytype":"x","keyval":{},"scheme":"y"}`, key.ErrUnsupported, key.ErrUnsupported},
		{"public is a number", idOf(t, `{"keytype":"ed25519","keyval":{"public":1},"scheme":"ed25519"}`), `{"keytype":"ed25519","keyval":{"public":1},"scheme":"ed25519"}`, key.ErrMalformed, key.ErrMalformed},
		{"short key", idOf(t, `{"keytype":"ed25519","keyval":{"public":"00"},"scheme":"ed25519"}`), `{"keytype":"ed25519","keyval":{"public":"00"},"scheme":"ed25519"}`, key.ErrMalformed, key.ErrMalformed},
	} {
		for _, lenient := range []bool{false, true} {
			want := test.strict
			if lenient {
				want = test.lenient
			}
			root := rootWith(t, fmt.Sprintf("%q:%s", test.id, test.object), []string{test.id}, 1, &tuf.Limits{AnyKeyID: lenient})
			a, ok := root.Authority(tuf.RoleTargets)
			if !ok {
				t.Fatal("no authority")
			}
			if _, ok := a.Key(key.ID(test.id)); ok != (want == nil) || !errors.Is(a.Problem(key.ID(test.id)), want) {
				t.Errorf("%s, lenient %v: key %v, problem %v, want %v", test.name, lenient, ok, a.Problem(key.ID(test.id)), want)
			}
			sig := signature(t, []byte(message), s)
			sig.KeyID = key.ID(test.id)
			_, err := parseTargets(t, file(message, sig)).Verify(a)
			if (err == nil) != (want == nil) {
				t.Errorf("%s, lenient %v: verification says %v", test.name, lenient, err)
			}
			if short, ok := errors.AsType[*tuf.ThresholdError](err); ok {
				if len(short.Problems) != 1 || !errors.Is(short.Problems[0].Err, want) || !strings.Contains(err.Error(), "can not be used") {
					t.Errorf("%s: the error does not say what is wrong with the key: %v", test.name, err)
				}
			}
		}
	}
}

// POL3: a key that can not be used is no reason to refuse a file that others signed.
func TestUnusableKeysAreIgnored(t *testing.T) {
	s := signer(t, 2)
	future := `{"keytype":"ml-dsa","keyval":{"public":{"any":["shape"]}},"scheme":"ml-dsa-65"}`
	broken := `{"keytype":"ed25519","keyval":{"public":"zz"},"scheme":"ed25519"}`
	mine := ed25519Object(s.Public(), "")
	ids := []string{idOf(t, future), idOf(t, broken), "not-listed", idOf(t, mine)}
	root := rootWith(t, fmt.Sprintf("%q:%s,%q:%s,%q:%s", ids[0], future, ids[1], broken, ids[3], mine), ids, 1, nil)
	a, _ := root.Authority(tuf.RoleTargets)
	if len(a.KeyIDs()) != 4 {
		t.Fatalf("ids %v", a.KeyIDs())
	}
	if !errors.Is(a.Problem("not-listed"), tuf.ErrKeyMissing) || a.Problem("somebody") != nil {
		t.Errorf("problems %v, %v", a.Problem("not-listed"), a.Problem("somebody"))
	}
	message := body(tuf.RoleTargets, `"targets":{}`)
	sigs := []tuf.Signature{{KeyID: key.ID(ids[0]), Sig: []byte("?")}, {KeyID: key.ID(ids[1]), Sig: []byte("?")}, signature(t, []byte(message), s)}
	if _, err := parseTargets(t, file(message, sigs...)).Verify(a); err != nil {
		t.Error(err)
	}
	_, err := parseTargets(t, file(message, sigs[:2]...)).Verify(a)
	short, ok := errors.AsType[*tuf.ThresholdError](err)
	if !ok || short.Have != 0 || len(short.Problems) != 3 {
		t.Errorf("error %v", err)
	}
}

// POL2: one key under two ids, or in two spellings, is one key holder.
func TestOneKeyUnderTwoIDs(t *testing.T) {
	s := signer(t, 2)
	message := body(tuf.RoleTargets, `"targets":{}`)
	sig := signature(t, []byte(message), s)
	under := func(id string) tuf.Signature { return tuf.Signature{KeyID: key.ID(id), Sig: sig.Sig} }

	plain := ed25519Object(s.Public(), "")
	extended := ed25519Object(s.Public(), `,"x":1`)
	upper := strings.Replace(plain, s.Public().Value(), strings.ToUpper(s.Public().Value()), 1)
	ids := []string{idOf(t, plain), idOf(t, extended), idOf(t, upper)}
	root := rootWith(t, fmt.Sprintf("%q:%s,%q:%s,%q:%s", ids[0], plain, ids[1], extended, ids[2], upper), ids, 2, nil)
	a, _ := root.Authority(tuf.RoleTargets)
	u := parseTargets(t, file(message, under(ids[0]), under(ids[1]), under(ids[2])))
	_, err := u.Verify(a)
	short, ok := errors.AsType[*tuf.ThresholdError](err)
	if !ok || short.Have != 1 || len(short.Good) != 3 {
		t.Errorf("one key fills a threshold of two: %v", err)
	}
	if n := len(u.Signers(a)); n != 3 {
		t.Errorf("%d ids have signed", n)
	}
}

func TestOneKeyAsPEMAndHex(t *testing.T) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s, err := key.NewSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	point, err := private.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	pem := string(cjson.AppendWire(nil, s.Public().AppendCanonical(nil)))
	bare := fmt.Sprintf(`{"keytype":"ecdsa-sha2-nistp256","keyval":{"public":"%x"},"scheme":"ecdsa-sha2-nistp256"}`, point)
	ids := []string{idOf(t, pem), idOf(t, bare)}
	root := rootWith(t, fmt.Sprintf("%q:%s,%q:%s", ids[0], pem, ids[1], bare), ids, 2, nil)
	a, _ := root.Authority(tuf.RoleTargets)
	message := body(tuf.RoleTargets, `"targets":{}`)
	sig := signature(t, []byte(message), s)
	_, err = parseTargets(t, file(message, tuf.Signature{KeyID: key.ID(ids[0]), Sig: sig.Sig}, tuf.Signature{KeyID: key.ID(ids[1]), Sig: sig.Sig})).Verify(a)
	short, ok := errors.AsType[*tuf.ThresholdError](err)
	if !ok || short.Have != 1 {
		t.Errorf("one key fills a threshold of two: %v", err)
	}
}

// With AnyKeyID an id does not say which key it stands for; Equal must.
// A key that the same file lists, for another role, is not one of this role's: the online
// keys are in the same list as the offline ones.
func TestKeysOfOtherRolesDoNotCount(t *testing.T) {
	mine, others := signer(t, 2), signer(t, 3)
	one, two := ed25519Object(mine.Public(), ""), ed25519Object(others.Public(), "")
	root := rootWith(t, fmt.Sprintf("%q:%s,%q:%s", idOf(t, one), one, idOf(t, two), two), []string{idOf(t, one)}, 1, nil)
	a, _ := root.Authority(tuf.RoleTargets)
	if _, ok := a.Key(others.Public().ID()); ok || a.Problem(others.Public().ID()) != nil {
		t.Error("the authority has a key of another role")
	}
	message := body(tuf.RoleTargets, `"targets":{}`)
	by := func(s key.Signer) error {
		_, err := parseTargets(t, file(message, signature(t, []byte(message), s))).Verify(a)
		return err
	}
	if err := by(mine); err != nil {
		t.Error(err)
	}
	short, ok := errors.AsType[*tuf.ThresholdError](by(others))
	if !ok || short.Have != 0 || len(short.Good) != 0 {
		t.Errorf("a key of another role counts: %v", by(others))
	}
}

// A change of keys that nobody here can use is a change all the same: clients that can use
// them see a rotation, and so must we (5.3.11).
func TestEqualLooksAtUnusableKeys(t *testing.T) {
	mine := ed25519Object(signer(t, 2).Public(), "")
	of := func(ids ...string) tuf.Authority {
		root := rootWith(t, fmt.Sprintf("%q:%s", idOf(t, mine), mine), append(ids, idOf(t, mine)), 1, nil)
		a, _ := root.Authority(tuf.RoleTargets)
		return a
	}
	a := of("from the future", "not listed")
	if !a.Equal(of("not listed", "from the future")) {
		t.Error("the order makes a difference")
	}
	if b := of("from the future", "another"); a.Equal(b) || b.Equal(a) {
		t.Error("an unusable key was replaced by another, and nothing changed")
	}
}

func TestEqualLooksAtKeys(t *testing.T) {
	lenient := &tuf.Limits{AnyKeyID: true}
	authorityOf := func(s key.Signer) tuf.Authority {
		root := rootWith(t, `"k":`+ed25519Object(s.Public(), ""), []string{"k"}, 1, lenient)
		a, _ := root.Authority(tuf.RoleTargets)
		return a
	}
	a, again, b := authorityOf(signer(t, 2)), authorityOf(signer(t, 2)), authorityOf(signer(t, 3))
	if !a.Equal(again) || a.Equal(b) {
		t.Errorf("equal %v, %v", a.Equal(again), a.Equal(b))
	}
}

// Any layout of "signed" has one message; what was received is what is stored.
func TestMessage(t *testing.T) {
	s := signer(t, 1)
	value := `{ "version" : 1, "x":{"b":"\u00e9","a":["\n"]}, "targets":{}, "spec_version":"1.0", "_type":"targets", "expires":"` + expires + `"}`
	want := `{"_type":"targets","expires":"` + expires + `","spec_version":"1.0","targets":{},"version":1,"x":{"a":["` + "\n" + `"],"b":"é"}}`
	data := append(signed(t, value, s), "\n\n"...)
	u := parseTargets(t, data)
	if string(u.Message()) != want {
		t.Errorf("message %q, want %q", u.Message(), want)
	}
	targets, err := u.Verify(authority(t, 1, s))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(targets.Bytes(), data) || !bytes.Equal(u.Bytes(), data) {
		t.Error("the bytes are not those received")
	}
	if targets.Digest() != sha256.Sum256(data) {
		t.Error("the digest is not that of the bytes")
	}
	if raw, ok := targets.Member("x"); !ok || string(raw) != `{"b":"\u00e9","a":["\n"]}` {
		t.Errorf("member x: %q, %v", raw, ok)
	}
	if _, ok := targets.Member("y"); ok {
		t.Error("a member that is not there")
	}
	var names []string
	for name := range targets.Members() {
		names = append(names, name)
	}
	if got, want := strings.Join(names, " "), "version x targets spec_version _type expires"; got != want {
		t.Errorf("members %s, want %s", got, want)
	}
	u = parseTargets(t, file(want, signature(t, []byte(want), s)))
	if bytes.ContainsRune(u.Bytes(), '\n') || string(u.Message()) != want {
		t.Error("a line break was published bare")
	}
	// Canonical input is its own message: no copy.
	plain := body(tuf.RoleTargets, `"targets":{}`)
	data = file(plain, signature(t, []byte(plain), s))
	u = parseTargets(t, data)
	if at := bytes.Index(data, u.Message()); at < 0 || &u.Message()[0] != &data[at] {
		t.Error("a canonical message was copied")
	}
}

// Changing any byte of a signed file breaks the parse or the signature, unless the
// byte is outside "signed" or the change has no meaning.
func TestEveryByteIsCovered(t *testing.T) {
	s := signer(t, 1)
	a := authority(t, 1, s)
	data := signed(t, body(tuf.RoleTargets, `"targets":{"a/b":{"custom":{"n":1},`+anyHash+`,"length":12}}`, `"x":["y",true]`), s)
	start := bytes.Index(data, []byte(`"signed":`))
	message := parseTargets(t, data).Message()
	for i := start; i < len(data); i++ {
		for _, flip := range []byte{1, 2, 0x20, 0x80} {
			changed := bytes.Clone(data)
			changed[i] ^= flip
			u, err := tuf.ParseTargets(changed, nil)
			if err != nil {
				continue
			}
			if _, err := u.Verify(a); err == nil && !bytes.Equal(u.Message(), message) {
				t.Fatalf("byte %d changed by %#x: another message verifies", i, flip)
			} else if err == nil {
				t.Errorf("byte %d changed by %#x: still verifies: %s", i, flip, changed)
			}
		}
	}
}

// Keys are decoded when first used, by whichever goroutine comes first.
func TestConcurrentUse(t *testing.T) {
	s := signer(t, 1)
	u := parseTargets(t, signed(t, manyDelegations(t, 64, 1), s))
	targets, err := u.Verify(authority(t, 1, s))
	if err != nil {
		t.Fatal(err)
	}
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			for d := range targets.Delegations().All() {
				a, err := d.Authority()
				if err != nil {
					t.Error(err)
				}
				if _, ok := a.Key(a.KeyIDs()[0]); !ok {
					t.Error("a key is missing")
				}
			}
			for range targets.Delegations().Match("3f/project-00007/x") {
			}
			targets.Digest()
		})
	}
	wait.Wait()
}
