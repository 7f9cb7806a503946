package custody_test

import (
	"bytes"
	"fmt"
	"testing"

	"example.com/bailiwick/internal/custody"
	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/internal/publish/publishtest"
)

// BenchmarkConsider measures what the signer does with the proposal of one upload, on an index of so many projects,
// without network and disk: verifying what the index shows, judging, signing.
func BenchmarkConsider(b *testing.B) {
	for _, projects := range []int{100, 1000, 10_000} {
		b.Run(fmt.Sprintf("projects=%d", projects), func(b *testing.B) {
			w := benchWorld(b, projects)
			var proposals [][]byte
			w.desk.set(func(d *desk) {
				d.before = func(p []byte) bool { proposals = append(proposals, bytes.Clone(p)); return true }
			})
			n := 0
			b.ResetTimer()
			for b.Loop() {
				n++
				if _, err := w.p.Publish(b.Context(), publish.AddFile{File: publishtest.File(b, fmt.Sprintf("filled%d-2.%d.tar.gz", n%projects, n), "x")}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(len(proposals[0])), "proposal-bytes")
			if _, err := custody.Decode(proposals[0]); err != nil {
				b.Fatal(err)
			}
		})
	}
}

// benchWorld is a world with many projects of one file each.
func benchWorld(b *testing.B, projects int) *world {
	b.Helper()
	w := newWorld(b, publishtest.Options{Bins: 256})
	done := make(chan error, 64)
	for from := 0; from < projects; from += cap(done) {
		n := min(cap(done), projects-from)
		for i := range n {
			f := publishtest.File(b, fmt.Sprintf("filled%d-1.tar.gz", from+i), "x")
			go func() {
				_, err := w.p.Publish(b.Context(), publish.AddFile{File: f})
				done <- err
			}()
		}
		for range n {
			if err := <-done; err != nil {
				b.Fatal(err)
			}
		}
	}
	return w
}
