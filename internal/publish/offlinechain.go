package publish

import (
	"bytes"
	"context"
	"fmt"

	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/sitting"
	"example.com/bailiwick/tuf"
)

// chainIsCurrent holds the chain of a request against what is published. It may be older: while some people were
// signing this, others may have signed something else, and neither has to wait for the other. But what is older must
// name the same keys for what the request changes, or the judgement would not stand any more.
func (b *batch) chainIsCurrent(ctx context.Context, c *sitting.Chain) error {
	if err := b.rootsAreCurrent(ctx, c); err != nil {
		return err
	}
	for _, f := range []struct {
		role tuf.RoleName
		data []byte
		same func(c *sitting.Chain) bool // whether an older one names the same keys
	}{
		{tuf.RoleTargets, c.Targets, b.sameClaimedKeys},
		{policy.RoleClaimed, c.Claimed, b.sameUnclaimedKeys},
		{policy.RoleUnclaimed, c.Unclaimed, b.sameRegistryKeys},
	} {
		if f.data == nil {
			continue
		}
		newest, published, err := b.published(ctx, f.role)
		if err != nil {
			return err
		}
		if !bytes.Equal(f.data, published) && !f.same(c) {
			return stale(f.role, newest, "the request was made before version %d of %s, which names other keys; make it anew on that and sign again", newest, f.role)
		}
	}
	return nil
}

// rootsAreCurrent holds the roots of a chain against those that were published: they are the first of them, and since
// then root has not given targets other keys.
func (b *batch) rootsAreCurrent(ctx context.Context, c *sitting.Chain) error {
	n := b.state.head.Root
	if int64(len(c.Roots)) > n || len(c.Roots) == 0 {
		return stale(tuf.RoleRoot, n, "the request knows %d versions of root and the newest is %d; make it anew", len(c.Roots), n)
	}
	for i, data := range c.Roots {
		published, err := b.state.view.shelf.read(ctx, tuf.RoleRoot, int64(i)+1)
		if err != nil {
			return err
		}
		if !bytes.Equal(data, published) {
			return stale(tuf.RoleRoot, n, "the request knows another version %d of root than the one that was published; make it anew", i+1)
		}
	}
	if int64(len(c.Roots)) == n {
		return nil
	}
	last, err := tuf.ParseRoot(c.Roots[len(c.Roots)-1], nil)
	if err != nil {
		return fmt.Errorf("reading root: %w", err)
	}
	root, err := last.Verify(tuf.SelfAuthority(last))
	if err != nil {
		return fmt.Errorf("reading root: %w", err)
	}
	was, _ := root.Authority(tuf.RoleTargets)
	is, _ := b.state.view.set.Root().Authority(tuf.RoleTargets)
	if !was.Equal(is) {
		return stale(tuf.RoleRoot, n, "the request knows %d versions of root and the newest is %d, which gives targets other keys; make it anew", len(c.Roots), n)
	}
	return nil
}

// sameClaimedKeys reports whether the targets of a chain delegate to claimed as the newest do.
func (b *batch) sameClaimedKeys(c *sitting.Chain) bool {
	a, _ := b.state.view.set.Root().Authority(tuf.RoleTargets)
	was, had := edgeOf(c.Targets, a, policy.RoleClaimed)
	is, has := delegation(b.state.view.set.Targets(), policy.RoleClaimed)
	return had && has && bytes.Equal(was.Raw(), is.Raw())
}

// sameUnclaimedKeys reports whether the claimed bin of a chain, if it has one, names the keys for unclaimed that the
// bins name now.
func (b *batch) sameUnclaimedKeys(c *sitting.Chain) bool {
	if c.Bin == nil {
		return true // bins are signed, if anything below claimed is, and their bases are the newest
	}
	signers, _, ok := b.edge(2)
	if !ok {
		return false
	}
	was, had := edgeOf(c.Bin, signers, policy.RoleUnclaimed)
	_, is, has := b.edge(3)
	return had && has && sameKeys(was, is)
}

// sameRegistryKeys reports whether the unclaimed of a chain names the registry key that signs now.
func (b *batch) sameRegistryKeys(c *sitting.Chain) bool {
	signers, _, ok := b.edge(3)
	_, is, has := b.edge(4)
	if !ok || !has {
		return false
	}
	was, had := edgeOf(c.Unclaimed, signers, is.Name())
	return had && sameKeys(was, is)
}

// edge returns the newest delegation at a depth below targets on the way to an unclaimed bin, and who signs what it
// delegates: 2 is that of a claimed bin, 3 that of unclaimed, 4 that of an unclaimed bin. All bins say the same.
func (b *batch) edge(depth int) (tuf.Authority, tuf.Delegation, bool) {
	for name := range b.state.layout.BinNames() {
		chain := b.state.layout.UnclaimedBinChain(name)
		from, err := b.role(chain[:depth-1]...)
		if err != nil {
			return tuf.Authority{}, tuf.Delegation{}, false
		}
		d, ok := delegation(from, chain[depth-1])
		if !ok {
			return tuf.Authority{}, tuf.Delegation{}, false
		}
		a, err := d.Authority()
		return a, d, err == nil
	}
	return tuf.Authority{}, tuf.Delegation{}, false
}

// edgeOf reads a delegation out of a file that an authority signed.
func edgeOf(file []byte, a tuf.Authority, role tuf.RoleName) (tuf.Delegation, bool) {
	u, err := tuf.ParseTargets(file, nil)
	if err != nil {
		return tuf.Delegation{}, false
	}
	t, err := u.Verify(a)
	if err != nil {
		return tuf.Delegation{}, false
	}
	return delegation(t, role)
}

func sameKeys(x, y tuf.Delegation) bool {
	a, err := x.Authority()
	if err != nil {
		return false
	}
	b, err := y.Authority()
	return err == nil && a.Equal(b)
}
