package verify_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/internal/testrepo"
	"example.com/bailiwick/internal/verify"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/client"
	"example.com/bailiwick/tuf/trust"
)

// has installs a file in a session of its own and wants these bytes; nil: the file must not be found.
func (w *world) has(projectName, file string, want []byte) {
	w.t.Helper()
	got, err := read(w.t.Context(), w.engine(), project(w.t, projectName), file)
	if want == nil {
		wantProblem(w.t, err, verify.NotFound, problem(w.t, err).Code)
		return
	}
	if err != nil || !bytes.Equal(got, want) {
		w.t.Errorf("%s is %.40q, %v; want %.40q", file, got, err, want)
	}
}

// TestR14_FirstInOrderWins: one file name, listed with other bytes at every place that may list it. Who
// comes first has it: the project itself, then whom it delegates to, then the unclaimed tree in its
// order; whatever version, date or number of publications the later ones have.
func TestR14_FirstInOrderWins(t *testing.T) {
	w := newWorld(t)
	w.AddProject(testrepo.Project{Name: "widget", Claimed: true, Holders: testrepo.One("alice")})
	const file = "widget-1.0-py3-none-any.whl"
	path, dir := testrepo.ProjectPath("widget", file), testrepo.Bin("widget")+"/widget/*"
	bin := w.binOf("widget", false)
	w.Delegate("project.widget", testrepo.Delegation{Name: "project.widget.ci", Paths: []string{dir}, Holders: testrepo.One("ci"), Terminating: true})
	w.Delegate(bin, testrepo.Delegation{Name: "recent", Paths: []string{dir}, Holders: testrepo.One("bob")})
	w.Delegate(bin, testrepo.Delegation{Name: "late", Paths: []string{dir}, Holders: testrepo.One("registry")})
	places := []string{"project.widget", "project.widget.ci", "recent", "late"}
	content := make(map[string][]byte)
	for i, role := range places {
		content[role] = []byte("listed by " + role)
		later := custom("1.0", "")
		later["upload-time"] = fmt.Sprintf("203%d-01-30T10:00:00Z", i)
		w.AddTargetCustom(role, path, content[role], later)
		for range i {
			w.Publish()
			w.Touch(role) // the later the place, the higher its version
		}
	}
	w.Publish()
	w.has("widget", file, content["project.widget"])
	w.RemoveTarget("project.widget", path)
	w.Publish()
	w.has("widget", file, content["project.widget.ci"])
	w.Undelegate(w.binOf("widget", true), "project.widget")
	w.Publish()
	w.has("widget", file, content["recent"])
	w.Undelegate(bin, "recent")
	w.Publish()
	w.has("widget", file, content["late"])
}

// TestR15_ClaimedEndsTheSearch: a thief with every online key puts a file of their own under every name of
// a claimed project. Neither a new release of theirs nor one that the project withdrew is ever found, and
// their roles are not even asked for, whether the project's own list is whole, absent, expired or damaged.
func TestR15_ClaimedEndsTheSearch(t *testing.T) {
	for name, spoil := range map[string]func(w *world){
		"whole":   func(*world) {},
		"absent":  func(w *world) { w.Remove(w.FileName("project.flask")) },
		"dropped": func(w *world) { w.Unlisted["project.flask"] = true; w.Publish() },
		"expired": func(w *world) { w.Life["project.flask"] = -1; w.Touch("project.flask"); w.Publish() },
		"damaged": func(w *world) { w.Truncate(w.FileName("project.flask"), 60) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			honest := w.content("flask", flaskSdist)
			const evil = "flask-99.0-py3-none-any.whl"
			bin := testrepo.Bin("flask")
			for _, from := range []string{"unclaimed", w.binOf("flask", false)} {
				thief := "thief-of-" + from
				w.Delegate(from, testrepo.Delegation{Name: thief, Paths: []string{"*/*/*", bin + "/flask/*"}, Holders: testrepo.One("registry")})
				for _, role := range []string{from, thief} {
					for _, file := range []string{evil, flaskSdist} {
						w.AddTargetCustom(role, testrepo.ProjectPath("flask", file), []byte("evil"), custom("99.0", ""))
					}
				}
			}
			w.Publish()
			spoil(w)
			w.ResetRequests()
			if found, err := w.view().Find(t.Context(), tuf.TargetPath(testrepo.ProjectPath("flask", evil))); err == nil {
				t.Errorf("a client finds the thief's release, by way of %+v", found.Chain)
			}
			e := w.engine()
			if _, err := read(t.Context(), e, project(t, "flask"), evil); err == nil {
				t.Error("the thief's release was handed out")
			}
			got, err := read(t.Context(), e, project(t, "flask"), flaskSdist)
			if name == "whole" && (err != nil || !bytes.Equal(got, honest)) || name != "whole" && err == nil {
				t.Errorf("%.20q, %v", got, err)
			}
			if name != "whole" && problem(t, err).Class == verify.NotFound {
				t.Error("what can not be verified is told as what is not there")
			}
			for _, role := range []string{"thief-of-unclaimed", "thief-of-" + w.binOf("flask", false), w.binOf("flask", false)} {
				if slices.Contains(w.Requests(), w.FileName(role)) {
					t.Errorf("%s was asked for", role)
				}
			}
		})
	}
}

