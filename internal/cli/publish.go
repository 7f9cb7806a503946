package cli

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"example.com/bailiwick/internal/ceremony"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/internal/server"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/repo"
)

// newPublish takes files to where people can install them, in one command.
func newPublish(env *Env) *cobra.Command {
	var flags maintainerFlags
	var spec claimSpec
	cmd := &cobra.Command{
		Use:   "publish FILES… --key URI",
		Short: "sign, upload and publish a release, in one command",
		Long: "Publish wheels and source distributions of one project: check them as the index would, upload those that are not\n" +
			"there yet, add them to the project's verified list of files, sign that with your key, and wait until a client that\n" +
			"verifies can install them. What is signed are the hashes of the files here, not what the index says it received.\n\n" +
			"If another maintainer publishes at the same moment, the change is made again on top of theirs and signed again.\n" +
			"If the project needs more than one signature, it says what the next signer has to run. A project that does not exist\n" +
			"yet is claimed with the keys that you name; --threshold, --with and --recovery-key are for that case, as in\n" +
			"bailiwick claim.",
		Example: "  bailiwick publish dist/* --key ssh-agent:\n  bailiwick publish dist/* --key alice.key --yes",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			files, err := readFiles(args)
			if err != nil {
				return err
			}
			m, err := openMaintainer(cmd.Context(), env, &flags)
			if err != nil {
				return err
			}
			defer m.Close()
			claims := cmd.Flags().Changed("threshold") || len(spec.with) > 0 || len(spec.recovery) > 0
			return m.publish(cmd.Context(), files, &spec, claims)
		},
	}
	flags.add(cmd)
	spec.add(cmd)
	return cmd
}

// release is one run of publish.
type release struct {
	*maintainer
	project pypi.Project
	files   []*localFile
	start   time.Time
}

func (m *maintainer) publish(ctx context.Context, files []*localFile, spec *claimSpec, claims bool) error {
	if err := m.openKeys(ctx); err != nil {
		return err
	}
	rel := &release{maintainer: m, project: files[0].name.Project(), files: files, start: m.env.Now()}
	s, err := m.look(ctx, rel.project)
	if err != nil {
		return err
	}
	switch {
	case s.IsParked():
		return errors.New(s.ParkedText())
	case s.Assurance != policy.Unclaimed && claims:
		return usagef("%s is claimed already: --threshold, --with and --recovery-key are for its first publish; bailiwick team %s changes them", rel.project, rel.project)
	case s.Assurance != policy.Unclaimed:
		return rel.release(ctx, s)
	case s.Base == nil:
		return rel.first(ctx, s, spec)
	}
	return fmt.Errorf("%s is not claimed yet, so your signature would say nothing: run bailiwick claim %s --key %s first, then this again; to go on without signing, upload with twine as before",
		rel.project, rel.project, m.flags.keys[0])
}

// release adds the files to a claimed project.
func (rel *release) release(ctx context.Context, s *ceremony.Standing) error {
	fresh, err := rel.fresh(s)
	if err != nil {
		return err
	}
	if len(fresh) == 0 {
		rel.printf("nothing to do: all of this is published already\n")
		return nil
	}
	rel.files = fresh
	role, err := rel.role(s)
	if err != nil {
		return err
	}
	// Shown first and uploaded then: a slip should cost nothing. The time of the upload is the one thing
	// that is not known yet, and is not shown.
	preview, targets, err := rel.draw(s, role, nil)
	if err != nil {
		return err
	}
	if err := rel.checkSigners(preview, s); err != nil {
		return err
	}
	if err := rel.judge(preview, s, targets); err != nil {
		return err
	}
	rel.printf("%s\n\n", rel.title(s, role))
	if err := rel.printChange(preview, s, nil); err != nil {
		return err
	}
	rel.printf("\n")
	if err := rel.confirm(ctx); err != nil {
		return err
	}
	staged, err := rel.stage(ctx)
	if err != nil {
		return err
	}
	if joined, err := rel.join(ctx, s, role); joined || err != nil {
		return err
	}
	d, err := rel.carryOut(ctx, s, plan{
		draw: func(_ context.Context, s *ceremony.Standing) (*ceremony.Request, []tuf.Target, error) {
			if err := rel.stillFresh(s); err != nil {
				return nil, nil, err
			}
			return rel.draw(s, role, staged)
		},
	})
	if errors.Is(err, errPublished) {
		rel.printf("%v\n", err)
		return nil
	}
	if err != nil {
		return err
	}
	return rel.report(ctx, d)
}

