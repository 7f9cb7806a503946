package cli

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/spf13/cobra"

	"example.com/bailiwick/internal/ceremony"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/internal/server"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
)

// signFlags are those of sign alone.
type signFlags struct {
	request, abort, drop string
}

// newSign shows what waits for a signature, and signs it.
func newSign(env *Env) *cobra.Command {
	var flags maintainerFlags
	var spec signFlags
	cmd := &cobra.Command{
		Use:   "sign [PROJECT] [--key URI]",
		Short: "show what waits for a signature, and sign it",
		Long: "Show the signing requests of a project and the files that were uploaded to it without a signature (by twine, uv, or a\n" +
			"pipeline), as what they would change; with --key, ask for each and sign it. Requests are checked against the verified\n" +
			"state of the project first, as the index checks them. Who uploaded a file, and when, is what the index says. What\n" +
			"you sign are the hashes that you see: compare those of uploaded files with what your build printed, or use\n" +
			"bailiwick publish, which compares them with files.\n\n" +
			"PROJECT may be left out in a folder whose pyproject.toml names it. Without --key, it only shows.",
		Example: "  bailiwick sign flask\n  bailiwick sign flask --key bob.key\n  bailiwick sign flask --drop flask-3.1.1.tar.gz",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			project, err := projectHere(args)
			if err != nil {
				return err
			}
			m, err := openMaintainer(cmd.Context(), env, &flags)
			if err != nil {
				return err
			}
			defer m.Close()
			if err := m.login(cmd.Context()); err != nil {
				return err
			}
			switch {
			case spec.abort != "":
				return m.abort(cmd.Context(), project, spec.abort)
			case spec.drop != "":
				return m.drop(cmd.Context(), project, spec.drop)
			}
			if len(flags.keys) > 0 {
				if err := m.openKeys(cmd.Context()); err != nil {
					return err
				}
			}
			return m.signWaiting(cmd.Context(), project, spec.request)
		},
	}
	flags.add(cmd)
	cmd.Flags().StringVar(&spec.request, "request", "", "only the request of this `ID`")
	cmd.Flags().StringVar(&spec.abort, "abort", "", "give up the request of this `ID`")
	cmd.Flags().StringVar(&spec.drop, "drop", "", "throw away the staged `FILE`")
	cmd.MarkFlagsMutuallyExclusive("request", "abort", "drop")
	return cmd
}

// projectHere is the project that was named, or else that of the working folder.
func projectHere(args []string) (pypi.Project, error) {
	if len(args) > 0 {
		return parseProject(args[0])
	}
	data, err := readBounded("pyproject.toml", maxTrustConfig)
	if err != nil {
		return pypi.Project{}, usagef("name a project, or run this in a folder whose pyproject.toml names it")
	}
	var file struct {
		Project struct {
			Name string `toml:"name"`
		} `toml:"project"`
	}
	if err := toml.Unmarshal(data, &file); err != nil || file.Project.Name == "" {
		return pypi.Project{}, usagef("name a project: pyproject.toml has no name in its [project] table")
	}
	return parseProject(file.Project.Name)
}

func (m *maintainer) abort(ctx context.Context, project pypi.Project, id string) error {
	waiting, err := m.api.requests(ctx, project)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(waiting, func(r server.RequestAnswer) bool { return r.ID == id }) {
		return fmt.Errorf("%s has no signing request %q that waits; bailiwick sign %s lists them", project, id, project)
	}
	if _, err := m.api.call(ctx, http.MethodDelete, "/api/v1/requests/"+id, nil, nil); err != nil {
		return err
	}
	m.printf("given up: request %s of %s\n", id, project)
	return nil
}

func (m *maintainer) drop(ctx context.Context, project pypi.Project, file string) error {
	name, err := pypi.ParseFilenameFor(project, file)
	if err != nil {
		return exit(exitUsage, err)
	}
	if _, err := m.api.call(ctx, http.MethodDelete, "/api/v1/projects/"+project.String()+"/staged/"+name.String(), nil, nil); err != nil {
		return err
	}
	m.printf("dropped: %s is not staged any more\n", name)
	return nil
}

