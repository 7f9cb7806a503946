package cli

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/gofrs/flock"

	"example.com/bailiwick/internal/durable"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/internal/verify"
	"example.com/bailiwick/tuf/key"
)

// The memory of assurance: a file in the state folder of a root.
const (
	memoryName     = "assurance.json"
	memoryFormat   = 1
	maxMemory      = 32 << 20 // bytes of the file
	maxMemorySize  = 20_000   // projects
	maxMemoryKeys  = 256      // keys of one project, in a file that is read
	memoryLockTime = 10 * time.Second
)

// memory remembers the best assurance of every project that was seen claimed. It implements
// verify.Memory. What is remembered counts at once in this process; it is written by one goroutine at
// a time, which takes all that is new, so that an install of many projects costs a few writes.
//
// A file that can not be read, or was changed by anything else, is not taken for an empty one: until
// its owner removes it, nothing of it is known, and that is an error for everybody who asks.
type memory struct {
	folder string
	warn   func(string)

	mu      sync.Mutex
	broken  error // why nothing is known
	seen    map[pypi.Project]verify.Sighting
	dirty   map[pypi.Project]verify.Sighting
	writing chan struct{} // closed when the running writer ends; nil: none runs
	warned  bool
}

// openMemory reads what is remembered for a root.
func openMemory(folder string, warn func(string)) *memory {
	m := &memory{folder: folder, warn: warn, dirty: make(map[pypi.Project]verify.Sighting)}
	m.seen, m.broken = readMemory(m.path())
	return m
}

func (m *memory) path() string { return filepath.Join(m.folder, memoryName) }

// Recall implements verify.Memory.
func (m *memory) Recall(p pypi.Project) (verify.Sighting, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, ok := m.seen[p]
	return s, ok, m.broken
}

// Remember implements verify.Memory. What says nothing new is not written again on the same day.
func (m *memory) Remember(p pypi.Project, s verify.Sighting) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.broken != nil {
		return
	}
	old, known := m.seen[p]
	if !known && len(m.seen) >= maxMemorySize {
		m.complain(fmt.Errorf("it is full with %d projects", maxMemorySize))
		return
	}
	merged := s
	if known {
		merged = old.Merge(s)
	}
	m.seen[p] = merged
	if known && sameSighting(old, merged) {
		return
	}
	m.dirty[p] = merged
	if m.writing == nil {
		m.writing = make(chan struct{})
		go m.write(m.writing)
	}
}

// sameSighting reports whether two sightings say the same, but for the time of the day.
func sameSighting(a, b verify.Sighting) bool {
	x, errA := encodeSighting(a, time.DateOnly)
	y, errB := encodeSighting(b, time.DateOnly)
	return errA == nil && errB == nil && bytes.Equal(x, y)
}

// complain warns once; m.mu is held.
func (m *memory) complain(err error) {
	if !m.warned {
		m.warned = true
		m.warn(fmt.Sprintf("cannot remember in %s what was seen: %v", m.path(), err))
	}
}

// write writes until there is nothing new.
func (m *memory) write(done chan struct{}) {
	defer close(done)
	for {
		m.mu.Lock()
		news := m.dirty
		if len(news) == 0 {
			m.writing = nil
			m.mu.Unlock()
			return
		}
		m.dirty = make(map[pypi.Project]verify.Sighting)
		m.mu.Unlock()
		if err := m.merge(news); err != nil {
			m.mu.Lock()
			m.complain(err)
			m.mu.Unlock()
		}
	}
}

// merge brings what is new into the file, with what other processes wrote meanwhile.
func (m *memory) merge(news map[pypi.Project]verify.Sighting) error {
	if err := os.MkdirAll(m.folder, 0o700); err != nil {
		return err
	}
	lock := flock.New(m.path()+".lock", flock.SetPermissions(0o600))
	ctx, cancel := context.WithTimeout(context.Background(), memoryLockTime)
	defer cancel()
	if ok, err := lock.TryLockContext(ctx, 20*time.Millisecond); err != nil || !ok {
		return fmt.Errorf("another process has it: %w", err)
	}
	defer func() { _ = lock.Unlock() }() // the lock ends with the process at the latest
	all, err := readMemory(m.path())
	if err != nil {
		return err // damaged since it was opened: kept as it is, for its owner to see
	}
	for p, s := range news {
		if old, ok := all[p]; ok {
			s = old.Merge(s)
		} else if len(all) >= maxMemorySize {
			return fmt.Errorf("it is full with %d projects", maxMemorySize)
		}
		all[p] = s
	}
	data, err := encodeMemory(all)
	if err != nil {
		return err
	}
	dir, err := os.OpenRoot(m.folder)
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := durable.Replace(dir, memoryName, data, 0o600); err != nil {
		return err
	}
	m.learn(all)
	return nil
}

// learn takes over what other processes saw meanwhile.
func (m *memory) learn(all map[pypi.Project]verify.Sighting) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for p, s := range all {
		if own, ok := m.seen[p]; ok {
			s = s.Merge(own)
		}
		m.seen[p] = s
	}
}

// Close waits until everything is written.
func (m *memory) Close() error {
	m.mu.Lock()
	writing := m.writing
	m.mu.Unlock()
	if writing != nil {
		<-writing
	}
	return nil
}

