package client_test

import (
	"encoding/hex"
	"fmt"
	"strings"

	"example.com/bailiwick/internal/testrepo"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/trust"
)

// steps are where signatures of each role are counted.
var steps = map[string]string{"root": "5.3.4", "timestamp": "5.4.2", "snapshot": "5.5.3", "targets": "5.6.3", "role": "5.6.3"}

// tooFew is the verdict on a role that too few keys signed.
func tooFew(role string) verdict { return verdict{trust.Threshold, tuf.RoleName(role), steps[role]} }

// sigs publishes the next version of a role, signed by keys of the attacker's choice.
func sigs(role string, keys ...testrepo.Key) func(*testrepo.Repo) {
	return func(r *testrepo.Repo) {
		r.SignWith[role] = append([]testrepo.Key{}, keys...)
		publishRole(r, role)
	}
}

// keyAttacks are signatures that must not count, and roles whose keys are not what they
// seem.
func keyAttacks() []attack {
	var out []attack
	k, all := testrepo.NewKey, []string{"root", "timestamp", "snapshot", "targets", "role"}
	for _, role := range all {
		add := func(name string, do func(*testrepo.Repo)) {
			out = append(out, attack{name: role + ": " + name, do: do, want: tooFew(role), stored: refusedAt(role)})
		}
		sigless := func(change func(sig string) string) func(*testrepo.Repo) {
			return file(role, func(s string) string {
				head, rest, _ := strings.Cut(s, `"sig":"`)
				sig, tail, _ := strings.Cut(rest, `"`)
				return head + `"sig":"` + change(sig) + `"` + tail
			})
		}
		add("no signatures", sigs(role))
		add("signed by a stranger", sigs(role, k("attacker")))
		add("signed by a stranger in the right name", func(r *testrepo.Repo) { publishRole(r, role); r.SwapKey(role) })
		add("an empty signature", sigless(func(string) string { return "" }))
		add("a signature cut short", sigless(func(s string) string { return s[:len(s)-2] }))
		add("a signature with a byte more", sigless(func(s string) string { return s + "00" }))
		add("a signature that is no hex", sigless(func(s string) string { return "x" + s[1:] }))
		add("one bit of the signature", sigless(func(s string) string { return flip(s) }))
		add("a signature of zeros", sigless(func(s string) string { return strings.Repeat("0", len(s)) }))
		add("an id in capitals", file(role, func(s string) string {
			head, rest, _ := strings.Cut(s, `"keyid":"`)
			id, tail, _ := strings.Cut(rest, `"`)
			return head + `"keyid":"` + strings.ToUpper(id) + `"` + tail
		}))
		add("content changed after it was signed", file(role, func(s string) string {
			return strings.Replace(s, `"spec_version":"1.0.34"`, `"spec_version":"1.0.33"`, 1)
		}))
		add("the signature of the version before", func(r *testrepo.Repo) {
			old := string(r.Bytes(role))
			publishRole(r, role)
			sigsOf, _, _ := strings.Cut(old, `,"signed":`)
			_, signed, _ := strings.Cut(string(r.Bytes(role)), `,"signed":`)
			r.Serve(r.FileName(role), []byte(sigsOf+`,"signed":`+signed))
		})
	}
	for _, pair := range [][2]string{{"timestamp", "snapshot"}, {"timestamp", "root"}, {"snapshot", "timestamp"}, {"targets", "snapshot"}, {"targets", "role"}, {"role", "targets"}, {"root", "targets"}} {
		key := pair[1] + "-1"
		out = append(out, attack{
			name: fmt.Sprintf("%s signed by the key of %s", pair[0], pair[1]), do: sigs(pair[0], k(key)),
			want: tooFew(pair[0]), stored: refusedAt(pair[0]),
		})
	}
	return append(out, thresholdAttacks()...)
}

// flip changes one bit of hex digits, in the middle.
func flip(s string) string {
	raw, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	raw[len(raw)/2] ^= 1
	return hex.EncodeToString(raw)
}