// signWaiting goes through all that waits: requests first, then files that are in none.
func (m *maintainer) signWaiting(ctx context.Context, project pypi.Project, only string) error {
	said, err := m.api.project(ctx, project)
	if err != nil {
		return err
	}
	waiting := 0
	taken := map[string]bool{} // files that a request adds
	for i := range said.Requests {
		id := said.Requests[i].ID
		if only != "" && id != only {
			continue
		}
		r, err := m.fetchRequest(ctx, project, id)
		if err != nil {
			return err
		}
		waiting++
		if err := m.signRequest(ctx, r, said, taken); err != nil {
			return err
		}
	}
	if only != "" {
		if waiting == 0 {
			return fmt.Errorf("%s has no signing request %q that waits; bailiwick sign %s lists them", project, only, project)
		}
		return nil
	}
	staged, err := stagedFiles(project, said, taken)
	if err != nil {
		return err
	}
	if len(staged) > 0 {
		return m.signStaged(ctx, project, said, staged)
	}
	if waiting == 0 {
		m.printf("nothing waits for a signature in %s\n", project)
	}
	return nil
}

// fetchRequest gets a request and refuses one that is not what was asked for.
func (m *maintainer) fetchRequest(ctx context.Context, project pypi.Project, id string) (*ceremony.Request, error) {
	r, err := m.api.request(ctx, id)
	if err != nil {
		return nil, err
	}
	if r.ID() != id || r.Project != project {
		return nil, exit(exitRefused, fmt.Errorf("the index sent request %s of %s in place of request %s of %s: nothing was signed", r.ID(), r.Project, shown(id), project))
	}
	return r, nil
}

// signRequest checks one request against what is verified, shows it, and signs it if one of the keys at hand
// can.
func (m *maintainer) signRequest(ctx context.Context, r *ceremony.Request, said *server.ProjectAnswer, taken map[string]bool) error {
	s, err := m.look(ctx, r.Project)
	if err != nil {
		return err
	}
	staged, uploads := m.stagedTargets(s, said)
	verdict, err := ceremony.Judge(r, s, staged, m.env.Now())
	var refused *ceremony.Refused
	if errors.As(err, &refused) {
		message(m.env, "request %s (%s) can not be signed: %s; bailiwick sign %s --abort %s gives it up", r.ID(), r.Kind, shown(refused.Message), r.Project, r.ID())
		return nil
	}
	if err != nil {
		return fmt.Errorf("checking the request %s: %w", r.ID(), err)
	}
	for _, t := range verdict.Added {
		taken[string(t.Path[strings.LastIndexByte(string(t.Path), '/')+1:])] = true
	}
	m.printf("%s\n\n", requestTitle(r, verdict))
	if err := m.printChange(r, s, uploads); err != nil {
		return err
	}
	m.printf("\n")
	if verdict.Offline != "" && len(verdict.Missing) == 0 {
		m.printf("  %s\n\n", shown(verdict.Next()))
		return nil
	}
	mine := m.useful(verdict)
	switch {
	case len(m.signers) == 0:
		m.printf("  next    bailiwick sign %s --key YOUR-KEY\n\n", r.Project)
		return nil
	case len(mine) == 0:
		m.printf("  %s can add nothing to it: %s\n\n", signerNames(m.signers), shown(verdict.Next()))
		return nil
	}
	if err := m.confirm(ctx); err != nil {
		return err
	}
	return m.addTo(ctx, r, s, staged)
}

// useful are those of the keys at hand whose signatures a request still needs.
func (m *maintainer) useful(v *ceremony.Verdict) []key.ID {
	var mine []key.ID
	for _, missing := range v.Missing {
		for _, signer := range m.signers {
			if id := signer.Public().ID(); slices.Contains(missing.Keys, id) && !slices.Contains(mine, id) {
				mine = append(mine, id)
			}
		}
	}
	return mine
}

// requestTitle says what waits, for what, and who has signed.
func requestTitle(r *ceremony.Request, v *ceremony.Verdict) string {
	n := 0
	for _, m := range v.Missing {
		n += m.Need
	}
	what := map[ceremony.Kind]string{ceremony.Claim: "the claim of " + r.Project.String(), ceremony.Rekey: "a change of the keys of " + r.Project.String(), ceremony.Recover: "the recovery of " + r.Project.String()}[r.Kind]
	if what == "" {
		what = r.Project.String()
		if named := releaseVersions(v); named != "" {
			what += " " + named
		}
	}
	var signed []string
	for _, p := range r.Payloads {
		for _, sig := range p.Signatures {
			if id := shortID(sig.KeyID); !slices.Contains(signed, id) {
				signed = append(signed, id)
			}
		}
	}
	title := fmt.Sprintf("%s waits for %s (request %s of %s", what, plural(n, "more signature"), r.ID(), r.Created.Format("2006-01-02 15:04"))
	if n != 1 {
		title = fmt.Sprintf("%s waits for %d more signatures (request %s of %s", what, n, r.ID(), r.Created.Format("2006-01-02 15:04"))
	}
	if len(signed) > 0 {
		title += "; " + strings.Join(signed, ", ") + " signed"
	}
	title += ")"
	if r.Note != "" {
		title += "\n" + shown(r.Note)
	}
	return title
}

