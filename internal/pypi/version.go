package pypi

import (
	"cmp"
	"slices"
	"strings"
)

// MaxVersionLength is the longest version, in bytes, before normalisation.
const MaxVersionLength = 128

// Version is a version as PEP 440 defines it. Only [ParseVersion] makes one;
// the zero value is no version.
//
// Versions are compared with [Version.Compare], never with ==: 1.0 and 1.0.0
// are the same version in two spellings.
type Version struct {
	epoch   number
	release []number // at least one
	pre     string   // "", "a", "b" or "rc"
	preN    number
	post    number // "" = not a post-release
	dev     number // "" = not a development release
	local   []string
}

// number is a decimal number without leading zeros. PEP 440 sets no upper
// limit and time stamps with microseconds pass 64 bits, so it stays a text.
type number string

func (n number) compare(m number) int {
	if c := cmp.Compare(len(n), len(m)); c != 0 {
		return c
	}
	return cmp.Compare(n, m)
}

// ParseVersion reads a version in any spelling that PEP 440 accepts,
// including white space around it, and keeps its normal form.
//
// Everything else gives a *[SyntaxError].
func ParseVersion(s string) (Version, error) {
	if len(s) > MaxVersionLength {
		return Version{}, versionError(s, "it is longer than 128 bytes; use a shorter version")
	}
	p := versionParser{rest: strings.ToLower(strings.Trim(s, " \t\n\v\f\r"))}
	v, ok := p.version()
	if !ok || p.rest != "" {
		return Version{}, versionError(s, "write it as PEP 440 says, for example 1.2.3, 1.2rc1 or 1.2.post1")
	}
	return v, nil
}

func versionError(s, reason string) error {
	return &SyntaxError{What: "version", Input: s, Reason: reason}
}

// versionParser consumes a lower-case version from the left. The grammar
// (PEP 440, appendix B) never needs to go back.
type versionParser struct {
	rest string
}

func (p *versionParser) version() (Version, bool) {
	var v Version
	p.accept("v")
	n, ok := p.number()
	if !ok {
		return v, false
	}
	v.epoch = "0"
	if p.accept("!") {
		v.epoch = n
		if n, ok = p.number(); !ok {
			return v, false
		}
	}
	v.release = append(v.release, n)
	for len(p.rest) > 1 && p.rest[0] == '.' && isDigit(p.rest[1]) {
		p.rest = p.rest[1:]
		n, _ = p.number()
		v.release = append(v.release, n)
	}
	v.pre, v.preN = p.pre()
	v.post = p.post()
	_, v.dev = p.labelled("dev")
	v.local, ok = p.local()
	return v, ok
}

func (p *versionParser) accept(prefix string) bool {
	rest, ok := strings.CutPrefix(p.rest, prefix)
	p.rest = rest
	return ok
}

func (p *versionParser) number() (number, bool) {
	i := 0
	for i < len(p.rest) && isDigit(p.rest[i]) {
		i++
	}
	if i == 0 {
		return "", false
	}
	n := trimZeros(p.rest[:i])
	p.rest = p.rest[i:]
	return number(n), true
}

func trimZeros(digits string) string {
	if t := strings.TrimLeft(digits, "0"); t != "" {
		return t
	}
	return "0"
}

// labelled reads an optional separator, one of labels (longer before its own
// prefix), an optional separator and a number that defaults to 0. The number
// is "" when there is no such part.
func (p *versionParser) labelled(labels ...string) (string, number) {
	rest := skipSeparator(p.rest)
	for _, label := range labels {
		after, ok := strings.CutPrefix(rest, label)
		if !ok {
			continue
		}
		p.rest = skipSeparator(after)
		n, ok := p.number()
		if !ok {
			n = "0"
		}
		return label, n
	}
	return "", ""
}

func skipSeparator(s string) string {
	if s != "" && (s[0] == '-' || s[0] == '_' || s[0] == '.') {
		return s[1:]
	}
	return s
}

func (p *versionParser) pre() (string, number) {
	label, n := p.labelled("alpha", "a", "beta", "b", "preview", "pre", "c", "rc")
	switch label {
	case "alpha":
		label = "a"
	case "beta":
		label = "b"
	case "preview", "pre", "c":
		label = "rc"
	}
	return label, n
}

