package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"example.com/bailiwick/internal/ceremony"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/internal/server"
	"example.com/bailiwick/tuf"
)

// signStaged makes a release of files that somebody uploaded without a signature. Unlike publish it has
// nothing to compare them with: the person at the terminal does that, by the hashes.
func (m *maintainer) signStaged(ctx context.Context, project pypi.Project, said *server.ProjectAnswer, files []*localFile) error {
	s, err := m.look(ctx, project)
	if err != nil {
		return err
	}
	rel := &release{maintainer: m, project: project, files: files, start: m.env.Now()}
	uploaded := map[string]time.Time{}
	for i := range said.Staged {
		uploaded[said.Staged[i].Filename] = said.Staged[i].Uploaded
	}
	_, uploads := m.stagedTargets(s, said)
	if len(m.signers) == 0 {
		rel.printStaged(uploads)
		return nil
	}
	if s.Assurance == policy.Unclaimed {
		return fmt.Errorf("%s is not claimed: run bailiwick publish on the files, which claims it", project)
	}
	if rel.files, err = rel.fresh(s); err != nil || len(rel.files) == 0 {
		return err
	}
	role, err := rel.role(s)
	if err != nil {
		return err
	}
	m.printf("%s\n\n", rel.title(s, role))
	draw := func(s *ceremony.Standing) (*ceremony.Request, []tuf.Target, error) {
		return rel.draw(s, role, uploaded)
	}
	preview, _, err := draw(s)
	if err != nil {
		return err
	}
	if err := m.printChange(preview, s, uploads); err != nil {
		return err
	}
	m.printf("\n")
	if err := m.confirm(ctx); err != nil {
		return err
	}
	d, err := m.carryOut(ctx, s, plan{draw: func(_ context.Context, s *ceremony.Standing) (*ceremony.Request, []tuf.Target, error) {
		if err := rel.stillFresh(s); err != nil {
			return nil, nil, err
		}
		return draw(s)
	}})
	if errors.Is(err, errPublished) {
		m.printf("%v\n", err)
		return nil
	}
	if err != nil {
		return err
	}
	return rel.report(ctx, d)
}

// printStaged lists what waits, for somebody without a key.
func (rel *release) printStaged(uploads map[string]string) {
	rel.printf("%s %s is staged and waits for its maintainers' signature\n\n", rel.project, versions(rel.files))
	for _, f := range rel.files {
		rel.printf("  + %s  sha256 %x  %d bytes   %s\n", f.name, f.sha256, f.size, shown(uploads[f.name.String()]))
	}
	rel.printf("\n  next    bailiwick sign %s --key YOUR-KEY\n", rel.project)
}
