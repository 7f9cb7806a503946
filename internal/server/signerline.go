package server

import (
	"context"
	"slices"
	"sync"
	"time"

	"example.com/bailiwick/internal/custody"
	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/tuf/key"
)

// Times of a [Line].
const (
	signerPoll  = 25 * time.Second // a signer's question is left open for so long
	signerGap   = 5 * time.Second  // between two questions of a signer that is there
	signerTime  = 15 * time.Second // for an answer, and longer for a large proposal
	signerRate  = 256 << 10        // bytes of a proposal for each further second
	signerStart = 2 * time.Second  // to come and take a proposal
)

// Line is the way from an index to its isolated signer. The signer calls, asks for a proposal, and leaves the
// question open until there is one; nothing is ever sent to it that it did not ask for. It implements
// publish.Countersigner. There is one signer at a time: the newest caller takes over.
//
// A Line is safe for concurrent use.
type Line struct {
	arrived chan struct{} // holds a value when a signer came after none was there
	closed  chan struct{}
	close   func()

	mu     sync.Mutex // guards what follows
	caller *caller    // whose question is open; nil: none
	offer  *offer     // that somebody waits for the answer of; nil: none
	seen   time.Time  // when the signer's last question ended in good order
	status SignerStatus
}

// SignerStatus is how the isolated signer of an index is doing.
type SignerStatus struct {
	Connected bool
	Since     time.Time         // when it came, or went; zero: it never came
	Keys      []custody.HeldKey // that it says it has
	Answered  time.Time         // when it last answered; zero: never
}

// caller is one open question.
type caller struct {
	wake     chan struct{} // there may be an offer
	replaced chan struct{} // closed when another one takes over
}

// offer is a proposal that waits for its answer.
type offer struct {
	data   []byte
	id     [32]byte
	handed bool // the signer has it
	answer chan *custody.Answer
}

// NewLine makes a line, with nobody at its end.
func NewLine() *Line {
	l := &Line{arrived: make(chan struct{}, 1), closed: make(chan struct{})}
	l.close = sync.OnceFunc(func() { close(l.closed) })
	return l
}

var _ publish.Countersigner = (*Line)(nil)

// Close ends every wait. Whoever calls then finds that nobody is there.
func (l *Line) Close() { l.close() }

// Arrived yields a value each time that a signer came after a while without one.
func (l *Line) Arrived() <-chan struct{} { return l.arrived }

// Ready implements publish.Countersigner.
func (l *Line) Ready() bool {
	select {
	case <-l.closed:
		return false
	default:
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.present()
}

// Keys implements publish.Countersigner.
func (l *Line) Keys() []key.ID {
	var ids []key.ID
	for _, k := range l.Status().Keys {
		ids = append(ids, k.Public.ID())
	}
	return ids
}

// present reports whether a signer is there; the caller holds mu.
func (l *Line) present() bool {
	return l.caller != nil || l.offer != nil && l.offer.handed || time.Since(l.seen) < signerGap
}

// Status returns how the signer is doing.
func (l *Line) Status() SignerStatus {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.status
	if s.Connected = l.present(); !s.Connected && !l.seen.IsZero() {
		s.Since = l.seen
	}
	s.Keys = slices.Clone(s.Keys)
	return s
}

// Countersign implements publish.Countersigner.
func (l *Line) Countersign(ctx context.Context, proposal []byte) (*custody.Answer, error) {
	o := &offer{data: proposal, id: custody.ID(proposal), answer: make(chan *custody.Answer, 1)}
	l.mu.Lock()
	if !l.present() || l.offer != nil {
		l.mu.Unlock()
		return nil, publish.ErrNoSigner
	}
	l.offer = o
	if l.caller != nil {
		l.caller.call()
	}
	l.mu.Unlock()
	patience := time.NewTimer(signerTime + time.Duration(len(proposal)/signerRate)*time.Second)
	defer patience.Stop()
	start := time.NewTimer(signerStart + signerGap)
	defer start.Stop()
	for {
		select {
		case a := <-o.answer:
			return a, nil
		case <-start.C:
			if l.taken(o) {
				continue
			}
		case <-patience.C:
		case <-ctx.Done():
		case <-l.closed:
		}
		return l.giveUp(o)
	}
}

func (c *caller) call() {
	select {
	case c.wake <- struct{}{}:
	default: // it has been called
	}
}

func (l *Line) taken(o *offer) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return o.handed
}

// giveUp takes an offer back. The answer may have come in the last moment.
func (l *Line) giveUp(o *offer) (*custody.Answer, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case a := <-o.answer:
		return a, nil
	default:
	}
	if l.offer == o {
		l.offer = nil
	}
	if l.caller == nil {
		l.seen = time.Time{} // it took the proposal, or was about to, and never came back
	}
	return nil, publish.ErrNoSigner
}

// turn takes a signer's answer and waits for the next proposal. It returns nil when the question is to be
// put anew, and errReplaced to a signer whose place another one took.
func (l *Line) turn(ctx context.Context, t *custody.Turn) ([]byte, error) {
	me := l.enter(t)
	if t.Hello {
		l.leave(me, true)
		return nil, nil
	}
	timer := time.NewTimer(signerPoll)
	defer timer.Stop()
	for {
		if data := l.take(me); data != nil {
			return data, nil
		}
		select {
		case <-me.wake:
			continue
		case <-me.replaced:
			return nil, errReplaced
		case <-timer.C:
			l.leave(me, true)
		case <-l.closed:
			l.leave(me, true)
		case <-ctx.Done():
			l.leave(me, false)
		}
		return nil, ctx.Err()
	}
}

// enter notes who calls and what was answered.
func (l *Line) enter(t *custody.Turn) *caller {
	now := time.Now() //nolint:forbidigo // for people who ask how the signer is doing
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.present() {
		l.status.Since = now
		select {
		case l.arrived <- struct{}{}:
		default: // nobody has looked yet
		}
	}
	l.status.Keys = t.Keys
	if o := l.offer; o != nil {
		if t.Answer != nil && t.Answer.Proposal == o.id {
			l.status.Answered = now
			o.answer <- t.Answer
			l.offer = nil
		} else {
			o.handed = false // it does not have it, or was started anew: it is told again
		}
	}
	if l.caller != nil {
		close(l.caller.replaced)
	}
	l.caller = &caller{wake: make(chan struct{}, 1), replaced: make(chan struct{})}
	return l.caller
}

// take hands the offer to the caller, if there is one.
func (l *Line) take(me *caller) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.caller != me || l.offer == nil || l.offer.handed {
		return nil
	}
	l.offer.handed = true
	l.depart(true)
	return l.offer.data
}

// leave ends a question; well says that the signer is there to put the next one.
func (l *Line) leave(me *caller, well bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.caller == me {
		l.depart(well)
	}
}

func (l *Line) depart(well bool) {
	l.caller = nil
	l.seen = time.Now() //nolint:forbidigo // about a connection, not about metadata
	if !well {
		l.seen = l.seen.Add(-signerGap)
	}
}
