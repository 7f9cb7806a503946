package publish

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/repo"
)

// fileList is a project's list of files while a batch edits it: the published role, and on top of
// it what the changes of this batch did. It belongs to the publisher's goroutine.
type fileList struct {
	project   pypi.Project
	layout    policy.Layout
	base      *tuf.Targets // nil: the project is new
	authority tuf.Authority
	names     *nameRegister

	changed map[tuf.TargetPath]*tuf.Target // nil: taken off the list
	used    []File
	renew   bool        // sign a new version even if nothing changed
	rekey   bool        // the registry has another key: the bin delegates anew to authority
	err     error       // why the role can not be published; its changes fail, those of others do not
	failed  func(error) // told of err while the batch is built; nil: nobody has to know

	entry *RecordEntry // what the record says of the change; nil: nothing

	signed Metadata // set by the batch
}

// lookup returns a file as the list stands now.
func (l *fileList) lookup(path tuf.TargetPath) (tuf.Target, bool) {
	if t, ok := l.changed[path]; ok {
		if t == nil {
			return tuf.Target{}, false
		}
		return *t, true
	}
	if l.base == nil {
		return tuf.Target{}, false
	}
	return l.base.Lookup(path)
}

func (l *fileList) put(t tuf.Target)           { l.edit(t.Path, &t) }
func (l *fileList) remove(path tuf.TargetPath) { l.edit(path, nil) }

func (l *fileList) edit(path tuf.TargetPath, t *tuf.Target) {
	if l.changed == nil {
		l.changed = make(map[tuf.TargetPath]*tuf.Target)
	}
	l.changed[path] = t
}

// use records that a file name is taken from now on.
func (l *fileList) use(f File) {
	l.names.taken[f.Filename.String()] = true
	l.used = append(l.used, f)
}

// claimName refuses a name that was ever used.
func (l *fileList) claimName(ctx context.Context, name pypi.Filename) error {
	return l.names.free(ctx, name)
}

// sdistOf returns the source distribution of a version that the list has, if there is one.
func (l *fileList) sdistOf(v pypi.Version) (string, bool) {
	is := func(path tuf.TargetPath) (string, bool) {
		// A cheap test first: nearly all files of a large project are wheels.
		if strings.HasSuffix(string(path), ".whl") {
			return "", false
		}
		_, name, err := policy.ParsePath(path)
		if err != nil || name.Kind() != pypi.Sdist || name.Version().Compare(v) != 0 {
			return "", false
		}
		return name.String(), true
	}
	for path, t := range l.changed {
		if name, ok := is(path); ok && t != nil {
			return name, true
		}
	}
	if l.base == nil {
		return "", false
	}
	for t := range l.base.All() {
		if _, edited := l.changed[t.Path]; edited {
			continue
		}
		if name, ok := is(t.Path); ok {
			return name, true
		}
	}
	return "", false
}

// failure implements edit.
func (l *fileList) failure() error { return l.err }

// touched reports whether the project's role needs a new version.
func (l *fileList) touched() bool { return l.renew || len(l.changed) > 0 }

// deleted returns the published files that the list loses, by path.
func (l *fileList) deleted() []tuf.TargetPath {
	var out []tuf.TargetPath
	for path, t := range l.changed {
		if t == nil && l.base != nil && listed(l.base, path) {
			out = append(out, path)
		}
	}
	slices.Sort(out)
	return out
}

// draft renders the new version of the project's role.
func (l *fileList) draft(issue repo.Issue) (*repo.Draft, error) {
	paths := slices.Sorted(maps.Keys(l.changed))
	var edit repo.TargetsEdit
	for _, path := range paths {
		switch t := l.changed[path]; {
		case t != nil:
			edit.Put = append(edit.Put, *t)
		case l.base != nil && listed(l.base, path):
			edit.Remove = append(edit.Remove, path)
		}
	}
	if l.base == nil {
		return repo.NewTargets(repo.TargetsSpec{Targets: edit.Put}, issue)
	}
	return repo.EditTargets(l.base, edit, issue)
}

func listed(base *tuf.Targets, path tuf.TargetPath) bool {
	_, ok := base.Lookup(path)
	return ok
}

// nameRegister knows which file names were ever used: those in the ledger, and those that the
// batch at hand has used.
type nameRegister struct {
	ledger Ledger
	taken  map[string]bool
}

func (n *nameRegister) free(ctx context.Context, name pypi.Filename) error {
	if n.taken[name.String()] {
		return fmt.Errorf("%s is being published already: %w", name, ErrFileExists)
	}
	f, err := n.ledger.File(ctx, name)
	switch {
	case errors.Is(err, ErrNotFound):
		return nil
	case err != nil:
		return fmt.Errorf("looking up the file name %s: %w", name, err)
	}
	return fmt.Errorf("%s was used before, on %s: %w", name, f.Uploaded.Format("2006-01-02"), ErrFileExists)
}
