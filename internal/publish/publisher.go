package publish

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/tuf"
)

// Defaults of a [Config], and bounds that nobody has to choose.
const (
	DefaultBatch = 256  // changes in one publication
	DefaultQueue = 1024 // changes that wait

	clockSkew   = 10 * time.Second // a clock this far behind the last publication is put up with
	renewBeside = 4                // roles renewed in passing with each publication
	renewIdle   = 64               // roles renewed at a time when nothing else is published
	pruneStep   = 256              // superseded versions removed at a time
)

// Config is what a [Publisher] is made of.
type Config struct {
	Ledger    Ledger           // required
	Signers   Signers          // one for each role required, unless Countersign is set
	Lifetimes policy.Lifetimes // zero: policy.DefaultLifetimes
	Retention Retention        // zero fields: defaults
	Batch     int              // most changes in one publication; zero: DefaultBatch
	Queue     int              // most changes that wait; zero: DefaultQueue
	Now       func() time.Time // required
	Log       *slog.Logger     // nil: nothing is logged
	// Countersign is the way to the isolated signer (custody strict): it signs what none of the Signers may. Registry
	// and Snapshot of Signers are nil then as far as it holds those keys. Nil: there is none.
	Countersign Countersigner
	Proposals   Proposals // required with Countersign; the ledger, usually
	// RecoveryDelay is how long an announced recovery waits before it may take effect; zero:
	// DefaultRecoveryDelay.
	RecoveryDelay time.Duration
	// Expiring, if it is set, is told once a day, and after each [Offline], which roles people have to sign within
	// 30 days, so that their signing requests are open in time. It is called in a goroutine of its own, never
	// twice at once, and is given a context that ends with Run.
	Expiring func(ctx context.Context, v *View, roles []Role)
}

