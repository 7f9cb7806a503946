package problem

import (
	"strconv"
	"strings"
)

// form is a media type that bodies come in.
type form string

const (
	formProblem form = "application/problem+json"
	formJSON    form = "application/json"
	formHTML    form = "text/html"
	formPlain   form = "text/plain"
)

const (
	maxAccept = 4096 // bytes of an Accept header that are read
	maxRanges = 64   // and elements
)

// chooseForm picks the form that accept gives the greatest weight; on a tie
// the one named most exactly, then the first of the list below. Clients that
// take anything get a problem document: uv is the one among them that reads the
// body, and it reads that form best.
//
// Nothing acceptable is no reason to say nothing: plain text then.
func chooseForm(accept string) form {
	if strings.TrimSpace(accept) == "" {
		return formProblem
	}
	best, bestWeight, bestExact := formPlain, 0.0, 0
	for _, f := range []form{formProblem, formJSON, formPlain, formHTML} {
		weight, exact := weigh(accept, f)
		if weight > bestWeight || weight == bestWeight && exact > bestExact {
			best, bestWeight, bestExact = f, weight, exact
		}
	}
	return best
}

// weigh returns the weight of f by the most exact range that matches it, and
// how exact that is: 3 by name, 2 by major type, 1 by "*/*", 0 not at all.
func weigh(accept string, f form) (weight float64, exact int) {
	major, _, _ := strings.Cut(string(f), "/")
	if len(accept) > maxAccept {
		accept = accept[:maxAccept]
	}
	n := 0
	for element := range strings.SplitSeq(accept, ",") {
		if n++; n > maxRanges {
			break
		}
		name, parameters, _ := strings.Cut(element, ";")
		match := 0
		switch strings.ToLower(strings.TrimSpace(name)) {
		case string(f):
			match = 3
		case major + "/*":
			match = 2
		case "*/*":
			match = 1
		}
		if match > exact {
			weight, exact = quality(parameters), match
		}
	}
	if weight == 0 {
		return 0, 0
	}
	return weight, exact
}

// quality reads the parameter q; nonsense counts as 0.
func quality(parameters string) float64 {
	for parameter := range strings.SplitSeq(parameters, ";") {
		key, value, _ := strings.Cut(parameter, "=")
		if !strings.EqualFold(strings.TrimSpace(key), "q") {
			continue
		}
		q, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
		if err != nil || !(0 <= q && q <= 1) {
			return 0
		}
		return q
	}
	return 1
}
