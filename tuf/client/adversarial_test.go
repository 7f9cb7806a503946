package client_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"example.com/bailiwick/internal/testrepo"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/client"
	"example.com/bailiwick/tuf/trust"
)

// The catalogue of attacks. Each is played against a client with a folder on disk that
// knows an honest repository, and against one that comes new. Asserted are the verdict
// with its code, role and step; what lies on disk afterwards; and that both clients work
// again with the honest repository. The themes are in the files adversarial_*_test.go.

// attack is one entry. The repository that the victim knows has root version 1 and
// timestamp, snapshot and targets version 2, and a role "role" (version 1), to which
// "*" is delegated and which lists "file".
type attack struct {
	name    string
	options testrepo.Options
	prepare func(r *testrepo.Repo) // changes the honest repository before anybody sees it
	do      func(r *testrepo.Repo) // the attacker's move
	want    verdict
	fresh   *verdict // of the client that comes new, if it is another
	stored  string   // versions of root, timestamp, snapshot, targets afterwards: "1 2 2 2"
	rotate  bool     // the honest repository comes back with new keys for timestamp and snapshot
}

// verdict is how looking for "file" after a refresh ends. The zero value is: it is found.
type verdict struct {
	code trust.Code
	role tuf.RoleName
	step string
}

const (
	notFound trust.Code = "not found"     // the verified repository does not list it
	network  trust.Code = "network"       // nothing was learned
	other    trust.Code = "another error" // never wanted
)

func (v verdict) String() string {
	if v.code == "" {
		return "accepted"
	}
	return fmt.Sprintf("%s %s %s", v.code, v.role, v.step)
}

// judge turns an error into a verdict.
func judge(err error) verdict {
	var refused *trust.RefusedError
	var unreachable *client.NetworkError
	switch {
	case err == nil:
		return verdict{}
	case errors.As(err, &unreachable):
		return verdict{code: network}
	case errors.Is(err, trust.ErrNotFound):
		return verdict{code: notFound}
	case errors.As(err, &refused):
		return verdict{refused.Code, refused.Role, refused.Step}
	}
	return verdict{code: other}
}

// victim is a client and its store.
type victim struct {
	*client.Client
	store client.Store
}

func newVictim(t *testing.T, r *testrepo.Repo, s client.Store) *victim {
	t.Helper()
	return &victim{open(t, r, s), s}
}

// look refreshes, finds the file, downloads it, and returns what went wrong first.
func (v *victim) look(t *testing.T) error {
	t.Helper()
	view, err := v.Refresh(t.Context())
	if err != nil {
		return err
	}
	found, err := view.Find(t.Context(), "file")
	if err != nil {
		return err
	}
	var b strings.Builder
	if err := v.Download(t.Context(), found, &b); err != nil {
		return err
	}
	if b.String() != "honest content" {
		t.Fatalf("the client was given %.80q", b.String())
	}
	return nil
}

func play(t *testing.T, attacks []attack) {
	t.Helper()
	seen := map[string]bool{}
	for _, a := range attacks {
		if seen[a.name] {
			t.Errorf("two attacks are called %q", a.name)
		}
		seen[a.name] = true
		t.Run(a.name, func(t *testing.T) {
			t.Parallel()
			a.play(t)
		})
	}
}

