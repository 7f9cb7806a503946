package ceremony_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"example.com/bailiwick/internal/ceremony"
	"example.com/bailiwick/internal/ledger"
	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/internal/publish/publishtest"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/cjson"
	"example.com/bailiwick/tuf/key"
	"example.com/bailiwick/tuf/repo"
)

// world is a repository with a project of every sort:
//
//	plain    signed by the registry key, one file
//	flask    claimed by alice and bob (2 of 2), two files, one of them adopted, recovery key eve,
//	         and a sub-role project.flask.ci for wheels, by the key ci
//	new      no such project
type world struct {
	t                   *testing.T
	p                   *publish.Publisher
	online              publishtest.Keys
	alice, bob, ci, eve key.Signer
	mallory             key.Signer // nobody
}

func newKey(t testing.TB) key.Signer {
	t.Helper()
	_, s, err := key.GenerateEd25519()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newWorld(t *testing.T) *world {
	t.Helper()
	l := ledger.NewMemory()
	w := &world{t: t, alice: newKey(t), bob: newKey(t), ci: newKey(t), eve: newKey(t), mallory: newKey(t)}
	w.online = publishtest.Create(t, l, publishtest.Options{})
	w.p = publishtest.Run(t, publish.Config{Ledger: l, Signers: w.online.Online()})
	w.publish(publish.AddFile{File: publishtest.File(t, "plain-1.tar.gz", "a")})
	w.publish(publish.AddFile{File: publishtest.File(t, "flask-1.tar.gz", "a")})
	adopted, err := publishtest.Adopt(w.standing("flask"))
	if err != nil {
		t.Fatal(err)
	}
	claim := publishtest.Draft{Kind: ceremony.Claim, Keys: []key.Signer{w.alice, w.bob}, Threshold: 2}
	claim.Edit.Put = adopted
	claim.Edit.Members = map[string][]byte{ceremony.RecoveryMember: ceremony.RecoveryValue(w.eve.Public())}
	w.sign(w.request("flask", claim, w.alice, w.bob))
	r := w.request("flask", publishtest.Draft{
		Kind: ceremony.Release, Add: []publish.File{staged(t, "flask-2.tar.gz")},
		Subs: map[string]publishtest.Sub{"ci": {Delegate: true, Keys: []key.Signer{w.ci}, Add: []publish.File{staged(t, "flask-2-py3-none-any.whl")}}},
	})
	w.add(r, "project.flask", w.alice, w.bob)
	w.add(r, "project.flask.ci", w.ci)
	w.sign(r, "flask-2.tar.gz", "flask-2-py3-none-any.whl")
	return w
}

func (w *world) publish(c publish.Change) {
	w.t.Helper()
	if _, err := w.p.Publish(w.t.Context(), c); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) sign(r *ceremony.Request, names ...string) {
	w.t.Helper()
	c := publish.Sign{Request: r}
	for _, n := range names {
		c.Staged = append(c.Staged, staged(w.t, n))
	}
	w.publish(c)
}

func (w *world) add(r *ceremony.Request, role tuf.RoleName, signers ...key.Signer) {
	w.t.Helper()
	if err := publishtest.Sign(r, role, signers...); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) standing(name string) *ceremony.Standing {
	w.t.Helper()
	p, err := pypi.ParseProject(name)
	if err != nil {
		w.t.Fatal(err)
	}
	s, err := w.p.Current().Standing(w.t.Context(), p)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// request renders a draft, with the signatures of signers on every payload.
func (w *world) request(name string, d publishtest.Draft, signers ...key.Signer) *ceremony.Request {
	w.t.Helper()
	r, err := d.On(w.standing(name), publishtest.Start())
	if err != nil {
		w.t.Fatal(err)
	}
	w.add(r, "", signers...)
	return r
}

// judge judges with files staged under these names.
func (w *world) judge(r *ceremony.Request, names ...string) (*ceremony.Verdict, error) {
	w.t.Helper()
	s := w.standing(r.Project.String())
	var targets []tuf.Target
	for _, n := range names {
		f := staged(w.t, n)
		target, err := f.Target(s.Layout)
		if err != nil {
			w.t.Fatal(err)
		}
		targets = append(targets, target)
	}
	return ceremony.Judge(r, s, targets, publishtest.Start())
}

// complete judges and wants the request to have all that it needs.
func (w *world) complete(r *ceremony.Request, names ...string) *ceremony.Verdict {
	w.t.Helper()
	v, err := w.judge(r, names...)
	if err != nil {
		w.t.Fatal(err)
	}
	if !v.Complete() {
		w.t.Fatalf("the request is not complete: %s", v.Next())
	}
	return v
}

// incomplete judges and wants signatures to be missing, for a reason that holds these words.
func (w *world) incomplete(r *ceremony.Request, words string, names ...string) {
	w.t.Helper()
	v, err := w.judge(r, names...)
	if err != nil {
		w.t.Fatal(err)
	}
	if v.Complete() || !strings.Contains(v.Next(), words) {
		w.t.Errorf("what is next is %q, want it to speak of %q", v.Next(), words)
	}
}

// staged is a file as an upload has staged it.
func staged(t testing.TB, name string) publish.File {
	t.Helper()
	f := publishtest.File(t, name, "content of "+name)
	f.Uploaded = publishtest.Start()
	return f
}

func wantReason(t *testing.T, err error, want ceremony.Reason) *ceremony.Refused {
	t.Helper()
	var refused *ceremony.Refused
	if !errors.As(err, &refused) || refused.Reason != want {
		t.Fatalf("%v, want a refusal for %q", err, want)
	}
	if len(refused.Message) < 20 || strings.Contains(refused.Message, "\n") {
		t.Errorf("the refusal is no sentence: %q", refused.Message)
	}
	return refused
}

// object is a JSON object that a test bends.
type object = map[string]any

// rewrite changes what a payload says, and drops its signatures.
func rewrite(t testing.TB, p *ceremony.Payload, edit func(signed object)) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(cjson.AppendWire(nil, p.Message)))
	d.UseNumber()
	var signed object
	if err := d.Decode(&signed); err != nil {
		t.Fatal(err)
	}
	edit(signed)
	data, err := json.Marshal(signed)
	if err == nil {
		p.Message, err = cjson.Canonical(data, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	p.Signatures = nil
}

// release drafts a release of flask that adds a file.
func release(t testing.TB, names ...string) publishtest.Draft {
	t.Helper()
	d := publishtest.Draft{Kind: ceremony.Release}
	for _, n := range names {
		d.Add = append(d.Add, staged(t, n))
	}
	return d
}

func remove(paths ...tuf.TargetPath) repo.TargetsEdit { return repo.TargetsEdit{Remove: paths} }

const day = 24 * time.Hour
