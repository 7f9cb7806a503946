// Package audit holds the public record of an index against what its metadata says. Anybody can do it: nothing is
// needed but the record, the signed metadata, and a pinned root.
//
//	Replay   follows the record, entry by entry: who stands behind which project, according to it
//	Compare  reads every delegation of a verified repository and reports where the two differ
//
// What it proves: the record that was read is the one that the newest snapshot carries the head of; every
// project that anybody but the registry signs for was given to these very keys by an entry of the record, and every
// entry took effect; nothing stands behind a project that the record does not tell. What it can not prove
// alone is that everybody is shown the same record. For that an auditor keeps the head that was seen last and
// wants the record to go on from there, and compares heads with others.
//
// A role that has expired is told as such and is no finding: expired is not attacked.
//
// Everything is pure. A Replay belongs to one goroutine.
package audit

import (
	"fmt"
	"slices"
	"time"

	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/record"
	"example.com/bailiwick/tuf"
)

// Finding is something that should not be.
type Finding struct {
	Entry int64        // of the record that it is about; 0: none
	Role  tuf.RoleName // that it is about
	Text  string       // one sentence for people
}

// String is the sentence with what it is about.
func (f Finding) String() string {
	if f.Entry > 0 {
		return fmt.Sprintf("entry %d, %s: %s", f.Entry, f.Role, f.Text)
	}
	return fmt.Sprintf("%s: %s", f.Role, f.Text)
}

// holding is who stands behind a project, according to the record.
type holding struct {
	keys     record.Keys
	entry    int64
	promoted bool // by the offline keys
	parked   bool
	// recovered is when operators gave it to other keys; zero: never.
	recovered time.Time
}

// Replay follows a record from its first entry on. The zero value is not usable; see [New].
type Replay struct {
	head      record.Head
	projects  map[tuf.RoleName]*holding
	announced map[tuf.RoleName]record.Entry
	own       []record.Entry // about keys of the index itself
	last      time.Time
	newest    int64       // publication of the entry before
	before    record.Head // that was seen last
	findings  []Finding
}

// New returns the replay of the empty record.
func New() *Replay {
	return &Replay{projects: map[tuf.RoleName]*holding{}, announced: map[tuf.RoleName]record.Entry{}}
}

// GoesOnFrom wants the record to be the one that had this head once, when somebody read it before. Call it in
// front of the first Add. A record that was rewritten, or cut short, is a finding.
func (r *Replay) GoesOnFrom(seen record.Head) { r.before = seen }

// Head returns the head after the entries so far.
func (r *Replay) Head() record.Head { return r.head }

// Findings returns where entries contradict each other, so far.
func (r *Replay) Findings() []Finding { return r.findings }

// Add takes the next entry. The error wraps record.ErrChain or record.ErrInvalid: the record does not hold together,
// and nothing that follows means anything. Entries that contradict earlier ones are findings.
func (r *Replay) Add(e *record.Entry) error {
	head, err := r.head.Append(e)
	if err != nil {
		return fmt.Errorf("entry %d of the record: %w", e.Number, err)
	}
	r.head = head
	if head.Length == r.before.Length && head != r.before {
		r.find(e, "the record was rewritten: up to here its head is %x, and it was %x when it was read last", head.Sum, r.before.Sum)
	}
	if e.Time.Before(r.last) {
		r.find(e, "it is dated %s, before the entry in front of it", tuf.FormatTime(e.Time))
	}
	if e.Publication < r.newest {
		r.find(e, "it names publication %d, and the entry in front of it %d", e.Publication, r.newest)
	}
	r.last, r.newest = e.Time, e.Publication
	switch e.Kind {
	case record.Claimed:
		r.claimed(e)
	case record.Rekeyed, record.Revoked, record.Promoted, record.Parked:
		r.changed(e)
	case record.RecoveryAnnounced, record.RecoveryCancelled, record.Recovered:
		r.recovery(e)
	case record.Root, record.KeysChanged:
		r.own = append(r.own, *e)
	case record.Cleared:
		r.cleared(e)
	case record.Custody:
	}
	return nil
}

