package ledgertest

import (
	"fmt"
	"sync"
	"testing"

	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/tuf"
)

func testRivals(t *testing.T, l Ledger) {
	genesis(t, l)
	for number := int64(2); number < 12; number++ {
		errs := make([]error, 8)
		var wg sync.WaitGroup
		for i := range errs {
			p := pub(number, projectRole(i))
			wg.Go(func() { errs[i] = l.Commit(t.Context(), p) })
		}
		wg.Wait()
		won := 0
		for i, err := range errs {
			if err == nil {
				won++
				wantMetadata(t, l, meta(projectRole(i), number))
				continue
			}
			wantErr(t, "a losing rival", err, publish.ErrConflict)
			wantNoMetadata(t, l, projectRole(i), number)
		}
		if won != 1 {
			t.Fatalf("%d rivals committed publication %d, want 1", won, number)
		}
	}
}

// testReaders commits publications in which every role rises to the same version, so that a reader
// who sees two versions at once has seen half a publication.
func testReaders(t *testing.T, l Ledger) {
	roles := []tuf.RoleName{tuf.RoleRoot, tuf.RoleTargets, projectRole(1), projectRole(2)}
	commit(t, l, pub(1, roles...))
	done := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				readWhole(t, l)
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	for n := int64(2); n <= 60; n++ {
		p := pub(n, roles...)
		p.Files = []publish.File{file(t, 1, fmt.Sprintf("p1-%d.0.tar.gz", n))}
		commit(t, l, p)
	}
	close(done)
	wg.Wait()
}

func readWhole(t *testing.T, l Ledger) {
	head, err := l.Head(t.Context())
	if err != nil {
		t.Error(err)
		return
	}
	if head.Root != head.Number || head.Snapshot != head.Number || !head.Time.Equal(at(head.Number)) {
		t.Errorf("head %+v mixes publications", head)
	}
	all, err := l.Roles(t.Context())
	if err != nil {
		t.Error(err)
		return
	}
	for _, r := range all {
		if r.Version != all[0].Version || r.Version < head.Number {
			t.Errorf("roles mix versions %d and %d after head %d", all[0].Version, r.Version, head.Number)
		}
	}
	m, err := l.Metadata(t.Context(), projectRole(2), 0)
	if err != nil || m.Version < all[0].Version {
		t.Errorf("newest version %d after %d was seen, %v", m.Version, all[0].Version, err)
	}
	if head.Number > 1 {
		if _, err := l.File(t.Context(), file(t, 1, fmt.Sprintf("p1-%d.0.tar.gz", head.Number)).Filename); err != nil {
			t.Error(err)
		}
	}
}
