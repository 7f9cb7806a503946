package client

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
)

// Break lets the n-th call of one kind in a folder fail from now on: "write"
// (after half of the bytes), "sync", "rename", "syncDir", "remove" (of stored files). It
// returns what the call returns.
func (f *Folder) Break(kind string, n int) error {
	broken := errors.New("no space left on device")
	var calls atomic.Int64
	ok := func() bool { return calls.Add(1) <= int64(n) }
	ops := realOps()
	switch kind {
	case "write":
		f.ops.write = func(file *os.File, data []byte) error {
			if ok() {
				return ops.write(file, data)
			}
			return errors.Join(broken, ops.write(file, data[:len(data)/2]))
		}
	case "sync":
		f.ops.sync = func(file *os.File) error {
			if ok() {
				return ops.sync(file)
			}
			return broken
		}
	case "rename":
		f.ops.rename = func(dir *os.Root, from, to string) error {
			if ok() {
				return ops.rename(dir, from, to)
			}
			return broken
		}
	case "syncDir":
		f.ops.syncDir = func(dir *os.Root) error {
			if ok() {
				return ops.syncDir(dir)
			}
			return broken
		}
	case "remove":
		f.ops.remove = func(dir *os.Root, name string) error {
			if ok() {
				return ops.remove(dir, name)
			}
			return broken
		}
	}
	return broken
}

// A Call is one to the file system, as it ends.
type Call struct {
	Kind  string // as of Break; "syncing" when a "syncDir" begins
	Name  string // of the file, or of the folder
	To    string // of "rename"
	Data  []byte // of "write"
	Begun int    // of "syncDir": how many calls came before its "syncing"
}

// Record lets a folder note its calls. The result returns them in their order, once
// nothing is under way.
func (f *Folder) Record() func() []Call {
	var mu sync.Mutex
	var calls []Call
	note := func(c Call) int {
		mu.Lock()
		defer mu.Unlock()
		calls = append(calls, c)
		return len(calls) - 1
	}
	temp := func(file *os.File) string { return "tmp/" + filepath.Base(file.Name()) }
	ops := realOps()
	f.ops = fileOps{
		write: func(file *os.File, data []byte) error {
			err := ops.write(file, data)
			note(Call{Kind: "write", Name: temp(file), Data: data})
			return err
		},
		sync: func(file *os.File) error {
			err := ops.sync(file)
			note(Call{Kind: "sync", Name: temp(file)})
			return err
		},
		rename: func(dir *os.Root, from, to string) error {
			err := ops.rename(dir, from, to)
			note(Call{Kind: "rename", Name: from, To: to})
			return err
		},
		syncDir: func(dir *os.Root) error {
			name := filepath.Base(dir.Name())
			begun := note(Call{Kind: "syncing", Name: name})
			err := ops.syncDir(dir)
			note(Call{Kind: "syncDir", Name: name, Begun: begun})
			return err
		},
		remove: func(dir *os.Root, name string) error {
			err := ops.remove(dir, name)
			if err == nil {
				note(Call{Kind: "remove", Name: name})
			}
			return err
		},
	}
	return func() []Call { return calls }
}

// IsDurable is isDurable.
func IsDurable(name string) bool { return isDurable(name) }
