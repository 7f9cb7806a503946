package publish_test

import (
	"errors"
	"fmt"
	"testing"

	"example.com/bailiwick/internal/ledger"
	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/internal/publish/publishtest"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/tuf"
)

// follower is a client that looks at the repository again and again, and never starts afresh.
type follower struct {
	seen map[tuf.RoleName]int64
	view *publish.View
}

// look fails the test if a version went down since the last look.
func (f *follower) look(t testing.TB, p *publish.Publisher) {
	t.Helper()
	v := p.Current()
	if f.view != nil && v.Number() < f.view.Number() {
		t.Errorf("publication %d came after %d", v.Number(), f.view.Number())
	}
	if f.view != nil && v.Time().Before(f.view.Time()) {
		t.Errorf("publication time %v came after %v", v.Time(), f.view.Time())
	}
	f.view = v
	if f.seen == nil {
		f.seen = make(map[tuf.RoleName]int64)
	}
	for role, meta := range v.Set().Snapshot().All() {
		if meta.Version < f.seen[role] {
			t.Errorf("%s went from version %d to %d", role, f.seen[role], meta.Version)
		}
		f.seen[role] = meta.Version
	}
}

// TestFaults breaks each step of a publication in each way, and recovers in each way.
func TestFaults(t *testing.T) {
	for _, method := range []string{"Head", "Roles", "Metadata", "File", "Commit", "Prune", "Recoveries"} {
		for _, o := range []outcome{nothingDone, doneButFailed} {
			for _, reopen := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/%d/reopen=%v", method, o, reopen), func(t *testing.T) {
					testFault(t, method, o, reopen)
				})
			}
		}
	}
}

func testFault(t *testing.T, method string, o outcome, reopen bool) {
	l := newFaulty(ledger.NewMemory())
	keys := publishtest.Create(t, l, publishtest.Options{})
	config := publish.Config{Ledger: l, Signers: keys.Online()}
	p := publishtest.Run(t, config)
	var client follower
	must(t, p, add(t, "flask-1-py3-none-any.whl", "a"))
	client.look(t, p)

	l.set(method, o)
	changes := []publish.Change{
		add(t, "flask-2-py3-none-any.whl", "a"),
		add(t, "new-1-py3-none-any.whl", "a"),
		publish.Delete{Project: project(t, "flask"), Files: []pypi.Filename{add(t, "flask-1-py3-none-any.whl", "").File.Filename}},
	}
	succeeded := make([]bool, len(changes))
	for i, c := range changes {
		_, err := p.Publish(t.Context(), c)
		succeeded[i] = err == nil
		if err != nil && !errors.Is(err, errInjected) {
			t.Errorf("change %d: %v, want the ledger's error", i, err)
		}
		client.look(t, p)
	}
	// What an answer promised is in the ledger now, whatever is broken, and what was refused is not
	// half there.
	l.clear()
	check(t, l)
	if reopen {
		p = publishtest.Run(t, config)
		client.look(t, p)
	}
	want := []string{"flask-1-py3-none-any.whl"}
	if succeeded[2] {
		want = nil
	}
	if succeeded[0] {
		want = append(want, "flask-2-py3-none-any.whl")
	}
	wantNames(t, p, "flask", want...)

	for i, c := range changes[:2] {
		r, err := p.Publish(t.Context(), c)
		if err != nil {
			t.Errorf("change %d again: %v", i, err)
		}
		if r.Unchanged != succeeded[i] {
			t.Errorf("change %d again: unchanged is %v, and the first time it had succeeded: %v", i, r.Unchanged, succeeded[i])
		}
	}
	if _, err := p.Publish(t.Context(), changes[2]); succeeded[2] != errors.Is(err, publish.ErrNoFile) {
		t.Errorf("deleting again: %v; the first time it had succeeded: %v", err, succeeded[2])
	}
	wantNames(t, p, "flask", "flask-2-py3-none-any.whl")
	wantNames(t, p, "new", "new-1-py3-none-any.whl")
	client.look(t, p)
	check(t, l)
	if head, err := l.Head(t.Context()); err != nil || head.Number != p.Current().Number() {
		t.Errorf("the ledger is at %+v, %v and the publisher at %d", head, err, p.Current().Number())
	}
}

