package custody

import (
	"slices"

	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/internal/record"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/repo"
)

// record checks that the entries which the proposal appends are the next ones, and that they tell all
// changes of keys, and no others.
func (j *judge) record() error {
	head, err := record.HeadOf(j.m.Set.Snapshot())
	if err != nil {
		return refuse(Failed, tuf.RoleSnapshot, "the record of the published snapshot can not be read: %v", err)
	}
	told := make(map[tuf.RoleName]bool)
	for i := range j.p.Record {
		e := &j.p.Record[i]
		if head, err = head.Append(e); err != nil {
			return refuse(Altered, e.Role, "the record: %v", err)
		}
		if e.Publication != j.p.Publication || !e.Time.Equal(j.p.Time) {
			return refuse(Altered, e.Role, "entry %d of the record is of another publication or time than the proposal", e.Number)
		}
		if err := j.entry(e, told); err != nil {
			return err
		}
	}
	for role := range j.keys {
		if !told[role] {
			return refuse(Altered, role, "the keys of %s change, and the record says nothing of it", role)
		}
	}
	if changed := j.root != j.m.Set.Root(); changed != told[tuf.RoleRoot] {
		return refuse(Altered, tuf.RoleRoot, "the record tells of a new root, and there is none; or there is one, and the record says nothing of it")
	}
	j.head = head
	return nil
}

// entry checks one line of the record against what the proposal does.
func (j *judge) entry(e *record.Entry, told map[tuf.RoleName]bool) error {
	switch e.Kind {
	case record.RecoveryAnnounced, record.RecoveryCancelled, record.Custody, record.KeysChanged:
		return nil // of what will be, or of what has no delegation
	case record.Cleared:
		return refuse(Altered, e.Role, "entry %d of the record takes the claim of %s back; that is for an index whose registry key was stolen, and this one is here", e.Number, e.Role)
	case record.Root:
		told[e.Role] = true
		return nil
	case record.Claimed, record.Rekeyed, record.Revoked, record.Promoted, record.Parked, record.Recovered:
	}
	p, is := policy.ProjectOf(e.Role)
	to, changes := j.keys[e.Role]
	if !is || !changes || !slices.Contains(to.kinds, e.Kind) || !sameKeys(e.New, to.to) {
		return refuse(Altered, e.Role, "entry %d of the record says that %s was %s, and the proposal does not do that", e.Number, e.Role, e.Kind)
	}
	had, err := j.had(p)
	if err != nil {
		return err
	}
	if !sameKeys(e.Old, had) {
		return refuse(Altered, e.Role, "entry %d of the record gives %s other keys for the time before than it has", e.Number, e.Role)
	}
	told[e.Role] = true
	return nil
}

// had returns who signs a project before the proposal, in whichever tree; the zero value if nobody does.
func (j *judge) had(p pypi.Project) (tuf.Authority, error) {
	role := policy.ProjectRole(p)
	for _, chain := range [][]tuf.RoleName{j.layout.ClaimedChain(p), j.layout.UnclaimedChain(p)} {
		bin, err := j.published(chain...)
		if err != nil {
			return tuf.Authority{}, err
		}
		if _, there := find(bin, role); there {
			return authorityOf(bin, role)
		}
	}
	return tuf.Authority{}, nil
}

func sameKeys(k record.Keys, a tuf.Authority) bool {
	want := record.KeysOf(a)
	slices.Sort(want.IDs)
	return k.Threshold == want.Threshold && slices.Equal(slices.Sorted(slices.Values(k.IDs)), want.IDs)
}

// snapshot makes the snapshot itself, out of the verified one and what the other steps found, and compares.
func (j *judge) snapshot() error {
	r := &j.p.Snapshot
	base := j.m.Set.Snapshot()
	unsigned, err := tuf.ParseSnapshot(tuf.AppendEnvelope(nil, r.Message, nil), nil)
	if err != nil {
		return refuse(Malformed, r.Name, "the proposed snapshot: %v", err)
	}
	h := unsigned.Header()
	if h.Version != base.Version()+1 {
		return refuse(Version, r.Name, "snapshot %d is proposed, and after %d comes %d", h.Version, base.Version(), base.Version()+1)
	}
	if err := j.expiry(r.Name, h.Expires); err != nil {
		return err
	}
	a, ok := j.root.Authority(tuf.RoleSnapshot)
	if !ok {
		return refuse(Failed, r.Name, "root does not say who signs the snapshot")
	}
	builder, err := repo.OpenSnapshot(base)
	if err == nil && len(j.p.Record) > 0 {
		builder, err = builder.WithMembers(map[string][]byte{record.Member: j.head.Value()})
	}
	var draft *repo.Draft
	if err == nil {
		_, draft, err = builder.Edit(j.out.Roles, repo.Issue{Version: h.Version, Now: j.p.Time, Expires: h.Expires, Authority: a})
	}
	if err != nil {
		return refuse(Malformed, r.Name, "snapshot %d can not be made: %v", h.Version, err)
	}
	return j.take(r, h.Version, draft.Message(), a)
}
