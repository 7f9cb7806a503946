package index_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"example.com/bailiwick/internal/ceremony"
	"example.com/bailiwick/internal/index"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/internal/publish/publishtest"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
	"example.com/bailiwick/tuf/repo"
)

// TestR13_OnlyTheProjectsKeysList: a file signed by the project's key is listed; the same file
// signed by any other key is not.
func TestR13_OnlyTheProjectsKeysList(t *testing.T) {
	m := newTeam(t)
	m.claim("demo", 1, m.alice)
	f := m.stage(wheel("demo", "1.0"))
	for _, k := range []key.Signer{m.bob, m.online[policy.KeyRegistry], m.online[policy.KeySnapshot]} {
		_, err := m.index.Propose(t.Context(), m.actor, m.request("demo", releaseOf(f), k))
		if r := refused(t, err, index.Forbidden); r.Reason != ceremony.ForeignKey {
			t.Errorf("refused for %q, want the key to be the reason", r.Reason)
		}
	}
	if got := m.listed("demo"); len(got) != 0 {
		t.Errorf("listed %v, want nothing", got)
	}
	m.propose(m.request("demo", releaseOf(f), m.alice))
	if got := m.listed("demo"); !slices.Equal(got, []string{f.Filename.String()}) {
		t.Errorf("listed %v, want the release", got)
	}
}

// TestR21_SubDelegation: the lead lets a helper sign wheels, without anybody's help; the helper's
// source distribution is refused.
func TestR21_SubDelegation(t *testing.T) {
	m := newTeam(t)
	m.claim("demo", 1, m.alice)
	w, s := m.stage(wheel("demo", "1.0")), m.stage(sdist("demo", "1.0"))
	r := m.request("demo", publishtest.Draft{
		Kind: ceremony.Release, Subs: map[string]publishtest.Sub{"ci": {Delegate: true, Keys: []key.Signer{m.bob}}},
	})
	for role, k := range map[tuf.RoleName]key.Signer{"project.demo": m.alice, "project.demo.ci": m.bob} {
		if err := publishtest.Sign(r, role, k); err != nil {
			t.Fatal(err)
		}
	}
	m.propose(r)
	by := func(f publish.File) publishtest.Draft {
		return publishtest.Draft{Kind: ceremony.Release, Only: true, Subs: map[string]publishtest.Sub{"ci": {Add: []publish.File{f}}}}
	}
	m.propose(m.request("demo", by(w), m.bob))
	_, err := m.index.Propose(t.Context(), m.actor, m.request("demo", by(s), m.bob))
	if r := refused(t, err, index.Invalid); r.Reason != ceremony.Outside {
		t.Errorf("the helper's source distribution is refused for %q", r.Reason)
	}
	if got := m.listed("demo"); !slices.Equal(got, []string{w.Filename.String()}) {
		t.Errorf("listed %v, want the wheel", got)
	}
	state := m.state("demo")
	if len(state.Subs) != 1 || state.Subs[0].Role != "project.demo.ci" || state.Subs[0].Version != 2 || len(state.Subs[0].Keys) != 1 {
		t.Errorf("sub-roles are %+v", state.Subs)
	}
}

