// Package durable writes files so that they survive a crash and a power cut, and keeps two servers
// out of one folder. It is the only place of Bailiwick that decides which system calls make a file
// safe; everything else calls it.
//
// What holds for every function here:
//
//   - A file is never seen half written under its name: it is written under a temporary name in
//     the same folder, synced, and only then renamed or linked.
//   - On success the content and the name are on the disk: the file is synced before it gets its
//     name, the folder after.
//   - Nothing leaves the folder given: paths are resolved by [os.Root], which refuses "..", and
//     symbolic links that point outside.
//   - A failed sync is never tried again. After one, the kernel may have dropped the unwritten
//     pages and a second sync would report success; the temporary file is thrown away instead.
//   - On an error before the last step, the folder is as before. If only the last step fails, the
//     sync of the folder, then the new name is visible but may be lost in a power cut; callers
//     treat that as a failure and may repeat the call.
//
// What remains unsafe: a temporary file, named ".tmp-" and random letters, can survive a crash of
// the process; it holds no name that anyone reads. Disks that lie about a flush are not detected.
//
// All functions may be called concurrently. Two concurrent calls for the same name end with one
// of the two contents, whole.
package durable

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"runtime"
	"syscall"
)

// ErrNoSpace is wrapped by errors that come from a full disk or an exhausted quota. Nothing that
// was there before is lost; the caller may try again when there is space.
var ErrNoSpace = errors.New("no space left on the disk: free some and try again")

// ErrReadOnly is wrapped by errors that come from a disk that is mounted read-only, by its owner or by a system that found it damaged.
var ErrReadOnly = errors.New("the disk is read-only: mount it for writing, or choose a place on another one")

// tempPrefix starts the name of every temporary file.
const tempPrefix = ".tmp-"

// Create writes a new file atomically and durably. It refuses to replace anything: the error is
// [fs.ErrExist] if name is there, even as a broken link. perm is the mode of the file, before the
// umask; name is relative to dir and uses slashes.
//
// On a file system without hard links (FAT, as on many USB sticks) the last step is a look and a
// rename instead; there, and only there, a rival that takes the name in between is replaced.
//
// System calls: openat(O_CREAT|O_EXCL, temporary name), write, fsync, close, linkat(name),
// unlinkat(temporary name), openat(folder), fsync, close.
func Create(dir *os.Root, name string, data []byte, perm fs.FileMode) error {
	return store(rooted{dir}, name, data, perm, nameNew)
}

// Replace writes a file atomically and durably, whether or not it was there before. A reader that
// opens name at any moment finds the whole old content or the whole new one.
//
// System calls: openat(O_CREAT|O_EXCL, temporary name), write, fsync, close, renameat(name),
// openat(folder), fsync, close.
func Replace(dir *os.Root, name string, data []byte, perm fs.FileMode) error {
	return store(rooted{dir}, name, data, perm, folder.rename)
}

// MoveNew gives a file that is written and synced its final name, atomically and durably, unless
// something has that name: then the error is [fs.ErrExist] and from stays. Both names are relative
// to dir, and may lie in different folders of it. The caller has synced the content; that it no
// longer has the name from is not made durable.
//
// System calls: linkat(to), unlinkat(from), openat(folder of to), fsync, close.
func MoveNew(dir *os.Root, from, to string) error {
	r := rooted{dir}
	if err := nameNew(r, from, to); err != nil {
		return Explain("naming", path.Join(dir.Name(), to), err)
	}
	_ = r.remove(from) // gone already where a rename did it; a second name harms nobody
	if err := r.syncDir(path.Dir(to)); err != nil {
		return Explain("syncing the folder of", path.Join(dir.Name(), to), err)
	}
	return nil
}

// Mkdir makes a folder durably. The error is [fs.ErrExist] if name is there.
//
// System calls: mkdirat, openat(parent), fsync, close.
func Mkdir(dir *os.Root, name string, perm fs.FileMode) error {
	if err := dir.Mkdir(name, perm); err != nil {
		return Explain("making the folder", path.Join(dir.Name(), name), err)
	}
	return SyncDir(dir, path.Dir(name))
}

