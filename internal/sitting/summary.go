package sitting

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
)

// Summary is what a person reads of a request before signing: counts, and what is unusual.
type Summary struct {
	Title            string // what sort of request it is
	ID               string
	Repository       [32]byte
	Created, Expires time.Time
	By, Note         string // unverified
	Promoted         int    // projects
	PromotedBins     int    // in so many bins
	Recovered        int
	Rekeyed          int
	Parked           int
	RenewedBins      int            // signed anew, with no other change
	Renewed          []tuf.RoleName // likewise, roles that are no bins
	Keys             []Change       // of the repository itself
	Exceptions       []Exception    // heaviest first, then by subject
	Waiting          []string       // whose signatures are missing: see [Waiting]
}

// Exception is something in a request at which a person should look before signing.
type Exception struct {
	Subject string // a project, a role, or a key
	Text    string // what is unusual, in a few words
	Weight  int    // higher comes first
}

// How much it matters that people look.
const (
	weightKeys      = 95
	weightRecovered = 90
	weightRekeyed   = 70
	weightLife      = 60
	weightParked    = 50
	weightShared    = 40
	weightPopular   = 30
	weightFresh     = 20
)

// What is unusual about a project that is promoted.
const (
	popularRank = 1000     // and better
	freshClaim  = 14 * day // claimed for less
	freshToken  = 30 * day // the age of a token with which it was claimed
	freshKeys   = 30 * day // since its keys changed
	sharedKey   = 10       // projects of one request that one key signs, and more
)

func weightOf(k ChangeKind) int {
	switch k { //nolint:exhaustive // the others are told elsewhere
	case Recovered:
		return weightRecovered
	case Rekeyed:
		return weightRekeyed
	case Parked:
		return weightParked
	}
	return weightKeys
}

// Summary counts what the request does, and finds what is unusual.
func (v *Verdict) Summary() Summary { return v.SummaryFor(nil) }

// SummaryFor is [Verdict.Summary] for a person who brings a list of popular projects, so that nobody has to
// take the index's word for which these are: rank returns 1 for the first, 0 for one that is not in it.
func (v *Verdict) SummaryFor(rank func(pypi.Project) int) Summary {
	r := v.request
	s := Summary{
		ID: r.ID(), Repository: r.Repository, Created: r.Created, Expires: r.Expires, By: r.By, Note: r.Note,
		Exceptions: slices.Clone(v.unusual), Waiting: Waiting(v.Missing, v.names),
	}
	bins := make(map[tuf.RoleName]bool)
	for i := range v.Changes {
		c := &v.Changes[i]
		switch c.Kind {
		case Promoted:
			s.Promoted++
			bins[c.Role] = true
		case Rekeyed:
			s.Rekeyed++
		case Recovered:
			s.Recovered++
		case Parked:
			s.Parked++
		case Renewed, RootRenewed:
			if policy.KindOf(c.Role) == policy.KindClaimedBin {
				s.RenewedBins++
			} else {
				s.Renewed = append(s.Renewed, c.Role)
			}
		case BinKeys, TreeKeys, RootKeys:
			s.Keys = append(s.Keys, *c)
			s.Exceptions = append(s.Exceptions, Exception{Subject: string(c.Role), Text: c.Text, Weight: weightKeys})
		case Bounded:
		}
	}
	s.PromotedBins = len(bins)
	s.Title = v.title(&s)
	s.Exceptions = append(s.Exceptions, v.promotions(rank)...)
	slices.SortStableFunc(s.Exceptions, func(a, b Exception) int {
		return cmp.Or(cmp.Compare(b.Weight, a.Weight), strings.Compare(a.Subject, b.Subject))
	})
	return s
}

// title names the sort of request.
func (v *Verdict) title(s *Summary) string {
	switch {
	case v.request.IsFirst():
		return "New repository"
	case len(s.Keys) > 0:
		return "Change of keys"
	case v.request.Payload(policy.RoleClaimed) != nil:
		return "Sitting"
	}
	return "Renewal"
}

// promotions finds what is unusual about projects that are promoted, one exception for each of them.
func (v *Verdict) promotions(rank func(pypi.Project) int) []Exception {
	notes := make(map[pypi.Project]*Note, len(v.request.Notes))
	for i := range v.request.Notes {
		notes[v.request.Notes[i].Project] = &v.request.Notes[i]
	}
	var out []Exception
	given := make(map[key.ID]int)
	for i := range v.Changes {
		c := &v.Changes[i]
		if c.Kind != Promoted {
			continue
		}
		for _, id := range c.New.KeyIDs() {
			given[id]++
		}
		own := 0
		if rank != nil {
			own = rank(c.Project)
		}
		if e, ok := v.promotion(c, notes[c.Project], own); ok {
			out = append(out, e)
		}
	}
	for id, n := range given {
		if n >= sharedKey {
			out = append(out, Exception{Subject: "key " + short(id), Text: fmt.Sprintf("%s of the promoted projects are given to this key", count(n)), Weight: weightShared})
		}
	}
	return out
}

