//go:build unix

package signtool_test

import (
	"fmt"
	"os"
	"syscall"
	"testing"
	"time"

	"example.com/bailiwick/internal/keys"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/sitting"
)

// BenchmarkSignBins signs 4,096 claimed bins and claimed with an encrypted key file at its real work factor:
// read and judge the request, show its page, open the key (the slow hash of the passphrase is about 0.7 s of it),
// sign, write, and judge what was written.
//
//	go test -run '^$' -bench SignBins -benchtime 5x ./internal/signtool
func BenchmarkSignBins(b *testing.B) {
	w := newWorld(b, 4096)
	first, err := sitting.First(w.spec(), w.now.Add(30*day), "", "")
	must(b, err)
	d := newDesk(b)
	file := writeRequest(b, d.dir, first)
	key := w.keyFile(d.dir, policy.KeyClaimed, 0, keys.WithWorkFactor(18))
	benchmarkSigning(b, d, file, key, 4097)
}

// benchmarkSigning signs a request again and again, each time as on the first day.
func benchmarkSigning(b *testing.B, d *desk, file, key string, want int) {
	b.Helper()
	var spent time.Duration
	for i := 0; b.Loop(); i++ {
		before := cpuTime(b)
		d.environ["XDG_STATE_HOME"] = d.path(fmt.Sprint("state", i))
		out := d.path(fmt.Sprint("signed", i))
		d.does(file, "--key", key, "--yes", "--out", out)
		b.StopTimer()
		spent += cpuTime(b) - before
		n := 0
		for _, p := range readRequest(b, out).Payloads {
			n += len(p.Signatures)
		}
		if n != want {
			b.Fatalf("%d signatures, want %d", n, want)
		}
		must(b, os.Remove(out))
		b.StartTimer()
	}
	info, err := os.Stat(file)
	must(b, err)
	b.ReportMetric(float64(info.Size())/(1<<20), "MiB")
	b.ReportMetric(spent.Seconds()/float64(b.N), "cpu-s/op") // which a busy machine does not change
}

// cpuTime is what this process has spent on all processors.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var usage syscall.Rusage
	must(b, syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// BenchmarkSignSitting signs a sitting that promotes 5,000 projects and signs every one of 4,096 bins anew,
// with an encrypted key file at its real work factor.
//
//	go test -run '^$' -bench SignSitting -benchtime 5x ./internal/signtool
func BenchmarkSignSitting(b *testing.B) {
	w, d := newWorld(b, 4096), newDesk(b)
	names := make([]string, 5000)
	for i := range names {
		names[i] = fmt.Sprint("project-", i)
	}
	w.claim(names...)
	w.now = w.now.Add(20 * day)
	d.now = w.now
	file := w.plan(d.dir, sitting.Wishes{MinAge: 14 * day, All: true})
	key := w.keyFile(d.dir, policy.KeyClaimed, 0, keys.WithWorkFactor(18))
	benchmarkSigning(b, d, file, key, 4097)
}
