package verify_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/internal/testrepo"
	"example.com/bailiwick/internal/verify"
	"example.com/bailiwick/tuf/client"
)

func newStore() client.Store { return client.NewMemory() }

// testMemory is a verify.Memory that can be damaged.
type testMemory struct {
	mu     sync.Mutex
	seen   map[pypi.Project]verify.Sighting
	broken error
}

func newTestMemory() *testMemory { return &testMemory{seen: make(map[pypi.Project]verify.Sighting)} }

func (m *testMemory) Recall(p pypi.Project) (verify.Sighting, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, ok := m.seen[p]
	return s, ok, m.broken
}

func (m *testMemory) Remember(p pypi.Project, s verify.Sighting) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if old, ok := m.seen[p]; ok {
		s = old.Merge(s)
	}
	m.seen[p] = s
}

func requires(level policy.Assurance) func(*verify.Config) {
	return func(c *verify.Config) {
		c.Require = func(p pypi.Project) (verify.Requirement, bool) {
			return verify.Requirement{Level: level, Pattern: "*lib", Origin: "bailiwick.toml:7", File: "/home/u/bailiwick.toml:7"}, strings.HasSuffix(p.String(), "lib")
		}
	}
}

// TestRequired: a project below what the configuration asks for is listed, and every file of it is
// refused with the rule. Requirement R52.
func TestRequired(t *testing.T) {
	w := newWorld(t)
	w.maintained("newlib", false, testrepo.One("alice"))
	newFile := "newlib-1.0.tar.gz"
	for _, tt := range []struct {
		project, file string
		level         policy.Assurance
		refused       string
	}{
		{"oldlib", oldWheel, policy.Unclaimed, ""},
		{"oldlib", oldWheel, policy.RecentlyClaimed, `unclaimed, but bailiwick.toml:7 requires recently claimed ("*lib")`},
		{"oldlib", oldWheel, policy.Claimed, `unclaimed, but bailiwick.toml:7 requires claimed ("*lib")`},
		{"newlib", newFile, policy.RecentlyClaimed, ""},
		{"newlib", newFile, policy.Claimed, `recently claimed, but bailiwick.toml:7 requires claimed ("*lib")`},
		{"flask", flaskWheel, policy.Claimed, ""},
	} {
		// The override is about what was seen, not about what is required.
		e := w.engine(requires(tt.level), func(c *verify.Config) {
			c.Memory, c.Accept = newTestMemory(), func(pypi.Project) bool { return true }
		})
		_, err := read(t.Context(), e, project(t, tt.project), tt.file)
		if tt.refused == "" {
			if err != nil {
				t.Errorf("%s at %s: %v", tt.project, tt.level, err)
			}
			continue
		}
		got := wantProblem(t, err, verify.Refused, verify.CodeAssurance)
		if want := tt.file + " refused: " + tt.refused + " (bailiwick why " + got.ID + ")"; got.Error() != want {
			t.Errorf("sentence %q\nwant     %q", got, want)
		}
		if got.Rule == nil || got.Rule.Origin != "bailiwick.toml:7" || got.Rule.Assurance != tt.level.String() || got.Project != tt.project {
			t.Errorf("%+v", got)
		}
		if report := strings.Join(got.Report(), "\n"); !strings.Contains(report, "/home/u/bailiwick.toml:7") || !strings.Contains(report, "change that rule") {
			t.Errorf("report:\n%s", report)
		}
		if _, err := e.Metadata(t.Context(), project(t, tt.project), tt.file); problem(t, err).Code != verify.CodeAssurance {
			t.Errorf("METADATA: %v", err)
		}
		listing, err := e.Project(t.Context(), project(t, tt.project))
		if err != nil || len(listing.Files) == 0 || listing.Problem == nil || listing.Files[0].Problem == nil {
			t.Errorf("listing %+v, %v", listing, err)
		}
		x, err := e.ExplainProject(t.Context(), project(t, tt.project))
		if err != nil || x.Problem == nil || x.Problem.Code != verify.CodeAssurance || x.Required == nil || x.Required.Assurance != tt.level.String() {
			t.Errorf("why: %+v, %v", x, err)
		}
		if s := e.Summary(); len(s.Problems) != 1 || s.Worst() != verify.Refused || s.Files() != 0 {
			t.Errorf("summary: %v", s.Problems)
		}
	}
}

// forget makes a project what it was before anybody claimed it: the registry signs it.
func (w *world) unclaim(name string, claimed bool) {
	w.Undelegate(w.binOf(name, claimed), "project."+name)
	w.Roles["project."+name].Delegations = nil
	w.AddProject(testrepo.Project{Name: name})
	w.Touch("project." + name)
	w.Publish()
}

