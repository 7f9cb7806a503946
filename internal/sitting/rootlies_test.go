package sitting_test

import (
	"strings"
	"testing"
	"time"

	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/sitting"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
	"example.com/bailiwick/tuf/repo"
)

// nextRoot makes the request for a next root that no planner would make: its holders are sent it by a thief, or by one of them.
func (w *world) nextRoot(edit repo.RootEdit, expires time.Time) *sitting.Request {
	w.tb.Helper()
	r, err := w.rotate(w.change(policy.KeyRoot, 2, "alice", "bob", "zoe"))
	if err != nil {
		w.tb.Fatal(err)
	}
	root := w.Current().Set().Root()
	d, err := repo.EditRoot(root, edit, repo.Issue{Version: root.Version() + 1, Expires: expires, Now: w.now})
	if err != nil {
		w.tb.Fatal(err)
	}
	r.Payload(tuf.RoleRoot).Message = d.Message()
	return r
}

// named is the edit that lets keys be called so.
func named(names map[key.ID]string, keys ...key.ID) map[string][]byte {
	return map[string][]byte{policy.HoldersMember: policy.EncodeHolders(names, keys...)}
}

// TestHoldersAreNotRenamed: whoever reads "goes carol" has to be right in thinking of Carol's key. So a key keeps the
// name that it came with, and a renewal, which says that it changes nothing, does not change that.
func TestHoldersAreNotRenamed(t *testing.T) {
	w := newWorld(t)
	alice, bob, carol := w.key("alice").Public().ID(), w.key("bob").Public().ID(), w.key("carol").Public().ID()
	year := w.now.AddDate(1, 0, 0)
	for name, names := range map[string]map[key.ID]string{
		"exchanged": {alice: "alice", bob: "carol", carol: "bob"},
		"forgotten": {alice: "alice", bob: "bob"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := sitting.Judge(w.nextRoot(repo.RootEdit{Members: named(names, alice, bob, carol)}, year), w.now)
			wantRefused(t, err, sitting.NotAllowed, "name")
		})
	}
	for name, member := range map[string]string{
		"of somebody else's key": `{"` + string(w.key("zoe").Public().ID()) + `":"carol","` + string(alice) + `":"alice","` + string(bob) + `":"bob","` + string(carol) + `":"carol"}`,
		"and something else":     `{"` + string(alice) + `":"alice","` + string(bob) + `":"bob","` + string(carol) + `":"carol","x":"y"}`,
	} {
		t.Run(name, func(t *testing.T) {
			_, err := sitting.Judge(w.nextRoot(repo.RootEdit{Members: map[string][]byte{policy.HoldersMember: []byte(member)}}, year), w.now)
			wantRefused(t, err, sitting.NotAllowed, "more")
		})
	}
	t.Run("with a change of keys", func(t *testing.T) {
		edit := repo.RootEdit{
			Roles:   map[tuf.RoleName]tuf.Authority{tuf.RoleRoot: authorityOf(t, 2, w.public("alice", "bob")...)},
			Members: named(map[key.ID]string{alice: "bob", bob: "alice"}, alice, bob),
		}
		_, err := sitting.Judge(w.nextRoot(edit, year), w.now)
		wantRefused(t, err, sitting.NotAllowed, "name")
	})
	t.Run("who goes takes the name along", func(t *testing.T) {
		edit := repo.RootEdit{
			Roles:   map[tuf.RoleName]tuf.Authority{tuf.RoleRoot: authorityOf(t, 2, w.public("alice", "bob")...)},
			Members: named(map[key.ID]string{alice: "alice", bob: "bob"}, alice, bob),
		}
		if _, err := sitting.Judge(w.nextRoot(edit, year), w.now); err != nil {
			t.Error(err)
		}
	})
}

// TestRetiredKeysDoNotComeBack: a key that left root is refused by who signs, and not only by who plans: a lost key is in
// somebody's hands.
func TestRetiredKeysDoNotComeBack(t *testing.T) {
	w := newWorld(t)
	w.rotated([]string{"alice", "bob", "dave"}, w.change(policy.KeyRoot, 2, "alice", "bob", "dave"))
	edit := repo.RootEdit{Roles: map[tuf.RoleName]tuf.Authority{tuf.RoleRoot: authorityOf(t, 2, w.public("alice", "bob", "dave", "carol")...)}}
	_, err := sitting.Judge(w.nextRoot(edit, w.now.AddDate(1, 0, 0)), w.now)
	wantRefused(t, err, sitting.Key, "does not come back")
	edit = repo.RootEdit{Roles: map[tuf.RoleName]tuf.Authority{tuf.RoleTimestamp: authorityOf(t, 1, w.public("carol")...)}}
	_, err = sitting.Judge(w.nextRoot(edit, w.now.AddDate(1, 0, 0)), w.now)
	wantRefused(t, err, sitting.Key, "does not come back")
}

// TestAShortRootIsTold: a root that is over in an hour stops everybody until people sign again.
func TestAShortRootIsTold(t *testing.T) {
	w := newWorld(t)
	v, err := sitting.Judge(w.nextRoot(repo.RootEdit{}, w.now.Add(time.Hour)), w.now)
	if err != nil {
		t.Fatal(err)
	}
	text := ""
	for _, e := range v.Summary().Exceptions {
		text += e.Text + "\n"
	}
	if !strings.Contains(text, "days are usual") {
		t.Errorf("nothing is told but %q", text)
	}
}
