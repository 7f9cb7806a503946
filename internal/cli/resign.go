package cli

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"example.com/bailiwick/internal/keys"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
	"example.com/bailiwick/tuf/repo"
)

// sign drafts the next version of every chosen role, and of snapshot and timestamp, and signs them.
func (r *renewal) sign(ctx context.Context, spec renewSpec, pass keys.Passphrase) error {
	drafts, err := r.drafts()
	if err != nil {
		return err
	}
	signers, err := loadOffline(ctx, spec.offline, pass, drafts)
	if err != nil {
		return err
	}
	changed := map[tuf.RoleName]int64{}
	for _, d := range drafts {
		if err := r.add(ctx, d, signers...); err != nil {
			return err
		}
		if d.Role() != tuf.RoleRoot {
			changed[d.Role()] = d.Version()
		}
	}
	return r.pin(ctx, spec.data, changed)
}

// drafts are the offline roles without their signatures.
func (r *renewal) drafts() ([]*repo.Draft, error) {
	var drafts []*repo.Draft
	if r.newRoot {
		d, err := repo.EditRoot(r.root, repo.RootEdit{}, r.issue(tuf.RoleRoot, r.root.Version(), tuf.Authority{}, nil))
		if err != nil {
			return nil, fmt.Errorf("drawing up root: %w", err)
		}
		drafts = append(drafts, d)
	}
	for _, role := range r.chosen {
		d, err := repo.EditTargets(role.newest, repo.TargetsEdit{}, r.issue(role.name, role.newest.Version(), role.authority, role.paths))
		if err != nil {
			return nil, fmt.Errorf("drawing up %s: %w", role.name, err)
		}
		drafts = append(drafts, d)
	}
	return drafts, nil
}

// issue says what the version after the newest needs.
func (r *renewal) issue(role tuf.RoleName, newest int64, authority tuf.Authority, paths []string) repo.Issue {
	return repo.Issue{
		Role: role, Version: newest + 1, Expires: r.now.Add(r.lifetime(role)), Now: r.now,
		Authority: authority, Paths: paths,
	}
}

func (r *renewal) add(ctx context.Context, d *repo.Draft, signers ...key.Signer) error {
	signed, err := repo.Sign(ctx, d, signers...)
	if err != nil {
		return fmt.Errorf("signing %s: %w", d.Role(), err)
	}
	r.signed = append(r.signed, publish.Metadata{Role: d.Role(), Version: d.Version(), Expires: d.Expires(), Bytes: signed})
	return nil
}

// pin makes the snapshot and the timestamp that show the new versions, signed with the online keys.
func (r *renewal) pin(ctx context.Context, data string, changed map[tuf.RoleName]int64) error {
	online, err := loadOnline(data)
	if err != nil {
		return err
	}
	newest, err := r.ledger.Metadata(ctx, tuf.RoleSnapshot, 0)
	if err != nil {
		return fmt.Errorf("reading snapshot: %w", err)
	}
	version, bytes := newest.Version, newest.Bytes
	if len(changed) > 0 {
		base, authority, err := newestOf(r, tuf.RoleSnapshot, newest.Bytes, tuf.ParseSnapshot)
		if err != nil {
			return err
		}
		d, err := repo.EditSnapshot(base, changed, r.issue(tuf.RoleSnapshot, base.Version(), authority, nil))
		if err != nil {
			return fmt.Errorf("drawing up snapshot: %w", err)
		}
		if err := r.add(ctx, d, online.Snapshot); err != nil {
			return err
		}
		last := r.signed[len(r.signed)-1]
		version, bytes = last.Version, last.Bytes
	}
	newest, err = r.ledger.Metadata(ctx, tuf.RoleTimestamp, 0)
	if err != nil {
		return fmt.Errorf("reading timestamp: %w", err)
	}
	base, authority, err := newestOf(r, tuf.RoleTimestamp, newest.Bytes, tuf.ParseTimestamp)
	if err != nil {
		return err
	}
	d, err := repo.EditTimestamp(base, repo.MetaOf(version, bytes), r.issue(tuf.RoleTimestamp, base.Version(), authority, nil))
	if err != nil {
		return fmt.Errorf("drawing up timestamp: %w", err)
	}
	return r.add(ctx, d, online.Timestamp)
}

// newestOf parses and verifies a top-level role with the keys that root gives it.
func newestOf[T any](r *renewal, role tuf.RoleName, data []byte, parse func([]byte, *tuf.Limits) (*tuf.Unverified[T], error)) (*T, tuf.Authority, error) {
	authority, ok := r.root.Authority(role)
	if !ok {
		return nil, authority, fmt.Errorf("root names no keys for %s: the ledger is damaged", role)
	}
	u, err := parse(data, nil)
	if err != nil {
		return nil, authority, fmt.Errorf("reading %s: %w", role, err)
	}
	verified, err := u.Verify(authority)
	if err != nil {
		return nil, authority, fmt.Errorf("verifying %s: %w", role, err)
	}
	return verified, authority, nil
}

