package publish

import (
	"context"

	"example.com/bailiwick/internal/policy"
)

// Roles returns the newest version of every role, by name: also of roles that nobody delegates any more. It reads the
// ledger, so it may be a publication ahead of [Publisher.Current]; but where nothing was published since Open, which read them
// all, it does not read them again: a command that only looks is done in half the time. Nobody may change what it returns.
func (p *Publisher) Roles(ctx context.Context) ([]Role, error) {
	if roles := p.Current().roles; roles != nil {
		return roles, nil
	}
	return p.c.Ledger.Roles(ctx)
}

// Lifetimes returns how long new versions of roles are good.
func (p *Publisher) Lifetimes() policy.Lifetimes { return p.c.Lifetimes }
