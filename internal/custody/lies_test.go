package custody_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"example.com/bailiwick/internal/ceremony"
	"example.com/bailiwick/internal/custody"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/internal/publish/publishtest"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/internal/sitting"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
	"example.com/bailiwick/tuf/repo"
	"example.com/bailiwick/tuf/trust"
)

// thief is a server in the hands of somebody else: it has the timestamp key, everything that was uploaded, and
// the say about every byte that the signer is sent. It does not have the keys of the signer, of maintainers
// or of operators.
type thief struct {
	*world
	p       *custody.Proposal // that the server would have sent
	alice   []key.Signer      // maintainers of flask (promoted), django (recently claimed)
	mallory key.Signer        // the thief's own key
	layout  policy.Layout
	set     *trust.Set
}

// steal sets up an index, has the server make a proposal for the change, and takes it over before it is sent. The
// index has two claimed projects (flask by the offline keys, django recently) and two unclaimed ones (free,
// gone, of which one file was deleted).
func steal(t *testing.T, change func(th *thief) publish.Change) *thief {
	t.Helper()
	w := newWorld(t, publishtest.Options{Bins: 16})
	th := &thief{world: w, alice: w.people(2)}
	th.mallory = w.people(1)[0]
	w.must(w.add("free-1.0.tar.gz"))
	w.must(w.add("gone-1.0.tar.gz"))
	w.must(w.add("gone-2.0.tar.gz"))
	w.must(publish.Delete{Project: w.project("gone"), Files: []pypi.Filename{w.filename("gone-1.0.tar.gz")}})
	w.claim("flask", th.alice...)
	w.claim("django", th.alice...)
	w.must(w.plan(sitting.Wishes{Only: []pypi.Project{w.project("flask")}}))
	w.clock.pass(time.Hour)
	th.look()
	w.desk.set(func(d *desk) { d.before = func([]byte) bool { return false } })
	_, err := w.p.Publish(t.Context(), change(th))
	if !errors.Is(err, publish.ErrNoSigner) {
		t.Fatalf("the server proposed nothing: %v", err)
	}
	th.p = th.decoded()
	return th
}

func (th *thief) look() {
	view := th.world.p.Current()
	th.layout, th.set = view.Layout(), view.Set()
}

func (th *thief) decoded() *custody.Proposal {
	th.Helper()
	p, err := custody.Decode(bytes.Clone(th.desk.sent()))
	if err != nil {
		th.Fatal(err)
	}
	return p
}

func (th *thief) load(role tuf.RoleName, meta tuf.Meta) ([]byte, error) {
	m, err := th.l.Metadata(th.Context(), role, meta.Version)
	return m.Bytes, err
}

// published reads a role of the repository.
func (th *thief) published(chain ...tuf.RoleName) *tuf.Targets {
	th.Helper()
	t, err := ceremony.Role(th.set, th.load, chain...)
	if err != nil {
		th.Fatal(err)
	}
	return t
}

func (th *thief) bin(p pypi.Project) *tuf.Targets {
	return th.published(th.layout.UnclaimedChain(p)...)
}

func (th *thief) listOf(p pypi.Project) *tuf.Targets {
	return th.published(append(th.layout.UnclaimedChain(p), policy.ProjectRole(p))...)
}

func (th *thief) authority(keys ...key.Signer) tuf.Authority {
	th.Helper()
	public := make([]*key.Public, len(keys))
	for i, k := range keys {
		public[i] = k.Public()
	}
	a, err := tuf.NewAuthority(1, public...)
	if err != nil {
		th.Fatal(err)
	}
	return a
}

// edited puts an edit of a published role into the proposal, in the place of what is there, as the next version.
func (th *thief) edited(role tuf.RoleName, base *tuf.Targets, edit repo.TargetsEdit, more ...func(*repo.Issue)) {
	th.Helper()
	issue := repo.Issue{
		Role: role, Version: base.Version() + 1, Now: th.p.Time, Expires: th.p.Time.Add(24 * time.Hour),
		Authority: th.authority(th.keys[policy.KeyRegistry]),
	}
	for _, m := range more {
		m(&issue)
	}
	d, err := repo.EditTargets(base, edit, issue)
	if err != nil {
		th.Fatal(err)
	}
	th.put(role, d.Message())
}

