package index

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"example.com/bailiwick/internal/ceremony"
	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/tuf/key"
)

// Outcome says what became of a signing request.
type Outcome struct {
	ID          string
	Publication int64 // number of a publication that shows it; 0: it waits
	// Missing are the signatures that it waits for, and Next says in one sentence what has to
	// happen. Both are empty once it is published.
	Missing []ceremony.Missing
	Next    string
}

// Pending is a signing request that waits.
type Pending struct {
	ID       string
	Request  *ceremony.Request // with the signatures that it has
	Token    string            // identifier of the token that brought it
	Received time.Time
	Expires  time.Time
	Missing  []ceremony.Missing
	Next     string // what has to happen, in one sentence
	// Problem says why the request can not be executed any more as it is, Stale that the reason is
	// a newer version of a role: abort it and make it anew.
	Problem string
	Stale   bool
}

// DecodeRequest reads a signing request that came from outside. All errors are refusals.
func DecodeRequest(data []byte) (*ceremony.Request, error) {
	r, err := ceremony.Decode(data)
	if err != nil {
		return nil, requestError("the request", err)
	}
	return r, nil
}

// judge asks what a request may do on the current publication. The publisher asks again on the
// state that its publication follows.
func (x *Index) judge(ctx context.Context, r *ceremony.Request) (*publish.Judgement, error) {
	staged, err := x.staged(ctx, r.Project)
	if err != nil {
		return nil, err
	}
	j, err := x.publisher.Current().Judge(ctx, r, staged, x.now())
	var refused *ceremony.Refused
	if errors.As(err, &refused) {
		return nil, requestError("the request", err)
	}
	return j, err
}

// Propose brings a signing request in, with the signatures that it has so far. A request with all
// that it needs is published at once, and the outcome tells where; any other is kept until the
// rest have signed. The same request may be proposed again: signatures add up. Nothing is kept of
// a request that is refused.
func (x *Index) Propose(ctx context.Context, a Actor, r *ceremony.Request) (Outcome, error) {
	if r == nil {
		return Outcome{}, refuse(Invalid, "there is no signing request")
	}
	if err := x.admit(a, r.Project); err != nil {
		return Outcome{}, err
	}
	j, err := x.judge(ctx, r)
	if err != nil {
		return Outcome{}, err
	}
	id := j.ID()
	if j.Verdict.Complete() {
		return x.execute(ctx, a, r, j)
	}
	signatures := signaturesOf(r)
	if len(signatures) == 0 {
		return Outcome{}, refuse(Invalid, "nobody has signed the request; sign it with one of the keys that it needs, then send it")
	}
	if err := x.keepRequest(ctx, a, r); err != nil {
		return Outcome{}, err
	}
	return x.add(ctx, a, r.Project, id, signatures)
}

// keepRequest stores a request whose signatures do not suffice yet.
func (x *Index) keepRequest(ctx context.Context, a Actor, r *ceremony.Request) error {
	now := x.now().UTC().Truncate(time.Second)
	if _, err := x.records.ExpireRequests(ctx, now); err != nil {
		return fmt.Errorf("forgetting old signing requests: %w", err)
	}
	open, err := x.records.Requests(ctx, r.Project)
	if err != nil {
		return fmt.Errorf("reading the signing requests of %s: %w", r.Project, err)
	}
	id := r.ID()
	for _, s := range open {
		if s.ID == id {
			return nil
		}
	}
	if len(open) >= maxRequests {
		return refuse(Invalid, "%s has %d open signing requests, and no more fit; sign them, or abort those that nobody wants", r.Project, len(open))
	}
	unsigned := r.Clone()
	for i := range unsigned.Payloads {
		unsigned.Payloads[i].Signatures = nil
	}
	body, err := unsigned.Encode()
	if err != nil {
		return requestError("the request", err)
	}
	expires := r.Expires
	if latest := now.Add(ceremony.MaxLife); expires.After(latest) {
		expires = latest
	}
	_, err = x.records.AddRequest(ctx, StoredRequest{
		ID: id, Project: r.Project, Body: body, Token: a.id, Received: now, Expires: expires,
	}, publish.Event{
		Project: r.Project, Kind: publish.EventOpened, Time: now, Token: a.id, Request: id, Text: string(r.Kind),
	})
	if err != nil {
		return fmt.Errorf("storing signing request %s: %w", id, err)
	}
	return nil
}

