package gotuf_test

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
	"example.com/bailiwick/tuf/repo"
)

// operators run the commands of a repository's operators, whose keys and files lie in the site's folder.
type operators struct {
	site
	t    *testing.T
	sign string // bailiwick-sign
	root []byte // version 1, which every client pins
}

func operate(t *testing.T) *operators {
	t.Helper()
	o := &operators{site: serve(t), t: t}
	o.sign = filepath.Join(o.dir, "bailiwick-sign")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", o.sign, "./cmd/bailiwick-sign")
	build.Dir = "../.."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building: %v\n%s", err, out)
	}
	o.root = o.get("/metadata/1.root.json")
	if sum := sha256.Sum256(o.root); hex.EncodeToString(sum[:]) != o.site.root {
		t.Fatalf("1.root.json has sha256 %x, init said %s", sum, o.site.root)
	}
	return o
}

func (o *operators) get(path string) []byte {
	o.t.Helper()
	resp, err := http.Get(o.url + path)
	if err != nil {
		o.t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		o.t.Fatalf("%s: %s, %v", path, resp.Status, err)
	}
	return data
}

// run runs a program in the site's folder.
func (o *operators) run(program string, args ...string) string {
	o.t.Helper()
	cmd := exec.CommandContext(o.t.Context(), program, args...)
	cmd.Dir = o.dir
	cmd.Env = append(os.Environ(), "HOME="+o.dir, "XDG_CONFIG_HOME="+o.dir+"/config", "XDG_STATE_HOME="+o.dir+"/state",
		"BAILIWICK_PASSPHRASE_FILE="+filepath.Join(o.dir, "passphrase"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		o.t.Fatalf("%s %s: %v\n%s", filepath.Base(program), strings.Join(args, " "), err, out)
	}
	return string(out)
}

// rotate changes keys: what the arguments of bailiwick rotate say, signed with those keys.
func (o *operators) rotate(signers []string, args ...string) {
	o.t.Helper()
	request := strings.Join(args[:1], "-") + ".request"
	o.run(o.bin, append(append([]string{"rotate"}, args...), "--data", "data", "--out", request)...)
	sign := []string{request, "--out", request + ".signed", "--yes"}
	for _, k := range signers {
		sign = append(sign, "--key", k)
	}
	o.run(o.sign, sign...)
	if out := o.run(o.bin, "request", "import", request+".signed", "--data", "data"); !strings.Contains(out, "published") {
		o.t.Fatalf("import: %s", out)
	}
}

// swap gives an offline role another key.
func (o *operators) swap(role, old string, signers ...string) {
	o.t.Helper()
	next := "next-" + role + ".key"
	o.run(o.bin, "keys", "new", "--out", next)
	var shown struct {
		ID string `json:"keyid"`
	}
	if err := json.Unmarshal([]byte(o.run(o.bin, "keys", "show", old, "--json")), &shown); err != nil || shown.ID == "" {
		o.t.Fatalf("reading the id of %s: %v", old, err)
	}
	o.rotate(append(signers, next), role, "--add", next, "--remove", shown.ID[:16], "--yes")
}

// session is a client that keeps what it knows in a folder of its own.
type session struct {
	name   string
	look   look
	folder string
}

// clients are ours and the two stock ones, each as if it were new.
func (o *operators) clients(py *python, when string) []session {
	o.t.Helper()
	var all []session
	for name, l := range map[string]look{"ours": ours, "go-tuf": goTUF, "python-tuf": py.look} {
		folder := filepath.Join(o.dir, when, name)
		if err := os.MkdirAll(folder, 0o700); err != nil {
			o.t.Fatal(err)
		}
		all = append(all, session{name + ", " + when, l, folder})
	}
	return all
}

// tool uploads one more version of a project and returns its target path and content.
func (o *operators) tool(version string) (path, content string) {
	o.t.Helper()
	name, data := o.upload(o.t, "tool", version)
	bin := sha256.Sum256([]byte("tool"))
	return fmt.Sprintf("%x/tool/%s", bin[:1], name), string(data)
}

func (o *operators) place() place { return place{o.url, o.root} }

func wantAll(t *testing.T, all []session, p place, path string, want verdict) {
	t.Helper()
	for _, c := range all {
		if v := c.look(t, c.folder, p, path); v != want {
			t.Errorf("%s: %s %s, want %s", c.name, v.what, v.detail, want.what)
		}
	}
}

// TestStockClientsFollowRotations: every role gets other keys in turn. A client that pinned root version 1 and looks after each
// change, one that stayed away in between, and one that begins at the end all find what was uploaded last.
func TestStockClientsFollowRotations(t *testing.T) {
	py := startPython(t)
	o := operate(t)
	path, content := o.tool("1.0")
	always, late := o.clients(py, "always"), o.clients(py, "late")
	wantAll(t, always, o.place(), path, got(content))
	wantAll(t, late, o.place(), path, got(content))
	for i, change := range []func(){
		func() { o.swap("root", "offline/root.key", "offline/root.key") },
		func() { o.swap("targets", "offline/targets.key", "next-root.key") },
		func() { o.swap("claimed", "offline/claimed.key", "next-targets.key") },
		func() { o.swap("unclaimed", "offline/unclaimed.key", "next-claimed.key") },
		func() {
			o.rotate([]string{"next-root.key", "next-unclaimed.key"}, "timestamp", "snapshot", "registry")
		},
	} {
		change()
		path, content = o.tool(fmt.Sprintf("1.%d", i+1))
		wantAll(t, always, o.place(), path, got(content))
	}
	wantAll(t, late, o.place(), path, got(content))
	wantAll(t, o.clients(py, "new"), o.place(), path, got(content))
}

// TestR64StockClientsRecoverFromFastForward: a thief of the online keys pushes timestamp and snapshot to the greatest version that can
// be written. Clients that saw that refuse everything honest, until both roles get other keys.
func TestR64StockClientsRecoverFromFastForward(t *testing.T) {
	py := startPython(t)
	o := operate(t)
	path, content := o.tool("1.0")
	victims := o.clients(py, "victim")
	wantAll(t, victims, o.place(), path, got(content))
	thief := o.fastForward(1<<53 - 1)
	wantAll(t, victims, place{thief, o.root}, path, got(content))
	path, content = o.tool("1.1")
	for _, c := range victims {
		if v := c.look(t, c.folder, o.place(), path); v.what != refused {
			t.Errorf("%s went back to older versions although no key changed: %s %s", c.name, v.what, v.detail)
		}
	}
	o.rotate([]string{"offline/root.key"}, "timestamp", "snapshot")
	wantAll(t, victims, o.place(), path, got(content))
	path, content = o.tool("1.2")
	wantAll(t, victims, o.place(), path, got(content))
}

// fastForward serves the repository with a timestamp and a snapshot of that version, signed with the stolen keys.
func (o *operators) fastForward(version int64) string {
	o.t.Helper()
	now := time.Now().UTC()
	stolen := func(role tuf.RoleName) (key.Signer, repo.Issue) {
		k := o.steal(role)
		a, err := tuf.NewAuthority(1, k.Public())
		if err != nil {
			o.t.Fatal(err)
		}
		return k, repo.Issue{Role: role, Version: version, Expires: now.Add(time.Hour), Now: now, Authority: a}
	}
	signer, issue := stolen(tuf.RoleSnapshot)
	u, err := tuf.ParseSnapshot(o.get(fmt.Sprintf("/metadata/%d.snapshot.json", o.newest())), nil)
	if err != nil {
		o.t.Fatal(err)
	}
	honest, err := u.Verify(issue.Authority)
	if err != nil {
		o.t.Fatal(err)
	}
	roles := map[tuf.RoleName]int64{}
	for role, meta := range honest.All() {
		roles[role] = meta.Version
	}
	draft, err := repo.NewSnapshot(roles, issue)
	if err != nil {
		o.t.Fatal(err)
	}
	snapshot, err := repo.Sign(o.t.Context(), draft, signer)
	if err != nil {
		o.t.Fatal(err)
	}
	signer, issue = stolen(tuf.RoleTimestamp)
	if draft, err = repo.NewTimestamp(repo.MetaOf(version, snapshot), issue); err != nil {
		o.t.Fatal(err)
	}
	timestamp, err := repo.Sign(o.t.Context(), draft, signer)
	if err != nil {
		o.t.Fatal(err)
	}
	return o.behind(map[string][]byte{"/metadata/timestamp.json": timestamp, fmt.Sprintf("/metadata/%d.snapshot.json", version): snapshot})
}

// steal reads an online key from the server's folder.
func (o *operators) steal(role tuf.RoleName) key.Signer {
	o.t.Helper()
	data, err := os.ReadFile(filepath.Join(o.dir, "data", "keys", string(role)+".key"))
	if err != nil {
		o.t.Fatal(err)
	}
	block, _ := pem.Decode(data)
	if block == nil {
		o.t.Fatalf("the key file of %s holds no key", role)
	}
	private, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		o.t.Fatal(err)
	}
	s, err := key.NewSigner(private.(crypto.Signer))
	if err != nil {
		o.t.Fatal(err)
	}
	return s
}

// newest is the version of the snapshot that the timestamp names.
func (o *operators) newest() int64 {
	o.t.Helper()
	var timestamp struct {
		Signed struct {
			Meta map[string]struct {
				Version int64 `json:"version"`
			} `json:"meta"`
		} `json:"signed"`
	}
	if err := json.Unmarshal(o.get("/metadata/timestamp.json"), &timestamp); err != nil {
		o.t.Fatal(err)
	}
	return timestamp.Signed.Meta["snapshot.json"].Version
}

// behind serves some files of one's own, and the rest of the site.
func (o *operators) behind(files map[string][]byte) string {
	o.t.Helper()
	to, err := url.Parse(o.url)
	if err != nil {
		o.t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(to)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if data, ok := files[req.URL.Path]; ok {
			http.ServeContent(w, req, "", time.Time{}, bytes.NewReader(data))
			return
		}
		proxy.ServeHTTP(w, req)
	}))
	o.t.Cleanup(server.Close)
	return server.URL
}
