package audit

import (
	"fmt"
	"slices"
	"time"

	"example.com/bailiwick/internal/ceremony"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/record"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/trust"
)

// Repository is a verified moment of a repository.
type Repository struct {
	Set    *trust.Set
	Load   trust.Loader
	Layout policy.Layout
	Now    time.Time
	// Roots are verified versions of root, each the next after the one before; those before the first are not
	// looked at.
	Roots []*tuf.Root
	// Own are the index's own keys as an earlier audit found them; nil: there was none.
	Own map[policy.KeyRole]record.Keys
}

// Report is what a comparison came to.
type Report struct {
	Head     record.Head
	Root     int64     // version in force
	Snapshot int64     // version
	Expires  time.Time // of the timestamp
	// Projects that the repository delegates, by who signs them. Parked ones are among the claimed.
	Unclaimed, Recent, Claimed, Parked int
	// Waiting are recoveries that were announced and wait.
	Waiting []record.Entry
	// Expired are roles of the index that nobody signed in time, by name.
	Expired []tuf.RoleName
	// Own are the index's own keys, for the next audit.
	Own map[policy.KeyRole]record.Keys
	// Findings are what should not be, those of the record first. None: the two agree.
	Findings []Finding
}

// comparison is a report in the making.
type comparison struct {
	*Replay
	Repository
	report *Report
	seen   map[tuf.RoleName]bool // projects that somebody but the registry signs
}

// Compare reads every delegation of a repository and holds it against the record that was replayed to its end. The
// error says that a role could not be had, or does not verify; then nothing is known.
func (r *Replay) Compare(p Repository) (*Report, error) {
	c := &comparison{Replay: r, Repository: p, seen: map[tuf.RoleName]bool{}, report: &Report{
		Head: r.head, Root: p.Set.Root().Version(), Snapshot: p.Set.Snapshot().Version(), Expires: p.Set.Timestamp().Expires(),
		Own: map[policy.KeyRole]record.Keys{}, Findings: slices.Clone(r.findings),
	}}
	for _, role := range []policy.KeyRole{policy.KeyRoot, policy.KeyTargets, policy.KeySnapshot, policy.KeyTimestamp} {
		a, _ := p.Set.Root().Authority(tuf.RoleName(role))
		c.report.Own[role] = record.KeysOf(a)
	}
	if err := c.signedHead(); err != nil {
		return nil, err
	}
	if err := c.bins(); err != nil {
		return nil, err
	}
	c.untold()
	c.ownKeys()
	for _, e := range r.announced {
		c.report.Waiting = append(c.report.Waiting, e)
	}
	slices.SortFunc(c.report.Waiting, func(a, b record.Entry) int { return int(a.Number - b.Number) })
	slices.Sort(c.report.Expired)
	c.report.Expired = slices.Compact(c.report.Expired)
	return c.report, nil
}

func (c *comparison) find(role tuf.RoleName, format string, args ...any) {
	if len(c.report.Findings) < maxFindings {
		c.report.Findings = append(c.report.Findings, Finding{Role: role, Text: fmt.Sprintf(format, args...)})
	}
}

// signedHead compares the record's end with what the snapshot was signed with.
func (c *comparison) signedHead() error {
	signed, err := record.HeadOf(c.Set.Snapshot())
	if err != nil {
		return fmt.Errorf("reading the head of the record: %w", err)
	}
	if c.head.Length < c.before.Length {
		c.find(tuf.RoleSnapshot, "the record had %d entries when it was read last, and has %d now: it was cut short", c.before.Length, c.head.Length)
	}
	if signed != c.head {
		c.find(tuf.RoleSnapshot, "version %d stands for a record of %d entries with the head %x, and the one that was handed out has %d and %x",
			c.Set.Snapshot().Version(), signed.Length, signed.Sum, c.head.Length, c.head.Sum)
	}
	return nil
}

// role reads a delegated role, and notes it if it has expired.
func (c *comparison) role(chain ...tuf.RoleName) (*tuf.Targets, error) {
	t, err := ceremony.Role(c.Set, c.Load, chain...)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", chain[len(chain)-1], err)
	}
	if !t.Expires().After(c.Now) {
		c.report.Expired = append(c.report.Expired, chain[len(chain)-1])
	}
	return t, nil
}

