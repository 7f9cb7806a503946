package ledgertest

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	"example.com/bailiwick/internal/index"
	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/internal/record"
	"example.com/bailiwick/tuf/key"
)

func operatorRequest(id string) index.OperatorRequest {
	return index.OperatorRequest{
		ID: id, Kind: "sitting", Body: []byte("body of " + id + "\x00"), Summary: []byte("summary"), Token: "token-1",
		Created: at(1), Expires: at(100),
	}
}

func addOperatorRequest(t testing.TB, l Ledger, r index.OperatorRequest) bool {
	t.Helper()
	added, err := l.AddOperatorRequest(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return added
}

// wantOperatorRequests checks what lists and single reads say of requests, oldest first.
func wantOperatorRequests(t testing.TB, l Ledger, states []index.RequestState, want ...index.OperatorRequest) {
	t.Helper()
	got, err := l.OperatorRequests(t.Context(), 100, states...)
	if err != nil {
		t.Fatal(err)
	}
	var listed []index.OperatorRequest
	for _, r := range want {
		one, err := l.OperatorRequest(t.Context(), r.ID)
		if err != nil {
			t.Fatal(err)
		}
		same(t, "request "+r.ID, one, r)
		r.Body = nil
		listed = append(listed, r)
	}
	same(t, fmt.Sprintf("requests in states %v", states), got, listed)
}

func testOperatorRequests(t *testing.T, l Ledger) {
	ctx := t.Context()
	_, err := l.OperatorRequest(ctx, "b")
	wantErr(t, "a request that never was", err, index.ErrNoRequest)
	b, a := operatorRequest("b"), operatorRequest("a")
	b.Body = bytes.Repeat([]byte("0123456789abcdef"), 200_000) // more than one piece
	a.Expires = at(50)
	for _, r := range []index.OperatorRequest{b, a} {
		if !addOperatorRequest(t, l, r) {
			t.Errorf("request %s was there already", r.ID)
		}
	}
	changed := b
	changed.Body = []byte("another")
	if addOperatorRequest(t, l, changed) {
		t.Error("a request was replaced")
	}
	b.State, a.State = index.RequestOpen, index.RequestOpen
	wantOperatorRequests(t, l, nil, b, a)
	wantOperatorRequests(t, l, []index.RequestState{index.RequestOpen}, b, a)
	wantOperatorRequests(t, l, []index.RequestState{index.RequestAborted, index.RequestPublished})
	if got, err := l.OperatorRequests(ctx, 1); err != nil || len(got) != 1 || got[0].ID != "a" {
		t.Errorf("the newest is %v, %v; want a", got, err)
	}
	if got, err := l.OperatorRequests(ctx, 10, "nonsense"); err != nil || len(got) != 0 {
		t.Errorf("in no state there are %v, %v", got, err)
	}

	sign := func(id string, summary []byte, s ...index.RoleSignature) error {
		return l.SignOperatorRequest(ctx, id, s, summary)
	}
	if err := sign("b", nil, roleSignature("claimed-1", "two", "x"), roleSignature("claimed-0", "two", "y"), roleSignature("claimed-0", "one", "z")); err != nil {
		t.Fatal(err)
	}
	if err := sign("b", []byte("another"), roleSignature("claimed-1", "two", "better")); err != nil {
		t.Fatal(err)
	}
	b.Signatures = []index.RoleSignature{roleSignature("claimed-0", "one", "z"), roleSignature("claimed-0", "two", "y"), roleSignature("claimed-1", "two", "better")}
	b.Summary = []byte("another")
	wantOperatorRequests(t, l, nil, b, a)

	if err := l.AbortOperatorRequest(ctx, "b", at(7)); err != nil {
		t.Fatal(err)
	}
	b.State, b.Closed, b.Body, b.Signatures = index.RequestAborted, at(7), nil, nil
	wantOperatorRequests(t, l, nil, b, a)
	wantErr(t, "aborting again", l.AbortOperatorRequest(ctx, "b", at(8)), index.ErrRequestClosed)
	wantErr(t, "signing what is aborted", sign("b", nil, roleSignature("claimed-0", "one", "z")), index.ErrRequestClosed)
	wantErr(t, "aborting nothing", l.AbortOperatorRequest(ctx, "none", at(8)), index.ErrNoRequest)
	wantErr(t, "signing nothing", sign("none", nil), index.ErrNoRequest)

	if n, err := l.ExpireOperatorRequests(ctx, at(50)); n != 1 || err != nil {
		t.Errorf("%d requests expired, %v; want the one whose time has come", n, err)
	}
	a.State, a.Closed, a.Body = index.RequestExpired, at(50), nil
	wantOperatorRequests(t, l, []index.RequestState{index.RequestExpired, index.RequestAborted}, b, a)

	again := operatorRequest("b")
	if !addOperatorRequest(t, l, again) {
		t.Error("an aborted request can not be opened again")
	}
	again.State = index.RequestOpen
	wantOperatorRequests(t, l, nil, a, again)
}

// testOperatorExecuted: a publication marks what it executes, in the same transaction.
func testOperatorExecuted(t *testing.T, l Ledger) {
	genesis(t, l)
	done, other := operatorRequest("done"), operatorRequest("other")
	addOperatorRequest(t, l, done)
	addOperatorRequest(t, l, other)
	done.State, other.State = index.RequestOpen, index.RequestOpen
	p := pub(7)
	p.Executed = []string{"done", "never was"}
	wantErr(t, "a publication that conflicts", l.Commit(t.Context(), p), publish.ErrConflict)
	wantOperatorRequests(t, l, nil, done, other)
	p = pub(2)
	p.Executed = []string{"done", "never was"}
	commit(t, l, p)
	done.State, done.Publication, done.Closed, done.Body = index.RequestPublished, 2, at(2), nil
	wantOperatorRequests(t, l, nil, done, other)
	if addOperatorRequest(t, l, operatorRequest("done")) {
		t.Error("a published request was opened again")
	}
	wantErr(t, "signing what is published", l.SignOperatorRequest(t.Context(), "done", nil, nil), index.ErrRequestClosed)
	if n, err := l.ExpireOperatorRequests(t.Context(), at(1000)); n != 1 || err != nil {
		t.Errorf("%d expired, %v; want the open one", n, err)
	}
}

// entry makes an entry of the record.
func entry(number, publication int64, kind record.Kind) publish.RecordEntry {
	e := publish.RecordEntry{
		Number: number, Publication: publication, Time: at(publication), Kind: kind, Role: projectRole(1), Text: "two words, é",
		Old: record.Keys{IDs: []key.ID{"one"}, Threshold: 1}, New: record.Keys{IDs: []key.ID{"two", "three"}, Threshold: 2},
	}
	if kind == record.RecoveryAnnounced {
		e.NotBefore = at(publication + 1000)
	}
	return e
}

func wantRecord(t testing.TB, l Ledger, want ...publish.RecordEntry) {
	t.Helper()
	var head record.Head
	var err error
	for i := range want {
		if head, err = head.Append(&want[i]); err != nil {
			t.Fatal(err)
		}
	}
	h, err := l.Head(t.Context())
	if err != nil || h.Record != head {
		t.Errorf("the head of the record is %+v, %v; want %+v", h.Record, err, head)
	}
	for from := range int64(len(want) + 2) {
		for _, limit := range []int{0, 1, 100} {
			got, err := l.Record(t.Context(), from, limit)
			if err != nil {
				t.Fatal(err)
			}
			part := want[min(max(from-1, 0), int64(len(want))):]
			part = part[:min(limit, len(part))]
			if len(got) == 0 && len(part) == 0 {
				continue
			}
			same(t, fmt.Sprintf("the record from %d, at most %d", from, limit), got, part)
		}
	}
}

func testRecord(t *testing.T, l Ledger) {
	genesis(t, l)
	wantRecord(t, l)
	p := pub(2)
	e1, e2, e3 := entry(1, 2, record.Claimed), entry(2, 2, record.RecoveryAnnounced), entry(3, 3, record.Root)
	e3.Old, e3.New, e3.Text = record.Keys{}, record.Keys{}, ""
	p.Record = []publish.RecordEntry{e1, e2}
	commit(t, l, p)
	wantRecord(t, l, e1, e2)
	for what, record := range map[string][]publish.RecordEntry{
		"an entry again":     {entry(2, 3, record.Claimed)},
		"a gap":              {entry(4, 3, record.Claimed)},
		"a gap after a good": {entry(3, 3, record.Claimed), entry(5, 3, record.Claimed)},
	} {
		p := pub(3)
		p.Record = record
		unchanged(t, l, func() { wantErr(t, what, l.Commit(t.Context(), p), publish.ErrConflict) })
	}
	for what, bad := range map[string]publish.RecordEntry{
		"an entry of a later publication": entry(3, 4, record.Claimed),
		"an unknown kind":                 entry(3, 3, "nonsense"),
		"no role":                         {Number: 3, Publication: 3, Time: at(3), Kind: record.Claimed},
	} {
		p := pub(3)
		p.Record = []publish.RecordEntry{bad}
		unchanged(t, l, func() {
			if err := l.Commit(t.Context(), p); err == nil {
				t.Errorf("%s was taken", what)
			}
		})
	}
	wantRecord(t, l, e1, e2)
	p = pub(3)
	p.Record = []publish.RecordEntry{e3}
	commit(t, l, p)
	commit(t, l, pub(4))
	p.Record[0].Text = "changed"
	got, err := l.Record(t.Context(), 1, 100)
	if err != nil {
		t.Fatal(err)
	}
	got[0].New.IDs[0] = "spoiled"
	wantRecord(t, l, e1, e2, e3)
}

func publicKeys(t testing.TB, n int) []*key.Public {
	t.Helper()
	var out []*key.Public
	for range n {
		_, s, err := key.GenerateEd25519()
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, s.Public())
	}
	return out
}