// AddSignature adds signatures to an open request, and publishes it if they were the last ones that
// it needed. The refusal is NotFound if there is no such request (any more), Conflict if it is
// stale, Forbidden or Invalid if a signature does not count; nothing is added then.
func (x *Index) AddSignature(ctx context.Context, a Actor, id string, signatures ...RoleSignature) (Outcome, error) {
	stored, err := x.openRequest(ctx, a, id)
	if err != nil {
		return Outcome{}, err
	}
	if len(signatures) == 0 || len(signatures) > ceremony.MaxPayloads*ceremony.MaxSignatures {
		return Outcome{}, refuse(Invalid, "the request %s needs signatures, and %d came", id, len(signatures))
	}
	r, err := restore(stored)
	if err != nil {
		return Outcome{}, err
	}
	for _, s := range signatures {
		if _, err := r.Add(s.Role, s.Signature); err != nil {
			return Outcome{}, requestError("the request", err)
		}
	}
	if _, err := x.judge(ctx, r); err != nil {
		return Outcome{}, err
	}
	return x.add(ctx, a, stored.Project, id, signatures)
}

// add stores good signatures and looks whether the request is complete now. It reads the request
// again after storing, so that of two people who sign at once at least one sees both signatures.
func (x *Index) add(ctx context.Context, a Actor, project pypi.Project, id string, signatures []RoleSignature) (Outcome, error) {
	e := publish.Event{
		Project: project, Kind: publish.EventSigned, Time: x.now().UTC().Truncate(time.Second), Token: a.id, Request: id,
		Keys: signerIDs(signatures),
	}
	switch err := x.records.SignRequest(ctx, id, signatures, e); {
	case errors.Is(err, ErrNoRequest):
		return x.gone(ctx, project, id)
	case err != nil:
		return Outcome{}, fmt.Errorf("storing signatures for request %s: %w", id, err)
	}
	stored, err := x.records.Request(ctx, id)
	if errors.Is(err, ErrNoRequest) {
		return x.gone(ctx, project, id)
	}
	if err != nil {
		return Outcome{}, fmt.Errorf("reading signing request %s: %w", id, err)
	}
	r, err := restore(stored)
	if err != nil {
		return Outcome{}, err
	}
	j, err := x.judge(ctx, r)
	if err != nil {
		return x.overtaken(ctx, project, id, err)
	}
	if !j.Verdict.Complete() {
		if err := x.contradict(ctx, a, r, signatures); err != nil {
			return Outcome{}, err
		}
		return Outcome{ID: id, Missing: j.Verdict.Missing, Next: j.Verdict.Next()}, nil
	}
	out, err := x.execute(ctx, a, r, j)
	if err != nil {
		return x.overtaken(ctx, project, id, err)
	}
	return out, nil
}

// overtaken tells a request that somebody else has just executed from one that is stale.
func (x *Index) overtaken(ctx context.Context, project pypi.Project, id string, err error) (Outcome, error) {
	var refusal *Refusal
	if errors.As(err, &refusal) && refusal.Kind == Conflict {
		if _, gone := x.records.Request(ctx, id); errors.Is(gone, ErrNoRequest) {
			return x.gone(ctx, project, id)
		}
	}
	return Outcome{}, err
}

// gone is the outcome of a request that ended while we were adding to it: the record tells whether
// somebody else's signature has published it.
func (x *Index) gone(ctx context.Context, p pypi.Project, id string) (Outcome, error) {
	events, err := x.records.Events(ctx, p, maxEvents)
	if err != nil {
		return Outcome{}, fmt.Errorf("reading the events of %s: %w", p, err)
	}
	for _, e := range events {
		if e.Request == id && e.Publication > 0 {
			return Outcome{ID: id, Publication: e.Publication}, nil
		}
	}
	return Outcome{}, noRequest(id)
}

// execute publishes a request that has all its signatures.
func (x *Index) execute(ctx context.Context, a Actor, r *ceremony.Request, j *publish.Judgement) (Outcome, error) {
	id := j.ID()
	done, err := x.publisher.Publish(ctx, j.Sign(a.id))
	if errors.Is(err, publish.ErrNoSigner) {
		return x.keepForSigner(ctx, a, r)
	}
	if err != nil {
		return Outcome{}, requestError("signing request "+id, err)
	}
	if x.records != nil && r.Kind == ceremony.Rekey {
		x.closeLost(ctx, r.Project, a.id)
	}
	return Outcome{ID: id, Publication: done.Publication}, nil
}

// keepForSigner keeps a request with all its signatures until the index's signer is there.
func (x *Index) keepForSigner(ctx context.Context, a Actor, r *ceremony.Request) (Outcome, error) {
	id := r.ID()
	if err := x.keepRequest(ctx, a, r); err != nil {
		return Outcome{}, err
	}
	signatures := signaturesOf(r)
	err := x.records.SignRequest(ctx, id, signatures, publish.Event{
		Project: r.Project, Kind: publish.EventSigned, Time: x.now().UTC().Truncate(time.Second), Token: a.id, Request: id,
		Keys: signerIDs(signatures),
	})
	if errors.Is(err, ErrNoRequest) {
		return x.gone(ctx, r.Project, id)
	}
	if err != nil {
		return Outcome{}, fmt.Errorf("storing signatures for request %s: %w", id, err)
	}
	return x.waitRequest(ctx, a, r.Project, id)
}

