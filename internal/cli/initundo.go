package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// undoCreation removes what a creation made before it failed with cause, so that the same command can
// simply be given again, and returns cause with what could not be removed. It is called with the
// folder locked, after the folder was seen to hold nothing but the lock, which stays. stored are the
// files of offline keys that were made.
func undoCreation(ctx context.Context, spec *genesisSpec, stored []string, cause error) error {
	var errs []error
	for _, path := range stored {
		if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	_ = os.Remove(spec.offline) // stays if it holds anything
	if spec.settings.anyStrict() {
		for _, name := range []string{signerTokenName, signerRoot, ""} {
			_ = os.Remove(filepath.Join(spec.signerKeys, name)) // likewise; of the files, what is there was made a moment ago
		}
	}
	errs = append(errs, emptyFolder(spec.data))
	if ctx.Err() != nil {
		cause = exit(exitInterrupted, errors.New("interrupted: no repository was created"))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("%w; what was made so far could not be removed: %w", cause, err)
	}
	return cause
}

// emptyFolder removes what makes up a data folder, but for the lock.
func emptyFolder(data string) error {
	root, err := os.OpenRoot(data)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }() // what matters was said by RemoveAll
	dir, err := root.Open(".")
	if err != nil {
		return err
	}
	names, err := dir.Readdirnames(-1)
	if err = errors.Join(err, dir.Close()); err != nil {
		return err
	}
	var errs []error
	for _, name := range names {
		if isDataName(name) {
			errs = append(errs, root.RemoveAll(name))
		}
	}
	return errors.Join(errs...)
}

// isDataName reports whether a name in a data folder is one that creation makes.
func isDataName(name string) bool {
	switch name {
	case ledgerFile, keysFolder, configFile, formatFile, filesFolder, stagingName, requestFile:
		return true
	}
	return strings.HasPrefix(name, ledgerFile+"-") || strings.HasPrefix(name, ".tmp-")
}
