package client_test

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"example.com/bailiwick/internal/testrepo"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/client"
	"example.com/bailiwick/tuf/trust"
)

// open makes a client of a repository, anchored at its first root.
func open(t *testing.T, r *testrepo.Repo, s client.Store) *client.Client {
	t.Helper()
	c, err := client.New(client.Config{Fetcher: r, Store: s, Root: r.Root(1), Now: r.Now})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// refresh must succeed.
func refresh(t *testing.T, c *client.Client) *client.View {
	t.Helper()
	v, err := c.Refresh(t.Context())
	if err != nil {
		t.Fatalf("an honest refresh: %v", err)
	}
	return v
}

// refused asserts how something was refused.
func refused(t *testing.T, err error, code trust.Code, role tuf.RoleName) {
	t.Helper()
	var r *trust.RefusedError
	if !errors.As(err, &r) {
		t.Fatalf("got %v, want %s refused (%s)", err, role, code)
	}
	if r.Code != code || r.Role != role {
		t.Fatalf("got %s refused (%s): %v; want %s (%s)", r.Role, r.Code, err, role, code)
	}
}

// stored says which versions of the top-level roles a store holds: "1 2 - 2".
func stored(t *testing.T, s client.Store) string {
	t.Helper()
	var out []string
	for _, name := range []string{"root", "timestamp", "snapshot", "targets"} {
		out = append(out, versionOf(t, s, name+".json"))
	}
	return strings.Join(out, " ")
}

func versionOf(t *testing.T, s client.Store, name string) string {
	t.Helper()
	data, err := s.Load(name)
	if errors.Is(err, fs.ErrNotExist) {
		return "-"
	}
	if err != nil {
		t.Fatal(err)
	}
	switch {
	case strings.HasSuffix(name, "root.json"):
		return header(tuf.ParseRoot(data, nil))
	case name == "timestamp.json":
		return header(tuf.ParseTimestamp(data, nil))
	case name == "snapshot.json":
		return header(tuf.ParseSnapshot(data, nil))
	}
	return header(tuf.ParseTargets(data, nil))
}

func header[T any](u *tuf.Unverified[T], err error) string {
	if err != nil {
		return "damaged"
	}
	return fmt.Sprint(u.Header().Version)
}
