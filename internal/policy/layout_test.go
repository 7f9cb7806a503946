package policy_test

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/repo"
)

func TestNewLayout(t *testing.T) {
	for bins, digits := range map[int]int{16: 1, 256: 2, 4096: 3, 65536: 4} {
		l := layout(t, bins)
		if l.Bins() != bins {
			t.Errorf("layout of %d bins has %d", bins, l.Bins())
		}
		if got := l.Bin(project(t, "flask")); len(got) != digits {
			t.Errorf("%d bins: flask lies in %q", bins, got)
		}
		names := slices.Collect(l.BinNames())
		if len(names) != bins || names[0] != strings.Repeat("0", digits) || names[bins-1] != strings.Repeat("f", digits) || !slices.IsSorted(names) {
			t.Errorf("%d bins: %d names from %s to %s", bins, len(names), names[0], names[bins-1])
		}
	}
	for _, bins := range []int{-1, 0, 1, 2, 15, 17, 255, 257, 1 << 20} {
		l, err := policy.NewLayout(bins)
		wantErr(t, err, policy.ErrLayout)
		if l.Bins() != 0 {
			t.Errorf("refused layout has %d bins", l.Bins())
		}
	}
	if got := len(slices.Collect(policy.Layout{}.BinNames())); got != 0 {
		t.Errorf("the zero layout has %d bins", got)
	}
	for range layout(t, 256).BinNames() {
		break // stopping early is fine
	}
}

func TestWhereAProjectLies(t *testing.T) {
	// printf flask | sha256sum: 3f...
	l, p := layout(t, 256), project(t, "Flask")
	sum := fmt.Sprintf("%x", sha256.Sum256([]byte("flask")))
	bin := sum[:2]
	f := filename(t, p, "flask-3.1.0-py3-none-any.whl")
	for what, pair := range map[string][2]string{
		"bin":           {l.Bin(p), bin},
		"folder":        {l.Dir(p), bin + "/flask"},
		"path":          {string(l.Path(p, f)), bin + "/flask/flask-3.1.0-py3-none-any.whl"},
		"pattern":       {l.ProjectPattern(p), bin + "/flask/*"},
		"bin's pattern": {l.BinPattern(bin), bin + "/*/*"},
		"claimed bin":   {string(l.ClaimedBin(p)), "claimed-" + bin},
		"unclaimed bin": {string(l.UnclaimedBin(p)), "unclaimed-" + bin},
		"role":          {string(policy.ProjectRole(p)), "project.flask"},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s = %q, want %q", what, pair[0], pair[1])
		}
	}
	if fine := layout(t, 65536).Bin(p); fine != sum[:4] {
		t.Errorf("bin of four digits = %q, want %q", fine, sum[:4])
	}
}

func TestLayoutOf(t *testing.T) {
	s := signerOf(t, "targets")
	with := func(members map[string][]byte) *tuf.Targets {
		d, err := repo.NewTargets(repo.TargetsSpec{Members: members}, repo.Issue{
			Role: tuf.RoleTargets, Version: 1, Expires: now.Add(time.Hour), Now: now, Authority: authority(t, 1, s),
		})
		return signed(t, d, err, s)
	}
	for _, bins := range []int{16, 256, 4096, 65536} {
		got, err := policy.LayoutOf(with(map[string][]byte{policy.BinsMember: fmt.Append(nil, bins)}))
		if err != nil || got != layout(t, bins) {
			t.Errorf("%d bins: %v, %v", bins, got, err)
		}
	}
	_, err := policy.LayoutOf(with(nil))
	wantErr(t, err, policy.ErrLayout)
	for _, value := range []string{`"256"`, `0`, `-256`, `257`, `9007199254740993`, `null`, `[256]`, `{}`} {
		_, err := policy.LayoutOf(with(map[string][]byte{policy.BinsMember: []byte(value)}))
		wantErr(t, err, policy.ErrLayout)
	}
}

