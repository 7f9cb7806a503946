package client_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"pgregory.net/rapid"

	"example.com/bailiwick/internal/testrepo"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/client"
	"example.com/bailiwick/tuf/trust"
)

// This file plays random histories: an honest publisher, who also changes keys; an
// attacker, who is the network and may have stolen the online keys; and clients. Held
// against what was honestly published is everything that a client accepts.

// publication is what the honest publisher made at one time.
type publication struct {
	bytes    map[string][]byte // by role
	versions map[string]int64
	listing  map[string]string // path → content, as an honest search finds it
	says     string            // what its timestamp says
}

// rootKeys are the names of the online keys that a root names, and of the targets key.
type rootKeys struct{ timestamp, snapshot, targets string }

// history is a run.
type history struct {
	t      testing.TB
	repo   *testrepo.Repo
	store  client.Store
	client *client.Client

	pubs     []publication
	roots    []rootKeys                 // by version, less one
	honest   map[string]map[string]bool // role → every honest file of it
	contents map[string]map[string]bool // path → every content ever listed for it
	keyOf    map[string]string          // targets file → key that signed it
	keys     rootKeys
	stolen   map[string]bool
	count    int

	forged  map[string][]byte // the attacker's answers, by name; nil: absent
	last    *trust.Set        // accepted before, from this store
	refused int
	taken   int
}

func newHistory(t testing.TB) *history {
	h := &history{
		t: t, repo: testrepo.New(t, testrepo.Options{}), keys: rootKeys{"timestamp-1", "snapshot-1", "targets-1"},
		honest: map[string]map[string]bool{}, contents: map[string]map[string]bool{}, keyOf: map[string]string{},
		stolen: map[string]bool{}, forged: map[string][]byte{},
	}
	h.root() // version 1 was made with the repository, and ends within a year
	for _, role := range []string{"root", "snapshot", "targets", "a", "b"} {
		h.repo.Life[role] = 100 * 365 * 24 * time.Hour // only timestamps expire here
	}
	h.repo.Life["timestamp"] = 30 * 24 * time.Hour
	h.repo.Touch("targets")
	h.repo.Delegate("targets", testrepo.Delegation{Name: "a", Paths: []string{"*"}})
	h.repo.Delegate("targets", testrepo.Delegation{Name: "b", Paths: []string{"*"}})
	h.root()
	h.publish()
	h.fresh()
	return h
}

// Metadata implements client.Fetcher: the attacker's answers, and else the honest ones.
func (h *history) Metadata(ctx context.Context, name string, limit int64) ([]byte, error) {
	data, ok := h.forged[name]
	switch {
	case !ok:
		return h.repo.Metadata(ctx, name, limit)
	case data == nil:
		return nil, fmt.Errorf("%s: %w", name, client.ErrAbsent)
	case int64(len(data)) > limit:
		return nil, fmt.Errorf("%s: %w", name, client.ErrTooLarge)
	}
	return data, nil
}

// Target implements client.Fetcher.
func (h *history) Target(ctx context.Context, name string, offset int64) (io.ReadCloser, error) {
	return h.repo.Target(ctx, name, offset)
}

// fresh begins with nothing but the anchor.
func (h *history) fresh() {
	h.store, h.last = client.NewMemory(), nil
	h.restart()
}

// restart is a new process with the same store.
func (h *history) restart() {
	c, err := client.New(client.Config{Fetcher: h, Store: h.store, Root: h.repo.Root(1), Now: h.repo.Now})
	if err != nil {
		h.t.Fatal(err)
	}
	h.client = c
}

// root publishes a root with the keys in force.
func (h *history) root() {
	if len(h.roots) > 0 {
		h.repo.Top["timestamp"], h.repo.Top["snapshot"], h.repo.Top["targets"] = one(h.keys.timestamp), one(h.keys.snapshot), one(h.keys.targets)
		h.repo.PublishRoot()
	}
	h.roots = append(h.roots, h.keys)
	h.note("root", h.repo.Bytes("root"))
}

func one(name string) testrepo.Holders {
	return testrepo.Holders{Keys: []testrepo.Key{testrepo.NewKey(name)}, Threshold: 1}
}

