package publish

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/tuf"
)

const (
	maintainEvery = 5 * time.Minute        // looking for what is due
	maintainSoon  = 100 * time.Millisecond // while more is due than one step does
	maintainRetry = 10 * time.Second       // after a first failure; then twice as long each time

	warnAhead = 30 * 24 * time.Hour // before an offline role expires
	warnEvery = 24 * time.Hour

	pinnersFloor = time.Minute // snapshots and timestamps are kept this long whatever the load
)

// LeastLifetime is the shortest life of a role that a publisher can renew in time by itself. It looks every five minutes for what is due, and in
// the worst case, a role that is renewed in the last third of its life, this leaves a few more times to try after a failure.
const LeastLifetime = 12 * maintainEvery

// Status is how a publisher is doing.
type Status struct {
	Publication int64     // number of the newest one
	Published   time.Time // when it was made
	Waiting     int       // changes in the queue
	Failure     error     // the last failure of a whole publication; nil since the next success
	FailedAt    time.Time
	// Expiring lists the roles that people have to sign and that expire within 30 days, first to
	// expire first.
	Expiring []Role
}

// Status returns how the publisher is doing.
func (p *Publisher) Status() Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.status
	v := p.Current()
	s.Publication, s.Published, s.Waiting = v.Number(), v.Time(), len(p.queue)
	return s
}

// maintain does what nobody asks for: it renews what would expire, removes a few superseded
// versions, and warns about what people have to sign. It returns when it wants to be called again.
func (p *Publisher) maintain(ctx context.Context) time.Duration {
	more, err := p.renewAll(ctx)
	if err != nil {
		p.failed(ctx, err)
		p.c.Log.ErrorContext(ctx, "renewing metadata failed; trying again", slog.Any("error", err))
		return p.backOff()
	}
	p.warn(ctx)
	left, err := p.prune(ctx)
	if err != nil {
		p.c.Log.WarnContext(ctx, "removing superseded metadata failed; trying again", slog.Any("error", err))
		return p.backOff()
	}
	p.retry = 0
	if more || left {
		return maintainSoon
	}
	return maintainEvery
}

// backOff returns how long to wait after a failure.
func (p *Publisher) backOff() time.Duration {
	p.retry = min(max(2*p.retry, maintainRetry), maintainEvery)
	return p.retry
}

// renewAll publishes a renewal if anything is due. It reports whether more is due than it did.
func (p *Publisher) renewAll(ctx context.Context) (bool, error) {
	if err := p.resume(ctx); err != nil && !errors.Is(err, ErrNoSigner) {
		return false, err
	}
	b, err := p.begin(ctx)
	if err != nil {
		return false, err
	}
	set := p.state.view.set
	due := func(role tuf.RoleName, expires time.Time) bool {
		return policy.Due(role, expires, p.c.Lifetimes.Of(role), b.at)
	}
	timestamp := due(tuf.RoleTimestamp, set.Timestamp().Expires())
	renewed := 0
	if !p.cannotAsk() {
		b.repin = due(tuf.RoleSnapshot, set.Snapshot().Expires())
		renewed = p.renewDue(ctx, b, renewIdle)
	}
	if !timestamp && !b.repin && renewed == 0 {
		return false, nil
	}
	_, err = p.finish(ctx, b, timestamp)
	return renewed == renewIdle, err
}

// renewDue adds to a batch at most n registry-signed roles that are due, and returns how many.
func (p *Publisher) renewDue(ctx context.Context, b *batch, n int) int {
	renewed := 0
	for _, role := range p.state.book.due(b.at, p.c.Lifetimes, n) {
		switch err := b.renew(role); {
		case err == nil:
			renewed++
		case errors.Is(err, ErrNotRegistry):
			p.state.book.retire(role)
		default:
			// What can not be read can not be renewed. It must not keep anything else from being
			// published, and it will be met again at the next look.
			p.c.Log.ErrorContext(ctx, "a role can not be renewed", slog.String("role", string(role)), slog.Any("error", err))
		}
	}
	return renewed
}

// prune removes one step of superseded versions and reports whether there are more.
func (p *Publisher) prune(ctx context.Context) (bool, error) {
	// The time of the newest publication, not the clock: a clock that is set forward by mistake
	// must not remove what clients still need.
	now := p.state.head.Time
	if clock := p.c.Now().UTC(); clock.Before(now) {
		now = clock
	}
	pinners := now.Add(-p.c.Retention.Pinners)
	if busy := p.recent.oldest(); busy.After(pinners) {
		// Under load snapshots come by the hundred a minute, and each lists every role. A client
		// needs one only between two requests, so the last few hundred, or a minute, will do.
		if floor := now.Add(-pinnersFloor); floor.Before(busy) {
			busy = floor
		}
		pinners = later(pinners, busy)
	}
	n, err := p.c.Ledger.Prune(ctx, now.Add(-p.c.Retention.Roles), pinners, pruneStep)
	return n >= pruneStep, err
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// ring remembers the last 512 times that were added. The zero ring is empty.
type ring struct {
	times [512]time.Time
	next  int
}

func (r *ring) add(t time.Time) {
	r.times[r.next] = t
	r.next = (r.next + 1) % len(r.times)
}

// oldest returns the earliest of the times, or the zero time while the ring is not full.
func (r *ring) oldest() time.Time { return r.times[r.next] }

// warn logs, once a day, the roles that people have to sign soon, and tells whoever wants to know.
func (p *Publisher) warn(ctx context.Context) {
	now := p.c.Now()
	if age := now.Sub(p.warned); age >= 0 && age < warnEvery && !p.warned.IsZero() {
		return
	}
	p.warned = now
	expiring := p.look(now)
	if len(expiring) > 0 {
		p.c.Log.WarnContext(ctx, "offline roles expire soon and have to be signed by people",
			slog.Int("roles", len(expiring)),
			slog.String("first", string(expiring[0].Name)),
			slog.Time("expires", expiring[0].Expires))
	}
	p.tell(ctx, expiring)
}

// look works out anew which roles people have to sign soon.
func (p *Publisher) look(now time.Time) []Role {
	expiring := p.state.book.expiring(now.Add(warnAhead))
	p.mu.Lock()
	defer p.mu.Unlock()
	p.status.Expiring = expiring
	return expiring
}

// tell calls Config.Expiring in a goroutine of its own, unless the call before is still under way.
func (p *Publisher) tell(ctx context.Context, expiring []Role) {
	if p.c.Expiring == nil || !p.telling.CompareAndSwap(false, true) {
		return
	}
	view := p.Current()
	p.beside.Go(func() {
		defer p.telling.Store(false)
		p.c.Expiring(ctx, view, expiring)
	})
}
