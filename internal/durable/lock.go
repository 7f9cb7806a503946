package durable

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/gofrs/flock"
)

// ErrInUse says that another process, or another part of this one, holds the lock of a folder.
var ErrInUse = errors.New("in use")

// lockName is the file in a folder that carries its lock. It stays when the lock is released:
// removing it would let two processes lock two different files of the same name.
const lockName = "lock"

// Lock is the exclusive right to a folder. The operating system releases it when the process
// ends, however it ends, so a crash leaves no stale lock.
type Lock struct{ file *flock.Flock }

// LockFolder takes the exclusive lock of a data folder without waiting. If another server has it,
// the error wraps [ErrInUse] and names the folder. The folder must exist.
//
// System calls: openat(folder/lock, O_CREAT|O_RDONLY, 0600), flock(LOCK_EX|LOCK_NB).
func LockFolder(dir string) (*Lock, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("locking %s: %w", dir, err)
	}
	l := flock.New(filepath.Join(abs, lockName), flock.SetPermissions(0o600))
	got, err := l.TryLock()
	if err != nil {
		return nil, Explain("locking", filepath.Join(abs, lockName), err)
	}
	if !got {
		return nil, fmt.Errorf("another bailiwick server already uses %s: stop it or choose another --data (%w)", abs, ErrInUse)
	}
	return &Lock{file: l}, nil
}

// Unlock gives the folder free. Only the first call does something.
func (l *Lock) Unlock() error {
	if err := l.file.Unlock(); err != nil {
		return fmt.Errorf("unlocking %s: %w", l.file.Path(), err)
	}
	return nil
}
