package trust

import (
	"container/list"
	"crypto/sha256"
	"sync"

	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
)

// A proof is what was shown when a delegated role verified: who had to sign it, under which
// name, at which version. Trust belongs to the edge: a role that verified by the keys that
// one delegator asks for says nothing about the claim of another one with other keys. Delegators that ask for
// the very same keys (each of our claimed bins delegates to the one role unclaimed) share the
// work, and nothing else: paths, order, termination and minimum version are read from each edge when it is followed.
type proof struct {
	authority [sha256.Size]byte // digest of the keys and threshold that the delegation asks for
	role      tuf.RoleName
	version   int64
}

// A node is a targets role as verified by one authority. Immutable, but for
// the list of its signers, which is worked out when first asked for.
type node struct {
	targets   *tuf.Targets
	authority tuf.Authority
	signers   func() []key.ID
}

func (n *node) size() int64 { return int64(len(n.targets.Bytes())) }

// footprint is about what a node keeps in memory: the file, an index into it, and
// what does not depend on the file's length (keys, names, the entry of the cache).
func (n *node) footprint() int64 { return n.size()*3/2 + 2<<10 }

// verifyTargets is 5.6.1 to 5.6.5, for the top-level role and the delegated
// ones alike.
func (s *state) verifyTargets(data []byte, role tuf.RoleName, meta tuf.Meta, a tuf.Authority) (*node, error) {
	x := expected{role: role, meta: meta, limit: s.limits.Metadata.TargetsBytes, lengthStep: "5.6.1", hashStep: "5.6.2"}
	u, t, err := verified(data, x, &s.limits.Metadata, tuf.ParseTargets, a, "5.6.3")
	if err != nil {
		return nil, err
	}
	if err := namedLikeRole(t, role); err != nil {
		return nil, err
	}
	n := &node{targets: t, authority: a, signers: sync.OnceValue(func() []key.ID { return u.Signers(a) })}
	if only := u.Signatures(); len(only) == 1 {
		// The file verified, so its one signature is good. Nearly all files are like this, and
		// checking it a second time would double what an install or a publication costs.
		signers := []key.ID{only[0].KeyID}
		n.signers = func() []key.ID { return signers }
	}
	return n, s.checkTargets(n, role, meta)
}

// checkTargets is 5.6.4 and 5.6.5, which depend on the snapshot and the time
// and so are asked of a role out of the cache, too.
func (s *state) checkTargets(n *node, role tuf.RoleName, meta tuf.Meta) error {
	if err := versionIsPinned(n.targets.Version(), role, meta, "5.6.4"); err != nil {
		return err
	}
	return unexpired(n.targets.Expires(), role, n.targets.Version(), s.start, "5.6.5")
}

// Cache holds delegated roles that were verified, so that a long-lived client
// or a publisher verifies again only what changed. It is bounded by the bytes
// of metadata it holds (their index takes about as much again) and forgets
// what was not used for longest. What it holds stays true whatever happens to
// the rest of a repository: these bytes are signed by those keys under that name. Safe for concurrent use.
type Cache struct {
	max int64

	mu      sync.Mutex // guards what follows
	size    int64
	entries map[proof]*list.Element // of *cached
	used    *list.List              // front: used last
}

type cached struct {
	proof proof
	node  *node
}

// NewCache returns an empty cache that keeps about maxBytes in memory; zero or less
// means 64 MiB.
func NewCache(maxBytes int64) *Cache {
	if maxBytes <= 0 {
		maxBytes = 64 << 20
	}
	return &Cache{max: maxBytes, entries: map[proof]*list.Element{}, used: list.New()}
}

func (c *Cache) get(p proof) (*node, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	el, ok := c.entries[p]
	if !ok {
		return nil, false
	}
	c.used.MoveToFront(el)
	return el.Value.(*cached).node, true
}

func (c *Cache) put(p proof, n *node) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.remove(c.entries[p])
	if n.footprint() > c.max {
		return
	}
	c.entries[p] = c.used.PushFront(&cached{proof: p, node: n})
	c.size += n.footprint()
	for c.size > c.max {
		c.remove(c.used.Back())
	}
}

// remove takes an element out; the caller holds mu.
func (c *Cache) remove(el *list.Element) {
	if el == nil {
		return
	}
	old := c.used.Remove(el).(*cached)
	delete(c.entries, old.proof)
	c.size -= old.node.footprint()
}