func (h *history) note(role string, data []byte) {
	if h.honest[role] == nil {
		h.honest[role] = map[string]bool{}
	}
	h.honest[role][h.meaning(role, data)] = true
}

// meaning is what is signed of a file. What lies around it (the layout of the envelope,
// the case of a signature's digits) anybody can change without changing what is said.
func (h *history) meaning(role string, data []byte) string {
	h.t.Helper()
	switch role {
	case "root":
		return message(h.t, tuf.ParseRoot, data)
	case "timestamp":
		return message(h.t, tuf.ParseTimestamp, data)
	case "snapshot":
		return message(h.t, tuf.ParseSnapshot, data)
	}
	return message(h.t, tuf.ParseTargets, data)
}

func message[T any](t testing.TB, parse func([]byte, *tuf.Limits) (*tuf.Unverified[T], error), data []byte) string {
	t.Helper()
	u, err := parse(data, nil)
	if err != nil {
		t.Fatal(err)
	}
	return string(u.Message())
}

// publish makes the next publication.
func (h *history) publish() {
	h.repo.Publish()
	p := publication{bytes: map[string][]byte{}, versions: map[string]int64{}, listing: map[string]string{}}
	for _, role := range []string{"timestamp", "snapshot", "targets", "a", "b"} {
		p.bytes[role], p.versions[role] = h.repo.Bytes(role), h.repo.Versions[role]
		h.note(role, p.bytes[role])
	}
	p.says = h.meaning("timestamp", p.bytes["timestamp"])
	h.keyOf[h.meaning("targets", p.bytes["targets"])] = h.keys.targets
	for _, role := range []string{"b", "a", "targets"} { // the last has the say
		for path := range h.repo.Roles[role].Targets {
			content := h.contentOf(role, path)
			p.listing[path] = content
		}
	}
	h.pubs = append(h.pubs, p)
}

func (h *history) contentOf(role, path string) string {
	entry := h.repo.Roles[role].Targets[path]
	return entry["hashes"].(map[string]any)["sha256"].(string)
}

// step does one thing. Its argument says which, to whom and with what.
func (h *history) step(op, arg byte) {
	roles := []string{"targets", "a", "b"}
	role := roles[int(arg)%3]
	switch op % 20 {
	case 0, 1: // the publisher lists a file
		path := fmt.Sprint("file", arg%4)
		h.count++
		h.repo.AddTarget(role, path, fmt.Append(nil, role, h.count))
		if h.contents[path] == nil {
			h.contents[path] = map[string]bool{}
		}
		h.contents[path][h.contentOf(role, path)] = true
		h.publish()
	case 2:
		h.repo.Touch(role)
		h.publish()
	case 3: // the publisher changes keys, and publishes under them
		h.count++
		name := fmt.Sprint("key", h.count)
		switch arg % 4 {
		case 0:
			h.keys.timestamp = name
		case 1:
			h.keys.snapshot = name
		case 2:
			h.keys.timestamp, h.keys.snapshot = name, name+" too"
		case 3:
			h.keys.targets = name
			h.repo.Touch("targets")
		}
		h.root()
		h.publish()
	case 4:
		h.repo.Advance(time.Duration(arg) * time.Hour)
	case 5:
		if arg%2 == 0 {
			h.stolen[h.keys.timestamp] = true
		} else {
			h.stolen[h.keys.timestamp], h.stolen[h.keys.snapshot] = true, true
		}
	case 6: // the attacker shows one publication of the past, whole
		p := h.pubs[int(arg)%len(h.pubs)]
		h.show(p, "timestamp", "snapshot", "targets", "a", "b")
	case 7: // or parts of it, under the names of what should be there
		p := h.pubs[int(arg/8)%len(h.pubs)]
		name := []string{"timestamp", "snapshot", "targets", "a", "b"}[arg%5]
		h.forged[h.repo.FileName(name)] = p.bytes[name]
	case 8: // one role in another's place
		names := []string{"root", "timestamp", "snapshot", "targets", "a", "b"}
		h.forged[h.repo.FileName(names[arg%6])] = h.repo.Bytes(names[arg/6%6])
	case 9: // an own one
		h.forged[h.repo.FileName(role)] = testrepo.Envelope(h.signed("targets", h.repo.Versions[role], map[string]any{"targets": map[string]any{}}), testrepo.NewKey("attacker"))
	case 10:
		name := []string{"timestamp", "snapshot", "targets", "a", "b"}[arg%5]
		data := bytes.Clone(h.repo.Bytes(name))
		data[int(arg)*len(data)/256] ^= 1 << (arg % 8)
		h.forged[h.repo.FileName(name)] = data
	case 11:
		h.forged[h.repo.FileName([]string{"timestamp", "snapshot", "targets", "a", "b"}[arg%5])] = nil
	case 12: // hides roots
		h.forged[fmt.Sprintf("%d.root.json", int(arg)%(len(h.roots)+1)+1)] = nil
	case 13: // shows roots that are not next, or nobody's
		next := fmt.Sprintf("%d.root.json", len(h.roots)+1)
		if h.forged[next] = h.repo.Root(int64(arg)%int64(len(h.roots)) + 1); arg%2 == 0 {
			h.forged[next] = h.forgedRoot(int64(len(h.roots) + 1))
		}
	case 14:
		h.forgeTimestamp(arg)
	case 15:
		h.forgeSnapshot(arg)
	case 16:
		clear(h.forged)
	case 17:
		h.restart()
	case 18:
		h.fresh()
	case 19:
		h.refresh()
	}
}

