package needs_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.com/bailiwick/internal/needs"
)

// watched is a test that writes down how it ended, first of all.
type watched struct {
	testing.TB
	end string
}

func (w *watched) Helper() {}

func (w *watched) Fatal(a ...any) { w.note("failed: " + fmt.Sprint(a...)) }

func (w *watched) Skip(a ...any) { w.note("skipped: " + fmt.Sprint(a...)) }

func (w *watched) note(end string) {
	if w.end == "" {
		w.end = end
	}
}

// TestSkipsFailInCI: what is missing is a skip at home, and a failure in CI.
func TestSkipsFailInCI(t *testing.T) {
	for ci, end := range map[string]string{"": "skipped: SKIPPED: ", "true": "failed: NOT TESTED"} {
		t.Setenv("CI", ci)
		for what, need := range map[string]func(testing.TB){
			"no moon":            func(tb testing.TB) { needs.Without(tb, "no moon") },
			"there is no no-elf": func(tb testing.TB) { needs.Programs(tb, "elves", "go", "no-elf") },
		} {
			w := &watched{TB: t}
			need(w)
			if !strings.HasPrefix(w.end, end) || !strings.Contains(w.end, what) {
				t.Errorf("CI=%q: %q, want %s… %s", ci, w.end, end, what)
			}
		}
		have, err := needs.Condition(false, "no moon")
		if have || (err != nil) != (ci != "") {
			t.Errorf("CI=%q: the condition is %v, %v", ci, have, err)
		}
		if have, err := needs.Condition(true, "no moon"); !have || err != nil {
			t.Errorf("CI=%q: what is here is %v, %v", ci, have, err)
		}
		w := &watched{TB: t}
		if needs.Programs(w, "golang", "go"); w.end != "" {
			t.Errorf("CI=%q: what is here: %q", ci, w.end)
		}
	}
}

// TestDisk: it is small until it grows, and read-only when it is told.
func TestDisk(t *testing.T) {
	if needs.Mounts(t) {
		return
	}
	disk := needs.NewDisk(t)
	file := filepath.Join(disk.Dir, "file")
	if err := os.WriteFile(file, make([]byte, 3<<20), 0o600); err == nil {
		t.Error("a disk of 2 MB holds 3 MB")
	}
	disk.Grow()
	if err := os.WriteFile(file, make([]byte, 3<<20), 0o600); err != nil {
		t.Error(err)
	}
	disk.ReadOnly()
	if err := os.WriteFile(file, nil, 0o600); err == nil {
		t.Error("written to a disk that is read-only")
	}
}
