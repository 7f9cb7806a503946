package proxy_test

import (
	"bytes"
	"testing"

	"example.com/bailiwick/internal/policy"
)

// TestArchivedPage: the pages that installers see tell what the maintainers signed of the project.
func TestArchivedPage(t *testing.T) {
	s := newSite(t)
	s.Edit["project.flask"] = func(signed map[string]any) {
		signed[policy.StatusMember] = map[string]any{"status": "archived", "reason": "use next"}
	}
	s.Touch("project.flask")
	s.Publish()
	for form, want := range map[string]string{
		"application/vnd.pypi.simple.v1+json": `"project-status":{"status":"archived","reason":"use next"}`,
		"text/html":                           `<meta name="pypi:project-status" content="archived">`,
	} {
		if page := s.ask("GET", "/simple/flask/", "Accept: "+form).want(t, "200 OK"); !bytes.Contains(page.body, []byte(want)) {
			t.Errorf("the page lacks %s:\n%s", want, page.body)
		}
		if other := s.ask("GET", "/simple/other/", "Accept: "+form).want(t, "200 OK"); bytes.Contains(other.body, []byte("project-status")) {
			t.Errorf("another project has a status:\n%s", other.body)
		}
	}
}
