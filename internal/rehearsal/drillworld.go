package rehearsal

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"example.com/bailiwick/internal/cli"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/internal/pypi/distmake"
	"example.com/bailiwick/internal/verify"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/client"
)

// The projects of a drill, in three bins.
const (
	drillClaimed   = "anchor" // by two maintainers, both of whom sign; a sitting has promoted it
	drillRecent    = "fender" // claimed, and not yet promoted
	drillUnclaimed = "cleat"
)

func drillProjects() []string { return []string{drillClaimed, drillRecent, drillUnclaimed} }

// drill is a repository that things are done to, with the people around it: alice, bob and carol hold its root, ops
// runs it, maya and noor maintain projects, and users install.
type drill struct {
	*rehearsal

	base   string                       // the folder in which the repository was set up, which every row copies
	before int64                        // publication after which the newest releases came
	claim  int64                        // publication before the sitting that promoted anchor
	honest map[[sha256.Size]byte]string // version of every file that its maintainers made
	newest map[string]string            // version by project
	homes  []string                     // of users who saw an attack
	steals theft                        // of the row
	moved  bool                         // dave holds a key of root, and alice and bob do not any more
	facts  []fact                       // of the row
}

// fact is one line of a report.
type fact struct {
	Step    string `json:"step"`
	Who     string `json:"who"`
	Project string `json:"project"`
	Outcome string `json:"outcome"`
	Text    string `json:"text,omitempty"`
}

// sight is what a user gets of a project: the newest file that is listed, or a refusal.
type sight struct {
	outcome string // newest, older, forged, absent, or "refused: " and a code
	version string
	problem *verify.Error
}

// set makes the repository that the rows copy.
func (d *drill) set(ctx context.Context) error {
	for _, step := range []func(context.Context) error{d.invite, d.found, d.serve, d.populate, d.promote, d.releases, d.watch} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	if err := d.stopServer(); err != nil {
		return err
	}
	return copyFolder(filepath.Join(d.dir, "data"), filepath.Join(d.dir, "backup"))
}

// makes remembers what honest people made.
func (d *drill) makes(project, version string) {
	d.honest[sha256.Sum256(distmake.Wheel(project, version, distmake.Options{Summary: "A package made for the demo"}).Data)] = version
	d.newest[project] = version
}

// populate has the projects appear, and two of them claimed.
func (d *drill) populate(ctx context.Context) error {
	for _, project := range drillProjects() {
		if err := d.uploadOf(ctx, project, "1.0"); err != nil {
			return err
		}
		d.makes(project, "1.0")
	}
	for _, name := range []string{"maya", "noor", "safe", "fresh"} {
		if err := d.newKey(ctx, "maya", name); err != nil {
			return err
		}
	}
	d.user = "maya"
	if _, err := d.types(ctx, "maya", "trust", "add", d.url, "--root", "sha256:"+d.root); err != nil {
		return err
	}
	token := fmt.Sprintf("%q = %q\n", d.url, d.token)
	if err := os.WriteFile(filepath.Join(d.home(), "config", "bailiwick", "tokens.toml"), []byte(token), 0o600); err != nil {
		return fmt.Errorf("writing a token: %w", err)
	}
	if err := d.maintains(ctx, "claim", drillClaimed, "--key", "maya/maya.key", "--key", "maya/noor.key", "--threshold", "2", "--recovery-key", "maya/safe.key"); err != nil {
		return err
	}
	return d.maintains(ctx, "claim", drillRecent, "--key", "maya/maya.key")
}

// maintains is a command of the maintainers.
func (d *drill) maintains(ctx context.Context, args ...string) error {
	d.user = "maya"
	_, err := d.types(ctx, "maya", append(args, "--passphrase-file", "passphrase", "--yes")...)
	return err
}

// promote holds the first sitting.
func (d *drill) promote(ctx context.Context) error {
	var err error
	if d.claim, err = d.head(ctx); err != nil {
		return err
	}
	d.user = "ops"
	return d.sits(ctx, "first", "--only", drillClaimed, "--min-age", "0d")
}

