package dist_test

import (
	"bufio"
	"bytes"
	"fmt"
	"net/textproto"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"example.com/bailiwick/internal/pypi/dist"
)

func TestParseMetadata(t *testing.T) {
	m, err := dist.ParseMetadata([]byte("Metadata-Version: 2.4\r\nNAME:  Foo.Bar \r\nVersion:1.0\r\nRequires-Python: >=3.8\r\n" +
		"Requires-Dist: a\r\nrequires-dist: b; extra == 'x'\r\nLicense: one\r\n        two\r\n\tthree\r\nKeywords:\r\nAuthor: J\u00fc\r\n\r\nName: in the description\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	if m.MetadataVersion != "2.4" || m.Name != "Foo.Bar" || m.Version != "1.0" || m.RequiresPython != ">=3.8" {
		t.Errorf("got %+v", m)
	}
	for field, want := range map[string][]string{
		"Requires-Dist": {"a", "b; extra == 'x'"},
		"license":       {"one\ntwo\nthree"},
		"Keywords":      {""},
		"Author":        {"Jü"},
		"Summary":       nil,
	} {
		if diff := cmp.Diff(want, m.Values(field)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", field, diff)
		}
	}
	if m.Value("Requires-Dist") != "a" || m.Value("Summary") != "" {
		t.Errorf("first values %q and %q", m.Value("Requires-Dist"), m.Value("Summary"))
	}
	m.Values("Requires-Dist")[0] = "changed"
	if m.Value("Requires-Dist") != "a" {
		t.Error("a caller can change the metadata")
	}
}

func TestParseMetadataWithoutBlankLine(t *testing.T) {
	for _, give := range []string{goodMeta, strings.TrimSuffix(goodMeta, "\n"), goodMeta + "\n", goodMeta + "\nbody"} {
		if _, err := dist.ParseMetadata([]byte(give)); err != nil {
			t.Errorf("%q: %v", give, err)
		}
	}
}

func TestParseMetadataRefuses(t *testing.T) {
	for name, give := range map[string]string{
		"nothing":               "",
		"only a body":           "\n" + goodMeta,
		"no Metadata-Version":   "Name: foo\nVersion: 1\n",
		"no Name":               "Metadata-Version: 2.1\nVersion: 1\n",
		"empty Name":            "Metadata-Version: 2.1\nName:\nVersion: 1\n",
		"no Version":            "Metadata-Version: 2.1\nName: foo\n",
		"two Names":             goodMeta + "name: bar\n",
		"two Versions":          goodMeta + "Version: 1.0\n",
		"two Requires-Python":   goodMeta + "Requires-Python: >=3\nRequires-Python: >=2\n",
		"folded Version":        goodMeta[:len(goodMeta)-1] + "\n  2\n",
		"Metadata-Version 3":    strings.Replace(goodMeta, "2.1", "3.0", 1),
		"Metadata-Version 2":    strings.Replace(goodMeta, "2.1", "2", 1),
		"Metadata-Version text": strings.Replace(goodMeta, "2.1", "2.x", 1),
		"no colon":              goodMeta + "no field\n",
		"blank in a name":       goodMeta + "a field: x\n",
		"no field name":         goodMeta + ": x\n",
		"continuation first":    " x\n" + goodMeta,
		"NUL":                   goodMeta + "Summary: a\x00b\n",
		"lone carriage return":  goodMeta + "Summary: a\rName: b\n",
		"not UTF-8":             goodMeta + "Summary: \xff\n",
		"long header":           goodMeta + "Summary: " + strings.Repeat("x", 2<<20) + "\n",
		"many fields":           goodMeta + strings.Repeat("X:\n", 30_000),
	} {
		t.Run(name, func(t *testing.T) {
			m, err := dist.ParseMetadata([]byte(give))
			if m != nil {
				t.Errorf("got %+v beside an error", m)
			}
			wantRule(t, err, dist.RuleMetadata)
		})
	}
}

func TestLongDescriptionIsFine(t *testing.T) {
	data := fmt.Appendf(nil, "%s\n%s", goodMeta, bytes.Repeat([]byte("x"), 3<<20))
	if _, err := dist.ParseMetadata(data); err != nil {
		t.Error(err)
	}
}

// FuzzParseMetadata compares with net/textproto where both read the header.
func FuzzParseMetadata(f *testing.F) {
	f.Add([]byte(goodMeta))
	f.Add([]byte(goodMeta + "License: a\n  b\n\nbody"))
	f.Add([]byte("A: b\r\n c\r\n\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := dist.ParseMetadata(data)
		if err != nil {
			wantAnyRule(t, err)
			return
		}
		header, err := textproto.NewReader(bufio.NewReader(bytes.NewReader(append(bytes.Clone(data), "\n\n"...)))).ReadMIMEHeader()
		if err != nil {
			return // stricter about bytes of values and lengths
		}
		if got := header.Values("Name"); len(got) != 1 || got[0] != m.Name {
			t.Errorf("name %q, net/textproto reads %q", m.Name, got)
		}
	})
}
