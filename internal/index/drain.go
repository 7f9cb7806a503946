package index

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"example.com/bailiwick/internal/ceremony"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/internal/pypi"
)

// In custody strict an accepted change may have to wait for the index's signer. It is kept here, durably, and
// handed to the publisher when the signer comes: see [Index.Drain].

const (
	maxWaiting = 20_000 // changes that wait for the signer
	drainPage  = 256    // changes handed to the publisher at a time

	waitsForSigner = "it becomes installable when the index's signer has signed it"
)

// waitingBody is what is kept of a change: the change itself, or the name of a signing request that has all
// its signatures.
type waitingBody struct {
	Change  json.RawMessage `json:"change,omitempty"`
	Request string          `json:"request,omitempty"`
}

// wait keeps a change for the signer. The answer is false if one of the same name waits already.
func (x *Index) wait(ctx context.Context, name string, p pypi.Project, token string, body waitingBody, text string) (bool, error) {
	if x.records == nil {
		return false, refuse(Unavailable, "the index's signer is not connected, and this index keeps nothing for it; try again later")
	}
	n, err := x.records.CountWaiting(ctx)
	if err != nil {
		return false, fmt.Errorf("counting what waits for the signer: %w", err)
	}
	if n >= maxWaiting {
		return false, refuse(Unavailable, "the index's signer is not connected, and %d changes wait for it already; try again later", n)
	}
	data, err := json.Marshal(body)
	if err != nil {
		return false, fmt.Errorf("keeping %s: %w", name, err)
	}
	now := x.now().UTC().Truncate(time.Second)
	added, err := x.records.AddWaiting(ctx, WaitingChange{Name: name, Project: p, Body: data, Token: token, Received: now}, publish.Event{
		Project: p, Kind: publish.EventWaiting, Time: now, Token: token, Request: body.Request, Text: text,
	})
	if err != nil {
		return false, fmt.Errorf("keeping %s: %w", name, err)
	}
	return added, nil
}

// fileWaits is the name under which an upload waits.
func fileWaits(f pypi.Filename) string { return "file " + f.String() }

// waitFile keeps an upload for the signer. Of two with one name the first is kept.
func (x *Index) waitFile(ctx context.Context, receipt Receipt, f publish.File) (Receipt, error) {
	standing, err := x.publisher.Current().Standing(ctx, f.Project)
	if err != nil {
		return Receipt{}, err
	}
	if standing.Assurance != policy.Unclaimed {
		return x.stage(ctx, receipt, f) // what it waits for is its maintainers
	}
	change, err := publish.EncodeChange(publish.AddFile{File: f})
	if err != nil {
		return Receipt{}, err
	}
	added, err := x.wait(ctx, fileWaits(f.Filename), f.Project, f.Uploader, waitingBody{Change: change}, fmt.Sprintf("%s, sha256 %x", f.Filename, f.SHA256))
	if err != nil {
		return Receipt{}, err
	}
	if !added {
		if err := x.sameWaiting(ctx, f); err != nil {
			return Receipt{}, err
		}
	}
	receipt.Waiting, receipt.Unchanged = true, !added
	return receipt, nil
}

// sameWaiting refuses an upload under the name of another one that waits.
func (x *Index) sameWaiting(ctx context.Context, f publish.File) error {
	w, err := x.records.WaitingNamed(ctx, fileWaits(f.Filename))
	if errors.Is(err, ErrNotWaiting) {
		return refuse(Busy, "%s is being published; try again in a moment", f.Filename)
	}
	if err != nil {
		return fmt.Errorf("reading what waits for the signer: %w", err)
	}
	_, c, err := decodeWaiting(&w)
	if err != nil {
		return err
	}
	if add, ok := c.(publish.AddFile); !ok || add.File.SHA256 != f.SHA256 {
		return refuse(Exists, "File already exists: %s waits for the index's signer with other content; a file name can not be used twice, raise the version", f.Filename)
	}
	return nil
}

// waitEdit keeps a yank or a deletion for the signer. Several may wait, in their order.
func (x *Index) waitEdit(ctx context.Context, a Actor, p pypi.Project, what string, c publish.Change) error {
	change, err := publish.EncodeChange(c)
	if err != nil {
		return err
	}
	_, err = x.wait(ctx, "edit "+rand.Text(), p, a.id, waitingBody{Change: change}, what)
	return err
}

