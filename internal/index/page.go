package index

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/internal/pypi/dist"
	"example.com/bailiwick/internal/pypi/simple"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/trust"
)

// etagBytes is how much of a digest goes into an entity tag.
const etagBytes = 16

// projectList is the list of all projects as of one snapshot.
type projectList struct {
	snapshot *tuf.Snapshot
	names    []pypi.Project
	etag     string
}

// exists reports whether a project was ever published to.
func (x *Index) exists(p pypi.Project) bool {
	_, ok := x.publisher.Current().Set().Snapshot().Lookup(policy.ProjectRole(p))
	return ok
}

// Projects returns all projects, sorted by name, and a value that changes when the list does. Nobody
// may change the slice.
func (x *Index) Projects(context.Context) ([]pypi.Project, string, error) {
	snapshot := x.publisher.Current().Set().Snapshot()
	if l := x.projects.Load(); l != nil && l.snapshot == snapshot {
		return l.names, l.etag, nil
	}
	l := &projectList{snapshot: snapshot}
	for role := range snapshot.All() {
		if p, ok := policy.ProjectOf(role); ok {
			l.names = append(l.names, p)
		}
	}
	// The snapshot sorts by file name: "ant-hill.json" before "ant.json".
	slices.SortFunc(l.names, func(a, b pypi.Project) int { return strings.Compare(a.String(), b.String()) })
	h := sha256.New()
	for _, p := range l.names {
		fmt.Fprintln(h, p)
	}
	l.etag = hex.EncodeToString(h.Sum(nil)[:etagBytes])
	x.projects.Store(l)
	return l.names, l.etag, nil
}

// Project returns the page of a project, built from what is signed and nothing else, and a value
// that changes when the page does. The URLs of files are empty: whoever serves the page knows them.
// The refusal is NotFound if there is no such project.
func (x *Index) Project(ctx context.Context, p pypi.Project) (simple.Page, string, error) {
	found, _, err := x.publisher.Current().Project(ctx, p)
	switch {
	case errors.Is(err, trust.ErrNotFound):
		return simple.Page{}, "", refuse(NotFound, "there is no project %s here", p)
	case err != nil:
		return simple.Page{}, "", err
	}
	status, err := x.publisher.Current().Status(ctx, p)
	if err != nil {
		return simple.Page{}, "", fmt.Errorf("reading the status of %s: %w", p, err)
	}
	page := simple.Page{Name: p.String(), Status: status.Word, StatusReason: status.Reason, Files: make([]simple.File, 0, len(found))}
	h := sha256.New()
	if page.Status != "" {
		fmt.Fprintf(h, "%q %q\n", page.Status, page.StatusReason)
	}
	for _, f := range found {
		file, err := policy.File(f.Target)
		if err != nil {
			return simple.Page{}, "", fmt.Errorf("reading what is signed about %s: %w", f.Target.Path, err)
		}
		page.Files = append(page.Files, file)
		fmt.Fprintf(h, "%s %x %d %s\n", f.Target.Path, file.SHA256, f.Target.Length, f.Target.Custom)
	}
	return page, hex.EncodeToString(h.Sum(nil)[:etagBytes]), nil
}

// File is a published file, open for reading; the caller closes it.
type File struct {
	Blob
	SHA256   [32]byte
	Uploaded time.Time // zero if not known
}

// OpenFile opens a file that its project lists. The refusal is NotFound if it is not listed.
func (x *Index) OpenFile(ctx context.Context, p pypi.Project, name pypi.Filename) (*File, error) {
	return x.open(ctx, x.publisher.Current().Layout().Path(p, name), nil, false)
}

// OpenMetadata opens the METADATA that is kept beside a file (PEP 658). The refusal is NotFound if
// the file is not listed or has none.
func (x *Index) OpenMetadata(ctx context.Context, p pypi.Project, name pypi.Filename) (*File, error) {
	return x.open(ctx, x.publisher.Current().Layout().Path(p, name), nil, true)
}

// metadataSuffix is what PEP 658 adds to the name of a file to name its METADATA.
const metadataSuffix = ".metadata"

