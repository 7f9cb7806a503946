package cjson_test

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"example.com/bailiwick/tuf/cjson"
)

// read passes over one document and returns whether it was canonical.
func read(data string) (canonical bool, err error) {
	r := cjson.New([]byte(data), 0)
	m := r.Mark()
	r.Skip()
	_, canonical = r.Since(m)
	return canonical, r.End()
}

func TestRefused(t *testing.T) {
	tests := []struct {
		name, in string
		offset   int
		reason   string // part of it
	}{
		{"nothing", "", 0, "ends"},
		{"only space", " \t", 2, "ends"},
		{"two values", "1 2", 2, "follows"},
		{"value and bracket", "{}}", 2, "follows"},
		{"byte order mark", "\ufeff{}", 0, "value"},
		{"zero byte after the value", "{}\x00", 2, "follows"},
		{"zero byte", "\x00", 0, "value"},
		{"form feed is no space", "\f1", 0, "value"},
		{"no-break space is no space", "\u00a01", 0, "value"},

		{"repeated member", `{"a":1,"a":1}`, 8, "twice"},
		{"repeated member, apart", `{"a":1,"b":2,"a":3}`, 14, "twice"},
		{"repeated member, other spelling", `{"a":1,"\u0061":2}`, 8, "twice"},
		{"repeated member, both escaped", `{"\u0061":1,"b":0,"\u0061":2}`, 19, "twice"},
		{"repeated deep down", `[{"x":{"b":1,"a":1,"b":1}}]`, 20, "twice"},
		{"repeated empty name", `{"":1,"":2}`, 7, "twice"},
		{"repeated behind all kinds of values", ` { "a" : [ {"x":"]}"} , [ ] ] ,"b":"\"}," , "c" : {"y" : { } }, "d":-1 ,"e" : true, "f":null,"g":0, "b" : 1}`, 101, "twice"},
		{"repeated inside a value in order", `{"a":1,"b":{"c":1,"a":2,"c":3},"d":4}`, 25, "twice"},

		{"member without value", `{"a"}`, 4, "colon"},
		{"member without colon", `{"a" 1}`, 5, "colon"},
		{"name is a number", `{1:2}`, 1, "name of a member"},
		{"comma at the end of an object", `{"a":1,}`, 7, "name of a member"},
		{"comma at the start of an object", `{,"a":1}`, 1, "name of a member"},
		{"two commas", `{"a":1,,"b":2}`, 7, "name of a member"},
		{"missing comma", `{"a":1 "b":2}`, 7, "comma"},
		{"open object", `{"a":1`, 6, "ends"},
		{"object closed as array", `{"a":1]`, 6, "comma"},
		{"comma at the end of an array", `[1,]`, 3, "element"},
		{"comma at the start of an array", `[,1]`, 1, "a value"},
		{"open array", `[1`, 2, "ends"},
		{"open empty array", `[`, 1, "ends"},
		{"missing comma in array", `[1 2]`, 3, "comma"},
		{"array closed as object", `[1}`, 2, "comma"},

		{"fraction", `1.5`, 0, "fraction"},
		{"whole fraction", `1.0`, 0, "fraction"},
		{"exponent", `1e2`, 0, "exponent"},
		{"capital exponent", `1E2`, 0, "exponent"},
		{"zero with exponent", `0e0`, 0, "exponent"},
		{"minus zero", `-0`, 0, "minus zero"},
		{"leading zero", `01`, 0, "leading zero"},
		{"negative leading zero", `-01`, 0, "leading zero"},
		{"plus", `+1`, 0, "value"},
		{"only minus", `-`, 0, "whole number"},
		{"point first", `.5`, 0, "value"},
		{"above int64", `9223372036854775808`, 0, "64 bits"},
		{"below int64", `-9223372036854775809`, 0, "64 bits"},
		{"above uint64", `18446744073709551616`, 0, "64 bits"},
		{"many digits", strings.Repeat("9", 500), 0, "64 bits"},
		{"hex", `0x10`, 1, "follows"},
		{"infinity", `Infinity`, 0, "value"},
		{"not a number", `NaN`, 0, "value"},

		{"capital true", `True`, 0, "value"},
		{"cut true", `tru`, 0, "true"},
		{"long null", `nulls`, 4, "follows"},
		{"undefined", `undefined`, 0, "value"},

		{"open string", `"abc`, 4, "ends inside"},
		{"open string of eight", `"12345678`, 9, "ends inside"},
		{"single quotes", `'a'`, 0, "value"},
		{"bare line break", "\"a\nb\"", 2, "control character"},
		{"bare line break after eight", "\"12345678\n\"", 9, "control character"},
		{"bare zero byte in string", "\"a\x00\"", 2, "control character"},
		{"unknown escape", `"\a"`, 1, "unknown escape"},
		{"escaped quote only", `"\"`, 3, "ends inside"},
		{"backslash at the end", `"\`, 1, "ends inside"},
		{"three hex digits", `"\u004"`, 1, "four hex digits"},
		{"hex digit too high", `"\u00g0"`, 1, "four hex digits"},
		{"capital U", `"\U0041"`, 1, "unknown escape"},
		{"first half of a pair", `"\ud83d"`, 1, "surrogate"},
		{"first half and a letter", `"\ud83d\u0041"`, 1, "surrogate"},
		{"two first halves", `"\ud83d\ud83d"`, 1, "surrogate"},
		{"second half", `"\ude00"`, 1, "surrogate"},
		{"lone continuation byte", "\"\x80\"", 1, "UTF-8"},
		{"cut sequence", "\"\xe2\x82\"", 1, "UTF-8"},
		{"overlong slash", "\"\xc0\xaf\"", 1, "UTF-8"},
		{"surrogate in UTF-8", "\"\xed\xa0\xbd\"", 1, "UTF-8"},
		{"above Unicode", "\"\xf4\x90\x80\x80\"", 1, "UTF-8"},
		{"bad UTF-8 in a name", "{\"\xff\":1}", 2, "UTF-8"},
		{"bad UTF-8 after eight", "\"12345678\xff\"", 9, "UTF-8"},

		{"comment", `{/* */}`, 1, "name of a member"},
		{"line comment", "// x\n1", 0, "value"},
		{"too deep", strings.Repeat("[", 65) + strings.Repeat("]", 65), 64, "nested deeper"},
		{"very deep", strings.Repeat(`{"a":`, 1_000_000), 320, "nested deeper"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := read(test.in)
			syntax, ok := errors.AsType[*cjson.SyntaxError](err)
			if !ok {
				t.Fatalf("accepted %.80q: error %v", test.in, err)
			}
			if syntax.Offset != test.offset || !strings.Contains(syntax.Reason, test.reason) {
				t.Errorf("%v, want byte %d: …%s…", err, test.offset, test.reason)
			}
			if _, err := cjson.Canonical([]byte(test.in), 0); err == nil {
				t.Error("Canonical accepts it")
			}
			out, err := cjson.AppendCanonical([]byte("kept"), []byte(test.in), 0)
			if err == nil || string(out) != "kept" {
				t.Errorf("AppendCanonical gives %.40q, %v", out, err)
			}
		})
	}
}

// No control character may stand in a string as it is, wherever in it, and each may be escaped.
func TestControlCharacters(t *testing.T) {
	for c := range byte(0x20) {
		for _, before := range []string{"", "1234567", "12345678", "123456789012345"} {
			in := `"` + before + string(rune(c)) + `"`
			if _, err := read(in); err == nil || !strings.Contains(err.Error(), "bare control character") {
				t.Errorf("%q: %v", in, err)
			}
			escaped := fmt.Sprintf(`"%s\u%04x"`, before, c)
			if canonical, err := read(escaped); canonical || err != nil {
				t.Errorf("%s: canonical %v, %v", escaped, canonical, err)
			}
		}
	}
}

func TestAccepted(t *testing.T) {
	tests := []struct {
		name, in  string
		canonical string // the canonical form; the same as in if that is canonical
	}{
		{"empty object", `{}`, `{}`},
		{"empty array", `[]`, `[]`},
		{"empty string", `""`, `""`},
		{"empty name", `{"":0}`, `{"":0}`},
		{"zero", `0`, `0`},
		{"largest", `9223372036854775807`, `9223372036854775807`},
		{"smallest", `-9223372036854775808`, `-9223372036854775808`},
		{"beyond doubles", `9007199254740993`, `9007199254740993`},
		{"words", `[true,false,null]`, `[true,false,null]`},
		{"space", " { \"a\" :\t[ 1 ,\r2 ] }\n", `{"a":[1,2]}`},
		{"space around", ` [1] `, `[1]`},
		{"quotes and backslashes", `"\"\\"`, `"\"\\"`},
		{"slash", `"\/"`, `"/"`},
		{"short escapes", `"\b\f\n\r\t"`, "\"\b\f\n\r\t\""},
		{"escaped letter", `"\u0041\u00e9"`, `"Aé"`},
		{"escaped quote as code", `"\u0022\u005C"`, `"\"\\"`},
		{"escaped zero", `"\u0000"`, "\"\x00\""},
		{"pair", `"\ud83d\uDE00"`, `"😀"`},
		{"plain above the basic plane", `"😀"`, `"😀"`},
		{"delete character", "\"\x7f\"", "\"\x7f\""},
		{"line separator", "\"\u2028\"", "\"\u2028\""},
		{"replacement character", "\"\ufffd\"", "\"\ufffd\""},
		{"order of members", `{"b":1,"a":2}`, `{"a":2,"b":1}`},
		{"order in depth", `{"b":[{"d":1,"c":2}],"a":{"z":1,"y":2}}`, `{"a":{"y":2,"z":1},"b":[{"c":2,"d":1}]}`},
		{"prefix comes first", `{"ab":1,"a":2}`, `{"a":2,"ab":1}`},
		{"code points, not UTF-16", "{\"\U00010000\":1,\"\uffff\":2}", "{\"\uffff\":2,\"\U00010000\":1}"},
		{"code points in order", "{\"\uffff\":2,\"\U00010000\":1}", "{\"\uffff\":2,\"\U00010000\":1}"},
		{"case", `{"a":1,"B":2}`, `{"B":2,"a":1}`},
		{"names that differ in case", `{"A":1,"a":2}`, `{"A":1,"a":2}`},
		{"decoded order: quote before letter", `{"A":1,"\"":2}`, `{"\"":2,"A":1}`},
		{"decoded order: backslash after letter", `{"\\":1,"A":2}`, `{"A":2,"\\":1}`},
		{"decoded order: quote in order", `{"\"":2,"A":1}`, `{"\"":2,"A":1}`},
		{"names with a common escaped part", `{"\"b":1,"\"a":2,"\"":3}`, `{"\"":3,"\"a":2,"\"b":1}`},
		{"escaped name", `{"\u0062":1,"\u0061":2}`, `{"a":2,"b":1}`},
		{"as deep as allowed", strings.Repeat("[", 64) + strings.Repeat("]", 64), strings.Repeat("[", 64) + strings.Repeat("]", 64)},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			canonical, err := read(test.in)
			if err != nil {
				t.Fatal(err)
			}
			if want := strings.Trim(test.in, " \t\r\n") == test.canonical; canonical != want {
				t.Errorf("canonical: %v, want %v", canonical, want)
			}
			for name, form := range map[string]func([]byte) ([]byte, error){
				"Canonical":       func(b []byte) ([]byte, error) { return cjson.Canonical(b, 0) },
				"AppendCanonical": func(b []byte) ([]byte, error) { return cjson.AppendCanonical(nil, b, 0) },
			} {
				got, err := form([]byte(test.in))
				if err != nil {
					t.Fatal(err)
				}
				if string(got) != test.canonical {
					t.Errorf("%s gives %q, want %q", name, got, test.canonical)
				}
			}
		})
	}
}

func TestTypedReading(t *testing.T) {
	r := cjson.New([]byte(`{"n":-42,"list":["a","\u0062"],"yes":true,"no":false,"o":{"k":[null]}}`), 0)
	var log []string
	note := func(s string) { log = append(log, s) }
	for m := r.Object(); r.Next(&m); {
		switch string(m.Name()) {
		case "n":
			if r.Kind() != cjson.Number || r.Int() != -42 {
				t.Error("n")
			}
			note("n")
		case "list":
			for e := r.Array(); r.More(&e); {
				note(string(r.Bytes()))
			}
		case "yes", "no":
			if r.Kind() != cjson.Bool {
				t.Errorf("%s is %v", m.Name(), r.Kind())
			}
			if r.Bool() {
				note(string(m.Name()))
			}
		default:
			start, end, escaped := r.NameAt()
			if start != 54 || end != start+1 || escaped {
				t.Errorf("the name lies at %d to %d, escaped %v", start, end, escaped)
			}
			mark := r.Mark()
			r.Skip()
			raw, canonical := r.Since(mark)
			if !canonical || mark.Start()+len(raw) != r.Position() {
				t.Errorf("%q from %d to %d, canonical %v", raw, mark.Start(), r.Position(), canonical)
			}
			note(string(raw))
		}
		if m.Sorted() != (len(log) < 2) {
			t.Errorf("after %v: sorted %v", log, m.Sorted())
		}
	}
	if err := r.End(); err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join(log, " "), `n a b yes {"k":[null]}`; got != want {
		t.Errorf("read %s, want %s", got, want)
	}
}

// A type that is not there is an error, and never a zero value that passes.
func TestWrongType(t *testing.T) {
	for name, ask := range map[string]func(*cjson.Reader){
		"object": func(r *cjson.Reader) {
			for m := r.Object(); r.Next(&m); {
				r.Skip()
			}
		},
		"array": func(r *cjson.Reader) {
			for e := r.Array(); r.More(&e); {
				r.Skip()
			}
		},
		"string":  func(r *cjson.Reader) { r.Bytes() },
		"boolean": func(r *cjson.Reader) { r.Bool() },
		"number":  func(r *cjson.Reader) { r.Int() },
	} {
		for kind, text := range map[string]string{
			"object": `{}`, "array": `[]`, "string": `"x"`, "boolean": `false`, "number": `7`, "null": `null`, "": "",
		} {
			r := cjson.New([]byte(text), 0)
			ask(r)
			if err := r.End(); (err == nil) != (kind == name) {
				t.Errorf("asked for %s, found %q: %v", name, text, err)
			}
		}
	}
}

func TestErrorSticks(t *testing.T) {
	r := cjson.New([]byte(`{"a":[1,2,3],"b":4}`), 0)
	m := r.Object()
	if !r.Next(&m) {
		t.Fatal("no member")
	}
	r.Fail(5, "enough")
	r.Fail(6, "too late")
	mark := r.Mark()
	r.Skip()
	if raw, canonical := r.Since(mark); raw != nil || canonical {
		t.Errorf("Since gives %q, %v after an error", raw, canonical)
	}
	e := r.Array()
	if r.Next(&m) || r.More(&e) || r.Int() != 0 || r.Bool() || r.Bytes() != nil || r.Kind() != cjson.Invalid {
		t.Error("the reader goes on after an error")
	}
	syntax, ok := errors.AsType[*cjson.SyntaxError](r.End())
	if !ok || syntax.Offset != 5 || syntax.Reason != "enough" {
		t.Errorf("the error is %v", r.Err())
	}
	r.Reset([]byte(`7`))
	if r.Int() != 7 || r.End() != nil {
		t.Errorf("after Reset: %v", r.Err())
	}
}

// Since is about the value between the mark and now, not about what stood before.
func TestSinceLooksAtOneValue(t *testing.T) {
	r := cjson.New([]byte("{ \"a\" : {\"x\":1} , \"b\":{\"y\": 1}}"), 0)
	want := map[string]bool{"a": true, "b": false}
	for m := r.Object(); r.Next(&m); {
		mark := r.Mark()
		r.Skip()
		raw, canonical := r.Since(mark)
		if canonical != want[string(m.Name())] {
			t.Errorf("%s: %s canonical %v", m.Name(), raw, canonical)
		}
		if cap(raw) != len(raw) {
			t.Errorf("%s: appending would overwrite the input", m.Name())
		}
	}
	if err := r.End(); err != nil {
		t.Fatal(err)
	}
}

func TestSkipForeign(t *testing.T) {
	for text, ok := range map[string]bool{
		`1.5`: true, `-0`: true, `-0.0e+10`: true, `1E-3`: true, `[1e400,{"a":0.1}]`: true,
		`123456789012345678901234567890`: true,
		`01`:                             false, `1.`: false, `1e`: false, `1e+`: false, `-`: false, `.5`: false, `--1`: false,
		`{"a":1.5,"a":2}`: false,
	} {
		r := cjson.New([]byte(text), 0)
		r.SkipForeign()
		if err := r.End(); (err == nil) != ok {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestDepthBound(t *testing.T) {
	for depth, ok := range map[int]bool{1: false, 2: true, 3: true} {
		r := cjson.New([]byte(`[[]]`), depth)
		r.Skip()
		if err := r.End(); (err == nil) != ok {
			t.Errorf("two levels where %d are allowed: %v", depth, err)
		}
	}
	// Depth counts what is open, not what was ever opened.
	r := cjson.New([]byte(`[[],[],{},[]]`), 2)
	r.Skip()
	if err := r.End(); err != nil {
		t.Error(err)
	}
}

func TestIntRange(t *testing.T) {
	for text, want := range map[string]int64{
		"9223372036854775807": math.MaxInt64, "-9223372036854775808": math.MinInt64, "-1": -1, "10": 10,
	} {
		r := cjson.New([]byte(text), 0)
		if got := r.Int(); got != want || r.End() != nil {
			t.Errorf("%s is read as %d, %v", text, got, r.Err())
		}
	}
}

// Each level of disorder may cost a copy, and no more than that.
func TestHostileCost(t *testing.T) {
	// An object with many names in falling order, in the depth of others like it.
	var b strings.Builder
	for range 60 {
		b.WriteString(`{"b":`)
	}
	b.WriteByte('{')
	const names = 50_000
	for i := names; i > 0; i-- {
		b.WriteString(`"\u0061`)
		b.WriteString(strings.Repeat("x", i%7))
		b.WriteString(string(rune('a' + i%26)))
		for n := i; n > 0; n /= 10 {
			b.WriteByte(byte('0' + n%10))
		}
		b.WriteString(`":0`)
		if i > 1 {
			b.WriteByte(',')
		}
	}
	b.WriteByte('}')
	for range 60 {
		b.WriteString(`,"a":0}`)
	}
	out, err := cjson.Canonical([]byte(b.String()), 0)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := cjson.Canonical(out, 0); err != nil || &again[0] != &out[0] {
		t.Errorf("the canonical form is not canonical: %v", err)
	}
}

// Names that are in order are not kept, and yet none may come again: in any order,
// between values of any kind.
func TestRepetitionIsNoticed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := rapid.SliceOf(rapid.StringMatching(`[a-d"é]{0,2}`)).Draw(t, "names")
		if rapid.Bool().Draw(t, "mostly sorted") {
			slices.Sort(names)
			if len(names) > 1 && rapid.Bool().Draw(t, "swap") {
				i := rapid.IntRange(1, len(names)-1).Draw(t, "at")
				names[i-1], names[i] = names[i], names[i-1]
			}
		}
		rnd := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "layout"), 0))
		var b strings.Builder
		distinct := make(map[string]bool)
		for i, name := range names {
			if i > 0 {
				b.WriteByte(',')
			}
			distinct[name] = true
			layout(&b, name, rnd)
			b.WriteByte(':')
			layout(&b, values(3).Draw(t, "value"), rnd)
		}
		_, err := read("{" + b.String() + "}")
		repeated := err != nil && strings.Contains(err.Error(), "twice")
		if repeated != (len(distinct) < len(names)) || err != nil && !repeated {
			t.Fatalf("%q: %v", names, err)
		}
	})
}
