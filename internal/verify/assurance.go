package verify

import (
	"context"
	"fmt"
	"slices"
	"time"

	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/tuf/key"
)

// Requirement is what the user's configuration asks of a project.
type Requirement struct {
	Level   policy.Assurance // at least this
	Pattern string           // the pattern that matched the project's name
	// Origin is where the rule stands, as people say it: "bailiwick.toml:7".
	Origin string
	// File is the same with the whole path.
	File string
}

// Sighting is what is remembered of a project: the best assurance that was ever seen of it, and whose
// keys it had then. Unclaimed projects are not remembered: nothing is less.
type Sighting struct {
	Assurance policy.Assurance
	Seen      time.Time     // when it was last seen so, in UTC
	Keys      []*key.Public // of the project's role at that time
	Threshold int
	Former    []FormerKey // keys it had before, newest first
}

// FormerKey is a key that a project had once.
type FormerKey struct {
	Key  *key.Public
	Seen time.Time // when it was last seen to have it
}

// maxFormer bounds the keys that are remembered of a project beside those it has.
const maxFormer = 16

// Memory keeps sightings between sessions. It may be shared by several processes. Its methods are
// safe for concurrent use and do not wait for the disk.
type Memory interface {
	// Recall gives what is remembered of a project, and false if nothing is. An error means that it
	// can not be known: then nothing of the project is handed out. Its text is one clause that says
	// what to do.
	Recall(pypi.Project) (Sighting, bool, error)
	// Remember keeps a sighting that is no lower than what Recall gave.
	Remember(pypi.Project, Sighting)
}

// Merge joins two sightings of one project: the best assurance counts, and the keys of the later one,
// which is o if both are of one time.
func (s Sighting) Merge(o Sighting) Sighting {
	later, earlier := o, s
	if s.Seen.After(o.Seen) {
		later, earlier = s, o
	}
	out := later
	if earlier.Assurance.Grade() > later.Assurance.Grade() {
		out.Assurance = earlier.Assurance // else the later word, which may be another one of the same grade
	}
	out.Former = nil
	former := slices.Concat(later.Former, asFormer(earlier.Keys, earlier.Seen), earlier.Former)
	slices.SortStableFunc(former, func(a, b FormerKey) int { return b.Seen.Compare(a.Seen) })
	for _, f := range former {
		if len(out.Former) < maxFormer && !hasKey(out.Keys, f.Key) && !slices.ContainsFunc(out.Former, func(k FormerKey) bool {
			return k.Key.Fingerprint() == f.Key.Fingerprint()
		}) {
			out.Former = append(out.Former, f)
		}
	}
	return out
}

func asFormer(keys []*key.Public, seen time.Time) []FormerKey {
	out := make([]FormerKey, len(keys))
	for i, k := range keys {
		out[i] = FormerKey{Key: k, Seen: seen}
	}
	return out
}

func hasKey(keys []*key.Public, k *key.Public) bool {
	return slices.ContainsFunc(keys, func(o *key.Public) bool { return o.Fingerprint() == k.Fingerprint() })
}

func sameKeys(a, b []*key.Public) bool {
	missing := func(from []*key.Public) func(*key.Public) bool {
		return func(k *key.Public) bool { return !hasKey(from, k) }
	}
	return !slices.ContainsFunc(a, missing(b)) && !slices.ContainsFunc(b, missing(a))
}

// judge holds a listing against what the user requires and what was seen before. A project that has
// less is listed with every file refused, so that the installer that asks is told why. It runs once
// for each listing, before anything of it is shown.
func (e *Engine) judge(ctx context.Context, s *session, l *Listing) error {
	st, err := e.standing(ctx, s, l.Project)
	if err != nil {
		return err
	}
	if st != nil {
		l.since = st.since
	}
	level := policy.ClaimedParked
	for i := range l.Files {
		if l.Files[i].Problem == nil {
			level = min(level, l.Files[i].Assurance)
		}
	}
	if l.Problem != nil {
		return nil //nolint:nilerr // no file's entry can be used, and the listing says so
	}
	if problem := e.tooLow(l.Project, level); problem != nil {
		*l = *l.refusedFor(problem)
		return nil
	}
	return e.compare(l, st, level)
}

