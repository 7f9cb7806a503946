package signtool_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.com/bailiwick/internal/durable"
	"example.com/bailiwick/internal/needs"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/sitting"
	"example.com/bailiwick/tuf"
)

// clone keeps a state of the repository for a lying index to come back with.
func (w *world) clone() *world {
	c := *w
	c.files = map[tuf.RoleName]map[int64][]byte{}
	for role, versions := range w.files {
		c.files[role] = map[int64][]byte{}
		for v, data := range versions {
			c.files[role][v] = data
		}
	}
	return &c
}

// TestMemoryStopsRollback: a base older than what was published when this machine signed is refused, whatever
// the index says, and nothing helps against it.
func TestMemoryStopsRollback(t *testing.T) {
	w, d := newWorld(t, 16), newDesk(t)
	key := w.keyFile(d.dir, policy.KeyClaimed, 0)
	before := w.clone()
	first := w.plan(d.dir, sitting.Wishes{All: true, Roles: nil})
	all := []string{"--yes", "--key", key}
	for _, role := range []policy.KeyRole{policy.KeyTargets, policy.KeyUnclaimed} {
		all = append(all, "--key", w.keyFile(d.dir, role, 0))
	}
	d.does(append(all, first, "--out", d.path("first"))...)
	w.accept(d.path("first"))
	w.now = w.now.Add(day)
	d.now = w.now
	d.does(append(all, w.plan(d.dir, sitting.Wishes{All: true}), "--out", d.path("second"))...)
	remembered := memoryOf(t, d)
	if k := remembered.Roles[policy.RoleClaimed]; k.Seen != 2 || k.Signed != 3 {
		t.Errorf("remembered of claimed: %+v", k)
	}
	if k := remembered.Roles[tuf.RoleRoot]; k.Seen != 1 || k.Signed != 0 {
		t.Errorf("remembered of root: %+v", k)
	}
	if len(remembered.Keys) != 3 {
		t.Errorf("remembered keys: %v", remembered.Keys)
	}

	// The thief of the index shows the state from before the first sitting.
	before.now = d.now
	old := before.plan(d.dir, sitting.Wishes{All: true, Note: "another"})
	s := d.refuses(3, "it would be rolled back", append(all, old, "--out", d.path("third"))...)
	if !strings.Contains(s.stderr, "nothing was signed") || !strings.Contains(s.stderr, "tell the other operators") || !strings.Contains(s.stderr, "further roles") {
		t.Errorf("does not say what to do: %s", s.stderr)
	}
	d.refuses(3, "it would be rolled back", append(all, old, "--out", d.path("third"), "--aborted", readRequest(t, d.path("second")).ID())...)
	d.refuses(3, "it would be rolled back", "show", old)
	d.refuses(3, "it would be rolled back", append(all, first, "--out", d.path("third"))...) // the first request once more
	wantNames(t, d, "third", false)
}

// TestMemoryStopsTwoVersions: of one version number there is one content, unless the person says that the
// first request was given up.
func TestMemoryStopsTwoVersions(t *testing.T) {
	w, d := newWorld(t, 16), newDesk(t)
	key := w.keyFile(d.dir, policy.KeyClaimed, 0)
	first := w.plan(d.dir, sitting.Wishes{MinAge: day})
	d.does(first, "--yes", "--key", key, "--out", d.path("first"))
	d.does(first, "--yes", "--key", key, "--out", d.path("again")) // the same is the same

	w.now = w.now.Add(2 * day)
	d.now = w.now
	second := w.plan(d.dir, sitting.Wishes{MinAge: day})
	id := readRequest(t, first).ID()
	s := d.refuses(3, "this machine signed version 2 of claimed", second, "--yes", "--key", key, "--out", d.path("second"))
	if !strings.Contains(s.stderr, "--aborted "+id) || !strings.Contains(s.stderr, "bailiwick request abort "+id) {
		t.Errorf("does not say what to do: %s", s.stderr)
	}
	d.refuses(2, "remembers nothing of a request", second, "--yes", "--key", key, "--out", d.path("second"), "--aborted", "0123456789abcdef")
	d.refuses(3, "this machine signed version 2 of claimed", "show", second)
	d.does("show", second, "--aborted", id)
	d.does(second, "--yes", "--key", key, "--out", d.path("second"), "--aborted", id)
	d.refuses(3, "this machine signed version 2 of claimed", first, "--yes", "--key", key, "--out", d.path("third")) // and that is now remembered

	// What the index publishes as version 2 has to be what was signed last.
	w.accept(d.path("first"))
	third := w.plan(d.dir, sitting.Wishes{MinAge: day})
	d.refuses(3, "is not what this machine signed as version 2", third, "--yes", "--key", key, "--out", d.path("third"))
	d.does(third, "--yes", "--key", key, "--out", d.path("third"), "--aborted", readRequest(t, second).ID())
}

