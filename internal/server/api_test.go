package server_test

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"example.com/bailiwick/internal/ceremony"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/internal/pypi/distmake"
	"example.com/bailiwick/internal/server"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
	"example.com/bailiwick/tuf/repo"
)

// maintainer makes a key from a name.
func maintainer(t testing.TB, name string) key.Signer {
	t.Helper()
	seed := sha256.Sum256([]byte(name))
	s, err := key.NewSigner(ed25519.NewKeyFromSeed(seed[:]))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func project(t testing.TB, name string) pypi.Project {
	t.Helper()
	p, err := pypi.ParseProject(name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// standing is where a project stands for a maintainer.
func (s *site) standing(t testing.TB, name string) *ceremony.Standing {
	t.Helper()
	standing, err := s.publisher.Current().Standing(t.Context(), project(t, name))
	if err != nil {
		t.Fatal(err)
	}
	return standing
}

// request drafts a change of a project's role; keys are those after it.
func (s *site) request(t testing.TB, kind ceremony.Kind, name string, threshold int, keys []key.Signer, edit repo.TargetsEdit) *ceremony.Request {
	t.Helper()
	at := s.standing(t, name)
	role := policy.ProjectRole(at.Project)
	now := time.Now().UTC().Truncate(time.Second)
	r := &ceremony.Request{
		Kind: kind, Repository: s.index.Repository(), Project: at.Project, Bases: map[tuf.RoleName]int64{role: at.Newest(role)},
		Created: now, Expires: now.Add(time.Hour),
	}
	var public []*key.Public
	for _, k := range keys {
		public = append(public, k.Public())
	}
	a, err := tuf.NewAuthority(threshold, public...)
	if err != nil {
		t.Fatal(err)
	}
	if kind != ceremony.Release {
		r.Keys, r.Threshold = public, threshold
	}
	issue := repo.Issue{
		Role: role, Version: at.Newest(role) + 1, Now: now, Expires: now.AddDate(1, 0, 0), Authority: a,
		Paths: []string{at.Layout.ProjectPattern(at.Project)},
	}
	var d *repo.Draft
	if at.Base == nil {
		d, err = repo.NewTargets(repo.TargetsSpec{Targets: edit.Put}, issue)
	} else {
		d, err = repo.EditTargets(at.Base, edit, issue)
	}
	if err != nil {
		t.Fatal(err)
	}
	r.Payloads = []ceremony.Payload{{Role: role, Message: d.Message()}}
	return r
}

func signed(t testing.TB, r *ceremony.Request, keys ...key.Signer) *ceremony.Request {
	t.Helper()
	for _, k := range keys {
		sig, err := k.Sign(t.Context(), r.Payloads[0].Message)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Add(r.Payloads[0].Role, tuf.Signature{KeyID: k.Public().ID(), Sig: sig}); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

func body(t testing.TB, r *ceremony.Request) string {
	t.Helper()
	data, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// call uses the API with the token of the site.
func (s *site) call(t testing.TB, method, path, body string, headers ...string) answer {
	t.Helper()
	if len(headers) == 0 {
		headers = []string{basic("__token__", s.token)}
	}
	if body != "" {
		headers = append(headers, "Content-Type: application/json")
	}
	return s.do(t, method, path, strings.NewReader(body), headers...)
}

func (a answer) decode(t testing.TB, into any) {
	t.Helper()
	a.wantHeader(t, "Content-Type", "application/json").wantHeader(t, "Cache-Control", "no-store")
	if err := json.Unmarshal([]byte(a.body), into); err != nil {
		t.Fatalf("%v: %s", err, a.body)
	}
}

// propose posts a request.
func (s *site) propose(t testing.TB, r *ceremony.Request) answer {
	t.Helper()
	return s.call(t, http.MethodPost, "/api/v1/requests", body(t, r))
}

// claim hands a project to keys.
func (s *site) claim(t testing.TB, name string, threshold int, keys ...key.Signer) {
	t.Helper()
	s.propose(t, signed(t, s.request(t, ceremony.Claim, name, threshold, keys, repo.TargetsEdit{}), keys...)).want(t, http.StatusOK)
}

// staged is the entry of a staged file.
func (s *site) staged(t testing.TB, name, filename string) tuf.Target {
	t.Helper()
	actor, err := s.index.Authenticate(t.Context(), s.token)
	if err != nil {
		t.Fatal(err)
	}
	files, err := s.index.Staged(t.Context(), actor, project(t, name))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if f.Filename.String() == filename {
			target, err := f.Target(s.publisher.Current().Layout())
			if err != nil {
				t.Fatal(err)
			}
			return target
		}
	}
	t.Fatalf("%s is not staged", filename)
	return tuf.Target{}
}

// TestAPIRelease is the whole life of a claimed project over HTTP: R13, R25.
func TestAPIRelease(t *testing.T) {
	s := newSite(t, options{})
	alice, bob := maintainer(t, "alice"), maintainer(t, "bob")
	s.publish(t, "flask", "1", distmake.Options{})
	s.claim(t, "flask", 2, alice, bob)

	f := flask("2")
	up := s.send(t, uploadParts(f, "flask", "2")).want(t, http.StatusAccepted)
	if want := "staged: " + f.Name + " waits for its maintainers' signature; sign with bailiwick publish or bailiwick sign flask\n"; up.body != want {
		t.Errorf("staged upload: %q, want %q", up.body, want)
	}
	s.wantPublished(t, f.Name, false)

	var state server.ProjectAnswer
	s.call(t, http.MethodGet, "/api/v1/projects/Flask", "").want(t, http.StatusOK).decode(t, &state)
	if state.Name != "flask" || state.Assurance != "recently claimed" || state.Threshold != 2 || len(state.Keys) != 2 || state.Since.IsZero() ||
		len(state.Staged) != 1 || state.Staged[0].SHA256 != sha(f.Data) || state.Staged[0].Size != int64(len(f.Data)) || len(state.Requests) != 0 {
		t.Errorf("state: %+v", state)
	}

	r := s.request(t, ceremony.Release, "flask", 2, []key.Signer{alice, bob}, repo.TargetsEdit{Put: []tuf.Target{s.staged(t, "flask", f.Name)}})
	signed(t, r, alice)
	var out server.OutcomeAnswer
	s.propose(t, r).want(t, http.StatusAccepted).decode(t, &out)
	if out.ID != r.ID() || out.Publication != 0 || len(out.Missing) != 1 || out.Missing[0].Need != 1 || out.Missing[0].Keys[0] != bob.Public().ID() || out.Next == "" {
		t.Errorf("outcome: %+v", out)
	}
	s.wantPublished(t, f.Name, false)

	var list server.RequestsAnswer
	s.call(t, http.MethodGet, "/api/v1/requests?project=flask", "").want(t, http.StatusOK).decode(t, &list)
	if len(list.Requests) != 1 || list.Requests[0].ID != r.ID() || list.Requests[0].Kind != "release" {
		t.Errorf("requests: %+v", list)
	}
	got := s.call(t, http.MethodGet, "/api/v1/requests/"+r.ID(), "").want(t, http.StatusOK).wantHeader(t, "Content-Type", "application/json")
	same, err := ceremony.Decode([]byte(strings.TrimSpace(got.body)))
	if err != nil || same.ID() != r.ID() || len(same.Payloads[0].Signatures) != 1 {
		t.Errorf("the request came back as %v, %v", same, err)
	}

	sig, err := bob.Sign(t.Context(), r.Payloads[0].Message)
	if err != nil {
		t.Fatal(err)
	}
	add, err := json.Marshal(server.SignaturesBody{Signatures: []server.SignatureBody{{Role: "project.flask", KeyID: string(bob.Public().ID()), Sig: sig}}})
	if err != nil {
		t.Fatal(err)
	}
	s.call(t, http.MethodPost, "/api/v1/requests/"+r.ID()+"/signatures", string(add), "Authorization: Bearer "+s.token).want(t, http.StatusOK).decode(t, &out)
	if out.Publication != s.publisher.Current().Number() {
		t.Errorf("publication %d, now %d", out.Publication, s.publisher.Current().Number())
	}
	s.wantPublished(t, f.Name, true)

	var events server.EventsAnswer
	s.call(t, http.MethodGet, "/api/v1/projects/flask/events", "").want(t, http.StatusOK).decode(t, &events)
	kinds := map[string]bool{}
	for _, e := range events.Events {
		kinds[e.Kind] = true
	}
	for _, kind := range []string{"claimed", "staged", "request-opened", "request-signed", "released"} {
		if !kinds[kind] {
			t.Errorf("no event %q: %+v", kind, events)
		}
	}
}

// TestAPIStale: a request that somebody else overtook is answered with the version to build on.
func TestAPIStale(t *testing.T) {
	s := newSite(t, options{})
	alice := maintainer(t, "alice")
	s.publish(t, "flask", "1", distmake.Options{})
	s.claim(t, "flask", 1, alice)
	late := signed(t, s.request(t, ceremony.Release, "flask", 1, []key.Signer{alice}, repo.TargetsEdit{}), alice)
	s.propose(t, signed(t, s.request(t, ceremony.Release, "flask", 1, []key.Signer{alice}, repo.TargetsEdit{}), alice)).want(t, http.StatusOK)
	a := s.call(t, http.MethodPost, "/api/v1/requests", body(t, late), basic("__token__", s.token), "Accept: application/problem+json").
		wantRefusal(t, http.StatusConflict, "based on version").wantHeader(t, server.HeaderVersion, strconv.FormatInt(s.standing(t, "flask").Newest("project.flask"), 10))
	if !strings.Contains(a.body, `"type":"urn:bailiwick:problem:stale"`) {
		t.Errorf("body: %s", a.body)
	}
}

// TestAPIRefusals: one sentence everywhere, and nothing changed. R24, R35.
func TestAPIRefusals(t *testing.T) {
	s := newSite(t, options{})
	alice, mallory := maintainer(t, "alice"), maintainer(t, "mallory")
	s.publish(t, "flask", "1", distmake.Options{})
	s.publish(t, "other", "1", distmake.Options{})
	s.claim(t, "flask", 1, alice)
	foreign, _, err := s.index.NewToken(t.Context(), "", []pypi.Project{project(t, "other")})
	if err != nil {
		t.Fatal(err)
	}
	good := signed(t, s.request(t, ceremony.Release, "flask", 1, []key.Signer{alice}, repo.TargetsEdit{}), alice)
	elsewhere := good.Clone()
	elsewhere.Repository[0] ^= 1
	unsigned := s.request(t, ceremony.Claim, "other", 1, []key.Signer{alice}, repo.TargetsEdit{})
	forged := unsigned.Clone()
	if _, err := forged.Add("project.other", tuf.Signature{KeyID: alice.Public().ID(), Sig: make([]byte, 64)}); err != nil {
		t.Fatal(err)
	}
	before := s.publisher.Current().Number()
	post := http.MethodPost
	mine := []string{basic("__token__", s.token)}
	for _, tt := range []struct {
		name, method, path, body string
		headers                  []string
		status                   int
		sentence                 string
	}{
		{"no token", "GET", "/api/v1/projects/flask", "", []string{"X-Nothing: 1"}, 401, "upload token"},
		{"empty bearer", "GET", "/api/v1/projects/flask", "", []string{"Authorization: Bearer "}, 401, "upload token"},
		{"unknown token", "GET", "/api/v1/projects/flask", "", []string{"Authorization: Bearer bwk_" + strings.Repeat("x", 43)}, 403, "not known"},
		{"another user name", "GET", "/api/v1/projects/flask", "", []string{basic("alice", s.token)}, 403, "__token__"},
		{"no right", "GET", "/api/v1/projects/flask", "", []string{basic("__token__", foreign)}, 403, "no right to the project flask"},
		{"no right, no such project", "GET", "/api/v1/projects/nosuch", "", []string{basic("__token__", foreign)}, 403, "no right to the project nosuch"},
		{"no right to events", "GET", "/api/v1/projects/flask/events", "", []string{basic("__token__", foreign)}, 403, "no right"},
		{"no right to requests", "GET", "/api/v1/requests?project=flask", "", []string{basic("__token__", foreign)}, 403, "no right"},
		{"no right to propose", post, "/api/v1/requests", body(t, good), []string{basic("__token__", foreign)}, 403, "no right"},
		{"no project", "GET", "/api/v1/requests", "", mine, 400, ""},
		{"no project name", "GET", "/api/v1/projects/..%2f..%2fetc", "", mine, 400, ""},
		{"no such request", "GET", "/api/v1/requests/0123456789abcdef", "", mine, 404, "no signing request"},
		{"a long name", "GET", "/api/v1/requests/" + strings.Repeat("a", 300), "", mine, 404, "no signing request"},
		{"abort nothing", "DELETE", "/api/v1/requests/0123456789abcdef", "", mine, 404, "no signing request"},
		{"nothing there", "GET", "/api/v2/", "", mine, 404, "nothing at this address"},
		{"another method", "PUT", "/api/v1/requests", "", mine, 404, "nothing at this address"},
		{"no JSON", post, "/api/v1/requests", "", append(mine, "Content-Type: text/plain"), 415, "application/json"},
		{"no request", post, "/api/v1/requests", "[]", mine, 400, ""},
		{"half a request", post, "/api/v1/requests", body(t, good)[:200], mine, 400, ""},
		{"more than a request", post, "/api/v1/requests", body(t, good) + "{}", mine, 400, ""},
		{"another repository", post, "/api/v1/requests", body(t, elsewhere), mine, 400, "another repository"},
		{"claimed already", post, "/api/v1/requests", body(t, signed(t, s.request(t, ceremony.Claim, "flask", 1, []key.Signer{mallory}, repo.TargetsEdit{}), mallory)), mine, 403, "claimed already"},
		{"foreign key", post, "/api/v1/requests", body(t, signed(t, s.request(t, ceremony.Release, "flask", 1, []key.Signer{mallory}, repo.TargetsEdit{}), mallory)), mine, 403, "has no say"},
		{"nobody signed", post, "/api/v1/requests", body(t, unsigned), mine, 400, "nobody has signed"},
		{"forged signature", post, "/api/v1/requests", body(t, forged), mine, 400, "does not verify"},
		{"signatures, not known member", post, "/api/v1/requests/0123456789abcdef/signatures", `{"signature":[]}`, mine, 400, "unknown field"},
		{"no signatures", post, "/api/v1/requests/0123456789abcdef/signatures", `{"signatures":[]}`, mine, 400, "at least one"},
		{"no hex", post, "/api/v1/requests/0123456789abcdef/signatures", `{"signatures":[{"role":"a","keyid":"b","sig":"xx"}]}`, mine, 400, ""},
		{"signatures twice", post, "/api/v1/requests/0123456789abcdef/signatures", `{"signatures":[]}{}`, mine, 400, "more than one"},
		{"signatures to nothing", post, "/api/v1/requests/0123456789abcdef/signatures", `{"signatures":[{"role":"a","keyid":"b","sig":"00"}]}`, mine, 404, "no signing request"},
		{"large body", post, "/api/v1/requests/0123456789abcdef/signatures", `{"signatures":[` + strings.Repeat(" ", 600<<10), mine, 413, "larger than"},
		{"key id", "GET", "/api/v1/projects/flask/keys/nosuch/alone", "", mine, 400, "key"},
		{"yank a claimed project", post, "/api/v1/projects/flask/yank", `{"version":"1","yanked":true}`, mine, 403, "claimed"},
		{"yank no version", post, "/api/v1/projects/other/yank", `{"version":"9","yanked":true}`, mine, 404, "not listed"},
		{"yank nonsense", post, "/api/v1/projects/other/yank", `{"version":7}`, mine, 400, "version"},
		{"delete of a claimed project", "DELETE", "/api/v1/projects/flask/files/flask-1-py3-none-any.whl", "", mine, 403, "claimed"},
		{"delete another project's", "DELETE", "/api/v1/projects/other/files/flask-1-py3-none-any.whl", "", mine, 400, ""},
		{"drop what is not staged", "DELETE", "/api/v1/projects/flask/staged/flask-1-py3-none-any.whl", "", mine, 404, "not staged"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s.call(t, tt.method, tt.path, tt.body, tt.headers...).wantRefusal(t, tt.status, tt.sentence)
		})
	}
	if now := s.publisher.Current().Number(); now != before {
		t.Errorf("publication %d, before %d: a refusal changed something", now, before)
	}
}

// TestAPIUnseen: a request that a token may not see is not there.
func TestAPIUnseen(t *testing.T) {
	s := newSite(t, options{})
	alice, bob := maintainer(t, "alice"), maintainer(t, "bob")
	s.publish(t, "flask", "1", distmake.Options{})
	r := signed(t, s.request(t, ceremony.Claim, "flask", 1, []key.Signer{alice, bob}, repo.TargetsEdit{}), alice)
	s.propose(t, r).want(t, http.StatusAccepted)
	foreign, _, err := s.index.NewToken(t.Context(), "", []pypi.Project{project(t, "other")})
	if err != nil {
		t.Fatal(err)
	}
	theirs := basic("__token__", foreign)
	unseen := s.call(t, http.MethodGet, "/api/v1/requests/"+r.ID(), "", theirs).want(t, http.StatusNotFound)
	absent := s.call(t, http.MethodGet, "/api/v1/requests/"+strings.Repeat("0", 16), "", theirs).want(t, http.StatusNotFound)
	if strings.ReplaceAll(unseen.body, r.ID(), strings.Repeat("0", 16)) != absent.body {
		t.Errorf("a request that can not be seen answers %q, one that is not there %q", unseen.body, absent.body)
	}
	s.call(t, http.MethodDelete, "/api/v1/requests/"+r.ID(), "", theirs).want(t, http.StatusNotFound)
	s.call(t, http.MethodDelete, "/api/v1/requests/"+r.ID(), "").want(t, http.StatusNoContent)
	s.call(t, http.MethodGet, "/api/v1/requests/"+r.ID(), "").want(t, http.StatusNotFound)
}

// TestAPIStagedFiles: what is staged can be seen by its owners, thrown away, and not by anyone else.
func TestAPIStagedFiles(t *testing.T) {
	s := newSite(t, options{})
	f := flask("1")
	s.send(t, with(uploadParts(f, "flask", "1"), "bailiwick_stage", "1")).want(t, http.StatusAccepted)
	s.wantPublished(t, f.Name, false)
	s.get(t, "/simple/flask/").want(t, http.StatusNotFound)
	var state server.ProjectAnswer
	s.call(t, http.MethodGet, "/api/v1/projects/flask", "").want(t, http.StatusOK).decode(t, &state)
	if state.Exists || len(state.Staged) != 1 || state.Staged[0].Uploader == "" || !state.Staged[0].Expires.After(state.Staged[0].Uploaded) {
		t.Errorf("state: %+v", state)
	}
	s.call(t, http.MethodDelete, "/api/v1/projects/flask/staged/"+f.Name, "").want(t, http.StatusNoContent)
	s.call(t, http.MethodGet, "/api/v1/projects/flask", "").want(t, http.StatusOK).decode(t, &state)
	if len(state.Staged) != 0 {
		t.Errorf("state: %+v", state)
	}
}

// TestAPIYankAndDelete serves projects that nobody has claimed.
func TestAPIYankAndDelete(t *testing.T) {
	s := newSite(t, options{})
	f := s.publish(t, "flask", "1", distmake.Options{})
	var out server.OutcomeAnswer
	s.call(t, http.MethodPost, "/api/v1/projects/flask/yank", `{"version":"1.0","yanked":true,"reason":"broken"}`).want(t, http.StatusOK).decode(t, &out)
	if out.Publication != s.publisher.Current().Number() {
		t.Errorf("publication %d", out.Publication)
	}
	s.get(t, "/simple/flask/").wantText(t, `data-yanked="broken"`)
	s.call(t, http.MethodPost, "/api/v1/projects/flask/yank", `{"version":"1","yanked":false}`).want(t, http.StatusOK)
	if a := s.get(t, "/simple/flask/"); strings.Contains(a.body, "data-yanked") {
		t.Errorf("still yanked: %s", a.body)
	}
	s.call(t, http.MethodDelete, "/api/v1/projects/flask/files/"+f.Name, "").want(t, http.StatusOK)
	s.wantPublished(t, f.Name, false)
}

// TestAPIAlone names the files in doubt after a theft.
func TestAPIAlone(t *testing.T) {
	s := newSite(t, options{})
	alice := maintainer(t, "alice")
	s.publish(t, "flask", "1", distmake.Options{})
	s.claim(t, "flask", 1, alice)
	f := flask("2")
	s.send(t, uploadParts(f, "flask", "2")).want(t, http.StatusAccepted)
	s.propose(t, signed(t, s.request(t, ceremony.Release, "flask", 1, []key.Signer{alice}, repo.TargetsEdit{Put: []tuf.Target{s.staged(t, "flask", f.Name)}}), alice)).want(t, http.StatusOK)
	var alone server.AloneAnswer
	s.call(t, http.MethodGet, fmt.Sprintf("/api/v1/projects/flask/keys/%s/alone", alice.Public().ID()), "").want(t, http.StatusOK).decode(t, &alone)
	if len(alone.Files) != 1 || alone.Files[0] != f.Name {
		t.Errorf("alone: %v; the file from before the claim is not hers", alone.Files)
	}
}

// TestAPIBusy: proposals count as uploads do.
func TestAPIBusy(t *testing.T) {
	s := newSite(t, options{limits: server.Limits{Uploads: 1}})
	conn, r := s.raw(t, "POST /legacy/ HTTP/1.1\r\nHost: x\r\n"+basic("__token__", s.token)+"\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: 100\r\n\r\n--b\r\n")
	_ = r
	eventually(t, "the upload holds the only slot", func() bool {
		return s.call(t, http.MethodPost, "/api/v1/requests", "{}").StatusCode == http.StatusServiceUnavailable
	})
	s.call(t, http.MethodPost, "/api/v1/requests", "{}").wantRefusal(t, http.StatusServiceUnavailable, "in progress").wantHeader(t, "Retry-After", "2")
	s.call(t, http.MethodGet, "/api/v1/projects/flask", "").want(t, http.StatusOK) // reading goes on
	_ = conn.Close()
}
