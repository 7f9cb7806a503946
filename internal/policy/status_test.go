package policy_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
	"example.com/bailiwick/tuf/repo"
)

// saying is a project's role with a value of the member that states the status; nil: without it.
func saying(t *testing.T, value []byte) *tuf.Targets {
	t.Helper()
	_, signer, err := key.GenerateEd25519()
	if err != nil {
		t.Fatal(err)
	}
	authority, err := tuf.NewAuthority(1, signer.Public())
	if err != nil {
		t.Fatal(err)
	}
	spec := repo.TargetsSpec{}
	if value != nil {
		spec.Members = map[string][]byte{policy.StatusMember: value}
	}
	d, err := repo.NewTargets(spec, repo.Issue{Role: "project.flask", Version: 1, Now: now, Expires: now.Add(time.Hour), Authority: authority})
	if err != nil {
		t.Fatal(err)
	}
	data, err := repo.Sign(t.Context(), d, signer)
	if err != nil {
		t.Fatal(err)
	}
	u, err := tuf.ParseTargets(data, nil)
	if err != nil {
		t.Fatal(err)
	}
	targets, err := u.Verify(authority)
	if err != nil {
		t.Fatal(err)
	}
	return targets
}

func TestStatus(t *testing.T) {
	for _, s := range []policy.Status{{}, policy.Archived(""), policy.Archived(`use "flask-next" – é`)} {
		value, err := s.Encode()
		if err != nil || (value == nil) != (s == policy.Status{}) {
			t.Fatalf("%+v is written as %s, %v", s, value, err)
		}
		if got, err := policy.StatusOf(saying(t, value)); err != nil || got != s || got.IsArchived() != (value != nil) {
			t.Errorf("%+v comes back as %+v, %v", s, got, err)
		}
	}
	for _, value := range []string{
		`{}`, `[]`, `"archived"`, `{"status":"quarantined"}`, `{"status":"archived","more":1}`, `{"status":1}`,
		`{"status":"archived","reason":"a\nb"}`, `{"status":"archived","reason":"` + strings.Repeat("x", policy.MaxYankReason+1) + `"}`,
	} {
		if got, err := policy.StatusOf(saying(t, []byte(value))); !errors.Is(err, policy.ErrCustom) {
			t.Errorf("%.40s is read as %+v, %v", value, got, err)
		}
	}
	for _, reason := range []string{"a\nb", "\xff", strings.Repeat("x", policy.MaxYankReason+1)} {
		if value, err := policy.Archived(reason).Encode(); !errors.Is(err, policy.ErrCustom) {
			t.Errorf("the reason %.20q is written as %s, %v", reason, value, err)
		}
	}
}
