package policy

import (
	"fmt"

	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/cjson"
)

// StatusMember is the additional member of a project's role in which its maintainers say that the
// project is archived: {"status":"archived","reason":"use flask-next"}. Without it a project is active.
const StatusMember = "x-bailiwick-status"

// statusArchived is the one status, of those of PEP 792, that maintainers give their project.
const statusArchived = "archived"

// Status is what the maintainers of a project say of it as a whole, in the words of PEP 792. The zero
// value is an active project.
type Status struct {
	Word   string // "archived", or ""
	Reason string // may be ""
}

// Archived is the status of a project that gets no more releases; the reason may be empty.
func Archived(reason string) Status { return Status{Word: statusArchived, Reason: reason} }

// ParkedStatus is the status of a project that is parked: operators say that it gets no more releases, in the place
// of its maintainers. PEP 792 has no word of its own for that.
func ParkedStatus() Status {
	return Archived("parked: its maintainers do not answer, and the index's offline key signs its last list as it is")
}

// IsArchived reports whether the project gets no more releases.
func (s Status) IsArchived() bool { return s.Word == statusArchived }

// StatusOf reads what a project's role says. The error wraps [ErrCustom]: another word, an unknown
// member, or a reason of more than [MaxYankReason] bytes or of several lines.
func StatusOf(project *tuf.Targets) (Status, error) {
	raw, ok := project.Member(StatusMember)
	if !ok {
		return Status{}, nil
	}
	var s Status
	r := cjson.New(raw, customDepth)
	for m := r.Object(); r.Next(&m); {
		switch name := string(m.Name()); name {
		case "status":
			s.Word = string(r.Bytes())
		case "reason":
			s.Reason = string(r.Bytes())
		default:
			return Status{}, fmt.Errorf("%w: a status has no member %.40q", ErrCustom, name)
		}
	}
	if err := r.End(); err != nil {
		return Status{}, fmt.Errorf("%w: status of the project: %w", ErrCustom, err)
	}
	return s, s.check()
}

func (s Status) check() error {
	if !s.IsArchived() {
		return fmt.Errorf("%w: the status is %.40q; maintainers can say %q, and leave it out for an active project", ErrCustom, s.Word, statusArchived)
	}
	return checkReason("the status", s.Reason)
}

// Encode returns the value of the member; nil, which removes it, for an active project.
func (s Status) Encode() ([]byte, error) {
	if s == (Status{}) {
		return nil, nil
	}
	if err := s.check(); err != nil {
		return nil, err
	}
	b := []byte(`{"status":`)
	b = cjson.AppendString(b, s.Word)
	if s.Reason != "" {
		b = cjson.AppendString(append(b, `,"reason":`...), s.Reason)
	}
	return append(b, '}'), nil
}
