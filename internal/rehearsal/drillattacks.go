package rehearsal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"example.com/bailiwick/internal/keys"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
	"example.com/bailiwick/tuf/trust"
)

// theft is what a row steals.
type theft []string

func (t theft) has(all ...string) bool {
	for _, one := range all {
		if !slices.Contains(t, one) {
			return false
		}
	}
	return true
}

// pins reports whether the thief can make clients look at what he likes: both keys that say what is current.
func (t theft) pins() bool { return t.has("timestamp", "snapshot") }

// forges is the compromise table: whether users can be given what the thief made.
func (t theft) forges(project string) bool {
	switch {
	case t.has("root"):
		return true
	case !t.pins():
		return false
	case t.has("targets") || t.has("claimed") || t.has(project):
		return true
	}
	return project != drillClaimed && t.has("registry")
}

// raises reports whether the thief can show projects as claimed that nobody vouched for.
func (t theft) raises() bool { return t.pins() && (t.has("claimed") || t.has("targets")) }

// attack is one thing that a thief does with what he has.
type attack struct {
	name  string
	title string
	needs func(t theft) bool // nil: nothing
	ahead time.Duration      // how much later the users come
	do    func(ctx context.Context, d *drill, f *forger) error
	// want is what a user gets of a project; met: he was there before the theft.
	want func(t theft, met bool, project string) string
}

// always is the same for everybody.
func always(outcome string) func(theft, bool, string) string {
	return func(theft, bool, string) string { return outcome }
}

func refusal(code trust.Code) string { return "refused: " + string(code) }

// attacks are all of them, the one that stays in clients' memories last.
func attacks() []attack {
	return []attack{
		{name: "swap", title: "other bytes under the name of a signed file", do: swapBytes, want: always(refusal(trust.Hash))},
		{name: "forge", title: "a release that nobody but the thief made", do: forgeRelease, want: func(t theft, _ bool, project string) string {
			if t.forges(project) {
				return "forged"
			}
			return refusal(trust.Threshold)
		}},
		{name: "rollback", title: "everything as it was before the newest releases", do: rollBack, want: func(_ theft, met bool, _ string) string {
			if met {
				return refusal(trust.Rollback)
			}
			return "older"
		}},
		{name: "freeze", title: "nothing new for three days", ahead: 72 * time.Hour, do: freeze, want: func(t theft, _ bool, _ string) string {
			if t.has("timestamp") {
				return "newest"
			}
			return refusal(trust.Expired)
		}},
		{name: "long-freeze", title: "nothing new for nine days", ahead: 9 * 24 * time.Hour, do: freeze, want: func(t theft, _ bool, _ string) string {
			if t.has("timestamp", "snapshot") {
				return "newest"
			}
			return refusal(trust.Expired)
		}},
		{
			name: "endless-freeze", title: "nothing new for seventy days", ahead: 70 * 24 * time.Hour, do: freeze, needs: func(t theft) bool { return !t.has("claimed") && !t.has("targets") },
			want: always(refusal(trust.Expired)),
		},
		{name: "mix", title: "the list of one moment with the files of another", do: mixAndMatch, want: func(_ theft, met bool, _ string) string {
			if met {
				return "newest" // he has those files, and does not ask for them
			}
			return refusal(trust.MixAndMatch)
		}},
		{name: "bins", title: "another bin in the place of the claimed project's", needs: theft.pins, do: swapBins, want: func(_ theft, met bool, project string) string {
			if met || project == drillClaimed {
				return refusal(trust.Rollback)
			}
			return "newest"
		}},
		{name: "drop", title: "a name dropped from the snapshot", needs: theft.pins, do: dropName, want: func(_ theft, met bool, project string) string {
			switch {
			case met:
				return refusal(trust.Rollback)
			case project == drillClaimed:
				return refusal(trust.Missing)
			}
			return "newest"
		}},
		{name: "old-bin", title: "the claimed bin from before the claim, and a forged release behind it", needs: theft.pins, do: oldBin, want: func(_ theft, met bool, project string) string {
			if met || project == drillClaimed {
				return refusal(trust.Rollback)
			}
			return "newest"
		}},
		{name: "fast-forward", title: "versions pushed to the highest number", needs: func(t theft) bool { return t.has("timestamp") }, do: fastForward, want: always("newest")},
	}
}

