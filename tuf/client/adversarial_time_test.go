package client_test

import (
	"errors"
	"strings"
	"time"

	"example.com/bailiwick/internal/testrepo"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/client"
	"example.com/bailiwick/tuf/trust"
)

var expirySteps = map[string]string{"timestamp": "5.4.4", "snapshot": "5.5.6", "targets": "5.6.5", "role": "5.6.5"}

// timeAttacks hold a client in the past.
func timeAttacks() []attack {
	var out []attack
	for role, step := range expirySteps {
		want := verdict{trust.Expired, tuf.RoleName(role), step}
		out = append(out, attack{name: role + " is expired", want: want, stored: refusedAt(role), do: func(r *testrepo.Repo) {
			r.Life[role] = -time.Hour
			publishRole(r, role)
		}}, attack{name: role + " expires at this very second", want: want, stored: refusedAt(role), do: func(r *testrepo.Repo) {
			r.Life[role] = 0
			publishRole(r, role)
		}}, attack{name: "harmless: " + role + " expires a second later", stored: acceptedAt(role), do: func(r *testrepo.Repo) {
			r.Life[role] = time.Second
			publishRole(r, role)
		}})
	}
	for role, step := range expirySteps {
		out = append(out, attack{
			name: "frozen until " + role + " is expired", want: verdict{trust.Expired, tuf.RoleName(role), step}, stored: "1 2 2 2",
			prepare: func(r *testrepo.Repo) { r.Life[role] = time.Hour },
			do:      func(r *testrepo.Repo) { r.Advance(time.Hour) },
		})
	}
	out = append(out, attack{
		name: "a new timestamp over an expired snapshot", want: verdict{trust.Expired, "snapshot", "5.5.6"}, stored: "1 3 2 2",
		prepare: func(r *testrepo.Repo) { r.Life["snapshot"] = time.Hour },
		do:      func(r *testrepo.Repo) { r.Advance(2 * time.Hour); r.PublishTimestamp() },
	}, attack{
		name: "an expired timestamp of a higher version", want: verdict{trust.Expired, "timestamp", "5.4.4"}, stored: "1 2 2 2",
		do: func(r *testrepo.Repo) {
			r.Versions["timestamp"] = 1000
			r.Life["timestamp"] = -time.Hour
			r.PublishTimestamp()
			r.Versions["timestamp"] = 2 // an honest one must not be locked out by what was refused
		},
	})
	return out
}

func acceptedAt(role string) string {
	switch role {
	case "timestamp", "snapshot", "role":
		return "1 3 3 2"
	}
	return "1 3 3 3"
}

