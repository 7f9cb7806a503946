package publishtest

import (
	"context"
	"sync"

	"example.com/bailiwick/internal/custody"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
)

// Desk is an isolated signer for tests that are not about its judgement: it signs whatever it is asked for.
type Desk struct {
	mu     sync.Mutex // guards what follows
	keys   map[bool]key.Signer
	gone   bool
	refuse *custody.Refused
}

// NewDesk returns a desk with the registry and snapshot keys of a repository, and the signers that are left to
// the publisher then.
func NewDesk(keys Keys) (*Desk, publish.Signers) {
	return &Desk{keys: map[bool]key.Signer{true: keys[policy.KeySnapshot], false: keys[policy.KeyRegistry]}},
		publish.Signers{Timestamp: keys[policy.KeyTimestamp]}
}

// Leave says whether the signer is away.
func (d *Desk) Leave(gone bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.gone = gone
}

// Refuse has it refuse everything, or, with nil, nothing any more.
func (d *Desk) Refuse(why *custody.Refused) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.refuse = why
}

// Ready implements publish.Countersigner.
func (d *Desk) Ready() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return !d.gone
}

// Keys implements publish.Countersigner.
func (d *Desk) Keys() []key.ID {
	return []key.ID{d.keys[true].Public().ID(), d.keys[false].Public().ID()}
}

// Countersign implements publish.Countersigner.
func (d *Desk) Countersign(ctx context.Context, proposal []byte) (*custody.Answer, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.gone {
		return nil, publish.ErrNoSigner
	}
	a := &custody.Answer{Proposal: custody.ID(proposal)}
	if a.Refused = d.refuse; a.Refused != nil {
		return a, nil
	}
	p, err := custody.Decode(proposal)
	if err != nil {
		return nil, err
	}
	for _, r := range append(p.Roles, p.Snapshot) {
		if len(r.Signatures) > 0 {
			continue
		}
		by := d.keys[r.Name == tuf.RoleSnapshot]
		sig, err := by.Sign(ctx, r.Message)
		if err != nil {
			return nil, err
		}
		a.Signatures = append(a.Signatures, custody.RoleSignature{Role: r.Name, Signature: tuf.Signature{KeyID: by.Public().ID(), Sig: sig}})
	}
	return a, nil
}
