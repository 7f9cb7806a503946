package publish

import (
	"context"
	"fmt"
	"maps"
	"time"
	"unicode"
	"unicode/utf8"

	"example.com/bailiwick/internal/ceremony"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/internal/record"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
)

// DefaultRecoveryDelay is how long an announced recovery waits, if nothing else is configured.
const DefaultRecoveryDelay = 14 * 24 * time.Hour

// Bounds of how long one announcement may have a recovery wait: time for the maintainers to notice, and to object.
const (
	MinRecoveryDelay = 72 * time.Hour
	MaxRecoveryDelay = 90 * 24 * time.Hour
)

// Announcement announces that a claimed project will get other keys, because its maintainers have lost
// theirs. Nothing changes by it but the public record, and the owners of the project are told. An [Offline] with that
// very change takes effect after the delay at the earliest. As soon as the project's present keys sign anything,
// the recovery is cancelled.
type Announcement struct {
	Project   pypi.Project
	Keys      []*key.Public // that sign the project's role afterwards
	Threshold int
	Delay     time.Duration // MinRecoveryDelay to MaxRecoveryDelay; zero: Config.RecoveryDelay
	Text      string        // why, one line for everybody to read; required
	Token     string        // of who announced it
}

// Withdrawal cancels a recovery that waits.
type Withdrawal struct {
	Project pypi.Project
	Text    string // why, one line for everybody to read; required
	Token   string // of who withdrew it
	// Contradicted: the project's present keys have signed something, so it is not the operators who withdraw it.
	Contradicted bool
}

// contradicted is what the record and owners are told of a recovery that its project's keys have ended.
const contradicted = "the maintainers of the project have signed something"

// why is the text of the entry and the event.
func (c Withdrawal) why() string {
	if c.Contradicted {
		return contradicted + ": " + c.Text
	}
	return "withdrawn by the operators: " + c.Text
}

// Announce publishes an announcement and returns what waits from then on. Errors, besides those of
// [Publisher.Publish]: ErrRecoveryWaits, ErrUnclaimed.
func (p *Publisher) Announce(ctx context.Context, a Announcement) (Recovery, error) {
	if _, err := p.Publish(ctx, a); err != nil {
		return Recovery{}, err
	}
	r, ok := p.Current().Recovery(a.Project)
	if !ok {
		return Recovery{}, fmt.Errorf("the recovery of %s was announced, and is over already: %w", a.Project, ErrNoRecovery)
	}
	return r, nil
}

func (c Announcement) target() pypi.Project { return c.Project }
func (c Withdrawal) target() pypi.Project   { return c.Project }

func (c Announcement) check() error {
	if err := checkCall("announcing the recovery of", c.Project, c.Text, c.Token); err != nil {
		return err
	}
	if c.Delay != 0 && (c.Delay < MinRecoveryDelay || c.Delay > MaxRecoveryDelay) {
		return fmt.Errorf("announcing the recovery of %s: a delay of %s; it is between %s and %s: %w", c.Project, policy.Span(c.Delay), policy.Span(MinRecoveryDelay), policy.Span(MaxRecoveryDelay), ErrInvalid)
	}
	if len(c.Keys) > ceremony.MaxKeys {
		return fmt.Errorf("announcing the recovery of %s: %d keys; a project has at most %d: %w", c.Project, len(c.Keys), ceremony.MaxKeys, ErrInvalid)
	}
	if _, err := c.authority(); err != nil {
		return fmt.Errorf("announcing the recovery of %s: %w: %w", c.Project, err, ErrInvalid)
	}
	return nil
}

func (c Announcement) authority() (tuf.Authority, error) {
	return tuf.NewAuthority(c.Threshold, c.Keys...)
}

func (c Withdrawal) check() error {
	return checkCall("withdrawing the recovery of", c.Project, c.Text, c.Token)
}

func checkCall(doing string, p pypi.Project, text, token string) error {
	if p.IsZero() || len(token) > maxText || text == "" || !oneLine(text) {
		return fmt.Errorf("%s %q: it needs a project, and a reason of one line and at most %d bytes: %w", doing, p, maxReason, ErrInvalid)
	}
	return nil
}

// maxReason bounds what is said in public about a recovery, and leaves room for more in the same line.
const maxReason = record.MaxText - 200 // bytes

func oneLine(s string) bool {
	if len(s) > maxReason || !utf8.ValidString(s) {
		return false
	}
	for _, c := range s {
		if !unicode.IsPrint(c) {
			return false
		}
	}
	return true
}

// call is a recovery that a batch announces, or cancels because the operators say so.
type call struct {
	recovery Recovery
	entry    RecordEntry
	event    Event
}

// failure implements edit: nothing can go wrong any more.
func (c *call) failure() error { return nil }

// touches reports whether the batch does something with a project already.
func (b *batch) touches(p pypi.Project) bool {
	l := b.lists[p]
	return l != nil && l.touched() || b.signs[p] != nil || b.calls[p] != nil
}

