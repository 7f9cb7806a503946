package sitting_test

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"example.com/bailiwick/internal/ledger"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/internal/publish/publishtest"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/internal/sitting"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/client"
	"example.com/bailiwick/tuf/key"
	"example.com/bailiwick/tuf/repo"
)

// TestR8RootHoldersSignInAnyOrder: 3 of 5 people sign copies of the first request on five machines; the
// copies come together in any order, twice or through one another, and after the third the root is whole.
func TestR8RootHoldersSignInAnyOrder(t *testing.T) {
	w := &world{tb: t, now: invitedAt, keys: map[string]key.Signer{}}
	people := []string{"alice", "bob", "carol", "dave", "erin"}
	request := w.first(3, people...)
	w.sign(request, "targets", "claimed", "unclaimed")
	copies := map[string]*sitting.Request{}
	for _, name := range people {
		copies[name] = w.travel(request)
		w.sign(copies[name], name)
	}
	rapid.Check(t, func(rt *rapid.T) {
		merged := request.Clone()
		var signed []string
		for _, name := range rapid.SliceOfN(rapid.SampledFrom(people), 1, 8).Draw(rt, "arrivals") {
			added, err := merged.Merge(copies[name])
			if err != nil {
				rt.Fatal(err)
			}
			if fresh := !slices.Contains(signed, name); fresh != (added == 1) {
				rt.Fatalf("%d signatures of %s were new", added, name)
			} else if fresh {
				signed = append(signed, name)
			}
			v, err := sitting.Judge(merged, w.now)
			if err != nil {
				rt.Fatal(err)
			}
			lines := strings.Join(sitting.Waiting(v.Missing, merged.Holders().Names), "; ")
			for _, who := range people {
				waits := len(signed) < 3 && !slices.Contains(signed, who)
				if strings.Contains(lines, who) != waits {
					rt.Fatalf("after %v signed, it waits for %q", signed, lines)
				}
			}
			if v.Complete() != (len(signed) >= 3) {
				rt.Fatalf("after %v signed, complete is %t", signed, v.Complete())
			}
			result, _ := v.Result(tuf.RoleRoot)
			if !v.Complete() {
				if result.Bytes != nil {
					rt.Fatal("a root without its threshold can be published")
				}
				continue
			}
			u, err := tuf.ParseRoot(result.Bytes, nil)
			if err != nil {
				rt.Fatal(err)
			}
			if _, err := u.Verify(tuf.SelfAuthority(u)); err != nil {
				rt.Fatal(err)
			}
		}
	})
}

// TestR1OldClientsFollowEveryRotation: seven roots with other keys and other thresholds. A client that pinned
// the first and looks at every publication, one that looks at the end only, and one that starts then, all arrive.
func TestR1OldClientsFollowEveryRotation(t *testing.T) {
	w := newWorld(t)
	w.upload()
	always, late := w.user(), w.user()
	always.sees()
	for _, step := range []struct {
		signers []string
		changes []sitting.Rotation
	}{
		{[]string{"alice", "bob"}, []sitting.Rotation{w.change(policy.KeyRoot, 2, "alice", "bob", "dave")}},                   // carol is lost
		{[]string{"bob", "dave", "erin"}, []sitting.Rotation{w.change(policy.KeyRoot, 3, "bob", "dave", "erin")}},             // one more has to sign
		{[]string{"bob", "dave", "erin", "targets-2"}, []sitting.Rotation{w.change(policy.KeyTargets, 1, "targets-2")}},       //
		{[]string{"bob", "dave", "erin", "frank"}, []sitting.Rotation{w.change(policy.KeyRoot, 1, "frank")}},                  // nobody stays
		{[]string{"frank", "gina", "hugo"}, []sitting.Rotation{w.change(policy.KeyRoot, 2, "gina", "hugo", "ivan", "frank")}}, //
		{[]string{"gina", "ivan"}, []sitting.Rotation{w.change(policy.KeyRoot, 2, "gina", "ivan")}},
	} {
		w.rotated(step.signers, step.changes...)
		w.upload()
		always.sees()
	}
	for _, u := range []*user{always, late, w.user()} {
		u.sees()
		if got := u.rootVersion(); got != 7 {
			t.Errorf("a client trusts root version %d, want 7", got)
		}
	}
}

// TestR1AHalfSignedRootStopsNobody: a root that is skipped, swapped for another, or signed by one side only is not
// followed; the client keeps the one that it has.
func TestR1AHalfSignedRootStopsNobody(t *testing.T) {
	w := newWorld(t)
	w.upload()
	r, err := w.rotate(w.change(policy.KeyRoot, 2, "alice", "dave", "erin"))
	if err != nil {
		t.Fatal(err)
	}
	envelope := func(names ...string) []byte {
		c := w.travel(r)
		for _, name := range names {
			w.signRole(c, tuf.RoleRoot, name)
		}
		return tuf.AppendEnvelope(nil, c.Payload(tuf.RoleRoot).Message, c.Payload(tuf.RoleRoot).Signatures)
	}
	for name, data := range map[string][]byte{
		"by the old keys alone": envelope("alice", "bob"), "by the new keys alone": envelope("dave", "erin"),
		"by one of each": envelope("alice"), "by nobody": envelope(),
	} {
		t.Run(name, func(t *testing.T) {
			u := w.user()
			u.sees()
			w.served["2.root.json"] = data
			defer delete(w.served, "2.root.json")
			if _, err := u.client.Refresh(t.Context()); err == nil {
				t.Error("the client followed")
			}
			if got := u.rootVersion(); got != 1 {
				t.Errorf("the client trusts root version %d, want 1", got)
			}
			delete(w.served, "2.root.json")
			u.sees()
		})
	}
}

