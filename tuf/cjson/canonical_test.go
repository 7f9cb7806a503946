package cjson_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"pgregory.net/rapid"

	"example.com/bailiwick/tuf/cjson"
)

// canonicalOf is a naive encoder of decoded values, to compare with.
func canonicalOf(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case bool:
		return fmt.Sprint(v)
	case int64:
		return fmt.Sprint(v)
	case json.Number:
		return v.String()
	case string:
		return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(v) + `"`
	case []any:
		var parts []string
		for _, e := range v {
			parts = append(parts, canonicalOf(e))
		}
		return "[" + strings.Join(parts, ",") + "]"
	case map[string]any:
		var names, parts []string
		for name := range v {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			parts = append(parts, canonicalOf(name)+":"+canonicalOf(v[name]))
		}
		return "{" + strings.Join(parts, ",") + "}"
	}
	panic(fmt.Sprintf("a %T", v))
}

// layout writes a value in some layout: with spaces, escapes and in any order.
func layout(b *strings.Builder, v any, rnd *rand.Rand) {
	space := func() { b.WriteString([]string{"", "", "", " ", "\n\t", "\r\n"}[rnd.IntN(6)]) }
	text := func(s string) {
		b.WriteByte('"')
		for _, c := range s {
			switch {
			case rnd.IntN(5) == 0 || c < 0x20:
				for _, unit := range utf16.Encode([]rune{c}) {
					fmt.Fprintf(b, []string{`\u%04x`, `\u%04X`}[rnd.IntN(2)], unit)
				}
			case c == '"' || c == '\\':
				b.WriteByte('\\')
				b.WriteRune(c)
			case c == '/' && rnd.IntN(2) == 0:
				b.WriteString(`\/`)
			default:
				b.WriteRune(c)
			}
		}
		b.WriteByte('"')
	}
	space()
	switch v := v.(type) {
	case string:
		text(v)
	case []any:
		b.WriteByte('[')
		for i, e := range v {
			if i > 0 {
				b.WriteByte(',')
			}
			layout(b, e, rnd)
		}
		b.WriteByte(']')
	case map[string]any:
		var names []string
		for name := range v {
			names = append(names, name)
		}
		rnd.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
		b.WriteByte('{')
		for i, name := range names {
			if i > 0 {
				b.WriteByte(',')
			}
			space()
			text(name)
			space()
			b.WriteByte(':')
			layout(b, v[name], rnd)
		}
		space()
		b.WriteByte('}')
	default:
		b.WriteString(canonicalOf(v))
	}
	space()
}

// values generates JSON values of bounded depth.
func values(depth int) *rapid.Generator[any] {
	text := rapid.OneOf(rapid.String(), rapid.StringOf(rapid.RuneFrom([]rune("ab\"\\/\x00\n\u007f\u00e9\uffff😀"))))
	leaf := rapid.OneOf(
		rapid.Map(text, func(s string) any { return s }),
		rapid.Map(rapid.Int64(), func(n int64) any { return n }),
		rapid.Just[any](nil), rapid.Just[any](true), rapid.Just[any](false),
	)
	if depth == 0 {
		return leaf
	}
	inner := values(depth - 1)
	return rapid.OneOf(
		leaf,
		rapid.Map(rapid.SliceOfN(inner, 0, 4), func(l []any) any { return l }),
		rapid.Map(rapid.MapOfN(text, inner, 0, 5), func(m map[string]any) any { return m }),
	)
}

func TestEveryLayoutHasOneCanonicalForm(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := values(3).Draw(t, "value")
		want := canonicalOf(v)
		rnd := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "layout"), 0))
		var b strings.Builder
		layout(&b, v, rnd)
		in := b.String()
		got, err := cjson.Canonical([]byte(in), 0)
		if err != nil {
			t.Fatalf("%q: %v", in, err)
		}
		if string(got) != want {
			t.Fatalf("%q\ngives %q\nwant  %q", in, got, want)
		}
		canonical, err := read(in)
		if err != nil || canonical != (strings.Trim(in, " \t\r\n") == want) {
			t.Fatalf("%q: canonical %v, %v", in, canonical, err)
		}
		// What is published is legal JSON and stands for the same bytes.
		wire := cjson.AppendWire(nil, got)
		if !json.Valid(wire) {
			t.Fatalf("the wire form is not JSON: %q", wire)
		}
		back, err := cjson.Canonical(wire, 0)
		if err != nil || string(back) != want {
			t.Fatalf("the wire form %q stands for %q, %v", wire, back, err)
		}
	})
}

