package verify_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"example.com/bailiwick/internal/testrepo"
	"example.com/bailiwick/internal/verify"
	"example.com/bailiwick/tuf/client"
)

// TestAttacks walks through the attacks that somebody on the wire, or in possession of the server, can
// try. Each is refused for its own reason, hands nothing out, and leaves the user able to go on when
// it is over.
func TestAttacks(t *testing.T) {
	const everything = "" // trouble with the whole repository
	tests := []struct {
		name    string
		attack  func(*world)
		over    func(*world) // nil: the repository publishes anew
		file    string       // of flask; what the user asks for
		class   verify.Class
		code    string
		subject string
		says    string // in the sentence
	}{
		{
			name:   "arbitrary software: other bytes of the same length",
			attack: func(w *world) { w.ServeTarget(w.targetName("flask", flaskWheel), random("evil", 200_808)) },
			class:  verify.Refused, code: "hash", subject: flaskWheel, says: "not the bytes its maintainers signed",
		},
		{
			name:   "wrong software: another signed file under this name",
			attack: func(w *world) { w.ServeTarget(w.targetName("flask", flaskSdist), w.content("oldlib", oldWheel)) },
			file:   flaskSdist, class: verify.Refused, code: "length", subject: flaskSdist, says: "shorter than what was signed",
		},
		{
			name:   "endless data",
			attack: func(w *world) { w.Break("targets/"+w.targetName("flask", flaskWheel), testrepo.Fault{Endless: true}) },
			class:  verify.Refused, code: "hash", subject: flaskWheel, says: "not the bytes its maintainers signed",
		},
		{
			name:   "endless metadata",
			attack: func(w *world) { w.Endless("timestamp.json") },
			over:   func(w *world) { w.Break("timestamp.json", testrepo.Fault{}) },
			class:  verify.Unusable, code: "length", subject: everything, says: "timestamp is not the file that was signed for",
		},
		{
			name: "a signed file withheld",
			attack: func(w *world) {
				w.Break("targets/"+w.targetName("flask", flaskWheel), testrepo.Fault{Err: client.ErrAbsent})
			},
			class: verify.Refused, code: "missing", subject: flaskWheel, says: "does not have the file it signed for",
		},
		{
			name: "rollback of the timestamp",
			attack: func(w *world) {
				old := w.Moment()
				w.PublishTimestamp()
				w.session()
				w.Replay(old)
			},
			class: verify.Unusable, code: "rollback", subject: everything, says: "older than what was trusted before",
		},
		{
			name: "rollback of a project that was never installed, by whoever has the online keys",
			attack: func(w *world) {
				w.session()
				w.Versions["project.oldlib"]--
				w.PublishSnapshot()
				w.PublishTimestamp()
				w.Versions["project.oldlib"]++
			},
			class: verify.Unusable, code: "rollback", subject: everything, says: "snapshot version 4 is older than what was trusted before",
		},
		{
			name: "a project dropped from the snapshot",
			attack: func(w *world) {
				w.session()
				w.Unlisted["project.oldlib"] = true
				w.PublishSnapshot()
				w.PublishTimestamp()
			},
			over:  func(w *world) { delete(w.Unlisted, "project.oldlib"); w.Publish() },
			class: verify.Unusable, code: "rollback", subject: everything, says: "older",
		},
		{
			name:   "freeze: the timestamp is never renewed",
			attack: func(w *world) { w.session(); w.later(25 * time.Hour) },
			class:  verify.Unusable, code: "expired", subject: everything, says: "timestamp version 3 is expired",
		},
		{
			name: "mix and match: an older list under the new name",
			attack: func(w *world) {
				old := w.Moment()
				name := w.FileName("project.flask")
				w.Touch("project.flask")
				w.Publish()
				w.Serve(w.FileName("project.flask"), w.servedAt(old, name))
			},
			over:  func(w *world) { w.Restore("project.flask") },
			class: verify.Refused, code: "mix-and-match", subject: "flask", says: "not the version that belongs to this moment",
		},
		{
			name:   "a project's list signed with a wrong key",
			attack: func(w *world) { w.SwapKey("project.flask") },
			over:   func(w *world) { w.Restore("project.flask") },
			class:  verify.Refused, code: "threshold", subject: "flask", says: "project.flask version 2 is signed by none of its keys",
		},
		{
			name:   "one maintainer's key where two must sign",
			attack: func(w *world) { w.SignOnly("project.flask", testrepo.Keys("maintainer", 1)...) },
			over:   func(w *world) { w.Restore("project.flask") },
			class:  verify.Refused, code: "threshold", subject: "flask", says: "project.flask version 2 is signed by 1 of the 2 keys it needs",
		},
		{
			name:   "one maintainer's key where two must sign, given twice",
			attack: func(w *world) { k := testrepo.Keys("maintainer", 1); w.SignOnly("project.flask", k[0], k[0]) },
			over:   func(w *world) { w.Restore("project.flask") },
			class:  verify.Refused, code: "malformed", subject: "flask", says: "cannot be read",
		},
		{
			name: "no fall-through: the claimed role is withheld, and forged in unclaimed",
			attack: func(w *world) {
				bin := testrepo.Bin("flask")
				w.Delegate("unclaimed-"+bin, testrepo.Delegation{
					Name: "project.flask", Paths: []string{bin + "/flask/*"}, Holders: testrepo.One("registry"), Terminating: true,
				})
				w.Publish()
				w.SignOnly("project.flask", testrepo.NewKey("registry-1"))
			},
			over: func(w *world) {
				w.Undelegate("unclaimed-"+testrepo.Bin("flask"), "project.flask")
				w.Roles["project.flask"].Holders = testrepo.Some("maintainer", 2, 3)
				w.Touch("project.flask")
				w.Publish()
			},
			class: verify.Refused, code: "threshold", subject: "flask", says: "signed by none of its keys",
		},
		{
			name: "an expired project is not an attacked one",
			attack: func(w *world) {
				w.Life["project.flask"] = time.Hour
				w.Touch("project.flask")
				w.Publish()
				w.later(2 * time.Hour)
			},
			over:  func(w *world) { delete(w.Life, "project.flask"); w.Touch("project.flask"); w.Publish() },
			class: verify.Unusable, code: "expired", subject: "flask", says: "flask cannot be used: project.flask version 3 is expired",
		},
		{
			name:   "unsigned top-level metadata",
			attack: func(w *world) { w.Touch("targets"); w.Publish(); w.DropSignatures("targets") },
			over:   func(w *world) { w.Restore("targets") },
			class:  verify.Unusable, code: "threshold", subject: everything, says: "targets version 3 is not signed by enough of its keys",
		},
		{
			name:   "damaged metadata",
			attack: func(w *world) { w.Truncate("timestamp.json", 40) },
			over:   func(w *world) { w.Restore("timestamp") },
			class:  verify.Unusable, code: "malformed", subject: everything, says: "cannot be read",
		},
		{
			name: "an outage is not an attack",
			attack: func(w *world) {
				w.Break("timestamp.json", testrepo.Fault{Err: &client.NetworkError{URL: source, Status: 502}})
			},
			over:  func(w *world) { w.Break("timestamp.json", testrepo.Fault{}) },
			class: verify.Unreachable, code: "network", subject: everything, says: "cannot reach https://pkgs.example.com: it answered with status 502",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			file := tt.file
			if file == "" {
				file = flaskWheel
			}
			name, honest := w.targetName("flask", file), w.content("flask", file)
			tt.attack(w)
			e := w.engine()
			got, err := read(t.Context(), e, project(t, "flask"), file)
			refused := wantProblem(t, err, tt.class, tt.code)
			if refused.Subject != tt.subject || !strings.Contains(refused.Error(), tt.says) {
				t.Errorf("about %q: %v\nwant about %q, with %q", refused.Subject, refused, tt.subject, tt.says)
			}
			if len(got) >= len(honest) {
				t.Errorf("%d bytes were handed out", len(got))
			}
			if worst := e.Summary().Worst(); worst != tt.class {
				t.Errorf("worst %q, want %q", worst, tt.class)
			}
			w.ServeTarget(name, honest)
			w.Break("targets/"+name, testrepo.Fault{})
			if tt.over != nil {
				tt.over(w)
			} else {
				w.recover()
			}
			got, err = read(t.Context(), w.engine(), project(t, "flask"), file)
			if err != nil || !bytes.Equal(got, honest) {
				t.Errorf("after the attack: %d bytes, %v", len(got), err)
			}
		})
	}
}

