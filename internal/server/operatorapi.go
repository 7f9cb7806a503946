package server

import (
	"bufio"
	"cmp"
	"encoding/hex"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"strconv"
	"time"

	"example.com/bailiwick/internal/index"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/internal/sitting"
)

// OperatorRequestType is the media type of a signing request of operators: package sitting writes one JSON value a line.
const OperatorRequestType = "application/x-ndjson"

// Bounds of what the operators' API reads, besides those of package sitting.
const (
	maxWishesBody = 16 << 20 // bytes: lists of a hundred thousand projects
	maxPopular    = 100_000
	maxNamed      = 100_000 // projects in one list of a sitting
	recordPage    = 1000    // entries in one answer
	maxImports    = 2       // files that come over the network at once: each may take a gigabyte of memory
)

// operatorRoutes lists the addresses for operators, and the public record.
func (s *Server) operatorRoutes(mux *http.ServeMux) {
	for pattern, handler := range map[string]apiHandler{
		"GET /api/v1/operator/requests":                    s.operatorRequests,
		"DELETE /api/v1/operator/requests/{id}":            s.operatorAbort,
		"POST /api/v1/operator/sittings":                   s.operatorPlan,
		"POST /api/v1/operator/rotations":                  s.operatorRotate,
		"GET /api/v1/operator/status":                      s.operatorStatus,
		"GET /api/v1/operator/recoveries":                  s.operatorRecoveries,
		"POST /api/v1/operator/recoveries":                 s.operatorAnnounce,
		"POST /api/v1/operator/recoveries/{project}/abort": s.operatorWithdraw,
	} {
		mux.HandleFunc(pattern, s.apiFor(s.operator, handler))
	}
	mux.HandleFunc("POST /api/v1/operator/requests", s.operatorImport)
	mux.HandleFunc("GET /api/v1/operator/requests/{id}", s.operatorRequest)
	mux.HandleFunc("GET /record", s.record)
}

func (s *Server) operatorRequests(r *http.Request, _ io.Reader, a index.Actor) (int, any, error) {
	list, err := s.index.OperatorRequests(r.Context(), a, r.URL.Query().Get("all") == "true")
	if err != nil {
		return 0, nil, err //nolint:wrapcheck // a refusal, or explained by fail
	}
	return http.StatusOK, OperatorRequestsAnswer{Requests: s.operatorAnswers(r, list)}, nil
}

func (s *Server) operatorAnswers(r *http.Request, list []index.OperatorPending) []OperatorRequestAnswer {
	answers := make([]OperatorRequestAnswer, len(list))
	names := s.index.Holders()
	for i := range list {
		answers[i] = operatorAnswer(&list[i], names)
	}
	return answers
}

func operatorAnswer(p *index.OperatorPending, names index.HolderNames) OperatorRequestAnswer {
	return OperatorRequestAnswer{
		ID: p.ID, Kind: p.Kind, Title: p.Title, State: string(p.State), Created: p.Created, Expires: p.Expires, Token: p.Token,
		By: p.By, Note: p.Note, Payloads: p.Payloads, Missing: operatorMissing(p.Missing, names), Next: p.Next, Blocks: p.Blocks,
		Stale: p.Stale, Problem: p.Problem, Publication: p.Publication,
	}
}

func operatorMissing(groups []index.MissingGroup, names index.HolderNames) []OperatorMissingAnswer {
	answers := make([]OperatorMissingAnswer, len(groups))
	for i, g := range groups {
		a := OperatorMissingAnswer{Role: string(g.Role), Roles: g.Roles, Need: g.Need, Why: g.Why, Keys: make([]string, len(g.Keys))}
		known := false
		holders := make([]string, len(g.Keys))
		for j, id := range g.Keys {
			a.Keys[j], holders[j] = string(id), cmp.Or(names[id], g.Names[id])
			known = known || holders[j] != ""
		}
		if known {
			a.Holders = holders
		}
		answers[i] = a
	}
	return answers
}