// sits plans, signs and imports a sitting.
func (d *drill) sits(ctx context.Context, name string, flags ...string) error {
	file := name + "-sitting.request"
	if _, err := d.types(ctx, "ops", append([]string{"sitting", "plan", "--data", "data", "--out", file}, flags...)...); err != nil {
		return err
	}
	return d.publishes(ctx, file, d.holder("claimed"))
}

// holder is ops with the key of a role: the one that it has now.
func (d *drill) holder(role string) []string {
	next := filepath.Join("ops", "next-"+role+".key")
	if _, err := os.Stat(filepath.Join(d.dir, next)); err == nil {
		return []string{"ops", next}
	}
	return []string{"ops", filepath.Join("ops", "keys", role+".key")}
}

// releases has everybody release once more.
func (d *drill) releases(ctx context.Context) error {
	var err error
	if d.before, err = d.head(ctx); err != nil {
		return err
	}
	return d.release(ctx, "1.1")
}

// release brings a new version of each project.
func (d *drill) release(ctx context.Context, version string) error {
	for _, project := range drillProjects() {
		if err := d.releaseOf(ctx, project, version); err != nil {
			return err
		}
	}
	return nil
}

func (d *drill) releaseOf(ctx context.Context, project, version string) error {
	d.makes(project, version)
	keys := map[string][]string{drillClaimed: {"maya/maya.key", "maya/noor.key"}, drillRecent: {"maya/maya.key"}}[project]
	if project == drillClaimed {
		if _, err := os.Stat(filepath.Join(d.dir, "maya", "keys-of-"+drillClaimed)); err == nil {
			data, err := os.ReadFile(filepath.Join(d.dir, "maya", "keys-of-"+drillClaimed))
			if err != nil {
				return fmt.Errorf("reading who signs %s: %w", project, err)
			}
			keys = strings.Fields(string(data))
		}
	}
	if len(keys) == 0 {
		return d.uploadOf(ctx, project, version)
	}
	made := distmake.Wheel(project, version, distmake.Options{Summary: "A package made for the demo"})
	path := filepath.Join("maya", made.Name)
	if err := os.WriteFile(filepath.Join(d.dir, path), made.Data, 0o600); err != nil {
		return fmt.Errorf("building a release: %w", err)
	}
	args := []string{"publish", path}
	for _, k := range keys {
		args = append(args, "--key", k)
	}
	return d.maintains(ctx, args...)
}

// watch lets two users in: one looks at everything, so that his client keeps what it saw; the other one only pins the root.
func (d *drill) watch(ctx context.Context) error {
	d.user = "user"
	if _, err := d.types(ctx, "user", "trust", "add", d.url, "--root", "sha256:"+d.root); err != nil {
		return err
	}
	if err := copyFolder(filepath.Join(d.dir, "user", "config"), filepath.Join(d.dir, "newcomer", "config")); err != nil {
		return err
	}
	return d.expectAll(ctx, "user", "newest")
}

// expectAll wants a user to get the same of every project.
func (d *drill) expectAll(ctx context.Context, home, outcome string) error {
	for _, project := range drillProjects() {
		got, err := d.look(ctx, home, project)
		if err != nil {
			return err
		}
		if got.outcome != outcome {
			return fmt.Errorf("%s gets of %s: %s, expected %s", home, project, got, outcome)
		}
		d.held++
	}
	return nil
}

func (s sight) String() string {
	if s.problem != nil {
		return s.outcome + " (" + s.problem.Phrase() + ")"
	}
	return s.outcome + " " + s.version
}

// head is the number of the newest publication.
func (d *drill) head(ctx context.Context) (int64, error) {
	data, err := d.metadata(ctx, "timestamp.json")
	if err != nil {
		return 0, err
	}
	t, err := tuf.ParseTimestamp(data, nil)
	if err != nil {
		return 0, fmt.Errorf("reading the timestamp: %w", err)
	}
	return t.Header().Version, nil
}

