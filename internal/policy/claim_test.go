package policy_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
	"example.com/bailiwick/tuf/repo"
)

func TestSubRole(t *testing.T) {
	flask, err := pypi.ParseProject("flask")
	if err != nil {
		t.Fatal(err)
	}
	for sub, ok := range map[string]bool{
		"ci": true, "c": true, "2-x": true, strings.Repeat("a", 32): true,
		"": false, "-ci": false, "CI": false, "c.i": false, "c/i": false, "c_i": false, "é": false, strings.Repeat("a", 33): false,
	} {
		role, err := policy.SubRole(flask, sub)
		if (err == nil) != ok || err != nil && !errors.Is(err, policy.ErrSubRole) {
			t.Errorf("sub-role %q: %v", sub, err)
		}
		if !ok {
			role = tuf.RoleName("project.flask." + sub)
		}
		p, back, known := policy.SubRoleOf(role)
		if known != ok || ok && (p != flask || back != sub) {
			t.Errorf("%q is taken apart into %v and %q, %t", role, p, back, known)
		}
		if policy.KindOf(role) != policy.KindOther {
			t.Errorf("%q is of kind %v", role, policy.KindOf(role))
		}
	}
	if _, err := policy.SubRole(pypi.Project{}, "ci"); err == nil {
		t.Error("a sub-role of no project")
	}
	for _, role := range []tuf.RoleName{"project.flask", "project.Flask.ci", "claimed-00", "flask.ci", ".", "project..ci"} {
		if _, _, ok := policy.SubRoleOf(role); ok {
			t.Errorf("%q is taken for a sub-role", role)
		}
	}
}

// delegated publishes a bin with one delegation and reads it back.
func delegated(t *testing.T, d repo.Delegation, base *tuf.Targets, signer key.Signer) (tuf.Delegation, *tuf.Targets) {
	t.Helper()
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	a, err := tuf.NewAuthority(1, signer.Public())
	if err != nil {
		t.Fatal(err)
	}
	issue := repo.Issue{Role: "unclaimed-0", Version: 1, Now: now, Expires: now.AddDate(1, 0, 0), Authority: a}
	var draft *repo.Draft
	if base == nil {
		draft, err = repo.NewTargets(repo.TargetsSpec{Delegations: []repo.Delegation{d}}, issue)
	} else {
		issue.Version = base.Version() + 1
		draft, err = repo.EditTargets(base, repo.TargetsEdit{ReplaceDelegations: []repo.Delegation{d}}, issue)
	}
	if err != nil {
		t.Fatal(err)
	}
	data, err := repo.Sign(context.Background(), draft, signer)
	if err != nil {
		t.Fatal(err)
	}
	u, err := tuf.ParseTargets(data, nil)
	if err != nil {
		t.Fatal(err)
	}
	targets, err := u.Verify(a)
	if err != nil {
		t.Fatal(err)
	}
	return targets.Delegations().At(0), targets
}

// TestSince: a claim's date is written, read, and kept by a change of keys.
func TestSince(t *testing.T) {
	flask, err := pypi.ParseProject("flask")
	if err != nil {
		t.Fatal(err)
	}
	layout, err := policy.NewLayout(16)
	if err != nil {
		t.Fatal(err)
	}
	_, signer, err := key.GenerateEd25519()
	if err != nil {
		t.Fatal(err)
	}
	a, err := tuf.NewAuthority(1, signer.Public())
	if err != nil {
		t.Fatal(err)
	}
	since := time.Date(2026, 11, 23, 5, 4, 3, 0, time.UTC)
	d, targets := delegated(t, policy.ClaimProject(layout, flask, a, since), nil, signer)
	if got, ok := policy.Since(d); !ok || !got.Equal(since) {
		t.Errorf("claimed since %v, %t; want %v", got, ok, since)
	}
	d, _ = delegated(t, policy.NewProject(layout, flask, a), targets, signer)
	if got, ok := policy.Since(d); !ok || !got.Equal(since) {
		t.Errorf("after a change of keys since %v, %t; want %v still", got, ok, since)
	}
	d, _ = delegated(t, policy.NewProject(layout, flask, a), nil, signer)
	if got, ok := policy.Since(d); ok {
		t.Errorf("an unclaimed project is claimed since %v", got)
	}
	for _, raw := range []string{`1`, `""`, `"yesterday"`, `"2026-11-23T05:04:03.5Z"`, `"2026-11-23T05:04:03+01:00"`, `{}`} {
		bad := policy.NewProject(layout, flask, a)
		bad.Members = map[string][]byte{policy.SinceMember: []byte(raw)}
		d, _ := delegated(t, bad, nil, signer)
		if got, ok := policy.Since(d); ok {
			t.Errorf("since %s is read as %v", raw, got)
		}
	}
	if _, ok := policy.Since(tuf.Delegation{}); ok {
		t.Error("no delegation has a date")
	}
}

func TestVouchedBy(t *testing.T) {
	c := policy.Custom{Version: "1.0", VouchedBy: policy.VouchedByIndex}
	raw, err := c.Encode()
	if err != nil || string(raw) != `{"version":"1.0","vouched-by":"index"}` {
		t.Errorf("encoded as %s, %v", raw, err)
	}
	back, err := policy.DecodeCustom(raw)
	if err != nil || back != c {
		t.Errorf("decoded as %+v, %v", back, err)
	}
	for _, bad := range []string{`""`, `"me"`, `true`} {
		if _, err := policy.DecodeCustom([]byte(`{"version":"1.0","vouched-by":` + bad + `}`)); !errors.Is(err, policy.ErrCustom) {
			t.Errorf("vouched-by %s: %v, want ErrCustom", bad, err)
		}
	}
}
