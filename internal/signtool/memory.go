package signtool

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"example.com/bailiwick/internal/durable"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
)

// Bounds of a memory.
const (
	memoryFormat    = 1
	maxMemoryFile   = 128 << 20 // bytes; the finest layout takes about 30 MiB
	maxRepositories = 1000
)

// memory is a folder with one file for each repository for which keys signed on this machine:
//
//	DIR/lock                    held while something is signed
//	DIR/SHA256.json             of the first root's signed part, so that it is known before it is signed
//
// The files are JSON, for people to read and to copy. Each is replaced as a whole.
type memory struct {
	path string
	dir  *os.Root // nil: there is no such folder yet
	lock *durable.Lock
}

// remembered is what a memory holds of one repository.
type remembered struct {
	Format int `json:"bailiwick-sign"`
	// Root is the SHA-256 of the signed part of the first root, which never changes.
	Root digest `json:"root"`
	// Repository is the SHA-256 of the file 1.root.json, as clients pin it; empty until there is one.
	Repository string `json:"repository,omitempty"`
	// Keys are the ids of the keys that signed.
	Keys []key.ID `json:"keys"`
	// Roles is what is known of each role.
	Roles map[tuf.RoleName]rememberedRole `json:"roles"`
}

// rememberedRole is what a memory holds of a role.
type rememberedRole struct {
	// Seen is the newest published version that a signed request brought along, and SeenSum the SHA-256
	// of its signed part; 0 if there was none.
	Seen    int64  `json:"seen,omitempty"`
	SeenSum digest `json:"seen-sha256,omitzero"`
	// Signed is the newest version that was signed here, with the SHA-256 of its signed part, the request
	// that it came in, and the time; 0 if none was.
	Signed    int64     `json:"signed,omitempty"`
	SignedSum digest    `json:"signed-sha256,omitzero"`
	Request   string    `json:"request,omitempty"`
	At        time.Time `json:"at,omitzero"`
}

// digest is a SHA-256 that is written in hex.
type digest [32]byte

// MarshalText implements encoding.TextMarshaler.
func (d digest) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, d[:]), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *digest) UnmarshalText(text []byte) error {
	if len(text) != 2*len(d) || strings.Trim(string(text), "0123456789abcdef") != "" {
		return errors.New("not 64 lower-case hex digits")
	}
	_, err := hex.Decode(d[:], text)
	return err
}

// memoryFolder is where the memory is when nobody names another place.
func memoryFolder(env *Env, flag string) (string, error) {
	if flag != "" {
		return flag, nil
	}
	if state := env.Getenv("XDG_STATE_HOME"); filepath.IsAbs(state) {
		return filepath.Join(state, "bailiwick-sign"), nil
	}
	home := env.Getenv("HOME")
	if !filepath.IsAbs(home) {
		return "", usagef("there is no home folder in which to remember what is signed: name a folder with --memory DIR")
	}
	return filepath.Join(home, ".local", "state", "bailiwick-sign"), nil
}

// readMemory opens a memory to look at it. One that is not there is empty.
func readMemory(path string) (*memory, error) {
	m := &memory{path: path}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return m, nil
	case err != nil:
		return nil, fmt.Errorf("looking at the memory %s: %w", path, err)
	case !info.IsDir():
		return nil, fmt.Errorf("the memory %s is no folder: name another with --memory DIR", path)
	case durable.OthersMayWrite(info):
		return nil, fmt.Errorf("the memory %s has the mode %04o, so others could make it forget: run chmod 700 %s, and look at what it holds", path, info.Mode().Perm(), path)
	}
	if owner, foreign := durable.Foreign(info); foreign {
		return nil, fmt.Errorf("the memory %s belongs to another user (%d), who could make it forget: name a folder of your own with --memory DIR", path, owner)
	}
	if m.dir, err = os.OpenRoot(path); err != nil {
		return nil, fmt.Errorf("opening the memory %s: %w", path, err)
	}
	return m, nil
}

// openMemory opens a memory for signing, makes it if it is not there, and keeps others out until Close.
func openMemory(path string) (*memory, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("making the memory: %w; nothing was signed: name a folder that can be written with --memory DIR", err)
	}
	m, err := readMemory(path)
	if err != nil {
		return nil, err
	}
	m.lock, err = durable.LockFolder(path)
	switch {
	case errors.Is(err, durable.ErrInUse):
		return nil, errors.Join(fmt.Errorf("another bailiwick-sign is signing with the memory %s: wait for it, then run this again", path), m.Close())
	case err != nil:
		return nil, errors.Join(fmt.Errorf("%w; nothing was signed: what is signed has to be remembered, so name a folder that can be written with --memory DIR", err), m.Close())
	}
	return m, nil
}