// swapBytes changes a bit of every file.
func swapBytes(ctx context.Context, d *drill, f *forger) error {
	for sum := range d.honest {
		blob, err := f.files.Open(ctx, sum)
		if err != nil {
			return fmt.Errorf("reading a stolen file: %w", err)
		}
		data := make([]byte, blob.Size())
		_, err = io.ReadFull(blob, data)
		if err = errors.Join(err, blob.Close()); err != nil {
			return fmt.Errorf("reading a stolen file: %w", err)
		}
		data[len(data)/3] ^= 0x20
		f.forged[sum] = data
	}
	return nil
}

func forgeRelease(ctx context.Context, _ *drill, f *forger) error {
	for _, project := range drillProjects() {
		if err := f.release(ctx, project); err != nil {
			return err
		}
	}
	return f.pin(ctx, nil)
}

// rollBack shows an earlier moment, under versions as new as the stolen keys can make them.
func rollBack(ctx context.Context, d *drill, f *forger) error {
	if !f.has("timestamp") {
		old, err := f.ledger.Metadata(ctx, tuf.RoleTimestamp, d.before)
		f.replaced["timestamp.json"] = old.Bytes
		return err //nolint:wrapcheck // names what is missing
	}
	at, err := f.signed(ctx, tuf.RoleTimestamp, d.before)
	if err != nil {
		return err
	}
	version := number(member(at, "meta", "snapshot.json")["version"])
	if !f.has("snapshot") {
		old, err := f.ledger.Metadata(ctx, tuf.RoleSnapshot, version)
		if err != nil {
			return err //nolint:wrapcheck // names what is missing
		}
		return f.stamp(ctx, old.Bytes, version)
	}
	snapshot, err := f.signed(ctx, tuf.RoleSnapshot, version)
	if err != nil {
		return err
	}
	return f.pin(ctx, func(list object) {
		clear(list)
		for name, entry := range member(snapshot, "meta") {
			list[name] = entry
		}
	})
}

// freeze goes on with what is there, and lets it live on as far as the stolen keys can.
func freeze(ctx context.Context, _ *drill, f *forger) error {
	switch {
	case f.has("timestamp", "snapshot"):
		return f.pin(ctx, nil)
	case f.has("timestamp"):
		head, err := f.ledger.Head(ctx)
		if err != nil {
			return err //nolint:wrapcheck // names what is missing
		}
		m, err := f.ledger.Metadata(ctx, tuf.RoleSnapshot, head.Snapshot)
		if err != nil {
			return err //nolint:wrapcheck // names what is missing
		}
		return f.stamp(ctx, m.Bytes, head.Snapshot)
	}
	return nil
}

// mixAndMatch serves each project's list of before under the name of the newest.
func mixAndMatch(ctx context.Context, _ *drill, f *forger) error {
	for _, project := range drillProjects() {
		role := tuf.RoleName("project." + project)
		newest, err := f.ledger.Metadata(ctx, role, 0)
		if err != nil {
			return err //nolint:wrapcheck // names what is missing
		}
		old, err := f.ledger.Metadata(ctx, role, newest.Version-1)
		if err != nil {
			return err //nolint:wrapcheck // names what is missing
		}
		f.replaced[f.fileName(role, newest.Version)] = old.Bytes
	}
	return nil
}

// claimedBins are the bin of the claimed project and that of another one.
func (d *drill) claimedBins(f *forger) (mine, other tuf.RoleName) {
	project, _ := pypi.ParseProject(drillClaimed)
	strange, _ := pypi.ParseProject(drillRecent)
	return f.layout.ClaimedBin(project), f.layout.ClaimedBin(strange)
}