// projectWaits reports whether a change of a project waits: what comes after it has to wait, too.
func (x *Index) projectWaits(ctx context.Context, p pypi.Project) (bool, error) {
	if x.records == nil {
		return false, nil
	}
	for after := int64(0); ; {
		page, err := x.records.Waiting(ctx, after, drainPage)
		if err != nil {
			return false, fmt.Errorf("reading what waits for the signer: %w", err)
		}
		for _, w := range page {
			if w.Project == p {
				return true, nil
			}
		}
		if len(page) < drainPage {
			return false, nil
		}
		after = page[len(page)-1].ID
	}
}

// publishEdit publishes a yank or a deletion, or has it wait for the signer: then the receipt is empty.
func (x *Index) publishEdit(ctx context.Context, a Actor, p pypi.Project, what string, c publish.Change) (publish.Receipt, error) {
	waits, err := x.projectWaits(ctx, p)
	if err != nil {
		return publish.Receipt{}, err
	}
	var receipt publish.Receipt
	if !waits {
		receipt, err = x.publisher.Publish(ctx, c)
	}
	switch {
	case waits, errors.Is(err, publish.ErrNoSigner):
		return publish.Receipt{}, x.waitEdit(ctx, a, p, what, c)
	case err != nil:
		return publish.Receipt{}, publishError(what, err)
	}
	return receipt, nil
}

// waitRequest keeps a signing request with all its signatures for the signer.
func (x *Index) waitRequest(ctx context.Context, a Actor, p pypi.Project, id string) (Outcome, error) {
	if _, err := x.wait(ctx, "request "+id, p, a.id, waitingBody{Request: id}, "signed by all"); err != nil {
		return Outcome{}, err
	}
	return Outcome{ID: id, Next: "signed by all who have a say; it takes effect when the index's signer has signed it"}, nil
}

func decodeWaiting(w *WaitingChange) (waitingBody, publish.Change, error) {
	var body waitingBody
	if err := json.Unmarshal(w.Body, &body); err != nil {
		return body, nil, fmt.Errorf("reading %s, which waits for the signer: %w", w.Name, err)
	}
	if body.Request != "" {
		return body, nil, nil
	}
	c, err := publish.DecodeChange(body.Change)
	return body, c, err
}

// Drained says what became of what waited for the signer.
type Drained struct {
	Published int // of changes that waited
	Refused   int // that could not be published any more; their projects' owners are told why
	Left      int // that wait still, because the signer refuses them or has gone again
}

// Drain hands what waits to the publisher, in its order, projects beside each other. It returns when everything
// has had its turn, or with publish.ErrNoSigner when the signer has gone again.
func (x *Index) Drain(ctx context.Context) (Drained, error) {
	var d Drained
	if x.records == nil {
		return d, nil
	}
	for after := int64(0); ; {
		page, err := x.records.Waiting(ctx, after, drainPage)
		if err != nil {
			return d, fmt.Errorf("reading what waits for the signer: %w", err)
		}
		if len(page) == 0 {
			return d, x.drainOperators(ctx)
		}
		after = page[len(page)-1].ID
		if err := x.drainPage(ctx, page, &d); err != nil {
			return d, err
		}
	}
}

