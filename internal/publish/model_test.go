package publish_test

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"example.com/bailiwick/internal/ledger"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/internal/publish/publishtest"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/trust"
)

// model is what a repository should hold, kept in the plainest way.
type model struct {
	listed map[string]string // file name → what a page says of it
	bytes  map[string]string // file name → content, of every name ever used
	sdists map[string]string // project and version → sdist that is listed
}

// fresh takes the steps of a client that knows nothing but the first root, and lists everything.
func fresh(t *rapid.T, v *publish.View, projects []string) map[string]string {
	read := func(role tuf.RoleName, version int64) []byte {
		b, err := v.Metadata(t.Context(), role, version)
		if err != nil {
			t.Fatalf("fetching %d.%s: %v", version, role, err)
		}
		return b
	}
	root, err := trust.Begin(read(tuf.RoleRoot, 1), publishtest.Start(), trust.Options{})
	if err != nil {
		t.Fatal(err)
	}
	timestamps, err := root.Done()
	if err != nil {
		t.Fatal(err)
	}
	snapshots, err := timestamps.Accept(v.Timestamp())
	if err != nil {
		t.Fatal(err)
	}
	targets, err := snapshots.Accept(read(tuf.RoleSnapshot, snapshots.Want().Version))
	if err != nil {
		t.Fatal(err)
	}
	set, err := targets.Accept(read(tuf.RoleTargets, targets.Want().Version))
	if err != nil {
		t.Fatal(err)
	}
	load := func(role tuf.RoleName, meta tuf.Meta) ([]byte, error) { return read(role, meta.Version), nil }
	out := make(map[string]string)
	for _, name := range projects {
		p, err := pypi.ParseProject(name)
		if err != nil {
			t.Fatal(err)
		}
		found, err := set.List(v.Layout().Dir(p), load)
		if err != nil && !errors.Is(err, trust.ErrNotFound) {
			t.Fatalf("a fresh client lists %s: %v", name, err)
		}
		for _, f := range found {
			file, err := policy.File(f.Target)
			if err != nil {
				t.Fatal(err)
			}
			out[file.Filename] = said(file.SHA256, file.Yanked)
		}
	}
	return out
}

func said(sum [32]byte, yanked *string) string {
	if yanked == nil {
		return fmt.Sprintf("%x", sum[:4])
	}
	return fmt.Sprintf("%x yanked %s", sum[:4], *yanked)
}

// expect applies a change to the model and returns the error that it should meet.
func (m *model) expect(t *rapid.T, c publish.Change) error {
	switch c := c.(type) {
	case publish.AddFile:
		name := c.File.Filename.String()
		key := c.File.Project.String() + " " + strings.TrimRight(c.File.Filename.Version().String(), ".0")
		sdist := c.File.Filename.Kind() == pypi.Sdist
		content := fmt.Sprintf("%x", c.File.SHA256[:4])
		switch old, used := m.bytes[name]; {
		case used && (old != content || m.listed[name] == ""):
			return publish.ErrFileExists
		case used:
			return nil
		case sdist && m.sdists[key] != "":
			return publish.ErrSdistExists
		}
		m.bytes[name], m.listed[name] = content, content
		if sdist {
			m.sdists[key] = name
		}
	case publish.Yank:
		for _, name := range c.Files {
			if m.listed[name.String()] == "" {
				return publish.ErrNoFile
			}
		}
		for _, name := range c.Files {
			m.listed[name.String()] = m.bytes[name.String()]
			if c.Reason != nil {
				m.listed[name.String()] += " yanked " + *c.Reason
			}
		}
	case publish.Delete:
		for _, name := range c.Files {
			if m.listed[name.String()] == "" {
				return publish.ErrNoFile
			}
		}
		for _, name := range c.Files {
			delete(m.listed, name.String())
			maps.DeleteFunc(m.sdists, func(_, sdist string) bool { return sdist == name.String() })
		}
	default:
		t.Fatalf("unknown change %T", c)
	}
	return nil
}

func drawChange(t *rapid.T, tb testing.TB, projects []string) publish.Change {
	name := rapid.SampledFrom(projects).Draw(t, "project")
	version := rapid.SampledFrom([]string{"1", "2.0", "2.0.0"}).Draw(t, "version")
	suffix := rapid.SampledFrom([]string{"-py3-none-any.whl", "-py2-none-any.whl", ".tar.gz", ".zip"}).Draw(t, "suffix")
	f := publishtest.File(tb, name+"-"+version+suffix, rapid.SampledFrom([]string{"a", "b"}).Draw(t, "content"))
	switch rapid.IntRange(0, 5).Draw(t, "kind") {
	case 0:
		return publish.Delete{Project: f.Project, Files: []pypi.Filename{f.Filename}}
	case 1:
		reason := rapid.SampledFrom([]string{"", "broken"}).Draw(t, "reason")
		return publish.Yank{Project: f.Project, Files: []pypi.Filename{f.Filename}, Reason: &reason}
	case 2:
		return publish.Yank{Project: f.Project, Files: []pypi.Filename{f.Filename}}
	}
	return publish.AddFile{File: f}
}

