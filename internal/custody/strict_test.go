package custody_test

import (
	"testing"
	"time"

	"example.com/bailiwick/internal/ceremony"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/internal/publish/publishtest"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/internal/sitting"
	"example.com/bailiwick/tuf/key"
)

// TestR3StrictCustody: the server holds the timestamp key alone. Uploads, claims, releases and changes of keys
// all complete by the signer's signatures.
func TestR3StrictCustody(t *testing.T) {
	w := newWorld(t, publishtest.Options{})
	alice, bob := w.people(1), w.people(1)
	w.must(w.add("flask-1.0.tar.gz"))
	w.must(w.add("flask-1.0-py3-none-any.whl"))
	w.must(w.add("django-1.0.tar.gz"))
	reason := "broken"
	w.must(publish.Yank{Project: w.project("flask"), Files: []pypi.Filename{w.filename("flask-1.0.tar.gz")}, Reason: &reason})
	w.must(publish.Yank{Project: w.project("flask"), Files: []pypi.Filename{w.filename("flask-1.0.tar.gz")}})
	w.must(publish.Delete{Project: w.project("django"), Files: []pypi.Filename{w.filename("django-1.0.tar.gz")}})
	w.wantFiles("flask", "flask-1.0-py3-none-any.whl", "flask-1.0.tar.gz")
	w.wantFiles("django")

	w.claim("flask", alice...)
	w.claim("fresh", alice...)
	w.must(w.release("flask-2.0.tar.gz", alice...))
	w.must(w.sign("flask", publishtest.Draft{Kind: ceremony.Rekey, Keys: append(alice, bob...), Threshold: 2}, append(alice, bob...)...))
	w.must(w.release("flask-3.0.tar.gz", append(alice, bob...)...))
	w.wantFiles("flask", "flask-1.0-py3-none-any.whl", "flask-1.0.tar.gz", "flask-2.0.tar.gz", "flask-3.0.tar.gz")

	w.must(w.plan(sitting.Wishes{Only: []pypi.Project{w.project("flask"), w.project("fresh")}}))
	s, err := w.p.Current().Standing(t.Context(), w.project("flask"))
	if err != nil || s.Assurance != policy.Claimed {
		t.Errorf("flask is %v, %v; want it promoted", s, err)
	}
	w.must(w.release("flask-4.0.tar.gz", append(alice, bob...)...))
	w.must(w.plan(sitting.Wishes{Park: []pypi.Project{w.project("fresh")}}))
	if len(w.desk.refusals()) > 0 {
		t.Errorf("the signer refused %v", w.desk.refusals())
	}
	if w.signed() < 20 {
		t.Errorf("the signer made %d signatures; something else signs", w.signed())
	}
}

// TestR3Renewals: what nobody asks for is renewed by the signer, too; also when it was away for longer than
// the snapshot lives.
func TestR3Renewals(t *testing.T) {
	w := newWorld(t, publishtest.Options{})
	w.must(w.add("flask-1.0.tar.gz"))
	w.desk.set(func(d *desk) { d.gone = true })
	w.clock.pass(9 * 24 * time.Hour)
	if _, err := w.p.Publish(t.Context(), w.add("flask-2.0.tar.gz")); err == nil {
		t.Fatal("published without the signer")
	}
	w.desk.set(func(d *desk) { d.gone = false })
	w.must(w.add("flask-3.0.tar.gz"))
	w.clock.pass(70 * 24 * time.Hour)
	w.must(w.add("django-1.0.tar.gz"))
	if len(w.desk.refusals()) > 0 {
		t.Errorf("the signer refused %v", w.desk.refusals())
	}
}

// TestR3SwitchCustody: a repository in standard custody gets other keys for what moves to the signer, and back,
// by signing requests of operators. The keys are never the same.
func TestR3SwitchCustody(t *testing.T) {
	w := newWorld(t, publishtest.Options{})
	w.must(w.add("flask-1.0.tar.gz"))
	w.claim("django", w.people(1)...)
	for _, role := range []policy.KeyRole{policy.KeyRegistry, policy.KeySnapshot} {
		next := w.people(1)[0]
		w.hold(next)
		w.must(w.offline(sitting.Rotate(w.state(), sitting.Wishes{}, sitting.Rotation{Role: role, Keys: []*key.Public{next.Public()}, Threshold: 1})))
		w.must(w.add("flask-" + map[policy.KeyRole]string{policy.KeyRegistry: "2", policy.KeySnapshot: "3"}[role] + ".0.tar.gz"))
	}
	// Back: keys that the server holds.
	for _, role := range []policy.KeyRole{policy.KeySnapshot, policy.KeyRegistry} {
		next := w.people(1)[0]
		w.p.AddSigner(next)
		w.must(w.offline(sitting.Rotate(w.state(), sitting.Wishes{}, sitting.Rotation{Role: role, Keys: []*key.Public{next.Public()}, Threshold: 1})))
	}
	before := w.signed()
	w.desk.set(func(d *desk) { d.gone = true })
	w.must(w.add("flask-4.0.tar.gz"))
	if n := w.signed() - before; n != 0 {
		t.Errorf("the signer made %d signatures when the server held all keys", n)
	}
	w.wantFiles("flask", "flask-1.0.tar.gz", "flask-2.0.tar.gz", "flask-3.0.tar.gz", "flask-4.0.tar.gz")
}
