package publish_test

import (
	"fmt"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"example.com/bailiwick/internal/ledger"
	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/internal/publish/publishtest"
	"example.com/bailiwick/internal/pypi"
)

// filled returns a running publisher whose repository has so many projects of one file each.
func filled(b *testing.B, l publish.Ledger, projects int) *publish.Publisher {
	b.Helper()
	keys := publishtest.Create(b, l, publishtest.Options{Bins: 256, Now: time.Now()})
	p := publishtest.Run(b, publish.Config{Ledger: l, Signers: keys.Online(), Now: time.Now, Queue: projects + 1})
	errs := make(chan error, projects)
	for i := range projects {
		f := publishtest.File(b, fmt.Sprintf("project%d-1.0-py3-none-any.whl", i), "content")
		go func() {
			_, err := p.Publish(b.Context(), publish.AddFile{File: f})
			errs <- err
		}()
	}
	for range projects {
		if err := <-errs; err != nil {
			b.Fatal(err)
		}
	}
	return p
}

func release(b *testing.B, project int, version int64) publish.File {
	b.Helper()
	name, err := pypi.ParseFilename(fmt.Sprintf("project%d-2.%d-py3-none-any.whl", project, version))
	if err != nil {
		b.Fatal(err)
	}
	f := publishtest.File(b, name.String(), "content")
	return f
}

func inMemory(*testing.B) publish.Ledger { return ledger.NewMemory() }

func inSQLite(b *testing.B) publish.Ledger {
	l, err := ledger.CreateSQLite(b.Context(), filepath.Join(b.TempDir(), "ledger.db"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := l.Close(); err != nil {
			b.Error(err)
		}
	})
	return l
}

// scenarios runs a benchmark on each kind of ledger and size of index.
func scenarios(b *testing.B, run func(b *testing.B, p *publish.Publisher, projects int)) {
	b.Helper()
	for _, l := range []struct {
		name string
		open func(*testing.B) publish.Ledger
	}{{"memory", inMemory}, {"sqlite", inSQLite}} {
		for _, projects := range []int{1_000, 10_000} {
			b.Run(fmt.Sprintf("%s/projects=%d", l.name, projects), func(b *testing.B) {
				run(b, filled(b, l.open(b), projects), projects)
			})
		}
	}
}

// BenchmarkOne is the time from one upload to its visibility, nobody else uploading.
func BenchmarkOne(b *testing.B) {
	scenarios(b, func(b *testing.B, p *publish.Publisher, projects int) {
		var n int64
		for b.Loop() {
			n++
			if _, err := p.Publish(b.Context(), publish.AddFile{File: release(b, int(n)%projects, n)}); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkMany is what 32 uploaders at once get through.
func BenchmarkMany(b *testing.B) {
	scenarios(b, func(b *testing.B, p *publish.Publisher, projects int) {
		var n atomic.Int64
		before := p.Current().Number()
		b.SetParallelism(32 / runtime.GOMAXPROCS(0))
		b.ResetTimer()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				i := n.Add(1)
				if _, err := p.Publish(b.Context(), publish.AddFile{File: release(b, int(i)%projects, i)}); err != nil {
					b.Error(err)
					return
				}
			}
		})
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "files/s")
		b.ReportMetric(float64(b.N)/float64(p.Current().Number()-before), "files/publication")
	})
}
