package trust_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"example.com/bailiwick/internal/testrepo"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/trust"
)

func TestFileNames(t *testing.T) {
	for _, test := range []struct {
		role       tuf.RoleName
		version    int64
		consistent bool
		want       string
	}{
		{"root", 3, true, "3.root.json"},
		{"root", 3, false, "3.root.json"},
		{"timestamp", 3, true, "timestamp.json"},
		{"timestamp", 0, false, "timestamp.json"},
		{"snapshot", 3, true, "3.snapshot.json"},
		{"snapshot", 3, false, "snapshot.json"},
		{"project.flask", 12, true, "12.project.flask.json"},
		{"../x", 12, false, "../x.json"},
	} {
		if got := trust.FileName(test.role, test.version, test.consistent); got != test.want {
			t.Errorf("FileName(%q, %d, %v) = %q, want %q", test.role, test.version, test.consistent, got, test.want)
		}
	}
}

func TestHonestUpdate(t *testing.T) {
	for _, o := range []testrepo.Options{{}, {Plain: true}, {Hashes: true}, {Plain: true, Hashes: true}, {Threshold: 3}} {
		t.Run(fmt.Sprintf("%+v", o), func(t *testing.T) {
			r := testrepo.New(t, o)
			set := fresh(t, r)
			for role, got := range map[string][]byte{
				"root": set.Root().Bytes(), "timestamp": set.Timestamp().Bytes(),
				"snapshot": set.Snapshot().Bytes(), "targets": set.Targets().Bytes(),
			} {
				if !bytes.Equal(got, r.Bytes(role)) {
					t.Errorf("%s: the bytes are not those that were served", role)
				}
			}
			r.AddTarget("targets", "a", []byte("a"))
			r.PublishRoot()
			r.Publish()
			set = next(t, r, set)
			if set.Root().Version() != 2 || set.Timestamp().Version() != 2 || set.Snapshot().Version() != 2 || set.Targets().Version() != 2 {
				t.Errorf("versions %d %d %d %d, want all 2", set.Root().Version(), set.Timestamp().Version(), set.Snapshot().Version(), set.Targets().Version())
			}
		})
	}
}

func TestNothingNewKeepsEverything(t *testing.T) {
	r := testrepo.New(t, testrepo.Options{})
	set := fresh(t, r)
	r.ResetRequests()
	again := next(t, r, set)
	if again.Targets() != set.Targets() || again.Snapshot() != set.Snapshot() || again.Timestamp() != set.Timestamp() {
		t.Error("what did not change was parsed again")
	}
	if got := fmt.Sprint(r.Requests()); got != "[2.root.json timestamp.json]" {
		t.Errorf("requests %s", got)
	}
}

// 5.2
func TestInitialRoot(t *testing.T) {
	r := testrepo.New(t, testrepo.Options{Threshold: 2})
	try := func(data []byte) error {
		_, err := trust.Begin(data, r.Now(), trust.Options{})
		return err
	}
	t.Run("unsigned", func(t *testing.T) {
		r.DropSignatures("root")
		refused(t, try(r.Root(1)), trust.Threshold, "root", "5.2")
	})
	t.Run("below its threshold", func(t *testing.T) {
		r.SignOnly("root", r.Top["root"].Keys[0])
		refused(t, try(r.Root(1)), trust.Threshold, "root", "5.2")
	})
	t.Run("malformed", func(t *testing.T) { refused(t, try([]byte(`{"signed":{}`)), trust.Malformed, "root", "4.3") })
	t.Run("nothing", func(t *testing.T) { refused(t, try(nil), trust.Malformed, "root", "4.3") })
	t.Run("too long", func(t *testing.T) {
		refused(t, try(make([]byte, 1<<20)), trust.Length, "root", "5.2")
	})
	t.Run("expired", func(t *testing.T) {
		r.Restore("root")
		r.Advance(10 * 365 * 24 * time.Hour)
		if err := try(r.Root(1)); err != nil {
			t.Errorf("the anchor may be expired: %v", err)
		}
	})
}