// releaseVersions names the versions that a release adds files to.
func releaseVersions(v *ceremony.Verdict) string {
	var list []string
	for _, t := range v.Added {
		if _, name, err := policy.ParsePath(t.Path); err == nil && !slices.Contains(list, name.Version().String()) {
			list = append(list, name.Version().String())
		}
	}
	return strings.Join(list, ", ")
}

// addTo signs a request and sends the signatures.
func (m *maintainer) addTo(ctx context.Context, r *ceremony.Request, s *ceremony.Standing, staged []tuf.Target) error {
	made, err := m.sign(ctx, r, s, m.signers)
	if err != nil {
		return err
	}
	verdict, err := ceremony.Judge(r, s, staged, m.env.Now())
	if err != nil {
		return refusedHere(err)
	}
	outcome, err := m.api.addSignatures(ctx, r.ID(), made)
	if err != nil {
		return err
	}
	what := r.Project.String()
	if named := releaseVersions(verdict); named != "" && r.Kind == ceremony.Release {
		what += " " + named
	}
	published, err := m.report(ctx, &done{r, s, outcome, verdict}, what)
	if err == nil && published {
		m.printf("signed. %s %s (publication %d)\n", what, effect(r.Kind, verdict), outcome.Publication)
	}
	return err
}

// effect says what holds now, in a few words.
func effect(k ceremony.Kind, v *ceremony.Verdict) string {
	switch {
	case k == ceremony.Claim:
		return "is claimed"
	case k == ceremony.Rekey:
		return "has its new keys"
	case len(v.Added) > 0:
		return "is installable"
	}
	return "is changed"
}

// stagedTargets turns what the index says is staged into entries, and into a few words on each for people.
// Entries that can not be are left out: a request that needs them is then refused.
func (m *maintainer) stagedTargets(s *ceremony.Standing, said *server.ProjectAnswer) ([]tuf.Target, map[string]string) {
	var targets []tuf.Target
	uploads := map[string]string{}
	for i := range said.Staged {
		f, err := stagedFile(s.Project, &said.Staged[i])
		if err != nil {
			continue
		}
		t, err := f.target(s.Layout, said.Staged[i].Uploaded)
		if err != nil {
			continue
		}
		targets = append(targets, t)
		uploads[f.name.String()] = fmt.Sprintf("uploaded with token %s on %s", said.Staged[i].Uploader, said.Staged[i].Uploaded.Format("2006-01-02 15:04"))
	}
	return targets, uploads
}

// stagedFile reads one entry of the index's list as if it were a file that is here.
func stagedFile(project pypi.Project, said *server.StagedAnswer) (*localFile, error) {
	name, err := pypi.ParseFilenameFor(project, said.Filename)
	if err != nil {
		return nil, err //nolint:wrapcheck // names the file
	}
	f := &localFile{name: name, size: said.Size, requires: said.RequiresPython}
	sum, err := hexSum(said.SHA256)
	if err != nil || said.Size < 0 || name.Version().String() != said.Version {
		return nil, fmt.Errorf("the index describes the staged file %s in a way that can not be", name)
	}
	f.sha256 = sum
	if said.MetadataSHA256 != "" {
		metadata, err := hexSum(said.MetadataSHA256)
		if err != nil {
			return nil, fmt.Errorf("the index describes the METADATA of %s in a way that can not be", name)
		}
		f.metadata = &metadata
	}
	return f, nil
}

func hexSum(text string) (sum [32]byte, err error) {
	data, err := hex.DecodeString(text)
	if err != nil || len(data) != len(sum) {
		return sum, fmt.Errorf("%.80q is no SHA-256", text)
	}
	return [32]byte(data), nil
}

// stagedFiles are the staged files that no request adds.
func stagedFiles(project pypi.Project, said *server.ProjectAnswer, taken map[string]bool) ([]*localFile, error) {
	var files []*localFile
	for i := range said.Staged {
		if taken[said.Staged[i].Filename] {
			continue
		}
		f, err := stagedFile(project, &said.Staged[i])
		if err != nil {
			return nil, exit(exitRefused, fmt.Errorf("%w: nothing was signed", err))
		}
		if slices.ContainsFunc(files, func(o *localFile) bool { return o.name.String() == f.name.String() }) {
			return nil, fmt.Errorf("several files with different content are staged as %s: sign yours with bailiwick publish, which compares, or throw all of them away with bailiwick sign %s --drop %s", f.name, project, f.name)
		}
		files = append(files, f)
	}
	return files, nil
}
