package server_test

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/blake2b"

	"example.com/bailiwick/internal/index"
	"example.com/bailiwick/internal/pypi/distmake"
	"example.com/bailiwick/internal/server"
)

// flask is a wheel that every test here uploads or fails to upload.
func flask(version string) distmake.File { return distmake.Wheel("flask", version, distmake.Options{}) }

// wantPublished checks whether a file is on its project's page.
func (s *site) wantPublished(t testing.TB, name string, want bool) {
	t.Helper()
	a := s.get(t, "/simple/flask/")
	if got := a.StatusCode == http.StatusOK && strings.Contains(a.body, ">"+name+"<"); got != want {
		t.Errorf("published: %v, want %v: %s", got, want, name)
	}
	eventually(t, "nothing is left in staging", func() bool { return s.store.inProgress() == 0 })
}

// wantRefusal checks what item 31 of the checklist asks of every refusal: one sentence everywhere.
func (a answer) wantRefusal(t testing.TB, status int, sentence string) answer {
	t.Helper()
	a.want(t, status)
	_, phrase, _ := strings.Cut(a.Status, " ")
	message := a.Header.Get("X-Error-Message")
	escaped, err := json.Marshal(phrase)
	if err != nil {
		t.Fatal(err)
	}
	inBody := strings.Contains(a.body, phrase) || strings.Contains(a.body, strings.Trim(string(escaped), `"`))
	if !strings.Contains(phrase, sentence) || message != phrase || !inBody {
		t.Errorf("status line %q, X-Error-Message %q, body %.200q; want all to say %q", a.Status, message, a.body, sentence)
	}
	if len(phrase) > 200 || strings.ContainsAny(phrase, "\r\n") {
		t.Errorf("the phrase has %d bytes", len(phrase))
	}
	return a
}

func Test24Addresses(t *testing.T) {
	s := newSite(t, options{})
	for i, path := range []string{"/legacy/", "/"} {
		f := flask(strconv.Itoa(i))
		contentType, body := encode(uploadParts(f, "flask", strconv.Itoa(i)))
		s.do(t, http.MethodPost, path, bytes.NewReader(body), "Content-Type: "+contentType, basic("__token__", s.token)).want(t, http.StatusOK)
		s.wantPublished(t, f.Name, true)
	}
	contentType, body := encode(uploadParts(flask("9"), "flask", "9"))
	moved := s.do(t, http.MethodPost, "/legacy", bytes.NewReader(body), "Content-Type: "+contentType).want(t, http.StatusPermanentRedirect)
	if to, err := moved.Location(); err != nil || to.Path != "/legacy/" {
		t.Errorf("POST /legacy leads to %v", to)
	}
	s.get(t, "/legacy/").want(t, http.StatusOK).wantText(t, "twine upload --repository-url "+s.url+"/legacy/")
	for _, path := range []string{"/simple/", "/simple", "/simple/flask/"} {
		s.do(t, http.MethodPost, path, bytes.NewReader(body), "Content-Type: "+contentType).
			wantRefusal(t, http.StatusMethodNotAllowed, "upload to "+s.url+"/legacy/").wantHeader(t, "Allow", "GET, HEAD")
	}
	s.do(t, http.MethodPut, "/legacy/", nil).want(t, http.StatusMethodNotAllowed)
	s.do(t, http.MethodDelete, "/simple/flask/", nil).want(t, http.StatusMethodNotAllowed)
}

func without(parts []part, names ...string) []part {
	return slices.DeleteFunc(slices.Clone(parts), func(p part) bool { return slices.Contains(names, p.name) })
}

func with(parts []part, name, value string) []part {
	return append(without(parts, name), part{name: name, value: value})
}

