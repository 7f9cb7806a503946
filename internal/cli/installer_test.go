package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/bailiwick/internal/cli"
	"example.com/bailiwick/internal/testrepo"
)

// fetchVariable makes this program the installer of a test: the project that it installs.
const fetchVariable = "TEST_FETCH"

// fetch does what an installer does with the index that it is given, and returns its exit code.
func fetch(name string) int {
	index := os.Getenv("PIP_INDEX_URL")
	page, err := get(index + name + "/")
	if err != nil {
		fmt.Println("no page:", err)
		return 1
	}
	for _, m := range regexp.MustCompile(`href="\.\./\.\./([^"#]*)`).FindAllStringSubmatch(page, -1) {
		if _, err := get(strings.TrimSuffix(index, "simple/") + m[1]); err != nil {
			fmt.Println("not installed:", err)
			return 1
		}
		fmt.Println("installed", m[1][strings.LastIndexByte(m[1], '/')+1:])
	}
	return 0
}

// get returns a body, or an error with the status and what the server says.
func get(url string) (string, error) {
	resp, err := http.Get(url)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", err
	}
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s\n%s", resp.Status, body)
	}
	return string(body), nil
}

// home is an installing user, and a repository that the test makes and changes.
type home struct {
	*testrepo.Repo
	t   *testing.T
	dir string
	url string

	mu  sync.Mutex
	now time.Time
}

func newHome(t *testing.T) *home {
	t.Helper()
	r := testrepo.New(t, testrepo.Options{})
	r.Edit["targets"] = func(signed map[string]any) { signed["x-bailiwick-bins"] = 16 }
	r.Touch("targets")
	r.Life["timestamp"] = 24 * time.Hour
	r.Bailiwick(testrepo.Project{Name: "flask", Claimed: true, Holders: testrepo.Some("alice", 1, 2)}, testrepo.Project{Name: "corp-tool"})
	h := &home{Repo: r, t: t, dir: t.TempDir(), now: r.Clock}
	h.file("flask", "flask-3.1.0.tar.gz", "3.1.0")
	h.file("corp-tool", "corp_tool-1.0.tar.gz", "1.0")
	r.Publish()
	server := httptest.NewServer(r.Handler())
	t.Cleanup(server.Close)
	h.url = server.URL
	h.write("root.json", r.Root(1))
	h.run("trust", "add", h.url, "--root", h.path("root.json")).code(t, 0)
	return h
}

func (h *home) file(project, name, version string) {
	h.AddTargetCustom("project."+project, testrepo.ProjectPath(project, name), []byte(name), map[string]any{"version": version})
}

func (h *home) path(name string) string { return filepath.Join(h.dir, name) }

func (h *home) write(name string, data []byte) {
	h.t.Helper()
	if err := os.MkdirAll(filepath.Dir(h.path(name)), 0o700); err != nil {
		h.t.Fatal(err)
	}
	if err := os.WriteFile(h.path(name), data, 0o600); err != nil {
		h.t.Fatal(err)
	}
}

// later moves both clocks, and publishes.
func (h *home) later(d time.Duration) {
	h.Advance(d)
	h.mu.Lock()
	h.now = h.now.Add(d)
	h.mu.Unlock()
	h.Publish()
}

func (h *home) run(args ...string) said { return h.runFor("", args...) }

// install runs fetch behind the given options of bailiwick run.
func (h *home) install(project string, options ...string) said {
	self, err := os.Executable()
	if err != nil {
		h.t.Fatal(err)
	}
	return h.runFor(project, append(append([]string{"run"}, options...), "--", self)...)
}

func (h *home) runFor(fetch string, args ...string) said {
	h.t.Helper()
	var out, errs bytes.Buffer
	values := map[string]string{"HOME": h.dir, "PATH": os.Getenv("PATH"), fetchVariable: fetch}
	env := &cli.Env{
		Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs,
		Getenv: func(name string) string { return values[name] },
		Environ: func() (list []string) {
			for name, value := range values {
				list = append(list, name+"="+value)
			}
			return list
		},
		Now: func() time.Time { h.mu.Lock(); defer h.mu.Unlock(); return h.now },
	}
	ctx, cancel := context.WithTimeout(h.t.Context(), time.Minute)
	defer cancel()
	code := cli.Main(ctx, args, env)
	return said{args: args, exit: code, stdout: out.String(), stderr: errs.String()}
}