// loadOffline loads those keys of a folder that the drafts want, and no other.
func loadOffline(ctx context.Context, folder string, pass keys.Passphrase, drafts []*repo.Draft) ([]key.Signer, error) {
	paths, err := filepath.Glob(filepath.Join(folder, "*.key"))
	if err != nil {
		return nil, fmt.Errorf("looking for offline keys: %w", err)
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("there are no key files in %s: name the folder of the offline keys with --offline-keys", folder)
	}
	var signers []key.Signer
	for _, path := range paths {
		info, err := keys.Show(path)
		if err != nil {
			return nil, fmt.Errorf("reading the key file: %w", err)
		}
		if !slices.ContainsFunc(drafts, func(d *repo.Draft) bool { return d.Wants(info.Public.ID()) }) {
			continue
		}
		k, err := keys.LoadOffline(ctx, path, pass)
		if err != nil {
			return nil, fmt.Errorf("opening the key file: %w", err)
		}
		signers = append(signers, k)
	}
	if len(signers) == 0 {
		return nil, fmt.Errorf("no key in %s may sign what is due: are these the keys of another repository?", folder)
	}
	return signers, nil
}

// commit checks the whole repository as clients will see it, then writes the publication.
func (r *renewal) commit(ctx context.Context) error {
	next := &publish.Publication{Number: r.head.Number + 1, Time: r.now, Metadata: r.signed}
	if err := publish.Check(ctx, &preview{Ledger: r.ledger, next: next}); err != nil {
		return fmt.Errorf("checking the renewed repository, nothing was written: %w", err)
	}
	if err := r.ledger.Commit(ctx, next); err != nil {
		return fmt.Errorf("writing the publication: %w", err)
	}
	return nil
}

// preview shows a ledger as it will be after a publication.
type preview struct {
	publish.Ledger
	next *publish.Publication
}

// Head is the head after the publication, at a time at which nothing had expired: roles of the server and
// of maintainers that have expired by now are theirs to renew, and no reason not to renew the others.
func (p *preview) Head(ctx context.Context) (publish.Head, error) {
	head, err := p.Ledger.Head(ctx)
	if err != nil {
		return head, err //nolint:wrapcheck // a view of the ledger adds nothing to its errors
	}
	roles, err := p.Roles(ctx)
	if err != nil {
		return head, err
	}
	head.Number, head.Time = p.next.Number, p.next.Time
	for _, r := range roles {
		if !head.Time.Before(r.Expires) {
			head.Time = r.Expires.Add(-time.Second)
		}
		switch r.Name {
		case tuf.RoleRoot:
			head.Root = r.Version
		case tuf.RoleSnapshot:
			head.Snapshot = r.Version
		default:
		}
	}
	return head, nil
}

// Roles are the newest versions after the publication.
func (p *preview) Roles(ctx context.Context) ([]publish.Role, error) {
	roles, err := p.Ledger.Roles(ctx)
	if err != nil {
		return nil, err //nolint:wrapcheck // see Head
	}
	for i := range roles {
		if m, ok := p.written(roles[i].Name); ok {
			roles[i].Version, roles[i].Expires = m.Version, m.Expires
		}
	}
	return roles, nil
}

// Metadata is from the publication where that has it. No role is new in a renewal.
func (p *preview) Metadata(ctx context.Context, role tuf.RoleName, version int64) (publish.Metadata, error) {
	if m, ok := p.written(role); ok && (version == 0 || version == m.Version) {
		return m, nil
	}
	return p.Ledger.Metadata(ctx, role, version) //nolint:wrapcheck // see Head
}

func (p *preview) written(role tuf.RoleName) (publish.Metadata, bool) {
	i := slices.IndexFunc(p.next.Metadata, func(m publish.Metadata) bool { return m.Role == role })
	if i < 0 {
		return publish.Metadata{}, false
	}
	return p.next.Metadata[i], true
}

// report says what was signed and until when it is good.
func (r *renewal) report(env *Env) {
	bins, until := 0, time.Time{}
	for _, m := range r.signed {
		switch policy.KindOf(m.Role) {
		case policy.KindClaimedBin:
			if bins++; until.IsZero() || m.Expires.Before(until) {
				until = m.Expires
			}
		case policy.KindRoot, policy.KindTargets, policy.KindClaimed, policy.KindUnclaimed:
			_, _ = fmt.Fprintf(env.Stdout, "%-10s v%-4d until %s\n", m.Role, m.Version, m.Expires.Format(time.DateOnly))
		default:
		}
	}
	if bins > 0 {
		_, _ = fmt.Fprintf(env.Stdout, "%d claimed bins until %s\n", bins, until.Format(time.DateOnly))
	}
	message(env, "renewed in publication %d; start the server again", r.head.Number+1)
	r.rootNotice(env)
}
