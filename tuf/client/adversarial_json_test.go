package client_test

import (
	"fmt"
	"strings"

	"example.com/bailiwick/internal/testrepo"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/trust"
)

// jsonAttacks are files that some parsers of JSON take for something else than others do.
// All are signed by the right keys, over the very bytes.
func jsonAttacks() []attack {
	malformed := verdict{trust.Malformed, tuf.RoleTimestamp, "4.3"}
	var out []attack
	add := func(name string, do func(*testrepo.Repo)) {
		out = append(out, attack{name: name, do: do, want: malformed, stored: "1 2 2 2"})
	}
	replace := func(name, old, with string) {
		add(name, text("timestamp", func(s string) string {
			if !strings.Contains(s, old) {
				panic(name + ": nothing to replace in " + s)
			}
			return strings.Replace(s, old, with, 1)
		}))
	}
	replace("a member twice, the last one good", `{"_type"`, `{"version":99,"_type"`)
	replace("a member twice, the first one good", `"version":3`, `"version":3,"version":99`)
	replace("a member twice, once with escapes", `{"_type"`, `{"\u0076ersion":99,"_type"`)
	replace("a member twice, deep inside", `"snapshot.json":`, `"snapshot.json":{"version":1},"snapshot.json":`)
	replace("an unknown member twice", `{"_type"`, `{"x":1,"x":2,"_type"`)
	replace("a member twice in an unknown one", `{"_type"`, `{"x":{"y":{"z":1,"z":1}},"_type"`)
	replace("names in another case", `"version":3`, `"Version":3`)
	replace("a name with a look-alike", `"version":3`, `"versi`+"\u043e"+`n":3`)
	replace("a name with white space", `"version":3`, `"version ":3`)
	replace("no comma", `,"expires"`, ` "expires"`)
	replace("a comma too many", `,"expires"`, `,,"expires"`)
	replace("a comma first", `{"_type"`, `{,"_type"`)
	replace("no colon", `"version":3`, `"version" 3`)
	replace("a semicolon", `"version":3`, `"version";3`)
	replace("single quotes", `"timestamp"`, `'timestamp'`)
	replace("no quotes", `"version":3`, `version:3`)
	replace("a comment", `{"_type"`, `{/* */"_type"`)
	replace("a line comment", `{"_type"`, "{//\n"+`"_type"`)
	replace("a float that is whole", `"version":3`, `"version":3.0`)
	replace("a float in an unknown member", `{"_type"`, `{"x":0.5,"_type"`)
	replace("an exponent", `"version":3`, `"version":3e0`)
	replace("minus zero", `{"_type"`, `{"x":-0,"_type"`)
	replace("a leading zero", `"version":3`, `"version":03`)
	replace("a plus sign", `"version":3`, `"version":+3`)
	replace("a hexadecimal number", `"version":3`, `"version":0x3`)
	replace("a number with a gap", `"version":3`, `"version":3 3`)
	replace("a number beyond 64 bits", `"version":3`, `"version":18446744073709551619`)
	replace("a number of a thousand digits", `"version":3`, `"version":`+strings.Repeat("3", 1000))
	replace("not a number", `"version":3`, `"version":NaN`)
	replace("infinity", `"version":3`, `"version":Infinity`)
	replace("a word that is none", `{"_type"`, `{"x":tru,"_type"`)
	replace("a word in capitals", `{"_type"`, `{"x":NULL,"_type"`)
	replace("an unknown escape", `{"_type"`, `{"x":"\q","_type"`)
	replace("half an escape", `{"_type"`, `{"x":"\u00","_type"`)
	replace("a high surrogate alone", `{"_type"`, `{"x":"\ud800","_type"`)
	replace("a low surrogate alone", `{"_type"`, `{"x":"\udc00","_type"`)
	replace("surrogates the wrong way round", `{"_type"`, `{"x":"\udc00\ud800","_type"`)
	replace("a raw line break in a string", `{"_type"`, "{\"x\":\"\n\",\"_type\"")
	replace("a raw zero byte in a string", `{"_type"`, "{\"x\":\"\x00\",\"_type\"")
	replace("a byte that is not UTF-8", `{"_type"`, "{\"x\":\"\xff\",\"_type\"")
	replace("an overlong slash", `{"_type"`, "{\"x\":\"\xc0\xaf\",\"_type\"")
	replace("a surrogate in UTF-8", `{"_type"`, "{\"x\":\"\xed\xa0\x80\",\"_type\"")
	replace("beyond the last character", `{"_type"`, "{\"x\":\"\xf4\x90\x80\x80\",\"_type\"")
	replace("a form feed as white space", `{"_type"`, "{\f\"_type\"")
	replace("a no-break space", `{"_type"`, "{\u00a0\"_type\"")
	replace("a thousand arrays deep", `{"_type"`, `{"x":`+strings.Repeat("[", 1000)+strings.Repeat("]", 1000)+`,"_type"`)
	replace("a thousand objects deep", `{"_type"`, `{"x":`+strings.Repeat(`{"x":`, 1000)+"1"+strings.Repeat("}", 1000)+`,"_type"`)
	replace("arrays that are not closed", `{"_type"`, `{"x":`+strings.Repeat("[", 5000)+`,"_type"`)
	replace("brackets that do not match", `{"_type"`, `{"x":[},"_type"`)
	replace("more members than are read", `{"_type"`, "{"+manyMembers(300)+`"_type"`)

	whole := func(name string, change func(string) string) { add(name, file("timestamp", change)) }
	whole("nothing", func(string) string { return "" })
	whole("white space", func(string) string { return " \n\t" })
	for _, v := range []string{"null", "true", "0", `""`, "[]", "{}", `{"signed":{}}`, `{"signatures":[]}`, `{"signatures":[],"signed":null}`, `[{"signatures":[],"signed":{}}]`} {
		whole("the file is "+v, func(string) string { return v })
	}
	whole("something follows", func(s string) string { return s + "x" })
	whole("another file follows", func(s string) string { return s + s })
	whole("a zero byte follows", func(s string) string { return s + "\x00" })
	whole("a byte order mark", func(s string) string { return "\ufeff" + s })
	whole("in UTF-16", func(s string) string { return "\xff\xfe" + strings.Join(strings.Split(s, ""), "\x00") })
	whole("the last byte is missing", func(s string) string { return s[:len(s)-1] })
	whole("cut in the middle", func(s string) string { return s[:len(s)/2] })
	whole("an error page", func(string) string { return "<!DOCTYPE html><title>503</title>" })
	whole("two members signed", func(s string) string {
		return strings.Replace(s, `"signed":`, `"signed":{"_type":"timestamp"},"signed":`, 1)
	})
	whole("two members signatures", func(s string) string { return strings.Replace(s, `{"signatures"`, `{"signatures":[],"signatures"`, 1) })
	whole("signed in capitals", func(s string) string { return strings.Replace(s, `"signed":`, `"Signed":`, 1) })
	whole("signatures is an object", func(s string) string {
		return strings.Replace(strings.Replace(s, `"signatures":[`, `"signatures":{"x":[`, 1), `],"signed"`, `]},"signed"`, 1)
	})
	whole("signed is text", func(s string) string {
		head, signed, _ := strings.Cut(s, `"signed":`)
		return head + `"signed":` + fmt.Sprintf("%q", strings.TrimSuffix(signed, "}")) + "}"
	})
	return append(out, malleable()...)
}

