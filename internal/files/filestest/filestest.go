// Package filestest checks that a file store keeps every promise written on the methods of
// index.Files, and measures it. A new store runs [Run]; benchmarks are [Bench]. The suite uses the
// public methods alone.
package filestest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"example.com/bailiwick/internal/index"
)

// Store is what the suite checks.
type Store interface {
	index.Files
	Close() error
}

// Create makes an empty store for one test, and a function that opens the same store again after
// it was closed. The test closes every store that it gets.
type Create func(t testing.TB) (s Store, reopen func() Store)

// Run runs the contract suite.
func Run(t *testing.T, create Create) {
	for _, c := range []struct {
		name string
		run  func(t *testing.T, s Store)
	}{
		{"what was kept can be opened", testKeep},
		{"unknown content is ErrNoBlob", testNoBlob},
		{"staged content can be read back", testReadAt},
		{"staged content is not kept", testNotKept},
		{"discard ends it", testDiscard},
		{"keep is idempotent and replaces nothing", testKeepTwice},
		{"other bytes under a kept hash are damage", testDamage},
		{"use after the end is refused", testEnded},
		{"a cancelled call changes nothing", testCancelled},
		{"blobs seek", testSeek},
		{"rivals keep the same content", testRivals},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, _ := create(t)
			t.Cleanup(func() { closeStore(t, s) })
			c.run(t, s)
		})
	}
	t.Run("closing loses nothing", func(t *testing.T) { testReopen(t, create) })
}

func closeStore(t testing.TB, s Store) {
	if err := s.Close(); err != nil {
		t.Errorf("closing: %v", err)
	}
}

// content is n reproducible bytes and their hash.
func content(seed uint64, n int) ([]byte, [32]byte) {
	src := rand.NewChaCha8(sha256.Sum256(fmt.Append(nil, seed)))
	data := make([]byte, n)
	_, _ = src.Read(data) // never fails
	return data, sha256.Sum256(data)
}

// stage returns a staged file that holds data and is discarded at the end of the test.
func stage(t testing.TB, s Store, data []byte) index.Staged {
	t.Helper()
	st, err := s.Stage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Discard(); err != nil {
			t.Errorf("discarding: %v", err)
		}
	})
	for half := range slices.Chunk(data, max(1, len(data)/2)) {
		if n, err := st.Write(half); n != len(half) || err != nil {
			t.Fatalf("Write = %d, %v", n, err)
		}
	}
	return st
}

func keep(t testing.TB, s Store, data []byte, sum [32]byte) {
	t.Helper()
	if err := stage(t, s, data).Keep(t.Context(), sum); err != nil {
		t.Fatal(err)
	}
}

