package sitting_test

import (
	"testing"

	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/sitting"
)

// TestR36PromotionInASitting: projects move to the claimed tree in one file, signed offline, and maintainers do
// not sign again.
func TestR36PromotionInASitting(t *testing.T) {
	w := newPlace(t, 16)
	w.claim(w.now.Add(-20*day), 1, "flask", "requests", "numpy")
	w.claim(w.now.Add(-2*day), 2, "fresh")
	v := w.take(w.plan(sitting.Wishes{MinAge: 14 * day}))
	promoted := 0
	for _, c := range v.Changes {
		if c.Kind == sitting.Promoted {
			promoted++
		}
	}
	if promoted != 3 {
		t.Errorf("%d promoted, want 3", promoted)
	}
	for name, want := range map[string]policy.Assurance{"flask": policy.Claimed, "fresh": policy.RecentlyClaimed} {
		if got, err := w.found(name); err != nil || got != want {
			t.Errorf("%s is %v, %v; want %v", name, got, err, want)
		}
	}
}
