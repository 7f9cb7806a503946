package ledger

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"example.com/bailiwick/internal/index"
	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/internal/record"
)

// memoryOperators is what a [Memory] keeps of operators' requests, the record and recoveries; guarded by
// its lock.
type memoryOperators struct {
	requests   []*index.OperatorRequest // in order of arrival
	entries    []record.Entry
	recoveries []publish.Recovery // in order of arrival
}

// conflict says why a publication can not be committed now, and else returns the head of the record
// after it.
func (o *memoryOperators) conflict(p *publish.Publication, head record.Head) (record.Head, error) {
	for i := range p.Record {
		next, err := head.Append(&p.Record[i])
		if err != nil {
			return record.Head{}, entryConflict(err)
		}
		head = next
	}
	waits := make(map[string]int64)
	for _, r := range o.recoveries {
		if r.Outcome == "" {
			waits[r.Project.String()] = r.Entry
		}
	}
	for i := range p.Recoveries {
		r := &p.Recoveries[i]
		name := r.Project.String()
		if r.Outcome == "" && waits[name] != 0 || r.Outcome != "" && waits[name] != r.Entry {
			return record.Head{}, recoveryConflict(r)
		}
		waits[name] = r.Entry
		if r.Outcome != "" {
			delete(waits, name)
		}
	}
	return head, nil
}

// commit is the part of a publication that concerns operators and the record.
func (o *memoryOperators) commit(p *publish.Publication) {
	for _, id := range p.Executed {
		if r := o.request(id); r != nil {
			closeRequest(r, index.RequestPublished, p.Number, p.Time)
		}
	}
	for i := range p.Record {
		o.entries = append(o.entries, cloneEntry(&p.Record[i]))
	}
	for _, r := range p.Recoveries {
		r.Announced, r.NotBefore, r.Keys = unstamp(stamp(r.Announced)), unstamp(stamp(r.NotBefore)), slices.Clone(r.Keys)
		if r.Outcome == "" {
			r.Closed = 0
			o.recoveries = append(o.recoveries, r)
			continue
		}
		i := slices.IndexFunc(o.recoveries, func(old publish.Recovery) bool { return old.Entry == r.Entry })
		o.recoveries[i].Outcome, o.recoveries[i].Closed = r.Outcome, r.Closed
	}
}

func (o *memoryOperators) request(id string) *index.OperatorRequest {
	i := slices.IndexFunc(o.requests, func(r *index.OperatorRequest) bool { return r.ID == id })
	if i < 0 {
		return nil
	}
	return o.requests[i]
}

func closeRequest(r *index.OperatorRequest, state index.RequestState, publication int64, at time.Time) {
	r.State, r.Publication, r.Closed = state, publication, unstamp(stamp(at))
	r.Body, r.Signatures = nil, nil
}

func cloneEntry(e *record.Entry) record.Entry {
	c := *e
	c.Time = e.Time.UTC()
	if !e.NotBefore.IsZero() {
		c.NotBefore = e.NotBefore.UTC()
	}
	c.Old.IDs, c.New.IDs = slices.Clone(e.Old.IDs), slices.Clone(e.New.IDs)
	if len(c.Old.IDs) == 0 {
		c.Old.IDs = nil
	}
	if len(c.New.IDs) == 0 {
		c.New.IDs = nil
	}
	return c
}

func cloneSignatures(list []index.RoleSignature) []index.RoleSignature {
	out := slices.Clone(list)
	for i := range out {
		out[i].Signature.Sig = bytes.Clone(out[i].Signature.Sig)
	}
	slices.SortFunc(out, func(a, b index.RoleSignature) int {
		return cmp.Or(strings.Compare(string(a.Role), string(b.Role)), strings.Compare(string(a.Signature.KeyID), string(b.Signature.KeyID)))
	})
	return out
}

// operating runs do alone, unless ctx has ended.
func (m *Memory) operating(ctx context.Context, doing string, do func(o *memoryOperators) error) error {
	return m.locked(ctx, doing, func(*memoryRecords) error { return do(&m.operators) })
}

