package trust_test

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"strings"
	"testing"

	"example.com/bailiwick/internal/testrepo"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/trust"
)

// Whoever has stolen the key of a parent can list any length. It may lower the limit of a
// fetch and must not raise it: otherwise a thief of the timestamp key has clients read
// snapshots until their memory ends.
func TestListedLengthsDoNotRaiseLimits(t *testing.T) {
	std := tuf.DefaultLimits()
	for name, length := range map[string]int64{"one more": 1, "a terabyte": 1 << 40, "the largest": math.MaxInt64} {
		t.Run(name, func(t *testing.T) {
			list := func(r *testrepo.Repo, role string, limit int64) {
				r.ListEdit[role] = func(m map[string]any) { m["length"] = max(length, limit+1) }
				r.Publish()
			}
			r := testrepo.New(t, testrepo.Options{})
			r.Delegate("targets", testrepo.Delegation{Name: "role", Paths: []string{"*"}})
			list(r, "snapshot", std.SnapshotBytes)
			ts, err := begin(t, r).Done()
			if err != nil {
				t.Fatal(err)
			}
			ss, err := ts.Accept(r.Bytes("timestamp"))
			if err != nil {
				t.Fatal(err)
			}
			if w := ss.Want(); w.Limit != std.SnapshotBytes || w.Meta.Length <= std.SnapshotBytes {
				t.Errorf("snapshot: limit %d where %d is listed", w.Limit, w.Meta.Length)
			}

			r = testrepo.New(t, testrepo.Options{})
			r.Delegate("targets", testrepo.Delegation{Name: "role", Paths: []string{"*"}})
			list(r, "targets", std.TargetsBytes)
			ts, _ = begin(t, r).Done()
			ss, _ = ts.Accept(r.Bytes("timestamp"))
			tg, err := ss.Accept(r.Bytes("snapshot"))
			if err != nil {
				t.Fatal(err)
			}
			if w := tg.Want(); w.Limit != std.TargetsBytes || w.Meta.Length <= std.TargetsBytes {
				t.Errorf("targets: limit %d where %d is listed", w.Limit, w.Meta.Length)
			}

			r = testrepo.New(t, testrepo.Options{})
			r.Delegate("targets", testrepo.Delegation{Name: "role", Paths: []string{"*"}})
			list(r, "role", std.TargetsBytes)
			if w, ok := fresh(t, r).Want("role"); !ok || w.Limit != std.TargetsBytes || w.Meta.Length <= std.TargetsBytes {
				t.Errorf("a delegated role: limit %d where %d is listed", w.Limit, w.Meta.Length)
			}
		})
	}
	t.Run("lowered", func(t *testing.T) {
		r := testrepo.New(t, testrepo.Options{Hashes: true})
		ts, _ := begin(t, r).Done()
		ss, err := ts.Accept(r.Bytes("timestamp"))
		if err != nil {
			t.Fatal(err)
		}
		if w := ss.Want(); w.Limit != int64(len(r.Bytes("snapshot"))) {
			t.Errorf("limit %d where %d is listed", w.Limit, len(r.Bytes("snapshot")))
		}
	})
}

// A file that is as long as listed, and longer than the limit, is refused before anything
// looks into it, whatever the fetcher thought of the limit.
func TestListedLengthsAreHeldAgainstLimits(t *testing.T) {
	limits := trust.DefaultLimits()
	limits.Metadata.SnapshotBytes, limits.Metadata.TargetsBytes = 1500, 1500
	for role, step := range map[string]string{"snapshot": "5.5.1", "targets": "5.6.1"} {
		r := testrepo.New(t, testrepo.Options{Hashes: true})
		r.Edit[role] = func(s map[string]any) { s["x-filling"] = fmt.Sprintf("%2000d", 0) }
		r.Touch("targets")
		r.Publish()
		s, err := trust.Begin(r.Root(1), r.Now(), trust.Options{Limits: &limits})
		if err != nil {
			t.Fatal(err)
		}
		refused(t, oversized(t, r, s), trust.Length, tuf.RoleName(role), step)
	}
}