// orDefault checks a configuration and fills what may be left out.
func (c Config) orDefault() (Config, error) {
	var errs []error
	if c.Ledger == nil || c.Now == nil {
		errs = append(errs, errors.New("a publisher needs a ledger and a clock"))
	}
	errs = append(errs, c.Signers.check(c.Countersign != nil))
	if c.Countersign != nil && c.Proposals == nil {
		errs = append(errs, errors.New("a publisher with an isolated signer needs to keep what it proposes"))
	}
	if c.Lifetimes == (policy.Lifetimes{}) {
		c.Lifetimes = policy.DefaultLifetimes()
	}
	errs = append(errs, c.Lifetimes.Check())
	if c.Batch < 0 || c.Queue < 0 || c.Retention.Roles < 0 || c.Retention.Pinners < 0 || c.RecoveryDelay < 0 {
		errs = append(errs, errors.New("batch, queue, retention and the delay of recoveries can not be negative"))
	}
	if c.RecoveryDelay == 0 {
		c.RecoveryDelay = DefaultRecoveryDelay
	}
	if c.Batch == 0 {
		c.Batch = DefaultBatch
	}
	if c.Queue == 0 {
		c.Queue = DefaultQueue
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	c.Retention = c.Retention.orDefault()
	return c, errors.Join(errs...)
}

// Publisher publishes changes. [Publisher.Run] must be running for anything to be published; all
// other methods may be called from any goroutine.
type Publisher struct {
	c      Config        // never changes
	keys   *keyring      // safe for concurrent use
	shelf  *shelf        // safe for concurrent use
	queue  chan *request // written by Publish, read by Run
	nudged chan struct{} // holds a value when maintenance is to be done now
	closed chan struct{} // closed when Run returns

	view atomic.Pointer[View] // swapped by Run alone

	telling atomic.Bool    // Config.Expiring is being called
	beside  sync.WaitGroup // what Run has begun and waits for

	// Owned by Run's goroutine.
	state  *state          // nil: what the ledger holds is not known, read it again
	warned time.Time       // when offline roles near expiry were last logged
	retry  time.Duration   // how long maintenance waited after its last failure; 0: it did not fail
	open   *StoredProposal // that the signer may have signed, and that is not committed; nil: none
	recent ring            // when the last publications were made

	mu     sync.Mutex // guards what follows
	status Status
}

// request is a change on its way through the queue.
type request struct {
	change Change
	gone   <-chan struct{} // closed when nobody waits any more
	answer chan answer     // buffered: the publisher never waits for a waiter

	edit edit // nil if the change changed nothing
	err  error
}

type answer struct {
	receipt Receipt
	err     error
}

// Receipt says what became of a change.
type Receipt struct {
	// Publication is the number of a publication that shows the change to every client.
	Publication int64
	// Unchanged: the repository was as asked for already, and nothing was published.
	Unchanged bool
}

// Open reads the repository out of a ledger and verifies it from its first root on. It publishes
// nothing until Run is called. ErrNoRepository if there is none, ErrDamaged if a client would not
// accept what is stored, ErrWrongKey if the keys are not the repository's.
func Open(ctx context.Context, c Config) (*Publisher, error) {
	c, err := c.orDefault()
	if err != nil {
		return nil, fmt.Errorf("configuring the publisher: %w", err)
	}
	p := &Publisher{c: c, keys: newKeyring(c.Signers), shelf: newShelf(c.Ledger), queue: make(chan *request, c.Queue), closed: make(chan struct{}), nudged: make(chan struct{}, 1)}
	s, err := loadState(ctx, c.Ledger, p.shelf)
	if err != nil {
		return nil, fmt.Errorf("opening the repository: %w", err)
	}
	if err := s.checkSigners(ctx, p.keys, &c); err != nil {
		return nil, fmt.Errorf("opening the repository: %w", err)
	}
	if err := p.readProposal(ctx); err != nil {
		return nil, fmt.Errorf("opening the repository: %w", err)
	}
	p.adopt(s)
	return p, nil
}

// adopt makes a state the current one.
func (p *Publisher) adopt(s *state) {
	p.state = s
	p.view.Store(s.view)
}

// Current returns the repository as the newest publication left it. It never returns nil and
// never waits.
func (p *Publisher) Current() *View { return p.view.Load() }

// Publish hands over a change and waits until every client can see it, or until it is refused. If
// ctx ends first, the change may still be published: asking again is safe, because publishing the
// same change twice is success. Errors: ErrBusy, ErrClosed, ErrClockBack, ErrVerification, those of
// the change (ErrInvalid, ErrFileExists, ErrSdistExists, ErrNoFile, ErrNotRegistry, ErrExpired,
// ErrTooManyFiles, ErrUnsigned, policy.ErrCustom, *ceremony.Refused), and whatever the ledger says. Nothing of the change was
// published then, unless the ledger can not be asked any more how its last commit ended; asking
// again is safe after every error.
func (p *Publisher) Publish(ctx context.Context, c Change) (Receipt, error) {
	if err := c.check(); err != nil {
		return Receipt{}, err
	}
	if o, ok := c.(Offline); ok {
		var err error
		if c, err = o.judge(p.c.Now()); err != nil {
			return Receipt{}, err
		}
	}
	r := &request{change: c, gone: ctx.Done(), answer: make(chan answer, 1)}
	select {
	case <-p.closed:
		return Receipt{}, ErrClosed
	default:
	}
	select {
	case p.queue <- r:
	default:
		return Receipt{}, fmt.Errorf("%d changes are waiting: %w", cap(p.queue), ErrBusy)
	}
	select {
	case a := <-r.answer:
		return a.receipt, a.err
	case <-ctx.Done():
		return Receipt{}, fmt.Errorf("waiting for a publication: %w", ctx.Err())
	case <-p.closed:
	}
	// The answer may have come just before Run ended.
	select {
	case a := <-r.answer:
		return a.receipt, a.err
	default:
		return Receipt{}, ErrClosed
	}
}

// Run publishes until ctx ends, and then returns nil; a publication that has begun is finished
// first. It renews what is going to expire and prunes what is superseded. It must be called once.
func (p *Publisher) Run(ctx context.Context) error {
	defer close(p.closed)
	defer p.beside.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		if ctx.Err() != nil {
			return nil
		}
		select {
		case <-ctx.Done():
		case first := <-p.queue:
			p.serve(ctx, p.gather(first))
			if p.warned.IsZero() && p.state != nil {
				p.warn(ctx) // after an Offline: it leaves something to do
			}
		case <-timer.C:
			timer.Reset(p.maintain(ctx))
		case <-p.nudged:
			timer.Reset(p.maintain(ctx))
		}
	}
}