// TestRotateEveryRole changes the keys of each role in turn, and of all that can change together. Clients follow,
// uploads go on, the old keys have no say any more.
func TestRotateEveryRole(t *testing.T) {
	for _, role := range policy.KeyRoles() {
		t.Run(string(role), func(t *testing.T) {
			w := newWorld(t)
			w.upload()
			old := w.user()
			old.sees()
			next := "new " + string(role)
			w.AddSigner(w.key(next)) // of no use where it is not an online one
			before := w.authorities()
			w.rotated([]string{"alice", "bob", "targets", "claimed", "unclaimed", next}, w.change(role, 1, next))
			after := w.authorities()
			for _, r := range policy.KeyRoles() {
				if r != role && !after[r].Equal(before[r]) {
					t.Errorf("the keys of %s changed as well", r)
				}
			}
			if _, ok := after[role].Key(w.key(next).Public().ID()); !ok || len(after[role].KeyIDs()) != 1 {
				t.Errorf("the keys of %s are %v", role, after[role].KeyIDs())
			}
			w.upload()
			old.sees()
			w.user().sees()
			if err := publish.Check(t.Context(), w.ledger); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("all at once", func(t *testing.T) {
		w := newWorld(t)
		w.upload()
		var changes []sitting.Rotation
		signers := []string{"alice", "bob", "targets", "claimed", "unclaimed"}
		for _, role := range policy.KeyRoles() {
			next := "new " + string(role)
			w.AddSigner(w.key(next))
			changes, signers = append(changes, w.change(role, 1, next)), append(signers, next)
		}
		old := w.user()
		old.sees()
		w.rotated(signers, changes...)
		w.upload()
		old.sees()
		w.user().sees()
	})
}

// TestR64FastForwardRecovery: a thief of both online keys shows a client versions near the greatest that there are,
// which no honest publication will ever reach. With other keys for both roles, the client comes back.
func TestR64FastForwardRecovery(t *testing.T) {
	w := newWorld(t)
	w.upload()
	victim := w.user()
	victim.sees()
	w.fastForward(1 << 50)
	if _, err := victim.client.Refresh(t.Context()); err != nil {
		t.Fatalf("the thief's metadata: %v", err)
	}
	clear(w.served)
	w.upload()
	if _, err := victim.client.Refresh(t.Context()); err == nil {
		t.Fatal("the client went back to older versions although no key changed")
	}
	for _, role := range []string{"new timestamp", "new snapshot"} {
		w.AddSigner(w.key(role))
	}
	w.rotated([]string{"bob", "carol"}, w.change(policy.KeyTimestamp, 1, "new timestamp"), w.change(policy.KeySnapshot, 1, "new snapshot"))
	victim.sees()
	w.upload()
	victim.sees()
}

// fastForward serves a snapshot and a timestamp of that version, signed with the stolen keys.
func (w *world) fastForward(version int64) {
	w.tb.Helper()
	set := w.Current().Set()
	authority := func(role string) tuf.Authority {
		a, err := tuf.NewAuthority(1, w.key(role).Public())
		if err != nil {
			w.tb.Fatal(err)
		}
		return a
	}
	roles := map[tuf.RoleName]int64{}
	for role, meta := range set.Snapshot().All() {
		roles[role] = meta.Version
	}
	issue := func(role tuf.RoleName) repo.Issue {
		return repo.Issue{Role: role, Version: version, Expires: w.now.Add(time.Hour), Now: w.now, Authority: authority(string(role))}
	}
	snapshot, err := repo.NewSnapshot(roles, issue(tuf.RoleSnapshot))
	if err != nil {
		w.tb.Fatal(err)
	}
	signed, err := repo.Sign(w.tb.Context(), snapshot, w.key("snapshot"))
	if err != nil {
		w.tb.Fatal(err)
	}
	timestamp, err := repo.NewTimestamp(repo.MetaOf(version, signed), issue(tuf.RoleTimestamp))
	if err != nil {
		w.tb.Fatal(err)
	}
	top, err := repo.Sign(w.tb.Context(), timestamp, w.key("timestamp"))
	if err != nil {
		w.tb.Fatal(err)
	}
	w.served["timestamp.json"] = top
	w.served["1125899906842624.snapshot.json"] = signed
}

func TestRotationsThatAreRefused(t *testing.T) {
	w := newWorld(t)
	w.rotated([]string{"alice", "bob"}, w.change(policy.KeyRoot, 2, "alice", "bob", "dave"))
	for name, test := range map[string]struct {
		change sitting.Rotation
		reason sitting.Reason
		says   string
	}{
		"nothing changes":          {w.change(policy.KeyRoot, 2, "dave", "bob", "alice"), sitting.Key, "already"},
		"a threshold out of reach": {w.change(policy.KeyRoot, 4, "alice", "bob", "dave"), sitting.Key, "threshold"},
		"no threshold":             {w.change(policy.KeyRoot, 0, "alice"), sitting.Key, "threshold"},
		"nobody":                   {w.change(policy.KeyRoot, 1), sitting.Key, "threshold"},
		"a key twice":              {w.change(policy.KeyRoot, 1, "erin", "erin"), sitting.Key, "same key"},
		"another role's key":       {w.change(policy.KeyRoot, 1, "alice", "timestamp"), sitting.Key, "root and for timestamp"},
		"a root key for claimed":   {w.change(policy.KeyClaimed, 1, "bob"), sitting.Key, "root and for claimed"},
		"a key that left":          {w.change(policy.KeyRoot, 2, "alice", "bob", "carol"), sitting.Key, "was a key of root in root version 1"},
		"a root key that left, for another role": {
			w.change(policy.KeyTargets, 1, "carol"), sitting.Key, "does not come back",
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := w.rotate(test.change)
			wantRefused(t, err, test.reason, test.says)
		})
	}
	t.Run("twice in one request", func(t *testing.T) {
		_, err := w.rotate(w.change(policy.KeyRoot, 1, "erin"), w.change(policy.KeyRoot, 1, "frank"))
		wantRefused(t, err, sitting.Malformed, "twice")
	})
	t.Run("nothing", func(t *testing.T) {
		_, err := w.rotate()
		wantRefused(t, err, sitting.Malformed, "no keys")
	})
}

// TestMaintainersBringOtherKeys: the key of a maintainer can not become one of the repository's.
func TestMaintainersBringOtherKeys(t *testing.T) {
	w := newWorld(t)
	l := ledger.NewMemory()
	keys := publishtest.Create(t, l, publishtest.Options{
		Now: w.now, ClaimedKeys: map[string]key.Signer{"flask": w.key("a maintainer")}, RecentKeys: map[string]key.Signer{"tool": w.key("another")},
	})
	p := publishtest.Run(t, publish.Config{Ledger: l, Signers: keys.Online(), Now: func() time.Time { return w.now }})
	state := p.Current().Sitting(t.Context(), w.now, policy.DefaultLifetimes())
	for name, says := range map[string]string{"a maintainer": "signs for project.flask", "another": "signs for project.tool"} {
		_, err := sitting.Rotate(state, sitting.Wishes{}, w.change(policy.KeyTargets, 1, name))
		wantRefused(t, err, sitting.Key, says)
	}
	if _, err := sitting.Rotate(state, sitting.Wishes{}, w.change(policy.KeyTargets, 1, "nobody's")); err != nil {
		t.Error(err)
	}
}

func TestChangeNamesKeys(t *testing.T) {
	w := newWorld(t)
	set := w.Current().Set()
	held := sitting.HoldersOf(set.Root(), set.Targets(), nil, nil)
	dave := sitting.Holder{Name: "dave", Key: w.key("dave").Public()}
	got, err := held.Change(policy.KeyRoot, []sitting.Holder{dave}, []string{"carol", string(w.key("bob").Public().ID()[:8])}, 1)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Keys) != 2 || got.Keys[0].ID() != w.key("alice").Public().ID() || got.Keys[1] != dave.Key || got.Threshold != 1 || got.Names[dave.Key.ID()] != "dave" {
		t.Errorf("the change is %+v", got)
	}
	if got, err = held.Change(policy.KeyRoot, []sitting.Holder{dave}, nil, 0); err != nil || got.Threshold != 2 || len(got.Keys) != 4 {
		t.Errorf("the change is %+v, %v", got, err)
	}
	for name, test := range map[string]struct {
		remove    []string
		threshold int
		says      string
	}{
		"nobody":         {[]string{"zoe"}, 0, "alice ("},
		"too few digits": {[]string{string(w.key("bob").Public().ID()[:7])}, 0, "is no key of root"},
		"too few left":   {[]string{"bob", "carol"}, 0, "1 keys, of which 2 have to sign"},
		"nobody left":    {[]string{"alice", "bob", "carol"}, 1, "0 keys"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := held.Change(policy.KeyRoot, nil, test.remove, test.threshold)
			var r *sitting.Refused
			if !errors.As(err, &r) || !strings.Contains(r.Message, test.says) {
				t.Errorf("the error is %v, want it to say %q", err, test.says)
			}
		})
	}
}

