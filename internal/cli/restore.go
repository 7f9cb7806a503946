package cli

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"example.com/bailiwick/internal/files"
	"example.com/bailiwick/internal/index"
	"example.com/bailiwick/internal/ledger"
	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/internal/record"
	"example.com/bailiwick/tuf"
)

// restoreSpec is what the flags of restore say.
type restoreSpec struct {
	data, from string
	except     []string
	yes        bool
	asJSON     bool
}

// newRestore brings unclaimed projects back to what a backup says.
func newRestore(env *Env) *cobra.Command {
	var spec restoreSpec
	cmd := &cobra.Command{
		Use:   "restore --from BACKUP",
		Short: "after a break-in: bring unclaimed projects back to what a backup says",
		Long: "Bring every project that no offline key vouches for back to what it was in a backup of the data folder, after the\n" +
			"server and its registry key were in other hands. The server has to be stopped, and its keys changed already\n" +
			"(bailiwick rotate timestamp snapshot registry).\n\n" +
			"Claimed projects stay as they are: their maintainers sign them, and the thief could not. The files of unclaimed\n" +
			"ones become those of the backup, in new versions, so that all users follow. Files that were uploaded since are taken\n" +
			"off, as nobody can tell whose they are; name projects that you have checked with --except. A recently claimed project\n" +
			"that has the same keys as in the backup stays. One that was claimed since, or has other keys, is cleared: the record\n" +
			"says so, and its owners claim it again.\n\n" +
			"Without --yes it only says what it would do.",
		Example: "  bailiwick restore --data /srv/index --from /backup/index\n  bailiwick restore --data /srv/index --from /backup/index --except cleat --yes",
		Args:    NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if spec.from == "" {
				return usagef("--from is missing: name the data folder of the last good backup")
			}
			return spec.run(cmd.Context(), env)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&spec.data, "data", defaultData, "data `folder` of the server, which is stopped")
	flags.StringVar(&spec.from, "from", "", "data `folder` of the last good backup; it is only read")
	flags.StringArrayVar(&spec.except, "except", nil, "leave this `project` as it is; may be repeated")
	flags.BoolVar(&spec.yes, "yes", false, "do it")
	flags.BoolVar(&spec.asJSON, "json", false, "print JSON")
	return cmd
}

// restored is a project that differs from the backup.
type restored struct {
	Project string   `json:"project"`
	Added   []string `json:"added,omitempty"`   // files that come back
	Removed []string `json:"removed,omitempty"` // files that go
	Changed []string `json:"changed,omitempty"` // files of which something else was said
	Cleared bool     `json:"cleared,omitempty"` // its owners claim it again
	Why     string   `json:"why"`

	change publish.Restore
}

// restoreAnswer is what restore says.
type restoreAnswer struct {
	Backup      int64      `json:"backup_publication"`
	Done        bool       `json:"done"`
	Projects    []restored `json:"projects"`
	Same        int        `json:"same"`
	Excepted    []string   `json:"excepted,omitempty"`
	Publication int64      `json:"publication,omitempty"`
	Files       int        `json:"files_from_backup,omitempty"`
}

func (spec *restoreSpec) run(ctx context.Context, env *Env) (err error) {
	except := map[string]bool{}
	for _, text := range spec.except {
		p, err := pypi.ParseProject(text)
		if err != nil {
			return exit(exitUsage, fmt.Errorf("--except: %w", err))
		}
		except[p.String()] = true
	}
	backup, then, err := openBackup(ctx, spec.from)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, backup.Close()) }()
	s, err := openServer(ctx, serverSpec{data: spec.data, now: env.Now, log: quietLog(env)})
	if err != nil {
		return explainFolder(spec.data, err)
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	answer, err := compareBackup(ctx, then, s.publisher.Current(), except)
	if err != nil {
		return err
	}
	if spec.yes {
		if err := answer.carryOut(ctx, s, spec.from, spec.data); err != nil {
			return err
		}
	}
	if spec.asJSON {
		return writeJSONTo(env.Stdout, answer)
	}
	answer.print(env)
	return nil
}

// openBackup reads the repository of a data folder that is only looked at.
func openBackup(ctx context.Context, folder string) (*ledger.SQLite, *publish.View, error) {
	if err := requireRepository(ctx, folder); err != nil {
		return nil, nil, fmt.Errorf("the backup: %w", err)
	}
	l, err := ledger.OpenSQLite(ctx, filepath.Join(folder, ledgerFile))
	if err != nil {
		return nil, nil, fmt.Errorf("opening the backup: %w", err)
	}
	v, err := publish.Look(ctx, l)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("reading the backup: %w", err), l.Close())
	}
	return l, v, nil
}

