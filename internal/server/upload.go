package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"

	"example.com/bailiwick/internal/durable"
	"example.com/bailiwick/internal/index"
	"example.com/bailiwick/internal/problem"
	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/tuf/trust"
)

const (
	retrySoon  = "2"  // seconds, for a queue that drains
	retryLater = "30" // seconds, for trouble that a person has to end

	failedSentence = "the index failed to do this; nothing was changed by it, its log says more"
	tokenUser      = "__token__"
)

// upload takes one file (POST /legacy/ and POST /). The order is: rights, form and file as they
// come in, checks and publication; the answer 200 means that the file is installable, 202 that it waits
// for a signature: of its maintainers, or of the index's signer.
func (s *Server) upload(w http.ResponseWriter, r *http.Request) {
	body := newUploadBody(w, r, &s.limits)
	receipt, err := s.receive(w, r, body)
	s.giveTime(w, 0)
	if err != nil {
		s.refuse(w, r, body, err)
		return
	}
	note(w, slog.LevelInfo, slog.String("project", receipt.Project.String()), slog.String("file", receipt.Filename.String()),
		slog.Int64("publication", receipt.Publication), slog.Bool("unchanged", receipt.Unchanged), slog.Bool("staged", receipt.Staged), slog.Bool("waiting", receipt.Waiting))
	w.Header().Set("Cache-Control", "no-store")
	if receipt.Staged || receipt.Waiting {
		// 202 is success to twine and uv; twine shows the body with --verbose (docs/decisions/0011).
		plain(w, http.StatusAccepted, strings.Join(append([]string{receipt.Line()}, receipt.Warnings...), "\n"))
		return
	}
	if len(receipt.Warnings) == 0 {
		w.Header().Set("Content-Length", "0")
		w.WriteHeader(http.StatusOK)
		return
	}
	plain(w, http.StatusOK, strings.Join(receipt.Warnings, "\n"))
}

// receive does the work of an upload.
func (s *Server) receive(w http.ResponseWriter, r *http.Request, body *uploadBody) (index.Receipt, error) {
	actor, err := s.actor(r)
	if err != nil {
		return index.Receipt{}, err
	}
	note(w, slog.LevelDebug, slog.String("token", actor.TokenID()))
	if r.ContentLength > s.limits.Request {
		return index.Receipt{}, largeForm("the upload is larger than %s", byteCount(s.limits.Request))
	}
	select {
	case s.uploads <- struct{}{}:
		defer func() { <-s.uploads }()
	default:
		return index.Receipt{}, &index.Refusal{Kind: index.Busy, Message: "too many uploads are in progress; try again in a moment"}
	}
	f, err := newForm(r.Header.Get("Content-Type"), body, &s.limits)
	if err != nil {
		return index.Receipt{}, err
	}
	f.addQuery(r.URL.Query())
	var content *index.Content
	err = f.read(func(file io.Reader) error {
		var err error
		content, err = s.index.Stage(r.Context(), file)
		return err //nolint:wrapcheck // a refusal, or explained by fail
	})
	if content != nil {
		defer s.discard(r.Context(), content)
	}
	if err != nil {
		return index.Receipt{}, err
	}
	parsed, err := index.ParseForm(f.fields, f.filename)
	if err != nil {
		return index.Receipt{}, err //nolint:wrapcheck // a refusal
	}
	return s.index.Upload(r.Context(), actor, parsed, content) //nolint:wrapcheck // a refusal, or explained by fail
}

// actor reads the Basic credentials of an upload.
func (s *Server) actor(r *http.Request) (index.Actor, error) {
	user, secret, ok := r.BasicAuth()
	if ok && !strings.EqualFold(user, tokenUser) {
		return index.Actor{}, &index.Refusal{Kind: index.Forbidden, Message: "uploads need the user name " + tokenUser + " and an upload token as password"}
	}
	actor, err := s.index.Authenticate(r.Context(), secret)
	return actor, err //nolint:wrapcheck // a refusal, or explained by fail
}

func (s *Server) discard(ctx context.Context, content *index.Content) {
	if err := content.Close(); err != nil {
		s.log.ErrorContext(context.WithoutCancel(ctx), "a staged upload could not be removed", "error", err)
	}
}

// refuse answers an upload that was not taken.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, body *uploadBody, err error) {
	status, sentence, detail := explain(err)
	switch {
	case status == 0 && (body.err != nil || r.Context().Err() != nil):
		// The client's connection broke; whatever was made of that is not our failure.
		status, sentence = http.StatusBadRequest, "the upload broke off"
	case status == 0:
		s.log.ErrorContext(r.Context(), "an upload failed", "error", err)
		status, sentence = http.StatusInternalServerError, failedSentence
	case status == http.StatusServiceUnavailable && retryAfter(err) == retryLater:
		s.log.ErrorContext(r.Context(), "uploads can not be published", "error", err) // for whoever can mend it
	}
	h := w.Header()
	switch status {
	case http.StatusUnauthorized:
		h.Set("WWW-Authenticate", `Basic realm="upload", charset="UTF-8"`)
	case http.StatusServiceUnavailable:
		h.Set("Retry-After", retryAfter(err))
	}
	note(w, slog.LevelWarn, slog.String("refused", sentence))
	s.problem(w, r, status, sentence, detail)
}

