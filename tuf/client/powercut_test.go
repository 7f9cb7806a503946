package client_test

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"example.com/bailiwick/internal/testrepo"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/client"
	"example.com/bailiwick/tuf/client/storetest"
)

// A visit is what a refresh may come upon.
type visit struct {
	first   bool // there was no earlier one
	rotates bool // what the earlier one knew is void
	publish func(r *testrepo.Repo)
}

var visits = map[string]visit{
	"the first":                          {first: true, publish: (*testrepo.Repo).Publish},
	"with nothing new but the timestamp": {publish: (*testrepo.Repo).PublishTimestamp},
	"with everything new": {publish: func(r *testrepo.Repo) {
		r.Touch("targets", "claimed", "project.flask")
		r.Publish()
	}},
	"with new roots": {publish: func(r *testrepo.Repo) {
		r.PublishRoot()
		r.PublishRoot()
		r.Touch("targets")
		r.Publish()
	}},
	"after a rotation": {rotates: true, publish: func(r *testrepo.Repo) {
		r.Top["timestamp"] = testrepo.One("timestamp2")
		r.PublishRoot()
		r.Versions["timestamp"], r.Versions["snapshot"] = 0, 0 // as after a fast-forward attack
		r.Publish()
	}},
}

// prepare makes a repository, has the earlier visit use it, and publishes what the next
// gets. Of replay, an older moment, the earlier visit protects; nil if there is none.
func (v visit) prepare(t *testing.T, s client.Store) (r *testrepo.Repo, path tuf.TargetPath, replay *testrepo.Moment) {
	t.Helper()
	r, path = flask(t)
	if !v.first {
		first := r.Moment()
		r.Touch("targets")
		r.Publish()
		find(t, open(t, r, s), path)
		if !v.rotates {
			replay = &first
		}
	}
	v.publish(r)
	return r, path, replay
}

// TestPowerCut cuts the power after every call to the file system that a refresh makes.
// What was not synced by then may be there or not, and if it is, be whole, torn or empty:
// each combination is a state to start from. From every one an honest refresh works, and
// what the earlier visit knew still protects. After the refresh returned, only the cache
// of delegated roles may differ.
func TestPowerCut(t *testing.T) {
	for name, visit := range visits {
		t.Run("visit "+name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "state")
			r, path, replay := visit.prepare(t, folder(t, client.FolderConfig{Path: dir}))
			old := files(t, dir)
			f := folder(t, client.FolderConfig{Path: dir})
			calls := f.Record()
			v := refresh(t, open(t, r, f))
			returned := len(calls())
			if _, err := v.Find(t.Context(), path); err != nil {
				t.Fatal(err)
			}
			whole := files(t, dir)
			all := calls()
			if returned < 5 {
				t.Fatalf("only %d calls; this test would prove little", returned)
			}
			states := 0
			for cut := 0; cut <= len(all); cut++ {
				for state := range survivors(t, old, all[:cut], filepath.Base(dir)) {
					states++
					label := fmt.Sprintf("after %d of %d calls, state %s", cut, returned, state.name)
					if cut >= returned {
						for name, data := range whole {
							if client.IsDurable(name) && state.files[name] != data {
								t.Errorf("%s: the refresh had returned, and %s is not as it was then", label, name)
							}
						}
					}
					goesOn(t, label, r, path, replay, state.files)
				}
			}
			t.Logf("%d calls, %d states", len(all), states)
		})
	}
}

// goesOn asserts what must hold of every state.
func goesOn(t *testing.T, label string, r *testrepo.Repo, path tuf.TargetPath, replay *testrepo.Moment, state map[string]string) {
	t.Helper()
	s := client.NewMemory()
	for name, data := range state {
		if err := s.Save(name, []byte(data)); err != nil {
			t.Fatal(err)
		}
	}
	if replay != nil {
		honest := r.Moment()
		r.Replay(*replay)
		if _, err := open(t, r, s).Refresh(t.Context()); !isRollback(err) {
			t.Errorf("%s: a replay gave %v", label, err)
		}
		r.Replay(honest)
	}
	v, err := open(t, r, s).Refresh(t.Context())
	if err != nil {
		t.Errorf("%s: an honest refresh: %v", label, err)
		return
	}
	if _, err := v.Find(t.Context(), path); err != nil {
		t.Errorf("%s: an honest search: %v", label, err)
	}
}

