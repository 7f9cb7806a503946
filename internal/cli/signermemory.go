package cli

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"example.com/bailiwick/internal/custody"
	"example.com/bailiwick/internal/durable"
	"example.com/bailiwick/tuf"
)

// Names in the state folder of a signer, and its format.
const (
	signerFormat  = 1
	signedFile    = "signed.json" // what was signed last
	retiredFile   = "retired"     // files that were taken off a list, one path a line; only appended to
	signerRoot    = "root.json"   // the pinned root
	signerClient  = "tuf"         // what the signer verified
	maxSignedFile = custody.MaxAnswer + 64<<20
	maxRetired    = 1 << 30 // bytes
)

// signerMemory is a custody.Memory in a folder. It belongs to one goroutine of the process that holds the
// folder's lock.
type signerMemory struct {
	dir     *os.Root
	lock    *durable.Lock
	last    *custody.Signed
	retired map[tuf.TargetPath]bool
	size    int64 // of the whole lines of the file retired
	broken  error // a failed sync of that file, after which nothing in it can be relied on until it is read again
}

var _ custody.Memory = (*signerMemory)(nil)

// signedForm is the file signed.json.
type signedForm struct {
	Proposal string           `json:"proposal"`
	Number   int64            `json:"number"`
	Time     time.Time        `json:"time"`
	Snapshot string           `json:"snapshot"`
	Roles    map[string]int64 `json:"roles"`
	Answer   json.RawMessage  `json:"answer"`
}

// openSignerMemory opens a state folder, making it if there is none, and locks it.
func openSignerMemory(path string) (_ *signerMemory, err error) {
	if err := makeFolder(path); err != nil {
		return nil, fmt.Errorf("making the state folder: %w", err)
	}
	if err := checkSignerState(path); err != nil {
		return nil, err
	}
	lock, err := durable.LockFolder(path)
	switch {
	case errors.Is(err, durable.ErrInUse): // not with another folder: what is remembered there keeps the signer from contradicting itself
		return nil, fmt.Errorf("another signer already uses %s: end that one first (%w)", path, durable.ErrInUse)
	case err != nil:
		return nil, fmt.Errorf("locking the state folder: %w", err)
	}
	dir, err := os.OpenRoot(path)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening the state folder: %w", err), lock.Unlock())
	}
	m := &signerMemory{dir: dir, lock: lock, retired: make(map[tuf.TargetPath]bool)}
	defer func() {
		if err != nil {
			err = errors.Join(err, m.Close())
		}
	}()
	if _, err := durable.ReadFormat(dir, signerFormat); errors.Is(err, durable.ErrNoFormat) {
		if err := durable.CreateFormat(dir, signerFormat); err != nil {
			return nil, fmt.Errorf("marking the state folder: %w", err)
		}
	} else if err != nil {
		return nil, fmt.Errorf("opening the state folder %s: %w", path, err)
	}
	if err := m.readSigned(); err != nil {
		return nil, fmt.Errorf("reading what was signed last: %w", err)
	}
	if err := m.readRetired(); err != nil {
		return nil, fmt.Errorf("reading which file names were retired: %w", err)
	}
	return m, nil
}

// checkSignerState refuses a state folder that others can change: what is remembered there keeps the signer from signing
// two publications of one number.
func checkSignerState(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("looking at the state folder: %w", err)
	}
	if durable.OthersMayWrite(info) {
		return fmt.Errorf("the state folder %s has the mode %04o, so others could make the signer forget what it signed: run chmod 700 %s, and look at what it holds",
			path, info.Mode().Perm(), path)
	}
	if owner, foreign := durable.Foreign(info); foreign {
		return fmt.Errorf("the state folder %s belongs to another user (%d), who could make the signer forget what it signed: run the signer as that user, or give the folder to yours",
			path, owner)
	}
	return nil
}

// Close gives the folder back.
func (m *signerMemory) Close() error { return errors.Join(m.dir.Close(), m.lock.Unlock()) }

