package publish

import (
	"context"

	"example.com/bailiwick/internal/policy"
)

// Roles returns the newest version of every role, by name: also of roles that nobody delegates any more. It reads the
// ledger, so it may be a publication ahead of [Publisher.Current].
func (p *Publisher) Roles(ctx context.Context) ([]Role, error) { return p.c.Ledger.Roles(ctx) }

// Lifetimes returns how long new versions of roles are good.
func (p *Publisher) Lifetimes() policy.Lifetimes { return p.c.Lifetimes }
