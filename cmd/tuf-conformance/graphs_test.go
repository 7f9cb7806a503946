package main_test

import (
	"fmt"
	"testing"

	"example.com/bailiwick/internal/testrepo"
)

// arrow is a delegation in a graph: of everything, unless it says what.
type arrow struct {
	from, to    string
	paths       []string
	terminating bool
}

func graph(t *testing.T, arrows []arrow) *testrepo.Repo {
	t.Helper()
	r := testrepo.New(t, testrepo.Options{})
	for _, a := range arrows {
		if a.paths == nil {
			a.paths = []string{"*"}
		}
		r.Delegate(a.from, testrepo.Delegation{Name: a.to, Paths: a.paths, Terminating: a.terminating})
	}
	return r
}

// visits are the requests of a search in the fresh repository of graph.
func visits(roles ...string) []string {
	out := []string{"2.root.json", "timestamp.json", "2.snapshot.json", "2.targets.json"}
	for _, role := range roles {
		out = append(out, "1."+role+".json")
	}
	return out
}

func TestGraphTraversal(t *testing.T) {
	py := []string{"*.py"}
	for name, test := range map[string]struct {
		arrows []arrow
		want   []string
	}{
		"basic-delegation":         {[]arrow{{from: "targets", to: "A"}}, []string{"A"}},
		"single-level-delegations": {[]arrow{{from: "targets", to: "A"}, {from: "targets", to: "B"}}, []string{"A", "B"}},
		"two-level-delegations": {
			[]arrow{{from: "targets", to: "A"}, {from: "targets", to: "B"}, {from: "B", to: "C"}},
			[]string{"A", "B", "C"},
		},
		"two-level-test-DFS-order-of-traversal": {
			[]arrow{{from: "targets", to: "A"}, {from: "targets", to: "B"}, {from: "A", to: "C"}, {from: "A", to: "D"}},
			[]string{"A", "C", "D", "B"},
		},
		"three-level-delegation-test-DFS-order-of-traversal": {
			[]arrow{{from: "targets", to: "A"}, {from: "targets", to: "B"}, {from: "A", to: "C"}, {from: "C", to: "D"}},
			[]string{"A", "C", "D", "B"},
		},
		"two-level-terminating-ignores-all-but-roles-descendants": {
			[]arrow{{from: "targets", to: "A"}, {from: "targets", to: "B"}, {from: "A", to: "C", terminating: true}, {from: "A", to: "D"}},
			[]string{"A", "C"},
		},
		"three-level-terminating-ignores-all-but-roles-descendants": {
			[]arrow{{from: "targets", to: "A"}, {from: "targets", to: "B"}, {from: "A", to: "C", terminating: true}, {from: "C", to: "D"}},
			[]string{"A", "C", "D"},
		},
		"two-level-ignores-all-branches-not-matching-paths": {
			[]arrow{{from: "targets", to: "A", paths: py}, {from: "targets", to: "B"}, {from: "A", to: "C"}},
			[]string{"B"},
		},
		"three-level-ignores-all-branches-not-matching-paths": {
			[]arrow{{from: "targets", to: "A"}, {from: "targets", to: "B"}, {from: "A", to: "C", paths: py}, {from: "C", to: "D"}},
			[]string{"A", "B"},
		},
		"cyclic-graph": {
			[]arrow{{from: "targets", to: "A"}, {from: "targets", to: "B"}, {from: "B", to: "C"}, {from: "C", to: "D"}, {from: "D", to: "B"}},
			[]string{"A", "B", "C", "D"},
		},
		"two-roles-delegating-to-a-third": {
			[]arrow{{from: "targets", to: "A"}, {from: "targets", to: "B"}, {from: "B", to: "C"}, {from: "A", to: "C"}},
			[]string{"A", "C", "B"},
		},
		"two-roles-delegating-to-a-third-different-paths": {
			[]arrow{{from: "targets", to: "A"}, {from: "targets", to: "B"}, {from: "B", to: "C"}, {from: "A", to: "C", paths: py}},
			[]string{"A", "B", "C"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := graph(t, test.arrows)
			r.Publish()
			c := newClient(t, r)
			c.init(r.Root(1))
			c.download(1, "missingpath")
			c.requested(visits(test.want...)...)
			c.artifacts()
		})
	}
}