// first publishes a project that does not exist yet, which claims it.
func (rel *release) first(ctx context.Context, s *ceremony.Standing, spec *claimSpec) error {
	team, recovery, err := rel.claimKeys(ctx, spec)
	if err != nil {
		return err
	}
	draw := func(s *ceremony.Standing, uploaded map[string]time.Time) (*ceremony.Request, []tuf.Target, error) {
		targets, err := rel.targets(s, uploaded)
		if err != nil {
			return nil, nil, err
		}
		r, err := rel.drawClaim(s, team, spec.threshold, recovery, targets)
		return r, targets, err
	}
	preview, targets, err := draw(s, nil)
	if err != nil {
		return err
	}
	if err := rel.judge(preview, s, targets); err != nil { // before anything is uploaded
		return err
	}
	rel.printf("%s\n\n", claimTitle(s, len(team), spec.threshold))
	if err := rel.printChange(preview, s, nil); err != nil {
		return err
	}
	rel.printf("\n")
	if err := rel.confirm(ctx); err != nil {
		return err
	}
	staged, err := rel.stage(ctx)
	if err != nil {
		return err
	}
	d, err := rel.carryOut(ctx, s, plan{
		draw: func(_ context.Context, s *ceremony.Standing) (*ceremony.Request, []tuf.Target, error) {
			if s.Base != nil {
				return nil, nil, fmt.Errorf("somebody else created %s meanwhile; the files are uploaded and staged, nothing is published: find out who it was", rel.project)
			}
			return draw(s, staged)
		},
	})
	if err != nil {
		return err
	}
	return rel.report(ctx, d)
}

// fresh leaves out files that are published already, and refuses names that stand for other bytes.
func (rel *release) fresh(s *ceremony.Standing) ([]*localFile, error) {
	var fresh []*localFile
	for _, f := range rel.files {
		t, ok := listedIn(s, s.Layout.Path(rel.project, f.name))
		if !ok {
			fresh = append(fresh, f)
			continue
		}
		if sum, has := t.Hashes.SHA256(); !has || sum != f.sha256 || t.Length != f.size {
			return nil, fmt.Errorf("%s is published with other content (sha256 %x, here %x): a file name stands for the same bytes for ever; raise the version", f.name, sum, f.sha256)
		}
		message(rel.env, "%s is published already", f.name)
	}
	return fresh, nil
}

// errPublished: the very files of a release were published while it was under way, by another maintainer or
// by an earlier try whose answer got lost.
var errPublished = errors.New("the same files are published meanwhile, with the same content: nothing is left to do")

// stillFresh refuses a release that has nothing to add any more.
func (rel *release) stillFresh(s *ceremony.Standing) error {
	fresh, err := rel.fresh(s)
	if err == nil && len(fresh) == 0 {
		err = errPublished
	}
	return err
}

// listedIn finds a file in the project's role, or in the first sub-role that may list it, as clients do.
func listedIn(s *ceremony.Standing, path tuf.TargetPath) (tuf.Target, bool) {
	if s.Base == nil {
		return tuf.Target{}, false
	}
	if t, ok := s.Base.Lookup(path); ok {
		return t, true
	}
	for _, sub := range s.Subs {
		if sub.Delegation.Matches(path) {
			return sub.Targets.Lookup(path)
		}
	}
	return tuf.Target{}, false
}

