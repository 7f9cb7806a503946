package publishtest

import (
	"context"
	"fmt"
	"time"

	"example.com/bailiwick/internal/ceremony"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
	"example.com/bailiwick/tuf/repo"
)

// Draft is a signing request in the making, for [Draft.On].
type Draft struct {
	Kind      ceremony.Kind
	Keys      []key.Signer // of a claim or rekey
	Threshold int          // likewise; zero: 1
	Add       []publish.File
	Edit      repo.TargetsEdit // of the project's role, besides Add
	// Subs are new versions of sub-roles, by the last part of their name.
	Subs map[string]Sub
	// Only leaves the project's role out: the sub-roles alone are signed.
	Only bool
	Life time.Duration // of the roles; zero: a year
}

// Sub is a new version of a sub-role. Delegate makes the project delegate to it in the same request.
type Sub struct {
	Add      []publish.File
	Edit     repo.TargetsEdit
	Delegate bool
	Replace  bool // with Delegate: change the delegation that there is
	Keys     []key.Signer
	// Threshold of Keys; zero: 1.
	Threshold int
	Paths     []string // zero: *.whl
}

// On renders the request on a project as it stands, without signatures.
func (d Draft) On(s *ceremony.Standing, now time.Time) (*ceremony.Request, error) {
	if d.Life == 0 {
		d.Life = 365 * 24 * time.Hour
	}
	r := &ceremony.Request{
		Kind: d.Kind, Repository: s.Repository, Project: s.Project, Bases: make(map[tuf.RoleName]int64),
		Created: now.UTC().Truncate(time.Second), Expires: now.UTC().Truncate(time.Second).Add(24 * time.Hour), By: "test",
	}
	authority := s.Authority
	if d.Kind != ceremony.Release {
		r.Threshold = max(d.Threshold, 1)
		for _, k := range d.Keys {
			r.Keys = append(r.Keys, k.Public())
		}
		var err error
		if authority, err = tuf.NewAuthority(r.Threshold, r.Keys...); err != nil {
			return nil, err
		}
	}
	edit := d.Edit
	for name, sub := range d.Subs {
		if err := d.sub(r, s, now, name, sub, &edit); err != nil {
			return nil, err
		}
	}
	if d.Only {
		return r, nil
	}
	return r, d.payload(r, s.Base, policy.ProjectRole(s.Project), s, authority, now, edit, d.Add)
}

func (d Draft) sub(r *ceremony.Request, s *ceremony.Standing, now time.Time, name string, sub Sub, edit *repo.TargetsEdit) error {
	role, err := policy.SubRole(s.Project, name)
	if err != nil {
		return err
	}
	var base *tuf.Targets
	var authority tuf.Authority
	for _, old := range s.Subs {
		if old.Delegation.Name() == role {
			base = old.Targets
			if authority, err = old.Delegation.Authority(); err != nil {
				return err
			}
		}
	}
	if sub.Delegate {
		keys := make([]*key.Public, len(sub.Keys))
		for i, k := range sub.Keys {
			keys[i] = k.Public()
		}
		if authority, err = tuf.NewAuthority(max(sub.Threshold, 1), keys...); err != nil {
			return err
		}
		if sub.Paths == nil {
			sub.Paths = []string{s.Layout.Dir(s.Project) + "/*.whl"}
		}
		to := repo.Delegation{Role: role, Authority: authority, Paths: sub.Paths, Terminating: true}
		if sub.Replace {
			edit.ReplaceDelegations = append(edit.ReplaceDelegations, to)
		} else {
			edit.AddDelegations = append(edit.AddDelegations, to)
		}
	}
	return d.payload(r, base, role, s, authority, now, sub.Edit, sub.Add)
}

func (d Draft) payload(
	r *ceremony.Request, base *tuf.Targets, role tuf.RoleName, s *ceremony.Standing, a tuf.Authority, now time.Time, edit repo.TargetsEdit, add []publish.File,
) error {
	for _, f := range add {
		t, err := f.Target(s.Layout)
		if err != nil {
			return err
		}
		edit.Put = append(edit.Put, t)
	}
	newest := s.Newest(role)
	issue := repo.Issue{Role: role, Version: newest + 1, Now: now, Expires: now.Add(d.Life), Authority: a}
	var draft *repo.Draft
	var err error
	if base == nil {
		draft, err = repo.NewTargets(repo.TargetsSpec{Targets: edit.Put, Delegations: edit.AddDelegations, Members: edit.Members}, issue)
	} else {
		draft, err = repo.EditTargets(base, edit, issue)
	}
	if err != nil {
		return err
	}
	r.Bases[role] = newest
	r.Payloads = append(r.Payloads, ceremony.Payload{Role: role, Message: draft.Message()})
	return nil
}

// Sign adds the signature of each signer to the payload of a role, or to every payload if the role
// is empty.
func Sign(r *ceremony.Request, role tuf.RoleName, signers ...key.Signer) error {
	for i := range r.Payloads {
		p := &r.Payloads[i]
		if role != "" && p.Role != role {
			continue
		}
		for _, s := range signers {
			sig, err := s.Sign(context.Background(), p.Message)
			if err != nil {
				return err
			}
			if _, err := r.Add(p.Role, tuf.Signature{KeyID: s.Public().ID(), Sig: sig}); err != nil {
				return fmt.Errorf("adding a signature: %w", err)
			}
		}
	}
	return nil
}

// Adopt returns the entries of a project's files, marked as vouched for by the index: what a claim
// puts for files that the maintainers did not build.
func Adopt(s *ceremony.Standing) ([]tuf.Target, error) {
	if s.Base == nil {
		return nil, nil
	}
	var out []tuf.Target
	for t := range s.Base.All() {
		custom, err := policy.DecodeCustom(t.Custom)
		if err != nil {
			return nil, err
		}
		custom.VouchedBy = policy.VouchedByIndex
		if t.Custom, err = custom.Encode(); err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	return out, nil
}