// SyncDir makes the names in a folder durable; "." is dir itself. Windows can not sync a folder
// and keeps its names in a journal of its own, so there it does nothing.
//
// System calls: openat(folder), fsync, close.
func SyncDir(dir *os.Root, name string) error {
	if err := (rooted{dir}).syncDir(name); err != nil {
		return Explain("syncing the folder", path.Join(dir.Name(), name), err)
	}
	return nil
}

// NoSpace reports whether err comes from a full disk, an exhausted quota, or the limit that the
// system sets on the size of a file.
func NoSpace(err error) bool {
	return errors.Is(err, ErrNoSpace) || errors.Is(err, syscall.ENOSPC) ||
		errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG)
}

// folder is what [store] asks of a folder, one method for each system call that can fail. Tests
// put one between that fails at a chosen call.
type folder interface {
	create(name string, perm fs.FileMode) (file, error)
	rename(from, to string) error
	link(from, to string) error // fs.ErrExist if to is there
	lstat(name string) error    // fs.ErrNotExist if nothing is there
	remove(name string) error
	syncDir(name string) error
	name() string
}

// file is an open temporary file.
type file interface {
	Write(p []byte) (int, error)
	Sync() error
	Close() error
}

// rooted is the folder of production: an os.Root.
type rooted struct{ root *os.Root }

func (r rooted) create(name string, perm fs.FileMode) (file, error) {
	return r.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
}

func (r rooted) rename(from, to string) error { return r.root.Rename(from, to) }
func (r rooted) link(from, to string) error   { return r.root.Link(from, to) }
func (r rooted) remove(name string) error     { return r.root.Remove(name) }
func (r rooted) name() string                 { return r.root.Name() }

func (r rooted) lstat(name string) error {
	_, err := r.root.Lstat(name)
	return err
}

func (r rooted) syncDir(name string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := r.root.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// store writes data under a temporary name beside name and gives it its name with publish.
func store(dir folder, name string, data []byte, perm fs.FileMode, publish func(dir folder, from, to string) error) error {
	parent := path.Dir(name)
	temp := path.Join(parent, tempPrefix+rand.Text())
	if err := writeSynced(dir, temp, data, perm); err != nil {
		return Explain("writing", path.Join(dir.name(), name), err)
	}
	err := publish(dir, temp, name)
	// After a rename the temporary name is gone; after a link, or a failure, it must go. That it
	// stays behind harms nobody, so the outcome of the removal is not the outcome of the call.
	_ = dir.remove(temp)
	if err != nil {
		return Explain("naming", path.Join(dir.name(), name), err)
	}
	if err := dir.syncDir(parent); err != nil {
		return Explain("syncing the folder of", path.Join(dir.name(), name), err)
	}
	return nil
}

// nameNew gives a file its name unless something has that name.
func nameNew(dir folder, from, to string) error {
	err := dir.link(from, to)
	if !errors.Is(err, fs.ErrPermission) && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	// Linux answers EPERM where the file system has no hard links. If the permission is really
	// missing, the rename fails for the same reason.
	switch err := dir.lstat(to); {
	case err == nil:
		return fs.ErrExist
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	return dir.rename(from, to)
}

// writeSynced writes and syncs a new file, or leaves nothing behind.
func writeSynced(dir folder, temp string, data []byte, perm fs.FileMode) error {
	f, err := dir.create(temp, perm)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		_ = dir.remove(temp) // best effort: the cause is err
	}
	return err
}

// Explain says what was being done to which file when err came up, with a lack of space marked by [ErrNoSpace] and a disk that takes
// nothing by [ErrReadOnly].
func Explain(doing, file string, err error) error {
	switch {
	case errors.Is(err, ErrNoSpace), errors.Is(err, ErrReadOnly): // marked before
	case NoSpace(err):
		return fmt.Errorf("%s %s: %w (%w)", doing, file, ErrNoSpace, err)
	case errors.Is(err, syscall.EROFS):
		return fmt.Errorf("%s %s: %w (%w)", doing, file, ErrReadOnly, err)
	}
	return fmt.Errorf("%s %s: %w", doing, file, err)
}