// 4.3
func TestMalformed(t *testing.T) {
	for _, role := range []string{"root", "timestamp", "snapshot", "targets"} {
		for name, test := range map[string]struct {
			edit func(map[string]any)
			code trust.Code
		}{
			"no version":  {func(s map[string]any) { delete(s, "version") }, trust.Malformed},
			"version 0":   {func(s map[string]any) { s["version"] = 0 }, trust.Malformed},
			"wrong type":  {func(s map[string]any) { s["_type"] = "mirrors" }, trust.Malformed},
			"no expires":  {func(s map[string]any) { delete(s, "expires") }, trust.Malformed},
			"spec 2":      {func(s map[string]any) { s["spec_version"] = "2.0.0" }, trust.Unsupported},
			"spec absent": {func(s map[string]any) { delete(s, "spec_version") }, trust.Malformed},
		} {
			t.Run(role+" "+name, func(t *testing.T) {
				r := testrepo.New(t, testrepo.Options{})
				set := fresh(t, r)
				r.Edit[role] = test.edit
				if role == "root" {
					r.PublishRoot()
				}
				r.Touch("targets")
				r.Publish()
				_, err := update(t, r, set.Next(r.Now()))
				refused(t, err, test.code, tuf.RoleName(role), "4.3")
			})
		}
	}
}

func TestWrongTypeIsRefusedThoughSigned(t *testing.T) {
	r := testrepo.New(t, testrepo.Options{})
	r.Top["timestamp"] = r.Top["snapshot"]
	r.PublishRoot()
	r.Publish()
	r.Serve("timestamp.json", r.Bytes("snapshot"))
	_, err := update(t, r, begin(t, r))
	refused(t, err, trust.Malformed, "timestamp", "4.3")
}

// 5.3.3
func TestRootLimit(t *testing.T) {
	r := testrepo.New(t, testrepo.Options{})
	for range 5 {
		r.PublishRoot()
	}
	limits := trust.DefaultLimits()
	limits.Roots = 3
	s, err := trust.Begin(r.Root(1), r.Now(), trust.Options{Limits: &limits})
	if err != nil {
		t.Fatal(err)
	}
	set, err := update(t, r, s)
	if err != nil {
		t.Fatalf("at the limit, the update goes on with what it has: %v", err)
	}
	if got := set.Root().Version(); got != 4 {
		t.Fatalf("root version %d after 3 steps, want 4", got)
	}
	if _, ok := s.Want(); ok {
		t.Error("a fourth root is asked for")
	}
	_, err = s.Accept(r.Root(5))
	refused(t, err, trust.Limit, "root", "5.3.3")
	again := set.Next(r.Now())
	if set, err = update(t, r, again); err != nil || set.Root().Version() != 6 {
		t.Errorf("the next update must follow the rest: %v", err)
	}
}

