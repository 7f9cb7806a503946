package server

import (
	"io"
	"net/http"
	"time"

	"example.com/bailiwick/internal/index"
)

// maxDelay bounds the seconds of a delay before they become a duration; what is acceptable the index says.
const maxDelay = 10 * 365 * 24 * 60 * 60

// RecoveriesAnswer lists recoveries that are announced or asked for.
type RecoveriesAnswer struct {
	Recoveries []RecoveryAnswer `json:"recoveries"`
}

// RecoveryAnswer is a recovery that was asked for, announced, or both.
type RecoveryAnswer struct {
	Project   string   `json:"project"`
	Request   string   `json:"request,omitempty"` // of those who are to have the project
	Keys      []string `json:"keys"`              // identifiers of the keys that get it
	Threshold int      `json:"threshold"`
	// Asked is when the request came, Announced when operators announced it, NotBefore from when on a sitting takes it in.
	Asked     time.Time `json:"asked,omitzero"`
	Announced time.Time `json:"announced,omitzero"`
	NotBefore time.Time `json:"not_before,omitzero"`
	Note      string    `json:"note,omitempty"`    // of those who ask
	Because   string    `json:"because,omitempty"` // as the record says it
	Entry     int64     `json:"entry,omitempty"`   // number of the record's entry
	Next      string    `json:"next"`
	Problem   string    `json:"problem,omitempty"`
}

// AnnounceBody announces a recovery.
type AnnounceBody struct {
	Project string `json:"project"`
	Request string `json:"request,omitempty"` // identifier; may be left out if one is open
	Because string `json:"because"`
	Delay   int64  `json:"delay,omitempty"` // seconds; 0: the standard, a week
}

// WithdrawBody cancels an announced recovery, or refuses a request for one.
type WithdrawBody struct {
	Because string `json:"because"`
	Request string `json:"request,omitempty"` // that is refused; absent: the announced recovery
}

func recoveryAnswer(s *index.RecoveryState) RecoveryAnswer {
	a := RecoveryAnswer{
		Project: s.Project.String(), Request: s.Request, Keys: []string{}, Threshold: s.Threshold, Asked: s.Asked, Announced: s.Announced,
		NotBefore: s.NotBefore, Note: s.Note, Because: s.Text, Entry: s.Entry, Next: s.Next, Problem: s.Problem,
	}
	for _, id := range s.Keys {
		a.Keys = append(a.Keys, string(id))
	}
	return a
}

func recoveryAnswers(list []index.RecoveryState) []RecoveryAnswer {
	answers := make([]RecoveryAnswer, len(list))
	for i := range list {
		answers[i] = recoveryAnswer(&list[i])
	}
	return answers
}

func (s *Server) operatorRecoveries(r *http.Request, _ io.Reader, a index.Actor) (int, any, error) {
	list, err := s.index.Recoveries(r.Context(), a)
	if err != nil {
		return 0, nil, err //nolint:wrapcheck // a refusal, or explained by fail
	}
	return http.StatusOK, RecoveriesAnswer{Recoveries: recoveryAnswers(list)}, nil
}

func (s *Server) operatorAnnounce(r *http.Request, body io.Reader, a index.Actor) (int, any, error) {
	var in AnnounceBody
	if err := decodeBody(body, maxSmallBody, &in); err != nil {
		return 0, nil, err
	}
	p, err := projectOf(in.Project)
	if err != nil {
		return 0, nil, err
	}
	if in.Delay < 0 || in.Delay > maxDelay {
		return 0, nil, badForm(nil, "delay is a number of seconds, and %d can not be", in.Delay)
	}
	state, err := s.index.AnnounceRecovery(r.Context(), a, index.Announcement{
		Project: p, Request: in.Request, Because: in.Because, Delay: time.Duration(in.Delay) * time.Second,
	})
	if err != nil {
		return 0, nil, err //nolint:wrapcheck // a refusal, or explained by fail
	}
	return http.StatusCreated, recoveryAnswer(&state), nil
}

func (s *Server) operatorWithdraw(r *http.Request, body io.Reader, a index.Actor) (int, any, error) {
	p, err := projectOf(r.PathValue("project"))
	if err != nil {
		return 0, nil, err
	}
	var in WithdrawBody
	if err := decodeBody(body, maxSmallBody, &in); err != nil {
		return 0, nil, err
	}
	if in.Request != "" {
		err = s.index.RefuseRecovery(r.Context(), a, p, in.Request, in.Because)
	} else {
		err = s.index.WithdrawRecovery(r.Context(), a, p, in.Because)
	}
	if err != nil {
		return 0, nil, err //nolint:wrapcheck // a refusal, or explained by fail
	}
	return http.StatusNoContent, nil, nil
}
