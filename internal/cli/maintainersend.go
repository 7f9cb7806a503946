package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"example.com/bailiwick/internal/ceremony"
	"example.com/bailiwick/internal/keys"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/server"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
	"example.com/bailiwick/tuf/repo"
)

const (
	// maxRebases bounds how often a change is made anew because somebody else was faster. Each time is one
	// publication by another maintainer of the same project.
	maxRebases = 8
	// How long a published change may take until a verifying client sees it, and how often it looks. There
	// may be caches in between.
	visibleTime = time.Minute
	visibleLook = 200 * time.Millisecond
)

// newRequest begins a signing request.
func (m *maintainer) newRequest(kind ceremony.Kind, s *ceremony.Standing) *ceremony.Request {
	now := m.env.Now().UTC().Truncate(time.Second)
	return &ceremony.Request{
		Kind: kind, Repository: m.repository, Project: s.Project, Bases: map[tuf.RoleName]int64{},
		Created: now, Expires: now.Add(ceremony.MaxLife),
	}
}

// addDraft puts a new version of a role into a request.
func addDraft(r *ceremony.Request, d *repo.Draft) {
	r.Bases[d.Role()] = d.Version() - 1
	r.Payloads = append(r.Payloads, ceremony.Payload{Role: d.Role(), Message: d.Message()})
}

// issue says what the next version of a project's role needs. The dates are those of maintainers' roles.
func (m *maintainer) issue(s *ceremony.Standing, role tuf.RoleName, a tuf.Authority, paths []string, life time.Duration) repo.Issue {
	now := m.env.Now()
	if life == 0 {
		life = policy.DefaultLifetimes().ClaimedProject
	}
	return repo.Issue{
		Role: role, Version: s.Newest(role) + 1, Expires: now.Add(life), Now: now,
		Authority: a, Paths: paths,
	}
}

// edit drafts the next version of the project's own role.
func (m *maintainer) edit(s *ceremony.Standing, a tuf.Authority, edit repo.TargetsEdit) (*repo.Draft, error) {
	role := policy.ProjectRole(s.Project)
	issue := m.issue(s, role, a, []string{s.Layout.ProjectPattern(s.Project)}, 0)
	var d *repo.Draft
	var err error
	if s.Base == nil {
		d, err = repo.NewTargets(repo.TargetsSpec{Targets: edit.Put, Delegations: edit.AddDelegations, Members: edit.Members}, issue)
	} else {
		d, err = repo.EditTargets(s.Base, edit, issue)
	}
	if err != nil {
		return nil, fmt.Errorf("drawing up the next version of %s: %w", role, err)
	}
	return d, nil
}

// wanted are the keys whose signatures count on one of a request's roles.
func wanted(r *ceremony.Request, s *ceremony.Standing, role tuf.RoleName) ([]*key.Public, error) {
	project := policy.ProjectRole(s.Project)
	if role != project {
		a, err := subAuthority(r, s, role)
		return usableKeys(a), err
	}
	if r.Kind == ceremony.Claim || r.Kind == ceremony.Recover {
		return r.Keys, nil
	}
	list := usableKeys(s.Owners)
	if r.Kind == ceremony.Release {
		return list, nil
	}
	list = append(list, r.Keys...)
	recovery, err := ceremony.RecoveryKeys(s.Base)
	if err != nil {
		return nil, fmt.Errorf("reading the recovery keys of %s: %w", s.Project, err)
	}
	return append(list, recovery...), nil
}

// subAuthority is who signs a sub-role once the request is published.
func subAuthority(r *ceremony.Request, s *ceremony.Standing, role tuf.RoleName) (tuf.Authority, error) {
	from := s.Base
	if r.Payload(policy.ProjectRole(s.Project)) != nil {
		var err error
		if from, err = r.Targets(policy.ProjectRole(s.Project)); err != nil {
			return tuf.Authority{}, fmt.Errorf("reading the request: %w", err)
		}
	}
	if from != nil && from.Delegations() != nil {
		if d, ok := from.Delegations().Find(role); ok {
			return d.Authority() //nolint:wrapcheck // of a delegation that exists
		}
	}
	return tuf.Authority{}, fmt.Errorf("nobody is to sign %s: the project does not delegate to it", role)
}

func usableKeys(a tuf.Authority) []*key.Public {
	var list []*key.Public
	for _, id := range a.KeyIDs() {
		if k, ok := a.Key(id); ok {
			list = append(list, k)
		}
	}
	return list
}

func contains(list []*key.Public, k *key.Public) bool {
	return slices.ContainsFunc(list, func(o *key.Public) bool { return o.Fingerprint() == k.Fingerprint() })
}