// tooLow is the refusal by a rule of the configuration.
func (e *Engine) tooLow(project pypi.Project, level policy.Assurance) *Error {
	if e.require == nil {
		return nil
	}
	rule, ok := e.require(project)
	if !ok || level.Grade() >= rule.Level.Grade() {
		return nil
	}
	return e.newError(&Error{
		Class: Refused, Code: CodeAssurance, Subject: project.String(), Project: project.String(), Assurance: level.String(),
		Rule:   &Rule{Assurance: rule.Level.String(), Pattern: rule.Pattern, Origin: rule.Origin},
		Cause:  fmt.Sprintf("%s, but %s requires %s (%q)", level, shorten(rule.Origin, 40), rule.Level, shorten(rule.Pattern, 40)),
		Detail: "the rule stands in " + rule.File,
	})
}

// compare holds a listing against what was seen before, and remembers it.
func (e *Engine) compare(l *Listing, st *standing, level policy.Assurance) error {
	if e.memory == nil {
		return nil
	}
	accepted := e.accept != nil && e.accept(l.Project)
	seen, known, err := e.memory.Recall(l.Project)
	switch {
	case err != nil && accepted:
		l.accepted = e.acceptedNow(e.unremembered(l.Project, level, err))
		return nil
	case err != nil:
		return e.newError(&Error{Class: Unusable, Code: CodeMemory, Cause: err.Error(), Err: err})
	case known && level.Grade() < seen.Assurance.Grade():
		problem := e.lowered(l.Project, level, seen)
		if accepted {
			l.accepted = e.acceptedNow(problem)
			return nil
		}
		*l = *l.refusedFor(problem)
		return nil
	case level == policy.Unclaimed || st == nil || st.assurance != level:
		return nil
	}
	now := Sighting{Assurance: level, Seen: e.now().UTC().Truncate(time.Second), Keys: st.remembered(), Threshold: st.owners.Threshold()}
	if known {
		if note := st.changes(seen, now); note != "" {
			e.record(Verdict{Project: l.Project, Note: note})
		}
	}
	if !e.passive {
		e.memory.Remember(l.Project, now)
	}
	return nil
}

// lowered is the refusal of a project that was better before.
func (e *Engine) lowered(project pypi.Project, level policy.Assurance, seen Sighting) *Error {
	return e.newError(&Error{
		Class: Refused, Code: CodeLowered, Subject: project.String(), Project: project.String(), Assurance: level.String(),
		Seen:  &Seen{Assurance: seen.Assurance.String(), Date: day(seen.Seen)},
		Cause: fmt.Sprintf("%s, but it was %s when seen on %s", level, seen.Assurance, day(seen.Seen)),
	})
}

// acceptedNow marks a refusal that an override lets pass. Each time has its own ID, so that each can be
// found in the journal.
func (e *Engine) acceptedNow(problem *Error) *Error {
	own := *problem
	own.Accepted = e.now().UTC()
	return e.newError(&own)
}

// unremembered is what an override accepts where nothing can be recalled.
func (e *Engine) unremembered(project pypi.Project, level policy.Assurance, err error) *Error {
	return &Error{
		Class: Refused, Code: CodeLowered, Subject: project.String(), Project: project.String(), Assurance: level.String(),
		Cause: level.String() + ", and what it was before is not known", Detail: err.Error(), Err: err,
	}
}

// changes says in a few words how the keys of a project, or who signs for them, differ from what was seen before;
// "" if they do not.
func (st *standing) changes(seen, now Sighting) string {
	switch {
	case !sameKeys(seen.Keys, now.Keys) && st.recovered.After(seen.Seen):
		return fmt.Sprintf("%s: keys changed since %s: the operators gave it to other keys on %s, without the old ones", st.project, day(seen.Seen), day(st.recovered))
	case !sameKeys(seen.Keys, now.Keys):
		return fmt.Sprintf("%s: keys changed since %s", st.project, day(seen.Seen))
	case seen.Threshold != now.Threshold:
		return fmt.Sprintf("%s: %d of %d keys must sign, %d of %d on %s", st.project,
			now.Threshold, len(now.Keys), seen.Threshold, len(seen.Keys), day(seen.Seen))
	case now.Assurance == policy.ClaimedParked && seen.Assurance != policy.ClaimedParked:
		return fmt.Sprintf("%s: parked%s, its maintainers do not answer", st.project, sinceDay(st.parked))
	case now.Assurance != policy.ClaimedParked && seen.Assurance == policy.ClaimedParked:
		return fmt.Sprintf("%s: its maintainers are back, it was parked on %s", st.project, day(seen.Seen))
	}
	return ""
}

// sinceDay is " since 2026-11-02", and nothing for a date that is not known.
func sinceDay(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return " since " + day(t)
}

// day is a date as all messages write it.
func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }
