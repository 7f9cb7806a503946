package index

import (
	"context"
	"fmt"
	"slices"
	"time"

	"example.com/bailiwick/internal/ceremony"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/internal/sitting"
	"example.com/bailiwick/tuf"
)

// StandardMinAge is how old a claim is when a sitting promotes it, unless the operators want otherwise: time for
// the former owner of a project to notice.
const StandardMinAge = 14 * 24 * time.Hour

// SittingWishes are what operators want of a sitting.
type SittingWishes struct {
	// Promote takes in recently claimed projects: those of Only, whatever their age, or if that is empty those whose
	// claim is MinAge old; never those of Except.
	// Key changes that wait for the offline key are taken in as well.
	Promote      bool
	MinAge       time.Duration
	Only, Except []pypi.Project
	Park         []pypi.Project
	Popular      []pypi.Project // by rank, for what is pointed out to those who sign
	// Renew takes in what expires before the next sitting; without Promote, everything that offline keys other than root's
	// have to sign within 30 days. All takes in every offline role but root, due or not. Root takes in root.
	Renew, All, Root bool
	By, Note         string
}

// PlannedSitting is a request that was drawn up and is open now.
type PlannedSitting struct {
	OperatorPending
	Summary []string // what it would change, in lines for people
	// Nothing is set, and nothing was opened, if a sitting would change nothing and nothing is due.
	Nothing *NothingToDo
}

// Plan draws up a signing request on the newest publication and opens it, unless it is a sitting in which there is nothing
// to do. The refusal is Invalid if there is nothing to sign.
func (x *Index) Plan(ctx context.Context, a Actor, w SittingWishes) (PlannedSitting, error) {
	if err := x.admitOperator(a); err != nil {
		return PlannedSitting{}, err
	}
	leave, err := x.enterHall(ctx)
	if err != nil {
		return PlannedSitting{}, err
	}
	defer leave()
	young := &youngClaims{before: x.now().UTC().Truncate(time.Second).Add(-w.MinAge)}
	wishes, err := x.wishes(ctx, &w, young)
	if err != nil {
		return PlannedSitting{}, err
	}
	r, err := x.draft(ctx, wishes)
	if err != nil {
		return PlannedSitting{}, err
	}
	if w.Promote && !w.All {
		roles, err := x.publisher.Roles(ctx)
		if err != nil {
			return PlannedSitting{}, fmt.Errorf("reading the list of roles: %w", err)
		}
		if due := x.renewedFrom(roles); needless(r, w.Renew && !x.now().Before(due)) {
			return PlannedSitting{Nothing: young.nothing(w.MinAge, due)}, nil
		}
	}
	return x.openPlanned(ctx, a, r)
}

// plan draws up a request and opens it.
func (x *Index) plan(ctx context.Context, a Actor, w sitting.Wishes) (PlannedSitting, error) {
	r, err := x.draft(ctx, w)
	if err != nil {
		return PlannedSitting{}, err
	}
	return x.openPlanned(ctx, a, r)
}

// draft draws up a request on the newest publication.
func (x *Index) draft(ctx context.Context, w sitting.Wishes) (*sitting.Request, error) {
	r, err := sitting.Plan(ctx, x.publisher.Current().Sitting(ctx, x.now(), x.publisher.Lifetimes()), w)
	if err != nil {
		return nil, sittingError("the plan", err)
	}
	return r, nil
}

// openPlanned opens a request that was drawn up here.
func (x *Index) openPlanned(ctx context.Context, a Actor, r *sitting.Request) (PlannedSitting, error) {
	v, err := sitting.Judge(r, x.now())
	if err != nil {
		return PlannedSitting{}, sittingError("the plan", err)
	}
	if err := x.keepOperator(ctx, a, r, v, false, nil); err != nil {
		return PlannedSitting{}, err
	}
	pending, err := x.pendingOperator(ctx, r.ID())
	return PlannedSitting{OperatorPending: pending, Summary: v.Summary().Lines(shownExceptions)}, err
}

