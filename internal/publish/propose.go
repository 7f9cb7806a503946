package publish

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"example.com/bailiwick/internal/ceremony"
	"example.com/bailiwick/internal/custody"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
	"example.com/bailiwick/tuf/repo"
	"example.com/bailiwick/tuf/trust"
)

// This file is custody strict: publications that the publisher can not sign alone. A batch is built as ever; what no
// key at hand may sign is left unsigned, and the whole is proposed to the isolated signer. It is stored before it
// is sent, so that a crash in between ends in the same publication:
//
//	build → store the proposal → ask the signer → sign the timestamp → verify → commit, which drops the proposal
//	                             └ no answer, or a crash here: resume asks again, with the same bytes
//
// Until it is known that the signer did not sign a proposal, nothing else of its number is proposed.

// draft is what an online key signs, and the signatures of keys at hand.
type draft struct {
	*repo.Draft
	signatures []tuf.Signature
}

// note remembers a draft, for the proposal.
func (b *batch) note(d *repo.Draft, own ...tuf.Signature) {
	b.drafting.Lock()
	defer b.drafting.Unlock()
	if b.drafts == nil {
		b.drafts = make(map[tuf.RoleName]draft)
	}
	b.drafts[d.Role()] = draft{d, own}
}

// complete has the isolated signer sign what no key at hand may sign.
func (b *batch) complete(ctx context.Context) error {
	for _, m := range b.staged {
		if m.Bytes == nil {
			return b.countersign(ctx, b)
		}
	}
	return nil
}

// isAway reports whether a key is not at hand because the isolated signer holds it.
func (c *Config) isAway(s key.Signer) bool { return s == nil && c.Countersign != nil }

// canSign makes sure that somebody signs for an authority that operators name: a key at hand, or the isolated
// signer, which has to be there to say so.
func (b *batch) canSign(role tuf.RoleName, a tuf.Authority) error {
	_, err := b.keys.signer(role, a)
	if err == nil || b.line == nil || role == tuf.RoleTimestamp {
		return err
	}
	if !b.line.Ready() {
		return fmt.Errorf("whether it has the key of %s: %w", role, ErrNoSigner)
	}
	held := b.line.Keys()
	n := 0
	for _, id := range a.KeyIDs() {
		if slices.Contains(held, id) {
			n++
		}
	}
	if n < a.Threshold() {
		return fmt.Errorf("%w, and the index's signer has no such key", err)
	}
	return nil
}

// away reports whether a batch can not be published because it needs a signer that is not there.
func (p *Publisher) away(b *batch) bool {
	if p.c.Countersign == nil || p.open == nil && p.c.Countersign.Ready() {
		return false
	}
	if p.open != nil || !b.atHand(tuf.RoleSnapshot) {
		return true // what was proposed comes first
	}
	registry := len(b.bins) > 0 || slices.ContainsFunc(b.order, func(l *fileList) bool { return l.touched() })
	return registry && !b.atHand("")
}

// atHand reports whether the key that signs the snapshot, or for the empty role the registry key, is at hand.
func (b *batch) atHand(role tuf.RoleName) bool {
	if role == tuf.RoleSnapshot {
		a, _ := b.offline.rootAfter(b.state.view.set.Root()).Authority(role)
		return b.keys.holds(a)
	}
	for bin := range b.state.layout.BinNames() {
		chain := b.state.layout.UnclaimedBinChain(bin)
		if a, err := b.binAuthority(chain[len(chain)-1]); err == nil {
			return b.keys.holds(a)
		}
	}
	return false
}

// cannotAsk reports whether nothing but a timestamp can be published now.
func (p *Publisher) cannotAsk() bool {
	if p.c.Countersign == nil || p.open == nil && p.c.Countersign.Ready() {
		return false
	}
	b := &batch{state: p.state, keys: p.keys, load: p.state.view.loader(context.Background())}
	return p.open != nil || !b.atHand(tuf.RoleSnapshot) || !b.atHand("")
}

// propose asks the isolated signer to sign a batch, and puts its signatures in. ErrNoSigner if no answer came.
func (p *Publisher) propose(ctx context.Context, b *batch) error {
	proposal := b.proposal()
	sent, err := proposal.Encode()
	if err != nil {
		return fmt.Errorf("proposing to the signer: %w", err)
	}
	committed, err := encodePublication(b.publication())
	if err != nil {
		return fmt.Errorf("proposing to the signer: %w", err)
	}
	stored := &StoredProposal{Number: proposal.Number, Proposal: sent, Publication: committed}
	if err := p.c.Proposals.PutProposal(ctx, *stored); err != nil {
		return fmt.Errorf("storing what is proposed: %w", err)
	}
	p.open = stored
	answer, err := p.ask(ctx)
	if err != nil {
		return err
	}
	return fill(b.staged, proposal, answer)
}

