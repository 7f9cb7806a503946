package repo_test

import (
	"bytes"
	"fmt"
	"runtime"
	"sync"
	"testing"

	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/repo"
)

// TestEnvelope: every file of a draft has the bytes that AppendEnvelope makes, whichever
// of them lies around the message, and neither spoils the message or another file.
func TestEnvelope(t *testing.T) {
	d, s := twoOfThree(t)
	message := bytes.Clone(d.Message())
	var sigs []tuf.Signature
	for _, signer := range s {
		sigs = append(sigs, sign(t, d, signer))
	}
	longKeyID := []tuf.Signature{{KeyID: sigs[0].KeyID, Sig: make([]byte, 4000)}}
	for name, lists := range map[string][][]tuf.Signature{
		"as many signatures as keys, then fewer": {sigs, sigs[:1], sigs[1:]},
		"none, then all":                         {nil, sigs, nil},
		"too long for the room, then not":        {longKeyID, sigs, longKeyID},
		"the same again":                         {sigs[:2], sigs[:2]},
	} {
		t.Run(name, func(t *testing.T) {
			d, _ := twoOfThree(t)
			var files [][]byte
			for _, list := range lists {
				files = append(files, d.Envelope(list))
			}
			for i, list := range lists {
				if want := tuf.AppendEnvelope(nil, message, list); !bytes.Equal(files[i], want) {
					t.Errorf("file %d is\n%s, want\n%s", i, files[i], want)
				}
				_ = append(files[i], "must not reach other memory"...)
			}
			if !bytes.Equal(d.Message(), message) {
				t.Errorf("the message is now %s", d.Message())
			}
		})
	}
	if file, err := d.Assemble(sigs[:2]); err != nil || !bytes.HasSuffix(file, append(message, '}')) {
		t.Errorf("assembled: %s, %v", file, err)
	}
}

// A message with control characters differs from what is published.
func TestEnvelopeEscapes(t *testing.T) {
	r := newRole(t, "project.a")
	spec := repo.TargetsSpec{Members: map[string][]byte{"note": []byte(`"a\nb"`)}, Targets: []tuf.Target{target("a/b", "x")}}
	d, err := repo.NewTargets(spec, r.issue(1))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		file, err := repo.Sign(t.Context(), d, r.signer)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(file, []byte(`"note":"a\nb"`)) || !bytes.Contains(d.Message(), []byte("\"note\":\"a\nb\"")) {
			t.Errorf("published %s of %s", file, d.Message())
		}
		verified(t, tuf.ParseTargets, file, r.authority)
	}
}

func TestEnvelopeOfManyAtOnce(t *testing.T) {
	d, s := twoOfThree(t)
	a, b := []tuf.Signature{sign(t, d, s[0])}, []tuf.Signature{sign(t, d, s[1])}
	wantA, wantB := tuf.AppendEnvelope(nil, d.Message(), a), tuf.AppendEnvelope(nil, d.Message(), b)
	var wg sync.WaitGroup
	for range 8 {
		for _, list := range [][]tuf.Signature{a, b} {
			wg.Go(func() {
				want := wantA
				if list[0].KeyID == b[0].KeyID {
					want = wantB
				}
				if got := d.Envelope(list); !bytes.Equal(got, want) {
					t.Errorf("got %s", got)
				}
				if _, err := d.Sign(t.Context(), s[2]); err != nil {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
}

// TestMemoryOfALargeRole: a large role is written once, into memory of its size: drafting,
// signing and putting it into its envelope take little more than the file.
func TestMemoryOfALargeRole(t *testing.T) {
	r := newRole(t, "large")
	for _, custom := range []string{"", `{"version":"1.0"}`} {
		spec := repo.TargetsSpec{Targets: make([]tuf.Target, 10_000)}
		for i := range spec.Targets {
			spec.Targets[i] = target(fmt.Sprintf("3f/large/large-1.%06d.0.whl", i), fmt.Sprint(i))
			if spec.Targets[i].Length = int64(i) * 1e4; custom != "" {
				spec.Targets[i].Custom = []byte(custom)
				sum, _ := spec.Targets[i].Hashes.SHA256()
				spec.Targets[i].Hashes = spec.Targets[i].Hashes.WithSHA512([64]byte(append(sum[:], sum[:]...)))
			}
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		d, err := repo.NewTargets(spec, r.issue(1))
		if err != nil {
			t.Fatal(err)
		}
		file := d.Envelope([]tuf.Signature{sign(t, d, r.signer)})
		runtime.ReadMemStats(&after)
		most := uint64(len(file)) + uint64(len(file))/50 + 32<<10
		if got := after.TotalAlloc - before.TotalAlloc; got > most {
			t.Errorf("%d bytes allocated for a file of %d, want at most %d", got, len(file), most)
		}
	}
}
