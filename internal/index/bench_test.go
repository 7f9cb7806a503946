package index_test

import (
	"bytes"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"example.com/bailiwick/internal/ceremony"
	"example.com/bailiwick/internal/files"
	"example.com/bailiwick/internal/index"
	"example.com/bailiwick/internal/ledger"
	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/internal/publish/publishtest"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/internal/pypi/distmake"
	"example.com/bailiwick/tuf/key"
)

// shop is an index on a SQLite ledger, with projects of one file each.
type shop struct {
	index     *index.Index
	publisher *publish.Publisher
	actor     index.Actor
	alice     key.Signer
}

func newShop(b *testing.B, projects int) *shop {
	b.Helper()
	l, err := ledger.CreateSQLite(b.Context(), filepath.Join(b.TempDir(), "ledger.db"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	s := &shop{alice: newSigner(b)}
	keys := publishtest.Create(b, l, publishtest.Options{Bins: 256, Now: time.Now()})
	s.publisher = publishtest.Run(b, publish.Config{Ledger: l, Signers: keys.Online(), Now: time.Now, Queue: projects + 1})
	s.index, err = index.New(index.Config{Publisher: s.publisher, Files: files.NewMemory(), Tokens: l, Records: l, Now: time.Now})
	if err != nil {
		b.Fatal(err)
	}
	secret, _, err := s.index.NewToken(b.Context(), "bench", nil)
	if err != nil {
		b.Fatal(err)
	}
	if s.actor, err = s.index.Authenticate(b.Context(), secret); err != nil {
		b.Fatal(err)
	}
	errs := make(chan error, projects)
	for i := range projects {
		f := publishtest.File(b, fmt.Sprintf("filler%d-1.0-py3-none-any.whl", i), "content")
		go func() {
			_, err := s.publisher.Publish(b.Context(), publish.AddFile{File: f})
			errs <- err
		}()
	}
	for range projects {
		if err := <-errs; err != nil {
			b.Fatal(err)
		}
	}
	return s
}

// upload sends one file and returns what became of it.
func (s *shop) upload(b *testing.B, file distmake.File) index.Receipt {
	b.Helper()
	c, err := s.index.Stage(b.Context(), bytes.NewReader(file.Data))
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	form, err := index.ParseForm(fields(file), file.Name)
	if err != nil {
		b.Fatal(err)
	}
	r, err := s.index.Upload(b.Context(), s.actor, form, c)
	if err != nil {
		b.Fatal(err)
	}
	return r
}

// sign makes a request as a maintainer's machine does.
func (s *shop) sign(b *testing.B, p pypi.Project, d publishtest.Draft) *ceremony.Request {
	b.Helper()
	standing, err := s.publisher.Current().Standing(b.Context(), p)
	if err != nil {
		b.Fatal(err)
	}
	r, err := d.On(standing, time.Now())
	if err == nil {
		err = publishtest.Sign(r, "", s.alice)
	}
	if err != nil {
		b.Fatal(err)
	}
	return r
}

func (s *shop) propose(b *testing.B, r *ceremony.Request) {
	b.Helper()
	if out, err := s.index.Propose(b.Context(), s.actor, r); err != nil || out.Publication == 0 {
		b.Fatalf("%+v, %v", out, err)
	}
}

// dist makes the files of a release: a wheel, and with two of them a source distribution.
func dist(project string, n, files int) []distmake.File {
	version := fmt.Sprintf("1.%d", n)
	return []distmake.File{wheel(project, version), sdist(project, version)}[:files]
}

// BenchmarkRelease is the server's time for a release, from the first byte to installable: uploaded
// to an unclaimed project, and uploaded to a claimed one and signed. The work of the maintainer's
// own machine is not counted.
func BenchmarkRelease(b *testing.B) {
	for _, files := range []int{1, 2} {
		b.Run(fmt.Sprintf("unclaimed/files=%d", files), func(b *testing.B) { benchmarkUnclaimed(b, files) })
		b.Run(fmt.Sprintf("claimed/files=%d", files), func(b *testing.B) { benchmarkClaimed(b, files) })
	}
}

func benchmarkUnclaimed(b *testing.B, files int) {
	s := newShop(b, 1000)
	for n := 0; b.Loop(); n++ {
		b.StopTimer()
		release := dist("demo", n, files)
		b.StartTimer()
		for _, f := range release {
			s.upload(b, f)
		}
	}
}

func benchmarkClaimed(b *testing.B, files int) {
	s := newShop(b, 1000)
	p, err := pypi.ParseProject("demo")
	if err != nil {
		b.Fatal(err)
	}
	s.propose(b, s.sign(b, p, publishtest.Draft{Kind: ceremony.Claim, Keys: []key.Signer{s.alice}}))
	for n := 0; b.Loop(); n++ {
		b.StopTimer()
		release := dist("demo", n, files)
		b.StartTimer()
		for _, f := range release {
			s.upload(b, f)
		}
		b.StopTimer()
		staged, err := s.index.Staged(b.Context(), s.actor, p)
		if err != nil {
			b.Fatal(err)
		}
		d := publishtest.Draft{Kind: ceremony.Release}
		for _, f := range staged {
			d.Add = append(d.Add, f.File)
		}
		r := s.sign(b, p, d)
		b.StartTimer()
		s.propose(b, r)
	}
}

// BenchmarkClaim is the time from a signed claim to its visibility; BenchmarkOne of package
// publish is the same for an upload.
func BenchmarkClaim(b *testing.B) {
	s := newShop(b, 1000)
	for n := 0; b.Loop(); n++ {
		b.StopTimer()
		p, err := pypi.ParseProject(fmt.Sprintf("claim%d", n))
		if err != nil {
			b.Fatal(err)
		}
		r := s.sign(b, p, publishtest.Draft{Kind: ceremony.Claim, Keys: []key.Signer{s.alice}})
		b.StartTimer()
		s.propose(b, r)
	}
}
