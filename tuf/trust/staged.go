package trust

import (
	"bytes"
	"errors"
	"iter"
	"time"

	"example.com/bailiwick/tuf"
)

// Staged is metadata that a writer made and has not handed out yet: what changes between
// one publication and the next. Hand it to Set.Stage first, or to StageFirst: only what
// these accept can be followed by clients.
type Staged struct {
	Roots     [][]byte // new versions of root, in order; none if root did not change
	Timestamp []byte
	Snapshot  []byte // nil if it did not change
	Targets   []byte // nil if it did not change
	Delegated []StagedRole
}

// StagedRole is a new version of a delegated role. One that several delegations lead to may be
// given once for each of them, to be verified by each.
type StagedRole struct {
	Chain []tuf.RoleName // from the role below the top-level targets role down to this one
	Bytes []byte
}

// Role returns the role's name.
func (r StagedRole) Role() tuf.RoleName {
	if len(r.Chain) == 0 {
		return ""
	}
	return r.Chain[len(r.Chain)-1]
}

// Stage verifies a publication before it is handed out, as a client will that has
// accepted this Set, at a time: by the very same steps, every rollback check included.
// Each staged role is verified through the delegations of its chain. Beyond that it
// refuses what no single client would notice at once:
//
//   - a role that the snapshot lists anew, or at a higher version, and that is not
//     staged: clients would ask for it in vain (Missing);
//   - a staged role at the version that is published already: of one version there is
//     one file, ever (Version).
//
// load gives roles that are not staged, where a chain leads through them. The result is
// the Set of clients that follow.
func (s *Set) Stage(at time.Time, p Staged, load Loader) (*Set, error) {
	return stage(s.Next(at), s.snapshot, p, load)
}

// StageFirst is Stage for the first publication of a repository: the first of p.Roots is
// the anchor that clients are given.
func StageFirst(at time.Time, o Options, p Staged) (*Set, error) {
	if len(p.Roots) == 0 {
		return nil, refuse(Missing, tuf.RoleRoot, 0, "5.2", "a first publication begins with a root")
	}
	r, err := Begin(p.Roots[0], at, o)
	if err != nil {
		return nil, err
	}
	p.Roots = p.Roots[1:]
	return stage(r, nil, p, func(role tuf.RoleName, _ tuf.Meta) ([]byte, error) {
		return nil, refuse(Missing, role, 0, "5.6.1", "it is not staged, and nothing was published before")
	})
}

// StageTop is the part of Stage that is about the top-level roles: Delegated is not looked at. It
// is for writers who verify what is below in a way of their own, such as several roles at a
// time, by Set.Delegated of the result.
func (s *Set) StageTop(at time.Time, p Staged) (*Set, error) { return stageTop(s.Next(at), p) }

func stage(r *RootStage, published *tuf.Snapshot, p Staged, load Loader) (*Set, error) {
	next, err := stageTop(r, p)
	if err != nil {
		return nil, err
	}
	staged := make(map[tuf.RoleName][]byte, len(p.Delegated))
	for _, d := range p.Delegated {
		if other, ok := staged[d.Role()]; ok && !bytes.Equal(other, d.Bytes) {
			return nil, refuse(Version, d.Role(), 0, "6.3", "it is staged twice, with different bytes: of one version there is one file")
		}
		staged[d.Role()] = d.Bytes
	}
	if err := stagedIsListed(next.snapshot, published, p, staged); err != nil {
		return nil, err
	}
	both := func(role tuf.RoleName, meta tuf.Meta) ([]byte, error) {
		if data, ok := staged[role]; ok {
			return data, nil
		}
		return load(role, meta)
	}
	for _, d := range p.Delegated {
		if len(d.Chain) == 0 {
			return nil, refuse(Missing, "", 0, "5.6.7", "a staged role without a chain of delegations to it")
		}
		q := newSearch(next, both)
		q.staged = staged
		if _, err := q.delegated(d.Chain); err != nil {
			return nil, err
		}
	}
	return next, nil
}

