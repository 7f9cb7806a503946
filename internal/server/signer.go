package server

import (
	"errors"
	"net/http"
	"strconv"

	"example.com/bailiwick/internal/custody"
	"example.com/bailiwick/internal/index"
)

// SignerPath is where an isolated signer asks for the next proposal, with its answer to the one before.
const SignerPath = "/api/v1/signer"

// errReplaced: another signer has called since.
var errReplaced = errors.New("another signer has taken over")

// signerTurn answers an isolated signer: 200 with a proposal, or 204 when there was none for a while.
func (s *Server) signerTurn(w http.ResponseWriter, r *http.Request) {
	body := newUploadBody(w, r, &s.limits)
	turn, err := s.readTurn(r, body)
	if err != nil {
		s.apiRefuse(w, r, body, err)
		return
	}
	s.giveTime(w, 0)
	proposal, err := s.signer.turn(r.Context(), turn)
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	switch {
	case errors.Is(err, errReplaced):
		s.apiRefuse(w, r, body, &index.Refusal{Kind: index.Conflict, Message: "another signer has connected since; there can be one at a time, so end one of them"})
	case err != nil:
		return // it went away
	case proposal == nil:
		w.WriteHeader(http.StatusNoContent)
	default:
		s.giveTime(w, int64(len(proposal)))
		h.Set("Content-Type", "application/jsonl")
		h.Set("Content-Length", strconv.Itoa(len(proposal)))
		_, _ = w.Write(proposal) // if it does not arrive, the signer asks again
	}
}

// readTurn checks who asks before it reads what.
func (s *Server) readTurn(r *http.Request, body *uploadBody) (*custody.Turn, error) {
	actor, err := s.apiActor(r)
	if err != nil {
		return nil, err
	}
	if !actor.MaySign() {
		return nil, &index.Refusal{Kind: index.Forbidden, Message: "this is for the isolated signer of the index: use a token made with bailiwick token new --signer"}
	}
	if s.signer == nil {
		return nil, &index.Refusal{Kind: index.NotFound, Message: "this index signs everything itself (custody standard), and waits for no signer"}
	}
	if err := checkBody(r); err != nil {
		return nil, err
	}
	data, err := readBody(body, custody.MaxAnswer)
	if err != nil {
		return nil, err
	}
	turn, err := custody.DecodeTurn(data)
	if err != nil {
		return nil, badForm(err, "%v", err)
	}
	return turn, nil
}
