package index

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"example.com/bailiwick/internal/ceremony"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/internal/record"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
)

// HealthState says how an index is, in one word.
type HealthState string

// The states, from good to bad.
const (
	Healthy   HealthState = "healthy"
	Attention HealthState = "attention" // somebody has to act within 30 days, or a signing request waits
	Failing   HealthState = "failing"   // something has expired, or publishing fails
)

// Health is how an index is, and who has to do what by when.
type Health struct {
	State       HealthState
	Publication int64
	Published   time.Time
	Waiting     int   // changes in the queue
	Strict      bool  // an isolated signer signs what the server can not
	Kept        int   // changes that wait for that signer, durably
	Failure     error // of the last publication; nil since the next success
	FailedAt    time.Time
	Duties      []DutyState // the most urgent first
	Requests    []OperatorPending
	Recoveries  []RecoveryState // asked for or announced
	Record      record.Head
	Root        *tuf.Root
	Repository  [32]byte
}

// DutyState is a kind of role, who renews it by when, and what has to be done.
type DutyState struct {
	policy.Tally
	Request string // that is open for the role that expires first
	Next    string // what has to be done, in one sentence; empty where nothing has to
}

// HolderNames say who holds an offline key, as far as metadata names anybody.
type HolderNames map[key.ID]string

// Holders returns the names of those who hold offline keys. They are for messages only.
func (x *Index) Holders() HolderNames {
	set := x.publisher.Current().Set()
	names := HolderNames(policy.HoldersOf(set.Root()))
	maps.Copy(names, policy.HoldersOf(set.Targets()))
	return names
}

// Health returns how the index is.
func (x *Index) Health(ctx context.Context, a Actor) (Health, error) {
	if err := x.admitOperator(a); err != nil {
		return Health{}, err
	}
	view := x.publisher.Current()
	status := x.publisher.Status()
	h := Health{
		Publication: view.Number(), Published: view.Time(), Waiting: status.Waiting, Failure: status.Failure, FailedAt: status.FailedAt,
		Root: view.Set().Root(), Repository: view.Repository(),
	}
	h.Record.Length, h.Record.Sum = view.Record()
	for _, c := range x.custody {
		h.Strict = h.Strict || c == policy.CustodyStrict
	}
	if x.records != nil {
		n, err := x.records.CountWaiting(ctx)
		if err != nil {
			return h, fmt.Errorf("counting what waits for the signer: %w", err)
		}
		h.Kept = n
	}
	roles, err := x.publisher.Roles(ctx)
	if err != nil {
		return h, fmt.Errorf("reading the list of roles: %w", err)
	}
	_, unopened := x.openDue(ctx, roles)
	if h.Requests, err = x.operatorRequests(ctx, roles, RequestOpen); err != nil {
		return h, err
	}
	if h.Recoveries, err = x.Recoveries(ctx, a); err != nil {
		return h, err
	}
	f := x.forecaster(roles)
	for _, t := range f.Sum(x.roleStates(ctx, &f, roles), x.now()) {
		h.Duties = append(h.Duties, duty(t, h.Requests, unopened))
	}
	h.State = h.state()
	return h, nil
}

// state is the worst of everything.
func (h *Health) state() HealthState {
	state := Healthy
	if h.Kept > 0 || len(h.Requests) > 0 || slices.ContainsFunc(h.Recoveries, func(r RecoveryState) bool { return r.Turn }) {
		state = Attention
	}
	for i := range h.Duties {
		d := &h.Duties[i]
		people := d.Duty == policy.ByOperators || d.Duty == policy.ByMaintainers
		switch d.Outlook() {
		case policy.OutlookExpired:
			return Failing
		case policy.OutlookLate:
			state = Attention
		case policy.OutlookDue:
			if people {
				state = Attention
			}
		case policy.OutlookFine:
		}
	}
	if h.Failure != nil {
		return Failing
	}
	return state
}

