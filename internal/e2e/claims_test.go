package e2e_test

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"example.com/bailiwick/internal/pypi/distmake"
	"example.com/bailiwick/internal/testrepo"
)

// maintainer runs bailiwick as a maintainer: with the upload token, the passphrase, and a yes to what is asked.
func (s *site) maintainer(t testing.TB, args ...string) result {
	t.Helper()
	pass := filepath.Join(s.dir, "passphrase")
	if args[0] != "keys" {
		args = append(args, "--yes")
	}
	return command(t, s.dir, s.env("BAILIWICK_TOKEN="+s.token, "BAILIWICK_PASSPHRASE_FILE="+pass), bailiwick, args...)
}

// keyFile makes a maintainer's key.
func (s *site) keyFile(t testing.TB, name string) string {
	t.Helper()
	path := filepath.Join(s.dir, name+".key")
	s.maintainer(t, "keys", "new", "--out", path).wantCode(t, 0)
	return path
}

func (s *site) listed(t testing.TB, project, filename string) bool {
	t.Helper()
	_, _, body := get(t, s.url+"/simple/"+project+"/", "Accept", "application/vnd.pypi.simple.v1+json")
	return strings.Contains(string(body), `"`+filename+`"`)
}

// uv uploads files.
func (s *site) uv(t testing.TB, args ...string) result {
	t.Helper()
	all := append([]string{"publish", "--publish-url", s.url + "/legacy/"}, args...)
	return command(t, s.dir, s.env("UV_PUBLISH_TOKEN="+s.token), tool(t, "clients/bin/uv"), all...)
}

// TestStagingWithTwineAndUv holds what docs/decisions/0011 says of both: 202 is success to them, twine shows the line
// when it is asked to, uv the status; and nothing is installable before its maintainers have signed.
func TestStagingWithTwineAndUv(t *testing.T) {
	tool(t, "clients/bin/twine")
	tool(t, "clients/bin/uv")
	s := newSite(t).start(t).trust(t)
	dist := t.TempDir()
	alice := s.keyFile(t, "alice")
	s.maintainer(t, "publish", wheel(t, dist, "tiny-lib", "1.0"), "--key", alice).wantCode(t, 0).wantText(t, "published. tiny-lib 1.0 is installable")

	r := s.twine(t, wheel(t, dist, "tiny-lib", "1.1")).wantCode(t, 0)
	if said := strings.Join(strings.Fields(r.all()), " "); !strings.Contains(said, "202 Accepted") ||
		!strings.Contains(said, "staged: tiny_lib-1.1-py3-none-any.whl waits for its maintainers' signature") {
		t.Errorf("twine --verbose shows: %s", said)
	}
	s.uv(t, "-v", wheel(t, dist, "tiny-lib", "1.2")).wantCode(t, 0).wantText(t, "202 Accepted")
	s.uv(t, wheel(t, dist, "tiny-lib", "1.2")).wantCode(t, 0) // the same again
	for _, v := range []string{"1.1", "1.2"} {
		if s.listed(t, "tiny-lib", "tiny_lib-"+v+"-py3-none-any.whl") {
			t.Errorf("%s is listed before it is signed", v)
		}
	}
	s.maintainer(t, "sign", "tiny-lib", "--key", alice).wantCode(t, 0).wantText(t, "tiny-lib 1.1, 1.2 is installable")
	for _, v := range []string{"1.0", "1.1", "1.2"} {
		if !s.listed(t, "tiny-lib", "tiny_lib-"+v+"-py3-none-any.whl") {
			t.Errorf("%s is not listed", v)
		}
	}
}

