package server_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/bailiwick/internal/index"
	"example.com/bailiwick/internal/ledger"
	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/internal/publish/publishtest"
	"example.com/bailiwick/internal/record"
	"example.com/bailiwick/internal/server"
	"example.com/bailiwick/internal/sitting"
	"example.com/bailiwick/tuf/key"
)

// bureau is a site with its operators: reached over the network, and by the control socket.
type bureau struct {
	*site
	keys    publishtest.Keys
	control *site // the same server behind its socket
	tokens  map[string]string
}

func newBureau(t testing.TB, l interface {
	publish.Ledger
	index.Tokens
	index.Records
}, config publish.Config,
) *bureau {
	t.Helper()
	now := time.Now
	b := &bureau{site: &site{store: &store{kept: map[[32]byte][]byte{}}, log: &lockedBuffer{}}, tokens: map[string]string{}}
	b.keys = publishtest.Create(t, l, publishtest.Options{Now: now(), RecentKeys: map[string]key.Signer{"flask": maintainer(t, "alice")}})
	config.Ledger, config.Signers, config.Now = l, b.keys.Online(), now
	b.publisher = publishtest.Run(t, config)
	var err error
	if b.index, err = index.New(index.Config{Publisher: b.publisher, Files: b.store, Tokens: l, Records: l, Now: now}); err != nil {
		t.Fatal(err)
	}
	for name, right := range map[string]index.Right{"upload": index.RightUpload, "operator": index.RightOperator, "signer": index.RightSigner} {
		secret, token, err := index.NewToken(rand.Reader, now(), name, nil)
		if err != nil {
			t.Fatal(err)
		}
		token.Right = right
		if err := l.PutToken(t.Context(), token); err != nil {
			t.Fatal(err)
		}
		b.tokens[name] = secret
	}
	b.token = b.tokens["upload"]
	srv, err := server.New(server.Config{Index: b.index, Publisher: b.publisher, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	b.server = srv
	b.serve(t, srv)
	b.socket(t, srv)
	return b
}

// socket serves the control handler.
func (b *bureau) socket(t testing.TB, srv *server.Server) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0") // in place of the socket, which only the command line makes
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- srv.ServeControl(ctx, l) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("ServeControl: %v", err)
		}
	})
	b.control = &site{url: "http://" + l.Addr().String(), host: l.Addr().String()}
}

func bearer(secret string) string { return "Authorization: Bearer " + secret }

const ndjson = "Content-Type: " + server.OperatorRequestType

// operate calls the API as an operator over the network.
func (b *bureau) operate(t testing.TB, method, path string, body io.Reader, headers ...string) answer {
	t.Helper()
	return b.do(t, method, "/api/v1/operator"+path, body, append([]string{bearer(b.tokens["operator"])}, headers...)...)
}

func decoded[T any](t testing.TB, a answer) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(a.body), &v); err != nil {
		t.Fatalf("%s: %v", a.body, err)
	}
	return v
}

func encoded(t testing.TB, r *sitting.Request) *bytes.Buffer {
	t.Helper()
	var b bytes.Buffer
	if err := sitting.Encode(&b, r); err != nil {
		t.Fatal(err)
	}
	return &b
}

// TestOperatorAPIIsForOperators: each address, with each sort of token, and by the control socket.
func TestOperatorAPIIsForOperators(t *testing.T) {
	b := newBureau(t, ledger.NewMemory(), publish.Config{})
	for _, call := range []struct{ method, path, body, contentType string }{
		{"GET", "/requests", "", ""},
		{"GET", "/requests/0123456789abcdef", "", ""},
		{"POST", "/requests", "{}", ndjson},
		{"DELETE", "/requests/0123456789abcdef", "", ""},
		{"POST", "/sittings", `{"promote":true}`, "Content-Type: application/json"},
		{"GET", "/status", "", ""},
	} {
		send := func(s *site, headers ...string) answer {
			if call.contentType != "" {
				headers = append(headers, call.contentType)
			}
			return s.do(t, call.method, "/api/v1/operator"+call.path, strings.NewReader(call.body), headers...)
		}
		name := call.method + " " + call.path
		for who, status := range map[string]int{"": 401, "upload": 403, "signer": 403} {
			var headers []string
			if who != "" {
				headers = append(headers, bearer(b.tokens[who]))
			}
			if a := send(b.site, headers...); a.StatusCode != status {
				t.Errorf("%s with the token %q: %s", name, who, a.Status)
			}
		}
		for where, a := range map[string]answer{"a token": send(b.site, bearer(b.tokens["operator"])), "the socket": send(b.control)} {
			if a.StatusCode == http.StatusUnauthorized || a.StatusCode == http.StatusForbidden || a.StatusCode >= 500 {
				t.Errorf("%s by %s: %s %s", name, where, a.Status, a.body)
			}
		}
	}
	// The socket opens nothing but that.
	if a := b.control.do(t, "GET", "/api/v1/projects/flask", nil); a.StatusCode != http.StatusUnauthorized {
		t.Errorf("projects by the socket: %s", a.Status)
	}
}

// TestR5OperatorWalk: plan, fetch, sign, bring back, all over the network.
func TestR5OperatorWalk(t *testing.T) {
	b := newBureau(t, ledger.NewMemory(), publish.Config{})
	planned := decoded[server.SittingAnswer](t, b.operate(t, "POST", "/sittings",
		strings.NewReader(`{"promote":true,"min_age":0,"renew":true,"popular":["flask"],"by":"carol","note":"come all"}`), "Content-Type: application/json").want(t, 201))
	if planned.Kind != "sitting" || planned.Title != "promote 1 project" || planned.By != "carol" || planned.Note != "come all" || len(planned.Summary) == 0 {
		t.Errorf("planned %+v", planned)
	}
	list := decoded[server.OperatorRequestsAnswer](t, b.operate(t, "GET", "/requests", nil).want(t, 200))
	if len(list.Requests) != 1 || list.Requests[0].ID != planned.ID || len(list.Requests[0].Missing) != 1 || list.Requests[0].Missing[0].Roles != 2 {
		t.Errorf("requests %+v", list)
	}
	file := b.operate(t, "GET", "/requests/"+planned.ID, nil).want(t, 200).wantHeader(t, "Content-Type", server.OperatorRequestType)
	r, err := sitting.Decode(strings.NewReader(file.body))
	if err != nil {
		t.Fatal(err)
	}
	outcome := decoded[server.OperatorOutcomeAnswer](t, b.operate(t, "POST", "/requests", strings.NewReader(file.body), ndjson).want(t, 202))
	if outcome.ID != planned.ID || outcome.Publication != 0 || len(outcome.Missing) != 1 {
		t.Errorf("unsigned: %+v", outcome)
	}
	if err := publishtest.SignOffline(r, time.Now(), b.keys.Offline()...); err != nil {
		t.Fatal(err)
	}
	outcome = decoded[server.OperatorOutcomeAnswer](t, b.operate(t, "POST", "/requests", encoded(t, r), ndjson).want(t, 200))
	if outcome.Publication != 2 || outcome.New != 2 {
		t.Errorf("signed: %+v", outcome)
	}
	again := decoded[server.OperatorOutcomeAnswer](t, b.operate(t, "POST", "/requests", encoded(t, r), ndjson).want(t, 200))
	if again.Publication != 2 || !again.Already {
		t.Errorf("again: %+v", again)
	}
	b.operate(t, "GET", "/requests/"+planned.ID, nil).want(t, 404).wantText(t, "published in publication 2")
	all := decoded[server.OperatorRequestsAnswer](t, b.operate(t, "GET", "/requests?all=true", nil).want(t, 200))
	if len(all.Requests) != 1 || all.Requests[0].State != "published" || all.Requests[0].Publication != 2 {
		t.Errorf("all: %+v", all)
	}

	status := decoded[server.StatusAnswer](t, b.operate(t, "GET", "/status", nil).want(t, 200))
	if status.State != "healthy" || status.Publication != 2 || status.Record.Length != 1 || status.Stopped {
		t.Errorf("status %+v", status)
	}
	b.wantRecord(t, status.Record.Head)
}

