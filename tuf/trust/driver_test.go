package trust_test

import (
	"errors"
	"fmt"
	"testing"

	"example.com/bailiwick/internal/testrepo"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/client"
	"example.com/bailiwick/tuf/trust"
)

// begin starts an update from the repository's first root.
func begin(t *testing.T, r *testrepo.Repo) *trust.RootStage {
	t.Helper()
	s, err := trust.Begin(r.Root(1), r.Now(), trust.Options{})
	if err != nil {
		t.Fatalf("Begin: %v", err)
	}
	return s
}

// update follows the repository from where a stage is to a Set.
func update(t *testing.T, r *testrepo.Repo, s *trust.RootStage) (*trust.Set, error) {
	t.Helper()
	get := func(w trust.Want) []byte {
		data, err := r.Metadata(t.Context(), w.Name, w.Limit)
		if err != nil && !errors.Is(err, client.ErrAbsent) {
			t.Fatalf("fetching %s: %v", w.Name, err)
		}
		return data
	}
	for {
		w, ok := s.Want()
		if !ok {
			break
		}
		data := get(w)
		if data == nil {
			break
		}
		if _, err := s.Accept(data); err != nil {
			return nil, err
		}
	}
	ts, err := s.Done()
	if err != nil {
		return nil, err
	}
	ss, err := ts.Accept(get(ts.Want()))
	if err != nil {
		return nil, err
	}
	tg, ok := ss.Keep()
	if !ok {
		if tg, err = ss.Accept(get(ss.Want())); err != nil {
			return nil, err
		}
	}
	if set, ok := tg.Keep(); ok {
		return set, nil
	}
	return tg.Accept(get(tg.Want()))
}

// fresh is an update from nothing that must succeed.
func fresh(t *testing.T, r *testrepo.Repo) *trust.Set {
	t.Helper()
	set, err := update(t, r, begin(t, r))
	if err != nil {
		t.Fatalf("an honest update: %v", err)
	}
	return set
}

// next is an update after a Set that must succeed.
func next(t *testing.T, r *testrepo.Repo, set *trust.Set) *trust.Set {
	t.Helper()
	set, err := update(t, r, set.Next(r.Now()))
	if err != nil {
		t.Fatalf("an honest update: %v", err)
	}
	return set
}

// loader gets delegated roles from the repository.
func loader(t *testing.T, r *testrepo.Repo, set *trust.Set) trust.Loader {
	return func(role tuf.RoleName, _ tuf.Meta) ([]byte, error) {
		w, ok := set.Want(role)
		if !ok {
			return nil, fmt.Errorf("role %q is not listed and should not be asked for", role)
		}
		return r.Metadata(t.Context(), w.Name, w.Limit)
	}
}

// refused asserts how something was refused.
func refused(t *testing.T, err error, code trust.Code, role tuf.RoleName, step string) {
	t.Helper()
	var r *trust.RefusedError
	if !errors.As(err, &r) {
		t.Fatalf("got %v, want it refused (%s %s %s)", err, code, role, step)
	}
	if r.Code != code || r.Role != role || r.Step != step {
		t.Fatalf("got code %s, role %s, step %s (%v), want %s %s %s", r.Code, r.Role, r.Step, err, code, role, step)
	}
	if r.Err == nil || r.Error() == "" {
		t.Errorf("a refusal without a cause: %#v", r)
	}
}
