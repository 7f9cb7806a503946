package policy_test

import (
	"testing"
	"time"

	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/repo"
)

// TestParkAndBack: a parked project remembers whose it was, and forgets that it was parked when they are back.
func TestParkAndBack(t *testing.T) {
	l, p := layout(t, 16), project(t, "flask")
	bin, maintainers := authority(t, 1, signerOf(t, "claimed")), authority(t, 2, signerOf(t, "alice"), signerOf(t, "bob"))
	issue := repo.Issue{Role: l.ClaimedBin(p), Version: 1, Expires: now.Add(time.Hour), Now: now, Authority: bin}
	claimed := policy.ClaimProject(l, p, maintainers, now.Add(-240*time.Hour))
	d, err := repo.NewTargets(repo.TargetsSpec{Delegations: []repo.Delegation{claimed, l.FallThrough(l.Bin(p), authority(t, 1, signerOf(t, "unclaimed")))}}, issue)
	base := signed(t, d, err, signerOf(t, "claimed"))
	next := func(base *tuf.Targets, d repo.Delegation) *tuf.Targets {
		t.Helper()
		issue.Version = base.Version() + 1
		draft, err := repo.EditTargets(base, policy.AddClaimed(l, base, d), issue)
		return signed(t, draft, err, signerOf(t, "claimed"))
	}
	entry := func(bin *tuf.Targets) tuf.Delegation {
		t.Helper()
		d, ok := bin.Delegations().Find(policy.ProjectRole(p))
		if !ok {
			t.Fatal("the project is not delegated")
		}
		return d
	}
	if _, ok := policy.Parked(entry(base)); ok {
		t.Error("a claimed project counts as parked")
	}
	if _, err := policy.ParkedKeys(entry(base)); err == nil {
		t.Error("a claimed project has parked keys")
	}
	park, err := policy.Park(l, p, bin, maintainers, now)
	if err != nil {
		t.Fatal(err)
	}
	parked := next(base, park)
	since, ok := policy.Parked(entry(parked))
	if !ok || !since.Equal(now) {
		t.Errorf("parked since %v, %t; want %v", since, ok, now)
	}
	if keys, err := policy.ParkedKeys(entry(parked)); err != nil || !keys.Equal(maintainers) {
		t.Errorf("the parked keys are %v, %v", keys.KeyIDs(), err)
	}
	for _, bin := range []*tuf.Targets{base, parked} {
		if owners, err := policy.Owners(entry(bin)); err != nil || !owners.Equal(maintainers) {
			t.Errorf("it belongs to %v, %v", owners.KeyIDs(), err)
		}
	}
	if a, err := entry(parked).Authority(); err != nil || !a.Equal(bin) {
		t.Error("a parked project is not signed by its bin's key")
	}
	back := next(parked, policy.Recover(l, p, maintainers, now.Add(time.Hour)))
	if _, ok := policy.Parked(entry(back)); ok {
		t.Error("a project that is back counts as parked")
	}
	if at, ok := policy.Recovered(entry(back)); !ok || !at.Equal(now.Add(time.Hour)) {
		t.Errorf("recovered at %v, %t", at, ok)
	}
	if claimedSince, ok := policy.Since(entry(back)); !ok || !claimedSince.Equal(now.Add(-240*time.Hour)) {
		t.Errorf("claimed since %v, %t, which was lost on the way", claimedSince, ok)
	}
}