func swapBins(ctx context.Context, d *drill, f *forger) error {
	mine, other := d.claimedBins(f)
	signed, err := f.signed(ctx, other, 0)
	if err != nil {
		return err
	}
	b, err := f.ledger.Metadata(ctx, other, 0)
	if err != nil {
		return err //nolint:wrapcheck // names what is missing
	}
	version := number(signed["version"])
	f.replaced[f.fileName(mine, version)] = b.Bytes
	return f.pin(ctx, func(list object) { list[string(mine)+".json"] = object{"version": version} })
}

func dropName(ctx context.Context, _ *drill, f *forger) error {
	return f.pin(ctx, func(list object) { delete(list, "project."+drillClaimed+".json") })
}

func oldBin(ctx context.Context, d *drill, f *forger) error {
	bin, _ := d.claimedBins(f)
	if f.has("registry") {
		if err := f.release(ctx, drillClaimed); err != nil {
			return err
		}
	}
	at, err := f.signed(ctx, tuf.RoleTimestamp, d.claim)
	if err != nil {
		return err
	}
	snapshot, err := f.signed(ctx, tuf.RoleSnapshot, number(member(at, "meta", "snapshot.json")["version"]))
	if err != nil {
		return err
	}
	return f.pin(ctx, func(list object) { list[string(bin)+".json"] = member(snapshot, "meta")[string(bin)+".json"] })
}

// fastForward makes clients believe that they have seen the last version that there can be.
func fastForward(ctx context.Context, _ *drill, f *forger) error {
	last := func(role tuf.RoleName) error {
		return f.edit(ctx, role, string(role), func(signed object) { signed["version"] = int64(math.MaxInt64); f.prolong(signed, string(role)) })
	}
	if !f.has("snapshot") {
		return last(tuf.RoleTimestamp)
	}
	if f.has("registry") {
		project, _ := pypi.ParseProject(drillUnclaimed)
		for _, role := range []tuf.RoleName{policy.ProjectRole(project), f.layout.UnclaimedBin(project)} {
			if err := f.edit(ctx, role, "registry", func(signed object) { signed["version"] = int64(math.MaxInt64) }); err != nil {
				return err
			}
		}
	}
	if err := f.pin(ctx, nil); err != nil {
		return err
	}
	if err := last(tuf.RoleSnapshot); err != nil {
		return err
	}
	if err := f.stamp(ctx, f.replaced[f.fileName(tuf.RoleSnapshot, math.MaxInt64)], math.MaxInt64); err != nil {
		return err
	}
	return last(tuf.RoleTimestamp)
}

// newForger is the thief, with the keys of the row.
func (d *drill) newForger(ctx context.Context, t *thief, ahead time.Duration) (*forger, error) {
	_, own, err := key.GenerateEd25519()
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	layout, err := policy.NewLayout(drillBins)
	if err != nil {
		return nil, err //nolint:wrapcheck // names what is wrong
	}
	f := &forger{thief: t, layout: layout, own: own, stolen: map[string][]key.Signer{}, versions: map[tuf.RoleName]int64{}, at: d.env.Now().Add(ahead)}
	for _, what := range d.steals {
		if f.stolen[what], err = d.steal(ctx, what); err != nil {
			return nil, err
		}
		switch what {
		case "one-root": // tried where both would be needed
			f.stolen["root"] = f.stolen[what]
		case "one-of-two":
			f.stolen[drillClaimed] = f.stolen[what]
		}
	}
	return f, nil
}

// steal opens the keys that a row names.
func (d *drill) steal(ctx context.Context, what string) ([]key.Signer, error) {
	files := map[string][]string{
		"root":       {"alice/alice.key", "bob/bob.key"},
		"one-root":   {"alice/alice.key"},
		"targets":    {"ops/keys/targets.key"},
		"claimed":    {"ops/keys/claimed.key"},
		"unclaimed":  {"ops/keys/unclaimed.key"},
		drillClaimed: {"maya/maya.key", "maya/noor.key"},
		"one-of-two": {"maya/maya.key"},
	}[what]
	if policy.KeyRole(what).Online() {
		k, err := keys.LoadOnline(filepath.Join(d.dir, "loot", what+".key"))
		if err != nil {
			return nil, fmt.Errorf("stealing a key: %w", err)
		}
		return []key.Signer{k}, nil
	}
	var out []key.Signer
	for _, file := range files {
		k, err := keys.LoadOffline(ctx, filepath.Join(d.dir, "loot", filepath.Base(file)), func(context.Context, string) ([]byte, error) { return []byte(passphrase), nil })
		if err != nil {
			return nil, fmt.Errorf("stealing a key: %w", err)
		}
		out = append(out, k)
	}
	return out, nil
}

