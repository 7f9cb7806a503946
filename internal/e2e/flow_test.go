package e2e_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.com/bailiwick/internal/pypi/distmake"
)

// wheel writes a small importable wheel and returns its path.
func wheel(t testing.TB, dir, name, version string, requires ...string) string {
	t.Helper()
	made := distmake.Wheel(name, version, distmake.Options{Requires: requires})
	return writeFile(t, dir, made.Name, made.Data)
}

// TestFlowTwineToPip is the main job: twine uploads, an unmodified pip installs what verifies.
func TestFlowTwineToPip(t *testing.T) {
	python := tool(t, "pip-new/bin/python")
	s := newSite(t).start(t).trust(t)
	dist := t.TempDir()
	s.twine(t, wheel(t, dist, "tiny-lib", "1.0"), wheel(t, dist, "Tiny.App", "2.1", "tiny-lib>=1.0")).wantCode(t, 0)

	venv := newVenv(t, "pip-new")
	r := s.user(t, "run", "--", python, "-m", "pip", "--python", venv+"/bin/python", "install", "tiny.app").wantCode(t, 0)
	r.wantText(t, "Successfully installed", "2 files verified", "2 unclaimed")
	command(t, dist, s.env(), venv+"/bin/python", "-c", "import tiny_app, tiny_lib; assert tiny_app.__version__ == '2.1'").wantCode(t, 0)

	why := s.user(t, "why", "tiny-lib").wantCode(t, 0)
	why.wantText(t, "root", "targets", "unclaimed", "project.tiny-lib", "tiny_lib-1.0-py3-none-any.whl")
	var explained map[string]any
	if err := json.Unmarshal([]byte(s.user(t, "why", "tiny_lib-1.0-py3-none-any.whl", "--json").wantCode(t, 0).stdout), &explained); err != nil {
		t.Errorf("why --json is not JSON: %v", err)
	}
	s.stop(t)

	// Without the server the answer is "unreachable", never "refused".
	s.user(t, "run", "--", python, "-m", "pip", "download", "--no-deps", "-d", t.TempDir(), "tiny-lib").wantCode(t, 5)
}

// TestFlowRequirementsFile covers `run -- python -m pip install -r requirements.txt`.
func TestFlowRequirementsFile(t *testing.T) {
	python := tool(t, "pip-new/bin/python")
	s := newSite(t).start(t).trust(t)
	dist := t.TempDir()
	path := wheel(t, dist, "pinned", "3.0")
	s.twine(t, path).wantCode(t, 0)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	req := writeFile(t, dist, "requirements.txt", fmt.Appendf(nil, "pinned==3.0 --hash=sha256:%x\n", sha256.Sum256(data)))
	target := t.TempDir()
	s.user(t, "run", "--", python, "-m", "pip", "install", "--require-hashes", "--target", target, "-r", req).wantCode(t, 0).wantText(t, "1 file verified")

	leak := writeFile(t, dist, "leak.txt", []byte("--index-url https://mirror.example.com/simple/\npinned\n"))
	s.user(t, "run", "--", python, "-m", "pip", "install", "--target", target, "-r", leak).wantText(t, "leak.txt", "--index-url")
}

// TestFlowPipWithoutJSON drives a pip that reads HTML pages only.
func TestFlowPipWithoutJSON(t *testing.T) {
	python := tool(t, "pip-old/bin/python")
	s := newSite(t).start(t).trust(t)
	s.twine(t, wheel(t, t.TempDir(), "oldstyle", "0.9")).wantCode(t, 0)
	s.user(t, "run", "--", python, "-m", "pip", "install", "--target", t.TempDir(), "oldstyle").wantCode(t, 0).wantText(t, "1 file verified")
	// And without verification, straight from the index.
	command(t, s.dir, s.env(), python, "-m", "pip", "install", "--target", t.TempDir(), "--index-url", s.url+"/simple/", "oldstyle").wantCode(t, 0)
}

// TestFlowPlainPip installs without verification, as any index allows.
func TestFlowPlainPip(t *testing.T) {
	python := tool(t, "pip-new/bin/python")
	s := newSite(t).start(t)
	s.twine(t, wheel(t, t.TempDir(), "plain", "1.0")).wantCode(t, 0)
	command(t, s.dir, s.env(), python, "-m", "pip", "install", "--target", t.TempDir(), "--index-url", s.url+"/simple/", "plain").wantCode(t, 0)
	_, header, body := get(t, s.url+"/simple/plain/", "Accept", "application/vnd.pypi.simple.v1+json")
	if got := header.Get("Content-Type"); got != "application/vnd.pypi.simple.v1+json" {
		t.Errorf("Content-Type %q", got)
	}
	var page struct {
		Meta struct {
			Version string `json:"api-version"`
		} `json:"meta"`
		Files []struct {
			Filename string            `json:"filename"`
			Hashes   map[string]string `json:"hashes"`
			Core     map[string]string `json:"core-metadata"`
			URL      string            `json:"url"`
			Size     int64             `json:"size"`
			Uploaded string            `json:"upload-time"`
		} `json:"files"`
	}
	if err := json.Unmarshal(body, &page); err != nil {
		t.Fatal(err)
	}
	if page.Meta.Version != "1.4" || len(page.Files) != 1 || page.Files[0].Size == 0 || page.Files[0].Uploaded == "" || page.Files[0].Hashes["sha256"] == "" {
		t.Fatalf("page: %s", body)
	}
	url := page.Files[0].URL
	if !strings.Contains(url, "://") {
		url = s.url + "/simple/plain/" + url
	}
	status, _, metadata := get(t, url+".metadata")
	if sum := sha256.Sum256(metadata); status != http.StatusOK || hex.EncodeToString(sum[:]) != page.Files[0].Core["sha256"] {
		t.Errorf(".metadata: status %d, sha256 %x, page says %v", status, sum, page.Files[0].Core)
	}
}

