package ledgertest

import (
	"bytes"
	"testing"

	"example.com/bailiwick/internal/index"
	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/tuf"
)

func testProposal(t *testing.T, l Ledger) {
	none := func() {
		t.Helper()
		_, err := l.Proposal(t.Context())
		wantErr(t, "Proposal", err, publish.ErrNotFound)
	}
	put := func(number int64, size int) publish.StoredProposal {
		t.Helper()
		p := publish.StoredProposal{Number: number, Proposal: bytes.Repeat([]byte{1, 2, 3}, size), Publication: bytes.Repeat([]byte{4}, size)}
		if err := l.PutProposal(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		return p
	}
	want := func(p publish.StoredProposal) {
		t.Helper()
		got, err := l.Proposal(t.Context())
		if err != nil || got.Number != p.Number || !bytes.Equal(got.Proposal, p.Proposal) || !bytes.Equal(got.Publication, p.Publication) {
			t.Errorf("the proposal is number %d of %d and %d bytes, %v; want number %d of %d and %d",
				got.Number, len(got.Proposal), len(got.Publication), err, p.Number, len(p.Proposal), len(p.Publication))
		}
	}
	genesis(t, l)
	none()
	want(put(2, 10))
	last := put(2, 1<<20) // in several pieces, in the place of the one before
	want(last)
	commit(t, l, onlyTimestamp(2))
	want(last) // a timestamp executes nothing
	commit(t, l, pub(3))
	none() // the snapshot does
	put(9, 1)
	if err := l.DropProposal(t.Context()); err != nil {
		t.Error(err)
	}
	none()
	last = put(5, 1)
	p := pub(4)
	commit(t, l, p)
	if snapshotVersion(p) < 5 {
		want(last) // it is about a later snapshot
	}
	for _, bad := range []publish.StoredProposal{{}, {Number: 1}, {Number: 1, Proposal: []byte{1}}, {Proposal: []byte{1}, Publication: []byte{1}}} {
		if err := l.PutProposal(t.Context(), bad); err == nil {
			t.Errorf("%+v was taken", bad)
		}
	}
}

// onlyTimestamp is a publication that renews the timestamp and nothing else.
func onlyTimestamp(n int64) *publish.Publication {
	p := pub(n)
	for _, m := range p.Metadata {
		if m.Role == tuf.RoleTimestamp {
			p.Metadata = []publish.Metadata{m}
			return p
		}
	}
	return p
}

func snapshotVersion(p *publish.Publication) int64 {
	for _, m := range p.Metadata {
		if m.Role == tuf.RoleSnapshot {
			return m.Version
		}
	}
	return 0
}

func testWaiting(t *testing.T, l Ledger) {
	p1, err := pypi.ParseProject("p1")
	if err != nil {
		t.Fatal(err)
	}
	e := publish.Event{Project: p1, Kind: publish.EventWaiting, Time: at(1), Token: "t", Text: "waits"}
	change := func(name string, body string) index.WaitingChange {
		return index.WaitingChange{Name: name, Project: p1, Body: []byte(body), Token: "t", Received: at(1)}
	}
	add := func(w index.WaitingChange, want bool) {
		t.Helper()
		if added, err := l.AddWaiting(t.Context(), w, e); added != want || err != nil {
			t.Errorf("AddWaiting of %s = %t, %v; want %t", w.Name, added, err, want)
		}
	}
	want := func(after int64, limit int, names ...string) []index.WaitingChange {
		t.Helper()
		got, err := l.Waiting(t.Context(), after, limit)
		if err != nil {
			t.Fatal(err)
		}
		var have []string
		for _, w := range got {
			have = append(have, w.Name+"="+string(w.Body))
		}
		same(t, "what waits", have, names)
		return got
	}
	count := func(want int) {
		t.Helper()
		if n, err := l.CountWaiting(t.Context()); n != want || err != nil {
			t.Errorf("CountWaiting = %d, %v; want %d", n, err, want)
		}
	}
	want(0, 10)
	count(0)
	add(change("a", "1"), true)
	add(change("b", "2"), true)
	add(change("a", "3"), false) // the first of a name waits
	add(change("c", "4"), true)
	all := want(0, 10, "a=1", "b=2", "c=4")
	want(0, 2, "a=1", "b=2")
	want(all[0].ID, 10, "b=2", "c=4")
	count(3)
	one, err := l.WaitingNamed(t.Context(), "b")
	same(t, "the one named b", one, all[1])
	if err != nil || one.Project != p1 || one.Token != "t" || !one.Received.Equal(at(1)) {
		t.Errorf("WaitingNamed = %+v, %v", one, err)
	}
	_, err = l.WaitingNamed(t.Context(), "ghost")
	wantErr(t, "WaitingNamed of nothing", err, index.ErrNotWaiting)

	refused := publish.Event{Project: p1, Kind: publish.EventUnstaged, Time: at(2), Text: "refused"}
	for range 2 { // the second finds nothing, and records nothing
		if err := l.RemoveWaiting(t.Context(), all[1].ID, refused); err != nil {
			t.Error(err)
		}
	}
	want(0, 10, "a=1", "c=4")
	add(change("b", "5"), true)
	if again := want(0, 10, "a=1", "c=4", "b=5"); len(again) == 3 && again[2].ID <= all[2].ID {
		t.Errorf("the ID %d was used before", again[2].ID)
	}
	events, err := l.Events(t.Context(), p1, 10)
	if err != nil || len(events) != 5 || events[1].Text != "refused" {
		t.Errorf("the events are %+v, %v", events, err)
	}
	for _, bad := range []index.WaitingChange{{}, {Name: "x", Project: p1}, {Name: "x", Body: []byte("1")}, {Project: p1, Body: []byte("1")}} {
		if _, err := l.AddWaiting(t.Context(), bad, e); err == nil {
			t.Errorf("%+v was taken", bad)
		}
	}
}
