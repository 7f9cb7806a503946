package verify_test

import (
	"strings"
	"testing"
	"time"

	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/internal/testrepo"
	"example.com/bailiwick/internal/verify"
)

// hands has flask's bin delegate it to other holders, with members of the entry besides.
func (w *world) hands(holders testrepo.Holders, members map[string]any) {
	w.t.Helper()
	bin := w.binOf("flask", true)
	w.Roles["project.flask"].Holders = holders
	delete(w.SignWith, "project.flask")
	for i := range w.Roles[bin].Delegations {
		if d := &w.Roles[bin].Delegations[i]; d.Name == "project.flask" {
			d.Holders = holders
		}
	}
	w.Edit[bin] = func(signed map[string]any) {
		for _, entry := range signed["delegations"].(map[string]any)["roles"].([]any) {
			if e := entry.(map[string]any); e["name"] == "project.flask" {
				for name, value := range members {
					e[name] = value
				}
			}
		}
	}
	w.Touch(bin, "project.flask")
	w.Publish()
}

// park has the offline key sign flask's list as it is.
func (w *world) park() {
	w.t.Helper()
	kept := []any{}
	for _, k := range testrepo.Keys("maintainer", 3) {
		p := k.Signer().Public()
		kept = append(kept, map[string]any{"keytype": p.Type(), "scheme": p.Scheme(), "keyval": map[string]any{"public": p.Value()}})
	}
	w.hands(testrepo.One("claimed"), map[string]any{
		policy.ParkedMember: "2030-01-31T12:00:00Z", policy.ParkedKeysMember: map[string]any{"keys": kept, "threshold": 2},
	})
}

// TestR65Parked: a parked project installs on, for rules that ask for claimed ones, too; who saw it claimed before is told once, and told
// again when its maintainers are back; and the word is "parked" wherever there is one.
func TestR65Parked(t *testing.T) {
	w, memory := newWorld(t), newTestMemory()
	flask := project(t, "flask")
	install := func() verify.Summary {
		t.Helper()
		e := w.engine(func(c *verify.Config) {
			c.Memory = memory
			c.Require = func(p pypi.Project) (verify.Requirement, bool) {
				return verify.Requirement{Level: policy.Claimed, Pattern: "flask", Origin: "bailiwick.toml:1"}, p == flask
			}
		})
		if _, err := read(t.Context(), e, flask, flaskWheel); err != nil {
			t.Fatal(err)
		}
		return e.Summary()
	}
	if line := install().Line(w.clock.Now()); !strings.Contains(line, "1 claimed") || strings.Contains(line, ";") {
		t.Errorf("before: %s", line)
	}
	w.later(time.Hour)
	w.park()
	if line := install().Line(w.clock.Now()); !strings.Contains(line, "1 parked") || !strings.HasSuffix(line, "; flask: parked since 2030-01-31, its maintainers do not answer") {
		t.Errorf("parked: %s", line)
	}
	if line := install().Line(w.clock.Now()); !strings.Contains(line, "1 parked") || strings.Contains(line, ";") {
		t.Errorf("once more: %s", line)
	}

	e := w.engine(func(c *verify.Config) { c.Memory = memory })
	x, err := e.ExplainProject(t.Context(), flask)
	if err != nil {
		t.Fatal(err)
	}
	last := x.Chain[len(x.Chain)-1]
	if x.Assurance != "parked" || x.Parked.IsZero() || x.Problem != nil || last.Holder != "offline" || x.Remembered.Assurance != "parked" || x.Remembered.Changed != "" ||
		x.Status != "archived" || !strings.HasPrefix(x.Meaning, "parked since 2030-01-31: its maintainers do not answer") {
		t.Errorf("explained as %+v, last link %+v", x, last)
	}
	listing, err := e.Project(t.Context(), flask)
	if err != nil || listing.Status != policy.ParkedStatus() || listing.Files[0].Assurance != policy.ClaimedParked {
		t.Errorf("listed with status %+v, %v", listing.Status, err)
	}
	k, err := e.Keyholders(t.Context(), verify.Selection{})
	if err != nil || k.Counts["parked"] != 1 || k.Projects[0].Assurance != "parked" || k.Projects[0].Parked.IsZero() {
		t.Errorf("keyholders %+v, %v", k, err)
	}

	w.later(time.Hour)
	w.hands(testrepo.Some("maintainer", 2, 3), nil)
	if line := install().Line(w.clock.Now()); !strings.Contains(line, "1 claimed") || !strings.HasSuffix(line, "; flask: its maintainers are back, it was parked on 2030-01-31") {
		t.Errorf("back: %s", line)
	}
}