// Requests returns the open signing requests of a project, oldest first.
func (x *Index) Requests(ctx context.Context, a Actor, p pypi.Project) ([]Pending, error) {
	if err := x.admit(a, p); err != nil {
		return nil, err
	}
	stored, err := x.records.Requests(ctx, p)
	if err != nil {
		return nil, fmt.Errorf("reading the signing requests of %s: %w", p, err)
	}
	var out []Pending
	for _, s := range stored {
		if !s.Expires.After(x.now()) {
			continue
		}
		pending, err := x.pending(ctx, s)
		if err != nil {
			return nil, err
		}
		out = append(out, pending)
	}
	return out, nil
}

// Request returns an open signing request. The refusal is NotFound if there is none, also for an
// actor without a right to its project.
func (x *Index) Request(ctx context.Context, a Actor, id string) (Pending, error) {
	s, err := x.openRequest(ctx, a, id)
	if err != nil {
		return Pending{}, err
	}
	return x.pending(ctx, s)
}

// Abort ends an open signing request. Nothing of it is published.
func (x *Index) Abort(ctx context.Context, a Actor, id string) error {
	s, err := x.openRequest(ctx, a, id)
	if err != nil {
		return err
	}
	err = x.records.CloseRequest(ctx, id, publish.Event{
		Project: s.Project, Kind: publish.EventAborted, Time: x.now().UTC().Truncate(time.Second), Token: a.id, Request: id,
	})
	if errors.Is(err, ErrNoRequest) {
		return noRequest(id)
	}
	if err != nil {
		return fmt.Errorf("aborting signing request %s: %w", id, err)
	}
	return nil
}

// openRequest returns a request that an actor may see.
func (x *Index) openRequest(ctx context.Context, a Actor, id string) (StoredRequest, error) {
	if x.records == nil {
		return StoredRequest{}, noRecords()
	}
	s, err := x.records.Request(ctx, id)
	switch {
	case errors.Is(err, ErrNoRequest):
		return StoredRequest{}, noRequest(id)
	case err != nil:
		return StoredRequest{}, fmt.Errorf("reading signing request %s: %w", id, err)
	case !a.May(s.Project), !s.Expires.After(x.now()):
		return StoredRequest{}, noRequest(id)
	}
	return s, nil
}

func noRequest(id string) *Refusal {
	return refuse(NotFound, "no signing request %.40q is open that this token may see; it was published, aborted, or has expired", id)
}

// pending says where a stored request stands.
func (x *Index) pending(ctx context.Context, s StoredRequest) (Pending, error) {
	r, err := restore(s)
	if err != nil {
		return Pending{}, err
	}
	p := Pending{ID: s.ID, Request: r, Token: s.Token, Received: s.Received, Expires: s.Expires}
	j, err := x.judge(ctx, r)
	var refusal *Refusal
	switch {
	case errors.As(err, &refusal):
		p.Problem, p.Stale = refusal.Error(), refusal.Kind == Conflict
		p.Next = "abort it and make it anew"
	case err != nil:
		return Pending{}, err
	default:
		p.Missing, p.Next = j.Verdict.Missing, j.Verdict.Next()
		if j.Verdict.Complete() {
			p.Next = "nothing: it takes effect when the index's signer has signed it"
		}
	}
	return p, nil
}

// restore decodes a stored request and puts in the signatures that were added.
func restore(s StoredRequest) (*ceremony.Request, error) {
	r, err := ceremony.Decode(s.Body)
	if err != nil {
		return nil, fmt.Errorf("stored signing request %s: %w", s.ID, err)
	}
	for _, sig := range s.Signatures {
		if _, err := r.Add(sig.Role, sig.Signature); err != nil {
			return nil, fmt.Errorf("stored signing request %s: %w", s.ID, err)
		}
	}
	return r, nil
}

func signaturesOf(r *ceremony.Request) []RoleSignature {
	var out []RoleSignature
	for _, p := range r.Payloads {
		for _, s := range p.Signatures {
			out = append(out, RoleSignature{Role: p.Role, Signature: s})
		}
	}
	return out
}

func signerIDs(signatures []RoleSignature) []key.ID {
	var out []key.ID
	for _, s := range signatures {
		if !slices.Contains(out, s.Signature.KeyID) {
			out = append(out, s.Signature.KeyID)
		}
	}
	return out
}