// TestLowered: what was claimed once is refused with less, with both words and the date, unless the user
// says so for this project; that is told and kept.
func TestLowered(t *testing.T) {
	for _, claimed := range []bool{true, false} {
		word := map[bool]string{true: "claimed", false: "recently claimed"}[claimed]
		w := newWorld(t)
		_, sdist := w.maintained("widget", claimed, testrepo.One("alice"))
		memory := newTestMemory()
		remembering := func(c *verify.Config) { c.Memory = memory }
		if _, err := read(t.Context(), w.engine(remembering), project(t, "widget"), sdist); err != nil {
			t.Fatal(err)
		}
		w.later(72 * time.Hour)
		w.unclaim("widget", claimed)

		e := w.engine(remembering)
		_, err := read(t.Context(), e, project(t, "widget"), sdist)
		got := wantProblem(t, err, verify.Refused, verify.CodeLowered)
		if want := sdist + " refused: unclaimed, but it was " + word + " when seen on 2030-01-31 (bailiwick why " + got.ID + ")"; got.Error() != want {
			t.Errorf("sentence %q\nwant     %q", got, want)
		}
		report := strings.Join(got.Report(), "\n")
		for _, want := range []string{"bailiwick run --accept-lower-assurance-than-seen-for widget -- COMMAND", "have no such option", "ask the operators of https://pkgs.example.com why"} {
			if !strings.Contains(report, want) {
				t.Errorf("report lacks %q:\n%s", want, report)
			}
		}
		x, err := e.ExplainProject(t.Context(), project(t, "widget"))
		if err != nil || x.Problem == nil || x.Problem.Code != verify.CodeLowered || x.Remembered == nil || x.Remembered.Assurance != word {
			t.Errorf("why: %+v, %v", x, err)
		}

		accepting := func(c *verify.Config) {
			c.Memory = memory
			c.Accept = func(p pypi.Project) bool { return p.String() == "widget" }
		}
		var told []verify.Verdict
		e = w.engine(accepting, func(c *verify.Config) { c.OnVerdict = func(v verify.Verdict) { told = append(told, v) } })
		if _, err := read(t.Context(), e, project(t, "widget"), sdist); err != nil {
			t.Fatal(err)
		}
		s := e.Summary()
		if len(s.Accepted) != 1 || s.Accepted[0].Accepted.IsZero() || s.Worst() != "" || s.Files() != 1 {
			t.Fatalf("summary: %+v", s)
		}
		line := s.Line(w.clock.Now())
		if want := "; widget ACCEPTED as unclaimed, but it was " + word + " when seen on 2030-01-31 (bailiwick why " + s.Accepted[0].ID + ")"; !strings.HasSuffix(line, want) {
			t.Errorf("line %q\nwant …%q", line, want)
		}
		if !slices.ContainsFunc(told, func(v verify.Verdict) bool { return v.Accepted == s.Accepted[0] }) {
			t.Error("the override was not told to the journal")
		}
		if report := s.Accepted[0].Report(); !strings.HasPrefix(report[0], "ACCEPTED widget") || !strings.Contains(report[len(report)-1], "Accepted on the command line, on 2030-02-03") {
			t.Errorf("report: %q", report)
		}
		// It was for that run.
		_, err = read(t.Context(), w.engine(remembering), project(t, "widget"), sdist)
		wantProblem(t, err, verify.Refused, verify.CodeLowered)
	}
}

// TestPromoted: from recently claimed to claimed is no lowering, and the way back is one.
func TestPromoted(t *testing.T) {
	w := newWorld(t)
	_, sdist := w.maintained("widget", false, testrepo.One("alice"))
	memory := newTestMemory()
	install := func() (verify.Summary, error) {
		e := w.engine(func(c *verify.Config) { c.Memory = memory })
		_, err := read(t.Context(), e, project(t, "widget"), sdist)
		return e.Summary(), err
	}
	if _, err := install(); err != nil {
		t.Fatal(err)
	}
	move := func(claimed bool) {
		w.later(time.Hour)
		w.Undelegate(w.binOf("widget", !claimed), "project.widget")
		w.AddProject(testrepo.Project{Name: "widget", Claimed: claimed, Holders: testrepo.One("alice")})
		w.Publish()
	}
	move(true)
	s, err := install()
	if err != nil || s.Verified[policy.Claimed] != 1 || len(s.Notes) != 0 {
		t.Fatalf("promoted: %+v, %v", s, err)
	}
	move(false)
	_, err = install()
	if got := wantProblem(t, err, verify.Refused, verify.CodeLowered); !strings.Contains(got.Cause, "recently claimed, but it was claimed when seen on") {
		t.Errorf("cause %q", got.Cause)
	}
}

