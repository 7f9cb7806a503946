package durable

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
)

// Errors of [ReadFormat].
var (
	// ErrNoFormat: the folder holds no format number, so it was never a data folder.
	ErrNoFormat = errors.New("no format number here")
	// ErrNewer: the folder was written by a newer Bailiwick.
	ErrNewer = errors.New("written by a newer bailiwick: use that one")
)

const (
	formatName   = "format"
	maxFormatLen = 16 // bytes of the file: a number and a line break
)

// CreateFormat marks dir with the number of its layout: the file "format", a decimal number and a
// line break. The error is [fs.ErrExist] if the folder is marked already.
func CreateFormat(dir *os.Root, number int) error {
	if number < 1 {
		return fmt.Errorf("marking %s with format %d: the first format is 1", dir.Name(), number)
	}
	return Create(dir, formatName, formatText(number), 0o644)
}

// ReadFormat returns the format number of dir. newest is the highest one that the caller knows: a
// higher one is refused with [ErrNewer], because this program could only damage it. [ErrNoFormat]
// says that the folder is not a data folder.
func ReadFormat(dir *os.Root, newest int) (int, error) {
	full := path.Join(dir.Name(), formatName)
	f, err := dir.Open(formatName)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("%s is not a bailiwick data folder: %w", dir.Name(), ErrNoFormat)
	}
	if err != nil {
		return 0, fmt.Errorf("reading %s: %w", full, err)
	}
	defer func() { _ = f.Close() }() // read only: nothing can be lost
	data := make([]byte, maxFormatLen+1)
	n, err := io.ReadFull(f, data)
	data = data[:n]
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return 0, fmt.Errorf("reading %s: %w", full, err)
	}
	number, err := strconv.Atoi(strings.TrimSuffix(string(data), "\n"))
	if err != nil || len(data) > maxFormatLen || number < 1 {
		return 0, fmt.Errorf("%s is damaged: it must hold one number, not %.20q; restore it from a backup", full, data)
	}
	if number > newest {
		return 0, fmt.Errorf("%s has format %d, this program knows formats up to %d: %w", dir.Name(), number, newest, ErrNewer)
	}
	return number, nil
}

func formatText(number int) []byte { return []byte(strconv.Itoa(number) + "\n") }