// TestR24_SeveralKeysWithProofOfPossession: two machines publish with keys of their own; somebody
// else's key can not be registered; one key serves several projects.
func TestR24_SeveralKeysWithProofOfPossession(t *testing.T) {
	m := newTeam(t)
	m.upload(sdist("demo", "1.0"))
	// Alice can not register Bob's key for him.
	d := m.claimDraft("demo", 1, m.alice, m.bob)
	r := m.request("demo", d, m.alice)
	out, err := m.index.Propose(t.Context(), m.actor, r)
	if err != nil || out.Publication != 0 || len(out.Missing) != 1 || out.Missing[0].Keys[0] != m.bob.Public().ID() {
		t.Fatalf("a claim without Bob's signature: %+v, %v", out, err)
	}
	if s := m.state("demo"); s.Assurance != policy.Unclaimed || len(s.Requests) != 1 {
		t.Errorf("the project is %v with %d requests, want it to be unclaimed with one", s.Assurance, len(s.Requests))
	}
	forged := m.signatures(r, "project.demo", m.alice)
	forged[0].Signature.KeyID = m.bob.Public().ID()
	_, err = m.index.AddSignature(t.Context(), m.actor, out.ID, forged...)
	refused(t, err, index.Invalid)
	out, err = m.index.AddSignature(t.Context(), m.actor, out.ID, m.signatures(r, "project.demo", m.bob)...)
	if err != nil || out.Publication == 0 {
		t.Fatalf("with Bob's signature: %+v, %v", out, err)
	}
	for i, k := range []key.Signer{m.alice, m.bob} {
		f := m.stage(wheel("demo", []string{"1.1", "1.2"}[i]))
		m.propose(m.request("demo", releaseOf(f), k))
	}
	m.claim("another", 1, m.alice)
	s := m.state("demo")
	if s.Assurance != policy.RecentlyClaimed || len(s.Keys) != 2 || s.Threshold != 1 || !s.Since.Equal(publishtest.Start()) || s.Version != 4 {
		t.Errorf("the project is %+v", s)
	}
	if got := m.listed("demo"); len(got) != 3 {
		t.Errorf("listed %v, want the adopted file and two releases", got)
	}
}

// TestR25_NewProjectIsLiveAtOnce: registered and installable in one publication, with nobody's leave.
func TestR25_NewProjectIsLiveAtOnce(t *testing.T) {
	m := newTeam(t)
	f := m.stage(wheel("fresh", "1.0"))
	before := m.publisher.Current().Number()
	d := m.claimDraft("fresh", 1, m.alice)
	d.Add = []publish.File{f}
	out := m.propose(m.request("fresh", d, m.alice))
	if out.Publication != before+1 {
		t.Errorf("publication %d, want the next one, %d", out.Publication, before+1)
	}
	if got := m.listed("fresh"); !slices.Equal(got, []string{f.Filename.String()}) {
		t.Errorf("listed %v", got)
	}
	if s := m.state("fresh"); s.Assurance != policy.RecentlyClaimed || len(s.Staged) != 0 {
		t.Errorf("%v with %d staged files, want it claimed with none", s.Assurance, len(s.Staged))
	}
}

// TestR27_NoPrivateKeyComesIn: whatever holds one is refused, and nothing is kept.
func TestR27_NoPrivateKeyComesIn(t *testing.T) {
	m := newTeam(t)
	data, err := m.request("demo", m.claimDraft("demo", 1, m.alice, m.bob), m.alice).Encode()
	if err != nil {
		t.Fatal(err)
	}
	for _, with := range []string{`"keyval":{"private":"00","public"`, `"private":"00","keyval":{"public"`} {
		_, err := index.DecodeRequest(bytes.Replace(data, []byte(`"keyval":{"public"`), []byte(with), 1))
		if r := refused(t, err, index.Invalid); r.Reason != ceremony.PrivateKey || !strings.Contains(r.Error(), "PRIVATE") {
			t.Errorf("refused for %q: %v", r.Reason, r)
		}
	}
	if s := m.state("demo"); len(s.Requests) != 0 {
		t.Error("something was kept")
	}
	if _, err := index.DecodeRequest(data); err != nil {
		t.Errorf("the same without the private half: %v", err)
	}
}

