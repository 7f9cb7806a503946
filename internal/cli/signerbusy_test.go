package cli_test

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"example.com/bailiwick/internal/cli"
)

// TestSignerComesBack: what passes, such as a front that is busy, is no reason for a signer to give up; that the index
// does not know it is.
func TestSignerComesBack(t *testing.T) {
	dir := t.TempDir()
	var out, said bytes.Buffer
	env := &cli.Env{
		Stdin: strings.NewReader(""), Stdout: &out, Stderr: &said, Now: time.Now,
		Getenv: func(string) string { return "" }, Environ: func() []string { return nil },
	}
	if code := cli.Main(t.Context(), []string{
		"init", "--data", filepath.Join(dir, "data"), "--offline-keys", filepath.Join(dir, "offline"), "--bins", "16",
		"--custody", "strict", "--signer-keys", filepath.Join(dir, "keys"),
	}, env); code != 0 {
		t.Fatalf("init ended with %d: %s", code, said.String())
	}
	for status, want := range map[int]int{
		http.StatusTooManyRequests: 0, http.StatusRequestTimeout: 0, http.StatusTooEarly: 0, http.StatusServiceUnavailable: 0,
		http.StatusUnauthorized: 3, http.StatusForbidden: 3, http.StatusConflict: 3,
	} {
		t.Run(http.StatusText(status), func(t *testing.T) {
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			var asked atomic.Int32
			index := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if asked.Add(1) == 1 {
					http.Error(w, "not now", status)
					return
				}
				w.WriteHeader(http.StatusNoContent)
				stop()
			}))
			defer index.Close()
			said.Reset()
			code := cli.Main(ctx, []string{"signer", "--index", index.URL, "--keys", filepath.Join(dir, "keys"), "--data", filepath.Join(t.TempDir(), "state")}, env)
			if code != want || (want == 0) != (asked.Load() > 1) {
				t.Errorf("ended with %d after %d questions: %s", code, asked.Load(), said.String())
			}
		})
	}
}