// TestFlowUv publishes and installs with uv.
func TestFlowUv(t *testing.T) {
	uv := tool(t, "clients/bin/uv")
	s := newSite(t).start(t).trust(t)
	dist := t.TempDir()
	path := wheel(t, dist, "fastlib", "1.2")
	command(t, s.dir, s.env("UV_PUBLISH_TOKEN="+s.token), uv, "publish", "--publish-url", s.url+"/legacy/", path).wantCode(t, 0)
	// The same bytes again are no error, other bytes are refused for ever.
	command(t, s.dir, s.env("UV_PUBLISH_TOKEN="+s.token), uv, "publish", "--publish-url", s.url+"/legacy/", path).wantCode(t, 0)
	other := distmake.Wheel("fastlib", "1.2", distmake.Options{Requires: []string{"something-else"}})
	if err := os.WriteFile(path, other.Data, 0o600); err != nil {
		t.Fatal(err)
	}
	again := command(t, s.dir, s.env("UV_PUBLISH_TOKEN="+s.token), uv, "publish", "--publish-url", s.url+"/legacy/", path)
	if again.code == 0 {
		t.Errorf("other bytes under a used name were accepted:\n%s", again.all())
	}
	again.wantText(t, "File already exists")

	venv := newVenv(t, "pip-new")
	s.user(t, "run", "--", uv, "pip", "install", "--no-cache", "--python", venv+"/bin/python", "fastlib").wantCode(t, 0).wantText(t, "1 file verified")
	command(t, dist, s.env(), venv+"/bin/python", "-c", "import fastlib").wantCode(t, 0)
	command(t, s.dir, s.env("PATH="+filepath.Dir(uv)+":"+os.Getenv("PATH")), bailiwick, "uv", "pip", "install", "--no-cache", "--python", venv+"/bin/python", "--reinstall", "fastlib").wantCode(t, 0)
}

// TestFlowUvCache: what uv installed without verification lies in its cache, and a lock file that names
// the address it came from must not get it from there.
func TestFlowUvCache(t *testing.T) {
	uv := tool(t, "clients/bin/uv")
	python := newVenv(t, "pip-new") + "/bin/python"
	s := newSite(t).start(t).trust(t)
	s.twine(t, wheel(t, t.TempDir(), "fastlib", "1.2")).wantCode(t, 0)
	project := t.TempDir()
	writeFile(t, project, "pyproject.toml", []byte(`[project]
name = "demo"
version = "1"
requires-python = ">=3.8"
dependencies = ["fastlib"]
[[tool.uv.index]]
url = "`+s.url+`/simple/"
default = true
`))
	command(t, project, s.env(), uv, "sync", "--python", python).wantCode(t, 0)
	if err := os.RemoveAll(filepath.Join(project, ".venv")); err != nil {
		t.Fatal(err)
	}
	command(t, project, s.env(), bailiwick, "run", "--", uv, "sync", "--frozen", "--python", python).wantCode(t, 3).wantText(t, "refused connections to 127.0.0.1")
}

// TestFlowTwineRefusals shows that twine's user reads why an upload was refused.
func TestFlowTwineRefusals(t *testing.T) {
	s := newSite(t).start(t)
	dist := t.TempDir()
	good := wheel(t, dist, "refusals", "1.0")
	s.twine(t, good).wantCode(t, 0)
	s.twine(t, good).wantCode(t, 0) // same bytes: no error

	other := distmake.Wheel("refusals", "1.0", distmake.Options{Requires: []string{"left-pad"}})
	if err := os.WriteFile(good, other.Data, 0o600); err != nil {
		t.Fatal(err)
	}
	s.twine(t, good).wantCode(t, 1).wantText(t, "File already exists")

	honest := distmake.Wheel("honest", "1.0", distmake.Options{})
	renamed := writeFile(t, dist, strings.Replace(honest.Name, "1.0", "2.0", 1), honest.Data)
	s.twine(t, renamed).wantCode(t, 1)

	s.token = "bwk_wrong"
	s.twine(t, wheel(t, dist, "refusals", "1.1")).wantCode(t, 1).wantText(t, "403")
	if status, _, _ := get(t, s.url+"/simple/honest/"); status != http.StatusNotFound {
		t.Errorf("a refused upload left a project page: status %d", status)
	}
}

