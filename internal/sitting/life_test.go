package sitting_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/bailiwick/internal/ceremony"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/internal/sitting"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
	"example.com/bailiwick/tuf/repo"
	"example.com/bailiwick/tuf/trust"
)

func kinds(v *sitting.Verdict) map[sitting.ChangeKind]int {
	n := make(map[sitting.ChangeKind]int)
	for _, c := range v.Changes {
		n[c.Kind]++
	}
	return n
}

// TestR36BatchOfAThousand: a thousand projects are promoted in one signing, the summary says so, and how long
// they waited.
func TestR36BatchOfAThousand(t *testing.T) {
	w := newPlace(t, 256)
	w.crowd(1000)
	r := w.plan(sitting.Wishes{MinAge: 14 * day})
	v := judge(t, r, w.now)
	s := v.Summary()
	if s.Promoted != 1000 || s.PromotedBins < 200 {
		t.Errorf("%d projects in %d bins", s.Promoted, s.PromotedBins)
	}
	if text := strings.Join(s.Lines(9), "\n"); !strings.Contains(text, "1,000 projects in 2") {
		t.Errorf("the summary does not say so:\n%s", text)
	}
	for _, c := range v.Changes {
		if c.Kind == sitting.Promoted && !c.Since.Equal(w.now.Add(-30*day)) {
			t.Fatalf("%s is claimed since %v, by its bin", c.Project, c.Since)
		}
	}
	w.take(r)
	if again := kinds(judge(t, w.plan(sitting.Wishes{MinAge: 14 * day}), w.now)); again[sitting.Promoted] != 0 {
		t.Errorf("promoted again: %v", again)
	}
}

// TestR5ReplayOfAnExecutedRequest: what was published once is stale for ever. A signer who is shown the chain of
// today refuses the bins of yesterday, and the publication refuses all of it.
func TestR5ReplayOfAnExecutedRequest(t *testing.T) {
	w := newPlace(t, 16)
	w.claim(w.now.Add(-20*day), 1, "flask")
	first := w.plan(sitting.Wishes{MinAge: 14 * day})
	w.take(first)
	bin := w.layout.ClaimedBin(projectOf(t, "flask"))
	again := w.plan(sitting.Wishes{Roles: []tuf.RoleName{bin}})
	*again.Payload(bin) = *first.Payload(bin)
	_, err := sitting.Judge(again, w.now)
	wantRefused(t, err, sitting.NotAllowed, "could be undone") // claimed knows better
	// The old file as a whole says nothing wrong: it is signed already, and can not be published again.
	signOffline(t, first, judge(t, first, w.now), w.offline()...)
	v := judge(t, first, w.now)
	changed := make(map[tuf.RoleName][]byte)
	for _, r := range v.Roles {
		changed[r.Role] = r.Bytes
	}
	var refused *trust.RefusedError
	if err := w.publish(changed); !errors.As(err, &refused) || refused.Code != trust.Version {
		t.Errorf("published again: %v", err)
	}
}

// TestMinimumVersionIsThatOfTheSitting: after a sitting every bin has the version that claimed asks for at
// least, so that clients take none from before.
func TestMinimumVersionIsThatOfTheSitting(t *testing.T) {
	w := newPlace(t, 16)
	w.claim(w.now.Add(-20*day), 1, "flask", "numpy")
	for _, wishes := range []sitting.Wishes{{}, {MinAge: 14 * day}, {Renew: true}, {All: true}, {Roles: []tuf.RoleName{"claimed-3"}}} {
		w.take(w.plan(wishes))
		for d := range w.read(policy.RoleClaimed).Delegations().All() {
			if version := w.read(d.Name()).Version(); d.MinimumVersion() != version {
				t.Errorf("%s is at version %d, and clients take %d", d.Name(), version, d.MinimumVersion())
			}
		}
	}
}

