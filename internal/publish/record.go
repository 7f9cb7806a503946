package publish

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"example.com/bailiwick/internal/ceremony"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/internal/record"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/repo"
	"example.com/bailiwick/tuf/trust"
)

// number returns the number of the publication in the making.
func (b *batch) number() int64 { return b.state.head.Number + 1 }

// recordedBase appends to the record what the batch changes about whose keys stand behind what, and
// returns the snapshot to edit, which carries the new head.
func (b *batch) recordedBase() (*repo.Snapshot, error) {
	for _, s := range sortedByProject(b.signs) {
		if s.err == nil {
			b.entries = append(b.entries, s.entries()...)
		}
	}
	for _, l := range b.order {
		if l.entry != nil && l.err == nil {
			b.entries = append(b.entries, *l.entry)
		}
	}
	for _, c := range sortedByProject(b.calls) {
		b.entries = append(b.entries, c.entry)
	}
	b.entries = append(b.entries, b.offline.entries()...)
	for i := range b.entries {
		e := &b.entries[i]
		e.Number, e.Publication, e.Time = b.record.Length+1, b.number(), b.at
		next, err := b.record.Append(e)
		if err != nil {
			return nil, fmt.Errorf("appending to the record: %w", err)
		}
		b.record = next
	}
	if len(b.entries) == 0 {
		return b.state.snapshot, nil
	}
	base, err := b.state.snapshot.WithMembers(map[string][]byte{record.Member: b.record.Value()})
	if err != nil {
		return nil, fmt.Errorf("putting the head of the record into the snapshot: %w", err)
	}
	return base, nil
}

// sortedByProject returns the values in the order of their projects' names.
func sortedByProject[T any](m map[pypi.Project]T) []T {
	if len(m) == 0 {
		return nil
	}
	out := make([]T, 0, len(m))
	for _, p := range slices.SortedFunc(maps.Keys(m), compareProjects) {
		out = append(out, m[p])
	}
	return out
}

func compareProjects(a, b pypi.Project) int { return strings.Compare(a.String(), b.String()) }

// entries returns what the record says of a signing request, without number and time.
func (s *signing) entries() []RecordEntry {
	before, after := s.standing.Authority, s.verdict.Authority
	role := policy.ProjectRole(s.request.Project)
	var out []RecordEntry
	if s.cancels != nil {
		out = append(out, s.cancels.cancelled(s.standing.Authority, contradicted))
	}
	e := RecordEntry{Role: role, Old: record.KeysOf(before), New: record.KeysOf(after)}
	switch {
	case s.request.Kind == ceremony.Claim:
		e.Kind = record.Claimed
	case before.Equal(after):
		return out
	default:
		e.Kind, e.Text = record.Rekeyed, "by "+string(s.verdict.By)
		if s.event.Kind == EventRevoked {
			e.Kind = record.Revoked
		}
	}
	return append(out, e)
}

// checkHead compares the record that a snapshot stands for with the one that the ledger has.
func checkHead(s *tuf.Snapshot, head Head) error {
	signed, err := record.HeadOf(s)
	if err != nil {
		return err
	}
	if signed != head.Record {
		return fmt.Errorf("snapshot version %d stands for a record of %d entries with head %.6x…, and %d with head %.6x… are stored: %w",
			s.Version(), signed.Length, signed.Sum, head.Record.Length, head.Record.Sum, record.ErrChain)
	}
	return nil
}

// recordPage is how many entries are read at a time.
const recordPage = 1000

// checkRecord recomputes the chain of the whole record and compares its head with the one that the newest
// snapshot carries.
func checkRecord(ctx context.Context, l Ledger, set *trust.Set) error {
	want, err := record.HeadOf(set.Snapshot())
	if err != nil {
		return err
	}
	var head record.Head
	for head.Length < want.Length {
		page, err := l.Record(ctx, head.Length+1, recordPage)
		if err != nil {
			return fmt.Errorf("reading the record: %w", err)
		}
		if len(page) == 0 {
			break
		}
		for i := range page {
			if head, err = head.Append(&page[i]); err != nil {
				return err
			}
			if head.Length == want.Length {
				break
			}
		}
	}
	if head != want {
		return fmt.Errorf("the record of %d entries is not the one that snapshot version %d stands for: %w", want.Length, set.Snapshot().Version(), record.ErrChain)
	}
	return nil
}

// Record returns the length of the record as of this publication, and the head of its chain, which the
// snapshot carries. A record without entries has the zero head.
func (v *View) Record() (length int64, head [32]byte) { return v.record.Length, v.record.Sum }

// Recoveries returns those that wait as of this publication, by project.
func (v *View) Recoveries() []Recovery {
	out := slices.Collect(maps.Values(v.recoveries))
	slices.SortFunc(out, func(a, b Recovery) int { return cmp.Or(compareProjects(a.Project, b.Project)) })
	return out
}

// Recovery returns the recovery of a project that waits, if one does.
func (v *View) Recovery(p pypi.Project) (Recovery, bool) {
	r, ok := v.recoveries[p]
	return r, ok
}

// Record returns entries of the record from the one with this number on, at most limit of them: those
// that the current publication stands for, and none past its end.
func (p *Publisher) Record(ctx context.Context, from int64, limit int) ([]RecordEntry, error) {
	length, _ := p.Current().Record()
	from = max(from, 1)
	if from > length {
		return nil, nil
	}
	entries, err := p.c.Ledger.Record(ctx, from, int(min(int64(limit), length-from+1)))
	if err != nil {
		return nil, fmt.Errorf("reading the record: %w", err)
	}
	return entries, nil
}
