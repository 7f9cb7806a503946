package policy_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/repo"
	"example.com/bailiwick/tuf/trust"
)

func TestChains(t *testing.T) {
	l, p := layout(t, 256), project(t, "flask")
	bin := tuf.RoleName(l.Bin(p))
	for name, c := range map[string]struct{ got, want []tuf.RoleName }{
		"claimed":            {l.ClaimedChain(p), []tuf.RoleName{"claimed", "claimed-" + bin}},
		"claimed, by bin":    {l.ClaimedBinChain("3f"), []tuf.RoleName{"claimed", "claimed-3f"}},
		"unclaimed":          {l.UnclaimedChain(p), []tuf.RoleName{"claimed", "claimed-" + bin, "unclaimed", "unclaimed-" + bin}},
		"unclaimed, by bin":  {l.UnclaimedBinChain("00"), []tuf.RoleName{"claimed", "claimed-00", "unclaimed", "unclaimed-00"}},
		"not that of before": {append(l.ClaimedChain(p)[:1], l.ClaimedChain(p)...), []tuf.RoleName{"claimed", "claimed", "claimed-" + bin}},
	} {
		if !slices.Equal(c.got, c.want) {
			t.Errorf("%s: %v, want %v", name, c.got, c.want)
		}
	}
	for role, want := range map[tuf.RoleName]string{
		"claimed-3f": "3f", "unclaimed-0": "0", "unclaimed-ffff": "ffff",
		"claimed": "", "unclaimed": "", "claimed-": "", "claimed-xy": "", "project.claimed-3f": "", "targets": "", "": "",
	} {
		if bin, ok := policy.BinOf(role); bin != want || ok != (want != "") {
			t.Errorf("BinOf(%q) = %q, %t, want %q", role, bin, ok, want)
		}
	}
}

// claimedBin is a claimed bin of a new repository.
func claimedBin(t testing.TB, r *repository, l policy.Layout, p pypi.Project) (*tuf.Targets, tuf.Authority) {
	t.Helper()
	offline := authority(t, 1, r.keys[policy.KeyClaimed])
	return r.read(t, l.ClaimedBin(p), 1, offline), offline
}

// edited publishes an edit of a bin.
func edited(t testing.TB, r *repository, l policy.Layout, p pypi.Project, bin *tuf.Targets, edit repo.TargetsEdit) *tuf.Targets {
	t.Helper()
	offline := authority(t, 1, r.keys[policy.KeyClaimed])
	name := l.ClaimedBin(p)
	d, err := repo.EditTargets(bin, edit, repo.Issue{Role: name, Version: bin.Version() + 1, Expires: now.Add(day), Now: now, Authority: offline})
	r.publish(t, d, err)
	return r.read(t, name, bin.Version()+1, offline)
}

func TestAddClaimed(t *testing.T) {
	l, p := layout(t, 16), project(t, "flask")
	r := founded(t, 16)
	bin, _ := claimedBin(t, r, l, p)
	if !policy.FallsThroughLast(bin) {
		t.Error("a new bin does not lead on to unclaimed")
	}
	maintainer, other := authority(t, 1, signerOf(t, "maintainer")), authority(t, 1, signerOf(t, "other"))
	wide := repo.Delegation{Role: policy.ProjectRole(p), Authority: maintainer, HashPrefixes: []string{"0"}}
	bin = edited(t, r, l, p, bin, policy.AddClaimed(l, bin, wide))
	bin = edited(t, r, l, p, bin, policy.AddClaimed(l, bin, policy.NewProject(l, p, other)))
	if bin.Delegations().Len() != 2 || !policy.FallsThroughLast(bin) {
		t.Fatalf("%s", bin.Bytes())
	}
	d := bin.Delegations().At(0)
	if d.Name() != policy.ProjectRole(p) || !d.Terminating() || !slices.Equal(d.Paths(), []string{l.ProjectPattern(p)}) || !authorityOf(t, d).Equal(other) {
		t.Errorf("delegated as %s", d.Raw())
	}
	// A bin without the way to unclaimed is none that may be edited.
	bare := edited(t, r, l, p, bin, repo.TargetsEdit{RemoveDelegations: []tuf.RoleName{policy.RoleUnclaimed}})
	if policy.FallsThroughLast(bare) {
		t.Error("taken for a bin that leads on")
	}
	_, err := repo.EditTargets(bare, policy.AddClaimed(l, bare, policy.NewProject(l, p, other)), repo.Issue{
		Role: l.ClaimedBin(p), Version: bare.Version() + 1, Expires: now.Add(day), Now: now, Authority: authority(t, 1, r.keys[policy.KeyClaimed]),
	})
	wantErr(t, err, repo.ErrAbsent)
	last := edited(t, r, l, p, bin, repo.TargetsEdit{AddDelegations: []repo.Delegation{
		policy.NewProject(l, project(t, "late"), other),
	}})
	if policy.FallsThroughLast(last) {
		t.Error("a project after the way to unclaimed is not noticed")
	}
	empty := edited(t, r, l, p, last, repo.TargetsEdit{RemoveDelegations: []tuf.RoleName{policy.ProjectRole(p), "unclaimed", "project.late"}})
	if policy.FallsThroughLast(empty) {
		t.Error("nothing is delegated, and that is taken for the way to unclaimed")
	}
	open := l.FallThrough(l.Bin(p), other)
	open.Terminating = false
	if policy.FallsThroughLast(edited(t, r, l, p, empty, repo.TargetsEdit{AddDelegations: []repo.Delegation{open}})) {
		t.Error("a way to unclaimed that does not end the search is not noticed")
	}
}

