package publish_test

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"example.com/bailiwick/internal/ledger"
	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/internal/publish/publishtest"
	"example.com/bailiwick/tuf"
)

// countingRoles counts how often the list of roles is read.
type countingRoles struct {
	publish.Ledger
	n atomic.Int64
}

func (l *countingRoles) Roles(ctx context.Context) ([]publish.Role, error) {
	l.n.Add(1)
	return l.Ledger.Roles(ctx)
}

// TestRolesAreReadOnce: as long as nothing is published the roles are those that were read and verified on opening, and from
// then on those of the ledger.
func TestRolesAreReadOnce(t *testing.T) {
	l := &countingRoles{Ledger: ledger.NewMemory()}
	keys := publishtest.Create(t, l, publishtest.Options{Now: time.Now()})
	p, stop, err := publishtest.Open(publish.Config{Ledger: l, Signers: keys.Online(), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	want := func() {
		t.Helper()
		stored, err := l.Ledger.Roles(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		got, err := p.Roles(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(stored, got); diff != "" {
			t.Errorf("roles (-ledger +got):\n%s", diff)
		}
	}
	before := l.n.Load()
	want()
	if n := l.n.Load(); n != before {
		t.Errorf("they were read %d times more", n-before)
	}
	if _, err := p.Publish(t.Context(), publish.AddFile{File: publishtest.File(t, "demo-1.0-py3-none-any.whl", "content")}); err != nil {
		t.Fatal(err)
	}
	want()
	roles, err := p.Roles(t.Context())
	if err != nil || !slices.ContainsFunc(roles, func(r publish.Role) bool { return r.Name == tuf.RoleName("project.demo") }) {
		t.Errorf("after a publication: %v, %v", roles, err)
	}
}
