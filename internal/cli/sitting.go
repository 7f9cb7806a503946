package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/internal/server"
)

// newSitting prepares sessions with the offline keys of the claimed tree.
func newSitting(env *Env) *cobra.Command {
	var flags operatorFlags
	cmd := &cobra.Command{
		Use:   "sitting",
		Short: "prepare a session with the offline keys: promote, park, renew",
		Long: "A sitting is a session with the offline keys of the claimed tree: projects that were claimed a while ago become\n" +
			"claimed for good, abandoned ones are parked, and what would expire before the next sitting is signed anew. All of\n" +
			"it is one file: plan and export write it, bailiwick-sign shows and signs it, import publishes it.\n\n" +
			"Maintainers do not have to do anything: only who vouches for their keys changes.",
		Args: needsCommand("plan, export or import"),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	flags.add(cmd)
	cmd.AddCommand(newSittingPlan(env, &flags), newSittingExport(env, &flags), newSittingImport(env, &flags))
	return cmd
}

// planSpec are the flags of sitting plan.
type planSpec struct {
	out, minAge, popular, by, note string
	only, except, park             []string
	noRenew, renewAll, asJSON      bool
}

func newSittingPlan(env *Env, flags *operatorFlags) *cobra.Command {
	var spec planSpec
	cmd := &cobra.Command{
		Use:   "plan [--out FILE]",
		Short: "draw up a sitting, and say what it would change",
		Long: "Draw up a sitting on the newest publication, and say what it would change: counts first, then what deserves a\n" +
			"look before anyone signs. It promotes every project whose claim is two weeks old (--min-age), but for those of\n" +
			"--except; --only names all that are to be promoted, whatever their age. It takes in changes of keys that wait for\n" +
			"the offline key, and whatever expires before the next sitting. If that is nothing at all, no request is made.\n\n" +
			"--popular is a file with the names of projects, one a line, the most popular first: they are pointed out.",
		Example: "  bailiwick sitting plan --out sitting.request\n  bailiwick sitting plan --only flask --only werkzeug --out sitting.request",
		Args:    NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			body, err := spec.body()
			if err != nil {
				return err
			}
			if err := refuseExisting(spec.out); err != nil {
				return err
			}
			return withOperator(cmd.Context(), env, flags, false, func(o *operator) error { return o.plan(cmd.Context(), body, &spec) })
		},
	}
	f := cmd.Flags()
	f.StringVar(&spec.out, "out", "", "`FILE` to write for the offline keys; otherwise bailiwick sitting export does that later")
	f.StringVar(&spec.minAge, "min-age", "14d", "promote claims that are at least this `old`: 14d, 36h, 0d")
	f.StringArrayVar(&spec.only, "only", nil, "promote this `project` and no others but those so named; may be repeated")
	f.StringArrayVar(&spec.except, "except", nil, "do not promote this `project`; may be repeated")
	f.StringArrayVar(&spec.park, "park", nil, "park this abandoned `project`; may be repeated")
	f.StringVar(&spec.popular, "popular", "", "`FILE` with names of popular projects, by rank")
	f.StringVar(&spec.by, "by", "", "your `name`, for those who sign")
	f.StringVar(&spec.note, "note", "", "`text` for those who sign")
	f.BoolVar(&spec.noRenew, "no-renew", false, "leave out what merely expires before the next sitting")
	f.BoolVar(&spec.renewAll, "renew-all", false, "sign every offline role but root anew, due or not")
	f.BoolVar(&spec.asJSON, "json", false, "print JSON")
	return cmd
}

// Bounds of a list of popular projects.
const (
	maxPopular      = 100_000
	maxPopularBytes = 8 << 20
)

// body is what the index is asked.
func (p *planSpec) body() (*server.SittingBody, error) {
	if p.noRenew && p.renewAll {
		return nil, usagef("--renew-all renews everything, and --no-renew nothing: give one of them")
	}
	body := &server.SittingBody{Promote: true, Renew: !p.noRenew, All: p.renewAll, By: p.by, Note: p.note}
	age, err := parseAge(p.minAge)
	if err != nil {
		return nil, exit(exitUsage, fmt.Errorf("--min-age: %w", err))
	}
	seconds := int64(age / time.Second)
	body.MinAge = &seconds
	for name, list := range map[string]struct {
		from []string
		to   *[]string
	}{"--only": {p.only, &body.Only}, "--except": {p.except, &body.Except}, "--park": {p.park, &body.Park}} {
		for _, text := range list.from {
			project, err := pypi.ParseProject(text)
			if err != nil {
				return nil, exit(exitUsage, fmt.Errorf("%s: %w", name, err))
			}
			*list.to = append(*list.to, project.String())
		}
	}
	if p.popular != "" {
		if body.Popular, err = readPopular(p.popular); err != nil {
			return nil, err
		}
	}
	return body, nil
}

// parseAge reads an age of zero or more.
func parseAge(text string) (time.Duration, error) {
	if text == "0" || text == "0d" || text == "0s" {
		return 0, nil
	}
	d, err := parseLifetime(text)
	if err != nil {
		return 0, fmt.Errorf("%q is no age such as 14d, 36h or 0d", text)
	}
	return d, nil
}

