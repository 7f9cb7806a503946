package trust

import (
	"time"

	"example.com/bailiwick/tuf"
)

// Set is a repository as verified at one moment: the four top-level roles that
// belong together, and the way to find targets through delegations. A Set is
// immutable and safe for concurrent use; an update makes a new one.
type Set struct{ state }

// Root returns the root in force.
func (s *Set) Root() *tuf.Root { return s.root }

// Timestamp returns the timestamp in force.
func (s *Set) Timestamp() *tuf.Timestamp { return s.timestamp }

// Snapshot returns the snapshot in force.
func (s *Set) Snapshot() *tuf.Snapshot { return s.snapshot }

// Targets returns the top-level targets role in force.
func (s *Set) Targets() *tuf.Targets { return s.targets.targets }

// Start returns the time against which every expiry is held, in this Set's
// searches, too.
func (s *Set) Start() time.Time { return s.start }

// Expires returns when the first of the four top-level roles expires: from
// then on a new update is due.
func (s *Set) Expires() time.Time {
	first := s.root.Expires()
	for _, t := range []time.Time{s.timestamp.Expires(), s.snapshot.Expires(), s.targets.targets.Expires()} {
		if t.Before(first) {
			first = t
		}
	}
	return first
}

// Next begins the update after this one, at start. Everything verified is
// carried along, so that no Stored call is needed, every rollback check is held
// against this Set, and nothing that did not change is parsed again. The Set
// itself does not change. Any number of successors may be begun.
func (s *Set) Next(start time.Time) *RootStage {
	return (&RootStage{state: s.state}).At(start)
}

// Want names the file of a delegated role as the snapshot lists it. It reports
// false for a role that is not listed: such a role is not usable.
func (s *Set) Want(role tuf.RoleName) (Want, bool) {
	meta, ok := s.snapshot.Lookup(role)
	if !ok {
		return Want{}, false
	}
	return s.want(role, meta, s.limits.Metadata.TargetsBytes), true
}

// Loader obtains the bytes of a delegated role at the version that the snapshot
// lists (Set.Want has the file's name and a limit for its length). It need not
// check anything. Its error ends the search as Unavailable, unless it is a
// *RefusedError, which is passed on. It may be called by several goroutines. Without one
// (nil), delegated roles are Unavailable unless the Cache holds them.
type Loader func(role tuf.RoleName, meta tuf.Meta) ([]byte, error)

// Find searches for a path (5.6.7). It returns what the repository lists, with
// the chain of roles that vouch for it; ErrNotFound, if every role that may
// list the path was verified and none does; or a *RefusedError, if a role on
// the way could not be loaded or verified. Roles of lower priority are not
// asked then: whoever can make a role unreadable must not choose who speaks in
// its place.
func (s *Set) Find(path tuf.TargetPath, load Loader) (*Found, error) {
	return newSearch(s, load).find(path)
}

// List returns all targets directly in dir ("3f/flask"), sorted by path, each
// decided by the same search as Find. It returns ErrNotFound if there are
// none, and a *RefusedError if any role that may list one could not be loaded
// or verified.
func (s *Set) List(dir string, load Loader) ([]*Found, error) {
	return newSearch(s, load).list(dir)
}

// Explain searches like Find, and tells of every role that was considered.
func (s *Set) Explain(path tuf.TargetPath, load Loader) *Explanation {
	q := newSearch(s, load)
	q.trace = &Explanation{Path: path}
	q.trace.Found, q.trace.Err = q.find(path)
	return q.trace
}

// Delegated verifies roles down a chain of names, beginning below the top-level
// targets role, each by the delegation of the one before, and returns the last.
// It is the way to a role for its own sake: to read a bin, or to check a role
// before it is published. Without names it returns the top-level role.
func (s *Set) Delegated(load Loader, chain ...tuf.RoleName) (*tuf.Targets, error) {
	return newSearch(s, load).delegated(chain)
}
