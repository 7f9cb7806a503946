package repo_test

import (
	"fmt"
	"testing"

	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/repo"
)

// BenchmarkEditProject adds a file to a project of twenty, without signing.
func BenchmarkEditProject(b *testing.B) {
	r := newRole(b, "project.flask")
	custom := []byte(`{"core-metadata":{"sha256":"` + fmt.Sprintf("%064x", 1) + `"},"requires-python":">=3.9","upload-time":"2026-09-01T12:00:00Z","version":"1.0"}`)
	var files []tuf.Target
	for i := range 20 {
		f := target(fmt.Sprintf("3f/flask/flask-1.%d-py3-none-any.whl", i), fmt.Sprint(i))
		f.Custom = custom
		files = append(files, f)
	}
	d, err := repo.NewTargets(repo.TargetsSpec{Targets: files}, r.issue(1))
	base := r.targets(b, d, err)
	one := target("3f/flask/flask-2.0-py3-none-any.whl", "new")
	one.Custom = custom
	issue := r.issue(2)
	issue.Paths = []string{"3f/flask/*"}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := repo.EditTargets(base, repo.TargetsEdit{Put: []tuf.Target{one}}, issue); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkSignProject is the same with signature and assembly.
func BenchmarkSignProject(b *testing.B) {
	r := newRole(b, "project.flask")
	d, err := repo.NewTargets(repo.TargetsSpec{Targets: []tuf.Target{target("3f/flask/a", "a")}}, r.issue(1))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := repo.Sign(b.Context(), d, r.signer); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkNewTargets drafts a large role from nothing, without signing, and signs it:
// twice over all bytes to sign, once to verify that.
func BenchmarkNewTargets(b *testing.B) {
	r := newRole(b, "large")
	spec := repo.TargetsSpec{Targets: make([]tuf.Target, 10_000)}
	for i := range spec.Targets {
		spec.Targets[i] = target(fmt.Sprintf("3f/a-project-name/a_project_name-1.%06d.0-py3-none-any.whl", i), fmt.Sprint(i))
	}
	draft := func() *repo.Draft {
		d, err := repo.NewTargets(spec, r.issue(1))
		if err != nil {
			b.Fatal(err)
		}
		return d
	}
	d := draft()
	b.Run("draft", func(b *testing.B) {
		b.SetBytes(int64(len(d.Message())))
		b.ReportAllocs()
		for b.Loop() {
			draft()
		}
	})
	b.Run("sign", func(b *testing.B) {
		b.SetBytes(int64(len(d.Message())))
		b.ReportAllocs()
		for b.Loop() {
			if _, err := repo.Sign(b.Context(), d, r.signer); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkAddProject adds a delegation to a bin that has many.
func BenchmarkAddProject(b *testing.B) {
	for _, n := range []int{40, 400, 4000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			r := newRole(b, "unclaimed-3f")
			list := make([]repo.Delegation, n)
			for i := range list {
				list[i] = repo.Delegation{
					Role: tuf.RoleName(fmt.Sprintf("project.p%d", i)), Authority: r.authority,
					Paths: []string{fmt.Sprintf("3f/p%d/*", i)}, Terminating: true,
				}
			}
			d, err := repo.NewTargets(repo.TargetsSpec{Delegations: list}, r.issue(1))
			base := r.targets(b, d, err)
			edit := repo.TargetsEdit{AddDelegations: []repo.Delegation{{Role: "project.new", Authority: r.authority, Paths: []string{"3f/new/*"}}}}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := repo.EditTargets(base, edit, r.issue(2)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkSnapshot changes three roles of a snapshot: copying its bytes is the
// floor, Edit is what a publisher does, EditSnapshot what a tool does that has
// nothing but the file.
func BenchmarkSnapshot(b *testing.B) {
	for _, n := range []int{1_000, 10_000, 100_000} {
		r := newRole(b, tuf.RoleSnapshot)
		d, err := repo.NewSnapshot(many(n), r.issue(1))
		base := r.snapshot(b, d, err)
		size := int64(len(base.Bytes()))
		changed := map[tuf.RoleName]int64{"project.p7": 100, "project.p500": 100, "project.new": 1}
		open, err := repo.OpenSnapshot(base)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("copy/%d", n), func(b *testing.B) {
			b.SetBytes(size)
			for b.Loop() {
				_ = append([]byte(nil), base.Bytes()...)
			}
		})
		b.Run(fmt.Sprintf("Edit/%d", n), func(b *testing.B) {
			b.SetBytes(size)
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := open.Edit(changed, r.issue(2)); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("EditSnapshot/%d", n), func(b *testing.B) {
			b.SetBytes(size)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := repo.EditSnapshot(base, changed, r.issue(2)); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("Sign/%d", n), func(b *testing.B) {
			b.SetBytes(size)
			for b.Loop() {
				if _, err := repo.Sign(b.Context(), d, r.signer); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
