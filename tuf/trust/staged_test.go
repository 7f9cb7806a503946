package trust_test

import (
	"fmt"
	"testing"
	"time"

	"example.com/bailiwick/internal/testrepo"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/trust"
)

// staging is a published repository and what comes next.
type staging struct {
	*testrepo.Repo
	published *trust.Set
	old       map[string][]byte
}

func newStaging(t *testing.T) *staging {
	t.Helper()
	r := testrepo.New(t, testrepo.Options{})
	r.Delegate("targets", testrepo.Delegation{Name: "parent", Paths: []string{"*"}})
	r.Delegate("parent", testrepo.Delegation{Name: "child", Paths: []string{"*"}})
	r.Publish()
	s := &staging{Repo: r, published: fresh(t, r), old: map[string][]byte{}}
	for _, role := range []string{"targets", "parent", "child"} {
		s.old[role] = r.Bytes(role)
	}
	return s
}

func (s *staging) load(role tuf.RoleName, _ tuf.Meta) ([]byte, error) {
	data, ok := s.old[string(role)]
	if !ok {
		return nil, fmt.Errorf("%s was not published", role)
	}
	return data, nil
}

// staged is what the repository has of these roles now.
func (s *staging) staged(roles ...string) trust.Staged {
	p := trust.Staged{Timestamp: s.Bytes("timestamp"), Snapshot: s.Bytes("snapshot")}
	for _, role := range roles {
		switch role {
		case "root":
			p.Roots = append(p.Roots, s.Bytes("root"))
		case "targets":
			p.Targets = s.Bytes("targets")
		case "parent":
			p.Delegated = append(p.Delegated, trust.StagedRole{Chain: []tuf.RoleName{"parent"}, Bytes: s.Bytes(role)})
		case "child":
			p.Delegated = append(p.Delegated, trust.StagedRole{Chain: []tuf.RoleName{"parent", "child"}, Bytes: s.Bytes(role)})
		}
	}
	return p
}

func TestStage(t *testing.T) {
	s := newStaging(t)
	s.AddTarget("child", "file", []byte("x"))
	s.PublishRoot()
	s.Touch("targets", "parent")
	s.Publish()
	p := s.staged("root", "targets", "parent", "child")
	next, err := s.published.Stage(s.Now(), p, s.load)
	if err != nil {
		t.Fatal(err)
	}
	if next.Timestamp().Version() != 3 || next.Root().Version() != 2 {
		t.Errorf("timestamp %d, root %d", next.Timestamp().Version(), next.Root().Version())
	}
	files, err := p.Files(next)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range files {
		names = append(names, f.Name)
		if served, err := s.Metadata(t.Context(), f.Name, 1<<20); err != nil || string(served) != string(f.Bytes) {
			t.Errorf("%s: %v", f.Name, err)
		}
	}
	if want := "[2.root.json 2.parent.json 2.child.json 3.targets.json 3.snapshot.json timestamp.json]"; fmt.Sprint(names) != want {
		t.Errorf("in the order %v, want %s", names, want)
	}
	// A change of one leaf, and of nothing at all.
	s.old["parent"] = s.Bytes("parent")
	s.Touch("child")
	s.Publish()
	third, err := next.Stage(s.Now(), s.staged("child"), s.load)
	if err != nil {
		t.Fatal(err)
	}
	s.PublishTimestamp()
	if _, err := third.Stage(s.Now(), trust.Staged{Timestamp: s.Bytes("timestamp")}, s.load); err != nil {
		t.Error(err)
	}
	if _, err := p.Files(s.published); err != nil { // its roles are listed there, too
		t.Error(err)
	}
	stranger := testrepo.New(t, testrepo.Options{})
	if _, err := p.Files(fresh(t, stranger)); err == nil {
		t.Error("the files of another set have names")
	}
}

func TestStageRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		change func(s *staging)
		stage  func(s *staging) trust.Staged
		code   trust.Code
		role   tuf.RoleName
		step   string
	}{
		"a role that changed and is not staged": {
			func(s *staging) { s.Touch("child"); s.Publish() },
			func(s *staging) trust.Staged { return s.staged() }, trust.Missing, "child", "6.3",
		},
		"targets that changed and are not staged": {
			func(s *staging) { s.Touch("targets"); s.Publish() },
			func(s *staging) trust.Staged { return s.staged() }, trust.Missing, "targets", "5.6.1",
		},
		"a snapshot that changed and is not staged": {
			func(s *staging) { s.Publish() },
			func(s *staging) trust.Staged { return trust.Staged{Timestamp: s.Bytes("timestamp")} }, trust.Missing, "snapshot", "5.5.1",
		},
		"another file under a version that is out": {
			func(s *staging) { s.Versions["child"]--; s.AddTarget("child", "file", []byte("x")); s.Publish() },
			func(s *staging) trust.Staged { return s.staged("child") }, trust.Version, "child", "6.3",
		},
		"another snapshot under a version that is out": {
			func(s *staging) {
				s.Versions["snapshot"]--
				s.Edit["snapshot"] = func(m map[string]any) { m["x"] = 1 }
				s.Publish()
			},
			func(s *staging) trust.Staged { return s.staged() }, trust.Version, "snapshot", "6.3",
		},
		"another targets role under a version that is out": {
			func(s *staging) { s.Versions["targets"]--; s.AddTarget("targets", "file", []byte("x")); s.Publish() },
			func(s *staging) trust.Staged { return s.staged("targets") }, trust.Version, "targets", "6.3",
		},
		"another timestamp under a version that is out": {
			func(s *staging) { s.Versions["timestamp"]--; s.PublishTimestamp() },
			func(s *staging) trust.Staged { return trust.Staged{Timestamp: s.Bytes("timestamp")} }, trust.Version, "timestamp", "5.4.3.1",
		},
		"a role that nothing lists": {
			func(s *staging) {
				s.Unlisted["new"] = true
				s.Delegate("parent", testrepo.Delegation{Name: "new", Paths: []string{"*"}})
				s.Publish()
			},
			func(s *staging) trust.Staged {
				p := s.staged("parent")
				p.Delegated = append(p.Delegated, trust.StagedRole{Chain: []tuf.RoleName{"parent", "new"}, Bytes: s.Bytes("new")})
				return p
			}, trust.Missing, "new", "6.3",
		},
		"a role to which nobody delegates": {
			func(s *staging) { s.Undelegate("parent", "child"); s.Touch("child"); s.Publish() },
			func(s *staging) trust.Staged { return s.staged("parent", "child") }, trust.Missing, "child", "5.6.7",
		},
		"a role without a chain": {
			func(s *staging) { s.Touch("child"); s.Publish() },
			func(s *staging) trust.Staged {
				p := s.staged("child")
				p.Delegated = append(p.Delegated, trust.StagedRole{})
				return p
			}, trust.Missing, "", "6.3",
		},
		"a role by too few keys": {
			func(s *staging) { s.SignWith["child"] = []testrepo.Key{}; s.Touch("child"); s.Publish() },
			func(s *staging) trust.Staged { return s.staged("child") }, trust.Threshold, "child", "5.6.3",
		},
		"a role that is expired": {
			func(s *staging) { s.Life["child"] = -time.Hour; s.Touch("child"); s.Publish() },
			func(s *staging) trust.Staged { return s.staged("child") }, trust.Expired, "child", "5.6.5",
		},
		"a parent that can not be had": {
			func(s *staging) { delete(s.old, "parent"); s.Touch("child"); s.Publish() },
			func(s *staging) trust.Staged { return s.staged("child") }, trust.Unavailable, "parent", "5.6.1",
		},
		"a snapshot that takes a role out": {
			func(s *staging) { s.Unlisted["child"] = true; s.Publish() },
			func(s *staging) trust.Staged { return s.staged() }, trust.Rollback, "snapshot", "5.5.5",
		},
		"a root by too few keys": {
			func(s *staging) { s.SignWith["root"] = []testrepo.Key{}; s.PublishRoot(); s.Publish() },
			func(s *staging) trust.Staged { return s.staged("root") }, trust.Threshold, "root", "5.3.4",
		},
		"one role with two contents": {
			func(s *staging) { s.Touch("child"); s.Publish() },
			func(s *staging) trust.Staged {
				p := s.staged("child")
				p.Delegated = append(p.Delegated, trust.StagedRole{Chain: p.Delegated[0].Chain, Bytes: []byte("{}")})
				return p
			}, trust.Version, "child", "6.3",
		},
		"no timestamp": {
			func(s *staging) { s.Publish() },
			func(*staging) trust.Staged { return trust.Staged{} }, trust.Malformed, "timestamp", "4.3",
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStaging(t)
			test.change(s)
			_, err := s.published.Stage(s.Now(), test.stage(s), s.load)
			refused(t, err, test.code, test.role, test.step)
		})
	}
}

