package proxy_test

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"example.com/bailiwick/internal/proxy"
)

// TestIdentify: a shell that is told an address must not be led to somebody else's server, also not
// to one that asks the true proxy for the answer.
func TestIdentify(t *testing.T) {
	s := newSite(t)
	address := s.proxy.Address()
	if err := proxy.Identify(t.Context(), address, rootID, secret); err != nil {
		t.Errorf("the proxy itself: %v", err)
	}
	_, port, _ := net.SplitHostPort(address)
	if err := proxy.Identify(t.Context(), "localhost:"+port, rootID, secret); err != nil {
		t.Errorf("the proxy by name: %v", err)
	}
	var asked []string
	relay := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.String())
		answer, err := http.Get("http://" + address + r.URL.Path)
		if err != nil {
			t.Error(err)
			return
		}
		defer answer.Body.Close()
		_, _ = io.Copy(w, answer.Body)
	}))
	t.Cleanup(relay.Close)
	garbage := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.Copy(w, strings.NewReader(strings.Repeat("0", 1<<20)))
	}))
	t.Cleanup(garbage.Close)
	for name, tt := range map[string]struct{ address, root, secret string }{
		"another secret":        {address, rootID, strings.ToLower(secret)},
		"another root":          {address, "0000000000000000", secret},
		"a relay":               {relay.Listener.Addr().String(), rootID, secret},
		"a server that babbles": {garbage.Listener.Addr().String(), rootID, secret},
	} {
		if err := proxy.Identify(t.Context(), tt.address, tt.root, tt.secret); !errors.Is(err, proxy.ErrStranger) {
			t.Errorf("%s: %v, want ErrStranger", name, err)
		}
	}
	if len(asked) != 1 || strings.Contains(asked[0], secret) || strings.Contains(asked[0], rootID) {
		t.Errorf("the stranger was asked %q", asked)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := free.Addr().String()
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	if err := proxy.Identify(t.Context(), nobody, rootID, secret); !errors.Is(err, proxy.ErrNobody) {
		t.Errorf("nobody: %v, want ErrNobody", err)
	}
	for _, nonce := range []string{"", "00", strings.Repeat("0", 33), strings.Repeat("x", 32), "../" + rootID} {
		s.raw("GET /identity/"+nonce+" HTTP/1.1\r\nHost: "+address+"\r\nConnection: close\r\n\r\n").want(t, "404 ")
	}
	s.raw("GET /identity/"+strings.Repeat("0", 32)+" HTTP/1.1\r\nHost: evil.example.com\r\nConnection: close\r\n\r\n").want(t, "403 ")
}
