package signtool_test

import (
	"fmt"
	"os"
	"testing"

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
	info, err := os.Stat(file)
	must(b, err)
	b.ReportMetric(float64(info.Size())/(1<<20), "MiB")
	for i := 0; b.Loop(); i++ {
		d.environ["XDG_STATE_HOME"] = d.path(fmt.Sprint("state", i))
		out := d.path(fmt.Sprint("signed", i))
		d.does(file, "--key", key, "--yes", "--out", out)
		b.StopTimer()
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
}