// compareBackup finds the projects that are not what they were.
func compareBackup(ctx context.Context, then, now *publish.View, except map[string]bool) (*restoreAnswer, error) {
	if then.Repository() != now.Repository() {
		return nil, exit(exitRefused, fmt.Errorf("the backup is of another repository, with the first root sha256:%x; this one has sha256:%x", then.Repository(), now.Repository()))
	}
	if then.Number() > now.Number() {
		return nil, exit(exitRefused, fmt.Errorf("the backup has publication %d, and the newest here is %d: this is no backup of what is here", then.Number(), now.Number()))
	}
	answer := &restoreAnswer{Backup: then.Number(), Projects: []restored{}}
	seen := map[pypi.Project]bool{}
	for _, v := range []*publish.View{then, now} {
		projects, err := v.Unclaimed(ctx)
		if err != nil {
			return nil, fmt.Errorf("listing the unclaimed projects: %w", err)
		}
		for _, p := range projects {
			if seen[p] {
				continue
			}
			seen[p] = true
			r, err := compareProject(ctx, then, now, p)
			switch {
			case err != nil:
				return nil, err
			case r == nil:
				answer.Same++
			case except[p.String()]:
				answer.Excepted = append(answer.Excepted, p.String())
			default:
				answer.Projects = append(answer.Projects, *r)
			}
		}
	}
	slices.SortFunc(answer.Projects, func(a, b restored) int { return strings.Compare(a.Project, b.Project) })
	return answer, nil
}

// compareProject says what has to be done about a project; nil: nothing.
func compareProject(ctx context.Context, then, now *publish.View, p pypi.Project) (*restored, error) {
	old, err := then.Listed(ctx, p)
	if err != nil {
		return nil, fmt.Errorf("reading the backup: %w", err)
	}
	current, err := now.Listed(ctx, p)
	if err != nil {
		return nil, fmt.Errorf("reading what there is: %w", err)
	}
	if old == nil || current == nil { // offline keys vouch for it
		return nil, nil //nolint:nilnil // documented
	}
	if old.Problem != nil {
		return nil, fmt.Errorf("the backup does not verify: project %s: %w", p, old.Problem)
	}
	r := &restored{Project: p.String(), change: publish.Restore{Project: p, Targets: old.Targets}}
	r.files(old.Targets, current.Targets)
	changed := len(r.Added)+len(r.Removed)+len(r.Changed) > 0
	claimedThen, claimedNow := old.Keys.Threshold > 0, current.Keys.Threshold > 0
	switch same := sameHolders(old.Keys, current.Keys); {
	case claimedNow && same && current.Problem == nil:
		return nil, nil //nolint:nilnil // its maintainers sign it, as they did
	case claimedThen || claimedNow:
		r.Cleared, r.Why = true, "claimed since"
		r.change.Cleared = current.Keys
		if claimedThen {
			r.Why, r.change.Cleared = "it has other keys than in the backup", old.Keys
		}
		r.change.Text = "restored from a backup after a break-in: " + r.Why
	case current.Problem != nil:
		r.Why = "its list can not be read"
	case old.Version == 0:
		if len(current.Targets) == 0 {
			return nil, nil //nolint:nilnil // there is nothing to take off
		}
		r.Why = "it is not in the backup"
	case current.Version == 0:
		r.Why = "it is gone"
	case changed:
		r.Why = "other files"
	default:
		return nil, nil //nolint:nilnil // as it was
	}
	return r, nil
}

func sameHolders(a, b record.Keys) bool {
	return a.Threshold == b.Threshold && slices.Equal(slices.Sorted(slices.Values(a.IDs)), slices.Sorted(slices.Values(b.IDs)))
}

// files compares two lists.
func (r *restored) files(old, current []tuf.Target) {
	was := map[tuf.TargetPath]tuf.Target{}
	for _, t := range old {
		was[t.Path] = t
	}
	for _, t := range current {
		before, ok := was[t.Path]
		delete(was, t.Path)
		switch {
		case !ok:
			r.Removed = append(r.Removed, filepath.Base(string(t.Path)))
		case !sameTarget(before, t):
			r.Changed = append(r.Changed, filepath.Base(string(t.Path)))
		}
	}
	for path := range was {
		r.Added = append(r.Added, filepath.Base(string(path)))
	}
	slices.Sort(r.Added)
}

func sameTarget(a, b tuf.Target) bool {
	x, okA := a.Hashes.SHA256()
	y, okB := b.Hashes.SHA256()
	return okA && okB && x == y && a.Length == b.Length && string(a.Custom) == string(b.Custom)
}