// drainPage has the changes of one page published. Those of one project follow each other.
func (x *Index) drainPage(ctx context.Context, page []WaitingChange, d *Drained) error {
	byProject := make(map[pypi.Project][]WaitingChange)
	var order []pypi.Project
	for _, w := range page {
		if byProject[w.Project] == nil {
			order = append(order, w.Project)
		}
		byProject[w.Project] = append(byProject[w.Project], w)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex // guards d and errs
	var errs []error
	for _, p := range order {
		wg.Go(func() {
			for i := range byProject[p] {
				done, err := x.drainOne(ctx, &byProject[p][i])
				mu.Lock()
				d.Published, d.Refused, d.Left = d.Published+done.Published, d.Refused+done.Refused, d.Left+done.Left
				if err != nil {
					errs = append(errs, err)
				}
				mu.Unlock()
				if err != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if !errors.Is(err, publish.ErrNoSigner) {
			return err
		}
	}
	if len(errs) > 0 {
		return publish.ErrNoSigner
	}
	return nil
}

// drainOne has one change published, and forgets it then. An error says that the rest can wait, too.
func (x *Index) drainOne(ctx context.Context, w *WaitingChange) (Drained, error) {
	err := x.publishWaiting(ctx, w)
	var refusal *Refusal
	switch {
	case err == nil:
		return Drained{Published: 1}, x.forgetWaiting(ctx, w)
	case errors.Is(err, publish.ErrNotSigned):
		return Drained{Left: 1}, nil // the publisher's log says why; it is tried again with the next signer
	case errors.As(err, &refusal) && refusal.Kind != Busy && refusal.Kind != Unavailable:
		return Drained{Refused: 1}, x.forgetWaiting(ctx, w, publish.Event{
			Project: w.Project, Kind: publish.EventUnstaged, Time: x.now().UTC().Truncate(time.Second), Token: w.Token,
			Text: clip(strings.TrimPrefix(w.Name, "file ") + " was not published: " + refusal.Error()),
		})
	}
	return Drained{Left: 1}, err
}

// clip makes text fit into an event.
func clip(s string) string { return s[:min(len(s), 1000)] }

func (x *Index) forgetWaiting(ctx context.Context, w *WaitingChange, events ...publish.Event) error {
	if err := x.records.RemoveWaiting(context.WithoutCancel(ctx), w.ID, events...); err != nil {
		return fmt.Errorf("forgetting %s, which does not wait any more: %w", w.Name, err)
	}
	return nil
}

// publishWaiting publishes a change that waited. Mistakes that show only now are refusals.
func (x *Index) publishWaiting(ctx context.Context, w *WaitingChange) error {
	body, c, err := decodeWaiting(w)
	if err != nil {
		return err
	}
	if body.Request != "" {
		return x.publishRequest(ctx, Actor{id: w.Token}, body.Request)
	}
	_, err = x.publisher.Publish(ctx, c)
	if add, ok := c.(publish.AddFile); ok && errors.Is(err, publish.ErrNotRegistry) {
		_, err = x.stage(ctx, Receipt{}, add.File) // it was claimed meanwhile
		return err
	}
	if err != nil && !errors.Is(err, publish.ErrNoSigner) && !errors.Is(err, publish.ErrNotSigned) {
		return publishError(strings.TrimPrefix(w.Name, "file "), err)
	}
	return err
}

// publishRequest publishes a signing request that waited. One that is gone was published with the proposal in
// which it was, or aborted; one that has been overtaken stays open for its people to see.
func (x *Index) publishRequest(ctx context.Context, a Actor, id string) error {
	stored, err := x.records.Request(ctx, id)
	if errors.Is(err, ErrNoRequest) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading signing request %s: %w", id, err)
	}
	r, err := restore(stored)
	if err != nil {
		return err
	}
	j, err := x.judge(ctx, r)
	if err != nil {
		return err
	}
	if !j.Verdict.Complete() {
		return nil // a change of keys came between; the request waits for people again
	}
	_, err = x.publisher.Publish(ctx, j.Sign(a.id))
	if err == nil && r.Kind == ceremony.Rekey {
		x.closeLost(ctx, r.Project, a.id)
	}
	if err != nil && !errors.Is(err, publish.ErrNoSigner) && !errors.Is(err, publish.ErrNotSigned) {
		return requestError("signing request "+id, err)
	}
	return err
}

// drainOperators publishes the requests of operators that have all their signatures.
func (x *Index) drainOperators(ctx context.Context) error {
	open, err := x.records.OperatorRequests(ctx, maxOperatorDrain, RequestOpen)
	if err != nil {
		return fmt.Errorf("reading the operators' requests: %w", err)
	}
	for _, s := range open {
		r, err := x.OperatorRequest(ctx, x.Operator(), s.ID)
		if err != nil {
			return err
		}
		v, err := x.judgeSitting(r)
		if err != nil || !v.Complete() {
			continue // it waits for people
		}
		_, err = x.Import(ctx, x.Operator(), r)
		var refusal *Refusal
		if err != nil && !errors.As(err, &refusal) {
			return err
		}
	}
	return nil
}

// maxOperatorDrain bounds the operators' requests that are looked at.
const maxOperatorDrain = 100
