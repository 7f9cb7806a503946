package cli

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"example.com/bailiwick/internal/ceremony"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/internal/server"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
	"example.com/bailiwick/tuf/repo"
)

// revokeSpec is what a revocation says.
type revokeSpec struct {
	key                string
	stolen, superseded bool
	keep               []string
	signWith, recovery []string
	replacement        []string
}

// newRevoke takes a key's rights away.
func newRevoke(env *Env) *cobra.Command {
	var flags maintainerFlags
	var spec revokeSpec
	cmd := &cobra.Command{
		Use:   "revoke PROJECT --key KEYID --stolen|--superseded --sign-with URI…",
		Short: "take a key's rights away, because it was replaced, lost or stolen",
		Long: "Take the rights of a key away.\n\n" +
			"  --superseded   the key was replaced or lost: what it signed stays good\n" +
			"  --stolen       somebody else may have it: every file that this key alone has signed goes, except those that you name with\n" +
			"                 --keep, which your signature vouches for anew\n\n" +
			"It is signed with --sign-with by as many of the project's keys as it needs; or with --recovery by one recovery key that was\n" +
			"registered beforehand, which can also put a --replacement in place of keys that are all lost. In a team in which every key\n" +
			"must sign, and one is lost, the others and a good upload token are enough. A key to which the project only delegates\n" +
			"(bailiwick team PROJECT delegate) loses its delegation.",
		Example: "  bailiwick revoke flask --key 3f8a01 --superseded --sign-with alice.key\n" +
			"  bailiwick revoke flask --key SHA256:pXcV… --stolen --keep 'flask-3.0.*' --sign-with alice.key\n" +
			"  bailiwick revoke flask --key 3f8a01 --superseded --recovery safe.key --replacement new.key",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			project, err := parseProject(args[0])
			if err != nil {
				return err
			}
			flags.keys = slices.Concat(spec.signWith, spec.recovery, spec.replacement)
			switch {
			case spec.key == "":
				return usagef("--key is missing: name the key to revoke by the beginning of its id; bailiwick team %s lists them", project)
			case spec.stolen == spec.superseded:
				return usagef("say --superseded (what the key signed stays good) or --stolen (it goes, unless kept)")
			case len(spec.keep) > 0 && !spec.stolen:
				return usagef("--keep belongs to --stolen: with --superseded every file stays")
			case len(spec.signWith)+len(spec.recovery) == 0:
				return usagef("--sign-with is missing: name the keys that sign the revocation, or --recovery and a recovery key")
			}
			m, err := openMaintainer(cmd.Context(), env, &flags)
			if err != nil {
				return err
			}
			defer m.Close()
			return m.revoke(cmd.Context(), project, &spec)
		},
	}
	f := cmd.Flags()
	f.StringVar(&spec.key, "key", "", "the key to revoke: the beginning of its `KEYID`, its fingerprint SHA256:…, or the key")
	f.BoolVar(&spec.stolen, "stolen", false, "what this key alone has signed goes, unless kept")
	f.BoolVar(&spec.superseded, "superseded", false, "what this key has signed stays good")
	f.StringArrayVar(&spec.keep, "keep", nil, "with --stolen: `PATTERN` of file names that you have checked and vouch for; may be repeated")
	f.StringArrayVar(&spec.signWith, "sign-with", nil, "`URI` of a key of the project to sign with; may be repeated")
	f.StringArrayVar(&spec.recovery, "recovery", nil, "`URI` of a recovery key to sign with, in place of the project's keys")
	f.StringArrayVar(&spec.replacement, "replacement", nil, "`URI` of a new key that takes the place of the old; it signs as well")
	f.StringVar(&flags.index, "index", "", "`URL` of a trusted index (default: BAILIWICK_INDEX, or the default of bailiwick trust)")
	f.StringVar(&flags.passphraseFile, "passphrase-file", "", "`file` whose first line is the passphrase of the key files (default: BAILIWICK_PASSPHRASE_FILE, or the terminal)")
	f.BoolVar(&flags.yes, "yes", false, "sign without asking; without a terminal nothing is signed otherwise")
	return cmd
}

