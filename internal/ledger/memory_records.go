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
	"example.com/bailiwick/internal/pypi"
)

// memoryRecords is what a [Memory] keeps of files, requests and events; guarded by its lock.
type memoryRecords struct {
	staged   []publish.File // in order of arrival
	requests []index.StoredRequest
	events   []publish.Event
}

// commit is the part of a publication that concerns what waited for it.
func (r *memoryRecords) commit(p *publish.Publication) {
	for _, f := range p.Files {
		r.dropStaged(f.Filename)
	}
	for _, id := range p.Closed {
		r.requests = slices.DeleteFunc(r.requests, func(s index.StoredRequest) bool { return s.ID == id })
	}
	for _, e := range p.Events {
		r.record(e)
	}
}

func (r *memoryRecords) dropStaged(name pypi.Filename) int {
	before := len(r.staged)
	r.staged = slices.DeleteFunc(r.staged, func(f publish.File) bool { return f.Filename.String() == name.String() })
	return before - len(r.staged)
}

func (r *memoryRecords) record(e publish.Event) {
	e.ID = int64(len(r.events)) + 1
	e.Time, e.Keys = unstamp(stamp(e.Time)), slices.Clone(e.Keys)
	if len(e.Keys) == 0 {
		e.Keys = nil
	}
	r.events = append(r.events, e)
}

func (r *memoryRecords) request(id string) *index.StoredRequest {
	i := slices.IndexFunc(r.requests, func(s index.StoredRequest) bool { return s.ID == id })
	if i < 0 {
		return nil
	}
	return &r.requests[i]
}