// 5.3.4
func TestRootRotations(t *testing.T) {
	type step struct {
		threshold int
		keys      []int
		signers   []int
	}
	key := func(i int) testrepo.Key { return testrepo.NewKey(fmt.Sprintf("rotating-%d", i)) }
	keys := func(is []int) (out []testrepo.Key) {
		for _, i := range is {
			out = append(out, key(i))
		}
		return out
	}
	for name, test := range map[string]struct {
		steps []step // the first is the anchor
		good  int64  // version at which the chain ends
		fails bool
	}{
		"1-of-1":                                  {[]step{{1, []int{1}, []int{1}}}, 1, false},
		"1-of-1, unsigned":                        {[]step{{1, []int{1}, []int{1}}, {1, []int{1}, nil}}, 1, true},
		"1-of-1, wrong key":                       {[]step{{1, []int{1}, []int{1}}, {1, []int{1}, []int{2}}}, 1, true},
		"rotate 1 to 2":                           {[]step{{1, []int{1}, []int{1}}, {1, []int{2}, []int{2, 1}}}, 2, false},
		"rotate 1 to 2 and on":                    {[]step{{1, []int{1}, []int{1}}, {1, []int{2}, []int{2, 1}}, {1, []int{2}, []int{2}}}, 3, false},
		"rotate without the old key":              {[]step{{1, []int{1}, []int{1}}, {1, []int{2}, []int{2}}}, 1, true},
		"rotate without the new key":              {[]step{{1, []int{1}, []int{1}}, {1, []int{2}, []int{1}}}, 1, true},
		"the old key comes back unasked":          {[]step{{1, []int{1}, []int{1}}, {1, []int{2}, []int{2, 1}}, {1, []int{2}, []int{1}}}, 2, true},
		"2-of-3 rotate one":                       {[]step{{2, []int{1, 2, 3}, []int{1, 2}}, {2, []int{1, 2, 4}, []int{1, 2}}}, 2, false},
		"2-of-3 rotate two":                       {[]step{{2, []int{1, 2, 3}, []int{1, 2}}, {2, []int{1, 4, 5}, []int{1, 2, 4}}}, 2, false},
		"2-of-3 rotate all":                       {[]step{{2, []int{1, 2, 3}, []int{1, 2}}, {2, []int{4, 5, 6}, []int{1, 2, 4, 5}}}, 2, false},
		"2-of-3 rotate all, too few old":          {[]step{{2, []int{1, 2, 3}, []int{1, 2}}, {2, []int{4, 5, 6}, []int{1, 4, 5}}}, 1, true},
		"2-of-3 rotate all, too few new":          {[]step{{2, []int{1, 2, 3}, []int{1, 2}}, {2, []int{4, 5, 6}, []int{1, 2, 4}}}, 1, true},
		"raise the threshold":                     {[]step{{1, []int{1, 2}, []int{1}}, {2, []int{1, 2}, []int{1, 2}}}, 2, false},
		"raise the threshold, too few":            {[]step{{1, []int{1, 2}, []int{1}}, {2, []int{1, 2}, []int{1}}}, 1, true},
		"lower the threshold":                     {[]step{{2, []int{1, 2}, []int{1, 2}}, {1, []int{1, 2}, []int{1, 2}}, {1, []int{1, 2}, []int{2}}}, 3, false},
		"lower the threshold, too few of the old": {[]step{{2, []int{1, 2}, []int{1, 2}}, {1, []int{1, 2}, []int{1}}}, 1, true},
	} {
		t.Run(name, func(t *testing.T) {
			r := testrepo.New(t, testrepo.Options{})
			delete(r.Versions, "root") // begin the chain anew
			for _, s := range test.steps {
				r.Top["root"] = testrepo.Holders{Keys: keys(s.keys), Threshold: s.threshold}
				r.SignWith["root"] = keys(s.signers)
				r.PublishRoot()
			}
			stage := begin(t, r)
			set, err := update(t, r, stage)
			if test.fails {
				refused(t, err, trust.Threshold, "root", "5.3.4")
			} else if err != nil {
				t.Fatal(err)
			} else if set.Root() != stage.Root() {
				t.Error("the set has another root")
			}
			if got := stage.Root().Version(); got != test.good {
				t.Errorf("the chain ends at version %d, want %d", got, test.good)
			}
		})
	}
}

// 5.3.5
func TestRootVersion(t *testing.T) {
	for name, v := range map[string]int64{"skipped": 3, "repeated": 1, "far": 1 << 40} {
		t.Run(name, func(t *testing.T) {
			r := testrepo.New(t, testrepo.Options{})
			r.Edit["root"] = func(s map[string]any) { s["version"] = v }
			r.PublishRoot()
			stage := begin(t, r)
			_, err := stage.Accept(r.Bytes("root"))
			refused(t, err, trust.Version, "root", "5.3.5")
			delete(r.Edit, "root")
			r.Versions["root"] = 1
			r.PublishRoot()
			if _, err := update(t, r, stage); err != nil || stage.Root().Version() != 2 {
				t.Errorf("an honest root afterwards: %v", err)
			}
		})
	}
}

// 5.3.6
func TestIntermediateRootExpired(t *testing.T) {
	r := testrepo.New(t, testrepo.Options{})
	r.Life["root"] = -time.Hour
	r.PublishRoot()
	delete(r.Life, "root")
	r.PublishRoot()
	if set := fresh(t, r); set.Root().Version() != 3 {
		t.Errorf("root version %d", set.Root().Version())
	}
}

