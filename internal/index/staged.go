package index

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"example.com/bailiwick/internal/ceremony"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/tuf"
)

// Bounds of what waits for a project's maintainers.
const (
	maxStaged   = 1000                // files of a project
	stagedLife  = 30 * 24 * time.Hour // then a file has to be uploaded again
	maxRequests = 16                  // open requests of a project
	maxEvents   = 1000                // that are shown
)

// StagedFile is a file that waits for its maintainers' signature. Uploaded and Uploader say when it
// was staged, and by which token.
type StagedFile struct {
	publish.File
	Expires time.Time // when it is forgotten unless somebody signs
}

// Target returns the entry that a release has to list, member for member, to publish the file.
func (f StagedFile) Target(l policy.Layout) (tuf.Target, error) { return f.File.Target(l) }

// stage keeps a checked file for its maintainers to sign. Who may upload may stage: a token is no
// signature, and so a stolen token can bring nothing into a claimed project.
func (x *Index) stage(ctx context.Context, receipt Receipt, f publish.File) (Receipt, error) {
	if x.records == nil {
		return Receipt{}, noRecords()
	}
	if err := x.takesFiles(ctx, f.Project); err != nil {
		return Receipt{}, err
	}
	switch used, err := x.publisher.File(ctx, f.Filename); {
	case err == nil:
		return Receipt{}, refuse(Exists, "File already exists: %s was used on %s; a file name can not be used twice, not even after deletion",
			f.Filename, used.Uploaded.Format(time.DateOnly))
	case !errors.Is(err, publish.ErrNotFound):
		return Receipt{}, fmt.Errorf("looking up the file name %s: %w", f.Filename, err)
	}
	now := x.now().UTC().Truncate(time.Second)
	staged, err := x.forget(ctx, f.Project, now)
	if err != nil {
		return Receipt{}, err
	}
	if len(staged) >= maxStaged {
		return Receipt{}, refuse(Invalid, "%s has %d staged files, and no more fit; sign them, or discard those that nobody wants", f.Project, len(staged))
	}
	f.Uploaded = now
	if _, err := f.Target(x.publisher.Current().Layout()); err != nil {
		return Receipt{}, publishError(f.Filename.String(), err)
	}
	added, err := x.records.AddStaged(ctx, f, publish.Event{
		Project: f.Project, Kind: publish.EventStaged, Time: now, Token: f.Uploader,
		Text: fmt.Sprintf("%s, sha256 %x, %d bytes", f.Filename, f.SHA256, f.Size),
	})
	if err != nil {
		return Receipt{}, fmt.Errorf("staging %s: %w", f.Filename, err)
	}
	receipt.Staged, receipt.Unchanged = true, !added
	return receipt, nil
}

// takesFiles refuses files for a project that is parked or archived.
func (x *Index) takesFiles(ctx context.Context, p pypi.Project) error {
	standing, err := x.publisher.Current().Standing(ctx, p)
	switch {
	case err != nil:
		return fmt.Errorf("looking up who signs %s: %w", p, err)
	case standing.IsParked():
		r := refuse(Forbidden, "%s", standing.ParkedText())
		r.Reason, r.Role = ceremony.Parked, policy.ProjectRole(p)
		return r
	case standing.Base == nil:
		return nil
	}
	// What this program does not understand is no reason to refuse a file.
	if status, err := policy.StatusOf(standing.Base); err == nil && status.IsArchived() {
		return refuse(Forbidden, "%s is archived, and takes no more files; its maintainers run bailiwick unarchive %s first", p, p)
	}
	return nil
}

// forget drops files that are past their time, of all projects if this one has any, and returns
// those of the project that wait.
func (x *Index) forget(ctx context.Context, p pypi.Project, now time.Time) ([]publish.File, error) {
	all, err := x.records.Staged(ctx, p)
	if err != nil {
		return nil, fmt.Errorf("reading the staged files of %s: %w", p, err)
	}
	waiting := slices.DeleteFunc(slices.Clone(all), func(f publish.File) bool { return !f.Uploaded.Add(stagedLife).After(now) })
	if len(waiting) == len(all) {
		return all, nil
	}
	if _, err := x.records.ExpireStaged(ctx, now.Add(-stagedLife)); err != nil {
		return nil, fmt.Errorf("forgetting old staged files: %w", err)
	}
	return waiting, nil
}

// staged returns the files that wait, without those that are past their time.
func (x *Index) staged(ctx context.Context, p pypi.Project) ([]publish.File, error) {
	all, err := x.records.Staged(ctx, p)
	if err != nil {
		return nil, fmt.Errorf("reading the staged files of %s: %w", p, err)
	}
	now := x.now()
	var out []publish.File
	for _, f := range all {
		if f.Uploaded.Add(stagedLife).After(now) {
			out = append(out, f)
		}
	}
	return out, nil
}

// Staged returns the files of a project that wait for its maintainers, by name. One name may be
// there with several contents: the signature decides.
func (x *Index) Staged(ctx context.Context, a Actor, p pypi.Project) ([]StagedFile, error) {
	if err := x.admit(a, p); err != nil {
		return nil, err
	}
	files, err := x.staged(ctx, p)
	if err != nil {
		return nil, err
	}
	out := make([]StagedFile, len(files))
	for i, f := range files {
		out[i] = StagedFile{File: f, Expires: f.Uploaded.Add(stagedLife)}
	}
	return out, nil
}

// Unstage forgets the staged files of one name. The refusal is NotFound if there are none.
func (x *Index) Unstage(ctx context.Context, a Actor, p pypi.Project, name pypi.Filename) error {
	if err := x.admit(a, p); err != nil {
		return err
	}
	if name.Project() != p {
		return refuse(Invalid, "%s is no file of the project %s", name, p)
	}
	n, err := x.records.RemoveStaged(ctx, name, publish.Event{
		Project: p, Kind: publish.EventUnstaged, Time: x.now().UTC().Truncate(time.Second), Token: a.id, Text: name.String(),
	})
	if err != nil {
		return fmt.Errorf("discarding %s: %w", name, err)
	}
	if n == 0 {
		return refuse(NotFound, "%s is not staged", name)
	}
	return nil
}

// admit refuses actors without a right to a project. A right admits to the table; what happens is
// decided by signatures.
func (x *Index) admit(a Actor, p pypi.Project) error {
	if x.records == nil {
		return noRecords()
	}
	if p.IsZero() || !a.May(p) {
		return refuse(Forbidden, "token %s has no right to the project %s; ask for a token that names it", a.id, p)
	}
	return nil
}

func noRecords() *Refusal {
	return refuse(Unavailable, "this index keeps no signing requests, so nobody can claim a project here; ask its operator")
}
