package main_test

import (
	"fmt"
	"testing"
	"time"

	"example.com/bailiwick/internal/testrepo"
)

func TestBasicRefreshRequests(t *testing.T) {
	r := testrepo.New(t, testrepo.Options{})
	c := newClient(t, r)
	c.init(r.Root(1))
	c.refresh(0)
	c.requested("2.root.json", "timestamp.json", "1.snapshot.json", "1.targets.json")
}

func TestBasicRefreshTrustedData(t *testing.T) {
	r := testrepo.New(t, testrepo.Options{})
	c := newClient(t, r)
	c.init(r.Root(1))
	c.refresh(0)
	c.trusted("root 1, snapshot 1, targets 1, timestamp 1")
	c.same("root", "snapshot", "targets", "timestamp")
}

func TestImplicitRefresh(t *testing.T) {
	r := testrepo.New(t, testrepo.Options{})
	c := newClient(t, r)
	c.init(r.Root(1))
	c.download(1, "nonexistent artifact")
	c.requested("2.root.json", "timestamp.json", "1.snapshot.json", "1.targets.json")
	c.trusted("root 1, snapshot 1, targets 1, timestamp 1")
	c.artifacts()
}

func TestInvalidInitialRoot(t *testing.T) {
	r := testrepo.New(t, testrepo.Options{})
	c := newClient(t, r)
	c.init(edited(t, r, "root", func(e map[string]any) { delete(e["signed"].(map[string]any), "version") }))
	c.refresh(1)
	c.requested()
}

func TestUnsignedInitialRoot(t *testing.T) {
	r := testrepo.New(t, testrepo.Options{})
	c := newClient(t, r)
	c.init(edited(t, r, "root", func(e map[string]any) {
		// A signature of the right form, by nobody.
		e["signatures"].([]any)[0].(map[string]any)["sig"] = "3045022100ee448afe2d25dd1f05afedac83a24e7df90f2036152214344791"
	}))
	c.refresh(1)
	c.requested()
}

func TestUnsignedMetadata(t *testing.T) {
	for role, trusted := range map[string]string{
		"root":      "root 1",
		"timestamp": "root 2",
		"snapshot":  "root 2, timestamp 2",
		"targets":   "root 2, snapshot 2, timestamp 2",
	} {
		t.Run(role, func(t *testing.T) {
			r := testrepo.New(t, testrepo.Options{})
			r.SignWith[role] = []testrepo.Key{}
			r.Touch("targets")
			r.PublishRoot()
			r.Publish()
			c := newClient(t, r)
			c.init(r.Root(1))
			c.refresh(1)
			c.trusted(trusted)
		})
	}
}

func TestURLAndMetadataVersionMismatch(t *testing.T) {
	for role, trusted := range map[string]string{
		"root":     "root 1",
		"snapshot": "root 2, timestamp 2",
		"targets":  "root 2, snapshot 2, timestamp 2",
	} {
		t.Run(role, func(t *testing.T) {
			r := testrepo.New(t, testrepo.Options{})
			r.Edit[role] = func(signed map[string]any) { signed["version"] = 3 } // served, and listed, as version 2
			r.Touch("targets")
			r.PublishRoot()
			r.Publish()
			c := newClient(t, r)
			c.init(r.Root(1))
			c.refresh(1)
			c.trusted(trusted)
		})
	}
}

func TestTimestampContentChanges(t *testing.T) {
	r := testrepo.New(t, testrepo.Options{})
	c := newClient(t, r)
	c.init(r.Root(1))
	c.refresh(0)
	old := c.stored("timestamp")
	r.ListEdit["snapshot"] = func(m map[string]any) { m["version"] = 100 }
	r.Versions["timestamp"]--
	r.PublishTimestamp()
	r.ResetRequests()
	c.refresh(0)
	c.requested("2.root.json", "timestamp.json")
	if got := c.stored("timestamp"); string(got) != string(old) {
		t.Errorf("the stored timestamp changed:\n%s\n%s", old, got)
	}
}

func TestBasicMetadataHashSupport(t *testing.T) {
	r := testrepo.New(t, testrepo.Options{Hashes: true})
	c := newClient(t, r)
	c.init(r.Root(1))
	c.refresh(0)
	c.trusted("root 1, snapshot 1, targets 1, timestamp 1")
}

func TestTargetsHashMismatch(t *testing.T) {
	r := testrepo.New(t, testrepo.Options{Hashes: true})
	c := newClient(t, r)
	c.init(r.Root(1))
	c.refresh(0)
	r.ListEdit["targets"] = wrongHash
	r.Touch("targets")
	r.Publish()
	c.refresh(1)
	c.trusted("root 1, snapshot 2, targets 1, timestamp 2")
}

