package client

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// FolderConfig says where and how a Folder keeps its files. Only Path is needed.
type FolderConfig struct {
	Path     string        // made with mode 0700 if it is not there
	LockWait time.Duration // longest wait for another process; 0: one minute
	MaxBytes int64         // bound on the files of delegated roles together; 0: 256 MiB
}

// Folder is a Store in a folder that processes may share.
//
//	root.json timestamp.json snapshot.json targets.json   what is trusted
//	project.flask.json …                                   cache of delegated roles
//	roots/7.root.json …                                    the chain from the anchor
//	tmp/                                                   writes under way; emptied when opened
//	lock                                                   who refreshes
//
// Nothing is ever written in place: a file is made in tmp, synced, renamed, and
// the folder synced, so that a kill or a power cut leaves the old or the new
// bytes, and what Save has returned for stays. Files of the cache are not synced:
// torn ones do not verify and are fetched again. Symbolic links are neither followed nor written through, and
// no name leads out of the folder.
type Folder struct {
	path     string
	lockWait time.Duration
	max      int64
	top      *os.Root
	roots    *os.Root
	ops      fileOps
	turn     chan struct{} // holds one token while a goroutine here has the lock or waits for other processes

	mu     sync.Mutex // guards what follows
	cached int64      // estimate of the cache's bytes; corrected at each eviction
}

var _ Store = (*Folder)(nil)

// fileOps are the calls that can fail on a full or dying disk; tests replace them.
type fileOps struct {
	write   func(*os.File, []byte) error
	sync    func(*os.File) error
	rename  func(dir *os.Root, from, to string) error
	syncDir func(dir *os.Root) error
	remove  func(dir *os.Root, name string) error
}

// OpenFolder opens a folder, and makes it if it is not there. It refuses a
// folder into which everybody can write.
func OpenFolder(c FolderConfig) (*Folder, error) {
	f, err := openFolder(c)
	if err != nil {
		return nil, &StoreError{Op: "opening", Name: c.Path, Err: err}
	}
	return f, nil
}

