package index

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"example.com/bailiwick/internal/ceremony"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/tuf/key"
)

// StandardRecoveryDelay is how long an announced recovery waits unless the operators choose otherwise.
const StandardRecoveryDelay = 7 * 24 * time.Hour

// maxRecoveries bounds the open requests among which recoveries are looked for.
const maxRecoveries = 5000

// RecoveryState is a recovery that was asked for, announced, or both.
type RecoveryState struct {
	Project   pypi.Project
	Request   string // by which the new keys ask; "" if none is open that fits what was announced
	Keys      []key.ID
	Threshold int
	Asked     time.Time // when the request came; zero without one
	Note      string    // of who made the request
	// Announced is zero until operators announce it; NotBefore is from when on a sitting may take it in.
	Announced, NotBefore time.Time
	Text                 string // why, as the record says it
	Entry                int64  // number of the entry of the record that announced it
	Next                 string // what has to happen, in one sentence
	Turn                 bool   // it is the operators who have to do that
	Problem              string // why the request can not be carried out as it is
}

// Announcement is what operators announce.
type Announcement struct {
	Project pypi.Project
	Request string        // identifier of the request; "" if only one is open
	Because string        // for everybody to read, one line
	Delay   time.Duration // publish.MinRecoveryDelay or more; zero: StandardRecoveryDelay
}

// AnnounceRecovery announces that a project will get the keys that a request asks for, unless its present ones sign anything
// until the delay is over. It says so in the public record and to the owners of the project, and changes nothing else.
func (x *Index) AnnounceRecovery(ctx context.Context, a Actor, c Announcement) (RecoveryState, error) {
	if err := x.admitOperator(a); err != nil {
		return RecoveryState{}, err
	}
	if c.Delay == 0 {
		c.Delay = StandardRecoveryDelay
	}
	switch {
	case c.Delay < publish.MinRecoveryDelay || c.Delay > publish.MaxRecoveryDelay:
		return RecoveryState{}, refuse(Invalid, "a delay of %s: it is between %s and %s, so that whoever has the keys can object", policy.Span(c.Delay), policy.Span(publish.MinRecoveryDelay), policy.Span(publish.MaxRecoveryDelay))
	case c.Because == "":
		return RecoveryState{}, refuse(Invalid, "say why %s is to be recovered: the public record tells it to everybody", c.Project)
	}
	r, err := x.recoveryToAnnounce(ctx, c.Project, c.Request)
	if err != nil {
		return RecoveryState{}, err
	}
	if end := x.now().Add(c.Delay); !r.Expires.After(end) {
		return RecoveryState{}, refuse(Invalid, "request %s expires on %s, before the delay is over; choose a shorter --delay, or have it made anew", r.ID(), r.Expires.Format(time.DateOnly))
	}
	if err := x.nobodyObjects(ctx, c.Project); err != nil {
		return RecoveryState{}, err
	}
	_, err = x.publisher.Announce(ctx, publish.Announcement{
		Project: c.Project, Keys: r.Keys, Threshold: r.Threshold, Delay: c.Delay, Text: c.Because, Token: a.id,
	})
	if err != nil {
		return RecoveryState{}, recoveryError(c.Project, err)
	}
	return x.recovery(ctx, c.Project)
}

// recoveryToAnnounce finds the one request that is meant, and makes sure that it could be carried out.
func (x *Index) recoveryToAnnounce(ctx context.Context, p pypi.Project, id string) (*ceremony.Request, error) {
	open, err := x.recoveryRequests(ctx, p)
	if err != nil {
		return nil, err
	}
	if id != "" {
		open = slices.DeleteFunc(open, func(r *ceremony.Request) bool { return r.ID() != id })
	}
	switch {
	case len(open) == 0 && id != "":
		return nil, refuse(NotFound, "%s has no open request %.40q for its recovery; bailiwick recover --list shows those that wait", p, id)
	case len(open) == 0:
		return nil, refuse(NotFound, "nobody asks for %s: whoever is to have it runs bailiwick claim %s --recover --key URI first", p, p)
	case len(open) > 1:
		return nil, refuse(Invalid, "%d requests ask for %s; look at bailiwick recover --list, and choose with --request ID", len(open), p)
	}
	j, err := x.judge(ctx, open[0])
	if err != nil {
		return nil, err
	}
	if len(j.Verdict.Missing) > 0 {
		return nil, refuse(Conflict, "request %s is not complete: %s", open[0].ID(), j.Verdict.Next())
	}
	return open[0], nil
}

