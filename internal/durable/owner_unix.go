//go:build unix

package durable

import (
	"io/fs"
	"syscall"
)

// Owner is the user id of whom a file belongs to; false where files have none.
func Owner(info fs.FileInfo) (uid int, ok bool) {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return int(stat.Uid), true
}