// problem answers in every form that upload tools show, and lets a client that is still sending read it.
func (s *Server) problem(w http.ResponseWriter, r *http.Request, status int, sentence, detail string) {
	if rec, ok := w.(*recorder); ok {
		rec.status = status
	}
	problem.Write(w, r, &problem.Problem{Status: status, Message: sentence, Detail: detail})
}

// fail answers a request for something that could not be read.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() != nil && errors.Is(err, r.Context().Err()) {
		note(w, slog.LevelDebug, slog.String("gone", "the client"))
		return
	}
	w.Header().Del("ETag")
	w.Header().Set("Cache-Control", "no-store")
	if status, sentence, _ := explain(err); status != 0 {
		if status == http.StatusServiceUnavailable {
			w.Header().Set("Retry-After", retryAfter(err))
		}
		plain(w, status, sentence)
		return
	}
	s.log.ErrorContext(r.Context(), "a request failed", "path", loggable(r.URL.Path), "error", err)
	plain(w, http.StatusInternalServerError, failedSentence)
}

// explain turns an error into a status and a sentence; status 0 is a failure of ours.
func explain(err error) (status int, sentence, detail string) {
	var form *formError
	if errors.As(err, &form) {
		return form.status, form.text, ""
	}
	var refusal *index.Refusal
	if errors.As(err, &refusal) {
		return statusOf(refusal.Kind), refusal.Message, refusal.Detail
	}
	var refused *trust.RefusedError
	switch {
	case errors.As(err, &refused) && refused.Code == trust.Expired:
		return http.StatusServiceUnavailable, fmt.Sprintf("the signature of the role %s has expired: the operators of this index have to renew it", refused.Role), ""
	case errors.Is(err, publish.ErrBusy):
		return http.StatusServiceUnavailable, "the index has more uploads waiting than it takes; try again in a moment", ""
	case errors.Is(err, publish.ErrClosed):
		return http.StatusServiceUnavailable, "the index is shutting down; try again in a moment", ""
	case errors.Is(err, index.ErrFull), errors.Is(err, durable.ErrNoSpace):
		return http.StatusServiceUnavailable, "the index has no room on its disk at the moment; nothing was changed", ""
	}
	return 0, "", ""
}

// statusOf is the one table from kinds of refusal to statuses.
func statusOf(kind index.Kind) int {
	switch kind {
	case index.Unauthenticated:
		return http.StatusUnauthorized
	case index.Forbidden:
		return http.StatusForbidden
	case index.NotFound:
		return http.StatusNotFound
	case index.Gone:
		return http.StatusGone
	case index.TooLarge:
		return http.StatusRequestEntityTooLarge
	case index.Conflict:
		return http.StatusConflict
	case index.Busy, index.Unavailable:
		return http.StatusServiceUnavailable
	case index.Invalid, index.Exists:
		return http.StatusBadRequest
	}
	return http.StatusBadRequest
}

func retryAfter(err error) string {
	var refusal *index.Refusal
	if errors.Is(err, publish.ErrBusy) || errors.As(err, &refusal) && refusal.Kind == index.Busy {
		return retrySoon
	}
	return retryLater
}

// uploadHelp is what a person sees who opens the upload address in a browser.
func (s *Server) uploadHelp(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-cache")
	plain(w, http.StatusOK, "this is where uploads go: twine upload --repository-url "+baseURL(r)+"/legacy/ -u "+tokenUser+" dist/*")
}

// uploadMoved corrects the address that lacks its slash; 308 keeps the method. The address is absolute:
// uv follows no other, and twine shows it to people.
func (s *Server) uploadMoved(w http.ResponseWriter, r *http.Request) {
	newUploadBody(w, r, &s.limits).drain()
	redirect(w, r, baseURL(r)+"/legacy/", http.StatusPermanentRedirect)
}

// uploadElsewhere catches the most common mistake of all: the install address used for an upload.
func (s *Server) uploadElsewhere(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Allow", "GET, HEAD")
	sentence := fmt.Sprintf("this address is for installing; upload to %s/legacy/ instead", baseURL(r))
	note(w, slog.LevelWarn, slog.String("refused", sentence))
	s.problem(w, r, http.StatusMethodNotAllowed, sentence, "")
}