// TestRootRequestsThatWereTamperedWith: a root that differs from the one before in anything but keys,
// thresholds, holders and expiry is not signed, whoever made it.
func TestRootRequestsThatWereTamperedWith(t *testing.T) {
	w := newWorld(t)
	honest, err := w.rotate(w.change(policy.KeyRoot, 2, "alice", "bob", "dave"))
	if err != nil {
		t.Fatal(err)
	}
	message := string(honest.Payload(tuf.RoleRoot).Message)
	carol, dave := string(w.key("carol").Public().ID()), string(w.key("dave").Public().ID())
	for name, edit := range map[string]struct{ old, with string }{
		"names stay, plainly":     {`"consistent_snapshot":true`, `"consistent_snapshot":false`},
		"an unknown member":       {`"expires":`, `"evil":1,"expires":`},
		"a version is skipped":    {`"version":2`, `"version":3`},
		"the version stays":       {`"version":2`, `"version":1`},
		"another specification":   {`"spec_version":"1.0.34"`, `"spec_version":"1.0.35"`},
		"expired":                 {`"expires":"2031`, `"expires":"2029`},
		"good for ever":           {`"expires":"2031`, `"expires":"2099`},
		"a key under a wrong id":  {dave + `":{`, carol + `":{`},
		"a threshold of nobody":   {`"threshold":2`, `"threshold":0`},
		"out of reach":            {`"threshold":2`, `"threshold":4`},
		"not root":                {`"_type":"root"`, `"_type":"targets"`},
		"a further role":          {`"roles":{`, `"roles":{"mirrors":{"keyids":["` + dave + `"],"threshold":1},`},
		"a further member of one": {`"threshold":2`, `"threshold":2,"x":1`},
	} {
		t.Run(name, func(t *testing.T) {
			bad := honest.Clone()
			if !strings.Contains(message, edit.old) {
				t.Fatalf("%q is not in %s", edit.old, message)
			}
			bad.Payload(tuf.RoleRoot).Message = []byte(strings.Replace(message, edit.old, edit.with, 1))
			var r *sitting.Refused
			if _, err := sitting.Judge(bad, w.now); !errors.As(err, &r) {
				t.Errorf("the error is %v, want a refusal", err)
			}
		})
	}
	t.Run("keys of targets without targets", func(t *testing.T) {
		r, err := w.rotate(w.change(policy.KeyTargets, 1, "new targets"))
		if err != nil {
			t.Fatal(err)
		}
		r.Payloads = slices.DeleteFunc(r.Payloads, func(p sitting.Payload) bool { return p.Role == tuf.RoleTargets })
		_, err = sitting.Judge(r, w.now)
		wantRefused(t, err, sitting.Unsigned, "other keys")
	})
	t.Run("keys of targets and nothing of targets", func(t *testing.T) {
		r, err := w.rotate(w.change(policy.KeyTargets, 1, "new targets"))
		if err != nil {
			t.Fatal(err)
		}
		r.Payloads = slices.DeleteFunc(r.Payloads, func(p sitting.Payload) bool { return p.Role == tuf.RoleTargets })
		r.Chain.Targets = nil
		var refused *sitting.Refused
		if _, err = sitting.Judge(r, w.now); !errors.As(err, &refused) {
			t.Errorf("the error is %v, want a refusal", err)
		}
	})
	t.Run("the key of another role", func(t *testing.T) {
		bad := honest.Clone()
		d, err := repo.EditRoot(w.Current().Set().Root(), repo.RootEdit{
			ShareKeys: true, Roles: map[tuf.RoleName]tuf.Authority{tuf.RoleRoot: authorityOf(t, 1, w.public("alice", "timestamp")...)},
		}, repo.Issue{Version: 2, Expires: w.now.AddDate(1, 0, 0), Now: w.now})
		if err != nil {
			t.Fatal(err)
		}
		bad.Payload(tuf.RoleRoot).Message = d.Message()
		var refused *sitting.Refused
		if _, err := sitting.Judge(bad, w.now); !errors.As(err, &refused) {
			t.Errorf("the error is %v, want a refusal", err)
		}
	})
}

