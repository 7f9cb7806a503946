package index

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"

	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/internal/pypi/dist"
	"example.com/bailiwick/tuf/trust"
)

// Receipt says what became of an upload.
type Receipt struct {
	Project     pypi.Project
	Filename    pypi.Filename
	Publication int64    // number of a publication that shows it
	Unchanged   bool     // the same file was there already
	Warnings    []string // what the uploader should mend next time, one sentence each
	// Staged: the project is claimed, so the file waits for its maintainers' signature. It is kept
	// and checked, and nobody can see it. Publication is 0.
	Staged bool
	// Waiting: the index's signer is not there (custody strict). The file is kept and checked, nobody can see it,
	// and it is published without anyone asking again when the signer comes. Publication is 0.
	Waiting bool
}

// Line says what happens next to a staged file, in one sentence for the uploader; "" if the file
// is published.
func (r Receipt) Line() string {
	switch {
	case r.Waiting:
		return phrase(fmt.Sprintf("staged: %s is checked and kept; %s", r.Filename, waitsForSigner))
	case !r.Staged:
		return ""
	}
	return phrase(fmt.Sprintf("staged: %s waits for its maintainers' signature; sign with bailiwick publish or bailiwick sign %s", r.Filename, r.Project))
}

// Upload checks a file against its form, its name, its own metadata and the rights of the actor,
// keeps it, and publishes it. It returns when every client can install the file; a file of a claimed
// project is staged instead, see Receipt.Staged. A file that is
// listed already with the same bytes is success, so an upload may be repeated after any error.
// The content stays the caller's to Close.
func (x *Index) Upload(ctx context.Context, a Actor, f Form, c *Content) (Receipt, error) {
	project, filename, err := identify(&f)
	if err != nil {
		return Receipt{}, err
	}
	if !a.May(project) {
		return Receipt{}, refuse(Forbidden, "upload token %s has no right to the project %s; ask for a token that names it", a.id, project)
	}
	if err := f.checkDigests(c); err != nil {
		return Receipt{}, err
	}
	receipt := Receipt{Project: project, Filename: filename, Warnings: warnings(filename)}
	number, err := x.listed(ctx, filename, c)
	if err != nil {
		return Receipt{}, err
	}
	if number > 0 {
		receipt.Publication, receipt.Unchanged = number, true
		return receipt, nil
	}
	info, err := dist.Check(filename, c.staged, c.size)
	if err != nil {
		return Receipt{}, distError(filename, err)
	}
	if err := c.keep(ctx); err != nil {
		return Receipt{}, err
	}
	file := publish.File{
		Filename: filename, Project: project, Version: filename.Version().String(),
		Size: c.size, SHA256: c.sha256, MetadataSHA256: metadataSum(info),
		RequiresPython: info.Metadata.RequiresPython, Uploader: a.id,
	}
	if f.Stage {
		return x.stage(ctx, receipt, file)
	}
	done, err := x.publisher.Publish(ctx, publish.AddFile{File: file})
	if errors.Is(err, publish.ErrNotRegistry) && x.records != nil {
		return x.stage(ctx, receipt, file)
	}
	if errors.Is(err, publish.ErrNoSigner) && x.records != nil {
		return x.waitFile(ctx, receipt, file)
	}
	if err != nil {
		return Receipt{}, publishError(filename.String(), err)
	}
	receipt.Publication, receipt.Unchanged = done.Publication, done.Unchanged
	return receipt, nil
}

// identify compares what the form says about the file with the file's name.
func identify(f *Form) (pypi.Project, pypi.Filename, error) {
	fail := func(r *Refusal) (pypi.Project, pypi.Filename, error) { return pypi.Project{}, pypi.Filename{}, r }
	project, err := pypi.ParseProject(f.Name)
	if err != nil {
		return fail(refuse(Invalid, "%v", err))
	}
	filename, err := pypi.ParseFilenameFor(project, f.Filename)
	if err != nil {
		return fail(refuse(Invalid, "%v", err))
	}
	version, err := pypi.ParseVersion(f.Version)
	if err != nil {
		return fail(refuse(Invalid, "%v", err))
	}
	if version.Compare(filename.Version()) != 0 {
		return fail(refuse(Invalid, "the form says version %s, the file name %s says %s", version, filename, filename.Version()))
	}
	kinds := map[string]pypi.Kind{"sdist": pypi.Sdist, "bdist_wheel": pypi.Wheel}
	if kinds[f.Filetype] != filename.Kind() {
		return fail(refuse(Invalid, "the form says the file is of type %s, but %s is a %s", f.Filetype, filename, filename.Kind()))
	}
	if f.PyVersion != "" && (f.PyVersion == "source") != (filename.Kind() == pypi.Sdist) {
		return fail(refuse(Invalid, "the form says pyversion %s, which does not fit %s: it is \"source\" for an sdist, and for nothing else", f.PyVersion, filename))
	}
	return project, filename, nil
}

