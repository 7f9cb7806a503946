// Package record is the public record of an index: an ordered list of everything that changed whose
// keys stand behind what. Claims, changes of keys, promotions by offline keys, recoveries, new roots: each is
// one [Entry], numbered from 1, and is never changed or taken back.
//
// The entries form a chain. The [Head] after entry i is
//
//	SHA-256(head before it ‖ canonical JSON of the entry)
//
// with 32 zero bytes before the first. The snapshot carries the head and the length of the record in the
// additional member [Member], from the publication on that appended the newest entry, so whoever signs a
// publication signs the whole record with it, and nobody can be shown another one without a
// signature that proves it. Stock TUF clients ignore the member.
//
// The canonical form of an entry is one line of plain JSON, which is also how it is handed out.
// Everything is pure and safe for concurrent use.
package record

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"
	"unicode"
	"unicode/utf8"

	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/cjson"
	"example.com/bailiwick/tuf/key"
)

// Member is the additional member of a snapshot that carries the head of the record.
const Member = "x-bailiwick-record"

// Bounds of an entry.
const (
	MaxText  = 1000     // bytes
	MaxKeys  = 64       // on either side
	MaxEntry = 64 << 10 // bytes of its canonical form

	maxKeyID = 128 // bytes
)

// Errors of this package; they come wrapped. Test with errors.Is.
var (
	// ErrInvalid: not an entry, or not a head, as this package writes them.
	ErrInvalid = errors.New("not a valid entry of the record")
	// ErrChain: an entry does not follow the ones before it, or a record is not the one that was signed.
	ErrChain = errors.New("the record does not hold together")
)

// Kind says what an entry is about. The set is closed.
type Kind string

// The kinds.
const (
	Claimed           Kind = "claimed"            // a project was given to its maintainers' keys
	Rekeyed           Kind = "rekeyed"            // keys of a claimed project were added or exchanged
	Revoked           Kind = "revoked"            // keys of a claimed project were taken away, none added
	Promoted          Kind = "promoted"           // the offline keys vouch for the project's keys from now on
	Parked            Kind = "parked"             // an abandoned project: the offline key countersigned its last list
	RecoveryAnnounced Kind = "recovery-announced" // a project will get other keys after a delay, unless its maintainers speak up
	RecoveryCancelled Kind = "recovery-cancelled" // they did, or the operators took it back
	Recovered         Kind = "recovered"          // the announced recovery took effect
	Root              Kind = "root"               // a new version of root
	KeysChanged       Kind = "keys"               // other keys for a role of the index itself
	Custody           Kind = "custody"            // where keys of the index are held has changed
	Cleared           Kind = "cleared"            // after a break-in a recent claim does not count any more; its owners claim again
)

// Kinds returns all of them.
func Kinds() []Kind {
	return []Kind{Claimed, Rekeyed, Revoked, Promoted, Parked, RecoveryAnnounced, RecoveryCancelled, Recovered, Root, KeysChanged, Custody, Cleared}
}

// Keys are who signs a role: the ids in the order of the metadata, and how many of them it takes. The
// zero value stands for nobody.
type Keys struct {
	IDs       []key.ID
	Threshold int
}

// KeysOf returns who an authority names.
func KeysOf(a tuf.Authority) Keys { return Keys{IDs: a.KeyIDs(), Threshold: a.Threshold()} }

// Entry is one line of the record.
type Entry struct {
	Number      int64     // 1, 2, 3 …
	Publication int64     // by which it was appended
	Time        time.Time // of that publication, UTC, whole seconds
	Kind        Kind
	Role        tuf.RoleName // that changed hands: "project.flask", "root", "unclaimed-3f"
	Old, New    Keys
	// NotBefore is set in a RecoveryAnnounced alone: the recovery takes effect then at the earliest.
	NotBefore time.Time // UTC, whole seconds; zero: none
	Text      string    // for people, one line, at most MaxText bytes
}

