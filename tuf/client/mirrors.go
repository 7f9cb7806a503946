package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/trust"
)

// This file decides which of several places of one repository is asked for a file. None of
// them is trusted, and one that is slow, silent, frozen or lies must not keep the others
// from being heard:
//
//   - What says how far things are, the next root and the timestamp, is asked of all at
//     once, and the newest that verifies counts. Asking one of them only would let that
//     one freeze us until its timestamp expires.
//   - Everything else is pinned by that, so whoever has it will do: mirrors are asked in
//     order until one gives what verifies.
//   - A mirror that failed us comes after those that did so less often, as long as the
//     Client lives, and nobody waits for it while others answer.

// mirrors are the places of a repository, in order of preference. It is safe for
// concurrent use.
type mirrors struct {
	all  []Fetcher
	wait time.Duration

	mu     sync.Mutex // guards faults
	faults []int      // how often each failed us
}

// defaultMirrorWait is how long slower mirrors are waited for after one answered.
const defaultMirrorWait = 5 * time.Second

func newMirrors(c Config) *mirrors {
	m := &mirrors{all: append([]Fetcher{c.Fetcher}, c.Mirrors...), wait: c.MirrorWait}
	if m.wait <= 0 {
		m.wait = defaultMirrorWait
	}
	m.faults = make([]int, len(m.all))
	return m
}

// order returns the mirrors by how well they did, and among equals as configured; and how
// many of them did best.
func (m *mirrors) order() (all []int, best int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range m.all {
		all = append(all, i)
	}
	slices.SortStableFunc(all, func(a, b int) int { return cmp.Compare(m.faults[a], m.faults[b]) })
	for best < len(all) && m.faults[all[best]] == m.faults[all[0]] {
		best++
	}
	return all, best
}

// blame remembers that a mirror failed us.
func (m *mirrors) blame(i int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.faults[i]++
}

// answer is what one mirror said.
type answer struct {
	from int
	data []byte
	err  error
}

// ask asks all mirrors at once and returns what they answer, in order of preference. It
// waits for all that did best so far, but no longer than m.wait once one has answered;
// those that were waited for in vain are blamed.
func (c *Client) ask(ctx context.Context, want trust.Want, step string) []answer {
	m := c.mirrors
	if len(m.all) == 1 {
		data, err := c.fetch(ctx, m.all[0], want, step)
		return []answer{{0, data, err}}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	order, best := m.order()
	answers := make(chan answer, len(m.all)) // nobody blocks who is no longer listened to
	for _, i := range order {
		go func() {
			data, err := c.fetch(ctx, m.all[i], want, step)
			answers <- answer{i, data, err}
		}()
	}
	missing := map[int]bool{}
	for _, i := range order[:best] {
		missing[i] = true
	}
	var got []answer
	var patience <-chan time.Time
	for len(got) < len(order) && (len(missing) > 0 || patience == nil) {
		select {
		case a := <-answers:
			got = append(got, a)
			delete(missing, a.from)
			if patience == nil && says(a.err) {
				timer := time.NewTimer(m.wait)
				defer timer.Stop()
				patience = timer.C
			}
			continue
		case <-patience:
		}
		for i := range missing {
			m.blame(i)
		}
		break
	}
	slices.SortFunc(got, func(a, b answer) int {
		return cmp.Compare(slices.Index(order, a.from), slices.Index(order, b.from))
	})
	return got
}

// says reports whether an answer says something about the file.
func says(err error) bool { return err == nil || errors.Is(err, ErrAbsent) }

// obtain asks one mirror after the other until accept takes what it gives.
func (c *Client) obtain(ctx context.Context, want trust.Want, step string, accept func([]byte) error) error {
	order, _ := c.mirrors.order()
	var errs []error
	for _, i := range order {
		data, err := c.fetch(ctx, c.mirrors.all[i], want, step)
		if err == nil {
			err = accept(data)
		}
		if err == nil || ctx.Err() != nil {
			return err
		}
		c.mirrors.blame(i)
		errs = append(errs, err)
	}
	return worst(errs)
}

// fetchAny gets a file from the first mirror that has it, and says from which. Whether it
// is what it should be turns out later: then the mirror is one to skip.
func (c *Client) fetchAny(ctx context.Context, want trust.Want, step string, skip []int) (data []byte, from int, err error) {
	order, _ := c.mirrors.order()
	var errs []error
	for _, i := range order {
		if slices.Contains(skip, i) {
			continue
		}
		data, err := c.fetch(ctx, c.mirrors.all[i], want, step)
		if err == nil || ctx.Err() != nil {
			return data, i, err
		}
		c.mirrors.blame(i)
		errs = append(errs, err)
	}
	return nil, 0, worst(errs)
}

// nextRoot is one turn of 5.3: the next root that verifies, whoever has it; nil bytes if
// there is none. There is none if a mirror says so and no other has one that verifies.
func (c *Client) nextRoot(ctx context.Context, r *trust.RootStage, want trust.Want) (data []byte, rotated bool, err error) {
	none := false
	var errs []error
	for _, a := range c.ask(ctx, want, "5.3.3") {
		err := a.err
		if err == nil {
			if rotated, err = r.Accept(a.data); err == nil {
				return a.data, rotated, nil
			}
		}
		if errors.Is(err, ErrAbsent) {
			none = true
			continue
		}
		c.mirrors.blame(a.from)
		errs = append(errs, err)
	}
	if none && ctx.Err() == nil {
		return nil, false, nil
	}
	return nil, false, worst(errs)
}

// newestTimestamp is 5.4: of the timestamps that mirrors have, the newest that is accepted.
func (c *Client) newestTimestamp(ctx context.Context, s *trust.TimestampStage) (*trust.SnapshotStage, error) {
	answers := c.ask(ctx, s.Want(), "5.4.1")
	if len(answers) > 1 {
		slices.SortStableFunc(answers, func(a, b answer) int { return cmp.Compare(c.claimed(b.data), c.claimed(a.data)) })
	}
	var errs []error
	for _, a := range answers {
		err := a.err
		if err == nil {
			var next *trust.SnapshotStage
			if next, err = s.Accept(a.data); err == nil {
				return next, nil
			}
		}
		c.mirrors.blame(a.from)
		errs = append(errs, err)
	}
	return nil, worst(errs)
}

// claimed returns the version that a timestamp claims, zero if it cannot be read. It only
// says which to try first.
func (c *Client) claimed(data []byte) int64 {
	u, err := tuf.ParseTimestamp(data, c.limits())
	if err != nil {
		return 0
	}
	return u.Header().Version
}

func (c *Client) limits() *tuf.Limits {
	if c.options.Limits == nil {
		return nil
	}
	return &c.options.Limits.Metadata
}

// errNoMirror is what is left when every mirror was passed over.
var errNoMirror = errors.New("no mirror is left to ask")

// worst returns the error that matters most of those that mirrors gave: one that caught
// somebody cheating before one from which nothing was learned, and that before the word
// of one mirror that it has no such file, which another may have had.
func worst(errs []error) error {
	switch len(errs) {
	case 0:
		return errNoMirror
	case 1:
		return errs[0]
	}
	rank := func(err error) int {
		var refused *trust.RefusedError
		switch {
		case errors.Is(err, ErrAbsent):
			return 2
		case errors.As(err, &refused):
			return 0
		}
		return 1
	}
	first := slices.MinFunc(errs, func(a, b error) int { return cmp.Compare(rank(a), rank(b)) })
	return fmt.Errorf("%w (and %d more mirrors did no better)", first, len(errs)-1)
}