// TestClaimedProject is R13, R21 and R25 with real tools: two maintainers, a pipeline's key for wheels, twine beside them, pip and
// a stock TUF client installing.
func TestClaimedProject(t *testing.T) {
	python := tool(t, "pip-new/bin/python")
	stock := tool(t, "clients/bin/python")
	s := newSite(t).start(t).trust(t)
	dist := t.TempDir()
	s.twine(t, wheel(t, dist, "tiny-lib", "0.9")).wantCode(t, 0)
	alice, bob, ci := s.keyFile(t, "alice"), s.keyFile(t, "bob"), s.keyFile(t, "ci")

	s.maintainer(t, "claim", "tiny-lib", "--key", alice, "--key", bob, "--threshold", "2").wantCode(t, 0)
	s.maintainer(t, "team", "tiny-lib", "delegate", "ci", "--to", ci, "--key", alice, "--key", bob, "--key", ci).wantCode(t, 0)
	s.maintainer(t, "publish", wheel(t, dist, "tiny-lib", "1.0"), "--key", ci).wantCode(t, 0)
	sdist := distmake.Sdist("tiny-lib", "1.0", distmake.Options{})
	s.twine(t, writeFile(t, dist, sdist.Name, sdist.Data)).wantCode(t, 0)
	s.maintainer(t, "sign", "tiny-lib", "--key", alice).wantCode(t, 0).wantText(t, "waits as request")
	s.maintainer(t, "sign", "tiny-lib", "--key", bob).wantCode(t, 0).wantText(t, "tiny-lib 1.0 is installable")

	venv := newVenv(t, "pip-new")
	s.user(t, "run", "--", python, "-m", "pip", "--python", venv+"/bin/python", "install", "tiny-lib").wantCode(t, 0).
		wantText(t, "Successfully installed", "1 file verified: 1 recently claimed")
	command(t, dist, s.env(), venv+"/bin/python", "-c", "import tiny_lib; assert tiny_lib.__version__ == '1.0'").wantCode(t, 0)

	_, _, root := get(t, s.url+"/metadata/1.root.json")
	rootFile := writeFile(t, s.dir, "root.json", root)
	bin := sha256.Sum256([]byte("tiny-lib"))
	for _, name := range []string{"tiny_lib-0.9-py3-none-any.whl", "tiny_lib-1.0-py3-none-any.whl", "tiny_lib-1.0.tar.gz"} {
		target := fmt.Sprintf("%x/tiny-lib/%s", bin[:1], name)
		command(t, s.dir, s.env(), stock, "-c", pythonTUF, rootFile, s.url, target).wantCode(t, 0).wantText(t, "downloaded")
	}

	// The pipeline's key is stolen: what it alone signed goes.
	s.maintainer(t, "revoke", "tiny-lib", "--key", ci, "--stolen", "--sign-with", alice, "--sign-with", bob).wantCode(t, 0)
	if s.listed(t, "tiny-lib", "tiny_lib-1.0-py3-none-any.whl") || !s.listed(t, "tiny-lib", "tiny_lib-1.0.tar.gz") {
		t.Error("the wheel that only the stolen key signed is listed, or what the maintainers signed is not")
	}
	command(t, s.dir, s.env(), stock, "-c", pythonTUF, rootFile, s.url, fmt.Sprintf("%x/tiny-lib/tiny_lib-1.0-py3-none-any.whl", bin[:1])).
		wantCode(t, 1).wantText(t, "not found")
}

// TestForgedClaim: a stock TUF client and pip through bailiwick install what the maintainers of a claimed project signed, and
// nothing that another key signed in their place, as whoever holds every online key could.
func TestForgedClaim(t *testing.T) {
	stock := tool(t, "clients/bin/python")
	python := tool(t, "pip-new/bin/python")
	made := distmake.Wheel("flask", "1.0", distmake.Options{})
	custom := map[string]any{"version": "1.0"}
	r := testrepo.New(t, testrepo.Options{})
	r.Edit["targets"] = func(signed map[string]any) { signed["x-bailiwick-bins"] = 16 }
	r.Bailiwick(testrepo.Project{Name: "flask", Claimed: true})
	r.AddTargetCustom("project.flask", testrepo.ProjectPath("flask", made.Name), made.Data, custom)
	r.Publish()
	front := httptest.NewServer(r.Handler())
	defer front.Close()
	home := t.TempDir()
	rootFile := writeFile(t, home, "root.json", r.Root(1))
	env := cleanEnv(home)
	fetch := func() result {
		return command(t, home, env, stock, "-c", pythonTUF, rootFile, front.URL, testrepo.ProjectPath("flask", made.Name))
	}
	pip := func() result {
		return command(t, home, env, bailiwick, "run", "--", python, "-m", "pip", "download", "--no-cache-dir", "--no-deps", "-d", t.TempDir(), "flask")
	}
	command(t, home, env, bailiwick, "trust", "add", front.URL, "--root", rootFile).wantCode(t, 0)
	fetch().wantCode(t, 0).wantText(t, "downloaded")
	pip().wantCode(t, 0).wantText(t, "1 claimed")

	evil := distmake.Wheel("flask", "1.0", distmake.Options{Summary: "evil"})
	r.AddTargetCustom("project.flask", testrepo.ProjectPath("flask", made.Name), evil.Data, custom)
	r.SignWith["project.flask"] = []testrepo.Key{testrepo.NewKey("thief")}
	r.Publish()
	fetch().wantCode(t, 1).wantText(t, "UnsignedMetadataError")
	pip().wantCode(t, 3).wantText(t, "project.flask")
}

// TestWhyOfAClaim: the chain of a claimed project's file names its maintainers.
func TestWhyOfAClaim(t *testing.T) {
	s := newSite(t).start(t).trust(t)
	alice := s.keyFile(t, "alice")
	s.maintainer(t, "publish", wheel(t, t.TempDir(), "tiny-lib", "1.0"), "--key", alice).wantCode(t, 0)
	var shown struct {
		KeyID string `json:"keyid"`
	}
	if err := json.Unmarshal([]byte(s.maintainer(t, "keys", "show", "--json", alice).wantCode(t, 0).stdout), &shown); err != nil {
		t.Fatal(err)
	}
	s.user(t, "why", "tiny-lib", "--json").wantCode(t, 0).wantText(t, shown.KeyID, `"recently claimed"`)
}