// pythonTUF downloads a target with python-tuf, given the root file and the two base URLs only.
const pythonTUF = `
import sys, tempfile
from tuf.ngclient import Updater
root, url, target = sys.argv[1:]
with tempfile.TemporaryDirectory() as state, tempfile.TemporaryDirectory() as out:
    u = Updater(metadata_dir=state, metadata_base_url=url + "/metadata/", target_dir=out, target_base_url=url + "/targets/", bootstrap=open(root, "rb").read())
    u.refresh()
    info = u.get_targetinfo(target)
    if info is None:
        sys.exit("not found: " + target)
    print("downloaded", u.download_target(info))
    assert u.get_targetinfo(target + ".nothing") is None
`

// TestFlowPythonTUF installs with a stock TUF client.
func TestFlowPythonTUF(t *testing.T) {
	python := tool(t, "clients/bin/python")
	s := newSite(t).start(t)
	s.twine(t, wheel(t, t.TempDir(), "interop", "1.0")).wantCode(t, 0)
	_, _, root := get(t, s.url+"/metadata/1.root.json")
	if sum := sha256.Sum256(root); hex.EncodeToString(sum[:]) != s.root {
		t.Fatalf("1.root.json has sha256 %x, init said %s", sum, s.root)
	}
	rootFile := writeFile(t, s.dir, "root.json", root)
	bin := sha256.Sum256([]byte("interop"))
	target := fmt.Sprintf("%x/interop/interop-1.0-py3-none-any.whl", bin[:1])
	command(t, s.dir, s.env(), python, "-c", pythonTUF, rootFile, s.url, target).wantCode(t, 0).wantText(t, "downloaded")
}

// TestFlowRealPackages uploads a corpus of real distributions with twine, installs it verified into a fresh environment and imports it.
func TestFlowRealPackages(t *testing.T) {
	python := tool(t, "pip-new/bin/python")
	corpus := tool(t, "corpus")
	files, err := filepath.Glob(corpus + "/*.[wt]*") // wheels and tar.gz
	if err != nil || len(files) < 30 {
		t.Fatalf("the corpus holds %d distributions (%v); run .ci/tools", len(files), err)
	}
	s := newSite(t).start(t).trust(t)
	s.twine(t, files...).wantCode(t, 0)

	venv := newVenv(t, "pip-new")
	r := s.user(t, "run", "--", python, "-m", "pip", "--python", venv+"/bin/python", "install", "--only-binary", ":all:",
		"flask", "requests", "numpy", "pydantic", "httpx", "rich", "jsonschema", "sqlalchemy", "cryptography", "pyyaml", "python-dateutil", "attrs", "msgpack").wantCode(t, 0)
	r.wantText(t, "files verified")
	command(t, s.dir, s.env(), venv+"/bin/python", "-c",
		"import flask, requests, numpy, pydantic, httpx, rich, jsonschema, sqlalchemy, cryptography, yaml, dateutil, attr, msgpack; print(numpy.arange(3).sum(), pydantic.VERSION)").wantCode(t, 0).wantText(t, "3 2.10.3")

	// From source, with the build tools from the same index: build isolation goes through verification too.
	r = s.user(t, "run", "--", python, "-m", "pip", "--python", venv+"/bin/python", "install", "--no-binary", "six", "--force-reinstall", "six").wantCode(t, 0)
	r.wantText(t, "files verified")
}

// TestFlowMirror installs although the index itself serves other bytes than were signed: a mirror, no more trusted, has the right ones.
func TestFlowMirror(t *testing.T) {
	python := tool(t, "pip-new/bin/python")
	s := newSite(t).start(t)
	s.twine(t, wheel(t, t.TempDir(), "mirrored", "1.0")).wantCode(t, 0)
	target, err := url.Parse(s.url)
	if err != nil {
		t.Fatal(err)
	}
	honest := httputil.NewSingleHostReverseProxy(target)
	bad := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/targets/") {
			_, _ = w.Write(make([]byte, 900))
			return
		}
		honest.ServeHTTP(w, r)
	}))
	defer bad.Close()
	write := func(mirrors string) {
		config := fmt.Sprintf("[[index]]\nurl = %q\nroot = \"sha256:%s\"\n%s", bad.URL, s.root, mirrors)
		if err := os.WriteFile(filepath.Join(s.dir, "bailiwick.toml"), []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	install := func() result {
		return s.user(t, "run", "--", python, "-m", "pip", "install", "--target", t.TempDir(), "mirrored")
	}
	write("")
	install().wantCode(t, 3).wantText(t, "REFUSED mirrored-1.0-py3-none-any.whl")
	write(fmt.Sprintf("mirrors = [%q]\n", s.url))
	install().wantCode(t, 0).wantText(t, "1 file verified")
}
