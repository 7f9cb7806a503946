package client_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"

	"example.com/bailiwick/tuf/client"
)

// The environment says which proxy leads to a repository, and which hosts need none.
func TestHTTPProxy(t *testing.T) {
	var mu sync.Mutex
	var asked []string
	take := func() (all []string) {
		mu.Lock()
		defer mu.Unlock()
		all, asked = asked, nil
		return all
	}
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, req.URL.String())
		_, _ = w.Write([]byte("by way of the proxy"))
	}))
	defer proxy.Close()
	for _, test := range []struct {
		name, except string
		through      bool
	}{
		{"a proxy", "", true},
		{"a proxy for other hosts", "repository.example.com", false},
	} {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool {
			name, _, _ := strings.Cut(strings.ToUpper(v), "=")
			return slices.Contains([]string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "REQUEST_METHOD"}, name)
		})
		cmd.Env = append(cmd.Env, fetchesVariable+"=1", "HTTP_PROXY="+proxy.URL, "NO_PROXY="+test.except)
		out, err := cmd.CombinedOutput()
		if (err == nil) != test.through {
			t.Errorf("%s: %v\n%s", test.name, err, out)
		}
		want := []string(nil)
		if test.through {
			want = []string{"http://repository.example.com/metadata/timestamp.json"}
		}
		if got := take(); !slices.Equal(got, want) {
			t.Errorf("%s: it was asked for %q", test.name, got)
		}
	}
}

// A fetcher shares nothing with the other HTTP clients of the process, and changes nothing
// of theirs.
func TestHTTPLeavesGlobalsAlone(t *testing.T) {
	same := *http.DefaultClient
	var used bool
	before := http.DefaultTransport
	http.DefaultTransport = transport(func(req *http.Request) (*http.Response, error) {
		used = true
		return before.RoundTrip(req)
	})
	defer func() { http.DefaultTransport = before }()
	f := fetcher(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("x")) }), client.HTTPConfig{})
	if _, err := f.Metadata(t.Context(), "timestamp.json", 100); err != nil {
		t.Fatal(err)
	}
	if used || http.DefaultClient.Transport != same.Transport || http.DefaultClient.CheckRedirect != nil || http.DefaultClient.Jar != nil || http.DefaultClient.Timeout != same.Timeout {
		t.Errorf("the global transport was used: %v, or the global client was changed", used)
	}
}