// TestFirstRequestsThatWereTamperedWith: nothing gets into a new repository that was not drafted as bailiwick does.
func TestFirstRequestsThatWereTamperedWith(t *testing.T) {
	w := &world{tb: t, now: invitedAt, keys: map[string]key.Signer{}}
	honest := w.first(2, firstHolders...)
	if v := w.judge(honest); v.Complete() || len(v.Roles) != len(honest.Payloads) || len(v.Changes) != len(policy.KeyRoles()) {
		t.Fatalf("the honest request is judged as %d roles and %d changes", len(v.Roles), len(v.Changes))
	}
	for _, role := range []tuf.RoleName{tuf.RoleRoot, tuf.RoleTargets, policy.RoleClaimed, "claimed-3", policy.RoleUnclaimed} {
		for name, edit := range map[string]func(p *sitting.Payload, r *sitting.Request){
			"an unknown member": func(p *sitting.Payload, _ *sitting.Request) {
				p.Message = []byte(strings.Replace(string(p.Message), `"expires":`, `"evil":1,"expires":`, 1))
			},
			"another version": func(p *sitting.Payload, _ *sitting.Request) {
				p.Message = []byte(strings.Replace(string(p.Message), `"version":1`, `"version":2`, 1))
			},
			"a base": func(p *sitting.Payload, _ *sitting.Request) { p.Base = []byte(`{"signed":{}}`) },
			"without it": func(p *sitting.Payload, r *sitting.Request) {
				role := p.Role
				r.Payloads = slices.DeleteFunc(r.Payloads, func(p sitting.Payload) bool { return p.Role == role })
			},
		} {
			t.Run(string(role)+" with "+name, func(t *testing.T) {
				bad := honest.Clone()
				edit(bad.Payload(role), bad)
				if reflect.DeepEqual(bad, honest) {
					t.Fatal("the request was not changed")
				}
				var refused *sitting.Refused
				if _, err := sitting.Judge(bad, w.now); !errors.As(err, &refused) {
					t.Errorf("the error is %v, want a refusal", err)
				}
			})
		}
	}
	t.Run("a project of a thief's", func(t *testing.T) {
		bad := honest.Clone()
		p := bad.Payload("claimed-3")
		p.Message = []byte(strings.Replace(string(p.Message), `"roles":[`, `"roles":[{"keyids":["`+string(w.key("unclaimed").Public().ID())+
			`"],"name":"project.flask","paths":["3/flask/*"],"terminating":true,"threshold":1},`, 1))
		_, err := sitting.Judge(bad, w.now)
		wantRefused(t, err, sitting.NotAllowed, "claimed-3")
	})
	t.Run("too late", func(t *testing.T) {
		_, err := sitting.Judge(honest, honest.Expires.Add(time.Hour))
		wantRefused(t, err, sitting.Expired, "expired")
	})
}

