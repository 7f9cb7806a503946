package index_test

import (
	"strings"
	"testing"

	"example.com/bailiwick/internal/index"
	"example.com/bailiwick/internal/pypi/distmake"
)

func TestParseForm(t *testing.T) {
	wheel := distmake.File{Name: "demo-1.0-py3-none-any.whl", Data: []byte("x")}
	only := func(keep string) func(f map[string][]string) {
		return func(f map[string][]string) {
			for _, d := range []string{"md5_digest", "sha256_digest", "blake2_256_digest"} {
				if d != keep {
					delete(f, d)
				}
			}
		}
	}
	set := func(name string, values ...string) func(f map[string][]string) {
		return func(f map[string][]string) { f[name] = values }
	}
	for name, c := range map[string]struct {
		edit func(f map[string][]string)
		kind index.Kind // 0: accepted
		says string     // part of the message
	}{
		"as it is":               {func(map[string][]string) {}, 0, ""},
		"only md5":               {only("md5_digest"), 0, ""},
		"only sha256":            {only("sha256_digest"), 0, ""},
		"only blake2":            {only("blake2_256_digest"), 0, ""},
		"digest in capitals":     {func(f map[string][]string) { f["sha256_digest"][0] = strings.ToUpper(f["sha256_digest"][0]) }, 0, ""},
		"empty digests":          {func(f map[string][]string) { f["md5_digest"], f["blake2_256_digest"] = []string{""}, []string{""} }, 0, ""},
		"the same twice":         {set("name", "demo", "demo", ""), 0, ""},
		"empty attestations":     {set("attestations", "[]"), 0, ""},
		"no pyversion":           {set("pyversion"), 0, ""},
		"unknown field":          {set("gpg_signature", "x"), 0, ""},
		"no digest":              {only(""), index.Invalid, "sha256_digest"},
		"short digest":           {set("md5_digest", "abcd"), index.Invalid, "32 hexadecimal"},
		"digest not hex":         {set("sha256_digest", strings.Repeat("x", 64)), index.Invalid, "64 hexadecimal"},
		"no action":              {set(":action"), index.Invalid, ":action"},
		"other action":           {set(":action", "destroy"), index.Invalid, "destroy"},
		"submit":                 {set(":action", "submit"), index.Gone, "submit"},
		"submit_pkg_info":        {set(":action", "submit_pkg_info"), index.Gone, ""},
		"doc_upload":             {set(":action", "doc_upload"), index.Gone, ""},
		"no protocol":            {set("protocol_version"), index.Invalid, "protocol_version"},
		"protocol 2":             {set("protocol_version", "2"), index.Invalid, "protocol_version"},
		"no name":                {set("name", ""), index.Invalid, "name"},
		"no version":             {set("version", " "), index.Invalid, "version"},
		"no metadata version":    {set("metadata_version"), index.Invalid, "metadata_version"},
		"no file type":           {set("filetype"), index.Invalid, "filetype"},
		"old file type":          {set("filetype", "bdist_egg"), index.Invalid, "bdist_egg"},
		"two names":              {set("name", "demo", "other"), index.Invalid, "twice"},
		"two actions":            {set(":action", "file_upload", "submit"), index.Invalid, ""},
		"very long name":         {set("name", strings.Repeat("x", 10_000)), index.Invalid, "10000 bytes"},
		"attestations":           {set("attestations", `[{"version":1}]`), index.Invalid, "attestations"},
		"name with line break":   {set("name", "a\r\nSet-Cookie: x", "b"), index.Invalid, "twice"},
		"bytes outside of ASCII": {set(":action", "h\u00e4\u0000"), index.Invalid, ""},
	} {
		t.Run(name, func(t *testing.T) {
			f := fields(wheel)
			c.edit(f)
			got, err := index.ParseForm(f, wheel.Name)
			if c.kind == 0 {
				if err != nil {
					t.Fatal(err)
				}
				if got.Name != "demo" || got.Version != "1.0" || got.Filename != wheel.Name || got.Filetype != "bdist_wheel" {
					t.Errorf("parsed as %+v", got)
				}
				return
			}
			r := refused(t, err, c.kind)
			if !strings.Contains(r.Message, c.says) {
				t.Errorf("the message %q does not mention %q", r.Message, c.says)
			}
		})
	}
	_, err := index.ParseForm(fields(wheel), "")
	refused(t, err, index.Invalid)
	_, err = index.ParseForm(nil, "x")
	refused(t, err, index.Invalid)
}
