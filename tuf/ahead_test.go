package tuf_test

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"testing"

	"example.com/bailiwick/tuf"
)

// TestVerifyAhead holds the verdict of a check that was begun early against that of Verify:
// for whatever form of a file they must be the same, and only where the file has the form
// that was presumed may the early one count.
func TestVerifyAhead(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	owner, other, thief := signer(t, 1), signer(t, 2), signer(t, 3)
	one, both := authority(t, 1, owner), authority(t, 2, owner, other)
	long := manyTargets(200)
	good := signed(t, long, owner)
	tail := `,"zzz":{"note":"outside of what is signed"}`
	stretched := signature(t, []byte(long+tail), owner) // over what would be presumed to be the message
	cases := []struct {
		name  string
		data  []byte
		by    tuf.Authority
		good  bool
		early bool
	}{
		{"canonical", good, one, true, true},
		{"two signatures of two", signed(t, long, owner, other), both, true, true},
		{"one signature of two", good, both, false, true},
		{"another's signature", signed(t, long, thief), one, false, true},
		{"no signature", signed(t, long), one, false, true},
		{"nobody may sign", good, tuf.Authority{}, false, true},
		{"a byte changed", bytes.Replace(good, []byte(`"length":10001`), []byte(`"length":10007`), 1), one, false, true},
		{"an unknown member in front", bytes.Replace(good, []byte(`{"signatures"`), []byte(`{"a":1,"signatures"`), 1), one, true, false},
		{"an unknown member in between", bytes.Replace(good, []byte(`,"signed"`), []byte(`,"signee":1,"signed"`), 1), one, true, false},
		{"an unknown member behind", fmt.Appendf(nil, "%s%s}", bytes.TrimSuffix(good, []byte("}")), tail), one, true, false},
		{"signed with the member behind it", fmt.Appendf(nil, `{"signatures":[{"keyid":"%s","sig":"%x"}],"signed":%s%s}`,
			stretched.KeyID, stretched.Sig, long, tail), one, false, false},
		{"signatures behind", signaturesBehind(t, good), one, true, false},
		{"a line feed at the end", append(bytes.Clone(good), '\n'), one, true, false},
		{"a blank before the message", bytes.Replace(good, []byte(`"signed":`), []byte(`"signed": `), 1), one, true, false},
		{"indented", indent(t, good), one, true, false},
		{"not canonical within", bytes.Replace(good, []byte(`"targets":{`), []byte(`"targets": {`), 1), one, true, false},
		{"short", signed(t, manyTargets(1), owner), one, true, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			h := tuf.VerifyAhead(c.data, nil, c.by)
			u, err := tuf.ParseTargets(c.data, nil)
			if err != nil {
				t.Fatal(err)
			}
			_, late := u.Verify(c.by)
			v, err := u.VerifyAfter(h)
			if fmt.Sprint(err) != fmt.Sprint(late) {
				t.Errorf("begun early: %v; otherwise: %v", err, late)
			}
			var few *tuf.ThresholdError
			if (err == nil) != c.good || (v != nil) != c.good || err != nil && !errors.As(err, &few) {
				t.Errorf("got %v, %v; want good: %v", v != nil, err, c.good)
			}
			if got := tuf.Fits(h, u); got != c.early {
				t.Errorf("the early check counts: %v, want %v", got, c.early)
			}
		})
	}
	t.Run("of another copy", func(t *testing.T) {
		h := tuf.VerifyAhead(good, nil, one)
		forged := bytes.Replace(good, []byte(`"length":10001`), []byte(`"length":10007`), 1)
		u, err := tuf.ParseTargets(forged, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := u.VerifyAfter(h); err == nil || tuf.Fits(h, u) {
			t.Errorf("what was found out about other bytes counts: %v", err)
		}
	})
	t.Run("malformed", func(t *testing.T) {
		for _, data := range [][]byte{good[:len(good)/2], bytes.Repeat([]byte("["), 20<<10), bytes.Replace(good, []byte(`"sig"`), []byte(`"sih"`), 1)} {
			h := tuf.VerifyAhead(data, nil, one)
			if _, err := tuf.ParseTargets(data, nil); err == nil {
				t.Error("parsed")
			}
			if u, err := tuf.ParseTargets(good, nil); err != nil || tuf.Fits(h, u) {
				t.Errorf("it counts for another file: %v", err)
			}
		}
	})
	t.Run("nobody", func(t *testing.T) {
		u, err := tuf.ParseTargets(good, nil)
		if err != nil {
			t.Fatal(err)
		}
		var few *tuf.ThresholdError
		if v, err := u.VerifyAfter(nil); v != nil || !errors.As(err, &few) {
			t.Errorf("%v, %v", v, err)
		}
	})
	t.Run("with one processor", func(t *testing.T) {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
		h := tuf.VerifyAhead(good, nil, one)
		u, err := tuf.ParseTargets(good, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := u.VerifyAfter(h); err != nil || tuf.Fits(h, u) {
			t.Errorf("%v, begun early: %v", err, tuf.Fits(h, u))
		}
	})
}

// signaturesBehind moves the signatures of a canonical file to its end.
func signaturesBehind(t *testing.T, data []byte) []byte {
	t.Helper()
	signatures, rest, ok := bytes.Cut(bytes.TrimPrefix(data, []byte("{")), []byte(`,"signed":`))
	if !ok {
		t.Fatal("the fixture has another form")
	}
	return fmt.Appendf(nil, `{"signed":%s,%s}`, bytes.TrimSuffix(rest, []byte("}")), signatures)
}
