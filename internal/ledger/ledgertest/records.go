package ledgertest

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"example.com/bailiwick/internal/index"
	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
)

// event makes an event of project pI.
func event(t testing.TB, i int, kind publish.EventKind, second int64) publish.Event {
	t.Helper()
	return publish.Event{
		Project: mustProject(t, fmt.Sprintf("p%d", i)), Kind: kind, Time: at(second), Token: "token-1",
		Keys: []key.ID{"one", "two"}, Text: "two words, é",
	}
}

func stage(t testing.TB, l Ledger, f publish.File, e publish.Event) bool {
	t.Helper()
	added, err := l.AddStaged(t.Context(), f, e)
	if err != nil {
		t.Fatal(err)
	}
	return added
}

func wantStaged(t testing.TB, l Ledger, i int, want ...publish.File) {
	t.Helper()
	got, err := l.Staged(t.Context(), mustProject(t, fmt.Sprintf("p%d", i)))
	if err != nil {
		t.Fatal(err)
	}
	same(t, fmt.Sprintf("staged files of p%d", i), got, want)
}

// wantKinds checks the events of project pI, newest first.
func wantKinds(t testing.TB, l Ledger, i int, want ...publish.EventKind) {
	t.Helper()
	events, err := l.Events(t.Context(), mustProject(t, fmt.Sprintf("p%d", i)), 100)
	if err != nil {
		t.Fatal(err)
	}
	var got []publish.EventKind
	for n, e := range events {
		got = append(got, e.Kind)
		if n > 0 && e.ID >= events[n-1].ID {
			t.Errorf("events %d and %d do not come newest first", events[n-1].ID, e.ID)
		}
	}
	same(t, fmt.Sprintf("events of p%d", i), got, want)
}

func testStaged(t *testing.T, l Ledger) {
	wantStaged(t, l, 1)
	b, a := file(t, 1, "p1-2.tar.gz"), file(t, 1, "p1-1.tar.gz")
	a.MetadataSHA256, a.RequiresPython = nil, ""
	other := a
	other.SHA256[0]++
	other.Uploaded = at(9)
	elsewhere := file(t, 2, "p2-1.tar.gz")
	for _, f := range []publish.File{b, a, other, elsewhere} {
		if !stage(t, l, f, event(t, int(f.Project.String()[1]-'0'), publish.EventStaged, 1)) {
			t.Errorf("%s was there already", f.Filename)
		}
	}
	wantStaged(t, l, 1, a, other, b)
	again := a
	again.Uploaded, again.Uploader = at(50), "somebody else"
	if stage(t, l, again, event(t, 1, publish.EventStaged, 2)) {
		t.Error("the same bytes were staged twice")
	}
	wantStaged(t, l, 1, a, other, b)
	wantKinds(t, l, 1, publish.EventStaged, publish.EventStaged, publish.EventStaged)

	n, err := l.RemoveStaged(t.Context(), a.Filename, event(t, 1, publish.EventUnstaged, 3))
	if n != 2 || err != nil {
		t.Errorf("removed %d, %v; want both contents of the name", n, err)
	}
	if n, err := l.RemoveStaged(t.Context(), a.Filename, event(t, 1, publish.EventUnstaged, 3)); n != 0 || err != nil {
		t.Errorf("removed %d, %v; want nothing", n, err)
	}
	wantStaged(t, l, 1, b)
	wantKinds(t, l, 1, publish.EventUnstaged, publish.EventStaged, publish.EventStaged, publish.EventStaged)

	stage(t, l, other, event(t, 1, publish.EventStaged, 4))
	if n, err := l.ExpireStaged(t.Context(), at(5)); n != 2 || err != nil {
		t.Errorf("%d expired, %v; want those of that second", n, err)
	}
	wantStaged(t, l, 1, other)
	wantStaged(t, l, 2)
}