func wantBlob(t testing.TB, s Store, sum [32]byte, want []byte) {
	t.Helper()
	b, err := s.Open(t.Context(), sum)
	if err != nil {
		t.Error(err)
		return
	}
	if b.Size() != int64(len(want)) {
		t.Errorf("Size = %d, want %d", b.Size(), len(want))
	}
	if err := iotest.TestReader(b, want); err != nil {
		t.Error(err)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}

func wantNoBlob(t testing.TB, s Store, sum [32]byte) {
	t.Helper()
	b, err := s.Open(t.Context(), sum)
	if !errors.Is(err, index.ErrNoBlob) {
		t.Errorf("Open = %v, %v; want ErrNoBlob", b, err)
	}
	if err == nil {
		_ = b.Close()
	}
}

func testKeep(t *testing.T, s Store) {
	for i, n := range []int{0, 1, 2000, 70_000} {
		data, sum := content(uint64(i), n)
		wantNoBlob(t, s, sum)
		keep(t, s, data, sum)
		wantBlob(t, s, sum, data)
	}
}

func testNoBlob(t *testing.T, s Store) {
	wantNoBlob(t, s, [32]byte{})
	wantNoBlob(t, s, sha256.Sum256([]byte("never seen")))
}

func testReadAt(t *testing.T, s Store) {
	data, _ := content(1, 5000)
	st := stage(t, s, data)
	got := make([]byte, 1000)
	if n, err := st.ReadAt(got, 3000); n != 1000 || err != nil || !bytes.Equal(got, data[3000:4000]) {
		t.Errorf("ReadAt = %d, %v, or other bytes", n, err)
	}
	if n, err := st.ReadAt(got, 4500); n != 500 || !errors.Is(err, io.EOF) || !bytes.Equal(got[:n], data[4500:]) {
		t.Errorf("ReadAt over the end = %d, %v; want 500, EOF", n, err)
	}
	if _, err := st.Write([]byte("more")); err != nil {
		t.Error(err)
	}
	if n, err := st.ReadAt(got[:4], 5000); n != 4 || (err != nil && !errors.Is(err, io.EOF)) || string(got[:4]) != "more" {
		t.Errorf("ReadAt after another Write = %q, %v", got[:n], err)
	}
}

func testNotKept(t *testing.T, s Store) {
	data, sum := content(1, 100)
	st := stage(t, s, data)
	wantNoBlob(t, s, sum)
	if err := st.Discard(); err != nil {
		t.Error(err)
	}
	wantNoBlob(t, s, sum)
}

func testDiscard(t *testing.T, s Store) {
	data, sum := content(1, 100)
	for range 2 {
		st := stage(t, s, data)
		for range 2 {
			if err := st.Discard(); err != nil {
				t.Error(err)
			}
		}
	}
	st := stage(t, s, data)
	if err := st.Keep(t.Context(), sum); err != nil {
		t.Fatal(err)
	}
	if err := st.Discard(); err != nil {
		t.Errorf("Discard after Keep: %v", err)
	}
	wantBlob(t, s, sum, data)
}

func testKeepTwice(t *testing.T, s Store) {
	data, sum := content(1, 100)
	keep(t, s, data, sum)
	b, err := s.Open(t.Context(), sum)
	if err != nil {
		t.Fatal(err)
	}
	keep(t, s, data, sum)
	keep(t, s, data, sum)
	if err := iotest.TestReader(b, data); err != nil {
		t.Errorf("a blob that was open: %v", err)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	wantBlob(t, s, sum, data)
}

func testDamage(t *testing.T, s Store) {
	data, sum := content(1, 100)
	keep(t, s, data, sum)
	if err := stage(t, s, data[:50]).Keep(t.Context(), sum); err == nil {
		t.Error("50 bytes were taken for 100 kept ones of the same hash")
	}
	wantBlob(t, s, sum, data)
}

func testEnded(t *testing.T, s Store) {
	data, sum := content(1, 100)
	kept, discarded := stage(t, s, data), stage(t, s, data)
	if err := errors.Join(kept.Keep(t.Context(), sum), discarded.Discard()); err != nil {
		t.Fatal(err)
	}
	for name, st := range map[string]index.Staged{"kept": kept, "discarded": discarded} {
		if _, err := st.Write([]byte("x")); err == nil {
			t.Errorf("%s: written to", name)
		}
		if _, err := st.ReadAt(make([]byte, 1), 0); err == nil {
			t.Errorf("%s: read from", name)
		}
		if err := st.Keep(t.Context(), sha256.Sum256([]byte("other"))); err == nil {
			t.Errorf("%s: kept again", name)
		}
	}
	wantBlob(t, s, sum, data)
}

func testCancelled(t *testing.T, s Store) {
	data, sum := content(1, 100)
	st := stage(t, s, data)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Stage(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Stage: %v, want Canceled", err)
	}
	if _, err := s.Open(ctx, sum); !errors.Is(err, context.Canceled) {
		t.Errorf("Open: %v, want Canceled", err)
	}
	if err := st.Keep(ctx, sum); !errors.Is(err, context.Canceled) {
		t.Errorf("Keep: %v, want Canceled", err)
	}
	wantNoBlob(t, s, sum)
	if err := st.Keep(t.Context(), sum); err != nil {
		t.Errorf("Keep, repeated: %v", err)
	}
	wantBlob(t, s, sum, data)
}

func testSeek(t *testing.T, s Store) {
	data, sum := content(1, 1000)
	keep(t, s, data, sum)
	b, err := s.Open(t.Context(), sum)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = b.Close() }() // read only: nothing can be lost
	for _, c := range []struct {
		off    int64
		whence int
		at     int64
	}{{0, io.SeekEnd, 1000}, {100, io.SeekStart, 100}, {-50, io.SeekEnd, 950}, {-40, io.SeekCurrent, 920}} {
		if at, err := b.Seek(c.off, c.whence); at != c.at || err != nil {
			t.Errorf("Seek(%d, %d) = %d, %v; want %d", c.off, c.whence, at, err, c.at)
		}
		got := make([]byte, 10)
		if n, err := io.ReadFull(b, got); c.at < 1000 && (err != nil || !bytes.Equal(got, data[c.at:c.at+10])) {
			t.Errorf("at %d: %d bytes, %v", c.at, n, err)
		}
	}
}

func testRivals(t *testing.T, s Store) {
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 20 { // each content is kept by four of the eight
				data, sum := content(uint64(j*2+i%2), 500)
				keep(t, s, data, sum)
				wantBlob(t, s, sum, data)
			}
		})
	}
	wg.Wait()
}