// thresholdAttacks let few keys look like many. The honest repository wants two of two.
func thresholdAttacks() []attack {
	k := testrepo.NewKey
	two := testrepo.Options{Threshold: 2}
	var out []attack
	for _, role := range []string{"timestamp", "snapshot", "targets", "root"} {
		first, second := k(role+"-1"), k(role+"-2")
		add := func(name string, want verdict, do func(*testrepo.Repo)) {
			out = append(out, attack{name: "two of " + role + ": " + name, options: two, do: do, want: want, stored: refusedAt(role)})
		}
		malformed := verdict{trust.Malformed, tuf.RoleName(role), "4.3"}
		add("one of them", tooFew(role), sigs(role, first))
		add("one of them and a stranger", tooFew(role), sigs(role, first, k("attacker")))
		add("one of them twice", malformed, sigs(role, first, first))
		add("one of them, and in the name of the other", tooFew(role), func(r *testrepo.Repo) {
			sigs(role, first, second)(r)
			r.Serve(r.FileName(role), []byte(copySig(string(r.Bytes(role)))))
		})
		add("both, and one of them again", malformed, sigs(role, first, second, second))
		many := malformed
		if role == "timestamp" { // which is refused by its length already
			many = verdict{trust.Length, "timestamp", "5.4.1"}
		}
		add("more signatures than are read", many, func(r *testrepo.Repo) {
			r.SignWith[role] = append(testrepo.Keys("junk", 300), first, second)
			publishRole(r, role)
		})
	}
	// Roots and delegations that name one key twice, in two ways.
	same := k("role-1")
	other := k("role-1")
	other.Object = map[string]any{"keytype": "ed25519", "scheme": "ed25519", "keyval": same.Object["keyval"], "x": "another id"}
	upper := k("role-1")
	upper.Object = map[string]any{"keytype": "ed25519", "scheme": "ed25519", "keyval": map[string]any{
		"public": strings.ToUpper(same.Object["keyval"].(map[string]any)["public"].(string)),
	}}
	delegate := func(h testrepo.Holders) func(*testrepo.Repo) {
		return func(r *testrepo.Repo) {
			r.Roles["targets"].Delegations[0].Holders, r.Roles["role"].Holders = h, h
			r.Touch("targets")
			publishRole(r, "role")
		}
	}
	add := func(name string, want verdict, stored string, do func(*testrepo.Repo)) {
		out = append(out, attack{name: name, do: do, want: want, stored: stored})
	}
	add("one key under two ids", tooFew("role"), "1 3 3 3", delegate(testrepo.Holders{Keys: []testrepo.Key{same, other}, Threshold: 2}))
	add("one key in two spellings", tooFew("role"), "1 3 3 3", delegate(testrepo.Holders{Keys: []testrepo.Key{same, upper}, Threshold: 2}))
	add("one key id listed twice", verdict{trust.Malformed, "targets", "4.3"}, "1 3 3 2", delegate(testrepo.Holders{Keys: []testrepo.Key{same, same}, Threshold: 2}))
	add("a threshold above the number of keys", tooFew("role"), "1 3 3 3", delegate(testrepo.Holders{Keys: []testrepo.Key{same}, Threshold: 2}))
	add("no keys at all", tooFew("role"), "1 3 3 3", delegate(testrepo.Holders{Threshold: 1}))
	weak := func(name string, object map[string]any) {
		bad := same
		bad.Object = object
		add(name, tooFew("role"), "1 3 3 3", delegate(testrepo.Holders{Keys: []testrepo.Key{bad}, Threshold: 1}))
	}
	ed := func(public any) map[string]any {
		return map[string]any{"keytype": "ed25519", "scheme": "ed25519", "keyval": map[string]any{"public": public}}
	}
	weak("a key of small order", ed("01"+strings.Repeat("00", 31)))
	weak("a key of all zeros", ed(strings.Repeat("00", 32)))
	weak("a key that is too short", ed("00"))
	weak("a key that is empty", ed(""))
	weak("a key that is no text", ed(nil))
	weak("a key without its value", map[string]any{"keytype": "ed25519", "scheme": "ed25519", "keyval": map[string]any{}})
	weak("a key of an unknown type", map[string]any{"keytype": "ml-dsa", "scheme": "ml-dsa-65", "keyval": same.Object["keyval"]})
	weak("a key of an unknown scheme", map[string]any{"keytype": "ed25519", "scheme": "none", "keyval": same.Object["keyval"]})
	weak("a key of another type than its scheme", map[string]any{"keytype": "rsa", "scheme": "ed25519", "keyval": same.Object["keyval"]})
	weak("an RSA key of 1024 bits", map[string]any{"keytype": "rsa", "scheme": "rsassa-pss-sha256", "keyval": map[string]any{"public": rsa1024}})
	weak("a key that is a secret for an HMAC", map[string]any{"keytype": "ed25519", "scheme": "hmac-sha256", "keyval": same.Object["keyval"]})
	add("a key under an id that is not its hash", tooFew("role"), "1 3 3 3", func(r *testrepo.Repo) {
		r.Edit["targets"] = func(signed map[string]any) {
			ds := signed["delegations"].(map[string]any)
			keys := ds["keys"].(map[string]any)
			for id := range keys { // the attacker's key in the place of the right one
				keys[id] = k("attacker").Object
			}
		}
		r.Touch("targets")
		publishRole(r, "role")
	})
	add("a key id without a key", tooFew("role"), "1 3 3 3", func(r *testrepo.Repo) {
		r.Edit["targets"] = set("delegations keys", map[string]any{})
		r.Touch("targets")
		publishRole(r, "role")
	})
	out = append(out, attack{
		name: "harmless: an unknown key beside enough known ones", stored: "1 3 3 3",
		do: delegate(testrepo.Holders{Keys: []testrepo.Key{same, {Name: "new", Private: k("new").Private, Object: map[string]any{
			"keytype": "ml-dsa", "scheme": "ml-dsa-65", "keyval": map[string]any{"public": "AAAA"},
		}}}, Threshold: 1}),
	})
	return out
}