func (th *thief) put(role tuf.RoleName, message []byte) {
	th.p.Roles = slices.DeleteFunc(th.p.Roles, func(r custody.Role) bool { return r.Name == role })
	th.p.Roles = append(th.p.Roles, custody.Role{Name: role, Message: bytes.Clone(message)})
	th.repin()
}

func (th *thief) drop(role tuf.RoleName) {
	th.p.Roles = slices.DeleteFunc(th.p.Roles, func(r custody.Role) bool { return r.Name == role })
	th.repin()
}

func (th *thief) role(name tuf.RoleName) *custody.Role {
	th.Helper()
	i := slices.IndexFunc(th.p.Roles, func(r custody.Role) bool { return r.Name == name })
	if i < 0 {
		th.Fatalf("the proposal has no %s", name)
	}
	return &th.p.Roles[i]
}

// replace changes what a role says, byte for byte.
func (th *thief) replace(r *custody.Role, old, with string) {
	th.Helper()
	if !bytes.Contains(r.Message, []byte(old)) {
		th.Fatalf("%s does not say %s: %s", r.Name, old, r.Message)
	}
	r.Message = bytes.Replace(r.Message, []byte(old), []byte(with), 1)
}

// repin makes the snapshot fit what the proposal says now: a clever thief does not forget it.
func (th *thief) repin() {
	th.Helper()
	changed := make(map[tuf.RoleName]int64)
	for _, r := range th.p.Roles {
		meta, _ := th.set.Snapshot().Lookup(r.Name)
		changed[r.Name] = meta.Version + 1
	}
	for _, r := range th.p.Requests {
		for role, base := range r.Bases {
			changed[role] = base + 1
		}
	}
	for _, r := range th.p.Sittings {
		for _, p := range r.Payloads {
			meta, _ := th.set.Snapshot().Lookup(p.Role)
			changed[p.Role] = meta.Version + 1
		}
	}
	s, err := repo.OpenSnapshot(th.set.Snapshot())
	if err != nil {
		th.Fatal(err)
	}
	_, d, err := s.Edit(changed, repo.Issue{
		Version: s.Version() + 1, Now: th.p.Time, Expires: th.p.Time.Add(24 * time.Hour), Authority: th.authority(th.keys[policy.KeySnapshot]),
	})
	if err != nil {
		th.Fatal(err)
	}
	th.p.Snapshot.Message = d.Message()
}

func (th *thief) target(name, content string) tuf.Target {
	th.Helper()
	f := publishtest.File(th, name, content)
	f.Uploaded = th.p.Time
	t, err := f.Target(th.layout)
	if err != nil {
		th.Fatal(err)
	}
	return t
}

// send has the signer judge the proposal as it is now.
func (th *thief) send() *custody.Answer {
	th.Helper()
	data, err := th.p.Encode()
	if err != nil {
		th.Fatalf("the lie can not even be sent: %v", err)
	}
	return th.desk.signer.Consider(th.Context(), data)
}

// Changes that a server proposes.
func upload(th *thief) publish.Change { return th.add("free-2.0.tar.gz") }

func newProject(th *thief) publish.Change { return th.add("newcomer-1.0.tar.gz") }

func claimFree(th *thief) publish.Change {
	return th.sign("free", publishtest.Draft{Kind: ceremony.Claim, Keys: th.alice}, th.alice...)
}

func releaseDjango(th *thief) publish.Change { return th.release("django-1.0.tar.gz", th.alice[0]) }

func rekeyDjango(th *thief) publish.Change {
	bob := th.people(1)
	return th.sign("django", publishtest.Draft{Kind: ceremony.Rekey, Keys: bob}, append(bob, th.alice...)...)
}

func promoteDjango(th *thief) publish.Change {
	return th.plan(sitting.Wishes{Only: []pypi.Project{th.project("django")}})
}

func rotateRoot(th *thief) publish.Change {
	next := th.people(1)[0]
	r, err := sitting.Rotate(th.state(), sitting.Wishes{}, sitting.Rotation{Role: policy.KeyTargets, Keys: []*key.Public{next.Public()}, Threshold: 1})
	return th.offline(r, err, next)
}

// lie is one way to ask for a signature that the signer must not give.
type lie struct {
	name   string
	honest func(th *thief) publish.Change
	tell   func(th *thief)
	want   custody.Reason
}