// recoveryRequests returns the open requests for the recovery of a project.
func (x *Index) recoveryRequests(ctx context.Context, p pypi.Project) ([]*ceremony.Request, error) {
	stored, err := x.records.Requests(ctx, p)
	if err != nil {
		return nil, fmt.Errorf("reading the signing requests of %s: %w", p, err)
	}
	return x.recoveriesAmong(stored)
}

func (x *Index) recoveriesAmong(stored []StoredRequest) ([]*ceremony.Request, error) {
	var out []*ceremony.Request
	for _, s := range stored {
		if !s.Expires.After(x.now()) {
			continue
		}
		r, err := restore(s)
		if err != nil {
			return nil, err
		}
		if r.Kind == ceremony.Recover {
			out = append(out, r)
		}
	}
	return out, nil
}

// nobodyObjects refuses the announcement of a recovery while a request waits that the project's present keys have
// signed.
func (x *Index) nobodyObjects(ctx context.Context, p pypi.Project) error {
	by, id, err := x.objection(ctx, p)
	if err != nil || by == "" {
		return err
	}
	return refuse(Conflict, "key %.12s of %s has signed request %s: its maintainers are there, so there is nothing to recover", by, p, id)
}

// objection returns a key of those whose project it is that has signed an open request, and that request; "" if none has.
func (x *Index) objection(ctx context.Context, p pypi.Project) (by key.ID, request string, err error) {
	stored, err := x.records.Requests(ctx, p)
	if err != nil {
		return "", "", fmt.Errorf("reading the signing requests of %s: %w", p, err)
	}
	for _, s := range stored {
		r, err := restore(s)
		if err != nil {
			return "", "", err
		}
		if by, err = x.signedByOwners(ctx, r, signaturesOf(r)); by != "" || err != nil {
			return by, s.ID, err
		}
	}
	return "", "", nil
}

// signedByOwners returns a key of those whose project it is, its recovery keys among them, that is among the signatures, ""
// if there is none. A request for recovery is nobody's objection to it.
func (x *Index) signedByOwners(ctx context.Context, r *ceremony.Request, signatures []RoleSignature) (key.ID, error) {
	if r.Kind == ceremony.Recover {
		return "", nil
	}
	standing, err := x.publisher.Current().Standing(ctx, r.Project)
	if err != nil {
		return "", err
	}
	if standing.Base == nil || standing.Assurance == policy.Unclaimed {
		return "", nil
	}
	owners := keysOf(standing.Owners)
	if recovery, err := ceremony.RecoveryKeys(standing.Base); err == nil {
		owners = append(owners, recovery...)
	}
	for _, s := range signatures {
		if s.Role == policy.ProjectRole(r.Project) && slices.ContainsFunc(owners, func(k *key.Public) bool { return k.ID() == s.Signature.KeyID }) {
			return s.Signature.KeyID, nil
		}
	}
	return "", nil
}

// contradict cancels the recovery of a project, if one waits, because of verified signatures by keys that it has now:
// whoever has them is there, whether or not what they sign needs more.
func (x *Index) contradict(ctx context.Context, a Actor, r *ceremony.Request, signatures []RoleSignature) error {
	if _, waits := x.publisher.Current().Recovery(r.Project); !waits {
		return nil
	}
	by, err := x.signedByOwners(ctx, r, signatures)
	if err != nil || by == "" {
		return err
	}
	_, err = x.publisher.Publish(ctx, publish.Withdrawal{
		Project: r.Project, Token: a.id, Contradicted: true, Text: fmt.Sprintf("key %.12s signed request %s", by, r.ID()),
	})
	if err == nil || errors.Is(err, publish.ErrNoRecovery) {
		return nil
	}
	return recoveryError(r.Project, err)
}

