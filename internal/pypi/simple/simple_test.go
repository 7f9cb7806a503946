package simple_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"example.com/bailiwick/internal/pypi/simple"
)

func ptr[T any](v T) *T { return &v }

func sum(b byte) [32]byte {
	var s [32]byte
	for i := range s {
		s[i] = b
	}
	return s
}

// page has a file for each thing that a page can say.
func page() *simple.Page {
	return &simple.Page{
		Name: "foo-bar",
		Files: []simple.File{
			{
				Filename: "foo_bar-1.10-py3-none-any.whl", URL: "../../files/ab/foo_bar-1.10-py3-none-any.whl", SHA256: sum(0xab), Size: 1234,
				RequiresPython: ">=3.8,<4", UploadTime: time.Date(2026, 11, 23, 7, 8, 9, 123456789, time.FixedZone("", 7200)),
				MetadataSHA256: ptr(sum(0xcd)), Version: "1.10",
			},
			{
				Filename: "foo_bar-1.9+local.1.tar.gz", URL: "../../files/01/foo_bar-1.9%2Blocal.1.tar.gz", SHA256: sum(1), Size: 0,
				UploadTime: time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC), Yanked: ptr(""), Version: "1.9+local.1",
			},
			{
				Filename: "foo_bar-1.9rc1.tar.gz", URL: "foo_bar-1.9rc1.tar.gz", SHA256: sum(2), Size: 1 << 40,
				Yanked: ptr(`broken: "a" & <b> 'ü'`), Version: "1.9rc1",
			},
		},
	}
}