// show serves files of a publication, under the names that they had.
func (h *history) show(p publication, roles ...string) {
	for _, role := range roles {
		name := trust.FileName(tuf.RoleName(role), p.versions[role], true)
		h.forged[name] = p.bytes[role]
	}
}

func (h *history) signed(kind string, version int64, members map[string]any) map[string]any {
	members["_type"], members["spec_version"], members["version"] = kind, "1.0.34", version
	members["expires"] = h.repo.Clock.Add(365 * 24 * time.Hour).Format("2006-01-02T15:04:05Z")
	return members
}

// forgedRoot is a root in which the attacker is everybody, signed by that and with what
// was stolen.
func (h *history) forgedRoot(version int64) []byte {
	self := testrepo.NewKey("attacker")
	role := map[string]any{"keyids": []any{string(self.ID())}, "threshold": 1}
	return testrepo.Envelope(h.signed("root", version, map[string]any{
		"consistent_snapshot": true, "keys": map[string]any{string(self.ID()): self.Object},
		"roles": map[string]any{"root": role, "timestamp": role, "snapshot": role, "targets": role},
	}), self, h.thiefOr("attacker too"))
}

func (h *history) thiefOr(other string) testrepo.Key {
	if k := h.thief(func(k rootKeys) string { return k.timestamp }); k.Name != "attacker" {
		return k
	}
	return testrepo.NewKey(other)
}

// forgeTimestamp signs a timestamp with the newest timestamp key that was stolen, or with
// the attacker's own.
func (h *history) forgeTimestamp(arg byte) {
	p := h.pubs[int(arg)%len(h.pubs)]
	version, ahead := p.versions["snapshot"], int64(arg)*1000
	meta := map[string]any{"snapshot.json": map[string]any{"version": version + int64(arg%2)*ahead}}
	h.forged["timestamp.json"] = testrepo.Envelope(h.signed("timestamp", h.repo.Versions["timestamp"]+ahead, map[string]any{"meta": meta}), h.thief(func(k rootKeys) string { return k.timestamp }))
}

// forgeSnapshot does likewise, and lists roles at any versions.
func (h *history) forgeSnapshot(arg byte) {
	p, q := h.pubs[int(arg)%len(h.pubs)], h.pubs[int(arg/16)%len(h.pubs)]
	meta := map[string]any{
		"targets.json": map[string]any{"version": p.versions["targets"]},
		"a.json":       map[string]any{"version": q.versions["a"]}, "b.json": map[string]any{"version": p.versions["b"]},
	}
	if arg%7 == 0 {
		delete(meta, "a.json")
	}
	version := h.repo.Versions["snapshot"] + int64(arg)*1000
	key := h.thief(func(k rootKeys) string { return k.snapshot })
	h.forged[fmt.Sprintf("%d.snapshot.json", version)] = testrepo.Envelope(h.signed("snapshot", version, map[string]any{"meta": meta}), key)
	pin := map[string]any{"snapshot.json": map[string]any{"version": version}}
	h.forged["timestamp.json"] = testrepo.Envelope(h.signed("timestamp", h.repo.Versions["timestamp"]+int64(arg)*1000, map[string]any{"meta": pin}), h.thief(func(k rootKeys) string { return k.timestamp }))
}

