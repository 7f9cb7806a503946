package client_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"example.com/bailiwick/internal/testrepo"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/client"
	"example.com/bailiwick/tuf/trust"
)

func TestRequests(t *testing.T) {
	for _, test := range []struct {
		options       testrepo.Options
		first, second string
	}{
		{testrepo.Options{}, "2.root.json timestamp.json 1.snapshot.json 1.targets.json", "2.root.json timestamp.json 2.snapshot.json 2.targets.json"},
		{testrepo.Options{Plain: true}, "2.root.json timestamp.json snapshot.json targets.json", "2.root.json timestamp.json snapshot.json targets.json"},
	} {
		r := testrepo.New(t, test.options)
		c := open(t, r, client.NewMemory())
		requests := func() string {
			r.ResetRequests()
			refresh(t, c)
			return strings.Join(r.Requests(), " ")
		}
		if got := requests(); got != test.first {
			t.Errorf("fresh: %s", got)
		}
		if got := requests(); got != "2.root.json timestamp.json" {
			t.Errorf("nothing new: %s", got)
		}
		r.PublishTimestamp()
		if got := requests(); got != "2.root.json timestamp.json" {
			t.Errorf("a new timestamp: %s", got)
		}
		r.Touch("targets")
		r.Publish()
		if got := requests(); got != test.second {
			t.Errorf("all new: %s", got)
		}
	}
}

