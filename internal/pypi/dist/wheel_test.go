package dist_test

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"io"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"example.com/bailiwick/internal/pypi/dist"
	"example.com/bailiwick/internal/pypi/distmake"
)

const (
	wheelName = "foo-1.0-py3-none-any.whl"
	goodMeta  = "Metadata-Version: 2.1\nName: foo\nVersion: 1.0\n"
	goodWheel = "Wheel-Version: 1.0\nTag: py3-none-any\n"
	info      = "foo-1.0.dist-info/"
)

type member = distmake.Member

// wheelMembers are the members of a good wheel but for the metadata.
func wheelMembers(metadata string, further ...member) []member {
	members := append([]member{
		{Name: "foo.py", Data: []byte("pass\n")},
		{Name: info + "METADATA", Data: []byte(metadata)},
		{Name: info + "WHEEL", Data: []byte(goodWheel)},
	}, further...)
	return append(members, member{Name: info + "RECORD", Data: distmake.Record(members, info+"RECORD")})
}

// with is a good wheel with a further member.
func with(m member) []byte { return distmake.Zip(wheelMembers(goodMeta, m)...) }

// replace is a good wheel with other data for a member.
func replace(name, data string) []byte {
	members := wheelMembers(goodMeta)
	i := slices.IndexFunc(members, func(m member) bool { return m.Name == name })
	members[i].Data = []byte(data)
	return distmake.Zip(members...)
}

// remove is a good wheel that lacks a member.
func remove(name string) []byte {
	return distmake.Zip(slices.DeleteFunc(wheelMembers(goodMeta), func(m member) bool { return m.Name == name })...)
}

// patch changes bytes at the n-th place where a record of that signature
// begins: "PK\x03\x04" is a local header, "PK\x01\x02" a directory entry,
// "PK\x05\x06" the end.
func patch(data []byte, signature string, n, at int, with ...byte) []byte {
	data = slices.Clone(data)
	i := 0
	for range n {
		i += bytes.Index(data[i:], []byte(signature)) + 1
	}
	i += bytes.Index(data[i:], []byte(signature))
	copy(data[i+at:], with)
	return data
}

// hidden is a wheel with a member that its directory does not list.
func hidden() []byte {
	data := with(member{Name: "evil.py", Data: []byte("import os\n")})
	central := bytes.Index(data, []byte("PK\x01\x02"))
	entry := central + bytes.Index(data[central:], []byte("evil.py")) - 46
	length := 46 + len("evil.py") + int(binary.LittleEndian.Uint16(data[entry+30:]))
	data = slices.Delete(data, entry, entry+length)
	end := bytes.Index(data, []byte("PK\x05\x06"))
	le := binary.LittleEndian
	le.PutUint16(data[end+8:], le.Uint16(data[end+8:])-1)
	le.PutUint16(data[end+10:], le.Uint16(data[end+10:])-1)
	le.PutUint32(data[end+12:], le.Uint32(data[end+12:])-uint32(length))
	return data
}

