package index_test

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"example.com/bailiwick/internal/ceremony"
	"example.com/bailiwick/internal/index"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/internal/publish/publishtest"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/internal/pypi/distmake"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
	"example.com/bailiwick/tuf/repo"
	"example.com/bailiwick/tuf/trust"
)

// owned is what the maintainers of a claimed project know to be true of it.
type owned struct {
	keys      []key.Signer
	threshold int
	listed    map[string][32]byte
}

// history is a repository, its honest people, and a thief who has a token for everything, a key of
// their own, and now and then one key of a maintainer, but never a threshold of them.
type history struct {
	*team
	rt       *rapid.T
	people   []key.Signer
	projects map[string]*owned // claimed ones
	replay   []*ceremony.Request
	known    *trust.Set // of the long-lived client
	versions map[tuf.RoleName]int64
	serial   int
}

var names = []string{"alpha", "beta", "gamma"}

func (h *history) draw(what string, of []string) string {
	return rapid.SampledFrom(of).Draw(h.rt, what)
}

// claimedNames are those of the claimed projects, in order.
func (h *history) claimedNames() []string { return slices.Sorted(maps.Keys(h.projects)) }

func (h *history) someClaimed() (string, *owned) {
	if len(h.projects) == 0 {
		h.rt.Skip("nothing is claimed")
	}
	name := h.draw("project", h.claimedNames())
	return name, h.projects[name]
}

// newKeys draws keys and a threshold.
func (h *history) newKeys() ([]key.Signer, int) {
	keys := rapid.Permutation(h.people).Draw(h.rt, "people")[:rapid.IntRange(1, 3).Draw(h.rt, "size")]
	return keys, rapid.IntRange(1, len(keys)).Draw(h.rt, "threshold")
}

// signed proposes what honest people sign, in two steps if there are several of them.
func (h *history) signed(r *ceremony.Request, signers []key.Signer) {
	role := policy.ProjectRole(r.Project)
	if err := publishtest.Sign(r, role, signers[0]); err != nil {
		h.rt.Fatal(err)
	}
	out, err := h.index.Propose(h.t.Context(), h.actor, r)
	if err == nil && out.Publication == 0 && len(signers) > 1 { // one may be enough: the account stands for a lost key
		out, err = h.index.AddSignature(h.t.Context(), h.actor, r.ID(), h.signatures(r, role, signers[1:]...)...)
	}
	if err != nil || out.Publication == 0 {
		h.rt.Fatalf("honest people are refused: %+v, %v", out, err)
	}
	full := r.Clone()
	if err := publishtest.Sign(full, role, signers...); err != nil {
		h.rt.Fatal(err)
	}
	h.replay = append(h.replay, full)
}

// quorum draws a threshold of a project's keys.
func (h *history) quorum(o *owned) []key.Signer {
	return rapid.Permutation(o.keys).Draw(h.rt, "quorum")[:o.threshold]
}

func (h *history) claimProject(rt *rapid.T) {
	h.rt = rt
	name := h.draw("project", names)
	if h.projects[name] != nil {
		rt.Skip("claimed already")
	}
	keys, threshold := h.newKeys()
	before := h.listedBytes(name)
	h.signed(h.request(name, h.claimDraft(name, threshold, keys...)), keys)
	h.projects[name] = &owned{keys: keys, threshold: threshold, listed: before}
}

func (h *history) listedBytes(name string) map[string][32]byte {
	out := make(map[string][32]byte)
	found, _, err := h.publisher.Current().Project(h.t.Context(), project(h.t, name))
	if err != nil && !errors.Is(err, trust.ErrNotFound) {
		h.rt.Fatal(err)
	}
	for _, f := range found {
		_, n, err := policy.ParsePath(f.Target.Path)
		if err != nil {
			h.rt.Fatal(err)
		}
		out[n.String()], _ = f.Target.Hashes.SHA256()
	}
	return out
}

// build makes a wheel; content varies with the builder.
func (h *history) build(name, version, by string) distmake.File {
	return distmake.Wheel(name, version, distmake.Options{RequiresPython: map[string]string{"thief": ">=3.9", "us": ">=3.10"}[by]})
}

func (h *history) release(rt *rapid.T) {
	h.rt = rt
	name, o := h.someClaimed()
	h.serial++
	file := h.build(name, fmt.Sprintf("2.%d", h.serial), "us")
	if rapid.Bool().Draw(rt, "a thief was here first") {
		if _, err := h.send(h.actor, h.build(name, fmt.Sprintf("2.%d", h.serial), "thief"), nil); err != nil {
			rt.Fatal(err)
		}
	}
	if _, err := h.send(h.actor, file, nil); err != nil {
		rt.Fatal(err)
	}
	staged, err := h.index.Staged(h.t.Context(), h.actor, project(h.t, name))
	if err != nil {
		rt.Fatal(err)
	}
	i := slices.IndexFunc(staged, func(f index.StagedFile) bool {
		return f.Filename.String() == file.Name && f.RequiresPython == ">=3.10"
	})
	h.signed(h.request(name, releaseOf(staged[i].File)), h.quorum(o))
	o.listed[file.Name] = staged[i].SHA256
}