// TestMemoryStopsSplitView: two files of one version, both signed, from one index.
func TestMemoryStopsSplitView(t *testing.T) {
	w, d, other := newWorld(t, 16), newDesk(t), newDesk(t)
	key := w.keyFile(d.dir, policy.KeyClaimed, 0)
	second := *w
	second.again() // the same repository, with a cache of its own
	// Another machine with the same key signs version 2 in two ways.
	other.does(w.plan(other.dir, sitting.Wishes{MinAge: day}), "--yes", "--key", key, "--out", other.path("a"))
	second.now = w.now.Add(day)
	other.now = second.now
	other.environ["XDG_STATE_HOME"] = other.path("none")
	other.does(second.plan(other.dir, sitting.Wishes{MinAge: day}), "--yes", "--key", key, "--out", other.path("b"))
	w.accept(other.path("a"))
	second.accept(other.path("b"))

	d.now = second.now.Add(day)
	w.now, second.now = d.now, d.now
	d.does(w.plan(d.dir, sitting.Wishes{MinAge: day}), "--yes", "--key", key, "--out", d.path("signed"))
	s := d.refuses(3, "there are two", second.plan(d.dir, sitting.Wishes{MinAge: 2 * day}), "--yes", "--key", key, "--out", d.path("again"))
	if !strings.Contains(s.stderr, "the index lies") {
		t.Errorf("%s", s.stderr)
	}
}

// TestAnotherRepository: a key signs for one repository, because a signature does not say for which it is.
func TestAnotherRepository(t *testing.T) {
	w, d := newWorld(t, 16), newDesk(t)
	key := w.keyFile(d.dir, policy.KeyClaimed, 0)
	d.does(w.plan(d.dir, sitting.Wishes{MinAge: day}), "--yes", "--key", key, "--out", d.path("mine"))

	theirs := newWorld(t, 16)
	theirs.signers[policy.KeyClaimed], theirs.private[policy.KeyClaimed] = w.signers[policy.KeyClaimed], w.private[policy.KeyClaimed]
	theirs = theirs.again()
	s := d.refuses(3, "has signed for another repository", theirs.plan(d.dir, sitting.Wishes{MinAge: day}), "--yes", "--key", key, "--out", d.path("theirs"))
	if !strings.Contains(s.stderr, fmt.Sprintf("%x", w.state().Repository)) || !strings.Contains(s.stderr, "new-key") {
		t.Errorf("does not name the repository, or the way out: %s", s.stderr)
	}
	first, err := sitting.First(theirs.spec(), theirs.now.Add(30*day), "", "")
	must(t, err)
	d.refuses(3, "has signed for another repository", writeRequest(t, d.dir, first), "--yes", "--key", key, "--out", d.path("theirs"))
	wantNames(t, d, "theirs", false)
	wantRemembered(t, d, 1)
}