// listed returns the number of the current publication if it lists the file with these very
// bytes, and 0 if it does not list the name.
func (x *Index) listed(ctx context.Context, name pypi.Filename, c *Content) (int64, error) {
	view := x.publisher.Current()
	if !x.exists(name.Project()) {
		return 0, nil
	}
	found, err := view.Find(ctx, view.Layout().Path(name.Project(), name))
	switch {
	case errors.Is(err, trust.ErrNotFound), expired(err):
		return 0, nil
	case err != nil:
		return 0, fmt.Errorf("looking up %s: %w", name, err)
	}
	if sum, ok := found.Target.Hashes.SHA256(); !ok || sum != c.sha256 {
		return 0, refuse(Exists, "File already exists: %s with other content; a file name can not be used twice, raise the version", name)
	}
	return view.Number(), nil
}

// expired reports whether a search ended at a role that has expired. The role of a claimed project
// may: its maintainers then upload and sign the release that renews it.
func expired(err error) bool {
	var refused *trust.RefusedError
	return errors.As(err, &refused) && refused.Code == trust.Expired
}

// metadataSum returns the hash of a wheel's METADATA, which is served beside it (PEP 658), nil if the
// file has none to serve. METADATA itself is taken out of the kept wheel when somebody asks for it
// first: an upload does not wait for a second file to be on the disk.
func metadataSum(info *dist.Info) *[32]byte {
	if info.CoreMetadata == nil {
		return nil
	}
	sum := sha256.Sum256(info.CoreMetadata)
	return &sum
}

func warnings(name pypi.Filename) []string {
	if name.IsCanonical() {
		return nil
	}
	return []string{fmt.Sprintf("the file name %s is not spelled as current build tools do; rebuild with a current one", name)}
}

// distError turns what is wrong with an archive into a refusal.
func distError(name pypi.Filename, err error) error {
	var invalid *dist.InvalidError
	if !errors.As(err, &invalid) {
		return fmt.Errorf("reading %s: %w", name, err)
	}
	kind := Invalid
	if invalid.Rule == dist.RuleSize {
		kind = TooLarge
	}
	r := refuse(kind, "%s: %s", name, invalid.Reason)
	r.Err = err
	if phrase(invalid.Reason) != invalid.Reason || len(r.Message) == maxMessage {
		r.Detail = invalid.Reason // the message had to be cut
	}
	return r
}

// publishError turns what the publisher says about a change into a refusal.
func publishError(what string, err error) error {
	r := func() *Refusal {
		switch {
		case errors.Is(err, publish.ErrFileExists):
			return refuse(Exists, "File already exists: %s was used before; a file name can not be used twice, not even after deletion", what)
		case errors.Is(err, publish.ErrSdistExists):
			return refuse(Invalid, "%s: its version has a source distribution already; raise the version", what)
		case errors.Is(err, publish.ErrTooManyFiles):
			return refuse(Invalid, "%s: the project has as many files as clients can read; delete old ones first", what)
		case errors.Is(err, publish.ErrNoFile):
			return refuse(NotFound, "%s is not listed here", what)
		case errors.Is(err, publish.ErrNotRegistry):
			return refuse(Forbidden, "%s: the project is claimed, so its maintainers have to sign the change", what)
		case errors.Is(err, publish.ErrInvalid), errors.Is(err, policy.ErrCustom):
			return refuse(Invalid, "%v", err)
		case errors.Is(err, publish.ErrExpired):
			return refuse(Unavailable, "%s: clients refuse the project until the operators of the index have signed an expired role", what)
		case errors.Is(err, publish.ErrNoSigner):
			return refuse(Unavailable, "%s: the index's signer is not connected; nothing was changed, try again when it is", what)
		case errors.Is(err, publish.ErrNotSigned):
			return refuse(Unavailable, "%s: the index's signer refuses to sign it; nothing was changed, the index's operators have to look why", what)
		case errors.Is(err, publish.ErrBusy):
			return refuse(Busy, "the index has too many uploads at the moment; try again in a moment")
		case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
			return nil
		}
		return refuse(Unavailable, "the index can not publish at the moment; nothing was changed, try again later")
	}()
	if r == nil {
		return fmt.Errorf("publishing %s: %w", what, err)
	}
	r.Err = err
	return r
}