// WithdrawRecovery cancels an announced recovery, for a reason that the public record tells.
func (x *Index) WithdrawRecovery(ctx context.Context, a Actor, p pypi.Project, because string) error {
	if err := x.admitOperator(a); err != nil {
		return err
	}
	if because == "" {
		return refuse(Invalid, "say why the recovery of %s is withdrawn: the public record tells it to everybody", p)
	}
	if _, err := x.publisher.Publish(ctx, publish.Withdrawal{Project: p, Text: because, Token: a.id}); err != nil {
		return recoveryError(p, err)
	}
	return nil
}

// RefuseRecovery ends a request for the recovery of a project that nobody has announced: the operators found that whoever
// asks is not to have it. The project's owners see it, and the public record does not, since nothing was said there.
func (x *Index) RefuseRecovery(ctx context.Context, a Actor, p pypi.Project, id, because string) error {
	if err := x.admitOperator(a); err != nil {
		return err
	}
	open, err := x.recoveryRequests(ctx, p)
	if err != nil {
		return err
	}
	n := slices.IndexFunc(open, func(r *ceremony.Request) bool { return r.ID() == id })
	if n < 0 {
		return refuse(NotFound, "%s has no open request %.40q for its recovery; bailiwick recover --list shows those that wait", p, id)
	}
	if announced, ok := x.publisher.Current().Recovery(p); ok {
		if s := announcedState(&announced); s.takes(open[n]) {
			return refuse(Conflict, "request %s is announced already; bailiwick recover %s --abort ends it, and the record says so", id, p)
		}
	}
	err = x.records.CloseRequest(ctx, id, publish.Event{
		Project: p, Kind: publish.EventAborted, Time: x.now().UTC().Truncate(time.Second), Token: a.id, Request: id,
		Text: "refused by the operators: " + because,
	})
	if errors.Is(err, ErrNoRequest) {
		return noRequest(id)
	}
	if err != nil {
		return fmt.Errorf("refusing request %s: %w", id, err)
	}
	return nil
}

// recoveryError turns what is wrong with an announcement into a refusal.
func recoveryError(p pypi.Project, err error) error {
	switch {
	case errors.Is(err, publish.ErrUnclaimed):
		return refuse(Invalid, "%s is not claimed, so there are no keys that could be lost; anybody with a right to it can claim it", p).because(err)
	case errors.Is(err, publish.ErrRecoveryWaits):
		return refuse(Conflict, "a recovery of %s is announced already; bailiwick recover %s --abort ends it", p, p).because(err)
	case errors.Is(err, publish.ErrNoRecovery):
		return refuse(NotFound, "no recovery of %s is announced; bailiwick recover --list shows those that are", p).because(err)
	}
	return publishError("the recovery of "+p.String(), err)
}

// Recoveries returns those that are announced and wait, and those that are asked for, by project.
func (x *Index) Recoveries(ctx context.Context, a Actor) ([]RecoveryState, error) {
	if err := x.admitOperator(a); err != nil {
		return nil, err
	}
	stored, err := x.records.OpenRequests(ctx, maxRecoveries)
	if err != nil {
		return nil, fmt.Errorf("reading the signing requests of maintainers: %w", err)
	}
	requests, err := x.recoveriesAmong(stored)
	if err != nil {
		return nil, err
	}
	var out []RecoveryState
	for _, r := range x.publisher.Current().Recoveries() {
		out = append(out, announcedState(&r))
	}
	for _, r := range requests {
		at := slices.IndexFunc(out, func(s RecoveryState) bool { return s.Project == r.Project && s.takes(r) && s.Request == "" })
		if at < 0 {
			at = len(out)
			out = append(out, RecoveryState{Project: r.Project, Keys: idsOf(r.Keys), Threshold: r.Threshold})
		}
		if err := x.describeRecovery(ctx, &out[at], r); err != nil {
			return nil, err
		}
	}
	for i := range out {
		out[i].next(x.now())
	}
	slices.SortStableFunc(out, func(a, b RecoveryState) int { return strings.Compare(a.Project.String(), b.Project.String()) })
	return out, nil
}