func storedRequest(t testing.TB, i int, id string) index.StoredRequest {
	t.Helper()
	return index.StoredRequest{
		ID: id, Project: mustProject(t, fmt.Sprintf("p%d", i)), Body: []byte("body of " + id + "\x00"), Token: "token-1",
		Received: at(1), Expires: at(100),
	}
}

func roleSignature(role tuf.RoleName, id key.ID, sig string) index.RoleSignature {
	return index.RoleSignature{Role: role, Signature: tuf.Signature{KeyID: id, Sig: []byte(sig)}}
}

func open(t testing.TB, l Ledger, r index.StoredRequest) bool {
	t.Helper()
	added, err := l.AddRequest(t.Context(), r, event(t, int(r.Project.String()[1]-'0'), publish.EventOpened, 1))
	if err != nil {
		t.Fatal(err)
	}
	return added
}

func wantRequests(t testing.TB, l Ledger, i int, want ...index.StoredRequest) {
	t.Helper()
	got, err := l.Requests(t.Context(), mustProject(t, fmt.Sprintf("p%d", i)))
	if err != nil {
		t.Fatal(err)
	}
	same(t, fmt.Sprintf("requests of p%d", i), got, want)
	for _, r := range want {
		got, err := l.Request(t.Context(), r.ID)
		if err != nil {
			t.Fatal(err)
		}
		same(t, "request "+r.ID, got, r)
	}
}

func testRequests(t *testing.T, l Ledger) {
	_, err := l.Request(t.Context(), "b")
	wantErr(t, "a request that never was", err, index.ErrNoRequest)
	b, a, c := storedRequest(t, 1, "b"), storedRequest(t, 1, "a"), storedRequest(t, 2, "c")
	c.Expires = at(50)
	for _, r := range []index.StoredRequest{b, a, c} {
		if !open(t, l, r) {
			t.Errorf("request %s was there already", r.ID)
		}
	}
	changed := b
	changed.Body = []byte("another")
	if open(t, l, changed) {
		t.Error("a request was replaced")
	}
	wantRequests(t, l, 1, b, a)
	wantRequests(t, l, 2, c)
	for limit, want := range map[int][]index.StoredRequest{0: nil, 2: {b, a}, 10: {b, a, c}} {
		got, err := l.OpenRequests(t.Context(), limit)
		if err != nil {
			t.Fatal(err)
		}
		same(t, fmt.Sprintf("the first %d requests", limit), got, want)
	}

	sign := func(id string, s ...index.RoleSignature) error {
		return l.SignRequest(t.Context(), id, s, event(t, 1, publish.EventSigned, 2))
	}
	if err := sign("b", roleSignature("project.p1", "two", "x"), roleSignature("project.p1", "one", "y"), roleSignature("project.p1.ci", "one", "z")); err != nil {
		t.Fatal(err)
	}
	if err := sign("b", roleSignature("project.p1", "two", "better")); err != nil {
		t.Fatal(err)
	}
	wantErr(t, "signing nothing", sign("none", roleSignature("project.p1", "two", "x")), index.ErrNoRequest)
	b.Signatures = []index.RoleSignature{
		roleSignature("project.p1", "one", "y"), roleSignature("project.p1", "two", "better"), roleSignature("project.p1.ci", "one", "z"),
	}
	wantRequests(t, l, 1, b, a)

	if err := l.CloseRequest(t.Context(), "b", event(t, 1, publish.EventAborted, 3)); err != nil {
		t.Fatal(err)
	}
	wantErr(t, "closing again", l.CloseRequest(t.Context(), "b", event(t, 1, publish.EventAborted, 3)), index.ErrNoRequest)
	wantErr(t, "signing a closed request", sign("b", roleSignature("project.p1", "two", "x")), index.ErrNoRequest)
	wantKinds(t, l, 1, publish.EventAborted, publish.EventSigned, publish.EventSigned, publish.EventOpened, publish.EventOpened)

	b.Signatures = nil
	open(t, l, b) // its old signatures are gone
	wantRequests(t, l, 1, a, b)
	if n, err := l.ExpireRequests(t.Context(), at(50)); n != 1 || err != nil {
		t.Errorf("%d requests expired, %v; want the one whose time has come", n, err)
	}
	wantRequests(t, l, 2)
	wantRequests(t, l, 1, a, b)
}

