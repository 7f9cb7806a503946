package server

import (
	"encoding/hex"
	"encoding/json"
	"net/http"
	"time"

	"example.com/bailiwick/internal/ceremony"
	"example.com/bailiwick/internal/index"
	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/tuf/cjson"
	"example.com/bailiwick/tuf/key"
)

// ProjectAnswer is what GET /api/v1/projects/NAME says. It is for display: what is signed is in the
// metadata, and clients verify that.
type ProjectAnswer struct {
	Name      string            `json:"name"`
	Exists    bool              `json:"exists"`
	Assurance string            `json:"assurance"`        // "claimed", "parked", "recently claimed", "unclaimed"
	Version   int64             `json:"version"`          // of the project's role; 0: there is none
	Expires   time.Time         `json:"expires,omitzero"` // of that version
	Since     time.Time         `json:"since,omitzero"`   // when it was claimed
	Parked    time.Time         `json:"parked_since,omitzero"`
	Keys      []json.RawMessage `json:"keys"`      // KEY objects of those whose project it is: they sign the role, unless it is parked
	Threshold int               `json:"threshold"` // how many of them it needs
	Recovery  []json.RawMessage `json:"recovery"`  // KEY objects
	Roles     []RoleAnswer      `json:"roles"`     // to which the project delegates
	Staged    []StagedAnswer    `json:"staged"`    // files that wait for a signature
	Requests  []RequestAnswer   `json:"requests"`  // that wait for signatures
	// Recovery by operators that is announced: unless the keys above sign anything until then, others get the project.
	Announced *AnnouncedAnswer `json:"recovery_announced,omitempty"`
}

// AnnouncedAnswer is a recovery that operators have announced.
type AnnouncedAnswer struct {
	Announced time.Time         `json:"announced"`
	NotBefore time.Time         `json:"not_before"`
	Keys      []json.RawMessage `json:"keys"` // KEY objects
	Threshold int               `json:"threshold"`
	Because   string            `json:"because"`
}

// RoleAnswer is a role to which a project delegates.
type RoleAnswer struct {
	Name      string            `json:"name"`
	Version   int64             `json:"version"`
	Expires   time.Time         `json:"expires"`
	Keys      []json.RawMessage `json:"keys"`
	Threshold int               `json:"threshold"`
	Paths     []string          `json:"paths"`
}

// StagedAnswer is a file that was uploaded, checked and kept, and that nobody can install yet.
type StagedAnswer struct {
	Filename       string    `json:"filename"`
	Version        string    `json:"version"`
	Size           int64     `json:"size"`   // bytes
	SHA256         string    `json:"sha256"` // hex
	MetadataSHA256 string    `json:"metadata_sha256,omitempty"`
	RequiresPython string    `json:"requires_python,omitempty"`
	Uploaded       time.Time `json:"uploaded"` // a release has to list it with this time
	Uploader       string    `json:"uploader"` // id of the token
	Expires        time.Time `json:"expires"`  // unsigned by then, it is dropped
}

// MissingAnswer says whose signatures a request still needs.
type MissingAnswer struct {
	Role string   `json:"role"`
	Need int      `json:"need"` // how many of Keys
	Keys []key.ID `json:"keys"`
	Why  string   `json:"why"`
}

// RequestAnswer is a signing request in a list. The request itself is at /api/v1/requests/ID.
type RequestAnswer struct {
	ID      string          `json:"id"`
	Kind    string          `json:"kind"`
	Project string          `json:"project"`
	Created time.Time       `json:"created"`
	Expires time.Time       `json:"expires"`
	Token   string          `json:"token"` // id of the token that brought it in
	By      string          `json:"by,omitempty"`
	Note    string          `json:"note,omitempty"`
	Stale   bool            `json:"stale"`
	Problem string          `json:"problem,omitempty"` // why it can not be executed any more
	Missing []MissingAnswer `json:"missing"`
	Next    string          `json:"next,omitempty"` // what has to happen now
}

// RequestsAnswer lists the signing requests of a project, oldest first.
type RequestsAnswer struct {
	Requests []RequestAnswer `json:"requests"`
}

// OutcomeAnswer says what became of a request: published (200), or waiting (202).
type OutcomeAnswer struct {
	Publication int64           `json:"publication,omitempty"`
	ID          string          `json:"id,omitempty"`
	Missing     []MissingAnswer `json:"missing,omitempty"`
	Next        string          `json:"next,omitempty"`
}

// EventAnswer is one entry of the record of a project.
type EventAnswer struct {
	Kind        string    `json:"kind"`
	Time        time.Time `json:"time"`
	Publication int64     `json:"publication,omitempty"`
	Token       string    `json:"token,omitempty"`
	Request     string    `json:"request,omitempty"`
	Keys        []key.ID  `json:"keys,omitempty"`
	Text        string    `json:"text"`
}