// TestASittingCatchesUp: a bin that was published without claimed is signed anew, so that claimed can ask for it.
func TestASittingCatchesUp(t *testing.T) {
	w := newPlace(t, 16)
	w.mustPublish(map[tuf.RoleName][]byte{"claimed-5": w.edit("claimed-5", repo.TargetsEdit{})})
	r := w.plan(sitting.Wishes{})
	if r.Payload("claimed-5") == nil || len(r.Payloads) != 2 {
		t.Fatalf("%d payloads", len(r.Payloads))
	}
	w.take(r)
}

// TestMaintainersReleaseAfterAPromotion: what they sign next is the next version of what they signed before.
func TestMaintainersReleaseAfterAPromotion(t *testing.T) {
	w := newPlace(t, 16)
	w.claim(w.now.Add(-20*day), 2, "flask")
	role := policy.ProjectRole(projectOf(t, "flask"))
	before := w.read(role)
	w.take(w.plan(sitting.Wishes{MinAge: 14 * day}))
	if w.read(role).Digest() != before.Digest() {
		t.Error("the promotion changed what the maintainers signed")
	}
	w.mustPublish(map[tuf.RoleName][]byte{role: w.edit(role, repo.TargetsEdit{Put: []tuf.Target{fileOf(w.layout, projectOf(t, "flask"), "3.0")}})})
	if v := w.read(role).Version(); v != before.Version()+1 {
		t.Errorf("version %d follows %d", v, before.Version())
	}
}

// TestParkedAndBack: the offline key countersigns an abandoned project, renews it, and gives it back to the keys
// that had it, and to nobody else.
func TestParkedAndBack(t *testing.T) {
	w := newPlace(t, 16)
	w.claim(w.now.Add(-20*day), 2, "numpy")
	w.take(w.plan(sitting.Wishes{MinAge: 14 * day}))
	role := policy.ProjectRole(projectOf(t, "numpy"))
	list := w.read(role)
	if k := kinds(w.take(w.plan(sitting.Wishes{Park: projects(t, "numpy")}))); k[sitting.Parked] != 1 {
		t.Fatalf("%v", k)
	}
	parked := w.read(role)
	if parked.Version() != list.Version()+1 || parked.Len() != list.Len() {
		t.Errorf("version %d with %d files", parked.Version(), parked.Len())
	}
	if d, _ := w.entry("numpy"); d.Name() == "" {
		t.Error("not delegated any more")
	} else if at, ok := policy.Parked(d); !ok || !at.Equal(w.now) {
		t.Errorf("parked since %v", at)
	}
	// It is renewed when its time comes.
	w.now = w.now.Add(3*365*day - 20*day)
	w.revive()
	v := w.take(w.plan(sitting.Wishes{Renew: true}))
	if w.read(role).Version() != list.Version()+2 || kinds(v)[sitting.Parked] != 0 {
		t.Errorf("version %d, %v", w.read(role).Version(), kinds(v))
	}
	// Others can not have it.
	carol := namedKey(t, "carol")
	r := w.rekey("numpy", 1, []key.Signer{carol}, repo.TargetsEdit{}, carol)
	_, err := sitting.Judge(w.plan(sitting.Wishes{Rekeys: rekeys(r)}), w.now)
	wantRefused(t, err, sitting.Unsigned, "the threshold it has now")
	// Nor does the offline key speak for them.
	r = w.rekey("numpy", 1, []key.Signer{carol}, repo.TargetsEdit{}, carol, w.keys[policy.KeyClaimed][0])
	_, err = sitting.Judge(w.plan(sitting.Wishes{Rekeys: rekeys(r)}), w.now)
	wantRefused(t, err, sitting.BadSignature, "no say")
	// Those who had it can.
	back := w.rekey("numpy", 2, w.maintainers["numpy"], repo.TargetsEdit{}, w.maintainers["numpy"]...)
	v = w.take(w.plan(sitting.Wishes{Rekeys: rekeys(back)}))
	if k := kinds(v); k[sitting.Rekeyed] != 1 {
		t.Fatalf("%v", k)
	}
	d, _ := w.entry("numpy")
	if _, still := policy.Parked(d); still {
		t.Error("it counts as parked still")
	}
	if lines, err := v.ProjectLines(projectOf(t, "numpy")); err != nil || !strings.Contains(strings.Join(lines, "\n"), "taken back from parking") {
		t.Errorf("%v: %q", err, lines)
	}
}

