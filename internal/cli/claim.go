package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"example.com/bailiwick/internal/ceremony"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
	"example.com/bailiwick/tuf/repo"
)

// claimSpec is what a claim says beside the project.
type claimSpec struct {
	threshold int
	with      []string // further keys, whose holders sign elsewhere
	recovery  []string
	// Of a recovery: ask the operators for a project whose keys are lost.
	recover     bool
	fromVersion int64
	note        string
}

func (c *claimSpec) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.IntVar(&c.threshold, "threshold", 1, "how many of the keys must sign each release")
	flags.StringArrayVar(&c.with, "with", nil, "public `KEY` of another maintainer, who signs the claim later with bailiwick sign; may be repeated")
	flags.StringArrayVar(&c.recovery, "recovery-key", nil, "public `KEY` that can replace the others, should they be lost; keep it elsewhere; may be repeated")
}

// addRecovery adds the flags of claim alone.
func (c *claimSpec) addRecovery(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.BoolVar(&c.recover, "recover", false, "the project is claimed and its keys are lost: ask the operators of the index to give it to these")
	flags.Int64Var(&c.fromVersion, "from-version", 0, "with --recover: keep only those files that version `N` of the project's list had, the last good one")
	flags.StringVar(&c.note, "note", "", "with --recover: `text` for the operators, such as who you are and how they can reach you")
}

// newClaim hands a project to its maintainers' keys.
func newClaim(env *Env) *cobra.Command {
	var flags maintainerFlags
	var spec claimSpec
	cmd := &cobra.Command{
		Use:   "claim PROJECT --key URI…",
		Short: "have a project signed by your own keys from now on",
		Long: "Claim a project: from then on its list of files is signed by the keys that you name, and the index can not add,\n" +
			"change or remove a file without them. Every key signs the claim, which proves that its holder agrees. Files that the\n" +
			"index has already are shown and adopted, marked as vouched for by the index. It takes effect at once, as \"recently\n" +
			"claimed\". A project that does not exist yet is claimed by its first bailiwick publish, or by this.\n\n" +
			"A parked project is taken back with the keys that it had. If all keys of a project are lost, and no recovery key is left,\n" +
			"--recover asks the operators of the index to give it to new ones. They find out who you are, announce it in public, wait\n" +
			"for objections, and sign it offline: that takes days, and a signature by the old keys stops it.\n\n" +
			"A KEY is a file from bailiwick keys show --json, a line like \"ssh-ed25519 AAAA…\" or a file with one, or a URI as for --key.",
		Example: "  bailiwick claim flask --key ssh-agent:SHA256:pXcV…\n  bailiwick claim flask --key alice.key --with bob.json --threshold 2 --recovery-key safe.json\n" +
			"  bailiwick claim flask --recover --key new.key --note 'Alice Liddell, laptop stolen, +49 …'",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !spec.recover && (spec.fromVersion != 0 || spec.note != "") || spec.fromVersion < 0 {
				return usagef("--from-version N and --note are for --recover, and versions count from 1")
			}
			project, err := parseProject(args[0])
			if err != nil {
				return err
			}
			m, err := openMaintainer(cmd.Context(), env, &flags)
			if err != nil {
				return err
			}
			defer m.Close()
			return m.claim(cmd.Context(), project, &spec)
		},
	}
	flags.add(cmd)
	spec.add(cmd)
	spec.addRecovery(cmd)
	return cmd
}