// 5.3.10, 5.4.4, 5.5.6, 5.6.5: the last second counts, and expiry at the start is expiry.
func TestExpired(t *testing.T) {
	for role, step := range map[string]string{"root": "5.3.10", "timestamp": "5.4.4", "snapshot": "5.5.6", "targets": "5.6.5", "delegated": "5.6.5"} {
		for _, life := range []time.Duration{-time.Hour, 0, time.Second} {
			t.Run(fmt.Sprint(role, " ", life), func(t *testing.T) {
				r := testrepo.New(t, testrepo.Options{})
				r.Delegate("targets", testrepo.Delegation{Name: "delegated", Paths: []string{"*"}})
				r.AddTarget("delegated", "a", []byte("a"))
				r.Life[role] = life
				if role == "root" {
					r.PublishRoot()
				}
				r.Publish()
				set, err := update(t, r, begin(t, r))
				if err == nil {
					_, err = set.Find("a", loader(t, r, set))
				}
				if life > 0 {
					if err != nil {
						t.Fatalf("a second before it expires: %v", err)
					}
					return
				}
				refused(t, err, trust.Expired, tuf.RoleName(role), step)
				r.Life[role] = time.Hour
				if role == "root" {
					r.PublishRoot()
				}
				r.Touch("targets", "delegated")
				r.Publish()
				fresh(t, r)
			})
		}
	}
}

// 5.1: what expires during an update was valid at its start, and stays so.
func TestOneStartTime(t *testing.T) {
	r := testrepo.New(t, testrepo.Options{})
	for _, role := range []string{"timestamp", "snapshot", "targets", "delegated"} {
		r.Life[role] = time.Minute
	}
	r.Delegate("targets", testrepo.Delegation{Name: "delegated", Paths: []string{"*"}})
	r.AddTarget("delegated", "a", []byte("a"))
	r.Touch("targets")
	r.Publish()
	s := begin(t, r)
	r.Advance(time.Hour)
	set, err := update(t, r, s)
	if err != nil {
		t.Fatalf("held against the start: %v", err)
	}
	if _, err := set.Find("a", loader(t, r, set)); err != nil {
		t.Fatalf("searches, too, are held against the start: %v", err)
	}
	if want := testrepo.Start().Add(time.Minute); !set.Expires().Equal(want) || !set.Start().Equal(testrepo.Start()) {
		t.Errorf("Expires %v, want %v; Start %v", set.Expires(), want, set.Start())
	}
	_, err = update(t, r, set.Next(r.Now()))
	refused(t, err, trust.Expired, "timestamp", "5.4.4")
}

// 5.3.11
func TestFastForwardRecovery(t *testing.T) {
	for name, rotate := range map[string]func(r *testrepo.Repo){
		"timestamp key": func(r *testrepo.Repo) { r.Top["timestamp"] = testrepo.One("t2") },
		"snapshot key":  func(r *testrepo.Repo) { r.Top["snapshot"] = testrepo.One("s2") },
		"one more key":  func(r *testrepo.Repo) { r.Top["snapshot"] = testrepo.Some("snapshot", 1, 2) },
		"threshold": func(r *testrepo.Repo) {
			r.Top["timestamp"] = testrepo.Some("timestamp", 2, 2)
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := testrepo.New(t, testrepo.Options{})
			for role := range r.Top {
				if role != "root" {
					r.Versions[role] = 1 << 60
				}
			}
			r.Touch("targets")
			r.Publish()
			set := fresh(t, r)
			for role := range r.Top {
				if role != "root" {
					r.Versions[role] = 1
				}
			}
			r.Touch("targets")
			r.Publish()
			_, err := update(t, r, set.Next(r.Now()))
			refused(t, err, trust.Rollback, "timestamp", "5.4.3.1")
			rotate(r)
			r.PublishRoot()
			stage := set.Next(r.Now())
			rotated, err := stage.Accept(r.Root(2))
			if err != nil || !rotated {
				t.Fatalf("rotated %v, %v", rotated, err)
			}
			r.Publish()
			if set = next(t, r, set); set.Timestamp().Version() > 9 || set.Snapshot().Version() > 9 || set.Targets().Version() > 9 {
				t.Error("did not recover")
			}
		})
	}
	t.Run("other roles do not count", func(t *testing.T) {
		r := testrepo.New(t, testrepo.Options{})
		r.Top["targets"], r.Top["root"] = testrepo.One("x"), testrepo.One("y")
		r.PublishRoot()
		if rotated, err := begin(t, r).Accept(r.Root(2)); err != nil || rotated {
			t.Errorf("rotated %v, %v", rotated, err)
		}
	})
}

