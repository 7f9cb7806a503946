package verify

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/trust"
)

// Keyholders is the verified map from projects to the keys that answer for them. Its JSON form is part
// of the output of `bailiwick trust list --json`; members are added to it, never renamed.
type Keyholders struct {
	Index    string         `json:"index"` // base URL of the repository
	Current  Moment         `json:"current"`
	Projects []Keyholder    `json:"projects"` // by name
	Counts   map[string]int `json:"counts"`   // of all projects that were asked for, by assurance
}

// Keyholder is one project.
type Keyholder struct {
	Project   string    `json:"project"`
	Assurance string    `json:"assurance"`
	Since     time.Time `json:"since,omitzero"` // since when it is claimed, if the delegation says so
	// Parked is since when the offline keys sign for its maintainers, Recovered when operators gave it to other keys
	// without the old ones; left out if that did not happen.
	Parked    time.Time    `json:"parked_since,omitzero"`
	Recovered time.Time    `json:"recovered,omitzero"`
	Delegator tuf.RoleName `json:"delegated_by"` // the bin
	Threshold int          `json:"threshold"`
	Keys      []Key        `json:"keys"` // who may sign; Signed tells of the current list, where that was read
	// Version and Expires are those of the project's own list; left out where it was not read, which is
	// so for unclaimed projects.
	Version     int64       `json:"version,omitempty"`
	Expires     time.Time   `json:"expires,omitzero"`
	Delegations []SubHolder `json:"delegations,omitempty"` // to whom the maintainers delegate further
	Problem     *Error      `json:"problem,omitempty"`     // why its list can not be used
}

// SubHolder is a role to which maintainers delegate a part of their project.
type SubHolder struct {
	Role      tuf.RoleName `json:"role"`
	Paths     []string     `json:"paths"`
	Threshold int          `json:"threshold"`
	Keys      []Key        `json:"keys"`
	Version   int64        `json:"version,omitempty"`
	Expires   time.Time    `json:"expires,omitzero"`
	Problem   *Error       `json:"problem,omitempty"`
}

// Selection says which projects Keyholders is to tell of.
type Selection struct {
	// Names are the only projects asked for, when there are any and Match is nil: then their bins alone
	// are read.
	Names []pypi.Project
	// Match picks projects by name; nil with no Names: every project.
	Match func(pypi.Project) bool
	// Unclaimed also tells of projects that nobody claimed; otherwise they are only counted.
	Unclaimed bool
}

// readers bounds the roles that are read at the same time.
const readers = 16

// Keyholders reads the delegations of every bin once, and of the claimed projects among the selected
// ones their own lists. The error is an *Error about the repository or a bin, or that of ctx; a project
// whose list can not be used is told with its Problem.
func (e *Engine) Keyholders(ctx context.Context, sel Selection) (*Keyholders, error) {
	s, err := e.session(ctx)
	if err != nil {
		return nil, err
	}
	found, err := e.delegations(ctx, s, sel)
	if err != nil {
		return nil, e.classify("", err)
	}
	out := &Keyholders{Index: e.source, Current: moment(s.view.Set()), Projects: []Keyholder{}, Counts: make(map[string]int)}
	shown := found[:0]
	for _, st := range found {
		out.Counts[st.assurance.String()]++
		if sel.Unclaimed || st.assurance != policy.Unclaimed {
			shown = append(shown, st)
		}
	}
	out.Projects = make([]Keyholder, len(shown))
	err = each(ctx, len(shown), func(i int) error {
		out.Projects[i] = e.keyholder(ctx, s, shown[i])
		return nil
	})
	return out, err
}