// copySig gives the second signature the bytes of the first.
func copySig(s string) string {
	parts := strings.Split(s, `"sig":"`)
	sig, _, _ := strings.Cut(parts[1], `"`)
	_, tail, _ := strings.Cut(parts[2], `"`)
	return parts[0] + `"sig":"` + parts[1] + `"sig":"` + sig + `"` + tail
}

const rsa1024 = `-----BEGIN PUBLIC KEY-----
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDIHM6gUmXsTGS2QCmDhmC8OaN1
0FVQTCVzBw5lO0LPyyYg1UYY1xVb2ZJ1Bj4SvDEk8XOHHyRMcrNT1YF9m0ajEoTI
Ay6HA7D8YlAbsUMMRNNlSkIpgQfxH8a6IG0P1xgJ7aCJt6lDWcO7JC2gPCSWhfEM
nzq1Wn7Y0wmyaQIDAQAB
-----END PUBLIC KEY-----
`

// rootAttacks are chains of roots that must not be followed.
func rootAttacks() []attack {
	k := testrepo.NewKey
	var out []attack
	add := func(name string, want verdict, stored string, do func(*testrepo.Repo)) {
		out = append(out, attack{name: name, do: do, want: want, stored: stored})
	}
	isVersion := verdict{trust.Version, "root", "5.3.5"}
	rotated := func(r *testrepo.Repo) { r.Top["root"] = testrepo.One("new root") }
	add("the next root is the present one", isVersion, "1 2 2 2", func(r *testrepo.Repo) { r.Serve("2.root.json", r.Root(1)) })
	add("a root is skipped", isVersion, "1 2 2 2", func(r *testrepo.Repo) {
		r.PublishRoot()
		r.PublishRoot()
		r.Serve("2.root.json", r.Root(3))
	})
	add("a version out of reach", isVersion, "1 2 2 2", edit("root", set("version", int64(1<<62))))
	add("new keys, not signed by the old", tooFew("root"), "1 2 2 2", func(r *testrepo.Repo) {
		rotated(r)
		sigs("root", k("new root-1"))(r)
	})
	add("new keys, not signed by themselves", tooFew("root"), "1 2 2 2", func(r *testrepo.Repo) {
		rotated(r)
		sigs("root", k("root-1"))(r)
	})
	add("the old keys after they were replaced", tooFew("root"), "2 2 2 2", func(r *testrepo.Repo) {
		rotated(r)
		r.PublishRoot()
		r.Top["root"] = testrepo.One("root")
		sigs("root", k("root-1"))(r)
	})
	add("a stolen timestamp key makes a root", tooFew("root"), "1 2 2 2", func(r *testrepo.Repo) {
		r.Top["targets"] = testrepo.One("attacker")
		sigs("root", k("timestamp-1"))(r)
	})
	add("the second of two roots is bad", tooFew("root"), "2 2 2 2", func(r *testrepo.Repo) {
		r.PublishRoot()
		sigs("root")(r)
	})
	add("a timestamp in a root's place", verdict{trust.Malformed, "root", "4.3"}, "1 2 2 2", func(r *testrepo.Repo) {
		r.Serve("2.root.json", r.Bytes("timestamp"))
	})
	add("a targets file of the root's keys in its place", verdict{trust.Malformed, "root", "4.3"}, "1 2 2 2", func(r *testrepo.Repo) {
		edit("root", set("_type", "targets"))(r)
	})
	add("a root without end", verdict{trust.Length, "root", "5.3.3"}, "1 2 2 2", func(r *testrepo.Repo) { r.Endless("2.root.json") })
	add("a root beyond the limit", verdict{trust.Length, "root", "5.3.3"}, "1 2 2 2", func(r *testrepo.Repo) {
		edit("root", set("x", strings.Repeat("x", 512_000)))(r)
	})
	add("more roots than are followed, the last expired", verdict{trust.Expired, "root", "5.3.10"}, "257 2 2 2", func(r *testrepo.Repo) {
		r.Life["root"] = -1
		for range 300 {
			r.PublishRoot()
		}
	})
	add("the newest root is expired", verdict{trust.Expired, "root", "5.3.10"}, "2 2 2 2", func(r *testrepo.Repo) {
		r.Life["root"] = -1
		r.PublishRoot()
	})
	add("the newest root expires at this very second", verdict{trust.Expired, "root", "5.3.10"}, "2 2 2 2", func(r *testrepo.Repo) {
		r.Life["root"] = 0
		edit("root", set("expires", r.Now().Format("2006-01-02T15:04:05Z")))(r)
	})
	out = append(out, attack{name: "harmless: a root in between is expired", stored: "3 2 2 2", do: func(r *testrepo.Repo) {
		r.Life["root"] = -1
		r.PublishRoot()
		delete(r.Life, "root")
		r.PublishRoot()
	}})
	add("a root that takes consistent snapshots back, with nothing under plain names", verdict{trust.Missing, "snapshot", "5.5.1"}, "2 3 2 2", func(r *testrepo.Repo) {
		edit("root", set("consistent_snapshot", false))(r)
		r.Publish()
	})
	return out
}