// checkSigners refuses keys that have no say in a request, before any of them is used.
func (m *maintainer) checkSigners(r *ceremony.Request, s *ceremony.Standing) error {
	for _, signer := range m.signers {
		var all []*key.Public
		for i := range r.Payloads {
			list, err := wanted(r, s, r.Payloads[i].Role)
			if err != nil {
				return err
			}
			all = append(all, list...)
		}
		if !contains(all, signer.Public()) {
			ids := make([]string, 0, len(all))
			for _, k := range all {
				if id := shortID(k.ID()); !slices.Contains(ids, id) {
					ids = append(ids, id)
				}
			}
			return fmt.Errorf("%s (key %s) has no say in this change of %s, which is for %s; nothing was signed",
				signer.Info().URI, shortID(signer.Public().ID()), s.Project, strings.Join(ids, ", "))
		}
	}
	return nil
}

// sign adds the signatures of all keys at hand to a request, and returns those that it made.
func (m *maintainer) sign(ctx context.Context, r *ceremony.Request, s *ceremony.Standing, signers []*keys.Signer) ([]server.SignatureBody, error) {
	var made []server.SignatureBody
	for i := range r.Payloads {
		p := &r.Payloads[i]
		list, err := wanted(r, s, p.Role)
		if err != nil {
			return nil, err
		}
		for _, signer := range signers {
			if !contains(list, signer.Public()) {
				continue
			}
			sig, err := signer.Sign(ctx, p.Message)
			if err != nil {
				return nil, fmt.Errorf("signing %s with %s: %w", p.Role, signer.Info().URI, err)
			}
			id := signer.Public().ID()
			if _, err := r.Add(p.Role, tuf.Signature{KeyID: id, Sig: sig}); err != nil {
				return nil, fmt.Errorf("signing %s: %w", p.Role, err)
			}
			made = append(made, server.SignatureBody{Role: string(p.Role), KeyID: string(id), Sig: sig})
		}
	}
	return made, nil
}

// plan is a change as a function of where the project stands, so that it can be made anew on top of what
// somebody else published meanwhile.
type plan struct {
	// draw makes the request, without signatures, and returns the files that it takes to be staged.
	draw func(ctx context.Context, s *ceremony.Standing) (*ceremony.Request, []tuf.Target, error)
	// title is the line over the change; empty: the change was shown and confirmed already.
	title func(s *ceremony.Standing) string
	// again asks anew when the change is made anew. Otherwise what was confirmed stays what is done:
	// the same files, on top of a newer verified list.
	again bool
}

// done is a request that the index took.
type done struct {
	request  *ceremony.Request
	standing *ceremony.Standing // that it was based on
	outcome  *server.OutcomeAnswer
	verdict  *ceremony.Verdict
}

// carryOut draws a change up, shows it, asks, signs and sends it.
func (m *maintainer) carryOut(ctx context.Context, s *ceremony.Standing, p plan) (*done, error) {
	ask := p.title != nil
	for round := 0; ; round++ {
		r, staged, err := p.draw(ctx, s)
		if err != nil {
			return nil, err
		}
		if err := m.checkSigners(r, s); err != nil {
			return nil, err
		}
		if err := m.judge(r, s, staged); err != nil {
			return nil, err
		}
		if ask {
			m.printf("%s\n\n", p.title(s))
			if err := m.printChange(r, s, nil); err != nil {
				return nil, err
			}
			m.printf("\n")
			if err := m.confirm(ctx); err != nil {
				return nil, err
			}
		}
		d, err := m.send(ctx, r, s, staged)
		if err == nil {
			return d, nil
		}
		if !stale(err) || round == maxRebases {
			return nil, err
		}
		if s, err = m.newer(ctx, s, r, err); err != nil {
			return nil, err
		}
		ask = p.again
	}
}

// send signs a request and brings it in.
func (m *maintainer) send(ctx context.Context, r *ceremony.Request, s *ceremony.Standing, staged []tuf.Target) (*done, error) {
	if _, err := m.sign(ctx, r, s, m.signers); err != nil {
		return nil, err
	}
	// The very checks of the index: what it would refuse is refused here, with the same sentence.
	verdict, err := ceremony.Judge(r, s, staged, m.env.Now())
	if err != nil {
		return nil, refusedHere(err)
	}
	outcome, err := m.api.propose(ctx, r)
	if err != nil {
		return nil, err
	}
	return &done{r, s, outcome, verdict}, nil
}

