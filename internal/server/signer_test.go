package server_test

import (
	"bytes"
	"net/http"
	"strings"
	"testing"

	"example.com/bailiwick/internal/custody"
	"example.com/bailiwick/internal/pypi/distmake"
	"example.com/bailiwick/internal/server"
	"example.com/bailiwick/tuf/key"
)

const asJSON = "Content-Type: application/json"

func asSigner(token string) string { return "Authorization: Bearer " + token }

func encodedTurn(t *testing.T, turn custody.Turn) *bytes.Reader {
	t.Helper()
	_, s, err := key.GenerateEd25519()
	if err != nil {
		t.Fatal(err)
	}
	turn.Keys = []custody.HeldKey{{Name: "snapshot", Public: s.Public()}}
	data, err := turn.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return bytes.NewReader(data)
}

// TestSignerIsLetIn: with its own token and nothing else, and only what it says is read.
func TestSignerIsLetIn(t *testing.T) {
	s := newSite(t, options{strict: true})
	hello := func() *bytes.Reader { return encodedTurn(t, custody.Turn{Hello: true}) }
	s.do(t, http.MethodPost, server.SignerPath, hello(), asJSON).want(t, http.StatusUnauthorized)
	a := s.do(t, http.MethodPost, server.SignerPath, hello(), asJSON, asSigner(s.token)).want(t, http.StatusForbidden)
	if !strings.Contains(a.body, "bailiwick token new --signer") {
		t.Errorf("an upload token is answered %q", a.body)
	}
	s.do(t, http.MethodPost, server.SignerPath, hello(), asJSON, basic("__token__", s.token)).want(t, http.StatusForbidden)
	s.do(t, http.MethodPost, server.SignerPath, hello(), asJSON, asSigner(s.signerToken+"x")).want(t, http.StatusForbidden)
	s.do(t, http.MethodPost, server.SignerPath, hello(), asSigner(s.signerToken)).want(t, http.StatusUnsupportedMediaType)
	s.do(t, http.MethodPost, server.SignerPath, strings.NewReader("{}"), asJSON, asSigner(s.signerToken)).want(t, http.StatusBadRequest)
	s.do(t, http.MethodPost, server.SignerPath, strings.NewReader(strings.Repeat("[", 1000)), asJSON, asSigner(s.signerToken)).want(t, http.StatusBadRequest)
	s.do(t, http.MethodPost, server.SignerPath, hello(), asJSON, asSigner(s.signerToken)).want(t, http.StatusNoContent)
	if code := s.get(t, server.SignerPath, asSigner(s.signerToken)).StatusCode; code != http.StatusNotFound && code != http.StatusMethodNotAllowed {
		t.Errorf("a GET is answered %d", code)
	}
	// And it may do nothing else.
	s.get(t, "/api/v1/requests?project=flask", basic("__token__", s.signerToken)).want(t, http.StatusForbidden)
	if strings.Contains(s.log.String(), s.signerToken) {
		t.Error("the token is in the log")
	}
}

// TestNoSignerHere: an index in custody standard says so.
func TestNoSignerHere(t *testing.T) {
	s := newSite(t, options{})
	a := s.do(t, http.MethodPost, server.SignerPath, encodedTurn(t, custody.Turn{Hello: true}), asJSON, asSigner(s.token))
	a.want(t, http.StatusForbidden)
}

// TestSignerOverHTTP signs for an upload, over the wire, and goes away.
func TestSignerOverHTTP(t *testing.T) {
	s := newSite(t, options{strict: true})
	upload := func(version string) answer {
		return s.send(t, uploadParts(distmake.Wheel("flask", version, distmake.Options{}), "flask", version))
	}
	away := upload("1.0").want(t, http.StatusAccepted)
	if !strings.Contains(away.body, "becomes installable when the index's signer has signed it") {
		t.Errorf("without the signer: %q", away.body)
	}
	s.get(t, "/simple/flask/").want(t, http.StatusNotFound)

	signed := make(chan int, 1)
	go func() { // the signer: two questions, and it is gone
		n := 0
		first := s.do(t, http.MethodPost, server.SignerPath, encodedTurn(t, custody.Turn{}), asJSON, asSigner(s.signerToken))
		if first.StatusCode == http.StatusOK {
			a, err := s.desk.Countersign(t.Context(), []byte(first.body))
			if err != nil {
				t.Error(err)
			}
			n = len(a.Signatures)
			s.do(t, http.MethodPost, server.SignerPath, encodedTurn(t, custody.Turn{Answer: a, Hello: true}), asJSON, asSigner(s.signerToken))
		}
		signed <- n
	}()
	<-s.line.Arrived()
	upload("2.0").want(t, http.StatusOK)
	if n := <-signed; n != 3 { // the list, the bin, the snapshot
		t.Errorf("the signer was asked for %d signatures, want 3", n)
	}
	page := s.get(t, "/simple/flask/").want(t, http.StatusOK)
	if !strings.Contains(page.body, "flask-2.0") || strings.Contains(page.body, "flask-1.0") {
		t.Errorf("the page is %s", page.body)
	}
}
