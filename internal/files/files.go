// Package files keeps package files in a folder, each under the SHA-256 of its content: [Folder]
// for servers, [Memory] for tests. Both implement index.Files, whose method comments are the
// contract; package filestest checks it on both.
//
// The layout inside the data folder:
//
//	files/ab/abcdef…   kept content, named by its hash in lower-case hex; mode 0444; never changed
//	staging/           content on its way in, under random names; emptied when the folder is opened
//
// What always holds:
//
//   - A name in files/ is complete content: the bytes are synced before the name is given, and the
//     name is synced before Keep returns.
//   - A name is given once. Keep never replaces content, not even by equal content.
//   - Only regular files are opened; links, wherever they point, are refused.
//
// The folder trusts the hash that Keep is given and does not check it on reading: whoever computes
// it while the bytes stream by (index) and whoever verifies a download (the client) do. One process
// at a time uses a folder; package durable locks it. All methods of Folder may be called
// concurrently; a staged file and a blob belong to one goroutine each.
package files

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"

	"example.com/bailiwick/internal/durable"
	"example.com/bailiwick/internal/index"
)

// ErrDamaged says that what lies under the name of some content can not be that content.
var ErrDamaged = errors.New("the file store is damaged: restore this file from a backup")

var (
	_ index.Files = (*Folder)(nil)
	_ index.Files = (*Memory)(nil)
)

const (
	keptDir    = "files"
	stagingDir = "staging"
	shards     = 256 // folders below files/, one for each first byte of a hash
)

// Folder is a file store in a data folder. Make one with [Create] or [Open].
type Folder struct {
	root *os.Root // of the data folder
}

// Create makes an empty file store inside a data folder that exists, and opens it. It refuses with
// [fs.ErrExist] if there is one.
func Create(dataDir string) (*Folder, error) {
	root, err := os.OpenRoot(dataDir)
	if err != nil {
		return nil, fmt.Errorf("creating a file store in %s: %w", dataDir, err)
	}
	for _, dir := range []string{keptDir, stagingDir} {
		if err := durable.Mkdir(root, dir, 0o700); err != nil {
			return nil, errors.Join(fmt.Errorf("creating a file store in %s: %w", dataDir, err), root.Close())
		}
	}
	return open(root)
}

// Open opens the file store of a data folder: [fs.ErrNotExist] if there is none. What an earlier
// process left in staging is removed, so the caller must hold the lock of the data folder.
func Open(dataDir string) (*Folder, error) {
	root, err := os.OpenRoot(dataDir)
	if err != nil {
		return nil, fmt.Errorf("opening the file store in %s: %w", dataDir, err)
	}
	return open(root)
}

// open takes over root and closes it on error.
func open(root *os.Root) (*Folder, error) {
	f := &Folder{root: root}
	if err := errors.Join(f.clearStaging(), f.makeShards()); err != nil {
		return nil, errors.Join(fmt.Errorf("opening the file store in %s: %w", root.Name(), err), root.Close())
	}
	return f, nil
}

// clearStaging removes everything from staging. Nothing in it was ever acknowledged.
func (f *Folder) clearStaging() error {
	dir, err := f.root.Open(stagingDir)
	if err != nil {
		return err
	}
	names, err := dir.Readdirnames(-1)
	if err = errors.Join(err, dir.Close()); err != nil {
		return err
	}
	for _, name := range names {
		if err := f.root.RemoveAll(path.Join(stagingDir, name)); err != nil {
			return err
		}
	}
	return nil
}

// makeShards makes the folders below files/ that are missing: all of a new store, none of an old
// one, some after a restore by a tool that skips empty folders. Keep can then rely on them, so the
// hot path makes no folders and needs no lock.
func (f *Folder) makeShards() error {
	made := false
	for i := range shards {
		err := f.root.Mkdir(path.Join(keptDir, hex.EncodeToString([]byte{byte(i)})), 0o700)
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		made = made || err == nil
	}
	if !made {
		return nil
	}
	return durable.SyncDir(f.root, keptDir)
}

// Close releases the folder. Blobs and staged files that are open stay usable; new ones fail.
func (f *Folder) Close() error {
	if err := f.root.Close(); err != nil {
		return fmt.Errorf("closing the file store in %s: %w", f.root.Name(), err)
	}
	return nil
}

// Open implements index.Files.
func (f *Folder) Open(ctx context.Context, sum [32]byte) (index.Blob, error) {
	name := keptName(sum)
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("opening %s: %w", name, err)
	}
	// Root.Open follows links that stay inside the data folder, so the name is looked at first, and
	// what was opened must be what was looked at.
	named, err := f.root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("opening %s: %w", name, index.ErrNoBlob)
	}
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", name, err)
	}
	if !named.Mode().IsRegular() {
		return nil, fmt.Errorf("opening %s: %w: it is not a regular file", path.Join(f.root.Name(), name), ErrDamaged)
	}
	file, err := f.root.Open(name)
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", name, err)
	}
	info, err := file.Stat()
	if err == nil && !os.SameFile(named, info) {
		err = fmt.Errorf("%w: it was exchanged while being opened", ErrDamaged)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening %s: %w", name, err), file.Close())
	}
	return &blob{File: file, size: info.Size()}, nil
}

// blob is kept content. It exposes the file so that http.ServeContent can use sendfile.
type blob struct {
	*os.File
	size int64
}

// Size returns the length of the content in bytes.
func (b *blob) Size() int64 { return b.size }

// keptName is the only place where a hash becomes a path.
func keptName(sum [32]byte) string {
	name := hex.EncodeToString(sum[:])
	return path.Join(keptDir, name[:2], name)
}

// Stage implements index.Files.
//
// System calls: openat(O_CREAT|O_EXCL, staging/random).
func (f *Folder) Stage(ctx context.Context) (index.Staged, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("staging a file: %w", err)
	}
	name := path.Join(stagingDir, rand.Text())
	// The mode is for later openings: kept content is written by nobody.
	file, err := f.root.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o444)
	if err != nil {
		return nil, full("staging a file", err)
	}
	return &staged{folder: f, name: name, file: file}, nil
}

// full marks a lack of space with index.ErrFull.
func full(doing string, err error) error {
	if durable.NoSpace(err) {
		return fmt.Errorf("%s: %w (%w)", doing, index.ErrFull, err)
	}
	return fmt.Errorf("%s: %w", doing, err)
}
