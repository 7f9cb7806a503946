//go:build unix

package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// checkOwner refuses a bailiwick.toml that somebody else put into a folder above the working one, such
// as /tmp: it says whom to trust. It may belong to the user, to the system, or to whoever the working
// folder belongs to.
func checkOwner(path, working string) error {
	owner, ok := ownerOf(path)
	if !ok || owner == 0 || owner == os.Geteuid() {
		return nil
	}
	if whose, ok := ownerOf(working); ok && whose == owner {
		return nil
	}
	return fmt.Errorf("%s belongs to another user (%d) and decides whom to trust; remove it, or work in a folder that is not below %s",
		path, owner, filepath.Dir(path))
}

func ownerOf(path string) (int, bool) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return int(stat.Uid), true
}