// memoryFile is the form of the file. The hash is over the bytes of Projects: it tells damage, and a
// hand that meant well, from what this program wrote.
type memoryFile struct {
	Format   int             `json:"format"`
	SHA256   string          `json:"sha256"`
	Projects json.RawMessage `json:"projects"`
}

type memoryProject struct {
	Assurance string      `json:"assurance"`
	Seen      string      `json:"seen"`
	Threshold int         `json:"threshold"`
	Keys      []memoryKey `json:"keys"`
	Former    []memoryKey `json:"former,omitempty"`
}

type memoryKey struct {
	Type   string `json:"keytype"`
	Scheme string `json:"scheme"`
	Public string `json:"public"`
	Seen   string `json:"seen,omitempty"` // of a former key
}

// readMemory reads the file; one that is not there is empty. The error says in a clause what to do.
func readMemory(path string) (map[pypi.Project]verify.Sighting, error) {
	data, err := readBounded(path, maxMemory)
	if errors.Is(err, fs.ErrNotExist) {
		return make(map[pypi.Project]verify.Sighting), nil
	}
	var seen map[pypi.Project]verify.Sighting
	if err == nil {
		seen, err = decodeMemory(data)
	}
	if err != nil {
		return nil, fmt.Errorf("%s cannot be used (%w): restore it, or remove it to begin to remember anew", path, err)
	}
	return seen, nil
}

func decodeMemory(data []byte) (map[pypi.Project]verify.Sighting, error) {
	var f memoryFile
	if err := strictJSON(data, &f); err != nil {
		return nil, errors.New("damaged: no memory of this program")
	}
	if f.Format != memoryFormat {
		return nil, fmt.Errorf("its format is %d, and this program writes %d", f.Format, memoryFormat)
	}
	if sum := sha256.Sum256(f.Projects); hex.EncodeToString(sum[:]) != f.SHA256 {
		return nil, errors.New("damaged: not what this program wrote")
	}
	var projects map[string]memoryProject
	if err := strictJSON(f.Projects, &projects); err != nil {
		return nil, errors.New("damaged: its projects cannot be read")
	}
	seen := make(map[pypi.Project]verify.Sighting, len(projects))
	for name, stored := range projects {
		p, err := pypi.ParseProject(name)
		if err != nil || p.String() != name {
			return nil, fmt.Errorf("damaged: %.80q is no project", name)
		}
		if seen[p], err = stored.sighting(); err != nil {
			return nil, fmt.Errorf("damaged: %s: %w", name, err)
		}
	}
	return seen, nil
}

func strictJSON(data []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if d.More() {
		return errors.New("more than one value")
	}
	return nil
}

func (stored *memoryProject) sighting() (verify.Sighting, error) {
	s := verify.Sighting{Threshold: stored.Threshold}
	var err error
	var known bool
	if s.Assurance, known = policy.ParseAssurance(stored.Assurance); !known {
		return s, fmt.Errorf("%.60q is no assurance", stored.Assurance)
	}
	if s.Seen, err = time.Parse(time.RFC3339, stored.Seen); err != nil {
		return s, err
	}
	if len(stored.Keys)+len(stored.Former) > maxMemoryKeys {
		return s, errors.New("too many keys")
	}
	for _, k := range stored.Keys {
		public, err := key.New(k.Type, k.Scheme, k.Public)
		if err != nil {
			return s, err
		}
		s.Keys = append(s.Keys, public)
	}
	for _, k := range stored.Former {
		public, err := key.New(k.Type, k.Scheme, k.Public)
		if err != nil {
			return s, err
		}
		when, err := time.Parse(time.RFC3339, k.Seen)
		if err != nil {
			return s, err
		}
		s.Former = append(s.Former, verify.FormerKey{Key: public, Seen: when})
	}
	return s, nil
}

func encodeMemory(seen map[pypi.Project]verify.Sighting) ([]byte, error) {
	projects := make(map[string]json.RawMessage, len(seen))
	for p, s := range seen {
		if s.Assurance == policy.Unclaimed {
			continue // nothing is less
		}
		data, err := encodeSighting(s, time.RFC3339)
		if err != nil {
			return nil, err
		}
		projects[p.String()] = data
	}
	raw, err := json.Marshal(projects)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(raw)
	data, err := json.Marshal(memoryFile{Format: memoryFormat, SHA256: hex.EncodeToString(sum[:]), Projects: raw})
	if err == nil && len(data) >= maxMemory {
		err = fmt.Errorf("it would have more than %d bytes", maxMemory)
	}
	return append(data, '\n'), err
}

func encodeSighting(s verify.Sighting, form string) ([]byte, error) {
	stored := memoryProject{Assurance: s.Assurance.String(), Seen: s.Seen.UTC().Format(form), Threshold: s.Threshold, Keys: []memoryKey{}}
	for _, k := range s.Keys {
		stored.Keys = append(stored.Keys, memoryKey{Type: k.Type(), Scheme: k.Scheme(), Public: k.Value()})
	}
	for _, f := range s.Former {
		stored.Former = append(stored.Former, memoryKey{
			Type: f.Key.Type(), Scheme: f.Key.Scheme(), Public: f.Key.Value(), Seen: f.Seen.UTC().Format(form),
		})
	}
	return json.Marshal(stored)
}
