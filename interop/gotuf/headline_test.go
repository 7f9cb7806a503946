package gotuf_test

import (
	"math"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"example.com/bailiwick/internal/testrepo"
)

// threeClients are ours and the two that nobody wrote for us.
func threeClients(t *testing.T) map[string]look {
	t.Helper()
	return map[string]look{"ours": ours, "go-tuf": goTUF, "python-tuf": startPython(t).look}
}

// headline is a repository in which flask has been claimed by a sitting, as the product's would be: files say which
// role they are, and claimed says below which version no bin counts. Old is flask's claimed bin from before.
func headline(t *testing.T, minimum bool, edit func(r *testrepo.Repo)) (r *testrepo.Repo, old testrepo.File, p place) {
	t.Helper()
	r = testrepo.New(t, testrepo.Options{})
	r.Clock = time.Now().UTC().Truncate(time.Minute)
	if edit != nil {
		edit(r)
	}
	bin := "claimed-" + testrepo.Bin("flask")
	for _, role := range []string{"claimed", bin, "claimed-" + testrepo.Bin("django"), "unclaimed", "project.flask"} {
		r.Edit[role] = func(signed map[string]any) { signed["role_name"] = role }
	}
	r.PublishRoot()
	files := map[string][]byte{"1.whl": []byte("honest content")}
	r.Bailiwick(testrepo.Project{Name: "django", Claimed: true, Files: files}, testrepo.Project{Name: "oldlib", Files: files})
	for _, f := range r.Offline() {
		if f.Role == bin {
			old = f
		}
	}
	r.AddProject(testrepo.Project{Name: "flask", Claimed: true, Files: files})
	if minimum {
		for i := range r.Roles["claimed"].Delegations {
			if d := &r.Roles["claimed"].Delegations[i]; d.Name == bin {
				d.Minimum = old.Version + 1
			}
		}
		r.Touch("claimed")
	}
	r.Publish()
	server := httptest.NewServer(r.Handler())
	t.Cleanup(server.Close)
	return r, old, place{server.URL, r.Root(1)}
}

// TestHeadline: who has the keys timestamp, snapshot and registry, and all of the server, can not have anybody install
// into a claimed project what its maintainers did not sign. Each move is shown to clients that were there before the
// theft and to new ones, of three makes.
func TestHeadline(t *testing.T) {
	path := testrepo.ProjectPath("flask", "1.whl")
	forged := []byte("forged by a thief")
	moves := map[string]func(r *testrepo.Repo, before testrepo.Moment){
		"forged wherever the registry key reaches": func(*testrepo.Repo, testrepo.Moment) {},
		"the maintainers' list, signed by the registry key": func(r *testrepo.Repo, _ testrepo.Moment) {
			r.AddTarget("project.flask", path, forged)
			r.SignWith["project.flask"] = testrepo.One("registry").Keys
			r.Publish()
		},
		"the claimed bin, signed by the registry key": func(r *testrepo.Repo, _ testrepo.Moment) {
			bin := "claimed-" + testrepo.Bin("flask")
			r.Undelegate(bin, "project.flask")
			r.SignWith[bin] = testrepo.One("registry").Keys
			r.Publish()
		},
		"the project dropped from the snapshot": func(r *testrepo.Repo, _ testrepo.Moment) {
			r.Unlisted["project.flask"] = true
			r.PublishSnapshot()
			r.PublishTimestamp()
		},
		"the claimed bin dropped from the snapshot": func(r *testrepo.Repo, _ testrepo.Moment) {
			r.Unlisted["claimed-"+testrepo.Bin("flask")] = true
			r.PublishSnapshot()
			r.PublishTimestamp()
		},
		"the maintainers' list not served": func(r *testrepo.Repo, _ testrepo.Moment) { r.Remove(r.FileName("project.flask")) },
		"the claimed bin not served":       func(r *testrepo.Repo, _ testrepo.Moment) { r.Remove(r.FileName("claimed-" + testrepo.Bin("flask"))) },
		"the list of another project in its place": func(r *testrepo.Repo, _ testrepo.Moment) {
			r.Swap(map[string]testrepo.File{"project.flask": {Role: "project.oldlib", Version: r.Versions["project.oldlib"], Data: r.Bytes("project.oldlib")}})
		},
		"the thief's list in its place": func(r *testrepo.Repo, _ testrepo.Moment) {
			r.Swap(map[string]testrepo.File{"project.flask": {Role: "thief", Version: r.Versions["thief"], Data: r.Bytes("thief")}})
		},
		"the bin of another project in the place of claimed": func(r *testrepo.Repo, _ testrepo.Moment) {
			bin := "claimed-" + testrepo.Bin("django")
			r.Swap(map[string]testrepo.File{"claimed": {Role: bin, Version: r.Versions[bin], Data: r.Bytes(bin)}})
		},
		"everything as it was, under the old versions": func(r *testrepo.Repo, before testrepo.Moment) { r.Replay(before) },
		"versions pushed to the highest number": func(r *testrepo.Repo, _ testrepo.Moment) {
			r.Versions["snapshot"], r.Versions["timestamp"] = math.MaxInt32, math.MaxInt32
			r.PublishSnapshot()
			r.PublishTimestamp()
		},
		"other bytes under the signed name": func(r *testrepo.Repo, _ testrepo.Moment) {
			r.ServeTarget(r.TargetName(path, []byte("honest content")), forged)
		},
	}
	clients := threeClients(t)
	for name, move := range moves {
		t.Run(name, func(t *testing.T) {
			for who, look := range clients {
				r, _, p := headline(t, true, nil)
				folder := t.TempDir()
				if v := look(t, folder, p, path); v != got("honest content") {
					t.Fatalf("%s before the theft: %v", who, v)
				}
				before := r.Moment()
				r.Steal(path, forged)
				move(r, before)
				for state, dir := range map[string]string{"was there before": folder, "is new": t.TempDir()} {
					switch v := look(t, dir, p, path); {
					case v.what == crashed, v.what == accepted && v != got("honest content"):
						t.Errorf("%s, which %s: %v", who, state, v)
					}
				}
			}
		})
	}
}