// TestRandomHistories: whatever is uploaded, yanked and deleted, whatever fails and restarts on the
// way, a fresh client accepts every publication and sees exactly what it should, and no version
// ever goes down.
func TestRandomHistories(t *testing.T) {
	projects := []string{"alpha", "beta", "gamma", "delta"}
	rapid.Check(t, func(rt *rapid.T) {
		l := newFaulty(ledger.NewMemory())
		keys := publishtest.Create(t, l, publishtest.Options{})
		config := publish.Config{Ledger: l, Signers: keys.Online(), Batch: rapid.IntRange(1, 4).Draw(rt, "batch")}
		p, stop := runUntil(rt, config)
		defer func() { stop() }()
		m := &model{listed: map[string]string{}, bytes: map[string]string{}, sdists: map[string]string{}}
		var client follower
		look := func() {
			client.look(t, p)
			if diff := cmp.Diff(m.listed, fresh(rt, p.Current(), projects)); diff != "" {
				rt.Fatalf("a fresh client sees something else (-want +got):\n%s", diff)
			}
		}
		rt.Repeat(map[string]func(*rapid.T){
			"change": func(rt *rapid.T) {
				c := drawChange(rt, t, projects)
				want := m.expect(rt, c)
				if _, err := p.Publish(t.Context(), c); !errors.Is(err, want) || (want == nil) != (err == nil) {
					rt.Fatalf("%+v: %v, want %v", c, err, want)
				}
				look()
			},
			"failing change": func(rt *rapid.T) {
				c := drawChange(rt, t, projects)
				o := rapid.SampledFrom([]outcome{nothingDone, doneButFailed}).Draw(rt, "outcome")
				before := clone(m)
				want := m.expect(rt, c)
				l.set("Commit", o)
				_, err := p.Publish(t.Context(), c)
				l.clear()
				switch {
				case errors.Is(err, errInjected) && o == nothingDone:
					*m = *before
				case !errors.Is(err, want) || (want == nil) != (err == nil):
					rt.Fatalf("%+v: %v, want %v", c, err, want)
				}
				look()
			},
			"changes at once": func(rt *rapid.T) {
				// New files of different names do not depend on each other's order.
				n := rapid.IntRange(2, 6).Draw(rt, "n")
				results := make(chan error, n)
				wants := 0
				for i := range n {
					f := publishtest.File(t, fmt.Sprintf("%s-3.%d.%d-py3-none-any.whl",
						projects[i%len(projects)], len(m.bytes), i), "a")
					if m.expect(rt, publish.AddFile{File: f}) == nil {
						wants++
					}
					go func() {
						_, err := p.Publish(t.Context(), publish.AddFile{File: f})
						results <- err
					}()
				}
				for range n {
					if err := <-results; err == nil {
						wants--
					}
				}
				if wants != 0 {
					rt.Fatalf("%d changes fewer succeeded than should", wants)
				}
				look()
			},
			"restart": func(rt *rapid.T) {
				stop()
				p, stop = runUntil(rt, config)
				look()
			},
		})
		if err := publish.Check(t.Context(), l); err != nil {
			rt.Fatal(err)
		}
	})
}

func clone(m *model) *model {
	return &model{maps.Clone(m.listed), maps.Clone(m.bytes), maps.Clone(m.sdists)}
}

func runUntil(t *rapid.T, c publish.Config) (*publish.Publisher, func()) {
	p, stop, err := publishtest.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	return p, stop
}

// TestRestartChangesNothing: a publisher that is opened again is in the state in which it stopped.
func TestRestartChangesNothing(t *testing.T) {
	l := newFaulty(ledger.NewMemory())
	keys := publishtest.Create(t, l, publishtest.Options{})
	config := publish.Config{Ledger: l, Signers: keys.Online()}
	a := publishtest.Run(t, config)
	for i := range 20 {
		must(t, a, add(t, fmt.Sprintf("project%d-%d-py3-none-any.whl", i%6, i), "x"))
	}
	b := publishtest.Run(t, config)
	if a.Current().Number() != b.Current().Number() || !a.Current().Time().Equal(b.Current().Time()) ||
		string(a.Current().Timestamp()) != string(b.Current().Timestamp()) {
		t.Errorf("publication %d of %v became %d of %v", a.Current().Number(), a.Current().Time(), b.Current().Number(), b.Current().Time())
	}
	dump := func(p *publish.Publisher) string {
		var s strings.Builder
		for role, meta := range p.Current().Set().Snapshot().All() {
			fmt.Fprintln(&s, role, meta.Version)
		}
		for i := range 6 {
			fmt.Fprintln(&s, names(t, p, fmt.Sprintf("project%d", i)))
		}
		return s.String()
	}
	if diff := cmp.Diff(dump(a), dump(b)); diff != "" {
		t.Errorf("the repository changed (-before +after):\n%s", diff)
	}
	before := l.count()
	if r := must(t, b, add(t, "project3-3-py3-none-any.whl", "x")); !r.Unchanged || l.count() != before {
		t.Errorf("a file from before: %+v", r)
	}
}
