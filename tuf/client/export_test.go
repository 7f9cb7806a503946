package client

import (
	"errors"
	"os"
)

// Break lets the n-th call of one kind in a folder fail from now on: "write"
// (after half of the bytes), "sync", "rename", "syncDir". It returns what the
// call returns.
func (f *Folder) Break(kind string, n int) error {
	broken := errors.New("no space left on device")
	ok := func() bool { n--; return n >= 0 }
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
	}
	return broken
}
