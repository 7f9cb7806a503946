package index

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"example.com/bailiwick/internal/ceremony"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/internal/sitting"
	"example.com/bailiwick/tuf"
)

// OperatorOutcome says what became of a signing request of operators.
type OperatorOutcome struct {
	ID          string
	Publication int64 // that executed it; 0: it waits
	Already     bool  // it was published before
	New         int   // signatures that were not known
	Missing     []MissingGroup
	Next        string
}

// DecodeOperatorRequest reads a signing request of operators that came from outside, at most
// sitting.MaxBytes of it. All errors but those of r are refusals.
func DecodeOperatorRequest(r io.Reader) (*sitting.Request, error) {
	q, err := sitting.Decode(r)
	if err != nil {
		return nil, sittingError("the file", err)
	}
	return q, nil
}

// sittingError turns a refused signing request into a refusal, and passes on all else.
func sittingError(what string, err error) error {
	var refused *sitting.Refused
	if !errors.As(err, &refused) {
		return err
	}
	kind := Invalid
	if refused.Reason == sitting.Stale {
		kind = Conflict
	}
	r := refuse(kind, "%s was not taken: %s", what, refused.Message)
	r.Detail, r.Err, r.Reason, r.Role, r.Version = refused.Message, err, ceremony.Reason(refused.Reason), refused.Role, refused.Version
	return r
}

// offlineError turns what the publisher says about a signing request of operators into a refusal. Operators are told
// the cause itself: they are the ones who can mend it.
func offlineError(id string, err error) error {
	var refused *sitting.Refused
	switch {
	case errors.As(err, &refused):
		return sittingError("request "+id, err)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("publishing request %s: %w", id, err)
	}
	kind := Unavailable
	for _, mistake := range []error{publish.ErrInvalid, publish.ErrUnsigned, publish.ErrExpired, publish.ErrWrongKey, publish.ErrNoRecovery, publish.ErrTooEarly} {
		if errors.Is(err, mistake) {
			kind = Invalid
		}
	}
	if errors.Is(err, publish.ErrBusy) {
		kind = Busy
	}
	r := refuse(kind, "request %s was not published: %v", id, err)
	if len(err.Error()) > maxMessage-60 {
		r.Detail = err.Error()
	}
	r.Err = err
	return r
}

// Import brings a signing request of operators in, with the signatures that it has. With the last signature that
// it needs it is published at once; until then signatures add up, from whoever brings them. The same file may be
// imported again. Nothing is kept of a request that is refused.
func (x *Index) Import(ctx context.Context, a Actor, r *sitting.Request) (OperatorOutcome, error) {
	if err := x.admitOperator(a); err != nil {
		return OperatorOutcome{}, err
	}
	leave, err := x.enterHall(ctx)
	if err != nil {
		return OperatorOutcome{}, err
	}
	defer leave()
	id := r.ID()
	stored, err := x.records.OperatorRequest(ctx, id)
	switch {
	case errors.Is(err, ErrNoRequest):
		stored = OperatorRequest{}
	case err != nil:
		return OperatorOutcome{}, fmt.Errorf("reading signing request %s: %w", id, err)
	case stored.State == RequestPublished:
		return OperatorOutcome{ID: id, Publication: stored.Publication, Already: true}, nil
	case stored.State == RequestAborted:
		// If it was overtaken, and closed because of that, then that is what to say.
		if _, err := x.judgeSitting(r); err != nil {
			return OperatorOutcome{}, err
		}
		return OperatorOutcome{}, refuse(Invalid, "request %s was aborted on %s; plan it anew", id, stored.Closed.Format(time.DateOnly))
	}
	fresh := newSignatures(&stored, r)
	for _, s := range stored.Signatures {
		if _, err := r.Add(s.Role, s.Signature); err != nil {
			return OperatorOutcome{}, sittingError("request "+id, err)
		}
	}
	v, err := x.judgeSitting(r)
	if err != nil {
		return OperatorOutcome{}, err
	}
	if err := x.keepOperator(ctx, a, r, v, stored.State == RequestOpen, fresh); err != nil {
		return OperatorOutcome{}, err
	}
	if !v.Complete() {
		return OperatorOutcome{ID: id, New: len(fresh), Missing: groupMissing(v), Next: "the others have to sign it, too"}, nil
	}
	closes, err := x.executes(ctx, v, r)
	if err != nil {
		return OperatorOutcome{}, err
	}
	done, err := x.publisher.Publish(ctx, publish.Offline{Request: r, Token: a.id, Closes: closes})
	if errors.Is(err, publish.ErrNoSigner) {
		return OperatorOutcome{ID: id, New: len(fresh), Next: "signed by all who have a say; it takes effect when the index's signer has signed what follows from it"}, nil
	}
	if err != nil {
		return OperatorOutcome{}, offlineError(id, err)
	}
	x.closeOvertaken(ctx)
	for _, c := range v.Changes {
		if c.Kind == sitting.Rekeyed || c.Kind == sitting.Recovered {
			x.closeLost(ctx, c.Project, a.id)
		}
	}
	return OperatorOutcome{ID: id, Publication: done.Publication, New: len(fresh)}, nil
}

