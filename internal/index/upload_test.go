package index_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"example.com/bailiwick/internal/index"
	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/internal/publish/publishtest"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/internal/pypi/distmake"
)

func TestUploadAndDownload(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	wheel := distmake.Wheel("Demo_Package", "1.0", distmake.Options{RequiresPython: ">=3.8"})
	sdist := distmake.Sdist("Demo_Package", "1.0", distmake.Options{})
	before := f.publisher.Current().Number()
	for i, file := range []distmake.File{wheel, sdist} {
		r := f.upload(file)
		if r.Unchanged || r.Publication != before+int64(i)+1 || r.Filename.String() != file.Name || r.Project != project(t, "demo-package") {
			t.Errorf("receipt is %+v", r)
		}
	}
	page, _, err := f.index.Project(ctx, project(t, "demo-package"))
	if err != nil {
		t.Fatal(err)
	}
	if page.Name != "demo-package" || len(page.Files) != 2 {
		t.Fatalf("page is %+v", page)
	}
	for _, file := range page.Files {
		want, requires := wheel, ">=3.8"
		if strings.HasSuffix(file.Filename, ".tar.gz") {
			want, requires = sdist, ""
		}
		if file.Filename != want.Name || file.Size != int64(len(want.Data)) || file.Version != "1.0" ||
			file.RequiresPython != requires || !file.UploadTime.Equal(publishtest.Start()) || file.Yanked != nil ||
			(file.MetadataSHA256 != nil) != (requires != "") {
			t.Errorf("listed as %+v", file)
		}
		name := filename(t, want.Name)
		opened, err := f.index.OpenFile(ctx, name.Project(), name)
		if got := content(t, opened, err); !bytes.Equal(got, want.Data) {
			t.Errorf("%s comes back with other bytes", name)
		}
		if !opened.Uploaded.Equal(publishtest.Start()) {
			t.Errorf("%s was uploaded at %v", name, opened.Uploaded)
		}
		target := string(f.publisher.Current().Layout().Path(name.Project(), name))
		target = strings.Replace(target, name.String(), fmt.Sprintf("%x.%s", file.SHA256, name), 1)
		opened, err = f.index.OpenTarget(ctx, target)
		if got := content(t, opened, err); !bytes.Equal(got, want.Data) {
			t.Errorf("%s comes back with other bytes", target)
		}
		if file.MetadataSHA256 == nil {
			_, err = f.index.OpenMetadata(ctx, name.Project(), name)
			refused(t, err, index.NotFound)
			_, err = f.index.OpenTarget(ctx, target+".metadata")
			refused(t, err, index.NotFound)
			continue
		}
		for _, open := range []func() (*index.File, error){
			func() (*index.File, error) { return f.index.OpenMetadata(ctx, name.Project(), name) },
			func() (*index.File, error) { return f.index.OpenTarget(ctx, target+".metadata") },
		} {
			opened, err := open()
			if got := content(t, opened, err); !bytes.Contains(got, []byte("Name: Demo_Package")) || opened.SHA256 != *file.MetadataSHA256 {
				t.Errorf("METADATA is %q", got)
			}
		}
	}
}

func TestUploadTwice(t *testing.T) {
	f := newFixture(t)
	file := distmake.Wheel("demo", "1.0", distmake.Options{})
	first := f.upload(file)
	if again := f.upload(file); !again.Unchanged || again.Publication != first.Publication {
		t.Errorf("the second time: %+v", again)
	}
	other := distmake.Wheel("demo", "1.0", distmake.Options{Summary: "something else"})
	_, err := f.send(f.actor, other, nil)
	if r := refused(t, err, index.Exists); !strings.HasPrefix(r.Message, "File already exists") {
		t.Errorf("the message %q does not begin as upload tools expect", r.Message)
	}
	name := filename(t, file.Name)
	if _, err := f.index.Delete(t.Context(), f.actor, name.Project(), name); err != nil {
		t.Fatal(err)
	}
	if got := f.listed("demo"); got != nil {
		t.Errorf("%v is listed after deletion", got)
	}
	for _, file := range []distmake.File{file, other} {
		_, err := f.send(f.actor, file, nil)
		if r := refused(t, err, index.Exists); !strings.HasPrefix(r.Message, "File already exists") {
			t.Errorf("the message %q does not begin as upload tools expect", r.Message)
		}
	}
}

