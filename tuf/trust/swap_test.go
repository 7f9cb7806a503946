package trust_test

import (
	"errors"
	"testing"

	"example.com/bailiwick/internal/testrepo"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/trust"
)

// stolen is a repository with claimed projects in two bins, of whose server somebody has the keys
// timestamp, snapshot and registry, and forges a file of flask with them. Its files do not say which role they are, so
// what protects here protects every client. path is that of the honest file.
func stolen(t *testing.T) (r *testrepo.Repo, unclaimed testrepo.File, path tuf.TargetPath) {
	t.Helper()
	r = testrepo.New(t, testrepo.Options{})
	r.Bailiwick()
	for _, f := range r.Offline() {
		if f.Role == "claimed-"+testrepo.Bin("flask") {
			unclaimed = f // from before flask was claimed
		}
	}
	files := map[string][]byte{"1.whl": []byte("honest")}
	for _, name := range []string{"flask", "django"} {
		r.AddProject(testrepo.Project{Name: name, Claimed: true, Files: files})
	}
	r.AddProject(testrepo.Project{Name: "oldlib", Files: files})
	r.Publish()
	path = tuf.TargetPath(testrepo.ProjectPath("flask", "1.whl"))
	r.Steal(string(path), []byte("forged by a thief"))
	return r, unclaimed, path
}

// verdicts plays swaps on fresh clients. It returns the number of swaps after which the client was given
// what the maintainers signed, and fails if any client was given anything else.
func verdicts(t *testing.T, r *testrepo.Repo, path tuf.TargetPath, swaps []map[string]testrepo.File) (honest int) {
	t.Helper()
	before := r.Moment()
	for _, as := range swaps {
		r.Swap(as)
		set, err := update(t, r, begin(t, r))
		if err == nil {
			var found *trust.Found
			if found, err = set.Find(path, loader(t, r, set)); err == nil {
				honest++
				if found.Target.Length != int64(len("honest")) {
					t.Errorf("%s: found %d bytes by way of %v", testrepo.Swapped(as), found.Target.Length, chain(found))
				}
			}
			listed, bad := set.List(testrepo.Bin("flask")+"/flask", loader(t, r, set))
			if (err == nil) != (bad == nil) || len(listed) > 1 || len(listed) == 1 && listed[0].Target.Length != found.Target.Length {
				t.Errorf("%s: Find says %v, List %v, %v", testrepo.Swapped(as), err, listed, bad)
			}
		}
		var refused *trust.RefusedError
		if err != nil && !errors.Is(err, trust.ErrNotFound) && !errors.As(err, &refused) {
			t.Errorf("%s: %v", testrepo.Swapped(as), err)
		}
		r.Replay(before)
		clear(r.ListEdit)
	}
	return honest
}

func chain(f *trust.Found) (out []tuf.RoleName) {
	for _, l := range f.Chain {
		out = append(out, l.Role)
	}
	return out
}

// TestSwaps: whatever file that was signed offline is served under the name of whatever other role, nothing
// forged is found for a claimed project, by a client that knows nothing but TUF.
func TestSwaps(t *testing.T) {
	r, _, path := stolen(t)
	var swaps []map[string]testrepo.File
	offline := r.Offline()
	names := append(offline, testrepo.File{Role: "unclaimed-" + testrepo.Bin("flask")}, testrepo.File{Role: "project.flask"})
	for _, file := range offline {
		for _, at := range names {
			swaps = append(swaps, map[string]testrepo.File{at.Role: file})
		}
	}
	// Four of these roles are on the way to flask. Three of them in their own place, and flask's bin in that of
	// claimed, lead there as well; all else leads nowhere.
	if n, want := verdicts(t, r, path, swaps), len(offline)*(len(names)-4)+3+1; n != want {
		t.Errorf("after %d of %d swaps flask was found, want %d", n, len(swaps), want)
	}
}

// TestSwapsTogether: and so with any number of them at once, on the way to the project.
func TestSwapsTogether(t *testing.T) {
	r, _, path := stolen(t)
	way := []string{"targets", "claimed", "claimed-" + testrepo.Bin("flask"), "unclaimed"}
	other := map[string]bool{"claimed-" + testrepo.Bin("django"): true, "claimed-0": true}
	for _, role := range way {
		other[role] = true
	}
	var files []testrepo.File
	for _, f := range r.Offline() {
		if other[f.Role] {
			files = append(files, f)
		}
	}
	swaps := []map[string]testrepo.File{{}}
	for _, name := range way {
		var longer []map[string]testrepo.File
		for _, as := range swaps {
			for _, f := range files {
				next := map[string]testrepo.File{name: f}
				for k, v := range as {
					next[k] = v
				}
				longer = append(longer, next)
			}
		}
		swaps = longer
	}
	// Whatever lies in the place of unclaimed: targets are targets, and claimed is followed by flask's bin, or is
	// that bin, whatever lies in the place of it.
	if n, want := verdicts(t, r, path, swaps), 6*(1+6); n != want {
		t.Errorf("after %d of %d swaps flask was found, want %d", n, len(swaps), want)
	}
}

// TestOldBin is what the topology leaves: an old version of the right bin, from before the project was
// claimed, in its own place or in that of claimed. It falls through, as it was signed to do, until it expires. minimum_version
// closes the first, a file that says which role it is the second; stock clients know neither.
func TestOldBin(t *testing.T) {
	bin := "claimed-" + testrepo.Bin("flask")
	for _, as := range []string{bin, "claimed"} {
		r, old, path := stolen(t)
		swap := map[string]testrepo.File{as: old}
		r.Swap(swap)
		set := fresh(t, r)
		if f, err := set.Find(path, loader(t, r, set)); err != nil || f.Target.Length == int64(len("honest")) {
			t.Errorf("%s: %v, %v; a client without either is expected to fall for it", testrepo.Swapped(swap), f, err)
		}
	}
	r, old, path := stolen(t)
	ds := r.Roles["claimed"].Delegations
	for i := range ds {
		if ds[i].Name == bin {
			ds[i].Minimum = old.Version + 1
		}
	}
	r.Touch("claimed")
	r.Publish()
	r.Swap(map[string]testrepo.File{bin: old})
	set := fresh(t, r)
	_, err := set.Find(path, loader(t, r, set))
	refused(t, err, trust.Rollback, tuf.RoleName(bin), "5.6.4")
	// In the place of claimed it is told by its name, which the product writes.
	r, _, path = stolen(t)
	r.Edit[bin] = func(signed map[string]any) { signed["role_name"] = bin }
	r.Touch(bin)
	r.Publish()
	for _, f := range r.Offline() {
		if f.Role == bin {
			r.Swap(map[string]testrepo.File{"claimed": f})
		}
	}
	set = fresh(t, r)
	_, err = set.Find(path, loader(t, r, set))
	refused(t, err, trust.MixAndMatch, "claimed", "5.6.4")
}
