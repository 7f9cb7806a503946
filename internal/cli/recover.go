package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"example.com/bailiwick/internal/server"
)

// recoverSpec are the flags of recover.
type recoverSpec struct {
	request, because, delay string
	list, abort, asJSON     bool
}

// newRecover gives a project whose keys are lost to others, in the open.
func newRecover(env *Env) *cobra.Command {
	var flags operatorFlags
	var spec recoverSpec
	cmd := &cobra.Command{
		Use:   "recover PROJECT --because TEXT",
		Short: "announce that a project whose keys are lost gets other keys",
		Long: "Give a project to other keys, because its maintainers have lost theirs. Whoever is to have it asks first, with\n" +
			"bailiwick claim PROJECT --recover. You find out, outside of this program, whether they are who they say; then this announces it: in\n" +
			"the public record, and to the owners of the project. Nothing else changes until the delay is over. If the project's\n" +
			"present keys sign anything before, the recovery is cancelled by itself, and says so. After the delay the next bailiwick\n" +
			"sitting plan takes it in, and the offline key carries it out.\n\n" +
			"--list shows what is asked for and what is announced; --abort ends an announced one, or with --request one that was\n" +
			"only asked for.",
		Example: "  bailiwick recover --list\n  bailiwick recover flask --because 'laptop stolen; identity checked by phone' --delay 168h\n" +
			"  bailiwick recover flask --abort --because 'the maintainer found her key'",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if spec.list != (len(args) == 0) {
				return usagef("name one project, or use --list")
			}
			return withOperator(cmd.Context(), env, &flags, !spec.list, func(o *operator) error {
				switch {
				case spec.list:
					return o.listRecoveries(cmd.Context(), spec.asJSON)
				case spec.abort:
					return o.abortRecovery(cmd.Context(), args[0], &spec)
				}
				return o.announceRecovery(cmd.Context(), args[0], &spec)
			})
		},
	}
	flags.add(cmd)
	f := cmd.Flags()
	f.StringVar(&spec.request, "request", "", "`ID` of the request that is meant, where several ask")
	f.StringVar(&spec.because, "because", "", "`text` for the public record: why")
	f.StringVar(&spec.delay, "delay", "7d", "how `long` the present keys have to object: 72h or more")
	f.BoolVar(&spec.list, "list", false, "show what is asked for and what is announced")
	f.BoolVar(&spec.abort, "abort", false, "end an announced recovery, or refuse the request of --request")
	f.BoolVar(&spec.asJSON, "json", false, "print JSON")
	cmd.MarkFlagsMutuallyExclusive("list", "abort")
	cmd.MarkFlagsMutuallyExclusive("list", "request")
	return cmd
}

func (o *operator) listRecoveries(ctx context.Context, asJSON bool) error {
	var answer server.RecoveriesAnswer
	if err := o.api.get(ctx, operatorAPI+"/recoveries", &answer); err != nil {
		return err
	}
	if asJSON {
		return writeJSONTo(o.env.Stdout, answer)
	}
	if len(answer.Recoveries) == 0 {
		message(o.env, "nobody asks for a project whose keys are lost, and no recovery is announced")
		return nil
	}
	for i := range answer.Recoveries {
		if i > 0 {
			o.printf("\n")
		}
		o.printRecovery(&answer.Recoveries[i])
	}
	return nil
}

func (o *operator) printRecovery(r *server.RecoveryAnswer) {
	o.printf("%s   to %d of %s:", shown(r.Project), r.Threshold, plural(len(r.Keys), "key"))
	for _, id := range r.Keys {
		o.printf(" %.12s", shown(id))
	}
	o.printf("\n")
	if r.Request != "" {
		o.printf("  asked for    %s by request %s\n", r.Asked.Format("2006-01-02 15:04"), shown(r.Request))
	}
	if r.Note != "" {
		o.printf("  they say     %s\n", shown(r.Note))
	}
	if !r.Announced.IsZero() {
		o.printf("  announced    %s, in entry %d of the record: %s\n", r.Announced.Format("2006-01-02 15:04"), r.Entry, shown(r.Because))
		o.printf("  not before   %s\n", r.NotBefore.Format(time.RFC3339))
	}
	if r.Problem != "" {
		o.printf("  problem      %s\n", shown(r.Problem))
	}
	o.printf("  next         %s\n", shown(r.Next))
}

func (o *operator) announceRecovery(ctx context.Context, name string, spec *recoverSpec) error {
	project, err := parseProject(name)
	if err != nil {
		return err
	}
	if spec.because == "" {
		return usagef("--because is missing: the public record tells everybody why")
	}
	delay, err := parseAge(spec.delay)
	if err != nil {
		return exit(exitUsage, fmt.Errorf("--delay: %w", err))
	}
	if delay == 0 {
		return usagef("--delay %s: 72h or more, so that whoever has the keys can object", spec.delay)
	}
	body, err := json.Marshal(server.AnnounceBody{Project: project.String(), Request: spec.request, Because: spec.because, Delay: int64(delay / time.Second)})
	if err != nil {
		return fmt.Errorf("writing the announcement: %w", err)
	}
	var r server.RecoveryAnswer
	if _, err := o.api.call(ctx, http.MethodPost, operatorAPI+"/recoveries", body, &r); err != nil {
		return err
	}
	if spec.asJSON {
		return writeJSONTo(o.env.Stdout, r)
	}
	o.printf("announced. Unless its present keys sign anything before, %s gets other keys after %s\n\n", project, r.NotBefore.Format(time.RFC3339))
	o.printRecovery(&r)
	return nil
}

func (o *operator) abortRecovery(ctx context.Context, name string, spec *recoverSpec) error {
	project, err := parseProject(name)
	if err != nil {
		return err
	}
	if spec.because == "" {
		return usagef("--because is missing: say why, to those who own the project or ask for it")
	}
	body, err := json.Marshal(server.WithdrawBody{Because: spec.because, Request: spec.request})
	if err != nil {
		return fmt.Errorf("writing the withdrawal: %w", err)
	}
	if _, err := o.api.call(ctx, http.MethodPost, operatorAPI+"/recoveries/"+url.PathEscape(project.String())+"/abort", body, nil); err != nil {
		return err
	}
	if spec.request != "" {
		o.printf("refused. %s keeps its keys; its owners see why\n", project)
		return nil
	}
	o.printf("withdrawn. %s keeps its keys; the record says why\n", project)
	return nil
}