// Check refuses what could not be written or read back.
func (e *Entry) Check() error {
	known := false
	for _, k := range Kinds() {
		known = known || e.Kind == k
	}
	switch {
	case e.Number < 1 || e.Publication < 1:
		return fmt.Errorf("entry %d of publication %d: both count from 1: %w", e.Number, e.Publication, ErrInvalid)
	case !known:
		return fmt.Errorf("entry %d is of the unknown kind %.40q: %w", e.Number, e.Kind, ErrInvalid)
	case e.Kind == RecoveryAnnounced && e.NotBefore.IsZero() || e.Kind != RecoveryAnnounced && !e.NotBefore.IsZero():
		return fmt.Errorf("entry %d: an announced recovery says when it may take effect, and nothing else does: %w", e.Number, ErrInvalid)
	case !plain(e.Text, MaxText):
		return fmt.Errorf("entry %d: its text has to be one line of at most %d bytes: %w", e.Number, MaxText, ErrInvalid)
	}
	if _, err := tuf.ParseRoleName(string(e.Role)); err != nil || !plain(string(e.Role), 256) {
		return fmt.Errorf("entry %d is about the role %.80q, which can not be a name: %w", e.Number, e.Role, ErrInvalid)
	}
	for _, t := range []time.Time{e.Time, e.NotBefore} {
		if !t.IsZero() && (t.Nanosecond() != 0 || t.Year() < 1970 || t.Year() > 9999) {
			return fmt.Errorf("entry %d: the time %s has to be in whole seconds, between 1970 and 9999: %w", e.Number, t, ErrInvalid)
		}
	}
	if e.Time.IsZero() {
		return fmt.Errorf("entry %d has no time: %w", e.Number, ErrInvalid)
	}
	return errors.Join(e.Old.check(e.Number), e.New.check(e.Number))
}

func (k Keys) check(number int64) error {
	if len(k.IDs) > MaxKeys || k.Threshold < 0 || k.Threshold > len(k.IDs) || (k.Threshold == 0) != (len(k.IDs) == 0) {
		return fmt.Errorf("entry %d: %d of %d keys can not be: %w", number, k.Threshold, len(k.IDs), ErrInvalid)
	}
	for _, id := range k.IDs {
		if id == "" || !plain(string(id), maxKeyID) {
			return fmt.Errorf("entry %d: %.80q is no key id: %w", number, id, ErrInvalid)
		}
	}
	return nil
}

// plain reports whether s is one line of valid UTF-8, so that its canonical form is JSON, too.
func plain(s string, most int) bool {
	if len(s) > most || !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return false
		}
	}
	return true
}

// AppendCanonical appends the canonical form: one line of JSON without the line break.
func (e *Entry) AppendCanonical(dst []byte) []byte {
	dst = cjson.AppendString(append(dst, `{"kind":`...), e.Kind)
	dst = e.New.append(append(dst, `,"new":`...))
	if !e.NotBefore.IsZero() {
		dst = cjson.AppendString(append(dst, `,"not_before":`...), tuf.FormatTime(e.NotBefore))
	}
	dst = cjson.AppendInt(append(dst, `,"number":`...), e.Number)
	dst = e.Old.append(append(dst, `,"old":`...))
	dst = cjson.AppendInt(append(dst, `,"publication":`...), e.Publication)
	dst = cjson.AppendString(append(dst, `,"role":`...), e.Role)
	dst = cjson.AppendString(append(dst, `,"text":`...), e.Text)
	dst = cjson.AppendString(append(dst, `,"time":`...), tuf.FormatTime(e.Time))
	return append(dst, '}')
}

func (k Keys) append(dst []byte) []byte {
	dst = append(dst, `{"keyids":[`...)
	for i, id := range k.IDs {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = cjson.AppendString(dst, id)
	}
	dst = cjson.AppendInt(append(dst, `],"threshold":`...), int64(k.Threshold))
	return append(dst, '}')
}