func lies() []lie {
	return slices.Concat(liesAboutPlace(), liesAboutFiles(), liesAboutHands(), liesAboutPromotions(), liesAboutSignatures(), liesAboutSnapshots())
}

func liesAboutPlace() []lie {
	return []lie{
		{"another repository", upload, func(th *thief) { th.p.Repository[0] ^= 1 }, custody.Foreign},
		{"another base", upload, func(th *thief) { th.p.Base[0] ^= 1 }, custody.Stale},
		{"a number that is not the next", upload, func(th *thief) { th.p.Number++ }, custody.Stale},
		{"a time in the past, so that a claim looks old", claimFree, func(th *thief) { th.p.Time = th.p.Time.AddDate(0, 0, -30) }, custody.Dates},
		{"a time to come", upload, func(th *thief) { th.p.Time = th.p.Time.Add(48 * time.Hour) }, custody.Dates},
		{"a version that was skipped", upload, func(th *thief) {
			th.replace(th.role("project.free"), `"version":2}`, `"version":3}`)
		}, custody.Version},
		{"a version that was there already", upload, func(th *thief) {
			th.replace(th.role("project.free"), `"version":2}`, `"version":1}`)
		}, custody.Version},
		{"a bin that goes back", newProject, func(th *thief) {
			bin := th.role(th.layout.UnclaimedBin(th.project("newcomer")))
			th.replace(bin, `"version":2}`, `"version":1}`)
		}, custody.Version},
		{"one role under the name of another", upload, func(th *thief) {
			th.put("project.gone", th.role("project.free").Message)
		}, custody.Outside},
		{"a role of no project", upload, func(th *thief) { th.put("project.free.ci", th.role("project.free").Message) }, custody.Outside},
		{"the role targets", upload, func(th *thief) { th.put("targets", th.set.Targets().Bytes()) }, custody.Outside},
		{"a claimed bin", upload, func(th *thief) {
			p := th.project("flask")
			base := th.published(th.layout.ClaimedChain(p)...)
			th.edited(th.layout.ClaimedBin(p), base, repo.TargetsEdit{ReplaceDelegations: []repo.Delegation{policy.NewProject(th.layout, p, th.authority(th.mallory))}})
		}, custody.Outside},
		{"the role unclaimed", upload, func(th *thief) {
			chain := th.layout.UnclaimedChain(th.project("free"))
			th.edited("unclaimed", th.published(chain[:3]...), repo.TargetsEdit{})
		}, custody.Outside},
		{"two versions of one role", upload, func(th *thief) {
			th.p.Roles = append(th.p.Roles, *th.role("project.free"))
		}, custody.Malformed},
		{"a list that is good for years", upload, func(th *thief) {
			p := th.project("free")
			th.edited("project.free", th.listOf(p), repo.TargetsEdit{}, func(i *repo.Issue) { i.Expires = i.Now.AddDate(10, 0, 0) })
		}, custody.Dates},
		{"a list that is over", upload, func(th *thief) {
			p := th.project("free")
			th.edited("project.free", th.listOf(p), repo.TargetsEdit{}, func(i *repo.Issue) {
				i.Now, i.Expires = i.Now.AddDate(0, 0, -2), i.Now.AddDate(0, 0, -1)
			})
		}, custody.Dates},
		{"a snapshot that is good for years", upload, func(th *thief) {
			th.replace(&th.p.Snapshot, `"expires":"2000-`, `"expires":"2009-`)
		}, custody.Dates},
		{"no snapshot", upload, func(th *thief) { th.p.Snapshot.Message = th.role("project.free").Message }, custody.Malformed},
	}
}