func TestStoresWhatWasServed(t *testing.T) {
	r := testrepo.New(t, testrepo.Options{Hashes: true})
	r.Serve("timestamp.json", append(bytes.Clone(r.Bytes("timestamp")), ' ', '\n'))
	r.PublishRoot()
	s := client.NewMemory()
	refresh(t, open(t, r, s))
	for name, want := range map[string][]byte{
		"root.json": r.Root(2), "roots/2.root.json": r.Root(2), "snapshot.json": r.Bytes("snapshot"), "targets.json": r.Bytes("targets"),
		"timestamp.json": append(bytes.Clone(r.Bytes("timestamp")), ' ', '\n'),
	} {
		if got, err := s.Load(name); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

func TestNewRefusesABadAnchor(t *testing.T) {
	r := testrepo.New(t, testrepo.Options{})
	config := client.Config{Fetcher: r, Store: client.NewMemory(), Now: r.Now}
	_, err := client.New(config)
	refused(t, err, trust.Malformed, "root")
	r.DropSignatures("root")
	config.Root = r.Root(1)
	_, err = client.New(config)
	refused(t, err, trust.Threshold, "root")
	if _, err := client.New(client.Config{}); err == nil {
		t.Error("an empty configuration was taken")
	}
	if got := r.Requests(); len(got) != 0 {
		t.Errorf("requests were made: %v", got)
	}
}

// TestRefusals plays each attack against a client that trusts version 2 of
// everything while the repository goes on to version 3, and says what is stored
// afterwards: what was accepted before the attack showed, and nothing of it.
func TestRefusals(t *testing.T) {
	publish := func(r *testrepo.Repo) {
		r.Touch("targets")
		r.Publish()
	}
	before := func(r *testrepo.Repo) { r.PublishRoot() }
	after := func(attack func(r *testrepo.Repo)) func(*testrepo.Repo) {
		return func(r *testrepo.Repo) { publish(r); attack(r) }
	}
	unreachable := &client.NetworkError{URL: "x", Err: errors.New("no route")}
	for name, test := range map[string]struct {
		attack func(r *testrepo.Repo)
		code   trust.Code // empty: a network error
		role   tuf.RoleName
		stored string
	}{
		"root unsigned":            {func(r *testrepo.Repo) { before(r); r.DropSignatures("root") }, trust.Threshold, "root", "2 2 2 2"},
		"root by an attacker":      {func(r *testrepo.Repo) { before(r); r.SwapKey("root") }, trust.Threshold, "root", "2 2 2 2"},
		"root endless":             {func(r *testrepo.Repo) { before(r); r.Endless("3.root.json") }, trust.Length, "root", "2 2 2 2"},
		"root truncated":           {func(r *testrepo.Repo) { before(r); r.Truncate("3.root.json", 50) }, trust.Malformed, "root", "2 2 2 2"},
		"root replayed":            {func(r *testrepo.Repo) { r.Serve("3.root.json", r.Root(2)) }, trust.Version, "root", "2 2 2 2"},
		"root expired":             {func(r *testrepo.Repo) { r.Life["root"] = -time.Second; r.PublishRoot(); publish(r) }, trust.Expired, "root", "3 2 2 2"},
		"root unreachable":         {func(r *testrepo.Repo) { r.Break("3.root.json", testrepo.Fault{Err: unreachable}) }, "", "root", "2 2 2 2"},
		"timestamp unsigned":       {after(func(r *testrepo.Repo) { r.DropSignatures("timestamp") }), trust.Threshold, "timestamp", "2 2 2 2"},
		"timestamp by an attacker": {after(func(r *testrepo.Repo) { r.SwapKey("timestamp") }), trust.Threshold, "timestamp", "2 2 2 2"},
		"timestamp missing":        {after(func(r *testrepo.Repo) { r.Remove("timestamp.json") }), trust.Missing, "timestamp", "2 2 2 2"},
		"timestamp endless":        {after(func(r *testrepo.Repo) { r.Endless("timestamp.json") }), trust.Length, "timestamp", "2 2 2 2"},
		"timestamp corrupt":        {after(func(r *testrepo.Repo) { r.Truncate("timestamp.json", 100) }), trust.Malformed, "timestamp", "2 2 2 2"},
		"timestamp expired":        {func(r *testrepo.Repo) { r.Life["timestamp"] = 0; publish(r) }, trust.Expired, "timestamp", "2 2 2 2"},
		"timestamp unreachable":    {after(func(r *testrepo.Repo) { r.Break("timestamp.json", testrepo.Fault{Err: unreachable}) }), "", "timestamp", "2 2 2 2"},
		"timestamp is a snapshot":  {after(func(r *testrepo.Repo) { r.Serve("timestamp.json", r.Bytes("snapshot")) }), trust.Malformed, "timestamp", "2 2 2 2"},
		"snapshot unsigned":        {after(func(r *testrepo.Repo) { r.DropSignatures("snapshot") }), trust.Threshold, "snapshot", "2 3 2 2"},
		"snapshot by an attacker":  {after(func(r *testrepo.Repo) { r.SwapKey("snapshot") }), trust.Threshold, "snapshot", "2 3 2 2"},
		"snapshot missing":         {after(func(r *testrepo.Repo) { r.Remove("3.snapshot.json") }), trust.Missing, "snapshot", "2 3 2 2"},
		"snapshot endless":         {after(func(r *testrepo.Repo) { r.Endless("3.snapshot.json") }), trust.Length, "snapshot", "2 3 2 2"},
		"snapshot expired":         {func(r *testrepo.Repo) { r.Life["snapshot"] = 0; publish(r) }, trust.Expired, "snapshot", "2 3 2 2"},
		"snapshot without content": {after(func(r *testrepo.Repo) {
			r.Serve("3.snapshot.json", []byte(`{"signatures":[],"signed":{"_type":"snapshot"}}`))
		}), trust.Malformed, "snapshot", "2 3 2 2"},
		"snapshot rolls targets back": {func(r *testrepo.Repo) {
			r.ListEdit["targets"] = func(m map[string]any) { m["version"] = 1 }
			publish(r)
		}, trust.Rollback, "snapshot", "2 3 2 2"},
		"snapshot number rolls back": {func(r *testrepo.Repo) {
			r.ListEdit["snapshot"] = func(m map[string]any) { m["version"] = 1 }
			publish(r)
		}, trust.Rollback, "timestamp", "2 2 2 2"},
		"targets unsigned":       {after(func(r *testrepo.Repo) { r.DropSignatures("targets") }), trust.Threshold, "targets", "2 3 3 2"},
		"targets by an attacker": {after(func(r *testrepo.Repo) { r.SwapKey("targets") }), trust.Threshold, "targets", "2 3 3 2"},
		"targets missing":        {after(func(r *testrepo.Repo) { r.Remove("3.targets.json") }), trust.Missing, "targets", "2 3 3 2"},
		"targets endless":        {after(func(r *testrepo.Repo) { r.Endless("3.targets.json") }), trust.Length, "targets", "2 3 3 2"},
		"targets expired":        {func(r *testrepo.Repo) { r.Life["targets"] = 0; publish(r) }, trust.Expired, "targets", "2 3 3 2"},
		"targets of another version": {func(r *testrepo.Repo) {
			r.Edit["targets"] = func(s map[string]any) { s["version"] = 9 }
			publish(r)
		}, trust.MixAndMatch, "targets", "2 3 3 2"},
	} {
		t.Run(name, func(t *testing.T) {
			r := testrepo.New(t, testrepo.Options{})
			r.PublishRoot()
			publish(r)
			s := client.NewMemory()
			c := open(t, r, s)
			refresh(t, c)
			if got := stored(t, s); got != "2 2 2 2" {
				t.Fatalf("stored %s", got)
			}
			test.attack(r)
			_, err := c.Refresh(t.Context())
			var network *client.NetworkError
			if test.code != "" {
				refused(t, err, test.code, test.role)
				if errors.As(err, &network) {
					t.Error("a refusal that looks like the network's doing")
				}
			} else if !errors.As(err, &network) {
				t.Errorf("got %v, want a network error", err)
			}
			if got := stored(t, s); got != test.stored {
				t.Errorf("stored %q afterwards, want %q", got, test.stored)
			}
			clear(r.Edit)
			clear(r.ListEdit)
			clear(r.Life)
			for _, name := range []string{"3.root.json", "timestamp.json", "3.snapshot.json", "3.targets.json"} {
				r.Break(name, testrepo.Fault{})
			}
			r.Versions["root"] = int64(test.stored[0] - '0')
			r.PublishRoot()
			publish(r)
			refresh(t, c)
			if got := stored(t, s); got[2:] != "4 4 4" && got[2:] != "3 3 3" {
				t.Errorf("after an honest refresh, stored %q", got)
			}
			refresh(t, open(t, r, s))
		})
	}
}

func TestTimestampRollback(t *testing.T) {
	r := testrepo.New(t, testrepo.Options{})
	old := r.Moment()
	r.Publish()
	s := client.NewMemory()
	refresh(t, open(t, r, s))
	now := r.Moment()
	r.Replay(old)
	_, err := open(t, r, s).Refresh(t.Context()) // another process
	refused(t, err, trust.Rollback, "timestamp")
	r.Replay(now)
	refresh(t, open(t, r, s))
}

// The same version with other content: no error, the old bytes, no request.
func TestTimestampContentChanges(t *testing.T) {
	r := testrepo.New(t, testrepo.Options{})
	s := client.NewMemory()
	c := open(t, r, s)
	refresh(t, c)
	old := r.Bytes("timestamp")
	r.PublishSnapshot()
	r.Versions["timestamp"] = 0
	r.PublishTimestamp()
	r.ResetRequests()
	refresh(t, c)
	if got, _ := s.Load("timestamp.json"); !bytes.Equal(got, old) {
		t.Error("the stored bytes changed")
	}
	if got := fmt.Sprint(r.Requests()); got != "[2.root.json timestamp.json]" {
		t.Errorf("requests %s", got)
	}
}

// An expired stored timestamp does not stand in the way.
func TestExpiredLocalFiles(t *testing.T) {
	r := testrepo.New(t, testrepo.Options{})
	for _, role := range []string{"root", "timestamp", "snapshot", "targets"} {
		r.Life[role] = time.Hour
	}
	r.PublishRoot()
	r.Touch("targets")
	r.Publish()
	s := client.NewMemory()
	refresh(t, open(t, r, s))
	r.Advance(2 * time.Hour)
	_, err := open(t, r, s).Refresh(t.Context())
	refused(t, err, trust.Expired, "root")
	r.PublishRoot()
	r.Touch("targets")
	r.Publish()
	refresh(t, open(t, r, s))
	if got := stored(t, s); got != "3 3 3 3" {
		t.Errorf("stored %s", got)
	}
}

func TestRotationDropsStoredFilesFirst(t *testing.T) {
	r := testrepo.New(t, testrepo.Options{})
	r.Versions["timestamp"], r.Versions["snapshot"], r.Versions["targets"] = 1<<60, 1<<60, 1<<60
	r.Touch("targets")
	r.Publish()
	s := &journal{Store: client.NewMemory()}
	c := open(t, r, s)
	refresh(t, c)
	r.Top["timestamp"] = testrepo.One("timestamp2")
	r.PublishRoot()
	r.PublishRoot()
	r.Versions["timestamp"], r.Versions["snapshot"], r.Versions["targets"] = 1, 1, 1
	r.Touch("targets")
	r.Publish()
	s.entries = nil
	refresh(t, c)
	want := []string{
		"remove timestamp.json", "remove snapshot.json",
		"save roots/2.root.json", "save root.json", "save roots/3.root.json", "save root.json",
		"save snapshot.json", "save targets.json", "save timestamp.json", // in any order
	}
	got := s.changes()
	slices.Sort(got[min(6, len(got)):])
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
	// The chain is walked again at each start; what it rotated is gone already.
	s.entries = nil
	refresh(t, open(t, r, s))
	for _, e := range s.changes() {
		if strings.HasPrefix(e, "remove") {
			t.Errorf("%s though nothing was rotated since", e)
		}
	}
}

// journal notes changes of a store.
type journal struct {
	client.Store
	mu      sync.Mutex // guards entries
	entries []string
}

func (j *journal) note(entry string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.entries = append(j.entries, entry)
}

func (j *journal) changes() (out []string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, e := range j.entries {
		if len(out) == 0 || out[len(out)-1] != e {
			out = append(out, e)
		}
	}
	return out
}

func (j *journal) Save(name string, data []byte) error {
	if old, err := j.Load(name); err != nil || !bytes.Equal(old, data) {
		j.note("save " + name)
	}
	return j.Store.Save(name, data)
}

func (j *journal) Remove(name string) error {
	j.note("remove " + name)
	return j.Store.Remove(name)
}

// fiveRoots is a repository with a chain of roots, and a store that has it.
func fiveRoots(t *testing.T) (*testrepo.Repo, client.Store) {
	t.Helper()
	r := testrepo.New(t, testrepo.Options{})
	for i := range 4 {
		r.Top["root"] = testrepo.One(fmt.Sprint("root-of-", i))
		r.PublishRoot()
	}
	r.Publish()
	s := client.NewMemory()
	refresh(t, open(t, r, s))
	r.ResetRequests()
	return r, s
}

// The chain from the anchor is walked out of the store.
func TestStoredRoots(t *testing.T) {
	requests := func(r *testrepo.Repo) string { return strings.Join(r.Requests(), " ") }
	t.Run("whole", func(t *testing.T) {
		r, s := fiveRoots(t)
		if v := refresh(t, open(t, r, s)); v.Set().Root().Version() != 5 {
			t.Errorf("root version %d", v.Set().Root().Version())
		}
		if got := requests(r); got != "6.root.json timestamp.json" {
			t.Errorf("requests %s", got)
		}
	})
	for name, damage := range map[string]func(client.Store) error{
		"missing":   func(s client.Store) error { return s.Remove("roots/3.root.json") },
		"truncated": func(s client.Store) error { return s.Save("roots/3.root.json", []byte(`{"sig`)) },
		"empty":     func(s client.Store) error { return s.Save("roots/3.root.json", nil) },
	} {
		t.Run(name, func(t *testing.T) {
			r, s := fiveRoots(t)
			if err := damage(s); err != nil {
				t.Fatal(err)
			}
			refresh(t, open(t, r, s))
			if got := requests(r); got != "3.root.json 4.root.json 5.root.json 6.root.json timestamp.json" {
				t.Errorf("requests %s", got)
			}
			r.ResetRequests()
			refresh(t, open(t, r, s))
			if got := requests(r); got != "6.root.json timestamp.json" {
				t.Errorf("it did not heal: requests %s", got)
			}
		})
		t.Run(name+", and the repository hides the newer ones", func(t *testing.T) {
			r, s := fiveRoots(t)
			if err := damage(s); err != nil {
				t.Fatal(err)
			}
			m := r.Moment()
			r.Remove("3.root.json")
			_, err := open(t, r, s).Refresh(t.Context())
			refused(t, err, trust.Rollback, "root")
			if got := versionOf(t, s, "root.json"); got != "5" {
				t.Errorf("root.json is at %s", got)
			}
			r.ReplayFile(m, "3.root.json")
			refresh(t, open(t, r, s))
		})
	}
	t.Run("damaged root.json stops, and says what to do", func(t *testing.T) {
		r, s := fiveRoots(t)
		if err := s.Save("root.json", []byte("{")); err != nil {
			t.Fatal(err)
		}
		_, err := open(t, r, s).Refresh(t.Context())
		var bad *client.StoreError
		if !errors.As(err, &bad) || bad.Name != "root.json" || !strings.Contains(err.Error(), "remove") {
			t.Errorf("got %v", err)
		}
		if len(r.Requests()) != 0 {
			t.Errorf("requests %s", requests(r))
		}
	})
	t.Run("root.json lost alone", func(t *testing.T) {
		r, s := fiveRoots(t)
		if err := s.Remove("root.json"); err != nil {
			t.Fatal(err)
		}
		refresh(t, open(t, r, s))
		if got := versionOf(t, s, "root.json"); got != "5" {
			t.Errorf("root.json is at %s", got)
		}
	})
}

func TestAnchorsOfOtherVersions(t *testing.T) {
	t.Run("a newer anchor", func(t *testing.T) {
		r, s := fiveRoots(t)
		r.Top["snapshot"] = testrepo.One("snapshot2")
		r.PublishRoot()
		r.Versions["timestamp"], r.Versions["snapshot"] = 0, 0
		r.Publish()
		c, err := client.New(client.Config{Fetcher: r, Store: s, Root: r.Root(6), Now: r.Now})
		if err != nil {
			t.Fatal(err)
		}
		refresh(t, c) // the rotation is seen, so lower versions are fine
		if got := stored(t, s); got != "6 1 1 1" {
			t.Errorf("stored %s", got)
		}
	})
	t.Run("a later session with the older anchor", func(t *testing.T) {
		r, s := fiveRoots(t)
		c, err := client.New(client.Config{Fetcher: r, Store: s, Root: r.Root(4), Now: r.Now})
		if err != nil {
			t.Fatal(err)
		}
		refresh(t, c)
		refresh(t, open(t, r, s))
		if got := versionOf(t, s, "root.json"); got != "5" {
			t.Errorf("root.json is at %s", got)
		}
	})
}

// Healing the chain repeats no rotation, and does not step back.
func TestStoredRootsHealInPlace(t *testing.T) {
	r := testrepo.New(t, testrepo.Options{})
	r.Top["timestamp"] = testrepo.One("timestamp2")
	r.PublishRoot()
	r.PublishRoot()
	r.Publish()
	s := &journal{Store: client.NewMemory()}
	refresh(t, open(t, r, s))
	if err := s.Store.Remove("roots/2.root.json"); err != nil {
		t.Fatal(err)
	}
	s.entries = nil
	r.Break("3.root.json", testrepo.Fault{Err: &client.NetworkError{URL: "x", Err: errors.New("no route")}})
	if err := s.Store.Remove("roots/3.root.json"); err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, r, s).Refresh(t.Context()); err == nil {
		t.Fatal("no error")
	}
	if diff := cmp.Diff([]string{"save roots/2.root.json"}, s.changes()); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
	r.Break("3.root.json", testrepo.Fault{})
	refresh(t, open(t, r, s))
	if diff := cmp.Diff([]string{"save roots/2.root.json", "save roots/3.root.json"}, s.changes()); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
}

func TestMoreRoots(t *testing.T) {
	r := testrepo.New(t, testrepo.Options{})
	for range 5 {
		r.PublishRoot()
	}
	s := client.NewMemory()
	session := func() *client.View {
		c, err := client.New(client.Config{Fetcher: r, Store: s, Root: r.Root(1), Now: r.Now, Limits: &trust.Limits{Roots: 3}})
		if err != nil {
			t.Fatal(err)
		}
		return refresh(t, c)
	}
	if v := session(); !v.MoreRoots() || v.Set().Root().Version() != 4 {
		t.Errorf("MoreRoots %v at %d", v.MoreRoots(), v.Set().Root().Version())
	}
	if v := session(); v.MoreRoots() || v.Set().Root().Version() != 6 {
		t.Errorf("MoreRoots %v at %d: stored roots must not use up the limit", v.MoreRoots(), v.Set().Root().Version())
	}
}

func TestDamagedStoreHeals(t *testing.T) {
	names := []string{"timestamp.json", "snapshot.json", "targets.json", "project.flask.json", "claimed.json"}
	for _, name := range names {
		for kind, data := range map[string][]byte{"empty": {}, "torn": []byte(`{"signatures":[{"keyid":"0`), "zeros": make([]byte, 700), "null": []byte("null"), "array": []byte("[]"), "gone": nil} {
			t.Run(name+" "+kind, func(t *testing.T) {
				r := testrepo.New(t, testrepo.Options{})
				r.Bailiwick(testrepo.Project{Name: "flask", Claimed: true, Files: map[string][]byte{"f": []byte("x")}})
				s := client.NewMemory()
				path := tuf.TargetPath(testrepo.ProjectPath("flask", "f"))
				if _, err := refresh(t, open(t, r, s)).Find(t.Context(), path); err != nil {
					t.Fatal(err)
				}
				good, err := s.Load(name)
				if err != nil {
					t.Fatal(err)
				}
				if data == nil {
					err = s.Remove(name)
				} else {
					err = s.Save(name, data)
				}
				if err != nil {
					t.Fatal(err)
				}
				if _, err := refresh(t, open(t, r, s)).Find(t.Context(), path); err != nil {
					t.Fatal(err)
				}
				if now, err := s.Load(name); err != nil || !bytes.Equal(now, good) {
					t.Errorf("it did not heal: %.40q, %v", now, err)
				}
			})
		}
	}
}

func TestStoreThatFailsIsAStoreError(t *testing.T) {
	broken := errors.New("input/output error")
	r := testrepo.New(t, testrepo.Options{})
	for _, name := range []string{"root.json", "roots/2.root.json", "timestamp.json", "snapshot.json", "targets.json"} {
		_, err := open(t, r, unreadable{client.NewMemory(), name, broken}).Refresh(t.Context())
		var bad *client.StoreError
		if !errors.As(err, &bad) || bad.Name != name || !errors.Is(err, broken) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

type unreadable struct {
	client.Store
	name string
	err  error
}

func (u unreadable) Load(name string) ([]byte, error) {
	if name == u.name {
		return nil, u.err
	}
	return u.Store.Load(name)
}

func TestOffline(t *testing.T) {
	r := testrepo.New(t, testrepo.Options{})
	r.Bailiwick(
		testrepo.Project{Name: "flask", Claimed: true, Files: map[string][]byte{"f": []byte("x")}},
		testrepo.Project{Name: "django", Claimed: true, Files: map[string][]byte{"f": []byte("x")}},
	)
	r.Life["timestamp"] = time.Hour
	r.Publish()
	s := client.NewMemory()
	_, err := open(t, r, s).Stored(t.Context())
	refused(t, err, trust.Missing, "timestamp")
	path := tuf.TargetPath(testrepo.ProjectPath("flask", "f"))
	if _, err := refresh(t, open(t, r, s)).Find(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	r.ResetRequests()
	v, err := open(t, r, s).Stored(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Find(t.Context(), path); err != nil {
		t.Errorf("what was found before: %v", err)
	}
	_, err = v.Find(t.Context(), tuf.TargetPath(testrepo.ProjectPath("django", "f")))
	refused(t, err, trust.Unavailable, tuf.RoleName("claimed-"+testrepo.Bin("django")))
	if err := s.Save("project.flask.json", []byte("{")); err != nil {
		t.Fatal(err)
	}
	v, err = open(t, r, s).Stored(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, err = v.Find(t.Context(), path)
	refused(t, err, trust.Unavailable, "project.flask")
	if got := r.Requests(); len(got) != 0 {
		t.Errorf("requests were made: %v", got)
	}
	r.Advance(2 * time.Hour)
	_, err = open(t, r, s).Stored(t.Context())
	refused(t, err, trust.Expired, "timestamp")
	r.Publish()
	refresh(t, open(t, r, s))
}

func TestUnusualRoleNames(t *testing.T) {
	for _, name := range []string{"?", "#", "/x", "../x", "..", "a b", "ü", "Root2", "%2e", strings.Repeat("long", 60), "con:"} {
		r := testrepo.New(t, testrepo.Options{})
		r.Delegate("targets", testrepo.Delegation{Name: name, Paths: []string{"*"}})
		r.AddTarget(name, "f", []byte("x"))
		r.Publish()
		s := &journal{Store: client.NewMemory()}
		if _, err := refresh(t, open(t, r, s)).Find(t.Context(), "f"); err != nil {
			t.Errorf("%q: %v", name, err)
		}
		if len(s.entries) != 5 { // root, timestamp, snapshot, targets, the role
			t.Errorf("%q: %v", name, s.entries)
		}
		if got := r.Requests(); got[len(got)-1] != "1."+name+".json" {
			t.Errorf("%q: requests %v", name, got)
		}
	}
}

func TestLockIsReleased(t *testing.T) {
	r := testrepo.New(t, testrepo.Options{})
	s := client.NewMemory()
	c := open(t, r, s)
	r.Remove("timestamp.json")
	if _, err := c.Refresh(t.Context()); err == nil {
		t.Fatal("no error")
	}
	unlock, err := s.Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	unlock()
	if _, err := s.Load("nothing.json"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}
