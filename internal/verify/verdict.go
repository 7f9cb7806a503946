package verify

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/pypi"
)

// Bounds of what one engine remembers.
const (
	maxVerdicts   = 10_000 // in the verdict log
	maxRemembered = 50_000 // cached files known to be good; refusals held against retries
)

// Verdict is one decision about one file, project, or the repository.
type Verdict struct {
	Time      time.Time
	Project   pypi.Project // zero for the whole repository
	File      string       // "" for a project or the repository
	SHA256    string       // of the signed file, lower-case hex; "" if there is none
	Size      int64
	Assurance policy.Assurance // of a verified file
	Problem   *Error           // why nothing was handed out
	Accepted  *Error           // what the user's override let pass, for a project
	Note      string           // something to tell about a project: "flask: keys changed since 2026-11-02"
}

// Verified reports whether a file was handed out.
func (v *Verdict) Verified() bool { return v.Problem == nil && v.Accepted == nil && v.Note == "" }

// verdictKey finds repeats: an installer that asks five times gets one line.
type verdictKey struct {
	file, sha256, problem, accepted, note string
}

// record adds a verdict to the log unless it is there, and passes a new one on to Config.OnVerdict.
func (e *Engine) record(v Verdict) {
	key := verdictKey{file: v.File, sha256: v.SHA256, note: v.Note}
	if v.Accepted != nil {
		key.accepted = v.Accepted.ID
	}
	if v.Problem != nil {
		key.problem = v.Problem.ID
	}
	v.Time = e.now().UTC()
	e.mu.Lock()
	known := e.recorded[key]
	if !known {
		if len(e.verdicts) >= maxVerdicts { // a proxy that runs for months: forget the oldest half
			e.verdicts = slices.Clone(e.verdicts[maxVerdicts/2:])
			clear(e.recorded)
		}
		e.recorded[key] = true
		e.verdicts = append(e.verdicts, v)
	}
	e.mu.Unlock()
	if !known && e.onVerdict != nil {
		e.onVerdict(v)
	}
}

// reject records err if it is a verdict, and returns it. Cancelled requests are nobody's verdict.
func (e *Engine) reject(project pypi.Project, file string, err error) error {
	var problem *Error
	if errors.As(err, &problem) {
		e.record(Verdict{Project: project, File: file, Problem: problem})
	}
	return err
}

// Verdicts returns the log so far, oldest first.
func (e *Engine) Verdicts() []Verdict {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.verdicts)
}

// Summary is what one session came to.
type Summary struct {
	Verified map[policy.Assurance]int // files handed out, each once
	Problems []*Error                 // distinct, worst first; without what was merely not found
	Accepted []*Error                 // what overrides let pass
	Notes    []string                 // what else to tell
	Snapshot int64                    // version of the snapshot in force; 0: none
	Expires  time.Time                // first expiry of the metadata in force
}

// Summary sums up the log.
func (e *Engine) Summary() Summary {
	s := Summary{Verified: make(map[policy.Assurance]int)}
	e.mu.Lock()
	defer e.mu.Unlock()
	seen := make(map[string]bool)
	verified := make(map[string]bool)
	for _, v := range e.verdicts {
		switch {
		case v.Verified():
			verified[v.File] = true
			s.Verified[v.Assurance]++
		case v.Accepted != nil:
			s.Accepted = append(s.Accepted, v.Accepted)
		case v.Note != "":
			s.Notes = append(s.Notes, v.Note)
		}
	}
	type cause struct {
		code, role string
		version    int64
	}
	causeOf := func(p *Error) cause { return cause{p.Code, string(p.Role), p.Version} }
	general := make(map[cause]bool) // trouble of the whole repository, which files only repeat
	for _, v := range e.verdicts {
		if v.Problem != nil && v.Problem.Subject == "" {
			general[causeOf(v.Problem)] = true
		}
	}
	for _, v := range e.verdicts {
		if v.Problem == nil || v.Problem.Class == NotFound || seen[v.Problem.ID] {
			continue
		}
		if v.Problem.Subject != "" && v.Problem.Role != "" && general[causeOf(v.Problem)] {
			continue
		}
		// An outage that was over before the end kept nothing from anyone.
		over := verified[v.File] || (v.Problem.Subject == "" && e.trouble == nil && e.current != nil)
		if v.Problem.Class == Unreachable && over {
			continue
		}
		if v.Problem.Code == CodeAssurance || v.Problem.Code == CodeLowered {
			if seen[v.Problem.Code+" "+v.Problem.Project] { // one project, told by each of its files
				continue
			}
			seen[v.Problem.Code+" "+v.Problem.Project] = true
		}
		seen[v.Problem.ID] = true
		s.Problems = append(s.Problems, v.Problem)
	}
	slices.SortStableFunc(s.Problems, func(a, b *Error) int { return cmp.Compare(a.Class.rank(), b.Class.rank()) })
	if e.current != nil {
		set := e.current.view.Set()
		s.Snapshot, s.Expires = set.Snapshot().Version(), set.Expires()
	}
	return s
}

// rank orders classes, worst first: what was refused matters more than what could not be asked.
func (c Class) rank() int {
	return slices.Index([]Class{Refused, Unusable, Unreachable, NotFound}, c)
}

// Worst is the class that decides about the exit code; "" if nothing went wrong.
func (s Summary) Worst() Class {
	if len(s.Problems) == 0 {
		return ""
	}
	return s.Problems[0].Class
}

// Files is the number of verified files.
func (s Summary) Files() int {
	n := 0
	for _, count := range s.Verified {
		n += count
	}
	return n
}

// Line is the one line after an install: "7 files verified: 3 claimed, 1 recently claimed, 3
// unclaimed (snapshot 1841, good for another 23 hours)", then what else there is to tell. It is empty if
// no file was handed out.
func (s Summary) Line(now time.Time) string {
	if s.Files() == 0 {
		return ""
	}
	var parts []string
	for _, a := range []policy.Assurance{policy.Claimed, policy.ClaimedParked, policy.RecentlyClaimed, policy.Unclaimed} {
		if n := s.Verified[a]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, a))
		}
	}
	line := fmt.Sprintf("%s verified: %s (snapshot %d, good for another %s)",
		count(s.Files(), "file"), strings.Join(parts, ", "), s.Snapshot, Duration(s.Expires.Sub(now)))
	for _, note := range s.Remarks() {
		line += "; " + note
	}
	return line
}

// maxRemarks bounds what follows the verdict.
const maxRemarks = 5

// Remarks are the notes and accepted refusals, in the words of the verdict line, at most five and how
// many more there are.
func (s Summary) Remarks() []string {
	var out []string
	for _, a := range s.Accepted {
		out = append(out, fmt.Sprintf("%s ACCEPTED as %s (bailiwick why %s)", a.Project, a.Cause, a.ID))
	}
	out = append(out, s.Notes...)
	if more := len(out) - maxRemarks; more > 0 {
		out = append(out[:maxRemarks], fmt.Sprintf("and %d more", more))
	}
	return out
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// Duration is a length of time as people say it: its largest unit, "23 hours". A negative one is "0
// seconds".
func Duration(d time.Duration) string {
	d = max(d, 0)
	switch {
	case d >= 48*time.Hour:
		return count(int(d.Hours()/24), "day")
	case d >= time.Hour:
		return count(int(d.Hours()), "hour")
	case d >= time.Minute:
		return count(int(d.Minutes()), "minute")
	}
	return count(int(d.Seconds()), "second")
}
