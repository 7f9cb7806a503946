package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"
	"time"

	"example.com/bailiwick/internal/ceremony"
	"example.com/bailiwick/internal/problem"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/internal/server"
)

// Bounds of what the API may answer, and of how long it may take.
const (
	maxAnswer    = 16 << 20 // bytes; a staged list of thousands of files
	maxComplaint = 64 << 10 // bytes of a refusal that are read
	answerTime   = 2 * time.Minute
)

// apiClient talks to the HTTP API of an index with one token. Its answers are claims, to be shown or to be
// held against what is verified.
type apiClient struct {
	base, token string
	where       string // for messages, in place of base; "" where that says it
	http        *http.Client
}

// name is how messages call the index.
func (a *apiClient) name() string {
	if a.where != "" {
		return a.where
	}
	return redactURL(a.base)
}

func newAPIClient(transport http.RoundTripper, base, token string) *apiClient {
	return &apiClient{base: base, token: token, http: &http.Client{
		Transport: transport,
		// A token goes where its owner sent it, and nowhere that an answer names.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// apiError is a refusal by the index.
type apiError struct {
	status   int
	sentence string
	detail   string
	reason   string // of a signing request, such as "stale"; "" for others
}

// Error is the sentence of the index, made safe to print.
func (e *apiError) Error() string {
	if e.detail != "" && e.detail != e.sentence {
		return e.sentence + " (" + e.detail + ")"
	}
	return e.sentence
}

// stale reports whether err says that a request was based on an older version.
func stale(err error) bool {
	var refused *apiError
	return errors.As(err, &refused) && refused.status == http.StatusConflict
}

// get asks for a JSON value.
func (a *apiClient) get(ctx context.Context, path string, into any) error {
	_, err := a.call(ctx, http.MethodGet, path, nil, into)
	return err
}

// call sends one request and decodes the answer, unless into is nil. The status is below 300.
func (a *apiClient) call(ctx context.Context, method, path string, body []byte, into any) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	var reader io.Reader
	if body != nil {
		reader = bytes.NewReader(body)
	}
	r, err := http.NewRequestWithContext(ctx, method, a.base+path, reader)
	if err != nil {
		return 0, fmt.Errorf("asking %s: %w", a.name(), err)
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	data, status, err := a.do(r)
	if err != nil || into == nil {
		return status, err
	}
	if raw, ok := into.(*[]byte); ok {
		*raw = data
		return status, nil
	}
	if err := json.Unmarshal(data, into); err != nil {
		return status, fmt.Errorf("%s answered with something else than the API does: %s; check the address, and whether its server is as new as this program",
			a.name(), shown(err.Error()))
	}
	return status, nil
}

// do sends a request with the token and reads the whole answer.
func (a *apiClient) do(r *http.Request) ([]byte, int, error) {
	r.SetBasicAuth("__token__", a.token)
	r.Header.Set("User-Agent", "bailiwick/"+version())
	r.Header.Set("Accept", "application/problem+json, application/json;q=0.9")
	resp, err := a.http.Do(r)
	if err != nil {
		return nil, 0, a.unreachable(err)
	}
	defer func() { _ = resp.Body.Close() }()
	most := int64(maxAnswer)
	switch {
	case resp.StatusCode >= 300:
		most = maxComplaint
	case strings.HasPrefix(r.URL.Path, "/api/v1/requests/"):
		most = ceremony.MaxBytes + 1
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, most+1)) //nolint:forbidigo // bounded, and the length is checked below
	if err != nil {
		return nil, resp.StatusCode, a.unreachable(err)
	}
	if resp.StatusCode >= 300 {
		return nil, resp.StatusCode, refusalOf(resp, data)
	}
	if int64(len(data)) > most {
		return nil, resp.StatusCode, fmt.Errorf("the answer of %s is longer than %d bytes", a.name(), most)
	}
	return data, resp.StatusCode, nil
}

func (a *apiClient) unreachable(err error) error {
	var failed *url.Error
	if errors.As(err, &failed) {
		err = failed.Err // without the URL, which is in the sentence
	}
	return exit(exitUnreachable, fmt.Errorf("cannot reach %s: %w", a.name(), err))
}

// refusalOf reads the sentence of a refusal from wherever the server or something before it put it.
func refusalOf(resp *http.Response, body []byte) error {
	e := &apiError{status: resp.StatusCode}
	media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if media == "application/problem+json" {
		var p struct{ Type, Title, Detail string }
		if json.Unmarshal(body, &p) == nil {
			e.sentence, e.detail = p.Title, p.Detail
			if reason, ok := strings.CutPrefix(p.Type, server.ProblemPrefix); ok {
				e.reason = reason
			}
		}
	}
	if e.sentence == "" {
		e.sentence = resp.Header.Get(problem.HeaderMessage)
	}
	if e.sentence == "" {
		e.sentence = "the index answered " + resp.Status
	}
	if before, ok := strings.CutSuffix(e.sentence, problem.Phrase(e.detail)); ok {
		e.sentence, e.detail = before+e.detail, "" // it ends with the detail, in the letters of a status line
	}
	e.sentence, e.detail = shown(e.sentence), shown(e.detail)
	return e
}

// project asks what the index says of a project.
func (a *apiClient) project(ctx context.Context, p pypi.Project) (*server.ProjectAnswer, error) {
	var answer server.ProjectAnswer
	err := a.get(ctx, "/api/v1/projects/"+url.PathEscape(p.String()), &answer)
	return &answer, err
}

// requests lists the signing requests of a project that wait.
func (a *apiClient) requests(ctx context.Context, p pypi.Project) ([]server.RequestAnswer, error) {
	var answer server.RequestsAnswer
	err := a.get(ctx, "/api/v1/requests?project="+url.QueryEscape(p.String()), &answer)
	return answer.Requests, err
}

// request fetches one signing request, whose content is for its reader to check.
func (a *apiClient) request(ctx context.Context, id string) (*ceremony.Request, error) {
	var data []byte
	if err := a.get(ctx, "/api/v1/requests/"+url.PathEscape(id), &data); err != nil {
		return nil, err
	}
	r, err := ceremony.Decode(bytes.TrimSuffix(data, []byte("\n")))
	if err != nil {
		return nil, exit(exitRefused, fmt.Errorf("what the index sent as the signing request %s is none: %w", shown(id), err))
	}
	return r, nil
}

// propose brings in a request with the signatures it has.
func (a *apiClient) propose(ctx context.Context, r *ceremony.Request) (*server.OutcomeAnswer, error) {
	data, err := r.Encode()
	if err != nil {
		return nil, fmt.Errorf("writing the signing request: %w", err)
	}
	var answer server.OutcomeAnswer
	_, err = a.call(ctx, http.MethodPost, "/api/v1/requests", data, &answer)
	return &answer, err
}

// addSignatures adds signatures to a request that waits.
func (a *apiClient) addSignatures(ctx context.Context, id string, signatures []server.SignatureBody) (*server.OutcomeAnswer, error) {
	data, err := json.Marshal(server.SignaturesBody{Signatures: signatures})
	if err != nil {
		return nil, fmt.Errorf("writing signatures: %w", err)
	}
	var answer server.OutcomeAnswer
	_, err = a.call(ctx, http.MethodPost, "/api/v1/requests/"+url.PathEscape(id)+"/signatures", data, &answer)
	return &answer, err
}

// upload sends one file the way that twine does, and asks the index to keep it back for a signature
// whoever it takes the project to belong to.
func (a *apiClient) upload(ctx context.Context, f *localFile) (status int, err error) {
	reader, writer := io.Pipe()
	form := multipart.NewWriter(writer)
	go func() { // ends when the request is done with its body, which closes the reader
		_ = writer.CloseWithError(f.writeForm(form))
	}()
	defer func() { _ = reader.Close() }()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, a.base+"/legacy/", reader)
	if err != nil {
		return 0, fmt.Errorf("uploading %s: %w", f.path, err)
	}
	r.Header.Set("Content-Type", form.FormDataContentType())
	if _, status, err = a.do(r); err != nil {
		err = fmt.Errorf("uploading %s: %w", f.path, err)
	}
	return status, err
}
