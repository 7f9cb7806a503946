package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/internal/verify"
	"example.com/bailiwick/tuf"
)

// maxWhyFiles bounds the files of a project that are listed for a person; --json lists all.
const maxWhyFiles = 10

// newWhy explains.
func newWhy(env *Env) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "why PROJECT|FILENAME|ID",
		Short: "explain why a project or file is trusted, or why it was refused",
		Long: "Prints the chain of trust from the pinned root to the role that lists the file, with keys, thresholds,\n" +
			"versions and expiry, and what the assurance word means. For the ID of a refusal, what was signed and what came.\n\n" +
			"Exit codes: 1 the index does not list it, 3 the chain is broken, 4 the metadata is unusable, 5 unreachable.",
		Example: "  bailiwick why flask\n  bailiwick why flask-3.1.0-py3-none-any.whl --json",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			in := &installer{env: env}
			return in.why(cmd.Context(), args[0], asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

func (in *installer) why(ctx context.Context, what string, asJSON bool) error {
	p, err := in.pin(ctx)
	if err != nil {
		return err
	}
	refusal, err := p.recall(what)
	if err != nil {
		return err
	}
	if refusal != nil {
		return in.printRefusal(refusal, asJSON)
	}
	o, err := in.open(p, engineOptions{noCache: true, passive: true})
	if err != nil {
		return err
	}
	defer o.Close()
	x, err := explain(ctx, o.Engine, what)
	if x != nil {
		fingerprints(x)
	}
	var problem *verify.Error
	if errors.As(err, &problem) {
		report(in.env, problem)
		return exit(classCode(problem.Class), nil)
	}
	if err != nil {
		return err
	}
	listed := x.Problem == nil || x.Problem.Class != verify.NotFound
	switch {
	case asJSON:
		err = printJSON(in.env.Stdout, x)
	case listed:
		in.printExplanation(p, x)
	}
	switch {
	case err != nil:
		return err
	case !listed:
		return exit(exitFailed, x.Problem)
	case x.Problem == nil:
		return nil
	case !asJSON:
		report(in.env, x.Problem)
	}
	return exit(classCode(x.Problem.Class), nil)
}

// fingerprints adds to the keys of a chain what their holders know them by.
func fingerprints(x *verify.Explanation) {
	for _, role := range x.Chain {
		addFingerprints(role.Keys)
	}
}

// explain takes what for a file name if it looks like one, else for a project.
func explain(ctx context.Context, e *verify.Engine, what string) (*verify.Explanation, error) {
	what = what[strings.LastIndexByte(what, '/')+1:]
	name, err := pypi.ParseFilename(what)
	switch {
	case err == nil:
		return e.ExplainFile(ctx, name.Project(), name)
	case errors.Is(err, pypi.ErrAmbiguous):
		return explainAmbiguous(ctx, e, what)
	}
	project, notProject := pypi.ParseProject(what)
	if notProject != nil {
		return nil, usagef("%q is neither a file name, nor a project, nor the ID of a refusal", what)
	}
	return e.ExplainProject(ctx, project)
}

// explainAmbiguous tries every project that an sdist with hyphens in its name may belong to.
func explainAmbiguous(ctx context.Context, e *verify.Engine, what string) (*verify.Explanation, error) {
	var x *verify.Explanation
	for i := range what {
		if what[i] != '-' {
			continue
		}
		project, err := pypi.ParseProject(what[:i])
		if err != nil {
			continue
		}
		name, err := pypi.ParseFilenameFor(project, what)
		if err != nil {
			continue
		}
		x, err = e.ExplainFile(ctx, project, name)
		if err != nil || x.Problem == nil || x.Problem.Class != verify.NotFound {
			return x, err
		}
	}
	if x == nil {
		return nil, usagef("%q is not a file name", what)
	}
	return x, nil
}

func printJSON(w io.Writer, v any) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return fmt.Errorf("printing: %w", err)
	}
	return nil
}

// printRefusal tells what happened in an earlier run.
func (in *installer) printRefusal(e *verify.Error, asJSON bool) error {
	if asJSON {
		return printJSON(in.env.Stdout, e)
	}
	fmt.Fprintf(in.env.Stdout, "%s\n\n", strings.Join(e.Report(), "\n"))
	fmt.Fprintf(in.env.Stdout, "  %s (%s), at %s\n", e.Class, e.Code, e.Time.Format(time.DateTime))
	if e.Expected != nil {
		fmt.Fprintf(in.env.Stdout, "  signed    sha256 %s\n", e.Expected.SHA256)
	}
	if e.Received != nil {
		fmt.Fprintf(in.env.Stdout, "  received  sha256 %s\n", e.Received.SHA256)
	}
	return nil
}

