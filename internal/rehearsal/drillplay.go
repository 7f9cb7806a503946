package rehearsal

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// drillRows is the compromise table of docs/security.md.
func drillRows() []drillRow {
	return []drillRow{
		{Name: "timestamp", Stolen: []string{"timestamp"}, Title: "the key that says what is current", People: "2 of 3 holders of root", play: online("timestamp")},
		{Name: "snapshot", Stolen: []string{"snapshot"}, Title: "the key that says what belongs together", People: "2 of 3 holders of root", play: online("snapshot")},
		{Name: "timestamp+snapshot", Stolen: []string{"timestamp", "snapshot"}, Title: "both keys that say what there is", People: "2 of 3 holders of root", play: online("timestamp", "snapshot")},
		{Name: "registry", Stolen: []string{"registry"}, Title: "the key of the unclaimed bins and projects, alone", People: "the holder of unclaimed", play: online("registry")},
		{Name: "server", Stolen: []string{"timestamp", "snapshot", "registry"}, Title: "the whole server, with every key that is on it", People: "2 of 3 holders of root, the holder of unclaimed, an operator with the last good backup; maintainers of recently claimed projects claim again", leaves: (*drill).burgle, play: (*drill).rebuild},
		{Name: "server-strict", Stolen: []string{"timestamp"}, Title: "the whole server, where an isolated signer has the other keys (custody strict)", People: "2 of 3 holders of root", play: online("timestamp"), strict: true},
		{Name: "signer", Stolen: []string{"snapshot", "registry"}, Title: "the isolated signer of custody strict, alone", People: "2 of 3 holders of root, the holder of unclaimed, whoever runs the signer", play: (*drill).renewSigner, strict: true},
		{Name: "targets", Stolen: []string{"targets"}, Title: "the offline key of targets, alone", People: "2 of 3 holders of root, whoever makes the new key", play: offlineKey("targets")},
		{Name: "claimed", Stolen: []string{"claimed"}, Title: "the offline key of the claimed bins, alone", People: "the holder of targets, whoever makes the new key", play: offlineKey("claimed")},
		{Name: "unclaimed", Stolen: []string{"unclaimed"}, Title: "the offline key above the unclaimed bins, alone", People: "the holder of claimed, whoever makes the new key", play: offlineKey("unclaimed")},
		{Name: "timestamp+snapshot+claimed", Stolen: []string{"timestamp", "snapshot", "claimed"}, Title: "the server and the offline key of the claimed bins", People: "2 of 3 holders of root, the holder of targets, whoever makes the new key", play: both(both(online("timestamp", "snapshot"), offlineKey("claimed")), (*drill).audits)},
		{Name: "timestamp+snapshot+targets", Stolen: []string{"timestamp", "snapshot", "targets"}, Title: "the server and the offline key of targets", People: "2 of 3 holders of root, whoever makes the new key", play: both(both(online("timestamp", "snapshot"), offlineKey("targets")), (*drill).audits)},
		{Name: "project", Stolen: []string{drillClaimed}, Title: "enough keys of one project, and an honest index", People: "a maintainer with the recovery key, the holder of claimed", leaves: (*drill).withoutToken, play: (*drill).replaceMaintainers},
		{Name: "timestamp+snapshot+project", Stolen: []string{"timestamp", "snapshot", drillClaimed}, Title: "both keys that say what there is, and enough keys of one project", People: "2 of 3 holders of root, a maintainer with the recovery key, the holder of claimed", play: both(online("timestamp", "snapshot"), (*drill).replaceMaintainers)},
		{Name: "maintainer", Stolen: []string{"timestamp", "snapshot", "registry", "one-of-two"}, Title: "the whole server, and one key of a project that needs two", People: "2 of 3 holders of root, the holder of unclaimed, an operator with the last good backup; the other maintainer, the holder of claimed", leaves: (*drill).burgle, play: both((*drill).rebuild, (*drill).dropMaintainer)},
		{Name: "one-root", Stolen: []string{"one-root"}, Title: "fewer keys of root than have to sign", People: "2 of the other holders of root, and a new one", play: (*drill).newHolder},
		{Name: "root", Stolen: []string{"root"}, Title: "as many keys of root as have to sign", People: "everybody: the holders of root and new ones, and each user, who has to hear of the new root", play: (*drill).startOver, lost: true},
	}
}

// online is the playbook for keys that lie on the server.
func online(roles ...string) func(*drill, context.Context) error {
	return func(d *drill, ctx context.Context) error {
		args := append([]string{"rotate"}, roles...)
		if _, err := d.types(ctx, "ops", append(args, "--data", "data", "--out", "online.request")...); err != nil {
			return err
		}
		var signers [][]string
		for _, role := range roles {
			if role != "registry" && len(signers) == 0 {
				signers = append(signers, d.holdersOfRoot()...)
			}
			if role == "registry" {
				signers = append(signers, d.holder("unclaimed"))
			}
		}
		return d.publishes(ctx, "online.request", signers...)
	}
}

