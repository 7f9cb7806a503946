// Package simple renders and reads the pages of a Python package index: the
// Simple API in its JSON form (PEP 691, 700, 714) and in its HTML form
// (PEP 503, 592, 629), frozen at version 1.4 by PEP 833.
//
// Invariants:
//
//   - Equal values give equal bytes, whatever the order of the files, so a
//     hash of a page serves as its ETag.
//   - A page lists SHA-256 and no other hash. Installers are content when one
//     listed hash matches, so a weaker one beside it would replace it.
//   - Nothing is listed that the value does not hold: no guessed size, time or
//     metadata hash.
//
// The package is pure: no file, socket, clock or logger. Values are plain data;
// rendering does not change them and may run concurrently.
package simple

import (
	"slices"
	"strings"
	"time"

	"example.com/bailiwick/internal/pypi"
)

// APIVersion is the version of the Simple API that pages state.
const APIVersion = "1.4"

// File is one distribution file on a project's page.
type File struct {
	// Filename must be the last segment of URL: some installers take the name
	// from one, some from the other.
	Filename string

	// URL may be relative to the page. It is already percent-encoded and holds
	// no fragment.
	URL string

	// SHA256 is the digest of the file.
	SHA256 [32]byte

	// Size of the file in bytes.
	Size int64

	// RequiresPython is the specifier set of PEP 440, or "" when there is none.
	RequiresPython string

	// UploadTime never changes for a file. Pages state it in UTC, cut to
	// microseconds; the zero time is left out.
	UploadTime time.Time

	// MetadataSHA256 is the digest of what is served as URL + ".metadata". It is
	// nil when nothing is: installers treat a missing file as fatal.
	MetadataSHA256 *[32]byte

	// Yanked is nil when the file is not yanked, otherwise the reason, which may
	// be "".
	Yanked *string

	// Version is the version that the file belongs to, in normal form.
	Version string
}

// Page is the page of one project.
type Page struct {
	// Name of the project, normalised.
	Name string

	// Files in any order; pages list them by version, then name.
	Files []File

	// Status of the project as a whole (PEP 792), "" for an active one, and the reason, which may be "".
	Status, StatusReason string

	// Versions are all versions that have files or had some. Nil means those of
	// Files.
	Versions []string
}

// keyed is a version with its parsed form, which is nil for a text that is no
// PEP 440 version; such texts sort first, among themselves as texts.
type keyed struct {
	text   string
	parsed pypi.Version
}

func newKeyed(version string) keyed {
	v, err := pypi.ParseVersion(version)
	if err != nil {
		return keyed{text: version}
	}
	return keyed{version, v}
}

func (k keyed) compare(l keyed) int {
	switch {
	case k.parsed.IsZero() && !l.parsed.IsZero():
		return -1
	case !k.parsed.IsZero() && l.parsed.IsZero():
		return +1
	case !k.parsed.IsZero():
		if c := k.parsed.Compare(l.parsed); c != 0 {
			return c
		}
	}
	return strings.Compare(k.text, l.text)
}

// sortedFiles returns the files in page order without touching p.
func (p *Page) sortedFiles() []*File {
	type entry struct {
		version keyed
		file    *File
	}
	entries := make([]entry, len(p.Files))
	for i := range p.Files {
		entries[i] = entry{newKeyed(p.Files[i].Version), &p.Files[i]}
	}
	slices.SortStableFunc(entries, func(a, b entry) int {
		if c := a.version.compare(b.version); c != 0 {
			return c
		}
		return strings.Compare(a.file.Filename, b.file.Filename)
	})
	files := make([]*File, len(entries))
	for i, e := range entries {
		files[i] = e.file
	}
	return files
}

// AllVersions returns Versions, or the versions of Files when that is nil,
// oldest first and each spelling once. It is never nil.
func (p *Page) AllVersions() []string {
	var all []keyed
	if p.Versions != nil {
		for _, v := range p.Versions {
			all = append(all, newKeyed(v))
		}
	} else {
		seen := make(map[string]bool)
		for i := range p.Files {
			if v := p.Files[i].Version; v != "" && !seen[v] {
				seen[v] = true
				all = append(all, newKeyed(v))
			}
		}
	}
	slices.SortFunc(all, keyed.compare)
	texts := make([]string, 0, len(all))
	for _, v := range all {
		texts = append(texts, v.text)
	}
	return slices.Compact(texts)
}

// Render returns the page as t, which [Negotiate] chose.
func (p *Page) Render(t Type) []byte {
	if t == JSON {
		return p.JSON()
	}
	return p.HTML()
}

// uploadTime is the form of PEP 700; a page never states a zone but UTC.
func uploadTime(t time.Time) string {
	return t.UTC().Truncate(time.Microsecond).Format("2006-01-02T15:04:05.000000Z")
}