// shownExceptions bounds the exceptions in a summary; bailiwick-sign shows all of them.
const shownExceptions = 20

// wishes translates what operators want into what is planned. The plan tells young what it leaves out.
func (x *Index) wishes(ctx context.Context, w *SittingWishes, young *youngClaims) (sitting.Wishes, error) {
	out := sitting.Wishes{By: w.By, Note: w.Note, All: w.All, Park: w.Park, Except: w.Except}
	if w.Root {
		out.Roles = append(out.Roles, tuf.RoleRoot)
	}
	if !w.Promote {
		if w.Renew && !w.All {
			roles, err := x.publisher.Roles(ctx)
			if err != nil {
				return out, fmt.Errorf("reading the list of roles: %w", err)
			}
			due := x.due(roles, nil)
			delete(due, policy.KeyRoot) // only where it is asked for
			for _, roles := range due {
				out.Roles = append(out.Roles, roles...)
			}
		}
		if len(out.Roles) == 0 && !out.All && len(out.Park) == 0 {
			return out, refuse(Invalid, "nothing is due")
		}
		return out, nil
	}
	out.Renew = w.Renew
	switch {
	case len(w.Only) > 0:
		out.Only = w.Only
	case w.MinAge > 0:
		out.Promote = young.oldEnough
	default:
		out.Promote = func(pypi.Project, time.Time, tuf.Authority) bool { return true }
	}
	var err error
	if out.Notes, err = x.notes(ctx, w.Popular); err != nil {
		return out, err
	}
	if out.Rekeys, err = x.waitingRekeys(ctx); err != nil {
		return out, err
	}
	out.Recoveries, err = x.dueRecoveries(ctx)
	return out, err
}

// notes returns what the index knows of a project that changes hands: who claimed it, with which token, and since
// when that token is there.
func (x *Index) notes(ctx context.Context, popular []pypi.Project) (func(pypi.Project) sitting.Note, error) {
	tokens, err := x.tokens.Tokens(ctx)
	if err != nil {
		return nil, fmt.Errorf("listing tokens: %w", err)
	}
	made := make(map[string]time.Time, len(tokens))
	for _, t := range tokens {
		made[t.ID] = t.Created
	}
	rank := make(map[pypi.Project]int, len(popular))
	for i, p := range popular {
		if rank[p] == 0 {
			rank[p] = i + 1
		}
	}
	return func(p pypi.Project) sitting.Note {
		n := sitting.Note{Project: p, Popular: rank[p]}
		events, err := x.records.Events(ctx, p, maxNoteEvents)
		if err != nil {
			n.Text = "the index could not read what happened to it"
			return n
		}
		for i := range events { // newest first: the last claim is the one that counts
			e := &events[i]
			switch e.Kind { //nolint:exhaustive // the others say nothing about who has it
			case publish.EventClaimed:
				if n.Since.IsZero() {
					n.Since, n.Token, n.TokenCreated = e.Time.UTC(), e.Token, made[e.Token].UTC()
				}
			case publish.EventRekeyed, publish.EventRevoked:
				if n.Rekeyed.IsZero() {
					n.Rekeyed = e.Time.UTC()
				}
			}
		}
		return n
	}, nil
}

// maxNoteEvents bounds how far back a note looks.
const maxNoteEvents = 200

// waitingRekeys are the changes of keys of claimed projects that have everything but the offline signature, the oldest of each
// project: a sitting carries out one, and any other has lost then.
func (x *Index) waitingRekeys(ctx context.Context) ([]*ceremony.Request, error) {
	stored, err := x.records.OpenRequests(ctx, maxWaitingRekeys)
	if err != nil {
		return nil, fmt.Errorf("reading the signing requests of maintainers: %w", err)
	}
	var out []*ceremony.Request
	taken := map[pypi.Project]bool{}
	for _, s := range stored {
		if !s.Expires.After(x.now()) || taken[s.Project] {
			continue
		}
		r, err := restore(s)
		if err != nil {
			return nil, err
		}
		if r.Kind != ceremony.Rekey {
			continue
		}
		// What is refused now, or still lacks a signature, is its maintainers' business.
		if j, err := x.judge(ctx, r); err == nil && len(j.Verdict.Missing) == 0 && j.Verdict.Offline != "" {
			out, taken[s.Project] = append(out, r), true
		}
	}
	return out, nil
}