// carryOut publishes what was found, after the files are there.
func (a *restoreAnswer) carryOut(ctx context.Context, s *openedServer, from, data string) error {
	if err := a.bringFiles(ctx, from, data); err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan error, 1)
	go func() { done <- s.publisher.Run(ctx) }()
	var err error
	for i := range a.Projects {
		var receipt publish.Receipt
		if receipt, err = s.publisher.Publish(ctx, a.Projects[i].change); err != nil {
			err = fmt.Errorf("restoring %s, after %d of %d projects: %w; what is done is published, so run it again", a.Projects[i].Project, i, len(a.Projects), err)
			break
		}
		a.Publication = receipt.Publication
	}
	stop()
	a.Done = err == nil
	return errors.Join(err, <-done)
}

// bringFiles takes out of the backup what the store has lost.
func (a *restoreAnswer) bringFiles(ctx context.Context, from, data string) (err error) {
	if len(a.Projects) == 0 {
		return nil
	}
	here, err := files.Open(data)
	if err != nil {
		return fmt.Errorf("opening the file store: %w", err)
	}
	defer func() { err = errors.Join(err, here.Close()) }()
	there, err := files.Open(from)
	if err != nil {
		return fmt.Errorf("opening the files of the backup: %w", err)
	}
	defer func() { err = errors.Join(err, there.Close()) }()
	for i := range a.Projects {
		for _, t := range a.Projects[i].change.Targets {
			sum, ok := t.Hashes.SHA256()
			if !ok {
				return fmt.Errorf("the backup lists %s without a SHA-256", t.Path)
			}
			brought, err := bringFile(ctx, here, there, sum)
			if err != nil {
				return fmt.Errorf("bringing %s back: %w", t.Path, err)
			}
			if brought {
				a.Files++
			}
		}
	}
	return nil
}

// bringFile copies a file that is missing here. One that is damaged stays; users refuse it.
func bringFile(ctx context.Context, here, there *files.Folder, sum [sha256.Size]byte) (bool, error) {
	blob, err := here.Open(ctx, sum)
	if err == nil {
		return false, blob.Close() //nolint:wrapcheck // named by the caller
	}
	if !errors.Is(err, index.ErrNoBlob) {
		return false, err //nolint:wrapcheck // named by the caller
	}
	if blob, err = there.Open(ctx, sum); err != nil {
		return false, err //nolint:wrapcheck // named by the caller
	}
	defer func() { _ = blob.Close() }() // only read
	staged, err := here.Stage(ctx)
	if err != nil {
		return false, err //nolint:wrapcheck // named by the caller
	}
	defer func() { _ = staged.Discard() }() // nothing is left of it after Keep
	h := sha256.New()
	if _, err := io.Copy(io.MultiWriter(staged, h), blob); err != nil {
		return false, err //nolint:wrapcheck // named by the caller
	}
	if [sha256.Size]byte(h.Sum(nil)) != sum {
		return false, errors.New("the backup has other bytes than were signed")
	}
	return true, staged.Keep(ctx, sum) //nolint:wrapcheck // named by the caller
}

// print tells it to a person.
func (a *restoreAnswer) print(env *Env) {
	p := func(format string, args ...any) { _, _ = fmt.Fprintf(env.Stdout, format, args...) }
	p("backup     publication %d; unchanged since: %s that no offline key vouches for\n", a.Backup, plural(a.Same, "project"))
	cleared := 0
	for _, r := range a.Projects {
		p("%-10s %s: %s\n", map[bool]string{true: "clear", false: "restore"}[r.Cleared], shown(r.Project), r.Why)
		for _, line := range []struct {
			mark  string
			names []string
		}{{"+", r.Added}, {"-", r.Removed}, {"~", r.Changed}} {
			for _, name := range line.names {
				p("           %s %s\n", line.mark, shown(name))
			}
		}
		if r.Cleared {
			cleared++
		}
	}
	for _, name := range a.Excepted {
		p("leave      %s\n", shown(name))
	}
	switch {
	case len(a.Projects) == 0:
		p("\nnothing to do\n")
	case !a.Done:
		p("\nnothing was changed; --yes does it\n")
	default:
		p("\nrestored: %s (publication %d), %s taken from the backup\n", plural(len(a.Projects), "project"), a.Publication, plural(a.Files, "file"))
		if cleared > 0 {
			p("  next   tell the owners of the cleared ones: bailiwick claim PROJECT --key URI\n")
		}
	}
}
