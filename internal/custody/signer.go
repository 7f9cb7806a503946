package custody

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
	"example.com/bailiwick/tuf/trust"
)

// Memory keeps what a signer has signed. It belongs to one signer at a time.
type Memory interface {
	// Last returns what was signed last, nil if nothing ever was.
	Last(ctx context.Context) (*Signed, error)

	// Keep takes s in the place of what was signed before, and adds the names of files that it retires. All of it is
	// durable on return; after an error, all, some or nothing of it may be there, and the call may be repeated.
	Keep(ctx context.Context, s *Signed, retired []tuf.TargetPath) error

	// Retired reports whether a name was retired by anything that was signed.
	Retired(ctx context.Context, path tuf.TargetPath) (bool, error)
}

// Signed is what a signer remembers of the newest proposal that it signed.
type Signed struct {
	ID       [32]byte // of the proposal
	Number   int64
	Time     time.Time // of the proposal
	Snapshot [32]byte  // SHA-256 of the snapshot's file; zero if the server signed it
	// Roles are the versions that the snapshot lists anew.
	Roles  map[tuf.RoleName]int64
	Answer []byte // encoded, with the signatures
}

// Repository is the way to the index.
type Repository interface {
	// Current returns what the index shows now, verified as a client does that has seen all that this signer saw
	// before, from a pinned root on. Expiry is held against at. What expires alone is a
	// *trust.RefusedError with the code Expired.
	Current(ctx context.Context, at time.Time) (*trust.Set, trust.Loader, error)
}

// Config is what a [Signer] is made of. Memory, Repository, Keys and Now are required.
type Config struct {
	Memory     Memory
	Repository Repository
	Name       [32]byte // of the repository: SHA-256 of 1.root.json
	Keys       []key.Signer
	Lifetimes  policy.Lifetimes // the longest that is signed for; zero: policy.DefaultLifetimes
	Now        func() time.Time
}

// Signer signs what an index proposes, after judging it. It belongs to one goroutine.
type Signer struct{ c Config }

// NewSigner makes a signer.
func NewSigner(c Config) (*Signer, error) {
	if c.Memory == nil || c.Repository == nil || c.Now == nil || len(c.Keys) == 0 {
		return nil, errors.New("a signer needs a memory, a repository, keys and a clock")
	}
	if c.Lifetimes == (policy.Lifetimes{}) {
		c.Lifetimes = policy.DefaultLifetimes()
	}
	if err := c.Lifetimes.Check(); err != nil {
		return nil, fmt.Errorf("configuring the signer: %w", err)
	}
	return &Signer{c: c}, nil
}

// Consider answers an encoded proposal: with signatures that are on the disk already, or with the reason why
// there are none. It never fails otherwise. A refusal with the reason Failed says nothing of the proposal: the
// same one may be asked again, and must be, before another one of its number is.
func (s *Signer) Consider(ctx context.Context, proposal []byte) *Answer {
	id := ID(proposal)
	answer, err := s.consider(ctx, id, proposal)
	if err == nil {
		return answer
	}
	var refused *Refused
	if !errors.As(err, &refused) {
		refused = refuse(Failed, "", "the signer could not judge: %v", err)
	}
	return &Answer{Proposal: id, Refused: refused}
}

func (s *Signer) consider(ctx context.Context, id [32]byte, data []byte) (*Answer, error) {
	last, err := s.c.Memory.Last(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading what was signed before: %w", err)
	}
	if last != nil && last.ID == id {
		return DecodeAnswer(last.Answer)
	}
	p, err := Decode(data)
	if err != nil {
		return nil, err
	}
	if last != nil && p.Number <= last.Number {
		return nil, refuse(AlreadySigned, tuf.RoleSnapshot, "this signer has signed proposal %s, which makes snapshot %d, and signs no other one in its place", ShortID(last.ID), last.Number)
	}
	m, err := s.moment(ctx, last)
	if err != nil {
		return nil, err
	}
	verdict, err := Judge(m, p, s.c.Now())
	if err != nil {
		return nil, err
	}
	return s.sign(ctx, id, p, verdict)
}

