package publish_test

import (
	"errors"
	"slices"
	"testing"

	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/internal/record"
	"example.com/bailiwick/tuf"
)

func listed(t *testing.T, p *publish.Publisher, name string) *publish.Listed {
	t.Helper()
	l, err := p.Current().Listed(t.Context(), project(t, name))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func sameTargets(a, b []tuf.Target) bool {
	return slices.EqualFunc(a, b, func(a, b tuf.Target) bool {
		x, _ := a.Hashes.SHA256()
		y, _ := b.Hashes.SHA256()
		return a.Path == b.Path && a.Length == b.Length && x == y && string(a.Custom) == string(b.Custom)
	})
}

// R62: whatever became of an unclaimed project, it gets the files back that it had, above every version that there was;
// a recent claim is cleared, and the record says so.
func TestR62Restore(t *testing.T) {
	p, l, _ := start(t)
	must(t, p, add(t, "flask-1-py3-none-any.whl", "a"))
	must(t, p, add(t, "django-1-py3-none-any.whl", "a"))
	then := map[string]*publish.Listed{"flask": listed(t, p, "flask"), "django": listed(t, p, "django"), "stranger": listed(t, p, "stranger")}
	if view, err := publish.Look(t.Context(), l); err != nil || view.Number() != p.Current().Number() {
		t.Fatalf("looking at the ledger: %v", err)
	}
	if then["stranger"].Version != 0 || then["flask"].Version != 1 || len(then["flask"].Targets) != 1 || then["flask"].Keys.Threshold != 0 {
		t.Fatalf("%+v", then)
	}

	must(t, p, add(t, "flask-2-py3-none-any.whl", "forged"))
	must(t, p, add(t, "stranger-1-py3-none-any.whl", "forged"))
	thief := people(t, 1)
	claimed(t, p, "django", thief...)
	if got := listed(t, p, "django").Keys; got.Threshold != 1 || got.IDs[0] != thief[0].Public().ID() {
		t.Fatalf("who signs django: %+v", got)
	}
	versions := map[string]int64{}
	for name, was := range then {
		now := listed(t, p, name)
		versions[name] = now.Version
		must(t, p, publish.Restore{Project: project(t, name), Targets: was.Targets, Cleared: now.Keys, Text: "after a break-in"})
	}
	for name, was := range then {
		now := listed(t, p, name)
		if !sameTargets(now.Targets, was.Targets) || now.Version != versions[name]+1 || now.Keys.Threshold != 0 || now.Problem != nil {
			t.Errorf("%s: %+v, and it was %+v", name, now, was)
		}
	}
	entries, err := p.Record(t.Context(), 1, 100)
	if err != nil || len(entries) != 2 {
		t.Fatalf("%d entries, %v", len(entries), err)
	}
	if e := entries[1]; e.Kind != record.Cleared || e.Role != policy.ProjectRole(project(t, "django")) || e.Old.IDs[0] != thief[0].Public().ID() || e.Text != "after a break-in" {
		t.Errorf("the record says %+v", e)
	}
	if err := publish.Check(t.Context(), l); err != nil {
		t.Error(err)
	}

	// Names stay used, and the project goes on like any other; its owner claims it again.
	if _, err := p.Publish(t.Context(), add(t, "flask-2-py3-none-any.whl", "honest")); !errors.Is(err, publish.ErrFileExists) {
		t.Errorf("the name of the forged file: %v", err)
	}
	must(t, p, add(t, "flask-3-py3-none-any.whl", "c"))
	claimed(t, p, "django", people(t, 1)...)
}

func TestRestoreRefuses(t *testing.T) {
	p, _, _ := start(t)
	must(t, p, add(t, "flask-1-py3-none-any.whl", "a"))
	flask := listed(t, p, "flask")
	for name, c := range map[string]publish.Restore{
		"nothing":              {},
		"somebody else's file": {Project: project(t, "django"), Targets: flask.Targets},
		"a path of no file":    {Project: project(t, "flask"), Targets: []tuf.Target{{Path: "x"}}},
		"a long text":          {Project: project(t, "flask"), Text: string(make([]byte, 2000))},
	} {
		if _, err := p.Publish(t.Context(), c); !errors.Is(err, publish.ErrInvalid) {
			t.Errorf("%s: %v, want ErrInvalid", name, err)
		}
	}
}