// state is a file in the state folder of the pinned root.
func (h *home) state(name string) string {
	h.t.Helper()
	found, err := filepath.Glob(filepath.Join(h.dir, ".local", "state", "bailiwick", "*", name))
	if err != nil || len(found) != 1 {
		h.t.Fatalf("%s: %q, %v", name, found, err)
	}
	return found[0]
}

// unclaim gives flask to the registry.
func (h *home) unclaim() {
	h.Undelegate("claimed-"+testrepo.Bin("flask"), "project.flask")
	h.AddProject(testrepo.Project{Name: "flask"})
	h.Touch("project.flask")
}

// TestInstallerRemembers is the story of a claimed project that is not claimed any more: refused, shown,
// accepted for one run, kept in the journal.
func TestInstallerRemembers(t *testing.T) {
	h := newHome(t)
	h.install("flask").code(t, 0).says(t, "installed flask-3.1.0.tar.gz", "1 file verified: 1 claimed (snapshot ")
	h.run("why", "flask").code(t, 0).says(t, "seen before", "claimed, last on 2030-01-31")

	h.later(72 * time.Hour)
	h.unclaim()
	h.Publish()
	refused := h.install("flask").code(t, 3)
	refused.says(t,
		"not installed: 403 bailiwick: flask-3.1.0.tar.gz refused: unclaimed, but it was claimed when seen on 2030-01-31 (bailiwick why ",
		"bailiwick: REFUSED flask-3.1.0.tar.gz\n  unclaimed, but it was claimed when seen on 2030-01-31\n",
		"next: ask the operators of "+h.url+" why; if you know the reason: bailiwick run --accept-lower-assurance-than-seen-for flask -- COMMAND",
	)
	h.run("why", "flask").code(t, 3).says(t, "bailiwick: REFUSED flask\n", "unclaimed: the registry vouches")
	var x struct {
		Remembered struct{ Assurance, Date string }
		Problem    struct{ Code string }
	}
	if err := json.Unmarshal([]byte(h.run("why", "flask", "--json").code(t, 3).stdout), &x); err != nil || x.Remembered.Assurance != "claimed" || x.Problem.Code != "lowered" {
		t.Errorf("why --json: %+v, %v", x, err)
	}

	const option = "--accept-lower-assurance-than-seen-for"
	accepted := h.install("flask", option, "Flask").code(t, 0)
	accepted.says(t, "installed flask-3.1.0.tar.gz", "1 file verified: 1 unclaimed", "; flask ACCEPTED as unclaimed, but it was claimed when seen on 2030-01-31 (bailiwick why ")
	id := regexp.MustCompile(`ACCEPTED .*bailiwick why ([0-9a-f]{6})`).FindStringSubmatch(accepted.stderr)[1]
	h.run("why", id).code(t, 0).says(t, "ACCEPTED flask\n", "Accepted on the command line, on 2030-02-03 12:00:00.")

	// It was for one run, and for one project; it is no setting.
	h.install("flask").code(t, 3)
	h.install("flask", option+"=other").code(t, 3)
	h.run("pip", option, "flask", "install", "flask") // pip's own mistake to report
	h.write(".config/bailiwick/config.toml", append(h.read(".config/bailiwick/config.toml"), "accept-lower-assurance-than-seen-for = [\"flask\"]\n"...))
	h.install("flask").code(t, 1).says(t, "there is no setting")
}

func (h *home) read(name string) []byte {
	h.t.Helper()
	data, err := os.ReadFile(h.path(name))
	if err != nil {
		h.t.Fatal(err)
	}
	return data
}

