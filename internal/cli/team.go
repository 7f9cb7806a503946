package cli

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"example.com/bailiwick/internal/ceremony"
	"example.com/bailiwick/internal/keys"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
	"example.com/bailiwick/tuf/repo"
)

// newTeam shows and changes who signs a project.
func newTeam(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "team PROJECT [COMMAND]",
		Short: "show and change whose keys sign a project",
		Long: "Show whose keys sign a project, as verified from the pinned root, and change it:\n\n" +
			"  team PROJECT                     who signs, how many, since when\n" +
			"  team PROJECT add KEY             one more key, which signs as well to agree\n" +
			"  team PROJECT remove KEYID        one key less; its signatures so far stay good (for a stolen key: bailiwick revoke)\n" +
			"  team PROJECT threshold N         how many must sign\n" +
			"  team PROJECT delegate NAME       let other keys (of a pipeline, say) sign some of the files alone\n" +
			"  team PROJECT undelegate NAME     take that back; what they signed stays listed\n\n" +
			"A change is signed with --key by as many keys as the project needs, and by every key that is new. Who is not here signs later\n" +
			"with bailiwick sign. A KEY is a file from bailiwick keys show --json, a line like \"ssh-ed25519 AAAA…\" or a file with one,\n" +
			"or a URI as for --key.",
		Example: "  bailiwick team flask\n  bailiwick team flask add bob.json --key alice.key\n  bailiwick team flask threshold 2 --key alice.key --key bob.key\n" +
			"  bailiwick team flask delegate ci --to ci.json --pattern '*.whl' --expires 365d --key alice.key",
		Args: cobra.MinimumNArgs(1),
	}
	var flags maintainerFlags
	var spec delegateSpec
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		project, err := parseProject(args[0])
		if err != nil {
			return err
		}
		m, err := openMaintainer(cmd.Context(), env, &flags)
		if err != nil {
			return err
		}
		defer m.Close()
		return m.team(cmd.Context(), project, args[1:], &spec)
	}
	flags.add(cmd)
	f := cmd.Flags()
	f.StringArrayVar(&spec.to, "to", nil, "delegate: public `KEY` that may sign; may be repeated")
	f.StringArrayVar(&spec.patterns, "pattern", nil, "delegate: `PATTERN` of file names that the keys may sign (default *.whl); may be repeated")
	f.IntVar(&spec.threshold, "threshold", 1, "delegate: how many of the keys must sign")
	f.StringVar(&spec.expires, "expires", "365d", "delegate: how `long` the rights last, in days (365d)")
	f.BoolVar(&spec.dropFiles, "drop-files", false, "undelegate: take the files that only these keys signed off the list")
	return cmd
}

// team does one of the commands.
func (m *maintainer) team(ctx context.Context, project pypi.Project, args []string, spec *delegateSpec) error {
	command, rest := "show", args
	if len(args) > 0 {
		command, rest = args[0], args[1:]
	}
	want := map[string]int{"show": 0, "add": 1, "remove": 1, "threshold": 1, "delegate": 1, "undelegate": 1}
	n, ok := want[command]
	if !ok {
		return usagef("team has no command %q: it is show, add, remove, threshold, delegate or undelegate", command)
	}
	if len(rest) != n {
		return usagef("team %s %s takes %s, but got %q", project, command, plural(n, "argument"), rest)
	}
	if command == "show" {
		return m.showTeam(ctx, project)
	}
	if err := m.openKeys(ctx); err != nil {
		return err
	}
	switch command {
	case "delegate":
		return m.delegate(ctx, project, rest[0], spec)
	case "undelegate":
		return m.undelegate(ctx, project, rest[0], spec.dropFiles)
	}
	change, err := m.teamChange(ctx, command, rest[0])
	if err != nil {
		return err
	}
	return m.rekey(ctx, project, change)
}

// teamEdit is a change of keys and threshold.
type teamEdit func(team []*key.Public, threshold int) ([]*key.Public, int, error)

