package sitting_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/sitting"
	"example.com/bailiwick/tuf"
)

// TestR5LiesAreRefused: everything that an index in the hands of a thief might hand to the offline signer.
func TestR5LiesAreRefused(t *testing.T) {
	honest := newStage(t)
	judge(t, honest.r, honest.now) // it is fine before
	mallory := namedKey(t, "mallory")
	role := func(name string) tuf.RoleName { return policy.ProjectRole(projectOf(t, name)) }
	for name, c := range map[string]struct {
		lie    func(s *stage)
		reason sitting.Reason
		words  string
	}{
		// The files on which the request is based.
		"a base that was altered": {func(s *stage) {
			p := s.r.Payload(s.bin("django"))
			p.Base = forge(s.t, p.Base, func(o object) { o["x"] = 1 })
		}, sitting.BadSignature, "not signed by the keys that count"},
		"a base signed by somebody else": {func(s *stage) {
			p := s.r.Payload(s.bin("django"))
			p.Base = forge(s.t, p.Base, same, mallory)
		}, sitting.BadSignature, "do not sign"},
		"a base signed by the registry": {func(s *stage) {
			p := s.r.Payload(s.bin("django"))
			p.Base = forge(s.t, p.Base, same, s.keys[policy.KeyRegistry]...)
		}, sitting.BadSignature, "do not sign"},
		"a base with too few signatures": {func(s *stage) {
			p := s.r.Payload(role("flask"))
			p.Base = forge(s.t, p.Base, same, s.maintainers["flask"][0])
		}, sitting.BadSignature, "1 of the 2"},
		"a base of another bin": {func(s *stage) {
			s.r.Payload(s.bin("django")).Base = s.files[s.other("django")]
		}, sitting.Altered, "another role"},
		"no base":              {func(s *stage) { s.r.Payload(s.bin("django")).Base = nil }, sitting.Malformed, "does not bring the signed file"},
		"no base of a project": {func(s *stage) { s.r.Payload(role("flask")).Base = nil }, sitting.Malformed, "does not bring the signed file"},
		"a base that is not the chain's": {func(s *stage) {
			p := s.r.Payload(policy.RoleClaimed)
			p.Base = forge(s.t, p.Base, same, mallory)
		}, sitting.Altered, "not the one of the chain"},
		"a bin from before the last sitting": {func(s *stage) {
			old := newPlace(s.t, 16)
			p := s.r.Payload(s.bin("django"))
			p.Base = old.files[s.bin("django")]
			s.say(p.Role, func(o object) { o["version"] = 2 })
			s.say(policy.RoleClaimed, func(o object) { s.entryOf(o, p.Role)["minimum_version"] = 2 })
		}, sitting.Stale, "would be undone"},

		// The chain above them.
		"a claimed signed by the registry": {func(s *stage) {
			s.r.Chain.Claimed = forge(s.t, s.r.Chain.Claimed, same, s.keys[policy.KeyRegistry]...)
			s.r.Payload(policy.RoleClaimed).Base = s.r.Chain.Claimed
		}, sitting.BadSignature, "claimed"},
		"targets that nobody signed": {func(s *stage) {
			s.r.Chain.Targets = forge(s.t, s.r.Chain.Targets, same, mallory)
			s.r.Payload(tuf.RoleTargets).Base = s.r.Chain.Targets
		}, sitting.BadSignature, "targets"},
		"an unclaimed that nobody signed": {func(s *stage) {
			s.r.Chain.Unclaimed = forge(s.t, s.r.Chain.Unclaimed, same, mallory)
			s.r.Payload(policy.RoleUnclaimed).Base = s.r.Chain.Unclaimed
		}, sitting.BadSignature, "unclaimed"},
		"no root":            {func(s *stage) { s.r.Chain.Roots = nil }, sitting.Malformed, "no root"},
		"no targets":         {func(s *stage) { s.drop(tuf.RoleTargets); s.r.Chain.Targets = nil }, sitting.Malformed, "targets"},
		"no claimed":         {func(s *stage) { s.drop(policy.RoleClaimed); s.r.Chain.Claimed = nil }, sitting.Malformed, "claimed"},
		"no unclaimed":       {func(s *stage) { s.drop(policy.RoleUnclaimed); s.r.Chain.Unclaimed = nil }, sitting.Malformed, "unclaimed"},
		"another root 1":     {func(s *stage) { s.r.Chain.Roots = [][]byte{newPlaceOf(s.t, "other").files[tuf.RoleRoot]} }, sitting.Foreign, "root sha256:"},
		"another repository": {func(s *stage) { s.r.Repository[3]++ }, sitting.Foreign, "root sha256:"},
		"another repository, whole": {func(s *stage) {
			root := newPlaceOf(s.t, "other").files[tuf.RoleRoot]
			s.r.Chain.Roots, s.r.Repository = [][]byte{root}, sha256.Sum256(root)
		}, sitting.BadSignature, "targets"},
		"a second root that nobody signed": {func(s *stage) {
			s.r.Chain.Roots = append(s.r.Chain.Roots, s.r.Chain.Roots[0])
		}, sitting.Altered, "root"},

		// What becomes of a bin.
		"keys of a neighbour changed beside a promotion": {func(s *stage) {
			s.say(s.bin("django"), func(o object) { s.give(o, role(s.neighbour("django")), mallory) })
		}, sitting.Unsigned, "do not sign"},
		"a threshold of a project lowered": {func(s *stage) {
			s.say(s.bin("flask"), func(o object) { s.entryOf(o, role(s.neighbour("flask")))["threshold"] = 0 })
		}, sitting.Malformed, "threshold"},
		"a project that vanished": {func(s *stage) {
			s.say(s.bin("django"), func(o object) {
				setEntries(o, slices.DeleteFunc(entries(o), func(e any) bool { return e.(object)["name"] == string(role(s.neighbour("django"))) }))
				tidy(o)
			})
		}, sitting.NotAllowed, "any more"},
		"a project renamed": {func(s *stage) {
			s.say(s.bin("django"), func(o object) { s.entryOf(o, role(s.neighbour("django")))["name"] = "project.zzz" })
		}, sitting.NotAllowed, "any more"},
		"projects in another order": {func(s *stage) {
			s.say(s.bin("django"), func(o object) { all := entries(o); all[0], all[1] = all[1], all[0] })
		}, sitting.NotAllowed, "where"},
		"a project of another bin": {func(s *stage) {
			s.say(s.bin("django"), func(o object) { e := s.entryOf(o, role("django")); e["name"] = string(role("flask")) })
		}, sitting.Outside, "no project of this bin"},
		"a delegation to no project": {func(s *stage) {
			s.say(s.bin("django"), func(o object) { s.entryOf(o, role("django"))["name"] = "everything" })
		}, sitting.Outside, "no project of this bin"},
		"paths outside the project": {func(s *stage) {
			s.say(s.bin("django"), func(o object) { s.entryOf(o, role("django"))["paths"] = []any{"*/*/*"} })
		}, sitting.Outside, "otherwise than a project"},
		"paths of a neighbour too": {func(s *stage) {
			s.say(s.bin("django"), func(o object) {
				e := s.entryOf(o, role("django"))
				e["paths"] = append(e["paths"].([]any), s.layout.ProjectPattern(projectOf(s.t, s.neighbour("django"))))
			})
		}, sitting.Outside, "otherwise than a project"},
		"paths by hash": {func(s *stage) {
			s.say(s.bin("django"), func(o object) {
				e := s.entryOf(o, role("django"))
				delete(e, "paths")
				e["path_hash_prefixes"] = []any{"00"}
			})
		}, sitting.NotAllowed, "path_hash_prefixes"},
		"paths of a claimed project changed": {func(s *stage) {
			s.say(s.bin("flask"), func(o object) { s.entryOf(o, role("flask"))["paths"] = []any{"*/*/*"} })
		}, sitting.NotAllowed, "paths"},
		"a delegation that does not end the search": {func(s *stage) {
			s.say(s.bin("django"), func(o object) { s.entryOf(o, role("django"))["terminating"] = false })
		}, sitting.Outside, "terminating"},
		"a project that can not be had": {func(s *stage) {
			s.say(s.bin("django"), func(o object) { s.entryOf(o, role("django"))["minimum_version"] = 1000 })
		}, sitting.NotAllowed, "minimum_version"},
		"an unknown member of an entry": {func(s *stage) {
			s.say(s.bin("django"), func(o object) { s.entryOf(o, role("django"))["x"] = 1 })
		}, sitting.NotAllowed, `"x"`},
		"an unknown member of a claimed entry": {func(s *stage) {
			s.say(s.bin("flask"), func(o object) { s.entryOf(o, role("flask"))["x"] = 1 })
		}, sitting.NotAllowed, `"x"`},
		"an unknown member of a bin": {func(s *stage) {
			s.say(s.bin("django"), func(o object) { o["x"] = 1 })
		}, sitting.NotAllowed, `"x"`},
		"an unknown member of the delegations": {func(s *stage) {
			s.say(s.bin("django"), func(o object) { o["delegations"].(object)["x"] = 1 })
		}, sitting.NotAllowed, `"x"`},
		"another form of delegations": {func(s *stage) {
			s.say(s.bin("django"), func(o object) {
				o["delegations"] = object{"keys": object{}, "succinct_roles": object{"keyids": []any{}, "threshold": 1, "bit_length": 32, "name_prefix": "x"}}
			})
		}, sitting.NotAllowed, ""},
		"no delegations": {func(s *stage) {
			s.say(s.bin("django"), func(o object) { delete(o, "delegations") })
		}, sitting.NotAllowed, ""},
		"a file listed by a bin": {func(s *stage) {
			s.say(s.bin("django"), func(o object) {
				p := projectOf(s.t, "django")
				o["targets"] = object{string(fileOf(s.layout, p, "9").Path): object{"length": 1, "hashes": object{"sha256": strings.Repeat("0", 64)}}}
			})
		}, sitting.NotAllowed, "targets"},
		"a bin under the name of another": {func(s *stage) {
			s.say(s.bin("django"), func(o object) { o["role_name"] = string(s.other("django")) })
		}, sitting.Outside, "another role"},
		"two bins swapped": {func(s *stage) {
			a, b := s.r.Payload(s.bin("django")), s.r.Payload(s.bin("flask"))
			a.Message, b.Message = b.Message, a.Message
			a.Base, b.Base = b.Base, a.Base
		}, sitting.Outside, "another role"},
		"a bin without its name": {func(s *stage) {
			s.say(s.bin("django"), func(o object) { delete(o, "role_name") })
		}, sitting.Outside, "role_name"},
		"a version too high": {func(s *stage) {
			s.say(s.bin("django"), func(o object) { o["version"] = 1 << 40 })
			s.say(policy.RoleClaimed, func(o object) { s.entryOf(o, s.bin("django"))["minimum_version"] = 1 << 40 })
		}, sitting.Malformed, "comes"},
		"another specification": {func(s *stage) {
			s.say(s.bin("django"), func(o object) { o["spec_version"] = "1.0.99" })
		}, sitting.NotAllowed, "specification"},
		"a bin that lives for ever": {func(s *stage) {
			s.say(s.bin("django"), func(o object) { o["expires"] = "2050-01-01T00:00:00Z" })
		}, sitting.Dates, "longest"},
		"a bin that is dead": {func(s *stage) {
			s.say(s.bin("django"), func(o object) { o["expires"] = "2029-01-01T00:00:00Z" })
		}, sitting.Dates, "expired"},
		"a project claimed tomorrow": {func(s *stage) {
			s.say(s.bin("django"), func(o object) { s.entryOf(o, role("django"))["since"] = "2031-01-01T00:00:00Z" })
		}, sitting.Dates, "a day to come"},
		"another past of a claimed project": {func(s *stage) {
			s.say(s.bin("flask"), func(o object) { s.entryOf(o, role("flask"))["since"] = "2020-01-01T00:00:00Z" })
		}, sitting.NotAllowed, "since"},

		// Keys of promoted projects.
		"promoted to the registry": {func(s *stage) {
			s.say(s.bin("django"), func(o object) { s.give(o, role("django"), s.keys[policy.KeyRegistry]...) })
		}, sitting.Key, "for registry"},
		"promoted to the timestamp key": {func(s *stage) {
			s.say(s.bin("django"), func(o object) { s.give(o, role("django"), mallory, s.keys[policy.KeyTimestamp][0]) })
		}, sitting.Key, "for timestamp"},
		"promoted to the offline key": {func(s *stage) {
			s.say(s.bin("django"), func(o object) { s.give(o, role("django"), s.keys[policy.KeyClaimed]...) })
		}, sitting.Key, "for claimed"},
		"a threshold out of reach": {func(s *stage) {
			s.say(s.bin("django"), func(o object) { s.entryOf(o, role("django"))["threshold"] = 7 })
		}, sitting.Key, "7 signatures"},
		"a key that is another's": {func(s *stage) {
			s.say(s.bin("django"), func(o object) {
				id := s.entryOf(o, role("django"))["keyids"].([]any)[0].(string)
				o["delegations"].(object)["keys"].(object)[id] = s.keyObject(mallory)
			})
		}, sitting.Key, "not the id of the key"},
		"a key with something in it": {func(s *stage) {
			s.say(s.bin("django"), func(o object) {
				k := s.keyObject(mallory)
				k["x"] = "smuggled"
				raw, _ := json.Marshal(k)
				sum := sha256.Sum256(raw)
				id := hex.EncodeToString(sum[:])
				o["delegations"].(object)["keys"].(object)[id] = k
				s.entryOf(o, role("django"))["keyids"] = []any{id}
				tidy(o)
			})
		}, sitting.Key, "plain"},
		"a key that nobody names": {func(s *stage) {
			s.say(s.bin("django"), func(o object) {
				o["delegations"].(object)["keys"].(object)[string(mallory.Public().ID())] = s.keyObject(mallory)
			})
		}, sitting.NotAllowed, "no delegation names"},
		"the key of a neighbour left out": {func(s *stage) {
			s.say(s.bin("django"), func(o object) {
				id := s.entryOf(o, role(s.neighbour("django")))["keyids"].([]any)[0].(string)
				delete(o["delegations"].(object)["keys"].(object), id)
			})
		}, sitting.Key, "leaves out key"},
		"the key of a neighbour replaced": {func(s *stage) {
			s.say(s.bin("django"), func(o object) {
				id := s.entryOf(o, role(s.neighbour("django")))["keyids"].([]any)[0].(string)
				o["delegations"].(object)["keys"].(object)[id] = s.keyObject(mallory)
			})
		}, sitting.Key, "otherwise than before"},

		// The way to unclaimed.
		"the fall-through dropped": {func(s *stage) {
			s.say(s.bin("django"), func(o object) { all := entries(o); setEntries(o, all[:len(all)-1]); tidy(o) })
		}, sitting.NotAllowed, "unclaimed"},
		"the fall-through first": {func(s *stage) {
			s.say(s.bin("django"), func(o object) {
				all := entries(o)
				setEntries(o, append([]any{all[len(all)-1]}, all[:len(all)-1]...))
			})
		}, sitting.NotAllowed, "does not end"},
		"the fall-through before the new project": {func(s *stage) {
			s.say(s.bin("django"), func(o object) { all := entries(o); n := len(all); all[n-1], all[n-2] = all[n-2], all[n-1] })
		}, sitting.NotAllowed, "does not end"},
		"the fall-through for everything": {func(s *stage) {
			s.say(s.bin("django"), func(o object) { s.entryOf(o, policy.RoleUnclaimed)["paths"] = []any{"*/*/*"} })
		}, sitting.NotAllowed, "paths"},
		"the fall-through not terminating": {func(s *stage) {
			s.say(s.bin("django"), func(o object) { s.entryOf(o, policy.RoleUnclaimed)["terminating"] = false })
		}, sitting.NotAllowed, "does not end"},
		"the fall-through re-keyed": {func(s *stage) {
			s.say(s.bin("django"), func(o object) { s.give(o, policy.RoleUnclaimed, mallory) })
		}, sitting.NotAllowed, "do not sign"},
		"all fall-throughs re-keyed, not all bins": {func(s *stage) {
			for _, p := range s.r.Payloads {
				if policy.KindOf(p.Role) == policy.KindClaimedBin {
					s.say(p.Role, func(o object) { s.give(o, policy.RoleUnclaimed, mallory) })
				}
			}
		}, sitting.NotAllowed, "all of them"},

		// What claimed says of the bins.
		"minimum_version lowered": {func(s *stage) {
			s.say(policy.RoleClaimed, func(o object) { s.entryOf(o, s.bin("django"))["minimum_version"] = 1 })
		}, sitting.NotAllowed, "version 1"},
		"minimum_version of an untouched bin lowered": {func(s *stage) {
			s.say(policy.RoleClaimed, func(o object) { delete(s.entryOf(o, s.untouched()), "minimum_version") })
		}, sitting.NotAllowed, "again"},
		"minimum_version of an untouched bin out of reach": {func(s *stage) {
			s.say(policy.RoleClaimed, func(o object) { s.entryOf(o, s.untouched())["minimum_version"] = 99 })
		}, sitting.NotAllowed, "nobody could install"},
		"minimum_version of a touched bin out of reach": {func(s *stage) {
			s.say(policy.RoleClaimed, func(o object) { s.entryOf(o, s.bin("django"))["minimum_version"] = 99 })
		}, sitting.NotAllowed, "could be undone"},
		"other keys for a bin": {func(s *stage) {
			s.say(policy.RoleClaimed, func(o object) { s.give(o, s.bin("django"), mallory) })
		}, sitting.NotAllowed, "do not sign"},
		"a bin that vanished": {func(s *stage) {
			s.say(policy.RoleClaimed, func(o object) { setEntries(o, entries(o)[1:]) })
		}, sitting.NotAllowed, "delegates to 15"},
		"a bin that does not end the search": {func(s *stage) {
			s.say(policy.RoleClaimed, func(o object) { s.entryOf(o, s.bin("django"))["terminating"] = false })
		}, sitting.NotAllowed, "terminating"},
		"a bin for everything": {func(s *stage) {
			s.say(policy.RoleClaimed, func(o object) { s.entryOf(o, s.bin("django"))["paths"] = []any{"*/*/*"} })
		}, sitting.NotAllowed, "paths"},
		"an unknown member of claimed": {func(s *stage) {
			s.say(policy.RoleClaimed, func(o object) { o["x"] = 1 })
		}, sitting.NotAllowed, `"x"`},
		"names of holders in claimed": {func(s *stage) {
			s.say(policy.RoleClaimed, func(o object) { o[policy.HoldersMember] = object{} })
		}, sitting.NotAllowed, policy.HoldersMember},
		"claimed for ten years": {func(s *stage) {
			s.say(policy.RoleClaimed, func(o object) { o["expires"] = "2040-01-01T00:00:00Z" })
		}, sitting.Dates, "longest"},
		"bins without claimed": {func(s *stage) { s.drop(policy.RoleClaimed) }, sitting.Malformed, "could be shown the bins from before"},

		// What targets and unclaimed say.
		"targets with other bins": {func(s *stage) {
			s.say(tuf.RoleTargets, func(o object) { o[policy.BinsMember] = 256 })
		}, sitting.NotAllowed, policy.BinsMember},
		"targets with another way beside claimed": {func(s *stage) {
			s.say(tuf.RoleTargets, func(o object) {
				e := object{}
				for k, v := range s.entryOf(o, policy.RoleClaimed) {
					e[k] = v
				}
				e["name"] = "also"
				setEntries(o, append(entries(o), e))
			})
		}, sitting.NotAllowed, "delegates to 2"},
		"targets give claimed other keys": {func(s *stage) {
			s.say(tuf.RoleTargets, func(o object) { s.give(o, policy.RoleClaimed, mallory) })
		}, sitting.NotAllowed, "keep its own"},
		"targets list a file": {func(s *stage) {
			s.say(tuf.RoleTargets, func(o object) {
				o["targets"] = object{"00/x/y": object{"length": 1, "hashes": object{"sha256": strings.Repeat("0", 64)}}}
			})
		}, sitting.NotAllowed, "targets"},
		"one unclaimed bin with another registry": {func(s *stage) {
			s.say(policy.RoleUnclaimed, func(o object) { s.give(o, "unclaimed-3", mallory) })
		}, sitting.NotAllowed, "1 of 16"},
		"two registries": {func(s *stage) {
			s.say(policy.RoleUnclaimed, func(o object) { s.give(o, "unclaimed-3", mallory); s.give(o, "unclaimed-4", namedKey(s.t, "trudy")) })
		}, sitting.NotAllowed, "other keys than another bin"},
		"the offline key as registry": {func(s *stage) {
			s.say(policy.RoleUnclaimed, func(o object) {
				for _, e := range entries(o) {
					s.give(o, tuf.RoleName(e.(object)["name"].(string)), s.keys[policy.KeyClaimed]...)
				}
			})
		}, sitting.Key, "keys of its own"},

		// What becomes of projects.
		"a rekey that its maintainers did not sign": {func(s *stage) {
			s.keep(role("flask"), namedKey(s.t, "carol"))
		}, sitting.Unsigned, "the threshold it has now"},
		"a rekey signed by one of two": {func(s *stage) {
			s.keep(role("flask"), namedKey(s.t, "carol"), s.maintainers["flask"][0])
		}, sitting.Unsigned, "the threshold it has now"},
		"a rekey that the new key did not sign": {func(s *stage) {
			s.keep(role("flask"), s.maintainers["flask"]...)
		}, sitting.Unsigned, "every added key"},
		"a rekey to other keys than were signed for": {func(s *stage) {
			s.say(s.bin("flask"), func(o object) { s.give(o, role("flask"), mallory) })
		}, sitting.BadSignature, "has no say"},
		"a rekey without its list": {func(s *stage) { s.drop(role("flask")) }, sitting.Unsigned, "do not sign"},
		"a rekey of a list that was altered": {func(s *stage) {
			sigs := s.r.Payload(role("flask")).Signatures
			s.say(role("flask"), func(o object) { o["expires"] = "2030-06-01T00:00:00Z" })
			s.r.Payload(role("flask")).Signatures = sigs
		}, sitting.BadSignature, "other content"},
		"a rekey that lists more": {func(s *stage) {
			s.resay("flask", func(o object) {
				o["targets"].(object)[string(fileOf(s.layout, projectOf(s.t, "flask"), "9").Path)] = object{"length": 1, "hashes": object{"sha256": strings.Repeat("0", 64)}}
			})
		}, sitting.NotAllowed, "adds no files"},
		"a rekey that lists other content": {func(s *stage) {
			s.resay("flask", func(o object) {
				for _, f := range o["targets"].(object) {
					f.(object)["length"] = 7
				}
			})
		}, sitting.NotAllowed, "other content"},
		"a rekey with an unknown member": {func(s *stage) {
			s.resay("flask", func(o object) { o["x"] = 1 })
		}, sitting.NotAllowed, `"x"`},
		"a rekey to the registry as recovery": {func(s *stage) {
			s.resay("flask", func(o object) { o["x-bailiwick-recovery"] = []any{s.keyObject(s.keys[policy.KeyRegistry][0])} })
		}, sitting.Key, "for registry"},
		"a recovery that the new key did not sign": {func(s *stage) {
			s.keep(role("requests"))
		}, sitting.Unsigned, "every added key"},
		"a recovery that does not say so": {func(s *stage) {
			s.say(s.bin("requests"), func(o object) { delete(s.entryOf(o, role("requests")), policy.RecoveredMember) })
		}, sitting.Unsigned, "the threshold it has now"},
		"a recovery of last year": {func(s *stage) {
			s.say(s.bin("requests"), func(o object) { s.entryOf(o, role("requests"))[policy.RecoveredMember] = "2029-01-01T00:00:00Z" })
		}, sitting.Dates, "recovered now"},
		"parked under other keys": {func(s *stage) {
			s.say(s.bin("numpy"), func(o object) { s.give(o, role("numpy"), mallory) })
		}, sitting.NotAllowed, "not those of its bin"},
		"parked, to be taken back by others": {func(s *stage) {
			s.say(s.bin("numpy"), func(o object) {
				s.entryOf(o, role("numpy"))[policy.ParkedKeysMember] = object{"keys": []any{s.keyObject(mallory)}, "threshold": 1}
			})
		}, sitting.NotAllowed, "could take it back"},
		"parked without whose it was": {func(s *stage) {
			s.say(s.bin("numpy"), func(o object) { delete(s.entryOf(o, role("numpy")), policy.ParkedKeysMember) })
		}, sitting.NotAllowed, "not the other"},
		"parked with another list": {func(s *stage) {
			s.say(role("numpy"), func(o object) {
				for path := range o["targets"].(object) {
					delete(o["targets"].(object), path)
					break
				}
			})
		}, sitting.NotAllowed, "targets"},
		"parked for twenty years": {func(s *stage) {
			s.say(role("numpy"), func(o object) { o["expires"] = "2050-01-01T00:00:00Z" })
		}, sitting.Dates, "longest"},
		"parked without its list": {func(s *stage) { s.drop(role("numpy")) }, sitting.Unsigned, "do not sign"},
		"a list of a promoted project": {func(s *stage) {
			base := s.files[role("django")]
			u, err := tuf.ParseTargets(base, nil)
			if err != nil {
				s.t.Fatal(err)
			}
			s.r.Payloads = append(s.r.Payloads, sitting.Payload{Role: role("django"), Base: base, Message: bent(s.t, u.Message(), func(o object) { o["version"] = 2 })})
			s.r.Sort()
		}, sitting.NotAllowed, "promoting"},
		"a list of a project that nothing happens to": {func(s *stage) {
			name := s.neighbour("django")
			base := s.files[role(name)]
			u, err := tuf.ParseTargets(base, nil)
			if err != nil {
				s.t.Fatal(err)
			}
			s.r.Payloads = append(s.r.Payloads, sitting.Payload{Role: role(name), Base: base, Message: bent(s.t, u.Message(), func(o object) { o["version"] = 2 })})
			s.r.Sort()
		}, sitting.Unsigned, "waits for its maintainers"},

		// The request itself.
		"a signature for other content": {func(s *stage) {
			s.add(s.bin("django"), signature(s.t, s.keys[policy.KeyClaimed][0], []byte("other")))
		}, sitting.BadSignature, "other content"},
		"a signature of somebody": {func(s *stage) {
			p := s.r.Payload(s.bin("django"))
			s.add(p.Role, signature(s.t, mallory, p.Message))
		}, sitting.BadSignature, "no say"},
		"a timestamp": {func(s *stage) {
			s.r.Payloads = append(s.r.Payloads, sitting.Payload{Role: tuf.RoleTimestamp, Message: []byte("{}")})
		}, sitting.Outside, "no role that offline keys"},
		"an unclaimed bin": {func(s *stage) {
			s.r.Payloads = append(s.r.Payloads, sitting.Payload{Role: "unclaimed-3", Message: []byte("{}")})
		}, sitting.Outside, "no role that offline keys"},
		"two payloads of a role": {func(s *stage) {
			s.r.Payloads = append(s.r.Payloads, s.r.Payloads[len(s.r.Payloads)-1])
		}, sitting.Malformed, "two"},
		"payloads in another order": {func(s *stage) { slices.Reverse(s.r.Payloads) }, sitting.Malformed, "order"},
		"no payloads":               {func(s *stage) { s.r.Payloads = nil }, sitting.Malformed, "0 payloads"},
		"from the future":           {func(s *stage) { s.r.Created = s.now.Add(2 * day) }, sitting.Expired, "in the future"},
		"from long ago":             {func(s *stage) { s.r.Created, s.r.Expires = s.now.Add(-40*day), s.now.Add(-day) }, sitting.Expired, "plan it anew"},
		"good for a year":           {func(s *stage) { s.r.Expires = s.now.Add(365 * day) }, sitting.Expired, "60 days"},
		"a note that hides something": {func(s *stage) {
			s.r.Note = "fine \u202e dangerous"
		}, sitting.Malformed, "can be seen"},
		"no metadata": {func(s *stage) { s.r.Payload(s.bin("django")).Message = []byte(`{"a":1}`) }, sitting.Malformed, "no metadata"},
		"not canonical": {func(s *stage) {
			p := s.r.Payload(s.bin("django"))
			p.Message = append([]byte("{ "), p.Message[1:]...)
		}, sitting.Malformed, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := &stage{place: honest.place, t: t, r: honest.r.Clone()}
			c.lie(s)
			v, err := sitting.Judge(s.r, s.now)
			if err == nil {
				t.Fatalf("signed without a word: %v", v.Changes)
			}
			wantRefused(t, err, c.reason, c.words)
		})
	}
}
