package publish

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
)

// Signers are the online keys.
type Signers struct {
	Registry  key.Signer // unclaimed bins and unclaimed projects
	Snapshot  key.Signer
	Timestamp key.Signer
	// Others are further keys at hand, for any of the three roles: those that a prepared change of keys will name,
	// or those that it has named already. Of all keys, the one signs that the repository names for a role.
	Others []key.Signer
}

// check refuses what can never sign a publication.
func (s Signers) check(countersigned bool) error {
	missing := s.Timestamp == nil || slices.Contains(s.Others, nil)
	if missing || !countersigned && (s.Registry == nil || s.Snapshot == nil) {
		return errors.New("a publisher needs the registry, snapshot and timestamp keys")
	}
	return nil
}

// keyring holds the online keys by what they can sign. Safe for concurrent use.
type keyring struct {
	mu   sync.RWMutex // guards keys
	keys []heldKey
}

// heldKey is a key with its id, which takes time to work out.
type heldKey struct {
	id     key.ID
	signer key.Signer
}

func newKeyring(s Signers) *keyring {
	k := new(keyring)
	for _, signer := range append([]key.Signer{s.Registry, s.Snapshot, s.Timestamp}, s.Others...) {
		if signer != nil {
			k.add(signer)
		}
	}
	return k
}

func (k *keyring) add(s key.Signer) {
	held := heldKey{s.Public().ID(), s}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.keys = append(k.keys, held)
}

// holds reports whether one key at hand satisfies an authority.
func (k *keyring) holds(a tuf.Authority) bool {
	_, err := k.signer("", a)
	return err == nil
}

// signer returns a key at hand that satisfies an authority, or ErrWrongKey.
func (k *keyring) signer(role tuf.RoleName, a tuf.Authority) (key.Signer, error) {
	if a.Threshold() != 1 {
		return nil, fmt.Errorf("the role %s needs %d signatures and the publisher has one key for it: %w", role, a.Threshold(), ErrWrongKey)
	}
	k.mu.RLock()
	defer k.mu.RUnlock()
	for _, held := range k.keys {
		if _, ok := a.Key(held.id); ok {
			return held.signer, nil
		}
	}
	return nil, fmt.Errorf("none of the keys at hand may sign %s; the repository names %v: %w", role, a.KeyIDs(), ErrWrongKey)
}

// AddSigner puts a further key at hand, as [Signers].Others does from the start: for a change of keys that is
// prepared while the index runs.
func (p *Publisher) AddSigner(s key.Signer) { p.keys.add(s) }

// KeysAtHand returns the ids of the keys that the publisher itself can sign with: all of them in custody standard,
// that of the timestamp alone in custody strict.
func (p *Publisher) KeysAtHand() []key.ID {
	p.keys.mu.RLock()
	defer p.keys.mu.RUnlock()
	var ids []key.ID
	for _, held := range p.keys.keys {
		ids = append(ids, held.id)
	}
	return ids
}