func (m *signerMemory) readSigned() error {
	data, err := readIn(m.dir, signedFile, maxSignedFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var f signedForm
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		return fmt.Errorf("%s is damaged: %w", signedFile, err)
	}
	s := &custody.Signed{Number: f.Number, Time: f.Time, Roles: make(map[tuf.RoleName]int64, len(f.Roles)), Answer: f.Answer}
	for _, sum := range []struct {
		text string
		into *[32]byte
	}{{f.Proposal, &s.ID}, {f.Snapshot, &s.Snapshot}} {
		raw, err := hex.DecodeString(sum.text)
		if err != nil || len(raw) != len(sum.into) {
			return fmt.Errorf("%s is damaged: %.80q is no SHA-256", signedFile, sum.text)
		}
		copy(sum.into[:], raw)
	}
	for name, version := range f.Roles {
		s.Roles[tuf.RoleName(name)] = version
	}
	m.last = s
	return nil
}

// readRetired reads the list. A line that was being written when the power went is not part of it.
func (m *signerMemory) readRetired() error {
	data, err := readIn(m.dir, retiredFile, maxRetired)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	whole := data[:bytes.LastIndexByte(data, '\n')+1]
	m.size = int64(len(whole))
	for line := range bytes.Lines(whole) {
		m.retired[tuf.TargetPath(bytes.TrimSuffix(line, []byte("\n")))] = true
	}
	return nil
}

// readIn reads a file of a folder, of at most most bytes.
func readIn(dir *os.Root, name string, most int64) ([]byte, error) {
	f, err := dir.Open(name)
	if err != nil {
		return nil, err //nolint:wrapcheck // names the file
	}
	defer func() { _ = f.Close() }()                   // was only read
	data, err := io.ReadAll(io.LimitReader(f, most+1)) //nolint:forbidigo // bounded, and the length is checked below
	if err != nil {
		return nil, err //nolint:wrapcheck // names the file
	}
	if int64(len(data)) > most {
		return nil, fmt.Errorf("%s is larger than %d bytes", name, most)
	}
	return data, nil
}

// Last implements custody.Memory.
func (m *signerMemory) Last(context.Context) (*custody.Signed, error) { return m.last, nil }

// Retired implements custody.Memory.
func (m *signerMemory) Retired(_ context.Context, path tuf.TargetPath) (bool, error) {
	return m.retired[path], nil
}

// Keep implements custody.Memory. Names are retired first: without the signature that would only be too
// careful.
func (m *signerMemory) Keep(_ context.Context, s *custody.Signed, retired []tuf.TargetPath) error {
	if err := m.retire(retired); err != nil {
		return fmt.Errorf("writing which file names are retired: %w", err)
	}
	f := signedForm{
		Proposal: hex.EncodeToString(s.ID[:]), Number: s.Number, Time: s.Time, Snapshot: hex.EncodeToString(s.Snapshot[:]),
		Roles: make(map[string]int64, len(s.Roles)), Answer: s.Answer,
	}
	for name, version := range s.Roles {
		f.Roles[string(name)] = version
	}
	data, err := json.Marshal(f)
	if err != nil {
		return fmt.Errorf("encoding what is signed: %w", err)
	}
	if err := durable.Replace(m.dir, signedFile, data, 0o600); err != nil {
		return err //nolint:wrapcheck // names the file
	}
	m.last = s
	return nil
}

func (m *signerMemory) retire(paths []tuf.TargetPath) (err error) {
	if m.broken != nil {
		return fmt.Errorf("%w; start the signer anew", m.broken)
	}
	var lines []byte
	for _, path := range paths {
		if !m.retired[path] {
			lines = append(append(lines, path...), '\n')
		}
	}
	if len(lines) == 0 {
		return nil
	}
	f, err := m.dir.OpenFile(retiredFile, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err //nolint:wrapcheck // names the file
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := f.WriteAt(lines, m.size); err != nil { // over a line that was never finished
		return err //nolint:wrapcheck // names the file
	}
	size := m.size + int64(len(lines))
	if err := f.Truncate(size); err != nil {
		return err //nolint:wrapcheck // names the file
	}
	if m.broken = f.Sync(); m.broken != nil {
		return fmt.Errorf("%w; start the signer anew", m.broken)
	}
	if m.size == 0 {
		if err := durable.SyncDir(m.dir, "."); err != nil {
			return err //nolint:wrapcheck // names the folder
		}
	}
	m.size = size
	for _, path := range paths {
		m.retired[path] = true
	}
	return nil
}
