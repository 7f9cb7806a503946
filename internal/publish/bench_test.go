package publish_test

import (
	"fmt"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/bailiwick/internal/ceremony"
	"example.com/bailiwick/internal/ledger"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/internal/publish/publishtest"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/internal/sitting"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
)

// filled returns a running publisher whose repository has so many projects of one file each.
func filled(b *testing.B, l publish.Ledger, projects int) *publish.Publisher {
	b.Helper()
	p, _ := filledBy(b, l, projects)
	return p
}

// filledBy is filled, with the keys of the repository.
func filledBy(b *testing.B, l publish.Ledger, projects int) (*publish.Publisher, publishtest.Keys) {
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
	return p, keys
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

// BenchmarkSitting is the import of a sitting that promotes 5,000 projects over 4,096 bins, from the signed request to its
// publication, while somebody uploads: how long that one waits at most is reported beside.
func BenchmarkSitting(b *testing.B) {
	const projects = 5_000
	maintainer := people(b, 1)[0]
	for b.Loop() {
		b.StopTimer()
		l := inSQLite(b)
		keys := publishtest.Create(b, l, publishtest.Options{Bins: 4096})
		p := publishtest.Run(b, publish.Config{Ledger: l, Signers: keys.Online(), Now: publishtest.Start})
		claimMany(b, p, projects, maintainer)
		state := p.Current().Sitting(b.Context(), publishtest.Start(), policy.DefaultLifetimes())
		r, err := sitting.Plan(b.Context(), state, sitting.Wishes{All: true, Promote: func(pypi.Project, time.Time, tuf.Authority) bool { return true }})
		if err == nil {
			err = publishtest.SignOffline(r, publishtest.Start(), keys.Offline()...)
		}
		if err != nil {
			b.Fatal(err)
		}
		stop, done := make(chan struct{}), make(chan time.Duration)
		go func() {
			var longest time.Duration
			for n := int64(0); ; n++ {
				select {
				case <-stop:
					done <- longest
					return
				default:
				}
				from := time.Now()
				if _, err := p.Publish(b.Context(), publish.AddFile{File: release(b, projects, n)}); err != nil {
					b.Error(err)
				}
				longest = max(longest, time.Since(from))
			}
		}()
		b.StartTimer()
		if _, err := p.Publish(b.Context(), publish.Offline{Request: r}); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		close(stop)
		b.ReportMetric(float64((<-done).Milliseconds()), "ms-longest-upload")
		if length, _ := p.Current().Record(); length != 2*projects {
			b.Errorf("%d entries in the record, want %d", length, 2*projects)
		}
		b.StartTimer()
	}
}

// claimMany claims so many new projects, side by side.
func claimMany(b *testing.B, p *publish.Publisher, projects int, maintainer key.Signer) {
	b.Helper()
	var wg sync.WaitGroup
	for worker := range 64 {
		wg.Go(func() {
			for i := worker; i < projects; i += 64 {
				r := request(b, p, fmt.Sprintf("project%d", i), publishtest.Draft{Kind: ceremony.Claim, Keys: []key.Signer{maintainer}}, maintainer)
				if _, err := p.Publish(b.Context(), publish.Sign{Request: r}); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

// BenchmarkRegistryRotation is the publication in which a new registry key signs every bin and every project anew.
func BenchmarkRegistryRotation(b *testing.B) {
	for _, projects := range []int{1_000, 10_000} {
		b.Run(fmt.Sprintf("projects=%d", projects), func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				l := inSQLite(b)
				p, keys := filledBy(b, l, projects)
				next := people(b, 1)[0]
				p.AddSigner(next)
				state := p.Current().Sitting(b.Context(), time.Now(), policy.DefaultLifetimes())
				r, err := sitting.Rotate(state, sitting.Wishes{}, sitting.Rotation{Role: policy.KeyRegistry, Keys: []*key.Public{next.Public()}, Threshold: 1})
				if err == nil {
					err = publishtest.SignOffline(r, time.Now(), keys.Offline()...)
				}
				if err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
				if _, err := p.Publish(b.Context(), publish.Offline{Request: r}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
