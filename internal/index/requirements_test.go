package index_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"example.com/bailiwick/internal/ceremony"
	"example.com/bailiwick/internal/index"
	"example.com/bailiwick/internal/ledger"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/internal/publish/publishtest"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/internal/pypi/distmake"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/cjson"
	"example.com/bailiwick/tuf/key"
	"example.com/bailiwick/tuf/repo"
)

// object is a JSON object that a test bends.
type object = map[string]any

// bend changes what a payload says; its signatures are gone then.
func bend(t *testing.T, r *ceremony.Request, role tuf.RoleName, edit func(signed object)) {
	t.Helper()
	p := r.Payload(role)
	d := json.NewDecoder(bytes.NewReader(cjson.AppendWire(nil, p.Message)))
	d.UseNumber()
	var signed object
	if err := d.Decode(&signed); err != nil {
		t.Fatal(err)
	}
	edit(signed)
	data, err := json.Marshal(signed)
	if err == nil {
		p.Message, err = cjson.Canonical(data, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	p.Signatures = nil
}

// refuses proposes a request and wants it to be refused for a reason, and nothing to change by it.
func (m *team) refuses(r *ceremony.Request, reason ceremony.Reason) {
	m.t.Helper()
	before, listed := m.publisher.Current().Number(), m.listed(r.Project.String())
	out, err := m.index.Propose(m.t.Context(), m.actor, r)
	var refusal *index.Refusal
	if !errors.As(err, &refusal) || refusal.Reason != reason || len(refusal.Message) < 20 {
		m.t.Errorf("%+v, %v; want a refusal for %q", out, err, reason)
	}
	if now := m.publisher.Current().Number(); now != before || !slices.Equal(m.listed(r.Project.String()), listed) {
		m.t.Errorf("publication %d lists %v; before the refusal it was %d with %v", now, m.listed(r.Project.String()), before, listed)
	}
	if s := m.state(r.Project.String()); len(s.Requests) != 0 {
		m.t.Error("the refused request was kept")
	}
}

// helped is a project of alice whose sub-role "alice" is signed by another key.
func (m *team) helped(name string, helper key.Signer) {
	m.t.Helper()
	m.claim(name, 1, m.alice)
	r := m.request(name, publishtest.Draft{
		Kind: ceremony.Release, Subs: map[string]publishtest.Sub{"alice": {Delegate: true, Keys: []key.Signer{helper}}},
	})
	for role, k := range map[tuf.RoleName]key.Signer{tuf.RoleName("project." + name): m.alice, tuf.RoleName("project." + name + ".alice"): helper} {
		if err := publishtest.Sign(r, role, k); err != nil {
			m.t.Fatal(err)
		}
	}
	m.propose(r)
}

// TestR14_TheClaimedTreeIsAskedFirst: this is the order in which the repository delegates. Targets know of the
// claimed tree alone, every claimed bin leads on to the unclaimed one after all its projects, and each of these
// delegations ends the search.
func TestR14_TheClaimedTreeIsAskedFirst(t *testing.T) {
	m := newTeam(t)
	view := m.publisher.Current()
	bin := view.Layout().ClaimedBin(project(t, "demo"))
	type entry struct {
		Name        tuf.RoleName
		Terminating bool
	}
	last := func(role tuf.RoleName) (entry, int) {
		data, err := view.Metadata(t.Context(), role, 1)
		if err != nil {
			t.Fatal(err)
		}
		var file struct {
			Signed struct{ Delegations struct{ Roles []entry } }
		}
		if err := json.Unmarshal(data, &file); err != nil {
			t.Fatal(err)
		}
		roles := file.Signed.Delegations.Roles
		return roles[len(roles)-1], len(roles)
	}
	if d, n := last(tuf.RoleTargets); n != 1 || d != (entry{"claimed", true}) {
		t.Errorf("targets delegates to %d roles, the last is %+v; want claimed alone", n, d)
	}
	if d, _ := last(bin); d != (entry{"unclaimed", true}) {
		t.Errorf("the last delegation of %s is %+v, want unclaimed", bin, d)
	}
}

// TestR20_NothingOutsideIsTaken: metadata that reaches beyond the project, or beyond what the project
// delegated, is refused when it is sent, whoever signed it.
func TestR20_NothingOutsideIsTaken(t *testing.T) {
	m := newTeam(t)
	m.helped("demo", m.bob)
	layout := m.publisher.Current().Layout()
	dir, other := layout.Dir(project(t, "demo")), layout.Dir(project(t, "victim"))
	w, s := m.stage(wheel("demo", "1.0")), m.stage(sdist("demo", "1.0"))
	move := func(to string) func(signed object) {
		return func(signed object) {
			files := signed["targets"].(object)
			for path, entry := range files {
				delete(files, path)
				files[to] = entry
			}
		}
	}
	for _, to := range []string{
		other + "/victim-1.0-py3-none-any.whl", dir + "/sub/demo-1.0-py3-none-any.whl", dir[:2] + "demo-1.0-py3-none-any.whl",
		"demo-1.0-py3-none-any.whl", dir + "2/demo-1.0-py3-none-any.whl",
	} {
		r := m.request("demo", releaseOf(w))
		bend(t, r, "project.demo", move(to))
		if err := publishtest.Sign(r, "", m.alice); err != nil {
			t.Fatal(err)
		}
		m.refuses(r, ceremony.Outside)
	}
	byHelper := func(f publish.File) *ceremony.Request {
		return m.request("demo", publishtest.Draft{
			Kind: ceremony.Release, Only: true, Subs: map[string]publishtest.Sub{"alice": {Add: []publish.File{f}}},
		}, m.bob)
	}
	m.refuses(byHelper(s), ceremony.Outside)
	for _, pattern := range []string{"*", "*/*/*", dir + "/*/*", dir + "*/*", other + "/*", dir[:3] + "*/*.whl"} {
		r := m.request("demo", publishtest.Draft{Kind: ceremony.Release, Subs: map[string]publishtest.Sub{
			"wide": {Delegate: true, Keys: []key.Signer{m.carol}, Paths: []string{pattern}},
		}})
		for role, k := range map[tuf.RoleName]key.Signer{"project.demo": m.alice, "project.demo.wide": m.carol} {
			if err := publishtest.Sign(r, role, k); err != nil {
				t.Fatal(err)
			}
		}
		m.refuses(r, ceremony.Outside)
	}
	m.propose(byHelper(w)) // what is inside is taken
}

// TestR22_HelpersOfOneName: two projects call a helper "alice", each with a key of their own. These are two
// roles, and the key of the one is a stranger's to the other.
func TestR22_HelpersOfOneName(t *testing.T) {
	m := newTeam(t)
	helpers := map[string]key.Signer{"demo": m.bob, "more": m.carol}
	for name, k := range helpers {
		m.helped(name, k)
	}
	for name := range helpers {
		f := m.stage(wheel(name, "1.0"))
		draft := publishtest.Draft{Kind: ceremony.Release, Only: true, Subs: map[string]publishtest.Sub{"alice": {Add: []publish.File{f}}}}
		for other, k := range helpers {
			if other != name {
				m.refuses(m.request(name, draft, k), ceremony.ForeignKey)
			}
		}
		m.propose(m.request(name, draft, helpers[name]))
		if subs := m.state(name).Subs; len(subs) != 1 || subs[0].Role != tuf.RoleName("project."+name+".alice") {
			t.Errorf("the sub-roles of %s are %+v", name, subs)
		}
	}
	// The name of the other's helper can not be had.
	for _, role := range []string{"alice", "project.more.alice", "claimed", "project.more"} {
		r := m.request("demo", publishtest.Draft{Kind: ceremony.Release})
		bend(t, r, "project.demo", func(signed object) {
			signed["delegations"].(object)["roles"].([]any)[0].(object)["name"] = role
		})
		if err := publishtest.Sign(r, "", m.alice); err != nil {
			t.Fatal(err)
		}
		m.refuses(r, ceremony.Outside)
	}
}

// TestR34_EachCheckAlone: the checks that a client makes are made before anything is published. A release
// that is right but for one thing is refused for that thing; the same release without it is taken.
func TestR34_EachCheckAlone(t *testing.T) {
	m := newTeam(t)
	m.upload(sdist("demo", "0.9"))
	m.claim("demo", 2, m.alice, m.bob)
	f := m.stage(wheel("demo", "1.0"))
	layout := m.publisher.Current().Layout()
	path := string(layout.Path(project(t, "demo"), f.Filename))
	entry := func(signed object) object { return signed["targets"].(object)[path].(object) }
	for name, c := range map[string]struct {
		edit func(signed object)
		want ceremony.Reason
	}{
		"type":           {func(s object) { s["_type"] = "snapshot" }, ceremony.Malformed},
		"specification":  {func(s object) { s["spec_version"] = "2.0.0" }, ceremony.Malformed},
		"version again":  {func(s object) { s["version"] = 1 }, ceremony.Malformed},
		"version ahead":  {func(s object) { s["version"] = 7 }, ceremony.Malformed},
		"expired":        {func(s object) { s["expires"] = tuf.FormatTime(publishtest.Start().Add(-time.Hour)) }, ceremony.Dates},
		"never expiring": {func(s object) { s["expires"] = tuf.FormatTime(publishtest.Start().AddDate(10, 0, 0)) }, ceremony.Dates},
		"path":           {func(s object) { s["targets"].(object)["00/demo/x.whl"] = entry(s) }, ceremony.Outside},
		"length":         {func(s object) { entry(s)["length"] = 7 }, ceremony.Altered},
		"hash":           {func(s object) { entry(s)["hashes"] = object{"sha256": fmt.Sprintf("%064d", 0)} }, ceremony.Altered},
		"content":        {func(s object) { s["targets"].(object)[path+".zip"] = 1 }, ceremony.Malformed},
	} {
		t.Run(name, func(t *testing.T) {
			r := m.request("demo", releaseOf(f))
			bend(t, r, "project.demo", c.edit)
			if err := publishtest.Sign(r, "", m.alice, m.bob); err != nil {
				t.Fatal(err)
			}
			m.refuses(r, c.want)
		})
	}
	for name, c := range map[string]struct {
		edit func(p *ceremony.Payload)
		want ceremony.Reason
	}{
		"a signature of other bytes": {func(p *ceremony.Payload) { p.Signatures[1].Sig[0] ^= 1 }, ceremony.BadSignature},
		"one key for two":            {func(p *ceremony.Payload) { p.Signatures[1] = p.Signatures[0] }, ceremony.Malformed},
		"a stranger's key": {func(p *ceremony.Payload) {
			p.Signatures[1] = m.signatures(&ceremony.Request{Payloads: []ceremony.Payload{*p}}, p.Role, m.thief)[0].Signature
		}, ceremony.ForeignKey},
	} {
		t.Run(name, func(t *testing.T) {
			r := m.request("demo", releaseOf(f), m.alice, m.bob)
			c.edit(&r.Payloads[0])
			m.refuses(r, c.want)
		})
	}
	t.Run("below the threshold", func(t *testing.T) { // waits, and is not published
		r := m.request("demo", releaseOf(f), m.bob)
		out, err := m.index.Propose(t.Context(), m.actor, r)
		if err != nil || out.Publication != 0 || len(m.listed("demo")) != 1 {
			t.Errorf("%+v, %v, lists %v", out, err, m.listed("demo"))
		}
		if err := m.index.Abort(t.Context(), m.actor, out.ID); err != nil {
			t.Error(err)
		}
	})
	m.propose(m.request("demo", releaseOf(f), m.alice, m.bob))
	if got := m.listed("demo"); len(got) != 2 {
		t.Errorf("listed %v, want what was there and the release", got)
	}
}

// mortal is a ledger whose process dies at a step: from then on nothing answers.
type mortal struct {
	*ledger.Memory
	mu     sync.Mutex
	steps  int  // that were made
	dies   int  // at this one; 0: never
	effect bool // whether that one still has its effect
}

func (l *mortal) arm(dies int, effect bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.steps, l.dies, l.effect = 0, dies, effect
}

func (l *mortal) made() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.steps
}

// step reports whether a step is to be made, and whether it is answered.
func (l *mortal) step() (done, answered bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.steps++
	if l.dies == 0 || l.steps < l.dies {
		return true, true
	}
	return l.effect && l.steps == l.dies, false
}

func mortally[T any](l *mortal, do func() (T, error)) (T, error) {
	var v T
	var err error
	done, answered := l.step()
	if done {
		v, err = do()
	}
	if !answered {
		return v, errors.Join(err, errInjected)
	}
	return v, err
}

func (l *mortal) Head(ctx context.Context) (publish.Head, error) {
	return mortally(l, func() (publish.Head, error) { return l.Memory.Head(ctx) })
}

func (l *mortal) Roles(ctx context.Context) ([]publish.Role, error) {
	return mortally(l, func() ([]publish.Role, error) { return l.Memory.Roles(ctx) })
}

func (l *mortal) Metadata(ctx context.Context, role tuf.RoleName, version int64) (publish.Metadata, error) {
	return mortally(l, func() (publish.Metadata, error) { return l.Memory.Metadata(ctx, role, version) })
}

func (l *mortal) File(ctx context.Context, name pypi.Filename) (publish.File, error) {
	return mortally(l, func() (publish.File, error) { return l.Memory.File(ctx, name) })
}

func (l *mortal) Staged(ctx context.Context, p pypi.Project) ([]publish.File, error) {
	return mortally(l, func() ([]publish.File, error) { return l.Memory.Staged(ctx, p) })
}

func (l *mortal) Commit(ctx context.Context, p *publish.Publication) error {
	_, err := mortally(l, func() (bool, error) { return true, l.Memory.Commit(ctx, p) })
	return err
}

// live starts a server on a ledger in the place of the one before.
func (m *team) live(l interface {
	publish.Ledger
	index.Records
	index.Tokens
},
) {
	m.t.Helper()
	m.publisher = publishtest.Run(m.t, publish.Config{Ledger: l, Signers: m.online.Online(), Now: m.clock.get})
	x, err := index.New(index.Config{
		Publisher: m.publisher, Files: m.files, Tokens: l, Records: l, Limits: index.Limits{FileSize: 1 << 20}, Now: m.clock.get,
	})
	if err != nil {
		m.t.Fatal(err)
	}
	m.index = x
}

// TestR33_AllOrNothing kills the server at every step that it makes with its ledger on the way to a claim
// with two files, or to a release that adds two and drops one: before the step has its effect, and after. Whoever asks the next server sees everything or nothing of it, and sending the same again
// finishes it.
func TestR33_AllOrNothing(t *testing.T) {
	for _, kind := range []ceremony.Kind{ceremony.Claim, ceremony.Release} {
		for _, effect := range []bool{false, true} {
			seen := map[bool]int{}
			for dies, reached := 1, true; reached; dies++ {
				var all bool
				all, reached = killedAt(t, kind, dies, effect)
				seen[all]++
			}
			if seen[false] < 1 || seen[true] < 1 {
				t.Errorf("%s, effect %t: nothing of it was visible %d times, all of it %d times", kind, effect, seen[false], seen[true])
			}
		}
	}
}

// killedAt tells whether all was visible then, and whether the server lived long enough to die there.
func killedAt(t *testing.T, kind ceremony.Kind, dies int, effect bool) (all, reached bool) {
	t.Helper()
	m := newTeam(t)
	l := &mortal{Memory: m.ledger}
	m.live(l)
	d := m.claimDraft("demo", 1, m.alice)
	var before []string
	if kind == ceremony.Release {
		m.claim("demo", 1, m.alice)
		old, gone := m.stage(wheel("demo", "0.8")), m.stage(wheel("demo", "0.9"))
		m.propose(m.request("demo", releaseOf(old, gone), m.alice))
		before = []string{old.Filename.String(), gone.Filename.String()}
		dir := m.publisher.Current().Layout()
		d = publishtest.Draft{Kind: kind, Edit: repo.TargetsEdit{Remove: []tuf.TargetPath{dir.Path(project(t, "demo"), gone.Filename)}}}
	}
	d.Add = []publish.File{m.stage(wheel("demo", "1.0")), m.stage(sdist("demo", "1.0"))}
	after := []string{d.Add[0].Filename.String(), d.Add[1].Filename.String()}
	if kind == ceremony.Release {
		after = append(after, before[0])
	}
	slices.Sort(after)
	r := m.request("demo", d, m.alice)
	l.arm(dies, effect)
	out, err := m.index.Propose(t.Context(), m.actor, r)
	reached = l.made() >= dies
	m.live(m.ledger)
	got := slices.Sorted(slices.Values(m.listed("demo")))
	state := m.state("demo")
	claimed := state.Assurance == policy.RecentlyClaimed
	switch {
	case slices.Equal(got, after) && len(state.Staged) == 0 && claimed:
		all = true
	case err == nil:
		t.Errorf("%s, step %d, effect %t: publication %d was answered, and %v is listed", kind, dies, effect, out.Publication, got)
	case !slices.Equal(got, before) || len(state.Staged) != 2 || claimed != (kind == ceremony.Release):
		t.Errorf("%s, step %d, effect %t: %v is listed with %d files staged, %v", kind, dies, effect, got, len(state.Staged), state.Assurance)
	}
	if !all {
		m.propose(r)
		if got := slices.Sorted(slices.Values(m.listed("demo"))); !slices.Equal(got, after) {
			t.Errorf("%s, step %d, effect %t: sent again, %v is listed", kind, dies, effect, got)
		}
	}
	return all, reached
}

// TestR23_ReleaseAndCIAgree: wheels of flask need the release manager and the pipeline, by a sub-role with a key of each and a
// threshold of 2. One alone waits; what the two build differently never becomes one; what they agree on is published.
func TestR23_ReleaseAndCIAgree(t *testing.T) {
	const role = tuf.RoleName("project.flask.build")
	release, ci := 0, 1
	start := func(t *testing.T) (*team, []key.Signer) {
		t.Helper()
		m := newTeam(t)
		m.claim("flask", 1, m.alice)
		keys := []key.Signer{m.bob, m.carol}
		r := m.request("flask", publishtest.Draft{
			Kind: ceremony.Release, Subs: map[string]publishtest.Sub{"build": {Delegate: true, Keys: keys, Threshold: 2}},
		})
		for on, by := range map[tuf.RoleName][]key.Signer{"project.flask": {m.alice}, role: keys} {
			if err := publishtest.Sign(r, on, by...); err != nil {
				t.Fatal(err)
			}
		}
		m.propose(r)
		return m, keys
	}
	built := func(m *team, f publish.File, by key.Signer) *ceremony.Request {
		m.t.Helper()
		r := m.request("flask", publishtest.Draft{Kind: ceremony.Release, Only: true, Subs: map[string]publishtest.Sub{"build": {Add: []publish.File{f}}}})
		if err := publishtest.Sign(r, role, by); err != nil {
			m.t.Fatal(err)
		}
		return r
	}
	for _, who := range []int{release, ci} {
		t.Run(fmt.Sprintf("one alone %d", who), func(t *testing.T) {
			m, keys := start(t)
			r := built(m, m.stage(wheel("flask", "1")), keys[who])
			m.waits(r)
			// The same again, and the same key twice, is still one.
			m.waits(r)
			out, err := m.index.AddSignature(t.Context(), m.actor, r.ID(), m.signatures(r, role, keys[who])...)
			if err != nil || out.Publication != 0 || len(m.listed("flask")) != 0 {
				t.Errorf("one key alone: %+v, %v, listed %v", out, err, m.listed("flask"))
			}
			// Nor does the maintainer's own key stand in for the other one in this role.
			if _, err := m.index.AddSignature(t.Context(), m.actor, r.ID(), m.signatures(r, role, m.alice)...); err == nil {
				t.Error("a key of another role was counted")
			}
		})
	}
	t.Run("disagreement", func(t *testing.T) {
		m, keys := start(t)
		one := built(m, m.stage(wheel("flask", "1")), keys[release])
		m.waits(one)
		other := distmake.Wheel("flask", "1", distmake.Options{Files: map[string]string{"flask/backdoor.py": "import os"}})
		m.stage(other)
		staged, err := m.index.Staged(t.Context(), m.actor, project(t, "flask"))
		if err != nil || len(staged) != 2 {
			t.Fatalf("%d files are staged, %v; want two of one name", len(staged), err)
		}
		at := slices.IndexFunc(staged, func(f index.StagedFile) bool { return f.SHA256 == sha256.Sum256(other.Data) })
		r := built(m, staged[at].File, keys[ci])
		m.waits(r)
		if r.ID() == one.ID() {
			t.Fatal("two contents are one request")
		}
		// The signature on the one does not count for the other.
		if _, err := m.index.AddSignature(t.Context(), m.actor, one.ID(), m.signatures(r, role, keys[ci])...); err == nil {
			t.Error("a signature on other content was taken")
		}
		if s := m.state("flask"); len(s.Requests) != 2 || len(m.listed("flask")) != 0 {
			t.Errorf("%d requests wait, listed %v; want two that wait, and no file", len(s.Requests), m.listed("flask"))
		}
	})
	t.Run("agreement", func(t *testing.T) {
		m, keys := start(t)
		r := built(m, m.stage(wheel("flask", "1")), keys[release])
		m.waits(r)
		out, err := m.index.AddSignature(t.Context(), m.actor, r.ID(), m.signatures(r, role, keys[ci])...)
		if err != nil || out.Publication == 0 || len(m.listed("flask")) != 1 {
			t.Errorf("both: %+v, %v, listed %v", out, err, m.listed("flask"))
		}
	})
}
