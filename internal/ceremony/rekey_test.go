package ceremony_test

import (
	"strings"
	"testing"

	"example.com/bailiwick/internal/ceremony"
	"example.com/bailiwick/internal/ledger"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/internal/publish/publishtest"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
	"example.com/bailiwick/tuf/repo"
)

func rekey(threshold int, keys ...key.Signer) publishtest.Draft {
	return publishtest.Draft{Kind: ceremony.Rekey, Keys: keys, Threshold: threshold}
}

// TestRekeyNeedsOldAndNew: every set of signers, and what is missing then.
func TestRekeyNeedsOldAndNew(t *testing.T) {
	w := newWorld(t)
	carol := newKey(t)
	for name, c := range map[string]struct {
		draft   publishtest.Draft
		signers []key.Signer
		missing string // "": complete
		by      ceremony.Way
	}{
		"nobody":                     {rekey(2, w.alice, w.bob, carol), nil, "the threshold it has now", ""},
		"old keys alone":             {rekey(2, w.alice, w.bob, carol), []key.Signer{w.alice, w.bob}, "every added key signs", ceremony.ByKeys},
		"new key alone":              {rekey(1, carol), []key.Signer{carol}, "the threshold it has now, or one recovery key", ""},
		"one old and the new":        {rekey(2, w.alice, w.bob, carol), []key.Signer{w.alice, carol}, "the threshold it has now", ""},
		"all three":                  {rekey(2, w.alice, w.bob, carol), []key.Signer{w.alice, w.bob, carol}, "", ceremony.ByKeys},
		"a new threshold of three":   {rekey(3, w.alice, w.bob, carol), []key.Signer{w.alice, w.bob, carol}, "", ceremony.ByKeys},
		"everybody else":             {rekey(1, carol), []key.Signer{w.alice, w.bob, carol}, "", ceremony.ByKeys},
		"recovery without the new":   {rekey(1, carol), []key.Signer{w.eve}, "every added key signs", ceremony.ByRecovery},
		"recovery and the new":       {rekey(1, carol), []key.Signer{w.eve, carol}, "", ceremony.ByRecovery},
		"recovery, new threshold":    {rekey(2, carol, w.alice), []key.Signer{w.eve, carol}, "the new threshold", ceremony.ByRecovery},
		"account: one lost of two":   {rekey(1, w.alice), []key.Signer{w.alice}, "", ceremony.ByAccount},
		"account: nobody signs":      {rekey(1, w.alice), nil, "the new threshold", ""},
		"account: one lost, one new": {rekey(1, carol), []key.Signer{carol}, "the threshold it has now", ""},
		"account: threshold alone":   {rekey(1, w.alice, w.bob), []key.Signer{w.alice}, "the threshold it has now", ""},
	} {
		t.Run(name, func(t *testing.T) {
			v, err := w.judge(w.request("flask", c.draft, c.signers...))
			if err != nil {
				t.Fatal(err)
			}
			if v.Complete() != (c.missing == "") || !strings.Contains(v.Next(), c.missing) || v.By != c.by {
				t.Errorf("by %q, next %q; want by %q, next to speak of %q", v.By, v.Next(), c.by, c.missing)
			}
		})
	}
	_, err := w.judge(w.request("flask", rekey(2, w.alice, w.bob), w.alice, w.bob))
	wantReason(t, err, ceremony.Key) // nothing changes
	add := rekey(1, w.alice)
	add.Add = release(t, "flask-3.tar.gz").Add
	_, err = w.judge(w.request("flask", add, w.alice, w.bob), "flask-3.tar.gz")
	wantReason(t, err, ceremony.Altered)
}

// TestAccountStandsForOneSignature: a token never stands for more than the one key that was lost in a
// team in which all must sign.
func TestAccountStandsForOneSignature(t *testing.T) {
	w := newWorld(t)
	a, b, c := newKey(t), newKey(t), newKey(t)
	w.sign(w.request("plain", publishtest.Draft{Kind: ceremony.Claim, Keys: []key.Signer{a, b, c}, Threshold: 2}, a, b, c))
	// Whoever has one key of a team of 2 of 3, and a token, gets no further.
	w.incomplete(w.request("plain", rekey(1, a), a), "the threshold it has now")
	w.incomplete(w.request("plain", rekey(1, a, b), a), "the threshold it has now")
	w.incomplete(w.request("plain", rekey(2, a, b), a), "the new threshold")
	w.complete(w.request("plain", rekey(2, a, b), a, b)) // two of three are the threshold anyway
	// With the files: those of the lost key may go at the same time, nothing else.
	lost := rekey(1, w.alice)
	lost.Edit = remove(w.standing("flask").Layout.Path(plainProject(t, "flask"), staged(t, "flask-2.tar.gz").Filename))
	if v := w.complete(w.request("flask", lost, w.alice)); len(v.Removed) != 1 || v.By != ceremony.ByAccount {
		t.Errorf("%d files removed by %s", len(v.Removed), v.By)
	}
	grab := rekey(1, w.alice)
	grab.Edit.Members = map[string][]byte{ceremony.RecoveryMember: ceremony.RecoveryValue(w.mallory.Public())}
	w.incomplete(w.request("flask", grab, w.alice), "the threshold it has now")
	grab = rekey(1, w.alice)
	grab.Edit.RemoveDelegations = []tuf.RoleName{"project.flask.ci"}
	w.incomplete(w.request("flask", grab, w.alice), "the threshold it has now")
}