type survivor struct {
	name  string
	files map[string]string
}

// survivors yields what may be found after a power cut that follows the calls.
func survivors(t *testing.T, old map[string]string, calls []client.Call, top string) func(yield func(survivor) bool) {
	t.Helper()
	type step struct {
		at       int
		to, data string
		remove   bool
		synced   bool
		certain  bool
	}
	var steps []step
	temp, synced := map[string]string{}, map[string]bool{}
	for i, c := range calls {
		switch c.Kind {
		case "write":
			temp[c.Name] = string(c.Data)
		case "sync":
			synced[c.Name] = true
		case "rename":
			steps = append(steps, step{at: i, to: c.To, data: temp[c.Name], synced: synced[c.Name]})
		case "remove":
			steps = append(steps, step{at: i, to: c.Name, remove: true})
		case "syncDir":
			for j := range steps {
				inside := (filepath.Dir(steps[j].to) == "roots") == (c.Name != top)
				steps[j].certain = steps[j].certain || inside && steps[j].at < c.Begun
			}
		}
	}
	var open []int
	for i, s := range steps {
		if !s.certain {
			open = append(open, i)
		}
	}
	if len(open) > 6 {
		t.Fatalf("%d changes are open at once", len(open))
	}
	return func(yield func(survivor) bool) {
		for chosen := range 1 << len(open) {
			for _, torn := range []string{"whole", "half", "empty"} {
				state, mattered, bit := maps.Clone(old), false, 0
				for _, s := range steps {
					if !s.certain {
						bit++
						if chosen>>(bit-1)&1 == 0 {
							continue
						}
					}
					data := s.data
					if !s.synced && !s.remove {
						mattered = true
						switch torn {
						case "half":
							data = data[:len(data)/2]
						case "empty":
							data = ""
						}
					}
					if state[s.to] = data; s.remove {
						delete(state, s.to)
					}
				}
				if torn != "whole" && !mattered {
					break
				}
				if !yield(survivor{fmt.Sprintf("%b %s", chosen, torn), state}) {
					return
				}
			}
		}
	}
}

// files are those of a folder that a store keeps.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) || err == nil && !strings.HasSuffix(p, ".json") {
			return nil
		}
		if err != nil {
			return err
		}
		data, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, p)
		out[filepath.ToSlash(name)] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// some saves only some of the files that a refresh saves at once. Of the others it says
// that they are saved, or that they can not be.
type some struct {
	client.Store
	lost map[string]bool
	err  error
	hit  atomic.Bool // something was lost
}

func (s *some) Save(name string, data []byte) error {
	if s.lost[name] {
		s.hit.Store(true)
		return s.err
	}
	return s.Store.Save(name, data)
}

// TestSavesInAnyOrder: files that a refresh saves at once are there or not, in every
// combination, whatever order the disk, the scheduler and a fault make of them.
func TestSavesInAnyOrder(t *testing.T) {
	atOnce := []string{"timestamp.json", "snapshot.json", "targets.json", "root.json"}
	for name, visit := range visits {
		for _, fault := range []error{nil, storetest.ErrInjected} {
			for lost := range 1 << len(atOnce) {
				if lost >= 1<<3 && !visit.first {
					break // new roots are not saved at once with others
				}
				s := client.NewMemory()
				r, path, replay := visit.prepare(t, s)
				store := &some{Store: s, lost: map[string]bool{}, err: fault}
				for i, name := range atOnce {
					store.lost[name] = lost>>i&1 == 1
				}
				_, err := open(t, r, store).Refresh(t.Context())
				label := fmt.Sprintf("visit %s, lost %04b with %v", name, lost, fault)
				if want := fault != nil && store.hit.Load(); want != (err != nil) || want && !errors.Is(err, fault) {
					t.Errorf("%s: the refresh returned %v", label, err)
				}
				state := map[string]string{}
				for _, name := range append(atOnce, "roots/2.root.json", "roots/3.root.json") {
					if data, err := s.Load(name); err == nil {
						state[name] = string(data)
					}
				}
				goesOn(t, label, r, path, replay, state)
			}
		}
	}
}
