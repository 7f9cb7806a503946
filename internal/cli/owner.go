package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"example.com/bailiwick/internal/durable"
)

// checkOwner refuses a bailiwick.toml that somebody else put into a folder above the working one, such
// as /tmp: it says whom to trust. It may belong to the user, to the system, or to whoever the working
// folder belongs to; so may a link that leads to it, for it is the link that chooses the file. On Windows, folders of
// other users are not writable for everybody, and nothing is refused.
func checkOwner(f *os.File, path, working string) error {
	allowed := []int{0, os.Geteuid()}
	if info, err := os.Stat(working); err == nil {
		if whose, ok := durable.Owner(info); ok {
			allowed = append(allowed, whose)
		}
	}
	opened, err := f.Stat()
	if err != nil {
		return fmt.Errorf("reading the configuration: %w", err)
	}
	named, err := os.Lstat(path)
	if err != nil {
		return fmt.Errorf("reading the configuration: %w", err)
	}
	for _, info := range []os.FileInfo{opened, named} {
		if whose, ok := durable.Owner(info); ok && !slices.Contains(allowed, whose) {
			return fmt.Errorf("%s belongs to another user (%d) and decides whom to trust; remove it, or work in a folder that is not below %s",
				path, whose, filepath.Dir(path))
		}
	}
	return nil
}