// TestR28_RotateWithoutTheOperator: 1 of 1 → 2 of 3 → new members; old keys are dead, and the old
// state can not be brought back.
func TestR28_RotateWithoutTheOperator(t *testing.T) {
	m := newTeam(t)
	m.claim("demo", 1, m.alice)
	first := m.request("demo", rekeyTo(2, m.alice, m.bob, m.carol), m.alice, m.bob, m.carol)
	m.propose(first)
	since := m.state("demo").Since
	m.clock.advance(time.Hour)
	f := m.stage(wheel("demo", "1.0"))
	out, err := m.index.Propose(t.Context(), m.actor, m.request("demo", releaseOf(f), m.alice))
	if err != nil || out.Publication != 0 {
		t.Fatalf("one of two signatures: %+v, %v", out, err)
	}
	_, dave, err := key.GenerateEd25519()
	if err != nil {
		t.Fatal(err)
	}
	m.propose(m.request("demo", rekeyTo(1, dave), m.alice, m.bob, dave))
	_, err = m.index.Propose(t.Context(), m.actor, m.request("demo", releaseOf(f), m.alice, m.bob))
	refused(t, err, index.Forbidden)
	_, err = m.index.Propose(t.Context(), m.actor, first)
	if r := refused(t, err, index.Conflict); r.Version != 3 || r.Role != "project.demo" {
		t.Errorf("the replay is refused against version %d of %s, want 3 of project.demo", r.Version, r.Role)
	}
	// The release that waited was made for a state that is gone.
	pending, err := m.index.Request(t.Context(), m.actor, out.ID)
	if err != nil || !pending.Stale || pending.Problem == "" {
		t.Errorf("the old release: %+v, %v; want it to be stale", pending, err)
	}
	m.propose(m.request("demo", releaseOf(f), dave))
	s := m.state("demo")
	if len(s.Keys) != 1 || s.Threshold != 1 || !s.Since.Equal(since) {
		t.Errorf("the project is %+v, want Dave's, and claimed since %v", s, since)
	}
	want := []publish.EventKind{publish.EventReleased, publish.EventRekeyed, publish.EventSigned, publish.EventOpened, publish.EventStaged, publish.EventRekeyed, publish.EventClaimed}
	if diff := cmp.Diff(want, m.kinds("demo")); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

// TestR29_RevokeWithoutTheKey: by a recovery key, and by the account where that alone is left;
// the revoked key is dead at the next snapshot.
func TestR29_RevokeWithoutTheKey(t *testing.T) {
	m := newTeam(t)
	d := m.claimDraft("one", 1, m.alice)
	d.Edit.Members = map[string][]byte{ceremony.RecoveryMember: ceremony.RecoveryValue(m.carol.Public())}
	m.propose(m.request("one", d, m.alice))
	m.propose(m.request("one", rekeyTo(1, m.bob), m.bob, m.carol))
	m.claim("two", 2, m.alice, m.bob)
	m.propose(m.request("two", rekeyTo(1, m.bob), m.bob))
	for _, name := range []string{"one", "two"} {
		f := m.stage(wheel(name, "1.0"))
		_, err := m.index.Propose(t.Context(), m.actor, m.request(name, releaseOf(f), m.alice))
		refused(t, err, index.Forbidden)
		m.propose(m.request(name, releaseOf(f), m.bob))
	}
	if got := m.kinds("two"); got[2] != publish.EventRevoked {
		t.Errorf("events are %v, want the third to be a revocation", got)
	}
	if got := m.state("one").Recovery; len(got) != 1 || got[0].ID() != m.carol.Public().ID() {
		t.Errorf("recovery keys are %v, want Carol's still", got)
	}
	// Self-revocation, with the key.
	m.claim("three", 1, m.alice, m.bob)
	m.propose(m.request("three", rekeyTo(1, m.bob), m.alice, m.bob))
	if s := m.state("three"); len(s.Keys) != 1 || s.Keys[0].ID() != m.bob.Public().ID() {
		t.Errorf("keys are %v, want Bob's alone", s.Keys)
	}
}

// TestR30_StolenAndSuperseded: both ways on one project. Superseded: all releases stay. Stolen: what
// that key alone signed goes, unless it is signed again.
func TestR30_StolenAndSuperseded(t *testing.T) {
	m := newTeam(t)
	m.upload(sdist("demo", "0.9"))
	m.claim("demo", 1, m.alice, m.bob, m.carol)
	var files []publish.File
	for i, k := range []key.Signer{m.alice, m.bob, m.bob} {
		f := m.stage(wheel("demo", []string{"1.0", "1.1", "1.2"}[i]))
		m.propose(m.request("demo", releaseOf(f), k))
		files = append(files, f)
	}
	m.propose(m.request("demo", rekeyTo(1, m.bob, m.carol), m.bob)) // Alice's is superseded
	if got := m.listed("demo"); len(got) != 4 {
		t.Errorf("after superseding %v is listed, want everything", got)
	}
	alone, err := m.index.SignedAlone(t.Context(), m.actor, project(t, "demo"), m.bob.Public().ID())
	if err != nil || !slices.Equal(alone, []pypi.Filename{files[1].Filename, files[2].Filename}) {
		t.Errorf("Bob alone signed %v, %v; want his two releases", alone, err)
	}
	d := rekeyTo(1, m.carol) // Bob's is stolen; Carol keeps 1.2
	layout := m.publisher.Current().Layout()
	d.Edit.Remove = []tuf.TargetPath{layout.Path(project(t, "demo"), files[1].Filename)}
	m.propose(m.request("demo", d, m.carol))
	want := []string{"demo-0.9.tar.gz", files[0].Filename.String(), files[2].Filename.String()}
	if got := m.listed("demo"); !slices.Equal(slices.Sorted(slices.Values(got)), want) {
		t.Errorf("after the theft %v is listed, want %v", got, want)
	}
	// The name of what went is used up.
	_, err = m.send(m.actor, wheel("demo", "1.1"), nil)
	refused(t, err, index.Exists)
}

// TestR32_UnclaimedGoesOn: an upload to a project that nobody claimed works as ever, beside claimed
// ones.
func TestR32_UnclaimedGoesOn(t *testing.T) {
	m := newTeam(t)
	m.claim("demo", 1, m.alice)
	if r := m.upload(sdist("quiet", "1.0")); r.Staged || r.Publication == 0 || r.Line() != "" {
		t.Errorf("the upload gave %+v", r)
	}
	if s := m.state("quiet"); s.Assurance != policy.Unclaimed || !s.Exists || len(s.Requests)+len(s.Staged) != 0 {
		t.Errorf("the project is %+v", s)
	}
}

// TestR35_WriteConfinement: a token without a right to the project gets nowhere, whatever it sends,
// and a right to one project is none to another.
func TestR35_WriteConfinement(t *testing.T) {
	m := newTeam(t)
	m.claim("demo", 2, m.alice, m.bob)
	f := m.stage(wheel("demo", "1.0"))
	r := m.request("demo", releaseOf(f), m.alice)
	out, err := m.index.Propose(t.Context(), m.actor, r)
	if err != nil || out.Publication != 0 {
		t.Fatalf("%+v, %v", out, err)
	}
	p := project(t, "demo")
	both := m.request("demo", releaseOf(f), m.alice, m.bob) // even with all signatures
	for name, a := range map[string]index.Actor{"a stranger": m.login([]pypi.Project{project(t, "other")}), "nobody": {}} {
		for what, do := range map[string]func() error{
			"Propose":      func() error { _, err := m.index.Propose(t.Context(), a, both); return err },
			"Staged":       func() error { _, err := m.index.Staged(t.Context(), a, p); return err },
			"Unstage":      func() error { return m.index.Unstage(t.Context(), a, p, f.Filename) },
			"Requests":     func() error { _, err := m.index.Requests(t.Context(), a, p); return err },
			"Events":       func() error { _, err := m.index.Events(t.Context(), a, p); return err },
			"ProjectState": func() error { _, err := m.index.ProjectState(t.Context(), a, p); return err },
			"SignedAlone":  func() error { _, err := m.index.SignedAlone(t.Context(), a, p, m.alice.Public().ID()); return err },
			"Upload":       func() error { _, err := m.send(a, wheel("demo", "1.1"), nil); return err },
		} {
			t.Run(name+" "+what, func(t *testing.T) { refused(t, do(), index.Forbidden) })
		}
		for what, do := range map[string]func() error{ // they do not even tell whether there is such a request
			"Request": func() error { _, err := m.index.Request(t.Context(), a, out.ID); return err },
			"Abort":   func() error { return m.index.Abort(t.Context(), a, out.ID) },
			"AddSignature": func() error {
				_, err := m.index.AddSignature(t.Context(), a, out.ID, m.signatures(r, "project.demo", m.bob)...)
				return err
			},
		} {
			t.Run(name+" "+what, func(t *testing.T) { refused(t, do(), index.NotFound) })
		}
	}
	if got := m.listed("demo"); len(got) != 0 {
		t.Errorf("listed %v", got)
	}
	// Role names of others in one's own request.
	own := m.login([]pypi.Project{project(t, "other")})
	evil := m.request("other", m.claimDraft("other", 1, m.thief))
	evil.Payloads = append(evil.Payloads, r.Payloads...)
	evil.Bases["project.demo"] = r.Bases["project.demo"]
	if err := publishtest.Sign(evil, "project.other", m.thief); err != nil {
		t.Fatal(err)
	}
	_, err = m.index.Propose(t.Context(), own, evil)
	if r := refused(t, err, index.Invalid); r.Reason != ceremony.Outside {
		t.Errorf("refused for %q", r.Reason)
	}
}

// TestR43_WithdrawKeepsTheName: a withdrawn file is gone, its name is used up, and the project's role
// goes on counting.
func TestR43_WithdrawKeepsTheName(t *testing.T) {
	m := newTeam(t)
	m.claim("demo", 1, m.alice)
	f := m.stage(wheel("demo", "1.0"))
	m.propose(m.request("demo", releaseOf(f), m.alice))
	path := m.publisher.Current().Layout().Path(f.Project, f.Filename)
	m.propose(m.request("demo", publishtest.Draft{Kind: ceremony.Release, Edit: repo.TargetsEdit{Remove: []tuf.TargetPath{path}}}, m.alice))
	if got := m.listed("demo"); len(got) != 0 {
		t.Errorf("listed %v", got)
	}
	_, err := m.send(m.actor, wheel("demo", "1.0"), nil)
	refused(t, err, index.Exists)
	again := m.request("demo", releaseOf(f), m.alice) // the same file, signed once more
	_, err = m.index.Propose(t.Context(), m.actor, again)
	refused(t, err, index.Invalid)
	if s := m.state("demo"); s.Version != 3 {
		t.Errorf("the role is at version %d, want 3", s.Version)
	}
}

// TestR44_AdoptedFilesAreMarked: what the maintainers did not build is vouched for by the index, and
// the page says so for as long as they do not take it over.
func TestR44_AdoptedFilesAreMarked(t *testing.T) {
	m := newTeam(t)
	old := m.upload(sdist("demo", "1.0"))
	m.claim("demo", 1, m.alice)
	f := m.stage(wheel("demo", "1.1"))
	m.propose(m.request("demo", releaseOf(f), m.alice))
	view := m.publisher.Current()
	for name, want := range map[pypi.Filename]string{old.Filename: policy.VouchedByIndex, f.Filename: ""} {
		found, err := view.Find(t.Context(), view.Layout().Path(f.Project, name))
		if err != nil {
			t.Fatal(err)
		}
		c, err := policy.DecodeCustom(found.Target.Custom)
		if err != nil || c.VouchedBy != want {
			t.Errorf("%s is vouched for by %q, %v; want %q", name, c.VouchedBy, err, want)
		}
	}
}

// TestClaimedByTheOfflineKey: a release is published at once, a change of keys waits for the sitting.
func TestClaimedByTheOfflineKey(t *testing.T) {
	m := newTeam(t)
	f := m.stage(wheel("offline", "1.0"))
	m.propose(m.request("offline", releaseOf(f), m.alice))
	r := m.request("offline", rekeyTo(1, m.alice, m.bob), m.alice)
	out, err := m.index.Propose(t.Context(), m.actor, r)
	if err != nil || len(out.Missing) != 1 {
		t.Fatalf("%+v, %v", out, err)
	}
	out, err = m.index.AddSignature(t.Context(), m.actor, out.ID, m.signatures(r, "project.offline", m.bob)...)
	if err != nil || out.Publication != 0 || len(out.Missing) != 0 || !strings.Contains(out.Next, "needs the offline key of claimed-") {
		t.Errorf("with every signature: %+v, %v", out, err)
	}
	if s := m.state("offline"); s.Assurance != policy.Claimed || len(s.Keys) != 1 || len(s.Requests) != 1 {
		t.Errorf("the project is %+v", s)
	}
	_, err = m.index.Propose(t.Context(), m.actor, m.request("offline", publishtest.Draft{Kind: ceremony.Claim, Keys: []key.Signer{m.bob}}, m.bob))
	refused(t, err, index.Forbidden)
}
