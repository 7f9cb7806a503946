package publish_test

import (
	"bytes"
	"errors"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/bailiwick/internal/ceremony"
	"example.com/bailiwick/internal/ledger"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/internal/publish/publishtest"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
	"example.com/bailiwick/tuf/repo"
)

// people makes keys for maintainers.
func people(t testing.TB, n int) []key.Signer {
	t.Helper()
	out := make([]key.Signer, n)
	for i := range out {
		_, s, err := key.GenerateEd25519()
		if err != nil {
			t.Fatal(err)
		}
		out[i] = s
	}
	return out
}

func standing(t testing.TB, p *publish.Publisher, name string) *ceremony.Standing {
	t.Helper()
	s, err := p.Current().Standing(t.Context(), project(t, name))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// request renders a draft on the project as it stands, signed by signers.
func request(t testing.TB, p *publish.Publisher, name string, d publishtest.Draft, signers ...key.Signer) *ceremony.Request {
	t.Helper()
	r, err := d.On(standing(t, p, name), publishtest.Start())
	if err == nil {
		err = publishtest.Sign(r, "", signers...)
	}
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func claimed(t testing.TB, p *publish.Publisher, name string, keys ...key.Signer) {
	t.Helper()
	d := publishtest.Draft{Kind: ceremony.Claim, Keys: keys}
	if _, err := p.Publish(t.Context(), publish.Sign{Request: request(t, p, name, d, keys...)}); err != nil {
		t.Fatal(err)
	}
}

// staged is a file as an upload has staged it.
func staged(t testing.TB, name string) publish.File {
	t.Helper()
	f := publishtest.File(t, name, "content of "+name)
	f.Uploaded = publishtest.Start()
	return f
}

func TestSignedBytesArePublishedAsTheyAre(t *testing.T) {
	p, l, _ := start(t)
	must(t, p, add(t, "flask-1.tar.gz", "a"))
	keys := people(t, 2)
	r := request(t, p, "flask", publishtest.Draft{Kind: ceremony.Claim, Keys: keys, Threshold: 2}, keys...)
	must(t, p, publish.Sign{Request: r, Token: "t1"})

	m, err := l.Metadata(t.Context(), "project.flask", 2)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(m.Bytes, r.Payloads[0].Message) {
		t.Error("the published role does not hold the signed bytes")
	}
	u, err := tuf.ParseTargets(m.Bytes, nil)
	if err != nil || !bytes.Equal(u.Message(), r.Payloads[0].Message) || len(u.Signatures()) != 2 {
		t.Errorf("%d signatures over %d bytes, %v", len(u.Signatures()), len(u.Message()), err)
	}
	s := standing(t, p, "flask")
	if s.Assurance != policy.RecentlyClaimed || s.Authority.Threshold() != 2 || !s.Since.Equal(publishtest.Start()) {
		t.Errorf("the project is %v by %d since %v", s.Assurance, s.Authority.Threshold(), s.Since)
	}
	if got := names(t, p, "flask"); len(got) != 1 {
		t.Errorf("the claimed project lists %v, want the file it had", got)
	}
	if err := publish.Check(t.Context(), l); err != nil {
		t.Errorf("the repository does not check: %v", err)
	}
	if _, err := p.Publish(t.Context(), add(t, "flask-2.tar.gz", "a")); !errors.Is(err, publish.ErrNotRegistry) {
		t.Errorf("an upload to a claimed project: %v, want ErrNotRegistry", err)
	}
	var refused *ceremony.Refused
	if _, err := p.Publish(t.Context(), publish.Sign{Request: r}); !errors.As(err, &refused) || refused.Reason == "" {
		t.Errorf("the same request again: %v, want a refusal", err)
	}
}

func TestSignWithoutEnoughSignatures(t *testing.T) {
	p, _, _ := start(t)
	keys := people(t, 2)
	before := p.Current().Number()
	r := request(t, p, "flask", publishtest.Draft{Kind: ceremony.Claim, Keys: keys}, keys[0])
	if _, err := p.Publish(t.Context(), publish.Sign{Request: r}); !errors.Is(err, publish.ErrUnsigned) {
		t.Errorf("a claim by one of two keys: %v, want ErrUnsigned", err)
	}
	for _, c := range []publish.Sign{{}, {Request: &ceremony.Request{}}, {Request: r, Staged: []publish.File{{}}}, {Request: r, Staged: []publish.File{staged(t, "other-1.tar.gz")}}} {
		if _, err := p.Publish(t.Context(), c); !errors.Is(err, publish.ErrInvalid) {
			t.Errorf("%+v: %v, want ErrInvalid", c, err)
		}
	}
	if now := p.Current().Number(); now != before {
		t.Errorf("publication %d was made", now)
	}
}

// TestSignBesideOthers: changes that come together for one project follow each other; what is
// refused touches nobody else.
func TestSignBesideOthers(t *testing.T) {
	p, l, _ := start(t)
	must(t, p, add(t, "flask-1.tar.gz", "a"))
	keys, ci := people(t, 1), people(t, 1)
	claimed(t, p, "django", keys...)
	release := func(file string) publish.Sign {
		f := staged(t, file)
		return publish.Sign{
			Request: request(t, p, "django", publishtest.Draft{Kind: ceremony.Release, Add: []publish.File{f}}, keys...),
			Staged:  []publish.File{f},
		}
	}
	claim := publish.Sign{Request: request(t, p, "flask", publishtest.Draft{Kind: ceremony.Claim, Keys: keys}, keys...)}
	forged := publish.Sign{Request: request(t, p, "other", publishtest.Draft{Kind: ceremony.Claim, Keys: ci}, ci...)}
	forged.Request.Payloads[0].Signatures[0].Sig[0] ^= 1
	changes := []publish.Change{
		add(t, "flask-2.tar.gz", "a"), claim, // the claim is stale by then
		release("django-1.tar.gz"), release("django-2.tar.gz"), // so is the second of these
		forged, add(t, "third-1.tar.gz", "a"),
	}
	want := []ceremony.Reason{"", ceremony.Stale, "", ceremony.Stale, ceremony.BadSignature, ""}
	reached, release1 := l.hold()
	var wg sync.WaitGroup
	errs := make([]error, len(changes))
	wg.Go(func() { must(t, p, add(t, "first-1.tar.gz", "a")) })
	<-reached
	for i, c := range changes {
		wg.Go(func() { _, errs[i] = p.Publish(t.Context(), c) })
		for p.Status().Waiting <= i { // in this order
			runtime.Gosched()
		}
	}
	before := p.Current().Number()
	release1()
	wg.Wait()
	for i, err := range errs {
		var refused *ceremony.Refused
		errors.As(err, &refused)
		if want[i] == "" && err != nil || want[i] != "" && (refused == nil || refused.Reason != want[i]) {
			t.Errorf("change %d: %v, want %q", i, err, want[i])
		}
	}
	if n := p.Current().Number() - before; n != 2 {
		t.Errorf("%d publications, want 2: the one that was held up, and one for the rest", n)
	}
	if got := strings.Join(names(t, p, "django"), " "); got != "django-1.tar.gz" {
		t.Errorf("django lists %s", got)
	}
}

// TestBookKnowsClaimedRoles: the registry key never renews what maintainers sign, also after a
// restart.
func TestBookKnowsClaimedRoles(t *testing.T) {
	l := ledger.NewMemory()
	keys := publishtest.Create(t, l, publishtest.Options{})
	var now atomicTime
	now.set(publishtest.Start())
	config := publish.Config{Ledger: l, Signers: keys.Online(), Now: now.get}
	p, stop, err := publishtest.Open(config)
	if err != nil {
		t.Fatal(err)
	}
	must(t, p, add(t, "flask-1.tar.gz", "a"))
	must(t, p, add(t, "other-1.tar.gz", "a"))
	claimed(t, p, "flask", people(t, 1)...)
	stop()
	roles, err := l.Roles(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range roles {
		if want := r.Name == "project.flask"; r.Maintained != want {
			t.Errorf("role %s: maintained %t, want %t", r.Name, r.Maintained, want)
		}
	}
	now.set(publishtest.Start().Add(300 * 24 * time.Hour)) // unclaimed projects are due, claimed trees are not expired
	p = publishtest.Run(t, config)
	for _, name := range []string{"a", "b", "c", "d", "e", "f"} { // each renews a few roles in passing
		must(t, p, add(t, name+"-1.tar.gz", "a"))
	}
	for role, want := range map[tuf.RoleName]int64{"project.flask": 2, "project.other": 2} {
		m, err := l.Metadata(t.Context(), role, 0)
		if err != nil || m.Version != want {
			t.Errorf("%s is at version %d, %v; want %d", role, m.Version, err, want)
		}
	}
	expiring := p.Status().Expiring
	for _, r := range expiring {
		if r.Name == "project.other" {
			t.Error("a renewed role is said to expire")
		}
	}
}

// TestSubRoles: a CI key for wheels, its own releases, and its end.
func TestSubRoles(t *testing.T) {
	p, l, _ := start(t)
	lead, ci := people(t, 1), people(t, 1)
	claimed(t, p, "flask", lead...)
	wheel1 := staged(t, "flask-1-py3-none-any.whl")
	r := request(t, p, "flask", publishtest.Draft{
		Kind: ceremony.Release, Subs: map[string]publishtest.Sub{"ci": {Delegate: true, Keys: ci, Add: []publish.File{wheel1}}},
	})
	for role, s := range map[tuf.RoleName]key.Signer{"project.flask": lead[0], "project.flask.ci": ci[0]} {
		if err := publishtest.Sign(r, role, s); err != nil {
			t.Fatal(err)
		}
	}
	must(t, p, publish.Sign{Request: r, Staged: []publish.File{wheel1}})
	wheel2 := staged(t, "flask-2-py3-none-any.whl")
	alone := publishtest.Draft{Kind: ceremony.Release, Only: true, Subs: map[string]publishtest.Sub{"ci": {Add: []publish.File{wheel2}}}}
	must(t, p, publish.Sign{Request: request(t, p, "flask", alone, ci...), Staged: []publish.File{wheel2}})
	if got := strings.Join(names(t, p, "flask"), " "); got != "flask-1-py3-none-any.whl flask-2-py3-none-any.whl" {
		t.Errorf("flask lists %s", got)
	}
	f, err := l.File(t.Context(), wheel2.Filename)
	if err != nil || len(f.Signers) != 1 || f.Signers[0] != ci[0].Public().ID() {
		t.Errorf("the second wheel is signed by %v, %v; want the CI key", f.Signers, err)
	}
	must(t, p, publish.Sign{Request: request(t, p, "flask", publishtest.Draft{
		Kind: ceremony.Release, Edit: repo.TargetsEdit{RemoveDelegations: []tuf.RoleName{"project.flask.ci"}},
	}, lead...)})
	if got := names(t, p, "flask"); len(got) != 0 {
		t.Errorf("without its sub-role flask lists %v, want nothing", got)
	}
	if err := publish.Check(t.Context(), l); err != nil {
		t.Errorf("the repository does not check: %v", err)
	}
	if v := standing(t, p, "flask").Newest("project.flask.ci"); v != 2 {
		t.Errorf("the name of the sub-role is at version %d in the snapshot, want 2: names never leave", v)
	}
	// Named again, it goes on from there.
	r = request(t, p, "flask", publishtest.Draft{Kind: ceremony.Release, Subs: map[string]publishtest.Sub{"ci": {Delegate: true, Keys: ci}}})
	if err := errors.Join(publishtest.Sign(r, "project.flask", lead[0]), publishtest.Sign(r, "project.flask.ci", ci[0])); err != nil {
		t.Fatal(err)
	}
	must(t, p, publish.Sign{Request: r})
	if v := standing(t, p, "flask").Newest("project.flask.ci"); v != 3 {
		t.Errorf("the sub-role is at version %d, want 3", v)
	}
}
