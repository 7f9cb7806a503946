package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"example.com/bailiwick/internal/ceremony"
	"example.com/bailiwick/internal/index"
	"example.com/bailiwick/internal/problem"
	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
)

// Bounds of what the API reads. A signing request has its own, ceremony.MaxBytes.
const (
	maxSignaturesBody = 512 << 10 // bytes
	maxSmallBody      = 16 << 10  // bytes
	maxRequestID      = 64        // bytes looked at
)

// Of refusals by the API.
const (
	// ProblemPrefix begins the type of a problem document about a signing request; the reason follows, such as "stale".
	ProblemPrefix = "urn:bailiwick:problem:"
	// HeaderVersion accompanies a 409: the newest published version of the role that a request was based on.
	HeaderVersion = "Bailiwick-Version"
)

// apiRoutes lists the addresses for maintainers. Everything here needs a token.
func (s *Server) apiRoutes(mux *http.ServeMux) {
	for pattern, handler := range map[string]apiHandler{
		"GET /api/v1/projects/{project}":                     s.apiProject,
		"GET /api/v1/projects/{project}/events":              s.apiEvents,
		"GET /api/v1/projects/{project}/keys/{key}/alone":    s.apiAlone,
		"POST /api/v1/projects/{project}/yank":               s.apiYank,
		"DELETE /api/v1/projects/{project}/files/{filename}": s.apiDelete,
		"DELETE /api/v1/projects/{project}/staged/{file}":    s.apiUnstage,
		"GET /api/v1/requests":                               s.apiRequests,
		"POST /api/v1/requests":                              s.apiPropose,
		"GET /api/v1/requests/{id}":                          s.apiRequest,
		"POST /api/v1/requests/{id}/signatures":              s.apiSign,
		"DELETE /api/v1/requests/{id}":                       s.apiAbort,
	} {
		mux.HandleFunc(pattern, s.api(handler))
	}
	s.operatorRoutes(mux)
	mux.HandleFunc("/api/", func(w http.ResponseWriter, r *http.Request) {
		s.apiRefuse(w, r, nil, &index.Refusal{Kind: index.NotFound, Message: "there is nothing at this address of the API; its addresses begin with /api/v1/projects/ and /api/v1/requests"})
	})
}

// apiHandler answers one call: with a status and a value to encode, or with an error to explain.
type apiHandler func(r *http.Request, body io.Reader, a index.Actor) (status int, answer any, err error)

// api wraps a handler: rights first, then the work, then the answer.
func (s *Server) api(handle apiHandler) http.HandlerFunc { return s.apiFor(s.apiActor, handle) }

// apiFor is api for callers that who knows by their request.
func (s *Server) apiFor(who func(*http.Request) (index.Actor, error), handle apiHandler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body := newUploadBody(w, r, &s.limits)
		actor, err := who(r)
		if err == nil {
			note(w, slog.LevelDebug, slog.String("token", actor.TokenID()))
			err = checkBody(r)
		}
		if err == nil && r.Method != http.MethodGet {
			select {
			case s.uploads <- struct{}{}:
				defer func() { <-s.uploads }()
			default:
				err = &index.Refusal{Kind: index.Busy, Message: "too many uploads and requests are in progress; try again in a moment"}
			}
		}
		var status int
		var answer any
		if err == nil {
			status, answer, err = handle(r, body, actor)
		}
		s.giveTime(w, 0)
		if err != nil {
			s.apiRefuse(w, r, body, err)
			return
		}
		if r.Method != http.MethodGet {
			note(w, slog.LevelInfo, slog.Int("answer", status))
		}
		writeJSON(w, status, answer)
	}
}

// apiActor reads the token: Basic as in uploads, or Bearer.
func (s *Server) apiActor(r *http.Request) (index.Actor, error) {
	scheme, secret, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return s.actor(r)
	}
	actor, err := s.index.Authenticate(r.Context(), strings.TrimSpace(secret))
	return actor, err //nolint:wrapcheck // a refusal, or explained by fail
}