// TestRunOptions: the override is long, for one project by its name, and for bailiwick run alone.
func TestRunOptions(t *testing.T) {
	h := newHome(t)
	for _, tt := range []struct {
		args []string
		says string
	}{
		{[]string{"run", "--accept-lower-assurance-than-seen-for"}, "needs the name of a project"},
		{[]string{"run", "--accept-lower-assurance-than-seen-for", "*", "--", "true"}, "takes one project by its name, no pattern"},
		{[]string{"run", "--accept-lower-assurance-than-seen-for=", "--", "true"}, "takes one project by its name, no pattern"},
		{[]string{"run", "--accept-lower-assurance-than-seen-for", "flask"}, "run needs a command"},
		{[]string{"run", "--accept-lower", "flask", "--", "true"}, "run has no option --accept-lower;"},
	} {
		h.run(tt.args...).code(t, 2).says(t, tt.says)
	}
	h.run("run", "--accept-lower-assurance-than-seen-for", "flask", "--accept-lower-assurance-than-seen-for=corp-tool", "true").code(t, 0)
}

// TestInstallerTellsNewKeys once.
func TestInstallerTellsNewKeys(t *testing.T) {
	h := newHome(t)
	h.install("flask").code(t, 0)
	h.later(48 * time.Hour)
	bin := "claimed-" + testrepo.Bin("flask")
	h.Undelegate(bin, "project.flask")
	h.AddProject(testrepo.Project{Name: "flask", Claimed: true, Holders: testrepo.One("bob")})
	h.Touch("project.flask")
	h.Publish()
	h.run("why", "flask").code(t, 0).says(t, "claimed, last on 2030-01-31 (flask: keys changed since 2030-01-31)")
	h.install("flask").code(t, 0).says(t, "; flask: keys changed since 2030-01-31\n")
	if s := h.install("flask").code(t, 0); strings.Contains(s.stderr, "keys changed") {
		t.Errorf("told twice: %s", s.stderr)
	}
	// Signed by yesterday's key, which is known from the memory.
	h.SignOnly("project.flask", testrepo.Keys("alice", 1)...)
	if err := os.RemoveAll(h.state("metadata")); err != nil {
		t.Fatal(err)
	}
	h.install("flask").code(t, 3).says(t, "is signed by a key that was revoked or replaced since 2030-01-31",
		"flask is claimed: only the keys of its maintainers count, and nobody else was asked.")
}

// TestDamagedAssuranceFile: what was remembered is never passed over in silence, however it is damaged.
func TestDamagedAssuranceFile(t *testing.T) {
	h := newHome(t)
	h.install("flask").code(t, 0)
	path := h.state("assurance.json")
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		"empty":      nil,
		"cut":        good[:len(good)/2],
		"one letter": bytes.Replace(good, []byte("flask"), []byte("flosk"), 1),
		"lowered":    bytes.Replace(good, []byte(`"claimed"`), []byte(`"recently claimed"`), 1),
		"emptied":    []byte(`{"format":1,"sha256":"44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8b","projects":{},"x":1}`),
		"newer":      bytes.Replace(good, []byte(`"format":1`), []byte(`"format":2`), 1),
		"twice":      append(bytes.Clone(good), good...),
	} {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		h.install("flask").code(t, 4).says(t, "assurance.json cannot be used", "remove it to begin to remember anew", "so nothing is installed")
		if kept, err := os.ReadFile(path); err != nil || !bytes.Equal(kept, data) {
			t.Errorf("%s: the damaged file was changed: %v", name, err)
		}
	}
	h.install("flask", "--accept-lower-assurance-than-seen-for", "flask").code(t, 0).says(t, "flask ACCEPTED as claimed, and what it was before is not known")
	h.run("why", "flask").code(t, 4).says(t, "assurance.json cannot be used")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	h.install("flask").code(t, 0)
	if again, err := os.ReadFile(path); err != nil || !bytes.Equal(again, good) {
		t.Errorf("begun anew, it is\n%s\nbefore\n%s", again, good)
	}
}