// TestNewKeys: other keys of an old project are told once.
func TestNewKeys(t *testing.T) {
	w := newWorld(t)
	_, sdist := w.maintained("widget", false, testrepo.One("alice"))
	memory := newTestMemory()
	notes := func(passive bool) []string {
		t.Helper()
		e := w.engine(func(c *verify.Config) { c.Memory, c.Passive = memory, passive })
		if _, err := read(t.Context(), e, project(t, "widget"), sdist); err != nil {
			t.Fatal(err)
		}
		s := e.Summary()
		if line := s.Line(w.clock.Now()); len(s.Notes) > 0 && !strings.HasSuffix(line, "; "+s.Notes[0]) {
			t.Errorf("line %q", line)
		}
		return s.Notes
	}
	check := func(what string, got []string, want ...string) {
		t.Helper()
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	check("the first time", notes(false))
	w.later(48 * time.Hour)
	w.rekey("widget", false, testrepo.Some("team", 2, 2))
	check("who only looks", notes(true), "widget: keys changed since 2030-01-31")
	check("new keys", notes(false), "widget: keys changed since 2030-01-31")
	check("the next time", notes(false))
	w.rekey("widget", false, testrepo.Some("team", 1, 2))
	check("another threshold", notes(false), "widget: 1 of 2 keys must sign, 2 of 2 on 2030-02-02")
	check("and again", notes(false))
}

// TestDamagedMemory: what can not be known is not taken for nothing.
func TestDamagedMemory(t *testing.T) {
	w := newWorld(t)
	memory := newTestMemory()
	memory.broken = errors.New("assurance.json cannot be used (damaged): restore it, or remove it")
	e := w.engine(func(c *verify.Config) {
		c.Memory = memory
		c.Accept = func(p pypi.Project) bool { return p.String() == "oldlib" }
	})
	_, err := read(t.Context(), e, project(t, "flask"), flaskWheel)
	got := wantProblem(t, err, verify.Unusable, verify.CodeMemory)
	if got.Error() != memory.broken.Error() {
		t.Errorf("sentence %q", got)
	}
	if report := strings.Join(got.Report(), "\n"); !strings.Contains(report, "remove it to begin to remember anew; for one project: bailiwick run "+verify.Override) {
		t.Errorf("report:\n%s", report)
	}
	if _, err := read(t.Context(), e, project(t, "oldlib"), oldWheel); err != nil {
		t.Errorf("the accepted project: %v", err)
	}
	s := e.Summary()
	if s.Worst() != verify.Unusable || len(s.Accepted) != 1 || !strings.Contains(s.Remarks()[0], "oldlib ACCEPTED as unclaimed, and what it was before is not known") {
		t.Errorf("summary %+v, %q", s, s.Remarks())
	}
}

// TestAdoptedFiles: files that a claim took over from the index are told from those its maintainers built.
func TestAdoptedFiles(t *testing.T) {
	w := newWorld(t)
	_, sdist := w.maintained("widget", false, testrepo.One("alice"))
	adopted := "widget-0.9.tar.gz"
	c := custom("0.9", "")
	c["vouched-by"] = "index"
	w.AddTargetCustom("project.widget", testrepo.ProjectPath("widget", adopted), random("adopted", 900), c)
	w.Publish()
	e := w.engine()
	listing, err := e.Project(t.Context(), project(t, "widget"))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{sdist: false, adopted: true} {
		if f, ok := listing.File(name); !ok || f.Adopted != want || f.Assurance != policy.RecentlyClaimed {
			t.Errorf("%s: %+v", name, f)
		}
	}
	x, err := e.ExplainFile(t.Context(), project(t, "widget"), filename(t, adopted))
	if err != nil || x.Asked.VouchedBy != "index" || x.Since.Format(time.DateOnly) != "2030-01-15" {
		t.Errorf("why: %+v, %v", x, err)
	}
	if want := "recently claimed since 2030-01-15: to change this file, someone needs the key of a maintainer; until the next sitting the registry's online key says whose keys these are."; x.Meaning != want {
		t.Errorf("meaning %q", x.Meaning)
	}
	w.ServeTarget(w.TargetName(testrepo.ProjectPath("widget", adopted), random("adopted", 900)), random("evil", 900))
	_, err = read(t.Context(), w.engine(), project(t, "widget"), adopted)
	if got := wantProblem(t, err, verify.Refused, "hash"); got.SignedBy != "its maintainer, vouched for by the index at the claim" {
		t.Errorf("signed by %q", got.SignedBy)
	}
}

func TestMergeSightings(t *testing.T) {
	at := func(day int) time.Time { return time.Date(2030, 1, day, 0, 0, 0, 0, time.UTC) }
	k := testrepo.Keys("k", 3)
	public := func(i int) verify.FormerKey { return verify.FormerKey{Key: k[i].Signer().Public(), Seen: at(i + 1)} }
	a := verify.Sighting{Assurance: policy.Claimed, Seen: at(1), Threshold: 1}
	a.Keys = append(a.Keys, public(0).Key)
	b := verify.Sighting{Assurance: policy.RecentlyClaimed, Seen: at(2), Threshold: 2}
	b.Keys = append(b.Keys, public(1).Key)
	for _, m := range []verify.Sighting{a.Merge(b), b.Merge(a)} {
		if m.Assurance != policy.Claimed || !m.Seen.Equal(at(2)) || m.Threshold != 2 || len(m.Keys) != 1 || m.Keys[0] != b.Keys[0] {
			t.Errorf("merged %+v", m)
		}
		if len(m.Former) != 1 || m.Former[0].Key != a.Keys[0] || !m.Former[0].Seen.Equal(at(1)) {
			t.Errorf("former keys %+v", m.Former)
		}
		back := m.Merge(verify.Sighting{Assurance: policy.Claimed, Seen: at(3), Threshold: 1, Keys: a.Keys})
		if len(back.Former) != 1 || back.Former[0].Key != b.Keys[0] {
			t.Errorf("a key that came back: %+v", back.Former)
		}
	}
	many := a
	for i := range 40 {
		next := verify.Sighting{Assurance: policy.Claimed, Seen: at(1).AddDate(0, 0, i+1)}
		next.Keys = append(next.Keys, testrepo.NewKey(fmt.Sprint("many", i)).Signer().Public())
		many = many.Merge(next)
	}
	if len(many.Former) != 16 || !many.Former[0].Seen.Equal(at(1).AddDate(0, 0, 39)) {
		t.Errorf("%d former keys, the newest of %v", len(many.Former), many.Former[0].Seen)
	}
}

// TestNeverLess: through any history of claims, promotions, withdrawals, changes of keys and rules,
// nothing is installed below what is required, nor below the best that was seen without the override.
func TestNeverLess(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		w := newWorld(t)
		file := "pkg-1.0.tar.gz"
		p := project(t, "pkg")
		w.AddProject(testrepo.Project{Name: "pkg"})
		w.AddTargetCustom("project.pkg", testrepo.ProjectPath("pkg", file), []byte("pkg"), custom("1.0", ""))
		w.Publish()
		memory := newTestMemory()
		now, best := policy.Unclaimed, policy.Unclaimed
		levels := []policy.Assurance{policy.Unclaimed, policy.RecentlyClaimed, policy.Claimed}
		for step := range rapid.IntRange(1, 8).Draw(r, "steps") {
			if next := rapid.SampledFrom(levels).Draw(r, "level"); next != now || next != policy.Unclaimed {
				w.Undelegate(w.binOf("pkg", now == policy.Claimed), "project.pkg")
				holders := testrepo.Holders{}
				if next != policy.Unclaimed {
					holders = testrepo.One(rapid.SampledFrom([]string{"alice", "bob"}).Draw(r, "maintainer"))
				}
				w.AddProject(testrepo.Project{Name: "pkg", Claimed: next == policy.Claimed, Holders: holders})
				w.Touch("project.pkg")
				w.later(time.Hour)
				w.Publish()
				now = next
			}
			required := rapid.SampledFrom(levels).Draw(r, "required")
			accept := rapid.Bool().Draw(r, "override")
			passive := rapid.Bool().Draw(r, "passive")
			e := w.engine(func(c *verify.Config) {
				c.Memory, c.Passive = memory, passive
				c.Accept = func(pypi.Project) bool { return accept }
				c.Require = func(pypi.Project) (verify.Requirement, bool) {
					return verify.Requirement{Level: required, Pattern: "pkg"}, true
				}
			})
			_, err := read(t.Context(), e, p, file)
			wantOK := now >= required && (now >= best || accept)
			if (err == nil) != wantOK {
				r.Fatalf("step %d: %s, required %s, best seen %s, override %v: %v", step, now, required, best, accept, err)
			}
			s := e.Summary()
			if told := len(s.Accepted) == 1; told != (err == nil && now < best) {
				r.Fatalf("step %d: override told: %v", step, told)
			}
			if err == nil && s.Verified[now] != 1 {
				r.Fatalf("step %d: verified %v, want 1 %s", step, s.Verified, now)
			}
			if err == nil && !passive {
				best = max(best, now)
			}
		}
	})
}
