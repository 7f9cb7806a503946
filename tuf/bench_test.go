package tuf_test

import (
	"fmt"
	"testing"

	"example.com/bailiwick/tuf"
)

func BenchmarkTargets(b *testing.B) {
	s := signer(b, 1)
	a := authority(b, 1, s)
	for _, n := range []int{20, 1_000, 10_000, 100_000} {
		data := signed(b, manyTargets(n), s)
		b.Run(fmt.Sprintf("parse/%d", n), func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := tuf.ParseTargets(data, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("parse+verify/%d", n), func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				u, err := tuf.ParseTargets(data, nil)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := u.Verify(a); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkTargetsIndented(b *testing.B) {
	s := signer(b, 1)
	a := authority(b, 1, s)
	for _, n := range []int{10_000, 100_000} {
		data := indent(b, signed(b, manyTargets(n), s))
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				u, err := tuf.ParseTargets(data, nil)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := u.Verify(a); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkTargetsLookup(b *testing.B) {
	s := signer(b, 1)
	targets := verifiedTargets(b, manyTargets(10_000), s)
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := targets.Lookup("3f/a-project-name/a_project_name-1.007777.0-py3-none-any.whl"); !ok {
			b.Fatal("not found")
		}
	}
}

func BenchmarkSnapshot(b *testing.B) {
	s := signer(b, 1)
	a := authority(b, 1, s)
	for _, n := range []int{16_384, 65_536, 1_000_000} {
		data := signed(b, manyRoles(n), s)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				u, err := tuf.ParseSnapshot(data, nil)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := u.Verify(a); err != nil {
					b.Fatal(err)
				}
			}
		})
		u, err := tuf.ParseSnapshot(data, nil)
		if err != nil {
			b.Fatal(err)
		}
		snapshot, err := u.Verify(a)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("changes/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				for range snapshot.Changes(snapshot) {
					b.Fatal("differs from itself")
				}
			}
		})
	}
}

func BenchmarkDelegations(b *testing.B) {
	s := signer(b, 1)
	a := authority(b, 1, s)
	data := signed(b, manyDelegations(b, 2048, 3), s)
	b.Run("parse+verify", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		b.ReportAllocs()
		for b.Loop() {
			u, err := tuf.ParseTargets(data, nil)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := u.Verify(a); err != nil {
				b.Fatal(err)
			}
		}
	})
	u, err := tuf.ParseTargets(data, nil)
	if err != nil {
		b.Fatal(err)
	}
	targets, err := u.Verify(a)
	if err != nil {
		b.Fatal(err)
	}
	d := targets.Delegations()
	b.Run("match", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			n := 0
			for range d.Match("3f/project-01999/project_01999-1.0.tar.gz") {
				n++
			}
			if n != 1 {
				b.Fatal(n)
			}
		}
	})
	role := signed(b, manyTargets(20), signer(b, 1999))
	b.Run("verify a role", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			one, _ := d.Find("project.project-01999")
			a, err := one.Authority()
			if err != nil {
				b.Fatal(err)
			}
			u, err := tuf.ParseTargets(role, nil)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := u.Verify(a); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("authority", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := d.At(1999).Authority(); err != nil {
				b.Fatal(err)
			}
		}
	})
}
