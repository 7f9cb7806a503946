package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"example.com/bailiwick/internal/ceremony"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/tuf/repo"
)

// newArchive says that a project gets no more releases.
func newArchive(env *Env) *cobra.Command {
	var flags maintainerFlags
	var reason string
	cmd := &cobra.Command{
		Use:   "archive PROJECT [--reason TEXT] --key URI",
		Short: "say that a project gets no more releases",
		Long: "Mark a claimed project as archived, in the list that its maintainers sign: its files can be installed as before, installers and\n" +
			"people are told, and the index takes no more files for it until bailiwick unarchive.",
		Example: "  bailiwick archive flask --reason 'use flask-next' --key alice.key",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runArchive(cmd.Context(), env, &flags, args[0], policy.Archived(reason), "archived")
		},
	}
	flags.add(cmd)
	cmd.Flags().StringVar(&reason, "reason", "", "`TEXT` that tools show")
	return cmd
}

// newUnarchive takes the mark away.
func newUnarchive(env *Env) *cobra.Command {
	var flags maintainerFlags
	cmd := &cobra.Command{
		Use:     "unarchive PROJECT --key URI",
		Short:   "let an archived project have releases again",
		Long:    "Take the mark off an archived project, in the list that its maintainers sign: the index takes files for it again.",
		Example: "  bailiwick unarchive flask --key alice.key",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runArchive(cmd.Context(), env, &flags, args[0], policy.Status{}, "no longer archived")
		},
	}
	flags.add(cmd)
	return cmd
}

func runArchive(ctx context.Context, env *Env, flags *maintainerFlags, name string, status policy.Status, word string) error {
	project, err := parseProject(name)
	if err != nil {
		return err
	}
	value, err := status.Encode()
	if err != nil {
		return exit(exitUsage, err)
	}
	m, err := openMaintainer(ctx, env, flags)
	if err != nil {
		return err
	}
	defer m.Close()
	s, err := m.look(ctx, project)
	if err != nil {
		return err
	}
	if s.Assurance == policy.Unclaimed {
		return fmt.Errorf("%s is not claimed, and only its maintainers can say that it is archived: run bailiwick claim %s --key URI first", project, project)
	}
	if err := m.openKeys(ctx); err != nil {
		return err
	}
	return m.releaseChange(ctx, s, fmt.Sprintf("%s is %s", project, word), func(s *ceremony.Standing) (repo.TargetsEdit, error) {
		now, err := policy.StatusOf(s.Base)
		if err != nil {
			return repo.TargetsEdit{}, fmt.Errorf("reading the status of %s: %w", project, err)
		}
		switch {
		case now == status && status.IsArchived():
			return repo.TargetsEdit{}, fmt.Errorf("%s is archived already, for that reason", project)
		case now == status:
			return repo.TargetsEdit{}, fmt.Errorf("%s is not archived", project)
		}
		return repo.TargetsEdit{Members: map[string][]byte{policy.StatusMember: value}}, nil
	})
}