func (r *Replay) find(e *record.Entry, format string, args ...any) {
	if len(r.findings) < maxFindings {
		r.findings = append(r.findings, Finding{Entry: e.Number, Role: e.Role, Text: fmt.Sprintf(format, args...)})
	}
}

// shortestDelay is how long an announced recovery waits at least, so that whoever has the keys can object.
const shortestDelay = 72 * time.Hour

// maxFindings bounds what is reported; more than a few hundred mean that everything is wrong.
const maxFindings = 1000

func (r *Replay) claimed(e *record.Entry) {
	if h := r.projects[e.Role]; h != nil {
		r.find(e, "it was claimed already, in entry %d, and nobody can displace its maintainers by claiming it", h.entry)
	}
	r.projects[e.Role] = &holding{keys: e.New, entry: e.Number}
}

// cleared takes a recent claim back. What offline keys vouch for, nobody can clear.
func (r *Replay) cleared(e *record.Entry) {
	if h := r.projects[e.Role]; h != nil && h.promoted {
		r.find(e, "it is cleared, and the record says in entry %d that offline keys vouch for it", h.entry)
	}
	delete(r.projects, e.Role)
}

// changed takes an entry about a project that has to be claimed.
func (r *Replay) changed(e *record.Entry) {
	h := r.projects[e.Role]
	if h == nil {
		r.find(e, "it is %s, and no entry before says that it was claimed", e.Kind)
		h = &holding{keys: e.Old}
		r.projects[e.Role] = h
	}
	if e.Old.Threshold > 0 && !same(e.Old, h.keys) {
		r.find(e, "its keys were those of entry %d, and this entry says otherwise", h.entry)
	}
	switch e.Kind { //nolint:exhaustive // of Add
	case record.Promoted:
		if h.promoted && !h.parked {
			r.find(e, "it was promoted already, in entry %d or before", h.entry)
		}
		if !same(e.New, h.keys) {
			r.find(e, "a promotion changes no keys, and this one does")
		}
		h.promoted = true
	case record.Parked:
		h.parked, h.promoted = true, true
	default:
		h.parked = false
	}
	h.keys, h.entry = e.New, e.Number
}

// recovery takes what is announced, cancelled, and done.
func (r *Replay) recovery(e *record.Entry) {
	before, waits := r.announced[e.Role]
	switch e.Kind { //nolint:exhaustive // of Add
	case record.RecoveryAnnounced:
		if waits {
			r.find(e, "a recovery was announced already, in entry %d", before.Number)
		}
		if e.NotBefore.Before(e.Time.Add(shortestDelay)) {
			r.find(e, "it may be recovered from %s on, which leaves those who have the keys less than %s to object", tuf.FormatTime(e.NotBefore), policy.Span(shortestDelay))
		}
		r.announced[e.Role] = *e
		return
	case record.RecoveryCancelled:
		if !waits {
			r.find(e, "a recovery is cancelled that nobody announced")
		}
	case record.Recovered:
		r.recovered(e, before, waits)
	}
	delete(r.announced, e.Role)
}

func (r *Replay) recovered(e *record.Entry, announced record.Entry, waited bool) {
	switch {
	case !waited:
		r.find(e, "it was recovered without an announcement")
	case e.Time.Before(announced.NotBefore):
		r.find(e, "it was recovered on %s, and entry %d had announced that for %s at the earliest", tuf.FormatTime(e.Time), announced.Number, tuf.FormatTime(announced.NotBefore))
	case !same(e.New, announced.New):
		r.find(e, "it got other keys than entry %d had announced", announced.Number)
	}
	h := r.projects[e.Role]
	if h == nil {
		r.find(e, "it was recovered, and no entry before says that it was claimed")
		h = &holding{}
		r.projects[e.Role] = h
	}
	h.keys, h.entry, h.promoted, h.parked, h.recovered = e.New, e.Number, true, false, e.Time
}

// same reports whether two lists of keys say the same: the order of keys does not matter.
func same(a, b record.Keys) bool {
	if a.Threshold != b.Threshold || len(a.IDs) != len(b.IDs) {
		return false
	}
	for _, id := range a.IDs {
		if !slices.Contains(b.IDs, id) {
			return false
		}
	}
	return true
}