func (m *maintainer) claim(ctx context.Context, project pypi.Project, spec *claimSpec) error {
	if err := m.openKeys(ctx); err != nil {
		return err
	}
	team, recovery, err := m.claimKeys(ctx, spec)
	if err != nil {
		return err
	}
	s, err := m.look(ctx, project)
	if err != nil {
		return err
	}
	switch {
	case spec.recover:
		return m.recoverClaim(ctx, s, team, recovery, spec)
	case s.IsParked():
		return m.unpark(ctx, s, spec)
	}
	if err := claimable(s); err != nil {
		return err
	}
	d, err := m.carryOut(ctx, s, plan{
		draw: func(_ context.Context, s *ceremony.Standing) (*ceremony.Request, []tuf.Target, error) {
			r, err := m.drawClaim(s, team, spec.threshold, recovery, nil)
			return r, nil, err
		},
		title: func(s *ceremony.Standing) string { return claimTitle(s, len(team), spec.threshold) },
		again: true,
	})
	if err != nil {
		return err
	}
	published, err := m.report(ctx, d, "the claim of "+project.String())
	if err != nil || !published {
		return err
	}
	m.printf("claimed. %s is signed by its maintainers' keys from now on (publication %d)\n\n", project, d.outcome.Publication)
	m.printf("  next    bailiwick publish dist/* --key %s\n", m.signers[0].Info().URI)
	if len(recovery) == 0 && len(team) == 1 {
		m.printf("          bailiwick team %s add KEY   a second key, elsewhere: lost is lost with one\n", project)
	}
	return nil
}

// claimKeys are the keys that sign from now on, those at hand first, and the recovery keys.
func (m *maintainer) claimKeys(ctx context.Context, spec *claimSpec) (team, recovery []*key.Public, err error) {
	for _, s := range m.signers {
		team = append(team, s.Public())
	}
	for _, with := range spec.with {
		k, err := m.publicKey(ctx, with)
		if err != nil {
			return nil, nil, err
		}
		if contains(team, k) {
			return nil, nil, usagef("--with %s: this key is named already", with)
		}
		team = append(team, k)
	}
	for _, name := range spec.recovery {
		k, err := m.publicKey(ctx, name)
		if err != nil {
			return nil, nil, err
		}
		recovery = append(recovery, k)
	}
	if spec.threshold < 1 || spec.threshold > len(team) {
		return nil, nil, usagef("--threshold %d: with %s it is between 1 and %d", spec.threshold, plural(len(team), "key"), len(team))
	}
	return team, recovery, nil
}

// claimable refuses what the index would refuse, with what to do instead.
func claimable(s *ceremony.Standing) error {
	if s.Assurance == policy.Unclaimed {
		return nil
	}
	since := ""
	if !s.Since.IsZero() {
		since = " since " + s.Since.Format("2006-01-02")
	}
	return fmt.Errorf("%s is claimed already%s: its maintainers can add your key with bailiwick team %s add KEY; nobody else can; if all its keys are lost: bailiwick claim %s --recover", s.Project, since, s.Project, s.Project)
}

// drawClaim drafts the claim: the files as they are listed, each marked as what it is, and for a project that
// is new the staged ones.
func (m *maintainer) drawClaim(s *ceremony.Standing, team []*key.Public, threshold int, recovery []*key.Public, staged []tuf.Target) (*ceremony.Request, error) {
	authority, err := tuf.NewAuthority(threshold, team...)
	if err != nil {
		return nil, exit(exitUsage, fmt.Errorf("the keys of the claim: %w", err))
	}
	edit := repo.TargetsEdit{Put: staged}
	if s.Base != nil {
		for t := range s.Base.All() {
			custom, err := policy.DecodeCustom(t.Custom)
			if err != nil {
				return nil, fmt.Errorf("reading what is signed about %s: %w", t.Path, err)
			}
			custom.VouchedBy = policy.VouchedByIndex
			if t.Custom, err = custom.Encode(); err != nil {
				return nil, fmt.Errorf("describing %s: %w", t.Path, err)
			}
			edit.Put = append(edit.Put, t)
		}
	}
	if len(recovery) > 0 {
		edit.Members = map[string][]byte{ceremony.RecoveryMember: ceremony.RecoveryValue(recovery...)}
	}
	d, err := m.edit(s, authority, edit)
	if err != nil {
		return nil, err
	}
	r := m.newRequest(ceremony.Claim, s)
	r.Keys, r.Threshold = team, threshold
	addDraft(r, d)
	return r, nil
}

func claimTitle(s *ceremony.Standing, keys, threshold int) string {
	what := "is new"
	if s.Base != nil {
		what = fmt.Sprintf("has %s that the index vouches for; the claim adopts them as they are", plural(s.Base.Len(), "file"))
	}
	return fmt.Sprintf("%s %s; from now on %d of %s must sign", s.Project, what, threshold, plural(keys, "key"))
}
