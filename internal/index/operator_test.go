package index_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/bailiwick/internal/ceremony"
	"example.com/bailiwick/internal/index"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/publish/publishtest"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/internal/sitting"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
)

const days = 24 * time.Hour

// plan draws up a request and fetches it. It is empty if there was nothing to do.
func (m *team) plan(w index.SittingWishes) (index.PlannedSitting, *sitting.Request) {
	m.t.Helper()
	planned, err := m.index.Plan(m.t.Context(), m.index.Operator(), w)
	if err != nil {
		m.t.Fatal(err)
	}
	if planned.Nothing != nil {
		if planned.ID != "" {
			m.t.Errorf("nothing to do, and request %s is open", planned.ID)
		}
		return planned, &sitting.Request{}
	}
	return planned, m.fetch(planned.ID)
}

func (m *team) fetch(id string) *sitting.Request {
	m.t.Helper()
	r, err := m.index.OperatorRequest(m.t.Context(), m.index.Operator(), id)
	if err != nil {
		m.t.Fatal(err)
	}
	if r.ID() != id {
		m.t.Fatalf("asked for %s, got %s", id, r.ID())
	}
	return r
}

// sign signs a request with all offline keys.
func (m *team) sign(r *sitting.Request, signers ...key.Signer) *sitting.Request {
	m.t.Helper()
	if err := publishtest.SignOffline(r, m.clock.get(), signers...); err != nil {
		m.t.Fatal(err)
	}
	return r
}

func (m *team) imported(r *sitting.Request) index.OperatorOutcome {
	m.t.Helper()
	out, err := m.index.Import(m.t.Context(), m.index.Operator(), r)
	if err != nil {
		m.t.Fatal(err)
	}
	return out
}

func (m *team) waiting() []index.OperatorPending {
	m.t.Helper()
	list, err := m.index.OperatorRequests(m.t.Context(), m.index.Operator(), false)
	if err != nil {
		m.t.Fatal(err)
	}
	return list
}

func (m *team) health() index.Health {
	m.t.Helper()
	h, err := m.index.Health(m.t.Context(), m.index.Operator())
	if err != nil {
		m.t.Fatal(err)
	}
	return h
}

// TestR36SittingPromotes: the whole way inside one process: a claim, the plan, the signature, the word.
func TestR36SittingPromotes(t *testing.T) {
	m := newTeam(t)
	m.upload(wheel("flask", "1"))
	m.upload(wheel("quart", "1"))
	m.claim("flask", 1, m.alice)
	m.clock.advance(10 * days)
	m.claim("quart", 1, m.bob)
	m.clock.advance(5 * days)

	planned, r := m.plan(index.SittingWishes{Promote: true, MinAge: index.StandardMinAge, Renew: true, By: "carol", Popular: []pypi.Project{project(t, "flask")}})
	if planned.Kind != index.KindSitting || planned.Title != "promote 1 project" || planned.By != "carol" || planned.State != index.RequestOpen {
		t.Errorf("planned %+v", planned)
	}
	if text := strings.Join(planned.Summary, "\n"); !strings.Contains(text, "promote to claimed") || !strings.Contains(text, "flask") || strings.Contains(text, "quart") {
		t.Errorf("the summary:\n%s", text)
	}
	if len(r.Notes) != 1 || r.Notes[0].Popular != 1 || r.Notes[0].Token == "" || !r.Notes[0].Since.Equal(publishtest.Start()) {
		t.Errorf("notes %+v", r.Notes)
	}
	if out := m.imported(r); out.Publication != 0 || out.New != 0 || len(out.Missing) != 1 || out.Missing[0].Roles != 2 {
		t.Errorf("unsigned: %+v", out)
	}
	out := m.imported(m.sign(r, m.online.Offline()...))
	if out.Publication == 0 || out.New != 2 {
		t.Errorf("signed: %+v", out)
	}
	if got := m.state("flask").Assurance; got != policy.Claimed {
		t.Errorf("flask is %s", got)
	}
	if got := m.state("quart").Assurance; got != policy.RecentlyClaimed {
		t.Errorf("quart is %s", got)
	}
	if again := m.imported(r); !again.Already || again.Publication != out.Publication {
		t.Errorf("again: %+v", again)
	}
	if list := m.waiting(); len(list) != 0 {
		t.Errorf("still waiting: %+v", list)
	}
	// The maintainers go on as before.
	file := m.stage(wheel("flask", "2"))
	m.propose(m.request("flask", releaseOf(file), m.alice))
}