func testEvents(t *testing.T, l Ledger) {
	genesis(t, l)
	p := pub(2, projectRole(1))
	for n := range int64(5) {
		e := event(t, 1, publish.EventReleased, n)
		e.Publication, e.Request = 2, fmt.Sprint(n)
		p.Events = append(p.Events, e)
	}
	p.Events = append(p.Events, publish.Event{Project: mustProject(t, "p2"), Kind: publish.EventClaimed, Time: at(1)})
	commit(t, l, p)
	got, err := l.Events(t.Context(), mustProject(t, "p1"), 2)
	if err != nil || len(got) != 2 || got[0].ID <= got[1].ID {
		t.Fatalf("%d events, %v; want the newest two", len(got), err)
	}
	want := p.Events[4]
	want.ID = got[0].ID
	same(t, "newest event", got[0], want)
	if got, err := l.Events(t.Context(), mustProject(t, "p1"), 0); len(got) != 0 || err != nil {
		t.Errorf("%d events of none, %v", len(got), err)
	}
	wantKinds(t, l, 2, publish.EventClaimed)
	wantKinds(t, l, 3)
}

// testExecuted: what a publication executes does not wait any more, in the same transaction.
func testExecuted(t *testing.T, l Ledger) {
	genesis(t, l)
	signed, waits := file(t, 1, "p1-1.tar.gz"), file(t, 1, "p1-2.tar.gz")
	rival := signed
	rival.SHA256[0]++
	for _, f := range []publish.File{signed, rival, waits} {
		stage(t, l, f, event(t, 1, publish.EventStaged, 1))
	}
	done, open1 := storedRequest(t, 1, "done"), storedRequest(t, 1, "open")
	open(t, l, done)
	open(t, l, open1)
	publication := func(number int64) *publish.Publication {
		p := pub(number, projectRole(1))
		p.Metadata[0].Maintained = true
		f := signed
		f.Signers = []key.ID{"one", "two"}
		p.Files, p.Closed = []publish.File{f}, []string{"done", "never was"}
		p.Events = []publish.Event{event(t, 1, publish.EventReleased, 2)}
		return p
	}
	wantErr(t, "a publication that conflicts", l.Commit(t.Context(), publication(7)), publish.ErrConflict)
	wantStaged(t, l, 1, signed, rival, waits)
	wantRequests(t, l, 1, done, open1)
	before := []publish.EventKind{publish.EventOpened, publish.EventOpened, publish.EventStaged, publish.EventStaged, publish.EventStaged}
	wantKinds(t, l, 1, before...)

	commit(t, l, publication(2))
	wantStaged(t, l, 1, waits)
	wantRequests(t, l, 1, open1)
	wantKinds(t, l, 1, append([]publish.EventKind{publish.EventReleased}, before...)...)
	f, err := l.File(t.Context(), signed.Filename)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "signers", f.Signers, []key.ID{"one", "two"})
	maintained := func(want bool) {
		t.Helper()
		_, roles := state(t, l)
		for _, r := range roles {
			if is := r.Name == projectRole(1) && want; r.Maintained != is {
				t.Errorf("role %s: maintained %t, want %t", r.Name, r.Maintained, is)
			}
		}
	}
	maintained(true)
	commit(t, l, pub(3, projectRole(1)))
	maintained(false)
	if m, err := l.Metadata(t.Context(), projectRole(1), 2); err != nil || m.Maintained {
		t.Errorf("old metadata tells %t, %v", m.Maintained, err)
	}
}

