package verify_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"example.com/bailiwick/internal/testrepo"
	"example.com/bailiwick/internal/verify"
)

// maintained adds a project that its maintainers sign, in one of the trees, with a wheel that is
// listed by the sub-role of their pipeline.
func (w *world) maintained(name string, claimed bool, holders testrepo.Holders) (wheelName, sdistName string) {
	role, bin := "project."+name, testrepo.Bin(name)
	wheelName, sdistName = name+"-1.0-py3-none-any.whl", name+"-1.0.tar.gz"
	w.AddProject(testrepo.Project{Name: name, Claimed: claimed, Holders: holders})
	w.since(name, claimed, "2030-01-15T08:00:00Z")
	w.AddTargetCustom(role, testrepo.ProjectPath(name, sdistName), random(name, 2_000), custom("1.0", ""))
	w.Delegate(role, testrepo.Delegation{Name: role + ".ci", Paths: []string{bin + "/" + name + "/*.whl"}, Holders: testrepo.One(name + "-ci"), Terminating: true})
	w.AddTargetCustom(role+".ci", testrepo.ProjectPath(name, wheelName), random(name+"-wheel", 3_000), custom("1.0", ""))
	w.Publish()
	return wheelName, sdistName
}

// since writes the date of the claim into the delegation, as the product does.
func (w *world) since(name string, claimed bool, date string) {
	bin := w.binOf(name, claimed)
	before := w.Edit[bin]
	w.Edit[bin] = func(signed map[string]any) {
		if before != nil {
			before(signed)
		}
		delegations, _ := signed["delegations"].(map[string]any)
		if delegations == nil {
			return
		}
		for _, d := range delegations["roles"].([]any) {
			if entry := d.(map[string]any); entry["name"] == "project."+name {
				entry["since"] = date
			}
		}
	}
	w.Touch(bin)
}

func (w *world) binOf(name string, claimed bool) string {
	if claimed {
		return "claimed-" + testrepo.Bin(name)
	}
	return "unclaimed-" + testrepo.Bin(name)
}

// rekey gives a project's role to other keys, by its bin.
func (w *world) rekey(name string, claimed bool, holders testrepo.Holders) {
	bin := w.binOf(name, claimed)
	w.Undelegate(bin, "project."+name)
	w.Delegate(bin, testrepo.Delegation{
		Name: "project." + name, Paths: []string{testrepo.Bin(name) + "/" + name + "/*"}, Holders: holders, Terminating: true,
	})
	w.Touch("project." + name)
	w.Publish()
}

