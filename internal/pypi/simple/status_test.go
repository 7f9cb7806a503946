package simple_test

import (
	"strings"
	"testing"

	"example.com/bailiwick/internal/pypi/simple"
)

// TestStatus: PEP 792, beside "meta" in JSON and as meta tags in HTML; nothing for an active project.
func TestStatus(t *testing.T) {
	for _, tt := range []struct {
		page       simple.Page
		json, html string
	}{
		{simple.Page{Name: "a", Status: "archived"}, `"project-status":{"status":"archived"}`, `<meta name="pypi:project-status" content="archived">`},
		{
			simple.Page{Name: "a", Status: "archived", StatusReason: `use "b" & <c>`},
			`"project-status":{"status":"archived","reason":"use \"b\" & <c>"}`,
			`<meta name="pypi:project-status-reason" content="use &#34;b&#34; &amp; &lt;c&gt;">`,
		},
	} {
		if got := string(tt.page.JSON()); !strings.Contains(got, tt.json) || !strings.HasPrefix(got, `{"meta":{"api-version":"1.4"},`) {
			t.Errorf("%s\nlacks %s", got, tt.json)
		}
		if got := string(tt.page.HTML()); !strings.Contains(got, tt.html+"\n") || strings.Index(got, tt.html) > strings.Index(got, "</head>") {
			t.Errorf("%s\nlacks %s in its head", got, tt.html)
		}
		if _, err := simple.ParsePage(tt.page.JSON()); err != nil {
			t.Errorf("the page can not be read: %v", err)
		}
	}
	active := simple.Page{Name: "a"}
	if got := string(active.JSON()) + string(active.HTML()); strings.Contains(got, "project-status") {
		t.Errorf("an active project states a status: %s", got)
	}
}