// EventsAnswer is the record of a project, newest first.
type EventsAnswer struct {
	Events []EventAnswer `json:"events"`
}

// AloneAnswer lists the files that a key alone has signed.
type AloneAnswer struct {
	Files []string `json:"files"`
}

// YankBody asks to yank a version of a project that is not claimed, or to take that back.
type YankBody struct {
	Version string `json:"version"`
	Yanked  bool   `json:"yanked"`
	Reason  string `json:"reason,omitempty"`
}

// SignaturesBody adds signatures to a request.
type SignaturesBody struct {
	Signatures []SignatureBody `json:"signatures"`
}

// SignatureBody is one signature of one role's payload.
type SignatureBody struct {
	Role  string   `json:"role"`
	KeyID string   `json:"keyid"`
	Sig   HexBytes `json:"sig"`
}

// HexBytes is bytes as metadata writes them.
type HexBytes []byte

// MarshalText implements encoding.TextMarshaler.
func (b HexBytes) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, b), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (b *HexBytes) UnmarshalText(text []byte) error {
	data, err := hex.AppendDecode(nil, text)
	if err != nil {
		return err //nolint:wrapcheck // becomes part of a sentence
	}
	*b = data
	return nil
}

func projectAnswer(state *index.ProjectState) ProjectAnswer {
	answer := ProjectAnswer{
		Name: state.Project.String(), Exists: state.Exists, Assurance: state.Assurance.String(), Version: state.Version,
		Expires: state.Expires, Since: state.Since, Parked: state.Parked, Keys: keyObjects(state.Keys), Threshold: state.Threshold,
		Recovery: keyObjects(state.Recovery), Roles: []RoleAnswer{}, Staged: []StagedAnswer{}, Requests: requestAnswers(state.Requests),
	}
	if r := state.Announced; r != nil {
		answer.Announced = &AnnouncedAnswer{
			Announced: r.Announced, NotBefore: r.NotBefore, Keys: keyObjects(r.Keys), Threshold: r.Threshold, Because: r.Text,
		}
	}
	for _, sub := range state.Subs {
		answer.Roles = append(answer.Roles, RoleAnswer{
			Name: string(sub.Role), Version: sub.Version, Expires: sub.Expires,
			Keys: keyObjects(sub.Keys), Threshold: sub.Threshold, Paths: sub.Paths,
		})
	}
	for i := range state.Staged {
		answer.Staged = append(answer.Staged, stagedAnswer(&state.Staged[i]))
	}
	return answer
}

func stagedAnswer(f *index.StagedFile) StagedAnswer {
	answer := StagedAnswer{
		Filename: f.Filename.String(), Version: f.Version, Size: f.Size, SHA256: hex.EncodeToString(f.SHA256[:]),
		RequiresPython: f.RequiresPython, Uploaded: f.Uploaded, Uploader: f.Uploader, Expires: f.Expires,
	}
	if f.MetadataSHA256 != nil {
		answer.MetadataSHA256 = hex.EncodeToString(f.MetadataSHA256[:])
	}
	return answer
}

func requestAnswers(pending []index.Pending) []RequestAnswer {
	answers := make([]RequestAnswer, len(pending))
	for i := range pending {
		p := &pending[i]
		answers[i] = RequestAnswer{
			ID: p.ID, Kind: string(p.Request.Kind), Project: p.Request.Project.String(), Created: p.Request.Created,
			Expires: p.Expires, Token: p.Token, By: p.Request.By, Note: p.Request.Note,
			Stale: p.Stale, Problem: p.Problem, Missing: missingAnswers(p.Missing), Next: p.Next,
		}
	}
	return answers
}

func missingAnswers(missing []ceremony.Missing) []MissingAnswer {
	answers := make([]MissingAnswer, len(missing))
	for i, m := range missing {
		answers[i] = MissingAnswer{Role: string(m.Role), Need: m.Need, Keys: m.Keys, Why: m.Why}
	}
	return answers
}

func outcomeAnswer(o index.Outcome, err error) (int, any, error) {
	if err != nil {
		return 0, nil, err
	}
	if o.Publication > 0 {
		return http.StatusOK, OutcomeAnswer{Publication: o.Publication, ID: o.ID}, nil
	}
	return http.StatusAccepted, OutcomeAnswer{ID: o.ID, Missing: missingAnswers(o.Missing), Next: o.Next}, nil
}

func eventAnswer(e *publish.Event) EventAnswer {
	return EventAnswer{
		Kind: string(e.Kind), Time: e.Time, Publication: e.Publication, Token: e.Token,
		Request: e.Request, Keys: e.Keys, Text: e.Text,
	}
}

func keyObjects(keys []*key.Public) []json.RawMessage {
	objects := make([]json.RawMessage, len(keys))
	for i, k := range keys {
		objects[i] = cjson.AppendWire(nil, k.AppendCanonical(nil))
	}
	return objects
}
