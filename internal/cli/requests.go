package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"example.com/bailiwick/internal/server"
)

const operatorAPI = "/api/v1/operator"

// newRequests lists what waits for offline keys.
func newRequests(env *Env) *cobra.Command {
	var flags operatorFlags
	var asJSON, all bool
	cmd := &cobra.Command{
		Use:   "requests",
		Short: "list the signing requests that wait for offline keys",
		Long: "List the signing requests of operators: what waits, whose signatures are missing, since when, and what can not\n" +
			"happen before. Requests for what expires open by themselves 30 days ahead. The index can not sign any of them:\n" +
			"bailiwick request export writes one into a file, bailiwick-sign signs that on a machine without a network, and\n" +
			"bailiwick request import brings it back.\n\n" +
			"It works whether the server runs or not. Requests of a single project are for its maintainers: bailiwick sign.",
		Example: "  bailiwick requests --data /srv/index\n  bailiwick requests --index https://pkgs.example.com --json",
		Args:    NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withOperator(cmd.Context(), env, &flags, false, func(o *operator) error {
				list, err := o.requests(cmd.Context(), all)
				if err != nil {
					return err
				}
				if asJSON {
					return writeJSONTo(env.Stdout, server.OperatorRequestsAnswer{Requests: list})
				}
				o.printRequests(list)
				return nil
			})
		},
	}
	flags.add(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().BoolVar(&all, "all", false, "also those that were published, aborted, overtaken by another, or have expired")
	return cmd
}

// requests asks for the list.
func (o *operator) requests(ctx context.Context, all bool) ([]server.OperatorRequestAnswer, error) {
	path := operatorAPI + "/requests"
	if all {
		path += "?all=true"
	}
	answer := server.OperatorRequestsAnswer{Requests: []server.OperatorRequestAnswer{}}
	err := o.api.get(ctx, path, &answer)
	return answer.Requests, err
}

func (o *operator) printRequests(list []server.OperatorRequestAnswer) {
	if len(list) == 0 {
		message(o.env, "nothing waits for an offline key")
		return
	}
	for i := range list {
		if i > 0 {
			o.printf("\n")
		}
		o.printRequest(&list[i])
	}
}

// printRequest shows one request: the line by which it is known, then what it needs, one thought a line.
func (o *operator) printRequest(r *server.OperatorRequestAnswer) {
	now := o.env.Now()
	o.printf("%s  %-8s %s\n", shown(r.ID), shown(r.Kind), shown(r.Title))
	if r.State != "" && r.State != "open" {
		o.printf("  %s\n", closedText(r))
		return
	}
	since := "open since " + onDay(r.Created) + ", until " + onDay(r.Expires)
	if left := r.Expires.Sub(now); left < 7*24*time.Hour {
		since += " (" + ahead(left) + ")"
	}
	if r.By != "" {
		since += ", by " + shown(r.By)
	}
	o.printf("  %s\n", since)
	if r.Note != "" {
		o.printf("  note    %s\n", shown(r.Note))
	}
	for _, m := range r.Missing {
		o.printf("  missing %s\n", missingText(&m))
	}
	if r.Blocks != "" {
		o.printf("  blocks  %s\n", shown(r.Blocks))
	}
	switch {
	case r.Stale:
		o.printf("  stale   %s\n  next    bailiwick request abort %s, and plan it anew\n", shown(r.Problem), shown(r.ID))
	case r.Problem != "":
		o.printf("  problem %s\n", shown(r.Problem))
	case len(r.Missing) > 0:
		o.printf("  next    bailiwick request export %s --out FILE\n", shown(r.ID))
	case r.Next != "":
		o.printf("  next    %s\n", shown(r.Next))
	}
}

func closedText(r *server.OperatorRequestAnswer) string {
	switch r.State {
	case "published":
		return fmt.Sprintf("published in publication %d", r.Publication)
	case "aborted":
		return "aborted; nothing of it was published"
	case "overtaken":
		return "overtaken: " + shown(r.Problem) + "; nothing of it was published"
	case "expired":
		return "expired on " + onDay(r.Expires) + "; nothing of it was published"
	}
	return shown(r.State)
}

// missingText says whose signatures a group of roles needs.
func missingText(m *server.OperatorMissingAnswer) string {
	who := make([]string, len(m.Keys))
	for i, id := range m.Keys {
		who[i] = fmt.Sprintf("key %.12s", shown(id))
		if i < len(m.Holders) && m.Holders[i] != "" {
			who[i] = shown(m.Holders[i])
		}
	}
	what := shown(m.Role)
	if m.Roles > 1 {
		what = fmt.Sprintf("%s and %s", what, plural(m.Roles-1, "more role"))
	}
	return fmt.Sprintf("%s for %s: %s", plural(m.Need, "signature"), what, choice(who, m.Need))
}

// choice says which of some names: "alice", "alice and bob", "one of alice, bob".
func choice(names []string, need int) string {
	switch {
	case len(names) == 0:
		return "a key that nobody holds"
	case len(names) == 1:
		return names[0]
	case need >= len(names):
		return strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
	case need == 1:
		return "one of " + strings.Join(names, ", ")
	}
	return fmt.Sprintf("%d of %s", need, strings.Join(names, ", "))
}

func onDay(t time.Time) string { return t.UTC().Format(time.DateOnly) }

// ahead says how far away a time is: "in 3 days", "5 hours ago".
func ahead(d time.Duration) string {
	past := d < 0
	d = d.Abs()
	var text string
	switch {
	case d >= 48*time.Hour:
		text = plural(int(d/(24*time.Hour)), "day")
	case d >= 2*time.Hour:
		text = plural(int(d/time.Hour), "hour")
	case d >= 2*time.Minute:
		text = plural(int(d/time.Minute), "minute")
	default:
		text = plural(int(d/time.Second), "second")
	}
	if past {
		return text + " ago"
	}
	return "in " + text
}

// findRequest takes the open request of an identifier, or of the beginning of one.
func findRequest(list []server.OperatorRequestAnswer, id string) (*server.OperatorRequestAnswer, error) {
	var found []*server.OperatorRequestAnswer
	for i := range list {
		if list[i].ID == id {
			return &list[i], nil
		}
		if len(id) >= 4 && strings.HasPrefix(list[i].ID, id) {
			found = append(found, &list[i])
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return nil, fmt.Errorf("there is no signing request %s: bailiwick requests lists those that wait, and with --all the others", shown(id))
	}
	ids := make([]string, len(found))
	for i, r := range found {
		ids[i] = shown(r.ID)
	}
	slices.Sort(ids)
	return nil, usagef("%s could be %s: write more of it", shown(id), strings.Join(ids, " or "))
}