// TestFirstRootIsRemembered: what was signed before there was a repository is the same repository later.
func TestFirstRootIsRemembered(t *testing.T) {
	w, d := newWorld(t, 16), newDesk(t)
	first, err := sitting.First(w.spec(), w.now.Add(30*day), "", "")
	must(t, err)
	key := w.keyFile(d.dir, policy.KeyClaimed, 0)
	s := d.does(writeRequest(t, d.dir, first), "--yes", "--key", key, "--out", d.path("first"))
	if !strings.Contains(s.stderr, "nothing is remembered of this repository") {
		t.Errorf("does not say that this is the first time: %s", s.stderr)
	}
	w.now = w.now.Add(day)
	d.now = w.now
	s = d.does(w.plan(d.dir, sitting.Wishes{MinAge: day}), "--yes", "--key", key, "--out", d.path("second"))
	if strings.Contains(s.stderr, "nothing is remembered") {
		t.Errorf("the repository is taken for another: %s", s.stderr)
	}
	wantRemembered(t, d, 1)
	if m := memoryOf(t, d); m.Roles[policy.RoleClaimed].Signed != 2 {
		t.Errorf("remembered: %+v", m.Roles[policy.RoleClaimed])
	}
}

// TestAnotherFirstRootFile: the same first root in another file, here with its signatures in another order, is
// not the file that clients pin.
func TestAnotherFirstRootFile(t *testing.T) {
	w, d := newWorld(t, 16), newDesk(t)
	key := w.keyFile(d.dir, policy.KeyClaimed, 0)
	d.does(w.plan(d.dir, sitting.Wishes{MinAge: day}), "--yes", "--key", key, "--out", d.path("first"))
	root := w.files[tuf.RoleRoot][1]
	one, rest, ok1 := bytes.Cut(bytes.TrimPrefix(root, []byte(`{"signatures":[`)), []byte(`},{`))
	two, signed, ok2 := bytes.Cut(rest, []byte(`}],"signed":`))
	if !ok1 || !ok2 {
		t.Fatal("root 1 looks otherwise")
	}
	w.files[tuf.RoleRoot][1] = fmt.Appendf(nil, `{"signatures":[{%s},%s}],"signed":%s`, two, one, signed)
	file := w.plan(d.dir, sitting.Wishes{MinAge: day, Note: "another"})
	d.refuses(3, "somebody passes off another repository as yours", file, "--yes", "--key", key, "--out", d.path("second"))
	wantNames(t, d, "second", false)
}

// TestTamperedMemory: a memory that was changed or can not be kept is not signed with, and not mended.
func TestTamperedMemory(t *testing.T) {
	w, d := newWorld(t, 16), newDesk(t)
	key := w.keyFile(d.dir, policy.KeyClaimed, 0)
	file := w.plan(d.dir, sitting.Wishes{MinAge: day})
	d.does(file, "--yes", "--key", key, "--out", d.path("first"))
	path := wantRemembered(t, d, 1)[0]
	good, err := os.ReadFile(path)
	must(t, err)
	info, err := os.Stat(path)
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("the memory: %v, %v", info.Mode(), err)
	}
	memory := filepath.Dir(path)
	sign := []string{file, "--yes", "--key", key, "--out", d.path("second")}
	for what, bad := range map[string][]byte{
		"empty":              {},
		"cut off":            good[:len(good)/2],
		"something behind":   append(bytes.Clone(good), "{}"...),
		"another member":     bytes.Replace(good, []byte(`"keys"`), []byte(`"kezs"`), 1),
		"a negative version": bytes.Replace(good, []byte(`"signed": 2`), []byte(`"signed": -2`), 1),
		"no digest":          bytes.Replace(good, []byte(`"signed": 2`), []byte(`"signed": 0`), 1),
		"short digest":       bytes.Replace(good, []byte(`"signed-sha256": "`), []byte(`"signed-sha256": "00`), 1),
		"another repository": bytes.Replace(good, []byte(`"root": "`+filepath.Base(path)[:4]), []byte(`"root": "ffff`), 1),
		"noise":              bytes.Repeat([]byte{0}, 100),
	} {
		must(t, os.WriteFile(path, bad, 0o600))
		s := d.refuses(1, path+" is damaged", sign...)
		if !strings.Contains(s.stderr, "bring it back from a copy") {
			t.Errorf("%s: %s", what, s.stderr)
		}
		if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, bad) {
			t.Errorf("%s: was mended", what)
		}
	}
	newer := bytes.Replace(good, []byte(`"bailiwick-sign": 1`), []byte(`"bailiwick-sign": 2`), 1)
	must(t, os.WriteFile(path, newer, 0o600))
	d.refuses(1, "use a newer bailiwick-sign", sign...)

	must(t, os.Remove(path))
	must(t, os.Symlink(d.path("elsewhere"), path))
	must(t, os.WriteFile(d.path("elsewhere"), good, 0o600))
	d.refuses(1, "not a regular file", sign...)
	must(t, os.Remove(path))
	must(t, os.WriteFile(path, good, 0o600))
	must(t, os.WriteFile(filepath.Join(memory, "junk.json"), []byte("{"), 0o600))
	d.refuses(1, "junk.json is damaged", sign...)
	must(t, os.Remove(filepath.Join(memory, "junk.json")))

	must(t, os.Chmod(memory, 0o777))
	d.refuses(1, "others could make it forget", sign...)
	must(t, os.Chmod(memory, 0o700))
	lock, err := durable.LockFolder(memory)
	must(t, err)
	d.refuses(1, "another bailiwick-sign is signing", sign...)
	must(t, lock.Unlock())
	wantNames(t, d, "second", false)
	d.does(sign...)

	t.Run("of another user", func(t *testing.T) {
		needs.Root(t)
		must(t, os.Remove(d.path("second")))
		must(t, os.Chown(memory, 12345, 12345))
		d.refuses(1, "belongs to another user", sign...)
		wantNames(t, d, "second", false)
	})
}

