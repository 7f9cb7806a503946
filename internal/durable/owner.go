package durable

import (
	"io/fs"
	"os"
	"runtime"
)

// Foreign tells whether a file or folder belongs to somebody who is neither the user of this process nor root, and to whom: they can
// change it, whatever its mode. Where files have no user ids, as on Windows, none does.
func Foreign(info fs.FileInfo) (uid int, foreign bool) {
	uid, ok := Owner(info)
	return uid, ok && uid != 0 && uid != os.Geteuid()
}

// OthersMayWrite tells whether the mode of a file or folder lets others than its owner change it. Where modes do not say who may,
// as on Windows, it is false.
func OthersMayWrite(info fs.FileInfo) bool {
	return info.Mode().Perm()&0o022 != 0 && runtime.GOOS != "windows"
}