// locked runs do alone, unless ctx has ended.
func (m *Memory) locked(ctx context.Context, doing string, do func(r *memoryRecords) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	err := ctx.Err()
	if err == nil {
		err = do(&m.records)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	return nil
}

// AddStaged implements index.StagedFiles.
func (m *Memory) AddStaged(ctx context.Context, f publish.File, e publish.Event) (bool, error) {
	if err := checkStaged(&f, &e); err != nil {
		return false, err
	}
	added := false
	err := m.locked(ctx, "staging "+f.Filename.String(), func(r *memoryRecords) error {
		if slices.ContainsFunc(r.staged, func(o publish.File) bool {
			return o.Filename.String() == f.Filename.String() && o.SHA256 == f.SHA256
		}) {
			return nil
		}
		f = copyFile(f)
		f.Uploaded, f.Signers = unstamp(stamp(f.Uploaded)), nil
		r.staged = append(r.staged, f)
		r.record(e)
		added = true
		return nil
	})
	return added, err
}

// Staged implements index.StagedFiles.
func (m *Memory) Staged(ctx context.Context, p pypi.Project) ([]publish.File, error) {
	var out []publish.File
	err := m.locked(ctx, "reading the staged files of "+p.String(), func(r *memoryRecords) error {
		for _, f := range r.staged {
			if f.Project == p {
				out = append(out, copyFile(f))
			}
		}
		return nil
	})
	slices.SortStableFunc(out, func(a, b publish.File) int { return strings.Compare(a.Filename.String(), b.Filename.String()) })
	return out, err
}

// RemoveStaged implements index.StagedFiles.
func (m *Memory) RemoveStaged(ctx context.Context, name pypi.Filename, e publish.Event) (int, error) {
	if err := checkEvent(&e); err != nil {
		return 0, err
	}
	n := 0
	err := m.locked(ctx, "discarding "+name.String(), func(r *memoryRecords) error {
		if n = r.dropStaged(name); n > 0 {
			r.record(e)
		}
		return nil
	})
	return n, err
}

// ExpireStaged implements index.StagedFiles.
func (m *Memory) ExpireStaged(ctx context.Context, before time.Time) (int, error) {
	n := 0
	err := m.locked(ctx, "forgetting staged files", func(r *memoryRecords) error {
		kept := slices.DeleteFunc(r.staged, func(f publish.File) bool { return !f.Uploaded.After(before) })
		n, r.staged = len(r.staged)-len(kept), kept
		return nil
	})
	return n, err
}

// AddRequest implements index.Requests.
func (m *Memory) AddRequest(ctx context.Context, s index.StoredRequest, e publish.Event) (bool, error) {
	if err := checkRequest(&s, &e); err != nil {
		return false, err
	}
	added := false
	err := m.locked(ctx, "storing signing request "+s.ID, func(r *memoryRecords) error {
		if r.request(s.ID) != nil {
			return nil
		}
		s.Body, s.Signatures = bytes.Clone(s.Body), nil
		s.Received, s.Expires = unstamp(stamp(s.Received)), unstamp(stamp(s.Expires))
		r.requests = append(r.requests, s)
		r.record(e)
		added = true
		return nil
	})
	return added, err
}

// Request implements index.Requests.
func (m *Memory) Request(ctx context.Context, id string) (index.StoredRequest, error) {
	var out index.StoredRequest
	err := m.locked(ctx, "reading signing request "+id, func(r *memoryRecords) error {
		s := r.request(id)
		if s == nil {
			return noRequest(id)
		}
		out = copyRequest(s)
		return nil
	})
	return out, err
}

// Requests implements index.Requests.
func (m *Memory) Requests(ctx context.Context, p pypi.Project) ([]index.StoredRequest, error) {
	var out []index.StoredRequest
	err := m.locked(ctx, "reading the signing requests of "+p.String(), func(r *memoryRecords) error {
		for i := range r.requests {
			if r.requests[i].Project == p {
				out = append(out, copyRequest(&r.requests[i]))
			}
		}
		return nil
	})
	return out, err
}

// OpenRequests implements index.Requests.
func (m *Memory) OpenRequests(ctx context.Context, limit int) ([]index.StoredRequest, error) {
	var out []index.StoredRequest
	err := m.locked(ctx, "reading the signing requests of all projects", func(r *memoryRecords) error {
		for i := range r.requests[:max(0, min(limit, len(r.requests)))] {
			out = append(out, copyRequest(&r.requests[i]))
		}
		return nil
	})
	return out, err
}

func copyRequest(s *index.StoredRequest) index.StoredRequest {
	c := *s
	c.Body, c.Signatures = bytes.Clone(s.Body), slices.Clone(s.Signatures)
	for i := range c.Signatures {
		c.Signatures[i].Signature.Sig = bytes.Clone(c.Signatures[i].Signature.Sig)
	}
	slices.SortFunc(c.Signatures, func(a, b index.RoleSignature) int {
		return cmp.Or(strings.Compare(string(a.Role), string(b.Role)), strings.Compare(string(a.Signature.KeyID), string(b.Signature.KeyID)))
	})
	return c
}

// SignRequest implements index.Requests.
func (m *Memory) SignRequest(ctx context.Context, id string, signatures []index.RoleSignature, e publish.Event) error {
	if err := checkEvent(&e); err != nil {
		return err
	}
	return m.locked(ctx, "storing signatures for request "+id, func(r *memoryRecords) error {
		s := r.request(id)
		if s == nil {
			return noRequest(id)
		}
		for _, sig := range signatures {
			sig.Signature.Sig = bytes.Clone(sig.Signature.Sig)
			s.Signatures = slices.DeleteFunc(s.Signatures, func(o index.RoleSignature) bool {
				return o.Role == sig.Role && o.Signature.KeyID == sig.Signature.KeyID
			})
			s.Signatures = append(s.Signatures, sig)
		}
		r.record(e)
		return nil
	})
}

// CloseRequest implements index.Requests.
func (m *Memory) CloseRequest(ctx context.Context, id string, e publish.Event) error {
	if err := checkEvent(&e); err != nil {
		return err
	}
	return m.locked(ctx, "closing signing request "+id, func(r *memoryRecords) error {
		if r.request(id) == nil {
			return noRequest(id)
		}
		r.requests = slices.DeleteFunc(r.requests, func(s index.StoredRequest) bool { return s.ID == id })
		r.record(e)
		return nil
	})
}

// ExpireRequests implements index.Requests.
func (m *Memory) ExpireRequests(ctx context.Context, now time.Time) (int, error) {
	n := 0
	err := m.locked(ctx, "forgetting signing requests", func(r *memoryRecords) error {
		kept := slices.DeleteFunc(r.requests, func(s index.StoredRequest) bool { return !s.Expires.After(now) })
		n, r.requests = len(r.requests)-len(kept), kept
		return nil
	})
	return n, err
}

// Events implements index.Events.
func (m *Memory) Events(ctx context.Context, p pypi.Project, limit int) ([]publish.Event, error) {
	var out []publish.Event
	err := m.locked(ctx, "reading the events of "+p.String(), func(r *memoryRecords) error {
		for _, e := range slices.Backward(r.events) {
			if len(out) >= limit {
				break
			}
			if e.Project == p {
				e.Keys = slices.Clone(e.Keys)
				out = append(out, e)
			}
		}
		return nil
	})
	return out, err
}