// streamed is a wheel as a writer makes it that can not seek.
func streamed(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, m := range wheelMembers(goodMeta) {
		f, err := w.Create(m.Name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write(m.Data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func edited(edit func(*zip.FileHeader)) []byte {
	return with(member{Name: "x.bin", Data: []byte("some bytes"), Edit: edit})
}

const (
	local   = "PK\x03\x04"
	central = "PK\x01\x02"
	ending  = "PK\x05\x06"
)

func TestHostileZips(t *testing.T) {
	good := distmake.Zip(wheelMembers(goodMeta)...)
	if _, err := check(t, wheelName, good); err != nil {
		t.Fatalf("the wheel that the cases vary is refused: %v", err)
	}
	for _, test := range []struct {
		name string
		data []byte
		rule dist.Rule
	}{
		{"empty", nil, dist.RuleFraming},
		{"no zip", []byte(strings.Repeat("x", 100)), dist.RuleFraming},
		{"no members", distmake.Zip(), dist.RuleFraming},
		{"bytes after", append(slices.Clone(good), 0), dist.RuleFraming},
		{"archive comment", append(patch(good, ending, 0, 20, 1, 0), 'x'), dist.RuleFraming},
		{"bytes before", append([]byte("#!/bin/sh\n"), good...), dist.RuleFraming},
		{"cut short", good[:len(good)-1], dist.RuleFraming},
		{"hidden member", hidden(), dist.RuleFraming},
		{"two archives", append(slices.Clone(good), good...), dist.RuleFraming},
		{"sizes after the data", streamed(t), dist.RuleFraming},
		{"several disks", patch(good, ending, 0, 4, 1), dist.RuleFraming},
		{"fewer members than there are", patch(good, ending, 0, 8, 3, 0, 3, 0), dist.RuleFraming},
		{"more members than there are", patch(good, ending, 0, 8, 5, 0, 5, 0), dist.RuleFraming},
		{"64-bit count", patch(good, ending, 0, 8, 255, 255, 255, 255), dist.RuleCount},
		{"directory elsewhere", patch(good, ending, 0, 16, 0, 0, 0, 0), dist.RuleFraming},
		{"directory no directory", patch(good, central, 0, 0, 'Q'), dist.RuleFraming},
		{"entry longer than the directory", patch(good, central, 3, 28, 255, 255), dist.RuleFraming},
		{"other name in the local header", patch(good, local, 0, 30, 'b'), dist.RuleFraming},
		{"longer name in the local header", patch(good, local, 0, 26, 7), dist.RuleFraming},
		{"no local header", patch(good, local, 1, 0, 'Q'), dist.RuleFraming},
		{"other size in the local header", patch(good, local, 0, 22, 9), dist.RuleFraming},
		{"other checksum in the local header", patch(good, local, 0, 14, 1, 2, 3, 4), dist.RuleFraming},
		{"other method in the local header", patch(good, local, 0, 8, 0), dist.RuleFraming},
		{"other flags in the local header", patch(good, local, 0, 6, 2), dist.RuleFraming},
		{"extra field beyond the directory", patch(good, local, 3, 28, 255, 255), dist.RuleFraming},
		{"overlap", patch(good, central, 1, 42, 0, 0, 0, 0), dist.RuleFraming},
		{"gap", patch(good, central, 0, 42, 1, 0, 0, 0), dist.RuleFraming},
		{"encrypted", edited(func(h *zip.FileHeader) { h.Flags |= 1 }), dist.RuleMember},
		{"strange flag", edited(func(h *zip.FileHeader) { h.Flags |= 1 << 5 }), dist.RuleFraming},
		{"member comment", edited(func(h *zip.FileHeader) { h.Comment = "x" }), dist.RuleFraming},
		{"broken extra field", edited(func(h *zip.FileHeader) { h.Extra = []byte{1, 2, 9, 0} }), dist.RuleFraming},
		{"second name", edited(func(h *zip.FileHeader) { h.Extra = []byte{0x75, 0x70, 0, 0} }), dist.RuleFraming},
		{"64-bit sizes", patch(good, central, 0, 24, 255, 255, 255, 255), dist.RuleSize},
		{"stored with two sizes", edited(func(h *zip.FileHeader) { h.Method = zip.Store }), dist.RuleFraming},
		{"bzip2", edited(func(h *zip.FileHeader) { h.Method = 12 }), dist.RuleMethod},
		{"symbolic link", edited(func(h *zip.FileHeader) { h.SetMode(fs.ModeSymlink | 0o777) }), dist.RuleMember},
		{"device", edited(func(h *zip.FileHeader) { h.SetMode(fs.ModeDevice) }), dist.RuleMember},
		{"twice", with(member{Name: "foo.py"}), dist.RuleDuplicate},
		{"file and directory", with(member{Name: "foo.py/"}), dist.RuleDuplicate},
		{"directory with data", with(member{Name: "d/", Edit: func(h *zip.FileHeader) { h.UncompressedSize64 = 5 }}), dist.RuleFraming},
		{"up", with(member{Name: "../evil.py"}), dist.RulePath},
		{"up inside", with(member{Name: "a/../../evil.py"}), dist.RulePath},
		{"absolute", with(member{Name: "/evil.py"}), dist.RulePath},
		{"only a slash", with(member{Name: "/"}), dist.RulePath},
		{"no name", with(member{Name: ""}), dist.RulePath},
		{"double slash", with(member{Name: "a//b"}), dist.RulePath},
		{"dot", with(member{Name: "./a"}), dist.RulePath},
		{"drive", with(member{Name: "C:evil.py"}), dist.RulePath},
		{"backslash", with(member{Name: `..\evil.py`}), dist.RulePath},
		{"NUL", with(member{Name: "a.py\x00.txt"}), dist.RulePath},
		{"line break", with(member{Name: "a\nb"}), dist.RulePath},
		{"not UTF-8", with(member{Name: "a\xff"}), dist.RulePath},
		{"unmarked letters", with(member{Name: "é", Edit: func(h *zip.FileHeader) { h.Flags = 0; h.NonUTF8 = true }}), dist.RulePath},
		{"long name", with(member{Name: strings.Repeat("x", 5000)}), dist.RulePath},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := check(t, wheelName, test.data)
			wantRule(t, err, test.rule)
		})
	}
}

// TestDamagedMetadata lets the headers agree, but not with the data.
func TestDamagedMetadata(t *testing.T) {
	for name, edit := range map[string]func(*zip.FileHeader){
		"checksum":  func(h *zip.FileHeader) { h.CRC32++ },
		"longer":    func(h *zip.FileHeader) { h.UncompressedSize64++ },
		"shorter":   func(h *zip.FileHeader) { h.UncompressedSize64-- },
		"no stream": func(h *zip.FileHeader) { h.Method = zip.Deflate },
	} {
		members := wheelMembers(goodMeta)
		members[1].Edit, members[1].Store = edit, name == "no stream"
		_, err := check(t, wheelName, distmake.Zip(members...))
		t.Run(name, func(t *testing.T) { wantRule(t, err, dist.RuleFraming) })
	}
}

// TestBytesAfterTheStream hides bytes between the end of a compressed stream
// and the end of its member.
func TestBytesAfterTheStream(t *testing.T) {
	good := distmake.Zip(wheelMembers(goodMeta)...)
	z, err := zip.NewReader(bytes.NewReader(good), int64(len(good)))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, f := range z.File {
		raw, err := f.OpenRaw()
		if err != nil {
			t.Fatal(err)
		}
		packed, err := io.ReadAll(raw)
		if err != nil {
			t.Fatal(err)
		}
		packed = append(packed, "hidden"...)
		f.CompressedSize64 = uint64(len(packed))
		out, err := w.CreateRaw(&f.FileHeader)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := out.Write(packed); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = check(t, wheelName, b.Bytes())
	wantRule(t, err, dist.RuleFraming)
}

// TestReserved64BitSizes takes what Python's zipfile writes when it does not
// know a size beforehand: the room for 64-bit sizes in the local header only.
func TestReserved64BitSizes(t *testing.T) {
	build := func(size uint64) []byte {
		members := wheelMembers(goodMeta, member{Name: "x.bin", Data: []byte("12345"), Store: true})
		extra := binary.LittleEndian.AppendUint16(nil, 1)
		extra = binary.LittleEndian.AppendUint16(extra, 16)
		extra = binary.LittleEndian.AppendUint64(extra, size)
		extra = binary.LittleEndian.AppendUint64(extra, 5)
		members[3].Edit = func(h *zip.FileHeader) { h.Extra = extra }
		data := distmake.Zip(members...)
		data = patch(data, local, 3, 18, 255, 255, 255, 255, 255, 255, 255, 255)
		// The directory's copy of the field becomes one of another, harmless kind.
		return patch(data, central, 3, 46+len("x.bin"), 0x99, 0x99)
	}
	if _, err := check(t, wheelName, build(5)); err != nil {
		t.Errorf("reserved room is refused: %v", err)
	}
	_, err := check(t, wheelName, build(6))
	wantRule(t, err, dist.RuleFraming)
	_, err = check(t, wheelName, with(member{Name: "x", Edit: func(h *zip.FileHeader) { h.Extra = []byte{1, 0, 0, 0} }}))
	wantRule(t, err, dist.RuleFraming)
}

func TestBadWheels(t *testing.T) {
	record := string(distmake.Record(wheelMembers(goodMeta)[:3], info+"RECORD"))
	meta := func(metadata string) []byte { return distmake.Zip(wheelMembers(metadata)...) }
	for _, test := range []struct {
		name string
		data []byte
		rule dist.Rule
	}{
		{"no dist-info", distmake.Zip(member{Name: "foo.py"}), dist.RuleDistInfo},
		{"dist-info is a file", distmake.Zip(member{Name: "foo-1.0.dist-info"}), dist.RuleDistInfo},
		{"two dist-info", with(member{Name: "bar-1.0.dist-info/METADATA"}), dist.RuleDistInfo},
		{"dist-info without version", distmake.Zip(member{Name: "foo.dist-info/METADATA"}), dist.RuleDistInfo},
		{"dist-info of no name", distmake.Zip(member{Name: ".dist-info/METADATA"}), dist.RuleDistInfo},
		{"no METADATA", remove(info + "METADATA"), dist.RuleMissing},
		{"no WHEEL", remove(info + "WHEEL"), dist.RuleMissing},
		{"no RECORD", remove(info + "RECORD"), dist.RuleMissing},
		{"METADATA is a directory", distmake.Zip(member{Name: info + "METADATA/"}), dist.RuleMissing},
		{"other name", meta("Metadata-Version: 2.1\nName: bar\nVersion: 1.0\n"), dist.RuleIdentity},
		{"other version", meta("Metadata-Version: 2.1\nName: foo\nVersion: 1.1\n"), dist.RuleIdentity},
		{"bad name", meta("Metadata-Version: 2.1\nName: f/o\nVersion: 1.0\n"), dist.RuleMetadata},
		{"bad version", meta("Metadata-Version: 2.1\nName: foo\nVersion: one\n"), dist.RuleMetadata},
		{"bad Requires-Python", meta(goodMeta + "Requires-Python: 3\n"), dist.RuleMetadata},
		{"unreadable metadata", meta("foo"), dist.RuleMetadata},
		{"requires an address", meta(goodMeta + "Requires-Dist: bar @ https://files.example.com/bar.whl\n"), dist.RuleMetadata},
		{"requires a repository", meta(goodMeta + "Requires-Dist: baz>1\nrequires-dist: bar[a, b]@git+ssh://git@example.com/bar\n"), dist.RuleMetadata},
		{"requires an address for an extra", meta(goodMeta + "Requires-Dist: bar\n  @ file:///bar.whl ; extra == 'x'\n"), dist.RuleMetadata},
		{"no Wheel-Version", replace(info+"WHEEL", "Tag: x\n"), dist.RuleWheelFile},
		{"Wheel-Version 2", replace(info+"WHEEL", "Wheel-Version: 2.0\nTag: x\n"), dist.RuleWheelFile},
		{"no Tag", replace(info+"WHEEL", "Wheel-Version: 1.0\n"), dist.RuleWheelFile},
		{"unreadable WHEEL", replace(info+"WHEEL", "Wheel-Version"), dist.RuleWheelFile},
		{"RECORD empty", replace(info+"RECORD", ""), dist.RuleRecord},
		{"RECORD no CSV", replace(info+"RECORD", "\""), dist.RuleRecord},
		{"RECORD with two columns", replace(info+"RECORD", "a,b\n"), dist.RuleRecord},
		{"RECORD lists a member twice", replace(info+"RECORD", record+"foo.py,sha256=x,\n"), dist.RuleRecord},
		{"RECORD lists what is not there", replace(info+"RECORD", record+"bar.py,sha256=x,\n"), dist.RuleRecord},
		{"RECORD without hash", replace(info+"RECORD", strings.Replace(record, "sha256=", "=", 1)), dist.RuleRecord},
		{"RECORD with md5", replace(info+"RECORD", strings.Replace(record, "sha256=", "md5=", 1)), dist.RuleRecord},
		{"RECORD with another size", replace(info+"RECORD", strings.Replace(record, ",5\n", ",6\n", 1)), dist.RuleRecord},
		{"RECORD lacks a member", replace(info+"RECORD", record[strings.Index(record, "\n")+1:]), dist.RuleRecord},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := check(t, wheelName, test.data)
			wantRule(t, err, test.rule)
		})
	}
}

func TestRecordLeniency(t *testing.T) {
	record := string(distmake.Record(wheelMembers(goodMeta)[:3], info+"RECORD"))
	for name, data := range map[string][]byte{
		"no size":              replace(info+"RECORD", strings.Replace(record, ",5\n", ",\n", 1)),
		"does not list itself": replace(info+"RECORD", strings.Replace(record, info+"RECORD,,\n", "", 1)),
		"carriage returns":     replace(info+"RECORD", strings.ReplaceAll(record, "\n", "\r\n")),
		"directories":          with(member{Name: "d/"}),
		"signature":            distmake.Zip(append(wheelMembers(goodMeta), member{Name: info + "RECORD.jws", Data: []byte("{}")})...),
	} {
		if _, err := check(t, wheelName, data); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestZipLimits(t *testing.T) {
	f := distmake.Wheel("foo", "1.0", distmake.Options{Files: map[string]string{"zeros": strings.Repeat("\x00", 100_000)}})
	limits := func(edit func(*dist.Limits)) error {
		l := dist.DefaultLimits()
		edit(&l)
		_, err := l.Check(mustFilename(t, f.Name), bytes.NewReader(f.Data), int64(len(f.Data)))
		return err
	}
	if err := limits(func(l *dist.Limits) {}); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		edit func(*dist.Limits)
		rule dist.Rule
	}{
		"members":   {func(l *dist.Limits) { l.Members = 4 }, dist.RuleCount},
		"directory": {func(l *dist.Limits) { l.Directory = 100 }, dist.RuleSize},
		"metadata":  {func(l *dist.Limits) { l.Metadata = 20 }, dist.RuleSize},
		"record":    {func(l *dist.Limits) { l.Record = 20 }, dist.RuleSize},
		"unpacked":  {func(l *dist.Limits) { l.Unpacked = 100_000 }, dist.RuleSize},
		"ratio":     {func(l *dist.Limits) { l.RatioFrom = 50_000 }, dist.RuleRatio},
	} {
		t.Run(name, func(t *testing.T) { wantRule(t, limits(test.edit), test.rule) })
	}
	if err := limits(func(l *dist.Limits) { l.Members = 5 }); err != nil {
		t.Errorf("as many members as allowed: %v", err)
	}
}

// FuzzWheel checks that what is admitted reads the same with another reader.
func FuzzWheel(f *testing.F) {
	f.Add(distmake.Zip(wheelMembers(goodMeta)...))
	f.Add(with(member{Name: "d/"}))
	f.Add(hidden())
	f.Add(edited(func(h *zip.FileHeader) { h.Extra = []byte{1, 0, 0, 0} }))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := check(t, wheelName, data)
		if err != nil {
			wantAnyRule(t, err)
			return
		}
		z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			t.Fatalf("archive/zip refuses it: %v", err)
		}
		if len(z.File) != got.Members {
			t.Errorf("archive/zip finds %d members, not %d", len(z.File), got.Members)
		}
		found := false
		for _, file := range z.File {
			if !strings.HasSuffix(file.Name, ".dist-info/METADATA") || strings.Count(file.Name, "/") != 1 {
				continue
			}
			r, err := file.Open()
			if err != nil {
				t.Fatal(err)
			}
			data, err := io.ReadAll(r)
			found = err == nil && bytes.Equal(data, got.CoreMetadata)
		}
		if !found {
			t.Error("archive/zip finds other metadata")
		}
	})
}