// TestHeadlineException is the one way in, and both sides of its bounds: a client that is new is shown the claimed bin
// from before the claim. Ours refuses it as soon as claimed was signed with a minimum version, which every sitting does;
// stock clients, which do not know of that, as soon as the bin expires.
func TestHeadlineException(t *testing.T) {
	path := testrepo.ProjectPath("flask", "1.whl")
	bin := "claimed-" + testrepo.Bin("flask")
	thief := got("forged by a thief")
	expired := func(r *testrepo.Repo) { r.Life[bin] = -time.Minute }
	for name, c := range map[string]struct {
		minimum bool
		edit    func(r *testrepo.Repo)
		fooled  map[string]bool
		why     string // what ours says
	}{
		"the sitting has not been yet":          {fooled: map[string]bool{"ours": true, "go-tuf": true, "python-tuf": true}},
		"after the sitting":                     {minimum: true, fooled: map[string]bool{"go-tuf": true, "python-tuf": true}, why: "minimum_version"},
		"after the bin has expired":             {minimum: true, edit: expired, why: "minimum_version"},
		"after the bin has expired, no minimum": {edit: expired, why: "expired"},
	} {
		t.Run(name, func(t *testing.T) {
			for who, look := range threeClients(t) {
				r, old, p := headline(t, c.minimum, func(r *testrepo.Repo) {
					if c.edit != nil {
						c.edit(r)
					}
				})
				if c.edit != nil { // the bin of now is good; the one from before is not
					delete(r.Life, bin)
					r.Touch(bin)
					r.Publish()
				}
				folder := t.TempDir()
				if v := look(t, folder, p, path); v != got("honest content") {
					t.Fatalf("%s before the theft: %v", who, v)
				}
				r.Steal(path, []byte("forged by a thief"))
				r.Swap(map[string]testrepo.File{bin: old})
				if v := look(t, folder, p, path); v.what == accepted && v != got("honest content") {
					t.Errorf("%s was there before the theft: %v", who, v)
				}
				v := look(t, t.TempDir(), p, path)
				if (v == thief) != c.fooled[who] || v.what == accepted && v != thief {
					t.Errorf("%s: %v; fooled: want %t", who, v, c.fooled[who])
				}
				if who == "ours" && c.why != "" && !strings.Contains(v.detail, c.why) {
					t.Errorf("ours says %q, want %q", v.detail, c.why)
				}
			}
		})
	}
}
