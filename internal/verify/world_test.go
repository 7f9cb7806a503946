package verify_test

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/internal/testrepo"
	"example.com/bailiwick/internal/verify"
	"example.com/bailiwick/tuf/client"
)

const source = "https://user:secret@pkgs.example.com/"

// Files of the repositories under test.
const (
	flaskWheel = "flask-3.1.0-py3-none-any.whl"
	flaskSdist = "flask-3.1.0.tar.gz"
	oldWheel   = "oldlib-1.0-py3-none-any.whl"
)

// clock is a time that tests move while engines read it.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// world is a repository and the state of one installing user.
type world struct {
	*testrepo.Repo
	t       *testing.T
	clock   *clock
	store   client.Store
	cache   *memoryCache
	fetcher client.Fetcher
}

// wheel is a small archive with METADATA inside; filler makes it large and unlike others.
func wheel(t *testing.T, project, metadata string, filler []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, entry := range []struct {
		name    string
		content []byte
	}{
		{project + "/__init__.py", filler},
		{"x/" + project + ".dist-info/METADATA", []byte("a decoy")},
		{project + "-1.0.dist-info/METADATA.txt", []byte("another")},
		{project + "-1.0.dist-info/METADATA", []byte(metadata)},
	} {
		w, err := z.CreateHeader(&zip.FileHeader{Name: entry.name, Method: zip.Store})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(entry.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func random(seed string, n int) []byte {
	out := make([]byte, 0, n+sha256.Size)
	for block := sha256.Sum256([]byte(seed)); len(out) < n; block = sha256.Sum256(block[:]) {
		out = append(out, block[:]...)
	}
	return out[:n]
}

func custom(version string, metadata string) map[string]any {
	c := map[string]any{"version": version, "upload-time": "2030-01-30T10:00:00Z"}
	if metadata != "" {
		sum := sha256.Sum256([]byte(metadata))
		c["core-metadata"] = map[string]any{"sha256": hex.EncodeToString(sum[:])}
	}
	return c
}

const flaskMetadata = "Metadata-Version: 2.1\nName: flask\nVersion: 3.1.0\n"

// newWorld has flask, claimed by 2 of 3 maintainers, and oldlib, unclaimed.
func newWorld(t *testing.T) *world {
	t.Helper()
	r := testrepo.New(t, testrepo.Options{})
	r.Edit["targets"] = func(signed map[string]any) { signed["x-bailiwick-bins"] = 16 }
	r.Touch("targets")
	r.Life["timestamp"] = 24 * time.Hour
	r.Bailiwick(
		testrepo.Project{Name: "flask", Claimed: true, Holders: testrepo.Some("maintainer", 2, 3)},
		testrepo.Project{Name: "oldlib"},
	)
	r.SignWith["project.flask"] = testrepo.Keys("maintainer", 2)
	r.AddTargetCustom("project.flask", testrepo.ProjectPath("flask", flaskWheel), wheel(t, "flask", flaskMetadata, random("flask", 200_000)), custom("3.1.0", flaskMetadata))
	r.AddTargetCustom("project.flask", testrepo.ProjectPath("flask", flaskSdist), random("sdist", 5_000), custom("3.1.0", ""))
	r.AddTargetCustom("project.oldlib", testrepo.ProjectPath("oldlib", oldWheel), wheel(t, "oldlib", "x", random("oldlib", 300)), custom("1.0", ""))
	r.Publish()
	return &world{Repo: r, t: t, clock: &clock{t: r.Now()}, store: client.NewMemory(), cache: newMemoryCache(), fetcher: r}
}

// later moves the clocks of the repository and the user.
func (w *world) later(d time.Duration) {
	w.Advance(d)
	w.clock.Advance(d)
}

// engine starts a session of the same user.
func (w *world) engine(edit ...func(*verify.Config)) *verify.Engine {
	w.t.Helper()
	c, err := client.New(client.Config{Fetcher: w.fetcher, Store: w.store, Root: w.Root(1), Now: w.clock.Now})
	if err != nil {
		w.t.Fatal(err)
	}
	config := verify.Config{Client: c, Fetcher: w.fetcher, Source: source, Now: w.clock.Now}
	if w.cache != nil {
		config.Cache = w.cache
	}
	for _, e := range edit {
		e(&config)
	}
	engine, err := verify.New(config)
	if err != nil {
		w.t.Fatal(err)
	}
	return engine
}

func project(t testing.TB, name string) pypi.Project {
	t.Helper()
	p, err := pypi.ParseProject(name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// read takes a whole file out of an engine.
func read(ctx context.Context, e *verify.Engine, p pypi.Project, name string) ([]byte, error) {
	d, err := e.Open(ctx, p, name)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(d.Stream(ctx))
	return data, errors.Join(err, d.Close())
}

// content is what the repository signed for a file of a project.
func (w *world) content(projectName, name string) []byte {
	w.t.Helper()
	path := testrepo.ProjectPath(projectName, name)
	entry := w.Roles["project."+projectName].Targets[path]
	sum := entry["hashes"].(map[string]any)["sha256"].(string)
	body, err := w.Target(w.t.Context(), path[:len(path)-len(name)]+sum+"."+name, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	data, err := io.ReadAll(body)
	if err != nil {
		w.t.Fatal(err)
	}
	return data
}

// targetName is where the repository serves a file of a project.
func (w *world) targetName(projectName, name string) string {
	return w.TargetName(testrepo.ProjectPath(projectName, name), w.content(projectName, name))
}

// problem is the *verify.Error that err must be.
func problem(t testing.TB, err error) *verify.Error {
	t.Helper()
	var e *verify.Error
	if !errors.As(err, &e) {
		t.Fatalf("got error %v, want a *verify.Error", err)
	}
	return e
}

func wantProblem(t testing.TB, err error, class verify.Class, code string) *verify.Error {
	t.Helper()
	e := problem(t, err)
	if e.Class != class || e.Code != code {
		t.Fatalf("got %s (%s): %v; want %s (%s)", e.Class, e.Code, e, class, code)
	}
	return e
}

// memoryCache is a verify.Cache whose files tests can damage.
type memoryCache struct {
	mu       sync.Mutex
	files    map[[sha256.Size]byte][]byte
	stageErr error // Stage fails with it
	writeErr error // Write fails with it
	open     int   // handles that were not closed
}

func newMemoryCache() *memoryCache {
	return &memoryCache{files: make(map[[sha256.Size]byte][]byte)}
}

type memoryBlob struct {
	*bytes.Reader
	c *memoryCache
}

func (b *memoryBlob) Close() error { b.c.count(-1); return nil }

func (c *memoryCache) count(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open += n
}

func (c *memoryCache) Open(sum [sha256.Size]byte) (verify.Blob, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	data, ok := c.files[sum]
	if !ok {
		return nil, verify.ErrNoFile
	}
	c.open++
	return &memoryBlob{Reader: bytes.NewReader(data), c: c}, nil
}

func (c *memoryCache) Remove(sum [sha256.Size]byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.files, sum)
	return nil
}

func (c *memoryCache) Stage(int64) (verify.Staged, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stageErr != nil {
		return nil, c.stageErr
	}
	c.open++
	return &memoryStaged{c: c}, nil
}

func (c *memoryCache) damage() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, data := range c.files {
		data[len(data)/2] ^= 1
	}
}

func (c *memoryCache) opened() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.open
}

type memoryStaged struct {
	c    *memoryCache
	mu   sync.Mutex
	data []byte
}

func (s *memoryStaged) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.c.writeErr; err != nil {
		return 0, err
	}
	s.data = append(s.data, p...)
	return len(p), nil
}

func (s *memoryStaged) ReadAt(p []byte, at int64) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return bytes.NewReader(s.data).ReadAt(p, at)
}

func (s *memoryStaged) Keep(sum [sha256.Size]byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	s.c.files[sum] = bytes.Clone(s.data)
	return nil
}

func (s *memoryStaged) Close() error { s.c.count(-1); return nil }

func sha(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
