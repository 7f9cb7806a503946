package client_test

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/client"
	"example.com/bailiwick/tuf/key"
	"example.com/bailiwick/tuf/repo"
	"example.com/bailiwick/tuf/trust"
)

// site is a repository whose snapshot lists 16,384 roles, at two moments.
func site(b *testing.B, now time.Time) (moments [2]shelf, root []byte) {
	b.Helper()
	signers := map[tuf.RoleName]key.Signer{}
	authorities := map[tuf.RoleName]tuf.Authority{}
	top := map[tuf.RoleName]tuf.Authority{}
	for _, role := range []tuf.RoleName{tuf.RoleRoot, tuf.RoleTargets, tuf.RoleSnapshot, tuf.RoleTimestamp, "bin"} {
		seed := sha256.Sum256([]byte("a benchmark's key: " + role))
		signers[role] = must(key.NewSigner(ed25519.NewKeyFromSeed(seed[:])))
		authorities[role] = must(tuf.NewAuthority(1, signers[role].Public()))
		if role != "bin" {
			top[role] = authorities[role]
		}
	}
	files := shelf{}
	issue := func(role tuf.RoleName, version int64) repo.Issue {
		return repo.Issue{Role: role, Version: version, Now: now, Expires: now.AddDate(0, 1, 0), Authority: authorities[role]}
	}
	publish := func(d *repo.Draft, err error) []byte {
		d = must(d, err)
		data := must(repo.Sign(context.Background(), d, signers[d.Role()]))
		files[trust.FileName(d.Role(), d.Version(), true)] = data
		return data
	}
	root = publish(repo.NewRoot(repo.RootSpec{ConsistentSnapshot: true, Roles: top}, issue(tuf.RoleRoot, 1)))
	roles := map[tuf.RoleName]int64{}
	for i := range 16_384 - 2 {
		roles[tuf.RoleName(fmt.Sprintf("bin-%04x", i))] = 1
	}
	spec := repo.TargetsSpec{}
	for i := range 1282 {
		path := fmt.Sprintf("3f/a-project-name/a_project_name-1.%06d.0-py3-none-any.whl", i)
		spec.Targets = append(spec.Targets, tuf.Target{Path: tuf.TargetPath(path), Length: 10_000, Hashes: tuf.NewHashes([]byte(path))})
	}
	for version := int64(1); version <= 2; version++ {
		roles[tuf.RoleTargets], roles["bin"] = version, version
		publish(repo.NewTargets(repo.TargetsSpec{Delegations: []repo.Delegation{
			{Role: "bin", Authority: authorities["bin"], Paths: []string{"*/*/*"}},
		}}, issue(tuf.RoleTargets, version)))
		publish(repo.NewTargets(spec, issue("bin", version)))
		snapshot := publish(repo.NewSnapshot(roles, issue(tuf.RoleSnapshot, version)))
		publish(repo.NewTimestamp(repo.MetaOf(version, snapshot), issue(tuf.RoleTimestamp, version)))
		moments[version-1] = shelf{}
		for name, data := range files {
			moments[version-1][name] = data
		}
	}
	return moments, root
}

// BenchmarkRefresh refreshes and looks one path up, over the loopback interface, with
// the state in memory: what a disk adds is its time to sync.
func BenchmarkRefresh(b *testing.B) {
	now := time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)
	moments, root := site(b, now)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		moment, name, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
		data, ok := moments[int(moment[0]-'1')][name]
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(data)))
		_, _ = w.Write(data)
	}))
	b.Cleanup(server.Close)
	open := func(moment string, s client.Store) *client.Client {
		url := server.URL + "/" + moment
		f := must(client.NewHTTPFetcher(client.HTTPConfig{Metadata: url, Targets: url}))
		return must(client.New(client.Config{Fetcher: f, Store: s, Root: root, Now: func() time.Time { return now }}))
	}
	use := func(c *client.Client) {
		view := must(c.Refresh(b.Context()))
		must(view.Find(b.Context(), "3f/a-project-name/a_project_name-1.000777.0-py3-none-any.whl"))
	}
	visited := func() *client.Memory {
		s := client.NewMemory()
		use(open("1", s))
		return s
	}
	same, again := visited(), open("1", client.NewMemory())
	use(again)
	for _, test := range []struct {
		name string
		step func()
	}{
		{"cold", func() { use(open("1", client.NewMemory())) }},
		{"nothing new", func() { use(open("1", same)) }},
		{"nothing new, again", func() { use(again) }},
		{"cold, then everything new", func() {
			use(open("2", visited()))
		}},
	} {
		b.Run(test.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				test.step()
			}
		})
	}
}
