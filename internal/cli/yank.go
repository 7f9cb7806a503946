package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"

	"example.com/bailiwick/internal/ceremony"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/internal/server"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/repo"
)

const yankLong = "\n\nOf a claimed project it is signed with --key; of one that is not, the index does it for the holder of an upload token."

// newYank marks a version as one not to pick.
func newYank(env *Env) *cobra.Command {
	var flags maintainerFlags
	var reason string
	cmd := &cobra.Command{
		Use:   "yank PROJECT VERSION [--reason TEXT] [--key URI]",
		Short: "keep installers from picking a version, unless it is asked for exactly",
		Long: "Mark all files of a version as yanked: installers do not pick it by themselves any more, and who has pinned it exactly still\n" +
			"gets it." + yankLong,
		Example: "  bailiwick yank flask 3.1.0 --reason 'broken on Windows' --key alice.key",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runYank(cmd.Context(), env, &flags, args, &reason)
		},
	}
	flags.add(cmd)
	cmd.Flags().StringVar(&reason, "reason", "", "`TEXT` that installers show")
	return cmd
}

// newUnyank takes the mark away.
func newUnyank(env *Env) *cobra.Command {
	var flags maintainerFlags
	cmd := &cobra.Command{
		Use:     "unyank PROJECT VERSION [--key URI]",
		Short:   "let installers pick a yanked version again",
		Long:    "Take the mark off the files of a yanked version." + yankLong,
		Example: "  bailiwick unyank flask 3.1.0 --key alice.key",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runYank(cmd.Context(), env, &flags, args, nil)
		},
	}
	flags.add(cmd)
	return cmd
}

// newDelete takes files off the list.
func newDelete(env *Env) *cobra.Command {
	var flags maintainerFlags
	cmd := &cobra.Command{
		Use:   "delete PROJECT FILE… [--key URI]",
		Short: "take files off a project's list, for ever",
		Long: "Take files off the list of a project, so that nobody can install them. Their names can never be used again. To keep installers\n" +
			"from picking a version while those who have pinned it go on, yank it instead." + yankLong,
		Example: "  bailiwick delete flask flask-3.1.0.tar.gz --key alice.key",
		Args:    cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			project, err := parseProject(args[0])
			if err != nil {
				return err
			}
			names := make([]pypi.Filename, 0, len(args)-1)
			for _, arg := range args[1:] {
				name, err := pypi.ParseFilenameFor(project, arg)
				if err != nil {
					return exit(exitUsage, err)
				}
				names = append(names, name)
			}
			m, err := openMaintainer(cmd.Context(), env, &flags)
			if err != nil {
				return err
			}
			defer m.Close()
			return m.deleteFiles(cmd.Context(), project, names)
		},
	}
	flags.add(cmd)
	return cmd
}

// runYank yanks with a reason, or unyanks without one.
func runYank(ctx context.Context, env *Env, flags *maintainerFlags, args []string, reason *string) error {
	project, err := parseProject(args[0])
	if err != nil {
		return err
	}
	version, err := pypi.ParseVersion(args[1])
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
	word := "yanked"
	if reason == nil {
		word = "no longer yanked"
	}
	if s.Assurance == policy.Unclaimed {
		return m.yankUnclaimed(ctx, project, version, reason, word)
	}
	if err := m.openKeys(ctx); err != nil {
		return err
	}
	return m.releaseChange(ctx, s, fmt.Sprintf("%s %s is %s", project, version, word), func(s *ceremony.Standing) (repo.TargetsEdit, error) {
		put, err := yankEdit(s, version, reason)
		return repo.TargetsEdit{Put: put}, err
	})
}

