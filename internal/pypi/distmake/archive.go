package distmake

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"hash/crc32"
	"io/fs"
	"maps"
	"slices"
	"strings"
)

// Member is one member of an archive. A name that ends in "/" is a directory.
type Member struct {
	Name string
	Data []byte

	// Edit, when set, changes the zip header before it is written; what it does
	// goes to the directory and to the local header alike.
	Edit func(*zip.FileHeader)

	// EditTar, when set, changes the tar header before it is written.
	EditTar func(*tar.Header)

	// Store keeps the bytes of a zip member as they are.
	Store bool
}

// Zip builds a zip archive the way wheels are: sizes before the data, no
// comments, no times.
func Zip(members ...Member) []byte {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, m := range members {
		packed, method := m.Data, zip.Store
		if !m.Store && len(m.Data) > 0 {
			packed, method = deflate(m.Data), zip.Deflate
		}
		h := &zip.FileHeader{
			Name:               m.Name,
			Method:             method,
			CRC32:              crc32.ChecksumIEEE(m.Data),
			CompressedSize64:   uint64(len(packed)),
			UncompressedSize64: uint64(len(m.Data)),
			ModifiedDate:       1<<5 | 1, //nolint:staticcheck // 1980-01-01 without the extra field that Modified would add
		}
		if strings.ContainsFunc(m.Name, func(r rune) bool { return r > '~' }) {
			h.Flags |= 1 << 11
		}
		if strings.HasSuffix(m.Name, "/") {
			h.SetMode(fs.ModeDir | 0o755)
		} else {
			h.SetMode(0o644)
		}
		if m.Edit != nil {
			m.Edit(h)
		}
		body, err := w.CreateRaw(h)
		mustBuild(err)
		_, err = body.Write(packed)
		mustBuild(err)
	}
	mustBuild(w.Close())
	return b.Bytes()
}

func deflate(data []byte) []byte {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.DefaultCompression)
	mustBuild(err)
	_, err = w.Write(data)
	mustBuild(err)
	mustBuild(w.Close())
	return b.Bytes()
}

// Tar builds a tar archive.
func Tar(members ...Member) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, m := range members {
		h := &tar.Header{Name: m.Name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(m.Data))}
		if strings.HasSuffix(m.Name, "/") {
			h.Typeflag, h.Mode = tar.TypeDir, 0o755
		}
		if m.EditTar != nil {
			m.EditTar(h)
		}
		mustBuild(w.WriteHeader(h))
		_, err := w.Write(m.Data)
		mustBuild(err)
	}
	mustBuild(w.Close())
	return b.Bytes()
}

// TarGz builds a .tar.gz archive.
func TarGz(members ...Member) []byte { return Gzip(Tar(members...)) }

// Gzip compresses data into one gzip stream.
func Gzip(data []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := w.Write(data)
	mustBuild(err)
	mustBuild(w.Close())
	return b.Bytes()
}

// mustBuild stops a test that asked for an archive which the writer refuses;
// writing to memory does not fail otherwise.
func mustBuild(err error) {
	if err != nil {
		panic("distmake: " + err.Error())
	}
}

func sortedKeys(m map[string]string) []string {
	return slices.Sorted(maps.Keys(m))
}