// bins looks through both trees, bin by bin.
func (c *comparison) bins() error {
	top := c.Set.Targets()
	for name := range c.Layout.BinNames() {
		chain := c.Layout.UnclaimedBinChain(name) // it leads through the claimed bin
		if _, err := c.role(chain[:1]...); err != nil {
			return err
		}
		claimed, err := c.role(chain[:2]...)
		if err != nil {
			return err
		}
		tree, err := c.role(chain[:3]...)
		if err != nil {
			return err
		}
		unclaimed, err := c.role(chain...)
		if err != nil {
			return err
		}
		if !policy.FallsThroughLast(claimed) {
			c.find(chain[1], "it does not delegate to %s once and last, so what it names could be looked for elsewhere", policy.RoleUnclaimed)
		}
		registry, ok := authorityOf(tree, chain[3])
		c.owns(policy.KeyClaimed, top, chain[0])
		c.owns(policy.KeyUnclaimed, claimed, chain[2])
		c.owns(policy.KeyRegistry, tree, chain[3])
		if !ok {
			c.find(chain[3], "nobody may sign it")
			continue
		}
		c.claimedBin(claimed)
		c.unclaimedBin(unclaimed, registry)
	}
	return nil
}

func authorityOf(from *tuf.Targets, role tuf.RoleName) (tuf.Authority, bool) {
	ds := from.Delegations()
	if ds == nil {
		return tuf.Authority{}, false
	}
	d, ok := ds.Find(role)
	if !ok {
		return tuf.Authority{}, false
	}
	a, err := d.Authority()
	return a, err == nil
}

// claimedBin holds the projects that offline keys vouch for against the record.
func (c *comparison) claimedBin(bin *tuf.Targets) {
	for d := range delegations(bin) {
		role := d.Name()
		if policy.KindOf(role) != policy.KindProject {
			continue
		}
		c.seen[role] = true
		c.report.Claimed++
		h := c.projects[role]
		if h == nil {
			c.find(role, "offline keys vouch for it, and the record does not tell that anybody claimed it")
			continue
		}
		if h.parked {
			c.report.Parked++
		}
		if !h.promoted {
			c.find(role, "offline keys vouch for it, and the record does not tell of that")
		}
		// The bin says so as well, and that the offline keys have signed: a server that tells a recovery as something else
		// can not change it.
		if at, recovered := policy.Recovered(d); recovered && h.recovered.Before(at.Add(-clocks)) {
			c.find(role, "its bin says that operators gave it to other keys on %s, and the record does not tell of that", tuf.FormatTime(at))
		}
		c.keys(role, d, h)
	}
}

// clocks is how far the clock by which a sitting was planned may be ahead of the one by which it was published.
const clocks = 2 * time.Hour

// unclaimedBin holds those that the registry's key delegates against the record.
func (c *comparison) unclaimedBin(bin *tuf.Targets, registry tuf.Authority) {
	for d := range delegations(bin) {
		role := d.Name()
		if policy.KindOf(role) != policy.KindProject || c.seen[role] {
			continue // the claimed tree comes first, and nobody looks further
		}
		a, err := d.Authority()
		if err != nil {
			c.find(role, "its keys can not be read: %v", err)
			continue
		}
		h := c.projects[role]
		if a.Equal(registry) {
			c.report.Unclaimed++
			if h != nil {
				c.find(role, "the record says in entry %d that maintainers sign it, and the registry's key does", h.entry)
				c.seen[role] = true
			}
			continue
		}
		c.seen[role] = true
		c.report.Recent++
		switch {
		case h == nil:
			c.find(role, "keys sign it that are not the registry's, and the record does not tell whose they are")
		case h.promoted:
			c.find(role, "the record says in entry %d that offline keys vouch for it, and only the registry's key does", h.entry)
		default:
			c.keys(role, d, h)
		}
	}
}

// keys compares who signs a project with what the record says.
func (c *comparison) keys(role tuf.RoleName, d tuf.Delegation, h *holding) {
	a, err := d.Authority()
	if err != nil {
		c.find(role, "its keys can not be read: %v", err)
		return
	}
	if got := record.KeysOf(a); !same(got, h.keys) {
		c.find(role, "%s, and the record says in entry %d that %s", signs(got), h.entry, signs(h.keys))
	}
}

// signs says who signs: "2 of 3 keys sign it (1f2e…, …)".
func signs(k record.Keys) string {
	ids := ""
	for i, id := range k.IDs {
		if i > 0 {
			ids += ", "
		}
		ids += fmt.Sprintf("%.12s", id)
	}
	return fmt.Sprintf("%d of %d keys sign it (%s)", k.Threshold, len(k.IDs), ids)
}

// untold finds projects that the record gives to somebody and that nobody delegates.
func (c *comparison) untold() {
	var gone []tuf.RoleName
	for role := range c.projects {
		if !c.seen[role] {
			gone = append(gone, role)
		}
	}
	slices.Sort(gone)
	for _, role := range gone {
		c.find(role, "the record says in entry %d that it is claimed, and nothing delegates it to its maintainers", c.projects[role].entry)
	}
}

// delegations yields those of a role, none if it has none.
func delegations(t *tuf.Targets) func(yield func(tuf.Delegation) bool) {
	ds := t.Delegations()
	if ds == nil {
		return func(func(tuf.Delegation) bool) {}
	}
	return ds.All()
}