// wantRecord reads the public record and recomputes its head.
func (b *bureau) wantRecord(t *testing.T, want string) {
	t.Helper()
	a := b.get(t, "/record").want(t, 200).wantHeader(t, "Access-Control-Allow-Origin", "*")
	var head record.Head
	for line := range strings.Lines(a.body) {
		e, err := record.Parse([]byte(strings.TrimSuffix(line, "\n")))
		if err == nil {
			head, err = head.Append(&e)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if got := hexOf(head.Sum); got != want || head.Length != 1 {
		t.Errorf("the record has %d entries and the head %s, want %s", head.Length, got, want)
	}
	b.get(t, "/record?from=2").want(t, 200).wantHeader(t, "Content-Length", "0")
	for _, bad := range []string{"0", "-1", "x", "99999999999999999999"} {
		b.get(t, "/record?from="+bad).want(t, 400)
	}
}

func TestOperatorRefusals(t *testing.T) {
	b := newBureau(t, ledger.NewMemory(), publish.Config{})
	problem := func(a answer, status int, reason string) answer {
		t.Helper()
		a.want(t, status)
		if reason != "" {
			a.wantText(t, server.ProblemPrefix+reason)
		}
		return a
	}
	post := func(body io.Reader, headers ...string) answer {
		t.Helper()
		return b.operate(t, "POST", "/requests", body, append(headers, "Accept: application/problem+json")...)
	}
	problem(post(strings.NewReader("{}"), "Content-Type: application/json"), 415, "")
	problem(post(strings.NewReader("no request"), ndjson), 400, "malformed")
	problem(post(strings.NewReader(""), ndjson), 400, "malformed")

	plan := func(body string) answer {
		t.Helper()
		return b.operate(t, "POST", "/sittings", strings.NewReader(body), "Content-Type: application/json", "Accept: application/problem+json")
	}
	for _, body := range []string{`{`, `{"promote":"yes"}`, `{"steal":true}`, `{"promote":true,"min_age":-1}`, `{"promote":true,"only":["a b"]}`, `[]`} {
		plan(body).want(t, 400)
	}
	plan(`{"promote":false,"renew":true}`).want(t, 400).wantText(t, "nothing is due")
	plan(`{"promote":true,"only":["nosuch"]}`).want(t, 400).wantText(t, "nosuch")

	// Two plans of one role: the one that is published first makes the other stale.
	fetch := func(body string) *sitting.Request {
		t.Helper()
		id := decoded[server.SittingAnswer](t, plan(body).want(t, 201)).ID
		r, err := sitting.Decode(strings.NewReader(b.operate(t, "GET", "/requests/"+id, nil).want(t, 200).body))
		if err != nil {
			t.Fatal(err)
		}
		if err := publishtest.SignOffline(r, time.Now(), b.keys.Offline()...); err != nil {
			t.Fatal(err)
		}
		return r
	}
	if n := decoded[server.NothingAnswer](t, plan(`{"promote":true,"renew":true}`).want(t, 200)).Nothing; n.Waiting != 1 || n.Due.IsZero() {
		t.Errorf("nothing to do: %+v", n)
	}
	first, second := fetch(`{"promote":true,"min_age":0}`), fetch(`{"all":true}`)
	post(encoded(t, second), ndjson).want(t, 200)
	problem(post(encoded(t, first), ndjson), 409, "stale").wantHeader(t, server.HeaderVersion, "2")

	other := newBureau(t, ledger.NewMemory(), publish.Config{})
	problem(other.operate(t, "POST", "/requests", encoded(t, first), ndjson, "Accept: application/problem+json"), 400, "foreign")

	b.operate(t, "DELETE", "/requests/"+first.ID(), nil).want(t, 404).wantText(t, "closed already") // it was overtaken
	list := decoded[server.OperatorRequestsAnswer](t, b.operate(t, "GET", "/requests?all=true", nil).want(t, 200)).Requests
	if i := slices.IndexFunc(list, func(r server.OperatorRequestAnswer) bool { return r.ID == first.ID() }); i < 0 || list[i].State != "overtaken" || list[i].Problem == "" {
		t.Errorf("requests: %+v", list)
	}
	given := fetch(`{"all":true}`).ID()
	b.operate(t, "DELETE", "/requests/"+given, nil).want(t, 204)
	b.operate(t, "DELETE", "/requests/"+given, nil).want(t, 404)
	b.operate(t, "GET", "/requests/"+strings.Repeat("x", 500), nil).want(t, 404)
}

// BenchmarkOperatorStatus is what bailiwick status asks for, in an index of 100,000 projects.
//
//	go test -run='^$' -bench=OperatorStatus ./internal/server
func BenchmarkOperatorStatus(b *testing.B) {
	const projects = 100_000
	l, err := ledger.CreateSQLite(b.Context(), filepath.Join(b.TempDir(), "ledger.db"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = l.Close() })
	site := newBureau(b, l, publish.Config{Batch: 5000, Queue: projects + 1})
	errs := make(chan error, projects)
	for i := range projects {
		f := publishtest.File(b, fmt.Sprintf("project%d-1.0-py3-none-any.whl", i), "content")
		go func() {
			_, err := site.publisher.Publish(b.Context(), publish.AddFile{File: f})
			errs <- err
		}()
	}
	for range projects {
		if err := <-errs; err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		a := site.control.do(b, http.MethodGet, "/api/v1/operator/status", nil).want(b, 200)
		if !strings.Contains(a.body, `"roles":100001`) {
			b.Fatal(a.body)
		}
	}
}
