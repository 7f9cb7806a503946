package index_test

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/crypto/blake2b"

	"example.com/bailiwick/internal/files"
	"example.com/bailiwick/internal/index"
	"example.com/bailiwick/internal/ledger"
	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/internal/publish/publishtest"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/internal/pypi/distmake"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errInjected = errors.New("injected: input/output error")

// store wraps a file store. Tests set what fails, and it counts what is neither kept nor discarded.
type store struct {
	index.Files

	mu     sync.Mutex
	fail   map[string]error // by step: Stage, Write, Keep, Open
	effect bool             // a failing Keep has its effect all the same
	open   int
	opened []string // hashes, in hexadecimal
}

func (s *store) set(step string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = map[string]error{step: err}
}

func (s *store) of(step string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fail[step]
}

func (s *store) count(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open += n
}

func (s *store) Stage(ctx context.Context) (index.Staged, error) {
	if err := s.of("Stage"); err != nil {
		return nil, err
	}
	staged, err := s.Files.Stage(ctx)
	if err == nil {
		s.count(+1)
	}
	return &stagedFile{Staged: staged, store: s}, err
}

func (s *store) Open(ctx context.Context, sum [32]byte) (index.Blob, error) {
	if err := s.of("Open"); err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.opened = append(s.opened, hex.EncodeToString(sum[:]))
	s.mu.Unlock()
	return s.Files.Open(ctx, sum)
}

type stagedFile struct {
	index.Staged
	store *store
	ended bool
}

func (f *stagedFile) end() {
	if !f.ended {
		f.ended = true
		f.store.count(-1)
	}
}

func (f *stagedFile) Write(p []byte) (int, error) {
	if err := f.store.of("Write"); err != nil {
		n, _ := f.Staged.Write(p[:len(p)/2]) // torn
		return n, err
	}
	return f.Staged.Write(p)
}

func (f *stagedFile) Keep(ctx context.Context, sum [32]byte) error {
	if err := f.store.of("Keep"); err != nil {
		if f.store.effect {
			return errors.Join(err, f.Staged.Keep(ctx, sum))
		}
		return err
	}
	err := f.Staged.Keep(ctx, sum)
	if err == nil {
		f.end()
	}
	return err
}

func (f *stagedFile) Discard() error {
	f.end()
	return f.Staged.Discard()
}

// fixture is an index in memory, and who may upload to it.
type fixture struct {
	t         *testing.T
	index     *index.Index
	publisher *publish.Publisher
	files     *store
	tokens    *ledger.Memory
	actor     index.Actor
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	l := ledger.NewMemory()
	keys := publishtest.Create(t, l, publishtest.Options{Claimed: []string{"claimed"}, Recent: []string{"recent"}})
	f := &fixture{t: t, files: &store{Files: files.NewMemory()}, tokens: l}
	f.publisher = publishtest.Run(t, publish.Config{Ledger: l, Signers: keys.Online()})
	x, err := index.New(index.Config{
		Publisher: f.publisher, Files: f.files, Tokens: l, Limits: index.Limits{FileSize: 1 << 20}, Now: publishtest.Start,
	})
	if err != nil {
		t.Fatal(err)
	}
	f.index = x
	f.actor = f.login(nil)
	t.Cleanup(func() {
		if f.files.open != 0 {
			t.Errorf("%d staged files were neither kept nor discarded", f.files.open)
		}
	})
	return f
}

// login makes a token for projects and returns its actor.
func (f *fixture) login(projects []pypi.Project) index.Actor {
	f.t.Helper()
	secret, _, err := f.index.NewToken(f.t.Context(), "test", projects)
	if err != nil {
		f.t.Fatal(err)
	}
	a, err := f.index.Authenticate(f.t.Context(), secret)
	if err != nil {
		f.t.Fatal(err)
	}
	return a
}

// fields returns the form that an upload tool sends for a file.
func fields(file distmake.File) map[string][]string {
	name, version := "demo", "1.0"
	if n, err := pypi.ParseFilename(file.Name); err == nil {
		name, version = n.Project().String(), n.Version().String()
	}
	filetype, pyversion := "bdist_wheel", "py3"
	if !strings.HasSuffix(file.Name, ".whl") {
		filetype, pyversion = "sdist", "source"
	}
	s2, m5, b2 := sha256.Sum256(file.Data), md5.Sum(file.Data), blake2b.Sum256(file.Data)
	return map[string][]string{
		":action": {"file_upload"}, "protocol_version": {"1"}, "metadata_version": {"2.1"},
		"name": {name}, "version": {version}, "filetype": {filetype}, "pyversion": {pyversion},
		"sha256_digest": {hex.EncodeToString(s2[:])}, "md5_digest": {hex.EncodeToString(m5[:])},
		"blake2_256_digest": {hex.EncodeToString(b2[:])},
		"summary":           {""}, "classifiers": {"a", "b"}, "comment": {""},
	}
}