func TestOnlyAndExceptAndEveryAge(t *testing.T) {
	m := newTeam(t)
	for _, p := range []string{"flask", "quart", "jinja"} {
		m.upload(wheel(p, "1"))
		m.claim(p, 1, m.alice)
	}
	promoted := func(w index.SittingWishes) string {
		t.Helper()
		planned, r := m.plan(w)
		if planned.Nothing != nil {
			return fmt.Sprintf("%d wait until %s", planned.Nothing.Waiting, planned.Nothing.First.Sub(m.clock.get()))
		}
		if err := m.index.AbortOperatorRequest(t.Context(), m.index.Operator(), r.ID()); err != nil {
			t.Fatal(err)
		}
		v, err := sitting.Judge(r, m.clock.get())
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, c := range v.Changes {
			if c.Kind == sitting.Promoted {
				names = append(names, c.Project.String())
			}
		}
		slices.Sort(names)
		return strings.Join(names, " ")
	}
	flask, quart := project(t, "flask"), project(t, "quart")
	for _, c := range []struct {
		w    index.SittingWishes
		want string
	}{
		{index.SittingWishes{Promote: true}, "flask jinja quart"},
		{index.SittingWishes{Promote: true, Except: []pypi.Project{quart}}, "flask jinja"},
		{index.SittingWishes{Promote: true, MinAge: time.Hour}, "3 wait until 1h0m0s"},
		{index.SittingWishes{Promote: true, MinAge: time.Hour, Except: []pypi.Project{quart}}, "2 wait until 1h0m0s"},
		{index.SittingWishes{Promote: true, MinAge: time.Hour, Only: []pypi.Project{flask, quart}}, "flask quart"},
	} {
		if got := promoted(c.w); got != c.want {
			t.Errorf("%+v promotes %q, want %q", c.w, got, c.want)
		}
	}
	_, err := m.index.Plan(t.Context(), m.index.Operator(), index.SittingWishes{Promote: true, Only: []pypi.Project{project(t, "nosuch")}})
	refused(t, err, index.Invalid)
}

// TestR8SeveralSignersInAnyOrder: copies that were signed apart add up at the index.
func TestR8SeveralSignersInAnyOrder(t *testing.T) {
	m := newTeam(t)
	_, r := m.plan(index.SittingWishes{All: true})
	copies := map[policy.KeyRole]*sitting.Request{}
	for _, role := range []policy.KeyRole{policy.KeyTargets, policy.KeyClaimed, policy.KeyUnclaimed} {
		copies[role] = m.sign(m.fetch(r.ID()), m.online[role])
	}
	if out := m.imported(copies[policy.KeyUnclaimed]); out.Publication != 0 || out.New != 1 {
		t.Errorf("the first: %+v", out)
	}
	if out := m.imported(copies[policy.KeyUnclaimed]); out.New != 0 {
		t.Errorf("the first again: %+v", out)
	}
	if out := m.imported(copies[policy.KeyClaimed]); out.Publication != 0 || out.New != 17 || len(out.Missing) != 1 || out.Missing[0].Role != tuf.RoleTargets {
		t.Errorf("the second: %+v", out)
	}
	if list := m.waiting(); len(list) != 1 || len(list[0].Missing) != 1 || list[0].Missing[0].Role != tuf.RoleTargets {
		t.Errorf("waiting: %+v", list)
	}
	if out := m.imported(copies[policy.KeyTargets]); out.Publication == 0 {
		t.Errorf("the last: %+v", out)
	}
}