func Test25ActionsInFormOrQuery(t *testing.T) {
	s := newSite(t, options{})
	all := uploadParts(flask("1"), "flask", "1")
	contentType, body := encode(without(all, ":action", "protocol_version"))
	s.do(t, http.MethodPost, "/legacy/?:action=file_upload&protocol_version=1", bytes.NewReader(body),
		"Content-Type: "+contentType, basic("__token__", s.token)).want(t, http.StatusOK)
	s.wantPublished(t, "flask-1-py3-none-any.whl", true)
	for _, action := range []string{"submit", "submit_pkg_info", "doc_upload"} {
		s.send(t, with(uploadParts(flask("2"), "flask", "2"), ":action", action)).wantRefusal(t, http.StatusGone, action)
		// These never had a file; the missing file is not what is wrong with them.
		s.send(t, without(with(all, ":action", action), "content")).wantRefusal(t, http.StatusGone, action)
	}
	s.send(t, with(all, ":action", "brew_coffee")).wantRefusal(t, http.StatusBadRequest, "brew_coffee")
	s.send(t, without(all, ":action")).wantRefusal(t, http.StatusBadRequest, ":action")
	s.send(t, with(all, "protocol_version", "2")).wantRefusal(t, http.StatusBadRequest, "protocol_version")
	s.wantPublished(t, "flask-2-py3-none-any.whl", false)
}

func Test26Digests(t *testing.T) {
	s := newSite(t, options{})
	f := flask("1")
	m5, b2 := md5.Sum(f.Data), blake2b.Sum256(f.Data)
	digests := map[string]string{"md5_digest": hex.EncodeToString(m5[:]), "sha256_digest": sha(f.Data), "blake2_256_digest": hex.EncodeToString(b2[:])}
	bare := without(uploadParts(f, "flask", "1"), "sha256_digest")
	s.send(t, bare).wantRefusal(t, http.StatusBadRequest, "digest")
	for name, good := range digests {
		s.send(t, with(bare, name, good)).want(t, http.StatusOK)
		wrong := strings.Repeat("0", len(good))
		s.send(t, with(bare, name, wrong)).wantRefusal(t, http.StatusBadRequest, name)
		// A good digest beside a wrong one does not help.
		for other, value := range digests {
			if other != name {
				s.send(t, with(with(bare, name, wrong), other, value)).wantRefusal(t, http.StatusBadRequest, name)
			}
		}
	}
}

func Test27OrderOfFields(t *testing.T) {
	s := newSite(t, options{})
	parts := uploadParts(flask("1"), "flask", "1")
	slices.Reverse(parts) // content first
	parts = append(parts, part{name: "requires_python"}, part{name: "gpg_signature", filename: "flask.asc", value: "\x00\xff not text"},
		part{name: "classifiers", value: "A"}, part{name: "classifiers", value: "B"})
	s.send(t, parts).want(t, http.StatusOK)
	s.wantPublished(t, "flask-1-py3-none-any.whl", true)
}

func Test28And29Repeats(t *testing.T) {
	s := newSite(t, options{})
	parts := uploadParts(flask("1"), "flask", "1")
	s.send(t, parts).want(t, http.StatusOK)
	before := s.publisher.Current().Number()
	if a := s.send(t, parts).want(t, http.StatusOK); a.body != "" {
		t.Errorf("body %q", a.body)
	}
	if now := s.publisher.Current().Number(); now != before {
		t.Errorf("the repeated upload made publication %d after %d", now, before)
	}
	other := distmake.Wheel("flask", "1", distmake.Options{Summary: "other bytes"})
	a := s.send(t, uploadParts(other, "flask", "1")).wantRefusal(t, http.StatusBadRequest, "File already exists")
	if !strings.HasPrefix(a.Status, "400 File already exists") {
		t.Errorf("status line %q", a.Status)
	}
}

