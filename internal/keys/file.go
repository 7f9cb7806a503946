package keys

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"filippo.io/age"
	"filippo.io/age/armor"

	"example.com/bailiwick/internal/durable"
	"example.com/bailiwick/tuf/key"
)

// Passphrase asks a person, or whoever knows it, for the passphrase of a key. The prompt says of
// which, without a colon. The slice is wiped after use, so an implementation that keeps one returns
// a copy. It returns ctx.Err() when ctx ends.
type Passphrase func(ctx context.Context, prompt string) ([]byte, error)

// Work factors are the base-2 logarithm of scrypt's N: each step doubles time and memory.
const (
	defaultWork = 18 // 256 MiB, about 0.7 s
	maxWork     = 20 // 1 GiB: the most that loading spends on a file from outside
)

// Option changes how an offline key is written.
type Option func(*options)

type options struct{ work int }

// WithWorkFactor sets scrypt's work factor, from 1 to 20; the default is 18. Lower ones are for
// tests.
func WithWorkFactor(log2N int) Option { return func(o *options) { o.work = log2N } }

// CreateOnline writes a key unencrypted to a new file with mode 0600. The error is [fs.ErrExist] if
// path is there, and [ErrOffline] for a key named as an offline one. The folder must exist.
func CreateOnline(path string, k *Key) error {
	if IsOfflineName(k.name) {
		return fmt.Errorf("writing the key %s to %s: %w", k.name, path, ErrOffline)
	}
	data, err := encodePlain(k)
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	defer clear(data)
	return create(path, data)
}

// LoadOnline reads an unencrypted key file. It refuses, with [ErrPermissions], a file that others
// can read and a link; with [ErrOffline], an encrypted file and a key named as an offline one.
func LoadOnline(path string) (*Key, error) {
	data, err := readPrivate(path)
	if err != nil {
		return nil, err
	}
	defer clear(data)
	h, block, err := split(data)
	if err != nil {
		return nil, fmt.Errorf("loading %s: %w", path, err)
	}
	if isEncrypted(block) || IsOfflineName(h.name) {
		return nil, fmt.Errorf("loading the key %s from %s: %w", h.name, path, ErrOffline)
	}
	k, err := decodePlain(data)
	if err != nil {
		return nil, fmt.Errorf("loading %s: %w", path, err)
	}
	return k, nil
}

// CreateOffline writes a key to a new file, encrypted under a passphrase that it asks for once. The
// error is [fs.ErrExist] if path is there, before anybody is asked. The folder must exist.
func CreateOffline(ctx context.Context, path string, k *Key, pass Passphrase, opts ...Option) error {
	o := options{work: defaultWork}
	for _, opt := range opts {
		opt(&o)
	}
	if o.work < 1 || o.work > maxWork {
		return fmt.Errorf("writing %s: work factor %d: it must be from 1 to %d", path, o.work, maxWork)
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("writing the key %s to %s: %w", k.name, path, errors.Join(err, fs.ErrExist))
	}
	public, err := k.publicDER()
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	plain, err := encodePlain(k)
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	defer clear(plain)
	phrase, err := ask(ctx, pass, "new passphrase for the key "+k.name)
	if err != nil {
		return fmt.Errorf("writing the key %s to %s: %w", k.name, path, err)
	}
	defer clear(phrase)
	block, err := encrypt(plain, phrase, o.work)
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return create(path, append(head{k.name, public}.append(nil), block...))
}

// LoadOffline asks for the passphrase of an encrypted key file and reads the key. The mode of the
// file does not matter: removable disks often have none. The errors are [ErrPassphrase] for a wrong
// passphrase, [ErrOnline] for a file that is not encrypted, and [ErrNotKey] if the lines that can
// be read without the passphrase were changed.
func LoadOffline(ctx context.Context, path string, pass Passphrase) (*Key, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	defer clear(data) // it may be unencrypted after all
	h, block, err := split(data)
	if err != nil {
		return nil, fmt.Errorf("loading %s: %w", path, err)
	}
	if bytes.HasPrefix(block, []byte(privateBegin)) {
		return nil, fmt.Errorf("loading the key %s from %s: %w", h.name, path, ErrOnline)
	}
	return unlock(ctx, path, h, block, pass)
}

// unlock decrypts the block of a key file, and holds what it finds against the head.
func unlock(ctx context.Context, path string, h head, block []byte, pass Passphrase) (*Key, error) {
	if !isEncrypted(block) { // nobody is asked for the passphrase of a damaged file
		return nil, fmt.Errorf("loading the key %s from %s: %w: %q belongs after the third line", h.name, path, ErrNotKey, ageBegin)
	}
	phrase, err := ask(ctx, pass, fmt.Sprintf("passphrase for the key %s (%s)", h.name, path))
	if err != nil {
		return nil, fmt.Errorf("loading the key %s from %s: %w", h.name, path, err)
	}
	defer clear(phrase)
	plain, err := decrypt(block, phrase)
	if err != nil {
		return nil, fmt.Errorf("loading the key %s from %s: %w", h.name, path, err)
	}
	defer clear(plain)
	k, err := decodePlain(plain)
	if err == nil {
		err = sameKey(k, h.public)
	}
	if err == nil && k.name != h.name {
		err = fmt.Errorf("%w: the name in its second line is not that of the key", ErrNotKey)
	}
	if err != nil {
		return nil, fmt.Errorf("loading the key %s from %s: %w", h.name, path, err)
	}
	return k, nil
}