// TestSignersAtOnce: of several who import at the same moment, one publishes and the others are told.
func TestSignersAtOnce(t *testing.T) {
	m := newTeam(t)
	_, r := m.plan(index.SittingWishes{All: true})
	var wg sync.WaitGroup
	var mu sync.Mutex
	published := map[int64]int{}
	for _, role := range []policy.KeyRole{policy.KeyTargets, policy.KeyClaimed, policy.KeyUnclaimed} {
		mine := m.sign(m.fetch(r.ID()), m.online[role])
		wg.Go(func() {
			out, err := m.index.Import(m.t.Context(), m.index.Operator(), mine)
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			published[out.Publication]++
		})
	}
	wg.Wait()
	if len(published) != 2 || published[0] != 2 {
		t.Errorf("publications: %v", published)
	}
}

func TestAbortOperatorRequest(t *testing.T) {
	m := newTeam(t)
	_, r := m.plan(index.SittingWishes{All: true})
	if err := m.index.AbortOperatorRequest(t.Context(), m.index.Operator(), r.ID()); err != nil {
		t.Error(err)
	}
	refused(t, m.index.AbortOperatorRequest(t.Context(), m.index.Operator(), r.ID()), index.NotFound)
	refused(t, m.index.AbortOperatorRequest(t.Context(), m.index.Operator(), "nosuch"), index.NotFound)
	if len(m.waiting()) != 0 {
		t.Error("an aborted request waits")
	}
	_, err := m.index.Import(t.Context(), m.index.Operator(), m.sign(r, m.online.Offline()...))
	if got := refused(t, err, index.Invalid); !strings.Contains(got.Message, "was aborted on") {
		t.Errorf("imported: %v", err)
	}
}

func TestR5ImportRefuses(t *testing.T) {
	m := newTeam(t)
	other := newTeam(t)
	_, foreign := other.plan(index.SittingWishes{All: true})
	_, err := m.index.Import(t.Context(), m.index.Operator(), foreign)
	if r := refused(t, err, index.Invalid); string(r.Reason) != string(sitting.Foreign) {
		t.Errorf("foreign: %+v", r)
	}

	_, r := m.plan(index.SittingWishes{All: true})
	bad := r.Clone()
	bad.Payloads[0].Signatures = []tuf.Signature{{KeyID: m.online[policy.KeyTargets].Public().ID(), Sig: bytes.Repeat([]byte{1}, 64)}}
	_, err = m.index.Import(t.Context(), m.index.Operator(), bad)
	if r := refused(t, err, index.Invalid); string(r.Reason) != string(sitting.BadSignature) {
		t.Errorf("bad signature: %+v", r)
	}
	if list := m.waiting(); len(list[0].Missing) != 3 {
		t.Errorf("something of it was kept: %+v", list[0])
	}

	m.sign(r, m.online.Offline()...)
	m.clock.advance(31 * days)
	_, err = m.index.Import(t.Context(), m.index.Operator(), r)
	if r := refused(t, err, index.Invalid); string(r.Reason) != string(sitting.Expired) {
		t.Errorf("expired: %+v", r)
	}
	_, err = index.DecodeOperatorRequest(strings.NewReader("no request\n"))
	if r := refused(t, err, index.Invalid); string(r.Reason) != string(sitting.Malformed) {
		t.Errorf("malformed: %+v", r)
	}
}

