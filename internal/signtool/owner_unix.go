//go:build unix

package signtool

import (
	"fmt"
	"os"
	"syscall"
)

// checkOwner refuses a memory that belongs to another user, who could make it forget.
func checkOwner(path string, info os.FileInfo) error {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	if owner := int(stat.Uid); owner != 0 && owner != os.Geteuid() {
		return fmt.Errorf("the memory %s belongs to another user (%d), who could make it forget: name a folder of your own with --memory DIR", path, owner)
	}
	return nil
}
