package verify_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/internal/testrepo"
	"example.com/bailiwick/internal/verify"
	"example.com/bailiwick/tuf/client"
)

func filename(t *testing.T, name string) pypi.Filename {
	t.Helper()
	f, err := pypi.ParseFilename(name)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestExplainFile(t *testing.T) {
	w := newWorld(t)
	x, err := w.engine().ExplainFile(t.Context(), project(t, "flask"), filename(t, flaskWheel))
	if err != nil {
		t.Fatal(err)
	}
	type link struct {
		Role, Holder       string
		Threshold, Signed  int
		Keys               int
		Paths, Terminating bool
	}
	var got []link
	for _, r := range x.Chain {
		l := link{Role: string(r.Role), Holder: r.Holder, Threshold: r.Threshold, Keys: len(r.Keys), Paths: r.Paths != nil, Terminating: r.Terminating}
		for _, k := range r.Keys {
			if k.Type != "ed25519" || k.Scheme != "ed25519" || len(k.ID) != 64 {
				t.Errorf("key of %s: %+v", r.Role, k)
			}
			if k.Signed {
				l.Signed++
			}
		}
		if r.Version < 1 || r.Expires.IsZero() {
			t.Errorf("%s: version %d, expires %s", r.Role, r.Version, r.Expires)
		}
		got = append(got, l)
	}
	bin := "claimed-" + testrepo.Bin("flask")
	want := []link{
		{Role: "root", Holder: "offline", Threshold: 1, Signed: 1, Keys: 1},
		{Role: "targets", Holder: "offline", Threshold: 1, Signed: 1, Keys: 1},
		{Role: "claimed", Holder: "offline", Threshold: 1, Signed: 1, Keys: 1, Paths: true, Terminating: true},
		{Role: bin, Holder: "offline", Threshold: 1, Signed: 1, Keys: 1, Paths: true, Terminating: true},
		{Role: "project.flask", Holder: "maintainers", Threshold: 2, Signed: 2, Keys: 3, Paths: true, Terminating: true},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("chain (-want +got):\n%s", diff)
	}
	if x.Asked == nil || x.Asked.SHA256 != sha(w.content("flask", flaskWheel)) || x.Assurance != "claimed" || x.Problem != nil {
		t.Errorf("asked %+v, assurance %q, problem %v", x.Asked, x.Assurance, x.Problem)
	}
	if want := "claimed: to change this file, someone needs the keys of 2 maintainers."; x.Meaning != want {
		t.Errorf("meaning %q, want %q", x.Meaning, want)
	}
	if x.Current.Snapshot != 3 || x.Current.Timestamp != 3 || x.Current.Root != 1 || x.Index != "https://pkgs.example.com" {
		t.Errorf("moment %+v of %s", x.Current, x.Index)
	}
}

func TestExplainProject(t *testing.T) {
	w := newWorld(t)
	w.AddTargetCustom("project.oldlib", testrepo.ProjectPath("oldlib", "oldlib-10.0-py3-none-any.whl"), []byte("ten"), custom("10.0", ""))
	w.Publish()
	x, err := w.engine().ExplainProject(t.Context(), project(t, "oldlib"))
	if err != nil {
		t.Fatal(err)
	}
	if x.Asked != nil || len(x.Files) != 2 || x.Assurance != "unclaimed" || !strings.HasPrefix(x.Meaning, "unclaimed: ") {
		t.Errorf("%+v", x)
	}
	if last := x.Chain[len(x.Chain)-1]; last.Role != "project.oldlib" || last.Holder != "registry" {
		t.Errorf("last link %+v", last)
	}
}

// TestExplainWhatIsBroken: a chain that does not hold is explained up to where it breaks.
func TestExplainWhatIsBroken(t *testing.T) {
	w := newWorld(t)
	w.SwapKey("project.flask")
	e := w.engine()
	for name, explain := range map[string]func() (*verify.Explanation, error){
		"file": func() (*verify.Explanation, error) {
			return e.ExplainFile(t.Context(), project(t, "flask"), filename(t, flaskWheel))
		},
		"project": func() (*verify.Explanation, error) { return e.ExplainProject(t.Context(), project(t, "flask")) },
	} {
		x, err := explain()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if x.Problem == nil || x.Problem.Class != verify.Refused || x.Problem.Code != "threshold" || x.Assurance != "" {
			t.Errorf("%s: problem %v, assurance %q", name, x.Problem, x.Assurance)
		}
		last := x.Considered[len(x.Considered)-1]
		if last.Role != "project.flask" || last.Outcome != "refused" || last.Cause == "" {
			t.Errorf("%s: the search ended with %+v", name, last)
		}
	}
	x, err := e.ExplainFile(t.Context(), project(t, "nosuch"), filename(t, "nosuch-1.0.tar.gz"))
	if err != nil || x.Problem == nil || x.Problem.Class != verify.NotFound {
		t.Errorf("what is not listed: %+v, %v", x, err)
	}
	w.DropSignatures("timestamp")
	_, err = w.engine().ExplainProject(t.Context(), project(t, "flask"))
	wantProblem(t, err, verify.Unusable, "threshold")
}

// TestExplanationJSON fixes the names that programs read.
func TestExplanationJSON(t *testing.T) {
	w := newWorld(t)
	x, err := w.engine().ExplainFile(t.Context(), project(t, "flask"), filename(t, flaskWheel))
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(x)
	if err != nil {
		t.Fatal(err)
	}
	for _, member := range []string{
		`"index":`, `"project":"flask"`, `"file":{"filename":`, `"path":`, `"sha256":`, `"length":`, `"assurance":"claimed"`, `"meaning":`,
		`"chain":[{"role":"root","version":1,"expires":`, `"threshold":`, `"keys":[{"keyid":`, `"signed":true`, `"holder":"maintainers"`,
		`"terminating":true`, `"considered":[`, `"current":{"root":1,"timestamp":3`, `"snapshot":3`, `"problem":null`,
	} {
		if !strings.Contains(string(text), member) {
			t.Errorf("lacks %s:\n%s", member, text)
		}
	}
}

// TestFourSentences: expired is not attacked, unreachable is not refused, not found is not unverifiable.
func TestFourSentences(t *testing.T) {
	w := newWorld(t)
	flask := project(t, "flask")
	ask := func(name string) *verify.Error {
		t.Helper()
		_, err := read(t.Context(), w.engine(), flask, name)
		return problem(t, err)
	}
	notFound := ask("flask-9.9.tar.gz")
	w.ServeTarget(w.targetName("flask", flaskWheel), random("evil", 300_000))
	refused := ask(flaskWheel)
	w.Break("timestamp.json", testrepo.Fault{Err: &client.NetworkError{URL: source, Err: errors.New("connection refused")}})
	unreachable := ask(flaskWheel)
	w.Break("timestamp.json", testrepo.Fault{})
	w.later(25 * time.Hour)
	unusable := ask(flaskWheel)
	got := []string{notFound.Error(), refused.Error(), unreachable.Error(), unusable.Error()}
	want := []string{
		"flask-9.9.tar.gz is not in the verified index",
		"flask-3.1.0-py3-none-any.whl refused: not the bytes its maintainers signed (bailiwick why " + refused.ID + ")",
		"cannot reach https://pkgs.example.com: connection refused",
		"https://pkgs.example.com cannot be used: timestamp version 3 is expired (bailiwick why " + unusable.ID + ")",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("sentences (-want +got):\n%s", diff)
	}
	for _, e := range []*verify.Error{refused, unreachable, unusable} {
		if report := e.Report(); len(report) < 3 || !strings.Contains(report[len(report)-1], "next: ") {
			t.Errorf("report without a next step: %q", report)
		}
	}
}

// TestPhraseFits: a sentence goes into a status line whatever it is about.
func TestPhraseFits(t *testing.T) {
	long := strings.Repeat("x", 150) + "-1.0-py3-none-any.whl"
	for _, class := range []verify.Class{verify.Refused, verify.Unusable, verify.Unreachable, verify.NotFound} {
		e := &verify.Error{ID: "abc123", Class: class, Subject: long, Cause: strings.Repeat("because ", 40), Source: "https://" + long}
		if got := e.Error(); len(got) > 180 || strings.ContainsAny(got, "\r\n") {
			t.Errorf("%s: %d bytes: %q", class, len(got), got)
		}
	}
}

// TestErrorSurvivesTheJournal: what is kept for later says the same.
func TestErrorSurvivesTheJournal(t *testing.T) {
	w := newWorld(t)
	w.ServeTarget(w.targetName("flask", flaskWheel), random("evil", 300_000))
	_, err := read(t.Context(), w.engine(), project(t, "flask"), flaskWheel)
	e := problem(t, err)
	text, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	var back verify.Error
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(e.Report(), back.Report()); diff != "" || back.Error() != e.Error() {
		t.Errorf("report (-want +got):\n%s", diff)
	}
}

func TestDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0 seconds", time.Second: "1 second", 90 * time.Second: "1 minute", 4 * time.Minute: "4 minutes",
		time.Hour: "1 hour", 47 * time.Hour: "47 hours", 48 * time.Hour: "2 days", 400 * 24 * time.Hour: "400 days",
	} {
		if got := verify.Duration(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}
