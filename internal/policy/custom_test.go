package policy_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/pypi/simple"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/cjson"
)

func ptr[T any](v T) *T { return &v }

func TestCustomEncode(t *testing.T) {
	zone := time.FixedZone("X", 3600)
	for _, c := range []struct {
		custom policy.Custom
		want   string
	}{
		{policy.Custom{Version: "1.0"}, `{"version":"1.0"}`},
		{policy.Custom{
			Version: "1!2.0.post1+local.7", RequiresPython: `>=3.9,!=3.9.1`,
			UploadTime:     time.Date(2026, 9, 1, 13, 0, 0, 123_456_789, zone),
			MetadataSHA256: ptr([32]byte{0xab}), Yanked: ptr("broken \"build\" \\ ü"),
		}, `{"core-metadata":{"sha256":"ab` + strings.Repeat("0", 62) + `"},"requires-python":">=3.9,!=3.9.1",` +
			`"upload-time":"2026-09-01T12:00:00.123456Z","version":"1!2.0.post1+local.7","yanked":"broken \"build\" \\ ü"}`},
		{policy.Custom{Version: "1.0", Yanked: ptr(""), UploadTime: now}, `{"upload-time":"2026-09-01T12:00:00Z","version":"1.0","yanked":true}`},
		{policy.Custom{Version: "1.0", UploadTime: now.Add(500 * time.Millisecond)}, `{"upload-time":"2026-09-01T12:00:00.5Z","version":"1.0"}`},
	} {
		got, err := c.custom.Encode()
		if err != nil || string(got) != c.want {
			t.Errorf("got %s (%v)\nwant %s", got, err, c.want)
		}
		if canonical, err := cjson.Canonical(got, 0); err != nil || !bytes.Equal(canonical, got) {
			t.Errorf("%s is not canonical (%v)", got, err)
		}
	}
}

func TestCustomEncodeRefuses(t *testing.T) {
	for name, c := range map[string]policy.Custom{
		"no version":                {},
		"version not normal":        {Version: "1.0-RC1"},
		"no version at all":         {Version: "latest"},
		"specifier broken":          {Version: "1.0", RequiresPython: "3.9 or so"},
		"reason too long":           {Version: "1.0", Yanked: ptr(strings.Repeat("x", policy.MaxYankReason+1))},
		"reason with a line break":  {Version: "1.0", Yanked: ptr("a\nb")},
		"reason with a DEL":         {Version: "1.0", Yanked: ptr("a\x7f")},
		"reason that is not UTF-8":  {Version: "1.0", Yanked: ptr("\xff")},
		"year that has five digits": {Version: "1.0", UploadTime: time.Date(12026, 1, 1, 0, 0, 0, 0, time.UTC)},
		"year below zero":           {Version: "1.0", UploadTime: time.Date(-1, 1, 1, 0, 0, 0, 0, time.UTC)},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := c.Encode()
			wantErr(t, err, policy.ErrCustom)
		})
	}
}

