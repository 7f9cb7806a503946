package dist_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"example.com/bailiwick/internal/pypi/dist"
	"example.com/bailiwick/internal/pypi/distmake"
)

const sdistName = "foo-1.0.tar.gz"

func sdistMembers(further ...member) []member {
	return append([]member{
		{Name: "foo-1.0/"},
		{Name: "foo-1.0/PKG-INFO", Data: []byte(goodMeta)},
		{Name: "foo-1.0/foo.py", Data: []byte("pass\n")},
	}, further...)
}

func sdistWith(further ...member) []byte { return distmake.TarGz(sdistMembers(further...)...) }

func link(kind byte, name, target string) member {
	return member{Name: name, EditTar: func(h *tar.Header) { h.Typeflag, h.Linkname = kind, target }}
}

func special(kind byte) member {
	return member{Name: "foo-1.0/special", EditTar: func(h *tar.Header) { h.Typeflag = kind }}
}

// renamed changes the name of a member behind the back of the writer, which
// puts slashes and such in order.
func renamed(name string) []byte {
	data := distmake.Tar(sdistMembers(member{Name: "foo-1.0/" + strings.Repeat("~", 40)})...)
	at := bytes.Index(data, []byte("foo-1.0/~"))
	header := data[at : at+512]
	clear(header[:100])
	copy(header, name)
	sum := 8 * int(' ')
	for i, b := range header {
		if i < 148 || i >= 156 {
			sum += int(b)
		}
	}
	copy(header[148:], []byte{'0', byte('0' + sum>>12&7), byte('0' + sum>>9&7), byte('0' + sum>>6&7), byte('0' + sum>>3&7), byte('0' + sum&7), 0, ' '})
	return distmake.Gzip(data)
}

func TestGoodTars(t *testing.T) {
	for name, data := range map[string][]byte{
		"plain":                sdistWith(),
		"no directory members": distmake.TarGz(sdistMembers()[1:]...),
		"leading dots":         distmake.TarGz(member{Name: "./"}, member{Name: "./foo-1.0/"}, member{Name: "./foo-1.0/PKG-INFO", Data: []byte(goodMeta)}),
		"another top":          distmake.TarGz(member{Name: "odd/PKG-INFO", Data: []byte(goodMeta)}),
		"inner PKG-INFO":       sdistWith(member{Name: "foo-1.0/foo.egg-info/PKG-INFO", Data: []byte("odd")}),
		"link beside":          sdistWith(link(tar.TypeSymlink, "foo-1.0/LICENSE", "COPYING")),
		"link up and down":     sdistWith(link(tar.TypeSymlink, "foo-1.0/a/b/LICENSE", "../../docs/LICENSE")),
		"link to the top":      sdistWith(link(tar.TypeSymlink, "foo-1.0/a/b", "../")),
		"link to here":         sdistWith(link(tar.TypeSymlink, "foo-1.0/a/b", ".")),
		"hard link":            sdistWith(link(tar.TypeLink, "foo-1.0/LICENSE", "foo-1.0/foo.py")),
		"padding":              distmake.Gzip(append(distmake.Tar(sdistMembers()...), make([]byte, 20_000)...)),
		"long name":            sdistWith(member{Name: "foo-1.0/" + strings.Repeat("long/", 100) + "é"}),
	} {
		info, err := check(t, sdistName, data)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if info.CoreMetadata != nil || info.Metadata.Name != "foo" || info.Members == 0 || info.Unpacked == 0 {
			t.Errorf("%s: info %+v", name, info)
		}
	}
}