// checkBody refuses bodies of other types before they are read.
func checkBody(r *http.Request) error {
	if r.Method != http.MethodPost {
		return nil
	}
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/json" {
		return &formError{http.StatusUnsupportedMediaType, "the body of this request has to be application/json", err}
	}
	return nil
}

// apiRefuse answers a call that was not done, with the same sentence wherever a client looks for it.
func (s *Server) apiRefuse(w http.ResponseWriter, r *http.Request, body *uploadBody, err error) {
	var refusal *index.Refusal
	if !errors.As(err, &refusal) || (refusal.Kind != index.Conflict && refusal.Reason == "") {
		if body == nil {
			body = newUploadBody(w, r, &s.limits)
		}
		s.refuse(w, r, body, err)
		return
	}
	if refusal.Version > 0 {
		w.Header().Set(HeaderVersion, strconv.FormatInt(refusal.Version, 10))
	}
	note(w, slog.LevelWarn, slog.String("refused", refusal.Message))
	if rec, ok := w.(*recorder); ok {
		rec.status = statusOf(refusal.Kind)
	}
	p := &problem.Problem{Status: statusOf(refusal.Kind), Message: refusal.Message, Detail: refusal.Detail}
	if refusal.Reason != "" {
		p.Type = ProblemPrefix + string(refusal.Reason)
	}
	problem.Write(w, r, p)
}

// readBody takes a body of at most most bytes.
func readBody(body io.Reader, most int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(body, most+1)) //nolint:forbidigo // bounded, and the length is checked below
	if err != nil {
		return nil, badForm(err, "the body of the request broke off")
	}
	if int64(len(data)) > most {
		return nil, largeForm("the body of the request is larger than %s", byteCount(most))
	}
	return data, nil
}

// decodeBody reads a small JSON body strictly: a member that is not known is a mistake.
func decodeBody(body io.Reader, most int64, into any) error {
	data, err := readBody(body, most)
	if err != nil {
		return err
	}
	d := json.NewDecoder(strings.NewReader(string(data)))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return badForm(err, "the body is not what this address takes: %s", jsonMistake(err))
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return badForm(err, "the body holds more than one JSON value")
	}
	return nil
}

// jsonMistake says where a JSON body is wrong, without the names of our types.
func jsonMistake(err error) string {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return fmt.Sprintf("no JSON at byte %d", syntax.Offset)
	case errors.As(err, &kind):
		return fmt.Sprintf("the member %q can not be a %s", kind.Field, kind.Value)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "it ends too early"
	}
	return strings.TrimPrefix(err.Error(), "json: ")
}

func writeJSON(w http.ResponseWriter, status int, answer any) {
	h := w.Header()
	h.Set("Cache-Control", "no-store") // it is for the holder of one token
	if answer == nil {
		h.Set("Content-Length", "0")
		w.WriteHeader(status)
		return
	}
	data, raw := answer.(json.RawMessage)
	if !raw {
		var err error
		if data, err = json.Marshal(answer); err != nil { // the answers below always encode
			data, status = json.RawMessage(`{"message":"`+failedSentence+`"}`), http.StatusInternalServerError
		}
	}
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(data)+1))
	w.WriteHeader(status)
	_, _ = w.Write(append(data, '\n')) // a client that went away needs no answer
}

// projectOf reads the project in the address or query.
func projectOf(name string) (pypi.Project, error) {
	p, err := pypi.ParseProject(name)
	if err != nil {
		return p, badForm(err, "%v", err)
	}
	return p, nil
}

func requestID(r *http.Request) (string, error) {
	id := r.PathValue("id")
	if len(id) > maxRequestID {
		return "", &index.Refusal{Kind: index.NotFound, Message: "there is no signing request of this name"}
	}
	return id, nil
}

