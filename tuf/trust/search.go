package trust

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"time"

	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
)

// Found is a target that the repository lists, and why that counts.
type Found struct {
	Target tuf.Target
	Chain  []Link // from the top-level targets role to the one that lists the target; each allowed its path

	consistent bool
}

// Link is one role of the chain that vouches for a target.
type Link struct {
	Role        tuf.RoleName
	Version     int64         // of its metadata, as verified
	Expires     time.Time     // of the same; after the Set's Start
	Authority   tuf.Authority // who may sign: by root for targets, else by the link before
	Signers     []key.ID      // who of them did
	Paths       []string      // patterns, or hash prefixes, that delegated to it; nil for targets
	Terminating bool          // whether that delegation ended the search beyond it
}

// FetchName returns the name under which the repository serves the target's
// bytes (5.7.3): with its hash before the last element of the path, where
// consistent snapshots are on. It is not percent-encoded.
func (f *Found) FetchName() string {
	path := string(f.Target.Path)
	if !f.consistent {
		return path
	}
	dir, file := path[:strings.LastIndexByte(path, '/')+1], path[strings.LastIndexByte(path, '/')+1:]
	return dir + hashName(f.Target.Hashes) + "." + file
}

func hashName(h tuf.Hashes) string {
	if sum, ok := h.SHA256(); ok {
		return hex.EncodeToString(sum[:])
	}
	sum, _ := h.SHA512()
	return hex.EncodeToString(sum[:])
}

// search is the work of one Find, List, Explain or Delegated. It is used by one
// goroutine; nodes it met are kept for its own time, so that each role is
// loaded once however small the shared cache is.
type search struct {
	set   *Set
	load  Loader
	nodes map[proof]*node
	bytes int64
	steps int64
	trace *Explanation // nil: nobody asked

	// staged are files that are not published yet. Under their names nothing else counts, not
	// even what verified before: a publication that was given up may have used the version.
	staged map[tuf.RoleName][]byte
}

// errNoLoader is why a search without a Loader ends at the first delegated role it needs.
var errNoLoader = errors.New("no loader was given")

func newSearch(s *Set, load Loader) *search {
	if load == nil {
		load = func(tuf.RoleName, tuf.Meta) ([]byte, error) { return nil, errNoLoader }
	}
	return &search{set: s, load: load, nodes: map[proof]*node{}}
}

// A visit is a verified role in the tree of the search, linked to how it was
// reached.
type visit struct {
	role   tuf.RoleName
	node   *node
	parent *visit // nil for the top-level role
	via    tuf.Delegation
}

// pending is a delegation that is still to be followed.
type pending struct {
	parent *visit
	via    tuf.Delegation
}

func (q *search) top() *visit {
	return &visit{role: tuf.RoleTargets, node: q.set.targets}
}

// find is 5.6.7: a pre-order depth-first search with its own stack.
func (q *search) find(path tuf.TargetPath) (*Found, error) {
	at := q.top()
	visited := map[tuf.RoleName]bool{tuf.RoleTargets: true}
	var stack []pending // its end is what comes next
	for {
		if t, ok := at.node.targets.Lookup(path); ok {
			q.note(at, Listed, path, nil)
			return q.found(t, at), nil
		}
		if err := q.match(at, string(path)); err != nil {
			return nil, err
		}
		var dropped []pending
		stack, dropped = q.expand(stack, at, path)
		q.note(at, NotListed, path, dropped)
		var err error
		at, stack, err = q.next(stack, visited)
		if err != nil {
			return nil, err
		}
		if at == nil {
			return nil, ErrNotFound
		}
	}
}

// expand puts the delegations that match the path on the stack, so that they
// are followed in their order and before what is pending already (5.6.7.2). A
// terminating one is the last to be followed, of all: dropped is what was
// pending and now never is.
func (q *search) expand(stack []pending, at *visit, path tuf.TargetPath) (next, dropped []pending) {
	ds := at.node.targets.Delegations()
	if ds == nil {
		return stack, nil
	}
	base := len(stack)
	for d := range ds.Match(path) {
		stack = append(stack, pending{at, d})
		if d.Terminating() {
			dropped = slices.Clone(stack[:base])
			stack, base = stack[base:], 0
			break
		}
		if q.enough(len(stack) - base) {
			break
		}
	}
	slices.Reverse(stack[base:])
	return stack, dropped
}