// proposal returns the batch as the signer gets it.
func (b *batch) proposal() *custody.Proposal {
	set := b.state.view.set
	p := &custody.Proposal{
		Repository: b.state.view.repository, Number: set.Snapshot().Version() + 1, Publication: b.number(),
		Base: sha256.Sum256(set.Snapshot().Bytes()), Time: b.at, Record: b.entries,
	}
	for role, d := range b.drafts {
		r := custody.Role{Name: role, Message: d.Message(), Signatures: d.signatures}
		switch _, staged := b.staged[role]; {
		case role == tuf.RoleSnapshot:
			p.Snapshot = r
		case staged:
			p.Roles = append(p.Roles, r)
		}
	}
	slices.SortFunc(p.Roles, func(x, y custody.Role) int { return strings.Compare(string(x.Name), string(y.Name)) })
	for _, l := range b.order {
		if l.err == nil {
			p.Deleted = append(p.Deleted, l.deleted()...)
		}
	}
	for _, s := range sortedByProject(b.signs) {
		if s.err == nil {
			p.Requests = append(p.Requests, s.request)
		}
	}
	if b.offline != nil {
		p.Sittings = append(p.Sittings, b.offline.Request)
	}
	return p
}

// ask has the open proposal answered. A proposal that the signer has refused is forgotten: then it has not
// signed it, and never will.
func (p *Publisher) ask(ctx context.Context) (*custody.Answer, error) {
	answer, err := p.c.Countersign.Countersign(ctx, p.open.Proposal)
	if err != nil {
		return nil, err
	}
	refused := answer.Refused
	switch {
	case refused == nil:
		return answer, nil
	case refused.Reason == custody.Failed:
		p.c.Log.WarnContext(ctx, "the signer can not judge what is proposed; asking it again later", slog.String("reason", refused.Message))
		return nil, fmt.Errorf("%w: %w", ErrNoSigner, refused)
	}
	if err := p.c.Proposals.DropProposal(ctx); err != nil {
		return nil, fmt.Errorf("forgetting what the signer refused (%w): %w", refused, err)
	}
	p.open = nil
	p.c.Log.ErrorContext(ctx, "the signer refuses what is proposed; nothing was published",
		slog.String("reason", string(refused.Reason)), slog.String("role", string(refused.Role)), slog.String("message", refused.Message))
	return nil, fmt.Errorf("%w: %w", ErrNotSigned, refused)
}

// fill puts the signer's signatures around what it was asked to sign. Whether they are good is seen when
// the publication is verified.
func fill(staged map[tuf.RoleName]Metadata, p *custody.Proposal, a *custody.Answer) error {
	byRole := make(map[tuf.RoleName][]tuf.Signature)
	for _, s := range a.Signatures {
		byRole[s.Role] = append(byRole[s.Role], s.Signature)
	}
	for _, r := range append(slices.Clip(p.Roles), p.Snapshot) {
		if len(r.Signatures) > 0 {
			continue
		}
		m, ok := staged[r.Name]
		if !ok || len(byRole[r.Name]) == 0 {
			return fmt.Errorf("the signer's answer has no signature on %s: %w", r.Name, ErrVerification)
		}
		m.Bytes = tuf.AppendEnvelope(make([]byte, 0, len(r.Message)+512), r.Message, byRole[r.Name])
		staged[r.Name] = m
	}
	return nil
}

// readProposal finds what was proposed before the publisher was started.
func (p *Publisher) readProposal(ctx context.Context) error {
	if p.c.Countersign == nil {
		return nil
	}
	stored, err := p.c.Proposals.Proposal(ctx)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading what was proposed: %w", err)
	}
	p.open = &stored
	return nil
}

// resumed is a publication that was proposed before, by this process or the one before it.
type resumed struct {
	publication *Publication // without what the signer was to sign, and without the timestamp
	at          time.Time    // when it was made
}

// resume publishes what was proposed before, if the signer signs it. ErrNoSigner if it is not there to say.
func (p *Publisher) resume(ctx context.Context) error {
	if p.open == nil {
		return nil
	}
	if !p.c.Countersign.Ready() {
		return ErrNoSigner
	}
	ctx = context.WithoutCancel(ctx)
	proposal, err := custody.Decode(p.open.Proposal)
	if err != nil {
		return fmt.Errorf("reading what was proposed: %w", err)
	}
	publication, err := decodePublication(p.open.Publication)
	if err != nil {
		return fmt.Errorf("reading what was proposed: %w", err)
	}
	answer, err := p.ask(ctx)
	if errors.Is(err, ErrNotSigned) {
		return nil // it is free to be proposed otherwise
	}
	if err != nil {
		return err
	}
	b, err := p.begin(ctx)
	if err != nil {
		return err
	}
	b.resumed = &resumed{publication: publication, at: proposal.Time}
	for _, m := range publication.Metadata {
		b.stage(m)
	}
	if err := fill(b.staged, proposal, answer); err != nil {
		return err
	}
	if err := b.resumed.prepare(ctx, b); err != nil {
		return err
	}
	_, err = p.commit(ctx, b)
	return err
}