// revive signs the online roles anew, which have expired while a test waited.
func (w *place) revive() {
	w.tb.Helper()
	roles := []tuf.RoleName{tuf.RoleRoot, tuf.RoleTargets, policy.RoleUnclaimed, policy.RoleClaimed}
	for bin := range w.layout.BinNames() {
		roles = append(roles, policy.RoleClaimed+"-"+tuf.RoleName(bin))
	}
	r := w.plan(sitting.Wishes{All: true, Roles: []tuf.RoleName{tuf.RoleRoot}})
	signOffline(w.tb, r, judge(w.tb, r, w.now), w.offline()...)
	r.Payloads = slices.DeleteFunc(r.Payloads, func(p sitting.Payload) bool { return !slices.Contains(roles, p.Role) })
	changed := make(map[tuf.RoleName][]byte)
	for _, p := range r.Payloads {
		changed[p.Role] = tuf.AppendEnvelope(nil, p.Message, p.Signatures)
	}
	w.mustPublish(changed)
}

// TestKeysOfParkedProjectsFollowTheirBin: when the keys of claimed change, what they sign for others does, too.
func TestKeysOfParkedProjectsFollowTheirBin(t *testing.T) {
	w := newPlace(t, 16)
	w.claim(w.now.Add(-20*day), 1, "numpy")
	w.take(w.plan(sitting.Wishes{MinAge: 14 * day}))
	w.take(w.plan(sitting.Wishes{Park: projects(t, "numpy")}))
	next := namedKey(t, "another claimed")
	r, err := sitting.Rotate(w.state(), sitting.Wishes{}, sitting.Rotation{Role: policy.KeyClaimed, Keys: []*key.Public{next.Public()}, Threshold: 1})
	if err != nil {
		t.Fatal(err)
	}
	w.keys[policy.KeyClaimed] = []key.Signer{next}
	v := w.take(r)
	if k := kinds(v); k[sitting.TreeKeys] != 1 || k[sitting.BinKeys] != 1 || k[sitting.Parked] != 1 {
		t.Errorf("%v", k)
	}
	d, _ := w.entry("numpy")
	if a, err := d.Authority(); err != nil || !a.Equal(byAll(t, 1, next)) {
		t.Errorf("the project is signed by %v, %v", a.KeyIDs(), err)
	}
}

// TestRecoveryKeyOfTheProject: one of its own is enough to change its keys, and no recovery by operators.
func TestRecoveryKeyOfTheProject(t *testing.T) {
	w := newPlace(t, 16)
	w.claim(w.now.Add(-20*day), 2, "flask")
	w.take(w.plan(sitting.Wishes{MinAge: 14 * day}))
	role, eve, carol := policy.ProjectRole(projectOf(t, "flask")), namedKey(t, "eve"), namedKey(t, "carol")
	with := map[string][]byte{ceremony.RecoveryMember: ceremony.RecoveryValue(eve.Public())}
	w.mustPublish(map[tuf.RoleName][]byte{role: w.edit(role, repo.TargetsEdit{Members: with})})
	r := w.rekey("flask", 1, []key.Signer{carol}, repo.TargetsEdit{}, carol, eve)
	v := w.take(w.plan(sitting.Wishes{Rekeys: rekeys(r)}))
	if k := kinds(v); k[sitting.Rekeyed] != 1 || k[sitting.Recovered] != 0 {
		t.Errorf("%v", k)
	}
	if text := strings.Join(v.Summary().Lines(0), "\n"); !strings.Contains(text, "a recovery key of its own agreed") {
		t.Errorf("the summary does not say by whom:\n%s", text)
	}
}

