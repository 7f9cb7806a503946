package client_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"example.com/bailiwick/internal/testrepo"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/client"
	"example.com/bailiwick/tuf/trust"
)

// held compares what two views hold: the same values, not only equal ones, have not
// been parsed again.
func held(a, b *client.View) string {
	x, y := a.Set(), b.Set()
	var same []string
	note := func(name string, is bool) {
		if is {
			same = append(same, name)
		}
	}
	note("root", x.Root() == y.Root())
	note("snapshot", x.Snapshot() == y.Snapshot())
	note("targets", x.Targets() == y.Targets())
	note("timestamp", x.Timestamp() == y.Timestamp())
	return strings.Join(same, " ")
}

// With nothing new a refresh fetches the timestamp, asks for the next root, and
// parses nothing that this client parsed before it stored it.
func TestRefreshDoesNotParseAgain(t *testing.T) {
	for name, options := range map[string]testrepo.Options{"versions": {}, "hashes": {Hashes: true}} {
		r := testrepo.New(t, options)
		r.PublishRoot()
		r.PublishRoot()
		s := &journal{Store: client.NewMemory()}
		c := open(t, r, s)
		first := refresh(t, c)
		r.ResetRequests()
		s.entries = nil
		again := refresh(t, c)
		if got := held(first, again); got != "root snapshot targets timestamp" {
			t.Errorf("%s, nothing new: only %q is the same", name, got)
		}
		if got := strings.Join(r.Requests(), " "); got != "4.root.json timestamp.json" {
			t.Errorf("%s, nothing new: requests %s", name, got)
		}
		r.PublishTimestamp()
		if got := held(first, refresh(t, c)); got != "root snapshot targets" {
			t.Errorf("%s, a new timestamp: %q is the same", name, got)
		}
		r.Touch("targets")
		r.Publish()
		all := refresh(t, c)
		if got := held(first, all); got != "root" {
			t.Errorf("%s, all new: %q is the same", name, got)
		}
		r.PublishRoot()
		if got := held(all, refresh(t, c)); got != "snapshot targets timestamp" {
			t.Errorf("%s, a new root: %q is the same", name, got)
		}
		if got := held(first, refresh(t, open(t, r, s))); got != "" {
			t.Errorf("%s: another client takes %q without verifying it", name, got)
		}
	}
}

// What is stored decides, as it would in a new process: memory only spares work.
func TestStoredBytesThatChangedAreVerified(t *testing.T) {
	setup := func(t *testing.T) (*testrepo.Repo, *client.Memory, *client.Client, *client.View) {
		r, s := testrepo.New(t, testrepo.Options{}), client.NewMemory()
		c := open(t, r, s)
		return r, s, c, refresh(t, c)
	}
	load := func(t *testing.T, s client.Store, name string) []byte {
		t.Helper()
		data, err := s.Load(name)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	t.Run("another layout", func(t *testing.T) {
		_, s, c, first := setup(t)
		for _, name := range []string{"timestamp.json", "snapshot.json", "targets.json"} {
			if err := s.Save(name, append(load(t, s, name), '\n')); err != nil {
				t.Fatal(err)
			}
		}
		second := refresh(t, c)
		if got := held(first, second); got != "root" {
			t.Errorf("%q is the same", got)
		}
		if !bytes.HasSuffix(second.Set().Snapshot().Bytes(), []byte("\n")) {
			t.Error("the stored snapshot is not in force")
		}
	})
	t.Run("damaged, then gone", func(t *testing.T) {
		_, s, c, first := setup(t)
		for _, name := range []string{"timestamp.json", "snapshot.json", "targets.json"} {
			right := load(t, s, name)
			for _, spoil := range []func() error{
				func() error { return s.Save(name, []byte("{")) },
				func() error { return s.Remove(name) },
			} {
				if err := spoil(); err != nil {
					t.Fatal(err)
				}
				if got := held(first, refresh(t, c)); got != "root snapshot targets timestamp" {
					t.Errorf("%s: %q is the same", name, got)
				}
				if !bytes.Equal(load(t, s, name), right) {
					t.Errorf("%s is not healed", name)
				}
			}
		}
	})
	t.Run("an older state restored", func(t *testing.T) {
		r, s, c, _ := setup(t)
		old := map[string][]byte{}
		for _, name := range []string{"timestamp.json", "snapshot.json", "targets.json"} {
			old[name] = load(t, s, name)
		}
		before := r.Moment()
		r.Touch("targets")
		r.Publish()
		second := refresh(t, c)
		for name, data := range old {
			if err := s.Save(name, data); err != nil {
				t.Fatal(err)
			}
		}
		now := r.Moment()
		r.Replay(before)
		_, err := c.Refresh(t.Context())
		refused(t, err, trust.Rollback, tuf.RoleTimestamp)
		r.Replay(now)
		if got := held(second, refresh(t, c)); got != "root snapshot targets timestamp" {
			t.Errorf("%q is the same", got)
		}
		if got := stored(t, s); got != "1 2 2 2" {
			t.Errorf("stored is %s", got)
		}
	})
	t.Run("everything removed", func(t *testing.T) {
		_, s, c, first := setup(t)
		for _, name := range []string{"root.json", "timestamp.json", "snapshot.json", "targets.json"} {
			if err := s.Remove(name); err != nil {
				t.Fatal(err)
			}
		}
		if got := held(first, refresh(t, c)); got != "root" { // the anchor, which was never stored
			t.Errorf("%q is the same", got)
		}
	})
	t.Run("a damaged root.json stops", func(t *testing.T) {
		_, s, c, _ := setup(t)
		if err := s.Save("root.json", []byte("{")); err != nil {
			t.Fatal(err)
		}
		_, err := c.Refresh(t.Context())
		var damaged *client.StoreError
		if !errors.As(err, &damaged) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("another process went on", func(t *testing.T) {
		r, s, c, _ := setup(t)
		r.Top["timestamp"] = testrepo.One("timestamp2")
		r.PublishRoot()
		r.Touch("targets")
		r.Publish()
		other := refresh(t, open(t, r, s))
		r.ResetRequests()
		mine := refresh(t, c)
		if got := strings.Join(r.Requests(), " "); got != "3.root.json timestamp.json" {
			t.Errorf("requests %s", got)
		}
		if mine.Set().Timestamp().Version() != other.Set().Timestamp().Version() {
			t.Error("the stored timestamp is not in force")
		}
	})
}

// Expiry is held against the time of each refresh, whatever was verified before.
func TestCarriedMetadataExpires(t *testing.T) {
	for _, role := range []tuf.RoleName{"root", "timestamp", "snapshot", "targets"} {
		r := testrepo.New(t, testrepo.Options{})
		r.Life[string(role)] = time.Hour
		r.PublishRoot()
		r.Touch("targets")
		r.Publish()
		c := open(t, r, client.NewMemory())
		refresh(t, c)
		r.Advance(2 * time.Hour)
		_, err := c.Refresh(t.Context())
		refused(t, err, trust.Expired, role)
	}
}
