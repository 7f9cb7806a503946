package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"example.com/bailiwick/internal/durable"
	"example.com/bailiwick/internal/ledger"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/tuf"
)

// newRenew re-signs what only the offline keys can sign, before it expires.
func newRenew(env *Env) *cobra.Command {
	var spec renewSpec
	cmd := &cobra.Command{
		Use:   "renew",
		Short: "re-sign the roles of the offline keys before they expire",
		Long: "Sign the offline roles anew, with the same content and a later expiry: targets, claimed, unclaimed and the\n" +
			"claimed bins, and root if asked. Only what is within its renewal window (the last third of its life, at most\n" +
			"30 days) is signed, unless --all is given. All of it becomes one publication. The server has to be stopped;\n" +
			"the online roles are renewed by the server itself.",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return renew(cmd.Context(), env, spec) },
	}
	flags := cmd.Flags()
	flags.StringVar(&spec.data, "data", defaultData, "data `folder` of the server")
	flags.StringVar(&spec.offline, "offline-keys", "", "`folder` with the offline keys (default "+offlineName+" beside the data folder)")
	flags.StringVar(&spec.passphraseFile, "passphrase-file", "", "`file` whose first line is the passphrase of the offline keys")
	flags.BoolVar(&spec.all, "all", false, "sign everything but root, due or not")
	flags.BoolVar(&spec.root, "root", false, "sign a new version of root as well")
	return cmd
}

type renewSpec struct {
	data, offline, passphraseFile string
	all, root                     bool
}