func testRecordNonsense(t *testing.T, l Ledger) {
	ctx := t.Context()
	good := event(t, 1, publish.EventStaged, 1)
	f := file(t, 1, "p1-1.tar.gz")
	for what, do := range map[string]func() error{
		"a file without a name":     func() error { _, err := l.AddStaged(ctx, publish.File{}, good); return err },
		"staging without an event":  func() error { _, err := l.AddStaged(ctx, f, publish.Event{}); return err },
		"a request without a name":  func() error { _, err := l.AddRequest(ctx, index.StoredRequest{}, good); return err },
		"removal without an event":  func() error { _, err := l.RemoveStaged(ctx, f.Filename, publish.Event{}); return err },
		"a signature without event": func() error { return l.SignRequest(ctx, "x", nil, publish.Event{}) },
		"closing without an event":  func() error { return l.CloseRequest(ctx, "x", publish.Event{}) },
		"an event of no project": func() error {
			p := pub(1)
			p.Events = []publish.Event{{Kind: publish.EventClaimed}}
			return l.Commit(ctx, p)
		},
	} {
		if do() == nil {
			t.Errorf("%s was taken", what)
		}
	}
	wantStaged(t, l, 1)
	wantKinds(t, l, 1)
}

// testRecordsCancelled: a call whose caller has gone changes nothing.
func testRecordsCancelled(t *testing.T, l Ledger) {
	f, r := file(t, 1, "p1-1.tar.gz"), storedRequest(t, 1, "a")
	stage(t, l, f, event(t, 1, publish.EventStaged, 1))
	open(t, l, r)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	e := event(t, 1, publish.EventAborted, 2)
	other := file(t, 1, "p1-2.tar.gz")
	for what, do := range map[string]func() error{
		"AddStaged":      func() error { _, err := l.AddStaged(ctx, other, e); return err },
		"RemoveStaged":   func() error { _, err := l.RemoveStaged(ctx, f.Filename, e); return err },
		"ExpireStaged":   func() error { _, err := l.ExpireStaged(ctx, at(1000)); return err },
		"AddRequest":     func() error { _, err := l.AddRequest(ctx, storedRequest(t, 1, "b"), e); return err },
		"SignRequest":    func() error { return l.SignRequest(ctx, "a", []index.RoleSignature{roleSignature("r", "k", "s")}, e) },
		"CloseRequest":   func() error { return l.CloseRequest(ctx, "a", e) },
		"ExpireRequests": func() error { _, err := l.ExpireRequests(ctx, at(1000)); return err },
		"Staged":         func() error { _, err := l.Staged(ctx, f.Project); return err },
		"Request":        func() error { _, err := l.Request(ctx, "a"); return err },
		"Requests":       func() error { _, err := l.Requests(ctx, f.Project); return err },
		"OpenRequests":   func() error { _, err := l.OpenRequests(ctx, 10); return err },
		"Events":         func() error { _, err := l.Events(ctx, f.Project, 1); return err },
	} {
		wantErr(t, what, do(), context.Canceled)
	}
	wantStaged(t, l, 1, f)
	wantRequests(t, l, 1, r)
	wantKinds(t, l, 1, publish.EventOpened, publish.EventStaged)
}

// testRecordRivals: signatures of people who sign at once add up.
func testRecordRivals(t *testing.T, l Ledger) {
	genesis(t, l)
	open(t, l, storedRequest(t, 1, "a"))
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			id := key.ID(fmt.Sprint(i))
			err := l.SignRequest(t.Context(), "a", []index.RoleSignature{roleSignature("project.p1", id, "s")}, event(t, 1, publish.EventSigned, 1))
			if err != nil {
				t.Error(err)
			}
			r, err := l.Request(t.Context(), "a")
			if err != nil {
				t.Error(err)
			}
			found := false
			for _, s := range r.Signatures {
				found = found || s.Signature.KeyID == id
			}
			if !found {
				t.Errorf("key %s does not see its own signature", id)
			}
		})
	}
	for n := int64(2); n <= 6; n++ {
		commit(t, l, pub(n))
	}
	wg.Wait()
	if r, err := l.Request(t.Context(), "a"); err != nil || len(r.Signatures) != 8 {
		t.Errorf("%d signatures, %v; want 8", len(r.Signatures), err)
	}
}