// FileInfo is what a key file shows without a passphrase. For an encrypted file it is only what the
// file says of itself, until LoadOffline has compared it.
type FileInfo struct {
	Name    string
	Public  *key.Public
	Offline bool // encrypted
}

// Show reads the part of a key file that is not secret.
func Show(path string) (FileInfo, error) {
	data, err := readFile(path)
	if err != nil {
		return FileInfo{}, err
	}
	defer clear(data)
	h, block, err := split(data)
	if err != nil {
		return FileInfo{}, fmt.Errorf("reading %s: %w", path, err)
	}
	public, err := h.key()
	if err != nil {
		return FileInfo{}, fmt.Errorf("reading %s: %w", path, err)
	}
	return FileInfo{Name: h.name, Public: public, Offline: isEncrypted(block)}, nil
}

func ask(ctx context.Context, pass Passphrase, prompt string) ([]byte, error) {
	phrase, err := pass(ctx, prompt)
	if err != nil {
		return nil, err
	}
	if len(phrase) == 0 {
		return nil, fmt.Errorf("the passphrase is empty: %w", ErrPassphrase)
	}
	return phrase, nil
}

func encrypt(plain, phrase []byte, work int) ([]byte, error) {
	recipient, err := age.NewScryptRecipient(string(phrase))
	if err != nil {
		return nil, err
	}
	recipient.SetWorkFactor(work)
	var out bytes.Buffer
	armoured := armor.NewWriter(&out)
	w, err := age.Encrypt(armoured, recipient)
	if err != nil {
		return nil, err
	}
	_, err = w.Write(plain)
	if err = errors.Join(err, w.Close(), armoured.Close()); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// decrypt returns the plain file; the caller wipes it. Whatever age says beyond a wrong passphrase
// is about the ciphertext and holds no secret.
func decrypt(block, phrase []byte) ([]byte, error) {
	identity, err := age.NewScryptIdentity(string(phrase))
	if err != nil {
		return nil, err
	}
	identity.SetMaxWorkFactor(maxWork)
	r, err := age.Decrypt(armor.NewReader(bytes.NewReader(block)), identity)
	if errors.Is(err, age.ErrIncorrectIdentity) {
		return nil, ErrPassphrase
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotKey, err)
	}
	plain := make([]byte, maxFile) // in one piece: growing would leave copies behind
	n, err := io.ReadFull(r, plain)
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF): // the end, before the buffer was full
		return plain[:n], nil
	case err == nil:
		clear(plain)
		return nil, fmt.Errorf("%w: the encrypted part is too long", ErrNotKey)
	default:
		return nil, fmt.Errorf("%w: the encrypted part: %w", ErrNotKey, err)
	}
}

// create writes a new key file, durably.
func create(path string, data []byte) error {
	root, err := os.OpenRoot(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	defer func() { _ = root.Close() }() // read only: what was written is synced
	if err := durable.Create(root, filepath.Base(path), data, 0o600); err != nil {
		return fmt.Errorf("storing a key: %w", err)
	}
	return nil
}

// readPrivate reads a file that nobody but its owner may read.
func readPrivate(path string) ([]byte, error) {
	named, err := os.Lstat(path)
	if err != nil {
		return nil, fmt.Errorf("loading a key: %w", err)
	}
	if !named.Mode().IsRegular() {
		return nil, fmt.Errorf("loading %s: it is a %s: %w", path, kind(named.Mode()), ErrPermissions)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("loading a key: %w", err)
	}
	defer func() { _ = f.Close() }() // read only: nothing can be lost
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("loading %s: %w", path, err)
	}
	if !os.SameFile(named, info) {
		return nil, fmt.Errorf("loading %s: it was exchanged while being opened: %w", path, ErrPermissions)
	}
	// Windows has no such modes: there, the folder's access list protects the file.
	if mode := info.Mode().Perm(); mode&0o077 != 0 && runtime.GOOS != "windows" {
		return nil, fmt.Errorf("loading %s: its mode is %04o: run chmod 600 %s, and make a new key if somebody may have read this one: %w",
			path, mode, path, ErrPermissions)
	}
	return readAll(f, path)
}

// readFile reads a file whose content is not secret.
func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path) // before opening: to open a pipe would wait for its writer
	if err != nil {
		return nil, fmt.Errorf("reading a key file: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("reading %s: it is a %s: %w", path, kind(info.Mode()), ErrNotKey)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading a key file: %w", err)
	}
	defer func() { _ = f.Close() }() // read only: nothing can be lost
	return readAll(f, path)
}

func readAll(r io.Reader, path string) ([]byte, error) {
	data := make([]byte, maxFile+1)
	n, err := io.ReadFull(r, data)
	switch {
	case err == nil:
		return nil, fmt.Errorf("reading %s: %w: more than %d bytes", path, ErrNotKey, maxFile)
	case !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF):
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return data[:n], nil
}

func kind(mode fs.FileMode) string {
	switch {
	case mode.IsDir():
		return "folder"
	case mode&fs.ModeSymlink != 0:
		return "symbolic link"
	default:
		return "special file"
	}
}
