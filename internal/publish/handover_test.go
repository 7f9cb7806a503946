package publish_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"example.com/bailiwick/internal/ceremony"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/internal/publish/publishtest"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/internal/record"
	"example.com/bailiwick/internal/sitting"
	"example.com/bailiwick/tuf/key"
)

// TestR36RecoveryTakesItsTime: operators give a project to other keys after the delay that was announced, never before,
// to no other keys, and not if its maintainers were there after all.
func TestR36RecoveryTakesItsTime(t *testing.T) {
	const delay = 10 * 24 * time.Hour
	for _, promoted := range []bool{false, true} {
		t.Run(fmt.Sprintf("promoted=%v", promoted), func(t *testing.T) {
			f := newOffice(t, publishtest.Options{}, func(c *publish.Config) { c.RecoveryDelay = delay })
			old, next, wrong := people(t, 1), people(t, 1), people(t, 1)
			claimed(t, f.p, "flask", old...)
			f.release(t, "flask-1.tar.gz", old...)
			if promoted {
				f.publish(t, sitting.Wishes{Only: []pypi.Project{project(t, "flask")}})
			}
			recoveryTo := func(keys []key.Signer) *sitting.Request {
				d := publishtest.Draft{Kind: ceremony.Rekey, Keys: keys}
				return f.sign(t, f.plan(t, sitting.Wishes{Recoveries: []*ceremony.Request{f.request(t, "flask", d, keys...)}}))
			}
			fails := func(r *sitting.Request, want error) {
				t.Helper()
				f.unchanged(t, "a recovery", func() {
					if _, err := f.p.Publish(t.Context(), publish.Offline{Request: r}); !errors.Is(err, want) {
						t.Errorf("published with %v, want %v", err, want)
					}
				})
			}
			fails(recoveryTo(next), publish.ErrNoRecovery)
			if _, err := f.p.Announce(t.Context(), announcement(t, "flask", next...)); err != nil {
				t.Fatal(err)
			}
			fails(recoveryTo(next), publish.ErrTooEarly)
			f.now.set(publishtest.Start().Add(delay - time.Second))
			fails(recoveryTo(next), publish.ErrTooEarly)
			f.now.set(publishtest.Start().Add(delay))
			fails(recoveryTo(wrong), publish.ErrInvalid)
			must(t, f.p, publish.Offline{Request: recoveryTo(next), Token: "operator"})
			f.wantAssurance(t, "flask-1.tar.gz", policy.Claimed, 3)
			want := []record.Kind{record.Claimed, record.RecoveryAnnounced, record.Recovered}
			if promoted {
				want = []record.Kind{record.Claimed, record.Promoted, record.RecoveryAnnounced, record.Recovered}
			}
			entries := wantRecord(t, f.p, want...)
			last := entries[len(entries)-1]
			if last.Old.IDs[0] != old[0].Public().ID() || last.New.IDs[0] != next[0].Public().ID() || last.Time.Before(entries[len(entries)-2].NotBefore) {
				t.Errorf("the record says %+v", last)
			}
			f.release(t, "flask-2.tar.gz", next...)
			f.wantAssurance(t, "flask-2.tar.gz", policy.Claimed, 4)
			if waits := f.p.Current().Recoveries(); len(waits) != 0 {
				t.Errorf("%+v waits after it took effect", waits)
			}
			check(t, f.l)
		})
	}
}

// TestR65ParkedProjects: the offline key signs the last list as it is; nothing can be added online, and the registry does
// not renew it.
func TestR65ParkedProjects(t *testing.T) {
	f := newOffice(t, publishtest.Options{})
	keys := people(t, 1)
	claimed(t, f.p, "flask", keys...)
	f.release(t, "flask-1.tar.gz", keys...)
	f.publish(t, sitting.Wishes{Only: []pypi.Project{project(t, "flask")}})
	f.publish(t, sitting.Wishes{Park: []pypi.Project{project(t, "flask")}})
	f.follow(t)
	for _, c := range f.clients {
		found, err := c.find(t, f, "flask-1.tar.gz")
		if err != nil {
			t.Fatal(err)
		}
		if last := found.Chain[len(found.Chain)-1]; last.Version != 3 || last.Signers[0] != f.keys[policy.KeyClaimed].Public().ID() {
			t.Errorf("the parked list is version %d, signed by %v", last.Version, last.Signers)
		}
	}
	if _, err := f.p.Publish(t.Context(), add(t, "flask-2.tar.gz", "a")); !errors.Is(err, publish.ErrNotRegistry) {
		t.Errorf("an upload to a parked project: %v, want ErrNotRegistry", err)
	}
	wantRecord(t, f.p, record.Claimed, record.Promoted, record.Parked)
	roles, err := f.l.Roles(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(roles, func(r publish.Role) bool { return r.Name == "project.flask" })
	if !roles[i].Maintained {
		t.Error("the registry is to renew the parked project")
	}
}
