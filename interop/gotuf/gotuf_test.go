package gotuf_test

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata/config"
	"github.com/theupdateframework/go-tuf/v2/metadata/updater"

	"example.com/bailiwick/internal/pypi/distmake"
)

type site struct {
	url, root, token string
	bin, dir         string
}

// serve builds the binary, creates a repository and runs the index on it.
func serve(t *testing.T) site {
	t.Helper()
	dir := t.TempDir()
	bin := filepath.Join(dir, "bailiwick")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", bin, "./cmd/bailiwick")
	build.Dir = "../.."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building: %v\n%s", err, out)
	}
	pass := filepath.Join(dir, "passphrase")
	if err := os.WriteFile(pass, []byte("correct horse battery staple\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(dir, "data")
	out, err := exec.CommandContext(t.Context(), bin, "init", "--data", data, "--offline-keys", filepath.Join(dir, "offline"), "--passphrase-file", pass, "--json").Output()
	if err != nil {
		t.Fatalf("init: %v", err)
	}
	var made struct {
		Root  string `json:"root_sha256"`
		Token string `json:"upload_token"`
	}
	if err := json.Unmarshal(out, &made); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), bin, "serve", "--data", data, "--listen", "127.0.0.1:0")
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		if url, ok := strings.CutPrefix(lines.Text(), "listening on "); ok {
			go func() { _, _ = io.Copy(io.Discard, stdout) }()
			return site{url: url, root: made.Root, token: made.Token, bin: bin, dir: dir}
		}
	}
	t.Fatal("the server ended before it was ready")
	return site{}
}

func (s site) upload(t *testing.T, name, version string) (filename string, data []byte) {
	t.Helper()
	made := distmake.Wheel(name, version, distmake.Options{})
	filename, data = made.Name, made.Data
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	sum := sha256.Sum256(data)
	for k, v := range map[string]string{
		":action": "file_upload", "protocol_version": "1", "metadata_version": "2.1", "name": name, "version": version,
		"filetype": "bdist_wheel", "pyversion": "py3", "sha256_digest": hex.EncodeToString(sum[:]),
	} {
		_ = form.WriteField(k, v)
	}
	part, err := form.CreateFormFile("content", filename)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = part.Write(data)
	_ = form.Close()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+"/legacy/", &body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", form.FormDataContentType())
	req.SetBasicAuth("__token__", s.token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("upload: %s", resp.Status)
	}
	return filename, data
}

func TestStockClientDownloadsAWheel(t *testing.T) {
	s := serve(t)
	filename, data := s.upload(t, "interop", "1.0")

	s.downloads(t, "interop", filename, data)
}

// downloads wants go-tuf to find and fetch a file of a project, and nothing that nobody uploaded.
func (s site) downloads(t *testing.T, project, filename string, data []byte) {
	t.Helper()
	resp, err := http.Get(s.url + "/metadata/1.root.json")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	root, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if sum := sha256.Sum256(root); hex.EncodeToString(sum[:]) != s.root {
		t.Fatalf("1.root.json has sha256 %x, init said %s", sum, s.root)
	}
	cfg, err := config.New(s.url+"/metadata", root)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cfg.LocalMetadataDir, cfg.LocalTargetsDir, cfg.RemoteTargetsURL = dir, dir, s.url+"/targets"
	up, err := updater.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := up.Refresh(); err != nil {
		t.Fatalf("refresh: %v", err)
	}
	bin := sha256.Sum256([]byte(project))
	path := fmt.Sprintf("%x/%s/%s", bin[:1], project, filename)
	info, err := up.GetTargetInfo(path)
	if err != nil {
		t.Fatalf("finding %s: %v", path, err)
	}
	_, got, err := up.DownloadTarget(info, filepath.Join(dir, filename), "")
	if err != nil {
		t.Fatalf("downloading %s: %v", path, err)
	}
	if !bytes.Equal(got, data) {
		t.Error("downloaded bytes differ from uploaded bytes")
	}
	if _, err := up.GetTargetInfo(path + ".nothing"); err == nil {
		t.Error("a file nobody uploaded was found")
	}
	if time.Until(up.GetTrustedMetadataSet().Timestamp.Signed.Expires) > 25*time.Hour {
		t.Error("the timestamp lives longer than a day")
	}
}

// TestStockClientDownloadsFromAClaimedProject: what maintainers signed is found along the same way.
func TestStockClientDownloadsFromAClaimedProject(t *testing.T) {
	s := serve(t)
	made := distmake.Wheel("signed-lib", "2.0", distmake.Options{})
	wheel := filepath.Join(s.dir, made.Name)
	if err := os.WriteFile(wheel, made.Data, 0o600); err != nil {
		t.Fatal(err)
	}
	env := append(os.Environ(), "HOME="+s.dir, "XDG_CONFIG_HOME="+s.dir+"/config", "XDG_STATE_HOME="+s.dir+"/state", "XDG_CACHE_HOME="+s.dir+"/cache",
		"BAILIWICK_TOKEN="+s.token, "BAILIWICK_PASSPHRASE_FILE="+filepath.Join(s.dir, "passphrase"))
	for _, args := range [][]string{
		{"trust", "add", s.url, "--root", "sha256:" + s.root},
		{"keys", "new", "--out", "alice.key"},
		{"publish", wheel, "--key", "file:alice.key", "--yes"},
	} {
		cmd := exec.CommandContext(t.Context(), s.bin, args...)
		cmd.Dir, cmd.Env = s.dir, env
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("bailiwick %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	s.downloads(t, "signed-lib", made.Name, made.Data)
}