// holdersOfRoot are two people who can sign root.
func (d *drill) holdersOfRoot() [][]string {
	if d.steals.has("root") && d.moved {
		return [][]string{{"carol", "carol/carol.key"}, {"dave", "dave/dave.key"}}
	}
	return [][]string{{"bob", "bob/bob.key"}, {"carol", "carol/carol.key"}}
}

func both(first, then func(*drill, context.Context) error) func(*drill, context.Context) error {
	return func(d *drill, ctx context.Context) error {
		if err := first(d, ctx); err != nil {
			return err
		}
		return then(d, ctx)
	}
}

// offlineKey is the playbook for the key of targets, claimed or unclaimed.
func offlineKey(role string) func(*drill, context.Context) error {
	return func(d *drill, ctx context.Context) error {
		next := "next-" + role
		if err := d.newKey(ctx, "ops", next); err != nil {
			return err
		}
		old := keyShownFor(d.run(ctx, "root", "show", "--data", "data").text, role)
		if _, err := d.types(ctx, "ops", "rotate", role, "--data", "data", "--add", "ops/"+next+".key", "--remove", old, "--yes", "--out", role+".request"); err != nil {
			return err
		}
		mine := []string{"ops", "ops/" + next + ".key"}
		switch role {
		case "targets":
			return d.publishes(ctx, role+".request", []string{"bob", "bob/bob.key"}, []string{"carol", "carol/carol.key"}, mine)
		case "claimed":
			return d.publishes(ctx, role+".request", append(mine, "ops/keys/targets.key"))
		}
		return d.publishes(ctx, role+".request", append(mine, "ops/keys/claimed.key"))
	}
}

// burgle leaves forged releases in the index itself: the server goes on with them when the thief is gone.
func (d *drill) burgle(ctx context.Context) error {
	d.say("- forged releases in the index's own storage, so that it serves them by itself")
	undo, err := d.impersonate(ctx, func(ctx context.Context, t *thief) error {
		f, err := d.newForger(ctx, t, 0)
		if err != nil {
			return err
		}
		for _, project := range []string{drillRecent, drillUnclaimed} {
			if err := f.release(ctx, project); err != nil {
				return err
			}
		}
		if err := f.pin(ctx, nil); err != nil {
			return err
		}
		return f.commit(ctx)
	})
	if err != nil {
		return err
	}
	if err := undo(); err != nil {
		return err
	}
	if err := copyFolder(filepath.Join(d.dir, "newcomer"), filepath.Join(d.dir, "newcomer-burgled")); err != nil {
		return err
	}
	d.homes = append(d.homes, "newcomer-burgled")
	for _, project := range drillProjects() {
		want := "forged"
		if project == drillClaimed {
			want = "newest"
		}
		got, err := d.look(ctx, "newcomer-burgled", project)
		if err != nil {
			return err
		}
		d.tell("burgle", "newcomer", []string{project}, []sight{got})
		if got.outcome != want {
			return fmt.Errorf("a newcomer gets of %s: %s, expected %s", project, got, want)
		}
		d.held++
	}
	return nil
}

// rebuild is the playbook for the whole server.
func (d *drill) rebuild(ctx context.Context) error {
	if err := d.stopServer(); err != nil {
		return err
	}
	d.say("(the server is stopped and its machine is made anew; keys are changed before anything is served)")
	if err := online("timestamp", "snapshot", "registry")(d, ctx); err != nil {
		return err
	}
	if _, err := d.types(ctx, "ops", "restore", "--data", "data", "--from", "backup", "--yes"); err != nil {
		return err
	}
	if err := d.serve(ctx); err != nil {
		return err
	}
	if err := d.audits(ctx); err != nil {
		return err
	}
	return d.maintains(ctx, "claim", drillRecent, "--key", "maya/maya.key")
}

// audits holds the record against what is delegated.
func (d *drill) audits(ctx context.Context) error {
	_, err := d.types(ctx, "ops", "audit", "--data", "data")
	return err
}

// renewSigner is the playbook for the isolated signer: it gets keys that nobody else has seen.
func (d *drill) renewSigner(ctx context.Context) error {
	if err := d.stopServer(); err != nil { // and the signer with it
		return err
	}
	if _, err := d.types(ctx, "signer", "signer", "new-key", "snapshot", "registry", "--keys", "signer-keys"); err != nil {
		return err
	}
	if err := d.serve(ctx); err != nil {
		return err
	}
	return online("snapshot", "registry")(d, ctx)
}

// withoutToken shows that keys of a project are not enough for an honest index.
func (d *drill) withoutToken(ctx context.Context) error {
	d.say("- a release signed with the stolen keys, brought to the honest index without a token")
	if err := copyFolder(filepath.Join(d.dir, "newcomer"), filepath.Join(d.dir, "thief")); err != nil {
		return err
	}
	d.user = "thief"
	return d.refuses(ctx, "thief", "token", "yank", drillClaimed, "1.1", "--key", "loot/maya.key", "--key", "loot/noor.key", "--passphrase-file", "passphrase", "--yes")
}