func recovery(t testing.TB, i int, number int64) publish.Recovery {
	t.Helper()
	return publish.Recovery{
		Project: mustProject(t, fmt.Sprintf("p%d", i)), Entry: number, Announced: at(2), NotBefore: at(1002),
		Keys: publicKeys(t, 2), Threshold: 2, Text: "lost in a fire, é", Token: "token-1",
	}
}

func wantRecoveries(t testing.TB, l Ledger, want ...publish.Recovery) {
	t.Helper()
	got, err := l.Recoveries(t.Context())
	if err != nil || len(got) != len(want) {
		t.Fatalf("%d recoveries wait, %v; want %d", len(got), err, len(want))
	}
	for i := range got {
		for j, k := range got[i].Keys {
			if k.ID() != want[i].Keys[j].ID() {
				t.Errorf("key %d of the recovery of %s is another one", j, got[i].Project)
			}
		}
		g, w := got[i], want[i]
		g.Keys, w.Keys = nil, nil
		same(t, "recovery of "+w.Project.String(), g, w)
	}
}

func testRecoveries(t *testing.T, l Ledger) {
	genesis(t, l)
	wantRecoveries(t, l)
	one, two := recovery(t, 1, 1), recovery(t, 2, 2)
	p := pub(2)
	p.Record = []publish.RecordEntry{entry(1, 2, record.RecoveryAnnounced), entry(2, 2, record.RecoveryAnnounced)}
	p.Recoveries = []publish.Recovery{one, two}
	commit(t, l, p)
	wantRecoveries(t, l, one, two)

	again := recovery(t, 1, 3)
	p = pub(3)
	p.Record = []publish.RecordEntry{entry(3, 3, record.RecoveryAnnounced)}
	p.Recoveries = []publish.Recovery{again}
	unchanged(t, l, func() {
		wantErr(t, "a second recovery of a project", l.Commit(t.Context(), p), publish.ErrConflict)
		over := again
		over.Outcome, over.Closed = record.Recovered, 3
		p.Recoveries = []publish.Recovery{over}
		wantErr(t, "the end of what does not wait", l.Commit(t.Context(), p), publish.ErrConflict)
		over.Outcome = "nonsense"
		p.Recoveries = []publish.Recovery{over}
		if err := l.Commit(t.Context(), p); err == nil {
			t.Error("a recovery ended as nonsense")
		}
		p.Recoveries = []publish.Recovery{{Project: again.Project, Entry: 3}}
		if err := l.Commit(t.Context(), p); err == nil {
			t.Error("a recovery without keys was taken")
		}
	})
	wantRecoveries(t, l, one, two)

	one.Outcome, one.Closed = record.RecoveryCancelled, 3
	p.Recoveries = []publish.Recovery{one}
	commit(t, l, p)
	wantRecoveries(t, l, two)
	p = pub(4)
	two.Outcome, two.Closed = record.Recovered, 4
	again.Entry = 4
	p.Record = []publish.RecordEntry{entry(4, 4, record.RecoveryAnnounced)}
	p.Recoveries = []publish.Recovery{again, two}
	commit(t, l, p)
	wantRecoveries(t, l, again)
}