// TestRequireRules: what the configuration asks for is refused below that, with the line of the rule. R52.
func TestRequireRules(t *testing.T) {
	h := newHome(t)
	pins := h.read(".config/bailiwick/config.toml")
	lines := bytes.Count(pins, []byte("\n"))
	rules := "\n[[require]]\nprojects = [\"corp-*\"]\nassurance = \"unclaimed\"\n\n" +
		"[[require]] # all of ours\nprojects = [\"Corp_*\", \"other\"]\nassurance = \"recently claimed\"\nindex = \"" + h.url + "/\"\n"
	h.write(".config/bailiwick/config.toml", append(bytes.Clone(pins), rules...))
	at := fmt.Sprintf("config.toml:%d", lines+6)
	h.install("corp-tool").code(t, 3).says(t,
		`not installed: 403 bailiwick: corp_tool-1.0.tar.gz refused: unclaimed, but `+at+` requires recently claimed ("corp-*") (bailiwick why `,
		"the rule stands in "+h.path(".config/bailiwick/config.toml")+fmt.Sprintf(":%d", lines+6),
		"next: ask its maintainers to claim it (bailiwick claim), or change that rule")
	h.install("corp-tool", "--accept-lower-assurance-than-seen-for", "corp-tool").code(t, 3)
	h.install("flask").code(t, 0)
	h.run("why", "corp-tool").code(t, 3).says(t, "required", `at least recently claimed, by `+at+` ("corp-*")`)
	h.run("why", "flask").code(t, 0)

	// Adding an index keeps the rules.
	h.run("trust", "add", h.url, "--root", h.path("root.json")).code(t, 0)
	h.install("corp-tool").code(t, 3)

	// A rule for another index is not for this one; a rule for none is a mistake.
	other := "\n[[index]]\nurl = \"https://other.example.com\"\nroot = \"sha256:" + strings.Repeat("0", 64) + "\"\n"
	h.write(".config/bailiwick/config.toml", append(append(bytes.Clone(pins), other...), "\n[[require]]\nprojects = [\"*\"]\nassurance = \"claimed\"\nindex = \"https://other.example.com\"\n"...))
	h.install("corp-tool").code(t, 0)
	for rule, want := range map[string]string{
		"projects = []\nassurance = \"claimed\"":                                                 "projects: name 1 to 1000 patterns",
		"projects = [\"corp/*\"]\nassurance = \"claimed\"":                                       `projects: "corp/*" holds '/'; a pattern is made of letters, digits, hyphens, * and ?`,
		"projects = [\"-x\"]\nassurance = \"claimed\"":                                           `projects: "-x" matches no project`,
		"projects = [\"*\"]\nassurance = \"Claimed\"":                                            `assurance: "Claimed" is not one of "claimed", "recently claimed", "unclaimed"`,
		"projects = [\"*\"]":                                                                     `assurance: "" is not one of`,
		"projects = [\"*\"]\nassurance = \"claimed\"\nindex = \"https://third.example.com\"":     "index: https://third.example.com is none of the indexes in this file",
		"projects = [\"*\"]\nassurance = \"claimed\"\nindexes = [\"https://other.example.com\"]": `there is no setting "require.indexes"`,
	} {
		h.write(".config/bailiwick/config.toml", append(bytes.Clone(pins), "\n[[require]]\n"+rule+"\n"...))
		h.install("flask").code(t, 1).says(t, "config.toml:", want)
	}
	h.write(".config/bailiwick/config.toml", append([]byte("require = [{projects = [\"*\"], assurance = \"claimed\"}]\n"), pins...))
	h.install("flask").code(t, 1).says(t, "write each rule as a table of its own, headed [[require]]")
}

// TestProjectConfigCannotAskForLess: the user's own rules hold beside those of a bailiwick.toml.
func TestProjectConfigCannotAskForLess(t *testing.T) {
	h := newHome(t)
	pins := h.read(".config/bailiwick/config.toml")
	h.write(".config/bailiwick/config.toml", append(bytes.Clone(pins), "\n[[require]]\nprojects = [\"corp-*\"]\nassurance = \"claimed\"\n"...))
	local := strings.ReplaceAll(string(pins), "roots/", h.path(".config/bailiwick/roots")+"/")
	h.write("work/bailiwick.toml", []byte(local+"\n[[require]]\nprojects = [\"corp-*\", \"flask\"]\nassurance = \"unclaimed\"\n"))
	t.Chdir(h.path("work"))
	h.install("flask").code(t, 0)
	h.install("corp-tool").code(t, 3).says(t, "unclaimed, but config.toml:")
	h.write("work/bailiwick.toml", []byte(local+"\n[[require]]\nprojects = [\"flask\", \"corp-*\"]\nassurance = \"recently claimed\"\n"))
	h.write(".config/bailiwick/config.toml", pins)
	h.install("corp-tool").code(t, 3).says(t, "unclaimed, but bailiwick.toml:")
}