// A role that delegates to billions of bins makes a listing of a directory end at the limit
// of roles, with no more memory than that takes. So does one with more delegations than
// may be followed.
func TestListOverCountlessDelegations(t *testing.T) {
	holders := testrepo.One("role")
	bins := func(r *testrepo.Repo) {
		role := r.Delegate("targets", testrepo.Delegation{Name: "role", Paths: []string{"*"}})
		role.Succinct = map[string]any{"bit_length": 24, "keyids": []any{string(holders.Keys[0].ID())}, "name_prefix": "bin", "threshold": 1}
	}
	list := func(r *testrepo.Repo) {
		r.Delegate("targets", testrepo.Delegation{Name: "role", Paths: []string{"*"}})
		r.Edit["role"] = func(s map[string]any) {
			roles := []any{}
			for i := range 20_000 {
				roles = append(roles, map[string]any{
					"name": fmt.Sprintf("bin-%06x", i), "keyids": []any{string(holders.Keys[0].ID())}, "threshold": 1,
					"terminating": false, "paths": []any{"*"},
				})
			}
			s["delegations"] = map[string]any{"keys": map[string]any{}, "roles": roles}
		}
	}
	for name, prepare := range map[string]func(*testrepo.Repo){"bins": bins, "list": list} {
		t.Run(name, func(t *testing.T) {
			r := testrepo.New(t, testrepo.Options{})
			prepare(r)
			r.Touch("role")
			r.Publish()
			set := fresh(t, r)
			load := func(role tuf.RoleName, _ tuf.Meta) ([]byte, error) { return r.Bytes(string(role)), nil }
			if _, err := set.Delegated(load, "role"); err != nil { // from here on it lies in the cache
				t.Fatal(err)
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := set.List("", load)
			runtime.ReadMemStats(&after)
			// Bins that the snapshot does not list end the search: the first of them.
			refused(t, err, trust.Missing, "bin-000000", "5.6.7")
			if spent := after.TotalAlloc - before.TotalAlloc; spent > 16<<20 {
				t.Errorf("it took %d MiB", spent>>20)
			}
		})
	}
}

// Delegations beyond what a search may follow are left out without a difference: the limit
// is what ends it.
func TestMoreDelegationsThanMayBeFollowed(t *testing.T) {
	r := testrepo.New(t, testrepo.Options{})
	for i := range 20 {
		r.Delegate("targets", testrepo.Delegation{Name: fmt.Sprintf("r%02d", i), Paths: []string{"*"}})
	}
	r.AddTarget("r03", "low", []byte("x"))
	r.AddTarget("r17", "high", []byte("x"))
	r.Publish()
	for limit := 1; limit <= 20; limit++ {
		s, err := trust.Begin(r.Root(1), r.Now(), trust.Options{Limits: &trust.Limits{Roles: limit}})
		if err != nil {
			t.Fatal(err)
		}
		set, err := update(t, r, s)
		if err != nil {
			t.Fatal(err)
		}
		for path, at := range map[tuf.TargetPath]int{"low": 4, "high": 18} {
			found, err := set.Find(path, loader(t, r, set))
			if limit < at {
				refused(t, err, trust.Limit, tuf.RoleName(fmt.Sprintf("r%02d", limit)), "5.6.7.1")
			} else if err != nil || found.Target.Path != path {
				t.Errorf("%s with a limit of %d: %v", path, limit, err)
			}
		}
		files, err := set.List("", loader(t, r, set))
		if limit < 20 {
			refused(t, err, trust.Limit, tuf.RoleName(fmt.Sprintf("r%02d", limit)), "5.6.7.1")
		} else if err != nil || len(files) != 2 {
			t.Errorf("a listing with a limit of %d: %d files, %v", limit, len(files), err)
		}
	}
}

// What is stored or cached counts as the listed file only if it has the listed length, too,
// where no hash is listed that would say so.
func TestKeptFilesMustHaveTheListedLength(t *testing.T) {
	r := testrepo.New(t, testrepo.Options{})
	for _, role := range []string{"snapshot", "targets", "role"} {
		r.ListEdit[role] = func(m map[string]any) { m["length"] = len(r.Bytes(role)) }
	}
	r.Delegate("targets", testrepo.Delegation{Name: "role", Paths: []string{"*"}})
	r.AddTarget("role", "name", []byte("x"))
	r.Publish()
	set := fresh(t, r)
	if _, err := set.Find("name", loader(t, r, set)); err != nil {
		t.Fatal(err)
	}
	longer := func(s map[string]any) { s["x-filling"] = "x" }
	for _, role := range []string{"snapshot", "targets", "role"} {
		r.Versions[role]-- // another file of the same version
		r.Edit[role] = longer
	}
	r.Touch("targets", "role")
	r.Publish()
	rs := set.Next(r.Now())
	ts, err := rs.Done()
	if err != nil {
		t.Fatal(err)
	}
	ss, err := ts.Accept(r.Bytes("timestamp"))
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := ss.Keep(); ok {
		t.Error("a snapshot of another length was kept")
	}
	tg, err := ss.Accept(r.Bytes("snapshot"))
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := tg.Keep(); ok {
		t.Error("targets of another length were kept")
	}
	set, err = tg.Accept(r.Bytes("targets"))
	if err != nil {
		t.Fatal(err)
	}
	loaded := false
	if _, err := set.Find("name", func(tuf.RoleName, tuf.Meta) ([]byte, error) { loaded = true; return r.Bytes("role"), nil }); err != nil || !loaded {
		t.Errorf("a delegated role of another length: loaded again: %v, %v", loaded, err)
	}
}

// An older file put back into the store, as from a backup, does not lower what a running
// process already knows.
func TestStoredFilesDoNotLowerWhatIsKnown(t *testing.T) {
	r := testrepo.New(t, testrepo.Options{})
	oldTimestamp, oldSnapshot := r.Bytes("timestamp"), r.Bytes("snapshot")
	r.Touch("targets")
	r.Publish()
	replayed, between := r.Bytes("timestamp"), r.Bytes("snapshot")
	r.Touch("targets")
	r.Publish()
	set := fresh(t, r)

	ts, err := set.Next(r.Now()).Done()
	if err != nil {
		t.Fatal(err)
	}
	if err := ts.Stored(oldTimestamp); err != nil {
		t.Fatal(err)
	}
	_, err = ts.Accept(replayed)
	refused(t, err, trust.Rollback, "timestamp", "5.4.3.1")
	ss, err := ts.Keep()
	if err != nil || ss.Timestamp().Version() != set.Timestamp().Version() {
		t.Fatalf("the timestamp in force is another: %v", err)
	}

	// The same for a snapshot, where a new timestamp lists the one between.
	if err := ss.Stored(oldSnapshot); err != nil {
		t.Fatal(err)
	}
	if tg, ok := ss.Keep(); !ok || tg.Snapshot() != set.Snapshot() {
		t.Error("the snapshot in force is another")
	}
	r.Versions["snapshot"]--
	r.ListEdit["targets"] = func(m map[string]any) { m["version"] = 2 }
	r.Publish() // the snapshot has the version in force, and lists what the one between listed
	ts, _ = set.Next(r.Now()).Done()
	if ss, err = ts.Accept(r.Bytes("timestamp")); err != nil {
		t.Fatal(err)
	}
	for _, stored := range [][]byte{oldSnapshot, between} {
		if err := ss.Stored(stored); err != nil {
			t.Fatal(err)
		}
		_, err = ss.Accept(r.Bytes("snapshot"))
		refused(t, err, trust.Rollback, "snapshot", "5.5.5")
	}
}

// Delegations to roles that were visited already do not use up what may be followed.
func TestVisitedDelegationsAreNotCountedTwice(t *testing.T) {
	r := graph(
		t, arrow{"targets", "a", false, ""}, arrow{"a", "b", false, ""}, arrow{"b", "c", false, ""}, arrow{"c", "d", false, ""},
		arrow{"d", "a", false, ""}, arrow{"d", "b", false, ""}, arrow{"d", "c", false, ""}, arrow{"d", "d", false, ""}, arrow{"d", "e", false, ""}, arrow{"d", "f", false, ""},
	)
	r.AddTarget("e", "fifth", []byte("x"))
	r.AddTarget("f", "sixth", []byte("x"))
	r.Publish()
	s, err := trust.Begin(r.Root(1), r.Now(), trust.Options{Limits: &trust.Limits{Roles: 5}})
	if err != nil {
		t.Fatal(err)
	}
	set, err := update(t, r, s)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := set.Find("fifth", loader(t, r, set)); err != nil {
		t.Errorf("the fifth role lists it: %v", err)
	}
	_, err = set.Find("sixth", loader(t, r, set))
	refused(t, err, trust.Limit, "f", "5.6.7.1")
}

// A role can have patterns that take minutes to hold against one path, or moments against
// each of many. What it would take is known beforehand, and refused.
func TestSlowPatterns(t *testing.T) {
	stars := func(n int) []string { // of a kilobyte each, to be held against every byte of a path
		patterns := make([]string, n)
		for i := range patterns {
			patterns[i] = strings.Repeat("*a", 500) + fmt.Sprint("b", i)
		}
		return patterns
	}
	slow := strings.Repeat("a", 1000)
	for _, c := range []struct {
		name     string
		patterns []string
		files    int // besides the slow path
		find     bool
		list     bool
	}{
		{"few", stars(10), 5, false, false},
		{"many for one path", stars(4000), 1, true, true},
		{"enough for a folder", stars(400), 20, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := testrepo.New(t, testrepo.Options{})
			r.Delegate("targets", testrepo.Delegation{Name: "role", Paths: []string{"*"}})
			r.Delegate("role", testrepo.Delegation{Name: "slow", Paths: c.patterns})
			r.Delegate("targets", testrepo.Delegation{Name: "files", Paths: []string{"*"}})
			for i := range c.files {
				r.AddTarget("files", fmt.Sprint(slow, i), []byte("x"))
			}
			r.Publish()
			set := fresh(t, r)
			_, err := set.Find(tuf.TargetPath(slow), loader(t, r, set))
			if c.find {
				refused(t, err, trust.Limit, "role", "5.6.7.1")
			} else if !errors.Is(err, trust.ErrNotFound) {
				t.Errorf("found: %v", err)
			}
			found, err := set.List("", loader(t, r, set))
			if c.list {
				refused(t, err, trust.Limit, "role", "5.6.7.1")
			} else if len(found) != c.files || err != nil {
				t.Errorf("%d files, %v", len(found), err)
			}
		})
	}
}