func (m *maintainer) revoke(ctx context.Context, project pypi.Project, spec *revokeSpec) error {
	if err := m.openKeys(ctx); err != nil {
		return err
	}
	var fresh []*key.Public // the last of the opened keys are the replacements
	for _, s := range m.signers[len(spec.signWith)+len(spec.recovery):] {
		fresh = append(fresh, s.Public())
	}
	s, err := m.lookClaimed(ctx, project)
	if err != nil {
		return err
	}
	team := usableKeys(s.Authority)
	i, err := m.findKey(ctx, team, spec.key)
	if err != nil {
		return m.revokeDelegated(ctx, s, spec, err)
	}
	lost := team[i]
	doubtful, err := m.doubtful(ctx, project, lost.ID(), spec)
	if err != nil {
		return err
	}
	d, err := m.carryOut(ctx, s, plan{
		draw: func(_ context.Context, s *ceremony.Standing) (*ceremony.Request, []tuf.Target, error) {
			r, err := m.drawRevocation(s, lost, fresh, doubtful)
			return r, nil, err
		},
		title: func(s *ceremony.Standing) string { return revokeTitle(s, lost, spec, len(doubtful)) },
		again: true,
	})
	if err != nil {
		return err
	}
	return m.reportTeam(ctx, d)
}

// doubtful are the files that a stolen key alone has signed and that nobody keeps. Which those are is in the
// index's record; what goes is shown before anyone signs.
func (m *maintainer) doubtful(ctx context.Context, project pypi.Project, id key.ID, spec *revokeSpec) (map[string]bool, error) {
	if !spec.stolen {
		return nil, nil
	}
	var answer server.AloneAnswer
	if err := m.api.get(ctx, "/api/v1/projects/"+project.String()+"/keys/"+string(id)+"/alone", &answer); err != nil {
		return nil, err
	}
	doubtful := map[string]bool{}
	for _, name := range answer.Files {
		kept := slices.ContainsFunc(spec.keep, func(pattern string) bool { return tuf.MatchPattern(pattern, name) })
		if !kept {
			doubtful[name] = true
		}
	}
	return doubtful, nil
}

// drawRevocation drafts the team without the key, and the list without the files in doubt.
func (m *maintainer) drawRevocation(s *ceremony.Standing, lost *key.Public, fresh []*key.Public, doubtful map[string]bool) (*ceremony.Request, error) {
	var team []*key.Public
	for _, k := range usableKeys(s.Authority) {
		if k.Fingerprint() != lost.Fingerprint() {
			team = append(team, k)
		}
	}
	for _, k := range fresh {
		if contains(team, k) || k.Fingerprint() == lost.Fingerprint() {
			return nil, usagef("--replacement: key %s signs for the project already", shortID(k.ID()))
		}
		team = append(team, k)
	}
	if len(team) == 0 {
		return nil, fmt.Errorf("key %s is the only one: name a new one with --replacement, a project without keys could never be changed again", shortID(lost.ID()))
	}
	return m.drawRekey(s, team, min(s.Authority.Threshold(), len(team)), repo.TargetsEdit{Remove: listedNames(s, s.Base, doubtful)})
}

// listedNames are the paths of a role whose file names are in a set.
func listedNames(s *ceremony.Standing, t *tuf.Targets, names map[string]bool) []tuf.TargetPath {
	var paths []tuf.TargetPath
	for target := range t.All() {
		if p, name, err := policy.ParsePath(target.Path); err == nil && p == s.Project && names[name.String()] {
			paths = append(paths, target.Path)
		}
	}
	return paths
}

func revokeTitle(s *ceremony.Standing, lost *key.Public, spec *revokeSpec, gone int) string {
	why := "superseded: what it signed stays good"
	if spec.stolen {
		why = fmt.Sprintf("stolen: what it alone has signed and you do not keep goes off the list (%s)", plural(gone, "file"))
	}
	return fmt.Sprintf("%s\nkey %s is %s", teamTitle(s), shortID(lost.ID()), why)
}

// revokeDelegated revokes the key of a sub-role, by taking the delegation back.
func (m *maintainer) revokeDelegated(ctx context.Context, s *ceremony.Standing, spec *revokeSpec, notHere error) error {
	for _, sub := range s.Subs {
		a, err := sub.Delegation.Authority()
		if err != nil {
			return fmt.Errorf("reading the keys of %s: %w", sub.Delegation.Name(), err)
		}
		list := usableKeys(a)
		i, err := m.findKey(ctx, list, spec.key)
		if err != nil {
			continue
		}
		doubtful, err := m.doubtful(ctx, s.Project, list[i].ID(), spec)
		if err != nil {
			return err
		}
		return m.takeBack(ctx, s, sub.Delegation.Name(), doubtful)
	}
	return notHere
}
