package ceremony

import (
	"slices"
	"strings"

	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/tuf"
)

// delegations checks to whom the project delegates afterwards, and that a client will find every
// one of these sub-roles signed as its new delegation demands.
func (j *judge) delegations() error {
	project := j.drafts[j.role]
	if project == nil {
		project = j.s.Base
	} else if err := j.checkDelegations(project); err != nil {
		return err
	}
	j.next = listing{project: project, subs: make(map[tuf.RoleName]*tuf.Targets)}
	j.subs = make(map[tuf.RoleName]tuf.Delegation)
	if ds := project.Delegations(); ds != nil {
		for d := range ds.All() {
			j.subs[d.Name()] = d
			if err := j.subRole(d); err != nil {
				return err
			}
		}
	}
	for role, t := range j.drafts {
		if _, ok := j.subs[role]; role != j.role && !ok {
			return refuse(Unknown, role, "the request has a payload for %s, and %s does not delegate to it", role, j.role)
		}
		if ds := t.Delegations(); role != j.role && ds != nil && ds.Len() > 0 {
			return refuse(Outside, role, "%s delegates further; only %s may", role, j.role)
		}
	}
	return nil
}

// checkDelegations checks a project's delegations by themselves.
func (j *judge) checkDelegations(project *tuf.Targets) error {
	ds := project.Delegations()
	if ds == nil {
		return nil
	}
	if _, _, succinct := ds.Succinct(); succinct || ds.Len() > MaxPayloads-1 {
		return refuse(Outside, j.role, "%s delegates in bins or to more than %d roles", j.role, MaxPayloads-1)
	}
	for id, raw := range ds.Keys() {
		k, err := parseKey(raw, "the payload of "+string(j.role))
		if err != nil {
			return err
		}
		if k.ID() != id {
			return refuse(Key, j.role, "%s lists a key under the id %s, and its id is %s", j.role, short(id), short(k.ID()))
		}
	}
	for d := range ds.All() {
		if err := j.checkDelegation(d); err != nil {
			return err
		}
	}
	return nil
}

func (j *judge) checkDelegation(d tuf.Delegation) error {
	role := d.Name()
	if p, _, ok := policy.SubRoleOf(role); !ok || p != j.s.Project {
		return refuse(Outside, role, "%s can not delegate to %.80q; its sub-roles are named %s.NAME", j.role, role, j.role)
	}
	if !d.Terminating() {
		return refuse(Outside, role, "the delegation to %s is not terminating; it has to be", role)
	}
	dir := j.s.Layout.Dir(j.s.Project) + "/"
	paths := d.Paths()
	if len(paths) == 0 {
		return refuse(Outside, role, "the delegation to %s has no path patterns; name some, such as %s*.whl", role, dir)
	}
	for _, p := range paths {
		rest, ok := strings.CutPrefix(p, dir)
		if !ok || rest == "" || strings.Contains(rest, "/") || tuf.ValidatePattern(p) != nil {
			return refuse(Outside, role, "the delegation to %s has the pattern %.80q, which is outside the project: use %s and a file name, such as *.whl", role, p, dir)
		}
	}
	a, err := d.Authority()
	if err != nil {
		return refuse(Key, role, "reading the keys of %s: %v", role, err)
	}
	keys, err := usable(a, role)
	if err != nil {
		return err
	}
	return j.notOurs(keys, role)
}

// subRole finds the version of a sub-role that clients will get.
func (j *judge) subRole(d tuf.Delegation) error {
	role := d.Name()
	if t := j.drafts[role]; t != nil {
		j.next.subs[role] = t
		return nil
	}
	now := j.s.sub(role)
	if now == nil {
		return refuse(Malformed, role, "%s delegates to %s, and the request has no payload for it; add its version %d", j.role, role, j.s.Newest(role)+1)
	}
	j.next.subs[role] = now.Targets
	if j.drafts[j.role] == nil {
		return nil
	}
	a, err := d.Authority()
	if err != nil {
		return refuse(Key, role, "reading the keys of %s: %v", role, err)
	}
	u, err := tuf.ParseTargets(now.Targets.Bytes(), nil)
	if err == nil {
		_, err = u.Verify(a)
	}
	if err != nil {
		return refuse(Malformed, role, "the new keys of %s have not signed what it lists; add its version %d to the request", role, j.s.Newest(role)+1)
	}
	return nil
}

// delegationsChange reports whether other sub-roles, or for other paths, are delegated afterwards.
func (j *judge) delegationsChange() bool {
	project := j.drafts[j.role]
	if project == nil || j.s.Base == nil {
		return false
	}
	raw := func(t *tuf.Targets) []byte {
		if ds := t.Delegations(); ds != nil {
			return ds.Raw()
		}
		return nil
	}
	return !slices.Equal(raw(project), raw(j.s.Base))
}