// rollbackAttacks show a client something older than it has seen. A client that comes
// new can not know.
func rollbackAttacks() []attack {
	accepted := &verdict{}
	var out []attack
	add := func(name string, want verdict, stored string, fresh *verdict, do func(*testrepo.Repo)) {
		out = append(out, attack{name: name, do: do, want: want, fresh: fresh, stored: stored})
	}
	for _, hashes := range []bool{false, true} {
		suffix := map[bool]string{false: "", true: ", with hashes"}[hashes]
		at := func(name string, role tuf.RoleName, step, stored string, do func(*testrepo.Repo)) {
			out = append(out, attack{
				name: name + suffix, options: testrepo.Options{Hashes: hashes}, do: do,
				want: verdict{trust.Rollback, role, step}, fresh: accepted, stored: stored,
			})
		}
		at("an older timestamp", "timestamp", "5.4.3.1", "1 2 2 2", func(r *testrepo.Repo) {
			r.Versions["timestamp"] = 0
			r.PublishTimestamp()
		})
		at("an older snapshot under a new timestamp", "timestamp", "5.4.3.2", "1 2 2 2", func(r *testrepo.Repo) {
			r.Versions["snapshot"] = 0
			r.Publish()
		})
		at("an older targets role in a new snapshot", "snapshot", "5.5.5", "1 3 2 2", func(r *testrepo.Repo) {
			r.Versions["targets"] = 0
			r.Touch("targets")
			r.Publish()
		})
		at("an older delegated role in a new snapshot", "snapshot", "5.5.5", "1 3 2 2", func(r *testrepo.Repo) {
			r.ListEdit["more"] = func(m map[string]any) { m["version"] = 4 }
			r.Publish()
		})
	}
	for i := range out {
		out[i].prepare = func(r *testrepo.Repo) {
			r.Delegate("targets", testrepo.Delegation{Name: "more", Paths: []string{"other"}})
			r.Versions["more"] = 4
		}
	}
	add("a role that is no longer listed", verdict{trust.Rollback, "snapshot", "5.5.5"}, "1 3 2 2", &verdict{trust.Missing, "role", "5.6.7"}, func(r *testrepo.Repo) {
		r.Unlisted["role"] = true
		r.Publish()
	})
	add("the repository as it was at first", verdict{trust.Rollback, "timestamp", "5.4.3.1"}, "1 2 2 2", &verdict{code: notFound}, func(r *testrepo.Repo) {
		r.Versions = map[string]int64{"root": 1}
		r.Roles = map[string]*testrepo.Role{"targets": {Name: "targets", Targets: map[string]map[string]any{}}}
		r.Touch("targets")
		r.Publish()
	})
	add("the same timestamp version with other content", verdict{}, "1 2 2 2", &verdict{trust.Missing, "snapshot", "5.5.1"}, func(r *testrepo.Repo) {
		r.Versions["timestamp"]--
		r.ListEdit["snapshot"] = func(m map[string]any) { m["version"] = 100 }
		r.PublishTimestamp()
	})
	out[len(out)-1].rotate = true // for the one who came new, and believed it
	// Versions far ahead are no attack by themselves; a lower one afterwards is, until
	// the keys change.
	add("fast-forward and back", verdict{trust.Rollback, "timestamp", "5.4.3.1"}, "1 2 2 2", accepted, func(r *testrepo.Repo) {
		r.Versions["timestamp"] = 0
		r.PublishTimestamp()
	})
	out[len(out)-1].prepare = func(r *testrepo.Repo) { r.Versions["root"] = 1 }
	for _, role := range []string{"timestamp", "snapshot"} {
		add("harmless: versions fall after the keys of "+role+" changed", verdict{}, "2 1 1 2", accepted, func(r *testrepo.Repo) {
			r.Top[role] = testrepo.One("new " + role)
			r.PublishRoot()
			r.Versions["timestamp"], r.Versions["snapshot"] = 0, 0
			r.Publish()
		})
		add("harmless: versions fall after the threshold of "+role+" changed", verdict{}, "2 1 1 2", accepted, func(r *testrepo.Repo) {
			r.Top[role] = testrepo.Some(role, 2, 2)
			r.PublishRoot()
			r.Versions["timestamp"], r.Versions["snapshot"] = 0, 0
			r.Publish()
		})
	}
	add("versions fall after only the keys of targets changed", verdict{trust.Rollback, "timestamp", "5.4.3.1"}, "2 2 2 2", accepted, func(r *testrepo.Repo) {
		r.Top["targets"] = testrepo.One("new targets")
		r.PublishRoot()
		r.Versions["timestamp"], r.Versions["snapshot"] = 0, 0
		r.Touch("targets")
		r.Publish()
	})
	return out
}

