//go:build !unix

package durable

import "io/fs"

// Owner is the user id of whom a file belongs to; false where files have none.
func Owner(fs.FileInfo) (uid int, ok bool) { return 0, false }