func (s *Server) apiProject(r *http.Request, _ io.Reader, a index.Actor) (int, any, error) {
	p, err := projectOf(r.PathValue("project"))
	if err != nil {
		return 0, nil, err
	}
	state, err := s.index.ProjectState(r.Context(), a, p)
	if err != nil {
		return 0, nil, err //nolint:wrapcheck // a refusal, or explained by fail
	}
	return http.StatusOK, projectAnswer(&state), nil
}

func (s *Server) apiEvents(r *http.Request, _ io.Reader, a index.Actor) (int, any, error) {
	p, err := projectOf(r.PathValue("project"))
	if err != nil {
		return 0, nil, err
	}
	events, err := s.index.Events(r.Context(), a, p)
	if err != nil {
		return 0, nil, err //nolint:wrapcheck // a refusal, or explained by fail
	}
	answer := EventsAnswer{Events: []EventAnswer{}}
	for i := range events {
		answer.Events = append(answer.Events, eventAnswer(&events[i]))
	}
	return http.StatusOK, answer, nil
}

func (s *Server) apiAlone(r *http.Request, _ io.Reader, a index.Actor) (int, any, error) {
	p, err := projectOf(r.PathValue("project"))
	if err != nil {
		return 0, nil, err
	}
	id := r.PathValue("key")
	if !isSHA256(id) {
		return 0, nil, badForm(nil, "a key is named by its id, 64 lower-case hex digits")
	}
	names, err := s.index.SignedAlone(r.Context(), a, p, key.ID(id))
	if err != nil {
		return 0, nil, err //nolint:wrapcheck // a refusal, or explained by fail
	}
	answer := AloneAnswer{Files: []string{}}
	for _, name := range names {
		answer.Files = append(answer.Files, name.String())
	}
	return http.StatusOK, answer, nil
}

// apiYank serves projects that are not claimed: the registry signs for them.
func (s *Server) apiYank(r *http.Request, body io.Reader, a index.Actor) (int, any, error) {
	p, err := projectOf(r.PathValue("project"))
	if err != nil {
		return 0, nil, err
	}
	var in YankBody
	if err := decodeBody(body, maxSmallBody, &in); err != nil {
		return 0, nil, err
	}
	version, err := pypi.ParseVersion(in.Version)
	if err != nil {
		return 0, nil, badForm(err, "%v", err)
	}
	reason := &in.Reason
	if !in.Yanked {
		reason = nil
	}
	receipt, err := s.index.Yank(r.Context(), a, p, version, reason)
	if err != nil {
		return 0, nil, err //nolint:wrapcheck // a refusal, or explained by fail
	}
	return editAnswer(receipt)
}

// editAnswer says whether an edit is published, or waits for the index's signer.
func editAnswer(r publish.Receipt) (int, any, error) {
	if r.Publication == 0 {
		return http.StatusAccepted, OutcomeAnswer{Next: "it takes effect when the index's signer has signed it"}, nil
	}
	return http.StatusOK, OutcomeAnswer{Publication: r.Publication}, nil
}

// apiDelete serves projects that are not claimed, as apiYank does.
func (s *Server) apiDelete(r *http.Request, _ io.Reader, a index.Actor) (int, any, error) {
	p, name, err := fileOf(r, "filename")
	if err != nil {
		return 0, nil, err
	}
	receipt, err := s.index.Delete(r.Context(), a, p, name)
	if err != nil {
		return 0, nil, err //nolint:wrapcheck // a refusal, or explained by fail
	}
	return editAnswer(receipt)
}

func (s *Server) apiUnstage(r *http.Request, _ io.Reader, a index.Actor) (int, any, error) {
	p, name, err := fileOf(r, "file")
	if err != nil {
		return 0, nil, err
	}
	if err := s.index.Unstage(r.Context(), a, p, name); err != nil {
		return 0, nil, err //nolint:wrapcheck // a refusal, or explained by fail
	}
	return http.StatusNoContent, nil, nil
}