// role is the role that lists the files: the project's own if the keys at hand sign that, else the first
// sub-role that they sign and that may list all of the files.
func (rel *release) role(s *ceremony.Standing) (tuf.RoleName, error) {
	all := func(a tuf.Authority) bool {
		list := usableKeys(a)
		for _, signer := range rel.signers {
			if !contains(list, signer.Public()) {
				return false
			}
		}
		return true
	}
	if all(s.Authority) {
		return policy.ProjectRole(rel.project), nil
	}
	var refused error
	for _, sub := range s.Subs {
		a, err := sub.Delegation.Authority()
		if err != nil || !all(a) {
			continue
		}
		if refused = rel.covered(s, sub.Delegation); refused == nil {
			return sub.Delegation.Name(), nil
		}
	}
	if refused != nil {
		return "", refused
	}
	ids := make([]string, len(rel.signers))
	for i, signer := range rel.signers {
		ids[i] = shortID(signer.Public().ID())
	}
	return "", fmt.Errorf("the key %s has no say in %s: bailiwick team %s show lists those that have", strings.Join(ids, " and "), rel.project, rel.project)
}

// covered refuses files that a sub-role may not list.
func (rel *release) covered(s *ceremony.Standing, d tuf.Delegation) error {
	for _, f := range rel.files {
		if !d.Matches(s.Layout.Path(rel.project, f.name)) {
			patterns := make([]string, len(d.Paths()))
			for i, p := range d.Paths() {
				patterns[i] = strings.TrimPrefix(p, s.Layout.Dir(rel.project)+"/")
			}
			return fmt.Errorf("this key may sign %s of %s only, and %s is none: leave it out, or sign with a maintainer's key", strings.Join(patterns, ", "), rel.project, f.name)
		}
	}
	return nil
}

// targets are the entries of the files, with the times of their uploads, or for a preview with now.
func (rel *release) targets(s *ceremony.Standing, uploaded map[string]time.Time) ([]tuf.Target, error) {
	var targets []tuf.Target
	for _, f := range rel.files {
		at, ok := uploaded[f.name.String()]
		if !ok {
			at = rel.start
		}
		t, err := f.target(s.Layout, at)
		if err != nil {
			return nil, err
		}
		targets = append(targets, t)
	}
	return targets, nil
}

// draw drafts the release: what is verified, plus exactly these files.
func (rel *release) draw(s *ceremony.Standing, role tuf.RoleName, uploaded map[string]time.Time) (*ceremony.Request, []tuf.Target, error) {
	targets, err := rel.targets(s, uploaded)
	if err != nil {
		return nil, nil, err
	}
	put := slices.DeleteFunc(slices.Clone(targets), func(t tuf.Target) bool { _, ok := listedIn(s, t.Path); return ok })
	d, err := rel.editRole(s, role, repo.TargetsEdit{Put: put})
	if err != nil {
		return nil, nil, err
	}
	r := rel.newRequest(ceremony.Release, s)
	addDraft(r, d)
	return r, targets, nil
}

// editRole drafts the next version of one of the project's roles.
func (m *maintainer) editRole(s *ceremony.Standing, role tuf.RoleName, edit repo.TargetsEdit) (*repo.Draft, error) {
	if role == policy.ProjectRole(s.Project) {
		return m.edit(s, s.Authority, edit)
	}
	for _, sub := range s.Subs {
		if sub.Delegation.Name() != role {
			continue
		}
		a, err := sub.Delegation.Authority()
		if err != nil {
			return nil, fmt.Errorf("reading the keys of %s: %w", role, err)
		}
		life := sub.Targets.Expires().Sub(m.env.Now()) // what the maintainers gave it: a release does not extend it
		if life <= policy.ClaimedNotice {
			return nil, fmt.Errorf("the rights of %s end at %s: a maintainer renews them with bailiwick team %s delegate", role, sub.Targets.Expires().Format(time.RFC3339), s.Project)
		}
		d, err := repo.EditTargets(sub.Targets, edit, m.issue(s, role, a, sub.Delegation.Paths(), life))
		if err != nil {
			return nil, fmt.Errorf("drawing up the next version of %s: %w", role, err)
		}
		return d, nil
	}
	return nil, fmt.Errorf("%s does not delegate to %s any more", s.Project, role)
}

