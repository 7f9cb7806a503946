package repo_test

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
	"example.com/bailiwick/tuf/repo"
	"example.com/bailiwick/tuf/trust"
)

// holder is somebody with one key. A real key comes from key.GenerateEd25519, an agent
// or a token; examples want the same one each time.
func holder(name string) (key.Signer, tuf.Authority) {
	seed := sha256.Sum256([]byte("an example's key: " + name))
	signer, err := key.NewSigner(ed25519.NewKeyFromSeed(seed[:]))
	if err != nil {
		panic(err)
	}
	authority, err := tuf.NewAuthority(1, signer.Public())
	if err != nil {
		panic(err)
	}
	return signer, authority
}

// Write a repository: the four top-level roles, each drafted and signed by its own key. What
// comes out is verified by a client's own steps before anybody sees it, and gets the names
// under which clients ask for it.
func Example() {
	ctx := context.Background()
	now := time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)
	signers := map[tuf.RoleName]key.Signer{}
	authorities := map[tuf.RoleName]tuf.Authority{}
	for _, role := range []tuf.RoleName{tuf.RoleRoot, tuf.RoleTargets, tuf.RoleSnapshot, tuf.RoleTimestamp} {
		signers[role], authorities[role] = holder(string(role))
	}
	issue := func(role tuf.RoleName, life time.Duration) repo.Issue {
		return repo.Issue{Role: role, Version: 1, Now: now, Expires: now.Add(life), Authority: authorities[role]}
	}
	sign := func(d *repo.Draft, err error) []byte {
		if err != nil {
			panic(err)
		}
		data, err := repo.Sign(ctx, d, signers[d.Role()])
		if err != nil {
			panic(err)
		}
		return data
	}

	content := []byte("hello\n")
	targets := []tuf.Target{{Path: "greetings/hello.txt", Length: int64(len(content)), Hashes: tuf.NewHashes(content)}}
	var staged trust.Staged
	staged.Roots = [][]byte{sign(repo.NewRoot(repo.RootSpec{ConsistentSnapshot: true, Roles: authorities}, issue(tuf.RoleRoot, 365*24*time.Hour)))}
	staged.Targets = sign(repo.NewTargets(repo.TargetsSpec{Targets: targets}, issue(tuf.RoleTargets, 90*24*time.Hour)))
	staged.Snapshot = sign(repo.NewSnapshot(map[tuf.RoleName]int64{tuf.RoleTargets: 1}, issue(tuf.RoleSnapshot, 7*24*time.Hour)))
	staged.Timestamp = sign(repo.NewTimestamp(repo.MetaOf(1, staged.Snapshot), issue(tuf.RoleTimestamp, 24*time.Hour)))

	// The client's own code has the last word. The next publication asks set.Stage.
	set, err := trust.StageFirst(now, trust.Options{}, staged)
	if err != nil {
		panic(err)
	}
	files, err := staged.Files(set)
	if err != nil {
		panic(err)
	}
	for _, f := range files { // in this order, so that nobody sees half of it
		fmt.Println("serve", f.Name)
	}
	found, err := set.Find("greetings/hello.txt", nil)
	if err != nil {
		panic(err)
	}
	fmt.Println("serve", found.FetchName())
	// Output:
	// serve 1.root.json
	// serve 1.targets.json
	// serve 1.snapshot.json
	// serve timestamp.json
	// serve greetings/5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03.hello.txt
}

// Delegate to a key: from now on its holder, and nobody else, says which files lie in
// one folder.
func ExampleEditTargets() {
	ctx := context.Background()
	now := time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)
	top, topAuthority := holder("targets")
	alice, aliceAuthority := holder("alice")

	// The role as it is, without a delegation.
	d, err := repo.NewTargets(repo.TargetsSpec{}, repo.Issue{
		Role: tuf.RoleTargets, Version: 1, Now: now, Expires: now.AddDate(1, 0, 0), Authority: topAuthority,
	})
	base := signedBack(d, err, top)

	// Its next version delegates the folder "alice" to Alice's key. Terminating: if she
	// does not list a file of that folder, nobody may.
	delegation := repo.Delegation{
		Role: "alice", Authority: aliceAuthority, Paths: []string{"alice/*"}, Terminating: true,
	}
	d, err = repo.EditTargets(base, repo.TargetsEdit{AddDelegations: []repo.Delegation{delegation}}, repo.Issue{
		Role: tuf.RoleTargets, Version: 2, Now: now, Expires: now.AddDate(1, 0, 0), Authority: topAuthority,
	})
	next := signedBack(d, err, top)
	for one := range next.Delegations().Match("alice/notes.txt") {
		fmt.Println(one.Name(), one.Paths(), one.Terminating())
	}

	// Alice signs her own role, on her own machine.
	content := []byte("mine\n")
	issue := repo.Issue{
		Role: "alice", Version: 1, Now: now, Expires: now.AddDate(0, 3, 0), Authority: aliceAuthority,
		Paths: delegation.Paths, // what lies outside is refused before she signs
	}
	d, err = repo.NewTargets(repo.TargetsSpec{Targets: []tuf.Target{
		{Path: "alice/notes.txt", Length: int64(len(content)), Hashes: tuf.NewHashes(content)},
	}}, issue)
	if err != nil {
		panic(err)
	}
	_, err = repo.Sign(ctx, d, top)
	var few *repo.ThresholdError
	fmt.Println(errors.As(err, &few), few.Have, "of", few.Need)
	_, err = repo.Sign(ctx, d, alice)
	fmt.Println(err)

	_, err = repo.NewTargets(repo.TargetsSpec{Targets: []tuf.Target{
		{Path: "bob/notes.txt", Length: int64(len(content)), Hashes: tuf.NewHashes(content)},
	}}, issue)
	fmt.Println(err)
	// Output:
	// alice [alice/*] true
	// true 0 of 1
	// <nil>
	// editing alice: target "bob/notes.txt" is outside what the role is delegated, so no client would find it: target path is not acceptable
}

// signedBack signs a draft and reads it back.
func signedBack(d *repo.Draft, err error, signer key.Signer) *tuf.Targets {
	if err != nil {
		panic(err)
	}
	data, err := repo.Sign(context.Background(), d, signer)
	if err != nil {
		panic(err)
	}
	u, err := tuf.ParseTargets(data, nil)
	if err != nil {
		panic(err)
	}
	targets, err := u.Verify(d.Authority())
	if err != nil {
		panic(err)
	}
	return targets
}