// Close implements io.Closer.
func (m *memory) Close() error {
	var errs []error
	if m.lock != nil {
		errs = append(errs, m.lock.Unlock())
	}
	if m.dir != nil {
		errs = append(errs, m.dir.Close())
	}
	return errors.Join(errs...)
}

func fileOf(root digest) string { return hex.EncodeToString(root[:]) + ".json" }

// recall returns what is known of a repository, nil if nothing is.
func (m *memory) recall(root digest) (*remembered, error) {
	if m.dir == nil {
		return nil, nil
	}
	r, err := m.load(fileOf(root))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil && r.Root != root {
		err = m.damaged(fileOf(root), "it is about another repository than its name says")
	}
	if err != nil {
		return nil, err
	}
	return r, nil
}

// load reads a file of the memory. There is no way around a damaged one: a program that starts anew
// would forget.
func (m *memory) load(name string) (*remembered, error) {
	info, err := m.dir.Lstat(name)
	if err != nil {
		return nil, fmt.Errorf("reading the memory: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, m.damaged(name, "it is not a regular file")
	}
	f, err := m.dir.Open(name)
	if err != nil {
		return nil, fmt.Errorf("reading the memory: %w", err)
	}
	defer func() { _ = f.Close() }() // was only read
	r := &remembered{}
	limited := &io.LimitedReader{R: f, N: maxMemoryFile}
	d := json.NewDecoder(limited)
	d.DisallowUnknownFields()
	if err := d.Decode(r); err != nil {
		return nil, m.damaged(name, err.Error())
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) || limited.N == 0 {
		return nil, m.damaged(name, "something follows its end, or it is too long")
	}
	if r.Format != memoryFormat {
		return nil, fmt.Errorf("the memory %s has form %d and this program reads form %d: use a newer bailiwick-sign", filepath.Join(m.path, name), r.Format, memoryFormat)
	}
	for role, k := range r.Roles {
		if k.Seen < 0 || k.Signed < 0 || (k.Seen == 0) != (k.SeenSum == digest{}) || (k.Signed == 0) != (k.SignedSum == digest{}) {
			return nil, m.damaged(name, fmt.Sprintf("what it holds of %.80q can not be", role))
		}
	}
	return r, nil
}

func (m *memory) damaged(name, why string) error {
	return fmt.Errorf("the memory %s is damaged: %s; nothing was signed: bring it back from a copy, or, if there is none, look at what the index has published "+
		"from another machine, then begin a new memory with --memory NEW-FOLDER", filepath.Join(m.path, name), why)
}

// owner finds the repository, other than root, for which a key has signed; nil if there is none. A
// signature says nothing of the repository that it was made for, so a key must serve one.
func (m *memory) owner(id key.ID, root digest) (*remembered, error) {
	if m.dir == nil {
		return nil, nil
	}
	entries, err := fs.ReadDir(m.dir.FS(), ".")
	if err != nil {
		return nil, fmt.Errorf("reading the memory %s: %w", m.path, err)
	}
	if len(entries) > maxRepositories {
		return nil, fmt.Errorf("the memory %s holds more than %d files: move away what does not belong there", m.path, maxRepositories)
	}
	for _, e := range entries {
		name := e.Name()
		if filepath.Ext(name) != ".json" || name == fileOf(root) {
			continue
		}
		r, err := m.load(name)
		if err != nil {
			return nil, err
		}
		if slices.Contains(r.Keys, id) {
			return r, nil
		}
	}
	return nil, nil
}

// keep replaces what is known of a repository, durably.
func (m *memory) keep(r *remembered) error {
	r.Format = memoryFormat
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetIndent("", " ")
	if err := e.Encode(r); err != nil {
		return fmt.Errorf("remembering: %w", err)
	}
	if err := durable.Replace(m.dir, fileOf(r.Root), b.Bytes(), 0o600); err != nil {
		return fmt.Errorf("remembering what is signed: %w; nothing was signed: make the folder writable, or name another with --memory DIR", err)
	}
	return nil
}
