package ledgertest

import (
	"testing"

	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/tuf"
)

func prune(t testing.TB, l publish.Ledger, roles, pinners int64, limit, want int) {
	t.Helper()
	n, err := l.Prune(t.Context(), at(roles), at(pinners), limit)
	if n != want || err != nil {
		t.Errorf("Prune(%d, %d, max %d) = %d, %v; want %d", roles, pinners, limit, n, err, want)
	}
}

func testPruneKeeps(t *testing.T, l Ledger) {
	genesis(t, l)
	for n := int64(2); n <= 5; n++ {
		commit(t, l, pub(n, tuf.RoleRoot, projectRole(2)))
	}
	prune(t, l, 1_000_000, 1_000_000, 1000, 3+4+4) // project 2, snapshot, timestamp
	wantVersions(t, l, tuf.RoleRoot, 1, 2, 3, 4, 5)
	wantVersions(t, l, tuf.RoleTargets, 1)
	wantVersions(t, l, projectRole(1), 1)
	wantVersions(t, l, projectRole(2), 5)
	wantVersions(t, l, tuf.RoleSnapshot, 5)
	wantVersions(t, l, tuf.RoleTimestamp, 5)
	prune(t, l, 1_000_000, 1_000_000, 1000, 0)
	unchanged(t, l, func() { prune(t, l, 1_000_000, 1_000_000, 1000, 0) })
	commit(t, l, pub(6, projectRole(1), projectRole(2)))
	wantVersions(t, l, projectRole(2), 5, 6)
	prune(t, l, 1_000_000, 1_000_000, 1000, 4)
	wantVersions(t, l, projectRole(1), 6)
}

func testPruneCutOffs(t *testing.T, l Ledger) {
	commit(t, l, pub(1, tuf.RoleTargets, projectRole(1)))
	for n := int64(2); n <= 6; n++ {
		commit(t, l, pub(n, projectRole(1)))
	}
	// Version v was superseded at second v+1; "before" does not take in that second itself.
	prune(t, l, 3, 5, 1000, 1+2*3)
	wantVersions(t, l, projectRole(1), 2, 3, 4, 5, 6)
	wantVersions(t, l, tuf.RoleSnapshot, 4, 5, 6)
	wantVersions(t, l, tuf.RoleTimestamp, 4, 5, 6)
	prune(t, l, 5, 3, 1000, 2)
	wantVersions(t, l, projectRole(1), 4, 5, 6)
	wantVersions(t, l, tuf.RoleSnapshot, 4, 5, 6)
	prune(t, l, 0, 0, 1000, 0)
}

func testPruneBounded(t *testing.T, l Ledger) {
	commit(t, l, pub(1, projectRole(1)))
	for n := int64(2); n <= 6; n++ {
		commit(t, l, pub(n, projectRole(1)))
	}
	prune(t, l, 100, 100, 0, 0)
	prune(t, l, 100, 100, -1, 0)
	// Three versions are superseded by each publication, so six calls of five take all of 15, and
	// after each the oldest are gone.
	prune(t, l, 100, 100, 6, 6)
	for _, r := range []tuf.RoleName{projectRole(1), tuf.RoleSnapshot, tuf.RoleTimestamp} {
		wantVersions(t, l, r, 3, 4, 5, 6)
	}
	prune(t, l, 100, 100, 3, 3)
	for _, r := range []tuf.RoleName{projectRole(1), tuf.RoleSnapshot, tuf.RoleTimestamp} {
		wantVersions(t, l, r, 4, 5, 6)
	}
	prune(t, l, 100, 100, 100, 6)
	prune(t, l, 100, 100, 100, 0)
}

// testPruneSuperseded: a version counts from the moment when a newer one came, however old it is
// itself: clients that hold the snapshot before still ask for it.
func testPruneSuperseded(t *testing.T, l Ledger) {
	commit(t, l, pub(1, projectRole(1)))
	for n := int64(2); n <= 9; n++ {
		commit(t, l, pub(n))
	}
	commit(t, l, pub(10, projectRole(1)))
	prune(t, l, 9, 0, 100, 0)
	wantVersions(t, l, projectRole(1), 1, 10)
	prune(t, l, 10, 0, 100, 0)
	prune(t, l, 11, 0, 100, 1)
	wantVersions(t, l, projectRole(1), 10)
}
