package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"example.com/bailiwick/internal/ceremony"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
	"example.com/bailiwick/tuf/repo"
)

// unpark asks for a parked project with the keys that it had: the offline key gives it back at the next sitting.
func (m *maintainer) unpark(ctx context.Context, s *ceremony.Standing, spec *claimSpec) error {
	if len(spec.with)+len(spec.recovery) > 0 || spec.threshold > 1 {
		return usagef("%s is parked: take it back with the keys that it had, without --threshold, --with and --recovery-key; bailiwick team %s changes them afterwards", s.Project, s.Project)
	}
	owners := usableKeys(s.Owners)
	for _, signer := range m.signers {
		if !contains(owners, signer.Public()) {
			ids := make([]string, len(owners))
			for i, k := range owners {
				ids[i] = shortID(k.ID())
			}
			return fmt.Errorf("%s is parked, and %s is none of the keys that it had (%s): if those are lost, ask the operators for it with bailiwick claim %s --recover --key URI",
				s.Project, signer.Info().URI, strings.Join(ids, ", "), s.Project)
		}
	}
	d, err := m.carryOut(ctx, s, plan{
		draw: func(_ context.Context, s *ceremony.Standing) (*ceremony.Request, []tuf.Target, error) {
			r, err := m.drawRekey(s, usableKeys(s.Owners), s.Owners.Threshold(), repo.TargetsEdit{})
			return r, nil, err
		},
		title: func(s *ceremony.Standing) string {
			return fmt.Sprintf("%s is parked since %s; this gives it back to the keys that it had", s.Project, s.Parked.Format("2006-01-02"))
		},
		again: true,
	})
	if err != nil {
		return err
	}
	_, err = m.report(ctx, d, "the return of "+s.Project.String())
	return err
}

// recoverClaim asks the operators for a project whose keys are lost.
func (m *maintainer) recoverClaim(ctx context.Context, s *ceremony.Standing, team, recovery []*key.Public, spec *claimSpec) error {
	if s.Assurance == policy.Unclaimed {
		return fmt.Errorf("%s is not claimed, so there are no keys that could be lost: bailiwick claim %s --key URI needs no operators", s.Project, s.Project)
	}
	keep, err := m.keptFiles(ctx, s.Project, spec.fromVersion)
	if err != nil {
		return err
	}
	d, err := m.carryOut(ctx, s, plan{
		draw: func(_ context.Context, s *ceremony.Standing) (*ceremony.Request, []tuf.Target, error) {
			r, err := m.drawRecovery(s, team, spec.threshold, recovery, keep)
			if err == nil {
				r.Note = spec.note
			}
			return r, nil, err
		},
		title: recoveryTitle,
		again: true,
	})
	if err != nil {
		return err
	}
	if _, err := m.report(ctx, d, "the recovery of "+s.Project.String()); err != nil {
		return err
	}
	m.printf("  next    tell the operators of %s who you are, and the name of the request\n", redactURL(m.pinned.index.URL))
	return nil
}

func recoveryTitle(s *ceremony.Standing) string {
	title := fmt.Sprintf("%s is signed by keys that are not here: this asks the operators of the index to give it to others", s.Project)
	if len(s.Subs) > 0 {
		names := make([]string, len(s.Subs))
		for i, sub := range s.Subs {
			names[i] = string(sub.Delegation.Name())
		}
		title += fmt.Sprintf("\nIt stays delegated to %s, whose keys were chosen by those from before: end that with bailiwick team %s undelegate, once it is yours",
			strings.Join(names, ", "), s.Project)
	}
	return title
}

// drawRecovery drafts the same list, or less of it, for other keys. Recovery keys from before go: they could take it back.
func (m *maintainer) drawRecovery(s *ceremony.Standing, team []*key.Public, threshold int, recovery []*key.Public, keep func(tuf.Target) bool) (*ceremony.Request, error) {
	authority, err := tuf.NewAuthority(threshold, team...)
	if err != nil {
		return nil, exit(exitUsage, fmt.Errorf("the keys that are to have %s: %w", s.Project, err))
	}
	edit := repo.TargetsEdit{}
	if _, had := s.Base.Member(ceremony.RecoveryMember); had || len(recovery) > 0 {
		edit.Members = map[string][]byte{ceremony.RecoveryMember: nil}
	}
	if len(recovery) > 0 {
		edit.Members[ceremony.RecoveryMember] = ceremony.RecoveryValue(recovery...)
	}
	for t := range s.Base.All() {
		if keep != nil && !keep(t) {
			edit.Remove = append(edit.Remove, t.Path)
		}
	}
	d, err := m.edit(s, authority, edit)
	if err != nil {
		return nil, err
	}
	r := m.newRequest(ceremony.Recover, s)
	r.Keys, r.Threshold = slices.Clone(team), threshold
	addDraft(r, d)
	return r, nil
}

// keptFiles picks those files of the current list that an earlier version listed with the same content: the last good
// state. It only ever takes files away, so who signed that version does not matter.
func (m *maintainer) keptFiles(ctx context.Context, project pypi.Project, version int64) (func(tuf.Target) bool, error) {
	if version == 0 {
		return nil, nil
	}
	name := fmt.Sprintf("%d.%s.json", version, policy.ProjectRole(project))
	data, err := m.fetcher.Metadata(ctx, name, tuf.DefaultLimits().TargetsBytes)
	if err != nil {
		return nil, fmt.Errorf("--from-version %d: the index does not keep %s any more (%w): leave it out to keep the current list, and yank afterwards what is wrong with it", version, name, err)
	}
	u, err := tuf.ParseTargets(data, nil)
	if err != nil {
		return nil, exit(exitRefused, fmt.Errorf("--from-version %d: %s can not be read: %w", version, name, err))
	}
	role := policy.ProjectRole(project)
	then := ceremony.Request{Payloads: []ceremony.Payload{{Role: role, Message: u.Message()}}}
	list, err := then.Targets(role)
	if err != nil {
		return nil, exit(exitRefused, fmt.Errorf("--from-version %d: %s can not be read: %w", version, name, err))
	}
	return func(t tuf.Target) bool {
		old, ok := list.Lookup(t.Path)
		return ok && old.Length == t.Length && old.Hashes == t.Hashes
	}, nil
}