// TestR31RecoveryOfAProjectThatIsNotPromoted: operators can give it to other keys in a sitting, and people see it.
func TestR31RecoveryOfAProjectThatIsNotPromoted(t *testing.T) {
	w := newPlace(t, 16)
	w.claim(w.now, 1, "flask")
	carol := namedKey(t, "carol")
	r := w.rekey("flask", 1, []key.Signer{carol}, repo.TargetsEdit{}, carol)
	v := w.take(w.plan(sitting.Wishes{Recoveries: rekeys(r)}))
	if s := v.Summary(); s.Recovered != 1 || len(s.Exceptions) == 0 || s.Exceptions[0].Subject != "flask" {
		t.Errorf("%+v", s)
	}
	if got, err := w.found("flask"); err != nil || got != policy.Claimed {
		t.Errorf("%v, %v", got, err)
	}
}

// TestRecoveryTakesFilesOff: the list goes back to a good state with the keys, and nothing is added to it.
func TestRecoveryTakesFilesOff(t *testing.T) {
	w := newPlace(t, 16)
	w.claim(w.now.Add(-20*day), 1, "flask")
	w.take(w.plan(sitting.Wishes{MinAge: 14 * day}))
	carol := namedKey(t, "carol")
	bad := fileOf(w.layout, projectOf(t, "flask"), "2.0").Path
	r := w.rekey("flask", 1, []key.Signer{carol}, repo.TargetsEdit{Remove: []tuf.TargetPath{bad}}, carol)
	v := w.take(w.plan(sitting.Wishes{Recoveries: rekeys(r)}))
	lines, err := v.ProjectLines(projectOf(t, "flask"))
	if text := strings.Join(lines, "\n"); err != nil || !strings.Contains(text, "1 of 2 files are taken off") || !strings.Contains(text, "- flask-2.0.tar.gz") {
		t.Errorf("%v:\n%s", err, text)
	}
}

// TestPlanRefusals: what can not be, is said by name, and nothing is planned.
func TestPlanRefusals(t *testing.T) {
	w := newPlace(t, 16)
	w.claim(w.now.Add(-20*day), 1, "flask")
	w.take(w.plan(sitting.Wishes{MinAge: 14 * day}))
	w.claim(w.now, 1, "django")
	carol := namedKey(t, "carol")
	rekey := w.rekey("flask", 1, []key.Signer{carol}, repo.TargetsEdit{}, append(w.maintainers["flask"], carol)...)
	old := *rekey
	old.Bases = map[tuf.RoleName]int64{policy.ProjectRole(projectOf(t, "flask")): 7}
	foreign := *rekey
	foreign.Repository[0]++
	for name, c := range map[string]struct {
		wishes sitting.Wishes
		reason sitting.Reason
		words  string
	}{
		"promoted by name, and claimed already": {sitting.Wishes{Only: projects(t, "flask")}, sitting.Unknown, "flask is not recently claimed"},
		"promoted by name, and unknown":         {sitting.Wishes{Only: projects(t, "nothing")}, sitting.Unknown, "nothing is not recently claimed"},
		"parked, and not claimed":               {sitting.Wishes{Park: projects(t, "django")}, sitting.Unknown, "promoted first"},
		"parked twice":                          {sitting.Wishes{Park: projects(t, "flask", "flask")}, sitting.Malformed, "two things"},
		"parked and rekeyed":                    {sitting.Wishes{Park: projects(t, "flask"), Rekeys: rekeys(rekey)}, sitting.Malformed, "two things"},
		"a rekey of before":                     {sitting.Wishes{Rekeys: rekeys(&old)}, sitting.Stale, "made and signed anew"},
		"a rekey of elsewhere":                  {sitting.Wishes{Rekeys: rekeys(&foreign)}, sitting.Malformed, "in this repository"},
		"a rekey of what no bin delegates":      {sitting.Wishes{Rekeys: rekeys(w.rekey("django", 1, []key.Signer{carol}, repo.TargetsEdit{}, carol))}, sitting.Unknown, "without a sitting"},
		"an online role":                        {sitting.Wishes{Roles: []tuf.RoleName{tuf.RoleSnapshot}}, sitting.Outside, "not signed by offline keys"},
		"a life too long":                       {sitting.Wishes{Life: 90 * day}, sitting.Expired, "60 days"},
		"a note of two lines":                   {sitting.Wishes{Note: "a\nb"}, sitting.Malformed, "can be seen"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := sitting.Plan(t.Context(), w.state(), c.wishes)
			wantRefused(t, err, c.reason, c.words)
		})
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if _, err := sitting.Plan(ended, w.state(), sitting.Wishes{}); !errors.Is(err, context.Canceled) {
		t.Errorf("ended early: %v", err)
	}
}