// 5.4.1, 5.5.1, 5.6.1
func TestLengths(t *testing.T) {
	limits := trust.DefaultLimits()
	limits.Metadata.TimestampBytes, limits.Metadata.SnapshotBytes, limits.Metadata.TargetsBytes = 1500, 1500, 1500
	long := func(s map[string]any) { s["x-filling"] = string(bytes.Repeat([]byte("x"), 2000)) }
	for role, step := range map[string]string{"timestamp": "5.4.1", "snapshot": "5.5.1", "targets": "5.6.1"} {
		t.Run(role, func(t *testing.T) {
			r := testrepo.New(t, testrepo.Options{})
			r.Edit[role] = long
			r.Touch("targets")
			r.Publish()
			o := trust.Options{Limits: &limits}
			s, err := trust.Begin(r.Root(1), r.Now(), o)
			if err != nil {
				t.Fatal(err)
			}
			err = oversized(t, r, s)
			refused(t, err, trust.Length, tuf.RoleName(role), step)
			delete(r.Edit, role)
			r.Touch("targets")
			r.Publish()
			if _, err := update(t, r, s); err != nil {
				t.Errorf("an honest update afterwards: %v", err)
			}
		})
	}
	t.Run("listed", func(t *testing.T) {
		r := testrepo.New(t, testrepo.Options{})
		r.ListEdit["targets"] = func(m map[string]any) { m["length"] = len(r.Bytes("targets")) + 1 }
		r.Publish()
		_, err := update(t, r, begin(t, r))
		refused(t, err, trust.Length, "targets", "5.6.1")
	})
}

// oversized is update by a fetcher that does not keep to limits.
func oversized(t *testing.T, r *testrepo.Repo, s *trust.RootStage) error {
	t.Helper()
	ts, err := s.Done()
	if err != nil {
		return err
	}
	ss, err := ts.Accept(r.Bytes("timestamp"))
	if err != nil {
		return err
	}
	tg, err := ss.Accept(r.Bytes("snapshot"))
	if err != nil {
		return err
	}
	_, err = tg.Accept(r.Bytes("targets"))
	return err
}

// 5.4.2, 5.5.3, 5.6.3
func TestThresholds(t *testing.T) {
	for role, step := range map[string]string{"timestamp": "5.4.2", "snapshot": "5.5.3", "targets": "5.6.3"} {
		for name, attack := range map[string]func(r *testrepo.Repo){
			"unsigned":     func(r *testrepo.Repo) { r.DropSignatures(role) },
			"attacker":     func(r *testrepo.Repo) { r.SwapKey(role) },
			"one too few":  func(r *testrepo.Repo) { r.SignOnly(role, r.Top[role].Keys[:2]...) },
			"another role": func(r *testrepo.Repo) { r.SignOnly(role, r.Top["root"].Keys...) },
		} {
			t.Run(role+" "+name, func(t *testing.T) {
				r := testrepo.New(t, testrepo.Options{Threshold: 3})
				attack(r)
				s := begin(t, r)
				_, err := update(t, r, s)
				refused(t, err, trust.Threshold, tuf.RoleName(role), step)
				r.Restore(role)
				if _, err := update(t, r, s); err != nil {
					t.Errorf("an honest update afterwards: %v", err)
				}
			})
		}
	}
	t.Run("more keys than the threshold needs", func(t *testing.T) {
		r := testrepo.New(t, testrepo.Options{})
		r.Top["timestamp"] = testrepo.Some("timestamp", 2, 4)
		r.SignWith["timestamp"] = []testrepo.Key{testrepo.NewKey("stranger"), r.Top["timestamp"].Keys[3], r.Top["timestamp"].Keys[1]}
		r.PublishRoot()
		r.Publish()
		fresh(t, r)
	})
	t.Run("a threshold that the keys cannot reach", func(t *testing.T) {
		r := testrepo.New(t, testrepo.Options{})
		r.Top["snapshot"] = testrepo.Some("snapshot", 5, 2)
		r.PublishRoot()
		r.Publish()
		s := begin(t, r)
		_, err := update(t, r, s)
		refused(t, err, trust.Threshold, "snapshot", "5.5.3")
		if s.Root().Version() != 2 {
			t.Error("the root itself is fine")
		}
	})
	t.Run("one key under two ids", func(t *testing.T) {
		r := testrepo.New(t, testrepo.Options{})
		twin := testrepo.NewKey("timestamp-1")
		twin.Object["x-note"] = "the same key with another id"
		r.Top["timestamp"] = testrepo.Holders{Keys: []testrepo.Key{testrepo.NewKey("timestamp-1"), twin}, Threshold: 2}
		r.PublishRoot()
		r.Publish()
		_, err := update(t, r, begin(t, r))
		refused(t, err, trust.Threshold, "timestamp", "5.4.2")
	})
}