func TestTargetfileSearch(t *testing.T) {
	build := func(t *testing.T) *testrepo.Repo {
		r := graph(t, []arrow{
			{from: "targets", to: "A", paths: []string{"*.doc", "*.md"}},
			{from: "targets", to: "B", paths: []string{"releases/*/*"}},
			{from: "B", to: "C", paths: []string{"releases/x/*"}},
			{from: "B", to: "D", paths: []string{"releases/y/*.zip"}},
			{from: "targets", to: "E", paths: []string{"v?/file"}},
		})
		for path, role := range map[string]string{
			"targetfile": "targets", "README.md": "A", "releases/x/x_v1": "C", "releases/y/y_v1.zip": "D",
			"releases/z/z_v1.zip": "D", "deep/README.md": "A", "readme.MD": "A", "v1/file": "E", "v/x/y": "E",
		} {
			r.AddTarget(role, path, []byte(path+" by "+role))
		}
		r.Publish()
		return r
	}
	for name, test := range map[string]struct {
		path, by string // by nobody: must not be found
		visited  []string
	}{
		"no delegations":                                    {"targetfile", "targets", nil},
		"targetpath matches wildcard":                       {"README.md", "A", []string{"A"}},
		"targetpath with separators x":                      {"releases/x/x_v1", "C", []string{"B", "C"}},
		"targetpath with separators y":                      {"releases/y/y_v1.zip", "D", []string{"B", "D"}},
		"targetpath is not delegated by all roles in chain": {"releases/z/z_v1.zip", "", []string{"B"}},
		"star does not match a separator":                   {"deep/README.md", "", nil},
		"matching is case-sensitive":                        {"readme.MD", "", nil},
		"question mark matches one character":               {"v1/file", "E", []string{"E"}},
		"question mark does not match a separator":          {"v/x/y", "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			r := build(t)
			c := newClient(t, r)
			c.init(r.Root(1))
			want := visits(test.visited...)
			if test.by == "" {
				c.download(1, test.path)
				c.artifacts()
			} else {
				content := test.path + " by " + test.by
				c.download(0, test.path)
				c.artifacts(content)
				want = append(want, "targets/"+r.TargetName(test.path, []byte(content)))
			}
			c.requested(want...)
		})
	}
}

func TestCachedRoleIsVerifiedAgainstCurrentDelegator(t *testing.T) {
	for _, first := range []string{"a/file", "b/file"} {
		t.Run(first, func(t *testing.T) {
			r := testrepo.New(t, testrepo.Options{})
			r.Delegate("targets", testrepo.Delegation{Name: "A", Paths: []string{"a/*"}})
			r.Delegate("targets", testrepo.Delegation{Name: "B", Paths: []string{"b/*"}})
			r.Delegate("A", testrepo.Delegation{Name: "shared", Paths: []string{"*/*"}, Holders: testrepo.One("key of A's choice")})
			r.Delegate("B", testrepo.Delegation{Name: "shared", Paths: []string{"*/*"}, Holders: testrepo.One("key of B's choice")})
			r.SignWith["shared"] = testrepo.Keys("key of A's choice", 1)
			r.AddTarget("shared", "a/file", []byte("through A"))
			r.AddTarget("shared", "b/file", []byte("through B"))
			r.Publish()
			c := newClient(t, r)
			c.init(r.Root(1))
			if first == "a/file" {
				c.download(1, "a/file", "b/file")
				c.artifacts("through A")
			} else {
				c.download(1, "b/file", "a/file")
				c.artifacts()
				c.download(0, "a/file")
			}
			c.download(1, "b/file") // nor with what is stored by now
			c.artifacts("through A")
		})
	}
}

func TestDelegationNotInSnapshot(t *testing.T) {
	r := graph(t, []arrow{{from: "targets", to: "role"}})
	r.AddTarget("role", "file", []byte("content"))
	r.Unlisted["role"] = true
	r.Publish()
	c := newClient(t, r)
	c.init(r.Root(1))
	c.download(1, "file")
	c.requested(visits()...)
	c.trusted("root 1, snapshot 2, targets 2, timestamp 2")
	c.artifacts()
}

// version is a root, or another role, of the suite's rotation tests: which of ten keys
// it is for, how many must sign, and which do.
type version struct {
	keys      []int
	threshold int
	signed    []int
}

func ten(indices []int) []testrepo.Key {
	out := []testrepo.Key{}
	for _, i := range indices {
		out = append(out, testrepo.NewKey(fmt.Sprint("signer ", i)))
	}
	return out
}