// yankEdit marks the files of a version. Those that a sub-role lists are taken into the project's own list,
// which comes first.
func yankEdit(s *ceremony.Standing, version pypi.Version, reason *string) ([]tuf.Target, error) {
	var put []tuf.Target
	listed := false
	lists := []*tuf.Targets{s.Base}
	for _, sub := range s.Subs {
		lists = append(lists, sub.Targets)
	}
	for i, list := range lists {
		for t := range list.All() {
			_, name, err := policy.ParsePath(t.Path)
			if err != nil || name.Version().Compare(version) != 0 {
				continue
			}
			if _, own := s.Base.Lookup(t.Path); own && i > 0 {
				continue
			}
			listed = true
			custom, err := policy.DecodeCustom(t.Custom)
			if err != nil {
				return nil, fmt.Errorf("reading what is signed about %s: %w", name, err)
			}
			if reason == custom.Yanked || reason != nil && custom.Yanked != nil && *reason == *custom.Yanked {
				continue
			}
			custom.Yanked = reason
			if t.Custom, err = custom.Encode(); err != nil {
				return nil, fmt.Errorf("describing %s: %w", name, err)
			}
			put = append(put, t)
		}
	}
	switch {
	case !listed:
		return nil, fmt.Errorf("%s has no files of version %s", s.Project, version)
	case len(put) == 0:
		return nil, fmt.Errorf("version %s of %s is marked so already", version, s.Project)
	}
	return put, nil
}

// releaseChange changes the project's own list, without new files.
func (m *maintainer) releaseChange(ctx context.Context, s *ceremony.Standing, what string, edit func(*ceremony.Standing) (repo.TargetsEdit, error)) error {
	if s.IsParked() {
		return errors.New(s.ParkedText())
	}
	d, err := m.carryOut(ctx, s, plan{
		draw: func(_ context.Context, s *ceremony.Standing) (*ceremony.Request, []tuf.Target, error) {
			e, err := edit(s)
			if err != nil {
				return nil, nil, err
			}
			draft, err := m.edit(s, s.Authority, e)
			if err != nil {
				return nil, nil, err
			}
			r := m.newRequest(ceremony.Release, s)
			addDraft(r, draft)
			return r, nil, nil
		},
		title: teamTitle,
	})
	if err != nil {
		return err
	}
	published, err := m.report(ctx, d, "the change of "+s.Project.String())
	if err == nil && published {
		m.printf("done. %s (publication %d)\n", what, d.outcome.Publication)
	}
	return err
}

func (m *maintainer) yankUnclaimed(ctx context.Context, project pypi.Project, version pypi.Version, reason *string, word string) error {
	if err := m.login(ctx); err != nil {
		return err
	}
	in := server.YankBody{Version: version.String(), Yanked: reason != nil}
	if reason != nil {
		in.Reason = *reason
	}
	body, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("writing the request: %w", err)
	}
	var out server.OutcomeAnswer
	if _, err := m.api.call(ctx, http.MethodPost, "/api/v1/projects/"+project.String()+"/yank", body, &out); err != nil {
		return err
	}
	m.printf("done. %s %s is %s (publication %d)\n", project, version, word, out.Publication)
	return nil
}

func (m *maintainer) deleteFiles(ctx context.Context, project pypi.Project, names []pypi.Filename) error {
	s, err := m.look(ctx, project)
	if err != nil {
		return err
	}
	if s.Assurance == policy.Unclaimed {
		if err := m.login(ctx); err != nil {
			return err
		}
		for _, name := range names {
			var out server.OutcomeAnswer
			if _, err := m.api.call(ctx, http.MethodDelete, "/api/v1/projects/"+project.String()+"/files/"+url.PathEscape(name.String()), nil, &out); err != nil {
				return err
			}
			m.printf("done. %s is off the list (publication %d)\n", name, out.Publication)
		}
		return nil
	}
	if err := m.openKeys(ctx); err != nil {
		return err
	}
	return m.releaseChange(ctx, s, plural(len(names), "file")+" off the list of "+project.String(), func(s *ceremony.Standing) (repo.TargetsEdit, error) {
		var edit repo.TargetsEdit
		for _, name := range names {
			path := s.Layout.Path(project, name)
			if _, own := s.Base.Lookup(path); own {
				edit.Remove = append(edit.Remove, path)
				continue
			}
			if _, listed := listedIn(s, path); listed {
				return edit, fmt.Errorf("%s is listed by a role to which the project delegates: take the delegation back with bailiwick team %s undelegate NAME first, then delete the file", name, project)
			}
			return edit, fmt.Errorf("%s is not listed in %s", name, project)
		}
		return edit, nil
	})
}