// executes returns the signing requests of maintainers that an operators' request executes: changes of keys that it
// brings the offline signature for.
func (x *Index) executes(ctx context.Context, v *sitting.Verdict, r *sitting.Request) ([]string, error) {
	var closes []string
	for _, c := range v.Changes {
		if c.Kind != sitting.Rekeyed && c.Kind != sitting.Recovered {
			continue
		}
		role := policy.ProjectRole(c.Project)
		mine, keys := r.Payload(role), slices.Sorted(slices.Values(c.New.KeyIDs()))
		open, err := x.records.Requests(ctx, c.Project)
		if err != nil {
			return nil, fmt.Errorf("reading the signing requests of %s: %w", c.Project, err)
		}
		for _, s := range open {
			theirs, err := restore(s)
			if err != nil {
				return nil, err
			}
			// The list of files may be the same in requests for different keys.
			same := theirs.Threshold == c.New.Threshold() && slices.Equal(idsOf(theirs.Keys), keys)
			if p := theirs.Payload(role); same && p != nil && mine != nil && bytes.Equal(p.Message, mine.Message) {
				closes = append(closes, s.ID)
			}
		}
	}
	return closes, nil
}

// enterHall lets one big request at a time be planned or imported: each may take a gigabyte of memory.
func (x *Index) enterHall(ctx context.Context) (leave func(), err error) {
	select {
	case x.hall <- struct{}{}:
		return func() { <-x.hall }, nil
	default:
	}
	wait := time.NewTimer(hallWait)
	defer wait.Stop()
	select {
	case x.hall <- struct{}{}:
		return func() { <-x.hall }, nil
	case <-wait.C:
		return nil, refuse(Busy, "another signing request is being planned or imported; try again in a moment")
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting for another signing request: %w", ctx.Err())
	}
}

// hallWait is how long a request waits for another one.
const hallWait = 20 * time.Second

// newSignatures are those of r that are not stored.
func newSignatures(stored *OperatorRequest, r *sitting.Request) []RoleSignature {
	type id struct {
		role tuf.RoleName
		key  string
	}
	known := make(map[id][]byte, len(stored.Signatures))
	for _, s := range stored.Signatures {
		known[id{s.Role, string(s.Signature.KeyID)}] = s.Signature.Sig
	}
	var out []RoleSignature
	for i := range r.Payloads {
		p := &r.Payloads[i]
		for _, sig := range p.Signatures {
			if old, ok := known[id{p.Role, string(sig.KeyID)}]; !ok || !bytes.Equal(old, sig.Sig) {
				out = append(out, RoleSignature{Role: p.Role, Signature: sig})
			}
		}
	}
	return out
}

// judgeSitting asks what a request may do, and whether it is about the newest publication of this repository.
func (x *Index) judgeSitting(r *sitting.Request) (*sitting.Verdict, error) {
	view := x.publisher.Current()
	if r.Repository != view.Repository() {
		return nil, sittingError("the file", &sitting.Refused{Reason: sitting.Foreign, Message: fmt.Sprintf(
			"it is for another repository (its first root is %.6x…, here it is %.6x…)", r.Repository, view.Repository())})
	}
	v, err := sitting.Judge(r, x.now())
	if err != nil {
		return nil, sittingError("request "+r.ID(), err)
	}
	bases := make(map[tuf.RoleName]int64, len(v.Roles))
	for _, role := range v.Roles {
		bases[role.Role] = role.Version - 1
	}
	if role, newest, stale := overtakenBase(view.Set(), bases); stale {
		return nil, sittingError("request "+r.ID(), &sitting.Refused{
			Reason: sitting.Stale, Role: role, Version: newest, Message: overtakenText(view.Set(), bases),
		})
	}
	return v, nil
}