// operatorRequest answers with the file as it travels, signatures included. It may be large, so it streams.
func (s *Server) operatorRequest(w http.ResponseWriter, r *http.Request) {
	request, err := func() (*sitting.Request, error) {
		actor, err := s.operator(r)
		if err != nil {
			return nil, err
		}
		id, err := requestID(r)
		if err != nil {
			return nil, err
		}
		return s.index.OperatorRequest(r.Context(), actor, id)
	}()
	if err != nil {
		s.giveTime(w, 0)
		s.apiRefuse(w, r, nil, err)
		return
	}
	s.giveTime(w, sitting.MaxBytes)
	h := w.Header()
	h.Set("Content-Type", OperatorRequestType)
	h.Set("Cache-Control", "no-store")
	if err := sitting.Encode(w, request); err != nil {
		// Half of it may be out: the connection has to break, so that nobody takes it for the whole.
		s.log.WarnContext(r.Context(), "a signing request could not be sent", "error", err)
		panic(http.ErrAbortHandler)
	}
}

// operatorImport takes a signed file. 200: published. 202: it waits for others.
func (s *Server) operatorImport(w http.ResponseWriter, r *http.Request) {
	body := newUploadBody(w, r, &s.limits)
	outcome, err := s.importRequest(r, body)
	s.giveTime(w, 0)
	if err != nil {
		s.apiRefuse(w, r, body, err)
		return
	}
	note(w, slog.LevelInfo, slog.String("request", outcome.ID), slog.Int64("publication", outcome.Publication), slog.Int("signatures", outcome.New))
	status := http.StatusAccepted
	if outcome.Publication > 0 {
		status = http.StatusOK
	}
	writeJSON(w, status, OperatorOutcomeAnswer{
		ID: outcome.ID, Publication: outcome.Publication, Already: outcome.Already, New: outcome.New,
		Missing: operatorMissing(outcome.Missing, s.index.Holders()), Next: outcome.Next,
	})
}

func (s *Server) importRequest(r *http.Request, body io.Reader) (index.OperatorOutcome, error) {
	actor, err := s.operator(r)
	if err != nil {
		return index.OperatorOutcome{}, err
	}
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != OperatorRequestType {
		return index.OperatorOutcome{}, &formError{http.StatusUnsupportedMediaType, "a signing request is sent as " + OperatorRequestType, err}
	}
	if r.ContentLength > sitting.MaxBytes {
		return index.OperatorOutcome{}, largeForm("the signing request is larger than %s", byteCount(sitting.MaxBytes))
	}
	if !isControl(r) {
		select {
		case s.imports <- struct{}{}:
			defer func() { <-s.imports }()
		default:
			return index.OperatorOutcome{}, &index.Refusal{Kind: index.Busy, Message: "other signing requests are being imported; try again in a moment, or import it on the server with --data"}
		}
	}
	request, err := index.DecodeOperatorRequest(bufio.NewReaderSize(io.LimitReader(body, sitting.MaxBytes+1), 1<<20))
	if err != nil {
		return index.OperatorOutcome{}, err //nolint:wrapcheck // a refusal, or explained by fail
	}
	return s.index.Import(r.Context(), actor, request) //nolint:wrapcheck // a refusal, or explained by fail
}

func (s *Server) operatorAbort(r *http.Request, _ io.Reader, a index.Actor) (int, any, error) {
	id, err := requestID(r)
	if err != nil {
		return 0, nil, err
	}
	if err := s.index.AbortOperatorRequest(r.Context(), a, id); err != nil {
		return 0, nil, err //nolint:wrapcheck // a refusal, or explained by fail
	}
	return http.StatusNoContent, nil, nil
}

// operatorPlan draws up a sitting.
func (s *Server) operatorPlan(r *http.Request, body io.Reader, a index.Actor) (int, any, error) {
	var in SittingBody
	if err := decodeBody(body, maxWishesBody, &in); err != nil {
		return 0, nil, err
	}
	wishes, err := in.wishes()
	if err != nil {
		return 0, nil, err
	}
	planned, err := s.index.Plan(r.Context(), a, wishes)
	if err != nil {
		return 0, nil, err //nolint:wrapcheck // a refusal, or explained by fail
	}
	if n := planned.Nothing; n != nil {
		answer := NothingToDoAnswer{Waiting: n.Waiting, Due: n.Due}
		if !n.First.IsZero() {
			answer.First = &n.First
		}
		return http.StatusOK, NothingAnswer{Nothing: answer}, nil
	}
	return http.StatusCreated, SittingAnswer{
		OperatorRequestAnswer: operatorAnswer(&planned.OperatorPending, s.index.Holders()), Summary: planned.Summary,
	}, nil
}

