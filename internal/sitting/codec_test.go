package sitting_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"

	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/sitting"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
)

func encoded(tb testing.TB, r *sitting.Request) []byte {
	tb.Helper()
	var b bytes.Buffer
	if err := sitting.Encode(&b, r); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

// noted is a stage whose request has a note and says something about a project.
func noted(t *testing.T) *stage {
	t.Helper()
	s := newStage(t)
	s.r.By, s.r.Note = "ops@example.com", "the sitting of January"
	s.r.Notes = []sitting.Note{{
		Project: projectOf(t, "django"), Since: s.now.Add(-20 * day), Token: "t-1", TokenCreated: s.now.Add(-21 * day),
		Popular: 3, Rekeyed: s.now.Add(-day), Text: "the owner of before was told",
	}}
	return s
}

// TestRequestTravels: a request comes back as it was, signatures included, in one form only.
func TestRequestTravels(t *testing.T) {
	s := noted(t)
	signOffline(t, s.r, judge(t, s.r, s.now), s.offline()...)
	file := encoded(t, s.r)
	back, err := sitting.Decode(iotest.OneByteReader(bytes.NewReader(file)))
	if err != nil {
		t.Fatal(err)
	}
	if again := encoded(t, back); !bytes.Equal(file, again) {
		t.Error("encoded again, it is another file")
	}
	if back.ID() != s.r.ID() || back.By != s.r.By || back.Notes[0] != s.r.Notes[0] || len(back.Payloads) != len(s.r.Payloads) {
		t.Errorf("%+v came back", back.Notes)
	}
	if !judge(t, back, s.now).Complete() {
		t.Error("signatures were lost on the way")
	}
	if lines := bytes.Count(file, []byte("\n")); lines != 1+len(s.r.Chain.Roots)+3+len(s.r.Payloads)+1 {
		t.Errorf("the file has %d lines", lines)
	}
}

// TestR5AnAlteredFileIsRefused: whatever byte of a file is changed, left out or added, it is noticed before
// anything in it is looked at; all but signatures, which are noticed when they are counted.
func TestR5AnAlteredFileIsRefused(t *testing.T) {
	s := noted(t)
	signOffline(t, s.r, judge(t, s.r, s.now), s.offline()...)
	file := encoded(t, s.r)
	try := func(what string, at int, data []byte) {
		t.Helper()
		r, err := sitting.Decode(bytes.NewReader(data))
		var refused *sitting.Refused
		if err == nil {
			_, err = sitting.Judge(r, s.now)
		}
		if !errors.As(err, &refused) {
			t.Fatalf("byte %d %s: %v, want a refusal; around it is %.60q", at, what, err, data[max(at-20, 0):])
		}
	}
	for at := 0; at < len(file); at += 97 {
		other := bytes.Clone(file)
		if other[at] ^= 1; other[at] == '\n' {
			continue
		}
		try("changed", at, other)
		try("left out", at, slices.Delete(bytes.Clone(file), at, at+1))
		try("doubled", at, slices.Insert(bytes.Clone(file), at, file[at]))
	}
	for _, cut := range []int{0, 1, 100, len(file) / 2, len(file) - 1} {
		try("and on are cut off", cut, file[:cut])
	}
	for _, more := range []string{"\n", " ", "{}\n", string(file)} {
		try("is followed by more", len(file), append(bytes.Clone(file), more...))
	}
}

// rename makes the ID of a file fit to what it says, as somebody would who wants it to be believed.
func rename(t *testing.T, file string) string {
	t.Helper()
	_, err := sitting.Decode(strings.NewReader(file))
	var refused *sitting.Refused
	if !errors.As(err, &refused) || refused.Reason != sitting.Altered {
		return file
	}
	i := strings.Index(refused.Message, "by its content it is ")
	if i < 0 {
		t.Fatal(refused.Message)
	}
	id := refused.Message[i+len("by its content it is "):][:16]
	j := strings.Index(file, `"id":"`) + len(`"id":"`)
	return file[:j] + id + file[j+16:]
}

// TestFilesAreStrict: there is one way to write a request.
func TestFilesAreStrict(t *testing.T) {
	s := noted(t)
	file := string(encoded(t, s.r))
	lines := strings.SplitAfter(strings.TrimSuffix(file, "\n"), "\n")
	swap := func(old, next string) func() string {
		return func() string {
			if !strings.Contains(file, old) {
				t.Fatalf("there is no %q in the file", old)
			}
			return strings.Replace(file, old, next, 1)
		}
	}
	header := lines[0]
	for name, c := range map[string]struct {
		file   func() string
		reason sitting.Reason
		words  string
	}{
		"another form":      {swap(`"bailiwick-sitting":1`, `"bailiwick-sitting":2`), sitting.Malformed, "newer bailiwick"},
		"an unknown member": {swap(`"by":`, `"bx":1,"by":`), sitting.Malformed, "unknown"},
		"a member twice":    {swap(`"by":`, `"by":"x","by":`), sitting.Malformed, ""},
		"a member left out": {swap(`"by":"ops@example.com",`, ``), sitting.Malformed, "where it belongs"},
		"the last left out": {func() string {
			i := strings.Index(file, `,"repository"`)
			return file[:i] + "}" + file[strings.Index(file, "\n"):]
		}, sitting.Malformed, "missing"},
		"blanks":               {swap(`"by":`, `"by": `), sitting.Malformed, "as bailiwick writes it"},
		"blanks in a file":     {swap(`"signatures":[`, `"signatures": [`), sitting.Malformed, "as bailiwick writes it"},
		"another spelling":     {swap(`ops@`, `op\u0073@`), sitting.Malformed, "as bailiwick writes it"},
		"a count too low":      {swap(`"payloads":`+strconv.Itoa(len(s.r.Payloads)), `"payloads":1`), sitting.Malformed, ""},
		"a count too high":     {swap(`"notes":1`, `"notes":2`), sitting.Malformed, "cut off"},
		"a count out of reach": {swap(`"notes":1`, `"notes":1000000`), sitting.Malformed, "possible"},
		"a negative count":     {swap(`"notes":1`, `"notes":-1`), sitting.Malformed, "possible"},
		"no object":            {func() string { return "[]\n" }, sitting.Malformed, ""},
		"nothing":              {func() string { return "" }, sitting.Malformed, "too early"},
		"another time":         {swap(`"created":"2030-01-31T09:00:00Z"`, `"created":"2030-01-31T10:00:00+01:00"`), sitting.Malformed, "not a time"},
		"no time":              {swap(`"created":"2030-01-31T09:00:00Z"`, `"created":""`), sitting.Malformed, "not a time"},
		"a repository in capitals": {func() string {
			i := strings.Index(file, `"repository":"`) + len(`"repository":"`)
			return file[:i] + strings.ToUpper(file[i:i+64]) + file[i+64:]
		}, sitting.Malformed, "hex"},
		"the chain in another order": {swap(`"chain":["root","targets","claimed"`, `"chain":["root","claimed","targets"`), sitting.Malformed, "in this order"},
		"a chain with two targets":   {swap(`"chain":["root","targets"`, `"chain":["root","targets","targets"`), sitting.Malformed, "in this order"},
		"an unknown file":            {swap(`"chain":["root",`, `"chain":["root","snapshot",`), sitting.Malformed, "in this order"},
		"another file of the chain":  {swap(`{"chain":"targets"`, `{"chain":"claimed"`), sitting.Malformed, "should be its"},
		"a base twice": {func() string {
			return strings.Replace(file, `{"base":null,"role":"claimed"`, `{"base":{"a":1},"role":"claimed"`, 1)
		}, sitting.Malformed, "repeats its base"},
		"a note about nothing": {swap(`"project":"django"`, `"project":"Django"`), sitting.Malformed, "normalised"},
		"a signature in capitals": {func() string {
			i := strings.LastIndex(file, `"sig":"`) + len(`"sig":"`)
			return file[:i] + "AB" + file[i+2:]
		}, sitting.Malformed, "hex"},
		"a long header":             {func() string { return strings.Repeat(" ", 70_000) + file }, sitting.Malformed, "too long"},
		"an old id":                 {swap(`"note":"the`, `"note":"The`), sitting.Altered, "changed on the way"},
		"an armoured private key":   {swap("the sitting of January", "-----BEGIN OPENSSH PRIVATE KEY-----"), sitting.PrivateKey, "PRIVATE"},
		"an age key":                {swap("the sitting of January", "AGE-SECRET-KEY-1"), sitting.PrivateKey, "PRIVATE"},
		"the private half of a key": {swap(`"keyval":{"public"`, `"keyval":{"private":"00","public"`), sitting.PrivateKey, "PRIVATE"},
	} {
		t.Run(name, func(t *testing.T) {
			data := c.file()
			if c.reason != sitting.Altered {
				data = rename(t, data)
			}
			_, err := sitting.Decode(strings.NewReader(data))
			wantRefused(t, err, c.reason, c.words)
		})
	}
	if !strings.HasPrefix(header, `{"bailiwick-sitting":1,`) {
		t.Errorf("a file begins with %.40q, by which people and programs know it", header)
	}
}

// TestR27NoPrivateKeyIsEncoded: not even by who makes the request.
func TestR27NoPrivateKeyIsEncoded(t *testing.T) {
	s := noted(t)
	s.r.Note = "-----BEGIN PRIVATE KEY-----"
	wantRefused(t, sitting.Encode(io.Discard, s.r), sitting.PrivateKey, "PRIVATE")
}

// TestEncodeRefusesWhatCanNotBeDecoded: a file that another program laid out otherwise.
func TestEncodeRefusesWhatCanNotBeDecoded(t *testing.T) {
	s := newStage(t)
	s.r.Payload(s.bin("django")).Base = []byte(`{ "signed": 1 }`)
	wantRefused(t, sitting.Encode(io.Discard, s.r), sitting.Malformed, "as bailiwick writes it")
	s = newStage(t)
	s.r.Payload(s.bin("django")).Message = []byte(`{"b":1,"a":1}`)
	wantRefused(t, sitting.Encode(io.Discard, s.r), sitting.Malformed, "as bailiwick writes it")
	s = newStage(t)
	s.r.Payload(s.bin("django")).Base = []byte("{\n}")
	wantRefused(t, sitting.Encode(io.Discard, s.r), sitting.Malformed, "as bailiwick publishes it")
}

// TestErrorsOfFilesAreNotRefusals: a disk that fails is not a lie.
func TestErrorsOfFilesAreNotRefusals(t *testing.T) {
	s := newStage(t)
	broken := errors.New("the disk is broken")
	file := encoded(t, s.r)
	for _, n := range []int{0, 10, len(file) / 2, len(file)} {
		_, err := sitting.Decode(io.MultiReader(bytes.NewReader(file[:n]), iotest.ErrReader(broken)))
		var refused *sitting.Refused
		if !errors.Is(err, broken) || errors.As(err, &refused) {
			t.Errorf("after %d bytes: %v", n, err)
		}
	}
	if err := sitting.Encode(failing{broken}, s.r); !errors.Is(err, broken) {
		t.Errorf("writing: %v", err)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

// TestIDCoversEverythingButSignatures.
func TestIDCoversEverythingButSignatures(t *testing.T) {
	s := noted(t)
	id := s.r.ID()
	if len(id) != 16 || strings.Trim(id, "0123456789abcdef") != "" {
		t.Errorf("the id is %q", id)
	}
	for name, change := range map[string]func(r *sitting.Request){
		"repository": func(r *sitting.Request) { r.Repository[0]++ },
		"created":    func(r *sitting.Request) { r.Created = r.Created.Add(1e9) },
		"expires":    func(r *sitting.Request) { r.Expires = r.Expires.Add(1e9) },
		"by":         func(r *sitting.Request) { r.By += "x" },
		"note":       func(r *sitting.Request) { r.Note += "x" },
		"root":       func(r *sitting.Request) { r.Chain.Roots = append(r.Chain.Roots, r.Chain.Roots[0]) },
		"targets":    func(r *sitting.Request) { r.Chain.Targets = r.Chain.Claimed },
		"claimed":    func(r *sitting.Request) { r.Chain.Claimed = r.Chain.Targets },
		"bin":        func(r *sitting.Request) { r.Chain.Bin = r.Chain.Targets },
		"unclaimed":  func(r *sitting.Request) { r.Chain.Unclaimed = nil },
		"a base":     func(r *sitting.Request) { r.Payload(s.bin("django")).Base = r.Chain.Claimed },
		"a message":  func(r *sitting.Request) { r.Payload(s.bin("django")).Message = r.Payload(s.bin("flask")).Message },
		"a payload":  func(r *sitting.Request) { r.Payloads = r.Payloads[1:] },
		"a text":     func(r *sitting.Request) { r.Notes[0].Text = "nothing" },
	} {
		r := s.r.Clone()
		r.Notes = slices.Clone(r.Notes)
		if change(r); r.ID() == id {
			t.Errorf("another %s, and the id is the same", name)
		}
	}
	signOffline(t, s.r, judge(t, s.r, s.now), s.offline()...)
	if s.r.ID() != id {
		t.Error("signing changes the id")
	}
}

// TestSignaturesMerge: copies that were signed apart become one, in any order; another request does not.
func TestSignaturesMerge(t *testing.T) {
	s := newStage(t)
	v := judge(t, s.r, s.now)
	a, b := s.r.Clone(), s.r.Clone()
	signOffline(t, a, v, s.keys[policy.KeyClaimed]...)
	signOffline(t, b, v, append(s.keys[policy.KeyTargets], s.keys[policy.KeyUnclaimed]...)...)
	n, err := a.Merge(b)
	if err != nil || n != 2 {
		t.Errorf("%d signatures are new, %v; want those of targets and unclaimed", n, err)
	}
	if n, err := a.Merge(b); err != nil || n != 0 {
		t.Errorf("merged again %d are new, %v", n, err)
	}
	if !judge(t, a, s.now).Complete() {
		t.Error("not complete with all signatures")
	}
	if judge(t, s.r, s.now).Complete() || judge(t, b, s.now).Complete() {
		t.Error("complete without all signatures")
	}
	other := s.r.Clone()
	other.Note = "another"
	_, err = a.Merge(other)
	wantRefused(t, err, sitting.Altered, "not two copies")
	bin := s.bin("django")
	sig := a.Payload(bin).Signatures[0]
	if fresh, err := a.Add(bin, sig); fresh || err != nil {
		t.Errorf("the same signature is new: %v", err)
	}
	if _, err := a.Add("claimed-zz", sig); err == nil {
		t.Error("a signature for nothing")
	}
	for i := range 200 {
		sum := sha256.Sum256([]byte{byte(i)})
		sig.KeyID = tufID(sum)
		if _, err = a.Add(bin, sig); err != nil {
			break
		}
	}
	wantRefused(t, err, sitting.Malformed, "as many as a request may hold")
}

func tufID(sum [32]byte) key.ID { return key.ID(hex.EncodeToString(sum[:])) }

// FuzzDecode: no file makes a function panic, and what is decoded can be encoded to the same bytes.
func FuzzDecode(f *testing.F) {
	w := newPlace(f, 16)
	small := sitting.Request{
		Created: w.now, Expires: w.now.Add(day), Chain: sitting.Chain{Roots: [][]byte{[]byte(`{"a":1}`)}},
		Payloads: []sitting.Payload{{Role: "claimed-3", Base: []byte(`{"b":2}`), Message: []byte(`{"c":3}`), Signatures: []tuf.Signature{{KeyID: tufID([32]byte{}), Sig: []byte{1}}}}},
	}
	root := w.plan(sitting.Wishes{Roles: []tuf.RoleName{tuf.RoleRoot}})
	root.Notes = []sitting.Note{{Project: projectOf(f, "flask")}}
	f.Add(encoded(f, root))
	f.Add(encoded(f, &small))
	f.Add([]byte("{}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := sitting.Decode(bytes.NewReader(data))
		if err != nil {
			return
		}
		if again := encoded(t, r); !bytes.Equal(again, data) {
			t.Errorf("encoded again, it is %q", again)
		}
		if v, err := sitting.Judge(r, w.now); err == nil {
			for range v.Lines() {
			}
			v.Summary().Lines(0)
		}
	})
}