func liesAboutFiles() []lie {
	put := func(name, content string) func(th *thief) {
		return func(th *thief) {
			f := publishtest.File(th, name, content)
			th.edited(policy.ProjectRole(f.Project), th.listOf(f.Project), repo.TargetsEdit{Put: []tuf.Target{th.target(name, content)}})
		}
	}
	return []lie{
		{"other bytes under a listed name", upload, put("free-1.0.tar.gz", "a trojan horse"), custody.Altered},
		{"a file that vanishes", upload, func(th *thief) {
			p := th.project("free")
			path := th.layout.Path(p, th.filename("free-1.0.tar.gz"))
			th.edited("project.free", th.listOf(p), repo.TargetsEdit{Remove: []tuf.TargetPath{path}})
		}, custody.Vanished},
		{"a name that was deleted", upload, put("gone-1.0.tar.gz", "a trojan horse"), custody.Altered},
		{"a name that was deleted, with the old bytes", upload, put("gone-1.0.tar.gz", "content of gone-1.0.tar.gz"), custody.Altered},
		{"a file that is older than it is", upload, func(th *thief) {
			th.p.Time = th.p.Time.Add(-time.Minute)
			put("free-3.0.tar.gz", "new")(th)
			th.p.Time = th.p.Time.Add(time.Minute)
			th.repin()
		}, custody.Altered},
		{"another description of a listed file", upload, func(th *thief) {
			p := th.project("free")
			t, _ := th.listOf(p).Lookup(th.layout.Path(p, th.filename("free-1.0.tar.gz")))
			custom, err := policy.DecodeCustom(t.Custom)
			if err != nil {
				th.Fatal(err)
			}
			custom.RequiresPython = ">=2"
			if t.Custom, err = custom.Encode(); err != nil {
				th.Fatal(err)
			}
			th.edited("project.free", th.listOf(p), repo.TargetsEdit{Put: []tuf.Target{t}})
		}, custody.Altered},
		{"a file of another project", upload, func(th *thief) {
			th.edited("project.free", th.listOf(th.project("free")), repo.TargetsEdit{Put: []tuf.Target{th.target("django-9.0.tar.gz", "a trojan horse")}})
		}, custody.Outside},
		{"a delegation by an unclaimed project", upload, func(th *thief) {
			p := th.project("free")
			th.edited("project.free", th.listOf(p), repo.TargetsEdit{AddDelegations: []repo.Delegation{{
				Role: "project.free.ci", Authority: th.authority(th.mallory), Paths: []string{th.layout.Dir(p) + "/*"}, Terminating: true,
			}}})
		}, custody.Altered},
		{"a member that nobody knows", upload, func(th *thief) {
			th.edited("project.free", th.listOf(th.project("free")), repo.TargetsEdit{Members: map[string][]byte{"x-thief": []byte("1")}})
		}, custody.Altered},
	}
}

