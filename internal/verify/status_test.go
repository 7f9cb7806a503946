package verify_test

import (
	"testing"

	"example.com/bailiwick/internal/policy"
)

// TestArchived: what the maintainers sign of the project as a whole is in the listing and in why, also for
// files of its pipeline; what the program does not know is none, and breaks nothing.
func TestArchived(t *testing.T) {
	w := newWorld(t)
	for _, tt := range []struct {
		value any
		want  policy.Status
	}{
		{map[string]any{"status": "archived", "reason": "use next"}, policy.Archived("use next")},
		{map[string]any{"status": "archived"}, policy.Archived("")},
		{map[string]any{"status": "frozen"}, policy.Status{}},
		{[]any{}, policy.Status{}},
		{nil, policy.Status{}},
	} {
		w.Edit["project.flask"] = func(signed map[string]any) {
			if tt.value != nil {
				signed[policy.StatusMember] = tt.value
			}
		}
		w.Touch("project.flask")
		w.Publish()
		e := w.engine()
		listing, err := e.Project(t.Context(), project(t, "flask"))
		if err != nil || listing.Status != tt.want || len(listing.Files) != 2 {
			t.Errorf("%v: listed as %+v, %v", tt.value, listing, err)
		}
		x, err := e.ExplainFile(t.Context(), project(t, "flask"), filename(t, flaskWheel))
		if err != nil || x.Status != tt.want.Word || x.StatusReason != tt.want.Reason {
			t.Errorf("%v: why tells %+v, %v", tt.value, x, err)
		}
	}
}