func (m *maintainer) teamChange(ctx context.Context, command, argument string) (teamEdit, error) {
	switch command {
	case "add":
		k, err := m.publicKey(ctx, argument)
		return func(team []*key.Public, threshold int) ([]*key.Public, int, error) {
			if contains(team, k) {
				return nil, 0, fmt.Errorf("key %s signs for the project already", shortID(k.ID()))
			}
			return append(team, k), threshold, nil
		}, err
	case "remove":
		return func(team []*key.Public, threshold int) ([]*key.Public, int, error) {
			i, err := m.findKey(ctx, team, argument)
			if err != nil {
				return nil, 0, err
			}
			left := append(append([]*key.Public{}, team[:i]...), team[i+1:]...)
			if len(left) == 0 {
				return nil, 0, fmt.Errorf("key %s is the only one: add another first, a project without keys could never be changed again", shortID(team[i].ID()))
			}
			return left, min(threshold, len(left)), nil
		}, nil
	}
	n, err := strconv.Atoi(argument)
	if err != nil || n < 1 {
		return nil, usagef("team threshold: %q is not a number of keys", argument)
	}
	return func(team []*key.Public, threshold int) ([]*key.Public, int, error) {
		switch {
		case n > len(team):
			return nil, 0, fmt.Errorf("%d of %s can not sign: add keys first", n, plural(len(team), "key"))
		case n == threshold:
			return nil, 0, fmt.Errorf("the threshold is %d already", n)
		}
		return team, n, nil
	}, nil
}

// findKey finds one key of a list by the beginning of its id, its SSH fingerprint, or the key itself.
func (m *maintainer) findKey(ctx context.Context, list []*key.Public, what string) (int, error) {
	found := -1
	for i, k := range list {
		byID := len(what) >= 6 && strings.HasPrefix(string(k.ID()), strings.ToLower(what))
		if !byID && keys.SSHFingerprint(k) != strings.TrimPrefix(what, "ssh-agent:") {
			continue
		}
		if found >= 0 {
			return 0, usagef("%q is the beginning of several key ids: give more of it", what)
		}
		found = i
	}
	if found >= 0 {
		return found, nil
	}
	ids := make([]string, len(list))
	for i, k := range list {
		ids[i] = shortID(k.ID())
	}
	if k, err := m.publicKey(ctx, what); err == nil {
		for i, other := range list {
			if other.Fingerprint() == k.Fingerprint() {
				return i, nil
			}
		}
	}
	return 0, fmt.Errorf("%.100q is none of the keys there (%s): give the beginning of a key id, a fingerprint SHA256:…, or a key", what, strings.Join(ids, ", "))
}

// rekey changes who signs a claimed project.
func (m *maintainer) rekey(ctx context.Context, project pypi.Project, change teamEdit) error {
	s, err := m.lookClaimed(ctx, project)
	if err != nil {
		return err
	}
	d, err := m.carryOut(ctx, s, plan{
		draw: func(_ context.Context, s *ceremony.Standing) (*ceremony.Request, []tuf.Target, error) {
			team, threshold, err := change(usableKeys(s.Authority), s.Authority.Threshold())
			if err != nil {
				return nil, nil, err
			}
			r, err := m.drawRekey(s, team, threshold, repo.TargetsEdit{})
			return r, nil, err
		},
		title: teamTitle,
		again: true,
	})
	if err != nil {
		return err
	}
	return m.reportTeam(ctx, d)
}

func teamTitle(s *ceremony.Standing) string {
	return fmt.Sprintf("%s is signed by %d of %s (version %d)", s.Project, s.Authority.Threshold(), plural(len(s.Authority.KeyIDs()), "key"), s.Newest(policy.ProjectRole(s.Project)))
}