func fileOf(r *http.Request, part string) (pypi.Project, pypi.Filename, error) {
	p, err := projectOf(r.PathValue("project"))
	if err != nil {
		return p, pypi.Filename{}, err
	}
	name, err := pypi.ParseFilenameFor(p, r.PathValue(part))
	if err != nil {
		return p, name, badForm(err, "%v", err)
	}
	return p, name, nil
}

func (s *Server) apiRequests(r *http.Request, _ io.Reader, a index.Actor) (int, any, error) {
	p, err := projectOf(r.URL.Query().Get("project"))
	if err != nil {
		return 0, nil, err
	}
	pending, err := s.index.Requests(r.Context(), a, p)
	if err != nil {
		return 0, nil, err //nolint:wrapcheck // a refusal, or explained by fail
	}
	return http.StatusOK, RequestsAnswer{Requests: requestAnswers(pending)}, nil
}

// apiPropose takes a signing request. 200: it was complete, and is published. 202: it waits.
func (s *Server) apiPropose(r *http.Request, body io.Reader, a index.Actor) (int, any, error) {
	if r.ContentLength > ceremony.MaxBytes {
		return 0, nil, largeForm("the signing request is larger than %s", byteCount(ceremony.MaxBytes))
	}
	data, err := readBody(body, ceremony.MaxBytes)
	if err != nil {
		return 0, nil, err
	}
	request, err := index.DecodeRequest(data)
	if err != nil {
		return 0, nil, err //nolint:wrapcheck // a refusal
	}
	outcome, err := s.index.Propose(r.Context(), a, request)
	return outcomeAnswer(outcome, err)
}

// apiRequest answers with the request in the form in which it travels, signatures included.
func (s *Server) apiRequest(r *http.Request, _ io.Reader, a index.Actor) (int, any, error) {
	id, err := requestID(r)
	if err != nil {
		return 0, nil, err
	}
	pending, err := s.index.Request(r.Context(), a, id)
	if err != nil {
		return 0, nil, err //nolint:wrapcheck // a refusal, or explained by fail
	}
	data, err := pending.Request.Encode()
	if err != nil {
		return 0, nil, fmt.Errorf("encoding the signing request %s: %w", id, err)
	}
	return http.StatusOK, json.RawMessage(data), nil
}

// apiSign adds signatures; the last one that is needed publishes.
func (s *Server) apiSign(r *http.Request, body io.Reader, a index.Actor) (int, any, error) {
	id, err := requestID(r)
	if err != nil {
		return 0, nil, err
	}
	var in SignaturesBody
	if err := decodeBody(body, maxSignaturesBody, &in); err != nil {
		return 0, nil, err
	}
	if len(in.Signatures) == 0 || len(in.Signatures) > ceremony.MaxPayloads*ceremony.MaxSignatures {
		return 0, nil, badForm(nil, "send at least one signature, and no more than the request can hold")
	}
	signatures := make([]index.RoleSignature, len(in.Signatures))
	for i, sig := range in.Signatures {
		if len(sig.Sig) == 0 || len(sig.KeyID) > tuf.MaxKeyID {
			return 0, nil, badForm(nil, "signature %d has no keyid or no sig", i+1)
		}
		signatures[i] = index.RoleSignature{
			Role:      tuf.RoleName(sig.Role),
			Signature: tuf.Signature{KeyID: key.ID(sig.KeyID), Sig: sig.Sig},
		}
	}
	outcome, err := s.index.AddSignature(r.Context(), a, id, signatures...)
	return outcomeAnswer(outcome, err)
}

func (s *Server) apiAbort(r *http.Request, _ io.Reader, a index.Actor) (int, any, error) {
	id, err := requestID(r)
	if err != nil {
		return 0, nil, err
	}
	if err := s.index.Abort(r.Context(), a, id); err != nil {
		return 0, nil, err //nolint:wrapcheck // a refusal, or explained by fail
	}
	return http.StatusNoContent, nil, nil
}
