package ceremony

import (
	"bytes"
	"maps"
	"slices"
	"strings"

	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/cjson"
)

// files compares what the payloads list with what is published and staged.
func (j *judge) files() error {
	current := j.s.listing()
	touched := make(map[tuf.TargetPath]bool)
	for role, t := range j.drafts {
		for path, raw := range differences(current.of(role, j.role), t) {
			touched[path] = true
			if raw == nil {
				continue
			}
			if err := j.file(role, path, raw, t, current); err != nil {
				return err
			}
		}
	}
	if j.delegationsChange() {
		for _, l := range []*listing{current, &j.next} {
			for path := range l.all() {
				touched[path] = true
			}
		}
	}
	for _, path := range slices.Sorted(maps.Keys(touched)) {
		j.effect(path, current)
	}
	if n := len(j.out.Removed); j.r.Kind == Claim && n > 0 {
		return refuse(Altered, j.role, "the claim leaves out %d of the files that are listed now, %s first; a claim adopts all of them", n, fileName(j.out.Removed[0]))
	}
	if n := len(j.out.Added); n > 0 && (j.r.Kind == Rekey || j.r.Kind == Recover || j.r.Kind == Claim && j.s.Base != nil) {
		return refuse(Altered, j.role, "a %s adds no files, and this one adds %d, %s first; release them afterwards", j.r.Kind, n, fileName(j.out.Added[0].Path))
	}
	if err := j.noFilesWhenArchived(); err != nil {
		return err
	}
	return j.sdists()
}

// of returns the current version of one of the roles of a listing, nil if there is none.
func (l *listing) of(role, project tuf.RoleName) *tuf.Targets {
	if role == project {
		return l.project
	}
	return l.subs[role]
}

// file checks an entry that is new, or not as it was.
func (j *judge) file(role tuf.RoleName, path tuf.TargetPath, raw entry, t *tuf.Targets, current *listing) error {
	p, name, err := policy.ParsePath(path)
	if err != nil || p != j.s.Project || j.s.Layout.Path(p, name) != path {
		return refuse(Outside, role, "%s lists %.120q, which is no file of the project: paths are %s/FILE", role, path, j.s.Layout.Dir(j.s.Project))
	}
	if d, ok := j.subs[role]; ok && !d.Matches(path) {
		return refuse(Outside, role, "%s lists %s, and may list %v only", role, name, d.Paths())
	}
	next, _ := t.Lookup(path)
	if old, ok := current.lookup(path); ok {
		return j.changed(role, name, &old, &next)
	}
	staged := j.staged[path]
	if len(staged) == 0 {
		return refuse(NotStaged, role, "%s is not staged: upload it first, then sign", name)
	}
	for _, s := range staged {
		if want, err := tuf.AppendTarget(nil, s); err == nil && bytes.Equal(cjson.AppendWire(nil, want), raw) {
			return nil
		}
	}
	return refuse(Altered, role, "%s is listed with another length, hash or description than what was uploaded; read the staged files again and sign what they say", name)
}

// changed checks what may be said otherwise of a published file: that it is yanked, and that its
// maintainers vouch for it now.
func (j *judge) changed(role tuf.RoleName, name pypi.Filename, old, next *tuf.Target) error {
	if old.Length != next.Length || old.Hashes != next.Hashes {
		return refuse(Altered, role, "%s is published with another length or hash; a file name stands for the same bytes for ever", name)
	}
	before, err := policy.DecodeCustom(old.Custom)
	if err != nil {
		return refuse(Altered, role, "what is published about %s can not be read: %v", name, err)
	}
	after, err := policy.DecodeCustom(next.Custom)
	if err != nil {
		return refuse(Altered, role, "what is said of %s can not be read: %v", name, err)
	}
	if !bytes.Equal(lasting(old.Custom), lasting(next.Custom)) {
		return refuse(Altered, role, "%s is published with another description; only \"yanked\" can change, and \"vouched-by\" can go", name)
	}
	claim := j.r.Kind == Claim
	if after.VouchedBy != before.VouchedBy && after.VouchedBy != "" && !claim {
		return refuse(Altered, role, "%s is the maintainers' own; that the index vouches for it can not be added later", name)
	}
	if claim && !sameReason(before.Yanked, after.Yanked) {
		return refuse(Altered, role, "a claim does not yank, and this one changes the mark of %s; release it afterwards", name)
	}
	return nil
}

func sameReason(a, b *string) bool { return a == b || a != nil && b != nil && *a == *b }

// lasting returns the members of a custom object that never change, each after its name.
func lasting(custom []byte) []byte {
	canonical, err := cjson.Canonical(custom, 0)
	if err != nil {
		return nil
	}
	var out []byte
	r := cjson.New(canonical, 0)
	for m := r.Object(); r.Next(&m); {
		name := string(m.Name())
		mark := r.Mark()
		r.Skip()
		raw, _ := r.Since(mark)
		if name != "yanked" && name != "vouched-by" {
			out = append(append(cjson.AppendString(out, name), raw...), ',')
		}
	}
	return out
}

// effect notes what a client will find otherwise under a path.
func (j *judge) effect(path tuf.TargetPath, current *listing) {
	old, was := current.lookup(path)
	next, is := j.next.lookup(path)
	switch {
	case !was && is:
		j.out.Added = append(j.out.Added, next)
	case was && !is:
		j.out.Removed = append(j.out.Removed, path)
	case was && is && !bytes.Equal(old.Custom, next.Custom):
		j.out.Changed = append(j.out.Changed, next)
	}
}

// sdists refuses a second source distribution of a version.
func (j *judge) sdists() error {
	for _, added := range j.out.Added {
		version, ok := j.sdist(added.Path)
		if !ok {
			continue
		}
		for path := range j.next.all() {
			other, ok := j.sdist(path)
			if ok && path != added.Path && other.Compare(version) == 0 {
				return refuse(Altered, j.role, "%s: version %s has the source distribution %s; a version has only one", fileName(added.Path), version, fileName(path))
			}
		}
	}
	return nil
}

// sdist returns the version of which a path is the source distribution. The cheap test comes first:
// nearly all files of a large project are wheels.
func (j *judge) sdist(path tuf.TargetPath) (pypi.Version, bool) {
	if strings.HasSuffix(string(path), ".whl") {
		return pypi.Version{}, false
	}
	name, err := pypi.ParseFilenameFor(j.s.Project, fileName(path))
	if err != nil || name.Kind() != pypi.Sdist {
		return pypi.Version{}, false
	}
	return name.Version(), true
}

// fileName returns the last element of a path.
func fileName(path tuf.TargetPath) string {
	s := string(path)
	return s[strings.LastIndexByte(s, '/')+1:]
}
