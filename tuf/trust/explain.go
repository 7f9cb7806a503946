package trust

import (
	"errors"
	"time"

	"example.com/bailiwick/tuf"
)

// Explanation tells how a search for a path went: every role that was
// considered, in order, and how it ended.
type Explanation struct {
	Path  tuf.TargetPath // what was searched for
	Steps []Step         // in the order in which roles were considered; the first is the top-level targets role
	Found *Found         // nil if Err is not
	Err   error          // as Find returns it
}

// Outcome says what became of a role in a search.
type Outcome string

// What becomes of a role in a search.
const (
	Listed    Outcome = "listed"             // it lists the path: the search ends
	NotListed Outcome = "not listed"         // it does not; its matching delegations come next
	Revisited Outcome = "already considered" // reached a second time: skipped
	Refused   Outcome = "refused"            // it could not be loaded or verified: the search ends
)

// Step is one role that a search considered.
type Step struct {
	Role        tuf.RoleName // who was considered
	Delegator   tuf.RoleName // empty for the top-level targets role
	Version     int64        // 0 if the role was not verified and nothing claimed a version
	Expires     time.Time    // zero if the role was not verified
	Patterns    []string     // what delegated to it
	Terminating bool         // whether that delegation ends the search beyond it
	Outcome     Outcome
	Unmatched   int            // its delegations whose patterns do not match the path
	Dropped     []tuf.RoleName // roles that a terminating delegation of this role kept from being asked
	Err         error          // why it was refused
}

// note records a verified role, if somebody asked.
func (q *search) note(v *visit, o Outcome, path tuf.TargetPath, dropped []pending) {
	if q.trace == nil {
		return
	}
	s := Step{Role: v.role, Version: v.node.targets.Version(), Expires: v.node.targets.Expires(), Outcome: o}
	if v.parent != nil {
		s.Delegator, s.Patterns, s.Terminating = v.parent.role, patterns(v.via), v.via.Terminating()
	}
	if ds := v.node.targets.Delegations(); ds != nil && o == NotListed {
		s.Unmatched = ds.Len()
		ended := false
		for d := range ds.Match(path) {
			s.Unmatched--
			if ended {
				s.Dropped = append(s.Dropped, d.Name())
			}
			ended = ended || d.Terminating()
		}
	}
	for i := len(dropped) - 1; i >= 0; i-- {
		s.Dropped = append(s.Dropped, dropped[i].via.Name())
	}
	q.trace.Steps = append(q.trace.Steps, s)
}

// noteEdge records a role that was not verified in this place.
func (q *search) noteEdge(p pending, o Outcome, err error) {
	if q.trace == nil {
		return
	}
	s := Step{
		Role: p.via.Name(), Delegator: p.parent.role, Patterns: patterns(p.via),
		Terminating: p.via.Terminating(), Outcome: o, Err: err,
	}
	var refused *RefusedError
	if errors.As(err, &refused) {
		s.Version = refused.Version
	}
	q.trace.Steps = append(q.trace.Steps, s)
}

func patterns(d tuf.Delegation) []string {
	if p := d.Paths(); len(p) > 0 {
		return p
	}
	return d.HashPrefixes()
}