func liesAboutHands() []lie {
	// handOver has the bin delegate a project to the thief's key.
	handOver := func(name string) func(th *thief) {
		return func(th *thief) {
			p := th.project(name)
			d := policy.NewProject(th.layout, p, th.authority(th.mallory))
			th.edited(th.layout.UnclaimedBin(p), th.bin(p), repo.TargetsEdit{ReplaceDelegations: []repo.Delegation{d}})
		}
	}
	return []lie{
		{"other keys for a claimed project", upload, handOver("django"), custody.NotAllowed},
		{"other keys for an unclaimed project", upload, handOver("free"), custody.NotAllowed},
		{"one key of two is enough", upload, func(th *thief) {
			p := th.project("django")
			d := policy.NewProject(th.layout, p, th.authority(th.alice[0]))
			th.edited(th.layout.UnclaimedBin(p), th.bin(p), repo.TargetsEdit{ReplaceDelegations: []repo.Delegation{d}})
		}, custody.NotAllowed},
		{"the registry signs for a claimed project", upload, func(th *thief) {
			p := th.project("django")
			th.edited("project.django", th.published(append(th.layout.UnclaimedChain(p), "project.django")...), repo.TargetsEdit{Put: []tuf.Target{th.target("django-6.6.6.tar.gz", "a trojan horse")}})
		}, custody.NotAllowed},
		{"the registry signs for a promoted project", upload, func(th *thief) {
			p := th.project("flask")
			th.edited("project.flask", th.published(append(th.layout.ClaimedChain(p), "project.flask")...), repo.TargetsEdit{Put: []tuf.Target{th.target("flask-6.6.6.tar.gz", "a trojan horse")}})
		}, custody.NotAllowed},
		{"a promoted project in the unclaimed tree, too", upload, func(th *thief) {
			p := th.project("flask")
			d := policy.NewProject(th.layout, p, th.authority(th.mallory))
			th.edited(th.layout.UnclaimedBin(p), th.bin(p), repo.TargetsEdit{AddDelegations: []repo.Delegation{d}})
		}, custody.NotAllowed},
		{"a new project with the thief's key, and no claim", newProject, func(th *thief) {
			p := th.project("newcomer")
			d := policy.NewProject(th.layout, p, th.authority(th.mallory))
			th.edited(th.layout.UnclaimedBin(p), th.bin(p), repo.TargetsEdit{AddDelegations: []repo.Delegation{d}})
		}, custody.Altered},
		{"a project that vanishes", upload, func(th *thief) {
			p := th.project("django")
			th.edited(th.layout.UnclaimedBin(p), th.bin(p), repo.TargetsEdit{RemoveDelegations: []tuf.RoleName{"project.django"}})
		}, custody.Vanished},
		{"a new project that no bin delegates", newProject, func(th *thief) {
			th.drop(th.layout.UnclaimedBin(th.project("newcomer")))
		}, custody.Vanished},
		{"a claim that no bin delegates", claimFree, func(th *thief) { th.drop(th.layout.UnclaimedBin(th.project("free"))) }, custody.Vanished},
		{"a claim for other keys than those that signed it", claimFree, func(th *thief) {
			p := th.project("free")
			d := policy.ClaimProject(th.layout, p, th.authority(th.mallory), th.p.Time)
			th.edited(th.layout.UnclaimedBin(p), th.bin(p), repo.TargetsEdit{ReplaceDelegations: []repo.Delegation{d}})
		}, custody.Altered},
		{"a claim that looks older than it is", claimFree, func(th *thief) {
			p := th.project("free")
			d := policy.ClaimProject(th.layout, p, th.authority(th.alice...), th.p.Time.AddDate(-1, 0, 0))
			th.edited(th.layout.UnclaimedBin(p), th.bin(p), repo.TargetsEdit{ReplaceDelegations: []repo.Delegation{d}})
		}, custody.Altered},
		{"a promoted project stays in the unclaimed tree", promoteDjango, func(th *thief) {
			p := th.project("django")
			th.edited(th.layout.UnclaimedBin(p), th.bin(p), repo.TargetsEdit{})
		}, custody.NotAllowed},
	}
}

func liesAboutSignatures() []lie {
	forge := func(th *thief) { th.p.Requests[0].Payloads[0].Signatures[0].Sig[0] ^= 1 }
	return []lie{
		{"a forged signature of a maintainer", releaseDjango, forge, custody.BadSignature},
		{"a release that nobody signed", releaseDjango, func(th *thief) { th.p.Requests[0].Payloads[0].Signatures = nil }, custody.BadSignature},
		{"a release by the thief's key", releaseDjango, func(th *thief) {
			p := &th.p.Requests[0].Payloads[0]
			sig, err := th.mallory.Sign(th.Context(), p.Message)
			if err != nil {
				th.Fatal(err)
			}
			p.Signatures = []tuf.Signature{{KeyID: th.mallory.Public().ID(), Sig: sig}}
		}, custody.BadSignature},
		{"a release with other bytes than were signed", releaseDjango, func(th *thief) {
			p := &th.p.Requests[0].Payloads[0]
			p.Message = bytes.Replace(p.Message, []byte(`"sha256":"`), []byte(`"sha256":"00`), 1)
			p.Message = append(p.Message[:bytes.Index(p.Message, []byte(`"sha256":"00`))+74], p.Message[bytes.Index(p.Message, []byte(`"sha256":"00`))+76:]...)
		}, custody.BadSignature},
		{"a claim that one of its keys did not sign", claimFree, func(th *thief) {
			p := &th.p.Requests[0].Payloads[0]
			p.Signatures = p.Signatures[:1]
		}, custody.BadSignature},
		{"a forged signature on a claim", claimFree, forge, custody.BadSignature},
		{"a claim in another's name", claimFree, func(th *thief) {
			th.p.Requests[0].Project = th.project("gone")
		}, custody.Malformed},
		{"a change of keys that the old keys did not sign", rekeyDjango, func(th *thief) {
			p := &th.p.Requests[0].Payloads[0]
			p.Signatures = slices.DeleteFunc(p.Signatures, func(s tuf.Signature) bool {
				return s.KeyID == th.alice[0].Public().ID() || s.KeyID == th.alice[1].Public().ID()
			})
		}, custody.BadSignature},
		{"a request for another repository", releaseDjango, func(th *thief) { th.p.Requests[0].Repository[0] ^= 1 }, custody.Foreign},
		{"a request based on an old version", releaseDjango, func(th *thief) {
			th.p.Requests[0].Bases["project.django"]--
		}, custody.Stale},
		{"one request twice", releaseDjango, func(th *thief) { th.p.Requests = append(th.p.Requests, th.p.Requests[0]) }, custody.Malformed},
		{"a sitting that nobody signed", promoteDjango, func(th *thief) {
			for i := range th.p.Sittings[0].Payloads {
				th.p.Sittings[0].Payloads[i].Signatures = nil
			}
		}, custody.BadSignature},
		{"a sitting signed by the thief", promoteDjango, func(th *thief) {
			for i := range th.p.Sittings[0].Payloads {
				p := &th.p.Sittings[0].Payloads[i]
				sig, err := th.mallory.Sign(th.Context(), p.Message)
				if err != nil {
					th.Fatal(err)
				}
				p.Signatures = []tuf.Signature{{KeyID: th.mallory.Public().ID(), Sig: sig}}
			}
		}, custody.BadSignature},
		{"a sitting with a forged signature", promoteDjango, func(th *thief) {
			th.p.Sittings[0].Payloads[0].Signatures[0].Sig[0] ^= 1
		}, custody.BadSignature},
		{"a sitting for another repository", promoteDjango, func(th *thief) { th.p.Sittings[0].Repository[0] ^= 1 }, custody.Foreign},
		{"a root with a forged signature", rotateRoot, func(th *thief) {
			for i := range th.p.Sittings[0].Payloads {
				for k := range th.p.Sittings[0].Payloads[i].Signatures {
					th.p.Sittings[0].Payloads[i].Signatures[k].Sig[0] ^= 1
				}
			}
		}, custody.BadSignature},
	}
}