// TestARotationIsPublishedOnce: a request that was carried out is stale for ever, and so is one that was made before
// another; nothing is published of it.
func TestARotationIsPublishedOnce(t *testing.T) {
	w := newWorld(t)
	w.upload()
	plan := func(names ...string) *sitting.Request {
		r, err := w.rotate(w.change(policy.KeyRoot, 2, names...))
		if err != nil {
			t.Fatal(err)
		}
		w.sign(r, "alice", "bob", "dave", "erin")
		return r
	}
	first, second := plan("alice", "bob", "dave"), plan("alice", "bob", "erin")
	if err := w.publish(first); err != nil {
		t.Fatal(err)
	}
	for name, r := range map[string]*sitting.Request{"replayed": first, "overtaken": second} {
		t.Run(name, func(t *testing.T) { wantRefused(t, w.publish(r), sitting.Stale, "version") })
	}
	t.Run("of another repository", func(t *testing.T) {
		other := newWorldAt(t, invitedAt.Add(time.Hour))
		wantRefused(t, other.publish(second), sitting.Foreign, "")
	})
	if got := w.Current().Set().Root().Version(); got != 2 {
		t.Errorf("root version %d is published, want 2", got)
	}
	w.user().sees()
}

// TestARotationNeedsTheOnlineKey: before the server has the new key, nothing is published and nothing breaks.
func TestARotationNeedsTheOnlineKey(t *testing.T) {
	for _, role := range []policy.KeyRole{policy.KeyTimestamp, policy.KeySnapshot, policy.KeyRegistry} {
		t.Run(string(role), func(t *testing.T) {
			w := newWorld(t)
			w.upload()
			r, err := w.rotate(w.change(role, 1, "new"))
			if err != nil {
				t.Fatal(err)
			}
			w.sign(r, "alice", "bob", "unclaimed")
			if err := w.publish(r); !errors.Is(err, publish.ErrWrongKey) {
				t.Fatalf("the error is %v, want ErrWrongKey", err)
			}
			w.upload()
			w.user().sees()
			w.AddSigner(w.key("new"))
			if err := w.publish(r); err != nil {
				t.Fatal(err)
			}
			w.upload()
			w.user().sees()
		})
	}
}

var _ client.Fetcher = (*world)(nil)

func authorityOf(tb testing.TB, threshold int, keys ...*key.Public) tuf.Authority {
	tb.Helper()
	a, err := tuf.NewAuthority(threshold, keys...)
	if err != nil {
		tb.Fatal(err)
	}
	return a
}