// each calls do for every number below n, some at the same time, until one fails.
func each(ctx context.Context, n int, do func(int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	next := make(chan int)
	var wait sync.WaitGroup
	for range min(readers, n) {
		wait.Go(func() {
			for i := range next {
				if err := do(i); err != nil {
					cancel(err)
				}
			}
		})
	}
feeding:
	for i := range n {
		select {
		case next <- i:
		case <-ctx.Done():
			break feeding
		}
	}
	close(next)
	wait.Wait()
	return context.Cause(ctx)
}

// delegations finds who has the say about the selected projects, by name.
func (e *Engine) delegations(ctx context.Context, s *session, sel Selection) ([]*standing, error) {
	places, match := sel.places(s.layout)
	var mu sync.Mutex
	byProject := make(map[pypi.Project]*standing)
	err := each(ctx, len(places), func(i int) error {
		b, err := openBin(ctx, s, places[i])
		if err != nil || b.targets.Delegations() == nil {
			return err
		}
		for d := range b.targets.Delegations().All() {
			p, ok := policy.ProjectOf(d.Name())
			if !ok || !match(p) || !d.Matches(tuf.TargetPath(s.layout.Dir(p)+"/-")) {
				continue
			}
			st, err := b.standing(p, d)
			if err != nil {
				return err
			}
			mu.Lock()
			if known := byProject[p]; known == nil || len(st.chain) < len(known.chain) {
				byProject[p] = st // a claimed bin has the first word, and leads on to the unclaimed one
			}
			mu.Unlock()
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	out := make([]*standing, 0, len(byProject))
	for _, st := range byProject {
		out = append(out, st)
	}
	slices.SortFunc(out, func(a, b *standing) int { return cmp.Compare(a.project.String(), b.project.String()) })
	return out, nil
}

// places are the chains to the bins that a selection needs, and match what it takes of them.
func (sel Selection) places(l policy.Layout) (places [][]tuf.RoleName, match func(pypi.Project) bool) {
	if sel.Match != nil || len(sel.Names) == 0 {
		for name := range l.BinNames() {
			places = append(places, l.ClaimedBinChain(name), l.UnclaimedBinChain(name))
		}
		match = sel.Match
		if match == nil {
			match = func(pypi.Project) bool { return true }
		}
		return places, match
	}
	seen := make(map[string]bool)
	for _, p := range sel.Names {
		if name := l.Bin(p); !seen[name] {
			seen[name] = true
			places = append(places, l.ClaimedBinChain(name), l.UnclaimedBinChain(name))
		}
	}
	return places, func(p pypi.Project) bool { return slices.Contains(sel.Names, p) }
}

// keyholder tells of one project. Of a claimed one it reads the list, to know until when that is good
// and to whom its maintainers delegate.
func (e *Engine) keyholder(ctx context.Context, s *session, st *standing) Keyholder {
	k := Keyholder{
		Project: st.project.String(), Assurance: st.assurance.String(), Since: st.since, Delegator: st.bin,
		Parked: st.parked, Recovered: st.recovered,
		Threshold: st.authority.Threshold(), Keys: keys(st.authority, nil),
	}
	if st.assurance == policy.Unclaimed {
		return k
	}
	list, err := s.view.Role(ctx, st.chain...)
	if err != nil {
		k.Problem = e.problemOf(ctx, s, st, err)
		return k
	}
	k.Version, k.Expires = list.Version(), list.Expires()
	if u, err := tuf.ParseTargets(list.Bytes(), nil); err == nil {
		k.Keys = keys(st.authority, u.Signers(st.authority))
	}
	if list.Delegations() == nil {
		return k
	}
	for d := range list.Delegations().All() {
		k.Delegations = append(k.Delegations, e.subHolder(ctx, s, st, d))
	}
	return k
}

func (e *Engine) subHolder(ctx context.Context, s *session, st *standing, d tuf.Delegation) SubHolder {
	sub := SubHolder{Role: d.Name(), Paths: d.Paths(), Keys: []Key{}}
	a, err := d.Authority()
	if err != nil {
		sub.Problem = e.problemOf(ctx, s, st, &trust.RefusedError{Code: trust.Malformed, Role: d.Name(), Step: "5.6.3", Err: err})
		return sub
	}
	sub.Threshold, sub.Keys = a.Threshold(), keys(a, nil)
	list, err := s.view.Role(ctx, append(slices.Clone(st.chain), d.Name())...)
	if err != nil {
		sub.Problem = e.problemOf(ctx, s, st, err)
		return sub
	}
	sub.Version, sub.Expires = list.Version(), list.Expires()
	if u, err := tuf.ParseTargets(list.Bytes(), nil); err == nil {
		sub.Keys = keys(a, u.Signers(a))
	}
	return sub
}

// problemOf is what is wrong with a role of a project.
func (e *Engine) problemOf(ctx context.Context, s *session, st *standing, err error) *Error {
	var problem *Error
	if err = e.brokenRole(ctx, s, st.project, st.project.String(), err); !errors.As(err, &problem) {
		problem = e.newError(&Error{Class: Unreachable, Code: CodeNetwork, Subject: st.project.String(), Cause: err.Error(), Err: err})
	}
	return problem
}
