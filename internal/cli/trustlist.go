package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"example.com/bailiwick/internal/keys"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/internal/verify"
)

// newTrustList shows what is trusted: the pins, and what follows from the one in use.
func newTrustList(env *Env) *cobra.Command {
	var asJSON, all bool
	cmd := &cobra.Command{
		Use:   "list [PATTERN…]",
		Short: "list the trusted indexes, and whose keys answer for which project",
		Long: "Prints the pinned indexes, and of the one in use the verified map from projects to keys: their assurance, since\n" +
			"when they are claimed, how many of which keys must sign, until when that is good, and to whom the maintainers\n" +
			"delegate further. It is the registry's list of trusted keys, signed, versioned and expiring. Keys are shown with\n" +
			"the fingerprint that ssh-keygen -l prints.\n\n" +
			"PATTERNs pick projects by name: * stands for any characters, ? for one. Unclaimed projects, whose only key is the\n" +
			"registry's, are counted and not listed, unless --all is given or a PATTERN is a whole name.\n\n" +
			"Exit codes: 3 the list of a project shown is broken, 4 the metadata is unusable, 5 unreachable.",
		Example: "  bailiwick trust list\n  bailiwick trust list 'corp-*' --json",
		RunE: func(cmd *cobra.Command, args []string) error {
			in := &installer{env: env}
			return in.trustList(cmd.Context(), args, asJSON, all)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	cmd.Flags().BoolVar(&all, "all", false, "also list unclaimed projects")
	return cmd
}

// trustedIndex is one pin, as trust list --json prints it.
type trustedIndex struct {
	URL   string `json:"url"`
	Root  string `json:"root"`
	InUse bool   `json:"in_use"`
}

// trustListing is the output of trust list --json; members are added to it, never renamed.
type trustListing struct {
	Configuration string         `json:"configuration"` // the file that names the indexes; "" if there is none
	Indexes       []trustedIndex `json:"indexes"`
	*verify.Keyholders
}

// trustList prints every trusted index of the configuration in force, then the map of the one in use.
func (in *installer) trustList(ctx context.Context, patterns []string, asJSON, all bool) error {
	selection, err := selectProjects(patterns, all)
	if err != nil {
		return err
	}
	listing := trustListing{Indexes: []trustedIndex{}}
	c, path, err := loadTrust(in.env)
	switch {
	case errors.Is(err, errNoTrust):
		message(in.env, "%v", err)
		if asJSON {
			return printJSON(in.env.Stdout, listing)
		}
		return nil
	case err != nil:
		return err
	}
	listing.Configuration = path
	active, notChosen := c.choose(in.env.Getenv("BAILIWICK_INDEX"))
	for _, index := range c.Indexes {
		listing.Indexes = append(listing.Indexes, trustedIndex{URL: redactURL(index.URL), Root: index.Root, InUse: notChosen == nil && index.URL == active.URL})
	}
	if !asJSON {
		in.printPins(&listing)
	}
	if notChosen != nil { // a fact to show, not an error here
		message(in.env, "%v", notChosen)
		if asJSON {
			return printJSON(in.env.Stdout, listing)
		}
		return nil
	}
	if listing.Keyholders, err = in.keyholders(ctx, selection); err != nil {
		return err
	}
	if asJSON {
		if err := printJSON(in.env.Stdout, listing); err != nil {
			return err
		}
	} else {
		in.printKeyholders(listing.Keyholders)
	}
	return worstKeyholder(listing.Projects)
}

// selectProjects reads the patterns: whole names are looked up, without reading every bin.
func selectProjects(patterns []string, all bool) (verify.Selection, error) {
	sel := verify.Selection{Unclaimed: all}
	var globs []string
	for _, text := range patterns {
		if !strings.ContainsAny(text, "*?") {
			p, err := pypi.ParseProject(text)
			if err != nil {
				return sel, exit(exitUsage, err)
			}
			sel.Names, sel.Unclaimed = append(sel.Names, p), true
			continue
		}
		pattern, err := projectPattern(text)
		if err != nil {
			return sel, exit(exitUsage, err)
		}
		globs = append(globs, pattern)
	}
	if len(globs) > 0 {
		sel.Match = func(p pypi.Project) bool {
			return slices.Contains(sel.Names, p) || slices.ContainsFunc(globs, func(g string) bool { return matchProject(g, p.String()) })
		}
	}
	return sel, nil
}

// keyholders asks the index in use. Trouble with it as a whole is told, and an error with its code.
func (in *installer) keyholders(ctx context.Context, sel verify.Selection) (*verify.Keyholders, error) {
	p, err := in.pin(ctx)
	if err != nil {
		return nil, err
	}
	o, err := in.open(p, engineOptions{noCache: true, passive: true})
	if err != nil {
		return nil, err
	}
	defer o.Close()
	k, err := o.Keyholders(ctx, sel)
	var problem *verify.Error
	if errors.As(err, &problem) {
		report(in.env, problem)
		return nil, exit(classCode(problem.Class), nil)
	}
	if err != nil {
		return nil, err
	}
	for i := range k.Projects {
		addFingerprints(k.Projects[i].Keys)
		for j := range k.Projects[i].Delegations {
			addFingerprints(k.Projects[i].Delegations[j].Keys)
		}
	}
	return k, nil
}

// addFingerprints adds to keys what their holders know them by.
func addFingerprints(list []verify.Key) {
	for i, k := range list {
		if k.Public != nil {
			list[i].SSH = keys.SSHFingerprint(k.Public)
		}
	}
}

func (in *installer) printPins(l *trustListing) {
	for _, index := range l.Indexes {
		mark := " "
		if index.InUse {
			mark = "*"
		}
		fmt.Fprintf(in.env.Stdout, "%s %s  %s\n", mark, index.URL, index.Root)
	}
	message(in.env, "from %s; * is the one in use", l.Configuration)
}

func (in *installer) printKeyholders(k *verify.Keyholders) {
	out := in.env.Stdout
	for i := range k.Projects {
		printKeyholder(out, &k.Projects[i])
	}
	var counts []string
	total := 0
	for _, a := range []policy.Assurance{policy.Claimed, policy.ClaimedParked, policy.RecentlyClaimed, policy.Unclaimed} {
		if n := k.Counts[a.String()]; n > 0 {
			counts = append(counts, fmt.Sprintf("%d %s", n, a))
			total += n
		}
	}
	if total == 0 {
		fmt.Fprintf(out, "\nno project matches (snapshot %d)\n", k.Current.Snapshot)
		return
	}
	fmt.Fprintf(out, "\n%s: %s (snapshot %d, good for another %s)\n", plural(total, "project"), strings.Join(counts, ", "), k.Current.Snapshot,
		verify.Duration(earlier(k.Current.SnapshotExpires, k.Current.TimestampExpires).Sub(in.env.Now())))
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func printKeyholder(out io.Writer, k *verify.Keyholder) {
	since := ""
	switch {
	case !k.Parked.IsZero():
		since = " since " + k.Parked.Format(time.DateOnly)
	case !k.Since.IsZero():
		since = " since " + k.Since.Format(time.DateOnly)
	}
	if !k.Recovered.IsZero() {
		since += ", recovered by the operators on " + k.Recovered.Format(time.DateOnly)
	}
	until := ""
	if k.Version > 0 {
		until = fmt.Sprintf("   v%d until %s", k.Version, k.Expires.Format(time.DateOnly))
	}
	fmt.Fprintf(out, "\n%s   %s%s   %d of %d   by %s%s\n", k.Project, k.Assurance, since, k.Threshold, len(k.Keys), k.Delegator, until)
	printHolders(out, "  ", k.Keys)
	for _, sub := range k.Delegations {
		until := ""
		if sub.Version > 0 {
			until = fmt.Sprintf("   v%d until %s", sub.Version, sub.Expires.Format(time.DateOnly))
		}
		fmt.Fprintf(out, "  └ %s   for %s   %d of %d%s\n", shown(string(sub.Role)), shown(strings.Join(sub.Paths, " ")), sub.Threshold, len(sub.Keys), until)
		printHolders(out, "    ", sub.Keys)
		printBroken(out, "    ", sub.Problem)
	}
	printBroken(out, "  ", k.Problem)
}

func printHolders(out io.Writer, indent string, list []verify.Key) {
	for _, k := range list {
		kind := k.Type
		if kind == "" {
			kind = "of a kind that this program cannot use"
		}
		fmt.Fprintln(out, strings.TrimRight(fmt.Sprintf("%s%.12s   %-10s %s", indent, k.ID, kind, k.SSH), " "))
	}
}

func printBroken(out io.Writer, indent string, e *verify.Error) {
	if e != nil {
		fmt.Fprintf(out, "%sCANNOT BE USED: %s\n", indent, e.Cause)
	}
}

// worstKeyholder is the exit code for lists that can not be used: refused before unusable before
// unreachable.
func worstKeyholder(projects []verify.Keyholder) error {
	worst := 0
	count := func(e *verify.Error) {
		if e == nil {
			return
		}
		if code := classCode(e.Class); worst == 0 || code < worst {
			worst = code
		}
	}
	for _, k := range projects {
		count(k.Problem)
		for _, sub := range k.Delegations {
			count(sub.Problem)
		}
	}
	if worst == 0 {
		return nil
	}
	return exit(worst, nil)
}