// 5.4.3.1
func TestTimestampRollback(t *testing.T) {
	r := testrepo.New(t, testrepo.Options{})
	old := r.Moment()
	r.Publish()
	set := fresh(t, r)
	honest := r.Moment()
	r.ReplayFile(old, "timestamp.json")
	s := set.Next(r.Now())
	_, err := update(t, r, s)
	refused(t, err, trust.Rollback, "timestamp", "5.4.3.1")
	r.Replay(honest)
	if _, err := update(t, r, s); err != nil {
		t.Errorf("an honest update afterwards: %v", err)
	}
}

// An equal version changes nothing, whatever it holds, and the stored one must
// not be expired.
func TestEqualTimestampKeepsTheOldBytes(t *testing.T) {
	r := testrepo.New(t, testrepo.Options{})
	r.Life["timestamp"] = time.Hour
	r.PublishTimestamp()
	set := fresh(t, r)
	r.PublishSnapshot()
	r.Versions["timestamp"]--
	r.Life["timestamp"] = 24 * time.Hour
	r.PublishTimestamp()
	again := next(t, r, set)
	if !bytes.Equal(again.Timestamp().Bytes(), set.Timestamp().Bytes()) || again.Snapshot().Version() != set.Snapshot().Version() {
		t.Error("the new bytes of an old version were taken")
	}
	r.Advance(2 * time.Hour)
	_, err := update(t, r, set.Next(r.Now()))
	refused(t, err, trust.Expired, "timestamp", "5.4.4")
}

// An expired timestamp still protects its successor.
func TestExpiredStoredTimestampProtects(t *testing.T) {
	r := testrepo.New(t, testrepo.Options{})
	first := r.Bytes("timestamp")
	r.Life["timestamp"] = time.Hour
	r.PublishTimestamp()
	stored := r.Bytes("timestamp")
	r.Advance(2 * time.Hour)
	ts, err := begin(t, r).Done()
	if err != nil {
		t.Fatal(err)
	}
	if err := ts.Stored(stored); err != nil {
		t.Fatalf("expired, and still good for this: %v", err)
	}
	_, err = ts.Keep()
	refused(t, err, trust.Expired, "timestamp", "5.4.4")
	_, err = ts.Accept(first)
	refused(t, err, trust.Rollback, "timestamp", "5.4.3.1")
	r.PublishTimestamp()
	if _, err := ts.Accept(r.Bytes("timestamp")); err != nil {
		t.Errorf("its successor: %v", err)
	}
}

func TestDamagedStoredFilesAreNone(t *testing.T) {
	r := testrepo.New(t, testrepo.Options{})
	junk := [][]byte{{}, []byte("{}"), []byte("null"), []byte("\x00\x00"), r.Root(1)}
	for _, data := range junk {
		ts, err := begin(t, r).Done()
		if err != nil {
			t.Fatal(err)
		}
		if ts.Stored(data) == nil {
			t.Errorf("%.10q was taken for a timestamp", data)
		}
		_, err = ts.Keep()
		refused(t, err, trust.Missing, "timestamp", "5.4")
		ss, err := ts.Accept(r.Bytes("timestamp"))
		if err != nil {
			t.Fatal(err)
		}
		if ss.Stored(data) == nil {
			t.Errorf("%.10q was taken for a snapshot", data)
		}
		if _, ok := ss.Keep(); ok {
			t.Error("kept no snapshot")
		}
		tg, err := ss.Accept(r.Bytes("snapshot"))
		if err != nil {
			t.Fatal(err)
		}
		if tg.Stored(data) == nil {
			t.Errorf("%.10q was taken for targets", data)
		}
		if _, ok := tg.Keep(); ok {
			t.Error("kept no targets")
		}
	}
}

