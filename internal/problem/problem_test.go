package problem_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"example.com/bailiwick/internal/problem"
)

const sentence = "bailiwick: flask-3.1.0.tar.gz refused: it is not signed (bailiwick why f3a1)"

// refuse serves p to every request, over loopback.
func refuse(t *testing.T, p *problem.Problem) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Etag", `"of something else"`)
		w.Header().Set("X-Kept", "yes")
		problem.Write(w, r, p)
	}))
	t.Cleanup(server.Close)
	return server
}

func do(t *testing.T, client *http.Client, method, url, accept string, body io.Reader) (*http.Response, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	if accept != "" {
		request.Header.Set("Accept", accept)
	}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	got, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, string(got)
}

func TestSentenceIsTheReasonPhrase(t *testing.T) {
	server := refuse(t, &problem.Problem{Status: 403, Message: sentence, Header: http.Header{"retry-after": {"7"}}})
	response, _ := do(t, server.Client(), "GET", server.URL, "", nil)
	if want := "403 " + sentence; response.Status != want {
		t.Errorf("status line %q, want %q", response.Status, want)
	}
	for name, want := range map[string]string{
		problem.HeaderMessage: sentence,
		"Retry-After":         "7",
		"Cache-Control":       "no-store",
		"X-Kept":              "yes",
		"Etag":                "",
	} {
		if got := response.Header.Get(name); got != want {
			t.Errorf("header %s is %q, want %q", name, got, want)
		}
	}
	if !response.Close {
		t.Error("the answer does not say that the connection closes")
	}
}

func TestConnectionsAreNotReused(t *testing.T) {
	server := refuse(t, &problem.Problem{Status: 400, Message: "no"})
	for range 3 { // a client that reused the closed connection would fail
		do(t, server.Client(), "GET", server.URL, "", nil)
		do(t, server.Client(), http.MethodPost, server.URL, "", strings.NewReader("body"))
	}
}

func TestBodyForms(t *testing.T) {
	server := refuse(t, &problem.Problem{Status: 404, Message: "no project <flask> here", Detail: "Look & see.", Type: "https://example.com/p"})
	tests := []struct {
		name, accept, contentType, contains string
	}{
		{"nothing", "", "application/problem+json", `"title":"no project <flask> here"`},
		{"anything", "*/*", "application/problem+json", `"detail":"Look & see."`},
		{"problem", "application/problem+json", "application/problem+json", `"type":"https://example.com/p"`},
		{"json", "application/json", "application/json", `"code":"404 no project <flask> here"`},
		{"uv publish", "application/json;q=0.9, text/plain;q=0.8, text/html;q=0.7", "application/json", `"title":"Not Found"`},
		{"browser", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "text/html; charset=utf-8", "<p>no project &lt;flask&gt; here</p>"},
		{"pip page", "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html; q=0.1, text/html; q=0.01", "text/html; charset=utf-8", "<p>Look &amp; see.</p>"},
		{"text", "text/*", "text/plain; charset=utf-8", "no project <flask> here\n\nLook & see.\n"},
		{"foreign", "image/png", "text/plain; charset=utf-8", "no project"},
		{"refused by name", "application/problem+json;q=0, */*", "application/json", `"message"`},
		{"nonsense weight", "text/html;q=NaN, text/plain;q=0.1", "text/plain; charset=utf-8", "no project"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			response, body := do(t, server.Client(), "GET", server.URL, test.accept, nil)
			if got := response.Header.Get("Content-Type"); got != test.contentType {
				t.Errorf("content type %q, want %q", got, test.contentType)
			}
			if !strings.Contains(body, test.contains) {
				t.Errorf("body %q does not contain %q", body, test.contains)
			}
			if strings.HasSuffix(test.contentType, "json") && !json.Valid([]byte(body)) {
				t.Errorf("body %q is not JSON", body)
			}
		})
	}
}

