package record_test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"example.com/bailiwick/internal/record"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
	"example.com/bailiwick/tuf/repo"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func entry(number int64) record.Entry {
	return record.Entry{
		Number: number, Publication: number + 5, Time: noon, Kind: record.Rekeyed, Role: "project.flask", Text: `by "old keys", é`,
		Old: record.Keys{IDs: []key.ID{"aa"}, Threshold: 1}, New: record.Keys{IDs: []key.ID{"aa", "bb"}, Threshold: 2},
	}
}

// TestCanonicalForm pins the bytes that everybody's chain is made of.
func TestCanonicalForm(t *testing.T) {
	e := entry(7)
	const want = `{"kind":"rekeyed","new":{"keyids":["aa","bb"],"threshold":2},"number":7,"old":{"keyids":["aa"],"threshold":1},` +
		`"publication":12,"role":"project.flask","text":"by \"old keys\", é","time":"2026-11-23T12:00:00Z"}`
	if got := string(e.AppendCanonical(nil)); got != want {
		t.Errorf("canonical form\n%s\nwant\n%s", got, want)
	}
	e.Kind, e.NotBefore, e.Old = record.RecoveryAnnounced, noon.Add(time.Hour), record.Keys{}
	const announced = `{"kind":"recovery-announced","new":{"keyids":["aa","bb"],"threshold":2},"not_before":"2026-11-23T13:00:00Z","number":7,` +
		`"old":{"keyids":[],"threshold":0},"publication":12,"role":"project.flask","text":"by \"old keys\", é","time":"2026-11-23T12:00:00Z"}`
	if got := string(e.AppendCanonical(nil)); got != announced {
		t.Errorf("canonical form\n%s\nwant\n%s", got, announced)
	}
	if !json.Valid([]byte(announced)) {
		t.Error("the canonical form is no JSON")
	}
}

// TestEntriesComeBack: whatever is valid is read back as it was.
func TestEntriesComeBack(t *testing.T) {
	keys := func(t *rapid.T, name string) record.Keys {
		var k record.Keys
		for _, id := range rapid.SliceOfN(rapid.StringMatching(`[0-9a-f]{64}`), 0, 5).Draw(t, name) {
			k.IDs = append(k.IDs, key.ID(id))
		}
		if len(k.IDs) > 0 {
			k.Threshold = rapid.IntRange(1, len(k.IDs)).Draw(t, name)
		}
		return k
	}
	rapid.Check(t, func(t *rapid.T) {
		e := record.Entry{
			Number: rapid.Int64Range(1, 1<<53).Draw(t, "number"), Publication: rapid.Int64Range(1, 1<<53).Draw(t, "publication"),
			Time: time.Unix(rapid.Int64Range(0, 1<<35).Draw(t, "time"), 0).UTC(), Kind: rapid.SampledFrom(record.Kinds()).Draw(t, "kind"),
			Role: tuf.RoleName(rapid.StringMatching(`[ -~é]{1,60}`).Draw(t, "role")), Text: rapid.StringMatching(`[ -~é]{0,200}`).Draw(t, "text"),
			Old: keys(t, "old"), New: keys(t, "new"),
		}
		if e.Kind == record.RecoveryAnnounced {
			e.NotBefore = e.Time.Add(time.Hour)
		}
		if err := e.Check(); err != nil {
			t.Fatal(err)
		}
		line := e.AppendCanonical(nil)
		got, err := record.Parse(line)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if diff := cmp.Diff(e, got); diff != "" {
			t.Fatalf("(-was +read)\n%s", diff)
		}
	})
}

func TestParseRefuses(t *testing.T) {
	e := entry(1)
	good := string(e.AppendCanonical(nil))
	for name, line := range map[string]string{
		"nothing":               "",
		"something else":        `{"a":1}`,
		"white space":           strings.Replace(good, ",", ", ", 1),
		"another order":         `{"time":"2026-11-23T12:00:00Z",` + strings.TrimSuffix(good[1:], `,"time":"2026-11-23T12:00:00Z"}`) + "}",
		"an unknown member":     strings.Replace(good, `"number"`, `"more":1,"number"`, 1),
		"a member twice":        strings.Replace(good, `"number":1`, `"number":1,"number":1`, 1),
		"an unknown kind":       strings.Replace(good, "rekeyed", "sold", 1),
		"number zero":           strings.Replace(good, `"number":1`, `"number":0`, 1),
		"publication zero":      strings.Replace(good, `"publication":6`, `"publication":0`, 1),
		"a threshold too high":  strings.Replace(good, `"threshold":2`, `"threshold":3`, 1),
		"a negative threshold":  strings.Replace(good, `"threshold":2`, `"threshold":-2`, 1),
		"keys and no threshold": strings.Replace(good, `"threshold":2`, `"threshold":0`, 1),
		"an empty key id":       strings.Replace(good, `"bb"`, `""`, 1),
		"no role":               strings.Replace(good, "project.flask", "", 1),
		"a date in words":       strings.Replace(good, "2026-11-23T12:00:00Z", "noon", 1),
		"a time zone":           strings.Replace(good, "12:00:00Z", "12:00:00+01:00", 1),
		"no time":               strings.Replace(good, "2026-11-23T12:00:00Z", "0001-01-01T00:00:00Z", 1),
		"an escape":             strings.Replace(good, "flask", "fl\\u0061sk", 1),
		"a line break":          strings.Replace(good, "by ", "by\\n", 1),
		"more after it":         good + " {}",
		"too many keys":         strings.Replace(good, `"bb"`, strings.Repeat(`"bb",`, record.MaxKeys)+`"bb"`, 1),
		"too long":              strings.Replace(good, "by ", strings.Repeat("a", record.MaxEntry), 1),
	} {
		if line == good {
			t.Fatalf("%s: the line was not spoiled", name)
		}
		if got, err := record.Parse([]byte(line)); !errors.Is(err, record.ErrInvalid) {
			t.Errorf("%s: read as %+v, %v", name, got, err)
		}
	}
	if _, err := record.Parse([]byte(good)); err != nil {
		t.Error(err)
	}
}