func openFolder(c FolderConfig) (*Folder, error) {
	if c.Path == "" {
		return nil, errors.New("no path given")
	}
	if c.LockWait <= 0 {
		c.LockWait = time.Minute
	}
	if c.MaxBytes <= 0 {
		c.MaxBytes = 256 << 20
	}
	if err := makeFolder(c.Path); err != nil {
		return nil, err
	}
	top, err := os.OpenRoot(c.Path)
	if err != nil {
		return nil, err
	}
	f := &Folder{path: c.Path, lockWait: c.LockWait, max: c.MaxBytes, top: top, ops: realOps(), turn: make(chan struct{}, 1)}
	if err := f.prepare(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// makeFolder makes a folder and those above it, durably: what is synced in it must not get
// lost with it.
func makeFolder(name string) error {
	var made []string
	for dir, above := filepath.Clean(name), ""; dir != above; dir, above = filepath.Dir(dir), dir {
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
			break
		}
		made = append(made, dir)
	}
	if err := os.MkdirAll(name, 0o700); err != nil {
		return err
	}
	for _, dir := range made {
		parent, err := os.OpenRoot(filepath.Dir(dir))
		if err == nil {
			err = errors.Join(syncDir(parent), parent.Close())
		}
		if err != nil && !errors.Is(err, fs.ErrPermission) { // not everybody may read where they may write
			return err
		}
	}
	return nil
}

// prepare makes and checks the subfolders and removes what a killed process
// left in tmp. Should that be another's write under way, its Save starts over.
func (f *Folder) prepare() error {
	info, err := f.top.Stat(".")
	if err != nil {
		return err
	}
	if info.Mode().Perm()&0o002 != 0 {
		return fmt.Errorf("everybody can write into it (mode %#o): run chmod 700 on it, or name another folder", info.Mode().Perm())
	}
	for _, dir := range []string{"roots", "tmp"} {
		if err := f.top.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		info, err := f.top.Lstat(dir)
		if err != nil {
			return err
		}
		if !info.IsDir() {
			return fmt.Errorf("%s in it is not a folder: remove it", dir)
		}
	}
	if f.roots, err = f.top.OpenRoot("roots"); err != nil {
		return err
	}
	left, err := list(f.top, "tmp")
	if err != nil {
		return err
	}
	for _, e := range left {
		if err := f.top.Remove("tmp/" + e.Name()); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	_, total, err := f.cacheFiles()
	f.cached = total
	return err
}

// Close lets go of the folder. Later calls fail.
func (f *Folder) Close() error {
	err := f.top.Close()
	if f.roots != nil {
		err = errors.Join(err, f.roots.Close())
	}
	return err
}

// Load implements Store.
func (f *Folder) Load(name string) ([]byte, error) {
	data, err := f.load(name)
	if err != nil {
		return nil, &StoreError{Op: "loading", Name: path.Join(f.path, name), Err: err}
	}
	return data, nil
}

// errNotPlain is returned for a link, a folder, a pipe or a device under a file's name.
var errNotPlain = errors.New("not a plain file: remove it")

// maxFile bounds what Load reads; no limit of a role is larger by default.
const maxFile = 256 << 20

func (f *Folder) load(name string) (_ []byte, err error) {
	if !isStoredName(name) {
		return nil, fs.ErrInvalid
	}
	before, err := f.top.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !before.Mode().IsRegular() { // asked before it is opened: opening a named pipe waits for a writer
		return nil, errNotPlain
	}
	file, err := f.top.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	switch {
	case !info.Mode().IsRegular():
		return nil, errNotPlain
	case info.Size() > maxFile:
		return nil, fmt.Errorf("%d bytes: %w", info.Size(), ErrTooLarge)
	}
	data := make([]byte, info.Size())
	_, err = io.ReadFull(file, data)
	return data, err
}

// Save implements Store. Equal bytes are not written again.
func (f *Folder) Save(name string, data []byte) error {
	if err := f.save(name, data); err != nil {
		return &StoreError{Op: "saving", Name: path.Join(f.path, name), Err: err}
	}
	return nil
}

func (f *Folder) save(name string, data []byte) error {
	if !isStoredName(name) {
		return fs.ErrInvalid
	}
	old, err := f.load(name)
	if err == nil && string(old) == string(data) {
		return nil
	}
	durable := isDurable(name)
	if !durable {
		if err := f.makeRoom(int64(len(data))); err != nil {
			return err
		}
	}
	for range 3 { // another process that opens the folder may sweep our temporary file away
		err = f.replace(name, data, durable)
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return err
}

func (f *Folder) replace(name string, data []byte, durable bool) (err error) {
	temp, err := f.temporary(data, durable)
	if err != nil {
		return err
	}
	if err := f.ops.rename(f.top, temp, name); err != nil {
		return errors.Join(err, ignoreAbsent(f.top.Remove(temp)))
	}
	if !durable {
		return nil
	}
	return f.ops.syncDir(f.folderOf(name))
}

// temporary makes a file in tmp; on an error none is left.
func (f *Folder) temporary(data []byte, durable bool) (name string, err error) {
	name = "tmp/" + rand.Text() // process ids are not unique where containers share a folder
	file, err := f.top.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	err = f.ops.write(file, data)
	if err == nil && durable {
		err = f.ops.sync(file)
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return "", errors.Join(err, ignoreAbsent(f.top.Remove(name)))
	}
	return name, nil
}

func (f *Folder) folderOf(name string) *os.Root {
	if strings.HasPrefix(name, "roots/") {
		return f.roots
	}
	return f.top
}

// Remove implements Store.
func (f *Folder) Remove(name string) error {
	err := fs.ErrInvalid
	if isStoredName(name) {
		if err = f.ops.remove(f.top, name); err == nil {
			err = f.ops.syncDir(f.folderOf(name))
		}
	}
	if err = ignoreAbsent(err); err != nil {
		return &StoreError{Op: "removing", Name: path.Join(f.path, name), Err: err}
	}
	return nil
}

// makeRoom evicts the oldest files of the cache when n more bytes would exceed
// its size, down to nine tenths of it, so that eviction is rare.
func (f *Folder) makeRoom(n int64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cached += n
	if f.cached <= f.max {
		return nil
	}
	files, total, err := f.cacheFiles() // other processes write here, too
	if err != nil {
		return err
	}
	slices.SortFunc(files, func(a, b fs.FileInfo) int { return a.ModTime().Compare(b.ModTime()) })
	total += n
	for _, file := range files {
		if total <= f.max/10*9 {
			break
		}
		if err := ignoreAbsent(f.top.Remove(file.Name())); err != nil {
			return err
		}
		total -= file.Size()
	}
	f.cached = total
	return nil
}

// cacheFiles lists the files of delegated roles.
func (f *Folder) cacheFiles() (files []fs.FileInfo, total int64, err error) {
	entries, err := list(f.top, ".")
	if err != nil {
		return nil, 0, err
	}
	for _, e := range entries {
		if !e.Type().IsRegular() || !isStoredName(e.Name()) || isDurable(e.Name()) {
			continue
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // evicted by another process
		}
		if err != nil {
			return nil, 0, err
		}
		files = append(files, info)
		total += info.Size()
	}
	return files, total, nil
}

// Lock implements Store.
func (f *Folder) Lock(ctx context.Context) (unlock func(), err error) {
	wait, cancel := context.WithTimeoutCause(ctx, f.lockWait, &LockedError{Path: f.path, Waited: f.lockWait})
	defer cancel()
	select {
	case f.turn <- struct{}{}:
	case <-wait.Done():
		return nil, context.Cause(wait)
	}
	release, err := f.lockFile(wait)
	if err != nil {
		<-f.turn
		return nil, err
	}
	return sync.OnceFunc(func() { release(); <-f.turn }), nil
}

// lockFile waits until no other process holds the lock.
func (f *Folder) lockFile(wait context.Context) (unlock func(), err error) {
	for pause := time.Millisecond; ; pause = min(2*pause, 20*time.Millisecond) {
		unlock, err := tryLock(f.top, path.Join(f.path, "lock"))
		if err == nil {
			return unlock, nil
		}
		if !errors.Is(err, errBusy) {
			return nil, &StoreError{Op: "locking", Name: f.path, Err: err}
		}
		select {
		case <-wait.Done():
			return nil, context.Cause(wait)
		case <-time.After(pause):
		}
	}
}

// errBusy says that somebody else holds the lock.
var errBusy = errors.New("locked by another")

func list(dir *os.Root, name string) (_ []fs.DirEntry, err error) {
	d, err := dir.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	return d.ReadDir(-1)
}

func ignoreAbsent(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func realOps() fileOps {
	return fileOps{
		write:   func(f *os.File, data []byte) error { _, err := f.Write(data); return err },
		sync:    (*os.File).Sync,
		rename:  (*os.Root).Rename,
		syncDir: syncDir,
		remove:  (*os.Root).Remove,
	}
}

func syncDir(dir *os.Root) (err error) {
	d, err := dir.Open(".")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	return d.Sync()
}