func TestHeadHasNoBody(t *testing.T) {
	server := refuse(t, &problem.Problem{Status: 404, Message: "gone"})
	conn := dial(t, server)
	fmt.Fprint(conn, "HEAD / HTTP/1.1\r\nHost: x\r\n\r\n")
	raw, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	head, body, ok := strings.Cut(string(raw), "\r\n\r\n")
	if !ok || body != "" || !strings.HasPrefix(head, "HTTP/1.1 404 gone\r\n") {
		t.Errorf("answered %q", raw)
	}
	if !strings.Contains(head, "\r\nContent-Length: ") || strings.Contains(head, "Content-Length: 0") {
		t.Errorf("headers do not give the length that GET has: %q", head)
	}
}

func dial(t *testing.T, server *httptest.Server) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// TestClientThatSendsFirst is twine: it reads nothing before it has sent all of
// a large body, which no socket buffer holds.
func TestClientThatSendsFirst(t *testing.T) {
	server := refuse(t, &problem.Problem{Status: 403, Message: "the token is revoked"})
	const size = 64 << 20
	conn := dial(t, server)
	fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", size)
	block := make([]byte, 1<<20)
	for range size / len(block) {
		if _, err := conn.Write(block); err != nil {
			t.Fatalf("sending the body: %v", err)
		}
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("reading the answer: %v", err)
	}
	defer response.Body.Close()
	if response.Status != "403 the token is revoked" {
		t.Errorf("status %q", response.Status)
	}
	if _, err := io.ReadAll(response.Body); err != nil {
		t.Errorf("reading the body: %v", err)
	}
}