func (a attack) play(t *testing.T) {
	r := testrepo.New(t, a.options)
	r.Delegate("targets", testrepo.Delegation{Name: "role", Paths: []string{"*"}})
	r.AddTarget("role", "file", []byte("honest content"))
	if a.prepare != nil {
		a.prepare(r)
	}
	r.Publish()
	dir := t.TempDir()
	folder, err := client.OpenFolder(client.FolderConfig{Path: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	old := newVictim(t, r, folder)
	if err := old.look(t); err != nil {
		t.Fatalf("before the attack: %v", err)
	}
	honest := remember(r)
	before := r.Bytes(string(a.want.role))

	a.do(r)
	err = old.look(t)
	if got := judge(err); got != a.want {
		t.Errorf("verdict %q, want %q: %v", got, a.want, err)
	}
	if got := stored(t, folder); got != a.stored {
		t.Errorf("on disk are versions %s, want %s", got, a.stored)
	}
	var refused []byte
	if now := r.Served(string(a.want.role)); a.want.step != "5.7.3" && a.want.step != "5.3.10" && !bytes.Equal(now, before) {
		refused = now
	}
	onDisk(t, dir, refused)
	young, want := newVictim(t, r, client.NewMemory()), a.want
	if a.fresh != nil {
		want = *a.fresh
	}
	err = young.look(t)
	if got := judge(err); got != want {
		t.Errorf("a client that comes new: verdict %q, want %q: %v", got, want, err)
	}

	honest.heal(t, r, a.rotate, old, young)
	for name, v := range map[string]*victim{"the client": old, "the new client": young, "a later session": newVictim(t, r, folder)} {
		if err := v.look(t); err != nil {
			t.Errorf("%s with the honest repository: %v", name, err)
		}
	}
}

// onDisk asserts that every metadata file in a folder is well-formed, that what was
// refused is none of them, and that nothing is left of writes under way.
func onDisk(t *testing.T, dir string, refused []byte) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || filepath.Ext(path) != ".json" {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if !json.Valid(data) {
			t.Errorf("%s holds no JSON", e.Name())
		}
		if refused != nil && bytes.Equal(data, refused) {
			t.Errorf("%s holds the file that was refused", e.Name())
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(filepath.Join(dir, "tmp")); err != nil || len(left) > 0 {
		t.Errorf("left in tmp: %v, %v", left, err)
	}
}

// memory is what an honest repository was before an attack.
type memory struct {
	top      map[string]testrepo.Holders
	roles    map[string]*testrepo.Role
	versions map[string]int64
}

func remember(r *testrepo.Repo) memory {
	m := memory{top: map[string]testrepo.Holders{}, roles: map[string]*testrepo.Role{}, versions: map[string]int64{}}
	for name, h := range r.Top {
		m.top[name] = h
	}
	for name, role := range r.Roles {
		clone := *role
		clone.Delegations = slices.Clone(role.Delegations)
		clone.Targets = map[string]map[string]any{}
		for path, entry := range role.Targets {
			clone.Targets[path] = map[string]any{"length": entry["length"], "hashes": entry["hashes"]}
		}
		m.roles[name] = &clone
	}
	for name, v := range r.Versions {
		m.versions[name] = v
	}
	return m
}

// heal makes a repository honest again: everything is published anew, above all versions
// that anybody has seen, beginning with a root after the last that a client accepted.
// What it lists stays listed.
func (m memory) heal(t *testing.T, r *testrepo.Repo, rotate bool, victims ...*victim) {
	t.Helper()
	clear(r.Edit)
	clear(r.ListEdit)
	clear(r.Unlisted)
	clear(r.Life)
	clear(r.SignWith)
	for _, name := range r.Requests() {
		r.Break(name, testrepo.Fault{})
	}
	for name, v := range m.versions {
		r.Versions[name] = max(v, r.Versions[name])
	}
	for name, role := range r.Roles {
		if m.roles[name] == nil {
			role.Delegations = nil
			m.roles[name] = role
		}
	}
	r.Roles, r.Top = m.roles, m.top
	m.healRoot(t, r, victims)
	if rotate {
		r.Top["timestamp"], r.Top["snapshot"] = testrepo.One("rotated timestamp"), testrepo.One("rotated snapshot")
	}
	r.PublishRoot()
	clear(r.SignWith)
	for name := range r.Roles {
		r.Touch(name)
	}
	r.AddTarget("role", "file", []byte("honest content"))
	r.Publish()
}

// healRoot goes back to the newest root that a client accepted, and to its keys.
func (m memory) healRoot(t *testing.T, r *testrepo.Repo, victims []*victim) {
	t.Helper()
	known := append(testrepo.Keys("root", 2), testrepo.Keys("new root", 1)...)
	newest := int64(0)
	for _, v := range victims {
		data, err := v.store.Load("root.json")
		if err != nil {
			t.Fatal(err)
		}
		u, err := tuf.ParseRoot(data, nil)
		if err != nil {
			t.Fatal(err)
		}
		if u.Header().Version <= newest {
			continue
		}
		newest = u.Header().Version
		signers := tuf.SelfAuthority(u)
		h := testrepo.Holders{Threshold: signers.Threshold()}
		for _, k := range known {
			if slices.Contains(signers.KeyIDs(), k.ID()) {
				h.Keys = append(h.Keys, k)
			}
		}
		r.Top["root"], r.SignWith["root"] = h, h.Keys
	}
	for v := newest + 1; v <= max(r.Versions["root"], newest+1); v++ {
		r.Remove(fmt.Sprintf("%d.root.json", v))
	}
	r.Versions["root"] = newest
}

// holders returns who signs a role.
func holders(r *testrepo.Repo, role string) testrepo.Holders {
	if h, ok := r.Top[role]; ok {
		return h
	}
	return r.Roles[role].Holders
}

// publishRole publishes the next version of a role, and of what comes after it.
func publishRole(r *testrepo.Repo, role string) {
	switch role {
	case "root":
		r.PublishRoot()
	default:
		if role != "timestamp" && role != "snapshot" {
			r.Touch(role)
		}
		r.Publish()
	}
}

// text publishes the next version of a role with what is signed changed as text. The
// role's holders sign that text as it is: the worst that somebody with all keys can do.
func text(role string, change func(signed string) string) func(*testrepo.Repo) {
	return func(r *testrepo.Repo) {
		publishRole(r, role)
		_, signed, _ := strings.Cut(string(r.Bytes(role)), `"signed":`)
		signed = change(strings.TrimSuffix(signed, "}"))
		r.Serve(r.FileName(role), envelope(signed, holders(r, role).Keys...))
	}
}

// file publishes the next version of a role with the whole file changed as text.
func file(role string, change func(file string) string) func(*testrepo.Repo) {
	return func(r *testrepo.Repo) {
		publishRole(r, role)
		r.Serve(r.FileName(role), []byte(change(string(r.Bytes(role)))))
	}
}

// envelope signs a text.
func envelope(signed string, keys ...testrepo.Key) []byte {
	var sigs []string
	for _, k := range keys {
		sigs = append(sigs, fmt.Sprintf(`{"keyid":"%s","sig":"%s"}`, k.ID(), hex.EncodeToString(ed25519.Sign(k.Private, []byte(signed)))))
	}
	return []byte(`{"signatures":[` + strings.Join(sigs, ",") + `],"signed":` + signed + `}`)
}

// edit publishes the next version of a role with what is signed changed before it is
// signed.
func edit(role string, change func(signed map[string]any)) func(*testrepo.Repo) {
	return func(r *testrepo.Repo) {
		r.Edit[role] = change
		publishRole(r, role)
	}
}

// refusedAt is the state on disk after a role was refused in an update that brought a new
// version of everything from it on.
func refusedAt(role string) string {
	switch role {
	case "snapshot":
		return "1 3 2 2"
	case "targets":
		return "1 3 3 2"
	case "role":
		return "1 3 3 2"
	}
	return "1 2 2 2"
}

// TestCatalogue plays every attack, and counts them.
func TestCatalogue(t *testing.T) {
	themes := map[string][]attack{
		"json":       jsonAttacks(),
		"types":      typeAttacks(),
		"keys":       keyAttacks(),
		"roots":      rootAttacks(),
		"time":       timeAttacks(),
		"rollback":   rollbackAttacks(),
		"mix":        mixAttacks(),
		"delegation": delegationAttacks(),
		"names":      nameAttacks(),
		"targets":    targetAttacks(),
	}
	total := 0
	for name, attacks := range themes {
		total += len(attacks)
		t.Run(name, func(t *testing.T) { play(t, attacks) })
	}
	if total < 250 {
		t.Errorf("%d attacks; some were lost", total)
	}
	t.Logf("%d attacks", total)
}