func (h *history) rekey(rt *rapid.T) {
	h.rt = rt
	name, o := h.someClaimed()
	keys, threshold := h.newKeys()
	next, err := tuf.NewAuthority(threshold, publics(keys)...)
	if err != nil {
		rt.Fatal(err)
	}
	old, err := tuf.NewAuthority(o.threshold, publics(o.keys)...)
	if err != nil {
		rt.Fatal(err)
	}
	if next.Equal(old) {
		rt.Skip("nothing changes")
	}
	d := rekeyTo(threshold, keys...)
	if dropped := slices.Sorted(maps.Keys(o.listed)); len(dropped) > 0 && rapid.Bool().Draw(rt, "stolen") {
		d.Edit.Remove = []tuf.TargetPath{h.path(name, dropped[0])}
		defer delete(o.listed, dropped[0])
	}
	signers := slices.Clone(h.quorum(o))
	for _, k := range keys {
		if !slices.Contains(signers, k) {
			signers = append(signers, k)
		}
	}
	h.signed(h.request(name, d), signers)
	o.keys, o.threshold = keys, threshold
}

func publics(keys []key.Signer) []*key.Public {
	var out []*key.Public
	for _, k := range keys {
		out = append(out, k.Public())
	}
	return out
}

func (h *history) path(name, file string) tuf.TargetPath {
	return h.publisher.Current().Layout().Path(project(h.t, name), filename(h.t, file))
}

func (h *history) withdraw(rt *rapid.T) {
	h.rt = rt
	name, o := h.someClaimed()
	if len(o.listed) == 0 {
		rt.Skip("nothing is listed")
	}
	file := h.draw("file", slices.Sorted(maps.Keys(o.listed)))
	edit := repo.TargetsEdit{Remove: []tuf.TargetPath{h.path(name, file)}}
	h.signed(h.request(name, publishtest.Draft{Kind: ceremony.Release, Edit: edit}), h.quorum(o))
	delete(o.listed, file)
}

// upload is what anybody with a token may do; into claimed projects it brings nothing.
func (h *history) uploadByToken(rt *rapid.T) {
	h.rt = rt
	name := h.draw("project", names)
	_, err := h.send(h.actor, h.build(name, rapid.SampledFrom([]string{"0.1", "0.2", "1.1", "1.2"}).Draw(rt, "version"), "thief"), nil)
	var r *index.Refusal
	if err != nil && !errors.As(err, &r) {
		rt.Fatal(err)
	}
}

// stolen returns a key that the thief may have besides their own: one of a project of which one is
// neither the threshold nor, with the account, all that is left.
func (h *history) stolen(o *owned) []key.Signer {
	out := []key.Signer{h.thief}
	if o.threshold >= 2 && len(o.keys) >= 3 {
		out = append(out, o.keys[0])
	}
	return out
}

// attack is a request that nobody's threshold has signed.
func (h *history) attack(rt *rapid.T) {
	h.rt = rt
	name, o := h.someClaimed()
	have := h.stolen(o)
	var d publishtest.Draft
	switch rapid.IntRange(0, 4).Draw(rt, "attack") {
	case 0:
		d = h.claimDraft(name, 1, h.thief)
	case 1:
		d = rekeyTo(1, h.thief)
	case 2:
		d = rekeyTo(1, append(have[1:len(have):len(have)], h.thief)...)
	case 3:
		d = rekeyTo(1, have[len(have)-1])
	case 4:
		d = publishtest.Draft{Kind: ceremony.Release}
		if staged, err := h.index.Staged(h.t.Context(), h.actor, project(h.t, name)); err == nil && len(staged) > 0 {
			d.Add = []publish.File{staged[0].File}
		}
	}
	have = append(have, h.online[policy.KeyRegistry], h.online[policy.KeySnapshot])
	r := h.request(name, d)
	for _, k := range have {
		if !rapid.Bool().Draw(rt, "sign") {
			continue
		}
		if err := publishtest.Sign(r, "", k); err != nil {
			rt.Fatal(err)
		}
	}
	if len(h.replay) > 0 && rapid.Bool().Draw(rt, "with signatures from elsewhere") {
		for _, s := range rapid.SampledFrom(h.replay).Draw(rt, "from").Payloads[0].Signatures {
			if _, err := r.Add(r.Payloads[0].Role, s); err != nil {
				rt.Fatal(err)
			}
		}
	}
	out, err := h.index.Propose(h.t.Context(), h.actor, r)
	if err == nil && out.Publication > 0 {
		rt.Fatalf("the thief has published %d in %s with %+v", out.Publication, name, r)
	}
	if err == nil { // it waits, and may be in the way of others
		if err := h.index.Abort(h.t.Context(), h.actor, out.ID); err != nil {
			rt.Fatal(err)
		}
	}
}