// match counts what it takes to look for the delegations of a role that cover a path, or a
// folder, and refuses what is too much before it is tried.
func (q *search) match(at *visit, path string) error {
	ds := at.node.targets.Delegations()
	if ds == nil {
		return nil
	}
	if q.steps += ds.Effort(path); q.steps > q.set.limits.SearchSteps {
		return refuse(Limit, at.role, at.node.targets.Version(), "5.6.7.1", "more than %d steps of matching paths with patterns", q.set.limits.SearchSteps)
	}
	return nil
}

// enough reports whether so many delegations of one role are more than the search can
// follow: those to roles that were visited count as visits, so one of the others is beyond
// the limit. Without it, bins of succinct_roles, which may be billions, would all be put on
// the stack for a directory.
func (q *search) enough(delegations int) bool {
	return delegations > q.set.limits.Roles
}

// expandDir is expand for all paths directly in a directory at once. What a
// terminating delegation ends may only be left out if every one of them gets
// to it, by way of delegations that match them all; find decides about the others.
func (q *search) expandDir(stack []pending, at *visit, dir string) []pending {
	ds := at.node.targets.Delegations()
	if ds == nil {
		return stack
	}
	base := len(stack)
	for d := range ds.MatchDir(dir) {
		stack = append(stack, pending{at, d})
		if d.Terminating() && covers(d, dir) && at.covers(dir) {
			stack, base = stack[base:], 0
			break
		}
		if q.enough(len(stack) - base) {
			break
		}
	}
	slices.Reverse(stack[base:])
	return stack
}

// covers reports whether a visit surely happens for every path directly in a
// directory that is not decided before.
func (v *visit) covers(dir string) bool {
	return v.parent == nil || covers(v.via, dir) && v.parent.covers(dir)
}

// covers reports whether a delegation surely matches every path directly in a
// directory: one of its patterns ends in "/*" and matches the directory.
func covers(d tuf.Delegation, dir string) bool {
	for _, p := range d.Paths() {
		if p == "*" && dir == "" {
			return true
		}
		if head, ok := strings.CutSuffix(p, "/*"); ok && tuf.MatchPattern(head, dir) {
			return true
		}
	}
	return false
}

// next follows the first pending delegation to a role that was not visited in
// this search (5.6.7.1); nil if there is none left.
func (q *search) next(stack []pending, visited map[tuf.RoleName]bool) (*visit, []pending, error) {
	for len(stack) > 0 {
		p := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if visited[p.via.Name()] {
			q.noteEdge(p, Revisited, nil)
			continue
		}
		if len(visited) > q.set.limits.Roles {
			err := refuse(Limit, p.via.Name(), 0, "5.6.7.1", "%d delegated roles were visited already", q.set.limits.Roles)
			q.noteEdge(p, Refused, err)
			return nil, nil, err
		}
		visited[p.via.Name()] = true
		v, err := q.follow(p.parent, p.via)
		if err != nil {
			q.noteEdge(p, Refused, err)
			return nil, nil, err
		}
		return v, stack, nil
	}
	return nil, nil, nil
}

// follow verifies the role at the end of a delegation: a role that verified
// through another delegation is not taken for this one's.
func (q *search) follow(from *visit, d tuf.Delegation) (*visit, error) {
	meta, ok := q.set.snapshot.Lookup(d.Name())
	if !ok {
		return nil, refuse(Missing, d.Name(), 0, "5.6.7", "%q delegates to it, and snapshot version %d does not list it", from.role, q.set.snapshot.Version())
	}
	if err := notBelowMinimum(d, meta); err != nil {
		return nil, err
	}
	a, err := d.Authority()
	if err != nil {
		return nil, refuse(Malformed, d.Name(), meta.Version, "5.6.3", "keys of the delegation: %w", err)
	}
	p := proof{authority: a.Digest(), role: d.Name(), version: meta.Version}
	n, ok := q.nodes[p]
	if !ok {
		if n, err = q.verified(p, a, meta); err != nil {
			return nil, err
		}
		q.bytes += n.size()
		if q.bytes > q.set.limits.SearchBytes {
			return nil, refuse(Limit, d.Name(), meta.Version, "5.6.7.1", "more than %d bytes of delegated roles", q.set.limits.SearchBytes)
		}
		q.nodes[p] = n
	}
	return &visit{role: d.Name(), node: n, parent: from, via: d}, nil
}