// replaceMaintainers is the playbook for a project whose keys are stolen, all of those that sign.
func (d *drill) replaceMaintainers(ctx context.Context) error {
	if err := d.newKey(ctx, "maya", "other"); err != nil {
		return err
	}
	if err := d.replaceMaintainer(ctx, "maya", "fresh", "noor"); err != nil {
		return err
	}
	if err := d.replaceMaintainer(ctx, "noor", "other", "fresh"); err != nil {
		return err
	}
	return d.signWith("maya/fresh.key", "maya/other.key")
}

// dropMaintainer is the playbook for one stolen key of two.
func (d *drill) dropMaintainer(ctx context.Context) error {
	if err := d.replaceMaintainer(ctx, "maya", "fresh", "noor"); err != nil {
		return err
	}
	return d.signWith("maya/fresh.key", "maya/noor.key")
}

// replaceMaintainer puts a key in the place of a stolen one, with the recovery key and one that signs as well.
func (d *drill) replaceMaintainer(ctx context.Context, stolen, fresh, with string) error {
	id, err := d.keyID(ctx, filepath.Join("maya", stolen+".key"))
	if err != nil {
		return err
	}
	if err := d.maintains(ctx, "revoke", drillClaimed, "--key", id, "--stolen", "--keep", "*", "--recovery", "maya/safe.key", "--replacement", "maya/"+fresh+".key"); err != nil {
		return err
	}
	if err := d.maintains(ctx, "sign", drillClaimed, "--key", "maya/"+with+".key"); err != nil {
		return err
	}
	return d.sits(ctx, "revocation-of-"+stolen, "--except", drillRecent)
}

// signWith says with what the claimed project is signed from now on.
func (d *drill) signWith(keys ...string) error {
	if err := os.WriteFile(filepath.Join(d.dir, "maya", "keys-of-"+drillClaimed), []byte(strings.Join(keys, " ")), 0o600); err != nil {
		return fmt.Errorf("noting who signs: %w", err)
	}
	return nil
}

// keyID is the first digits of a key's id.
func (d *drill) keyID(ctx context.Context, file string) (string, error) {
	out := d.run(ctx, "keys", "show", file, "--json")
	var k struct {
		KeyID string `json:"keyid"`
	}
	if err := json.Unmarshal([]byte(out.stdout), &k); err != nil || len(k.KeyID) < 12 {
		return "", fmt.Errorf("bailiwick keys show %s ended with %d: %s", file, out.code, out.text)
	}
	return k.KeyID[:12], nil
}

// newHolder is the playbook for a key of root.
func (d *drill) newHolder(ctx context.Context) error {
	if err := d.inviteMore(ctx, "dave"); err != nil {
		return err
	}
	if _, err := d.types(ctx, "ops", "rotate", "root", "--data", "data", "--add", "dave/accepted.json", "--invitation", "more.json", "--remove", "alice", "--yes", "--out", "root2.request"); err != nil {
		return err
	}
	return d.publishes(ctx, "root2.request", []string{"bob", "bob/bob.key"}, []string{"carol", "carol/carol.key"})
}

// inviteMore has people join those who hold root.
func (d *drill) inviteMore(ctx context.Context, names ...string) error {
	args := append([]string{"root", "invite", "--data", "data", "--threshold", "2"}, names...)
	if _, err := d.types(ctx, "ops", append(args, "--key", "ops/ops.key", "--passphrase-file", "passphrase", "--out", "more.json")...); err != nil {
		return err
	}
	for _, who := range names {
		if err := d.accepts(ctx, who, "more.json"); err != nil {
			return err
		}
	}
	return nil
}

// startOver is what remains when root itself is stolen: a root that users are told of by other ways.
func (d *drill) startOver(ctx context.Context) error {
	if err := d.inviteMore(ctx, "dave", "erin"); err != nil {
		return err
	}
	if _, err := d.types(ctx, "ops", "rotate", "root", "--data", "data", "--add", "dave/accepted.json", "--add", "erin/accepted.json", "--invitation", "more.json",
		"--remove", "alice", "--remove", "bob", "--yes", "--out", "root2.request"); err != nil {
		return err
	}
	if err := d.publishes(ctx, "root2.request", []string{"alice", "alice/alice.key"}, []string{"carol", "carol/carol.key"}, []string{"dave", "dave/dave.key"}); err != nil {
		return err
	}
	d.moved = true
	if err := online("timestamp", "snapshot", "registry")(d, ctx); err != nil {
		return err
	}
	got, err := d.look(ctx, "user-forge", drillClaimed)
	if err != nil {
		return err
	}
	d.tell("followed the thief", "user", []string{drillClaimed}, []sight{got})
	if got.problem == nil {
		return errors.New("a user who followed the thief's root got on by himself, which he can not")
	}
	d.held++
	return nil
}

// newPin is what a user does who was told of a new root.
func (d *drill) newPin(ctx context.Context, home string) error {
	root, err := d.metadata(ctx, "2.root.json")
	if err != nil {
		return err
	}
	d.user = home
	_, err = d.types(ctx, "user", "trust", "add", d.url, "--root", fmt.Sprintf("sha256:%x", sha256.Sum256(root)), "--replace")
	return err
}