func (h *history) replayOld(rt *rapid.T) {
	h.rt = rt
	if len(h.replay) == 0 {
		rt.Skip("nothing was signed")
	}
	r := rapid.SampledFrom(h.replay).Draw(rt, "request").Clone()
	_, err := h.index.Propose(h.t.Context(), h.actor, r)
	var refusal *index.Refusal
	if !errors.As(err, &refusal) {
		rt.Fatalf("a replay gave %v", err)
	}
}

// look takes the steps of a client from what it knows, nil for a fresh one.
func (h *history) look(known *trust.Set) *trust.Set {
	v := h.publisher.Current()
	read := func(role tuf.RoleName, version int64) []byte {
		b, err := v.Metadata(h.t.Context(), role, version)
		if err != nil {
			h.rt.Fatal(err)
		}
		return b
	}
	must := func(err error) {
		if err != nil {
			h.rt.Fatalf("a client refuses publication %d: %v", v.Number(), err)
		}
	}
	var root *trust.RootStage
	var err error
	if known == nil {
		root, err = trust.Begin(read(tuf.RoleRoot, 1), h.clock.get(), trust.Options{})
		must(err)
	} else {
		root = known.Next(h.clock.get())
	}
	timestamps, err := root.Done()
	must(err)
	snapshots, err := timestamps.Accept(v.Timestamp())
	must(err)
	targets, kept := snapshots.Keep()
	if !kept {
		targets, err = snapshots.Accept(read(tuf.RoleSnapshot, snapshots.Want().Version))
		must(err)
	}
	set, kept := targets.Keep()
	if !kept {
		set, err = targets.Accept(read(tuf.RoleTargets, targets.Want().Version))
		must(err)
	}
	return set
}

// check is the invariant: what a fresh and a long-lived client find in a claimed project is what its
// maintainers know to be there, signed by a threshold of their keys.
func (h *history) check(rt *rapid.T) {
	h.rt = rt
	h.known = h.look(h.known)
	load := func(role tuf.RoleName, meta tuf.Meta) ([]byte, error) {
		return h.publisher.Current().Metadata(h.t.Context(), role, meta.Version)
	}
	for _, set := range []*trust.Set{h.known, h.look(nil)} {
		for name, o := range h.projects {
			h.checkProject(set, load, project(h.t, name), o)
		}
		for role, meta := range set.Snapshot().All() {
			if meta.Version < h.versions[role] {
				rt.Fatalf("%s went from version %d to %d", role, h.versions[role], meta.Version)
			}
			h.versions[role] = meta.Version
		}
	}
}

func (h *history) checkProject(set *trust.Set, load trust.Loader, p pypi.Project, o *owned) {
	found, err := set.List(h.publisher.Current().Layout().Dir(p), load)
	if err != nil && !errors.Is(err, trust.ErrNotFound) {
		h.rt.Fatalf("listing %s: %v", p, err)
	}
	got := make(map[string][32]byte)
	for _, f := range found {
		_, name, err := policy.ParsePath(f.Target.Path)
		if err != nil {
			h.rt.Fatal(err)
		}
		got[name.String()], _ = f.Target.Hashes.SHA256()
		last := f.Chain[len(f.Chain)-1]
		good := 0
		for _, id := range last.Signers {
			if slices.ContainsFunc(o.keys, func(k key.Signer) bool { return k.Public().ID() == id }) {
				good++
			}
		}
		if good < o.threshold || last.Authority.Threshold() != o.threshold || len(last.Authority.KeyIDs()) != len(o.keys) {
			h.rt.Fatalf("%s is signed by %d of the keys of %s, under a threshold of %d of %d; want %d of %d",
				name, good, p, last.Authority.Threshold(), len(last.Authority.KeyIDs()), o.threshold, len(o.keys))
		}
	}
	if diff := cmp.Diff(o.listed, got); diff != "" {
		h.rt.Fatalf("a client finds something else in %s (-what its maintainers signed +found):\n%s", p, diff)
	}
}

// TestRandomHistories: whatever is claimed, released, rotated, revoked and attacked, no client ever
// finds in a claimed project what a threshold of its maintainers did not sign, and versions only
// rise.
func TestRandomHistories(t *testing.T) {
	if f := flag.Lookup("rapid.checks"); f.Value.String() == "100" { // unless the command line says more
		if err := f.Value.Set("25"); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = f.Value.Set("100") }()
	}
	rapid.Check(t, func(rt *rapid.T) {
		h := &history{team: newTeam(t), rt: rt, projects: make(map[string]*owned), versions: make(map[tuf.RoleName]int64)}
		h.people = []key.Signer{h.alice, h.bob, h.carol, newSigner(t)}
		rt.Repeat(map[string]func(*rapid.T){
			"claim": h.claimProject, "release": h.release, "rekey": h.rekey, "withdraw": h.withdraw,
			"upload": h.uploadByToken, "attack": h.attack, "replay": h.replayOld, "": h.check,
		})
	})
}

func newSigner(t testing.TB) key.Signer {
	t.Helper()
	_, s, err := key.GenerateEd25519()
	if err != nil {
		t.Fatal(err)
	}
	return s
}