// printExplanation draws the chain.
func (in *installer) printExplanation(p *pinned, x *verify.Explanation) {
	out := in.env.Stdout
	if f := x.Asked; f != nil {
		fmt.Fprintf(out, "%s   sha256 %s   %s%s\n\n", f.Path, f.SHA256, byteSize(f.Length), vouched(f))
	} else {
		printWhyFiles(out, x)
	}
	depth := 0
	for i, role := range x.Chain {
		indent, branch := strings.Repeat("  ", max(depth-1, 0)), ""
		if depth > 0 {
			branch = "└ "
		}
		line := fmt.Sprintf("  %s%s%s v%d", indent, branch, shown(string(role.Role)), role.Version)
		fmt.Fprintf(out, "%-44s %d of %-3d %-12s until %s", line, role.Threshold, len(role.Keys), role.Holder, role.Expires.Format(time.DateOnly))
		if i == 0 {
			fmt.Fprintf(out, "   pinned in %s", in.tilde(p.from))
		}
		fmt.Fprintln(out)
		printKeys(out, role, indent)
		depth++
	}
	m := x.Current
	fmt.Fprintf(out, "  %-42s snapshot %d until %s, timestamp %d until %s (another %s)\n", "current", m.Snapshot,
		m.SnapshotExpires.Format(time.DateOnly), m.Timestamp, m.TimestampExpires.Format("2006-01-02 15:04"),
		verify.Duration(m.TimestampExpires.Sub(in.env.Now())))
	in.printKnown(x)
	if x.Meaning != "" {
		fmt.Fprintf(out, "\n%s\n", x.Meaning)
	}
	if x.Problem != nil && x.Assurance == "" { // the chain is broken
		fmt.Fprintln(out)
		for _, c := range x.Considered {
			fmt.Fprintf(out, "  considered %s: %s%s\n", shown(string(c.Role)), c.Outcome, dashed(shown(c.Cause)))
		}
	}
}

// printKnown tells what is known of the project besides its chain.
func (in *installer) printKnown(x *verify.Explanation) {
	out := in.env.Stdout
	if x.Status != "" {
		fmt.Fprintf(out, "  %-42s %s%s\n", "status", x.Status, dashed(shown(x.StatusReason)))
	}
	if r := x.Required; r != nil {
		fmt.Fprintf(out, "  %-42s at least %s, by %s (%q)\n", "required", r.Assurance, r.Origin, r.Pattern)
	}
	if r := x.Remembered; r != nil {
		fmt.Fprintf(out, "  %-42s %s, last on %s%s\n", "seen before", r.Assurance, r.Date, dashed(r.Changed))
	}
}

// vouched marks a file that its maintainers took over from the index.
func vouched(f *verify.ExplainedFile) string {
	if f.VouchedBy == "" {
		return ""
	}
	return "   vouched for by the index at the claim"
}

// tilde shortens a path in the user's home folder.
func (in *installer) tilde(path string) string {
	home := in.env.Getenv("HOME")
	if rest, ok := strings.CutPrefix(path, home+string(filepath.Separator)); ok && home != "" {
		return "~" + string(filepath.Separator) + rest
	}
	return path
}

func dashed(s string) string {
	if s == "" {
		return ""
	}
	return " (" + s + ")"
}

// printKeys shows who may sign the last links, where it matters who did.
func printKeys(out io.Writer, role verify.ExplainedRole, indent string) {
	if role.Role == tuf.RoleRoot || (len(role.Keys) < 2 && role.Holder != "maintainers") {
		return
	}
	for _, k := range role.Keys {
		signed := "has not signed"
		if k.Signed {
			signed = "signed"
		}
		fmt.Fprintf(out, "    %s  %.12s   %-10s %-50s %s\n", indent, k.ID, k.Type, k.SSH, signed)
	}
}

// printWhyFiles lists the newest files of a project.
func printWhyFiles(out io.Writer, x *verify.Explanation) {
	noun := "files"
	if len(x.Files) == 1 {
		noun = "file"
	}
	fmt.Fprintf(out, "%s   %d %s\n\n", x.Project, len(x.Files), noun)
	from := max(0, len(x.Files)-maxWhyFiles)
	if from > 0 {
		fmt.Fprintf(out, "  %d more; --json lists all\n", from)
	}
	for _, f := range x.Files[from:] {
		fmt.Fprintf(out, "  %-50s sha256 %.8s…%s   %s%s\n", f.Filename, f.SHA256, f.SHA256[len(f.SHA256)-4:], byteSize(f.Length), vouched(&f))
	}
	if len(x.Files) > 0 {
		fmt.Fprintln(out)
	}
}

// byteSize is a length in bytes as people say it.
func byteSize(n int64) string {
	switch {
	case n >= 10_000_000:
		return fmt.Sprintf("%d MB", n/1_000_000)
	case n >= 10_000:
		return fmt.Sprintf("%d kB", n/1000)
	}
	return fmt.Sprintf("%d bytes", n)
}