// verified returns the role that a delegation asks for from the cache, if it is still what the
// snapshot lists, and otherwise loads and verifies it.
func (q *search) verified(p proof, a tuf.Authority, meta tuf.Meta) (*node, error) {
	if n, ok := q.set.cache.get(p); ok && isListed(n.targets.Bytes(), p.role, meta) && q.isStill(n, p.role) {
		return n, q.set.checkTargets(n, p.role, meta)
	}
	data, err := q.load(p.role, meta)
	if err != nil {
		var refused *RefusedError
		if errors.As(err, &refused) {
			return nil, err
		}
		return nil, refuse(Unavailable, p.role, meta.Version, "5.6.1", "%w", err)
	}
	n, err := q.set.verifyTargets(data, p.role, meta, a)
	if err != nil {
		return nil, err
	}
	q.set.cache.put(p, n)
	return n, nil
}

// isStill reports whether a cached role is what is staged, if something is.
func (q *search) isStill(n *node, role tuf.RoleName) bool {
	data, ok := q.staged[role]
	return !ok || bytes.Equal(data, n.targets.Bytes())
}

// delegated follows a chain of names from the top-level targets role.
func (q *search) delegated(chain []tuf.RoleName) (*tuf.Targets, error) {
	at := q.top()
	for _, name := range chain {
		var d tuf.Delegation
		ok := false
		if ds := at.node.targets.Delegations(); ds != nil {
			d, ok = ds.Find(name)
		}
		if !ok {
			return nil, refuse(Missing, name, 0, "5.6.7", "%q does not delegate to it", at.role)
		}
		next, err := q.follow(at, d)
		if err != nil {
			return nil, err
		}
		at = next
	}
	return at.node.targets, nil
}

// found makes the result: the chain is read upwards and turned round.
func (q *search) found(t tuf.Target, at *visit) *Found {
	f := &Found{Target: t, consistent: q.set.root.ConsistentSnapshot()}
	for v := at; v != nil; v = v.parent {
		l := Link{
			Role: v.role, Version: v.node.targets.Version(), Expires: v.node.targets.Expires(),
			Authority: v.node.authority, Signers: v.node.signers(),
		}
		if v.parent != nil {
			l.Paths, l.Terminating = patterns(v.via), v.via.Terminating()
		}
		f.Chain = append(f.Chain, l)
	}
	slices.Reverse(f.Chain)
	return f
}

// list collects candidates from every role that may list a path in dir, and
// lets find decide about each: which role has the say about a path is decided
// in one place.
func (q *search) list(dir string) ([]*Found, error) {
	paths, err := q.candidates(dir)
	if err != nil {
		return nil, err
	}
	var out []*Found
	for _, p := range paths {
		f, err := q.find(p)
		switch {
		case errors.Is(err, ErrNotFound): // a role named it that has no say about it
		case err != nil:
			return nil, err
		default:
			out = append(out, f)
		}
	}
	if len(out) == 0 {
		return nil, ErrNotFound
	}
	return out, nil
}

func (q *search) candidates(dir string) ([]tuf.TargetPath, error) {
	at := q.top()
	visited := map[tuf.RoleName]bool{tuf.RoleTargets: true}
	var stack []pending
	var paths []tuf.TargetPath
	for at != nil {
		for t := range at.node.targets.All() {
			if isIn(t.Path, dir) {
				paths = append(paths, t.Path)
			}
		}
		if err := q.match(at, dir+"/"); err != nil {
			return nil, err
		}
		next, rest, err := q.next(q.expandDir(stack, at, dir), visited)
		if err != nil {
			return nil, err
		}
		at, stack = next, rest
	}
	slices.SortFunc(paths, cmp.Compare[tuf.TargetPath])
	return slices.Compact(paths), nil
}

func isIn(path tuf.TargetPath, dir string) bool {
	i := strings.LastIndexByte(string(path), '/')
	return string(path[:max(i, 0)]) == dir
}