func TestParsePath(t *testing.T) {
	for _, name := range []string{
		"flask-3.1.0-py3-none-any.whl", "flask-3.1.0.tar.gz", "Flask-0.1.tar.gz", "flask-1!2.0+local.7-py3-none-any.whl", "flask-3.1.0-1build-py2.py3-none-any.whl",
	} {
		p := project(t, "flask")
		f := filename(t, p, name)
		for _, bins := range []int{16, 256, 4096, 65536} {
			path := layout(t, bins).Path(p, f)
			gotProject, gotFile, err := policy.ParsePath(path)
			if err != nil || gotProject != p || gotFile != f {
				t.Errorf("ParsePath(%q) = %v, %v, %v", path, gotProject, gotFile, err)
			}
			if _, err := tuf.ParseTargetPath(string(path)); err != nil {
				t.Errorf("%q is no target path: %v", path, err)
			}
		}
	}
	dir := layout(t, 256).Dir(project(t, "flask"))
	five := fmt.Sprintf("%.5x", sha256.Sum256([]byte("flask")))[:5]
	for _, path := range []string{
		"", "/", "//", "flask", dir, dir + "/", dir + "/a/b", "/" + dir + "/flask-1.0.tar.gz",
		dir + "/flask-1.0.exe", dir + "/django-1.0.tar.gz", dir + "/..", "00/flask/flask-1.0.tar.gz", "/flask/flask-1.0.tar.gz",
		five + "/flask/flask-1.0.tar.gz",
		strings.Replace(dir, "flask", "Flask", 1) + "/flask-1.0.tar.gz",
		strings.ToUpper(dir[:2]) + "/no-such/no_such-1.0.tar.gz",
	} {
		p, f, err := policy.ParsePath(tuf.TargetPath(path))
		wantErr(t, err, policy.ErrForeignPath)
		if !p.IsZero() || !f.IsZero() {
			t.Errorf("ParsePath(%q) = %v, %v beside an error", path, p, f)
		}
	}
}

// TestNamesOfAnyProject: whatever a legal name is, its role and path lead back to it,
// its path matches its own pattern and its bin's, and nobody else's.
func TestNamesOfAnyProject(t *testing.T) {
	names := rapid.StringMatching(`[A-Za-z0-9]([A-Za-z0-9._-]{0,20}[A-Za-z0-9])?`)
	rapid.Check(t, func(r *rapid.T) {
		p, err := pypi.ParseProject(names.Draw(r, "name"))
		if err != nil {
			r.Fatal(err)
		}
		other, err := pypi.ParseProject(names.Draw(r, "other"))
		if err != nil {
			r.Fatal(err)
		}
		l, err := policy.NewLayout(rapid.SampledFrom([]int{16, 256, 4096, 65536}).Draw(r, "bins"))
		if err != nil {
			r.Fatal(err)
		}
		f, err := pypi.ParseFilenameFor(p, strings.ReplaceAll(p.String(), "-", "_")+"-1.0-py3-none-any.whl")
		if err != nil {
			r.Fatal(err)
		}
		path := l.Path(p, f)
		if gotProject, gotFile, err := policy.ParsePath(path); err != nil || gotProject != p || gotFile != f {
			r.Fatalf("ParsePath(%q) = %v, %v, %v", path, gotProject, gotFile, err)
		}
		role := policy.ProjectRole(p)
		if got, ok := policy.ProjectOf(role); !ok || got != p || policy.KindOf(role) != policy.KindProject {
			r.Fatalf("ProjectOf(%q) = %v, %v", role, got, ok)
		}
		for _, pattern := range []string{l.ProjectPattern(p), l.BinPattern(l.Bin(p)), "*/*/*"} {
			if !tuf.MatchPattern(pattern, string(path)) {
				r.Fatalf("%q does not match %q", pattern, path)
			}
		}
		if p != other && tuf.MatchPattern(l.ProjectPattern(other), string(path)) {
			r.Fatalf("the pattern of %s matches %q", other, path)
		}
		if l.Bin(p) != l.Bin(other) && tuf.MatchPattern(l.BinPattern(l.Bin(other)), string(path)) {
			r.Fatalf("the bin of %s matches %q", other, path)
		}
	})
}
