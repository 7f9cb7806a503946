package cli

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"example.com/bailiwick/internal/ceremony"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
	"example.com/bailiwick/tuf/repo"
)

// delegateSpec is what a delegation says beside its name.
type delegateSpec struct {
	to, patterns []string
	threshold    int
	expires      string
	dropFiles    bool
}

const day = 24 * time.Hour

// parseDays reads "365d".
func parseDays(text string) (time.Duration, error) {
	n, err := strconv.Atoi(strings.TrimSuffix(text, "d"))
	if err != nil || n < 2 || n > 3*365 {
		return 0, usagef("--expires %q: give a number of days between 2d and %dd", text, 3*365)
	}
	return time.Duration(n) * day, nil
}

// delegate lets further keys sign some of the files of a project, or changes that.
func (m *maintainer) delegate(ctx context.Context, project pypi.Project, name string, spec *delegateSpec) error {
	role, err := policy.SubRole(project, name)
	if err != nil {
		return exit(exitUsage, err)
	}
	life, err := parseDays(spec.expires)
	if err != nil {
		return err
	}
	if len(spec.to) == 0 {
		return usagef("--to is missing: name the public key that may sign, such as --to ci.json")
	}
	var holders []*key.Public
	for _, what := range spec.to {
		k, err := m.publicKey(ctx, what)
		if err != nil {
			return err
		}
		holders = append(holders, k)
	}
	a, err := tuf.NewAuthority(spec.threshold, holders...)
	if err != nil {
		return exit(exitUsage, fmt.Errorf("--threshold %d with %s: %w", spec.threshold, plural(len(holders), "key"), err))
	}
	patterns := spec.patterns
	if len(patterns) == 0 {
		patterns = []string{"*.whl"}
	}
	s, err := m.lookClaimed(ctx, project)
	if err != nil {
		return err
	}
	d, err := m.carryOut(ctx, s, plan{
		draw: func(_ context.Context, s *ceremony.Standing) (*ceremony.Request, []tuf.Target, error) {
			r, err := m.drawDelegation(s, role, a, patterns, life)
			return r, nil, err
		},
		title: teamTitle,
		again: true,
	})
	if err != nil {
		return err
	}
	published, err := m.report(ctx, d, "the delegation to "+string(role))
	if err != nil || !published {
		return err
	}
	m.printf("done. %s may sign %s of %s (publication %d)\n\n", role, strings.Join(patterns, ", "), project, d.outcome.Publication)
	m.printf("  next    bailiwick publish dist/* --key THEIR-KEY\n")
	return nil
}

// drawDelegation drafts the project's role with the delegation, and the version of the sub-role that its
// holders begin with: a role that is delegated and not there would make clients refuse what it covers.
func (m *maintainer) drawDelegation(s *ceremony.Standing, role tuf.RoleName, a tuf.Authority, patterns []string, life time.Duration) (*ceremony.Request, error) {
	d := repo.Delegation{Role: role, Authority: a, Terminating: true}
	for _, p := range patterns {
		if strings.ContainsAny(p, "/\\") {
			return nil, usagef("--pattern %q: it is for file names, without slashes", p)
		}
		d.Paths = append(d.Paths, s.Layout.Dir(s.Project)+"/"+p)
	}
	edit := repo.TargetsEdit{AddDelegations: []repo.Delegation{d}}
	current := published(s, role)
	if current != nil {
		edit = repo.TargetsEdit{ReplaceDelegations: []repo.Delegation{d}}
	}
	project, err := m.edit(s, s.Authority, edit)
	if err != nil {
		return nil, err
	}
	issue := m.issue(s, role, a, d.Paths, life)
	var sub *repo.Draft
	if current != nil {
		sub, err = repo.EditTargets(current, repo.TargetsEdit{}, issue)
	} else {
		sub, err = repo.NewTargets(repo.TargetsSpec{}, issue)
	}
	if err != nil {
		return nil, fmt.Errorf("drawing up %s: %w", role, err)
	}
	r := m.newRequest(ceremony.Release, s)
	addDraft(r, project)
	addDraft(r, sub)
	return r, nil
}

// undelegate takes a delegation back. The files that only its holders listed go to the project's own list,
// which its maintainers sign, unless they are to be dropped.
func (m *maintainer) undelegate(ctx context.Context, project pypi.Project, name string, drop bool) error {
	role, err := policy.SubRole(project, name)
	if err != nil {
		return exit(exitUsage, err)
	}
	s, err := m.lookClaimed(ctx, project)
	if err != nil {
		return err
	}
	gone := map[string]bool{}
	if sub := published(s, role); drop && sub != nil {
		for t := range sub.All() {
			if _, own := s.Base.Lookup(t.Path); own {
				continue // its maintainers have signed it as well
			}
			if _, name, err := policy.ParsePath(t.Path); err == nil {
				gone[name.String()] = true
			}
		}
	}
	return m.takeBack(ctx, s, role, gone)
}

// takeBack removes the delegation to a sub-role. Its files go to the project's own list, but for those that
// are to be gone; those are taken off that list, too, where they may have got by a yank.
func (m *maintainer) takeBack(ctx context.Context, s *ceremony.Standing, role tuf.RoleName, gone map[string]bool) error {
	d, err := m.carryOut(ctx, s, plan{
		draw: func(_ context.Context, s *ceremony.Standing) (*ceremony.Request, []tuf.Target, error) {
			current := published(s, role)
			if current == nil {
				return nil, nil, fmt.Errorf("%s does not delegate to %s; bailiwick team %s shows what it does", s.Project, role, s.Project)
			}
			edit := repo.TargetsEdit{RemoveDelegations: []tuf.RoleName{role}, Remove: listedNames(s, s.Base, gone)}
			for t := range current.All() {
				_, own := s.Base.Lookup(t.Path)
				_, name, err := policy.ParsePath(t.Path)
				if err == nil && !own && !gone[name.String()] {
					edit.Put = append(edit.Put, t)
				}
			}
			project, err := m.edit(s, s.Authority, edit)
			if err != nil {
				return nil, nil, err
			}
			r := m.newRequest(ceremony.Release, s)
			addDraft(r, project)
			return r, nil, nil
		},
		title: teamTitle,
		again: true,
	})
	if err != nil {
		return err
	}
	published, err := m.report(ctx, d, "taking the delegation back")
	if err == nil && published {
		m.printf("done. %s has no rights any more (publication %d)\n", role, d.outcome.Publication)
	}
	return err
}
