package simple

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Type is the media type of a page.
type Type string

// The forms a page is served in. HTML and TextHTML are the same bytes under
// two names; a client is answered with the name it asked for.
const (
	JSON     Type = "application/vnd.pypi.simple.v1+json"
	HTML     Type = "application/vnd.pypi.simple.v1+html"
	TextHTML Type = "text/html"
)

// Bounds of an Accept header; what lies beyond is not read.
const (
	maxAcceptLength = 4096 // bytes
	maxAcceptRanges = 64
)

// ErrNotAcceptable is wrapped when a client asks for forms that an index page
// does not have: HTTP status 406.
var ErrNotAcceptable = errors.New("an index page is served as " +
	string(JSON) + ", " + string(HTML) + " or " + string(TextHTML))

// ContentType is the value of the Content-Type header. Installers reject
// index pages under any other.
func (t Type) ContentType() string {
	if t == TextHTML {
		return "text/html; charset=utf-8"
	}
	return string(t)
}

// Negotiate chooses the form of a page from the value of the Accept header
// (several headers joined by commas, "" when there is none) and of the format
// query parameter ("" when there is none), which wins.
//
// Where the client likes several forms equally, JSON wins; a client that
// accepts anything, or says nothing, gets HTML, because only old installers
// and browsers do that. The "latest" names stand for version 1. An error wraps
// [ErrNotAcceptable].
func Negotiate(accept, format string) (Type, error) {
	if format != "" {
		// A "+" that was not percent-encoded arrives as a blank.
		if t, ok := concrete(strings.ToLower(strings.ReplaceAll(format, " ", "+"))); ok {
			return t, nil
		}
		return "", fmt.Errorf("format %.80q is unknown: %w", format, ErrNotAcceptable)
	}
	if strings.TrimSpace(accept) == "" {
		return TextHTML, nil
	}
	if len(accept) > maxAcceptLength {
		accept = accept[:maxAcceptLength]
	}
	ranges := parseAccept(accept)
	best, bestQ := Type(""), 0
	for _, t := range []Type{JSON, HTML, TextHTML} { // on a tie the earlier wins
		if q := named(ranges, t); q > bestQ {
			best, bestQ = t, q
		}
	}
	for _, t := range []Type{TextHTML, HTML, JSON} { // a wildcard alone means an old client
		if q := quality(ranges, t); q > bestQ {
			best, bestQ = t, q
		}
	}
	if bestQ == 0 {
		return "", fmt.Errorf("the Accept header %.80q names no form of an index page: %w", accept, ErrNotAcceptable)
	}
	return best, nil
}

// concrete maps every name of a form to the form.
func concrete(name string) (Type, bool) {
	switch name {
	case string(JSON), "application/vnd.pypi.simple.latest+json":
		return JSON, true
	case string(HTML), "application/vnd.pypi.simple.latest+html":
		return HTML, true
	case string(TextHTML):
		return TextHTML, true
	}
	return "", false
}

// mediaRange is one element of an Accept header; q is in thousandths.
type mediaRange struct {
	name string
	q    int
}

// parseAccept reads the elements it understands and leaves out the others: a
// client must not be locked out by a type that it added for someone else.
func parseAccept(accept string) []mediaRange {
	var ranges []mediaRange
	for element := range strings.SplitSeq(accept, ",") {
		if len(ranges) == maxAcceptRanges {
			break
		}
		name, parameters, _ := strings.Cut(element, ";")
		name = strings.ToLower(strings.TrimSpace(name))
		q := 1000
		for parameter := range strings.SplitSeq(parameters, ";") {
			key, value, _ := strings.Cut(parameter, "=")
			if strings.EqualFold(strings.TrimSpace(key), "q") {
				q = parseQuality(strings.TrimSpace(value))
			}
		}
		ranges = append(ranges, mediaRange{name, q})
	}
	return ranges
}

// parseQuality returns a weight in thousandths; one that is no number from 0
// to 1 counts as 0, so that nonsense never beats a clear wish.
func parseQuality(s string) int {
	if len(s) > 8 || strings.Trim(s, "0123456789.") != "" {
		return 0
	}
	q, err := strconv.ParseFloat(s, 64)
	if err != nil || q > 1 {
		return 0
	}
	return int(q*1000 + 0.5)
}

// named returns the weight that the header gives to t by name.
func named(ranges []mediaRange, t Type) int {
	best := 0
	for _, r := range ranges {
		if c, ok := concrete(r.name); ok && c == t {
			best = max(best, r.q)
		}
	}
	return best
}

// quality returns the weight that the header gives to t, by name if it names
// it, else by its most specific wildcard.
func quality(ranges []mediaRange, t Type) int {
	major, _, _ := strings.Cut(string(t), "/")
	best, specificity := 0, 0
	for _, r := range ranges {
		s := 0
		switch c, ok := concrete(r.name); {
		case ok && c == t:
			s = 3
		case r.name == major+"/*":
			s = 2
		case r.name == "*/*":
			s = 1
		}
		if s == 0 || s < specificity {
			continue
		}
		if s > specificity {
			best, specificity = 0, s
		}
		best = max(best, r.q)
	}
	return best
}