// judge holds a request without signatures against the checks of the index.
func (m *maintainer) judge(r *ceremony.Request, s *ceremony.Standing, staged []tuf.Target) error {
	if _, err := ceremony.Judge(r, s, staged, m.env.Now()); err != nil {
		return fmt.Errorf("%w; nothing was signed", err)
	}
	return nil
}

// refusedHere is for signatures that were made: files may have been uploaded for them before, but no signature leaves.
func refusedHere(err error) error { return fmt.Errorf("%w; no signature was sent", err) }

// newer reads the project again after the index said that a request was based on an older version. If
// nothing verified is newer, the index contradicts itself.
func (m *maintainer) newer(ctx context.Context, old *ceremony.Standing, r *ceremony.Request, said error) (*ceremony.Standing, error) {
	s, err := m.look(ctx, old.Project)
	if err != nil {
		return nil, err
	}
	for role := range r.Bases {
		if s.Newest(role) != old.Newest(role) {
			message(m.env, "%s was changed by somebody else meanwhile (now version %d of %s): signing again on top of that", s.Project, s.Newest(role), role)
			return s, nil
		}
	}
	return nil, exit(exitRefused, fmt.Errorf("the index turned the change down as overtaken, and yet shows no newer version that verifies: try again later, and tell its operators if it stays so: %w", said))
}

// report says what became of a request: waiting, with the next step; or published, once a verifying
// client sees it. It reports whether it is published.
func (m *maintainer) report(ctx context.Context, d *done, what string) (bool, error) {
	if d.outcome.Publication <= 0 {
		m.reportPending(d, what)
		return false, nil
	}
	if err := m.waitVisible(ctx, d); err != nil {
		return false, err
	}
	return true, nil
}

// reportPending says who has to sign next, and how. It goes by the verdict made here.
func (m *maintainer) reportPending(d *done, what string) {
	id := d.request.ID()
	m.printf("signed. %s waits as request %s\n\n", what, id)
	for _, missing := range d.verdict.Missing {
		m.printf("  needs   %s\n", shown(missing.String()))
	}
	if d.verdict.Offline != "" {
		m.printf("  needs   %s\n", shown(strings.TrimPrefix(d.verdict.Next(), "needs ")))
	}
	if len(d.verdict.Missing) == 0 && d.verdict.Offline == "" { // all is signed that maintainers and operators sign
		m.printf("  needs   the signer of the index, which is not there now\n")
		m.printf("  next    nothing: it is published when the signer comes; bailiwick why %s shows it then\n", d.request.Project)
	}
	if len(d.verdict.Missing) > 0 {
		m.printf("  next    bailiwick sign %s --key THEIR-KEY --index %s\n", d.request.Project, redactURL(m.pinned.index.URL))
	}
}

// waitVisible waits until a client that verifies from the pinned root gets what was signed.
func (m *maintainer) waitVisible(ctx context.Context, d *done) error {
	limit, cancel := context.WithTimeout(ctx, visibleTime)
	defer cancel()
	look := time.NewTicker(visibleLook)
	defer look.Stop()
	for {
		s, err := m.look(limit, d.request.Project)
		if err == nil {
			seen, err := m.visible(s, d)
			if seen || err != nil {
				return err
			}
		}
		var coded *exitError
		if errors.As(err, &coded) && coded.code == exitRefused {
			return err
		}
		select {
		case <-limit.Done():
			if ctx.Err() != nil {
				return fmt.Errorf("waiting until it is visible: %w", ctx.Err())
			}
			return exit(exitUnreachable, fmt.Errorf("the index says that it published the change (publication %d), but after %s a verifying client does not see it yet: look again with bailiwick why %s",
				d.outcome.Publication, visibleTime, d.request.Project))
		case <-look.C:
		}
	}
}

// visible reports whether the published roles are what was signed. A version with other content under the
// number that was signed can not be: that is an alarm, and no reason to wait.
func (m *maintainer) visible(s *ceremony.Standing, d *done) (bool, error) {
	for i := range d.request.Payloads {
		p := &d.request.Payloads[i]
		version := d.request.Bases[p.Role] + 1
		switch newest := s.Newest(p.Role); {
		case newest < version:
			return false, nil
		case newest > version:
			continue // somebody has built on it already
		}
		t := published(s, p.Role)
		if t == nil {
			return false, nil
		}
		u, err := tuf.ParseTargets(t.Bytes(), nil)
		if err != nil || !bytes.Equal(u.Message(), p.Message) {
			return false, exit(exitRefused, fmt.Errorf("version %d of %s at the index is not the one that was signed here: somebody with your project's keys signed another one, look at bailiwick team %s show", version, p.Role, s.Project))
		}
	}
	return true, nil
}
