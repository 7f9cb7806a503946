package policy

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"

	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/tuf"
)

// BinsMember is the additional member of the top-level targets that states the
// number of bins, so that a client can tell a project's path.
const BinsMember = "x-bailiwick-bins"

var (
	// ErrLayout means: a number of bins that no layout has, or none stated.
	ErrLayout = errors.New("not a layout of bins")
	// ErrForeignPath means: a target path that is not BIN/PROJECT/FILENAME.
	ErrForeignPath = errors.New("not the path of a distribution file")
)

// maxDigits is the number of hex digits of the finest layout.
const maxDigits = 4

// Layout says how projects are spread over bins. Make one with [NewLayout] or
// [LayoutOf]; the zero value is no layout. Layouts can be compared with ==.
type Layout struct{ digits int }

// NewLayout returns the layout of 16, 256, 4096 or 65536 bins. Any other number
// is [ErrLayout].
func NewLayout(bins int) (Layout, error) {
	for digits := 1; digits <= maxDigits; digits++ {
		if bins == 1<<(4*digits) {
			return Layout{digits}, nil
		}
	}
	return Layout{}, fmt.Errorf("%d bins; choose 16, 256, 4096 or 65536: %w", bins, ErrLayout)
}

// LayoutOf returns the layout that verified top-level targets state. Targets that
// state none, or not in that form, give [ErrLayout]: it is no repository of
// Bailiwick.
func LayoutOf(targets *tuf.Targets) (Layout, error) {
	raw, ok := targets.Member(BinsMember)
	if !ok {
		return Layout{}, fmt.Errorf("top-level targets have no member %q: %w", BinsMember, ErrLayout)
	}
	bins, err := strconv.Atoi(string(raw))
	if err != nil || strconv.Itoa(bins) != string(raw) {
		return Layout{}, fmt.Errorf("member %q of top-level targets is not a number: %w", BinsMember, ErrLayout)
	}
	return NewLayout(bins)
}

// Bins returns the number of bins of each tree.
func (l Layout) Bins() int {
	if l.digits == 0 {
		return 0
	}
	return 1 << (4 * l.digits)
}

// BinNames yields the bins' names in order: "00" to "ff" where there are 256.
func (l Layout) BinNames() iter.Seq[string] {
	return func(yield func(string) bool) {
		for i := range l.Bins() {
			if !yield(fmt.Sprintf("%0*x", l.digits, i)) {
				return
			}
		}
	}
}

// Bin returns the bin of a project.
func (l Layout) Bin(p pypi.Project) string { return digest(p)[:l.digits] }

// Dir returns the folder of a project's files, such as "3f/flask".
func (l Layout) Dir(p pypi.Project) string { return l.Bin(p) + "/" + p.String() }

// Path returns the target path of a project's file. Neither may be the zero value.
func (l Layout) Path(p pypi.Project, f pypi.Filename) tuf.TargetPath {
	return tuf.TargetPath(l.Dir(p) + "/" + f.String())
}

// BinPattern is the pattern by which a bin is delegated, such as "3f/*/*".
func (l Layout) BinPattern(bin string) string { return bin + "/*/*" }

// ProjectPattern is the pattern by which a project is delegated, such as
// "3f/flask/*". A normalised name has no character that means something in a pattern.
func (l Layout) ProjectPattern(p pypi.Project) string { return l.Dir(p) + "/*" }

// ClaimedBin returns the role of the project's bin in the claimed tree.
func (l Layout) ClaimedBin(p pypi.Project) tuf.RoleName { return claimedBin(l.Bin(p)) }

// UnclaimedBin returns the role of the project's bin in the unclaimed tree.
func (l Layout) UnclaimedBin(p pypi.Project) tuf.RoleName { return unclaimedBin(l.Bin(p)) }

func digest(p pypi.Project) string {
	sum := sha256.Sum256([]byte(p.String()))
	return hex.EncodeToString(sum[:])
}

// ParsePath takes a target path apart. The bin must be one that a layout puts the
// project in, the name normalised, and the file one of that project. Errors wrap
// [ErrForeignPath].
func ParsePath(path tuf.TargetPath) (pypi.Project, pypi.Filename, error) {
	foreign := func(format string, args ...any) (pypi.Project, pypi.Filename, error) {
		return pypi.Project{}, pypi.Filename{}, fmt.Errorf("target %q: "+format+": %w", append(append([]any{path}, args...), ErrForeignPath)...)
	}
	bin, rest, _ := strings.Cut(string(path), "/")
	name, file, ok := strings.Cut(rest, "/")
	if !ok || strings.Contains(file, "/") {
		return foreign("does not have the form BIN/PROJECT/FILENAME")
	}
	if !pypi.IsNormalized(name) {
		return foreign("%q is not a normalised project name", name)
	}
	p, err := pypi.ParseProject(name)
	if err != nil {
		return foreign("%w", err)
	}
	if bin == "" || len(bin) > maxDigits || !strings.HasPrefix(digest(p), bin) {
		return foreign("project %s does not lie in bin %q", p, bin)
	}
	f, err := pypi.ParseFilenameFor(p, file)
	if err != nil {
		return foreign("%w", err)
	}
	return p, f, nil
}