func testReopen(t *testing.T, create Create) {
	s, reopen := create(t)
	data, sum := content(1, 100)
	keep(t, s, data, sum)
	for range 2 {
		closeStore(t, s)
		s = reopen()
		wantBlob(t, s, sum, data)
		keep(t, s, data, sum)
	}
	other, otherSum := content(2, 100)
	keep(t, s, other, otherSum)
	wantBlob(t, s, otherSum, other)
	closeStore(t, s)
}

// Bench measures storing and opening of small files, by one writer and by many at once. It reports
// the median and the 99th percentile of one Stage, Write, Keep.
func Bench(b *testing.B, create Create) {
	for _, writers := range []int{1, 32} {
		for _, size := range []int{2_000, 100_000} {
			b.Run(fmt.Sprintf("keep/size=%d/writers=%d", size, writers), func(b *testing.B) {
				s, _ := create(b)
				b.Cleanup(func() { closeStore(b, s) })
				b.SetBytes(int64(size))
				benchKeep(b, s, size, writers)
			})
		}
	}
	b.Run("open", func(b *testing.B) {
		s, _ := create(b)
		b.Cleanup(func() { closeStore(b, s) })
		data, sum := content(1, 2_000)
		keep(b, s, data, sum)
		b.ReportAllocs()
		for b.Loop() {
			blob, err := s.Open(b.Context(), sum)
			if err != nil {
				b.Fatal(err)
			}
			_ = blob.Close()
		}
	})
}

func benchKeep(b *testing.B, s Store, size, writers int) {
	jobs := make(chan uint64)
	took := make([][]time.Duration, writers)
	var wg sync.WaitGroup
	b.ReportAllocs()
	b.ResetTimer()
	for w := range writers {
		wg.Go(func() {
			for seed := range jobs {
				data, sum := content(seed, size)
				from := time.Now()
				if err := keepOnce(b.Context(), s, data, sum); err != nil {
					b.Error(err)
				}
				took[w] = append(took[w], time.Since(from))
			}
		})
	}
	for i := range b.N {
		jobs <- uint64(i)
	}
	close(jobs)
	wg.Wait()
	b.StopTimer()
	all := slices.Concat(took...)
	slices.Sort(all)
	b.ReportMetric(float64(all[len(all)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(all[len(all)*99/100].Microseconds()), "p99-µs")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "files/s")
}

func keepOnce(ctx context.Context, s Store, data []byte, sum [32]byte) error {
	st, err := s.Stage(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = st.Discard() }() // after Keep it does nothing
	if _, err := st.Write(data); err != nil {
		return err
	}
	return st.Keep(ctx, sum)
}
