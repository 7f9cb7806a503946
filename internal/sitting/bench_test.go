package sitting_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
	"testing"

	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/sitting"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
	"example.com/bailiwick/tuf/repo"
)

// crowd delegates n recently claimed projects in the unclaimed bins. Their roles are not made: nothing in a
// sitting reads them.
func (w *place) crowd(n int) {
	w.tb.Helper()
	edits := make(map[tuf.RoleName]repo.TargetsEdit)
	for i := range n {
		p := projectOf(w.tb, fmt.Sprintf("project-%d", i))
		seed := make([]byte, ed25519.SeedSize)
		binary.BigEndian.PutUint64(seed, uint64(i)+1)
		s, err := key.NewSigner(ed25519.NewKeyFromSeed(seed))
		if err != nil {
			w.tb.Fatal(err)
		}
		bin := w.layout.UnclaimedBin(p)
		e := edits[bin]
		e.AddDelegations = append(e.AddDelegations, policy.ClaimProject(w.layout, p, byAll(w.tb, 1, s), w.now.Add(-30*day)))
		edits[bin] = e
	}
	changed := make(map[tuf.RoleName][]byte, len(edits))
	for bin, e := range edits {
		changed[bin] = w.edit(bin, e)
	}
	w.mustPublish(changed)
}

// costs runs a part of a benchmark and reports the processor time that it takes, which does not depend on what
// else the machine does.
func costs(b *testing.B, what string, do func(b *testing.B)) {
	b.Run(what, func(b *testing.B) {
		before := used(b)
		do(b)
		b.ReportMetric((used(b)-before).Seconds()/float64(b.N), "cpu-s/op")
	})
}

// What a sitting over 100,000 recently claimed projects in 4,096 bins costs. Nothing is verified from a cache.
//
//	go test -run='^$' -bench=Sitting -benchtime=3x ./internal/sitting
func BenchmarkSitting(b *testing.B) {
	w := newPlace(b, 4096)
	w.crowd(100_000)
	wishes := sitting.Wishes{MinAge: 14 * day, Renew: true}
	r := w.plan(wishes)
	costs(b, "Plan", func(b *testing.B) {
		for b.Loop() {
			if _, err := sitting.Plan(context.Background(), w.state(), wishes); err != nil {
				b.Fatal(err)
			}
		}
	})
	var file bytes.Buffer
	costs(b, "Encode", func(b *testing.B) {
		for b.Loop() {
			file.Reset()
			if err := sitting.Encode(&file, r); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(file.Len()), "bytes")
	})
	costs(b, "Decode", func(b *testing.B) {
		for b.Loop() {
			if _, err := sitting.Decode(bytes.NewReader(file.Bytes())); err != nil {
				b.Fatal(err)
			}
		}
	})
	costs(b, "Judge", func(b *testing.B) {
		for b.Loop() {
			if _, err := sitting.Judge(r, w.now); err != nil {
				b.Fatal(err)
			}
		}
	})
	v := judge(b, r, w.now)
	costs(b, "Summary", func(b *testing.B) {
		for b.Loop() {
			if s := v.Summary(); s.Promoted != 100_000 {
				b.Fatalf("%d promoted", s.Promoted)
			}
		}
	})
	signed := r.Clone()
	costs(b, "Sign", func(b *testing.B) {
		for b.Loop() {
			signed = r.Clone()
			signOffline(b, signed, v, w.offline()...)
		}
	})
	costs(b, "JudgeSigned", func(b *testing.B) {
		for b.Loop() {
			if v, err := sitting.Judge(signed, w.now); err != nil || !v.Complete() {
				b.Fatal(v, err)
			}
		}
	})
}
