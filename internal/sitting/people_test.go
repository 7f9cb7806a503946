package sitting_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/internal/sitting"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
	"example.com/bailiwick/tuf/repo"
)

// TestSummaryForPeople: counts, then what is unusual, the heaviest first; what the index says is marked.
func TestSummaryForPeople(t *testing.T) {
	w := newPlace(t, 16)
	w.claim(w.now.Add(-20*day), 1, "flask", "numpy", "scipy")
	w.take(w.plan(sitting.Wishes{MinAge: 14 * day}))
	w.claim(w.now.Add(-6*day), 2, "requests")
	w.claim(w.now.Add(-40*day), 1, "quiet", "loved")
	carol := namedKey(t, "carol")
	r := w.plan(sitting.Wishes{
		MinAge: day, Park: projects(t, "numpy"), By: "ops@example.com", Note: "the first of the year",
		Rekeys:     rekeys(w.rekey("flask", 1, []key.Signer{carol}, repo.TargetsEdit{}, append(w.maintainers["flask"], carol)...)),
		Recoveries: rekeys(w.rekey("scipy", 1, []key.Signer{carol}, repo.TargetsEdit{}, carol)),
		Notes: func(p pypi.Project) sitting.Note {
			if p.String() == "requests" {
				return sitting.Note{Popular: 3, Since: w.now.Add(-6 * day), Token: "t", TokenCreated: w.now.Add(-7 * day), Text: "former owner notified, no answer"}
			}
			return sitting.Note{}
		},
	})
	v := judge(t, r, w.now)
	popular := func(p pypi.Project) int {
		if p.String() == "loved" {
			return 12
		}
		return 0
	}
	text := strings.Join(v.SummaryFor(popular).Lines(0), "\n")
	want := []string{
		"Sitting of 2030-01-01: request " + r.ID(),
		fmt.Sprintf("root sha256:%x", r.Repository),
		`by "ops@example.com"; to be signed and published before 2030-01-31`,
		`note: "the first of the year"`,
		"promote to claimed             3 projects in ",
		"recovered                      1 project, without the keys they had",
		"key changes                    1 project",
		"parked                         1 project",
		"nothing else differs",
		"look at these 5 before you sign:",
		"scipy                  recovered: 1 key, before 1 key; operators decide",
		"flask                  rekeyed: 1 key, before 1 key; its own keys agreed",
		"loved                  popular (rank 12 in your list)",
		"numpy                  parked: the offline key signs its 2 files in the place of 1 key",
		`requests               claimed 6 days ago by 2 of 2 keys; the index says: popular (rank 3), claimed with a token that was 24 hours old, "former owner notified, no answer"`,
		"signatures that are missing:",
	}
	at := 0
	for _, line := range want {
		i := strings.Index(text[at:], line)
		if i < 0 {
			t.Fatalf("%q is missing, or not where it belongs, in\n%s", line, text)
		}
		at += i
	}
	if short := strings.Join(v.Summary().Lines(2), "\n"); !strings.Contains(short, "and 2 more, which matter less") {
		t.Errorf("cut to two exceptions:\n%s", short)
	}
	if strings.Contains(text, "quiet") {
		t.Error("what is usual is listed with what is not")
	}
	all := strings.Join(slices.Collect(v.Lines()), "\n")
	for _, name := range []string{"quiet", "loved", "requests", "flask", "numpy", "scipy"} {
		if strings.Count(all, name) != 1 {
			t.Errorf("%s is listed %d times among all changes", name, strings.Count(all, name))
		}
	}
}

// TestDetails: everything about one project, or one role, on demand.
func TestDetails(t *testing.T) {
	s := noted(t)
	v := judge(t, s.r, s.now)
	lines, err := v.ProjectLines(projectOf(t, "django"))
	text := strings.Join(lines, "\n")
	for _, want := range []string{"promoted", string(s.maintainers["django"][0].Public().ID()), "2030-01-11", "the index says, and nobody has signed", `"the owner of before was told"`} {
		if err != nil || !strings.Contains(text, want) {
			t.Errorf("%v: %q is missing in\n%s", err, want, text)
		}
	}
	_, err = v.ProjectLines(projectOf(t, "nothing"))
	wantRefused(t, err, sitting.Unknown, "changes nothing about nothing")
	lines, err = v.RoleLines(s.bin("django"))
	if text := strings.Join(lines, "\n"); err != nil || !strings.Contains(text, "version 3, until") || !strings.Contains(text, "missing: ") {
		t.Errorf("%v:\n%s", err, text)
	}
	_, err = v.RoleLines("claimed-zz")
	wantRefused(t, err, sitting.Unknown, "nothing to sign")
}

// TestManyProjectsForOneKey: which is how an index would take over many at once.
func TestManyProjectsForOneKey(t *testing.T) {
	w := newPlace(t, 16)
	mallory := namedKey(t, "mallory")
	var names []string
	for i := range 12 {
		names = append(names, fmt.Sprintf("lib-%d", i))
		w.maintainers[names[i]] = []key.Signer{mallory}
	}
	w.claim(w.now.Add(-40*day), 1, names...)
	s := judge(t, w.plan(sitting.Wishes{MinAge: day}), w.now).Summary()
	if len(s.Exceptions) != 1 || !strings.Contains(s.Exceptions[0].Text, "12 of the promoted projects") {
		t.Errorf("%+v", s.Exceptions)
	}
}

// TestLongLivesAreTold: within what can be signed, and beyond what is usual.
func TestLongLivesAreTold(t *testing.T) {
	s := newStage(t)
	year := s.now.Add(360 * day)
	s.say(policy.RoleClaimed, func(o object) { o["expires"] = tuf.FormatTime(year) })
	s.say(s.bin("django"), func(o object) { o["expires"] = tuf.FormatTime(year) })
	text := strings.Join(judge(t, s.r, s.now).Summary().Lines(0), "\n")
	for _, want := range []string{"claimed                good until 2031-01-26, 360 days; 61 days are usual", string(s.bin("django")) + "              good until 2031-01-26"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
	s = newStage(t)
	s.say(policy.RoleClaimed, func(o object) { o["expires"] = tuf.FormatTime(s.now.Add(30 * time.Hour)) })
	if text := strings.Join(judge(t, s.r, s.now).Summary().Lines(0), "\n"); !strings.Contains(text, "30 hours; 61 days are usual") {
		t.Errorf("a short life is not told:\n%s", text)
	}
	// Where nothing is claimed, a year is the rule.
	w := newPlace(t, 16)
	if s := judge(t, w.plan(sitting.Wishes{All: true}), w.now).Summary(); len(s.Exceptions) != 0 {
		t.Errorf("%+v", s.Exceptions)
	}
}
