package simple

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"path"
	"strings"
	"time"
	"unicode/utf8"

	"example.com/bailiwick/internal/pypi"
)

// Bounds of pages that are read. A page of 5,000 files takes about 3 MiB, a
// list of a million names about 22 MiB.
const (
	MaxPageSize = 64 << 20  // bytes of a project's page
	MaxListSize = 256 << 20 // bytes of the project list

	maxFiles     = 100_000
	maxVersions  = 100_000
	maxProjects  = 5_000_000
	maxURLLength = 4096
	maxReason    = 4096
)

// ErrPage is wrapped when bytes are not a JSON page of the Simple API, version 1.
var ErrPage = errors.New("not a usable page of the Simple API")

// ParsePage reads the page of one project in its JSON form, of at most
// [MaxPageSize] bytes. Unknown members are passed over, as the standard asks. A
// member given twice, a member of the wrong type, a file without SHA-256 or
// size, a URL that does not end in the file name: each is an error that wraps
// [ErrPage].
//
// Files whose names are not those of wheels or source distributions of the
// project are left out, as installers pass over them too. URLs stay as they
// are, often relative, but lose their fragment.
func ParsePage(data []byte) (*Page, error) {
	p, err := parsePage(data)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPage, err)
	}
	return p, nil
}

func parsePage(data []byte) (*Page, error) {
	if err := checkText(data, MaxPageSize); err != nil {
		return nil, err
	}
	var p Page
	var meta, versions, files json.RawMessage
	err := members(data, map[string]any{"meta": &meta, "name": &p.Name, "versions": &versions, "files": &files})
	if err != nil {
		return nil, err
	}
	if err := checkMeta(meta); err != nil {
		return nil, err
	}
	project, err := pypi.ParseProject(p.Name)
	if err != nil {
		return nil, err
	}
	if project.String() != p.Name {
		return nil, fmt.Errorf("the name %q is not normalised", p.Name)
	}
	if versions != nil { // a page of API 1.0 has none
		p.Versions = []string{}
		err = elements(versions, maxVersions, func(raw json.RawMessage) error {
			var v string
			if err := json.Unmarshal(raw, &v); err != nil {
				return err
			}
			p.Versions = append(p.Versions, v)
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("versions: %w", err)
		}
	}
	err = elements(files, maxFiles, func(raw json.RawMessage) error {
		f, keep, err := parseFile(project, raw)
		if keep {
			p.Files = append(p.Files, f)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("files: %w", err)
	}
	return &p, nil
}

// ParseProjects reads the list of all projects in its JSON form, of at most
// [MaxListSize] bytes, in the order of the page. Errors wrap [ErrPage].
func ParseProjects(data []byte) ([]pypi.Project, error) {
	all, err := parseProjects(data)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPage, err)
	}
	return all, nil
}

func parseProjects(data []byte) ([]pypi.Project, error) {
	if err := checkText(data, MaxListSize); err != nil {
		return nil, err
	}
	var meta, list json.RawMessage
	if err := members(data, map[string]any{"meta": &meta, "projects": &list}); err != nil {
		return nil, err
	}
	if err := checkMeta(meta); err != nil {
		return nil, err
	}
	var all []pypi.Project
	err := elements(list, maxProjects, func(raw json.RawMessage) error {
		var name string
		if err := members(raw, map[string]any{"name": &name}); err != nil {
			return err
		}
		project, err := pypi.ParseProject(name)
		if err != nil {
			return err
		}
		all = append(all, project)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("projects: %w", err)
	}
	return all, nil
}

func checkText(data []byte, limit int) error {
	if len(data) > limit {
		return fmt.Errorf("it is longer than %d bytes", limit)
	}
	if !utf8.Valid(data) { // encoding/json would replace such bytes in silence
		return errors.New("it is not UTF-8")
	}
	return nil
}

// checkMeta accepts every minor version of version 1: a newer one only adds.
func checkMeta(meta json.RawMessage) error {
	var version string
	if err := members(meta, map[string]any{"api-version": &version}); err != nil {
		return fmt.Errorf("meta: %w", err)
	}
	if major, _, _ := strings.Cut(version, "."); major != "1" {
		return fmt.Errorf("it has API version %.20q, this program reads version 1", version)
	}
	return nil
}

// parseFile reads one element of "files"; keep is false when its name is not
// one of a wheel or source distribution of the project.
func parseFile(project pypi.Project, raw json.RawMessage) (f File, keep bool, err error) {
	var (
		requires, uploaded            *string
		size                          *int64
		hashes, metadata, old, yanked json.RawMessage
	)
	err = members(raw, map[string]any{
		"filename": &f.Filename, "url": &f.URL, "hashes": &hashes, "size": &size,
		"requires-python": &requires, "upload-time": &uploaded, "yanked": &yanked,
		"core-metadata": &metadata, "data-dist-info-metadata": &old,
	})
	if err != nil {
		return File{}, false, err
	}
	name, err := pypi.ParseFilenameFor(project, f.Filename)
	if err != nil { // eggs, signatures, names of long ago
		return File{}, false, nil //nolint:nilerr // installers pass over them too
	}
	f.Version = name.Version().String()
	f.URL, _, _ = strings.Cut(f.URL, "#") // pages put the hash there, File has it elsewhere
	if metadata == nil {
		metadata = old
	}
	var problems [6]error
	f.SHA256, problems[0] = parseSHA256(hashes)
	f.Size, problems[1] = parseSize(size)
	f.RequiresPython, problems[2] = parseRequires(requires)
	f.UploadTime, problems[3] = parseTime(uploaded)
	f.MetadataSHA256, problems[4] = parseMetadata(metadata)
	f.Yanked, problems[5] = parseYanked(yanked)
	if err := errors.Join(append(problems[:], checkURL(f.URL, f.Filename))...); err != nil {
		return File{}, false, fmt.Errorf("%s: %w", f.Filename, err)
	}
	return f, true, nil
}

func parseSize(size *int64) (int64, error) {
	if size == nil || *size < 0 {
		return 0, errors.New("there is no size")
	}
	return *size, nil
}

func parseRequires(requires *string) (string, error) {
	switch {
	case requires == nil:
		return "", nil
	case len(*requires) > pypi.MaxSpecifierLength:
		return "", fmt.Errorf("requires-python is longer than %d bytes", pypi.MaxSpecifierLength)
	}
	return *requires, nil
}

func parseTime(uploaded *string) (time.Time, error) {
	if uploaded == nil {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339, *uploaded)
	if err != nil {
		return time.Time{}, fmt.Errorf("upload-time: %w", err)
	}
	t = t.UTC()
	if t.Year() > 9999 { // the zone carried it beyond what a page can state
		return time.Time{}, errors.New("upload-time: the year has more than four digits")
	}
	return t, nil
}

// checkURL checks that installers which take the file name from the URL see
// the same name as those that take it from the page.
func checkURL(raw, filename string) error {
	if len(raw) > maxURLLength {
		return fmt.Errorf("its URL is longer than %d bytes", maxURLLength)
	}
	u, err := url.Parse(raw)
	if err != nil {
		return err
	}
	if path.Base(u.Path) != filename {
		return fmt.Errorf("the last segment of its URL is %.80q", path.Base(u.Path))
	}
	return nil
}

func parseSHA256(hashes json.RawMessage) ([32]byte, error) {
	var digest string
	var sum [32]byte
	if err := members(hashes, map[string]any{"sha256": &digest}); err != nil {
		return sum, fmt.Errorf("hashes: %w", err)
	}
	b, err := hex.DecodeString(digest)
	if err != nil || len(b) != len(sum) {
		return sum, errors.New("there is no usable sha256")
	}
	return [32]byte(b), nil
}

// parseMetadata reads false, true or an object of hashes. A metadata file
// whose bytes can not be checked is treated as one that is not there.
func parseMetadata(raw json.RawMessage) (*[32]byte, error) {
	switch string(raw) {
	case "", "null", "false", "true", "{}":
		return nil, nil
	}
	sum, err := parseSHA256(raw)
	if err != nil {
		return nil, fmt.Errorf("core-metadata: %w", err)
	}
	return &sum, nil
}

// parseYanked reads false, true or a reason.
func parseYanked(raw json.RawMessage) (*string, error) {
	var reason string
	switch string(raw) {
	case "", "null", "false":
		return nil, nil
	case "true":
		return &reason, nil
	}
	if err := json.Unmarshal(raw, &reason); err != nil {
		return nil, fmt.Errorf("yanked: %w", err)
	}
	if len(reason) > maxReason {
		return nil, fmt.Errorf("yanked: the reason is longer than %d bytes", maxReason)
	}
	return &reason, nil
}