// 5.4.3.2
func TestPinnedSnapshotRollback(t *testing.T) {
	for _, hashes := range []bool{false, true} {
		r := testrepo.New(t, testrepo.Options{Hashes: hashes})
		r.Publish()
		set := fresh(t, r)
		r.Versions["snapshot"] = 0
		r.Publish()
		_, err := update(t, r, set.Next(r.Now()))
		refused(t, err, trust.Rollback, "timestamp", "5.4.3.2")
		r.Versions["snapshot"] = 7
		r.Publish()
		next(t, r, set)
	}
}

// 5.5.2, 5.6.2: before anything parses the bytes.
func TestListedHashes(t *testing.T) {
	for role, step := range map[string]string{"snapshot": "5.5.2", "targets": "5.6.2", "delegated": "5.6.2"} {
		for name, test := range map[string]struct {
			hashes map[string]any
			code   trust.Code
		}{
			"wrong":           {map[string]any{"sha256": "00000000000000000000000000000000000000000000000000000000000000aa"}, trust.Hash},
			"unknown":         {map[string]any{"md5": "00000000000000000000000000000000"}, trust.Unsupported},
			"none in the set": {map[string]any{}, trust.Malformed},
		} {
			t.Run(role+" "+name, func(t *testing.T) {
				r := testrepo.New(t, testrepo.Options{Hashes: true})
				r.Delegate("targets", testrepo.Delegation{Name: "delegated", Paths: []string{"*"}})
				r.ListEdit[role] = func(m map[string]any) { m["hashes"] = test.hashes }
				r.Publish()
				set, err := update(t, r, begin(t, r))
				if err == nil {
					_, err = set.Find("a", loader(t, r, set))
				}
				if test.code == trust.Malformed { // the lister itself is
					lister := map[string]tuf.RoleName{"snapshot": "timestamp", "targets": "snapshot", "delegated": "snapshot"}[role]
					refused(t, err, test.code, lister, "4.3")
					return
				}
				refused(t, err, test.code, tuf.RoleName(role), step)
			})
		}
	}
}

// A stored snapshot of the listed version with another hash is fetched again.
func TestStoredSnapshotMustHaveTheListedHash(t *testing.T) {
	r := testrepo.New(t, testrepo.Options{Hashes: true})
	stored := r.Bytes("snapshot")
	r.Versions["snapshot"]--
	r.Life["snapshot"] = time.Hour
	r.PublishSnapshot()
	r.PublishTimestamp()
	ts, err := begin(t, r).Done()
	if err != nil {
		t.Fatal(err)
	}
	ss, err := ts.Accept(r.Bytes("timestamp"))
	if err != nil {
		t.Fatal(err)
	}
	if err := ss.Stored(stored); err != nil {
		t.Fatal(err)
	}
	if _, ok := ss.Keep(); ok {
		t.Fatal("kept a snapshot with another hash")
	}
	if _, err := ss.Accept(r.Bytes("snapshot")); err != nil {
		t.Errorf("the listed one: %v", err)
	}
}

// Likewise stored targets.
func TestStoredTargetsMustHaveTheListedHash(t *testing.T) {
	r := testrepo.New(t, testrepo.Options{Hashes: true})
	set := fresh(t, r)
	r.Versions["targets"]--
	r.AddTarget("targets", "name", []byte("x"))
	r.Publish()
	set = next(t, r, set)
	if _, err := set.Find("name", nil); err != nil {
		t.Errorf("the listed one was not taken: %v", err)
	}
}

// 5.5.4, 5.6.4
func TestMixAndMatch(t *testing.T) {
	for role, step := range map[string]string{"snapshot": "5.5.4", "targets": "5.6.4", "delegated": "5.6.4"} {
		t.Run(role, func(t *testing.T) {
			r := testrepo.New(t, testrepo.Options{})
			r.Delegate("targets", testrepo.Delegation{Name: "delegated", Paths: []string{"*"}})
			r.Publish()
			old := r.Bytes(role)
			r.AddTarget("delegated", "a", []byte("a"))
			r.Touch("targets")
			r.Publish()
			r.Serve(r.FileName(role), old)
			set, err := update(t, r, begin(t, r))
			if err == nil {
				_, err = set.Find("a", loader(t, r, set))
			}
			refused(t, err, trust.MixAndMatch, tuf.RoleName(role), step)
			r.Restore(role)
			set = fresh(t, r)
			if _, err = set.Find("a", loader(t, r, set)); err != nil {
				t.Errorf("an honest update afterwards: %v", err)
			}
		})
	}
}