// view is what a client without any memory verifies of the repository.
func (w *world) view() *client.View {
	w.t.Helper()
	c, err := client.New(client.Config{Fetcher: w.fetcher, Store: client.NewMemory(), Root: w.Root(1), Now: w.clock.Now})
	if err != nil {
		w.t.Fatal(err)
	}
	v, err := c.Refresh(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return v
}

// TestR20_ThePathIsCheckedAlongTheChain: a pipeline's role may list what every role above it may: patterns
// do not widen on the way down, and an asterisk ends at a slash.
func TestR20_ThePathIsCheckedAlongTheChain(t *testing.T) {
	w := newWorld(t)
	const role = "project.widget.ci"
	bin := testrepo.Bin("widget")
	w.AddProject(testrepo.Project{Name: "widget", Claimed: true, Holders: testrepo.One("alice")})
	w.Delegate("project.widget", testrepo.Delegation{
		Name: role, Paths: []string{"*", "*/*", "*/*/*", "*/*/*/*"}, Holders: testrepo.One("ci"), Terminating: true,
	})
	good := tuf.TargetPath(testrepo.ProjectPath("widget", "widget-1.0.tar.gz"))
	outside := []tuf.TargetPath{
		tuf.TargetPath(testrepo.ProjectPath("flask", "flask-9.0.tar.gz")),
		tuf.TargetPath(bin + "/widget2/widget-1.0.tar.gz"),
		tuf.TargetPath(bin + "/widget/sub/widget-1.0.tar.gz"),
		tuf.TargetPath(bin + "/widget-1.0.tar.gz"),
		"widget-1.0.tar.gz",
	}
	for _, path := range append(slices.Clone(outside), good) {
		w.AddTargetCustom(role, string(path), []byte("x"), custom("1.0", ""))
	}
	w.Publish()
	v := w.view()
	if found, err := v.Find(t.Context(), good); err != nil || len(found.Chain) != 5 {
		t.Errorf("what the whole chain allows: %+v, %v", found, err)
	}
	for _, path := range outside {
		if found, err := v.Find(t.Context(), path); !errors.Is(err, trust.ErrNotFound) {
			t.Errorf("%s: %+v, %v; want it not to be found", path, found, err)
		}
	}
	w.has("flask", "flask-9.0.tar.gz", nil)
}

// TestR22_RolesOfOneName: two projects call a helper "alice", each with a key of their own. In one session
// the key of the one is never good for the other, in whatever order they are asked.
func TestR22_RolesOfOneName(t *testing.T) {
	names := []string{"gadget", "widget"}
	for _, signer := range names {
		for _, first := range names {
			w := newWorld(t)
			for _, name := range names {
				w.AddProject(testrepo.Project{Name: name, Claimed: true, Holders: testrepo.One(name)})
				w.Delegate("project."+name, testrepo.Delegation{
					Name: "alice", Paths: []string{testrepo.Bin(name) + "/" + name + "/*"}, Holders: testrepo.One("alice-of-" + name), Terminating: true,
				})
				w.AddTargetCustom("alice", testrepo.ProjectPath(name, name+"-1.0.tar.gz"), []byte(name), custom("1.0", ""))
			}
			w.SignWith["alice"] = testrepo.Keys("alice-of-"+signer, 1)
			w.Publish()
			e := w.engine()
			order := slices.Clone(names)
			if first != order[0] {
				slices.Reverse(order)
			}
			for range 2 { // what is in the cache by then is not trusted for the other either
				for _, name := range order {
					got, err := read(t.Context(), e, project(t, name), name+"-1.0.tar.gz")
					if name == signer {
						if err != nil || string(got) != name {
							t.Errorf("signed by %s's helper, %s asked first: %s: %v", signer, first, name, err)
						}
						continue
					}
					if e := wantProblem(t, err, verify.Refused, "threshold"); e.Role != "alice" {
						t.Errorf("refused for the role %s", e.Role)
					}
				}
			}
		}
	}
}

// TestR52_DeveloperSignedOnly: with a rule for every project, what an installer resolves from a claimed
// project is installed, and its unclaimed dependency is refused, with the path of roles that led to it.
func TestR52_DeveloperSignedOnly(t *testing.T) {
	w := newWorld(t)
	every := func(c *verify.Config) {
		c.Require = func(pypi.Project) (verify.Requirement, bool) {
			return verify.Requirement{Level: policy.RecentlyClaimed, Pattern: "*", Origin: "bailiwick.toml:2"}, true
		}
	}
	e := w.engine(every)
	if _, err := read(t.Context(), e, project(t, "flask"), flaskWheel); err != nil {
		t.Fatal(err)
	}
	got, err := read(t.Context(), e, project(t, "oldlib"), oldWheel)
	wantProblem(t, err, verify.Refused, verify.CodeAssurance)
	if len(got) != 0 {
		t.Errorf("%d bytes were handed out", len(got))
	}
	x, err := e.ExplainFile(t.Context(), project(t, "oldlib"), filename(t, oldWheel))
	if err != nil || x.Problem == nil || x.Problem.Code != verify.CodeAssurance {
		t.Fatalf("%+v, %v", x, err)
	}
	var path []tuf.RoleName
	for _, role := range x.Chain {
		path = append(path, role.Role)
	}
	want := []tuf.RoleName{
		"root", "targets", "claimed", tuf.RoleName(w.binOf("oldlib", true)),
		"unclaimed", tuf.RoleName(w.binOf("oldlib", false)), "project.oldlib",
	}
	if !slices.Equal(path, want) || x.Chain[6].Holder != "registry" {
		t.Errorf("the path is %q, held by %s; want %q", path, x.Chain[len(x.Chain)-1].Holder, want)
	}
	if s := e.Summary(); s.Files() != 1 || s.Worst() != verify.Refused {
		t.Errorf("summary: %+v", s)
	}
}

// TestR53_EveryInstalledFileIsExplained: for each file of a session, whoever vouched for it is named: every
// role from the root to the one that lists it, with the keys that signed it and enough of them.
func TestR53_EveryInstalledFileIsExplained(t *testing.T) {
	w := newWorld(t)
	widget, sdist := w.maintained("widget", false, testrepo.Some("team", 2, 3))
	lists := map[string]tuf.RoleName{
		flaskWheel: "project.flask", flaskSdist: "project.flask", oldWheel: "project.oldlib", sdist: "project.widget", widget: "project.widget.ci",
	}
	e := w.engine()
	for name := range lists {
		f := filename(t, name)
		if _, err := read(t.Context(), e, f.Project(), name); err != nil {
			t.Fatal(err)
		}
	}
	verdicts := e.Verdicts()
	if len(verdicts) != len(lists) {
		t.Errorf("%d verdicts for %d files", len(verdicts), len(lists))
	}
	for _, v := range verdicts {
		x, err := e.ExplainFile(t.Context(), v.Project, filename(t, v.File))
		if err != nil || x.Problem != nil || x.Asked.SHA256 != v.SHA256 || x.Assurance != v.Assurance.String() {
			t.Errorf("%s: %+v, %v", v.File, x, err)
			continue
		}
		if last := x.Chain[len(x.Chain)-1]; x.Chain[0].Role != tuf.RoleRoot || last.Role != lists[v.File] {
			t.Errorf("%s: from %s to %s, want from root to %s", v.File, x.Chain[0].Role, last.Role, lists[v.File])
		}
		for _, role := range x.Chain {
			signed := 0
			for _, k := range role.Keys {
				if k.Signed {
					signed++
				}
			}
			if role.Threshold < 1 || signed < role.Threshold {
				t.Errorf("%s: %s is shown with %d signatures of %d", v.File, role.Role, signed, role.Threshold)
			}
		}
	}
}