// recovery returns the announced recovery of one project.
func (x *Index) recovery(ctx context.Context, p pypi.Project) (RecoveryState, error) {
	r, ok := x.publisher.Current().Recovery(p)
	if !ok {
		return RecoveryState{}, recoveryError(p, publish.ErrNoRecovery)
	}
	s := announcedState(&r)
	requests, err := x.recoveryRequests(ctx, p)
	if err != nil {
		return s, err
	}
	for _, q := range requests {
		if s.takes(q) && s.Request == "" {
			if err := x.describeRecovery(ctx, &s, q); err != nil {
				return s, err
			}
		}
	}
	s.next(x.now())
	return s, nil
}

func announcedState(r *publish.Recovery) RecoveryState {
	return RecoveryState{
		Project: r.Project, Keys: idsOf(r.Keys), Threshold: r.Threshold, Announced: r.Announced, NotBefore: r.NotBefore, Text: r.Text, Entry: r.Entry,
	}
}

func idsOf(keys []*key.Public) []key.ID {
	ids := make([]key.ID, len(keys))
	for i, k := range keys {
		ids[i] = k.ID()
	}
	slices.Sort(ids)
	return ids
}

// takes reports whether a request asks for the very keys.
func (s *RecoveryState) takes(r *ceremony.Request) bool {
	return s.Threshold == r.Threshold && slices.Equal(s.Keys, idsOf(r.Keys))
}

// describeRecovery adds what a request says, and whether it could be carried out.
func (x *Index) describeRecovery(ctx context.Context, s *RecoveryState, r *ceremony.Request) error {
	s.Request, s.Asked, s.Note = r.ID(), r.Created, r.Note
	j, err := x.judge(ctx, r)
	var refusal *Refusal
	switch {
	case errors.As(err, &refusal):
		s.Problem = refusal.Message
	case err != nil:
		return err
	case len(j.Verdict.Missing) > 0:
		s.Problem = j.Verdict.Next()
	}
	return nil
}

// next says what has to happen.
func (s *RecoveryState) next(now time.Time) {
	switch {
	case s.Request == "":
		s.Next = fmt.Sprintf("the request that asked for it is gone: whoever is to have it runs bailiwick claim %s --recover again, with the same keys", s.Project)
	case s.Problem != "":
		s.Next = fmt.Sprintf("its request can not be carried out as it is: they run bailiwick claim %s --recover again, with the same keys", s.Project)
	case s.Announced.IsZero():
		s.Turn = true
		s.Next = fmt.Sprintf("find out who asks, then: bailiwick recover %s --request %s --because TEXT", s.Project, s.Request)
	case now.Before(s.NotBefore):
		s.Next = fmt.Sprintf("nothing until %s; whatever its present keys sign cancels it", s.NotBefore.Format(time.RFC3339))
	default:
		s.Turn = true
		s.Next = "the next sitting takes it in: bailiwick sitting plan"
	}
}

// dueRecoveries are the requests of those announced recoveries whose delay is over, for a sitting to take in. What can not be
// carried out is left out: Recoveries says why.
func (x *Index) dueRecoveries(ctx context.Context) ([]*ceremony.Request, error) {
	var out []*ceremony.Request
	for _, r := range x.publisher.Current().Recoveries() {
		if x.now().Before(r.NotBefore) {
			continue
		}
		// A signature that could be stored and not be published, with the index's signer away, counts as well.
		if by, _, err := x.objection(ctx, r.Project); err != nil || by != "" {
			if err != nil {
				return nil, err
			}
			continue
		}
		s := announcedState(&r)
		requests, err := x.recoveryRequests(ctx, r.Project)
		if err != nil {
			return nil, err
		}
		for _, q := range requests {
			if !s.takes(q) {
				continue
			}
			if j, err := x.judge(ctx, q); err == nil && len(j.Verdict.Missing) == 0 {
				out = append(out, q)
				break
			}
		}
	}
	return out, nil
}