func TestSnapshotHashMismatch(t *testing.T) {
	r := testrepo.New(t, testrepo.Options{Hashes: true})
	c := newClient(t, r)
	c.init(r.Root(1))
	c.refresh(0)
	r.ListEdit["snapshot"] = wrongHash
	r.Publish()
	c.refresh(1)
	c.trusted("root 1, snapshot 1, targets 1, timestamp 2")
}

func wrongHash(m map[string]any) {
	m["hashes"] = map[string]any{"sha256": "46419349341cfb2d95f6ae3d4cd5c3d3dd7f4673985dad42a45130be5e0531a0"}
}

func TestMetadataBytesMatch(t *testing.T) {
	r := testrepo.New(t, testrepo.Options{})
	served := append(r.Bytes("timestamp"), ' ')
	r.Serve("timestamp.json", served)
	c := newClient(t, r)
	c.init(r.Root(1))
	c.refresh(0)
	if got := c.stored("timestamp"); string(got) != string(served) {
		t.Errorf("stored is %q, served was %q", got, served)
	}
}

func TestCustomFields(t *testing.T) {
	r := testrepo.New(t, testrepo.Options{})
	c := newClient(t, r)
	c.init(r.Root(1))
	c.refresh(0)
	// A member of a key is part of what its id is the hash of.
	k := testrepo.NewKey("with members")
	k.Object["extra-field"] = map[string]any{"a": 1, "b": 2}
	old := r.Top["root"].Keys[0]
	r.Top["root"] = testrepo.Holders{Keys: []testrepo.Key{old, k}, Threshold: 2}
	r.Edit["root"] = func(signed map[string]any) {
		signed["custom-field"] = "value"
		at(signed, "roles", "root")["another-field"] = "value"
	}
	r.PublishRoot()
	c.refresh(0)
	c.trusted("root 2, snapshot 1, targets 1, timestamp 1")
	// And they are covered by the signature.
	for name, change := range map[string]func(signed map[string]any){
		"root": func(signed map[string]any) { signed["custom-field"] = "other" },
		"key": func(signed map[string]any) {
			at(signed, "keys", string(k.ID()))["extra-field"] = map[string]any{"a": 1, "b": 3}
		},
		"role": func(signed map[string]any) { delete(at(signed, "roles", "root"), "another-field") },
	} {
		r.Versions["root"] = 2
		r.PublishRoot()
		edited(t, r, "root", func(e map[string]any) { change(at(e, "signed")) })
		c.refresh(1)
		if c.trusted("root 2, snapshot 1, targets 1, timestamp 1"); t.Failed() {
			t.Fatal(name)
		}
	}
}

// at goes down members of objects.
func at(object map[string]any, names ...string) map[string]any {
	for _, name := range names {
		next := object[name].(map[string]any)
		// The KEY objects of a repository are shared between its files: change a copy.
		clone := map[string]any{}
		for k, v := range next {
			clone[k] = v
		}
		object[name] = clone
		object = clone
	}
	return object
}

func TestDeprecatedKeyidHashAlgorithms(t *testing.T) {
	r := testrepo.New(t, testrepo.Options{})
	c := newClient(t, r)
	c.init(r.Root(1))
	k := testrepo.NewKey("with a member of old")
	k.Object["keyid_hash_algorithms"] = "md5" // means nothing: the id is a SHA-256 all the same
	r.Top["snapshot"] = testrepo.Holders{Keys: []testrepo.Key{k}, Threshold: 1}
	r.PublishRoot()
	r.Publish()
	c.refresh(0)
	c.trusted("root 2, snapshot 2, targets 1, timestamp 2")
}

func TestSnapshot404(t *testing.T) {
	missing(t, "snapshot", "2.snapshot.json", "root 1, snapshot 1, targets 1, timestamp 2")
}

func TestTargets404(t *testing.T) {
	missing(t, "targets", "2.targets.json", "root 1, snapshot 2, targets 1, timestamp 2")
}

func TestTimestamp404(t *testing.T) {
	missing(t, "timestamp", "timestamp.json", "root 1, snapshot 1, targets 1, timestamp 1")
}

// missing lets the next version of a role be listed and absent: it is asked for, it is
// the last that is asked for, and what comes before it is kept.
func missing(t *testing.T, role, last, trusted string) {
	t.Helper()
	r := testrepo.New(t, testrepo.Options{})
	c := newClient(t, r)
	c.init(r.Root(1))
	c.refresh(0)
	r.Touch("targets")
	r.Publish()
	r.Remove(r.FileName(role))
	r.ResetRequests()
	c.refresh(1)
	if got := r.Requests(); len(got) == 0 || got[len(got)-1] != last {
		t.Errorf("requests %q, want %s at the end", got, last)
	}
	c.trusted(trusted)
}

