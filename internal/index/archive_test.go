package index_test

import (
	"strings"
	"testing"

	"example.com/bailiwick/internal/ceremony"
	"example.com/bailiwick/internal/index"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/internal/publish/publishtest"
	"example.com/bailiwick/tuf/repo"
)

// TestArchive: an archived project is shown as that, keeps its files, and takes no more until it is
// unarchived.
func TestArchive(t *testing.T) {
	m := newTeam(t)
	for _, name := range []string{"demo", "offline"} { // in either tree
		if name == "demo" {
			m.claim(name, 1, m.alice)
		}
		first, second := m.stage(wheel(name, "1.0")), m.stage(wheel(name, "2.0"))
		m.propose(m.request(name, releaseOf(first), m.alice))
		_, tag, err := m.index.Project(t.Context(), project(t, name))
		if err != nil {
			t.Fatal(err)
		}
		mark := func(s policy.Status) {
			t.Helper()
			value, err := s.Encode()
			if err != nil {
				t.Fatal(err)
			}
			d := publishtest.Draft{Kind: ceremony.Release, Edit: repo.TargetsEdit{Members: map[string][]byte{policy.StatusMember: value}}}
			m.propose(m.request(name, d, m.alice))
			page, after, err := m.index.Project(t.Context(), project(t, name))
			if err != nil || page.Status != s.Word || page.StatusReason != s.Reason || len(page.Files) != 1 || after == tag {
				t.Errorf("the page is %+v, %v, and its tag %s after %s", page, err, after, tag)
			}
			tag = after
		}
		mark(policy.Archived("use next"))
		_, err = m.send(m.actor, wheel(name, "3.0"), nil)
		if r := refused(t, err, index.Forbidden); !strings.Contains(r.Message, "is archived, and takes no more files") {
			t.Errorf("an upload: %s", r.Message)
		}
		_, err = m.index.Propose(t.Context(), m.actor, m.request(name, releaseOf(second), m.alice))
		if r := refused(t, err, index.Forbidden); r.Reason != ceremony.Archived {
			t.Errorf("a release: refused for %q", r.Reason)
		}
		mark(policy.Archived("")) // the reason alone is news, too
		mark(policy.Status{})
		m.propose(m.request(name, publishtest.Draft{Kind: ceremony.Release, Add: []publish.File{second}}, m.alice))
		m.stage(wheel(name, "3.0"))
		if got := m.listed(name); len(got) != 2 {
			t.Errorf("listed %v", got)
		}
	}
}