func (m *maintainer) reportTeam(ctx context.Context, d *done) error {
	published, err := m.report(ctx, d, "the change of "+d.request.Project.String())
	if err != nil || !published {
		return err
	}
	a := d.verdict.Authority
	m.printf("done. %s is signed by %d of %s (publication %d)\n", d.request.Project, a.Threshold(), plural(len(a.KeyIDs()), "key"), d.outcome.Publication)
	return nil
}

// lookClaimed is look for commands that need a claimed project.
func (m *maintainer) lookClaimed(ctx context.Context, project pypi.Project) (*ceremony.Standing, error) {
	s, err := m.look(ctx, project)
	if err != nil {
		return nil, err
	}
	if s.IsParked() {
		return nil, errors.New(s.ParkedText())
	}
	if s.Assurance == policy.Unclaimed {
		return nil, fmt.Errorf("%s is not claimed, so no maintainer's key has a say in it yet: run bailiwick claim %s --key URI first", project, project)
	}
	return s, nil
}

// drawRekey drafts a change of keys, and what goes with it.
func (m *maintainer) drawRekey(s *ceremony.Standing, team []*key.Public, threshold int, edit repo.TargetsEdit) (*ceremony.Request, error) {
	a, err := tuf.NewAuthority(threshold, team...)
	if err != nil {
		return nil, fmt.Errorf("the new keys of %s: %w", s.Project, err)
	}
	d, err := m.edit(s, a, edit)
	if err != nil {
		return nil, err
	}
	r := m.newRequest(ceremony.Rekey, s)
	r.Keys, r.Threshold = team, threshold
	addDraft(r, d)
	return r, nil
}

// showTeam prints who signs a project, from verified metadata alone.
func (m *maintainer) showTeam(ctx context.Context, project pypi.Project) error {
	s, err := m.look(ctx, project)
	if err != nil {
		return err
	}
	if s.Base == nil {
		return fmt.Errorf("there is no project %s: its first bailiwick publish creates and claims it", project)
	}
	since := ""
	switch {
	case !s.Parked.IsZero():
		since = " since " + s.Parked.Format(time.DateOnly)
	case !s.Since.IsZero():
		since = " since " + s.Since.Format(time.DateOnly)
	}
	m.printf("%s   %s%s   version %d until %s   %s\n\n", project, s.Assurance, since, s.Base.Version(), s.Base.Expires().Format(time.DateOnly), plural(s.Base.Len(), "file"))
	who := "maintainers"
	switch {
	case s.Assurance == policy.Unclaimed:
		who = "the registry"
	case s.IsParked():
		m.printf("  maintainers, who can take it back with bailiwick claim %s, %d of %d\n", project, s.Owners.Threshold(), len(s.Owners.KeyIDs()))
		for _, k := range usableKeys(s.Owners) {
			m.printKeyLine(k)
		}
		who = "the index's offline keys, which sign in their place"
	}
	m.printf("  %s, %d of %d\n", who, s.Authority.Threshold(), len(s.Authority.KeyIDs()))
	for _, k := range usableKeys(s.Authority) {
		m.printKeyLine(k)
	}
	recovery, err := ceremony.RecoveryKeys(s.Base)
	if err != nil {
		return fmt.Errorf("reading the recovery keys of %s: %w", project, err)
	}
	if len(recovery) > 0 {
		m.printf("  recovery, any one\n")
		for _, k := range recovery {
			m.printKeyLine(k)
		}
	}
	for _, sub := range s.Subs {
		a, err := sub.Delegation.Authority()
		if err != nil {
			return fmt.Errorf("reading the keys of %s: %w", sub.Delegation.Name(), err)
		}
		m.printf("  %s, %d of %d, for %s until %s   %s\n", sub.Delegation.Name(), a.Threshold(), len(a.KeyIDs()),
			strings.Join(sub.Delegation.Paths(), " "), sub.Targets.Expires().Format(time.DateOnly), plural(sub.Targets.Len(), "file"))
		for _, k := range usableKeys(a) {
			m.printKeyLine(k)
		}
	}
	return nil
}
