package cli

import (
	"context"
	"path"

	"example.com/bailiwick/internal/ceremony"
	"example.com/bailiwick/internal/server"
	"example.com/bailiwick/tuf"
)

// join signs a request that waits and that adds exactly the files which are here, instead of drawing up another one: so two who build
// the same, each on their own, come to one release. What was built differently is another release, which waits for itself. It
// reports whether there was one.
func (rel *release) join(ctx context.Context, s *ceremony.Standing, role tuf.RoleName) (bool, error) {
	said, err := rel.api.project(ctx, rel.project)
	if err != nil {
		return false, err
	}
	staged, _ := rel.stagedTargets(s, said)
	for i := range said.Requests {
		r, err := rel.fetchRequest(ctx, rel.project, said.Requests[i].ID)
		if err != nil {
			return false, err
		}
		verdict, err := ceremony.Judge(r, s, staged, rel.env.Now())
		if err != nil || r.Kind != ceremony.Release || len(r.Payloads) != 1 || r.Payload(role) == nil || !rel.adds(verdict) || len(rel.useful(verdict)) == 0 {
			continue
		}
		rel.printf("request %s waits for these very files: your signature goes there\n", r.ID())
		return true, rel.addTo(ctx, r, s, staged)
	}
	rel.othersBuild(said)
	return false, nil
}

// adds reports whether a request adds the files that are here, with their content, and does nothing else.
func (rel *release) adds(v *ceremony.Verdict) bool {
	if len(v.Added) != len(rel.files) || len(v.Changed)+len(v.Removed) > 0 {
		return false
	}
	sums := make(map[string][32]byte, len(rel.files))
	for _, f := range rel.files {
		sums[f.name.String()] = f.sha256
	}
	for _, t := range v.Added {
		sum, ok := t.Hashes.SHA256()
		want, here := sums[path.Base(string(t.Path))]
		if !ok || !here || sum != want {
			return false
		}
	}
	return true
}

// othersBuild tells of files that somebody else uploaded under the same names with other content.
func (rel *release) othersBuild(said *server.ProjectAnswer) {
	for _, f := range rel.files {
		if _, others := stagedAs(said, f); len(others) > 0 {
			message(rel.env, "somebody else built %s differently (sha256 %s, here %x): the two are different releases, and neither counts for the other", f.name, shown(others[0].SHA256), f.sha256)
		}
	}
}
