package e2e_test

import (
	"fmt"
	"testing"
)

// BenchmarkUploadStrict is BenchmarkUpload with an index in custody strict: server, signer and load generator are
// three processes on the same cores, and each publication goes over loopback to the signer and back.
func BenchmarkUploadStrict(b *testing.B) {
	for _, clients := range []int{1, 32} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			s := newStrictSite(b).start(b)
			s.sign(b)
			s.fill(b, 1000)
			s.load(b, clients, 1000)
		})
	}
}
