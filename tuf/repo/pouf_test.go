package repo_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/cjson"
	"example.com/bailiwick/tuf/key"
	"example.com/bailiwick/tuf/repo"
	"example.com/bailiwick/tuf/trust"
)

// pem is a P-256 key, for what becomes of line breaks.
const pem = `-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEGpOKjKuhvodTjmnJguef2vM8qWau
znRCROE1fVqV3VDq3UihbongP/nBoug7Tw1rxQYDJ8lYKcA2pgYWqWjqSg==
-----END PUBLIC KEY-----
`

// vectors are the bytes that docs/pouf.md shows, by the words above each. The private
// keys are SHA-256 of "an example's key: " and the name of the role.
func vectors(t *testing.T) map[string][]byte {
	t.Helper()
	now := time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)
	signers := map[tuf.RoleName]key.Signer{}
	authorities := map[tuf.RoleName]tuf.Authority{}
	for _, role := range []tuf.RoleName{tuf.RoleRoot, tuf.RoleTargets, tuf.RoleSnapshot, tuf.RoleTimestamp} {
		signers[role], authorities[role] = holder(string(role))
	}
	_, authorities["project.flask"] = holder("project")
	signers["project.flask"], _ = holder("project")
	issue := func(role tuf.RoleName, version int64) repo.Issue {
		return repo.Issue{Role: role, Version: version, Now: now, Expires: now.AddDate(0, 0, 7), Authority: authorities[role]}
	}
	out := map[string][]byte{}
	publish := func(d *repo.Draft, err error) []byte {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		data, err := repo.Sign(context.Background(), d, signers[d.Role()])
		if err != nil {
			t.Fatal(err)
		}
		out[trust.FileName(d.Role(), d.Version(), true)] = data
		return data
	}
	top := map[tuf.RoleName]tuf.Authority{}
	for _, role := range []tuf.RoleName{tuf.RoleRoot, tuf.RoleTargets, tuf.RoleSnapshot, tuf.RoleTimestamp} {
		top[role] = authorities[role]
	}
	publish(repo.NewRoot(repo.RootSpec{ConsistentSnapshot: true, Roles: top}, issue(tuf.RoleRoot, 1)))
	publish(repo.NewTargets(repo.TargetsSpec{
		Delegations: []repo.Delegation{{
			Role: "project.flask", Authority: authorities["project.flask"], Paths: []string{"b8/flask/*"}, Terminating: true, MinimumVersion: 3,
		}},
		Members: map[string][]byte{"x-bailiwick-bins": []byte("256")},
	}, issue(tuf.RoleTargets, 1)))
	publish(repo.NewTargets(repo.TargetsSpec{Targets: []tuf.Target{{
		Path: "b8/flask/flask-3.1.0.tar.gz", Length: 6, Hashes: tuf.NewHashes([]byte("hello\n")),
		Custom: []byte(`{"requires-python":">=3.9","upload-time":"2030-01-01T11:59:58.25Z","version":"3.1.0","yanked":"broken \"wheel\""}`),
	}}}, issue("project.flask", 4)))
	snapshot := publish(repo.NewSnapshot(map[tuf.RoleName]int64{"targets": 1, "project.flask": 4}, issue(tuf.RoleSnapshot, 2)))
	publish(repo.NewTimestamp(repo.MetaOf(2, snapshot), issue(tuf.RoleTimestamp, 5)))
	p256, err := key.New("ecdsa", "ecdsa-sha2-nistp256", pem)
	if err != nil {
		t.Fatal(err)
	}
	out["wire form of a key"] = cjson.AppendWire(nil, p256.AppendCanonical(nil))
	out["key id of that key"] = []byte(p256.ID())
	return out
}

// The document shows what the code writes, byte for byte.
func TestPOUFShowsWhatIsWritten(t *testing.T) {
	document, err := os.ReadFile("../../docs/pouf.md")
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range vectors(t) {
		block := fmt.Sprintf("`%s`:\n\n```\n%s\n```\n", name, data)
		if !bytes.Contains(document, []byte(block)) {
			t.Errorf("docs/pouf.md does not have this:\n%s", block)
		}
	}
	// The limits of the table are the ones in force.
	l := tuf.DefaultLimits()
	for what, n := range map[string]int64{
		"root": l.RootBytes, "timestamp": l.TimestampBytes, "snapshot": l.SnapshotBytes, "targets": l.TargetsBytes,
		"nesting": int64(l.Nesting), "signatures": int64(l.Signatures), "keys of a file": int64(l.Keys), "key ids of a role": int64(l.RoleKeys),
		"roles of a snapshot": int64(l.SnapshotRoles), "targets of a file": int64(l.Targets), "custom object": int64(l.CustomBytes),
		"delegations of a file": int64(l.Delegations), "patterns of a delegation": int64(l.Patterns), "patterns of a file": int64(l.FilePatterns), "roots in one update": trust.DefaultLimits().Roots,
		"roles in one search": int64(trust.DefaultLimits().Roles), "bytes in one search": trust.DefaultLimits().SearchBytes, "steps of matching in one search": trust.DefaultLimits().SearchSteps,
		"role name": tuf.MaxRoleName, "target path": tuf.MaxTargetPath, "key id": tuf.MaxKeyID, "members of signed": int64(l.Members),
		"target": l.TargetLength, "roles of a root": int64(l.RootRoles),
	} {
		line := fmt.Sprintf("| %s | %d |", what, n)
		if !strings.Contains(string(document), line) {
			t.Errorf("docs/pouf.md does not have the line %s", line)
		}
	}
}