// AddOperatorRequest implements index.OperatorRequests.
func (m *Memory) AddOperatorRequest(ctx context.Context, r index.OperatorRequest) (bool, error) {
	if err := checkOperatorRequest(&r); err != nil {
		return false, err
	}
	added := false
	err := m.operating(ctx, "storing signing request "+r.ID, func(o *memoryOperators) error {
		old := o.request(r.ID)
		if old != nil && old.State != index.RequestAborted && old.State != index.RequestExpired {
			return nil
		}
		o.requests = slices.DeleteFunc(o.requests, func(k *index.OperatorRequest) bool { return k == old })
		r.Signatures = nil
		c := cloneOperatorRequest(&r)
		if c.Summary == nil {
			c.Summary = []byte{}
		}
		c.State, c.Publication, c.Closed = index.RequestOpen, 0, unstamp(stamp(time.Time{}))
		c.Created, c.Expires = unstamp(stamp(r.Created)), unstamp(stamp(r.Expires))
		o.requests = append(o.requests, &c)
		added = true
		return nil
	})
	return added, err
}

// OperatorRequest implements index.OperatorRequests.
func (m *Memory) OperatorRequest(ctx context.Context, id string) (index.OperatorRequest, error) {
	var out index.OperatorRequest
	err := m.operating(ctx, "reading signing request "+id, func(o *memoryOperators) error {
		r := o.request(id)
		if r == nil {
			return noRequest(id)
		}
		out = cloneOperatorRequest(r)
		return nil
	})
	return out, err
}

// OperatorRequests implements index.OperatorRequests.
func (m *Memory) OperatorRequests(ctx context.Context, limit int, states ...index.RequestState) ([]index.OperatorRequest, error) {
	states = statesOrAll(states)
	var out []index.OperatorRequest
	err := m.operating(ctx, "listing signing requests", func(o *memoryOperators) error {
		for _, r := range slices.Backward(o.requests) {
			if len(out) >= limit {
				break
			}
			if !slices.Contains(states, r.State) {
				continue
			}
			listed := *r
			listed.Body = nil
			out = append(out, cloneOperatorRequest(&listed))
		}
		return nil
	})
	slices.Reverse(out)
	return out, err
}

// openRequest returns an operators' request that has to be open.
func (o *memoryOperators) openRequest(id string) (*index.OperatorRequest, error) {
	r := o.request(id)
	switch {
	case r == nil:
		return nil, noRequest(id)
	case r.State != index.RequestOpen:
		return nil, requestClosed(id, r.State)
	}
	return r, nil
}

// SignOperatorRequest implements index.OperatorRequests.
func (m *Memory) SignOperatorRequest(ctx context.Context, id string, signatures []index.RoleSignature, summary []byte) error {
	return m.operating(ctx, "storing signatures for request "+id, func(o *memoryOperators) error {
		r, err := o.openRequest(id)
		if err != nil {
			return err
		}
		for _, sig := range signatures {
			sig.Signature.Sig = bytes.Clone(sig.Signature.Sig)
			r.Signatures = slices.DeleteFunc(r.Signatures, func(old index.RoleSignature) bool {
				return old.Role == sig.Role && old.Signature.KeyID == sig.Signature.KeyID
			})
			r.Signatures = append(r.Signatures, sig)
		}
		if summary != nil {
			r.Summary = bytes.Clone(summary)
		}
		return nil
	})
}

// AbortOperatorRequest implements index.OperatorRequests.
func (m *Memory) AbortOperatorRequest(ctx context.Context, id string, at time.Time) error {
	return m.operating(ctx, "aborting signing request "+id, func(o *memoryOperators) error {
		r, err := o.openRequest(id)
		if err == nil {
			closeRequest(r, index.RequestAborted, 0, at)
		}
		return err
	})
}

// ExpireOperatorRequests implements index.OperatorRequests.
func (m *Memory) ExpireOperatorRequests(ctx context.Context, now time.Time) (int, error) {
	n := 0
	err := m.operating(ctx, "closing expired signing requests", func(o *memoryOperators) error {
		for _, r := range o.requests {
			if r.State == index.RequestOpen && !r.Expires.After(now) {
				closeRequest(r, index.RequestExpired, 0, now)
				n++
			}
		}
		return nil
	})
	return n, err
}

// Record implements publish.Ledger.
func (m *Memory) Record(ctx context.Context, from int64, limit int) ([]publish.RecordEntry, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("reading the record: %w", err)
	}
	var out []publish.RecordEntry
	for i := max(from, 1) - 1; i < int64(len(m.operators.entries)) && len(out) < min(limit, maxEntries); i++ {
		out = append(out, cloneEntry(&m.operators.entries[i]))
	}
	return out, nil
}

// Recoveries implements publish.Ledger.
func (m *Memory) Recoveries(ctx context.Context) ([]publish.Recovery, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("reading the recoveries: %w", err)
	}
	var out []publish.Recovery
	for _, r := range m.operators.recoveries {
		if r.Outcome == "" {
			r.Keys = slices.Clone(r.Keys)
			out = append(out, r)
		}
	}
	return out, nil
}