// TestFallThroughStaysLast: in whatever order projects are claimed, change hands and are given up, a
// search comes to unclaimed after all of them, and to each project's own keys before.
func TestFallThroughStaysLast(t *testing.T) {
	l := layout(t, 16)
	names := []string{"flask"}
	for i := 0; len(names) < 6; i++ { // of one bin
		if name := fmt.Sprintf("lib%d", i); l.Bin(project(t, name)) == l.Bin(project(t, "flask")) {
			names = append(names, name)
		}
	}
	start := founded(t, 16)
	rapid.Check(t, func(rt *rapid.T) {
		r := &repository{keys: start.keys, files: start.files}
		p := project(t, "flask")
		bin, _ := claimedBin(t, r, l, p)
		holder := map[string]tuf.Authority{}
		for range rapid.IntRange(1, 8).Draw(rt, "steps") {
			var edit repo.TargetsEdit
			var ds []repo.Delegation
			for _, name := range rapid.SliceOfNDistinct(rapid.SampledFrom(names), 0, 3, rapid.ID[string]).Draw(rt, "projects") {
				a := authority(t, 1, signerOf(t, rapid.SampledFrom([]string{"alice", "bob"}).Draw(rt, "keys")))
				holder[name] = a
				ds = append(ds, policy.NewProject(l, project(t, name), a))
			}
			edit = policy.AddClaimed(l, bin, ds...)
			for name := range holder {
				role := policy.ProjectRole(project(t, name))
				touched := slices.ContainsFunc(ds, func(d repo.Delegation) bool { return d.Role == role })
				if !touched && rapid.IntRange(0, 9).Draw(rt, "given up") == 0 {
					edit.RemoveDelegations = append(edit.RemoveDelegations, role)
					delete(holder, name)
				}
			}
			bin = edited(t, r, l, p, bin, edit)
			if !policy.FallsThroughLast(bin) || bin.Delegations().Len() != len(holder)+1 {
				rt.Fatalf("%d projects, and the bin is %s", len(holder), bin.Bytes())
			}
			for name, a := range holder {
				var first tuf.Delegation
				for d := range bin.Delegations().Match(tuf.TargetPath(l.Dir(project(t, name)) + "/x")) {
					first = d
					break
				}
				if first.Name() != policy.ProjectRole(project(t, name)) || !authorityOf(t, first).Equal(a) {
					rt.Fatalf("a search for %s comes to %s first", name, first.Raw())
				}
			}
		}
	})
}

// BenchmarkInstall is what an install over 30 projects verifies that lie in 30 bins: every search goes through
// a claimed bin to the one role unclaimed, which is verified and parsed once.
func BenchmarkInstall(b *testing.B) {
	for _, bins := range []int{256, 4096} {
		b.Run(fmt.Sprint(bins), func(b *testing.B) {
			r, l := founded(b, bins), layout(b, bins)
			var paths []tuf.TargetPath
			for seen := map[string]bool{}; len(paths) < 30; {
				p := project(b, fmt.Sprintf("lib%d", len(seen)))
				if bin := l.Bin(p); !seen[bin] {
					paths = append(paths, tuf.TargetPath(l.Dir(p)+"/x"))
				}
				seen[l.Bin(p)+p.String()], seen[l.Bin(p)] = true, true
			}
			unclaimed := 0
			load := func(role tuf.RoleName, meta tuf.Meta) ([]byte, error) {
				if role == policy.RoleUnclaimed {
					unclaimed++
				}
				return r.load(role, meta)
			}
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				set := r.update(b) // with a cache of its own
				b.StartTimer()
				unclaimed = 0
				for _, path := range paths {
					if _, err := set.Find(path, load); !errors.Is(err, trust.ErrNotFound) {
						b.Fatal(err)
					}
				}
			}
			if unclaimed != 1 {
				b.Errorf("unclaimed was loaded %d times", unclaimed)
			}
		})
	}
}