// session lets the user trust what is served now.
func (w *world) session() {
	w.t.Helper()
	if err := w.engine().Refresh(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

// recover publishes again what an honest repository would, at versions that nobody has seen.
func (w *world) recover() {
	for _, name := range []string{"snapshot", "timestamp"} {
		w.Versions[name] += 5
	}
	w.Publish()
}

func (w *world) servedAt(m testrepo.Moment, name string) []byte {
	w.ReplayFile(m, name)
	data, err := w.Metadata(w.t.Context(), name, 1<<20)
	if err != nil {
		w.t.Fatal(err)
	}
	return data
}

// TestRefusalIsRemembered: installers retry, and get the reason without another download, until the
// time is over.
func TestRefusalIsRemembered(t *testing.T) {
	w := newWorld(t)
	name, honest := w.targetName("flask", flaskWheel), w.content("flask", flaskWheel)
	w.ServeTarget(name, random("evil", len(honest)))
	e := w.engine(func(c *verify.Config) { c.Remember = time.Minute })
	_, err := read(t.Context(), e, project(t, "flask"), flaskWheel)
	first := wantProblem(t, err, verify.Refused, "hash")
	w.ServeTarget(name, honest)
	w.ResetRequests()
	_, err = e.Open(t.Context(), project(t, "flask"), flaskWheel)
	if again := wantProblem(t, err, verify.Refused, "hash"); again.ID != first.ID {
		t.Errorf("the retry has ID %s, the first %s", again.ID, first.ID)
	}
	if got := w.Requests(); len(got) != 0 {
		t.Errorf("the retry asked for %q", got)
	}
	w.later(time.Minute)
	if _, err := read(t.Context(), e, project(t, "flask"), flaskWheel); err != nil {
		t.Errorf("after a minute: %v", err)
	}
}

func TestReport(t *testing.T) {
	w := newWorld(t)
	honest := w.content("flask", flaskWheel)
	evil := random("evil", len(honest))
	w.ServeTarget(w.targetName("flask", flaskWheel), evil)
	_, err := read(t.Context(), w.engine(), project(t, "flask"), flaskWheel)
	e := wantProblem(t, err, verify.Refused, "hash")
	if e.Expected == nil || e.Received == nil || e.Expected.SHA256 != sha(honest) || e.Received.SHA256 != sha(evil) ||
		e.Expected.Length != int64(len(honest)) || e.Received.Length != int64(len(evil)) {
		t.Fatalf("expected %+v, received %+v", e.Expected, e.Received)
	}
	text := strings.Join(e.Report(), "\n")
	for _, want := range []string{
		"REFUSED " + flaskWheel, "by 2 of 3 maintainers", sha(honest)[:8], sha(evil)[:8], "from https://pkgs.example.com", "next: ",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("report lacks %q:\n%s", want, text)
		}
	}
	if strings.Contains(text+e.Error(), "secret") {
		t.Errorf("a password is in the report:\n%s", text)
	}
	if !errors.Is(err, e) || e.Unwrap() == nil {
		t.Error("the cause is lost")
	}
}
