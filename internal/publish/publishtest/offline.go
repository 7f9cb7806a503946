package publishtest

import (
	"context"
	"slices"
	"time"

	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/sitting"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
)

// Offline returns the keys of the repository that people keep.
func (k Keys) Offline() []key.Signer {
	return []key.Signer{k[policy.KeyRoot], k[policy.KeyTargets], k[policy.KeyClaimed], k[policy.KeyUnclaimed]}
}

// SignOffline lets those of the signers whose signatures are missing in a request sign it.
func SignOffline(r *sitting.Request, now time.Time, signers ...key.Signer) error {
	v, err := sitting.Judge(r, now)
	if err != nil {
		return err
	}
	for _, m := range v.Missing {
		for _, s := range signers {
			if !slices.Contains(m.Keys, s.Public().ID()) {
				continue
			}
			if err := sign(r.Payload(m.Role), s); err != nil {
				return err
			}
		}
	}
	return nil
}

func sign(p *sitting.Payload, s key.Signer) error {
	sig, err := s.Sign(context.Background(), p.Message)
	if err != nil {
		return err
	}
	p.Signatures = append(p.Signatures, tuf.Signature{KeyID: s.Public().ID(), Sig: sig})
	return nil
}