// thief returns the newest stolen key of a kind, or the attacker's own.
func (h *history) thief(kind func(rootKeys) string) testrepo.Key {
	for i := len(h.roots) - 1; i >= 0; i-- {
		if name := kind(h.roots[i]); h.stolen[name] {
			return testrepo.NewKey(name)
		}
	}
	return testrepo.NewKey("attacker")
}

// refresh lets the client look, and judges what it accepts and what it refuses.
func (h *history) refresh() {
	v, err := h.client.Refresh(context.Background())
	quiet := len(h.forged) == 0
	current := h.pubs[len(h.pubs)-1]
	expired := !h.repo.Now().Before(timestampOf(h.t, current).Expires)
	safe := !h.stolen[h.keys.timestamp] && !h.stolen[h.keys.snapshot]
	if err != nil {
		h.refused++
		if quiet && safe && !expired {
			h.t.Fatalf("the honest repository is refused: %v", err)
		}
		var r *trust.RefusedError
		if !errors.As(err, &r) {
			h.t.Fatalf("an error that is no refusal: %v", err)
		}
		return
	}
	h.taken++
	set := v.Set()
	h.accepted(v)
	if quiet && safe && h.meaning("timestamp", set.Timestamp().Bytes()) != current.says {
		h.t.Fatalf("timestamp %d is accepted; the publisher shows %d", set.Timestamp().Version(), current.versions["timestamp"])
	}
	h.last = set
}

func timestampOf(t testing.TB, p publication) tuf.Header {
	u, err := tuf.ParseTimestamp(p.bytes["timestamp"], nil)
	if err != nil {
		t.Fatal(err)
	}
	return u.Header()
}

// accepted holds what a client accepted against the honest history.
func (h *history) accepted(v *client.View) {
	set := v.Set()
	version := set.Root().Version()
	if !h.honest["root"][h.meaning("root", set.Root().Bytes())] || version > int64(len(h.roots)) {
		h.t.Fatalf("a root that nobody published")
	}
	if !set.Expires().After(h.repo.Now()) {
		h.t.Fatalf("something is expired since %v", set.Expires())
	}
	keys := h.roots[version-1]
	timestampStolen, snapshotStolen := h.stolen[keys.timestamp], h.stolen[keys.snapshot]
	if !timestampStolen && !h.honest["timestamp"][h.meaning("timestamp", set.Timestamp().Bytes())] {
		h.t.Fatalf("a timestamp that nobody published: %s", set.Timestamp().Bytes())
	}
	if !snapshotStolen && !h.honest["snapshot"][h.meaning("snapshot", set.Snapshot().Bytes())] {
		h.t.Fatalf("a snapshot that nobody published: %s", set.Snapshot().Bytes())
	}
	targets := h.meaning("targets", set.Targets().Bytes())
	if !h.honest["targets"][targets] {
		h.t.Fatalf("a targets role that nobody published: %s", set.Targets().Bytes())
	}
	if signer := h.keyOf[targets]; signer != keys.targets {
		h.t.Fatalf("targets version %d is signed by %s; root %d names %s", set.Targets().Version(), signer, version, keys.targets)
	}
	h.monotone(set, keys)
	h.find(v, timestampStolen || snapshotStolen)
}

// monotone asserts that nothing went back, but where the online keys changed.
func (h *history) monotone(set *trust.Set, keys rootKeys) {
	if h.last == nil {
		return
	}
	if set.Root().Version() < h.last.Root().Version() {
		h.t.Fatalf("root went from %d to %d", h.last.Root().Version(), set.Root().Version())
	}
	before := h.roots[h.last.Root().Version()-1]
	if before.timestamp != keys.timestamp || before.snapshot != keys.snapshot {
		return
	}
	if a, b := h.last.Timestamp().Version(), set.Timestamp().Version(); b < a {
		h.t.Fatalf("timestamp went from %d to %d", a, b)
	}
	for role, old := range h.last.Snapshot().All() {
		if now, ok := set.Snapshot().Lookup(role); !ok || now.Version < old.Version {
			h.t.Fatalf("%s went from %d to %d", role, old.Version, now.Version)
		}
	}
}

