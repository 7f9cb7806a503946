package index

import (
	"context"
	"errors"
	"fmt"
	"time"

	"example.com/bailiwick/internal/ceremony"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
)

// ProjectState is what the owners of a project see of it.
type ProjectState struct {
	Project   pypi.Project
	Exists    bool // it has a role; else only what is staged is told
	Assurance policy.Assurance
	Version   int64 // of the project's role
	Expires   time.Time
	Since     time.Time // of the claim; zero: not claimed, or not told
	// Parked is since when the offline keys sign for the maintainers, zero if they do not. Keys are those of its
	// maintainers then, too.
	Parked time.Time
	// Announced is the recovery that operators have announced, nil if none waits.
	Announced *publish.Recovery
	// Keys and Threshold say who signs: the registry key of an unclaimed project.
	Keys      []*key.Public
	Threshold int
	Recovery  []*key.Public
	Subs      []SubState
	Staged    []StagedFile
	Requests  []Pending
}

// SubState is a role to which a project delegates.
type SubState struct {
	Role      tuf.RoleName
	Version   int64
	Expires   time.Time
	Keys      []*key.Public
	Threshold int
	Paths     []string
}

// Repository returns the SHA-256 of the repository's first root, to which signing requests are bound.
func (x *Index) Repository() [32]byte { return x.publisher.Current().Repository() }

// ProjectState returns what the owners of a project see of it.
func (x *Index) ProjectState(ctx context.Context, a Actor, p pypi.Project) (ProjectState, error) {
	if err := x.admit(a, p); err != nil {
		return ProjectState{}, err
	}
	standing, err := x.publisher.Current().Standing(ctx, p)
	if err != nil {
		return ProjectState{}, err
	}
	s := ProjectState{Project: p, Exists: standing.Base != nil, Assurance: standing.Assurance, Since: standing.Since}
	if s.Exists {
		s.Version, s.Expires = standing.Base.Version(), standing.Base.Expires()
		s.Keys, s.Threshold, s.Parked = keysOf(standing.Owners), standing.Owners.Threshold(), standing.Parked
		if s.Recovery, err = ceremony.RecoveryKeys(standing.Base); err != nil {
			return ProjectState{}, fmt.Errorf("reading the recovery keys of %s: %w", p, err)
		}
	}
	if r, waits := x.publisher.Current().Recovery(p); waits {
		s.Announced = &r
	}
	for _, sub := range standing.Subs {
		authority, err := sub.Delegation.Authority()
		if err != nil {
			return ProjectState{}, fmt.Errorf("reading the keys of %s: %w", sub.Delegation.Name(), err)
		}
		s.Subs = append(s.Subs, SubState{
			Role: sub.Delegation.Name(), Version: sub.Targets.Version(), Expires: sub.Targets.Expires(),
			Keys: keysOf(authority), Threshold: authority.Threshold(), Paths: sub.Delegation.Paths(),
		})
	}
	if s.Staged, err = x.Staged(ctx, a, p); err != nil {
		return ProjectState{}, err
	}
	s.Requests, err = x.Requests(ctx, a, p)
	return s, err
}

func keysOf(a tuf.Authority) []*key.Public {
	var keys []*key.Public
	for _, id := range a.KeyIDs() {
		if k, ok := a.Key(id); ok {
			keys = append(keys, k)
		}
	}
	return keys
}

// SignedAlone returns the listed files of a project that no key but this one signed when they
// first appeared: those that are in doubt if the key was stolen. It is the index's own record, so
// it helps to choose what to sign again, and proves nothing.
func (x *Index) SignedAlone(ctx context.Context, a Actor, p pypi.Project, id key.ID) ([]pypi.Filename, error) {
	if err := x.admit(a, p); err != nil {
		return nil, err
	}
	standing, err := x.publisher.Current().Standing(ctx, p)
	if err != nil {
		return nil, err
	}
	if standing.Base == nil {
		return nil, refuse(NotFound, "there is no project %s here", p)
	}
	var out []pypi.Filename
	for path := range standing.Files() {
		_, name, err := policy.ParsePath(path)
		if err != nil {
			return nil, fmt.Errorf("reading the file list of %s: %w", p, err)
		}
		f, err := x.publisher.File(ctx, name)
		if errors.Is(err, publish.ErrNotFound) {
			continue // published before this index kept a record
		}
		if err != nil {
			return nil, fmt.Errorf("looking up %s: %w", name, err)
		}
		if len(f.Signers) == 1 && f.Signers[0] == id {
			out = append(out, name)
		}
	}
	return out, nil
}

// requestError turns what is wrong with a signing request into a refusal.
func requestError(what string, err error) error {
	var refused *ceremony.Refused
	if !errors.As(err, &refused) {
		if errors.Is(err, publish.ErrUnsigned) {
			return refuse(Conflict, "%s was overtaken by a change of keys; look at it again, and sign what is missing", what).because(err)
		}
		return publishError(what, err)
	}
	kind := Invalid
	switch refused.Reason {
	case ceremony.Stale:
		kind = Conflict
	case ceremony.Claimed, ceremony.NotClaimed, ceremony.ForeignKey, ceremony.Archived, ceremony.Parked:
		kind = Forbidden
	}
	r := refuse(kind, "%s", refused.Message)
	r.Err, r.Reason, r.Role, r.Version = err, refused.Reason, refused.Role, refused.Version
	if r.Message != refused.Message {
		r.Detail = refused.Message // the message had to be cut
	}
	return r
}