func manyMembers(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `"m%d":1,`, i)
	}
	return b.String()
}

// malleable are changes to a file that mean nothing: it stays valid, and means the same.
func malleable() []attack {
	var out []attack
	for name, change := range map[string]func(string) string{
		"white space everywhere": func(s string) string { return strings.NewReplacer(",", " ,\r\n\t", ":{", " : {").Replace(s) },
		"members in another order": func(s string) string {
			return `{"signed":` + after(s, `"signed":`) + "," + before(s[1:], `,"signed"`) + "}"
		},
		"escapes nobody needs": func(s string) string { return strings.ReplaceAll(s, `"version"`, `"\u0076ersion"`) },
		"unknown members outside": func(s string) string {
			return strings.Replace(s, `{"signatures"`, `{"x":[1.5e300,null,{}],"signatures"`, 1)
		},
		"unknown members of a sig": func(s string) string { return strings.Replace(s, `{"keyid"`, `{"x":"\ud83d\ude00","keyid"`, 1) },
		"white space before":       func(s string) string { return "\n\n" + s },
		"white space behind":       func(s string) string { return s + strings.Repeat(" ", 1000) },
		"signatures in capitals":   func(s string) string { return upperSig(s) },
		"a signature by nobody": func(s string) string {
			return strings.Replace(s, `[{"keyid"`, `[{"keyid":"nobody","sig":"00"},{"keyid"`, 1)
		},
		"a signature that is no hex": func(s string) string {
			return strings.Replace(s, `[{"keyid"`, `[{"keyid":"nobody","sig":"-"},{"keyid"`, 1)
		},
	} {
		out = append(out, attack{name: "harmless: " + name, do: file("timestamp", change), stored: "1 3 3 2"})
	}
	return out
}

func after(s, sep string) string {
	_, rest, _ := strings.Cut(s, sep)
	return strings.TrimSuffix(rest, "}")
}

func before(s, sep string) string {
	head, _, _ := strings.Cut(s, sep)
	return head
}

// upperSig writes the digits of a signature in capitals, which decode to the same bytes.
func upperSig(s string) string {
	head, rest, _ := strings.Cut(s, `"sig":"`)
	sig, tail, _ := strings.Cut(rest, `"`)
	return head + `"sig":"` + strings.ToUpper(sig) + `"` + tail
}
