package dist_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/internal/pypi/dist"
	"example.com/bailiwick/internal/pypi/distmake"
)

func mustFilename(t testing.TB, name string) pypi.Filename {
	t.Helper()
	f, err := pypi.ParseFilename(name)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func check(t testing.TB, name string, data []byte) (*dist.Info, error) {
	t.Helper()
	return dist.Check(mustFilename(t, name), bytes.NewReader(data), int64(len(data)))
}

// wantRule checks that err reports that rule, in one line.
func wantRule(t *testing.T, err error, want dist.Rule) {
	t.Helper()
	var broken *dist.InvalidError
	if !errors.As(err, &broken) {
		t.Fatalf("got %v, want an *InvalidError of rule %s", err, want)
	}
	if broken.Rule != want {
		t.Errorf("got rule %s (%v), want %s", broken.Rule, err, want)
	}
	if text := err.Error(); text == "" || len(text) > 1500 || strings.ContainsAny(text, "\r\n\x00\x1b") {
		t.Errorf("message %q does not fit into a line", text)
	}
}

func TestGoodDistributions(t *testing.T) {
	options := distmake.Options{
		RequiresPython: ">=3.8", Build: "1", Tag: "py2.py3-none-any", Requires: []string{"x>=1"}, Payload: 1000, Description: "# Hi\n\nName: not a field\n",
		Scripts: map[string]string{"go": "m:main"}, Files: map[string]string{"data/a,b \"c\".txt": "x", "ünï.py": "y", "empty": ""},
	}
	const name, version = "Foo.Bar", "1.0.post1"
	for _, o := range []distmake.Options{{}, options} {
		for _, f := range []distmake.File{distmake.Wheel(name, version, o), distmake.Sdist(name, version, o), distmake.ZipSdist(name, version, o)} {
			info, err := check(t, f.Name, f.Data)
			if err != nil {
				t.Errorf("%s: %v", f.Name, err)
				continue
			}
			if info.Filename.String() != f.Name || info.Members < 4 || info.Unpacked < 300 {
				t.Errorf("%s: info %+v", f.Name, info)
			}
			if m := info.Metadata; m.Name != name || m.Version != version || m.RequiresPython != o.RequiresPython || m.MetadataVersion != "2.1" {
				t.Errorf("%s: metadata %+v", f.Name, m)
			}
			if isWheel := info.Filename.Kind() == pypi.Wheel; isWheel != bytes.Contains(info.CoreMetadata, []byte("Name: "+name+"\n")) {
				t.Errorf("%s: core metadata %q", f.Name, info.CoreMetadata)
			}
		}
	}
}

func TestCoreMetadataIsByteForByte(t *testing.T) {
	metadata := "Metadata-Version: 2.1\r\nName: foo\r\nVersion: 1.0\r\n\r\n\x00\xff no text \r\n"
	data := distmake.Zip(wheelMembers(metadata)...)
	info, err := check(t, "foo-1.0-py3-none-any.whl", data)
	if err != nil || string(info.CoreMetadata) != metadata {
		t.Errorf("got %+v, %v", info, err)
	}
}

func TestIdentity(t *testing.T) {
	wheel, sdist := distmake.Wheel("foo", "1.0", distmake.Options{}), distmake.Sdist("foo", "1.0", distmake.Options{})
	for _, test := range []struct {
		name string
		data []byte
		rule dist.Rule
	}{
		{"foo-1.0.0-py3-none-any.whl", wheel.Data, ""}, // the same version in another spelling
		{"Foo-v1.tar.gz", sdist.Data, ""},
		{"bar-1.0-py3-none-any.whl", wheel.Data, dist.RuleDistInfo},
		{"foo-1.1-py3-none-any.whl", wheel.Data, dist.RuleDistInfo},
		{"bar-1.0.tar.gz", sdist.Data, dist.RuleIdentity},
		{"foo-1.0.post1.tar.gz", sdist.Data, dist.RuleIdentity},
		{"foo-1.0.tar.gz", wheel.Data, dist.RuleFraming},
		{"foo-1.0-py3-none-any.whl", sdist.Data, dist.RuleFraming},
		{"foo-1.0.zip", wheel.Data, dist.RuleTopDir},
		{"foo-1.0.zip", sdist.Data, dist.RuleFraming},
		{"foo-1.0.tar.gz", nil, dist.RuleFraming},
		{"foo-1.0.zip", nil, dist.RuleFraming},
	} {
		_, err := check(t, test.name, test.data)
		if test.rule != "" {
			wantRule(t, err, test.rule)
		} else if err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}

func TestZeroFilename(t *testing.T) {
	var syntax *pypi.SyntaxError
	if _, err := dist.Check(pypi.Filename{}, bytes.NewReader(nil), 0); !errors.As(err, &syntax) {
		t.Errorf("got %v, want a *SyntaxError", err)
	}
}

var errDisk = errors.New("the disk broke")

// brokenDisk fails at one of its reads.
type brokenDisk struct {
	io.ReaderAt
	left int
}

func (d *brokenDisk) ReadAt(p []byte, off int64) (int, error) {
	if d.left--; d.left < 0 {
		return 0, errDisk
	}
	return d.ReaderAt.ReadAt(p, off)
}

// TestDiskErrorsAreNotBlamedOnTheFile breaks every single read.
func TestDiskErrorsAreNotBlamedOnTheFile(t *testing.T) {
	o := distmake.Options{Payload: 300_000}
	for _, f := range []distmake.File{distmake.Wheel("foo", "1", o), distmake.Sdist("foo", "1", o), distmake.ZipSdist("foo", "1", o)} {
		for reads := 0; ; reads++ {
			disk := &brokenDisk{bytes.NewReader(f.Data), reads}
			_, err := dist.Check(mustFilename(t, f.Name), disk, int64(len(f.Data)))
			if err == nil {
				if reads < 4 {
					t.Errorf("%s was checked with %d reads", f.Name, reads)
				}
				break
			}
			var broken *dist.InvalidError
			if !errors.Is(err, errDisk) || errors.As(err, &broken) {
				t.Fatalf("%s, read %d: %v", f.Name, reads, err)
			}
		}
	}
}

type countingReader struct {
	io.ReaderAt
	bytes int
}

func (r *countingReader) ReadAt(p []byte, off int64) (int, error) {
	n, err := r.ReaderAt.ReadAt(p, off)
	r.bytes += n
	return n, err
}

func TestWheelIsNotReadInFull(t *testing.T) {
	f := distmake.Wheel("foo", "1", distmake.Options{Payload: 4 << 20})
	r := &countingReader{ReaderAt: bytes.NewReader(f.Data)}
	if _, err := dist.Check(mustFilename(t, f.Name), r, int64(len(f.Data))); err != nil {
		t.Fatal(err)
	}
	if r.bytes > 20_000 {
		t.Errorf("%d bytes were read of a wheel of %d", r.bytes, len(f.Data))
	}
}

func BenchmarkWheel(b *testing.B) {
	f := distmake.Wheel("foo", "1", distmake.Options{Payload: 100_000})
	name := mustFilename(b, f.Name)
	for b.Loop() {
		if _, err := dist.Check(name, bytes.NewReader(f.Data), int64(len(f.Data))); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSdist(b *testing.B) {
	f := distmake.Sdist("foo", "1", distmake.Options{Payload: 100_000})
	name := mustFilename(b, f.Name)
	for b.Loop() {
		if _, err := dist.Check(name, bytes.NewReader(f.Data), int64(len(f.Data))); err != nil {
			b.Fatal(err)
		}
	}
}