func liesAboutSnapshots() []lie {
	return []lie{
		{"a role that the snapshot leaves out", upload, func(th *thief) { th.replace(&th.p.Snapshot, `"project.django.json":{"version":1},`, ``) }, custody.Altered},
		{"a role that the snapshot lists lower", upload, func(th *thief) {
			th.replace(&th.p.Snapshot, `"project.gone.json":{"version":3}`, `"project.gone.json":{"version":2}`)
		}, custody.Altered},
		{"a role that the snapshot lists higher", upload, func(th *thief) {
			th.replace(&th.p.Snapshot, `"claimed.json":{"version":2}`, `"claimed.json":{"version":3}`)
		}, custody.Altered},
		{"a role that nobody made", upload, func(th *thief) {
			th.replace(&th.p.Snapshot, `"project.free.json"`, `"project.ghost.json":{"version":1},"project.free.json"`)
		}, custody.Malformed},
		{"a new list that the snapshot does not list", upload, func(th *thief) {
			th.replace(&th.p.Snapshot, `"project.free.json":{"version":2}`, `"project.free.json":{"version":1}`)
		}, custody.Altered},
		{"a hash that binds clients to other bytes", upload, func(th *thief) {
			th.replace(&th.p.Snapshot, `"targets.json":{"version":1}`, `"targets.json":{"length":1,"version":1}`)
		}, custody.Altered},
		{"a record without its head", claimFree, func(th *thief) { th.repin() }, custody.Altered},
		{"a claim that the record does not tell", claimFree, func(th *thief) {
			th.p.Record = nil
			th.repin()
		}, custody.Altered},
		{"a change of keys told as another", rekeyDjango, func(th *thief) { th.p.Record[0].New.IDs[0] = th.mallory.Public().ID() }, custody.Altered},
		{"an entry of what did not happen", claimFree, func(th *thief) {
			e := th.p.Record[0]
			e.Number, e.Role = e.Number+1, "project.django"
			th.p.Record = append(th.p.Record, e)
		}, custody.Altered},
		{"an entry in the wrong place", claimFree, func(th *thief) { th.p.Record[0].Number++ }, custody.Altered},
		{"an entry of another time", claimFree, func(th *thief) { th.p.Record[0].Time = th.p.Record[0].Time.AddDate(-1, 0, 0) }, custody.Altered},
		{"a new root that the record does not tell", rotateRoot, func(th *thief) { th.p.Record = nil }, custody.Altered},
	}
}