// TestMemoryThatCanNotBeKept: without a memory nothing is signed.
func TestMemoryThatCanNotBeKept(t *testing.T) {
	w, d := newWorld(t, 16), newDesk(t)
	key := w.keyFile(d.dir, policy.KeyClaimed, 0)
	file := w.plan(d.dir, sitting.Wishes{MinAge: day})
	sign := []string{file, "--yes", "--key", key, "--out", d.path("signed"), "--memory"}
	must(t, os.WriteFile(d.path("plain"), nil, 0o600))
	for _, place := range []string{"plain", "plain/below"} {
		s := d.refuses(1, d.path("plain"), append(sign, d.path(place))...)
		if !strings.Contains(s.stderr, "--memory DIR") {
			t.Errorf("%s: %s", place, s.stderr)
		}
	}
	d.environ["XDG_STATE_HOME"], d.environ["HOME"] = "", ""
	d.refuses(2, "there is no home folder", sign[:len(sign)-1]...)
	d.environ["HOME"] = d.path("home")
	wantNames(t, d, "signed", false)
	d.does(sign[:len(sign)-1]...)
	if found, _ := filepath.Glob(d.path("home/.local/state/bailiwick-sign/*.json")); len(found) != 1 {
		t.Errorf("remembered in %v", found)
	}
	if info, err := os.Stat(d.path("home/.local/state/bailiwick-sign")); err != nil || info.Mode() != fs.ModeDir|0o700 {
		t.Errorf("the memory: %v, %v", info.Mode(), err)
	}
}

// TestMemoryComesFirst: what is signed is remembered before the first signature is made, so that an
// interruption can not be used to get two versions signed.
func TestMemoryComesFirst(t *testing.T) {
	d, v, args := firstRequest(t)
	v.at, v.do = 1, func() error {
		if len(wantRemembered(t, d, 1)) != 1 {
			t.Error("signing before remembering")
		}
		return fs.ErrClosed
	}
	d.refuses(1, "closed", args...)
	if m := memoryOf(t, d); len(m.Roles) != 21-2 && m.Roles[policy.RoleClaimed].Signed != 1 {
		t.Errorf("remembered: %+v", m)
	}
	var raw map[string]any
	data, err := os.ReadFile(wantRemembered(t, d, 1)[0])
	must(t, err)
	must(t, json.Unmarshal(data, &raw))
	if raw["repository"] != nil {
		t.Error("a repository that is not published yet has a hash")
	}
}