// TestClientThatWaits sends its body only when it is asked for; it must be
// answered at once.
func TestClientThatWaits(t *testing.T) {
	server := refuse(t, &problem.Problem{Status: 401, Message: "give a token"})
	conn := dial(t, server)
	fmt.Fprint(conn, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\nExpect: 100-continue\r\n\r\n")
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.Status != "401 give a token" {
		t.Errorf("status %q", response.Status)
	}
}

func TestPhraseCannotInjectHeaders(t *testing.T) {
	server := refuse(t, &problem.Problem{
		Status:  400,
		Message: "a\r\nX-Evil: 1\r\n\r\n<script>\x00é漢",
		Header:  http.Header{"X-Other": {"b\r\nX-Evil: 2"}, "X Bad": {"c"}},
	})
	response, _ := do(t, server.Client(), "GET", server.URL, "", nil)
	if response.Header.Get("X-Evil") != "" {
		t.Errorf("headers were injected: %v", response.Header)
	}
	if want := "400 a  X-Evil: 1    <script>???"; response.Status != want {
		t.Errorf("status %q, want %q", response.Status, want)
	}
}

func TestPhraseIsCut(t *testing.T) {
	long := strings.Repeat("x", 1000)
	if got := problem.Phrase(long); len(got) != problem.MaxPhrase {
		t.Errorf("phrase has %d bytes, want %d", len(got), problem.MaxPhrase)
	}
	server := refuse(t, &problem.Problem{Status: 400, Message: long})
	_, body := do(t, server.Client(), "GET", server.URL, "text/plain", nil)
	if body != long+"\n" {
		t.Errorf("the body was cut, too: %d bytes", len(body))
	}
}

// TestWithoutHijack covers HTTP/2 and writers that keep their connection.
func TestWithoutHijack(t *testing.T) {
	recorder := httptest.NewRecorder()
	request := httptest.NewRequest(http.MethodPost, "/", strings.NewReader("body"))
	problem.Write(recorder, request, &problem.Problem{Status: 409, Message: sentence})
	if recorder.Code != 409 || recorder.Header().Get(problem.HeaderMessage) != sentence || !strings.Contains(recorder.Body.String(), sentence) {
		t.Errorf("answered %d %v %q", recorder.Code, recorder.Header(), recorder.Body)
	}

	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		problem.Write(w, r, &problem.Problem{Status: 403, Message: sentence})
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	response, body := do(t, server.Client(), http.MethodPost, server.URL, "", bytes.NewReader(make([]byte, 1<<20)))
	if response.ProtoMajor != 2 || response.StatusCode != http.StatusForbidden || response.Header.Get(problem.HeaderMessage) != sentence || !strings.Contains(body, sentence) {
		t.Errorf("answered %s %s %v %q", response.Proto, response.Status, response.Header, body)
	}
}

// TestOverTLS sends a large body over HTTP/1.1 in TLS.
func TestOverTLS(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		problem.Write(w, r, &problem.Problem{Status: 413, Message: "the file is too large"})
	}))
	defer server.Close()
	config := server.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	config.NextProtos = nil
	conn, err := tls.Dial("tcp", server.Listener.Addr().String(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	body := make([]byte, 32<<20)
	fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", len(body))
	if _, err := conn.Write(body); err != nil {
		t.Fatalf("sending the body: %v", err)
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("reading the answer: %v", err)
	}
	defer response.Body.Close()
	if response.Status != "413 the file is too large" {
		t.Errorf("status %q", response.Status)
	}
}

func TestDefaults(t *testing.T) {
	tests := []struct {
		give problem.Problem
		want string
	}{
		{problem.Problem{Status: 404}, "404 Not Found"},
		{problem.Problem{Status: 200, Message: "not a refusal"}, "500 not a refusal"},
		{problem.Problem{Message: "broken"}, "500 broken"},
		{problem.Problem{Status: 499}, "499 Error"},
	}
	for _, test := range tests {
		server := refuse(t, &test.give)
		if response, _ := do(t, server.Client(), "GET", server.URL, "", nil); response.Status != test.want {
			t.Errorf("%+v was answered with %q, want %q", test.give, response.Status, test.want)
		}
	}
}

func TestRedact(t *testing.T) {
	tests := []struct{ give, want string }{
		{"", ""},
		{"plain text, nothing to hide", "plain text, nothing to hide"},
		{"https://example.com/simple/", "https://example.com/simple/"},
		{"https://user:pass@example.com/simple/", "https://***@example.com/simple/"},
		{"https://user@na:p@ss@example.com/x", "https://***@example.com/x"},
		{"https://example.com/@scope/x?y=a@b", "https://example.com/@scope/x?y=a@b"},
		{`Get "https://__token__:bw-123@example.com/": refused`, `Get "https://***@example.com/": refused`},
		{"https://example.com/f?X-Amz-Signature=abc&size=3", "https://example.com/f?X-Amz-Signature=***&size=3"},
		{"/f?access_token=abc#top", "/f?access_token=***#top"},
		{"/f?token=", "/f?token="},
		{"Authorization: Basic dXNlcjpwYXNz", "Authorization: Basic ***"},
		{"authorization: bearer abcdefghijklmnopqrstuvwxyz, next", "authorization: bearer ***, next"},
		{"Basic authentication is needed", "Basic authentication is needed"},
		{"the token expired", "the token expired"},
		{"two: ftp://a:b@h/x http://c@h/y", "two: ftp://***@h/x http://***@h/y"},
	}
	for _, test := range tests {
		if got := problem.Redact(test.give); got != test.want {
			t.Errorf("Redact(%q) = %q, want %q", test.give, got, test.want)
		}
	}
}

func FuzzRedact(f *testing.F) {
	f.Add("https://user:pass@example.com/x?token=y")
	f.Add("Bearer \x00\xff https://@@@?key=&&=")
	f.Fuzz(func(t *testing.T, text string) {
		problem.Redact(text)
		// A secret in a URL must never come out, whatever stands around it.
		if strings.ContainsAny(text, "?#/@ \t\r\n\"'<>`:") {
			return
		}
		if got := problem.Redact("see https://u:" + text + "SECRET@example.com/ " + text); strings.Contains(got, "SECRET") && !strings.Contains(text, "SECRET") {
			t.Errorf("the secret came out: %q", got)
		}
	})
}

func FuzzPhrase(f *testing.F) {
	f.Add("a\r\nb")
	f.Fuzz(func(t *testing.T, message string) {
		phrase := problem.Phrase(message)
		if len(phrase) > problem.MaxPhrase {
			t.Errorf("phrase of %d bytes", len(phrase))
		}
		response, err := http.ReadResponse(bufio.NewReader(strings.NewReader("HTTP/1.1 400 "+phrase+"\r\nContent-Length: 0\r\n\r\n")), nil)
		if err != nil || errors.Is(err, io.ErrUnexpectedEOF) || len(response.Header) != 1 {
			t.Errorf("phrase %q breaks the answer: %v", phrase, err)
		}
	})
}