// metadata fetches a file of the index as it is.
func (d *drill) metadata(ctx context.Context, name string) ([]byte, error) {
	f, err := client.NewHTTPFetcher(client.HTTPConfig{Metadata: d.url + "/metadata", Targets: d.url + "/targets"})
	if err != nil {
		return nil, fmt.Errorf("using index %s: %w", d.url, err)
	}
	defer f.Close()
	data, err := f.Metadata(ctx, name, 1<<20)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	return data, nil
}

// look has a user verify and download the newest file of a project, with the engine that stands behind every installer.
func (d *drill) look(ctx context.Context, home, name string) (sight, error) {
	return d.lookAt(ctx, home, name, false)
}

// lookAt is look for a user who may accept less of the project than he has seen.
func (d *drill) lookAt(ctx context.Context, home, name string, accept bool) (sight, error) {
	d.user = home
	project, err := pypi.ParseProject(name)
	if err != nil {
		return sight{}, fmt.Errorf("looking at %s: %w", name, err)
	}
	opts := cli.EngineOptions{NoCache: true}
	if accept {
		opts.Accept = []pypi.Project{project}
	}
	engine, closeEngine, err := cli.OpenEngine(ctx, d.userEnv(), opts)
	if err != nil {
		return sight{}, err
	}
	defer closeEngine()
	data, version, err := fetchNewest(ctx, engine, project)
	var problem *verify.Error
	switch {
	case errors.As(err, &problem) && problem.Class == verify.NotFound:
		return sight{outcome: "absent", problem: problem}, nil
	case errors.As(err, &problem):
		return sight{outcome: "refused: " + problem.Code, problem: problem}, nil
	case err != nil:
		return sight{}, err
	}
	made, ok := d.honest[sha256.Sum256(data)]
	switch {
	case !ok:
		return sight{outcome: "forged", version: version}, nil
	case made == d.newest[name]:
		return sight{outcome: "newest", version: version}, nil
	}
	return sight{outcome: "older", version: version}, nil
}

// fetchNewest downloads the newest file that is listed.
func fetchNewest(ctx context.Context, e *verify.Engine, project pypi.Project) (data []byte, version string, err error) {
	l, err := e.Project(ctx, project)
	if err != nil {
		return nil, "", err //nolint:wrapcheck // an *Error says it all
	}
	if l.Problem != nil {
		return nil, "", l.Problem
	}
	var newest *verify.File
	for i := range l.Files {
		if f := &l.Files[i]; newest == nil || f.Entry.Version > newest.Entry.Version {
			newest = f
		}
	}
	if newest == nil {
		return nil, "", fmt.Errorf("%s has no files", project)
	}
	download, err := e.Open(ctx, project, newest.Entry.Filename)
	if err != nil {
		return nil, "", err //nolint:wrapcheck // an *Error says it all
	}
	defer func() { _ = download.Close() }()      // what was read is verified
	data, err = io.ReadAll(download.Stream(ctx)) //nolint:forbidigo // bounded by the signed length
	return data, newest.Entry.Version, err       //nolint:wrapcheck // an *Error says it all
}

// copyFolder copies files with their modes.
func copyFolder(from, to string) error {
	err := filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err //nolint:wrapcheck // wrapped below
		}
		info, err := entry.Info()
		switch {
		case err != nil:
			return err //nolint:wrapcheck // wrapped below
		case entry.IsDir():
			return os.MkdirAll(filepath.Join(to, rel), 0o700)
		case !info.Mode().IsRegular():
			return nil // a socket, which its server makes anew
		}
		data, err := os.ReadFile(path) //nolint:gosec // the drill's own folder
		if err != nil {
			return err //nolint:wrapcheck // wrapped below
		}
		return os.WriteFile(filepath.Join(to, rel), data, info.Mode().Perm()) //nolint:gosec // the drill's own folder
	})
	if err != nil {
		return fmt.Errorf("copying %s: %w", from, err)
	}
	return nil
}

// shift moves the clock of users.
func (d *drill) shift(by time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ahead = by
}
