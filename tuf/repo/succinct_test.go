package repo_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/repo"
)

func TestBins(t *testing.T) {
	r := newRole(t, tuf.RoleTargets)
	pem, plain := ecdsaSigner(t), signerOf(t, "bins")
	bins := repo.Bins{Prefix: "bin", Bits: 10, Authority: authorityOf(t, 2, pem, plain)}
	d, err := repo.NewTargets(repo.TargetsSpec{Bins: &bins, Members: map[string][]byte{"x": []byte("1")}}, r.issue(1))
	v := r.targets(t, d, err)
	ds := v.Delegations()
	if prefix, bits, ok := ds.Succinct(); !ok || prefix != "bin" || bits != 10 || ds.Len() != 1024 {
		t.Fatalf("%q, %d bits, %v", prefix, bits, ok)
	}
	a, err := ds.At(77).Authority()
	if err != nil || !a.Equal(bins.Authority) {
		t.Errorf("the bins are signed by %v, %v", a.KeyIDs(), err)
	}
	i := 0
	for name := range bins.Names() {
		if ds.At(i).Name() != name {
			t.Fatalf("bin %d is %s, a client says %s", i, name, ds.At(i).Name())
		}
		i++
	}
	if i != 1024 {
		t.Errorf("%d names", i)
	}
	// A change of the keys and the number keeps what is not known, and drops the old key.
	next := repo.Bins{Prefix: "b", Bits: 3, Authority: authorityOf(t, 1, plain)}
	d, err = repo.EditTargets(v, repo.TargetsEdit{Bins: &next}, r.issue(2))
	v = r.targets(t, d, err)
	if prefix, bits, _ := v.Delegations().Succinct(); prefix != "b" || bits != 3 {
		t.Errorf("%q, %d bits", prefix, bits)
	}
	keys := 0
	for range v.Delegations().Keys() {
		keys++
	}
	if raw, ok := v.Member("x"); keys != 1 || !ok || string(raw) != "1" {
		t.Errorf("%d keys, member %s", keys, raw)
	}
}

func TestBinRefusals(t *testing.T) {
	r := newRole(t, tuf.RoleTargets)
	good := authorityOf(t, 1, signerOf(t, "bins"))
	one := repo.Delegation{Role: "role", Authority: good, Paths: []string{"*"}}
	for name, test := range map[string]struct {
		spec repo.TargetsSpec
		want error
	}{
		"no bits":           {repo.TargetsSpec{Bins: &repo.Bins{Prefix: "b", Authority: good}}, repo.ErrBins},
		"too many bits":     {repo.TargetsSpec{Bins: &repo.Bins{Prefix: "b", Bits: 33, Authority: good}}, repo.ErrBins},
		"negative bits":     {repo.TargetsSpec{Bins: &repo.Bins{Prefix: "b", Bits: -1, Authority: good}}, repo.ErrBins},
		"no prefix":         {repo.TargetsSpec{Bins: &repo.Bins{Bits: 8, Authority: good}}, repo.ErrBins},
		"a long prefix":     {repo.TargetsSpec{Bins: &repo.Bins{Prefix: strings.Repeat("b", 250), Bits: 8, Authority: good}}, repo.ErrBins},
		"no UTF-8":          {repo.TargetsSpec{Bins: &repo.Bins{Prefix: "\xff", Bits: 8, Authority: good}}, repo.ErrBins},
		"nobody signs":      {repo.TargetsSpec{Bins: &repo.Bins{Prefix: "b", Bits: 8}}, repo.ErrThreshold},
		"beside listed one": {repo.TargetsSpec{Bins: &repo.Bins{Prefix: "b", Bits: 8, Authority: good}, Delegations: []repo.Delegation{one}}, repo.ErrBins},
	} {
		if _, err := repo.NewTargets(test.spec, r.issue(1)); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
	}
	bins := &repo.Bins{Prefix: "b", Bits: 8, Authority: good}
	d, err := repo.NewTargets(repo.TargetsSpec{Delegations: []repo.Delegation{one}}, r.issue(1))
	listed := r.targets(t, d, err)
	if _, err := repo.EditTargets(listed, repo.TargetsEdit{Bins: bins}, r.issue(2)); !errors.Is(err, repo.ErrBins) {
		t.Errorf("bins where roles are listed: %v", err)
	}
	d, err = repo.NewTargets(repo.TargetsSpec{Bins: bins}, r.issue(1))
	binned := r.targets(t, d, err)
	if _, err := repo.EditTargets(binned, repo.TargetsEdit{AddDelegations: []repo.Delegation{one}}, r.issue(2)); !errors.Is(err, repo.ErrBase) {
		t.Errorf("a role where bins are: %v", err)
	}
}

// TestGrantIsTheBin: what a bin is granted is what clients look for there, for every
// number of bits.
func TestGrantIsTheBin(t *testing.T) {
	r := newRole(t, tuf.RoleTargets)
	rapid.Check(t, func(rt *rapid.T) {
		bins := repo.Bins{Prefix: "bin", Bits: rapid.IntRange(1, 32).Draw(rt, "bits"), Authority: authorityOf(rt, 1, signerOf(rt, "bins"))}
		path := "file" + rapid.StringMatching("[a-z]{0,8}").Draw(rt, "path")
		d, err := repo.NewTargets(repo.TargetsSpec{Bins: &bins}, r.issue(1))
		v := r.targets(rt, d, err)
		sum := sha256.Sum256([]byte(path))
		digest := hex.EncodeToString(sum[:])
		for found := range v.Delegations().Match(tuf.TargetPath(path)) {
			has := 0
			for _, prefix := range bins.Grant(uint32(found.Position())) {
				if strings.HasPrefix(digest, prefix) {
					has++
				}
			}
			if has != 1 {
				rt.Fatalf("%s is granted %v, and %s belongs there", found.Name(), bins.Grant(uint32(found.Position())), digest)
			}
			issue := newRole(rt, found.Name()).issue(1)
			issue.HashPrefixes = bins.Grant(uint32(found.Position()))
			target := tuf.Target{Path: tuf.TargetPath(path), Length: 1, Hashes: tuf.NewHashes([]byte("x"))}
			if _, err := repo.NewTargets(repo.TargetsSpec{Targets: []tuf.Target{target}}, issue); err != nil {
				rt.Fatal(err)
			}
			other := fmt.Sprintf("%08x", uint32(found.Position()+1)<<(32-bins.Bits)) // of the next bin
			if digest[:8] >= other && found.Position()+1 < v.Delegations().Len() {
				rt.Fatalf("%s belongs to a later bin than %s", digest, found.Name())
			}
		}
	})
}