func TestDecodeCustom(t *testing.T) {
	digest := strings.Repeat("ab", 32)
	sum := [32]byte(bytes.Repeat([]byte{0xab}, 32))
	for raw, want := range map[string]policy.Custom{
		`{"version":"1.0"}`: {Version: "1.0"},
		"{ \"version\" : \"\\u0031.0\",\n\"yanked\":false, \"unknown\": [{\"version\":2}], \"VERSION\": 3 }": {Version: "1.0"},
		`{"core-metadata":{"sha256":"` + digest + `","sha512":"x"},"version":"1.0"}`:                         {Version: "1.0", MetadataSHA256: &sum},
		`{"version":"1.0","yanked":true}`: {Version: "1.0", Yanked: ptr("")},
		`{"version":"1.0","yanked":"why","requires-python":"~=3.9","upload-time":"2026-09-01T12:00:00.000001Z"}`: {
			Version: "1.0", Yanked: ptr("why"), RequiresPython: "~=3.9", UploadTime: now.Add(time.Microsecond),
		},
		`{"version":"1.0","requires-python":""}`: {Version: "1.0"},
	} {
		got, err := policy.DecodeCustom([]byte(raw))
		if err != nil {
			t.Errorf("%s: %v", raw, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", raw, diff)
		}
	}
}

func TestDecodeCustomRefuses(t *testing.T) {
	digest := strings.Repeat("ab", 32)
	for name, raw := range map[string]string{
		"nothing":                      ``,
		"not an object":                `[]`,
		"two values":                   `{"version":"1.0"}{}`,
		"no version":                   `{}`,
		"version twice":                `{"version":"1.0","version":"1.0"}`,
		"version a number":             `{"version":1}`,
		"version not normal":           `{"version":"v1.0"}`,
		"version null":                 `{"version":null}`,
		"specifier broken":             `{"version":"1.0","requires-python":">"}`,
		"specifier null":               `{"version":"1.0","requires-python":null}`,
		"core-metadata true":           `{"version":"1.0","core-metadata":true}`,
		"core-metadata without hash":   `{"version":"1.0","core-metadata":{"md5":"00"}}`,
		"core-metadata hash short":     `{"version":"1.0","core-metadata":{"sha256":"abab"}}`,
		"core-metadata hash long":      `{"version":"1.0","core-metadata":{"sha256":"` + digest + `ab"}}`,
		"core-metadata hash uppercase": `{"version":"1.0","core-metadata":{"sha256":"` + strings.ToUpper(digest) + `"}}`,
		"core-metadata hash not hex":   `{"version":"1.0","core-metadata":{"sha256":"` + strings.Repeat("zz", 32) + `"}}`,
		"time with an offset":          `{"version":"1.0","upload-time":"2026-09-01T12:00:00+00:00"}`,
		"time with nanoseconds":        `{"version":"1.0","upload-time":"2026-09-01T12:00:00.123456789Z"}`,
		"time with a trailing zero":    `{"version":"1.0","upload-time":"2026-09-01T12:00:00.50Z"}`,
		"time zero":                    `{"version":"1.0","upload-time":"0001-01-01T00:00:00Z"}`,
		"time empty":                   `{"version":"1.0","upload-time":""}`,
		"yanked empty":                 `{"version":"1.0","yanked":""}`,
		"yanked null":                  `{"version":"1.0","yanked":null}`,
		"yanked a number":              `{"version":"1.0","yanked":1}`,
		"yanked with a line break":     `{"version":"1.0","yanked":"a\nb"}`,
		"yanked too long":              `{"version":"1.0","yanked":"` + strings.Repeat("x", policy.MaxYankReason+1) + `"}`,
		"too deep":                     `{"version":"1.0","x":` + strings.Repeat("[", 16) + strings.Repeat("]", 16) + `}`,
		"too long":                     `{"version":"1.0","x":"` + strings.Repeat("x", 16<<10) + `"}`,
	} {
		t.Run(name, func(t *testing.T) {
			got, err := policy.DecodeCustom([]byte(raw))
			wantErr(t, err, policy.ErrCustom)
			if got != (policy.Custom{}) {
				t.Errorf("%+v beside an error", got)
			}
		})
	}
}

func TestCustomRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := policy.Custom{
			Version:        rapid.SampledFrom([]string{"0", "1.0", "1.0rc1", "2026.9.1.dev3", "1!0.post2+a.b"}).Draw(t, "version"),
			RequiresPython: rapid.SampledFrom([]string{"", ">=3.9", "<4,>=3.8,!=3.9.*"}).Draw(t, "python"),
		}
		if rapid.Bool().Draw(t, "has time") {
			want.UploadTime = time.UnixMicro(rapid.Int64Range(0, 1<<52).Draw(t, "time")).UTC()
		}
		if rapid.Bool().Draw(t, "has metadata") {
			want.MetadataSHA256 = ptr([32]byte(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "digest")))
		}
		if rapid.Bool().Draw(t, "yanked") {
			want.Yanked = ptr(rapid.StringMatching(`[ -~äß☃𝄞"\\]{0,20}`).Draw(t, "reason"))
		}
		raw, err := want.Encode()
		if err != nil {
			t.Fatal(err)
		}
		got, err := policy.DecodeCustom(raw)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
	})
}

func FuzzDecodeCustom(f *testing.F) {
	f.Add([]byte(`{"core-metadata":{"sha256":"` + strings.Repeat("ab", 32) + `"},"requires-python":">=3","upload-time":"2026-09-01T12:00:00.5Z","version":"1.0","yanked":"x"}`))
	f.Add([]byte(`{"version":"1.0","yanked":true}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		c, err := policy.DecodeCustom(raw)
		if err != nil {
			return
		}
		again, err := c.Encode()
		if err != nil {
			t.Fatalf("decoded but not encoded: %v", err)
		}
		back, err := policy.DecodeCustom(again)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c, back); diff != "" {
			t.Fatalf("(-first +second):\n%s", diff)
		}
	})
}

func TestFile(t *testing.T) {
	l, p := layout(t, 256), project(t, "flask")
	custom := policy.Custom{Version: "3.1.0", RequiresPython: ">=3.9", UploadTime: now, MetadataSHA256: ptr([32]byte{1}), Yanked: ptr("old")}
	raw, err := custom.Encode()
	if err != nil {
		t.Fatal(err)
	}
	good := tuf.Target{
		Path: l.Path(p, filename(t, p, "flask-3.1.0-py3-none-any.whl")), Length: 77,
		Hashes: tuf.SHA256Hashes([32]byte{2}), Custom: raw,
	}
	got, err := policy.File(good)
	if err != nil {
		t.Fatal(err)
	}
	want := simple.File{
		Filename: "flask-3.1.0-py3-none-any.whl", SHA256: [32]byte{2}, Size: 77, Version: "3.1.0",
		RequiresPython: ">=3.9", UploadTime: now, MetadataSHA256: ptr([32]byte{1}), Yanked: ptr("old"),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	// 3.1 and 3.1.0 are one version in two spellings.
	same := good
	same.Custom = []byte(`{"version":"3.1"}`)
	if f, err := policy.File(same); err != nil || f.Version != "3.1" {
		t.Errorf("other spelling of the version: %+v, %v", f, err)
	}
	for _, c := range []struct {
		name string
		edit func(*tuf.Target)
		want error
	}{
		{"foreign path", func(t *tuf.Target) { t.Path = "a/b" }, policy.ErrForeignPath},
		{"no SHA-256", func(t *tuf.Target) { t.Hashes = tuf.Hashes{}.WithSHA512([64]byte{}) }, policy.ErrCustom},
		{"no custom", func(t *tuf.Target) { t.Custom = nil }, policy.ErrCustom},
		{"version of another file", func(t *tuf.Target) { t.Custom = []byte(`{"version":"3.2"}`) }, policy.ErrCustom},
	} {
		t.Run(c.name, func(t *testing.T) {
			bad := good
			c.edit(&bad)
			got, err := policy.File(bad)
			wantErr(t, err, c.want)
			if got.Filename != "" {
				t.Errorf("%+v beside an error", got)
			}
		})
	}
}