// TestTrustListShowsKeys, with the fingerprints that their holders know, as text and as JSON.
func TestTrustListShowsKeys(t *testing.T) {
	h := newHome(t)
	h.AddProject(testrepo.Project{Name: "newlib", Holders: testrepo.One("carol")})
	h.file("newlib", "newlib-1.0.tar.gz", "1.0")
	h.Delegate("project.newlib", testrepo.Delegation{Name: "project.newlib.ci", Paths: []string{testrepo.Bin("newlib") + "/newlib/*.whl"}, Holders: testrepo.One("ci"), Terminating: true})
	h.Publish()
	list := h.run("trust", "list").code(t, 0)
	list.says(t, "* "+h.url+"  sha256:", "\nflask   claimed   1 of 2   by claimed-"+testrepo.Bin("flask")+"   v2 until 2031-01-31\n",
		"\nnewlib   recently claimed   1 of 1   by unclaimed-", "   ed25519    SHA256:", "  └ project.newlib.ci   for "+testrepo.Bin("newlib")+"/newlib/*.whl   1 of 1   v1 until",
		"\n3 projects: 1 claimed, 1 recently claimed, 1 unclaimed (snapshot ")
	if strings.Contains(list.stdout, "corp-tool") {
		t.Errorf("an unclaimed project is listed:\n%s", list.stdout)
	}
	h.run("trust", "list", "--all").code(t, 0).says(t, "\ncorp-tool   unclaimed   1 of 1   by unclaimed-")
	h.run("trust", "list", "corp_tool").code(t, 0).says(t, "\ncorp-tool   unclaimed", "\n1 project: 1 unclaimed (")
	h.run("trust", "list", "new*").code(t, 0).says(t, "\nnewlib   ", "\n1 project: 1 recently claimed (")
	h.run("trust", "list", "nosuch").code(t, 0).says(t, "no project matches")
	h.run("trust", "list", "a b").code(t, 2)
	h.run("trust", "list", "a/*").code(t, 2)
	var answer struct {
		Indexes []struct {
			URL, Root string
			InUse     bool `json:"in_use"`
		}
		Projects []struct {
			Project, Assurance string
			Threshold          int
			Keys               []struct{ KeyID, KeyType, SSH string }
		}
		Counts map[string]int
	}
	if err := json.Unmarshal([]byte(h.run("trust", "list", "--json").code(t, 0).stdout), &answer); err != nil {
		t.Fatal(err)
	}
	if len(answer.Indexes) != 1 || !answer.Indexes[0].InUse || answer.Indexes[0].URL != h.url || len(answer.Projects) != 2 ||
		answer.Projects[0].Project != "flask" || len(answer.Projects[0].Keys) != 2 || !strings.HasPrefix(answer.Projects[0].Keys[0].SSH, "SHA256:") || answer.Counts["unclaimed"] != 1 {
		t.Errorf("%+v", answer)
	}

	h.DropSignatures("project.newlib")
	if err := os.RemoveAll(h.state("metadata")); err != nil {
		t.Fatal(err)
	}
	h.run("trust", "list").code(t, 3).says(t, "  CANNOT BE USED: project.newlib version 1 has no signature", "\nflask   claimed")
	h.Break("timestamp.json", testrepo.Fault{Status: http.StatusBadGateway})
	h.run("trust", "list").code(t, 5).says(t, "* "+h.url, "cannot reach")
}

// TestProcessesShareTheMemory: what several installs see at the same time is all kept.
func TestProcessesShareTheMemory(t *testing.T) {
	h := newHome(t)
	const n = 8
	for i := range n {
		name := fmt.Sprintf("lib%d", i)
		h.AddProject(testrepo.Project{Name: name, Claimed: true})
		h.file(name, name+"-1.0.tar.gz", "1.0")
	}
	h.Publish()
	var wait sync.WaitGroup
	for i := range n {
		wait.Go(func() { h.install(fmt.Sprintf("lib%d", i)).code(t, 0) })
	}
	wait.Wait()
	data, err := os.ReadFile(h.state("assurance.json"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		if !bytes.Contains(data, fmt.Appendf(nil, `"lib%d":`, i)) {
			t.Errorf("lib%d was forgotten:\n%s", i, data)
		}
	}
}