// TestRecoveryKeysChange: with the old threshold, or with a recovery key.
func TestRecoveryKeysChange(t *testing.T) {
	w := newWorld(t)
	other := newKey(t)
	d := rekey(2, w.alice, w.bob)
	d.Edit.Members = map[string][]byte{ceremony.RecoveryMember: ceremony.RecoveryValue(other.Public())}
	w.incomplete(w.request("flask", d, w.alice), "the threshold it has now")
	w.sign(w.request("flask", d, w.alice, w.bob))
	carol := newKey(t)
	r := w.request("flask", rekey(1, carol), carol)
	w.add(r, "", other)
	w.complete(r)
	r = w.request("flask", rekey(1, carol), carol, w.eve)
	_, err := w.judge(r)
	wantReason(t, err, ceremony.ForeignKey) // eve recovers nothing any more
}

// TestClaimedTree: where the offline key has delegated, releases go on as everywhere, and keys wait
// for that key.
func TestClaimedTree(t *testing.T) {
	for _, offline := range []bool{true, false} {
		w := newWorld(t)
		l := ledger.NewMemory()
		a, carol := newKey(t), newKey(t)
		options := publishtest.Options{RecentKeys: map[string]key.Signer{"corp": a}}
		if offline {
			options = publishtest.Options{ClaimedKeys: map[string]key.Signer{"corp": a}}
		}
		keys := publishtest.Create(t, l, options)
		w.p = publishtest.Run(t, publish.Config{Ledger: l, Signers: keys.Online()})
		w.sign(w.request("corp", release(t, "corp-1.tar.gz"), a), "corp-1.tar.gz")
		if n := w.standing("corp").Base.Len(); n != 1 {
			t.Errorf("offline %t: %d files after a release, want 1", offline, n)
		}
		r := w.request("corp", publishtest.Draft{Kind: ceremony.Claim, Keys: []key.Signer{carol}}, carol)
		_, err := w.judge(r)
		wantReason(t, err, ceremony.Claimed)
		v, err := w.judge(w.request("corp", rekey(1, a, carol), a, carol))
		if err != nil {
			t.Fatal(err)
		}
		bin := w.standing("corp").Layout.ClaimedBin(plainProject(t, "corp"))
		if !offline {
			bin = ""
		}
		if v.Complete() == offline || v.Offline != bin || len(v.Missing) > 0 || offline && !strings.Contains(v.Next(), "offline key of "+string(bin)) {
			t.Errorf("offline %t: complete %t, waits for %q: %s", offline, v.Complete(), v.Offline, v.Next())
		}
		want := policy.RecentlyClaimed
		if offline {
			want = policy.Claimed
		}
		if got := w.standing("corp").Assurance; got != want {
			t.Errorf("assurance %v, want %v", got, want)
		}
	}
}

// TestYankAndVouch: what may be said otherwise of a published file.
func TestYankAndVouch(t *testing.T) {
	w := newWorld(t)
	edit := func(name string, change func(c *policy.Custom)) repo.TargetsEdit {
		s := w.standing("flask")
		target, ok := s.Base.Lookup(s.Layout.Path(s.Project, staged(t, name).Filename))
		if !ok {
			t.Fatalf("%s is not listed", name)
		}
		c, err := policy.DecodeCustom(target.Custom)
		if err != nil {
			t.Fatal(err)
		}
		change(&c)
		if target.Custom, err = c.Encode(); err != nil {
			t.Fatal(err)
		}
		return repo.TargetsEdit{Put: []tuf.Target{target}}
	}
	reason := "broken"
	for name, e := range map[string]repo.TargetsEdit{
		"yanked":             edit("flask-2.tar.gz", func(c *policy.Custom) { c.Yanked = &reason }),
		"vouched for by now": edit("flask-1.tar.gz", func(c *policy.Custom) { c.VouchedBy = "" }),
	} {
		v := w.complete(w.request("flask", publishtest.Draft{Kind: ceremony.Release, Edit: e}, w.alice, w.bob))
		if len(v.Changed) != 1 || len(v.Added)+len(v.Removed) != 0 {
			t.Errorf("%s: %d changed, %d added, %d removed; want one changed", name, len(v.Changed), len(v.Added), len(v.Removed))
		}
	}
}

// TestMove: the lead takes a file over from a sub-role and drops it there.
func TestMove(t *testing.T) {
	w := newWorld(t)
	s := w.standing("flask")
	wheel := s.Layout.Path(s.Project, staged(t, "flask-2-py3-none-any.whl").Filename)
	target, ok := s.Subs[0].Targets.Lookup(wheel)
	if !ok {
		t.Fatal("the wheel is not where it should be")
	}
	v := w.complete(w.request("flask", publishtest.Draft{Kind: ceremony.Release, Edit: repo.TargetsEdit{
		Put: []tuf.Target{target}, RemoveDelegations: []tuf.RoleName{"project.flask.ci"},
	}}, w.alice, w.bob))
	if len(v.Added)+len(v.Removed)+len(v.Changed) != 0 {
		t.Errorf("a client finds %d added, %d removed, %d changed; want nothing otherwise", len(v.Added), len(v.Removed), len(v.Changed))
	}
	v = w.complete(w.request("flask", publishtest.Draft{Kind: ceremony.Release, Edit: repo.TargetsEdit{
		RemoveDelegations: []tuf.RoleName{"project.flask.ci"},
	}}, w.alice, w.bob))
	if len(v.Removed) != 1 || v.Removed[0] != wheel {
		t.Errorf("removed %v, want the wheel", v.Removed)
	}
}