// stageTop takes a client's steps through the top-level roles.
func stageTop(r *RootStage, p Staged) (*Set, error) {
	for _, root := range p.Roots {
		if _, err := r.Accept(root); err != nil {
			return nil, err
		}
	}
	timestamps, err := r.Done()
	if err != nil {
		return nil, err
	}
	old := timestamps.timestamp
	snapshots, err := timestamps.Accept(p.Timestamp)
	if err != nil {
		return nil, err
	}
	if old != nil && snapshots.timestamp == old {
		return nil, refuse(Version, tuf.RoleTimestamp, old.Version(), "5.4.3.1", "version %d is published already, so no client would look at this one", old.Version())
	}
	targets, kept := snapshots.Keep()
	switch {
	case p.Snapshot != nil:
		targets, err = snapshots.Accept(p.Snapshot)
	case !kept:
		err = refuse(Missing, tuf.RoleSnapshot, snapshots.Want().Version, "5.5.1", "it is not staged, and the published one is expired or not the one that is listed")
	}
	if err != nil {
		return nil, err
	}
	if p.Targets != nil {
		return targets.Accept(p.Targets)
	}
	set, kept := targets.Keep()
	if !kept {
		return nil, refuse(Missing, tuf.RoleTargets, targets.Want().Version, "5.6.1", "it is not staged, and the published one is expired or not the one that is listed")
	}
	return set, nil
}

// stagedIsListed holds what is staged against what the snapshot says changed.
func stagedIsListed(next, published *tuf.Snapshot, p Staged, staged map[tuf.RoleName][]byte) error {
	isStaged := func(role tuf.RoleName) bool {
		_, ok := staged[role]
		return ok || role == tuf.RoleTargets && p.Targets != nil
	}
	fresh := make(map[tuf.RoleName]bool, len(staged))
	for role := range changedRoles(next, published) {
		fresh[role] = true
		if !isStaged(role) {
			meta, _ := next.Lookup(role)
			return refuse(Missing, role, meta.Version, "6.3", "the snapshot lists it anew, and it is not staged")
		}
	}
	if published != nil && p.Snapshot != nil && next.Version() == published.Version() {
		return publishedAlready(tuf.RoleSnapshot, next.Version())
	}
	for role := range staged {
		meta, ok := next.Lookup(role)
		switch {
		case !ok:
			return refuse(Missing, role, 0, "6.3", "it is staged, and the snapshot does not list it")
		case !fresh[role]:
			return publishedAlready(role, meta.Version)
		}
	}
	if meta, _ := next.Lookup(tuf.RoleTargets); p.Targets != nil && !fresh[tuf.RoleTargets] {
		return publishedAlready(tuf.RoleTargets, meta.Version)
	}
	return nil
}

// publishedAlready refuses what would be a second file of one version.
func publishedAlready(role tuf.RoleName, version int64) error {
	return refuse(Version, role, version, "6.3", "version %d is published already, and of one version there is one file", version)
}

// changedRoles yields the roles whose listed versions changed; all of them if nothing was
// published before.
func changedRoles(next, published *tuf.Snapshot) iter.Seq[tuf.RoleName] {
	return func(yield func(tuf.RoleName) bool) {
		if published == nil {
			for role := range next.All() {
				if !yield(role) {
					return
				}
			}
			return
		}
		for c := range next.Changes(published) {
			if c.New != 0 && !yield(c.Role) {
				return
			}
		}
	}
}

// File is one file to be published.
type File struct {
	Name  string // below the metadata URL, not percent-encoded
	Bytes []byte
}

// Files returns what was staged under the names under which clients will ask for it, in
// the order in which it must appear (6.3): roots first, then what nothing refers to yet,
// the timestamp last. A publication that is cut off anywhere leaves clients with the one
// before. set is what Stage returned.
func (p Staged) Files(set *Set) ([]File, error) {
	consistent := set.root.ConsistentSnapshot()
	var out []File
	for i, root := range p.Roots {
		version := set.root.Version() - int64(len(p.Roots)-1-i)
		out = append(out, File{FileName(tuf.RoleRoot, version, consistent), root})
	}
	given := make(map[tuf.RoleName]bool, len(p.Delegated))
	for _, d := range p.Delegated {
		meta, ok := set.snapshot.Lookup(d.Role())
		if !ok {
			return nil, errNotStaged
		}
		if given[d.Role()] { // by another chain
			continue
		}
		given[d.Role()] = true
		out = append(out, File{FileName(d.Role(), meta.Version, consistent), d.Bytes})
	}
	if p.Targets != nil {
		out = append(out, File{FileName(tuf.RoleTargets, set.targets.targets.Version(), consistent), p.Targets})
	}
	if p.Snapshot != nil {
		out = append(out, File{FileName(tuf.RoleSnapshot, set.snapshot.Version(), consistent), p.Snapshot})
	}
	return append(out, File{FileName(tuf.RoleTimestamp, 0, consistent), p.Timestamp}), nil
}

// errNotStaged is returned for a Set that did not come of Stage.
var errNotStaged = errors.New("this set is not what Stage made of these files")