func TestGolden(t *testing.T) {
	empty := &simple.Page{Name: "empty"}
	for name, got := range map[string][]byte{
		"page.html":  page().HTML(),
		"page.json":  page().JSON(),
		"empty.html": empty.HTML(),
		"empty.json": empty.JSON(),
	} {
		path := filepath.Join("testdata", name)
		if os.Getenv("UPDATE_GOLDEN") != "" {
			if err := os.WriteFile(path, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestOrderOfFilesDoesNotMatter(t *testing.T) {
	want := page()
	r := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		got := page()
		r.Shuffle(len(got.Files), func(i, j int) { got.Files[i], got.Files[j] = got.Files[j], got.Files[i] })
		if !bytes.Equal(got.JSON(), want.JSON()) || !bytes.Equal(got.HTML(), want.HTML()) {
			t.Fatal("the bytes depend on the order of the files")
		}
	}
}

func TestRenderDoesNotChangeThePage(t *testing.T) {
	p := page()
	p.Versions = []string{"2", "1"}
	before := *p
	before.Files = append([]simple.File(nil), p.Files...)
	before.Versions = []string{"2", "1"}
	p.Render(simple.JSON)
	p.Render(simple.HTML)
	if diff := cmp.Diff(&before, p); diff != "" {
		t.Errorf("rendering changed the page:\n%s", diff)
	}
}

func TestAllVersions(t *testing.T) {
	tests := []struct {
		name string
		page simple.Page
		want []string
	}{
		{"none", simple.Page{}, []string{}},
		{"of files", *page(), []string{"1.9rc1", "1.9+local.1", "1.10"}},
		{"given", simple.Page{Versions: []string{"1.10", "1.9", "odd", "1.10", "1.9.0"}}, []string{"odd", "1.9", "1.9.0", "1.10"}},
		{"given none", simple.Page{Versions: []string{}, Files: page().Files}, []string{}},
	}
	for _, test := range tests {
		if diff := cmp.Diff(test.want, test.page.AllVersions()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
}

func TestParsePageReadsWhatJSONWrites(t *testing.T) {
	want := page()
	got, err := simple.ParsePage(want.JSON())
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.JSON(), want.JSON()) {
		t.Errorf("another page came back:\n%s\n%s", got.JSON(), want.JSON())
	}
	if diff := cmp.Diff(ptr(sum(0xcd)), got.Files[len(got.Files)-1].MetadataSHA256); diff != "" {
		t.Errorf("metadata hash (-want +got):\n%s", diff)
	}
}

const goodFile = `{"filename":"foo-1.0.tar.gz","url":"foo-1.0.tar.gz#x","size":3,"hashes":{"md5":"00","sha256":"` +
	`0101010101010101010101010101010101010101010101010101010101010101"}}`

func pageWith(file string) string {
	return `{"meta":{"api-version":"1.4"},"name":"foo","files":[` + file + `]}`
}

func TestParsePageIsStrict(t *testing.T) {
	if _, err := simple.ParsePage([]byte(pageWith(goodFile))); err != nil {
		t.Fatalf("the page that the cases vary is refused: %v", err)
	}
	edit := func(from, to string) string { return pageWith(strings.Replace(goodFile, from, to, 1)) }
	for name, give := range map[string]string{
		"nothing":                 "",
		"not JSON":                "<!DOCTYPE html>",
		"an array":                "[]",
		"cut short":               pageWith(goodFile)[:100],
		"bytes after the end":     pageWith(goodFile) + "{}",
		"not UTF-8":               pageWith(goodFile + `,"` + "\xff" + `"`),
		"no meta":                 `{"name":"foo","files":[]}`,
		"another version":         `{"meta":{"api-version":"2.0"},"name":"foo","files":[]}`,
		"no version":              `{"meta":{},"name":"foo","files":[]}`,
		"no name":                 `{"meta":{"api-version":"1.4"},"files":[]}`,
		"no files":                `{"meta":{"api-version":"1.4"},"name":"foo"}`,
		"name not normalised":     `{"meta":{"api-version":"1.4"},"name":"Foo","files":[]}`,
		"name of another case":    `{"meta":{"api-version":"1.4"},"Name":"foo","files":[]}`,
		"member twice":            `{"meta":{"api-version":"1.4"},"name":"foo","name":"foo","files":[]}`,
		"unknown member twice":    `{"meta":{"api-version":"1.4"},"name":"foo","x":1,"x":2,"files":[]}`,
		"versions no array":       `{"meta":{"api-version":"1.4"},"name":"foo","versions":{},"files":[]}`,
		"version no string":       `{"meta":{"api-version":"1.4"},"name":"foo","versions":[1],"files":[]}`,
		"file no object":          pageWith("3"),
		"no hashes":               edit(`"hashes"`, `"_hashes"`),
		"weak hash only":          edit(`"sha256"`, `"sha1"`),
		"short hash":              edit(`"0101`, `"01`),
		"hash not hex":            edit(`"0101`, `"zz01`),
		"no size":                 edit(`"size":3,`, ``),
		"negative size":           edit(`3,`, `-3,`),
		"fraction of a byte":      edit(`3,`, `3.5,`),
		"url of another file":     edit(`"url":"foo-1.0`, `"url":"foo-1.1`),
		"url ends in a slash":     edit(`.gz#x"`, `.gz/x"`),
		"url too long":            edit(`"url":"`, `"url":"`+strings.Repeat("x/", 4000)),
		"url broken":              edit(`"url":"`, `"url":"%zz/`),
		"requires-python number":  edit(`"size"`, `"requires-python":3,"size"`),
		"requires-python long":    edit(`"size"`, `"requires-python":"`+strings.Repeat(">", 2000)+`","size"`),
		"upload-time":             edit(`"size"`, `"upload-time":"yesterday","size"`),
		"yanked number":           edit(`"size"`, `"yanked":1,"size"`),
		"yanked novel":            edit(`"size"`, `"yanked":"`+strings.Repeat("x", 5000)+`","size"`),
		"core-metadata string":    edit(`"size"`, `"core-metadata":"yes","size"`),
		"core-metadata weak hash": edit(`"size"`, `"core-metadata":{"md5":"00"},"size"`),
		"deep":                    pageWith(strings.Repeat("[", 20000)),
	} {
		if p, err := simple.ParsePage([]byte(give)); !errors.Is(err, simple.ErrPage) || p != nil {
			t.Errorf("%s: %v, %v; want ErrPage", name, p, err)
		}
	}
}

func TestParsePageIsLenientWhereTheStandardIs(t *testing.T) {
	data := `{"meta":{"api-version":"1.9","_last-serial":7},"_x":{"y":[1]},"name":"foo","versions":["1.0","2.0"],"files":[
		{"filename":"foo-1.0.egg","url":"x"},
		{"filename":"foo-1.0.linux-x86_64.tar.gz"},
		{"filename":"../foo-1.0.tar.gz"},
		{"filename":"bar-1.0.tar.gz"},
		` + strings.Replace(goodFile, `"size"`, `"core-metadata":true,"yanked":null,"requires-python":null,"upload-time":"2026-01-02T03:04:05.5Z","size"`, 1) + `]}`
	got, err := simple.ParsePage([]byte(data))
	if err != nil {
		t.Fatal(err)
	}
	want := &simple.Page{Name: "foo", Versions: []string{"1.0", "2.0"}, Files: []simple.File{{
		Filename: "foo-1.0.tar.gz", URL: "foo-1.0.tar.gz", SHA256: sum(1), Size: 3, Version: "1.0",
		UploadTime: time.Date(2026, 1, 2, 3, 4, 5, 500_000_000, time.UTC),
	}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("page (-want +got):\n%s", diff)
	}
}

func TestParsePageReadsTheOldMetadataName(t *testing.T) {
	file := strings.Replace(goodFile, `"size"`, `"data-dist-info-metadata":{"sha256":"`+strings.Repeat("02", 32)+`"},"size"`, 1)
	got, err := simple.ParsePage([]byte(pageWith(file)))
	if err != nil || got.Files[0].MetadataSHA256 == nil || *got.Files[0].MetadataSHA256 != sum(2) {
		t.Errorf("got %v, %v", got, err)
	}
}

func names(n int) iter.Seq[string] {
	return func(yield func(string) bool) {
		for i := range n {
			if !yield(fmt.Sprintf("project-%06d", i)) {
				return
			}
		}
	}
}

func TestWriteProjects(t *testing.T) {
	var html, json bytes.Buffer
	for _, n := range []int{0, 1, 2, 100_000} {
		html.Reset()
		json.Reset()
		if err := errors.Join(simple.WriteProjects(&html, simple.TextHTML, names(n)), simple.WriteProjects(&json, simple.JSON, names(n))); err != nil {
			t.Fatal(err)
		}
		if got := strings.Count(html.String(), "<a href="); got != n {
			t.Errorf("HTML lists %d of %d projects", got, n)
		}
		projects, err := simple.ParseProjects(json.Bytes())
		if err != nil || len(projects) != n {
			t.Errorf("JSON lists %d of %d projects, %v", len(projects), n, err)
		}
	}
	if want := `<a href="project-099999/">project-099999</a><br>`; !strings.Contains(html.String(), want) {
		t.Errorf("HTML has no %s", want)
	}
	for _, want := range []string{`<meta name="pypi:repository-version" content="1.4">`, "</html>"} {
		if !strings.Contains(html.String(), want) {
			t.Errorf("HTML has no %s", want)
		}
	}
}

func TestParseProjectsIsStrict(t *testing.T) {
	for _, give := range []string{
		"", `{"projects":[]}`, `{"meta":{"api-version":"1.4"}}`, `{"meta":{"api-version":"1.4"},"projects":[{"name":"../x"}]}`,
		`{"meta":{"api-version":"1.4"},"projects":[{}]}`, `{"meta":{"api-version":"0.9"},"projects":[]}`, `{"meta":{"api-version":"1.4"},"projects":[]} x`,
	} {
		if got, err := simple.ParseProjects([]byte(give)); !errors.Is(err, simple.ErrPage) {
			t.Errorf("%s: %v, %v; want ErrPage", give, got, err)
		}
	}
}

var errWriter = errors.New("the connection broke")

type brokenWriter struct{ left int }

func (w *brokenWriter) Write(p []byte) (int, error) {
	if w.left--; w.left < 0 {
		return 0, errWriter
	}
	return len(p), nil
}

func TestWriteProjectsStopsAtAnError(t *testing.T) {
	for left := range 2 {
		asked := 0
		err := simple.WriteProjects(&brokenWriter{left}, simple.JSON, func(yield func(string) bool) {
			for name := range names(100_000) {
				if asked++; !yield(name) {
					return
				}
			}
		})
		if !errors.Is(err, errWriter) || asked > 20_000 {
			t.Errorf("after %d writes: %v, %d names asked for", left, err, asked)
		}
	}
	if err := simple.WriteProjects(&brokenWriter{0}, simple.HTML, names(1)); !errors.Is(err, errWriter) {
		t.Errorf("the last write: %v", err)
	}
}

func TestNegotiate(t *testing.T) {
	const (
		j, h, x = simple.JSON, simple.HTML, simple.TextHTML
		none    = simple.Type("")
	)
	tests := []struct {
		name, accept, format string
		want                 simple.Type
	}{
		{"nothing", "", "", x},
		{"blank", " ", "", x},
		{"anything", "*/*", "", x},
		{"anything but", "*/*, text/html;q=0", "", h},
		{"old pip", "text/html", "", x},
		{"pip", "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html; q=0.1, text/html; q=0.01", "", j},
		{"uv", "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.01", "", j},
		{"browser", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8", "", x},
		{"tie", "text/html, application/vnd.pypi.simple.v1+html, application/vnd.pypi.simple.v1+json", "", j},
		{"tie of HTML", "text/html, application/vnd.pypi.simple.v1+html", "", h},
		{"weights", "application/vnd.pypi.simple.v1+json;q=0.5, text/html;q=0.6", "", x},
		{"json or anything", "application/vnd.pypi.simple.v1+json, */*;q=0.1", "", j},
		{"latest json", "application/vnd.pypi.simple.latest+json", "", j},
		{"latest html", "application/vnd.pypi.simple.latest+html", "", h},
		{"case", "Application/VND.PyPI.Simple.V1+JSON; Q=1.0", "", j},
		{"major wildcard", "text/*", "", x},
		{"application wildcard", "application/*", "", h},
		{"parameter before the weight", "text/html;level=1;q=0.5, application/vnd.pypi.simple.v1+json;q=0.4", "", x},
		{"foreign", "application/json", "", none},
		{"image", "image/png, application/pdf", "", none},
		{"refused", "text/html;q=0", "", none},
		{"all refused", "*/*;q=0", "", none},
		{"nonsense weight", "text/html;q=nan, application/vnd.pypi.simple.v1+html;q=2", "", none},
		{"version 2", "application/vnd.pypi.simple.v2+json", "", none},
		{"version 2 or 1", "application/vnd.pypi.simple.v2+json, application/vnd.pypi.simple.v1+json;q=0.1", "", j},
		{"format wins", "text/html", string(j), j},
		{"format of HTML", string(j), "text/html", x},
		{"format latest", "", "application/vnd.pypi.simple.latest+html", h},
		{"format with a blank for plus", "", "application/vnd.pypi.simple.v1 json", j},
		{"format unknown", "text/html", "json", none},
		{"comma soup", ",,;,;q=,*/*", "", x},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := simple.Negotiate(test.accept, test.format)
			if got != test.want || (err != nil) != (test.want == none) {
				t.Errorf("got %q, %v; want %q", got, err, test.want)
			}
			if err != nil && !errors.Is(err, simple.ErrNotAcceptable) {
				t.Errorf("error %v does not wrap ErrNotAcceptable", err)
			}
		})
	}
}

func TestContentType(t *testing.T) {
	for give, want := range map[simple.Type]string{
		simple.JSON: "application/vnd.pypi.simple.v1+json", simple.HTML: "application/vnd.pypi.simple.v1+html", simple.TextHTML: "text/html; charset=utf-8",
	} {
		if got := give.ContentType(); got != want {
			t.Errorf("%s: %q, want %q", give, got, want)
		}
	}
}

func FuzzNegotiate(f *testing.F) {
	f.Add("text/html;q=0.1, */*", "")
	f.Add(strings.Repeat("a/b;q=1,", 2000), "x")
	f.Fuzz(func(t *testing.T, accept, format string) {
		got, err := simple.Negotiate(accept, format)
		if (err == nil) != (got == simple.JSON || got == simple.HTML || got == simple.TextHTML) {
			t.Errorf("Negotiate(%q, %q) = %q, %v", accept, format, got, err)
		}
		if err != nil && !errors.Is(err, simple.ErrNotAcceptable) {
			t.Errorf("error %v does not wrap ErrNotAcceptable", err)
		}
	})
}

func FuzzParsePage(f *testing.F) {
	f.Add(page().JSON())
	f.Add([]byte(pageWith(goodFile)))
	f.Add([]byte(`{"meta":{"api-version":"1.0"},"name":"a","files":[{}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := simple.ParsePage(data)
		if err != nil {
			if !errors.Is(err, simple.ErrPage) {
				t.Errorf("error %v does not wrap ErrPage", err)
			}
			return
		}
		again, err := simple.ParsePage(p.JSON())
		if err != nil {
			t.Fatalf("the page does not survive: %v\n%s", err, p.JSON())
		}
		if !bytes.Equal(again.JSON(), p.JSON()) {
			t.Errorf("the page changed:\n%s\n%s", p.JSON(), again.JSON())
		}
		p.HTML()
	})
}

func big() *simple.Page {
	p := &simple.Page{Name: "big"}
	for i := range 5000 {
		name := fmt.Sprintf("big-1.%d.%d-py3-none-any.whl", i/10, i%10)
		p.Files = append(p.Files, simple.File{
			Filename: name, URL: "../../files/" + name, SHA256: sum(byte(i)), Size: int64(i), Version: fmt.Sprintf("1.%d.%d", i/10, i%10),
			RequiresPython: ">=3.8", UploadTime: time.Unix(int64(i), 0), MetadataSHA256: ptr(sum(1)),
		})
	}
	return p
}

func BenchmarkJSON(b *testing.B) {
	p := big()
	for b.Loop() {
		p.JSON()
	}
}

func BenchmarkHTML(b *testing.B) {
	p := big()
	for b.Loop() {
		p.HTML()
	}
}

func BenchmarkParsePage(b *testing.B) {
	data := big().JSON()
	for b.Loop() {
		if _, err := simple.ParsePage(data); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkWriteProjects(b *testing.B) {
	for b.Loop() {
		if err := simple.WriteProjects(io.Discard, simple.JSON, names(100_000)); err != nil {
			b.Fatal(err)
		}
	}
}