func Test30Credentials(t *testing.T) {
	s := newSite(t, options{})
	contentType, body := encode(uploadParts(flask("1"), "flask", "1"))
	try := func(headers ...string) answer {
		return s.do(t, http.MethodPost, "/legacy/", bytes.NewReader(body), append([]string{"Content-Type: " + contentType}, headers...)...)
	}
	for _, missing := range [][]string{nil, {"Authorization: Bearer x"}, {"Authorization: Basic !!"}, {basic("__token__", "")}} {
		a := try(missing...).wantRefusal(t, http.StatusUnauthorized, "token")
		if got := a.Header.Get("WWW-Authenticate"); !strings.HasPrefix(got, "Basic ") {
			t.Errorf("WWW-Authenticate is %q", got)
		}
	}
	for _, wrong := range []string{basic("__token__", "bwk_"+strings.Repeat("x", 43)), basic("__token__", "hunter2"), basic("alice", s.token)} {
		try(wrong).wantRefusal(t, http.StatusForbidden, "token").wantHeader(t, "WWW-Authenticate", "")
	}
	s.wantPublished(t, "flask-1-py3-none-any.whl", false)
	secret, token, err := s.index.NewToken(t.Context(), "", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.index.RevokeToken(t.Context(), token.ID); err != nil {
		t.Fatal(err)
	}
	try(basic("__token__", secret)).wantRefusal(t, http.StatusForbidden, "revoked")
	if strings.Contains(s.log.String(), secret) || strings.Contains(s.log.String(), s.token) {
		t.Error("a secret is in the log")
	}
	try("Authorization: bAsIc "+strings.TrimPrefix(basic("__TOKEN__", s.token), "Authorization: Basic ")).want(t, http.StatusOK)
	s.wantPublished(t, "flask-1-py3-none-any.whl", true)
}

func Test31FormsOfRefusals(t *testing.T) {
	s := newSite(t, options{})
	for accept, want := range map[string]string{
		"application/json": "application/json", "application/problem+json": "application/problem+json",
		"text/html": "text/html; charset=utf-8", "text/plain": "text/plain; charset=utf-8",
	} {
		a := s.send(t, without(uploadParts(flask("1"), "flask", "1"), "version"), "Accept: "+accept).
			wantRefusal(t, http.StatusBadRequest, "the form has no field version").wantHeader(t, "Content-Type", want)
		var body map[string]any
		if strings.Contains(want, "json") && json.Unmarshal([]byte(a.body), &body) != nil {
			t.Errorf("%s: body %q", accept, a.body)
		}
	}
}

func TestTokenOfAnotherProject(t *testing.T) {
	s := newSite(t, options{})
	other := distmake.Wheel("django", "1", distmake.Options{})
	s.send(t, uploadParts(other, "django", "1")).want(t, http.StatusOK)
	// A form that claims one project for the file of another.
	s.send(t, uploadParts(other, "flask", "1")).wantRefusal(t, http.StatusBadRequest, "django")
}

func TestLimitsOfAnUpload(t *testing.T) {
	s := newSite(t, options{fileSize: 100_000, limits: server.Limits{Request: 400_000, Fields: 100, FieldBytes: 50_000, FieldName: 64, PartHeader: 2048}})
	parts := uploadParts(flask("1"), "flask", "1")
	big := distmake.Wheel("flask", "1", distmake.Options{Payload: 200_000})
	s.send(t, uploadParts(big, "flask", "1")).wantRefusal(t, http.StatusRequestEntityTooLarge, "100000 bytes")
	huge := distmake.Wheel("flask", "1", distmake.Options{Payload: 600_000})
	s.send(t, uploadParts(huge, "flask", "1")).wantRefusal(t, http.StatusRequestEntityTooLarge, "400000 bytes")
	s.send(t, with(parts, "description", strings.Repeat("x", 60_000))).wantRefusal(t, http.StatusRequestEntityTooLarge, "fields together")
	s.send(t, with(parts, strings.Repeat("n", 65), "x")).wantRefusal(t, http.StatusRequestEntityTooLarge, "64 bytes")
	s.send(t, append(slices.Clone(parts), part{name: "x", filename: strings.Repeat("f", 60_000), value: "v"})).
		wantRefusal(t, http.StatusRequestEntityTooLarge, "headers of a form field")
	many := slices.Clone(parts)
	for i := range 120 {
		many = append(many, part{name: "classifiers", value: strconv.Itoa(i)})
	}
	s.send(t, many).wantRefusal(t, http.StatusRequestEntityTooLarge, "100 fields")
	s.wantPublished(t, "flask-1-py3-none-any.whl", false)
	s.send(t, with(parts, "description", strings.Repeat("x", 40_000))).want(t, http.StatusOK)
}

// TestMillionFields sends a form without an end: the server has to stop reading it by itself.
func TestMillionFields(t *testing.T) {
	s := newSite(t, options{})
	pr, pw := io.Pipe()
	sent := 0
	go func() {
		for i := range 1_000_000 {
			n, err := fmt.Fprintf(pw, "--b\r\nContent-Disposition: form-data; name=\"f%d\"\r\n\r\n\r\n", i)
			sent += n
			if err != nil {
				break
			}
		}
		pw.CloseWithError(io.ErrUnexpectedEOF)
	}()
	s.do(t, http.MethodPost, "/legacy/", pr, "Content-Type: multipart/form-data; boundary=b", basic("__token__", s.token)).
		wantRefusal(t, http.StatusRequestEntityTooLarge, "4096 fields")
}

func TestMalformedForms(t *testing.T) {
	s := newSite(t, options{})
	parts := uploadParts(flask("1"), "flask", "1")
	contentType, body := encode(parts)
	_, boundary, _ := strings.Cut(contentType, "boundary=")
	post := func(contentType string, body []byte) answer {
		t.Helper()
		return s.do(t, http.MethodPost, "/legacy/", bytes.NewReader(body), "Content-Type: "+contentType, basic("__token__", s.token))
	}
	for name, c := range map[string]struct {
		contentType string
		body        []byte
		status      int
		sentence    string
	}{
		"wrong boundary":        {"multipart/form-data; boundary=other", body, 400, "middle of the form"},
		"no boundary":           {"multipart/form-data", body, 400, "boundary"},
		"endless boundary":      {"multipart/form-data; boundary=" + strings.Repeat("b", 71), body, 400, "boundary"},
		"not a form":            {"application/json", []byte(`{}`), 415, "multipart/form-data"},
		"no type":               {"", body, 415, "multipart/form-data"},
		"empty":                 {contentType, nil, 400, "middle of the form"},
		"only the end":          {contentType, []byte("--" + boundary + "--\r\n"), 400, "no file"},
		"truncated in fields":   {contentType, body[:300], 400, "middle of the form"},
		"truncated in file":     {contentType, body[:len(body)-200], 400, "middle of the form"},
		"no last boundary":      {contentType, bytes.TrimSuffix(body, []byte("--\r\n")), 400, "the form"},
		"junk before":           {contentType, append(bytes.Repeat([]byte("junk\n"), 10_000), body...), 413, "headers of a form field"},
		"binary":                {contentType, bytes.Repeat([]byte{0, 0xff, '\n'}, 50_000), 413, "headers of a form field"},
		"nameless part":         {contentType, []byte("--" + boundary + "\r\nContent-Type: text/plain\r\n\r\nx\r\n--" + boundary + "--\r\n"), 400, "no name"},
		"headers that are none": {contentType, []byte("--" + boundary + "\r\nno colon here\r\n\r\nx\r\n--" + boundary + "--\r\n"), 400, "well-formed"},
	} {
		t.Run(name, func(t *testing.T) {
			post(c.contentType, c.body).wantRefusal(t, c.status, c.sentence)
		})
	}
	for name, c := range map[string]struct {
		parts    []part
		sentence string
	}{
		"no file":         {without(parts, "content"), "no file"},
		"text as file":    {with(parts, "content", "text"), "content has to be a file"},
		"two files":       {append(slices.Clone(parts), parts[len(parts)-1]), "one file"},
		"not UTF-8":       {with(parts, "summary", "\xff\xfe"), "UTF-8"},
		"field twice":     {append(slices.Clone(parts), part{name: "version", value: "2"}), "twice"},
		"path as name":    {append(without(parts, "content"), part{name: "content", filename: "../flask-1-py3-none-any.whl", value: "x"}), "flask-1"},
		"no distribution": {append(without(parts, "content"), part{name: "content", filename: "flask.exe", value: "x"}), "flask.exe"},
		"line break":      {with(parts, "version", "1\r\nX-Injected: yes"), "version"},
	} {
		t.Run(name, func(t *testing.T) {
			a := s.send(t, c.parts).wantRefusal(t, http.StatusBadRequest, c.sentence)
			if a.Header.Get("X-Injected") != "" {
				t.Error("a form field became a header")
			}
		})
	}
	s.wantPublished(t, "flask-1-py3-none-any.whl", false)
	if log := s.log.String(); strings.Contains(log, "level=ERROR") || strings.Contains(log, "status=5") {
		t.Errorf("a user's mistake was taken for ours:\n%s", log)
	}
	s.send(t, parts).want(t, http.StatusOK)
}

func (s *site) head(contentType string, length int, more ...string) string {
	return "POST /legacy/ HTTP/1.1\r\nHost: x\r\n" + basic("__token__", s.token) + "\r\nContent-Type: " + contentType +
		"\r\nContent-Length: " + strconv.Itoa(length) + "\r\n" + strings.Join(append(more, "\r\n"), "\r\n")
}

func TestClientHangsUp(t *testing.T) {
	s := newSite(t, options{})
	contentType, body := encode(uploadParts(distmake.Wheel("flask", "1", distmake.Options{Payload: 100_000}), "flask", "1"))
	for _, sent := range []int{0, 10, 500, 20_000, len(body) - 1} {
		conn, _ := s.raw(t, s.head(contentType, len(body))+string(body[:sent]))
		if sent == 20_000 {
			eventually(t, "the file has begun", func() bool { return s.store.inProgress() == 1 })
		}
		conn.Close()
	}
	eventually(t, "all five are logged", func() bool { return strings.Count(s.log.String(), "path=/legacy/") == 5 })
	s.wantPublished(t, "flask-1-py3-none-any.whl", false)
	if strings.Contains(s.log.String(), "level=ERROR") {
		t.Errorf("a client that hung up is logged as our failure:\n%s", s.log)
	}
}

func TestSlowUploadsEnd(t *testing.T) {
	s := newSite(t, options{limits: server.Limits{RequestTime: 200 * time.Millisecond, MinRate: 1 << 20}})
	contentType, body := encode(uploadParts(distmake.Wheel("flask", "1", distmake.Options{Payload: 50_000}), "flask", "1"))
	_, r := s.raw(t, s.head(contentType, len(body))+string(body[:20_000]))
	if line := statusLine(t, r); !strings.HasPrefix(line, "HTTP/1.1 408 the upload came in too slowly") {
		t.Errorf("the answer is %q", line)
	}
	s.wantPublished(t, "flask-1-py3-none-any.whl", false)
}

func TestExpectContinue(t *testing.T) {
	s := newSite(t, options{})
	contentType, body := encode(uploadParts(flask("1"), "flask", "1"))
	conn, r := s.raw(t, s.head(contentType, len(body), "Expect: 100-continue", "Connection: close"))
	if line := statusLine(t, r); line != "HTTP/1.1 100 Continue" {
		t.Fatalf("the answer is %q", line)
	}
	if _, err := conn.Write(body); err != nil {
		t.Fatal(err)
	}
	_, _ = r.ReadString('\n')
	if line := statusLine(t, r); line != "HTTP/1.1 200 OK" {
		t.Errorf("the answer is %q", line)
	}
	// Who is refused before sending is not asked to send.
	head := strings.Replace(s.head(contentType, len(body), "Expect: 100-continue"), s.token[:8], "bwk_xxxx", 1)
	head = strings.Replace(head, "Authorization: Basic ", "Authorization: Basic AAAA", 1)
	_, r = s.raw(t, head)
	if line := statusLine(t, r); !strings.HasPrefix(line, "HTTP/1.1 40") {
		t.Errorf("the answer is %q", line)
	}
}

// TestEarlyRefusalReachesTheClient sends far more than fits into any buffer before it reads, as twine
// does. A server that closed the connection at once would make it see a reset.
func TestEarlyRefusalReachesTheClient(t *testing.T) {
	s := newSite(t, options{fileSize: 1 << 20})
	const size = 64 << 20
	for name, c := range map[string]struct {
		head string
		want string
	}{
		"wrong token":      {strings.Replace(s.head("multipart/form-data; boundary=b", size), basic("__token__", s.token), basic("__token__", "bwk_wrong"), 1), "HTTP/1.1 403 "},
		"no token":         {strings.Replace(s.head("multipart/form-data; boundary=b", size), "Authorization", "X-Nothing", 1), "HTTP/1.1 401 "},
		"file too big":     {s.head("multipart/form-data; boundary=b", size), "HTTP/1.1 413 the file is larger"},
		"declared too big": {s.head("multipart/form-data; boundary=b", 200<<20), "HTTP/1.1 413 the upload is larger"},
	} {
		t.Run(name, func(t *testing.T) {
			conn, r := s.raw(t, c.head+"--b\r\nContent-Disposition: form-data; name=\"content\"; filename=\"f.whl\"\r\n\r\n")
			block := make([]byte, 1<<20)
			for range size>>20 - 1 {
				if _, err := conn.Write(block); err != nil {
					t.Fatalf("sending: %v", err)
				}
			}
			if line := statusLine(t, r); !strings.HasPrefix(line, c.want) {
				t.Errorf("the answer is %q, want %q", line, c.want)
			}
		})
	}
	eventually(t, "nothing is left in staging", func() bool { return s.store.inProgress() == 0 })
}

func TestBusyAndFull(t *testing.T) {
	s := newSite(t, options{limits: server.Limits{Uploads: 1}})
	parts := uploadParts(flask("1"), "flask", "1")
	contentType, body := encode(uploadParts(distmake.Wheel("flask", "2", distmake.Options{Payload: 50_000}), "flask", "2"))
	conn, _ := s.raw(t, s.head(contentType, len(body))+string(body[:20_000]))
	eventually(t, "the first upload has begun", func() bool { return s.store.inProgress() == 1 })
	s.send(t, parts).wantRefusal(t, http.StatusServiceUnavailable, "too many uploads").wantHeader(t, "Retry-After", "2")
	conn.Close()
	eventually(t, "the first upload has ended", func() bool { return s.store.inProgress() == 0 })
	s.store.setFull(true)
	eventually(t, "the slot is free", func() bool {
		return s.send(t, parts).wantRefusal(t, http.StatusServiceUnavailable, "").Header.Get("Retry-After") == "30"
	})
	s.store.setFull(false)
	s.send(t, parts).want(t, http.StatusOK)
	s.wantPublished(t, "flask-1-py3-none-any.whl", true)
}

// TestQueueFull fills the queue of a publisher that does not run.
func TestQueueFull(t *testing.T) {
	s := newSite(t, options{queue: 1, idle: true})
	contentType, body := encode(uploadParts(flask("1"), "flask", "1"))
	conn, _ := s.raw(t, s.head(contentType, len(body))+string(body))
	defer conn.Close()
	eventually(t, "the first upload waits", func() bool { return s.publisher.Status().Waiting == 1 })
	s.send(t, uploadParts(flask("2"), "flask", "2")).wantRefusal(t, http.StatusServiceUnavailable, "try again").wantHeader(t, "Retry-After", "2")
}

// TestSilentConnectionsMakeRoom opens as many connections as there may be, and says nothing on them.
func TestSilentConnectionsMakeRoom(t *testing.T) {
	s := newSite(t, options{limits: server.Limits{Connections: 2}})
	_, first := s.raw(t, "")
	_, second := s.raw(t, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
	if line := statusLine(t, second); line != "HTTP/1.1 200 OK" {
		t.Fatalf("the second connection is answered %q", line)
	}
	_, third := s.raw(t, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
	if line := statusLine(t, third); line != "HTTP/1.1 200 OK" {
		t.Errorf("beside silent connections the answer is %q", line)
	}
	if _, err := first.ReadByte(); err == nil {
		t.Error("the connection that was silent for longest is still open")
	}
}

// TestConnectionLimit keeps every place busy: whoever is being served is not cut off for others.
func TestConnectionLimit(t *testing.T) {
	s := newSite(t, options{queue: 2, idle: true, limits: server.Limits{Connections: 2}})
	contentType, body := encode(uploadParts(flask("1"), "flask", "1"))
	first, _ := s.raw(t, s.head(contentType, len(body))+string(body))
	contentType, body = encode(uploadParts(flask("2"), "flask", "2"))
	second, _ := s.raw(t, s.head(contentType, len(body))+string(body))
	eventually(t, "both uploads wait", func() bool { return s.publisher.Status().Waiting == 2 })
	third, r := s.raw(t, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
	if err := third.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if line, err := r.Peek(1); err == nil {
		t.Errorf("beyond the limit a request is answered: %q", line)
	}
	if n := s.publisher.Status().Waiting; n != 2 {
		t.Errorf("%d uploads wait, and 2 were under way", n)
	}
	if err := third.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	first.Close()
	second.Close()
	if line := statusLine(t, r); line != "HTTP/1.1 200 OK" {
		t.Errorf("after a place was free the answer is %q", line)
	}
}

func TestHostileRequests(t *testing.T) {
	s := newSite(t, options{limits: server.Limits{HeaderTime: 100 * time.Millisecond}})
	_, r := s.raw(t, "GET / HTTP/1.1\r\nHost: x\r\nX: "+strings.Repeat("x", 64<<10)+"\r\n\r\n")
	if line := statusLine(t, r); !strings.HasPrefix(line, "HTTP/1.1 431") {
		t.Errorf("a giant header is answered %q", line)
	}
	_, r = s.raw(t, "GET / HTTP/1.1\r\nHost:")
	if _, err := io.ReadAll(r); err != nil {
		t.Errorf("half a header does not end: %v", err)
	}
	for _, target := range []string{"/files/a/b/c", "/files/0/flask/" + strings.Repeat("0", 64) + "/..%2f..%2fledger.db", "/targets/0/flask/%00", "/metadata/..%2fledger.db"} {
		_, r := s.raw(t, "GET "+target+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		if line := statusLine(t, r); line != "HTTP/1.1 404 Not Found" {
			t.Errorf("%s is answered %q", target, line)
		}
	}
	if strings.Contains(s.log.String(), "level=ERROR") {
		t.Errorf("hostile requests are logged as our failures:\n%s", s.log)
	}
}

func TestWarningsAreTheBody(t *testing.T) {
	s := newSite(t, options{})
	old := distmake.ZipSdist("flask", "1.0", distmake.Options{})
	a := s.send(t, uploadParts(old, "flask", "1.0")).want(t, http.StatusOK)
	if !strings.Contains(a.body, "flask-1.0.zip") {
		t.Errorf("the warning is %q", a.body)
	}
}

var _ index.Files = (*store)(nil)