func TestRootRotation(t *testing.T) {
	five, other := []int{0, 1, 2, 3, 4}, []int{0, 1, 3, 4, 5}
	for name, test := range map[string]struct {
		fails    bool // the last version is refused
		versions []version
	}{
		"1-of-1-key-rotation": {false, []version{{[]int{1}, 1, []int{1}}, {[]int{2}, 1, []int{2, 1}}, {[]int{2}, 1, []int{2}}}},
		"1-of-1-key-rotation-unused-signatures": {false, []version{
			{[]int{1}, 1, []int{3, 1, 4}}, {[]int{2}, 1, []int{3, 2, 1, 4}}, {[]int{2}, 1, []int{3, 2, 4}},
		}},
		"3-of-5-sign-with-different-keycombos": {false, []version{
			{five, 3, []int{0, 2, 4}}, {five, 3, []int{0, 4, 1}}, {five, 3, []int{0, 1, 3}}, {five, 3, []int{0, 1, 3}},
		}},
		"3-of-5-one-key-rotated": {false, []version{{five, 3, []int{0, 2, 4}}, {other, 3, []int{0, 4, 1}}}},
		"3-of-5-one-key-rotated-with-intermediate-step": {false, []version{
			{five, 3, []int{0, 2, 4}}, {other, 3, []int{0, 2, 4, 5}}, {other, 3, []int{0, 4, 5}},
		}},
		"3-of-5-all-keys-rotated-with-intermediate-step": {false, []version{
			{five, 3, []int{0, 2, 4}}, {[]int{5, 6, 7, 8, 9}, 3, []int{0, 2, 4, 5, 6, 7}}, {[]int{5, 6, 7, 8, 9}, 3, []int{5, 6, 7}},
		}},
		"1-of-3-threshold-increase-to-2-of-3": {false, []version{{[]int{1, 2, 3}, 1, []int{1}}, {[]int{1, 2, 3}, 2, []int{1, 2}}}},
		"2-of-3-threshold-decrease-to-1-of-3": {false, []version{
			{[]int{1, 2, 3}, 2, []int{1, 2}}, {[]int{1, 2, 3}, 1, []int{1, 2}}, {[]int{1, 2, 3}, 1, []int{1}},
		}},
		"1-of-2-threshold-increase-to-2-of-2":                             {false, []version{{[]int{1}, 1, []int{1}}, {[]int{1, 2}, 2, []int{1, 2}}}},
		"1-of-1-key-rotation-fail-not-signed-with-old-key":                {true, []version{{[]int{1}, 1, []int{1}}, {[]int{2}, 1, []int{2, 3, 4}}}},
		"1-of-1-key-rotation-fail-not-signed-with-new-key":                {true, []version{{[]int{1}, 1, []int{1}}, {[]int{2}, 1, []int{1, 3, 4}}}},
		"3-of-5-one-key-rotate-fails-not-signed-with-3-new-keys":          {true, []version{{five, 3, []int{0, 2, 4}}, {other, 3, []int{0, 2, 4}}}},
		"3-of-5-one-key-rotate-fails-not-signed-with-3-old-keys":          {true, []version{{five, 3, []int{0, 2, 4}}, {other, 3, []int{0, 4, 5}}}},
		"1-of-3-threshold-bump-to-2-of-3-fails-new-threshold-not-reached": {true, []version{{[]int{1, 2, 3}, 1, []int{1}}, {[]int{1, 2, 3}, 2, []int{2}}}},
		"2-of-3-threshold-decr-to-1-of-3-fails-old-threshold-not-reached": {true, []version{{[]int{1, 2, 3}, 2, []int{1, 2}}, {[]int{1, 2, 3}, 1, []int{1}}}},
	} {
		t.Run(name, func(t *testing.T) {
			r := testrepo.New(t, testrepo.Options{})
			for _, v := range test.versions { // from root version 2 on; version 1 came with the repository
				r.Top["root"] = testrepo.Holders{Keys: ten(v.keys), Threshold: v.threshold}
				r.SignWith["root"] = ten(v.signed)
				r.PublishRoot()
			}
			c := newClient(t, r)
			c.init(r.Root(2))
			last := int64(1 + len(test.versions))
			if test.fails {
				c.refresh(1)
				last--
			} else {
				c.refresh(0)
			}
			if got := c.stored("root"); string(got) != string(r.Root(last)) {
				t.Errorf("the stored root is not version %d: %s", last, got)
			}
		})
	}
}

func TestNonRootRotations(t *testing.T) {
	five, other := []int{0, 1, 2, 3, 4}, []int{0, 1, 3, 4, 5}
	for name, test := range map[string]struct {
		fails bool
		version
	}{
		"1-of-1-key-rotation":                                            {false, version{[]int{2}, 1, []int{2}}},
		"1-of-1-key-rotation-unused-signatures":                          {false, version{[]int{1}, 1, []int{3, 1, 4}}},
		"1-of-1-key-rotation-fail-not-signed-with-new-key":               {true, version{[]int{2}, 1, []int{1, 3, 4}}},
		"3-of-5-one-key-signature-wrong-not-signed-with-3-expected-keys": {true, version{other, 3, []int{0, 2, 4}}},
		"2-of-5-one-key-signature-missing-threshold-not-reached":         {true, version{other, 3, []int{0, 4}}},
		"3-of-5-sign-first-combo":                                        {false, version{five, 3, []int{0, 2, 4}}},
		"3-of-5-sign-second-combo":                                       {false, version{five, 3, []int{0, 4, 1}}},
		"3-of-5-sign-third-combo":                                        {false, version{five, 3, []int{0, 1, 3}}},
		"3-of-5-sign-fourth-combo":                                       {false, version{five, 3, []int{1, 2, 3}}},
		"3-of-5-sign-fifth-combo":                                        {false, version{five, 3, []int{2, 3, 4}}},
	} {
		t.Run(name, func(t *testing.T) {
			r := testrepo.New(t, testrepo.Options{})
			c := newClient(t, r)
			c.init(r.Root(1))
			for _, role := range []string{"timestamp", "snapshot", "targets"} {
				r.Top[role] = testrepo.Holders{Keys: ten(test.keys), Threshold: test.threshold}
				r.SignWith[role] = ten(test.signed)
				r.PublishRoot()
				r.Touch("targets")
				r.Publish()
				if test.fails {
					c.refresh(1)
					continue
				}
				c.refresh(0)
				c.same(role)
			}
		})
	}
}