// loot copies every key of the repository to where the thief can reach it: what is changed later, he does not have.
func (d *drill) loot() error {
	if err := os.MkdirAll(filepath.Join(d.dir, "loot"), 0o700); err != nil {
		return fmt.Errorf("stealing keys: %w", err)
	}
	for _, from := range []string{"data/keys", "ops/keys", "maya", "alice", "bob", "signer-keys"} {
		entries, err := os.ReadDir(filepath.Join(d.dir, from))
		if errors.Is(err, fs.ErrNotExist) {
			continue // custody standard has no signer
		}
		if err != nil {
			return fmt.Errorf("stealing keys: %w", err)
		}
		for _, e := range entries {
			if !strings.HasSuffix(e.Name(), ".key") {
				continue
			}
			data, err := os.ReadFile(filepath.Join(d.dir, from, e.Name()))
			if err == nil {
				err = os.WriteFile(filepath.Join(d.dir, "loot", e.Name()), data, 0o600) //nolint:gosec // the drill's own folder
			}
			if err != nil {
				return fmt.Errorf("stealing keys: %w", err)
			}
		}
	}
	return nil
}

// play has the thief do something, and looks what becomes of two users.
func (d *drill) play(ctx context.Context, a *attack) error {
	d.say("- %s", a.title)
	undo, err := d.impersonate(ctx, func(ctx context.Context, t *thief) error {
		f, err := d.newForger(ctx, t, a.ahead)
		if err != nil {
			return err
		}
		return a.do(ctx, d, f)
	})
	if err != nil {
		return err
	}
	d.shift(a.ahead)
	err = d.watchAttack(ctx, a)
	d.shift(0)
	if undone := undo(); err == nil {
		err = undone
	}
	return err
}

// watchAttack holds what users get against the table.
func (d *drill) watchAttack(ctx context.Context, a *attack) error {
	for _, who := range []struct {
		name string
		met  bool
	}{{"user", true}, {"newcomer", false}} {
		home := who.name + "-" + a.name
		if err := copyFolder(filepath.Join(d.dir, who.name), filepath.Join(d.dir, home)); err != nil {
			return err
		}
		if a.ahead == 0 { // those who come later have seen nothing that the others have not
			d.homes = append(d.homes, home)
		}
		got := make([]sight, len(drillProjects()))
		for i, project := range drillProjects() {
			var err error
			if got[i], err = d.look(ctx, home, project); err != nil {
				return fmt.Errorf("%s: %s looks at %s: %w", a.title, home, project, err)
			}
		}
		d.tell(a.name, who.name, drillProjects(), got)
		for i, project := range drillProjects() {
			if want := a.want(d.steals, who.met, project); got[i].outcome != want {
				return fmt.Errorf("%s: %s gets of %s: %s, and the table says %s", a.title, who.name, project, got[i], want)
			}
			d.held++
		}
	}
	return nil
}

// tell notes and shows what somebody got of some projects; what is the same of several stands once.
func (d *drill) tell(step, who string, projects []string, got []sight) {
	var texts []string
	about := map[string][]string{}
	for i, s := range got {
		text := s.version + " (" + s.outcome + ")"
		if s.problem != nil {
			text, _, _ = strings.Cut(s.problem.Phrase(), " (bailiwick why")
			text = strings.TrimPrefix(strings.Replace(text, d.url, "the index", 1), projects[i]+" ")
		}
		d.facts = append(d.facts, fact{Step: step, Who: who, Project: projects[i], Outcome: s.outcome, Text: text})
		if about[text] == nil {
			texts = append(texts, text)
		}
		about[text] = append(about[text], projects[i])
	}
	for _, text := range texts {
		d.say("    %-9s %-22s %s", who, strings.Join(about[text], ", "), text)
	}
}