// prepare makes what build makes, out of what was stored.
func (r *resumed) prepare(ctx context.Context, b *batch) error {
	var err error
	for i := range r.publication.Record {
		if b.record, err = b.record.Append(&r.publication.Record[i]); err != nil {
			return fmt.Errorf("appending to the record: %w", err)
		}
	}
	b.entries = r.publication.Record
	m := b.staged[tuf.RoleSnapshot]
	root := b.state.view.set.Root()
	if next, changed := b.staged[tuf.RoleRoot]; changed {
		stage := b.state.view.set.Next(r.at)
		if _, err := stage.Accept(next.Bytes); err != nil {
			return fmt.Errorf("%w: %w", ErrVerification, err)
		}
		root = stage.Root()
	}
	a, _ := root.Authority(tuf.RoleSnapshot)
	u, err := tuf.ParseSnapshot(m.Bytes, nil)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrVerification, err)
	}
	s, err := u.Verify(a)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrVerification, err)
	}
	if b.snapshot, err = repo.OpenSnapshot(s); err != nil {
		return err
	}
	return b.stamp(ctx, root, repo.MetaOf(m.Version, m.Bytes))
}

// as returns what the ledger is to commit. Timestamps may have been published since the proposal was made, so the
// number can be higher than it was to be then.
func (r *resumed) as(b *batch) *Publication {
	p := *r.publication
	p.Number, p.Time, p.Metadata = b.number(), b.at, nil
	for _, m := range b.staged {
		p.Metadata = append(p.Metadata, m)
	}
	slices.SortFunc(p.Metadata, func(x, y Metadata) int { return strings.Compare(string(x.Role), string(y.Role)) })
	p.Events = slices.Clone(p.Events)
	for i := range p.Events {
		p.Events[i].Publication = p.Number
	}
	p.Recoveries = b.recoveriesNow()
	return &p
}

// asOf returns the time at which a batch is verified: a proposal that waited for its signer has to be good as of
// when it was made. If it has expired since, it is published all the same, for the next one to follow it.
func (b *batch) asOf() time.Time {
	if b.resumed != nil {
		return b.resumed.at
	}
	return b.at
}

// recoveriesNow returns the recoveries that the batch announces or closes.
func (b *batch) recoveriesNow() []Recovery {
	if b.resumed == nil {
		return b.recoveries()
	}
	out := slices.Clone(b.resumed.publication.Recoveries)
	for i := range out {
		if out[i].Outcome != "" {
			out[i].Closed = b.number()
		}
	}
	return out
}

// verify returns what has to hold for a publication whose changes are not in memory any more: that clients
// find every role and every new file of it.
func (r *resumed) verify(b *batch, next *trust.Set, load trust.Loader) []func() error {
	checks := []func() error{func() error { return b.nothingVanished(next) }}
	if _, changed := b.staged[tuf.RoleRoot]; changed {
		checks = append(checks, func() error { return b.fromTheFirstRoot(next) })
	}
	for role := range b.staged {
		checks = append(checks, func() error { return b.reached(role, next, load) })
	}
	for i := range r.publication.Files {
		f := &r.publication.Files[i]
		checks = append(checks, func() error {
			found, err := next.Find(b.state.layout.Path(f.Project, f.Filename), load)
			if err != nil {
				return fmt.Errorf("finding %s: %w", f.Filename, err)
			}
			if sum, ok := found.Target.Hashes.SHA256(); !ok || sum != f.SHA256 {
				return fmt.Errorf("%s is listed with another hash than it was uploaded with", f.Filename)
			}
			return nil
		})
	}
	return checks
}

// reached verifies a staged role by way of the delegations that lead to it.
func (b *batch) reached(role tuf.RoleName, next *trust.Set, load trust.Loader) error {
	switch policy.KindOf(role) { //nolint:exhaustive // the others are verified on the way
	case policy.KindProject:
		p, _ := policy.ProjectOf(role)
		_, err := ceremony.Look(next, load, b.state.view.repository, p)
		return err
	case policy.KindClaimed, policy.KindClaimedBin, policy.KindUnclaimed, policy.KindUnclaimedBin:
		for bin := range b.state.layout.BinNames() {
			chain := b.state.layout.UnclaimedBinChain(bin)
			if i := slices.Index(chain, role); i >= 0 {
				_, err := next.Delegated(load, chain[:i+1]...)
				return err
			}
		}
	}
	return nil
}