func TestHostileTars(t *testing.T) {
	good := sdistWith()
	tarball := distmake.Tar(sdistMembers()...)
	for _, test := range []struct {
		name string
		data []byte
		rule dist.Rule
	}{
		{"no gzip", tarball, dist.RuleFraming},
		{"no tar", distmake.Gzip([]byte(strings.Repeat("x", 2000))), dist.RuleFraming},
		{"nothing inside", distmake.Gzip(nil), dist.RuleMissing},
		{"cut short", good[:len(good)-1], dist.RuleFraming},
		{"cut in the middle", good[:len(good)/2], dist.RuleFraming},
		{"damaged", slices.Concat(good[:len(good)-8], []byte{1, 2, 3, 4}, good[len(good)-4:]), dist.RuleFraming},
		{"bytes after", append(slices.Clone(good), 'x'), dist.RuleFraming},
		{"second stream", append(slices.Clone(good), good...), dist.RuleFraming},
		{"data after the last member", distmake.Gzip(append(slices.Clone(tarball), tarball...)), dist.RuleFraming},
		{"tar cut inside a member", distmake.Gzip(tarball[:512+512+20]), dist.RuleFraming},
		{"two tops", sdistWith(member{Name: "bar/x"}), dist.RuleTopDir},
		{"member beside the top", sdistWith(member{Name: "x"}), dist.RuleTopDir},
		{"file as top", distmake.TarGz(member{Name: "foo-1.0"}), dist.RuleTopDir},
		{"no PKG-INFO", distmake.TarGz(member{Name: "foo-1.0/foo.py"}), dist.RuleMissing},
		{"PKG-INFO too deep", distmake.TarGz(member{Name: "foo-1.0/a/PKG-INFO", Data: []byte(goodMeta)}), dist.RuleMissing},
		{"PKG-INFO twice", sdistWith(member{Name: "foo-1.0/PKG-INFO", Data: []byte(goodMeta)}), dist.RuleDuplicate},
		{"PKG-INFO twice, spelled otherwise", sdistWith(member{Name: "./foo-1.0/PKG-INFO", Data: []byte(goodMeta)}), dist.RuleDuplicate},
		{"PKG-INFO is a link", distmake.TarGz(link(tar.TypeSymlink, "foo-1.0/PKG-INFO", "x")), dist.RuleMember},
		{"PKG-INFO unreadable", distmake.TarGz(member{Name: "foo-1.0/PKG-INFO", Data: []byte("x")}), dist.RuleMetadata},
		{"pipe", sdistWith(special(tar.TypeFifo)), dist.RuleMember},
		{"character device", sdistWith(special(tar.TypeChar)), dist.RuleMember},
		{"block device", sdistWith(special(tar.TypeBlock)), dist.RuleMember},
		{"up", renamed("../evil"), dist.RulePath},
		{"up inside", renamed("foo-1.0/../../evil"), dist.RulePath},
		{"absolute", renamed("/etc/passwd"), dist.RulePath},
		{"backslash", renamed(`foo-1.0/..\evil`), dist.RulePath},
		{"double slash", renamed("foo-1.0//evil"), dist.RulePath},
		{"not UTF-8", renamed("foo-1.0/\xff"), dist.RulePath},
		{"no name", renamed(""), dist.RulePath},
		{"link up", sdistWith(link(tar.TypeSymlink, "foo-1.0/x", "../evil")), dist.RulePath},
		{"link far up", sdistWith(link(tar.TypeSymlink, "foo-1.0/a/b/x", "../../../evil")), dist.RulePath},
		{"link above", sdistWith(link(tar.TypeSymlink, "foo-1.0/a", "..")), dist.RulePath},
		{"link down and up", sdistWith(link(tar.TypeSymlink, "foo-1.0/a/b/x", "c/../y")), dist.RulePath},
		{"link absolute", sdistWith(link(tar.TypeSymlink, "foo-1.0/x", "/etc/passwd")), dist.RulePath},
		{"link backslash", sdistWith(link(tar.TypeSymlink, "foo-1.0/x", `..\..\evil`)), dist.RulePath},
		{"link drive", sdistWith(link(tar.TypeSymlink, "foo-1.0/x", "C:/evil")), dist.RulePath},
		{"hard link up", sdistWith(link(tar.TypeLink, "foo-1.0/x", "../evil")), dist.RulePath},
		{"hard link up inside", sdistWith(link(tar.TypeLink, "foo-1.0/x", "foo-1.0/../../evil")), dist.RulePath},
		{"hard link elsewhere", sdistWith(link(tar.TypeLink, "foo-1.0/x", "etc/passwd")), dist.RulePath},
		{"hard link absolute", sdistWith(link(tar.TypeLink, "foo-1.0/x", "/etc/passwd")), dist.RulePath},
		{"write through a link", sdistWith(link(tar.TypeSymlink, "foo-1.0/x", "."), member{Name: "foo-1.0/x/evil"}), dist.RulePath},
		{"write through a link in other case", sdistWith(link(tar.TypeSymlink, "foo-1.0/X", "."), member{Name: "foo-1.0/x/evil"}), dist.RulePath},
		{"link made after its member", sdistWith(member{Name: "foo-1.0/x/y"}, link(tar.TypeSymlink, "foo-1.0/x", ".")), dist.RulePath},
		{"sparse", sparse(), dist.RuleMember},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := check(t, sdistName, test.data)
			wantRule(t, err, test.rule)
		})
	}
}

