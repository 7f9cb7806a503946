package ceremony_test

import (
	"strings"
	"testing"

	"example.com/bailiwick/internal/ceremony"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/internal/publish/publishtest"
	"example.com/bailiwick/tuf/key"
	"example.com/bailiwick/tuf/repo"
)

// marking drafts a release that sets the status of the project.
func marking(t *testing.T, status policy.Status) publishtest.Draft {
	t.Helper()
	value, err := status.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return publishtest.Draft{Kind: ceremony.Release, Edit: repo.TargetsEdit{Members: map[string][]byte{policy.StatusMember: value}}}
}

// TestArchive: an archived project takes no files, from nobody, and everything else goes on.
func TestArchive(t *testing.T) {
	w := newWorld(t)
	before := w.standing("flask").Base
	both := marking(t, policy.Archived("use next"))
	both.Add = []publish.File{staged(t, "flask-3.tar.gz")}
	_, err := w.judge(w.request("flask", both, w.alice, w.bob), "flask-3.tar.gz")
	wantReason(t, err, ceremony.Archived)
	w.sign(w.request("flask", marking(t, policy.Archived("use next")), w.alice, w.bob))
	s := w.standing("flask")
	if got, err := policy.StatusOf(s.Base); err != nil || got != policy.Archived("use next") {
		t.Fatalf("the status is %+v, %v", got, err)
	}
	if lines := ceremony.Describe(before, s.Base); !has(lines, "~ the project is archived (use next)") {
		t.Errorf("described as %v", lines)
	}

	_, err = w.judge(w.request("flask", release(t, "flask-3.tar.gz"), w.alice, w.bob), "flask-3.tar.gz")
	if r := wantReason(t, err, ceremony.Archived); !strings.Contains(r.Message, "use next") {
		t.Errorf("the refusal does not give the reason: %s", r.Message)
	}
	wheel := staged(t, "flask-3-py3-none-any.whl")
	byCI := publishtest.Draft{Kind: ceremony.Release, Only: true, Subs: map[string]publishtest.Sub{"ci": {Add: []publish.File{wheel}}}}
	_, err = w.judge(w.request("flask", byCI, w.ci), wheel.Filename.String())
	wantReason(t, err, ceremony.Archived)
	gone := s.Layout.Path(s.Project, staged(t, "flask-1.tar.gz").Filename)
	w.complete(w.request("flask", publishtest.Draft{Kind: ceremony.Release, Edit: remove(gone)}, w.alice, w.bob))
	rekey := publishtest.Draft{Kind: ceremony.Rekey, Keys: []key.Signer{w.alice, w.bob}, Threshold: 1}
	w.complete(w.request("flask", rekey, w.alice, w.bob))

	rekey.Edit.Members = map[string][]byte{policy.StatusMember: nil}
	_, err = w.judge(w.request("flask", rekey, w.alice, w.bob))
	wantReason(t, err, ceremony.Altered)
	bad := w.request("flask", publishtest.Draft{Kind: ceremony.Release})
	rewrite(t, &bad.Payloads[0], func(signed object) { signed[policy.StatusMember] = object{"status": "quarantined"} })
	w.add(bad, "", w.alice, w.bob)
	_, err = w.judge(bad)
	wantReason(t, err, ceremony.Malformed)
	_, err = w.judge(w.request("flask", marking(t, policy.Status{}), w.mallory))
	wantReason(t, err, ceremony.ForeignKey)

	archived := s.Base
	w.sign(w.request("flask", marking(t, policy.Status{}), w.alice, w.bob))
	if lines := ceremony.Describe(archived, w.standing("flask").Base); !has(lines, "~ the project is no longer archived") {
		t.Errorf("described as %v", lines)
	}
	w.complete(w.request("flask", release(t, "flask-3.tar.gz"), w.alice, w.bob), "flask-3.tar.gz")
}

func has(lines []ceremony.Line, want string) bool {
	for _, l := range lines {
		if l.String() == want {
			return true
		}
	}
	return false
}
