package index

import (
	"context"
	"errors"
	"fmt"

	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/tuf/trust"
)

// Yank marks all files of a version as yanked (PEP 592), or, with a nil reason, takes the mark
// away. A receipt without a publication says that the change waits for the index's signer. An empty reason is none. Files stay where they are for whoever names them exactly. The
// refusal is NotFound if the project has no files of this version.
func (x *Index) Yank(ctx context.Context, a Actor, p pypi.Project, v pypi.Version, reason *string) (publish.Receipt, error) {
	if !a.May(p) {
		return publish.Receipt{}, refuse(Forbidden, "token %s has no right to the project %s", a.id, p)
	}
	if reason != nil && len(*reason) > policy.MaxYankReason {
		return publish.Receipt{}, refuse(Invalid, "the reason has %d bytes; at most %d fit", len(*reason), policy.MaxYankReason)
	}
	found, _, err := x.publisher.Current().Project(ctx, p)
	if err != nil && !errors.Is(err, trust.ErrNotFound) {
		return publish.Receipt{}, err
	}
	var names []pypi.Filename
	for _, f := range found {
		_, name, err := policy.ParsePath(f.Target.Path)
		if err != nil {
			return publish.Receipt{}, fmt.Errorf("reading the file list of %s: %w", p, err)
		}
		if name.Version().Compare(v) == 0 {
			names = append(names, name)
		}
	}
	what := fmt.Sprintf("version %s of %s", v, p)
	if len(names) == 0 {
		return publish.Receipt{}, refuse(NotFound, "%s is not listed here", what)
	}
	return x.publishEdit(ctx, a, p, what, publish.Yank{Project: p, Files: names, Reason: reason})
}

// Delete takes a file off its project's list for ever. Its name can not be used again. The refusal
// is NotFound if it is not listed.
func (x *Index) Delete(ctx context.Context, a Actor, p pypi.Project, name pypi.Filename) (publish.Receipt, error) {
	if !a.May(p) {
		return publish.Receipt{}, refuse(Forbidden, "token %s has no right to the project %s", a.id, p)
	}
	return x.publishEdit(ctx, a, p, name.String(), publish.Delete{Project: p, Files: []pypi.Filename{name}})
}
