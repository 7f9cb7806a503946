package ceremony

import (
	"bytes"
	"iter"

	"example.com/bailiwick/tuf"
)

// listing is what a client finds in a project: the files of its role, and those of its sub-roles
// where the role itself does not list the path.
type listing struct {
	project *tuf.Targets // nil: nothing is listed
	subs    map[tuf.RoleName]*tuf.Targets
}

// lookup takes the client's way: the role itself, then the first delegation that covers the path,
// which is terminating.
func (l *listing) lookup(path tuf.TargetPath) (tuf.Target, bool) {
	if l.project == nil {
		return tuf.Target{}, false
	}
	if t, ok := l.project.Lookup(path); ok {
		return t, true
	}
	ds := l.project.Delegations()
	if ds == nil {
		return tuf.Target{}, false
	}
	for d := range ds.Match(path) {
		if t := l.subs[d.Name()]; t != nil {
			return t.Lookup(path)
		}
		break
	}
	return tuf.Target{}, false
}

// all yields every path that one of the roles lists, some more than once.
func (l *listing) all() iter.Seq[tuf.TargetPath] {
	return func(yield func(tuf.TargetPath) bool) {
		if l.project == nil {
			return
		}
		roles := []*tuf.Targets{l.project}
		for _, t := range l.subs {
			roles = append(roles, t)
		}
		for _, t := range roles {
			for path := range t.Entries() {
				if !yield(tuf.TargetPath(path)) {
					return
				}
			}
		}
	}
}

// entry is an entry of "targets" as received; nil: there is none.
type entry []byte

// differences yields the paths whose entries differ between two versions of a role, in order. Both
// are sorted, so this is one merge, and what is the same is not decoded.
func differences(old, next *tuf.Targets) iter.Seq2[tuf.TargetPath, entry] {
	return func(yield func(path tuf.TargetPath, next entry) bool) {
		pullOld, stop := pull(old)
		defer stop()
		path, raw, ok := pullOld()
		for p, r := range next.Entries() {
			for ok && bytes.Compare(path, p) < 0 {
				if !yield(tuf.TargetPath(path), nil) {
					return
				}
				path, raw, ok = pullOld()
			}
			if ok && bytes.Equal(path, p) {
				same := bytes.Equal(raw, r)
				path, raw, ok = pullOld()
				if same {
					continue
				}
			}
			if !yield(tuf.TargetPath(p), r) {
				return
			}
		}
		for ; ok; path, _, ok = pullOld() {
			if !yield(tuf.TargetPath(path), nil) {
				return
			}
		}
	}
}

func pull(t *tuf.Targets) (func() ([]byte, []byte, bool), func()) {
	if t == nil {
		return func() ([]byte, []byte, bool) { return nil, nil, false }, func() {}
	}
	return iter.Pull2(t.Entries())
}

// Files yields the path of every file that a client finds in the project, sub-roles included, each
// once.
func (s *Standing) Files() iter.Seq[tuf.TargetPath] {
	return func(yield func(tuf.TargetPath) bool) {
		l := s.listing()
		seen := make(map[tuf.TargetPath]bool)
		for path := range l.all() {
			if _, ok := l.lookup(path); !ok || seen[path] {
				continue
			}
			seen[path] = true
			if !yield(path) {
				return
			}
		}
	}
}

// listing returns what a client finds now.
func (s *Standing) listing() *listing {
	l := &listing{project: s.Base, subs: make(map[tuf.RoleName]*tuf.Targets, len(s.Subs))}
	for _, sub := range s.Subs {
		l.subs[sub.Delegation.Name()] = sub.Targets
	}
	return l
}