// TestWhoIsPromoted: by age, by name, but for some, and as a function says.
func TestWhoIsPromoted(t *testing.T) {
	w := newPlace(t, 16)
	w.claim(w.now.Add(-30*day), 1, "a", "b")
	w.claim(w.now.Add(-3*day), 1, "c")
	for name, c := range map[string]struct {
		wishes sitting.Wishes
		want   string
	}{
		"nobody":       {sitting.Wishes{}, ""},
		"by age":       {sitting.Wishes{MinAge: 14 * day}, "a b"},
		"all":          {sitting.Wishes{MinAge: time.Second}, "a b c"},
		"by name":      {sitting.Wishes{Only: projects(t, "c"), MinAge: 14 * day}, "c"},
		"but for":      {sitting.Wishes{MinAge: time.Second, Except: projects(t, "b")}, "a c"},
		"none by name": {sitting.Wishes{Only: projects(t)}, ""},
		"as it is said": {sitting.Wishes{Promote: func(p pypi.Project, since time.Time, keys tuf.Authority) bool {
			return p.String() == "b" && keys.Threshold() == 1 && since.Before(w.now)
		}}, "b"},
	} {
		var got []string
		for _, change := range judge(t, w.plan(c.wishes), w.now).Changes {
			if change.Kind == sitting.Promoted {
				got = append(got, change.Project.String())
			}
		}
		slices.Sort(got)
		if text := strings.Join(got, " "); text != c.want {
			t.Errorf("%s: %q, want %q", name, text, c.want)
		}
	}
}

// TestR10RequestsForSingleRoles: what has people of its own, has a request of its own, which brings no more than
// they need.
func TestR10RequestsForSingleRoles(t *testing.T) {
	w := newPlace(t, 16)
	for role, want := range map[tuf.RoleName]sitting.ChangeKind{
		tuf.RoleRoot: sitting.RootRenewed, tuf.RoleTargets: sitting.Renewed, policy.RoleUnclaimed: sitting.Renewed,
	} {
		r := w.plan(sitting.Wishes{Roles: []tuf.RoleName{role}})
		if len(r.Payloads) != 1 || r.Payloads[0].Role != role {
			t.Errorf("a request for %s has %d payloads", role, len(r.Payloads))
		}
		if role != policy.RoleUnclaimed && r.Chain.Claimed != nil {
			t.Errorf("a request for %s brings claimed", role)
		}
		if v := w.take(r); v.Changes[0].Kind != want || len(v.Changes) != 1 {
			t.Errorf("%s: %v", role, v.Changes)
		}
	}
	// Most of a year later all of it is due, and the bins are not yet.
	w.now = w.now.Add(340 * day)
	if k := kinds(judge(t, w.plan(sitting.Wishes{Renew: true}), w.now)); k[sitting.Renewed] != 16+2 {
		t.Errorf("%v", k)
	}
}

// TestExpiredBasesAreFine: a repository that was forgotten for years is what renewing is for.
func TestExpiredBasesAreFine(t *testing.T) {
	w := newPlace(t, 16)
	w.claim(w.now.Add(-20*day), 1, "flask")
	w.take(w.plan(sitting.Wishes{MinAge: 14 * day}))
	w.now = w.now.Add(5 * 365 * day)
	r := w.plan(sitting.Wishes{Renew: true, Roles: []tuf.RoleName{tuf.RoleRoot, tuf.RoleTargets}})
	signOffline(t, r, judge(t, r, w.now), w.offline()...)
	if v := judge(t, carry(t, r), w.now); !v.Complete() || len(v.Roles) != 16+4 {
		t.Errorf("%d roles, missing %v", len(v.Roles), v.Missing)
	}
}