// TestOtherBytesAfterAFailedCommit: what was staged, verified and then not committed must not be
// taken for what is published next under the same version number.
func TestOtherBytesAfterAFailedCommit(t *testing.T) {
	p, l, _ := start(t)
	for _, base := range []string{"", "flask-1-py3-none-any.whl"} {
		if base != "" {
			must(t, p, add(t, base, "x"))
		}
		l.set("Commit", nothingDone)
		if _, err := p.Publish(t.Context(), add(t, "flask-2-py3-none-any.whl", "first")); !errors.Is(err, errInjected) {
			t.Fatalf("%v, want the injected error", err)
		}
		l.clear()
	}
	second := add(t, "flask-2-py3-none-any.whl", "second")
	must(t, p, second)
	v := p.Current()
	found, err := v.Find(t.Context(), v.Layout().Path(second.File.Project, second.File.Filename))
	if err != nil {
		t.Fatal(err)
	}
	if sum, _ := found.Target.Hashes.SHA256(); sum != second.File.SHA256 {
		t.Error("the file that was never published is found in place of the one that was")
	}
	check(t, l)
}

// TestUnknownOutcome: the answer to a commit gets lost, and so does every question about it.
func TestUnknownOutcome(t *testing.T) {
	p, l, _ := start(t)
	must(t, p, add(t, "flask-1-py3-none-any.whl", "a")) // so that nothing has to be read to publish
	l.mu.Lock()
	l.fail = map[string]outcome{"Commit": doneButFailed, "Metadata": nothingDone, "Head": nothingDone}
	l.mu.Unlock()
	c := add(t, wheel, "a")
	if _, err := p.Publish(t.Context(), c); !errors.Is(err, errInjected) {
		t.Fatalf("%v, want the injected error", err)
	}
	if _, err := p.Publish(t.Context(), c); !errors.Is(err, errInjected) {
		t.Fatalf("while the ledger can not be read: %v, want the injected error", err)
	}
	l.clear()
	if r := must(t, p, c); !r.Unchanged {
		t.Errorf("%+v; it was committed the first time", r)
	}
	wantNames(t, p, "flask", "flask-1-py3-none-any.whl", wheel)
	check(t, l)
}

func TestTwoPublishers(t *testing.T) {
	l := ledger.NewMemory()
	keys := publishtest.Create(t, l, publishtest.Options{})
	config := publish.Config{Ledger: l, Signers: keys.Online()}
	a, b := publishtest.Run(t, config), publishtest.Run(t, config)
	must(t, a, add(t, "flask-1-py3-none-any.whl", "x"))
	// b does not know of publication 2 and makes one of its own.
	if _, err := b.Publish(t.Context(), add(t, "flask-2-py3-none-any.whl", "x")); !errors.Is(err, publish.ErrConflict) {
		t.Errorf("the second publisher: %v, want ErrConflict", err)
	}
	wantNames(t, b, "flask", "flask-1-py3-none-any.whl")
	must(t, b, add(t, "flask-2-py3-none-any.whl", "x"))
	wantNames(t, b, "flask", "flask-1-py3-none-any.whl", "flask-2-py3-none-any.whl")
	check(t, l)
}

// TestLedgerGoesBack: an old copy of the ledger is put in place under a running publisher.
func TestLedgerGoesBack(t *testing.T) {
	old, current := ledger.NewMemory(), ledger.NewMemory()
	keys := publishtest.NewKeys(t)
	genesis := publishtest.Genesis(t, keys, publishtest.Options{})
	for _, l := range []publish.Ledger{old, current} {
		if err := publish.Create(t.Context(), l, publishtest.Start(), genesis); err != nil {
			t.Fatal(err)
		}
	}
	l := newFaulty(current)
	p := publishtest.Run(t, publish.Config{Ledger: l, Signers: keys.Online()})
	must(t, p, add(t, "flask-1-py3-none-any.whl", "x"))
	l.use(old)
	for range 2 {
		if _, err := p.Publish(t.Context(), add(t, "flask-2-py3-none-any.whl", "x")); err == nil {
			t.Error("published on a ledger that went back")
		}
	}
	wantNames(t, p, "flask", "flask-1-py3-none-any.whl")
	if head, err := old.Head(t.Context()); err != nil || head.Number != 1 {
		t.Errorf("the old ledger is at %+v, %v; want it untouched", head, err)
	}
	l.use(current)
	must(t, p, add(t, "flask-2-py3-none-any.whl", "x"))
	check(t, current)
}
