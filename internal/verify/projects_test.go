package verify_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/internal/testrepo"
	"example.com/bailiwick/internal/verify"
)

func TestKeyholders(t *testing.T) {
	w := newWorld(t)
	w.maintained("newlib", false, testrepo.Some("team", 2, 3))
	w.maintained("widget", true, testrepo.One("alice"))
	e := w.engine()
	names := func(sel verify.Selection) []string {
		t.Helper()
		k, err := e.Keyholders(t.Context(), sel)
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, p := range k.Projects {
			out = append(out, p.Project+" "+p.Assurance)
		}
		return out
	}
	claimed := []string{"flask claimed", "newlib recently claimed", "widget claimed"}
	if diff := cmp.Diff(claimed, names(verify.Selection{})); diff != "" {
		t.Errorf("claimed projects (-want +got):\n%s", diff)
	}
	all := []string{"flask claimed", "newlib recently claimed", "oldlib unclaimed", "widget claimed"}
	if diff := cmp.Diff(all, names(verify.Selection{Unclaimed: true})); diff != "" {
		t.Errorf("all projects (-want +got):\n%s", diff)
	}
	lib := func(p pypi.Project) bool { return strings.HasSuffix(p.String(), "lib") }
	if got, want := names(verify.Selection{Match: lib}), []string{"newlib recently claimed"}; !slices.Equal(got, want) {
		t.Errorf("*lib: %q", got)
	}
	if got := names(verify.Selection{Names: []pypi.Project{project(t, "nosuch")}}); len(got) != 0 {
		t.Errorf("nosuch: %q", got)
	}

	k, err := e.Keyholders(t.Context(), verify.Selection{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]int{"claimed": 2, "recently claimed": 1, "unclaimed": 1}, k.Counts); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
	lib2 := k.Projects[1]
	if lib2.Threshold != 2 || len(lib2.Keys) != 3 || lib2.Delegator != "unclaimed-7" && !strings.HasPrefix(string(lib2.Delegator), "unclaimed-") ||
		lib2.Since.Format(time.DateOnly) != "2030-01-15" || lib2.Version != 1 || lib2.Expires.IsZero() || lib2.Problem != nil {
		t.Errorf("newlib: %+v", lib2)
	}
	if len(lib2.Delegations) != 1 || lib2.Delegations[0].Role != "project.newlib.ci" || lib2.Delegations[0].Version != 1 ||
		len(lib2.Delegations[0].Keys) != 1 || !strings.HasSuffix(lib2.Delegations[0].Paths[0], "/newlib/*.whl") {
		t.Errorf("its delegations: %+v", lib2.Delegations)
	}
	text, err := json.Marshal(k)
	if err != nil {
		t.Fatal(err)
	}
	for _, member := range []string{
		`"index":"https://pkgs.example.com"`, `"current":{"root":1`, `"projects":[{"project":"flask","assurance":"claimed"`, `"since":"2030-01-15T08:00:00Z"`,
		`"delegated_by":"claimed-`, `"threshold":2`, `"keys":[{"keyid":`, `"version":1,"expires":`, `"delegations":[{"role":"project.newlib.ci","paths":[`, `"counts":{`,
	} {
		if !strings.Contains(string(text), member) {
			t.Errorf("lacks %s:\n%s", member, text)
		}
	}
}

// TestBrokenKeyholders: one project's bad list does not hide the others.
func TestBrokenKeyholders(t *testing.T) {
	w := newWorld(t)
	w.maintained("newlib", false, testrepo.One("bob"))
	w.maintained("widget", true, testrepo.One("alice"))
	w.DropSignatures("project.newlib")
	w.Remove(w.FileName("project.widget.ci"))
	k, err := w.engine().Keyholders(t.Context(), verify.Selection{})
	if err != nil {
		t.Fatal(err)
	}
	if len(k.Projects) != 3 || k.Projects[0].Problem != nil {
		t.Fatalf("%+v", k.Projects)
	}
	if p := k.Projects[1].Problem; p == nil || p.Cause != "project.newlib version 1 has no signature" || len(k.Projects[1].Keys) != 1 {
		t.Errorf("newlib: %v", p)
	}
	if p := k.Projects[2]; p.Problem != nil || p.Delegations[0].Problem == nil || p.Delegations[0].Problem.Code != "missing" {
		t.Errorf("widget: %+v", p)
	}
	w.Corrupt(w.FileName("claimed-3"))
	w.store = newStore()
	if _, err := w.engine().Keyholders(t.Context(), verify.Selection{}); err == nil || problem(t, err).Role != "claimed-3" {
		t.Errorf("a damaged bin: %v", err)
	}
}

// TestKeyholdersOfManyProjects: ten thousand projects cost as many requests as there are bins, and one
// more for each that is claimed.
func TestKeyholdersOfManyProjects(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: makes ten thousand delegations; leave out -short")
	}
	w := newWorld(t)
	registry := testrepo.One("registry")
	for i := range 10_000 {
		name := fmt.Sprintf("many-%d", i)
		bin := testrepo.Bin(name)
		role := w.Roles["unclaimed-"+bin]
		role.Delegations = append(role.Delegations, testrepo.Delegation{
			Name: "project." + name, Paths: []string{bin + "/" + name + "/*"}, Holders: registry, Terminating: true,
		})
		w.Touch("unclaimed-" + bin)
	}
	w.maintained("widget", false, testrepo.One("alice"))
	w.ResetRequests()
	e := w.engine()
	k, err := e.Keyholders(t.Context(), verify.Selection{})
	if err != nil {
		t.Fatal(err)
	}
	if k.Counts["unclaimed"] != 10_001 || len(k.Projects) != 2 {
		t.Errorf("counts %v, %d projects shown", k.Counts, len(k.Projects))
	}
	const topLevel, trees, bins, lists = 4, 2, 32, 3 // next root, timestamp, snapshot, targets; flask, widget and its pipeline
	if n := len(w.Requests()); n != topLevel+trees+bins+lists {
		t.Errorf("%d requests: %q", n, w.Requests())
	}
	w.ResetRequests()
	w.store = newStore()
	if _, err := w.engine().Keyholders(t.Context(), verify.Selection{Names: []pypi.Project{project(t, "many-77")}}); err != nil {
		t.Fatal(err)
	}
	if n := len(w.Requests()); n != topLevel+trees+2 {
		t.Errorf("%d requests for one name: %q", n, w.Requests())
	}
}