func (p *versionParser) post() number {
	if len(p.rest) > 1 && p.rest[0] == '-' && isDigit(p.rest[1]) { // 1.0-1 means 1.0.post1
		p.rest = p.rest[1:]
		n, _ := p.number()
		return n
	}
	_, n := p.labelled("post", "rev", "r")
	return n
}

func (p *versionParser) local() ([]string, bool) {
	if !p.accept("+") {
		return nil, true
	}
	var segments []string
	for {
		i := 0
		for i < len(p.rest) && isAlnum(p.rest[i]) {
			i++
		}
		if i == 0 {
			return nil, false
		}
		segment := p.rest[:i]
		if isNumeric(segment) {
			segment = trimZeros(segment)
		}
		segments = append(segments, segment)
		p.rest = p.rest[i:]
		rest := skipSeparator(p.rest)
		if len(rest) == len(p.rest) {
			return segments, true
		}
		p.rest = rest
	}
}

func isNumeric(s string) bool {
	for i := range len(s) {
		if !isDigit(s[i]) {
			return false
		}
	}
	return s != ""
}

// String returns the normal form of PEP 440, which keeps trailing zeros of
// the release, or "" for the zero value.
func (v Version) String() string { return v.text(v.release) }

// Canonical returns the normal form without trailing zeros of the release:
// equal versions, and only those, have equal canonical forms. It serves as a
// key; it is not for display.
func (v Version) Canonical() string { return v.text(significant(v.release)) }

func (v Version) text(release []number) string {
	if v.IsZero() {
		return ""
	}
	var b strings.Builder
	if v.epoch != "0" {
		b.WriteString(string(v.epoch) + "!")
	}
	for i, n := range release {
		if i > 0 {
			b.WriteByte('.')
		}
		b.WriteString(string(n))
	}
	if v.pre != "" {
		b.WriteString(v.pre + string(v.preN))
	}
	if v.post != "" {
		b.WriteString(".post" + string(v.post))
	}
	if v.dev != "" {
		b.WriteString(".dev" + string(v.dev))
	}
	if v.local != nil {
		b.WriteString("+" + strings.Join(v.local, "."))
	}
	return b.String()
}

// significant cuts trailing zeros, but never the first number.
func significant(release []number) []number {
	for len(release) > 1 && release[len(release)-1] == "0" {
		release = release[:len(release)-1]
	}
	return release
}

// IsZero reports whether v is the zero value, which is no version.
func (v Version) IsZero() bool { return len(v.release) == 0 }

// IsPrerelease reports whether v is an alpha, beta, release candidate or
// development release, which installers take only when asked to.
func (v Version) IsPrerelease() bool { return v.pre != "" || v.dev != "" }

// Local returns the local version label, such as "ubuntu.1" of 1.0+ubuntu.1,
// or "". Public indexes refuse versions that have one.
func (v Version) Local() string { return strings.Join(v.local, ".") }

// Compare orders as PEP 440 says: −1 when v is older than w, +1 when it is
// newer, 0 when both are the same version.
func (v Version) Compare(w Version) int {
	return cmp.Or(
		v.epoch.compare(w.epoch),
		slices.CompareFunc(significant(v.release), significant(w.release), number.compare),
		cmp.Compare(v.phase(), w.phase()),
		v.preN.compare(w.preN),
		v.post.compare(w.post), // absent sorts before any number
		compareDev(v.dev, w.dev),
		slices.CompareFunc(v.local, w.local, compareLocal),
	)
}

// phase ranks what a release number is followed by: a bare development
// release comes before every pre-release, and these before the release.
func (v Version) phase() int {
	switch {
	case v.pre == "" && v.post == "" && v.dev != "":
		return 0
	case v.pre == "a":
		return 1
	case v.pre == "b":
		return 2
	case v.pre == "rc":
		return 3
	}
	return 4
}

// compareDev sorts development releases before what they lead up to.
func compareDev(a, b number) int {
	switch {
	case a == "" && b == "":
		return 0
	case a == "":
		return +1
	case b == "":
		return -1
	}
	return a.compare(b)
}

// compareLocal orders one segment of a local version: numbers by value and
// after every segment that has letters.
func compareLocal(a, b string) int {
	switch numA, numB := isNumeric(a), isNumeric(b); {
	case numA && numB:
		return number(a).compare(number(b))
	case numA:
		return +1
	case numB:
		return -1
	}
	return cmp.Compare(a, b)
}
