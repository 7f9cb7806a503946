package main_test

import (
	"testing"

	"example.com/bailiwick/internal/testrepo"
)

func TestNewTimestampVersionRollback(t *testing.T) {
	r := testrepo.New(t, testrepo.Options{})
	c := newClient(t, r)
	c.init(r.Root(1))
	first := r.Moment()
	r.PublishTimestamp()
	c.refresh(0)
	r.ReplayFile(first, "timestamp.json")
	r.ResetRequests()
	c.refresh(1)
	c.requested("2.root.json", "timestamp.json")
	c.trusted("root 1, snapshot 1, targets 1, timestamp 2")
}

// withHashes runs a test of the suite's two variants.
func withHashes(t *testing.T, test func(t *testing.T, r *testrepo.Repo)) {
	t.Helper()
	for name, o := range map[string]testrepo.Options{"basic": {}, "with hashes": {Hashes: true}} {
		t.Run(name, func(t *testing.T) { test(t, testrepo.New(t, o)) })
	}
}

func TestSnapshotRollback(t *testing.T) {
	withHashes(t, func(t *testing.T, r *testrepo.Repo) {
		r.Publish()
		c := newClient(t, r)
		c.init(r.Root(1))
		c.refresh(0)
		r.Versions["snapshot"] = 0
		r.Publish() // snapshot 1, timestamp 3
		r.ResetRequests()
		c.refresh(1)
		c.requested("2.root.json", "timestamp.json")
		c.trusted("root 1, snapshot 2, targets 1, timestamp 2")
	})
}

func TestTargetsRoleRemoval(t *testing.T) {
	r := testrepo.New(t, testrepo.Options{})
	r.Delegate("targets", testrepo.Delegation{Name: "role", Paths: []string{"*"}})
	r.Publish()
	c := newClient(t, r)
	c.init(r.Root(1))
	c.refresh(0)
	r.Unlisted["role"] = true
	r.Publish()
	c.refresh(1)
	c.trusted("root 1, snapshot 2, targets 2, timestamp 3")
}

func TestTargetsFastForwardRecovery(t *testing.T) {
	r := testrepo.New(t, testrepo.Options{})
	r.Delegate("targets", testrepo.Delegation{Name: "role", Paths: []string{"*"}})
	r.Versions["targets"] = 99998
	r.Publish()
	c := newClient(t, r)
	c.init(r.Root(1))
	c.refresh(0)
	c.trusted("root 1, snapshot 2, targets 99999, timestamp 2")
	r.Top["snapshot"] = testrepo.One("new snapshot")
	r.PublishRoot()
	r.Unlisted["role"] = true // and still delegated to
	r.Versions["targets"] = 0
	r.Touch("targets")
	r.Publish()
	c.refresh(0)
	c.trusted("root 2, snapshot 3, targets 1, timestamp 3")
}

func TestNewSnapshotFastForwardRecovery(t *testing.T) {
	r := testrepo.New(t, testrepo.Options{})
	r.Versions["snapshot"] = 99998
	r.Publish()
	c := newClient(t, r)
	c.init(r.Root(1))
	c.refresh(0)
	c.trusted("root 1, snapshot 99999, targets 1, timestamp 2")
	r.Top["snapshot"], r.Top["timestamp"] = testrepo.One("new snapshot"), testrepo.One("new timestamp")
	r.PublishRoot()
	r.Versions["snapshot"] = 0
	r.Publish()
	c.refresh(0)
	c.trusted("root 2, snapshot 1, targets 1, timestamp 3")
}

func TestNewTimestampFastForwardRecovery(t *testing.T) {
	r := testrepo.New(t, testrepo.Options{})
	r.Versions["timestamp"] = 99998
	r.Publish()
	c := newClient(t, r)
	c.init(r.Root(1))
	c.refresh(0)
	c.trusted("root 1, snapshot 2, targets 1, timestamp 99999")
	r.Top["timestamp"] = testrepo.One("new timestamp")
	r.PublishRoot()
	r.Versions["timestamp"] = 0
	r.PublishTimestamp()
	c.refresh(0)
	c.trusted("root 2, snapshot 2, targets 1, timestamp 1")
}

func TestTargetsRollback(t *testing.T) {
	withHashes(t, func(t *testing.T, r *testrepo.Repo) {
		r.Touch("targets")
		r.Publish()
		c := newClient(t, r)
		c.init(r.Root(1))
		c.refresh(0)
		r.Versions["targets"] = 0
		r.Touch("targets")
		r.Publish()
		c.refresh(1)
		c.trusted("root 1, snapshot 2, targets 2, timestamp 3")
	})
}