// find asserts that what is found is what one publication listed; with stolen keys, that
// it was listed at some time.
func (h *history) find(v *client.View, stolen bool) {
	var at *publication
	shown := h.meaning("timestamp", v.Set().Timestamp().Bytes())
	for i := range h.pubs {
		if h.pubs[i].says == shown {
			at = &h.pubs[i]
		}
	}
	for i := range 4 {
		path := fmt.Sprint("file", i)
		found, err := v.Find(context.Background(), tuf.TargetPath(path))
		content := ""
		var refused *trust.RefusedError
		switch {
		case errors.As(err, &refused):
			if len(h.forged) == 0 && !stolen {
				h.t.Fatalf("%s: refused, and nobody attacks: %v", path, err)
			}
			continue
		case err == nil:
			sum, _ := found.Target.Hashes.SHA256()
			content = fmt.Sprintf("%x", sum)
			if !h.contents[path][content] {
				h.t.Fatalf("%s: found is what was never listed", path)
			}
		case !errors.Is(err, trust.ErrNotFound):
			h.t.Fatalf("%s: %v", path, err)
		}
		if !stolen && at != nil && content != at.listing[path] {
			h.t.Fatalf("%s: found %q, publication %d lists %q", path, content, at.versions["timestamp"], at.listing[path])
		}
	}
}

// run plays a history of two bytes a step.
func (h *history) run(data []byte) {
	for i := 0; i+1 < len(data) && i < 240; i += 2 {
		h.step(data[i], data[i+1])
	}
	// Whatever happened: with new keys and no attacker, the client comes up to date.
	clear(h.forged)
	h.step(3, 2)
	h.refresh()
	h.fresh()
	h.refresh()
}

// histories are seeds: each op with each argument of some, in orders that mean something.
func histories() [][]byte {
	out := [][]byte{
		{},
		{0, 1, 19, 0, 6, 0, 19, 0, 16, 0, 19, 0}, // replay of all
		{0, 1, 0, 2, 19, 0, 7, 0, 19, 0, 7, 1, 19, 0, 7, 2, 19, 0}, // replay of parts
		{19, 0, 5, 0, 14, 3, 19, 0, 3, 0, 16, 0, 19, 0},            // stolen timestamp key, fast-forward, recovery
		{19, 0, 5, 1, 15, 33, 19, 0, 15, 16, 19, 0, 3, 2, 16, 0, 19, 0},
		{19, 0, 3, 0, 3, 1, 3, 2, 3, 3, 19, 0, 12, 3, 18, 0, 19, 0}, // many roots, one hidden
		{0, 0, 3, 3, 19, 0, 6, 1, 17, 0, 19, 0},                     // targets key changed, old files shown
		{4, 255, 4, 255, 4, 255, 19, 0, 2, 0, 19, 0},                // time passes
		{13, 0, 19, 0, 13, 1, 19, 0, 8, 1, 19, 0, 8, 20, 19, 0, 9, 0, 19, 0, 9, 1, 19, 0, 10, 77, 19, 0, 11, 3, 19, 0},
	}
	sum := sha256.Sum256([]byte("histories"))
	for range 24 {
		var data []byte
		for len(data) < 120 {
			sum = sha256.Sum256(sum[:])
			data = append(data, sum[:]...)
		}
		out = append(out, data)
	}
	return out
}

// FuzzHistory looks for a history in which a client accepts what no honest one contains.
func FuzzHistory(f *testing.F) {
	for _, data := range histories() {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) { newHistory(t).run(data) })
}

// TestHistory is the same with histories from rapid, which makes failing ones small.
func TestHistory(t *testing.T) {
	taken, refused := 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		h := newHistory(t)
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			// A client looks after every other move.
			h.step(rapid.ByteRange(0, 19).Draw(rt, "what"), rapid.Byte().Draw(rt, "how"))
			h.step(19, 0)
		}
		h.run(nil)
		taken, refused = taken+h.taken, refused+h.refused
	})
	if taken < 100 || refused < 100 {
		t.Errorf("%d updates were accepted and %d refused; this test would prove little", taken, refused)
	}
}