// maxWaitingRekeys bounds the changes of keys that one sitting takes in.
const maxWaitingRekeys = 5000

// OpenDue opens the signing requests for offline roles that have to be signed within 30 days and that no
// open request covers, one for each group of people, so that none waits for another. It returns how many it opened. It is for
// the publisher to call: see publish.Config.Expiring.
func (x *Index) OpenDue(ctx context.Context) (int, error) {
	if x.records == nil {
		return 0, nil
	}
	roles, err := x.publisher.Roles(ctx)
	if err != nil {
		return 0, fmt.Errorf("reading the list of roles: %w", err)
	}
	return x.openDue(ctx, roles)
}

// openDue is OpenDue for whoever has the list of roles at hand. Lists of what waits and reports call it first, so that
// nobody is told of a role without a request to sign.
func (x *Index) openDue(ctx context.Context, roles []publish.Role) (int, error) {
	if _, err := x.records.ExpireOperatorRequests(ctx, x.now()); err != nil {
		return 0, fmt.Errorf("closing old signing requests: %w", err)
	}
	x.closeOvertaken(ctx)
	if groups, err := x.uncovered(ctx, roles); err != nil || len(groups) == 0 {
		return 0, err
	}
	leave, err := x.enterHall(ctx)
	if err != nil {
		return 0, err
	}
	defer leave()
	groups, err := x.uncovered(ctx, roles) // again: somebody may have opened them meanwhile
	if err != nil {
		return 0, err
	}
	opened := 0
	for _, roles := range groups {
		if _, err := x.plan(ctx, Actor{id: serverID, right: RightOperator}, sitting.Wishes{
			Roles: roles, By: "the index", Note: "opened by itself: these roles expire soon",
		}); err != nil {
			return opened, err
		}
		opened++
	}
	return opened, nil
}

// uncovered returns the offline roles that are due and in no open request, by who signs them.
func (x *Index) uncovered(ctx context.Context, roles []publish.Role) ([][]tuf.RoleName, error) {
	open, err := x.records.OperatorRequests(ctx, maxOperatorRequests, RequestOpen)
	if err != nil {
		return nil, fmt.Errorf("reading the operators' signing requests: %w", err)
	}
	covered := map[tuf.RoleName]bool{}
	for i := range open {
		p, err := x.operatorPending(&open[i], nil)
		if err != nil {
			return nil, err
		}
		if !p.Stale {
			for role := range p.Bases {
				covered[role] = true
			}
		}
	}
	by := x.due(roles, covered)
	var groups [][]tuf.RoleName
	for _, signer := range policy.KeyRoles() {
		if roles := by[signer]; len(roles) > 0 {
			groups = append(groups, roles)
		}
	}
	return groups, nil
}

// due returns the offline roles that have to be signed soon, but for some, by who signs them.
func (x *Index) due(roles []publish.Role, but map[tuf.RoleName]bool) map[policy.KeyRole][]tuf.RoleName {
	f := x.forecaster(roles)
	by := map[policy.KeyRole][]tuf.RoleName{}
	for _, r := range roles {
		signer, ok := policy.SignedBy(r.Name)
		if !ok || signer.Online() || but[r.Name] {
			continue
		}
		if f.Of(policy.RoleState{Role: r.Name, Expires: r.Expires}, x.now()).Outlook != policy.OutlookFine {
			by[signer] = append(by[signer], r.Name)
		}
	}
	for _, roles := range by {
		slices.Sort(roles)
	}
	return by
}