// TestR31UsersAreTold: who remembers the old keys of a recovered project is told that they changed, and that the old ones did
// not agree.
func TestR31UsersAreTold(t *testing.T) {
	for _, parked := range []bool{false, true} {
		w, memory := newWorld(t), newTestMemory()
		flask := project(t, "flask")
		install := func() string {
			t.Helper()
			e := w.engine(func(c *verify.Config) { c.Memory = memory })
			if _, err := read(t.Context(), e, flask, flaskWheel); err != nil {
				t.Fatal(err)
			}
			return e.Summary().Line(w.clock.Now())
		}
		install()
		if parked {
			w.later(time.Hour)
			w.park()
			install()
		}
		w.later(24 * time.Hour)
		w.hands(testrepo.One("newcomer"), map[string]any{policy.RecoveredMember: "2030-02-01T12:00:00Z"})
		want := "; flask: keys changed since 2030-01-31: the operators gave it to other keys on 2030-02-01, without the old ones"
		if line := install(); !strings.Contains(line, "1 claimed") || !strings.HasSuffix(line, want) {
			t.Errorf("parked before %v: %s", parked, line)
		}
		if line := install(); strings.Contains(line, ";") {
			t.Errorf("told again: %s", line)
		}
	}
}

// TestR65ParkedIsNotForged: whoever has the registry, snapshot and timestamp keys, and those of the former maintainers besides, can have
// nothing installed that the offline key did not sign: not with an altered list, not by parking or recovering a project themselves.
func TestR65ParkedIsNotForged(t *testing.T) {
	evil := "flask-6.6.6-py3-none-any.whl"
	attacks := map[string]func(w *world){
		"the registry signs the parked list": func(w *world) {
			w.park()
			w.SignWith["project.flask"] = testrepo.Keys("registry", 1)
		},
		"the former maintainers sign it": func(w *world) {
			w.park()
			w.SignWith["project.flask"] = testrepo.Keys("maintainer", 3)
		},
		"the registry, the snapshot and the timestamp key sign it": func(w *world) {
			w.park()
			w.SignWith["project.flask"] = append(append(testrepo.Keys("registry", 1), testrepo.Keys("snapshot", 1)...), testrepo.Keys("timestamp", 1)...)
		},
		"the registry parks it for itself": func(w *world) {
			w.SignWith[w.binOf("flask", true)] = testrepo.Keys("registry", 1)
			w.hands(testrepo.One("registry"), map[string]any{policy.ParkedMember: "2030-01-31T12:00:00Z"})
		},
		"the registry recovers it for a thief": func(w *world) {
			w.SignWith[w.binOf("flask", true)] = testrepo.Keys("registry", 1)
			w.hands(testrepo.One("thief"), map[string]any{policy.RecoveredMember: "2030-01-31T12:00:00Z"})
		},
	}
	for name, attack := range attacks {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			attack(w)
			w.AddTargetCustom("project.flask", testrepo.ProjectPath("flask", evil), wheel(t, "flask", flaskMetadata, random("evil", 900)), custom("6.6.6", flaskMetadata))
			w.Publish()
			e := w.engine()
			data, err := read(t.Context(), e, project(t, "flask"), evil)
			if err == nil {
				t.Fatalf("installed %d bytes that nobody who counts has signed", len(data))
			}
			if p := problem(t, err); p.Class != verify.Refused {
				t.Errorf("refused as %s: %v", p.Class, p)
			}
		})
	}
}

// TestMergeParked: of two sightings of one grade the later word counts, of two grades the better one.
func TestMergeParked(t *testing.T) {
	at := func(a policy.Assurance, hours int) verify.Sighting {
		return verify.Sighting{Assurance: a, Seen: testrepo.Start().Add(time.Duration(hours) * time.Hour)}
	}
	for _, c := range []struct{ first, then, want policy.Assurance }{
		{policy.Claimed, policy.ClaimedParked, policy.ClaimedParked},
		{policy.ClaimedParked, policy.Claimed, policy.Claimed},
		{policy.ClaimedParked, policy.RecentlyClaimed, policy.ClaimedParked},
		{policy.RecentlyClaimed, policy.ClaimedParked, policy.ClaimedParked},
		{policy.Claimed, policy.RecentlyClaimed, policy.Claimed},
	} {
		a, b := at(c.first, 0), at(c.then, 1)
		for _, merged := range []verify.Sighting{a.Merge(b), b.Merge(a)} {
			if merged.Assurance != c.want || !merged.Seen.Equal(b.Seen) {
				t.Errorf("%s, then %s: %s of %s, want %s", c.first, c.then, merged.Assurance, merged.Seen, c.want)
			}
		}
	}
}