// TestNobodyElseOperates: neither uploaders nor the signer do what operators do, and operators do not upload.
func TestNobodyElseOperates(t *testing.T) {
	m := newTeam(t)
	actors := map[string]index.Actor{"upload": m.actor, "nobody": {}}
	secret, token, err := index.NewToken(rand.Reader, m.clock.get(), "", nil)
	if err != nil {
		t.Fatal(err)
	}
	token.Right = index.RightSigner
	if err := m.ledger.PutToken(t.Context(), token); err != nil {
		t.Fatal(err)
	}
	if actors["signer"], err = m.index.Authenticate(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	for name, a := range actors {
		for what, err := range map[string]error{
			"requests": second(m.index.OperatorRequests(ctx, a, true)), "request": second(m.index.OperatorRequest(ctx, a, "x")),
			"import": second(m.index.Import(ctx, a, &sitting.Request{})), "plan": second(m.index.Plan(ctx, a, index.SittingWishes{All: true})),
			"health": second(m.index.Health(ctx, a)), "abort": m.index.AbortOperatorRequest(ctx, a, "x"),
		} {
			var r *index.Refusal
			if !errors.As(err, &r) || r.Kind != index.Forbidden {
				t.Errorf("%s with the token of %s: %v", what, name, err)
			}
		}
		if a.MayOperate() {
			t.Errorf("%s may operate", name)
		}
	}
	if m.index.Operator().May(project(t, "flask")) || actors["signer"].May(project(t, "flask")) {
		t.Error("an operator or a signer may upload")
	}
}

func second[T any](_ T, err error) error { return err }

// TestR10RequestsOpenByThemselves: a month ahead, one for each group of people, once, and gone when they are overtaken.
func TestR10RequestsOpenByThemselves(t *testing.T) {
	m := newTeam(t)
	m.clock.advance(334 * days)
	if n, err := m.index.OpenDue(t.Context()); n != 0 || err != nil {
		t.Fatalf("%d opened, %v", n, err)
	}
	m.clock.advance(2 * days)
	if n, err := m.index.OpenDue(t.Context()); n != 4 || err != nil {
		t.Fatalf("%d opened, %v", n, err)
	}
	if n, err := m.index.OpenDue(t.Context()); n != 0 || err != nil {
		t.Fatalf("%d opened again, %v", n, err)
	}
	var titles []string
	for _, p := range m.waiting() {
		titles = append(titles, p.Kind+": "+p.Title)
		if p.Token != "server" || p.Blocks == "" || len(p.Missing) != 1 {
			t.Errorf("opened %+v", p)
		}
	}
	want := []string{"root: renew root", "renewal: renew targets", "sitting: renew claimed, 16 bins", "renewal: renew unclaimed"}
	if !slices.Equal(titles, want) {
		t.Errorf("waiting: %q, want %q", titles, want)
	}

	// A sitting that people plan takes two of them over; what is overtaken goes away by itself.
	_, r := m.plan(index.SittingWishes{Promote: true, Renew: true})
	m.imported(m.sign(r, m.online.Offline()...))
	titles = nil
	for _, p := range m.waiting() {
		titles = append(titles, p.Title)
	}
	if want := []string{"renew root", "renew targets"}; !slices.Equal(titles, want) {
		t.Errorf("waiting after a sitting: %q, want %q", titles, want)
	}

	// Nobody came: the requests expire, and open again. Something is claimed, so claimed itself lives for two months, and is
	// due again.
	m.clock.advance(31 * days)
	if got := m.waiting(); len(got) != 3 || !strings.Contains(got[0].Blocks, "root has expired on") || got[0].Created.Before(m.clock.get().Add(-time.Hour)) {
		t.Errorf("after a month: %+v", got)
	}
}

// TestR10Health: one word for everything, and every role in somebody's hands.
func TestR10Health(t *testing.T) {
	m := newTeam(t)
	m.upload(wheel("flask", "1"))
	h := m.health()
	if h.State != index.Healthy || h.Publication != 2 || len(h.Requests) != 0 || h.Failure != nil || h.Root.Version() != 1 {
		t.Errorf("fresh: %+v", h)
	}
	roles := 0
	for _, d := range h.Duties {
		roles += d.Roles
	}
	// root, timestamp, snapshot, targets, claimed, unclaimed, 16 bins of each tree, "offline" and "flask".
	if roles != 6+32+2 {
		t.Errorf("%d roles are foretold", roles)
	}
	m.clock.advance(336 * days)
	h = m.health()
	if h.State != index.Failing || len(h.Requests) != 4 { // nothing renewed the timestamp while this clock jumped
		t.Errorf("a month ahead: %s, %d requests", h.State, len(h.Requests))
	}
	for _, d := range h.Duties {
		if d.Duty == policy.ByOperators && d.Outlook() == policy.OutlookDue && (d.Request == "" || !strings.Contains(d.Next, d.Request)) {
			t.Errorf("%s: %+v", d.Kind, d)
		}
	}
	if h.Duties[0].Outlook() != policy.OutlookExpired {
		t.Errorf("the most urgent is %s of %s", h.Duties[0].Outlook(), h.Duties[0].Kind)
	}
}

// TestHealthTellsOfMaintainers: a claimed project is its maintainers' to renew, and operators see that it lapses.
func TestHealthTellsOfMaintainers(t *testing.T) {
	m := newTeam(t)
	m.upload(wheel("flask", "1"))
	m.claim("flask", 1, m.alice)
	expires := m.state("flask").Expires
	due := func() string {
		t.Helper()
		for _, d := range m.health().Duties {
			if d.Duty == policy.ByMaintainers {
				return d.Outlook().String() + " " + string(d.First.Role)
			}
		}
		return ""
	}
	m.clock.advance(expires.Sub(m.clock.get()) - 31*days)
	if got := due(); got != "fine project.flask" {
		t.Errorf("a month before: %q", got)
	}
	m.clock.advance(30 * days)
	if got := due(); got != "due project.flask" {
		t.Errorf("a day before: %q", got)
	}
	m.clock.advance(2 * days)
	if got := due(); got != "expired project.flask" {
		t.Errorf("a day after: %q", got)
	}
}

// TestSittingTakesKeyChanges: a change of keys of a claimed project waits for the offline key; the next sitting
// brings that, and ends the maintainers' request.
func TestSittingTakesKeyChanges(t *testing.T) {
	m := newTeam(t)
	out, err := m.index.Propose(t.Context(), m.actor, m.request("offline", rekeyTo(2, m.alice, m.bob), m.alice, m.bob))
	if err != nil {
		t.Fatal(err)
	}
	if out.Publication != 0 || !strings.Contains(out.Next, "offline key") {
		t.Fatalf("it does not wait for the offline key: %+v", out)
	}
	planned, r := m.plan(index.SittingWishes{Promote: true, Renew: true})
	if planned.Title != "change the keys of 1 project" {
		t.Errorf("planned %q", planned.Title)
	}
	if !strings.Contains(planned.Blocks, "the old keys of 1 hold") {
		t.Errorf("blocks %q", planned.Blocks)
	}
	m.imported(m.sign(r, m.online.Offline()...))
	s := m.state("offline")
	if len(s.Keys) != 2 || s.Threshold != 2 || s.Assurance != policy.Claimed {
		t.Errorf("it has %d keys, threshold %d, %s", len(s.Keys), s.Threshold, s.Assurance)
	}
	if len(s.Requests) != 0 {
		t.Errorf("the maintainers' request is still open: %+v", s.Requests)
	}
	var gone *ceremony.Refused
	if _, err := m.index.Request(t.Context(), m.actor, out.ID); errors.As(err, &gone) || err == nil {
		t.Errorf("the request %s: %v", out.ID, err)
	}
}

// brokenRecords fails once, before or after its effect, when signatures are stored.
type brokenRecords struct {
	index.Records
	before, after bool
}

var errDisk = errors.New("the disk is full")

func (r *brokenRecords) SignOperatorRequest(ctx context.Context, id string, s []index.RoleSignature, summary []byte) error {
	if r.before {
		r.before = false
		return errDisk
	}
	err := r.Records.SignOperatorRequest(ctx, id, s, summary)
	if r.after {
		r.after = false
		return errDisk
	}
	return err
}

// TestImportBreaksOff: whatever a store does half-way, nothing is published that was not stored, and the same file
// brought in again goes on from there.
func TestImportBreaksOff(t *testing.T) {
	for name, broken := range map[string]*brokenRecords{"before": {before: true}, "after": {after: true}} {
		t.Run(name, func(t *testing.T) {
			m := newTeam(t)
			_, r := m.plan(index.SittingWishes{All: true})
			m.sign(r, m.online.Offline()...)
			broken.Records = m.records
			x, err := index.New(index.Config{Publisher: m.publisher, Files: m.files, Tokens: m.ledger, Records: broken, Now: m.clock.get})
			if err != nil {
				t.Fatal(err)
			}
			before := m.publisher.Current().Number()
			if _, err := x.Import(t.Context(), x.Operator(), r); !errors.Is(err, errDisk) {
				t.Fatalf("a full disk: %v", err)
			}
			if got := m.publisher.Current().Number(); got != before {
				t.Fatalf("publication %d came of it", got)
			}
			if list := m.waiting(); len(list) != 1 || list[0].Next == "" {
				t.Errorf("waiting: %+v", list)
			}
			if out := m.imported(r); out.Publication != before+1 {
				t.Errorf("again: %+v", out)
			}
		})
	}
}
