package pypi_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"example.com/bailiwick/internal/pypi"
)

func mustProject(t testing.TB, name string) pypi.Project {
	t.Helper()
	p, err := pypi.ParseProject(name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestParseFilenameAgreesWithReference(t *testing.T) {
	for _, row := range readVectors(t, "filenames.tsv", 3) {
		give := text(t, row[0])
		f, err := pypi.ParseFilename(give)
		if refused(row[1]) {
			if err == nil {
				t.Errorf("ParseFilename(%q) gives %s %s, want an error", give, f.Project(), f.Version())
			}
			continue
		}
		if err != nil {
			t.Errorf("ParseFilename(%q): %v", give, err)
			continue
		}
		if f.String() != give || f.Project().String() != text(t, row[1]) || f.Version().String() != text(t, row[2]) {
			t.Errorf("ParseFilename(%q) = %q of %s %s, want %s %s", give, f, f.Project(), f.Version(), row[1], row[2])
		}
		if same, err := pypi.ParseFilenameFor(f.Project(), give); err != nil || same != f {
			t.Errorf("ParseFilenameFor(%q) = %v, %v", give, same, err)
		}
	}
}

func TestParseFilenameRefusesPathTricks(t *testing.T) {
	project := mustProject(t, "x")
	for _, give := range []string{
		"", ".", "..", "/", "../x-1-py3-none-any.whl", "/x-1.tar.gz", "a/x-1.tar.gz", `a\x-1.tar.gz`, "x-1.tar.gz/", "x-1.tar.gz\x00.whl",
		"x-1.tar.gz\n", "x-1%2f.tar.gz", "x-1-py3-none-any.whl ", "é-1.tar.gz", "x-1-py3-none-…", ".whl", "-.whl", ".tar.gz", "-.tar.gz", "x:1-1.zip",
		"x-1-py3-none-../any.whl", "x-1-py3-none-.whl", "x-1-py3--any.whl", "x-1-py3-none-a..b.whl", "x-1-py+3-none-any.whl", "x-1-1!-py3-none-any.whl",
		"x-" + strings.Repeat("1", pypi.MaxFilenameLength) + ".tar.gz",
	} {
		for name, parse := range map[string]func(string) (pypi.Filename, error){
			"ParseFilename":    pypi.ParseFilename,
			"ParseFilenameFor": func(s string) (pypi.Filename, error) { return pypi.ParseFilenameFor(project, s) },
		} {
			if f, err := parse(give); err == nil || !f.IsZero() {
				t.Errorf("%s(%q) = %v, %v; want an error", name, give, f, err)
			}
		}
	}
}

func TestHyphenatedSdists(t *testing.T) {
	tests := []struct{ project, name, version string }{
		{"foo-bar", "foo-bar-1.0.tar.gz", "1.0"},
		{"foo-bar", "Foo.Bar-1.0.tar.gz", "1.0"},
		{"foo-bar", "foo_bar-1.0.zip", "1.0"},
		{"foo-bar", "foo__bar-1.0.zip", "1.0"},
		{"foo-bar-2", "foo-bar-2-1.0.tar.gz", "1.0"},
		{"foo", "foo-1-2.tar.gz", "1.post2"},
		{"foo-1", "foo-1-2.tar.gz", "2"},
		{"foo", "foo-1.0-rc1.tar.gz", "1.0rc1"},
	}
	for _, test := range tests {
		f, err := pypi.ParseFilenameFor(mustProject(t, test.project), test.name)
		if err != nil || f.Version().String() != test.version || f.Project().String() != test.project || f.Kind() != pypi.Sdist {
			t.Errorf("%s of %s: version %q, %v; want %q", test.name, test.project, f.Version(), err, test.version)
		}
	}
	if f, err := pypi.ParseFilename("foo-bar-1.0.tar.gz"); !errors.Is(err, pypi.ErrAmbiguous) {
		t.Errorf("without the project: %v, %v; want ErrAmbiguous", f, err)
	}
}

func TestOtherProject(t *testing.T) {
	project := mustProject(t, "foo")
	for _, give := range []string{"foo_bar-1.0.tar.gz", "bar-1.0.tar.gz", "foo_bar-1.0-py3-none-any.whl", "f-1.0.zip", "foo.tar.gz"} {
		if _, err := pypi.ParseFilenameFor(project, give); !errors.Is(err, pypi.ErrOtherProject) {
			t.Errorf("ParseFilenameFor(foo, %q): %v, want ErrOtherProject", give, err)
		}
	}
	var syntax *pypi.SyntaxError
	if _, err := pypi.ParseFilenameFor(project, "foo-bar-1.0.tar.gz"); !errors.As(err, &syntax) {
		t.Errorf("a version that is none: %v, want a *SyntaxError", err)
	}
}

func TestTags(t *testing.T) {
	f, err := pypi.ParseFilename("foo-1.0-2b-py2.py3-none-linux_x86_64.win32.whl")
	if err != nil {
		t.Fatal(err)
	}
	tags, ok := f.Tags()
	want := pypi.Tags{Build: "2b", Python: []string{"py2", "py3"}, ABI: []string{"none"}, Platform: []string{"linux_x86_64", "win32"}}
	if diff := cmp.Diff(want, tags); !ok || diff != "" {
		t.Errorf("tags (-want +got):\n%s", diff)
	}
	sdist, err := pypi.ParseFilename("foo-1.0.tar.gz")
	if err != nil {
		t.Fatal(err)
	}
	if tags, ok := sdist.Tags(); ok {
		t.Errorf("an sdist has tags %v", tags)
	}
}

func TestIsCanonical(t *testing.T) {
	for give, want := range map[string]bool{
		"foo_bar-1.0.tar.gz":                 true,
		"foo.bar-1.0.tar.gz":                 false,
		"Foo_bar-1.0.tar.gz":                 false,
		"foo_bar-1.0.zip":                    false,
		"foo_bar-1.0RC1.tar.gz":              false,
		"foo_bar-1.0-py3-none-any.whl":       true,
		"foo_bar-1.0+a.1-py3-none-any.whl":   true,
		"foo.bar-1.0-py3-none-any.whl":       false,
		"foo_bar-1.0.RC1-py3-none-any.whl":   false,
		"foo_bar-01.0-1-py3-none-any.whl":    false,
		"foo_bar-1.0-1-py3-none-win32.whl":   true,
		"foo_bar-1.0.post1-py3-none-any.whl": true,
	} {
		f, err := pypi.ParseFilename(give)
		if err != nil {
			t.Fatal(err)
		}
		if f.IsCanonical() != want {
			t.Errorf("%s: IsCanonical = %v", give, f.IsCanonical())
		}
	}
}

func TestKindNames(t *testing.T) {
	for kind, want := range map[pypi.Kind]string{pypi.Wheel: "wheel", pypi.Sdist: "sdist", 0: "unknown"} {
		if kind.String() != want {
			t.Errorf("kind %d is called %q, want %q", kind, kind, want)
		}
	}
}

func TestZeroFilename(t *testing.T) {
	var f pypi.Filename
	if !f.IsZero() || f.IsCanonical() || !f.Version().IsZero() || !f.Project().IsZero() {
		t.Errorf("the zero file name claims to be one: %#v", f)
	}
}

func FuzzParseFilename(f *testing.F) {
	for _, row := range readVectors(f, "filenames.tsv", 3) {
		f.Add(text(f, row[0]), "foo")
	}
	f.Add("foo-bar-1.0.tar.gz", "foo-bar")
	f.Add("a-1-2-3-py3-none-any.whl", "a")
	f.Fuzz(func(t *testing.T, s, project string) {
		checkFilename(t, s, pypi.ParseFilename)
		if p, err := pypi.ParseProject(project); err == nil {
			checkFilename(t, s, func(s string) (pypi.Filename, error) {
				f, err := pypi.ParseFilenameFor(p, s)
				if err == nil && f.Project() != p {
					t.Errorf("%q was parsed for %s and belongs to %s", s, p, f.Project())
				}
				return f, err
			})
		}
	})
}

func checkFilename(t *testing.T, s string, parse func(string) (pypi.Filename, error)) {
	t.Helper()
	f, err := parse(s)
	if err != nil {
		return
	}
	switch {
	case f.String() != s:
		t.Errorf("%q came out as %q", s, f)
	case strings.ContainsAny(s, "/\\\x00%?# ") || strings.HasPrefix(s, ".") || len(s) > pypi.MaxFilenameLength:
		t.Errorf("%q was taken", s)
	case f.Kind() != pypi.Wheel && f.Kind() != pypi.Sdist, f.Version().IsZero(), !pypi.IsNormalized(f.Project().String()):
		t.Errorf("%q was taken as %v %v %v", s, f.Kind(), f.Project(), f.Version())
	}
	if again, err := pypi.ParseFilenameFor(f.Project(), s); err != nil || again != f {
		t.Errorf("%q for its own project: %v, %v", s, again, err)
	}
	if tags, ok := f.Tags(); ok && (len(tags.Python) == 0 || len(tags.ABI) == 0 || len(tags.Platform) == 0) {
		t.Errorf("%q has tags %v", s, tags)
	}
}
