package e2e_test

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.com/bailiwick/internal/pypi/distmake"
)

// signing is the isolated signer of a site in custody strict.
type signing struct {
	cmd    *exec.Cmd
	log    *syncBuffer
	exited chan struct{}
}

// newStrictSite creates a repository whose registry and snapshot keys are in the folder "signer" beside it.
func newStrictSite(t testing.TB) *site {
	t.Helper()
	keys := filepath.Join(t.TempDir(), "signer")
	s := newSite(t, "--custody", "strict", "--signer-keys", keys)
	s.signerKeys = keys
	return s
}

// sign runs the signer until stop, kill or the end of the test. It returns when the signer is connected.
func (s *site) sign(t testing.TB) *signing {
	t.Helper()
	g := &signing{log: &syncBuffer{}, exited: make(chan struct{})}
	g.cmd = exec.Command(bailiwick, "signer", "--index", s.url, "--keys", s.signerKeys, "--data", s.signerKeys+"-state")
	g.cmd.Env, g.cmd.Dir, g.cmd.Stderr = s.env(), s.dir, g.log
	stdout, err := g.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := g.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said := make(chan string, 1)
	go func() {
		defer close(g.exited)
		lines := bufio.NewScanner(stdout)
		for lines.Scan() {
			said <- lines.Text()
		}
		_ = g.cmd.Wait()
	}()
	t.Cleanup(g.kill)
	select {
	case line := <-said:
		if line != "connected to "+s.url {
			t.Fatalf("the signer printed %q", line)
		}
	case <-g.exited:
		t.Fatalf("the signer ended:\n%s", g.log)
	case <-time.After(time.Minute):
		t.Fatalf("the signer was not connected after a minute:\n%s", g.log)
	}
	return g
}

func (g *signing) kill() {
	_ = g.cmd.Process.Kill()
	<-g.exited
}

// TestR3FlowStrict: twine and pip, unmodified, and an index whose server holds the timestamp key alone. While its
// signer is away, uploads are taken and invisible; when it is back they are installable.
func TestR3FlowStrict(t *testing.T) {
	python := tool(t, "pip-new/bin/python")
	s := newStrictSite(t).start(t).trust(t)
	signer := s.sign(t)
	dist := t.TempDir()
	s.twine(t, wheel(t, dist, "tiny-lib", "1.0")).wantCode(t, 0)
	install := func(what string, want int) result {
		t.Helper()
		venv := newVenv(t, "pip-new")
		return s.user(t, "run", "--", python, "-m", "pip", "--python", venv+"/bin/python", "install", "--no-deps", what).wantCode(t, want)
	}
	install("tiny-lib==1.0", 0).wantText(t, "Successfully installed tiny-lib-1.0", "1 file verified: 1 unclaimed")

	signer.kill()
	s.twine(t, wheel(t, dist, "tiny-lib", "2.0")).wantCode(t, 0).wantText(t, "202 Accepted", "staged: tiny_lib-2.0-py3-none-any.whl is checked and kept")
	install("tiny-lib==2.0", 1)
	s.sign(t)
	deadline := time.Now().Add(time.Minute)
	for {
		if code, _, page := get(t, s.url+"/simple/tiny-lib/"); code == http.StatusOK && strings.Contains(string(page), "tiny_lib-2.0") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("what waited was not published:\n%s", s.log)
		}
		time.Sleep(50 * time.Millisecond)
	}
	install("tiny-lib==2.0", 0).wantText(t, "Successfully installed tiny-lib-2.0")
}

// TestR3SignerEndsWell: SIGTERM ends the signer at once, with nothing lost.
func TestR3SignerEndsWell(t *testing.T) {
	s := newStrictSite(t).start(t)
	g := s.sign(t)
	uploadNow(t, s, 1)
	if err := g.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-g.exited:
	case <-time.After(10 * time.Second):
		t.Fatalf("SIGTERM did not end the signer:\n%s", g.log)
	}
	if code := g.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("after SIGTERM the signer ended with %d:\n%s", code, g.log)
	}
	s.sign(t)
	uploadNow(t, s, 2)
	s.stop(t)
}

// uploadNow uploads a wheel and wants it to be published with the answer.
func uploadNow(t testing.TB, s *site, n int) {
	t.Helper()
	f := distmake.Wheel("measured", fmt.Sprintf("%d.0", n), distmake.Options{})
	sum := sha256.Sum256(f.Data)
	var b bytes.Buffer
	form := multipart.NewWriter(&b)
	for _, field := range [][2]string{
		{":action", "file_upload"},
		{"protocol_version", "1"},
		{"metadata_version", "2.1"},
		{"name", "measured"},
		{"version", fmt.Sprintf("%d.0", n)},
		{"filetype", "bdist_wheel"},
		{"pyversion", "py3"},
		{"sha256_digest", hex.EncodeToString(sum[:])},
	} {
		if err := form.WriteField(field[0], field[1]); err != nil {
			t.Fatal(err)
		}
	}
	part, err := form.CreateFormFile("content", f.Name)
	if err == nil {
		_, err = part.Write(f.Data)
	}
	if err == nil {
		err = form.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+"/legacy/", &b)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", form.FormDataContentType())
	r.SetBasicAuth("__token__", s.token)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("upload %d: %s %s\n%s", n, resp.Status, body, s.log)
	}
}