func TestIncorrectMetadataType(t *testing.T) {
	r := testrepo.New(t, testrepo.Options{})
	// A snapshot that could be a timestamp: signed by both keys, and listing what a timestamp
	// lists. Only the type tells them apart.
	both := append(testrepo.Keys("timestamp", 1), testrepo.Keys("snapshot", 1)...)
	r.Top["snapshot"] = testrepo.Holders{Keys: both, Threshold: 1}
	r.Edit["snapshot"] = func(signed map[string]any) {
		signed["meta"] = map[string]any{"snapshot.json": map[string]any{"version": 1}}
	}
	r.PublishRoot()
	r.Publish()
	r.Serve("timestamp.json", r.Bytes("snapshot"))
	c := newClient(t, r)
	c.init(r.Root(1))
	c.refresh(1)
	c.requested("2.root.json", "3.root.json", "timestamp.json")
	c.trusted("root 2")
	// It is the type: with another, the same file is a timestamp.
	r.Edit["snapshot"] = func(signed map[string]any) {
		signed["_type"], signed["meta"] = "timestamp", map[string]any{"snapshot.json": map[string]any{"version": 1}}
	}
	r.Publish()
	r.Serve("timestamp.json", r.Bytes("snapshot"))
	c.refresh(0)
	c.trusted("root 2, snapshot 1, targets 1, timestamp 3")
}

func TestFaketime(t *testing.T) {
	for _, role := range []string{"root", "timestamp"} {
		t.Run(role, func(t *testing.T) {
			r := testrepo.New(t, testrepo.Options{})
			r.Life[role] = 7 * day
			r.PublishRoot()
			r.Publish()
			c := newClient(t, r)
			c.init(r.Root(1))
			c.refresh(0)
			r.Advance(6 * day)
			c.refresh(0)
			r.Advance(2 * day)
			c.refresh(1)
		})
	}
}

func TestRootExpired(t *testing.T) {
	r := testrepo.New(t, testrepo.Options{})
	c := newClient(t, r)
	c.init(r.Root(1))
	c.refresh(0)
	r.Life["root"] = -day
	r.PublishRoot()
	r.Touch("targets")
	r.Publish()
	c.refresh(1)
	c.trusted("root 2, snapshot 1, targets 1, timestamp 1")
}

func TestTimestampExpired(t *testing.T) {
	expired(t, "timestamp", "root 1, snapshot 1, targets 1, timestamp 1")
}

func TestSnapshotExpired(t *testing.T) {
	expired(t, "snapshot", "root 1, snapshot 1, targets 1, timestamp 2")
}

func TestTargetsExpired(t *testing.T) {
	expired(t, "targets", "root 1, snapshot 2, targets 1, timestamp 2")
}

func expired(t *testing.T, role, trusted string) {
	t.Helper()
	r := testrepo.New(t, testrepo.Options{})
	c := newClient(t, r)
	c.init(r.Root(1))
	c.refresh(0)
	r.Life[role] = -5 * day
	r.Touch("targets")
	r.Publish()
	c.refresh(1)
	c.trusted(trusted)
}

func TestExpiredLocalRoot(t *testing.T)      { expiredLocal(t, "root") }
func TestExpiredLocalTimestamp(t *testing.T) { expiredLocal(t, "timestamp") }

func expiredLocal(t *testing.T, role string) {
	t.Helper()
	r := testrepo.New(t, testrepo.Options{})
	r.Life[role] = 7 * day
	r.PublishRoot()
	r.Publish()
	c := newClient(t, r)
	c.init(r.Root(1))
	c.refresh(0)
	r.Life[role] = 21 * day
	r.PublishRoot()
	r.Touch("targets")
	r.Publish()
	r.Advance(18 * day)
	c.refresh(0)
	c.trusted("root 3, snapshot 3, targets 2, timestamp 3")
}

// TestRepositorySimulator stands for the suite's three tests of its own simulator: that
// ours is the honest repository that the other tests take it for, hashes included.
func TestRepositorySimulator(t *testing.T) {
	for name, o := range map[string]testrepo.Options{
		"initial state": {}, "hashes": {Hashes: true, SHA512: true}, "rotation": {Threshold: 2},
	} {
		t.Run(name, func(t *testing.T) {
			r := testrepo.New(t, o)
			r.Delegate("targets", testrepo.Delegation{Name: "role", Paths: []string{"*"}})
			r.AddTarget("role", "file", []byte("content"))
			for i := range 3 {
				for _, role := range []string{"root", "timestamp", "snapshot", "targets"} {
					r.Top[role] = testrepo.Some(fmt.Sprint(role, i), max(o.Threshold, 1), 3)
				}
				r.PublishRoot()
				r.Touch("targets")
				r.Publish()
			}
			r.Advance(time.Hour)
			c := newClient(t, r)
			c.init(r.Root(1))
			c.download(0, "file")
			c.trusted("role 1, root 4, snapshot 4, targets 4, timestamp 4")
			c.artifacts("content")
		})
	}
}
