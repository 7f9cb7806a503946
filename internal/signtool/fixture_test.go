package signtool_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"example.com/bailiwick/internal/keys"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/internal/signtool"
	"example.com/bailiwick/internal/sitting"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
	"example.com/bailiwick/tuf/repo"
	"example.com/bailiwick/tuf/trust"
)

const phrase = "correct horse battery"

// start is when the worlds of these tests begin.
func start() time.Time { return time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC) }

const day = 24 * time.Hour

// world is an index: a repository and all its keys.
type world struct {
	tb      testing.TB
	now     time.Time
	layout  policy.Layout
	private map[policy.KeyRole][]ed25519.PrivateKey
	signers map[policy.KeyRole][]key.Signer
	files   map[tuf.RoleName]map[int64][]byte
	set     *trust.Set
	alice   key.Signer // a maintainer
}

// newWorld makes a repository with two holders of root, of whom both sign, and one of everything else.
func newWorld(tb testing.TB, bins int) *world {
	tb.Helper()
	layout, err := policy.NewLayout(bins)
	must(tb, err)
	w := &world{
		tb: tb, now: start(), layout: layout, alice: newKey(tb),
		private: map[policy.KeyRole][]ed25519.PrivateKey{}, signers: map[policy.KeyRole][]key.Signer{}, files: map[tuf.RoleName]map[int64][]byte{},
	}
	for _, role := range policy.KeyRoles() {
		n := 1
		if role == policy.KeyRoot {
			n = 2
		}
		for range n {
			_, private, err := ed25519.GenerateKey(rand.Reader)
			must(tb, err)
			signer, err := key.NewSigner(private)
			must(tb, err)
			w.private[role] = append(w.private[role], private)
			w.signers[role] = append(w.signers[role], signer)
		}
	}
	return w.again()
}

// again makes the repository of the keys that the world has.
func (w *world) again() *world {
	tb := w.tb
	tb.Helper()
	w.files = map[tuf.RoleName]map[int64][]byte{}
	drafts, err := policy.Genesis(w.spec())
	must(tb, err)
	staged := trust.Staged{}
	for _, d := range drafts {
		data := w.sign(d)
		switch d.Role() {
		case tuf.RoleRoot:
			staged.Roots = [][]byte{data}
		case tuf.RoleTargets:
			staged.Targets = data
		case tuf.RoleSnapshot:
			staged.Snapshot = data
		case tuf.RoleTimestamp:
			staged.Timestamp = data
		default:
			staged.Delegated = append(staged.Delegated, trust.StagedRole{Chain: w.chain(d.Role()), Bytes: data})
		}
	}
	w.set, err = trust.StageFirst(w.now, trust.Options{}, staged)
	must(tb, err)
	return w
}

