package index_test

import (
	"errors"
	"strings"
	"testing"

	"example.com/bailiwick/internal/ceremony"
	"example.com/bailiwick/internal/custody"
	"example.com/bailiwick/internal/files"
	"example.com/bailiwick/internal/index"
	"example.com/bailiwick/internal/ledger"
	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/internal/publish/publishtest"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/internal/pypi/distmake"
	"example.com/bailiwick/tuf/key"
)

// strictFixture is an index in custody strict, and its signer.
func strictFixture(t *testing.T) (*fixture, *publishtest.Desk) {
	t.Helper()
	l := ledger.NewMemory()
	keys := publishtest.Create(t, l, publishtest.Options{Recent: []string{"recent"}})
	desk, signers := publishtest.NewDesk(keys)
	f := &fixture{t: t, files: &store{Files: files.NewMemory()}, tokens: l}
	f.publisher = publishtest.Run(t, publish.Config{Ledger: l, Signers: signers, Countersign: desk, Proposals: l})
	x, err := index.New(index.Config{
		Publisher: f.publisher, Files: f.files, Tokens: l, Records: l, Limits: index.Limits{FileSize: 1 << 20}, Now: publishtest.Start,
	})
	if err != nil {
		t.Fatal(err)
	}
	f.index = x
	f.actor = f.login(nil)
	return f, desk
}

func wheelOf(name, version string, more ...string) distmake.File {
	return distmake.Wheel(name, version, distmake.Options{Requires: more})
}

func (f *fixture) drain(want index.Drained) {
	f.t.Helper()
	got, err := f.index.Drain(f.t.Context())
	if err != nil || got != want {
		f.t.Errorf("drained %+v, %v; want %+v", got, err, want)
	}
}

// TestUploadsWaitForTheSigner: without it uploads are kept, invisible, and refused where they would be refused
// later; when it comes they are published in their order.
func TestUploadsWaitForTheSigner(t *testing.T) {
	f, desk := strictFixture(t)
	first := f.upload(wheelOf("flask", "1.0"))
	if first.Waiting || first.Publication == 0 {
		t.Errorf("with the signer there: %+v", first)
	}
	desk.Leave(true)
	number := f.publisher.Current().Number()
	r := f.upload(wheelOf("flask", "2.0"))
	if !r.Waiting || r.Staged || r.Unchanged || r.Publication != 0 || !strings.Contains(r.Line(), "becomes installable when the index's signer has signed it") {
		t.Errorf("without it: %+v, %q", r, r.Line())
	}
	if again := f.upload(wheelOf("flask", "2.0")); !again.Waiting || !again.Unchanged {
		t.Errorf("the same again: %+v", again)
	}
	_, err := f.send(f.actor, wheelOf("flask", "2.0", "other"), nil)
	refused(t, err, index.Exists)
	_, err = f.send(f.actor, wheelOf("flask", "1.0", "other"), nil)
	refused(t, err, index.Exists)
	if same := f.upload(wheelOf("flask", "1.0")); same.Waiting || !same.Unchanged {
		t.Errorf("what is listed already: %+v", same)
	}
	if r := f.upload(wheelOf("newcomer", "1.0")); !r.Waiting {
		t.Errorf("a new project: %+v", r)
	}
	if r := f.upload(wheelOf("recent", "1.0")); r.Waiting || !r.Staged {
		t.Errorf("a file of a claimed project: %+v; it waits for its maintainers", r)
	}
	if got := f.listed("flask"); len(got) != 1 || f.publisher.Current().Number() != number {
		t.Errorf("visible are %v, at publication %d", got, f.publisher.Current().Number())
	}
	if got, err := f.index.Drain(t.Context()); !errors.Is(err, publish.ErrNoSigner) || got.Left != 2 {
		t.Errorf("drained %+v, %v; the signer is still away", got, err)
	}

	desk.Leave(false)
	f.drain(index.Drained{Published: 2})
	f.drain(index.Drained{})
	if got := f.listed("flask"); len(got) != 2 {
		t.Errorf("visible are %v", got)
	}
	if got := f.listed("newcomer"); len(got) != 1 {
		t.Errorf("visible are %v", got)
	}
}

// TestEditsWaitForTheSigner in their order, for each project.
func TestEditsWaitForTheSigner(t *testing.T) {
	f, desk := strictFixture(t)
	f.upload(wheelOf("flask", "1.0"))
	f.upload(wheelOf("flask", "2.0"))
	desk.Leave(true)
	v1, err := pypi.ParseVersion("1.0")
	if err != nil {
		t.Fatal(err)
	}
	reason := "broken"
	for _, r := range []*string{&reason, nil, &reason} {
		got, err := f.index.Yank(t.Context(), f.actor, project(t, "flask"), v1, r)
		if err != nil || got.Publication != 0 {
			t.Errorf("yanking without the signer: %+v, %v", got, err)
		}
	}
	name := filename(t, wheelOf("flask", "2.0").Name)
	if got, err := f.index.Delete(t.Context(), f.actor, project(t, "flask"), name); err != nil || got.Publication != 0 {
		t.Errorf("deleting without the signer: %+v, %v", got, err)
	}
	desk.Leave(false)
	f.drain(index.Drained{Published: 4})
	page, _, err := f.index.Project(t.Context(), project(t, "flask"))
	if err != nil || len(page.Files) != 1 || page.Files[0].Yanked == nil || *page.Files[0].Yanked != reason {
		t.Errorf("the page is %+v, %v", page, err)
	}
}