func TestStageFirst(t *testing.T) {
	s := newStaging(t)
	p := s.staged("root", "targets", "parent", "child")
	if _, err := trust.StageFirst(s.Now(), trust.Options{}, p); err != nil {
		t.Fatal(err)
	}
	_, err := trust.StageFirst(s.Now(), trust.Options{}, trust.Staged{})
	refused(t, err, trust.Missing, "root", "5.2")
	_, err = trust.StageFirst(s.Now(), trust.Options{}, s.staged("root", "targets", "child"))
	refused(t, err, trust.Missing, "parent", "6.3")
	_, err = trust.StageFirst(s.Now(), trust.Options{}, trust.Staged{Roots: [][]byte{nil}})
	refused(t, err, trust.Malformed, "root", "4.3")
}

// A publication that was given up has left verified roles behind, whose versions the next one
// uses for other bytes. Those are verified, and nothing is taken from before.
func TestStageAfterAnAttemptThatWasGivenUp(t *testing.T) {
	for name, damage := range map[string]func(s *staging){
		"the role itself": func(s *staging) { s.SignWith["child"] = []testrepo.Key{testrepo.NewKey("a thief")} },
		"its delegator":   func(s *staging) { s.SignWith["parent"] = []testrepo.Key{testrepo.NewKey("a thief")} },
	} {
		t.Run(name, func(t *testing.T) {
			s := newStaging(t)
			s.Touch("parent", "child")
			s.Publish()
			if _, err := s.published.Stage(s.Now(), s.staged("parent", "child"), s.load); err != nil {
				t.Fatal(err)
			}
			// Nobody published that. The second attempt has the same versions.
			for _, role := range []string{"parent", "child", "snapshot", "timestamp"} {
				s.Versions[role]--
			}
			damage(s)
			s.AddTarget("child", "file", []byte("x"))
			s.Touch("parent")
			s.Publish()
			_, err := s.published.Stage(s.Now(), s.staged("parent", "child"), s.load)
			role := tuf.RoleName("child")
			if name == "its delegator" {
				role = "parent"
			}
			refused(t, err, trust.Threshold, role, "5.6.3")
		})
	}
	s := newStaging(t)
	s.Touch("child")
	s.Publish()
	if _, err := s.published.Stage(s.Now(), s.staged("child"), s.load); err != nil {
		t.Fatal(err)
	}
	for _, role := range []string{"child", "snapshot", "timestamp"} {
		s.Versions[role]--
	}
	s.AddTarget("child", "file", []byte("x"))
	s.Publish()
	set, err := s.published.Stage(s.Now(), s.staged("child"), s.load)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := set.Find("file", s.load); err != nil {
		t.Errorf("the second attempt is in force: %v", err)
	}
}

// A role that two delegations lead to is verified by both and published once.
func TestStageByTwoChains(t *testing.T) {
	s := newStaging(t)
	s.Delegate("targets", testrepo.Delegation{Name: "child", Paths: []string{"*"}})
	s.Touch("child")
	s.Publish()
	p := s.staged("targets", "child")
	p.Delegated = append(p.Delegated, trust.StagedRole{Chain: []tuf.RoleName{"child"}, Bytes: s.Bytes("child")})
	set, err := s.published.Stage(s.Now(), p, s.load)
	if err != nil {
		t.Fatal(err)
	}
	files, err := p.Files(set)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for _, f := range files {
		if seen[f.Name]++; seen[f.Name] > 1 {
			t.Errorf("%s is published twice", f.Name)
		}
	}
	p.Delegated[1].Chain = []tuf.RoleName{"parent", "parent", "child"}
	if _, err := s.published.Stage(s.Now(), p, s.load); err == nil {
		t.Error("a chain that nobody delegated")
	}
}

// The top half of Stage takes the same steps and leaves what is below to the caller, who
// finds it by the Set.
func TestStageTop(t *testing.T) {
	s := newStaging(t)
	s.AddTarget("child", "file", []byte("x"))
	s.PublishRoot()
	s.Publish()
	next, err := s.published.StageTop(s.Now(), s.staged("root"))
	if err != nil {
		t.Fatal(err)
	}
	if next.Root().Version() != 2 || next.Snapshot().Version() != 3 {
		t.Errorf("root %d, snapshot %d", next.Root().Version(), next.Snapshot().Version())
	}
	below := func(role tuf.RoleName, meta tuf.Meta) ([]byte, error) {
		if role == "child" {
			return s.Bytes("child"), nil
		}
		return s.load(role, meta)
	}
	if _, err := next.Delegated(below, "parent", "child"); err != nil {
		t.Error(err)
	}
	_, err = s.published.StageTop(s.Now(), trust.Staged{Timestamp: s.published.Timestamp().Bytes()})
	refused(t, err, trust.Version, "timestamp", "5.4.3.1")
	_, err = s.published.StageTop(s.Now(), trust.Staged{Timestamp: s.Bytes("timestamp")})
	refused(t, err, trust.Missing, "snapshot", "5.5.1")
}
