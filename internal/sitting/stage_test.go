package sitting_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/sitting"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
	"example.com/bailiwick/tuf/repo"
)

// stage is a repository before a sitting, and a request that does one of everything:
//
//	django    recently claimed, gets promoted
//	flask     claimed by two keys, gets others: its own agreed
//	numpy     claimed, gets parked
//	requests  claimed, recovered: the keys that it gets have signed
//	scipy     claimed, nothing happens to it; in the bin of one of the others
//
// A lie changes the request, as an index would that is in the hands of a thief.
type stage struct {
	*place
	t *testing.T
	r *sitting.Request
}

const beside = "scipy"

// neighbour finds a name of a project in the bin of another.
func (w *place) neighbour(of string) string {
	for i := 0; ; i++ {
		name := fmt.Sprintf("%s-%d", beside, i)
		if w.layout.Bin(projectOf(w.tb, name)) == w.layout.Bin(projectOf(w.tb, of)) {
			return name
		}
	}
}

func newStage(t *testing.T) *stage {
	t.Helper()
	s := &stage{place: newPlace(t, 16), t: t}
	s.claim(s.now.Add(-20*day), 2, "flask")
	s.claim(s.now.Add(-20*day), 1, "numpy", "requests", s.neighbour("django"), s.neighbour("flask"))
	s.take(s.plan(sitting.Wishes{MinAge: 14 * day}))
	s.now = s.now.Add(30 * day)
	s.claim(s.now.Add(-20*day), 1, "django")
	carol := namedKey(t, "carol")
	s.r = s.plan(sitting.Wishes{
		MinAge:     14 * day,
		Park:       projects(t, "numpy"),
		Rekeys:     rekeys(s.rekey("flask", 1, []key.Signer{carol}, repo.TargetsEdit{}, append(s.maintainers["flask"], carol)...)),
		Recoveries: rekeys(s.rekey("requests", 1, []key.Signer{carol}, repo.TargetsEdit{}, carol)),
		Roles:      []tuf.RoleName{tuf.RoleTargets, policy.RoleUnclaimed},
	})
	return s
}

// bin is the claimed bin of a project.
func (s *stage) bin(name string) tuf.RoleName { return s.layout.ClaimedBin(projectOf(s.t, name)) }

// say changes what a payload says.
func (s *stage) say(role tuf.RoleName, edit func(signed object)) { bend(s.t, s.r, role, edit) }

// entries gives a lie the delegations of a payload.
func entries(signed object) []any { return signed["delegations"].(object)["roles"].([]any) }

// entryOf gives it the one of a role.
func (s *stage) entryOf(signed object, role tuf.RoleName) object {
	for _, e := range entries(signed) {
		if e := e.(object); e["name"] == string(role) {
			return e
		}
	}
	s.t.Fatalf("no delegation to %s", role)
	return nil
}

func setEntries(signed object, all []any) { signed["delegations"].(object)["roles"] = all }

// keyObject is a key as metadata has it.
func (s *stage) keyObject(k key.Signer) object {
	var o object
	if err := json.Unmarshal(k.Public().AppendCanonical(nil), &o); err != nil {
		s.t.Fatal(err)
	}
	return o
}

// give gives a delegation to other keys.
func (s *stage) give(signed object, role tuf.RoleName, signers ...key.Signer) {
	var ids []any
	for _, k := range signers {
		ids = append(ids, string(k.Public().ID()))
		signed["delegations"].(object)["keys"].(object)[string(k.Public().ID())] = s.keyObject(k)
	}
	e := s.entryOf(signed, role)
	e["keyids"], e["threshold"] = ids, len(signers)
	tidy(signed)
}

// tidy takes out keys that no delegation names.
func tidy(signed object) {
	used := map[string]bool{}
	for _, e := range entries(signed) {
		for _, id := range e.(object)["keyids"].([]any) {
			used[id.(string)] = true
		}
	}
	keys := signed["delegations"].(object)["keys"].(object)
	for id := range keys {
		if !used[id] {
			delete(keys, id)
		}
	}
}

// forge changes what a signed file says, and has it signed by signers.
func forge(t testing.TB, file []byte, edit func(signed object), signers ...key.Signer) []byte {
	t.Helper()
	u, err := tuf.ParseTargets(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	message := bent(t, u.Message(), edit)
	sigs := u.Signatures()
	if len(signers) > 0 {
		sigs = nil
		for _, s := range signers {
			sigs = append(sigs, signature(t, s, message))
		}
	}
	return tuf.AppendEnvelope(nil, message, sigs)
}

func same(object) {}

// other is a claimed bin that is not the project's and is in the request.
func (s *stage) other(name string) tuf.RoleName {
	for _, p := range s.r.Payloads {
		if policy.KindOf(p.Role) == policy.KindClaimedBin && p.Role != s.bin(name) {
			return p.Role
		}
	}
	s.t.Fatal("the request has one bin")
	return ""
}

// untouched is a claimed bin that is not in the request.
func (s *stage) untouched() tuf.RoleName {
	for bin := range s.layout.BinNames() {
		if role := policy.RoleClaimed + "-" + tuf.RoleName(bin); s.r.Payload(role) == nil {
			return role
		}
	}
	s.t.Fatal("the request has all bins")
	return ""
}

func (s *stage) drop(role tuf.RoleName) {
	s.r.Payloads = slices.DeleteFunc(s.r.Payloads, func(p sitting.Payload) bool { return p.Role == role })
}

func (s *stage) add(role tuf.RoleName, sig tuf.Signature) {
	s.t.Helper()
	if _, err := s.r.Add(role, sig); err != nil {
		s.t.Fatal(err)
	}
}

// keep leaves a payload the signatures of these, and no others.
func (s *stage) keep(role tuf.RoleName, signers ...key.Signer) {
	p := s.r.Payload(role)
	p.Signatures = slices.DeleteFunc(p.Signatures, func(sig tuf.Signature) bool {
		return !slices.ContainsFunc(signers, func(k key.Signer) bool { return k.Public().ID() == sig.KeyID })
	})
}

// resay changes what the new version of a project says, and has it signed by all again.
func (s *stage) resay(name string, edit func(signed object)) {
	role := policy.ProjectRole(projectOf(s.t, name))
	bend(s.t, s.r, role, edit)
	for _, k := range append(s.maintainers[name], namedKey(s.t, "carol")) {
		s.add(role, signature(s.t, k, s.r.Payload(role).Message))
	}
}