// OpenTarget opens a file by the name under which TUF clients fetch it, with its SHA-256 before the
// file name: "3f/flask/HEX.flask-3.1.0-py3-none-any.whl"; with ".metadata" after it, the METADATA
// beside that file. The refusal is NotFound if nothing of that name and hash is listed.
func (x *Index) OpenTarget(ctx context.Context, name string) (*File, error) {
	absent := refuse(NotFound, "there is no file %q here", name)
	plain, metadata := strings.CutSuffix(name, metadataSuffix)
	slash := strings.LastIndexByte(plain, '/')
	digits, file, ok := strings.Cut(plain[slash+1:], ".")
	if slash < 0 || !ok || len(digits) != 2*sha256.Size {
		return nil, absent
	}
	var sum [sha256.Size]byte
	if n, err := hex.Decode(sum[:], []byte(digits)); err != nil || n != len(sum) || hex.EncodeToString(sum[:]) != digits {
		return nil, absent
	}
	path, err := tuf.ParseTargetPath(plain[:slash+1] + file)
	if err != nil {
		return nil, absent
	}
	if _, _, err := policy.ParsePath(path); err != nil {
		return nil, absent
	}
	return x.open(ctx, path, &sum, metadata)
}

// open finds a target as a client would, and opens its content, or the METADATA beside it.
func (x *Index) open(ctx context.Context, path tuf.TargetPath, want *[32]byte, metadata bool) (*File, error) {
	absent := refuse(NotFound, "there is no file %q here", path)
	project, _, err := policy.ParsePath(path)
	if err != nil || !x.exists(project) {
		return nil, absent
	}
	found, err := x.publisher.Current().Find(ctx, path)
	switch {
	case errors.Is(err, trust.ErrNotFound):
		return nil, absent
	case err != nil:
		return nil, fmt.Errorf("looking up %s: %w", path, err)
	}
	file, err := policy.File(found.Target)
	if err != nil {
		return nil, fmt.Errorf("reading what is signed about %s: %w", path, err)
	}
	if want != nil && *want != file.SHA256 {
		return nil, absent
	}
	if metadata && file.MetadataSHA256 == nil {
		return nil, absent
	}
	if metadata {
		data, err := x.openMetadata(ctx, file.SHA256, *file.MetadataSHA256)
		if err != nil {
			return nil, fmt.Errorf("reading METADATA of %s: %w", path, err)
		}
		return &File{Blob: data, SHA256: *file.MetadataSHA256, Uploaded: file.UploadTime}, nil
	}
	blob, err := x.files.Open(ctx, file.SHA256)
	if err != nil {
		return nil, fmt.Errorf("opening the content of %s: %w", path, err)
	}
	return &File{Blob: blob, SHA256: file.SHA256, Uploaded: file.UploadTime}, nil
}

// openMetadata opens METADATA with the hash want, which is kept beside the wheels once somebody has
// asked for it: to open the wheel for every request would let a few strangers fill the memory.
func (x *Index) openMetadata(ctx context.Context, wheel, want [32]byte) (Blob, error) {
	kept, err := x.files.Open(ctx, want)
	if !errors.Is(err, ErrNoBlob) {
		return kept, err //nolint:wrapcheck // the caller says what was opened
	}
	select {
	case x.unpack <- struct{}{}:
		defer func() { <-x.unpack }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	kept, err = x.files.Open(ctx, want) // another request may have been faster
	if !errors.Is(err, ErrNoBlob) {
		return kept, err //nolint:wrapcheck // see above
	}
	blob, err := x.files.Open(ctx, wheel)
	if err != nil {
		return nil, err //nolint:wrapcheck // see above
	}
	data, err := readMetadata(blob, want)
	if err != nil {
		return nil, err
	}
	if err := x.keepMetadata(ctx, data, want); err != nil {
		return inMemory{bytes.NewReader(data)}, nil // a full disk is no reason not to answer
	}
	return x.files.Open(ctx, want) //nolint:wrapcheck // see above
}

// keepMetadata puts METADATA into the file store, or leaves nothing behind.
func (x *Index) keepMetadata(ctx context.Context, data []byte, sum [32]byte) (err error) {
	staged, err := x.files.Stage(ctx)
	if err != nil {
		return err //nolint:wrapcheck // of no interest to the caller
	}
	if _, err = staged.Write(data); err == nil {
		err = staged.Keep(ctx, sum)
	}
	return errors.Join(err, staged.Discard())
}

// readMetadata takes METADATA out of a wheel, which it closes. It is what was signed, or an error.
func readMetadata(wheel Blob, want [32]byte) ([]byte, error) {
	data, err := dist.CoreMetadata(wheel, wheel.Size())
	if err = errors.Join(err, wheel.Close()); err != nil {
		return nil, err
	}
	if sha256.Sum256(data) != want {
		return nil, errors.New("the stored wheel does not hold the METADATA that was signed")
	}
	return data, nil
}

// inMemory is a Blob without a file.
type inMemory struct{ *bytes.Reader }

// Close implements Blob.
func (inMemory) Close() error { return nil }
