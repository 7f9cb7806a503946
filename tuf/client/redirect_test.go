package client_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"example.com/bailiwick/tuf/client"
)

// elsewhere is a server that redirects everything to another one, and counts.
func elsewhere(t *testing.T, to string) (url string, hits *atomic.Int64) {
	t.Helper()
	hits = &atomic.Int64{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		hits.Add(1)
		http.Redirect(w, req, to, http.StatusFound)
	}))
	t.Cleanup(s.Close)
	return s.URL, hits
}

func TestHTTPRedirectsToOtherOrigins(t *testing.T) {
	var asked atomic.Int64
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { asked.Add(1); _, _ = w.Write([]byte("there")) }))
	defer plain.Close()
	secure := httptest.NewTLSServer(plain.Config.Handler)
	defer secure.Close()
	relay, _ := elsewhere(t, plain.URL+"/x")
	for _, test := range []struct {
		name, to string
		allowed  []string
		followed bool
	}{
		{"another port", plain.URL + "/x", nil, false},
		{"another port, allowed", plain.URL + "/x", []string{plain.URL}, true},
		{"another port, allowed in capitals", plain.URL + "/x", []string{strings.ToUpper(plain.URL[:4]) + plain.URL[4:] + "/"}, true},
		{"another scheme where the host is allowed", secure.URL + "/x", []string{"http" + strings.TrimPrefix(secure.URL, "https")}, false},
		{"a host that begins like an allowed one", "http://example.com.attacker.example/", []string{"http://example.com"}, false},
		{"a user called like an allowed host", "http://example.com@" + strings.TrimPrefix(plain.URL, "http://"), []string{"http://example.com"}, false},
		{"no HTTP", "file:///etc/passwd", []string{plain.URL}, false},
		{"on from an allowed host", relay, []string{relay}, false},
		{"on from an allowed host to another", relay, []string{relay, plain.URL}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			asked.Store(0)
			base, hits := elsewhere(t, test.to)
			f, err := client.NewHTTPFetcher(client.HTTPConfig{Metadata: base, Targets: base, RedirectTo: test.allowed, Retries: 3})
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			data, err := f.Metadata(t.Context(), "x", 100)
			var network *client.NetworkError
			switch {
			case test.followed && (err != nil || string(data) != "there"):
				t.Errorf("%q, %v", data, err)
			case !test.followed && (!errors.As(err, &network) || asked.Load() != 0):
				t.Errorf("%q, %v after %d requests there", data, err, asked.Load())
			}
			if n := hits.Load(); n != 1 {
				t.Errorf("%d requests: a redirect that is refused today is refused in a moment", n)
			}
		})
	}
}

func TestHTTPRedirectsAreCounted(t *testing.T) {
	for _, test := range []struct{ most, followed int }{{0, 5}, {1, 1}, {9, 9}, {-1, 0}} {
		var hits atomic.Int64
		f := fetcher(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			http.Redirect(w, req, "/metadata/"+strconv.FormatInt(hits.Add(1), 10), http.StatusFound)
		}), client.HTTPConfig{Redirects: test.most})
		_, err := f.Metadata(t.Context(), "x", 100)
		var network *client.NetworkError
		if !errors.As(err, &network) || hits.Load() != int64(test.followed)+1 {
			t.Errorf("Redirects %d: %d requests, want %d: %v", test.most, hits.Load(), test.followed+1, err)
		}
	}
}

// A URL that can not be read is not repeated: it may hold a password.
func TestHTTPConfigKeepsPasswords(t *testing.T) {
	_, err := client.NewHTTPFetcher(client.HTTPConfig{Metadata: "http://me:secret@exa mple.com/", Targets: "http://example.com"})
	if err == nil || strings.Contains(err.Error(), "secret") || !strings.Contains(err.Error(), "metadata URL") {
		t.Errorf("got %v", err)
	}
}

func TestHTTPRedirectToIsChecked(t *testing.T) {
	for _, bad := range []string{"", "example.com", "ftp://example.com", "http://example.com/a", "http://me@example.com", "http://example.com?x"} {
		if f, err := client.NewHTTPFetcher(client.HTTPConfig{Metadata: "http://example.com", Targets: "http://example.com", RedirectTo: []string{bad}}); err == nil {
			t.Errorf("%q was taken: %v", bad, f)
		}
	}
}