// mixAttacks put together what does not belong together.
func mixAttacks() []attack {
	var out []attack
	add := func(name string, o testrepo.Options, want verdict, stored string, do func(*testrepo.Repo)) {
		out = append(out, attack{name: name, options: o, do: do, want: want, stored: stored})
	}
	plain := testrepo.Options{Plain: true}
	hashes := testrepo.Options{Plain: true, Hashes: true}
	replay := func(roles ...string) func(*testrepo.Repo) {
		return func(r *testrepo.Repo) {
			old := r.Moment()
			r.Touch("targets", "role")
			r.Publish()
			for _, role := range roles {
				r.ReplayFile(old, role+".json")
			}
		}
	}
	pinned := func(role tuf.RoleName, step string) verdict { return verdict{trust.MixAndMatch, role, step} }
	add("an old snapshot", plain, pinned("snapshot", "5.5.4"), "1 3 2 2", replay("snapshot"))
	add("an old targets role", plain, pinned("targets", "5.6.4"), "1 3 3 2", replay("targets"))
	add("an old delegated role", plain, pinned("role", "5.6.4"), "1 3 3 3", replay("role"))
	add("an old snapshot, with hashes", hashes, verdict{trust.Hash, "snapshot", "5.5.2"}, "1 3 2 2", sameLength("snapshot"))
	add("an old targets role, with hashes", hashes, verdict{trust.Hash, "targets", "5.6.2"}, "1 3 3 2", sameLength("targets"))
	add("an old delegated role, with hashes", hashes, verdict{trust.Hash, "role", "5.6.2"}, "1 3 3 2", sameLength("role"))
	for role, step := range map[string]string{"snapshot": "5.5.4", "targets": "5.6.4", "role": "5.6.4"} {
		listed := map[string]string{"snapshot": "1 3 2 2", "targets": "1 3 3 2", "role": "1 3 3 2"}[role]
		add(role+" of a higher version than listed", testrepo.Options{}, pinned(tuf.RoleName(role), step), listed, func(r *testrepo.Repo) {
			edit(role, func(signed map[string]any) { signed["version"] = 77 })(r)
		})
		add(role+" is missing", testrepo.Options{}, verdict{trust.Missing, tuf.RoleName(role), strings.TrimSuffix(step, "4") + "1"}, listed, func(r *testrepo.Repo) {
			publishRole(r, role)
			r.Remove(r.FileName(role))
		})
		add(role+" can not be reached", testrepo.Options{}, verdict{code: network}, listed, func(r *testrepo.Repo) {
			publishRole(r, role)
			r.Break(r.FileName(role), testrepo.Fault{Err: &client.NetworkError{URL: "http://example.com", Err: errors.New("no route")}})
		})
		add(role+" without end", testrepo.Options{}, verdict{trust.Length, tuf.RoleName(role), strings.TrimSuffix(step, "4") + "1"}, listed, func(r *testrepo.Repo) {
			publishRole(r, role)
			r.Endless(r.FileName(role))
		})
		short := testrepo.Options{Hashes: true}
		add(role+" with a blank more than listed", short, verdict{trust.Length, tuf.RoleName(role), strings.TrimSuffix(step, "4") + "1"}, listed, func(r *testrepo.Repo) {
			publishRole(r, role)
			r.Serve(r.FileName(role), append(r.Bytes(role), ' '))
		})
		add(role+" shorter than listed", short, verdict{trust.Length, tuf.RoleName(role), strings.TrimSuffix(step, "4") + "1"}, listed, func(r *testrepo.Repo) {
			publishRole(r, role)
			r.Truncate(r.FileName(role), 10)
		})
		add(role+" with one bit changed, and listed with its hash", short, verdict{trust.Hash, tuf.RoleName(role), strings.TrimSuffix(step, "4") + "2"}, listed, func(r *testrepo.Repo) {
			publishRole(r, role)
			r.Corrupt(r.FileName(role))
		})
		add(role+" is listed with a hash nobody knows", testrepo.Options{}, verdict{trust.Unsupported, tuf.RoleName(role), strings.TrimSuffix(step, "4") + "2"}, listed, func(r *testrepo.Repo) {
			r.ListEdit[role] = func(m map[string]any) { m["hashes"] = map[string]any{"md5": strings.Repeat("0", 32)} }
			publishRole(r, role)
		})
	}
	add("timestamp is missing", testrepo.Options{}, verdict{trust.Missing, "timestamp", "5.4.1"}, "1 2 2 2", func(r *testrepo.Repo) { r.Remove("timestamp.json") })
	add("timestamp without end", testrepo.Options{}, verdict{trust.Length, "timestamp", "5.4.1"}, "1 2 2 2", func(r *testrepo.Repo) { r.PublishTimestamp(); r.Endless("timestamp.json") })
	add("timestamp can not be reached", testrepo.Options{}, verdict{code: network}, "1 2 2 2", func(r *testrepo.Repo) {
		r.Break("timestamp.json", testrepo.Fault{Err: &client.NetworkError{URL: "http://example.com", Status: 503}})
	})
	add("timestamp beyond the limit", testrepo.Options{}, verdict{trust.Length, "timestamp", "5.4.1"}, "1 2 2 2", edit("timestamp", set("x", strings.Repeat("x", 16_384))))
	return out
}

// sameLength serves a role's bytes of another moment that are as many as the listed ones.
func sameLength(role string) func(*testrepo.Repo) {
	return func(r *testrepo.Repo) {
		publishRole(r, role)
		data := []byte(strings.Replace(string(r.Bytes(role)), `"spec_version":"1.0.34"`, `"spec_version":"1.0.33"`, 1))
		r.Serve(r.FileName(role), data)
	}
}