func (b *SittingBody) wishes() (index.SittingWishes, error) {
	w := index.SittingWishes{
		Promote: b.Promote, MinAge: index.StandardMinAge, Renew: b.Renew, All: b.All, Root: b.Root, By: b.By, Note: b.Note,
	}
	if b.MinAge != nil {
		if *b.MinAge < 0 || *b.MinAge > int64(100*365*24*time.Hour/time.Second) {
			return w, badForm(nil, "min_age is a number of seconds, and %d can not be", *b.MinAge)
		}
		w.MinAge = time.Duration(*b.MinAge) * time.Second
	}
	for name, list := range map[string]struct {
		from []string
		to   *[]pypi.Project
		most int
	}{"only": {b.Only, &w.Only, maxNamed}, "except": {b.Except, &w.Except, maxNamed}, "park": {b.Park, &w.Park, maxNamed}, "popular": {b.Popular, &w.Popular, maxPopular}} {
		if len(list.from) > list.most {
			return w, badForm(nil, "%q names %d projects; at most %d are possible", name, len(list.from), list.most)
		}
		for _, text := range list.from {
			p, err := pypi.ParseProject(text)
			if err != nil {
				return w, badForm(err, "%q: %v", name, err)
			}
			*list.to = append(*list.to, p)
		}
	}
	return w, nil
}

func (s *Server) operatorStatus(r *http.Request, _ io.Reader, a index.Actor) (int, any, error) {
	h, err := s.index.Health(r.Context(), a)
	if err != nil {
		return 0, nil, err //nolint:wrapcheck // a refusal, or explained by fail
	}
	answer := StatusAnswer{
		State: string(h.State), Publication: h.Publication, Published: h.Published, Waiting: h.Waiting,
		Duties: make([]DutyAnswer, len(h.Duties)), Requests: s.operatorAnswers(r, h.Requests), Recoveries: recoveryAnswers(h.Recoveries),
		Record: RecordHeadAnswer{Length: h.Record.Length, Head: hex.EncodeToString(h.Record.Sum[:])},
		Root:   RootAnswer{Version: h.Root.Version(), Expires: h.Root.Expires(), First: hex.EncodeToString(h.Repository[:])},
	}
	if h.Failure != nil {
		at := h.FailedAt.UTC().Truncate(time.Second)
		answer.Failure, answer.FailedAt = h.Failure.Error(), &at
	}
	for i := range h.Duties {
		answer.Duties[i] = dutyAnswer(&h.Duties[i])
	}
	if h.Strict {
		answer.Signer = s.signerAnswer(h.Kept)
		if !answer.Signer.Connected && h.State == index.Healthy {
			answer.State = string(index.Attention)
		}
	}
	return http.StatusOK, answer, nil
}

// signerAnswer says whether the isolated signer is there, and how much waits for it.
func (s *Server) signerAnswer(kept int) *SignerAnswer {
	answer := &SignerAnswer{Waiting: kept}
	if s.signer == nil {
		return answer
	}
	at := func(t time.Time) *time.Time {
		if t.IsZero() {
			return nil
		}
		t = t.UTC().Truncate(time.Second)
		return &t
	}
	status := s.signer.Status()
	answer.Connected, answer.Since, answer.Answered = status.Connected, at(status.Since), at(status.Answered)
	return answer
}

func dutyAnswer(d *index.DutyState) DutyAnswer {
	return DutyAnswer{
		Who: d.Duty.String(), Kind: d.Kind.String(), Outlook: d.Outlook().String(), Roles: d.Roles, Due: d.Due, Late: d.Late, Expired: d.Expired,
		First: string(d.First.Role), Opens: d.Opens, By: d.First.Expires, Request: d.Request, Next: d.Next,
	}
}

// record hands out the public record, one entry a line, from the one that the query names on.
func (s *Server) record(w http.ResponseWriter, r *http.Request) {
	from := int64(1)
	if text := r.URL.Query().Get("from"); text != "" {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n < 1 {
			plain(w, http.StatusBadRequest, "from is the number of an entry, which count from 1")
			return
		}
		from = n
	}
	entries, err := s.publisher.Record(r.Context(), from, recordPage)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	var out []byte
	for i := range entries {
		out = append(entries[i].AppendCanonical(out), '\n')
	}
	h := w.Header()
	h.Set("Content-Type", OperatorRequestType)
	h.Set("Cache-Control", brief)
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Content-Length", strconv.Itoa(len(out)))
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(out)
}