// TestRekeyWithSubRoles: the new version of a project can give a sub-role other keys, if these have signed what it
// lists; and does nothing else to it.
func TestRekeyWithSubRoles(t *testing.T) {
	ci, ci2, carol := namedKey(t, "ci"), namedKey(t, "ci 2"), namedKey(t, "carol")
	role, sub := tuf.RoleName("project.flask"), tuf.RoleName("project.flask.ci")
	grant := func(l policy.Layout, s key.Signer) repo.Delegation {
		return repo.Delegation{Role: sub, Authority: byAll(t, 1, s), Paths: []string{l.Dir(projectOf(t, "flask")) + "/*.whl"}, Terminating: true}
	}
	for name, c := range map[string]struct {
		edit   func(w *place) repo.TargetsEdit
		drop   bool // the sub-role's payload
		signer key.Signer
		reason sitting.Reason
		words  string
	}{
		"signed by its new key": {signer: ci2},
		"signed by its old key": {signer: ci, reason: sitting.BadSignature, words: "no say"},
		"not signed":            {reason: sitting.Unsigned, words: "its threshold"},
		"not there":             {drop: true, reason: sitting.Unsigned, words: "have not signed what it lists"},
		"for more than it had": {signer: ci2, reason: sitting.NotAllowed, words: "paths", edit: func(w *place) repo.TargetsEdit {
			d := grant(w.layout, ci2)
			d.Paths = append(d.Paths, w.layout.Dir(projectOf(t, "flask"))+"/*.tar.gz")
			return repo.TargetsEdit{ReplaceDelegations: []repo.Delegation{d}}
		}},
		"and another is added": {signer: ci2, reason: sitting.NotAllowed, words: "adds no sub-roles", edit: func(w *place) repo.TargetsEdit {
			d := grant(w.layout, ci2)
			more := d
			more.Role += "x"
			return repo.TargetsEdit{ReplaceDelegations: []repo.Delegation{d}, AddDelegations: []repo.Delegation{more}}
		}},
		"or it is the registry's": {signer: ci2, reason: sitting.Key, words: "for registry", edit: func(w *place) repo.TargetsEdit {
			return repo.TargetsEdit{ReplaceDelegations: []repo.Delegation{grant(w.layout, w.keys[policy.KeyRegistry][0])}}
		}},
		"or it is gone": {signer: ci2, reason: sitting.Unknown, words: "does not delegate", edit: func(*place) repo.TargetsEdit {
			return repo.TargetsEdit{RemoveDelegations: []tuf.RoleName{sub}}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newPlace(t, 16)
			w.claim(w.now.Add(-20*day), 1, "flask")
			w.take(w.plan(sitting.Wishes{MinAge: 14 * day}))
			issue := repo.Issue{Role: sub, Version: 1, Now: w.now, Expires: w.now.Add(365 * day), Authority: byAll(t, 1, ci)}
			first, err := repo.NewTargets(repo.TargetsSpec{}, issue)
			if err != nil {
				t.Fatal(err)
			}
			w.mustPublish(map[tuf.RoleName][]byte{
				role: w.edit(role, repo.TargetsEdit{AddDelegations: []repo.Delegation{grant(w.layout, ci)}}),
				sub:  w.signed(first, []key.Signer{ci}),
			})
			edit := repo.TargetsEdit{ReplaceDelegations: []repo.Delegation{grant(w.layout, ci2)}}
			if c.edit != nil {
				edit = c.edit(w)
			}
			r := w.rekey("flask", 1, []key.Signer{carol}, edit, append(w.maintainers["flask"], carol)...)
			if !c.drop {
				issue.Version, issue.Authority = 2, byAll(t, 1, ci2)
				next, err := repo.EditTargets(w.read(sub), repo.TargetsEdit{}, issue)
				if err != nil {
					t.Fatal(err)
				}
				p := ceremony.Payload{Role: sub, Message: next.Message()}
				if c.signer != nil {
					p.Signatures = []tuf.Signature{signature(t, c.signer, p.Message)}
				}
				r.Payloads, r.Bases[sub] = append(r.Payloads, p), 1
			}
			plan := w.plan(sitting.Wishes{Rekeys: rekeys(r)})
			if c.reason == "" {
				w.take(plan)
				return
			}
			_, err = sitting.Judge(plan, w.now)
			wantRefused(t, err, c.reason, c.words)
		})
	}
}

