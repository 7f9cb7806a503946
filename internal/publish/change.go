package publish

import (
	"context"
	"fmt"
	"time"

	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/tuf"
)

// Change is what a [Publisher] is asked to publish: an [AddFile], a [Yank] or a [Delete] of a project
// that the registry key signs, a [Restore] of one, a [Sign] by maintainers, or what operators decide. The set is closed.
type Change interface {
	// target names the project that the change is about.
	target() pypi.Project
	// check refuses what could never be published, before it waits in the queue.
	check() error
}

// listChange edits the file list of a project that the registry key signs.
type listChange interface {
	Change
	// apply edits the list. It returns whether anything changed, or why the change is refused;
	// after an error the list must be as it was.
	apply(ctx context.Context, at time.Time, list *fileList) (bool, error)
}

// Bounds of a change, all far above what honest use needs.
const (
	maxFileSize = 1 << 40 // bytes
	maxText     = 1024    // bytes of a version, a specifier, a reason, an uploader
	maxFiles    = 10_000  // file names in one Yank or Delete
)

// AddFile publishes one file, whose bytes are kept and checked already. Its File.Uploaded is set
// by the publisher. A file of the same name and bytes that is listed already is success without
// a change; any other earlier use of the name is ErrFileExists.
type AddFile struct {
	File File
}

// Yank marks files of a project as yanked, or takes the mark away. Yanked files stay listed and
// installable for whoever names them exactly.
type Yank struct {
	Project pypi.Project
	Files   []pypi.Filename
	Reason  *string // nil: no longer yanked; empty: yanked without a reason
}

// Delete takes files off a project's list for ever. Their names are never used again.
type Delete struct {
	Project pypi.Project
	Files   []pypi.Filename
}

func (c AddFile) target() pypi.Project { return c.File.Project }
func (c Yank) target() pypi.Project    { return c.Project }
func (c Delete) target() pypi.Project  { return c.Project }

func (c AddFile) check() error { return c.File.check() }

func (f File) check() error {
	switch {
	case f.Project.IsZero() || f.Filename.IsZero():
		return fmt.Errorf("adding a file: it has no project or no name: %w", ErrInvalid)
	case f.Filename.Project() != f.Project:
		return fmt.Errorf("adding %s: it is no file of the project %s: %w", f.Filename, f.Project, ErrInvalid)
	case f.Size < 0 || f.Size > maxFileSize:
		return fmt.Errorf("adding %s: a size of %d bytes is out of range: %w", f.Filename, f.Size, ErrInvalid)
	case len(f.Version) == 0 || len(f.Version) > maxText || len(f.RequiresPython) > maxText || len(f.Uploader) > maxText:
		return fmt.Errorf("adding %s: its version, requires-python or uploader is empty or longer than %d bytes: %w", f.Filename, maxText, ErrInvalid)
	}
	return nil
}

func (c Yank) check() error {
	if c.Reason != nil && len(*c.Reason) > maxText {
		return fmt.Errorf("yanking files of %s: the reason is longer than %d bytes: %w", c.Project, maxText, ErrInvalid)
	}
	return checkNames("yanking", c.Project, c.Files)
}

func (c Delete) check() error { return checkNames("deleting", c.Project, c.Files) }

func checkNames(doing string, p pypi.Project, names []pypi.Filename) error {
	if p.IsZero() || len(names) == 0 || len(names) > maxFiles {
		return fmt.Errorf("%s files of %q: name a project and between 1 and %d files: %w", doing, p, maxFiles, ErrInvalid)
	}
	for _, name := range names {
		if name.Project() != p {
			return fmt.Errorf("%s %s: it is no file of the project %s: %w", doing, name, p, ErrInvalid)
		}
	}
	return nil
}

func (c AddFile) apply(ctx context.Context, at time.Time, list *fileList) (bool, error) {
	f := c.File
	f.Uploaded = at
	path := list.layout.Path(f.Project, f.Filename)
	if t, listed := list.lookup(path); listed {
		if sum, ok := t.Hashes.SHA256(); ok && sum == f.SHA256 && t.Length == f.Size {
			return false, nil
		}
		return false, fmt.Errorf("%s was published with other bytes: %w", f.Filename, ErrFileExists)
	}
	if err := list.claimName(ctx, f.Filename); err != nil {
		return false, err
	}
	if f.Filename.Kind() == pypi.Sdist {
		if other, ok := list.sdistOf(f.Filename.Version()); ok {
			return false, fmt.Errorf("%s: version %s has the source distribution %s: %w", f.Filename, f.Version, other, ErrSdistExists)
		}
	}
	t, err := f.Target(list.layout)
	if err != nil {
		return false, err
	}
	list.put(t)
	list.use(f)
	return true, nil
}

// Target returns the file as metadata lists it when it first appears.
func (f File) Target(l policy.Layout) (tuf.Target, error) {
	custom, err := policy.Custom{
		Version: f.Version, RequiresPython: f.RequiresPython, UploadTime: f.Uploaded, MetadataSHA256: f.MetadataSHA256,
	}.Encode()
	if err != nil {
		return tuf.Target{}, fmt.Errorf("describing %s: %w", f.Filename, err)
	}
	return tuf.Target{Path: l.Path(f.Project, f.Filename), Length: f.Size, Hashes: tuf.SHA256Hashes(f.SHA256), Custom: custom}, nil
}

func (c Yank) apply(_ context.Context, _ time.Time, list *fileList) (bool, error) {
	var changed []tuf.Target
	for _, name := range c.Files {
		t, ok := list.lookup(list.layout.Path(c.Project, name))
		if !ok {
			return false, fmt.Errorf("%s: %w", name, ErrNoFile)
		}
		custom, err := policy.DecodeCustom(t.Custom)
		if err != nil {
			return false, fmt.Errorf("reading what is signed about %s: %w", name, err)
		}
		if equalReason(custom.Yanked, c.Reason) {
			continue
		}
		custom.Yanked = c.Reason
		if t.Custom, err = custom.Encode(); err != nil {
			return false, fmt.Errorf("describing %s: %w", name, err)
		}
		changed = append(changed, t)
	}
	for _, t := range changed {
		list.put(t)
	}
	return len(changed) > 0, nil
}

func equalReason(a, b *string) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}

func (c Delete) apply(_ context.Context, _ time.Time, list *fileList) (bool, error) {
	for _, name := range c.Files {
		if _, ok := list.lookup(list.layout.Path(c.Project, name)); !ok {
			return false, fmt.Errorf("%s: %w", name, ErrNoFile)
		}
	}
	for _, name := range c.Files {
		list.remove(list.layout.Path(c.Project, name))
	}
	return true, nil
}