func TestUploadRefusals(t *testing.T) {
	f := newFixture(t)
	wheel := distmake.Wheel("demo", "1.0", distmake.Options{})
	sdist := distmake.Sdist("demo", "1.0", distmake.Options{})
	f.upload(sdist)
	set := func(name string, values ...string) func(f map[string][]string) {
		return func(f map[string][]string) { f[name] = values }
	}
	named := func(name string) distmake.File { return distmake.File{Name: name, Data: wheel.Data} }
	for name, c := range map[string]struct {
		file distmake.File
		edit func(form map[string][]string)
		kind index.Kind
		says string
	}{
		"sha256 of another file": {wheel, set("sha256_digest", strings.Repeat("0", 64)), index.Invalid, "sha256_digest"},
		"md5 of another file":    {wheel, set("md5_digest", strings.Repeat("0", 32)), index.Invalid, "md5_digest"},
		"blake2 of another file": {wheel, set("blake2_256_digest", strings.Repeat("0", 64)), index.Invalid, "blake2_256_digest"},
		"another project":        {wheel, set("name", "other"), index.Invalid, "other"},
		"another version":        {wheel, set("version", "1.1"), index.Invalid, "1.1"},
		"no version":             {wheel, set("version", "one"), index.Invalid, "one"},
		"no project name":        {wheel, set("name", "-"), index.Invalid, "name"},
		"wheel as sdist":         {wheel, set("filetype", "sdist"), index.Invalid, "sdist"},
		"sdist as wheel":         {sdist, set("filetype", "bdist_wheel"), index.Invalid, "bdist_wheel"},
		"pyversion of an sdist":  {wheel, set("pyversion", "source"), index.Invalid, "pyversion"},
		"pyversion of a wheel":   {sdist, set("pyversion", "py3"), index.Invalid, "pyversion"},
		"a path for a name":      {named("../demo-1.0-py3-none-any.whl"), nil, index.Invalid, ""},
		"an egg":                 {named("demo-1.0-py3.egg"), nil, index.Invalid, ""},
		"a name with a NUL":      {named("demo-1.0-py3-none-any.whl\x00"), nil, index.Invalid, ""},
		"no archive":             {distmake.File{Name: wheel.Name, Data: []byte("hello")}, nil, index.Invalid, wheel.Name},
		"empty":                  {distmake.File{Name: wheel.Name}, nil, index.Invalid, wheel.Name},
		"metadata of another":    {distmake.File{Name: wheel.Name, Data: distmake.Wheel("other", "1.0", distmake.Options{}).Data}, nil, index.Invalid, ""},
		"metadata of another version": {
			distmake.File{Name: "demo-1.1-py3-none-any.whl", Data: wheel.Data}, nil, index.Invalid, "",
		},
		"a second sdist": {distmake.ZipSdist("demo", "1.0", distmake.Options{}), nil, index.Invalid, "source distribution"},
		"bad specifier":  {distmake.Wheel("demo", "1.0", distmake.Options{RequiresPython: "three"}), nil, index.Invalid, ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := f.send(f.actor, c.file, c.edit)
			r := refused(t, err, c.kind)
			if !strings.Contains(r.Message, c.says) {
				t.Errorf("the message %q does not mention %q", r.Message, c.says)
			}
			if diff := cmp.Diff([]string{sdist.Name}, f.listed("demo")); diff != "" {
				t.Errorf("the page changed:\n%s", diff)
			}
		})
	}
	// What only differs in spelling is the same.
	for _, edit := range []func(map[string][]string){
		set("version", "1.0.0"), set("version", " v1 "), set("name", "DEMO"), set("pyversion"),
	} {
		if _, err := f.send(f.actor, wheel, edit); err != nil {
			t.Error(err)
		}
	}
}

func TestRights(t *testing.T) {
	f := newFixture(t)
	only := f.login([]pypi.Project{project(t, "demo"), project(t, "more")})
	demo, other := distmake.Wheel("demo", "1.0", distmake.Options{}), distmake.Wheel("other", "1.0", distmake.Options{})
	if _, err := f.send(only, demo, nil); err != nil {
		t.Error(err)
	}
	for _, a := range []index.Actor{only, {}} {
		_, err := f.send(a, other, nil)
		refused(t, err, index.Forbidden)
	}
	f.upload(other)
	name := filename(t, other.Name)
	_, err := f.index.Delete(t.Context(), only, name.Project(), name)
	refused(t, err, index.Forbidden)
	reason := ""
	_, err = f.index.Yank(t.Context(), only, name.Project(), name.Version(), &reason)
	refused(t, err, index.Forbidden)
}

func TestClaimedProjects(t *testing.T) {
	f := newFixture(t)
	for _, name := range []string{"claimed", "recent"} {
		_, err := f.send(f.actor, distmake.Wheel(name, "1.0", distmake.Options{}), nil)
		if r := refused(t, err, index.Forbidden); !strings.Contains(r.Message, "maintainers") {
			t.Errorf("the message %q does not say who can", r.Message)
		}
		if got := f.listed(name); len(got) != 0 {
			t.Errorf("%s lists %v", name, got)
		}
	}
}