func testOperatorNonsense(t *testing.T, l Ledger) {
	ctx := t.Context()
	for what, spoil := range map[string]func(r *index.OperatorRequest){
		"no name": func(r *index.OperatorRequest) { r.ID = "" },
		"no kind": func(r *index.OperatorRequest) { r.Kind = "" },
		"no body": func(r *index.OperatorRequest) { r.Body = nil },
	} {
		r := operatorRequest("x")
		spoil(&r)
		if _, err := l.AddOperatorRequest(ctx, r); err == nil {
			t.Errorf("a request with %s was taken", what)
		}
	}
	wantOperatorRequests(t, l, nil)
	if err := l.PutToken(ctx, index.Token{ID: "x", Right: "nonsense"}); err == nil {
		t.Error("a token with an unknown right was taken")
	}
}

func testOperatorsCancelled(t *testing.T, l Ledger) {
	genesis(t, l)
	addOperatorRequest(t, l, operatorRequest("a"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for what, do := range map[string]func() error{
		"AddOperatorRequest":     func() error { _, err := l.AddOperatorRequest(ctx, operatorRequest("b")); return err },
		"OperatorRequest":        func() error { _, err := l.OperatorRequest(ctx, "a"); return err },
		"OperatorRequests":       func() error { _, err := l.OperatorRequests(ctx, 10); return err },
		"SignOperatorRequest":    func() error { return l.SignOperatorRequest(ctx, "a", nil, []byte("x")) },
		"AbortOperatorRequest":   func() error { return l.AbortOperatorRequest(ctx, "a", time.Time{}) },
		"ExpireOperatorRequests": func() error { _, err := l.ExpireOperatorRequests(ctx, at(1000)); return err },
		"Record":                 func() error { _, err := l.Record(ctx, 1, 1); return err },
		"Recoveries":             func() error { _, err := l.Recoveries(ctx); return err },
	} {
		wantErr(t, what, do(), context.Canceled)
	}
	a := operatorRequest("a")
	a.State = index.RequestOpen
	wantOperatorRequests(t, l, nil, a)
}

func testTokenRights(t *testing.T, l Ledger) {
	for i, right := range []index.Right{index.RightUpload, index.RightOperator, index.RightSigner} {
		token := index.Token{ID: fmt.Sprint(i), Hash: [32]byte{byte(i)}, Right: right, Created: at(int64(i))}
		put(t, l, token)
		wantToken(t, l, token)
	}
	all, err := l.Tokens(t.Context())
	if err != nil || len(all) != 3 || all[1].Right != index.RightOperator {
		t.Errorf("tokens are %+v, %v", all, err)
	}
}
