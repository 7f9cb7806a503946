package signtool

import (
	"bufio"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"example.com/bailiwick/internal/durable"
)

// openFile opens a file that somebody brought: a regular one of at most most bytes.
func openFile(path string, most int64, what string) (*os.File, error) {
	info, err := os.Stat(path) // before opening: to open a pipe would wait for its writer
	if err != nil {
		return nil, fmt.Errorf("reading the %s: %w", what, err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("reading the %s: %s is not a regular file: copy it to one first", what, path)
	}
	if info.Size() > most {
		return nil, exit(exitRefused, fmt.Errorf("%s is no %s: it has %d bytes, and at most %d are read", path, what, info.Size(), most))
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading the %s: %w", what, err)
	}
	return f, nil
}

// readSmall reads a whole file of at most most bytes.
func readSmall(path string, most int64, what string) ([]byte, error) {
	f, err := openFile(path, most, what)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()                   // was only read
	data, err := io.ReadAll(io.LimitReader(f, most+1)) //nolint:forbidigo // bounded, and the length is checked below
	if err != nil {
		return nil, fmt.Errorf("reading the %s: %w", what, err)
	}
	if int64(len(data)) > most {
		return nil, exit(exitRefused, fmt.Errorf("%s is no %s: at most %d bytes are read", path, what, most))
	}
	return data, nil
}

// target is the file that a command is going to make.
type target struct {
	path string
	dir  *os.Root
	name string
}

// newTarget looks at the place of a new file before any work is done for it. Something that is there,
// also a link that leads nowhere, stays as it is.
func newTarget(path string) (*target, error) {
	if err := wantFolder(path); err != nil {
		return nil, err
	}
	name := filepath.Base(path)
	if name == "." || name == string(filepath.Separator) || name == ".." {
		return nil, usagef("--out: %q is not the name of a file", path)
	}
	if _, err := os.Lstat(path); err == nil {
		return nil, existsError(path)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("looking at %s: %w", path, err)
	}
	dir, err := os.OpenRoot(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("opening the folder of %s: %w", path, err)
	}
	return &target{path, dir, name}, nil
}

// Close implements io.Closer.
func (t *target) Close() error { return t.dir.Close() }

// create writes the file, for its owner alone: whole and synced before it has its name. content writes
// what it holds; check, if there is one, reads it again before it gets its name.
func (t *target) create(content func(io.Writer) error, check func(io.Reader) error) error {
	temp := ".tmp-" + rand.Text()
	f, err := t.dir.OpenFile(temp, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return t.explain("writing", err)
	}
	buffered := bufio.NewWriterSize(f, 1<<20)
	err = errors.Join(content(buffered), buffered.Flush())
	if err == nil {
		err = f.Sync()
	}
	if err == nil && check != nil {
		if _, err = f.Seek(0, io.SeekStart); err == nil {
			err = check(bufio.NewReaderSize(f, 1<<20))
		}
	}
	if err = errors.Join(err, f.Close()); err != nil {
		_ = t.dir.Remove(temp) // the cause is err
		return t.explain("writing", err)
	}
	if err := durable.MoveNew(t.dir, temp, t.name); err != nil {
		_ = t.dir.Remove(temp) // the cause is err
		if errors.Is(err, fs.ErrExist) {
			return existsError(t.path)
		}
		return t.explain("naming", err)
	}
	return nil
}

func (t *target) explain(doing string, err error) error {
	return durable.Explain(doing, t.path, err) //nolint:wrapcheck // names the file
}
