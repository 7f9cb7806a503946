package cli

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/internal/pypi/dist"
	"example.com/bailiwick/internal/server"
	"example.com/bailiwick/tuf"
)

// maxLocalFiles bounds one release.
const maxLocalFiles = 1000

// localFile is a distribution on this machine, checked by the rules of the index.
type localFile struct {
	path     string
	name     pypi.Filename
	size     int64
	sha256   [sha256.Size]byte
	metadata *[sha256.Size]byte // of the METADATA that is served beside the file; nil: none
	requires string             // requires-python
	core     string             // metadata version
}

// readFiles reads and checks the files of one release, all of one project.
func readFiles(paths []string) ([]*localFile, error) {
	if len(paths) > maxLocalFiles {
		return nil, usagef("%d files are too many for one release; publish at most %d at a time", len(paths), maxLocalFiles)
	}
	var files []*localFile
	for _, path := range paths {
		f, err := readLocal(path)
		if err != nil {
			return nil, err
		}
		for _, other := range files {
			switch {
			case other.name.Project() != f.name.Project():
				return nil, usagef("%s belongs to %s and %s to %s: publish one project at a time", other.path, other.name.Project(), path, f.name.Project())
			case other.name.String() == f.name.String():
				return nil, usagef("%s and %s are the same file name", other.path, path)
			}
		}
		files = append(files, f)
	}
	slices.SortFunc(files, func(a, b *localFile) int { return cmp.Compare(a.name.String(), b.name.String()) })
	return files, nil
}

func readLocal(path string) (*localFile, error) {
	in, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading a file to publish: %w", err)
	}
	defer func() { _ = in.Close() }() // was only read
	info, err := in.Stat()
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a file: name wheels and source distributions, such as dist/*", path)
	}
	name, checked, err := checkLocal(in, filepath.Base(path), info.Size())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	hash := sha256.New()
	n, err := io.Copy(hash, io.NewSectionReader(in, 0, info.Size()))
	if err != nil || n != info.Size() {
		return nil, fmt.Errorf("reading %s: %w", path, cmp.Or(err, io.ErrUnexpectedEOF))
	}
	f := &localFile{path: path, name: name, size: n, requires: checked.Metadata.RequiresPython, core: checked.Metadata.MetadataVersion}
	hash.Sum(f.sha256[:0])
	if checked.CoreMetadata != nil {
		sum := sha256.Sum256(checked.CoreMetadata)
		f.metadata = &sum
	}
	return f, nil
}

// checkLocal finds out whose file it is and checks it as the index will. The name of an old source
// distribution can be split in several ways; its own metadata says which is right.
func checkLocal(in io.ReaderAt, base string, size int64) (pypi.Filename, *dist.Info, error) {
	name, err := pypi.ParseFilename(base)
	if err == nil {
		info, err := dist.Check(name, in, size)
		return name, info, err //nolint:wrapcheck // the caller names the file
	}
	if !errors.Is(err, pypi.ErrAmbiguous) {
		return name, nil, err //nolint:wrapcheck // the caller names the file
	}
	for i := range base {
		if base[i] != '-' {
			continue
		}
		project, notProject := pypi.ParseProject(base[:i])
		if notProject != nil {
			continue
		}
		candidate, notName := pypi.ParseFilenameFor(project, base)
		if notName != nil {
			continue
		}
		info, notIt := dist.Check(candidate, in, size)
		if notIt == nil {
			return candidate, info, nil
		}
		err = notIt
	}
	return name, nil, err //nolint:wrapcheck // the caller names the file
}

// target is what the file's entry in signed metadata will be, given the time of its upload.
func (f *localFile) target(l policy.Layout, uploaded time.Time) (tuf.Target, error) {
	custom, err := policy.Custom{
		Version: f.name.Version().String(), RequiresPython: f.requires, UploadTime: uploaded, MetadataSHA256: f.metadata,
	}.Encode()
	if err != nil {
		return tuf.Target{}, fmt.Errorf("describing %s: %w", f.name, err)
	}
	return tuf.Target{Path: l.Path(f.name.Project(), f.name), Length: f.size, Hashes: tuf.SHA256Hashes(f.sha256), Custom: custom}, nil
}

// same compares the file with what the index says it received. A difference in anything that gets
// signed is the index's, or that of something on the way, and nothing is signed.
func (f *localFile) same(s *server.StagedAnswer) error {
	metadata := ""
	if f.metadata != nil {
		metadata = hex.EncodeToString(f.metadata[:])
	}
	for _, c := range []struct{ what, here, there string }{
		{"sha256", hex.EncodeToString(f.sha256[:]), s.SHA256},
		{"length", fmt.Sprint(f.size), fmt.Sprint(s.Size)},
		{"version", f.name.Version().String(), s.Version},
		{"requires-python", f.requires, s.RequiresPython},
		{"sha256 of METADATA", metadata, s.MetadataSHA256},
	} {
		if c.here != c.there {
			return exit(exitRefused, fmt.Errorf("the index says that it has other content staged as %s (%s here %s, there %s, uploaded with token %s): if that was not you, drop it with bailiwick sign %s --drop %s and find out who has that token",
				f.name, c.what, or(c.here, "none"), shown(or(c.there, "none")), shown(s.Uploader), f.name.Project(), f.name))
		}
	}
	return nil
}

func or(s, empty string) string {
	if s == "" {
		return empty
	}
	return s
}

// writeForm writes the upload form of twine, with the request to stage the file.
func (f *localFile) writeForm(form *multipart.Writer) error {
	filetype, python := "bdist_wheel", "py3"
	if tags, ok := f.name.Tags(); ok {
		python = strings.Join(tags.Python, ".")
	}
	if f.name.Kind() == pypi.Sdist {
		filetype, python = "sdist", "source"
	}
	fields := [][2]string{
		{":action", "file_upload"},
		{"protocol_version", "1"},
		{"metadata_version", f.core},
		{"name", f.name.Project().String()},
		{"version", f.name.Version().String()},
		{"filetype", filetype},
		{"pyversion", python},
		{"sha256_digest", hex.EncodeToString(f.sha256[:])},
		{"bailiwick_stage", "1"},
	}
	for _, field := range fields {
		if err := form.WriteField(field[0], field[1]); err != nil {
			return err //nolint:wrapcheck // ends up in the error of the request
		}
	}
	in, err := os.Open(f.path)
	if err != nil {
		return fmt.Errorf("reading %s again: %w", f.path, err)
	}
	defer func() { _ = in.Close() }() // was only read
	part, err := form.CreateFormFile("content", f.name.String())
	if err != nil {
		return err //nolint:wrapcheck // see above
	}
	if _, err := io.Copy(part, in); err != nil {
		return err //nolint:wrapcheck // see above
	}
	return form.Close() //nolint:wrapcheck // see above
}
