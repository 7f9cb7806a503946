package pypi

// MaxProjectLength is the longest project name, in bytes. Together with
// [MaxFilenameLength] it keeps every path of the repository, and every
// metadata file name, inside what file systems accept.
const MaxProjectLength = 128

// Project is the name of a project in its normalised form (PEP 503):
// lower-case ASCII letters, digits and single hyphens, beginning and ending
// with a letter or digit. Two spellings of one name give equal values, so a
// Project can be compared with == and used as a map key.
//
// Only [ParseProject] makes one. The zero value is no project.
type Project struct {
	name string
}

// ParseProject takes any spelling that PEP 508 allows for a project name
// (letters, digits, and "-", "_", "." inside) and normalises it: letters to
// lower case, each run of "-", "_" and "." to one "-".
//
// Everything else gives a *[SyntaxError].
func ParseProject(name string) (Project, error) {
	if reason := checkProject(name); reason != "" {
		return Project{}, &SyntaxError{What: "project name", Input: name, Reason: reason}
	}
	if IsNormalized(name) {
		return Project{name}, nil
	}
	normal := make([]byte, 0, len(name))
	for i := range len(name) {
		c := name[i]
		if !isAlnum(c) {
			if isAlnum(name[i-1]) { // first of a run; name begins with a letter or digit
				normal = append(normal, '-')
			}
			continue
		}
		normal = append(normal, lower(c))
	}
	return Project{string(normal)}, nil
}

// checkProject applies the name rule of PEP 508 and returns what is wrong,
// or "".
func checkProject(name string) string {
	switch {
	case name == "":
		return "it is empty; give the name of a project"
	case len(name) > MaxProjectLength:
		return "it is longer than 128 bytes; choose a shorter name"
	}
	for i := range len(name) {
		if c := name[i]; !isAlnum(c) && c != '-' && c != '_' && c != '.' {
			return `use only ASCII letters, digits, "-", "_" and "."`
		}
	}
	if !isAlnum(name[0]) || !isAlnum(name[len(name)-1]) {
		return "it must begin and end with a letter or digit"
	}
	return ""
}

// IsNormalized reports whether name is a project name that is already in
// normalised form, that is, whether ParseProject would return it unchanged.
func IsNormalized(name string) bool {
	if name == "" || len(name) > MaxProjectLength {
		return false
	}
	hyphen := true // what stands before the current byte separates
	for i := range len(name) {
		switch c := name[i]; {
		case isDigit(c) || 'a' <= c && c <= 'z':
			hyphen = false
		case c == '-' && !hyphen:
			hyphen = true
		default:
			return false
		}
	}
	return !hyphen
}

// String returns the normalised name, or "" for the zero value.
func (p Project) String() string { return p.name }

// IsZero reports whether p is the zero value, which is no project.
func (p Project) IsZero() bool { return p.name == "" }

// MarshalText returns the normalised name.
func (p Project) MarshalText() ([]byte, error) { return []byte(p.name), nil }

// UnmarshalText parses like [ParseProject].
func (p *Project) UnmarshalText(text []byte) error {
	q, err := ParseProject(string(text))
	if err != nil {
		return err
	}
	*p = q
	return nil
}