// TestR5WhoSignsUnclaimed: a request for unclaimed alone brings a claimed bin, which says who signs it; the bin is
// verified, too.
func TestR5WhoSignsUnclaimed(t *testing.T) {
	mallory := namedKey(t, "mallory")
	for name, c := range map[string]struct {
		lie    func(w *place, r *sitting.Request)
		reason sitting.Reason
		words  string
	}{
		"no bin":           {func(_ *place, r *sitting.Request) { r.Chain.Bin = nil }, sitting.Malformed, "who signs it"},
		"a bin of nobody":  {func(_ *place, r *sitting.Request) { r.Chain.Bin = forge(t, r.Chain.Bin, same, mallory) }, sitting.BadSignature, "none that claimed"},
		"an unclaimed bin": {func(w *place, r *sitting.Request) { r.Chain.Bin = w.files["unclaimed-0"] }, sitting.BadSignature, "none that claimed"},
		"claimed as a bin": {func(w *place, r *sitting.Request) { r.Chain.Bin = r.Chain.Claimed }, sitting.BadSignature, "none that claimed"},
		"no metadata":      {func(_ *place, r *sitting.Request) { r.Chain.Bin = []byte("{}") }, sitting.Malformed, "can not be read"},
		"a bin of before":  {func(w *place, r *sitting.Request) { r.Chain.Bin = newPlace(t, 16).files["claimed-0"] }, sitting.Stale, "do not sign"},
		"no claimed":       {func(_ *place, r *sitting.Request) { r.Chain.Claimed = nil }, sitting.Malformed, "claimed"},
		"other keys": {func(w *place, r *sitting.Request) {
			bend(t, r, policy.RoleUnclaimed, func(o object) { o["x"] = 1 })
		}, sitting.NotAllowed, `"x"`},
	} {
		t.Run(name, func(t *testing.T) {
			w := newPlace(t, 16)
			w.take(w.plan(sitting.Wishes{All: true}))
			r := w.plan(sitting.Wishes{Roles: []tuf.RoleName{policy.RoleUnclaimed}})
			judge(t, r, w.now)
			c.lie(w, r)
			_, err := sitting.Judge(r, w.now)
			wantRefused(t, err, c.reason, c.words)
		})
	}
}

// TestNotesAreChecked: they are shown to people.
func TestNotesAreChecked(t *testing.T) {
	for name, c := range map[string]struct {
		change func(r *sitting.Request)
		words  string
	}{
		"about nothing":   {func(r *sitting.Request) { r.Notes[0].Project = pypi.Project{} }, "no project"},
		"twice":           {func(r *sitting.Request) { r.Notes = append(r.Notes, r.Notes[0]) }, "two"},
		"of two lines":    {func(r *sitting.Request) { r.Notes[0].Text = "a\nb" }, "can not be seen"},
		"that turns text": {func(r *sitting.Request) { r.Notes[0].Token = "a\u202eb" }, "can not be seen"},
		"too long":        {func(r *sitting.Request) { r.Notes[0].Text = strings.Repeat("x", 1001) }, "too long"},
		"less than none":  {func(r *sitting.Request) { r.Notes[0].Popular = -1 }, "can not be"},
		"at half past":    {func(r *sitting.Request) { r.Notes[0].Since = r.Notes[0].Since.Add(1) }, "whole seconds"},
	} {
		s := noted(t)
		c.change(s.r)
		_, err := sitting.Judge(s.r, s.now)
		t.Run(name, func(t *testing.T) { wantRefused(t, err, sitting.Malformed, c.words) })
	}
}
