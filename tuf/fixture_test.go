package tuf_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/cjson"
	"example.com/bailiwick/tuf/key"
)

// expires is a date far from any test.
const expires = "2030-01-31T12:00:00Z"

// signer returns the signer number n; the same number gives the same key.
func signer(t testing.TB, n int) key.Signer {
	t.Helper()
	seed := sha256.Sum256(fmt.Appendf(nil, "test key %d", n))
	s, err := key.NewSigner(ed25519.NewKeyFromSeed(seed[:]))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// authority returns the authority of signers.
func authority(t testing.TB, threshold int, signers ...key.Signer) tuf.Authority {
	t.Helper()
	var keys []*key.Public
	for _, s := range signers {
		keys = append(keys, s.Public())
	}
	a, err := tuf.NewAuthority(threshold, keys...)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// signature signs message.
func signature(t testing.TB, message []byte, s key.Signer) tuf.Signature {
	t.Helper()
	sig, err := s.Sign(context.Background(), message)
	if err != nil {
		t.Fatal(err)
	}
	return tuf.Signature{KeyID: s.Public().ID(), Sig: sig}
}

// signed returns a file around the value "signed", which may have any layout, with
// valid signatures.
func signed(t testing.TB, value string, signers ...key.Signer) []byte {
	t.Helper()
	message, err := cjson.Canonical([]byte(value), 0)
	if err != nil {
		t.Fatalf("the fixture is not JSON: %v\n%s", err, value)
	}
	var out []string
	for _, s := range signers {
		one := signature(t, message, s)
		out = append(out, fmt.Sprintf(`{"keyid":"%s","sig":"%x"}`, one.KeyID, one.Sig))
	}
	return fmt.Appendf(nil, `{"signatures":[%s],"signed":%s}`, strings.Join(out, ","), value)
}

// envelope puts unsigned metadata of one type into a file. The members are the ones
// that the type adds, as JSON.
func envelope(role tuf.RoleName, members ...string) []byte {
	return fmt.Appendf(nil, `{"signatures":[],"signed":%s}`, body(role, members...))
}

// body is the "signed" of envelope, with sorted members.
func body(role tuf.RoleName, members ...string) string {
	all := append([]string{
		fmt.Sprintf(`"_type":%q`, role),
		fmt.Sprintf(`"expires":%q`, expires),
		`"spec_version":"1.0.34"`,
		`"version":1`,
	}, members...)
	slices.Sort(all)
	return "{" + strings.Join(all, ",") + "}"
}

// keyObjects returns the members of a "keys" object for signers.
func keyObjects(signers ...key.Signer) string {
	var out []string
	for _, s := range signers {
		k := s.Public()
		out = append(out, fmt.Sprintf("%q:%s", k.ID(), cjson.AppendWire(nil, k.AppendCanonical(nil))))
	}
	slices.Sort(out)
	return strings.Join(out, ",")
}

// roleOf returns a role object of root metadata.
func roleOf(threshold int, signers ...key.Signer) string {
	var ids []string
	for _, s := range signers {
		ids = append(ids, fmt.Sprintf("%q", s.Public().ID()))
	}
	return fmt.Sprintf(`{"keyids":[%s],"threshold":%d}`, strings.Join(ids, ","), threshold)
}

const anyHash = `"hashes":{"sha256":"0000000000000000000000000000000000000000000000000000000000000000"}`

// manyTargets is the body of a file with n targets of about 168 bytes.
func manyTargets(n int) string {
	var b strings.Builder
	b.WriteString(`"targets":{`)
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `"3f/a-project-name/a_project_name-1.%06d.0-py3-none-any.whl":{"hashes":{"sha256":"%x"},"length":%d}`,
			i, sha256.Sum256([]byte{byte(i), byte(i >> 8)}), 10_000+i)
	}
	b.WriteByte('}')
	return body(tuf.RoleTargets, b.String())
}

// manyRoles is the body of a snapshot of n roles, versions only.
func manyRoles(n int) string {
	names := []string{"targets.json"}
	for i := range n - 1 {
		names = append(names, fmt.Sprintf("unclaimed-%04x.json", i))
	}
	slices.Sort(names)
	var b strings.Builder
	b.WriteString(`"meta":{`)
	for i, name := range names {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `"%s":{"version":%d}`, name, 1+i%97)
	}
	b.WriteByte('}')
	return body(tuf.RoleSnapshot, b.String())
}

// manyDelegations is the body of a bin with n terminating delegations, each with a
// key of its own and, if globs is not zero, that many general patterns on top.
func manyDelegations(t testing.TB, n, globs int) string {
	t.Helper()
	var keys, roles []string
	for i := range n {
		k := signer(t, i).Public()
		keys = append(keys, fmt.Sprintf("%q:%s", k.ID(), k.AppendCanonical(nil)))
		pattern := fmt.Sprintf("3f/project-%05d/*", i)
		if i < globs {
			pattern = fmt.Sprintf("*/project-%05d/*", i)
		}
		roles = append(roles, fmt.Sprintf(`{"keyids":["%s"],"name":"project.project-%05d","paths":["%s"],"terminating":true,"threshold":1}`, k.ID(), i, pattern))
	}
	slices.Sort(keys)
	return body(tuf.RoleTargets, `"targets":{}`,
		fmt.Sprintf(`"delegations":{"keys":{%s},"roles":[%s]}`, strings.Join(keys, ","), strings.Join(roles, ",")))
}

// indent lays a file out like a person would.
func indent(t testing.TB, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := json.Indent(&b, data, "", "  "); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// verifiedTargets returns targets metadata that s has signed.
func verifiedTargets(t testing.TB, value string, s key.Signer) *tuf.Targets {
	t.Helper()
	u, err := tuf.ParseTargets(signed(t, value, s), nil)
	if err != nil {
		t.Fatal(err)
	}
	targets, err := u.Verify(authority(t, 1, s))
	if err != nil {
		t.Fatal(err)
	}
	return targets
}

// verifiedSnapshot returns snapshot metadata that s has signed.
func verifiedSnapshot(t testing.TB, value string, s key.Signer) *tuf.Snapshot {
	t.Helper()
	u, err := tuf.ParseSnapshot(signed(t, value, s), nil)
	if err != nil {
		t.Fatal(err)
	}
	snapshot, err := u.Verify(authority(t, 1, s))
	if err != nil {
		t.Fatal(err)
	}
	return snapshot
}