// forecaster knows what a forecast of this repository needs.
func (x *Index) forecaster(roles []publish.Role) policy.Forecaster {
	f := policy.Forecaster{Lifetimes: x.publisher.Lifetimes(), NothingClaimed: true, Custody: x.custody}
	for _, r := range roles {
		if r.Maintained {
			f.NothingClaimed = false
			break
		}
	}
	return f
}

// roleStates translates what the ledger knows of roles. Of those that maintainers sign and that are due soon, it looks at
// whether anybody still delegates to them: a role that a project gave up stays in the ledger, and nobody misses it.
func (x *Index) roleStates(ctx context.Context, f *policy.Forecaster, roles []publish.Role) []policy.RoleState {
	states := make([]policy.RoleState, 0, len(roles))
	looks := 0
	for i := range roles {
		s := policy.RoleState{Role: roles[i].Name, Expires: roles[i].Expires, Maintained: roles[i].Maintained}
		p, _, sub := policy.SubRoleOf(s.Role)
		if !sub {
			p, _ = policy.ProjectOf(s.Role)
		}
		if !p.IsZero() && (s.Maintained || sub) && looks < maxLooks && f.Of(s, x.now()).Outlook != policy.OutlookFine {
			looks++
			delegated, parked, err := x.delegated(ctx, p, s.Role)
			if err == nil && !delegated {
				continue
			}
			s.Parked = parked
		}
		states = append(states, s)
	}
	return states
}

// delegated reports whether a project delegates to a sub-role, or is delegated itself, and whether it is parked.
func (x *Index) delegated(ctx context.Context, p pypi.Project, role tuf.RoleName) (delegated, parked bool, err error) {
	view := x.publisher.Current()
	standing, err := view.Standing(ctx, p)
	if err != nil {
		return false, false, err //nolint:wrapcheck // only whether there is one counts
	}
	if role != policy.ProjectRole(p) {
		for _, sub := range standing.Subs {
			if sub.Delegation.Name() == role {
				return true, false, nil
			}
		}
		return false, false, nil
	}
	s := view.Sitting(ctx, x.now(), x.publisher.Lifetimes())
	bin, err := ceremony.Role(s.Set, s.Load, standing.Chain...)
	if err != nil {
		return false, false, err //nolint:wrapcheck // only whether there is one counts
	}
	if ds := bin.Delegations(); ds != nil {
		if d, ok := ds.Find(role); ok {
			_, parked = policy.Parked(d)
			return true, parked, nil
		}
	}
	return false, false, nil
}

// maxLooks bounds how many roles are looked at for one report; those beyond are taken to be delegated.
const maxLooks = 1000

// duty says what has to be done about roles of one kind. unopened is why requests could not be opened, if so.
func duty(t policy.Tally, open []OperatorPending, unopened error) DutyState {
	d := DutyState{Tally: t}
	for i := range open {
		if _, ok := open[i].Bases[t.First.Role]; ok && !open[i].Stale {
			d.Request = open[i].ID
		}
	}
	if t.Outlook() == policy.OutlookFine {
		return d
	}
	switch t.Duty {
	case policy.ByOperators:
		d.Next = operatorsNext(&d)
		if unopened != nil && d.Request == "" {
			d.Next += " (its request could not be opened: " + unopened.Error() + ")"
		}
	case policy.ByMaintainers:
		d.Next = "they sign any release; a project that nobody maintains can be parked in a sitting"
	case policy.ByServer:
		d.Next = "the server renews it by itself while it runs"
		if t.Outlook() != policy.OutlookDue {
			d.Next = "the server did not renew it: is it running, and what does its log say"
		}
	case policy.BySigner:
		d.Next = "the isolated signer renews it as soon as it connects"
	}
	return d
}

// operatorsNext names the command that comes next.
func operatorsNext(d *DutyState) string {
	switch {
	case d.Request != "":
		return "request " + d.Request + " is open: bailiwick request export " + d.Request + " --out FILE"
	case d.Kind == policy.KindRoot:
		return "bailiwick renew --root, or bailiwick rotate root"
	case d.Kind == policy.KindProject: // parked: a sitting signs it anew
		return "bailiwick sitting plan"
	}
	return "bailiwick sitting plan, or bailiwick renew"
}
