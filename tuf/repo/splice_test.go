package repo_test

import (
	"bytes"
	"encoding/json"
	"testing"
	"unicode/utf8"

	"example.com/bailiwick/tuf/cjson"
	"example.com/bailiwick/tuf/repo"
)

// FuzzSplice: no bytes make the splicer panic, and on canonical objects it does what
// decoding, changing and encoding would do.
func FuzzSplice(f *testing.F) {
	for _, object := range []string{
		`{}`, `{"a":1}`, `{"a":{"b":[1,"}",{"\"":"\\"}]},"c":""}`, `{"\"":1,"\\":2,"]":3}`, `{"a":"\\\\\"","b":-1}`,
		`{`, `{"a`, `{"a"}`, `{"a":}`, `{"a":1,}`, `{"a":]}`, `{"a":[}`, `{,}`, `{"a":1 }`, `[]`, `"`, ``, `{"\`, `{"a":"\"}`,
	} {
		f.Add([]byte(object), "b", "a")
		f.Add([]byte(object), `"`, `\`)
	}
	f.Fuzz(func(t *testing.T, object []byte, put, drop string) {
		got, err := repo.SpliceObject(object, put, []byte(`{"new":[]}`), drop)
		canonical, bad := cjson.Canonical(object, 0)
		if bad != nil || !bytes.Equal(canonical, object) || object[0] != '{' || !utf8.ValidString(put) || !utf8.ValidString(drop) {
			return // no panic is all that is asked for
		}
		if err != nil {
			t.Fatalf("splicing %q: %v", object, err)
		}
		var want map[string]any
		dec := json.NewDecoder(bytes.NewReader(cjson.AppendWire(nil, object)))
		dec.UseNumber()
		if err := dec.Decode(&want); err != nil {
			t.Fatal(err)
		}
		delete(want, drop)
		want[put] = map[string]any{"new": []any{}}
		var b bytes.Buffer
		encode(&b, want)
		if !bytes.Equal(got, b.Bytes()) {
			t.Fatalf("spliced\n%q\nwant\n%q", got, b.Bytes())
		}
	})
}
