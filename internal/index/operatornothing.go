package index

import (
	"sync"
	"time"

	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/internal/sitting"
	"example.com/bailiwick/tuf"
)

// NothingToDo says why there is no sitting to hold, and when there will be one.
type NothingToDo struct {
	Waiting int       // recently claimed projects whose claim is not old enough
	First   time.Time // when the first of them is; zero if none waits, or no bin says since when
	Due     time.Time // from when on a sitting renews something
}

// youngClaims collects the recently claimed projects that a plan leaves out. Plans ask from several goroutines.
type youngClaims struct {
	before time.Time // claims from then or earlier are old enough

	mu      sync.Mutex // guards what follows
	waiting int
	oldest  time.Time
}

// oldEnough decides whether a project is promoted. One whose bin does not say since when it is claimed is not.
func (y *youngClaims) oldEnough(_ pypi.Project, since time.Time, _ tuf.Authority) bool {
	if !since.IsZero() && !since.After(y.before) {
		return true
	}
	y.mu.Lock()
	defer y.mu.Unlock()
	y.waiting++
	if !since.IsZero() && (y.oldest.IsZero() || since.Before(y.oldest)) {
		y.oldest = since
	}
	return false
}

// nothing tells of what was left out.
func (y *youngClaims) nothing(minAge time.Duration, due time.Time) *NothingToDo {
	y.mu.Lock()
	defer y.mu.Unlock()
	n := &NothingToDo{Waiting: y.waiting, Due: due}
	if !y.oldest.IsZero() {
		n.First = y.oldest.Add(minAge)
	}
	return n
}

// needless reports whether a sitting only signs claimed, which every sitting does, although that is not due.
func needless(r *sitting.Request, due bool) bool {
	return !due && len(r.Payloads) == 1 && r.Payloads[0].Role == policy.RoleClaimed
}

// renewedFrom returns from when on a sitting renews any of the roles that sittings are about.
func (x *Index) renewedFrom(roles []publish.Role) time.Time {
	lives := x.publisher.Lifetimes()
	var first time.Time
	for _, r := range roles {
		switch policy.KindOf(r.Name) { //nolint:exhaustive // the others are not of a sitting
		case policy.KindClaimed, policy.KindClaimedBin, policy.KindUnclaimed:
			if from := sitting.RenewedFrom(r.Expires, lives.Of(r.Name)); first.IsZero() || from.Before(first) {
				first = from
			}
		}
	}
	return first
}