// TestRequestsWaitForTheSigner: a claim with all its signatures stays open, and takes effect when the signer comes.
func TestRequestsWaitForTheSigner(t *testing.T) {
	f, desk := strictFixture(t)
	f.upload(wheelOf("flask", "1.0"))
	desk.Leave(true)
	_, alice, err := key.GenerateEd25519()
	if err != nil {
		t.Fatal(err)
	}
	s, err := f.publisher.Current().Standing(t.Context(), project(t, "flask"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := publishtest.Draft{Kind: ceremony.Claim, Keys: []key.Signer{alice}}.On(s, publishtest.Start())
	if err == nil {
		err = publishtest.Sign(r, "", alice)
	}
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time nothing is new
		out, err := f.index.Propose(t.Context(), f.actor, r.Clone())
		if err != nil || out.Publication != 0 || out.ID != r.ID() || !strings.Contains(out.Next, "when the index's signer has signed it") || len(out.Missing) > 0 {
			t.Errorf("proposing without the signer: %+v, %v", out, err)
		}
	}
	open, err := f.index.Requests(t.Context(), f.actor, project(t, "flask"))
	if err != nil || len(open) != 1 || !strings.Contains(open[0].Next, "the index's signer") {
		t.Errorf("open are %+v, %v", open, err)
	}
	f.upload(wheelOf("other", "1.0"))
	desk.Leave(false)
	f.drain(index.Drained{Published: 2})
	if open, err = f.index.Requests(t.Context(), f.actor, project(t, "flask")); err != nil || len(open) != 0 {
		t.Errorf("open are %+v, %v", open, err)
	}
	if r := f.upload(wheelOf("flask", "2.0")); !r.Staged {
		t.Errorf("an upload after the claim: %+v", r)
	}
}

// TestWhatCanNotBePublishedAnyMore: its owners are told, and nobody else waits for it.
func TestWhatCanNotBePublishedAnyMore(t *testing.T) {
	f, desk := strictFixture(t)
	desk.Leave(true)
	sdist := distmake.Sdist("flask", "1.0", distmake.Options{})
	f.upload(sdist)
	f.upload(wheelOf("good", "1.0"))
	f.upload(wheelOf("claimed-soon", "1.0"))
	desk.Leave(false)
	// Before it is drained, the name is used, and a project is claimed.
	other := publishtest.File(t, sdist.Name, "other bytes")
	if _, err := f.publisher.Publish(t.Context(), publish.AddFile{File: other}); err != nil {
		t.Fatal(err)
	}
	_, alice, err := key.GenerateEd25519()
	if err != nil {
		t.Fatal(err)
	}
	s, err := f.publisher.Current().Standing(t.Context(), project(t, "claimed-soon"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := publishtest.Draft{Kind: ceremony.Claim, Keys: []key.Signer{alice}}.On(s, publishtest.Start())
	if err == nil {
		err = publishtest.Sign(r, "", alice)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.index.Propose(t.Context(), f.actor, r); err != nil {
		t.Fatal(err)
	}
	f.drain(index.Drained{Published: 2, Refused: 1})
	events, err := f.index.Events(t.Context(), f.actor, project(t, "flask"))
	if err != nil || len(events) == 0 || !strings.Contains(events[0].Text, "was not published: File already exists") {
		t.Errorf("the owners are told %+v, %v", events, err)
	}
	staged, err := f.index.Staged(t.Context(), f.actor, project(t, "claimed-soon"))
	if err != nil || len(staged) != 1 {
		t.Errorf("staged are %+v, %v; the file waits for its maintainers now", staged, err)
	}
}

// TestWhatTheSignerRefusesWaits: a refusal loses nothing and blocks nobody.
func TestWhatTheSignerRefusesWaits(t *testing.T) {
	f, desk := strictFixture(t)
	desk.Leave(true)
	f.upload(wheelOf("flask", "1.0"))
	f.upload(wheelOf("django", "1.0"))
	desk.Leave(false)
	desk.Refuse(&custody.Refused{Reason: custody.Dates, Message: "the clock is wrong"})
	f.drain(index.Drained{Left: 2})
	_, err := f.send(f.actor, wheelOf("third", "1.0"), nil)
	if r := refused(t, err, index.Unavailable); !errors.Is(r, publish.ErrNotSigned) {
		t.Errorf("an upload that the signer refuses: %v", r)
	}
	desk.Refuse(nil)
	f.drain(index.Drained{Published: 2})
}
