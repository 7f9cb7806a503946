package e2e_test

import (
	"slices"
	"testing"
	"time"
)

// BenchmarkUploadCustody measures one upload after the other into one project, from the first byte sent to the answer
// that says it is installable: server, signer and client are three processes on one machine.
func BenchmarkUploadCustody(b *testing.B) {
	for _, custody := range []string{"standard", "strict"} {
		b.Run(custody, func(b *testing.B) {
			var s *site
			if custody == "strict" {
				s = newStrictSite(b).start(b)
				s.sign(b)
			} else {
				s = newSite(b).start(b)
			}
			uploadNow(b, s, 1_000_000) // the first reads what later ones have at hand
			var all []time.Duration
			n := 0
			for b.Loop() {
				n++
				all = append(all, uploadNow(b, s, n))
			}
			slices.Sort(all)
			at := func(q float64) float64 { return float64(all[int(q*float64(len(all)-1))].Microseconds()) / 1000 }
			b.ReportMetric(at(0.5), "ms/p50")
			b.ReportMetric(at(0.95), "ms/p95")
			b.ReportMetric(at(0.99), "ms/p99")
		})
	}
}