func TestAppendWire(t *testing.T) {
	for in, want := range map[string]string{
		`{"a":1}`:              `{"a":1}`,
		"\"a\nb\"":             `"a\nb"`,
		"\"\b\f\n\r\t\"":       `"\b\f\n\r\t"`,
		"\"\x00\x1f\x7f\"":     "\"\\u0000\\u001f\x7f\"",
		"\"\\\"\\\\\x01é😀\"":   `"\"\\\u0001é😀"`,
		"\"-----BEGIN\nx=\n\"": `"-----BEGIN\nx=\n"`,
	} {
		if got := cjson.AppendWire([]byte("> "), []byte(in)); string(got) != "> "+want {
			t.Errorf("%q is published as %q, want %q", in, got, want)
		}
		if got := cjson.IsWire([]byte(in)); got != (in == want) {
			t.Errorf("%q: IsWire is %v", in, got)
		}
	}
}

func TestAppendString(t *testing.T) {
	for in, want := range map[string]string{
		"": `""`, `a"b\c`: `"a\"b\\c"`, "\n\x00": "\"\n\x00\"", `"`: `"\""`, "é": `"é"`,
	} {
		if got := cjson.AppendString(nil, in); string(got) != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
		if got := cjson.AppendString(nil, []byte(in)); string(got) != want {
			t.Errorf("as bytes, %q becomes %q, want %q", in, got, want)
		}
	}
	if got := cjson.AppendInt([]byte("n="), -7); string(got) != "n=-7" {
		t.Errorf("AppendInt gives %s", got)
	}
}

// Unescape is total, and inverse to AppendString and AppendWire.
func TestUnescape(t *testing.T) {
	for in, want := range map[string]string{
		``: ``, `a`: `a`, `\u0041\n\/\"`: "A\n/\"", `\ud83d\ude00`: "😀",
		// No Reader lets these pass; they must not panic.
		`\`: `\`, `\u`: `\u`, `\u12`: `\u12`, `\ud83d`: `\ud83d`,
	} {
		if got := cjson.Unescape([]byte(in)); string(got) != want {
			t.Errorf("%q decodes to %q, want %q", in, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.String().Draw(t, "s")
		quoted := cjson.AppendWire(nil, cjson.AppendString(nil, s))
		if got := cjson.Unescape(quoted[1 : len(quoted)-1]); string(got) != s {
			t.Fatalf("%q comes back as %q", s, got)
		}
	})
}

func FuzzReader(f *testing.F) {
	for _, seed := range []string{
		`{"signatures":[],"signed":{"_type":"root"}}`, `{"b":1,"a":{"d":[1,-2,null],"c":"\u00e9\n"}}`,
		`{"a":1,"a":2}`, `[1.5,1e3,-0]`, `"\ud83d\ude00"`, `"\ud83d"`, "\"\xff\"", "\"\x7f\\\"\"", `{"\"":1,"A":2}`,
		`[[[[[[]]]]]]`, "\t{ } \n", `9223372036854775808`, `{"\u0061":1,"a":2}`, `"12345678\"`, `[tru`, ``,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		canonical, err := read(string(data))
		form, formErr := cjson.Canonical(data, 0)
		if (err == nil) != (formErr == nil) {
			t.Fatalf("reading says %v, encoding says %v", err, formErr)
		}
		if err != nil {
			return
		}
		if trimmed := bytes.Trim(data, " \t\r\n"); canonical != bytes.Equal(trimmed, form) {
			t.Fatalf("canonical %v: %q, %q", canonical, data, form)
		}
		// Whatever is accepted here, the standard library accepts and reads alike.
		d := json.NewDecoder(bytes.NewReader(data))
		d.UseNumber()
		var v any
		if err := d.Decode(&v); err != nil {
			t.Fatalf("the standard library refuses %q: %v", data, err)
		}
		if want := canonicalOf(v); string(form) != want {
			t.Fatalf("%q gives %q, want %q", data, form, want)
		}
		wire := cjson.AppendWire(nil, form)
		if cjson.IsWire(form) != bytes.Equal(wire, form) || !cjson.IsWire(wire) {
			t.Fatalf("IsWire is wrong about %q or %q", form, wire)
		}
		again, err := cjson.AppendCanonical(nil, wire, 0)
		if err != nil || !bytes.Equal(again, form) {
			t.Fatalf("the wire form %q stands for %q: %v", wire, again, err)
		}
	})
}

func BenchmarkCanonical(b *testing.B) {
	var canonical strings.Builder
	canonical.WriteByte('{')
	for i := range 10_000 {
		if i > 0 {
			canonical.WriteByte(',')
		}
		fmt.Fprintf(&canonical, `"3f/project/project-1.%06d.whl":{"hashes":{"sha256":"%064x"},"length":%d}`, i, i, i)
	}
	canonical.WriteByte('}')
	var indented bytes.Buffer
	if err := json.Indent(&indented, []byte(canonical.String()), "", " "); err != nil {
		b.Fatal(err)
	}
	for name, in := range map[string][]byte{"canonical": []byte(canonical.String()), "indented": indented.Bytes()} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(in)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := cjson.Canonical(in, 0); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
