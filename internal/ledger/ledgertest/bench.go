package ledgertest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/tuf"
)

// Bench measures a ledger that holds many roles. Every benchmark reports the median and the 99th
// percentile beside the mean.
func Bench(b *testing.B, create Create, roles int) {
	l, _ := create(b)
	b.Cleanup(func() { closeLedger(b, l) })
	fillRoles(b, l, roles)
	next := int64(2)
	b.Run("commit", func(b *testing.B) {
		ctx := b.Context()
		timed(b, func() func() {
			p := benchPublication(b, next, roles)
			next++
			return func() {
				if err := l.Commit(ctx, p); err != nil {
					b.Fatal(err)
				}
			}
		})
	})
	b.Run("newest metadata", func(b *testing.B) {
		ctx, i := b.Context(), 0
		timed(b, func() func() {
			role := projectRole(i * 7919 % roles)
			i++
			return func() {
				if _, err := l.Metadata(ctx, role, 0); err != nil {
					b.Fatal(err)
				}
			}
		})
	})
	b.Run("file", func(b *testing.B) {
		ctx := b.Context()
		name := file(b, 1, "p1-1.0.tar.gz").Filename // absent, as for most uploads
		timed(b, func() func() {
			return func() {
				if _, err := l.File(ctx, name); err == nil {
					b.Fatal("found")
				}
			}
		})
	})
	b.Run("head", func(b *testing.B) {
		ctx := b.Context()
		timed(b, func() func() {
			return func() {
				if _, err := l.Head(ctx); err != nil {
					b.Fatal(err)
				}
			}
		})
	})
	b.Run("roles", func(b *testing.B) {
		ctx := b.Context()
		timed(b, func() func() {
			return func() {
				if all, err := l.Roles(ctx); err != nil || len(all) != roles+2 {
					b.Fatal(len(all), err)
				}
			}
		})
	})
	b.Run("prune 18", func(b *testing.B) { // as many as a commit supersedes
		ctx := b.Context()
		timed(b, func() func() {
			if err := l.Commit(ctx, benchPublication(b, next, roles)); err != nil {
				b.Fatal(err)
			}
			next++
			return func() {
				if n, err := l.Prune(ctx, at(next), at(next), batch+2); err != nil || n != batch+2 {
					b.Fatal(n, err)
				}
			}
		})
	})
}

// timed runs what prepare returns b.N times. The time of prepare counts in ns/op, but not in the
// percentiles.
func timed(b *testing.B, prepare func() func()) {
	b.ReportAllocs()
	var took []time.Duration
	for b.Loop() {
		do := prepare()
		from := time.Now()
		do()
		took = append(took, time.Since(from))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}

// fillRoles commits publication 1 with many project roles.
func fillRoles(b *testing.B, l Ledger, roles int) {
	b.Helper()
	p := pub(1)
	for i := range roles {
		m := meta(projectRole(i), 1)
		m.Bytes = fill(m.Bytes, 300)
		p.Metadata = append(p.Metadata, m)
	}
	if err := l.Commit(b.Context(), p); err != nil {
		b.Fatal(err)
	}
}

// benchPublication touches roles far apart, as uploads to unrelated projects do.
func benchPublication(b *testing.B, n int64, roles int) *publish.Publication {
	b.Helper()
	p := &publish.Publication{Number: n, Time: at(n)}
	for i := range batch {
		project := int((n*batch + int64(i)) * 7919 % int64(roles))
		m := meta(projectRole(project), n)
		m.Bytes = fill(m.Bytes, projectSize)
		p.Metadata = append(p.Metadata, m)
		p.Files = append(p.Files, file(b, project, fmt.Sprintf("p%d-%d.0.tar.gz", project, n)))
	}
	snapshot, timestamp := meta(tuf.RoleSnapshot, n), meta(tuf.RoleTimestamp, n)
	snapshot.Bytes, timestamp.Bytes = fill(snapshot.Bytes, snapshotSize), fill(timestamp.Bytes, timestampSize)
	p.Metadata = append(p.Metadata, snapshot, timestamp)
	return p
}
