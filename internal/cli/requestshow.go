package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"example.com/bailiwick/internal/durable"
	"example.com/bailiwick/internal/sitting"
	"example.com/bailiwick/tuf"
)

// showSpec says what of a request is shown.
type showSpec struct {
	project, role string
	all           bool
}

func newRequestShow(env *Env, flags *operatorFlags) *cobra.Command {
	var spec showSpec
	cmd := &cobra.Command{
		Use:   "show ID",
		Short: "say what a signing request would change",
		Long: "Fetch a signing request, verify it here, from its own chain of signatures, and say what it would change: counts,\n" +
			"then what deserves a look. It is what bailiwick-sign show says of the exported file.",
		Example: "  bailiwick request show 3f1a9c0d12ab34cd\n  bailiwick request show 3f1a --project flask",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withOperator(cmd.Context(), env, flags, false, func(o *operator) error { return o.show(cmd.Context(), args[0], &spec) })
		},
	}
	cmd.Flags().StringVar(&spec.project, "project", "", "everything about one `project`")
	cmd.Flags().StringVar(&spec.role, "role", "", "everything about one `role`")
	cmd.Flags().BoolVar(&spec.all, "all", false, "every single change")
	cmd.MarkFlagsMutuallyExclusive("project", "role", "all")
	return cmd
}

// shownExceptions bounds what a summary points out; --all has everything.
const shownExceptions = 20

func (o *operator) show(ctx context.Context, id string, spec *showSpec) error {
	list, err := o.requests(ctx, false)
	if err != nil {
		return err
	}
	r, err := findRequest(list, id)
	if err != nil {
		return err
	}
	v, err := o.judged(ctx, r.ID)
	if err != nil {
		return err
	}
	var lines []string
	switch {
	case spec.project != "":
		p, err := parseProject(spec.project)
		if err != nil {
			return err
		}
		if lines, err = v.ProjectLines(p); err != nil {
			return err //nolint:wrapcheck // a sentence
		}
	case spec.role != "":
		if lines, err = v.RoleLines(tuf.RoleName(spec.role)); err != nil {
			return err //nolint:wrapcheck // a sentence
		}
	case spec.all:
		lines = slices.Collect(v.Lines())
	default:
		lines = v.Summary().Lines(shownExceptions)
	}
	for _, line := range lines {
		o.printf("%s\n", shown(line))
	}
	return nil
}

// judged fetches a request into a file of its own and judges it.
func (o *operator) judged(ctx context.Context, id string) (*sitting.Verdict, error) {
	f, request, err := o.fetchTemp(ctx, id)
	if err != nil {
		return nil, err
	}
	defer dropTemp(f)
	v, err := sitting.Judge(request, o.env.Now())
	if err != nil {
		return nil, exit(exitRefused, err)
	}
	return v, nil
}

// fetchTemp copies a request into a file of its own and reads it back. The caller drops the file.
func (o *operator) fetchTemp(ctx context.Context, id string) (*os.File, *sitting.Request, error) {
	f, err := os.CreateTemp("", "bailiwick-request-")
	if err != nil {
		return nil, nil, errTemp("making a file", os.TempDir(), err)
	}
	request, err := o.fetchFile(ctx, id, f)
	var here *unwrittenError
	if errors.As(err, &here) {
		err = errTemp("writing", f.Name(), here.err)
	}
	if err != nil {
		dropTemp(f)
		return nil, nil, err
	}
	return f, request, nil
}

func dropTemp(f *os.File) {
	_ = f.Close() // it goes away
	_ = os.Remove(f.Name())
}

// errTemp: a file in the system's place for such files can not be written.
func errTemp(doing, path string, err error) error {
	return fmt.Errorf("%w; the environment variable TMPDIR names another folder for such files", durable.Explain(doing, path, err))
}