// readPopular reads the names of projects, one a line; what stands after the name is passed over.
func readPopular(path string) ([]string, error) {
	data, err := readBounded(path, maxPopularBytes)
	if err != nil {
		return nil, fmt.Errorf("--popular: %w", err)
	}
	var names []string
	lines := bufio.NewScanner(strings.NewReader(string(data)))
	for n := 1; lines.Scan(); n++ {
		line, _, _ := strings.Cut(lines.Text(), "#")
		fields := strings.FieldsFunc(line, func(r rune) bool { return r == ' ' || r == '\t' || r == ',' })
		if len(fields) == 0 {
			continue
		}
		p, err := pypi.ParseProject(fields[0])
		if err != nil {
			return nil, exit(exitUsage, fmt.Errorf("--popular: line %d of %s: %w", n, path, err))
		}
		if names = append(names, p.String()); len(names) >= maxPopular {
			break // nobody counts on
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("--popular: %s: %w", path, err)
	}
	return names, nil
}

// plannedAnswer is what the index answers: a sitting, or that there is nothing to do.
type plannedAnswer struct {
	server.SittingAnswer
	Nothing *server.NothingToDoAnswer `json:"nothing"`
}

// planSitting asks the index for a plan.
func (o *operator) planSitting(ctx context.Context, body *server.SittingBody) (*plannedAnswer, error) {
	data, err := json.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("writing the wishes: %w", err)
	}
	var answer plannedAnswer
	_, err = o.api.call(ctx, http.MethodPost, operatorAPI+"/sittings", data, &answer)
	return &answer, err
}

func (o *operator) plan(ctx context.Context, body *server.SittingBody, spec *planSpec) error {
	answer, err := o.planSitting(ctx, body)
	if err != nil {
		return err
	}
	if answer.Nothing != nil {
		if spec.asJSON {
			return writeJSONTo(o.env.Stdout, server.NothingAnswer{Nothing: *answer.Nothing})
		}
		message(o.env, "nothing to do: %s", spec.nothing(answer.Nothing))
		return nil
	}
	if spec.asJSON {
		if err := writeJSONTo(o.env.Stdout, answer.SittingAnswer); err != nil {
			return err
		}
	} else {
		for _, line := range answer.Summary {
			o.printf("%s\n", shown(line))
		}
	}
	if spec.out == "" {
		message(o.env, "request %s is open; bailiwick sitting export --out FILE writes it for the offline keys", shown(answer.ID))
		return nil
	}
	return o.exportTo(ctx, &answer.OperatorRequestAnswer, spec.out)
}

// nothing says why there is no sitting to hold.
func (p *planSpec) nothing(n *server.NothingToDoAnswer) string {
	claims := "no claim waits to be promoted"
	if len(p.only)+len(p.except) > 0 {
		claims = "no other claim waits to be promoted"
	}
	if n.Waiting > 0 {
		claims = fmt.Sprintf("no claim is old enough (--min-age %s; %s", p.minAge, plural(n.Waiting, "project")+" wait")
		if n.Waiting == 1 {
			claims += "s"
		}
		if n.First != nil {
			claims += ", the first until " + onDay(*n.First)
		}
		claims += ")"
	}
	due := "nothing is due before " + onDay(n.Due)
	if p.noRenew {
		due = "nothing is to be renewed (--no-renew)"
	}
	return claims + "; " + due + "; --renew-all signs everything anyway"
}

func newSittingExport(env *Env, flags *operatorFlags) *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:     "export --out FILE",
		Short:   "write the open sitting into a file, for an air gap",
		Long:    "Write the sitting that was planned last into a file, with the signatures that it has.",
		Example: "  bailiwick sitting export --out sitting.request",
		Args:    NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if out == "" {
				return usagef("--out is missing: name the file that goes to the offline keys")
			}
			if err := refuseExisting(out); err != nil {
				return err
			}
			return withOperator(cmd.Context(), env, flags, false, func(o *operator) error {
				r, err := o.openSitting(cmd.Context())
				if err != nil {
					return err
				}
				return o.exportTo(cmd.Context(), r, out)
			})
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "`FILE` to write")
	return cmd
}

// openSitting is the newest sitting that waits and that can still be published.
func (o *operator) openSitting(ctx context.Context) (*server.OperatorRequestAnswer, error) {
	list, err := o.requests(ctx, false)
	if err != nil {
		return nil, err
	}
	var newest *server.OperatorRequestAnswer
	for i := range list {
		if r := &list[i]; r.Kind == "sitting" && !r.Stale {
			newest = r
		}
	}
	if newest == nil {
		return nil, errors.New("no sitting is open: bailiwick sitting plan draws one up; bailiwick requests lists what else waits")
	}
	return newest, nil
}

func newSittingImport(env *Env, flags *operatorFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "import FILE…",
		Short: "bring a signed sitting back; the last signature publishes it",
		Long: "Bring back what bailiwick-sign has signed; the same as bailiwick request import. The repository serves on\n" +
			"meanwhile, and the whole sitting becomes one publication.",
		Example: "  bailiwick sitting import sitting-signed.request",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, files []string) error {
			for _, path := range files {
				if _, err := os.Stat(path); err != nil {
					return fmt.Errorf("reading the signed sitting: %w", err)
				}
			}
			return withOperator(cmd.Context(), env, flags, true, func(o *operator) error { return o.importFiles(cmd.Context(), files) })
		},
	}
}