func newKey(tb testing.TB) key.Signer {
	tb.Helper()
	_, s, err := key.GenerateEd25519()
	must(tb, err)
	return s
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// spec is what the repository was made from.
func (w *world) spec() policy.GenesisSpec {
	spec := policy.GenesisSpec{Layout: w.layout, Keys: map[policy.KeyRole][]*key.Public{}, Thresholds: policy.Thresholds{Root: 2}, Now: w.now}
	for role, signers := range w.signers {
		for _, s := range signers {
			spec.Keys[role] = append(spec.Keys[role], s.Public())
		}
	}
	return spec
}

// sign assembles a draft and keeps the file.
func (w *world) sign(d *repo.Draft) []byte {
	w.tb.Helper()
	by, ok := policy.SignedBy(d.Role())
	signers := w.signers[by]
	if !ok || policy.KindOf(d.Role()) == policy.KindProject {
		signers = []key.Signer{w.alice}
	}
	data, err := repo.Sign(context.Background(), d, signers...)
	must(w.tb, err)
	if w.files[d.Role()] == nil {
		w.files[d.Role()] = map[int64][]byte{}
	}
	w.files[d.Role()][d.Version()] = data
	return data
}

// chain leads from below targets to a role.
func (w *world) chain(role tuf.RoleName) []tuf.RoleName {
	bin, isBin := policy.BinOf(role)
	p, isProject := policy.ProjectOf(role)
	switch {
	case role == policy.RoleClaimed:
		return []tuf.RoleName{role}
	case role == policy.RoleUnclaimed:
		for bin := range w.layout.BinNames() {
			return w.layout.UnclaimedBinChain(bin)[:3]
		}
	case isBin && policy.KindOf(role) == policy.KindClaimedBin:
		return w.layout.ClaimedBinChain(bin)
	case isBin:
		return w.layout.UnclaimedBinChain(bin)
	case isProject:
		return append(w.layout.UnclaimedChain(p), role)
	}
	w.tb.Fatalf("no chain to %s", role)
	return nil
}

func project(tb testing.TB, name string) pypi.Project {
	tb.Helper()
	p, err := pypi.ParseProject(name)
	must(tb, err)
	return p
}

// claim lets alice claim projects: recently, in the unclaimed tree.
func (w *world) claim(names ...string) {
	w.tb.Helper()
	authority, err := tuf.NewAuthority(1, w.alice.Public())
	must(w.tb, err)
	bins := map[tuf.RoleName][]repo.Delegation{}
	changed := map[tuf.RoleName]int64{}
	var staged trust.Staged
	for _, name := range names {
		p := project(w.tb, name)
		d := policy.ClaimProject(w.layout, p, authority, w.now)
		bins[w.layout.UnclaimedBin(p)] = append(bins[w.layout.UnclaimedBin(p)], d)
		draft, err := repo.NewTargets(repo.TargetsSpec{}, w.issue(policy.ProjectRole(p), 1, authority))
		must(w.tb, err)
		staged.Delegated = append(staged.Delegated, trust.StagedRole{Chain: w.chain(draft.Role()), Bytes: w.sign(draft)})
		changed[draft.Role()] = 1
	}
	for role, ds := range bins {
		base, err := w.set.Delegated(w.load, w.chain(role)...)
		must(w.tb, err)
		registry, err := tuf.NewAuthority(1, w.signers[policy.KeyRegistry][0].Public())
		must(w.tb, err)
		draft, err := repo.EditTargets(base, repo.TargetsEdit{AddDelegations: ds}, w.issue(role, base.Version()+1, registry))
		must(w.tb, err)
		staged.Delegated = append([]trust.StagedRole{{Chain: w.chain(role), Bytes: w.sign(draft)}}, staged.Delegated...)
		changed[role] = draft.Version()
	}
	w.publish(staged, changed)
}

func (w *world) issue(role tuf.RoleName, version int64, a tuf.Authority) repo.Issue {
	return repo.Issue{Role: role, Version: version, Authority: a, Now: w.now, Expires: w.now.Add(90 * day)}
}

// publish adds snapshot and timestamp.
func (w *world) publish(staged trust.Staged, changed map[tuf.RoleName]int64) {
	w.tb.Helper()
	of := func(role tuf.RoleName) tuf.Authority {
		a, _ := w.set.Root().Authority(role)
		return a
	}
	issue := w.issue(tuf.RoleSnapshot, w.set.Snapshot().Version()+1, of(tuf.RoleSnapshot))
	issue.Expires = w.now.Add(7 * day)
	snapshot, err := repo.EditSnapshot(w.set.Snapshot(), changed, issue)
	must(w.tb, err)
	staged.Snapshot = w.sign(snapshot)
	issue = w.issue(tuf.RoleTimestamp, w.set.Timestamp().Version()+1, of(tuf.RoleTimestamp))
	issue.Expires = w.now.Add(day)
	timestamp, err := repo.EditTimestamp(w.set.Timestamp(), tuf.Meta{Version: snapshot.Version(), Length: -1}, issue)
	must(w.tb, err)
	staged.Timestamp = w.sign(timestamp)
	set, err := w.set.Stage(w.now, staged, w.load)
	must(w.tb, err)
	w.set = set
}

// accept publishes what a signed request holds.
func (w *world) accept(path string) {
	w.tb.Helper()
	v, err := sitting.Judge(readRequest(w.tb, path), w.now)
	must(w.tb, err)
	if !v.Complete() {
		w.tb.Fatalf("%s is not complete: %v", path, v.Missing)
	}
	var staged trust.Staged
	changed := map[tuf.RoleName]int64{}
	for _, r := range v.Roles {
		switch r.Role {
		case tuf.RoleRoot:
			staged.Roots = append(staged.Roots, r.Bytes)
		case tuf.RoleTargets:
			staged.Targets = r.Bytes
			changed[r.Role] = r.Version
		default:
			staged.Delegated = append(staged.Delegated, trust.StagedRole{Chain: w.chain(r.Role), Bytes: r.Bytes})
			changed[r.Role] = r.Version
		}
		w.files[r.Role][r.Version] = r.Bytes
	}
	w.publish(staged, changed)
}

func (w *world) load(role tuf.RoleName, meta tuf.Meta) ([]byte, error) {
	data, ok := w.files[role][meta.Version]
	if !ok {
		return nil, fmt.Errorf("there is no version %d of %s", meta.Version, role)
	}
	return data, nil
}

func (w *world) state() sitting.State {
	return sitting.State{
		Repository: sha256.Sum256(w.files[tuf.RoleRoot][1]), Set: w.set, Load: w.load, Layout: w.layout, Now: w.now, Lifetimes: policy.DefaultLifetimes(),
		Root: func(v int64) ([]byte, error) { return w.load(tuf.RoleRoot, tuf.Meta{Version: v}) },
	}
}

// plan writes a request into a file of a folder.
func (w *world) plan(dir string, wishes sitting.Wishes) (path string) {
	w.tb.Helper()
	r, err := sitting.Plan(context.Background(), w.state(), wishes)
	must(w.tb, err)
	return writeRequest(w.tb, dir, r)
}

func writeRequest(tb testing.TB, dir string, r *sitting.Request) string {
	tb.Helper()
	path := filepath.Join(dir, "request-"+r.ID()+".bwk")
	var b bytes.Buffer
	must(tb, sitting.Encode(&b, r))
	must(tb, os.WriteFile(path, b.Bytes(), 0o600))
	return path
}

func readRequest(tb testing.TB, path string) *sitting.Request {
	tb.Helper()
	data, err := os.ReadFile(path)
	must(tb, err)
	r, err := sitting.Decode(bytes.NewReader(data))
	must(tb, err)
	return r
}

// keyFile writes the n-th key of a role into an encrypted file.
func (w *world) keyFile(dir string, role policy.KeyRole, n int, opts ...keys.Option) string {
	w.tb.Helper()
	name := string(role)
	if n > 0 {
		name = fmt.Sprintf("%s-%d", role, n+1)
	}
	k, err := keys.New(name, w.private[role][n])
	must(w.tb, err)
	path := filepath.Join(dir, name+".key")
	if opts == nil {
		opts = []keys.Option{keys.WithWorkFactor(4)}
	}
	must(w.tb, keys.CreateOffline(w.tb.Context(), path, k, func(context.Context, string) ([]byte, error) { return []byte(phrase), nil }, opts...))
	return path
}

// desk is where somebody signs: a machine with a memory and a file that holds the passphrase.
type desk struct {
	tb      testing.TB
	dir     string
	now     time.Time
	sources []keys.Source
	environ map[string]string
}

func newDesk(tb testing.TB) *desk {
	tb.Helper()
	d := &desk{tb: tb, dir: tb.TempDir(), now: start().Add(time.Hour)}
	d.environ = map[string]string{"XDG_STATE_HOME": d.path("state"), "BAILIWICK_PASSPHRASE_FILE": d.path("passphrase")}
	must(tb, os.WriteFile(d.path("passphrase"), []byte(phrase+"\n"), 0o600))
	return d
}

func (d *desk) path(name string) string { return filepath.Join(d.dir, name) }

// said is what a command did.
type said struct {
	code           int
	stdout, stderr string
}

// run runs bailiwick-sign; SIGNED in an argument is a file of the desk.
func (d *desk) run(ctx context.Context, args ...string) said {
	d.tb.Helper()
	var out, errs bytes.Buffer
	env := &signtool.Env{
		Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs,
		Getenv: func(name string) string { return d.environ[name] },
		Now:    func() time.Time { return d.now },

		KeyOptions: []keys.Option{keys.WithWorkFactor(4)}, Sources: d.sources,
	}
	return said{signtool.Main(ctx, args, env), out.String(), errs.String()}
}

// does wants a command to succeed.
func (d *desk) does(args ...string) said {
	d.tb.Helper()
	s := d.run(d.tb.Context(), args...)
	if s.code != 0 {
		d.tb.Fatalf("bailiwick-sign %q ended with %d: %s", args, s.code, s.stderr)
	}
	return s
}

// refuses wants a command to fail with a code and words.
func (d *desk) refuses(code int, words string, args ...string) said {
	d.tb.Helper()
	s := d.run(d.tb.Context(), args...)
	if s.code != code || !strings.Contains(s.stderr, words) {
		d.tb.Errorf("bailiwick-sign %q ended with %d, want %d and %q:\n%s", args, s.code, code, words, s.stderr)
	}
	return s
}