// TestR3SignerFedLies: a signer fed lies by a fully compromised server signs nothing, and says why.
func TestR3SignerFedLies(t *testing.T) {
	for _, l := range lies() {
		t.Run(l.name, func(t *testing.T) {
			th := steal(t, l.honest)
			honest := bytes.Clone(th.desk.sent())
			signed, last := th.signed(), th.memory.last
			l.tell(th)
			a := th.send()
			if a.Refused == nil || a.Refused.Reason != l.want || len(a.Signatures) > 0 {
				t.Errorf("the signer answers %+v with %d signatures, want %s", a.Refused, len(a.Signatures), l.want)
			}
			if a.Refused != nil && (a.Refused.Message == "" || len(a.Refused.Message) > 1500) {
				t.Errorf("the reason is %q", a.Refused.Message)
			}
			if n := th.signed() - signed; n != 0 || th.memory.last != last {
				t.Errorf("the signer made %d signatures and remembers %v", n, th.memory.last)
			}
			// What the server would have sent is signed: the lie is what was refused.
			if a := th.desk.signer.Consider(t.Context(), honest); a.Refused != nil {
				t.Errorf("the honest proposal is refused, too: %v", a.Refused)
			}
		})
	}
}

// TestR3OneNumberOneProposal: the same proposal gets the same answer, without a second signature; another one
// of its number gets none, also after the signer was started anew.
func TestR3OneNumberOneProposal(t *testing.T) {
	th := steal(t, upload)
	first := th.send()
	if first.Refused != nil {
		t.Fatal(first.Refused)
	}
	n := th.signed()
	th.desk.signer = th.signer()
	if again := th.send(); fmt.Sprintf("%x", again) != fmt.Sprintf("%x", first) || th.signed() != n {
		t.Errorf("the second answer is %x, with %d new signatures; the first was %x", again, th.signed()-n, first)
	}
	p := th.project("free")
	th.edited("project.free", th.listOf(p), repo.TargetsEdit{Put: []tuf.Target{th.target("free-9.9.tar.gz", "another")}})
	for range 2 {
		if a := th.send(); a.Refused == nil || a.Refused.Reason != custody.AlreadySigned || th.signed() != n {
			t.Errorf("another proposal of the number: %+v, %d new signatures", a.Refused, th.signed()-n)
		}
		th.desk.signer = th.signer()
	}
}

// TestR3WhatWasSignedIsPublished: the next proposal has to follow what was signed, not something else.
func TestR3WhatWasSignedIsPublished(t *testing.T) {
	th := steal(t, upload)
	if a := th.send(); a.Refused != nil {
		t.Fatal(a.Refused)
	}
	th.p.Number++
	th.p.Snapshot.Message = bytes.Replace(th.p.Snapshot.Message, fmt.Appendf(nil, `"version":%d}`, th.p.Number-1), fmt.Appendf(nil, `"version":%d}`, th.p.Number), 1)
	if a := th.send(); a.Refused == nil || a.Refused.Reason != custody.Unpublished {
		t.Errorf("a proposal past an unpublished one: %+v", a.Refused)
	}
}

// TestR3KeyElsewhere: a snapshot that the signer did not sign, with its key, means that the key was stolen.
func TestR3KeyElsewhere(t *testing.T) {
	w := newWorld(t, publishtest.Options{})
	w.must(w.add("free-1.0.tar.gz"))
	w.stop()
	w.desk.set(func(d *desk) { d.gone = true })
	thief, stop, err := publishtest.Open(publish.Config{Ledger: w.l, Signers: w.keys.Online(), Now: w.clock.now})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := thief.Publish(t.Context(), w.add("free-2.0.tar.gz")); err != nil {
		t.Fatal(err)
	}
	stop()
	w.desk.set(func(d *desk) { d.gone = false })
	w.start()
	n := w.signed()
	if _, err := w.p.Publish(t.Context(), w.add("free-3.0.tar.gz")); err == nil {
		t.Error("published on a snapshot that somebody else signed")
	}
	if len(w.desk.refusals()) != 1 || w.desk.refusals()[0].Reason != custody.Elsewhere || w.signed() != n {
		t.Errorf("the signer refused %v and made %d signatures", w.desk.refusals(), w.signed()-n)
	}
}