func (rel *release) title(s *ceremony.Standing, role tuf.RoleName) string {
	a := s.Authority
	if role != policy.ProjectRole(rel.project) {
		for _, sub := range s.Subs {
			if sub.Delegation.Name() == role {
				a, _ = sub.Delegation.Authority() // was read before
			}
		}
	}
	return fmt.Sprintf("%s %s needs %d of %s", rel.project, versions(rel.files), a.Threshold(), plural(len(a.KeyIDs()), "signature"))
}

// versions names the versions of a release.
func versions(files []*localFile) string {
	var list []string
	for _, f := range files {
		if v := f.name.Version().String(); !slices.Contains(list, v) {
			list = append(list, v)
		}
	}
	return strings.Join(list, ", ")
}

// stage uploads what the index does not have yet, then holds everything that it says it has against the
// files here. It returns the times of the uploads.
func (rel *release) stage(ctx context.Context) (map[string]time.Time, error) {
	before, err := rel.api.project(ctx, rel.project)
	if err != nil {
		return nil, err
	}
	for _, f := range rel.files {
		s, others := stagedAs(before, f)
		if s != nil {
			if err := f.same(s); err != nil {
				return nil, fmt.Errorf("%w; nothing was signed", err)
			}
			continue
		}
		for _, other := range others {
			message(rel.env, "%v", f.same(other)) // not what is signed; but its owner should know
		}
		message(rel.env, "uploading %s (%s)", f.name, byteSize(f.size))
		status, err := rel.api.upload(ctx, f)
		if err != nil {
			return nil, err
		}
		if status != http.StatusAccepted {
			return nil, exit(exitRefused, fmt.Errorf("the index answered the upload of %s with %d and not with 202 (staged), so it did something else with the file than it was asked to; nothing was signed", f.name, status))
		}
	}
	after, err := rel.api.project(ctx, rel.project)
	if err != nil {
		return nil, err
	}
	uploaded := make(map[string]time.Time)
	for _, f := range rel.files {
		s, others := stagedAs(after, f)
		if s == nil && len(others) > 0 {
			return nil, exit(exitRefused, fmt.Errorf("%w; nothing was signed", f.same(others[0])))
		}
		if s == nil {
			return nil, exit(exitRefused, fmt.Errorf("the index took %s and does not list it as staged: try again, and tell its operators if it stays so; nothing was signed", f.name))
		}
		if err := f.same(s); err != nil {
			return nil, fmt.Errorf("%w; nothing was signed", err)
		}
		if s.Uploaded.IsZero() || s.Uploaded.After(rel.env.Now().Add(24*time.Hour)) {
			return nil, exit(exitRefused, fmt.Errorf("the index says that %s was uploaded at %s, which can not be: nothing was signed", f.name, s.Uploaded.Format(time.RFC3339)))
		}
		uploaded[f.name.String()] = s.Uploaded
	}
	return uploaded, nil
}

// stagedAs finds the entry of a file with its own hash, and those of other content under the same name.
func stagedAs(p *server.ProjectAnswer, f *localFile) (same *server.StagedAnswer, others []*server.StagedAnswer) {
	for i := range p.Staged {
		s := &p.Staged[i]
		switch {
		case s.Filename != f.name.String():
		case s.SHA256 == hex.EncodeToString(f.sha256[:]):
			same = s
		default:
			others = append(others, s)
		}
	}
	return same, others
}

// report says how to install, or who has to sign next.
func (rel *release) report(ctx context.Context, d *done) error {
	what := fmt.Sprintf("%s %s", rel.project, versions(rel.files))
	published, err := rel.maintainer.report(ctx, d, what)
	if err != nil || !published {
		return err
	}
	rel.printf("published. %s is installable (publication %d, %.1f s)\n\n", what, d.outcome.Publication, rel.env.Now().Sub(rel.start).Seconds())
	rel.printf("  next    bailiwick pip install %s==%s\n", rel.project, rel.files[len(rel.files)-1].name.Version())
	return nil
}
