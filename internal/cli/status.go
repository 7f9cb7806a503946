package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"example.com/bailiwick/internal/server"
)

// Exit codes of status, for monitors.
const (
	exitAttention = 6 // somebody has to act within 30 days, or a request waits
	exitFailing   = 7 // something has expired, or publishing fails
)

// newStatus says how the index is, and who has to do what by when.
func newStatus(env *Env) *cobra.Command {
	var flags operatorFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "say how the index is, and who has to do what by when",
		Long: "Forecast every role of the repository: what expires when, and whether the server renews it by itself, an isolated\n" +
			"signer, operators with offline keys, or the maintainers of a project. What operators have to sign opens its\n" +
			"request by itself 30 days ahead. Expired is not attacked: it says that nobody signed in time, and names who can.\n" +
			"In custody strict it also says whether the signer is connected, and what waits for it.\n\n" +
			"Exit code, for monitors: 0 nothing to do; 6 somebody has to act within 30 days, a signing request waits, or the\n" +
			"signer is away; 7 something has expired, or publishing fails. It works whether the server runs or not.",
		Example: "  bailiwick status --data /srv/index\n  bailiwick status --index https://pkgs.example.com --json",
		Args:    NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var answer *server.StatusAnswer
			err := withOperator(cmd.Context(), env, &flags, false, func(o *operator) (err error) {
				if answer, err = o.status(cmd.Context()); err != nil {
					return err
				}
				if asJSON {
					return writeJSONTo(env.Stdout, answer)
				}
				o.printStatus(answer)
				return nil
			})
			if err != nil {
				return err
			}
			return statusCode(answer)
		},
	}
	flags.add(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func statusCode(a *server.StatusAnswer) error {
	switch a.State {
	case "healthy":
		return nil
	case "attention":
		return exit(exitAttention, nil)
	}
	return exit(exitFailing, nil)
}

func (o *operator) status(ctx context.Context) (*server.StatusAnswer, error) {
	var answer server.StatusAnswer
	err := o.api.get(ctx, operatorAPI+"/status", &answer)
	answer.Stopped = o.stopped
	return &answer, err
}

// printStatus writes one line for the index as a whole, one for every kind of role that somebody has to be told of, and
// one for all the rest.
func (o *operator) printStatus(a *server.StatusAnswer) {
	now := o.env.Now()
	line := fmt.Sprintf("publication %d, %s", a.Publication, ahead(a.Published.Sub(now)))
	if o.stopped {
		line += "; no server runs"
	} else {
		line += "; " + queueText(a.Waiting)
	}
	o.printf("%-10s %s\n", a.State, line)
	if a.Failure != "" {
		o.printf("%-10s the last publication failed: %s\n", "failing", shown(a.Failure))
	}
	if a.Signer != nil && !o.stopped {
		o.printSigner(a.Signer, now)
	}
	told := map[string]bool{}
	quiet := time.Time{}
	for i := range a.Duties {
		d := &a.Duties[i]
		if d.Outlook == "fine" || (d.Outlook == "due" && isAutomatic(d)) {
			if quiet.IsZero() || d.Opens.Before(quiet) {
				quiet = d.Opens
			}
			continue
		}
		told[d.Request] = true
		o.printDuty(d, now)
	}
	for i := range a.Requests {
		if r := &a.Requests[i]; !told[r.ID] {
			o.printf("%-10s %s %s is open: %s\n", "waits", shown(r.Kind), shown(r.ID), shown(r.Title))
			o.printWaiting(r)
		}
	}
	for i := range a.Recoveries {
		o.printf("%-10s recovery of %s: %s\n", "waits", shown(a.Recoveries[i].Project), shown(a.Recoveries[i].Next))
	}
	o.printRest(a, now)
}

// printSigner says whether the isolated signer is there, and what waits for it.
func (o *operator) printSigner(s *server.SignerAnswer, now time.Time) {
	ago := func(t time.Time) string {
		if d := t.Sub(now); d <= -time.Second {
			return ahead(d)
		}
		return "just now"
	}
	if s.Connected {
		line := "the signer is connected"
		if s.Answered != nil {
			line += ", and last answered " + ago(*s.Answered)
		}
		if s.Waiting > 0 {
			line += "; it has " + plural(s.Waiting, "change") + " before it"
		}
		o.printf("%-10s %s\n", "ok", line)
		return
	}
	line := "the signer is not connected"
	if s.Since != nil {
		line = "the signer went " + ago(*s.Since)
	}
	if s.Waiting > 0 {
		line += "; what waits for it: " + plural(s.Waiting, "change")
	}
	o.printf("%-10s %s: start bailiwick signer on its machine\n", "waits", line)
}

func queueText(n int) string {
	if n == 0 {
		return "queue empty"
	}
	return plural(n, "change") + " in the queue"
}

func isAutomatic(d *server.DutyAnswer) bool { return d.Who == "server" || d.Who == "signer" }

// printDuty writes what is the matter with a kind of role, by when, and whose turn it is.
func (o *operator) printDuty(d *server.DutyAnswer, now time.Time) {
	what := shown(d.First)
	n := d.Due
	if d.Expired > 0 {
		n = d.Expired
	} else if d.Late > 0 {
		n = d.Late
	}
	if n > 1 {
		what = fmt.Sprintf("%s and %d more", what, n-1)
	}
	o.printf("%-10s %-28s %-16s %s", d.Outlook, what, ahead(d.By.Sub(now)), d.Who)
	if d.Next != "" {
		o.printf(": %s", shown(d.Next))
	}
	o.printf("\n")
}

func (o *operator) printWaiting(r *server.OperatorRequestAnswer) {
	if r.Stale {
		o.printf("%-10s stale: %s\n", "", shown(r.Problem))
		return
	}
	for _, m := range r.Missing {
		o.printf("%-10s waiting for %s\n", "", missingText(&m))
	}
}

// printRest says of everything that was not told until when it is good.
func (o *operator) printRest(a *server.StatusAnswer, now time.Time) {
	var people, claimed int
	var next *server.DutyAnswer
	for i := range a.Duties {
		d := &a.Duties[i]
		if d.Who == "maintainers" && d.Kind == "project" {
			claimed += d.Roles
		}
		if isAutomatic(d) || d.Outlook != "fine" {
			continue
		}
		people++
		if next == nil || d.Opens.Before(next.Opens) {
			next = d
		}
	}
	parts := []string{}
	if next != nil {
		parts = append(parts, fmt.Sprintf("nobody else has to act before %s (%s, %s)", onDay(next.Opens), shown(next.First), ahead(next.Opens.Sub(now))))
	}
	if claimed > 0 {
		parts = append(parts, plural(claimed, "project")+" signed by maintainers")
	}
	parts = append(parts, fmt.Sprintf("record of %s", entries(a.Record.Length)))
	o.printf("%-10s %s\n", "ok", strings.Join(parts, "; "))
}

func entries(n int64) string {
	if n == 1 {
		return "1 entry"
	}
	return fmt.Sprintf("%d entries", n)
}