// promotion is what is unusual about one, if anything is. What the index says is marked as such.
func (v *Verdict) promotion(c *Change, n *Note, own int) (Exception, bool) {
	e := Exception{Subject: c.Project.String()}
	var parts, says []string
	note := func(weight int, list *[]string, text string) {
		e.Weight = max(e.Weight, weight)
		*list = append(*list, text)
	}
	if own > 0 && own <= popularRank {
		note(weightPopular+weightFresh, &parts, fmt.Sprintf("popular (rank %s in your list)", count(own)))
	}
	switch age := v.now.Sub(c.Since); {
	case c.Since.IsZero():
		note(weightFresh, &parts, "its bin does not say since when it is claimed")
	case age < freshClaim:
		note(weightFresh, &parts, "claimed "+ago(age)+" by "+countKeys(c.New))
	}
	if n != nil {
		if n.Popular > 0 && n.Popular <= popularRank {
			note(weightPopular, &says, "popular (rank "+count(n.Popular)+")")
		}
		if !n.TokenCreated.IsZero() && !n.Since.IsZero() && n.Since.Sub(n.TokenCreated) < freshToken {
			note(weightFresh, &says, "claimed with a token that was "+span(n.Since.Sub(n.TokenCreated))+" old")
		}
		if !n.Rekeyed.IsZero() && v.now.Sub(n.Rekeyed) < freshKeys {
			note(weightFresh+weightPopular, &says, "its keys changed "+ago(v.now.Sub(n.Rekeyed)))
		}
		if !n.Since.IsZero() && !c.Since.IsZero() && !n.Since.Equal(c.Since) {
			note(weightFresh, &says, "claimed on "+n.Since.Format(time.DateOnly)+", and its bin says "+c.Since.Format(time.DateOnly))
		}
		if n.Text != "" {
			note(weightFresh, &says, strconv.Quote(n.Text))
		}
	}
	if len(says) > 0 {
		parts = append(parts, "the index says: "+strings.Join(says, ", "))
	}
	e.Text = strings.Join(parts, "; ")
	return e, len(parts) > 0
}

// Lines renders the summary for people, with at most that many exceptions; zero or less: all.
func (s Summary) Lines(most int) []string {
	out := []string{fmt.Sprintf("%s of %s: request %s", s.Title, s.Created.Format(time.DateOnly), s.ID)}
	if s.Repository != [32]byte{} {
		out = append(out, "for the repository with root sha256:"+hex.EncodeToString(s.Repository[:]))
	}
	prepared := "prepared " + s.Created.Format("2006-01-02 15:04") + " UTC"
	if s.By != "" {
		prepared += " by " + strconv.Quote(s.By)
	}
	out = append(out, prepared+"; to be signed and published before "+s.Expires.Format(time.DateOnly))
	if s.Note != "" {
		out = append(out, "note: "+strconv.Quote(s.Note))
	}
	out = append(out, "")
	out = append(out, s.counts()...)
	out = append(out, s.exceptionLines(most)...)
	return append(out, s.waitingLines()...)
}

func (s *Summary) counts() []string {
	var out []string
	line := func(what string, n int, rest string) {
		if n > 0 {
			out = append(out, fmt.Sprintf("  %-24s %7s %s", what, count(n), rest))
		}
	}
	line("promote to claimed", s.Promoted, plural(s.Promoted, "project")+" in "+count(s.PromotedBins)+" "+plural(s.PromotedBins, "bin"))
	line("recovered", s.Recovered, plural(s.Recovered, "project")+", without the keys they had; listed below")
	line("key changes", s.Rekeyed, plural(s.Rekeyed, "project")+", agreed by the keys they had; listed below")
	line("parked", s.Parked, plural(s.Parked, "project")+"; listed below")
	line("keys of the repository", len(s.Keys), plural(len(s.Keys), "change")+"; listed below")
	line("re-signed, no change", s.RenewedBins, plural(s.RenewedBins, "bin")+" that would expire before the next sitting")
	if len(s.Renewed) > 0 {
		names := make([]string, 0, 4)
		for _, r := range s.Renewed[:min(3, len(s.Renewed))] {
			names = append(names, string(r))
		}
		if len(s.Renewed) > 3 {
			names = append(names, "…")
		}
		line("re-signed, no change", len(s.Renewed), plural(len(s.Renewed), "role")+": "+strings.Join(names, ", "))
	}
	return append(out, "  nothing else differs from what was signed before")
}

func (s *Summary) exceptionLines(most int) []string {
	n := len(s.Exceptions)
	if n == 0 {
		return []string{"", "  nothing unusual in it"}
	}
	if most <= 0 || most > n {
		most = n
	}
	head := "look at this one before you sign:"
	if n > 1 {
		head = "look at these " + count(n) + " before you sign:"
	}
	out := []string{"", "  " + head}
	for _, e := range s.Exceptions[:most] {
		out = append(out, fmt.Sprintf("    %-22s %s", e.Subject, e.Text))
	}
	if more := n - most; more > 0 {
		out = append(out, "    … and "+count(more)+" more, which matter less; --all shows them")
	}
	return out
}

func (s *Summary) waitingLines() []string {
	if len(s.Waiting) == 0 {
		return []string{"", "  all signatures are there"}
	}
	out := []string{"", "  signatures that are missing:"}
	for _, line := range s.Waiting {
		out = append(out, "    "+line)
	}
	return out
}

// count writes a number as people read it: 4,871.
func count(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func plural(n int, word string) string {
	if n == 1 {
		return word
	}
	return word + "s"
}

func ago(d time.Duration) string { return span(d) + " ago" }

// span writes how long something is, roughly.
func span(d time.Duration) string {
	switch {
	case d < 0:
		return "no time"
	case d < 48*time.Hour:
		return fmt.Sprintf("%d hours", d/time.Hour)
	}
	return fmt.Sprintf("%d days", d/day)
}
