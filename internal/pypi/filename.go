package pypi

import (
	"errors"
	"fmt"
	"strings"
)

// MaxFilenameLength is the longest distribution file name, in bytes. A mirror
// stores a file as SHA256.FILENAME, 65 bytes more, and file systems stop at 255.
const MaxFilenameLength = 190

// ErrAmbiguous is wrapped when a source distribution's file name has several
// hyphens, so that where the project name ends is anybody's guess. With the
// project at hand, [ParseFilenameFor] can tell.
var ErrAmbiguous = errors.New("the file name does not say where the project name ends")

// ErrOtherProject is wrapped when a file name is well formed but belongs to
// another project than the one asked for.
var ErrOtherProject = errors.New("the file belongs to another project")

// Kind says what sort of distribution a file is.
type Kind int

// The kinds of distribution. The zero Kind is none.
const (
	Wheel Kind = iota + 1 // built distribution, .whl
	Sdist                 // source distribution, .tar.gz or (old) .zip
)

// String returns "wheel", "sdist" or "unknown".
func (k Kind) String() string {
	switch k {
	case Wheel:
		return "wheel"
	case Sdist:
		return "sdist"
	}
	return "unknown"
}

// Filename is the file name of a distribution, taken apart. It is one path
// segment of ASCII letters, digits and ". _ + ! -", it begins with a letter
// or digit, and it ends in .whl, .tar.gz or .zip.
//
// Only [ParseFilename] and [ParseFilenameFor] make one; it can be compared with
// == and used as a map key. The zero value is no file name.
type Filename struct {
	name    string
	kind    Kind
	project Project
	version string // normal form
}

// Tags is what the name of a wheel says about where the wheel fits. The lists
// are the dot-separated sets of PEP 425, not multiplied out.
type Tags struct {
	Build    string // "" when there is none; begins with a digit
	Python   []string
	ABI      []string
	Platform []string
}

// ParseFilename takes a file name apart that stands alone. A name of unknown
// form gives a *[SyntaxError]; an sdist with a hyphen in its project name
// gives an error that wraps [ErrAmbiguous].
func ParseFilename(name string) (Filename, error) {
	stem, kind, err := splitFilename(name)
	if err != nil {
		return Filename{}, err
	}
	if kind == Wheel {
		return parseWheel(name, stem)
	}
	if strings.Count(stem, "-") > 1 {
		return Filename{}, fmt.Errorf("file name %s: %w; name the project, or write its name with underscores (PEP 625)",
			quote(name), ErrAmbiguous)
	}
	projectPart, versionPart, ok := strings.Cut(stem, "-")
	if !ok {
		return Filename{}, filenameError(name, "a source distribution is named PROJECT-VERSION.tar.gz")
	}
	project, err := ParseProject(projectPart)
	if err != nil {
		return Filename{}, filenameError(name, err.Error())
	}
	version, err := ParseVersion(versionPart)
	if err != nil {
		return Filename{}, filenameError(name, err.Error())
	}
	return Filename{name, kind, project, version.String()}, nil
}

// ParseFilenameFor takes a file name apart that is known to belong to project.
// It also accepts what tools wrote before PEP 625, an sdist with hyphens in its
// project name.
//
// A name of unknown form gives a *[SyntaxError]; a file of another project
// gives an error that wraps [ErrOtherProject].
func ParseFilenameFor(project Project, name string) (Filename, error) {
	stem, kind, err := splitFilename(name)
	if err != nil {
		return Filename{}, err
	}
	if kind == Wheel {
		f, err := parseWheel(name, stem)
		if err != nil {
			return Filename{}, err
		}
		if f.project != project {
			return Filename{}, otherProject(project, name)
		}
		return f, nil
	}
	// At most one prefix can be a spelling of the project: a longer one has more
	// letters or digits and so another normal form.
	for i := range len(stem) {
		if stem[i] != '-' {
			continue
		}
		if p, err := ParseProject(stem[:i]); err != nil || p != project {
			continue
		}
		version, err := ParseVersion(stem[i+1:])
		if err != nil {
			return Filename{}, filenameError(name, err.Error())
		}
		return Filename{name, kind, project, version.String()}, nil
	}
	return Filename{}, otherProject(project, name)
}

func otherProject(project Project, name string) error {
	return fmt.Errorf("file name %s: %w; a file of %s begins with that name",
		quote(name), ErrOtherProject, quote(project.String()))
}

func filenameError(name, reason string) error {
	return &SyntaxError{What: "file name", Input: name, Reason: reason}
}

