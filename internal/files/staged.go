package files

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"

	"example.com/bailiwick/internal/durable"
)

// errEnded: a staged file was used after Keep or Discard.
var errEnded = errors.New("the staged file was kept or discarded before")

// staged is content on its way into a [Folder].
type staged struct {
	folder *Folder
	name   string // in staging/
	file   *os.File
	failed error // of the first Write or sync that failed; the content is not to be kept
	ended  bool
}

// Write implements index.Staged.
func (s *staged) Write(p []byte) (int, error) {
	if s.ended {
		return 0, fmt.Errorf("writing a staged file: %w", errEnded)
	}
	n, err := s.file.Write(p)
	if err != nil {
		err = full("writing a staged file", err)
		s.failed = err
	}
	return n, err
}

// ReadAt implements index.Staged.
func (s *staged) ReadAt(p []byte, off int64) (int, error) {
	if s.ended {
		return 0, fmt.Errorf("reading a staged file: %w", errEnded)
	}
	return s.file.ReadAt(p, off)
}

// Keep implements index.Staged.
//
// System calls: fsync(file), linkat(staging → files/ab), unlinkat(staging), openat(files/ab),
// fsync, close, close(file). The kernel writes one journal for all folders, so 32 concurrent
// callers share its flushes without help from here.
func (s *staged) Keep(ctx context.Context, sum [32]byte) error {
	name := keptName(sum)
	switch {
	case s.ended:
		return fmt.Errorf("keeping %s: %w", name, errEnded)
	case s.failed != nil:
		return fmt.Errorf("keeping %s: %w", name, s.failed)
	case ctx.Err() != nil:
		return fmt.Errorf("keeping %s: %w", name, ctx.Err())
	}
	if err := s.file.Sync(); err != nil {
		s.failed = full("syncing a staged file", err) // a second sync would report success falsely
		return fmt.Errorf("keeping %s: %w", name, s.failed)
	}
	err := durable.MoveNew(s.folder.root, s.name, name)
	if errors.Is(err, fs.ErrExist) {
		err = s.keptBefore(name)
	}
	if err != nil {
		return full("keeping a file", err)
	}
	s.ended = true
	// The content is safe under its name. What is left to close is a descriptor.
	_ = s.file.Close()
	return nil
}

// keptBefore ends a Keep whose content is there already, perhaps since this moment: its name may
// not be synced yet by whoever gave it.
func (s *staged) keptBefore(name string) error {
	root := s.folder.root
	kept, err := root.Lstat(name)
	if err != nil {
		return err
	}
	mine, err := s.file.Stat()
	if err != nil {
		return err
	}
	if !kept.Mode().IsRegular() || kept.Size() != mine.Size() {
		return fmt.Errorf("%s has %d bytes where %d belong: %w", path.Join(root.Name(), name), kept.Size(), mine.Size(), ErrDamaged)
	}
	if err := durable.SyncDir(root, path.Dir(name)); err != nil {
		return err
	}
	// At worst it stays until the folder is opened the next time.
	_ = root.Remove(s.name)
	return nil
}

// Discard implements index.Staged.
func (s *staged) Discard() error {
	if s.ended {
		return nil
	}
	s.ended = true
	err := s.folder.root.Remove(s.name)
	if errors.Is(err, fs.ErrNotExist) { // a Keep that gave the name and then failed to sync it
		err = nil
	}
	if err = errors.Join(err, s.file.Close()); err != nil {
		return fmt.Errorf("discarding a staged file: %w", err)
	}
	return nil
}