// Nudge has Run look at once for what is due, as it does every few minutes: the signer has come.
func (p *Publisher) Nudge() {
	select {
	case p.nudged <- struct{}{}:
	default: // it will look
	}
}

// gather takes what waits, without waiting itself: while a publication is written, the next batch
// gathers in the queue.
func (p *Publisher) gather(first *request) []*request {
	batch := []*request{first}
	for len(batch) < p.c.Batch {
		select {
		case r := <-p.queue:
			batch = append(batch, r)
		default:
			return batch
		}
	}
	return batch
}

// serve publishes the changes of one batch and answers whoever waits for them. Those that can not
// share a publication with another change of their project follow in the next.
func (p *Publisher) serve(ctx context.Context, requests []*request) {
	number, err := p.publish(ctx, requests)
	if (errors.Is(err, ErrVerification) || errors.Is(err, ErrNotSigned)) && len(requests) > 1 {
		// What maintainers signed is checked before it gets here. Should a check be missing, the
		// others in the batch must not pay for it.
		p.c.Log.ErrorContext(ctx, "a publication is refused; publishing its changes one by one", slog.Any("error", err))
		for _, r := range requests {
			r.edit, r.err = nil, nil
			p.serve(ctx, []*request{r})
		}
		return
	}
	if err != nil && !errors.Is(err, ErrNoSigner) {
		p.failed(ctx, err)
	}
	var later []*request
	for _, r := range requests {
		if err == nil && errors.Is(r.err, errNextBatch) {
			r.err = nil
			later = append(later, r)
			continue
		}
		r.answer <- r.outcome(number, err)
	}
	if len(later) > 0 {
		p.serve(ctx, later) // fewer each time: the first change of a project is never put off
	}
}

// outcome is what the one who waits is told, after a publication that made or failed with err.
func (r *request) outcome(number int64, err error) answer {
	switch {
	case r.err != nil && !errors.Is(r.err, errNextBatch):
		return answer{err: r.err}
	case r.edit != nil && r.edit.failure() != nil:
		return answer{err: r.edit.failure()}
	case err != nil:
		return answer{err: err}
	}
	return answer{receipt: Receipt{Publication: number, Unchanged: r.edit == nil}}
}

// publish makes one publication out of requests. An error is one that concerns all of them; those
// that concern one are in the request or its list. It returns the number of the publication that
// shows the result.
func (p *Publisher) publish(ctx context.Context, requests []*request) (int64, error) {
	if err := p.resume(ctx); err != nil && !errors.Is(err, ErrNoSigner) {
		return 0, err
	}
	b, err := p.begin(ctx)
	if err != nil {
		return 0, err
	}
	wanted := false
	for _, r := range requests {
		select {
		case <-r.gone:
			r.err = fmt.Errorf("waiting for a publication: %w", context.Canceled)
			continue
		default:
		}
		r.edit, r.err = b.apply(ctx, r.change)
		wanted = wanted || r.edit != nil
	}
	if !wanted {
		return p.state.head.Number, nil
	}
	if p.away(b) {
		return 0, ErrNoSigner
	}
	if b.offline == nil {
		p.renewDue(ctx, b, renewBeside)
	}
	return p.finish(ctx, b, false)
}

// begin starts a batch on the current state of the ledger.
func (p *Publisher) begin(ctx context.Context) (*batch, error) {
	if p.state == nil {
		if err := p.reload(ctx); err != nil {
			return nil, fmt.Errorf("reading the repository again after a failure: %w", err)
		}
	}
	at := p.c.Now().UTC().Truncate(time.Second)
	if last := p.state.head.Time; at.Before(last) {
		if last.Sub(at) > clockSkew {
			return nil, fmt.Errorf("the clock shows %s, publication %d was made at %s; set the clock right: %w",
				at.Format(time.RFC3339), p.state.head.Number, last.Format(time.RFC3339), ErrClockBack)
		}
		at = last
	}
	b := newBatch(&p.c, p.keys, p.state, at, p.state.view.loader(context.WithoutCancel(ctx)))
	if p.c.Countersign != nil {
		b.countersign, b.line = p.propose, p.c.Countersign
	}
	return b, nil
}