// sparse is an sdist with a sparse member in PAX form, which archive/tar reads
// but does not write: records of the same length take another name.
func sparse() []byte {
	data := distmake.Tar(sdistMembers(member{Name: "foo-1.0/holes", Data: []byte("x"), EditTar: func(h *tar.Header) {
		h.PAXRecords = map[string]string{"BAI.sparse.map": "0,1", "BAI.sparse.size": "1", "BAI.sparse.numblocks": "1"}
	}})...)
	return distmake.Gzip(bytes.ReplaceAll(data, []byte("BAI.sparse."), []byte("GNU.sparse.")))
}

func TestHostileZipSdists(t *testing.T) {
	for _, test := range []struct {
		name    string
		members []member
		rule    dist.Rule
	}{
		{"two tops", sdistMembers(member{Name: "bar/x"}), dist.RuleTopDir},
		{"member beside the top", sdistMembers(member{Name: "x"}), dist.RuleTopDir},
		{"no PKG-INFO", sdistMembers()[:1], dist.RuleMissing},
		{"unreadable", []member{{Name: "foo-1.0/PKG-INFO", Data: []byte("x")}}, dist.RuleMetadata},
		{"other version", []member{{Name: "foo-1.0/PKG-INFO", Data: []byte("Metadata-Version: 1.0\nName: foo\nVersion: 2\n")}}, dist.RuleIdentity},
		{"up", sdistMembers(member{Name: "foo-1.0/../../x"}), dist.RulePath},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := check(t, "foo-1.0.zip", distmake.Zip(test.members...))
			wantRule(t, err, test.rule)
		})
	}
}

func TestTarLimits(t *testing.T) {
	data := sdistWith(member{Name: "foo-1.0/zeros", Data: make([]byte, 200_000)})
	limits := func(edit func(*dist.Limits)) error {
		l := dist.DefaultLimits()
		edit(&l)
		_, err := l.Check(mustFilename(t, sdistName), bytes.NewReader(data), int64(len(data)))
		return err
	}
	if err := limits(func(l *dist.Limits) { l.Members = 4 }); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		edit func(*dist.Limits)
		rule dist.Rule
	}{
		"members":  {func(l *dist.Limits) { l.Members = 3 }, dist.RuleCount},
		"names":    {func(l *dist.Limits) { l.Directory = 20 }, dist.RuleSize},
		"metadata": {func(l *dist.Limits) { l.Metadata = 20 }, dist.RuleSize},
		"unpacked": {func(l *dist.Limits) { l.Unpacked = 200_000 }, dist.RuleSize},
		"ratio":    {func(l *dist.Limits) { l.RatioFrom = 50_000 }, dist.RuleRatio},
	} {
		t.Run(name, func(t *testing.T) { wantRule(t, limits(test.edit), test.rule) })
	}
}

// TestBombStops checks that a bomb is put out long before it has unpacked.
func TestBombStops(t *testing.T) {
	data := make([]byte, 16<<20)
	r := rand.New(rand.NewPCG(1, 2))
	for i := 0; i < len(data); i += 50 { // enough disorder to outgrow the buffers on the way
		data[i] = byte(r.Uint32())
	}
	bomb := sdistWith(member{Name: "foo-1.0/big", Data: data})
	limits := dist.DefaultLimits()
	limits.Unpacked = 1 << 20
	source := &countingReader{ReaderAt: bytes.NewReader(bomb)}
	_, err := limits.Check(mustFilename(t, sdistName), source, int64(len(bomb)))
	wantRule(t, err, dist.RuleSize)
	if source.bytes > len(bomb)/4 {
		t.Errorf("%d of %d bytes were unpacked", source.bytes, len(bomb))
	}
}

func wantAnyRule(t *testing.T, err error) {
	t.Helper()
	var broken *dist.InvalidError
	if !errors.As(err, &broken) {
		t.Errorf("got %v, want an *InvalidError", err)
	}
}

func FuzzSdist(f *testing.F) {
	f.Add(distmake.Tar(sdistMembers()...))
	f.Add(distmake.Tar(sdistMembers(link(tar.TypeSymlink, "foo-1.0/a/x", "../y"))...))
	f.Add(distmake.Tar(member{Name: "./foo-1.0/PKG-INFO", Data: []byte(goodMeta)}))
	f.Fuzz(func(t *testing.T, tarball []byte) {
		if _, err := check(t, sdistName, distmake.Gzip(tarball)); err != nil {
			wantAnyRule(t, err)
		}
	})
}