// TestBrokenRoles: whatever is wrong with a role that maintainers sign is told as exactly that, in both
// trees, for the project and for whom it delegates to; and nobody else is asked, although the registry
// lists a forged file of the same name. Requirement R15.
func TestBrokenRoles(t *testing.T) {
	faults := []struct {
		name  string
		spoil func(w *world, role string)
		class verify.Class
		code  string
		says  string // %s is the role and its version
	}{
		{
			name: "missing in the snapshot", class: verify.Refused, code: "missing", says: "%s is missing, the list that its maintainers sign",
			spoil: func(w *world, role string) { w.Unlisted[role] = true; w.Publish() },
		},
		{
			name: "withheld", class: verify.Refused, code: "missing", says: "%s is missing, the list that its maintainers sign",
			spoil: func(w *world, role string) { w.Remove(w.FileName(role)) },
		},
		{
			name: "expired", class: verify.Unusable, code: "expired", says: "%s version 2 is expired",
			spoil: func(w *world, role string) {
				w.Life[role] = time.Hour
				w.Touch(role)
				w.Publish()
				w.later(2 * time.Hour)
				w.PublishTimestamp()
			},
		},
		{
			name: "unsigned", class: verify.Refused, code: "threshold", says: "%s version 1 has no signature",
			spoil: func(w *world, role string) { w.DropSignatures(role) },
		},
		{
			name: "signed by the registry", class: verify.Refused, code: "threshold", says: "%s version 1 is signed by none of its keys",
			spoil: func(w *world, role string) { w.SignOnly(role, testrepo.NewKey("registry-1")) },
		},
		{
			name: "signed under the right names by a wrong key", class: verify.Refused, code: "threshold", says: "%s version 1 is signed by none of its keys",
			spoil: func(w *world, role string) { w.SwapKey(role) },
		},
		{
			name: "damaged", class: verify.Refused, code: "malformed", says: "%s version 1 cannot be read",
			spoil: func(w *world, role string) { w.Truncate(w.FileName(role), 100) },
		},
	}
	for _, claimed := range []bool{true, false} {
		for _, sub := range []string{"", ".ci"} {
			for _, fault := range faults {
				word := map[bool]string{true: "claimed", false: "recently claimed"}[claimed]
				t.Run(fmt.Sprintf("%s, %s%s: %s", word, "project.widget", sub, fault.name), func(t *testing.T) {
					w := newWorld(t)
					wheelName, _ := w.maintained("widget", claimed, testrepo.One("alice"))
					role := "project.widget" + sub
					forge(w, "widget", wheelName)
					fault.spoil(w, role)
					e := w.engine()
					_, err := read(t.Context(), e, project(t, "widget"), wheelName)
					got := wantProblem(t, err, fault.class, fault.code)
					if want := fmt.Sprintf(fault.says, role); !strings.Contains(got.Error(), want) {
						t.Errorf("sentence: %v\nwant: %s", got, want)
					}
					if got.Project != "widget" || got.Assurance != word || got.Since.IsZero() {
						t.Errorf("of %q, %q since %s", got.Project, got.Assurance, got.Since)
					}
					report := strings.Join(got.Report(), "\n")
					if want := "widget is " + word + " since 2030-01-15: only the keys of its maintainers count, and nobody else was asked."; !strings.Contains(report, want) {
						t.Errorf("report lacks %q:\n%s", want, report)
					}
					if e.Summary().Files() != 0 {
						t.Error("something was handed out")
					}
					x, err := e.ExplainProject(t.Context(), project(t, "widget"))
					if err != nil || x.Problem == nil || x.Problem.Cause != got.Cause || x.Since.IsZero() {
						t.Errorf("why: %+v, %v", x, err)
					}
					if _, err := read(t.Context(), e, project(t, "flask"), flaskWheel); err != nil {
						t.Errorf("another project: %v", err)
					}
				})
			}
		}
	}
}

// forge lists other bytes under a file's path in the unclaimed bin itself, signed by the registry: what
// a search that falls through would find.
func forge(w *world, name, file string) {
	bin := "unclaimed-" + testrepo.Bin(name)
	other := testrepo.Delegation{Name: "thief", Paths: []string{testrepo.Bin(name) + "/" + name + "/*"}, Holders: testrepo.One("registry")}
	w.Delegate(bin, other)
	w.AddTargetCustom("thief", testrepo.ProjectPath(name, file), []byte("forged"), custom("1.0", ""))
	w.Publish()
}

// TestTooFewSignatures says how many there are.
func TestTooFewSignatures(t *testing.T) {
	for _, claimed := range []bool{true, false} {
		w := newWorld(t)
		_, sdist := w.maintained("widget", claimed, testrepo.Some("team", 2, 3))
		w.SignOnly("project.widget", testrepo.Keys("team", 1)...)
		_, err := read(t.Context(), w.engine(), project(t, "widget"), sdist)
		got := wantProblem(t, err, verify.Refused, "threshold")
		if want := "widget refused: project.widget version 1 is signed by 1 of the 2 keys it needs (bailiwick why " + got.ID + ")"; got.Error() != want {
			t.Errorf("sentence %q, want %q", got, want)
		}
	}
}