// moment verifies what the index shows, and that it goes on from what was signed last.
func (s *Signer) moment(ctx context.Context, last *Signed) (*Moment, error) {
	set, load, err := s.c.Repository.Current(ctx, s.c.Now())
	var refused *trust.RefusedError
	if errors.As(err, &refused) && refused.Code == trust.Expired && last != nil {
		// This signer was away for longer than the snapshot lives, and it is here to renew it. That nobody
		// shows it something old is seen by what it remembers, not by the date.
		set, load, err = s.c.Repository.Current(ctx, last.Time)
	}
	if err != nil {
		return nil, fmt.Errorf("verifying what the index shows: %w", err)
	}
	if err := s.follows(last, set); err != nil {
		return nil, err
	}
	return &Moment{
		Repository: s.c.Name, Set: set, Load: load, Lifetimes: s.c.Lifetimes,
		Retired: func(path tuf.TargetPath) (bool, error) { return s.c.Memory.Retired(ctx, path) },
	}, nil
}

// follows holds what the index shows against what was signed last.
func (s *Signer) follows(last *Signed, set *trust.Set) error {
	if last == nil {
		return nil
	}
	base := set.Snapshot()
	switch {
	case base.Version() < last.Number:
		return refuse(Unpublished, tuf.RoleSnapshot, "the index shows snapshot %d, and this signer has signed %d: what it signed has to be published first", base.Version(), last.Number)
	case base.Version() == last.Number && last.Snapshot != [32]byte{} && sha256.Sum256(base.Bytes()) != last.Snapshot,
		base.Version() > last.Number && s.holdsSnapshot(set):
		return refuse(Elsewhere, tuf.RoleSnapshot, "the index shows a snapshot %d that this signer did not sign, signed with its key: somebody else has the key; change it (bailiwick rotate snapshot)", base.Version())
	}
	for _, role := range slices.Sorted(maps.Keys(last.Roles)) {
		if meta, ok := base.Lookup(role); !ok || meta.Version < last.Roles[role] {
			return refuse(Unpublished, role, "version %d of %s was signed here and is not published; the index has to publish it first", last.Roles[role], role)
		}
	}
	return nil
}

// holdsSnapshot reports whether this signer's key is the one that signs published snapshots.
func (s *Signer) holdsSnapshot(set *trust.Set) bool {
	a, _ := set.Root().Authority(tuf.RoleSnapshot)
	return len(s.keysOf(a)) > 0
}

// keysOf returns those of the signer's keys that an authority names.
func (s *Signer) keysOf(a tuf.Authority) []key.Signer {
	var mine []key.Signer
	for _, k := range s.c.Keys {
		if _, ok := a.Key(k.Public().ID()); ok {
			mine = append(mine, k)
		}
	}
	slices.SortFunc(mine, func(x, y key.Signer) int { return strings.Compare(string(x.Public().ID()), string(y.Public().ID())) })
	return mine
}

// sign signs what was judged, and remembers it before anybody sees a signature.
func (s *Signer) sign(ctx context.Context, id [32]byte, p *Proposal, v *Verdict) (*Answer, error) {
	signed := &Signed{ID: id, Number: p.Number, Time: p.Time, Roles: v.Roles}
	answer := &Answer{Proposal: id}
	for i := range v.Sign {
		t := &v.Sign[i]
		mine := s.keysOf(t.Authority)
		if len(mine) < t.Authority.Threshold() {
			return nil, refuse(NoKey, t.Role, "this signer does not hold the keys of %s: it needs %d of %v", t.Role, t.Authority.Threshold(), t.Authority.KeyIDs())
		}
		var own []tuf.Signature
		for _, k := range mine[:t.Authority.Threshold()] {
			sig, err := k.Sign(ctx, t.Message)
			if err != nil {
				return nil, fmt.Errorf("signing version %d of %s: %w", t.Version, t.Role, err)
			}
			own = append(own, tuf.Signature{KeyID: k.Public().ID(), Sig: sig})
			answer.Signatures = append(answer.Signatures, RoleSignature{t.Role, own[len(own)-1]})
		}
		if t.Role == tuf.RoleSnapshot {
			signed.Snapshot = sha256.Sum256(tuf.AppendEnvelope(nil, t.Message, own))
		}
	}
	if len(answer.Signatures) == 0 {
		return nil, refuse(Malformed, "", "the proposal asks for no signature")
	}
	var err error
	if signed.Answer, err = answer.Encode(); err != nil {
		return nil, err
	}
	if err := s.c.Memory.Keep(ctx, signed, v.Removed); err != nil {
		return nil, fmt.Errorf("writing down what is signed: %w", err)
	}
	return answer, nil
}

// Last returns what was signed last, nil if nothing was: a signer says so when it connects.
func (s *Signer) Last(ctx context.Context) (*Signed, error) {
	last, err := s.c.Memory.Last(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading what was signed before: %w", err)
	}
	return last, nil
}