// splitFilename applies what holds for every file name and cuts the extension.
func splitFilename(name string) (stem string, kind Kind, err error) {
	switch {
	case name == "":
		return "", 0, filenameError(name, "it is empty")
	case len(name) > MaxFilenameLength:
		return "", 0, filenameError(name, "it is longer than 190 bytes; use a shorter version or fewer platform tags")
	}
	for i := range len(name) {
		if c := name[i]; !isAlnum(c) && strings.IndexByte("-_.+!", c) < 0 {
			return "", 0, filenameError(name, `use only ASCII letters, digits, "-", "_", ".", "+" and "!"`)
		}
	}
	if stem, ok := strings.CutSuffix(name, ".whl"); ok {
		return stem, Wheel, nil
	}
	for _, suffix := range []string{".tar.gz", ".zip"} {
		if stem, ok := strings.CutSuffix(name, suffix); ok {
			return stem, Sdist, nil
		}
	}
	return "", 0, filenameError(name, "only wheels (.whl) and source distributions (.tar.gz, .zip) are kept here")
}

// parseWheel applies PEP 427: PROJECT-VERSION[-BUILD]-PYTHON-ABI-PLATFORM.
func parseWheel(name, stem string) (Filename, error) {
	parts := strings.Split(stem, "-")
	if len(parts) != 5 && len(parts) != 6 {
		return Filename{}, filenameError(name, "a wheel is named PROJECT-VERSION[-BUILD]-PYTHON-ABI-PLATFORM.whl")
	}
	if strings.Contains(parts[0], "__") {
		return Filename{}, filenameError(name, "installers refuse wheels with two underscores in a row in the project name; use one")
	}
	project, err := ParseProject(parts[0])
	if err != nil {
		return Filename{}, filenameError(name, err.Error())
	}
	version, err := ParseVersion(parts[1])
	if err != nil {
		return Filename{}, filenameError(name, err.Error())
	}
	if len(parts) == 6 && !isBuildTag(parts[2]) {
		return Filename{}, filenameError(name, "the build tag must begin with a digit and hold letters, digits, \"_\" and \".\" only")
	}
	for _, tags := range parts[len(parts)-3:] {
		if !isTagSet(tags) {
			return Filename{}, filenameError(name, "a compatibility tag holds letters, digits and \"_\" only, sets of tags are joined by \".\"")
		}
	}
	return Filename{name, Wheel, project, version.String()}, nil
}

func isBuildTag(s string) bool {
	if s == "" || !isDigit(s[0]) {
		return false
	}
	return strings.IndexFunc(s, func(r rune) bool { return r == '+' || r == '!' }) < 0
}

func isTagSet(s string) bool {
	for tag := range strings.SplitSeq(s, ".") {
		if tag == "" || strings.ContainsAny(tag, "+!") {
			return false
		}
	}
	return true
}

// String returns the file name as it was given.
func (f Filename) String() string { return f.name }

// IsZero reports whether f is the zero value, which is no file name.
func (f Filename) IsZero() bool { return f.name == "" }

// Kind returns Wheel or Sdist.
func (f Filename) Kind() Kind { return f.kind }

// Project returns the project that the file belongs to.
func (f Filename) Project() Project { return f.project }

// Version returns the version that the name states; its String is the normal
// form whatever the spelling in the name.
func (f Filename) Version() Version {
	v, err := ParseVersion(f.version)
	if err != nil { // only for the zero Filename
		return Version{}
	}
	return v
}

// Tags returns the compatibility tags of a wheel's name, and false for
// anything else.
func (f Filename) Tags() (Tags, bool) {
	if f.kind != Wheel {
		return Tags{}, false
	}
	parts := strings.Split(strings.TrimSuffix(f.name, ".whl"), "-")
	n := len(parts)
	tags := Tags{
		Python:   strings.Split(parts[n-3], "."),
		ABI:      strings.Split(parts[n-2], "."),
		Platform: strings.Split(parts[n-1], "."),
	}
	if n == 6 {
		tags.Build = parts[2]
	}
	return tags, true
}

// IsCanonical reports whether the name is spelled as today's specifications
// ask of build tools: the project normalised with underscores, the version in
// normal form, and .tar.gz for an sdist (PEP 625). Older tools differ, so this
// is a reason to warn before it is one to refuse.
func (f Filename) IsCanonical() bool {
	prefix := strings.ReplaceAll(f.project.name, "-", "_") + "-" + f.version
	switch f.kind {
	case Wheel:
		return strings.HasPrefix(f.name, prefix+"-")
	case Sdist:
		return f.name == prefix+".tar.gz"
	}
	return false
}