func TestStage(t *testing.T) {
	f := newFixture(t)
	const limit = 1 << 20 // of the fixture
	for _, size := range []int{0, 1, 1000, 64 << 10, limit - 1, limit} {
		data := bytes.Repeat([]byte("x"), size)
		c, err := f.index.Stage(t.Context(), iotest.DataErrReader(bytes.NewReader(data)))
		if err != nil {
			t.Fatal(err)
		}
		if c.Size() != int64(size) {
			t.Errorf("%d bytes were counted as %d", size, c.Size())
		}
		for range 2 {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	endless := &counter{}
	_, err := f.index.Stage(t.Context(), endless)
	refused(t, err, index.TooLarge)
	if endless.n > limit+128<<10 {
		t.Errorf("%d bytes were read of an upload over the limit of %d", endless.n, limit)
	}
	_, err = f.index.Stage(t.Context(), io.MultiReader(strings.NewReader("half"), iotest.ErrReader(io.ErrUnexpectedEOF)))
	if r := refused(t, err, index.Invalid); !errors.Is(err, io.ErrUnexpectedEOF) || !strings.Contains(r.Message, "4 bytes") {
		t.Errorf("a client that hung up: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.index.Stage(ctx, strings.NewReader("x")); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

type counter struct{ n int }

func (c *counter) Read(p []byte) (int, error) {
	c.n += len(p)
	return len(p), nil
}

// TestFileFaults breaks each step of the file store, then tries again: nothing is listed that is
// not there, and the upload succeeds the second time.
func TestFileFaults(t *testing.T) {
	file := distmake.Wheel("demo", "1.0", distmake.Options{})
	for _, step := range []string{"Stage", "Write", "Keep"} {
		for _, full := range []bool{false, true} {
			for _, effect := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/full=%v/effect=%v", step, full, effect), func(t *testing.T) {
					f := newFixture(t)
					cause := errInjected
					if full {
						cause = fmt.Errorf("%w: %w", index.ErrFull, errInjected)
					}
					f.files.effect = effect
					f.files.set(step, cause)
					_, err := f.send(f.actor, file, nil)
					var r *index.Refusal
					switch {
					case full:
						refused(t, err, index.Unavailable)
					case err == nil || errors.As(err, &r):
						t.Errorf("got %v, want an error that is not the user's", err)
					}
					if !errors.Is(err, errInjected) {
						t.Errorf("%v does not lead to the cause", err)
					}
					if got := f.listed("demo"); got != nil {
						t.Errorf("%v is listed", got)
					}
					f.files.set("", nil)
					f.upload(file)
					name := filename(t, file.Name)
					opened, err := f.index.OpenFile(t.Context(), name.Project(), name)
					if !bytes.Equal(content(t, opened, err), file.Data) {
						t.Error("other bytes came back")
					}
				})
			}
		}
	}
}

func TestContentIsGone(t *testing.T) {
	f := newFixture(t)
	file := distmake.Wheel("demo", "1.0", distmake.Options{})
	f.upload(file)
	for _, cause := range []error{errInjected, index.ErrNoBlob} {
		f.files.set("Open", cause)
		name := filename(t, file.Name)
		_, err := f.index.OpenFile(t.Context(), name.Project(), name)
		var r *index.Refusal
		if !errors.Is(err, cause) || errors.As(err, &r) {
			t.Errorf("a listed file that can not be opened: %v, want an error that is not the user's", err)
		}
	}
}

// TestPublisherRefuses: a publisher that nobody runs, and whose queue takes one change.
func TestPublisherRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newStopped(t)
		file := distmake.Wheel("demo", "1.0", distmake.Options{})
		form, err := index.ParseForm(fields(file), file.Name)
		if err != nil {
			t.Fatal(err)
		}
		upload := func(ctx context.Context) (err error) {
			c, err := f.index.Stage(t.Context(), bytes.NewReader(file.Data))
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, c.Close()) }()
			_, err = f.index.Upload(ctx, f.actor, form, c)
			return err
		}
		ctx, cancel := context.WithCancel(t.Context())
		first := make(chan error, 1)
		go func() { first <- upload(ctx) }()
		synctest.Wait()
		refused(t, upload(t.Context()), index.Busy)
		cancel()
		var r *index.Refusal
		if err := <-first; !errors.Is(err, context.Canceled) || errors.As(err, &r) {
			t.Errorf("an upload that nobody waits for: %v", err)
		}
		if err := f.publisher.Run(ctx); err != nil {
			t.Fatal(err)
		}
		err = upload(t.Context())
		if refused(t, err, index.Unavailable); !errors.Is(err, publish.ErrClosed) {
			t.Errorf("%v does not lead to the cause", err)
		}
	})
}

func TestWarnings(t *testing.T) {
	f := newFixture(t)
	if r := f.upload(distmake.Wheel("demo", "1.0", distmake.Options{})); r.Warnings != nil {
		t.Errorf("warnings about a file in order: %v", r.Warnings)
	}
	old := distmake.ZipSdist("demo", "2.0", distmake.Options{})
	if r := f.upload(old); len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0], old.Name) {
		t.Errorf("warnings about a .zip: %v", r.Warnings)
	}
}