// send uploads a file with the form that edit leaves.
func (f *fixture) send(a index.Actor, file distmake.File, edit func(form map[string][]string)) (index.Receipt, error) {
	f.t.Helper()
	form := fields(file)
	if edit != nil {
		edit(form)
	}
	content, err := f.index.Stage(f.t.Context(), bytes.NewReader(file.Data))
	if err != nil {
		return index.Receipt{}, err
	}
	defer func() {
		if err := content.Close(); err != nil {
			f.t.Error(err)
		}
	}()
	parsed, err := index.ParseForm(form, file.Name)
	if err != nil {
		return index.Receipt{}, err
	}
	return f.index.Upload(f.t.Context(), a, parsed, content)
}

func (f *fixture) upload(file distmake.File) index.Receipt {
	f.t.Helper()
	r, err := f.send(f.actor, file, nil)
	if err != nil {
		f.t.Fatalf("uploading %s: %v", file.Name, err)
	}
	return r
}

// refused fails the test unless err is a refusal of a kind, fit to be shown.
func refused(t *testing.T, err error, kind index.Kind) *index.Refusal {
	t.Helper()
	var r *index.Refusal
	if !errors.As(err, &r) {
		t.Errorf("got %v, want a refusal (%v)", err, kind)
		return &index.Refusal{}
	}
	if r.Kind != kind {
		t.Errorf("refused as %v (%s), want %v", r.Kind, r.Message, kind)
	}
	if r.Message == "" || len(r.Message) > 200 || strings.ContainsFunc(r.Message, func(c rune) bool { return c < ' ' || c > '~' }) {
		t.Errorf("the message %q does not fit into a status line", r.Message)
	}
	return r
}

func project(t *testing.T, name string) pypi.Project {
	t.Helper()
	p, err := pypi.ParseProject(name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func filename(t *testing.T, name string) pypi.Filename {
	t.Helper()
	f, err := pypi.ParseFilename(name)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// listed returns the names of the files on a project's page.
func (f *fixture) listed(name string) []string {
	f.t.Helper()
	page, _, err := f.index.Project(f.t.Context(), project(f.t, name))
	var r *index.Refusal
	if errors.As(err, &r) && r.Kind == index.NotFound {
		return nil
	}
	if err != nil {
		f.t.Fatal(err)
	}
	var names []string
	for _, file := range page.Files {
		names = append(names, file.Filename)
	}
	return names
}

func content(t *testing.T, file *index.File, err error) []byte {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(io.LimitReader(file, 1<<20))
	if err := errors.Join(err, file.Close()); err != nil {
		t.Fatal(err)
	}
	if int64(len(data)) != file.Size() || sha256.Sum256(data) != file.SHA256 {
		t.Errorf("%d bytes with SHA-256 %x, announced as %d with %x", len(data), sha256.Sum256(data), file.Size(), file.SHA256)
	}
	return data
}

func TestNewRefusesHalfAnIndex(t *testing.T) {
	f := newFixture(t)
	good := index.Config{Publisher: f.publisher, Files: f.files, Tokens: f.tokens, Now: publishtest.Start}
	if _, err := index.New(good); err != nil {
		t.Fatal(err)
	}
	for i, edit := range []func(c *index.Config){
		func(c *index.Config) { c.Publisher = nil },
		func(c *index.Config) { c.Files = nil },
		func(c *index.Config) { c.Tokens = nil },
		func(c *index.Config) { c.Now = nil },
		func(c *index.Config) { c.Limits.FileSize = -1 },
	} {
		c := good
		edit(&c)
		if _, err := index.New(c); err == nil {
			t.Errorf("configuration %d was accepted", i)
		}
	}
}

func TestKindWords(t *testing.T) {
	seen := make(map[string]bool)
	for k := index.Invalid; k <= index.Conflict; k++ {
		if s := k.String(); s == "" || strings.HasPrefix(s, "kind(") || seen[s] {
			t.Errorf("kind %d is called %q", int(k), s)
		}
		seen[k.String()] = true
	}
	for _, k := range []index.Kind{-1, 0, index.Conflict + 1} {
		if s := k.String(); s != fmt.Sprintf("kind(%d)", int(k)) {
			t.Errorf("kind %d is called %q", int(k), s)
		}
	}
}