// renew is the whole command.
func renew(ctx context.Context, env *Env, spec renewSpec) (err error) {
	if spec.offline == "" {
		spec.offline = defaultOffline(spec.data)
	}
	if err := requireRepository(ctx, spec.data); err != nil {
		return err
	}
	lock, err := durable.LockFolder(spec.data)
	if errors.Is(err, durable.ErrInUse) {
		return fmt.Errorf("the server is running on %s: stop it, renew, and start it again (%w)", spec.data, err)
	}
	if err != nil {
		return err //nolint:wrapcheck // says which folder could not be locked
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	l, err := openLedger(ctx, spec.data)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	config, err := readSettings(spec.data)
	if err != nil {
		return err
	}
	lifetimes, err := config.lifetimes()
	if err != nil {
		return err
	}
	r := &renewal{ledger: l, lifetimes: lifetimes, now: env.Now().UTC().Truncate(time.Second)}
	if err := r.load(ctx); err != nil {
		return err
	}
	r.choose(spec)
	if len(r.chosen) == 0 && !r.newRoot {
		r.nothingDue(env)
		return nil
	}
	pass := oldPassphrase(env, spec.passphraseFile)
	if err := r.sign(ctx, spec, pass); err != nil {
		return err
	}
	if err := r.commit(ctx); err != nil {
		return err
	}
	r.report(env)
	return nil
}

// renewal is one publication of re-signed offline roles.
type renewal struct {
	ledger    *ledger.SQLite
	lifetimes policy.Lifetimes
	now       time.Time

	head    publish.Head
	root    *tuf.Root
	roles   []offlineRole // targets, claimed, claimed bins, unclaimed
	claimed bool          // some project is claimed

	chosen  []offlineRole
	newRoot bool
	signed  []publish.Metadata
}

// offlineRole is a role of type targets that the offline keys sign.
type offlineRole struct {
	name      tuf.RoleName
	newest    *tuf.Targets
	authority tuf.Authority
	paths     []string // what the delegator allows; nil for top-level targets
}

// load reads and verifies the newest version of every offline role, from the root down. Expiry does
// not matter here: a repository that was forgotten for a year is exactly what renewing is for.
func (r *renewal) load(ctx context.Context) (err error) {
	if r.head, err = r.ledger.Head(ctx); err != nil {
		return fmt.Errorf("reading the ledger: %w", err)
	}
	if r.now.Before(r.head.Time) {
		return fmt.Errorf("the clock says %s, but the last publication is of %s: set the clock right first",
			r.now.Format(time.RFC3339), r.head.Time.Format(time.RFC3339))
	}
	if r.root, err = r.loadRoot(ctx); err != nil {
		return err
	}
	authority, ok := r.root.Authority(tuf.RoleTargets)
	if !ok {
		return errors.New("root names no keys for targets: the ledger is damaged")
	}
	if err := r.loadTargets(ctx, tuf.RoleTargets, authority, nil); err != nil {
		return err
	}
	if err := r.loadDelegated(ctx, r.roles[0], policy.KindClaimed); err != nil {
		return err
	}
	if len(r.roles) < 2 {
		return errors.New("targets delegates to no claimed tree: this is no repository of bailiwick")
	}
	if err := r.loadDelegated(ctx, r.roles[1], policy.KindClaimedBin); err != nil {
		return err
	}
	if len(r.roles) < 3 {
		return errors.New("claimed delegates to no bins: this is no repository of bailiwick")
	}
	return r.loadDelegated(ctx, r.roles[2], policy.KindUnclaimed) // every bin leads to it
}

func (r *renewal) loadRoot(ctx context.Context) (*tuf.Root, error) {
	m, err := r.ledger.Metadata(ctx, tuf.RoleRoot, 0)
	if err != nil {
		return nil, fmt.Errorf("reading root: %w", err)
	}
	u, err := tuf.ParseRoot(m.Bytes, nil)
	if err != nil {
		return nil, fmt.Errorf("reading root: %w", err)
	}
	root, err := u.Verify(tuf.SelfAuthority(u))
	if err != nil {
		return nil, fmt.Errorf("verifying root: %w", err)
	}
	return root, nil
}

// loadDelegated loads the delegations of a role that are of the given kinds.
func (r *renewal) loadDelegated(ctx context.Context, parent offlineRole, kinds ...policy.Kind) error {
	delegations := parent.newest.Delegations()
	if delegations == nil {
		return nil
	}
	for i := range delegations.Len() {
		d := delegations.At(i)
		if !slices.Contains(kinds, policy.KindOf(d.Name())) {
			continue
		}
		authority, err := d.Authority()
		if err != nil {
			return fmt.Errorf("reading the keys of %s: %w", d.Name(), err)
		}
		if err := r.loadTargets(ctx, d.Name(), authority, d.Paths()); err != nil {
			return err
		}
	}
	return nil
}

func (r *renewal) loadTargets(ctx context.Context, name tuf.RoleName, authority tuf.Authority, paths []string) error {
	m, err := r.ledger.Metadata(ctx, name, 0)
	if err != nil {
		return fmt.Errorf("reading %s: %w", name, err)
	}
	u, err := tuf.ParseTargets(m.Bytes, nil)
	if err != nil {
		return fmt.Errorf("reading %s: %w", name, err)
	}
	newest, err := u.Verify(authority)
	if err != nil {
		return fmt.Errorf("verifying %s: %w", name, err)
	}
	r.roles = append(r.roles, offlineRole{name, newest, authority, paths})
	if policy.KindOf(name) == policy.KindClaimedBin {
		if d := newest.Delegations(); d != nil && d.Len() > 1 { // the fall-through is no project
			r.claimed = true
		}
	}
	return nil
}

// lifetime is how long a new version of a role is made to live.
func (r *renewal) lifetime(role tuf.RoleName) time.Duration {
	switch policy.KindOf(role) {
	case policy.KindClaimed, policy.KindClaimedBin:
		if !r.claimed {
			return r.lifetimes.NothingClaimed
		}
	default:
	}
	return r.lifetimes.Of(role)
}

// maxWindow is how long before its expiry a role is due at the earliest.
const maxWindow = 30 * 24 * time.Hour

func (r *renewal) due(role tuf.RoleName, expires time.Time) bool {
	return expires.Sub(r.now) <= min(maxWindow, r.lifetime(role)/3)
}

// choose picks what is signed anew.
func (r *renewal) choose(spec renewSpec) {
	r.newRoot = spec.root
	for _, role := range r.roles {
		if spec.all || r.due(role.name, role.newest.Expires()) {
			r.chosen = append(r.chosen, role)
		}
	}
}

// nothingDue says when there will be something to do.
func (r *renewal) nothingDue(env *Env) {
	first := slices.MinFunc(r.roles, func(a, b offlineRole) int { return a.newest.Expires().Compare(b.newest.Expires()) })
	message(env, "nothing is due: the first to expire is %s, on %s; --all signs everything anyway",
		first.name, first.newest.Expires().Format(time.DateOnly))
	r.rootNotice(env)
}

func (r *renewal) rootNotice(env *Env) {
	if !r.newRoot && r.due(tuf.RoleRoot, r.root.Expires()) {
		message(env, "root expires on %s: renew it with --root", r.root.Expires().Format(time.DateOnly))
	}
}