// TestYesterdaysKey: a list signed by a key that had the project when it was seen last is told from one
// signed by a stranger; whoever never saw the project can not know. Requirement R29.
func TestYesterdaysKey(t *testing.T) {
	for _, claimed := range []bool{true, false} {
		w := newWorld(t)
		_, sdist := w.maintained("widget", claimed, testrepo.One("alice"))
		memory := newTestMemory()
		remembering := func(c *verify.Config) { c.Memory = memory }
		if _, err := read(t.Context(), w.engine(remembering), project(t, "widget"), sdist); err != nil {
			t.Fatal(err)
		}
		w.later(24 * time.Hour)
		w.rekey("widget", claimed, testrepo.One("bob"))
		w.SignOnly("project.widget", testrepo.Keys("alice", 1)...)
		_, err := read(t.Context(), w.engine(remembering), project(t, "widget"), sdist)
		got := wantProblem(t, err, verify.Refused, "threshold")
		if want := "project.widget version 2 is signed by a key that was revoked or replaced since 2030-01-31"; got.Cause != want {
			t.Errorf("cause %q, want %q", got.Cause, want)
		}
		_, err = read(t.Context(), w.engine(), project(t, "widget"), sdist)
		got = wantProblem(t, err, verify.Refused, "threshold")
		if want := "project.widget version 2 is signed by none of its keys"; got.Cause != want {
			t.Errorf("who never saw it: cause %q, want %q", got.Cause, want)
		}
		// A signature that merely names the old key is not by it.
		w.SwapKey("project.widget")
		_, err = read(t.Context(), w.engine(remembering), project(t, "widget"), sdist)
		got = wantProblem(t, err, verify.Refused, "threshold")
		if strings.Contains(got.Cause, "revoked") {
			t.Errorf("a forged signature is told as by a revoked key: %q", got.Cause)
		}
		// Two changes later it is still known.
		w.Restore("project.widget")
		w.later(24 * time.Hour)
		w.PublishTimestamp()
		if _, err := read(t.Context(), w.engine(remembering), project(t, "widget"), sdist); err != nil {
			t.Fatal(err)
		}
		w.SignOnly("project.widget", testrepo.Keys("alice", 1)...)
		w.store = newStore()
		_, err = read(t.Context(), w.engine(remembering), project(t, "widget"), sdist)
		if got := problem(t, err); !strings.Contains(got.Cause, "revoked or replaced since 2030-01-31") {
			t.Errorf("cause %q", got.Cause)
		}
	}
}

// TestNamesCannotDrawOnTheTerminal: whoever signs a project chooses the names of its sub-roles.
func TestNamesCannotDrawOnTheTerminal(t *testing.T) {
	w := newWorld(t)
	w.AddProject(testrepo.Project{Name: "evil", Holders: testrepo.One("mallory")})
	name := "project.evil.\x1b[2J\nall is well"
	w.Delegate("project.evil", testrepo.Delegation{Name: name, Paths: []string{testrepo.Bin("evil") + "/evil/*"}, Terminating: true})
	w.Unlisted[name] = true
	w.AddTargetCustom("project.evil", testrepo.ProjectPath("evil", "evil-1.0.tar.gz"), []byte("evil"), custom("1.0", ""))
	w.Publish()
	_, err := read(t.Context(), w.engine(), project(t, "evil"), "evil-1.0.tar.gz")
	got := wantProblem(t, err, verify.Refused, "missing")
	text := got.Error() + strings.Join(got.Report(), "")
	if strings.ContainsAny(text, "\x1b\n") || !strings.Contains(text, "project.evil.?[2J all is well is missing") {
		t.Errorf("%q", text)
	}
}

// TestSubRoleSigns: what a project's pipeline signs is as claimed as the project, and it is said whose keys
// are enough to change it.
func TestSubRoleSigns(t *testing.T) {
	w := newWorld(t)
	wheelName, sdist := w.maintained("widget", true, testrepo.Some("team", 2, 3))
	e := w.engine()
	for _, name := range []string{wheelName, sdist} {
		if _, err := read(t.Context(), e, project(t, "widget"), name); err != nil {
			t.Fatal(err)
		}
	}
	x, err := e.ExplainFile(t.Context(), project(t, "widget"), filename(t, wheelName))
	if err != nil {
		t.Fatal(err)
	}
	if want := "claimed since 2030-01-15: to change this file, someone needs a key of project.widget.ci, or the keys of 2 maintainers."; x.Meaning != want {
		t.Errorf("meaning %q, want %q", x.Meaning, want)
	}
	last := x.Chain[len(x.Chain)-1]
	if last.Role != "project.widget.ci" || last.Holder != "maintainers" {
		t.Errorf("last link %+v", last)
	}
	w.ServeTarget(w.TargetName(testrepo.ProjectPath("widget", wheelName), random("widget-wheel", 3_000)), random("evil", 3_000))
	w.cache = newMemoryCache()
	_, err = read(t.Context(), w.engine(), project(t, "widget"), wheelName)
	got := wantProblem(t, err, verify.Refused, "hash")
	if got.Cause != "not the bytes its maintainers signed" || got.SignedBy != `1 of 1 key, to which its maintainers delegate "ci"` {
		t.Errorf("cause %q, signed by %q", got.Cause, got.SignedBy)
	}
}