// Parse reads the canonical form of an entry. It accepts nothing else, so that of one entry there
// is one form. The error is ErrInvalid.
func Parse(line []byte) (Entry, error) {
	if len(line) > MaxEntry {
		return Entry{}, fmt.Errorf("a line of %d bytes: %w", len(line), ErrInvalid)
	}
	var e Entry
	var bad error
	at := func(b []byte) time.Time {
		t, err := time.Parse("2006-01-02T15:04:05Z", string(b))
		bad = errors.Join(bad, err)
		return t
	}
	r := cjson.New(line, 4)
	for m := r.Object(); r.Next(&m); {
		switch string(m.Name()) {
		case "kind":
			e.Kind = Kind(r.Bytes())
		case "new":
			e.New = readKeys(r)
		case "not_before":
			e.NotBefore = at(r.Bytes())
		case "number":
			e.Number = r.Int()
		case "old":
			e.Old = readKeys(r)
		case "publication":
			e.Publication = r.Int()
		case "role":
			e.Role = tuf.RoleName(r.Bytes())
		case "text":
			e.Text = string(r.Bytes())
		case "time":
			e.Time = at(r.Bytes())
		default:
			r.Skip() // found when the canonical forms are compared
		}
	}
	if err := errors.Join(r.End(), bad); err != nil {
		return Entry{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if err := e.Check(); err != nil {
		return Entry{}, err
	}
	if string(e.AppendCanonical(make([]byte, 0, len(line)))) != string(line) {
		return Entry{}, fmt.Errorf("entry %d is not spelled canonically: %w", e.Number, ErrInvalid)
	}
	return e, nil
}

func readKeys(r *cjson.Reader) Keys {
	var k Keys
	for m := r.Object(); r.Next(&m); {
		switch string(m.Name()) {
		case "keyids":
			for l := r.Array(); r.More(&l); {
				k.IDs = append(k.IDs, key.ID(r.Bytes()))
			}
		case "threshold":
			n := r.Int()
			if n < 0 || n > MaxKeys {
				r.Fail(r.Position(), "threshold out of range")
			}
			k.Threshold = int(n)
		default:
			r.Skip()
		}
	}
	return k
}

// Head stands for a whole record: its length, and the end of the chain over its entries. The zero Head is that of
// the empty record.
type Head struct {
	Length int64
	Sum    [sha256.Size]byte
}

// Append returns the head after an entry. The error is ErrInvalid, or ErrChain if the entry is not the next.
func (h Head) Append(e *Entry) (Head, error) {
	if err := e.Check(); err != nil {
		return Head{}, err
	}
	if e.Number != h.Length+1 {
		return Head{}, fmt.Errorf("entry %d came after entry %d: %w", e.Number, h.Length, ErrChain)
	}
	b := e.AppendCanonical(append(make([]byte, 0, 1024), h.Sum[:]...))
	if len(b)-len(h.Sum) > MaxEntry {
		return Head{}, fmt.Errorf("entry %d is longer than %d bytes: %w", e.Number, MaxEntry, ErrInvalid)
	}
	return Head{Length: e.Number, Sum: sha256.Sum256(b)}, nil
}

// Value returns the value of the snapshot's member [Member].
func (h Head) Value() []byte {
	return fmt.Appendf(nil, `{"head":"%x","length":%d}`, h.Sum, h.Length)
}

// HeadOf returns the head that a snapshot carries, the zero Head if it carries none. The error is ErrInvalid.
func HeadOf(s *tuf.Snapshot) (Head, error) {
	raw, ok := s.Member(Member)
	if !ok {
		return Head{}, nil
	}
	var h Head
	r := cjson.New(raw, 2)
	for m := r.Object(); r.Next(&m); {
		switch string(m.Name()) {
		case "head":
			if text := r.Bytes(); len(text) != hex.EncodedLen(len(h.Sum)) {
				r.Fail(r.Position(), "not a SHA-256")
			} else if _, err := hex.Decode(h.Sum[:], text); err != nil {
				r.Fail(r.Position(), "not a SHA-256")
			}
		case "length":
			h.Length = r.Int()
		default:
			r.Skip()
		}
	}
	if err := r.End(); err != nil {
		return Head{}, fmt.Errorf("snapshot version %d, member %q: %w: %w", s.Version(), Member, ErrInvalid, err)
	}
	if canonical, err := cjson.Canonical(raw, 2); err != nil || h.Length < 1 || string(canonical) != string(h.Value()) {
		return Head{}, fmt.Errorf("snapshot version %d, member %q is not what stands for a record: %w", s.Version(), Member, ErrInvalid)
	}
	return h, nil
}
