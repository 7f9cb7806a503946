package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"example.com/bailiwick/internal/durable"
	"example.com/bailiwick/internal/ledger"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/publish"
)

// dataFormat is the number of the data folder's layout: what is in it and what it means.
const dataFormat = 1

// Names in a data folder.
const (
	ledgerFile   = "ledger.db"
	keysFolder   = "keys"
	configFile   = "config.toml"
	lockFile     = "lock"
	formatFile   = "format"
	filesFolder  = "files"
	stagingName  = "staging"
	defaultData  = "bailiwick-data"
	offlineName  = "bailiwick-offline-keys"
	standardBins = 256
)

// folderState says what is at the place of a data folder.
type folderState int

const (
	folderFresh      folderState = iota + 1 // nothing: a repository may be created here
	folderRepository                        // a repository
	folderUnfinished                        // a creation that broke off before its last step
	folderPending                           // a repository that waits for signatures of its root before it starts
)

// inspectFolder looks at a data folder without changing it. It refuses what is not ours, so that no
// command ever writes into somebody's home folder by a slip of the keyboard, and what is newer than
// this program.
func inspectFolder(ctx context.Context, data string) (folderState, error) {
	entries, err := os.ReadDir(data)
	if errors.Is(err, fs.ErrNotExist) {
		return folderFresh, nil
	}
	if err != nil {
		return 0, fmt.Errorf("reading the data folder: %w", err)
	}
	var names []string
	for _, e := range entries {
		if e.Name() != lockFile {
			names = append(names, e.Name())
		}
	}
	if len(names) == 0 {
		return folderFresh, nil
	}
	root, err := os.OpenRoot(data)
	if err != nil {
		return 0, fmt.Errorf("opening the data folder: %w", err)
	}
	defer func() { _ = root.Close() }() // was only looked through
	_, err = durable.ReadFormat(root, dataFormat)
	if errors.Is(err, durable.ErrNoFormat) {
		return unformatted(data, names)
	}
	if err != nil {
		return 0, fmt.Errorf("opening the data folder %s: %w", data, err)
	}
	state := folderUnfinished
	if slices.Contains(names, ledgerFile) {
		if state, err = ledgerState(ctx, data); err != nil {
			return 0, err
		}
	}
	if state == folderUnfinished && slices.Contains(names, requestFile) {
		return folderPending, nil // also if its start broke off: that is done again from the request
	}
	return state, nil
}

// unformatted tells a creation that broke off early from a folder of somebody else.
func unformatted(data string, names []string) (folderState, error) {
	ours := []string{ledgerFile, keysFolder, configFile, filesFolder, stagingName, requestFile}
	for _, name := range names {
		if !slices.Contains(ours, name) && !strings.HasPrefix(name, ledgerFile+"-") && !strings.HasPrefix(name, ".tmp-") {
			return 0, fmt.Errorf("%s is no data folder of bailiwick and not empty (it holds %q): name an empty or a new folder with --data", data, name)
		}
	}
	return folderUnfinished, nil
}

// ledgerState asks the ledger whether its first publication was committed.
func ledgerState(ctx context.Context, data string) (_ folderState, err error) {
	l, err := ledger.OpenSQLite(ctx, filepath.Join(data, ledgerFile))
	if err != nil {
		return 0, fmt.Errorf("opening the ledger: %w", err)
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	_, err = l.Head(ctx)
	if errors.Is(err, publish.ErrNoRepository) {
		return folderUnfinished, nil
	}
	if err != nil {
		return 0, fmt.Errorf("reading the ledger: %w", err)
	}
	return folderRepository, nil
}

// errUnfinished explains a creation that broke off.
func errUnfinished(data string) error {
	return fmt.Errorf("%s holds a repository whose creation did not finish, so nothing was ever published from it: "+
		"remove that folder and the folder of its offline keys, then start again", data)
}

// requireRepository refuses everything but a folder with a repository in it.
func requireRepository(ctx context.Context, data string) error {
	state, err := inspectFolder(ctx, data)
	switch {
	case err != nil:
		return err
	case state == folderFresh:
		return fmt.Errorf("there is no repository in %s: create one with bailiwick init --data %s", data, data)
	case state == folderUnfinished:
		return errUnfinished(data)
	case state == folderPending:
		return errPending(data)
	}
	return nil
}

// openLedger opens the ledger of a repository, also beside a running server.
func openLedger(ctx context.Context, data string) (*ledger.SQLite, error) {
	if err := requireRepository(ctx, data); err != nil {
		return nil, err
	}
	l, err := ledger.OpenSQLite(ctx, filepath.Join(data, ledgerFile))
	if err != nil {
		return nil, fmt.Errorf("opening the ledger: %w", err)
	}
	return l, nil
}

// defaultOffline is the folder for offline keys when none is named: beside the data folder.
func defaultOffline(data string) string {
	return filepath.Join(filepath.Dir(filepath.Clean(data)), offlineName)
}

// checkApart refuses folders of which one lies within the other, also by way of symbolic links.
func checkApart(data, offline string) error {
	d, err := realPath(data)
	if err != nil {
		return err
	}
	o, err := realPath(offline)
	if err != nil {
		return err
	}
	if within(d, o) || within(o, d) {
		return fmt.Errorf("the offline keys can not live in %s: that folder and the data folder %s have to be apart, "+
			"so that whoever takes the server does not get them; name another with --offline-keys", offline, data)
	}
	return nil
}

// realPath resolves the part of a path that exists.
func realPath(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("resolving %s: %w", path, err)
	}
	for rest := ""; ; {
		resolved, err := filepath.EvalSymlinks(abs)
		if err == nil {
			return filepath.Join(resolved, rest), nil
		}
		if parent := filepath.Dir(abs); errors.Is(err, fs.ErrNotExist) && parent != abs {
			rest, abs = filepath.Join(filepath.Base(abs), rest), parent
			continue
		}
		return "", fmt.Errorf("resolving %s: %w", path, err)
	}
}

// within reports whether path is folder or lies below it.
func within(folder, path string) bool {
	rel, err := filepath.Rel(folder, path)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}

// onlineKeyPath is where the server finds an online key.
func onlineKeyPath(data string, role policy.KeyRole) string {
	return filepath.Join(data, keysFolder, string(role)+".key")
}

// makeFolder makes a folder and those above it, each durably: a key in a folder whose name a power
// cut can take away is not durable.
func makeFolder(path string) error {
	info, err := os.Stat(path)
	switch {
	case err == nil && info.IsDir():
		return nil
	case err == nil:
		return fmt.Errorf("%s is a file, not a folder", path)
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("looking for the folder %s: %w", path, err)
	}
	parent := filepath.Dir(filepath.Clean(path))
	if err := makeFolder(parent); err != nil {
		return err
	}
	root, err := os.OpenRoot(parent)
	if err != nil {
		return fmt.Errorf("making the folder %s: %w", path, err)
	}
	defer func() { _ = root.Close() }() // was only looked through
	if err := durable.Mkdir(root, filepath.Base(path), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err //nolint:wrapcheck // names the folder
	}
	return nil
}