// 5.5.5
func TestSnapshotRollback(t *testing.T) {
	setup := func(t *testing.T) (*testrepo.Repo, *trust.Set) {
		r := testrepo.New(t, testrepo.Options{})
		for _, name := range []string{"a", "b", "z"} {
			r.Delegate("targets", testrepo.Delegation{Name: name, Paths: []string{"*"}})
		}
		r.Publish()
		r.Touch("a", "b", "z", "targets")
		r.Publish()
		return r, fresh(t, r)
	}
	for _, role := range []string{"a", "b", "z", "targets"} {
		t.Run(role+" older", func(t *testing.T) {
			r, set := setup(t)
			r.ListEdit[role] = func(m map[string]any) { m["version"] = r.Versions[role] - 1 }
			r.Publish()
			s := set.Next(r.Now())
			_, err := update(t, r, s)
			refused(t, err, trust.Rollback, "snapshot", "5.5.5")
			delete(r.ListEdit, role)
			r.Publish()
			if _, err := update(t, r, s); err != nil {
				t.Errorf("an honest update afterwards: %v", err)
			}
		})
		if role == "targets" {
			continue
		}
		t.Run(role+" removed", func(t *testing.T) {
			r, set := setup(t)
			r.Unlisted[role] = true
			r.Publish()
			_, err := update(t, r, set.Next(r.Now()))
			refused(t, err, trust.Rollback, "snapshot", "5.5.5")
			delete(r.Unlisted, role)
			r.Delegate("targets", testrepo.Delegation{Name: "new-" + role, Paths: []string{"*"}})
			r.Publish()
			next(t, r, set)
		})
	}
	t.Run("the snapshot itself, with no timestamp left", func(t *testing.T) {
		r := testrepo.New(t, testrepo.Options{})
		old := r.Moment()
		r.Publish()
		stored := r.Bytes("snapshot")
		r.Replay(old)
		ts, err := begin(t, r).Done()
		if err != nil {
			t.Fatal(err)
		}
		ss, err := ts.Accept(r.Bytes("timestamp"))
		if err != nil {
			t.Fatal(err)
		}
		if err := ss.Stored(stored); err != nil {
			t.Fatal(err)
		}
		_, err = ss.Accept(r.Bytes("snapshot"))
		refused(t, err, trust.Rollback, "snapshot", "5.5.5")
	})
}

// The root may change who signs targets without changing targets' version.
func TestKeptTargetsAreHeldAgainstTheNewRoot(t *testing.T) {
	r := testrepo.New(t, testrepo.Options{})
	set := fresh(t, r)
	r.Top["targets"] = testrepo.One("new")
	r.PublishRoot()
	_, err := update(t, r, set.Next(r.Now()))
	refused(t, err, trust.Threshold, "targets", "5.6.3")
	r.Touch("targets")
	r.Publish()
	next(t, r, set)
}

func TestSetsDoNotChange(t *testing.T) {
	r := testrepo.New(t, testrepo.Options{})
	set := fresh(t, r)
	r.Top["timestamp"] = testrepo.One("other")
	r.PublishRoot()
	r.Touch("targets")
	r.Publish()
	next(t, r, set)
	if set.Root().Version() != 1 || set.Timestamp().Version() != 1 || set.Targets().Version() != 1 {
		t.Error("an update changed the set before it")
	}
}

// A role's name is the repository's word, and a message with it goes to terminals and logs.
func TestRefusalsQuoteNames(t *testing.T) {
	for name, want := range map[tuf.RoleName]string{
		"role":         "refused role (missing, TUF 5.6.7): why",
		"größe":        "refused größe (missing, TUF 5.6.7): why",
		"a\nrefused b": `refused "a\nrefused b" (missing, TUF 5.6.7): why`,
		"\x1b[2J":      `refused "\x1b[2J" (missing, TUF 5.6.7): why`,
		"\u009b2J":     `refused "\u009b2J" (missing, TUF 5.6.7): why`,
		"a\u202eb":     `refused "a\u202eb" (missing, TUF 5.6.7): why`,
		`a "b" c`:      `refused a "b" c (missing, TUF 5.6.7): why`,
	} {
		err := &trust.RefusedError{Code: trust.Missing, Role: name, Step: "5.6.7", Err: errors.New("why")}
		if got := err.Error(); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