func TestHead(t *testing.T) {
	var head record.Head
	want := [32]byte{}
	for n := int64(1); n <= 3; n++ {
		e := entry(n)
		var err error
		if head, err = head.Append(&e); err != nil {
			t.Fatal(err)
		}
		want = sha256.Sum256(append(want[:], e.AppendCanonical(nil)...))
		if head.Length != n || head.Sum != want {
			t.Errorf("after entry %d: %+v, want %x", n, head, want)
		}
	}
	for _, n := range []int64{1, 3, 5} {
		e := entry(n)
		if _, err := head.Append(&e); !errors.Is(err, record.ErrChain) {
			t.Errorf("entry %d after 3: %v, want ErrChain", n, err)
		}
	}
	long := entry(4)
	long.Text = strings.Repeat("a", record.MaxText+1)
	if _, err := head.Append(&long); !errors.Is(err, record.ErrInvalid) {
		t.Errorf("a long text: %v", err)
	}
	for _, spoil := range []func(e *record.Entry){
		func(e *record.Entry) { e.NotBefore = noon },
		func(e *record.Entry) { e.Kind = record.RecoveryAnnounced },
		func(e *record.Entry) { e.Text = "two\nlines" },
		func(e *record.Entry) { e.Text = "\xff" },
		func(e *record.Entry) { e.Time = noon.Add(time.Nanosecond) },
	} {
		e := entry(4)
		spoil(&e)
		if _, err := head.Append(&e); !errors.Is(err, record.ErrInvalid) {
			t.Errorf("%+v: %v, want ErrInvalid", e, err)
		}
	}
}

// snapshot makes a snapshot with some value of the member; none if it is "".
func snapshot(t *testing.T, value string) *tuf.Snapshot {
	t.Helper()
	_, signer, err := key.GenerateEd25519()
	if err != nil {
		t.Fatal(err)
	}
	a, err := tuf.NewAuthority(1, signer.Public())
	if err != nil {
		t.Fatal(err)
	}
	issue := func(version int64) repo.Issue {
		return repo.Issue{Role: tuf.RoleSnapshot, Version: version, Now: noon, Expires: noon.Add(time.Hour), Authority: a}
	}
	parse := func(d *repo.Draft, err error) *tuf.Snapshot {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		signed, err := repo.Sign(context.Background(), d, signer)
		if err != nil {
			t.Fatal(err)
		}
		u, err := tuf.ParseSnapshot(signed, nil)
		if err != nil {
			t.Fatal(err)
		}
		s, err := u.Verify(a)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	first := parse(repo.NewSnapshot(map[tuf.RoleName]int64{tuf.RoleTargets: 1}, issue(1)))
	if value == "" {
		return first
	}
	base, err := repo.OpenSnapshot(first)
	if err == nil {
		base, err = base.WithMembers(map[string][]byte{record.Member: []byte(value)})
	}
	if err != nil {
		t.Fatal(err)
	}
	_, d, err := base.Edit(nil, issue(2))
	return parse(d, err)
}

func TestHeadOf(t *testing.T) {
	e := entry(1)
	head, err := record.Head{}.Append(&e)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := record.HeadOf(snapshot(t, string(head.Value()))); got != head || err != nil {
		t.Errorf("read %+v, %v; want %+v", got, err, head)
	}
	if got, err := record.HeadOf(snapshot(t, "")); got != (record.Head{}) || err != nil {
		t.Errorf("read %+v, %v from a snapshot without the member; want the empty record", got, err)
	}
	for _, value := range []string{
		`1`, `{}`, `null`, `{"head":"00","length":1}`, `{"length":1}`,
		`{"head":"` + strings.Repeat("0", 64) + `","length":0}`,
		`{"head":"` + strings.Repeat("0", 64) + `","length":-1}`,
		`{"head":"` + strings.Repeat("A", 64) + `","length":1}`,
		`{"head":"` + strings.Repeat("g", 64) + `","length":1}`,
		`{"head":"` + strings.Repeat("0", 64) + `","length":1,"more":1}`,
	} {
		if got, err := record.HeadOf(snapshot(t, value)); !errors.Is(err, record.ErrInvalid) {
			t.Errorf("%s: read as %+v, %v", value, got, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	e := entry(1)
	f.Add(e.AppendCanonical(nil))
	f.Add([]byte(`{"kind":"root","new":{"keyids":[],"threshold":0}}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		e, err := record.Parse(line)
		if err != nil {
			return
		}
		if string(e.AppendCanonical(nil)) != string(line) || e.Check() != nil {
			t.Errorf("%q was read as %+v", line, e)
		}
	})
}