// TestGroupsOfPeopleSignApart: the holders of root, of targets, of claimed and of unclaimed each have a request of their
// own, made at the same time. None waits for another, in whatever order they come back; but a request is not
// published that was made before its signers were replaced.
func TestGroupsOfPeopleSignApart(t *testing.T) {
	groups := map[string][]tuf.RoleName{
		"root": {tuf.RoleRoot}, "targets": {tuf.RoleTargets}, "claimed": {policy.RoleClaimed}, "unclaimed": {policy.RoleUnclaimed},
	}
	for _, order := range [][]string{
		{"root", "targets", "claimed", "unclaimed"}, {"claimed", "root", "unclaimed", "targets"}, {"unclaimed", "targets", "claimed", "root"},
	} {
		t.Run(strings.Join(order, " "), func(t *testing.T) {
			w := newWorld(t)
			w.upload()
			requests := map[string]*sitting.Request{}
			for name, roles := range groups {
				requests[name] = w.renewal(roles...)
			}
			old := w.user()
			old.sees()
			for _, name := range order {
				if err := w.publish(requests[name]); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				w.upload()
				old.sees()
			}
		})
	}
	for _, test := range []struct {
		renewed tuf.RoleName
		role    policy.KeyRole
	}{
		{tuf.RoleTargets, policy.KeyTargets}, {policy.RoleClaimed, policy.KeyClaimed}, {policy.RoleUnclaimed, policy.KeyUnclaimed},
	} {
		t.Run(string(test.renewed)+" whose signers were replaced", func(t *testing.T) {
			w := newWorld(t)
			w.upload()
			late := w.renewal(test.renewed)
			w.rotated([]string{"alice", "bob", "targets", "claimed", "unclaimed", "new"}, w.change(test.role, 1, "new"))
			wantRefused(t, w.publish(late), sitting.Stale, "anew")
			w.user().sees()
		})
	}
}

// renewal is a request to sign roles anew, signed.
func (w *world) renewal(roles ...tuf.RoleName) *sitting.Request {
	w.tb.Helper()
	r, err := sitting.Plan(w.tb.Context(), w.Current().Sitting(w.tb.Context(), w.now, policy.DefaultLifetimes()), sitting.Wishes{Roles: roles})
	if err != nil {
		w.tb.Fatal(err)
	}
	w.sign(r, "alice", "bob", "targets", "claimed", "unclaimed")
	return w.travel(r)
}

// TestParkedProjectsChangeHandsWithTheirBins: the offline key that signs for a parked project goes, and with it everything
// that it signed; the list of the project stays as its maintainers left it.
func TestParkedProjectsChangeHandsWithTheirBins(t *testing.T) {
	now := invitedAt
	l := ledger.NewMemory()
	w := &world{tb: t, now: now, keys: map[string]key.Signer{}, ledger: l, served: map[string][]byte{}}
	keys := publishtest.Create(t, l, publishtest.Options{Now: now, Claimed: []string{"flask", "django"}})
	w.Publisher = publishtest.Run(t, publish.Config{Ledger: l, Signers: keys.Online(), Now: func() time.Time { return w.now }})
	for role, s := range keys {
		w.keys[string(role)] = s
	}
	state := func() sitting.State { return w.Current().Sitting(t.Context(), w.now, policy.DefaultLifetimes()) }
	flask, err := pypi.ParseProject("flask")
	if err != nil {
		t.Fatal(err)
	}
	r, err := sitting.Plan(t.Context(), state(), sitting.Wishes{Park: []pypi.Project{flask}})
	if err != nil {
		t.Fatal(err)
	}
	w.sign(r, "claimed")
	if err := w.publish(r); err != nil {
		t.Fatal(err)
	}
	w.rotated([]string{"targets", "new"}, w.change(policy.KeyClaimed, 1, "new"))
	if err := publish.Check(t.Context(), l); err != nil {
		t.Error(err)
	}
	set := w.Current().Set()
	chain := append(w.Current().Layout().ClaimedChain(flask), policy.ProjectRole(flask))
	bin, err := set.Delegated(state().Load, chain[:len(chain)-1]...)
	if err != nil {
		t.Fatal(err)
	}
	d, ok := bin.Delegations().Find(policy.ProjectRole(flask))
	if _, parked := policy.Parked(d); !ok || !parked {
		t.Error("the project is not parked any more")
	}
	if a, _ := d.Authority(); len(a.KeyIDs()) != 1 || a.KeyIDs()[0] != w.key("new").Public().ID() {
		t.Errorf("the project is signed by %v", a.KeyIDs())
	}
	if list, err := set.Delegated(state().Load, chain...); err != nil || list.Version() != 3 {
		t.Errorf("the list of the project: %v; want version 3, signed with the new key", err)
	}
	// The keys of its maintainers still take it back.
	if back, err := policy.ParkedKeys(d); err != nil || len(back.KeyIDs()) != 1 {
		t.Errorf("its maintainers' keys: %v, %v", back.KeyIDs(), err)
	}
}