// finish signs, verifies and commits a batch.
func (p *Publisher) finish(ctx context.Context, b *batch, refreshTimestamp bool) (int64, error) {
	// From here on a signal to stop waits: half a publication helps nobody.
	ctx = context.WithoutCancel(ctx)
	something, err := b.build(ctx, refreshTimestamp)
	for _, lost := range b.lost {
		p.c.Log.ErrorContext(ctx, "a role can not be renewed", slog.Any("error", lost))
	}
	if err != nil {
		return 0, err
	}
	if !something {
		return p.state.head.Number, nil
	}
	return p.commit(ctx, b)
}

// commit verifies and commits a batch that is signed.
func (p *Publisher) commit(ctx context.Context, b *batch) (int64, error) {
	if err := b.verify(); err != nil {
		p.giveUp(ctx)
		return 0, err
	}
	publication := b.publication()
	if err := p.c.Ledger.Commit(ctx, publication); err != nil && !p.committed(ctx, b) {
		p.giveUp(ctx)
		return 0, fmt.Errorf("committing publication %d: %w", publication.Number, err)
	}
	p.adopt(p.state.after(b))
	if b.snapshot != nil {
		p.open = nil // committed with it, or overtaken
	}
	p.published(b)
	return p.state.head.Number, nil
}

// committed finds out, after Commit returned an error, whether the publication is in the ledger
// all the same: the answer to a commit can get lost. Every role is compared, because two publishers
// that make the same publication for different changes can agree in snapshot and timestamp, which
// list versions.
func (p *Publisher) committed(ctx context.Context, b *batch) bool {
	for role, mine := range b.staged {
		m, err := p.c.Ledger.Metadata(ctx, role, mine.Version)
		if err != nil || !bytes.Equal(m.Bytes, mine.Bytes) {
			return false
		}
	}
	return true
}

// giveUp drops what is in memory after a publication that was staged and not committed, and reads
// the ledger again: now, or if that fails, before the next publication. It is not enough to keep
// the state from before. Another publisher may have written, and the cache of verified roles
// holds staged ones, whose version numbers the next publication will use for other bytes.
func (p *Publisher) giveUp(ctx context.Context) {
	p.state = nil
	if err := p.reload(ctx); err != nil {
		p.c.Log.ErrorContext(ctx, "the repository can not be read; trying again before the next publication", slog.Any("error", err))
	}
}

// reload reads the state from the ledger again. A ledger that has gone back (an old copy put in its
// place) is refused: clients have seen what it no longer holds.
func (p *Publisher) reload(ctx context.Context) error {
	s, err := loadState(ctx, p.c.Ledger, p.shelf)
	if err != nil {
		return err
	}
	if seen := p.Current().Number(); s.head.Number < seen {
		return fmt.Errorf("%w: its newest publication is %d, and %d was made already", ErrDamaged, s.head.Number, seen)
	}
	p.adopt(s)
	return nil
}

// published keeps what clients will ask for next.
func (p *Publisher) published(b *batch) {
	for _, m := range b.staged {
		if m.Role != tuf.RoleTimestamp && m.Role != tuf.RoleSnapshot {
			p.shelf.put(metadataID{m.Role, m.Version}, m.Bytes)
		}
	}
	p.recent.add(b.at)
	if b.offline != nil {
		p.look(b.at)
		p.warned = time.Time{} // what is due now is another list
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.status.Failure, p.status.FailedAt = nil, time.Time{}
}

// failed remembers a failure that concerns every change, and raises an alarm when the publisher
// made something that clients would refuse.
func (p *Publisher) failed(ctx context.Context, err error) {
	p.mu.Lock()
	p.status.Failure, p.status.FailedAt = err, p.c.Now()
	p.mu.Unlock()
	if errors.Is(err, ErrVerification) {
		p.c.Log.ErrorContext(ctx, "ALARM: a staged publication does not verify; nothing was published", slog.Any("error", err))
	}
}

// File returns what was published under a file name, deleted files included; ErrNotFound if the
// name was never used.
func (p *Publisher) File(ctx context.Context, name pypi.Filename) (File, error) {
	return p.c.Ledger.File(ctx, name)
}
