package tuf_test

import (
	"bytes"
	"testing"

	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/cjson"
)

// FuzzParse gives any bytes to all four parsers. Whatever one accepts must be usable
// in every way without a panic, and stand for one message.
func FuzzParse(f *testing.F) {
	for _, role := range types {
		data, _ := minimal(f, role)
		f.Add(data)
		f.Add(indent(f, data))
	}
	s := signer(f, 1)
	f.Add(signed(f, manyTargets(2), s))
	f.Add(signed(f, manyRoles(3), s))
	f.Add(signed(f, manyDelegations(f, 3, 1), s))
	f.Add(envelope(tuf.RoleTargets, `"targets":{"b":{"custom":{},`+anyHash+`,"length":1},"a":{`+anyHash+`,"length":1}}`,
		`"delegations":{"keys":{"k":{"keytype":"rsa","scheme":"x","keyval":{}}},"succinct_roles":{"bit_length":9,"keyids":["k"],"name_prefix":"b","threshold":2}}`))
	f.Add(envelope(tuf.RoleTargets, `"targets":{}`, `"delegations":{"keys":{},"roles":[`+hashed("a", "0f")+`,`+delegated("b", "*/[!a]", "[")+`]}`))
	a := authority(f, 1, s)
	f.Fuzz(func(t *testing.T, data []byte) {
		if u, err := tuf.ParseRoot(data, nil); err == nil {
			checkDocument(t, u, a)
			root := tuf.UnverifiedValue(u)
			for role := range root.Roles() {
				authority, _ := root.Authority(role)
				for _, id := range authority.KeyIDs() {
					authority.Key(id)
				}
				u.Signers(authority)
			}
		}
		if u, err := tuf.ParseTimestamp(data, nil); err == nil {
			checkDocument(t, u, a)
			if tuf.UnverifiedValue(u).Snapshot().Version < 1 {
				t.Fatal("no snapshot")
			}
		}
		if u, err := tuf.ParseSnapshot(data, nil); err == nil {
			checkDocument(t, u, a)
			snapshot := tuf.UnverifiedValue(u)
			for role, meta := range snapshot.All() {
				if found, ok := snapshot.Lookup(role); !ok || found != meta || meta.Version < 1 {
					t.Fatalf("%q is not found", role)
				}
			}
			for range snapshot.Changes(snapshot) {
				t.Fatal("a snapshot differs from itself")
			}
		}
		if u, err := tuf.ParseTargets(data, nil); err == nil {
			checkDocument(t, u, a)
			checkTargets(t, tuf.UnverifiedValue(u))
		}
	})
}

func checkDocument[T any](t *testing.T, u *tuf.Unverified[T], a tuf.Authority) {
	t.Helper()
	// Nobody can sign by chance; the seeds that are signed do count.
	if _, err := u.Verify(a); err == nil && len(u.Signatures()) == 0 {
		t.Fatal("unsigned metadata verifies")
	}
	wire := tuf.AppendEnvelope(nil, u.Message(), u.Signatures())
	message, err := cjson.Canonical(cjson.AppendWire(nil, u.Message()), 0)
	if err != nil || !bytes.Equal(message, u.Message()) {
		t.Fatalf("the message is not canonical: %v", err)
	}
	if h := u.Header(); h.Version < 1 || h.SpecVersion == "" {
		t.Fatalf("header %+v", h)
	}
	if _, err := cjson.Canonical(wire, 0); err != nil {
		t.Fatalf("the published form is refused: %v", err)
	}
}

func checkTargets(t *testing.T, targets *tuf.Targets) {
	t.Helper()
	n := 0
	for target := range targets.All() {
		n++
		if _, err := tuf.ParseTargetPath(string(target.Path)); err != nil {
			t.Fatal(err)
		}
		if found, ok := targets.Lookup(target.Path); !ok || found.Length != target.Length || found.Hashes != target.Hashes {
			t.Fatalf("%q is not found", target.Path)
		}
		if _, err := tuf.AppendTarget(nil, target); err != nil {
			t.Fatal(err)
		}
	}
	d := targets.Delegations()
	if n != targets.Len() || d == nil {
		return
	}
	for i := range min(d.Len(), 50) {
		one := d.At(i)
		if found, ok := d.Find(one.Name()); !ok || found != one {
			t.Fatalf("%q is not found", one.Name())
		}
		if one.Name().TopLevel() {
			t.Fatalf("%q is delegated", one.Name())
		}
		if a, err := one.Authority(); err != nil || a.Threshold() < 1 {
			t.Fatalf("%q: threshold %d, %v", one.Name(), a.Threshold(), err)
		}
	}
	last := -1
	for one := range d.Match("a/b") {
		if !one.Matches("a/b") || one.Position() <= last {
			t.Fatalf("%q at %d does not belong here", one.Name(), one.Position())
		}
		last = one.Position()
	}
}
