package publish

import (
	"cmp"
	"container/heap"
	"slices"
	"time"

	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/tuf"
)

// roleBook knows the newest version of every role, and which of those that the registry key signs
// expires first. A role keeps one version counter for life, whoever delegates it, so the book is
// filled from the ledger and not from a snapshot. It belongs to the publisher's goroutine.
type roleBook struct {
	roles map[tuf.RoleName]*bookEntry
	queue expiryQueue
}

type bookEntry struct {
	Role
	at int // place in the queue; -1: not ours to renew
}

func newRoleBook(roles []Role) *roleBook {
	b := &roleBook{roles: make(map[tuf.RoleName]*bookEntry, len(roles))}
	for _, r := range roles {
		e := &bookEntry{Role: r, at: -1}
		b.roles[r.Name] = e
		if registrySigned(r.Name) && !r.Maintained {
			e.at = len(b.queue)
			b.queue = append(b.queue, e)
		}
	}
	heap.Init(&b.queue)
	return b
}

// registrySigned reports whether the registry key signs a role as long as nobody has claimed it.
func registrySigned(role tuf.RoleName) bool {
	by, ok := policy.SignedBy(role)
	return ok && by == policy.KeyRegistry
}

// version returns the newest version of a role, 0 if there never was one.
func (b *roleBook) version(role tuf.RoleName) int64 {
	if e := b.roles[role]; e != nil {
		return e.Version
	}
	return 0
}

// set records a new version. One that maintainers signed is not ours to renew from then on.
func (b *roleBook) set(r Role) {
	if r.Maintained {
		b.retire(r.Name)
	}
	e := b.roles[r.Name]
	switch {
	case e == nil:
		e = &bookEntry{Role: r, at: -1}
		b.roles[r.Name] = e
		if registrySigned(r.Name) && !r.Maintained {
			heap.Push(&b.queue, e)
		}
	case e.at >= 0:
		e.Role = r
		heap.Fix(&b.queue, e.at)
	default:
		e.Role = r
	}
}

// retire takes a role out of the queue because its maintainers renew it, not the registry.
func (b *roleBook) retire(role tuf.RoleName) {
	if e := b.roles[role]; e != nil && e.at >= 0 {
		heap.Remove(&b.queue, e.at)
	}
}

// due returns at most n registry-signed roles that should be renewed now, first to expire first.
func (b *roleBook) due(now time.Time, lifetimes policy.Lifetimes, n int) []tuf.RoleName {
	var due []*bookEntry
	for len(due) < n && len(b.queue) > 0 {
		first := b.queue[0]
		if !policy.Due(first.Name, first.Expires, lifetimes.Of(first.Name), now) {
			break
		}
		due = append(due, first)
		heap.Pop(&b.queue)
	}
	names := make([]tuf.RoleName, len(due))
	for i, e := range due {
		names[i] = e.Name
		heap.Push(&b.queue, e)
	}
	return names
}

// expiring returns the roles that people have to sign and that expire before a time, first to
// expire first.
func (b *roleBook) expiring(before time.Time) []Role {
	var out []Role
	for _, e := range b.roles {
		if e.at < 0 && e.Expires.Before(before) && bySomebody(e.Name) {
			out = append(out, e.Role)
		}
	}
	slices.SortFunc(out, func(a, b Role) int {
		return cmp.Or(a.Expires.Compare(b.Expires), cmp.Compare(a.Name, b.Name))
	})
	return out
}

// bySomebody reports whether people sign a role that is not in the queue of the registry.
func bySomebody(role tuf.RoleName) bool {
	by, ok := policy.SignedBy(role)
	return !ok || !by.Online() || by == policy.KeyRegistry // retired: signed by its maintainers
}

// expiryQueue is a heap.Interface, first to expire on top.
type expiryQueue []*bookEntry

func (q expiryQueue) Len() int           { return len(q) }
func (q expiryQueue) Less(i, j int) bool { return q[i].Expires.Before(q[j].Expires) }
func (q expiryQueue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].at, q[j].at = i, j
}

// Push implements heap.Interface.
func (q *expiryQueue) Push(x any) {
	e := x.(*bookEntry) //nolint:forcetypeassert // heap hands back what roleBook gave it
	e.at = len(*q)
	*q = append(*q, e)
}

// Pop implements heap.Interface.
func (q *expiryQueue) Pop() any {
	last := len(*q) - 1
	e := (*q)[last]
	e.at = -1
	(*q)[last] = nil
	*q = (*q)[:last]
	return e
}
