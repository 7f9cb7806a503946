package gotuf_test

import (
	"net/http/httptest"
	"testing"
	"time"

	"example.com/bailiwick/internal/testrepo"
)

// TestParkedProjectIsInstalled: the list of a parked project is signed by the key of its claimed bin. Stock clients take it
// as any other. That key signs claimed and all claimed bins, too, so whoever has the timestamp, snapshot and registry
// keys may serve each of those in the place of the list: none leads to what they forged.
func TestParkedProjectIsInstalled(t *testing.T) {
	py := startPython(t)
	r := testrepo.New(t, testrepo.Options{})
	r.Clock = time.Now().UTC().Truncate(time.Minute)
	r.PublishRoot()
	files := map[string][]byte{"1.whl": []byte("honest content")}
	bin := "claimed-" + testrepo.Bin("flask")
	r.Edit[bin] = func(signed map[string]any) {
		d, ok := signed["delegations"].(map[string]any)
		if !ok {
			return
		}
		for _, entry := range d["roles"].([]any) {
			if e := entry.(map[string]any); e["name"] == "project.flask" {
				e["parked"], e["parked-keys"] = "2030-01-31T12:00:00Z", map[string]any{"keys": []any{}, "threshold": 1}
			}
		}
	}
	r.Bailiwick(
		testrepo.Project{Name: "flask", Claimed: true, Holders: testrepo.One("claimed"), Files: files},
		testrepo.Project{Name: "django", Claimed: true, Files: files},
		testrepo.Project{Name: "numpy", Claimed: true, Holders: testrepo.One("claimed"), Files: files}, // parked, too
		testrepo.Project{Name: "oldlib", Files: files},
	)
	path := testrepo.ProjectPath("flask", "1.whl")
	r.Steal(path, []byte("forged by a thief"))
	server := httptest.NewServer(r.Handler())
	t.Cleanup(server.Close)
	p := place{server.URL, r.Root(1)}

	looks := map[string]look{"ours": ours, "go-tuf": goTUF, "python-tuf": py.look}
	for name, look := range looks {
		if v := look(t, t.TempDir(), p, path); v != got("honest content") {
			t.Fatalf("%s: %v, want the file of the parked project", name, v)
		}
	}
	before := r.Moment()
	swaps := r.Offline()
	swaps = append(swaps, testrepo.File{Role: "project.numpy", Version: r.Versions["project.numpy"], Data: r.Bytes("project.numpy")})
	for _, f := range swaps {
		for _, places := range [][]string{{"project.flask"}, {"project.flask", bin}, {"project.flask", "claimed"}} {
			as := make(map[string]testrepo.File)
			for _, name := range places {
				as[name] = f
			}
			r.Swap(as)
			for name, look := range looks {
				if v := look(t, t.TempDir(), p, path); v.what == crashed || v.what == accepted {
					t.Errorf("%s, %s: %v", testrepo.Swapped(as), name, v)
				}
			}
			r.Replay(before)
			clear(r.ListEdit)
		}
	}
}