// announce takes an announcement into the batch.
func (b *batch) announce(ctx context.Context, c Announcement) (edit, error) {
	if b.touches(c.Project) {
		return nil, errNextBatch
	}
	if r, ok := b.state.recoveries[c.Project]; ok {
		return nil, fmt.Errorf("the recovery of %s was announced on %s already; withdraw that first: %w",
			c.Project, r.Announced.Format(time.DateOnly), ErrRecoveryWaits)
	}
	standing, err := b.state.view.Standing(ctx, c.Project)
	if err != nil {
		return nil, err
	}
	if standing.Assurance == policy.Unclaimed {
		return nil, fmt.Errorf("project %s: %w", c.Project, ErrUnclaimed)
	}
	a, err := c.authority()
	if err != nil {
		return nil, fmt.Errorf("announcing the recovery of %s: %w: %w", c.Project, err, ErrInvalid)
	}
	if a.Equal(standing.Owners) {
		return nil, fmt.Errorf("announcing the recovery of %s: these are the keys that it has: %w", c.Project, ErrInvalid)
	}
	delay := c.Delay
	if delay == 0 {
		delay = b.delay
	}
	r := Recovery{
		Project: c.Project, Announced: b.at, NotBefore: b.at.Add(delay).Truncate(time.Second),
		Keys: c.Keys, Threshold: c.Threshold, Text: c.Text, Token: c.Token,
	}
	b.calls[c.Project] = &call{
		recovery: r,
		entry: RecordEntry{
			Kind: record.RecoveryAnnounced, Role: policy.ProjectRole(c.Project), NotBefore: r.NotBefore,
			Old: record.KeysOf(standing.Authority), New: record.KeysOf(a), Text: c.Text,
		},
		event: Event{
			Project: c.Project, Kind: EventRecoveryAnnounced, Time: b.at, Token: c.Token,
			Text: fmt.Sprintf("not before %s, unless the project's keys sign anything until then: %s", r.NotBefore.Format(time.RFC3339), c.Text),
		},
	}
	return b.calls[c.Project], nil
}

// withdraw takes the end of a recovery into the batch.
func (b *batch) withdraw(ctx context.Context, c Withdrawal) (edit, error) {
	if b.touches(c.Project) {
		return nil, errNextBatch
	}
	r, ok := b.state.recoveries[c.Project]
	if !ok {
		return nil, fmt.Errorf("project %s: %w", c.Project, ErrNoRecovery)
	}
	standing, err := b.state.view.Standing(ctx, c.Project)
	if err != nil {
		return nil, err
	}
	r.Outcome, r.Closed = record.RecoveryCancelled, b.number()
	b.calls[c.Project] = &call{
		recovery: r,
		entry:    r.cancelled(standing.Authority, c.why()),
		event:    Event{Project: c.Project, Kind: EventRecoveryCancelled, Time: b.at, Token: c.Token, Text: c.why()},
	}
	return b.calls[c.Project], nil
}

// cancelled returns the entry that says that the recovery will not happen: Old are the keys that were announced,
// New those that sign the project in their place.
func (r *Recovery) cancelled(stay tuf.Authority, why string) RecordEntry {
	return RecordEntry{
		Kind: record.RecoveryCancelled, Role: policy.ProjectRole(r.Project), Old: r.keys(), New: record.KeysOf(stay), Text: why,
	}
}

// keys returns who signs the project after the recovery.
func (r *Recovery) keys() record.Keys {
	k := record.Keys{Threshold: r.Threshold}
	for _, p := range r.Keys {
		k.IDs = append(k.IDs, p.ID())
	}
	return k
}

// recoveries returns those that the batch announces or closes.
func (b *batch) recoveries() []Recovery {
	var out []Recovery
	entry := make(map[tuf.RoleName]int64)
	for i := range b.entries {
		if b.entries[i].Kind == record.RecoveryAnnounced {
			entry[b.entries[i].Role] = b.entries[i].Number
		}
	}
	for _, s := range sortedByProject(b.signs) {
		if s.err == nil && s.cancels != nil {
			r := *s.cancels
			r.Outcome, r.Closed = record.RecoveryCancelled, b.number()
			out = append(out, r)
		}
	}
	for _, c := range sortedByProject(b.calls) {
		r := c.recovery
		if r.Outcome == "" {
			r.Entry = entry[policy.ProjectRole(r.Project)]
		}
		out = append(out, r)
	}
	return append(out, b.offline.recoveries()...)
}

// publishCalls adds to a publication what becomes of recoveries.
func (b *batch) publishCalls(p *Publication) {
	p.Recoveries = b.recoveriesNow()
	for _, c := range sortedByProject(b.calls) {
		e := c.event
		e.Publication = p.Number
		p.Events = append(p.Events, e)
	}
}

// recoveriesAfter returns those that wait after some were announced or closed. The map before is not
// changed.
func recoveriesAfter(before map[pypi.Project]Recovery, changed []Recovery) map[pypi.Project]Recovery {
	if len(changed) == 0 && before != nil {
		return before
	}
	after := make(map[pypi.Project]Recovery, len(before)+len(changed))
	maps.Copy(after, before)
	for _, r := range changed {
		if r.Outcome == "" {
			after[r.Project] = r
		} else {
			delete(after, r.Project)
		}
	}
	return after
}