// keepOperator stores a request that is new here, and the signatures that are.
func (x *Index) keepOperator(ctx context.Context, a Actor, r *sitting.Request, v *sitting.Verdict, known bool, fresh []RoleSignature) error {
	d, kind := digestOf(r, v)
	summary, err := json.Marshal(d)
	if err != nil {
		return fmt.Errorf("summing up a signing request: %w", err)
	}
	id := r.ID()
	if !known {
		if err := x.roomForOperator(ctx, a); err != nil {
			return err
		}
		fresh = newSignatures(&OperatorRequest{}, r) // of maintainers, who sign changes of their keys before
		unsigned := r.Clone()
		for i := range unsigned.Payloads {
			unsigned.Payloads[i].Signatures = nil
		}
		var body bytes.Buffer
		if err := sitting.Encode(&body, unsigned); err != nil {
			return sittingError("the request", err)
		}
		if _, err := x.records.AddOperatorRequest(ctx, OperatorRequest{
			ID: id, Kind: kind, Body: body.Bytes(), Summary: summary, Token: a.id,
			Created: x.now().UTC().Truncate(time.Second), Expires: r.Expires,
		}); err != nil {
			return fmt.Errorf("storing signing request %s: %w", id, err)
		}
	}
	if len(fresh) == 0 {
		return nil
	}
	if err := x.records.SignOperatorRequest(ctx, id, fresh, summary); err != nil {
		return fmt.Errorf("storing signatures for request %s: %w", id, err)
	}
	return nil
}

// roomForOperator refuses one more open request over the network when there are as many as a list shows: a stolen token could
// fill the disk, and hide what is meant. Whoever holds the data folder, and the index itself, always have room.
func (x *Index) roomForOperator(ctx context.Context, a Actor) error {
	if a.id == controlID || a.id == serverID {
		return nil
	}
	open, err := x.records.OperatorRequests(ctx, maxOperatorRequests, RequestOpen)
	if err != nil {
		return fmt.Errorf("counting the operators' signing requests: %w", err)
	}
	if len(open) < maxOperatorRequests {
		return nil
	}
	return refuse(Conflict, "%d signing requests are open, and no more are kept: abort those that nobody wants (bailiwick requests, bailiwick request abort ID), and if you did not make them, revoke the token that they name", len(open))
}

// OperatorRequest returns an open signing request with all signatures that it has. The refusal is NotFound if there is none.
func (x *Index) OperatorRequest(ctx context.Context, a Actor, id string) (*sitting.Request, error) {
	if err := x.admitOperator(a); err != nil {
		return nil, err
	}
	s, err := x.records.OperatorRequest(ctx, id)
	switch {
	case errors.Is(err, ErrNoRequest):
		return nil, noOperatorRequest(id)
	case err != nil:
		return nil, fmt.Errorf("reading signing request %s: %w", id, err)
	case s.State != RequestOpen:
		return nil, refuse(NotFound, "request %s is closed: it was %s", id, closedWord(&s))
	}
	r, err := sitting.Decode(bytes.NewReader(s.Body))
	if err != nil {
		return nil, fmt.Errorf("stored signing request %s: %w", id, err)
	}
	for _, sig := range s.Signatures {
		if _, err := r.Add(sig.Role, sig.Signature); err != nil {
			return nil, fmt.Errorf("stored signing request %s: %w", id, err)
		}
	}
	return r, nil
}

func closedWord(s *OperatorRequest) string {
	var d digest
	switch {
	case s.State == RequestPublished:
		return fmt.Sprintf("published in publication %d", s.Publication)
	case s.State == RequestAborted && json.Unmarshal(s.Summary, &d) == nil && d.Overtaken != "":
		return string(RequestOvertaken) + ": " + d.Overtaken
	}
	return string(s.State)
}

func noOperatorRequest(id string) *Refusal {
	return refuse(NotFound, "there is no signing request %.40q; bailiwick requests lists those that wait", id)
}

// AbortOperatorRequest ends an open signing request. Nothing of it is published.
func (x *Index) AbortOperatorRequest(ctx context.Context, a Actor, id string) error {
	if err := x.admitOperator(a); err != nil {
		return err
	}
	err := x.records.AbortOperatorRequest(ctx, id, x.now().UTC().Truncate(time.Second))
	switch {
	case errors.Is(err, ErrNoRequest):
		return noOperatorRequest(id)
	case errors.Is(err, ErrRequestClosed):
		return refuse(NotFound, "request %.40s is closed already", id)
	case err != nil:
		return fmt.Errorf("aborting signing request %s: %w", id, err)
	}
	return nil
}
