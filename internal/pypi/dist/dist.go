// Package dist checks distributions, wheels and sdists, before an index takes
// them, and reads the core metadata out of them.
//
// What arrives is hostile until proven otherwise, and several programs will
// unpack it later, each in its own way. The rules therefore admit only archives
// that every program reads alike: for a zip, one directory that agrees with
// the local headers byte for byte, no gap, no overlap, nothing before or after;
// for a tar, plain members below one directory. See [Rule] for all of them.
//
// Specifications: wheels (PEP 427), sdists (PEP 517, PEP 625), core metadata
// (PEP 566, 643 and their successors), recording installed files (PEP 376).
//
// Work and memory are bounded by [Limits]. Of a zip only the three members that
// matter are unpacked; a tar has to be read once in full, because only its end
// says that nothing more comes. The package is pure; its functions may run
// concurrently.
package dist

import (
	"fmt"
	"io"
	"regexp"

	"example.com/bailiwick/internal/pypi"
)

// Rule names what a distribution breaks. The words are stable: tests, metrics
// and documentation use them.
type Rule string

// The rules.
const (
	RuleFraming   Rule = "framing"    // not exactly one archive, or it contradicts itself
	RuleMember    Rule = "member"     // an encrypted, linked, sparse or special member
	RuleMethod    Rule = "method"     // a compression method other than stored and deflate
	RulePath      Rule = "path"       // a member name that could leave the directory it is unpacked in
	RuleDuplicate Rule = "duplicate"  // two members with one name
	RuleCount     Rule = "count"      // too many members
	RuleSize      Rule = "size"       // a member or the whole is too large
	RuleRatio     Rule = "ratio"      // unpacks to far more than its size
	RuleTopDir    Rule = "top-dir"    // an sdist without exactly one top directory
	RuleDistInfo  Rule = "dist-info"  // a wheel without exactly one fitting .dist-info directory
	RuleMissing   Rule = "missing"    // METADATA, WHEEL, RECORD or PKG-INFO is not there
	RuleMetadata  Rule = "metadata"   // unreadable or incomplete core metadata
	RuleWheelFile Rule = "wheel-file" // unreadable or unknown WHEEL
	RuleRecord    Rule = "record"     // RECORD and the members differ
	RuleIdentity  Rule = "identity"   // name or version differ from the file name
)

// InvalidError reports a distribution that breaks a rule. It is about the
// file's content alone: trouble with reading it comes as another error.
type InvalidError struct {
	Rule   Rule
	Reason string // what is wrong, with what, and what to do where that is not obvious
}

// Error returns the reason.
func (e *InvalidError) Error() string { return e.Reason }

func invalid(rule Rule, format string, args ...any) error {
	return &InvalidError{rule, fmt.Sprintf(format, args...)}
}

// Limits bounds what a distribution may ask of whoever reads it.
type Limits struct {
	Members   int   // members of an archive
	Directory int64 // bytes of a zip's directory, or of the names in a tar
	Metadata  int64 // bytes of METADATA, WHEEL or PKG-INFO
	Record    int64 // bytes of RECORD
	Unpacked  int64 // bytes of all members together
	Ratio     int64 // unpacked size by size of the archive …
	RatioFrom int64 // … once more than so many bytes are unpacked
}

// DefaultLimits returns the bounds of [Check]. Ratio and RatioFrom are those of
// the public index.
func DefaultLimits() Limits {
	return Limits{
		Members:   65_534, // what a zip without the 64-bit extension can count
		Directory: 16 << 20,
		Metadata:  4 << 20,
		Record:    16 << 20,
		Unpacked:  8 << 30,
		Ratio:     50,
		RatioFrom: 64 << 20,
	}
}

// Info is what an index needs to know of a distribution.
type Info struct {
	Filename pypi.Filename
	Metadata *Metadata

	// CoreMetadata is the METADATA of a wheel byte for byte, to be served beside
	// the file (PEP 658). It is nil for an sdist, whose metadata may change when
	// it is built.
	CoreMetadata []byte

	Members  int   // members of the archive, directories included
	Unpacked int64 // bytes that they unpack to
}

// Check applies every rule with [DefaultLimits] to the size bytes of r, which
// are to be stored as filename.
//
// A file that breaks a rule gives an *[InvalidError]; any other error comes
// from r and says nothing about the file.
func Check(filename pypi.Filename, r io.ReaderAt, size int64) (*Info, error) {
	return DefaultLimits().Check(filename, r, size)
}

// Check is [Check] with bounds other than the default.
func (l Limits) Check(filename pypi.Filename, r io.ReaderAt, size int64) (*Info, error) {
	var info *Info
	var err error
	switch name := filename.String(); {
	case filename.Kind() == pypi.Wheel:
		info, err = l.checkWheel(filename, r, size)
	case filename.Kind() == pypi.Sdist && name[len(name)-4:] == ".zip":
		info, err = l.checkZipSdist(filename, r, size)
	case filename.Kind() == pypi.Sdist:
		info, err = l.checkTarSdist(filename, r, size)
	default:
		return nil, &pypi.SyntaxError{What: "file name", Input: name, Reason: "it is empty"}
	}
	if err == nil {
		err = checkRequirements(info.Metadata)
	}
	if err != nil {
		return nil, err
	}
	info.Filename = filename
	return info, nil
}

// directReference is a requirement that names an address, as PEP 508 writes it.
var directReference = regexp.MustCompile(`^[A-Za-z0-9._-]+\s*(?:\[[^\]]*\])?\s*@`)

// checkRequirements refuses dependencies that name an address: installers fetch them from there,
// past the index and whatever it vouches for. The public index refuses them, too.
func checkRequirements(m *Metadata) error {
	for _, requirement := range m.fields["requires-dist"] {
		if directReference.MatchString(requirement) {
			return invalid(RuleMetadata, "the metadata requires %.100q, which is an address: name the project and its versions, and upload what it needs to an index", requirement)
		}
	}
	return nil
}

// checkIdentity compares what the metadata says of itself with the file name,
// and checks what an index page repeats of it.
func checkIdentity(filename pypi.Filename, m *Metadata) error {
	project, err := pypi.ParseProject(m.Name)
	if err != nil {
		return invalid(RuleMetadata, "the metadata is unusable: %v", err)
	}
	if project != filename.Project() {
		return invalid(RuleIdentity, "the metadata names project %.80q, the file name %q; rebuild the file under its own name",
			m.Name, filename.Project())
	}
	version, err := pypi.ParseVersion(m.Version)
	if err != nil {
		return invalid(RuleMetadata, "the metadata is unusable: %v", err)
	}
	if version.Compare(filename.Version()) != 0 {
		return invalid(RuleIdentity, "the metadata states version %.80q, the file name %q; rebuild the file under its own name",
			m.Version, filename.Version())
	}
	if err := pypi.CheckRequiresPython(m.RequiresPython); err != nil {
		return invalid(RuleMetadata, "the metadata is unusable: %v", err)
	}
	return nil
}

// checkTotal applies the bounds on what an archive unpacks to.
func (l Limits) checkTotal(unpacked, size int64) error {
	if unpacked > l.Unpacked {
		return invalid(RuleSize, "the archive unpacks to more than %d bytes", l.Unpacked)
	}
	if unpacked > l.RatioFrom && unpacked/l.Ratio > size {
		return invalid(RuleRatio, "the archive unpacks to more than %d times its size", l.Ratio)
	}
	return nil
}
