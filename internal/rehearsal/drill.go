package rehearsal

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"example.com/bailiwick/internal/cli"
	"example.com/bailiwick/internal/verify"
	"example.com/bailiwick/tuf/trust"
)

// drillBins is how many bins a repository of a rehearsal has.
const drillBins = 16

// newDrill rehearses what to do when keys are stolen.
func newDrill(env *cli.Env) *cobra.Command {
	var all, list, asJSON, keep bool
	cmd := &cobra.Command{
		Use:   "drill [ROW…] [--all | --list]",
		Short: "steal keys from a throw-away repository, attack its users, and recover",
		Long: "Rehearse a row of the compromise table (docs/security.md) in a temporary folder: a repository with a claimed, a\n" +
			"recently claimed and an unclaimed project is set up, keys are stolen, and the thief tries everything that these keys\n" +
			"allow, with the whole server in his hands. Two users look on, one who was there before, one who is new. Then the\n" +
			"playbook is carried out with the commands that an operator types, and everybody who saw an attack has to get on\n" +
			"without doing anything, from the first root that they pinned.\n\n" +
			"Everything stays on loopback and in that folder, which is removed. Exit code 0 only if users got what the table says,\n" +
			"line by line, and recovered.",
		Example: "  bailiwick drill --list\n  bailiwick drill server\n  bailiwick drill --all --json",
		RunE: func(cmd *cobra.Command, args []string) error {
			rows, err := chooseRows(args, all)
			switch {
			case err != nil:
				return err
			case list:
				return listRows(env, asJSON)
			case len(rows) == 0:
				return cli.UsageError(errors.New("name a row, or --all; bailiwick drill --list shows them"))
			}
			return runDrill(cmd.Context(), env, rows, asJSON, keep)
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&all, "all", false, "every row")
	flags.BoolVar(&list, "list", false, "list the rows")
	flags.BoolVar(&asJSON, "json", false, "print JSON in place of a story")
	flags.BoolVar(&keep, "keep", false, "keep the temporary folder, to look around in it")
	return cmd
}

// drillRow is a row of the compromise table.
type drillRow struct {
	Name   string   `json:"row"`
	Stolen []string `json:"stolen"`
	Title  string   `json:"title"`
	People string   `json:"people"` // who is needed to recover
	play   func(d *drill, ctx context.Context) error
	// leaves is what the thief does to the index itself, if he can.
	leaves func(d *drill, ctx context.Context) error
	strict bool // custody strict
	// lost: users who followed the thief have to be told of another root.
	lost bool
}

func chooseRows(names []string, all bool) ([]drillRow, error) {
	if all && len(names) > 0 {
		return nil, cli.UsageError(errors.New("name rows, or --all"))
	}
	if all {
		return drillRows(), nil
	}
	var chosen []drillRow
	for _, name := range names {
		at := slices.IndexFunc(drillRows(), func(r drillRow) bool { return r.Name == name })
		if at < 0 {
			return nil, cli.UsageError(fmt.Errorf("there is no row %q; bailiwick drill --list shows them", name))
		}
		chosen = append(chosen, drillRows()[at])
	}
	return chosen, nil
}

func listRows(env *cli.Env, asJSON bool) error {
	if asJSON {
		return writeJSON(env.Stdout, drillRows())
	}
	for _, r := range drillRows() {
		_, _ = fmt.Fprintf(env.Stdout, "%-30s %s\n", r.Name, r.Title)
	}
	return nil
}

// drillReport is how a row went.
type drillReport struct {
	drillRow
	OK       bool     `json:"ok"`
	Problem  string   `json:"problem,omitempty"`
	Held     int      `json:"checks_held"`
	Recovery float64  `json:"recovery_seconds"` // of machine time, from the first command of the playbook to the last user
	Commands []string `json:"commands"`         // of the playbook
	Facts    []fact   `json:"facts"`
}

func runDrill(ctx context.Context, env *cli.Env, rows []drillRow, asJSON, keep bool) (err error) {
	dir, err := os.MkdirTemp("", "bailiwick-drill-")
	if err != nil {
		return fmt.Errorf("making a temporary folder: %w", err)
	}
	worlds := map[bool]*drill{
		false: newDrillWorld(env, filepath.Join(dir, "setup"), asJSON),
		true:  newDrillWorld(env, filepath.Join(dir, "strict"), asJSON),
	}
	d := worlds[false]
	worlds[true].isolate()
	back, err := enter(dir)
	if err != nil {
		return err
	}
	defer func() {
		for _, d := range worlds {
			if d.stopServer != nil {
				err = errors.Join(err, d.stopServer())
			}
		}
		err = errors.Join(err, back())
		if keep {
			d.say("kept %s", dir)
		} else {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	d.say("Everything happens in %s and on loopback.", dir)
	reports := make([]drillReport, 0, len(rows))
	var failed []string
	for i := range rows {
		d := worlds[rows[i].strict]
		if err := d.prepare(ctx); err != nil {
			return fmt.Errorf("setting up the repository: %w", err)
		}
		report := d.row(ctx, filepath.Join(dir, fmt.Sprintf("row-%d", i+1)), rows[i])
		reports = append(reports, report)
		if !report.OK {
			failed = append(failed, report.Name)
		}
	}
	return errors.Join(d.sumUp(env, reports, asJSON), failedRows(failed))
}

func failedRows(failed []string) error {
	if len(failed) == 0 {
		return nil
	}
	return fmt.Errorf("did not hold: %s", strings.Join(failed, ", "))
}

// sumUp says how the rows went.
func (d *drill) sumUp(env *cli.Env, reports []drillReport, asJSON bool) error {
	if asJSON {
		return writeJSON(env.Stdout, map[string]any{"rows": reports})
	}
	d.title("row                             checks   recovery   who is needed")
	for _, r := range reports {
		mark := fmt.Sprintf("%4.1f s", r.Recovery)
		if !r.OK {
			mark = "FAILED"
		}
		d.say("%-30s %5d   %8s   %s", r.Name, r.Held, mark, r.People)
	}
	d.say("The times are those of the machine; how long it takes people to come together is for you to find out.")
	return nil
}

func newDrillWorld(env *cli.Env, dir string, quiet bool) *drill {
	out := env.Stdout
	if quiet {
		out = io.Discard
	}
	d := &drill{
		rehearsal: &rehearsal{demo: &demo{out: out, listen: "127.0.0.1:0", dir: dir, terse: true}},
		honest:    map[[sha256.Size]byte]string{}, newest: map[string]string{},
	}
	here := env.WithWorkFactor(workFactor)
	here.Now = func() time.Time {
		d.clock.Lock()
		defer d.clock.Unlock()
		return env.Now().Add(d.later)
	}
	d.env = here
	return d
}

// isolate has the repository's keys in custody strict: the server holds that of the timestamp alone.
func (d *drill) isolate() {
	d.again = []string{"--signer-keys", "signer-keys"}
	d.flags = append([]string{"--custody", "strict"}, d.again...)
	d.beside = func(ctx context.Context) func() error {
		ctx, cancel := context.WithCancel(ctx)
		d.user = "signer"
		env := d.userEnv()
		var said transcript
		read, write := io.Pipe()
		env.Stdout, env.Stderr = write, &said
		done := make(chan int, 1)
		args := []string{"signer", "--index", d.url, "--keys", filepath.Join(d.dir, "signer-keys"), "--data", filepath.Join(d.dir, "signer-state")}
		go func() {
			done <- cli.Main(ctx, args, env)
			_ = write.Close()
		}()
		_, _ = read.Read(make([]byte, 1)) // it says that it is connected, or has ended
		go func() { _, _ = io.Copy(io.Discard, read) }()
		return func() error {
			cancel()
			if code := <-done; code != 0 {
				return fmt.Errorf("the signer ended with %d: %s", code, said.String())
			}
			return nil
		}
	}
}

// prepare sets the repository up without a word, once.
func (d *drill) prepare(ctx context.Context) error {
	if d.base != "" {
		return nil
	}
	if err := os.MkdirAll(d.dir, 0o700); err != nil {
		return fmt.Errorf("making a folder: %w", err)
	}
	if err := os.Chdir(d.dir); err != nil {
		return fmt.Errorf("entering it: %w", err)
	}
	out := d.out
	d.out = io.Discard
	defer func() { d.out = out }()
	if err := d.set(ctx); err != nil {
		return err
	}
	d.base, d.out = d.dir, out
	d.say("A repository with a root of alice, bob and carol, two of whom sign; %s is claimed by two maintainers, %s recently", drillClaimed, drillRecent)
	d.say("claimed by one, %s unclaimed. A backup was made. A user has seen everything, a newcomer only has the first root.", drillUnclaimed)
	return nil
}

// row rehearses one row on a copy.
func (d *drill) row(ctx context.Context, dir string, r drillRow) drillReport {
	report := drillReport{drillRow: r}
	d.title(fmt.Sprintf("%s: %s", r.Name, r.Title))
	honest, newest := maps.Clone(d.honest), maps.Clone(d.newest)
	d.dir, d.steals, d.homes, d.facts, d.held, d.typed, d.moved = dir, r.Stolen, nil, nil, 0, nil, false
	took, err := d.live(ctx, &r)
	if d.stopServer != nil {
		err = errors.Join(err, d.stopServer())
	}
	d.honest, d.newest = honest, newest
	report.OK, report.Held, report.Facts, report.Commands, report.Recovery = err == nil, d.held, d.facts, d.typed, took.Seconds()
	if err != nil {
		report.Problem = err.Error()
		d.say("DID NOT HOLD: %v", err)
	}
	return report
}

// live is a row: theft, attacks, playbook, recovery.
func (d *drill) live(ctx context.Context, r *drillRow) (took time.Duration, err error) {
	if err := copyFolder(d.base, d.dir); err != nil {
		return 0, err
	}
	if err := os.Chdir(d.dir); err != nil {
		return 0, fmt.Errorf("entering a folder: %w", err)
	}
	if err := d.loot(); err != nil {
		return 0, err
	}
	if err := d.serve(ctx); err != nil {
		return 0, err
	}
	d.say("stolen: %s; and all that users are served is what the thief likes", strings.Join(r.Stolen, ", "))
	for _, a := range attacks() {
		if a.needs != nil && !a.needs(d.steals) {
			continue
		}
		if err := d.play(ctx, &a); err != nil {
			return 0, err
		}
	}
	if d.steals.has("timestamp") {
		if err := d.poisoned(ctx); err != nil {
			return 0, err
		}
	}
	if r.leaves != nil {
		if err := r.leaves(d, ctx); err != nil {
			return 0, err
		}
	}
	d.say("")
	d.say("the playbook; it takes %s", r.People)
	d.typed = nil
	started := d.env.Now()
	if err := r.play(d, ctx); err != nil {
		return 0, fmt.Errorf("the playbook: %w", err)
	}
	if err := d.recovered(ctx, r); err != nil {
		return 0, err
	}
	return d.env.Now().Sub(started), nil
}

// poisoned wants the honest index to be of no use to those who have seen the highest version: only new keys help them.
func (d *drill) poisoned(ctx context.Context) error {
	for _, home := range []string{"user-fast-forward", "newcomer-fast-forward"} {
		got, err := d.look(ctx, home, drillClaimed)
		if err != nil {
			return err
		}
		if got.outcome != refusal(trust.Rollback) {
			return fmt.Errorf("back at the honest index %s gets of %s: %s, expected a rollback", home, drillClaimed, got)
		}
		d.facts = append(d.facts, fact{Step: "fast-forward", Who: home, Project: drillClaimed, Outcome: got.outcome, Text: got.problem.Phrase()})
		d.held++
	}
	d.say("    both, back at the honest index: refused, it is older than what they have seen")
	return nil
}

// insists is a user to whom the thief showed a project as claimed that is not: the client remembers the better word, and
// takes the lower one when it is told to.
func (d *drill) insists(ctx context.Context, home, name string, refused sight) (sight, error) {
	d.tell("recovered", home, []string{name}, []sight{refused})
	d.say("    %-9s %-22s goes on with %s %s", home, name, verify.Override, name)
	d.held++
	return d.lookAt(ctx, home, name, true)
}

// recovered has everybody get on: who was there before the theft, who saw an attack, who comes now.
func (d *drill) recovered(ctx context.Context, r *drillRow) error {
	typed := d.typed
	defer func() { d.typed = typed }()
	out := d.out
	d.out = io.Discard
	err := d.release(ctx, "1.2")
	d.out = out
	if err != nil {
		return fmt.Errorf("the next releases: %w", err)
	}
	if err := copyFolder(filepath.Join(d.dir, "newcomer"), filepath.Join(d.dir, "later-newcomer")); err != nil {
		return err
	}
	homes := append([]string{"user", "later-newcomer"}, d.homes...)
	for _, home := range homes {
		if r.lost {
			if home != homes[0] { // the same again
				d.out = io.Discard
			}
			d.typed = nil
			err := d.newPin(ctx, home)
			d.out = out
			if err != nil {
				return err
			}
			if home == homes[0] {
				typed = append(typed, d.typed...)
			}
		}
		for _, project := range drillProjects() {
			got, err := d.look(ctx, home, project)
			if err != nil {
				return err
			}
			d.facts = append(d.facts, fact{Step: "recovered", Who: home, Project: project, Outcome: got.outcome})
			if got.outcome == refusal(verify.CodeLowered) && strings.HasSuffix(home, "-forge") && d.steals.raises() {
				if got, err = d.insists(ctx, home, project, got); err != nil {
					return err
				}
			}
			if got.outcome != "newest" || got.version != d.newest[project] {
				return fmt.Errorf("after the playbook %s gets of %s: %s, expected %s", home, project, got, d.newest[project])
			}
			d.held++
		}
	}
	d.say("recovered: a new release of each project reaches all %d users, those who saw the attacks among them", len(homes))
	return nil
}
